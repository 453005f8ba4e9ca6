#!/usr/bin/perl

# One fleet: hosts with a queue for Python and one for Node, servers of both,
# emitters of both, on one Redis.  Whoever says something, everybody hears it,
# once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(build_dir free_port root scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $redis = SIO::Redis->new->start;
my $python = build_dir() . '/venv/bin/python';
my $backend = SIO::Backend->new->start;

# what a client says by an event of its own to everybody, or to a room
$backend->on({ type => 'event', event => 'say' }, { json => {
    emit => [ { event => 'n', args => '%args%', broadcast => \1 } ] } });
$backend->on({ type => 'event', event => 'say room' }, { json => {
    emit => [ { event => 'n', args => '%args%', to => 'room' } ] } });
$backend->on({ type => 'event', event => 'say end' }, { json => {
    emit => [ { event => 'end', broadcast => \1 } ] } });


sub host {
    my (@lines) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => join(' ', map {
            my $url = /redis:/ ? '' : $redis->url;
            "socketio_message_queue $url $_;"
        } @lines) . ' upstream app { server ' . $backend->address
          . '; keepalive 8; }',
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /test;
            socketio_webhook /_hook;
            socketio_webhook_events event;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

    ok(wait_until(20 * scale(), sub {
        @lines == grep { $_ } values %{ status($nginx)->{queues}{up} };
    }), 'a host has its queues') or BAIL_OUT($nginx->log);

    $nginx->allow(qr/message queue/);

    return $nginx;
}


sub status {
    my ($host) = @_;

    return SIO::HTTP->new(port => $host->port, timeout => 20 * scale())
        ->get('/status')->json;
}


sub api {
    my ($host, $call, $body) = @_;

    return $json->decode(
        SIO::HTTP->new(port => $host->port, timeout => 20 * scale())
            ->post("/_api/$call", $json->encode($body))->{body});
}


sub node {
    my ($key) = @_;

    my $port = free_port();
    my $node = SIO::Proc->node('server.js', $redis->url, $key, 'redis', $port);

    defined $node->line(20 * scale())
        or BAIL_OUT('no server of socket.io: ' . $node->stderr);

    return ($node, $port);
}


sub flask {
    my ($channel) = @_;

    my $port = free_port();
    my $flask = SIO::Proc->spawn(
        [ $python, '-u', root() . '/t/client/flask_queue.py', $redis->url,
          $channel, $port ],
        name => 'Flask-SocketIO',
        env  => { PYTHONDONTWRITEBYTECODE => 1 });

    wait_until(30 * scale(), sub {
        eval { SIO::HTTP->new(port => $port, timeout => 2)
            ->get('/socket.io/?EIO=4&transport=polling')->{status} == 200 }
    }) or BAIL_OUT('no server of Flask: ' . $flask->stderr);

    return ($flask, $port);
}


sub say_to {
    my ($process, @words) = @_;

    $process->send(\@words);

    my $said = $process->line(20 * scale())
        // die 'no answer: ', $process->stderr;

    return $json->decode($said);
}


# The emitter of the deployment guide, as it is there.

sub script {
    my ($event, $data) = @_;

    my $url = $redis->url;
    my $run = SIO::Proc->run([ $python, '-c', <<"EOS" ], timeout => 30);
from flask_socketio import SocketIO
SocketIO(message_queue='$url').emit('$event', $data, namespace='/test')
EOS

    is($run->{status}, 0, 'the script has run') or diag $run->{err};
}


# An official client in the namespace /test.

sub client {
    my ($kind, $port) = @_;

    my $url = "http://127.0.0.1:$port";

    return $kind eq 'JavaScript'
        ? SIO::Proc->node('client.js', '4', "$url/test",
                          $json->encode({ transports => ['websocket'] }))
        : SIO::Proc->python('client.py', $url,
              $json->encode({ namespace => '/test',
                              transports => ['websocket'] }));
}


# What a client has heard up to an event "end".

sub heard {
    my ($client) = @_;

    my @heard;

    for ( ;; ) {
        my $event = eval { $client->json_with('event', 15)->{event} }
            // return [ @heard, 'no end' ];

        my ($name, @args) = @$event;

        return \@heard if $name eq 'end';

        push @heard, @args == 1 ? $args[0] : \@args;
    }
}


