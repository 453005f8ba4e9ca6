#!/usr/bin/perl

# The official clients: connect, events and acknowledgements with octets, both
# ways of ending, over each transport and the upgrade (C118).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::Nginx;
use SIO::Proc;
use Test::More;

my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 2,
    http    => "upstream app { server @{[ $backend->address ]}; keepalive 8; }",
    server  => <<'EOF')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces     / /chat /räume;
            socketio_allow_eio3     on;
            socketio_ping_interval  300ms;
            socketio_webhook        /_socketio;
        }

        location = /_socketio {
            internal;
            proxy_pass          http://app;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }
EOF

$backend->on({ type => 'event', event => 'echo' }, { json => {
    ack         => '%args%',
    attachments => '%attachments%',
} });

$backend->on({ type => 'event', event => 'say' }, { json => {
    emit => [{ event => 'said', args => '%args%',
               attachments => '%attachments%' }],
} });

$backend->on({ type => 'event', event => 'ask' }, { json => {
    emit => [{ event => 'question', args => [1], ack => 'token-%sid%' }],
} });

$backend->on({ type => 'ack' }, { json => {
    emit => [{ event => 'thanks', args => '%args%' }],
} });

$backend->on({ type => 'event', event => 'bye' },
             { json => { disconnect => JSON::PP::true } });

$backend->on({ type => 'connect', namespace => '/chat' },
             { status => 403, json => {
                 error => { message => 'no', data => { code => 7 } } } });

# names are what anybody likes: of a namespace, a room and an event
my $odd = "\x{2603} \x{1f600}";

$backend->on({ type => 'event', event => $odd }, { json => {
    join => [$odd],
    emit => [{ event => $odd, args => '%args%', to => $odd }],
} });

my $url = 'http://127.0.0.1:' . $nginx->port;
my $octets = { '$binary' => 'AQID' };


# What all clients can; $answer answers an event that wants it.

sub conversation {
    my ($client, $upgrade, $answer) = @_;

    ok($client->json_with('connect')->{connect}, 'connected');

    is($client->json_with('upgrade')->{upgrade}, 'websocket', 'upgraded')
        if $upgrade;

    $client->send({ emit => [ 'say', 1.5, $octets, "\x{20ac} \x{1f600}" ] });
    is_deeply($client->json_with('event')->{event},
              [ 'said', 1.5, $octets, "\x{20ac} \x{1f600}" ], 'event');

    $client->send({ call => [ 'echo', { a => [ $octets, $octets ] } ] });
    is_deeply($client->json_with('answer')->{answer},
              [ { a => [ $octets, $octets ] } ], 'acknowledged by us');

    $client->send({ emit => ['ask'] });
    my $question = $client->json_with('event');
    is_deeply($question->{event}, [ 'question', 1 ], 'question');

    $answer->($question);
    is_deeply($client->json_with('event')->{event}, [ 'thanks', 1 ],
              'acknowledged by the client');

    # after two heartbeats the line is as good as before
    my $silent = !defined $client->line(0.8);
    $client->send({ call => [ 'echo', 2 ] });
    ok($silent && $client->json_with('answer')->{answer}[0] == 2, 'lives');
}


sub names {
    my ($client) = @_;

    ok($client->json_with('connect')->{connect}, 'a namespace');

    $client->send({ emit => [ $odd, { $odd => 1 } ] });
    is_deeply($client->json_with('event')->{event}, [ $odd, { $odd => 1 } ],
              'an event, a room, and what is in it');
}


my %transports = (
    polling   => ['polling'],
    websocket => ['websocket'],
    upgrade   => [ 'polling', 'websocket' ],
);


for my $version (2, 3, 4) {
    for my $name (sort keys %transports) {
        subtest "JavaScript $version, $name" => sub {
            my $options = JSON::PP::encode_json(
                { transports => $transports{$name} });
            my $client = SIO::Proc->node('client.js', $version, $url, $options);

            conversation($client, $name eq 'upgrade', sub {
                $client->send({ ack => $_[0]{ack}, args => [1] });
            });

            # version 2 knows another id than we do
            my $sid = ($backend->requests(type => 'connect'))[-1]{json}{sid};

            $client->send({ disconnect => 1 });
            is($client->json_with('disconnect')->{disconnect},
               'io client disconnect', 'disconnects');

            my ($end) = $backend->wait(1, 5, type => 'disconnect',
                                       sid => $sid);
            like($end->{json}{reason},
                 qr/^(?:client namespace disconnect|transport close)$/,
                 'the application is told');

            $client = SIO::Proc->node('client.js', $version, $url, $options);
            ok($client->json_with('connect'), 'another one');

            $client->send({ emit => ['bye'] });
            is($client->json_with('disconnect')->{disconnect},
               'io server disconnect', 'is sent away');

            $client = SIO::Proc->node('client.js', $version, "$url/chat",
                                      $options);

            my $refusal = $client->json_with('connect_error');

            # version 2 gets the data in place of the message
            is_deeply($version == 2 ? $refusal->{connect_error}
                                    : $refusal->{data},
                      { code => 7 }, 'refused');
        };

        subtest "JavaScript $version, $name, names" => sub {
            names(SIO::Proc->node('client.js', $version, "$url/räume",
                JSON::PP::encode_json({ transports => $transports{$name} })));
        };
    }
}


for my $name (sort keys %transports) {
    subtest "Python, $name" => sub {
        my $client = SIO::Proc->python('client.py', $url,
            JSON::PP::encode_json({ transports => $transports{$name} }));

        # It answers by itself, and tells of no upgrade.
        conversation($client, 0, sub { });

        $client->send({ disconnect => 1 });
        is($client->json_with('disconnect')->{disconnect},
           'client disconnect', 'disconnects');
    };

    subtest "Python, $name, names" => sub {
        names(SIO::Proc->python('client.py', $url, JSON::PP::encode_json(
            { transports => $transports{$name},
              namespace  => "/r\x{e4}ume" })));
    };
}


$nginx->stop;

done_testing();
