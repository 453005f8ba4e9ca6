#!/usr/bin/perl

# The chat's page in a real browser: a desktop and a phone talk to each other.
#
#   SIO_SCREENSHOTS   a directory for pictures of what was to be seen

use strict;
use utf8;
use warnings;

use Compress::Zlib ();
use FindBin;
use lib "$FindBin::Bin/lib";

use SIO::Browser;
use SIO::Client;
use SIO::HTTP;
use SIO::Proc;
use SIO::Util qw(root asan alive free_port read_file temp_dir wait_until
                 write_file);
use Test::More;

plan skip_all => 'the example builds without sanitizers' if asan();

my $port = free_port();
my $http = SIO::HTTP->new(port => $port);
my $dir = temp_dir();

my $run = SIO::Proc->spawn([ root() . '/examples/run' ],
                           env => { PORT => $port });

$run->expect(qr/The chat is at/, 300) or BAIL_OUT($run->stderr);

my ($nginx) = started(qr/nginx -p (\S+)/);
my ($gunicorn) = started(qr/gunicorn/);
my ($prefix) = command($nginx) =~ /nginx -p (\S+)/;

my $browser = SIO::Browser->new;
my $url = "http://127.0.0.1:$port/";

my $ann = $browser->page($url);
my $bob = $browser->page($url, width => 320, height => 640, mobile => 1);


sub children {
    my ($pid) = @_;

    my @pids = split ' ', read_file("/proc/$pid/task/$pid/children") // '';

    return @pids;
}


sub command {
    my ($pid) = @_;

    return join ' ', split /\0/, read_file("/proc/$pid/cmdline") // '';
}


sub started {
    my ($pattern) = @_;

    return grep { command($_) =~ $pattern } children($run->pid);
}


sub picture_of {
    my ($name, $page) = @_;

    $page->screenshot("$ENV{SIO_SCREENSHOTS}/$name.png")
        if $ENV{SIO_SCREENSHOTS};
}


# A PNG that cannot be compressed, so that its size is known.

sub noise {
    my ($name, $side) = @_;

    my $chunk = sub {
        my ($type, $data) = @_;

        return pack 'N a4 a* N', length $data, $type, $data,
                    Compress::Zlib::crc32($type . $data);
    };

    srand 1;

    my $rows = join '', map {
        "\0" . join '', map { chr int rand 256 } 1 .. 3 * $side
    } 1 .. $side;

    write_file("$dir/$name.png", "\x89PNG\r\n\x1a\n"
        . $chunk->('IHDR', pack 'N2 C5', $side, $side, 8, 2, 0, 0, 0)
        . $chunk->('IDAT', Compress::Zlib::compress($rows))
        . $chunk->('IEND', ''));

    return "$dir/$name.png";
}


sub enter {
    my ($page, $name) = @_;

    $page->click('#name');
    $page->type($name);
    $page->press('Enter');

    return $page->wait("!document.querySelector('#app').hidden");
}


sub say_it {
    my ($page, $text) = @_;

    $page->click('#text');
    $page->type($text);
    $page->press('Enter');
}


# What is to be seen: the texts of all that match.

sub texts {
    my ($selector) = @_;

    return "[...document.querySelectorAll('$selector')]"
           . ".map((e) => e.textContent).join('|')";
}


sub sees {
    my ($page, $selector, $expected, $name, $timeout) = @_;

    my $texts = texts($selector);

    ok($page->wait("$texts === " . quoted($expected), $timeout), $name)
        or diag("not $expected, but ", $page->eval($texts), "\n",
                map { "$_\n" } $page->problems);
}


sub sees_last {
    my ($page, $expected, $name, $timeout) = @_;

    my $last = "[...document.querySelectorAll('.message .text')]"
               . ".at(-1)?.textContent";

    ok($page->wait("$last === " . quoted($expected), $timeout), $name)
        or diag("not $expected, but ", $page->eval($last));
}


sub quoted {
    return JSON::PP->new->allow_nonref->ascii->encode($_[0]);
}


