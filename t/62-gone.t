#!/usr/bin/perl

# Hosts that come, leave, and die with all that is on them: what the others
# tell of their sockets and rooms, what becomes of requests for their sessions,
# and when.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Redis;
use SIO::Status qw(status);
use SIO::Util qw(free_port scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

# seconds after which a silent host is away; two more are to be told so
use constant SILENT => 10;

my $json = JSON::PP->new->utf8->canonical;
my $redis = SIO::Redis->new->start;


sub host {
    my (@lines) = @_ ? @_ : $redis->url;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => join(' ', map { "socketio_message_queue $_;" } @lines),
        server  => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /other;
            socketio_ping_interval 5m;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

    $nginx->allow(qr/message queue/);

    return $nginx;
}


sub api {
    my ($host, $call, $body) = @_;

    my $http = SIO::HTTP->new(port => $host->port, timeout => 20 * scale());

    return $json->decode((defined $body
        ? $http->post("/_api/$call", $json->encode($body))
        : $http->get("/_api/$call"))->{body});
}


sub client {
    my ($host, $room) = @_;

    my $client = SIO::Client->connect(port => $host->port, timeout => 20,
                                      transport => 'websocket');

    api($host, 'join', { in => [ $client->sid ], rooms => [$room] });

    return $client;
}


sub sids {
    return [ sort map { $_->sid } @_ ];
}


# What a host tells of everybody.

sub told {
    my ($host) = @_;

    my $sockets = api($host, 'sockets');
    my $rooms = api($host, 'rooms');

    return {
        sids     => [ sort map { $_->{sid} } @{ $sockets->{sockets} } ],
        rooms    => { map { $_->{name} => $_->{sockets} }
                      @{ $rooms->{rooms} } },
        complete => [ map { $_->{complete} ? 1 : 0 } $sockets, $rooms ],
        known    => status($host)->{hosts}{known},
    };
}


# All of them tell the same, completely.

sub agree {
    my ($name, $rooms, $clients, @hosts) = @_;

    my $expected = {
        sids     => sids(@$clients),
        rooms    => $rooms,
        complete => [ 1, 1 ],
        known    => @hosts - 1,
    };

    my @told;

    wait_until(20 * scale(), sub {
        @told = map { told($_) } @hosts;

        return !grep { $json->encode($_) ne $json->encode($expected) } @told;
    });

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\@told, [ ($expected) x @hosts ], $name);
}


my @hosts = map { host() } 1, 2;
my @clients = map { client($_, 'all') } @hosts;

agree('two hosts', { all => 2 }, \@clients, @hosts);


subtest 'one comes' => sub {
    push @hosts, host();
    push @clients, client($hosts[2], 'all');
    agree('it is known', { all => 3 }, \@clients, @hosts);

    api($hosts[2], 'emit', { event => 'n', args => [1], to => 'all' });
    is_deeply($_->event('n'), [ 'n', 1 ], 'and heard') for @clients;
};


subtest 'one leaves' => sub {
    my $gone = pop @hosts;
    my $client = pop @clients;

    $gone->stop;

    # it has said so
    ok(wait_until(5 * scale(), sub {
        !grep { status($_)->{hosts}{known} != 1 } @hosts;
    }), 'that is known at once');

    agree('and nobody waits for it', { all => 2 }, \@clients, @hosts);

    # whichever of its workers is the last one
    for my $n (1 .. 5) {
        $gone = host();
        agree("it comes, $n", { all => 2 }, \@clients, @hosts, $gone);
        $gone->stop;

        ok(wait_until(5 * scale(), sub {
            !grep { status($_)->{hosts}{known} != 1 } @hosts;
        }), 'and leaves');
    }
};


# All of its processes at once, so that nobody says goodbye.

