#!/usr/bin/perl

# Every directive that can be given at several levels: what holds is the value
# of the innermost one, and in a nested location that of the location around it.

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
use SIO::Util qw(root read_file scale wait_until);
use SIO::WS;
use SIO::Webhooks qw(disconnect_of signature);
use Test::More;

my $json = JSON::PP->new->utf8;
my $backend = SIO::Backend->new->start;

# where values are to be seen, and the one that holds there
my @places = ([ a => 0 ], [ c => 2 ], [ 'c/d' => 2 ], [ b => 1 ]);

my @secrets = map { 'whsec_' . $_ x 32 } qw(A B C);

my $nginx;


# $directive has one value in http, another in a server, and a third in a
# location of this server; each of @places is a handler, and has a zone.

sub start {
    my ($directive, $values, $handler, $around) = @_;

    my ($http, $server, $location) = map { "$directive $_;" } @$values;

    my $hook = <<'EOS';
        location /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
EOS

    $backend->reset;

    $nginx = SIO::Nginx->new(
        http => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 16; }

    socketio_zone a 16m;
    socketio_zone b 16m;
    socketio_zone c 16m;
    socketio_zone d 16m;

    $around
    $http

    server {
        listen 127.0.0.1:%%PORT_inner%%;

        $server

        location /b/ { $handler zone=b; }

        location /c/ {
            $handler zone=c;
            $location

            location /c/d/ { $handler zone=d; }
        }

$hook
    }
EOS
        server => <<"EOS",
        location /a/      { $handler zone=a; }
        location /_api/a/ { socketio_api zone=a; allow all; }
        location /_api/b/ { socketio_api zone=b; allow all; }
        location /_api/c/ { socketio_api zone=c; allow all; }
        location /_api/d/ { socketio_api zone=d; allow all; }
        location /_status/a { socketio_status zone=a; }
        location /_status/b { socketio_status zone=b; }
        location /_status/c { socketio_status zone=c; }
        location /_status/d { socketio_status zone=d; }
$hook
EOS
    )->start;
}


# What the constructors of the clients want.

sub of {
    my ($place) = @_;

    return (
        port    => $nginx->port($place eq 'a' ? 'PORT' : 'PORT_inner'),
        path    => "/$place/",
        timeout => 20,
    );
}


sub get {
    my ($place, $query, @headers) = @_;

    my %of = of($place);

    return SIO::HTTP->new(port => $of{port})
           ->get("$of{path}?transport=polling&$query", @headers);
}


sub handshake {
    my ($place, @headers) = @_;

    return get($place, 'EIO=4', @headers);
}


sub status {
    my ($place) = @_;

    my $zone = substr $place, -1;

    return SIO::HTTP->new(port => $nginx->port)->get("/_status/$zone")->json;
}


sub opened {
    my ($member) = @_;

    return sub {
        my ($place) = @_;

        return SIO::EIO->open(of($place))->{open}{$member};
    };
}


# The webhooks of a session with one event.

sub webhooks {
    my ($place) = @_;

    $backend->clear;

    my $client = SIO::Client->connect(of($place));
    my $sid = $client->sid;

    $client->emit('e');
    $client->disconnect;

    wait_until(20, sub {
        my $now = status($place);
        my %open = %{ $now->{connections}{open} };

        return !grep { $_ } values %open, values %{ $now->{webhooks}{pending} };
    });

    return $backend->requests(sid => $sid);
}


sub pending {
    my ($place) = @_;

    my $pending = status($place)->{webhooks}{pending};
    my $sum = 0;

    $sum += $_ for values %$pending;

    return $sum;
}


# The largest number up to which this succeeds.

sub most {
    my ($place, $attempt) = @_;

    my $n = 0;

    $n++ while $n < 9 && $attempt->($place, $n + 1);

    return $n;
}


# What was sent before this has been read and obeyed, and the session lives.

sub alive {
    my ($client) = @_;

    return eval { $client->join('/nowhere')->{type} == 4 };
}


sub attachments {
    my ($place, $n) = @_;

    my $client = SIO::Client->connect(of($place), transport => 'websocket');
    my @holders = map { "{\"_placeholder\":true,\"num\":$_}" } 0 .. $n - 1;

    $client->eio->send("45$n-" . '["e",' . join(',', @holders) . ']');
    $client->eio->{ws}->send_binary('x') for 1 .. $n;

    return alive($client);
}


sub long_name {
    my ($place, $n) = @_;

    my $client = SIO::Client->connect(of($place));

    $client->emit('e' x $n);

    return alive($client);
}


sub namespaces {
    my ($place) = @_;

    my $client = SIO::Client->new(of($place));

    return join ' ', grep { $client->join($_)->{type} == 0 } qw(/1 /2 /3);
}


sub many_namespaces {
    my ($place) = @_;

    my $client = SIO::Client->new(of($place));

    return scalar grep { $client->join("/$_")->{type} == 0 } 1 .. 5;
}