sub calm {
    my ($name, $allowed) = @_;

    my @problems = grep { !$allowed || $_ !~ $allowed }
                   map { $_->problems } $ann, $bob;

    is_deeply(\@problems, [], $name);
}


my $people = '#people bdi';
my $badges = '#rooms a';
my $messages = '.message .text';


subtest 'the door' => sub {
    is($ann->eval('document.activeElement.id'), 'name',
       'the name can be typed at once');
    ok($ann->eval("document.querySelector('#app').hidden"), 'nobody is in');
    picture_of('door', $ann);

    ok($bob->eval(<<'EOF'), 'it fits on a phone');
        ['#name', '#enter button'].every((selector) => {
          const [inner, outer] = [selector, '#door'].map((each) => {
            return document.querySelector(each).getBoundingClientRect();
          });

          return inner.left - outer.left > 20
                 && outer.right - inner.right > 20;
        })
EOF

    ok(enter($ann, '  Ann '), 'Ann comes in');
    sees($ann, $people, 'Ann', 'alone');
    is($ann->eval('document.activeElement.id'), 'text', 'and can write');

    ok(enter($bob, 'Bob <b>'), 'Bob, too');
    sees($_, $people, 'Ann|Bob <b>', 'both see both') for $ann, $bob;
    sees($_, $badges, 'lobby2|kitchen|garden', 'and a number') for $ann, $bob;
    sees($ann, '.note', 'Bob <b> came in', 'and a note');

    for my $page ($ann, $bob) {
        sees($page, '#status', 'websocket', 'by WebSocket');
        ok($page->eval("performance.getEntriesByType('resource')"
                       . ".some((r) => r.name.includes('transport=polling'))"),
           'after polling');
    }
};


subtest 'words' => sub {
    my $markup = '<img src=x onerror=alert(1)> & <b>';

    say_it($ann, 'Hello!');
    sees($bob, $messages, 'Hello!', 'Bob reads it');
    sees($ann, '.own:not(.pending) .text', 'Hello!', 'and Ann hears that');

    say_it($bob, $markup);
    sees($ann, $messages, "Hello!|$markup", 'markup is text');
    is($ann->eval("document.querySelectorAll('#messages img').length"), 0,
       'and nothing else');

    my $r = $http->post('/_api/emit', '{"event":"message","to":"#lobby",'
                        . '"args":[{"name":"Shell","text":"Hi"}]}');

    is_deeply($r->json, { matched => 2 }, 'somebody calls from a shell');
    sees($_, $messages, "Hello!|$markup|Hi", 'both hear it') for $ann, $bob;

    # what one process has to say of people after another one knew better
    $http->post('/_api/emit', '{"event":"people",'
                . '"args":[1,[["lobby","0","Ghost"]]]}');
    $http->post('/_api/emit', '{"event":"message","to":"#lobby",'
                . '"args":[{"name":"Shell","text":"Boo"}]}');
    sees_last($_, 'Boo', 'something old arrives') for $ann, $bob;
    sees($_, $people, 'Ann|Bob <b>', 'it is not believed') for $ann, $bob;
};


subtest 'typing' => sub {
    my $on = "document.querySelector('#typing').checkVisibility("
             . '{ checkVisibilityCSS: true })';

    ok($bob->wait("!$on"), 'nobody is');

    $ann->click('#text');
    $ann->type('I am');

    ok($bob->wait($on), 'Bob sees it');
    is($bob->eval("document.querySelector('#typing').textContent.trim()"),
       'Ann is typing', 'and who');
    picture_of('typing', $bob);
    ok($bob->wait("!$on"), 'it fades');

    $ann->type(' here');
    ok($bob->wait($on), 'and comes again');
    $ann->press('Enter');
    sees_last($bob, 'I am here', 'until it is said');
    ok($bob->wait("!$on", 2), 'and not longer');
    ok(!$ann->eval($on), 'Ann does not see herself');
};


