#!/usr/bin/perl

# t/bench/run does not rot: with very little of everything, and without the
# peers, it still measures whatever it names.  What it says of costs is not
# looked at.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Proc;
use SIO::Util qw(asan root);
use Test::More;


# the module without sanitizers is what is measured
plan skip_all => 'not with sanitizers' if asan();

my $run = SIO::Proc->run([ root() . '/t/bench/run', '--quick' ],
                         timeout => 600);

is($run->{status}, 0, 'the benchmark ends well')
    or diag($run->{out}, $run->{err});

my @rows = map { [ map { s/^\s+|\s+$//gr } split /\|/ ] }
           grep { /^\|/ } split /\n/, $run->{out};

my ($head, $line) = splice @rows, 0, 2;

is($head->[1], 'what', 'a table');

my %expected = (
    'idle client'            => qr/kB$/,
    'over TLS'               => qr/kB$/,
    'connection, accepted'   => qr/us$/,
    'an event and its'       => qr/us$/,
    'a message of 128 bytes' => qr/us$/,
    'at a time'              => qr/us$/,
    'by polling'             => qr/us$/,
    'polling request'        => qr/us$/,
    'emit by HTTP'           => qr/us$/,
    'entries of the log'     => qr{M/s$},
);

for my $what (sort keys %expected) {
    my ($row) = grep { $_->[1] =~ /\Q$what\E/ } @rows;

    # memory of so few clients may be less than nothing
    like($row->[2], qr/^-?\d+(?:\.\d+)? $expected{$what}/, "$what: measured");
}

is(@rows, keys %expected, 'and nothing else');

done_testing;
