#!/usr/bin/perl

# Bad messages on a queue, against hosts at work: everything that is to be
# refused, and what chance makes of everything else, on all channels; and the
# other way round, what an application may say, against servers of Python and
# Node.
#
#   SIO_SEED      what chance begins with, default: another one each day

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(strftime);
use SIO::Client;
use SIO::EIO;
use SIO::Formats;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Status qw(metrics);
use SIO::Util qw(build_dir free_port read_file root scale wait_until);
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $redis = SIO::Redis->new->start;


sub host {
    my (@lines) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => join(' ', map { 'socketio_message_queue ' . $redis->url
                                   . " $_;" } @lines),
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat /test;
        }

        client_max_body_size 4m;

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
        location = /metrics { socketio_status prometheus; }
EOS

    ok(wait_until(20 * scale(), sub {
        @lines == grep { $_ } values %{ queues($nginx)->{up} };
    }), 'a host has its queues') or BAIL_OUT($nginx->log);

    return $nginx;
}


sub queues {
    my ($host) = @_;

    return SIO::HTTP->new(port => $host->port, timeout => 20 * scale())
        ->get('/status')->json->{queues};
}


sub api {
    my ($host, $call, $body) = @_;

    return SIO::HTTP->new(port => $host->port, timeout => 20 * scale())
        ->post("/_api/$call", ref $body ? $json->encode($body) : $body);
}


# Publishes all of it, many at a time.

sub publish {
    my (@messages) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $redis->port)
        or die "no redis: $!";

    while (my @some = splice @messages, 0, 100) {
        my $text = join '', map {
            my @words = ('PUBLISH', @$_);
            join '', '*3', "\r\n",
                 map { '$' . length($_) . "\r\n$_\r\n" } @words;
        } @some;

        print $socket $text;
        $socket->flush;

        for (@some) {
            <$socket> =~ /^:/ or die 'not published';
        }
    }
}


# How much of it the lines have looked at, by their status.

sub looked_at {
    my ($host) = @_;

    my $queues = queues($host);
    my ($refused, $received) = (0, 0);

    for my $by (values %{ $queues->{refused} }) {
        $refused += $_ for values %$by;
    }

    $received += $_ for values %{ $queues->{received} };

    return ($refused, $received);
}


my $vectors = $json->decode(SIO::Formats::whole(
    read_file(root() . '/t/vectors/queues.json')));

my @bad = map { decode_base64($_->{payload_base64}) }
          grep { $_->{reject} && $_->{format} !~ /shard|stream|kombu|zmq/ }
          @$vectors;
my @good = map { decode_base64($_->{payload_base64}) }
           grep { !$_->{reject} } @$vectors;


# What a line has refused, by reason, of what is not 0.

sub refused {
    my ($host, $queue) = @_;

    my $by = queues($host)->{refused}{ $redis->url . " $queue" };

    return { map { $_ => $by->{$_} } grep { $by->{$_} } keys %$by };
}


# Where what is said is heard, the channels of hosts included.

sub channels {
    my ($python, $node) = @_;

    my @hosts = grep { /^\Q$python\E\.nginx|^\Q$node\E\.nginx/ }
                @{ $redis->command(qw(PUBSUB CHANNELS *)) };

    return $python, (map { ("$node#$_#", "$node-request#$_#",
                            "$node-response#$_#") } '/', '/chat'), @hosts;
}


# Each on the channel that it is meant for, once.