sub rooms {
    my ($place) = @_;

    my $client = SIO::Client->connect(of($place));
    my $zone = substr $place, -1;
    my $http = SIO::HTTP->new(port => $nginx->port);
    my $sid = $client->sid;

    $http->post("/_api/$zone/join", $json->encode({
        in => [$sid], rooms => [ map { "room $_" } 1 .. 5 ] }));

    my $answer = $http->get("/_api/$zone/sockets/$sid")->json;

    return scalar grep { /^room / } @{ $answer->{rooms} };
}


sub transports {
    my ($place) = @_;

    my %of = of($place);

    return join ' ',
        (handshake($place)->{status} == 200 ? 'polling' : ()),
        (eval { SIO::EIO->open_ws(%of) } ? 'websocket' : ());
}


# With so small a time at one place, and so large a one at another, no clock is
# needed to tell them apart: at the former it happens, while the latter waits.

my @times = ('100ms', '10m', '200ms');
my @ends = ('ends', 'stays', 'ends');


# @places has the one that stays at its end.

sub ended {
    my ($place, $ws) = @_;

    return $ws->wait_close($place eq 'b' ? 0.5 : 20) ? 'ends' : 'stays';
}


sub upgrade_timeout {
    my ($place) = @_;

    my $ws = SIO::EIO->open(of($place))->websocket;

    $ws->send_text('2probe');
    $ws->recv;

    return ended($place, $ws);
}


sub connect_timeout {
    my ($place) = @_;

    return ended($place, SIO::EIO->open_ws(of($place))->{ws});
}


sub webhook_timeout {
    my ($place) = @_;

    $backend->on({ type => 'connect' }, { hang => 1 });

    my $eio = SIO::EIO->open_ws(of($place));

    $eio->send('40');

    return ended($place, $eio->{ws});
}


sub send_buffer {
    my ($place) = @_;

    my $client = SIO::Client->connect(of($place), transport => 'polling');
    my $zone = substr $place, -1;

    # the first one is taken, whatever its size
    SIO::HTTP->new(port => $nginx->port)->post("/_api/$zone/emit",
        $json->encode({ event => 'e', args => [ 'x' x 100_000 ] }))
        for 1, 2;

    my $status = $client->eio->get->{status};

    return $status == 200 ? 'stays' : 'ends';
}


# A backend that hangs, several events on several connections, and how many of
# these the backend has.

sub concurrency {
    my ($place) = @_;

    $backend->on({ type => 'event' }, { hang => 1 });

    my @clients = map { SIO::Client->connect(of($place)) } 1 .. 5;

    $_->emit('e') for @clients;

    wait_until(20, sub { pending($place) == 5 });

    my $n = status($place)->{webhooks}{pending}{in_flight};

    # the places share what a worker may have
    $backend->stop('KILL');
    wait_until(20, sub { pending($place) == 0 });
    $backend->start;

    return $n;
}


# How much more than a connect is read while the first event hangs.

sub queue {
    my ($place) = @_;

    $backend->on({ type => 'event' }, { hang => 1 });

    my $client = SIO::Client->connect(of($place), transport => 'websocket');
    my $before = status($place)->{received}{packets};
    my ($n, $last) = (0, -1);

    # each in a packet of its own
    for (1 .. 20) {
        $client->emit('e');
        $n = status($place)->{received}{packets} - $before;
    }

    wait_until(5, sub {
        ($last, $n) = ($n, status($place)->{received}{packets} - $before);
        return $n == $last;
    });

    return $n;
}


# Of 20 packets at once those that are read without delay, or all of them.

sub event_rate {
    my ($place) = @_;

    my $client = SIO::Client->connect(of($place), transport => 'websocket');
    my $before = status($place)->{received}{packets};

    $client->emit('e') for 1 .. 20;

    wait_until($place eq 'b' ? 20 : 1, sub {
        status($place)->{received}{packets} - $before >= 20;
    });

    return status($place)->{received}{packets} - $before >= 20 ? 'all' : 'some';
}


sub signed {
    my ($place) = @_;

    my ($connect) = webhooks($place);
    my %h = %{ $connect->{headers} };

    my ($found) = grep {
        $h{'webhook-signature'} eq 'v1,' . signature($secrets[$_],
            @h{qw(webhook-id webhook-timestamp)}, $connect->{body})
    } 0 .. $#secrets;

    return $found;
}


sub origins {
    my ($place) = @_;

    return join ' ', grep {
        handshake($place, Origin => "https://$_.example")->{status} == 200
    } qw(a b c);
}


sub forwarded {
    my ($place) = @_;

    return handshake($place,
        'Origin'            => 'https://public.example',
        'X-Forwarded-Proto' => 'https',
        'X-Forwarded-Host'  => 'public.example',
    )->{status};
}


sub key {
    my ($place) = @_;

    my %of = of($place);
    my $http = SIO::HTTP->new(port => $of{port});

    return join ' ', grep {
        $http->post("$of{path}emit", '{"event":"e"}',
                    Authorization => "Bearer $_")->{status} != 401
    } qw(one two three);
}


