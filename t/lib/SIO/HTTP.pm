package SIO::HTTP;

use strict;
use warnings;

use Carp qw(croak);


sub new {
    my ($class, %option) = @_;

    return bless {
        host    => '127.0.0.1',
        timeout => 20,
        headers => [],
        %option,
    }, $class;
}


sub get {
    my ($self, $path, @headers) = @_;

    return $self->request('GET', $path, headers => \@headers);
}


sub post {
    my ($self, $path, $body, @headers) = @_;

    return $self->request('POST', $path, headers => \@headers, body => $body);
}


sub request {
    my ($self, $method, $path, %option) = @_;

    my $pending = $self->start($method, $path, %option);

    return $pending->wait($option{timeout})
           // croak "$method $path: no answer in time";
}


sub start {
    my ($self, $method, $path, %option) = @_;

    # A keepalive connection may have been closed by the server meanwhile.
    my $c = $self->{keepalive} && $self->{connection};

    if (!$c || $c->gone) {
        $c = SIO::HTTP::Connection->open($self);
        $self->{connection} = $c if $self->{keepalive};
    }

    croak 'the connection is still waiting for an answer' if $c->{method};

    $c->{method} = $method;
    $c->{timeout} = $self->{timeout};
    $c->send_request($self->head($method, $path, %option), %option);

    return $c;
}


