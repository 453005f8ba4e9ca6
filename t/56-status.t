#!/usr/bin/perl

# The status page of several workers: what they have counted stays, whatever
# becomes of them, and what they had goes with them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(sum);
use SIO::Backend;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Status qw(status counted plus upgrade);
use SIO::Traffic;
use SIO::Util qw(asan scale wait_until);
use SIO::Webhooks qw(client_of);
use Test::More;
use Time::HiRes qw(sleep);


my $backend = SIO::Backend->new->start;
my $patience = 10 * scale();

my $http = <<"EOF";
    upstream app {
        server @{[ $backend->address ]};
        keepalive 16;
    }

    # no heartbeat is to be counted
    socketio_ping_interval 600s;
EOF

my $server = <<'EOF' =~ s/%%SECONDS%%/$patience/gr;
        location /socket.io/ {
            socketio;
            socketio_namespaces *;
        }

        location /hooked/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_timeout %%SECONDS%%s;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
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
    my (%option) = @_;

    $backend->reset;

    my $more = delete $option{more} // '';

    return SIO::Nginx->new(
        http   => "$http$more",
        server => $server,

        # nginx gives a new binary no others
        main   => asan() ? join ' ', map { "env $_;" }
                           qw(LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS) : '',
        %option,
    )->start;
}


subtest 'several workers, and the end of one' => sub {
    my $nginx = nginx(workers => 4);
    my ($victim, @others) = $nginx->workers;
    my $sum = {};

    my @hooked = map { client_of($nginx, $_, path => '/hooked/') }
                     $victim, @others, $victim;
    my @polling = map { client_of($nginx, $_, transport => 'polling',
                                  nsp => '/p') } $victim, $others[0];

    $_->emit('x') for @hooked;

    counted($nginx, plus($sum,
        'connections.open.websocket'      => 5,
        'connections.open.polling'        => 2,
        'connections.opened.websocket'    => 5,
        'connections.opened.polling'      => 2,
        'sockets.open./'                  => 5,
        'sockets.open./p'                 => 2,
        'sockets.accepted'                => 7,
        'received.packets'                => 7 + 5,
        'sent.packets'                    => 7 * 2,
        'webhooks.finished.connect.ok'    => 5,
        'webhooks.duration.connect.count' => 5,
        'webhooks.finished.event.ok'      => 5,
        'webhooks.duration.event.count'   => 5,
    ), 'four workers are one');

    # An upgrade elsewhere takes the session along.
    upgrade($polling[1]->eio, http => $nginx->connect_to($victim));

    counted($nginx, plus($sum,
        'connections.open.polling'   => -1,
        'connections.open.websocket' => 1,
        'connections.upgraded'       => 1,
        'received.packets'           => 2,
        'sent.packets'               => 2,
    ), 'a session that has moved is counted once');

    my $since = status($nginx)->{since};

    $nginx->kill_worker('KILL', $victim);

    # Two of hooked and both others; the ends are told by somebody else.
    counted($nginx, plus($sum,
        'connections.open.websocket'         => -3,
        'connections.open.polling'           => -1,
        'connections.closed.worker lost'     => 4,
        'sockets.open./'                     => -2,
        'sockets.open./p'                    => -2,
        'webhooks.finished.disconnect.ok'    => 2,
        'webhooks.duration.disconnect.count' => 2,
    ), 'what a killed worker has counted stays, what it had is gone',
       timeout => 20);

    is(status($nginx)->{since}, $since, 'it is the same zone');

    my ($new) = grep { my $pid = $_; !grep { $pid == $_ } @others }
                $nginx->workers;

    my $last = client_of($nginx, $new, nsp => '/p');

    counted($nginx, plus($sum,
        'connections.open.websocket'   => 1,
        'connections.opened.websocket' => 1,
        'sockets.open./p'              => 1,
        'sockets.accepted'             => 1,
        'received.packets'             => 1,
        'sent.packets'                 => 2,
    ), 'and its successor goes on');

    # All at once: who counts is gone, the numbers are not.
    $nginx->allow(qr/exited on signal 9/);

    my %old = map { $_ => 1 } $nginx->workers;

    kill 'KILL', keys %old;

    ok(wait_until(20, sub {
        return 4 == grep { !$old{$_} } $nginx->workers;
    }), 'all are killed');

    counted($nginx, plus($sum,
        'connections.open.websocket'         => -4,
        'connections.closed.worker lost'     => 4,
        'sockets.open./'                     => -3,
        'sockets.open./p'                    => -1,
        'webhooks.finished.disconnect.ok'    => 3,
        'webhooks.duration.disconnect.count' => 3,
    ), 'after the end of all workers', timeout => 20);

    $nginx->stop;
};


