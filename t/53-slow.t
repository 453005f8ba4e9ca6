#!/usr/bin/perl

# Clients that do not read, do not come back, or are too many: memory stays
# within bounds, and everybody else is served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Procfs qw(grows_less rss settles);
use SIO::Util qw(scale wait_until);
use SIO::WS;
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);


my $full = $ENV{SIO_FULL};
my $backend = SIO::Backend->new->start;
my $patience = 20 * scale();

my $server = <<'EOF' =~ s/%%SECONDS%%/$patience/r;
        # so that the kernel does not take what clients do not
        listen 127.0.0.1:%%PORT_small%% sndbuf=16k;

        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_timeout %%SECONDS%%s;
            socketio_send_buffer 64k;

            # the memory of a crowd at the backend is not what is measured
            socketio_webhook_concurrency 8;

            # nor are heartbeats
            socketio_ping_interval 10m;
        }

        location /brief/ {
            socketio;
            socketio_ping_interval 1s;
            socketio_ping_timeout 1s;
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

    return SIO::Nginx->new(
        workers => 1,
        backend => $backend,
        http    => 'access_log off;',
        server  => $server,
        events  => 'worker_connections 2048;',
        %option,
    )->start;
}


sub client {
    my ($nginx, $transport, %option) = @_;

    return SIO::Client->connect(
        port      => $nginx->port('small'),
        transport => $transport,
        timeout   => 20,
        %option,
    );
}


# A client that will not read: its window is full very soon.

sub stopped {
    my ($nginx) = @_;

    my $eio = SIO::EIO->new(port => $nginx->port('small'), timeout => 20);

    $eio->{ws} = $eio->websocket(rcvbuf => 4096);
    $eio->opened($eio->{ws}->recv);

    my $client = SIO::Client->new(session => $eio, timeout => 20);

    $client->join('/');

    return $client;
}


sub emit {
    my ($http, $n, $length) = @_;

    my $text = 'x' x $length;

    return $http->post('/_api/emit',
        qq({"event":"n","args":[$n,"$text"]}))->{body};
}


sub reasons {
    return { map { $_->{json}{sid} => $_->{json}{reason} }
                 $backend->requests(type => 'disconnect') };
}


# Connections without objects, since there are thousands.

sub open_socket {
    my ($port, $data) = @_;

    socket my $socket, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', $patience, 0;
    connect $socket, pack_sockaddr_in($port, INADDR_LOOPBACK)
        or die "connect: $!";
    syswrite($socket, $data) == length $data or die "write: $!";

    return $socket;
}


# Has the other side ended it?

sub closed {
    my ($socket) = @_;

    my $n = recv $socket, my $octet, 1, MSG_DONTWAIT | MSG_PEEK;

    return defined $n ? $octet eq '' : !$!{EAGAIN};
}


sub read_until {
    my ($socket, $pattern) = @_;

    my $text = '';

    until ($text =~ $pattern) {
        sysread $socket, $text, 4096, length $text
            or die "nothing more after: $text";
    }

    return $text;
}


sub get {
    my ($port, $target) = @_;

    return read_until(open_socket($port, "GET $target HTTP/1.1\r\nHost: x\r\n"
                                         . "Connection: close\r\n\r\n"),
                      qr/\r\n\r\n.+/s);
}


# So many WebSockets at a time, in a namespace, and away in three ways.

