#!/usr/bin/perl

# Official clients of all kinds together, at four workers: they come while
# others talk, agree on the order of what is said, and are sent away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(wait_until scale);
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical;
my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => "upstream app { server @{[ $backend->address ]}; keepalive 8; }",
    server  => <<'EOF')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces  / /chat;
            socketio_allow_eio3  on;
            socketio_webhook     /_socketio;

            # for those that read only at the end
            socketio_ping_timeout  120s;
        }

        location = /_socketio {
            internal;
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }
EOF

# Everybody is in one room, and what is said goes there.
$backend->on({ type => 'connect', namespace => '/' },
             { json => { join => ['all'] } });
$backend->on({ type => 'event', event => 'say' }, { json => {
    emit => [ { event => 'm', args => '%args%', to => ['all'] } ],
} });

my $url = 'http://127.0.0.1:' . $nginx->port;

my @kinds = (
    [ polling   => ['polling'] ],
    [ websocket => ['websocket'] ],
    [ upgrade   => [ 'polling', 'websocket' ] ],
);


sub emits {
    my (@values) = @_;

    my @pending = map {
        SIO::HTTP->new(port => $nginx->port, timeout => 20)->start(
            'POST', '/_api/emit',
            body => $json->encode({ event => 'm', args => [$_], to => 'all' }));
    } @values;

    $_->wait->{status} == 200 or die 'an emit was refused' for @pending;
}


# Who came later has not heard the beginning, and has missed nothing since.

sub is_end_of {
    my ($got, $all, $name) = @_;

    my $n = @$got < @$all ? @$got : @$all;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is("@$got", "@$all[@$all - $n .. $#$all]", $name);
    cmp_ok($n, '>=', 100, "$name: enough of it");
}


# Events of a Python client that were printed by now.

sub heard {
    my ($client, $list) = @_;

    while (defined(my $line = $client->line(0.2))) {
        my $event = $json->decode($line)->{event} // next;

        push @$list, $event->[1] if $event->[0] eq 'm';
    }

    return grep { $_ eq 'last' } @$list;
}


subtest 'one order' => sub {
    my @js = map { my $version = $_; map { my $kind = $_; map {
        { version => $version, transports => $kind->[1] } } 1 .. 5
    } @kinds } 2 .. 4;

    # Two without a library of their own, there from the first word on.
    my @first = map {
        SIO::Client->connect(port => $nginx->port, transport => $_,
                             timeout => 20)
    } qw(websocket polling);

    my $other = SIO::Client->connect(port => $nginx->port, nsp => '/chat');
    my $crowd = SIO::Proc->node('crowd.js', $url);

    my @python = map {
        SIO::Proc->python('client.py', $url, $json->encode(
            { transports => $kinds[$_ % 3][1] }));
    } 1 .. 5;

    $crowd->send({ start => \@js });

    # Somebody talks all the time while they come.
    my $n = 0;
    my $said = 0;
    my %here;
    my $deadline = time + 60 * scale();

    while (time < $deadline && keys %here < @js) {
        emits(map { 'a' . $n++ } 1 .. 4);

        while (defined(my $line = $crowd->line(0.01))) {
            my $value = $json->decode($line);

            $here{$value->{connect}} = 1 if exists $value->{connect};
        }

        for my $i ((sort { $a <=> $b } keys %here)[0 .. 1]) {
            $crowd->send({ say => [ $i, 's' . $said++ ] }) if defined $i;
        }
    }

    is(keys %here, @js, 'all of them are here');

    for my $client (@python) {
        ok($client->json_with('connect', 30)->{connect}, 'Python is here');
    }

    # Five hundred more, in every way at once.
    for my $i (1 .. 25) {
        $crowd->send({ say => [ int rand @js, 's' . $said++ ] }) for 1 .. 8;
        $_->emit('say', 'r' . $n++) for @first;
        $_->send({ emit => [ 'say', 'p' . $n++ ] })
            for @python[$i % 5, ($i + 1) % 5];
        emits(map { 'a' . $n++ } 1 .. 8);
    }

    ok($backend->wait_done($said + 100, 60, type => 'event', event => 'say'),
       'all has been said');
    emits('last');

    my @all;

    until (@all && $all[-1] eq 'last') {
        push @all, ($first[0]->event('m') // last)->[1];
    }

    is(@all, $n + $said + 1, 'all has been heard');
    is("@{[ sort @all ]}", "@{[ sort { $a cmp $b } keys %{{ map { $_ => 1 }
       @all }} ]}", 'each word once');

    my @second;

    until (@second && $second[-1] eq 'last') {
        push @second, ($first[1]->event('m') // last)->[1];
    }

    is("@second", "@all", 'in one order, by polling');

    my $report;

    wait_until(30, sub {
        $crowd->send({ report => 1 });
        $report = $crowd->json_with('report')->{report};

        return !grep { !@$_ || $_->[-1] ne 'last' } @$report;
    });

    for my $i (0 .. $#js) {
        is_end_of($report->[$i], \@all, "JavaScript $js[$i]{version}, "
                  . join ', ', @{ $js[$i]{transports} });
    }

    for my $client (@python) {
        my @got;

        wait_until(30, sub { heard($client, \@got) });
        is_end_of(\@got, \@all, 'Python');
    }

    ok($other->silent(0.2), 'and nothing of it in another namespace');
};


# Python ends a connection with more than sixteen packets in one answer.

