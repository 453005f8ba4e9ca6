#!/usr/bin/perl

# From polling to WebSocket; the numbers are those of the conformance
# checklist.  Everything is done twice: with a WebSocket that arrives at the
# worker that has the session, and with one that arrives at another, which
# then takes the session over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Answers qw(is_answer is_error);
use SIO::Backend;
use SIO::EIO;
use SIO::HTTP;
use SIO::WS;
use SIO::Ways;
use Test::More;
use Time::HiRes qw(time sleep);


my $backend = SIO::Backend->new->start;

# An echo, by acknowledgement.
$backend->on({ type => 'event' }, { json => {
    ack         => '%args%',
    attachments => '%attachments%',
} });

my $ways = SIO::Ways->new(tunnel => 1, http => <<"EOF", locations => <<'EOS');
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }
EOF
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_namespaces / /custom;
            socketio_allow_eio3 on;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /hasty/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_queue 1;
            socketio_upgrade_timeout 1s;
        }

        location /quick/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 300ms;
            socketio_ping_timeout 1s;
            socketio_allow_eio3 on;
        }

        location /small/ {
            socketio;
            socketio_max_payload 1000;
        }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;
my @workers = $nginx->workers;


sub is_closed {
    my ($eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_error($eio->get, 1, "$name, the session is gone");
}


# Of sockets whose backend is told so, once.

sub is_reason {
    my ($eio, $reason, $name) = @_;

    my @match = (type => 'disconnect', sid => $eio->{socket});

    $backend->wait(1, 10, @match);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply([ map { $_->{json}{reason} } $backend->requests(@match) ],
              [$reason], "$name, $reason");
}


# A WebSocket that is over before the session is, with our empty close frame.

sub is_dropped {
    my ($ws, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply($ws->recv_frame, {
        fin     => 1,
        rsv     => 0,
        opcode  => SIO::WS::CLOSE,
        payload => '',
    }, "$name, the WebSocket is closed");
}


# Where the session is, and where its WebSocket will be.

my $where;
my ($owner, $door) = @workers;


sub session {
    my (%option) = @_;

    my $eio = SIO::EIO->open(
        http    => $nginx->connect_to($owner, timeout => 20),
        port    => $nginx->port,
        timeout => 20,
        %option,
    );

    $eio->{http} = $way->client;

    return $eio;
}


# In "/"; the Socket.IO id is left in {socket}.

sub joined {
    my $eio = session(@_);

    $eio->post('40') if $eio->{eio} == 4;

    my $packet = $eio->next // die 'no answer to CONNECT';

    ($eio->{socket}) = $packet =~ /^40\{"sid":"([^"]+)"\}\z/;

    return $eio;
}


sub websocket {
    my ($eio, %option) = @_;

    return SIO::WS->connect(
        http    => $nginx->connect_to($option{pid} // $door, timeout => 20),
        path    => $eio->url('websocket'),
        timeout => 20,
        %option,
    );
}


sub probe {
    my ($eio, %option) = @_;

    my $ws = websocket($eio, %option);

    $ws->send_text('2probe');

    my $answer = $ws->recv // '(nothing)';

    die "no answer to the probe: $answer" if $answer ne '3probe';

    return $ws;
}


sub upgraded {
    my ($eio) = @_;

    $eio->{ws} = probe($eio);
    $eio->{ws}->send_text('5');

    return $eio->{ws};
}


# The session can still do all this, beginning with a poll.

sub goes_on {
    my ($eio, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_answer($eio->post_raw('426["e",1]'), 200, 'ok', "$name, POST");
    is_answer($eio->get, 200, '436[1]', "$name, GET");

    upgraded($eio);
    lives($eio, "$name, upgraded");
    delete $eio->{ws};
}


# On its WebSocket.

sub lives {
    my ($eio, $name) = @_;

    $eio->{ws}->send_text('427["alive"]');

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($eio->next, '437[]', "$name, the session lives");
}


sub emit {
    my ($eio, @args) = @_;

    $way->emit($eio->{socket}, 'e', @args) == 1
        or die 'nobody to emit to';
}


sub kick {
    my ($eio) = @_;

    return $way->api('disconnect', { in    => [ $eio->{socket} ],
                                     close => JSON::PP::true });
}


sub begin {
    my $eio = joined(@_);
    my $ws = websocket($eio);

    is($ws->recv(0.2), undef, 'C57 no open packet');

    $ws->send_text('2probe');
    is_deeply($ws->recv_frame, {
        fin     => 1,
        rsv     => 0,
        opcode  => SIO::WS::TEXT,
        payload => '3probe',
    }, 'C57 the probe is answered');
    is($ws->recv(0.2), undef, 'C57 once');

    $ws->send_text('5');
    $eio->{ws} = $ws;
    lives($eio, 'C57');
}


sub polls {
    my $eio = joined();
    my $ws = websocket($eio);
    my $pending = $way->waiting($eio);

    ok(!$pending->ready, 'C58 a poll waits until the probe');

    $ws->send_text('2probe');
    is_answer($pending->wait, 200, '6', 'C58 which ends it');
    is_answer($eio->get, 200, '6', 'C58 and the next one');
    is($ws->recv, '3probe', 'C58');
    is_answer($eio->get, 200, '6', 'C58 and the one after the answer');

    # What is emitted meanwhile belongs to polling.
    emit($eio, 1);
    emit($eio, 2);
    is_answer($eio->get, 200, qq(42["e",1]\x1e42["e",2]), 'C59 events');
    is_answer($eio->get, 200, '6', 'C59 then nothing again');
    is_answer($eio->post_raw('421["e",3]'), 200, 'ok', 'C59 POST');

    my $answer;

    for (1 .. 500) {
        $answer = $eio->get->{body};
        last if $answer ne '6';
        sleep 0.01;
    }

    is($answer, '431[3]', 'C59 which is served');

    emit($eio, 3);
    emit($eio, 4);
    is($ws->recv(0.2), undef, 'C59 nothing on the WebSocket');

    $ws->send_text('5');
    $eio->{ws} = $ws;
    emit($eio, 5);
    is(join('|', map { $eio->next } 3 .. 5),
       join('|', map { qq(42["e",$_]) } 3 .. 5), 'C60 what was kept, in order');

    is_error($eio->get, 3, 'C61 GET');
    is_error($eio->post_raw('6'), 3, 'C61 POST');
    is_error($eio->post_raw('x'), 3, 'C61 POST, no payload');
    lives($eio, 'C61');

    # Something is emitted before, and at every step.
    my $n = 0;
    $eio = joined();
    emit($eio, ++$n);
    $ws = websocket($eio);
    emit($eio, ++$n);
    $ws->send_text('2probe');
    emit($eio, ++$n);
    is($ws->recv, '3probe', 'C60');
    emit($eio, ++$n);
    push @{ $eio->{packets} }, $eio->poll;
    emit($eio, ++$n);
    $eio->{ws} = $ws;
    $ws->send_text('5');
    emit($eio, ++$n) for 1 .. 3;
    is(join('|', map { $eio->next } 1 .. $n),
       join('|', map { qq(42["e",$_]) } 1 .. $n), 'C60 at every step');
}


# Many at once, by connections of their own, while the session moves.

sub emits {
    my $eio = joined();
    my $n = 60;
    my $json = JSON::PP->new->canonical;

    my $start = sub {
        my ($i) = @_;

        return SIO::HTTP->new(port => $nginx->port, timeout => 20)->start(
            'POST', '/_api/emit',
            body => $json->encode({ event => 'e', args => [$i] }));
    };

    my @pending = map { $start->($_) } 1 .. $n / 2;
    my $ws = probe($eio);
    push @pending, map { $start->($_) } $n / 2 + 1 .. $n;
    $ws->send_text('5');
    $eio->{ws} = $ws;
    $_->wait for @pending;

    my @got = map { $eio->next } 1 .. $n;
    my @numbers = map { /^42\["e",(\d+)\]\z/ } @got;

    is("@{[ sort { $a <=> $b } @numbers ]}", "@{[ 1 .. $n ]}",
       'C60 each event once');
    lives($eio, 'C60 and nothing else');
}


sub others {
    my $eio = joined();
    my $ws = websocket($eio);

    for my $pid (@workers) {
        is_dropped(websocket($eio, pid => $pid), 'C62 before the probe');
    }

    $ws->send_text('2probe');
    is($ws->recv, '3probe', 'C62 the first one');

    for my $pid (@workers) {
        my $other = websocket($eio, pid => $pid);

        $other->send_text($_) for '2probe', '5';
        is_dropped($other, 'C62 after the probe');
    }

    $ws->send_text('5');
    $eio->{ws} = $ws;
    lives($eio, 'C62');

    for my $pid (@workers) {
        my $other = websocket($eio, pid => $pid);

        $other->send_text($_) for '2probe', '5', '427["no"]';
        is_dropped($other, 'C62 afterwards');
        lives($eio, 'C62');
    }

    # All of them at the same moment: one gets through.
    for my $n (1 .. 10) {
        $eio = joined();

        my @pids = $n % 2 ? @workers : @workers[1 .. $#workers];
        my @http = map { $nginx->connect_to($_, timeout => 20) } @pids;
        my @all = map {
            $_->start('GET', $eio->url('websocket'), headers => [
                'Upgrade'               => 'websocket',
                'Connection'            => 'Upgrade',
                'Sec-WebSocket-Version' => 13,
                'Sec-WebSocket-Key'     => 'dGhlIHNhbXBsZSBub25jZQ==',
            ]);
        } @http;

        my @status = map { $_->wait->{status} } @all;
        my @ws = map { bless { c => $_, timeout => 20 }, 'SIO::WS' } @all;

        is("@status", join(' ', (101) x @pids), "C62 at once $n, accepted");

        $_->send_text('2probe') for @ws;

        my @probed = grep { ($_->recv // '') eq '3probe' } @ws;

        is(@probed, 1, "C62 at once $n, one gets through");

        if (@probed) {
            $eio->{ws} = $probed[0];
            $eio->{ws}->send_text('5');
            lives($eio, "C62 at once $n");
        }
    }
}


sub failures {
    my $text = sub { SIO::WS->frame(SIO::WS::TEXT, @_) };

    my @first = (
        'a ping'              => $text->('2'),
        'another ping'        => $text->('2probeX'),
        'a pong'              => $text->('3probe'),
        'a message'           => $text->('40'),
        'a close'             => $text->('1'),
        'a noop'              => $text->('6'),
        'an upgrade and more' => $text->('5x'),
        'nothing'             => $text->(''),
        'no packet'           => $text->('x'),
        'octets'              => SIO::WS->frame(SIO::WS::BINARY, '2probe'),
        'a message and 5'     => $text->('40') . $text->('5'),
    );

    while (my ($name, $octets) = splice @first, 0, 2) {
        my $eio = joined();
        my $ws = websocket($eio);

        $ws->send_raw($octets);
        is_dropped($ws, "C63 $name");
        goes_on($eio, "C63 $name");
    }

    my $eio = joined();
    my $ws = probe($eio);
    $ws->send_text('42["e"]');
    is_dropped($ws, 'C63 a message after the probe');
    goes_on($eio, 'C63 a message after the probe');

    my %broken = (
        1002 => SIO::WS->frame(3, ''),
        1007 => $text->("2\xff"),
        1009 => $text->('', length => 1000001),
    );

    for my $code (sort keys %broken) {
        my $eio = joined();
        my $ws = websocket($eio);

        $ws->send_raw($broken{$code});
        is($ws->wait_close->{code}, $code, "C63 $code");
        goes_on($eio, "C63 $code");
    }

    for my $probe (0, 1) {
        my $state = $probe ? 'after the probe' : 'before the probe';

        for my $how (qw(close drop abort)) {
            my $eio = joined();
            my $ws = $probe ? probe($eio) : websocket($eio);

            $ws->$how;
            goes_on($eio, "C64 $state, $how");
        }

        # Somebody polls all the time.
        my $eio = joined();
        my $ws = websocket($eio);
        my $pending = $way->waiting($eio);

        if ($probe) {
            $ws->send_text('2probe');
            is_answer($pending->wait, 200, '6', "C64 $state, a noop");
        }

        $ws->drop;

        if ($probe) {
            $way->settle;
            $pending = $way->waiting($eio);
        }

        emit($eio, 1);
        is_answer($pending->wait, 200, '42["e",1]', "C64 $state, a poll");
        goes_on($eio, "C64 $state, a poll");

        $eio = joined(path => '/hasty/');
        $ws = $probe ? probe($eio) : websocket($eio);
        is_dropped($ws, "C65 $state");
        emit($eio, 2);
        is_answer($eio->get, 200, '42["e",2]', "C65 $state, a poll");

        $pending = $way->waiting($eio);
        ok(!$pending->ready, "C65 $state, it waits as before");
        emit($eio, 3);
        is_answer($pending->wait, 200, '42["e",3]', "C65 $state, and ends");

        upgraded($eio);
        $eio->{ws}->send_text('41');
        $eio->{ws}->send_text('40');
        like($eio->next, qr/^40\{/, "C65 $state, a retry");
        is($eio->{ws}->recv(1.3), undef, "C65 $state, for which it is over");
    }
}


sub back_to_back {
    my @both = map { SIO::WS->frame(SIO::WS::TEXT, $_) } '2probe', '5';

    for my $n (1 .. 10) {
        my $eio = joined();
        my $poll = $n % 2;
        my $pending = $poll && $way->waiting($eio);
        my $name = "C66 $n" . ($poll ? ', with a poll' : '');

        $eio->{ws} = websocket($eio);
        $eio->{ws}->send_raw(join '', @both);
        is($eio->next, '3probe', $name);
        is_answer($pending->wait, 200, '6', "$name, the poll") if $poll;
        lives($eio, $name);
    }

    my $eio = joined();
    my $pending = $way->waiting($eio);
    $eio->{ws} = websocket($eio, early => join '', @both);
    is($eio->next, '3probe', 'C66 with the request');
    is_answer($pending->wait, 200, '6', 'C66 with the request, a poll');
    lives($eio, 'C66 with the request');

    $eio = joined();
    $pending = $way->waiting($eio);
    $eio->{ws} = websocket($eio);
    $eio->{ws}->send_text('5');
    is_answer($pending->wait, 200, '6', 'C66 only 5, a poll');
    lives($eio, 'C66 only 5');

    $eio = joined();
    $eio->{ws} = websocket($eio);
    $eio->{ws}->send_raw(join '', @both, map {
        SIO::WS->frame(SIO::WS::TEXT, qq(42$_\["e",$_])) } 0 .. 9);
    is(join('|', map { $eio->next } 0 .. 10),
       join('|', '3probe', map { "43$_\[$_]" } 0 .. 9), 'C66 and events');
}


sub attachments {
    my $place = sub { qq({"_placeholder":true,"num":$_[0]}) };
    my ($a, $b) = map { $place->($_) } 0, 1;

    my $eio = joined();
    $eio->post(qq(451-0["f",$a]));
    upgraded($eio);
    $eio->{ws}->send_binary("\1\2\3");
    is($eio->next, "461-0[$a]", 'C67 the header before');
    is($eio->next, 'bAQID', 'C67 its octets');

    $eio = joined();
    $eio->post(qq(452-1["f",$b,$a]), 'bAQID');
    upgraded($eio);
    $eio->{ws}->send_binary("\4");
    is($eio->next, "462-1[$b,$a]", 'C67 one of two before');
    is($eio->next, 'bAQID', 'C67 the one');
    is($eio->next, 'bBA==', 'C67 the other');
    lives($eio, 'C67');

    $eio = joined();
    $eio->post(qq(451-["f",$a]));
    upgraded($eio);
    $eio->{ws}->send_text('42["e"]');
    is_dropped($eio->{ws}, 'C67 something else than octets');
    is_closed($eio, 'C67 something else than octets');
    is_reason($eio, 'forced close', 'C67');
}


sub ends {
    for my $probe (0, 1) {
        my $state = $probe ? 'after the probe' : 'before the probe';
        my $start = $probe ? \&probe : \&websocket;

        my $eio = joined();
        my $ws = $start->($eio);
        is_answer($eio->post_raw('1'), 200, 'ok', "C68 $state, POST");
        is_dropped($ws, "C68 $state");
        is_closed($eio, "C68 $state");
        is_reason($eio, 'transport close', "C68 $state");

        $eio = joined();
        $ws = $start->($eio);
        is_answer($eio->post_raw('x'), 200, 'ok', "C68 $state, no payload");
        is_dropped($ws, "C68 $state, no payload");
        is_closed($eio, "C68 $state, no payload");
        is_reason($eio, 'parse error', "C68 $state");

        $eio = joined();
        $ws = $start->($eio);
        my $other = $eio->{http}->start(
            'POST', $eio->url('polling'), body => '6',
            headers => [ 'Content-Length' => 2 ]);
        $way->settle;
        $other->close;
        is_dropped($ws, "C68 $state, a POST cut off");
        is_closed($eio, "C68 $state, a POST cut off");

        $eio = session(path => '/hasty/');
        $ws = $start->($eio);
        sleep 0.2;
        is_answer($eio->post_raw('42["e"]'), 200, 'ok',
                  "C68 $state, too early");
        is_answer($eio->get, 200, '1', "C68 $state, told by polling");
        is_dropped($ws, "C68 $state, told by polling");
        is_closed($eio, "C68 $state, told by polling");
    }
}


# The client may be on its way to the WebSocket already: then it learns there,
# and if the WebSocket fails it learns by polling.

sub sent_away {
    my $eio = joined();
    my $ws = probe($eio);
    is(kick($eio), 1, 'sent away after the probe');
    is($ws->recv(0.2), undef, 'the WebSocket waits');
    $ws->send_text('5');
    is($ws->recv, '41', 'told after the upgrade');
    is_dropped($ws, 'then closed');
    is_closed($eio, 'then closed');
    is_reason($eio, 'server namespace disconnect', 'sent away');

    $eio = joined();
    $ws = probe($eio);
    emit($eio, 1);
    kick($eio);
    is_answer($eio->get, 200, qq(42["e",1]\x1e41), 'it may poll instead');
    is_answer($eio->get, 200, '1', 'and poll again');
    is_dropped($ws, 'who polled');
    is_closed($eio, 'who polled');

    my %failures = (
        'closes'    => sub { $_[0]->close },
        'drops'     => sub { $_[0]->drop },
        'says more' => sub { $_[0]->send_text('42["e"]') },
        'waits'     => sub { },
    );

    for my $name (sort keys %failures) {
        $eio = joined(path => '/hasty/');
        $ws = probe($eio);
        emit($eio, 1);
        kick($eio);
        $failures{$name}->($ws);
        is_dropped($ws, "who $name") if $name =~ /says|waits/;
        is_answer($eio->get, 200, qq(42["e",1]\x1e41),
                  "who $name is told by polling");
        is_answer($eio->get, 200, '1', "who $name, the end");
        is_closed($eio, "who $name");
    }

    # While a POST keeps the upgrade waiting.
    $eio = joined();
    my $post = $eio->{http}->start(
        'POST', $eio->url('polling'), body => '42["e',
        headers => [ 'Content-Length' => 10 ]);
    $way->settle;
    upgraded($eio);
    $way->settle;
    kick($eio);
    is($eio->{ws}->recv, '41', 'told after an upgrade that waits');
    is_dropped($eio->{ws}, 'told after an upgrade that waits');
    is_answer($post->wait, 200, 'ok', 'the POST');
    is_closed($eio, 'told after an upgrade that waits');
}


sub bodies {
    my $eio = joined();
    my $open = sub {
        my ($length) = @_;

        my $pending = $eio->{http}->start(
            'POST', $eio->url('polling'), body => '421["e', headers => [
                'Content-Length' => $length ]);

        $way->settle;

        return $pending;
    };

    my $post = $open->(10);
    upgraded($eio);
    $eio->{ws}->send_text('422["e",2]');
    is($eio->{ws}->recv(0.2), undef, 'a POST in its body comes first');
    $post->write('",1]');
    is_answer($post->wait, 200, 'ok', 'and is served');
    is($eio->next, '431[1]', 'its event');
    is($eio->next, '432[2]', 'and then what was sent after it');

    $eio = joined();
    $post = $open->(10);
    upgraded($eio);
    $post->close;
    is_dropped($eio->{ws}, 'a POST that is cut off');
    is_closed($eio, 'a POST that is cut off');
    is_reason($eio, 'transport error', 'a POST that is cut off');

    # However long its backend takes.
    $eio = joined(path => '/hasty/');
    $backend->on({ type => 'event', event => 'slow' },
                 { delay => 1.5, json => { ack => '%args%' } }, times => 1);
    $post = $eio->{http}->start('POST', $eio->url('polling'), body =>
        join "\x1e", '421["slow",1]', map { qq(42$_\["e",$_]) } 2 .. 9);
    $way->settle;
    upgraded($eio);
    $eio->{ws}->send_text('42["e"]');
    is(join('|', map { $eio->next } 1 .. 9),
       join('|', map { "43$_\[$_]" } 1 .. 9), 'a POST that takes time');
    is_answer($post->wait, 200, 'ok', 'a POST that takes time');
    $eio->{ws}->drop;

    $eio = joined(path => '/small/');
    $post = $eio->{http}->start('POST', $eio->url('polling'), headers => [
        'Transfer-Encoding' => 'chunked' ]);
    $post->write("1\r\n6\r\n");
    $way->settle;
    upgraded($eio);
    $post->write("3e8\r\n" . 'x' x 1000 . "\r\n");
    is_answer($post->wait, 413, '', 'a POST that is too large');
    $eio->{ws}->send_text('41');
    $eio->{ws}->send_text('40');
    like($eio->next, qr/^40\{/, 'is no obstacle');
}


sub heartbeats {
    my $eio = joined(path => '/quick/');
    is_answer($eio->get, 200, '2', 'a ping before the upgrade');
    upgraded($eio);
    is_dropped($eio->{ws}, 'is missed after it');
    is_closed($eio, 'no pong');
    is_reason($eio, 'ping timeout', 'no pong');

    $eio = joined(path => '/quick/');
    is_answer($eio->get, 200, '2', 'a ping before the upgrade');
    upgraded($eio);

    for my $n (1 .. 5) {
        $eio->{ws}->send_text('3');
        is($eio->{ws}->recv, '2', "and ping $n after it");
    }

    is_dropped($eio->{ws}, 'until no pong comes');

    $eio = joined(path => '/quick/');
    upgraded($eio);
    is($eio->{ws}->recv, '2', 'the first ping after the upgrade');
    is_dropped($eio->{ws}, 'no pong');

    # The wait for a poll does not stop the clock either.
    $eio = joined(path => '/quick/');
    my $ws = probe($eio);
    is_dropped($ws, 'silent during the upgrade');
    is_closed($eio, 'silent during the upgrade');

    $eio = joined(path => '/quick/', eio => 3);
    upgraded($eio);

    for my $n (1 .. 3) {
        sleep 0.5;
        $eio->{ws}->send_text('2');
        is($eio->{ws}->recv, '3', "EIO 3: ping $n");
    }

    is_dropped($eio->{ws}, 'EIO 3: no ping');
}


# What a session has, it still has elsewhere.

sub belongings {
    my @match = (type => 'connect', namespace => '/');

    $backend->on({ @match }, { json => {
        join  => ['lobby'],
        user  => 'u-1',
        state => { lang => 'fr' },
        emit  => [ { event => 'ask', args => [], ack => 'token' } ],
    } });

    my $eio = joined();

    $backend->on({ @match }, {});

    my ($id) = $eio->next =~ /^42(\d+)\["ask"\]\z/;

    ok(defined $id, 'a question before the upgrade');
    $eio->post('40/custom,', '421["before"]');
    like(join('|', sort map { $eio->next } 1 .. 2),
         qr/^40\/custom,\{[^}]+\}\|431\[\]\z/, 'another namespace');

    my $ws = upgraded($eio);

    $ws->send_text(qq(43$id\["answer"]));
    $ws->send_text('42/custom,2["there"]');
    is($eio->next, '43/custom,2[]', 'the other namespace is still joined');
    lives($eio, 'with all it has');

    is($way->api('emit', { event => 'e', to => 'lobby', args => [1] }), 1,
       'and is in its room');
    is($eio->next, '42["e",1]', 'where it is heard');

    $ws->close;
    is_reason($eio, 'transport close', 'and tells when it ends');

    my @seen = map { $_->{json} } $backend->requests(sid => $eio->{socket});

    is_deeply([ map { join ' ', @$_{qw(seq type)}, $_->{event} // () } @seen ],
              [ '0 connect', '1 event before', '2 ack', '3 event alive',
                '4 disconnect' ], 'the order of its webhooks');
    is_deeply([ map { [ @$_{qw(user state)} ] } @seen[1 .. 4] ],
              [ ([ 'u-1', { lang => 'fr' } ]) x 4 ], 'what they know');
    is_deeply([ @{ $seen[2] }{qw(token args)} ], [ 'token', ['answer'] ],
              'the answer to the question');
}


# Webhooks that are under way while the session moves.

sub under_way {
    my $eio = session();

    $backend->on({ type => 'connect' }, { delay => 0.5 }, times => 1);
    $eio->post('40');
    upgraded($eio);

    my $packet = $eio->next;
    like($packet, qr/^40\{"sid":"([^"]+)"\}\z/, 'a connect');

    ($eio->{socket}) = $packet =~ /"sid":"([^"]+)"/;
    lives($eio, 'a connect');

    $eio = joined();
    $backend->on({ type => 'event', event => 'slow' },
                 { delay => 0.5, json => { ack => '%args%' } }, times => 1);
    $eio->post('421["slow",1]', '422["e",2]', '423["e",3]');
    upgraded($eio);
    $eio->{ws}->send_text('424["e",4]');
    is(join('|', map { $eio->next } 1 .. 4),
       '431[1]|432[2]|433[3]|434[4]', 'an event, and others behind it');

    $eio = joined();
    $backend->on({ type => 'event', event => 'slow' },
                 { delay => 0.5, json => { ack => '%args%' } }, times => 1);
    $eio->post('421["slow",1]', '42["e"]');
    upgraded($eio);
    $eio->{ws}->close;
    is_reason($eio, 'transport close', 'an event of one who has left');
    is_deeply([ map { join ' ', @{ $_->{json} }{qw(seq type)} }
                $backend->requests(sid => $eio->{socket}) ],
              [ '0 connect', '1 event', '2 event', '3 disconnect' ],
              'which are told in order, to the end');
}


# A GET and a POST of the moment in which it is all over.

sub races {
    my @both = map { SIO::WS->frame(SIO::WS::TEXT, $_) } '2probe', '5';
    my %got;

    for my $n (1 .. 100) {
        my $eio = session();
        my $ws = websocket($eio);

        $ws->send_raw($_) for @both;

        my $r = $n % 2 ? $eio->get : $eio->post_raw('6');

        $got{"$r->{status} $r->{body}"}++;
        $ws->drop;
    }

    is_deeply(\%got, { '400 {"code":3,"message":"Bad request"}' => 100 },
              'C61 right behind the upgrade, a hundred times');

    %got = ();

    for my $n (1 .. 100) {
        my $eio = session();
        my $pending = $eio->get_start;
        my $post = $eio->{http}->start('POST', $eio->url('polling'),
                                       body => '1');

        $got{join ' ', map { $_->{status}, $_->{body} }
                       map { $_->wait } $pending, $post}++;
    }

    is_deeply(\%got, { '200 6 200 ok' => 100 },
              'C34 a GET and the end of the session, a hundred times');

    # As a browser does: CONNECT, the first poll and the WebSocket.
    for my $n (1 .. 20) {
        my $eio = session();
        my $http = $nginx->connect_to($door, timeout => 20);
        my $poll = $eio->get_start;
        my $post = $eio->{http}->start('POST', $eio->url('polling'),
                                       body => '40');
        my $ws = SIO::WS->connect(http => $http, timeout => 20,
                                  path => $eio->url('websocket'));

        $ws->send_text('2probe');
        is_answer($post->wait, 200, 'ok', "all at once $n, POST");

        my $first = $poll->wait;
        is($first->{status}, 200, "all at once $n, GET");
        is($ws->recv, '3probe', "all at once $n, WebSocket");

        push @{ $eio->{packets} }, $eio->decode($first->{body});
        $ws->send_text('5');
        $eio->{ws} = $ws;
        like($eio->next, qr/^40\{"sid":/, "all at once $n, joined");
        lives($eio, "all at once $n");
        $ws->drop;
    }
}


for my $same (1, 0) {
    $where = $same ? 'the same worker' : 'another worker';
    ($owner, $door) = $same ? @workers[0, 0] : @workers[0, 1];

    subtest "begins, $where" => \&begin;
    subtest "polls, $where" => \&polls;
    subtest "emits, $where" => \&emits;
    subtest "others, $where" => \&others;
    subtest "failures, $where" => \&failures;
    subtest "back to back, $where" => \&back_to_back;
    subtest "attachments, $where" => \&attachments;
    subtest "ends, $where" => \&ends;
    subtest "sent away, $where" => \&sent_away;
    subtest "bodies, $where" => \&bodies;
    subtest "heartbeats, $where" => \&heartbeats;
    subtest "belongings, $where" => \&belongings;
    subtest "under way, $where" => \&under_way;
    subtest "races, $where" => \&races;
}


$ways->run(sub {
    my ($way) = @_;

    plan(skip_all => "nginx has no WebSocket over HTTP/$way->{version}")
        if ($way->{version} // 0) >= 2;

    my $port = $way->{nginx}->port($way->{version} ? 'tunnel' : 'PORT');

    for my $n (1 .. 10) {
        my $eio = $way->joined;
        my $pending = $way->waiting($eio);
        my $ws = SIO::WS->connect(port => $port, timeout => 20,
                                  path => $eio->url('websocket'));

        $ws->send_text('2probe');
        is($ws->recv, '3probe', "C57 $n");
        is_answer($pending->wait, 200, '6', "C58 $n");
        $way->emit($eio->{socket}, 'e', 'x' x 100000);
        $ws->send_text('5');
        $eio->{ws} = $ws;
        ok($eio->next eq '42["e","' . 'x' x 100000 . '"]', "C60 $n");
        is_error($eio->get, 3, "C61 $n");
        lives($eio, "C61 $n");
        is($ws->close(1000)->{code}, 1000, "closed $n");
        is_closed($eio, "closed $n");
    }

    my $eio = $way->session;
    my $ws = SIO::WS->connect(port => $port, path => $eio->url('websocket'));
    $ws->send_text('40');
    is_dropped($ws, 'C63');
    ok($way->alive($eio), 'C63 polls');
});


$nginx->stop;
$backend->stop;

done_testing();
