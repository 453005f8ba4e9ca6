package SIO::Mortal;

use strict;
use warnings;

use Carp qw(croak);
use SIO::Util qw(root temp_dir);


sub new {
    my ($class) = @_;

    my $dir = temp_dir();

    system('cc', '-O1', '-shared', '-fPIC', '-Wall', '-Wextra', '-Werror',
           '-o', "$dir/mortal.so", root() . '/t/lib/mortal.c', '-ldl') == 0
        or croak 'mortal.c does not compile';

    open my $page, '+>:raw', "$dir/mortal" or croak "$dir/mortal: $!";

    # Nothing is mapped behind the end of a file.
    truncate $page, 4096 or croak "$dir/mortal: $!";

    # Workers have fewer rights than we.
    chmod 0666, "$dir/mortal";

    return bless { dir => $dir, page => $page }, $class;
}


sub environment {
    my ($self) = @_;

    return (
        LD_PRELOAD => "$self->{dir}/mortal.so",
        SIO_MORTAL => "$self->{dir}/mortal",
    );
}


sub nth {
    my ($self, $n, $victim) = @_;

    $self->arm($n, $victim // 0, 0);
}


sub nth_lock {
    my ($self, $n, $steps) = @_;

    $self->arm($n, 0, $steps);
}


sub arm {
    my ($self, $n, $victim, $steps) = @_;

    # The count comes last: it is what they look at first.
    $self->put(4, $victim, 0, 0, $steps, 0);
    $self->put(0, $n);
}


sub off {
    my ($self) = @_;

    my $dead = $self->dead;

    $self->put(0, 0);

    return $dead;
}


sub dead {
    return $_[0]->get(8);
}


sub held {
    return $_[0]->get(12);
}


sub passed {
    return $_[0]->get(20);
}


sub get {
    my ($self, $offset) = @_;

    sysseek $self->{page}, $offset, 0;
    sysread $self->{page}, my $octets, 4 or croak "mortal: $!";

    return unpack 'l', $octets;
}


# The page is shared with nginx, see mortal.c.

sub put {
    my ($self, $offset, @numbers) = @_;

    sysseek $self->{page}, $offset, 0;
    syswrite $self->{page}, pack('l*', @numbers) or croak "mortal: $!";
}


1;

__END__

=head1 NAME

SIO::Mortal - an nginx whose workers die at a certain moment

=head1 SYNOPSIS

    my $mortal = SIO::Mortal->new;
    my $nginx = SIO::Nginx->new(env => { $mortal->environment }, ...)->start;

    $mortal->nth(7);
    ...
    my $pid = $mortal->off;         # 0: there were fewer than seven

=head1 METHODS

=over

=item new, environment

Compiles F<t/lib/mortal.c>; what nginx has to be started with.

=item nth($n, $pid)

The nth moment from now kills the worker that comes to it, whichever it is, or
this one.  There are three of them whenever somebody takes the lock of a zone:
behind taking it, before releasing it, and behind that.

=item nth_lock($n, $steps)

Kills whoever is the nth to take the lock from now on, so many instructions
later, unless it has released it by then; that many were C<passed>.

=item dead, held, passed, off

Who was killed, or 0, and whether it had the lock then; C<off> also spares those
who are left.

=back

=cut
