#!/usr/bin/perl

# examples/run and the chat, as somebody finds them who tries the module.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Client;
use SIO::HTTP;
use SIO::Proc;
use SIO::Util qw(root build_dir asan alive free_port read_file wait_until);
use Test::More;

plan skip_all => 'the example builds without sanitizers' if asan();

my $root = root();
my $port = free_port();


sub run_chat {
    my $run = SIO::Proc->spawn(["$root/examples/run"],
                               env => { PORT => $port });

    ok($run->expect(qr{The chat is at +http://localhost:$port/}, 300),
       'starts and says where') or BAIL_OUT($run->stderr);

    my $children = read_file("/proc/@{[ $run->pid ]}/task/"
                             . "@{[ $run->pid ]}/children");

    my %commands = map {
        $_ => join ' ', split /\0/, read_file("/proc/$_/cmdline") // ''
    } split ' ', $children;

    # not what the script itself runs at the moment
    delete @commands{grep { $commands{$_} !~ /nginx|gunicorn/ }
                     keys %commands};

    return $run, %commands;
}


my ($run, %children) = run_chat();
my $http = SIO::HTTP->new(port => $port);


subtest 'the page' => sub {
    my $r = $http->get('/');

    is($r->{status}, 200, 'is there');
    like($r->{headers}{'content-type'}, qr{^text/html}, 'as HTML');

    for my $file ($r->{body} =~ /(?:src|href)="([^":]+)"/g) {
        is($http->get("/$file")->{status}, 200, "$file is there");
    }

    for my $path (qw(/app.py /nginx.conf /secret /_socketio /socketio)) {
        is($http->get($path)->{status}, 404, "$path is not");
    }

    my $client = read_file(build_dir() . '/node/node_modules/socket.io-client'
                           . '/dist/socket.io.min.js');

    SKIP: {
        skip 'the official client is not installed', 1 if !defined $client;

        ok($http->get('/socket.io.min.js')->{body} eq $client,
           'the client library is the official one');
    }
};


subtest 'a conversation' => sub {
    my $nameless = SIO::Client->new(port => $port);

    is_deeply($nameless->join('/', { name => ' ' })->{data},
              { message => 'Please tell us your name' }, 'who are you?');

    my $ann = SIO::Client->connect(port => $port, auth => { name => 'Ann' });
    my $bob = SIO::Client->connect(port => $port, transport => 'polling',
                                   auth => { name => ' Bob  B ' });

    is_deeply($ann->event('joined'), [ 'joined', $bob->sid, 'Bob B' ],
              'Ann sees Bob');

    $ann->emit('here', $bob->sid);
    is_deeply($bob->event('here'), [ 'here', $ann->sid, 'Ann', '#lobby' ],
              'Bob sees Ann');

    $ann->emit('message', ' hello ');
    my $expected = [ 'message', $ann->sid, 'Ann', 'hello' ];

    is_deeply($_->event('message'), $expected, 'both hear it') for $ann, $bob;

    is_deeply($bob->call('move', 'garden'), [undef], 'Bob goes');
    is_deeply($ann->event('left'), [ 'left', $bob->sid ], 'Ann sees that');

    $ann->emit('message', 'alone');
    is($ann->event('message')->[3], 'alone', 'Ann hears herself');

    $bob->emit('message', 'flowers');
    is($bob->event('message')->[3], 'flowers', 'Bob only himself');

    $ann->call('move', 'garden');
    is_deeply($bob->event('joined'), [ 'joined', $ann->sid, 'Ann' ],
              'Ann comes after him');

    # volatile: one who polls may miss it
    $bob->emit('typing');
    is_deeply($ann->event('typing'), [ 'typing', $bob->sid ], 'Bob writes');

    my $sid = $ann->sid;
    $ann->disconnect;
    is_deeply($bob->event('left'), [ 'left', $sid ], 'Ann is gone');

    my $r = $http->post('/_api/emit', '{"event":"message",'
                        . '"args":["","Shell","Hi"],"to":"#garden"}');

    is_deeply($r->json, { matched => 1 }, 'somebody calls from a shell');
    is_deeply($bob->event('message'), [ 'message', '', 'Shell', 'Hi' ],
              'and is heard');
};


subtest 'the application asks who is calling' => sub {
    my $r = SIO::Proc->run([ 'python3', '-B', '-c', <<'EOF' ],
import base64, hmac, os, sys, time
sys.path.insert(0, "")
os.environ["SOCKETIO_WEBHOOK_SECRET"] = "whsec_" + "QUFB" * 6
import app

def post(stamp, key):
    body = b'{"type":"event","sid":"s","event":"none","args":[]}'
    mac = hmac.digest(key, b"msg_1.%d." % stamp + body, "sha256")
    return app.app.test_client().post("/socketio", data=body, headers={
        "content-type": "application/json", "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": "v1,AAAA v1," + base64.b64encode(mac).decode(),
    }).status_code

now = int(time.time())
print(post(now, b"AAA" * 6), post(now, b"BBB" * 6), post(now - 400, b"AAA" * 6),
      app.app.test_client().post("/socketio", json={}).status_code)
EOF
        cwd => "$root/examples/chat");

    is($r->{out}, "200 401 401 401\n", 'and believes a fresh signature only')
        or diag($r->{err});
};


subtest 'a port that is taken' => sub {
    my $r = SIO::Proc->run(["$root/examples/run"], timeout => 60,
                           env => { PORT => $port });

    is($r->{status}, 1, 'is an error');
    like($r->{err}, qr/port $port is taken/, 'with a message');
};


sub cleaned_up {
    my (%children) = @_;

    ok(wait_until(5, sub { !grep { alive($_) } keys %children }),
       'nobody is left');

    my ($prefix) = join(' ', values %children) =~ m{nginx -p (\S+)};

    ok($prefix && !-e $prefix, 'and nothing');
}


subtest 'the end' => sub {
    is(keys %children, 2, 'two servers');

    # Ctrl-C
    $run->signal('INT');
    is($run->wait(15), 130, 'ends');
    cleaned_up(%children);
};


subtest 'the application dies' => sub {
    my ($run, %children) = run_chat();
    my ($backend) = grep { $children{$_} =~ /gunicorn/ } keys %children;

    kill 'KILL', $backend;
    is($run->wait(15), 1, 'that is an error');
    like($run->stderr, qr/the backend has ended/, 'with a message');
    cleaned_up(%children);
};


done_testing();
