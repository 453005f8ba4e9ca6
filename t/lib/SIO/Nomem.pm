package SIO::Nomem;

use strict;
use warnings;

use Carp qw(croak);
use SIO::Util qw(root read_file temp_dir);

use constant { NONE => 0, NTH => 1, HUNDREDTH => 2 };


sub new {
    my ($class) = @_;

    my $dir = temp_dir();

    system('cc', '-O1', '-shared', '-fPIC', '-Wall', '-Wextra', '-Werror',
           '-o', "$dir/nomem.so", root() . '/t/lib/nomem.c', '-ldl') == 0
        or croak 'nomem.c does not compile';

    open my $page, '+>:raw', "$dir/nomem" or croak "$dir/nomem: $!";

    my $self = bless { dir => $dir, page => $page, seen => 0 }, $class;

    $self->set(NONE, 0);

    # Nothing is mapped behind the end of a file.
    truncate $page, 4096 or croak "$dir/nomem: $!";

    return $self;
}


sub environment {
    my ($self) = @_;

    return (
        LD_PRELOAD => "$self->{dir}/nomem.so",
        SIO_NOMEM  => "$self->{dir}/nomem",
    );
}


sub nth {
    my ($self, $n) = @_;

    $self->{n} = $n;
    $self->set(NTH, $n);
}


sub hundredth {
    my ($self) = @_;

    $self->set(HUNDREDTH, 0);
}


sub off {
    my ($self) = @_;

    my (undef, $left, $failed) = $self->get;

    $self->set(NONE, 0);

    return ($failed, ($self->{n} // 0) - $left);
}


sub failed {
    my ($self) = @_;

    return ($self->get)[2];
}


sub trace {
    my ($self) = @_;

    my $text = read_file("$self->{dir}/nomem.trace") // '';
    my $new = substr $text, $self->{seen};

    $self->{seen} = length $text;

    return $new;
}


# The page is shared with nginx, see nomem.c.

sub set {
    my ($self, $mode, $nth) = @_;

    sysseek $self->{page}, 0, 0;
    syswrite $self->{page}, pack('LlL', $mode, $nth, 0) or croak "nomem: $!";
}


sub get {
    my ($self) = @_;

    sysseek $self->{page}, 0, 0;
    sysread $self->{page}, my $octets, 12 or croak "nomem: $!";

    return unpack 'LlL', $octets;
}


1;

__END__

=head1 NAME

SIO::Nomem - an nginx that runs out of memory when it shall

=head1 SYNOPSIS

    my $nomem = SIO::Nomem->new;
    my $nginx = SIO::Nginx->new(env => { $nomem->environment }, ...)->start;

    $nomem->nth(7);
    ...
    my ($failed, $count) = $nomem->off;     # 1 if there were seven

=head1 METHODS

=over

=item new, environment

Compiles F<t/lib/nomem.c>; what nginx has to be started with.

=item nth($n), hundredth, off

The nth allocation from now fails, in whichever worker it is; about one in a
hundred does; none does.  C<off> says how many have failed, and how many there
were since C<nth>.

=item failed

How many, so far.

=item trace

The calls that led to the last nth, unless they have been asked for before.

=back

=cut