subtest 'images' => sub {
    my $small = noise('small', 300);
    my $large = noise('large', 900);
    my $octets = read_file($small);

    $bob->frames;
    $ann->drop($small);
    ok($ann->wait("document.querySelector('#preview img').naturalWidth === 300"
                  . " && !document.querySelector('#preview').hidden"),
       'dropped, it is shown');
    like($ann->eval("document.querySelector('#preview figcaption')"
                    . '.textContent'), qr/^small\.png · 271 kB$/,
         'with its size');
    picture_of('preview', $ann);
    say_it($ann, 'look');

    ok($bob->wait("document.querySelector('.picture img')?.naturalWidth"
                  . ' === 300'), 'Bob sees it');
    is(scalar(grep { $_ eq $octets } $bob->frames), 1,
       'it came as one binary message, octet for octet');
    ok($ann->wait("document.querySelector('.own .picture')"), 'as does Ann');

    $bob->choose('#file', $large);
    ok($bob->wait("!document.querySelector('#preview').hidden"),
       'one from a phone');
    like($bob->eval("document.querySelector('#preview figcaption')"
                    . '.textContent'), qr/kB, was 2\.4 MB$/, 'is made smaller');
    $bob->click('#go');
    ok($ann->wait("document.querySelectorAll('.picture img')[1]"
                  . '?.naturalWidth > 0'), 'and arrives');

    my $end = "(({ scrollHeight, scrollTop, clientHeight }) =>"
              . ' scrollHeight - scrollTop - clientHeight < 2)'
              . "(document.querySelector('#log'))";

    ok($_->wait("$end && document.querySelector('#latest').hidden"),
       'the newest is in sight') for $ann, $bob;
    picture_of('images', $ann);

    write_file("$dir/text.png", 'this is not an image');
    $ann->drop("$dir/text.png");
    ok($ann->wait("document.querySelector('#alert').textContent"
                  . ".includes('is not an image')"), 'something else does not');
    ok($ann->eval("document.querySelector('#preview').hidden"),
       'and is not sent');

    $ann->click('.picture');
    ok($ann->wait("document.querySelector('#viewer').open"), 'a large view');
    $ann->press('Escape');
    ok($ann->wait("!document.querySelector('#viewer').open"), 'and back');
};


subtest 'rooms' => sub {
    $bob->click('#menu');
    $bob->wait("document.querySelector('#side').getBoundingClientRect().x"
               . ' === 0');
    picture_of('menu', $bob);
    $bob->click('#rooms li:nth-child(2) a');

    sees($bob, '#room', 'kitchen', 'Bob goes into the kitchen');
    ok($bob->eval("document.querySelector('#main').inert === false"),
       'which the menu does not cover');
    sees($bob, $people, 'Bob <b>', 'where he is alone');
    sees($ann, $people, 'Ann', 'as is Ann');
    sees($ann, $badges, 'lobby1|kitchen1|garden', 'who sees where he is');
    sees($ann, '.note:last-child', 'Bob <b> left', 'and reads of it');

    say_it($ann, 'Bob?');
    sees($bob, '.message', '', 'Bob does not hear her');

    # a room of one's own, with a name from somewhere else
    $ann->click('#new-room-name');
    $ann->type('50% <i>');
    $ann->press('Enter');
    sees($ann, '#room', '50% <i>', 'Ann opens a room');
    sees($bob, $badges, 'lobby|kitchen1|garden|50% <i>1', 'Bob sees it');

    $_->eval("location.hash = '#lobby'") for $ann, $bob;
    sees($_, $people, 'Ann|Bob <b>', 'both come back') for $ann, $bob;
    sees($_, $badges, 'lobby2|kitchen|garden', 'and leave nothing')
        for $ann, $bob;
    sees_last($bob, 'Bob?', 'Bob reads what he missed');
    ok($bob->wait("[...document.querySelectorAll('.picture img')]"
                  . '.filter((e) => e.naturalWidth).length === 2'),
       'and sees the images again');
};


