#!/usr/bin/perl

# Acknowledgements through the API: emits that wait for what clients answer, on
# all workers, whatever becomes of clients, workers and callers meanwhile; and
# answers to clients that come later than the reply to their webhook.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use SIO::API;
use SIO::Backend;
use SIO::Proc;
use SIO::Util qw(scale wait_until);
use SIO::WS;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# An answer may take this long; a caller that is not told in time is a failure.
my $patience = 15;

my $backend = SIO::Backend->new->start;

my $nginx = SIO::API->nginx(backend => $backend, server => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
            socketio_ping_interval 5m;
        }

        location /hooked/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 5m;
        }

        location /unheard/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_events connect disconnect;
            socketio_ping_interval 5m;
        }
EOS

my $api = SIO::API->new(nginx => $nginx);
my @pids = $nginx->workers;


# An emit that waits, not waited for.

sub ask {
    my ($body, %option) = @_;

    return $api->start('emit', {
        event => 'ask', ack => $true, timeout => $patience * 1000 * scale(),
        %$body,
    }, %option);
}


# What the call is answered, while clients do what they are told: the function
# gets a client and each of its events.

sub answered {
    my ($pending, $clients, $do) = @_;

    wait_until(2 * $patience, sub {
        for my $c (@$clients) {
            while (my $packet = $c->packet(0)) {
                $do->($c, $packet);
            }
        }

        return $pending->ready;
    });

    my $r = $pending->wait(0) // return 'no answer in time';

    return $r->{status} == 200 ? $r->json : "$r->{status} $r->{body}";
}


sub pong {
    my ($c, $packet) = @_;

    $c->ack($packet, 'pong', $c->sid($c->{nsp})) if defined $packet->{id};
}


# The events that came with an id, for each of the clients; they wait.

sub asked {
    my (@clients) = @_;

    return map {
        $_->wait_for(sub { defined $_[0]{id} && $_[0]{data}[0] eq 'ask' })
            // die 'not asked'
    } @clients;
}


sub by_sid {
    my ($answer) = @_;

    return $answer if !ref $answer;

    return {
        %$answer,
        acks => [ sort { $a->{sid} cmp $b->{sid} } @{ $answer->{acks} } ],
    };
}


sub pongs {
    my (@clients) = @_;

    return [
        sort { $a->{sid} cmp $b->{sid} }
        map { { sid => $_->sid($_->{nsp}),
                args => [ 'pong', $_->sid($_->{nsp}) ] } } @clients
    ];
}


my (@ws, @polling, @chat);

for my $pid (@pids) {
    push @ws, $api->client($pid, 'websocket', '/') for 1, 2;
    push @polling, $api->client($pid, 'polling', '/');
    push @chat, $api->client($pid, 'websocket', '/chat');
}

my @all = (@ws, @polling);


subtest 'everybody answers' => sub {
    for my $pid (@pids) {
        my $pending = ask({}, http => $nginx->connect_to($pid));

        is_deeply(by_sid(answered($pending, \@all, \&pong)),
                  { acks => pongs(@all), complete => $true },
                  'C112: all workers, asked at any');
    }

    my $sids = $api->sids(@all[0, 3, 9]);

    is_deeply(by_sid(answered(ask({ to => $sids }), \@all, \&pong)),
              { acks => pongs(@all[0, 3, 9]), complete => $true }, 'by sid');

    is_deeply(by_sid(answered(ask({ namespace => '/chat' }), \@chat, \&pong)),
              { acks => pongs(@chat), complete => $true },
              'another namespace');

    is_deeply(answered(ask({ to => 'nobody' }), []),
              { acks => [], complete => $true }, 'C112: nobody is asked');

    is_deeply(answered(ask({ ack => $false, to => 'nobody' }), []),
              { matched => 0 }, 'an emit that is not to wait does not');
};


