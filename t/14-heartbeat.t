#!/usr/bin/perl

# Pings and pongs, and who is given up; the numbers are those of the
# conformance checklist.  Only what comes too early is a failure: nothing here
# says how late a busy machine may be.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Answers qw(is_answer is_error);
use SIO::Backend;
use SIO::EIO;
use SIO::Ways;
use Test::More;
use Time::HiRes qw(time sleep);


# nginx's clock stands still within a turn of its loop, so that what it counts
# from may have been a little earlier.
my $early = 0.05;

my $backend = SIO::Backend->new->start;

my $ways = SIO::Ways->new(http => <<"EOF", locations => <<'EOS');
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }
EOF
        # clients that answer: time enough to do so
        location /socket.io/ {
            socketio;
            socketio_ping_interval 300ms;
            socketio_ping_timeout 20s;
            socketio_allow_eio3 on;
        }

        # clients that shall do something before it comes
        location /late/ {
            socketio;
            socketio_ping_interval 1500ms;
            socketio_ping_timeout 20s;
        }

        # clients that do not
        location /short/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 300ms;
            socketio_ping_timeout 1s;
            socketio_allow_eio3 on;
        }

        # clients that send something else
        location /long/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 300ms;
            socketio_ping_timeout 2s;
            socketio_allow_eio3 on;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;


sub is_closed {
    my ($way, $eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_error($eio->get(http => $way->client), 1, $name);
}


sub is_reason {
    my ($socket, $reason, $name) = @_;

    my ($request) = $backend->wait(1, 20, type => 'disconnect',
                                   sid => $socket);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($request && $request->{json}{reason}, $reason, "$name, $reason");
}


# Not earlier than this many seconds after that moment.

sub not_before {
    my ($seconds, $since, $name) = @_;

    my $passed = time - $since;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    cmp_ok($passed, '>=', $seconds - $early, $name);
}


sub polled_ping {
    my ($way, $eio, $since, $name, $interval) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_answer($eio->get(http => $way->client), 200, '2', $name);
    not_before($interval // 0.3, $since, "$name, not too early");
}


sub pings {
    my ($way) = @_;

    my $since = time;
    my $eio = $way->session;

    polled_ping($way, $eio, $since, 'C69 after open');

    for my $n (1 .. 3) {
        $since = time;
        is_answer($eio->post_raw('3'), 200, 'ok', "C69 pong $n");
        polled_ping($way, $eio, $since, "C69 after pong $n");
    }
}


sub silence {
    my ($way) = @_;

    my $since = time;
    my $eio = $way->session(path => '/short/');

    is_answer($eio->get, 200, '2', 'C70 a ping');
    is_answer($eio->get, 200, '1', 'C70 the GET that waits for no pong');
    not_before(1.3, $since, 'C70 not too early');
    is_closed($way, $eio, 'C70 closed');
}


# A socket of a session that nobody has polled yet.

sub unpolled {
    my ($eio) = @_;

    $backend->clear;
    $eio->post('40');

    my ($request) = $backend->wait(1, 20, type => 'connect');

    return $request->{json}{sid};
}


subtest 'pings' => sub {
    pings($way);

    # It waits for the next poll like any other packet.
    my $eio = $way->joined;

    sleep 0.4;
    $way->settle;
    $way->emit($eio->{socket}, 'between');
    my @packets = $eio->poll;
    @packets = reverse @packets if $packets[0] ne '2';
    is("@packets", '2 42["between"]', 'C69 a ping among others');

    # A second one does not come before the pong.
    my $pending = $way->waiting($eio);
    sleep 0.7;
    ok(!$pending->ready, 'C69 no ping before the pong');
    $eio->post('3');
    is_answer($pending->wait, 200, '2', 'C69 the next one after it');

    # A pong that nobody has asked for counts from then on.
    $eio = $way->session(path => '/late/');
    my $since = time;
    $eio->post('3');
    polled_ping($way, $eio, $since, 'C69 after a pong of its own accord', 1.5);

    $eio = $way->session(path => '/late/');

    for (1 .. 4) {
        sleep 0.1;
        $since = time;
        $eio->post('3');
    }

    polled_ping($way, $eio, $since, 'C69 after many', 1.5);

    # Pings in answers, with data and without.
    $eio = $way->session;
    is_answer($eio->get, 200, '2', 'C69 a ping');
    is_answer($eio->post_raw('3data'), 200, 'ok', 'C69 a pong with data');
    is_answer($eio->get, 200, '2', 'C69 is a pong');
};


subtest 'pings on a WebSocket' => sub {
    my $since = time;
    my $eio = SIO::EIO->open_ws(port => $nginx->port, timeout => 20);

    is($eio->{ws}->recv, '2', 'C69 after open');
    not_before(0.3, $since, 'C69 not too early');

    for my $n (1 .. 3) {
        $since = time;
        $eio->send('3');
        is($eio->{ws}->recv, '2', "C69 after pong $n");
        not_before(0.3, $since, "C69 after pong $n, not too early");
    }

    $since = time;
    $eio = SIO::EIO->open_ws(port => $nginx->port, timeout => 20,
                             path => '/short/');
    $eio->send('40');
    my ($socket) = $eio->{ws}->recv =~ /^40\{"sid":"([^"]+)"/;

    is($eio->{ws}->recv, '2', 'C70 a ping');
    is_deeply($eio->{ws}->wait_close(20), { code => 1005, reason => '' },
              'C70 no pong: an empty close frame');
    not_before(1.3, $since, 'C70 not too early');
    is_reason($socket, 'ping timeout', 'C70');

    for my $packet ('2', '2probe') {
        $eio = SIO::EIO->open_ws(port => $nginx->port, timeout => 20,
                                 path => '/long/');
        $eio->send('40');
        ($socket) = $eio->{ws}->recv =~ /^40\{"sid":"([^"]+)"/;
        $eio->send($packet);
        is_reason($socket, 'transport error', "C69 a client's $packet");
    }
};


