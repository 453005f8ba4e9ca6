#!/usr/bin/perl

# Three hosts behind a balancer that gives each request to the next one: a
# hundred official clients in all ways are connected, stay so, and hear
# everything once, whatever becomes of the connections between the hosts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Redis;
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical;

my $redis = SIO::Redis->new->start;
my $backend = SIO::Backend->new->start;

$backend->on({ type => 'event', event => 'echo' },
             { json => { ack => '%args%' } });
$backend->on({ type => 'event', event => 'say' }, { json => {
    emit => [ { event => 'm', args => '%args%', broadcast => \1 } ] } });

my @hosts = map { SIO::Nginx->new(
    workers => 2,
    http    => 'socketio_message_queue ' . $redis->url . '; '
               . "upstream app { server @{[ $backend->address ]}; "
               . 'keepalive 8; }',
    server  => <<'EOS')->start } 1 .. 3;
        location /socket.io/ {
            socketio;
            socketio_webhook        /_hook;
            socketio_ping_interval  3s;
            socketio_ping_timeout   60s;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /status { socketio_status; }
EOS

my $balancer = SIO::Nginx->new(
    workers => 1,
    http    => 'upstream hosts { '
               . join(' ', map { "server 127.0.0.1:@{[ $_->port ]};" } @hosts)
               . ' } map $http_upgrade $kept { default upgrade; "" ""; }'
               . ' log_format answers "$status $request_method '
               . '$arg_transport $upstream_addr $request_uri";',
    server  => <<'EOS')->start;
        location / {
            access_log %%PREFIX%%/answers answers;
            proxy_pass http://hosts;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $kept;
            proxy_next_upstream off;
        }
EOS


# How the balancer's requests were answered.

sub answers {
    open my $log, '<', $balancer->prefix . '/answers' or return;

    return <$log>;
}


ok(wait_until(20 * scale(), sub {
    3 == grep {
        SIO::HTTP->new(port => $_->port)->get('/status')->json->{hosts}{known}
            == 2
    } @hosts;
}), 'three hosts know of each other') or BAIL_OUT($hosts[0]->log);

my %transports = (
    polling   => ['polling'],
    websocket => ['websocket'],
    default   => [ 'polling', 'websocket' ],
);

my @kinds = (('polling') x 34, ('websocket') x 33, ('default') x 33);
my $crowd = SIO::Proc->node('crowd.js',
                            'http://127.0.0.1:' . $balancer->port);
my (%sid, @ends, @acks);


# What the clients tell, until all of it has come.

sub until_all {
    my ($what, $seconds) = @_;

    my $deadline = time + $seconds * scale();

    until ($what->()) {
        return 0 if time > $deadline;

        my $line = $crowd->line(1) // next;
        my $said = $json->decode($line);

        if (exists $said->{connect}) {
            $sid{ $said->{connect} }{ $said->{sid} }++;

        } elsif (exists $said->{disconnect}) {
            push @ends, "$said->{disconnect}: $said->{reason}";

        } elsif (exists $said->{answer}) {
            push @acks, "@{ $said->{answer} }";
        }
    }

    return 1;
}


# Twenty at a time, as they would come.

for my $first (map { $_ * 20 } 0 .. 4) {
    $crowd->send({ start => [ map { { version => 4, timeout => 60000,
        transports => $transports{$_} } } @kinds[$first .. $first + 19] ] });

    until_all(sub { keys %sid >= $first + 20 }, 60);
}

is(keys %sid, 100, 'all are connected');

my @all;

for my $round (1 .. 3) {
    $crowd->send({ call => [ $_, "$round-$_" ] }) for 0 .. 99;
    $crowd->send({ say => [ $_, "s$round-$_" ] }) for map { $_ * 9 } 0 .. 10;
    push @all, map { "s$round-" . $_ * 9 } 0 .. 10;

    for my $i (0 .. 2) {
        for my $n (1 .. 5) {
            my $r = SIO::HTTP->new(port => $hosts[$i]->port, timeout => 20)
                ->post('/_api/emit', $json->encode({
                    event => 'm', args => ["a$round-$i-$n"] }));

            is($r->{status}, 200, 'an emit') if $r->{status} != 200;
            push @all, "a$round-$i-$n";
        }
    }

    ok(until_all(sub { @acks == 100 * $round }, 60),
       "each is answered, $round") or diag scalar @acks;
}

is_deeply([ sort @acks ],
          [ sort map { my $i = $_; map { "$i $_-$i" } 1 .. 3 } 0 .. 99 ],
          'with what it has asked');

my $report;


sub heard_by_all {
    my ($name) = @_;

    wait_until(60 * scale(), sub {
        $crowd->send({ report => 1 });
        $report = $crowd->json_with('report')->{report};

        return !grep { @$_ < @all } @$report;
    });

    my $expected = join ' ', sort @all;

    is_deeply([ grep { join(' ', sort @{ $report->[$_] }) ne $expected }
                0 .. 99 ],
              [], $name);
}


heard_by_all('and each has heard everything once');


# Connections to the queue break while polls, bodies and answers go from host to
# host: these are said again, and nothing is done twice.

my %breaks = (
    'subscriptions break' => sub { $redis->command(qw(CLIENT KILL TYPE pubsub)) },
    'publishers break'    => sub { $redis->command(qw(CLIENT KILL TYPE normal)) },
    'Redis begins anew'   => sub { $redis->stop; $redis->start },
);

for my $break (sort keys %breaks) {
    @acks = ();

    for my $round (1 .. 4) {
        $crowd->send({ call => [ $_, "$round-$_" ] }) for 0 .. 99;

        for my $n (1 .. 12) {
            SIO::HTTP->new(port => $hosts[$n % 3]->port, timeout => 20)
                ->post('/_api/emit', $json->encode({
                    event => 'm', args => ["$break $round $n"] }));
            $crowd->send({ say => [ $n, "s $break $round $n" ] });
            push @all, "$break $round $n", "s $break $round $n";

            # what the last one has set in motion is under way
            $breaks{$break}->() if $n == 6;
            select undef, undef, undef, 0.02;
        }
    }

    ok(until_all(sub { @acks >= 400 }, 60), "$break: each is answered")
        or diag scalar @acks;
    is_deeply([ sort @acks ],
              [ sort map { my $i = $_; map { "$i $_-$i" } 1 .. 4 } 0 .. 99 ],
              'with what it has asked, once');
    heard_by_all('and everything is heard, once');
}

# some pings go round
until_all(sub { 0 }, 7 / scale());

is_deeply(\@ends, [], 'nobody was disconnected');
is_deeply([ grep { keys %{ $sid{$_} } != 1 } 0 .. 99 ], [],
          'nor has connected twice');

my @bad = grep { !/^(?:200|101) / } answers();

is_deeply(\@bad, [], 'no request was refused');

# the test is none unless requests go where their sessions are not
my %hosts;

for (answers()) {
    my ($sid) = /[?&]sid=([\w-]+)/ or next;
    my ($address) = /(127\.0\.0\.1:\d+)/;

    $hosts{$sid}{$address}++;
}

cmp_ok(scalar(grep { keys %{ $hosts{$_} } == 3 } keys %hosts), '>=', 30,
       'sessions whose requests went to all hosts');

$crowd->kill;
$balancer->stop;

for my $host (@hosts) {
    $host->allow(qr/message queue/);
    $host->stop;
}

$redis->stop;

done_testing();
