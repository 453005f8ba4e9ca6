#!/usr/bin/perl

# Redis as it may be: not there yet, behind a password or TLS, on a socket, or
# something else altogether.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(asan build_dir free_port root scale temp_dir wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical;


sub host {
    my ($url, %option) = @_;

    return SIO::Nginx->new(
        workers => $option{workers} // 2,
        http    => ($option{http} // '')
                   . " socketio_message_queue $url channel=test;",
        server  => <<'EOS')->start;
        location /socket.io/ { socketio; }
        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS
}


sub emit {
    my ($host, $n) = @_;

    my $r = SIO::HTTP->new(port => $host->port, timeout => 5)->post(
        '/_api/emit', $json->encode({ event => 'n', args => [$n] }));

    return $json->decode($r->{body})->{matched};
}


sub status {
    my ($host) = @_;

    return SIO::HTTP->new(port => $host->port)->get('/status')->json;
}


sub up {
    my ($host) = @_;

    return $host->wait_log(qr/message queue .* is connected/, 20);
}


sub client {
    my ($host) = @_;

    return SIO::Client->connect(port => $host->port, timeout => 10,
                                transport => 'websocket');
}


# Both hosts hear each other.

sub together {
    my ($name, @hosts) = @_;

    my @clients = map { client($_) } @hosts;
    my $n = 0;

    ok(wait_until(20 * scale(), sub {
        emit($_, ++$n) for @hosts;

        my @heard = map { $_->event('n', 1) ? 1 : 0 } @clients;
        while ($clients[0]->event('n', 0.1)) { $heard[0]++ }
        while ($clients[1]->event('n', 0.1)) { $heard[1]++ }

        return $heard[0] == 2 && $heard[1] == 2;
    }), $name) or diag map { $_->log } @hosts;

    $_->disconnect for @clients;
}


subtest 'addresses' => sub {
    my $redis = SIO::Redis->new(args => [ '--requirepass', 'se/cret' ])
        ->start;
    my $port = $redis->port;

    my $admin = sub {
        my @words = @_;

        my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");

        for my $command ([ 'AUTH', 'se/cret' ], \@words) {
            print $socket '*', scalar(@$command), "\r\n",
                map { '$' . length($_) . "\r\n$_\r\n" } @$command;
            my $line = <$socket>;
            die "@$command: $line" if $line !~ /^\+/;
        }
    };

    # what the README says is enough
    $admin->(qw(ACL SETUSER app on >pass resetchannels &test* -@all +publish
                +subscribe +psubscribe +ping +client|setname +select
                +pubsub|numsub));

    my $first = host("redis://:se%2Fcret\@127.0.0.1:$port");

    for my $case (
        [ 'a user with few rights', "redis://app:pass\@127.0.0.1:$port" ],
        [ 'a database', "redis://:se%2Fcret\@127.0.0.1:$port/7" ],
        [ 'a socket', 'unix://:se%2Fcret@' . $redis->socket ],
        [ 'a name', "redis://:se%2Fcret\@localhost:$port" ],
    ) {
        my ($name, $url) = @$case;
        my $second = host($url);

        together($name, $first, $second);
        unlike($second->log, qr/cret|pass@/, 'the password is not in the log');
        $second->stop;
    }

    for my $case (
        [ 'a wrong password', "redis://:wrong\@127.0.0.1:$port",
          qr/message queue redis:\/\/:\*\*\*\@127\.0\.0\.1:\d+: WRONGPASS/ ],
        [ 'no password', "redis://127.0.0.1:$port", qr/NOAUTH/ ],
        [ 'a user who may not publish', "redis://idle:x\@127.0.0.1:$port",
          qr/NOPERM/ ],
    ) {
        my ($name, $url, $line) = @$case;

        $admin->(qw(ACL SETUSER idle on >x allchannels -@all +subscribe +ping
                    +client|setname));

        my $host = host($url);

        $host->allow(qr/message queue/);
        ok($host->wait_log($line, 10), "$name is told") or diag $host->log;
        is(emit($host, 1), 0, 'and does not matter to others');

        sleep 2;
        is(() = $host->log =~ /$line/g, 1, 'once');
        $host->stop;
    }

    $first->stop;
    $redis->stop;
};


subtest 'TLS' => sub {
    my $dir = temp_dir();
    my $port = free_port();

    for my $command (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem"
        . ' -days 2 -subj /CN=authority',
        "req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem"
        . ' -subj /CN=localhost',
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial"
        . ' -days 2 -out cert.pem -extfile ext',
    ) {
        open my $ext, '>', "$dir/ext" or die $!;
        print $ext "subjectAltName=DNS:localhost\n";
        close $ext;

        my $r = SIO::Proc->run([ 'openssl', split ' ', $command ],
                               cwd => $dir);
        $r->{status} == 0 or BAIL_OUT("openssl: $r->{err}");
    }

    my $redis = SIO::Redis->new(args => [
        '--tls-port', $port, '--tls-cert-file', "$dir/cert.pem",
        '--tls-key-file', "$dir/key.pem", '--tls-ca-cert-file', "$dir/ca.pem",
        '--tls-auth-clients', 'no' ])->start;

    my $plain = host($redis->url);
    my $ca = "ssl_ca_certs=$dir/ca.pem";

    for my $url ("rediss://localhost:$port?$ca",
                 "rediss://127.0.0.1:$port?ssl_cert_reqs=none") {
        my $host = host("'$url'");

        together("$url is heard", $plain, $host);
        $host->stop;
    }

    for my $case (
        [ "rediss://localhost:$port", qr/self.signed|unable to get|verify/i ],
        [ "rediss://127.0.0.1:$port?$ca", qr/for another host/ ],
        [ 'rediss://127.0.0.1:' . $redis->port . "?$ca",
          qr/TLS handshake failed|message queue/ ],
    ) {
        my ($url, $line) = @$case;
        my $host = host("'$url'");

        $host->allow(qr/message queue|SSL_do_handshake|certificate/);
        ok($host->wait_log($line, 10), "$url is not trusted")
            or diag $host->log;
        is(status($host)->{queues}{up}{"$url test"}, 0, 'nor used');
        $host->stop;
    }

    # OpenSSL wants the octets that it did not take at the same place again

    my $http = 'client_body_buffer_size 1m; socketio_send_buffer 32m;';
    my $host = host("'rediss://localhost:$port?$ca'", http => $http);
    my $other = host($redis->url, http => $http);

    together('before it is slow', $other, $host);

    my $client = client($other);
    my $pad = 'x' x 100000;

    $redis->signal('STOP');
    emit($host, "$_ $pad") for 1 .. 70;
    $redis->signal('CONT');

    is_deeply([ map { ($client->event('n', 20 * scale()) // [])->[1] }
                1 .. 70 ],
              [ map { "$_ $pad" } 1 .. 70 ], 'a slow one gets everything');
    unlike($host->log, qr/SSL_write/, 'over the same connection');

    $client->disconnect;
    $_->stop for $host, $other, $plain;
    $redis->stop;
};


# A server in Python joins one socket to one room with each message.

subtest 'too much to say' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host($redis->url);
    my ($name) = keys %{ status($host)->{queues}{up} };

    ok(up($host), 'a host');

    my $ear = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                    PeerPort => $redis->port, Timeout => 20);
    print $ear "SUBSCRIBE test\r\n";
    SIO::Redis::reply($ear);

    my $http = SIO::HTTP->new(port => $host->port, timeout => 20);

    for my $n (100, 101) {
        $http->post('/_api/join', $json->encode({
            in => [ map { "s$_" } 1 .. $n ], rooms => [ map { "r$_" } 1 .. 100 ] }));
    }

    emit($host, 1);

    my @said = (0, 0);

    while (!$said[1]) {
        my ($kind) = SIO::Redis::reply($ear)->[2] =~ /(enter_room|emit)/;
        $said[$kind eq 'emit']++;
    }

    is("@said", '10000 1', 'some is said, and does not keep others for long');
    is(status($host)->{queues}{untold}{$name}, 1, 'what is not is counted');

    $host->stop;
    $redis->stop;
};


# It is nginx's, so nothing hangs on what hiredis was built with; and an nginx
# without it is found when the module is built, since nginx would load it.

subtest 'where TLS comes from' => sub {
    my $build = build_dir() . (asan() ? '/asan' : '');
    my $symbols = SIO::Proc->run([ 'nm', '-D',
                                   "$build/ngx_http_socketio_module.so" ]);

    is($symbols->{status}, 0, 'what the module asks for');
    like($symbols->{out}, qr/\bU SSL_get_verify_result/, 'is OpenSSL');
    unlike($symbols->{out}, qr/redis\w*SSL/i, 'not a part of hiredis');

    my $src = $ENV{NGX_SRC} || '/usr/share/nginx/src';
    my $objs = build_dir() . (asan() ? '/objs-asan' : '/objs');

    for my $case ([ 'with it', [], 1 ],
                  [ 'without it', ['-DNGX_HTTP_SSL=0'], 0 ])
    {
        my ($name, $defines, $fine) = @$case;
        my $r = SIO::Proc->run([
            $ENV{CC} || 'cc', '-fsyntax-only', '-x', 'c', @$defines,
            "-I$objs", (map { "-I$src/src/$_" } qw(core event event/modules
                                                  event/quic os/unix)),
            root() . '/src/base/ngx_sio_compat.h' ]);

        is($r->{status} == 0 ? 1 : 0, $fine, "nginx $name")
            or diag $r->{err};
        like($r->{err}, qr/error: #error TLS is missing: configure with/,
             'it is said') if !$fine;
    }
};


subtest 'not there yet' => sub {
    my $redis = SIO::Redis->new;
    my @hosts = map { host($redis->url) } 1, 2;

    for my $host (@hosts) {
        $host->allow(qr/message queue/);
        ok($host->wait_log(qr/message queue .*: connect\(\) failed/, 10),
           'it is said');
    }

    my $client = client($hosts[0]);
    my $since = time;

    is(emit($hosts[0], $_), 1, "own clients are served") for 1 .. 5;
    is_deeply([ map { $client->event('n')->[1] } 1 .. 5 ], [ 1 .. 5 ],
              'at once');

    $client->disconnect;
    $redis->start;
    ok(up($_), 'and when it is there it is used') for @hosts;
    together('by both', @hosts);

    is(() = $hosts[0]->log =~ /connect\(\) failed/g, 1,
       'that it was not is said once');

    $_->stop for @hosts;
    $redis->stop;
};


# Whoever serves the queue is killed while it leaves, and Redis is stopped, so
# that the follower has not got anywhere; then that goes on.

sub orphaned {
    my ($redis, $host) = @_;

    my $serves = qr/(\d+)#\d+: this worker serves/;

    $host->allow(qr/message queue|exited on signal 9/);
    $host->wait_log($serves);

    # who has never heard anything leaves at once
    $host->wait_log(qr/message queue .* is connected/);

    my ($pid) = $host->log =~ $serves;

    $redis->signal('STOP');
    $host->reload;
    sleep 1.5 * scale();    # two ticks

    my $mark = $host->mark;

    kill 'KILL', $pid;
    ok($host->wait_log($serves, 10 * scale(), $mark), 'there is another one');
    $redis->signal('CONT');
    ok($host->wait_log(qr/message queue .* is connected/, 20 * scale(), $mark),
       'it is connected');
}


# A worker that leaves is followed by another one, which keeps what it hears
# until it is its turn.  When a third one was faster after the first had died,
# nobody waits for what the second one would say.

subtest 'a follower that is not needed' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host($redis->url, workers => 6);

    orphaned($redis, $host);
    sleep 3 * scale();

    my %heard = map { @{ $redis->command('PUBSUB', 'NUMSUB', $_) } }
                @{ $redis->command('PUBSUB', 'CHANNELS') };

    is_deeply([ values %heard ], [ (1) x keys %heard ],
              'and listens to each channel alone') or diag explain \%heard;
    ok(%heard > 0, 'there are some');

    $host->stop;
    $redis->stop;
};


