package SIO::Redis;

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use SIO::Proc;
use SIO::Util qw(free_port needed temp_dir wait_until);


sub new {
    my ($class, %option) = @_;

    return bless {
        dir  => temp_dir(),
        port => free_port(),
        args => [],
        %option,
    }, $class;
}


sub start {
    my ($self) = @_;

    my $server = needed('redis-server');

    $self->{process} = SIO::Proc->spawn(
        [ $server, '--port', $self->{port}, '--bind', '127.0.0.1',
          '--unixsocket', $self->socket, '--unixsocketperm', '777',
          '--save', '', '--appendonly', 'no',
          '--dir', $self->{dir}, '--daemonize', 'no',
          '--logfile', "$self->{dir}/log", @{ $self->{args} } ],
        name => 'redis-server',
    );

    wait_until(10, sub { eval { $self->reachable } })
        or croak 'redis-server did not start';

    return $self;
}


sub reachable {
    my ($self) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $self->{port},
                                       Timeout  => 2) // return 0;

    print $socket "PING\r\n";

    return (<$socket> // '') =~ /^(?:\+PONG|-NOAUTH)/;
}


sub stop {
    my ($self, $signal) = @_;

    my $process = delete $self->{process} or return;

    $process->kill($signal // 'KILL');
}


sub signal {
    my ($self, $signal) = @_;

    kill $signal, $self->{process}->pid;
}


sub port {
    return $_[0]{port};
}


sub socket {
    return "$_[0]{dir}/socket";
}


sub url {
    return "redis://127.0.0.1:$_[0]{port}";
}


# What one command is answered with, as text; arrays one line each.

sub command {
    my ($self, @words) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $self->{port},
                                       Timeout  => 5)
        // croak "no redis: $!";

    print $socket '*', scalar(@words), "\r\n",
                  map { '$' . length($_) . "\r\n$_\r\n" } @words;

    return reply($socket);
}


sub reply {
    my ($socket) = @_;

    my $line = <$socket> // croak 'redis closed the connection';
    $line =~ s/\r\n\z//;

    my ($type, $rest) = $line =~ /^(.)(.*)/s;

    return $rest if $type eq '+' || $type eq ':';
    croak "redis: $rest" if $type eq '-';

    if ($type eq '$') {
        return undef if $rest < 0;

        read $socket, my $text, $rest + 2;
        return substr $text, 0, $rest;
    }

    return [ map { reply($socket) } 1 .. $rest ];
}


1;

__END__

=head1 NAME

SIO::Redis - a redis-server of the test's own

=head1 SYNOPSIS

    my $redis = SIO::Redis->new(args => [ '--requirepass', 'x' ])->start;

    print $redis->url;
    $redis->command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    $redis->signal('STOP');
    $redis->stop;

=head1 DESCRIPTION

It listens on a free port of 127.0.0.1 and on C<socket()>, keeps nothing on
disk, and ends with the test.
