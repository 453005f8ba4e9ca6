#!/usr/bin/perl

# The same application behind each kind of handler that nginx has for it, with
# the servers that people have: gunicorn, PHP-FPM, uWSGI, or none at all.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use SIO::Backend;
use SIO::Client;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(free_port needed read_file temp_dir wait_until write_file);
use SIO::Webhooks qw(client_of all_is_told webhooks_of);
use Test::More;
use Time::HiRes qw(sleep);

my $dir = temp_dir();
my %port = map { $_ => free_port() } qw(threads sync fpm uwsgi);

# the applications run as somebody else, and write what they have heard
chmod 01777, $dir;


write_file("$dir/app.py", <<'EOF');
import json
import os

from flask import Flask, request

app = Flask(__name__)
directory = os.path.dirname(os.path.abspath(__file__))


@app.post("/socketio")
def webhook():
    hook = request.get_json()

    with open(directory + "/log", "a") as log:
        log.write("%s %s %d %s %s\n" % (
            hook["type"], hook["sid"], hook["seq"], hook.get("reason", "-"),
            request.environ.get("REMOTE_PORT", "-")))

    return handlers[hook["type"]](hook)


def connect(hook):
    if hook["auth"].get("token") != "good":
        return {"message": "no", "data": hook["auth"]}, 403

    return {"user": hook["auth"]["name"], "join": ["room"],
            "emit": [{"event": "joined", "args": [hook["auth"]["name"]],
                      "to": "room", "except": hook["sid"]}]}


def event(hook):
    if hook["event"] == "ask":
        return {"ack": [hook["user"], *hook["args"]]}

    if hook["event"] == "say":
        return {"emit": [{"event": "said", "args": hook["args"],
                          "to": ["room"]}]}

    if hook["event"] == "crash":
        raise RuntimeError("as it happens")

    return "", 204


def disconnect(hook):
    return {"emit": [{"event": "left", "args": [hook["user"]],
                      "to": "room"}]}


handlers = {"connect": connect, "event": event, "disconnect": disconnect}
EOF

write_file("$dir/app.php", <<'EOF');
<?php

$hook = json_decode(file_get_contents('php://input'), true);

file_put_contents(__DIR__ . '/log', sprintf("%s %s %d %s %s\n",
    $hook['type'], $hook['sid'], $hook['seq'], $hook['reason'] ?? '-',
    $_SERVER['REQUEST_URI']), FILE_APPEND);

header('Content-Type: application/json');

switch ($hook['type']) {

case 'connect':
    $auth = $hook['auth'];

    if (($auth['token'] ?? '') != 'good') {
        http_response_code(403);
        echo json_encode(['message' => 'no', 'data' => (object) $auth]);
        exit;
    }

    echo json_encode([
        'user' => $auth['name'],
        'join' => ['room'],
        'emit' => [['event' => 'joined', 'args' => [$auth['name']],
                    'to' => 'room', 'except' => $hook['sid']]],
    ]);
    break;

case 'event':
    switch ($hook['event']) {

    case 'ask':
        echo json_encode(['ack' => [$hook['user'], ...$hook['args']]]);
        break;

    case 'say':
        echo json_encode(['emit' => [['event' => 'said',
                          'args' => $hook['args'], 'to' => ['room']]]]);
        break;

    case 'crash':
        throw new Exception('as it happens');

    default:
        http_response_code(204);
    }
    break;

case 'disconnect':
    echo json_encode(['emit' => [['event' => 'left',
                      'args' => [$hook['user']], 'to' => 'room']]]);
}
EOF

write_file("$dir/fpm.conf", <<"EOF");
[global]
error_log = $dir/fpm.log
daemonize = no

[app]
@{[ $> == 0 ? "user = nobody\ngroup = nogroup" : '' ]}
listen = 127.0.0.1:$port{fpm}
pm = static
pm.max_children = 16
php_flag[display_errors] = off
EOF


