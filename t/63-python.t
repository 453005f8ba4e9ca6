#!/usr/bin/perl

# Flask-SocketIO and two of our hosts on one Redis: emitters outside of any
# server, Celery's workers, and servers, of Debian's release (pickle) and of
# the current one (JSON).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(build_dir free_port program root scale wait_until);
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $redis = SIO::Redis->new->start;

my %python = (
    pickle => '/usr/bin/python3',      # of Debian, with its packages
    json   => build_dir() . '/venv/bin/python',
);

my %dialect = (pickle => 'pickle', json => '5.16');


# What a script imports is looked for beside it first.

for my $kind (sort keys %python) {
    my $r = SIO::Proc->run([ $python{$kind}, '-c',
        'import os, sys; print(*(sys.stdlib_module_names'
        . ' & {n[:-3] for n in os.listdir(sys.argv[1])}))',
        root() . '/t/client' ]);

    is($r->{out}, "\n", "no script is in the way of Python's own, $kind")
        or diag $r->{err};
}


sub python {
    my ($kind, @args) = @_;

    return SIO::Proc->spawn(
        [ $python{$kind}, '-u', root() . '/t/client/flask_queue.py',
          $redis->url, @args ],
        name => "Flask-SocketIO ($kind)",
        env  => { PYTHONDONTWRITEBYTECODE => 1 });
}


sub command {
    my ($process, @words) = @_;

    $process->send(\@words);

    my $said = $process->line(20 * scale())
        // die 'no answer: ', $process->stderr;

    return $json->decode($said);
}


sub host {
    my ($channel, $dialect) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => 'socketio_message_queue ' . $redis->url
                   . " channel=$channel dialect=$dialect;",
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /test;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS

    $nginx->wait_log(qr/message queue .* is connected/, 10)
        or BAIL_OUT('no connection to redis: ' . $nginx->log);

    return $nginx;
}


sub api {
    my ($host, $call, $body) = @_;

    return $json->decode(
        SIO::HTTP->new(port => $host->port, timeout => 10 * scale())
            ->post("/_api/$call", $json->encode($body))->{body});
}


sub client {
    my ($port, %option) = @_;

    my $client = SIO::Client->connect(port => $port, timeout => 10,
                                      transport => 'websocket', %option);
    $client->{nsp} = $option{nsp};

    return $client;
}


sub binary {
    return { '$binary' => encode_base64($_[0], '') };
}


# An event as (name, arguments, octets).

sub heard {
    my ($client, $name) = @_;

    my $packet = $client->wait_for(sub {
        ($_[0]{type} == 2 || $_[0]{type} == 5) && $_[0]{data}[0] eq $name;
    }, 15) // return undef;

    return [ @{ $packet->{data} }, @{ $packet->{attachments} } ];
}


