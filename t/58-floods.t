#!/usr/bin/perl

# Floods: thousands that never read, that send octet by octet, that say nothing,
# that come back at once, and those that send more than anybody wants.  Memory
# stays within bounds and returns, and everybody else is served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use List::Util qw(min sum);
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Procfs qw(cpu grows_less rss settles);
use SIO::Status qw(status);
use SIO::Util qw(free_port read_file wait_until);
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical;

# What the machine allows each process; a client takes one here and one there.
my ($descriptors) = read_file('/proc/self/limits')
                    =~ /^Max open files +\S+ +(\d+)/m or die 'no limit';

# A backend that accepts and never answers.
my $silent = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1',
    LocalPort => free_port(),
    Listen    => 1024,
    ReuseAddr => 1,
) or die "listen: $!";

my $nginx = SIO::Nginx->new(
    workers => 2,
    events  => 'worker_connections 16384; accept_mutex off;',
    main    => "worker_rlimit_nofile $descriptors;",
    http    => <<'EOF',
    access_log off;
    error_log %%PREFIX%%/error.log warn;
    socketio_zone small 1m;

    # the timers of a crowd are not what is measured
    socketio_ping_interval 600s;
EOF
    server  => <<'EOF' =~ s/%%SILENT%%/$silent->sockport/er)->start;
        # so that the kernel does not take what clients do not
        listen 127.0.0.1:%%PORT_small%% sndbuf=16k backlog=4096 reuseport;

        location /socket.io/ {
            socketio;
            socketio_send_buffer 64k;
        }

        location /silent/ {
            socketio;
            socketio_ping_interval 1s;
            socketio_ping_timeout 1s;
        }

        location /asking/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_events event;
        }

        location /many/ {
            socketio;
            socketio_namespaces *;
            socketio_max_namespaces 10;
            socketio_max_rooms 20;
        }

        location /bomb/ {
            socketio;
            socketio_max_payload 20000;
            socketio_max_attachments 3;
        }

        location /together/ {
            socketio zone=small;
            socketio_max_payload 20000;
            socketio_max_attachments 3;
        }

        location /leaving/ {
            socketio;
            socketio_webhook /_silent;
            socketio_webhook_timeout 600s;
            error_log %%PREFIX%%/leaving.log crit;
        }

        location = /_hook { internal; return 204; }

        location = /_silent {
            internal;
            proxy_pass http://127.0.0.1:%%SILENT%%;
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }

        location = /status { socketio_status; }
        location = /small { socketio_status zone=small; }
EOF

my $api = SIO::HTTP->new(port => $nginx->port, keepalive => 1, timeout => 60);


sub flood {
    my ($path) = @_;

    my $flood = SIO::Proc->python('flood.py', $nginx->port('small'), $path);

    $flood->{limit} = $flood->json->{limit};

    return $flood;
}


sub have {
    my ($flood, %command) = @_;

    $flood->send(\%command);

    return $flood->json(150);
}


sub memory {
    return sum map { rss($_) } $nginx->workers;
}


# What they have asked the system for, used or not.

