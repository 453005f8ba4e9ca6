package SIO::Nginx;

use strict;
use warnings;

use Carp qw(croak);
use SIO::HTTP;
use SIO::Proc;
use SIO::Util qw(root build_dir asan free_port temp_dir wait_until alive own
                 forget read_file write_file tail program);
use Test::More ();

my $globals = <<'EOF';
%%LOAD%%
daemon %%DAEMON%%;
%%USER%%
worker_processes %%WORKERS%%;
pid %%PREFIX%%/nginx.pid;
error_log %%PREFIX%%/error.log %%LOG_LEVEL%%;
EOF

my $globals_http = <<'EOF';
    access_log %%PREFIX%%/access.log;
    client_body_temp_path %%PREFIX%%/temp/body;
    proxy_temp_path %%PREFIX%%/temp/proxy;
    fastcgi_temp_path %%PREFIX%%/temp/fastcgi;
    uwsgi_temp_path %%PREFIX%%/temp/uwsgi;
    scgi_temp_path %%PREFIX%%/temp/scgi;
    root %%PREFIX%%/html;

    # a connection that was made to reach a worker shall keep to it
    keepalive_requests 1000000;
EOF

my $template = <<'EOF';
%%GLOBALS%%
%%MAIN%%

events {
    %%EVENTS%%
}

http {
%%GLOBALS_HTTP%%
%%HTTP%%

    server {
        listen 127.0.0.1:%%PORT%%%%REUSEPORT%%;

        location = /_pid {
            access_log off;
            return 200 $pid;
        }

%%SERVER%%
    }
}
EOF

my $backend_http = <<'EOF';
    upstream app { server %%BACKEND%%; keepalive 32; }
EOF

