#!/usr/bin/perl

# One allocation fails, each in its turn, while a client comes by polling,
# upgrades, is spoken to and is sent away.  That costs one session or one
# request, and is one line in the log; nobody else notices.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Nomem;
use SIO::Util qw(scale wait_until);
use SIO::Webhooks qw(client_of);
use Test::More;
use Time::HiRes qw(time);


my $nomem = SIO::Nomem->new;
my $backend = SIO::Backend->new->start;

my ($nginx, $other, @http);


sub start {
    my (%option) = @_;

    $backend->reset;

    $backend->on({ type => 'connect' }, { json => {
        join => 'all',
        user => 'u-%sid%',
        emit => [ { event => 'welcome', args => [] } ] } });
    $backend->on({ type => 'event', event => 'echo' }, { json => {
        ack   => '%args%',
        state => { last => '%args%' },
        emit  => [ { event => 'ask', args => [], ack => 'token' } ] } });
    $backend->on({ type => 'event', event => 'image' }, { json => {
        ack         => '%args%',
        attachments => '%attachments%',
        emit        => [ { event => 'thumb', to => 'all', args => '%args%',
                           attachments => '%attachments%' } ] } });
    $backend->on({ type => 'event', event => 'still there' }, { json => {
        ack => '%args%' } });

    $nginx = SIO::Nginx->new(
        env    => { $nomem->environment },
        allow  => [ qr/\b(?:malloc|posix_memalign)\(/,
                    qr/Sec-WebSocket-Accept could not be computed/ ],
        http   => "upstream app { server @{[ $backend->address ]}; "
                  . 'keepalive 16; } access_log off;',
        server => <<'CONF',
            # so that nearly everything is an allocation of its own
            connection_pool_size 256;
            request_pool_size 256;

            location /socket.io/ {
                socketio;
                socketio_webhook /_hook;
                socketio_webhook_secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;
            }

            location = /_hook {
                internal;
                proxy_pass http://app;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
            }

            location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
            location = /status { socketio_status; }
CONF
        %option,
    )->start;

    @http = ();
    $other = other();
}


# Somebody else, who lives in the first worker.

sub other {
    my ($worker) = $nginx->workers;
    my $client = client_of($nginx, $worker);

    $client->{timeout} = 20;

    return $client;
}


sub still_there {
    my $reply = $other->call('still there', 1) // [];

    return ($reply->[0] // 0) == 1;
}


# Webhooks that the backend has not answered yet.

sub under_way {
    my $status = eval { $http[3]->get('/status')->json } // return 0;

    return $status->{webhooks}{pending}{in_flight};
}


# What has failed is never going to come, and nobody is to wait for it.  But
# what does come is there when the backend has answered, and others have asked,
# and were answered, thrice.

sub soon {
    my ($condition) = @_;

    my $asked = 0;
    my $until = time + 20 * scale();

    while (time < $until) {
        my $value = $condition->();

        return $value if $value;

        if ($nomem->failed && !under_way()) {
            return undef if ++$asked > 3;
            still_there();
        }
    }

    return undef;
}


sub packet {
    my ($eio, $want) = @_;

    return soon(sub {
        my $packet = $eio->next(0.01) // return undef;

        return $packet =~ $want ? $packet : undef;
    }) // die "no $want\n";
}


# The part of the session; dies when it cannot go on.

sub session {
    my ($eio, $visit) = @_;

    my $response = $eio->get;

    die "handshake: $response->{status}\n" if $response->{status} != 200;

    my ($open, @packets) = $eio->decode($response->{body});

    $eio->opened($open);
    $eio->{http} = $http[1];

    $eio->post('40{"token":"visitor"}');
    ($visit->{sid}) = packet($eio, qr/^40\{/) =~ /"sid":"([^"]+)"/;
    packet($eio, qr/^42\["welcome"\]/);

    $eio->post('420["echo",1]');
    my ($id) = packet($eio, qr/^42\d+\["ask"\]/) =~ /^42(\d+)/;
    packet($eio, qr/^430\[1\]/);
    $eio->post("43${id}[\"polling\"]");

    # One attachment comes before, the other after the upgrade.
    $eio->post('452-1["image",{"_placeholder":true,"num":0},'
               . '{"_placeholder":true,"num":1}]', 'bAQID');

    $eio->{pending} = $eio->get_start;
    $eio->upgrade(http => $http[2]);

    $eio->send('bBAUG');
    packet($eio, qr/^452-\["thumb",/);
    packet($eio, qr/^bBAUG/);
    packet($eio, qr/^462-1\[/);
    packet($eio, qr/^bBAUG/);

    $eio->send('422["echo",2]');
    ($id) = packet($eio, qr/^42\d+\["ask"\]/) =~ /^42(\d+)/;
    packet($eio, qr/^432\[2\]/);
    $eio->send("43${id}[\"websocket\"]");
}


# The part of the application; the calls that have failed.

sub application {
    my ($sid) = @_;

    my %body = (
        emit       => '{"event":"news","args":["x"],"to":"all"}',
        join       => '{"in":["all"],"rooms":["more","rooms"]}',
        leave      => '{"in":["more"],"rooms":["more"]}',
        batch      => '[{"join":{"in":["all"],"rooms":["again"]}},'
                      . '{"leave":{"in":["all"],"rooms":["again"]}}]',
        disconnect => "{\"in\":[\"$sid\"],\"close\":true}",
    );
    my @failed;

    for my $call (qw(emit join leave batch sockets rooms disconnect)) {
        my $response = eval {
            $body{$call} ? $http[3]->post("/_api/$call", $body{$call})
                         : $http[3]->get("/_api/$call");
        };

        push @failed, $call if !$response || $response->{status} != 200;
    }

    return @failed;
}


# Each visit begins with four connections.

sub connections {
    my ($worker) = $nginx->workers;

    @http = map { $nginx->connect_to($worker, timeout => 20) } 0 .. 3;
}


# One visit, in which the nth allocation fails; what is wrong about it.

sub visit {
    my ($n) = @_;

    my $eio = SIO::EIO->new(port => $nginx->port, timeout => 20);
    my (%visit, @hurt, @wrong);

    connections();
    $eio->{http} = $http[0];

    my $mark = $nginx->mark;

    $nomem->nth($n);

    if (!eval { session($eio, \%visit); 1 }) {
        $visit{died} = $@;
        push @hurt, 'session';
        push @wrong, 'no answer' if $@ =~ /no answer in time/;
    }

    my @calls = application($visit{sid} // '-');

    push @hurt, @calls;

    ($visit{failed}, $visit{count}) = $nomem->off;

    # It goes, if it has not been sent away.
    eval { $eio->{ws} ? $eio->{ws}->close : $eio->post('1') };

    push @wrong, 'a poll without an end'
        if $eio->{pending} && !$eio->{pending}->wait(10);

    if (!still_there()) {
        push @wrong, 'the other client is not answered'
            if !$other->eio->{ws}{closed};

        push @hurt, 'other';
        $other = other();

    } elsif (!grep { $_ eq 'emit' } @calls) {
        push @wrong, 'an emit is lost' if !$other->event('news', 1);
    }

    # what others have heard of the visit
    $other->{queue} = [];

    my @lines = grep { !/\[(?:info|notice)\]/ }
                     split /\n/, substr $nginx->log, $mark;

    push @wrong, "hurt: @hurt" if @hurt > 1;
    push @wrong, 'nothing has failed' if @hurt && !$visit{failed};
    push @wrong, @lines . ' lines in the log' if @lines > 1;
    push @wrong, 'nothing in the log' if @hurt && !@lines;

    my $trace = $nomem->trace;

    $visit{told} = join "\n", $visit{died} // (), @lines, $trace;

    if (@wrong) {
        $visit{wrong} = join "\n", "allocation $n: " . join(', ', @wrong),
                        $visit{told};
    }

    return { %visit, hurt => scalar @hurt };
}


# Of each client that came in the backend hears the end, once.

sub ends {
    my (@visits) = @_;

    my %ends = map { $_->{sid} => {} } @visits;

    wait_until(20, sub {
        for my $request ($backend->requests(type => 'disconnect')) {
            my ($sid, $id) = @{ $request->{json} }{qw(sid id)};

            $ends{$sid}{$id} = 1;
        }

        return !grep { !%$_ } values %ends;
    });

    my @odd = grep { keys %{ $ends{$_->{sid}} } != 1 } @visits;

    is(scalar @odd, 0, 'the end of each client is told once')
        or diag(map { $_->{told} } splice @odd, 0, 10);
}


sub walk {
    start();

    my @workers = $nginx->workers;

    # Whatever is made once and kept is made by now.
    visit(1 << 30) for 1 .. 3;

    my $calm = visit(1 << 30);

    is($calm->{wrong}, undef, "a visit takes $calm->{count} allocations");

    my @visits = map { visit($_) } 1 .. $calm->{count};
    my @failed = grep { $_->{failed} } @visits;
    my @wrong = map { $_->{wrong} // () } @visits;
    my $hurt = grep { $_->{hurt} } @visits;

    cmp_ok(@failed, '>', 0.9 * @visits, 'nearly all of these have failed once');
    cmp_ok($hurt, '>', 0.5 * @visits, "and $hurt have hurt");
    is(scalar @wrong, 0, 'one session or request, one line')
        or diag(join "\n", splice @wrong, 0, 10);

    is_deeply([ $nginx->workers ], \@workers, 'the workers are the same');

    ends(grep { $_->{sid} } @visits);

    my $matched = $http[3]->post('/_api/emit', '{"event":"news","to":"all"}');

    is($matched->{body}, '{"matched":1}', 'nothing is left behind');

    $nginx->stop;
}


# With its first webhook a worker makes what those of all locations need.
# Whichever it has no memory for, the next client's webhook leaves.

sub first_webhook {
    start(server => <<'CONF');
        location /socket.io/ { socketio; socketio_webhook /_hook; }
        location /second/    { socketio; socketio_webhook /_hook; }
        location = /_hook    { internal; proxy_pass http://app; }
CONF

    my ($failed, @told) = 0;

    for my $n (1 .. 100) {
        $nginx->reload;

        my ($worker) = $nginx->workers;
        my ($eio, $next) = map {
            SIO::EIO->open(http => $nginx->connect_to($worker), timeout => 20)
        } 1, 2;

        $nomem->nth($n);
        eval { $eio->post('40') };
        $nomem->off;

        if ($nomem->trace =~ /hook_lane/) {
            $failed++;
            $next->post('40');
            push @told, $next->next // 'nothing';
        }

        eval { $_->post('1') } for $eio, $next;
        last if $failed == 2;
    }

    is($failed, 2, 'there was no memory for one location, then the other');
    is(scalar(grep { /^40\{/ } @told), 2, 'the next client is connected')
        or diag("@told");

    $nginx->stop;
}


subtest 'a visit' => sub { walk() };
subtest 'the first webhook' => sub { first_webhook() };


# An entry of the log that needs a buffer of its own: it can wait, and is not
# lost for all whom it is for.

subtest 'a large emit' => sub {
    start(http => "upstream app { server @{[ $backend->address ]}; }"
                  . 'client_body_buffer_size 256k; access_log off;');

    my @workers = $nginx->workers;
    my @wrong;

    my $emit = sub {
        my ($n) = @_;

        connections();
        $other->{queue} = [];

        $nomem->nth($n);

        my $r = eval {
            $http[3]->post('/_api/emit', '{"event":"news","args":["'
                                         . 'x' x 100_000 . '"],"to":"all"}');
        };
        my $heard = soon(sub { $other->event('news', 0.05) });
        my ($failed, $count) = $nomem->off;

        if (!still_there()) {
            # memory was missing for its own message
            push @wrong, "$n: closed" if !$other->eio->{ws}{closed};
            $other = other();

        } elsif ($r && $r->{status} == 200 && !$heard) {
            push @wrong, "$n: not heard", $nomem->trace
                if !$other->event('news', 5);
        }

        return $count;
    };

    $emit->(1 << 30) for 1 .. 2;

    my $count = $emit->(1 << 30);

    $emit->($_) for 1 .. $count;

    is_deeply(\@wrong, [], "takes $count allocations");
    unlike($nginx->log, qr/not readable|worker was too slow/,
           'the worker has not given up');
    is_deeply([ $nginx->workers ], \@workers, 'and is the same');

    $nginx->stop;
};


# What a reply is read into is kept for the next one, unless it has grown.

sub answer {
    my ($n, $is) = @_;

    my $eio = SIO::EIO->open(port => $nginx->port, timeout => 20);

    $eio->post('40{"is":"large"}');
    packet($eio, qr/^40\{/);
    $eio->post('1');

    $eio = SIO::EIO->open(port => $nginx->port, timeout => 20);

    $nomem->nth($n);

    my $said = eval { $eio->post("40{\"is\":\"$is\"}");
                      $eio->next(5) // 'nothing' } // 'failed';
    my ($failed, $count) = $nomem->off;

    return ($said, $count);
}

for my $case ([ accepted => qr/40\{"sid":.*/ ],
              [ refused  => qr/44\{"message":"(?:no|Forbidden)"\}/ ]) {
    my ($is, $answer) = @$case;

    subtest $is => sub {
        start();

        $backend->on({ type => 'connect', auth => { is => 'large' } },
                     { json => {
                         join => [ map { "\n$_" . 'x' x 20 } 1 .. 100 ] } });
        $backend->on({ type => 'connect', auth => { is => 'refused' } },
                     { status => 403, json => { message => 'no' } });

        my @workers = $nginx->workers;

        answer(1 << 30, $is) for 1 .. 2;

        my ($said, $count) = answer(1 << 30, $is);

        like($said, qr/^$answer\z/, "takes $count allocations");

        # a client that is told nothing would wait
        my @odd = grep { !/^(?:1|failed|$answer)\z/ }
                  map { (answer($_, $is))[0] } 1 .. $count;

        is_deeply(\@odd, [], 'it is, or has to come again');
        is_deeply([ $nginx->workers ], \@workers, 'the worker is the same');

        $nginx->stop;
    };
}

$backend->stop;

done_testing();
