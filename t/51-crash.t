#!/usr/bin/perl

# Workers that die at any moment, or stand still, and a zone that is full: the
# others go on, clean up after them, and tell the truth about it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(max);
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Traffic;
use SIO::Util qw(alive scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $unknown = '{"code":1,"message":"Session ID unknown"}';
my $kills = $ENV{SIO_FULL} ? 40 : 4;

my $backend = SIO::Backend->new->start;

my $patience = 8 * scale();

my $server = <<'EOF' =~ s/%%SECONDS%%/$patience/r;
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 2s;
            socketio_ping_timeout %%SECONDS%%s;
            socketio_max_payload 20k;
        }

        # nobody is told of those, and they need not answer for a while
        location /quiet/ {
            socketio;
            socketio_ping_interval 120s;
            socketio_max_payload 20k;
        }

        # nor of those, and a POST of a few events has to wait
        location /held/ {
            socketio;
            socketio_event_rate 1r/s burst=1;
            socketio_ping_interval 120s;
            socketio_max_payload 20k;
        }

        location /_api/ {
            socketio_api;
            client_body_buffer_size 64k;
            allow 127.0.0.1;
            deny all;
        }

        location = /status { socketio_status; }
EOF


sub nginx {
    my ($workers, $zone, $connections) = @_;

    $connections //= 512;

    $backend->reset;
    $backend->on({ type => 'event', event => 'echo' }, { json => {
        ack => '%args%' } });
    $backend->on({ type => 'connect' }, { json => { join => ['room'] } });

    return SIO::Nginx->new(
        workers => $workers,
        backend => $backend,
        http    => "access_log off; socketio_zone socketio $zone; "
                   . 'subrequest_output_buffer_size 1m;',
        server  => $server,
        events  => "worker_connections $connections;",
    )->start;
}


sub client {
    my ($nginx, $transport, %option) = @_;

    return SIO::Client->connect(
        port      => $nginx->port,
        transport => $transport,
        timeout   => 20,
        %option,
    );
}


# A session in this worker, where its polls go, too.

sub client_in {
    my ($nginx, $pid, $transport, %option) = @_;

    my $http = $nginx->connect_to($pid, timeout => 20);
    my $eio = SIO::EIO->new(
        port    => $nginx->port,
        http    => $http,
        timeout => 20,
        %option,
    );

    if ($transport eq 'polling') {
        $eio->opened($eio->decode($eio->get->{body}));

    } else {
        $eio->{ws} = $eio->websocket(http => $http);
        $eio->opened($eio->{ws}->recv);
    }

    my $client = SIO::Client->new(session => $eio, timeout => 20);

    $client->join('/');

    return $client;
}


sub http {
    my ($nginx) = @_;

    return SIO::HTTP->new(port => $nginx->port, timeout => 20);
}


sub emit {
    my ($nginx, $n, $http) = @_;

    return ($http // http($nginx))->post('/_api/emit',
        qq({"event":"n","args":[$n],"to":"room"}))->{body};
}


# The dead have left when this many are left.

sub matched {
    my ($nginx, $expected, $name) = @_;

    my $body;

    wait_until(40, sub {
        $body = emit($nginx, 0);
        return $body eq qq({"matched":$expected});
    });

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($body, qq({"matched":$expected}), $name);
}


sub reasons {
    my ($count) = @_;

    my (%reasons, %seen);

    # Whoever dies while it tells is followed by somebody who tells it again:
    # the same, to be known by its id.
    wait_until(20, sub {
        my %ids = map { $_->{headers}{'webhook-id'} => 1 }
                  grep { defined $_->{done} }
                  $backend->requests(type => 'disconnect');

        return keys %ids >= $count;
    });

    for my $request ($backend->requests(type => 'disconnect')) {
        push @{ $reasons{$request->{json}{sid}} }, $request->{json}{reason}
            if !$seen{$request->{headers}{'webhook-id'}}++;
    }

    return \%reasons;
}