my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app     { server @{[ $backend->address ]}; keepalive 32; }
    upstream threads { server 127.0.0.1:$port{threads}; keepalive 32; }
    # each kept connection of each worker holds one process of PHP-FPM
    upstream fpm     { server 127.0.0.1:$port{fpm}; keepalive 2; }

    # what everybody has in front of everything
    server {
        listen 127.0.0.1:%%PORT_moved%%;

        if (\$request_method = POST) { return 301 https://\$host/; }
        rewrite ^/_hook /elsewhere;

        location /socket.io/ { socketio; socketio_webhook /_hook; }
        location = /_hook    { internal; proxy_pass http://app; }
    }
EOS
    server => <<"EOS",
        location /threads/   { socketio; socketio_webhook /_threads; }
        location /sync/      { socketio; socketio_webhook /_sync; }
        location /fpm/       { socketio; socketio_webhook /_fpm; }
        location /fpm-kept/  { socketio; socketio_webhook /_fpm-kept; }
        location /uwsgi/     { socketio; socketio_webhook /_uwsgi; }
        location /recorder/  { socketio; socketio_webhook /_recorder; }
        location /nothing/   { socketio; socketio_webhook /_nothing; }
        location /text/      { socketio; socketio_webhook /_text; }
        location /page/      { socketio; socketio_webhook /_page; }
        location /refuse/    { socketio; socketio_webhook /_refuse; }
        location /nowhere/   { socketio; socketio_webhook /_nowhere; }
        location /redirect/  { socketio; socketio_webhook /_redirect; }

        location = /_threads {
            internal;
            proxy_pass http://threads/socketio;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location = /_sync {
            internal;
            proxy_pass http://127.0.0.1:$port{sync}/socketio;
            proxy_buffering off;
        }
        location /_fpm {
            internal;
            fastcgi_pass  127.0.0.1:$port{fpm};
            fastcgi_param SCRIPT_FILENAME $dir/app.php;
            fastcgi_param REQUEST_METHOD  \$request_method;
            fastcgi_param REQUEST_URI     \$request_uri;
            fastcgi_param CONTENT_TYPE    \$content_type;
            fastcgi_param CONTENT_LENGTH  \$content_length;

            location = /_fpm-kept {
                internal;
                fastcgi_pass      fpm;
                fastcgi_keep_conn on;
            }
        }
        location = /_uwsgi {
            internal;
            uwsgi_pass  127.0.0.1:$port{uwsgi};
            uwsgi_param PATH_INFO       /socketio;
            uwsgi_param REQUEST_METHOD  \$request_method;
            uwsgi_param REQUEST_URI     \$request_uri;
            uwsgi_param QUERY_STRING    \$query_string;
            uwsgi_param CONTENT_TYPE    \$content_type;
            uwsgi_param CONTENT_LENGTH  \$content_length;
            uwsgi_param SERVER_NAME     \$server_name;
            uwsgi_param SERVER_PORT     \$server_port;
            uwsgi_param SERVER_PROTOCOL \$server_protocol;
            uwsgi_param REMOTE_PORT     0;
        }
        location = /_recorder {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location = /_nothing  { internal; return 204; }
        location = /_refuse   { internal; return 403; }
        location = /_nowhere  { internal; return 301 http://x/; }
        location = /_redirect { internal; return 302 /_nothing; }
        location = /_text {
            internal;
            return 200 '{"user":"u","emit":[{"event":"hi",
                         "args":["\$socketio_type","\$socketio_sid"]}],
                         "ack":["\$socketio_event"]}';
        }
        location = /_page {
            internal;
            return 200 '<h1>It works</h1>';
        }
EOS
)->start;

my @workers = $nginx->workers;


sub lines {
    return split /\n/, read_file("$dir/log") // '';
}


sub await_port {
    my ($port) = @_;

    return wait_until(20, sub {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    });
}


# The whole life of an application.

