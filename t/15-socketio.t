#!/usr/bin/perl

# Socket.IO packets: namespaces, events, acknowledgements and attachments, the
# malformed ones and their neighbours that are not; the numbers are those of
# the conformance checklist.  Everything by both transports, with four workers,
# and every polling request on a connection of its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::EIO;
use SIO::HTTP;
use SIO::Ways;
use Test::More;
use Time::HiRes qw(sleep time);


my $backend = SIO::Backend->new->start;

my $ways = SIO::Ways->new(
    main => 'worker_shutdown_timeout 1s;',
    http => <<"EOF",
    upstream app {
        server @{[ $backend->address ]};
        keepalive 32;
    }
EOF
    locations => <<'EOS');
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_namespaces / /custom /mw;
        }

        location /pinging/ {
            socketio;
            socketio_ping_interval 300ms;
        }

        location /impatient/ {
            socketio;
            socketio_webhook /_hook;
            socketio_webhook_timeout 60s;
            socketio_namespaces / /custom /mw;
            socketio_connect_timeout 500ms;
        }

        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            subrequest_output_buffer_size 256k;
        }
EOS

my $nginx = $ways->nginx;
my $way = $ways->way;

my $sid = qr/[\w-]{20}/;
my $unknown = '{"code":1,"message":"Session ID unknown"}';

# A placeholder, and an attachment for it.
my $ph = '{"_placeholder":true,"num":0}';
my $bin = 'bAQID';


# The backend echoes: by acknowledgement, to who asks for one.

sub backend_echoes {
    $backend->reset;
    $backend->on({ type => 'event' }, { json => {
        ack         => '%args%',
        attachments => '%attachments%',
    } });
}


# A subtest for each transport.

sub both {
    my ($name, $test) = @_;

    for my $how ('polling', 'WebSocket') {
        subtest "$name, $how" => sub {
            backend_echoes();
            $test->($how);
        };
    }
}


sub session {
    my ($how, %option) = @_;

    %option = (port => $way->port, timeout => 20, %option);

    return $how eq 'polling' ? SIO::EIO->open(%option)
                             : SIO::EIO->open_ws(%option);
}


# In these namespaces; the ids are left in {sids}.

sub joined {
    my ($how, @namespaces) = @_;

    my $eio = session($how);

    join_in($eio, $_) for @namespaces;

    return $eio;
}


sub join_in {
    my ($eio, $nsp) = @_;

    my $prefix = $nsp eq '/' ? '' : "$nsp,";

    $eio->send("40$prefix");

    my $packet = $eio->next // '(nothing)';

    $packet =~ /^40\Q$prefix\E\{"sid":"($sid)"\}\z/
        or die "not connected to $nsp: $packet";

    return $eio->{sids}{$nsp} = $1;
}


# All in one request, or frame by frame without a pause.

sub send_all {
    my ($eio, @packets) = @_;

    return $eio->send(@packets) if $eio->{ws};

    my $response = $eio->post_raw($eio->encode(@packets));

    return if $response->{status} == 200 && $response->{body} eq 'ok';

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    fail("POST: $response->{status} $response->{body}");
}


sub next_is {
    my ($eio, $expected, $name) = @_;

    my $packet = $eio->next // '(nothing)';

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return like($packet, $expected, $name) if ref $expected;
    return is($packet, $expected, $name);
}


# These packets, and nothing more before the answer to a CONNECT that every
# session gets at any time.

