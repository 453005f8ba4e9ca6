#!/usr/bin/perl

# Who may come in, by nginx's own means: allow and deny, passwords,
# auth_request, satisfy, limit_except, internal; who it is behind a proxy; and
# what the application is told of all this.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use SIO::Backend;
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(read_file wait_until);
use SIO::WS;
use SIO::Webhooks qw(webhooks_of disconnect_of);
use Test::More;

my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 8; }

    log_format who '\$status \$remote_addr \$realip_remote_addr '
                   'user=\$auth_user \$socketio_transport '
                   '\$socketio_sid "\$socketio_reason"';

    map \$auth_user \$is_admin {
        default  no;
        root     yes;
    }
EOS
    server => <<'EOS',
        socketio_webhook /_hook;
        access_log %%PREFIX%%/who.log who;

        location /allowed/ { socketio; allow 127.0.0.1; deny all; }
        location /denied/  { socketio; deny all; }

        location /password/ {
            socketio;
            auth_basic           "closed";
            auth_basic_user_file %%PREFIX%%/passwords;
        }

        location /asked/ {
            socketio;
            auth_request     /_auth;
            auth_request_set $auth_user $upstream_http_x_user;
        }

        location /asked-late/ {
            socketio;
            socketio_webhook /_hook/$auth_user/$is_admin;
            auth_request     /_auth;
            auth_request_set $auth_user $upstream_http_x_user;
        }

        location /any/ {
            socketio;
            satisfy      any;
            deny         all;
            auth_request /_auth;
        }

        location /all/ {
            socketio;
            satisfy      all;
            allow        127.0.0.1;
            deny         all;
            auth_request /_auth;
        }

        location /nobody/ {
            socketio;
            satisfy      any;
            deny         all;
            auth_request /_no;
        }

        location /read-only/ {
            socketio;
            limit_except GET { deny all; }
        }

        location /inside/ {
            internal;
            socketio;
        }

        location /outside/ { rewrite ^/outside/(.*)$ /inside/$1 last; }

        location /proxied/ {
            socketio;
            set_real_ip_from 127.0.0.1;
            real_ip_header   X-Real-IP;
        }

        location /proxied-denied/ {
            socketio;
            set_real_ip_from 127.0.0.1;
            real_ip_header   X-Real-IP;
            deny  203.0.113.0/24;
            allow all;
        }

        location = /_hook  {
            # of a client, and this request is none
            deny       all;
            auth_basic "closed";
            auth_basic_user_file %%PREFIX%%/passwords;
            auth_request /_no;

            # looked at twice, an address stays the same
            set_real_ip_from 203.0.113.0/24;
            real_ip_header   X-Real-IP;

            proxy_pass       http://app/hook;
            proxy_set_header X-Client  $remote_addr;
            proxy_set_header X-Proxy   $realip_remote_addr;
            proxy_set_header X-Seen    $http_x_real_ip;
            proxy_set_header X-User    $auth_user;
            proxy_set_header X-Admin   $is_admin;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }

        location /_hook/ { internal; proxy_pass http://app; }

        location = /_auth {
            internal;
            proxy_pass http://app/auth;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Method $request_method;
            proxy_set_header X-Uri    $request_uri;
            proxy_set_header Upgrade  $http_upgrade;
        }

        location = /_no { internal; return 403; }
EOS
);

$nginx->write('passwords', "joe:{PLAIN}secret\n");
$nginx->start;

my $port = $nginx->port;
my $polling = 'EIO=4&transport=polling';
my $websocket = 'EIO=4&transport=websocket';


sub http {
    return SIO::HTTP->new(port => $port, headers => [ @_ ]);
}


# What a handshake of each transport is answered with.

sub answers {
    my ($path, @headers) = @_;

    my $poll = http(@headers)->get("$path?$polling")->{status};
    my ($ws, $r) = SIO::WS->handshake(port => $port, headers => \@headers,
                                      path => "$path?$websocket");

    $ws->drop if $ws;

    return "$poll $r->{status}";
}


