#!/usr/bin/perl

# One allocation fails, each in its turn, by whatever way of the module it is
# reached: replies to webhooks, calls of the API, what waits for those who do
# not read.  As in 56-nomem-paths.t.


use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use POSIX ();
use SIO::Unlucky;
use Test::More;
use Time::HiRes qw(sleep);

my $host = SIO::Unlucky->new;


my @key = (Authorization => 'Bearer key');


$host->walk->add('replies', sub {
    my ($v) = @_;

    my $eio = $v->websocket(http => $host->at(0));

    $eio->send('40', '40/other,');
    $v->packet($eio, qr/^40\/other,\{/);
    $eio->send('420["reply"]');
    $v->packet($eio, qr/^42\["many"/);
    $v->packet($eio, qr/^42\["done"/);
    $eio->send('42["out"]');
    $v->packet($eio, qr/^41\z/);
});


# What waits for a client that does not poll.

$host->walk->add('a client that does not poll', sub {
    my ($v) = @_;

    my $eio = $v->polling(http => $host->at(0));

    $eio->post('40');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);

    my $api = $host->at(1);

    $v->call($api, '20[04]', 'POST', '/_api/batch', '['
             . join(',', ('{"emit":{"event":"n","to":"all"}}') x 70) . ']',
             @key);
    $v->packet($eio, qr/^42\["n"\]/) for @{ $v->{hurt} } ? () : 1 .. 70;
});


# The session leaves the first worker for the second, which has read by then
# what the application said meanwhile.

$host->walk->add('moves while others talk', sub {
    my ($v) = @_;

    my ($api, $there) = ($host->at(1), $host->at(1));
    my $eio = $v->polling(http => $host->at(0));

    $eio->post('40');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);

    CORE::kill('STOP', ($host->workers)[0]);

    pipe my $out, my $in or die "pipe: $!\n";

    my $child = fork // die "fork: $!\n";

    if ($child == 0) {
        my $response = eval {
            # when the second worker has asked the first one for the session
            sleep 0.05;

            my $pending = $api->start('POST', '/_api/emit', headers => \@key,
                body => '{"event":"meanwhile","to":["all","others"]}');

            sleep 0.05;
            CORE::kill('CONT', ($host->workers)[0]);

            $pending->wait(10);
        };

        CORE::kill('CONT', ($host->workers)[0]);
        syswrite $in, $response ? $response->{body} : 'nothing';
        POSIX::_exit(0);
    }

    close $in;

    my $came = eval { $eio->{ws} = $eio->websocket(http => $there); 1 };
    my $said = IO::Select->new($out);
    my $heard;

    if ($came) {
        $eio->{ws}->send_text($_) for '2probe', '5';
    }

    # pings are answered while the emit is not
    until ($said->can_read(0) || !$came || $eio->{ws}{closed}) {
        $heard = 1 if ($eio->next(0.1) // '') =~ /^42\["meanwhile"\]/;
    }

    my $answer = readline($out) // 'nothing';

    waitpid $child, 0;

    # who has gone before may not be gone yet
    push @{ $v->{hurt} }, "emit: $answer" if $answer !~ /^\{"matched":\d+\}\z/;
    die "no WebSocket\n" if !$came;

    $v->packet($eio, qr/^42\["meanwhile"\]/) if !$heard && $answer =~ /matched/;
});


# What is said has to wait, as the second worker does not read.

my $much = 'x' x 15_000;

$host->walk->add('a log that is full', sub {
    my ($v) = @_;

    my @http = map { $host->at(0) } 1 .. 50;

    CORE::kill('STOP', ($host->workers)[1]);

    my @pending = map {
        $_->start('POST', '/_tiny/emit', headers => \@key,
                  body => "{\"event\":\"n\",\"args\":[\"$much\"]}")
    } @http;

    sleep 0.03;
    CORE::kill('CONT', ($host->workers)[1]);

    for my $pending (@pending) {
        my $response = $pending->wait(20) // die "emit: not in time\n";

        push @{ $v->{hurt} }, "emit: $response->{status}"
            if $response->{status} !~ /^(?:200|503)\z/;
    }
});


my $long = '"' . join('","', map { "room-$_" . 'x' x 20 } 1 .. 40) . '"';
my $last = 'room-40' . 'x' x 20;

sub come {
    my ($v) = @_;

    my $eio = $v->websocket(http => $host->at(0));

    $eio->send('40');

    my ($sid) = $v->packet($eio, qr/^40\{/) =~ /"sid":"([^"]+)"/;

    $v->packet($eio, qr/^42\["welcome"\]/);

    return ($eio, $sid);
}


$host->walk->add('API', sub {
    my ($v) = @_;

    my ($eio, $sid) = come($v);
    my $api = $host->at(1);

    my $post = sub {
        my ($call, $body) = @_;

        $v->call($api, 200, 'POST', "/_api/$call", $body, @key);
    };

    $post->('emit', '{"event":"news","args":["\\n",{"n":1}],"to":["all","a"],'
                    . '"except":["b","c"]}');
    $post->('emit', '{"event":"octets","args":[{"_placeholder":true,"num":0}],'
                    . '"attachments":["AQID"],"to":"all"}');

    # what was told to have been done is heard, unless it has ended the session
    if (!@{ $v->{hurt} }) {
        $v->packet($eio, qr/^42\["news",/);
        $v->packet($eio, qr/^451-\["octets",/);

        for my $other (@{ $host->{others} }) {
            push @{ $v->{wrong} }, 'another client misses it'
                if !$other->event('news', 3) && !$other->eio->{ws}{closed};
        }
    }

    $post->('batch', '[{"join":{"in":["all"],"rooms":["again"]}},'
                     . '{"emit":{"event":"news","to":"again"}},'
                     . '{"leave":{"in":["all"],"rooms":["again"]}}]');
    $v->call($api, 400, 'POST', '/_api/emit', '{"args":[]}', @key);
    $v->call($api, 401, 'POST', '/_api/emit', '{}');
    $v->call($api, 200, 'POST', '/_basic/emit', '{"event":"news","to":"a"}',
             Authorization => 'Basic dTpw');
    $v->call($api, 200, 'GET', $_) for qw(/status /metrics);
    $post->('disconnect', "{\"in\":[\"$sid\"],\"close\":true}");
});


$host->walk->add('rooms', sub {
    my ($v) = @_;

    my ($eio, $sid) = come($v);
    my ($here, $api) = ($host->at(0), $host->at(1));

    my $post = sub {
        my ($call, $body) = @_;

        $v->call($api, 200, 'POST', "/_api/$call", $body, @key);
    };

    my $get = sub {
        my ($http, $list) = @_;

        $v->call($http, 200, 'GET', "/_api/$list", undef, @key);
    };

    $post->('join', "{\"in\":[\"$sid\"],\"rooms\":[$long]}");

    if (!@{ $v->{hurt} }) {
        $post->('emit', "{\"event\":\"in\",\"to\":\"$last\"}");
        $v->packet($eio, qr/^42\["in"\]/) if !@{ $v->{hurt} };
    }

    $get->($here, $_) for 'sockets', 'rooms';
    $get->($api, $_) for 'sockets?room=all&limit=1', "sockets/$sid";

    my $page = $get->($api, 'rooms?limit=1');
    my ($cursor) = ($page ? $page->{body} : '') =~ /"cursor":"([^"]+)"/;

    $get->($api, "rooms?limit=1&cursor=$cursor") if defined $cursor;

    $post->('leave', "{\"in\":[\"$sid\"],\"rooms\":[$long]}");
    $post->('emit', "{\"event\":\"octets\",\"args\":[],"
                    . '"attachments":[' . join(',', ('"AQID"') x 10) . '],'
                    . "\"to\":[$long],\"except\":[$long]}");
});


$host->walk->add('acknowledgements', sub {
    my ($v) = @_;

    my ($eio, $sid) = come($v);
    my $api = $host->at(1);

    # who cannot be asked does not answer
    my $waits = $api->start('POST', '/_api/emit', headers => \@key, body =>
        "{\"event\":\"ask\",\"to\":\"$sid\",\"ack\":true,\"timeout\":1000}");

    my ($id) = ($eio->next(1) // '') =~ /^42(\d+)\["ask"\]/;

    $eio->send("461-${id}[\"answer\",{\"_placeholder\":true,\"num\":0}]",
               'bAQID') if defined $id;

    my $response = $waits->wait(20) // die "ask: not in time\n";

    push @{ $v->{hurt} }, "ask: $response->{status} $response->{body}"
        if $response->{status} != 200 || $response->{body} !~ /"answer"/;

    return if $eio->{ws}{closed};

    $eio->send('427["later"]');
    $host->{backend}->wait(1, 1, sid => $sid, event => 'later') or return;
    $v->call($host->at(1), 204, 'POST', "/_api/acks/$sid.7",
             '{"args":["done"]}', @key);
    $v->packet($eio, qr/^437\["done"\]/) if !@{ $v->{hurt} };
});


$host->walk->run;
$host->walk->table;

SIO::Walk::all_have_failed($host->{nomem}, 'api');

$host->stop;

done_testing();
