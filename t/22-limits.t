#!/usr/bin/perl

# nginx's limits: connections and requests of clients, a rate for each event
# and user at the webhook's location, limit_rate, and the time-outs of HTTP.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(read_file wait_until scale tail);
use SIO::WS;
use SIO::Webhooks qw(webhooks_of disconnect_of);
use Test::More;
use Time::HiRes qw(sleep time);

my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 16; }

    log_format limits '\$status \$limit_conn_status \$limit_req_status '
                      '\$socketio_transport \$socketio_reason';

    # of a test, so that they are not in each other's way
    limit_conn_zone \$arg_who zone=clients:1m;
    limit_conn_zone \$socketio_type zone=hooks:1m;

    limit_req_zone \$arg_who zone=requests:1m rate=1r/m;
    limit_req_zone \$arg_who zone=slowly:1m rate=5r/s;

    # an empty key is not limited: no connects and no ends

    map \$socketio_type \$event_of_user {
        default  "";
        event    "\$socketio_user \$socketio_event";
    }

    limit_req_zone \$event_of_user zone=events:1m rate=1r/m;
    limit_req_zone \$socketio_user zone=delayed:1m rate=10r/s;
    limit_req_zone "\$socketio_type" zone=connects:1m rate=1r/m;
    limit_req_zone "\$socketio_sid \$socketio_type" zone=ends:1m rate=30r/m;