sub answers {
    my ($eio, $expected, $name) = @_;

    my @packets = map { $eio->next // '(nothing)' } @$expected;

    $eio->send('40/fence');
    push @packets, $eio->next // '(nothing)';

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply(\@packets,
              [ @$expected, '44/fence,{"message":"Invalid namespace"}' ],
              $name);
}


# These packets, the end of the engine's session, and no session any more.

sub is_closed {
    my ($eio, $before, $name) = @_;

    my @packets = splice @{ $eio->{packets} };
    my $end;

    if ($eio->{ws}) {
        while (defined(my $packet = $eio->{ws}->recv)) {
            push @packets, $packet;
        }

        $end = $eio->{ws}{closed} && $eio->{ws}{closed}{code};

    } else {
        for (0 .. 10) {
            my $pending = delete $eio->{pending} // $eio->get_start;
            my $response = $pending->wait;

            last if !$response || $response->{status} != 200;
            push @packets, $eio->decode($response->{body});
        }

        $end = pop @packets;
    }

    # an empty close frame
    my $expected = $eio->{ws} ? 1005 : 1;
    my $response = SIO::HTTP->new(port => $way->port, timeout => 20)
                   ->get($eio->url('polling'));

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply([ @packets, $end, $response->{status}, $response->{body} ],
              [ @$before, $expected, 400, $unknown ], "$name: closed");
}


# What of the packets is readable in the name of a test.

sub shown {
    my $text = join ' ', @_;

    $text =~ s/\n/\\n/g;
    $text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    $text =~ s/#/\\#/g;

    return length $text > 100 ? substr($text, 0, 100) . '...' : $text;
}


# Packets, each in a session of its own that is in these namespaces.

sub all_close {
    my ($how, $number, $namespaces, @cases) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $case (@cases) {
        my @packets = ref $case ? @$case : $case;
        my $eio = joined($how, @$namespaces);

        send_all($eio, @packets);
        is_closed($eio, [], "$number " . shown(@packets));
    }
}


# The same that do not close it, and what is answered.

sub none_closes {
    my ($how, $number, $namespaces, @cases) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $case (@cases) {
        my ($packets, @expected) = @$case;
        my @packets = ref $packets ? @$packets : $packets;
        my $eio = joined($how, @$namespaces);

        send_all($eio, @packets);
        answers($eio, \@expected, "$number " . shown(@packets));
    }
}


both 'CONNECT' => sub {
    my ($how) = @_;
    my %seen;

    for my $packet ('40', '40{}', '40{"token":"123"}', '400', '405{"a":1}',
                    '40/', '40/,', '40/,{"a":1}', '40{"a":1} ')
    {
        my $eio = session($how);

        send_all($eio, $packet);
        next_is($eio, qr/^40\{"sid":"$sid"\}\z/, "C88 $packet");
        answers($eio, [], "C88 $packet, once");
    }

    for (1 .. 3) {
        my $eio = joined($how, '/', '/custom');

        $seen{$_}++ for $eio->sid, values %{ $eio->{sids} };
    }

    is(keys %seen, 9, 'C88 ids of engine, "/" and "/custom" are all different');

    $backend->clear;

    for my $packet ('40/custom', '40/custom,', '40/custom,{"a":1}',
                    '40/custom,{}', '40/custom,7{"a":1}')
    {
        my $eio = session($how);

        send_all($eio, $packet);
        next_is($eio, qr/^40\/custom,\{"sid":"$sid"\}\z/, "C89 $packet");
        answers($eio, [], "C89 $packet, once");
    }

    my @auth = map { JSON::PP->new->canonical->encode($_->{json}{auth} // {}) }
               $backend->requests(type => 'connect', namespace => '/custom');

    is_deeply(\@auth, [ '{}', '{}', '{"a":1}', '{}', '{"a":1}' ],
              'C89 the auth of each');

    for my $nsp ('/nope', '/custom/', '/Custom', '/custom?x=1', '/cust%6fm',
                 '//', '/a"b\\', "/\xc3\xa9", '/custom ')
    {
        my $eio = session($how);

        for my $rest ('', ',', ',{"a":1}') {
            send_all($eio, "40$nsp$rest");
            next_is($eio, qq(44$nsp,{"message":"Invalid namespace"}),
                    'C90 ' . shown("40$nsp$rest"));
        }

        join_in($eio, '/');
        send_all($eio, '421["x",1]');
        answers($eio, [ '431[1]' ],
                'C90 ' . shown($nsp) . ': the connection stays');
    }

    my $line = 'client wants to enter namespace "/nope", which '
               . '"socketio_namespaces" does not declare';

    like($nginx->log, qr/\[info\] .* \Q$line\E/, 'the log says why');
};


# Packets for "/" and for others.

sub root_only {
    return grep { (ref $_ ? $_->[0] : $_) !~ m{/} } @_;
}


sub others_only {
    return grep { (ref $_ ? $_->[0] : $_) =~ m{/\w} } @_;
}


both 'not joined' => sub {
    my ($how) = @_;

    my @anything = (
        '42["x"]', '421["x"]', '43', '431', '43[]', '431[]', '41', '42/,["x"]',
        '42/custom,["x"]', '42/custom,1["x"]', '43/custom,1[]', '43/custom',
        '41/custom', '41/custom,', '42/nope,["x"]', '43/nope,1[]', '41/nope,',
        [ qq(451-["x",$ph]), $bin ], [ qq(461-1[$ph]), $bin ],
        [ qq(451-/custom,["x",$ph]), $bin ],
    );

    all_close($how, 'C92 alone:', [], @anything);
    all_close($how, 'C92 in "/":', [ '/' ], others_only(@anything));
    all_close($how, 'C92 in "/custom":', [ '/custom' ], root_only(@anything));

    for my $case (root_only(@anything)) {
        my @packets = ref $case ? @$case : $case;
        my $eio = joined($how, '/', '/custom');

        send_all($eio, '41');
        send_all($eio, @packets);
        is_closed($eio, [], 'C92 left: ' . shown(@packets));
    }

    my $eio = session($how);

    send_all($eio, '40/nope', '42/nope,["x"]');
    is_closed($eio, [ '44/nope,{"message":"Invalid namespace"}' ],
              'C92 an event after a refusal');

    is_deeply([ map { $_->{json}{event} } $backend->requests(type => 'event') ],
              [], 'C92 none of them is an event');
};


both 'CONNECT under way' => sub {
    my ($how) = @_;

    my $slow = sub {
        $backend->on({ type => 'connect' }, { delay => 0.3, @_ }, times => 1);
        return session($how);
    };

    my $eio = $slow->();

    send_all($eio, '40', '421["early",1]', qq(451-2["early",$ph]), $bin);
    next_is($eio, qr/^40\{"sid":"$sid"\}\z/, 'C92 the answer');
    answers($eio, [ '431[1]', qq(461-2[$ph]), $bin ],
            'C92 events behind it wait');

    $eio = $slow->();

    send_all($eio, '40');
    send_all($eio, '421["early"]');
    send_all($eio, '422["early"]');
    next_is($eio, qr/^40\{"sid":"$sid"\}\z/, 'C92 the answer');
    answers($eio, [ '431[]', '432[]' ], 'C92 events of their own wait');

    $eio = $slow->();

    send_all($eio, '40/custom', '40', '421["early"]');

    my @packets = map { ($eio->next // '') =~ s/"$sid"/""/r } 1 .. 3;

    is_deeply([ sort @packets ],
              [ '40/custom,{"sid":""}', '40{"sid":""}', '431[]' ],
              'C92 two namespaces');

    $eio = $slow->();

    send_all($eio, '40', '41', '40', '421["early"]');
    next_is($eio, qr/^40\{"sid":"$sid"\}\z/, 'C92 who left gets no answer');
    answers($eio, [ '431[]' ], 'C92 who came again does');

    $eio = $slow->(status => 403);

    send_all($eio, '40', '421["early"]');
    is_closed($eio, [ '44{"message":"Forbidden"}' ],
              'C92 an event behind a CONNECT that is refused');

    $eio = $slow->();

    send_all($eio, '40', '40');
    is_closed($eio, [], 'C93 a second one');
};


both 'joined already' => sub {
    my ($how) = @_;

    all_close($how, 'C93', [ '/', '/custom' ],
        '40', '40{}', '40{"a":1}', '40/', '40/,{}', '400', '40/custom',
        '40/custom,', '40/custom,{"a":1}');
};


both 'malformed packets' => sub {
    my ($how) = @_;

    all_close($how, 'C97', [ '/' ],

        # the type
        '4', '47', '48', '4abc', '4 ', '4 2["a"]', '4-1', "4\x002", '4/custom,',
        '4{"a":1}', '4["a"]',

        # no array
        '42', '421', '42/,', '42{"a":1}', '42"a"', '42null', '42true', '42-1',
        '42x', '421{"a":1}', '421"a"', '42 ["a"]', '42-1["a"]', '421.5["a"]',
        '42+1["a"]', '42,["a"]', "42\t[\"a\"]",

        # no JSON
        '42["a"', '42["a', '42[', '42["a",]', '42[,"a"]', '42["a"],',
        '42["a",01]', '42["a",1.]', '42["a",.5]', '42["a",+1]', '42["a",NaN]',
        '42["a",undefined]', "42['a']", "42[\"a\x01\"]", "42[\"a\n\"]",
        '42["a\\x"]', '42["a\\u12"]', '42["a",{"b"}]', '42["a",{b:1}]',
        '42["a",{"b":1,}]', '42["a" "b"]', '42["a",truE]',
        "42[\"a\",\xc2\xa0]",

        # behind it
        '42["message",1]garbage', '42["a"]]', '42["a"]["b"]', "42[\"a\"]\x00",
        '42["a"]1', '42["a"]//',

        # an event without a name
        '42[]', '42[ ]', '421[]', '42[null]', '42[true]', '42[false]',
        '42[["a"]]', '42[[]]', '42[{"a":1}]', '42[{}]',

        # ids above 2^53 - 1
        '429007199254740992["a"]', '4218446744073709551616["a"]',
        '42100000000000000000000["a"]', '439007199254740992[]',

        # acknowledgements
        '43{"a":1}', '431{"a":1}', '431"x"', '431null', '431[', '431[1]x',
        '43x', '43-1[]', '43 []',

        # nothing belongs to a DISCONNECT
        '41{"a":1}', '41[]', '41null', '41"x"', '41x', '41 ', '41/,{}',

        # servers send these
        '44', '44{"message":"x"}', '44"x"', '44[]', '44x', '44/,{}',
        '44/custom,{"message":"x"}',
    );

    all_close($how, 'C97', [ '/custom' ],
        '40null', '40[1]', '40[]', '40"x"', '401{bad', '40{bad', '40{', '40x',
        '40{"a":1}x', '40{"a":1}{}', '40true', '40 ', '40{a:1}', '40-1{}',
        '40 {"a":1}', '40/,null', '40/,[1]', '40/,"x"', '40/,x',

        # also for a namespace that does not exist
        '40/nope,null', '40/nope,[1]', '40/nope,{bad', '42/custom,[]',
        '42/custom', '42/custom,', '41/custom,{"a":1}',
    );

    none_closes($how, 'C97', [ '/' ],
        [ '42["a"]' ],
        [ '421["a",1]' => '431[1]' ],
        [ "421[\"a\",1] \t\r\n" => '431[1]' ],
        [ '421[ "a" , 1 ]' => '431[1]' ],
        [ '42/,1["a"]' => '431[]' ],
        [ '429007199254740991["a"]' => '439007199254740991[]' ],
        [ '4200123["a"]' => '43123[]' ],
        [ '421["a",1.50,1e400,12345678901234567890]'
          => '431[1.50,1e400,12345678901234567890]' ],
        [ '421["a",{"b":1,"a":2,"1":0,"b":3}]'
          => '431[{"b":1,"a":2,"1":0,"b":3}]' ],
        [ '421["a","\u00e9\ud83d\ude00\/"]'
          => '431["\u00e9\ud83d\ude00\/"]' ],
        [ "421[\"a\",\"\xc3\xa9\x7f\"]" => "431[\"\xc3\xa9\x7f\"]" ],
        [ '43' ], [ '431' ], [ '43/,' ], [ '43/,1' ],
        [ '43[]' ], [ '431[]' ], [ '431[1,"x"] ' ],
        [ [ '43', '431["a"]', '421["a"]' ] => '431[]' ],
    );

    my $eio = joined($how, '/', '/custom');

    # An id means nothing in these.
    send_all($eio, '41/custom,5', '411', '40/fence', '42["x"]');
    is_closed($eio, [ '44/fence,{"message":"Invalid namespace"}' ],
              'C97 41 with an id, an event behind it');
};


both 'names of events' => sub {
    my ($how) = @_;

    my @reserved = qw(connect connect_error disconnect disconnecting
                      newListener removeListener);

    all_close($how, 'C98', [ '/' ],
        (map { (qq(42["$_"]), qq(425["$_",1])) } @reserved),
        '42["conn\u0065ct"]', '42["\u0063onnect",1]', '42[ "connect" ]',
        (map { [ qq(451-["$_",$ph]), $bin ] } qw(connect newListener)));

    none_closes($how, 'C98', [ '/' ],
        (map { [ qq(421["$_",1]) => '431[1]' ] }
             qw(error connection message Connect connecting connect_timeout
                newlistener reconnect ping), 'connect ', ' connect',
             'connect\u0000', ''),
        (map { [ "421[$_,2]" => '431[2]' ] } qw(1 0 -1 1.5 1e3)));

    my $eio = joined($how, '/');

    send_all($eio, '421[7]', '422["7"]');
    answers($eio, [ '431[]', '432[]' ], 'C98 a number and its text');

    my @names = map { $_->{json}{event} } $backend->requests(
        type => 'event', sid => $eio->{sids}{'/'});

    is("@names", '7 7', 'C98 is told with its digits');
};


# A header for so many attachments, and them.

sub attached {
    my ($type, $n, $id) = @_;

    my @placeholders = map { qq({"_placeholder":true,"num":$_}) } 0 .. $n - 1;
    my $args = join ',', $type == 5 ? '"x"' : (), @placeholders;

    return "4$type$n-" . ($id // '') . "[$args]", ($bin) x $n;
}


both 'numbers of attachments' => sub {
    my ($how) = @_;

    all_close($how, 'C102', [ '/' ],
        '450-["x"]', '450-1["x"]', qq(450-["x",$ph]), '45["x"]', '45-["x"]',
        qq(451["x",$ph]), '45', '451', '45-', '451-', '451-{}', '451-[]',
        '451-1', '451-x', '45x-["x"]', qq(451.0-["x",$ph]), '45-1-["x"]',
        qq(45 1-["x",$ph]), qq(451 -["x",$ph]), qq(45+1-["x",$ph]),
        qq(451e0-["x",$ph]), qq(450x1-["x",$ph]), qq(45/,1-["x",$ph]),
        '46', '460-1[]', '461-', '461-1', '46-1[]', qq(461[$ph]), '461-{}',
        (attached(5, 11))[0], (attached(6, 11, 1))[0], '45100-["x"]',
        '454294967297-["x"]', '4518446744073709551617-["x"]',
        '45100000000000000000000-["x"]',
    );

    my ($echo) = attached(6, 10, 1);

    none_closes($how, 'C102', [ '/' ],
        [ [ attached(5, 10, 1) ] => $echo, ($bin) x 10 ],
        [ [ attached(5, 1, 1) ] => qq(461-1[$ph]), $bin ],
        [ [ attached(6, 10, 1) ] ],
        [ [ attached(6, 1) ] ],
        [ [ qq(4501-1["x",$ph]), $bin ] => qq(461-1[$ph]), $bin ]);
};


both 'what is between attachments' => sub {
    my ($how) = @_;

    my $header = qq(451-1["x",$ph]);
    my ($two) = attached(5, 2, 1);
    my ($echo) = attached(6, 2, 1);

    all_close($how, 'C103', [ '/' ],
        (map { [ $header, $_ ], [ $two, $bin, $_ ] }
             '42["x"]', '421["x"]', '43', '431[]', '41', '41/custom,', '40',
             '40/custom', '44', '4', $header),
        $bin, [ '42["x"]', $bin ], [ '431[]', $bin ], 'b', [ '3', $bin ],
        [ qq(461-1[$ph]), $bin, 'b' ]);

    all_close($how, 'C103', [], $bin, 'b', [ $header, '40' ],
              [ $header, '42["x"]' ]);

    none_closes($how, 'C103', [ '/' ],
        (map { my @between = @$_;
               [ [ $header, @between, $bin ] => qq(461-1[$ph]), $bin ],
               [ [ $two, $bin, @between, 'b' ] => $echo, $bin, 'b' ] }
             [ '3' ], [ '6' ], [ '3', '6', '3' ]),
        [ [ $header, $bin, '422["x"]' ] => qq(461-1[$ph]), $bin, '432[]' ]);

    # in requests of their own
    my $eio = joined($how, '/');

    send_all($eio, $_) for $two, '3', $bin, '6', 'b';
    answers($eio, [ $echo, $bin, 'b' ], 'C103 one after the other');

    $eio = joined($how, '/');

    send_all($eio, $two);
    send_all($eio, $bin);
    send_all($eio, '42["x"]');
    is_closed($eio, [], 'C103 text where the second is due');
};


both 'placeholders' => sub {
    my ($how) = @_;

    my $of = sub { return '{"_placeholder":true,"num":' . $_[0] . '}' };

    my @bad = (
        (map { $of->($_) } qw(1 -1 10 0.5 1e9 4294967296 18446744073709551616
                              "0" null true [] [0] {})),
        '{"_placeholder":true}', '{"_placeholder":true,"Num":0}',
        '{"num":1,"_placeholder":true}', '[[{"a":' . $of->(1) . '}]]',
        $ph . ',' . $of->(1), $of->(1) . ",$ph",
    );

    all_close($how, 'C104', [ '/' ],
        (map { [ qq(451-["x",$_]), $bin ] } @bad),
        (map { [ qq(461-1[$_]), $bin ] } @bad[0 .. 2]),
        [ '452-["x",' . $of->(2) . ']', $bin, $bin ]);

    my @fine = (
        "$ph,$ph", '1', '{"_placeholder":true,"num":0,"x":1}',
        '{"num":0,"_placeholder":true}', qq({"a":[{"b":$ph}]}),
        '{"_placeholder":false,"num":9}', '{"_placeholder":1,"num":9}',
        '{"_placeholder":"true","num":9}', '{"_placeholder":null}',
        '{"num":9}',
    );

    none_closes($how, 'C104', [ '/' ],
        (map { [ [ qq(451-1["x",$_]), $bin ] => qq(461-1[$_]), $bin ] } @fine),
        [ [ '452-1["x",' . $of->(1) . ",$ph]", $bin, 'b' ]
          => '462-1[' . $of->(1) . ",$ph]", $bin, 'b' ],
        (map { [ qq(421["x",$_]) => qq(431[$_]) ] } $ph, @bad[0, 1, 7, 13]));
};


both 'refusals' => sub {
    my ($how) = @_;

    my @cases = (
        [ 403, '{"error":{"message":"E2","data":{"code":"X"}}}'
          => '{"message":"E2","data":{"code":"X"}}' ],
        [ 200, '{"error":{"message":"E2","data":{"b":1.50,"a":"\u00e9"}}}'
          => '{"message":"E2","data":{"b":1.50,"a":"\u00e9"}}' ],
        [ 200, '{"error":{"message":"E2","data":[]}}'
          => '{"message":"E2","data":[]}' ],
        [ 400, '{"error":{"message":"E2"}}' => '{"message":"E2"}' ],
        [ 200, '{"error":{"message":"E2"}}' => '{"message":"E2"}' ],
        [ 200, '{"error":{"message":""}}'   => '{"message":""}' ],
        [ 403, ''                           => '{"message":"Forbidden"}' ],
    );

    for my $case (@cases) {
        my ($status, $body, $expected) = @$case;
        my $eio = joined($how, '/');

        $backend->on({ type => 'connect', namespace => '/mw' },
                     { status => $status, body => $body }, times => 1);

        send_all($eio, '40/mw,{"a":1}');
        next_is($eio, "44/mw,$expected", "C91 $status $body");

        # "/" is not concerned, and another time it may be accepted.
        send_all($eio, '421["x",1]');
        next_is($eio, '431[1]', 'C91 the connection stays');
        join_in($eio, '/mw');
        send_all($eio, '42/mw,2["x",2]');
        answers($eio, [ '43/mw,2[2]' ], 'C91 joined the next time');
    }

    $backend->on({ type => 'connect', namespace => '/mw' },
                 { status => 403 }, times => 1);

    my $eio = joined($how, '/');

    send_all($eio, '40/mw');
    next_is($eio, '44/mw,{"message":"Forbidden"}', 'C91 refused');
    send_all($eio, '42/mw,["x"]');
    is_closed($eio, [], 'C91 an event to who has refused');
};


# Packets as they come, with an answer to each ping.

sub pings {
    my ($eio, $n) = @_;

    my @packets;

    while (@packets < $n) {
        push @packets, $eio->{ws} ? $eio->{ws}->recv // '(nothing)'
                                  : $eio->poll;
        $eio->send('3') if $packets[-1] eq '2';
    }

    return @packets;
}


both 'DISCONNECT' => sub {
    my ($how) = @_;

    for my $packet ('41', '41/', '41/,') {
        my $eio = joined($how, '/', '/custom');
        my $old = $eio->{sids}{'/'};

        send_all($eio, $packet);
        answers($eio, [], "C94 $packet is not answered");
        send_all($eio, '42/custom,1["x"]');
        answers($eio, [ '43/custom,1[]' ], "C94 $packet, the other stays");
        isnt(join_in($eio, '/'), $old, "C94 $packet, a new id");
        send_all($eio, '421["x"]');
        answers($eio, [ '431[]' ], "C94 $packet, joined again");
    }

    for my $packet ('41/custom', '41/custom,') {
        my $eio = joined($how, '/', '/custom');
        my $old = $eio->{sids}{'/custom'};

        send_all($eio, $packet);
        send_all($eio, '421["x"]');
        answers($eio, [ '431[]' ], "C94 $packet, the other stays");
        isnt(join_in($eio, '/custom'), $old, "C94 $packet, a new id");
    }

    my $eio = joined($how, '/');

    send_all($eio, '41', '40', '421["x"]');
    next_is($eio, qr/^40\{"sid":"$sid"\}\z/, 'C94 out and in at once');
    answers($eio, [ '431[]' ], 'C94 in order');

    my @reasons = map { $_->{json}{reason} } $backend->wait(1, 10,
                      type => 'disconnect', sid => $eio->{sids}{'/'});

    is($reasons[0], 'client namespace disconnect', 'C94 the backend is told');

    $eio = session($how, path => '/pinging/');
    join_in($eio, '/');
    send_all($eio, '41');

    is_deeply([ pings($eio, 3) ], [ ('2') x 3 ], 'C94 pings go on');
    isnt(join_in($eio, '/'), undef, 'C94 joins after them');
};


both 'the time for CONNECT' => sub {
    my ($how) = @_;

    $backend->on({ type => 'connect', namespace => '/mw' }, { status => 403 });
    $backend->on({ type => 'connect', namespace => '/custom' }, { hang => 1 });

    my %packets = (
        'nothing'           => [],
        'heartbeats'        => [ '3' ],
        'unknown'           => [ '40/nope' ],
        'refused'           => [ '40/mw' ],
        'both'              => [ '40/nope', '40/mw' ],
        'without an answer' => [ '40/custom' ],
    );

    my $started = time;
    my (%late, %fine);

    # Each says at once what it has to say: the time is short.
    for my $name ('joined', 'left') {
        $fine{$name} = session($how, path => '/impatient/');
        join_in($fine{$name}, '/');
    }

    for my $name (keys %packets) {
        my @packets = @{ $packets{$name} };

        $late{$name} = session($how, path => '/impatient/');
        send_all($late{$name}, @packets) if @packets;
    }

    send_all($fine{left}, '41');

    for my $name (sort keys %packets) {
        my @refused = map { /nope/ ? '44/nope,{"message":"Invalid namespace"}'
                            : /mw/ ? '44/mw,{"message":"Forbidden"}' : () }
                      @{ $packets{$name} };

        my $eio = $late{$name};
        my @got = map { $eio->next // '(nothing)' } @refused;

        is_deeply(\@got, \@refused, "C95 $name, refused") if @refused;
        is_closed($eio, [], "C95 $name");
    }

    cmp_ok(time - $started, '>', 0.4, 'C95 not before its time');

    # Twice that time has to pass for those who must not notice.
    sleep 1;

    send_all($fine{joined}, '421["x"]');
    answers($fine{joined}, [ '431[]' ], 'C95 who has joined stays');
    answers($fine{left}, [], 'C96 who has left stays, too');
    isnt(join_in($fine{left}, '/'), undef, 'C96 and joins again');
};


# An event for the backend, which replies so.

sub replying {
    my ($reply, %option) = @_;

    $backend->on({ type => 'event', event => 'do' }, { json => $reply },
                 %option);
}


both 'acknowledgements' => sub {
    my ($how) = @_;

    none_closes($how, 'C99', [ '/', '/custom' ],
        [ '420["x",1]' => '430[1]' ],
        [ '42["x",1]' ],
        [ '427["x"]' => '437[]' ],
        [ '427["x",1,"2",[3],{"4":null}]' => '437[1,"2",[3],{"4":null}]' ],
        [ [ '423["x",1]', '423["x",2]' ] => '433[1]', '433[2]' ],
        [ '42/custom,3["x",1]' => '43/custom,3[1]' ],
        [ [ '4299["x",1]', '425["x",2]', '420["x",3]' ]
          => '4399[1]', '435[2]', '430[3]' ]);

    my $eio = joined($how, '/');

    # Who is not answered in the reply gets nothing, and holds nothing up.
    $backend->on({ type => 'event', event => 'none' }, { status => 204 });
    send_all($eio, '425["none",1]', '426["x",2]');
    answers($eio, [ '436[2]' ], 'C99 no answer');

    # The backend asks.
    replying({ emit => [ { event => 'ask', args => [ 1 ], ack => 'tok' } ] });

    $eio = joined($how, '/');

    none_closes($how, 'C100', [ '/', '/custom' ],
        map { [ $_ ] } '430[1]', '4399["x"]', '439007199254740991[]', '43[]',
                       '43/custom,0[]', '430', [ qq(461-5[$ph]), $bin ],
                       [ '430[1]', '430[1]' ]);

    send_all($eio, '42["do"]');

    my ($id) = ($eio->next // '') =~ /^42(\d+)\["ask",1\]\z/;

    isnt($id, undef, 'C100 asked');

    # Neither another id nor what is not even an empty list answers it.
    send_all($eio, '43' . ($id + 1) . '["other"]', '43', "43$id",
             "43${id}[\"yes\"]", "43${id}[\"again\"]", "43$id");
    answers($eio, [], 'C100 others than the one are ignored');

    send_all($eio, '421["x"]');
    answers($eio, [ '431[]' ], 'C100 and the session lives');

    is_deeply([ map { @{ $_->{json} }{qw(token args)} }
                $backend->requests(type => 'ack',
                                   sid => $eio->{sids}{'/'}) ],
              [ 'tok', [ 'yes' ] ], 'C100 the backend is told once');
};


both 'attachments' => sub {
    my ($how) = @_;

    $backend->on({ type => 'event', event => 'echo' }, { json => {
        emit => [ {
            event       => 'echo',
            args        => '%args%',
            attachments => '%attachments%',
        } ],
    } });

    my $second = '{"_placeholder":true,"num":1}';

    my @cases = (
        [ 1, "[\"echo\",$ph]", 'bAQID' ],
        [ 1, "[\"echo\",$ph]", 'b' ],
        [ 1, "[\"echo\",\"x\",{\"a\":[$ph]}]", 'b/+8=' ],
        [ 2, "[\"echo\",$ph,$second]", 'bAQID', 'bBAU=' ],
        [ 2, "[\"echo\",$second,1,$ph]", 'bAQID', 'b' ],
        [ 1, "[\"echo\",$ph]", 'b' . 'AAEC' x 10000 ],
    );

    for my $case (@cases) {
        my ($n, $json, @binaries) = @$case;
        my $eio = joined($how, '/', '/custom');
        my @shown = ($json, map { substr $_, 0, 10 } @binaries);

        for my $nsp ('', '/custom,') {
            send_all($eio, "45$n-$nsp$json", @binaries);
            answers($eio, [ "45$n-$nsp$json", @binaries ],
                    'C101 ' . shown("45$n-$nsp", @shown));

            my $args = $json =~ s/^\["echo",/["ack",/r;
            my $echo = $json =~ s/^\["echo",/[/r;

            send_all($eio, "45$n-${nsp}7$args", @binaries);
            answers($eio, [ "46$n-${nsp}7$echo", @binaries ],
                    'C101 ' . shown("46$n-${nsp}7", @shown));
        }
    }

    # One by one, on a WebSocket in text form, too.
    my $eio = joined($how, '/');
    my ($header, @binaries) = ("452-[\"echo\",$ph,$second]", 'bAQID', 'bBAU=');

    if ($eio->{ws}) {
        $eio->{ws}->send_text($_) for $header, @binaries;

    } else {
        send_all($eio, $_) for $header, @binaries;
    }

    answers($eio, [ $header, @binaries ], 'C101 one by one');

    # A binary event may have a plain answer, and the other way round.
    replying({ ack => [ 1 ] }, times => 1);
    send_all($eio, qq(451-8["do",$ph]), $bin);
    answers($eio, [ '438[1]' ], 'C101 a plain answer');

    replying({ ack => [ JSON::PP->new->decode($ph) ],
               attachments => [ 'AQID' ] }, times => 1);
    send_all($eio, '429["do"]');

    my $answer = $eio->next // '';

    like($answer, qr/^461-9\[\{.*\}\]\z/, 'C101 an answer with a binary');
    answers($eio, [ $bin ], 'C101 and the binary');
};


both 'disconnected by the server' => sub {
    my ($how) = @_;

    my $api = sub {
        my ($eio, $nsp, $close) = @_;

        return $way->api('disconnect', {
            namespace => $nsp,
            in        => [ $eio->{sids}{$nsp} ],
            close     => $close ? JSON::PP::true : JSON::PP::false,
        });
    };

    my $eio = joined($how, '/', '/custom');

    is($api->($eio, '/', 0), 1, 'C105 matched');
    answers($eio, [ '41' ], 'C105 close: false');
    send_all($eio, '42/custom,1["x"]');
    answers($eio, [ '43/custom,1[]' ], 'C105 the other stays');
    is($api->($eio, '/custom', 0), 1, 'C105 matched');
    answers($eio, [ '41/custom,' ], 'C105 the last one, the engine stays');
    isnt(join_in($eio, '/'), undef, 'C105 and joins again');

    my @both = ('41', '41/custom,');

    $eio = joined($how, '/', '/custom');
    is($api->($eio, '/', 1), 1, 'C105 matched');
    is_closed($eio, \@both, 'C105 close: true');

    $eio = joined($how, '/', '/custom');
    is($api->($eio, '/custom', 1), 1, 'C105 matched');
    is_closed($eio, \@both, 'C105 close: true in "/custom"');

    replying({ disconnect => JSON::PP::true }, times => 1);
    $eio = joined($how, '/', '/custom');
    send_all($eio, '42["do"]');
    answers($eio, [ '41' ], 'C105 disconnect: true');

    replying({ disconnect => 'transport' }, times => 1);
    $eio = joined($how, '/', '/custom');
    send_all($eio, '42["do"]');
    is_closed($eio, \@both, 'C105 disconnect: "transport"');

    replying({ ack => [ 'bye' ], disconnect => JSON::PP::true }, times => 1);
    $eio = joined($how, '/', '/custom');
    send_all($eio, '421["do"]', '422["lost"]');
    next_is($eio, '431["bye"]', 'C105 what was replied first');
    next_is($eio, '41', 'C105 then the end');

    # A poll that waits gets the same.
    if ($how eq 'polling') {
        $eio = joined($how, '/', '/custom');
        $eio->{pending} = $way->waiting($eio);
        $api->($eio, '/', 1);
        is_closed($eio, \@both, 'C105 with a waiting poll');
    }
};


sub events_of {
    my ($eio) = @_;

    my @packets;

    $eio->send('40/fence');

    while (defined(my $packet = $eio->next)) {
        last if $packet =~ /^44\/fence/;
        push @packets, $packet;
    }

    return join ' ', @packets;
}


both 'rooms' => sub {
    my ($how) = @_;

    my ($one, $two, $three) = map { joined($how, '/') } 1 .. 3;
    my @all = ($one, $two, $three);
    my @sids = map { $_->{sids}{'/'} } @all;
    my ($r1, $r2, $r3) = map { "$_ $how" } qw(a b c);

    $way->api('join', { in => [ $sids[0] ], rooms => [ $r1, $r2 ] });
    $way->api('join', { in => [ $sids[1] ], rooms => [ $r2, $r3 ] });

    # Others that came before are still here.
    my @cases = (
        [ [ $r1 ]                            => 1, 0, 0 ],
        [ [ $r1, $r2 ]                       => 1, 1, 0 ],
        [ [ $r1, $r2, $r3, $r1, $sids[0] ]   => 1, 1, 0 ],
        [ [ 'nobody' ]                       => 0, 0, 0 ],
        [ [ 'nobody', $sids[2] ]             => 0, 0, 1 ],
        [ [ $r1, $r2 ], [ $r3 ]              => 1, 0, 0 ],
        [ [ $r1, $r2 ], [ $sids[0] ]         => 0, 1, 0 ],
        [ [ $r1, $r2 ], [ 'nobody' ]         => 1, 1, 0 ],
        [ [ $r1 ], [ $r1 ]                   => 0, 0, 0 ],
        [ undef,                                1, 1, 1 ],
        [ []                                 => 1, 1, 1 ],
        [ undef, []                          => 1, 1, 1 ],
        [ undef, [ $r2 ]                     => 0, 0, 1 ],
        [ [], [ $sids[2] ]                   => 1, 1, 0 ],
    );

    for my $i (0 .. $#cases) {
        my @expected = splice @{ $cases[$i] }, -3;
        my ($to, $except) = @{ $cases[$i] };
        my $name = JSON::PP->new->encode([ $to, $except ]);

        $name =~ s/$sids[$_]/sid $_/g for 0 .. 2;

        my $matched = $way->api('emit', {
            event => 'e',
            args  => [ $i ],
            defined $to ? (to => $to) : (),
            defined $except ? (except => $except) : (),
        });

        my $sum = 0;

        $sum += $_ for @expected;
        cmp_ok($matched, $to && @$to ? '==' : '>=', $sum,
               "C110 matched by $name");
        is_deeply([ map { events_of($_) } @all ],
                  [ map { $_ ? "42[\"e\",$i]" : '' } @expected ],
                  "C110 got by $name");
    }
};


both 'volatile' => sub {
    my ($how) = @_;

    my $emit = sub {
        my ($eio, $event, %option) = @_;

        return $way->api('emit', {
            event => $event,
            to    => $eio->{sids}{'/'},
            %option,
        });
    };

    my @binary = (args => [ JSON::PP->new->decode($ph) ],
                  attachments => [ 'AQID' ]);
    my @volatile = (volatile => JSON::PP::true);
    my $eio = joined($how, '/');

    if ($how eq 'polling') {
        $emit->($eio, 'one', @volatile) for 1 .. 2;
        $emit->($eio, 'one', @volatile, @binary);
        $emit->($eio, 'two');
        $emit->($eio, 'three', @volatile);
        answers($eio, [ '42["two"]' ], 'C111 without a waiting poll');

        $eio->{pending} = $way->waiting($eio);
        $emit->($eio, 'one', @volatile);
        $emit->($eio, 'two', @volatile);
        answers($eio, [ '42["one"]' ], 'C111 with one');

        $eio->{pending} = $way->waiting($eio);
        $emit->($eio, 'one', @volatile, @binary);

        like($eio->next, qr/^451-\["one",\{.*\}\]\z/, 'C111 with a binary');
        answers($eio, [ $bin ], 'C111 that comes as a whole');

        $eio->{pending} = $way->waiting($eio);

    } else {
        for my $n (1 .. 3) {
            $emit->($eio, "e$n", @volatile);
            next_is($eio, "42[\"e$n\"]", 'C111 an idle WebSocket');
        }

        $emit->($eio, 'one', @volatile, @binary);
        like($eio->next, qr/^451-\["one",\{.*\}\]\z/, 'C111 with a binary');
        answers($eio, [ $bin ], 'C111 that comes as a whole');
    }

    # Several in one turn: the first of them, for whom can be written to.
    replying({ emit => [ map { { event => "v$_", volatile => JSON::PP::true } }
                             1 .. 3 ] }, times => 1);

    if ($how eq 'polling') {
        SIO::HTTP->new(port => $way->port, timeout => 20)->request('POST',
            $eio->url('polling'), body => '42["do"]');

    } else {
        $eio->send('42["do"]');
    }

    next_is($eio, '42["v1"]', 'C111 the first of three');
    answers($eio, [], 'C111 and no other');
};


subtest 'the end of nginx' => sub {
    my ($ws, $idle, $poll) = map { joined($_, '/', '/custom') }
                                 'WebSocket', 'polling', 'polling';

    my $pending = $way->waiting($poll);

    $nginx->signal('QUIT');

    is($ws->next, undef, 'C106 no packet');
    is_deeply($ws->{ws}{closed}, { code => 1005, reason => '' },
              'C106 an empty close frame');

    # nginx itself ends requests when the time is up.
    my $response = $pending->wait(30);

    ok($response, 'C106 the poll ends');
    like($response ? $response->{body} : '(nothing)', qr/^1?\z/,
         'C106 without 41');
};


# Backends may take their time: one of them was left hanging.
$nginx->stop('QUIT', timeout => 30);
$backend->stop;

done_testing;
