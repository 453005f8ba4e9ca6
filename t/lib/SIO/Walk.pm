package SIO::Walk;

# Walks through all allocations that fail.
#
#   SIO_NOMEM_WALK   the only one that is walked, by its name
#   SIO_NOMEM_EACH   1: looks after each visit for what it has left behind

use strict;
use warnings;

use SIO::Util qw(scale wait_until);
use Test::More;
use Time::HiRes qw(time);

# An event, or a part of a reply, may be lost, as it is when the backend fails.
my $explained = qr/webhook\b.* failed:\ (?:no\ memory|could\ not\ be\ made)
                   | of\ a\ reply\ was\ dropped/x;


# Which test sees to which places; the first one that fits.

my @parts = (
    conf  => qr/_(?:conf|keys|location|module|zone|queue_url|queue|kept|worker
                   |mem|wake|watch|hub|origin_vars|count|hook_lane)\.c:
               |_(?:variables_add|park_grow|request_take|request_pool
                   |websocket_begin|sign_mac|journal_copy)\z/x,
    hosts => qr/_(?:bridge|bridge_send|cluster|errand|foreign|guest|letter
                   |node\w*|python\w*|remote\w*|pickle_decode|qmsg|redis
                   |queue_redis)\.c:/x,
    api   => qr/socketio_(?:api\w*|list|args|body|result|status|wire)\.c:
               |_hub_append\.c:
               |_(?:rooms_pick_handler|out_ring)\z/x,
    paths => qr/./,
);


# Functions: others says what is wrong with those who are not concerned, settled
# whether nobody else is there and nothing under way.

sub new {
    my ($class, %option) = @_;

    my $self = bless { walks => [], %option }, $class;

    # from here on it is known whose blocks are in use
    $self->{nomem}->record;
    $self->{others}->([]);

    return $self;
}


sub add {
    my ($self, $name, $visit) = @_;
    my $only = $ENV{SIO_NOMEM_WALK};

    return if defined $only && $only ne $name;

    push @{ $self->{walks} }, { name => $name, visit => $visit };
}


# All walks: at first without faults, then each again and again with another
# one.  In the end no block is in use that was not when they began.

sub run {
    my ($self) = @_;

    $self->prepare($_) for @{ $self->{walks} };
    $self->settle;

    my %before = $self->live;

    $self->walk($_, \%before) for @{ $self->{walks} };

    $self->settle;

    is(join("\n", $self->left(\%before)), '', 'nothing is left behind');
}


# The blocks that are in use now, and were not before.

