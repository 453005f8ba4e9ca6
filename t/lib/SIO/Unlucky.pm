package SIO::Unlucky;

# An nginx of two workers that runs out of memory when it shall, with everything
# that clients and the application may ask for, and in each worker a client who
# is not concerned.

use strict;
use warnings;

use SIO::Backend;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Nomem;
use SIO::Walk;
use SIO::Webhooks qw(client_of);

my $http = <<'CONF';
        socketio_zone tiny 512k;
        log_format  socketio  '$socketio_sid $socketio_namespace $socketio_user
                               $socketio_reason $socketio_packets_in
                               $socketio_packets_out $socketio_transport
                               $remote_addr $request';
        access_log  %%PREFIX%%/access.log socketio;
CONF

my $server = <<'CONF';
        location /socket.io/ {
            socketio;
            socketio_namespaces / /other /refused;
            socketio_allow_eio3 on;
            socketio_cookie io;
            socketio_connect_timeout 3s;
            socketio_ping_interval 1s;
            socketio_ping_timeout 4s;
            socketio_cors_allowed_origins http://a.example http://b.example;
            socketio_webhook /_hook/$socketio_type/$socketio_event;
            socketio_webhook_secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;
            socketio_webhook_queue 3;
            socketio_refuse $arg_refused;
            set_real_ip_from 127.0.0.1;
            real_ip_header X-Real-IP;
            set $kept "value";
        }

        # keeps the wish to flush a 101
        location /ssi/ {
            socketio;
            socketio_webhook /_hook/ssi;
            ssi on;
            ssi_types *;
        }

        # those who stay, and are not asked all the time
        location /others/ { socketio; socketio_webhook /_hook/other; }

        location /_hook/ {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Kept "$kept $http_x_other";
            proxy_set_header X-Event "$socketio_event $socketio_user";
            subrequest_output_buffer_size 64k;
        }

        location /_api/ { socketio_api; socketio_api_key key; }
        location /_tiny/ { socketio_api zone=tiny; socketio_api_key key; }
        location /tiny/ { socketio zone=tiny; socketio_max_payload 30k; }

        location /_basic/ {
            socketio_api;
            auth_basic "realm $uri";
            auth_basic_user_file %%PREFIX%%/users;
        }

        location = /status { socketio_status; }
        location = /metrics { socketio_status prometheus; }
CONF


sub new {
    my ($class) = @_;

    my $nomem = SIO::Nomem->new;
    my $backend = SIO::Backend->new->start;

    my $self = bless { nomem => $nomem, backend => $backend, others => [] },
                     $class;

    $self->rules;

    $self->{nginx} = SIO::Nginx->new(
        env     => { $nomem->environment },
        workers => 2,
        allow   => [ qr/\b(?:malloc|posix_memalign)\(/,
                     qr/Sec-WebSocket-Accept could not be computed/ ],
        http    => "upstream app { server @{[ $backend->address ]};"
                   . " keepalive 16; }\n$http",
        server  => $server,
    );

    $self->{nginx}->write('users', "u:{PLAIN}p\n");
    $self->{nginx}->start;

    $self->{workers} = [ $self->{nginx}->workers ];

    $self->{walk} = SIO::Walk->new(
        nomem   => $nomem,
        nginx   => $self->{nginx},
        others  => sub { $self->others(@_) },
        settled => sub { $self->settled },
    );

    return $self;
}


sub rules {
    my ($self) = @_;
    my $on = sub { $self->{backend}->on(@_) };

    $on->({ type => 'connect' }, { json => {
        join  => 'all',
        user  => 'u-%sid%',
        state => { is => 'new' },
        emit  => [ { event => 'welcome', args => [] } ] } });
    $on->({ type => 'connect', namespace => '/refused' },
                 { status => 403, json => { message => 'no',
                                            data => { why => 'not' } } });
    $on->({ type => 'event', event => 'echo' }, { json => {
        ack   => '%args%',
        state => { last => '%args%' },
        emit  => [ { event => 'ask', args => [], ack => 'token' } ] } });
    $on->({ type => 'event', event => 'slow' },
                 { json => { ack => '%args%' }, delay => 0.03 });
    $on->({ type => 'connect', auth => { is => 'large' } }, { json => {
        join => [ map { "\n$_" . 'x' x 20 } 1 .. 100 ],
        emit => [ { event => 'welcome', args => [] } ] } });
    $on->({ type => 'event', event => 'image' }, { json => {
        ack         => '%args%',
        attachments => '%attachments%',
        emit        => [ { event => 'thumb', to => 'all', args => '%args%',
                           attachments => '%attachments%' } ] } });
    $on->({ type => 'event', event => 'reply' }, { json => {
        state => { is => 'changed' },
        user  => 'another',
        leave => [ 'one', 'two' ],
        join  => [ 'one', 'three', "\"\n" . 'r' x 50 ],
        emit  => [
            { event => 'many', args => [1], to => [ 'one', 'three' ],
              except => [ 'nobody', 'somebody' ] },
            { event => 'many', args => ["\n"], broadcast => \1,
              volatile => \1 },
            { event => "na\"me", args => [], namespace => '/other' },
            { event => 'done', args => [] } ] } });
    $on->({ type => 'event', event => 'out' }, { json => {
        disconnect => \1 } });
    $on->({ type => 'event', event => 'still there' }, { json => {
        ack => '%args%' } });
}


sub walk {
    return $_[0]{walk};
}


sub workers {
    return @{ $_[0]{workers} };
}


# A connection that this worker has taken.

sub at {
    my ($self, $worker) = @_;

    return $self->{nginx}->connect_to($self->{workers}[$worker], timeout => 20);
}


sub stop {
    my ($self) = @_;

    delete $self->{others};

    $self->{nginx}->stop;
    $self->{backend}->stop;
}


# Who is not answered comes again; what is wrong about that.

sub others {
    my ($self, $hurt) = @_;

    my $others = $self->{others};
    my @wrong;

    for my $i (0, 1) {
        my $reply = $others->[$i] && $others->[$i]->call('still there', 1);

        if (!$reply) {
            # memory was missing for its own message
            push @$hurt, 'other' if $others->[$i];
            push @wrong, 'another client is not answered'
                if $others->[$i] && !$others->[$i]->eio->{ws}{closed};

            $others->[$i] = client_of($self->{nginx}, $self->{workers}[$i],
                                      path => '/others/', timeout => 20);
        }

        $others->[$i]{queue} = [];
    }

    return @wrong;
}


# Only the others are there, and nothing is under way; disconnects that are sent
# again are waited for, too.

sub settled {
    my ($self) = @_;

    my $http = $self->{asker} //= SIO::HTTP->new(
        port => $self->{nginx}->port, timeout => 20, keepalive => 1);

    my $status = eval { $http->get('/status')->json } // return 0;

    return !(grep { $_ } values %{ $status->{webhooks}{pending} })
           && $status->{connections}{open}{websocket} == 2
           && $status->{connections}{open}{polling} == 0
           && $status->{memory}{used}{journal} == 2 * 512
           && $status->{memory}{used}{directory} == 0;
}


1;