# Whoever takes over from the dead is not its own successor, for which it would
# wait until its time is over.

subtest 'a follower that serves, and leaves' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host($redis->url, workers => 1);

    orphaned($redis, $host);
    ok(up($host), 'the queue is up');

    my $start = time;
    my $mark = $host->mark;

    $host->reload;
    ok($host->wait_log(qr/this worker serves/, 20 * scale(), $mark),
       'another one follows');
    cmp_ok(time - $start, '<', 7 * scale(), 'which was not waited for in vain');

    $host->stop;
    $redis->stop;
};


# What is no Redis; each connection gets these octets.

sub impostor {
    my (@octets) = @_;

    my $socket = IO::Socket::INET->new(Listen => 20, ReuseAddr => 1,
                                       LocalAddr => '127.0.0.1')
        or die "no socket: $!";
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        $SIG{TERM} = sub { POSIX::_exit(0) };
        alarm 60;

        my @kept;

        while (my $c = $socket->accept) {
            push @kept, $c;
            syswrite $c, $_ for @octets;
        }

        POSIX::_exit(0);
    }

    return ($socket->sockport, $pid);
}


subtest 'something else' => sub {
    for my $case (
        [ 'one that says nothing', qr/no answer|timed out/ ],
        [ 'a web server', qr/invalid reply/, "HTTP/1.1 400 Bad\r\n\r\n" ],
        [ 'endless lengths', qr/invalid reply/, '$' . '9' x 100 ],
        [ 'a huge array', qr/invalid reply/, "*2000000000\r\n" ],
        [ 'a long array', qr/invalid reply/, "*9\r\n" ],
        [ 'deep arrays', qr/invalid reply/, "*1\r\n" x 1000 ],
        [ 'an array in another', qr/invalid reply/, "*1\r\n*1\r\n:1\r\n" ],
        [ 'an endless line', qr/invalid reply/, '+' . 'x' x 200000 ],
        [ 'nonsense', qr/invalid reply/, join '', map { chr } 0 .. 255 ],
    ) {
        my ($name, $line, @octets) = @$case;
        my ($port, $pid) = impostor(@octets);

        my $host = host("redis://127.0.0.1:$port");

        $host->allow(qr/message queue/);
        ok($host->wait_log($line, 20), "$name is found out")
            or diag $host->log;
        is(emit($host, 1), 0, 'and nginx serves');

        $host->stop;
        kill 'TERM', $pid;
        waitpid $pid, 0;
    }
};