my @lines = ('forward=on', 'format=node forward=on');
my @hosts = (host(@lines), host(@lines),
             host('format=node'));
my ($node, $node_port) = node('socket.io');
my ($flask, $flask_port) = flask('flask-socketio');

# whoever emits without being a server
my $emitter = SIO::Proc->spawn(
    [ $python, '-u', root() . '/t/client/flask_queue.py', $redis->url,
      'flask-socketio' ],
    name => 'emitter', env => { PYTHONDONTWRITEBYTECODE => 1 });

my @ports = ((map { $_->port } @hosts), $node_port, $flask_port);
my @clients = map { my $port = $_;
                    map { client($_, $port) } qw(JavaScript Python) } @ports;
my @sids = map { $_->json_with('connect', 30)->{connect} } @clients;

ok(!grep({ !defined } @sids), 'all clients are connected');


# Hosts know of each other, and one of them speaks for each queue.

sub together {
    my ($name) = @_;

    my $word = 0;

    for my $emit (
        sub { api($hosts[0], 'emit', { event => 'hello', args => [$_[0]],
                                       namespace => '/test' }) },
        sub { say_to($flask, 'emit', 'hello', $_[0],
                     { kw => { namespace => '/test' } }) },
        sub { say_to($node, 'emit', '/test', {}, 'hello', $_[0]) },
    ) {
        my %deaf = map { $_ => $clients[$_] } 0 .. $#clients;

        ok(wait_until(30 * scale(), sub {
            $emit->(++$word);

            for my $i (keys %deaf) {
                my $event = eval { $deaf{$i}->json_with('event', 1) } // next;

                delete $deaf{$i} if $event->{event}[1] == $word;
            }

            return !%deaf;
        }), $name) or diag join ' ', sort keys %deaf;
    }

    api($hosts[0], 'emit', { event => 'end', namespace => '/test' });
    heard($_) for @clients;
}


together('all hear of each other');


subtest 'the deployment guide' => sub {
    script('my event', "{'data': 'foo'}");
    script('end', '1');

    is_deeply([ map { heard($_) } @clients ],
              [ ([ { data => 'foo' } ]) x @clients ],
              'reaches clients of hosts, of Node and of Flask, each once');
};


my %by = (
    'a host' => sub {
        my ($event, $value, $to) = @_;
        api($hosts[0], 'emit', { event => $event, args => [$value],
                                 namespace => '/test',
                                 $to ? (to => $to) : () });
    },
    'another host' => sub {
        my ($event, $value, $to) = @_;
        api($hosts[1], 'emit', { event => $event, args => [$value],
                                 namespace => '/test',
                                 $to ? (to => $to) : () });
    },
    'a host with one queue' => sub {
        my ($event, $value, $to) = @_;
        api($hosts[2], 'emit', { event => $event, args => [$value],
                                 namespace => '/test',
                                 $to ? (to => $to) : () });
    },
    'a webhook' => sub {
        my ($event, $value, $to) = @_;
        my $say = $event eq 'end' ? 'say end' : $to ? 'say room' : 'say';

        $clients[0]->send({ emit => [ $say, $value ] });
    },
    'a script of Flask' => sub {
        my ($event, $value, $to) = @_;
        say_to($emitter, 'emit', $event, $value,
               { kw => { namespace => '/test', $to ? (to => $to) : () } });
    },
    'Flask' => sub {
        my ($event, $value, $to) = @_;
        say_to($flask, 'emit', $event, $value,
               { kw => { namespace => '/test', $to ? (to => $to) : () } });
    },
    'Node' => sub {
        my ($event, $value, $to) = @_;
        say_to($node, 'emit', '/test', $to ? { to => [$to] } : {}, $event,
               $value);
    },
    'an emitter of Node' => sub {
        my ($event, $value, $to) = @_;
        say_to($node, 'emitter', '/test', $to ? { to => [$to] } : {}, $event,
               $value);
    },
);

# what a host without the queue says is not for Flask
my @all = 0 .. $#clients;
my %deaf = ('a host with one queue' => { map { $_ => 1 } @all[-2, -1] });


subtest 'everybody is heard by all, once' => sub {
    for my $name (sort keys %by) {
        $by{$name}->('n', $_) for 1 .. 20;
        $by{$name}->('end', 0);

        my @hear = grep { !$deaf{$name}{$_} } @all;

        is_deeply([ map { heard($clients[$_]) } @hear ],
                  [ ([ 1 .. 20 ]) x @hear ], "$name, in order");
    }
};