sub head {
    my ($self, $method, $path, %option) = @_;

    my @headers = (@{ $self->{headers} }, @{ $option{headers} // [] });
    my %given = map { lc $headers[2 * $_] => 1 } 0 .. @headers / 2 - 1;

    unshift @headers, Connection => 'close'
        if !$self->{keepalive} && !$given{connection};

    unshift @headers, Host => "$self->{host}:" . ($self->{port} // 80)
        if !$given{host};

    if ($option{chunked}) {
        push @headers, 'Transfer-Encoding' => 'chunked';

    } elsif (defined $option{body} && !$given{'content-length'}) {
        push @headers, 'Content-Length' => length $option{body};
    }

    my $head = "$method $path HTTP/1.1\r\n";

    while (my ($name, $value) = splice @headers, 0, 2) {
        $head .= "$name: $value\r\n" if defined $value;
    }

    return "$head\r\n";
}


sub pid_of {
    my ($self) = @_;

    return $self->get('/_pid')->{body};
}


package SIO::HTTP::Connection;

use Carp qw(croak);
use Errno qw(EAGAIN EINTR);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF IPPROTO_TCP TCP_NODELAY);
use SIO::Util qw(scale);
use Time::HiRes qw(time sleep);


sub open {
    my ($class, $option) = @_;

    my $socket = $option->{path}
        ? IO::Socket::UNIX->new(Peer => $option->{path})
        : IO::Socket::INET->new(
              Proto    => 'tcp',
              PeerAddr => $option->{host},
              PeerPort => $option->{port},
              Timeout  => 5,
          );

    croak 'cannot connect to ', $option->{path} // $option->{port}, ": $@"
        if !$socket;

    if (!$option->{path}) {
        setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    }

    # A client that does not drain is easier to be with a small buffer.
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, $option->{rcvbuf}
        if $option->{rcvbuf};

    $socket->blocking(0);

    return bless {
        socket  => $socket,
        buffer  => '',
        timeout => $option->{timeout} // 20,
    }, $class;
}


sub send_request {
    my ($self, $head, %option) = @_;

    my $body = $option{body} // '';

    if ($option{chunked}) {
        my $size = $option{chunked} > 1 ? $option{chunked} : 8192;
        my $rest = $body;

        $body = '';

        while (length(my $chunk = substr $rest, 0, $size, '')) {
            $body .= sprintf "%x\r\n%s\r\n", length $chunk, $chunk;
        }

        $body .= "0\r\n\r\n";
    }

    my $data = $head . $body;

    # Each position ends a segment; the pause lets it leave on its own.
    my $sent = 0;

    for my $position (@{ $option{split} // [] }) {
        last if $position >= length $data;

        $self->write(substr $data, $sent, $position - $sent);
        $sent = $position;
        sleep 0.02;
    }

    $self->write(substr $data, $sent);
}


sub write {
    my ($self, $data) = @_;

    my $deadline = time + $self->{timeout} * scale();
    my $socket = $self->{socket} // croak 'the connection is closed';

    while (length $data) {
        my $n = syswrite $socket, $data;

        if (defined $n) {
            substr $data, 0, $n, '';
            next;
        }

        if ($! == EAGAIN || $! == EINTR) {
            my $ready = '';
            vec($ready, fileno $socket, 1) = 1;

            my $left = $deadline - time;
            croak 'the peer does not read' if $left <= 0;

            select undef, $ready, undef, $left;
            next;
        }

        # The answer may be there nevertheless, a refusal of a long body.
        $self->{write_error} = "$!";
        return 0;
    }

    return 1;
}


# Reads what is there, or waits for something until the deadline.

sub fill {
    my ($self, $deadline) = @_;

    return 0 if $self->{eof} || !$self->{socket};

    my $ready = '';
    vec($ready, fileno $self->{socket}, 1) = 1;

    my $left = $deadline - time;

    return 0 if select($ready, undef, undef, $left > 0 ? $left : 0) <= 0;

    my $n = sysread $self->{socket}, $self->{buffer}, 65536,
                    length $self->{buffer};

    if ($n) {
        return 1;
    }

    return 0 if !defined $n && ($! == EAGAIN || $! == EINTR);

    $self->{eof} = 1;
    $self->{reset} = 1 if !defined $n;

    # The end may complete an answer without a length.
    return 1;
}


sub ready {
    my ($self) = @_;

    1 while $self->fill(0);

    $self->{response} //= $self->parse;

    return $self->{response} ? 1 : 0;
}


sub wait {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // $self->{timeout}) * scale();

    until ($self->{response} //= $self->parse) {
        $self->fill($deadline) or return undef;
    }

    my $response = delete $self->{response};

    # "100 Continue" is not the answer yet.
    if ($response->{status} == 100) {
        return $self->wait($timeout);
    }

    delete $self->{method};

    $self->close if ($response->{headers}{connection} // '') =~ /close/i;

    return $response;
}


sub parse {
    my ($self) = @_;

    $self->{buffer} =~ /\r?\n\r?\n/ or return $self->cut;

    my ($head, $length) = ($`, $+[0]);
    my ($first, @lines) = split /\r?\n/, $head;
    my ($status, $reason) = $first =~ m{^HTTP/1\.[01] (\d{3}) ?(.*)}
        or croak "not an answer: $first";

    my (%headers, @headers);

    for my $line (@lines) {
        my ($name, $value) = $line =~ /^([^:\s]+):\s*(.*?)\s*$/
            or croak "not a header: $line";

        push @headers, [ $name, $value ];

        $name = lc $name;
        $headers{$name} = defined $headers{$name}
                          ? "$headers{$name}, $value" : $value;
    }

    my $rest = substr $self->{buffer}, $length;
    my ($body, $used) = $self->body($status, \%headers, $rest);

    return $self->cut if !defined $body;

    substr $self->{buffer}, 0, $length + $used, '';

    return bless {
        status  => $status,
        reason  => $reason,
        headers => \%headers,
        list    => \@headers,
        body    => $body,
    }, 'SIO::HTTP::Response';
}


# The body and how many octets it took; undef when it is not complete.

sub body {
    my ($self, $status, $headers, $rest) = @_;

    if (($self->{method} // '') eq 'HEAD' || $status < 200 || $status == 204
        || $status == 304)
    {
        return ('', 0);
    }

    if (($headers->{'transfer-encoding'} // '') =~ /chunked/i) {
        my ($body, $used) = ('', 0);

        for ( ;; ) {
            substr($rest, $used) =~ /^([0-9a-fA-F]+)[^\n]*\n/
                or return (undef, 0);

            my $size = hex $1;
            $used += $+[0];

            return (undef, 0) if length($rest) < $used + $size + 2;

            $body .= substr $rest, $used, $size;
            $used += $size + 2;

            return ($body, $used) if $size == 0;
        }
    }

    if (defined(my $size = $headers->{'content-length'})) {
        return (undef, 0) if length $rest < $size;
        return (substr($rest, 0, $size), $size);
    }

    return $self->{eof} ? ($rest, length $rest) : (undef, 0);
}


# What cannot be completed any more is an answer with status 0.

sub cut {
    my ($self) = @_;

    return undef if !$self->{eof};

    return bless {
        status  => 0,
        reason  => $self->{reset} ? 'reset' : 'closed',
        headers => {},
        list    => [],
        body    => $self->{buffer},
    }, 'SIO::HTTP::Response';
}


sub gone {
    my ($self) = @_;

    return 1 if $self->{eof} || !$self->{socket};

    $self->fill(0) if !$self->{method} && !length $self->{buffer};

    return $self->{eof} ? 1 : 0;
}


sub close {
    my ($self) = @_;

    CORE::close(delete $self->{socket}) if $self->{socket};

    $self->{eof} = 1;
}


# With a reset instead of an orderly end.

sub abort {
    my ($self) = @_;

    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0
        if $self->{socket};

    $self->close;
}


package SIO::HTTP::Response;

use JSON::PP ();


sub json {
    my ($self) = @_;

    return JSON::PP->new->utf8->allow_nonref->decode($self->{body});
}


1;

__END__

=head1 NAME

SIO::HTTP - an HTTP/1.1 client that shows everything

=head1 SYNOPSIS

    my $http = SIO::HTTP->new(port => $port, timeout => 5);

    my $r = $http->get('/path', Origin => 'http://a');
    my $r = $http->post('/path', $body, 'Content-Type' => 'text/plain');
    my $r = $http->request('PUT', '/path', headers => [ ... ], body => ...,
                           chunked => 1, split => [10, 20], timeout => 2);

    # {status} {reason} {headers}{'lower-case'} {list} {body} ->json

    my $p = $http->start('GET', '/poll');     # sent, not waited for
    $p->ready;                                # answered?
    my $r = $p->wait(2) // die 'no answer';
    $p->close;  $p->abort;                    # FIN, RST

=head1 NOTES

Octets in, octets out.  Every request has a connection of its own and says
C<Connection: close>, unless the object was made with C<< keepalive => 1 >>:
then there is one, which is used again as long as the server lets it.  Other
options: C<host>, C<path> (a Unix socket), C<headers> (for every request, an
undefined value removes the default), C<rcvbuf>.

C<split> sends in several segments, ending at these positions of the whole
request.  C<chunked> above 1 is the size of a chunk.  A body that is shorter
than its Content-Length header, given by the caller, leaves the request open:
C<< $p->write($octets) >> goes on.

A connection that ends before the answer is complete gives status 0 with the
reason C<closed> or C<reset>.  After 101 the connection is in the hands of the
caller (L<SIO::WS>).

=cut
