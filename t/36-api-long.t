#!/usr/bin/perl

# Lists of the API as long as a body can be: what is named again and again, or
# is not there, costs as if it stood there once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::EIO;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Procfs qw(cpu);
use SIO::Util qw(scale);
use Test::More;


my $nginx = SIO::Nginx->new(
    http   => 'client_body_buffer_size 4m; client_max_body_size 4m;',
    server => <<'EOS')->start;
        location /socket.io/ {
            socketio;
            socketio_ping_interval 300s;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
EOS

my ($worker) = $nginx->workers;
my $http = SIO::HTTP->new(port => $nginx->port, timeout => 60 * scale());
my $sockets = 1000;

for (1 .. $sockets) {
    SIO::EIO->open(port => $nginx->port, http => $http)->post('40');
}


sub call {
    my ($call, $body, $matched, $name) = @_;

    my $before = cpu($worker);
    my $r = $http->post("/_api/$call", $body);
    my $used = cpu($worker) - $before;

    is($r->{body}, qq({"matched":$matched}), $name);
    cmp_ok($used, '<', 0.5 * scale(), 'at once');
}


# How many are in a room, and in how many rooms they are.

sub rooms {
    my ($r) = $http->get('/_api/rooms?limit=1000')->json->{rooms};

    return join ' ', map { "$_->{name}:$_->{sockets}" } @$r;
}


my $again = join ',', ('"again"') x 130_000;
my $other = join ',', map { qq("$_") } 100_000 .. 199_999;

call('join', '{"in":[],"rooms":["all"]}', $sockets, 'a room');
call('emit', qq({"event":"e","to":["all",$again]}), $sockets, 'an emit to it');
call('join', qq({"in":["all"],"rooms":["first",$again,"last"]}), $sockets,
     'a room joined again and again');
is(rooms(), "again:$sockets all:$sockets first:$sockets last:$sockets",
   'is one');
call('emit', qq({"event":"e","to":[$again]}), $sockets, 'emits to it');
call('emit', qq({"event":"e","to":["all"],"except":[$again]}), 0,
     'emits to others');
call('join', qq({"in":[$again],"rooms":["more"]}), $sockets,
     'what its members join');
call('leave', qq({"in":[],"rooms":["first",$other,"last"]}), $sockets,
     'rooms that nobody is in');
call('leave', qq({"in":["all"],"rooms":["all",$again]}), $sockets,
     'a room left again and again');
is(rooms(), "more:$sockets", 'is left');
call('disconnect', qq({"in":["more",$other]}), $sockets, 'who was in it');

$nginx->stop;

done_testing();
