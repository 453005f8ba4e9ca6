#!/usr/bin/perl

# Whom an emit, join, leave or disconnect of the API reaches on all workers, and
# whether the number it tells is true: also when a worker is stopped, dies, or
# drains, and when the log is full.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::API;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $workers = 4;

my $nginx = SIO::Nginx->new(
    workers => $workers,
    http    => '    socketio_zone small 1m;',
    server  => <<'EOS',
        allow 127.0.0.1;
        deny all;
        client_max_body_size 16m;

        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat ~^/tenant-[0-9]+$;
            socketio_send_buffer 64m;
            socketio_ping_interval 5m;
        }

        location /_api/  { socketio_api; }
        location /small/ { socketio_api zone=small; }

        location /small-socket.io/ {
            socketio zone=small;
            socketio_max_payload 10k;
            socketio_send_buffer 64m;
            socketio_ping_interval 5m;
        }
EOS
)->start;

my $api = SIO::API->new(nginx => $nginx);


sub call {
    return $api->call(@_);
}


sub matched {
    return $api->matched(@_);
}


sub client {
    return $api->client(@_);
}


sub received {
    return $api->received(@_);
}


sub sids {
    return $api->sids(@_);
}


# A call, how many it shall match, and which of the clients shall get it.

sub reaches {
    my ($title, $all, $expected, %target) = @_;

    my $event = delete $target{event} // 'event';
    my $matched = matched('emit', { event => $event, args => [ $title ],
                                    %target });

    is($matched, @$expected, "$title: matched");

    my %expected = map { $_ => 1 } @$expected;
    my @got = received(@$all);
    my @wrong;

    for my $i (0 .. $#$all) {
        my $want = $expected{$all->[$i]} ? [ [ $event, $title ] ] : [];

        push @wrong, "client $i: " . $json->encode($got[$i])
            if $json->encode($got[$i]) ne $json->encode($want);
    }

    is("@wrong", '', "$title: received, once, by these and no others");
}


my @pids = $nginx->workers;
my (@all, @ws, @polling, @chat);

for my $pid (@pids) {
    push @ws, client($pid, 'websocket', '/') for 1 .. 2;
    push @polling, client($pid, 'polling', '/');
    push @chat, client($pid, 'websocket', '/chat');
}

@all = (@ws, @polling);


subtest 'everybody, on all workers' => sub {
    is(keys %{ { map { $api->home($_) => 1 } @all } }, $workers,
       'the clients are spread');

    reaches('no "to"', \@all, \@all);
    reaches('an empty list', \@all, \@all, to => []);
    reaches('null', \@all, \@all, to => undef, except => undef);
    reaches('"/" by name', \@all, \@all, namespace => '/');
    reaches('another namespace', [ @all, @chat ], \@chat,
            namespace => '/chat');
    reaches('a namespace without clients', [ @all, @chat ], [],
            namespace => '/tenant-1');

    for my $pid (@pids) {
        my $at = $nginx->connect_to($pid);

        is(matched('emit', { event => 'x' }, http => $at), @all,
           'asked at any worker');
    }

    received(@all);
};


my %even = map { $all[$_] => 1 } grep { $_ % 2 == 0 } 0 .. $#all;
my @even = grep { $even{$_} } @all;
my @odd = grep { !$even{$_} } @all;

