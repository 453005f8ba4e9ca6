package SIO::Proc;

use strict;
use warnings;

use Carp qw(croak);
use IO::Handle;
use JSON::PP ();
use POSIX qw(:sys_wait_h setpgid);
use SIO::Util qw(root build_dir wait_until own forget read_file temp_dir
                 program needed scale);
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->allow_nonref;
my $dir;
my $serial = 0;


sub spawn {
    my ($class, $command, %option) = @_;

    $dir //= temp_dir();

    my $self = bless {
        name   => $option{name} // join(' ', @$command),
        stderr => $option{stderr} // "$dir/stderr." . ++$serial,
        buffer => '',
        kept   => [],
        owner  => $$,
    }, $class;

    pipe my $stdin_out, my $stdin_in or croak "pipe: $!";
    pipe my $stdout_out, my $stdout_in or croak "pipe: $!";

    # The child dies with us even when we are killed.
    my $setpriv = program('setpriv');
    my @command = @$command;

    unshift @command, $setpriv, qw(--pdeathsig TERM --) if $setpriv;

    my $pid = fork // croak "fork: $!";

    if ($pid == 0) {
        # A group of its own lets kill() reach what it starts itself.
        setpgid(0, 0);

        open STDIN, '<&', $stdin_out or POSIX::_exit(127);
        open STDOUT, '>&', $stdout_in or POSIX::_exit(127);
        open STDERR, '>>', $self->{stderr} or POSIX::_exit(127);

        if (defined $option{cwd} && !chdir $option{cwd}) {
            POSIX::_exit(127);
        }

        # nginx would look for inherited sockets there
        delete $ENV{NGINX};

        %ENV = (%ENV, %{ $option{env} // {} });
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);

        exec { $command[0] } @command or do {
            print STDERR "$command[0]: $!\n";
            POSIX::_exit(127);
        };
    }

    # Here too: kill() may come before the child has run.
    setpgid($pid, $pid);

    close $stdin_out;
    close $stdout_in;

    $stdin_in->autoflush(1);

    $self->{pid} = $pid;
    $self->{in} = $stdin_in;
    $self->{out} = $stdout_out;

    own($self);

    return $self;
}


sub node {
    my ($class, $script, @args) = @_;

    my %option = ref $args[-1] eq 'HASH' ? %{ pop @args } : ();

    croak 'the JavaScript clients are missing, t/run installs them'
        if !-d build_dir() . '/node/node_modules/socket.io-client';

    return $class->spawn(
        [ needed('node'), root() . "/t/client/$script", @args ],
        name => $script,
        env  => { NODE_PATH => build_dir() . '/node/node_modules' },
        %option,
    );
}


sub python {
    my ($class, $script, @args) = @_;

    my %option = ref $args[-1] eq 'HASH' ? %{ pop @args } : ();

    croak 'the Python client is missing, t/run installs it'
        if !-x build_dir() . '/venv/bin/python';

    return $class->spawn(
        [ build_dir() . '/venv/bin/python', '-u',
          root() . "/t/client/$script", @args ],
        name => $script,
        env  => { PYTHONDONTWRITEBYTECODE => 1 },
        %option,
    );
}


sub run {
    my ($class, $command, %option) = @_;

    my $self = $class->spawn($command, %option);

    print { $self->{in} } $option{stdin} if defined $option{stdin};
    $self->close_stdin;

    my $out = $self->read_all($option{timeout} // 30);
    my $status = $self->wait(defined $out ? 5 : 0);

    if (!defined $status) {
        $self->kill('KILL');
        $status = -1;
    }

    return {
        status => $status,
        out    => $out // $self->{buffer},
        err    => $self->stderr,
    };
}


sub pid {
    return $_[0]{pid};
}


sub send {
    my ($self, $line) = @_;

    print { $self->{in} } ref $line ? $json->encode($line) : $line, "\n";
}


sub close_stdin {
    my ($self) = @_;

    close delete $self->{in} if $self->{in};
}


sub line {
    my ($self, $timeout) = @_;

    return shift @{ $self->{kept} } if @{ $self->{kept} };

    return $self->read_line($timeout);
}


sub read_line {
    my ($self, $timeout) = @_;

    my $deadline = time + ($timeout // 20) * scale();

    for ( ;; ) {
        return $1 if $self->{buffer} =~ s/^(.*?)\r?\n//;
        return undef if !$self->fill($deadline);
    }
}


sub json {
    my ($self, $timeout) = @_;

    return $json->decode($self->line($timeout) // $self->no_line);
}


# The next line with this member.  Others, say about an upgrade, which may come
# at any time, stay for later.

sub json_with {
    my ($self, $name, $timeout) = @_;

    my $deadline = time + ($timeout // 20) * scale();
    my @lines = splice @{ $self->{kept} };

    for ( ;; ) {
        my $left = ($deadline - time) / scale();
        my $line = shift @lines // $self->read_line($left > 0 ? $left : 0)
                   // $self->no_line;
        my $value = $json->decode($line);

        if (exists $value->{$name}) {
            push @{ $self->{kept} }, @lines;
            return $value;
        }

        push @{ $self->{kept} }, $line;
    }
}


sub no_line {
    my ($self) = @_;

    croak "$self->{name}: ", $self->{eof} ? 'no more output' : 'timed out',
          "\n", SIO::Util::tail($self->stderr, 20);
}


sub expect {
    my ($self, $pattern, $timeout) = @_;

    my $deadline = time + ($timeout // 20) * scale();

    for ( ;; ) {
        my $left = ($deadline - time) / scale();
        my $line = $self->line($left > 0 ? $left : 0) // return undef;

        return $line if $line =~ $pattern;
    }
}


sub read_all {
    my ($self, $timeout) = @_;

    my $deadline = time + $timeout * scale();

    1 while $self->fill($deadline);

    return $self->{eof} ? $self->{buffer} : undef;
}


sub fill {
    my ($self, $deadline) = @_;

    return 0 if $self->{eof};

    my $left = $deadline - time;
    my $ready = '';

    vec($ready, fileno $self->{out}, 1) = 1;

    select($ready, undef, undef, $left > 0 ? $left : 0) > 0 or return 0;

    my $n = sysread $self->{out}, $self->{buffer}, 65536,
                    length $self->{buffer};

    if (!$n) {
        $self->{eof} = 1;
        return 0;
    }

    return 1;
}


sub stderr {
    my ($self) = @_;

    return read_file($self->{stderr}) // '';
}


sub running {
    my ($self) = @_;

    return !$self->reap;
}


sub reap {
    my ($self) = @_;

    return 1 if defined $self->{status};

    # undone by a test that waits for all of its children itself
    local $?;

    my $pid = waitpid $self->{pid}, WNOHANG;

    if ($pid == $self->{pid}) {
        $self->{status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;

    } elsif ($pid < 0) {
        $self->{status} = -1;
    }

    return defined $self->{status};
}


sub wait {
    my ($self, $timeout) = @_;

    wait_until($timeout // 10, sub { $self->reap }) or return undef;

    forget($self);

    return $self->{status};
}


sub signal {
    my ($self, $signal) = @_;

    return CORE::kill($signal, $self->{pid}) if !$self->reap;
    return 0;
}


sub kill {
    my ($self, $signal, $timeout) = @_;

    CORE::kill($signal // 'TERM', -$self->{pid}) if !$self->reap;

    my $status = $self->wait($timeout // 3);

    if (!defined $status) {
        CORE::kill('KILL', -$self->{pid});
        $status = $self->wait(3);
    }

    return $status;
}


sub finish {
    my ($self) = @_;

    $self->kill('TERM') if defined $self->{pid};
}


sub DESTROY {
    my ($self) = @_;

    local ($@, $?);

    if ($self->{pid} && $self->{owner} == $$) {
        $self->kill('KILL') if !defined $self->{status};
        forget($self);
    }
}


1;

__END__

=head1 NAME

SIO::Proc - external programs, with bounded patience

=head1 SYNOPSIS

    my $r = SIO::Proc->run([qw(redis-cli -p 7000 ping)], timeout => 5);
    is($r->{out}, "PONG\n");            # also {status}, {err}

    my $p = SIO::Proc->node('client.js', $url, 'websocket');
    is($p->json->{event}, 'connect');   # one line of output, decoded
    $p->send({ emit => ['hello'] });    # one line of input
    is($p->wait(5), 0);                 # exit status, undef: still running

=head1 METHODS

=over

=item spawn([command], name, env, cwd, stderr)

=item node($script, @args, {options}), python($script, @args, {options})

Start a script of F<t/client> with the client libraries in reach, which F<t/run>
installs.

=item run([command], stdin, timeout, ...)

Runs it to the end; status is -1 when it took too long, 128+n when it died by
signal n.

=item line($timeout), expect(qr/.../, $timeout)

The next line of output, the next line that matches; undef when there is none.

=item json($timeout), json_with($name, $timeout)

The next line decoded, the next one that has this member, while those before it
stay for later; dies when there is none.

=item send($line_or_structure), close_stdin, stderr, running, pid

=item wait($timeout), signal($name), kill($name, $timeout)

C<kill> reaches what the program has started itself, and ends with KILL.

=back

=cut
