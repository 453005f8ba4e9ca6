#!/usr/bin/perl

# However a socket ends, its backend hears of it once, as the last thing, with
# the reason; also when the worker that had it is killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(wait_until);
use SIO::Webhooks qw(client_of webhooks_of disconnect_of all_is_told);
use Test::More;
use Time::HiRes qw(sleep);

my $backend = SIO::Backend->new->start;

# What malloc() gives is not zero.
my $nginx = SIO::Nginx->new(
    workers => 4,
    env     => { MALLOC_PERTURB_ => 165 },
    main    => 'worker_shutdown_timeout 1s;',
    backend => $backend,
    server  => <<'EOS',
        socketio_webhook /_hook;
        socketio_webhook_timeout 30s;

        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
        }
        location /hasty/ {
            socketio;
            socketio_ping_interval 200ms;
            socketio_ping_timeout 300ms;
        }
        location /small/ {
            socketio;
            socketio_send_buffer 16k;
        }
        location /_api/ { socketio_api; allow 127.0.0.1; deny all;
                          client_max_body_size 2m; }
EOS
)->start;

my $http = SIO::HTTP->new(port => $nginx->port);


sub client {
    my (%option) = @_;

    return SIO::Client->connect(port => $nginx->port, %option);
}


sub reason_of {
    my ($sid) = @_;

    my $webhook = disconnect_of($backend, $sid, 10) // return '(none)';

    return $webhook->{reason};
}


sub settle {
    my (%refused) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    # a second one would come soon
    sleep 0.3;

    all_is_told($backend, 'all is told, in order and once', %refused);

    $backend->reset;
}


subtest 'reasons' => sub {
    my $api = sub {
        my ($call, $body) = @_;

        is($http->post("/_api/$call", $body)->{status}, 200, $call);
    };

    my $ws = sub { $_[0]->eio->{ws} };

    for my $case (
        [ 'client namespace disconnect' => 'the client leaves',
          sub { $_[0]->leave } ],
        [ 'server namespace disconnect' => 'the API says so',
          sub { $api->('disconnect', '{"in":["' . $_[0]->sid . '"]}') } ],
        [ 'server namespace disconnect' => 'the API closes the transport',
          sub { $api->('disconnect', '{"in":["' . $_[0]->sid . '"],'
                       . '"close":true}') } ],
        [ 'transport close' => 'a close frame',
          sub { $ws->($_[0])->close(1000) } ],
        [ 'transport close' => 'FIN',
          sub { $ws->($_[0])->drop } ],
        [ 'transport close' => 'RST',
          sub { $ws->($_[0])->abort } ],
        [ 'transport close' => 'a close packet',
          sub { $_[0]->eio->send('1') } ],
        [ 'transport error' => 'an invalid frame',
          sub { $ws->($_[0])->send_frame(1, 'x', rsv => 1) } ],
        [ 'parse error' => 'an invalid Engine.IO packet',
          sub { $_[0]->eio->send('9') } ],
        [ 'forced close' => 'an invalid Socket.IO packet',
          sub { $_[0]->eio->send('49') } ],
    ) {
        my ($reason, $name, $end) = @$case;
        my $client = client();

        $end->($client);

        is(reason_of($client->sid), $reason, $name);
        $client->eio->{ws}->drop;
    }

    for my $case (
        [ 'client namespace disconnect' => 'the client leaves',
          sub { $_[0]->leave } ],
        [ 'transport close' => 'a close packet',
          sub { $_[0]->disconnect } ],
        [ 'parse error' => 'a payload that is none',
          sub { $_[0]->eio->post_raw('9') } ],
        [ 'transport error' => 'two polls at a time',
          sub { my @polls = map { $_[0]->eio->get_start } 1 .. 2;
                ok(wait_until(5, sub { grep { $_->ready } @polls }),
                   'are too many'); } ],
    ) {
        my ($reason, $name, $end) = @$case;
        my $client = client(transport => 'polling');

        $end->($client);

        is(reason_of($client->sid), $reason, "polling: $name");
        eval { $client->disconnect };
    }

    settle();
};


subtest 'heartbeats that do not come' => sub {
    my @clients = map { client(path => '/hasty/', transport => $_) }
                  qw(websocket polling);

    is(reason_of($_->sid), 'ping timeout', 'the reason') for @clients;

    settle();
};


