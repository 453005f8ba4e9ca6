#!/usr/bin/perl

# Several hosts on one Redis: what the API and webhooks say reaches all of them,
# requests find their sessions on whichever host they arrive, and nothing is
# lost while Redis, a bridge or a host is away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Redis;
use SIO::Status qw(metrics promtool status);
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical;

my $redis = SIO::Redis->new->start;
my $backend = SIO::Backend->new->start;
my $channel = 'hosts';

$backend->on({ type => 'event', event => 'join' }, { json => {
    join => '%args%', ack => [] } });
$backend->on({ type => 'event', event => 'all' }, { json => {
    emit => [{ event => 'news', args => '%args%',
               attachments => '%attachments%', broadcast => \1 }] } });
$backend->on({ type => 'event', event => 'echo' }, { json => {
    ack => '%args%' } });

my @hosts = map { host() } 1 .. 3;


sub host {
    my (%option) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => 'socketio_message_queue ' . $redis->url
                   . " channel=$channel; upstream app { server "
                   . $backend->address . '; keepalive 8; }',
        server  => <<'EOS', %option)->start;
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_allow_eio3 on;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
        location = /metrics { socketio_status prometheus; }
EOS

    $nginx->wait_log(qr/message queue .* is connected/, 10)
        or BAIL_OUT('no connection to redis: ' . $nginx->log);

    return $nginx;
}


sub api {
    my ($host, $call, $body) = @_;

    my $http = SIO::HTTP->new(port => $host->port, timeout => 10 * scale());

    return $json->decode((defined $body
        ? $http->post("/_api/$call", ref $body ? $json->encode($body) : $body)
        : $http->get("/_api/$call"))->{body});
}


sub client {
    my ($host, %option) = @_;

    return SIO::Client->connect(port => $host->port, transport => 'websocket',
                                timeout => 10, %option);
}


# All hosts know of each other: what one emits is heard by all.

