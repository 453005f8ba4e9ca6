#!/usr/bin/perl

# Clients that poll at another host than their session's: they stay connected and
# hear everything once, in order, while those who serve the queues hand over, or
# die.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Relay;
use SIO::Status qw(status);
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical;
my $redis = SIO::Redis->new->start;


# Takes webhooks, and does not answer.
my $backend = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1')
    or die "$!";


sub host {
    my ($url) = @_;

    my $port = $backend->sockport;
    my $host = SIO::Nginx->new(
        workers => 3,
        http    => "socketio_message_queue $url;",
        server  => <<"EOS")->start;
        location /socket.io/ {
            socketio;
            socketio_ping_timeout 60s;
        }

        location /slow/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_events event;
            socketio_webhook_queue 1;
        }

        location = /_hook { internal; proxy_pass http://127.0.0.1:$port; }
        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

    $host->allow(qr/message queue|exited on signal 9/);

    return $host;
}


my ($here, $there) = map { host($redis->url) } 1, 2;


sub emit {
    my ($n) = @_;

    my $r = SIO::HTTP->new(port => $there->port, timeout => 20)->post(
        '/_api/emit', $json->encode({ event => 'm', args => [$n] }));

    is($r->{status}, 200, 'an emit') if $r->{status} != 200;
}


sub serving {
    my ($host) = @_;

    return ($host->log =~ /(\d+)#\d+: this worker serves/g)[-1];
}


# A session of another worker than the one that serves its host's queues.

sub session_beside {
    my ($host, %option) = @_;

    my $server = serving($host);
    my ($other) = sort grep { $_ != $server } $host->workers;

    my $eio = SIO::EIO->open(
        http => $host->connect_to($other, timeout => 30 * scale()), %option);

    return ($eio->url('polling'), $server);
}


sub client {
    my ($host) = @_;

    return SIO::HTTP->new(port => $host->port, keepalive => 1,
                          timeout => 30 * scale());
}


# Hears what hosts ask each other from now on.

sub ear {
    my $ear = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                    PeerPort => $redis->port) or die "$!";

    print $ear "PSUBSCRIBE *.nginx.*\r\n";
    SIO::Redis::reply($ear);

    return $ear;
}


# One of them has asked the other.

sub hear_request {
    my ($ear) = @_;

    local $SIG{ALRM} = sub { die "nobody asks\n" };
    alarm 20 * scale();

    for ( ;; ) {
        my (undef, undef, $kind) = unpack 'LCC', SIO::Redis::reply($ear)->[3];

        last if $kind == 7;
    }

    alarm 0;
}


# It dies, and another one has taken its place.

sub server_dies {
    my ($host, $server) = @_;

    kill 'KILL', $server;

    return wait_until(10 * scale(), sub { serving($host) != $server
                                          && $host->workers == 3 });
}


ok(wait_until(20 * scale(), sub {
    2 == grep { status($_)->{hosts}{known} == 1 } $here, $there;
}), 'two hosts know of each other') or BAIL_OUT($here->log);


# Workers are numbered alike in hosts that have just begun: what the others'
# have asked does not end with one of the own.

subtest 'a namesake dies' => sub {
    my (@polls, $server);

    for my $worker ($here->workers) {
        (my $url, $server) = session_beside($there);
        my $http = $here->connect_to($worker, timeout => 30 * scale());

        is($http->post($url, '40')->{body}, 'ok', 'a namespace');
        like($http->get($url)->{body}, qr/^40/, 'is joined');
        push @polls, $http->start('GET', $url);
        is(client($here)->post($url, '6')->{body}, 'ok', 'a poll is there');
    }

    ok(server_dies($there, $server), 'who has passed them on dies');
    emit(0);

    is($_->wait->{body}, '42["m",0]', 'it is answered') for @polls;
};


# All sessions are there, all of their requests come here.

