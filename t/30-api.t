#!/usr/bin/perl

# The HTTP API: who may call it, what it refuses, whom an emit, join, leave or
# disconnect reaches on all workers, and whether the number it tells is true.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(time);

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


# A call and its answer, decoded; the location is /_api/ unless given.

sub call {
    my ($call, $body, %option) = @_;

    my $r = ($option{http} // $http)->request('POST', path($call),
        headers => $option{headers} // [],
        body    => ref $body ? $json->encode($body) : $body,
    );

    return $r->{status} == 200 ? $r->json
                               : "$r->{status} " . error_code($r);
}


sub path {
    my ($call) = @_;

    return $call =~ m{^/} ? $call : "/_api/$call";
}


sub error_code {
    my ($r) = @_;

    my $body = eval { $r->json } // {};

    return ref $body eq 'HASH' && $body->{error}{code} // "(no code)";
}


sub matched {
    my ($call, $body, %option) = @_;

    my $answer = call($call, $body, %option);

    return ref $answer ? $answer->{matched} : $answer;
}


subtest 'what follows the location is the call' => sub {
    my %body = (body => '{"event":"a"}');

    for my $path (qw(/_api/emit /_api/emit?x=y /_api//emit /slashless/emit
                     /exactly/emit /v1/push/emit /v2/push/a/emit))
    {
        is($http->request('POST', $path, %body)->{status}, 200, $path);
    }

    for my $path (qw(/_api/ /_api/emit/ /_api/emitt /_api/emi /_api/a/emit
                     /_api/EMIT /_api/acks /_api/sockets /slashlessemit
                     /slashless /slashless/ /v1/push/ /v1/push/x))
    {
        my $r = $http->request('POST', $path, %body);

        is("$r->{status} " . error_code($r), '404 not_found', $path);
        is($r->{headers}{'content-type'}, 'application/json', 'in JSON');
    }
};