subtest 'workers are killed under traffic' => sub {
    my $nginx = nginx(4, '8m');
    my $traffic = SIO::Traffic->start(
        port      => $nginx->port,
        websocket => 8,
        polling   => 8,
        upgrade   => 2,
        visit     => 1,
        emit      => 1,
        tolerant  => 1,
    );

    for (1 .. $kills) {
        sleep 0.5 + rand 0.3;

        my @workers = $nginx->workers;

        $nginx->kill_worker('KILL', $workers[rand @workers]);
    }

    sleep 0.5;

    my $sum = $traffic->finish;

    is_deeply($sum->{errors}, [], 'nothing but lost connections');
    cmp_ok($sum->{$_}{calls}, '>', 0, "$_: $sum->{$_}{calls} calls")
        for qw(websocket polling upgrade visit);
    cmp_ok($sum->{last}, '>', 0, "$sum->{last} emits");
    note("$sum->{lost} connections were lost");

    matched($nginx, 0, 'nobody is left');

    # Whom the backend has let in, and so knows.
    my %in = map { $_->{json}{sid} => 1 }
             grep { ($_->{status} // 0) == 200 }
             $backend->requests(type => 'connect');

    wait_until(40, sub {
        my %out = map { $_->{json}{sid} => 1 }
                      $backend->requests(type => 'disconnect');

        return !grep { !$out{$_} } keys %in;
    });

    my $reasons = reasons(0);
    my @told = map { scalar @{ $reasons->{$_} // [] } } keys %in;

    is_deeply(\@told, [ (1) x keys %in ],
              keys(%in) . ' clients, the end of each was told once');

    my @client = map { client_in($nginx, $_, 'websocket') } $nginx->workers;

    matched($nginx, 4, 'all workers are there');
    is_deeply([ map { $_->call('echo', 1)->[0] } @client ], [ (1) x 4 ],
              'and work');

    $nginx->stop;
};


subtest 'what a killed worker leaves' => sub {
    my $nginx = nginx(3, '8m');
    my ($victim, $other) = $nginx->workers;

    my $ws = client_in($nginx, $other, 'websocket');
    my $lost = client_in($nginx, $victim, 'websocket');
    my $polling = client_in($nginx, $victim, 'polling');
    my $guest = client_in($nginx, $other, 'polling');

    # Its session's poll waits elsewhere, a poll waits in it for another's.
    my $parked = $polling->eio->get_start(
        http => $nginx->connect_to($other, timeout => 20));
    my $broken = $guest->eio->get_start(
        http => $nginx->connect_to($victim, timeout => 20));

    sleep 0.2;

    $nginx->kill_worker('KILL', $victim);

    my $response = $parked->wait;

    is($response && "$response->{status} $response->{body}", "400 $unknown",
       'a poll that waits for a dead session');
    is($polling->eio->get(http => http($nginx))->{body}, $unknown,
       'a poll that comes later');
    is($polling->eio->post_raw('3', http => http($nginx))->{body}, $unknown,
       'and a POST');

    $response = $broken->wait;
    is($response && $response->{status}, 0, 'a poll that waited there is cut');

    ok(defined $lost->eio->{ws}->wait_close, 'a WebSocket, too');

    is_deeply(reasons(3), {
        $lost->sid    => ['worker lost'],
        $polling->sid => ['worker lost'],
        $guest->sid   => ['transport error'],
    }, 'each end was told once, and why');

    matched($nginx, 1, 'one is left in the room');
    is_deeply($ws->call('echo', 1), [1], 'and is served');

    my $new = client_in($nginx, ($nginx->workers)[-1], 'websocket');

    matched($nginx, 2, 'a new worker has members');

    emit($nginx, 9);
    ok($_->wait_for(sub { $_[0]{text} eq '42["n",9]' }), 'who get emits')
        for $ws, $new;

    $nginx->stop;
};


# A poll and a POST wait in a third worker when their session has moved: they end
# with the worker that has it now, and not with the one that had it.

for my $dies ('former', 'present') {
    subtest "the $dies owner of a session that has moved" => sub {
        my $nginx = nginx(3, '8m');
        my ($one, $two, $third) = $nginx->workers;
        my ($poll, $post) = map { $nginx->connect_to($third, timeout => 20) }
                            0, 1;

        my $client = client_in($nginx, $one, 'polling', path => '/held/');
        my $eio = $client->eio;

        $poll = $eio->get_start(http => $poll);
        $post = $post->start('POST', $eio->url('polling'),
            headers => [ 'Content-Type' => 'text/plain;charset=UTF-8' ],
            body    => $eio->encode(('42["n"]') x 6));

        sleep 0.2;

        my $at = $nginx->connect_to($two, timeout => 20);
        my $ws = $eio->websocket(http => $at);

        my $victim = ($dies eq 'former') ? $one : $two;

        $nginx->kill_worker('KILL', $victim);
        wait_until(20, sub { !grep { $_ == $victim } $nginx->workers });

        if ($dies eq 'present') {
            is(($_->wait // {})->{body}, $unknown, 'is told to both')
                for $poll, $post;

        } else {
            is(($post->wait // {})->{body}, 'ok', 'a POST is answered');

            http($nginx)->post('/_api/emit', '{"event":"n","to":"'
                                             . $client->sid . '"}');
            is(($poll->wait // {})->{body}, '42["n"]', 'and a poll');
        }

        $nginx->stop;
    };
}


subtest 'all workers at once' => sub {
    my $nginx = nginx(3, '8m');
    my @workers = $nginx->workers;
    my @clients = map { client_in($nginx, $_, 'websocket') } @workers;
    my $polling = client_in($nginx, $workers[0], 'polling');

    $nginx->allow(qr/exited on signal 9/);
    kill 'KILL', @workers;

    ok(wait_until(10, sub {
        return 3 == grep { my $pid = $_; !grep { $_ == $pid } @workers }
                    $nginx->workers
    }), 'new workers');

    is($polling->eio->get(http => http($nginx))->{body}, $unknown,
       'polling begins anew');

    is_deeply(reasons(4), {
        map { $_->sid => ['worker lost'] } @clients, $polling
    }, 'each end was told once, and why');

    matched($nginx, 0, 'the room is empty');

    my $new = client($nginx, 'polling');
    $new->eio->upgrade(timeout => 20);

    matched($nginx, 1, 'until somebody comes');
    is_deeply($new->call('echo', 1), [1], 'who is served');

    $nginx->stop;
};


subtest 'a worker that stands still' => sub {
    my $nginx = nginx(3, '512k');
    my ($victim, $other, $third) = $nginx->workers;
    my $lost = client_in($nginx, $victim, 'websocket');
    my $ws = client_in($nginx, $other, 'websocket');
    my $polling = client_in($nginx, $other, 'polling', path => '/quiet/');

    # Afterwards nobody knows who accepts a connection.
    my @https = map { $nginx->connect_to($other, timeout => 30) } 1 .. 30;
    my $elsewhere = $nginx->connect_to($third, timeout => 30);
    my ($post, %number);

    kill 'STOP', $victim;

    # Emits fill the log, which the one does not read any more.
    my $text = 'x' x 15000;
    my ($n, $slowest, $busy, @accepted) = (0, 0, 0);

    my $take = sub {
        my ($http) = @_;

        my $response = $http->{connection}->wait // return;

        push @accepted, $number{$http} if $response->{status} == 200;
        $busy++ if $response->{status} == 503;
    };

    my $declared = wait_until(60, sub {
        my $started = time;

        $ws->call('echo', 1) // die 'no answer';
        $slowest = max($slowest, time - $started);

        for my $http (@https) {
            my $pending = $http->{connection};

            if ($pending->{method}) {
                next if !$pending->ready;
                $take->($http);
            }

            $number{$http} = ++$n;
            $http->start('POST', '/_api/emit', body =>
                qq({"event":"n","args":[$n,"$text"],"to":"room"}));
            last;
        }

        # From a third worker, which finds no room for it.
        $post //= $elsewhere->start('POST', $polling->eio->url('polling'),
                                    body => '42["echo",1]')
            if $busy;

        sleep 0.1;

        return $nginx->log =~ /bytes behind and declared lost/;
    });

    ok($declared, 'who does not read is declared lost');
    cmp_ok($slowest, '<', 2 * scale(), 'nobody else waited');
    cmp_ok($busy, '>', 0, 'emits were refused meanwhile');

    my @full = $nginx->log =~ /(zone "socketio" is full)/g;

    cmp_ok(scalar(@full), '<=', 2, 'of which each worker writes one line');

    $take->($_) for grep { $_->{connection}{method} } @https;

    is(emit($nginx, 0, $https[0]), '{"matched":1}',
       'emits are accepted again');

    my $response = $post && $post->wait;

    is($response && $response->{body}, 'ok', 'what had to wait comes through');

    kill 'CONT', $victim;

    ok($lost->eio->{ws}->wait_close(20), 'the clients of the lost are closed');
    is_deeply(reasons(1), { $lost->sid => ['transport error'] },
              'their ends are told once');

    my $new = client_in($nginx, $victim, 'websocket');

    matched($nginx, 2, 'and have their worker back');
    is_deeply($new->call('echo', 1), [1], 'which works');

    # What was accepted has arrived, what was refused has not.
    $ws->call('echo', 1);

    my @numbers = grep { $_ > 0 }
                  map { $_->{data}[1] } splice @{ $ws->{queue} };

    is_deeply([ sort { $a <=> $b } @numbers ],
              [ sort { $a <=> $b } @accepted ],
              @accepted . ' emits were accepted and have arrived');

    $nginx->stop;
};


# What is said of a death has to wait until there is room; what the status says
# does not.

subtest 'a death that the log has no room for' => sub {
    my $nginx = nginx(6, '512k');
    my ($still, $other, @victims) = $nginx->workers;
    my $waits = client_in($nginx, $still, 'websocket');
    my @lost = map { client_in($nginx, $_, 'websocket') } @victims;
    my $ws = client_in($nginx, $other, 'websocket');
    my $http = $nginx->connect_to($other, timeout => 30);
    my $n = 3000;

    my $open = sub {
        my $status = $http->get('/status')->json;

        return join ' ', $status->{connections}{open}{websocket},
                         $status->{sockets}{open}{'/'};
    };

    # Together more than the log holds, of which nearly nothing is left.  What
    # the first deaths say may find room.
    $backend->on({ type => 'event', event => 'tell' }, { body => '{"emit":['
        . join(',', map { qq({"event":"n","args":[$_],"to":"room"}) } 1 .. $n)
        . ']}' });

    is($open->(), '6 6', 'six clients');

    kill 'STOP', $still;
    $ws->emit('tell');
    ok($nginx->wait_log(qr/"socketio" is full: ring of/, 20),
       'the log is full');

    $nginx->kill_worker('KILL', $_) for @victims;

    my $seen;

    ok(wait_until(8, sub { ($seen = $open->()) eq '2 2' }),
       'who has died is not counted') or diag($seen);
    unlike($nginx->log, qr/declared lost/, 'while there is no room');

    kill 'CONT', $still;

    is_deeply(reasons(4), { map { $_->sid => ['worker lost'] } @lost },
              'each end was told once, and why');

    for my $client ($waits, $ws) {
        my @heard;

        while (@heard < $n) {
            push @heard, ($client->event('n') // last)->[1];
        }

        is_deeply(\@heard, [ 1 .. $n ], 'the others have heard all of it');
    }

    is($open->(), '2 2', 'and are still there');

    $nginx->stop;
};


# What is more than information.

sub loud {
    my ($nginx) = @_;

    return grep { !/ \[(?:info|notice)\] / } split /\n/, $nginx->log;
}


subtest 'no room for another client' => sub {
    my $nginx = nginx(2, '512k');
    my $before = client($nginx, 'websocket');
    my @big = ('User-Agent' => 'x' x 3000);
    my (@clients, $refused);

    # Whoever comes leaves a record in the zone, of what the backend has to be
    # told at the end.
    for (1 .. 200) {
        my $client = SIO::Client->new(
            port      => $nginx->port,
            transport => 'websocket',
            headers   => \@big,
            timeout   => 20,
        );

        if (!eval { $client->join('/') }) {
            $refused = $client;
            last;
        }

        push @clients, $client;
    }

    ok($refused, scalar(@clients) . ' clients fill the zone');
    ok($refused && $refused->eio->{ws}{closed}, 'the next one is closed');

    for (1 .. 5) {
        my $client = SIO::Client->new(
            port    => $nginx->port,
            headers => \@big,
            timeout => 20,
        );

        ok(!eval { $client->join('/') }, 'and those that follow');
    }

    my @lines = loud($nginx);

    is(scalar(grep { !/"socketio" is too small to remember one more client/ }
                   @lines), 0, 'of which nothing else is said');
    cmp_ok(scalar(@lines), '>=', 1, 'than that the zone is too small');
    cmp_ok(scalar(@lines), '<=', 2, 'once by each worker');

    is_deeply($_->call('echo', 1), [1], 'others are served')
        for $before, $clients[0], $clients[-1];

    my $quiet = client($nginx, 'websocket', path => '/quiet/');
    ok($quiet->sid, 'who leaves no record may come');

    $_->disconnect for splice @clients, 0, 5;

    # The room is free when the backend has been told.
    my $new;

    ok(wait_until(20, sub {
        $new = eval { client($nginx, 'websocket', headers => \@big) };
    }), 'when some have left there is room');
    is_deeply($new && $new->call('echo', 1), [1], 'and service');

    # The one before, those who left, and the last.
    is($backend->requests(type => 'connect'), 1 + 5 + @clients + 1,
       'the backend has not heard of the others');

    $nginx->stop;
};


subtest 'no room for another session that moves' => sub {
    my $nginx = nginx(2, '512k', 4096);
    my ($one, $two) = $nginx->workers;
    my @http = map { $nginx->connect_to($one, timeout => 20) } 0 .. 1;
    my (@moved, $refused);

    # Each that is upgraded at the other worker has an entry of its own.
    for (1 .. 3000) {
        my $eio = SIO::EIO->open(http    => $http[0],
                                 path    => '/quiet/',
                                 timeout => 20);

        if (!eval { $eio->upgrade(http => $nginx->connect_to($two)); 1 }) {
            $refused = $eio;
            last;
        }

        push @moved, $eio->{ws};
    }

    ok($refused, scalar(@moved) . ' sessions fill the directory');
    is_deeply([ grep { !/"socketio" .* is full and could not carry an upgrade/ }
                loud($nginx) ], [], 'which is said');
    is(scalar(my @lines = loud($nginx)), 1, 'once');

    my $client = SIO::Client->new(session => $refused, timeout => 20);

    ok($client->join('/')->{data}{sid}, 'the next one goes on with polling');

    SIO::EIO->open(http => $http[0], path => '/quiet/')
            ->upgrade(http => $http[1]);
    pass('or upgrades where it is');

    $_->close for splice @moved, 0, @moved / 2;

    ok(wait_until(20, sub {
        my $eio = SIO::EIO->open(http => $http[0], path => '/quiet/');

        return eval { $eio->upgrade(http => $nginx->connect_to($two)) };
    }), 'when some have left there is room');

    $nginx->stop;
};


done_testing();
