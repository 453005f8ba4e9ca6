#!/usr/bin/perl

# Whatever is needed to carry messages between hosts, and servers of Python and
# Node, fails once, at each place of the source.  That may cost the message, or
# the connection to Redis, for a while; afterwards everything goes on, in the
# same worker, and the other host does not notice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use SIO::Client;
use SIO::EIO;
use SIO::Formats;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Nomem;
use SIO::Redis;
use SIO::Util qw(read_file root scale wait_until);
use SIO::Walk;
use Test::More;

my $json = JSON::PP->new->utf8->canonical;
my $nomem = SIO::Nomem->new;
my $redis = SIO::Redis->new->start;
my $number = 0;


# What servers and emitters say, as they have said it.

my @said = map { [ $_->{channel}, decode_base64($_->{payload_base64}) ] }
           grep { !$_->{reject} && $_->{format} =~ /^(?:python-|node-redis-)/
                  && $_->{channel} =~ /^socket\.?io(?:[#-]|\z)/
                  && $_->{name} !~ /disc(?!onnectSockets-close)/ }
                @{ $json->decode(SIO::Formats::whole(
                       read_file(root() . '/t/vectors/queues.json'))) };


sub host {
    my (%option) = @_;

    return SIO::Nginx->new(
        allow  => [ qr/\b(?:malloc|posix_memalign)\(/, qr/message queue/,
                    qr/\(12: Cannot allocate memory\)/,
                    qr/does not work in this process/ ],
        http   => "socketio_message_queue @{[ $redis->url ]} channel=socketio;"
                  . "socketio_message_queue @{[ $redis->url ]} format=node;"
                  . 'access_log off;',
        server => <<'EOS', %option)->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
            socketio_ping_interval 5m;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS
}


sub api {
    my ($host, $call, $body) = @_;

    my $http = SIO::HTTP->new(port => $host->port, timeout => 1);

    return eval {
        $body ? $http->post("/_api/$call", $json->encode($body))
              : $http->get("/_api/$call");
    };
}


# What a client has heard, without waiting for more; it answers who asks.

sub heard {
    my ($client, $n) = @_;

    my $seen = 0;

    for ( ;; ) {
        my $packet = eval { $client->packet(0.01) };

        # half a surrogate, from Python
        next if $@ =~ /surrogate/;
        last if !$packet;

        my $data = $packet->{data};

        next if ref $data ne 'ARRAY';

        $seen = 1 if $data->[0] eq 'n' && ($data->[1] // '') eq $n;
        eval { $client->ack($packet, 1) } if defined $packet->{id};
    }

    return $seen;
}


sub client {
    my ($host) = @_;

    return SIO::Client->connect(port => $host->port, timeout => 20,
                                transport => 'websocket');
}


my $here = host(env => { $nomem->environment });
my $there = host();
my ($mine, $theirs);


# Whether both ways are open: a client of each host hears the other host.  Ours
# may have had to come back.

sub open_both {
    my $sent = ++$number;

    $mine = client($here) if !$mine || $mine->eio->{ws}{closed};
    $theirs //= client($there);

    api($here, 'emit', { event => 'n', args => [$sent] });
    wait_until(2, sub { heard($theirs, $sent) }) or return 0;

    $sent = ++$number;

    api($there, 'emit', { event => 'n', args => [$sent] });

    return wait_until(2, sub { heard($mine, $sent) });
}


# A session of one host that is asked for at the other.

sub stranger {
    my ($host, $other) = @_;

    eval {
        my $eio = SIO::EIO->open(port => $host->port, timeout => 1);

        $eio->{http} = SIO::HTTP->new(port => $other->port, timeout => 1);
        $eio->post('40');
        $eio->next(0.5);
        $eio->post('1');
    };
}


# Everything that goes through the queues, once; what fails may be lost.

sub visit {
    my @waits;

    $redis->command('PUBLISH', @$_) for @said, [ 'socket.io-request#/#',
        '{"requestId":"old","type":2,"sid":"nobody","room":"r"}' ];

    for my $host ($here, $there) {
        my $http = SIO::HTTP->new(port => $host->port, timeout => 1);

        push @waits, eval { $http->start('POST', '/_api/emit', body =>
            '{"event":"ask","ack":true,"timeout":300,"attachments":["AQID"],'
            . '"args":[{"_placeholder":true,"num":0}]}') } // ();

        api($host, 'emit', { event => 'n', args => [ ++$number, 'x' x 3000 ],
                             to => [ 'a', 'b' ], except => ['c'] });
        api($host, $_, { in => [ 'a', 'b' ], rooms => [ 'r', 's' ] })
            for 'join', 'leave';
        push @waits, eval { $http->start('GET', "/_api/$_") } // ()
            for 'sockets', 'rooms';
    }

    stranger($here, $there);
    stranger($there, $here);

    my $last = ++$number;

    api($there, 'emit', { event => 'n', args => [$last] });

    for (1 .. 20) {
        heard($theirs, 0);
        last if heard($mine, $last);
    }

    eval { $_->wait(0.4) } for @waits;
}


# The connections to Redis are made anew.

sub again {
    $redis->command('CLIENT', 'KILL', 'TYPE', $_) for qw(normal pubsub);

    return wait_until(30 * scale(), \&open_both);
}


# So is the worker.

sub begin {
    my ($fails) = @_;
    my ($old) = $here->workers;

    $here->signal('HUP');
    wait_until(10 * scale(), sub {
        my @workers = $here->workers;

        return @workers == 1 && $workers[0] != $old;
    });

    # some of what it does comes later
    wait_until(2, sub { $nomem->failed }) if $fails;

    eval { $mine->eio->{ws}->close };
}


# The first way to each place that has had no turn; what is wrong afterwards.

my %done;

sub walk {
    my ($visit, $same) = @_;

    my $sites = SIO::Nomem::sites();
    my ($worker) = $here->workers;
    my (%paths, @wrong);

    for my $path (sort { $a->{key} <=> $b->{key} } $nomem->paths) {
        my $place = ($sites->{$path->{calls}[0]} // next)->{place};

        $paths{$place} //= $path
            if $path->{seen} && !$done{$place}
               && SIO::Walk::is_of($path, 'hosts');
    }

    for my $place (sort keys %paths) {
        $nomem->path($paths{$place}, 1);
        $visit->(1);
        $done{$place} = $nomem->failed;
        $nomem->record;

        # a worker without a zone has nothing to say
        begin() if !$same && $done{$place};

        my @what;

        push @what, 'nothing comes through'
            if !wait_until(20 * scale(), \&open_both);
        push @what, 'another worker'
            if $same && "@{[ $here->workers ]}" ne $worker;
        push @what, 'the other host' if $theirs->eio->{ws}{closed};

        push @wrong, $nomem->name($paths{$place}) . ": @what" if @what;
        last if @what;
    }

    is(join("\n", @wrong), '', keys(%paths) . ' places, and each time messages'
                               . ' come through afterwards');
}


ok(wait_until(30 * scale(), \&open_both), 'two hosts');

$nomem->record;
visit() for 1 .. 3;
walk(\&visit, 1);

$nomem->record;
ok(again(), 'Redis has cut them off');
walk(\&again, 1);

$nomem->record;
begin();
ok(wait_until(30 * scale(), \&open_both), 'another worker');
walk(\&begin, 0);

SIO::Walk::all_have_failed($nomem, 'hosts',
    ngx_sio_queue_resolve           => 'with a resolver',
    ngx_sio_queue_keep              => 'with a resolver',
    ngx_sio_redis_handshake         => 'with TLS',
    ngx_http_socketio_letter_insert => 'when the queues are handed over',
    (map { $_ => 'with servers of Node that answer' }
         map { "ngx_http_socketio_node_$_" }
         qw(names name early back sockets socket rooms text)));

$here->stop;
$there->stop;
$redis->stop;

done_testing();
