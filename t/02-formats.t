#!/usr/bin/perl

# What message queues carry: every vector of t/vectors/queues.json is
# understood as it was meant, or refused; no part of one is taken for a whole;
# what is written is read again; and nothing that chance changes does any harm.
#
#   NGX_SRC     the nginx source tree, default: Debian's nginx-dev
#   CC          the compiler, default: cc

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(strftime);
use SIO::Formats;
use SIO::Util qw(read_file root);
use Test::More;

my $json = JSON::PP->new->utf8->allow_nonref->allow_bignum->canonical;
my $vectors = $json->decode(SIO::Formats::whole(
    read_file(root() . '/t/vectors/queues.json')));

my $formats = SIO::Formats->new;


# [5.15.0 and before read a list as one argument]
sub dialect {
    my ($vector) = @_;

    return ($vector->{dialect} // '') =~ /5\.1(?:4\.|5\.0)/ ? 1 : 0;
}


sub of {
    my ($name) = @_;

    return grep { $_->{format} eq $name } @$vectors;
}


# Octets in the place of their placeholders.

sub filled {
    my ($value, $octets) = @_;

    if (ref $value eq 'ARRAY') {
        return [ map { filled($_, $octets) } @$value ];
    }

    return $value if ref $value ne 'HASH';

    if (@$octets && $value->{_placeholder} && exists $value->{num}) {
        return { '$bin' => $octets->[$value->{num}] };
    }

    return { map { $_ => filled($value->{$_}, $octets) } keys %$value };
}


# What the vectors write for what JSON has no words for.

sub plain {
    my ($value) = @_;

    if (ref $value eq 'ARRAY') {
        return [ map { plain($_) } @$value ];
    }

    if (ref $value eq 'HASH') {
        return undef if exists $value->{'$num'};

        # JSON::PP takes integers of up to 20 characters for Perl's own
        if (defined(my $digits = $value->{'$int'})) {
            return length $digits > 20 ? Math::BigInt->new($digits)
                                       : 0 + $digits;
        }

        return { map { $_ => plain($value->{$_}) } keys %$value };
    }

    return $value;
}


sub same {
    my ($got, $expected, $name) = @_;

    # numbers and texts of digits are told apart by their encoding
    is($json->encode($got), $json->encode(plain($expected)), $name);
}


sub check_python {
    my ($vector, $said) = @_;

    my $meaning = $vector->{meaning};
    my $kind = $meaning->{kind};
    my $name = $vector->{name};

    is($said->{nsp}, $meaning->{nsp}, "$name: namespace");

    if ($kind eq 'ack') {
        is($said->{kind}, 'ack', "$name: kind");
        is($said->{to_origin}, $meaning->{to_origin}, "$name: whose");
        is($said->{id}, $meaning->{id}, "$name: id");
        same($said->{room}[0], $meaning->{key}, "$name: room");
        same(filled($said->{json}, $said->{attachments}), $meaning->{args},
             "$name: arguments");
        return;
    }

    is($said->{origin}, $meaning->{origin} // '', "$name: origin");

    if ($kind ne 'broadcast') {
        is($said->{kind}, $kind eq 'close_room' ? 'leave' : $kind,
           "$name: kind");
        same($said->{rooms}, [ $meaning->{sid} // $meaning->{room} ],
             "$name: whom");
        same($said->{op_rooms}, [ $meaning->{room} ], "$name: room")
            if $kind ne 'disconnect';
        return;
    }

    is($said->{kind}, 'emit', "$name: kind");

    my ($event, @args) = @{ filled($said->{json}, $said->{attachments}) };

    is($event, $meaning->{event}, "$name: event");
    same(\@args, $meaning->{args}, "$name: arguments") if $meaning->{args};
    same($said->{all} ? undef : $said->{rooms}, $meaning->{rooms},
         "$name: rooms");
    same($said->{except}, $meaning->{skip_sids}, "$name: except");

    if ($meaning->{ack}) {
        same([ $said->{room}[0], $said->{id} ],
             [ @{ $meaning->{ack} }{qw(room id)} ], "$name: callback");
    }
}


# What is written in any dialect says the same to its readers.

sub check_again {
    my ($vector, $payload) = @_;

    my $wrong = 0;

    for my $dialect (0, 1, 2) {
        my $first = $formats->decode(python => $dialect % 2, $payload);
        my $again = $formats->encode(python => $dialect, $dialect % 2,
                                     $payload) // next;

        my $second = $formats->decode(python => $dialect % 2, $again);

        if ($json->encode($first) ne $json->encode($second)) {
            $wrong++;
            diag("$vector->{name}, dialect $dialect:\n",
                 $json->encode($first), "\n", $json->encode($second));
        }
    }

    is($wrong, 0, "$vector->{name}: written and read again");
}


for my $format (qw(python-json python-pickle)) {
    subtest $format => sub {
        my ($accepted, $refused, $parts) = (0, 0, 0);

        for my $vector (of($format)) {
            my $payload = decode_base64($vector->{payload_base64});
            my $said = $formats->decode(python => dialect($vector), $payload);

            if ($vector->{reject}) {
                ok($said->{refused}, "$vector->{name}: $vector->{reason}");
                $refused++;
                next;
            }

            $accepted++;

            if ($said->{refused}) {
                fail("$vector->{name}: $said->{refused}");
                next;
            }

            check_python($vector, $said);
            check_again($vector, $payload);

            next if length $payload > 2000;

            my @taken = grep {
                substr($payload, $_) =~ /\S/
                    && !$formats->decode(python => 0, substr $payload, 0, $_)
                        ->{refused}
            } 0 .. length($payload) - 1;

            is("@taken", '', "$vector->{name}: no part is a whole");
            $parts++;
        }

        cmp_ok($accepted, '>', 90, 'many were understood');
        cmp_ok($refused, '>', 30, 'many were refused');
        cmp_ok($parts, '>', 80, 'many were cut');
    };
}


# What JSON makes of a Date, and of nothing at all.

sub stringified {
    my ($value) = @_;

    return [ map { stringified($_) } @$value ] if ref $value eq 'ARRAY';
    return $value if ref $value ne 'HASH';

    if (defined(my $msec = $value->{'$date_ms'})) {
        my $part = $msec % 1000;

        return strftime('%Y-%m-%dT%H:%M:%S', gmtime(($msec - $part) / 1000))
               . sprintf('.%03dZ', $part);
    }

    return undef if exists $value->{'$undefined'};

    return { map { $_ => stringified($value->{$_}) }
             grep { ref $value->{$_} ne 'HASH'
                    || !exists $value->{$_}{'$undefined'} } keys %$value };
}


my %kinds = (
    broadcast => 'emit', broadcast_with_ack => 'emit', join => 'join',
    leave => 'leave', disconnect => 'disconnect', fetch_sockets => 'fetch',
    sockets_response => 'fetched', all_rooms => 'rooms',
    rooms_response => 'roomed', server_side_emit => 'server',
    server_side_emit_response => 'served', client_count => 'count',
    broadcast_ack => 'back',
);


sub check_node {
    my ($vector, $said) = @_;

    my $meaning = $vector->{meaning};
    my $kind = $meaning->{kind};
    my $name = $vector->{name};
    my $value = filled($said->{json}, $said->{attachments});

    is($said->{kind}, $kinds{$kind}, "$name: kind");
    is($said->{request_id}, $meaning->{request_id} // '', "$name: request");
    is($said->{origin}, $meaning->{origin} // '', "$name: origin");
    is($said->{nsp}, $meaning->{nsp} // ($vector->{channel} =~ /#(.+?)#/)[0],
       "$name: namespace");

    if (defined $meaning->{event}) {
        my ($event, @args) = @$value;

        is($event, $meaning->{event}, "$name: event");
        same(\@args, stringified($meaning->{args}), "$name: arguments");
    }

    if ($meaning->{rooms} && $kind ne 'rooms_response') {
        same($said->{rooms}, $meaning->{rooms}, "$name: rooms");
        same($said->{except}, $meaning->{except_rooms}, "$name: except");
        is($said->{all}, @{ $meaning->{rooms} } ? 0 : 1, "$name: everybody");
    }

    same($said->{op_rooms}, $meaning->{target_rooms}, "$name: which rooms")
        if $meaning->{target_rooms};
    is($said->{close}, $meaning->{close} ? 1 : 0, "$name: close");
    is($said->{count}, $meaning->{count} // 0, "$name: count");
    is($said->{timeout}, $meaning->{flags}{timeout} // 0, "$name: timeout");
    is($said->{volatile}, $meaning->{flags}{volatile} ? 1 : 0,
       "$name: volatile");

    same($value, $meaning->{rooms}, "$name: names")
        if $kind eq 'rooms_response';
    same($kind eq 'broadcast_ack' ? $value->[0] : $value, $meaning->{value},
         "$name: value") if exists $meaning->{value};

    if ($meaning->{sockets}) {
        same([ map { my $socket = $_;
                     +{ map { $_ => $socket->{$_} } qw(id rooms data) } }
               @$value ], $meaning->{sockets}, "$name: sockets");
    }
}


# The prefix is always the same here.

sub channel {
    my ($vector) = @_;

    return $vector->{channel} =~ s/^[^#]*?(-request|-response|)#/socket.io$1#/r;
}


# Octet for octet what Node writes, but for what it says in several ways.

my %differs = map { $_ => 1 } qw(
    noderedis-emit-flags noderedis-emit-date noderedis-emit-numbers
    noderedis-handmade-no-nsp noderedis-handmade-opts-nil
    noderedis-handmade-type-float
);

for my $format (qw(node-redis-adapter node-redis-request node-redis-response))
{
    subtest $format => sub {
        my ($accepted, $refused) = (0, 0);

        for my $vector (of($format)) {
            my $name = $vector->{name};
            my $payload = decode_base64($vector->{payload_base64});
            my $said = $formats->decode(node => channel($vector), $payload);

            # that it is unknown can be told by whoever knows
            next if $name eq 'bad-noderesponse-unknown-id';

            if ($vector->{reject}) {
                ok($said->{refused}, "$name: $vector->{reason}");
                $refused++;
                next;
            }

            $accepted++;

            if ($said->{refused}) {
                fail("$name: $said->{refused}");
                next;
            }

            check_node($vector, $said);

            my $again = $formats->encode(node => 0, channel($vector), $payload)
                // '';

            is($json->encode($formats->decode(node => channel($vector),
                                              $again)),
               $json->encode($said), "$name: written and read again");

            ok($again eq $payload, "$name: as Node writes it")
                if $format eq 'node-redis-adapter' && $name =~ /^noderedis/
                   && !$differs{$name};

            next if length $payload > 2000;

            my @taken = grep {
                !$formats->decode(node => channel($vector),
                                  substr $payload, 0, $_)->{refused}
            } 0 .. length($payload) - 1;

            is("@taken", '', "$name: no part is a whole");
        }

        cmp_ok($accepted, '>', 10, 'many were understood');
        cmp_ok($refused, '>', 4, 'many were refused');
    };
}


# [JSON, what MessagePack makes of it; whether notepack.io reads it so]
subtest 'numbers' => sub {
    my %packed = (
        '127'  => '7f', '128' => 'cc80', '65536' => 'ce00010000',
        '9007199254740993'     => 'cf0020000000000001',
        '18446744073709551615' => 'cfffffffffffffffff',
        '18446744073709551616' => 'cb43f0000000000000',
        '-1' => 'ff', '-33' => 'd0df', '-129' => 'd1ff7f',
        '-9223372036854775808' => 'd38000000000000000',
        '-9223372036854775809' => 'cbc3e0000000000000',
        '1e300' => 'cb7e37e43c8800759c', '1e999' => 'c0', '-0' => '00',
        '0.1' => 'cb3fb999999999999a',
    );

    for my $number (sort keys %packed) {
        my $request = '{"type":7,"requestId":"q","packet":{"type":2,"nsp":"/",'
                      . '"data":["e",' . $number . ']},"opts":{}}';
        my $payload = $formats->encode(node => 0, 'socket.io-request#/#',
                                       $request);

        like(unpack('H*', $payload), qr/a464617461 92 a165 $packed{$number}
                                        a36e7370/x, "the number $number");
    }
};


# A browser hangs up over a placeholder that names no attachment; Python takes
# it for data.
subtest 'placeholders without a number' => sub {
    my $json = '{"method":"emit","event":"e","data":[[{"_placeholder":true,'
               . '"number":0}],"YQ=="],"namespace":"/","binary":true}';

    # pickle.dumps({"method": ..., "data": ({"_placeholder": True}, b"a")}, 3)
    my $pickle = pack 'H*', '80037d2858060000006d6574686f645804000000656d6974'
        . '58050000006576656e74580100000065580400000064617461'
        . '7d580c0000005f706c616365686f6c646572887343016186'
        . '58090000006e616d65737061636558010000002f752e';

    # one argument more than the octets
    my $ack = pack 'H*', '80037d2858060000006d6574686f64580800000063616c6c6261'
        . '636b5807000000686f73745f6964580100000068580300000073696458010000'
        . '007258090000006e616d65737061636558010000002f580200000069644b0158'
        . '0400000061726773' . '7d580c0000005f706c616365686f6c646572887343016186'
        . '752e';

    for ([ 'JSON', $json ], [ 'a pickle', $pickle ], [ 'an answer', $ack ]) {
        my ($name, $payload) = @$_;

        is($formats->decode(python => 0, $payload)->{refused},
           'malformed placeholder', "$name is refused");

        # a number makes it good
        $payload =~ s/"number"/"num"/ or $payload =~ s/_placeholder/_placeholdex/;
        is($formats->decode(python => 0, $payload)->{refused}, undef,
           "$name is taken otherwise");
    }
};


# Found by the fuzzer: what we write is read by our own kind as well.

subtest 'there and back' => sub {
    my $head = '{"method":"emit","event":"e","namespace":"/",';
    my $float = '922337203184467440.37095516156854775807';

    # dialects: 0 is that of 5.14, 1 of 5.16, 2 the pickle
    my $pickle = $formats->encode(python => 2, 1, "$head\"data\":[[$float]]}");

    is($formats->decode(python => 1, $pickle)->{refused}, undef,
       'a number with many digits, in a pickle');

    my $json = $formats->encode(python => 0, 0,
        "$head\"binary\":true,\"data\":[[],\"YQ==\"]}");

    is($formats->decode(python => 0, $json)->{refused}, undef,
       'octets without an argument');
};


# JSON names an attachment as often as it likes, the other formats have it there
# in full each time: without a limit, one client could fill the memory.

subtest 'one attachment, many times' => sub {
    my $place = '{"_placeholder":true,"num":0}';
    my $octets = encode_base64('x' x 65536, '');

    for my $times (2, 1000) {
        my $emit = '{"method":"emit","event":"e","namespace":"/",'
                   . '"binary":true,"data":[['
                   . join(',', ($place) x $times) . "],\"$octets\"]}";

        my $pickle = $formats->encode(python => 2, 0, $emit);

        is(length($pickle // '') > 65536 * 2, $times == 2,
           "$times times in a pickle");
    }
};


# The same changes in every run.

subtest 'chance' => sub {
    my @messages = map { [ $_, decode_base64($_->{payload_base64}) ] }
                   grep { length $_->{payload_base64} < 4000 }
                   map { of($_) }
                   qw(python-json python-pickle node-redis-adapter
                      node-redis-request node-redis-response);
    my ($taken, $refused) = (0, 0);

    srand 20;

    for (1 .. 30000) {
        my ($vector, $payload) = @{ $messages[rand @messages] };

        for (0 .. rand 3) {
            my $place = int rand(length($payload) + 1);

            substr($payload, $place, int rand 3)
                = rand() < 0.2 ? '' : chr int rand 256
                if $place < length $payload;
        }

        my $said = $vector->{format} =~ /^node/
            ? $formats->decode(node => channel($vector), $payload)
            : $formats->decode(python => int rand 2, $payload);

        $said->{refused} ? $refused++ : $taken++;
    }

    cmp_ok($refused, '>', 5000, "$refused were refused");
    cmp_ok($taken, '>', 500, "$taken were understood");
};


is($formats->stop, 0, 'without any complaint of the sanitizers')
    or diag($formats->complaints);

done_testing();
