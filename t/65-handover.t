#!/usr/bin/perl

# Who serves the queues of a host changes at each reload: what a real emitter
# says meanwhile, as fast as it can, is heard once by everybody, in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use SIO::Child qw(child end);
use SIO::EIO;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Relay;
use SIO::Util qw(read_file scale wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $serves = qr/(\d+)#\d+: this worker serves/;


sub host {
    my ($url, %option) = @_;

    my $host = SIO::Nginx->new(
        workers => 2,
        http    => "socketio_message_queue $url channel=test;",
        server  => <<'EOS', %option)->start;
        location /socket.io/ { socketio; socketio_send_buffer 32m; }
EOS

    $host->allow(qr/message queue|exited on signal 9/);
    $host->wait_log(qr/message queue .* is connected/, 10)
        or BAIL_OUT($host->log);

    return $host;
}


# A client that notes each number which is not the next one, and in a pause
# where it is.

sub listener {
    my ($host, $name, %option) = @_;

    my $file = $host->prefix . "/heard.$name";
    my $ws = SIO::EIO->new(port => $host->port, timeout => 60)
             ->websocket(%option);

    $ws->recv // BAIL_OUT('not open');
    $ws->send_text('40');
    $ws->recv // BAIL_OUT('no namespace');

    return { file => $file, pid => child(sub { listen_to($ws, $file) }) };
}


sub listen_to {
    my ($ws, $file) = @_;

    my $socket = $ws->{c}{socket};
    my $select = IO::Select->new($socket);
    my $buffer = $ws->{c}{buffer};
    my $next = 1;

    open my $out, '>', $file or die "$file: $!";
    $out->autoflush(1);

    for ( ;; ) {
        if ($select->can_read(0.2)) {
            sysread($socket, $buffer, 1 << 16, length $buffer)
                or print $out "the end\n" and return;

        } else {
            print $out 'at ', $next - 1, "\n";
        }

        while ($buffer =~ /\G\x81.(?:(2)|42\["n",(\d+)\])/gcs) {

            if ($1) {
                $ws->send_text('3');
                next;
            }

            print $out "$2 instead of $next\n" if $2 != $next;
            $next = $2 + 1;
        }

        substr $buffer, 0, pos $buffer // 0, '';
    }
}


# Waits until all have come to the last number, or were left behind; what they
# have noted by then.

sub notes {
    my ($n, @listeners) = @_;

    my @notes;

    for my $listener (@listeners) {
        wait_until(20 * scale(), sub {
            (read_file($listener->{file}) // '') =~ /^(?:at $n|the end)$/m
        });

        push @notes, read_file($listener->{file});
        end($listener->{pid});
    }

    return @notes;
}


sub complete {
    my ($n, $name, @listeners) = @_;

    for my $notes (notes($n, @listeners)) {
        like($notes, qr/^at $n$/m, "the last one is heard, $name");
        is_deeply([ grep { !/^at / } split /^/, $notes ], [],
                  "and each before, once, $name");
    }
}


# Some may be missing, but none comes twice, or after a later one.

sub once {
    my ($n, $name, @listeners) = @_;

    for my $notes (notes($n, @listeners)) {
        like($notes, qr/^at $n$/m, "the last one is heard, $name");
        is_deeply([ grep { !/^at / && !(/^(\d+) instead of (\d+)/ && $1 > $2) }
                    split /^/, $notes ], [], "and none twice, $name");
    }
}


# Who serves, and who follows; a listener at each of the others.

sub serving {
    my ($host) = @_;

    return ($host->log =~ /$serves/g)[-1];
}


sub following {
    my ($host) = @_;

    return ($host->log =~ /(\d+)#\d+: this worker will serve/g)[-1] // 0;
}


sub listeners {
    my ($host) = @_;

    my $pid = serving($host);

    return map { listener($host, $_, http => $host->connect_to($_)) }
           grep { $_ != $pid } $host->workers;
}


# What is published is not confirmed, so that who leaves waits for a while with
# its follower.

sub wait_for_follower {
    my ($host, $relay) = @_;

    $relay->keep('publishers');
    wait_until(10 * scale(), sub { $relay->kept }) or return 0;
    $host->reload;

    return wait_until(10 * scale(), sub { following($host) });
}


sub emitter {
    my ($redis) = @_;

    my $emitter = SIO::Proc->python('teller.py', $redis->url, 'test');

    $emitter->line(30 * scale()) // BAIL_OUT($emitter->stderr);

    return $emitter;
}


# How many it has told.

sub told {
    my ($emitter) = @_;

    $emitter->send([]);

    return $emitter->line(20 * scale()) // die $emitter->stderr;
}


# A subtest: an emitter, and a host that hears of it through a relay.  What its
# listeners have heard in the end is looked at by the second argument.

sub relayed {
    my ($name, $heard, $option, $code) = @_;

    subtest $name => sub {
        my $redis = SIO::Redis->new->start;
        my $relay = SIO::Relay->new($redis->port);
        my $host = host($relay->url, %$option);
        my @listeners = listeners($host);
        my $emitter = emitter($redis);

        $code->($host, $relay, serving($host));
        $heard->(told($emitter), 'a client', @listeners);

        $host->stop;
        $relay->stop;
        $redis->stop;
    };
}


subtest 'twenty reloads' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host($redis->url);
    my @listeners = map { listener($host, $_) } 0 .. 3;
    my $emitter = emitter($redis);

    # the first clients stay where they are, so that the queue is served by
    # workers without any

    for (1 .. 20) {
        my $served = () = $host->log =~ /$serves/g;

        $host->reload;
        wait_until(10 * scale(), sub {
            $served < (() = $host->log =~ /$serves/g)
        }) or return fail("somebody follows, $_");
    }

    my $n = told($emitter);

    cmp_ok($n, '>', 1000, "numbers: $n");
    complete($n, 'a client', @listeners);

    $host->stop;
    $redis->stop;
};


subtest 'two reloads at once' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host($redis->url);
    my @listeners = map { listener($host, $_) } 0 .. 1;
    my $emitter = emitter($redis);

    for (1 .. 8) {
        $host->reload;
        $host->reload;
    }

    complete(told($emitter), 'a client', @listeners);

    $host->stop;
    $redis->stop;
};


# The one that follows dies: who was about to leave has kept what it would have
# said.

relayed('the follower dies', \&complete, { workers => 3 }, sub {
    my ($host, $relay, $server) = @_;

    ok(wait_for_follower($host, $relay), 'somebody follows');
    sleep 0.5 * scale();

    my $follower = following($host);

    is(serving($host), $server, 'nothing was handed over');
    kill 'KILL', $follower;
    ok(wait_until(10 * scale(), sub { following($host) != $follower }),
       'another one follows');
    $relay->pass;
    ok(wait_until(10 * scale(), sub { serving($host) != $server }),
       'and serves');
});


# Who leaves dies: there are others, but one of them has listened already.

relayed('who leaves dies', \&complete, { workers => 4 }, sub {
    my ($host, $relay, $server) = @_;

    ok(wait_for_follower($host, $relay), 'somebody follows');
    sleep 0.5 * scale();
    is(serving($host), $server, 'nothing was handed over');

    kill 'KILL', $server;
    ok(wait_until(10 * scale(), sub { serving($host) != $server }),
       'another one serves');
    is(serving($host), following($host), 'the one that follows');
    $relay->pass;
});


# Its mark comes to the follower later than to the other one: what is before it
# has been said.

relayed('a slow follower', \&complete, {}, sub {
    my ($host, $relay, $server) = @_;

    $relay->keep('new');
    $host->reload;
    ok(wait_until(10 * scale(), sub { serving($host) != $server }),
       'it serves');
    sleep 0.2 * scale();
    $relay->pass;
});


# Who leaves has not heard the mark when its connection breaks: it is back before
# the other one serves, and both hear the same.

relayed('a mark that is missed', \&once, {}, sub {
    my ($host, $relay, $server) = @_;

    $relay->keep('subscribers');
    $host->reload;
    ok(wait_until(10 * scale(), sub { following($host) }), 'somebody follows');
    sleep 0.5 * scale();
    is(serving($host), $server, 'nothing was handed over');

    $relay->cut;
    ok(wait_until(20 * scale(), sub { serving($host) != $server }),
       'it serves');
});


done_testing();
