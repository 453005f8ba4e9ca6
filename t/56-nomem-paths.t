#!/usr/bin/perl

# One allocation fails, each in its turn, by whatever way of the module it is
# reached: handshakes, polls, upgrades, events and webhooks, sessions that move
# to another worker.  That costs one session or one request, whose client is
# told; nobody else notices, and nothing is left behind.  56-nomem-api.t is about
# what the application says, 56-nomem-conf.t about what is made once.
#
# In the end there is a table, and no place in the source is left out; those of
# queues are those of 56-nomem-hosts.t.


use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Unlucky;
use Test::More;

my $host = SIO::Unlucky->new;


my @key = (Authorization => 'Bearer key');


$host->walk->add('polling', sub {
    my ($v) = @_;

    my $eio = $v->polling(http => $host->at(0), headers => [
        Origin => 'http://a.example', Cookie => 'a=b', 'User-Agent' => 'x' ]);

    $eio->post('40{"token":"visitor"}');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);
    $eio->post('420["echo",1]');
    my ($id) = $v->packet($eio, qr/^42\d+\["ask"\]/) =~ /^42(\d+)/;
    $v->packet($eio, qr/^430\[1\]/);
    $eio->post("43${id}[\"polling\"]");
    $eio->post('451-1["image",{"_placeholder":true,"num":0}]', 'bAQID');
    $v->packet($eio, qr/^451-\["thumb",/);
    $v->packet($eio, qr/^bAQID/);
    $eio->post('41');
});


# Several events at once: all but the first wait for it.

