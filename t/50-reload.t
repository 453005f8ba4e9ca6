#!/usr/bin/perl

# Reloads and binary upgrades under the feet of clients: nobody is
# disconnected, no request is refused, no message is lost or overtaken, and old
# workers end with their last session.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Procfs qw(cpu memfds);
use SIO::Traffic;
use SIO::Util qw(alive asan wait_until);
use Test::More;
use Time::HiRes qw(sleep);


my $workers = 4;
my $rounds = $ENV{SIO_FULL} ? 20 : 3;

my $backend = SIO::Backend->new->start;

$backend->on({ type => 'event', event => 'echo' }, { json => {
    ack => '%args%' } });
$backend->on({ type => 'connect' }, { json => { join => ['room'] } });

my $http = <<'EOF';
    access_log off;
    %%ZONE%%
EOF

my $server = <<'EOF';
        location %%LOCATION%% {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 2s;
            socketio_ping_timeout 20s;
            socketio_max_payload 100k;
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }
EOF


# The pieces of the configuration that differ.

sub pieces {
    my (%option) = @_;

    my $location = $option{location} // '/socket.io/';
    my $zone = $option{zone} // 'socketio_zone socketio 8m;';

    return (
        http   => $http =~ s/%%ZONE%%/$zone/r,
        server => $server =~ s/%%LOCATION%%/$location/r,
    );
}


sub nginx {
    my (%option) = @_;

    return SIO::Nginx->new(
        workers => $workers,
        backend => $backend,
        daemon  => 0,
        events  => 'worker_connections 512;',

        # nginx gives a new binary no others
        main    => asan() ? join ' ', map { "env $_;" }
                            qw(LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS) : '',
        pieces(%option),
        %option,
    )->start;
}


sub client {
    my ($nginx, $transport) = @_;

    return SIO::Client->connect(
        port      => $nginx->port,
        transport => $transport,
        timeout   => 20,
    );
}


# A WebSocket in this worker.

sub client_in {
    my ($nginx, $pid) = @_;

    my $eio = SIO::EIO->new(port => $nginx->port, timeout => 20);

    $eio->{ws} = $eio->websocket(http => $nginx->connect_to($pid));
    $eio->opened($eio->{ws}->recv);

    my $client = SIO::Client->new(session => $eio, timeout => 20);

    $client->join('/');

    return $client;
}


sub emit {
    my ($nginx, $n) = @_;

    return SIO::HTTP->new(port => $nginx->port, timeout => 20)->post(
        '/_api/emit', qq({"event":"n","args":[$n],"to":"room"}))->{body};
}