sub log_line {
    my ($sid) = @_;

    my $line;

    wait_until(5, sub {
        ($line) = (read_file($nginx->prefix . '/who.log') // '')
                  =~ /^(.* \Q$sid\E .*)$/m;
    });

    return $line;
}


subtest 'addresses' => sub {
    is(answers('/allowed/'), '200 101', 'allowed');
    is(answers('/denied/'), '403 403', 'denied');

    my $eio = SIO::EIO->open(port => $port, path => '/allowed/');

    # a session is not of a location: it may be asked for in another one

    $eio->{path} = '/denied/';
    is($eio->get->{status}, 403, 'each request is looked at');

    $eio->{path} = '/allowed/';
    $eio->post('40');
    is(scalar $eio->poll, 1, 'and the session goes on');
};


subtest 'passwords' => sub {
    my @joe = (Authorization => 'Basic ' . encode_base64('joe:secret', ''));
    my @jim = (Authorization => 'Basic ' . encode_base64('jim:secret', ''));

    is(answers('/password/'), '401 401', 'none');
    is(answers('/password/', @jim), '401 401', 'a wrong one');
    is(answers('/password/', @joe), '200 101', 'the right one');

    my $eio = SIO::EIO->open(port => $port, path => '/password/',
                             headers => \@joe);

    $eio->post('40');
    is(scalar $eio->poll, 1, 'with each request');

    $eio->{headers} = [];
    is($eio->get->{status}, 401, 'which needs it');
};


subtest 'auth_request' => sub {
    $backend->reset;
    $backend->on({ path => '/auth' }, { status => 204,
                                        headers => { 'X-User' => 'u1' } });

    my $client = SIO::Client->connect(port => $port, path => '/asked/',
                                      transport => 'polling');
    my $sid = $client->sid;

    $client->eio->upgrade;
    $client->emit('x');
    $backend->wait(1, 5, type => 'event');

    my @asked = $backend->requests(path => '/auth');

    is(join(' ', map { $_->{headers}{'x-method'} } @asked),
       'GET POST GET GET', 'asked for the handshake, POST, poll and upgrade');
    is($asked[-1]{headers}{upgrade}, 'websocket', 'the last');
    like($asked[0]{headers}{'x-uri'}, qr{^/asked/\?EIO=4}, 'of this URI');

    $client->eio->{ws}->close;
    disconnect_of($backend, $sid);

    is_deeply([ map { [ @{ $_->{headers} }{qw(x-user x-admin)} ] }
                webhooks_of($backend, $sid) ],
              [ ([ 'u1', 'no' ]) x 3 ],
              'what it said is in the headers of every webhook');

    like(log_line($sid), qr/^101 .* user=u1 websocket /, 'and in the log');

    # somebody else's

    $backend->on({ path => '/auth' }, { status => 204,
                                        headers => { 'X-User' => 'root' } });

    $client = SIO::Client->connect(port => $port, path => '/asked-late/');
    $sid = $client->sid;

    is((webhooks_of($backend, $sid))[0]{path}, '/_hook/root/yes',
       'in the URI of the webhook, and through a map');

    $client->eio->{ws}->close;
    like(log_line($sid), qr/ user=root /, 'and again in the log');

    # a header of that name is somebody's claim

    $client = SIO::Client->connect(port => $port, path => '/allowed/',
        headers => [ 'X-User' => 'root', 'Auth-User' => 'root' ]);

    is((webhooks_of($backend, $client->sid))[0]{headers}{'x-user'}, undef,
       'which a client cannot set');

    $client->eio->{ws}->close;
};


subtest 'auth_request says no' => sub {
    for my $case ([ 401, '401 401' ], [ 403, '403 403' ], [ 500, '500 500' ],
                  [ 302, '500 500' ])
    {
        my ($status, $expected) = @$case;

        $backend->reset;
        $backend->on({ path => '/auth' }, { status => $status });

        is(answers('/asked/'), $expected, "status $status");
        is(answers('/any/'), $expected, "status $status, and so does deny");
    }

    $backend->reset;
    $backend->on({ path => '/auth' }, { status => 204 });

    my $polls = SIO::Client->connect(port => $port, path => '/asked/',
                                     transport => 'polling');
    my $ws = SIO::Client->connect(port => $port, path => '/asked/');

    $backend->on({ path => '/auth' }, { status => 403 });

    is($polls->eio->get->{status}, 403, 'a session that polls is asked again');

    my ($refused, $r) = SIO::WS->handshake(port => $port,
                                   path => $polls->eio->url('websocket'));

    is($r->{status}, 403, 'an upgrade, too');

    $ws->emit('x');
    ok($backend->wait(1, 5, type => 'event', sid => $ws->sid),
       'a WebSocket was asked once, when it began');

    $backend->on({ path => '/auth' }, { status => 204 });
    is($polls->eio->post('1')->{status}, 200, 'and may be let in again');
    is(disconnect_of($backend, $polls->sid)->{reason}, 'transport close',
       'its session was not touched');

    $ws->eio->{ws}->close;
};


subtest 'satisfy' => sub {
    $backend->reset;
    $backend->on({ path => '/auth' }, { status => 204 });

    is(answers('/any/'), '200 101', 'any: one of two');
    is(answers('/all/'), '200 101', 'all: both');
    is(answers('/nobody/'), '403 403', 'any: none of two');

    $backend->on({ path => '/auth' }, { status => 403 });

    is(answers('/all/'), '403 403', 'all: one of two');
};


subtest 'limit_except and internal' => sub {
    my $eio = SIO::EIO->open(port => $port, path => '/read-only/');

    is($eio->post_raw('40')->{status}, 403, 'a POST is refused');

    my $ws = SIO::EIO->open_ws(port => $port, path => '/read-only/');

    $ws->send('40');
    like($ws->next, qr/^40\{/, 'a WebSocket is not');
    $ws->{ws}->drop;

    is(answers('/inside/'), '404 404', 'not from outside');
    is(answers('/outside/'), '200 101', 'but through a rewrite');

    my $client = SIO::Client->connect(port => $port, path => '/outside/',
                                      transport => 'polling');

    $client->eio->upgrade;
    $client->emit('x');
    ok($backend->wait(1, 5, type => 'event', sid => $client->sid),
       'also the rest of a session');
    $client->eio->{ws}->close;
};


subtest 'behind a proxy' => sub {
    $backend->reset;

    my @at = map { [ 'X-Real-IP' => "203.0.113.$_" ] } 1 .. 3;

    my $client = SIO::Client->connect(port => $port, path => '/proxied/',
                                      headers => $at[0]);
    my $polls = SIO::Client->connect(port => $port, path => '/proxied/',
                                     headers => $at[1],
                                     transport => 'polling');
    my $direct = SIO::Client->connect(port => $port, path => '/allowed/',
                                      headers => $at[2]);

    for my $case ([ $client, '203.0.113.1' ], [ $polls, '203.0.113.2' ],
                  [ $direct, '127.0.0.1' ])
    {
        my ($c, $ip) = @$case;
        my ($hook) = webhooks_of($backend, $c->sid);

        is($hook->{json}{request}{ip}, $ip, "$ip: in the body of a webhook");
        is($hook->{headers}{'x-client'}, $ip, '$remote_addr in its location');
        is($hook->{headers}{'x-proxy'}, '127.0.0.1', '$realip_remote_addr');
        is($hook->{headers}{'x-forwarded-for'}, $ip,
           '$proxy_add_x_forwarded_for');
    }

    # one kept connection of a proxy has the requests of many

    my $http = SIO::HTTP->new(port => $port, keepalive => 1);

    for my $n (4, 5) {
        my $eio = SIO::EIO->open(http => $http, path => '/proxied/',
                                 headers => [ 'X-Real-IP' => "203.0.113.$n" ]);

        $eio->post('40');
        my ($sid) = ($eio->poll)[0] =~ /"sid":"([^"]+)"/;

        is((webhooks_of($backend, $sid))[0]{json}{request}{ip},
           "203.0.113.$n", "and clients of one connection are told apart");
        $eio->post('1');
    }

    $client->eio->{ws}->close;
    $polls->eio->post('1');
    $direct->eio->{ws}->close;

    like(log_line($client->sid), qr/^101 203\.0\.113\.1 127\.0\.0\.1 /,
         'the log of a WebSocket');
    like(log_line($polls->sid), qr/^200 203\.0\.113\.2 127\.0\.0\.1 /,
         'and of a session that polls');

    is(answers('/proxied-denied/', 'X-Real-IP' => '203.0.113.9'), '403 403',
       'deny looks at the client');
    is(answers('/proxied-denied/', 'X-Real-IP' => '198.51.100.9'), '200 101',
       'so does allow');
};


$nginx->stop;
$backend->stop;

done_testing();