subtest 'no pong' => sub {
    silence($way);

    # One whose poll waits from the beginning.
    my $eio = $way->joined(path => '/short/');
    is_answer($eio->get, 200, '2', 'C70 a ping');
    is_answer($way->waiting($eio)->wait, 200, '1', 'C70 a GET');
    is_reason($eio->{socket}, 'ping timeout', 'C70');
    is_closed($way, $eio, 'C70 closed');

    # One that has fetched its ping and is not seen again.
    my $since = time;
    $eio = $way->joined(path => '/short/');
    is_answer($eio->get, 200, '2', 'C71 a ping');
    is_reason($eio->{socket}, 'ping timeout', 'C71');
    not_before(1.3, $since, 'C71 not too early');
    is_closed($way, $eio, 'C71 closed');

    # One that never polls.
    $since = time;
    $eio = $way->session(path => '/short/');
    is_reason(unpolled($eio), 'ping timeout', 'C71 never polled');
    not_before(1.3, $since, 'C71 never polled, not too early');
    is_closed($way, $eio, 'C71 never polled, closed');

    # One that has left no socket: known by its answer.
    $eio = $way->session(path => '/short/');
    ok($way->closes($eio, 30), 'C71 without a socket');

    $eio = $way->joined(path => '/long/');
    my $pending = $way->waiting($eio);
    is_answer($eio->post_raw('2'), 200, 'ok', "C69 a client's ping");
    is_answer($pending->wait, 200, '1', "C69 ends the session");
    is_reason($eio->{socket}, 'transport error', "C69 a client's ping");
};


# The ping has come at $since; a packet is sent after one second, and the
# session must live two seconds longer.  A machine that was too slow to send it
# in time has shown nothing.

sub extended {
    my ($packet) = @_;

    for (1 .. 5) {
        my $eio = $way->joined(path => '/long/');
        my $begun = time;

        is_answer($eio->get, 200, '2', 'C72 a ping');
        sleep 1;

        my $since = time;
        my $r = $eio->post_raw($packet);

        next if $r->{status} != 200 || time - $begun > 1.9;

        is_answer($eio->get, 200, '1', "C72 $packet, and then silence");
        not_before(2, $since, 'C72 the time-out began anew');
        is_reason($eio->{socket}, 'ping timeout', 'C72');

        return;
    }

    pass('C72 the machine is too slow to tell');
}


