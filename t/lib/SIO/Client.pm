package SIO::Client;

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use SIO::EIO;
use SIO::Util qw(scale);
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->allow_nonref->canonical;

use constant {
    CONNECT       => 0,
    DISCONNECT    => 1,
    EVENT         => 2,
    ACK           => 3,
    CONNECT_ERROR => 4,
    BINARY_EVENT  => 5,
    BINARY_ACK    => 6,
};


sub new {
    my ($class, %option) = @_;

    my $transport = delete $option{transport} // 'websocket';
    my $eio = delete $option{session};

    $eio //= $transport eq 'websocket' ? SIO::EIO->open_ws(%option)
                                       : SIO::EIO->open(%option);

    return bless {
        eio     => $eio,
        timeout => $option{timeout} // 20,
        queue   => [],
        sids    => {},
    }, $class;
}


# A session and one namespace of it; dies when either is refused.

sub connect {
    my ($class, %option) = @_;

    my $nsp = delete $option{nsp} // '/';
    my $auth = delete $option{auth};
    my $self = $class->new(%option);
    my $packet = $self->join($nsp, $auth);

    if ($packet->{type} != CONNECT) {
        croak "$nsp: ", $json->encode($packet->{data});
    }

    return $self;
}


sub join {
    my ($self, $nsp, $auth) = @_;

    $self->send_packet(CONNECT, $nsp, undef, $auth);

    my $packet = $self->wait_for(sub {
        my ($p) = @_;

        return $p->{nsp} eq $nsp
               && ($p->{type} == CONNECT || $p->{type} == CONNECT_ERROR);
    }) // croak "no answer from $nsp";

    $self->{sids}{$nsp} = $packet->{data}{sid} if $packet->{type} == CONNECT;

    return $packet;
}


