#!/usr/bin/perl

# The HTTP API: who may call it, what it refuses, and how it says so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::API;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $workers = 4;

my $nginx = SIO::Nginx->new(
    workers => $workers,
    http    => <<'EOS',
    socketio_zone small 1m;

    server {
        listen 127.0.0.1:%%PORT_open%%;

        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
        }

        location /nothing/  { socketio_api; }
        location /off/      { socketio_api; auth_basic off;
                              auth_basic_user_file %%PREFIX%%/users; }
        location /realm/    { socketio_api; auth_basic "no file"; }
        location /allow/    { socketio_api; allow all; }
        location /deny/     { socketio_api; deny all; }
        location /unix/     { socketio_api; allow unix:; }
        location /basic/    { socketio_api; auth_basic "API";
                              auth_basic_user_file %%PREFIX%%/users; }
        location /request/  { socketio_api; auth_request /yes; }
        location /refused/  { socketio_api; auth_request /no; }
        location /any/      { socketio_api; satisfy any; deny all;
                              auth_request /yes; }
        location /keys/     { socketio_api; socketio_api_key first second; }
        location /both/     { socketio_api; socketio_api_key first;
                              deny all; }

        location = /yes     { return 204; }
        location = /no      { return 403; }
    }

    server {
        listen 127.0.0.1:%%PORT_inherit%%;
        allow 127.0.0.1;
        deny all;

        location /_api/     { socketio_api; }
        location /socket.io/ { socketio; }
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        listen 127.0.0.1:%%PORT_plain%%;
        ssl_certificate %%PREFIX%%/cert.pem;
        ssl_certificate_key %%PREFIX%%/key.pem;
        ssl_client_certificate %%PREFIX%%/cert.pem;
        ssl_verify_client on;

        location /_api/     { socketio_api; }
        location /socket.io/ { socketio; }
    }

    server {
        listen 127.0.0.1:%%PORT_h2%% ssl http2;
        ssl_certificate %%PREFIX%%/cert.pem;
        ssl_certificate_key %%PREFIX%%/key.pem;

        location /_api/     { socketio_api; allow all; }
        location /socket.io/ { socketio; }
    }
EOS
    server => <<'EOS',
        allow 127.0.0.1;
        deny all;

        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat ~^/tenant-[0-9]+$;
            socketio_send_buffer 64m;
            socketio_ping_interval 5m;
        }

        location /_api/ {
            socketio_api;
            client_max_body_size 16m;
        }

        location /slashless        { socketio_api; }
        location = /exactly/emit   { socketio_api; }
        location ~ ^/v[12]/push/   { socketio_api; }
        location /file/ {
            socketio_api;
            client_body_in_file_only clean;
        }
        location /few/ {
            socketio_api;
            socketio_max_attachments 2;
        }

        location /small/ {
            socketio_api zone=small;
            client_max_body_size 16m;
        }
        location /small-socket.io/ {
            socketio zone=small;
            socketio_max_payload 10k;
            socketio_send_buffer 64m;
            socketio_ping_interval 5m;
        }
EOS
);

# "secret" for everybody
$nginx->write('users', "user:{PLAIN}secret\n");

my $certificate = SIO::Proc->run([
    qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost),
    '-keyout', $nginx->prefix . '/key.pem',
    '-out', $nginx->prefix . '/cert.pem',
]);

BAIL_OUT("openssl: $certificate->{err}") if $certificate->{status};

# denied on purpose
$nginx->allow(qr/access forbidden by rule/);

$nginx->start;

my $http = SIO::HTTP->new(port => $nginx->port);
my $open = SIO::HTTP->new(port => $nginx->port('open'));


my $api = SIO::API->new(nginx => $nginx);


sub call {
    return $api->call(@_);
}


sub matched {
    return $api->matched(@_);
}


sub error_code {
    return SIO::API::error_code(@_);
}


