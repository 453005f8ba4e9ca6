package SIO::Status;

# What the tests of the status page have in common.

use strict;
use warnings;

use Exporter qw(import);
use SIO::HTTP;
use SIO::Proc;
use SIO::Util qw(build_dir program wait_until);
use Test::More ();

our @EXPORT_OK = qw(status numbers counted plus metrics promtool upgrade);


sub status {
    my ($nginx, $path) = @_;

    return SIO::HTTP->new(port => $nginx->port, timeout => 20)
           ->get($path // '/status')->json;
}


# What is counted, by path, and is not 0; without what depends on the length of
# ids, on time, or on the moment.

sub numbers {
    my ($status) = @_;

    my (%numbers, $walk);

    $walk = sub {
        my ($path, $value) = @_;

        if (ref $value) {
            $walk->("$path.$_", $value->{$_}) for keys %$value;

        } elsif ($value ne '0'
                 && $path !~ /^\.(?: since | zone | memory\. | workers\.lag
                              | (?:received|sent)\.bytes
                              | webhooks\.duration\.\w+\.(?:buckets|sum) )/x)
        {
            $numbers{substr $path, 1} = $value;
        }
    };

    $walk->('', $status);

    return \%numbers;
}


# Exactly these, all others being 0, some time soon.

sub counted {
    my ($nginx, $expected, $name, %option) = @_;

    my $found;

    $expected = { 'workers.count.live' => $nginx->{workers}, %$expected };

    wait_until($option{timeout} // 10, sub {
        $found = numbers(status($nginx, $option{path}));

        return join(' ', map { "$_=$found->{$_}" } sort keys %$found)
               eq join(' ', map { "$_=$expected->{$_}" } sort keys %$expected);
    });

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return Test::More::is_deeply($found, $expected, $name);
}


# Adds to what was expected before, which is what is expected now.

sub plus {
    my ($sum, %more) = @_;

    $sum->{$_} += $more{$_} for keys %more;

    return { map { $_ => $sum->{$_} } grep { $sum->{$_} } keys %$sum };
}


# Lines for Prometheus: { name => { 'label="value",...' => number } } without
# the zone, and { name => type }.

sub metrics {
    my ($text) = @_;

    my (%series, %type);

    for my $line (split /\n/, $text) {
        if ($line =~ /^# TYPE (\w+) (\w+)$/) {
            $type{$1} = $2;

        } elsif ($line =~ /^(\w+)\{zone="socketio"(?:,(.*))?\} ([\d.]+)$/) {
            $series{$1}{$2 // ''} = $3;

        } elsif ($line !~ /^# HELP \w+ \w.*\.$/) {
            Test::More::fail("not a line: $line");
        }
    }

    return (\%series, \%type);
}


# It says nothing when all is well.

sub promtool {
    my ($text, $name) = @_;

    my $r = SIO::Proc->run([ program('promtool') // build_dir() . '/promtool',
                             'check', 'metrics' ], stdin => $text);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::ok($r->{status} == 0 && $r->{out} . $r->{err} eq '', $name)
        or Test::More::diag($r->{out}, $r->{err});
}


# With a poll that waits, on a connection of its own, and is told a noop.

sub upgrade {
    my ($eio, %option) = @_;

    $eio->{pending} =
        $eio->get_start(http => SIO::HTTP->new(port => $eio->{http}{port}));

    return $eio->upgrade(%option);
}


1;

__END__

=head1 NAME

SIO::Status - what the workers have counted

=head1 FUNCTIONS

=over

=item status($nginx, $path)

The page in JSON, of F</status> unless told otherwise, as a structure.

=item numbers($status)

{ path => number } of what is counted and is not 0, without octets, time and
memory.

=item counted($nginx, { path => number }, $name, path => ..., timeout => 10)

One test: exactly these numbers, all others being 0, now or soon.  As many
workers as there should be are live unless told otherwise.

=item plus($sum, path => number, ...)

Adds to the numbers in C<$sum>, and gives those that are not 0.

=item metrics($text)

Two hashes: { name => { 'label="value",...' => number } }, without the label of
the zone, and { name => type }.

=item promtool($text, $name)

One test.

=item upgrade($eio, %options)

An upgrade (L<SIO::EIO>) while a poll waits.

=back

=cut
