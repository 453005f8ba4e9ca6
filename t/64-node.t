#!/usr/bin/perl

# Servers of socket.io with the Redis adapter, its emitter, and two of our hosts
# on one Redis: everybody hears everything once, what Node asks all servers is
# answered, and what the API asks includes Node's sockets.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(free_port scale wait_until);
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $redis = SIO::Redis->new->start;


sub host {
    my ($key, $http) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => 'socketio_message_queue ' . $redis->url
                   . " format=node channel=$key;" . ($http // ''),
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat /ours;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS

    $nginx->wait_log(qr/message queue .* is connected/, 10)
        or BAIL_OUT('no connection to redis: ' . $nginx->log);

    return $nginx;
}


sub server {
    my ($key, $library) = @_;

    my $port = free_port();
    my $node = SIO::Proc->node('server.js', $redis->url, $key, $library,
                               $port);

    defined $node->line(20 * scale())
        or BAIL_OUT('no server of socket.io: ' . $node->stderr);

    $node->{port} = $port;

    return $node;
}


sub say_to {
    my ($node, @words) = @_;

    $node->send(\@words);

    my $said = $node->line(20 * scale()) // die 'no answer: ', $node->stderr;

    return $json->decode($said);
}


# What a command gives; its failure is one of the test.

sub ask {
    my ($node, @words) = @_;

    my $said = say_to($node, @words);

    if (exists $said->{error}) {
        fail("$words[0]: $said->{error}");
        return undef;
    }

    return $said->{ok};
}


sub api {
    my ($host, $call, $body) = @_;

    my $http = SIO::HTTP->new(port => $host->port, timeout => 15 * scale());

    return $json->decode((defined $body
        ? $http->post("/_api/$call", $json->encode($body))
        : $http->get("/_api/$call"))->{body});
}


sub client {
    my ($port, %option) = @_;

    my $client = SIO::Client->connect(port => $port, timeout => 10,
                                      transport => 'websocket', %option);
    $client->{nsp} = $option{nsp};

    return $client;
}


sub sid {
    my ($client) = @_;

    return $client->sid($client->{nsp} // '/');
}


sub binary {
    return { '$binary' => encode_base64($_[0], '') };
}


# What each client has heard up to an event "end", names left out.

sub heard {
    my (@clients) = @_;

    return [ map { heard_of($_) } @clients ];
}


sub heard_of {
    my ($client) = @_;

    my @heard;

    for ( ;; ) {
        my $packet = $client->wait_for(sub {
            $_[0]{type} == 2 || $_[0]{type} == 5;
        }, 15) // return [ @heard, 'no end' ];

        my ($name, @args) = @{ $packet->{data} };

        return \@heard if $name eq 'end';

        push @heard, [ @args, @{ $packet->{attachments} // [] } ];
    }
}


for my $library (qw(redis ioredis)) {
    my $key = "of-$library";
    my @hosts = map { host($key) } 1, 2;
    my $node = server($key, $library);

    # hosts first, then Node; in the order of @all
    my @ports = ((map { $_->port } @hosts), $node->{port});


    subtest "$library: together" => sub {
        ok(wait_until(20 * scale(), sub {
            ask($node, 'count', '/') == 3 && ask($node, 'count', '/chat') == 3;
        }), 'each host is one server');

        my $client = client($hosts[1]->port);

        ok(wait_until(20 * scale(), sub {
            api($hosts[0], 'emit', { event => 'hello' });
            defined $client->event('hello', 0.2);
        }), 'the hosts know of each other');

        $client->disconnect;
    };


    subtest "$library: emits" => sub {
        my @all = map { client($_) } @ports;
        my @chat = map { client($_, nsp => '/chat') } @ports;

        for my $i (0 .. 2) {
            $i < 2 ? api($hosts[$i], 'join', { in => [ sid($all[$i]) ],
                                               rooms => ['room'] })
                   : $all[2]->call('join', 'room');
        }

        # everywhere before anybody emits to it
        api($hosts[0], 'join', { in => [ sid($all[0]) ], rooms => ['first'] });

        my $octets = "\0\xff\x80x";

        for my $way (qw(emit emitter)) {
            ask($node, $way, '/', {}, 'a', 1, { b => [ undef, 1.5, "\x{e9}" ] });
            ask($node, $way, '/', { to => ['room'] }, 'a', 2);
            ask($node, $way, '/', { to => ['first', 'room'] }, 'a', 3);
            ask($node, $way, '/', { except => ['first'] }, 'a', 4);
            ask($node, $way, '/', { to => ['room'],
                                    except => [ sid($all[1]) ] }, 'a', 5);
            ask($node, $way, '/', { to => [ sid($all[0]) ] }, 'a', 6);
            ask($node, $way, '/', {}, 'a', 8, binary($octets),
                { c => binary('') });
            ask($node, $way, '/chat', {}, 'a', 9);
            ask($node, $way, '/', { to => ['nobody'] }, 'a', 10);
            ask($node, $way, $_, {}, 'end') for '/', '/chat';

            my $one = [ 1, { b => [ undef, 1.5, "\x{e9}" ] } ];
            my $eight = [ 8, { _placeholder => JSON::PP::true, num => 0 },
                          { c => { _placeholder => JSON::PP::true,
                                   num => 1 } }, $octets, '' ];

            is_deeply(heard(@all), [
                [ $one, [2], [3], [5], [6], $eight ],
                [ $one, [2], [3], [4], $eight ],
                [ $one, [2], [3], [4], [5], $eight ],
            ], "Node's ($way) are heard once by whom they are for");

            is_deeply(heard(@chat), [ ([[9]]) x 3 ], "$way: in a namespace");
        }

        for my $host (@hosts) {
            my $emit = sub {
                my ($event, @args) = @_;
                my %more = ref $args[-1] eq 'HASH' ? %{ pop @args } : ();

                api($host, 'emit', { event => $event, args => \@args, %more });
            };

            $emit->('a', 1, "\x{20ac}", 9007199254740993, -5, [ undef ], {});
            $emit->('a', 2, { to => ['room'] });
            $emit->('a', 3, { to => ['first', 'room'] });
            $emit->('a', 4, { except => ['first'] });
            $emit->('a', 5, { to => ['room'], except => [ sid($all[2]) ] });
            $emit->('a', 6, { to => [ sid($all[2]) ] });
            $emit->('a', 8, { _placeholder => \1, num => 0 },
                    { attachments => [ encode_base64($octets, '') ] });
            $emit->('a', 9, { namespace => '/chat' });
            $emit->('end', {});
            $emit->('end', { namespace => '/chat' });

            my $heard = heard(@all);

            # JavaScript has no such integer
            is($heard->[2][0][2], '9007199254740992', 'rounded by Node');
            $heard->[2][0][2] = 9007199254740993;

            my $one = [ 1, "\x{20ac}", 9007199254740993, -5, [ undef ] ];
            my $eight = [ 8, { _placeholder => JSON::PP::true, num => 0 },
                          $octets ];

            is_deeply($heard, [
                [ $one, [2], [3], [5], $eight ],
                [ $one, [2], [3], [4], [5], $eight ],
                [ $one, [2], [3], [4], [6], $eight ],
            ], 'those of a host are heard once by whom they are for');

            is_deeply(heard(@chat), [ ([[9]]) x 3 ], 'in a namespace');
        }

        # one that may be dropped comes in the end

        for my $i (0 .. 2) {
            ok(wait_until(10 * scale(), sub {
                $i < 2 ? api($hosts[$i], 'emit', { event => "light $i",
                                                   volatile => \1 })
                       : ask($node, 'emit', '/', { volatile => \1 },
                             "light $i");

                !grep { !$_->event("light $i", 0.5) } @all;
            }), "volatile, of $i");
        }

        $all[2]->emit('say', 'there');
        ok(wait_until(10, sub { $_->event('said', 0.5) }),
           "what a client of Node's says to others") for @all[0, 1];

        $_->disconnect for @all, @chat;
    };


    subtest "$library: rooms and disconnects" => sub {
        my @all = map { client($_) } @ports;

        ask($node, 'join', '/', { to => [ sid($all[0]) ] }, ['x', 'y']);
        ask($node, 'join', '/', { to => ['x'] }, ['z']);
        ask($node, 'leave', '/', { to => ['z'] }, ['y']);
        ask($node, 'emitterJoin', '/', { except => ['z'] }, ['w']);

        ok(wait_until(10 * scale(), sub {
            my %is = map { $_->{sid} => join ' ', sort @{ $_->{rooms} } }
                     @{ api($hosts[0], 'sockets')->{sockets} };

            ($is{sid($all[0])} // '') eq join(' ', sort({ $a cmp $b } sid($all[0]), 'x', 'z'))
                && ($is{sid($all[2])} // '') =~ /\bw\b/;
        }), 'Node moves the sockets of hosts');

        api($hosts[1], 'join', { in => ['w'], rooms => ['v'] });
        api($hosts[1], 'join', { in => [ sid($all[2]) ], rooms => ['u'] });
        api($hosts[1], 'leave', { in => ['u'], rooms => ['w'] });

        ok(wait_until(10 * scale(), sub {
            my ($is) = @{ ask($node, 'local', '/') };

            join(' ', @{ $is->{rooms} })
                eq join ' ', sort({ $a cmp $b } sid($all[2]), 'u', 'v');
        }), 'a host moves the sockets of Node')
            or diag($json->encode(ask($node, 'local', '/')));

        ask($node, 'disconnect', '/', { to => ['x'] }, JSON::PP::false);
        ok($all[0]->wait_for(sub { $_[0]{type} == 1 }, 10),
           'Node disconnects a socket of a host');

        api($hosts[0], 'disconnect', { in => ['u'] });
        ok($all[2]->wait_for(sub { $_[0]{type} == 1 }, 10),
           'a host disconnects a socket of Node');

        ask($node, 'emitterDisconnect', '/', {}, JSON::PP::true);
        ok(wait_until(10 * scale(), sub {
            !@{ api($hosts[0], 'sockets')->{sockets} };
        }), 'and an emitter everybody');
    };


    subtest "$library: what Node asks" => sub {
        my @all = map { client($_) } @ports;

        api($hosts[0], 'join', { in => [ sid($all[0]) ],
                                 rooms => ['odd', 'one'] });
        api($hosts[1], 'join', { in => [ sid($all[1]) ], rooms => ['even'] });
        $all[2]->call('join', 'odd');

        my $sockets = ask($node, 'fetch', '/', {});

        is_deeply([ map { $_->{id} } @$sockets ],
                  [ sort map { sid($_) } @all ], 'fetchSockets()');

        is_deeply([ grep { $_->{id} eq sid($all[0]) } @$sockets ],
                  [ { id => sid($all[0]), data => {}, query => 'object',
                      lately => JSON::PP::true,
                      rooms => [ sort({ $a cmp $b } sid($all[0]), 'odd', 'one') ] } ],
                  'a socket as Node knows it');

        my %by = (odd => [0, 2], even => [1], none => []);

        for my $room (sort keys %by) {
            is_deeply([ map { $_->{id} }
                        @{ ask($node, 'fetch', '/', { to => [$room] }) } ],
                      [ sort map { sid($all[$_]) } @{ $by{$room} } ],
                      "fetchSockets() in $room");
        }

        is_deeply([ map { $_->{id} }
                    @{ ask($node, 'fetch', '/', { to => ['odd', 'even'],
                                                  except => ['one'] }) } ],
                  [ sort map { sid($all[$_]) } 1, 2 ],
                  'fetchSockets() with several rooms and exceptions');

        is_deeply(ask($node, 'fetch', '/chat', {}), [], 'nobody there');

        is_deeply(ask($node, 'rooms', '/'),
                  [ sort qw(odd one even), map { sid($_) } @all ],
                  'allRooms()');

        is_deeply(ask($node, 'question', '/', 'question', 7), [ undef, undef ],
                  'serverSideEmitWithAck() waits for nobody');

        $node->send([ 'ask', '/', {}, 15000 * scale(), 'how', 'are', 'you' ]);

        for my $i (0 .. 2) {
            my $packet = $all[$i]->wait_for(sub {
                $_[0]{type} == 2 && $_[0]{data}[0] eq 'how'
            }, 15);

            is_deeply($packet->{data}, [ 'how', 'are', 'you' ], 'is asked');
            $i == 1 ? $all[$i]->ack($packet, \"\1\2", 'more')
                    : $all[$i]->ack($packet, "I $i");
        }

        my $said = $json->decode($node->line(20 * scale()));

        is_deeply([ sort map { $json->encode($_) } @{ $said->{ok} } ],
                  [ sort map { $json->encode($_) }
                    'I 0', 'I 2', binary("\1\2") ],
                  'emitWithAck() gets the answers of all');

        my $before = time;
        is_deeply(ask($node, 'ask', '/', { to => ['none'] }, 10000, 'how'), [],
                  'or none, at once');
        cmp_ok(time - $before, '<', 9, 'without waiting');

        $_->disconnect for @all;
    };


    subtest "$library: what the API asks" => sub {
        my @all = map { client($_) } @ports;

        $all[2]->call('join', 'both');
        $all[2]->call('join', 'there');
        api($hosts[1], 'join', { in => [ sid($all[1]) ], rooms => ['both'] });

        my $list = api($hosts[0], 'sockets');

        is_deeply([ sort map { $_->{sid} } @{ $list->{sockets} } ],
                  [ sort map { sid($_) } @all ], 'GET sockets');
        ok($list->{complete}, 'all have answered');

        my ($there) = grep { $_->{sid} eq sid($all[2]) } @{ $list->{sockets} };

        is_deeply([ sort @{ delete $there->{rooms} } ],
                  [ sort { $a cmp $b } sid($all[2]), 'both', 'there' ], 'with its rooms');
        cmp_ok(abs(delete($there->{connected_at}) - time), '<', 600,
               'connected lately');
        is_deeply($there, { sid => sid($all[2]), namespace => '/',
                            user => undef, transport => undef },
                  'what is known of it');

        is_deeply([ map { $_->{sid} }
                    @{ api($hosts[0], 'sockets?room=there')->{sockets} } ],
                  [ sid($all[2]) ], 'in a room');

        # page by page
        my ($cursor, @seen) = ('');

        for (1 .. 5) {
            my $page = api($hosts[0], "sockets?limit=1&cursor=$cursor");

            push @seen, map { $_->{sid} } @{ $page->{sockets} };
            $cursor = $page->{cursor} // last;
        }

        is_deeply([ sort @seen ], [ sort map { sid($_) } @all ],
                  'each on one page');

        is_deeply(api($hosts[0], 'rooms'), { complete => JSON::PP::true,
            rooms => [ { name => 'both', sockets => 2 },
                       { name => 'there', sockets => 1 } ] }, 'GET rooms');

        my $reply = later($hosts[0], { event => 'how', args => ['?'],
            ack => \1, timeout => 15000 * scale() });

        # more than a pool has in one block
        my @says = map { $_ . 'x' x 10_000 } 0 .. 2;

        for my $i (0 .. 2) {
            my $packet = $all[$i]->wait_for(sub {
                $_[0]{type} == 2 && $_[0]{data}[0] eq 'how'
            }, 15);

            $all[$i]->ack($packet, $says[$i]);
        }

        my $said = $reply->();

        ok($said->{complete}, 'emit waits for all');
        is_deeply([ sort map { $_->{args}[0] } @{ $said->{acks} } ],
                  \@says, 'and has their answers');
        is_deeply([ grep { !defined $_->{sid} } @{ $said->{acks} } ],
                  [ { sid => undef, args => [ $says[2] ] } ],
                  'but does not know whose they are');

        $node->signal('STOP');
        $list = api($hosts[0], 'sockets');
        $node->signal('CONT');

        is_deeply([ sort map { $_->{sid} } @{ $list->{sockets} } ],
                  [ sort map { sid($_) } @all[0, 1] ],
                  'a silent server is missed');
        ok(!$list->{complete}, 'and that is said');

        $_->disconnect for @all;
    };


    subtest "$library: harm" => sub {
        my @all = map { client($_) } @ports[0, 1];

        # Node's servers do not have this namespace: they would not stand it

        my $head = '93a2753183a474797065';
        my $tail = 'a46461746192a165a178a36e7370a52f6f757273'
                   . '83a5726f6f6d7390a665786365707490a5666c61677380';

        # as it should be; type 5; another namespace; cut; no broadcasts
        my ($good, @bad) = map { pack 'H*', $_ }
            "${head}02$tail", "${head}05$tail",
            "${head}02" . $tail =~ s/6f757273/6f757274/r,
            substr("${head}02$tail", 0, -2), "${head}02${tail}00",
            '92a2753183a474', '81a16101', '93a175ddffffffff', '5b5d', '';

        my $ours = client($ports[0], nsp => '/ours');

        $redis->command('PUBLISH', "$key#/ours#", $_) for @bad, $good, @bad;

        $redis->command('PUBLISH', "$key-request#/ours#", $_)
            for '{"type":99}', '{"type":7,"requestId":"q"}', '{', '[]', '', "\xc1";
        $redis->command('PUBLISH', "$key-response#/ours#",
                        '{"requestId":"nope","sockets":[]}');

        # by the same way, so that it is the last
        $redis->command('PUBLISH', "$key#/ours#",
                        $good =~ s/\x92\xa1e\xa1x/\x91\xa3end/r);

        is_deeply(heard($ours), [ [['x']] ], 'only what is sound is heard');
        $ours->disconnect;

        ask($node, 'emit', '/', {}, 'end');
        is_deeply(heard(@all), [ [], [] ], 'nothing has come of it');

        $_->disconnect for @all;
    };


    subtest "$library: reload" => sub {
        my $client = client($hosts[1]->port);

        $hosts[0]->reload;

        my $still = client($hosts[0]->port);

        ask($node, 'emit', '/', {}, 'a', $_) for 1 .. 200;

        ok(wait_until(30 * scale(), sub {
            my $said = say_to($node, 'fetch', '/', {});
            $said->{ok} && @{ $said->{ok} } == 2;
        }), 'the new bridge answers');

        is(ask($node, 'count', '/'), 3, 'and is counted once');
        ask($node, 'emit', '/', {}, 'end');

        is_deeply(heard($still, $client), [ ([ map { [$_] } 1 .. 200 ]) x 2 ],
                  'nothing is lost, and nothing comes twice');

        $_->disconnect for $still, $client;
    };


    is($node->stderr, '', "$library: Node has nothing to complain about");

    $node->close_stdin;
    $_->stop for @hosts;
}


# A request to the API whose answer is read later.

sub later {
    my ($host, $body) = @_;

    pipe my $out, my $in or die "pipe: $!";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        my $said = eval { $json->encode(api($host, 'emit', $body)) };

        syswrite $in, $said // 'null';
        POSIX::_exit(0);
    }

    close $in;

    return sub {
        local $/;
        my $said = readline $out;

        waitpid $pid, 0;

        return $json->decode($said);
    };
}


# More sockets than an entry of the log could carry.

subtest 'a long list' => sub {
    my $node = server('many', 'redis');
    my $host = host('many', 'socketio_zone socketio 1m;'
                            . 'socketio_max_payload 10k;'
                            . 'socketio_ping_interval 5m;');

    my $http = SIO::HTTP->new(port => $host->port, timeout => 10 * scale());

    SIO::EIO->open(port => $host->port, http => $http)->post('40')
        for 1 .. 1500;

    my $sockets = ask($node, 'fetch', '/', {}) // [];

    is(@$sockets, 1500, 'fetchSockets() of 1,500');

    # of 8 kB each, which is too much for one message

    my @sids = map { $_->{id} } @$sockets;

    while (my @some = splice @sids, 0, 300) {
        api($host, 'join', { in => \@some, rooms => ['all'] });
    }

    api($host, 'join', { in => ['all'],
                         rooms => [ map { $_ . 'x' x 198 } 10 .. 49 ] });
    $host->allow(qr/is cut, limit is/);

    my $some = @{ ask($node, 'fetch', '/', {}) // [] };

    cmp_ok($some, '>', 500, "of large ones $some");
    cmp_ok($some, '<', 1500, 'and not all');
    like($host->log, qr/a list of $some rows for another server is cut/,
         'which is said');

    $node->close_stdin;
    $host->stop;
};


# Larger than what may be on its way to Redis, so it goes alone.

subtest 'a question of 17 MB' => sub {
    my $host = host('huge', 'socketio_zone socketio 256m;'
                            . 'client_max_body_size 32m;');
    my $ear = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                    PeerPort => $redis->port) or die "$!";

    print $ear "SUBSCRIBE huge-request#/#\r\n";
    SIO::Redis::reply($ear);

    my $said = later($host, { event => 'e', args => [ 'x' x 17_000_000 ],
                              ack => \1, timeout => 2000 });
    my $heard = '';

    eval {
        local $SIG{ALRM} = sub { die "nothing\n" };
        alarm 20 * scale();
        $heard = SIO::Redis::reply($ear)->[2];
    };

    alarm 0;
    cmp_ok(length $heard, '>', 17_000_000, 'is asked');
    ok(!$said->()->{complete}, 'whom nobody answers');
    $host->stop;
};


done_testing();
