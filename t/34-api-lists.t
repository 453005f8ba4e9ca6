#!/usr/bin/perl

# Lists of sockets and rooms through the API: what they show, of all workers,
# and page by page while clients come, go and move.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::API;
use SIO::Backend;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Util qw(scale wait_until);
use SIO::WS;
use Test::More;
use Time::HiRes ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);

my $patience = 15;

my $backend = SIO::Backend->new->start;

my $nginx = SIO::API->nginx(backend => $backend, server => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat ~^/n.;
            socketio_ping_interval 5m;
        }

        location /hooked/ {
            socketio;
            socketio_namespaces / /chat;
            socketio_webhook /_hook;
            socketio_ping_interval 5m;
        }
EOS

my $api = SIO::API->new(nginx => $nginx);
my @pids = $nginx->workers;


sub query {
    my (%args) = @_;

    return join '&', map {
        my $value = $args{$_};

        utf8::encode($value) if utf8::is_utf8($value);
        $value =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ge;

        "$_=$value";
    } sort keys %args;
}


sub sockets {
    return $api->get('sockets?' . query(@_));
}


sub rooms {
    return $api->get('rooms?' . query(@_));
}


sub sids_of {
    my ($answer) = @_;

    return ref $answer ? [ sort map { $_->{sid} } @{ $answer->{sockets} } ]
                       : $answer;
}


# All pages; the function is called after each of them.

sub pages {
    my ($get, $between, %args) = @_;

    my (@pages, $cursor);

    do {
        my $page = $get->(%args, defined $cursor ? (cursor => $cursor) : ());

        return $page if !ref $page;

        push @pages, $page;
        $cursor = $page->{cursor};
        $between->() if $between;

    } while (defined $cursor && @pages < 10_000);

    return @pages;
}


sub client {
    return $api->client(@_);
}


subtest 'what is shown' => sub {
    my $hooked = SIO::API->new(nginx => $nginx, eio => { path => '/hooked/' });
    my $user = "u\"\\\x{e9}\x{1f600}\x01";
    my $room = "r\"\\\x{e9}\x{1f600}\x01";

    $backend->on({ type => 'connect', namespace => '/chat' },
                 { json => { user => $user, join => [ $room, 'a' ] } });

    my $before = time;
    my $c = $hooked->client($pids[0], 'websocket', '/');
    my $p = $hooked->client($pids[1], 'polling', '/chat');
    my $after = time + 1;        # of a clock that is milliseconds behind

    my $answer = sockets(namespace => '/chat');
    my $row = $answer->{sockets}[0];

    cmp_ok($row->{connected_at}, '>=', $before, 'not connected before');
    cmp_ok($row->{connected_at}, '<=', $after, 'nor after');

    is_deeply($answer, {
        sockets => [ {
            sid          => $p->sid('/chat'),
            namespace    => '/chat',
            rooms        => [ $p->sid('/chat'), $room, 'a' ],
            user         => $user,
            transport    => 'polling',
            connected_at => $row->{connected_at},
        } ],
        complete => $true,
        cursor   => undef,
    }, 'all of it');

    is_deeply($api->get('sockets/' . $p->sid('/chat')), $row,
              'the same alone, whatever its namespace');

    my $r = $api->{http}->get('/_api/sockets/' . $c->sid);

    is($r->{body}, '{"sid":"' . $c->sid . '","namespace":"/","rooms":["'
       . $c->sid . '"],"user":null,"transport":"websocket","connected_at":'
       . $r->json->{connected_at} . '}', 'nothing that could be left out');
    is($r->{headers}{'content-type'}, 'application/json', 'type');

    $api->call('leave', { in => $c->sid, rooms => $c->sid });
    is_deeply($api->get('sockets/' . $c->sid)->{rooms}, [],
              'without the room of its sid');
    $api->call('join', { in => [], rooms => [ 'x', $c->sid ] });
    is_deeply($api->get('sockets/' . $c->sid)->{rooms}, [ $c->sid, 'x' ],
              'and with it again');

    my $old = $hooked->client($pids[2], 'polling', '/');

    $old->eio->upgrade(http => $nginx->connect_to($pids[3]));
    $old->emit('x');
    ok(wait_until(5, sub {
        $api->get('sockets/' . $old->sid)->{transport} eq 'websocket'
    }), 'upgraded, at another worker');

    is_deeply(rooms(namespace => '/chat'), {
        rooms    => [ map { { name => $_, sockets => 1 } } 'a', $room ],
        complete => $true,
    }, 'rooms, by name');

    $_->disconnect for $c, $p, $old;

    for my $gone ($c->sid, $p->sid('/chat'), $old->sid, 'x', 'A' x 20) {
        ok(wait_until(5, sub {
            $api->get("sockets/$gone") eq '404 unknown_socket'
        }), 'gone');
    }

    is($api->get('sockets/' . ('x' x 256)), '400 bad_request', 'too long');
};