sub left {
    my ($self, $before) = @_;

    my @left;

    # what has ended may still be on its way out
    wait_until(30 * scale(), sub {
        my %now = $self->live;

        # a ping has a form for each kind of client that was there
        $now{$_} -= /_sio_msg\.c/ ? 4 : 0 for keys %now;

        @left = map { "$now{$_} blocks, not " . ($before->{$_} // 0) . ": $_" }
                grep { $now{$_} > ($before->{$_} // 0) } sort keys %now;

        return !@left;
    });

    return @left;
}


# What is made once and kept is made in the first visits.

sub prepare {
    my ($self, $walk) = @_;

    my $nomem = $self->{nomem};
    my (%paths, $visit, $known);

    $walk->{time} = -time;

    for my $turn (1 .. 12) {
        $nomem->record;

        $visit = $self->visit($walk->{visit});

        my @seen = grep { $_->{seen} } $nomem->paths;
        my $new = grep { !exists $paths{$_->{key}} } @seen;

        $paths{$_->{key}} = $_ for @seen;
        $known = $new ? 0 : $known + 1;

        last if $turn > 3 && $known > 1;
    }

    $walk->{paths} = [ sort { $a->{key} <=> $b->{key} } values %paths ];
    $walk->{time} += time;

    is(join(', ', $visit->{died} // (), @{ $visit->{hurt} }), '',
       "$walk->{name}, without faults");
}


# By whatever way a call is reached, in this walk or before, it fails when it is
# made for the first time, and when for the last: what is between these has come
# by the same way.

sub walk {
    my ($self, $walk, $before) = @_;

    my @wrong;

    $walk->{time} -= time;
    @$walk{qw(failed hurt)} = (0, 0);

    for my $path (@{ $walk->{paths} }) {
        my %n = map { $_ => 1 } 1, $path->{seen};

        # another walk has come this way
        next if $self->{done}{$path->{key}}++;

        for my $n (sort { $a <=> $b } grep { $_ } keys %n) {
            my $told;

            # not every visit takes all ways
            for (1 .. 3) {
                $told = $self->once($path, $n, $walk->{visit});
                last if $told->{failed} || $told->{wrong};
            }

            $walk->{failed}++ if $told->{failed};
            $walk->{hurt}++ if $told->{hurt};

            push @wrong, $told->{wrong} if $told->{wrong};

            next if !$ENV{SIO_NOMEM_EACH};

            $self->settle;

            my @left = $self->left($before);

            push @wrong, join "\n", "call $n, " . $self->{nomem}->name($path),
                                    @left if @left;
            $before = { $self->live };
        }
    }

    is(scalar @wrong, 0, "$walk->{name}, each time with another one")
        or diag(join "\n\n", splice @wrong, 0, 15);

    $self->{nomem}->record;
    my $visit = $self->visit($walk->{visit});

    is(join(', ', $visit->{died} // (), @{ $visit->{hurt} }), '',
       "$walk->{name}, as before");

    $walk->{time} += time;
}


# Until nothing is under way.

sub settle {
    my ($self) = @_;

    wait_until(60 * scale(), $self->{settled})
        or fail('something is still under way');

    $self->{others}->([]);
}


# Blocks in use, by the place that has asked for them.  What is kept to be used
# again is not: there may be more of it when more has happened at once.

sub live {
    my ($self) = @_;

    my $sites = SIO::Nomem::sites();
    my %live;

    for my $path ($self->{nomem}->paths) {
        my $site = $sites->{$path->{calls}[0]} // next;

        next if $site->{function}
                =~ /_(?:request_(?:take|pool)|out_ring|park_grow)$/;

        $live{"$site->{call} in $site->{place}"} += $path->{live};
    }

    return %live;
}


# One visit; how it has ended.

sub visit {
    my ($self, $visit) = @_;

    my $v = SIO::Walk::Visit->new(walk => $self,
                                  mark => $self->{nginx}->mark);

    eval { $visit->($v); 1 } or $v->{died} = $@ || 'died';

    $v->finish;
    $v->{failed} = $self->{nomem}->failed;

    return $v;
}


sub once {
    my ($self, $path, $n, $visit) = @_;

    my $nginx = $self->{nginx};
    my $nomem = $self->{nomem};
    my $mark = $nginx->mark;
    my @workers = $nginx->workers;
    my $began = time;

    $nomem->path($path, $n);

    my $v = $self->visit($visit);

    $nomem->record;

    my @wrong = @{ $v->{wrong} };
    my @hurt = @{ $v->{hurt} };

    push @hurt, 'session' if $v->{died};
    push @wrong, $self->{others}->(\@hurt) if $self->{others};

    my @lines = grep { !/\[(?:info|notice)\]/ }
                     split /\n/, substr $nginx->log, $mark;

    push @wrong, 'nothing has failed' if @hurt && !$v->{failed};
    push @wrong, 'nothing in the log' if $v->{failed} && @hurt && !@lines;
    push @wrong, 'other workers' if "@workers" ne join ' ', $nginx->workers;
    push @wrong, 'no answer' if ($v->{died} // '') =~ /in time/;

    note(sprintf '%.1f s: call %d of %d, %s', time - $began, $n, $path->{seen},
         $nomem->name($path)) if time - $began > 2;

    my %told = (failed => $v->{failed}, hurt => scalar @hurt);

    if (@wrong) {
        $told{wrong} = join "\n", 'call ' . "$n of $path->{seen}, "
                       . $nomem->name($path),
                       'wrong: ' . join(', ', @wrong),
                       "hurt: @hurt", $v->{died} // (), @lines;
    }

    return \%told;
}


# Prints a table of what has happened.

sub table {
    my ($self) = @_;

    note(sprintf '%-28s %6s %6s %6s %7s', qw(walk ways failed hurt seconds));

    for my $walk (@{ $self->{walks} }) {
        note(sprintf '%-28s %6d %6d %6d %7.1f', $walk->{name},
                     scalar @{ $walk->{paths} },
                     @$walk{qw(failed hurt time)});
    }
}


# Whether a path ends in a place of this part.

sub is_of {
    my ($path, $part) = @_;

    my $site = SIO::Nomem::sites()->{$path->{calls}[0]};

    return $site && part_of($site) eq $part;
}


sub part_of {
    my ($site) = @_;

    for (my $i = 0; $i < @parts; $i += 2) {
        return $parts[$i]
            if "$site->{place} $site->{function}" =~ $parts[$i + 1];
    }
}


# Each place of this part has failed, but for functions that have a reason.

sub all_have_failed {
    my ($nomem, $part, %except) = @_;

    my $sites = SIO::Nomem::sites();
    my (%failed, %all);

    for my $path ($nomem->paths) {
        my $site = $sites->{$path->{calls}[0]} // next;

        $failed{"$site->{call} in $site->{place}"} = 1 if $path->{failed};
    }

    for my $site (values %$sites) {
        $all{"$site->{call} in $site->{place}"} = $site->{function}
            if part_of($site) eq $part;
    }

    my @left_out = grep { !$failed{$_} && !$except{$all{$_}} } sort keys %all;

    note(sprintf '%d of %d places have failed',
         scalar(grep { $failed{$_} } keys %all), scalar keys %all);
    note("not: $_, $all{$_}: $except{$all{$_}}")
        for grep { !$failed{$_} && $except{$all{$_}} } sort keys %all;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(scalar @left_out, 0, 'no place is left out')
        or diag(map { "$_, $all{$_}\n" } @left_out);
}


package SIO::Walk::Visit;

use SIO::EIO;
use SIO::HTTP;
use SIO::Util qw(scale);
use Time::HiRes qw(time);


sub new {
    my ($class, %option) = @_;

    return bless { sessions => [], hurt => [], wrong => [], %option }, $class;
}


# The next packet of a session like this; what comes before it is passed over.
# Who does not get it has to be told that the session is over.

sub packet {
    my ($self, $eio, $want) = @_;

    my $until = time + 6 * scale();

    while (time < $until) {
        my $packet = $eio->next(0.2);

        if (defined $packet) {
            return $packet if $packet =~ $want;
            die "closed before $want\n" if $packet eq '1';
        }

        die "closed before $want\n" if $eio->{ws} && $eio->{ws}{closed};
        die "no $want\n" if $self->explained;
    }

    push @{ $self->{wrong} }, 'waits in vain';

    die "no $want\n";
}


sub explained {
    my ($self) = @_;

    my $walk = $self->{walk};

    return $walk->{nomem}->failed
           && substr($walk->{nginx}->log, $self->{mark}) =~ $explained;
}


sub session {
    my ($self, %option) = @_;

    my $eio = SIO::EIO->new(timeout => 20, %option);

    push @{ $self->{sessions} }, $eio;

    return $eio;
}


sub polling {
    my ($self, %option) = @_;

    my $eio = $self->session(%option);
    my $response = $eio->get;

    die "handshake: $response->{status}\n" if $response->{status} != 200;

    my ($open, @packets) = $eio->decode($response->{body});

    $eio->opened($open);
    push @{ $eio->{packets} }, @packets;

    return $eio;
}


sub websocket {
    my ($self, %option) = @_;

    my $eio = $self->session(%option);

    $eio->{ws} = $eio->websocket(http => $eio->{http});
    $eio->opened($eio->{ws}->recv // die "no open packet\n");

    return $eio;
}


# A call of the application's that is answered like this; those that fail have
# to say so.

sub call {
    my ($self, $http, $want, $method, $path, $body, @headers) = @_;

    my $response = eval {
        $http->request($method, $path, headers => \@headers,
                       defined $body ? (body => $body) : ());
    };

    my $status = $response ? $response->{status} : 'nothing';

    push @{ $self->{hurt} }, "$method $path: $status"
        if $status !~ /^(?:$want)\z/;
    push @{ $self->{wrong} }, "$path: $@" if !$response && $@ =~ /in time/;

    return $response;
}


# Everybody goes.

sub finish {
    my ($self) = @_;

    for my $eio (@{ $self->{sessions} }) {
        # its own connection may wait for a poll
        my $http = SIO::HTTP->new(port => $self->{walk}{nginx}->port,
                                  timeout => 20);

        eval { $eio->{ws} ? $eio->{ws}->close
                          : $eio->post_raw('1', http => $http) };

        push @{ $self->{wrong} }, 'a poll without an end'
            if $eio->{pending} && !$eio->{pending}->wait(10);
    }
}


1;