subtest 'what follows the location is the call' => sub {
    my %body = (body => '{"event":"a"}');

    for my $path (qw(/_api/emit /_api/emit?x=y /_api//emit /slashless/emit
                     /exactly/emit /v1/push/emit /v2/push/a/emit))
    {
        is($http->request('POST', $path, %body)->{status}, 200, $path);
    }

    for my $path (qw(/_api/ /_api/emit/ /_api/emitt /_api/emi /_api/a/emit
                     /_api/EMIT /_api/acks /_api/acks/ /_api/sockets/
                     /_api/rooms/a /_api/emit/a
                     /slashlessemit /slashless /slashless/ /v1/push/
                     /v1/push/x /v1/push/acks /v1/push/rooms/a))
    {
        my $r = $http->request('POST', $path, %body);

        is("$r->{status} " . error_code($r), '404 not_found', $path);
        is($r->{headers}{'content-type'}, 'application/json', 'in JSON');
    }
};


subtest 'what follows the call' => sub {
    my $token = ('x' x 20) . '.1';

    for my $path ("/_api/acks/$token", "/slashless/acks/$token",
                  "/v1/push/acks/$token", "/v2/push/a/acks/$token",
                  "/_api//acks//$token", "/_api/%61cks/$token")
    {
        my $r = $http->request('POST', $path, body => '{}');

        is("$r->{status} " . error_code($r), '410 gone', $path);
    }

    for my $path (qw(/_api/sockets/a /slashless/sockets/a /v1/push/sockets/a
                     /_api/sockets/a%20b /_api/sockets/a/b /_api/sockets/%22))
    {
        my $r = $http->get($path);

        is("$r->{status} " . error_code($r), '404 unknown_socket', $path);
    }

    is($http->get('/v1/push/rooms')->{status}, 200, 'lists, anywhere');
};


subtest 'other methods than POST' => sub {
    for my $call (qw(emit join leave disconnect batch acks/a)) {
        for my $method (qw(GET PUT DELETE OPTIONS PATCH)) {
            my $r = $http->request($method, "/_api/$call");

            is("$r->{status} " . error_code($r), '405 method_not_allowed',
               "$method $call");
            is($r->{headers}{allow}, 'POST', 'Allow');
        }

        my $r = $http->request('HEAD', "/_api/$call");

        is($r->{status}, 405, "HEAD $call");
        ok($r->{headers}{'content-length'} > 0 && $r->{body} eq '',
           'has no body');
    }
};


subtest 'other methods than GET and HEAD' => sub {
    for my $call (qw(sockets sockets/a rooms)) {
        for my $method (qw(POST PUT DELETE OPTIONS PATCH)) {
            my $r = $http->request($method, "/_api/$call");

            is("$r->{status} " . error_code($r), '405 method_not_allowed',
               "$method $call");
            is($r->{headers}{allow}, 'GET, HEAD', 'Allow');
        }
    }

    my $r = $http->request('HEAD', '/_api/rooms');

    is($r->{status}, 200, 'HEAD rooms');
    is($r->{headers}{'content-length'}, length '{"rooms":[],"complete":true}',
       'as long as the answer to a GET');
    is($r->{headers}{'content-type'}, 'application/json', 'and of its type');
    is($r->{body}, '', 'without the body');
};


subtest 'the form of answers' => sub {
    my $r = $http->post('/_api/emit', '{"event":"a"}');

    is($r->{body}, '{"matched":0}', 'compact');
    is($r->{headers}{'content-type'}, 'application/json', 'type');
    is($r->{headers}{'content-length'}, length $r->{body}, 'length');

    $r = $http->post('/_api/emit', '{"event":"a","namespace":"/\"\\\\\u0001"}');

    is($r->json->{error}{message},
       "no location declares the namespace \"/\"\\\x01\"",
       'what came from the caller is escaped');
};


