#!/usr/bin/perl

# Several calls of the API in one request: in order, each with its own answer,
# and none of them if one cannot be understood.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::API;
use SIO::Backend;
use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);

my $patience = 15;

my $backend = SIO::Backend->new->start;

my $nginx = SIO::API->nginx(backend => $backend, server => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /chat;
            socketio_webhook /_hook;
            socketio_ping_interval 5m;
        }
EOS

my $api = SIO::API->new(nginx => $nginx);
my @pids = $nginx->workers;
my @all = map { $api->client($_, 'websocket', '/'),
                $api->client($_, 'polling', '/') } @pids;


sub batch {
    return $api->call('batch', [ @_ ]);
}


subtest 'in order, at all workers' => sub {
    my $sids = $api->sids(@all);

    is_deeply(batch(
        { emit       => { event => 'to nobody yet', to => 'r' } },
        { join       => { in => $sids, rooms => 'r' } },
        { emit       => { event => 'one', to => 'r' } },
        { leave      => { in => $sids->[0], rooms => [ 'r' ] } },
        { emit       => { event => 'two', args => [ 1.5 ], to => 'r' } },
        { join       => { in => 'r', rooms => [ 's', 't' ] } },
        { leave      => { in => 's', rooms => 'r' } },
        { emit       => { event => 'three', to => [ 'r', 's', 't' ] } },
        { emit       => { event => 'chat', namespace => '/chat' } },
        { disconnect => { in => $sids->[1] } },
        { disconnect => { in => $sids->[1] } },
        { emit       => { event => 'four' } },
    ), [ map { { matched => $_ } } 0, 8, 8, 1, 7, 7, 7, 7, 0, 1, 0, 7 ],
       'each has its answer');

    my $gone = splice @all, 1, 1;

    is_deeply([ $api->received(@all) ], [
        [ ['one'], ['four'] ],
        map { [ ['one'], [ 'two', 1.5 ], ['three'], ['four'] ] } 1 .. 6
    ], 'everybody has got it in this order');

    is_deeply([ map { $gone->packet->{text} } 1 .. 4 ],
              [ '42["one"]', '42["two",1.5]', '42["three"]', '41' ],
              'also who was sent away');

    is_deeply(batch(), [], 'no call at all');
    is_deeply($api->call('batch', " [\n] "), [], 'with white space');
    is_deeply($api->call('batch', '[{"\u0065mit":{"event":"a"}}]'),
              [ { matched => 7 } ], 'an escaped name');
    $api->received(@all);
};


subtest 'those that wait' => sub {
    my ($c, $silent) = @all[0, 1];

    my $pending = $api->start('batch', [
        { emit => { event => 'ask', to => $api->sids($c), ack => $true,
                    timeout => 500 } },
        { emit => { event => 'ask', to => $api->sids($c), ack => $true,
                    timeout => $patience * 1000 * scale() } },
        { emit => { event => 'tell', to => $api->sids($c) } },
        { emit => { event => 'ask', to => 'nobody', ack => $true,
                    timeout => 60_000 } },
    ]);

    my @packets = map { $c->wait_for(sub { $_[0]{data}[0] eq $_ }) }
                  qw(ask ask tell);

    isnt($packets[0]{id}, $packets[1]{id}, 'each has an id of its own');

    # the first one is over by itself, also in a worker that is late
    my $start = time;

    wait_until(5, sub { time - $start > 1.5 });
    ok(!$pending->ready, 'the second one is waited for');
    $c->ack($packets[0], 'too late');
    $c->ack($packets[1], 'in time');

    is_deeply($pending->wait($patience)->json, [
        { acks => [], complete => $false },
        { acks => [ { sid => $c->sid, args => [ 'in time' ] } ],
          complete => $true },
        { matched => 1 },
        { acks => [], complete => $true },
    ], 'each has its own time');
};


