#!/usr/bin/perl

# What "nginx -t" says of every directive, and where it sees the mistake.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Nginx;
use SIO::Util qw(read_file);
use Test::More;


my $nginx = SIO::Nginx->new;

my $config = <<'EOF';
%%GLOBALS%%
events {}

http {
%%GLOBALS_HTTP%%
%%HTTP%%
    server {
        listen 127.0.0.1:%%PORT%%;
%%SERVER%%
    }
}
EOF

# Secrets of 24 octets, and one that is too short to be good.

my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my $another = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX';
my $short = 'whsec_AAECAw==';


# A piece of configuration where it belongs.

sub place {
    my ($place, $text) = @_;

    my %piece = (http => '', server => '');

    if ($place eq 'location') {
        $piece{server} = "location / {\nsocketio;\n$text\n}";

    } elsif ($place eq 'api') {
        $piece{server} = "location / {\nsocketio_api;\n$text\n}";

    } else {
        $piece{$place} = $text;
    }

    return %piece;
}


# Whether nginx takes it, what it says, and the number of the line that is
# marked with "<--".

sub verdict {
    my ($place, $text) = @_;

    my ($ok, $said) = $nginx->check(config => $config, place($place, $text));

    my @lines = split /\n/, read_file($nginx->prefix . '/nginx.conf');
    my ($line) = grep { $lines[$_ - 1] =~ /<--/ } 1 .. @lines;

    return ($ok, $said, $line);
}


# Taken without a word.

