package SIO::Browser;

# A real Chromium without a window, over a pair of pipes: the DevTools protocol,
# JSON messages with a zero octet behind each.

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use SIO::Proc;
use SIO::Util qw(forget own program read_file scale tail temp_dir wait_until
                 write_file);
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->allow_nonref;

my @names = qw(chromium chromium-browser google-chrome google-chrome-stable);

# A page of ours, from this host: it needs no sandbox, which root cannot have,
# and nothing of what asks the world outside.

my @flags = qw(
    --headless --no-sandbox --disable-gpu --disable-dev-shm-usage
    --no-first-run --no-default-browser-check --no-proxy-server
    --disable-background-networking --disable-component-update --disable-sync
    --disable-default-apps --disable-extensions --disable-quic
    --disable-breakpad --disable-crash-reporter --mute-audio
    --disable-background-timer-throttling --disable-renderer-backgrounding
    --disable-backgrounding-occluded-windows
    --force-color-profile=srgb --hide-scrollbars --lang=en-US
    --remote-debugging-pipe about:blank
);

push @flags, '--disable-features=Translate,MediaRouter,OptimizationHints';


sub new {
    my ($class) = @_;

    my ($command) = grep { defined } map { program($_) } @names;

    croak 'chromium is not installed' if !defined $command;

    my $dir = temp_dir();

    my $self = bless { id => 0, pages => {} }, $class;

    # The browser reads from descriptor 3 and writes to 4.
    $self->{process} = SIO::Proc->spawn(
        [ 'sh', '-c', 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2', 'sh',
          $command, @flags, "--user-data-dir=$dir/profile" ],
        name   => 'chromium',
        env    => { HOME => $dir, LC_ALL => 'C.UTF-8', TZ => 'UTC' },
        stderr => "$dir/stderr.log",
    );

    # It is ours to end, gracefully: it has children that write into its home.
    forget($self->{process});
    own($self);

    $self->call('Browser.getVersion', {}, undef, 60);

    return $self;
}


# A page of a profile of its own: another browser, as far as pages can tell.

sub page {
    my ($self, $url, %option) = @_;

    my $context = $self->call('Target.createBrowserContext');

    my $target = $self->call('Target.createTarget', {
        url => 'about:blank', %$context,
    });

    my $attached = $self->call('Target.attachToTarget', {
        %$target, flatten => JSON::PP::true,
    });

    my $page = $self->{pages}{ $attached->{sessionId} } =
        SIO::Browser::Page->new($self, $attached->{sessionId}, %option);

    $page->go($url);

    return $page;
}


