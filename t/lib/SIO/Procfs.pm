package SIO::Procfs;

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();
use SIO::Util qw(read_file);

our @EXPORT_OK = qw(cpu rss memfds);


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

=back

=cut