subtest 'an API that nothing protects refuses everything' => sub {
    my $body = '{"event":"a"}';
    my $auth = 'Basic ' . encode_base64('user:secret', '');

    for my $case (
        [ '/nothing/'  => '403 forbidden' ],
        [ '/off/'      => '403 forbidden' ],
        [ '/realm/'    => '403 forbidden' ],
        [ '/allow/'    => '200' ],
        [ '/deny/'     => '403 (no code)' ],
        [ '/unix/'     => '200' ],
        [ '/basic/'    => '401 (no code)' ],
        [ '/basic/'    => '200', Authorization => $auth ],
        [ '/request/'  => '200' ],
        [ '/refused/'  => '403 (no code)' ],
        [ '/any/'      => '200' ],
    ) {
        my ($location, $expected, @headers) = @$case;

        my $r = $open->post("${location}emit", $body, @headers);
        my $got = $r->{status};

        $got .= ' ' . error_code($r) if $got != 200;

        is($got, $expected, $location . (@headers ? ' with a password' : ''));
    }

    is(SIO::HTTP->new(port => $nginx->port('inherit'))
       ->post('/_api/emit', $body)->{status}, 200, 'rules of the server');

    my $kept = SIO::HTTP->new(port => $nginx->port('open'), keepalive => 1);
    my $lines = sub {
        return scalar(() = $nginx->log =~
            m{"socketio_api" in "[^"]*/nothing/" refuses all calls}g);
    };

    $kept->post('/nothing/emit', $body);

    my $before = $lines->();

    cmp_ok($before, '>', 0, 'the error log says so');

    $kept->post('/nothing/emit', $body) for 1 .. 10;

    is($lines->(), $before, 'once');
};


subtest 'a verified certificate protects, too' => sub {
    my @curl = (qw(curl -sk -o /dev/null -w %{http_code} -d {"event":"a"}));
    my $url = 'https://127.0.0.1:' . $nginx->port('tls') . '/_api/emit';
    my $prefix = $nginx->prefix;

    my $r = SIO::Proc->run([ @curl, '--cert', "$prefix/cert.pem", '--key',
                             "$prefix/key.pem", $url ]);

    is($r->{out}, 200, 'with the certificate');

    $r = SIO::Proc->run([ @curl, $url ]);

    is($r->{out}, 400, 'without it');

    is(SIO::HTTP->new(port => $nginx->port('plain'))
       ->post('/_api/emit', '{"event":"a"}')->{status}, 403, 'without TLS');
};


# From an address that may call, with a type that needs no preflight.

subtest 'browsers that pages of others have told to call' => sub {
    my $body = '{"event":"a"}';
    my $own = 'http://127.0.0.1:' . $nginx->port('open');
    my $auth = 'Basic ' . encode_base64('user:secret', '');

    for my $location (qw(allow basic request any)) {
        my @headers = ('Content-Type' => 'text/plain',
                       Authorization  => $auth);

        for my $origin ('http://evil.example', 'null', "$own.evil.example",
                        'https' . substr $own, 4)
        {
            my $r = $open->post("/$location/emit", $body, @headers,
                                Origin => $origin);

            is($r->{status}, 403, "$location, $origin");
            is(error_code($r), 'forbidden', 'code');
        }

        is($open->post("/$location/emit", $body, @headers, Origin => $own)
           ->{status}, 200, "$location, a page of this server");
        is($open->post("/$location/emit", $body, @headers, Origin => $own,
                       Origin => 'http://evil.example')->{status}, 403,
           "$location, two of them");
    }

    is($open->post('/keys/emit', $body, Authorization => 'Bearer first',
                   Origin => 'http://evil.example')->{status}, 200,
       'a key is not sent by itself');
};


subtest 'keys' => sub {
    for my $case (
        [ 200 ],
        [ 200, 'Bearer first' ],
        [ 200, 'Bearer second' ],
        [ 200, 'bearer first' ],
        [ 200, 'BEARER   second' ],
        [ 401, undef ],
        [ 401, '' ],
        [ 401, 'Bearer' ],
        [ 401, 'Bearer ' ],
        [ 401, 'Bearer firs' ],
        [ 401, 'Bearer first2' ],
        [ 401, 'Bearer First' ],
        [ 401, 'Bearer first second' ],
        [ 401, 'first' ],
        [ 401, 'Bearerfirst' ],
        [ 401, 'Basic first' ],
        [ 401, 'Basic ' . encode_base64('x:first', '') ],
    ) {
        my ($status, $value) = @$case;

        $value = 'Bearer first' if @$case == 1;

        my $r = $open->post('/keys/emit', '{"event":"a"}',
                            Authorization => $value);

        is($r->{status}, $status, $value // '(none)');

        next if $status == 200;

        is($r->{headers}{'www-authenticate'}, 'Bearer', 'WWW-Authenticate');
        is(error_code($r), 'unauthorized', 'code');
    }

    is($open->post('/keys/nonsense', '{}')->{status}, 401,
       'who has no key learns nothing');

    my $r = $open->post('/both/emit', '{"event":"a"}',
                        Authorization => 'Bearer first');

    is($r->{status}, 403, 'a key does not override the access rules');
};


my $long = 'x' x 256;
my $name = 'x' x 255;

subtest 'mistakes are explained' => sub {
    my @emit = (
        [ '',                   qr/JSON/ ],
        [ ' ',                  qr/JSON/ ],
        [ '{',                  qr/JSON/ ],
        [ '{"event":"a"',       qr/JSON/ ],
        [ '{"event":"a"}x',     qr/JSON/ ],
        [ '{"event":"a",}',     qr/JSON/ ],
        [ "{'event':'a'}",      qr/JSON/ ],
        [ '{"event":"a","args":[01]}', qr/JSON/ ],
        [ '{"event":"a","args":[NaN]}', qr/JSON/ ],
        [ "\xef\xbb\xbf{\"event\":\"a\"}", qr/JSON/ ],
        [ '{"event":"a","args":' . '[' x 100 . ']' x 100 . '}', qr/deep/ ],
        [ "{\"event\":\"\xff\"}",         qr/UTF-8/ ],
        [ "{\"event\":\"\xed\xa0\x80\"}", qr/UTF-8/ ],
        [ '[]',                 qr/object/ ],
        [ 'null',               qr/object/ ],
        [ '"emit"',             qr/object/ ],
        [ '{}',                 qr/"event" is missing/ ],
        [ '{"event":null}',     qr/"event" is missing/ ],
        [ '{"event":1}',        qr/"event" must be a string/ ],
        [ '{"event":["a"]}',    qr/"event" must be a string/ ],
        [ '{"event":"a","args":"b"}',     qr/"args" must be a list/ ],
        [ '{"event":"a","args":{"b":1}}', qr/"args" must be a list/ ],
        [ '{"event":"a","to":1}',         qr/"to" must be a string or a/ ],
        [ '{"event":"a","to":[1]}',       qr/"to" must be a string or a/ ],
        [ '{"event":"a","to":["a",["b"]]}', qr/"to" must be a string or/ ],
        [ '{"event":"a","to":{"a":1}}',   qr/"to" must be a string or a/ ],
        [ '{"event":"a","to":""}',        qr/"to" must not be an empty/ ],
        [ qq({"event":"a","to":"$long"}), qr/"to" is longer than 255/ ],
        [ '{"event":"a","except":true}',  qr/"except" must be a string or/ ],
        [ qq({"event":"a","except":["$long"]}), qr/"except" is longer/ ],
        [ '{"event":"a","namespace":"chat"}', qr/"namespace" must begin/ ],
        [ '{"event":"a","namespace":1}',  qr/"namespace" must be a string/ ],
        [ '{"event":"a","namespace":""}', qr/"namespace" must not be an/ ],
        [ qq({"event":"a","namespace":"/$long"}), qr/"namespace" is longer/ ],
        [ '{"event":"a","volatile":1}',   qr/"volatile" must be true or/ ],
        [ '{"event":"a","ack":1}',        qr/"ack" must be true or false/ ],
        [ '{"event":"a","ack":"token"}',  qr/"ack" must be true or false/ ],
        [ '{"event":"a","ack":true}',     qr/"timeout" must be a number/ ],
        map({
            [ qq({"event":"a","ack":true,"timeout":$_}),
              qr/"timeout" must be a number of milliseconds from 1 to 600000/ ]
        } qw(0 -1 1.5 1e3 "5" null true 600001 99999999999999999999 [1])),
        [ '{"event":"a","attachments":"AAAA"}', qr/"attachments" must be/ ],
        [ '{"event":"a","attachments":["A"]}',  qr/"attachments" must be/ ],
        [ '{"event":"a","attachments":["AA-_"]}', qr/"attachments" must be/ ],
        [ '{"event":"a","args":[{"_placeholder":true,"num":1}],'
          . '"attachments":["AAAA"]}', qr/do not match the placeholders/ ],
        [ $json->encode({ event => 'a', args => [ map {
              { _placeholder => JSON::PP::true, num => $_ }
          } 0 .. 10 ], attachments => [ ('AAAA') x 11 ] }),
          qr/"attachments" are more than socketio_max_attachments/ ],
        map {
            [ qq({"event":"$_"}), qr/"$_" is a reserved event name/ ],
        } qw(connect connect_error disconnect disconnecting newListener
             removeListener),
    );

    my @rooms = (
        [ '{}',                           qr/"in" must be a string or a list/ ],
        [ '{"rooms":["a"]}',              qr/"in" must be a string or a list/ ],
        [ '{"in":null,"rooms":["a"]}',    qr/"in" must be a string or a list/ ],
        [ '{"in":1,"rooms":["a"]}',       qr/"in" must be a string or a list/ ],
        [ qq({"in":"$long","rooms":[]}),  qr/"in" is longer than 255/ ],
        [ '{"in":"a"}',                   qr/"rooms" must be a string or a/ ],
        [ '{"in":"a","rooms":null}',      qr/"rooms" must be a string or a/ ],
        [ '{"in":"a","rooms":[false]}',   qr/"rooms" must be a string or a/ ],
        [ '{"in":"a","rooms":[""]}',      qr/"rooms" must not be an empty/ ],
        [ qq({"in":"a","rooms":["$long"]}), qr/"rooms" is longer than 255/ ],
        [ '{"in":"a","rooms":["b"],"namespace":"x"}', qr/"namespace" must/ ],
    );

    my @disconnect = (
        [ '{}',                           qr/"in" must be a string or a list/ ],
        [ '{"close":true}',               qr/"in" must be a string or a list/ ],
        [ '{"in":"a","close":1}',         qr/"close" must be true or false/ ],
        [ '{"in":"a","close":"true"}',    qr/"close" must be true or false/ ],
        [ '{"in":[{}]}',                  qr/"in" must be a string or a list/ ],
    );

    for my $case ((map { [ emit       => @$_ ] } @emit),
                  (map { [ join       => @$_ ] } @rooms),
                  (map { [ leave      => @$_ ] } @rooms),
                  (map { [ disconnect => @$_ ] } @disconnect))
    {
        my ($call, $body, $message) = @$case;

        my $r = $http->post("/_api/$call", $body);
        my $title = "$call " . substr $body, 0, 60;

        is("$r->{status} " . error_code($r), '400 bad_request', $title);
        like($r->json->{error}{message}, $message, 'says why')
            if $r->{status} == 400;
    }

    my $three = $json->encode({
        event => 'a', attachments => [ ('AAAA') x 3 ],
        args  => [ map { { _placeholder => JSON::PP::true, num => $_ } }
                   0 .. 2 ],
    });

    is(call('/few/emit', $three), '400 bad_request',
       'socketio_max_attachments of the location');
    is(matched('emit', $three), 0, 'and of another');
};


subtest 'what is no mistake' => sub {
    for my $case (
        [ emit => '{"event":"a","args":[],"to":[],"except":[]}' ],
        [ emit => '{"event":"a","args":null,"to":null,"except":null,'
                  . '"namespace":null,"volatile":null,"attachments":null,'
                  . '"ack":null}' ],
        [ emit => '{"event":"a","ack":false,"timeout":5000}' ],
        [ emit => '{"event":"a","ack":false,"timeout":"x"}' ],
        [ emit => '{"event":"a","ack":null,"timeout":0}' ],
        [ emit => "\r\n\t {\"event\" : \"a\"} \n" ],
        [ emit => '{"event":"a","unknown":[{"x":1}]}' ],
        [ emit => '{"event":"connect","event":"a"}' ],
        [ emit => '{"event":"connection"}' ],
        [ emit => '{"event":"error"}' ],
        [ emit => '{"event":""}' ],
        [ emit => '{"\u0065vent":"a"}' ],
        [ emit => qq({"event":"a","to":"$name","except":["$name"]}) ],
        [ emit => '{"event":"a","to":"nobody"}' ],
        [ emit => '{"event":"a","namespace":"/chat"}' ],
        [ emit => '{"event":"a","namespace":"/tenant-7"}' ],
        [ emit => '{"event":"a","args":' . '[' x 60 . ']' x 60 . '}' ],
        [ join => '{"in":[],"rooms":["a"]}' ],
        [ join => '{"in":"a","rooms":[]}' ],
        [ leave => qq({"in":"a","rooms":"$name"}) ],
        [ disconnect => '{"in":[]}' ],
        [ disconnect => '{"in":"a","close":null}' ],
    ) {
        my ($call, $body) = @$case;

        is_deeply(call($call, $body), { matched => 0 },
                  "$call " . substr $body, 0, 60);
    }
};


subtest 'namespaces that no location declares' => sub {
    for my $nsp (qw(/other /chat/ /tenant- /tenant-x /Chat)) {
        for my $call (qw(emit join leave disconnect)) {
            is(call($call, { event => 'a', in => [], rooms => [],
                             namespace => $nsp }),
               '400 unknown_namespace', "$call in $nsp");
        }
    }

    is(call('/small/emit', { event => 'a', namespace => '/chat' }),
       '400 unknown_namespace', 'another zone has declared it');

    my $mark = $nginx->mark;

    is(call('emit', { event => 'a', namespace => "/x\nforged" }),
       '400 unknown_namespace', 'one of two lines');
    like(substr($nginx->log, $mark), qr/declares the namespace "\/x\?forged"/,
         'which is one in the log');
};


subtest 'bodies, wherever nginx has put them' => sub {
    my $body = $json->encode({ event => 'a', args => [ 'x' x 100_000 ] });

    for my $location ('/_api/', '/file/') {
        is_deeply(call("${location}emit", $body), { matched => 0 },
                  "$location large");
        is_deeply(call("${location}emit", '{"event":"a"}'), { matched => 0 },
                  "$location small");
        is($http->post("${location}emit", '')->{status}, 400,
           "$location empty");
        is($http->request('POST', "${location}emit", headers => [])->{status},
           400, "$location none");

        for my $chunk (7, 1000, 30_000) {
            my $r = $http->request('POST', "${location}emit", body => $body,
                                   chunked => $chunk);

            is($r->{body}, '{"matched":0}', "$location in chunks of $chunk");
        }

        my $r = $http->request('POST', "${location}emit", body => $body,
                               split => [ 1, 30, 200, 50_000, 90_000 ]);

        is($r->{body}, '{"matched":0}', "$location in pieces");
    }

    for my $type ('text/plain', 'application/x-www-form-urlencoded', '',
                  undef)
    {
        my $r = $http->post('/_api/emit', '{"event":"a"}',
                            'Content-Type' => $type);

        is($r->{status}, 200, 'type ' . ($type // '(none)'));
    }

    my $r = $http->request('POST', '/_api/emit', body => $body,
                           headers => [ Expect => '100-continue' ]);

    is($r->{status}, 200, '100-continue');
};


# The small zone takes less than 200 kB at once.

subtest 'bodies beyond what the log takes' => sub {
    my $body = $json->encode({ event => 'a', args => [ 'x' x 400_000 ] });
    my $kept = SIO::HTTP->new(port => $nginx->port, keepalive => 1);

    my $r = $kept->post('/small/emit', $body);

    is("$r->{status} " . error_code($r), '413 too_large', 'by its length');
    is(call('/small/emit', '{"event":"a"}', http => $kept)->{matched}, 0,
       'the next call is not disturbed');

    $r = $kept->request('POST', '/small/emit', body => $body, chunked => 9000);

    is("$r->{status} " . error_code($r), '413 too_large', 'in chunks');
    is(call('/small/emit', '{"event":"a"}', http => $kept)->{matched}, 0,
       'the next call is not disturbed');

    # between what an entry takes and what could be one, were it base64
    my ($fits, $not) = (1000, 400_000);

    while ($not - $fits > 1) {
        my $size = int(($fits + $not) / 2);
        my $status = $kept->post('/small/emit', $json->encode({
                         event => 'a', args => [ 'x' x $size ] }))->{status};

        if ($status == 200) {
            $fits = $size;

        } else {
            $not = $size;
            is($status, 413, "$size bytes");
        }
    }

    cmp_ok($fits, '>', 50_000, "$fits bytes fit, one more does not");
};


subtest 'errors leave the connection usable' => sub {
    my $kept = SIO::HTTP->new(port => $nginx->port, keepalive => 1);
    my $c;

    for my $case (
        [ POST => '/_api/nonsense', 404 ],
        [ PUT  => '/_api/emit', 405 ],
        [ POST => '/_api/emit', 400 ],
        [ POST => '/_api/rooms', 405 ],
        [ GET  => '/_api/rooms', 200 ],
        [ GET  => '/_api/rooms?limit=x', 400 ],
        [ GET  => '/_api/sockets/a', 404 ],
        [ POST => '/_api/acks/a', 400, '{}' ],
        [ POST => '/_api/batch', 400, '{}' ],
    ) {
        my ($method, $path, $status, $body) = @$case;

        $body //= 'x' x 20_000;

        is($kept->request($method, $path, body => $body)->{status}, $status,
           "$method $path");

        $c //= $kept->{connection};

        is(call(emit => '{"event":"a"}', http => $kept)->{matched}, 0,
           'the next call');
        is($kept->{connection}, $c, 'on the same connection');
    }

    my $key = SIO::HTTP->new(port => $nginx->port('open'), keepalive => 1);

    is($key->post('/keys/emit', 'x' x 20_000)->{status}, 401, 'without a key');
    $c = $key->{connection};
    is($key->post('/keys/emit', '{"event":"a"}',
                  Authorization => 'Bearer first')->{status}, 200, 'with it');
    is($key->{connection}, $c, 'on the same connection');
};


subtest 'a thousand calls on one connection' => sub {
    my $kept = SIO::HTTP->new(port => $nginx->port, keepalive => 1);
    my ($good, %connections) = (0);

    for my $i (1 .. 1000) {
        my $answer = call(emit => { event => 'a', args => [ $i ] },
                          http => $kept);

        $good++ if ref $answer && $answer->{matched} == 0;
        $connections{ $kept->{connection} } = 1;
    }

    is($good, 1000, 'answered');
    is(keys %connections, 1, 'one connection');

    # several in one segment
    my $c = SIO::HTTP->new(port => $nginx->port, keepalive => 1)
            ->start('POST', '/_api/emit', body => '{"event":"a"}');

    my $request = join "\r\n", 'POST /_api/emit HTTP/1.1', 'Host: a',
                               'Content-Length: 13', '', '{"event":"a"}';

    $c->write($request x 20);

    my $answers = 0;

    for (1 .. 21) {
        $c->{method} = 'POST';

        my $r = $c->wait // last;

        $answers++ if $r->{body} eq '{"matched":0}';
    }

    is($answers, 21, 'in a row');
};


subtest 'HTTP/2' => sub {
    my $url = 'https://127.0.0.1:' . $nginx->port('h2') . '/_api/';
    my @curl = (qw(-sk --http2 -w),
                '%{http_code} %{http_version}\n');

    my $r = SIO::Proc->run([ 'curl', @curl, '-d', '{"event":"a"}',
                             "${url}emit" ]);

    like($r->{out}, qr/^\{"matched":0\}200 2$/m, 'emit');

    $r = SIO::Proc->run([ 'curl', @curl, '-d', 'x', "${url}emit",
                          '--next', @curl, "${url}emit",
                          '--next', @curl, '-d', '{"event":"a"}',
                          "${url}emit" ]);

    like($r->{out}, qr/bad_request.*400 2\n.*method_not.*405 2\n.*:0\}200 2\n/,
         'mistakes, and on');

    my $file = $nginx->write('large.json', $json->encode({
        event => 'a', args => [ 'x' x 300_000 ] }));

    $r = SIO::Proc->run([ 'curl', @curl, '--data-binary', "\@$file",
                          "${url}emit" ]);

    like($r->{out}, qr/^\{"matched":0\}200 2$/m, 'a large body');
};


$nginx->stop;

done_testing;
