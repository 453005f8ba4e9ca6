#!/usr/bin/perl

# How nginx ends, or one generation of its workers: what is under way is
# finished, clients are told in the way that makes them come back, backends are
# told once, and nothing stays behind.

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
use SIO::Procfs qw(memfds);
use SIO::Util qw(alive scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $backend = SIO::Backend->new->start;

my $server = <<'EOF';
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 1s;
            socketio_ping_timeout 20s;
        }

        # who does not answer is given up soon
        location /short/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 1s;
            socketio_ping_timeout 1s;
        }

        # of whose ends nobody is told
        location /brief/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_events event;
        }

        # of whom it takes long to know that they have left
        location /patient/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_timeout 10m;
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }
EOF


sub nginx {
    my (%option) = @_;

    $backend->reset;
    $backend->on({ type => 'event', event => 'echo' }, { json => {
        ack => '%args%' } });
    $backend->on({ type => 'event', event => 'slow' }, { json => {
        ack => '%args%' }, delay => 1.5 });

    return SIO::Nginx->new(
        workers => 2,
        backend => $backend,
        http    => 'access_log off;',
        server  => $server,
        events  => 'worker_connections 256;',
        %option,
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
    my $eio;

    if ($transport eq 'polling') {
        $eio = SIO::EIO->open(http => $http, timeout => 20, %option);

    } else {
        $eio = SIO::EIO->new(port => $nginx->port, timeout => 20, %option);
        $eio->{ws} = $eio->websocket(http => $http);
        $eio->opened($eio->{ws}->recv);
    }

    my $client = SIO::Client->new(session => $eio, timeout => 20);

    $client->join('/');

    return $client;
}


# Sends an event that wants an acknowledgement, and does not wait.

sub ask {
    my ($client, $event, $n) = @_;

    $client->emit_to('/', $n, $event, $n);
}


sub acknowledged {
    my ($client, $n) = @_;

    my $packet = $client->wait_for(sub { $_[0]{type} == 3 });

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($packet && $packet->{text}, "43$n\[$n]", 'acknowledged');
}


sub gone {
    my ($name, @pids) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok(wait_until(20, sub { !grep { alive($_) } @pids }), "$name: gone")
        or diag('still there: ', join ' ', grep { alive($_) } @pids);
}


# sid => [reasons]: more than one means that an end was told twice.

# A webhook that is repeated, since whoever sent it died before the answer, has
# the same id.

sub reasons {
    my (%reasons, %seen);

    push @{ $reasons{$_->{json}{sid}} }, $_->{json}{reason}
        for grep { !$seen{$_->{json}{id}}++ }
                 $backend->requests(type => 'disconnect');

    return \%reasons;
}


subtest 'QUIT waits for the sessions' => sub {
    my $nginx = nginx();
    my $ws = client($nginx, 'websocket');
    my $polling = client($nginx, 'polling', path => '/short/');
    my @workers = $nginx->workers;
    my $master = $nginx->pid;

    $nginx->signal('QUIT');
    ok(wait_until(10, sub { $nginx->draining == 2 || !$nginx->workers }),
       'draining');
    ok(!eval { $polling->eio->get; 1 }, 'nobody listens any more');

    # Longer than several heartbeats.
    my $until = time + 2.5;
    my $n = 0;

    while (time < $until) {
        is_deeply($ws->call('echo', ++$n), [$n], 'a WebSocket goes on');
        ok($ws->silent(0.5), 'and is quiet');
    }

    ok(alive($master), 'the master waits');

    # The one who could not poll any more was given up meanwhile.
    $backend->wait_done(1, 20, type => 'disconnect');
    is_deeply(reasons(), { $polling->sid => ['ping timeout'] },
              'a polling session ends');

    # Between attempts nothing is under way.
    $backend->on({ type => 'disconnect', sid => $ws->sid }, { status => 503 },
                 times => 2);

    is_deeply($ws->disconnect, { code => 1005, reason => '' }, 'bye');

    gone('QUIT', @workers, $master);

    is_deeply([ map { $_->{status} }
                    $backend->requests(type => 'disconnect',
                                       sid  => $ws->sid) ],
              [ 503, 503, 204 ], 'the end is told until it is taken');

    is_deeply(reasons(), {
        $polling->sid => ['ping timeout'],
        $ws->sid      => ['transport close'],
    }, 'backends are told once');

    $nginx->stop('QUIT');
};


subtest 'the time for sessions is over' => sub {
    my $nginx = nginx(main => 'worker_shutdown_timeout 1s;');
    my ($first, $second) = $nginx->workers;
    my @clients = map { client_in($nginx, $_, 'websocket') }
                      $first, $second, $first;
    my $polling = client_in($nginx, $second, 'polling');
    my $patient = client_in($nginx, $second, 'polling', path => '/patient/');

    # It waits in its own worker.
    my $poll = $polling->eio->get_start;

    # For half a minute a poll that tells him would be waited for.
    my $closed = client_in($nginx, $first, 'polling', path => '/patient/');

    is(SIO::HTTP->new(port => $nginx->port)->post('/_api/disconnect',
           '{"in":["' . $closed->sid . '"],"close":true}')->{body},
       '{"matched":1}', 'closed by the application');

    my @old = $nginx->reload(timeout => 20);

    for my $client (@clients) {
        my $packet;

        while (defined(my $text = $client->eio->{ws}->recv(10))) {
            $packet = $text if $text ne '2';
        }

        is($packet, undef, 'C106 no packet before the end');
        ok($client->eio->{ws}{closed}, 'C106 the transport is closed');
    }

    my $response = $poll->wait(10);

    ok($response, 'a poll that waits ends, too');
    unlike($response ? $response->{body} : '41', qr/41/, 'C106 without 41');

    gone('time-out', @old);

    # Their heirs tell the backend.
    $backend->wait_done(6, 20, type => 'disconnect');
    is_deeply(reasons(), {
        $closed->sid => ['server namespace disconnect'],
        map { $_->sid => ['server shutting down'] } @clients, $polling, $patient
    }, 'backends are told once, and why');

    # The same without heirs.
    @clients = map { client_in($nginx, $_, 'websocket') } $nginx->workers;

    my $started = time;
    my $master = $nginx->pid;

    $nginx->signal('QUIT');
    gone('QUIT', $master);
    cmp_ok(time - $started, '>', 0.9, 'not before its time');

    for my $client (@clients) {
        ok($client->eio->{ws}->wait_close(1), 'closed');
    }

    my $told = reasons();

    is_deeply([ map { $told->{$_->sid} } @clients ],
              [ map { ['server shutting down'] } @clients ],
              'backends are told once, without heirs');

    $nginx->stop('QUIT');
};


subtest 'webhooks and polls under way' => sub {
    my $nginx = nginx();
    my ($first, $second) = $nginx->workers;

    my $ws = client_in($nginx, $first, 'websocket');
    my $leaver = client_in($nginx, $first, 'websocket');

    # Session in the one worker, its poll in the other.
    my $polling = client_in($nginx, $second, 'polling');
    my $other = $nginx->connect_to($first, timeout => 20);
    my $poll = $polling->eio->get_start(http => $other);

    ask($_, 'slow', 7) for $ws, $leaver;
    $backend->wait(2, 20, event => 'slow');
    $leaver->disconnect;

    my @old = $nginx->reload(timeout => 20);

    acknowledged($ws, 7);

    my $response = SIO::HTTP->new(port => $nginx->port)->post('/_api/emit',
        '{"event":"n","args":[1],"to":"' . $polling->sid . '"}');

    is($response->{body}, '{"matched":1}', 'an emit to who polls');

    # A ping may have answered the poll meanwhile.
    $response = $poll->wait;
    is($response->{status}, 200, 'a poll that waits is answered');
    push @{ $polling->eio->{packets} },
         $polling->eio->decode($response->{body});

    # Its worker has answered, and takes no other request.
    $polling->eio->{http} = SIO::HTTP->new(port    => $nginx->port,
                                           timeout => 20);
    is_deeply($polling->event('n'), [ 'n', 1 ], 'with the event');

    $_->disconnect for $ws, $polling;

    gone('reload', @old);

    is_deeply(reasons(), {
        map { $_->sid => ['transport close'] } $ws, $leaver, $polling
    }, 'backends are told once');

    # seq 2 is the end: after the answer to what came before it.
    $backend->wait_done(3, 20, sid => $leaver->sid);

    my @done = sort { $a->{done} <=> $b->{done} }
               $backend->requests(sid => $leaver->sid);

    is_deeply([ map { $_->{json}{seq} } @done ], [ 0, 1, 2 ], 'in order');

    $nginx->stop;
};


# None of the workers that drain has a session of its own here, which would keep
# it.

subtest 'what keeps a worker without sessions' => sub {
    my $nginx = nginx(workers => 4);
    my ($owner, $guest, $other, $fourth) = $nginx->workers;

    $backend->on({ type => 'event', event => 'slow' }, { json => {
        emit => [ { event => 'late', args => ['%sid%'],
                    broadcast => JSON::PP::true } ] }, delay => 3 });

    # A poll, of a session elsewhere, that no ping ends.
    my $polling = client_in($nginx, $owner, 'polling', path => '/patient/');
    my $poll = $polling->eio->get_start(
        http => $nginx->connect_to($guest, timeout => 20));

    # A session came with an event that its old worker waits for the answer to,
    # and with one behind it, and has ended.
    my $mover = client_in($nginx, $owner, 'polling');

    $mover->emit('slow');
    $backend->wait(1, 20, event => 'slow');
    $mover->eio->upgrade(http => $nginx->connect_to($other, timeout => 20));
    $mover->emit('next');
    $mover->disconnect;

    # The same without a move.
    my $leaver = client_in($nginx, $fourth, 'websocket');

    $leaver->emit($_) for 'slow', 'next';
    $backend->wait(2, 20, event => 'slow');
    $leaver->disconnect;

    my @old = $nginx->reload(timeout => 20);

    ok(alive($guest), 'who has a poll waits');
    is(SIO::HTTP->new(port => $nginx->port)->post('/_api/emit',
           '{"event":"n","args":[1],"to":"' . $polling->sid . '"}')->{body},
       '{"matched":1}', 'an emit to who polls');

    my $response = $poll->wait;

    is($response && $response->{status}, 200, 'a poll that waits is answered');

    $polling->eio->{http} = SIO::HTTP->new(port    => $nginx->port,
                                           timeout => 20);

    is_deeply([ sort map { ($polling->event('late') // [])->[1] // '' }
                         1 .. 2 ],
              [ sort map { $_->sid } $mover, $leaver ],
              'what the application answers is heard');
    $polling->disconnect;

    gone('reload', @old);

    for my $client ($mover, $leaver) {
        $backend->wait_done(1, 20, sid => $client->sid, type => 'disconnect');

        my @told = map { $_->{json} } $backend->requests(sid => $client->sid);

        is_deeply([ map { [ $_->{seq}, $_->{event} // $_->{reason} // '' ] }
                        @told ],
                  [ [ 0, '' ], [ 1, 'slow' ], [ 2, 'next' ],
                    [ 3, 'transport close' ] ],
                  'and all is told, in order');
    }

    $nginx->stop;
};


# Somebody stands still, and the log is full.  What the application says then
# waits in the worker that it has said it to, also when that has nothing else
# to do.

for my $case (
    [ 'when it begins to drain', '/brief/',     0 ],
    [ 'with an end to tell',     '/socket.io/', 0 ],
    [ 'while it drains',         '/brief/',     1 ],
) {
    my ($when, $path, $drains) = @$case;

    subtest "what waits for room in the log, $when" => sub {
        my $nginx = nginx(
            workers => 3,
            http    => 'access_log off; socketio_zone socketio 512k; '
                       . 'socketio_max_payload 20k; '
                       . 'subrequest_output_buffer_size 1m;',
        );
        my ($still, $leaver, $other) = $nginx->workers;
        my $text = 'x' x 5000;

        # together much more than the log holds
        $backend->on({ type => 'event', event => 'tell' }, { body =>
            '{"emit":[' . join(',', map {
                qq({"event":"said","args":[$_,"$text"],"broadcast":true})
            } 1 .. 100) . ']}' });

        my $listener = client_in($nginx, $other, 'websocket', path => $path);
        my $speaker = client_in($nginx, $leaver, 'websocket', path => $path);

        my $drain = sub {
            kill 'QUIT', $leaver;
            ok(wait_until(10, sub {
                return grep { $_ == $leaver } $nginx->draining;
            }), 'a worker drains');
        };

        if ($drains) {
            $drain->();
            is_deeply($speaker->call('echo', 1), [1], 'and goes on');
            sleep 0.5;
        }

        kill 'STOP', $still;

        $speaker->emit('tell');
        ok($nginx->wait_log(qr/"socketio" is full: ring of/, 20),
           'the log is full');
        $speaker->disconnect;
        $drain->() if !$drains;

        # Longer than it would take to end.
        sleep 0.5;
        ok(alive($leaver), 'who has something to say waits');

        kill 'CONT', $still;

        gone('with room', $leaver);

        my @said;

        while (@said < 100) {
            push @said, ($listener->event('said') // last)->[1];
        }

        is_deeply(\@said, [ 1 .. 100 ], 'what it has to say is heard');

        my @ends = $backend->requests(type   => 'disconnect',
                                      reason => 'transport close');

        is(@ends, $path eq '/brief/' ? 0 : 1, 'and so is the end');

        $nginx->stop;
    };
}


# Not longer than five seconds after the last client was closed.

subtest 'a backend that hangs' => sub {
    my $nginx = nginx(main => 'worker_shutdown_timeout 1s;');
    my @clients = map { client_in($nginx, $_, 'websocket') }
                      ($nginx->workers) x 2;

    $backend->on({ type => $_ }, { hang => 1 }) for qw(event disconnect);

    ask($_, 'hangs', 1) for @clients[0, 1];
    $backend->wait(2, 20, event => 'hangs');

    my @old = $nginx->reload(timeout => 20);

    # Its own time would be ten seconds, and five minutes for the ends.
    gone('hanging', @old);

    $backend->on({ type => 'disconnect' }, {});
    $backend->wait_done(4, 40, type => 'disconnect', status => 204);

    is_deeply(reasons(), {
        map { $_->sid => ['server shutting down'] } @clients
    }, 'those who follow tell the ends');

    $nginx->stop;
};


subtest 'TERM does not wait' => sub {
    my $nginx = nginx();
    my ($first, $second) = $nginx->workers;
    my @clients = map { client_in($nginx, $first, $_) }
                      ('websocket') x 3, ('polling') x 3;

    # As service managers do it: QUIT, and when that takes too long, TERM.
    # Meanwhile polls wait where their session is, and where it is not, and
    # webhooks for an answer.
    $backend->on({ type => 'event', event => 'slow' }, { delay => 10 });
    ask($_, 'slow', 7) for @clients;
    $backend->wait(6, 20, event => 'slow');

    my @polls = (
        $clients[3]->eio->get_start,
        $clients[4]->eio->get_start(http => $nginx->connect_to($second)),
    );

    sleep 0.2;
    $nginx->signal('QUIT');
    ok(wait_until(10, sub { $nginx->draining == 2 }), 'draining');

    my $started = time;

    # a worker that were killed for taking its time would be in the log
    $nginx->stop('TERM');

    cmp_ok(time - $started, '<', 5 * scale(), 'TERM: at once');

    for my $client (@clients[0 .. 2]) {
        my $ws = $client->eio->{ws};
        my @packets;

        while (defined(my $packet = $ws->recv(1))) {
            push @packets, $packet if $packet ne '2';
        }

        is_deeply(\@packets, [], 'C106 no packet before the end');
        ok($ws->{closed}, 'C106 the transport is closed');
    }

    # A ping may have been quicker.
    my @responses = map { $_->wait(1) } @polls;

    like($responses[0] && $responses[0]{body}, qr/^[12]\z/,
         'C106 a poll is told the end');
    like($responses[1] && $responses[1]{body}, qr/^[12]?\z/,
         'C106 or cut off where the session is not');

    is_deeply([ grep { @$_ > 1 } values %{ reasons() } ], [],
              'backends are told once at most');
};


subtest 'nothing piles up' => sub {
    my $nginx = nginx();

    my $descriptors = sub {
        return join ' ', map { scalar(() = glob "/proc/$_/fd/*") }
                             $nginx->pid, $nginx->workers;
    };

    # until the workers know each other
    my $before = '';
    wait_until(10, sub {
        my $last = $before;

        sleep 0.3;
        $before = $descriptors->();

        return $before eq $last;
    });

    my @memfds = memfds($nginx->pid);

    $nginx->reload(wait_old => 1, timeout => 20) for 1 .. 10;

    is(@memfds, 1, 'one zone');
    is_deeply([ memfds($nginx->pid) ], \@memfds, 'the same after ten reloads');

    # The master closes those of old workers when it hears of their end.
    ok(wait_until(10, sub { $descriptors->() eq $before }),
       'and no other descriptor') or diag("$before, ", $descriptors->());

    my @files = sort glob $nginx->prefix . '/*';
    my $log = $nginx->mark;

    for (1 .. 3) {
        ok(scalar $nginx->check, 'nginx -t');
    }

    is_deeply([ sort glob $nginx->prefix . '/*' ], \@files, 'no other file');
    is_deeply([ memfds($nginx->pid) ], \@memfds, 'no other zone');
    is(substr($nginx->log, $log), '', 'not a line in the log');

    $nginx->stop;
};


subtest 'a single process' => sub {
    my $nginx = nginx(workers => 0, main => 'master_process off;');

    my $listens = sub {
        return eval { SIO::HTTP->new(port => $nginx->port)->get('/_pid') };
    };

    ok(wait_until(10, $listens), 'single: up');

    my @clients = map { client($nginx, $_) } qw(websocket polling);

    is_deeply($_->call('echo', 1), [1], 'single: answers') for @clients;

    my $pid = $nginx->pid;

    $nginx->signal('QUIT');
    ok($clients[0]->eio->{ws}->wait_close, 'single: QUIT closes');
    gone('single', $pid);

    $nginx->stop('QUIT');
};


done_testing();
