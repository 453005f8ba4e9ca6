#!/usr/bin/perl

# What backends answer: each member of a reply, whom it reaches on which
# worker, to the byte and in which order, and what becomes of nonsense.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use SIO::Backend;
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(wait_until);
use SIO::Webhooks qw(client_of disconnect_of all_is_told webhooks_of);
use Test::More;
use Time::HiRes qw(sleep);

my $backend = SIO::Backend->new->start;

my $nginx = SIO::Nginx->new(
    workers => 4,
    http    => <<"EOS",
    upstream app { server @{[ $backend->address ]}; keepalive 32; }
EOS
    server => <<'EOS',
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
            socketio_max_attachments 2;
            socketio_webhook /_hook;
            socketio_webhook_timeout 30s;
        }
        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            subrequest_output_buffer_size 64k;
        }
        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS
)->start;

my $http = SIO::HTTP->new(port => $nginx->port);
my @workers = $nginx->workers;


sub api {
    my ($call, $body) = @_;

    my $r = $http->post("/_api/$call", $body);

    return $r->{status} == 200 ? $r->json->{matched} : $r->{status};
}


# Four people: a and d share a worker, b and c are in the room "r".

my %client;

sub everybody {
    $backend->reset;

    for my $name (qw(a b c d)) {
        $client{$name} = client_of($nginx, $workers[ord($name) % 3]);
        $client{$name}->join('/chat');
    }

    api('join', '{"in":["' . $client{$_}->sid . '"],"rooms":["r"]}')
        for qw(b c);
}


sub nobody {
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $_->disconnect for values %client;
    all_is_told($backend, 'all is told, in order and once');

    %client = ();
    $backend->reset;
}


# Sids in a text: <a> is the one of a, <a/chat> the other one.

sub expand {
    my ($text) = @_;

    return $text =~ s{<([a-d])(/chat)?>}{$client{$1}->sid($2)}ger;
}


# Lets a get this reply to an event, and tells what everybody has received.

sub reply {
    my ($body, %option) = @_;

    my %answer = ref $body ? %$body : (body => $body);

    if (defined $answer{body}) {
        $answer{body} = expand($answer{body});

        # a rule has characters
        utf8::decode($answer{body});
    }

    $backend->on({ event => 'do' }, \%answer, times => 1);
    $backend->on({ event => 'end' }, { json => {
        emit => [ { event => 'fence', broadcast => \1 } ],
    } });

    $client{a}->emit_to('/', $option{id}, 'do');
    $client{a}->emit_to('/', undef, 'end');

    return received(qw(a b c d));
}


# What there was before the fence: a reply is applied before the next.

sub received {
    my (@names) = @_;

    my %got;

    for my $name (@names) {
        for ( ;; ) {
            my $packet = $client{$name}->packet(10);

            if (!$packet) {
                push @{ $got{$name} }, '(no fence)';
                last;
            }

            last if $packet->{text} eq '42["fence"]';

            push @{ $got{$name} },
                 join ' ', substr($packet->{text}, 1),
                      map { encode_base64($_, '') } @{$packet->{attachments}};
        }
    }

    return \%got;
}


everybody();


