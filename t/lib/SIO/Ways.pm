package SIO::Ways;

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use JSON::PP ();
use SIO::Curl;
use SIO::EIO;
use SIO::HTTP;
use SIO::HTTP3;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(needed wait_until);
use Test::More ();

my $json = JSON::PP->new->utf8->canonical;

my $api = <<'EOS';
        location /_api/ {
            socketio_api;
            access_log off;
            allow 127.0.0.1;
            deny all;
        }
EOS

my $secure = <<'EOS';
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl%%HTTP2%% reuseport;
        %%HTTP2_ON%%
        %%HTTP3%%

        ssl_certificate %%PREFIX%%/cert.pem;
        ssl_certificate_key %%PREFIX%%/key.pem;

%%LOCATIONS%%
    }
EOS

# TLS for those who cannot: to nginx it is a client like any other.

my $tunnel = <<'EOS';
    server {
        listen 127.0.0.1:%%PORT_tunnel%%;

        location / {
            proxy_pass https://127.0.0.1:%%PORT_tls%%;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_buffering off;
        }
    }
EOS

my $single = <<'EOS';
%%LOAD%%
daemon off;
master_process off;
pid %%PREFIX%%/nginx.pid;
error_log %%PREFIX%%/error.log %%LOG_LEVEL%%;

events {
    %%EVENTS%%
}

http {
%%GLOBALS_HTTP%%
%%HTTP%%

    server {
        listen 127.0.0.1:%%PORT%%;

        location = /_pid {
            access_log off;
            return 200 $pid;
        }

%%SERVER%%
    }
}
EOS


sub new {
    my ($class, %option) = @_;

    my $locations = $option{locations} // croak 'no locations';

    return bless {
        http    => '',
        workers => 4,
        %option,
        locations => $locations . $api,
    }, $class;
}


# The nginx with several workers.

sub nginx {
    my ($self) = @_;

    return $self->{nginx} //= $self->start_nginx;
}


sub start_nginx {
    my ($self) = @_;

    my $server = $secure;
    my ($old, $new) = http2();

    $server =~ s/%%HTTP2%%/$old/;
    $server =~ s/%%HTTP2_ON%%/$new/;
    $server =~ s/%%HTTP3%%/http3()/e;
    $server =~ s/%%LOCATIONS%%/$self->{locations}/;

    my $nginx = SIO::Nginx->new(
        workers => $self->{workers},
        http    => $self->{http} . $server . ($self->{tunnel} ? $tunnel : ''),
        server  => $self->{locations},
        map { $_ => $self->{$_} } grep { defined $self->{$_} } qw(main events),
    );

    certificate($nginx->prefix);

    return $nginx->start;
}


# How HTTP/2 is switched on: a parameter of "listen", later a directive.