EOS
    server => <<'EOS',
        socketio_webhook /_hook;
        access_log %%PREFIX%%/limits.log limits;
        proxy_http_version 1.1;
        proxy_set_header Connection "";

        location /conn/ {
            socketio;
            limit_conn clients 2;
        }

        location /mirrored/ {
            socketio;
            limit_conn clients 2;
            mirror /_mirror;
        }

        location /mirror-only/ {
            socketio;
            mirror /_mirror;
        }

        location /conn-quick/ {
            socketio;
            limit_conn clients 2;
            limit_conn_status 429;
            socketio_ping_interval 100ms;
            socketio_ping_timeout 100ms;
        }

        location /req/ {
            socketio;
            limit_req zone=requests burst=2 nodelay;
        }

        location /req-delayed/ {
            socketio;
            limit_req zone=slowly burst=5;
        }

        location /rated/      { socketio; socketio_webhook /_rated; }
        location /rated-429/  { socketio; socketio_webhook /_rated_429; }
        location /delayed/    { socketio; socketio_webhook /_delayed; }
        location /connects/   { socketio; socketio_webhook /_connects; }
        location /connects-429/ {
            socketio;
            socketio_webhook /_connects_429;
        }
        location /ends/       { socketio; socketio_webhook /_ends;
                                socketio_webhook_events disconnect; }
        location /few/        { socketio; socketio_webhook /_few;
                                socketio_webhook_events event; }

        location /slow/ {
            socketio;
            limit_rate 100k;
        }

        location /requests/ {
            socketio;
            keepalive_requests 3;
        }

        location /body/ {
            socketio;
            client_body_timeout 300ms;
        }

        location /reset/ {
            socketio;
            reset_timedout_connection on;
            socketio_ping_interval 100ms;
            socketio_ping_timeout 100ms;
        }

        location = /_hook     { internal; proxy_pass http://app/hook; }
        location = /_mirror   { internal; proxy_pass http://app/mirror; }
        location = /_rated    { internal; limit_req zone=events;
                                proxy_pass http://app/hook; }
        location = /_rated_429 { internal; limit_req zone=events;
                                limit_req_status 429;
                                proxy_pass http://app/hook; }
        location = /_delayed  { internal; limit_req zone=delayed burst=20;
                                proxy_pass http://app/hook; }
        location = /_connects { internal; limit_req zone=connects;
                                proxy_pass http://app/hook; }
        location = /_connects_429 { internal; limit_req zone=connects;
                                limit_req_status 429;
                                proxy_pass http://app/hook; }
        location = /_ends     { internal; limit_req zone=ends;
                                proxy_pass http://app/hook; }
        location = /_few      { internal; limit_conn hooks 2;
                                proxy_pass http://app/hook; }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS
)->start;

my $port = $nginx->port;
my $json = JSON::PP->new->utf8;


sub client {
    my ($path, %option) = @_;

    return SIO::Client->connect(port => $port, path => $path, %option);
}


# A handshake; its status, and the WebSocket.

sub attempt {
    my ($path, $who) = @_;

    my ($ws, $r) = SIO::WS->handshake(port => $port,
        path => "$path?EIO=4&transport=websocket&who=$who");

    return ($r->{status}, $ws);
}


sub admitted {
    my ($path, $who) = @_;

    return wait_until(10, sub {
        my ($status, $ws) = attempt($path, $who);

        $ws->drop if $ws;

        return $status == 101;
    });
}


# What was sent before has been read: each worker answers something else.

sub settle {
    for my $pid ($nginx->workers) {
        $nginx->connect_to($pid)->get('/_pid');
    }
}


# They have fallen silent, and are looked at in the end: nginx waits for their
# answer to its close frame.

my ($reset, $kept) = map { (attempt($_, 'silence'))[1] }
                     qw(/reset/ /conn-quick/);


# Clients hold their place until they have gone, however they go.

my %goes = (
    'a close frame' => sub { $_[0]->close },
    'FIN'           => sub { $_[0]->drop },
    'RST'           => sub { $_[0]->abort },
    'no frame'      => sub { $_[0]->send_raw("\xff" x 8); $_[0]->wait_close;
                             $_[0]->drop },
);

for my $path (qw(/conn/ /mirrored/)) {
    subtest "limit_conn and WebSockets, $path" => sub {
        for my $name (sort keys %goes) {
            my $who = $name =~ tr/ //dr . $path =~ tr{/}{}dr;

            my ($one, $first) = attempt($path, $who);
            my ($two, $second) = attempt($path, $who);

            is("$one $two", '101 101', "$name: two are let in");

            $_->recv for $first, $second;

            is((attempt($path, $who))[0], 503, 'a third is not');
            is((attempt($path, "$who-b"))[0], 101, 'somebody else is');

            $goes{$name}->($first);
            ok(admitted($path, $who), 'when one has gone there is room');
            ok(admitted($path, $who), 'for one at a time');

            $goes{$name}->($second);
        }
    };
}


subtest 'limit_conn and polling' => sub {
    # a session takes no place, its requests do

    my @waiting = map {
        my $eio = SIO::EIO->open(port => $port, path => '/conn/');

        $eio->post('40');
        $eio->poll;
        $eio->{query} = 'who=p1';
        $eio->get_start;
    } 1, 2;

    settle();

    is((attempt('/conn/', 'p1'))[0], 503, 'two polls are two connections');

    $_->close for @waiting;
    ok(admitted('/conn/', 'p1'), 'until they end');

    my $eio = SIO::EIO->open(port => $port, path => '/conn/');

    $eio->post('40');
    $eio->{query} = 'who=p2';
    $eio->upgrade;
    $eio->send('42["x"]');

    my ($status, $ws) = attempt('/conn/', 'p2');

    is($status, 101, 'an upgraded session is one connection');
    $ws->recv;
    is((attempt('/conn/', 'p2'))[0], 503, 'and counts');
    $eio->{ws}->close;
    ok(admitted('/conn/', 'p2'), 'until it ends');
    $ws->close;
};


subtest 'limit_conn, and clients that fall silent' => sub {
    my ($status, $ws) = attempt('/conn-quick/', 'silent');
    my ($second, $other) = attempt('/conn-quick/', 'silent');

    is((attempt('/conn-quick/', 'silent'))[0], 429, 'its own status');

    $ws->wait_close;
    $ws->drop;
    ok(admitted('/conn-quick/', 'silent'), 'room after their time is over');
    $other->wait_close;
    $other->drop;
};


subtest 'limit_conn and a reload' => sub {
    my ($status, $ws) = attempt('/conn/', 'reload');
    my ($second, $other) = attempt('/conn/', 'reload');

    $ws->recv;
    $other->recv;
    $nginx->reload;

    is((attempt('/conn/', 'reload'))[0], 503, 'old connections count');
    $_->close for $ws, $other;
    ok(admitted('/conn/', 'reload'), 'until they end');
};


subtest 'what the log says of limits' => sub {
    my ($status, $ws) = attempt('/conn/', 'logged');

    $ws->close;

    ok(wait_until(5, sub {
        read_file($nginx->prefix . '/limits.log')
            =~ /^101 PASSED - websocket transport close$/m;
    }), 'a WebSocket that was counted');

    like(read_file($nginx->prefix . '/limits.log'),
         qr/^503 REJECTED - /m, 'and one that was refused');
    unlike(read_file($nginx->prefix . '/limits.log'),
           qr/^101 PASSED - websocket -$/m,
           'also of those that left before their mirror was done');
};


subtest 'a mirror that hangs' => sub {
    $backend->reset;
    $backend->on({ path => '/mirror' }, { hang => 1 });

    for my $path (qw(/mirrored/ /mirror-only/)) {
        my $client = client($path, query => "who=hangs");

        $client->emit('x');
        ok($backend->wait(1, 10, type => 'event', sid => $client->sid),
           "$path: a WebSocket does not wait for it for long");

        $client->eio->{ws}->close;
    }

    $backend->reset;

    my $client = client('/mirror-only/', transport => 'polling');

    $client->eio->upgrade;
    $client->emit('x');
    $client->eio->{ws}->close;

    my @mirrored = $backend->wait(4, 5, path => '/mirror');

    is(join(' ', sort map { $_->{method} } @mirrored), 'GET GET GET POST',
       'each request of a session is mirrored');

    my ($post) = grep { $_->{method} eq 'POST' }
                 $backend->requests(path => '/mirror');

    is($post->{body}, '40', 'with its body');
};


subtest 'limit_req' => sub {
    my $http = SIO::HTTP->new(port => $port);
    my $path = '/req/?EIO=4&transport=polling&who=r1';

    is(join(' ', map { $http->get($path)->{status} } 1 .. 4),
       '200 200 200 503', 'polling');

    is(join(' ', map { (attempt('/req/', 'r2'))[0] } 1 .. 4),
       '101 101 101 503', 'WebSockets');

    my $begin = time;
    my @statuses = map { (attempt('/req-delayed/', 'r3'))[0] } 1 .. 3;

    is("@statuses", '101 101 101', 'with a delay');
    cmp_ok(time - $begin, '>', 0.3, 'which takes its time');

    my $client = client('/req-delayed/', query => 'who=r4',
                        transport => 'polling');

    $client->eio->upgrade;
    $client->emit('x');
    ok($backend->wait(1, 5, type => 'event', sid => $client->sid),
       'a whole session, delayed');
    $client->eio->{ws}->close;
};


# Events of two users; webhooks are counted where they go out.

for my $path (qw(/rated/ /rated-429/)) {
    subtest "a rate of events, $path" => sub {
        $backend->reset;
        $backend->on({ type => 'connect' }, { json => { user => '%sid%' } });
        $backend->on({ type => 'event' }, { json => { ack => ['ok'] } });

        my $mark = $nginx->mark;
        my ($one, $two) = map { client($path) } 1, 2;

        for my $case ([ $one, 'a a b a' ], [ $two, 'a b b' ]) {
            my ($client, $events) = @$case;

            # on the connection that is kept since the connect
            $backend->on({ event => 'a', sid => $client->sid },
                         { close => 'reset' }, times => 1);

            $client->emit($_) for split(' ', $events), 'end';

            $backend->wait(1, 5, sid => $client->sid, event => 'end');

            is(join(' ', map { $_->{json}{event} }
                    webhooks_of($backend, $client->sid, type => 'event')),
               'a b end', "one of each event for each user: $events");

            is($backend->requests(event => 'a', sid => $client->sid), 2,
               'and what is sent again is not counted again');
        }

        my $status = $path =~ /429/ ? 429 : 503;
        my $line = $path =~ /429/
            ? qr/\[warn\].*webhook was refused by the backend, status 429/
            : qr/\[error\].*webhook failed: unexpected status, status 503/;

        ok($nginx->wait_log($line, 5, $mark), "the log has the $status");

        my @lines = substr($nginx->log, $mark) =~ /$line/g;

        is(scalar @lines, 3, 'of each that was refused');

        $one->emit('more');
        ok($backend->wait(1, 5, sid => $one->sid, event => 'more'),
           'the connection stays');

        $_->eio->{ws}->close for $one, $two;
        is(disconnect_of($backend, $_->sid)->{reason}, 'transport close',
           'its end is told')
            for $one, $two;
    };
}


subtest 'a rate that delays' => sub {
    $backend->reset;
    $backend->on({ type => 'connect' }, { json => { user => '%sid%' } });

    my $client = client('/delayed/');
    my $begin = time;

    $client->emit("e$_") for 1 .. 5;
    $backend->wait(5, 10, sid => $client->sid, type => 'event');

    my @events = webhooks_of($backend, $client->sid, type => 'event');

    is(join(' ', map { $_->{json}{event} } @events), 'e1 e2 e3 e4 e5',
       'all of them, in order');
    cmp_ok(time - $begin, '>', 0.35, 'no faster than allowed');

    $client->eio->{ws}->close;
    ok(disconnect_of($backend, $client->sid), 'and its end');
};


subtest 'a rate of connects' => sub {
    $backend->reset;

    my $first = client('/connects/');
    my $second = SIO::EIO->open_ws(port => $port, path => '/connects/');

    $second->send('40');
    ok($second->{ws}->wait_close, '503: the client is closed, and comes back');

    my $third = SIO::Client->new(port => $port, path => '/connects-429/');
    my $packet = $third->join('/');

    is($packet->{type}, 4, '429: the client is told');

    $first->eio->{ws}->close;
    $third->eio->{ws}->close;
};


subtest 'an end that is refused at first' => sub {
    $backend->reset;

    # the key has been used, so that the first attempt is one too many

    my $client = client('/ends/', nsp => '/');
    my $other = client('/ends/', nsp => '/');

    $client->eio->{ws}->close;
    ok(disconnect_of($backend, $client->sid), 'an end in time');

    $other->eio->{ws}->close;
    ok(disconnect_of($backend, $other->sid), 'another');
};


subtest 'limit_conn at the webhook' => sub {
    $backend->reset;
    $backend->on({ type => 'event' }, { delay => 0.5 });

    my $mark = $nginx->mark;
    my @clients = map { client('/few/') } 1 .. 6;

    $_->emit('x') for @clients;

    ok($nginx->wait_log(qr/webhook failed: unexpected status, status 503/, 5,
                        $mark), 'what is too much is refused');

    $backend->wait_done(2, 5, type => 'event');

    cmp_ok($backend->max_concurrency(type => 'event'), '<=', 2,
           'all workers together have two under way');

    ok(wait_until(10, sub {
        $clients[0]->emit('again');
        return $backend->wait(1, 0.7, event => 'again');
    }), 'and others when those are done');

    $_->eio->{ws}->close for @clients;
};


subtest 'limit_rate' => sub {
    $backend->reset;

    my $http = SIO::HTTP->new(port => $port);
    my $body = $json->encode({ event => 'big', args => [ 'x' x 60_000 ] });

    my $polls = client('/slow/', transport => 'polling');
    my $ws = client('/slow/');

    $http->post('/_api/emit', $body);

    is(length(($polls->event('big'))->[1]), 60_000, 'a poll arrives whole');

    # several of them are one answer

    $http->post('/_api/emit', $body) for 1 .. 5;

    my $begin = time;

    is(length(($polls->event('big'))->[1]), 60_000, 'polls arrive whole')
        for 1 .. 5;
    cmp_ok(time - $begin, '>', 1, 'and slowly');

    is(length(($ws->event('big'))->[1]), 60_000, 'a WebSocket is not limited')
        for 1 .. 6;

    $polls->eio->post('1');
    $ws->eio->{ws}->close;
};


subtest 'keepalive_requests' => sub {
    my $http = SIO::HTTP->new(port => $port, keepalive => 1);
    my $eio = SIO::EIO->open(http => $http, path => '/requests/');

    $eio->post('40');
    $eio->poll;

    my $last = $eio->post_raw('42["x"]');

    ok($last->{status} == 200, 'a connection that ends is no end');
    is($eio->post_raw('42["y"]')->{status}, 200, 'another goes on')
        for 1 .. 5;
    $eio->post('1');
};


subtest 'client_body_timeout' => sub {
    my $eio = SIO::EIO->open(port => $port, path => '/body/');

    $eio->post('40');
    $eio->poll;

    my $http = SIO::HTTP->new(port => $port);
    my $post = $http->start('POST', $eio->url('polling'),
        headers => [ 'Content-Length' => 100 ], body => '42["x"]');

    # as nginx does: there is nobody to be told
    is($post->wait(20)->{status}, 0, 'a body that does not come');

    # The worker that has the session hears of it from the one that had the
    # request, and may have another GET before.
    my $answer;

    wait_until(20, sub { ($answer = $eio->get)->{status} != 200 });
    is($answer->{status}, 400, 'is the end of the session')
        or diag("$answer->{body}\n", tail($nginx->log, 20));

    like(read_file($nginx->prefix . '/limits.log'),
         qr/^408 - - polling -$/m, 'and a line in the log');
};


subtest 'reset_timedout_connection' => sub {
    ok($reset->wait_close(20), 'a silent client is told');
    ok($reset->wait_eof(20) && $reset->{c}{reset}, 'and its connection reset');

    ok($kept->wait_close(20), 'also without it');
    ok($kept->wait_eof(20) && !$kept->{c}{reset}, 'which is the usual end');
};


$nginx->stop;
$backend->stop;

done_testing();
