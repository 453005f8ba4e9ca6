package SIO::Traffic;

use strict;
use warnings;

use Carp qw(croak);
use IO::Handle;
use JSON::PP ();
use POSIX ();
use SIO::Client;
use SIO::HTTP;
use SIO::Util qw(scale own forget);
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->allow_nonref;

my %work = (
    websocket => \&stay,
    polling   => \&stay,
    upgrade   => \&upgrade,
    visit     => \&visit,
    emit      => \&emit,
);


# Those who stay are all there before the first number is sent.

sub start {
    my ($class, %option) = @_;

    my $self = bless {
        timeout  => 20,
        pause    => 0.02,
        owner    => $$,
        children => [],
        %option,
    }, $class;

    own($self);

    for my $kind (qw(websocket polling upgrade visit)) {
        $self->spawn($kind, $self->{$kind}) if $self->{$kind};
    }

    $_->{ready} = $self->line($_) // {} for @{ $self->{children} };

    $self->spawn('emit', $self->{expected} // 0) if $self->{emit};

    return $self;
}


sub spawn {
    my ($self, $kind, $n) = @_;

    pipe my $down_out, my $down_in or croak "pipe: $!";
    pipe my $up_out, my $up_in or croak "pipe: $!";

    my $pid = fork // croak "fork: $!";

    if ($pid == 0) {
        close $down_in;
        close $up_out;

        # A parent that was killed must not be outlived.
        $down_out->blocking(0);
        $up_in->autoflush(1);

        $self->{in} = $down_out;
        $self->{out} = $up_in;
        $self->{kind} = $kind;
        $self->{result} = { kind => $kind, errors => [], lost => 0,
                            calls => 0, numbers => 0, last => 0 };

        eval { $work{$kind}->($self, $n); 1 } or $self->complain($@);

        $self->tell($self->{result});
        POSIX::_exit(0);
    }

    $down_in->autoflush(1);

    push @{ $self->{children} }, {
        kind => $kind,
        pid  => $pid,
        in   => $up_out,
        out  => $down_in,
    };
}


# Stops the emits, lets the others take what is still on its way, and sums up.

sub finish {
    my ($self) = @_;

    my $children = delete $self->{children} or return undef;
    my %sum = (errors => [], map { $_ => 0 } qw(lost calls numbers last));

    for my $child (sort { ($b->{kind} eq 'emit') <=> ($a->{kind} eq 'emit') }
                        @$children)
    {
        print { $child->{out} } "$sum{last}\n";

        my $result = $self->line($child, 3 * $self->{timeout})
                     // { errors => [ 'no answer' ] };

        kill 'KILL', $child->{pid};
        waitpid $child->{pid}, 0;

        push @{ $sum{errors} }, map { "$child->{kind}: $_" }
                                    @{ delete $result->{errors} };

        $sum{last} = $result->{last} if $child->{kind} eq 'emit';
        $sum{$_} += $result->{$_} // 0 for qw(lost calls numbers);
        $sum{$child->{kind}} = $result;
    }

    forget($self);

    return \%sum;
}


sub line {
    my ($self, $child, $timeout) = @_;

    my $deadline = time + ($timeout // 2 * $self->{timeout}) * scale();
    my $text = '';

    until ($text =~ /\n/) {
        my $ready = '';
        vec($ready, fileno $child->{in}, 1) = 1;

        my $left = $deadline - time;
        last if select($ready, undef, undef, $left > 0 ? $left : 0) <= 0;
        last if !sysread $child->{in}, $text, 65536, length $text;
    }

    return $text =~ /\n/ ? $json->decode($text) : undef;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($@, $?);

    for my $child (@{ delete $self->{children} // [] }) {
        kill 'KILL', $child->{pid};
        waitpid $child->{pid}, 0;
    }

    forget($self);
}


# From here on: in the children.

sub tell {
    my ($self, $what) = @_;

    print { $self->{out} } $json->encode($what), "\n";
}


sub complain {
    my ($self, $error) = @_;

    my $errors = $self->{result}{errors};

    chomp $error;
    push @$errors, $error if @$errors < 10;
}


# The number of the last message, as soon as it is known.

sub ended {
    my ($self) = @_;

    return $self->{ended} if defined $self->{ended};

    my $n = sysread $self->{in}, my $text, 64;

    POSIX::_exit(1) if defined $n && $n == 0;

    $self->{ended} = $1 if defined $n && $text =~ /^(\d+)\n/;

    return $self->{ended};
}


sub connect {
    my ($self, $transport) = @_;

    my $c = SIO::Client->connect(
        port      => $self->{port},
        path      => $self->{path} // '/socket.io/',
        transport => $transport,
        timeout   => $self->{timeout},
    );

    return $c;
}


# One client of many: {client, transport, expected}

sub join {
    my ($self, $transport) = @_;

    return {
        client    => $self->connect($transport),
        transport => $transport,
    };
}


sub stay {
    my ($self, $n) = @_;

    my @all = map { $self->join($self->{kind}) } 1 .. $n;

    # The first number is 1 for whoever was there before.
    $_->{expected} = 1 for @all;

    $self->tell({ ready => $n });

    until (defined $self->ended) {
        $self->attempt($_, \&turn) for @all;
        sleep $self->{pause};
    }

    $self->attempt($_, \&rest) for @all;

    eval { $_->{client}->disconnect } for @all;
}


# Whose worker was killed comes again; only then may numbers be missed.

sub attempt {
    my ($self, $s, $what) = @_;

    return if eval { $self->$what($s); 1 };

    my $error = $@;

    if (!$self->{tolerant}) {
        $self->complain($error);
        die "given up\n" if @{ $self->{result}{errors} } >= 10;
        return;
    }

    # A number that is wrong is wrong in any case.
    $self->complain($error) if $error =~ /instead of/;

    $self->{result}{lost}++;
    delete @$s{qw(client expected)};

    my $deadline = time + $self->{timeout} * scale();

    for ( ;; ) {
        return if eval { $s->{client} = $self->connect($s->{transport}); 1 };

        die "no way back: $@" if time > $deadline;

        sleep 0.05;
    }
}


sub turn {
    my ($self, $s) = @_;

    my $n = ++$self->{result}{calls};
    my $answer = $s->{client}->call('echo', $n) // die "no answer to $n\n";

    die "$answer->[0] instead of $n\n" if $answer->[0] != $n;

    $self->take($s, $_) for splice @{ $s->{client}{queue} };
}


sub take {
    my ($self, $s, $packet) = @_;

    my ($name, $n) = @{ $packet->{data} };

    return if $packet->{type} != 2 || $name ne 'n';

    my $expected = $s->{expected} // $n;

    # An emit without an answer was repeated.
    return if $self->{tolerant} && $n == $expected - 1;

    # After an error only the next one is of interest.
    $s->{expected} = $n + 1;
    $self->{result}{numbers}++;

    die "number $n instead of $expected\n" if $n != $expected;
}


# What was still on its way.

sub rest {
    my ($self, $s) = @_;

    my $last = $self->{ended};

    $self->turn($s);

    while (defined $s->{expected} && $s->{expected} <= $last) {
        my $packet = $s->{client}->packet // die "nothing instead of "
                                                 . "$s->{expected} of $last\n";
        $self->take($s, $packet);
    }
}


# Comes by polling, upgrades, leaves, comes again.

sub upgrade {
    my ($self, $n) = @_;

    $self->tell({ ready => $n });

    until (defined $self->ended) {
        my @all = map { { transport => 'polling' } } 1 .. $n;

        for my $s (@all) {
            $self->attempt($s, sub {
                $s->{client} //= $self->connect('polling');
                $self->turn($s) for 1 .. 2;
            });
        }

        for my $s (@all) {
            $self->attempt($s, sub {
                $s->{client}->eio->upgrade;
                $self->turn($s) for 1 .. 2;
                $s->{client}->disconnect;
            });
        }

        sleep $self->{pause};
    }
}


sub visit {
    my ($self, $n) = @_;

    $self->tell({ ready => $n });

    until (defined $self->ended) {
        for my $transport (qw(polling websocket)) {
            my $s = { transport => $transport };

            $self->attempt($s, sub {
                $s->{client} //= $self->connect($transport);
                $self->turn($s);
                $s->{client}->disconnect;
            });
        }

        sleep $self->{pause};
    }
}


sub emit {
    my ($self, $expected) = @_;

    my $http = SIO::HTTP->new(port    => $self->{port},
                              timeout => $self->{timeout});
    my $n = 0;

    until (defined $self->ended) {
        $n++;

        my $body = qq({"event":"n","args":[$n]});
        my $response = eval { $http->post('/_api/emit', $body) };

        if (!$response || $response->{status} != 200) {
            my $why = $response ? "$response->{status} $response->{body}" : $@;

            # Whether it has been sent is not known: the same once more.
            $self->complain("emit: $why") if !$self->{tolerant};
            $self->{result}{lost}++;
            $n--;

        } elsif ($response->json->{matched} < $expected
                 && !$self->{tolerant})
        {
            $self->complain("emit: $response->{body} instead of $expected");
        }

        sleep $self->{pause} / 2;
    }

    $self->{result}{last} = $n;
}


1;

__END__

=head1 NAME

SIO::Traffic - clients that talk while something happens to nginx

=head1 SYNOPSIS

    my $traffic = SIO::Traffic->start(
        port => $nginx->port, websocket => 8, polling => 8, upgrade => 2,
        visit => 1, emit => 1, expected => 16);

    $nginx->reload;

    my $sum = $traffic->finish;
    is_deeply($sum->{errors}, []);

=head1 WHAT THEY DO

Each kind is a process of its own.  All of them call C<echo> and want an
acknowledgement with the number that they sent; C<emit> sends numbers to
everybody by F</_api/emit>, and no client may miss one or see two in the wrong
order.

    websocket, polling    so many clients that stay
    upgrade               so many at a time that come by polling, upgrade, leave
    visit                 one after another, by either transport
    emit                  one emit after another, each of which has to match
                          at least the C<expected> number of sockets

=head1 METHODS

=over

=item start(%options)

Besides these: C<port>, C<path>, C<timeout> (20), C<pause> (0.02 seconds between
turns).  With C<tolerant> clients whose connection ends come back and are
counted in C<lost>, what they missed meanwhile is not an error; an emit that is
refused or not answered is repeated.

=item finish

{errors => [...], lost, calls, numbers, last => number of the last emit}, and
the same for each kind under its name.

=back

=cut
