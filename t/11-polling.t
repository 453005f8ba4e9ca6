#!/usr/bin/perl

# Polling: who may ask at the same time, what payloads are, and how sessions
# end; the numbers are those of the conformance checklist.  Four workers, and
# every request on a connection of its own, so that most of them arrive at a
# worker that does not have the session.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Uncompress::AnyInflate qw(anyinflate $AnyInflateError);
use JSON::PP ();
use SIO::Answers qw(is_answer is_error);
use SIO::Backend;
use SIO::Curl;
use SIO::EIO;
use SIO::Util qw(read_file wait_until);
use SIO::Ways;
use Test::More;


my $backend = SIO::Backend->new->start;

# An echo, by acknowledgement.
$backend->on({ type => 'event' }, { json => { ack => '%args%' } });

my $ways = SIO::Ways->new(http => <<"EOF", locations => <<'EOS');
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }

    client_max_body_size 10m;
    log_format streams '\$connection \$arg_sid';
EOF
        location /socket.io/ {
            socketio;
            socketio_namespaces / /custom;
            access_log %%PREFIX%%/streams.log streams;
        }

        location /hooked/ {
            socketio;
            socketio_webhook /_hook;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /small/ {
            socketio;
            socketio_max_payload 1000;
            socketio_send_buffer 8m;
        }

        location /impatient/ {
            socketio;
            socketio_connect_timeout 500ms;
        }

        location /gzip/ {
            socketio;
            gzip on;
            gzip_types text/plain;
            gzip_min_length 1024;
            gzip_http_version 1.1;
        }

        location /eio3/ {
            socketio;
            socketio_allow_eio3 on;
        }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;


# The poll that was left behind ends like this, and the session with it.

sub is_closed {
    my ($way, $eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_error($eio->get(http => $way->client), 1, $name);
}


# Of sockets whose backend is told so.

sub is_reason {
    my ($eio, $reason, $name) = @_;

    my ($request) = $backend->wait(1, 10, type => 'disconnect',
                                   sid => $eio->{socket});

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($request && $request->{json}{reason}, $reason, "$name, $reason");
}


sub hooked {
    return $way->joined(path => '/hooked/');
}


# Two requests of a kind at once: what the second gets.

sub two_polls {
    my ($way, $name) = @_;

    my $eio = $way->session;
    my $first = $way->waiting($eio);
    my $second = $eio->get(http => $way->client);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_answer($second, 400, '', "$name: the second");
    is_answer($first->wait, 200, '1', "$name: the first");
    is_closed($way, $eio, "$name: the session");
}


subtest 'two requests of a kind' => sub {
    two_polls($way, 'C17');

    my $eio = hooked();
    my $first = $way->waiting($eio);
    my $second = $eio->get;

    is($second->{headers}{'content-length'}, 0, 'C17 the second is empty');
    is($first->wait->{headers}{'content-type'}, 'text/plain; charset=UTF-8',
       'C17 the first is an answer like any other');
    is_reason($eio, 'transport error', 'C17');

    # Both at the same moment: whichever is the second.
    for (1 .. 5) {
        my $eio = $way->session;
        my @pending = map { $eio->get_start } 1 .. 2;
        my @got = sort map { "$_->{status} $_->{body}" }
                       map { $_->wait } @pending;

        is_deeply(\@got, [ '200 1', '400 ' ], 'C17 at once');
        is_closed($way, $eio, 'C17 at once, closed');
    }

    $eio = hooked();
    my $poll = $way->waiting($eio);
    my $open = $eio->{http}->start('POST', $eio->url('polling'), body => '6',
                                   headers => [ 'Content-Length' => 2 ]);
    $way->settle;

    is_answer($eio->post_raw('6'), 400, '', 'C18 the second');
    is_answer($open->wait, 400, '', 'C18 the first, in its body');
    is_answer($poll->wait, 200, '1', 'C18 the poll');
    is_closed($way, $eio, 'C18 the session');
    is_reason($eio, 'transport error', 'C18');

    # What was only begun is no obstacle any more when it is over.
    $eio = $way->session;

    for my $n (1 .. 3) {
        $open = $eio->{http}->start('POST', $eio->url('polling'), body => '6',
                                    headers => [ 'Content-Length' => 3 ]);
        $way->settle;
        $open->write("\x1e6");
        is_answer($open->wait, 200, 'ok', "C18 one after the other, $n");
    }

    $eio = $way->session;

    for my $n (1 .. 20) {
        my $pending = $eio->get_start;

        is_answer($eio->post_raw($n % 2 ? '40' : '41'), 200, 'ok',
                  "C19 POST $n beside a GET");

        if ($n % 2) {
            like($pending->wait->{body}, qr/^40\{"sid":"[^"]+"\}\z/,
                 "C19 GET $n");

        } else {
            $eio->post('40');
            like($pending->wait->{body}, qr/^40\{/, "C19 GET $n");
            $eio->post('41');
        }
    }
};


subtest 'payloads' => sub {
    my $eio = $way->joined;
    my $r = $eio->post_raw('6');

    is_answer($r, 200, 'ok', 'C20');
    is($r->{headers}{'content-type'}, 'text/html', 'C20 content type');
    is($r->{headers}{'content-length'}, 2, 'C20 length');
    is($r->{headers}{'cache-control'}, 'no-store', 'C20 cache control');
    is_deeply([ sort keys %{ $r->{headers} } ],
              [ sort qw(server date content-type content-length connection
                        cache-control vary access-control-allow-credentials) ],
              'C20 no other headers');

    $eio = $way->session;
    $eio->post('40', '41', '40', '40/custom,', '6', '3');

    like($eio->get->{body},
         qr/^40\{"sid":"([^"]+)"\}\x1e40\{"sid":"(?!\1)[^"]+"\}
            \x1e40\/custom,\{"sid":"[^"]+"\}\z/x, 'C21 C22 in order');

    $eio = hooked();
    my @packets = map { qq(42$_\["e",$_]) } 0 .. 29;
    $eio->post(@packets);

    is(join('|', map { $eio->next } @packets),
       join('|', map { "43$_\[$_]" } 0 .. 29), 'C21 thirty events, in order');

    $eio = $way->joined;
    is($way->emit($eio->{socket}, 'e', $_), 1, "matched $_") for 1 .. 3;
    $r = $eio->get;
    is_answer($r, 200, qq(42["e",1]\x1e42["e",2]\x1e42["e",3]), 'C22 three');
    is($r->{headers}{'content-type'}, 'text/plain; charset=UTF-8',
       'C22 content type');
    is($r->{headers}{'cache-control'}, 'no-store', 'C22 cache control');

    my $pending = $way->waiting($eio);
    $way->emit($eio->{socket}, 'late', "\x{e9}");
    is_answer($pending->wait, 200, qq(42["late","\xc3\xa9"]), 'C22 one, late');
};


subtest 'binary' => sub {
    my $eio = $way->joined;

    is($way->api('emit', {
        to          => $eio->{socket},
        event       => 'bin',
        args        => [ { _placeholder => JSON::PP::true, num => 0 },
                         { num => 1, _placeholder => JSON::PP::true } ],
        attachments => [ 'AQIDBA==', '' ],
    }), 1, 'C23 emitted');

    like($eio->get->{body},
         qr/^452-\["bin",\{[^}]+\},\{[^}]+\}\]\x1ebAQIDBA==\x1eb\z/,
         'C23 in a response');

    $eio = hooked();

    for my $case ([ 'bAQIDBA==', 'AQIDBA==', 'padded' ],
                  [ 'bAQIDBA', 'AQIDBA==', 'without padding' ],
                  [ 'b-_8', '+/8=', 'of URLs' ],
                  [ 'bAQ ID', 'AQID', 'with a blank' ],
                  [ 'b', '', 'empty' ])
    {
        my ($packet, $octets, $name) = @$case;

        $backend->clear;
        $eio->post('451-["b",{"_placeholder":true,"num":0}]', $packet);

        my ($request) = $backend->wait(1, 10, type => 'event',
                                       sid => $eio->{socket});

        is_deeply($request->{json}{attachments}, [ $octets ],
                  "C23 in a POST, $name");
    }

    # In two requests.
    $backend->clear;
    $eio->post('451-["b",{"_placeholder":true,"num":0}]');
    $eio->post('bAQID');
    my ($request) = $backend->wait(1, 10, type => 'event');
    is_deeply($request->{json}{attachments}, ['AQID'], 'C23 in two POSTs');
};


subtest 'what is no payload' => sub {
    my %bad = (
        'empty'                 => '',
        'a separator first'     => "\x1e6",
        'a separator last'      => "6\x1e",
        'only a separator'      => "\x1e",
        'two in a row'          => "6\x1e\x1e6",
        'a letter'              => 'x',
        'an unknown digit'      => '7',
        'a blank'               => ' 6',
        'a newline'             => "\n",
        'a colon'               => ':',
        'zero'                  => "\0",
        'no UTF-8'              => "\xff",
    );

    for my $what (sort keys %bad) {
        my $eio = hooked();

        is_answer($eio->post_raw($bad{$what}), 200, 'ok', "C24 $what");
        is_closed($way, $eio, "C24 $what, closed");
        is_reason($eio, 'parse error', "C24 $what");

        $eio = $way->session;
        my $pending = $way->waiting($eio);

        is_answer($eio->post_raw($bad{$what}), 200, 'ok',
                  "C24 $what, beside a GET");
        is_answer($pending->wait, 200, '1', "C26 $what");
        is_closed($way, $eio, "C26 $what, closed");
    }

    my $eio = $way->session;
    is_answer($eio->{http}->request('POST', $eio->url('polling')), 200, 'ok',
              'C24 no body at all');
    is_closed($way, $eio, 'C24 no body at all, closed');

    $eio = hooked();
    $backend->clear;
    is_answer($eio->post_raw(qq(42["before"]\x1ex\x1e42["behind"])), 200, 'ok',
              'C25');
    is_reason($eio, 'parse error', 'C25');
    is_deeply([ map { $_->{json}{event} // $_->{json}{type} }
                    $backend->requests(sid => $eio->{socket}) ],
              [ 'before', 'disconnect' ], 'C25 what was before it, no more');

    $eio = $way->session;
    my $pending = $way->waiting($eio);
    is_answer($eio->post_raw("40\x1e"), 200, 'ok', 'C25 beside a GET');
    like($pending->wait->{body}, qr/^40\{[^}]+\}\x1e1\z/,
         'C25 C26 the answer is still sent');
};


subtest 'size' => sub {
    my $eio = $way->joined(path => '/small/');
    my $of = sub { '42["e","' . 'x' x ($_[0] - 10) . '"]' };

    is_answer($eio->post_raw($of->(1000)), 200, 'ok', 'C27 the limit');

    my $r = $eio->post_raw($of->(1001));
    is_answer($r, 413, '', 'C27 one more');
    is($r->{headers}{'content-length'}, 0, 'C27 is empty');

    is_answer($eio->post_raw('6'), 200, 'ok', 'C27 the session lives');

    for my $size (1000, 1001) {
        my $expected = $size > 1000 ? [ 413, '' ] : [ 200, 'ok' ];

        is_answer($eio->post_raw($of->($size), chunked => $_), @$expected,
                  "C27 $size octets in chunks of $_") for 1, 7, 999, 8192;
        is_answer($eio->post_raw($of->($size), split => [ 400, 800, 1100 ]),
                  @$expected, "C27 $size octets in segments");
    }

    is_answer($eio->post_raw('x' x 3000000), 413, '', 'C27 much more');
    is_answer($eio->post_raw('x' x 300000, chunked => 1000), 413, '',
              'C27 much more in chunks');

    # Refused by what it announces, before it comes.
    my $open = $eio->{http}->start('POST', $eio->url('polling'), body => 'x',
                                   headers => [ 'Content-Length' => 1001 ]);
    is_answer($open->wait, 413, '', 'C27 announced');

    is_answer($eio->post_raw('6'), 200, 'ok', 'C27 the session still lives');
    $way->emit($eio->{socket}, 'alive');
    is_answer($eio->get, 200, '42["alive"]', 'C27 and hears');

    my $wide = sub { '42["e","' . "\xc3\xa9" x ($_[0] / 2 - 5) . '"]' };

    is(length $wide->(1000), 1000, 'two octets each');
    is_answer($eio->post_raw($wide->(1000)), 200, 'ok', 'C28 the limit');
    is_answer($eio->post_raw($wide->(1002)), 413, '', 'C28 octets count');

    # A refusal of what was begun is told when the session knows of it: the
    # next POST may reach its worker before that.
    my ($owner, $other) = $nginx->workers;

    $eio = $way->session(path => '/small/',
                         http => $nginx->connect_to($owner, timeout => 20));
    my $http = $nginx->connect_to($other, timeout => 20);
    my $barrier = $nginx->connect_to($other, timeout => 20);

    $open = $http->start('POST', $eio->url('polling'), headers => [
                             'Transfer-Encoding' => 'chunked' ]);
    $open->write("1\r\n6\r\n");
    $way->settle;

    $nginx->kill_worker('STOP', $owner);
    $open->write("3e8\r\n" . 'x' x 1000 . "\r\n");
    $barrier->get('/_pid') for 1 .. 3;
    ok(!$open->ready, 'C27 not refused before its session knows');
    $nginx->kill_worker('CONT', $owner);

    is_answer($open->wait, 413, '', 'C27 refused then');
    is_answer($eio->post_raw('6'), 200, 'ok', 'C27 it was no second POST');

    $eio = $way->joined;
    is_answer($eio->post_raw($of->(1000000)), 200, 'ok', 'C27 the default');
    is_answer($eio->post_raw($of->(1000001)), 413, '', 'C27 the default + 1');
    is_answer($eio->post_raw($of->(1000000), chunked => 1), 200, 'ok',
              'C27 the default in chunks');
    is_answer($eio->post_raw($of->(1000001), chunked => 1), 413, '',
              'C27 the default + 1 in chunks');
    ok($way->alive($eio), 'C27 the session lives');
};


subtest 'content types' => sub {
    my $eio = hooked();

    is_answer($eio->post_raw('6', headers => [
                  'Content-Type' => 'application/octet-stream' ]), 400, '',
              'C29 application/octet-stream');
    is_closed($way, $eio, 'C29 closed');
    is_reason($eio, 'transport error', 'C29');

    $eio = $way->session;
    my $pending = $way->waiting($eio);
    is_answer($eio->post_raw('6', headers => [
                  'Content-Type' => 'application/octet-stream' ]), 400, '',
              'C29 beside a GET');
    is_answer($pending->wait, 200, '1', 'C29 the GET');

    $eio = $way->session;

    for my $type ('application/octet-stream; charset=x', 'text/xml',
                  'application/x-www-form-urlencoded', 'multipart/form-data',
                  'text/plain;charset=UTF-8', 'x', '', undef)
    {
        is_answer($eio->post_raw('6', headers => [ 'Content-Type' => $type ]),
                  200, 'ok', 'C29 ' . ($type // 'no content type'));
    }

    $eio = hooked();

    for my $size (1, 2, 3, 10, 8192) {
        $eio->post_raw(qq(42$size\["e","chunked"]), chunked => $size);
        is($eio->next, qq(43$size\["chunked"]), "C30 chunks of $size");
    }

    # Half a character in each of them.
    $eio->post_raw(qq(420["e","\xf0\x9f\x98\x80"]), chunked => 1);
    is($eio->next, qq(430["\xf0\x9f\x98\x80"]), 'C30 one character in four');

    my $fffd = "\xef\xbf\xbd";

    my %broken = (
        "a\xffb"             => "a${fffd}b",
        "\xfe\xff"           => "$fffd$fffd",
        "\xc3"               => $fffd,
        "\xe2\x82"           => $fffd,
        "\xed\xa0\x80"       => $fffd x 3,
        "\xf0\x9f\x98"       => $fffd,
        "\xc0\xaf"           => $fffd x 2,
        "\xf5\x80\x80\x80"   => $fffd x 4,
        "ok\xc3\xa9\x80"     => "ok\xc3\xa9$fffd",
    );

    for my $text (sort keys %broken) {
        $eio->post_raw(qq(421["e","$text"]));
        is($eio->next, qq(431["$broken{$text}"]), 'C31 ' . unpack 'H*', $text);
    }

    ok($way->alive($eio), 'C31 the session lives');
};


subtest 'clients that leave' => sub {
    for my $how (qw(close abort)) {
        my $eio = hooked();

        $way->waiting($eio)->$how;
        is_reason($eio, 'transport error', "C32 $how");
        is_closed($way, $eio, "C32 $how, closed");
    }

    for my $how (qw(close abort)) {
        my $eio = hooked();
        my $open = $eio->{http}->start('POST', $eio->url('polling'),
                                       body => '42["e', headers => [
                                           'Content-Length' => 100 ]);

        $way->settle;
        $open->$how;

        is_reason($eio, 'transport error', "C33 $how");
        is_closed($way, $eio, "C33 $how, closed");
    }

    my $eio = hooked();
    my $poll = $way->waiting($eio);
    my $open = $eio->{http}->start('POST', $eio->url('polling'), headers => [
                                       'Transfer-Encoding' => 'chunked' ]);
    $open->write("5\r\n42[");
    $way->settle;
    $open->close;
    is_answer($poll->wait, 200, '1', 'C33 in chunks, the GET');
    is_reason($eio, 'transport error', 'C33 in chunks');

    # Before the session had to know of the body: it is gone all the same.
    $eio = $way->session;
    $eio->{http}->start('POST', $eio->url('polling'), body => '4', headers => [
                            'Content-Length' => 100 ])->close;
    ok($way->closes($eio), 'C33 at once');
};


subtest 'ends' => sub {
    my $eio = hooked();
    my $pending = $way->waiting($eio);

    is_answer($eio->post_raw('1'), 200, 'ok', 'C34 POST');
    is_answer($pending->wait, 200, '6', 'C34 GET');
    is_closed($way, $eio, 'C34');
    is_reason($eio, 'transport close', 'C34');

    $eio = hooked();
    is_answer($eio->post_raw('1'), 200, 'ok', 'C34 without a GET');
    is_closed($way, $eio, 'C34 without a GET');
    is_reason($eio, 'transport close', 'C34 without a GET');

    # Sent side by side: the GET may be the later one.
    my $noops = 0;

    for (1 .. 20) {
        $eio = $way->session;
        $pending = $eio->get_start;
        is_answer($eio->post_raw('1'), 200, 'ok', 'C34 side by side');
        my $r = $pending->wait;
        $noops++ if $r->{status} == 200 && $r->{body} eq '6';
    }

    cmp_ok($noops, '>=', 10, 'C34 the GET gets a noop');

    $eio = hooked();
    $backend->clear;
    is_answer($eio->post_raw(qq(1\x1e42["behind"]\x1ex)), 200, 'ok', 'C35');
    is_reason($eio, 'transport close', 'C35');
    is($backend->requests(event => 'behind'), 0, 'C35 nothing behind it');

    for my $end ('1', '42["too early"]') {
        $backend->clear;
        $eio = $way->session(path => '/hooked/');
        is_answer($eio->post_raw("$end\x1e40"), 200, 'ok',
                  "C35 CONNECT behind $end");
        $eio->get;
        is_closed($way, $eio, "C35 behind $end");
        is($backend->requests(type => 'connect'), 0,
           "C35 nobody connects behind $end");
    }

    $eio = hooked();
    $pending = $way->waiting($eio);
    is($way->api('disconnect', { in => [ $eio->{socket} ],
                                 close => JSON::PP::true }), 1, 'C36');
    is_answer($pending->wait, 200, '41', 'C36 the GET that waits');
    is_answer($eio->get, 200, '1', 'C36 and the next one');
    is_closed($way, $eio, 'C36');
    is_reason($eio, 'server namespace disconnect', 'C36');

    $eio = $way->session(path => '/impatient/');
    $pending = $way->waiting($eio);
    is_answer($pending->wait, 200, '1', 'C36 no namespace joined');
    is_closed($way, $eio, 'C36 no namespace joined');

    $eio = $way->joined;
    $way->emit($eio->{socket}, 'last');
    $way->api('disconnect', { in => [ $eio->{socket} ],
                              close => JSON::PP::true });
    is_answer($eio->post_raw('6'), 200, 'ok', 'C37 POSTs go on');
    is_answer($eio->post_raw('x'), 200, 'ok', 'C37 and are not looked at');
    is_answer($eio->get, 200, qq(42["last"]\x1e41), 'C37 the next GET');
    is_answer($eio->get, 200, '1', 'C37 and the last');
    is_closed($way, $eio, 'C37');

    $eio = $way->session;
    is_answer($eio->post_raw('42["too early"]'), 200, 'ok', 'C37 our doing');
    like($eio->get->{body}, qr/^(?:6\x1e)?1\z/, 'C37 our doing, the next GET');
    is_closed($way, $eio, 'C37 our doing');

    my $mark = $nginx->mark;
    $eio = $way->session(path => '/impatient/');
    ok($nginx->wait_log(qr/joined no namespace/, 10, $mark), 'C37 timed out');
    like($eio->get->{body}, qr/^(?:6\x1e)?1\z/, 'C37 timed out, the next GET');
    is_closed($way, $eio, 'C37 timed out');
};


subtest 'long answers' => sub {
    my $eio = $way->joined(path => '/small/');

    $way->emit($eio->{socket}, 'e', 'x' x 5000);
    is_answer($eio->get, 200, '42["e","' . 'x' x 5000 . '"]',
              'C38 longer than maxPayload');

    $way->emit($eio->{socket}, 'e', $_ x 900000) for 'a', 'b', 'c';
    is(join('|', map { $eio->next } 1 .. 3),
       join('|', map { '42["e","' . $_ x 900000 . '"]' } 'a', 'b', 'c'),
       'C38 much longer');

    my @cases = (
        [ gzip => 'gzip', 1100, 'gzip' ],
        [ gzip => 'gzip, deflate, br', 1100, 'all of them' ],
        [ undef, 'gzip', 900, 'too short' ],
        [ undef, 'br', 1100, 'br alone' ],
        [ undef, 'identity', 1100, 'identity' ],
        [ undef, 'gzip;q=0', 1100, 'not gzip' ],
        [ undef, undef, 1100, 'nothing' ],
    );

    $eio = $way->joined(path => '/gzip/');

    for my $case (@cases) {
        my ($encoding, $accept, $size, $name) = @$case;
        my $body = '42["e","' . 'x' x $size . '"]';

        $way->emit($eio->{socket}, 'e', 'x' x $size);

        my $r = $eio->get(headers => [ 'Accept-Encoding' => $accept ]);

        is($r->{headers}{'content-encoding'}, $encoding, "C39 $name");

        if ($encoding) {
            my $plain;
            anyinflate(\$r->{body} => \$plain) or fail($AnyInflateError);
            $r->{body} = $plain;
        }

        is_answer($r, 200, $body, "C39 $name, the body");
    }
};


subtest 'what does not belong there' => sub {
    my $eio = $way->joined;
    my $pending = $way->waiting($eio);

    for my $method (qw(PUT DELETE PATCH PROPFIND)) {
        my $r = $eio->{http}->request($method, $eio->url('polling'),
                                      body => '1');
        is_answer($r, 405, '', "C40 $method");
    }

    is($eio->{http}->request('HEAD', $eio->url('polling'))->{status}, 405,
       'C40 HEAD');
    is($eio->{http}->request('OPTIONS', $eio->url('polling'))->{status}, 200,
       'C40 OPTIONS');

    $way->emit($eio->{socket}, 'still');
    is_answer($pending->wait, 200, '42["still"]', 'C40 the poll goes on');

    my $ws = SIO::EIO->open_ws(port => $nginx->port);
    my $polling = $way->client;
    my $url = $ws->url('polling');

    is_error($polling->get($url), 3, 'C41 GET');
    is_error($polling->post($url, '1'), 3, 'C41 POST');
    is_error($polling->post($url, 'x'), 3, 'C41 POST, no payload');
    is_error($polling->get($ws->url('websocket')), 3, 'C41 without an upgrade');
    $polling->start('POST', $url, body => '4', headers => [
                        'Content-Length' => 10 ])->close;
    $polling->start('GET', $url)->abort;
    $way->settle;
    $ws->send('40');
    like($ws->next, qr/^40\{/, 'C41 the WebSocket goes on');

    $eio = $way->joined(path => '/eio3/');
    $pending = $way->waiting($eio);

    for my $revision ('EIO=3&', 'EIO=5&', '') {
        my $url = $eio->url('polling') =~ s/EIO=4&/$revision/r;

        is_error($polling->get($url), 3, "C42 GET ?$revision");
        is_error($polling->post($url, '1'), 3, "C42 POST ?$revision");
    }

    $way->emit($eio->{socket}, 'still');
    is_answer($pending->wait, 200, '42["still"]', 'C42 the poll goes on');

    my $old = $way->session(path => '/eio3/', eio => 3);
    is_error($polling->get($old->url('polling') =~ s/EIO=3/EIO=4/r), 3,
             'C42 the other way round');
    is_answer($old->post_raw('1:6'), 200, 'ok', 'C42 which goes on too');
};


$ways->run(sub {
    my ($way) = @_;

    two_polls($way, 'C17');

    my $eio = $way->session;

    for my $n (1 .. 5) {
        my $pending = $eio->get_start(http => $way->client);
        my $r = $eio->post_raw('40');

        is_answer($r, 200, 'ok', "C19 C20 POST $n beside a GET");
        like($pending->wait->{body}, qr/^40\{"sid":"[^"]+"\}\z/, "C19 GET $n");
        $eio->post('41');
    }

    $eio = $way->joined;
    $way->emit($eio->{socket}, 'e', $_) for 1 .. 3;
    is_answer($eio->get, 200, qq(42["e",1]\x1e42["e",2]\x1e42["e",3]), 'C22');

    my $pending = $way->waiting($eio);
    $way->emit($eio->{socket}, 'late');
    is_answer($pending->wait, 200, '42["late"]', 'C22 late');

    $way->emit($eio->{socket}, 'e', 'x' x 300000);
    is_answer($eio->get, 200, '42["e","' . 'x' x 300000 . '"]', 'C22 long');

    $pending = $way->waiting($eio);
    is_answer($eio->post_raw("6\x1e"), 200, 'ok', 'C24');
    is_answer($pending->wait, 200, '1', 'C26');
    is_closed($way, $eio, 'C26');

    $eio = $way->joined(path => '/small/');
    is_answer($eio->post_raw('42["e","' . 'x' x 990 . '"]'), 200, 'ok', 'C27');
    is_answer($eio->post_raw('x' x 1001), 413, '', 'C27 one more');
    is_answer($eio->post_raw('x' x 1001, chunked => 1), 413, '',
              'C27 one more in chunks');
    is_answer($eio->post_raw('x' x 200000), 413, '', 'C27 much more');
    is_answer($eio->post_raw('6', chunked => 1), 200, 'ok', 'C27 C30');

    is_answer($eio->post_raw('6', headers => [
                  'Content-Type' => 'application/octet-stream' ]), 400, '',
              'C29');
    is_closed($way, $eio, 'C29');

    $eio = $way->session;
    $way->waiting($eio)->abort;
    ok($way->closes($eio), 'C32');

    $eio = $way->session;
    $pending = $way->waiting($eio);
    is_answer($eio->post_raw('1'), 200, 'ok', 'C34 POST');
    is_answer($pending->wait, 200, '6', 'C34 GET');
    is_closed($way, $eio, 'C34');

    $eio = $way->joined;
    $pending = $way->waiting($eio);
    $way->api('disconnect', { in => [ $eio->{socket} ],
                              close => JSON::PP::true });
    is_answer($pending->wait, 200, '41', 'C36');

    $eio = $way->joined;
    $way->api('disconnect', { in => [ $eio->{socket} ],
                              close => JSON::PP::true });
    is_answer($eio->post_raw('6'), 200, 'ok', 'C37 POST');
    is_answer($eio->get, 200, '41', 'C37 GET');
    is_answer($eio->get, 200, '1', 'C37 the last GET');
    is_closed($way, $eio, 'C37');

    $eio = $way->session;
    is($way->client->request('PUT', $eio->url('polling'), body => '1')
       ->{status}, 405, 'C40');
    is_error($way->client->get($eio->url('polling') =~ s/EIO=4/EIO=3/r), 3,
             'C42');
    ok($way->alive($eio), 'C40 C42 the session lives');
});


subtest 'one connection of HTTP/2' => sub {
    my $curl = SIO::Curl->new(port => $nginx->port('tls'), version => 2,
                              timeout => 20);
    my $eio = $way->session;
    my $url = $eio->url('polling');

    my @got = map { $_->wait } $curl->start_all(
        [ GET => $url ], [ POST => $url, body => '40' ]);

    like($got[0]{body}, qr/^40\{/, 'C19 GET');
    is_answer($got[1], 200, 'ok', 'C19 beside a POST');

    @got = map { $_->wait } $curl->start_all([ GET => $url ], [ GET => $url ]);

    is_deeply([ sort map { "$_->{status} $_->{body}" } @got ],
              [ '200 1', '400 ' ], 'C17 two GETs');
    is_closed($way, $eio, 'C17 the session');

    # A line is written when the answer has left already.
    my $counts = sub {
        my %seen;

        for my $line (split /\n/, read_file($nginx->prefix . '/streams.log')) {
            my ($connection, $sid) = split ' ', $line;
            $seen{$sid}{$connection}++;
        }

        return join ' ', sort values %{ $seen{$eio->sid} };
    };

    ok(wait_until(5, sub { $counts->() eq '1 2 2' }),
       'on one connection each') or diag($counts->());
};


$nginx->stop;
$backend->stop;

done_testing();
