#!/usr/bin/perl

# API calls while sessions change their worker: the log has commands between
# the place where a session was saved and the one where it is taken up, and what
# these have done is told, once, as if it had been somewhere all the time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::API;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(wait_until);
use SIO::WS;
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $workers = 4;

my $nginx = SIO::Nginx->new(workers => $workers, server => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
            socketio_ping_interval 5m;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS

my $api = SIO::API->new(nginx => $nginx);
my @pids = $nginx->workers;


# Sessions that are asked for by other workers, and commands behind that in
# the log.  The worker that has them is stopped meanwhile, so this is their
# order.  The commands are sent by all others, and answered when it goes on.

sub while_moving {
    my ($clients, @commands) = @_;

    my ($old, @others) = @pids;

    # whoever connects to a stopped worker waits for it
    my %beside = map { $_ => $nginx->connect_to($_) } @others;
    my @upgrades = map { $nginx->connect_to($others[$_ % @others]) }
                   0 .. $#$clients;
    my @callers = map {
        $nginx->connect_to($others[$_ % @others], timeout => 20)
    } 0 .. $#commands;

    # what a worker is asked later is answered after what it was asked before
    my $settled = sub { $beside{$_}->get('/_pid') for (@others) x 2 };

    $nginx->kill_worker('STOP', $old);

    my @moves = map { $api->move($clients->[$_], $upgrades[$_]) }
                0 .. $#$clients;

    $settled->();

    my @calls = map {
        my ($call, $body) = @{ $commands[$_] };
        my $http = $callers[$_];

        my $pending = ref $body ? $api->start($call, $body, http => $http)
                                : $http->start('GET', "/_api/$call");
        $settled->();
        $pending;
    } 0 .. $#commands;

    is(scalar(grep { $_->ready } @calls), 0, 'nobody is answered yet');

    $nginx->kill_worker('CONT', $old);

    my @answers = map {
        my $r = $_->wait(20) // { status => 'no answer' };
        $r->{status} == 200 ? $r->json : "$r->{status} $r->{body}";
    } @calls;

    for my $pending (@moves) {
        my $r = $pending->wait(20);

        is($r && $r->{status}, 101, 'moved');
        $pending->close;
    }

    return @answers;
}


sub polling {
    my ($n) = @_;

    return map { $api->client($pids[0], 'polling', '/') } 1 .. $n;
}


my @still = map { $api->client($_, 'websocket', '/') } @pids;


subtest 'emit' => sub {
    my @moving = polling(5);

    is($api->matched('join', { in => $api->sids(@moving), rooms => 'go' }), 5,
       'a room');

    my @answers = while_moving(\@moving,
        [ emit => { event => 'room', to => 'go' } ],
        [ emit => { event => 'all' } ],
        [ emit => { event => 'one', to => $api->sids($moving[0]) } ],
        [ emit => { event => 'others', except => 'go' } ],
        [ emit => { event => 'nobody', to => 'nobody' } ],
    );

    is_deeply(\@answers, [ map { { matched => $_ } } 5, 9, 1, 4, 0 ],
              'all of them are counted, once');

    is_deeply([ $api->received(@moving) ],
              [ [ ['room'], ['all'], ['one'] ],
                map { [ ['room'], ['all'] ] } 1 .. 4 ],
              'and have got it, once');

    $_->disconnect for @moving;
    $api->received(@still);
};


subtest 'join and leave' => sub {
    my @moving = polling(4);
    my $sids = $api->sids(@moving);

    my @answers = while_moving(\@moving,
        [ join  => { in => $sids, rooms => 'a' } ],
        [ join  => { in => 'a', rooms => [ 'b', 'c' ] } ],
        [ leave => { in => $sids->[0], rooms => 'a' } ],
        [ emit  => { event => 'a', to => 'a' } ],
        [ emit  => { event => 'b', to => 'b' } ],
        [ leave => { in => 'c', rooms => 'b' } ],
        [ emit  => { event => 'b again', to => 'b' } ],
    );

    is_deeply(\@answers, [ map { { matched => $_ } } 4, 4, 1, 3, 4, 4, 0 ],
              'counted');

    is($api->matched('emit', { event => 'c', to => 'c' }), 4, 'still there');
    is_deeply([ $api->received(@moving) ],
              [ [ ['b'], ['c'] ], map { [ ['a'], ['b'], ['c'] ] } 1 .. 3 ],
              'in and out');

    $_->disconnect for @moving;
};


subtest 'disconnect' => sub {
    my @moving = polling(4);

    $_->join('/chat') for @moving;

    my @answers = while_moving(\@moving,
        [ disconnect => { in => $api->sids(@moving[0, 1]) } ],
        [ disconnect => { in => $api->sids(@moving[0, 1]) } ],
        [ emit       => { event => 'a', except => $api->sids(@still) } ],
        [ disconnect => { in => [ $moving[2]->sid('/chat') ], close => \1,
                          namespace => '/chat' } ],
        [ emit       => { event => 'chat', namespace => '/chat' } ],
    );

    is_deeply(\@answers, [ map { { matched => $_ } } 2, 0, 2, 1, 3 ],
              'counted');

    for my $c (@moving[0, 1]) {
        is($c->packet->{text}, '41', 'one has left the namespace');
        is($c->packet->{text}, '42/chat,["chat"]', 'and stays in the other');
    }

    is($moving[3]->packet->{text}, '42["a"]', 'one has not');

    my @last = map { $moving[2]->packet->{text} } 1 .. 3;

    is($last[0], '42["a"]', 'one was closed');
    is_deeply([ sort @last[1, 2] ], [ '41', '41/chat,' ], 'both are told');

    $_->disconnect for @moving[0, 1, 3];
};


subtest 'lists' => sub {
    my @moving = polling(3);
    my $sids = $api->sids(@moving);
    my $last = $moving[-1]->sid;

    my @answers = while_moving(\@moving,
        [ join => { in => $sids, rooms => 'listed' } ],
        [ 'sockets' ],
        [ 'sockets?room=listed' ],
        [ 'rooms' ],
        [ "sockets/$last" ],
        [ disconnect => { in => $last } ],
        [ "sockets/$last" ],
        [ 'sockets?room=listed&limit=1' ],
        [ 'rooms' ],
    );

    my $sids_of = sub { [ sort map { $_->{sid} } @{ $_[0]{sockets} } ] };
    my $rooms_of = sub {
        return { map { $_->{name} => $_->{sockets} } @{ $_[0]{rooms} } };
    };

    is_deeply($sids_of->($answers[1]),
              [ sort @{ $api->sids(@still, @moving) } ], 'everybody');
    is_deeply($sids_of->($answers[2]), [ sort @$sids ], 'of a room');
    is($rooms_of->($answers[3])->{listed}, 3, 'counted in their room');
    is_deeply($answers[4]{rooms}, [ $last, 'listed' ], 'one alone');
    like($answers[6], qr/^404 .*"unknown_socket"/, 'that has left');
    is(@{ $answers[7]{sockets} }, 1, 'a page');
    ok($answers[7]{cursor}, 'of several');
    is($rooms_of->($answers[8])->{listed}, 2, 'counted without it');
    is(scalar(grep { ref && exists $_->{complete} && !$_->{complete} }
              @answers), 0, 'all of it complete');

    $_->disconnect for @moving[0, 1];
};


# The same by chance: sessions that never rest, and calls at all workers.

subtest 'sessions that never rest' => sub {
    my $answers = $nginx->prefix . '/answers';
    my @moving = map { $api->client($pids[$_ % @pids], 'polling', '/') }
                 0 .. 5;

    is($api->matched('join', { in => $api->sids(@moving), rooms => 'm' }), 6,
       'a room');

    pipe my $reader, my $writer or die $!;

    my $child = fork // die "fork: $!";

    if (!$child) {
        close $writer;
        caller_of($answers, $reader);
        require POSIX;
        POSIX::_exit(0);
    }

    close $reader;

    my %moved;

    for my $round (1 .. 60) {
        for my $i (0 .. $#moving) {
            my $c = $moving[$i];
            my $pid = $pids[($i + $round) % @pids];

            # leaves the session with polling, where it is by now
            my $ws = SIO::WS->connect(path => $c->eio->url('websocket'),
                                      http => $nginx->connect_to($pid));
            $ws->drop;
            $moved{$pid}++;
        }
    }

    close $writer;
    waitpid $child, 0;

    my %seen = %{ $json->decode(SIO::Util::read_file($answers)) };

    is(scalar(keys %moved), $workers, '360 moves to all workers');
    cmp_ok($seen{'{"matched":6}'} // 0, '>', 100, 'calls of one in a room');
    delete $seen{'{"matched":6}'};
    is_deeply(\%seen, {}, 'each of them has matched all');

    $_->disconnect for @moving;
};


# Calls until the other end of the pipe is closed; what was answered and how
# often becomes a file.

sub caller_of {
    my ($file, $reader) = @_;

    my @callers = map { $nginx->connect_to($_, timeout => 20) } @pids, @pids;
    my %seen;

    for ( ;; ) {
        my @calls = map {
            $_->start('POST', '/_api/join',
                      body => '{"in":"m","rooms":"n"}')
        } @callers;

        $seen{ $_->wait(20)->{body} }++ for @calls;

        my $ready = '';
        vec($ready, fileno $reader, 1) = 1;

        last if select $ready, undef, undef, 0;
    }

    SIO::Util::write_file($file, $json->encode(\%seen));
}


$nginx->stop;

done_testing;
