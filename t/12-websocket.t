#!/usr/bin/perl

# WebSocket: sessions that begin on one, frames and messages, and how they end;
# the numbers are those of the conformance checklist.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Answers qw(is_answer);
use SIO::Backend;
use SIO::EIO;
use SIO::HTTP;
use SIO::WS;
use SIO::Ways;
use Test::More;
use Time::HiRes qw(sleep);


my $backend = SIO::Backend->new->start;

# An echo, by acknowledgement.
$backend->on({ type => 'event' }, { json => {
    ack         => '%args%',
    attachments => '%attachments%',
} });

my $ways = SIO::Ways->new(tunnel => 1, http => <<"EOF", locations => <<'EOS');
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }
EOF
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_namespaces / /custom;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            subrequest_output_buffer_size 2m;
        }

        location /small/ {
            socketio;
            socketio_webhook /_hook;
            socketio_max_payload 1000;
        }

        location /impatient/ {
            socketio;
            socketio_connect_timeout 500ms;
        }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;

my $path = '/socket.io/?EIO=4&transport=websocket';

my $open = qr/^0\{"sid":"[\w-]{20,}","upgrades":\[\],"pingInterval":25000,
              "pingTimeout":20000,"maxPayload":1000000\}\z/x;

# An event with an attachment, which is echoed.
my $header = '451-5["bin",{"_placeholder":true,"num":0}]';


sub port {
    my ($way) = @_;

    return $way->{nginx}->port($way->{version} ? 'tunnel' : 'PORT');
}


sub session {
    my ($way, %option) = @_;

    return SIO::EIO->open_ws(port => port($way), timeout => 20, %option);
}


# In "/"; the Socket.IO id is left in {socket}.

sub joined {
    my ($way, %option) = @_;

    my $eio = session($way, %option);

    $eio->{ws}->send_text('40');

    ($eio->{socket}) = $eio->next =~ /^40\{"sid":"([^"]+)"\}\z/
        or die 'not connected';

    return $eio;
}


