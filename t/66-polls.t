#!/usr/bin/perl

# Clients that poll at another host than their session's: they stay connected and
# hear everything once, in order, while those who serve the queues hand over, or
# die.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical;
my $redis = SIO::Redis->new->start;
my ($here, $there) = map { SIO::Nginx->new(
    workers => 3,
    http    => 'socketio_message_queue ' . $redis->url . ';',
    server  => <<'EOS')->start } 1, 2;
        location /socket.io/ {
            socketio;
            socketio_ping_timeout 60s;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

$_->allow(qr/message queue|exited on signal 9/) for $here, $there;


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


ok(wait_until(20 * scale(), sub {
    2 == grep {
        SIO::HTTP->new(port => $_->port)->get('/status')->json->{hosts}{known}
            == 1
    } $here, $there;
}), 'two hosts know of each other') or BAIL_OUT($here->log);


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


$_->stop for $here, $there;
$redis->stop;

done_testing();