subtest 'sixteen at once' => sub {
    my $eio = SIO::EIO->open(port => $nginx->port, timeout => 20);

    $eio->post('40');
    like($eio->next, qr/^40/, 'joined');
    emits($_) for 1 .. 40;

    my @polls = map { [ $eio->poll ] } 1 .. 3;

    is_deeply([ map { scalar @$_ } @polls ], [ 16, 16, 8 ], 'packets');
    is(join('|', map { @$_ } @polls), join('|', map { qq(42["m",$_]) } 1 .. 40),
       'all of them, in order');

    my $placeholders = join ',', map { qq({"_placeholder":true,"num":$_}) }
                                     0 .. 9;

    for (1 .. 2) {
        SIO::HTTP->new(port => $nginx->port)->post('/_api/emit', qq({
            "event":"m", "args":[$placeholders], "to":"all",
            "attachments":[@{[ join ',', ('"AQID"') x 10 ]}]}));
    }

    is(scalar(my @packets = $eio->poll), 11, 'an event and its attachments');
    is(scalar(@packets = $eio->poll), 11, 'and another');
    is($packets[10], 'bAQID', 'whole');
};


subtest 'credentials' => sub {
    my %auth = (token => "t-\x{e9}\x{1f600}", n => [ 1, { a => undef } ]);

    for my $version (3, 4) {
        for my $kind (@kinds) {
            my $client = SIO::Proc->node('client.js', $version, $url,
                $json->encode({ auth => \%auth, transports => $kind->[1] }));
            my $sid = $client->json_with('connect')->{connect};
            my ($request) = $backend->wait(1, 10, type => 'connect',
                                           sid => $sid);

            is_deeply($request->{json}{auth}, \%auth,
                      "JavaScript $version, $kind->[0]");
        }
    }

    my $client = SIO::Proc->python('client.py', $url, $json->encode({
        auth => \%auth, headers => { 'User-Agent' => 'a snake' } }));
    my $sid = $client->json_with('connect')->{connect};
    my ($request) = $backend->wait(1, 10, type => 'connect', sid => $sid);

    is_deeply($request->{json}{auth}, \%auth, 'Python');
    is($request->{json}{request}{headers}{'user-agent'}, 'a snake',
       'and its headers');

    $client = SIO::Proc->node('client.js', 2, "$url/chat?token=a%20b");
    $client->json_with('connect');
    ($request) = $backend->wait(1, 10, type => 'connect',
                                namespace => '/chat', ack => undef);
    ($request) = grep { $_->{json}{auth}{token} }
                 $backend->requests(type => 'connect', namespace => '/chat');

    is($request->{json}{auth}{token}, 'a b', 'JavaScript 2, by its query');
};


# Who is sent away right when it comes, in the middle of its upgrade, must not
# come again; who only loses its connection must.

subtest 'sent away' => sub {
    $backend->on({ type => 'connect', namespace => '/chat' },
                 { delay => 0.02, json => { disconnect => JSON::PP::true } });

    for my $version (2 .. 4) {
        for my $kind (@kinds) {
            my $name = "JavaScript $version, $kind->[0]";
            my $crowd = SIO::Proc->node('crowd.js', "$url/chat");
            my $n = 10;

            $crowd->send({ start => [ map { {
                version           => $version,
                transports        => $kind->[1],
                reconnection      => JSON::PP::true,
                reconnectionDelay => 50,
            } } 1 .. $n ] });

            my @reasons = map { $crowd->json_with('disconnect')->{reason} }
                          1 .. $n;

            is_deeply(\@reasons, [ ('io server disconnect') x $n ], $name);

            my @connects = map { $crowd->json_with('connect')->{connect} }
                           1 .. $n;

            is("@{[ sort { $a <=> $b } @connects ]}", "@{[ 0 .. $n - 1 ]}",
               "$name, each came once");
            is($crowd->line(0.3), undef, "$name, and not again");
        }
    }

    $backend->on({ type => 'event', event => 'cut' },
                 { json => { disconnect => 'transport' } });

    for my $version (2 .. 4) {
        for my $kind (@kinds) {
            my $client = SIO::Proc->node('client.js', $version, $url,
                $json->encode({ transports => $kind->[1] }));

            $client->json_with('connect');
            $client->send({ emit => ['cut'] });
            is($client->json_with('disconnect')->{disconnect},
               'io server disconnect', "JavaScript $version, $kind->[0], both");
        }
    }
};


# A backend that cannot tell now: clients come again until it can.

subtest 'not now' => sub {
    for my $version (2 .. 4) {
        for my $kind (@kinds) {
            my $name = "JavaScript $version, $kind->[0]";
            my $crowd = SIO::Proc->node('crowd.js', $url);
            my $n = 10;

            $backend->on({ type => 'connect', namespace => '/' },
                         { delay => 0.02, status => 503 }, times => 2 * $n);

            $crowd->send({ start => [ map { {
                version           => $version,
                transports        => $kind->[1],
                reconnection      => JSON::PP::true,
                reconnectionDelay => 50,
            } } 1 .. $n ] });

            my @connects = map { $crowd->json_with('connect', 20)->{connect} }
                           1 .. $n;

            is("@{[ sort { $a <=> $b } @connects ]}", "@{[ 0 .. $n - 1 ]}",
               "$name, all are here");
        }
    }
};


$nginx->stop;

done_testing();
