package SIO::Curl;

use strict;
use warnings;

use parent qw(SIO::HTTP);       # get, post, request
use SIO::Proc;
use SIO::Util qw(temp_dir needed);


sub new {
    my ($class, %option) = @_;

    return bless {
        host    => '127.0.0.1',
        scheme  => 'https',
        version => '1.1',
        timeout => 20,
        headers => [],
        dir     => temp_dir(),
        serial  => 0,
        %option,
    }, $class;
}


sub start {
    my ($self, $method, $path, %option) = @_;

    my $file = "$self->{dir}/" . ++$self->{serial};

    my $process = SIO::Proc->spawn(
        [
            needed('curl'),
            qw(--verbose --silent --insecure --globoff --path-as-is
               --no-buffer --max-time 120),
            $self->arguments($file, $method, $path, %option),
        ],
        name => 'curl',
    );

    return bless {
        method  => $method,
        file    => $file,
        process => $process,
        timeout => $self->{timeout},
    }, 'SIO::Curl::Transfer';
}


# Several requests at once, on one connection if the protocol can do that.

sub start_all {
    my ($self, @requests) = @_;

    my @command = (
        needed('curl'),
        qw(--verbose --silent --parallel),
    );

    my @transfers;

    for my $request (@requests) {
        my ($method, $path, %option) = @$request;
        my $file = "$self->{dir}/" . ++$self->{serial};

        push @command, '--next' if @transfers;
        push @command, qw(--insecure --globoff --path-as-is --no-buffer
                          --max-time 120),
                       $self->arguments($file, $method, $path, %option);

        push @transfers, bless {
            method  => $method,
            file    => $file,
            timeout => $self->{timeout},
        }, 'SIO::Curl::Transfer';
    }

    my $process = SIO::Proc->spawn(\@command, name => 'curl');

    $_->{process} = $process for @transfers;

    return @transfers;
}


sub arguments {
    my ($self, $file, $method, $path, %option) = @_;

    my @headers = (@{ $self->{headers} }, @{ $option{headers} // [] });
    my %given = map { lc $headers[2 * $_] => 1 } 0 .. @headers / 2 - 1;

    my @arguments = (
        "--http$self->{version}", '--dump-header', "$file.head",
        '--output', "$file.body", '--url',
        "$self->{scheme}://$self->{host}:$self->{port}$path",
    );

    push @arguments, $method eq 'HEAD' ? '--head' : ('--request', $method);

    if (defined $option{body}) {
        SIO::Util::write_file("$file.data", $option{body});

        push @arguments, '--data-binary', "\@$file.data",
                         '--header', 'Expect:';
        push @arguments, '--header', 'Content-Type:' if !$given{'content-type'};
    }

    if ($option{chunked} && $self->{version} eq '1.1') {
        push @arguments, '--header', 'Transfer-Encoding: chunked';
    }

    while (my ($name, $value) = splice @headers, 0, 2) {
        push @arguments, '--header',
             !defined $value ? "$name:" : length $value ? "$name: $value"
                                                        : "$name;";
    }

    return @arguments;
}


package SIO::Curl::Transfer;

use SIO::Util qw(read_file wait_until);


sub ready {
    my ($self) = @_;

    return !$self->{process}->running;
}


# Has it left?  The answer to that is in what curl tells about itself.

sub sent {
    my ($self, $timeout) = @_;

    return wait_until($timeout // $self->{timeout}, sub {
        return $self->{process}->stderr =~ /^> $self->{method} /m;
    });
}


sub wait {
    my ($self, $timeout) = @_;

    my $status = $self->{process}->wait($timeout // $self->{timeout}) // return;

    my $head = read_file("$self->{file}.head") // '';
    my $body = read_file("$self->{file}.body") // '';

    # With "100 Continue" there are two.
    my ($last) = grep { length } reverse split /\r\n\r\n/, $head;
    my ($first, @lines) = split /\r\n/, $last // '';

    my ($code, $reason) = ($first // '') =~ m{^HTTP/[\d.]+ (\d{3}) ?(.*)};

    # An answer that ends too early is none.
    if (!$code || $status != 0) {
        return bless {
            status  => 0,
            reason  => "curl: $status",
            headers => {},
            list    => [],
            body    => $body,
        }, 'SIO::HTTP::Response';
    }

    my (%headers, @list);

    for my $line (@lines) {
        my ($name, $value) = $line =~ /^([^:\s]+):\s*(.*?)\s*$/ or next;

        push @list, [ $name, $value ];

        $name = lc $name;
        $headers{$name} = defined $headers{$name}
                          ? "$headers{$name}, $value" : $value;
    }

    return bless {
        status  => $code,
        reason  => $reason,
        headers => \%headers,
        list    => \@list,
        body    => $body,
    }, 'SIO::HTTP::Response';
}


# The connection goes with the process.

sub abort {
    my ($self) = @_;

    $self->{process}->kill('KILL');
}


sub close {
    my ($self) = @_;

    $self->abort;
}


1;

__END__

=head1 NAME

SIO::Curl - requests over TLS and HTTP/2, by curl

=head1 SYNOPSIS

    my $curl = SIO::Curl->new(port => $port, version => 2);
    my $r = $curl->get('/path', Origin => 'https://a');

=head1 NOTES

Used like L<SIO::HTTP>, whose responses it gives: C<get>, C<post>, C<request>,
C<start> (wait, ready, sent, abort).  Every request is a process and a connection of
its own, to whatever certificate there is.  Options: C<port>, C<host>,
C<scheme> (https), C<version> (C<1.1>, C<2>, C<2-prior-knowledge>), C<headers>,
C<timeout>.

C<start_all([method, path, options], ...)> gives a transfer for each; over
HTTP/2 they are streams of one connection.  Their C<wait> waits for all.

=cut
