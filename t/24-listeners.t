#!/usr/bin/perl

# Where nginx listens: TLS and HTTP/2 for the official client, unix sockets, and
# servers and locations with zones of their own, which know nothing of each
# other.

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
use SIO::Proc;
use SIO::Ways;
use Test::More;

my $json = JSON::PP->new->utf8->canonical;
my $backend = SIO::Backend->new->start;

$backend->on({ type => 'event' }, { json => { ack => '%args%' } });

my ($http2, $http2_on) = SIO::Ways::http2();

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 8; }

    socketio_zone blue 4m;
    socketio_zone red 4m;

    socketio_webhook /_hook;
    socketio_max_payload 50000;
    socketio_webhook_pass_header Host;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl$http2;
        $http2_on
        ssl_certificate %%PREFIX%%/cert.pem;
        ssl_certificate_key %%PREFIX%%/key.pem;

        location /socket.io/ { socketio zone=blue; }
        location /_hook      { internal; proxy_pass http://app/tls; }
    }

    server {
        listen unix:%%PREFIX%%/nginx.sock;

        location /socket.io/ { socketio zone=blue; }
        location /_api/      { socketio_api zone=blue; allow unix:; deny all; }
        location /_hook      { internal; proxy_pass http://app/unix; }
    }
EOS
    server => <<'EOS',
        location /blue/     { socketio zone=blue; }
        location /also-red/ { socketio zone=red; }
        location /red/      { socketio zone=red; }
        location /none/     { socketio; }
        location /_hook     { internal; proxy_pass http://app/plain; }

        location /_blue/ { socketio_api zone=blue; allow 127.0.0.1; deny all; }
        location /_red/  { socketio_api zone=red;  allow 127.0.0.1; deny all; }
        location /_none/ { socketio_api;           allow 127.0.0.1; deny all; }

        location = /status/blue { socketio_status zone=blue; }
        location = /status/red  { socketio_status zone=red; }
EOS
);

SIO::Ways::certificate($nginx->prefix);
$nginx->start;

my $http = SIO::HTTP->new(port => $nginx->port);


sub emit {
    my ($zone, $event) = @_;

    return $http->post("/_$zone/emit",
                       $json->encode({ event => $event }))->json->{matched};
}


# The client verifies the certificate, as it does everywhere.

for my $transports ([ 'polling' ], [ 'websocket' ], [ 'polling', 'websocket' ])
{
    subtest "the official client and TLS: @$transports" => sub {
        my $client = SIO::Proc->node('client.js', 4,
            'https://127.0.0.1:' . $nginx->port('tls'),
            $json->encode({ transports => $transports }),
            { env => {
                NODE_PATH => SIO::Util::build_dir() . '/node/node_modules',
                NODE_EXTRA_CA_CERTS => $nginx->prefix . '/cert.pem',
            } });

        ok(my $sid = $client->json_with('connect')->{connect}, 'connected')
            or diag($client->stderr);
        is($client->json_with('upgrade')->{upgrade}, 'websocket', 'upgraded')
            if @$transports == 2;

        $client->send({ call => [ 'echo', "\x{20ac}" ] });
        is_deeply($client->json_with('answer')->{answer}, [ "\x{20ac}" ],
                  'acknowledged');

        my ($connect) = $backend->requests(sid => $sid, type => 'connect');

        is($connect->{path}, '/tls', 'through the webhook of this server');

        is(emit('blue', 'hello'), 1, 'the API of another server');
        is_deeply($client->json_with('event')->{event}, ['hello'], 'finds it');

        $client->send({ disconnect => 1 });
        $client->json_with('disconnect');
        ok(scalar $backend->wait(1, 5, type => 'disconnect', sid => $sid),
           'and its end');
    };
}


subtest 'a unix socket' => sub {
    my $path = $nginx->prefix . '/nginx.sock';

    my @clients = map {
        my $unix = SIO::HTTP->new(path => $path);
        my $eio = SIO::EIO->new(http => $unix);

        if ($_ eq 'websocket') {
            $eio->{ws} = $eio->websocket(http => $unix);
            $eio->opened($eio->{ws}->recv);

        } else {
            $eio = SIO::EIO->open(http => $unix);
        }

        my $client = SIO::Client->new(session => $eio);

        $client->join('/');
        $client;
    } qw(polling websocket);

    is_deeply($_->call('echo', 7), [7], 'an event') for @clients;
    ok($clients[0]->eio->upgrade(http => SIO::HTTP->new(path => $path)),
       'an upgrade');
    is_deeply($clients[0]->call('echo', 8), [8], 'and an event');

    my ($connect) = $backend->requests(sid => $clients[1]->sid);

    is($connect->{path}, '/unix', 'the webhook');
    is($connect->{json}{request}{ip}, 'unix:', 'the address, as nginx has it');

    my $api = SIO::HTTP->new(path => $path);

    is($api->post('/_api/emit', '{"event":"all"}')->json->{matched}, 2,
       'the API');
    is($_->event->[0], 'all', 'heard') for @clients;

    $_->disconnect for @clients;
};


subtest 'zones' => sub {
    my %clients = map {
        $_ => SIO::Client->connect(port => $nginx->port, path => "/$_/")
    } qw(blue red also-red none);

    is(emit('red', 'to red'), 2, 'two locations of one zone are one server');
    is(emit('blue', 'to blue'), 1, 'another zone is another one');
    is(emit('none', 'to none'), 1, 'and so is that without a name');

    is($clients{$_}->event->[0], 'to ' . s/also-//r, "$_ hears its own")
        for sort keys %clients;

    ok($_->silent(0.3), 'and nothing else') for @clients{sort keys %clients};

    my $sid = $clients{red}->sid;

    is($http->get("/_blue/sockets/$sid")->{status}, 404,
       'a socket is unknown elsewhere');
    is($http->get("/_red/sockets/$sid")->{status}, 200, 'but not at home');

    my $session = SIO::EIO->open(port => $nginx->port, path => '/red/');

    is($http->get('/blue/?EIO=4&transport=polling&sid=' . $session->sid)
       ->{status}, 400, 'and so is a session');

    my %accepted = map {
        $_ => $http->get("/status/$_")->json->{sockets}{accepted}
    } qw(blue red);

    is_deeply(\%accepted, { blue => 6, red => 2 },
              'each is counted where it is');
};


done_testing();
