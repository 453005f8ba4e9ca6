package SIO::API;

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP ();
use Scalar::Util qw(refaddr);
use SIO::Client;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $http = <<'EOF';
    socketio_zone small 1m;
EOF

my $server = <<'EOF';
        client_max_body_size 16m;

        location /small-socket.io/ {
            socketio zone=small;
            socketio_max_payload 10k;
            socketio_send_buffer 64m;
            socketio_ping_interval 5m;
        }

        location /_api/  { socketio_api; allow 127.0.0.1; deny all; }
        location /small/ { socketio_api zone=small; allow all; }
EOF


# What the test's own locations are called from.

sub nginx {
    my ($class, %option) = @_;

    return SIO::Nginx->new(
        workers => 4,
        %option,
        http    => $http . ($option{http} // ''),
        server  => $server . $option{server},
    );
}


sub new {
    my ($class, %option) = @_;

    my $self = bless {
        path  => '/_api/',
        eio   => {},            # of the sessions that are opened
        home  => {},            # client => pid of the worker that has it
        marks => 0,
        %option,
    }, $class;

    $self->{http} //= SIO::HTTP->new(port => $self->{nginx}->port);

    return $self;
}


# The zone whose log is full soon.

sub small {
    my ($class, %option) = @_;

    return $class->new(path => '/small/',
                       eio => { path => '/small-socket.io/' }, %option);
}


# A call and its answer, decoded, or "status code" of what is no 200.

sub call {
    my ($self, $call, $body, %option) = @_;

    my $r = ($option{http} // $self->{http})->request('POST',
        $self->path($call),
        headers => $option{headers} // [],
        body    => body($body),
        timeout => $option{timeout},
    );

    return answer($r);
}


# The same, not waited for.

sub start {
    my ($self, $call, $body, %option) = @_;

    return ($option{http} // $self->{http})->start('POST', $self->path($call),
                                                   body => body($body));
}


sub get {
    my ($self, $call, %option) = @_;

    my $r = ($option{http} // $self->{http})->request('GET',
        $self->path($call), timeout => $option{timeout});

    return answer($r);
}


sub path {
    my ($self, $call) = @_;

    return $call =~ m{^/} ? $call : "$self->{path}$call";
}


sub body {
    my ($body) = @_;

    return ref $body ? $json->encode($body) : $body;
}


sub answer {
    my ($r) = @_;

    return $r->json if $r->{status} == 200;

    return $r->{status} == 204 && $r->{body} eq ''
           ? 204 : "$r->{status} " . error_code($r);
}


sub error_code {
    my ($r) = @_;

    my $body = eval { $r->json } // {};

    return ref $body eq 'HASH' && $body->{error}{code} // '(no code)';
}


sub matched {
    my ($self, $call, $body, %option) = @_;

    my $answer = $self->call($call, $body, %option);

    return ref $answer ? $answer->{matched} : $answer;
}


# A client whose session is in the worker that we choose; polls may come to
# any.

sub client {
    my ($self, $pid, $transport, $nsp, %option) = @_;

    my $nginx = $self->{nginx};
    my $at = $nginx->connect_to($pid);
    my %eio = (%{ $self->{eio} }, %option);
    my $eio;

    if ($transport eq 'polling') {
        $eio = SIO::EIO->open(http => $at, %eio);
        $eio->{http} = SIO::HTTP->new(port => $nginx->port);

    } else {
        $eio = SIO::EIO->new(port => $nginx->port, %eio);
        $eio->{ws} = $eio->websocket(http => $at);
        $eio->opened($eio->{ws}->recv);
    }

    my $c = SIO::Client->new(session => $eio, timeout => $eio{timeout});

    $c->{nsp} = $nsp // '/';
    $c->join($c->{nsp});

    $self->{home}{refaddr $c} = $pid;

    return $c;
}


sub home {
    my ($self, $c) = @_;

    return $self->{home}{refaddr $c};
}


# Those of the clients whose session is in that worker.

sub at {
    my ($self, $pid, @clients) = @_;

    return grep { $self->home($_) == $pid } @clients;
}


sub sids {
    my ($self, @clients) = @_;

    return [ map { $_->sid($_->{nsp}) } @clients ];
}


# What clients have got until now: the log has one order, so everything that
# was emitted before the mark has arrived when the mark has.

sub received {
    my ($self, @clients) = @_;

    my $mark = 'mark ' . ++$self->{marks};
    my %nsp = map { $_->{nsp} => 1 } @clients;

    $self->call('emit', { event => $mark, namespace => $_ }) for keys %nsp;

    return map { events($_, $mark) } @clients;
}


sub events {
    my ($c, $mark) = @_;

    my @events;

    while (my $packet = $c->packet) {
        my $event = $packet->{data};

        return \@events if $event->[0] eq $mark;

        # marks for others in the same namespace
        push @events, $event if $event->[0] !~ /^mark \d+$/;
    }

    return [ @events, 'the mark did not come' ];
}


# A WebSocket's handshake for a session that polls, at another worker, sent and
# not waited for; the session will move there.

sub move {
    my ($self, $c, $at) = @_;

    my $pending = $at->start('GET', $c->eio->url('websocket'), headers => [
        'Upgrade'               => 'websocket',
        'Connection'            => 'Upgrade',
        'Sec-WebSocket-Version' => 13,
        'Sec-WebSocket-Key'     => 'AAAAAAAAAAAAAAAAAAAAAA==',
    ]);

    # the connection belongs to the WebSocket now
    delete $at->{connection};

    return $pending;
}


1;

__END__

=head1 NAME

SIO::API - the HTTP API, and clients in workers of one's choice

=head1 SYNOPSIS

    my $nginx = SIO::API->nginx(server => <<'EOS')->start;
        location /socket.io/ { socketio; }
    EOS

    my $api = SIO::API->new(nginx => $nginx);       # locations /_api/, /_pid

    is_deeply($api->call('emit', { event => 'a' }), { matched => 3 });
    is($api->call('emit', '{'), '400 bad_request');
    is($api->matched('join', { in => [], rooms => 'a' }), 3);
    is_deeply($api->get('rooms'), { ... });

    my $c = $api->client($pid, 'polling', '/chat');
    is_deeply([ $api->received($c) ], [ [ [ 'a', 1 ] ] ]);

=head1 METHODS

=over

=item nginx(%options)

An nginx (L<SIO::Nginx>) with four workers, the API, and a second zone that is
small, with locations of its own.

=item new(nginx => $nginx, path => '/_api/', http => $http, eio => {...})

C<eio> has options for the sessions of C<client>.

=item small(nginx => $nginx)

The same for the small zone and its clients.

=item call($call, $body, http => ..., timeout => ...), get($call), start(...)

The body is JSON already or becomes it.  An answer other than 200 is a string,
its status and the code of the error.  C<start> gives what C<< SIO::HTTP->start
>> does.

=item matched($call, $body)

=item client($pid, $transport, $nsp), home($client), at($pid, @clients),
sids(@clients)

=item received(@clients)

A list of events for each of them, all that was emitted before.

=item move($client, $http)

Sends a WebSocket's handshake to another worker, which asks for the session;
gives the pending request.

=back

=cut
