package SIO::Procfs;

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();
use SIO::Util qw(asan read_file);
use Test::More ();

our @EXPORT_OK = qw(cpu rss memfds grows_less settles);


# Seconds, user and system.

sub cpu {
    my ($pid) = @_;

    my ($rest) = (read_file("/proc/$pid/stat") // '') =~ /.*\) (.*)/s
        or return 0;
    my @fields = split ' ', $rest;

    return ($fields[11] + $fields[12]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
}


# Kilobytes that are the process's own; what workers share counts for nobody.

sub rss {
    my ($pid) = @_;

    my ($kb) = (read_file("/proc/$pid/status") // '') =~ /^RssAnon:\s+(\d+)/m;

    return $kb // 0;
}


# Name and inode of the shared memory that the module has made.

sub memfds {
    my ($pid) = @_;

    my @memfds;

    for my $fd (glob "/proc/$pid/fd/*") {
        my $link = readlink $fd // next;

        push @memfds, "$link " . (stat $fd)[1] if $link =~ m{^/memfd:};
    }

    return @memfds;
}


# Growth is compared only where freed memory is used again.

sub grows_less {
    my ($before, $after, $limit, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    if (asan()) {
        Test::More::pass("$name, not measured with sanitizers");
        return;
    }

    Test::More::cmp_ok($after - $before, '<', $limit,
                       "$name: $before, then $after kB");
}


# How much is there at once depends on the pace of the machine, a leak does not:
# it grows in every round.  So a few rounds in a row are enough that need no
# more than the one before them, and eight are given.

sub settles {
    my ($limit, $name, $round, %option) = @_;

    my $few = $option{rounds} // 3;
    my @memory = map { $round->($_) } 1 .. $few;

    while (@memory < 8 && !asan()
           && $memory[-1] - $memory[-$few] >= $limit)
    {
        push @memory, $round->(@memory + 1);
    }

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    grows_less(@memory[-$few, -1], $limit, "$name, round " . @memory);
}


1;

__END__

=head1 NAME

SIO::Procfs - what a process needs, from /proc

=head1 FUNCTIONS

=over

=item cpu($pid)

Seconds of processor time, user and system.

=item rss($pid)

Anonymous resident memory in kB: neither libraries nor the shared zone.

=item memfds($pid)

One string for each memfd it has open, its name and inode.

=item grows_less($before, $after, $limit, $name)

One test: kB of memory, not measured with sanitizers.

=item settles($limit, $name, sub { my ($n) = @_; ...; return $kb }, rounds => 3)

One test: in so many rounds in a row, of eight at most, memory grows by less
than the limit.

=back

=cut
