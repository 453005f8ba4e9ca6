#!/usr/bin/perl

# The backend is down, hangs, is slow, resets its connections, answers garbage,
# and is well again, while clients speak all the time: they stay connected, what
# arrives is in their order, memory stays within bounds, the status says what
# is lost, and whoever leaves meanwhile is told of when the backend is back.
#
# It is down for four seconds, or with SIO_FULL for a minute.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::Nginx;
use SIO::Procfs qw(rss);
use SIO::Status qw(status);
use SIO::Util qw(asan wait_until);
use Test::More;
use Time::HiRes qw(sleep time);


my $minute = $ENV{SIO_FULL} ? 60 : 4;
my $rate = 2000;
my $megabytes = 8;                   # for each worker, of which 2 are its own

my $backend = SIO::Backend->new->start;

$backend->on({ type => 'event', event => 'echo' }, { json => {
    ack => '%args%' } });

my $nginx = SIO::Nginx->new(
    workers   => 2,
    log_level => 'crit',             # each event that is lost is a line
    http      => "upstream app { server @{[ $backend->address ]}; "
                 . 'keepalive 32; } access_log off;',
    server    => <<'CONF',
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_timeout 1s;
            socketio_webhook_queue 16;
            socketio_ping_interval 1s;
            socketio_ping_timeout 20s;
        }

        # for those who do not poll all the time
        location /patient/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_timeout 10m;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location = /status { socketio_status; allow 127.0.0.1; deny all; }
CONF
)->start;


sub client {
    my ($transport, %option) = @_;

    return SIO::Client->connect(
        port      => $nginx->port,
        transport => $transport,
        timeout   => 20,
        %option,
    );
}


# Of WebSockets that write as much as is taken, and read.

my @crowd = map { { client => client('websocket'), out => '', n => 0 } }
            1 .. 40;
my $next = 0;
my $sent = 0;
my $ballast = '';


sub ws {
    my ($s) = @_;

    return $s->{client}->eio->{ws};
}


sub flush {
    my ($s) = @_;

    my $n = syswrite ws($s)->{c}{socket}, $s->{out};

    substr $s->{out}, 0, $n, '' if defined $n;
}


sub listen_to {
    my ($s) = @_;

    while (defined(my $packet = ws($s)->recv(0))) {
        $s->{out} .= ws($s)->frame(1, '3') if $packet eq '2';
    }

    flush($s) if length $s->{out};
}


# So many events in a second; whoever is not read has to wait.

sub pour {
    my ($rate, $seconds) = @_;

    my $last = time;
    my $end = $last + $seconds;
    my $due = 0;
    my $before = $sent;
    my $heard = 0;

    while ((my $now = time) < $end) {
        $due += ($now - $last) * $rate;
        $due = $rate / 5 if $due > $rate / 5;
        $last = $now;

        for (my $stuck = 0; $due >= 1 && $stuck < @crowd; ) {
            my $s = $crowd[$next++ % @crowd];

            if (length $s->{out}) {
                $stuck++;
                next;
            }

            $s->{n}++;
            $s->{out} = ws($s)->frame(1, qq(42["n",$s->{n},"$ballast"]));
            flush($s);
            $sent++;
            $due--;
        }

        if ($now - $heard > 0.1) {
            listen_to($_) for @crowd;
            $heard = $now;
        }

        sleep 0.005;
    }

    note(($sent - $before) . " events in $seconds seconds");
}


# In which the backend answers in this way; undef: it does not run.