subtest 'why it is refused' => sub {
    my $host = host('channel=socketio', 'channel=socket.io format=node');
    my %expected = map { $_ => {} } 'socketio', 'socket.io';

    for my $vector (@$vectors) {
        my ($name, $format, $channel) = @$vector{qw(name format channel)};

        next if !$vector->{reject}
                || $format !~ /^(?:python-(?:json|pickle)|node-redis-)/;

        my $reason
            = $name =~ /^bad-noderesponse-unknown-id$/ ? undef

            # without anything around it that is of a pickle
            : $name =~ /top-p[01]$/ ? 'malformed'

            : $name =~ /-(?:os-system-.*|eval|inst|obj|newobj(?:-ex)?|build
                           |(?:global|reduce)-only|ext\d|(?:bin)?persid
                           |\w+-buffer|dup|pop|popmark|set|frozenset
                           |emit-bytearray)$/x ? 'code'

            : $name =~ /pickle-(?:memo-huge|cycle(?:-dict)?|billion-laughs|deep
                                 |long4-negative|long1-huge)
                        |msgpack-deep-/x ? 'too large'

            : 'malformed';

        $expected{ $channel =~ /^(socket\.?io)/ ? $1 : '' }{$reason}++
            if defined $reason;

        publish([ $channel, decode_base64($vector->{payload_base64}) ]);
    }

    cmp_ok($expected{socketio}{code}, '>', 25, 'some are code');

    for my $queue (sort keys %expected) {
        my $found;

        wait_until(10 * scale(), sub {
            $found = refused($host, $queue);
            $json->encode($found) eq $json->encode($expected{$queue});
        });

        is_deeply($found, $expected{$queue},
                  "each of them is counted once, $queue");
    }

    is(() = $host->log =~ /refused a message/g, 2,
       'and all of them logged once for each queue');

    $host->allow(qr/refused a message/);
    $host->stop;
};


# A worker that does not read keeps the log from going on.

subtest 'no room' => sub {
    my $host = SIO::Nginx->new(
        workers => 2,
        http    => 'socketio_zone socketio 512k; socketio_message_queue '
                   . $redis->url . ' channel=full;',
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_max_payload 30k;
        }

        location = /status { socketio_status; }
EOS

    $host->wait_log(qr/message queue .* is connected/, 20)
        or BAIL_OUT($host->log);

    my ($bridge) = $host->log =~ /(\d+)#\d+: this worker serves/;
    my ($other) = grep { $_ != $bridge } $host->workers;

    my $eio = SIO::EIO->new(port => $host->port, timeout => 20);

    $eio->{ws} = $eio->websocket(http => $host->connect_to($bridge));
    $eio->opened($eio->{ws}->recv);

    my $client = SIO::Client->new(session => $eio);
    $client->join('/');

    my $n = 200;
    my $status = $host->connect_to($bridge);

    $host->kill_worker('STOP', $other);

    publish(map { [ 'full', $json->encode({
        method => 'emit', event => 'n', data => [ $_, 'x' x 5000 ],
        namespace => '/', room => undef }) ] } 1 .. $n);

    my $line = sub {
        my $queues = $status->get('/status')->json->{queues};

        return (values %{ $queues->{ $_[0] } })[0];
    };
    my $refused = sub { $line->('refused')->{'no room'} };

    # all of them have come before there is room again
    ok(wait_until(20 * scale(), sub { $line->('received') == $n }),
       'they are received');
    cmp_ok($refused->(), '>', 0, 'what there is no room for is refused');

    $host->kill_worker('CONT', $other);

    my @heard;

    wait_until(20 * scale(), sub {
        while (my $packet = $client->packet(0.5)) {
            push @heard, $packet->{data}[1] if $packet->{data}[0] eq 'n';
        }

        return @heard + $refused->() >= $n;
    });

    is_deeply(\@heard, [ 1 .. @heard ], 'the rest is heard, in order');
    is(@heard + $refused->(), $n, "@{[ $refused->() ]} are counted");

    $client->disconnect;
    $host->allow(qr/refused a message|is full/);
    $host->stop;
};


