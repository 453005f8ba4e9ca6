package SIO::Backend;

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use SIO::Proc;
use SIO::Util qw(root free_port temp_dir wait_until read_file write_file
                 needed);

my $json = JSON::PP->new->utf8->allow_nonref->canonical;


sub new {
    my ($class, %option) = @_;

    my $dir = temp_dir();

    return bless {
        dir     => $dir,
        address => $option{unix} ? "$dir/socket"
                                 : $option{port} // free_port(),
        rules   => [],
        serial  => 0,
        offset  => 0,
        seen    => [],
        %option,
    }, $class;
}


sub start {
    my ($self) = @_;

    my $python = needed('python3');

    $self->{process} = SIO::Proc->spawn(
        [ $python, '-u', root() . '/t/lib/sio_backend.py',
          $self->{address}, $self->{dir} ],
        name => 'backend',
        env  => { PYTHONDONTWRITEBYTECODE => 1,
                  SIO_RECORD              => $self->{record} // 'on' },
    );

    if (($self->{process}->line(10) // '') ne 'ready') {
        croak 'the backend did not start: ', $self->{process}->stderr;
    }

    return $self;
}


sub stop {
    my ($self, $signal) = @_;

    my $process = delete $self->{process} or return;

    $process->kill($signal // 'TERM');
}


sub port {
    return $_[0]{address};
}


# What an upstream's server directive wants.

sub address {
    my ($self) = @_;

    return $self->{address} =~ m{^/} ? "unix:$self->{address}"
                                     : "127.0.0.1:$self->{address}";
}


sub on {
    my ($self, $match, $reply, %option) = @_;

    $reply = { %$reply };
    $reply->{raw} = encode_base64($reply->{raw}, '') if defined $reply->{raw};

    unshift @{ $self->{rules} }, {
        match => $match,
        reply => $reply,
        id    => ++$self->{serial},
        times => $option{times},
    };

    $self->write_rules;
}


sub reset {
    my ($self) = @_;

    $self->{rules} = [];
    $self->write_rules;
    $self->clear;
}


# Forgets the requests so far.

sub clear {
    my ($self) = @_;

    $self->read_log;
    $self->{seen} = [];
}


sub write_rules {
    my ($self) = @_;

    write_file("$self->{dir}/rules.json", $json->encode($self->{rules}));
}


sub read_log {
    my ($self) = @_;

    my $text = read_file("$self->{dir}/requests.jsonl") // '';

    while ((my $end = index $text, "\n", $self->{offset}) >= 0) {
        my $line = $json->decode(
            substr $text, $self->{offset}, $end - $self->{offset});

        $self->{offset} = $end + 1;

        if (exists $line->{done}) {
            my $request = $self->{by_number}{$line->{done}};

            @$request{qw(done status)} = @$line{qw(time status)};
            next;
        }

        $line->{body} = decode_base64($line->{body});
        $line->{json} = eval { $json->decode($line->{body}) };

        # what is not a webhook has no members to match
        $line->{json} = undef if ref $line->{json} ne 'HASH';

        $self->{by_number}{$line->{n}} = $line;
        push @{ $self->{seen} }, $line;
    }
}


sub requests {
    my ($self, %match) = @_;

    $self->read_log;

    return grep { matches($_, \%match) } @{ $self->{seen} };
}


sub matches {
    my ($request, $match) = @_;

    for my $name (keys %$match) {
        my $value = exists $request->{$name} && $name ne 'json'
                    ? $request->{$name} : $request->{json}{$name};

        return 0 if !defined $value || $value ne $match->{$name};
    }

    return 1;
}


sub wait {
    my ($self, $n, $timeout, %match) = @_;

    wait_until($timeout // 5, sub {
        my @found = $self->requests(%match);
        return @found >= $n;
    });

    my @found = $self->requests(%match);

    return wantarray ? @found : @found >= $n;
}


sub wait_done {
    my ($self, $n, $timeout, %match) = @_;

    return wait_until($timeout // 5, sub {
        my @found = grep { defined $_->{done} } $self->requests(%match);
        return @found >= $n;
    });
}


sub max_concurrency {
    my ($self, %match) = @_;

    my @steps;

    for my $request ($self->requests(%match)) {
        push @steps, [ $request->{time}, 1 ];
        push @steps, [ $request->{done}, -1 ] if defined $request->{done};
    }

    my ($now, $max) = (0, 0);

    for my $step (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @steps) {
        $now += $step->[1];
        $max = $now if $now > $max;
    }

    return $max;
}


1;

__END__

=head1 NAME

SIO::Backend - a webhook backend that records and obeys

=head1 SYNOPSIS

    my $backend = SIO::Backend->new->start;      # unix => 1: on a socket
    my $nginx = SIO::Nginx->new(http => <<"EOS", server => ...)->start;
        upstream app { server @{[ $backend->address ]}; keepalive 32; }
    EOS

    $backend->on({ type => 'event', event => 'ask' },
                 { json => { ack => ['%sid%'] }, delay => 0.1 }, times => 2);

    my ($first) = $backend->wait(1, 5, type => 'event');
    is($first->{json}{event}, 'ask');
    is($first->{headers}{'webhook-id'}, $first->{json}{id});

=head1 RULES

C<on($match, $reply, times =E<gt> n)>: the newest rule that fits and is not used
up answers, 204 without a body does when there is none.  A match names members
of the webhook (C<type>, C<event>, C<namespace>, C<sid>, ...), C<path> or
C<method>.  A reply has, all optional,

    status, headers, type     200 if there is a body, else 204
    json, body                a structure or a text
    raw                       octets instead of an HTTP answer, then the end
    delay                     seconds before it
    hang                      never answer
    close                     'reset' instead of an answer, 'eof': after one
                              without a length, 1: after one with it
    chunked                   in very small chunks

In C<json> and C<body> the words C<%sid%>, C<%id%>, C<%ack%>, C<%seq%>,
C<%namespace%>, C<%event%>, C<%user%> become those of the webhook, and the
strings C<"%args%">, C<"%attachments%">, C<"%auth%">, C<"%state%"> its members
as they came: C<< { ack => '%args%' } >> is an echo.

=head1 METHODS

=over

=item new(%options)

C<port>, C<unix>; with C<< record => 'off' >> nothing is remembered of what
came, for runs that are long.

=item start, stop($signal)

On the same port again after a stop; requests and rules stay.

=item requests(%match), wait($n, $timeout, %match), wait_done($n, ...)

In order of arrival: {method, path, query, headers (lower case), body (octets),
json, time, peer, late, and when answered: done, status}.  C<wait> gives those
that are there when there are enough or the time has passed.  What is late was
read when nginx had given it up already, on a machine with too much to do: the
next one may have come before it.  It is done at the moment before its answer,
or when a client that was not answered has left.

=item clear, reset, port, address, max_concurrency(%match)

=back

=cut