subtest 'a client that does not read' => sub {
    my $eio = SIO::EIO->new(port => $nginx->port, path => '/small/');

    $eio->{ws} = $eio->websocket(rcvbuf => 4096);
    $eio->opened($eio->{ws}->recv);

    my $client = SIO::Client->new(session => $eio);

    $client->join('/');

    my $text = 'x' x 500_000;

    for (1 .. 60) {
        $http->post('/_api/emit', '{"event":"e","args":["' . $text . '"]}');
        last if $backend->requests(sid => $client->sid, type => 'disconnect');
    }

    is(reason_of($client->sid), 'slow consumer', 'the reason');

    $client->eio->{ws}->drop;
    settle();
};


subtest 'all sockets of a session' => sub {
    my $client = client();

    $client->join('/chat');
    $client->leave;

    is(reason_of($client->sid), 'client namespace disconnect', 'one leaves');
    is($backend->requests(type => 'disconnect'), 1, 'the other stays');

    $client->join('/');
    my @sids = map { $client->sid($_) } '/', '/chat';

    $backend->on({ type => 'connect', namespace => '/chat' },
                 { status => 500 });

    $client->leave('/chat');
    is(reason_of($sids[1]), 'client namespace disconnect', 'and then leaves');

    $client->send_packet(0, '/chat');
    is(reason_of($sids[0]), 'forced server close',
       'a connect that fails takes the transport with it');

    my ($failed) = grep { ($_->{status} // 0) == 500 } $backend->requests;

    settle($failed->{json}{sid} => 1);
};


subtest 'a client that leaves before it was let in' => sub {
    for my $case (
        [ 'accepted' => {} ],
        [ 'refused'  => { status => 403 } ],
        [ 'failed'   => { status => 500 } ],
    ) {
        my ($name, $reply) = @$case;

        for my $leave (
            [ 'by TCP'    => sub { $_[0]->eio->{ws}->drop } ],
            [ 'by packet' => sub { $_[0]->send_packet(1, '/') } ],
        ) {
            $backend->on({ type => 'connect' }, { delay => 0.4, %$reply });

            my $client = SIO::Client->new(port => $nginx->port);

            $client->send_packet(0, '/');

            my ($connect) = $backend->wait(1, 5, type => 'connect');
            my $sid = $connect->{json}{sid};

            $leave->[1]->($client);
            $backend->wait_done(1, 5, type => 'connect');

            if ($name eq 'accepted') {
                my $reason = reason_of($sid);

                like($reason, $leave->[0] eq 'by TCP'
                              ? qr/^transport close\z/
                              : qr/^client namespace disconnect\z/,
                     "$name, $leave->[0]");
                settle();

            } else {
                sleep 0.5;
                is($backend->requests(type => 'disconnect'), 0,
                   "$name, $leave->[0]");
                settle($sid => 1);
            }

            $client->eio->{ws}->drop;
        }
    }
};


subtest 'a worker that is killed' => sub {
    my @workers = $nginx->workers;
    my $victim = $workers[1];

    $backend->on({ type => 'connect' }, { json => {
        user  => 'u-%sid%',
        state => { n => 1 },
    } });

    my @clients = (
        client_of($nginx, $victim),
        client_of($nginx, $victim, transport => 'polling'),
        client_of($nginx, $victim, nsp => '/chat'),
    );

    my @sids = map { $_->sid($_->{nsp}) } @clients;

    # of the session that has two, both
    $clients[2]->join('/');
    push @sids, $clients[2]->sid;

    # one that is there, one that has left, one that is at work
    my $other = client_of($nginx, $workers[2]);
    my $left = client_of($nginx, $victim);

    $left->disconnect;
    is(reason_of($left->sid), 'transport close', 'one has left before');

    $backend->on({ event => 'change' }, { json => { state => { n => 2 } } });
    $clients[0]->emit('change');
    $backend->wait_done(1, 5, event => 'change');

    $backend->on({ event => 'slow' }, { delay => 1 });
    $clients[2]->emit_to('/chat', undef, 'slow');
    $clients[2]->emit_to('/chat', undef, 'never');
    $backend->wait(1, 5, event => 'slow');

    $clients[0]->emit('last');
    $backend->wait_done(1, 5, event => 'last');

    $nginx->kill_worker('KILL', $victim);

    for my $sid (@sids) {
        my $webhook = disconnect_of($backend, $sid, 10) // {};
        my $before = grep { $_->{json}{type} ne 'disconnect' }
                     $backend->requests(sid => $sid);

        is($webhook->{reason}, 'worker lost', 'the reason');
        is($webhook->{user}, "u-$sid", 'the user');
        is($webhook->{seq}, $before, 'the number');
        is($webhook->{state}{n}, $sid eq $sids[0] ? 2 : 1, 'the state');
    }

    is($backend->requests(sid => $other->sid, type => 'disconnect'), 0,
       'others stay');

    $other->disconnect;
    settle();
};


subtest 'killed with the disconnect under way' => sub {
    my ($victim) = reverse $nginx->workers;
    my $client = client_of($nginx, $victim);
    my $sid = $client->sid;

    $backend->on({ type => 'disconnect' }, { delay => 5 }, times => 1);
    $client->disconnect;
    $backend->wait(1, 5, type => 'disconnect');

    $nginx->kill_worker('KILL', $victim);

    my @found = $backend->wait(2, 10, type => 'disconnect');

    is(@found, 2, 'is told again');
    is($found[1]{body}, $found[0]{body}, 'in the same words');
    is($found[1]{headers}{'webhook-id'}, $found[0]{headers}{'webhook-id'},
       'under the same id');

    settle();
};


subtest 'killed while a connect is under way' => sub {
    my $victim = ($nginx->workers)[0];
    my $client = client_of($nginx, $victim);

    $backend->on({ type => 'connect' }, { delay => 0.5 });
    $client->send_packet(0, '/chat');

    my ($r) = $backend->wait(1, 5, type => 'connect', namespace => '/chat');

    $nginx->kill_worker('KILL', $victim);

    is(reason_of($r->{json}{sid}), 'worker lost', 'it may have been accepted');
    is(reason_of($client->sid), 'worker lost', 'the other one, too');

    settle();
};


# A session that was opened at one worker and upgraded at another.

sub moved {
    my ($from, $to) = @_;

    my $client = client_of($nginx, $from, transport => 'polling');

    $client->eio->upgrade(http => $nginx->connect_to($to));

    # an answer shows where it has arrived
    $client->emit('moved');
    $backend->wait_done(1, 5, event => 'moved', sid => $client->sid);

    return $client;
}


subtest 'sockets that have moved' => sub {
    my @workers = $nginx->workers;

    my $client = moved(@workers[ 0, 1 ]);

    $client->disconnect;
    is(reason_of($client->sid), 'transport close', 'an end at the new worker');

    $client = moved(@workers[ 0, 1 ]);
    $client->join('/chat');
    $client->leave('/chat');
    $client->emit('behind it');
    ok($backend->wait(1, 20, event => 'behind it') > 0,
       'who leaves a namespace there is still read');
    $client->disconnect;

    $client = moved(@workers[ 2, 1 ]);
    $nginx->kill_worker('KILL', $workers[1]);
    is(reason_of($client->sid), 'worker lost', 'the new worker is killed');

    @workers = $nginx->workers;
    $client = moved(@workers[ 0, 3 ]);
    $nginx->kill_worker('KILL', $workers[0]);
    $client->emit('still here');
    ok($backend->wait(1, 5, event => 'still here') > 0,
       'the old worker is killed: nothing happens');

    $client->disconnect;
    is(reason_of($client->sid), 'transport close', 'until the end');

    settle();
};


subtest 'moved with a webhook under way' => sub {
    my @workers = $nginx->workers;
    my $client = client_of($nginx, $workers[0], transport => 'polling');

    $backend->on({ event => 'slow' }, { delay => 0.8,
                                        json => { user => 'late' } });
    $client->emit('slow');
    $backend->wait(1, 5, event => 'slow');
    $client->emit('next');

    $client->eio->upgrade(http => $nginx->connect_to($workers[1]));
    $client->emit('last');
    $client->disconnect;

    is(reason_of($client->sid), 'transport close', 'the end');

    my @found = webhooks_of($backend, $client->sid);

    is(join(' ', map { ($_->{json}{event} // $_->{json}{type}) . '='
                       . ($_->{json}{user} // '') } @found),
       'connect= slow= next=late last=late disconnect=late',
       'order and user are kept');

    settle();
};


subtest 'a reload that is out of patience' => sub {
    my @clients = (client(), client(transport => 'polling'), client());

    $backend->on({ event => 'slow' }, { delay => 3 });
    $clients[2]->emit('slow');
    $backend->wait(1, 5, event => 'slow');

    $nginx->reload;

    is(reason_of($_->sid), 'server shutting down', 'the reason') for @clients;

    settle();
};


$nginx->stop;
$backend->stop;

done_testing();
