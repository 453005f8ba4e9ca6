package SIO::EIO;

use strict;
use warnings;

use Carp qw(croak);
use Encode ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64 decode_base64);
use SIO::HTTP;
use SIO::WS;
use SIO::Util qw(scale);
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->allow_nonref;


sub new {
    my ($class, %option) = @_;

    my $self = bless {
        path    => '/socket.io/',
        eio     => 4,
        query   => '',
        headers => [],
        timeout => 20,
        packets => [],
        %option,
    }, $class;

    $self->{http} //= SIO::HTTP->new(
        port    => $self->{port},
        timeout => $self->{timeout},
    );

    return $self;
}


# A new session by polling; dies when it is refused.

sub open {
    my ($class, %option) = @_;

    my $self = $class->new(%option);
    my $response = $self->get;

    croak "no session: $response->{status} $response->{body}"
        if $response->{status} != 200;

    my @packets = $self->decode($response->{body});

    $self->opened(shift @packets);

    push @{ $self->{packets} }, @packets;
    $self->{response} = $response;

    return $self;
}


# A new session on a WebSocket.

sub open_ws {
    my ($class, %option) = @_;

    my $self = $class->new(%option);

    $self->{ws} = $self->websocket;
    $self->opened($self->{ws}->recv // croak 'no open packet');

    return $self;
}


sub opened {
    my ($self, $packet) = @_;

    $packet =~ /^0(\{.*)/s or croak "not an open packet: $packet";

    $self->{open} = $json->decode($1);
    $self->{sid} = $self->{open}{sid};
}


sub sid {
    return $_[0]{sid};
}


sub url {
    my ($self, $transport) = @_;

    my $url = "$self->{path}?EIO=$self->{eio}&transport=$transport";

    $url .= "&$self->{query}" if length $self->{query};
    $url .= "&sid=$self->{sid}" if defined $self->{sid};

    return $url;
}


sub websocket {
    my ($self, %option) = @_;

    return SIO::WS->connect(
        port    => $self->{port} // $self->{http}{port},
        path    => $self->url('websocket'),
        headers => $self->{headers},
        timeout => $self->{timeout},
        %option,
    );
}


sub get {
    my ($self, %option) = @_;

    return ($option{http} // $self->{http})->request(
        'GET', $self->url('polling'), headers => $self->{headers}, %option);
}


sub get_start {
    my ($self, %option) = @_;

    return ($option{http} // $self->{http})->start(
        'GET', $self->url('polling'), headers => $self->{headers}, %option);
}


sub post_raw {
    my ($self, $body, %option) = @_;

    return ($option{http} // $self->{http})->request(
        'POST', $self->url('polling'),
        headers => [
            'Content-Type' => $option{type} // 'text/plain;charset=UTF-8',
            @{ $self->{headers} },
        ],
        body => $body,
        %option,
    );
}


sub post {
    my ($self, @packets) = @_;

    my $response = $self->post_raw($self->encode(@packets));

    croak "POST: $response->{status} $response->{body}"
        if $response->{status} != 200;

    return $response;
}


# One GET; its packets.

sub poll {
    my ($self, %option) = @_;

    my $response = $self->get(%option);

    croak "poll: $response->{status} $response->{body}"
        if $response->{status} != 200;

    return $self->decode($response->{body});
}


# The next packet, by whichever transport is in use, however many polls that
# takes; pings are answered and noops skipped on the way.

sub next {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();

    for ( ;; ) {
        my $left = ($deadline - time) / scale();
        my $packet = shift @{ $self->{packets} };

        if (defined $packet) {
            next if $packet eq '6';
            return $packet if $packet ne '2' || $self->{eio} == 3;

            $self->send('3');
            next;
        }

        if ($self->{ws}) {
            $packet = $self->{ws}->recv($left > 0 ? $left : 0) // return undef;
            $packet = 'b' . encode_base64($packet, '') if $self->{ws}->binary;

            push @{ $self->{packets} }, $packet;
            next;
        }

        $self->{pending} //= $self->get_start;

        my $response = $self->{pending}->wait($left > 0 ? $left : 0)
                       // return undef;

        delete $self->{pending};

        croak "poll: $response->{status} $response->{body}"
            if $response->{status} != 200;

        push @{ $self->{packets} }, $self->decode($response->{body});
    }
}


sub send {
    my ($self, @packets) = @_;

    return $self->post(@packets) if !$self->{ws};

    for my $packet (@packets) {
        if ($packet =~ /^b(.*)/s && $self->{eio} == 4) {
            $self->{ws}->send_binary(decode_base64($1));

        } else {
            $self->{ws}->send_text($packet);
        }
    }
}


# What clients do: probe, let the waiting poll end, switch.

sub upgrade {
    my ($self, %option) = @_;

    my $ws = $self->websocket(%option);
    my $pending = delete $self->{pending};

    $ws->send_text('2probe');

    my $answer = $ws->recv // '(nothing)';

    croak "no answer to the probe: $answer" if $answer ne '3probe';

    if ($pending) {
        my $response = $pending->wait // croak 'the poll did not end';

        push @{ $self->{packets} }, $self->decode($response->{body});
    }

    $ws->send_text('5');

    $self->{ws} = $ws;

    return $ws;
}


sub encode {
    my ($self, @packets) = @_;

    return join "\x1e", @packets if !ref $self || $self->{eio} == 4;

    # EIO3 counts UTF-16 units.
    return join '', map {
        my $units = length(Encode::encode('UTF-16LE',
                               Encode::decode('UTF-8', $_))) / 2;
        "$units:$_";
    } @packets;
}


sub decode {
    my ($self, $payload) = @_;

    return split /\x1e/, $payload, -1 if !ref $self || $self->{eio} == 4;

    my $units = Encode::encode('UTF-16LE', Encode::decode('UTF-8', $payload));
    my @packets;

    while ($units =~ s/^((?:[0-9]\0)+):\0//) {
        my $length = $1 =~ tr/\0//dr;

        push @packets, Encode::encode('UTF-8', Encode::decode('UTF-16LE',
                           substr $units, 0, 2 * $length, ''));
    }

    croak 'not a payload: ', $payload if length $units;

    return @packets;
}


1;

__END__

=head1 NAME

SIO::EIO - an Engine.IO session, one request at a time

=head1 SYNOPSIS

    my $eio = SIO::EIO->open(port => $port);          # polling
    my $eio = SIO::EIO->open_ws(port => $port);       # WebSocket
    is($eio->{open}{maxPayload}, 1000000);

    $eio->send('40');
    like($eio->next, qr/^40\{"sid"/);
    $eio->upgrade;

=head1 METHODS

=over

=item open(%options), open_ws(%options), new(%options)

C<port> or C<http> (L<SIO::HTTP>), C<path>, C<query> (more parameters), C<eio>
(4 or 3), C<headers>, C<timeout>, C<sid> (with C<new>: somebody's session).

=item next($timeout), send(@packets)

Packets in text form, C<b...> for a binary one, by the transport in use.  Pings
are answered by C<next>, which gives undef when the time has passed.

=item get, get_start, post(@packets), post_raw($body, type => ...)

Single requests; C<get>, C<post_raw> return the response, whatever it is,
C<get_start> what C<< SIO::HTTP->start >> returns.  All take C<http>: another
client, say one that is connected to another worker.

=item poll

One GET that has to succeed, decoded.

=item websocket(%options), upgrade(%options)

A WebSocket with the session's id and nothing sent; the whole upgrade.

=item url($transport), sid, encode(@packets), decode($payload)

=back

=cut
