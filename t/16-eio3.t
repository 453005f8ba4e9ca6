#!/usr/bin/perl

# Engine.IO 3: what clients of socket.io 1.x and 2.x say and hear, in every
# octet, and JSONP, of either revision; the numbers are those of the
# conformance checklist.  Four workers, and every request on a connection of
# its own.  Heartbeats are in t/14-heartbeat.t, clients in t/60-clients.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Answers qw(is_answer);
use SIO::Backend;
use SIO::EIO;
use SIO::WS;
use SIO::Ways;
use Test::More;


my $backend = SIO::Backend->new->start;

my $ways = SIO::Ways->new(http => <<"EOF", locations => <<'EOS');
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }

    # as in README.md
    map \$args \$jsonp {
        default                      0;
        "~(^|&)(j|%6[aA])(=|&|\$)"    1;
    }
EOF
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_namespaces / /custom /deny;
            socketio_allow_eio3 on;
        }

        location /plain/ {
            socketio;
            socketio_allow_eio3 on;
            socketio_refuse $jsonp;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;

my @octets = ('Content-Type' => 'application/octet-stream');
my @form = ('Content-Type' => 'application/x-www-form-urlencoded');

my $json = JSON::PP->new->allow_nonref;

# An event with an attachment, which is echoed, and its answer.
my $header = '451-5["bin",{"_placeholder":true,"num":0}]';
my $answer = '461-5[{"_placeholder":true,"num":0}]';


# The backend echoes, by acknowledgement.

sub backend_echoes {
    $backend->reset;
    $backend->on({ type => 'event' }, { json => {
        ack         => '%args%',
        attachments => '%attachments%',
    } });
}


# In "/", as everybody is.

sub session {
    my (%option) = @_;

    my $eio = $way->session(eio => 3, %option);

    is_answer($eio->get, 200, '2:40', 'C74 and is connected');

    return $eio;
}


sub posts {
    my ($eio, $body, $name, @headers) = @_;

    my $response = $eio->post_raw($body, @headers ? (headers => \@headers)
                                                  : ());

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_answer($response, 200, 'ok', "$name, a POST");
}


sub is_gone {
    my ($eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_answer($eio->get, 400, '{"code":1,"message":"Session ID unknown"}',
              "$name, the session is gone");
}


# A payload in binary form: packets of text, and references to octets.

sub binary {
    return join '', map {
        my $data = ref $_ ? "\4$$_" : $_;

        (ref $_ ? "\1" : "\0") . join('', map { chr } split //, length $data)
        . "\xff$data";
    } @_;
}


sub shown {
    my ($text) = @_;

    $text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;

    return length $text > 60 ? substr($text, 0, 60) . '...' : $text;
}


subtest 'a session begins' => sub {
    backend_echoes();

    my $http = $way->client;

    for my $eio ('EIO=3&', 'EIO=1&', 'EIO=5&', '') {
        my $r = $http->get("/socket.io/?${eio}transport=polling");
        my $name = 'C86 ' . ($eio || 'no EIO');

        my ($length, $packet) = $r->{body} =~ /^(\d+):(0\{.*\})\z/;

        is($r->{status}, 200, $name);
        is($length, length $packet // '', "C74 $name, the length");
        is($r->{headers}{'content-type'}, 'text/plain; charset=UTF-8',
           "C74 $name, its type");

        my ($sid) = $packet =~ /"sid":"([^"]+)"/;

        is_answer($http->get("/socket.io/?${eio}transport=polling&sid=$sid"),
                  200, '2:40', "C74 $name, connected");
    }

    my ($request) = $backend->requests(type => 'connect');

    is_deeply([ @{ $request->{json} }{qw(namespace auth)} ], [ '/', {} ],
              'C74 the backend is asked');

    # Refused at the root: the connection stays, and so do other namespaces.
    $backend->on({ type => 'connect', namespace => '/' },
                 { json => { error => { message => 'root no' } } },
                 times => 1);

    my $eio = $way->session(eio => 3);

    is_answer($eio->get, 200, '11:44"root no"', 'C85 refused at the root');
    posts($eio, '10:40/custom,', 'C85 another namespace');
    is_answer($eio->get, 200, '10:40/custom,', 'C85 is open');
};


subtest 'text' => sub {
    backend_echoes();

    my $eio = session();
    my $text = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";

    is($way->emit($eio->sid, 'none'), 0, 'the Engine.IO id is no room');

    my ($request) = $backend->requests(type => 'connect');

    is($way->emit($request->{json}{sid}, 'message-back', "\x{e9}\x{20ac}x"), 1,
       'emitted');
    is_answer($eio->get, 200, qq(24:42["message-back","\xc3\xa9\xe2\x82\xacx"]),
              'C75 characters are counted, not octets');

    posts($eio, qq(21:421["message","$text"]), 'C75 by the client');
    is_answer($eio->get, 200, qq(11:431["$text"]), 'C75 two for some of them');

    posts($eio, '10:421["a",1]10:422["b",2]', 'two packets');
    is(join(' ', map { $eio->next } 1 .. 2), '431[1] 432[2]', 'in order');

    posts($eio, qq(26:421["message","$text"]), 'C75 octets');
    is_answer($eio->get, 400, '{"code":1,"message":"Session ID unknown"}',
              'C75 are not what is counted');

    $eio = session();
    posts($eio, '0:10:421["a",1]0:', 'C80 nothing');
    is_answer($eio->get, 200, '6:431[1]', 'C80 is skipped');

    for my $payload ('', 'x', ':', '3:42', '2:', '-1:x', '1e0:2', '+1:2',
                     ' 1:2', '1:9', '99999999999999999999:2', "1\0:2")
    {
        $eio = session();
        posts($eio, $payload, 'C80 ' . shown($payload));
        is_gone($eio, 'C80');
    }

    for my $behind ('extra', '5', '2:4') {
        $eio = session();

        $backend->clear;
        posts($eio, '10:421["a",1]' . $behind, "C80 $behind behind a packet");
        is_gone($eio, "C80 $behind");
        is($backend->wait(1, 10, type => 'event'), 1, 'C80 which counts');
    }
};


subtest 'octets' => sub {
    backend_echoes();

    my $eio = session();

    posts($eio, binary($header, \"\1\2\3"), 'C78 a POST', @octets);

    my $r = $eio->get;

    is($r->{headers}{'content-type'}, 'application/octet-stream',
       'C76 the type, and nothing behind it');
    is_answer($r, 200, binary($answer, \"\1\2\3"), 'C76 octets come so');

    posts($eio, binary("421[\"a\",\"\xc3\xa9\"]"), 'C78 text so', @octets);
    is_answer($eio->get, 200, "8:431[\"\xc3\xa9\"]", 'C76 comes as text');

    # Beside octets it shares their form, and its length is that of UTF-8.
    my ($request) = $backend->requests(type => 'connect');

    $way->emit($request->{json}{sid}, 'a', "\x{e9}");
    $way->api('emit', {
        event       => 'b',
        to          => $request->{json}{sid},
        args        => [ { _placeholder => JSON::PP::true, num => 0 } ],
        attachments => [''],
    });

    $r = $eio->get;
    $r->{body} =~ s/"num":0,"_placeholder":true/"_placeholder":true,"num":0/;

    is_answer($r, 200,
              binary("42[\"a\",\"\xc3\xa9\"]",
                     '451-["b",{"_placeholder":true,"num":0}]', \''),
              'C76 text beside octets');

    posts($eio, '42:' . $header . '6:b4AQID', 'C78 octets in text');
    is_answer($eio->get, 200, binary($answer, \"\1\2\3"), 'C76 come as before');

    posts($eio, '10:421["a",1]', 'C78 another type',
          'Content-Type' => 'application/octet-stream; charset=x');
    is_answer($eio->get, 200, '6:431[1]', 'C78 is text');

    for my $payload ('', "\0", "\0\1", "\0\1\xff", "\0\2\xff2", "\2\1\xff2",
                     "\0\x0a\xff2", "\0" . "\x09" x 30 . "\xff2",
                     "\0\xff2", '1:2')
    {
        $eio = session();
        posts($eio, $payload, 'C78 ' . shown($payload), @octets);
        is_gone($eio, 'C78');
    }

    for my $query ('b64=1', 'b64=0') {
        $eio = session(query => $query);

        posts($eio, '42:' . $header . '6:b4AQID', "C77 $query");

        $r = $eio->get;
        is($r->{headers}{'content-type'}, 'text/plain; charset=UTF-8',
           "C77 $query, the type");
        is_answer($r, 200, '36:' . $answer . '6:b4AQID',
                  "C77 $query, octets as text");
    }
};


subtest 'WebSocket' => sub {
    backend_echoes();

    my $eio = SIO::EIO->open_ws(port => $nginx->port, eio => 3, timeout => 20);
    my $ws = $eio->{ws};

    is($ws->recv, '40', 'C74 connected');

    $ws->send_text('421["a","x"]');
    is($ws->recv, '431["x"]', 'an event');

    $ws->send_text($header);
    $ws->send_binary("\4\1\2\3");
    is($ws->recv, $answer, 'C79 octets');
    is($ws->recv, "\4\1\2\3", 'C79 begin with their type');
    ok($ws->binary, 'C79 as octets');

    $ws->send_text($header);
    $ws->send_text('b4AQID');
    is($ws->recv, $answer, 'C79 octets as text');
    is($ws->recv, "\4\1\2\3", 'C79 come back as octets');

    $ws->send_binary("\2");
    is($ws->recv, '3', 'C79 a ping of octets');

    $ws->send_binary("\x34");
    $ws->send_text('421["a","still"]');
    is($ws->recv, '431["still"]', 'C79 an unknown type is nothing');

    $eio = SIO::EIO->open_ws(port => $nginx->port, eio => 3, timeout => 20,
                             query => 'b64=1');
    $ws = $eio->{ws};

    is($ws->recv, '40', 'C74 connected, b64=1');
    $ws->send_text($header);
    $ws->send_binary("\4\1\2\3");
    is($ws->recv, $answer, 'C79 b64=1');
    is($ws->recv, 'b4AQID', 'C79 b64=1, octets as text');
    ok(!$ws->binary, 'C79 b64=1, which it is');
};


subtest 'an upgrade' => sub {
    backend_echoes();

    my $eio = session();
    my $pending = $way->waiting($eio);
    my $ws = $eio->websocket;

    $ws->send_text('2probe');
    is($ws->recv, '3probe', 'C83 the probe');
    is_answer($pending->wait, 200, '1:6', 'C83 the poll that waits');

    $ws->send_text('5');
    $ws->send_text('421["a",1]');
    is($ws->recv, '431[1]', 'C83 and on');

    is_answer($eio->get, 400, '{"code":3,"message":"Bad request"}',
              'C83 no polls any more');
};


subtest 'namespaces' => sub {
    backend_echoes();

    my $eio = session();
    my @cases = (
        '40/custom?token=abc,'        => { token => 'abc' },
        '40/custom?token=abc'         => { token => 'abc' },
        '40/custom,'                  => {},
        '40/custom'                   => {},
        '40/custom?a=1&b=%20%22+&a=2' => { a => '2', b => ' " ' },
    );

    while (my ($packet, $auth) = splice @cases, 0, 2) {
        $backend->clear;
        posts($eio, $eio->encode($packet), "C84 $packet");
        is_answer($eio->get, 200, '10:40/custom,', "C84 $packet");

        my ($request) = $backend->requests(type => 'connect');

        is_deeply($request->{json}{auth}, $auth, "C84 $packet, what it says");

        posts($eio, $eio->encode('42/custom,7["a",1]'), 'C84 an event');
        is_answer($eio->get, 200, '14:43/custom,7[1]', 'C84 its answer');
        posts($eio, $eio->encode('41/custom'), 'C84 and out again');
    }

    posts($eio, $eio->encode('40/nope'), 'an unknown namespace');
    is_answer($eio->get, 200, '27:44/nope,"Invalid namespace"', 'is none');

    my @refusals = (
        [ '{"message":"Not authorized"}'        => '44/deny,"Not authorized"' ],
        [ '{"message":"no","data":{"code":42}}' => '44/deny,{"code":42}' ],
    );

    for my $refusal (@refusals) {
        $backend->on({ type => 'connect', namespace => '/deny' },
                     { body => qq({"error":$refusal->[0]}) }, times => 1);
        posts($eio, $eio->encode('40/deny,'), 'C85 refused');
        is_answer($eio->get, 200, $eio->encode($refusal->[1]), 'C85 so');
    }

    # What a server of 2.x ignores.
    for my $packet ('40', '40/', '42/custom,["a"]', '43/custom,1[]',
                    '41/custom,', '44"x"')
    {
        posts($eio, $eio->encode($packet, '421["a",1]'), "$packet");
        is_answer($eio->get, 200, '6:431[1]', "$packet is ignored");
    }
};


subtest 'ends' => sub {
    backend_echoes();

    my $eio = session();
    my $pending = $way->waiting($eio);

    posts($eio, '1:1', 'C87 by the client');
    is_answer($pending->wait, 200, '1:6', 'C87 the poll that waits');
    is_gone($eio, 'C87');

    my $kick = sub {
        my ($request) = $backend->requests(type => 'connect');

        $backend->clear;

        return $way->api('disconnect', { in    => [ $request->{json}{sid} ],
                                         close => JSON::PP::true });
    };

    $backend->clear;
    $eio = session();
    $pending = $way->waiting($eio);

    is($kick->(), 1, 'C87 by the server');

    my @packets = $eio->decode($pending->wait->{body});

    push @packets, $eio->poll if @packets < 2;
    is("@packets", '41 1', 'C87 the poll that waits hears of it');
    is_gone($eio, 'C87');

    $eio = session();
    is($kick->(), 1, 'C87 by the server, and no poll waits');

    @packets = $eio->poll;
    push @packets, $eio->poll if @packets < 2;
    is("@packets", '41 1', 'C87 the next one hears of it');
    is_gone($eio, 'C87');
};


# What a script says to its callback.

sub script {
    my ($index, $payload) = @_;

    my $text = $json->encode($payload);

    return "___eio[$index]($text);";
}


subtest 'scripts' => sub {
    backend_echoes();

    my $separator = "\xe2\x80\xa8";

    for my $revision (3, 4) {
        my $http = $way->client;
        my $url = "/socket.io/?EIO=$revision&transport=polling";
        my $r = $http->get("$url&j=a5b6&b64=1");

        like($r->{body}, qr/^___eio\[56\]\("(?:\d+:)?0\{\\"sid\\":.*\}"\);\z/,
             "C81 a session, $revision");
        is($r->{headers}{'content-type'}, 'text/plain; charset=UTF-8',
           'C81 its type');
        is($r->{headers}{'x-content-type-options'}, undef,
           'C81 nothing forbids to run it');

        my ($sid) = $r->{body} =~ /sid\\":\\"([\w-]+)/;

        # The index is that of the handshake, whatever others say.
        my @urls = map { "$url&sid=$sid$_" } '', '&j=7', '&j=';
        my $eio = SIO::EIO->new(eio => $revision);
        my $asks = sub { return $http->get($urls[$_[0] % 3]) };

        my $says = sub {
            my ($n, $packets) = @_;
            my $form = join '', map { sprintf '%%%02x', ord }
                                    split //, $eio->encode(@$packets);

            is_answer($http->post($urls[$n % 3], "x=1&d=$form", @form), 200,
                      'ok', 'C82 a form');
        };

        $says->(0, ['40']) if $revision == 4;
        like($asks->(0)->{body},
             qr/^___eio\[56\]\("(?:2:40|40\{\\"sid.*)"\);\z/, 'C81 connected');

        for my $n (0 .. 2) {
            $says->($n, [ qq(421["a",$n]) ]);
            is_answer($asks->($n), 200,
                      script(56, $eio->encode("431[$n]")), "C81 a poll, $n");
        }

        # "\n" in JSON is doubled by the client, or it would be a line's end.
        $says->(1, [ '421["a","x\\\\ny"]' ]) if $revision == 4;
        is_answer($asks->(1), 200, script(56, '431["x\\ny"]'), 'C82 escapes')
            if $revision == 4;

        $says->(2, [ qq(421["a","$separator"]) ]);
        is($asks->(2)->{body},
           '___eio[56]("' . ($revision == 3 ? '8:' : '')
           . '431[\\"\\u2028\\"]");', 'C81 separators of lines');

        $says->(0, [ $header, $revision == 3 ? 'b4AQID' : 'bAQID' ]);
        is_answer($asks->(0), 200,
                  script(56, $eio->encode($answer, $revision == 3
                                          ? 'b4AQID' : 'bAQID')),
                  'C81 octets are text');

        is_answer($http->post($urls[0], 'x=1', @form), 200, 'ok',
                  'C82 a form without a payload');
        is_answer($http->post($urls[0], '', @form), 200, 'ok',
                  'C82 and one with nothing');

        $says->(1, [ '421["a","still"]' ]);
        is_answer($asks->(1), 200, script(56, $eio->encode('431["still"]')),
                  'C82 are ignored');

        # Errors are what they always are.
        is_answer($http->get("$url&sid=unknown&j=1"), 400,
                  '{"code":1,"message":"Session ID unknown"}', 'C81 an error');

        my $pending = $http->start('GET', $urls[0]);

        $way->settle;
        is_answer($http->post($urls[1], 'd=x', @form), 200, 'ok', 'C82 no payload');
        is_answer($pending->wait, 200, script(56, $eio->encode('1')),
                  'C81 the end');
    }

    # Who has begun without is not told by scripts later.
    my $eio = session();

    $eio->{query} = 'j=0';
    posts($eio, '10:421["a",1]', 'C81 no script, but j');
    is_answer($eio->get, 200, '6:431[1]', 'C81 no script');

    # A WebSocket has no need of text.
    $eio = SIO::EIO->open_ws(port => $nginx->port, query => 'j=0',
                             timeout => 20);
    $eio->{ws}->send_text('40');
    like($eio->{ws}->recv, qr/^40\{/, 'C81 a WebSocket');
    $eio->{ws}->send_text($header);
    $eio->{ws}->send_binary("\1\2\3");
    is($eio->{ws}->recv, $answer, 'C81 a WebSocket');
    is($eio->{ws}->recv, "\1\2\3", 'C81 has octets');
    ok($eio->{ws}->binary, 'C81 as such');
};


subtest 'no scripts' => sub {
    my $http = $way->client;

    for my $eio (3, 4) {
        my $url = "/plain/?EIO=$eio&transport=polling";

        is($http->get("$url&$_")->{status}, 403, "$eio $_")
            for qw(j=0 j=1 j= j %6a=0 %6A=0 j&t=1 t=1&j=2);
        is($http->get("$url&$_")->{status}, 200, "$eio $_")
            for qw(t=1 jj=1 b64=1 aj=0 J=0);
    }
};


$nginx->stop;
$backend->stop;

done_testing();
