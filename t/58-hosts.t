#!/usr/bin/perl

# Another host that asks more than can be answered: what it says is carried out
# in its order all the same, and the memory that its questions take is bounded.
# And clients that send more to sessions of another host than can be passed on,
# since Redis is away, or that host stands still: what is kept is bounded, and
# who has to come again is told so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use List::Util qw(sum);
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Procfs qw(grows_less rss);
use SIO::Redis;
use SIO::Status qw(status);
use SIO::Util qw(scale wait_until);
use Test::More;

# as in the source
use constant COMMANDS => 16384;
use constant { ALIVE => 1, ENTRY => 3, EMIT => 1, SOCKET => 7 };

# Redis closes a connection that is not read, but not in this test.
my $redis = SIO::Redis->new(
    args => [ '--client-output-buffer-limit', 'pubsub', 0, 0, 0 ])->start;
my $nginx = SIO::Nginx->new(
    workers => 2,
    http    => 'socketio_message_queue ' . $redis->url . ' channel=c;',
    server  => <<'EOS')->start;
    location /socket.io/ { socketio; }
    location = /status { socketio_status; }
EOS


# What a host of this module writes, with the order of octets that this
# machine has.

sub said {
    my ($kind, $ordinal, $body) = @_;

    return [ 'c.nginx', pack('L C C S a16 x16 Q', 0x584f4953, 3, $kind, 0,
                             'another host', $ordinal) . $body ];
}