sub lives {
    my ($path) = @_;

    my @clients = map {
        client_of($nginx, $workers[$_], path => $path, auth => {
                  token => 'good', name => "n$_" })
    } 0 .. 3;

    for my $i (0 .. 3) {
        is_deeply([ map { $clients[$i]->event('joined')->[1] // '(none)' }
                    $i + 1 .. 3 ], [ map { "n$_" } $i + 1 .. 3 ],
                  "client $i sees who comes");
    }

    is_deeply($clients[1]->call('ask', 'é', { a => [1.5] }),
              [ 'n1', 'é', { a => [1.5] } ], 'an answer');

    $clients[2]->emit('crash');
    $clients[2]->emit('say', 'hello', $_) for 1 .. 10;

    for my $client (@clients) {
        is(join(' ', map { ($client->event('said') // [])->[2] // '(none)' }
                1 .. 10),
           '1 2 3 4 5 6 7 8 9 10', 'a room on all workers');
    }

    $clients[3]->disconnect;
    is(($clients[$_]->event('left') // [])->[1], 'n3', 'somebody leaves')
        for 0 .. 2;

    my $refused = SIO::Client->new(port => $nginx->port, path => $path);
    my $answer = $refused->join('/', { token => 'bad' });

    is_deeply([ @$answer{qw(type data)} ],
              [ 4, { message => 'no', data => { token => 'bad' } } ],
              'somebody is not let in');

    my @sids = map { $_->sid } @clients;

    $_->disconnect for @clients[ 0 .. 2 ], $refused;

    for my $i (0 .. 3) {
        my @own;

        wait_until(5, sub {
            @own = grep { / \Q$sids[$i]\E / } lines();
            return $own[-1] =~ /^disconnect/;
        });

        is(join(' ', map { (split)[0] } @own), join(' ', 'connect',
           ('event') x (0, 1, 11, 0)[$i], 'disconnect'), "webhooks of $i");
        is(join(' ', map { (split)[2] } @own), join(' ', 0 .. $#own),
           'numbers of them');
    }
}


my @gunicorn = (needed('gunicorn'), '-w', 3, '--chdir', $dir,
                '--worker-tmp-dir', $dir);


subtest 'gunicorn with threads' => sub {
    my $server = SIO::Proc->spawn([ @gunicorn, qw(-k gthread --threads 4
        --keep-alive 60 app:app -b), "127.0.0.1:$port{threads}" ]);

    ok(await_port($port{threads}), 'is there');
    unlink "$dir/log";
    lives('/threads/');

    # nginx keeps 32 for each of its workers
    my %ports = map { (split)[-1] => 1 } grep { /^event/ } lines();

    cmp_ok(scalar keys %ports, '<', 8, 'connections are used again');

    $server->kill;
};


subtest 'gunicorn as it comes' => sub {
    my $server = SIO::Proc->spawn([ @gunicorn, 'app:app', '-b',
                                    "127.0.0.1:$port{sync}" ]);

    ok(await_port($port{sync}), 'is there');
    unlink "$dir/log";
    lives('/sync/');

    $server->kill;
};


subtest 'PHP-FPM' => sub {
    my ($program) = sort glob '/usr/sbin/php-fpm[0-9]*';

    $program //= needed('php-fpm');


    my $server = SIO::Proc->spawn([ $program, '-n', '-F', '-y',
                                    "$dir/fpm.conf" ]);

    ok(await_port($port{fpm}), 'is there');

    for my $path (qw(/fpm/ /fpm-kept/)) {
        unlink "$dir/log";
        lives($path);

        my %uris = map { (split)[-1] => 1 } lines();

        is(join(' ', keys %uris), $path =~ s{^/(.*)/}{/_$1}r,
           'a front controller sees the URI of the webhook');
    }

    $server->kill;
};


subtest 'uWSGI' => sub {
    my $server = SIO::Proc->spawn([
        needed('uwsgi'), qw(--plugin python3 --master --processes 3
        --die-on-term --need-app --module app:app --chdir), $dir,
        '--socket', "127.0.0.1:$port{uwsgi}",
    ], cwd => $dir);

    ok(await_port($port{uwsgi}), 'is there');
    unlink "$dir/log";
    lives('/uwsgi/');

    $server->kill;
};


subtest 'no server at all' => sub {
    my $client = client_of($nginx, $workers[0], path => '/nothing/');

    $client->emit_to('/', 1, 'e');
    ok($client->silent(0.3), '204: accepted, and no answer');
    $client->disconnect;

    $client = client_of($nginx, $workers[1], path => '/text/');

    is_deeply($client->event('hi'), [ 'hi', 'connect', $client->sid ],
              'a text with variables');
    is_deeply($client->call('name of event'), ['name of event'], 'an answer');
    $client->disconnect;

    $client = SIO::Client->new(port => $nginx->port, path => '/refuse/');

    is_deeply($client->join('/')->{data}, { message => 'Forbidden' },
              '403: refused');
    $client->disconnect;

    for my $path (qw(/page/ /nowhere/ /redirect/)) {
        $client = SIO::Client->new(port => $nginx->port, path => $path);
        $client->send_packet(0, '/');

        ok($client->eio->{ws}->wait_close, "$path closes the transport");
    }
};


subtest 'a server that sends everybody elsewhere' => sub {
    my $client = SIO::Client->connect(port => $nginx->port('moved'));

    $backend->on({ event => 'e' }, { json => { ack => ['here'] } });

    is_deeply($client->call('e'), ['here'], 'does not send webhooks there');
    is(join(' ', map { "$_->{method} $_->{path}" } $backend->requests),
       'POST /_hook POST /_hook', 'nor rewrites them');

    $client->disconnect;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


subtest 'kept connections' => sub {
    my $client = client_of($nginx, $workers[2], path => '/recorder/');

    $backend->on({ type => 'event' }, { json => { ack => '%args%' } });

    is_deeply($client->call('e', $_), [$_], "event $_") for 1 .. 20;

    my %peers = map { $_->{peer} => 1 } $backend->requests;

    is(scalar keys %peers, 1, '21 webhooks, one connection');

    # the backend had just closed it, as it looks from here

    $backend->on({ event => 'stale' }, { close => 'reset' }, times => 1);

    is_deeply($client->call('stale', 'x'), ['x'],
              'one that was closed meanwhile does no harm');

    my @found = $backend->requests(event => 'stale');

    is(@found, 2, 'the webhook was sent again');
    is($found[1]{body}, $found[0]{body}, 'the same');
    is($found[1]{headers}{'webhook-id'}, $found[0]{headers}{'webhook-id'},
       'under the same id');
    isnt($found[1]{peer}, $found[0]{peer}, 'on another connection');

    # on a connection of its own, this is a failure like any other

    $backend->on({ event => 'broken' }, { close => 'reset' });
    $client->emit('broken');

    is_deeply($client->call('e', 'after'), ['after'], 'the next event');
    is($backend->requests(event => 'broken'), 2, 'came after two attempts');
    ok($nginx->wait_log(qr/webhook failed: .*broken/), 'which the log has');

    $client->disconnect;
    all_is_told($backend, 'all is told');
    $backend->reset;
};


$nginx->stop;
$backend->stop;

done_testing();