for my $kind (qw(pickle json)) {
    my @hosts = map { host($kind, $dialect{$kind}) } 1, 2;

    subtest "an emitter, $kind" => sub {
        my $emitter = python($kind, $kind);
        my @clients = map { client($_->port) } @hosts;

        my $emit = sub {
            my ($event, $data, %kw) = @_;

            is(command($emitter, 'emit', $event, $data,
                       %kw ? { kw => \%kw } : ()), 'ok', "emitted $event");
        };

        my $tuple = { '$tuple' => [ 1, 'two', { three => [3] } ] };
        my $placeholder = { _placeholder => JSON::PP::true, num => 0 };

        for my $case (
            [ dict   => { data => 'foo' }, [ { data => 'foo' } ] ],
            [ text   => "h\x{e9}\x{1f600}", [ "h\x{e9}\x{1f600}" ] ],
            [ none   => undef, [] ],
            [ list   => [ 1, 2 ], [ [ 1, 2 ] ] ],
            [ number => 12345678901234, [ 12345678901234 ] ],
            [ tuple  => $tuple, [ 1, 'two', { three => [3] } ] ],
            [ bytes  => binary("\0\1\xff"), [ $placeholder, "\0\1\xff" ] ],
            [ nested => { a => [ binary('x' x 300) ] },
              [ { a => [ $placeholder ] }, 'x' x 300 ] ],
        ) {
            my ($event, $data, $expected) = @$case;

            $emit->($event, $data);
            is_deeply(heard($_, $event), [ $event, @$expected ],
                      "$event, on both hosts") for @clients;
        }

        api($hosts[0], 'join', { in => [ $clients[0]->sid ],
                                 rooms => ['a'] });
        api($hosts[0], 'join', { in => [ $clients[1]->sid ],
                                 rooms => ['b'] });

        # an emitter's message and a command of a host may pass each other
        wait_until(10, sub {
            my $rooms = $json->decode(SIO::HTTP->new(
                port => $hosts[0]->port)->get('/_api/rooms')->{body});
            @{ $rooms->{rooms} } == 2;
        });

        $emit->('r1', 1, to => 'a');
        $emit->('r2', 2, to => 'b');
        $emit->('r3', 3, to => [ 'a', 'b' ]);
        $emit->('r4', 4, to => $clients[1]->sid);
        $emit->('r5', 5, skip_sid => $clients[0]->sid);
        $emit->('r6', 6, skip_sid => [ map { $_->sid } @clients ]);
        $emit->('last', 0);

        for my $case ([ 0, qw(r1 r3 last) ], [ 1, qw(r2 r3 r4 r5 last) ]) {
            my ($i, @expected) = @$case;

            is_deeply([ map {
                my $packet = $clients[$i]->wait_for(sub {
                    $_[0]{type} == 2 }, 15);
                $packet ? $packet->{data}[0] : undef;
            } @expected ], \@expected, 'rooms, sids and whom they skip');
        }

        # the deployment guide's
        my @test = map { client($_->port, nsp => '/test') } @hosts;

        $emit->('my event', { data => 'foo' }, namespace => '/test');
        is_deeply(heard($_, 'my event'),
                  [ 'my event', { data => 'foo' } ], 'a namespace') for @test;

        $_->disconnect for @clients, @test;
    };

    subtest "a server, $kind" => sub {
        my $port = free_port();
        my $server = python($kind, $kind, $port);

        ok(wait_until(30 * scale(), sub {
            eval { SIO::HTTP->new(port => $port, timeout => 2)
                ->get('/socket.io/?EIO=4&transport=polling')->{status} == 200 }
        }), 'it serves') or diag $server->stderr;

        my @ours = map { client($_->port) } @hosts;
        my $theirs = client($port, transport => 'polling');

        is_deeply($theirs->call('join', 'room'), ['joined'],
                  'a client of theirs joins a room');
        api($hosts[0], 'join', { in => [ map { $_->sid } @ours ],
                                 rooms => ['room'] });

        # who is in the room of which host is seen by what is heard
        for my $case ([ 'to the room', to => 'room' ], [ 'to all' ]) {
            my ($name, %kw) = @$case;

            my $heard = 0;

            ok(wait_until(15 * scale(), sub {
                command($server, 'emit', 'theirs', { n => ++$heard },
                        { kw => \%kw });

                return @ours == grep { $_->event('theirs', 0.3) } @ours;
            }), "what they emit $name, ours hear");

            $theirs->event('theirs') for 1 .. $heard;
        }

        is(api($hosts[0], 'emit', { event => 'ours', to => 'room',
                                    args => [ { a => 1 } ] })->{matched}, 1,
           'what we emit');
        is_deeply(heard($_, 'ours'), [ 'ours', { a => 1 } ],
                  'is heard by all in the room') for @ours, $theirs;

        api($hosts[1], 'emit', { event => 'many',
                                 args => [ 1, 'two', [ 3, undef ] ] });
        is_deeply(heard($_, 'many'), [ 'many', 1, 'two', [ 3, undef ] ],
                  'several arguments') for @ours, $theirs;

        api($hosts[1], 'emit', { event => 'list', args => [ [ 1, 2 ] ] });
        is_deeply(heard($_, 'list'), [ 'list', [ 1, 2 ] ], 'a list')
            for @ours, $theirs;

        api($hosts[1], 'emit', { event => 'none' });
        is_deeply(heard($_, 'none'), [ 'none' ], 'no argument')
            for @ours, $theirs;

        my $placeholder = { _placeholder => JSON::PP::true, num => 0 };

        api($hosts[1], 'emit', {
            event => 'octets', args => [ { a => $placeholder } ],
            attachments => [ encode_base64("\0\xff\x80", '') ] });
        is_deeply(heard($_, 'octets'),
                  [ 'octets', { a => $placeholder }, "\0\xff\x80" ], 'octets')
            for @ours, $theirs;

        api($hosts[0], 'emit', { event => 'except', to => 'room',
                                 except => [ $theirs->sid ] });
        api($hosts[0], 'emit', { event => 'after' });
        is_deeply(heard($theirs, 'after'), ['after'], 'and whom it skips');
        ok(!grep({ ($_->{data}[0] // '') eq 'except' }
                 @{ $theirs->{queue} }), 'is skipped');
        is_deeply(heard($_, 'except'), ['except'], 'others not') for @ours;

        # acknowledgements of one client
        command($server, 'emit', 'ask', { q => 1 },
                { kw => { to => $ours[1]->sid, callback => 'asked' } });

        my $packet = $ours[1]->wait_for(sub {
            $_[0]{type} == 2 && $_[0]{data}[0] eq 'ask' }, 15);

        ok(defined $packet->{id}, 'they want an acknowledgement');
        $ours[1]->ack($packet, 'yes', 2);
        is_deeply(command($server, 'wait', 'asked', 15), [ 'yes', 2 ],
                  'which arrives there');

        # rooms and ends, by sid; servers before 5.10 do not tell each other

        if ($kind eq 'json') {
            command($server, 'enter', $ours[0]->sid, 'entered');
            ok(wait_until(15 * scale(), sub {
                api($hosts[0], 'emit', { event => 'in', to => 'entered' })
                    ->{matched} == 1;
            }), 'they let a client of ours into a room');

            command($server, 'leave', $ours[0]->sid, 'entered');
            ok(wait_until(15 * scale(), sub {
                api($hosts[0], 'emit', { event => 'in', to => 'entered' })
                    ->{matched} == 0;
            }), 'and out of it');

            api($hosts[0], 'join', { in => [ $theirs->sid ],
                                     rooms => ['ours'] });
            ok(wait_until(15 * scale(), sub {
                api($hosts[0], 'emit', { event => 'by us', to => 'ours' });
                $theirs->event('by us', 0.3);
            }), 'we let one of theirs into a room');
        }

        command($server, 'close', 'room');
        ok(wait_until(15 * scale(), sub {
            api($hosts[1], 'emit', { event => 'in', to => 'room' })
                ->{matched} == 0;
        }), 'they close a room');

        api($hosts[0], 'leave', { in => ['ours'], rooms => ['ours'] });
        api($hosts[0], 'emit', { event => 'closed', to => 'ours' });
        api($hosts[0], 'emit', { event => 'open' });
        heard($theirs, 'open');
        ok(!grep({ ($_->{data}[0] // '') eq 'closed' }
                 @{ $theirs->{queue} }), 'we close one');

        command($server, 'disconnect', $ours[0]->sid);
        ok($ours[0]->wait_for(sub { $_[0]{type} == 1 }, 15),
           'they end a socket of ours');

        api($hosts[1], 'disconnect', { in => [ $theirs->sid ] });
        ok($theirs->wait_for(sub { $_[0]{type} == 1 }, 15),
           'we end one of theirs');

        $ours[1]->disconnect;

        # their log names whatever they could not read
        unlike($server->stderr, qr/Traceback|Unknown|failed/i,
               'they have no complaints') or diag $server->stderr;
    };

    $_->stop for @hosts;
}


subtest 'a worker of Celery' => sub {
    my $host = host('flask-socketio', '5.16');

    my $worker = SIO::Proc->spawn(
        [ $python{json}, '-m', 'celery', '-A', 'celery_tasks', 'worker',
          '--pool', 'solo', '--loglevel', 'warning' ],
        name => 'celery',
        cwd  => root() . '/t/client',
        env  => { PYTHONDONTWRITEBYTECODE => 1, SIO_REDIS => $redis->url });

    my $client = client($host->port, nsp => '/test');

    my $sent = SIO::Proc->run(
        [ $python{json}, '-c',
          'import celery_tasks; celery_tasks.news.delay("hello")' ],
        cwd => root() . '/t/client',
        env => { PYTHONDONTWRITEBYTECODE => 1, SIO_REDIS => $redis->url });

    is($sent->{status}, 0, 'a task is sent') or diag $sent->{err};
    is_deeply($client->event('news', 30 * scale()),
              [ 'news', { word => 'hello' } ], 'and emits') or
        diag $worker->stderr;

    $worker->kill('KILL');
    $client->disconnect;
    $host->stop;
};


# What is no message is refused, and said once.

subtest 'strangers on the channel' => sub {
    my $host = host('strangers', '5.16');
    my $client = client($host->port);
    my $mark = $host->mark;

    for my $bad ('', 'x', '{}', '["method"]', '{"method":"emit"',
                 "\x80\x04cos\nsystem\n(Vtouch pwned\ntR.",
                 '[' x 100000, "\xff" x 1000, '{"method":"emit","event":"e",'
                 . '"data":[1],"namespace":"/","room":[]}',
                 'SIOX' . "\x01" . "\xff" x 100) {
        $redis->command('PUBLISH', $_, $bad)
            for qw(strangers strangers.nginx);
    }

    $redis->command('PUBLISH', 'strangers', $json->encode({
        method => 'emit', event => 'fine', data => ['x'],
        namespace => '/' }));

    is_deeply(heard($client, 'fine'), [ 'fine', 'x' ],
              'nothing comes of it, and it goes on');

    my @lines = substr($host->log, $mark) =~ /(refused a message.*)/g;
    is(scalar @lines, 1, 'it is said once') or diag join "\n", @lines;

    $client->disconnect;
    $host->allow(qr/refused a message/);
    $host->stop;
};


$redis->stop;

done_testing();