sub command {
    my ($type, %is) = @_;

    return pack('Q2', 0, $is{expires} // 0)
           . pack('L4', ($is{asks} // 0) << 8, 1, $is{asks} // 0, 0)
           . pack('L8', 1, $type, 0, $is{to} ? 1 : 0, 0, 0, 0, 0)
           . pack('(L/a)*', '/', $is{token} // '', $is{to} // ())
           . pack('L/a', $is{json} // '');
}


sub publish {
    my ($socket, @messages) = @_;

    while (my @some = splice @messages, 0, 500) {
        print $socket map {
            my @words = ('PUBLISH', @$_);
            join '', "*3\r\n", map { '$' . length($_) . "\r\n$_\r\n" } @words;
        } @some;

        $socket->flush;

        for (@some) {
            <$socket> =~ /^:/ or die 'not published';
        }
    }
}


my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                   PeerPort => $redis->port)
    or die "no redis: $!";
my $client = SIO::Client->connect(port => $nginx->port,
                                  transport => 'websocket', timeout => 60);

wait_until(20 * scale(), sub {
    grep { $_ } values %{ status($nginx)->{queues}{up} };
}) or BAIL_OUT($nginx->log);

my $alive = pack('Q2 L2', 1, 1, 1, 0);
my $ordinal = 0;

publish($socket, said(ALIVE, 0, $alive),
        said(ENTRY, ++$ordinal, command(EMIT, json => '["n",0]')));
is_deeply($client->packet->{data}, [ 'n', 0 ], 'another host is heard');


# Each of these is answered by both workers, and might be by more.  As much time
# as may be, and more: they wait until the end of this test.

for my $expires (600_000, 700_000, ~0) {
    publish($socket, map {
        said(ENTRY, ++$ordinal, command(SOCKET, to => 'x', asks => $ordinal,
                                        expires => $expires));
    } 0 .. COMMANDS / 2);
}

publish($socket, said(ENTRY, ++$ordinal, command(EMIT, json => '["n",1]')),
        said(ALIVE, $ordinal, $alive));

is_deeply(eval { $client->packet->{data} }, [ 'n', 1 ],
          'and so is what it says behind all its questions');

my $queues = status($nginx)->{queues};

cmp_ok((values %{ $queues->{received} })[0], '>=', $ordinal, 'all was taken');
is_deeply([ grep { $_ } map { values %$_ } values %{ $queues->{refused} } ],
          [], 'nothing was refused');

$client->disconnect;
$nginx->stop;


# Two hosts, and many sessions of the first.

my ($first, $second) = map {
    my $host = SIO::Nginx->new(
        workers => 1,
        events  => 'worker_connections 1024;',
        http    => 'socketio_message_queue ' . $redis->url . ' channel=d;'
                   . 'access_log off;',
        server  => <<'EOS')->start;
    location /socket.io/ {
        socketio;
        socketio_max_payload 200k;
        socketio_ping_timeout 10m;
    }

    location = /status { socketio_status; }
EOS

    $host->allow(qr/message queue/);
    $host;
} 1, 2;

my $many = 200;
my $octets = 150_000;


sub session {
    my ($host) = @_;

    my $eio = SIO::EIO->open(port => $host->port, timeout => 60);

    $eio->post('40');

    return $eio;
}


# Requests that the second host has to pass on.

sub posts {
    my ($length, @sessions) = @_;

    my $body = '42["n","' . 'x' x $length . '"]';

    return map {
        SIO::HTTP->new(port => $second->port, timeout => 60)
            ->start('POST', $_->url('polling'), body => $body)
    } @sessions;
}


# How often each status was the answer.

sub answers {
    my @requests = @_;
    my %statuses;

    wait_until(30, sub { !grep { !$_->ready } @requests });

    $statuses{$_->ready ? $_->wait(1)->{status} : 'none'}++ for @requests;

    return \%statuses;
}


sub memory {
    return sum map { rss($_) } $second->workers;
}


my $probe = session($first);

sub heard {
    return wait_until(60, sub { !!answers(posts(1, $probe))->{200} });
}

ok(heard(), 'one host passes on what is for the other')
    or BAIL_OUT($second->log);
is_deeply(answers(posts($octets, $probe)), { 200 => 1 },
          'also a body that does not come at once');


subtest 'while Redis is away' => sub {
    my @rounds = map { [ map { session($first) } 1 .. $many ] } 1 .. 3;

    $redis->stop;

    ok(wait_until(20, sub { (values %{ status($second)->{queues}{up} })[0]
                            == 0 }), 'it is known to be away');

    # a few less are kept, since each takes more than its octets
    my $room = 4 * 1024 * 1024 / $octets;
    my (@memory, @kept);

    for my $sessions (@rounds) {
        my @posts = posts($octets, @$sessions);
        my $least = @posts - (@kept ? 1 : $room);

        ok(wait_until(60, sub { grep({ $_->ready } @posts) >= $least }),
           'who finds no room is answered at once');

        my @now = grep { $_->ready } @posts;

        push @kept, grep { !$_->ready } @posts;
        push @memory, memory();

        is_deeply(answers(@now), { 503 => scalar @now }, 'and what');
    }

    cmp_ok(scalar @kept, '>', $room - 3, @kept . ' are kept');
    grows_less(@memory[0, -1], 8 * 1024, 'memory, of 30 MB in each round');

    is(eval { session($second)->get->{status} }, 200, 'others are served');

    $redis->start;

    my $answers = answers(@kept);

    is_deeply($answers, { 200 => scalar @kept },
              'when it is back those that were kept are passed on')
        or diag explain $answers;
};


ok(heard(), 'so are others');


# What waits has its own body, and of all of them so much is kept besides.

subtest 'while the other host stands still' => sub {
    my @sessions = map { session($first) } 1 .. 2 * $many;
    my @workers = $first->workers;
    my $before = memory();

    my $handed = sub {
        return ($redis->command('INFO', 'stats')
                =~ /^total_net_input_bytes:(\d+)/m)[0];
    };

    my $so_far = $handed->();

    kill 'STOP', @workers;

    my @posts = posts($octets, @sessions);

    ok(wait_until(60, sub { $handed->() > $so_far + @posts * $octets }),
       'all of them have been handed to Redis');

    is(eval { session($second)->get->{status} }, 200, 'others are served');
    grows_less($before, memory(), (60 + 16 + 16) * 1024,
               'memory, of 60 MB');

    kill 'CONT', @workers;

    my $answers = answers(@posts);

    is_deeply($answers, { 200 => scalar @posts },
              'it answers all when it goes on')
        or diag explain $answers;
};


# The log has room for some requests, and more are kept by those who ask.

subtest 'while the worker that serves the queue stands still' => sub {
    my $third = SIO::Nginx->new(
        workers => 2,
        events  => 'worker_connections 1024;',
        http    => 'socketio_zone socketio 8m; socketio_message_queue '
                   . $redis->url . ' channel=d; access_log off;',
        server  => <<'EOS')->start;
    location /socket.io/ { socketio; socketio_max_payload 200k; }
EOS

    $third->allow(qr/message queue|is full|exited on signal 9/);

    my @sessions = map { session($first) } 1 .. $many;

    $second->stop;
    $second = $third;
    ok(heard(), 'a host of two workers');

    my ($server) = $third->log =~ /(\d+)#\d+: this worker serves/;
    my ($other) = grep { $_ != $server } $third->workers;
    my @ways = map { $third->connect_to($other, timeout => 60) } @sessions;

    kill 'STOP', $server;

    my $body = '42["n","' . 'x' x $octets . '"]';
    my @posts = map {
        $ways[$_]->start('POST', $sessions[$_]->url('polling'), body => $body)
    } 0 .. $#sessions;

    ok(wait_until(20, sub { grep { $_->ready } @posts }),
       'who finds no room is answered');

    my @now = grep { $_->ready } @posts;

    is_deeply(answers(@now), { 503 => scalar @now }, 'to come again');

    kill 'KILL', $server;
};


$_->stop for $first, $second;

done_testing();