subtest 'rooms' => sub {
    # one client each: of hosts by the API, of others by themselves
    api($hosts[0], 'join', { namespace => '/test', rooms => ['room'],
                             in => [ @sids[0, 2, 4] ] });

    for my $i (6, 8) {
        $clients[$i]->send({ call => [ 'join', 'room' ] });
        $clients[$i]->json_with('answer');
    }

    for my $name (sort keys %by) {
        my @hear = grep { !$deaf{$name}{$_} } @all;

        # their joins take a way of their own
        wait_until(10 * scale(), sub {
            $by{$name}->('n', 0, 'room');
            $by{$name}->('end', 0);

            my @heard = map { scalar @{ heard($clients[$_]) } } @hear;

            return "@heard" eq join ' ', map { $_ % 2 ? 0 : 1 } @hear;
        });

        $by{$name}->('n', 1, 'room');
        $by{$name}->('n', 2);
        $by{$name}->('end', 0);

        is_deeply([ map { heard($clients[$_]) } @hear ],
                  [ map { $_ % 2 ? [2] : [ 1, 2 ] } @hear ],
                  "$name to a room");
    }

    say_to($node, 'leave', '/test', { to => ['room'] }, ['room']);
    $by{'Flask'}->('end', 0);
    heard($_) for @clients;
};


# Each is answered by those who understand it, the others hear it.