sub together {
    my @all = @_;

    my @clients = map { client($_) } @all;

    for my $from (@all) {
        my $word = $from->port . '-' . rand;

        my @deaf = @clients;

        ok(wait_until(15 * scale(), sub {
            api($from, 'emit', { event => 'hello', args => [$word] });

            @deaf = grep {
                my $e = $_->event('hello', 0.2) // [''];
                ($e->[1] // '') ne $word;
            } @deaf;

            return !@deaf;
        }), 'a host is heard by all');
    }

    $_->disconnect for @clients;

    # they leave when their webhooks are over
    wait_until(10, sub { !@{ api($all[0], 'sockets')->{sockets} } });
}


sub numbers {
    my ($client, $n) = @_;

    return [ map { ($client->event('n', 10 * scale()) // [])->[1] } 1 .. $n ];
}


together(@hosts);


subtest 'emits' => sub {
    my @clients = map { client($_) } @hosts;

    for my $i (1 .. 30) {
        my $said = api($hosts[0], 'emit', { event => 'n', args => [$i] });

        is_deeply($said, { matched => 1 }, 'matched is of one host')
            if $i == 1;
    }

    is_deeply(numbers($_, 30), [ 1 .. 30 ], 'each one once, in order')
        for @clients;

    $clients[1]->emit('all', 'from a webhook');
    is_deeply($_->event('news'), [ 'news', 'from a webhook' ], 'by a webhook')
        for @clients;

    my $octets = join '', map { chr } 0 .. 255;

    $clients[2]->emit('all', \$octets);
    is($_->wait_for(sub { $_[0]{type} == 5 })->{attachments}[0], $octets,
       'octets') for @clients;

    api($hosts[0], 'join', { in => [ map { $_->sid } @clients[1, 2] ],
                             rooms => ['r'] });
    api($hosts[0], 'emit', { event => 'x', args => [1], to => 'r',
                             except => [ $clients[2]->sid ] });
    is_deeply($clients[1]->event('x'), [ 'x', 1 ], 'to a room elsewhere');

    api($hosts[1], 'leave', { in => ['r'], rooms => ['r'] });
    api($hosts[1], 'emit', { event => 'x', args => [2], to => 'r' });
    api($hosts[1], 'emit', { event => 'x', args => [3] });
    is_deeply($_->event('x'), [ 'x', 3 ], 'not to one who is excluded or left')
        for @clients;

    api($hosts[0], 'disconnect', { in => [ $clients[2]->sid ] });
    ok($clients[2]->wait_for(sub { $_[0]{type} == 1 }),
       'a socket elsewhere is ended');

    $_->disconnect for @clients;
};


subtest 'lists and acknowledgements' => sub {
    my @clients = map { client($_) } @hosts;

    $_->call('join', 'list') for @clients;

    for my $host (@hosts) {
        my $said = api($host, 'sockets?room=list');

        is_deeply([ sort map { $_->{sid} } @{ $said->{sockets} } ],
                  [ sort map { $_->sid } @clients ], 'sockets of all hosts');
        ok($said->{complete}, 'completely');

        $said = api($host, 'rooms');
        is_deeply($said, { complete => \1, rooms => [
            { name => 'list', sockets => 3 } ] }, 'rooms of all hosts')
            or diag $json->encode($said);

        is(api($host, 'sockets/' . $clients[2]->sid)->{sid},
           $clients[2]->sid, 'one of them');
    }

    my $call = SIO::HTTP->new(port => $hosts[0]->port, timeout => 10)
        ->start('POST', '/_api/emit', body => $json->encode({
            event => 'ask', args => [], to => 'list', ack => \1,
            timeout => 5000 * scale() }));

    for my $client (@clients) {
        my $packet = $client->wait_for(sub {
            $_[0]{type} == 2 && $_[0]{data}[0] eq 'ask' });

        $client->ack($packet, $client->sid);
    }

    my $said = $json->decode($call->wait->{body});

    is_deeply([ sort map { "$_->{sid} $_->{args}[0]" } @{ $said->{acks} } ],
              [ sort map { join ' ', ($_->sid) x 2 } @clients ],
              'acknowledgements of all hosts');
    ok($said->{complete}, 'completely');

    $_->disconnect for @clients;
};


# Every request at another host than the one before.

subtest 'polling anywhere' => sub {
    my $eio = SIO::EIO->open(port => $hosts[0]->port, timeout => 15);
    my $turn = 0;

    my $answers = 0;
    my $url = $eio->url('polling');

    my $ask = sub {
        my ($method, $body) = @_;

        my $http = SIO::HTTP->new(port    => $hosts[$turn++ % 3]->port,
                                  timeout => 15 * scale());
        my $r = $method eq 'GET' ? $http->get($url)
                                 : $http->post($url, $body);

        $answers++ if $r->{status} == 200;

        return $r->{body};
    };

    is($ask->('POST', '40'), 'ok', 'a namespace');
    like($ask->('GET'), qr/^40\{"sid":/, 'is joined');

    for my $i (1 .. 40) {
        is($ask->('POST', qq(42${i}["echo",$i])), 'ok', "post $i");

        my $got = $ask->('GET');
        $got = $ask->('GET') if $got eq '2';

        is($got, qq(43${i}[$i]), "poll $i");
    }

    my $ws = $eio->websocket(port => $hosts[1]->port, timeout => 10);

    ok(!defined $ws->recv(10) && $ws->{closed},
       'a WebSocket at another host is closed');

    is($ask->('POST', '421["echo","still"]'), 'ok', 'and the client');
    like($ask->('GET'), qr/^(?:2\x1e)?431\["still"\]/, 'goes on polling');

    # an id of nobody
    my $r = SIO::HTTP->new(port => $hosts[0]->port)->get(
        '/socket.io/?EIO=4&transport=polling&sid=' . 'A' x 32);
    is($r->{body}, '{"code":1,"message":"Session ID unknown"}',
       'a stranger is one everywhere');
};


# Clients of 2.x, and those that load scripts: no request arrives at the
# session's host, and a poll that waits while that reloads goes on to wait.

subtest 'old clients anywhere' => sub {
    my @other = map { SIO::HTTP->new(port => $_->port,
                                     timeout => 15 * scale()) } @hosts[1, 2];

    for my $query ('EIO=4', 'EIO=4&j=5', 'EIO=3', 'EIO=3&j=5') {
        my $eio = $query =~ /EIO=3/ ? 3 : 4;
        my $script = $query =~ /j=5/;
        my $url = "/socket.io/?$query&transport=polling";

        my $in = sub {
            my $payload = SIO::EIO->new(eio => $eio)->encode(@_);

            return $script ? 'd=' . join '', map { sprintf '%%%02x', ord }
                                             split //, $payload
                           : $payload;
        };

        my $out = sub {
            my $payload = SIO::EIO->new(eio => $eio)->encode(@_);

            return $script ? '___eio[5]("' . $payload =~ s/"/\\"/gr . '");'
                           : $payload;
        };

        my ($sid) = SIO::HTTP->new(port => $hosts[0]->port)->get($url)->{body}
                    =~ /sid\\?":\\?"([\w-]+)/;

        $url .= "&sid=$sid";

        is($other[0]->post($url, $in->('40'))->{body}, 'ok', "$query, joined");
        like($other[1]->get($url)->{body}, qr/40/, "$query, and told so");

        is($other[0]->post($url, $in->('421["echo","x"]'))->{body}, 'ok',
           "$query, an event");
        is($other[1]->get($url)->{body}, $out->('431["x"]'),
           "$query, its answer");

        my $poll = $other[0]->start('GET', $url);

        # the poll is there by then: what one host says arrives in order
        is($other[0]->post($url, $in->('6'))->{body}, 'ok', "$query, a POST");

        # who has its session may go on for as long as it is there
        my $serving = sub {
            return scalar(() = $hosts[0]->log =~ /this worker serves/g);
        };
        my $before = $serving->();

        $hosts[0]->reload;
        ok(wait_until(20 * scale(), sub { $serving->() > $before }),
           "$query, another worker serves the queue");

        is($other[1]->post($url, $in->('421["echo","y"]'))->{body}, 'ok',
           "$query, an event after a reload");

        is($poll->wait->{body}, $out->('431["y"]'), "$query, its answer");
    }
};


subtest 'a host is silent' => sub {
    my @clients = map { client($_) } @hosts;
    my @workers = $hosts[2]->workers;

    $_->call('join', 'silent') for @clients;
    kill 'STOP', @workers;

    my $said = api($hosts[0], 'sockets?room=silent');

    is_deeply([ sort map { $_->{sid} } @{ $said->{sockets} } ],
              [ sort map { $_->sid } @clients[0, 1] ],
              'the sockets of the others are listed');
    is_deeply($said->{complete}, JSON::PP::false, 'and that some are missing');

    my $call = SIO::HTTP->new(port => $hosts[1]->port, timeout => 20)
        ->start('POST', '/_api/emit', body => $json->encode({
            event => 'ask', to => 'silent', ack => \1,
            timeout => 2000 * scale() }));

    for my $client (@clients[0, 1]) {
        my $packet = $client->wait_for(sub {
            $_[0]{type} == 2 && $_[0]{data}[0] eq 'ask' });

        $client->ack($packet, 'here');
    }

    $said = $json->decode($call->wait->{body});
    is(@{ $said->{acks} }, 2, 'so with acknowledgements');
    is_deeply($said->{complete}, JSON::PP::false, 'which are not all');

    kill 'CONT', @workers;

    is($clients[2]->event('ask', 20 * scale())->[0], 'ask',
       'it hears what it has missed');
    $_->disconnect for @clients;
    $hosts[2]->allow(qr/message queue/);
    together(@hosts);
};


subtest 'redis is away' => sub {
    my @clients = map { client($_) } @hosts;
    my $n = 0;

    my $emit = sub {
        my ($times) = @_;

        for (1 .. $times) {
            api($hosts[0], 'emit', { event => 'n', args => [ ++$n ] });
        }
    };

    $emit->(20);
    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $emit->(200);
    $redis->command('CLIENT', 'KILL', 'TYPE', 'normal');
    $emit->(200);
    $redis->stop;
    $emit->(50);

    is_deeply(numbers($clients[0], $n), [ 1 .. $n ],
              'the own clients do not wait');

    $redis->start;
    $emit->(30);

    is_deeply(numbers($clients[$_], $n), [ 1 .. $n ], 'others miss nothing')
        for 1, 2;

    $_->disconnect for @clients;
};


subtest 'what the status page tells' => sub {
    my $label = $redis->url . " $channel";

    ok(wait_until(10 * scale(), sub {
        3 == grep { status($_)->{queues}{up}{$label} } @hosts;
    }), 'it is connected');

    my $before = status($hosts[0])->{queues};

    api($hosts[0], 'emit', { event => 'n', args => [$_] }) for 1 .. 10;

    my $status;

    ok(wait_until(10 * scale(), sub {
        $status = status($hosts[0]);
        $status->{queues}{shipped}{$label}
            == $before->{shipped}{$label} + 10;
    }), 'what was shipped');

    is($status->{queues}{waiting}{$label}, 0, 'nothing waits');
    is($status->{queues}{lost}{$label}, 0, 'nothing was lost');
    is($status->{hosts}{known}, 2, 'two other hosts');
    is($status->{hosts}{missed}, 0, 'and nothing of them was missed');

    ok(wait_until(10 * scale(), sub {
        status($hosts[1])->{queues}{received}{$label} >= 10;
    }), 'others have received it');

    $redis->command('PUBLISH', $channel, 'x');
    $redis->command('PUBLISH', $channel, "\x80\x04cos\nsystem\n.");
    $redis->command('PUBLISH', "$channel.nginx", 'x');
    $_->allow(qr/refused a message/) for @hosts;

    ok(wait_until(10 * scale(), sub {
        my $refused = status($hosts[2])->{queues}{refused}{$label};
        "@{$refused}{qw(malformed code host)}" eq '1 1 1';
    }), 'what was refused, by reason')
        or diag $json->encode(status($hosts[2])->{queues}{refused});

    # a message that is published while Redis stands still is confirmed late
    $redis->signal('STOP');
    api($hosts[0], 'emit', { event => 'n', args => [0] });
    sleep 1.5;

    my $queues = status($hosts[0])->{queues};

    cmp_ok($queues->{waiting}{$label}, '>', 0, 'what is not confirmed waits');
    cmp_ok($queues->{delay}{$label}, '>', 0.5, 'and for how long');
    $redis->signal('CONT');

    ok(wait_until(10 * scale(), sub {
        $queues = status($hosts[0])->{queues};
        !$queues->{waiting}{$label};
    }), 'until it is');

    cmp_ok($queues->{delay}{$label}, '>', 1, 'the delay is told in seconds');
    cmp_ok($queues->{delay}{$label}, '<', 60, 'of what was late');

    my $text = SIO::HTTP->new(port => $hosts[0]->port)->get('/metrics')
        ->{body};

    promtool($text, 'promtool has nothing to say');
    is((metrics($text))[0]{socketio_queue_up}{qq(queue="$label")}, 1,
       'for Prometheus, too');

    $redis->stop;
    ok(wait_until(10 * scale(), sub {
        status($hosts[0])->{queues}{up}{$label} == 0;
    }), 'it is seen when the queue is away');
    $redis->start;
    ok(wait_until(20 * scale(), sub {
        status($hosts[0])->{queues}{up}{$label} == 1;
    }), 'and when it is back');

    # all are back before the next test
    together(@hosts);
};


subtest 'a bridge is killed' => sub {
    my @clients = map { client($_) } @hosts[1, 2];
    my $n = 0;

    for my $host (@hosts[0, 1]) {
        for (1 .. 20) {
            api($hosts[0], 'emit', { event => 'n', args => [ ++$n ] });
        }

        my ($pid) = ($host->log =~ /(\d+)#\d+: this worker serves/g)[-1];

        # clients of that worker would be lost with it
        if ($host == $hosts[0]) {
            kill 'KILL', $pid;
            ok($host->wait_log(qr/exited on signal 9/, 10), 'killed');
            $host->allow(qr/exited on signal 9/);
        }

        for (1 .. 20) {
            wait_until(10, sub {
                eval { api($hosts[0], 'emit',
                           { event => 'n', args => [ $n + 1 ] }) };
            });
            $n++;
        }
    }

    is_deeply(numbers($_, $n), [ 1 .. $n ], 'its successor goes on')
        for @clients;

    $_->disconnect for @clients;
};


subtest 'a reload' => sub {
    my @clients = map { client($_) } @hosts[1, 2];
    my $stay = client($hosts[0]);
    my $n = 0;

    for my $round (1 .. 3) {
        for (1 .. 20) {
            api($hosts[0], 'emit', { event => 'n', args => [ ++$n ] });
        }

        $hosts[0]->reload;

        for (1 .. 100) {
            api($hosts[0], 'emit', { event => 'n', args => [ ++$n ] });
            sleep 0.01;
        }
    }

    is_deeply(numbers($_, $n), [ 1 .. $n ], 'nothing is missed or doubled')
        for @clients, $stay;

    $_->disconnect for @clients, $stay;
};


ok(wait_until(20 * scale(), sub {
    !grep { $_ >= 1 } values %{ status($hosts[0])->{queues}{delay} };
}), 'a delay is told for a while');


# The host where a poll waits reloads: its session is at another one, and who
# served the queue ends before the worker that has the poll.

subtest 'a reload where a poll waits' => sub {
    my $host = host();
    my $eio = SIO::EIO->open(port => $hosts[2]->port, timeout => 15);
    my $url = $eio->url('polling');

    my $post = sub {
        my ($body) = @_;

        return SIO::HTTP->new(port => $host->port, timeout => 15 * scale())
               ->post($url, $body)->{body};
    };

    ok(wait_until(15 * scale(), sub { $post->('40') eq 'ok' }),
       'another host, and a namespace');

    my ($server) = reverse $host->log
                           =~ /\ (\d+)\#\d+:\ this\ worker\ serves/gx;
    my ($other) = grep { $_ != $server } $host->workers;
    my $http = $host->connect_to($other, timeout => 60);

    like($http->get($url)->{body}, qr/^40/, 'is joined');

    my $poll = $http->start('GET', $url);

    # it is there by then: what one host says arrives in order
    is($post->('6'), 'ok', 'a POST');

    $host->reload;
    ok(wait_until(20 * scale(), sub { !kill 0, $server }),
       'who served has ended');
    ok(kill(0, $other), 'who has the poll has not');

    is($post->('427["echo",1]'), 'ok', 'an event');

    my $answer = $poll->wait;

    is($answer && $answer->{body}, '437[1]', 'its answer');

    $host->stop;
};


$_->stop for @hosts;
$redis->stop;

done_testing();
