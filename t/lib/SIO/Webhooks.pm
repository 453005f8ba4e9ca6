package SIO::Webhooks;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_base64);
use Exporter qw(import);
use MIME::Base64 qw(decode_base64);
use SIO::Client;
use SIO::EIO;
use SIO::Util qw(wait_until);
use Test::More ();

our @EXPORT_OK = qw(
    client_of webhooks_of disconnect_of overlap signature all_is_told
);


# A client of a certain worker.

sub client_of {
    my ($nginx, $pid, %option) = @_;

    my $nsp = delete $option{nsp};
    my $auth = delete $option{auth};
    my $http = $nginx->connect_to($pid);
    my $eio;

    if ((delete $option{transport} // 'websocket') eq 'polling') {
        $eio = SIO::EIO->open(http => $http, %option);

    } else {
        $eio = SIO::EIO->new(http => $http, port => $nginx->port, %option);
        $eio->{ws} = $eio->websocket(http => $http);
        $eio->opened($eio->{ws}->recv // die 'no open packet');
    }

    my $client = SIO::Client->new(session => $eio);

    $client->join($nsp // '/', $auth);
    $client->{nsp} = $nsp;

    return $client;
}


# In the order of their numbers; of those that were repeated the first.

sub webhooks_of {
    my ($backend, $sid, %match) = @_;

    my %seen;

    return sort { $a->{json}{seq} <=> $b->{json}{seq} }
           grep { !$seen{$_->{json}{id}}++ }
           $backend->requests(sid => $sid, %match);
}


sub disconnect_of {
    my ($backend, $sid, $timeout) = @_;

    $backend->wait(1, $timeout, sid => $sid, type => 'disconnect');

    my ($found) = $backend->requests(sid => $sid, type => 'disconnect');

    return $found ? $found->{json} : undef;
}


# How many of these were at work at the same time, each for so many seconds.
# When the backend has recorded an answer its next request may be there.

sub overlap {
    my ($seconds, @requests) = @_;

    my @steps = map { [ $_->{time}, 1 ], [ $_->{time} + $seconds, -1 ] }
                @requests;
    my ($now, $max) = (0, 0);

    for my $step (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @steps) {
        $now += $step->[1];
        $max = $now if $now > $max;
    }

    return $max;
}


# Standard Webhooks 1.0, without the "v1,"

sub signature {
    my ($secret, $id, $timestamp, $body) = @_;

    my $key = decode_base64($secret =~ s/^whsec_//r);

    return hmac_sha256_base64("$id.$timestamp.$body", $key) . '=';
}


# When all clients have left: for each connect that was accepted one
# disconnect, the last, and no number left out.

sub all_is_told {
    my ($backend, $name, %refused) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my %sids = map { $_->{json}{sid} => 1 }
               grep { !$refused{$_->{json}{sid}} }
               $backend->requests(type => 'connect');

    wait_until(10, sub {
        my %ended = map { $_->{json}{sid} => 1 }
                    $backend->requests(type => 'disconnect');

        return !grep { !$ended{$_} } keys %sids;
    });

    my @problems;

    for my $sid (sort keys %sids) {
        my @types = map { "$_->{json}{seq} $_->{json}{type}" }
                    webhooks_of($backend, $sid);
        my $n = grep { /disconnect/ } @types;

        push @problems, "$sid: @types"
            if $n != 1 || $types[-1] !~ /disconnect/
               || grep { $types[$_] !~ /^$_ / } 0 .. $#types;
    }

    push @problems, map { "$_->{json}{sid} was refused, but has a disconnect" }
                    grep { $refused{$_->{json}{sid}} }
                    $backend->requests(type => 'disconnect');

    Test::More::ok(!@problems, $name)
        or Test::More::diag(join "\n", @problems);

    return scalar keys %sids;
}


1;

__END__

=head1 NAME

SIO::Webhooks - what the tests of webhooks have in common

=head1 FUNCTIONS

=over

=item client_of($nginx, $pid, %options)

An L<SIO::Client> of this worker, connected to C<nsp>.

=item webhooks_of($backend, $sid, %match), disconnect_of($backend, $sid)

=item overlap($seconds, @requests)

=item signature($secret, $id, $timestamp, $body)

=item all_is_told($backend, $name, %refused)

One test; C<%refused> has the sids that the backend has not accepted.

=back

=cut
