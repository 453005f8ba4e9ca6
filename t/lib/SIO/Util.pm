package SIO::Util;

# What the other packages share: paths, free ports, bounded waiting, and one
# list of everything that was started, so that nothing outlives the test.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Errno qw(EEXIST);
use Exporter qw(import);
use Fcntl qw(:flock O_CREAT O_RDWR);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Spec;
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Scalar::Util qw(refaddr weaken);
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(
    root build_dir asan free_port temp_dir wait_until alive own forget
    read_file write_file tail program needed scale
);

use constant {
    MOMENT   => 3,      # seconds
    PATIENCE => 20,
};

my $root = abs_path(dirname(__FILE__) . '/../../..');

my %owned;          # address => what has to be stopped at the end, in order
my $serial = 0;
my $owner = $$;     # a child that forks must not stop its parent's servers
my @dirs;
my %port_locks;     # port => handle, locked as long as this process lives


sub root {
    return $root;
}


sub build_dir {
    return $ENV{SIO_BUILD} // "$root/.build";
}


sub asan {
    return $ENV{SIO_ASAN} ? 1 : 0;
}


# Sanitizers and loaded machines are slow: every bound is multiplied by this.

sub scale {
    return $ENV{SIO_TIMEOUT_SCALE} // (asan() ? 3 : 1);
}


sub program {
    my ($name) = @_;

    return $name if $name =~ m{/} && -x $name;

    for my $dir (File::Spec->path, qw(/usr/sbin /usr/local/sbin)) {
        return "$dir/$name" if -x "$dir/$name" && !-d _;
    }

    return undef;
}


# What t/run installs is there, or the test fails.

sub needed {
    my ($name) = @_;

    return program($name) // croak "$name is missing, t/run installs it";
}


# Ports come from below the range of ephemeral ports, where a connection of
# somebody else could take one at any time, and a lock file keeps those away
# who choose from the same range.

sub free_port {
    my $locks = File::Spec->tmpdir . "/sio-ports-$>";

    mkdir $locks, 0700 or $!{EEXIST} or croak "mkdir $locks: $!";

    for (1 .. 500) {
        my $port = 10000 + int rand 20000;

        next if $port_locks{$port};

        sysopen my $lock, "$locks/$port", O_CREAT | O_RDWR or next;
        flock $lock, LOCK_EX | LOCK_NB or next;

        # Without ReuseAddr a port in TIME_WAIT is seen as taken.
        my $socket = IO::Socket::INET->new(
            Proto     => 'tcp',
            LocalAddr => '127.0.0.1',
            LocalPort => $port,
            Listen    => 1,
        ) or next;

        close $socket;

        $port_locks{$port} = $lock;

        return $port;
    }

    croak 'no free port found';
}


sub temp_dir {
    my $dir = tempdir('sio-XXXXXXXX', TMPDIR => 1);

    # nginx workers run as another user when the tests run as root
    chmod 0755, $dir;
    push @dirs, $dir;

    return $dir;
}


# Patience costs nothing where what is waited for comes: whoever gives it more
# than a moment gives it as long as a machine may need that is busy elsewhere.

sub wait_until {
    my ($timeout, $condition) = @_;

    $timeout = PATIENCE if $timeout > MOMENT && $timeout < PATIENCE;

    my $deadline = time + $timeout * scale();

    for ( ;; ) {
        my $value = $condition->();

        return $value if $value;
        return undef if time >= $deadline;

        sleep 0.01;
    }
}


# A zombie counts as gone: not every container has an init that reaps.

sub alive {
    my ($pid) = @_;

    open my $stat, '<', "/proc/$pid/stat" or return 0;

    my $line = <$stat> // return 0;

    return $line =~ /\) ([^ZX]) [^)]*$/ ? 1 : 0;
}


# The reference is weak: what the test lets go of is stopped by its DESTROY.

sub own {
    my ($object) = @_;

    my $entry = $owned{refaddr $object} = {
        object => $object,
        serial => ++$serial,
    };

    weaken($entry->{object});
}


sub forget {
    my ($object) = @_;

    delete $owned{refaddr $object};
}


sub read_file {
    my ($name) = @_;

    open my $file, '<:raw', $name or return undef;

    local $/;

    return scalar <$file> // '';
}


sub write_file {
    my ($name, $content) = @_;

    open my $file, '>:raw', "$name.new" or croak "$name: $!";
    print $file $content;
    close $file or croak "$name: $!";

    rename "$name.new", $name or croak "$name: $!";
}


sub tail {
    my ($text, $lines) = @_;

    my @lines = split /^/, $text // '';

    splice @lines, 0, @lines - $lines if @lines > $lines;

    return join '', @lines;
}


# A test that is interrupted leaves through END like any other.

for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} = sub { exit 1 } if !$SIG{$signal};
}

$SIG{PIPE} = 'IGNORE';


END {
    if ($$ == $owner) {
        my $status = $?;

        for my $entry (sort { $b->{serial} <=> $a->{serial} } values %owned) {
            my $object = $entry->{object} // next;

            local $@;
            eval { $object->finish; 1 } or do {
                print STDERR "# $@";
                $status ||= 1;
            };
        }

        remove_tree(@dirs) if @dirs && !$ENV{SIO_KEEP};

        $? = $status;
    }
}


1;

__END__

=head1 NAME

SIO::Util - paths, ports, waiting and cleaning up

=head1 FUNCTIONS

=over

=item root(), build_dir(), asan()

The checkout, the directory of built things (C<$SIO_BUILD>, default
F<.build>), and whether nginx runs with sanitizers (C<$SIO_ASAN>).

=item scale()

By what all time-outs are multiplied: C<$SIO_TIMEOUT_SCALE>, or 3 with
sanitizers, or 1.

=item free_port(), temp_dir()

A TCP port on 127.0.0.1 that stays ours while this process lives, and a
directory that is removed at the end (unless C<$SIO_KEEP> is set).

=item wait_until($seconds, sub { ... })

Calls the function until it returns something true, which is returned, or
until the time has passed; nothing is returned then.  More than three seconds
are at least twenty.

=item program($name), needed($name)

The path of a command; undef, or the end of the test, if there is none.

=item alive($pid), read_file($name), tail($text, $lines)

=item write_file($name, $content)

Replaces the file in one step, so that a reader sees the old or the new one.

=item own($object), forget($object)

C<< $object->finish >> is called at the end of the process, the youngest
object first.

=back

=cut
