package SIO::WS;

use strict;
use warnings;

use Carp qw(croak);
use Digest::SHA qw(sha1_base64);
use MIME::Base64 qw(encode_base64);
use SIO::HTTP;
use SIO::Util qw(scale);
use Time::HiRes qw(time);

use constant {
    CONTINUATION => 0,
    TEXT         => 1,
    BINARY       => 2,
    CLOSE        => 8,
    PING         => 9,
    PONG         => 10,
};


sub connect {
    my ($class, %option) = @_;

    my ($self, $response) = $class->handshake(%option);

    return $self if $self;

    croak "no WebSocket: $response->{status} $response->{body}";
}


# In list context the connection, undefined if it was refused, and the answer.

sub handshake {
    my ($class, %option) = @_;

    my $key = $option{key} // encode_base64(
        join('', map { chr int rand 256 } 1 .. 16), '');

    my $http = $option{http} // SIO::HTTP->new(
        port    => $option{port},
        rcvbuf  => $option{rcvbuf},
        timeout => $option{timeout} // 20,
    );

    my @given = @{ $option{headers} // [] };
    my %given = map { lc $given[2 * $_] => 1 } 0 .. @given / 2 - 1;
    my @headers = (
        'Upgrade'               => 'websocket',
        'Connection'            => 'Upgrade',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key'     => $key,
    );

    # A header that the caller gives, undefined too, replaces ours.
    while (my ($name, $value) = splice @headers, 0, 2) {
        push @given, $name, $value if !$given{lc $name};
    }

    my $c = $http->start($option{method} // 'GET', $option{path},
                         headers => \@given);

    $c->write($option{early}) if defined $option{early};

    # The connection belongs to us now.
    delete $http->{connection};

    my $response = $c->wait($option{timeout})
                   // croak 'no answer to the handshake';

    return (undef, $response) if $response->{status} != 101;

    my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11');

    if (!$option{key}
        && ($response->{headers}{'sec-websocket-accept'} // '') ne "$accept=")
    {
        croak 'wrong Sec-WebSocket-Accept';
    }

    my $self = bless {
        c        => $c,
        timeout  => $option{timeout} // 20,
        response => $response,
    }, $class;

    return ($self, $response);
}


sub frame {
    my ($self, $opcode, $payload, %option) = @_;

    my $fin = $option{fin} // 1;
    my $mask = $option{mask} // 1;
    my $length = $option{length} // length $payload;
    my $bit = $mask ? 0x80 : 0;

    my $head = pack 'C', ($fin ? 0x80 : 0) | ($option{rsv} // 0) << 4
                         | $opcode;

    if ($length < 126 && !$option{size}) {
        $head .= pack 'C', $bit | $length;

    } elsif ($length < 65536 && ($option{size} // 16) == 16) {
        $head .= pack 'Cn', $bit | 126, $length;

    } else {
        $head .= pack 'CQ>', $bit | 127, $length;
    }

    return $head . $payload if !$mask;

    my $key = $option{key} // pack 'N', int rand 2 ** 32;
    my $pad = substr $key x (length($payload) / 4 + 1), 0, length $payload;

    return $head . $key . ($payload ^ $pad);
}


sub send_frame {
    my ($self, $opcode, $payload, %option) = @_;

    return $self->{c}->write($self->frame($opcode, $payload, %option));
}


sub send_text {
    my ($self, $payload) = @_;

    return $self->send_frame(TEXT, $payload);
}


sub send_binary {
    my ($self, $payload) = @_;

    return $self->send_frame(BINARY, $payload);
}


sub send_raw {
    my ($self, $octets) = @_;

    return $self->{c}->write($octets);
}


sub recv_frame {
    my ($self, $timeout) = @_;

    my $c = $self->{c};
    my $deadline = time + ($timeout // $self->{timeout}) * scale();

    for ( ;; ) {
        my $frame = $self->parse;

        return $frame if $frame;
        return { eof => 1, reset => $c->{reset} } if $c->{eof};
        return undef if !$c->fill($deadline);
    }
}


sub parse {
    my ($self) = @_;

    my $buffer = \$self->{c}{buffer};

    return undef if length $$buffer < 2;

    my ($first, $length) = unpack 'CC', $$buffer;
    my $mask = $length & 0x80;
    my $offset = 2;

    $length &= 0x7f;

    if ($length == 126) {
        return undef if length $$buffer < 4;
        $length = unpack 'x2n', $$buffer;
        $offset = 4;

    } elsif ($length == 127) {
        return undef if length $$buffer < 10;
        $length = unpack 'x2Q>', $$buffer;
        $offset = 10;
    }

    croak 'a server must not mask' if $mask;

    return undef if length $$buffer < $offset + $length;

    my $payload = substr $$buffer, $offset, $length;

    substr $$buffer, 0, $offset + $length, '';

    return {
        fin     => $first >> 7,
        rsv     => $first >> 4 & 7,
        opcode  => $first & 15,
        payload => $payload,
    };
}


# The next whole message; ping frames are answered, other control frames and
# the end of the connection are kept for wait_close().

sub recv {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();
    my $message;

    for ( ;; ) {
        return undef if $self->{closed};

        my $left = ($deadline - time) / scale();
        my $f = $self->recv_frame($left > 0 ? $left : 0) // return undef;

        if ($f->{eof}) {
            $self->{closed} = { code => 1006, reason => '',
                                reset => $f->{reset} };

        } elsif ($f->{opcode} == CLOSE) {
            my ($code, $reason) = length $f->{payload} < 2
                                  ? (1005, '') : unpack 'na*', $f->{payload};

            $self->{closed} = { code => $code, reason => $reason };

        } elsif ($f->{opcode} == PING) {
            $self->send_frame(PONG, $f->{payload});

        } elsif ($f->{opcode} != PONG) {
            $message //= { opcode => $f->{opcode}, payload => '' };
            $message->{payload} .= $f->{payload};

            if ($f->{fin}) {
                $self->{binary} = $message->{opcode} == BINARY;
                return $message->{payload};
            }
        }
    }
}


sub binary {
    return $_[0]{binary};
}


sub wait_close {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();

    until ($self->{closed}) {
        my $left = ($deadline - time) / scale();

        $self->recv($left > 0 ? $left : 0) // $self->{closed} // return undef;
    }

    return $self->{closed};
}


# The end of the TCP connection, which follows the close frames.

sub wait_eof {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();
    my $c = $self->{c};

    until ($c->{eof}) {
        $c->fill($deadline) or return 0;
    }

    return 1;
}


sub close {
    my ($self, $code, $reason) = @_;

    $self->send_frame(CLOSE, defined $code ? pack('na*', $code, $reason // '')
                                           : '');

    my $closed = $self->wait_close;

    $self->{c}->close;

    return $closed;
}


# Without a close frame: FIN, or RST.

sub drop {
    my ($self) = @_;

    $self->{c}->close;
}


sub abort {
    my ($self) = @_;

    $self->{c}->abort;
}


1;

__END__

=head1 NAME

SIO::WS - a WebSocket client with every bit in reach

=head1 SYNOPSIS

    my $ws = SIO::WS->connect(port => $port, path => '/socket.io/?...');
    my ($ws, $response) = SIO::WS->handshake(...);   # may be refused

    $ws->send_text('40');
    is($ws->recv, '...');              # undef: timed out, or closed
    is($ws->wait_close->{code}, 1002);

=head1 HANDSHAKE

Options: C<port> or C<http> (an L<SIO::HTTP> whose connection is used and taken
over), C<path>, C<headers> (a list of pairs; replaces ours of the same name,
an undefined value leaves it out), C<key>, C<method>, C<timeout>, C<rcvbuf>,
C<early> (octets to send right behind the request).

=head1 FRAMES

=over

=item send_frame($opcode, $payload, fin, rsv, mask, key, length, size)

C<rsv> is 0 to 7; C<length> lies about the length; C<size> of 16 or 64 takes a
longer form than needed.  C<frame> returns the octets instead of sending them.

=item send_text, send_binary, send_raw($octets)

=item recv_frame($timeout)

{fin, rsv, opcode, payload}, or {eof, reset}, or undef when the time has passed.

=item recv($timeout), binary

The payload of the next message, and whether that was binary.

=item wait_close($timeout), wait_eof($timeout)

{code, reason}: 1005 for a close frame without a code, 1006 for none at all.

=item close($code, $reason), drop, abort

With a close frame and its answer, with FIN, with RST.

=back

=cut