subtest 'rooms' => sub {
    is(matched('join', { in => sids(@even), rooms => [ 'even', 'both' ] }),
       @even, 'join by sids');
    is(matched('join', { in => sids(@odd), rooms => 'odd' }), @odd,
       'a single room as a string');
    is(matched('join', { in => 'odd', rooms => 'both' }), @odd,
       'join by a room');
    is(matched('join', { in => 'odd', rooms => 'both' }), @odd,
       'twice is no error');
    is(matched('join', { in => [], rooms => 'everybody' }), @all,
       'an empty list is everybody');
    is(matched('join', { in => 'nobody', rooms => 'x' }), 0, 'an empty room');
    is(matched('join', { in => sids($chat[0]), rooms => 'even' }), 0,
       'a sid of another namespace');
    is(matched('join', { in => sids($chat[0]), rooms => 'even',
                         namespace => '/chat' }), 1, 'in its own namespace');

    my $unicode = "r\x{e4}um \x{1f600}\x00\"\\";

    is(matched('join', { in => sids($all[0]), rooms => [ $unicode ] }), 1,
       'any characters');

    reaches('a room', [ @all, @chat ], \@even, to => 'even');
    reaches('the room of that name elsewhere', [ @all, @chat ], [ $chat[0] ],
            to => 'even', namespace => '/chat');
    reaches('a list', \@all, \@odd, to => [ 'odd' ]);
    reaches('a sid', \@all, [ $all[3] ], to => sids($all[3])->[0]);
    reaches('sids on several workers', \@all, [ @all[1, 4, 7, 9] ],
            to => sids(@all[1, 4, 7, 9]));
    reaches('C110: in several rooms, once', \@all, \@all,
            to => [ 'even', 'odd', 'both', 'everybody', @{ sids(@all) } ]);
    reaches('C110: the same room twice', \@all, \@even,
            to => [ 'even', 'even' ]);
    reaches('a room and a sid', \@all, [ @even, $odd[2] ],
            to => [ 'even', sids($odd[2])->[0] ]);
    reaches('an unknown room', \@all, [], to => 'nobody');
    reaches('any characters', \@all, [ $all[0] ], to => $unicode);
    reaches('C110: except a room', \@all, \@odd, except => 'even');
    reaches('except a sid', \@all, [ @all[1 .. $#all] ],
            except => sids($all[0])->[0]);
    reaches('except several', \@all, [ @odd[2 .. $#odd] ],
            to => 'both', except => [ 'even', @{ sids(@odd[0, 1]) } ]);
    reaches('except all', \@all, [], except => [ 'even', 'odd' ]);
    reaches('except nobody', \@all, \@all, except => [ 'nobody' ]);
    reaches('except has priority', \@all, [], to => 'even',
            except => 'even');
};


subtest 'leaving rooms' => sub {
    is(matched('leave', { in => sids($even[0]), rooms => 'both' }), 1,
       'by sid');
    reaches('one has left', \@all,
            [ grep { $_ != $even[0] } @all ], to => 'both');

    is(matched('leave', { in => 'even', rooms => [ 'even', 'both' ] }),
       @even, 'by the room that is left');
    reaches('all have left', \@all, [], to => 'even');
    reaches('both rooms', \@all, \@odd, to => 'both');

    is(matched('leave', { in => 'odd', rooms => 'never joined' }), @odd,
       'matched, though nothing was left');
    is(matched('leave', { in => [], rooms => 'everybody' }), @all,
       'an empty list is everybody');
    reaches('nobody is left', \@all, [], to => 'everybody');

    # every socket is in the room of its sid, and can leave that, too
    my $sid = sids($all[5])->[0];

    is(matched('leave', { in => $sid, rooms => $sid }), 1, 'its own room');
    reaches('has left its own room', \@all, [], to => $sid);
    is(matched('join', { in => 'odd', rooms => $sid }), @odd,
       'a sid as a room');
    reaches('a sid as a room', \@all, \@odd, to => $sid);
    is(matched('leave', { in => 'odd', rooms => $sid }), @odd, 'and out');
};


subtest 'arguments arrive with their bytes' => sub {
    my $raw = '[1.0, 12345678901234567890,-0,1e400 ,"\u00e9\/",'
              . '{"b":1,"a":2,"b":3},[],{} , null]';

    call('emit', qq({"event":"r\\u0061w","args":$raw,"to":["odd"]}));

    my $inside = substr $raw, 1, -1;

    for my $c (@odd) {
        my $packet = $c->packet;

        like($packet->{text}, qr/^42\["(?:raw|r\\u0061w)",\Q$inside\E\]\z/,
             $c->eio->{ws} ? 'WebSocket' : 'polling');
    }

    call('emit', '{"event":"bare","to":"odd"}');
    is($_->packet->{text}, '42["bare"]', 'no arguments') for @odd[0, -1];

    call('emit', '{"event":"chat","args":[1],"namespace":"/chat"}');
    is($_->packet->{text}, '42/chat,["chat",1]', 'namespace') for @chat[0, 1];

    received(@all, @chat);
};


subtest 'attachments' => sub {
    my @octets = ("\x00\x01\xff", '', join '', map { chr } 0 .. 255);

    is(matched('emit', {
        event       => 'files',
        args        => [ 'a', { b => [ { _placeholder => JSON::PP::true,
                                         num => 0 } ] },
                         map { { _placeholder => JSON::PP::true,
                                 num => $_ } } 1, 2, 0 ],
        attachments => [ map { encode_base64($_, '') } @octets ],
    }), @all, 'matched');

    for my $c (@all) {
        my $packet = $c->packet;

        is($packet->{type}, 5, 'a binary event');
        is($packet->{expected}, 3, 'three attachments');
        ok($json->encode([ map { unpack 'H*', $_ }
                           @{ $packet->{attachments} } ])
           eq $json->encode([ map { unpack 'H*', $_ } @octets ]),
           $c->eio->{ws} ? 'WebSocket' : 'polling');
    }
};


subtest 'volatile' => sub {
    my $emit = sub {
        return matched('emit', { event => $_[0], to => sids($_[1]),
                                 volatile => JSON::PP::true });
    };

    for my $c (@polling) {
        $emit->(dropped => $c) for 1 .. 3;

        is_deeply(received($c), [], 'C111: without a waiting poll');

        # a poll that waits in whichever worker it came to
        my $poll = $c->eio->{pending} = $c->eio->get_start;

        ok(!$poll->ready, 'a poll waits');

        # that it waits where its session is, is seen by nobody but the session
        wait_until(2, sub { select undef, undef, undef, 0.1; 1 });

        is($emit->(one => $c), 1, 'matched');
        is_deeply($c->event('one'), [ 'one' ], 'with a waiting poll');

        $emit->(two => $c);
        is_deeply(received($c), [], 'the poll was used up');
    }

    for my $c (@ws[0, -1]) {
        $emit->(one => $c);
        is_deeply($c->event('one'), [ 'one' ], 'an idle WebSocket');
    }
};


# Callers at all workers, clients at all workers: one order for all of them.

subtest 'one order' => sub {
    my @callers = map { $nginx->connect_to($_) } @pids, @pids;
    my $rounds = 50;
    my $wrong = 0;

    for my $round (1 .. $rounds) {
        my @calls = map {
            my $room = $_ % 2 ? 'odd' : undef;

            $callers[$_]->start('POST', '/_api/emit', body => $json->encode({
                event => 'n', args => [ $_, $round ],
                $room ? (to => $room) : (),
            }));
        } 0 .. $#callers;

        for my $i (0 .. $#calls) {
            my $r = $calls[$i]->wait;

            $wrong++ if $r->{status} != 200 || $r->json->{matched}
                        != ($i % 2 ? @odd : @all);
        }
    }

    is($wrong, 0, 'all matched');

    my %seen;
    my @got = received(@all);

    for my $i (0 .. $#all) {
        my $c = $all[$i];
        my $kind = $even{$c} ? 'not in the room' : 'in the room';

        is(@{ $got[$i] }, $rounds * ($even{$c} ? 4 : 8), 'all have come');
        $seen{$kind}{ $json->encode($got[$i]) }++;
    }

    for my $kind (sort keys %seen) {
        is(keys %{ $seen{$kind} }, 1, "$kind: all in the same order");
    }

    my ($odd) = grep { !$even{$all[$_]} } 0 .. $#all;
    my ($even) = grep { $even{$all[$_]} } 0 .. $#all;

    is($json->encode([ grep { $_->[1] % 2 == 0 } @{ $got[$odd] } ]),
       $json->encode($got[$even]), 'and the same without the room');

    my %last;

    is(scalar(grep { $_->[2] != ++$last{$_->[1]} } @{ $got[$odd] }), 0,
       'each caller in its own order');
};


subtest 'many callers at once' => sub {
    my $clients = SIO::HTTP->new(port => $nginx->port);

    for my $round (1 .. 3) {
        my @calls = map {
            $clients->start('POST', '/_api/emit',
                            body => '{"event":"many","to":"odd"}')
        } 1 .. 100;

        my %got;

        $got{ $_->wait->{body} }++ for @calls;

        is_deeply(\%got, { '{"matched":' . @odd . '}' => 100 },
                  'a hundred answers');
    }

    my @got = received(@odd);

    is(join(' ', map { scalar @$_ } @got), join(' ', (300) x @odd),
       'three hundred events');
};


# The zone of 16 MB takes almost 2 MB at once.

subtest 'large emits' => sub {
    my $kept = SIO::HTTP->new(port => $nginx->port, keepalive => 1);
    my ($fits, $not) = (1_000_000, 8_000_000);

    while ($not - $fits > 1) {
        my $size = int(($fits + $not) / 2);
        my $answer = call('emit', '{"event":"large","to":"nobody","args":["'
                                  . 'x' x $size . '"]}', http => $kept);

        if (ref $answer) {
            $fits = $size;

        } else {
            $not = $size;
            is($answer, '413 too_large', "$size bytes");
        }
    }

    cmp_ok($fits, '>', 1_500_000, "$fits bytes fit");

    my $text = 'x' x ($fits - 1000);

    is(matched('emit', { event => 'large', args => [ $text ] },
               http => $kept), @all, 'matched');

    # not decoded: that takes a pure Perl parser more than a second
    for my $c (@all) {
        my $packet;

        do {
            $packet = $c->eio->next(20);
        } while (defined $packet && $packet =~ /^42\["mark /);

        ok(defined $packet && $packet eq qq(42["large","$text"]),
           $c->eio->{ws} ? 'WebSocket' : 'polling');
    }

    # A poll at another worker is answered with base64, a third longer, through
    # the same log: what the log took must come through there, too.
    my $head = '{"event":"large","args":[{"_placeholder":true,"num":0}],';
    my $emit = sub {
        my ($octets, @rest) = @_;

        return call('emit', $head . join(',', @rest, '"attachments":["'
                    . encode_base64($octets, '') . '"]}'), http => $kept);
    };

    ($fits, $not) = (1_000_000, 8_000_000);

    while ($not - $fits > 1) {
        my $size = int(($fits + $not) / 2);

        ($emit->('x' x $size, '"to":"nobody"') =~ /413/ ? $not : $fits) = $size;
    }

    my $octets = pack 'L*', 1 .. $fits / 4;

    is($emit->($octets)->{matched}, @all, "an attachment of $fits bytes");

    for my $c (@all) {
        my $packet = $c->wait_for(sub { $_[0]{data}[0] eq 'large' }, 20);

        ok($packet && $packet->{attachments}[0] eq $octets,
           $c->eio->{ws} ? 'WebSocket' : 'polling');
    }
};


subtest 'disconnect' => sub {
    my $c = client($pids[0], 'websocket', '/');
    my $p = client($pids[1], 'polling', '/');

    $_->join('/chat') for $c, $p;

    for my $one ($c, $p) {
        is(matched('disconnect', { in => $one->sid('/') }), 1, 'by sid');
        is($one->packet->{text}, '41', 'the client is told');
        is(matched('emit', { event => 'a', to => $one->sid('/') }), 0,
           'is no longer matched');
        is(matched('disconnect', { in => $one->sid('/') }), 0,
           'is gone already');
        is(matched('emit', { event => 'still', to => $one->sid('/chat'),
                             namespace => '/chat' }), 1,
           'the other namespace stays');
        is_deeply($one->event('still'), [ 'still' ], 'and works');
    }

    $_->join('/') for $c, $p;

    is(matched('join', { in => sids($c, $p), rooms => 'go' }), 2, 'a room');
    is(matched('disconnect', { in => 'go', close => JSON::PP::true }), 2,
       'with the connection');

    # C105
    my %told = map { $_ => 1 } map { $c->packet->{text} } 1 .. 2;

    is_deeply(\%told, { '41' => 1, '41/chat,' => 1 }, 'both namespaces');
    ok($c->eio->{ws}->wait_close, 'WebSocket is closed');

    my @packets = $p->eio->poll;

    is_deeply([ sort @packets ], [ '41', '41/chat,' ], 'polling is told');
    is($p->eio->get->{body}, '1', 'and closed');
    is($p->eio->get->{status}, 400, 'its session is gone');

    is(matched('disconnect', { in => [], namespace => '/chat' }), @chat,
       'a whole namespace');
    is($_->packet->{text}, '41/chat,', 'told') for @chat;
    reaches('the others are still there', \@all, \@all);

    $_->join('/chat') for @chat;
    is(matched('emit', { event => 'back', namespace => '/chat' }), @chat,
       'may come back');
    received(@chat);
};


# A worker that does not answer: the rest counts, and the answer says that it
# is not all.

subtest 'a stopped worker' => sub {
    my ($here, $stopped) = @pids;
    my $caller = $nginx->connect_to($here);
    my $leaver = $nginx->connect_to($here);
    my $second = $nginx->connect_to($pids[2]);

    $nginx->kill_worker('STOP', $stopped);

    my $start = time;

    my $call = $caller->start('POST', '/_api/emit', body => '{"event":"a"}');
    my $other = $second->start('POST', '/_api/join',
                               body => '{"in":[],"rooms":"late"}');
    my $left = $leaver->start('POST', '/_api/emit', body => '{"event":"b"}');

    # somebody who does not wait
    wait_until(1, sub { select undef, undef, undef, 0.2; 1 });
    $left->abort;

    my $expected = @all - $api->at($stopped, @all);

    is($call->wait(15)->{body}, qq({"matched":$expected,"complete":false}),
       'the others are counted');
    is($other->wait(15)->{body}, qq({"matched":$expected,"complete":false}),
       'in another worker, too');

    my $took = time - $start;

    cmp_ok($took, '>', 4.5, 'it was waited for');
    cmp_ok($took, '<', 8 * scale(), 'not for ever');

    $call = $caller->start('POST', '/_api/emit', body => '{"event":"c"}');

    $nginx->kill_worker('CONT', $stopped);

    is($call->wait(15)->{body}, '{"matched":' . @all . '}',
       'complete as soon as it goes on');

    my @got = received(@all);
    my $want = $json->encode([ map { [ $_ ] } qw(a b c) ]);

    is(scalar(grep { $json->encode($_) ne $want } @got), 0,
       'its clients have got everything by now');

    is(matched('emit', { event => 'late', to => 'late' }), @all,
       'and joined');
    received(@all);
};


subtest 'a full log' => sub {
    my ($here, $stopped) = @pids;
    my $small = SIO::API->small(nginx => $nginx);
    my $c = $small->client($stopped, 'websocket', '/', timeout => 10);
    my @callers = map { $nginx->connect_to($here) } 1 .. 30;
    my $body = $json->encode({ event => 'fill', args => [ 'x' x 30_000 ] });

    $nginx->kill_worker('STOP', $stopped);

    my @calls = map { $_->start('POST', '/small/emit', body => $body) }
                @callers;

    my @busy;

    wait_until(5, sub {
        @busy = grep { $_->ready && $_->{response}{status} == 503 } @calls;
    });

    cmp_ok(scalar @busy, '>', 0, scalar(@busy) . ' calls were refused');

    $nginx->kill_worker('CONT', $stopped);

    my ($sent, $refused) = (0, 0);

    for my $call (@calls) {
        my $r = $call->wait(15);

        if ($r->{status} == 200) {
            is($r->{body}, '{"matched":1}', 'matched');
            $sent++;

        } else {
            is(SIO::API::answer($r), '503 busy', 'refused');
            is($r->{headers}{'retry-after'}, 1, 'Retry-After');
            $refused++;
        }
    }

    cmp_ok($sent, '>', 0, "$sent calls were taken");

    my ($got) = $small->received($c);

    is_deeply([ map { ref ? $_->[0] : $_ } @$got ], [ ('fill') x $sent ],
              'what was taken has come, what was refused has not');
};


subtest 'a worker that dies' => sub {
    my ($here, $dead) = @pids;
    my $caller = $nginx->connect_to($here);
    my $lost = $api->at($dead, @all);
    my $rest = @all - $lost;

    # it cannot answer, and its death is all that the call can learn
    $nginx->kill_worker('STOP', $dead);

    my $start = time;
    my $call = $caller->start('POST', '/_api/emit', body => '{"event":"a"}');

    wait_until(1, sub { select undef, undef, undef, 0.2; 1 });
    ok(!$call->ready, 'the call waits');

    $nginx->kill_worker('KILL', $dead);

    is($call->wait->{body}, qq({"matched":$rest,"complete":false}),
       'what its sockets have got is not known');
    cmp_ok(time - $start, '<', 4.5 * scale(), 'it was not waited for');

    @all = grep { $api->home($_) != $dead } @all;

    is_deeply([ received(@all) ], [ map { [ [ 'a' ] ] } @all ],
              'the others got it');

    # killed while calls come in at all others
    my ($next) = grep { $_ != $here && $_ != $dead } @pids;
    my @callers = map { $nginx->connect_to($_) }
                  (grep { $_ != $dead && $_ != $next } @pids) x 3;
    my %answers;

    for my $round (1 .. 40) {
        my @calls = map {
            $_->start('POST', '/_api/emit', body => '{"event":"b"}')
        } @callers;

        kill 'KILL', $next if $round == 20;

        for my $call (@calls) {
            my $r = $call->wait(10);

            $answers{$r->{body}}++ if $round < 20 || $round > 30;
            $answers{$r->{status}}++;
        }
    }

    $nginx->allow(qr/worker process $next exited on signal/);

    my $before = @all;

    @all = grep { $api->home($_) != $next } @all;

    is($answers{200}, 40 * @callers, 'all answered');
    is($answers{"{\"matched\":$before}"}, 19 * @callers, 'with it');
    is($answers{'{"matched":' . @all . '}'}, 10 * @callers, 'without it');

    my @got = received(@all);

    is(scalar(grep { @$_ != 40 * @callers } @got), 0,
       'the others got everything');

    wait_until(10, sub { $nginx->workers == $workers });

    @pids = $nginx->workers;
    my %served = map { $api->home($_) => 1 } @all;

    push @all, client($_, 'websocket', '/') for grep { !$served{$_} } @pids;

    reaches('with the new workers', \@all, \@all);
};


subtest 'a reload under a call that waits' => sub {
    my ($here, $stopped) = @pids;
    my $caller = $nginx->connect_to($here);

    $nginx->kill_worker('STOP', $stopped);

    my $call = $caller->start('POST', '/_api/emit', body => '{"event":"a"}');

    # the stopped worker hears nothing of it yet
    my %old = map { $_ => 1 } $nginx->workers;

    $nginx->signal('HUP');

    ok(wait_until(10, sub {
           grep({ !$old{$_} } $nginx->workers) == $workers
           && $nginx->draining == $workers - 1
       }), 'the others drain');
    ok(!$call->ready, 'the call waits');

    $nginx->kill_worker('CONT', $stopped);

    is($call->wait(15)->{body}, '{"matched":' . @all . '}', 'is answered');

    # the clients are still in the old workers
    received(@all);
    reaches('old and new workers', \@all, \@all);

    $_->disconnect for @all, @chat;

    ok(wait_until(15, sub { !$nginx->draining }), 'the old workers leave');
};


$nginx->stop;

done_testing;
