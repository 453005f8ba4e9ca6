#!/usr/bin/perl

# Pages of another origin in a real browser, with the official client: whom the
# rules of socketio_cors_allowed_origins let in, and by which transport.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Browser;
use SIO::Nginx;
use SIO::Util qw(root read_file);
use Test::More;

# workers may not be able to look into the checkout
my $pages = SIO::Nginx->new(server => <<'EOS');
        location = /page {
            default_type  text/html;
            return        200 '<script src="/socket.io.min.js"></script>';
        }

        location / {
            root   page;
            types  { text/javascript js; }
        }
EOS

my $library = 'page/socket.io.min.js';

mkdir $pages->prefix . '/page';
$pages->write($library, read_file(root() . "/examples/chat/$library"));
chmod 0755, map { $pages->prefix . $_ } '', '/page';
chmod 0644, $pages->prefix . "/$library";
$pages->start;

my $origin = 'http://127.0.0.1:' . $pages->port;

my $nginx = SIO::Nginx->new(server => <<"EOS")->start;
        location /same/ {
            socketio;
        }

        location /list/ {
            socketio;
            socketio_cors_allowed_origins http://127.0.0.1:1 $origin;
        }

        location /another/ {
            socketio;
            socketio_cors_allowed_origins https://example.com;
        }

        location /any/ {
            socketio;
            socketio_cors_allowed_origins *;
        }

        location /off/ {
            socketio;
            socketio_cors_allowed_origins off;
        }

        location /anonymous/ {
            socketio;
            socketio_cors_allowed_origins *;
            socketio_cors_credentials off;
        }
EOS

my $browser = SIO::Browser->new;
my $page = $browser->page("$origin/page");

$page->wait('!!window.io') or BAIL_OUT('no client library');


# Which transport a client ends with, or why it has none.  The header makes the
# browser ask before it polls.

sub tried {
    my ($path, $transports, $credentials) = @_;

    return $page->eval(<<"EOS");
new Promise((resolve) => {
  const socket = io('http://127.0.0.1:@{[ $nginx->port ]}', {
    path: '/$path/', transports: $transports, reconnection: false,
    forceNew: true, withCredentials: $credentials,
    extraHeaders: { 'X-Token': 't' },
  });
  const done = (answer) => {
    resolve(answer);
    socket.disconnect();
  };

  socket.on('connect_error', (error) => done(error.message));
  socket.on('connect', () => {
    const engine = socket.io.engine;

    if (engine.transport.name !== engine.opts.transports.at(-1)) {
      engine.on('upgrade', (transport) => done(transport.name));
    } else {
      done(engine.transport.name);
    }
  });
})
EOS
}


my $refused = [ 'xhr poll error', 'websocket error' ];
my $taken = [ 'websocket', 'websocket' ];

# [ location, by polling first and by WebSocket alone, with cookies likewise ]

for my $case (
    [ same      => $refused, $refused ],
    [ list      => $taken, $taken ],
    [ another   => $refused, $refused ],
    [ any       => $taken, $taken ],
    [ off       => [ $refused->[0], 'websocket' ],
                   [ $refused->[0], 'websocket' ] ],
    [ anonymous => $taken, [ $refused->[0], 'websocket' ] ],
) {
    my ($path, @expected) = @$case;

    my @got = map {
        my $credentials = $_;

        [ map { tried($path, $_, $credentials) }
          "['polling', 'websocket']", "['websocket']" ];
    } qw(false true);

    is_deeply(\@got, \@expected, $path);
}

my $blocked = grep { /blocked by CORS policy/ } $page->problems;

cmp_ok($blocked, '>', 0, 'the browser says why');

$browser->finish;
$_->stop for $nginx, $pages;

done_testing();