my (@all, @chat);

for my $pid (@pids) {
    push @all, client($pid, $_, '/') for ('websocket') x 4, ('polling') x 2;
    push @chat, client($pid, 'websocket', '/chat') for 1, 2;
}

my @odd = @all[ grep { $_ % 2 } 0 .. $#all ];


subtest 'of all workers' => sub {
    my $sids = [ sort @{ $api->sids(@all) } ];

    is_deeply(sids_of($api->get('sockets', http => $nginx->connect_to($_))),
              $sids, 'asked at any') for @pids;

    is_deeply(sids_of(sockets(namespace => '/')), $sids, '"/" by name');
    is_deeply(sids_of(sockets(namespace => '', room => '', limit => '',
                              cursor => '')), $sids, 'empty arguments');
    is_deeply(sids_of(sockets(namespace => '/chat')),
              [ sort @{ $api->sids(@chat) } ], 'another namespace');
    is_deeply(sids_of(sockets(namespace => '/other')),
              '400 unknown_namespace', 'one that does not exist');
    is_deeply(sids_of(sockets(namespace => '/nothing')), [],
              'one without sockets');

    $api->call('join', { in => $api->sids(@odd), rooms => [ 'odd', 'a b+c' ] });

    is_deeply(sids_of(sockets(room => 'odd')), [ sort @{ $api->sids(@odd) } ],
              'a room');
    is_deeply(sids_of($api->get('sockets?room=a+b%2Bc')),
              [ sort @{ $api->sids(@odd) } ], 'as forms write it');
    is_deeply(sids_of(sockets(room => 'odd', namespace => '/chat')), [],
              'that of another namespace');
    is_deeply(sids_of(sockets(room => $all[0]->sid)), [ $all[0]->sid ],
              'that of a sid');

    is_deeply(rooms(), {
        rooms    => [ { name => 'a b+c', sockets => scalar @odd },
                      { name => 'odd', sockets => scalar @odd } ],
        complete => $true,
    }, 'rooms have members at all workers');

    $api->call('join', { in => $all[0]->sid, rooms => 'odd' });
    $api->call('leave', { in => $odd[0]->sid, rooms => 'a b+c' });

    is_deeply([ map { $_->{sockets} } @{ rooms()->{rooms} } ],
              [ @odd - 1, @odd + 1 ], 'they are counted anew');

    $api->call('leave', { in => [], rooms => [ 'a b+c', 'odd' ] });
    is_deeply(rooms(), { rooms => [], complete => $true },
              'a room without members is none');
    is_deeply(rooms(namespace => '/chat'), { rooms => [], complete => $true },
              'nor are those of sids');
};


subtest 'page by page' => sub {
    my $sids = [ sort @{ $api->sids(@all) } ];

    for my $limit (1, 2, 5, 7, 23, 24, 25, 1000) {
        my @pages = pages(\&sockets, undef, limit => $limit);

        is_deeply([ sort map { @{ sids_of($_) } } @pages ], $sids,
                  "pages of $limit");
        is(scalar(@pages), int((@all + $limit - 1) / $limit) || 1,
           'as few as there can be');
        is(scalar(grep { !$_->{complete} } @pages), 0, 'complete');
    }

    $api->call('join', { in => $api->sids(@odd), rooms => 'odd' });

    is_deeply([ sort map { @{ sids_of($_) } }
                pages(\&sockets, undef, limit => 2, room => 'odd') ],
              [ sort @{ $api->sids(@odd) } ], 'of a room');

    is_deeply([ map { @{ sids_of($_) } }
                pages(\&sockets, undef, limit => 3, room => 'nobody') ],
              [], 'of nobody');

    # rooms in all workers, some in several
    my %rooms = (odd => scalar @odd);

    for my $i (0 .. 199) {
        my @in = @all[ grep { ($i + $_) % 5 == 0 } 0 .. $#all ];

        $rooms{"room $i \x{e9}"} = @in;
        $api->call('join', { in => $api->sids(@in), rooms => "room $i \x{e9}" });
    }

    for my $limit (1, 7, 100, 201, 202, 1000) {
        my @pages = pages(\&rooms, undef, limit => $limit);
        my @rows = map { @{ $_->{rooms} } } @pages;

        is(scalar(@rows), 201, "pages of $limit: no room twice");
        is_deeply({ map { $_->{name} => $_->{sockets} } @rows }, \%rooms,
                  'with all members');
        ok(!exists $pages[-1]{cursor}, 'the last page has no cursor');
        is(scalar(grep { @{ $_->{rooms} } > $limit } @pages), 0,
           'none is too long');
    }
};


# Those who are there all the time are on one page, once.

subtest 'while others come and go' => sub {
    my $sids = [ sort @{ $api->sids(@all) } ];
    my %there = map { $_ => 1 } @$sids;
    my @others = map { client($_, 'websocket', '/') } @pids;
    my ($moving) = grep { !$_->eio->{ws} } @all;
    my $n = 0;

    my @pages = pages(\&sockets, sub {
        my $other = shift @others;

        $other->disconnect;
        push @others, client($pids[++$n % @pids], 'websocket', '/');

        # one of them goes round
        SIO::WS->connect(path => $moving->eio->url('websocket'),
                         http => $nginx->connect_to($pids[$n % @pids]))
            ->drop;
    }, limit => 1);

    my %seen;

    $seen{$_}++ for map { @{ sids_of($_) } } @pages;

    is_deeply([ sort grep { $there{$_} } keys %seen ], $sids, 'all of them');
    is_deeply([ grep { $seen{$_} > 1 } keys %seen ], [], 'nobody twice');
    cmp_ok($n, '>=', scalar @all, "$n have come and gone");

    # the one that the cursor names has left
    my $page = sockets(limit => 5);
    my $last = $page->{cursor};
    my $rest = sids_of(sockets(cursor => $last));

    is($page->{sockets}[-1]{sid}, $last, 'a cursor');

    my ($gone) = grep { $_->sid eq $last } @all, @others;

    $gone->disconnect;
    ok(wait_until(5, sub {
        $api->get("sockets/$last") eq '404 unknown_socket'
    }), 'of one that leaves');
    is_deeply(sids_of(sockets(cursor => $last)), $rest, 'is as good as before');

    @all = grep { $_ != $gone } @all;
    $_->disconnect for grep { $_ != $gone } @others;
};


subtest 'mistakes are explained' => sub {
    for my $case (
        [ 'sockets?limit=0',          qr/^"limit" must be a number from 1/ ],
        [ 'sockets?limit=1001',       qr/^"limit" must be a number from 1/ ],
        [ 'sockets?limit=-1',         qr/^"limit" must be a number from 1/ ],
        [ 'sockets?limit=1.0',        qr/^"limit" must be a number from 1/ ],
        [ 'sockets?limit=x',          qr/^"limit" must be a number from 1/ ],
        [ 'sockets?limit=99999999999999999999', qr/^"limit" must be/ ],
        [ 'sockets?cursor=x',         qr/^"cursor" is not one of this list$/ ],
        [ 'sockets?cursor=' . 'x' x 21, qr/^"cursor" is not one of this/ ],
        [ 'sockets?namespace=chat',   qr/^"namespace" must begin with a/ ],
        [ 'sockets?namespace=/' . 'x' x 255, qr/^"namespace" is longer/ ],
        [ 'sockets?room=' . 'x' x 256, qr/^"room" is longer than 255/ ],
        [ 'sockets?room=%ff',         qr/^"room" is not UTF-8$/ ],
        [ 'sockets?namespace=/%ed%a0%80', qr/^"namespace" is not UTF-8$/ ],
        [ 'rooms?limit=0',            qr/^"limit" must be a number from 1/ ],
        [ 'rooms?cursor=*',           qr/^"cursor" is not one of this list$/ ],
        [ 'rooms?cursor=YQ%3D%3D',    qr/^"cursor" is not one of this list$/ ],
        [ 'rooms?cursor=YR',          qr/^"cursor" is not one of this list$/ ],
        [ 'rooms?cursor=Y',           qr/^"cursor" is not one of this list$/ ],
        [ 'rooms?cursor=' . 'YWFh' x 86, qr/^"cursor" is not one of this/ ],
        [ 'rooms?cursor=' . 'YWFh' x 200, qr/^"cursor" is longer/ ],
        [ 'rooms?namespace=x',        qr/^"namespace" must begin with a/ ],
    ) {
        my ($call, $message) = @$case;
        my $r = $api->{http}->get("/_api/$call");

        is(SIO::API::answer($r), '400 bad_request', substr $call, 0, 50);
        like($r->json->{error}{message}, $message, 'says why')
            if $r->{status} == 400;
    }

    for my $query ('limit=1000', 'limit=007', 'cursor=' . 'x' x 20,
                   'unknown=1&limit=5', 'limit=x&limit=5', '&&=&limit=5&',
                   'room=%zz', 'LIMIT=x')
    {
        ok(ref $api->get("sockets?$query"), "no mistake: $query");
    }

    is($api->get('rooms?cursor=YWFh')->{complete}, $true,
       'a cursor of a room that is not there');

    is(SIO::API::answer($api->{http}->request('GET', '/_api/rooms',
           body => 'x' x 200_000))->{complete}, $true,
       'a body that nobody asked for');
    is(SIO::API::answer($api->{http}->request('GET', '/_api/rooms',
           body => 'x' x 200_000, split => [ 300, 100_000 ]))->{complete},
       $true, 'also a slow one');
};


# Rows that are large: a page ends before it has too many octets.

subtest 'many rooms' => sub {
    my @rooms = map { sprintf '%04d %s', $_, 'x' x 195 } 1 .. 1500;
    my @fat = map { client($_, 'websocket', '/nfat') } (@pids) x 2;

    $api->call('join', { namespace => '/nfat', in => [], rooms => \@rooms });

    my @pages = pages(\&sockets, undef, namespace => '/nfat');

    is_deeply([ sort map { @{ sids_of($_) } } @pages ],
              [ sort @{ $api->sids(@fat) } ], 'everybody');
    cmp_ok(scalar @pages, '>', 1, scalar(@pages) . ' pages');
    is(scalar(grep { !$_->{complete} } @pages), 0, 'complete');
    is_deeply($pages[0]{sockets}[0]{rooms},
              [ $pages[0]{sockets}[0]{sid}, @rooms ], 'all rooms');

    my @names = map { @{ $_->{rooms} } }
                pages(\&rooms, undef, namespace => '/nfat');

    is_deeply([ sort { $a->{name} cmp $b->{name} } @names ],
              [ map { { name => $_, sockets => scalar @fat } } @rooms ],
              'and all of their members');

    # a zone that carries 100 kB at once
    my $small = SIO::API->small(nginx => $nginx);
    my @both = map { $small->client($_, 'websocket', '/') } @pids[0, 1];

    $small->call('join', { in => $both[0]->sid, rooms => [ @rooms[
        $_ * 400 .. $_ * 400 + 399] ] }) for 0 .. 2;

    my $answer = $small->get('sockets');

    is_deeply(sids_of($answer), [ sort @{ $small->sids(@both) } ],
              'too many rooms');
    is($answer->{complete}, $false, 'it says so');

    my ($row) = grep { $_->{sid} eq $both[0]->sid } @{ $answer->{sockets} };
    my $shown = @{ $row->{rooms} } - 1;

    cmp_ok($shown, '>', 300, "$shown of 1200 are shown");
    is_deeply($row->{rooms}, [ $row->{sid}, @rooms[0 .. $shown - 1] ],
              'the first ones');

    @names = map { @{ $_->{rooms} } }
             pages(sub { $small->get('rooms?' . query(@_)) }, undef);
    is(scalar(@names), 1200, 'in the list of rooms are all');

    $_->disconnect for @fat, @both;
};


subtest 'workers that are silent' => sub {
    my ($here, $stopped) = @pids;
    my @callers = map { $nginx->connect_to($here, timeout => $patience) }
                  1 .. 7;
    my @left = grep { $api->home($_) != $stopped } @all;
    my ($there) = $api->at($here, @all);
    my ($lost) = $api->at($stopped, @all);
    my $sids = [ sort @{ $api->sids(@left) } ];

    # those that have moved are not where they were
    my ($moved) = grep { !$_->eio->{ws} } @all;
    $moved->disconnect;
    $_ = [ grep { $_ ne $moved->sid } @$_ ] for $sids;
    @all = grep { $_ != $moved } @all;

    wait_until(5, sub {
        $api->get('sockets/' . $moved->sid) eq '404 unknown_socket'
    });

    $nginx->kill_worker('STOP', $stopped);

    my @pending = map {
        $callers[$_]->start('GET', '/_api/' . (
            'sockets', 'rooms', 'sockets/' . ('A' x 20),
            'sockets/' . $lost->sid)[$_])
    } 0 .. 3;

    my $start = Time::HiRes::time;

    is($api->get('sockets/' . $there->sid, http => $callers[4])->{sid},
       $there->sid, 'one that is here');
    cmp_ok(Time::HiRes::time - $start, '<', 4.5 * scale(), 'at once');

    my ($list, $rooms, $unknown, $hidden) = map {
        SIO::API::answer($_->wait($patience))
    } @pending;

    is_deeply(sids_of($list), $sids, 'the others are listed');
    is($list->{complete}, $false, 'it says that there may be more');
    is($rooms->{complete}, $false, 'as do rooms');
    is($unknown, '504 incomplete', 'one that nobody else has');
    is($hidden, '504 incomplete', 'and one that cannot be asked for');

    my $pending = $callers[5]->start('GET', '/_api/sockets');

    # asked beside it, answered after it has been read
    $callers[6]->get('/_pid') for 1, 2;
    $nginx->kill_worker('KILL', $stopped);

    $list = SIO::API::answer($pending->wait($patience));

    is_deeply(sids_of($list), $sids, 'the others');
    is($list->{complete}, $false, 'one has died');

    @all = grep { my $sid = $_->sid; grep { $_ eq $sid } @$sids } @all;
    is_deeply(sids_of(sockets()), $sids, 'afterwards they are all');
    is(sockets()->{complete}, $true, 'and that is complete');
};


subtest 'a reload' => sub {
    my $before = sids_of(sockets());

    $nginx->reload;
    @pids = $nginx->workers;

    my $new = client($pids[0], 'websocket', '/');

    is_deeply(sids_of(sockets()), [ sort @$before, $new->sid ],
              'old and new workers');

    for my $c (@all, @chat, $new) {
        eval { $c->disconnect };
    }

    ok(wait_until(30, sub { !$nginx->draining }), 'the old workers leave')
        or diag($json->encode($api->get('sockets')));
    $nginx->stop;
};


# Among so many in one worker it is not sorted any more.

subtest 'a crowd in one worker' => sub {
    my $nginx = SIO::Nginx->new(server => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /few;
            socketio_ping_interval 5m;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS
    my $api = SIO::API->new(nginx => $nginx);
    my $http = SIO::HTTP->new(port => $nginx->port, keepalive => 1);
    my $get = sub { $api->get('sockets?' . query(@_)) };
    my @sids;

    for my $i (1 .. 1300) {
        my $eio = SIO::EIO->open(http => $http);

        $eio->post($i % 130 ? '40' : '40/few,');

        my ($sid) = $eio->next =~ /"sid":"([^"]+)"/;

        push @sids, $sid if $i % 130;
    }

    my @many = @sids[0 .. 1099];
    my @few = @sids[1200 .. 1209];

    $api->call('join', { in => \@many, rooms => 'many' });
    $api->call('join', { in => \@few, rooms => [ 'few', $many[0] ] });
    $api->call('join', { in => $few[0], rooms => 'me' });
    $api->call('join', { in => [ @few, @many ], rooms => $few[0] });

    my %expected = (
        'everybody'          => [ \@sids ],
        'a large room'       => [ \@many, room => 'many' ],
        'a small room'       => [ \@few, room => 'few' ],
        'a sid and a room'   => [ [ @few, $many[0] ], room => $many[0] ],
        'a large one'        => [ [ @few, @many ], room => $few[0] ],
    );

    for my $name (sort keys %expected) {
        my ($want, %args) = @{ $expected{$name} };

        for my $limit (97, 1000) {
            my @pages = pages($get, undef, %args, limit => $limit);

            is_deeply([ sort map { @{ sids_of($_) } } @pages ],
                      [ sort @$want ], "$name, pages of $limit");
            is(scalar(@pages), int((@$want + $limit - 1) / $limit),
               'as few as there can be');
        }
    }

    is(@{ $get->(namespace => '/few')->{sockets} }, 10, 'few among many');
    is(@{ $get->()->{sockets} }, 100, 'a hundred, unless told');

    $api->call('leave', { in => 'me', rooms => $few[0] });

    my @pages = pages($get, undef, room => $few[0], limit => 1000);

    is_deeply([ sort map { @{ sids_of($_) } } @pages ],
              [ sort @few[1 .. 9], @many ],
              'one that has left the room of its sid');

    $nginx->stop;
};


done_testing;
