#!/usr/bin/perl

# A request that nginx sends elsewhere, to an error_page or a post_action, or is
# about to close, is ours no more: neither what its client sends late, nor what
# another worker says late, may come back to us.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use SIO::HTTP;
use SIO::Nginx;
use Test::More;

my $slow = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1',
    Listen    => 5,
    Timeout   => 10,
) or die "listen: $!";

my $nginx = SIO::Nginx->new(workers => 2, server => <<"EOS")->start;
        location /socket.io/ {
            socketio;
        }

        location /elsewhere/ {
            socketio;
            error_page 400 = \@elsewhere;
        }

        location /counted/ {
            socketio;
            post_action \@elsewhere;
        }

        location \@elsewhere {
            proxy_pass http://127.0.0.1:@{[ $slow->sockport ]};
            proxy_ignore_client_abort on;
        }
EOS

my @workers = $nginx->workers;
my ($here, $there) = map { $nginx->connect_to($_) } @workers;


# A connection of the first worker, as plain as possible.

sub connection {
    for (1 .. 500) {
        my $c = SIO::HTTP::Connection->open({
            host    => '127.0.0.1',
            port    => $nginx->port,
            timeout => 20,
        });

        $c->{method} = 'GET';
        $c->write("GET /_pid HTTP/1.1\r\nHost: a\r\n\r\n");

        return $c if $c->wait->{body} == $workers[0];
    }

    die 'no connection came to the first worker';
}


# What was sent to a worker before has been read, and what it led to is done.

sub passed {
    for my $http (@_) {
        $http->get('/_pid') for 1 .. 3;
    }
}


sub sid {
    my ($http, $path) = @_;

    return $http->get("$path?EIO=4&transport=polling")->{body}
           =~ /"sid":"([^"]+)"/ ? $1 : die 'no session';
}


# A body of which the session is told that it has begun, and cannot end.

sub begin {
    my ($c, $path, $sid) = @_;

    $c->{method} = 'POST';
    $c->write("POST $path?EIO=4&transport=polling&sid=$sid HTTP/1.1\r\n"
              . "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n40x\r\n");

    passed($here);
}


subtest 'what a client sends behind a malformed body' => sub {
    my $c = connection();

    begin($c, '/elsewhere/', sid($here, '/elsewhere/'));
    $c->write("zz\r\n");

    my $proxied = $slow->accept or die "accept: $!";

    $c->write("zz\r\n");
    passed($here);

    is("@{[ $nginx->workers ]}", "@workers", 'the worker lives');

    $proxied->blocking(1);
    sysread $proxied, my $request, 65536;
    print $proxied "HTTP/1.0 200 OK\r\n\r\nelsewhere";
    close $proxied;

    my $r = $c->wait;

    is($r->{status}, 200, 'answered by the error_page');
    is($r->{body}, 'elsewhere', 'in its words');
};


subtest 'a client that leaves its poll to a post_action' => sub {
    my $c = connection();
    my $sid = sid($here, '/socket.io/');

    $c->write("GET /counted/?EIO=4&transport=polling&sid=$sid HTTP/1.1\r\n"
              . "Host: a\r\n\r\n");
    passed($here);
    $c->close;

    my $proxied = $slow->accept or die "accept: $!";
    my $session = "/socket.io/?EIO=4&transport=polling&sid=$sid";

    is($here->post($session, '40')->{status}, 400,
       'the session has ended with it');

    $proxied->blocking(1);
    sysread $proxied, my $request, 65536;
    print $proxied "HTTP/1.0 200 OK\r\n\r\n";
    close $proxied;

    passed($here);

    is("@{[ $nginx->workers ]}", "@workers", 'the worker lives');
};


subtest 'an answer to a request that is being closed' => sub {
    my $c = connection();
    my $sid = sid($there, '/socket.io/');

    $there->post("/socket.io/?EIO=4&transport=polling&sid=$sid", '1');

    kill 'STOP', $workers[1];

    begin($c, '/socket.io/', $sid);
    $c->write("zz\r\n");
    passed($here);

    kill 'CONT', $workers[1];
    passed($there, $here);

    is($c->wait->{status}, 400, 'has been answered');
};


$nginx->stop;

done_testing;