sub cycle {
    my ($port, $n) = @_;

    my $masked = sub { pack('CC', $_[0], 0x80 | length $_[1])
                       . "\0\0\0\0" . $_[1] };
    my $hello = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                . "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                . "Sec-WebSocket-Version: 13\r\n"
                . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                . $masked->(0x81, '40');
    my @sockets;

    for my $i (1 .. $n) {
        push @sockets, open_socket($port, $hello);

        next if @sockets < 100 && $i < $n;

        read_until($_, qr/40\{"sid":"/) for @sockets;

        for my $k (0 .. $#sockets) {
            my $socket = $sockets[$k];

            if ($k % 3 == 0) {
                syswrite $socket, $masked->(0x88, pack 'n', 1000);
                read_until($socket, qr/\x88\x02/);

            } elsif ($k % 3 == 1) {
                setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
            }

            close $socket;
        }

        @sockets = ();
    }
}


subtest 'clients that do not read' => sub {
    my $nginx = nginx();
    my ($worker) = $nginx->workers;
    my $http = SIO::HTTP->new(port      => $nginx->port,
                              keepalive => 1,
                              timeout   => 20);

    my @reading = map { client($nginx, 'websocket') } 1 .. 3;
    my @stopped = map { stopped($nginx) } 1 .. 30;
    my $before = rss($worker);
    my $peak = $before;
    my $last = 300;
    my @numbers;

    for my $n (1 .. $last) {
        emit($http, $n, 1000);

        push @{ $numbers[$_] }, ($reading[$_]->event('n') // [])->[1]
            for 0 .. $#reading;

        my $rss = rss($worker);
        $peak = $rss if $rss > $peak;
    }

    # All share the messages, of which there are 64k for each at most.
    grows_less($before, $peak, 2048, 'memory while they do not read');

    is_deeply($_, [ 1 .. $last ], 'a client that reads has everything')
        for @numbers;
    is_deeply($_->call('echo', 1), [1], 'and is served') for @reading;

    $backend->wait_done(30, 20, type => 'disconnect');
    is_deeply(reasons(), { map { $_->sid => 'slow consumer' } @stopped },
              'the others are closed as slow consumers');

    is(emit($http, 1, 1), '{"matched":3}', 'and are not there any more');

    # What it could still read is whole.
    my $ws = $stopped[0]->eio->{ws};
    my $seen = 0;

    while (defined(my $packet = $ws->recv(20))) {
        $seen++ if $packet =~ /^42\["n",\d+,"x+"\]\z/;
    }

    ok($ws->{closed}, "such a client is closed, after $seen messages");

    # The others never read on: nobody waits for them for long.
    ok(wait_until(30, sub {
        my @sockets = glob "/proc/$worker/fd/*";

        return @sockets < @stopped;
    }), 'those who do not read are cut off');

    $nginx->stop;
};


subtest 'clients that do not poll' => sub {
    my $nginx = nginx();
    my $http = SIO::HTTP->new(port      => $nginx->port,
                              keepalive => 1,
                              timeout   => 20);

    my @patient = map { client($nginx, 'polling') } 1 .. 3;

    emit($http, $_, 1000) for 1 .. 50;

    for my $client (@patient) {
        my @numbers = map { ($client->event('n') // [])->[1] } 1 .. 50;

        is_deeply(\@numbers, [ 1 .. 50 ], 'what waited is there in order');
    }

    emit($http, $_, 1000) for 1 .. 100;

    is(emit($http, 1, 1), '{"matched":0}', 'more than the buffer is too much');
    $backend->wait_done(3, 20, type => 'disconnect');
    is_deeply(reasons(), { map { $_->sid => 'slow consumer' } @patient },
              'they are slow consumers');

    is($patient[0]->eio->get->{body},
       '{"code":1,"message":"Session ID unknown"}', 'which polling tells');

    $nginx->stop;
};


subtest 'more clients than connections' => sub {
    my $nginx = nginx(events => 'worker_connections 64;');

    $nginx->allow(qr/worker_connections are not enough/);

    my $ws = client($nginx, 'websocket');
    my @sockets;

    # Of a hundred that never finish their request at least 36 are closed, new
    # ones or those that had not begun: so many cannot be.
    for my $round (1 .. 3) {
        push @sockets, map { open_socket($nginx->port, "GET") } 1 .. 100;

        ok(wait_until(20, sub { 100 - 64 <= grep { closed($_) } @sockets }),
           "flood $round: no connection is left");

        # Its webhook needs one, too, and may fail, but not the client.
        $ws->emit('echo', 1);
        ok($ws->silent(0.2) && !$ws->eio->{ws}{closed},
           "flood $round: a client lives on");

        close $_ for splice @sockets;

        ok(wait_until(20, sub { ($ws->call('echo', 2) // [0])->[0] == 2 }),
           "flood $round: and is served afterwards");
        is_deeply(client($nginx, 'websocket')->call('echo', 3), [3],
                  "flood $round: and so are others");
    }

    $nginx->stop;
};


subtest 'clients that come and go' => sub {
    my $nginx = nginx();
    my ($worker) = $nginx->workers;
    my $n = $full ? 2000 : 500;

    settles(200, "memory while $n clients at a time come and go", sub {
        my ($round) = @_;

        cycle($nginx->port, $n);

        $backend->wait_done($round * $n, 60, type => 'disconnect');
        is(scalar(my @all = $backend->requests(type => 'disconnect')),
           $round * $n, "round $round: $n clients have come and gone");

        return rss($worker);
    }, rounds => 4);

    is_deeply(client($nginx, 'websocket')->call('echo', 1), [1], 'service');

    $nginx->stop;
};


subtest 'clients that do not come back' => sub {
    my $nginx = nginx();
    my ($worker) = $nginx->workers;
    my $n = 3000;

    settles(1024, "memory of $n sessions at a time", sub {
        my ($round) = @_;
        my $sid;

        for (1 .. $n) {
            my $answer = get($nginx->port,
                             '/brief/?EIO=4&transport=polling');

            ($sid) = $answer =~ /"sid":"([^"]+)"/
                or die "no session: $answer";
        }

        my $peak = rss($worker);

        # They are given up two seconds after they came.
        ok(wait_until(20, sub {
            get($nginx->port, "/brief/?EIO=4&transport=polling&sid=$sid")
                =~ /Session ID unknown/;
        }), "round $round: given up");

        return $peak;
    }, rounds => 4);

    $nginx->stop;
};


done_testing();