sub call {
    my ($self, $method, $params, $session, $timeout) = @_;

    my $id = ++$self->{id};

    my $text = $json->encode({
        id => $id, method => $method, params => $params // {},
        $session ? (sessionId => $session) : (),
    });

    print { $self->{process}{in} } "$text\0";

    my $deadline = time + ($timeout // 20) * scale();

    for ( ;; ) {
        my $answer = $self->message($deadline)
                     // croak "$method: no answer\n", $self->said;

        next if ($answer->{id} // 0) != $id;

        croak "$method: $answer->{error}{message}" if $answer->{error};

        return $answer->{result};
    }
}


# The next message; what happens on a page is handed to it on the way.

sub message {
    my ($self, $deadline) = @_;

    my $process = $self->{process};

    for ( ;; ) {
        while ($process->{buffer} =~ s/^([^\0]*)\0//) {
            my $message = $json->decode($1);

            return $message if $message->{id};

            my $page = $self->{pages}{ $message->{sessionId} // '' } // next;

            $page->event($message->{method}, $message->{params});
        }

        $process->fill($deadline) or return undef;
    }
}


sub said {
    my ($self) = @_;

    return tail($self->{process}->stderr, 20);
}


sub finish {
    my ($self) = @_;

    my $process = delete $self->{process} // return;

    forget($self);

    print { $process->{in} } qq({"id":0,"method":"Browser.close"}\0);

    $process->wait(5) // $process->kill('TERM');
}


sub DESTROY {
    my ($self) = @_;

    local ($@, $?);

    $self->finish;
}


package SIO::Browser::Page;

use Carp qw(croak);
use MIME::Base64 qw(decode_base64);
use SIO::Util qw(wait_until write_file);
use Scalar::Util qw(weaken);

my %keys = (
    Enter     => [ 13, "\r" ],
    Tab       => [ 9, '' ],
    Escape    => [ 27, '' ],
    Backspace => [ 8, '' ],
);


sub new {
    my ($class, $browser, $session, %option) = @_;

    my $self = bless {
        browser => $browser, session => $session, problems => [], frames => [],
    }, $class;

    weaken($self->{browser});

    $self->call("$_.enable") for qw(Page Runtime Log Network DOM);

    $self->call('Emulation.setDeviceMetricsOverride', {
        width             => 0 + ($option{width} // 1280),
        height            => 0 + ($option{height} // 800),
        deviceScaleFactor => 0 + ($option{scale} // 1),
        mobile            => $option{mobile} ? JSON::PP::true : JSON::PP::false,
    });

    $self->dark($option{dark});

    return $self;
}


sub call {
    my ($self, $method, $params) = @_;

    return $self->{browser}->call($method, $params, $self->{session});
}


sub event {
    my ($self, $method, $params) = @_;

    if ($method eq 'Runtime.consoleAPICalled') {
        my ($first) = @{ $params->{args} };

        push @{ $self->{problems} },
             "$params->{type}: " . ($first->{value} // $first->{description})
            if $params->{type} =~ /^(?:error|warning|assert)$/;

    } elsif ($method eq 'Runtime.exceptionThrown') {
        my $details = $params->{exceptionDetails};

        push @{ $self->{problems} },
             $details->{exception}{description} // $details->{text};

    } elsif ($method eq 'Log.entryAdded') {
        my $entry = $params->{entry};

        push @{ $self->{problems} },
             "$entry->{level}: $entry->{text} " . ($entry->{url} // '')
            if $entry->{level} =~ /^(?:error|warning)$/;

    } elsif ($method eq 'Network.webSocketFrameReceived') {
        my $frame = $params->{response};

        push @{ $self->{frames} },
             $frame->{opcode} == 2 ? decode_base64($frame->{payloadData})
                                   : $frame->{payloadData};
    }
}


# What the browser has complained about since the last time.

sub problems {
    my ($self) = @_;

    $self->eval('0');       # what was under way is here then

    return splice @{ $self->{problems} };
}


# Payloads of WebSocket messages that have come in since the last time.

sub frames {
    my ($self) = @_;

    $self->eval('0');

    return splice @{ $self->{frames} };
}


sub go {
    my ($self, $url) = @_;

    my $before = $self->eval('performance.timeOrigin');
    my $result = $self->call('Page.navigate', { url => $url });

    croak "$url: $result->{errorText}" if $result->{errorText};

    $self->wait("document.readyState === 'complete'"
                . " && performance.timeOrigin !== $before")
        // croak "$url is not loaded";
}


sub dark {
    my ($self, $dark) = @_;

    $self->call('Emulation.setEmulatedMedia', { features => [
        { name => 'prefers-color-scheme', value => $dark ? 'dark' : 'light' },
    ] });
}


# The value of an expression, of a promise when that is kept.

sub eval {
    my ($self, $expression) = @_;

    my $answer = $self->call('Runtime.evaluate', {
        expression    => $expression,
        awaitPromise  => JSON::PP::true,
        returnByValue => JSON::PP::true,
    });

    if (my $details = $answer->{exceptionDetails}) {
        croak "$expression: ",
              $details->{exception}{description} // $details->{text};
    }

    return $answer->{result}{value};
}


# Until it is true; its value, undef when the time has passed.

sub wait {
    my ($self, $expression, $timeout) = @_;

    return wait_until($timeout // 15, sub {
        # A page that is being replaced has nothing to say.
        my $value = CORE::eval { $self->eval($expression) };

        select undef, undef, undef, 0.05 if !$value;

        return $value;
    });
}


# As a person would do: in the middle of what is to be seen there.

sub click {
    my ($self, $selector) = @_;

    my $name = JSON::PP->new->allow_nonref->encode($selector);
    my $box;

    $self->wait("document.querySelector($name)?.checkVisibility()")
        // croak "$selector is not to be seen";

    $box = $self->eval(<<"EOF");
        (() => {
            const e = document.querySelector($name);

            e.scrollIntoView({ block: 'nearest' });

            const box = e.getBoundingClientRect();
            const x = box.x + box.width / 2;
            const y = box.y + box.height / 2;
            const top = document.elementFromPoint(x, y);

            return { x, y, free: e === top || e.contains(top)
                                 || top?.contains(e) };
        })()
EOF

    croak "something is above $selector" if !$box->{free};

    for my $type (qw(mousePressed mouseReleased)) {
        $self->call('Input.dispatchMouseEvent', {
            type => $type, x => $box->{x}, y => $box->{y},
            button => 'left', clickCount => 1,
        });
    }
}


sub type {
    my ($self, $text) = @_;

    $self->call('Input.insertText', { text => $text });
}


sub press {
    my ($self, $key) = @_;

    my ($code, $text) = @{ $keys{$key} // croak "which key is $key?" };

    for my $type (qw(keyDown keyUp)) {
        $self->call('Input.dispatchKeyEvent', {
            type => $type, key => $key, code => $key,
            windowsVirtualKeyCode => $code,
            $type eq 'keyDown' ? (text => $text) : (),
        });
    }
}


# Drags files from outside to the middle of the page and lets go.

sub drop {
    my ($self, @files) = @_;

    my $data = { items => [], files => \@files, dragOperationsMask => 1 };
    my $at = $self->eval('({ x: innerWidth / 2, y: innerHeight / 2 })');

    for my $type (qw(dragEnter dragOver drop)) {
        $self->call('Input.dispatchDragEvent', {
            type => $type, %$at, data => $data,
        });
    }
}


# Chooses files in an <input type="file">.

sub choose {
    my ($self, $selector, @files) = @_;

    my $document = $self->call('DOM.getDocument', { depth => 0 });

    my $node = $self->call('DOM.querySelector', {
        nodeId => $document->{root}{nodeId}, selector => $selector,
    });

    $self->call('DOM.setFileInputFiles', { %$node, files => \@files });
}


sub screenshot {
    my ($self, $file) = @_;

    my $answer = $self->call('Page.captureScreenshot', { format => 'png' });

    write_file($file, decode_base64($answer->{data}));
}


1;

__END__

=head1 NAME

SIO::Browser - pages in a real Chromium

=head1 SYNOPSIS

    my $browser = SIO::Browser->new;
    my $page = $browser->page("http://127.0.0.1:$port/", width => 390,
                              height => 844, mobile => 1, dark => 1);

    $page->click('#name');
    $page->type('Ann');
    $page->press('Enter');
    ok($page->wait("document.title === 'hello'"), 'it says hello');
    is_deeply([ $page->problems ], [], 'and complains about nothing');

=head1 METHODS

=over

=item new, page($url, %options)

Each page has cookies and storage of its own.  Options: C<width>, C<height>,
C<scale>, C<mobile>, C<dark>.

=item eval($expression), wait($expression, $timeout)

C<wait> asks until the value is true, and gives it, or undef.

=item click($selector), type($text), press($key)

Input of a mouse and a keyboard; C<type> goes where the focus is.

=item choose($selector, @files), drop(@files)

=item problems, frames

Errors and warnings of the console, messages of WebSockets, each once.

=item go($url), dark($flag), screenshot($file)

=back

=cut
