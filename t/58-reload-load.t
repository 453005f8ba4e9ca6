#!/usr/bin/perl

# Reloads, binary upgrades and the way back from one, again and again under the
# feet of clients that talk: nobody is disconnected, no acknowledgement is lost,
# no request refused, no message missed.  And what a limit to all this does, in
# which clients are sent away one after the other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Traffic;
use SIO::Util qw(alive asan wait_until);
use SIO::Webhooks qw(all_is_told);
use Test::More;
use Time::HiRes qw(sleep);


my $reloads = 20;
my $workers = 3;

my $backend = SIO::Backend->new->start;


sub nginx {
    my (%option) = @_;

    $backend->reset;
    $backend->on({ type => 'connect' }, { json => { join => ['room'] } });
    $backend->on({ type => 'event', event => 'echo' }, { json => {
        ack => '%args%' } });

    my $main = delete $option{main} // '';

    # nginx gives a new binary no others
    $main .= join ' ', map { "env $_;" }
             qw(LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS) if asan();

    return SIO::Nginx->new(
        workers => $workers,
        main    => $main,
        events  => 'worker_connections 512;',
        http    => "upstream app { server @{[ $backend->address ]}; "
                   . 'keepalive 32; } access_log off;',
        server  => <<'CONF',
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 2s;
            socketio_ping_timeout 30s;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
CONF
        %option,
    )->start;
}


# Clients of our own, which miss nothing, and official ones.

sub start {
    my ($nginx) = @_;

    my $traffic = SIO::Traffic->start(
        port      => $nginx->port,
        websocket => 8,
        polling   => 8,
        upgrade   => 2,
        visit     => 1,
        emit      => 1,
        expected  => 16,
        pause     => 0.05,
    );

    my $crowd = SIO::Proc->node('crowd.js',
                                'http://127.0.0.1:' . $nginx->port);

    $crowd->send({ start => [ map { { version => 4, transports => $_ } }
        (['polling']) x 3, (['websocket']) x 3,
        ([ 'polling', 'websocket' ]) x 3
    ] });

    $crowd->json_with('connect') for 1 .. 9;

    return ($traffic, $crowd);
}


# Nothing has happened to anybody, and when all have left, nobody is left.

sub finish {
    my ($nginx, $traffic, $crowd, @old) = @_;

    my $sum = $traffic->finish;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply($sum->{errors}, [], 'nobody has seen anything');
    cmp_ok($sum->{$_}{calls}, '>', 0, "$_: $sum->{$_}{calls} calls")
        for qw(websocket polling upgrade visit);
    is($sum->{$_}{numbers}, 8 * $sum->{last},
       "$_: $sum->{last} numbers to each") for qw(websocket polling);

    # The last word, after which they are asked what they have seen.
    is(SIO::HTTP->new(port => $nginx->port, timeout => 20)
           ->post('/_api/emit', '{"event":"m","args":["bye"]}')->{body},
       '{"matched":9}', 'the official clients are there');

    my @lines;

    wait_until(20, sub {
        $crowd->send({ report => 1 });

        for ( ;; ) {
            push @lines, $crowd->json(20) // last;
            last if $lines[-1]{report};
        }

        return 9 == grep { "@$_" eq 'bye' } @{ $lines[-1]{report} // [] };
    });

    is_deeply($lines[-1]{report}, [ (['bye']) x 9 ], 'and hear');
    is_deeply([ grep { !$_->{report} } @lines ], [],
              'and have never lost their connection');

    $crowd->send({ leave => 1 });
    $crowd->json_with('disconnect') for 1 .. 9;

    ok(wait_until(30, sub { !grep { alive($_) } @old }),
       'old workers end with their sessions')
        or diag('still there: ', join ' ', grep { alive($_) } @old);

    $crowd->kill;

    all_is_told($backend, 'each end was told once');

    my %reasons = map { $_->{json}{reason} => 1 }
                  $backend->requests(type => 'disconnect');

    delete @reasons{'transport close', 'client namespace disconnect'};

    is_deeply([ keys %reasons ], [], 'nobody was cut off');

    is_deeply([ grep { / \[(?:warn|error|crit|alert|emerg)\] / }
                    split /\n/, $nginx->log ], [], 'nothing in the log');
}


subtest "$reloads reloads" => sub {
    my $nginx = nginx();
    my ($traffic, $crowd) = start($nginx);
    my %old;

    for (1 .. $reloads) {
        $old{$_} = 1 for $nginx->reload(timeout => 30);
        sleep 0.1;
    }

    cmp_ok(scalar(keys %old), '>=', $reloads * $workers,
           keys(%old) . ' old workers');
    cmp_ok(scalar(grep { alive($_) } keys %old), '<', $reloads * $workers / 2,
           'those without sessions have left already');

    finish($nginx, $traffic, $crowd, keys %old);

    $nginx->stop;
};


# USR2, WINCH and QUIT, as package managers do it; or USR2, WINCH, and then
# rather not: HUP to the old one, QUIT to the new one.

for my $back (0, 1) {
    subtest 'a binary upgrade' . ($back ? ' that is taken back' : '') => sub {
        my $nginx = nginx(daemon => 1);
        my ($traffic, $crowd) = start($nginx);
        my $old = $nginx->pid;
        my @gone = $nginx->workers;

        $nginx->upgrade(timeout => 30, keep_old => 1);
        sleep 0.5;

        my $new = $nginx->pid;

        if ($back) {
            push @gone, $new, $nginx->workers;
            $nginx->{masters} = [$new];
            $nginx->{pid} = $old;
            $nginx->reload(timeout => 30);
            kill 'QUIT', $new;

        } else {
            push @gone, $old;
            kill 'QUIT', $old;
        }

        sleep 0.5;

        finish($nginx, $traffic, $crowd, @gone);

        $nginx->stop;
    };
}


# In the second half of worker_shutdown_timeout.

subtest 'clients are sent away in turn' => sub {
    my $seconds = 8;
    my $nginx = nginx(main => "worker_shutdown_timeout ${seconds}s;");
    my @clients = map { SIO::Client->connect(
        port => $nginx->port, transport => $_, timeout => 20,
    ) } ('websocket') x 40, ('polling') x 20;

    my @old = $nginx->reload(timeout => 20);

    ok(wait_until(30, sub { !grep { alive($_) } @old }), 'old workers end');

    $backend->wait(60, 20, type => 'disconnect');

    my @ends = $backend->requests(type => 'disconnect');
    my @times = sort { $a <=> $b } map { $_->{time} } @ends;

    is_deeply([ map { $_->{json}{reason} } @ends ],
              [ ('server shutting down') x 60 ], 'with all of their clients');

    my $spread = $times[-1] - $times[0];
    my $most = 0;

    for my $t (@times) {
        my $n = grep { $_ >= $t && $_ < $t + $seconds / 16 } @times;
        $most = $n if $n > $most;
    }

    cmp_ok($spread, '>', $seconds / 4, "over $spread seconds");
    cmp_ok($spread, '<=', $seconds / 2 + 1, 'of the second half');
    cmp_ok($most, '<', 30, "at most $most of them in half a second");

    is($clients[-1]->eio->get->{status}, 400, 'those who poll learn it');
    ok(defined $clients[0]->eio->{ws}->wait_close, 'the others, too');

    all_is_told($backend, 'each end was told once');

    $nginx->stop;
};


done_testing();