my $backend_server = <<'EOF';
        location = /_hook {
            internal;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
EOF


sub new {
    my ($class, %option) = @_;

    my $self = bless {
        module    => 1,
        workers   => 1,
        log_level => 'info',
        events    => 'worker_connections 1024;',
        main      => '',
        http      => '',
        server    => '',
        owner     => $$,
        allow     => [],
        env       => {},
        prefix    => temp_dir(),
    }, $class;

    $self->{ports} = { PORT => delete $option{port} // free_port() };

    mkdir "$self->{prefix}/$_" for qw(temp html asan);

    # Sanitizers write from inside the workers.
    chmod 01777, "$self->{prefix}/asan";

    $self->configure(%option);

    return $self;
}


sub configure {
    my ($self, %option) = @_;

    @$self{keys %option} = values %option;

    my $text = $self->{config} // $template;
    my $backend = $self->{backend};

    my %value = (
        GLOBALS      => $globals,
        GLOBALS_HTTP => $globals_http,
        MAIN         => $self->{main},
        EVENTS       => $self->{events},
        HTTP         => ($backend ? $backend_http : '') . $self->{http},
        SERVER       => ($backend ? $backend_server : '') . $self->{server},
        BACKEND      => $backend && $backend->address,
        LOAD         => $self->{module} && !$ENV{SIO_STATIC}
                        ? 'load_module ' . module_path() . ';' : '',
        DAEMON       => $self->{daemon} ? 'on' : 'off',
        USER         => $self->user,
        WORKERS      => $self->{workers},
        LOG_LEVEL    => $self->{log_level},
        PREFIX       => $self->{prefix},
        ROOT         => root(),

        # so that connections spread over the workers evenly
        REUSEPORT    => $self->{workers} > 1 ? ' reuseport' : '',
    );

    # From the outside inwards: what is put in may have placeholders itself.
    for my $name (qw(GLOBALS MAIN EVENTS GLOBALS_HTTP HTTP SERVER)) {
        $text =~ s/%%$name%%/$value{$name}/g;
    }

    $text =~ s/%%(PORT\w*)%%/$self->port($1)/ge;
    $text =~ s/%%(\w+)%%/$value{$1} \/\/ "%%$1%%"/ge;

    write_file("$self->{prefix}/nginx.conf", $text);
}


sub user {
    my ($self) = @_;

    return "user $self->{user};" if $self->{user};
    return '' if $> != 0;

    # The workers shall have as few rights as they have in production.
    return defined getgrnam 'nogroup' ? 'user nobody nogroup;' : 'user nobody;';
}


sub module_path {
    return $ENV{SIO_MODULE} if $ENV{SIO_MODULE};

    return build_dir() . (asan() ? '/asan' : '')
           . '/ngx_http_socketio_module.so';
}


sub port {
    my ($self, $name) = @_;

    $name //= 'PORT';
    $name = "PORT_$name" if $name !~ /^PORT/;

    return $self->{ports}{$name} //= free_port();
}


sub prefix {
    return $_[0]{prefix};
}


sub pid {
    return $_[0]{pid};
}


sub write {
    my ($self, $name, $content) = @_;

    write_file("$self->{prefix}/$name", $content);

    return "$self->{prefix}/$name";
}


sub command {
    my ($self) = @_;

    # An absolute path: a binary upgrade runs it again.
    my $nginx = program($ENV{SIO_NGINX} // 'nginx')
                // croak('nginx is not installed');

    return [
        $nginx, '-p', "$self->{prefix}/", '-c', "$self->{prefix}/nginx.conf",
        '-e', "$self->{prefix}/error.log",
    ];
}


sub environment {
    my ($self) = @_;

    # what is used before it is set is not zero by luck
    my %env = (MALLOC_PERTURB_ => 165, %{ $self->{env} });

    return \%env if !asan();

    my $log = "log_path=$self->{prefix}/asan/log";

    my @libs = map { `gcc -print-file-name=$_` } qw(libasan.so libubsan.so);
    chomp @libs;

    # What is preloaded stands in front of the sanitizers.
    if ($env{LD_PRELOAD}) {
        unshift @libs, $env{LD_PRELOAD};
        $log .= ':verify_asan_link_order=0';
    }

    return {
        %env,
        LD_PRELOAD    => "@libs",
        ASAN_OPTIONS  => "detect_leaks=0:abort_on_error=1:$log",
        UBSAN_OPTIONS => "print_stacktrace=1:$log",
    };
}


sub check {
    my ($self, %option) = @_;

    if (!ref $self) {
        $self = $self->new(%option);

    } elsif (%option) {
        $self->configure(%option);
    }

    my $result = SIO::Proc->run([ @{ $self->command }, '-t' ],
                                env => $self->environment);

    my $output = $result->{out} . $result->{err};

    return wantarray ? ($result->{status} == 0, $output)
                     : $result->{status} == 0;
}


sub start {
    my ($self) = @_;

    croak 'already running' if $self->{process};

    $self->{log_start} = length $self->log;

    $self->{process} = SIO::Proc->spawn(
        $self->command,
        name   => 'nginx',
        env    => $self->environment,
        stderr => "$self->{prefix}/stderr.log",
    );

    $self->{pid} = $self->{process}->pid;

    # It is ours to stop, with a look at its log.
    forget($self->{process});
    own($self);

    my $up = wait_until(10, sub {
        if (!$self->{process}->running) {
            return -1 if !$self->{daemon} || $self->{process}->wait != 0;

            $self->{pid} = $self->pid_file // return;
        }

        return $self->workers >= $self->{workers};
    });

    if (!$up || $up < 0) {
        my $message = tail(read_file("$self->{prefix}/stderr.log"), 20)
                      . tail($self->log, 20);

        $self->halt('TERM', 5);

        croak "nginx did not start:\n$message";
    }

    return $self;
}


sub pid_file {
    my ($self) = @_;

    my ($pid) = (read_file("$self->{prefix}/nginx.pid") // '') =~ /(\d+)/;

    return $pid;
}


# Children of the master by title; nginx sets the title of a worker when its
# modules are initialised.

sub children {
    my ($self, $title) = @_;

    my @pids;
    my $list = read_file("/proc/$self->{pid}/task/$self->{pid}/children");

    if (defined $list) {
        @pids = split ' ', $list;

    } else {
        for my $stat (glob '/proc/[0-9]*/stat') {
            my ($pid, $parent) =
                (read_file($stat) // '') =~ /^(\d+) .*\) \S (\d+)/s or next;

            push @pids, $pid if $parent == $self->{pid};
        }
    }

    @pids = grep {
        my $line = read_file("/proc/$_/cmdline") // '';
        $line =~ s/[\0 ]+\z//;
        $line =~ $title;
    } @pids;

    return sort { $a <=> $b } @pids;
}


sub workers {
    my ($self) = @_;

    my @pids = $self->children(qr/^nginx: worker process$/);

    return @pids;
}


sub draining {
    my ($self) = @_;

    my @pids = $self->children(qr/^nginx: worker process is shutting down$/);

    return @pids;
}


sub signal {
    my ($self, $signal) = @_;

    return CORE::kill($signal, $self->{pid});
}


sub reload {
    my ($self, %option) = @_;

    my $timeout = delete $option{timeout} // 10;
    my $wait_old = delete $option{wait_old};

    $self->configure(%option) if %option;

    my %old = map { $_ => 1 } $self->workers, $self->draining;

    $self->signal('HUP');

    my $done = wait_until($timeout, sub {
        my @workers = $self->workers;

        return @workers >= $self->{workers} && !grep { $old{$_} } @workers;
    });

    if (!$done) {
        croak "nginx did not reload:\n" . tail($self->log, 20);
    }

    if ($wait_old) {
        wait_until($timeout, sub { !grep { alive($_) } keys %old })
            or croak 'old workers did not exit';
    }

    my @old = sort { $a <=> $b } keys %old;

    return @old;
}


sub upgrade {
    my ($self, %option) = @_;

    my $old = $self->{pid};
    my $timeout = $option{timeout} // 10;

    # nginx ignores the signal in the foreground.
    croak 'made without daemon => 1' if !$self->{daemon};

    $self->signal('USR2');

    my $new = wait_until($timeout, sub {
        my $pid = $self->pid_file // return;

        return $pid != $old ? $pid : undef;

    }) or croak "no new binary:\n" . tail($self->log, 20);

    push @{ $self->{masters} }, $old;
    $self->{pid} = $new;

    wait_until($timeout, sub { $self->workers >= $self->{workers} })
        or croak "the new binary has no workers:\n" . tail($self->log, 20);

    CORE::kill($option{keep_old} ? 'WINCH' : 'QUIT', $old);

    return $new;
}


sub kill_worker {
    my ($self, $signal, $pid, %option) = @_;

    my %before = map { $_ => 1 } $self->workers;

    $pid //= (sort { $a <=> $b } keys %before)[0];

    # The master will report what we do to it.
    $self->allow(qr/worker process $pid exited on signal/);

    CORE::kill($signal, $pid) or croak "kill $pid: $!";

    return $pid if $signal eq 'STOP' || $signal eq 'CONT';

    wait_until(10, sub { !alive($pid) }) or croak "worker $pid is still there";

    if (!$option{no_wait}) {
        wait_until(10, sub { grep { !$before{$_} } $self->workers })
            or croak 'no worker took its place';
    }

    return $pid;
}


# With many workers a kept connection is the only way to say who shall get a
# request.

sub connect_to {
    my ($self, $pid, %option) = @_;

    for (1 .. 500) {
        my $http = SIO::HTTP->new(
            port      => $self->port,
            keepalive => 1,
            %option,
        );

        return $http if $http->get('/_pid')->{body} eq $pid;
    }

    croak "no connection came to worker $pid";
}


sub log {
    my ($self) = @_;

    return read_file("$self->{prefix}/error.log") // '';
}


# A line may be half written.

sub mark {
    my ($self) = @_;

    return 1 + rindex $self->log, "\n";
}


sub wait_log {
    my ($self, $pattern, $timeout, $mark) = @_;

    return wait_until($timeout // 5, sub {
        return substr($self->log, $mark // 0) =~ $pattern;
    });
}


sub access_log {
    my ($self) = @_;

    return read_file("$self->{prefix}/access.log") // '';
}


sub allow {
    my ($self, @patterns) = @_;

    push @{ $self->{allow} }, @patterns;
}


sub stop {
    my ($self, $signal, %option) = @_;

    croak 'not running' if !$self->{process};

    my @problems = $self->halt($signal // 'TERM', $option{timeout} // 5);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::ok(!@problems, $option{name} // 'nginx stopped cleanly')
        or Test::More::diag(join "\n", @problems);

    return !@problems;
}


sub halt {
    my ($self, $signal, $timeout) = @_;

    my @problems;
    my @all = ($self->{pid}, @{ $self->{masters} // [] });
    my @masters = grep { alive($_) } @all;

    for my $master (@masters) {
        local $self->{pid} = $master;
        push @all, $self->children(qr/^nginx: /);
    }

    CORE::kill($signal, @masters) if @masters;

    my $gone = sub {
        $self->{process}->reap;
        return !grep { alive($_) } @all;
    };

    if (!wait_until($timeout, $gone)) {
        my @left = grep { alive($_) } @all;

        push @problems, "still there after $signal: @left";

        CORE::kill('KILL', @left);
        wait_until(5, $gone);
    }

    $self->{process}->wait(1);

    delete @$self{qw(process masters pid)};
    forget($self);

    return @problems, $self->problems;
}


sub problems {
    my ($self) = @_;

    my @problems;

    # what a worker says to its standard error is in the log
    for my $line (split /\n/, substr $self->log, $self->{log_start}) {
        next if $line !~ /\ \[(?:alert|emerg|crit)\]\ |exited\ on\ signal
                          | runtime\ error:\ |AddressSanitizer/x;

        push @problems, $line if !grep { $line =~ $_ } @{ $self->{allow} };
    }

    for my $file (glob "$self->{prefix}/asan/log*") {
        push @problems, "$file:\n" . read_file($file);
        unlink $file;
    }

    my $stderr = read_file("$self->{prefix}/stderr.log") // '';

    push @problems,
         grep { /runtime error|AddressSanitizer/ } split /\n/, $stderr;

    return @problems;
}


sub finish {
    my ($self) = @_;

    return if !$self->{process};

    if (!Test::More->builder->is_passing) {
        Test::More::diag("the end of $self->{prefix}/error.log:\n"
                         . tail($self->log, 30));
    }

    my @problems = $self->halt('TERM', 5);

    die join("\n", 'nginx:', @problems), "\n" if @problems;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($@, $?);

    eval { $self->finish; 1 } or Test::More::fail($@);

    forget($self);
}


1;

__END__

=head1 NAME

SIO::Nginx - an nginx of one's own

=head1 SYNOPSIS

    my $nginx = SIO::Nginx->new(workers => 2, server => <<'EOS')->start;
        location /socket.io/ { socketio; }
    EOS

    my $http = SIO::HTTP->new(port => $nginx->port);
    ...
    $nginx->stop;       # one test: no alerts, no crash, nobody left

=head1 CONFIGURATION

C<new> takes pieces, C<main>, C<events>, C<http> (before the server) and
C<server> (inside of it), or a whole C<config>.  In all of them

    %%PORT%%, %%PORT_name%%   free ports, port() and port('name') in the test
    %%PREFIX%%                the private directory, %%PREFIX%%/html the root
    %%ROOT%%                  the checkout
    %%GLOBALS%%, %%GLOBALS_HTTP%%
                              in a config: the lines it needs in any case

are replaced.  The server that is made from pieces answers C</_pid> with the
pid of the worker, and with C<backend> (a L<SIO::Backend>) it has the location
C</_hook> for webhooks, on kept connections of the upstream C<app>.  Other
options: C<workers> (1), C<log_level> (info), C<module> (1: load ours), C<user>,
C<port>, C<daemon> (0), C<allow> (patterns of log lines which are no failure),
C<env> (more environment variables).

=head1 METHODS

=over

=item start, stop($signal, timeout => 5, name => ...)

C<start> returns when all workers are initialised and dies with the log
otherwise.  C<stop> (TERM unless told otherwise) adds one test result: nothing
at level crit, alert or emerg in the log, no process left, no worker died by a
signal, no report of a sanitizer.  The end of the test, expected or not, stops
what still runs and makes the same checks.

=item check(%options)

Runs C<nginx -t>; in list context whether it was fine and what it said.  Also
as a class method: C<< SIO::Nginx->check(http => ...) >>.

=item reload(%options, wait_old => 1), upgrade(keep_old => 1)

Return when the new workers are up; with options, the configuration changes
first.  C<reload> gives the pids of the old workers, which may still drain;
C<upgrade> replaces the binary (USR2, then QUIT for the old master, or WINCH)
and gives the pid of the new master; only with C<< daemon => 1 >>, since nginx
ignores USR2 in the foreground.

=item workers, draining, pid, signal($name)

=item kill_worker($signal, $pid, no_wait => 1)

Sends any signal, waits until the worker is gone and another has taken its
place.  The line that the master logs about it is allowed.

=item connect_to($pid)

A kept connection (L<SIO::HTTP>) that this worker has accepted.

=item log, mark, wait_log(qr/.../, $timeout, $mark), access_log, allow(qr/.../)

=item prefix, port, port($name), write($name, $content)

=back

Environment: C<SIO_NGINX>, C<SIO_MODULE>, C<SIO_STATIC> (the module is a part of
nginx), C<SIO_BUILD>, C<SIO_ASAN>, C<SIO_KEEP>.

=cut