sub heard {
    my ($name, @clients) = @_;

    my $n = int rand 1e6;
    my @answers = map { ($_->call('echo', $n) // ['nothing'])->[0] } @clients;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\@answers, [ ($n) x @clients ], "$name: events are answered");
}


# An event and its acknowledgement, and a broadcast to the room.

sub works {
    my ($nginx, $name, @clients) = @_;

    my $n = int rand 1e6;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    heard($name, @clients);

    is(emit($nginx, $n), '{"matched":' . @clients . '}',
       "$name: an emit matches all");

    my @numbers = map { ($_->event('n') // [])->[1] // 'nothing' } @clients;

    is_deeply(\@numbers, [ ($n) x @clients ], "$name: and reaches them");
}


# The second half of an upgrade whose probe has been answered.

sub switch {
    my ($client, $ws) = @_;

    my $eio = $client->eio;

    if (my $pending = delete $eio->{pending}) {
        my $response = $pending->wait(20) // die 'the poll did not end';

        push @{ $eio->{packets} }, $eio->decode($response->{body});
    }

    $ws->send_text('5');
    $eio->{ws} = $ws;
}


sub gone {
    my ($name, @pids) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok(wait_until(20, sub { !grep { alive($_) } @pids }),
       "$name: old workers end with their sessions")
        or diag('still there: ', join ' ', grep { alive($_) } @pids);
}


# Exactly so many webhooks, which their backend has answered.

sub disconnects {
    my ($name, $expected) = @_;

    $backend->wait_done($expected, 20, type => 'disconnect');

    my @reasons = map { $_->{json}{reason} }
                      $backend->requests(type => 'disconnect');

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\@reasons, [ ('transport close') x $expected ],
              "$name: each end was told once");
}


sub complaints {
    my ($nginx, $name) = @_;

    my @lines = grep { / \[(?:warn|error|crit|alert|emerg)\] / }
                split /\n/, $nginx->log;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\@lines, [], "$name: nothing in the log");
}


subtest 'reload with clients of every kind' => sub {
    $backend->clear;

    my $nginx = nginx();
    my @memfds = memfds($nginx->pid);

    is(@memfds, 1, 'one zone');

    my @clients = map { client($nginx, $_) }
                  ('polling') x 6, ('websocket') x 6;
    my %old;

    for my $round (1 .. $rounds) {

        # Probes are under way, then the workers change.
        my @probing = map { client($nginx, 'polling') } 1 .. 4;
        my @sockets;

        for my $c (@probing) {
            my $ws = $c->eio->websocket(timeout => 20);

            $ws->send_text('2probe');
            is($ws->recv, '3probe', "reload $round: probe is answered");
            push @sockets, $ws;
        }

        $old{$_} = 1 for $nginx->reload(timeout => 20);

        is($nginx->workers, $workers, "reload $round: new workers");

        works($nginx, "reload $round", @clients, @probing);
        switch($_, shift @sockets) for @probing;
        works($nginx, "upgraded after reload $round", @clients, @probing);

        # A session of an old worker that moves to a new one.
        my $mover = client($nginx, 'polling');

        $old{$_} = 1 for $nginx->reload(timeout => 20);

        $mover->eio->upgrade(timeout => 20);
        works($nginx, "moved after reload $round", @clients, @probing, $mover);

        $_->disconnect for @probing, $mover;
        $backend->wait_done(5 * $round, 20, type => 'disconnect');
    }

    is_deeply([ memfds($nginx->pid) ], \@memfds, 'the same zone');
    ok(scalar(grep { alive($_) } keys %old), 'old workers have sessions');

    $_->disconnect for @clients;

    disconnects('reloads', @clients + 5 * $rounds);
    gone('reloads', keys %old);
    complaints($nginx, 'reloads');

    $nginx->stop;
};


subtest 'reload under traffic' => sub {
    my $nginx = nginx();
    my $traffic = SIO::Traffic->start(
        port      => $nginx->port,
        websocket => 8,
        polling   => 8,
        upgrade   => 2,
        visit     => 1,
        emit      => 1,
        expected  => 16,
    );

    for (1 .. 2 * $rounds) {
        sleep 0.5;
        $nginx->reload(timeout => 20);
    }

    sleep 0.5;

    my $sum = $traffic->finish;

    is_deeply($sum->{errors}, [], 'all is as it should be');
    cmp_ok($sum->{$_}{calls}, '>', 0, "$_: $sum->{$_}{calls} calls")
        for qw(websocket polling upgrade visit);

    is($sum->{$_}{numbers}, 8 * $sum->{last},
       "$_: $sum->{last} numbers to each") for qw(websocket polling);

    complaints($nginx, 'traffic');

    $nginx->stop;
};


subtest 'an idle worker that drains' => sub {
    my $nginx = nginx();

    # One in each worker, so that all of them stay.
    my @clients = map { client_in($nginx, $_) } $nginx->workers;
    my @old = $nginx->reload(timeout => 20);

    works($nginx, 'drain', @clients);

    # The clients are quiet, and pings come every other second.
    my @before = map { cpu($_) } @old;
    sleep 2;
    my @after = map { cpu($_) } @old;

    is(grep({ alive($_) } @old), $workers, 'drain: all of them stay');

    for my $i (0 .. $#old) {
        cmp_ok($after[$i] - $before[$i], '<', 0.3, 'drain: does not spin');
    }

    $_->disconnect for @clients;

    gone('drain', @old);
    complaints($nginx, 'drain');

    $nginx->stop;
};


subtest 'another size of the zone' => sub {
    my $nginx = nginx();
    my ($memfd) = memfds($nginx->pid);

    my $ws = client($nginx, 'websocket');
    my $polling = client($nginx, 'polling');

    my @old = $nginx->reload(pieces(zone => 'socketio_zone socketio 4m;'));
    my @memfds = memfds($nginx->pid);

    is(@memfds, 1, 'zone: one');
    isnt($memfds[0], $memfd, 'zone: another one');

    # The old workers are on their own now, but nobody is thrown out.
    is_deeply($ws->call('echo', 1), [1], 'zone: a WebSocket goes on');
    is($polling->eio->get->{body},
       '{"code":1,"message":"Session ID unknown"}',
       'zone: polling begins anew');

    my @clients = map { client($nginx, $_) } qw(polling websocket);

    works($nginx, 'zone', @clients);

    # The polling session is waited for until its time is over.
    $ws->disconnect;
    ok(wait_until(20, sub { 1 >= grep { alive($_) } @old }),
       'zone: others do not wait');

    # Its worker may be the one that stays.
    $backend->wait_done(1, 20, type => 'disconnect', sid => $ws->sid);

    complaints($nginx, 'zone');

    $nginx->stop;
};


subtest 'the location has another name' => sub {
    $backend->clear;

    my $nginx = nginx();
    my @clients = map { client($nginx, $_) } qw(websocket polling polling);

    my @old = $nginx->reload(pieces(location => '~ ^/socket\.io/'));

    works($nginx, 'renamed', @clients);

    $clients[2]->eio->upgrade(timeout => 20);
    works($nginx, 'renamed and upgraded', @clients);

    $_->disconnect for @clients;

    disconnects('renamed', 3);
    gone('renamed', @old);
    complaints($nginx, 'renamed');

    $nginx->stop;
};


subtest 'without Socket.IO' => sub {
    my $nginx = nginx();
    my $ws = client($nginx, 'websocket');
    my $polling = client($nginx, 'polling');

    $nginx->reload(http => '', server => '');

    is(memfds($nginx->pid), 0, 'removed: no zone');
    is_deeply($ws->call('echo', 1), [1], 'removed: a WebSocket goes on');
    is($polling->eio->get->{status}, 404, 'removed: polling is not found');

    # And back again, while old workers are there.
    $nginx->reload(pieces());

    my @clients = map { client($nginx, $_) } qw(polling websocket);

    works($nginx, 'removed and back', @clients);
    is_deeply($ws->call('echo', 2), [2], 'removed: and on');

    $nginx->stop;
};


subtest 'binary upgrade' => sub {
    $backend->clear;

    my $nginx = nginx(daemon => 1);
    my @memfds = memfds($nginx->pid);
    my @clients = map { client($nginx, $_) }
                  ('polling') x 4, ('websocket') x 4;

    my $traffic = SIO::Traffic->start(
        port      => $nginx->port,
        websocket => 2,
        polling   => 2,
        visit     => 1,
        upgrade   => 1,
    );

    my $old = $nginx->pid;

    # The old master stays for a while, as with those who may go back.
    $nginx->upgrade(keep_old => 1, timeout => 20);

    is_deeply([ memfds($nginx->pid) ], \@memfds, 'upgrade: the same zone');
    heard('upgrade', @clients);

    kill 'QUIT', $old;
    $nginx->reload(timeout => 20);
    heard('reload after the upgrade', @clients);

    my $sum = $traffic->finish;

    is_deeply($sum->{errors}, [], 'upgrade: all is as it should be');

    works($nginx, 'upgrade', @clients);

    $_->disconnect for @clients;

    gone('upgrade', $old);

    my @reasons = grep { $_ ne 'transport close' }
                  map { $_->{json}{reason} }
                      $backend->requests(type => 'disconnect');

    is_deeply(\@reasons, [], 'upgrade: nobody was cut off');
    complaints($nginx, 'upgrade');

    $nginx->stop;
};


done_testing();