sub fault {
    my ($name, $rate, $seconds, $reply) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    subtest $name => sub {
        my $before = status($nginx)->{webhooks}{finished}{event};
        my @leavers = splice @crowd, 0, 2;

        if ($reply) {
            $backend->on({}, $reply);

        } else {
            $backend->stop('KILL');
        }

        pour($rate, $seconds / 2);

        $_->{client}->disconnect for @leavers;

        # A connect that the backend does not answer ends the transport.
        my $new = SIO::Client->new(port => $nginx->port, timeout => 20);

        if ($name ne 'slow') {
            ok(!eval { $new->join('/') } && $new->eio->{ws}{closed},
               'who comes is closed, and may come again');
            ok(wait_until(20, sub {
                listen_to($_) for @crowd;
                return status($nginx)->{webhooks}{pending}{waiting} >= 2;
            }), 'the status shows ends that are to be told again');
        }

        pour($rate, $seconds / 2);

        my $status = status($nginx);
        my $failed = $status->{webhooks}{finished}{event}{failed}
                     - $before->{failed};

        if ($name ne 'slow') {
            cmp_ok($failed, '>', 0, "the status shows $failed lost events");
        }

        if (!asan()) {
            my ($most) = sort { $b <=> $a } map { rss($_) } $nginx->workers;

            cmp_ok($most, '<', $megabytes * 1024, "$most kB");
        }

        if ($reply) {
            $backend->on({}, { status => 204 });
            $backend->on({ type => 'event', event => 'echo' }, { json => {
                ack => '%args%' } });

        } else {
            $backend->start;
        }

        # What waits is taken now, and what comes behind it.
        ok(wait_until(60, sub {
            listen_to($_) for @crowd;
            return !grep { length $_->{out} } @crowd;
        }), 'everybody is read again');

        is_deeply([ map { ($_->{client}->call('echo', 1) // [0])->[0] }
                        @crowd ],
                  [ (1) x @crowd ], 'nobody was disconnected, all are served');

        push @crowd, map { { client => client('websocket'), out => '',
                             n => 0 } } 1 .. 2;
    };
}


my @polling = map { client('polling', path => '/patient/') } 1 .. 2;

fault('down', $rate, $minute, undef);

# All that is said to a backend that hangs would not fit.
$ballast = 'x' x 8000;
fault('hanging', $rate / 2, 2, { hang => 1 });
$ballast = '';

fault('slow', 200, 2, { status => 204, delay => 0.2 });
fault('resetting', 200, 2, { close => 'reset' });
fault('garbage', 200, 2, { raw => "What?\r\n\r\n" });
fault('failing', 200, 2, { status => 503 });

is_deeply([ map { ($_->call('echo', 1) // [0])->[0] } @polling ], [ 1, 1 ],
          'those who poll are served');


subtest 'in the end' => sub {
    $_->{client}->disconnect for @crowd;
    $_->disconnect for @polling;

    my $expected = @crowd + @polling + 12;
    my (%heard, $status);

    ok(wait_until(60, sub {
        $status = status($nginx)->{webhooks};

        return $status->{finished}{disconnect}{ok} == $expected
               && !grep { $_ } values %{ $status->{pending} };
    }), 'all ends are told')
        or diag explain $status;

    # Of all that was ever sent; echoes are on top.
    my $events = $status->{finished}{event};
    my $echoes = 6 * 38 + 2;

    is($events->{ok} + $events->{failed} + $events->{refused}, $sent + $echoes,
       'each event is counted, as taken or as lost');

    my %seen;

    # What nginx did not wait for any more is behind what it sent then.
    push @{ $heard{$_->{sid}} }, $_ for
        grep { !$seen{$_->{id}}++ } map { $_->{json} }
        grep { !$_->{late} } $backend->requests;

    my @wrong;

    for my $sid (sort keys %heard) {
        my @types = map { $_->{type} } @{ $heard{$sid} };
        my @seq = map { $_->{seq} } @{ $heard{$sid} };
        my @n = map { $_->{args}[0] }
                grep { ($_->{event} // '') eq 'n' } @{ $heard{$sid} };

        push @wrong, "$sid: not in order: @n"
            if grep { $n[$_ - 1] >= $n[$_] } 1 .. $#n;
        push @wrong, "$sid: not in order: @seq"
            if grep { $seq[$_ - 1] >= $seq[$_] } 1 .. $#seq;

        # Those who were closed had only a connect, with its webhook.
        push @wrong, "$sid: @types"
            if @types > 1
               && ($types[-1] ne 'disconnect'
                   || 1 != grep { $_ eq 'disconnect' } @types);
    }

    is_deeply(\@wrong, [], 'in the order of each client, and the end last');

    ok(wait_until(20, sub { !status($nginx)->{memory}{used}{journal} }),
       'nothing is left in the journal');
};

$nginx->stop;


done_testing();