sub good {
    my ($title, $text, $place) = @_;

    my ($ok, $said) = verdict($place // 'location', $text);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok($ok && $said !~ /\[(?:warn|error|crit|alert|emerg)\]/, $title)
        or diag($said);
}


# Refused, or taken with a warning; the marked line is named, or the last one
# if none is marked.

sub bad {
    complain('emerg', @_);
}


sub warned {
    complain('warn', @_);
}


sub complain {
    my ($level, $title, $reason, $text, $place) = @_;

    $text .= ' # <--' if $text !~ /<--/;

    my ($ok, $said, $line) = verdict($place // 'location', $text);

    local $Test::Builder::Level = $Test::Builder::Level + 2;

    ok(($level eq 'warn') == !!$ok
       && $said =~ /\[$level\] .*$reason.* in \S+\/nginx\.conf:$line$/m,
       $title)
        or diag("line $line: $said");
}


# One directive: each case is [ value, reason, level ]; good without a reason.

sub values_of {
    my ($directive, @cases) = @_;

    subtest $directive => sub {
        for my $case (@cases) {
            my ($value, $reason, $level) = @$case;

            my $line = "$directive $value;";

            if (!$reason) {
                good($line, $line);

            } else {
                complain($level // 'emerg', $line, $reason, $line);
            }
        }

        my $value = $cases[0][0];

        bad('twice', qr/"$directive" directive is duplicate/,
            "$directive $value;\n$directive $value; # <--");
        bad('empty', qr/invalid number of arguments/, "$directive;");

        good('in http', "$directive $value;", 'http');
        good('in server', "$directive $value;", 'server');
        good('in if', "if (\$arg_a) {\n$directive $value;\n}");
    };
}


sub time_value {
    my ($directive) = @_;

    my $zero = qr/"$directive" directive must be greater than zero/;

    values_of($directive,
        ['1ms'], ['10'], ['25s'], ['1m30s'],
        ['0', $zero], ['0s', $zero],
        ['10x', qr/"$directive" directive invalid value/],
        ['-1', qr/invalid value/], ['soon', qr/invalid value/],
        ['25d', qr/longer than browsers can count/],
        ['1s 2s', qr/invalid number of arguments/]);
}


sub count_value {
    my ($directive) = @_;

    values_of($directive,
        ['1'], ['1000'], ['65535'],
        ['65536', qr/value must be between 0 and 65535/],
        ['-1', qr/invalid number/], ['many', qr/invalid number/],
        ['1 2', qr/invalid number of arguments/]);
}


sub flag_value {
    my ($directive) = @_;

    values_of($directive,
        ['on'], ['off'],
        ['yes', qr/invalid value "yes" in "$directive" directive/]);
}


values_of('socketio_webhook',
    ['/hook'], ['off'], ['/hook?a=b'], ['$arg_hook'], ['/hook/$socketio_type'],
    ['hook', qr/webhook URI "hook" must begin with "\/"/],
    ['@hook', qr/must begin with "\/"/],
    ['""', qr/must begin with "\/"/],
    ['http://127.0.0.1/', qr/must begin with "\/": it is a location/],
    ['/a /b', qr/invalid number of arguments/]);

values_of('socketio_webhook_secret',
    [$secret], ["$secret $another"], ['off'],
    ['""', qr/parameter 1 of "socketio_webhook_secret" is empty/],
    ['secret', qr/parameter 1 of .* must begin with "whsec_"/],
    ["$secret MfKQ9r8GKYqrTwjU", qr/parameter 2 of .* must begin with/],
    ['whsec_', qr/has nothing after "whsec_"/],
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa=', qr/is not base64 after/],
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_', qr/is not base64 after/],
    ["$secret $secret", qr/parameter 2 of .* is given twice/],
    ["off $secret", qr/"off" excludes other parameters/],
    [$short, qr/a webhook secret has only 4 octets/, 'warn']);

time_value('socketio_webhook_timeout');

values_of('socketio_webhook_pass_header',
    ['Cookie'], ['X-Tenant X-Request-Id Host'], ['off'],
    ['Cookie cookie', qr/duplicate parameter "cookie"/],
    ['Content-Length', qr/header "content-length" cannot be passed/],
    ['Webhook-Signature', qr/header "webhook-signature" cannot be passed/],
    ['"a b"', qr/"a b" is not a header name/],
    ['X:', qr/"x:" is not a header name/],
    ['""', qr/"" is not a header name/],
    ['Cookie off', qr/"off" excludes other parameters/]);

count_value('socketio_webhook_queue');
count_value('socketio_webhook_concurrency');

values_of('socketio_webhook_events',
    ['connect'], ['connect event ack disconnect'],
    ['message', qr/invalid value "message"/],
    ['connect connect', qr/duplicate value "connect"/, 'warn']);

values_of('socketio_namespaces',
    ['/'], ['/ /chat /a/b-c.d'], ['*'], ['~^/room-\d+$ /'], ['~*^/CHAT$'],
    ['"/with space"'],
    ['chat', qr/namespace "chat" must begin with "\/"/],
    ['""', qr/namespace "" must begin with "\/"/],
    ['/a,/b', qr/namespace "\/a,\/b" has a comma/],
    ['/a?b', qr/namespace "\/a\?b" has a question mark/],
    ["\"/a\tb\"", qr/has a control character/],
    ['~(', qr/pcre2?_compile\(\) failed: missing .* in "\("/],
    ['~', qr/empty regex in namespace "~"/],
    ['/a /b /a', qr/duplicate parameter "\/a"/],
    ['/a *', qr/"\*" excludes other parameters/]);

values_of('socketio_transports',
    ['polling'], ['websocket'], ['polling websocket'],
    ['webtransport', qr/invalid value "webtransport"/],
    ['polling polling', qr/duplicate value "polling"/, 'warn']);

time_value("socketio_$_")
    for qw(ping_interval ping_timeout upgrade_timeout connect_timeout);

values_of('socketio_max_payload',
    ['1'], ['1000000'], ['512k'],
    ['0', qr/directive must be greater than zero/],
    ['1t', qr/directive invalid value/], ['big', qr/invalid value/]);

count_value('socketio_max_attachments');

values_of('socketio_max_namespaces',
    ['1'], ['1024'],
    ['0', qr/value must be between 1 and 1024/],
    ['1025', qr/value must be between 1 and 1024/],
    ['many', qr/invalid number/]);

values_of('socketio_max_rooms',
    ['1'], ['65535'],
    ['0', qr/value must be between 1 and 65535/],
    ['65536', qr/value must be between 1 and 65535/]);

values_of('socketio_max_name',
    ['1'], ['255'],
    ['0', qr/value must be between 1 and 255/],
    ['256', qr/value must be between 1 and 255/]);

values_of('socketio_event_rate',
    ['off'], ['1r/m'], ['50r/s'], ['100000r/s'], ['50r/s burst=1'],
    ['1r/m burst=100000'],
    ['0r/s', qr/invalid rate "0r\/s", it must be from "1r\/m" to "100000r\/s"/],
    ['100001r/s', qr/invalid rate/], ['-1r/s', qr/invalid rate/],
    ['50', qr/invalid rate "50"/], ['r/s', qr/invalid rate/],
    ['50r/h', qr/invalid rate/], ['""', qr/invalid rate/],
    ['1r/s burst=0', qr/invalid parameter "burst=0", expected "burst="/],
    ['1r/s burst=', qr/invalid parameter/],
    ['1r/s burst=100001', qr/invalid parameter/],
    ['1r/s nodelay', qr/invalid parameter "nodelay"/],
    ['off burst=1', qr/"off" excludes other parameters/],
    ['1r/s burst=1 burst=2', qr/invalid number of arguments/]);

values_of('socketio_send_buffer',
    ['64k'], ['1m'], ['1'],
    ['0', qr/directive must be greater than zero/],
    ['-1', qr/directive invalid value/]);

values_of('socketio_cors_allowed_origins',
    ['same'], ['*'], ['off'], ['null'], ['https://example.com'],
    ['https://example.com http://localhost:3000'],
    ['http://[::1]:8080 http://[::1]'], ['capacitor://localhost file://'],
    ['chrome-extension://abcdefgh'],
    ['example.com', qr/origin "example.com" has no scheme/],
    ['localhost:3000', qr/has no scheme/], ['""', qr/has no scheme/],
    ['://example.com', qr/has no scheme/],
    ['https://example.com/', qr/must not end with a slash/],
    ['https://example.com/a', qr/more than a scheme, a host and a port/],
    ['https://a@example.com', qr/more than a scheme, a host and a port/],
    ['https://Example.com', qr/is not in lower case/],
    ['HTTPS://example.com', qr/is not in lower case/],
    ['https://*.example.com', qr/has a wildcard/],
    ['https://$host', qr/has an invalid character/],
    ['https://a,https://b', qr/has an invalid character/],
    ['https://example.com:443', qr/has the default port/],
    ['http://example.com:80', qr/has the default port/],
    ['https://example.com:0', qr/has an invalid port/],
    ['https://example.com:65536', qr/has an invalid port/],
    ['https://example.com:', qr/has an invalid port/],
    ['https://:8080', qr/has no host/], ['https://', qr/has no host/],
    ['http://[::1', qr/has an invalid IPv6 address/],
    ['http://[::1]8080', qr/has an invalid IPv6 address/],
    ['http://a http://a', qr/duplicate parameter "http:\/\/a"/],
    ['* http://a', qr/"\*" excludes other parameters/],
    ['http://a same', qr/"same" excludes other parameters/],
    ['off *', qr/excludes other parameters/]);

flag_value('socketio_cors_credentials');
flag_value('socketio_allow_eio3');

values_of('socketio_cookie',
    ['io'], ['off'], ['__Host-sid'],
    ['"a b"', qr/"a b" is not a cookie name/], ['a=b', qr/not a cookie name/],
    ['""', qr/"" is not a cookie name/]);

values_of('socketio_refuse',
    ['$arg_refuse'], ['off'], ['1'], ['"come back later"'],
    ['a b', qr/invalid number of arguments/]);

values_of('socketio_trusted_proxies',
    ['10.0.0.0/8'], ['192.0.2.1 2001:db8::/32 unix:'], ['off'],
    ['proxy', qr/"proxy" is not an address, a network/],
    ['10.0.0.0/33', qr/is not an address/], ['""', qr/is not an address/],
    ['off 10.0.0.1', qr/"off" excludes other parameters/],
    ['unix: unix:', qr/duplicate parameter "unix:"/],
    ['10.0.0.1/8', qr/low address bits of 10.0.0.1\/8 are meaningless/,
     'warn']);

values_of('socketio_api_key',
    ['topsecret'], ['one two'], ['off'],
    ['""', qr/parameter 1 of "socketio_api_key" is empty/],
    ['"a b"', qr/cannot be sent after "Bearer"/],
    ['a a', qr/parameter 2 of .* is given twice/],
    ['a off', qr/"off" excludes other parameters/]);


subtest 'secrets and keys in files' => sub {
    my $prefix = $nginx->prefix;

    $nginx->write('secrets', "# comment\r\n\r\n  $secret  \r\n$another");
    $nginx->write('keys', "one\n\t# two\nthree\n");
    $nginx->write('empty', "# nothing\n\n");
    $nginx->write('wrong', "$secret\n# more\nMfKQ9r8GKYqrTwjU\n");
    $nginx->write('twice', "one\n\none\n");
    $nginx->write('large', "# much\n" x 10000);

    good('relative to the configuration',
         'socketio_webhook_secret file=secrets;');
    good('absolute', "socketio_webhook_secret file=$prefix/secrets;");
    good('beside a value', 'socketio_api_key zero file=keys;', 'api');

    bad('not there', qr/open\(\) ".*\/none" failed \(2: No such file/,
        'socketio_webhook_secret file=none;');
    bad('no name', qr/"file=" names no file/, 'socketio_api_key file=;');
    bad('a directory', qr/"\S+\/html" is not a regular file/,
        'socketio_api_key file=html;');
    bad('no keys', qr/no keys in file "\S+\/empty"/,
        'socketio_api_key file=empty;');
    bad('a wrong line', qr/line 3 of file "\S+\/wrong" must begin with/,
        'socketio_webhook_secret file=wrong;');
    bad('a key twice', qr/line 3 of file "\S+\/twice" is given twice/,
        'socketio_api_key file=twice;');
    bad('a key in two files', qr/line 1 of file "\S+\/twice" is given twice/,
        'socketio_api_key file=keys file=twice;');
    bad('too large', qr/file "\S+\/large" of 70000 bytes is too large/,
        'socketio_api_key file=large;');

    SKIP: {
        skip 'root may read everything', 1 if $> == 0;

        chmod 0, "$prefix/keys";

        bad('may not be read', qr/open\(\) .* failed \(13: Permission denied/,
            'socketio_api_key file=keys;');
    }

    for my $value ('file=wrong', 'MfKQ9r8GKYqrTwjU', "$secret $secret") {
        my ($ok, $said) = verdict('location',
                                  "socketio_webhook_secret $value;");

        ok(!$ok && $said !~ /MfKQ9r8/, 'no secret is shown');
    }
};


subtest 'socketio and socketio_api' => sub {
    for my $name (qw(socketio socketio_api)) {
        good("$name", "location / { $name; }", 'server');

        bad("$name twice", qr/"$name" directive is duplicate/,
            "location / {\n$name;\n$name; # <--\n}", 'server');
        bad("$name in server", qr/"$name" directive is not allowed here/,
            "$name;", 'server');
        bad("$name in http", qr/"$name" directive is not allowed here/,
            "$name;", 'http');
        bad("$name with something else", qr/invalid parameter "on"/,
            "location / {\n$name on; # <--\n}", 'server');
        bad("$name with too much", qr/invalid number of arguments/,
            "location / {\n$name zone=a zone=b; # <--\n}", 'server');
        bad("$name before another handler",
            qr/another directive takes over the location of "$name"/,
            "location / {\n$name; # <--\nproxy_pass http://127.0.0.1;\n}",
            'server');
        bad("$name behind another handler",
            qr/"$name" directive conflicts with another one that serves/,
            "location / {\nproxy_pass http://127.0.0.1;\n$name; # <--\n}",
            'server');
    }

    bad('both', qr/conflicts with "socketio" in the same/, 'socketio_api;');
    bad('both, the other way', qr/conflicts with "socketio_api" in the same/,
        'socketio;', 'api');

    good('side by side', <<'EOF', 'server');
        location /a/ { socketio; location /a/b/ { socketio_api; } }
        location /c/ { socketio_api; location /c/d/ { socketio; } }
        location ~ ^/e { socketio; }
        location = /f { socketio; }
        location @g { socketio; }
EOF

    good('other handlers inside', <<'EOF', 'server');
        location /a/ {
            socketio;
            location /a/b/ { proxy_pass http://127.0.0.1; }
            if ($arg_a) { proxy_pass http://127.0.0.1; }
            limit_except GET { deny all; }
        }
EOF
};


subtest 'socketio_message_queue' => sub {
    my $queue = 'socketio_message_queue redis://127.0.0.1';

    good('with all parameters',
         "socketio_zone a 1m;\n$queue format=python channel=c dialect=5.14"
         . " forward=on zone=a;", 'http');

    for my $case (
        [ 'format=pyton', qr/"format=pyton", expected "python" or "node"/ ],
        [ 'dialect=5.18',
          qr/"dialect=5.18", expected "5.16", "5.14" or "pickle"/ ],
        [ 'forward=yes', qr/"forward=yes", expected "on" or "off"/ ],
        [ 'chanel=c', qr/invalid parameter "chanel=c"/ ],
        [ 'format=node dialect=pickle',
          qr/"dialect" is of "format=python" only/ ],
        [ 'dialect=pickle format=node',
          qr/"dialect" is of "format=python" only/ ],
    ) {
        my ($parameters, $reason) = @$case;

        bad($parameters, $reason, "$queue $parameters;", 'http');
    }
};


subtest 'zones' => sub {
    my $used = 'location / { socketio zone=chat; }';

    good('the default one by its name',
         'location / { socketio zone=socketio; }', 'server');
    good('the default one with a size', 'socketio_zone socketio 32m;', 'http');
    good('declared, unused', 'socketio_zone chat 1m;', 'http');
    good('declared before its use',
         "socketio_zone chat 16m;\nserver { $used }", 'http');
    good('declared after its use',
         "server { $used }\nsocketio_zone chat 16m;", 'http');
    good('two', <<'EOF', 'http');
        socketio_zone a 16m;
        socketio_zone b 32m;
        server {
            location /a { socketio zone=a; }
            location /b { socketio_api zone=b; }
        }
EOF

    bad('not declared', qr/zone "chat" is not declared by "socketio_zone"/,
        $used, 'server');
    bad('not declared, for the API', qr/zone "chat" is not declared/,
        'location / { socketio_api zone=chat; }', 'server');
    bad('declared twice', qr/zone "a" is already declared in \S+:\d+/,
        "socketio_zone a 16m;\nsocketio_zone a 16m;", 'http');
    bad('outside of http', qr/directive is not allowed here/,
        'socketio_zone a 16m;', 'server');

    bad('too small', qr/zone "a" of 65536 bytes is too small, limit is \d+/,
        'socketio_zone a 64k;', 'http');
    bad('nothing', qr/zone "a" of 0 bytes is too small/, 'socketio_zone a 0;',
        'http');
    bad('too large', qr/zone "a" of \d+ bytes is too large/,
        'socketio_zone a 1048576m;', 'http');
    bad('no size', qr/invalid zone size "big"/, 'socketio_zone a big;',
        'http');
    bad('only a name', qr/invalid number of arguments/, 'socketio_zone a;',
        'http');

    my $long = 'a' x 200;

    bad('a long name', qr/zone name "a+" must have 1 to \d+ characters/,
        "socketio_zone $long 16m;", 'http');
    bad('no name', qr/zone name "" must have/, 'socketio_zone "" 16m;',
        'http');
    bad('no name, used', qr/zone name "" must have/,
        'location / { socketio zone=; }', 'server');
    bad('a bad name', qr/zone name "a\/b" has an invalid character/,
        'socketio_zone a/b 16m;', 'http');
};


subtest 'values together' => sub {
    my $large = qr/"socketio_max_payload" of \d+ is too large for zone "\w+"/;

    bad('a payload beyond the zone', $large,
        "location / {\nsocketio; # <--\nsocketio_max_payload 16m;\n}",
        'server');
    bad('the same, inherited', $large,
        "socketio_max_payload 16m;\nlocation / {\nsocketio; # <--\n}",
        'server');
    bad('the same, in an if block', $large,
        "location / {\nsocketio; # <--\n"
        . "if (\$arg_a) {\nsocketio_max_payload 16m;\n}\n}", 'server');
    bad('the default, beyond a small zone', $large,
        "socketio_zone s 512k;\nserver { location / {\n"
        . "socketio zone=s; # <--\n} }", 'http');
    good('small enough for a small zone',
         "socketio_zone s 512k;\nsocketio_max_payload 16k;\n"
         . 'server { location / { socketio zone=s; } }', 'http');
    good('beyond a zone that is not used',
         'socketio_max_payload 1000m;', 'http');
    good('a small send buffer', 'socketio_send_buffer 1k;');

    bad('times that add up', qr/together are longer than browsers can count/,
        "location / {\nsocketio; # <--\n"
        . "socketio_ping_interval 20d;\nsocketio_ping_timeout 20d;\n}",
        'server');

    for my $name (qw(concurrency queue)) {
        my $directive = "socketio_webhook_$name";

        warned("no webhook: $name", qr/"$directive" is 0, 1 is used/,
               "location / {\nsocketio; # <--\nsocketio_webhook /a;\n"
               . "$directive 0;\n}", 'server');
        good("$name without a webhook", "$directive 0;");
    }

    warned('nginx refuses smaller bodies',
           qr/"client_max_body_size" of 1024 is smaller than/,
           "location / {\nsocketio; # <--\nclient_max_body_size 1k;\n}",
           'server');
    good('nginx refuses no body', 'client_max_body_size 0;');
};


my %setting = (
    socketio_webhook              => ['/a', '/b', 'off'],
    socketio_webhook_secret       => [$secret, $another, 'off'],
    socketio_webhook_timeout      => ['1s', '2s', '3s'],
    socketio_webhook_pass_header  => ['Cookie', 'X-A X-B', 'off'],
    socketio_webhook_queue        => [1, 2, 3],
    socketio_webhook_concurrency  => [1, 2, 3],
    socketio_webhook_events       => ['connect', 'event ack', 'ack'],
    socketio_namespaces           => ['/a', '~^/b', '*'],
    socketio_transports           => ['polling', 'websocket', 'polling'],
    socketio_ping_interval        => ['1s', '2s', '3s'],
    socketio_ping_timeout         => ['1s', '2s', '3s'],
    socketio_upgrade_timeout      => ['1s', '2s', '3s'],
    socketio_connect_timeout      => ['1s', '2s', '3s'],
    socketio_max_payload          => ['1k', '2k', '3k'],
    socketio_max_attachments      => [1, 2, 3],
    socketio_max_namespaces       => [1, 2, 3],
    socketio_max_rooms            => [1, 2, 3],
    socketio_max_name             => [1, 2, 3],
    socketio_event_rate           => ['1r/s', '2r/m burst=3', 'off'],
    socketio_send_buffer          => ['1k', '2k', '3k'],
    socketio_cors_allowed_origins => ['*', 'http://a http://b', 'off'],
    socketio_cors_credentials     => ['on', 'off', 'on'],
    socketio_allow_eio3           => ['on', 'off', 'on'],
    socketio_cookie               => ['io', 'sid', 'off'],
    socketio_refuse               => ['1', '$arg_a', 'off'],
    socketio_trusted_proxies      => ['10.0.0.1', 'unix:', 'off'],
    socketio_api_key              => ['a', 'b c', 'off'],
);

my @level = map {
    my $n = $_;
    join "\n", map { "$_ $setting{$_}[$n];" } sort keys %setting;
} 0 .. 2;

good('every setting at every level', <<"EOF", 'http');
    $level[0]

    server {
        $level[1]

        if (\$arg_a) { set \$b 1; }

        location / {
            $level[2]
            socketio;

            if (\$arg_a) {
                $level[0]
            }

            location /api/ {
                $level[1]
                socketio_api;
            }

            limit_except GET POST {
                deny all;
            }
        }
    }
EOF


subtest 'variables' => sub {
    my @names = qw(sid namespace event type transport user reason
                   packets_in packets_out);

    good('in a log format',
         "log_format a '" . join(' ', map { "\$socketio_$_" } @names) . "';",
         'http');

    for my $use ('socketio_webhook /$socketio_none;',
                 'socketio_refuse $socketio_none;')
    {
        my ($ok, $said) = verdict('location', $use);

        ok(!$ok && $said =~ /unknown "socketio_none" variable/, $use);
    }

    bad('they cannot be set', qr/the duplicate "socketio_sid" variable/,
        'set $socketio_sid 1;');
};


good('the example of the documentation', <<'EOF', 'http');
    upstream app { server 127.0.0.1:5000; keepalive 32; }

    server {
        listen 127.0.0.1:%%PORT_example%%;

        location /socket.io/ {
            socketio;
            socketio_webhook  /_socketio;
        }

        location = /_socketio {
            internal;
            proxy_pass          http://app/socketio;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /_api/    { socketio_api;     allow 127.0.0.1; deny all; }
    }
EOF


is_deeply([glob $nginx->prefix . '/asan/log*'], [],
          'no report of a sanitizer');

done_testing;
