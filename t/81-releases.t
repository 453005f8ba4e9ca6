#!/usr/bin/perl

# Another release of nginx than the distribution's, built from its sources: the
# module loaded by it, and linked into it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Proc;
use SIO::Util qw(root asan read_file tail);
use Test::More;

plan skip_all => 'the releases are built without sanitizers' if asan();

# Elsewhere "t/release <directory>" does it with a tree that is there already.
plan skip_all => 'only Debian has mirrors with other suites of Debian'
    if (read_file('/etc/os-release') // '') !~ /^ID="?debian"?$/m;

# building nginx, on a machine that has other things to do
use constant TIMEOUT => 1200;

# what t/release says of a mirror whose lists and files do not agree
use constant UNAVAILABLE => 69;

my $suite = 'trixie';


sub release {
    my ($name, @arguments) = @_;

    my $r = SIO::Proc->run([ root() . '/t/release', @arguments ],
                           timeout => TIMEOUT);

    my $said = $r->{out} . $r->{err};

    if ($r->{status} == UNAVAILABLE) {
        plan skip_all => "the mirror of Debian has no nginx of $suite";
    }

    is($r->{status}, 0, "$name: all tests pass") or diag(tail($said, 80));

    return $said;
}


my $said = release('loaded', $suite, qw(
    t/10-handshake.t t/11-polling.t t/12-websocket.t t/13-upgrade.t
    t/15-socketio.t t/26-http3.t t/30-api.t t/40-webhooks.t t/50-reload.t));

my ($minor) = $said =~ m{^nginx version: nginx/1\.(\d+)}m;

cmp_ok($minor // 0, '>', 22, 'it is another release');
like($said, qr{26-http3\.t \.+ ok\b}, 'and has HTTP/3');

release('linked', '--static', $suite, qw(
    t/10-handshake.t t/12-websocket.t t/40-webhooks.t));

done_testing;