subtest 'reload' => sub {
    my $nginx = nginx(workers => 2);
    my $sum = {};

    my @clients = map { client_of($nginx, $_) } $nginx->workers;

    $nginx->reload;

    my $new = client_of($nginx, ($nginx->workers)[0],
                        transport => 'polling');

    counted($nginx, plus($sum,
        'connections.open.websocket'   => 2,
        'connections.open.polling'     => 1,
        'connections.opened.websocket' => 2,
        'connections.opened.polling'   => 1,
        'sockets.open./'               => 3,
        'sockets.accepted'             => 3,
        'received.packets'             => 3,
        'sent.packets'                 => 6,
        'workers.count.live'           => 4,
    ), 'old workers and new ones');

    $_->eio->{ws}->close for @clients;

    ok(wait_until(20, sub { !$nginx->draining }), 'the old ones leave');

    counted($nginx, plus($sum,
        'connections.open.websocket'         => -2,
        'connections.closed.transport close' => 2,
        'sockets.open./'                     => -2,
        'workers.count.live'                 => -2,
    ), 'what they have counted stays');

    $nginx->stop;
};


subtest 'binary upgrade' => sub {
    my $nginx = nginx(workers => 2, daemon => 1);

    my @old = map { client_of($nginx, $_) } $nginx->workers;

    $nginx->upgrade;

    my $new = client_of($nginx, ($nginx->workers)[0]);

    counted($nginx, {
        'connections.open.websocket'   => 3,
        'connections.opened.websocket' => 3,
        'sockets.open./'               => 3,
        'sockets.accepted'             => 3,
        'received.packets'             => 3,
        'sent.packets'                 => 6,
        'workers.count.live'           => 4,
    }, 'the new binary goes on', timeout => 20);

    $_->eio->{ws}->close for @old;

    counted($nginx, {
        'connections.open.websocket'         => 1,
        'connections.opened.websocket'       => 3,
        'connections.closed.transport close' => 2,
        'sockets.open./'                     => 1,
        'sockets.accepted'                   => 3,
        'received.packets'                   => 3,
        'sent.packets'                       => 6,
        'workers.count.live'                 => 2,
    }, 'alone', timeout => 20);

    $nginx->stop;
};


# A worker that stands still until it is declared lost, and comes back.

subtest 'a worker that was lost' => sub {
    my $nginx = nginx(workers => 2, more => <<'EOF');
    socketio_zone socketio 512k;
    socketio_max_payload 20k;
EOF
    my ($victim, $other) = $nginx->workers;

    my $lost = client_of($nginx, $victim, nsp => '/lost');
    my $ws = client_of($nginx, $other);

    # Only one of them answers then; those who are refused wait meanwhile.
    my $http = $nginx->connect_to($other, timeout => 30);
    my @writers = map { $nginx->connect_to($other, timeout => 30) } 1 .. 30;

    my $page = sub { return $http->get('/status')->json };
    my $text = 'x' x 15000;
    my $status;

    kill 'STOP', $victim;

    ok(wait_until(60, sub {
        $status = $page->();
        return 1 if $status->{workers}{count}{lost};

        for my $writer (@writers) {
            my $waits = $writer->{connection};

            if ($waits->{method}) {
                next if !$waits->ready;
                $waits->wait;
            }

            $writer->start('POST', '/_api/emit', body =>
                qq({"event":"n","args":["$text"],"namespace":"/lost"}));
            last;
        }

        sleep 0.1;
        return 0;
    }), 'it is lost');

    my @lag = sort { $b <=> $a } values %{ $status->{workers}{lag} };

    cmp_ok($lag[0], '>', 50000, 'it has not read');
    is($status->{workers}{count}{live}, 1, 'one lives');
    is($status->{sockets}{open}{'/lost'}, 1, 'its client is still there');

    kill 'CONT', $victim;

    counted($nginx, {
        'connections.open.websocket'         => 1,
        'connections.opened.websocket'       => 2,
        'connections.closed.transport error' => 1,
        'sockets.open./'                     => 1,
        'sockets.accepted'                   => 2,
        'received.packets'                   => 2,
        'sent.packets'                       => 4,
    }, 'back again it has no clients, and its numbers', timeout => 20);

    ok(wait_until(5, sub {
        return !grep { $_ } values %{ status($nginx)->{workers}{lag} };
    }), 'and it reads');

    $nginx->stop;
};