sub reserved {
    return sum map {
        (read_file("/proc/$_/status") // '') =~ /^VmData:\s+(\d+)/m
    } $nginx->workers;
}


sub descriptors {
    return sum map { scalar(my @fds = glob "/proc/$_/fd/*") } $nginx->workers;
}


sub reader {
    my (%option) = @_;

    return SIO::Client->connect(port => $nginx->port, timeout => 60, %option);
}


sub emit {
    my (%emit) = @_;

    return $api->post('/_api/emit', $json->encode(\%emit))->json->{matched};
}


sub open_now {
    return status($nginx)->{connections}{open}{websocket};
}


# Back to those who were there before.

sub emptied {
    my ($descriptors, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    ok(wait_until(60, sub { descriptors() <= $descriptors + 8 }),
       "$name: descriptors return");
}


subtest 'octet by octet' => sub {
    my $flood = flood('/asking/');
    my $before = descriptors();
    my $n = 200;

    is_deeply(have($flood, open => $n, drip => 1),
              { open => $n, refused => 0 }, "$n handshakes");

    my $counted = sub { status($nginx)->{webhooks}{finished}{event}{ok} };
    my $events = $counted->();

    have($flood, drip => '42["slow",1]');
    ok(wait_until(60, sub { $counted->() == $events + $n }), "$n events");

    have($flood, close => 1);
    emptied($before, 'they are gone');
};


subtest 'a frame for each octet' => sub {
    my $flood = flood('/asking/');
    my $counted = sub { status($nginx)->{webhooks}{finished}{event}{ok} };
    my $events = $counted->();
    my $n = 400_000;

    have($flood, open => 1);

    my $cpu = sum map { cpu($_) } $nginx->workers;

    have($flood, fragments => '42["slow","' . 'x' x $n . '"]');
    ok(wait_until(60, sub { $counted->() == $events + 1 }), 'an event');

    # to copy what is there for each of them would be 80 GB
    $cpu = sum(map { cpu($_) } $nginx->workers) - $cpu;
    cmp_ok($cpu, '<', 4, "$n frames took $cpu seconds of processor time");

    have($flood, close => 1);
};


subtest 'messages that are announced' => sub {
    my $flood = flood('/asking/');
    my $before = descriptors();
    my $n = 200;

    have($flood, open => $n);

    my $reserved = reserved();
    my $read = sub { status($nginx)->{received}{bytes}{websocket} };
    my $octets = $read->();

    have($flood, announce => 1_000_000);

    # headers with a mask, and an octet
    ok(wait_until(60, sub { $read->() >= $octets + 15 * $n }), 'are begun');

    # 200 MB were announced
    grows_less($reserved, reserved(), 20 * 1024,
               'what is reserved for them, of the system');
    is(have($flood, ended => 1)->{ended}, 0, 'they may be that large');

    have($flood, close => 1);
    emptied($before, 'they are gone');
};


subtest 'namespaces' => sub {
    my $flood = flood('/many/');
    my $before = descriptors();
    my $n = 200;

    settles(1024, 'in and out', sub {
        my ($round) = @_;

        have($flood, open => $n);
        have($flood, send => "40/r$round-#,", from => 1, to => 9);

        for (1 .. 20) {
            have($flood, send => "41/r$round-9,");
            have($flood, send => "40/r$round-9,");
        }

        # beyond the limit
        have($flood, send => "40/r$round-x#,", from => 1, to => 100);
        is(have($flood, count => "44/r$round-x100,")->{count}, $n,
           "round $round: no more than ten");
        have($flood, close => 1);
        emptied($before, "round $round");

        return memory();
    });

    cmp_ok(status($nginx)->{limits}{met}{max_namespaces}, '>=', 99 * $n,
           'the status tells');
};


# Each is a webhook of a socket that has ended, and a record of the journal,
# which has room for 11,000 of them.

subtest 'in and out, and the backend does not answer' => sub {
    my $polling = SIO::EIO->open(port => $nginx->port, path => '/leaving/');
    my $ws = SIO::EIO->open_ws(port => $nginx->port, path => '/leaving/');
    my $n = 1000;

    my $hooks = sub {
        my $hooks = status($nginx)->{webhooks};

        return { pending => sum(values %{ $hooks->{pending} }),
                 failed  => $hooks->{finished}{connect}{failed} };
    };

    my $used = status($nginx)->{memory}{used}{journal};
    my $post = $polling->{http}->start(
        'POST', $polling->url('polling'),
        headers => [ 'Content-Type' => 'text/plain' ],
        body    => $polling->encode(('40', '41') x $n));

    # one write, so that they are read together
    $ws->{ws}->send_raw(join '', map { $ws->{ws}->frame(1, $_) }
                                 ('40', '41') x $n);

    ok(wait_until(20, sub { $hooks->()->{pending} >= 130 }),
       'what they left is told');
    is($hooks->()->{pending}, 130, 'but they are read no further');
    cmp_ok(status($nginx)->{memory}{used}{journal} - $used, '<', 130 * 1024,
           'the journal has room for others');
    ok(!$post->ready, 'the POST waits');

    # from now on webhooks fail at once
    close $silent;

    ok(wait_until(60, sub { $hooks->()->{failed} == 2 * $n }),
       'in the end all are told');
    is(($post->wait(20) // {})->{body}, 'ok', 'the POST is answered');
    is($hooks->()->{pending}, 0, 'nothing is left');
};


# Each counts with what it takes, not with its 36 octets.

subtest 'short answers that nobody takes' => sub {
    my $n = 100;
    my @sessions = map { SIO::EIO->open(port => $nginx->port) } 1 .. $n;
    my $memory = memory();

    for my $session (@sessions) {
        $session->post_raw(join "\x1e", '40', ('40/x,') x 1200);
    }

    grows_less($memory, memory(), $n * 64 + 4096, 'no more than they may');
};


subtest 'rooms' => sub {
    my $flood = flood('/many/');
    my $before = descriptors();
    my $n = 200;

    settles(1024, 'rooms', sub {
        my ($round) = @_;

        have($flood, open => $n);

        for my $i (1 .. 20) {
            my $r = $api->post('/_api/join', $json->encode({
                in    => [],
                rooms => [ map { "room-$round-$i-$_-" . 'r' x 100 } 1 .. 10 ],
            }));

            cmp_ok($r->json->{matched}, '>=', $n, 'all join')
                if $i == 1;
        }

        is(@{ $api->get('/_api/rooms?limit=1000')->json->{rooms} }, 20,
           "round $round: no more than twenty");
        have($flood, close => 1);
        emptied($before, "round $round");

        return memory();
    });

    is(@{ $api->get('/_api/rooms')->json->{rooms} }, 0, 'they are gone');
};


subtest 'acknowledgements' => sub {
    my $flood = flood('/asking/');
    my $before = descriptors();
    my $n = 200;

    my $finished = sub { status($nginx)->{webhooks}{finished}{event}{ok} };

    settles(1024, 'answers and questions', sub {
        my ($round) = @_;

        have($flood, open => $n);

        # answers to what nobody asked, then questions that nobody answers
        have($flood, send => '43#[1]', from => 1, to => 2000);

        my $events = $finished->();

        have($flood, send => '42#["q"]', from => 1, to => 1500);
        ok(wait_until(60, sub { $finished->() == $events + $n * 1500 }),
           "round $round: all are read");
        have($flood, close => 1);
        emptied($before, "round $round");

        return memory();
    });
};


subtest 'attachments' => sub {
    my $flood = flood('/bomb/');
    my $before = descriptors();
    my $n = 200;
    my $three = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},'
                . '{"_placeholder":true,"num":2}';

    my $closed = sub {
        return status($nginx)->{connections}{closed}{'forced close'};
    };

    settles(1024, 'attachments', sub {
        my ($round) = @_;

        have($flood, open => $n);

        my $memory = memory();

        # two of three, of the largest size: the third never comes
        have($flood, send => "453-[\"b\",$three]");
        have($flood, binary => 19000) for 1 .. 2;
        grows_less($memory, memory(), $n * 3 * 20 + 4096, "round $round");
        is(have($flood, ended => 1)->{ended}, 0, 'which is allowed');

        # more of them, or larger ones, are not
        have($flood, binary => 20001);
        ok(wait_until(60, sub { have($flood, ended => 1)->{ended} == $n }),
           'larger ones are not');
        have($flood, close => 1);
        have($flood, open => $n);
        have($flood, send => "454-[\"b\",$three]");
        ok(wait_until(60, sub { $closed->() == $n * $round }), 'nor are more');
        have($flood, close => 1);
        emptied($before, "round $round");

        return memory();
    });
};


# Each within its limits, 8 MB of them; the zone has one.

subtest 'attachments that all together are too many' => sub {
    my $flood = flood('/together/');
    my $before = descriptors();
    my $other = reader(path => '/together/', transport => 'websocket');
    my $n = 200;

    my $given_up = sub {
        return status($nginx, '/small')->{limits}{met}{unfinished};
    };

    have($flood, open => $n);
    have($flood, send => '453-["b",{"_placeholder":true,"num":0},'
                         . '{"_placeholder":true,"num":1},'
                         . '{"_placeholder":true,"num":2}]');
    have($flood, binary => 19000) for 1 .. 2;

    my $sent = '451-["b",{"_placeholder":true,"num":0}]';

    $other->eio->{ws}->send_text($sent);
    $other->eio->{ws}->send_binary('x' x 19000);

    # of those that are left each worker has so many, and the last one
    my $left = 2 * (1024 * 1024 / 38000 + 1);

    ok(wait_until(60, sub { $given_up->() >= $n - $left }),
       'who left them unfinished for the longest time is given up');
    ok(wait_until(60, sub {
        have($flood, ended => 1)->{ended} == $given_up->();
    }), 'and closed, not who has finished what he began');
    cmp_ok($given_up->(), '<', $n, 'not all of them');

    have($flood, close => 1);
    $other->disconnect;
    emptied($before, 'they are gone');
};


subtest 'half-open' => sub {
    my $flood = flood('/silent/');
    my $before = descriptors();
    my $n = min(2000, $flood->{limit});
    my $other = reader();

    my $closed = sub {
        return status($nginx)->{connections}{closed}{'ping timeout'};
    };

    is_deeply(have($flood, open => $n), { open => $n, refused => 0 },
              "$n clients that say nothing more");
    ok(wait_until(60, sub { $closed->() == $n }), 'are given up');
    ok($other->eio->{ws} && !$other->eio->{ws}{closed}, 'and nobody else');

    have($flood, close => 1);
    emptied($before, 'they are gone');
};


subtest 'ten thousand that never read' => sub {
    my $flood = flood('/socket.io/');
    my $n = min(10000, $flood->{limit});
    my @readers = map { reader() } 1 .. 3;
    my $before = descriptors();

    diag("$n clients, as many as the limit of descriptors allows")
        if $n < 10000;

    is_deeply(have($flood, open => $n, rcvbuf => 4096),
              { open => $n, refused => 0 }, "$n clients");

    my $memory = memory();
    my $peak = 0;
    my $text = 'x' x 4000;
    my $sent = 0;

    my $earlier = 0;
    my $closed = sub {
        return status($nginx)->{connections}{closed}{'slow consumer'}
               - $earlier;
    };

    $earlier = $closed->();

    # The kernel takes some, and 16 are in each queue; then they are closed.
    while ($sent < 100 && $closed->() < $n) {
        emit(event => 'n', args => [ ++$sent, $text ]);

        my $now = memory();
        $peak = $now if $now > $peak;
    }

    is($closed->(), $n, "closed as slow consumers, after $sent messages");

    for my $reader (@readers) {
        my @numbers = map { ($reader->event('n', 60) // [])->[1] } 1 .. $sent;

        is_deeply(\@numbers, [ 1 .. $sent ], 'one who reads has everything');
    }

    # All share the messages; 64k for each would be 640 MB.
    grows_less($memory, $peak, 4096 + 3 * $n, 'memory');

    have($flood, close => 1);
    emptied($before, 'they are gone');
};


subtest 'fifty thousand that come back at once' => sub {
    my $flood = flood('/socket.io/');
    my $before = descriptors();
    my $n = min(10000, $flood->{limit});
    my $rounds = int((50000 + $n - 1) / $n);
    my $other = reader();
    my $accepted = status($nginx)->{sockets}{accepted};
    my $open = open_now();
    my @memory;

    is_deeply(have($flood, open => $n), { open => $n, refused => 0 },
              "$n clients");

    for my $round (1 .. $rounds) {
        is_deeply(have($flood, again => 1), { open => $n, refused => 0 },
                  "$n at once, round $round");

        # the ends of some may be noticed after others have come
        wait_until(60, sub { open_now() <= $open + $n });
        push @memory, memory();

        is(emit(event => 'r', args => [$round], to => $other->sid), 1,
           'somebody else');
        is($other->event('r', 60)->[1], $round, 'is served');
    }

    is(status($nginx)->{sockets}{accepted} - $accepted, $n * ($rounds + 1),
       'all of them');

    grows_less($memory[0], $memory[-1], 8192, 'memory');

    have($flood, close => 1);
    emptied($before, 'they are gone');
    ok(wait_until(20, sub { open_now() <= 8 }), 'the status knows');
};


$nginx->stop;

done_testing();
