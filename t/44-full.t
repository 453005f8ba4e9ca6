#!/usr/bin/perl

# A log that is full, since a worker does not read it: what the application has
# said in its replies waits, and comes in order and once, whether that worker
# goes on soon or is given up.  Meanwhile no webhook is sent whose reply could
# not be carried out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::Nginx;
use SIO::Util qw(wait_until);
use SIO::Webhooks qw(client_of webhooks_of all_is_told);
use Test::More;

my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 32; }

    socketio_zone tiny 512k;
    socketio_zone large 8m;
EOS
    server => <<'EOS',
        location /socket.io/ {
            socketio zone=tiny;
            socketio_webhook /_hook;
            socketio_max_payload 30k;
            socketio_send_buffer 64m;
            socketio_ping_interval 5m;
        }

        location /other/ {
            socketio zone=large;
            socketio_webhook /_hook;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            subrequest_output_buffer_size 8m;
        }

        location /_api/ {
            socketio_api zone=tiny;
            client_body_buffer_size 64k;
            allow 127.0.0.1;
            deny all;
        }
EOS
)->start;

my @workers = $nginx->workers;
my $text = 'x' x 5000;


# A reply with this many events, together much more than the log holds.

sub emits {
    my ($name, $n, @members) = @_;

    return { body => '{"emit":[' . join(',', map {
        qq({"event":"$name$_","args":["$text"],"broadcast":true})
    } 1 .. $n) . '],' . join(',', @members, '"ack":["done"]') . '}' };
}


sub names {
    my ($name, $n) = @_;

    return join ' ', map { "$name$_" } 1 .. $n;
}


# What comes until the fence: names of events, and of acknowledgements.

sub received {
    my ($client) = @_;

    my @names;

    for ( ;; ) {
        my $packet = $client->packet(30) // return "@names (no fence)";
        my $name = $packet->{data}[0];

        return "@names" if $name eq 'fence';

        push @names, $name;
    }
}


# The last event of all clients, by a reply to one of them.

sub fence {
    my ($client) = @_;

    $backend->on({ event => 'end' }, { json => {
        emit => [ { event => 'fence', broadcast => \1 } ] } });

    $client->emit('end');
}


# A worker says so once a minute.

sub log_is_full {
    my ($mark) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok($nginx->wait_log(qr/"tiny" is full: ring of/, 20, $mark),
       'the log is full');
}