subtest 'names' => sub {
    my $unnamed = $ann->call('Accessibility.getFullAXTree');
    my %interactive = map { $_ => 1 } qw(button link textbox dialog log
                                         navigation complementary region);

    my @wrong = grep { !$_->{ignored}
                       && $interactive{ $_->{role}{value} // '' }
                       && !length($_->{name}{value} // '') }
                @{ $unnamed->{nodes} };

    is_deeply([ map { $_->{role}{value} } @wrong ], [],
              'whatever can be used has one');

    ok(scalar(grep { ($_->{role}{value} // '') eq 'log' }
              @{ $unnamed->{nodes} }), 'messages are a log');
};


calm('no complaints so far');


subtest 'nginx workers are killed' => sub {
    my $cleo = SIO::Client->connect(port => $port, auth => { name => 'Cleo' });

    $cleo->call('here');
    sees($_, $people, 'Ann|Bob <b>|Cleo', 'Cleo comes in') for $ann, $bob;

    my %before = map { $_ => $_->eval('socket.id') } $ann, $bob;
    my @workers = children($nginx);

    is(@workers, 4, 'four workers');
    kill 'KILL', @workers;

    for my $page ($ann, $bob) {
        ok($page->wait("socket.connected && socket.id !== '$before{$page}'",
                       30), 'a page connects anew');
        sees($page, $people, 'Ann|Bob <b>', 'Cleo is gone', 30);
        sees($page, '#status', 'websocket', 'all is well', 30);
    }

    say_it($ann, 'Still there?');
    sees_last($bob, 'Still there?', 'they can talk');
    is($ann->eval("document.querySelectorAll('.message').length"),
       $bob->eval("document.querySelectorAll('.message').length"),
       'and have the same before them');
    unlike($ann->eval(texts('.note')), qr/Bob <b> left.*Bob <b> left/,
           'Bob was not away');

    calm('only connections are complained about', qr/WebSocket|net::ERR_/);
};


subtest 'the application is restarted' => sub {
    my @before = children($gunicorn);

    my %connection = map { $_ => $_->eval('socket.id') } $ann, $bob;

    # for a moment there is none
    rename "$prefix/app.sock", "$prefix/app.away" or BAIL_OUT("rename: $!");

    say_it($ann, 'Is anybody here?');
    ok($ann->wait("document.querySelector('.pending')"), 'a message waits');
    ok(wait_until(10, sub { $run->stderr =~ /webhook failed/ }),
       'nginx cannot deliver it');

    kill 'HUP', $gunicorn;

    ok(wait_until(20, sub {
        return !(grep { alive($_) } @before) && children($gunicorn) >= 3;
    }), 'all processes of the application are new');

    rename "$prefix/app.away", "$prefix/app.sock" or BAIL_OUT("rename: $!");

    sees_last($bob, 'Is anybody here?',
         'the message comes', 30);
    ok($ann->wait("!document.querySelector('.pending')"), 'Ann is told');

    say_it($bob, 'I am.');
    sees_last($ann, 'I am.', 'they can talk');
    is($bob->eval(texts('.message .text')), $ann->eval(texts('.message .text')),
       'each has everything once');
    is($_->eval('socket.id'), $connection{$_}, 'by the same connections')
        for $ann, $bob;
};


subtest 'a page is loaded again' => sub {
    my $own = $ann->eval("document.querySelectorAll('.own').length");

    # the browser keeps the page for its button "back"
    $ann->go('about:blank');
    sees($bob, $people, 'Bob <b>', 'Ann is gone');
    $ann->go($url);
    sees($_, $people, 'Ann|Bob <b>', 'Ann is back') for $ann, $bob;
    sees_last($ann, 'I am.', 'with what was said');
    is($ann->eval("document.querySelectorAll('.own').length"), $own,
       'and knows what she has said');
    ok(!$ann->eval("document.querySelector('#door').open"),
       'nobody asks for her name');

    $ann->dark(1);
    picture_of('dark', $ann);
};


calm('no complaints in the end');

$browser->finish;

unlike($run->stderr, qr/Traceback|\[alert\](?!.*exited on signal 9)/,
       'the servers have none either') or diag($run->stderr);

$run->signal('INT');
is($run->wait(15), 130, 'Ctrl-C ends all');

done_testing();