sub leave {
    my ($self, $nsp) = @_;

    $self->send_packet(DISCONNECT, $nsp // '/');
}


sub sid {
    my ($self, $nsp) = @_;

    return $self->{sids}{$nsp // '/'};
}


sub eio {
    return $_[0]{eio};
}


# An octet string in a reference, \"\1\2", is an attachment.

sub emit {
    my ($self, $event, @args) = @_;

    $self->send_packet(EVENT, $self->{nsp} // '/', undef, [ $event, @args ]);
}


sub emit_to {
    my ($self, $nsp, $id, $event, @args) = @_;

    $self->send_packet(EVENT, $nsp, $id, [ $event, @args ]);
}


# Emits and waits for the acknowledgement; its arguments.

sub call {
    my ($self, $event, @args) = @_;

    my $id = $self->{id}++ // 0;

    $self->send_packet(EVENT, $self->{nsp} // '/', $id, [ $event, @args ]);

    my $packet = $self->wait_for(sub {
        my ($p) = @_;

        return ($p->{type} == ACK || $p->{type} == BINARY_ACK)
               && $p->{id} == $id;
    }) // return undef;

    return $packet->{data};
}


sub ack {
    my ($self, $packet, @args) = @_;

    $self->send_packet(ACK, $packet->{nsp}, $packet->{id}, \@args);
}


sub send_packet {
    my ($self, $type, $nsp, $id, $data) = @_;

    my @attachments;

    $data = extract($data, \@attachments);

    my $text = 4 . (@attachments && $type < BINARY_EVENT ? $type + 3 : $type);

    $text .= @attachments . '-' if @attachments;
    $text .= "$nsp," if ($nsp // '/') ne '/';
    $text .= $id if defined $id;
    $text .= $json->encode($data) if defined $data;

    $self->{eio}->send($text, map { 'b' . encode_base64($_, '') } @attachments);
}


sub extract {
    my ($data, $attachments) = @_;

    if (ref $data eq 'ARRAY') {
        return [ map { extract($_, $attachments) } @$data ];
    }

    if (ref $data eq 'HASH') {
        return { map { $_ => extract($data->{$_}, $attachments) }
                 keys %$data };
    }

    if (ref $data eq 'SCALAR' && $$data !~ /^[01]\z/) {
        push @$attachments, $$data;
        return { _placeholder => JSON::PP::true, num => $#$attachments };
    }

    return $data;
}


# The next packet: {type, nsp, id, data, attachments, text}; undef when the
# time has passed or the connection has ended.

sub packet {
    my ($self, $timeout) = @_;

    return shift @{ $self->{queue} } if @{ $self->{queue} };

    return $self->read_packet($timeout);
}


sub read_packet {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();
    my $packet;

    for ( ;; ) {
        my $left = ($deadline - time) / scale();
        my $text = $self->{eio}->next($left > 0 ? $left : 0) // return undef;

        if ($text =~ /^b(.*)/s) {
            croak 'an attachment without a packet' if !$packet;

            push @{ $packet->{attachments} }, decode_base64($1);

        } else {
            croak "not a message: $text" if $text !~ /^4/;
            croak "attachments are missing before $text" if $packet;

            $packet = decode($text);
        }

        return $packet if @{ $packet->{attachments} } == $packet->{expected};
    }
}


sub decode {
    my ($text) = @_;

    my ($type, $count, $nsp, $id, $data) =
        $text =~ m{^4([0-6])(?:(\d+)-)?(?:(/[^,]*),?)?(\d+)?(.*)\z}s
        or croak "not a packet: $text";

    return {
        type        => $type,
        expected    => $count // 0,
        nsp         => $nsp // '/',
        id          => $id,
        data        => length $data ? $json->decode($data) : undef,
        attachments => [],
        text        => $text,
    };
}


# The next packet for which the function is true; others stay for later.

sub wait_for {
    my ($self, $want, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();

    for my $i (0 .. $#{ $self->{queue} }) {
        if ($want->($self->{queue}[$i])) {
            return splice @{ $self->{queue} }, $i, 1;
        }
    }

    for ( ;; ) {
        my $left = ($deadline - time) / scale();
        my $packet = $self->read_packet($left > 0 ? $left : 0) // return undef;

        return $packet if $want->($packet);

        push @{ $self->{queue} }, $packet;
    }
}


# The next event of this name, or any: [name, arguments ...].

sub event {
    my ($self, $name, $timeout) = @_;

    my $packet = $self->wait_for(sub {
        my ($p) = @_;

        return ($p->{type} == EVENT || $p->{type} == BINARY_EVENT)
               && (!defined $name || $p->{data}[0] eq $name);
    }, $timeout) // return undef;

    return $packet->{data};
}


# Nothing but heartbeats for so long?

sub silent {
    my ($self, $seconds) = @_;

    return !defined $self->packet($seconds);
}


sub disconnect {
    my ($self) = @_;

    my $eio = $self->{eio};

    return $eio->{ws}->close if $eio->{ws};
    return $eio->post('1');
}


1;

__END__

=head1 NAME

SIO::Client - a Socket.IO client, by either transport

=head1 SYNOPSIS

    my $c = SIO::Client->connect(port => $port, transport => 'polling',
                                 nsp => '/chat', auth => { token => 't' });
    $c->emit('message', 'hi', \"\x01\x02");       # with an attachment
    is_deeply($c->event('message'), [ 'message', 'hi' ]);
    is_deeply($c->call('ping', 1), [ 'pong' ]);   # with acknowledgement

=head1 METHODS

=over

=item connect(%options), new(%options)

Options as in L<SIO::EIO>, and C<transport> (websocket), C<nsp>, C<auth>;
C<session> takes an L<SIO::EIO> that is open already.

=item join($nsp, $auth), leave($nsp), sid($nsp), eio

C<join> gives the packet that answered: type 0, or 4 for a refusal.

=item emit($event, @args), emit_to($nsp, $id, $event, @args)

=item call($event, @args)

C<emit> and C<call> use C</>, or C<< $c->{nsp} >>.

=item packet($timeout), event($name, $timeout), wait_for(sub { ... }, $timeout)

{type, nsp, id, data, attachments, text} each, C<event> its data only.  What
C<event> and C<wait_for> pass over stays for the next call.

=item ack($packet, @args), send_packet($type, $nsp, $id, $data)

=item silent($seconds), disconnect

=back

=cut