sub http2 {
    my $nginx = needed($ENV{SIO_NGINX} // 'nginx');
    my $said = SIO::Proc->run([ $nginx, '-v' ])->{err};
    my ($minor, $patch) = $said =~ m{nginx/1\.(\d+)\.(\d+)};

    return $minor > 25 || ($minor == 25 && $patch >= 1)
           ? ('', 'http2 on;') : (' http2', '');
}


# On the same port, by UDP, where nginx has it.

sub http3 {
    return SIO::HTTP3->available
           ? 'listen 127.0.0.1:%%PORT_tls%% quic reuseport;' : '';
}


sub certificate {
    my ($prefix) = @_;

    my $result = SIO::Proc->run([
        needed('openssl'), qw(req -x509 -newkey ec
        -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2
        -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1),
        '-keyout', "$prefix/key.pem", '-out', "$prefix/cert.pem",
    ]);

    croak "openssl: $result->{err}" if $result->{status} != 0;
}


# One subtest for each way; the first is what the rest of a test uses anyway.

sub run {
    my ($self, $core) = @_;

    my $plain = $self->way;

    my %ways = (
        'keepalive' => sub {
            return bless { %$plain, keepalive => 1 }, ref $plain;
        },

        'TLS' => sub {
            return bless { %$plain, version => '1.1' }, ref $plain;
        },

        'HTTP/2' => sub {
            return bless { %$plain, version => 2 }, ref $plain;
        },

        'HTTP/3' => sub {
            return bless { %$plain, version => 3 }, ref $plain;
        },

        'one worker' => sub {
            return $self->other(
                workers => 1,
                http    => $self->{http},
                server  => $self->{locations},
            );
        },

        'no master process' => sub {
            return $self->other(
                workers => 0,
                config  => $single,
                http    => $self->{http},
                server  => $self->{locations},
            );
        },
    );

    for my $name ('keepalive', 'TLS', 'HTTP/2',
                  SIO::HTTP3->available ? 'HTTP/3' : (), 'one worker',
                  'no master process')
    {
        Test::More::subtest($name => sub {
            my $way = $ways{$name}->();

            $core->($way);

            $way->{nginx}->stop if $way->{nginx} != $plain->{nginx};
        });
    }
}


sub other {
    my ($self, %option) = @_;

    my $nginx = SIO::Nginx->new(%option)->start;

    # Without workers nobody has waited for anything yet.
    wait_until(10, sub {
        return IO::Socket::INET->new(
            PeerAddr => '127.0.0.1',
            PeerPort => $nginx->port,
        );
    }) or croak 'nothing listens: ' . $nginx->log;

    return SIO::Ways::Way->new($nginx);
}


sub way {
    my ($self) = @_;

    return $self->{way} //= SIO::Ways::Way->new($self->nginx);
}


package SIO::Ways::Way;

use Carp qw(croak);
use SIO::Util qw(wait_until);


sub new {
    my ($class, $nginx) = @_;

    my $self = bless { nginx => $nginx }, $class;

    # One kept connection to every worker, see settle().
    my @workers = $nginx->workers;

    $self->{barriers} = [
        @workers > 1
            ? map { $nginx->connect_to($_, timeout => 20) } @workers
            : SIO::HTTP->new(port => $nginx->port, keepalive => 1,
                             timeout => 20)
    ];

    return $self;
}


sub nginx {
    return $_[0]{nginx};
}


sub port {
    my ($self) = @_;

    return $self->{nginx}->port($self->{version} ? 'tls' : 'PORT');
}


sub scheme {
    my ($self) = @_;

    return $self->{version} ? 'https' : 'http';
}


# What a request is sent with: whoever waits needs one of his own.

sub client {
    my ($self, %option) = @_;

    my %common = (port => $self->port, timeout => 20, %option);

    return SIO::HTTP3->new(%common) if ($self->{version} // 0) == 3;

    return SIO::Curl->new(%common, version => $self->{version})
        if $self->{version};

    return SIO::HTTP->new(%common, keepalive => $self->{keepalive});
}


sub session {
    my ($self, %option) = @_;

    return SIO::EIO->open(
        http    => $self->client,
        port    => $self->{nginx}->port,
        timeout => 20,
        %option,
    );
}


# In a namespace; the Socket.IO id is left in {socket}.

sub joined {
    my ($self, %option) = @_;

    my $eio = $self->session(%option);

    $eio->post('40');

    my $packet = $eio->next // croak 'no answer to CONNECT';

    ($eio->{socket}) = $packet =~ /^40\{"sid":"([^"]+)"\}$/
        or croak "not connected: $packet";

    return $eio;
}


# A GET that waits in its session when this returns.

sub waiting {
    my ($self, $eio) = @_;

    my $pending = $eio->get_start(http => $self->client);

    $pending->sent if $self->{version};
    $self->settle;

    return $pending;
}


# What was sent before is with those whom it concerns.  A request on a kept
# connection is read by its worker after everything that arrived there before
# it, so one round is for the accept, the next one for the request, and then
# a worker may have to hear from another.

sub settle {
    my ($self) = @_;

    for (1 .. 4) {
        for my $http (@{ $self->{barriers} }) {
            my $response = $http->get('/_pid');

            croak 'a worker is gone' if $response->{status} != 200;
        }
    }
}


# How many sockets have it; they do by now.

sub emit {
    my ($self, $to, $event, @args) = @_;

    return $self->api('emit', {
        event => $event,
        args  => \@args,
        defined $to ? (to => $to) : (),
    });
}


sub api {
    my ($self, $call, $data) = @_;

    my $response = SIO::HTTP->new(port => $self->{nginx}->port, timeout => 20)
        ->post("/_api/$call", $json->encode($data));

    croak "$call: $response->{status} $response->{body}"
        if $response->{status} != 200;

    return $response->json->{matched};
}


# Whether the session ends, found out by packets that mean nothing.

sub closes {
    my ($self, $eio, $timeout) = @_;

    return wait_until($timeout // 10, sub {
        my $response = $eio->post_raw('6', http => $self->client);

        return $response->{status} == 400
               && $response->{body} =~ /"code":1,/;
    });
}


sub alive {
    my ($self, $eio) = @_;

    my $response = $eio->post_raw('6', http => $self->client);

    return $response->{status} == 200 && $response->{body} eq 'ok';
}


1;

__END__

=head1 NAME

SIO::Ways - the same locations, reached in every way that clients have

=head1 SYNOPSIS

    my $ways = SIO::Ways->new(locations => <<'EOS');
        location /socket.io/ { socketio; }
    EOS

    my $way = $ways->way;       # four workers, every request on a connection
    my $eio = $way->joined;     # of its own

    my $poll = $way->waiting($eio);
    is($way->emit($eio->{socket}, 'news', 1), 1);
    is($poll->wait->{body}, '42["news",1]');

    $ways->run(sub { my ($way) = @_; ... });
    $ways->nginx->stop;

=head1 METHODS

=over

=item way, run(sub { ... })

C<run> makes a subtest for each of: keepalive, TLS, HTTP/2, HTTP/3 where nginx
has it, one worker, no master process.  There is a C</_api/> in all of them.

=item client(%options), session(%options), joined(%options)

A client like L<SIO::HTTP>, an L<SIO::EIO>, and one that has joined C</>, with
its Socket.IO id in C<{socket}>.

=item waiting($eio), settle

A poll that is known to wait; what was sent has been read, by other workers
too.

=item emit($to, $event, @args), api($call, $data)

How many sockets matched.

=item alive($eio), closes($eio, $timeout)

By sending noops.

=back

=cut
