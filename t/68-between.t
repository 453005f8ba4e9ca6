#!/usr/bin/perl

# What lies between nginx and Redis: names that change, addresses nobody is at,
# connections that are cut, a proxy that swallows what comes back, and a Redis
# that stands still, while servers of Python and Node listen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use SIO::Child qw(child end);
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(build_dir free_port root scale temp_dir wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $dir = temp_dir();


sub host {
    my ($http) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => $http,
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /test;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

    $nginx->allow(qr/message queue|could not be resolved/);

    return $nginx;
}


sub emit {
    my ($host, $n, %more) = @_;

    my $r = SIO::HTTP->new(port => $host->port, timeout => 20 * scale())->post(
        '/_api/emit', $json->encode({ event => 'n', args => [$n], %more }));

    return $json->decode($r->{body})->{matched};
}


sub up {
    my ($host) = @_;

    my $up = SIO::HTTP->new(port => $host->port, timeout => 20 * scale())
        ->get('/status')->json->{queues}{up};

    return !grep { !$_ } values %$up;
}


sub client {
    my ($host) = @_;

    return SIO::Client->connect(port => $host->port, timeout => 10,
                                transport => 'websocket');
}


sub numbers {
    my ($client, $n) = @_;

    return [ map { ($client->event('n', 20 * scale()) // [])->[1] } 1 .. $n ];
}


sub set_to {
    my ($name, $text) = @_;

    open my $file, '>', "$dir/$name.new" or die "$dir: $!";
    print $file $text;
    close $file;
    rename "$dir/$name.new", "$dir/$name";
}


sub is_set {
    my ($name) = @_;

    open my $file, '<', "$dir/$name" or return '';
    local $/;

    return readline($file) // '';
}


# Passes connections on, but, once it is told so, nothing that comes back to
# those that have subscribed until then.

sub proxy {
    my ($address, $port, $to) = @_;

    my $listen = IO::Socket::INET->new(Listen => 20, ReuseAddr => 1,
                                       LocalAddr => $address,
                                       LocalPort => $port) or die "$!";

    return ($listen->sockport, child(sub { relay($listen, $to) }));
}


sub relay {
    my ($listen, $to) = @_;

    my $select = IO::Select->new($listen);
    my (%other, %subscriber, %deaf, %swallowed);
    my $was = '';

    for ( ;; ) {
        for my $from ($select->can_read(0.1)) {

            if ($from == $listen) {
                my $c = $listen->accept or next;
                my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                              PeerPort => $to);
                next if !$s;

                @other{ $c, $s } = ($s, $c);
                $select->add($c, $s);
                next;
            }

            # what closes an end closes the other, which may be next
            my $peer = $other{$from} or next;

            if (!sysread $from, my $data, 65536) {
                $select->remove($from, $peer);
                delete @$_{ $from, $peer } for \(%other, %subscriber, %deaf);
                close $_ for $from, $peer;

            } else {
                $subscriber{$peer} = 1 if $data =~ /SUBSCRIBE/;

                if (is_set('deaf') ne $was) {
                    $was = is_set('deaf');
                    %deaf = %subscriber;
                }

                if ($deaf{$from}) {
                    set_to('swallowed', 1);
                    next;
                }

                while (length $data) {
                    my $n = syswrite($peer, $data) // last;
                    substr($data, 0, $n) = '';
                }
            }
        }
    }
}


# A server of names: what it says is "addresses, seconds", or "silence".

sub names {
    my $socket = IO::Socket::INET->new(Proto => 'udp',
                                       LocalAddr => '127.0.0.1')
        or die "$!";

    return ($socket->sockport, child(sub {
        while (defined(my $peer = $socket->recv(my $query, 512))) {
            my $answer = answer($query, split /,/, is_set('names'));

            $socket->send($answer, 0, $peer) if defined $answer;
        }
    }));
}


sub answer {
    my ($query, $addresses, $seconds) = @_;

    set_to('asked', 1 + (is_set('asked') || 0));

    return undef if $addresses eq 'silence';

    my ($id) = unpack 'n', $query;
    my ($question, $type) = substr($query, 12)
                            =~ /^((?:[\x01-\x3f].*?)?\x00(..)\x00\x01)/s;
    my @addresses = $type eq "\0\1" ? split ' ', $addresses : ();

    # no such name
    my $code = $addresses eq '' ? 3 : 0;

    return pack('nnnnnn', $id, 0x8180 | $code, 1, scalar @addresses, 0, 0)
           . $question
           . join '', map { pack 'nnnNnC4', 0xc00c, 1, 1, $seconds, 4,
                                 split /\./ } @addresses;
}


subtest 'names' => sub {
    my $redis = SIO::Redis->new->start;
    my $port = $redis->port;
    my ($dns, $dns_pid) = names();
    my (undef, $proxy_pid) = proxy('127.0.0.2', $port, $port);

    set_to('names', 'silence');

    my $plain = host("socketio_message_queue redis://127.0.0.1:$port;");
    my $host = host("resolver 127.0.0.1:$dns; resolver_timeout 1s;"
                    . " socketio_message_queue redis://queue.test:$port;");
    my @clients = map { client($_) } $host, $plain;
    my $n = 0;

    # not the host whose name it is, but the other one waits
    my $heard = sub {
        my ($name) = @_;

        ok(wait_until(40 * scale(), sub { up($host) }), $name)
            or diag $host->log;

        $n++;
        ok(wait_until(20 * scale(), sub {
            emit($host, $n);
            my $event = $clients[1]->event('n', 0.5);

            return $event && $event->[1] == $n;
        }), 'what is said arrives');

        1 while $clients[0]->event('n', 0.2);
        1 while $clients[1]->event('n', 0.2);
    };

    ok(wait_until(10 * scale(), sub { is_set('asked') }), 'a name is asked for');
    is(emit($host, $_), 1, 'and nobody waits for it') for 1 .. 5;
    is_deeply(numbers($clients[0], 5), [ 1 .. 5 ], 'of the own clients');

    set_to('names', ',1');
    ok($host->wait_log(qr/queue redis:\S+: (?:Operation timed out|Host not)/,
                       20 * scale()),
       'that it is not known is said') or diag $host->log;

    set_to('names', '127.0.0.3 127.0.0.2,1');
    $heard->('one of two addresses is alive');

    # the proxy's end is that of the connection
    set_to('names', '127.0.0.1 127.0.0.3,1');
    sleep 1.5;
    end($proxy_pid);
    $heard->('it has moved');

    unlike($plain->log, qr/\[(?:alert|emerg|crit)\]/, 'without any harm');

    $_->disconnect for @clients;
    $_->stop for $host, $plain;
    end($dns_pid);
    $redis->stop;
};


subtest 'a deaf subscriber' => sub {
    my $redis = SIO::Redis->new->start;
    my ($port, $pid) = proxy('127.0.0.1', 0, $redis->port);

    my $speaks = host('socketio_message_queue ' . $redis->url . ';');
    my $deaf = host("socketio_message_queue redis://127.0.0.1:$port;");
    my ($client, $own) = map { client($_) } $deaf, $speaks;
    my $n = 0;

    ok(wait_until(20 * scale(), sub {
        emit($speaks, 0);
        $client->event('n', 0.5);
    }), 'both hear');

    emit($speaks, 'now');
    ok(wait_until(20 * scale(), sub {
        (($client->event('n', 1) // [])->[1] // '') eq 'now';
    }), 'nothing else is on its way');
    set_to('deaf', 1);

    # its own word does not come back, either
    ok(wait_until(10 * scale(), sub { is_set('swallowed') }), 'one is deaf');
    emit($speaks, ++$n) for 1 .. 20;

    ok($deaf->wait_log(qr/message queue \S+: nothing comes back/,
                       30 * scale()), 'that is found out');
    is_deeply(numbers($client, $n), [ 1 .. $n ],
              'and what was said meanwhile arrives');

    emit($deaf, 'from the deaf one');
    ok(wait_until(20 * scale(), sub {
        (($own->event('n', 1) // [])->[1] // '') eq 'from the deaf one';
    }), 'in both directions');

    unlike($speaks->log, qr/nothing comes back/, 'the other one heard well');

    $_->disconnect for $client, $own;
    $_->stop for $speaks, $deaf;
    end($pid);
    $redis->stop;
};


# What a host says to others than its own kind.

subtest 'others listen' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host('socketio_message_queue ' . $redis->url . ' channel=py;'
                    . 'socketio_message_queue ' . $redis->url
                    . ' channel=js format=node;');
    my @ports = (free_port(), free_port());

    my $node = SIO::Proc->node('server.js', $redis->url, 'js', 'redis',
                               $ports[0]);
    my $flask = SIO::Proc->spawn(
        [ build_dir() . '/venv/bin/python', '-u',
          root() . '/t/client/flask_queue.py', $redis->url, 'py', $ports[1] ],
        name => 'flask', env => { PYTHONDONTWRITEBYTECODE => 1 });

    defined $node->line(20 * scale()) or BAIL_OUT($node->stderr);
    wait_until(30 * scale(), sub {
        eval { SIO::HTTP->new(port => $ports[1], timeout => 2)
            ->get('/socket.io/?EIO=4&transport=polling')->{status} == 200 }
    }) or BAIL_OUT($flask->stderr);

    my @clients = map {
        SIO::Client->connect(port => $_, timeout => 20, transport => 'polling')
    } @ports;

    ok(wait_until(20 * scale(), sub {
        emit($host, 0);
        !grep { !$_->event('n', 1) } @clients;
    }), 'they hear a host');

    my $n = 0;

    # what comes twice may, but is behind what is first
    my $all = sub {
        my ($name) = @_;

        for my $i (0, 1) {
            my ($next, $twice) = (1, 0);

            while ($next <= $n) {
                my $got = ($clients[$i]->event('n', 20 * scale()) // last)
                          ->[1];

                last if $got > $next;
                $got == $next ? $next++ : $twice++;
            }

            is($next - 1, $n, ('Node', 'Flask')[$i] . " misses nothing, $name"
                              . " ($twice came twice)");
        }

        $n = 0;
        emit($host, 0) for 1;
        for my $client (@clients) {
            wait_until(20 * scale(), sub {
                my $event = $client->event('n', 1);
                return $event && $event->[1] == 0;
            });
        }
    };

    # their own connections would be theirs to lose
    for (1 .. 3) {
        emit($host, ++$n) for 1 .. 100;

        for ($redis->command('CLIENT', 'LIST') =~ /^id=(\d+) .* name=nginx-/mg)
        {
            eval { $redis->command('CLIENT', 'KILL', 'ID', $_) };
        }

        emit($host, ++$n) for 1 .. 100;
    }

    $all->('while connections are cut');

    # longer than anybody waits for an answer
    emit($host, ++$n) for 1 .. 100;
    $redis->signal('STOP');

    my $until = time + 13;

    while (time < $until) {
        emit($host, ++$n);
        sleep 0.03;
    }

    $redis->signal('CONT');
    emit($host, ++$n) for 1 .. 100;
    $all->('while Redis stands still');

    # a Redis that was started anew knows nobody until they are back

    $redis->stop;
    emit($host, $_) for -20 .. -1;
    $redis->start;

    my %deaf = (0 => 1, 1 => 1);

    ok(wait_until(40 * scale(), sub {
        emit($host, ++$n);

        for my $i (keys %deaf) {
            while (my $event = $clients[$i]->event('n', 0.5)) {
                delete $deaf{$i} if $event->[1] == $n;
            }
        }

        return !%deaf;
    }), 'a new Redis is found by all');

    is($node->stderr =~ s/^.*(?:closed|ECONN|connect).*\n//gmr, '',
       'Node has nothing else to complain about');

    $_->disconnect for @clients;
    $host->stop;
    $redis->stop;
};


done_testing();
