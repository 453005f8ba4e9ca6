#!/usr/bin/perl

# Filters of nginx in the location of clients: what they do to answers is the
# administrator's wish, but all three ways to connect have to go on working.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Uncompress::Gunzip qw(gunzip);
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use Test::More;

my %filters = (
    none     => '',
    sub      => 'sub_filter_types *; sub_filter other another;',
    ssi      => 'ssi on; ssi_types *;',
    charset  => 'charset utf-8; charset_types *;',
    addition => 'addition_types *; add_after_body /_after;',
    buffers  => 'output_buffers 1 512; postpone_output 65536;',
    rate     => 'limit_rate 100000; expires 1h; chunked_transfer_encoding off;',
    gzip     => 'gzip on; gzip_types *; gzip_min_length 0;',
);

my $locations = join '', map { <<"EOS" } sort keys %filters;
        location /$_/ {
            socketio;
            $filters{$_}
        }

EOS

my $nginx = SIO::Nginx->new(server => <<"EOS")->start;
$locations
        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /_after { return 200 ""; }
EOS

my $long = 'x' x 2000;
my $http = SIO::HTTP->new(port => $nginx->port, keepalive => 1);


for my $name (sort keys %filters) {
    subtest $name => sub {
        for my $transport ('polling', 'websocket', 'upgrade') {
            my $client = eval {
                SIO::Client->connect(
                    port      => $nginx->port,
                    path      => "/$name/",
                    timeout   => 10,
                    transport => $transport eq 'websocket' ? 'websocket'
                                                           : 'polling',
                );
            };

            ok($client, "$transport: connects") or diag($@), next;

            $client->eio->upgrade if $transport eq 'upgrade';

            my $r = $http->post('/_api/emit',
                                qq({"event":"news","args":["$long"]}));
            my $news = $client->event('news', 10);

            is($r->{body}, '{"matched":1}', "$transport: is told something");
            ok($news && $news->[1] eq $long, "$transport: hears it");

            $client->disconnect;
        }
    };
}


subtest 'gzip, for who takes it' => sub {
    my $r = $http->get('/gzip/?EIO=4&transport=polling',
                       'Accept-Encoding' => 'gzip');
    my $body = $r->{body};

    is($r->{headers}{'content-encoding'}, 'gzip', 'is compressed');
    ok(gunzip(\$body => \my $text), 'rightly');
    like($text, qr/^0\{"sid":"/, 'an open packet');
};


$nginx->stop;

done_testing;
