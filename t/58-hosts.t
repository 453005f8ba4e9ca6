#!/usr/bin/perl

# Another host that asks more than can be answered: what it says is carried out
# in its order all the same, and the memory that its questions take is bounded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use SIO::Client;
use SIO::Nginx;
use SIO::Redis;
use SIO::Status qw(status);
use SIO::Util qw(scale wait_until);
use Test::More;

# as in the source
use constant COMMANDS => 16384;
use constant { ALIVE => 1, ENTRY => 3, EMIT => 1, SOCKET => 7 };

my $redis = SIO::Redis->new->start;
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

    return [ 'c.nginx', pack('L C C S a16 x16 Q', 0x584f4953, 2, $kind, 0,
                             'another host', $ordinal) . $body ];
}


sub command {
    my ($type, %is) = @_;

    return pack('Q2', 0, $is{expires} // 0)
           . pack('S2 L3', 0, 0, 1, $is{asks} // 0, $is{asks} // 0)
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

done_testing();
