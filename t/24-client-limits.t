#!/usr/bin/perl

# What one client may have, do and say: a rate of events, namespaces, rooms, and
# the length of names.  Each limit is met on every transport, seen in the status
# and in the log, and felt by nobody else.

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
use SIO::Status qw(status);
use SIO::Util qw(wait_until);
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical;
my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    backend => $backend,
    server  => <<'EOF')->start;
        socketio_webhook    /_hook;
        socketio_allow_eio3 on;

        location /socket.io/ { socketio; }

        location /rated/ {
            socketio;
            socketio_event_rate 20r/s burst=5;
            socketio_webhook_queue 1000;
        }

        location /restless/ {
            socketio;
            socketio_event_rate 1r/s burst=2;
            socketio_ping_interval 200ms;
            socketio_ping_timeout 400ms;
        }

        location /few/ {
            socketio;
            socketio_namespaces *;
            socketio_max_namespaces 3;
            socketio_max_rooms 4;
            socketio_max_name 32;
        }

        location /free/ {
            socketio;
            socketio_webhook off;
            socketio_namespaces *;
            socketio_max_name 32;
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }

        location = /status { socketio_status; }
EOF

my $url = 'http://127.0.0.1:' . $nginx->port;
my $api = SIO::HTTP->new(port => $nginx->port, timeout => 20);

# of the rated location: 5 come at once, then 20 in a second
my $events = 25;
my $shortest = ($events - 5) / 20;


sub client {
    my (%option) = @_;

    return SIO::Client->connect(port => $nginx->port, timeout => 20,
                                path => '/rated/', %option);
}


sub met {
    my ($limit) = @_;

    return status($nginx)->{limits}{met}{$limit};
}


sub called {
    my ($name, $body) = @_;

    return $api->post("/_api/$name", $json->encode($body))->json;
}


# The events of a socket in the order in which the backend had them.

sub heard {
    my ($sid) = @_;

    return map { $_->{json}{args}[0] }
               $backend->requests(type => 'event', sid => $sid);
}


sub slow {
    my ($worker) = @_;

    my ($first) = $nginx->workers;
    my $eio = SIO::EIO->open(http => $nginx->connect_to($first),
                             path => '/restless/');

    return $nginx->connect_to($worker, timeout => 40)->start(
        'POST', $eio->url('polling'),
        headers => [ 'Content-Type' => 'text/plain' ],
        body    => $eio->encode('40', map { qq(42["slow",$_]) } 1 .. 14));
}


# All of them, in order, and not before their time.

sub is_paced {
    my ($sid, $begun, $name) = @_;

    my $done = wait_until(20, sub { $events == grep { 1 } heard($sid) });
    my $took = time - $begun;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok($done, "$name, nothing is lost");
    is(join(' ', heard($sid)), join(' ', 1 .. $events), "$name, in order");
    cmp_ok($took, '>=', $shortest, "$name, at the rate");
}


$backend->on({ type => 'event', event => 'here' }, { json => { ack => [1] } });


