#!/usr/bin/perl

# How sessions begin and how they are refused, in every byte; the numbers are
# those of the conformance checklist.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::EIO;
use SIO::HTTP;
use SIO::Ways;
use SIO::WS;
use Test::More;


my $ways = SIO::Ways->new(http => <<'EOF', locations => <<'EOS');
    map $arg_refuse $odd_message {
        default "say \"no\" \\ é\tnow";
    }
EOF
        location /socket.io/ {
            socketio;
        }

        location /bare {
            socketio;
        }

        location /tuned/ {
            socketio;
            socketio_ping_interval 300ms;
            socketio_ping_timeout 7s;
            socketio_max_payload 4k;
        }

        location /websocket/ {
            socketio;
            socketio_transports websocket;
        }

        location /polling/ {
            socketio;
            socketio_transports polling;
        }

        location /refuse/ {
            socketio;
            socketio_refuse $arg_refuse;
        }

        location /odd/ {
            socketio;
            socketio_refuse $odd_message;
        }

        location /cookie/ {
            socketio;
            socketio_cookie io;
        }

        location /eio3/ {
            socketio;
            socketio_allow_eio3 on;
        }
EOS

my $nginx = $ways->nginx;
my $http = SIO::HTTP->new(port => $nginx->port);
my $unknown = 'A' x 32;

my %messages = (
    0 => 'Transport unknown',
    1 => 'Session ID unknown',
    2 => 'Bad handshake method',
    3 => 'Bad request',
    4 => 'Forbidden',
    5 => 'Unsupported protocol version',
);


# An answer as JSON, for everybody but WebSockets.

sub is_error {
    my ($response, $code, $name, $message) = @_;

    $message //= $messages{$code};

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $status = $code == 4 ? 403 : 400;
    my $body = qq({"code":$code,"message":"$message"});
    my $headers = $response->{headers};

    is_deeply(
        [ $response->{status}, $headers->{'content-type'}, $response->{body},
          $headers->{'content-length'}, $headers->{'cache-control'} ],
        [ $status, 'application/json', $body, length $body, undef ], $name);
}


