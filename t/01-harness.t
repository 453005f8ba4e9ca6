#!/usr/bin/perl

# What the other tests stand on, without the module.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(alive free_port wait_until);
use SIO::WS;
use Socket;
use Test::More;
use Time::HiRes qw(time);


subtest 'nginx' => sub {
    my $nginx = SIO::Nginx->new(module => 0, server => <<'EOF');
        location /big { return 200 "%%PORT_other%%"; }
EOF

    $nginx->write('html/file.txt', "hello\n");
    $nginx->start;

    my $http = SIO::HTTP->new(port => $nginx->port);
    my $r = $http->get('/file.txt', 'X-Test' => 1);

    is($r->{status}, 200, 'status');
    is($r->{body}, "hello\n", 'body');
    is($r->{headers}{'content-length'}, 6, 'header');
    is($http->get('/big')->{body}, $nginx->port('other'), 'named port');
    is($http->get('/none')->{status}, 404, 'not found');

    $r = $http->request('HEAD', '/file.txt');
    is($r->{status} . $r->{body}, 200, 'HEAD has no body');

    $r = $http->request('GET', '/file.txt', split => [1, 20, 21]);
    is($r->{status}, 200, 'in segments');

    my $kept = SIO::HTTP->new(port => $nginx->port, keepalive => 1);
    my $peer = sub { $kept->{connection}{socket}->sockport };

    $kept->get('/file.txt');
    my $first = $peer->();
    $kept->get('/file.txt');
    is($peer->(), $first, 'keepalive');

    like($nginx->access_log, qr{GET /file.txt}, 'access log');
    ok($nginx->wait_log(qr/none" failed/), 'error log');

    $nginx->stop;
};


subtest 'workers' => sub {
    my $nginx = SIO::Nginx->new(module => 0, workers => 3, daemon => 1);
    $nginx->start;

    my @workers = $nginx->workers;
    is(@workers, 3, 'all up');

    for my $pid (@workers) {
        is($nginx->connect_to($pid)->pid_of, $pid, 'connected to each');
    }

    my @old = $nginx->reload(wait_old => 1);
    is("@old", "@workers", 'reload replaces them');
    is(grep({ alive($_) } @old), 0, 'and they exit');

    $nginx->kill_worker('KILL');
    is($nginx->workers, 3, 'a killed worker is replaced');

    my $old = $nginx->pid;
    my $new = $nginx->upgrade;
    ok(wait_until(5, sub { !alive($old) }), 'the old master is gone');
    is(SIO::HTTP->new(port => $nginx->port)->get('/_pid')->{status}, 200,
       'the new one serves');
    ok(alive($new), 'and lives');

    $nginx->stop('QUIT');
    ok(!alive($new), 'until the end');
};


subtest 'what is wrong with nginx is seen' => sub {
    my ($ok, $output) = SIO::Nginx->check(module => 0, http => 'nonsense;');

    ok(!$ok, 'a mistake');
    like($output, qr/unknown directive "nonsense"/, 'and its message');
    ok(scalar SIO::Nginx->check(module => 0), 'no mistake');

    my $nginx = SIO::Nginx->new(module => 0, http => 'nonsense;');
    ok(!eval { $nginx->start }, 'does not start');
    like($@, qr/unknown directive "nonsense"/, 'and tells why');

    $nginx = SIO::Nginx->new(module => 0)->start;
    kill 'KILL', $nginx->workers;
    ok($nginx->wait_log(qr/exited on signal/), 'a crash');

    my @problems = $nginx->halt('TERM', 5);
    is(@problems, 1, 'is a problem');
};


subtest 'backend' => sub {
    my $backend = SIO::Backend->new->start;

    my $nginx = SIO::Nginx->new(
        module => 0,
        http   => "upstream app { server @{[ $backend->address ]};"
                  . ' keepalive 4; }',
        server => <<'EOF')->start;
        location / {
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_read_timeout  1s;
        }
EOF

    my $http = SIO::HTTP->new(port => $nginx->port);
    my $ask = sub { $http->post('/hook', @_) };

    is($ask->('{"type":"event"}')->{status}, 204, 'default');

    $backend->on({ type => 'event' }, { json => { ack => '%args%' } });
    $backend->on({ type => 'event', event => 'x' },
                 { status => 403, body => 'no %sid%' }, times => 1);

    is($ask->('{"type":"event","args":[1.50,"\u00e9"]}')->{body},
       '{"ack": [1.50,"\u00e9"]}', 'echo');
    is($ask->('{"type":"event","event":"x","sid":"S"}')->{body}, 'no S',
       'the newest rule first');
    is($ask->('{"type":"event","event":"x","args":[]}')->{status}, 200,
       'as often as told');

    my @requests = $backend->wait(4);
    is(@requests, 4, 'recorded');
    is($requests[1]{body}, '{"type":"event","args":[1.50,"\u00e9"]}', 'body');
    is($requests[0]{path}, '/hook', 'path');
    is($requests[0]{peer}, $requests[3]{peer}, 'kept alive');
    is($backend->requests(event => 'x'), 2, 'filtered');

    $backend->on({ type => 'slow' }, { delay => 0.2 });
    my @pending = map { $http->start('POST', '/', body => '{"type":"slow"}') }
                  1 .. 3;
    ok(!$pending[0]->ready, 'still waiting');
    is($_->wait->{status}, 204, 'answered later') for @pending;
    is($backend->max_concurrency(type => 'slow'), 3, 'at the same time');

    $backend->on({ type => 'chunks' }, { body => 'abc', chunked => 1 });
    is($ask->('{"type":"chunks"}')->{body}, 'abc', 'chunked');

    $backend->on({ type => 'raw' }, {
        raw => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    });
    is($ask->('{"type":"raw"}')->{status}, 0, 'cut off');

    $backend->on({ type => 'reset' }, { close => 'reset' });
    is($ask->('{"type":"reset"}')->{status}, 502, 'reset');

    $backend->on({ type => 'hang' }, { hang => 1 });
    is($ask->('{"type":"hang"}')->{status}, 504, 'hangs');

    $backend->stop;
    is($ask->('{"type":"event"}')->{status}, 502, 'outage');

    $backend->start;
    wait_until(12, sub { $ask->('{"type":"chunks"}')->{status} == 200 });
    is($ask->('{"type":"chunks"}')->{body}, 'abc', 'back, rules and all');
    ok($backend->requests(type => 'slow'), 'requests are kept');

    $backend->reset;
    is($backend->requests, 0, 'and forgotten');

    $nginx->stop;
};


subtest 'http' => sub {
    my $backend = SIO::Backend->new(unix => 1)->start;
    my $http = SIO::HTTP->new(path => $backend->port, host => 'unix');

    my $body = 'x' x 100000;
    my $r = $http->request('PUT', '/a?b=c', body => $body, chunked => 3000,
                           headers => [ Host => 'h', 'X-A' => 1 ]);

    is($r->{status}, 204, 'a chunked request on a socket');

    my ($request) = $backend->wait(1);
    is($request->{body}, $body, 'came whole');
    is($request->{query}, 'b=c', 'with its query');
    is($request->{headers}{'x-a'}, 1, 'and headers');

    my $p = $http->start('POST', '/', body => '12', headers => [
                         'Content-Length' => 4 ]);
    ok(!defined $p->wait(0.2), 'an open body');
    $p->write('34');
    is($p->wait->{status}, 204, 'is completed');
};


subtest 'websocket frames' => sub {
    socketpair my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;

    my @ws = map {
        bless {
            c => bless({ socket => $_, buffer => '', timeout => 1 },
                       'SIO::HTTP::Connection'),
            timeout => 1,
        }, 'SIO::WS';
    } $near, $far;

    # A server does not mask, which is what this client expects.
    my $reply = sub { $ws[1]->send_frame(@_, mask => 0) };

    for my $length (0, 125, 126, 65535, 65536) {
        $reply->(1, 'a' x $length);
        is(length $ws[0]->recv, $length, "$length octets");
    }

    $reply->(1, 'one ', fin => 0);
    $reply->(9, 'ping');
    $reply->(0, 'two');
    is($ws[0]->recv, 'one two', 'fragments');

    my $masked = $ws[0]->frame(2, 'abc', key => "\1\2\3\4");
    is($masked, "\x82\x83\1\2\3\4" . ('abc' ^ "\1\2\3"), 'masked');
    is($ws[0]->frame(1, '', rsv => 4, fin => 0, mask => 0), "\x41\0", 'bits');

    $reply->(8, pack 'na*', 1002, 'why');
    is_deeply($ws[0]->wait_close, { code => 1002, reason => 'why' }, 'close');

    delete $ws[0]{closed};
    $reply->(8, '');
    is_deeply($ws[0]->wait_close, { code => 1005, reason => '' }, 'no code');

    close $far;
    delete $ws[1];
    ok($ws[0]->wait_eof, 'the end');
};


subtest 'payloads and packets' => sub {
    my $eio = SIO::EIO->new(port => 1, eio => 3);

    my @packets = ('40', "42[\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"]");
    is($eio->encode(@packets), "2:4010:$packets[1]", 'EIO3 counts UTF-16');
    is_deeply([ $eio->decode("2:4010:$packets[1]") ], \@packets, 'and back');
    is_deeply([ SIO::EIO->decode("2\x1e4a\x1e") ], [ '2', '4a', '' ], 'EIO4');

    my $p = SIO::Client::decode('452-/a,7["b",{"_placeholder":true,"num":0}]');
    is("$p->{type} $p->{nsp} $p->{id} $p->{expected} $p->{data}[0]",
       '5 /a 7 2 b', 'packet');

    my @attachments;
    my $data = SIO::Client::extract([ \"\1\2", { a => \'x' } ], \@attachments);
    is_deeply(\@attachments, [ "\1\2", 'x' ], 'attachments');
    is($data->[1]{a}{num}, 1, 'placeholder');
};


subtest 'programs' => sub {
    my $r = SIO::Proc->run([ 'sh', '-c', 'cat; echo no >&2; exit 3' ],
                           stdin => "line\n");

    is_deeply($r, { status => 3, out => "line\n", err => "no\n" }, 'run');

    my $cat = SIO::Proc->spawn(['cat']);
    $cat->send({ a => 1 });
    is_deeply($cat->json, { a => 1 }, 'lines');
    ok(!defined $cat->line(0.1), 'none');
    $cat->send({ $_ => 1 }) for qw(a b c);
    is_deeply($cat->json_with('c'), { c => 1 }, 'out of order');
    is_deeply($cat->json_with('b'), { b => 1 }, 'one that was kept');
    is_deeply($cat->json, { a => 1 }, 'and the other');
    $cat->send('x');
    $cat->send('y');
    is($cat->expect(qr/y/), 'y', 'the one we want');
    $cat->close_stdin;
    is($cat->wait, 0, 'the end of input');

    my $started = time;
    $r = SIO::Proc->run([ 'sh', '-c', 'sleep 60 & sleep 60' ], timeout => 0.2);
    is($r->{status}, -1, 'too slow');
    cmp_ok(time - $started, '<', 20, 'and ended');

    isnt(free_port(), free_port(), 'ports differ');
};


done_testing();