subtest 'a reply that is larger than the log' => sub {
    my @clients = map { client_of($nginx, $workers[$_]) } 0 .. 2;

    $backend->on({ event => 'do' }, emits('a', 100));

    $clients[0]->emit_to('/', 1, 'do');
    $backend->wait_done(1, 10, event => 'do');
    fence($clients[0]);

    is(received($clients[0]), names('a', 100) . ' done', 'to its client');
    is(received($_), names('a', 100), 'to others') for @clients[ 1, 2 ];

    $_->disconnect for @clients;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


subtest 'a worker that stands still for a while' => sub {
    my ($first, $second) = map { client_of($nginx, $workers[0]) } 1 .. 2;
    my $still = client_of($nginx, $workers[1]);
    my $third = client_of($nginx, $workers[2]);
    my $leaver = client_of($nginx, $workers[0]);
    my $polling = client_of($nginx, $workers[0], transport => 'polling');
    my $other = client_of($nginx, $workers[0], path => '/other/');
    my @all = ($first, $second, $still, $third, $polling);

    # whoever accepts a connection now may be the one that is stopped
    $polling->eio->{http} = $nginx->connect_to($workers[2]);

    my $api = $nginx->connect_to($workers[0], timeout => 30);
    my $api_elsewhere = $nginx->connect_to($workers[2], timeout => 30);

    $backend->on({ event => 'enter' }, { json => { join => ['room'],
                                                   ack  => ['in'] } });
    $backend->on({ event => 'first' }, emits('a', 35));
    $backend->on({ event => 'second' }, emits('b', 20));
    $backend->on({ event => 'slow' }, { delay => 1, json => {
        emit => [ { event => 'slow', to => 'room' } ] } });
    $backend->on({ event => 'later' }, { json => { ack => ['later'] } });
    $backend->on({ event => 'say' }, { json => {
        emit => [ { event => 'said', to => 'room' } ] } });

    is_deeply($_->call('enter'), ['in'], 'in the room') for $first, $second;

    $nginx->kill_worker('STOP', $workers[1]);

    $leaver->emit('slow');
    $backend->wait(1, 10, event => 'slow');

    my $mark = 0;

    $first->emit_to('/', 1, 'first');
    $backend->wait_done(1, 10, event => 'first');
    log_is_full($mark);

    # a reply that is on its way is kept, also if its client leaves
    $backend->wait_done(1, 10, event => 'slow');
    $leaver->eio->{ws}->drop;

    $mark = $nginx->mark;

    $third->emit_to('/', 2, 'second');
    $backend->wait_done(1, 10, event => 'second');
    log_is_full($mark);

    $_->emit_to('/', 3, 'later') for $first, $third;
    $second->emit('say');

    # what is in no way held up
    $backend->on({ event => 'ping' }, { json => { ack => ['pong'] } });
    is_deeply($other->call('ping'), ['pong'], 'another zone works');

    is($backend->requests(event => 'later') + $backend->requests(event => 'say'),
       0, 'no webhook is sent meanwhile');

    my @calls = map {
        $_->start('POST', '/_api/emit', body => '{"event":"api"}')
    } $api, $api_elsewhere;

    ok(!(grep { $_->ready } @calls), 'the API waits');

    $nginx->kill_worker('CONT', $workers[1]);

    is($_->wait(20)->{body}, '{"matched":5}', 'and is answered')
        for @calls;

    $backend->wait_done(2, 20, event => 'later');
    $backend->wait_done(1, 20, event => 'say');
    fence($first);

    my %got = map { $_ => received($_) } @all;
    my %all = (a => names('a', 35), b => names('b', 20), api => 'api api');

    for my $name (sort keys %all) {
        my @wrong = grep {
            $all{$name} ne join ' ', grep { /^$name\d*\z/ }
                                     split / /, $got{$_}
        } @all;

        is(@wrong, 0, "$name is complete and in order");
    }

    my %order;

    for my $client (@all) {
        $order{ join ' ', grep { /^(?:[ab]\d+|api)\z/ }
                          split / /, $got{$client} } = 1;
    }

    is(scalar keys %order, 1, 'all have it in the same order');

    like($got{$first}, qr/\ba35\b.* done\b.* later\b/,
         'answers come behind what was said before');
    like($got{$third}, qr/\bb20\b.* done\b.* later\b/,
         'to others, too');
    is(() = $got{$first} =~ /\bdone\b/g, 1, 'and once');
    like($got{$_}, qr/\ba35\b.*\bslow\b.*\bsaid\b/, 'rooms as well')
        for $first, $second;
    unlike($got{$third}, qr/\bsaid\b/, 'where nobody else is');

    unlike($nginx->log, qr/was dropped/, 'nothing was dropped');

    $_->disconnect for @all, $other;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


# What comes from outside is refused when as much waits as the log holds.

subtest 'more than may wait' => sub {
    my $polling = client_of($nginx, $workers[0], transport => 'polling');
    my $eio = $polling->eio;
    my @callers = map { $nginx->connect_to($workers[2], timeout => 30) }
                  1 .. 100;
    my $poller = $nginx->connect_to($workers[2], timeout => 30);

    $nginx->kill_worker('STOP', $workers[1]);

    my ($refused, @calls);

    # one after the other, so that the last one is the one that is refused
    for my $caller (@callers) {
        my $call = $caller->start('POST', '/_api/emit', body =>
            qq({"event":"e","args":["$text"],"to":"nobody"}));

        # which is sent when the worker has answered what came behind it
        $poller->get('/_pid');

        if ($call->ready) {
            $refused = $call->wait;
            last;
        }

        push @calls, $call;
    }

    is($refused && "$refused->{status} $refused->{body}",
       '503 {"error":{"code":"busy","message":"the log is full, and so is what '
       . 'may wait for it"}}', 'the API refuses');

    # Of a POST the beginning finds room, and the rest does not.  Clients take
    # that for the end of their connection, and so does the session.
    my $post = '42["e","' . $text x 2 . '"]';

    is($eio->post_raw($post, http => $poller)->{status}, 503,
       'so does a worker that has not the session');

    $nginx->kill_worker('CONT', $workers[1]);

    is(scalar(grep { $_->wait(20)->{status} !~ /^(?:200|503)\z/ } @calls), 0,
       'what was taken is carried out');

    $backend->wait(1, 10, sid => $polling->sid, type => 'disconnect');

    is(join(' ', map { "$_->{json}{type} " . ($_->{json}{reason} // '') }
                 webhooks_of($backend, $polling->sid)),
       'connect  disconnect transport error', 'the session has ended');

    all_is_told($backend, 'all is told');
    $backend->reset;
};


# The one that has something to say is given up as well, when its own place in
# the log is where room is needed.

subtest 'workers that stand still for too long' => sub {
    my $writer = client_of($nginx, $workers[0]);
    my $still = client_of($nginx, $workers[1]);
    my ($third, $fourth) = map { client_of($nginx, $workers[$_]) } 2, 3;
    my $mark = $nginx->mark;

    $backend->on({ event => 'first' }, emits('a', 100));
    $backend->on({ event => 'second' }, emits('b', 100));

    $nginx->kill_worker('STOP', $workers[1]);

    $writer->emit('first');
    $backend->wait_done(1, 10, event => 'first');

    # it has begun to read what it has said, so it has said all of it
    ok(defined $writer->wait_for(sub { $_[0]{data}[0] eq 'a5' }, 10),
       'a part of the reply is there');

    $nginx->kill_worker('STOP', $workers[0]);

    $third->emit('second');

    ok($nginx->wait_log(qr/(?:bytes behind and declared lost.*){2}/s, 90,
                        $mark), 'both are declared lost');

    $nginx->kill_worker('CONT', $_) for @workers[ 0, 1 ];

    ok(defined $_->eio->{ws}->wait_close(20), 'their clients are closed')
        for $writer, $still;

    my $new = client_of($nginx, $workers[0]);

    fence($third);

    my %got = map { $_ => received($_) } $third, $fourth;

    is($got{$third}, $got{$fourth}, 'the others agree');

    for my $name (qw(a b)) {
        is(join(' ', grep { /^$name/ } split / /, $got{$third}),
           names($name, 100), "$name is complete and in order");
    }

    $_->disconnect for $third, $fourth, $new;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


$nginx->stop;
$backend->stop;

done_testing();