subtest 'one dies' => sub {
    my $dead = host();
    my $client = client($dead, 'all');
    my $polling = SIO::EIO->open(port => $dead->port, timeout => 20);

    push @hosts, $dead;
    agree('it is there', { all => 3 }, [ @clients, $client ], @hosts);

    # a poll that arrived elsewhere, which waits at the one that dies
    my $elsewhere = SIO::HTTP->new(port => $hosts[0]->port,
                                   timeout => 60 * scale());

    is($elsewhere->post($polling->url('polling'), '40/other,')->{body}, 'ok',
       'its session is in reach');
    like($elsewhere->get($polling->url('polling'))->{body},
         qr/^40\/other,/, 'and answers');

    my $poll = $elsewhere->start('GET', $polling->url('polling'));

    # and one that has arrived there, for a session that stays
    my $left = far($hosts[0], $dead);
    my $lost = $left->get_start;

    is($left->post_raw('6')->{body}, 'ok', 'which waits');

    my $open = sub { status($hosts[0])->{connections}{open}{polling} };
    my $before = $open->();
    my $since = time;
    pop @hosts;

    kill 'KILL', $dead->pid, $dead->workers;
    $dead->allow(qr/exited on signal 9/);

    my $ask = SIO::HTTP->new(port => $hosts[1]->port, timeout => 20)
        ->start('POST', '/_api/emit', body => $json->encode({
            event => 'ask', to => 'all', ack => \1,
            timeout => 2000 * scale() }));

    for my $client (@clients) {
        my $packet = $client->wait_for(sub {
            $_[0]{type} == 2 && $_[0]{data}[0] eq 'ask' });

        $client->ack($packet, 'here');
    }

    my $told = told($hosts[0]);

    is_deeply($told->{sids}, sids(@clients), 'its sockets are not listed');
    is_deeply($told->{rooms}, { all => 2 }, 'nor counted');
    is_deeply($told->{complete}, [ 0, 0 ],
              'but missed as long as it may be there')
        if time - $since < SILENT - 2;

    my $said = $json->decode($ask->wait->{body});

    is(@{ $said->{acks} }, 2, 'others acknowledge');
    is_deeply($said->{complete}, JSON::PP::false, 'which are not all');

    my $answer = $poll->wait(60 * scale());

    is($answer->{status}, 400, 'the poll is answered')
        or diag "$answer->{status} $answer->{body}";
    cmp_ok(time - $since, '<', 3 * SILENT * scale(), 'in time');

    agree('after a while nobody waits for it', { all => 2 }, \@clients,
          @hosts);
    ok(wait_until(SILENT * scale(), sub { $open->() == $before - 1 }),
       'nor goes on to be a client by way of it');

    my $r = SIO::HTTP->new(port => $hosts[0]->port)
        ->get($polling->url('polling'));

    is($r->{body}, '{"code":1,"message":"Session ID unknown"}',
       'its sessions are not known any more');

    # as it was started again by whoever looks after it
    push @hosts, host();
    push @clients, client($hosts[2], 'all');
    agree('and its successor is one of them', { all => 3 }, \@clients,
          @hosts);

    $dead->stop;
};


# A polling session, all of whose requests come to another host, is told what
# happens in a namespace.

sub far {
    my ($home, $elsewhere) = @_;

    my $eio = SIO::EIO->open(port => $home->port, timeout => 20);

    $eio->{http} = SIO::HTTP->new(port    => $elsewhere->port,
                                  timeout => 60 * scale());

    ok(wait_until(20 * scale(), sub {
        $eio->post_raw('40/other,')->{body} eq 'ok';
    }), 'a session elsewhere');
    like($eio->get->{body}, qr/^40\/other,/, 'answers');

    return $eio;
}


# Of others nothing is known then; it is not as if they were not there.