# By the name after "socketio_": the values in http, server and location, how
# one sees which of them holds, and, where it is not the value itself, what one
# sees then.  A string among these stands around the directive.

my $hook = 'socketio_webhook /_hook;';

my %cases = (
    webhook => [ [ qw(/_hook/1 /_hook/2 /_hook/3) ],
                 sub { (webhooks(@_))[0]{path} } ],
    webhook_secret => [ \@secrets, \&signed, [ 0, 1, 2 ], $hook ],
    webhook_timeout => [ \@times, \&webhook_timeout, \@ends, $hook ],
    webhook_pass_header => [ [ qw(x-a x-b x-c) ], sub {
        my ($place) = @_;
        my $client = SIO::Client->connect(of($place), headers => [
            map { $_ => 1 } qw(x-a x-b x-c) ]);
        my ($connect) = $backend->requests(sid => $client->sid);
        return join ' ', sort keys %{ $connect->{json}{request}{headers} };
    }, undef, $hook ],
    webhook_queue => [ [ 2, 64, 5 ], \&queue, [ 4, 20, 7 ], $hook ],
    webhook_concurrency => [ [ 1, 3, 2 ], \&concurrency, undef,
                             "$hook socketio_webhook_events event;" ],
    webhook_events => [ [ 'connect', 'event', 'connect disconnect' ], sub {
        return join ' ', map { $_->{json}{type} } webhooks(@_);
    }, undef, $hook ],
    namespaces => [ [ '/1', '/2', '/2 /3' ], \&namespaces ],
    transports => [ [ 'polling', 'websocket', 'polling websocket' ],
                    \&transports ],
    ping_interval => [ [ '11s', '12s', '13s' ], opened('pingInterval'),
                       [ 11000, 12000, 13000 ] ],
    ping_timeout => [ [ '11s', '12s', '13s' ], opened('pingTimeout'),
                      [ 11000, 12000, 13000 ] ],
    upgrade_timeout => [ \@times, \&upgrade_timeout, \@ends ],
    connect_timeout => [ \@times, \&connect_timeout, \@ends ],
    max_payload => [ [ 1001, 1002, 1003 ], opened('maxPayload') ],
    max_attachments => [ [ 1, 3, 2 ], sub { most(@_, \&attachments) } ],
    max_namespaces => [ [ 1, 3, 2 ], \&many_namespaces, undef,
                        'socketio_namespaces *;' ],
    max_rooms => [ [ 1, 3, 2 ], \&rooms ],
    max_name => [ [ 2, 4, 3 ], sub { most(@_, \&long_name) } ],
    event_rate => [ [ '1r/m burst=2', 'off', '1r/m burst=3' ], \&event_rate,
                    [ 'some', 'all', 'some' ] ],
    send_buffer => [ [ '4k', '10m', '5k' ], \&send_buffer, \@ends ],
    allow_eio3 => [ [ 'on', 'off', 'on' ],
                    sub { get(@_, 'EIO=3')->{status} }, [ 200, 400, 200 ] ],
    refuse => [ [ qw(one off three) ],
                sub { handshake(@_)->{body} =~ /"message":"(\w+)"/
                      ? $1 : 'off' } ],
    cookie => [ [ qw(one two three) ],
                sub { handshake(@_)->{headers}{'set-cookie'} =~ s/=.*//r } ],
    cors_allowed_origins => [ [ map { "https://$_.example" } qw(a b c) ],
                              \&origins, [ qw(a b c) ] ],
    cors_credentials => [ [ 'off', 'on', 'off' ], sub {
        handshake(@_, Origin => 'https://a.example')
            ->{headers}{'access-control-allow-credentials'} ? 'on' : 'off';
    }, undef, 'socketio_cors_allowed_origins *;' ],
    trusted_proxies => [ [ 'off', '127.0.0.1', '192.0.2.1' ], \&forwarded,
                         [ 400, 200, 400 ] ],
    api_key => [ [ qw(one two three) ], \&key ],
);


# Those that are declared for all levels.

sub declared {
    my $text = read_file(root() . '/src/ngx_http_socketio_module.c');

    return $text =~ /ngx_string\("socketio_(\w+)"\),\s*
                     NGX_HTTP_SOCKETIO_SETTING\b/gx;
}


is_deeply([ sort keys %cases ], [ sort(declared()) ], 'all directives');

for my $name (sort keys %cases) {
    my ($values, $observe, $seen, $around) = @{ $cases{$name} };

    $seen //= $values;

    subtest $name => sub {
        start("socketio_$name", $values,
              $name eq 'api_key' ? 'socketio_api' : 'socketio', $around // '');

        for my $place (@places) {
            my ($path, $i) = @$place;

            is($observe->($path), $seen->[$i], "$path: $values->[$i]");
        }

        $nginx->stop;
    };
}

done_testing();
