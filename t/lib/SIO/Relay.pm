package SIO::Relay;

# Stands between nginx and Redis and keeps back what Redis says, to some.
#
#   my $relay = SIO::Relay->new($redis->port);
#
#   $relay->keep('publishers');     # what they are answered, those there are now
#   $relay->keep('subscribers');    # what they hear, those there are now
#   $relay->keep('new');            # what new ones hear when they are subscribed
#   $relay->kept;                   # whether there is something
#   $relay->cut;                    # closes the connections it is for
#   $relay->pass;                   # gives it all

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use SIO::Child qw(child end);
use SIO::Util qw(read_file temp_dir wait_until);


sub new {
    my ($class, $to, %option) = @_;

    my $listen = IO::Socket::INET->new(Listen => 64, ReuseAddr => 1,
                                       LocalAddr => '127.0.0.1') or die "$!";

    my $self = bless {
        dir      => temp_dir(),
        port     => $listen->sockport,
        # a host's channels: of a format's servers, of hosts, its own
        channels => 3,
        serial   => 0,
        %option,
    }, $class;

    $self->{pid} = child(sub { $self->run($listen, $to) });

    return $self;
}


sub url {
    return "redis://127.0.0.1:$_[0]{port}";
}


sub keep {
    my ($self, $what) = @_;

    $self->tell($what);
}


sub cut {
    my ($self) = @_;

    $self->tell('cut');
}


sub pass {
    my ($self) = @_;

    $self->tell('pass');
}


sub kept {
    my ($self) = @_;

    return -e "$self->{dir}/kept";
}


sub stop {
    my ($self) = @_;

    end($self->{pid});
}


# Returns when it has been understood.

sub tell {
    my ($self, $word) = @_;

    $self->{serial}++;

    open my $file, '>', "$self->{dir}/new" or die "$self->{dir}: $!";
    print $file "$self->{serial} $word";
    close $file;

    rename "$self->{dir}/new", "$self->{dir}/word" or die "$self->{dir}: $!";

    wait_until(10, sub {
        (read_file("$self->{dir}/done") // '') eq $self->{serial}
    }) or die "nobody relays";
}


sub run {
    my ($self, $listen, $to) = @_;

    my $select = IO::Select->new($listen);
    my (%other, %pair);
    my $done = 0;
    my $word = 'pass';

    for ( ;; ) {
        my ($serial, $said) = split ' ', read_file("$self->{dir}/word") // '0';

        if ($serial != $done) {
            $word = $said;
            $self->apply($word, \%pair, $select);
            $done = $serial;

            open my $file, '>', "$self->{dir}/done.new" or die "$!";
            print $file $done;
            close $file;
            rename "$self->{dir}/done.new", "$self->{dir}/done" or die "$!";
        }

        for my $from ($select->can_read(0.02)) {

            if ($from == $listen) {
                my $c = $listen->accept or next;
                my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                              PeerPort => $to);
                next if !$s;

                $pair{$c} = $pair{$s} = {
                    client => $c, server => $s, kept => '',
                    new => $word eq 'new', keeps => 0,
                };
                $select->add($c, $s);
                next;
            }

            my $pair = $pair{$from} or next;

            if (!sysread $from, my $data, 65536) {
                leave($pair, \%pair, $select);

            } elsif ($from == $pair->{client}) {
                if ($data =~ /SUBSCRIBE/) {
                    $pair->{subscriber} = 1;
                    $pair->{keeps} = 0;
                }
                put($pair->{server}, $data);

            } else {
                $self->answer($pair, $data);
            }
        }
    }
}


sub answer {
    my ($self, $pair, $data) = @_;

    if ($pair->{keeps}) {
        $pair->{kept} .= $data;
        open my $file, '>', "$self->{dir}/kept";
        return;
    }

    if ($pair->{new} && $pair->{subscriber}) {
        $pair->{kept} .= $data;

        my $n = 0;
        my $end;

        while ($pair->{kept}
               =~ /\*3\r\n\$9\r\nsubscribe\r\n\$\d+\r\n[^\r]*\r\n:\d+\r\n/g)
        {
            $end = pos $pair->{kept} if ++$n == $self->{channels};
        }

        if (defined $end) {
            put($pair->{client}, substr $pair->{kept}, 0, $end, '');
            $pair->{keeps} = 1;
            $pair->{new} = 0;
        }

        return;
    }

    put($pair->{client}, $data);
}


sub apply {
    my ($self, $word, $pairs, $select) = @_;

    for my $name (keys %$pairs) {
        my $pair = $pairs->{$name} or next;

        if ($word eq 'publishers') {
            $pair->{keeps} = !$pair->{subscriber};

        } elsif ($word eq 'subscribers') {
            $pair->{keeps} = $pair->{subscriber};

        } elsif ($word eq 'cut') {
            leave($pair, $pairs, $select) if $pair->{keeps};

        } elsif ($word eq 'pass') {
            @$pair{qw(keeps new)} = (0, 0);
            put($pair->{client}, $pair->{kept});
            $pair->{kept} = '';
        }
    }
}


sub leave {
    my ($pair, $pairs, $select) = @_;

    for my $end (@$pair{qw(client server)}) {
        $select->remove($end);
        delete $pairs->{$end};
        close $end;
    }
}


sub put {
    my ($socket, $data) = @_;

    while (length $data) {
        my $n = syswrite($socket, $data) // last;
        substr $data, 0, $n, '';
    }
}


1;