subtest 'handovers' => sub {
    my $balancer = SIO::Nginx->new(
        workers => 1,
        http    => 'map $arg_sid $port { "" ' . $there->port
                   . '; default ' . $here->port . '; }',
        server  => <<'EOS')->start;
        location / { proxy_pass http://127.0.0.1:$port; }
EOS

    my $crowd = SIO::Proc->node('crowd.js',
                                'http://127.0.0.1:' . $balancer->port);
    my (%sid, @ends, $report);

    my $read = sub {
        my $said = $json->decode($crowd->line(1) // return);

        $sid{ $said->{connect} } = 1 if exists $said->{connect};
        push @ends, $said->{reason} if exists $said->{disconnect};
        $report = $said->{report} if exists $said->{report};
    };

    $crowd->send({ start => [ map { { version => 4, timeout => 60000,
        transports => ['polling'] } } 1 .. 20 ] });

    ok(wait_until(30 * scale(), sub { $read->(); keys %sid == 20 }),
       'all are connected');

    my $n = 0;

    for my $round (1 .. 12) {
        for my $i (1 .. 20) {
            emit(++$n);
            ($round % 3 ? $there : $here)->signal('HUP') if $i == 5;
            sleep 0.01;
        }
    }

    wait_until(60 * scale(), sub {
        $crowd->send({ report => 1 });
        $read->();
        return $report && !grep { @$_ < $n } @$report;
    });

    is_deeply(\@ends, [], 'nobody was disconnected');
    is_deeply([ grep { "@{ $report->[$_] }" ne join ' ', 1 .. $n } 0 .. 19 ],
              [], 'all have heard everything, once, in order');

    $crowd->kill;
    $balancer->stop;
};


# The one that serves dies with what it was asked by another worker of its host.

subtest 'a death' => sub {
    my $n = 0;

    for my $round (1 .. 4) {
        my $eio = SIO::EIO->open(port => $there->port, timeout => 20);
        my $url = $eio->url('polling');
        my $server = serving($here);
        my ($other) = grep { $_ != $server } $here->workers;
        my ($poller, $poster) = map {
            $here->connect_to($other, timeout => 30 * scale())
        } 1, 2;

        is($poster->post($url, '40')->{body}, 'ok', "a namespace, $round");
        like($poller->get($url)->{body}, qr/^40/, 'is joined');

        my $poll = $poller->start('GET', $url);

        # what one host says arrives in order
        is($poster->post($url, '6')->{body}, 'ok', 'the poll is there');

        kill 'KILL', $server;
        sleep 0.003 * $round;

        # it comes while nobody serves, or somebody else does
        is($poster->post($url, '6')->{body}, 'ok', 'a POST');
        emit(++$n);

        is($poll->wait->{body}, qq{42["m",$n]}, 'the poll is answered');

        ok(wait_until(10 * scale(), sub { serving($here) != $server
                                          && $here->workers == 3 }),
           'another one serves');
    }
};


# The one that dies is of the host that has the session, and had passed on what
# waits there, or is on its way.

subtest 'a death at home' => sub {
    my $n = 0;

    for my $round (1 .. 4) {
        my ($url, $server) = session_beside($there);
        my ($poller, $poster) = map { client($here) } 1, 2;

        is($poster->post($url, '40')->{body}, 'ok', "a namespace, $round");
        like($poller->get($url)->{body}, qr/^40/, 'is joined');

        my $poll = $poller->start('GET', $url);

        is($poster->post($url, '6')->{body}, 'ok', 'the poll is there');

        # a POST that has begun, and is as long as that takes
        my $post = $poster->start('POST', $url, body => '6' x 200_000)
            if $round % 2;

        kill 'KILL', $server;
        sleep 0.003 * $round;

        $post //= $poster->start('POST', $url, body => '6');
        emit(++$n);

        is($poll->wait->{body}, qq{42["m",$n]}, 'the poll is answered');
        is($post->wait->{body}, 'ok', 'and the POST');

        ok(wait_until(10 * scale(), sub { serving($there) != $server
                                          && $there->workers == 3 }),
           'another one serves');

        emit(++$n);
        is($poller->get($url)->{body}, qq{42["m",$n]}, 'it goes on');
    }
};


# One that has only begun, and one that is answered when the application takes
# more, are the same when they are announced again, or come again.

subtest 'a death while a POST waits' => sub {
    my ($url, $server) = session_beside($there);
    my ($slow) = session_beside($there, path => '/slow/');
    my ($behind) = session_beside($there);
    my ($begun, $kept, $other) = map { client($here) } 1 .. 3;
    my $packets = sub { status($there)->{received}{packets} };

    is($other->post($slow, '40')->{body}, 'ok', 'a namespace');

    my $post = $begun->start('POST', $url, body => '',
                             headers => [ 'Content-Length' => 1 ]);
    my $waits = $kept->start('POST', $slow,
                             body => join "\x1e", ('42["x"]') x 3);

    # what one host says arrives in order
    is($other->post($behind, '6')->{body}, 'ok', 'they are there');
    ok(!$post->ready && !$waits->ready, 'and wait');

    my $before = $packets->();
    my $ear = ear();

    ok(server_dies($there, $server), 'who has passed them on dies');
    hear_request($ear) for 1, 2;

    is($other->post($behind, '6')->{body}, 'ok', 'they are there again');
    is($packets->(), $before + 1, 'which was done once');

    $post->write('6');
    is($post->wait->{body}, 'ok', 'the one that had begun is answered');
    ok(!$waits->ready, 'the other one waits');
    $waits->close;
};


# What was answered does not arrive, and who has passed it on dies: it is asked
# for again, and not done twice.

subtest 'a death behind answers' => sub {
    my $relay = SIO::Relay->new($redis->port);
    my $far = host($relay->url);
    my ($url, $server) = session_beside($there);
    my $ear = ear();

    ok(wait_until(20 * scale(), sub { status($far)->{hosts}{known} == 2
                                      && status($there)->{hosts}{known} == 2 }),
       'a third host');

    my ($poller, $poster) = map { client($far) } 1, 2;

    is($poster->post($url, '40')->{body}, 'ok', 'a namespace');
    like($poller->get($url)->{body}, qr/^40/, 'is joined');

    my $poll = $poller->start('GET', $url);

    is($poster->post($url, '6')->{body}, 'ok', 'the poll is there');

    # the next one of that host asks for it, too
    hear_request($ear) for 1 .. 4;
    $far->reload;
    hear_request($ear);

    $relay->keep('subscribers');

    my $packets = sub { status($there)->{received}{packets} };
    my $before = $packets->();
    my $post = $poster->start('POST', $url, body => '42["x"]');

    ok(wait_until(10 * scale(), sub { $packets->() > $before }),
       'a POST is served');
    emit('once');

    ok(server_dies($there, $server), 'who has said that dies');
    ok(!$poll->ready && !$post->ready, 'and was not heard');

    $relay->cut;
    $relay->pass;

    is($post->wait->{body}, 'ok', 'the POST is answered');
    is($poll->wait->{body}, '42["m","once"]', 'and the poll');
    is($packets->(), $before + 1, 'which was done once');

    emit('more');
    is($poller->get($url)->{body}, '42["m","more"]', 'it goes on');

    $far->stop;
    $relay->stop;
};


$_->stop for $here, $there;
$redis->stop;

done_testing();
