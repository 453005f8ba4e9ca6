#!/usr/bin/perl

# The access log: a line for each request, and for each session one that says
# how it ended, whoever ended it and whatever becomes of the worker; variables
# in formats, conditions and maps; what stands in the error log of a location.

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
use SIO::Util qw(read_file wait_until);
use SIO::WS;
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8;

my @core = qw(status request_method uri args bytes_sent request_time
              remote_addr http_user_agent http_x_one connection host
              server_name scheme request_uri);
my @ours = qw(sid namespace event type transport user reason packets_in
              packets_out);

my $format = join ',', (map { "\"$_\":\"\$$_\"" } @core),
                       (map { "\"$_\":\"\$socketio_$_\"" } @ours);

my $backend = SIO::Backend->new->start;

my $http = <<"EOS";
    log_format all escape=json '{$format}';

    map \$socketio_reason \$ended {
        default            "ended: \$socketio_reason";
        ""                 "";
    }

    log_format short '\$socketio_sid \$ended';

    upstream app { server @{[ $backend->address ]}; keepalive 8; }

    access_log %%PREFIX%%/all.log all;
EOS

my $locations = <<'EOS';
        server_name example.com;
        socketio_webhook /_hook;

        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
            access_log %%PREFIX%%/all.log all;
            access_log %%PREFIX%%/ends.log short if=$socketio_reason;
            access_log %%PREFIX%%/buffered.log short buffer=64k
                       if=$socketio_reason;
        }

        location /quick/ {
            socketio;
            socketio_ping_interval 200ms;
            socketio_ping_timeout 200ms;
            socketio_upgrade_timeout 300ms;
        }

        location /impatient/ {
            socketio;
            socketio_connect_timeout 200ms;
        }

        location /small/ {
            socketio;
            socketio_send_buffer 4k;
            socketio_max_payload 1k;
        }

        location /silent/ {
            socketio;
            access_log off;
        }

        location /own/ {
            socketio;
            error_log %%PREFIX%%/own.log info;
            socketio_webhook /_none;
        }

        location /loud/ {
            socketio;
            socketio_webhook /_away;
            socketio_webhook_events event;
            error_log %%PREFIX%%/loud.log error;
        }

        location /quiet/ {
            socketio;
            socketio_webhook /_away;
            socketio_webhook_events event;
            error_log %%PREFIX%%/quiet.log crit;
        }

        location = /_away { internal; proxy_pass http://127.0.0.1:%%PORT_away%%; }
        location = /status { socketio_status; }

        location = /_hook {
            internal;
            access_log %%PREFIX%%/hooks.log all;
            log_subrequest on;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location = /_none { internal; return 500; }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => $http,
    server  => $locations,
)->start;

my $port = $nginx->port;
my $plain = SIO::HTTP->new(port => $port);

$backend->on({ type => 'connect' }, { json => { user => 'u-%namespace%' } });


# Lines of a log as structures, those from a mark on.

my %mark;

sub lines {
    my ($log, %match) = @_;

    my $text = read_file($nginx->prefix . "/$log.log") // '';
    my @lines = map { $json->decode($_) }
                split /\n/, substr $text, $mark{$log} // 0;

    for my $name (keys %match) {
        my $want = $match{$name};
        @lines = grep { ref $want ? $_->{$name} =~ $want
                                  : $_->{$name} eq $want } @lines;
    }

    return @lines;
}


# Waits for so many lines.

sub wait_lines {
    my ($n, $log, %match) = @_;

    my @found;

    wait_until(10, sub {
        @found = lines($log, %match);
        return @found >= $n;
    });

    return @found;
}


sub mark {
    for my $log (qw(all hooks)) {
        $mark{$log} = length(read_file($nginx->prefix . "/$log.log") // '');
    }
}


# A line that is written now, so that whatever was to be is written, too: each
# worker writes in order, and is asked.

sub settle {
    for my $pid ($nginx->workers) {
        $nginx->connect_to($pid)->get('/none');
    }
}


sub client {
    my ($path, %option) = @_;

    return SIO::Client->connect(port => $port, path => $path, %option);
}


sub api {
    my ($call, $body) = @_;

    return $plain->post("/_api/$call", $json->encode($body))->json;
}


subtest 'a WebSocket' => sub {
    mark();

    my $begin = time;
    my $client = client('/socket.io/', query => 'a=1', nsp => '/chat',
                        headers => [ Host => 'example.com',
                                     'User-Agent' => 'Test "1"',
                                     'X-One' => 'one' ]);
    my $sid = $client->sid('/chat');

    $client->{nsp} = '/chat';
    $client->emit('x') for 1 .. 3;
    $backend->wait(3, 5, sid => $sid, type => 'event');

    settle();
    is(scalar lines('all', status => 101), 0, 'nothing as long as it lives');

    my $lived = time - $begin;

    $client->eio->{ws}->close;

    my @lines = wait_lines(1, 'all', status => 101);

    settle();
    is(scalar lines('all', status => 101), 1, 'one line at its end');

    my ($line) = @lines;
    my %expected = (
        status          => 101,
        request_method  => 'GET',
        uri             => '/socket.io/',
        args            => 'EIO=4&transport=websocket&a=1',
        request_uri     => '/socket.io/?EIO=4&transport=websocket&a=1',
        remote_addr     => '127.0.0.1',
        http_user_agent => 'Test "1"',
        http_x_one      => 'one',
        host            => 'example.com',
        server_name     => 'example.com',
        scheme          => 'http',
        sid             => $sid,
        namespace       => '/chat',
        user            => 'u-/chat',
        transport       => 'websocket',
        reason          => 'transport close',
        event           => '',
        type            => '',
        packets_in      => 4,
    );

    is_deeply({ map { $_ => $line->{$_} } keys %expected }, \%expected,
              'what is in it');

    cmp_ok($line->{packets_out}, '>=', 1, 'packets out');
    cmp_ok($line->{bytes_sent}, '>', 200, 'octets');
    cmp_ok($line->{request_time}, '>=', $lived - 0.1, 'how long it lived');
    cmp_ok($line->{request_time}, '<', 60, 'and not for ever');
};


# What ends a connection, and what the log says of it.

my %ends = (
    'close frame'  => [ '/socket.io/', 'transport close',
                        sub { $_[0]->eio->{ws}->close; 0 } ],
    'end of data'  => [ '/socket.io/', 'transport close',
                        sub { $_[0]->eio->{ws}->drop; 0 } ],
    'left before'  => [ '/socket.io/', 'transport close',
                        sub { $_[0]->leave; $_[0]->eio->{ws}->drop; 0 } ],
    'close packet' => [ '/socket.io/', 'transport close',
                        sub { $_[0]->eio->send('1'); 1 } ],
    'no frame'     => [ '/socket.io/', 'transport error',
                        sub { $_[0]->eio->{ws}->send_raw("\xff" x 8); 1 } ],
    'too large'    => [ '/small/', 'transport error',
                        sub { $_[0]->eio->send('4' . 'x' x 2000); 1 } ],
    'no packet'    => [ '/socket.io/', 'forced close',
                        sub { $_[0]->eio->send('4x'); 1 } ],
    'no Engine.IO' => [ '/socket.io/', 'parse error',
                        sub { $_[0]->eio->send('x'); 1 } ],
    'silence'      => [ '/quick/', 'ping timeout', sub { 1 } ],
    'sent away'    => [ '/socket.io/', 'server namespace disconnect',
                        sub { api('disconnect', { in => $_[0]->sid,
                                                  close => \1 }) } ],
);


for my $name (sort keys %ends) {
    my ($path, $reason, $end) = @{ $ends{$name} };

    subtest "a WebSocket ends: $name" => sub {
        mark();

        my $client = client($path);
        my $sid = $client->sid;

        # who is closed goes, or nginx would wait for that

        if ($end->($client)) {
            $client->eio->{ws}->wait_close;
            $client->eio->{ws}->drop;
        }

        my ($line) = wait_lines(1, 'all', status => 101);

        is($line->{reason}, $reason, 'reason');
        is($line->{sid}, $sid, 'sid');
        is($line->{user}, 'u-/', 'user');
        is($line->{namespace}, '/', 'namespace');
    };
}


subtest 'a WebSocket that entered no namespace' => sub {
    mark();

    my $eio = SIO::EIO->open_ws(port => $port, path => '/impatient/');

    $eio->{ws}->wait_close;
    $eio->{ws}->drop;

    my ($line) = wait_lines(1, 'all', status => 101);

    is($line->{sid}, '', 'no sid');
    isnt($line->{reason}, '', 'but a reason');
    is($line->{packets_in}, 0, 'and no packet');
};


my %polling_ends = (
    'close packet'  => [ '/socket.io/', 'transport close',
                         sub { $_[0]->eio->post('1') } ],
    'no packet'     => [ '/socket.io/', 'forced close',
                         sub { $_[0]->eio->post_raw('4x'); $_[0]->eio->get } ],
    'no Engine.IO'  => [ '/socket.io/', 'parse error',
                         sub { $_[0]->eio->post_raw('x') } ],
    'silence'       => [ '/quick/', 'ping timeout', sub { } ],
    'a poll is left' => [ '/socket.io/', 'transport error', sub {
                             my $poll = $_[0]->eio->get_start;
                             settle();
                             $poll->close;
                         } ],
    'sent away'     => [ '/socket.io/', 'server namespace disconnect', sub {
                             api('disconnect', { in => $_[0]->sid,
                                                 close => \1 });
                             $_[0]->eio->get for 1 .. 2;
                         } ],
    'too slow'      => [ '/small/', 'slow consumer', sub {
                             api('emit', { event => 'x', to => $_[0]->sid,
                                           args => [ 'x' x 3000 ] })
                                 for 1 .. 2;
                         } ],
);


for my $name (sort keys %polling_ends) {
    my ($path, $reason, $end) = @{ $polling_ends{$name} };

    subtest "a session that polls ends: $name" => sub {
        mark();

        my $client = client($path, transport => 'polling');
        my $sid = $client->sid;
        my $id = $client->eio->sid;

        settle();
        is(scalar lines('all', reason => qr/./), 0, 'nothing while it lives');

        $end->($client);

        my ($line) = wait_lines(1, 'all', reason => qr/./);

        settle();
        is(scalar lines('all', reason => qr/./), 1, 'one line at its end');

        is($line->{reason}, $reason, 'reason');
        is($line->{sid}, $sid, 'sid');
        is($line->{user}, 'u-/', 'user');
        is($line->{transport}, 'polling', 'transport');
        is($line->{status}, 200, 'status');
        is($line->{request_uri}, "$path?EIO=4&transport=polling", 'request');
        cmp_ok($line->{packets_in}, '>=', 1, 'packets in');
        cmp_ok($line->{packets_out}, '>=', 1, 'packets out');

        my @requests = lines('all', args => qr/\bsid=$id/);

        cmp_ok(scalar @requests, '>=', 2, 'requests have lines, too');
        is_deeply([ grep { $_->{reason} ne '' || $_->{transport} ne 'polling'
                           || $_->{sid} ne '' } @requests ], [],
                  'which say what they can');
    };
}


subtest 'polls that are left, or refused' => sub {
    mark();

    my $client = client('/socket.io/', transport => 'polling');
    my $poll = $client->eio->get_start;

    settle();
    $poll->close;

    my ($line) = wait_lines(1, 'all', status => 499);

    is($line->{transport}, 'polling', 'left: transport');
    is($line->{reason}, '', 'left: the reason is in the line of the session');

    is($client->eio->get->{status}, 400, 'its session is gone');
    ($line) = wait_lines(1, 'all', status => 400);
    is($line->{transport}, 'polling', 'refused: transport');

    $plain->get('/socket.io/?EIO=4&transport=nonsense');
    ($line) = wait_lines(1, 'all', args => qr/nonsense/);
    is($line->{transport}, '', 'of an unknown transport nothing is said');
};


subtest 'an upgrade' => sub {
    mark();

    my $client = client('/socket.io/', transport => 'polling');
    my $sid = $client->sid;

    $client->eio->upgrade;
    $client->emit('x');
    $backend->wait(1, 5, sid => $sid, type => 'event');

    settle();
    is(scalar lines('all', reason => qr/./), 0, 'nothing while it lives');

    $client->eio->{ws}->close;

    my ($line) = wait_lines(1, 'all', status => 101);

    settle();
    is(scalar lines('all', reason => qr/./), 1, 'one session, one end');

    is($line->{transport}, 'websocket', 'transport');
    is($line->{sid}, $sid, 'sid');
    is($line->{packets_in}, 4, 'packets of both transports');
    unlike($line->{args}, qr/\bsid=/, 'the id is not shown');
};


subtest 'an upgrade that fails' => sub {
    mark();

    my $client = client('/quick/', transport => 'polling');
    my $ws = $client->eio->websocket;

    $ws->drop;

    my ($line) = wait_lines(1, 'all', status => 101);

    is($line->{reason}, '', 'the session goes on, so there is no reason');
    is($line->{sid}, '', 'nor a sid');
    is($line->{packets_in}, '', 'nor packets');

    ($line) = wait_lines(1, 'all', reason => qr/./);

    is($line->{transport}, 'polling', 'it ended by polling');
    is($line->{sid}, $client->sid, 'with its sid');
};


subtest 'webhooks and calls' => sub {
    mark();

    my $client = client('/socket.io/', nsp => '/chat');

    $client->{nsp} = '/chat';
    $client->emit("a \"b\"");
    $backend->wait(1, 5, type => 'event', sid => $client->sid('/chat'));
    $client->disconnect;

    my @lines = wait_lines(3, 'hooks', sid => $client->sid('/chat'));

    is_deeply(
        [ map { [ @$_{qw(request_method uri status namespace type event user
                         reason)} ] } @lines ],
        [ [ 'POST', '/_hook', 200, '/chat', 'connect', '', '', '' ],
          [ 'POST', '/_hook', 204, '/chat', 'event', 'a "b"', 'u-/chat', '' ],
          [ 'POST', '/_hook', 204, '/chat', 'disconnect', '', 'u-/chat',
            'transport close' ] ],
        'webhooks, with log_subrequest in their location');

    is($lines[1]{remote_addr}, '127.0.0.1', 'the address of the client');

    mark();
    api('emit', { event => 'x', namespace => '/chat', args => [] });

    my ($line) = wait_lines(1, 'all', uri => '/_api/emit');

    is($line->{namespace}, '/chat', 'the namespace of a call');
};


subtest 'where, and whether' => sub {
    mark();

    my $silent = client('/silent/');
    my $polls = client('/silent/', transport => 'polling');

    $silent->eio->{ws}->close;
    $polls->eio->post('1');
    $backend->wait(1, 5, sid => $_->sid, type => 'disconnect')
        for $silent, $polls;

    settle();
    is_deeply([ lines('all', uri => '/silent/') ], [], 'access_log off');

    my $client = client('/socket.io/');
    my $sid = $client->sid;

    $client->eio->{ws}->close;

    ok(wait_until(5, sub {
        (read_file($nginx->prefix . '/ends.log') // '')
            =~ /^\Q$sid\E ended: transport close$/m;
    }), 'a second log, on a condition, with a map');

    my @ends = split /\n/, read_file($nginx->prefix . '/ends.log');

    is_deeply([ grep { !/^\S+ ended: ./ } @ends ], [],
              'the condition leaves out every other line');
};


subtest 'the error log of a location' => sub {
    mark();

    my $eio = SIO::EIO->open_ws(port => $port, path => '/own/');

    $eio->send('40');

    ok(wait_until(5, sub {
        (read_file($nginx->prefix . '/own.log') // '')
            =~ /\[error\].*webhook failed: unexpected status, status 500/;
    }), 'has what its webhooks do');

    $eio->{ws}->drop;

    $eio = SIO::EIO->open_ws(port => $port, path => '/own/');
    $eio->send('9');

    ok(wait_until(5, sub {
        read_file($nginx->prefix . '/own.log')
            =~ /\[info\].*malformed packet/;
    }), 'and its clients');

    unlike($nginx->log, qr/_none/, 'which are not in the other');

    $eio->{ws}->drop;
    wait_lines(2, 'all', uri => '/own/');
};


# Clients of each kind, when the worker goes.

sub crowd {
    my %sids;

    for (1 .. 4) {
        my $ws = client('/socket.io/');
        my $poll = client('/socket.io/', transport => 'polling');
        my $up = client('/socket.io/', transport => 'polling');

        $up->eio->upgrade;

        $sids{ $_->sid } = $_ for $ws, $poll, $up;
    }

    return \%sids;
}


sub all_logged {
    my ($sids, $reason) = @_;

    wait_until(10, sub {
        my %seen = map { $_->{sid} => 1 } lines('all', reason => $reason);

        return !grep { !$seen{$_} } keys %$sids;
    });

    settle() if $nginx->pid;

    my %count;

    $count{$_->{sid}}++ for grep { $sids->{$_->{sid}} }
                            lines('all', reason => qr/./);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\%count, { map { $_ => 1 } keys %$sids },
              "each has a line: $reason");
}


# Nobody listens there: two lines for each event, or none, and all are counted.

subtest 'a backend that is away' => sub {
    my $failed = sub {
        return $plain->get('/status')->json->{webhooks}{finished}{event}
                   {failed};
    };

    my %lines;

    for my $name (qw(loud quiet)) {
        my $before = $failed->();
        my $client = SIO::Client->connect(port => $port, path => "/$name/",
                                          transport => 'websocket');

        $client->emit('lost', $_) for 1 .. 20;
        ok(wait_until(20, sub { $failed->() == $before + 20 }),
           "$name: all are counted");
        $client->disconnect;

        my $log = read_file($nginx->prefix . "/$name.log");

        $lines{$name} = () = $log =~ /\n/g;
    }

    cmp_ok($lines{loud}, '>=', 20, 'lines for each of them');
    is($lines{quiet}, 0, 'or none');
};


subtest 'a reload' => sub {
    mark();

    my $sids = crowd();

    $nginx->reload;

    is_deeply([ grep { $sids->{$_->{sid}} } lines('all', reason => qr/./) ],
              [], 'goes on without a line');

    $_->eio->{ws} ? $_->eio->{ws}->close : $_->eio->post('1')
        for values %$sids;

    all_logged($sids, 'transport close');
};


subtest 'workers that have to go' => sub {
    mark();

    my $sids = crowd();

    $nginx->reload(main => 'worker_shutdown_timeout 1s;');
    mark();

    my $others = crowd();

    $nginx->reload;

    all_logged($others, 'server shutting down');

    $_->eio->{ws} ? $_->eio->{ws}->close : $_->eio->post('1')
        for values %$sids;
};


subtest 'the end of nginx' => sub {
    mark();

    my $sids = crowd();

    $nginx->stop('TERM');

    all_logged($sids, 'server shutting down');

    my @buffered = split /\n/, read_file($nginx->prefix . '/buffered.log');
    my %buffered = map { /^(\S+) ended: server shutting down/ ? ($1 => 1) : () }
                   @buffered;

    is_deeply([ grep { !$buffered{$_} } keys %$sids ], [],
              'also in a log that is buffered');
};


$backend->stop;

done_testing();
