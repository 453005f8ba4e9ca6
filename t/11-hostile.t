#!/usr/bin/perl

# What no client would send.  Whatever it is, the workers live, nobody else
# notices, and the log has nothing that an operator would be woken for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(decode_base64url encode_base64url);
use SIO::EIO;
use SIO::HTTP;
use SIO::Util qw(read_file);
use SIO::Ways;
use SIO::WS;
use Test::More;
use Time::HiRes qw(sleep);


my $locations = <<'EOS';
        location /socket.io/ {
            socketio;
        }

        location /quick/ {
            socketio;
            socketio_ping_interval 300ms;
        }

        location /all/ {
            socketio;
            socketio_namespaces *;
        }
EOS

my $ways = SIO::Ways->new(locations => $locations, http => <<"EOS");
    server {
        listen 127.0.0.1:%%PORT_large%% reuseport;
        large_client_header_buffers 8 256k;

$locations
    }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;
my $port = $nginx->port;
my $large = $nginx->port('large');

my @workers = $nginx->workers;
my $mark = $nginx->mark;

# Somebody who is there all the time, and must not feel any of this.
my $bystander = $way->joined;
my $news = 0;

my $q = 'EIO=4&transport=polling';


# What came, or undef; a connection that ended without an answer has status 0.

sub raw {
    my ($data, %option) = @_;

    my $c = SIO::HTTP::Connection->open({
        host    => '127.0.0.1',
        port    => $option{port} // $port,
        timeout => 20,
    });

    $c->{method} = $option{method} // 'GET';
    $c->write($data);

    return $c if $option{open};

    my $r = eval { $c->wait };

    # HTTP/0.9 has no head.
    return $r // { status => 0, body => $c->{buffer} };
}


sub head {
    my ($first, @headers) = @_;

    return join "\r\n", "$first HTTP/1.1", "Host: 127.0.0.1:$port", @headers,
           '', '';
}


# A POST to a session of its own; returns the answer and the session.

sub post_raw {
    my ($headers, $body, %option) = @_;

    my $eio = $way->session;

    return (raw(head('POST ' . $eio->url('polling'), @$headers) . $body,
                method => 'POST', %option), $eio);
}


