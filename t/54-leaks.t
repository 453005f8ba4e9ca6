#!/usr/bin/perl

# What is still allocated and forgotten when a process ends, after clients of
# every kind, and after allocations that failed; only with sanitizers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Backend;
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Nomem;
use SIO::Proc;
use SIO::Traffic;
use SIO::Util qw(alive asan read_file temp_dir wait_until write_file);
use Test::More;
use Time::HiRes qw(sleep);


plan skip_all => 'only with sanitizers' if !asan();

# Otherwise what the module knows of is lost with it, before it is looked for.
my $dir = temp_dir();

write_file("$dir/keep.c", "int dlclose(void *h) { (void) h; return 0; }\n");

my $built = SIO::Proc->run([ qw(gcc -shared -fPIC -o), "$dir/keep.so",
                             "$dir/keep.c" ]);
is($built->{status}, 0, 'modules stay') or BAIL_OUT($built->{err});

# What the dynamic linker keeps, whose allocations are seen as well by then.
write_file("$dir/not-ours", "leak:nomem_init\nleak:dl_open_worker\n");

my $environment = \&SIO::Nginx::environment;

no warnings 'redefine';

*SIO::Nginx::environment = sub {
    my %env = %{ $environment->(@_) };

    $env{LD_PRELOAD} .= " $dir/keep.so";
    $env{ASAN_OPTIONS} .= ':detect_leaks=1:fast_unwind_on_malloc=0';
    $env{LSAN_OPTIONS} = "suppressions=$dir/not-ours:print_suppressions=0";

    return \%env;
};


my $backend = SIO::Backend->new->start;

$backend->on({ type => 'connect' }, { json => {
    join => ['room'], user => 'u', state => { a => 1 } } });
$backend->on({ type => 'event', event => 'echo' }, { json => {
    ack => '%args%', emit => [ { event => 'x', args => [1], to => 'room' } ],
} });

my $nomem = SIO::Nomem->new;

# One process, since workers that have changed their user cannot be traced.
my $nginx = SIO::Nginx->new(
    workers => 0,
    env     => { $nomem->environment },
    allow   => [ qr/\b(?:malloc|calloc|realloc|posix_memalign)\(/,
                 qr/Sec-WebSocket-Accept could not be computed/ ],
    main    => 'master_process off;',
    backend => $backend,
    http    => 'access_log off;',
    server  => <<'EOF',
        location /socket.io/ {
            socketio;
            socketio_webhook /_hook;
            socketio_ping_interval 1s;
            socketio_allow_eio3 on;
            socketio_send_buffer 64k;
        }

        location /_api/ {
            socketio_api;
            allow 127.0.0.1;
            deny all;
        }
EOF
)->start;

my $http = SIO::HTTP->new(port => $nginx->port, timeout => 20);

ok(wait_until(10, sub { eval { $http->get('/_pid') } }), 'up');

my $traffic = SIO::Traffic->start(
    port      => $nginx->port,
    websocket => 4,
    polling   => 4,
    upgrade   => 2,
    visit     => 1,
    emit      => 1,
    expected  => 8,
);

sleep 3;

is_deeply($traffic->finish->{errors}, [], 'traffic');

# Clients come, call, hear an emit and go while one in a hundred fails.
sub visit {
    my ($transport) = @_;

    return eval {
        my $client = SIO::Client->connect(port => $nginx->port, timeout => 1,
                                          transport => $transport);

        $client->call('echo', 1);
        $client->disconnect;
        1;
    };
}

$nomem->hundredth;

my ($good, $bad, $until) = (0, 0, time + 60);

while (time < $until && $bad < 60) {
    visit(qw(polling websocket upgrade)[($good + $bad) % 3]) ? $good++ : $bad++;
    eval { $http->post('/_api/emit', '{"event":"x","args":["y"]}') };
}

$nomem->off;

cmp_ok($bad, '>=', 10, "$bad visits without memory, beside $good");
ok(wait_until(20, sub { visit('websocket') }), 'and again with it');

# Those who are there at the end: in the middle of a message, of a body, of a
# packet, of an upgrade, waiting for a poll, for a webhook, for attachments.
my @clients = map {
    SIO::Client->connect(port => $nginx->port, timeout => 20, eio => 4,
                         transport => $_)
} ('polling') x 4, ('websocket') x 5;

$backend->on({ type => 'event', event => 'slow' }, { delay => 3 });

my $poll = $clients[0]->eio->get_start;
my $half = $clients[1]->eio->{http}->start(
    'POST', $clients[1]->eio->url('polling'), body => '42["echo"',
    headers => [ 'Content-Length' => 100 ]);

my $probe = $clients[2]->eio->websocket;
$probe->send_text('2probe');

my @ws = map { $_->eio->{ws} } @clients[4 .. 8];

$ws[0]->send_frame(1, '42["echo",', fin => 0);
$ws[1]->send_raw("\x81\xfe\x10");
$ws[2]->send_text('452-["echo",{"_placeholder":true,"num":0},'
                  . '{"_placeholder":true,"num":1}]');
$ws[2]->send_binary('abc');
$ws[3]->send_text('42["slow"]') for 1 .. 3;

is($http->post('/_api/emit', '{"event":"x","args":[1]}')->{status}, 200,
   'an emit');

ok(scalar $backend->wait(1, 20, event => 'slow'), 'a webhook');

my $pid = $nginx->pid;

$nginx->signal('QUIT');
ok(wait_until(20, sub { !alive($pid) }), 'the end');

my $report = join '', map { read_file($_) } glob $nginx->prefix . '/asan/*';

SKIP: {
    skip 'leaks cannot be looked for here', 1
        if $report =~ /LeakSanitizer has encountered a fatal error/;

    is($report, '', 'nothing was lost');
}

unlink glob $nginx->prefix . '/asan/*';

$nginx->stop('QUIT');

done_testing();