subtest 'late answers' => sub {
    my $c = $all[0];
    my $sid = $c->sid;

    $c->emit_to('/', $_, 'do it') for 1, 2;
    $backend->wait(2, 5, event => 'do it');

    is_deeply(batch(
        { acks => { token => "$sid.1", args => [ 'a' ] } },
        { acks => { token => "$sid.2" } },
        { acks => { token => "$sid.1", args => [ 'b' ] } },
        { acks => { token => ('A' x 20) . '.1', args => [] } },
        { emit => { event => 'and on', to => $sid } },
    ), [
        {}, {},
        { error => { code => 'unknown_ack', message =>
              'the client does not wait for this answer: it was given, or'
              . ' never asked for' } },
        { error => { code => 'gone',
                     message => 'the socket is not connected any more' } },
        { matched => 1 },
    ], 'what can be done is done');

    is_deeply([ map { $c->packet->{text} } 1 .. 3 ],
              [ '431["a"]', '432[]', '42["and on"]' ], 'in order');
};


subtest 'one mistake' => sub {
    my $good = { emit => { event => 'must not come' } };

    for my $case (
        [ bad_request => { emit => {} }, qr/^"event" is missing$/ ],
        [ bad_request => { emit => { event => 'a', args => 1 } },
          qr/^"args" must be a list$/ ],
        [ bad_request => { emit => { event => 'a', ack => $true } },
          qr/^"timeout" must be/ ],
        [ bad_request => { join => { in => 'a' } }, qr/^"rooms" must be/ ],
        [ bad_request => { leave => { rooms => 'a' } }, qr/^"in" must be/ ],
        [ bad_request => { disconnect => { in => [], close => 1 } },
          qr/^"close" must be/ ],
        [ bad_request => { acks => { args => [] } },
          qr/^"token" must be a string$/ ],
        [ bad_request => { acks => { token => 'x', args => [] } },
          qr/^the token is not one of a webhook$/ ],
        [ unknown_namespace => { emit => { event => 'a',
                                           namespace => '/none' } },
          qr{^no location declares the namespace "/none"$} ],
        [ bad_request => { nonsense => {} }, qr/^a call of a batch must be/ ],
        [ bad_request => { batch => [] }, qr/^a call of a batch must be/ ],
        [ bad_request => { sockets => {} }, qr/^a call of a batch must be/ ],
        [ bad_request => { emit => [] }, qr/^a call of a batch must be/ ],
        [ bad_request => { emit => undef }, qr/^a call of a batch must be/ ],
        [ bad_request => { emit => { event => 'a' }, join => {} },
          qr/^a call of a batch must be/ ],
        [ bad_request => {}, qr/^a call of a batch must be/ ],
        [ bad_request => [], qr/^a call of a batch must be/ ],
        [ bad_request => 'emit', qr/^a call of a batch must be/ ],
        [ bad_request => undef, qr/^a call of a batch must be/ ],
    ) {
        my ($code, $call, $message) = @$case;

        for my $index (0, 1, 3) {
            my @calls = ($good) x 3;

            splice @calls, $index, 0, $call;

            my $r = $api->{http}->post('/_api/batch', $json->encode(\@calls));
            my $error = $r->json->{error};

            is("$r->{status} $error->{code} $error->{index}",
               "400 $code $index", $json->encode($call));
            like($error->{message}, $message, 'says why');
        }
    }

    is($api->{http}->post('/_api/batch', '[{"emit":{"event":"a"}},{}]')
       ->{body}, '{"error":{"code":"bad_request","message":"a call of a batch'
       . ' must be an object with one member, the name of the call, which is'
       . ' an object","index":1}}', 'the whole answer');

    for my $body ('', '{}', '[', '[}', 'null', '"a"', '[{"emit":}]',
                  '[{"emit":{"event":"a"}},]', "[\"\xff\"]",
                  '[' x 70 . ']' x 70)
    {
        my $r = $api->{http}->post('/_api/batch', $body);

        is(SIO::API::answer($r), '400 bad_request', substr $body, 0, 30);
        ok(!exists $r->json->{error}{index}, 'not of one call');
    }

    is(batch(($good) x 1001), '400 bad_request', 'more than a thousand');

    my $large = { emit => { event => 'a', args => [ 'x' x 2_200_000 ] } };
    my $r = $api->{http}->post('/_api/batch', $json->encode([ $good, $large ]));

    is(SIO::API::answer($r), '413 too_large', 'one too large');
    is($r->json->{error}{index}, 1, 'which');

    my $names = { emit => { event => 'a',
                            to => [ map { "x$_" x 40 } 1 .. 11_000 ] } };

    $r = $api->{http}->post('/_api/batch', $json->encode([ $good, $names ]));
    is(SIO::API::answer($r), '413 too_large', 'with too many names');

    is_deeply([ $api->received(@all) ], [ map { [] } @all ],
              'nothing was carried out');
};


