package SIO::Answers;

# What requests of clients are answered.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

our @EXPORT_OK = qw(is_answer is_error);

my %message = (1 => 'Session ID unknown', 3 => 'Bad request');


sub is_answer {
    my ($response, $status, $body, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return Test::More::is_deeply([ $response->{status}, $response->{body} ],
                                 [ $status, $body ], $name);
}


sub is_error {
    my ($response, $code, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return is_answer($response, 400,
                     qq({"code":$code,"message":"$message{$code}"}), $name);
}


1;

__END__

=head1 NAME

SIO::Answers - what requests of clients are answered

=head1 FUNCTIONS

=over

=item is_answer($response, $status, $body, $name)

One test.

=item is_error($response, $code, $name)

One test: a code of Engine.IO, 1 (unknown session) or 3 (bad request).

=back

=cut