subtest 'what is to be refused' => sub {
    my $host = host('channel=bad', 'channel=bad format=node');
    my $client = SIO::Client->connect(port => $host->port, timeout => 20,
                                      transport => 'websocket');
    my @workers = sort $host->workers;

    ok(@bad > 150, @bad . ' messages') or diag scalar @$vectors;

    my @channels = channels('bad', 'bad');
    my ($refused) = looked_at($host);

    for my $channel (@channels) {
        publish(map { [ $channel, $_ ] } @bad);
    }

    # behind all of them on each line
    my $end = sub {
        publish([ 'bad', $json->encode({
                      method => 'emit', event => 'end', data => ['python'],
                      namespace => '/', room => undef }) ],
                # ["end","node"]
                [ 'bad#/#', pack('H*', '93a27531'
                      . '83a47479706502a46461746192a3656e64a46e6f6465'
                      . 'a36e7370a12f'
                      . '83a5726f6f6d7390a665786365707490a5666c61677380') ]);
    };

    $end->();

    my @heard;

    while (@heard < 2) {
        my $packet = $client->wait_for(sub {
            $_[0]{type} == 2 || $_[0]{type} == 5 }, 30) // last;

        push @heard, $packet->{data};
    }

    is_deeply([ sort map { $json->encode($_) } @heard ],
              [ '["end","node"]', '["end","python"]' ],
              'nothing comes of it, and it goes on');

    my ($now) = looked_at($host);

    # those that are for Node's requests come by channels of two kinds
    cmp_ok($now - $refused, '>=', @bad * 2, 'it is counted');

    my @lines = $host->log =~ /(refused a message.*)/g;

    cmp_ok(scalar @lines, '<=', 2, 'and said once for each queue')
        or diag join "\n", @lines;
    is_deeply([ sort $host->workers ], \@workers, 'nobody has died');

    # larger than anything that is kept
    my $queue = $redis->url . ' bad';
    my $before = queues($host)->{refused}{$queue}{'too large'};

    publish([ 'bad', 'x' x 10_000_000 ]);
    ok(wait_until(10 * scale(), sub {
        queues($host)->{refused}{$queue}{'too large'} > $before;
    }), 'nor does what is too large');

    srand($ENV{SIO_SEED} // strftime('%Y%m%d', gmtime));

    # what is changed by chance may be an order to disconnect
    $client->disconnect;

    for my $round (1 .. 4) {
        my @some = map { mutated($good[rand @good], $good[rand @good]) }
                   1 .. 1500;

        publish(map { [ $channels[rand @channels], $_ ] } @some);
    }

    $client = SIO::Client->connect(port => $host->port, timeout => 20,
                                   transport => 'websocket');

    my %wanted = (python => 1, node => 1);

    ok(wait_until(30 * scale(), sub {
        $end->();

        while (my $event = $client->event('end', 0.5)) {
            delete $wanted{ $event->[1] };
        }

        return !%wanted;
    }), 'nor does chance stop it') or diag join ' ', keys %wanted;

    is_deeply([ sort $host->workers ], \@workers, 'nobody has died');

    is($json->decode(api($host, 'emit', { event => 'x' })->{body})->{matched},
       1, 'and the host serves');

    $host->allow(qr/refused a message|message queue/);
    $host->stop;
};


# One of the changes that files suffer from.

sub mutated {
    my ($octets, $other) = @_;

    my $n = length $octets or return chr rand 256;
    my $what = int rand 6;

    substr($octets, rand $n, 1) = chr rand 256 for 1 .. 1 + rand 4;

    return substr $octets, 0, rand $n if $what == 0;
    return $octets . substr $other, rand length $other if $what == 1;

    if ($what == 2) {
        my $at = int rand $n;
        substr($octets, $at, rand($n - $at)) = '';

    } elsif ($what == 3) {
        my $at = int rand $n;
        substr($octets, $at, 0) = substr $octets, rand $n, rand 40;

    } elsif ($what == 4) {
        my $at = int rand $n;
        substr($octets, $at, 4) = pack 'N', (0xffffffff, 0x7fffffff,
                                             0x80000000, 0)[rand 4];
    }

    return $octets;
}


# Each is followed by its number, which tells that it has harmed nobody.

subtest 'what applications say' => sub {
    my $host = host('channel=json', 'channel=old dialect=pickle',
                    'channel=said format=node');

    my %servers;

    my ($node_port, @flask_ports) = map { free_port() } 1 .. 3;
    my $node = SIO::Proc->node('server.js', $redis->url, 'said', 'redis',
                               $node_port);
    defined $node->line(20 * scale()) or BAIL_OUT($node->stderr);

    my @flasks = map {
        my ($python, $channel, $port) = @$_;
        SIO::Proc->spawn(
            [ $python, '-u', root() . '/t/client/flask_queue.py', $redis->url,
              $channel, $port ],
            name => $channel, env => { PYTHONDONTWRITEBYTECODE => 1 });
    } [ build_dir() . '/venv/bin/python', 'json', $flask_ports[0] ],
      [ '/usr/bin/python3', 'old', $flask_ports[1] ];

    for my $port (@flask_ports) {
        ok(wait_until(30 * scale(), sub {
            eval { SIO::HTTP->new(port => $port, timeout => 2)
                ->get('/socket.io/?EIO=4&transport=polling')->{status} == 200 }
        }), 'Flask serves') or diag map { $_->stderr } @flasks;
    }

    my @clients = map {
        SIO::Proc->node('client.js', '4', "http://127.0.0.1:$_/test",
                        $json->encode({ transports => ['polling'] }))
    } $node_port, @flask_ports;

    $_->json_with('connect', 30) for @clients;

    my $deep = '[' x 60 . ']' x 60;
    my $wide = '[' . join(',', ('{"a":[{}]}') x 5000) . ']';
    my $place = '{"_placeholder":true,"num":0}';
    my @rooms = ('"__proto__"', '""', '"*"', '"a#b"', '"#"', '"\u0000"',
                 '"\ud800"', '"\\\\x"', '"' . 'r' x 200 . '"', '"\u2028"',
                 '["a","__proto__","constructor"]');

    my @emits = (
        (map { qq("event":"e","args":[$_]) }
            $deep, $wide, '9' x 300, '-' . '9' x 5000, '1e999', '-1e-999',
            '1.' . '1' x 400, '"\ud800"', '"\udc00\ud800"', '"\u0000"',
            '"\u0000\uffff\ufffe"', '{"__proto__":{"x":1}}',
            '{"__proto__":null,"constructor":{"prototype":1}}',
            '{"toString":1,"hasOwnProperty":2,"":3}', '""', '[]', '{}',
            'null', 'null,null', '[null]', 'true', '"' . 'x' x 100000 . '"',
            '{"$binary":"?"}', '{"_placeholder":true,"num":7}',
            '{"_placeholder":true,"num":-1}', '"\u2028\u2029</script>"',
            '{"a":1,"a":2}', '-0', '1E400', '0.1e-400', $place),
        '"event":"e"', '"event":"e","args":[]',
        (map { qq("event":$_,"args":[1]) } '"__proto__"', '"constructor"',
            '"\u0000"', '"\ud800"', '"' . 'e' x 200 . '"', '"message"',
            '"*"', '"then"'),
        (map { qq("event":"e","args":[1],"to":$_) } @rooms),
        (map { qq("event":"e","args":[1],"except":$_) } @rooms[1 .. 10]),
        qq("event":"e","args":[$place],"attachments":[""]),
        qq("event":"e","args":[{"__proto__":$place}],"attachments":["AP8="]),
        qq("event":"e","args":[[$place,$place]],"attachments":["AP8="]),
        qq("event":"e","args":[$place],"attachments":[")
            . encode_base64("\0\xff" x 60000, '') . '"]',
        qq("event":"e","args":[1],"volatile":true),
    );

    my ($n, @refused) = (0);

    # somebody who is there already may not yet be heard
    ok(wait_until(20 * scale(), sub {
        api($host, 'emit', qq({"namespace":"/test","event":"n","args":[0]}));
        !grep { !eval { $_->json_with('event', 1) } } @clients;
    }), 'all listen');

    for my $emit (@emits) {
        my $r = api($host, 'emit', qq({"namespace":"/test",$emit}));

        push @refused, $emit if $r->{status} != 200;
        api($host, 'emit', qq({"namespace":"/test","event":"n","args":[)
                           . ++$n . ']}');
    }

    is_deeply(\@refused, [ grep { /"(?:to|except)":""/ } @emits ],
              'all are said but those for no name');

    for my $i (0 .. $#clients) {
        my $name = ('Node', 'Flask', 'old Flask')[$i];
        my ($next, @missed) = (1);

        # half a character is more than Perl can read
        while ($next <= $n) {
            my ($heard) = ($clients[$i]->expect(qr/^\{"event":\["n",/, 15)
                           // last) =~ /(\d+)/ or next;

            push @missed, $next .. $heard - 1;
            $next = $heard + 1;
        }

        is_deeply([ @missed, $next .. $n ], [],
                  "a client of $name has heard all that follows")
            or diag map { substr("$emits[$_ - 1]\n", 0, 200) }
                    @missed, $next .. $n;
    }

    ok($_->running, 'a server lives') for $node, @flasks;
    is($node->stderr, '', 'Node has nothing to complain about');

    for (@flasks) {
        unlike($_->stderr, qr/Traceback|Unknown|failed/i, 'nor has Flask')
            or diag $_->stderr;
    }

    $host->stop;
};


# Another host, which knows the form of what hosts say to each other, and not
# its meaning.

subtest 'what a host may say' => sub {
    my $host = host('channel=hosts');
    my @workers = $host->workers;
    my $me = 'm' x 16;
    my ($they, $ordinal) = (undef, 0);

    my @clients = map {
        SIO::Client->connect(port => $host->port, timeout => 20)
    } 1 .. 4;

    my $ear = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                    PeerPort => $redis->port);

    print $ear "SUBSCRIBE hosts.nginx\r\n";

    # the payload of the next message of theirs of this kind
    my $next = sub {
        my ($kind) = @_;

        local $SIG{ALRM} = sub { die "nothing of kind $kind\n" };
        alarm 30 * scale();

        while (my $reply = SIO::Redis::reply($ear)) {
            next if $reply->[0] ne 'message';

            my (undef, undef, $is, undef, $from) = unpack 'LCCSa16',
                                                          $reply->[2];
            next if $is != $kind || $from eq $me;

            alarm 0;
            $they = $from;
            return substr $reply->[2], 48;
        }
    };

    my $say = sub {
        my ($kind, $body, $to) = @_;

        publish([ 'hosts.nginx' . ($to ? '.' . unpack('H*', $to) : ''),
                  pack('LCCSa16a16Q', 0x584f4953, 3, $kind, 0, $me,
                       $to // '', $ordinal) . $body ]);
    };

    my $alive = sub { $say->(1, pack('QQLL', 1, 1, 1, 0)) };

    # Who asks for a list, or for acknowledgements, gets this as well.
    my $answer = sub {
        my ($name, $request, @bodies) = @_;

        $alive->();

        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                           PeerPort => $host->port);

        print $socket "$request\r\n";

        my (undef, undef, $waiter, $tag) = unpack 'QQa16L', $next->(3);

        for my $body (@bodies) {
            my ($kind, @rest) = @$body;

            $say->(8, pack('LLa16L', $kind, 0, $waiter, $tag)
                      . join('', @rest), $they);
        }

        my $r = join '', <$socket>;

        like($r, qr/^HTTP\S+ 200 /, "$name is answered");
        ok(eval { $json->decode($r =~ s/^.*?\r\n\r\n//sr) }, 'in JSON')
            or diag $r;
    };

    my $str = sub { pack 'L/a', $_[0] };
    my $result = sub {
        my ($rows, $flags, $due) = @_;

        return [ 12, pack('L5', $flags // 3, 1, 0, $due // 0, 0), $rows ];
    };

    $alive->();
    $next->(1);

    for my $list (qw(sockets rooms)) {
        my $i = 0;

        for my $rows ('', 'x', $str->('n'), $str->('') . $str->(''),
                      $str->('n' x 20) . $str->('{'), "\xff" x 40,
                      $str->('n' x 20) . $str->('{}') . 'x') {
            $answer->("a list of $list, " . $i++,
                      "GET /_api/$list HTTP/1.0\r\n", $result->($rows));
        }
    }

    $answer->('one that many are to follow', "GET /_api/sockets HTTP/1.0\r\n",
              $result->(pack('L4', 0xffffffff, 0, 0xffffffff, 0), 1, 1),
              $result->('', 1, 0xffffffff));

    my $emit = '{"event":"e","ack":true,"timeout":500}';

    $answer->('an emit', "POST /_api/emit HTTP/1.0\r\n"
                         . 'Content-Length: ' . length($emit)
                         . "\r\n\r\n$emit",
              $result->('', 1), [ 13, '' ], [ 13, "\xff" x 60 ],
              [ 13, pack('LLLa20', 0, 0, 0, 's' x 20), $str->('1'),
                pack('L', 0xfffffff) ],
              [ 13, pack('LLLa20', 2, 0xffff, 0, 's' x 20), $str->(''),
                pack 'L', 0 ],
              (map { [ 13, pack('LLLa20', 0, 0, 0, 's' x 20), $str->($_),
                       pack 'L', 0 ] } '1,', '[', '1]', "\"\xff\""));

    # What clients are told, and could not read.
    my $command = sub {
        my ($type, $said, @attachments) = @_;

        $ordinal++;
        $say->(3, pack('QQSSLLLL8', 0, 0, 0, 0, 0, 0, 0, 0, $type, 0, 0, 0, 0,
                       scalar @attachments, 0)
                  . join('', map { $str->($_) } '/', '')
                  . pack('L*', length $said, map { length } @attachments)
                  . join '', $said, @attachments);
    };

    my @unreadable = ('', '[', '[]', '{}', '"e"', '["e"', '["e"]]', '["e"] ',
                      '["e",]', "[\"e\",\"\xff\"]", "[\"\xed\xa0\x80\"]",
                      "[\"e\",\"\n\"]", '["e",' . '[' x 2000 . ']' x 2000
                      . ']', '["e",01]', "[\"e\"]\0");

    my @ways = map {
        SIO::Client->connect(port => $host->port, timeout => 20,
                             transport => $_)
    } 'polling', 'websocket';

    $command->(1, $_) for @unreadable;
    $command->(1, '["e",{"_placeholder":true,"num":1}]', 'octets');
    $command->(1, '["last"]');

    is_deeply($_->packet(20)->{data}, ['last'],
              'clients are told what they can read') for @ways;
    $_->disconnect for @ways;

    my $taken = sub { (values %{ queues($host)->{received} })[0] };

    is($taken->(), 1, 'the rest was not taken');
    is(refused($host, 'hosts')->{host}, $ordinal - 1, 'but counted');

    # Commands; of each type, with names that are too few, or odd.
    my @names = ([], [ '' ], [ 'n' ], [ 'n' x 20 ], [ 'n' x 5000 ],
                 [ ('n') x 300 ]);

    # the last one sends everybody away
    for my $type (0 .. 3, 5 .. 9, 0xffffffff, 4) {
        for my $names (@names) {
            for my $token ('', 't', "\xff" x 21, 'n' x 20, 'n' x 5000) {
                for my $more (0, ~0 >> 1) {
                    $ordinal++;
                    $say->(3, pack('QQSSLLLL8', $more, $more, 0, 0, 1, 1,
                                   $more && 1, 0, $type, 3, scalar @$names,
                                   scalar @$names, scalar @$names, 1, 0)
                              . join('', map { $str->($_) } '/', $token,
                                     (@$names) x 3)
                              . pack('LL', $type == 1 ? 5 : 1, 1)
                              . ($type == 1 ? '["e"]' : $type == 5 ? '1'
                                                      : '[') . 'x');
                }
            }
        }
    }

    my $end = '{"event":"end"}';

    # those that take part in a cluster hear their own say in their order
    ok(wait_until(30 * scale(), sub {
        $alive->();
        my $r = eval { api($host, 'emit', $end) };
        return $r && $r->{status} == 200;
    }), 'the host is still at work');

    # but those with a text that is none
    is($taken->() + refused($host, 'hosts')->{host}, $ordinal,
       "$ordinal commands were looked at");
    cmp_ok($taken->(), '>', $ordinal / 2, 'most were carried out');
    is_deeply([ $host->workers ], \@workers, 'all of it');

    $host->stop;
};


# Requests are known by where they wait, and on which host.  Who has no name for
# itself would answer those of this one.

subtest 'a host that calls itself this one' => sub {
    my $host = host('channel=nobody');
    my ($worker) = $host->workers;
    my $me = "\0" x 4 . 'm' x 12;
    my $they;

    my $ear = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                    PeerPort => $redis->port);

    print $ear "PSUBSCRIBE nobody.nginx*\r\n";

    my $message = sub {
        my ($kind, $body, $to) = @_;

        return [ 'nobody.nginx' . ($to ? '.' . unpack('H*', $to) : ''),
                 pack('LCCSa16a16Q', 0x584f4953, 3, $kind, 0, $me, $to // '', 0)
                 . $body ];
    };

    my $client = SIO::Client->connect(
        port      => $host->port,
        transport => 'polling',
        timeout   => 20,
    );

    my $poll = $client->eio->get_start(
        http => $host->connect_to($worker, timeout => 20));

    publish($message->(1, pack 'QQLL', 1, 1, 1, 0));

    while (my $reply = SIO::Redis::reply($ear)) {
        next if $reply->[0] ne 'pmessage';

        $they = substr $reply->[3], 8, 16;
        last if $they ne $me;
    }

    # a poll for a session that is nowhere, in each place where one may wait
    publish(map {
        my ($slot, $generation, $index) = @$_;

        map { $message->(7, pack('LLL4SSLa32', 1, 0, $index << 8 | $slot,
                                 $generation, $_, 0, 4, 0, 0, 'n' x 32),
                         $they) } 1 .. 20;
    } map { my $slot = $_; map { my $generation = $_;
            map { [ $slot, $generation, $_ ] } 0 .. 3 } 1 .. 4 } 0 .. 2);

    ok(wait_until(20 * scale(), sub {
        my $r = eval { api($host, 'emit', '{"event":"end"}') };
        return $r && $r->{status} == 200;
    }), 'the host has heard it');

    is(($poll->wait // {})->{body}, '42["end"]', 'whose polls are left alone');

    $host->stop;
};


# The octets are there once for each place in what these servers read; in what
# the client sends they are there once.

subtest 'one attachment, named a thousand times' => sub {
    my $host = host('channel=bomb dialect=pickle', 'channel=bomb format=node');
    my ($node_port, $flask_port) = map { free_port() } 1, 2;
    my $node = SIO::Proc->node('server.js', $redis->url, 'bomb', 'redis',
                               $node_port);
    defined $node->line(20 * scale()) or BAIL_OUT($node->stderr);

    my $flask = SIO::Proc->spawn(
        [ '/usr/bin/python3', '-u', root() . '/t/client/flask_queue.py',
          $redis->url, 'bomb', $flask_port ],
        name => 'old Flask', env => { PYTHONDONTWRITEBYTECODE => 1 });

    ok(wait_until(30 * scale(), sub {
        eval { SIO::HTTP->new(port => $flask_port, timeout => 2)
            ->get('/socket.io/?EIO=4&transport=polling')->{status} == 200 }
    }), 'Flask serves') or diag $flask->stderr;

    my $client = SIO::Client->connect(port => $host->port, timeout => 20,
                                      transport => 'websocket');
    my $ws = $client->eio->{ws};
    my @workers = sort $host->workers;
    my $places = join ',', ('{"_placeholder":true,"num":0}') x 1000;
    my $octets = "\0\xff" x 450_000;

    my $untold = sub {
        return join ' ', map { "$_=@{[ untold($host, $_) ]}" }
                         'bomb', 'bomb node';
    };

    my $asked = sub {
        my ($name, $ask) = @_;
        my $packet;

        # a server that has just begun need not be heard yet
        ok(wait_until(30 * scale(), sub {
            $ask->();
            $packet = $client->wait_for(sub {
                $_[0]{type} == 2 && $_[0]{data}[1] eq $name }, 2);
        }), "$name asks");

        return $packet->{id};
    };

    is($untold->(), 'bomb=0 bomb node=0', 'nothing is untold');

    my $id = $asked->('Flask', sub {
        say_to($flask, 'emit', 'ask', 'Flask', {
            kw => { to => $client->sid, callback => 'asked' } });
    });

    $ws->send_text("461-${id}[$places]");
    $ws->send_binary($octets);

    ok(wait_until(20 * scale(), sub { $untold->() eq 'bomb=1 bomb node=0' }),
       'Flask is not told so much') or diag $untold->();

    $id = $asked->('Node', sub {
        $node->line(0.01);
        $node->send([ 'ask', '/', {}, 3000 * scale(), 'ask',
                      'Node' ]);
    });

    $ws->send_text("461-${id}[[$places]]");
    $ws->send_binary($octets);

    ok(wait_until(20 * scale(), sub { $untold->() eq 'bomb=1 bomb node=1' }),
       'nor is Node') or diag $untold->();

    # what an application says goes the same way
    is(api($host, 'emit', '{"event":"all","args":[' . $places
                          . '],"attachments":["'
                          . encode_base64($octets, '') . '"]}')->{status},
       200, 'an emit is taken');

    my $packet = $client->wait_for(sub {
        $_[0]{type} == 5 && $_[0]{data}[0] eq 'all' }, 20);

    is(scalar @{ $packet->{data} }, 1001, 'own clients hear it');
    ok(wait_until(20 * scale(), sub { $untold->() eq 'bomb=2 bomb node=2' }),
       'it is not told, either') or diag $untold->();

    my ($series) = metrics(SIO::HTTP->new(port => $host->port)
                           ->get('/metrics')->{body});

    is_deeply([ sort { $a <=> $b }
                values %{ $series->{socketio_queue_untold_total} } ],
              [ 2, 2 ], 'for Prometheus, too');

    is_deeply([ sort $host->workers ], \@workers, 'nobody has died');

    # it would be 900 MB
    for my $pid (@workers) {
        my ($peak) = read_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m;

        cmp_ok($peak, '<', 300_000, 'nor needed much memory');
    }

    $id = $asked->('Flask again', sub {
        say_to($flask, 'emit', 'ask', 'Flask again', {
            kw => { to => $client->sid, callback => 'again' } });
    });
    $ws->send_text("43${id}[\"yes\"]");
    is_deeply(say_to($flask, 'wait', 'again', 20), ['yes'], 'and it goes on');

    $client->disconnect;
    $host->allow(qr/message queue/);
    $host->stop;
};


sub untold {
    my ($host, $queue) = @_;

    return queues($host)->{untold}{ $redis->url . " $queue" };
}


sub say_to {
    my ($process, @words) = @_;

    $process->send(\@words);

    my $said = $process->line(30 * scale())
        // die 'no answer: ', $process->stderr;

    return $json->decode($said);
}


$redis->stop;

done_testing();