subtest 'what they answer' => sub {
    my ($c, $p) = ($ws[0], $polling[1]);

    for my $one ($c, $p) {
        for my $args ('[]', '[1.0,12345678901234567890,-0,"\u00e9\/"]',
                      '[ {"b":1,"a":2} , null ]', '[[],[[]],{}]')
        {
            my $pending = ask({ to => $api->sids($one) });
            my ($packet) = asked($one);

            $one->eio->send("43$packet->{id}$args");

            my $r = $pending->wait($patience);
            my $sid = $one->sid;

            # the brackets are ours
            my $inside = $args =~ s/^\[\s*|\s*\]$//gr;

            is($r->{body}, qq({"acks":[{"sid":"$sid","args":[$inside]}],)
                           . '"complete":true}', "its own bytes: $args");
        }

        my @octets = ("\x00\xff\x1e", '');
        my $pending = ask({ to => $api->sids($one) });
        my ($packet) = asked($one);

        $one->send_packet(3, '/', $packet->{id},
                          [ 'a', { b => \$octets[0] }, \$octets[1] ]);

        is_deeply($pending->wait($patience)->json, {
            acks => [ {
                sid         => $one->sid,
                args        => [ 'a',
                                 { b => { _placeholder => $true, num => 0 } },
                                 { _placeholder => $true, num => 1 } ],
                attachments => [ map { encode_base64($_, '') } @octets ],
            } ],
            complete => $true,
        }, 'octets');
    }

    my $pending = ask({ to => $api->sids($c),
                        args => [ { _placeholder => $true, num => 0 } ],
                        attachments => [ 'AAEC' ] });
    my ($packet) = asked($c);

    is($packet->{attachments}[0], "\x00\x01\x02", 'asked with octets');
    $c->ack($packet);
    is($pending->wait($patience)->json->{complete}, $true, 'answered');
};


subtest 'who does not answer' => sub {
    my ($silent) = $ws[1];
    my @others = grep { $_ != $silent } @all;
    my $late;

    my $start = time;
    my $pending = ask({ timeout => 2500 });

    my $answer = answered($pending, \@all, sub {
        my ($c, $packet) = @_;

        $c == $silent ? $late = $packet : pong($c, $packet);
    });

    my $took = time - $start;

    is_deeply(by_sid($answer), { acks => pongs(@others), complete => $false },
              'C112: the answers of the others');
    cmp_ok($took, '>=', 2.49, 'it was waited for');

    # nobody waits for it any more, and it disturbs nobody
    $silent->ack($late, 'late');

    $pending = ask({ to => $api->sids($silent) });

    my ($packet) = asked($silent);

    $silent->ack($late, 'late');
    $silent->ack({ %$packet, id => $packet->{id} + 1 }, 'to nobody');
    $silent->ack($packet, 'first');
    $silent->ack($packet, 'second');

    is_deeply($pending->wait($patience)->json, {
        acks     => [ { sid => $silent->sid, args => [ 'first' ] } ],
        complete => $true,
    }, 'the first answer to the question counts');

    is_deeply(answered(ask({ timeout => 1, to => $api->sids($silent) }), []),
              { acks => [], complete => $false }, 'the shortest time');
    asked($silent);

    # many at once, of which one is not answered
    my $kept = $nginx->connect_to($pids[2]);
    my @pending = map { ask({ timeout => 3000, args => [ $_ ],
                              to => $api->sids($ws[4]) }) } 0 .. 9;
    my @got;

    for my $i (0 .. 9) {
        push @got, answered($pending[$i], [ $ws[4] ], sub {
            my ($c, $packet) = @_;

            $c->ack($packet, $packet->{data}[1]) if $packet->{data}[1] != 5;
        });
    }

    is_deeply([ map { $_->{acks}[0]{args}[0] } @got ],
              [ 0 .. 4, undef, 6 .. 9 ], 'each caller has its own answers');
};


# What nobody waits for any more does not stand in the way of what somebody
# does: of one socket 1024 answers are awaited.

subtest 'who never answers' => sub {
    my $c = $api->client($pids[3], 'websocket', '/');
    my $pending = ask({ to => $api->sids($c) });
    my ($packet) = asked($c);

    for (1 .. 3) {
        my $answer = $api->call('batch', [ ({ emit => {
            event => 'ask', to => $api->sids($c), ack => $true, timeout => 1,
        } }) x 1000 ], timeout => $patience);

        is(scalar(grep { !$_->{complete} } @$answer), 1000, 'a thousand');
    }

    $c->ack($packet, 'pong', $c->sid);

    is_deeply($pending->wait($patience)->json,
              { acks => pongs($c), complete => $true },
              'one of three thousand is answered');

    $c->disconnect;
};


# Who has left owes nothing: a caller could not tell it from one that left
# before the call.

subtest 'who leaves' => sub {
    my %leave = (
        'the namespace'       => sub { $_[0]->leave },
        'the connection'      => sub { $_[0]->disconnect },
        'without a word'      => sub { $_[0]->eio->{ws}{c}->abort },
        'sent away'           => sub {
            $api->call('disconnect', { in => $api->sids($_[0]) });
        },
        'sent away for good'  => sub {
            $api->call('disconnect', { in => $api->sids($_[0]),
                                       close => $true });
        },
        'with a broken packet' => sub { $_[0]->eio->send('4{') },
    );

    for my $how (sort keys %leave) {
        my $leaving = $api->client($pids[1], 'websocket', '/');
        my $stays = $ws[0];

        my $pending = ask({ to => $api->sids($leaving, $stays) });
        my ($packet) = asked($stays);

        asked($leaving);
        $leave{$how}->($leaving);
        ok(!$pending->ready, "$how: somebody is still to answer");
        $stays->ack($packet, 'pong', $stays->sid);

        is_deeply($pending->wait($patience)->json,
                  { acks => pongs($stays), complete => $true }, $how);

        # as the last one, and asked several times
        $leaving = $api->client($pids[1], 'websocket', '/');

        my @pending = map { ask({ to => $api->sids($leaving) }) } 1 .. 3;

        asked($leaving) for 1 .. 3;
        $leave{$how}->($leaving);

        is_deeply([ map { $_->wait($patience)->json } @pending ],
                  [ ({ acks => [], complete => $true }) x 3 ],
                  "$how, and nobody is left");
    }

    my $p = $api->client($pids[2], 'polling', '/');
    my $pending = ask({ to => $api->sids($p) });

    asked($p);
    $p->disconnect;
    is_deeply($pending->wait($patience)->json,
              { acks => [], complete => $true }, 'by polling');
};


# Sessions take what they owe along.

subtest 'who moves' => sub {
    my ($old, @others) = @pids;
    my @moving = map { $api->client($old, 'polling', '/') } @others;
    my $pending = ask({ to => $api->sids(@moving) });
    my @packets = asked(@moving);

    my @ws = map {
        SIO::WS->connect(path => $moving[$_]->eio->url('websocket'),
                         http => $nginx->connect_to($others[$_]));
    } 0 .. $#others;

    ok(!$pending->ready, 'the call waits');

    for my $i (0 .. $#moving) {
        $moving[$i]->ack($packets[$i], 'pong', $moving[$i]->sid);
    }

    is_deeply(by_sid($pending->wait($patience)->json),
              { acks => pongs(@moving), complete => $true },
              'answers come from where they are by then');

    # saved, but not taken up yet, when they are asked
    $_->drop for @ws;

    my ($at, $beside_it) = map { $nginx->connect_to($others[1]) } 1, 2;
    my ($caller, $beside_caller) =
        map { $nginx->connect_to($others[2], timeout => $patience) } 1, 2;

    my $c = $api->client($old, 'polling', '/');

    $nginx->kill_worker('STOP', $old);

    my $move = $api->move($c, $at);

    $beside_it->get('/_pid') for 1, 2;
    $pending = ask({ to => $api->sids($c) }, http => $caller);
    $beside_caller->get('/_pid') for 1, 2;

    $nginx->kill_worker('CONT', $old);

    is($move->wait($patience)->{status}, 101, 'moved');
    is_deeply(answered($pending, [ $c ], \&pong),
              { acks => pongs($c), complete => $true }, 'asked on the way');

    $move->close;
    $_->disconnect for @moving, $c;
};


subtest 'a worker that is killed' => sub {
    my ($here, $dead, $other) = @pids;
    my $lost = $api->client($dead, 'websocket', '/');
    my $moved = $api->client($dead, 'polling', '/');
    my $stays = $api->client($other, 'websocket', '/');

    my $caller = $nginx->connect_to($here, timeout => $patience);
    my $pending = ask({ to => $api->sids($lost, $moved, $stays) },
                      http => $caller);
    my ($lost_packet, $moved_packet, $stays_packet) =
        asked($lost, $moved, $stays);

    # what it had owed is owed by another worker now
    my $ws = SIO::WS->connect(path => $moved->eio->url('websocket'),
                              http => $nginx->connect_to($other));

    $nginx->kill_worker('KILL', $dead);

    $stays->ack($stays_packet, 'pong', $stays->sid);
    ok(!$pending->ready, 'somebody is still to answer');
    $moved->ack($moved_packet, 'pong', $moved->sid);

    is_deeply(by_sid($pending->wait($patience)->json),
              { acks => pongs($moved, $stays), complete => $false },
              'what the dead would have said is not known');

    # everybody is dead
    @pids = $nginx->workers;
    $dead = (grep { $_ != $here && $_ != $other } @pids)[0];
    $lost = $api->client($dead, 'websocket', '/');

    $pending = ask({ to => $api->sids($lost) },
                   http => $nginx->connect_to($here, timeout => $patience));
    asked($lost);
    $nginx->kill_worker('KILL', $dead);

    is_deeply($pending->wait($patience)->json,
              { acks => [], complete => $false }, 'nobody is left');

    @pids = $nginx->workers;
    $_->disconnect for $moved, $stays;
};


subtest 'a worker that is stopped' => sub {
    my ($here, $stopped) = @pids;
    my $c = $api->client($here, 'websocket', '/');
    my $s = $api->client($stopped, 'websocket', '/');
    my $http = $nginx->connect_to($here, timeout => $patience);
    my $later = $nginx->connect_to($here, timeout => $patience);

    $nginx->kill_worker('STOP', $stopped);

    my $pending = ask({ to => $api->sids($c, $s), timeout => 3000 },
                      http => $http);

    is_deeply(answered($pending, [ $c ], \&pong),
              { acks => pongs($c), complete => $false },
              'the others have answered');

    $pending = ask({ to => $api->sids($c, $s) }, http => $later);

    my ($packet) = asked($c);

    $c->ack($packet, 'pong', $c->sid);
    $nginx->kill_worker('CONT', $stopped);

    # the first question is still there, and has nobody who waits
    asked($s);

    is_deeply(by_sid(answered($pending, [ $s ], \&pong)),
              { acks => pongs($c, $s), complete => $true },
              'it goes on in time');

    $_->disconnect for $c, $s;
};


subtest 'callers that leave' => sub {
    my $pid = $pids[0];
    my $silent = $api->client($pids[1], 'websocket', '/');
    my $many = sub {
        return $json->encode([ ({ emit => {
            event => 'ask', ack => $true, timeout => 600_000,
            to => $api->sids($silent),
        } }) x $_[0] ]);
    };

    my $wait = sub {
        my ($n) = @_;

        return $nginx->connect_to($pid)->start('POST', '/_api/batch',
                                               body => $many->($n));
    };

    my $refused = sub {
        my $pending = $wait->($_[0]);

        wait_until(0.5, sub { $pending->ready });

        my $r = $pending->ready && $pending->wait;

        $pending->abort if !$r;

        return $r ? SIO::API::answer($r) : 'waits';
    };

    my @waiting = map { $wait->(1000) } 1 .. 4;

    ok(wait_until(10, sub { $refused->(97) eq '503 busy' }),
       '4000 calls wait, 97 are too many');
    is($refused->(1), 'waits', 'one is not');

    $_->abort for @waiting;

    ok(wait_until(10, sub { $refused->(1000) eq 'waits' }),
       'when they have left there is room');

    is_deeply(answered(ask({ to => $api->sids($ws[0]) }), [ $ws[0] ], \&pong),
              { acks => pongs($ws[0]), complete => $true }, 'as before');

    $silent->disconnect;
};


# Answers are kept until the call ends, but not any number of octets.

subtest 'more than is kept' => sub {
    my $c = $api->client($pids[0], 'websocket', '/');
    my $large = 'x' x 950_000;
    my $mark = $nginx->mark;

    my $pending = $nginx->connect_to($pids[0], timeout => 2 * $patience)
        ->start('POST', '/_api/batch', body => $json->encode([ ({ emit => {
            event => 'ask', ack => $true, timeout => 60_000,
            to => $api->sids($c),
        } }) x 20 ]));

    my $text = $json->encode([ $large ]);
    my @packets = asked(($c) x 20);

    $c->eio->send("43$_->{id}$text") for @packets;

    # not decoded: that takes a pure Perl parser half a minute
    my $body = $pending->wait(2 * $patience)->{body};
    my $sid = $c->sid;

    $body =~ s/\Q$large\E/large/g;

    my $kept = qq({"acks":[{"sid":"$sid","args":["large"]}],"complete":true});
    my $left = '{"acks":[],"complete":false}';
    my $fit = int(16 * 1024 * 1024 / (length($large) + 22));

    is($body, '[' . join(',', ($kept) x $fit, ($left) x (20 - $fit)) . ']',
       'as many as fit into 16 MB, the others are not complete');
    ok($nginx->wait_log(qr/socketio api: answers are left out/, 5, $mark),
       'the log says so');

    is(SIO::API::answer($nginx->connect_to($pids[0])->get('/_api/rooms'))
       ->{complete}, $true, 'it is given back');

    $c->disconnect;
};


subtest 'official clients' => sub {
    my $url = 'http://127.0.0.1:' . $nginx->port;
    my @node = map {
        SIO::Proc->node('client.js', 4, $url, $json->encode($_))
    } { transports => ['websocket'] }, { transports => ['polling'] }, {};

    my $python = SIO::Proc->python('client.py', $url,
                                   '{"transports":["polling"]}');

    my @sids = map { $_->json_with('connect', 20)->{connect} } @node, $python;

    my $pending = ask({ to => \@sids, args => [ 'a', { n => 1 } ] });

    for my $i (0 .. $#node) {
        my $event = $node[$i]->json_with('event', $patience);

        is_deeply($event->{event}, [ 'ask', 'a', { n => 1 } ], 'asked');
        $node[$i]->send({ ack => $event->{ack},
                          args => [ $i, { '$binary' => 'AAEC' } ] });
    }

    my $placeholder = { _placeholder => $true, num => 0 };

    is_deeply(by_sid($pending->wait($patience)->json), by_sid({
        acks => [
            (map { { sid => $sids[$_], args => [ $_, $placeholder ],
                     attachments => [ 'AAEC' ] } } 0 .. $#node),
            { sid => $sids[-1], args => [ 'a', { n => 1 } ] },
        ],
        complete => $true,
    }), 'JavaScript by three transports, and Python');

    $_->send({ quit => 1 }) for @node, $python;
};


subtest 'a reload under a call that waits' => sub {
    my ($here, $there) = @pids;
    my @clients = map { $api->client($_, 'websocket', '/') } @pids;
    my $pending = ask({ to => $api->sids(@clients) },
                      http => $nginx->connect_to($here, timeout => $patience));
    my @packets = asked(@clients);

    $nginx->reload;
    ok(!$pending->ready, 'the call waits');

    $clients[$_]->ack($packets[$_], 'pong', $clients[$_]->sid)
        for 0 .. $#clients;

    is_deeply(by_sid($pending->wait($patience)->json),
              { acks => pongs(@clients), complete => $true },
              'old workers answer an old one');

    @pids = $nginx->workers;

    my $new = $api->client($pids[0], 'websocket', '/');

    push @clients, $new;
    $pending = ask({ to => $api->sids(@clients) });

    is_deeply(by_sid(answered($pending, \@clients, \&pong)),
              { acks => pongs(@clients), complete => $true },
              'old and new ones a new one');

    # Some of them were in workers that were killed; and who leaves in the
    # moment in which an old worker closes the kept connection has to say so
    # again.
    for my $c (@clients, @all, @chat) {
        eval { $c->disconnect; 1 } || eval { $c->disconnect };
    }

    ok(wait_until(30, sub { !$nginx->draining }), 'the old workers leave')
        or diag($json->encode($api->get('sockets')));
};


# Late answers.

my $hooked = SIO::API->new(nginx => $nginx, eio => { path => '/hooked/' });


# An event that wants an acknowledgement; its token.

sub emitted {
    my ($c, $id, $name, @args) = @_;

    my $before = () = $backend->requests(type => 'event');

    $c->emit_to('/', $id, $name, @args);

    my ($hook) = ($backend->wait($before + 1, 10, type => 'event'))[$before];

    return $hook->{json}{ack} // die 'no token';
}


subtest 'an answer that comes later' => sub {
    for my $transport (qw(websocket polling)) {
        my $c = $hooked->client($pids[0], $transport, '/');

        for my $pid (@pids) {
            my $token = emitted($c, 7, 'ask');

            is($token, $c->sid . '.7', 'the token');

            my $http = $nginx->connect_to($pid);
            my $r = $api->call("acks/$token",
                               '{"args":["late",1.0,{"b":1,"a":2}]}',
                               http => $http);

            is($r, 204, "$transport: answered at any worker");
            is($c->packet->{text}, '437["late",1.0,{"b":1,"a":2}]',
               'as it was given');
            is($api->call("acks/$token", { args => [ 'again' ] }),
               '404 unknown_ack', 'once');
        }

        my $token = emitted($c, 8, 'ask');

        is($api->call("acks/$token", {
               args => [ 'x', { _placeholder => $true, num => 0 } ],
               attachments => [ 'AAEC' ],
           }), 204, 'with octets');

        my $packet = $c->packet;

        is("$packet->{type} $packet->{id}", '6 8', 'a binary acknowledgement');
        is($packet->{attachments}[0], "\x00\x01\x02", 'with octets');

        $token = emitted($c, 9, 'ask');
        is($api->call("acks/$token", '{}'), 204, 'without arguments');
        is($c->packet->{text}, '439[]', 'none');

        is($api->call('acks/' . $c->sid . '.10', '{}'), '404 unknown_ack',
           'never asked');

        $token = emitted($c, 11, 'ask');
        $c->disconnect;

        ok(wait_until(5, sub {
            $api->call("acks/$token", '{}') eq '410 gone'
        }), 'gone');
    }
};


subtest 'the reply and the API' => sub {
    my $c = $hooked->client($pids[1], 'websocket', '/');

    $backend->on({ event => 'replied' }, { json => { ack => [ 'reply' ] } });
    $backend->on({ event => 'slow' },
                 { json => { ack => [ 'reply' ] }, delay => 1 });

    my $token = emitted($c, 1, 'replied');

    is($c->packet->{text}, '431["reply"]', 'the reply answers');
    is($api->call("acks/$token", { args => [ 'late' ] }), '404 unknown_ack',
       'then the API does not');

    $token = emitted($c, 2, 'slow');

    is($api->call("acks/$token", { args => [ 'quick' ] }), 204,
       'the API answers first');
    is($c->packet->{text}, '432["quick"]', 'it does');

    $token = emitted($c, 3, 'replied');
    is($c->packet->{text}, '433["reply"]', 'then the reply does not');

    # the same id again, in good order and before it was answered
    emitted($c, 4, 'later');
    $token = emitted($c, 4, 'later');

    is(join(' ', map { $api->call("acks/$token", { args => [ $_ ] }) } 1 .. 3),
       '204 204 404 unknown_ack', 'an id as often as it was sent');
    is($c->packet->{text}, "434[$_]", 'answered') for 1, 2;

    $c->disconnect;
};


subtest 'many questions' => sub {
    my $c = $hooked->client($pids[2], 'websocket', '/');
    my $before = () = $backend->requests(type => 'event');

    $c->emit_to('/', $_, 'later') for 1 .. 1100;

    ok(scalar $backend->wait($before + 1100, 30, type => 'event'),
       '1100 events');

    is($api->call('acks/' . $c->sid . '.1', '{}'), '404 unknown_ack',
       'the first ones are forgotten');
    is(scalar(grep {
           $api->call('acks/' . $c->sid . ".$_", '{}') ne 204
       } 77 .. 1100), 0, 'the last 1024 are not');
    is_deeply([ map { $c->packet->{text} } 77 .. 1100 ],
              [ map { "43${_}[]" } 77 .. 1100 ], 'answered');

    $c->disconnect;

    my $unheard = $hooked->client($pids[0], 'websocket', '/',
                                  path => '/unheard/');

    $unheard->emit_to('/', 5, 'to nobody');
    is($unheard->packet(0.2), undef, 'nobody hears of it');
    is($api->call('acks/' . $unheard->sid . '.5', '{}'), '404 unknown_ack',
       'so nobody can answer it');
    $unheard->disconnect;
};


# What an application asks for has no time limit, but a number.

subtest 'a client that is asked too much' => sub {
    my $c = $hooked->client($pids[2], 'websocket', '/');

    $backend->on({ event => 'curious' }, { json => {
        emit => [ ({ event => 'ask', args => [], ack => 'token' }) x 10 ],
    } });

    $c->emit('curious') for 1 .. 110;

    my @asked = map { $c->packet // last } 1 .. 1100;

    is(scalar @asked, 1100, 'asked 1100 times');

    $c->ack($asked[$_], $_) for 0, 75, 76, 1099;
    $c->emit('done');

    ok($backend->wait(1, 30, type => 'event', event => 'done'),
       'four of them are answered');
    is_deeply([ map { $_->{json}{args}[0] }
                    $backend->requests(type => 'ack', token => 'token') ],
              [ 76, 1099 ], 'the last 1024 are awaited');
    $c->disconnect;
};


subtest 'questions that move' => sub {
    my ($old, $new) = @pids;
    my $c = $hooked->client($old, 'polling', '/');
    my @tokens = map { emitted($c, $_, 'later') } 1 .. 6;

    is($api->call("acks/$tokens[0]", { args => [ 1 ] }), 204, 'before');
    is($c->packet->{text}, '431[1]', 'answered');

    my $ws = SIO::WS->connect(path => $c->eio->url('websocket'),
                              http => $nginx->connect_to($new));

    is($api->call("acks/$tokens[1]", { args => [ 2 ] }), 204, 'at another');
    is($c->packet->{text}, '432[2]', 'answered');
    is($api->call("acks/$tokens[0]", '{}'), '404 unknown_ack', 'as before');
    $ws->drop;

    # on the way
    $c->eio->poll while $c->eio->{pending};

    my $third = $pids[2];
    my $at = $nginx->connect_to($third);
    my $beside = $nginx->connect_to($third);
    my @callers = map { $nginx->connect_to($third, timeout => $patience) }
                  1 .. 3;

    wait_until(5, sub { 'moved' eq eval {
        $api->get('sockets/' . $c->sid)->{transport} eq 'polling' && 'moved'
    } });

    $nginx->kill_worker('STOP', $new);

    my $move = $api->move($c, $at);

    $beside->get('/_pid') for 1, 2;

    my @calls = map {
        my $pending = $api->start("acks/$tokens[$_]", { args => [ $_ ] },
                                  http => shift @callers);
        $beside->get('/_pid') for 1, 2;
        $pending;
    } 2, 3, 2;

    $nginx->kill_worker('CONT', $new);

    is_deeply([ map { SIO::API::answer($_->wait($patience)) } @calls ],
              [ 204, 204, '404 unknown_ack' ], 'on its way');
    is($move->wait($patience)->{status}, 101, 'moved');
    is($c->packet->{text}, $_, 'answered') for '433[2]', '434[3]';

    $move->close;
    $c->disconnect;
};


subtest 'workers that are silent' => sub {
    my ($here, $stopped) = @pids;
    my $c = $hooked->client($here, 'websocket', '/');
    my $token = emitted($c, 1, 'later');
    my @callers = map { $nginx->connect_to($here, timeout => $patience) }
                  1 .. 3;

    $nginx->kill_worker('STOP', $stopped);

    my $start = time;
    my $unknown = $api->start('acks/' . ('A' x 20) . '.1', '{}',
                              http => $callers[0]);

    is($api->call("acks/$token", '{}', http => $callers[1]), 204,
       'the one that has the socket is enough');
    is($api->call("acks/$token", '{}', http => $callers[2]),
       '404 unknown_ack', 'also to know that it does not wait');
    cmp_ok(time - $start, '<', 4.5 * scale(), 'at once');

    is(SIO::API::answer($unknown->wait($patience)), '504 incomplete',
       'of one that nobody else has nothing is known');

    $nginx->kill_worker('CONT', $stopped);
    $c->disconnect;
};


subtest 'malformed tokens and bodies' => sub {
    my $sid = 'A' x 20;

    for my $token ('a', $sid, "$sid.", ".1", "$sid.x", "$sid.-1", "$sid.1.0",
                   "$sid.1x", "$sid.9007199254740992",
                   "$sid.99999999999999999999", "x$sid.1", "$sid/1",
                   'x' x 1000)
    {
        is($api->call("acks/$token", '{}'), '400 bad_request', $token);
    }

    is($api->call("acks/$sid.9007199254740991", '{}'), '410 gone',
       'the largest id');

    for my $body ('', '[]', '{', '{"args":1}', '{"args":{}}', '{"args":"a"}',
                  '{"args":[],"attachments":[1]}',
                  '{"args":[],"attachments":["A"]}',
                  '{"args":[{"_placeholder":true,"num":1}],'
                  . '"attachments":["AAEC"]}',
                  $json->encode({ args => [ map {
                      { _placeholder => $true, num => $_ } } 0 .. 10 ],
                      attachments => [ ('AAEC') x 11 ] }))
    {
        is($api->call("acks/$sid.1", $body), '400 bad_request',
           substr $body, 0, 40);
    }

    is($api->call("acks/$sid.1", { args => [ 'x' x 2_500_000 ] }),
       '413 too_large', 'too large');
};


$nginx->stop;

done_testing;