subtest 'whom it reaches' => sub {
    my $e = '2["e"]';

    for my $case (
        [ '{"event":"e"}'                                     => 'a' ],
        [ '{"event":"e","to":"r"}'                            => 'b c' ],
        [ '{"event":"e","to":["r"]}'                          => 'b c' ],
        [ '{"event":"e","to":"<d>"}'                          => 'd' ],
        [ '{"event":"e","to":["r","<b>","<d>","nobody"]}'     => 'b c d' ],
        [ '{"event":"e","to":"nobody"}'                       => '' ],
        [ '{"event":"e","to":"r","except":"<b>"}'             => 'c' ],
        [ '{"event":"e","to":["r","<d>"],"except":["<b>","<c>"]}' => 'd' ],
        [ '{"event":"e","broadcast":true}'                    => 'a b c d' ],
        [ '{"event":"e","broadcast":true,"except":["<a>"]}'   => 'b c d' ],
        [ '{"event":"e","broadcast":true,"except":"r"}'       => 'a d' ],
        [ '{"event":"e","broadcast":true,"except":["r","<d>"]}' => 'a' ],
        [ '{"event":"e","broadcast":true,"volatile":true}'    => 'a b c d' ],
        [ '{"event":"e","broadcast":false}'                   => 'a' ],
        [ '{"event":"e","except":"<a>"}'                      => '' ],
        [ '{"event":"e","except":"r"}'                        => 'a' ],
        [ '{"event":"e","to":null,"except":null,"ack":null}'  => 'a' ],
        [ '{"event":"e","namespace":"/"}'                     => 'a' ],
        [ '{"event":"e","namespace":"/chat"}'        => 'a/chat' ],
        [ '{"event":"e","namespace":"/chat","broadcast":true}'
          => 'a/chat b/chat c/chat d/chat' ],
        [ '{"event":"e","namespace":"/chat","to":"<b/chat>"}' => 'b/chat' ],
        [ '{"event":"e","namespace":"/chat","to":"<b>"}'      => '' ],
        [ '{"event":"e","namespace":"/chat","to":"r"}'        => '' ],
        [ '{"event":"e","namespace":"/none","broadcast":true}' => '' ],
        [ '{"event":"e","namespace":"/none"}'                 => '' ],
    ) {
        my ($emit, $whom) = @$case;
        my $got = reply("{\"emit\":[$emit]}");

        my %expected;

        for my $name (split / /, $whom) {
            my ($client, $nsp) = $name =~ m{^(.)(.*)};

            push @{ $expected{$client} }, $nsp ? "2$nsp,[\"e\"]" : $e;
        }

        is_deeply($got, \%expected, $emit);
    }
};


subtest 'what arrives, to the byte' => sub {
    for my $case (
        [ '"event":"e"'                       => '2["e"]' ],
        [ '"event":"e","args":[]'             => '2["e"]' ],
        [ '"event":"e","args":null'           => '2["e"]' ],
        [ '"event":"\u00e9\"","args":[ 1.50 , 12345678901234567890]'
          => '2["\u00e9\"",1.50 , 12345678901234567890]' ],
        [ '"event":"é","args":[{"b":1,"a":2,"b":3},"\/\u0000"]'
          => '2["é",{"b":1,"a":2,"b":3},"\/\u0000"]' ],
        [ '"event":"e","args":[{"_placeholder":true,"num":0}],'
          . '"attachments":["iVBORw0KGgo="]'
          => '51-["e",{"_placeholder":true,"num":0}] iVBORw0KGgo=' ],
        [ '"event":"e","args":[{"_placeholder":true,"num":1},'
          . '{"_placeholder":true,"num":0}],"attachments":["AA==",""]'
          => '52-["e",{"_placeholder":true,"num":1},{"_placeholder":true,'
             . '"num":0}] AA== ' ],
        [ '"event":"e","args":[{"_placeholder":true,"num":0}]'
          => '2["e",{"_placeholder":true,"num":0}]' ],
        [ '"event":"e","args":[0],"other":{"members":1}' => '2["e",0]' ],
    ) {
        my ($emit, $text) = @$case;

        is_deeply(reply("{\"emit\":[{$emit}]}"), { a => [$text] }, $emit);
        is_deeply(reply("{\"emit\":[{$emit,\"to\":\"r\"}]}"),
                  { map { $_ => [$text] } qw(b c) }, 'to a room');
    }
};


subtest 'acknowledgements' => sub {
    for my $case (
        [ '"ack":[{"ok":true}]'        => '35[{"ok":true}]' ],
        [ '"ack":[]'                   => '35[]' ],
        [ '"ack":[ 1.50, "é" ]'        => '35[1.50, "é" ]' ],
        [ '"ack":[{"_placeholder":true,"num":0}],"attachments":["AQI="]'
          => '61-5[{"_placeholder":true,"num":0}] AQI=' ],
        [ '"ack":null'                 => undef ],
        [ '"other":0'                  => undef ],
    ) {
        my ($member, $text) = @$case;

        is_deeply(reply("{$member}", id => 5), $text ? { a => [$text] } : {},
                  $member);
        is_deeply(reply("{$member}"), {}, 'nobody waits for it');
    }
};