sub is_refused {
    my ($response, $text, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(
        [ $response->{status}, $response->{headers}{connection},
          $response->{headers}{'content-type'}, $response->{body} ],
        [ 400, 'close', 'text/html', $text ], $name);
}


sub is_unknown {
    my ($way, $eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_answer(SIO::HTTP->new(port => port($way))->get($eio->url('polling')),
              400, '{"code":1,"message":"Session ID unknown"}',
              "$name, the session is gone");
}


# An end as we make it: this close frame, nothing before it, and no session
# left.  An undefined code is a close frame without one.

sub is_ended {
    my ($way, $eio, $code, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply($eio->{ws}->recv_frame, {
        fin     => 1,
        rsv     => 0,
        opcode  => SIO::WS::CLOSE,
        payload => defined $code ? pack('n', $code) : '',
    }, "$name, closed with " . ($code // 'no code'));

    is_unknown($way, $eio, $name);
}


# Of sockets whose backend is told so.

sub is_reason {
    my ($eio, $reason, $name) = @_;

    my ($request) = $backend->wait(1, 10, type => 'disconnect',
                                   sid => $eio->{socket});

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($request && $request->{json}{reason}, $reason, "$name, $reason");
}


sub lives {
    my ($eio, $name) = @_;

    $eio->{ws}->send_text('427["alive"]');

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($eio->next, '437[]', "$name, the session lives");
}


# Octets that end a connection like this.

sub ends {
    my ($octets, $code, $reason, $name) = @_;

    my $eio = joined($way);

    $eio->{ws}->send_raw($octets);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_ended($way, $eio, $code, $name);
    is_reason($eio, $reason, $name);

    # When its close frame could not be told apart we do not wait for it.
    $eio->{ws}->send_frame(SIO::WS::CLOSE, '') if !defined $code;
    ok($eio->{ws}->wait_eof, "$name, hung up");
}


sub events_of {
    my ($eio) = @_;

    return map { $_->{json}{event} } $backend->requests(
        type => 'event', sid => $eio->{socket});
}


sub kick {
    my ($way, $eio) = @_;

    return $way->api('disconnect', { in    => [ $eio->{socket} ],
                                     close => JSON::PP::true });
}


sub frame {
    return SIO::WS->frame(@_);
}


sub text {
    return frame(SIO::WS::TEXT, @_);
}


sub more {
    return frame(SIO::WS::CONTINUATION, @_);
}


sub dribble {
    my ($ws, $octets) = @_;

    for my $octet (split //, $octets) {
        $ws->send_raw($octet);
        sleep 0.002;
    }
}


subtest 'handshake' => sub {
    my ($ws, $r) = SIO::WS->handshake(
        port => $nginx->port,
        path => $path,
        key  => 'dGhlIHNhbXBsZSBub25jZQ==',
    );

    is("$r->{status} $r->{reason}", '101 Switching Protocols', 'C43');

    delete @{ $r->{headers} }{qw(server date)};

    is_deeply($r->{headers}, {
        'upgrade'                          => 'websocket',
        'connection'                       => 'upgrade',
        'sec-websocket-accept'             => 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
        'vary'                             => 'Origin',
        'access-control-allow-credentials' => 'true',
    }, 'C43 headers of the answer');

    my $f = $ws->recv_frame;
    like($f->{payload}, $open, 'C43 the open packet');
    is_deeply([ @$f{qw(fin rsv opcode)} ], [ 1, 0, SIO::WS::TEXT ],
              'C43 in one text frame');
    is($ws->recv(0.2), undef, 'C43 and nothing else');

    $ws->send_text('40');
    like($ws->recv, qr/^40\{"sid":"[\w-]{20}"\}\z/, 'C43 goes on');

    ($ws, $r) = SIO::WS->handshake(
        port => $nginx->port, path => $path, headers => [
            'Sec-WebSocket-Extensions' =>
            'permessage-deflate; client_max_window_bits' ]);
    is($r->{status}, 101, 'C56 an offer to compress');
    is($r->{headers}{'sec-websocket-extensions'}, undef, 'C56 is ignored');

    ($ws, $r) = SIO::WS->handshake(
        port => $nginx->port, path => $path, headers => [
            'Sec-WebSocket-Protocol' => 'chat.v1, other' ]);
    is($r->{headers}{'sec-websocket-protocol'}, 'chat.v1',
       'the first subprotocol is echoed');

    my @fine = (
        'in other letters'    => [ 'Upgrade' => 'WebSocket' ],
        'keep-alive, Upgrade' => [ 'Connection' => 'keep-alive, Upgrade' ],
        'version 8'           => [ 'Sec-WebSocket-Version' => 8 ],
        'any Host'            => [ 'Host' => 'example.com' ],
    );

    while (my ($name, $headers) = splice @fine, 0, 2) {
        ($ws, $r) = SIO::WS->handshake(port => $nginx->port, path => $path,
                                       headers => $headers);
        is($r->{status}, 101, $name);
    }

    # Frames right behind the request, and octet by octet.
    $ws = SIO::WS->connect(
        port => $nginx->port, path => $path,
        early => text('40') . text('420["early"]'));
    like($ws->recv, $open, 'C43 before what came with the request');
    like($ws->recv, qr/^40\{/, 'C43 which is answered');
    is($ws->recv, '430[]', 'C43 in order');

    my $eio = session($way);
    dribble($eio->{ws}, text('40') . text('420["slow"]'));
    like($eio->next, qr/^40\{/, 'frames octet by octet');
    is($eio->next, '430[]', 'in order');
};


subtest 'handshakes that are refused' => sub {
    my ($key, $version) = map { "Missing or invalid Sec-WebSocket-$_ header" }
                              qw(Key Version);

    my @bad = (
        $key     => 'a short key' => [ 'Sec-WebSocket-Key' => 'x' ],
        $key     => 'no key'      => [ 'Sec-WebSocket-Key' => undef ],
        $version => 'version 12'  => [ 'Sec-WebSocket-Version' => 12 ],
        $version => 'version 138' => [ 'Sec-WebSocket-Version' => 138 ],
        $version => 'no version'  => [ 'Sec-WebSocket-Version' => undef ],
    );

    while (my ($text, $name, $headers) = splice @bad, 0, 3) {
        my $polling = $way->session;

        for my $path ($path, $polling->url('websocket')) {
            my ($ws, $r) = SIO::WS->handshake(
                port => $nginx->port, path => $path, headers => $headers);

            is_refused($r, $text, $name);
            is($r->{headers}{'sec-websocket-version'},
               $text eq $version ? '13, 8' : undef, "$name, what we speak");
        }

        ok($way->alive($polling), "$name, a session that polls goes on");
    }

    my %refused = (
        'EIO=4&transport=websocket&sid=unknown'     => 'Session ID unknown',
        'EIO=4&transport=websocket&sid=' . 'A' x 32 => 'Session ID unknown',
        'EIO=4&transport=foo'                       => 'Transport unknown',
        'EIO=4'                                     => 'Transport unknown',
        'EIO=3&transport=websocket'          => 'Unsupported protocol version',
        'transport=websocket'                => 'Unsupported protocol version',
    );

    for my $query (sort keys %refused) {
        my ($ws, $r) = SIO::WS->handshake(port => $nginx->port,
                                          path => "/socket.io/?$query");
        is_refused($r, $refused{$query}, "C47 $query");
    }
};


subtest 'messages' => sub {
    my $eio = joined($way);
    my $ws = $eio->{ws};

    $ws->send_text("6\x1e42[\"no\"]\x1e1");
    lives($eio, 'C44 a separator is data');
    is_deeply([ events_of($eio) ], ['alive'], 'C44 whatever follows it');
    ends(text("42[\"a\"]\x1e42[\"b\"]"), undef, 'forced close',
         'C44 no JSON behind it');

    $ws->send_raw(join '', map { text(qq(42$_\["e",$_])) } 0 .. 299);
    is(join('|', map { $eio->next } 0 .. 299),
       join('|', map { "43$_\[$_]" } 0 .. 299), 'many in one segment');

    my $long = "\xc3\xa9" x 40000;
    $ws->send_text(qq(421["long","$long"]));
    is($eio->next, qq(431["$long"]), 'longer than 64 kB');

    for my $size (0, 16, 64) {
        $ws->send_frame(SIO::WS::TEXT, '422["e",1]', size => $size);
        is($eio->next, '432[1]', 'a length of ' . ($size || 7) . ' bits');
    }

    $ws->send_frame(SIO::WS::TEXT, '423["e"]', key => "\0\0\0\0");
    is($eio->next, '433[]', 'a mask of zeros');
};


subtest 'binary' => sub {
    my $emit = sub {
        my ($eio) = @_;

        return $way->api('emit', {
            to          => $eio->{socket},
            event       => 'bin',
            args        => [ { _placeholder => JSON::PP::true, num => 0 } ],
            attachments => ['AQIDBP8='],
        });
    };

    my $eio = joined($way);
    my $ws = $eio->{ws};

    is($emit->($eio), 1, 'C45 emitted');
    like($ws->recv, qr/^451-\["bin",\{[^}]+\}\]\z/, 'C45 the packet');
    is_deeply($ws->recv_frame, {
        fin     => 1,
        rsv     => 0,
        opcode  => SIO::WS::BINARY,
        payload => "\1\2\3\4\xff",
    }, 'C45 its octets, raw');

    my %sent = (
        'C45 octets'               => frame(SIO::WS::BINARY, "\0b4\xff"),
        'C46 base64'               => text('bAGI0/w=='),
        'C46 base64, not padded'   => text('bAGI0/w'),
        'C46 base64 of URLs'       => text('bAGI0_w'),
        'C45 octets in fragments'  => frame(SIO::WS::BINARY, "\0", fin => 0)
                                      . more("b4", fin => 0) . more("\xff"),
    );

    for my $name (sort keys %sent) {
        $ws->send_text($header);
        $ws->send_raw($sent{$name});

        like($ws->recv, qr/^461-5\[\{[^}]+\}\]\z/, "$name, answered");
        is($ws->recv, "\0b4\xff", "$name, come back");
        ok($ws->binary, "$name, raw");
    }

    $ws->send_text($header);
    $ws->send_binary('');
    like($ws->recv, qr/^461-5/, 'C45 no octets');
    is_deeply([ $ws->recv, $ws->binary ], [ '', 1 ], 'C45 are binary too');

    $eio = joined($way, query => 'b64=1');
    $ws = $eio->{ws};

    for my $name ('C45 octets', 'C46 base64') {
        $ws->send_text($header);
        $ws->send_raw($sent{$name});

        like($ws->recv, qr/^461-5/, "$name, b64=1");
        is($ws->recv, 'bAGI0/w==', "$name, b64=1, come back as text");
        ok(!$ws->binary, "$name, b64=1, which it is");
    }

    is($emit->($eio), 1, 'C45 b64=1 emitted');
    like($ws->recv, qr/^451-/, 'C45 b64=1 the packet');
    is($ws->recv, 'bAQIDBP8=', 'C45 b64=1 its octets as text');
};


sub event_of {
    my ($length) = @_;

    return '428["e","' . 'x' x ($length - 11) . '"]';
}


subtest 'size' => sub {
    for my $case ([ '/small/', 1000 ], [ '/socket.io/', 1000000 ]) {
        my ($path, $limit) = @$case;
        my $half = $limit / 2;
        my $fits = event_of($limit);
        my $eio = joined($way, path => $path);
        my $ws = $eio->{ws};

        is(length $fits, $limit, "$limit octets");

        $ws->send_text($fits);
        like($eio->next, qr/^438\["x+"\]\z/, "C48 $limit");

        $ws->send_frame(SIO::WS::TEXT, substr($fits, 0, $half), fin => 0);
        $ws->send_frame(SIO::WS::PING, 'p' x 125);
        is($ws->recv_frame->{payload}, 'p' x 125,
           "C48 $limit, a ping does not count");
        $ws->send_raw(more(substr $fits, $half));
        like($eio->next, qr/^438\["x+"\]\z/, "C48 $limit in two frames");

        my $first = text('x' x $half, fin => 0);

        my %over = (
            'one more'                 => text(event_of($limit + 1)),
            'one more in two frames'   => $first . more('x' x ($half + 1)),
            'the second header'        => $first
                                          . more('', length => $half + 1),
            'the header'               => text('', length => $limit + 1),
            'the header, binary'       =>
                frame(SIO::WS::BINARY, '', length => $limit + 1),
            'the header, not final'    =>
                text('', length => $limit + 1, fin => 0),
            'the header, 2 ** 40'      => text('', length => 2 ** 40),
        );

        for my $name (sort keys %over) {
            $eio = joined($way, path => $path);

            $eio->{ws}->send_raw($over{$name});
            is_ended($way, $eio, 1009, "C48 $limit, $name");
            is_reason($eio, 'transport error', "C48 $limit, $name");
        }
    }

    my $eio = joined($way, path => '/small/');

    $eio->{ws}->send_raw(join '', text('', fin => 0),
                         (map { more($_, fin => 0) } split //, event_of(1000)),
                         more(''));
    like($eio->next, qr/^438\["x+"\]\z/, 'C48 the limit in frames of one');
};


subtest 'control frames' => sub {
    my $eio = joined($way);
    my $ws = $eio->{ws};

    for my $data ('', 'x', "\0\xff", 'y' x 125) {
        $ws->send_frame(SIO::WS::PING, $data);
        is_deeply($ws->recv_frame, {
            fin     => 1,
            rsv     => 0,
            opcode  => SIO::WS::PONG,
            payload => $data,
        }, 'C49 a ping of ' . length $data);
    }

    $ws->send_frame(SIO::WS::PONG, $_) for '', 'unasked';
    lives($eio, 'C49 pongs');

    $ws->send_raw(text('421["fr', fin => 0));
    $ws->send_frame(SIO::WS::PING, 'between');
    is($ws->recv_frame->{payload}, 'between', 'C49 answered between fragments');
    $ws->send_raw(more('', fin => 0));
    $ws->send_frame(SIO::WS::PONG, '');
    $ws->send_raw(more("ag\",\"\xe2\x82", fin => 0));
    $ws->send_raw(more("\xac\"]"));
    is($ws->recv, "431[\"\xe2\x82\xac\"]", 'C49 fragments, a character cut');

    my $octets = text('422["f', fin => 0) . frame(SIO::WS::PING, '1')
                 . more('"', fin => 0) . frame(SIO::WS::PING, '2') . more(']');

    for my $how ('at once', 'octet by octet') {
        $how eq 'at once' ? $ws->send_raw($octets) : dribble($ws, $octets);

        my @frames = map { $ws->recv_frame } 1 .. 3;

        is_deeply([ map { "$_->{opcode} $_->{payload}" } @frames ],
                  [ '10 1', '10 2', '1 432[]' ], "C49 $how");
    }

    $ws->send_raw(join '', map { frame(SIO::WS::PING, "n$_") } 1 .. 1000);
    is(join('|', map { $ws->recv_frame->{payload} } 1 .. 1000),
       join('|', map { "n$_" } 1 .. 1000), 'C49 a thousand pings');
    lives($eio, 'C49 a thousand pings');
};


subtest 'what is no WebSocket' => sub {
    my @bad = (
        'not masked'                => text('6', mask => 0),
        'RSV1'                      => text('6', rsv => 4),
        'RSV2'                      => text('6', rsv => 2),
        'RSV3'                      => text('6', rsv => 1),
        'opcode 3'                  => frame(3, ''),
        'opcode 7'                  => frame(7, ''),
        'opcode 11'                 => frame(11, ''),
        'opcode 15'                 => frame(15, ''),
        'a ping in fragments'       => frame(SIO::WS::PING, '', fin => 0),
        'a close in fragments'      => frame(SIO::WS::CLOSE, '', fin => 0),
        'a ping of 126 octets'      => frame(SIO::WS::PING, 'x' x 126),
        'a ping that is not masked' => frame(SIO::WS::PING, '', mask => 0),
        'a stray continuation'      => more('6'),
        'a stray start of one'      => more('6', fin => 0),
        'a message in a message'    => text('6', fin => 0) . text('6'),
        'binary in a text'          => text('6', fin => 0)
                                       . frame(SIO::WS::BINARY, '6'),
        'a close of one octet'      => frame(SIO::WS::CLOSE, 'x'),
        map { ("a close with $_", frame(SIO::WS::CLOSE, pack 'n', $_)) }
            0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535
    );

    while (my ($name, $octets) = splice @bad, 0, 2) {
        ends($octets, 1002, 'transport error', "C50 $name");
    }

    my $eio = joined($way);
    $eio->{ws}->send_raw(text('6', rsv => 4) . text('42["no"]')
                         . frame(SIO::WS::CLOSE, ''));
    is_ended($way, $eio, 1002, 'C50 and more behind it');
    is_reason($eio, 'transport error', 'C50 and more behind it');
    is_deeply([ events_of($eio) ], [], 'C50 which is not looked at');

    my @malformed = (
        'an octet'                    => text("42[\"\xff\"]"),
        'not complete'                => text("42[\"\xe2\x82"),
        'longer than it must be'      => text("42[\"\xc0\xaf\"]"),
        'a surrogate'                 => text("42[\"\xed\xa0\x80\"]"),
        'past the end of Unicode'     => text("42[\"\xf4\x90\x80\x80\"]"),
        'not complete, in fragments'  => text("42[\"\xe2", fin => 0)
                                         . more("\"]"),
        'in a fragment, not the last' => text("4\xff", fin => 0),
        'a close with such a reason'  =>
            frame(SIO::WS::CLOSE, pack 'na*', 1000, "\xff"),
    );

    while (my ($name, $octets) = splice @malformed, 0, 2) {
        ends($octets, 1007, 'transport error', "C51 $name");
    }
};


subtest 'packets' => sub {
    my @ends = (
        ''       => 'parse error',
        'x'      => 'parse error',
        '7'      => 'parse error',
        ' 6'     => 'parse error',
        "\x1e6"  => 'parse error',
        '2'      => 'transport error',
        '2probe' => 'transport error',
        '2x'     => 'transport error',
    );

    while (my ($packet, $reason) = splice @ends, 0, 2) {
        ends(text($packet), undef, $reason, qq(C53 "$packet"));
    }

    my $eio = joined($way);

    $eio->{ws}->send_text($_)
        for '0', '0{"sid":"x"}', '5', '5x', '6', '6x', '3', '3probe';
    lives($eio, 'C54 out of place');

    # Node waits for the close frame, which some clients send and some do not.
    for my $close ('', pack 'n', 1000) {
        ends(text('1') . frame(SIO::WS::CLOSE, $close), undef,
             'transport close', 'C55 the client leaves');
    }

    ends(text('1'), undef, 'transport close', 'C55 without a close frame');

    $eio = joined($way);
    $eio->{ws}->send_raw(text('1') . text('42["no"]') . text('x'));
    is_ended($way, $eio, undef, 'C55 and more behind it');
    is_reason($eio, 'transport close', 'C55 and more behind it');
    is_deeply([ events_of($eio) ], [], 'C55 which is not looked at');
};


subtest 'clients that leave' => sub {
    for my $case ([ '' => undef ], [ "\x03\xe8" => 1000 ],
                  [ "\x03\xe9" => 1001 ], [ "\x03\xf3bye" => 1011 ],
                  [ "\x0b\xb8" => 3000 ], [ "\x13\x87" => 4999 ])
    {
        my ($payload, $code) = @$case;

        ends(frame(SIO::WS::CLOSE, $payload), $code, 'transport close',
             'with ' . ($code // 'no code'));
    }

    my $eio = joined($way);
    $eio->{ws}->send_raw(frame(SIO::WS::CLOSE, '') . text('42["no"]')
                         . "\xff" x 100);
    is_ended($way, $eio, undef, 'and more behind it');
    is_reason($eio, 'transport close', 'and more behind it');
    is_deeply([ events_of($eio) ], [], 'which is not looked at');

    for my $how (qw(drop abort)) {
        $eio = joined($way);

        $eio->{ws}->$how;
        is_reason($eio, 'transport close', "without a close frame, $how");
        is_unknown($way, $eio, "without a close frame, $how");
    }

    $eio = joined($way);
    $eio->{ws}->send_raw(text('42["x"', fin => 0) . "\x80");
    $eio->{ws}->drop;
    is_reason($eio, 'transport close', 'in the middle of a frame');
};


subtest 'we leave' => sub {
    my $eio = joined($way);

    is(kick($way, $eio), 1, 'C52');
    is($eio->{ws}->recv, '41', 'C52 the namespace, no packet 1');
    is_ended($way, $eio, undef, 'C52');
    is_reason($eio, 'server namespace disconnect', 'C52');

    $eio->{ws}->send_text('42["no"]');
    $eio->{ws}->send_frame(SIO::WS::CLOSE, '');
    ok($eio->{ws}->wait_eof, 'C52 until the client closes too');
    is_deeply([ events_of($eio) ], [], 'C52 who is not listened to any more');

    $eio = joined($way);
    $way->emit($eio->{socket}, 'e', 'x' x 300000) for 1 .. 3;
    kick($way, $eio);
    is(length($eio->{ws}->recv // ''), 300010, "C52 event $_ is still sent")
        for 1 .. 3;
    is($eio->{ws}->recv, '41', 'C52 then the namespace');
    is_ended($way, $eio, undef, 'C52 then the end');

    $eio = session($way, path => '/impatient/');
    is_ended($way, $eio, undef, 'C52 no namespace joined');

    $eio = joined($way);

    for my $n (1 .. 5) {
        my $ws = SIO::WS->connect(port => $nginx->port,
                                  path => $eio->url('websocket'));
        is($ws->wait_close->{code}, 1005, "C62 another WebSocket, $n");
        $ws->send_text('5');
        lives($eio, "C62 another WebSocket, $n");
    }
};


$ways->run(sub {
    my ($way) = @_;

    plan(skip_all => "nginx has no WebSocket over HTTP/$way->{version}")
        if ($way->{version} // 0) >= 2;

    my $http = SIO::HTTP->new(port => port($way), timeout => 20,
                              keepalive => 1);

    # The connection has served other requests before.
    is_answer($http->get($path), 400, '{"code":3,"message":"Bad request"}',
              'not upgraded');

    my $ws = SIO::WS->connect(http => $http, path => $path, timeout => 20);

    like($ws->recv, $open, 'C43');
    $ws->send_text('40');
    like($ws->recv, qr/^40\{/, 'C43 connected');

    my $eio = joined($way);
    $ws = $eio->{ws};

    $ws->send_raw(join '', map { text(qq(42$_\["e",$_])) } 0 .. 99);
    is(join('|', map { $eio->next } 0 .. 99),
       join('|', map { "43$_\[$_]" } 0 .. 99), 'C44');

    $ws->send_text($header);
    $ws->send_binary("\0\1\xff" x 100000);
    like($ws->recv, qr/^461-5/, 'C45');
    ok($ws->recv eq "\0\1\xff" x 100000, 'C45 long');

    $ws->send_raw(text('421["e","', fin => 0));
    $ws->send_frame(SIO::WS::PING, 'ping');
    is($ws->recv_frame->{payload}, 'ping', 'C49 ping');
    $ws->send_raw(more('x' x 70000, fin => 0) . more('"]'));
    ok($eio->next eq '431["' . 'x' x 70000 . '"]', 'C49 fragments');

    $way->emit($eio->{socket}, 'e', $_, chr(97 + $_) x 50000) for 1 .. 20;

    ok($eio->next eq qq(42["e",$_,") . chr(97 + $_) x 50000 . '"]',
       "long events in order, $_") for 1 .. 20;

    $ws->send_text('x');
    is_ended($way, $eio, undef, 'C53');
    is_reason($eio, 'parse error', 'C53');

    $eio = joined($way);
    $eio->{ws}->send_frame(3, '');
    is_ended($way, $eio, 1002, 'C50');
    ok($eio->{ws}->wait_eof, 'C50 hung up');

    $eio = joined($way);
    kick($way, $eio);
    is($eio->{ws}->recv, '41', 'C52');
    is_ended($way, $eio, undef, 'C52');

    $eio = joined($way);
    is($eio->{ws}->close(1000)->{code}, 1000, 'closed by the client');
    is_reason($eio, 'transport close', 'closed by the client');

    $eio = joined($way);
    $eio->{ws}->drop;
    is_reason($eio, 'transport close', 'dropped');
});


$nginx->stop;
$backend->stop;

done_testing();