subtest 'acknowledgements' => sub {
    my $call = SIO::HTTP->new(port => $hosts[0]->port, timeout => 30)
        ->start('POST', '/_api/emit', body => $json->encode({
            event => 'ask', args => ['?'], namespace => '/test',
            ack => \1, timeout => 20000 * scale() }));

    for my $i (grep { $_ % 2 == 0 } @all) {
        my $event = $clients[$i]->json_with('event', 15);

        is_deeply($event->{event}, [ 'ask', '?' ], 'a host asks');

        $clients[$i]->send({ ack => $event->{ack}, args => ["I $i"] })
            if $i < 8;
    }

    my $said = $json->decode($call->wait->{body});

    # the Python client answers with what it was asked
    is_deeply([ sort map { $_->{args}[0] } @{ $said->{acks} } ],
              [ ('?') x 4, 'I 0', 'I 2', 'I 4', 'I 6' ],
              'clients of hosts and of Node answer')
        or diag $json->encode($said);

    $node->send([ 'ask', '/test', {}, 20000 * scale(), 'ask', '!' ]);

    for my $i (grep { $_ % 2 == 0 } @all) {
        my $event = $clients[$i]->json_with('event', 15);

        is_deeply($event->{event}, [ 'ask', '!' ], 'Node asks');

        $clients[$i]->send({ ack => $event->{ack}, args => ["I $i"] })
            if $i < 8;
    }

    $said = $json->decode($node->line(30 * scale()));
    is_deeply([ sort @{ $said->{ok} // [] } ],
              [ ('!') x 4, 'I 0', 'I 2', 'I 4', 'I 6' ],
              'the same answer') or diag $json->encode($said);

    say_to($flask, 'emit', 'ask', '#', { kw => {
        namespace => '/test', to => $sids[2], callback => 'asked' } });

    my $event = $clients[2]->json_with('event', 15);

    is_deeply($event->{event}, [ 'ask', '#' ], 'Flask asks');
    $clients[2]->send({ ack => $event->{ack}, args => ['yes'] });
    is_deeply(say_to($flask, 'wait', 'asked', 20), ['yes'],
              'and is answered');

    $by{'a host'}->('end', 0);

    # those of Python show what they were asked
    is_deeply([ map { heard($clients[$_]) } grep { $_ % 2 } @all ],
              [ ([ '?', '!' ]) x 5 ], 'by everybody once');
    heard($clients[$_]) for grep { $_ % 2 == 0 } @all;
};


# What the bridge keeps goes over to its successor.

subtest 'a reload' => sub {
    my $n = 0;

    for my $host (@hosts[1, 0]) {
        $host->reload;

        for (1 .. 60) {
            $by{'Flask'}->('n', ++$n);
            sleep 0.02;
        }
    }

    $by{'Flask'}->('end', 0);
    is_deeply(heard($_), [ 1 .. $n ], 'nothing is missed or doubled')
        for @clients;
};


# Without the one who spoke another one does.

subtest 'a host leaves, another one dies' => sub {
    my $again = sub {
        my ($name) = @_;

        # what is said is told to the other kind by whoever speaks for it
        for my $case ([ 'Flask', 4 ], [ 'Node', 6 ]) {
            my ($who, $i) = @$case;
            my $n = 0;

            ok(wait_until(40 * scale(), sub {
                $by{$who}->('again', "$who " . ++$n);

                while (my $event = eval { $clients[$i]->json_with('event',
                                                                  0.5) })
                {
                    return 1 if $event->{event}[1] eq "$who $n";
                }

                return 0;
            }), "$name: $who is heard by the others");
        }

        $by{'Flask'}->('end', 0);
        heard($_) for @clients;

        for my $who ('Flask', 'Node') {
            $by{$who}->('n', $_) for 1 .. 10;
            $by{$who}->('end', 0);
            is_deeply([ map { heard($_) } @clients ],
                      [ ([ 1 .. 10 ]) x @clients ], "$name: $who once");
        }
    };

    my @gone = splice @clients, 2, 2;

    $hosts[1]->stop;
    splice @hosts, 1, 1;
    $again->('one has left');

    # the last one that came is the one who speaks
    push @hosts, host(@lines);
    $again->('one has come');

    # the one that was there all the time is left
    my $dead = pop @hosts;

    kill 'KILL', $dead->pid, $dead->workers;
    $dead->stop;
    $again->('one has died');
};


subtest 'queues of their own' => sub {
    my $host = host('channel=own', 'channel=own format=node forward=on');
    my ($node, $node_port) = node('own');
    my ($flask, $flask_port) = flask('own');

    my @clients = map { client('JavaScript', $_) }
                  $host->port, $node_port, $flask_port;

    $_->json_with('connect', 30) for @clients;

    my $emit = sub {
        say_to($flask, 'emit', 'from', 'Flask',
               { kw => { namespace => '/test' } });
        say_to($node, 'emit', '/test', {}, 'from', 'Node');
    };

    # Node's own library may not hear yet
    $emit->() for 1 .. 3;

    my %heard;

    ok(wait_until(20 * scale(), sub {
        $emit->();
        api($host, 'emit', { event => 'end', namespace => '/test' });

        for my $i (0 .. 2) {
            $heard{"$_ $i"} = 1 for @{ heard($clients[$i]) };
        }

        return $heard{'Flask 0'} && $heard{'Node 0'};
    }), 'a host hears both');

    is_deeply([ sort keys %heard ],
              [ 'Flask 0', 'Flask 2', 'Node 0', 'Node 1' ],
              'who do not hear each other');

    $host->stop;
};


# What one queue brings waits for the other.

subtest 'a queue is away' => sub {
    my $other = SIO::Redis->new->start;
    my $url = $other->url;

    my $both = host('channel=here forward=on', "$url forward=on");
    my $there = SIO::Nginx->new(
        workers => 2,
        http    => "socketio_message_queue $url;",
        server  => 'location /socket.io/ { socketio;'
                   . ' socketio_namespaces / /test; }')->start;

    $there->allow(qr/message queue/);

    my ($flask) = flask('here');
    my $client = client('JavaScript', $there->port);
    my $n = 0;

    $client->json_with('connect', 30);

    my $emit = sub {
        say_to($flask, 'emit', 'n', ++$n, { kw => { namespace => '/test' } });
    };

    ok(wait_until(20 * scale(), sub {
        $emit->();
        my $event = eval { $client->json_with('event', 1) };

        return $event && $event->{event}[1] == $n;
    }), 'one queue is heard on the other');

    my $before = $n;

    $other->stop;
    $emit->() for 1 .. 30;
    $other->start;
    $emit->() for 1 .. 30;
    say_to($flask, 'emit', 'end', 0, { kw => { namespace => '/test' } });

    is_deeply(heard($client), [ $before + 1 .. $n ],
              'with all that was said while it was away');

    $_->stop for $both, $there;
    $other->stop;
};


is($node->stderr, '', 'Node has nothing to complain about');
unlike($flask->stderr, qr/Traceback|Unknown|failed/i, 'nor has Flask')
    or diag $flask->stderr;

$_->stop for @hosts;
$redis->stop;

done_testing();
