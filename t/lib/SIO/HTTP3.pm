package SIO::HTTP3;

use strict;
use warnings;

use JSON::PP ();
use parent qw(SIO::HTTP);       # get, post, request
use SIO::Proc;
use SIO::Util qw(program);

my %drivers;        # by port, of the process that is the client
my $serial = 0;


sub new {
    my ($class, %option) = @_;

    return bless {
        timeout    => 20,
        headers    => [],
        connection => ++$serial,
        owner      => $$,
        %option,
    }, $class;
}


# Whether the nginx that is tested can do it.

sub available {
    my $nginx = program($ENV{SIO_NGINX} // 'nginx') // return 0;

    return SIO::Proc->run([ $nginx, '-V' ])->{err} =~ /with-http_v3_module/;
}


sub start {
    my ($self, $method, $path, %option) = @_;

    my @headers = (@{ $self->{headers} }, @{ $option{headers} // [] });
    my $body = $option{body};
    my $id = ++$serial;
    my @list;

    while (my ($name, $value) = splice @headers, 0, 2) {
        push @list, [ $name, "$value" ] if defined $value;
    }

    if (defined $body && !$option{chunked}
        && !grep { lc $_->[0] eq 'content-length' } @list)
    {
        push @list, [ 'content-length', length($body) . '' ];
    }

    $self->driver->{process}->send({
        connection => $self->{connection},
        id         => $id,
        method     => $method,
        path       => $path,
        headers    => \@list,
        defined $body ? (body => $body) : (),
    });

    return bless {
        driver  => $self->driver,
        http    => $self,       # the connection lives as long as its requests
        id      => $id,
        timeout => $self->{timeout},
    }, 'SIO::HTTP3::Transfer';
}


# Ends the connection, and with it what is under way.

sub close {
    my ($self) = @_;

    my $driver = $drivers{ $self->{port} } // return;

    $driver->{process}->send({ close => $self->{connection} });
}


sub driver {
    my ($self) = @_;

    return $drivers{ $self->{port} } //= {
        process => SIO::Proc->python('http3.py', $self->{port}),
        answers => {},
        sent    => {},
    };
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$ || ${^GLOBAL_PHASE} eq 'DESTRUCT';

    $self->close;
}


package SIO::HTTP3::Transfer;

use SIO::Util qw(scale);
use Time::HiRes qw(time);


# Reads until the condition holds.

sub until {
    my ($self, $timeout, $condition) = @_;

    my $driver = $self->{driver};
    my $deadline = time + ($timeout // $self->{timeout}) * scale();

    for ( ;; ) {
        my $value = $condition->();

        return $value if $value;

        my $left = ($deadline - time) / scale();

        return undef if $left <= 0 || !$self->read($left);
    }
}


sub read {
    my ($self, $timeout) = @_;

    my $driver = $self->{driver};
    my $line = $driver->{process}->line($timeout);

    if (!defined $line) {
        die "http3.py has ended:\n" . $driver->{process}->stderr
            if !$driver->{process}->running;

        return 0;
    }

    my $answer = JSON::PP::decode_json($line);

    if ($answer->{sent}) {
        $driver->{sent}{ $answer->{id} } = 1;

    } else {
        $driver->{answers}{ $answer->{id} } = $answer;
    }

    return 1;
}


sub ready {
    my ($self) = @_;

    1 while $self->read(0);

    return $self->{driver}{answers}{ $self->{id} } ? 1 : 0;
}


# Has it left?

sub sent {
    my ($self, $timeout) = @_;

    return $self->until($timeout, sub {
        return $self->{driver}{sent}{ $self->{id} };
    });
}


sub wait {
    my ($self, $timeout) = @_;

    my $answer = $self->until($timeout, sub {
        return $self->{driver}{answers}{ $self->{id} };

    }) // return;

    my %headers;

    for my $header (@{ $answer->{headers} // [] }) {
        my ($name, $value) = @$header;

        $headers{$name} = defined $headers{$name}
                          ? "$headers{$name}, $value" : $value;
    }

    return bless {
        status  => $answer->{status},
        reason  => $answer->{reason} // '',
        headers => \%headers,
        list    => $answer->{headers} // [],
        body    => $answer->{body} // '',
    }, 'SIO::HTTP::Response';
}


# Gives up this request alone.

sub abort {
    my ($self) = @_;

    $self->sent;
    $self->{driver}{process}->send({ reset => $self->{id} });
    $self->wait;
}


sub close {
    my ($self) = @_;

    $self->abort;
}


1;

__END__

=head1 NAME

SIO::HTTP3 - requests over HTTP/3

=head1 SYNOPSIS

    my $http = SIO::HTTP3->new(port => $port);
    my $r = $http->get('/path', Origin => 'https://a');

    my $poll = $http->start('GET', '/waits');       # both on one connection
    my $post = $http->post('/path', 'text');

=head1 NOTES

Used like L<SIO::HTTP>, whose responses it gives: C<get>, C<post>, C<request>,
C<start> (wait, ready, sent, abort), C<close>.  Each object is a connection; one
process, F<t/client/http3.py>, has all of them.  C<abort> resets the stream of
one request.  A request that gets no answer has the status 0 and a reason.

C<< SIO::HTTP3->available >> tells whether the nginx that is tested can do it.

=cut
