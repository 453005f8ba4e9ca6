package SIO::Nomem;

use strict;
use warnings;

use Carp qw(croak);
use SIO::Nginx;
use SIO::Util qw(root read_file temp_dir);

use constant { NONE => 0, NTH => 1, HUNDREDTH => 2, RECORD => 3, PATH => 4 };

# as in nomem.c
use constant { HEAD => 24, PATHS => 8192, PATH_SIZE => 48 };


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
    truncate $page, HEAD + PATHS * PATH_SIZE or croak "$dir/nomem: $!";

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
    my ($self, $mode, $nth, $key) = @_;

    sysseek $self->{page}, 0, 0;
    syswrite $self->{page}, pack('LlLLQ', $mode, $nth, 0, ++$self->{turn},
                                 $key // 0) or croak "nomem: $!";
}


sub get {
    my ($self) = @_;

    sysseek $self->{page}, 0, 0;
    sysread $self->{page}, my $octets, 12 or croak "nomem: $!";

    return unpack 'LlL', $octets;
}


# Everything that the module calls is counted from now on.

sub record {
    my ($self) = @_;

    $self->set(RECORD, 0);
}


# The nth of the calls by this path fails.

sub path {
    my ($self, $path, $n) = @_;

    $self->set(PATH, $n, $path->{key});
}


# All that were ever taken: how often since it was said last what to do, how
# often they have failed, how many blocks from there are in use.

sub paths {
    my ($self) = @_;

    my @paths;

    sysseek $self->{page}, HEAD, 0;
    sysread $self->{page}, my $octets, PATHS * PATH_SIZE or croak "nomem: $!";

    for my $place (0 .. PATHS - 1) {
        my ($key, $turn, $seen, $failed, $live, @calls) =
            unpack 'QLLLlL5', substr $octets, $place * PATH_SIZE, PATH_SIZE;

        next if !$key;

        push @paths, {
            key    => $key,
            seen   => $turn == $self->{turn} ? $seen : 0,
            failed => $failed,
            live   => $live,
            calls  => [ grep { $_ } @calls ],
        };
    }

    return @paths;
}


# What the module calls: { offset of the return => { call, function, place } },
# without what the libraries in it call.

my %sites;

sub sites {
    return \%sites if %sites;

    my $module = SIO::Nginx::module_path();
    my %calls = map { $_ => 1 } read_file(root() . '/t/lib/nomem.c')
                                =~ /^    f\((\w+), /mg;
    my ($at, $call, %return);

    open my $code, '-|', qw(objdump -d --no-show-raw-insn), $module
        or croak "objdump: $!";

    while (<$code>) {
        my ($offset, $text) = /^\s+([0-9a-f]+):\t(.*)/ or next;

        $return{$at} = { call => $call, at => hex $offset } if $at;
        $at = undef;

        if ($text =~ /^call\s+\S+ <(\w+)\@plt>/ && $calls{$1}) {
            ($at, $call) = ($offset, $1);
        }
    }

    close $code or croak 'objdump failed';

    my @at = sort keys %return;

    open my $lines, '-|', qw(addr2line -aif -e), $module, @at
        or croak "addr2line: $!";

    # innermost first; headers of nginx have some that are made a part of ours
    while (<$lines>) {
        if (/^0x([0-9a-f]+)/) {
            $at = $1 =~ s/^0+//r;
            next;
        }

        my $function = s/\n//r;
        my $place = <$lines>;

        if (!$sites{$return{$at}{at}}
            && $place =~ m{\b(ngx_(?:http_socketio|sio)_\w+\.c:\d+)})
        {
            $sites{$return{$at}{at}} = {
                call => $return{$at}{call}, function => $function, place => $1,
            };
        }
    }

    close $lines or croak 'addr2line failed';

    croak 'the module has nothing to look at' if !%sites;

    return \%sites;
}


# As a person reads it, innermost call first.

sub name {
    my ($self, $path) = @_;

    my @calls = @{ $path->{calls} };
    my $site = sites()->{ shift @calls };
    my $name = $site ? "$site->{call} in $site->{place}" : 'a library';

    return $name if !@calls;

    my @at = map { sprintf '%x', $_ - 1 } @calls;
    my @told = `addr2line -fse @{[ SIO::Nginx::module_path() ]} @at`;

    chomp @told;

    return $name . join '', map {
        ' < ' . $told[ 2 * $_ ] =~ s/^ngx_(?:http_socketio|sio)_//r
        . $told[ 2 * $_ + 1 ] =~ s/^.*(:\d+).*/$1/r
    } 0 .. $#at;
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