# Sessions that upgrade elsewhere, leave, and lose their workers, at any moment:
# none is counted twice, or forgotten.

sub traffic {
    my ($kills) = @_;

    my $nginx = nginx(workers => 4, server => <<'EOS' =~ s/%%S%%/$patience/r);
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 2s;
            socketio_ping_timeout %%S%%s;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

    $backend->on({ type => 'event', event => 'echo' }, { json => {
        ack => '%args%' } });
    $backend->on({ type => 'connect' }, { json => { join => ['room'] } });

    # somebody to be lost with each worker
    my @clients = map { client_of($nginx, $_) } $nginx->workers;

    my $traffic = SIO::Traffic->start(
        port      => $nginx->port,
        websocket => 4,
        polling   => 4,
        upgrade   => 4,
        visit     => 4,
        emit      => 1,
        tolerant  => 1,
    );

    my ($before, @back) = status($nginx);

    for my $round (1 .. 8) {
        sleep 0.25;

        $nginx->kill_worker('KILL', ($nginx->workers)[0])
            if $kills && $round % 3 == 0;

        my $now = status($nginx);

        push @back, map { backwards($before->{$_}, $now->{$_}) }
                    qw(received sent requests replies);
        push @back, map { backwards($before->{connections}{$_},
                                    $now->{connections}{$_}) }
                    qw(opened upgraded closed);

        $before = $now;
    }

    is_deeply(\@back, [], 'no number goes back');
    is_deeply($traffic->finish->{errors}, [], 'nothing but lost connections');

    $_->eio->{ws}->drop for @clients;

    my $connections;

    # Those who have left without a word are closed by a heartbeat.
    ok(wait_until(60, sub {
        my $status = status($nginx);

        $connections = $status->{connections};

        return !grep { $_ } values %{ $connections->{open} },
                            values %{ $status->{sockets}{open} },
                            values %{ $status->{webhooks}{pending} };
    }), 'nobody is left');

    my ($opened, $closed) = map { sum(values %{ $connections->{$_} }) }
                            qw(opened closed);

    cmp_ok($connections->{upgraded}, '>', 0,
           "$connections->{upgraded} were upgraded");

    return ($nginx, $opened, $closed, $connections->{closed}{'worker lost'});
}


subtest 'traffic' => sub {
    my ($nginx, $opened, $closed, $lost) = traffic(0);

    is($closed, $opened, "$opened sessions were opened, and closed");
    is($lost, 0, 'none was lost');

    $nginx->stop;
};


# Also who was on the way from or to the worker.

subtest 'traffic, and workers that are killed' => sub {
    my ($nginx, $opened, $closed, $lost) = traffic(1);

    is($closed, $opened, "$opened sessions were opened, and closed");
    cmp_ok($lost, '>', 0, "$lost have lost their worker");

    $nginx->stop;
};


# Whether a number, or one of several, has become smaller.

sub backwards {
    my ($before, $now) = @_;

    return $now < $before ? "$before, $now" : () if !ref $before;
    return map { backwards($before->{$_}, $now->{$_}) } keys %$before;
}


# What a socket leaves in the journal, and a moved session in the directory.

subtest 'tables' => sub {
    my $nginx = nginx(workers => 2);
    my ($first, $second) = $nginx->workers;
    my $used = sub { return status($nginx)->{memory}{used}{$_[0]} };

    my $client = client_of($nginx, $first, path => '/hooked/');

    cmp_ok($used->('journal'), '>', 0, 'a record');
    is($used->('directory'), 0, 'nobody has moved');

    my $mover = client_of($nginx, $first, transport => 'polling');

    upgrade($mover->eio, http => $nginx->connect_to($second));

    ok(wait_until(10, sub { $used->('directory') > 0 }), 'somebody has');

    $_->eio->{ws}->close for $client, $mover;

    ok(wait_until(10, sub {
        return $used->('directory') == 0 && $used->('journal') == 0;
    }), 'nothing is left');

    $nginx->stop;
};


done_testing();