subtest 'a thousand calls' => sub {
    my $answer = batch(map { { emit => { event => 'n', args => [ $_ ] } } }
                       1 .. 1000);

    is(scalar(grep { $_->{matched} == @all } @$answer), 1000, 'answered');

    my @got = $api->received(@all);
    my @want = map { [ 'n', $_ ] } 1 .. 1000;

    is(scalar(grep { $json->encode($_) ne $json->encode(\@want) } @got), 0,
       'received, in order');
};


# The small zone's log takes less than half a megabyte.

subtest 'a log that becomes full' => sub {
    my ($here, $stopped) = @pids;
    my $small = SIO::API->small(nginx => $nginx);
    my $c = $small->client($stopped, 'websocket', '/', timeout => 10);
    my @http = map { $nginx->connect_to($here, timeout => $patience) }
               1 .. 12;
    my $calls = $json->encode([ map {
        { emit => { event => 'n', args => [ $_, 'x' x 3_000 ] } }
    } 1 .. 40 ]);

    $nginx->kill_worker('STOP', $stopped);

    # At first there is room, in the log and for what waits for it, then for a
    # part of one, and for nothing of the rest.
    my @pending = map { $_->start('POST', '/small/batch', body => $calls) }
                  @http;
    my $r;

    wait_until(10, sub {
        ($r) = grep { $_->ready } @pending;
    });

    my $refused = $r ? $r->wait : { status => 0, headers => {} };

    is(SIO::API::answer($refused), '503 busy', 'nothing was carried out');
    is($refused->{headers}{'retry-after'}, 1, 'Retry-After');

    $nginx->kill_worker('CONT', $stopped);

    my ($sent, $part) = (0, 0);

    for my $pending (grep { $_ != ($r // 0) } @pending) {
        my $answer = SIO::API::answer($pending->wait($patience));

        next if !ref $answer;

        my @done = grep { exists $_->{matched} } @$answer;
        my @busy = grep { $_->{error} && $_->{error}{code} eq 'busy' }
                   @$answer;

        is(@done + @busy, 40, 'each has its answer');
        is_deeply([ @$answer[0 .. $#done] ],
                  [ map { { matched => 1 } } @done ],
                  scalar(@done) . ' were carried out');
        $sent += @done;
        $part++ if @busy;
    }

    cmp_ok($part, '>', 0, 'one of them in part');

    my ($got) = $small->received($c);

    is_deeply([ map { ref ? $_->[0] : $_ } @$got ], [ ('n') x $sent ],
              'what was carried out has come, and nothing else');
};


subtest 'workers that are silent' => sub {
    my ($here, $stopped) = @pids;
    my ($http, $beside) =
        map { $nginx->connect_to($here, timeout => $patience) } 1, 2;
    my $left = @all - $api->at($stopped, @all);

    $nginx->kill_worker('STOP', $stopped);

    my $pending = $http->start('POST', '/_api/batch', body => $json->encode([
        { emit => { event => 'a' } },
        { emit => { event => 'b', to => 'nobody', ack => $true,
                    timeout => 300 } },
        { acks => { token => ('A' x 20) . '.1' } },
    ]));

    is_deeply($pending->wait($patience)->json, [
        { matched => $left, complete => $false },
        { acks => [], complete => $false },
        { error => { code => 'incomplete',
                     message => 'not all workers have answered' } },
    ], 'each says so');

    $pending = $http->start('POST', '/_api/batch', body => $json->encode([
        ({ emit => { event => 'c' } }) x 3
    ]));

    # asked beside it, answered after it has been read
    $beside->get('/_pid') for 1, 2;
    $nginx->kill_worker('KILL', $stopped);

    is_deeply($pending->wait($patience)->json,
              [ ({ matched => $left, complete => $false }) x 3 ],
              'that die, too');
};


$nginx->stop;

done_testing;
