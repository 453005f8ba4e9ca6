#!/usr/bin/perl

# One allocation fails, each in its turn, while the configuration is read, and
# while a worker begins.  "nginx -t" says so or is fine; a reload that fails
# leaves the old workers and their clients alone, and the next one is fine.  A
# worker that begins with less lets clients come again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Nomem;
use SIO::Proc;
use SIO::Util qw(scale wait_until);
use SIO::Walk;
use SIO::Webhooks qw(client_of);
use Test::More;

my $nomem = SIO::Nomem->new;
my $backend = SIO::Backend->new->start;

$backend->on({ type => 'event' }, { json => { ack => '%args%' } });

my $nginx = SIO::Nginx->new(
    env     => { $nomem->environment },
    allow   => [ qr/\b(?:malloc|posix_memalign)\(/,
                 qr/\(12: Cannot allocate memory\)/,
                 qr/does not work in this process/,
                 qr/Sec-WebSocket-Accept could not be computed/,
                 qr/exited with fatal code 2/ ],
    http    => "upstream app { server @{[ $backend->address ]}; }"
               . <<'CONF',
        socketio_zone chat 8m;
        socketio_webhook_pass_header Cookie X-Tenant;
        log_format socketio '$socketio_sid $socketio_reason';
CONF
    server  => <<'CONF',
        location /socket.io/ {
            socketio zone=chat;
            socketio_namespaces / /other ~^/[a-z]+$;
            socketio_webhook /_hook/$socketio_type;
            socketio_webhook_secret file=secrets
                                    whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;
            socketio_webhook_events connect disconnect;
            socketio_cookie io;
            socketio_cors_allowed_origins https://a.example
                                          https://b.example;
            socketio_trusted_proxies 10.0.0.0/8 127.0.0.1;
            socketio_refuse $arg_refused;
            set $kept "value";
        }

        location /others/ {
            socketio zone=chat;
            socketio_webhook /_hook;
            set $kept "value";
        }

        location ~ ^/regex/(.*) { socketio zone=chat; }

        location /_hook {
            internal;
            proxy_pass http://app;
            proxy_set_header X-Kept $kept;
        }

        location /_api/ {
            socketio_api zone=chat;
            socketio_api_key key file=keys;
        }

        location = /status { socketio_status zone=chat; }
CONF
);

$nginx->write('secrets', "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n");
$nginx->write('keys', "another\n");


# What is only read, and connects to nothing.

my $queues = <<'CONF';
    socketio_message_queue redis://a%40b:p%20w@localhost/1 zone=chat;
    socketio_message_queue unix:///run/redis.sock zone=chat format=node;
    socketio_message_queue rediss://localhost?ssl_cert_reqs=none zone=chat
                           channel=another;
CONF


# Whether "nginx -t" is fine, and what it says.

sub check {
    my $result = SIO::Proc->run([ @{ $nginx->command }, '-t' ],
                                env => $nginx->environment);

    return ($result->{status}, $result->{out} . $result->{err});
}

sub unlucky {
    my ($path) = @_;

    $nomem->path($path, 1);

    my ($status, $said) = check();
    my $failed = $nomem->failed;

    $nomem->record;

    return if $status == 0;
    return if $status == 1 && $failed && $said =~ /\[emerg\]/;

    return $nomem->name($path) . ": status $status\n$said";
}

subtest 'nginx -t' => sub {
    my $http = $nginx->{http};

    $nginx->configure(http => $http . $queues);
    $nomem->record;

    my ($status, $said) = check();

    is($status, 0, 'is fine') or diag($said);

    my @paths = grep { $_->{seen} } $nomem->paths;
    my @wrong = map { unlucky($_) } @paths;

    is(scalar @wrong, 0, @paths . ' allocations: fine, or an error')
        or diag(join "\n\n", splice @wrong, 0, 5);

    $nginx->configure(http => $http);
};


# Each time with another worker, which makes what it makes once.

my ($http, $server) = @$nginx{qw(http server)};
my ($other, $zone) = (undef, 0);

sub still_there {
    my $reply = $other->call('still there', 1) // return 0;

    return $reply->[0] == 1;
}

sub begin {
    my $mark = $nginx->mark;
    my $master = $nginx->pid;

    # with a zone that is new
    my $new = $zone + 1;

    $nginx->configure(
        http   => $http . "socketio_zone new-$new 512k;",
        server => $server . "location /new/ { socketio zone=new-$new;"
                          . ' socketio_max_payload 20k; }'
                          . "location = /zone { return 200 $new; }");
    $nginx->signal('HUP');

    # or the master says that the configuration stays as it is
    wait_until(10 * scale(), sub {
        my $r = eval { SIO::HTTP->new(port => $nginx->port)->get('/zone') };

        $zone = $new if $r && $r->{body} eq $new;

        return $zone == $new
               || substr($nginx->log, $mark) =~ /\[emerg\] $master#.* failed/;
    }) or die "no worker in time\n";
}


# The old one may still take a connection.

sub connection {
    for (1 .. 200) {
        my $http = SIO::HTTP->new(port => $nginx->port, timeout => 20,
                                  keepalive => 1);
        my $r = eval { $http->get('/zone') };

        return $http if $r && $r->{body} eq $zone;
    }

    die "no connection\n";
}


# The first client of a worker, who sees whether it is answered.

sub visit {
    begin();

    my ($http, @https) = map { connection() } 0 .. 4;
    my @sessions = map { SIO::EIO->open(http => shift @https, timeout => 3) }
                   1, 2;

    for my $eio (@sessions) {
        $eio->post('40');
        ($eio->next(3) // '') =~ /^40\{/ or die "not connected\n";
    }

    my $r = $http->post('/_api/emit', '{"event":"n"}',
                        Authorization => 'Bearer key');

    die "emit: $r->{status}\n" if $r->{status} != 200;

    for my $eio (@sessions) {
        ($eio->next(3) // '') =~ /^42\["n"\]/ or die "no event\n";
        $eio->upgrade(http => shift @https);
        $eio->{ws}->close;
    }

    return 1;
}

sub unlucky_visit {
    my ($path) = @_;

    my $mark = $nginx->mark;
    my ($fine, $died, $failed);

    # the reload before may have been slow
    for (1 .. 3) {
        $nomem->path($path, 1);

        $fine = eval { visit() };
        $died = $@;
        $failed = $nomem->failed;

        $nomem->record;
        last if $failed || !$fine;
    }

    my @wrong;

    push @wrong, "without a cause: $died" if !$fine && !$failed;
    push @wrong, 'the other client is not answered' if !still_there();
    push @wrong, "afterwards: $@" if !$fine && !eval { visit() };

    return if !@wrong;
    return join "\n", $nomem->name($path), @wrong,
                grep { /\[(?:warn|error|crit|alert|emerg)\]/ }
                     split /\n/, substr $nginx->log, $mark;
}

subtest 'a worker that begins' => sub {
    $nginx->start;
    $other = client_of($nginx, $nginx->workers, path => '/others/',
                       timeout => 20);

    $nomem->record;
    ok(eval { visit() }, 'is there for clients') or diag($@);

    my @paths = grep { $_->{seen} && !$_->{failed}
                       && SIO::Walk::is_of($_, 'conf') } $nomem->paths;
    my @wrong = map { unlucky_visit($_) } @paths;

    is(scalar @wrong, 0, @paths . ' allocations: the next one is')
        or diag(join "\n\n", splice @wrong, 0, 10);
    ok(still_there(), 'the first worker is there for its own');

    $nginx->stop;
};

# What a worker that was killed has left is told by the next one.

sub killed {
    my ($path) = @_;

    my ($worker) = $nginx->workers;
    my $client = client_of($nginx, $worker, path => '/others/', timeout => 20);

    $nomem->path($path, 1) if $path;
    $nginx->kill_worker('KILL', $worker);

    my $told = $backend->wait(1, 20, type => 'disconnect',
                              sid => $client->sid);

    return $told if !$path;

    my $failed = $nomem->failed;

    $nomem->record;

    return $told && $failed;
}

subtest 'a worker that is killed' => sub {
    $backend->on({ type => 'connect' }, { json => {
        user => 'u', state => { is => 'kept' } } });

    $nginx->start;
    $nomem->record;

    is(killed(), 1, 'what it leaves is told');

    my $sites = SIO::Nomem::sites();
    my @paths = grep {
        my $site = $sites->{$_->{calls}[0]};

        $_->{seen} && $site && $site->{function} =~ /_journal_copy\z/;
    } $nomem->paths;

    is(killed($_), 1, $nomem->name($_)) for @paths;

    $nginx->stop;
};


SIO::Walk::all_have_failed($nomem, 'conf',
    ngx_sio_mem_verify => 'after a binary upgrade only');

$backend->stop;

done_testing();
