#!/usr/bin/perl

# Backends that are broken, slow, gone, or mean: a connect that they spoil
# closes the transport, an event costs a line in the log, a disconnect is told
# until somebody has understood it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::Backend;
use SIO::Client;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(free_port temp_dir wait_until write_file);
use SIO::Webhooks qw(client_of disconnect_of all_is_told);
use Test::More;
use Time::HiRes qw(sleep);

my $backend = SIO::Backend->new->start;
my $dir = temp_dir();
my ($raw_port, $dead_port) = (free_port(), free_port());

# Reads whatever comes, writes the same octets to everybody, with pauses.

write_file("$dir/raw.pl", <<'EOF');
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;

my ($port, $file) = @ARGV;

my $listen = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1',
    LocalPort => $port,
    Listen    => 64,
    ReuseAddr => 1,
) or die $@;

$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
$| = 1;
print "ready\n";

for ( ;; ) {
    my $c = $listen->accept or next;

    next if fork;

    my $select = IO::Select->new($c);

    1 while $select->can_read(0.1) && sysread $c, my $buffer, 65536;

    open my $in, '<', $file or die;
    local $/;

    for my $step (@{ decode_json(<$in>) }) {
        select undef, undef, undef, $step->[0];
        syswrite $c, decode_base64($step->[1]);
    }

    exit;
}
EOF

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 32; }
EOS
    server => <<"EOS",
        subrequest_output_buffer_size 64k;
        proxy_http_version 1.1;
        proxy_set_header   Connection "";
        socketio_webhook   /_hook;

        location /socket.io/  { socketio; }
        location /unbuffered/ { socketio; socketio_webhook /_unbuffered; }
        location /refused/    { socketio; socketio_webhook /_refused; }
        location /absent/     { socketio; socketio_webhook /_absent; }
        location /raw/        { socketio; socketio_webhook /_raw;
                                socketio_webhook_timeout 1s; }
        location /fastcgi/    { socketio; socketio_webhook /_fastcgi; }
        location /fastcgi2/   { socketio; socketio_webhook /_fastcgi2; }
        location /scgi/       { socketio; socketio_webhook /_scgi; }
        location /hasty/      { socketio; socketio_webhook_timeout 1s; }
        location /large/      { socketio; socketio_webhook /_large;
                                socketio_send_buffer 64m; }
        location /fallback/   { socketio; socketio_webhook /_fallback; }

        location = /_hook       { internal; proxy_pass http://app; }
        location = /_unbuffered { internal; proxy_pass http://app;
                                  proxy_buffering off; }
        location = /_large      { internal; proxy_pass http://app;
                                  subrequest_output_buffer_size 8m; }
        location = /_refused    { internal;
                                  proxy_pass http://127.0.0.1:$dead_port; }
        location = /_raw        { internal;
                                  proxy_pass http://127.0.0.1:$raw_port; }
        location = /_fastcgi    { internal;
                                  fastcgi_pass 127.0.0.1:$raw_port; }
        location = /_fastcgi2   { internal; fastcgi_buffering off;
                                  fastcgi_pass 127.0.0.1:$raw_port; }
        location = /_scgi       { internal;
                                  scgi_pass 127.0.0.1:$raw_port; }
        location = /_fallback   { internal; proxy_pass http://app;
                                  proxy_intercept_errors on; }
        error_page 500 = /_sorry;
        location = /_sorry      { internal; return 204; }
EOS
)->start;

my @workers = $nginx->workers;


sub http {
    my ($body, @headers) = @_;

    my $head = join '', map { "$_\r\n" } 'HTTP/1.1 200 OK', @headers;

    return { raw => "$head\r\n$body" };
}


sub with_length {
    my ($body) = @_;

    return http($body, 'Content-Length: ' . length $body);
}


# An event with this reply; the one behind it has to work.

sub event_fails {
    my ($client, $name, $reply, $reason) = @_;

    my $mark = $nginx->mark;

    $backend->on({ event => 'do' }, $reply);
    $backend->on({ event => 'ok' }, { json => { ack => ['ok'] } });

    $client->emit_to('/', 7000, 'do');

    is_deeply($client->call('ok'), ['ok'], "$name: the next event works");

    ok($nginx->wait_log(qr/webhook failed: .*\bevent "do"/, 2, $mark),
       'the log has a line');

    my ($line) = substr($nginx->log, $mark)
                 =~ /webhook failed: ([^\n]*?), client[^\n]*event "do"/;

    like($line // '', $reason, 'which tells why');
}


sub connect_fails {
    my ($name, $path, $reply) = @_;

    $backend->on({ type => 'connect' }, $reply) if $reply;

    my $client = SIO::Client->new(port => $nginx->port, path => $path);

    $client->send_packet(0, '/');

    ok($client->eio->{ws}->wait_close, "$name: a connect closes the transport");

    $backend->on({ type => 'connect' }, {}) if $reply;
}


my $deep = '[' x 100 . ']' x 100;
my $utf8 = qr/^unreadable body, status 200\z/;
my $cut = qr/^answer cut off, status 200\z/;
my $large = qr/^(?:no[ ]answer,[ ]or[ ]one|answer)[ ]larger[ ]than
                [ ]subrequest_output_buffer_size,[ ]status[ ]200\z/x;

my @broken = (
    # what is no object in JSON

    [ 'not JSON'            => with_length('It works'), $utf8 ],
    [ 'an array'            => with_length('[]'), $utf8 ],
    [ 'a string'            => with_length('"ok"'), $utf8 ],
    [ 'null'                => with_length('null'), $utf8 ],
    [ 'two objects'         => with_length('{}{}'), $utf8 ],
    [ 'half an object'      => with_length('{"ack":['), $utf8 ],
    [ 'a trailing comma'    => with_length('{"ack":[1,]}'), $utf8 ],
    [ 'single quotes'       => with_length("{'ack':[1]}"), $utf8 ],
    [ 'NaN'                 => with_length('{"ack":[NaN]}'), $utf8 ],
    [ 'a control character' => with_length("{\"ack\":[\"\n\"]}"), $utf8 ],
    [ 'a NUL'               => with_length("{\"ack\":[1]}\0"), $utf8 ],
    [ 'a byte order mark'   => with_length("\xef\xbb\xbf{}"), $utf8 ],
    [ 'invalid UTF-8'       => with_length("{\"ack\":[\"\xff\"]}"), $utf8 ],
    [ 'a cut UTF-8 sequence' => with_length("{\"ack\":[\"\xc3\"]}"), $utf8 ],
    [ 'a surrogate in UTF-8'
      => with_length("{\"ack\":[\"\xed\xa0\x80\"]}"), $utf8 ],
    [ 'deep nesting'        => with_length("{\"a\":$deep}"), $utf8 ],
    [ 'very deep nesting'   => with_length('[' x 60000), $utf8 ],

    # what is no answer

    [ 'no answer'           => { raw => '' }, qr/^no answer/ ],
    [ 'a reset'             => { close => 'reset' }, qr/^no answer/ ],
    [ 'garbage'             => { raw => "\x00\x01\x02hello\n" },
      qr/^(?:no answer|unreadable)/ ],
    [ 'JSON without HTTP'   => { raw => '{"ack":[1]}' },
      qr/^(?:no answer|unreadable)/ ],
    [ 'half a header'       => { raw => "HTTP/1.1 200 OK\r\nConte" },
      qr/, status 502\z/ ],
    [ 'a header that is too long'
      => http('{}', 'X-Long: ' . 'x' x 70000), qr/, status 502\z/ ],

    # what is cut off

    [ 'less than Content-Length'
      => http('{"ack":[1]}', 'Content-Length: 100'), $cut ],
    [ 'nothing of Content-Length' => http('', 'Content-Length: 11'), $cut ],
    [ 'chunks without the last one'
      => http("b\r\n{\"ack\":[1]}\r\n", 'Transfer-Encoding: chunked'), $cut ],
    [ 'half a chunk'
      => http("20\r\n{\"ack\":[1]}", 'Transfer-Encoding: chunked'), $cut ],
    [ 'no chunk'            => http('', 'Transfer-Encoding: chunked'), $cut ],
    [ 'chunks that are none'
      => http("{\"ack\":[1]}", 'Transfer-Encoding: chunked'), qr/./ ],

    # what is too large

    [ 'a large body'
      => with_length('{"a":"' . 'x' x 100_000 . '"}'), $large ],
    [ 'a large body in chunks'
      => { body => '{"a":"' . 'x' x 100_000 . '"}', chunked => 1 }, $large ],
    [ 'a large body that ends with the connection'
      => http('{"a":"' . 'x' x 100_000 . '"}', 'Connection: close'), $large ],

    # statuses

    map({ [ "status $_" => { status => $_, body => '{"ack":[1]}' },
            qr/^unexpected status, status $_\z/ ] }
        300, 301, 302, 303, 307, 500, 502, 503, 504, 599),
    [ 'status 304'          => { status => 304 }, qr/, status 304\z/ ],
    [ 'status 101'          => { raw => "HTTP/1.1 101 Switching\r\n"
                                 . "Upgrade: websocket\r\n\r\n" }, qr/./ ],
    [ 'gzip'                => http("\x1f\x8b\x08", 'Content-Length: 3',
                                    'Content-Encoding: gzip'),
      qr/^answer compressed, status 200\z/ ],
);


for my $path (qw(/socket.io/ /unbuffered/)) {
    subtest "answers to events, $path" => sub {
        my $client = client_of($nginx, $workers[0], path => $path);

        event_fails($client, @$_) for @broken;

        $client->disconnect;
        all_is_told($backend, 'all is told');
        $backend->reset;
    };


    subtest "answers to connects, $path" => sub {
        connect_fails($_->[0], $path, $_->[1]) for @broken;

        is($backend->requests(type => 'disconnect'), 0, 'no disconnects');
        $backend->reset;
    };
}


subtest 'odd, but understood' => sub {
    my $client = client_of($nginx, $workers[1]);

    for my $case (
        [ 'white space'      => with_length("\r\n {\"ack\" : [1] }\t\n") ],
        [ 'no length'        => http('{"ack":[1]}', 'Connection: close') ],
        [ 'chunks'           => { body => '{"ack":[1]}', chunked => 1 } ],
        [ 'HTTP/1.0'         => { raw => "HTTP/1.0 200 OK\r\n\r\n"
                                         . '{"ack":[1]}' } ],
        [ 'status 201'       => { status => 201, body => '{"ack":[1]}' } ],
        [ 'status 299'       => { status => 299, body => '{"ack":[1]}' } ],
        [ 'another type'     => { type => 'text/html',
                                  body => '{"ack":[1]}' } ],
        [ 'two members of one name, the last counts'
          => with_length('{"ack":[2],"emit":5,"ack":[1],"emit":[]}') ],
        [ 'an escaped name'  => with_length('{"\u0061ck":[1]}') ],
        [ 'nearly too deep'
          => with_length('{"a":' . '[' x 60 . ']' x 60 . ',"ack":[1]}') ],
        [ 'nearly too large'
          => with_length('{"a":"' . 'x' x 60_000 . '","ack":[1]}') ],
    ) {
        my ($name, $reply) = @$case;

        $backend->on({ event => 'do' }, $reply);

        is_deeply($client->call('do'), [1], $name);
    }

    for my $status (200, 202, 204) {
        $backend->on({ event => 'do' }, { status => $status, body => '' });
        $backend->on({ event => 'ok' }, { json => { ack => ['ok'] } });

        my $mark = $nginx->mark;

        $client->emit_to('/', 7000, 'do');
        is_deeply($client->call('ok'), ['ok'], "nothing, status $status");
        unlike(substr($nginx->log, $mark), qr/webhook/, 'is no failure');
    }

    $client->disconnect;

    $client = client_of($nginx, $workers[1], path => '/fallback/');
    event_fails($client, 'but no page for people', { status => 500 },
                qr/^unexpected status, status 500\z/);
    $client->disconnect;

    all_is_told($backend, 'all is told');
    $backend->reset;
};


my $raw = SIO::Proc->spawn([ $^X, "$dir/raw.pl", $raw_port,
                             "$dir/answer.json" ]);

$raw->line // BAIL_OUT('no raw server: ' . $raw->stderr);


sub answer {
    my (@steps) = @_;

    write_file("$dir/answer.json", JSON::PP->new->encode(
        [ map { [ ref $_ ? ($_->[0], encode_base64($_->[1], ''))
                         : (0, encode_base64($_, '')) ] } @steps ]));
}


sub record {
    my ($type, $content) = @_;

    return pack('CCnnCC', 1, $type, 1, length $content, 0, 0) . $content;
}


subtest 'other protocols' => sub {
    my $cgi = "Content-Type: application/json\r\n\r\n{\"user\":\"u\"}";
    my $end = record(6, '') . record(3, "\0" x 8);
    my $reason = qr/webhook failed: (.*?), client/;

    for my $path (qw(/fastcgi/ /fastcgi2/ /scgi/)) {
        answer($path eq '/scgi/' ? $cgi : record(6, $cgi) . $end);

        my $client = SIO::Client->new(port => $nginx->port, path => $path);

        is($client->join('/')->{type}, 0, "$path works");
        $client->eio->{ws}->drop;

        my @cases = (
            [ 'nothing' => '' ],
            [ 'garbage' => "\x07hello\r\n" ],
        );

        push @cases,
            [ 'no end of request' => record(6, $cgi) ],
            [ 'half a record' => substr record(6, $cgi), 0, -3 ],
            [ 'only errors'   => record(7, 'PHP Fatal error') . $end ],
            [ 'a status'      => record(6, "Status: 500\r\n\r\n{}") . $end ],
            [ 'no header'     => record(6, '{"user":"u"}') . $end ],
            [ 'less than Content-Length'
              => record(6, "Content-Length: 99\r\n$cgi") . $end ]
            if $path ne '/scgi/';

        push @cases, [ 'less than Content-Length'
                       => "Content-Length: 99\r\n$cgi" ]
            if $path eq '/scgi/';

        for my $case (@cases) {
            my ($name, $octets) = @$case;
            my $mark = $nginx->mark;

            answer($octets);
            connect_fails("$path $name", $path);
            ok($nginx->wait_log($reason, 2, $mark), 'the log has a line');
        }

        # the disconnects of those that worked
        answer($path eq '/scgi/' ? $cgi : record(6, $cgi) . $end);
    }
};


subtest 'slow ones' => sub {
    my $head = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";

    answer($head, map { [ 0.02, $_ ] } split //, '{"user":"u"}');

    my $client = SIO::Client->new(port => $nginx->port, path => '/raw/');

    is($client->join('/')->{type}, 0, 'octet by octet');

    for my $case (
        [ 'never'                => [ 5, '' ] ],
        [ 'a header for ever'    => 'HTTP/1.1 200 OK',
          map { [ 0.2, "\r\nX-$_: $_" ] } 1 .. 25 ],
        [ 'a body for ever'      => $head,
          map { [ 0.4, $_ ] } split //, '{"user":"u"}' ],
    ) {
        my ($name, @steps) = @$case;
        my $mark = $nginx->mark;

        answer(@steps);
        connect_fails($name, '/raw/');
        ok($nginx->wait_log(qr/webhook failed: timed out/, 2, $mark),
           'socketio_webhook_timeout is for all of it');
    }

    $client->eio->{ws}->drop;
    answer("HTTP/1.1 204 OK\r\n\r\n");

    $client = client_of($nginx, $workers[2], path => '/hasty/');
    event_fails($client, 'hanging', { hang => 1 }, qr/^timed out/);
    event_fails($client, 'late', { delay => 2, json => { ack => [1] } },
                qr/^timed out/);

    $client->disconnect;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


subtest 'none at all' => sub {
    for my $path (qw(/refused/ /absent/)) {
        my $mark = $nginx->mark;
        my $client = SIO::Client->new(port => $nginx->port, path => $path);
        my $packet;

        $client->send_packet(0, '/');

        if ($path eq '/absent/') {
            # no such location is a 404 like any other
            $packet = $client->packet;
            is($packet->{text}, '44{"message":"Not Found"}', $path);
            $client->disconnect;
            next;
        }

        ok($client->eio->{ws}->wait_close, "$path closes the transport");
        ok($nginx->wait_log(qr/webhook failed: no answer/, 2, $mark),
           'the log has a line');
    }

    my $eio = SIO::EIO->open(port => $nginx->port, path => '/refused/');

    eval { $eio->send('40') };

    ok(wait_until(5, sub { $eio->get->{status} == 400 }),
       'by polling the session is gone');
};


subtest 'replies that want a lot' => sub {
    my @clients = map {
        client_of($nginx, $workers[$_], path => '/large/')
    } 0 .. 2;
    my $client = $clients[0];

    $backend->on({ event => 'end' }, { json => {
        emit => [ { event => 'fence', broadcast => \1 } ] } });

    my $got = sub {
        my ($client) = @_;
        my @names;

        for ( ;; ) {
            my $packet = $client->packet(20) // return 'no fence';

            last if $packet->{type} == 2 && $packet->{data}[0] eq 'fence';

            push @names, $packet->{data}[0] // 'ack';
        }

        return "@names";
    };

    my $do = sub {
        my ($reply) = @_;

        $backend->on({ event => 'do' }, $reply);
        $client->emit_to('/', 1, 'do');
        $client->emit_to('/', undef, 'end');
    };

    # some to one, some to all

    $do->({ json => { emit => [
        map { { event => "$_", $_ % 3 ? () : (broadcast => \1) } } 1 .. 1000
    ], ack => [] } });

    is($got->($client), join(' ', 1 .. 1000, 'ack'), '1000 emits');
    is($got->($_), join(' ', grep { $_ % 3 == 0 } 1 .. 1000), 'to others')
        for @clients[ 1, 2 ];

    # more than 16 bits can count

    my @many = map { "room$_" } 1 .. 70000;

    $do->({ json => { emit => [
        { event => 'e', to => [ @many, $clients[1]->sid ] } ] } });

    like($got->($client), qr/^\z/, '70000 rooms');
    like($got->($clients[1]), qr/^e?\z/, 'with one in them');
    is($got->($clients[2]), '', 'and one who is not');

    $do->({ json => { join => \@many } });
    $got->($_) for @clients;

    # once more, since this takes a while
    $do->({ json => { leave => \@many, ack => ['left'] } });
    is($got->($client), 'left', 'all rooms are left again');
    $got->($_) for @clients[ 1, 2 ];

    # what the log cannot carry

    my $huge = 'x' x 6_000_000;

    $do->({ body => '{"emit":[{"event":"' . $huge . '","broadcast":true},'
                    . '{"event":"after","broadcast":true}],"ack":["a"]}' });
    is($got->($client), 'after a', 'an emit that is too large');
    is($got->($_), 'after', 'to others') for @clients[ 1, 2 ];
    ok($nginx->wait_log(qr/"emit" of a reply was dropped: it is too large/, 2),
       'is in the log');

    # what one client would be sent alone has the size of the reply

    substr $huge, 1_000_000, -1, '';
    $do->({ body => '{"emit":[{"event":"after"}],"ack":["' . $huge . '"]}' });

    my @own = split / /, $got->($client);

    is($own[0], 'after', 'a large ack');
    is(length($own[1] // ''), length $huge, 'goes to its client alone');
    $got->($_) for @clients[ 1, 2 ];

    $_->disconnect for @clients;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


subtest 'disconnects that nobody understands' => sub {
    for my $reply (
        { status => 500 },
        { status => 302 },
        { close => 'reset' },
        with_length('It works'),
        http('{"emit":[]', 'Content-Length: 100'),
    ) {
        my $name = join ' ', map { substr $reply->{$_}, 0, 12 } keys %$reply;
        my $client = client_of($nginx, $workers[3]);

        $backend->on({ type => 'disconnect' }, $reply);
        $client->disconnect;

        $backend->wait(2, 10, type => 'disconnect');
        $backend->on({ type => 'disconnect' }, { json => {} });

        my $done = wait_until(10, sub {
            grep { ($_->{status} // 0) == 200 }
                 ($backend->requests(type => 'disconnect'))[-1];
        });

        ok($done, "$name: are told again");

        my %ids = map { $_->{json}{id} => 1 }
                  $backend->requests(type => 'disconnect');

        is(scalar keys %ids, 1, 'under the same id');

        all_is_told($backend, 'all is told');
        $backend->reset;
    }

    for my $status (400, 404, 410) {
        my $client = client_of($nginx, $workers[3]);

        $backend->on({ type => 'disconnect' }, { status => $status });
        $client->disconnect;

        $backend->wait_done(1, 5, type => 'disconnect');
        sleep 1.5;

        is($backend->requests(type => 'disconnect'), 1,
           "$status has understood");
        $backend->reset;
    }
};


subtest 'an outage' => sub {
    my @clients = map { client_of($nginx, $workers[$_ % 4]) } 0 .. 7;
    my $left = pop @clients;

    $backend->wait_done(8, 5);
    $backend->stop;

    $_->eio->{ws}->drop for @clients;

    # one that comes meanwhile is told to try again
    connect_fails('meanwhile', '/socket.io/');

    my $mark = $nginx->mark;

    $left->emit('lost');
    ok($nginx->wait_log(qr/webhook failed: .*event "lost"/, 5, $mark),
       'an event is lost, and its client stays');

    # those who wait for their turn have to go on when a worker dies
    ok($nginx->wait_log(qr/is sent again in/, 5), 'disconnects wait');
    $nginx->kill_worker('KILL', $workers[1]);

    sleep 0.5;
    $backend->start;

    my $told = wait_until(30, sub {
        return $backend->requests(type => 'disconnect') >= @clients;
    });

    ok($told, 'then all are told');

    $left->emit('found');
    ok($backend->wait(1, 5, event => 'found') > 0, 'the client who stayed');
    $left->disconnect;
    disconnect_of($backend, $left->sid);

    my %told;

    $told{$_->{json}{sid}}++ for $backend->requests(type => 'disconnect');

    is(scalar(grep { ($told{$_->sid} // 0) == 1 } @clients, $left), 8,
       'each of them once');
};


$nginx->stop;
$raw->kill;
$backend->stop;

done_testing();
