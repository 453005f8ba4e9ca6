#!/usr/bin/perl

# Which origins are accepted and what browsers are told; the numbers are those
# of the conformance checklist.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::EIO;
use SIO::HTTP;
use SIO::Ways;
use SIO::WS;
use Test::More;


my $ways = SIO::Ways->new(locations => <<'EOS');
        location /socket.io/ {
            socketio;
        }

        location /any/ {
            socketio;
            socketio_cors_allowed_origins *;
        }

        location /list/ {
            socketio;
            socketio_cors_allowed_origins https://a.example
                                          http://b.example:8443 null;
        }

        location /off/ {
            socketio;
            socketio_cors_allowed_origins off;
        }

        location /plain/ {
            socketio;
            socketio_cors_credentials off;
        }

        location /distrust/ {
            socketio;
            socketio_trusted_proxies off;
        }

        location /others/ {
            socketio;
            socketio_trusted_proxies 192.0.2.0/24;
        }

        location /realip/ {
            socketio;
            set_real_ip_from 127.0.0.1;
            real_ip_header X-Real-IP;
        }

        location /realip-others/ {
            socketio;
            socketio_trusted_proxies 192.0.2.0/24;
            set_real_ip_from 127.0.0.1;
            real_ip_header X-Real-IP;
        }

        location /small/ {
            socketio;
            socketio_max_payload 10;
        }

        location /polling/ {
            socketio;
            socketio_transports polling;
        }
EOS

my $nginx = $ways->nginx;
my $http = SIO::HTTP->new(port => $nginx->port);
my $host = '127.0.0.1:' . $nginx->port;


# What the answer says of CORS, in one structure.

