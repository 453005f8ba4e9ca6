#!/usr/bin/perl

# Webhooks: what is in them to the byte, how they are signed, in which order
# they come, and what happens when the backend is slower than the clients.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(build_dir scale wait_until);
use SIO::Webhooks qw(client_of webhooks_of disconnect_of overlap signature
                     all_is_told);
use Socket qw(SOL_SOCKET SO_SNDBUF);
use Test::More;
use Time::HiRes qw(sleep time);

my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my $older = 'whsec_' . 'b2xkZXIgc2VjcmV0IG9mIHRoZSB0ZXN0';

my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 32; }

    map \$socketio_event \$by_event {
        default   /_hook/other;
        message   /_hook/messages;
        "a b/é"   /_hook/odd;
        ""        /_hook/none;
    }

    server {
        listen 127.0.0.1:%%PORT_inherit%%;
        socketio_webhook /_hook/inherited;
        socketio_webhook_events event;

        location /a/  { socketio; }
        location /b/  { socketio; socketio_webhook /_hook/own; }
        location /c/  { socketio; socketio_webhook off; }
        location /d/  { socketio; socketio_webhook_events connect event; }

        location /_hook/ {
            internal;
            proxy_pass http://app;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_slow%% rcvbuf=16k;
        socketio_webhook /_hook;
        socketio_webhook_timeout 60s;
        socketio_webhook_queue 4;
        socketio_ping_interval 500ms;
        socketio_ping_timeout 2s;

        location /socket.io/ { socketio; }
        location = /_hook    { internal; proxy_pass http://app; }
    }
EOS
    server => <<"EOS",
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        socketio_webhook /_hook;

        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat ~^/t-;
        }
        location /headers/ {
            socketio;
            socketio_webhook_pass_header X-One Cookie;
        }
        location /signed/ {
            socketio;
            socketio_webhook_secret $secret;
        }
        location /rotated/ {
            socketio;
            socketio_webhook_secret $secret $older;
        }
        location /file/ {
            socketio;
            socketio_webhook_secret file=%%PREFIX%%/secret;
        }
        location /narrow/ {
            socketio;
            socketio_webhook_concurrency 2;
        }
        location /connects/ {
            socketio;
            socketio_webhook_events connect;
        }
        location /events/ {
            socketio;
            socketio_webhook_events event;
        }
        location /acks/ {
            socketio;
            socketio_webhook_events connect ack;
        }
        location /ends/ {
            socketio;
            socketio_webhook_events disconnect;
        }
        location /mapped/ {
            socketio;
            socketio_webhook \$by_event;
        }
        location /typed/ {
            socketio;
            socketio_webhook /_hook/\$socketio_type?arg=\$arg_token&n=1;
        }

        location = /_hook { internal; proxy_pass http://app/hook; }

        location /_hook/ {
            internal;
            proxy_pass       http://app;
            proxy_set_header X-Sid       \$socketio_sid;
            proxy_set_header X-Namespace \$socketio_namespace;
            proxy_set_header X-Event     \$socketio_event;
            proxy_set_header X-Type      \$socketio_type;
            proxy_set_header X-Transport \$socketio_transport;
            proxy_set_header X-User      \$socketio_user;
            proxy_set_header X-Reason    \$socketio_reason;
            proxy_set_header X-Cookie    \$cookie_session;
        }
EOS
);

$nginx->write('secret', "$older\n");
$nginx->start;

my $port = $nginx->port;
my @workers = $nginx->workers;


# A WebSocket client at a path.

sub client {
    my ($path, %option) = @_;

    return SIO::Client->connect(port => $port, path => $path, %option);
}


sub raw {
    my ($client, @packets) = @_;

    $client->eio->send(@packets);
}


# The one webhook of this type that a socket has.

sub webhook {
    my ($sid, %match) = @_;

    my ($found) = $backend->wait(1, 5, sid => $sid, %match);

    return $found // { body => '(none)', headers => {}, json => {} };
}


# Forgets what was, when the clients before have left.

sub settle {
    my (%refused) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    all_is_told($backend, 'all is told, in order and once', %refused);

    $backend->reset;
}


subtest 'a connect' => sub {
    my $client = client('/socket.io/',
        query   => 'a=%22&b=" \\c' =~ s/ /+/r,
        auth    => { token => "\xc3\xa9" },
        headers => [
            'Cookie'          => 'session=1; b="2"',
            'User-Agent'      => 'test/1 (\\)',
            'Authorization'   => 'Bearer x',
            'Accept-Language' => "\xff\xc3\xa9",
            'X-Other'         => 'secret',
            'ORIGIN'          => "http://127.0.0.1:$port",
        ]);

    my $sid = $client->sid;
    my $r = webhook($sid);
    my $id = $r->{json}{id};

    is($r->{body}, '{"type":"connect","id":"' . $id . '","sid":"' . $sid
       . '","namespace":"/","seq":0,"auth":{"token":"' . "\xc3\x83\xc2\xa9"
       . '"},"request":{"path":"/socket.io/","query":"EIO=4&transport=websocket'
       . '&a=%22&b=\"+\\\\c","ip":"127.0.0.1","transport":"websocket",'
       . '"headers":{"cookie":"session=1; b=\"2\"","user-agent":"test/1 (\\\\)"'
       . ',"authorization":"Bearer x","accept-language":"' . "\xef\xbf\xbd"
       . "\xc3\xa9" . '","origin":"http://127.0.0.1:' . $port . '"}}}',
       'to the byte');

    is("$r->{method} $r->{path}", 'POST /hook', 'is a POST');
    is($r->{headers}{'content-type'}, 'application/json', 'of JSON');
    is($r->{headers}{'content-length'}, length $r->{body}, 'with its length');
    is($r->{headers}{'webhook-id'}, $id, 'its id is a header, too');
    like($r->{headers}{'webhook-timestamp'}, qr/^\d+\z/, 'the time');
    ok(abs($r->{headers}{'webhook-timestamp'} - time) < 60 * scale(), 'is now');
    ok(!exists $r->{headers}{'webhook-signature'}, 'without a secret unsigned');
    ok(!exists $r->{headers}{'x-other'}, 'other headers stay here');

    $client->disconnect;
    settle();
};


subtest 'where auth is nothing, or as it came' => sub {
    for my $case (
        [ '40'                               => '{}' ],
        [ '40/chat,'                         => '{}' ],
        [ '40/chat'                          => '{}' ],
        [ '40{}'                             => '{}' ],
        [ '40{"n":12345678901234567890.10,"b":1,"a":"\u00e9\/"}'
          => '{"n":12345678901234567890.10,"b":1,"a":"\u00e9\/"}' ],
        [ '40/t-1?x=1,{"a":{"b":[]}}'        => '{"a":{"b":[]}}' ],
    ) {
        my ($packet, $auth) = @$case;
        my $client = SIO::Client->new(port => $port);

        raw($client, $packet);
        $client->packet;

        my ($r) = $backend->wait(1, 5, type => 'connect');
        my ($got) = $r->{body} =~ /"auth":(.*),"request":/;

        is($got, $auth, "auth of $packet");

        $client->disconnect;
        settle();
    }
};


subtest 'by polling, and after an upgrade' => sub {
    my $client = SIO::Client->connect(port => $port, transport => 'polling',
                                      query => 't=abc&sid');
    my $r = webhook($client->sid);

    is($r->{json}{request}{query}, 'EIO=4&transport=polling&t=abc',
       'the query has no sid');
    is($r->{json}{request}{transport}, 'polling', 'the transport');
    is_deeply($r->{json}{request}{headers}, {}, 'no headers');

    $client->eio->{query} = 't=def';
    $client->eio->upgrade;
    $client->join('/chat');

    $r = webhook($client->sid('/chat'));

    unlike($r->{json}{request}{query}, qr/sid/, 'nor has it later');
    is($r->{json}{request}{transport}, 'websocket', 'a transport of today');
    is($r->{json}{namespace}, '/chat', 'the namespace');
    unlike($r->{body}, qr/\Q@{[ $client->eio->sid ]}/,
           'what only the client may know stays here');

    $client->disconnect;
    settle();
};


subtest 'headers that are passed' => sub {
    my $client = client('/headers/', headers => [
        'x-one'      => 'a',
        'Cookie'     => 'a=1',
        'User-Agent' => 'none of yours',
        'X-ONE'      => 'b',
        'cookie'     => 'b=2',
    ]);

    like(webhook($client->sid)->{body},
         qr/"headers":\{"x-one":"a, b","cookie":"a=1; b=2"\}/,
         'those that were asked for, repeated ones as one');

    $client->disconnect;
    settle();
};


subtest 'events, to the byte' => sub {
    my $client = client('/socket.io/');
    my $sid = $client->sid;
    my $seq = 0;

    for my $case (
        [ '["e"]'                         => 'e', '' ],
        [ '["e",1]'                       => 'e', '1' ],
        [ '["e",12345678901234567890,1.50,-0,1E400]'
          => 'e', '12345678901234567890,1.50,-0,1E400' ],
        [ '["e",{"b":1,"a":2,"b":3}]'     => 'e', '{"b":1,"a":2,"b":3}' ],
        [ '["e","\u00e9\/\ud83d\ude00\u0000"]'
          => 'e', '"\u00e9\/\ud83d\ude00\u0000"' ],
        [ "[\"\xc3\xa9\",\"\xf0\x9f\x98\x80\"]"
          => "\xc3\xa9", "\"\xf0\x9f\x98\x80\"" ],
        [ '["e", [ 1 , {"a" : null} ] ,true]'
          => 'e', '[ 1 , {"a" : null} ] ,true' ],
        [ '["\u0065\"",0]'                => '\u0065\"', '0' ],
        [ '[7,"x"]'                       => '7', '"x"' ],
        [ '["",null]'                     => '', 'null' ],
        [ '["e",{"_placeholder":true,"num":0}]'
          => 'e', '{"_placeholder":true,"num":0}' ],
    ) {
        my ($packet, $event, $args) = @$case;

        raw($client, "42$packet");

        my ($r) = $backend->wait(1, 5, sid => $sid, seq => ++$seq);
        my $got = $r ? $r->{body} =~ s/"id":"[^"]*"/"id":""/r : '(none)';

        is($got, '{"type":"event","id":"","sid":"' . $sid
           . '","namespace":"/","seq":' . $seq . ',"event":"' . $event
           . '","args":[' . $args . ']}', $packet);
    }

    $client->disconnect;
    settle();
};