subtest 'the order of members, and of emits' => sub {
    is_deeply(
        reply('{"disconnect":false,"ack":[0],"emit":['
              . '{"event":"1"},{"event":"2","to":"s"},{"event":"3"},'
              . '{"event":"4","broadcast":true},{"event":"5"},'
              . '{"event":"6","to":["s","r"]},{"event":"7"}],'
              . '"join":["s","t"],"leave":"r","user":"u"}', id => 1),
        {
            a => [ map({ "2[\"$_\"]" } 1 .. 7), '31[0]' ],
            b => [ '2["4"]', '2["6"]' ],
            c => [ '2["4"]', '2["6"]' ],
            d => [ '2["4"]' ],
        }, 'join before emit, emits in their order, then ack');

    is_deeply(
        reply('{"leave":["s","t","u"],"join":"t","emit":['
              . '{"event":"s","to":"s"},{"event":"t","to":"t"}]}'),
        { a => ['2["t"]'] }, 'leave before join');

    is_deeply(
        reply('{"leave":"t","emit":[{"event":"t","to":"t"}]}'), {},
        'leave before emit');

    is_deeply(
        reply('{"emit":[{"event":"1"},{"event":"2","to":"<a>"}],'
              . '"emit":[{"event":"3"}]}'),
        { a => ['2["3"]'] }, 'of two members with one name the last');
};


subtest 'the order of many replies' => sub {
    $backend->on({ event => 'many' }, { json => {
        emit => [
            { event => 'own',   args => ['%seq%'] },
            { event => 'room',  args => ['%seq%'], to => 'r' },
            { event => 'all',   args => ['%seq%'], broadcast => \1 },
            { event => 'again', args => ['%seq%'] },
        ],
        ack => ['%seq%'],
    } });

    $client{b}->emit_to('/', $_, 'many') for 1 .. 50;
    $client{b}->emit_to('/', undef, 'end');

    my $got = received(qw(a b c d));
    my ($first) = $got->{b}[0] =~ /(\d+)"\]/;

    is_deeply($got->{b}, [ map {
        my $seq = $first + $_;

        map({ "2[\"$_\",\"$seq\"]" } qw(own room all again)),
            '3' . ($_ + 1) . "[\"$seq\"]";
    } 0 .. 49 ], 'at the one who has called');

    is_deeply($got->{c}, [ map {
        my $seq = $first + $_;

        map { "2[\"$_\",\"$seq\"]" } qw(room all);
    } 0 .. 49 ], 'at another worker');

    is(scalar @{ $got->{a} }, 50, 'at those who are not in the room');
};