sub is_open {
    my ($response, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my ($sid) = $response->{body} =~ /^0\{"sid":"([\w-]{20,})",/;

    ok($response->{status} == 200 && defined $sid, $name)
        or diag("$response->{status} $response->{body}");

    return $sid;
}


# The request that opens a WebSocket, and how it is refused.

sub refused_upgrade {
    my ($target, $text, $name, %option) = @_;

    my ($ws, $response) = SIO::WS->handshake(
        port => $nginx->port,
        path => $target,
        %option,
    );

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(
        [ $response->{status}, $response->{headers}{connection},
          $response->{headers}{'content-type'}, $response->{body} ],
        [ 400, 'close', 'text/html', $text ], $name);
}


sub target {
    my ($path, @rest) = @_;

    return join '&', "$path?EIO=4&transport=polling", @rest;
}


subtest 'a session begins' => sub {
    my $r = $http->get(target('/socket.io/'));

    like($r->{body}, qr/^0\{"sid":"[\w-]{20,}","upgrades":\["websocket"\],
                          "pingInterval":25000,"pingTimeout":20000,
                          "maxPayload":1000000\}\z/x, 'C1 open packet');
    is($r->{status}, 200, 'C1 status');

    my %open = %{ JSON::PP->new->decode(substr $r->{body}, 1) };
    is_deeply([ sort keys %open ],
              [ sort qw(sid upgrades pingInterval pingTimeout maxPayload) ],
              'C1 exactly these keys');

    my $headers = $r->{headers};
    is($headers->{'content-type'}, 'text/plain; charset=UTF-8',
       'C2 content type');
    is($headers->{'cache-control'}, 'no-store', 'C2 cache control');
    is($headers->{'content-length'}, length $r->{body}, 'C2 content length');

    is_deeply([ sort keys %$headers ],
              [ sort qw(server date content-type content-length connection
                        cache-control vary access-control-allow-credentials) ],
              'C2 no other headers');

    for my $agent ('Mozilla/4.0 (compatible;MSIE 8.0; Windows NT 6.1)',
                   'Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0)')
    {
        $r = $http->get(target('/socket.io/'), 'User-Agent' => $agent);
        is($r->{headers}{'x-xss-protection'}, '0', 'C2 Internet Explorer');
    }

    $r = $http->get(target('/tuned/'));
    like($r->{body}, qr/"pingInterval":300,"pingTimeout":7000,
                        "maxPayload":4096\}/x, 'C1 as configured');

    my %seen;
    $seen{SIO::EIO->open(port => $nginx->port)->sid}++ for 1 .. 100;
    is(keys %seen, 100, 'C1 ids differ');
    is(grep({ length $_ != length $open{sid} } keys %seen), 0,
       'C1 and are of one length');

    is_open($http->get("/socket.io/?$_"), "C1 $_")
        for 'EIO=4&transport=polling&t=abc', 't=1&transport=polling&EIO=4',
            'foo=bar&EIO=4&transport=polling&b64=1&x=%20%ff',
            '&&=&EIO=4&transport=polling&',
            'EI%4F=%34&tr%61nsport=%70ollin%67',
            'EIO=4&transport=polling&a=%&b=%4&c=%zz&=d';

    is_open($http->request('GET', target('/socket.io/'), headers => [
                'Content-Type' => 'text/plain', 'Content-Length' => 0 ]),
            'C1 with an empty body');
    is_open($http->request('GET', target('/socket.io/'), body => 'body'),
            'C1 with a body');
};


subtest 'upgrades' => sub {
    my $ws = SIO::EIO->open_ws(port => $nginx->port);
    is_deeply($ws->{open}{upgrades}, [], 'C3 none on a WebSocket');

    $ws = SIO::EIO->open_ws(port => $nginx->port, path => '/websocket/');
    is_deeply($ws->{open}{upgrades}, [], 'C3 none without polling');

    my $eio = SIO::EIO->open(port => $nginx->port, path => '/polling/');
    is_deeply($eio->{open}{upgrades}, [], 'C3 none without WebSocket');

    $eio = SIO::EIO->open(port => $nginx->port);
    is_deeply($eio->{open}{upgrades}, ['websocket'], 'C3 websocket');
};


subtest 'transports' => sub {
    for my $query ('EIO=4', '', 'EIO=4&transport=', 'EIO=4&transport=foo',
                   'EIO=4&transport=webtransport', 'EIO=4&transport=Polling',
                   'EIO=4&Transport=polling', 'EIO=4&transport=polling+',
                   'EIO=4&transport=polling%00', 'EIO=4&transport',
                   'EIO=4&transport=polling&transport=foo',
                   "EIO=4&transport=foo&sid=$unknown")
    {
        is_error($http->get("/socket.io/?$query"), 0, "C4 GET ?$query");
    }

    is_error($http->get('/socket.io/'), 0, 'C4 no query');
    is_error($http->post('/socket.io/?EIO=4', 'body'), 0, 'C4 POST');
    is_error($http->request($_, '/socket.io/?EIO=4&transport=foo'), 0,
             "C4 $_") for qw(PUT DELETE PATCH);

    refused_upgrade('/socket.io/?EIO=4&transport=foo', 'Transport unknown',
                    'C4 an upgrade');

    is_error($http->get(target('/websocket/')), 0, 'C5 polling is disabled');
    is_error($http->get('/polling/?EIO=4&transport=websocket'), 0,
             'C5 WebSocket is disabled');
    refused_upgrade('/polling/?EIO=4&transport=websocket', 'Transport unknown',
                    'C5 WebSocket is disabled, an upgrade');

    my $eio = SIO::EIO->open(port => $nginx->port, path => '/polling/');
    refused_upgrade($eio->url('websocket'), 'Transport unknown',
                    'C5 WebSocket is disabled, an upgrade of a session');
    ok($ways->way->alive($eio), 'C5 the session lives');
};


subtest 'unknown sessions' => sub {
    for my $sid ($unknown, 'x', 'A' x 20, 'A' x 31, 'A' x 33, 'A' x 1000,
                 '-' x 32, '_' x 32, '%00' x 32, '%ff' x 32, '%0a' x 32,
                 '..%2f..%2f..%2f..', '"' x 32, 'null', '0')
    {
        my $target = target('/socket.io/', "sid=$sid");
        my $what = length $sid > 50 ? substr($sid, 0, 20) . '...' : $sid;

        is_error($http->get($target), 1, "C6 GET $what");
        is_error($http->post($target, '40'), 1, "C6 POST $what");
    }

    my $eio = SIO::EIO->open(port => $nginx->port);

    is_error($http->get(target('/socket.io/', 'sid=' . lc $eio->sid)), 1,
             'C6 in other letters') if $eio->sid ne lc $eio->sid;
    is_error($http->get(target('/socket.io/', 'sid=' . $eio->sid . '%20')), 1,
             'C6 with a blank behind it');
    is_error($http->get(target('/socket.io/', 'Sid=x', "sid=$unknown")), 1,
             'C6 names are case-sensitive');

    refused_upgrade("/socket.io/?EIO=4&transport=websocket&sid=$_",
                    'Session ID unknown', 'C6 an upgrade of ' . length $_)
        for $unknown, 'x', '%00' x 32;
};


subtest 'methods' => sub {
    my $target = target('/socket.io/');

    is_error($http->post($target, '40'), 2, 'C7 POST');
    is_error($http->request($_, $target), 2, "C7 $_")
        for qw(PUT DELETE PATCH PROPFIND);

    my $r = $http->request('HEAD', $target);
    is($r->{status}, 400, 'C7 HEAD');
    is($r->{headers}{'content-length'},
       length '{"code":2,"message":"Bad handshake method"}',
       'C7 HEAD has the length');

    is_error($http->get('/socket.io/?EIO=4&transport=websocket'), 3,
             'C8 WebSocket without an upgrade');
    is_error($http->get('/socket.io/?EIO=4&transport=websocket',
                        Upgrade => 'h2c', Connection => 'Upgrade'), 3,
             'C8 an upgrade to something else');

    refused_upgrade($target, 'Bad request', 'polling that wants to upgrade');

    my $eio = SIO::EIO->open(port => $nginx->port);
    is_error($http->get($eio->url('websocket')), 3,
             'a polling session, asked for as a WebSocket');
    refused_upgrade($eio->url('polling'), 'Bad request',
                    'a polling session, polled with an upgrade');
    ok($ways->way->alive($eio), 'and it lives');
};


subtest 'refused by the application' => sub {
    my $target = target('/refuse/');

    is_error($http->get("$target&refuse=1"), 4, 'C9 Forbidden');
    is_error($http->get("$target&refuse=come+back"), 4, 'C9 another text',
             'come+back');
    is_error($http->get(target('/odd/')), 4, 'C9 text is escaped',
             "say \\\"no\\\" \\\\ \xc3\xa9\\tnow");

    is_open($http->get("$target&refuse=0"), 'C9 0 is no refusal');
    is_open($http->get("$target&refuse="), 'C9 nor is nothing');
    is_open($http->get($target), 'C9 nor is no variable');

    my $upgrade = '/refuse/?EIO=4&transport=websocket';

    refused_upgrade("$upgrade&refuse=1", 'Forbidden', 'C9 WebSocket');
    refused_upgrade("$upgrade&refuse=come+back", 'come+back',
                    'C9 WebSocket, another text');

    my $eio = SIO::EIO->open(port => $nginx->port, path => '/refuse/');
    $eio->{query} = 'refuse=1';
    is($eio->post_raw('6')->{body}, 'ok', 'C9 not asked again for a session');
};


subtest 'revisions' => sub {
    for my $query ('', 'EIO=&', 'EIO=2&', 'EIO=3&', 'EIO=5&', 'EIO=04&',
                   'EIO=4.0&', 'EIO=+4&', 'EIO=4%00&', 'eio=4&', 'EIO=44&',
                   'EIO=4&EIO=3&')
    {
        is_error($http->get("/socket.io/?${query}transport=polling"), 5,
                 "C10 ?${query}transport=polling");
    }

    refused_upgrade("/socket.io/?${_}transport=websocket",
                    'Unsupported protocol version', "C10 WebSocket, ?$_")
        for '', 'EIO=3&', 'EIO=5&';

    is_open($http->get('/eio3/?EIO=3&EIO=4&transport=polling'),
            'C13 the last one wins, 4');
    like($http->get('/eio3/?EIO=4&EIO=3&transport=polling')->{body},
         qr/^\d+:0\{"sid"/, 'C13 the last one wins, 3');
    is_open($http->get('/socket.io/?EIO=4&transport=foo&transport=polling'),
            'C13 the last transport');
    is_open($http->get(target('/socket.io/', "sid=$unknown", 'sid=')),
            'C13 the last sid');
    is_error($http->get(target('/socket.io/', 'sid=', "sid=$unknown")), 1,
             'C13 the last sid, unknown');
};


subtest 'the order of the checks' => sub {
    my $ws = SIO::EIO->open_ws(port => $nginx->port);
    my $eio = SIO::EIO->open(port => $nginx->port);
    my ($w, $p) = ($ws->sid, $eio->sid);

    my @cases = (
        [ POST => "transport=foo&sid=$unknown", 0, 'transport, then sid' ],
        [ PUT => 'EIO=3&transport=foo', 0, 'transport, then method' ],
        [ POST => "EIO=3&transport=polling&sid=$unknown", 1,
          'sid, then revision' ],
        [ GET => 'EIO=4&transport=websocket&sid=x', 1, 'sid, then upgrade' ],
        [ GET => "EIO=4&transport=websocket&sid=$unknown", 1,
          'sid, then upgrade, of the right length' ],
        [ GET => "EIO=4&transport=polling&sid=$w", 3,
          'the transport of the session' ],
        [ POST => "EIO=3&transport=polling&sid=$w", 3,
          'the transport, then revision of the session' ],
        [ GET => "EIO=3&transport=polling&sid=$p", 3,
          'the revision of the session' ],
        [ POST => 'transport=polling', 2, 'method, then version' ],
        [ POST => 'EIO=4&transport=websocket', 2, 'method, then upgrade' ],
        [ GET => 'EIO=3&transport=websocket', 3, 'upgrade, then version' ],
        [ GET => 'EIO=3&transport=websocket&refuse=1', 3,
          'upgrade, then the application' ],
        [ POST => 'EIO=3&transport=polling&refuse=1', 2,
          'method, then the application' ],
        [ GET => 'EIO=3&transport=polling&refuse=1', 4,
          'the application, then version' ],
        [ GET => 'EIO=3&transport=polling', 5, 'version last' ],
    );

    for my $case (@cases) {
        my ($method, $query, $code, $name) = @$case;

        my $r = $http->request($method, "/refuse/?$query",
                               body => $method eq 'GET' ? undef : '40');

        is_error($r, $code, "C11 C12 $name");
    }

    refused_upgrade('/refuse/?EIO=3&transport=websocket&refuse=1', 'Forbidden',
                    'C11 the application, then version, WebSocket');
    refused_upgrade("/refuse/?EIO=3&transport=websocket&sid=$unknown",
                    'Session ID unknown', 'C11 sid, then revision, WebSocket');

    ok($ways->way->alive($eio), 'C11 the session lives');
    $ws->send('40');
    like($ws->next, qr/^40\{/, 'C11 the other one too');
};


subtest 'paths' => sub {
    is_open($http->get(target('/socket.io/', 'sid=')), 'C14 an empty sid');
    is_open($http->get(target('/socket.io/', 'sid')), 'C14 sid without a value');

    is_open($http->get(target("/socket.io/$_")), "C15 /socket.io/$_")
        for 'anything', 'a/b/c.php', '%20', '';
    is_open($http->get(target($_)), "C15 $_") for '/bare', '/bare/';

    is($http->get(target('/socket.io'))->{status}, 404,
       'C15 without its slash it is another location');

    # Sessions belong to the zone: any path of it finds them.
    my $eio = SIO::EIO->open(port => $nginx->port);
    $eio->{path} = '/socket.io/anything';
    is($eio->post_raw('6')->{body}, 'ok', 'C15 a session, by another path');
};


subtest 'cookie' => sub {
    my $cookie = sub { $_[0]{headers}{'set-cookie'} };

    is($cookie->($http->get(target('/socket.io/'))), undef,
       'C16 off by default');

    my $eio = SIO::EIO->open(port => $nginx->port, path => '/cookie/');
    is($cookie->($eio->{response}),
       "io=$eio->{sid}; Path=/; HttpOnly; SameSite=Lax",
       'C16 on the handshake');

    is($cookie->($eio->post('40')), undef, 'C16 not on a POST');
    is($cookie->($eio->get), undef, 'C16 nor on a GET');
    is($cookie->($http->post(target('/cookie/'), '')), undef,
       'C16 nor on an error');

    my ($ws, $response) = SIO::WS->handshake(
        port => $nginx->port, path => '/cookie/?EIO=4&transport=websocket');
    is($response->{status}, 101, 'C16 a WebSocket');
    is($cookie->($response), undef, 'C16 does not get it');

    # What a client sends back means nothing.
    is_open($http->get(target('/cookie/'), Cookie => "io=$eio->{sid}"),
            'C16 the cookie is not looked at');
};


$ways->run(sub {
    my ($way) = @_;

    my $client = $way->client;
    my $target = target('/socket.io/');
    my $r = $client->get($target);

    my $sid = is_open($r, 'C1 open');
    is($r->{headers}{'content-type'}, 'text/plain; charset=UTF-8',
       'C2 content type');
    is($r->{headers}{'cache-control'}, 'no-store', 'C2 cache control');

    is_error($client->get("$target&sid=$unknown"), 1, 'C6 GET');
    is_error($client->post("$target&sid=$unknown", '40'), 1, 'C6 POST');
    is_error($client->get('/socket.io/?EIO=4&transport=foo'), 0, 'C4');
    is_error($client->post($target, '40'), 2, 'C7 POST');
    is_error($client->request('DELETE', $target), 2, 'C7 DELETE');
    is($client->request('HEAD', $target)->{status}, 400, 'C7 HEAD');
    is_error($client->get('/socket.io/?EIO=4&transport=websocket'), 3, 'C8');
    is_error($client->get(target('/refuse/', 'refuse=no')), 4, 'C9', 'no');
    is_error($client->get('/socket.io/?EIO=3&transport=polling'), 5, 'C10');
    is_open($client->get("$target&sid="), 'C14');

    $r = $client->get(target('/cookie/'));
    like($r->{headers}{'set-cookie'}, qr/^io=[\w-]+; Path=/, 'C16');

    for (1 .. 3) {
        is($client->post("$target&sid=$sid", '6')->{body}, 'ok',
           'C1 the session is there');
    }
});


$nginx->stop;

done_testing();
