package SIO::Child;

# Code in processes of its own: small servers of a test, which end with it.
#
#   my $pid = child(sub { ... });    # until it returns, or for five minutes
#   end($pid);

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();

our @EXPORT_OK = qw(child ended end);

my $parent = $$;
my %children;

# END runs in children that die, too
END { kill 'KILL', keys %children if $$ == $parent }


sub child {
    my ($code) = @_;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        $SIG{TERM} = sub { POSIX::_exit(0) };
        alarm 300;
        $code->();
        POSIX::_exit(0);
    }

    $children{$pid} = 1;

    return $pid;
}


# Waits for one that comes to an end by itself.

sub ended {
    my ($pid) = @_;

    waitpid $pid, 0;
    delete $children{$pid};
}


sub end {
    my ($pid) = @_;

    kill 'TERM', $pid;
    ended($pid);
}


1;