subtest 'rate' => sub {
    my $other = client(path => '/socket.io/');
    my $before = met('event_rate');

    my $begun = time;
    my $client = client(transport => 'websocket');

    $client->emit('n', $_) for 1 .. $events;
    is_deeply($other->call('here'), [1], 'nobody else notices');
    is_paced($client->sid, $begun, 'WebSocket');
    cmp_ok(met('event_rate'), '>', $before, 'the status tells');
    is(scalar(() = $nginx->log =~ /faster than socketio_event_rate allows, /g),
       1, 'so does the log, once');
    like($nginx->log, qr/allows, it is read more slowly, socketio client: 127/,
         'with the client');

    # in one POST, whose answer comes when all of it was read
    $begun = time;
    $client = client(transport => 'polling');
    $client->eio->post(map { qq(42["n",$_]) } 1 .. $events);
    cmp_ok(time - $begun, '>=', $shortest - 0.1, 'the POST takes so long');
    is_paced($client->sid, $begun, 'polling');

    # one by one
    $begun = time;
    $client = client(transport => 'polling');
    $client->emit('n', $_) for 1 .. $events;
    is_paced($client->sid, $begun, 'many POSTs');

    $begun = time;
    my $eio = SIO::EIO->open(port => $nginx->port, path => '/rated/',
                             eio => 3, timeout => 20);
    my ($sid) = ($eio->next // '') =~ /^40/;

    ok(defined $sid, 'version 3 has joined');
    $eio->send(map { qq(42["n3",$_]) } 1 .. $events);
    $backend->wait_done($events, 20, type => 'event', event => 'n3');
    cmp_ok(time - $begun, '>=', $shortest, 'version 3');
};


# Read for longer than any answer is waited for from a worker that may have
# died: two heartbeats and ten seconds.  Two sessions of a worker, one that has
# it read by that worker, one by another.
my @slow = map { slow($_) } ($nginx->workers)[0, 1];


# The rate is one of the connection, whichever worker it goes to.

subtest 'rate and upgrade' => sub {
    for my $round (1 .. 4) {
        my $begun = time;
        my $client = client(transport => 'polling');
        my $eio = $client->eio;
        my $half = int $events / 2;

        my $post = SIO::HTTP->new(port => $nginx->port, timeout => 20)->start(
            'POST', $eio->url('polling'),
            body => $eio->encode(map { qq(42["n",$_]) } 1 .. $half));

        # behind an upgrade it would come to a session without polling
        $backend->wait(1, 20, type => 'event', sid => $client->sid);

        $eio->upgrade;
        $client->emit('n', $_) for $half + 1 .. $events;
        is($post->wait->{status}, 200, "round $round: the POST is answered");
        is_paced($client->sid, $begun, "round $round");
    }
};


subtest 'rate and heartbeat' => sub {
    my $client = client(path => '/restless/', transport => 'websocket');

    $client->emit('n', $_) for 1 .. 4;

    # pongs are behind the events, and read long after they were due
    ok(wait_until(20, sub {
        $client->event('none', 0.05);
        4 == grep { 1 } heard($client->sid);
    }), 'its events are read');

    ok(!$client->eio->{ws}{closed},
       'it is not closed for the pongs that were not read');
};


subtest 'rate, and a POST that takes its time' => sub {
    for my $post (@slow) {
        is(($post->wait(40) // {})->{body}, 'ok', 'is answered in the end');
    }

    unlike($nginx->log, qr/the owner of the session does not answer/,
           'nobody is suspected');
};


subtest 'rate, official clients' => sub {
    for my $transports (['polling'], ['websocket'], ['polling', 'websocket']) {
        my %clients = (
            'JavaScript' => SIO::Proc->node('client.js', 4, $url,
                $json->encode({ path => '/rated/',
                                transports => $transports })),
            'Python' => SIO::Proc->python('client.py', $url,
                $json->encode({ transports => $transports,
                                socketio_path => 'rated' })),
        );

        for my $name (sort keys %clients) {
            my $client = $clients{$name};
            my $sid = $client->json_with('connect', 20)->{connect};
            my $begun = time;

            $client->send({ emit => [ 'n', $_ ] }) for 1 .. $events;
            is_paced($sid, $begun - 0.05, "$name, @$transports");
        }
    }
};


subtest 'namespaces' => sub {
    my $mark = $nginx->mark;

    for my $transport (qw(websocket polling)) {
        my $before = met('max_namespaces');
        my $client = client(path => '/few/', transport => $transport);

        is($client->join("/n$_")->{type}, 0, "$transport, namespace $_")
            for 2, 3;

        is_deeply($client->join('/n4')->{data},
                  { message => 'Too many namespaces' }, 'one too many');
        is(met('max_namespaces'), $before + 1, 'the status tells');

        $client->leave('/n2');
        is($client->join('/n5')->{type}, 0, 'unless one is left');
    }

    like(substr($nginx->log, $mark),
         qr/client wants to enter more namespaces, limit is 3/,
         'so does the log');

    my $client = SIO::Proc->node('client.js', 4, "$url/n1",
                                 $json->encode({ path => '/few/' }));

    ok($client->json_with('connect', 20), 'JavaScript');
};


subtest 'rooms' => sub {
    my $mark = $nginx->mark;
    my $before = met('max_rooms');
    my $client = client(path => '/few/');
    my $sid = $client->sid;

    my $rooms = sub {
        return join ' ', sort grep { $_ ne $sid }
               @{ $api->get("/_api/sockets/$sid")->json->{rooms} };
    };

    $backend->on({ type => 'event', event => 'in' },
                 { json => { join => '%args%', ack => [] } });

    $client->call('in', 'a', 'b', 'c');
    $client->call('in', 'c', 'd', 'e', 'f');
    is($rooms->(), 'a b c d', 'by replies');
    is(met('max_rooms'), $before + 1, 'the status tells');
    like(substr($nginx->log, $mark),
         qr/client may not join more rooms, limit is 4, socketio client: /,
         'so does the log');

    called(join => { in => $sid, rooms => [ 'd', $sid ] });
    is(met('max_rooms'), $before + 1, 'those that it is in do not count');

    called(join => { in => $sid, rooms => [ 'g', 'h' ] });
    is($rooms->(), 'a b c d', 'by the API');
    is(met('max_rooms'), $before + 2, 'the status tells');

    called(leave => { in => $sid, rooms => ['b'] });
    called(join => { in => $sid, rooms => [ 'g', 'h' ] });
    is($rooms->(), 'a c d g', 'there is room for one that is left');
};


subtest 'names' => sub {
    my $long = 'x' x 33;
    my $mark = $nginx->mark;
    my $before = met('max_name');

    for my $path (qw(/few/ /free/)) {
        my $client = client(path => $path);

        is($client->join('/' . 'n' x 31)->{type}, 0, "$path, a namespace");
        is_deeply($client->join('/' . 'n' x 32)->{data},
                  { message => 'Invalid namespace' }, "$path, a longer one");
    }

    is(met('max_name'), $before + 2, 'the status tells');
    like(substr($nginx->log, $mark),
         qr/name of a namespace with 33 octets, limit is 32/,
         'so does the log');

    my $client = client(path => '/few/');
    my $sid = $client->sid;

    called(join => { in => $sid, rooms => [$long] });
    called(join => { in => $sid, rooms => ['y' x 32] });
    is_deeply([ grep { $_ ne $sid }
                @{ $api->get("/_api/sockets/$sid")->json->{rooms} } ],
              ['y' x 32], 'a room');
    is(met('max_name'), $before + 3, 'the status tells');

    # escapes are not counted, what they stand for is
    $client->eio->send('42["' . '\u00e9' x 16 . '",1]');
    ok($backend->wait_done(1, 20, type => 'event', sid => $sid),
       'an event of 32 octets');

    for my $transport (qw(websocket polling)) {
        my $client = client(path => '/few/', transport => $transport);

        $client->emit($long, 1);

        my ($end) = $backend->wait(1, 20, type => 'disconnect',
                                   sid => $client->sid);

        is($end->{json}{reason}, 'forced close',
           "$transport, the client is closed");
        is(scalar(heard($client->sid)), 0, 'and the event not told');
    }

    is(met('max_name'), $before + 5, 'the status tells');
    like(substr($nginx->log, $mark),
         qr/name of an event with 33 octets, limit is 32, socketio client: /,
         'so does the log');
};


$nginx->stop;

done_testing();