subtest 'attachments' => sub {
    for my $transport (qw(websocket polling)) {
        my $client = SIO::Client->connect(port => $port, nsp => '/chat',
                                          transport => $transport);
        my $sid = $client->sid('/chat');

        $client->emit_to('/chat', 5, 'up', 'a.png', \"\x89PNG\n\x1a\n",
                         { b => \"\0" });

        my $r = webhook($sid, type => 'event');

        is($r->{body} =~ s/"id":"[^"]*"/"id":""/r,
           '{"type":"event","id":"","sid":"' . $sid . '","namespace":"/chat",'
           . '"seq":1,"event":"up","args":["a.png",{"_placeholder":true,"num":0'
           . '},{"b":{"_placeholder":true,"num":1}}],"attachments":'
           . '["iVBORwoaCg==","AA=="],"ack":"' . $r->{json}{ack} . '"}',
           $transport);

        $client->disconnect;
        settle();
    }
};


# client_max_body_size, 1m unless set, is for what clients send: in base64 that
# is more.

subtest 'an attachment as large as a client may send' => sub {
    my $client = client('/socket.io/');
    my $octets = pack('C*', 0 .. 255) x 3906;

    $client->emit('up', \$octets);

    my $r = webhook($client->sid, type => 'event', event => 'up');

    cmp_ok(length $r->{body}, '>', 1024 * 1024, 'is more for the backend');
    ok(($r->{json}{attachments}[0] // '') eq encode_base64($octets, ''),
       'which gets it');

    $client->disconnect;
    settle();
};


# nginx has waits of its own, such as the 5 seconds of lingering_timeout

subtest 'a backend that takes its time' => sub {
    $backend->on({ type => 'event', event => 'slow' },
                 { delay => 6, json => { emit => [{ event => 'done' }] } });

    my $client = client('/socket.io/');

    $client->emit('slow');

    ok($backend->wait_done(2, 20, sid => $client->sid), 'it answers');
    is_deeply($client->event('done'), ['done'], 'and was waited for');

    $client->disconnect;
    settle();
};


subtest 'acknowledgements, user and state' => sub {
    $backend->on({ type => 'connect' }, { json => {
        user  => "u\"\x{e9}",
        state => { lang => 'fr', n => 1 },
        emit  => [ { event => 'ask', args => [], ack => 'to/ken "1"' } ],
    } });

    my $client = client('/socket.io/', nsp => '/chat');
    my $sid = $client->sid('/chat');
    my $carried = "\"user\":\"u\\\"\xc3\xa9\","
                  . '"state":{"lang": "fr", "n": 1}}';

    my $ask = $client->wait_for(sub { $_[0]{data}[0] eq 'ask' });

    $client->ack($ask, 'pong', 2);

    my $r = webhook($sid, type => 'ack');

    like($r->{body}, qr/^\{"type":"ack",.*"seq":1,"token":"to\/ken \\"1\\"",/,
         'ack: type, seq, token');
    like($r->{body}, qr/"args":\["pong",2\],\Q$carried\E\z/,
         'args, user, state');

    $client->ack($ask, 'again');
    $client->emit_to('/chat', 17, 'q');

    $r = webhook($sid, type => 'event');

    is($r->{json}{seq}, 2, 'what is answered twice counts once');
    is($r->{json}{ack}, "$sid.17", 'a token for the answer');
    like($r->{body}, qr/\Q$carried\E\z/, 'user and state of an event');

    $client->emit_to('/chat', undef, 'r');
    ok(!exists webhook($sid, event => 'r')->{json}{ack}, 'none without a wish');

    $backend->on({ event => 'x' }, { json => { state => undef, user => undef }
                                   });
    $client->emit_to('/chat', undef, 'x');
    webhook($sid, event => 'x');
    $client->leave('/chat');

    like(disconnect_of($backend, $sid) ? webhook($sid, type => 'disconnect')
         ->{body} : '', qr/"reason":"client namespace disconnect"\}\z/,
         'what was cleared is not there');

    $client->disconnect;
    settle();
};


subtest 'signatures' => sub {
    my ($id, $timestamp) = ('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330);

    is(signature($secret, $id, $timestamp, '{"test": 2432232314}'),
       'g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
       'the published vector, so that this test knows what it says');

    my %secrets = (
        '/signed/'  => [$secret],
        '/rotated/' => [ $secret, $older ],
        '/file/'    => [$older],
    );

    for my $path (sort keys %secrets) {
        my $client = client($path, auth => { a => "\xe9" });

        $client->emit('e', 'é', 1);

        for my $r (webhook($client->sid, type => 'connect'),
                   webhook($client->sid, type => 'event'))
        {
            my @signed = map {
                'v1,' . signature($_, $r->{headers}{'webhook-id'},
                                  $r->{headers}{'webhook-timestamp'},
                                  $r->{body})
            } @{ $secrets{$path} };

            is($r->{headers}{'webhook-signature'}, "@signed",
               "$path $r->{json}{type}");

            for my $one (@{ $secrets{$path} }) {
                is(verify($one, $r), "fine\n", 'says the public library');
            }

            is(verify('whsec_' . 'b3RoZXIgc2VjcmV0IG9mIHRoZSB0ZXN0', $r),
               "wrong\n", 'which believes in no other secret');
        }

        $client->disconnect;
        settle();
    }
};


sub verify {
    my ($secret, $r) = @_;

    my $check = <<'EOF';
import sys, json
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

headers = json.loads(sys.argv[2])

try:
    Webhook(sys.argv[1]).verify(sys.stdin.buffer.read().decode(), headers)
    print("fine")
except WebhookVerificationError:
    print("wrong")
EOF

    my $result = SIO::Proc->run(
        [ build_dir() . '/venv/bin/python', '-c', $check, $secret,
          JSON::PP->new->encode($r->{headers}) ],
        stdin => $r->{body});

    return $result->{out} . $result->{err};
}


subtest 'one after the other for a socket, and sockets side by side' => sub {
    my $pause = 0.15;

    $backend->on({ type => 'event' }, { json => { ack => ['%seq%'] },
                                        delay => $pause });

    my @clients = map { client_of($nginx, $workers[$_ % 2]) } 0 .. 5;

    $clients[0]->join('/chat');

    for my $i (1 .. 4) {
        $_->emit_to('/', $i, 'e', $i) for @clients;
        $clients[0]->emit_to('/chat', $i, 'e', $i);
    }

    for my $sid (map({ $_->sid } @clients), $clients[0]->sid('/chat')) {
        $backend->wait_done(4, 15, sid => $sid, type => 'event');

        my @events = webhooks_of($backend, $sid, type => 'event');

        is(join(' ', map { $_->{json}{args}[0] } @events), '1 2 3 4',
           'in the order of the client');
        is(overlap($pause - 0.01, @events), 1, 'one at a time');
    }

    cmp_ok(overlap($pause - 0.01, $backend->requests(type => 'event')), '>=',
           4, 'others meanwhile');

    for my $client (@clients) {
        my @acks = map { $client->wait_for(sub {
                             $_[0]{type} == 3 && $_[0]{nsp} eq '/' }) } 1 .. 4;

        is(join(' ', map { "$_->{id}=$_->{data}[0]" } @acks),
           '1=1 2=2 3=3 4=4', 'and answers in that order');
    }

    $_->disconnect for @clients;
    settle();
};


subtest 'no more at a time than allowed' => sub {
    my $pause = 0.2;
    my @clients = map { client_of($nginx, $workers[0], path => '/narrow/') }
                  1 .. 6;
    my $other = client_of($nginx, $workers[0]);

    $backend->on({ event => 'e' }, { delay => $pause });

    for my $client (@clients) {
        $client->emit('e', $_) for 1 .. 2;
    }

    $other->emit('fast');

    $backend->wait_done(12, 20, event => 'e');

    my @events = $backend->requests(event => 'e');

    is(@events, 12, 'all came');
    is(overlap($pause - 0.01, @events), 2, 'two at a time');

    my ($fast) = $backend->requests(event => 'fast');

    cmp_ok($fast->{time}, '<', $events[-1]{time},
           'a location that is busy does not hold up another');

    # nobody is served twice before all the others were once
    is(scalar(keys %{ { map { $_->{json}{sid} => 1 } @events[0 .. 5] } }), 6,
       'each in its turn');

    $_->disconnect for @clients, $other;
    settle();
};


# A backend that is stopped takes connections, but does not answer.

sub hold {
    my ($held) = @_;

    ($held // $backend)->{process}->signal('STOP');
}


sub release {
    my ($held) = @_;

    ($held // $backend)->{process}->signal('CONT');
}


# Locations share what a worker may have under way.

subtest 'a backend that hangs, and those of others' => sub {
    my $hung = SIO::Backend->new->start;
    my $nginx = SIO::Nginx->new(http => <<"EOS", server => <<'EOS')->start;
    upstream app  { server @{[ $backend->address ]}; }
    upstream hung { server @{[ $hung->address ]}; }
EOS
        socketio_webhook /_hook;
        socketio_webhook_concurrency 8;
        socketio_webhook_timeout 60s;

        location /a/ { socketio; socketio_webhook /_hung; }
        location /b/ { socketio; }
        location /c/ { socketio; socketio_webhook_concurrency 2; }

        location = /_hook { internal; proxy_pass http://app; }
        location = /_hung { internal; proxy_pass http://hung; }
EOS
    my %clients;

    for my $path (qw(a b c)) {
        $clients{$path} = [ map {
            SIO::Client->connect(port => $nginx->port, path => "/$path/")
        } 1 .. 16 ];
    }

    $backend->on({ event => 'brief' }, { json => { ack => [1] } });
    $backend->on({ event => $_ }, { hang => 1 }) for qw(b c);

    # It gets 6, since one is set aside for each of the two others.
    hold($hung);
    $_->emit('a') for @{ $clients{a} };

    is_deeply($clients{b}[$_]->call('brief'), [1], 'others are served')
        for 0 .. 3;

    for my $path (qw(b c)) {
        $_->emit($path) for @{ $clients{$path} };
        ok($backend->wait(1, 10, event => $path) > 0, 'all of them');
    }

    is($backend->requests(event => $_), 1, 'with what was set aside')
        for qw(b c);

    release($hung);

    ok($hung->wait_done(16, 10, event => 'a'), 'when it goes on it is served');

    # All but what is set aside for the first, of which the last has its limit.
    ok($backend->wait(5, 10, event => 'b') > 0, 'what it leaves is for others');
    $backend->wait(2, 10, event => 'c');
    is($backend->requests(event => 'b') . ' ' . $backend->requests(event => 'c'),
       '5 2', 'as far as they may');

    $nginx->stop;
    $hung->stop;
    $backend->reset;
};


subtest 'locations in turn' => sub {
    my $nginx = SIO::Nginx->new(http => <<"EOS", server => <<'EOS')->start;
    upstream app { server @{[ $backend->address ]}; }
EOS
        socketio_webhook /_hook;
        socketio_webhook_concurrency 8;
        socketio_webhook_timeout 60s;

        location /a/ { socketio; }
        location /b/ { socketio; }

        location = /_hook { internal; proxy_pass http://app; }
EOS
    my %clients;

    for my $path (qw(a b)) {
        $clients{$path} = [ map {
            SIO::Client->connect(port => $nginx->port, path => "/$path/")
        } 1 .. 16 ];
    }

    $backend->on({ event => 'a' }, { delay => 0.3 });
    $backend->on({ event => 'b' }, { hang => 1 });

    # one has 7 and many more to come, the other has 1 and many to come
    for my $client (@{ $clients{a} }) {
        $client->emit('a') for 1 .. 4;
    }

    $backend->wait(7, 10, event => 'a');
    $_->emit('b') for @{ $clients{b} };
    $backend->wait_done(64, 30, event => 'a');

    my @events = grep { /^[ab]\z/ } map { $_->{json}{event} // '' }
                 $backend->requests(type => 'event');
    my @a = grep { $events[$_] eq 'a' } 0 .. $#events;

    # while many of the one wait; at its end there is more for the other
    cmp_ok(scalar(grep { $_ eq 'b' } @events[0 .. $a[39]]), '<=', 4,
           'who has the least comes first');
    cmp_ok(scalar(grep { $_ eq 'b' } @events[0 .. $a[-1]]), '>=', 4,
           'until both have the same');

    $nginx->stop;
    $backend->reset;
};


subtest 'a client that is faster than the backend is not read' => sub {
    my $client = SIO::Client->connect(port => $nginx->port('slow'));
    my $sid = $client->sid;
    my $socket = $client->eio->{ws}{c}{socket};

    $backend->wait_done(1, 5, sid => $sid);
    hold();

    setsockopt $socket, SOL_SOCKET, SO_SNDBUF, 16384;

    # until the kernel takes no more, for long enough to have missed pongs

    my $started = time;
    my ($sent, $pending, $blocked) = (0, '', 0);

    while (time - $started < 30 * scale()) {
        if ($pending eq '') {
            $pending = $client->eio->{ws}->frame(1,
                '42["e",' . ++$sent . ',"' . 'x' x 4000 . '"]');
        }

        my $n = syswrite $socket, $pending;

        if ($n) {
            substr $pending, 0, $n, '';
            $blocked = 0;
            next;
        }

        $blocked ||= time;
        last if time - $blocked > 3.5;
        sleep 0.02;
    }

    ok($blocked && time - $blocked > 3.5, "after $sent events nothing goes");
    cmp_ok($sent, '<', 1000, 'which are few');

    release();

    # The rest of the event that did not fit.
    $client->eio->{ws}->send_raw($pending);
    $client->emit('last');

    ok(pong_until($client, sub {
        scalar $backend->requests(sid => $sid, event => 'last');
    }), 'then it goes on');

    my @events = $backend->requests(sid => $sid, event => 'e');

    is(join(' ', map { $_->{json}{args}[0] } @events), join(' ', 1 .. $sent),
       'nothing is lost, nothing out of order');
    is($backend->requests(sid => $sid, type => 'disconnect'), 0,
       'silence that was forced on it is not held against it');

    $client->disconnect;
    settle();
};


# Reads and answers pings until something has come true.

sub pong_until {
    my ($client, $condition) = @_;

    return wait_until(20, sub {
        $client->read_packet(0.05 / scale());
        return $condition->();
    });
}


subtest 'a payload that is more than the backend can take' => sub {
    my $client = SIO::Client->connect(port => $nginx->port('slow'),
                                      transport => 'polling');
    my $sid = $client->sid;
    my $eio = $client->eio;

    $backend->wait_done(1, 5, sid => $sid);
    hold();

    my @packets = map { "42[\"e\",$_]" } 1 .. 20;
    my $post = $eio->{http}->start('POST', $eio->url('polling'),
        headers => [ 'Content-Type' => 'text/plain;charset=UTF-8' ],
        body    => $eio->encode(@packets));

    ok(!defined $post->wait(3 / scale()), 'its answer waits');

    release();

    is(($post->wait(10) // { body => '(none)' })->{body}, 'ok',
       'until there is room');

    $backend->wait(20, 10, sid => $sid, event => 'e');

    is(join(' ', map { $_->{json}{args}[0] }
            $backend->requests(sid => $sid, event => 'e')),
       join(' ', 1 .. 20), 'nothing is lost, nothing out of order');

    ok(eval { $eio->send('42["f"]'); 1 }, 'the session goes on');
    ok($backend->wait(1, 5, sid => $sid, event => 'f') > 0, 'with events');

    $client->disconnect;
    settle();
};


subtest 'an end that comes while events wait' => sub {
    my $client = SIO::Client->connect(port => $nginx->port('slow'));
    my $sid = $client->sid;

    $backend->wait_done(1, 5, sid => $sid);
    hold();

    $client->emit('e', $_) for 1 .. 10;
    $client->eio->{ws}->drop;

    sleep 0.3;
    release();

    disconnect_of($backend, $sid, 10);

    is(join(' ', map { $_->{json}{args}[0] // $_->{json}{reason} // '' }
            webhooks_of($backend, $sid)),
       ' ' . join(' ', 1 .. 10, 'transport close'), 'comes behind them');

    settle();
};


subtest 'only those that are wanted' => sub {
    my %expected = (
        '/connects/' => 'connect',
        '/events/'   => 'event',
        '/acks/'     => 'connect ack',
        '/ends/'     => 'disconnect',
    );

    $backend->on({ type => 'connect' }, { json => {
        emit => [ { event => 'ask', args => [], ack => 't' } ],
    } });

    for my $path (sort keys %expected) {
        my $client = client($path);
        my $sid = $client->sid;

        if ($expected{$path} =~ /^connect/) {
            $client->ack($client->wait_for(sub { $_[0]{type} == 2 }));
        }

        $client->emit('e');
        $client->leave;

        my @types = split / /, $expected{$path};

        $backend->wait(scalar @types, 5, sid => $sid);
        sleep 0.3;

        my @found = webhooks_of($backend, $sid);

        is(join(' ', map { $_->{json}{type} } @found), $expected{$path}, $path);
        is(join(' ', map { $_->{json}{seq} } @found), join(' ', 0 .. $#types),
           'counted from 0');

        $client->disconnect;
    }

    $backend->reset;
};


subtest 'variables in the URI' => sub {
    my $client = client('/mapped/', headers => [ Cookie => 'session=s-1' ]);
    my $sid = $client->sid;

    $backend->on({ type => 'event' }, { json => { user => 'u 1' } });

    raw($client, "42[\"$_\"]") for 'message', 'x', "a b/\xc3\xa9";
    $backend->wait(4, 5, sid => $sid);
    $client->leave;
    disconnect_of($backend, $sid);

    my @found = webhooks_of($backend, $sid);

    is(join(' ', map { $_->{path} } @found),
       '/_hook/none /_hook/messages /_hook/other /_hook/odd /_hook/none',
       'a map of events');

    my @headers = map {
        my $h = $_->{headers};
        join '|', map { $h->{"x-$_"} // '' }
                  qw(namespace event type transport user reason cookie);
    } @found;

    is($headers[0], '/||connect|websocket|||s-1', 'headers of a connect');
    is($headers[1], '/|message|event|websocket|||s-1', 'of an event');
    is($headers[2], '/|x|event|websocket|u 1||s-1', 'with a user');
    is($headers[4], '/||disconnect|websocket|u 1|client namespace disconnect'
       . '|s-1', 'of a disconnect');
    is($found[1]{headers}{'x-sid'}, $sid, 'the sid');

    $client->disconnect;

    $client = client('/typed/', query => 'token=a%20b');
    $sid = $client->sid;

    my $r = webhook($sid);

    is("$r->{path}?$r->{query}", '/_hook/connect?arg=a%20b&n=1',
       'and in its arguments');

    $client->disconnect;
    settle();
};


subtest 'inheritance' => sub {
    my %expected = (
        '/a/' => 'event /_hook/inherited',
        '/b/' => 'event /_hook/own',
        '/c/' => '',
        '/d/' => 'connect /_hook/inherited event /_hook/inherited',
    );

    for my $path (sort keys %expected) {
        my $client = SIO::Client->connect(port => $nginx->port('inherit'),
                                          path => $path);

        $client->emit('e');
        $backend->wait(1, 5, sid => $client->sid, type => 'event')
            if $expected{$path};
        sleep 0.2;

        is(join(' ', map { "$_->{json}{type} $_->{path}" }
                webhooks_of($backend, $client->sid)),
           $expected{$path}, $path);

        $client->disconnect;
    }

    $backend->reset;
};


$nginx->stop;
$backend->stop;

done_testing();
