#!/usr/bin/perl

# The status page: what was counted is exactly what has happened.

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
use SIO::Status qw(status numbers counted plus metrics promtool upgrade);
use SIO::Util qw(scale wait_until);
use SIO::WS;
use Test::More;


my $backend = SIO::Backend->new->start;
my $patience = 10 * scale();

my $http = <<"EOF";
    # no heartbeat is to be counted
    socketio_ping_interval 600s;

    limit_req_zone \$server_port zone=rate:1m rate=1r/m;
    limit_conn_zone \$server_port zone=open:1m;
EOF

my $server = <<'EOF' =~ s/%%SECONDS%%/$patience/gr;
        location /socket.io/ {
            socketio;
            socketio_namespaces *;
        }

        location /small/ {
            socketio;
            socketio_max_payload 1000;
        }

        location /slow/ {
            socketio;
            socketio_send_buffer 10k;
        }

        location /polling/ {
            socketio;
            socketio_transports polling;
        }

        location /unwanted/ {
            socketio;
            socketio_refuse "not for you";
        }

        location /denied/ {
            socketio;
            deny all;
        }

        location /unknown/ {
            socketio;
            auth_basic "who are you?";
            auth_basic_user_file %%PREFIX%%/none;
        }

        location /rate/ {
            socketio;
            limit_req zone=rate;
        }

        location /few/ {
            socketio;
            limit_conn open 1;
        }

        location /hooked/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_timeout %%SECONDS%%s;
        }

        location /impatient/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_timeout 1s;
        }

        location /single/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_timeout %%SECONDS%%s;
            socketio_webhook_concurrency 1;
        }

        location /_api/ {
            socketio_api;
            client_body_buffer_size 64k;
            allow 127.0.0.1;
            deny all;
        }

        location = /status { socketio_status; }
        location = /metrics { socketio_status prometheus; }
        location = /closed { socketio_status; deny all; }
        location = /rare { socketio_status; limit_req zone=rate; }
EOF


sub nginx {
    my (%option) = @_;

    $backend->reset;

    my $more = delete $option{more} // '';

    return SIO::Nginx->new(
        backend => $backend,
        http    => "$http$more",
        server  => $server,
        %option,
    )->start;
}


sub http {
    my ($nginx) = @_;

    return SIO::HTTP->new(port => $nginx->port, timeout => 20);
}


sub client {
    my ($nginx, $transport, %option) = @_;

    return SIO::Client->connect(
        port      => $nginx->port,
        transport => $transport,
        timeout   => 20,
        %option,
    );
}


subtest 'the configuration' => sub {
    my %said = (
        'socketio_status xml;'            => 'invalid parameter "xml"',
        'socketio_status json xml;'       => 'invalid parameter "xml"',
        'socketio_status zone=a json;'    => 'invalid parameter "zone=a"',
        'socketio_status json zone=a b;'  => 'invalid number of arguments',
        'socketio_status zone=nowhere;'   => 'is not declared',
        'socketio_status zone=;'          => 'must have 1 to',
        'socketio_status; socketio_status;' => 'is duplicate',
        'socketio_status; socketio;'
            => 'conflicts with "socketio_status" in the same location',
        'socketio_api; socketio_status;'
            => 'conflicts with "socketio_api" in the same location',
        'socketio_status; stub_status;'
            => 'another directive takes over the location of '
               . '"socketio_status"',
    );

    for my $text (sort keys %said) {
        my ($ok, $output) =
            SIO::Nginx->check(server => "location /s { $text }");

        ok(!$ok && $output =~ /\Q$said{$text}/, $text) or diag($output);
    }

    for my $text ('socketio_status;', 'socketio_status json;',
                  'socketio_status prometheus zone=a;',
                  'socketio_status zone=a;',
                  'socketio_status; limit_except GET { deny all; }',
                  'socketio_status; if ($arg_x) { set $y 1; }')
    {
        my ($ok, $output) = SIO::Nginx->check(
            http => 'socketio_zone a 1m;', server => "location /s { $text }");

        ok($ok, $text) or diag($output);
    }
};


