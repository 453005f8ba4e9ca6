#!/usr/bin/perl

# What nginx can do with a webhook on its way: variables of the client and of
# the webhook, rewrites and conditions, error pages, caches, other handlers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(program read_file wait_until);
use SIO::Webhooks qw(webhooks_of disconnect_of client_of);
use Test::More;
use Time::HiRes qw(sleep);

my $backend = SIO::Backend->new->start;
my $second = SIO::Backend->new->start;

# What is cached is in files, which threads may read.

my $threads =
    SIO::Proc->run([ program($ENV{SIO_NGINX} // 'nginx'), '-V' ])->{err}
        =~ /--with-threads/ ? 'aio threads;' : '';

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app    { server @{[ $backend->address ]}; keepalive 8; }
    upstream second { server @{[ $second->address ]}; keepalive 8; }
    upstream nobody { server 127.0.0.1:%%PORT_nobody%%; }
    upstream one    { server @{[ $backend->address ]}; keepalive 1; }

    proxy_cache_path %%PREFIX%%/cache keys_zone=acks:1m;
    $threads

    log_format hooks '\$socketio_event \$upstream_cache_status';

    map \$socketio_type\$socketio_event \$no_cache {
        default          1;
        eventcatalog     0;
        eventprice       0;
        eventslow        0;
    }

    # what the client asked, without what is different each time

    map \$request_body \$question {
        "~\\"args\\":(?<asked>\\[.*\\]),\\"ack\\":"  \$asked;
    }

    map \$socketio_event \$by_event {
        default  /_hook/other;
        chat     /_hook/chat;
    }

    map \$http_x_tenant \$tenant_of {
        default  nobody;
        ~^(\\w+)\$  \$1;
    }
EOS
    server => <<'EOS',
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        error_page 502 503 /_page;
        error_page 404 = /_page;

        location ~ ^/of/(?<tenant>\w+)/socket.io/ {
            set $answer "$tenant $arg_q";
            socketio;
            socketio_webhook /_hook/$tenant/$socketio_type?q=$arg_q;
        }

        location /mapped/ { socketio; socketio_webhook $by_event; }
        location /header/ { socketio; socketio_webhook /_hook/$tenant_of; }

        location /named/ {
            socketio;
            socketio_webhook /_named/$socketio_event?type=$socketio_type;
        }

        location /_named/ { internal; proxy_pass http://app/named/; }

        location /if/ {
            socketio;
            socketio_webhook /_hook/plain;

            if ($arg_beta) {
                socketio_webhook /_hook/beta;
            }
        }

        location /rewritten/ { socketio; socketio_webhook /_rewritten; }
        location /chosen/    { socketio; socketio_webhook /_chosen; }
        location /limited/   { socketio; socketio_webhook /_get_only; }
        location /accel/     { socketio; socketio_webhook /_accel; }
        location /nested/    { socketio; socketio_webhook /_outer/inner; }

        location /down/      { socketio; socketio_webhook /_down; }
        location /page/      { socketio; socketio_webhook /_page_only; }
        location /sorry/     { socketio; socketio_webhook /_sorry; }
        location /same/      { socketio; socketio_webhook /_same; }
        location /kept/      { socketio; socketio_webhook /_kept; }
        location /chain/     { socketio; socketio_webhook /_chain; }
        location /nowhere/   { socketio; socketio_webhook /_nowhere; }
        location /cached/    { socketio; socketio_webhook /_cached; }

        location /_hook/ {
            internal;
            proxy_pass http://app;
            proxy_set_header X-Tenant $tenant;
            proxy_set_header X-Answer $answer;
            proxy_set_header X-Event  $socketio_event;
            proxy_set_header X-Type   $socketio_type;
        }

        location = /_rewritten {
            internal;
            rewrite ^ /written/$socketio_type break;
            proxy_pass http://app;
        }

        location = /_chosen {
            internal;

            if ($socketio_event = "refused") {
                return 403;
            }

            if ($socketio_event = "answered") {
                return 200 '{"ack":["from nginx"]}';
            }

            set $where app;

            if ($socketio_user) {
                set $where second;
            }

            proxy_pass http://$where/hook;
        }

        location = /_get_only {
            internal;
            limit_except GET { deny all; }
            proxy_pass http://app/hook;
        }

        location = /_accel    { internal; proxy_pass http://app/accel; }
        location = /_elsewhere { internal; proxy_pass http://second/there; }

        location /_outer/ {
            internal;
            proxy_pass http://app;

            location = /_outer/inner { proxy_pass http://second/inner; }
        }

        # a fallback, which may be another backend

        location = /_down {
            internal;
            proxy_pass http://nobody;
            error_page 502 504 = @second;
        }

        location @second { proxy_pass http://second; }

        location = /_page_only { internal; proxy_pass http://nobody; }

        location = /_sorry {
            internal;
            proxy_pass http://app;
            proxy_intercept_errors on;
            error_page 500 =200 /_answer;
            error_page 403 408 = /_answer;
        }

        location = /_answer { internal; return 200 '{"ack":["sorry"]}'; }

        location = /_same {
            internal;
            proxy_pass http://nobody;
            error_page 502 /_answer;
        }

        # a connection that is stale is no reason to give up a backend

        location = /_kept {
            internal;
            proxy_pass http://one;
            proxy_set_header Connection close;
            error_page 502 = @second;
        }

        location = /_chain {
            internal;
            recursive_error_pages on;
            proxy_pass http://nobody;
            error_page 502 = @chain;
        }

        location @chain {
            recursive_error_pages on;
            proxy_pass http://nobody;
            error_page 502 = @second;
        }

        location = /_nowhere {
            internal;
            proxy_pass http://nobody;
            error_page 502 = @missing;
        }

        # a page that is not there

        location = /_page { return 404; }

        location = /_cached {
            internal;
            proxy_pass           http://app;
            proxy_cache          acks;
            proxy_cache_methods  POST;
            proxy_cache_key      "$socketio_namespace $socketio_event $question";
            proxy_cache_bypass   $no_cache;
            proxy_no_cache       $no_cache;
            proxy_cache_valid    200 1m;
            proxy_cache_lock     on;
            access_log           %%PREFIX%%/hooks.log hooks;
            log_subrequest       on;
        }
EOS
)->start;

my $port = $nginx->port;


sub client {
    my ($path, %option) = @_;

    return SIO::Client->connect(port => $port, path => $path, %option);
}


sub paths {
    my ($b, $sid) = @_;

    return join ' ', map { $_->{query} ? "$_->{path}?$_->{query}" : $_->{path} }
                     webhooks_of($b, $sid);
}


# What is asked and what comes back, acknowledgement or silence.

sub asks {
    my ($client, @event) = @_;

    my $answer = $client->call(@event);

    return defined $answer ? "@$answer" : '(nothing)';
}


sub ends {
    my ($client, $b) = @_;

    $client->eio->{ws}->close;

    return disconnect_of($b // $backend, $client->sid);
}


subtest 'variables of the client' => sub {
    my $client = client('/of/acme/socket.io/', query => 'q=a%20b');

    $client->emit('x');
    $backend->wait(1, 5, type => 'event');
    ends($client);

    is(paths($backend, $client->sid),
       '/_hook/acme/connect?q=a%20b /_hook/acme/event?q=a%20b '
       . '/_hook/acme/disconnect?q=a%20b',
       'captures, arguments and types in the URI');

    for my $hook (webhooks_of($backend, $client->sid)) {
        is_deeply([ @{ $hook->{headers} }{qw(x-tenant x-answer)} ],
                  [ 'acme', 'acme a%20b' ],
                  "a capture and a set variable: $hook->{json}{type}");
    }

    $backend->clear;

    # the session is of its first handshake, wherever it is upgraded

    my @workers = $nginx->workers;

    $client = client_of($nginx, $workers[0], transport => 'polling',
                        path => '/of/first/socket.io/');
    $client->eio->{path} = '/of/second/socket.io/';
    $client->eio->upgrade(http => $nginx->connect_to($workers[1]));
    $client->emit('x');

    my ($event) = $backend->wait(1, 5, type => 'event', sid => $client->sid);

    is($event->{headers}{'x-tenant'}, 'first', 'it moves with its session');

    ends($client);
};


subtest 'variables of the webhook' => sub {
    my $client = client('/mapped/');

    $client->emit('chat');
    $client->emit('more');
    $backend->wait(2, 5, type => 'event', sid => $client->sid);

    is(paths($backend, $client->sid),
       '/_hook/other /_hook/chat /_hook/other', 'a map of events');
    ends($client);

    $client = client('/header/', headers => [ 'X-Tenant' => 'acme' ]);
    is(paths($backend, $client->sid), '/_hook/acme', 'a map of a header');
    ends($client);

    # a header of a client is one of many names

    $client = client('/header/', headers => [ 'X-Tenant' => '../admin' ]);
    is(paths($backend, $client->sid), '/_hook/nobody',
       'which is what the map makes of it');
    ends($client);

    $client = client('/if/');
    is(paths($backend, $client->sid), '/_hook/plain', 'without a condition');
    ends($client);

    $client = client('/if/', query => 'beta=1');
    is(paths($backend, $client->sid), '/_hook/beta', 'and with it');
    ends($client);
};


subtest 'names of events in a URI' => sub {
    my $client = client('/named/');
    my $mark = $nginx->mark;

    for my $case (
        [ 'plain'        => 'plain' ],
        [ 'a?type=admin' => 'a%3Ftype=admin' ],
        [ 'a&type=admin' => 'a&type=admin' ],
        [ 'a#b'          => 'a%23b' ],
        [ 'a%3Fb'        => 'a%253Fb' ],
        [ '%2e%2e/b'     => '%252e%252e/b' ],
        [ '%00'          => '%2500' ],
        [ "a\nb"         => 'a%0Ab' ],
        [ "..\nb"        => '..%0Ab' ],

        # those that lead out of the location are lost
        [ '../b' ],
        [ 'a/../../b' ],
        [ '..' ],
        [ "\0" ],
    ) {
        my ($name, $path) = @$case;
        my $shown = $name =~ s/[^ -~]/?/gr;

        $backend->clear;
        $client->emit($name);
        $client->emit('next');
        ok($backend->wait(1, 5, path => '/named/next'), "$shown, the next");

        is(paths($backend, $client->sid),
           join(' ', map { "/named/$_?type=event" } $path // (), 'next'),
           $shown);
    }

    my $log = substr $nginx->log, $mark;

    unlike($log, qr/\[(?:warn|error)\]/, 'which is the business of no operator');
    like($log, qr{\[info\] .*"/_named/\.\.\?type=event" is an unsafe URI},
         'who may look for it');

    $backend->on({ event => "a\nforged" }, { close => 'reset' });
    $client->emit("a\nforged");
    ok($nginx->wait_log(qr{\[error\] .*webhook: "/_named/a\?forged"}, 5, $mark),
       'a webhook that fails is logged');
    unlike($nginx->log, qr/^forged/m, 'clients write no lines of their own');

    ends($client);
};


subtest 'rewrites, conditions, handlers' => sub {
    my $client = client('/rewritten/');

    is(paths($backend, $client->sid), '/written/connect', 'rewrite');
    ends($client);

    $backend->on({ type => 'connect' }, { json => { user => 'u' } });
    $_->on({ type => 'event' }, { json => { ack => ['%event%'] } })
        for $backend, $second;

    $client = client('/chosen/');

    is(asks($client, 'answered'), 'from nginx', 'return');
    is(asks($client, 'x'), 'x', 'a backend that was chosen');

    $client->emit('refused');
    is(asks($client, 'y'), 'y', 'a refusal');

    is(join(' ', map { $_->{json}{event} } $second->requests),
       'x y', 'by the user');

    ok($nginx->wait_log(qr/refused by the backend, status 403/),
       'which the log tells');
    ends($client, $second);

    # access is a matter of clients, not of what nginx itself asks

    $client = client('/limited/');
    is(asks($client, 'x'), 'x', 'limit_except lets webhooks pass');
    ends($client);

    $client = client('/nested/');
    is(paths($second, $client->sid), '/inner', 'nested locations');
    ends($client, $second);

    $backend->on({ path => '/accel' },
                 { headers => { 'X-Accel-Redirect' => '/_elsewhere' },
                   body => 'not this' });

    $client = client('/accel/');
    is(asks($client, 'x'), 'x', 'X-Accel-Redirect');
    is($second->requests(path => '/there') > 0, 1, 'to another location');
    ends($client, $second);

    $_->reset for $backend, $second;
};


subtest 'error_page' => sub {
    $_->on({ type => 'event' }, { json => { ack => ['%event%'] } })
        for $backend, $second;

    my $client = client('/down/');

    is(asks($client, 'x'), 'x', 'a second backend');
    ok(ends($client, $second), 'for all webhooks');

    $client = client('/chain/');
    is(asks($client, 'x'), 'x', 'a third, with recursive_error_pages');
    ends($client, $second);

    # pages for people

    my $mark = $nginx->mark;
    my $eio = SIO::EIO->open_ws(port => $port, path => '/page/');

    $eio->send('40');
    ok($eio->{ws}->wait_close, 'a page of the server makes nothing of it');
    ok($nginx->wait_log(qr/webhook failed: no answer from [^,]*, status 502/,
                        5, $mark), 'a 502 stays one');
    $eio->{ws}->drop;

    $mark = $nginx->mark;
    $eio = SIO::EIO->open_ws(port => $port, path => '/same/');
    $eio->send('40');
    ok($eio->{ws}->wait_close, 'without "=" the status stays, too');
    ok($nginx->wait_log(qr/webhook failed: [^,]*, status 502/, 5, $mark),
       'in the log');
    $eio->{ws}->drop;

    $mark = $nginx->mark;
    $eio = SIO::EIO->open_ws(port => $port, path => '/nowhere/');
    $eio->send('40');
    ok($eio->{ws}->wait_close, 'a location that is not there');
    ok($nginx->wait_log(qr/could not find named location "\@missing"/, 5,
                        $mark), 'is logged');
    $eio->{ws}->drop;

    # what the backend said

    $client = client('/sorry/');

    for my $case ([ 500, 'sorry' ], [ 403, 'sorry' ], [ 200, 'x' ]) {
        my ($status, $expected) = @$case;

        $backend->on({ type => 'event' },
                     { status => $status, json => { ack => ['%event%'] } });

        is(asks($client, 'x'), $expected, "status $status");
    }

    # 408 is what nginx ends a request with

    $backend->on({ event => 'late' }, { status => 408, json => {} });
    $backend->on({ event => 'x' }, { json => { ack => ['x'] } });

    $mark = $nginx->mark;
    $client->emit('late');
    is(asks($client, 'x'), 'x', 'status 408');
    ok($nginx->wait_log(qr/refused by the backend, status 408/, 5, $mark),
       'is the status');
    ends($client);

    $_->reset for $backend, $second;
};


subtest 'a stale connection is no error' => sub {
    $backend->on({ type => 'event' }, { json => { ack => ['first'] } });
    $second->on({ type => 'event' }, { json => { ack => ['second'] } });

    my $client = client('/kept/');
    my $mark = $nginx->mark;

    # one upon the other, or nginx would see that the connection is closed

    $client->send_packet(2, '/', $_, ['x']) for 1 .. 6;

    is(join(' ', map { $client->packet->{data}[0] } 1 .. 6),
       join(' ', ('first') x 6), 'each is answered by the first backend');

    like(substr($nginx->log, $mark), qr/it is sent again/,
         'though some had to be sent again');

    $backend->stop;
    is(asks($client, 'x'), 'second', 'the second steps in when it is down');
    $backend->start;

    ends($client);
    $_->reset for $backend, $second;
};


subtest 'a cache' => sub {
    my $n = 0;

    $backend->on({ event => 'catalog' },
                 { json => { ack => [ 'catalog', ++$n ] } }, times => 1);
    $backend->on({ event => 'price' }, { json => { ack => '%args%' } });
    $backend->on({ event => 'slow' },
                 { json => { ack => ['slow'] }, delay => 0.5 });
    $backend->on({ event => 'order' }, { json => { ack => ['%id%'] } });

    my @clients = map { client('/cached/') } 1 .. 3;

    is(asks($clients[$_ % 3], 'catalog'), 'catalog 1', 'an answer')
        for 1 .. 6;

    is(scalar $backend->requests(event => 'catalog'), 1,
       'was given once by the application');

    is(asks($clients[$_ % 3], 'price', $_ % 2, 'EUR'), $_ % 2 . ' EUR',
       'an answer to a question')
        for 1 .. 6;

    is(scalar $backend->requests(event => 'price'), 2, 'one for each');

    isnt(asks($clients[0], 'order'), asks($clients[0], 'order'),
         'others are not kept');
    is(scalar $backend->requests(event => 'order'), 2, 'but asked for');

    # two at once: the second waits for the answer to the first

    for my $client (@clients) {
        $client->send_packet(2, '/', 77, ['slow']);
    }

    for my $client (@clients) {
        is($client->wait_for(sub { ($_[0]{id} // '') eq '77' })->{data}[0],
           'slow', 'an answer that took its time');
    }

    is(scalar $backend->requests(event => 'slow'), 1, 'to one of them');

    ends($_) for @clients;

    my %seen;
    $seen{$_}++ for split /\n/, read_file($nginx->prefix . '/hooks.log');

    is($seen{'catalog MISS'}, 1, '$upstream_cache_status: MISS');
    is($seen{'catalog HIT'}, 5, 'HIT');
    is($seen{'order BYPASS'}, 2, 'BYPASS');

    $backend->reset;
};


$nginx->stop;
$_->stop for $backend, $second;

done_testing();