sub unharmed {
    my ($name) = @_;

    my @problems;

    eval { $way->settle; 1 } or push @problems, "not all workers answer: $@";

    push @problems, 'other workers'
        if "@workers" ne join ' ', $nginx->workers;

    # What nginx says of bodies is its own.
    push @problems, grep { / \[(?:warn|error|crit|alert|emerg)\] /
                           && !/ client\ (?:intended\ to\ send\ too\ large
                                |sent\ invalid)\ (?:chunked\ )?body/x }
                         split /\n/, substr $nginx->log, $mark;

    $mark = $nginx->mark;
    $news++;

    my $got = eval {
        $way->emit($bystander->{socket}, 'news', $news);
        $bystander->next;
    };

    push @problems, 'the bystander got ' . ($got // "nothing: $@")
        if ($got // '') ne qq(42["news",$news]);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok(!@problems, "unharmed: $name") or diag(join "\n", @problems);
}


sub status_in {
    my ($r, $expected, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok(scalar(grep { $r->{status} == $_ } @$expected), $name)
        or diag("$r->{status} ", substr($r->{body} // '', 0, 200));
}


# Seconds of CPU that the workers have used.

sub cpu {
    my $ticks = 0;

    for my $pid (@workers) {
        my @field = split ' ', (read_file("/proc/$pid/stat") =~ /\) (.*)/)[0];
        $ticks += $field[11] + $field[12];
    }

    return $ticks / 100;
}


sub idle {
    my ($name) = @_;

    my $before = cpu();
    sleep 0.5;
    my $used = cpu() - $before;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    cmp_ok($used, '<', 0.25, "nobody spins: $name");
}


subtest 'queries' => sub {
    my %queries = (
        'one of 50 kB'          => "$q&x=" . 'x' x 50000,
        'a sid of 50 kB'        => "$q&sid=" . 'A' x 50000,
        'a transport of 50 kB'  => 'EIO=4&transport=' . 'polling' x 7000,
        'a name of 50 kB'       => $q . '&' . 'x' x 50000 . '=1',
        '10,000 arguments'      => join('&', $q, map { "a$_=$_" } 1 .. 10000),
        '50,000 ampersands'     => $q . '&' x 50000,
        '50,000 equals'         => "$q&" . '=' x 50000,
        '10,000 times sid'      => $q . '&sid=x' x 10000,
        '20,000 escapes'        => "$q&x=" . '%00' x 20000,
        'broken escapes'        => "$q&x=" . '%' x 20000 . '%4',
        'every octet escaped'   => $q . '&'
                                   . join('', map { sprintf '%%%02X', $_ }
                                                  0 .. 255) x 50,
    );

    for my $name (sort keys %queries) {
        my $request = head("GET /socket.io/?$queries{$name}",
                           'Connection: close');

        status_in(raw($request), [ 414 ], "$name, refused by nginx");
        status_in(raw($request, port => $large), [ 200, 400 ], $name);
        unharmed($name);
    }

    for my $octet (0 .. 0x1f, 0x7f, 0x80, 0xc0, 0xff) {
        my $name = sprintf 'octet %02x', $octet;
        my $c = chr $octet;

        for my $query ("$q&x=$c", "$q&sid=$c", "$q${c}&x", "EIO=4&transport=$c",
                       "$q&sid=" . $c x 32)
        {
            # With a newline the request ends there, as one of HTTP/0.9.
            status_in(raw(head("GET /socket.io/?$query", 'Connection: close')),
                      $octet == 0x0a ? [ 0, 200, 400 ] : [ 200, 400 ], $name);
        }
    }

    unharmed('control characters');

    for my $first ('GET /socket.io/?' . $q . ' HTTP/1.0', "GET /socket.io/?$q",
                   "GET http://x/socket.io/?$q HTTP/1.1\r\nHost: y",
                   "GET //socket.io//?$q HTTP/1.1\r\nHost: y",
                   "GET /socket.io/../socket.io/?$q HTTP/1.1\r\nHost: y",
                   "GET /%73ocket.io/%00?$q HTTP/1.1\r\nHost: y",
                   "GET /socket.io/?$q#f HTTP/1.1\r\nHost: y",
                   "GET /socket.io/??$q HTTP/1.1\r\nHost: y",
                   "OPTIONS * HTTP/1.1\r\nHost: y",
                   "CONNECT x:80 HTTP/1.1\r\nHost: y",
                   "TRACE /socket.io/?$q HTTP/1.1\r\nHost: y",
                   "X /socket.io/?$q HTTP/1.1\r\nHost: y",
                   "GET /socket.io/?$q HTTP/9.9\r\nHost: y", "\0\0\0\0",
                   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    {
        my $c = raw("$first\r\nConnection: close\r\n\r\n", open => 1);
        eval { $c->wait(5) };
    }

    unharmed('request lines');
};


subtest 'ids' => sub {
    my $eio = $way->session;
    my $sid = $eio->sid;
    my @alphabet = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_');

    my $unknown = 0;
    my $tried = 0;

    my $try = sub {
        my ($id) = @_;

        return if $id eq $sid;

        my $url = "/socket.io/?$q&sid=$id";

        for my $r ($way->client->get($url), $way->client->post($url, '1')) {
            $tried++;
            $unknown++ if $r->{status} == 400
                          && $r->{body} eq '{"code":1,"message":'
                                           . '"Session ID unknown"}';
        }
    };

    $try->(substr $sid, 0, $_) for 1 .. length($sid) - 1;
    $try->($sid . 'A' x $_) for 1 .. 40;

    for my $i (0 .. length($sid) - 1) {
        for my $char ('A', '_', '=', $alphabet[rand @alphabet]) {
            my $id = $sid;
            substr $id, $i, 1, $char;
            $try->($id);
        }
    }

    # A slot, its generation, and a secret.
    my ($slot, $generation, $secret) = unpack 'SLa*', decode_base64url($sid);

    my %owners = map {
        my ($s, $g) = unpack 'SL', decode_base64url($way->session->sid);
        ("$s $g" => 1);
    } 1 .. 50;

    cmp_ok(keys %owners, '>=', 2, 'sessions are at several workers');

    for my $s (0 .. 80, 127, 128, 255, 256, 1024, 32767, 32768, 65534, 65535) {
        for my $g (0, 1, $generation, $generation + 1, $generation - 1,
                   0x7fffffff, 0x80000000, 0xffffffff)
        {
            $owners{"$s " . ($g & 0xffffffff)} = 1;
        }
    }

    $try->(encode_base64url(pack 'SLa*', split(' ', $_), $secret))
        for sort keys %owners;

    is($unknown, $tried, "all $tried are unknown");
    ok($way->alive($eio), 'the true one is not');
    unharmed('ids');

    for my $owner ((sort keys %owners)[0 .. 40]) {
        my $id = encode_base64url(pack 'SLa*', split(' ', $owner), $secret);
        next if $id eq $sid;

        my ($ws, $r) = SIO::WS->handshake(
            port => $port, timeout => 20,
            path => "/socket.io/?EIO=4&transport=websocket&sid=$id");

        fail("$id was upgraded") if $r->{status} != 400;
    }

    unharmed('ids of upgrades');

    # Sessions that have moved are found by their secrets.
    for my $n (1 .. 8) {
        $eio = $way->session;
        $eio->upgrade;

        my ($s, $g, $x) = unpack 'SLa*', decode_base64url($eio->sid);
        my @others = grep { $_ ne "$s $g" } sort keys %owners;

        for my $owner (@others[ map { rand @others } 1 .. 10 ]) {
            my $id = encode_base64url(pack 'SLa*', split(' ', $owner), $x);
            my $r = $way->client->post("/socket.io/?$q&sid=$id", '1');

            fail("$id was found") if $r->{body} !~ /"code":1,/;
        }

        $eio->send('40');
        like($eio->next, qr/^40\{/, "a session that has moved, $n");
    }

    unharmed('ids of sessions that have moved');
};


subtest 'headers' => sub {
    my %headers = (
        '100 of them'           => [ map { "X-$_: $_" } 1 .. 100 ],
        '1000 of them'          => [ map { "X-$_: $_" } 1 .. 1000 ],
        '10,000 of them'        => [ map { "X-$_: $_" } 1 .. 10000 ],
        '200 times Origin'      => [ ('Origin: http://x') x 200 ],
        '200 times Upgrade'     => [ ('Upgrade: websocket') x 200 ],
        '200 times Connection'  => [ ('Connection: Upgrade, close') x 200 ],
        '200 times Forwarded'   => [ ('X-Forwarded-Host: ' . ',' x 100) x 200 ],
        'one of 30 kB'          => [ 'X-A: ' . 'x' x 30000 ],
        'Origin of 7 kB'        => [ 'Origin: http://' . 'x' x 7000 ],
        'Cookie of 7 kB'        => [ 'Cookie: ' . 'a=b;' x 1800 ],
        'User-Agent of MSIE'    => [ 'User-Agent: ' . ';MSIE' x 1000 ],
        'no colon'              => [ 'nonsense' ],
        'no name'               => [ ': x' ],
        'NUL'                   => [ "X-A: a\0b", "Origin: http://\0" ],
        'control characters'    => [ "X-A: \1\2\3", "Origin: \x7f" ],
        'every octet'           => [ 'X-A: ' . join '', map { chr }
                                     grep { $_ != 10 } 1 .. 255 ],
        'folded'                => [ "X-A: a\r\n b" ],
        'empty ones'            => [ 'Origin:', 'Upgrade:', 'Connection:',
                                     'Content-Type:', 'User-Agent:',
                                     'X-Forwarded-Host:',
                                     'Sec-WebSocket-Key:' ],
    );

    for my $name (sort keys %headers) {
        for my $which ($port, $large) {
            my $c = raw(head("GET /socket.io/?$q", @{ $headers{$name} },
                             'Connection: close'),
                        port => $which, open => 1);
            my $r = $c->wait;

            # A flood may end in a reset.
            status_in($r, [ 0, 200, 400, 413, 494 ], $name);
        }

        unharmed($name);
    }

    # Of documents, which these are not: what is in an answer is nowhere else.
    my %conditions = (
        'If-Match'            => '"x"',
        'If-None-Match'       => '*',
        'If-Modified-Since'   => 'Fri, 01 Jan 2038 00:00:00 GMT',
        'If-Unmodified-Since' => 'Thu, 01 Jan 1970 00:00:00 GMT',
        'Range'               => 'bytes=0-0',
    );

    for my $name (sort keys %conditions) {
        my @header = ($name => $conditions{$name});
        my $eio = $way->session;

        is($eio->post_raw('40', headers => \@header)->{body}, 'ok',
           "$name, a POST");
        like($eio->get(headers => \@header)->{body}, qr/^40\{"sid":/,
             "$name, the packets of a poll");

        my $r = $way->client->request('GET', '/_api/rooms',
                                      headers => \@header);
        is($r->{status}, 200, "$name, the API");
    }
};


subtest 'bodies' => sub {
    my ($r, $eio);

    ($r, $eio) = post_raw([ 'Content-Length: 5' ], '6', open => 1);
    $way->settle;
    $r->close;
    ok($way->closes($eio), 'shorter than announced');
    unharmed('shorter than announced');

    for my $length ('-1', 'abc', '', '5 5', '+1', '0x1', '1.0', '1,1',
                    '9' x 19, '9' x 30, '18446744073709551616',
                    '9223372036854775807')
    {
        ($r, $eio) = post_raw([ "Content-Length: $length" ], '6');
        status_in($r, [ 400, 413 ], "Content-Length: $length");
        ok($way->alive($eio), 'the session lives');
    }

    ($r, $eio) = post_raw([ 'Content-Length: 1', 'Content-Length: 2' ], '66');
    status_in($r, [ 400 ], 'two lengths');
    ($r, $eio) = post_raw([ 'Content-Length: 1',
                            'Transfer-Encoding: chunked' ], "0\r\n\r\n");
    status_in($r, [ 400 ], 'a length and chunks');

    for my $coding ('gzip', 'gzip, chunked', 'chunked, chunked', 'identity',
                    'x', '')
    {
        ($r, $eio) = post_raw([ "Transfer-Encoding: $coding",
                                'Connection: close' ], "1\r\n6\r\n0\r\n\r\n");
        status_in($r, [ 0, 200, 400, 501 ], "Transfer-Encoding: $coding");
    }

    unharmed('lengths');

    # What is behind the body is another request, and none.
    ($r, $eio) = post_raw([ 'Content-Length: 1' ], "6GARBAGE\r\n\r\n",
                          open => 1);
    is($r->wait->{body}, 'ok', 'longer than announced');
    $r->{method} = 'GET';
    status_in($r->wait, [ 400 ], 'the rest is no request');
    ok($way->alive($eio), 'the session lives');
    unharmed('longer than announced');

    my %bad = (
        'no number'             => "x\r\n",
        'no size'               => "\r\n",
        'a negative size'       => "-1\r\n6\r\n",
        'a blank'               => " 1\r\n6\r\n0\r\n\r\n",
        '16 digits'             => "FFFFFFFFFFFFFFFF\r\n6",
        '17 digits'             => "10000000000000000\r\n6",
        '1000 digits'           => '1' x 1000 . "\r\n6",
        'two gigabytes'         => "80000000\r\n6",
        'no newline behind'     => "1\r\n66\r\n0\r\n\r\n",
    );

    for my $name (sort keys %bad) {
        ($r, $eio) = post_raw([ 'Transfer-Encoding: chunked' ], $bad{$name});
        status_in($r, [ 400, 413 ], "chunks, $name");
    }

    unharmed('chunks that are none');

    my %good = (
        'an extension'          => "1;a=b\r\n6\r\n0;c\r\n\r\n",
        'one of 100 kB'         => '1;' . 'x' x 100000 . "\r\n6\r\n0\r\n\r\n",
        'one of controls'       => "1;\0\1\2\x7f\xff\r\n6\r\n0\r\n\r\n",
        'ten thousand zeros'    => '0' x 10000 . "1\r\n6\r\n0\r\n\r\n",
        'trailers'              => "1\r\n6\r\n0\r\nX-A: b\r\nHost: c\r\n\r\n",
        '100 kB of trailers'    => "1\r\n6\r\n0\r\n" . "X-A: b\r\n" x 12000
                                   . "\r\n",
        'bare newlines'         => "1\n6\n0\n\n",
    );

    for my $name (sort keys %good) {
        ($r, $eio) = post_raw([ 'Transfer-Encoding: chunked' ], $good{$name});
        status_in($r, [ 200, 400, 413 ], "chunks with $name");
    }

    unharmed('chunks with more than chunks');

    ($r, $eio) = post_raw([ 'Transfer-Encoding: chunked' ],
                          join('', map { "1;$_\r\n6\r\n1\r\n\x1e\r\n" }
                                       1 .. 10000), open => 1);
    $way->settle;
    ok(!$r->ready, '20,000 chunks and no end');
    $r->close;
    unharmed('20,000 chunks');

    # An octet at a time, everything.
    $eio = $way->session;

    for my $headers ([ 'Content-Length: 100' ],
                     [ 'Transfer-Encoding: chunked' ])
    {
        my $body = '42["e","' . 'x' x 90 . '"]';
        $body = join('', map { "1\r\n$_\r\n" } split //, $body) . "0\r\n\r\n"
            if $headers->[0] =~ /chunked/;

        $eio->post('40');
        $eio->get;

        my $c = raw('', open => 1, method => 'POST');

        for my $octet (split //, head('POST ' . $eio->url('polling'),
                                      @$headers) . $body)
        {
            $c->write($octet);
        }

        is($c->wait->{body}, 'ok', "octet by octet, $headers->[0]");
        $eio->post('41');
    }

    unharmed('octet by octet');

    for my $headers ([ 'Content-Length: 1' ], [ 'Content-Length: 100000' ],
                     [ 'Transfer-Encoding: chunked' ])
    {
        $eio = $way->joined;
        my $c = raw(head('GET ' . $eio->url('polling'), @$headers) . 'xx',
                    open => 1);
        $way->settle;
        $way->emit($eio->{socket}, 'e');
        eval { $c->wait(5) };
        $c->close;
        $eio->post_raw('6');
    }

    unharmed('polls with bodies');

    # Who leaves in the middle of what nobody reads.
    for my $headers ([ 'Content-Length: 100000' ],
                     [ 'Transfer-Encoding: chunked' ])
    {
        for my $how (qw(close abort)) {
            $eio = $way->joined;
            my $c = raw(head('GET ' . $eio->url('polling'), @$headers)
                        . "5\r\nxx", open => 1);
            $way->settle;
            shutdown $c->{socket}, 1;
            $way->settle;
            $c->$how;
            $way->settle;
            $way->emit($eio->{socket}, 'e');
            $way->settle;
        }
    }

    unharmed('polls that are left with their bodies');

    $eio = $way->session;
    my $c = raw(head('POST ' . $eio->url('polling'), 'Content-Length: 1',
                     'Expect: 100-continue'), open => 1, method => 'POST');
    $way->settle;
    $c->write('6');
    is($c->wait->{body}, 'ok', 'Expect');
    unharmed('Expect');
};


subtest 'pipelines' => sub {
    my $eio = $way->session(path => '/quick/');
    my $get = head('GET ' . $eio->url('polling'));

    my $post = sub {
        my ($body) = @_;

        return head('POST ' . $eio->url('polling'),
                    'Content-Length: ' . length $body) . $body;
    };

    my $c = raw($post->('40') . $get . $get . $post->('3') . $get, open => 1);

    my @got = map { my $r = $c->wait; $c->{method} = 'GET'; $r->{body} }
                  1 .. 5;
    $got[1] =~ s/"sid":"[^"]+"/sid/;

    is_deeply(\@got, [ 'ok', '40{sid}', '2', 'ok', '2' ], 'polls in a row');
    unharmed('polls in a row');

    $eio = $way->session;
    $c = raw($post->('6') x 100, open => 1);
    @got = map { my $r = $c->wait; $c->{method} = 'POST'; $r->{body} } 1 .. 100;
    is("@got", join(' ', ('ok') x 100), 'a hundred POSTs in a row');
    unharmed('POSTs in a row');

    # What is behind a poll that waits is left alone until it is answered.
    $eio = $way->joined;
    $c = raw(head('GET ' . $eio->url('polling')) . 'x' x 4000, open => 1);
    $way->settle;
    idle('a poll with octets behind it');
    $way->emit($eio->{socket}, 'e');
    is($c->wait->{body}, '42["e"]', 'octets behind a poll');
    $c->{method} = 'GET';
    status_in($c->wait, [ 400, 414 ], 'are no request');
    unharmed('octets behind a poll');

    $eio = $way->joined;
    $c = raw(head('GET ' . $eio->url('polling')), open => 1);
    $way->settle;
    $c->write('x' x 4000);
    $way->settle;
    idle('octets that follow a poll');
    $way->emit($eio->{socket}, 'e');
    is($c->wait->{body}, '42["e"]', 'octets that follow a poll');
    unharmed('octets that follow a poll');

    # Many polls that wait, and go at once.
    my @sessions = map { $way->session } 1 .. 100;
    my @polls = map { $_->get_start } @sessions;
    $way->settle;
    idle('a hundred polls');
    $_->abort for @polls;
    my @left = grep { !$way->closes($_) } @sessions;
    is(@left, 0, 'a hundred polls that are aborted');
    unharmed('a hundred polls that are aborted');

    # Requests that end anywhere.
    $eio = $way->session;
    my $request = $post->("6\x1e6\x1e6");

    for my $n (1 .. length($request) - 1) {
        my $c = raw(substr($request, 0, $n), open => 1, method => 'POST');
        $n % 2 ? $c->close : $c->abort;
    }

    ok($way->closes($eio), 'requests that end anywhere');
    unharmed('requests that end anywhere');
};


subtest 'payloads' => sub {
    my $mega = 1000000;
    my $deep = int(($mega - 20) / 2);

    my %payloads = (
        'separators'            => "\x1e" x $mega,
        'noops'                 => join("\x1e", ('6') x ($mega / 2)),
        'pongs'                 => join("\x1e", ('3') x ($mega / 2)),
        'CONNECTs'              => join("\x1e", ('40') x ($mega / 3)),
        'joining and leaving'   => join("\x1e", ('40', '41') x ($mega / 6)),
        'events too early'      => join("\x1e", ('42["e"]') x ($mega / 8)),
        'small events'          => join("\x1e", '40', ('42["e"]') x ($mega / 9)),
        'acknowledgements'      => join("\x1e", '40', ('431[]') x ($mega / 9)),
        'unknown namespaces'    => join("\x1e", map { "40/n$_," }
                                                1 .. $mega / 14),
        'a long namespace'      => '40/' . 'n' x ($mega - 10) . ',',
        'a long id'             => "40\x1e42" . '1' x ($mega - 20) . '["e"]',
        'a long number'         => "40\x1e42[\"e\"," . '1' x ($mega - 20) . ']',
        'a long exponent'       => "40\x1e42[\"e\",1e" . '9' x ($mega - 20)
                                   . ']',
        'a long name'           => "40\x1e42[\"" . 'e' x ($mega - 20) . '"]',
        'deep arrays'           => "40\x1e42" . '[' x $deep . ']' x $deep,
        'deep objects'          => "40\x1e42[\"e\"," . '{"a":' x ($mega / 6 - 10)
                                   . ']',
        'deep auth'             => '40' . '{"a":' x ($mega / 6 - 10),
        'many keys'             => '40{' . join(',', map { qq("k$_":1) }
                                                1 .. $mega / 12) . '}',
        'escapes'               => "40\x1e42[\"e\",\"" . '\\u0000' x 160000
                                   . '"]',
        'half an escape'        => "40\x1e42[\"e\",\"" . '\\' x ($mega - 21)
                                   . '"]',
        'lone surrogates'       => "40\x1e42[\"e\",\"" . '\\ud800' x 160000
                                   . '"]',
        'attachments'           => "40\x1e" . '451-["e",{"_placeholder":true,'
                                   . '"num":0}]' . "\x1eb" . 'A' x ($mega - 60),
        'bad base64'            => "40\x1e" . '451-["e",{"_placeholder":true,'
                                   . '"num":0}]' . "\x1eb" . '*' x ($mega - 60),
        'attachments due'       => "40\x1e" . '4510-["e"]' . "\x1ebAA==" x 9,
        'too many due'          => "40\x1e" . '459999999999-["e"]',
        'a number too large'    => "40\x1e" . '4599999999999999999999999-["e"]',
        'a placeholder far off' => "40\x1e" . '451-["e",{"_placeholder":true,'
                                   . '"num":99999999999999999999}]' . "\x1eb",
        'placeholders'          => "40\x1e" . '451-["e"' . ',{"_placeholder":'
                                   . 'true,"num":0}' x 30000 . "]\x1eb",
        'no UTF-8 at all'       => "\xff" x $mega,
        'no UTF-8 in an event'  => "40\x1e42[\"e\",\"" . "\xff" x ($mega - 30)
                                   . '"]',
        'lines for the log'     => "40\x1e42/x\nforged\n,[\"e\"]",
        'zeros'                 => "\0" x $mega,
        'a zero in an event'    => "40\x1e42[\"e\0\"]",
    );

    for my $name (sort keys %payloads) {
        my $eio = $way->session;
        my $body = $payloads{$name};

        fail("$name is too long") if length $body > $mega;

        is($eio->post_raw($body, timeout => 60)->{status}, 200, $name);

        # It may be at its end, or have much to say.
        my $r = $eio->post_raw('1');
        status_in($r, [ 200, 400 ], "$name, closed");
        unharmed($name);
    }

    unlike($nginx->log, qr/^forged/m, 'clients write no lines of their own');

    # Where every namespace may be joined.
    my $eio = $way->session(path => '/all/');
    my @names = map { "n$_" } 1 .. 257;

    $eio->post(map { "40/$_," } @names);

    my @answers = map { $eio->next } @names;
    is(grep({ m{^40/n\d+,\{"sid":"} } @answers), 256, '256 namespaces');
    is($answers[-1], '44/n257,{"message":"Too many namespaces"}', 'no more');

    $eio->post('41/n1,', '40/n258,');
    like($eio->next, qr/^40\/n258,/, 'unless one is left');

    for my $n (1 .. 5) {
        my $body = join "\x1e", map { "40/x$n.$_," } 1 .. 50000;

        is($eio->post_raw(substr($body, 0, $mega), timeout => 60)->{status},
           $n == 1 ? 200 : 400, "50,000 namespaces, $n");
    }

    unharmed('250,000 namespaces');
};


idle('at the end');
$nginx->stop;

done_testing();