subtest 'another packet' => sub {
    extended('6');
    extended('42["e"]');

    # However much it sends, without a pong it is lost.
    my $eio = $way->joined(path => '/short/');
    is_answer($eio->get, 200, '2', 'C72 a ping');

    my $pending = $way->waiting($eio);
    my $n = 0;

    while (!$pending->ready && $n < 500) {
        my $r = $eio->post_raw('6');
        last if $r->{status} != 200;
        $n++;
        sleep 0.05;
    }

    cmp_ok($n, '<', 500, 'C72 only once');
    is_answer($pending->wait, 200, '1', 'C72 and the end');
    is_reason($eio->{socket}, 'ping timeout', 'C72');

    # Once for each ping: a pong opens a new account.
    $eio = $way->joined(path => '/long/');

    for my $n (1 .. 3) {
        is_answer($eio->get, 200, '2', "C72 ping $n");
        is_answer($eio->post_raw('6'), 200, 'ok', "C72 packet $n");
        is_answer($eio->post_raw('3'), 200, 'ok', "C72 pong $n");
    }
};


subtest 'EIO3' => sub {
    my $eio = $way->session(eio => 3);

    is_answer($eio->get, 200, '2:40', 'C73 connected');

    my %answers = (
        '1:2'           => '1:3',
        '6:2probe'      => '1:3',
        '1:21:2'        => '1:31:3',
    );

    for my $payload (sort keys %answers) {
        is_answer($eio->post_raw($payload), 200, 'ok', "C73 $payload");
        is_answer($eio->get, 200, $answers{$payload}, "C73 $payload, pong");
    }

    my $pending = $way->waiting($eio);
    is_answer($eio->post_raw('1:2'), 200, 'ok', 'C73 a ping');
    is_answer($pending->wait, 200, '1:3', 'C73 ends a poll that waits');

    # Nobody is pinged by us.
    $pending = $way->waiting($eio);
    sleep 0.7;
    ok(!$pending->ready, 'C73 the server is silent');

    my $since = time;
    $eio = $way->session(path => '/short/', eio => 3);
    is_answer($eio->get, 200, '2:40', 'C73 connected');
    is_answer($eio->get, 200, '1:1', 'C73 silence');
    not_before(1.3, $since, 'C73 not too early');
    is_closed($way, $eio, 'C73 closed');

    $backend->clear;
    $since = time;
    $eio = $way->session(path => '/short/', eio => 3);
    my ($request) = $backend->wait(1, 20, type => 'connect');
    is_reason($request->{json}{sid}, 'ping timeout', 'C73 never polled');
    not_before(1.3, $since, 'C73 never polled, not too early');

    # Any packet is a sign of life.
    $eio = $way->session(path => '/long/', eio => 3);
    is_answer($eio->get, 200, '2:40', 'C73 connected');
    $since = time;

    for my $packet ('1:2', '1:6', '7:42["e"]') {
        sleep 0.9;
        is_answer($eio->post_raw($packet), 200, 'ok', "C73 $packet");
    }

    not_before(2.6, $since, 'C73 alive for longer than without');

    my $ws = SIO::EIO->open_ws(port => $nginx->port, eio => 3, timeout => 20);
    is($ws->{ws}->recv, '40', 'C73 a WebSocket');
    $ws->send('2');
    is($ws->{ws}->recv, '3', 'C73 ping and pong');

    $since = time;
    $ws = SIO::EIO->open_ws(port => $nginx->port, eio => 3, timeout => 20,
                            path => '/short/');
    is($ws->{ws}->recv, '40', 'C73 a silent one');
    is_deeply($ws->{ws}->wait_close(20), { code => 1005, reason => '' },
              'C73 is closed');
    not_before(1.3, $since, 'C73 not too early');
};


# What a backend has too much to do is not held against the client.

subtest 'a slow backend' => sub {
    $backend->on({ type => 'connect' }, { delay => 2 }, times => 1);

    my $eio = $way->session(path => '/short/');
    is_answer($eio->post_raw('40'), 200, 'ok', 'CONNECT');

    my $connected = 0;

    for (1 .. 50) {
        my @packets = $eio->poll;

        $eio->post('3') if grep { $_ eq '2' } @packets;
        last if $connected = grep { /^40\{/ } @packets;
    }

    ok($connected, 'heartbeats go on meanwhile');
};


$backend->reset;

$ways->run(sub {
    my ($way) = @_;

    pings($way);
    silence($way);
});


$nginx->stop;
$backend->stop;

done_testing();