subtest 'requests' => sub {
    my $nginx = nginx();
    my $http = http($nginx);

    my $r = $http->get('/status');

    is($r->{status}, 200, 'JSON');
    is($r->{headers}{'content-type'}, 'application/json', 'its type');
    is($r->{headers}{'cache-control'}, 'no-store', 'nobody keeps it');
    is($r->json->{zone}, 'socketio', 'its zone');
    cmp_ok(abs($r->json->{since} - time), '<', 60 * scale(), 'its age');

    my $head = $http->request('HEAD', '/status');

    is($head->{status}, 200, 'HEAD');
    is($head->{headers}{'content-length'}, length $r->{body}, 'its length');

    $r = $http->get('/metrics');
    is($r->{headers}{'content-type'},
       'text/plain; version=0.0.4; charset=utf-8', 'Prometheus');
    promtool($r->{body}, 'promtool has nothing to say about an empty page');

    $r = $http->get('/metrics', Accept => 'application/json');
    like($r->{body}, qr/^# HELP /, 'the directive decides, not Accept');

    for my $method (qw(POST PUT DELETE OPTIONS)) {
        $r = $http->request($method, '/status', body => 'x');
        is($r->{status}, 405, $method);
        is($r->{headers}{allow}, 'GET, HEAD', 'and what is allowed');
    }

    is($http->get('/closed')->{status}, 403, 'deny');
    is($http->get('/rare')->{status}, 200, 'limit_req');
    is($http->get('/rare')->{status}, 503, 'and its limit');

    counted($nginx, {}, 'requests for the page itself are not counted');

    $nginx->stop;
};


subtest 'clients' => sub {
    my $nginx = nginx();
    my $sum = {};

    my $ws = client($nginx, 'websocket');

    # "0{...}" and "40{...}", for "40"
    counted($nginx, plus($sum,
        'connections.open.websocket'   => 1,
        'connections.opened.websocket' => 1,
        'sockets.open./'               => 1,
        'sockets.accepted'             => 1,
        'received.packets'             => 1,
        'sent.packets'                 => 2,
    ), 'a WebSocket');

    my $polling = client($nginx, 'polling');

    counted($nginx, plus($sum,
        'connections.open.polling'   => 1,
        'connections.opened.polling' => 1,
        'sockets.open./'             => 1,
        'sockets.accepted'           => 1,
        'received.packets'           => 1,
        'sent.packets'               => 2,
    ), 'polling');

    # "2probe", "3probe", a noop for the poll that waits, "5"
    upgrade($polling->eio);

    counted($nginx, plus($sum,
        'connections.open.polling'   => -1,
        'connections.open.websocket' => 1,
        'connections.upgraded'       => 1,
        'received.packets'           => 2,
        'sent.packets'               => 2,
    ), 'an upgrade');

    $ws->join('/chat');
    $polling->join('/chat');
    $polling->join('/x');

    counted($nginx, plus($sum,
        'sockets.open./chat' => 2,
        'sockets.open./x'    => 1,
        'sockets.accepted'   => 3,
        'received.packets'   => 3,
        'sent.packets'       => 3,
    ), 'namespaces');

    is(http($nginx)->post('/_api/emit', '{"event":"n","namespace":"/chat"}')
       ->{body}, '{"matched":2}', 'an emit');
    is(http($nginx)->post('/_api/emit', '{"event":"n","namespace":"/x",'
       . '"args":[{"_placeholder":true,"num":0}],"attachments":["AQID"]}')
       ->{body}, '{"matched":1}', 'one with an attachment');

    $ws->emit('up', \"\1\2\3", \"\4");

    counted($nginx, plus($sum,
        'received.packets' => 3,
        'sent.packets'     => 2 + 2,
    ), 'an attachment is a packet');

    $polling->leave('/x');
    $ws->leave('/chat');

    counted($nginx, plus($sum,
        'sockets.open./x'    => -1,
        'sockets.open./chat' => -1,
        'received.packets'   => 2,
    ), 'namespaces that were left');

    $ws->eio->{ws}->close;

    counted($nginx, plus($sum,
        'connections.open.websocket'         => -1,
        'connections.closed.transport close' => 1,
        'sockets.open./'                     => -1,
    ), 'a WebSocket that was closed');

    $polling->eio->send('nonsense');

    counted($nginx, plus($sum,
        'connections.open.websocket'     => -1,
        'connections.closed.parse error' => 1,
        'sockets.open./'                 => -1,
        'sockets.open./chat'             => -1,
    ), 'one that was malformed');

    $nginx->stop;
};


# The same, by the client that people use.

subtest 'an official client' => sub {
    my $nginx = nginx();
    my $page = SIO::Proc->node('client.js', 4,
                               'http://127.0.0.1:' . $nginx->port . '/chat');

    $page->json_with('connect', 20);
    $page->json_with('upgrade', 20);

    my $found = {};

    wait_until(20, sub {
        $found = numbers(status($nginx));
        return $found->{'connections.open.websocket'};
    });

    my %got = map { $_ => $found->{$_} }
              grep { /^(?:connections|sockets|requests)\./ } keys %$found;

    is_deeply(\%got, {
        'connections.open.websocket' => 1,
        'connections.opened.polling' => 1,
        'connections.upgraded'       => 1,
        'sockets.open./chat'         => 1,
        'sockets.accepted'           => 1,
    }, 'polling, and a WebSocket afterwards');

    $page->send({ disconnect => 1 });

    ok(wait_until(20, sub {
        return status($nginx)->{connections}{closed}{'transport close'} == 1;
    }), 'it has left');

    $page->send({ quit => 1 });
    $nginx->stop;
};


# Octets, computed from what both sides have seen.

subtest 'octets' => sub {
    my $nginx = nginx();
    my %bytes;

    my $frame = sub {
        my ($length) = @_;
        return $length + ($length > 65535 ? 10 : $length > 125 ? 4 : 2);
    };

    my $ws = SIO::EIO->new(port => $nginx->port);

    $ws->{ws} = $ws->websocket;
    $bytes{sent}{websocket} += $frame->(length $ws->{ws}->recv);

    # masked
    for my $packet ('40', '42["x","' . 'y' x 1000 . '"]') {
        $ws->{ws}->send_text($packet);
        $bytes{received}{websocket} += 4 + $frame->(length $packet);
    }

    $bytes{sent}{websocket} += $frame->(length $ws->{ws}->recv);

    my $polling = SIO::EIO->new(port => $nginx->port);
    my $r = $polling->get;

    $bytes{sent}{polling} += length $r->{body};
    $polling->opened($r->{body});

    for my $body ("40\x1e42[\"x\"]", '42["' . 'z' x 3000 . '"]') {
        $r = $polling->post_raw($body);
        $bytes{sent}{polling} += length $r->{body};
        $bytes{received}{polling} += length $body;
    }

    $bytes{sent}{polling} += length $polling->get->{body};

    my $text = 'x' x 70000;

    http($nginx)->post('/_api/emit', qq({"event":"n","args":["$text"]}));

    $bytes{sent}{websocket} += $frame->(length $ws->{ws}->recv);
    $bytes{sent}{polling} += length $polling->get->{body};

    my $found;

    wait_until(5, sub {
        my $status = status($nginx);

        $found = { map { $_ => $status->{$_}{bytes} } qw(received sent) };

        return $found->{received}{websocket} == $bytes{received}{websocket};
    });

    is_deeply($found, \%bytes, 'all of them');

    $nginx->stop;
};


# Ways to be refused, by their reason.

my $no_key = [ 'Sec-WebSocket-Key' => undef ];

sub handshake {
    my ($nginx, $path, %option) = @_;

    my ($ws, $r) = SIO::WS->handshake(port => $nginx->port, path => $path,
                                      %option);

    return $r;
}


my @refusals = (
    [ transport_unknown => 400, 'no transport',
      sub { http($_[0])->get('/socket.io/?EIO=4') } ],
    [ transport_unknown => 400, 'one that is not allowed',
      sub { handshake($_[0], '/polling/?EIO=4&transport=websocket') } ],
    [ unknown_sid => 400, 'an id that is none',
      sub { http($_[0])->get('/socket.io/?EIO=4&transport=polling&sid=x') } ],
    [ unknown_sid => 400, 'an id of nobody', sub {
        my $sid = 'A' x length $_[1]->sid;
        http($_[0])->get("/socket.io/?EIO=4&transport=polling&sid=$sid") } ],
    [ unknown_sid => 400, 'a WebSocket for nobody', sub {
        my $sid = 'A' x length $_[1]->sid;
        handshake($_[0], "/socket.io/?EIO=4&transport=websocket&sid=$sid") } ],
    [ bad_handshake_method => 400, 'a handshake by POST',
      sub { http($_[0])->post('/socket.io/?EIO=4&transport=polling', '') } ],
    [ bad_request => 400, 'a WebSocket without an upgrade',
      sub { http($_[0])->get('/socket.io/?EIO=4&transport=websocket') } ],
    [ forbidden => 403, 'socketio_refuse',
      sub { http($_[0])->get('/unwanted/?EIO=4&transport=polling') } ],
    [ forbidden => 400, 'socketio_refuse, a WebSocket',
      sub { handshake($_[0], '/unwanted/?EIO=4&transport=websocket') } ],
    [ unsupported_version => 400, 'EIO 3',
      sub { http($_[0])->get('/socket.io/?EIO=3&transport=polling') } ],
    [ mismatch => 400, 'a poll for a WebSocket',
      sub { $_[1]->get } ],
    [ mismatch => 400, 'a POST for a WebSocket',
      sub { $_[1]->post_raw('42["x"]') } ],
    [ mismatch => 400, 'a WebSocket of another version', sub {
        my $sid = $_[2]->sid;
        handshake($_[0], "/socket.io/?EIO=3&transport=websocket&sid=$sid") } ],
    [ bad_websocket => 400, 'a WebSocket without a key', sub {
        handshake($_[0], '/socket.io/?EIO=4&transport=websocket',
                  headers => $no_key) } ],
    [ bad_websocket => 400, 'an upgrade without a key',
      sub { handshake($_[0], $_[2]->url('websocket'), headers => $no_key) } ],
    [ origin => 400, 'a foreign origin', sub {
        http($_[0])->get('/socket.io/?EIO=4&transport=polling',
                         Origin => 'http://foreign') } ],
    [ method => 405, 'PUT',
      sub { http($_[0])->request('PUT', $_[2]->url('polling')) } ],
    [ too_large => 413, 'a long body',
      sub { $_[3]->post_raw('4' x 1001) } ],
    [ too_large => 413, 'one of unknown length',
      sub { $_[3]->post_raw('4' x 1001, chunked => 100) } ],
    [ access => 403, 'deny',
      sub { http($_[0])->get('/denied/?EIO=4&transport=polling') } ],
    [ access => 401, 'auth_basic',
      sub { http($_[0])->get('/unknown/?EIO=4&transport=polling') } ],
);


sub refused {
    my ($nginx) = @_;

    my $refused = status($nginx)->{requests}{refused};

    return { map { $_ => $refused->{$_} }
             grep { $refused->{$_} } keys %$refused };
}


subtest 'refused requests' => sub {
    my $nginx = nginx();

    $nginx->write('none', '');

    my $ws = SIO::EIO->open_ws(port => $nginx->port);
    my $polling = SIO::EIO->open(port => $nginx->port);
    my $small = SIO::EIO->open(port => $nginx->port, path => '/small/');

    my %sum;

    for my $case (@refusals) {
        my ($reason, $status, $name, $request) = @$case;

        is($request->($nginx, $ws, $polling, $small)->{status}, $status,
           $name);

        $sum{$reason}++;
        is_deeply(refused($nginx), \%sum, "is counted: $reason");
    }

    # One in a minute.
    my @got = map { http($nginx)->get('/rate/?EIO=4&transport=polling')
                    ->{status} } 1 .. 3;

    is_deeply(\@got, [ 200, 503, 503 ], 'limit_req');
    $sum{rate} += 2;
    is_deeply(refused($nginx), \%sum, 'is counted: rate');

    # One WebSocket, and no more, as long as it is open.
    my $one = SIO::EIO->open_ws(port => $nginx->port, path => '/few/');

    is(handshake($nginx, '/few/?EIO=4&transport=websocket')->{status}, 503,
       'limit_conn');
    $sum{connections}++;
    is_deeply(refused($nginx), \%sum, 'is counted: connections');

    # Two at a time, in whichever order: one is answered with an empty 400, the
    # other with "1".
    my @polls = map { $polling->get_start(http => http($nginx)) } 1, 2;

    is_deeply([ sort map { $_->wait->{status} } @polls ], [ 200, 400 ],
              'overlapping polls');
    $sum{bad_request}++;
    is_deeply(refused($nginx), \%sum, 'is counted: bad_request');

    is(status($nginx)->{connections}{closed}{'transport error'}, 1,
       'and ends the session');
    is(keys %sum, keys %{ status($nginx)->{requests}{refused} },
       'every reason was there');

    $nginx->stop;
};


subtest 'webhooks' => sub {
    my $nginx = nginx();
    my $sum = {};

    $backend->on({ type => 'event', event => 'no' }, { status => 403 });
    $backend->on({ type => 'event', event => 'broken' }, { status => 500 });
    $backend->on({ type => 'event', event => 'odd' }, { body => 'odd' });
    $backend->on({ type => 'event', event => 'ask' }, { json => {
        emit => [ { event => 'ask', args => [], ack => 'token' } ] } });
    $backend->on({ type => 'event', event => 'wrong' }, { json => {
        join => [ 1 ], leave => [ 'x' ],
        emit => [ { event => 'a' }, { args => [] }, 'x' ] } });
    $backend->on({ type => 'disconnect' }, { status => 500 }, times => 1);

    my $client = client($nginx, 'websocket', path => '/hooked/');

    counted($nginx, plus($sum,
        'connections.open.websocket'      => 1,
        'connections.opened.websocket'    => 1,
        'sockets.open./'                  => 1,
        'sockets.accepted'                => 1,
        'received.packets'                => 1,
        'sent.packets'                    => 2,
        'webhooks.finished.connect.ok'    => 1,
        'webhooks.duration.connect.count' => 1,
    ), 'a connect');

    $client->emit($_) for qw(fine fine no broken odd);

    counted($nginx, plus($sum,
        'received.packets'                => 5,
        'webhooks.finished.event.ok'      => 2,
        'webhooks.finished.event.refused' => 1,
        'webhooks.finished.event.failed'  => 2,
        'webhooks.duration.event.count'   => 5,
    ), 'events');

    $client->emit('ask');
    $client->ack($client->wait_for(sub { $_[0]{type} == 2 }), 1);

    counted($nginx, plus($sum,
        'received.packets'              => 2,
        'sent.packets'                  => 1,
        'webhooks.finished.event.ok'    => 1,
        'webhooks.finished.ack.ok'      => 1,
        'webhooks.duration.event.count' => 1,
        'webhooks.duration.ack.count'   => 1,
    ), 'an acknowledgement');

    $client->emit('wrong');

    counted($nginx, plus($sum,
        'received.packets'              => 1,
        'sent.packets'                  => 1,
        'webhooks.finished.event.ok'    => 1,
        'webhooks.duration.event.count' => 1,
        'replies.malformed'             => 3,
    ), 'parts that are malformed: a room and two events');

    $client->leave;

    # it is sent once more after a second
    counted($nginx, plus($sum,
        'received.packets'                   => 1,
        'sockets.open./'                     => -1,
        'webhooks.finished.disconnect.ok'    => 1,
        'webhooks.duration.disconnect.count' => 1,
        'webhooks.repeated'                  => 1,
    ), 'a disconnect that had to be repeated', timeout => 20);

    $backend->on({ type => 'connect' }, { status => 401 }, times => 1);
    is($client->join('/')->{type}, 4, 'a connect is refused');

    $backend->on({ type => 'connect' }, { status => 502 }, times => 1);
    $client->send_packet(0, '/');

    counted($nginx, plus($sum,
        'connections.open.websocket'             => -1,
        'connections.closed.forced server close' => 1,
        'received.packets'                       => 2,
        'sent.packets'                           => 1,
        'webhooks.finished.connect.refused'      => 1,
        'webhooks.finished.connect.failed'       => 1,
        'webhooks.duration.connect.count'        => 2,
    ), 'connects that were refused, and that failed');

    $nginx->stop;
};


subtest 'how long webhooks take' => sub {
    my $nginx = nginx();

    $backend->on({ type => 'event' }, { hang => 1 });

    my $client = client($nginx, 'websocket', path => '/impatient/');

    $client->emit('x');
    $client->emit('y');

    my $status;

    ok(wait_until(20, sub {
        $status = status($nginx)->{webhooks};
        return $status->{finished}{event}{failed} == 2;
    }), 'both are given up');

    my $times = $status->{duration}{event};

    is($times->{buckets}{0.5}, 0, 'none was quick');
    is($times->{buckets}{'+Inf'}, 2, 'all are in the last bucket');
    is($times->{count}, 2, 'as many as there were');
    cmp_ok($times->{sum}, '>=', 2, 'and so much time together');

    my @ends = sort { $a <=> $b } grep { $_ ne '+Inf' }
               keys %{ $times->{buckets} };
    my @counts = @{ $times->{buckets} }{ @ends };

    is_deeply(\@ends, [ 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
                        10 ], 'the buckets');
    is_deeply(\@counts, [ sort { $a <=> $b } @counts ],
              'each has those before it');

    $nginx->stop;
};


subtest 'webhooks under way' => sub {
    my $nginx = nginx();

    my @clients = map { client($nginx, 'websocket', path => '/single/') }
                      1 .. 3;

    my $pending = sub {
        my ($expected, $name) = @_;
        my $found;

        wait_until(20, sub {
            $found = join ' ', @{ status($nginx)->{webhooks}{pending} }
                                {qw(queued in_flight waiting)};

            return $found eq $expected;
        });

        is($found, $expected, $name);
    };

    $backend->on({ type => 'event' }, { hang => 1 });
    $_->emit('x') for @clients;
    $pending->('2 1 0', 'one hangs, two are queued');

    $backend->stop('KILL');
    $pending->('0 0 0', 'they fail');

    # Nobody is there: the ends are told when somebody is.
    $_->leave for @clients;
    $pending->('0 0 3', 'three wait to be sent again');

    $backend->reset;
    $backend->start;
    $pending->('0 0 0', 'nothing is left');

    my $webhooks = status($nginx)->{webhooks};

    is($webhooks->{finished}{disconnect}{ok}, 3, 'the backend knows');
    cmp_ok($webhooks->{repeated}, '>=', 3, 'after some attempts');

    $nginx->stop;
};


subtest 'slow consumers' => sub {
    my $nginx = nginx();

    # one reads nothing, the other does not poll
    my $eio = SIO::EIO->new(port => $nginx->port, path => '/slow/');

    $eio->{ws} = $eio->websocket(rcvbuf => 4096);
    $eio->opened($eio->{ws}->recv);

    my $stopped = SIO::Client->new(session => $eio);
    $stopped->join('/');

    my $polling = client($nginx, 'polling', path => '/slow/');
    my $good = client($nginx, 'websocket');
    my $text = 'x' x 9000;
    my $http = SIO::HTTP->new(port => $nginx->port, keepalive => 1);

    # the kernel takes a lot for the one that reads nothing
    for (1 .. 2000) {
        my $r = $http->post('/_api/emit', qq({"event":"n","args":["$text"]}));

        $good->event('n') // die 'the good one gets nothing';
        last if $r->json->{matched} == 1;
    }

    my $connections = status($nginx)->{connections};

    is($connections->{closed}{'slow consumer'}, 2, 'both were closed');
    is_deeply($connections->{open}, { polling => 0, websocket => 1 },
              'one is left');

    $nginx->stop;
};


subtest 'both formats' => sub {
    my $nginx = nginx();
    my $client = client($nginx, 'websocket', path => '/hooked/');
    my $polling = client($nginx, 'polling', nsp => '/chat');

    $client->emit('x');
    http($nginx)->get('/socket.io/');

    ok(wait_until(10, sub {
        return status($nginx)->{webhooks}{finished}{event}{ok} == 1;
    }), 'something has happened');

    my $status = status($nginx);
    my $text = http($nginx)->get('/metrics')->{body};
    my ($series, $type) = metrics($text);

    promtool($text, 'promtool has nothing to say');

    # Numbers of both, whatever they are called.
    my (@json, $walk);

    $walk = sub {
        my ($value) = @_;

        return push @json, $value + 0 if !ref $value;
        $walk->($_) for values %$value;
    };

    $walk->({ %$status, zone => 0 });

    my @lines = map { $_ + 0 } map { values %$_ } values %$series;

    is_deeply([ sort { $a <=> $b } 0, @lines ],
              [ sort { $a <=> $b } @json ], 'have the same numbers');

    is($series->{socketio_connections}{'transport="websocket"'}, 1,
       'a gauge');
    is($series->{socketio_webhooks_total}{'type="event",outcome="ok"'}, 1,
       'a counter');
    is($series->{socketio_webhook_duration_seconds_count}{'type="event"'}, 1,
       'a histogram');
    is($series->{socketio_requests_refused_total}
                {'reason="transport_unknown"'}, 1, 'a reason');

    is_deeply([ sort grep { $type->{$_} eq 'counter' } keys %$type ],
              [ sort grep { /_total$/ } keys %$type ],
              'counters are called so');
    is_deeply([ grep { $type->{$_} eq 'histogram' } keys %$type ],
              [ 'socketio_webhook_duration_seconds' ], 'one histogram');

    $nginx->stop;
};


# Names that somebody has chosen to annoy.

subtest 'odd names' => sub {
    my @odd = ('/a"b', '/c\\d', "/e\nf", "/\xc3\xa9", '/' . 'g' x 62,
               '/others');

    my $nginx = nginx(more => <<'EOF', server => <<'EOS');
    socketio_zone a\\b 1m;
EOF
        location /socket.io/ {
            socketio zone=a\\b;
            socketio_max_payload 10k;
            socketio_namespaces *;
        }

        location = /status { socketio_status json zone=a\\b; }
        location = /metrics { socketio_status prometheus zone=a\\b; }
EOS

    my $eio = SIO::EIO->open_ws(port => $nginx->port);

    for my $nsp (@odd, '/' . 'h' x 63) {
        $eio->send("40$nsp,");
        like($eio->next, qr/^40\Q$nsp\E,\{"sid"/, 'a namespace');
    }

    my $r = http($nginx)->get('/status');
    my $text = JSON::PP->new->decode($r->{body});

    is($text->{zone}, 'a\\b', 'the zone');
    is_deeply($text->{sockets}{open}, { (map { $_ => 1 } @odd), others => 1 },
              'in JSON; one is too long and among others');

    $r = http($nginx)->get('/metrics');

    promtool($r->{body}, 'promtool can read them');

    for my $nsp ('/a\\"b', '/c\\\\d', '/e\\nf', "/\xc3\xa9", '/others',
                 'others')
    {
        my $line = qq(socketio_sockets{zone="a\\\\b",namespace="$nsp"} 1\n);

        ok(index($r->{body}, $line) >= 0, "for Prometheus: $nsp");
    }

    $nginx->stop;
};


# There is room for 64.

subtest 'many names' => sub {
    my $nginx = nginx();
    my $client = SIO::Client->new(port => $nginx->port);
    my $other = SIO::Client->new(port => $nginx->port);

    my $named = sub {
        my ($expected, $others, $name) = @_;

        my $open;

        wait_until(5, sub {
            $open = status($nginx)->{sockets}{open};
            return keys %$open == $expected + 1 && $open->{others} == $others;
        });

        is(delete $open->{others}, $others, "$name, among others");
        is(keys %$open, $expected, "$name, by name");
    };

    $client->join("/room-$_") for 1 .. 70;
    $named->(64, 6, 'seventy');

    $other->join('/room-1');
    $other->join('/room-70');
    $named->(64, 7, 'one more of each');
    is(status($nginx)->{sockets}{open}{'/room-1'}, 2, 'two in one');

    $client->leave("/room-$_") for 1 .. 60;
    $named->(5, 7, 'after most were left');

    $client->join("/new-$_") for 1 .. 59;
    $named->(64, 7, 'names that were left are free');

    $_->eio->{ws}->drop for $client, $other;
    $named->(0, 0, 'nobody');

    $nginx->stop;
};


subtest 'two zones' => sub {
    my $nginx = nginx(more => 'socketio_zone other 1m;', server => <<'EOS');
        location /socket.io/ { socketio; }
        location /other/ { socketio zone=other; socketio_max_payload 10k; }
        location = /status { socketio_status; }
        location = /other { socketio_status json zone=other; }
EOS

    my $client = client($nginx, 'websocket', path => '/other/');

    counted($nginx, {}, 'the one is empty');
    counted($nginx, {
        'connections.open.websocket'   => 1,
        'connections.opened.websocket' => 1,
        'sockets.open./'               => 1,
        'sockets.accepted'             => 1,
        'received.packets'             => 1,
        'sent.packets'                 => 2,
    }, 'the other is not', path => '/other');

    my $memory = status($nginx, '/other')->{memory};

    cmp_ok($memory->{size}{log}, '<', 1 << 19, 'its size');

    for my $table (sort keys %{ $memory->{size} }) {
        is($memory->{used}{$table} + $memory->{free}{$table},
           $memory->{size}{$table}, "used and free: $table");
    }

    cmp_ok($memory->{used}{workers}, '>', 0, 'somebody is there');

    $nginx->stop;
};


done_testing();