subtest 'Redis is away' => sub {
    my $eio = far(@hosts[1, 0]);

    $redis->stop;

    ok(wait_until(10 * scale(), sub {
        !grep { values %{ status($_)->{queues}{up} } == grep { $_ }
                values %{ status($_)->{queues}{up} } } @hosts;
    }), 'that is known');

    my $post = $eio->{http}->start('POST', $eio->url('polling'),
                                   body => '42/other,["x"]');
    my $get = $eio->get_start;

    for my $when ('at once', 'when all have been silent for long') {
        my $told = told($hosts[0]);

        is_deeply($told->{sids}, sids($clients[0]), "own sockets, $when");
        is_deeply($told->{complete}, [ 0, 0 ], 'which are not all');
        is($told->{known}, 2, 'others are not forgotten');

        my $ask = SIO::HTTP->new(port => $hosts[0]->port, timeout => 20)
            ->start('POST', '/_api/emit', body => $json->encode({
                event => 'ask', to => 'all', ack => \1,
                timeout => 2000 * scale() }));

        my $packet = $clients[0]->wait_for(sub {
            $_[0]{type} == 2 && $_[0]{data}[0] eq 'ask' });

        $clients[0]->ack($packet, 'here');

        my $said = $json->decode($ask->wait->{body});

        is(@{ $said->{acks} }, 1, 'an own one acknowledges');
        is_deeply($said->{complete}, JSON::PP::false, 'not the others');

        sleep SILENT + 3 if $when eq 'at once';
    }

    ok(!$post->ready && !$get->ready, 'requests for elsewhere wait');
    api($hosts[1], 'emit', { event => 'hello', namespace => '/other' });

    $redis->start;

    is($post->wait(30 * scale())->{body}, 'ok', 'and arrive');
    is($get->wait(30 * scale())->{body}, '42/other,["hello"]',
       'with what was said meanwhile');

    agree('all is as before', { all => 3 }, \@clients, @hosts);
};


subtest 'one that was never there' => sub {
    my $host = host('redis://127.0.0.1:' . free_port());
    my $told = told($host);

    is_deeply($told->{complete}, [ 0, 0 ], 'nobody knows what others have');
    is($told->{known}, 0, 'or who they are');
    $host->stop;
};


# What a host says to another one has to be heard there.

subtest 'hosts that share one of two queues' => sub {
    my @lines = map { $redis->url . " channel=$_" } 'here',
                    'there format=node';
    my @both = map { host(@$_) } [@lines], [ $lines[1] ];

    ok(wait_until(20 * scale(), sub {
        2 == grep { status($_)->{hosts}{known} } @both;
    }), 'know of each other');

    for my $pair ([ 0, 1 ], [ 1, 0 ]) {
        my $eio = far(@both[@$pair]);

        is($eio->post_raw('41/other,')->{body}, 'ok', 'in both directions');
    }

    $_->stop for @both;
};


# As when there are so many hosts that one which was silent for a minute loses
# its place: somebody says goodbye in its name, and another one has it then.

subtest 'one comes back whose place was given away' => sub {
    my $here = host($redis->url . ' channel=place');
    my $channels = sub {
        return @{ $redis->command('PUBSUB', 'CHANNELS', 'place.nginx.*') };
    };

    ok(wait_until(10 * scale(), sub { $channels->() == 1 }), 'a host');

    my ($own) = $channels->();
    my $there = host($redis->url . ' channel=place');

    ok(wait_until(20 * scale(), sub {
        2 == grep { status($_)->{hosts}{known} } $here, $there;
    }), 'and another one');

    my ($id) = map { /([0-9a-f]+)$/ } grep { $_ ne $own } $channels->();
    my $client = client($here, 'all');
    my $eio = far($there, $here);
    my $say = sub {
        my ($kind, $from, $body) = @_;

        $redis->command('PUBLISH', 'place.nginx',
                        pack('LCCSa16x16Q', 0x584f4953, 3, $kind, 0, $from, 0)
                        . $body);
    };

    $say->(2, pack('H*', $id), '');
    $say->(1, 'x' x 16, pack('QQLL', 1, 1, 1, 0));

    ok(wait_until(20 * scale(), sub { status($here)->{hosts}{known} == 2 }),
       'it is back, behind a third one');

    for my $n (1 .. 20) {
        api($there, 'emit', { event => 'n', args => [$n], to => 'all' });
    }

    is_deeply([ map { ($client->event('n') // [])->[1] } 1 .. 20 ],
              [ 1 .. 20 ], 'it is heard, once and in order');
    is($eio->post_raw('41/other,')->{body}, 'ok', 'and asked');

    # the third one never answers
    is_deeply(api($there, 'sockets')->{sockets}[0]{sid}, $client->sid,
              'and asks');

    $client->disconnect;
    $_->stop for $here, $there;
};


$_->disconnect for @clients;
$_->stop for @hosts;
$redis->stop;

done_testing();