subtest 'other methods than POST' => sub {
    for my $call (qw(emit join leave disconnect)) {
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

    is(call(emit => '{"event":"a","ack":true,"timeout":100}'),
       '501 not_implemented', 'waiting for acknowledgements');

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
        [ POST => '/_api/emit', 501, '{"event":"a","ack":"t"}' ],
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

    # nginx closes a connection after keepalive_requests, 1000
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


# From here on there are clients.  Each has its session in the worker that we
# choose; polls may come to any.

my %home;       # client => pid of the worker that has the session

sub client {
    my ($pid, $transport, $nsp, %option) = @_;

    my $at = $nginx->connect_to($pid);
    my $eio;

    if ($transport eq 'polling') {
        $eio = SIO::EIO->open(http => $at, %option);
        $eio->{http} = SIO::HTTP->new(port => $nginx->port);

    } else {
        $eio = SIO::EIO->new(port => $nginx->port, %option);
        $eio->{ws} = $eio->websocket(http => $at);
        $eio->opened($eio->{ws}->recv);
    }

    my $c = SIO::Client->new(session => $eio);

    $c->{nsp} = $nsp;
    $c->join($nsp);

    $home{$c} = $pid;

    return $c;
}


# What clients have got until now: the log has one order, so everything that
# was emitted before the mark has arrived when the mark has.

my $marks = 0;

sub received {
    my (@clients) = @_;

    my $mark = 'mark ' . ++$marks;
    my %nsp = map { $_->{nsp} => 1 } @clients;

    call('emit', { event => $mark, namespace => $_ }) for keys %nsp;

    return map { events($_, $mark) } @clients;
}


sub events {
    my ($c, $mark) = @_;

    my @events;

    while (my $packet = $c->packet) {
        my $event = $packet->{data};

        return \@events if $event->[0] eq $mark;

        # marks for others in the same namespace
        push @events, $event if $event->[0] !~ /^mark \d+$/;
    }

    return [ @events, 'the mark did not come' ];
}


sub sids {
    return [ map { $_->sid($_->{nsp}) } @_ ];
}


# A call, how many it shall match, and which of the clients shall get it.

sub reaches {
    my ($title, $all, $expected, %target) = @_;

    my $event = delete $target{event} // 'event';
    my $matched = matched('emit', { event => $event, args => [ $title ],
                                    %target });

    is($matched, @$expected, "$title: matched");

    my %expected = map { $_ => 1 } @$expected;
    my @got = received(@$all);
    my @wrong;

    for my $i (0 .. $#$all) {
        my $want = $expected{$all->[$i]} ? [ [ $event, $title ] ] : [];

        push @wrong, "client $i: " . $json->encode($got[$i])
            if $json->encode($got[$i]) ne $json->encode($want);
    }

    is("@wrong", '', "$title: received, once, by these and no others");
}


my @pids = $nginx->workers;
my (@all, @ws, @polling, @chat);

for my $pid (@pids) {
    push @ws, client($pid, 'websocket', '/') for 1 .. 2;
    push @polling, client($pid, 'polling', '/');
    push @chat, client($pid, 'websocket', '/chat');
}

@all = (@ws, @polling);


subtest 'everybody, on all workers' => sub {
    is(keys %{ { map { $_ => 1 } values %home } }, $workers,
       'the clients are spread');

    reaches('no "to"', \@all, \@all);
    reaches('an empty list', \@all, \@all, to => []);
    reaches('null', \@all, \@all, to => undef, except => undef);
    reaches('"/" by name', \@all, \@all, namespace => '/');
    reaches('another namespace', [ @all, @chat ], \@chat,
            namespace => '/chat');
    reaches('a namespace without clients', [ @all, @chat ], [],
            namespace => '/tenant-1');

    for my $pid (@pids) {
        my $at = $nginx->connect_to($pid);

        is(matched('emit', { event => 'x' }, http => $at), @all,
           'asked at any worker');
    }

    received(@all);
};


my %even = map { $all[$_] => 1 } grep { $_ % 2 == 0 } 0 .. $#all;
my @even = grep { $even{$_} } @all;
my @odd = grep { !$even{$_} } @all;

subtest 'rooms' => sub {
    is(matched('join', { in => sids(@even), rooms => [ 'even', 'both' ] }),
       @even, 'join by sids');
    is(matched('join', { in => sids(@odd), rooms => 'odd' }), @odd,
       'a single room as a string');
    is(matched('join', { in => 'odd', rooms => 'both' }), @odd,
       'join by a room');
    is(matched('join', { in => 'odd', rooms => 'both' }), @odd,
       'twice is no error');
    is(matched('join', { in => [], rooms => 'everybody' }), @all,
       'an empty list is everybody');
    is(matched('join', { in => 'nobody', rooms => 'x' }), 0, 'an empty room');
    is(matched('join', { in => sids($chat[0]), rooms => 'even' }), 0,
       'a sid of another namespace');
    is(matched('join', { in => sids($chat[0]), rooms => 'even',
                         namespace => '/chat' }), 1, 'in its own namespace');

    my $unicode = "r\x{e4}um \x{1f600}\x00\"\\";

    is(matched('join', { in => sids($all[0]), rooms => [ $unicode ] }), 1,
       'any characters');

    reaches('a room', [ @all, @chat ], \@even, to => 'even');
    reaches('the room of that name elsewhere', [ @all, @chat ], [ $chat[0] ],
            to => 'even', namespace => '/chat');
    reaches('a list', \@all, \@odd, to => [ 'odd' ]);
    reaches('a sid', \@all, [ $all[3] ], to => sids($all[3])->[0]);
    reaches('sids on several workers', \@all, [ @all[1, 4, 7, 9] ],
            to => sids(@all[1, 4, 7, 9]));
    reaches('C110: in several rooms, once', \@all, \@all,
            to => [ 'even', 'odd', 'both', 'everybody', @{ sids(@all) } ]);
    reaches('C110: the same room twice', \@all, \@even,
            to => [ 'even', 'even' ]);
    reaches('a room and a sid', \@all, [ @even, $odd[2] ],
            to => [ 'even', sids($odd[2])->[0] ]);
    reaches('an unknown room', \@all, [], to => 'nobody');
    reaches('any characters', \@all, [ $all[0] ], to => $unicode);
    reaches('C110: except a room', \@all, \@odd, except => 'even');
    reaches('except a sid', \@all, [ @all[1 .. $#all] ],
            except => sids($all[0])->[0]);
    reaches('except several', \@all, [ @odd[2 .. $#odd] ],
            to => 'both', except => [ 'even', @{ sids(@odd[0, 1]) } ]);
    reaches('except all', \@all, [], except => [ 'even', 'odd' ]);
    reaches('except nobody', \@all, \@all, except => [ 'nobody' ]);
    reaches('except has priority', \@all, [], to => 'even',
            except => 'even');
};


subtest 'leaving rooms' => sub {
    is(matched('leave', { in => sids($even[0]), rooms => 'both' }), 1,
       'by sid');
    reaches('one has left', \@all,
            [ grep { $_ != $even[0] } @all ], to => 'both');

    is(matched('leave', { in => 'even', rooms => [ 'even', 'both' ] }),
       @even, 'by the room that is left');
    reaches('all have left', \@all, [], to => 'even');
    reaches('both rooms', \@all, \@odd, to => 'both');

    is(matched('leave', { in => 'odd', rooms => 'never joined' }), @odd,
       'matched, though nothing was left');
    is(matched('leave', { in => [], rooms => 'everybody' }), @all,
       'an empty list is everybody');
    reaches('nobody is left', \@all, [], to => 'everybody');

    # every socket is in the room of its sid, and can leave that, too
    my $sid = sids($all[5])->[0];

    is(matched('leave', { in => $sid, rooms => $sid }), 1, 'its own room');
    reaches('has left its own room', \@all, [], to => $sid);
    is(matched('join', { in => 'odd', rooms => $sid }), @odd,
       'a sid as a room');
    reaches('a sid as a room', \@all, \@odd, to => $sid);
    is(matched('leave', { in => 'odd', rooms => $sid }), @odd, 'and out');
};


subtest 'arguments arrive with their bytes' => sub {
    my $raw = '[1.0, 12345678901234567890,-0,1e400 ,"\u00e9\/",'
              . '{"b":1,"a":2,"b":3},[],{} , null]';

    call('emit', qq({"event":"r\\u0061w","args":$raw,"to":["odd"]}));

    my $inside = substr $raw, 1, -1;

    for my $c (@odd) {
        my $packet = $c->packet;

        like($packet->{text}, qr/^42\["(?:raw|r\\u0061w)",\Q$inside\E\]\z/,
             $c->eio->{ws} ? 'WebSocket' : 'polling');
    }

    call('emit', '{"event":"bare","to":"odd"}');
    is($_->packet->{text}, '42["bare"]', 'no arguments') for @odd[0, -1];

    call('emit', '{"event":"chat","args":[1],"namespace":"/chat"}');
    is($_->packet->{text}, '42/chat,["chat",1]', 'namespace') for @chat[0, 1];

    received(@all, @chat);
};


subtest 'attachments' => sub {
    my @octets = ("\x00\x01\xff", '', join '', map { chr } 0 .. 255);

    is(matched('emit', {
        event       => 'files',
        args        => [ 'a', { b => [ { _placeholder => JSON::PP::true,
                                         num => 0 } ] },
                         map { { _placeholder => JSON::PP::true,
                                 num => $_ } } 1, 2, 0 ],
        attachments => [ map { encode_base64($_, '') } @octets ],
    }), @all, 'matched');

    for my $c (@all) {
        my $packet = $c->packet;

        is($packet->{type}, 5, 'a binary event');
        is($packet->{expected}, 3, 'three attachments');
        ok($json->encode([ map { unpack 'H*', $_ }
                           @{ $packet->{attachments} } ])
           eq $json->encode([ map { unpack 'H*', $_ } @octets ]),
           $c->eio->{ws} ? 'WebSocket' : 'polling');
    }
};


subtest 'volatile' => sub {
    my $emit = sub {
        return matched('emit', { event => $_[0], to => sids($_[1]),
                                 volatile => JSON::PP::true });
    };

    for my $c (@polling) {
        $emit->(dropped => $c) for 1 .. 3;

        is_deeply(received($c), [], 'C111: without a waiting poll');

        # a poll that waits in whichever worker it came to
        my $poll = $c->eio->{pending} = $c->eio->get_start;

        ok(!$poll->ready, 'a poll waits');

        # that it waits where its session is, is seen by nobody but the session
        wait_until(2, sub { select undef, undef, undef, 0.1; 1 });

        is($emit->(one => $c), 1, 'matched');
        is_deeply($c->event('one'), [ 'one' ], 'with a waiting poll');

        $emit->(two => $c);
        is_deeply(received($c), [], 'the poll was used up');
    }

    for my $c (@ws[0, -1]) {
        $emit->(one => $c);
        is_deeply($c->event('one'), [ 'one' ], 'an idle WebSocket');
    }
};


# Callers at all workers, clients at all workers: one order for all of them.

subtest 'one order' => sub {
    my @callers = map { $nginx->connect_to($_) } @pids, @pids;
    my $rounds = 50;
    my $wrong = 0;

    for my $round (1 .. $rounds) {
        my @calls = map {
            my $room = $_ % 2 ? 'odd' : undef;

            $callers[$_]->start('POST', '/_api/emit', body => $json->encode({
                event => 'n', args => [ $_, $round ],
                $room ? (to => $room) : (),
            }));
        } 0 .. $#callers;

        for my $i (0 .. $#calls) {
            my $r = $calls[$i]->wait;

            $wrong++ if $r->{status} != 200 || $r->json->{matched}
                        != ($i % 2 ? @odd : @all);
        }
    }

    is($wrong, 0, 'all matched');

    my %seen;
    my @got = received(@all);

    for my $i (0 .. $#all) {
        my $c = $all[$i];
        my $kind = $even{$c} ? 'not in the room' : 'in the room';

        is(@{ $got[$i] }, $rounds * ($even{$c} ? 4 : 8), 'all have come');
        $seen{$kind}{ $json->encode($got[$i]) }++;
    }

    for my $kind (sort keys %seen) {
        is(keys %{ $seen{$kind} }, 1, "$kind: all in the same order");
    }

    my ($odd) = grep { !$even{$all[$_]} } 0 .. $#all;
    my ($even) = grep { $even{$all[$_]} } 0 .. $#all;

    is($json->encode([ grep { $_->[1] % 2 == 0 } @{ $got[$odd] } ]),
       $json->encode($got[$even]), 'and the same without the room');

    my %last;

    is(scalar(grep { $_->[2] != ++$last{$_->[1]} } @{ $got[$odd] }), 0,
       'each caller in its own order');
};


subtest 'many callers at once' => sub {
    my $clients = SIO::HTTP->new(port => $nginx->port);

    for my $round (1 .. 3) {
        my @calls = map {
            $clients->start('POST', '/_api/emit',
                            body => '{"event":"many","to":"odd"}')
        } 1 .. 100;

        my %got;

        $got{ $_->wait->{body} }++ for @calls;

        is_deeply(\%got, { '{"matched":' . @odd . '}' => 100 },
                  'a hundred answers');
    }

    my @got = received(@odd);

    is(join(' ', map { scalar @$_ } @got), join(' ', (300) x @odd),
       'three hundred events');
};


# The zone of 16 MB takes almost 2 MB at once.

subtest 'large emits' => sub {
    my $kept = SIO::HTTP->new(port => $nginx->port, keepalive => 1);
    my ($fits, $not) = (1_000_000, 8_000_000);

    while ($not - $fits > 1) {
        my $size = int(($fits + $not) / 2);
        my $answer = call('emit', '{"event":"large","to":"nobody","args":["'
                                  . 'x' x $size . '"]}', http => $kept);

        if (ref $answer) {
            $fits = $size;

        } else {
            $not = $size;
            is($answer, '413 too_large', "$size bytes");
        }
    }

    cmp_ok($fits, '>', 1_500_000, "$fits bytes fit");

    my $text = 'x' x ($fits - 1000);

    is(matched('emit', { event => 'large', args => [ $text ] },
               http => $kept), @all, 'matched');

    # not decoded: that takes a pure Perl parser more than a second
    for my $c (@all) {
        my $packet;

        do {
            $packet = $c->eio->next(20);
        } while (defined $packet && $packet =~ /^42\["mark /);

        ok(defined $packet && $packet eq qq(42["large","$text"]),
           $c->eio->{ws} ? 'WebSocket' : 'polling');
    }

    # A poll at another worker is answered with base64, a third longer, through
    # the same log: what the log took must come through there, too.
    my $head = '{"event":"large","args":[{"_placeholder":true,"num":0}],';
    my $emit = sub {
        my ($octets, @rest) = @_;

        return call('emit', $head . join(',', @rest, '"attachments":["'
                    . encode_base64($octets, '') . '"]}'), http => $kept);
    };

    ($fits, $not) = (1_000_000, 8_000_000);

    while ($not - $fits > 1) {
        my $size = int(($fits + $not) / 2);

        ($emit->('x' x $size, '"to":"nobody"') =~ /413/ ? $not : $fits) = $size;
    }

    my $octets = pack 'L*', 1 .. $fits / 4;

    is($emit->($octets)->{matched}, @all, "an attachment of $fits bytes");

    for my $c (@all) {
        my $packet = $c->wait_for(sub { $_[0]{data}[0] eq 'large' }, 20);

        ok($packet && $packet->{attachments}[0] eq $octets,
           $c->eio->{ws} ? 'WebSocket' : 'polling');
    }
};


subtest 'disconnect' => sub {
    my $c = client($pids[0], 'websocket', '/');
    my $p = client($pids[1], 'polling', '/');

    $_->join('/chat') for $c, $p;

    for my $one ($c, $p) {
        is(matched('disconnect', { in => $one->sid('/') }), 1, 'by sid');
        is($one->packet->{text}, '41', 'the client is told');
        is(matched('emit', { event => 'a', to => $one->sid('/') }), 0,
           'is no longer matched');
        is(matched('disconnect', { in => $one->sid('/') }), 0,
           'is gone already');
        is(matched('emit', { event => 'still', to => $one->sid('/chat'),
                             namespace => '/chat' }), 1,
           'the other namespace stays');
        is_deeply($one->event('still'), [ 'still' ], 'and works');
    }

    $_->join('/') for $c, $p;

    is(matched('join', { in => sids($c, $p), rooms => 'go' }), 2, 'a room');
    is(matched('disconnect', { in => 'go', close => JSON::PP::true }), 2,
       'with the connection');

    # C105
    my %told = map { $_ => 1 } map { $c->packet->{text} } 1 .. 2;

    is_deeply(\%told, { '41' => 1, '41/chat,' => 1 }, 'both namespaces');
    ok($c->eio->{ws}->wait_close, 'WebSocket is closed');

    my @packets = $p->eio->poll;

    is_deeply([ sort @packets ], [ '41', '41/chat,' ], 'polling is told');
    is($p->eio->get->{body}, '1', 'and closed');
    is($p->eio->get->{status}, 400, 'its session is gone');

    is(matched('disconnect', { in => [], namespace => '/chat' }), @chat,
       'a whole namespace');
    is($_->packet->{text}, '41/chat,', 'told') for @chat;
    reaches('the others are still there', \@all, \@all);

    $_->join('/chat') for @chat;
    is(matched('emit', { event => 'back', namespace => '/chat' }), @chat,
       'may come back');
    received(@chat);
};


# A worker that does not answer: the rest counts, and the answer says that it
# is not all.

sub at {
    my ($pid, @clients) = @_;

    return scalar grep { $home{$_} == $pid } @clients;
}


subtest 'a stopped worker' => sub {
    my ($here, $stopped) = @pids;
    my $caller = $nginx->connect_to($here);
    my $leaver = $nginx->connect_to($here);
    my $second = $nginx->connect_to($pids[2]);

    $nginx->kill_worker('STOP', $stopped);

    my $start = time;

    my $call = $caller->start('POST', '/_api/emit', body => '{"event":"a"}');
    my $other = $second->start('POST', '/_api/join',
                               body => '{"in":[],"rooms":"late"}');
    my $left = $leaver->start('POST', '/_api/emit', body => '{"event":"b"}');

    # somebody who does not wait
    wait_until(1, sub { select undef, undef, undef, 0.2; 1 });
    $left->abort;

    my $expected = @all - at($stopped, @all);

    is($call->wait(15)->{body}, qq({"matched":$expected,"complete":false}),
       'the others are counted');
    is($other->wait(15)->{body}, qq({"matched":$expected,"complete":false}),
       'in another worker, too');

    my $took = time - $start;

    cmp_ok($took, '>', 4.5, 'it was waited for');
    cmp_ok($took, '<', 8 * scale(), 'not for ever');

    $call = $caller->start('POST', '/_api/emit', body => '{"event":"c"}');

    $nginx->kill_worker('CONT', $stopped);

    is($call->wait(15)->{body}, '{"matched":' . @all . '}',
       'complete as soon as it goes on');

    my @got = received(@all);
    my $want = $json->encode([ map { [ $_ ] } qw(a b c) ]);

    is(scalar(grep { $json->encode($_) ne $want } @got), 0,
       'its clients have got everything by now');

    is(matched('emit', { event => 'late', to => 'late' }), @all,
       'and joined');
    received(@all);
};


subtest 'a full log' => sub {
    my ($here, $stopped) = @pids;
    my $small = SIO::EIO->new(port => $nginx->port,
                              path => '/small-socket.io/');

    $small->{ws} = $small->websocket(http => $nginx->connect_to($stopped));
    $small->opened($small->{ws}->recv);

    my $c = SIO::Client->new(session => $small);

    $c->join('/');

    my @callers = map { $nginx->connect_to($here) } 1 .. 30;
    my $body = $json->encode({ event => 'fill', args => [ 'x' x 30_000 ] });

    $nginx->kill_worker('STOP', $stopped);

    my @calls = map { $_->start('POST', '/small/emit', body => $body) }
                @callers;

    my @busy;

    wait_until(5, sub {
        @busy = grep { $_->ready && $_->{response}{status} == 503 } @calls;
    });

    cmp_ok(scalar @busy, '>', 0, scalar(@busy) . ' calls were refused');

    $nginx->kill_worker('CONT', $stopped);

    my ($sent, $refused) = (0, 0);

    for my $call (@calls) {
        my $r = $call->wait(15);

        if ($r->{status} == 200) {
            is($r->{body}, '{"matched":1}', 'matched');
            $sent++;

        } else {
            is("$r->{status} " . error_code($r), '503 busy', 'refused');
            is($r->{headers}{'retry-after'}, 1, 'Retry-After');
            $refused++;
        }
    }

    cmp_ok($sent, '>', 0, "$sent calls were taken");

    call('/small/emit', { event => 'end' });

    my $got = 0;

    while (my $packet = $c->packet(10)) {
        last if $packet->{data}[0] eq 'end';
        $got++;
    }

    is($got, $sent, 'what was taken has come, what was refused has not');
};


subtest 'a worker that dies' => sub {
    my ($here, $dead) = @pids;
    my $caller = $nginx->connect_to($here);
    my $lost = at($dead, @all);
    my $rest = @all - $lost;

    # it cannot answer, and its death is all that the call can learn
    $nginx->kill_worker('STOP', $dead);

    my $start = time;
    my $call = $caller->start('POST', '/_api/emit', body => '{"event":"a"}');

    wait_until(1, sub { select undef, undef, undef, 0.2; 1 });
    ok(!$call->ready, 'the call waits');

    $nginx->kill_worker('KILL', $dead);

    is($call->wait->{body}, qq({"matched":$rest}), 'the dead have no sockets');
    cmp_ok(time - $start, '<', 4.5 * scale(), 'it was not waited for');

    @all = grep { $home{$_} != $dead } @all;

    is_deeply([ received(@all) ], [ map { [ [ 'a' ] ] } @all ],
              'the others got it');

    # killed while calls come in at all others
    my ($next) = grep { $_ != $here && $_ != $dead } @pids;
    my @callers = map { $nginx->connect_to($_) }
                  (grep { $_ != $dead && $_ != $next } @pids) x 3;
    my %answers;

    for my $round (1 .. 40) {
        my @calls = map {
            $_->start('POST', '/_api/emit', body => '{"event":"b"}')
        } @callers;

        kill 'KILL', $next if $round == 20;

        for my $call (@calls) {
            my $r = $call->wait(10);

            $answers{$r->{body}}++ if $round < 20 || $round > 30;
            $answers{$r->{status}}++;
        }
    }

    $nginx->allow(qr/worker process $next exited on signal/);

    my $before = @all;

    @all = grep { $home{$_} != $next } @all;

    is($answers{200}, 40 * @callers, 'all answered');
    is($answers{"{\"matched\":$before}"}, 19 * @callers, 'with it');
    is($answers{'{"matched":' . @all . '}'}, 10 * @callers, 'without it');

    my @got = received(@all);

    is(scalar(grep { @$_ != 40 * @callers } @got), 0,
       'the others got everything');

    wait_until(10, sub { $nginx->workers == $workers });

    @pids = $nginx->workers;
    push @all, client($_, 'websocket', '/')
        for grep { my $pid = $_; !grep { $_ == $pid } values %home } @pids;

    reaches('with the new workers', \@all, \@all);
};


subtest 'a reload under a call that waits' => sub {
    my ($here, $stopped) = @pids;
    my $caller = $nginx->connect_to($here);

    $nginx->kill_worker('STOP', $stopped);

    my $call = $caller->start('POST', '/_api/emit', body => '{"event":"a"}');

    # the stopped worker hears nothing of it yet
    my %old = map { $_ => 1 } $nginx->workers;

    $nginx->signal('HUP');

    ok(wait_until(10, sub {
           grep({ !$old{$_} } $nginx->workers) == $workers
           && $nginx->draining == $workers - 1
       }), 'the others drain');
    ok(!$call->ready, 'the call waits');

    $nginx->kill_worker('CONT', $stopped);

    is($call->wait(15)->{body}, '{"matched":' . @all . '}', 'is answered');

    # the clients are still in the old workers
    received(@all);
    reaches('old and new workers', \@all, \@all);

    $_->disconnect for @all, @chat;

    ok(wait_until(15, sub { !$nginx->draining }), 'the old workers leave');
};


$nginx->stop;

done_testing;
