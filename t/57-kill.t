#!/usr/bin/perl

# Workers are killed at each step of what they do with others, and at any moment
# under load.  The others go on; for every connect that was accepted the backend
# hears of one disconnect, behind everything else; and nothing of the dead
# stays: no lock, no member of a room, no memory of the zone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(sum);
use POSIX ();
use SIO::API;
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::Mortal;
use SIO::Nginx;
use SIO::Status qw(status);
use SIO::Traffic;
use SIO::Util qw(alive wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $kills = $ENV{SIO_FULL} ? 100 : 16;

my $mortal = SIO::Mortal->new;
my $holders = 0;                     # of the lock, that were killed
my $backend = SIO::Backend->new->start;


sub nginx {
    my ($workers) = @_;

    $backend->reset;
    $backend->on({ type => 'connect' }, { json => { join => ['room'] } });
    $backend->on({ type => 'connect', namespace => '/slow' }, { json => {
        join => ['room'] }, delay => 0.05 });
    $backend->on({ type => 'event', event => 'echo' }, { json => {
        ack => '%args%' } });
    $backend->on({ type => 'event', event => 'slow' }, { json => {
        state => { n => 1 } }, delay => 0.05 });
    $backend->on({ type => 'event', event => 'slower' }, { delay => 0.2 });

    return SIO::Nginx->new(
        env     => { $mortal->environment },
        workers => $workers,
        allow   => [ qr/exited on signal 9/ ],
        http    => "upstream app { server @{[ $backend->address ]}; "
                   . 'keepalive 32; } access_log off; '
                   . 'socketio_zone socketio 8m;',
        server  => <<'CONF',
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_namespaces / /slow;
            socketio_ping_interval 2s;
            socketio_ping_timeout 8s;
            socketio_max_payload 20k;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location = /status { socketio_status; allow 127.0.0.1; deny all; }
        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
CONF
    )->start;
}


# Who was killed has a successor when this returns.

sub replaced {
    my ($nginx, $pid) = @_;

    return wait_until(20, sub {
        my @workers = $nginx->workers;

        return @workers == $nginx->{workers} && !grep { $_ == $pid } @workers;
    });
}


# What is wrong in what the backend has heard of this client, in the order in
# which it came.  A webhook that is repeated, since whoever sent it died before
# it had read the answer, has the same id; one that its worker has numbered and
# did not come to send is missing before the end.  The one that it had sent may
# be read by a busy backend when the end, sent by another worker, has been.

sub wrong {
    my ($sid, @requests) = @_;

    my (%seen, @wrong);

    if (@requests > 1) {
        my ($end, $late) = @requests[-2, -1];

        @requests[-2, -1] = ($late, $end)
            if ($end->{json}{reason} // '') eq 'worker lost'
               && $late->{json}{seq} == $end->{json}{seq} - 1;
    }

    my @first = grep { !$seen{$_->{json}{id}}++ } @requests;
    my @heard = map { "$_->{json}{seq} $_->{json}{type}" } @first;
    my $ends = grep { $_->{json}{type} eq 'disconnect' } @first;

    push @wrong, "$ends ends" if $ends != 1;
    push @wrong, 'something after the end'
        if $ends && $requests[-1]{json}{type} ne 'disconnect';

    my $end = pop @first;

    push @wrong, 'not one after the other'
        if grep { $first[$_]{json}{seq} != $_ } 0 .. $#first;
    push @wrong, 'more than one is missing'
        if $end->{json}{seq} - @first
           != (($end->{json}{reason} // '') eq 'worker lost'
               && $end->{json}{seq} > @first);

    return map { "$sid: $_: @heard" } @wrong;
}


# Of whom the backend has let in it hears the end, once.  There may be more
# ends: of those whose connect it was about to hear.

sub told_once {
    my ($name) = @_;

    my (%heard, %in);
    my $missing = sub {
        %heard = ();
        push @{ $heard{$_->{json}{sid}} }, $_ for $backend->requests;

        %in = map { $_->{json}{sid} => 1 }
              grep { ($_->{status} // 0) == 200 }
              $backend->requests(type => 'connect');

        return grep {
            !grep { $_->{json}{type} eq 'disconnect' && defined $_->{done} }
                  @{ $heard{$_} };
        } keys %in;
    };

    wait_until(40, sub { !$missing->() });

    my @wrong = map { wrong($_, @{ $heard{$_} }) } sort keys %in;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\@wrong, [], "$name: the end of each of " . keys(%in)
                           . ' was told once, and last');
}


# Everything is as if nobody had ever been here.

sub empty {
    my ($nginx, $name) = @_;

    my $left;

    wait_until(40, sub {
        my $status = status($nginx);
        my $emit = SIO::HTTP->new(port => $nginx->port, timeout => 20)
            ->post('/_api/emit', '{"event":"n","args":[0],"to":"room"}');

        $left = {
            matched => $emit->{body},
            workers => $status->{workers}{count}{live},
            counts  => [
                @{ $status->{connections}{open} }{qw(polling websocket)},
                $status->{sockets}{open}{'/'} // 0,
                @{ $status->{memory}{used} }{qw(journal directory)},
            ],
        };

        return $left->{matched} eq '{"matched":0}'
               && !grep { $_ } @{ $left->{counts} };
    });

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply($left, { matched => '{"matched":0}', counts => [ (0) x 5 ],
                       workers => $nginx->{workers} },
              "$name: nothing of them is left");
}


# Also who was on the way when a worker died.

sub counted {
    my ($nginx, $name) = @_;

    my $connections = status($nginx)->{connections};
    my ($opened, $closed) = map { sum(values %{ $connections->{$_} }) }
                            qw(opened closed);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($closed, $opened, "$name: $opened were opened, and closed");
}


# A session that polls goes to where its WebSocket arrives, while a worker dies
# at the nth step.  True if there are so many steps.

sub move {
    my ($nginx, $n, $under_way) = @_;

    my ($from, $to) = $nginx->workers;
    my $http = $nginx->connect_to($from, timeout => 10);
    my $at = $nginx->connect_to($to, timeout => 10);
    my $eio = SIO::EIO->new(port => $nginx->port, http => $http,
                            timeout => 10);

    $eio->opened($eio->decode($eio->get->{body}));

    my $client = SIO::Client->new(session => $eio, timeout => 10);

    $client->join('/') if $under_way ne 'connect';

    if ($under_way eq 'connect') {
        $eio->post('40/slow,');
        $backend->wait($n, 10, type => 'connect');

    } elsif ($under_way eq 'event') {
        $client->emit('slow', $n);
        $backend->wait(1, 10, sid => $client->sid, event => 'slow');
    }

    $mortal->nth($n);

    # Whoever is left goes on, when the dead has been told of.
    eval { $eio->upgrade(http => $at) };

    wait_until(0.3, sub { $mortal->dead });

    my $dead = $mortal->off;

    $holders++ if $dead && $mortal->held;
    replaced($nginx, $dead) if $dead;

    $client->{nsp} = '/slow' if $under_way eq 'connect';
    eval { $client->call('echo', $n) };
    eval { $client->disconnect };

    return $dead;
}


for my $under_way ('nothing', 'event', 'connect') {
    subtest "at each step of a move, $under_way under way" => sub {
        my $nginx = nginx(3);
        my $n = 0;

        $holders = 0;
        1 while $n < 200 && move($nginx, ++$n, $under_way);

        cmp_ok($n, '>', 10, "$n steps");
        cmp_ok($holders, '>', $n / 3, "at $holders with the lock");
        told_once($under_way);
        empty($nginx, $under_way);
        counted($nginx, $under_way);

        $nginx->stop;
    };
}


# Somebody comes at one worker, goes to another one, and leaves.

sub life {
    my ($nginx) = @_;

    my ($from, $to) = $nginx->workers;
    my $http = eval { $nginx->connect_to($from, timeout => 10) } // return;
    my $at = eval { $nginx->connect_to($to, timeout => 10) } // return;

    eval {
        my $eio = SIO::EIO->open(port => $nginx->port, http => $http,
                                 timeout => 10);
        my $client = SIO::Client->new(session => $eio, timeout => 10);

        $client->join('/');
        $eio->upgrade(http => $at);
        $client->call('echo', 1);
        $client->disconnect;
    };
}


# Whoever has the lock dies with it, half way through what it does.

SKIP: {
    skip 'instructions are counted on x86-64 only', 1
        if (POSIX::uname())[4] ne 'x86_64';

    subtest 'within what needs the lock' => sub {
        my $nginx = nginx(2);
        my $places = $ENV{SIO_FULL} ? 60 : 5;
        my ($locks, $deaths) = (0, 0);

        while ($locks < 60) {
            my $steps;

            # how long it is held, then a few places in between
            for my $place (undef, 1 .. $places) {
                $mortal->nth_lock($locks + 1, defined $place
                    ? 1 + int(($place - 0.5) / $places * $steps) : 1e9);
                life($nginx);
                $steps //= $mortal->passed || last;

                my $dead = $mortal->off or next;

                $deaths++;
                replaced($nginx, $dead);
            }

            last if !$steps;
            $locks++;
        }

        $mortal->off;

        cmp_ok($locks, '>', 5, "$locks locks");
        cmp_ok($deaths, '>', 2 * $locks, "$deaths deaths");
        told_once('within');
        empty($nginx, 'within');
        counted($nginx, 'within');

        $nginx->stop;
    };
}


# Nobody knows how long it takes, but half a second is waited for.

subtest 'while the backend is at work' => sub {
    my $nginx = nginx(2);
    my ($victim) = $nginx->workers;
    my $client = SIO::API->new(nginx => $nginx)->client($victim, 'websocket');

    $client->emit('slower');
    $backend->wait(1, 10, event => 'slower');

    my $killed = time;

    kill 'KILL', $victim;

    ok(replaced($nginx, $victim), 'replaced');
    told_once('at work');

    my ($end) = $backend->requests(type => 'disconnect');

    cmp_ok($end->{time} - $killed, '>', 0.4, 'there is time to be done');

    $nginx->stop;
};


# Nobody takes its place, so those who are there already have to tell.

subtest 'a worker that drains' => sub {
    my $nginx = nginx(2);
    my ($victim) = $nginx->workers;
    my @clients = map { SIO::API->new(nginx => $nginx)->client($victim, $_) }
                      qw(websocket polling);

    $nginx->reload(timeout => 20);
    ok(wait_until(20, sub { $nginx->draining == 1 }), 'it drains, alone');
    kill 'KILL', $victim;

    told_once('drains');
    empty($nginx, 'drains');
    counted($nginx, 'drains');

    is_deeply([ map { $_->{json}{reason} }
                    $backend->requests(type => 'disconnect') ],
              [ ('worker lost') x @clients ], 'with their worker');

    $nginx->stop;
};


# A session is asked for, and stays where it is when nobody waits for it.

subtest 'before a session is moved there' => sub {
    my $nginx = nginx(3);
    my ($owner, $victim, $other) = $nginx->workers;
    my $client = SIO::API->new(nginx => $nginx)->client($owner, 'polling');
    my $at = $nginx->connect_to($victim, timeout => 10);
    my $status = $nginx->connect_to($other, timeout => 20);

    my $log = sub {
        return $status->get('/status')->json->{memory}{used}{log};
    };

    wait_until(10, sub { $log->() == 0 });

    # What is asked is in the log when its reader is behind.
    kill 'STOP', $owner;
    $at->start('GET', $client->eio->url('websocket'), headers => [
        'Connection'            => 'Upgrade',
        'Upgrade'               => 'websocket',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key'     => 'dGhlIHNhbXBsZSBub25jZQ==',
    ]);
    ok(wait_until(10, sub { $log->() > 0 }), 'a WebSocket is there');

    kill 'KILL', $victim;
    ok(replaced($nginx, $victim), 'and its worker dead');
    kill 'CONT', $owner;

    is(eval { $client->call('echo', 1)->[0] }, 1, 'the session goes on');
    eval { $client->disconnect };

    told_once('asked');
    empty($nginx, 'asked');
    counted($nginx, 'asked');

    is_deeply([ map { $_->{json}{reason} }
                    $backend->requests(type => 'disconnect') ],
              ['transport close'], 'and ends by itself');

    $nginx->stop;
};


subtest 'any moment, under load' => sub {
    my $nginx = nginx(4);
    my $traffic = SIO::Traffic->start(
        port      => $nginx->port,
        websocket => 8,
        polling   => 8,
        upgrade   => 4,
        visit     => 2,
        emit      => 1,
        tolerant  => 1,
    );

    for my $n (1 .. $kills) {
        my @workers = $nginx->workers;
        my $victim = $workers[rand @workers];

        # Every other one dies with the lock, or close to it.
        if ($n % 2) {
            sleep rand 0.3;
            kill 'KILL', $victim;

        } else {
            $mortal->nth(1 + int rand 300, $victim);
            wait_until(20, sub { $mortal->dead })
                // diag("$victim has not come to its end");
            $mortal->off;
        }

        ok(replaced($nginx, $victim), "kill $n: replaced");
    }

    sleep 0.5;

    my $sum = $traffic->finish;

    is_deeply($sum->{errors}, [], 'nothing but lost connections');
    cmp_ok($sum->{$_}{calls}, '>', 0, "$_: $sum->{$_}{calls} calls")
        for qw(websocket polling upgrade visit);
    cmp_ok($sum->{lost}, '>', 0, "$sum->{lost} connections were lost");

    told_once('load');
    empty($nginx, 'load');
    counted($nginx, 'load');

    my %reasons = map { $_->{json}{reason} => 1 }
                  $backend->requests(type => 'disconnect');

    ok($reasons{'worker lost'}, 'some ended with their worker');

    # All of them are served, by workers that have the lock when they want it.
    my $api = SIO::API->new(nginx => $nginx);
    my @clients = map { $api->client($_, 'websocket') } $nginx->workers;

    is_deeply([ map { $_->call('echo', 1)->[0] } @clients ], [ (1) x 4 ],
              'new clients are served by each worker');
    is($api->matched('emit', { event => 'n', args => [0], to => 'room' }), 4,
       'and are in their room');

    $nginx->stop;
};


done_testing();