sub cors {
    my ($response) = @_;

    my $headers = $response->{headers};
    my %cors;

    for my $name (grep { /^access-control-/ } keys %$headers) {
        $cors{$name =~ s/^access-control-allow-//r} = $headers->{$name};
    }

    $cors{vary} = $headers->{vary} if defined $headers->{vary};

    return \%cors;
}


sub target {
    my ($path, @rest) = @_;

    return join '&', "$path?EIO=4&transport=polling", @rest;
}


sub accepted {
    my ($path, $origin, $name, @headers) = @_;

    my $r = $http->get(target($path), Origin => $origin, @headers);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply([ $r->{status}, cors($r) ], [ 200, {
        origin      => $origin,
        credentials => 'true',
        vary        => 'Origin',
    } ], $name) or diag($r->{body});
}


sub is_refused {
    my ($r, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    # A cache may be told to tell answers apart, a browser nothing.
    my $cors = cors($r);
    delete $cors->{vary};

    is_deeply(
        [ $r->{status}, $r->{headers}{'content-type'}, $r->{body}, $cors ],
        [ 400, 'text/plain', '"Not an accepted origin."', {} ], $name);
}


sub refused {
    my ($path, $origin, $name, @headers) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_refused($http->get(target($path), Origin => $origin, @headers), $name);
}


subtest 'same origin' => sub {
    my $r = $http->get(target('/socket.io/'));
    is($r->{status}, 200, 'C113 no Origin passes');
    is_deeply(cors($r), { credentials => 'true', vary => 'Origin' },
              'C113 and is told no origin');

    $r = $http->get(target('/socket.io/'), Origin => '');
    is($r->{status}, 200, 'C113 an empty Origin passes');
    is(cors($r)->{origin}, undef, 'C113 and is not echoed');

    accepted('/socket.io/', "http://$host", 'C113 the same origin');
    accepted('/socket.io/', 'http://name.example:81', 'C113 as the client says',
             Host => 'name.example:81');
    accepted('/socket.io/', 'http://Name.Example', 'C113 letter by letter',
             Host => 'Name.Example');

    my $port = $nginx->port;

    refused('/socket.io/', $_, "C113 $_")
        for "https://$host", "http://$host/", "HTTP://$host", 'null',
            'http://127.0.0.1', "http://localhost:$port", "http://$host.evil",
            'http://evil.example', "http://evil.example:$port", "$host",
            "http:/$host", "http://$host,http://$host", "http://$host http",
            '*', 'http://', '://', 'x', "http://u\@$host", "\xff\xfe",
            'http://' . 'a' x 4000;

    refused('/socket.io/', 'http://name.example', 'C113 another letter case',
            Host => 'Name.Example');
    refused('/socket.io/', 'http://name.example:80', 'C113 a default port',
            Host => 'name.example');
};


subtest 'whatever the request' => sub {
    my $eio = SIO::EIO->open(port => $nginx->port);
    my $session = $eio->url('polling');
    my @evil = (headers => [ Origin => 'http://evil.example' ]);

    is_refused($http->request($_, target('/socket.io/'), @evil), "C113 $_")
        for qw(GET POST PUT DELETE OPTIONS);
    is_refused($http->request('POST', $session, @evil, body => '1'),
               'C113 POST to a session');
    is_refused($http->request('GET', $session, @evil),
               'C113 GET of a session');
    is_refused($http->request('OPTIONS', $session, @evil),
               'C113 OPTIONS of a session');
    is_refused($http->request('GET', '/socket.io/?transport=foo', @evil),
               'C113 before every other check');
    is_refused($http->request('GET', '/polling/?transport=websocket', @evil),
               'C113 of transports too');
    is_refused($http->request('POST', target('/socket.io/'), @evil,
                              body => 'x' x 100000),
               'C113 with a long body');

    my $r = $http->request('HEAD', target('/socket.io/'), @evil);
    is($r->{status}, 400, 'C113 HEAD');

    my ($ws, $response) = SIO::WS->handshake(
        port => $nginx->port, path => '/socket.io/?EIO=4&transport=websocket',
        @evil);
    is_refused($response, 'C113 WebSocket');

    ($ws, $response) = SIO::WS->handshake(
        port => $nginx->port, path => $eio->url('websocket'), @evil);
    is_refused($response, 'C113 an upgrade');

    ($ws, $response) = SIO::WS->handshake(
        port => $nginx->port, path => '/socket.io/?EIO=4&transport=websocket',
        headers => [ Origin => "http://$host" ]);
    is($response->{status}, 101, 'C113 a WebSocket of the same origin');

    ($ws, $response) = SIO::WS->handshake(
        port => $nginx->port, path => '/socket.io/?EIO=4&transport=websocket');
    is($response->{status}, 101, 'C113 a WebSocket without Origin');

    ok($ways->way->alive($eio), 'C113 the session has noticed nothing');
};


subtest 'forwarded' => sub {
    my @proto = ('X-Forwarded-Proto' => 'https');
    my @host = ('X-Forwarded-Host' => 'app.example');

    accepted('/socket.io/', "https://$host", 'C114 another scheme', @proto);
    accepted('/socket.io/', 'http://app.example', 'C114 another host', @host);
    accepted('/socket.io/', 'https://app.example', 'C114 both', @proto, @host);
    accepted('/socket.io/', "http://$host", 'C114 or what is seen here',
             @proto, @host);
    accepted('/socket.io/', 'https://app.example', 'C114 the first of a list',
             'X-Forwarded-Proto' => "https, http",
             'X-Forwarded-Host' => " app.example ,inner.example, b");
    accepted('/socket.io/', 'https://app.example', 'C114 of repeated headers',
             'X-Forwarded-Proto' => 'https', 'X-Forwarded-Proto' => 'http',
             'X-Forwarded-Host' => 'app.example',
             'X-Forwarded-Host' => 'inner.example');

    refused('/socket.io/', "https://inner.example", 'C114 not the second',
            'X-Forwarded-Proto' => 'https, http',
            'X-Forwarded-Host' => 'app.example, inner.example');
    refused('/socket.io/', "http://app.example", 'C114 no mixture', @proto,
            @host);
    refused('/socket.io/', "https://$host", 'C114 no mixture of hosts', @proto,
            @host);
    refused('/socket.io/', 'http://', 'C114 an empty host',
            'X-Forwarded-Host' => '');
    refused('/socket.io/', 'https://app.example', 'C114 X-Forwarded-Server',
            'X-Forwarded-Server' => 'app.example', @proto);

    refused('/distrust/', 'https://app.example', 'C114 no proxy is trusted',
            @proto, @host);
    refused('/others/', 'https://app.example', 'C114 other proxies are',
            @proto, @host);
    accepted('/others/', "http://$host", 'C114 what is seen here counts',
             @proto, @host);

    # The peer is the proxy, whoever it says the client is.
    my @client = ('X-Real-IP' => '192.0.2.7');

    accepted('/realip/', 'https://app.example', 'C114 behind realip', @proto,
             @host, @client);
    refused('/realip-others/', 'https://app.example',
            'C114 a client is not believed', @proto, @host, @client);
};


subtest 'declared origins' => sub {
    for my $origin ('http://evil.example', "http://$host", 'null', 'x',
                    'https://a.example')
    {
        accepted('/any/', $origin, "C115 * takes $origin");
    }

    my $r = $http->get(target('/any/'));
    is_deeply(cors($r), { credentials => 'true', vary => 'Origin' },
              'C115 * without Origin');

    accepted('/list/', $_, "C115 the list has $_")
        for 'https://a.example', 'http://b.example:8443', 'null';
    refused('/list/', $_, "C115 the list has not $_")
        for 'http://a.example', 'https://A.example', 'https://a.example/',
            'https://a.example.evil', 'https://a.exampl', "http://$host",
            'https://a.example http://b.example:8443', 'http://b.example',
            '*';
    refused('/list/', "https://$host", 'C115 a proxy adds none to the list',
            'X-Forwarded-Proto' => 'https');
    is($http->get(target('/list/'))->{status}, 200, 'C115 a list, no Origin');

    for my $origin (undef, 'http://evil.example', "http://$host", "a\x01b") {
        $r = $http->get(target('/off/'), defined $origin
                                         ? (Origin => $origin) : ());

        next if defined $origin && $origin =~ /\x01/ && $r->{status} == 400;

        is_deeply([ $r->{status}, cors($r) ], [ 200, {} ],
                  'C115 off: nothing is checked, nothing said, '
                  . ($origin // 'no Origin'));
    }

    $r = $http->get(target('/plain/'), Origin => "http://$host");
    is_deeply(cors($r), { origin => "http://$host", vary => 'Origin' },
              'C115 without credentials');
};


subtest 'preflight' => sub {
    my @ask = (Origin => "http://$host",
               'Access-Control-Request-Method' => 'POST');

    for my $query ('?EIO=4&transport=polling', '', '?transport=foo&EIO=9',
                   '?sid=none&EIO=4&transport=polling')
    {
        my $r = $http->request('OPTIONS', "/socket.io/$query",
                               headers => \@ask);

        is_deeply(
            [ $r->{status}, $r->{headers}{'content-type'}, $r->{body},
              cors($r) ],
            [ 200, 'text/plain', 'OK', {
                origin      => "http://$host",
                credentials => 'true',
                methods     => 'OPTIONS, GET, POST',
                vary        => 'Origin',
            } ], "C116 OPTIONS $query");
    }

    my $r = $http->request('OPTIONS', target('/socket.io/'), headers => [
        @ask, 'Access-Control-Request-Headers' => 'x-token, Content-Type' ]);
    is(cors($r)->{headers}, 'x-token, Content-Type',
       'C116 the headers are echoed');

    $r = $http->get(target('/socket.io/'), Origin => "http://$host",
                    'Access-Control-Request-Headers' => 'x-token');
    is(cors($r)->{headers}, 'x-token', 'C116 also to a GET');

    $r = $http->request('OPTIONS', target('/socket.io/'));
    is_deeply([ $r->{status}, cors($r) ], [ 200, {
        credentials => 'true',
        methods     => 'OPTIONS, GET, POST',
        vary        => 'Origin',
    } ], 'C116 without Origin');

    $r = $http->request('OPTIONS', target('/off/'), headers => \@ask);
    is_deeply(cors($r), {}, 'C116 off');

    my $eio = SIO::EIO->open(port => $nginx->port);
    my $pending = $ways->way->waiting($eio);

    is($http->request('OPTIONS', $eio->url('polling'), headers => \@ask)
       ->{status}, 200, 'C116 of a session');
    $eio->post('40');
    like($pending->wait->{body}, qr/^40\{/, 'C116 which is not disturbed');
};


subtest 'every answer' => sub {
    my @own = (headers => [ Origin => "http://$host" ]);
    my $eio = SIO::EIO->open(port => $nginx->port, path => '/small/', @own);
    my $url = $eio->url('polling');

    my $told = sub {
        my ($name, $status, $r) = @_;

        is_deeply([ $r->{status}, cors($r) ], [ $status, {
            origin      => "http://$host",
            credentials => 'true',
            vary        => 'Origin',
        } ], "C113 $name");
    };

    $told->('handshake', 200, $eio->{response});
    $told->('POST', 200, $eio->post('40'));
    $told->('GET', 200, $eio->get);
    $told->('too large', 413, $eio->post_raw('x' x 11));
    $told->('another method', 405, $http->request('PUT', $url, @own));
    $told->('EIO3', 400, $http->request('GET', $url =~ s/EIO=4/EIO=3/r, @own));
    $told->('two polls', 400, do {
        my $pending = $ways->way->waiting($eio);
        my $r = $eio->get;
        $told->('the first of them', 200, $pending->wait);
        $r;
    });
    $told->('unknown session', 400, $eio->get);
    $told->('unknown transport', 400,
            $http->request('GET', '/socket.io/?EIO=4', @own));
};


subtest 'hostile origins' => sub {
    for my $path ('/socket.io/', '/any/', '/list/', '/off/') {
        for my $value ("http://a\x01b", "http://a\x7fb", "http://a\x1b[31m",
                       "http://a\rSet-Cookie: x=1", "\x01", "http://a\x00b",
                       "http://a\tb")
        {
            my $r = $http->get(target($path), Origin => $value,
                               'X-Forwarded-Host' => $value);

            my $shown = $value =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger;

            # By us or by nginx, and without an echo.
            ok($r->{status} == 400 || $path eq '/off/', "$path $shown");
            is(cors($r)->{origin}, undef, 'is not echoed');
            is($r->{headers}{'set-cookie'}, undef, 'sets no header');
        }

        my $r = $http->get(target($path), Origin => "http://$host",
                           Origin => 'http://evil.example');

        ok($r->{status} == 400 || $path eq '/off/', "$path two origins");
        is(cors($r)->{origin}, undef, 'none of them is echoed');

        $r = $http->request('OPTIONS', target($path), headers => [
            Origin => 'https://a.example',
            'Access-Control-Request-Headers' => "x\x01y" ]);
        is(cors($r)->{headers}, undef, "$path a control character");
    }
};


$ways->run(sub {
    my ($way) = @_;

    my $client = $way->client;
    my $host = '127.0.0.1:' . $way->port;
    my $own = $way->scheme . "://$host";
    my $wrong = ($way->scheme eq 'http' ? 'https' : 'http') . "://$host";

    my $r = $client->get(target('/socket.io/'), Origin => $own);
    is_deeply([ $r->{status}, cors($r) ], [ 200, {
        origin      => $own,
        credentials => 'true',
        vary        => 'Origin',
    } ], 'C113 the same origin');

    is_refused($client->get(target('/socket.io/'), Origin => $wrong),
               'C113 the other scheme');
    is_refused($client->get(target('/socket.io/'), Origin => 'http://evil'),
               'C113 a foreign origin');
    is_refused($client->post(target('/socket.io/'), '40',
                             Origin => 'http://evil'), 'C113 POST');

    $r = $client->get(target('/socket.io/'), Origin => 'https://app.example',
                      'X-Forwarded-Proto' => 'https',
                      'X-Forwarded-Host' => 'app.example');
    is($r->{status}, 200, 'C114 forwarded');

    $r = $client->get(target('/any/'), Origin => 'http://evil');
    is(cors($r)->{origin}, 'http://evil', 'C115 *');

    $r = $client->request('OPTIONS', '/socket.io/', headers => [
        Origin => $own, 'Access-Control-Request-Headers' => 'x-a,x-b' ]);
    is_deeply([ $r->{status}, $r->{body}, cors($r) ], [ 200, 'OK', {
        origin      => $own,
        credentials => 'true',
        methods     => 'OPTIONS, GET, POST',
        headers     => 'x-a,x-b',
        vary        => 'Origin',
    } ], 'C116 preflight');
});


$nginx->stop;

done_testing();
