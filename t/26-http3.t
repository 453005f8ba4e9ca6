#!/usr/bin/perl

# HTTP/3, of nginx 1.25 and later: sessions that live on one QUIC connection
# beside others, requests that are given up alone, connections that go with all
# of theirs, and what is not offered: a WebSocket.  That HTTP/3 is a way like
# any other is tested wherever SIO::Ways is used.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::EIO;
use SIO::HTTP3;
use SIO::Util qw(wait_until);
use SIO::Ways;
use SIO::Webhooks qw(disconnect_of);
use Test::More;

plan skip_all => 'this nginx has no HTTP/3, see t/81-releases.t'
    if !SIO::HTTP3->available;

my $backend = SIO::Backend->new->start;

$backend->on({ type => 'event' }, { json => { ack => '%args%' } });

my $ways = SIO::Ways->new(http => <<"EOF", locations => <<'EOS');
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }

    subrequest_output_buffer_size 1m;
    client_body_buffer_size 16k;

    log_format requests '\$server_protocol \$arg_sid \$status';
EOF
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook/$server_protocol;
            socketio_webhook_pass_header Host;
            access_log %%PREFIX%%/requests.log requests;
        }

        location /_hook/ {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
EOS

my $nginx = $ways->nginx;
my $plain = $ways->way;
my $way = bless { %$plain, version => 3 }, ref $plain;
my $port = $nginx->port('tls');


subtest 'one connection for many sessions' => sub {
    my $http = $way->client;
    my @eio = map { $way->joined(http => $http) } 1 .. 50;
    my @polls = map { $_->get_start } @eio;

    $_->sent for @polls;
    $way->settle;

    is($way->emit(undef, 'all', 1), 50, 'all of them are there');
    is_deeply([ map { $_->wait->{body} } @polls ],
              [ ('42["all",1]') x 50 ], 'and hear it');

    @polls = map { $_->get_start } @eio;

    $_->post("421[\"echo\",\"$_->{socket}\"]") for @eio;

    is_deeply([ map { $_->wait->{body} } @polls ],
              [ map { "431[\"$_->{socket}\"]" } @eio ],
              'each has its own acknowledgement');

    my $large = 'x' x 200_000;
    my $eio = $eio[7];

    $eio->post_raw(qq(422["echo","$large"]), chunked => 1);
    ok($eio->next eq qq(432["$large"]), 'many packets, of unknown length');

    $_->post('1') for @eio;
};


subtest 'what the application hears' => sub {
    my $eio = $way->joined;
    my ($connect) = $backend->requests(sid => $eio->{socket});
    my $request = $connect->{json}{request};

    is($connect->{path}, '/_hook/HTTP/3.0', 'the protocol');
    is($request->{ip}, '127.0.0.1', 'the address');
    is($request->{transport}, 'polling', 'the transport');
    is($request->{headers}{host}, "127.0.0.1:$port", 'the host');

    $eio->post('1');
};


subtest 'origins' => sub {
    my $target = '/socket.io/?EIO=4&transport=polling';
    my $http = $way->client;

    for my $case ([ "https://127.0.0.1:$port", 200 ],
                  [ "http://127.0.0.1:$port", 400 ],
                  [ 'https://evil.example', 400 ])
    {
        my ($origin, $status) = @$case;

        my $r = $http->get($target, Origin => $origin);

        is($r->{status}, $status, $origin);

        # not to be waited for at the end
        my ($sid) = $r->{body} =~ /"sid":"([^"]+)/ or next;
        $http->post("$target&sid=$sid", '1');
    }
};


subtest 'no WebSocket' => sub {
    my $eio = $way->joined;
    my $http = $eio->{http};

    is($http->get($eio->url('websocket'))->{status}, 400, 'by GET');

    # RFC 9220
    my $r = $http->request('CONNECT', $eio->url('websocket'), headers => [
        ':protocol'             => 'websocket',
        'sec-websocket-version' => 13,
    ]);

    isnt($r->{status}, 200, 'by CONNECT');
    ok($plain->alive($eio), 'the session lives');

    # Browsers open a connection of another kind.
    my $ws = $eio->upgrade(port => $nginx->port);

    $ws->send_text('421["echo",1]');
    is($ws->recv, '431[1]', 'but on a connection of its own');
    $ws->close;
};


sub is_told {
    my ($eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is((disconnect_of($backend, $eio->{socket}, 10) // {})->{reason},
       'transport error', $name);
}


subtest 'a request that is given up' => sub {
    my $http = $way->client;
    my @eio = map { $way->joined(http => $http) } 1 .. 2;
    my @polls = map { $_->get_start } @eio;

    $_->sent for @polls;
    $way->settle;
    $polls[0]->abort;

    is_told($eio[0], 'ends its session');

    is($way->emit($eio[1]{socket}, 'still', 'here'), 1, 'the other one');
    is($polls[1]->wait->{body}, '42["still","here"]', 'goes on');

    my $post = $eio[1]->{http}->start('POST', $eio[1]->url('polling'),
        body => '6', headers => [ 'content-length' => 10 ]);

    is($post->wait->{status}, 400, 'a body shorter than it says');
    is_told($eio[1], 'ends its session');
};


subtest 'a connection that is closed' => sub {
    my $http = $way->client;
    my @eio = map { $way->joined(http => $http) } 1 .. 3;
    my @polls = map { $_->get_start } @eio[0 .. 1];

    $_->sent for @polls;
    $way->settle;
    $http->close;

    is_told($eio[0], 'ends a session that waits');
    is_told($eio[1], 'and the other one');
    $eio[2]{http} = $plain->client;
    is($eio[2]->post_raw('1')->{body}, 'ok', 'but not one that does not');
};


subtest 'reload' => sub {
    my $eio = $way->joined;
    my $poll = $way->waiting($eio);

    my %old = map { $_ => 1 } $nginx->reload;
    $plain->{barriers} = SIO::Ways::Way->new($nginx)->{barriers};

    is($plain->emit($eio->{socket}, 'new', 1), 1, 'a new worker tells');
    is($poll->wait->{body}, '42["new",1]', 'who waits in an old one');

    $eio->{http} = $plain->client;
    $eio->post('1');

    ok(wait_until(20, sub { !grep { $old{$_} } $nginx->draining }),
       'which ends when all have left');
};


my $log = SIO::Util::read_file($nginx->prefix . '/requests.log');

like($log, qr{^HTTP/3\.0 \S{10,} 200$}m, 'the log has protocol and session');

$nginx->stop;
$backend->stop;

done_testing;
