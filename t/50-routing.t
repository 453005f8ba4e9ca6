#!/usr/bin/perl

# Many requests, each on a connection of its own, so that chance decides which
# worker gets it: none is refused, and no session misses a message or sees two
# of them in the wrong order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Handle;
use JSON::PP ();
use POSIX ();
use SIO::Nginx;
use SIO::Util qw(asan scale);
use Socket;
use Test::More;


my $total = asan() ? 20000 : 100000;
my $processes = 4;
my $sessions = 50;          # of each of them
my $timeout = 30;

my $nginx = SIO::Nginx->new(workers => 4, http => <<'EOF', server => <<'EOS');
    log_format routes '$pid $request_method $status $arg_sid';

    map $socketio_reason $request_only {
        ""       1;
        default  "";     # the end of a session
    }
EOF
        access_log off;

        location /socket.io/ {
            socketio;
            access_log %%PREFIX%%/routes.log routes buffer=64k
                       if=$request_only;
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }
EOS

$nginx->start;

my $port = $nginx->port;
my $address = pack_sockaddr_in($port, inet_aton('127.0.0.1'));
my @workers = $nginx->workers;


# One request, sent; and its answer.

sub ask {
    my ($method, $target, $body) = @_;

    socket my $socket, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_RCVTIMEO,
               pack 'l!l!', $timeout * scale(), 0;
    connect $socket, $address or die "connect: $!";

    my $request = "$method $target HTTP/1.1\r\nHost: x\r\n"
                  . "Connection: close\r\n";

    $request .= 'Content-Length: ' . length($body) . "\r\n" if defined $body;
    $request .= "\r\n" . ($body // '');

    syswrite($socket, $request) == length $request or die "write: $!";

    return $socket;
}


sub answer {
    my ($socket) = @_;

    my $answer = '';

    for ( ;; ) {
        my $n = sysread $socket, $answer, 65536, length $answer;

        die "read: $!, after \"$answer\"" if !defined $n;
        last if !$n;
    }

    my ($status, $body) = $answer =~ m{^HTTP/1\.1 (\d+) .*?\r\n\r\n(.*)}s
        or die "no answer: \"$answer\"";

    die "refused: $status $body" if $status != 200;

    return $body;
}


sub open_session {
    my $url = '/socket.io/?EIO=4&transport=polling';
    my ($sid) = answer(ask('GET', $url)) =~ /"sid":"([^"]+)"/;

    my $s = { url => "$url&sid=$sid", expected => 1, pong => 0 };

    answer(ask('POST', $s->{url}, '40'));

    my $connected = answer(ask('GET', $s->{url}));
    ($s->{socket}) = $connected =~ /^40\{"sid":"([^"]+)"/
        or die "not connected: $connected";

    return $s;
}


# What a poll has brought: numbers without a gap, and pings.

sub take {
    my ($s, $payload) = @_;

    for my $packet (split /\x1e/, $payload) {
        if ($packet eq '2') {
            $s->{pong} = 1;

        } elsif ($packet eq qq(42["n",$s->{expected}])) {
            $s->{expected}++;

        } else {
            die "$packet instead of $s->{expected}";
        }
    }
}


# All sessions poll, and send meanwhile; then two messages come.

sub turn {
    my ($all, $n) = @_;

    my $requests = 0;

    $_->{poll} = ask('GET', $_->{url}) for @$all;

    my @posts = map { ask('POST', $_->{url}, $_->{pong} ? '3' : qq(42["e",$n])) }
                    @$all;

    $_->{pong} = 0 for @$all;

    for my $post (@posts) {
        my $body = answer($post);
        die "$body instead of ok" if $body ne 'ok';
    }

    $requests += 2 * @$all;

    my $to = join ',', map { qq("$_->{socket}") } @$all;

    for my $number ($n, $n + 1) {
        my $matched = answer(ask('POST', '/_api/emit',
            qq({"event":"n","args":[$number],"to":[$to]})));

        die "$matched" if $matched ne '{"matched":' . @$all . '}';
    }

    for my $s (@$all) {
        take($s, answer($s->{poll}));

        while ($s->{expected} < $n + 2) {
            take($s, answer(ask('GET', $s->{url})));
            $requests++;
        }
    }

    return $requests;
}


sub work {
    my ($share) = @_;

    my @all = map { open_session() } 1 .. $sessions;
    my $requests = 3 * @all;

    for (my $n = 1; $requests < $share; $n += 2) {
        $requests += turn(\@all, $n);
    }

    return $requests;
}


my @pipes;

for (1 .. $processes) {
    pipe my $out, my $in or die "pipe: $!";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        $in->autoflush(1);

        my $requests = eval { work($total / $processes) };
        my $error = $@ =~ s/\s+/ /gr;

        print $in defined $requests ? "$requests\n" : "failed $error\n";
        POSIX::_exit(0);
    }

    close $in;
    push @pipes, [ $out, $pid ];
}

my $requests = 0;

for my $pipe (@pipes) {
    my ($out, $pid) = @$pipe;

    my $said = <$out> // 'nothing';
    waitpid $pid, 0;
    chomp $said;

    like($said, qr/^\d+\z/, "$sessions sessions, each with every message");
    $requests += $said if $said =~ /^\d+\z/;
}

is(join(' ', $nginx->workers), "@workers", 'the workers are the same');
is_deeply([ grep { / \[(?:warn|error)\] / } split /\n/, $nginx->log ], [],
          'no complaints');

# The log is complete when its writers have ended.
$nginx->stop;

my (%workers, %seen);
my $lines = 0;
my $refused = 0;

open my $log, '<', $nginx->prefix . '/routes.log' or die "routes.log: $!";

while (<$log>) {
    my ($pid, $method, $status, $sid) = split;

    $lines++;
    $refused++ if $status != 200;
    $workers{$pid}++;
    $seen{$sid}{$pid}++ if $sid ne '-';
}

cmp_ok($requests, '>=', $total, "$requests requests");
is($lines, $requests, 'all of them arrived');
is($refused, 0, 'none was refused');
is(keys %workers, 4, 'by four workers');
is(keys %seen, $processes * $sessions, 'for all sessions');
is(grep({ keys %$_ < 2 } values %seen), 0,
   'each of which was asked for at several workers');

note(join ', ', map { "$_: $workers{$_}" } sort keys %workers);

done_testing();