subtest 'descriptors' => sub {
    my $redis = SIO::Redis->new->start;
    my $host = host($redis->url);

    up($host);

    my ($bridge) = $host->log =~ /(\d+)#\d+: this worker serves/;
    my $open = sub { scalar(() = glob "/proc/$bridge/fd/*") };
    my $before = $open->();

    for (1 .. 10) {
        $redis->command('CLIENT', 'KILL', 'TYPE', $_) for qw(pubsub normal);
        sleep 0.3;
    }

    $host->allow(qr/message queue/);

    ok(wait_until(20 * scale(), sub {
        status($host)->{queues}{up}{ $redis->url . ' test' }
            && $open->() <= $before;
    }), 'do not grow with lost connections');

    $host->reload;
    ok(wait_until(20 * scale(), sub { !$host->draining }),
       'an old worker does not stay for a queue');

    $host->stop;
    $redis->stop;
};


# Mistakes are found before nginx starts.

subtest 'nginx -t' => sub {
    for my $case (
        [ 'http://localhost' => qr/unknown message queue "http:/ ],
        [ 'redis://h:port' => qr/invalid port in "redis:/ ],
        [ 'redis://localhost/x' => qr/invalid database "x"/ ],
        [ 'redis://localhost?timeout=5' => qr/invalid option "timeout"/ ],
        [ 'redis://user@localhost' => qr/user without a password/ ],
        [ 'redis://:%zz@localhost' => qr/invalid escape in the login/ ],
        [ 'redis://localhost?ssl_cert_reqs=none' => qr/which is without/ ],
        [ 'unix://relative' => qr/invalid path/ ],
        [ 'redis://no-such-host.invalid' => qr/host not found/ ],
        [ 'rediss://localhost?ssl_ca_certs=/nowhere' => qr/\/nowhere/ ],
        [ 'redis://localhost format=perl' =>
          qr/invalid parameter "format=perl"/ ],
        [ 'redis://localhost channel=' => qr/invalid parameter "channel="/ ],
        [ 'redis://localhost dialect=6' =>
          qr/invalid parameter "dialect=6"/ ],
        [ 'redis://localhost forward=maybe' =>
          qr/invalid parameter "forward=maybe"/ ],
        [ 'redis://localhost zone=other' => qr/zone "other" is not declared/ ],
        [ 'redis://localhost; socketio_message_queue redis://localhost' =>
          qr/already/ ],
    ) {
        my ($parameters, $line) = @$case;

        my ($ok, $said) = SIO::Nginx->new(
            http   => "socketio_message_queue $parameters;",
            server => 'location /socket.io/ { socketio; }')->check;

        like($said, $line, $parameters);
    }
};


done_testing();
