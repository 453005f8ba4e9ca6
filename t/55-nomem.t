#!/usr/bin/perl

# Allocations that fail, one in a hundred, through handshakes, polls, upgrades,
# events, webhooks, broadcasts and API calls: requests and sessions end, workers
# do not, and nothing of what has ended stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Nomem;
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(time);


my $nomem = SIO::Nomem->new;
my $backend = SIO::Backend->new->start;

$backend->on({ type => 'connect' }, { json => { join => 'all' } });
$backend->on({ type => 'event', event => 'echo' }, { json => {
    ack  => '%args%',
    emit => [ { event => 'echoed', args => [1], to => 'all' } ] } });

my $nginx = SIO::Nginx->new(
    env     => { $nomem->environment },
    workers => 2,
    allow   => [ qr/\b(?:malloc|posix_memalign)\(/,
                 qr/Sec-WebSocket-Accept could not be computed/ ],
    http    => "upstream app { server @{[ $backend->address ]}; "
               . 'keepalive 16; } access_log off;',
    server  => <<'CONF',
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 1s;
            socketio_ping_timeout 1s;
            socketio_connect_timeout 1s;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
CONF
)->start;

my @workers = sort { $a <=> $b } $nginx->workers;


sub emit {
    SIO::HTTP->new(port => $nginx->port, timeout => 5)->post('/_api/emit',
        '{"event":"news","args":["' . 'x' x 5000 . '"],"to":"all"}')->{body};
}


# 1 if a client came in and was answered.

sub visit {
    my ($transport, $timeout) = @_;

    return eval {
        my $client = SIO::Client->connect(port => $nginx->port,
            transport => $transport, timeout => $timeout);

        my $reply = $client->call('echo', 7);

        $client->disconnect;
        1;
    } || 0;
}


ok(visit($_, 20), "before, $_") for qw(polling websocket upgrade);

$nomem->hundredth;

my ($good, $bad, $n) = (0, 0, 0);
my $until = time + 60;

# Until it has hurt often enough, or for a minute.
while (time < $until && $bad < 60) {
    visit(qw(polling websocket upgrade)[$n++ % 3], 0.5) ? $good++ : $bad++;
    eval { emit() };
}

$nomem->off;

cmp_ok($bad, '>=', 20, "visits that failed, beside $good that did not");
like($nginx->log, qr/\b(?:malloc|posix_memalign)\([^)]*\) failed/,
     'for want of memory');

ok(wait_until(20 * scale(), sub { visit('websocket', 2) && visit('upgrade', 2)
                                  && visit('polling', 2) }),
   'afterwards clients are served');

is_deeply([ sort { $a <=> $b } $nginx->workers ], \@workers,
          'by the same workers');

ok(wait_until(30 * scale(), sub { (eval { emit() } // '') eq '{"matched":0}' }),
   'and of those who have gone none is left');

$nginx->stop;
$backend->stop;

done_testing();