subtest 'an acknowledgement that is asked for' => sub {
    my $got = reply('{"emit":[{"event":"ask","to":["r","<a>"],'
                    . '"ack":"my-tok\u00e9n"}]}');

    for my $name (qw(a b c)) {
        my ($id) = ($got->{$name}[0] // '') =~ /^2(\d+)\["ask"\]\z/;

        ok(defined $id, "$name is asked");
        $client{$name}->send_packet(3, '/', $id, [ $name, \"\1" ]);

        my ($r) = $backend->wait(1, 5, type => 'ack',
                                 sid => $client{$name}->sid);

        like($r ? $r->{body} : '', qr/"token":"my-tok\xc3\xa9n","args":\["$name"
             ,\{"_placeholder":true,"num":0\}\],"attachments":\["AQ=="\]/x,
             'and answers');

        # neither an id that nobody knows, nor one a second time
        $client{$name}->send_packet(3, '/', $id, ['again']);
        $client{$name}->send_packet(3, '/', $id + 1, ['unknown']);
    }

    is_deeply($got->{d} // [], [], 'd is not');

    $backend->on({ type => 'ack' }, { json => {
        emit => [ { event => 'thanks' } ],
    } });

    $got = reply('{"emit":[{"event":"ask","ack":"t"}]}');
    $client{a}->send_packet(3, '/', $got->{a}[0] =~ /^2(\d+)/, []);

    is_deeply($client{a}->event('thanks'), ['thanks'],
              'the reply to an ack is applied');
    is($backend->requests(type => 'ack'), 4, 'each is told once');
};


subtest 'user and state' => sub {
    my $state = '{"a":"' . 'x' x 4088 . '"}';

    is(length $state, 4096, 'a state of 4096 octets');
    reply('{"user":null}');

    for my $case (
        [ '"state":{"a":1.50}'       => undef, '{"a":1.50}' ],
        [ '"user":"u-17"'            => 'u-17', '{"a":1.50}' ],
        [ '"other":1'                => 'u-17', '{"a":1.50}' ],
        [ '"state":null'             => 'u-17', undef ],
        [ "\"state\":$state"         => 'u-17', $state ],
        [ '"state":{"a":' . $state . '}' => 'u-17', $state ],
        [ '"state":{}'               => 'u-17', '{}' ],
        [ '"state":[1]'              => 'u-17', '{}' ],
        [ '"state":"x"'              => 'u-17', '{}' ],
        [ '"user":7'                 => 'u-17', '{}' ],
        [ '"user":""'                => 'u-17', '{}' ],
        [ '"user":"' . 'y' x 256 . '"' => 'u-17', '{}' ],
        [ '"user":"' . 'y' x 255 . '"' => 'y' x 255, '{}' ],
        [ '"user":null,"state":null' => undef, undef ],
    ) {
        my ($members, $user, $kept) = @$case;

        reply("{$members}");

        my ($last) = reverse $backend->requests(event => 'end',
                                                sid => $client{a}->sid);
        my $expected = (defined $user ? ",\"user\":\"$user\"" : '')
                       . (defined $kept ? ",\"state\":$kept" : '') . '}';

        is($last->{body} =~ s/.*"args":\[\]//r, $expected,
           substr $members, 0, 40);
    }
};


subtest 'nonsense is left out, the rest is applied' => sub {
    my $long = 'x' x 256;

    for my $case (
        # members of the reply

        [ '"leave":5'             => '"leave" must be a string or a list' ],
        [ '"join":{"a":1}'        => '"join" must be a string or a list' ],
        [ '"join":["a",5]'        => '"join" must be a string or a list' ],
        [ '"join":""'             => '"join" must not be an empty string' ],
        [ "\"join\":\"$long\""    => '"join" is longer than 255 octets' ],
        [ '"emit":{"event":"e"}'  => '"emit" must be a list of objects' ],
        [ '"emit":"e"'            => '"emit" must be a list of objects' ],
        [ '"disconnect":"no"'     => '"disconnect" must be true, false or' ],
        [ '"disconnect":1'        => '"disconnect" must be true, false or' ],
        [ '"user":{}'             => '"user" must be a string' ],
        [ '"state":5'             => '"state" must be an object' ],

        # emits

        [ '"emit":[5]'                => '"emit" number 1' ],
        [ '"emit":[{}]'               => '"emit" number 1' ],
        [ '"emit":[{"event":{}}]'     => '"emit" number 1' ],
        [ '"emit":[{"event":null}]'   => '"emit" number 1' ],
        [ '"emit":[{"event":"connect"}]'    => '"emit" number 1' ],
        [ '"emit":[{"event":"disconnect"}]' => '"emit" number 1' ],
        [ '"emit":[{"event":"e","args":{}}]'       => '"emit" number 1' ],
        [ '"emit":[{"event":"e","to":5}]'          => '"emit" number 1' ],
        [ '"emit":[{"event":"e","to":[[]]}]'       => '"emit" number 1' ],
        [ '"emit":[{"event":"e","except":true}]'   => '"emit" number 1' ],
        [ '"emit":[{"event":"e","namespace":"x"}]' => '"emit" number 1' ],
        [ '"emit":[{"event":"e","broadcast":1}]'   => '"emit" number 1' ],
        [ '"emit":[{"event":"e","volatile":"y"}]'  => '"emit" number 1' ],
        [ '"emit":[{"event":"e","ack":5}]'         => '"emit" number 1' ],
        [ '"emit":[{"event":"e","ack":""}]'        => '"emit" number 1' ],
        [ '"emit":[{"event":"e","attachments":"AA=="}]' => '"emit" number 1' ],
        [ '"emit":[{"event":"e","attachments":["?"]}]'  => '"emit" number 1' ],
        [ '"emit":[{"event":"e","args":[{"_placeholder":true,"num":1}],'
          . '"attachments":["AA=="]}]'             => '"emit" number 1' ],
        [ '"emit":[{"event":"e","attachments":["","",""]}]'
          => 'more than socketio_max_attachments' ],
    ) {
        my ($members, $message) = @$case;
        my $mark = $nginx->mark;

        is_deeply(reply("{$members,\"ack\":[\"fine\"]}", id => 9),
                  { a => ['39["fine"]'] }, $members);
        ok($nginx->wait_log(qr/left[ ]out:[ ].*\Q$message\E
                               |\Q$message\E[ ]of[ ]a[ ]reply[ ]was[ ]left[ ]
                               out/x, 2, $mark),
           'the log knows');
    }

    is_deeply(reply('{"emit":[5,{"event":"2"},{"event":7},{"event":"4"}]}'),
              { a => [ '2["2"]', '2["4"]' ] },
              'one emit does not spoil the others');

    for my $case (
        [ '"ack":5' => '"ack" must be a list' ],
        [ '"ack":[],"attachments":["?"]' => '"attachments"' ],
    ) {
        my ($members, $message) = @$case;
        my $mark = $nginx->mark;

        is_deeply(reply("{$members,\"emit\":[{\"event\":\"e\"}]}", id => 9),
                  { a => ['2["e"]'] }, $members);
        ok($nginx->wait_log(qr/left out: .*\Q$message/, 2, $mark),
           'the log knows');
    }
};


subtest 'a backend that says no' => sub {
    for my $case (
        [ 400, '{"ack":["x"]}'                     => '39["x"]' ],
        [ 422, '{"ack":["x"],"message":"m"}'       => '39["x"]' ],
        [ 200, '{"ack":["x"],"error":{"message":"m"}}' => '39["x"]' ],
        [ 404, '<h1>Not Found</h1>'                => undef ],
        [ 403, ''                                  => undef ],
    ) {
        my ($status, $body, $text) = @$case;
        my $mark = $nginx->mark;

        is_deeply(reply({ status => $status, body => $body }, id => 9),
                  $text ? { a => [$text] } : {}, "with $status $body");
        ok($nginx->wait_log(qr/refused by the backend, status $status,.*"do"/,
                            2, $mark), 'the log knows');
    }
};


nobody();


subtest 'connecting' => sub {
    my $root = { type => 'connect', namespace => '/' };

    for my $case (
        [ '{"join":["s"],"emit":[{"event":"1","to":"s"},{"event":"2"},'
          . '{"event":"3","broadcast":true}]}'
          => '40{"sid":""}', '42["1"]', '42["2"]', '42["3"]' ],
        [ '{"error":null}'  => '40{"sid":""}' ],
        [ '{"error":false}' => '40{"sid":""}' ],
        [ "\r\n"            => '40{"sid":""}' ],
        [ '{"emit":[{"event":"bye"}],"disconnect":true}'
          => '40{"sid":""}', '42["bye"]', '41' ],
    ) {
        my ($body, @expected) = @$case;

        $backend->on($root, { body => $body });

        my $client = SIO::Client->new(port => $nginx->port);

        $client->send_packet(0, '/');

        my @got = map {
            my $packet = $client->packet;
            $packet ? $packet->{text} =~ s/"sid":"[^"]*"/"sid":""/r : '(none)';
        } @expected;

        is_deeply(\@got, \@expected, "accepted: $body");

        $client->disconnect;
    }

    all_is_told($backend, 'all is told');
    $backend->reset;

    for my $case (
        [ 200, '{"error":{"message":"m\u00e9","data":{"a":1.50}}}'
          => "{\"message\":\"m\xc3\xa9\",\"data\":{\"a\":1.50}}" ],
        [ 200, '{"error":{"message":"m"}}'    => '{"message":"m"}' ],
        [ 200, '{"error":{"data":[1]}}'
          => '{"message":"Refused","data":[1]}' ],
        [ 200, '{"error":"m"}'                => '{"message":"m"}' ],
        [ 200, '{"error":true}'               => '{"message":"Refused"}' ],
        [ 403, '{"error":{"message":"m"}}'    => '{"message":"m"}' ],
        [ 422, '{"message":"m","data":null}'
          => '{"message":"m","data":null}' ],
        [ 401, ''                  => '{"message":"Unauthorized"}' ],
        [ 403, ''                  => '{"message":"Forbidden"}' ],
        [ 403, '<h1>403</h1>'      => '{"message":"Forbidden"}' ],
        [ 404, '{"emit":[{"event":"e","broadcast":true}]}'
          => '{"message":"Not Found"}' ],
        [ 418, ''                  => '{"message":"Refused"}' ],
        [ 401, '{"message":5}'     => '{"message":"Unauthorized"}' ],
    ) {
        my ($status, $body, $expected) = @$case;

        $backend->on($root, { status => $status, body => $body });

        my $client = SIO::Client->new(port => $nginx->port);

        $client->send_packet(0, '/chat');
        $client->packet;
        $client->send_packet(0, '/');

        my $packet = $client->packet // { text => '(none)' };

        is($packet->{text}, "44$expected", "refused: $status $body");

        $client->emit_to('/chat', undef, 'still here');
        ok($backend->wait(1, 5, event => 'still here') > 0,
           'the rest of the session goes on');

        my ($r) = $backend->requests(type => 'connect', namespace => '/');

        $client->disconnect;
        all_is_told($backend, 'it has no end', $r->{json}{sid} => 1);
        $backend->reset;
    }
};


subtest 'disconnecting' => sub {
    everybody();

    $backend->on({ event => 'end' }, { json => {} });
    $backend->on({ event => 'do' }, { json => {
        emit       => [ { event => 'bye' } ],
        ack        => ['bye'],
        disconnect => \1,
    } });

    # In one write: what came after the reply would be for a namespace that
    # the client is not in, and close the connection.
    my $ws = $client{a}->eio->{ws};

    $ws->send_raw($ws->frame(1, '423["do"]') . $ws->frame(1, '42["end"]'));

    is(join(' ', map { ($client{a}->packet // { text => '(none)' })->{text} }
            1 .. 3), '42["bye"] 433["bye"] 41', 'after all others');

    my $end = disconnect_of($backend, $client{a}->sid);

    is($end->{reason}, 'server namespace disconnect', 'the reason');

    $client{a}->emit_to('/chat', undef, 'still here');
    ok($backend->wait(1, 5, event => 'still here', namespace => '/chat') > 0,
       'the other namespace is still there');

    $backend->on({ event => 'do' }, { json => {
        emit       => [ { event => 'bye', to => 'r' } ],
        disconnect => 'transport',
    } });

    $client{b}->emit('do');

    is_deeply($client{$_}->event('bye'), ['bye'], "$_ hears it") for qw(b c);
    ok($client{b}->eio->{ws}->wait_close, 'the transport is closed');
    is(disconnect_of($backend, $client{b}->sid)->{reason},
       'server namespace disconnect', 'the reason');

    $backend->on({ type => 'disconnect' }, { json => {
        emit => [ { event => 'left', to => 'r' },
                  { event => 'nobody hears' } ],
        join => ['r'],
    } });

    $client{d}->disconnect;

    is_deeply($client{c}->event('left'), ['left'],
              'the reply to a disconnect is for those who stay');

    delete @client{qw(b d)};
    nobody();
};


subtest 'a socket that has gone meanwhile' => sub {
    for my $transport (qw(websocket polling)) {
        everybody();

        my $client = client_of($nginx, $workers[3], transport => $transport);

        $backend->on({ event => 'do' }, { delay => 0.5, json => {
            state      => { n => 1 },
            user       => 'late',
            leave      => 'x',
            join       => [ 'r', 'ghosts' ],
            emit       => [ { event => 'own' },
                            { event => 'room', to => 'r' },
                            { event => 'sid', to => '%sid%', ack => 't' } ],
            ack        => [1],
            disconnect => 'transport',
        } });

        $client->emit_to('/', 1, 'do');
        $backend->wait(1, 5, event => 'do');
        $client->disconnect;

        my $end = disconnect_of($backend, $client->sid) // {};

        is_deeply($client{b}->event('room'), ['room'],
                  "$transport: what is for others arrives");
        is($end->{user}, 'late', 'the user is kept');
        is_deeply($end->{state}, { n => 1 }, 'and the state');
        is(api('emit', '{"event":"boo","to":"ghosts"}'), 0,
           'a ghost is in no room');

        nobody();
    }
};


$nginx->stop;
$backend->stop;

done_testing();
