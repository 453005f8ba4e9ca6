#!/usr/bin/perl

# Redis away, in every way: how often it is looked for, that nobody waits for
# it, that nothing is lost which the zone has room for, what happens to the
# rest, and hosts under load while its connections are cut, while it stands
# still, and while it is started anew.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use List::Util qw(max min sum0);
use SIO::Child qw(child ended end);
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Redis;
use SIO::Status qw(metrics status);
use SIO::Util qw(scale temp_dir wait_until write_file);
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical;
my $dir = temp_dir();


sub host {
    my ($http, %option) = @_;

    my $nginx = SIO::Nginx->new(
        workers => 2,
        http    => $http,
        server  => <<'EOS', %option)->start;
        location /socket.io/ {
            socketio;
            socketio_max_payload 50k;
            socketio_send_buffer 64m;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
        location = /metrics { socketio_status prometheus; }
EOS

    $nginx->allow(qr/message queue|could not be resolved/);

    return $nginx;
}


sub client {
    my ($host) = @_;

    return SIO::Client->connect(port => $host->port, timeout => 20,
                                transport => 'websocket');
}


sub api {
    my ($host) = @_;

    return SIO::HTTP->new(port => $host->port, keepalive => 1,
                          timeout => 20 * scale());
}


sub emit {
    my ($http, @args) = @_;

    return $http->post('/_api/emit', $json->encode({ event => 'n',
                                                     args  => \@args }))
           ->{body};
}


sub numbers {
    my ($client, $n, $timeout) = @_;

    return [ map { ($client->event('n', $timeout // 20 * scale()) // [])->[1] }
             1 .. $n ];
}


# The only queue of a host, as its status has it.

sub queue {
    my ($host) = @_;

    my $queues = status($host)->{queues};

    return { map { $_ => (values %{ $queues->{$_} })[0] } keys %$queues };
}


# All hosts hear each other, and there is nothing else to be sent.

sub together {
    my ($clients, @hosts) = @_;

    my $word = 0;

    for my $host (@hosts) {
        my $http = api($host);
        my @deaf = @$clients;

        ok(wait_until(30 * scale(), sub {
            emit($http, ++$word);

            @deaf = grep {
                my $last = 0;

                while (my $event = $_->event('n', 0.3)) {
                    $last = $event->[1];
                    last if $last == $word;
                }

                $last != $word;
            } @deaf;

            return !@deaf;
        }), 'a host is heard') or BAIL_OUT($host->log);
    }

    # Behind what each of them has said, nothing is on its way any more.
    emit(api($hosts[$_]), "last $_") for 0 .. $#hosts;

    for my $client (@$clients) {
        my %last;

        while (keys %last < @hosts) {
            my $word = ($client->event('n', 20 * scale()) // last)->[1];

            $last{$word} = 1 if $word =~ /^last/;
        }

        is(keys %last, @hosts, 'to the end');
    }

    ok(wait_until(20 * scale(), sub {
        !grep { queue($_)->{waiting} } @hosts;
    }), 'nothing waits');
}


# Accepts connections, which it keeps and never answers, or with a log resets,
# and writes down when they came.

sub impostor {
    my ($log) = @_;

    my $listen = IO::Socket::INET->new(Listen => 100, ReuseAddr => 1,
                                       LocalAddr => '127.0.0.1')
        or die "no socket: $!";

    my $pid = child(sub {
        my @kept;

        while (my $c = $listen->accept) {
            if (!defined $log) {
                push @kept, $c;
                next;
            }

            open my $file, '>>', $log or die "$log: $!";
            syswrite $file, time . "\n";

            setsockopt $c, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
            close $c;
        }
    });

    return ($listen->sockport, $pid);
}


# When a host has tried to connect: each time with two connections.

sub attempts {
    my ($log) = @_;

    open my $file, '<', $log or return;

    my @times = <$file>;
    chomp @times;

    return @times[grep { $_ % 2 == 0 } 0 .. $#times];
}


# They are looked at in the end, since it takes a while.

my @logs = ("$dir/first", "$dir/second");
my @refusing = map { [ impostor($_) ] } @logs;
my @refused = map {
    host("socketio_message_queue redis://127.0.0.1:$_->[0];", workers => 1)
} @refusing;


# The only worker is the one that has the queue: if it waited for anything,
# others would wait for it.

subtest 'nobody waits' => sub {
    my ($port, $pid) = impostor();
    my ($refuses, $refuses_pid) = impostor("$dir/any");
    my $names = IO::Socket::INET->new(Proto => 'udp',
                                      LocalAddr => '127.0.0.1') or die "$!";
    my $dns = $names->sockport;

    for my $case (
        [ 'for a Redis that says nothing', "redis://127.0.0.1:$port" ],
        [ 'for one with TLS', "'rediss://127.0.0.1:$port?ssl_cert_reqs=none'" ],
        [ 'for a name that is not answered', 'redis://queue.test',
          "resolver 127.0.0.1:$dns; resolver_timeout 30s;" ],
        [ 'for one that refuses', "redis://127.0.0.1:$refuses" ],
    ) {
        my ($name, $url, $http) = @$case;
        my $host = host(($http // '') . "socketio_message_queue $url;",
                        workers => 1);
        my $client = client($host);
        my $api = api($host);
        my ($slowest, $right) = (0, 0);

        for my $n (1 .. 300) {
            my $since = time;

            $right++ if emit($api, $n) eq '{"matched":1}'
                        && ($client->event('n', 20) // [])->[1] == $n;

            $slowest = max($slowest, time - $since);
            sleep 0.005;
        }

        is($right, 300, "$name: all is heard");

        # any wait of the queue's is 5 seconds or more
        cmp_ok($slowest, '<', 4, 'at once');
        is(queue($host)->{up}, 0, 'without it');

        $client->disconnect;
        $host->stop;
    }

    end($_) for $pid, $refuses_pid;
};


# Messages of one length, so that it is known how many of them the log holds.

subtest 'what the zone has room for' => sub {
    my $redis = SIO::Redis->new->start;
    my @hosts = map {
        host('socketio_zone socketio 1m; socketio_message_queue '
             . $redis->url . ';')
    } 1, 2;
    my @clients = map { client($_) } @hosts;
    my $api = api($hosts[0]);
    my $text = 'x' x 500;

    together(\@clients, @hosts);

    my $before = queue($hosts[0]);

    $redis->stop;
    emit($api, $_, $text) for 1 .. 200;
    is_deeply(numbers($clients[0], 200), [ 1 .. 200 ], 'the own ones hear it');

    cmp_ok(queue($hosts[0])->{waiting}, '>=', 200, 'it waits');
    $redis->start;
    is_deeply(numbers($clients[1], 200), [ 1 .. 200 ], 'others later');

    ok(wait_until(20 * scale(), sub { !queue($hosts[0])->{waiting} }),
       'nothing waits any more');
    is(queue($hosts[0])->{lost}, 0, 'nothing is lost');
    is(status($hosts[1])->{hosts}{missed}, 0, 'nor missed');

    $redis->stop;
    emit($api, $_, $text) for 1 .. 3000;
    is_deeply(numbers($clients[0], 3000), [ 1 .. 3000 ],
              'the own ones hear more than it has room for');
    is(queue($hosts[0])->{lost}, 0,
       'whether it is lost is not known before somebody is there');
    $redis->start;

    my @heard;

    while (my $event = $clients[1]->event('n', 20 * scale())) {
        push @heard, $event->[1];
        last if $event->[1] == 3000;
    }

    my $lost = 3000 - @heard;

    is_deeply(\@heard, [ $lost + 1 .. 3000 ],
              'others hear the last of it') or diag "@heard[0 .. 9]";

    # 400k of log; 600 octets of text and JSON, and what an entry has besides
    cmp_ok(scalar @heard, '>', 300, @heard . ' of them');
    cmp_ok($lost, '>', 0, "$lost are lost");

    ok(wait_until(20 * scale(), sub { !queue($hosts[0])->{waiting} }),
       'nothing waits any more');

    my $after = queue($hosts[0]);

    is($after->{lost}, $lost, 'as many are counted');
    is($after->{shipped} - $before->{shipped}, 200 + @heard,
       'and those that were sent');
    is(status($hosts[1])->{hosts}{missed}, $lost, 'and those that were missed');

    my ($series) = metrics(SIO::HTTP->new(port => $hosts[0]->port)
                           ->get('/metrics')->{body});

    is_deeply([ values %{ $series->{socketio_queue_lost_total} } ], [ $lost ],
              'for Prometheus, too');

    is_deeply([ $hosts[0]->log =~ /away for too long: (\d+) messages/g ],
              [ $lost ], 'it is said once');
    is_deeply([ $hosts[1]->log =~ /(\d+) messages of another host were lost/g ],
              [ $lost ], 'by both');

    emit($api, 'on');
    is_deeply(numbers($_, 1), ['on'], 'and it goes on') for @clients;

    $_->disconnect for @clients;
    $_->stop for @hosts;
    $redis->stop;
};


# All hosts speak all the time.

subtest 'under load' => sub {
    my $redis = SIO::Redis->new->start;
    my @hosts = map {
        host('socketio_message_queue ' . $redis->url . ';')
    } 1 .. 3;
    my @clients = map { client($_) } @hosts;
    my $own = client($hosts[0]);
    my $connects = sub {
        scalar(() = $redis->command('CLIENT', 'LIST') =~ /name=nginx-/g)
    };

    together(\@clients, @hosts);
    is($connects->(), 6, 'two connections each');

    my @speakers = map {
        my $i = $_;

        child(sub {
            my $api = api($hosts[$i]);
            my $n = 0;

            until (-e "$dir/enough") {
                emit($api, $i, ++$n) =~ /^\{"matched":[12]\}$/
                    or die 'an emit was refused';
                sleep 0.004;
            }

            write_file("$dir/said.$i", $n);
        })
    } 0 .. 2;

    # what is heard is read by others, or it would wait in the way
    my @listeners = map {
        my $i = $_;

        child(sub {
            my (@heard, @wrong);
            my $end = -1;

            for ( ;; ) {
                my $event = $clients[$i]->event('n', 0.5);

                if (!$event) {
                    my @said = map { said($_) // -1 } 0 .. 2;

                    last if !grep { ($heard[$_] // 0) != $said[$_] } 0 .. 2;

                    # some of it does not come any more
                    $end = time + 30 * scale() if $end < 0 && min(@said) >= 0;
                    last if $end > 0 && time > $end;
                    next;
                }

                my (undef, $from, $n) = @$event;

                push @wrong, "$from:$n after " . ($heard[$from] // 0)
                    if $n != ($heard[$from] // 0) + 1 && @wrong < 10;
                $heard[$from] = $n;
            }

            write_file("$dir/heard.$i", $json->encode([ \@heard, \@wrong ]));
        })
    } 0 .. 2;

    my $all_up = sub {
        my ($name) = @_;

        ok(wait_until(40 * scale(), sub {
            $connects->() == 6 && !grep { !queue($_)->{up} } @hosts;
        }), $name);
    };

    sleep 0.5;

    for my $type (qw(pubsub normal pubsub)) {
        for (1 .. 4) {
            $redis->command('CLIENT', 'KILL', 'TYPE', $type);
            sleep 0.2;
        }

        $all_up->("after connections ($type) were killed");
    }

    $redis->signal('STOP');
    sleep 1.5;
    $redis->signal('CONT');
    $all_up->('after it stood still');

    # longer than anybody waits for an answer
    $redis->signal('STOP');

    my $until = time + 13;
    my ($last, $gap) = (time, 0);

    while (time < $until) {
        if ($own->event('n', 1)) {
            $gap = max($gap, time - $last);
            $last = time;
        }
    }

    cmp_ok(max($gap, time - $last), '<', 4, 'own clients do not wait for it');
    $redis->signal('CONT');
    $all_up->('after it stood still for long');

    for (1, 2) {
        $redis->stop;
        sleep 0.7;
        $redis->start;
        $all_up->('after it was started anew');
    }

    write_file("$dir/enough", 1);

    ended($_) for @speakers, @listeners;

    my @said = map { said($_) } 0 .. 2;

    cmp_ok(min(@said), '>', 100, "@said were said");

    for my $i (0 .. 2) {
        my ($heard, $wrong) = @{ $json->decode(read_all("$dir/heard.$i")) };

        is_deeply($heard, \@said, 'a host has heard all of it');
        is_deeply($wrong, [], 'once, in order');
        is(queue($hosts[$i])->{lost}, 0, 'nothing is lost');
        is(status($hosts[$i])->{hosts}{missed}, 0, 'nor missed');
    }

    $_->disconnect for @clients, $own;
    $_->stop for @hosts;
    $redis->stop;
};


sub read_all {
    my ($name) = @_;

    open my $file, '<', $name or return undef;
    local $/;

    return scalar readline $file;
}


sub said {
    return read_all("$dir/said.$_[0]");
}


# Each attempt is tried after 100 ms, twice as long each time, up to 10 s; of
# which half is chance.  A busy machine makes them later, never earlier.

subtest 'how often it is looked for' => sub {
    ok(wait_until(70 * scale(), sub {
        !grep { @{ [ attempts($_) ] } < 11 } @logs;
    }), 'it is looked for all the time') or diag map { $_->log } @refused;

    my @gaps;

    for my $log (@logs) {
        my @times = attempts($log);
        my @gap = map { $times[$_ + 1] - $times[$_] } 0 .. $#times - 1;

        push @gaps, \@gap;
        note(join ' ', map { sprintf '%.2f', $_ } @gap[0 .. 9]);

        cmp_ok(scalar(grep { $_ < $times[0] + 10 } @times), '<=', 9,
               'more and more rarely');
        cmp_ok(max(@gap), '<', 20, 'but not too rarely');
        cmp_ok(sum0(@gap[7 .. 9]), '>', 13, 'in the end');
    }

    my $alike = grep {
        abs($gaps[0][$_] - $gaps[1][$_]) < 0.02 * $gaps[0][$_]
    } 3 .. 9;

    cmp_ok($alike, '<', 5, 'two hosts do not do it at the same times');

    for my $i (0, 1) {
        my @lines = $refused[$i]->log =~ /(\[warn\].*: message queue .*)/g;

        cmp_ok(scalar @lines, '<=', 3, 'it is said once a minute')
            or diag join "\n", @lines;
        $refused[$i]->stop;
        end($refusing[$i][1]);
    }
};


done_testing();
