#!/usr/bin/perl

# examples/run and the chat's application, as somebody finds them who tries the
# module.  t/71-browser.t looks at the page.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Client;
use SIO::HTTP;
use SIO::Proc;
use SIO::Util qw(root build_dir asan alive free_port read_file temp_dir
                 wait_until);
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
    like($r->{headers}{'content-security-policy'}, qr{default-src 'self'},
         'with a policy');

    my @files = $r->{body} =~ /(?:src|href)="([^":#]+)"/g;

    push @files, 'view.js', 'image.js';

    for my $file (@files) {
        is($http->get("/$file")->{status}, 200, "$file is there");
    }

    for my $path (qw(/app.py /nginx.conf /secret /data/chat.db /_socketio
                     /socketio /image/1 /image/..%2fapp.py)) {
        is($http->get($path)->{status}, 404, "$path is not");
    }

    my $client = read_file(build_dir() . '/node/node_modules/socket.io-client'
                           . '/dist/socket.io.min.js');

    ok($http->get('/socket.io.min.js')->{body} eq ($client // ''),
       'the client library is the official one');
};


# Who is where, from the newest list of all that come until it is as expected.

my %newest;

sub people {
    my ($client, $expected, $name) = @_;

    my $list = '';
    my $done = wait_until(10, sub {
        my $event = $client->event('people', 1) // return 0;
        my (undef, $n, $people) = @$event;

        return 0 if $n < ($newest{$client->sid} // 0);

        $newest{$client->sid} = $n;
        $list = join ', ', sort map { "$_->[2] in $_->[0]" } @$people;

        return $list eq $expected;
    });

    ok($done, $name) or diag("not $expected, but $list");
}


sub enter {
    my ($name, %option) = @_;

    my $client = SIO::Client->connect(port => $port, auth => {
        name => $name, key => "key of $name", room => delete $option{room},
    }, %option);

    return $client, $client->call('here')->[0];
}


my $png = "\x89PNG\r\n\x1a\n" . join('', map { chr } 0 .. 255) x 1900;


subtest 'a conversation' => sub {
    my $nameless = SIO::Client->new(port => $port);

    is_deeply($nameless->join('/', { name => ' ' })->{data},
              { message => 'Please tell us your name' }, 'who are you?');

    my ($ann, $lobby) = enter('Ann');

    is_deeply($lobby->{messages}, [], 'nothing has been said');
    people($ann, 'Ann in lobby', 'Ann is alone');

    my ($bob) = enter(' Bob  B ', transport => 'polling');

    people($_, 'Ann in lobby, Bob B in lobby', 'both see both') for $ann, $bob;

    my $said = $ann->call('message', 'lobby', 'k1', ' hello ')->[0];
    my $heard = $bob->event('message')->[1];

    is_deeply([ @$heard{qw(name text room user)} ],
              [ 'Ann', 'hello', 'lobby', $lobby->{you} ], 'Bob hears Ann');
    is_deeply($heard, $said, 'and it is what Ann was told');

    is_deeply($ann->call('message', 'lobby', 'k1', 'hello')->[0], $said,
              'what is repeated is the same message');
    is($bob->event('message')->[1]{id}, $said->{id}, 'for Bob, too');

    is_deeply($bob->call('move', 'garden'), [], 'Bob goes');
    is_deeply($bob->call('here')->[0]{messages}, [], 'into an empty room');
    people($ann, 'Ann in lobby, Bob B in garden', 'Ann sees that');

    $ann->call('move', 'garden');
    $ann->call('here');
    people($bob, 'Ann in garden, Bob B in garden', 'Ann comes after him');

    # volatile: one who polls may miss it
    $bob->emit('typing');
    is_deeply([ @{ $ann->event('typing') }[0, 2] ], [ 'typing', 'Bob B' ],
              'Bob writes');

    my $r = $http->post('/_api/emit', '{"event":"message","args":'
                        . '[{"name":"Shell","text":"Hi"}],"to":"#garden"}');

    is_deeply($r->json, { matched => 2 }, 'somebody calls from a shell');
    is_deeply($_->event('message'),
              [ 'message', { name => 'Shell', text => 'Hi' } ], 'and is heard')
        for $ann, $bob;

    # the same person, by another connection
    my ($again, $garden) = enter('Ann', room => 'garden');

    is($garden->{you}, $lobby->{you}, 'Ann has two connections');
    $ann->disconnect;
    people($again, 'Ann in garden, Bob B in garden', 'and is here with one');
    $again->disconnect;
    people($bob, 'Bob B in garden', 'until she has none');
    $bob->disconnect;
};


subtest 'images' => sub {
    my ($ann) = enter('Ann', room => 'kitchen');
    my ($bob) = enter('Bob', room => 'kitchen');
    my ($dan) = enter('Dan', room => 'kitchen', transport => 'polling');

    my $said = $ann->call('message', 'kitchen', 'k2', 'look', \$png)->[0];

    is($said->{type}, 'image/png', 'an image is recognised');

    for my $client ($bob, $dan) {
        my $packet = $client->wait_for(sub { $_[0]{data}[0] eq 'message' });

        is_deeply($packet->{data}[1], $said, 'it arrives');
        ok($packet->{attachments}[0] eq $png, 'octet for octet');
    }

    my (undef, $kitchen) = enter('Cleo', room => 'kitchen');

    is_deeply($kitchen->{messages}, [$said], 'who comes later hears of it');

    my $r = $http->get("/image/$said->{id}");

    ok($r->{body} eq $png, 'and fetches it');
    is($r->{headers}{'content-type'}, 'image/png', 'as what it is');
    is($r->{headers}{'x-content-type-options'}, 'nosniff', 'and nothing else');

    for my $case ([ 'no image', '<svg onload="alert(1)">' ],
                  [ 'no octets', '' ],
                  [ 'too many octets', $png . 'x' x 20000 ])
    {
        my ($name, $octets) = @$case;

        is_deeply($ann->call('message', 'kitchen', "k3 $name", '', \$octets),
                  [{ error => 'That is not an image, or too large' }], $name);
    }

    is_deeply($ann->call('message', 'kitchen', 'k4', " \n"),
              [{ error => 'There is nothing in it' }], 'nothing at all');
    is($bob->event('message', 0.5), undef, 'nobody hears of these');
    $dan->disconnect;
};


# Arguments that no page sends: none of them may be an error of the application.

subtest 'nonsense' => sub {
    my ($ann) = enter('Ann', room => 'cellar');
    my $said = $run->stderr;
    my @nonsense = (undef, 1e300, [], {}, 'x' x 5000,
                    { _placeholder => JSON::PP::true, num => 0 });

    for my $event (qw(message move here typing none)) {
        $ann->emit($event, @nonsense);
        $ann->emit($event, $_, $_, $_, $_) for @nonsense;
        $ann->emit($event);

        # half of a character, which no text can hold
        $ann->eio->send(qq(42["$event","\\ud800","\\ud800","\\ud800"]));
    }

    is(ref $ann->call('here')->[0]{messages}, 'ARRAY', 'the chat goes on');
    is($run->stderr, $said, 'without a complaint');

    for my $value (@nonsense) {
        SIO::Client->new(port => $port)->join('/', {
            name => $value, key => $value, room => $value,
        });
    }

    is($run->stderr, $said, 'also when they come in');
};


# A worker's clients are gone with it; another one tells the application.

subtest 'presence after a worker was killed' => sub {
    my ($nginx) = grep { $children{$_} =~ /nginx/ } keys %children;
    my @all = map { [ enter("P$_", room => 'attic') ] } 1 .. 8;

    people($all[0][0], join(', ', map { "P$_ in attic" } 1 .. 8), 'all are in');

    # the one with the most of them
    my %open = map { $_ => scalar(() = glob "/proc/$_/fd/*") }
               split ' ', read_file("/proc/$nginx/task/$nginx/children");

    kill 'KILL', (sort { $open{$b} <=> $open{$a} } keys %open)[0];

    ok(wait_until(10, sub { grep { !open_still($_->[0]) } @all }),
       'a worker is dead');

    my @left = map { "P$_" } grep { open_still($all[$_ - 1][0]) } 1 .. 8;
    my ($new) = enter('New', room => 'attic');

    people($new, join(', ', map { "$_ in attic" } 'New', @left),
           'those of the others are here, and nobody else');
};


sub open_still {
    my ($client) = @_;

    # what comes in stays for later
    $client->wait_for(sub { 0 }, 0);

    return !$client->eio->{ws}{closed};
}


# The application alone, asked as nginx does.

subtest 'the application' => sub {
    my $r = SIO::Proc->run([ 'python3', '-B', '-c', <<'EOF', temp_dir() ],
import base64, hmac, json, os, sys, time
sys.path[:0] = ["", ".."]
os.environ["SOCKETIO_SECRET"] = "whsec_" + "QUFB" * 6
os.environ["CHAT_DB"] = sys.argv[1] + "/chat.db"
import app

def post(stamp, key, **hook):
    hook = dict({"id": "m", "sid": "s", "namespace": "/"}, **hook)
    body = json.dumps(hook).encode()
    mac = hmac.digest(key, b"msg_1.%d." % stamp + body, "sha256")
    return app.app.test_client().post("/socketio", data=body, headers={
        "content-type": "application/json", "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": "v1,AAAA v1," + base64.b64encode(mac).decode()})

def people(**hook):
    hook = dict({"sid": "s", "user": "u",
                 "state": {"name": "N", "room": "r"}}, **hook)
    return post(now, b"AAA" * 6, **hook).json["emit"][0]["args"][1]

now = int(time.time())
print([post(*args, type="event", event="none", args=[]).status_code for args in [
           (now, b"AAA" * 6), (now, b"BBB" * 6), (now - 400, b"AAA" * 6)]],
      app.app.test_client().post("/socketio", json={}).status_code)
here = {"type": "event", "event": "here", "args": []}
gone = {"type": "disconnect", "reason": "transport close"}
print(people(**here), people(**gone), people(**here))

app.store.KEPT, app.store.GONE = 20, 10

for n in range(50):
    app.store.say(str(n), "r", "u", "N", "text", None, None)
    app.store.move(str(n), "u", "N", None)

with app.store.transaction() as db:
    print([db.execute("SELECT count(*) FROM " + table).fetchone()[0]
           for table in ["messages", "people"]])
    print(db.execute("SELECT text FROM messages WHERE id = '0'").fetchall())
EOF
        cwd => "$root/examples/chat", timeout => 60);

    my @lines = split /\n/, $r->{out};

    is(shift @lines, '[200, 401, 401] 401', 'believes a fresh signature only')
        or diag($r->{err});
    is(shift @lines, "[['r', 'u', 'N']] [] []",
       'believes that who has gone is gone');
    is(shift @lines, '[20, 11]', 'remembers so much');
    is(shift @lines, '[]', 'and the oldest not');
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