$host->walk->add('events that wait', sub {
    my ($v) = @_;

    my $eio = $v->websocket(http => $host->at(0));

    $eio->send('40', '40/other,', '40/refused,');
    $v->packet($eio, qr/^44\/refused,/);
    $eio->send('420["slow",1]', '421["slow",2]',
               '452-2["image",{"_placeholder":true,"num":0},'
               . '{"_placeholder":true,"num":1}]', 'bAQID', 'bBAUG',
               '42/other,3["slow",4]', '41/other,');
    $v->packet($eio, qr/^43${_}\[/) for 0, 1;
    $v->packet($eio, qr/^462-2\[/);
    $v->packet($eio, qr/^bBAUG/);
});


# A session that another worker has, and that moves there with all that waits.

$host->walk->add('by way of another worker', sub {
    my ($v) = @_;

    my $eio = $v->polling(http => $host->at(0));

    $eio->{http} = $host->at(1);
    $eio->post('40');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);
    $eio->post('420["echo",1]');
    my ($id) = $v->packet($eio, qr/^42\d+\["ask"\]/) =~ /^42(\d+)/;
    $v->packet($eio, qr/^430\[1\]/);
    $eio->post('451-1["image",{"_placeholder":true,"num":0}]', 'bAQID');
    $v->packet($eio, qr/^451-\["thumb",/);
    $v->packet($eio, qr/^bAQID/);
    $v->packet($eio, qr/^461-1/);
    $v->packet($eio, qr/^bAQID/);

    # one attachment comes before, the other after the upgrade
    $eio->post('452-7["image",{"_placeholder":true,"num":0},'
               . '{"_placeholder":true,"num":1}]', 'bAQID');
    $eio->{pending} = $eio->get_start;
    $eio->upgrade(http => $host->at(1));
    $eio->send('bBAUG');
    $v->packet($eio, qr/^462-7\[/);
    $v->packet($eio, qr/^bBAUG/);
    $eio->send("43${id}[\"websocket\"]");
    $eio->send('422["echo",2]');
    $v->packet($eio, qr/^432\[2\]/);
});


$host->walk->add('moves with what waits', sub {
    my ($v) = @_;

    my ($post, $poll, $there) = ($host->at(0), $host->at(0), $host->at(1));
    my $eio = $v->polling(http => $post);

    $eio->post('40', '40/other,');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);

    # octets that it has not fetched yet
    $v->call($there, 200, 'POST', '/_api/emit',
             '{"event":"octets","args":[{"_placeholder":true,"num":0}],'
             . '"attachments":["AQID"],"to":"all"}', @key);
    $eio->post('420["slow",1]', '421["slow",2]', '422["echo",3]',
               '451-3["image",{"_placeholder":true,"num":0}]', 'bAQID');
    $eio->{http} = $poll;
    $eio->upgrade(http => $there);
    $v->packet($eio, qr/^430\[1\]/);
    $v->packet($eio, qr/^431\[2\]/);
    $v->packet($eio, qr/^432\[3\]/);
    $v->packet($eio, qr/^461-3\[/);
    $v->packet($eio, qr/^bAQID/);
});


# A poll, and a POST that is too much at once, go on in another worker.

$host->walk->add('moves with requests', sub {
    my ($v) = @_;

    my ($post, $poll, $there) = ($host->at(0), $host->at(0), $host->at(1));
    my $eio = $v->polling(http => $post);

    $eio->post('40');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);

    my $pending = $post->start('POST', $eio->url('polling'),
        headers => [ 'Content-Type' => 'text/plain;charset=UTF-8' ],
        body    => $eio->encode(map { "42$_\[\"slow\",$_]" } 0 .. 5));

    $eio->{pending} = $eio->get_start(http => $poll);

    # it may move when everything that it has sent is read
    my $answer = $pending->wait(10) // die "POST: not in time\n";

    die "POST: $answer->{status}\n" if $answer->{status} != 200;

    $eio->upgrade(http => $there);
    $v->packet($eio, qr/^435\[5\]/);

    # a poll that waits there is cut off: the session has to hear of it
    $eio = $v->polling(http => $host->at(0));
    $pending = $eio->get_start(http => $poll);
    $eio->{ws} = $eio->websocket(http => $there);
    $pending->abort;
    $eio->{ws}->recv(8);

    die "not ended in time\n" if !$eio->{ws}{closed};
});


$host->walk->add('old clients', sub {
    my ($v) = @_;

    my $eio = $v->polling(http => $host->at(0), eio => 3, query => 'b64=1');

    $v->packet($eio, qr/^42\["welcome"\]/);
    $eio->post('420["echo",1]');
    $v->packet($eio, qr/^430\[1\]/);

    my $jsonp = $v->session(http => $host->at(0), eio => 3, query => 'j=0');
    my $response = $jsonp->get;

    die "JSONP: $response->{status}\n" if $response->{status} != 200;

    $response->{body} =~ /\\"sid\\":\\"([^"\\]+)/ or die "no sid\n";
    $jsonp->{sid} = $1;

    $response = $jsonp->post_raw('d=' . '13%3A420%5B%22echo%22%2C1%5D',
                                 type => 'application/x-www-form-urlencoded');
    die "JSONP: $response->{status}\n" if $response->{status} != 200;

    my $ws = $v->websocket(http => $host->at(0), eio => 3);

    # a script that waits, for what another worker has
    $jsonp->get(http => $host->at(1));

    $v->packet($ws, qr/^42\["welcome"\]/);
    $ws->{ws}->send_text('451-1["image",{"_placeholder":true,"num":0}]');
    $ws->{ws}->send_binary("\4\1\2\3");
    $v->packet($ws, qr/^451-\["thumb",/);
    $v->packet($ws, qr/^461-1\[/);
});


# What is not as it usually is.

$host->walk->add('odd clients', sub {
    my ($v) = @_;

    my ($http, $there) = ($host->at(0), $host->at(1));
    my @headers = ('User-Agent' => "\xff", 'X-Other' => 'x',
                   'X-Real-IP' => '192.0.2.1');

    $v->call($http, 400, 'GET', '/socket.io/?EIO=4&transport=none');
    $v->call($http, 400, 'GET', '/socket.io/?EIO=4&transport=polling', undef,
             Origin => 'http://c.example');
    $v->call($http, 403, 'GET',
             '/socket.io/?EIO=4&transport=polling&refused=no%20"entry"');

    my $eio = $v->websocket(http => $http, headers => \@headers);

    $eio->send('40{"is":"large"}');
    $v->packet($eio, qr/^40\{/);
    $v->packet($eio, qr/^42\["welcome"\]/);
    $eio->send('420["echo\u0001?%",1]', '421["slow",1]');
    $v->packet($eio, qr/^431\[1\]/);

    $v->websocket(http => $host->at(1), path => '/ssi/');

    # text that is none, in one way or the other
    $eio = $v->polling(http => $there, headers => \@headers);
    $eio->{http} = $http;
    $eio->post('40');
    $v->packet($eio, qr/^40\{/);
    $eio->post("420[\"echo\",\"\xff\"]");
    $v->packet($eio, qr/^430\[/);
    $eio->post('11');

    my $old = $v->polling(http => $host->at(0), eio => 3);

    $v->packet($old, qr/^42\["welcome"\]/);
    $old->post('40/other?a=1&b=%0a2');
    $v->packet($old, qr/^40\/other/);
});


$host->walk->run;
$host->walk->table;

SIO::Walk::all_have_failed($host->{nomem}, 'paths',
    ngx_http_socketio_handshake_opening => 'a 101 that does not fit into the'
                                           . ' buffer of an empty socket',
    ngx_http_socketio_origin_host       => 'HTTP/3');

$host->stop;

done_testing();
