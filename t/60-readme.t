#!/usr/bin/perl

# README.md and nginx.conf.example against the code: what they show works, what
# they quote exists, and nothing that a user can write is missing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use SIO::Backend;
use SIO::Client;
use SIO::HTTP;
use SIO::Nginx;
use SIO::Proc;
use SIO::Util qw(root build_dir free_port program read_file temp_dir
                 wait_until write_file);
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $readme = read_file(root() . '/README.md') // BAIL_OUT('no README.md');

my (@blocks, %section);

read_readme();


# Chapters by their headings, and all fenced blocks: {chapter} and {section}
# are the headings above, {language}, {text}, {line}.

sub read_readme {
    my ($block, $chapter, $heading, $line) = (undef, '', '', 0);

    for (split /^/, $readme) {
        $line++;

        if (/^```(\w*)$/) {
            if ($block) {
                push @blocks, $block;
                undef $block;

            } else {
                $block = { chapter => $chapter, section => $heading,
                           language => $1, line => $line, text => '' };
            }

            next;
        }

        if ($block) {
            $block->{text} .= $_;
            next;
        }

        if (/^(##+) (.*)$/) {
            $heading = $2;
            $chapter = $2 if $1 eq '##';
        }

        $section{$heading} .= $_;
    }
}


sub blocks {
    my ($language, $heading) = @_;

    my @found = grep {
        $_->{language} eq $language
        && (!defined $heading || $heading eq $_->{chapter}
            || $heading eq $_->{section})
    } @blocks;

    return @found;
}


# The cells of a chapter's table rows, without those of the heading.

sub rows {
    my ($heading, $columns) = @_;

    my @rows;

    for my $line (split /\n/, $section{$heading} // '') {
        next if $line !~ /^\| (?!-)/;

        my $cells = $line =~ s/^\| *| *\|$//gr;

        push @rows, [ map { s/\\\|/|/gr }
                      split / *(?<!\\)\| */, $cells, $columns ];
    }

    return @rows;
}


sub source {
    my ($name) = @_;

    return join '', map { read_file($_) } glob root() . "/src/$name";
}


subtest 'links' => sub {
    my %anchor;

    while ($readme =~ /^#+ (.*)$/mg) {
        my $anchor = lc $1 =~ s/ /-/gr;

        $anchor{$anchor =~ s/[^\w-]//gr} = 1;
    }

    # The list at the beginning has all chapters, as they follow each other.
    my ($contents) = $readme =~ /^((?:- \[.*\n)+)/m;

    is_deeply([ $contents =~ /\[(.*)\]/g ], [ $readme =~ /^## (.*)$/mg ],
              'the table of contents');

    my $prose = join '', values %section;

    while ($prose =~ /\]\(([^)]+)\)/g) {
        my $link = $1;

        next if $link =~ /^https:/;

        ok($link =~ /^#(.*)/ ? $anchor{$1} : -e root() . "/$link", $link);
    }

    my %seen;

    for my $name ($prose =~ m{`((?:src|t|examples)/[\w./-]+|
                               ngx_(?:http_socketio|sio)\w*\.[ch])`}gx)
    {
        next if $seen{$name}++;

        my @paths = $name =~ m{/} ? $name : ("src/$name", "src/*/$name");

        ok(grep({ -e } map { glob root() . "/$_" } @paths), "$name is there");
    }
};


# A certificate, keys and whatever else the examples name.

my $nginx = SIO::Nginx->new;

write_files($nginx);


sub write_files {
    my ($nginx) = @_;

    my $prefix = $nginx->prefix;

    my $r = SIO::Proc->run([
        qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2),
        qw(-subj /CN=example.com -keyout), "$prefix/example.com.key",
        '-out', "$prefix/example.com.crt",
    ]);

    BAIL_OUT("openssl: $r->{err}") if $r->{status};

    $nginx->write('webhook.secret',
                  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    $nginx->write('api.keys', "topsecret\n");

    # of no interest to "nginx -t"
    $nginx->write("${_}_params", '') for qw(fastcgi uwsgi);
}


# A whole configuration, made to run beside others.

sub adapt {
    my ($text) = @_;

    $text =~ s/^load_module .*;$/%%GLOBALS%%/m;
    $text =~ s/^http \{$/http {\n%%GLOBALS_HTTP%%/m;
    $text =~ s/^( *listen +)(?:8080|8443)\b/${1}127.0.0.1:%%PORT%%/mg;
    $text =~ s{(?<= )/var/cache/nginx/}{temp_dir() . '/'}mge;

    return $text;
}


# What a piece needs around it, from the inside outwards.

my %around = (
    main     => '%s',
    location => "location /wrapped/ {\nsocketio;\n%s\n}",
    server   => "server {\nlisten 127.0.0.1:%%%%PORT%%%%;\n%s\n}",
    http     => "%%%%GLOBALS%%%%\nevents {}\nhttp {\n%%%%GLOBALS_HTTP%%%%\n"
                . "%s\n}",
);

my @levels = qw(main location server http);


sub wrap {
    my ($level, $text) = @_;

    my $upstream = join '',
                   map { "upstream $_ { server 127.0.0.1:5000; }\n" }
                   grep { $text !~ /upstream $_ / } qw(app standby);

    return adapt($text) if $level eq 'main';

    $text = sprintf $around{location}, $text if $level eq 'location';
    $text = sprintf $around{server}, $text if $level ne 'http';

    return sprintf $around{http}, $upstream . adapt($text);
}


sub tried {
    my ($text) = @_;

    my $said = '';

    for my $level (@levels) {
        next if ($level eq 'main') != ($text =~ /^events /m);

        my ($ok, $output) = $nginx->check(config => wrap($level, $text));

        return '' if $ok && $output !~ /\[warn\]/;

        $said .= "$level: $output";
    }

    return $said;
}


subtest 'commands that show something' => sub {
    my %tests = map { $_ => 1 } $readme =~ m{\b(t/\d\d-[\w-]+\.t)\b}g;

    cmp_ok(scalar(keys %tests), '>', 10, 'tests are named');
    is_deeply([ grep { !-f root() . "/$_" } sort keys %tests ], [],
              'which are there');
};


subtest 'every piece of configuration' => sub {
    for my $block (blocks('nginx')) {
        my $said = tried($block->{text});

        ok($said eq '', "line $block->{line}, $block->{section}")
            or diag($said);
    }
};


# Directives as the module declares them: {name}{contexts}, {args}, {handler}.

sub declared {
    my %directive;
    my $text = source('ngx_http_socketio_module.c');

    my ($setting) = $text =~ /define NGX_HTTP_SOCKETIO_SETTING(.*?\n)\n/s;
    my ($table) = $text =~ /ngx_http_socketio_commands\[\] = \{(.*?)^\};/ms;

    my %context = (
        NGX_HTTP_MAIN_CONF => 'http',
        NGX_HTTP_SRV_CONF  => 'server',
        NGX_HTTP_LOC_CONF  => 'location',
        NGX_HTTP_LIF_CONF  => 'if in location',
    );

    while ($table =~ /ngx_string\("(\w+)"\),\s*([A-Z0-9_|\s]+),/g) {
        my ($name, $flags) = ($1, $2);

        $flags =~ s/NGX_HTTP_SOCKETIO_SETTING/$setting/;

        my @contexts = map { $context{$_} }
                       grep { $flags =~ /\b$_\b/ }
                       qw(NGX_HTTP_MAIN_CONF NGX_HTTP_SRV_CONF
                          NGX_HTTP_LOC_CONF NGX_HTTP_LIF_CONF);

        $directive{$name} = { contexts => join(', ', @contexts),
                              flags => $flags };
    }

    return \%directive;
}


# The defaults of merge_loc_conf() that are numbers.

sub default_of {
    my ($name) = @_;

    my $text = source('ngx_http_socketio_module.c');

    my $member = $name =~ s/^socketio_?//r;
    my ($value) = $text =~ /ngx_conf_merge_(?:msec|uint|size)?_?value\(
                            conf->$member,\s*prev->$member,\s*([^;]+)\);/x;

    return undef if !defined $value || $value !~ /^[\d\s*]+$/;

    my $product = 1;
    $product *= $_ for $value =~ /\d+/g;

    return $product;
}


my %unit = (s => 1000, k => 1024, m => 1024 * 1024);

my $directives = declared();


subtest 'every directive' => sub {
    my %documented;

    while ($readme =~ /^### (socketio\w*)$/mg) {
        $documented{$1} = 1;
    }

    is_deeply([ sort keys %documented ], [ sort keys %$directives ],
              'all of them, and no others');

    for my $name (sort keys %documented) {
        my $text = $section{$name};

        my ($syntax) = $text =~ /^- Syntax: `$name\b(.*);`$/m;
        my ($default) = $text =~ /^- Default: (?:`$name (.*);`|—)$/m;
        my ($context) = $text =~ /^- Context: (.*)$/m;

        ok(defined $syntax, "$name: syntax");
        ok($text =~ /^- Default: /m, "$name: default");
        is($context, $directives->{$name}{contexts}, "$name: context");

        my $flags = $directives->{$name}{flags};

        is($syntax =~ /\.\.\./ ? 1 : 0, $flags =~ /1MORE/ ? 1 : 0,
           "$name: one or more parameters");

        if ($flags =~ /CONF_FLAG/) {
            is($syntax, ' on | off', "$name: on or off");
        }

        if (defined $default) {
            is(tried("$name $default;"), '',
               "$name: the default can be written");
        }

        my $number = default_of($name);

        if (defined $number) {
            my $value = $default;

            $value = { on => 1, off => 0 }->{$value} if $flags =~ /FLAG/;
            $value = $1 * $unit{$2} if $value =~ /^(\d+)([skm])$/;

            is($value, $number, "$name: the default is $number");
        }

        ok(grep({ $_->{text} =~ /\b$name\b/ } blocks('nginx', $name)),
           "$name: an example");
    }
};


subtest 'defaults that are lists' => sub {
    my $conf = source('ngx_http_socketio_conf.c');

    my ($headers) = $conf =~ /conf_headers\[\] = \{(.*?)\};/s;
    my ($proxies) = $conf =~ /ngx_str_t  defaults\[\] = \{(.*?)\};/s;
    my ($root) = $conf =~ /conf_root = \{(.*?)\};/s;

    for my $case ([ webhook_pass_header => $headers ],
                  [ trusted_proxies => $proxies ], [ namespaces => $root ])
    {
        my ($name, $text) = @$case;
        my ($default) = $section{"socketio_$name"}
                        =~ /^- Default: `socketio_$name (.*);`$/m;

        is(lc $default, join(' ', $text =~ /ngx_string\("(.*?)"\)/g), $name);
    }
};


subtest 'every variable' => sub {
    my @declared = source('ngx_http_socketio_variables.c')
                   =~ /ngx_string\("(socketio_\w+)"\)/g;

    my @documented = map { $_->[0] =~ /^`\$(\w+)`$/ ? $1 : () }
                     rows('Variables', 3);

    is_deeply([ sort @documented ], [ sort @declared ],
              'all of them, and no others');
};


# All strings of the source: adjacent ones joined, what is printed into them as
# an ellipsis; those of log lines with their level.

sub strings {
    my ($text) = @_;

    my (@strings, @lines);

    $text =~ s{/\*.*?\*/}{}gs;

    my $literal = qr/"(?:[^"\\\n]|\\.)*"/;

    while ($text =~ /\G.*?($literal(?:\s*$literal)*)/gs) {
        push @strings, plain($1);
    }

    while ($text =~ /ngx_log_error\((?:NGX_LOG_)?(\w+),[^"]*?
                     ($literal(?:\s*$literal)*)/gx)
    {
        push @lines, [ $1, plain($2) ];
    }

    return \@strings, \@lines;
}


sub plain {
    my ($text) = @_;

    $text = join '', $text =~ /"((?:[^"\\\n]|\\.)*)"/g;
    $text =~ s/\\(.)/$1/g;
    $text =~ s/%\*?\d*[uxX]?[VvsizLDdMPOTlpc]/…/g;

    return $text;
}


subtest 'every line of the log that is quoted' => sub {
    my ($strings, $lines) =
        strings(join '', source('*.c'), source('*/*.c'));

    my %level = (notice => 'NOTICE', info => 'INFO', warn => 'WARN',
                 error => 'ERR', alert => 'ALERT');

    my $level = '';
    my $found = 0;

    for my $row (rows('Troubleshooting', 3)) {
        my ($name, $line) = @$row;

        next if !defined $line || $line !~ /^`(.*)`$/;
        next if $name ne '' && !$level{$name};

        $line = $1;
        $found++;

        if ($name eq '') {
            ok(grep({ $_ eq $line } @$strings), $line);
            next;
        }

        my @levels = map { $_->[0] } grep { index($_->[1], $line) >= 0 }
                     @$lines;

        # A variable is one of two, of which the first is quoted.
        ok(grep({ $_ eq $level{$name} || $_ eq 'level' } @levels),
           "$name: $line")
            or diag(@levels ? "its level is @levels" : 'there is no such line');
    }

    cmp_ok($found, '>', 30, 'there are some');
};


# What an operator is to see.  Mistakes in the configuration explain themselves,
# and say where they are; nginx's own words need no explanation.

subtest 'every line of the log that matters' => sub {
    my (undef, $lines) = strings(join '', source('*.c'), source('*/*.c'));

    my @quoted = map { defined && /^`(.*?)`/ ? $1 : () }
                 map { $_->[1] } rows('Troubleshooting', 3);

    for my $case (@$lines) {
        my ($level, $line) = @$case;

        next if $level !~ /^(?:NOTICE|WARN|ERR|CRIT)$/
                || $line =~ / in …:…$/ || $line =~ /^ failed: /;

        ok(grep({ index($line, $_) >= 0 } @quoted), $line);
    }
};


subtest 'what clients are told' => sub {
    my $text = source('ngx_http_socketio_answer.c');
    my ($table) = $text =~ /answer_messages\[\] = \{(.*?)\};/s;

    my @messages = $table =~ /ngx_string\("(.*?)"\)/g;
    my %documented = map { $_->[0] =~ /"code":(\d),"message":"(.*?)"/
                           ? ($1 => $2) : () } rows('Troubleshooting', 2);

    is_deeply(\%documented, { map { $_ => $messages[$_] } 0 .. $#messages },
              'the errors of Engine.IO');
};


subtest 'reasons of a disconnect' => sub {
    my ($table) = source('core/ngx_sio_session.c')
                  =~ /ngx_sio_reasons\[\w+\] = \{(.*?)\};/s;

    my @declared = $table =~ /ngx_string\("(.*?)"\)/g;
    my @documented = map { $_->[0] =~ /^`([a-z ]+)`$/ ? $1 : () }
                     grep { $_->[0] =~ / / } rows('Webhooks', 2);

    is_deeply([ sort @documented ], [ sort @declared ],
              'all of them, and no others');
};


subtest 'errors of the API' => sub {
    my %status = (
        BAD_REQUEST => 400, UNAUTHORIZED => 401, FORBIDDEN => 403,
        NOT_FOUND => 404, NOT_ALLOWED => 405, SOCKETIO_GONE => 410,
        REQUEST_ENTITY_TOO_LARGE => 413, INTERNAL_SERVER_ERROR => 500,
        SERVICE_UNAVAILABLE => 503, GATEWAY_TIME_OUT => 504,
    );

    my %declared;
    my $text = source('ngx_http_socketio_api*.c');

    while ($text =~ /api_fail\([^,]+,\s*NGX_HTTP_(\w+),\s*"(\w+)"/g) {
        $declared{$2} = $status{$1} // $1;
    }

    my %documented = map { $_->[0] =~ /^`([a-z_]+)`$/ ? ($1 => $_->[1]) : () }
                     rows('Errors', 3);

    is_deeply(\%documented, \%declared, 'all of them, with their status');
};


subtest 'calls of the API' => sub {
    my ($table) = source('ngx_http_socketio_api_call.c')
                  =~ /api_ops\[\] = \{(.*?)^\};/ms;
    my %declared = map { $_ => 1 } $table =~ /ngx_string\("([a-z]+)"\)/g;
    my %documented;

    for my $row (rows('HTTP API', 2)) {
        $documented{$_} = 1 for $row->[0] =~ m{`\w+ \.\.\./(\w+)}g;
    }

    is_deeply(\%documented, \%declared, 'all of them, and no others');
};


# The pages are asked what they have.  A metric is [JSON, labels] by its name.

subtest 'the status page' => sub {
    my ($locations) = map { $_->{text} } blocks('nginx', 'Status page');

    # a queue is shown, too, when nobody answers there
    my $nginx = SIO::Nginx->new(
        http   => 'socketio_message_queue redis://127.0.0.1:'
                  . free_port() . ';',
        server => <<"EOS")->start;
        location /socket.io/ { socketio; }
$locations
EOS
    my $client = SIO::Client->connect(port => $nginx->port);
    my $http = SIO::HTTP->new(port => $nginx->port);
    my $status = $http->get('/status')->json;

    my (%documented, %printed, %labels, %paths);

    for my $row (grep { @$_ == 4 } rows('Status page', 4)) {
        my ($path, $name, $labels) = map { s/`//gr } @$row;

        $documented{$name} = [ $path, split /, /, $labels ]
            if $name =~ /^socketio_/;
    }

    for my $line (split /\n/, $http->get('/metrics')->{body}) {
        if ($line =~ /^# TYPE (\w+)/) {
            $printed{$1} = 1;

        } elsif ($line =~ /^(\w+?)(?:_bucket|_sum|_count)?\{(.*)\} [\d.]+$/) {
            my ($name, $labels) = ($1, $2);

            $labels{$name} = [ grep { !/^(?:zone|le)$/ }
                               $labels =~ /(\w+)="/g ];
        }
    }

    is_deeply([ sort keys %documented ], [ sort keys %printed ],
              'all metrics, and no others');

    for my $name (sort keys %documented) {
        my ($path, @labels) = @{ $documented{$name} };

        is_deeply(\@labels, $labels{$name}, "$name: labels");

        my $value = $status;

        $value = $value->{$_} for split /\./, $path;
        $paths{$path} = 1;

        # down to a number, or a histogram
        for (@labels) {
            $value = ref $value ? (values %$value)[0] : undef;
        }

        ok(defined $value && (!ref $value || $value->{buckets}),
           "$name: $path");
    }

    my @paths = map { my $group = $_;
                      ref $status->{$group}
                          ? map { "$group.$_" } keys %{ $status->{$group} }
                          : $group }
                grep { $_ ne 'zone' } keys %$status;

    is_deeply([ sort keys %paths ], [ sort @paths ],
              'all members of the JSON, and no others');

    my @reasons = map { $_->[0] =~ /^`(\w+)`$/ ? $1 : () }
                  grep { @$_ == 2 } rows('Status page', 4);

    is_deeply([ sort @reasons ],
              [ sort keys %{ $status->{requests}{refused} } ],
              'all reasons of a refusal');

    my ($sh) = map { $_->{text} } blocks('sh', 'Status page');
    my ($command, $answer) = $sh =~ /^(curl .*)\n# (.*), \.\.\.$/;

    my $shape = sub { return $_[0] =~ s/\d+/0/gr };
    my $begin = $shape->($answer);

    like($shape->($http->get('/status')->{body}), qr/^\Q$begin\E/,
         'what curl says');

    $nginx->stop;
};


subtest 'Prometheus' => sub {
    my $promtool = program('promtool') // build_dir() . '/promtool';
    my ($config, $rules) = map { $_->{text} } blocks('yaml', 'Status page');
    my $dir = temp_dir();

    write_file("$dir/prometheus.yml", $config);
    write_file("$dir/socketio.rules.yml", $rules);

    my $r = SIO::Proc->run([ $promtool, 'check', 'config',
                             "$dir/prometheus.yml" ]);

    is($r->{status}, 0, 'takes the configuration and its rules')
        or diag("$r->{out}$r->{err}");
    like($r->{out}, qr/3 rules found/, 'all of them');

    my %metrics = map { $_ => 1 } $rules =~ /\b(socketio_\w+)/g;

    for my $name (sort keys %metrics) {
        my $bare = $name =~ s/_bucket$//r;

        ok(grep({ $_->[1] eq "`$bare`" } grep { @$_ > 1 }
                rows('Status page', 4)), $name);
    }
};


# The vector of Standard Webhooks, with its clock.

my %vector = (
    secret    => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    id        => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp => '1614265330',
    body      => '{"test": 2432232314}',
    signature => 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
);

my @forgeries = (
    [ 1, 'the vector' ],
    [ 1, 'among others', signature => "v1,AAAA $vector{signature} v1,BBBB" ],
    [ 0, 'another body', body => '{"test": 2432232315}' ],
    [ 0, 'another id', id => 'msg_p5jXN8AQM9LWM0D4loKWxJel' ],
    [ 0, 'another secret',
      secret => 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX' ],
    [ 0, 'no signature', signature => undef ],
    [ 0, 'nothing', id => undef, timestamp => undef, signature => undef ],
    [ 0, 'a signature that is no text', signature => "v1,\xff" ],
    [ 0, 'too old', now => 1614265330 + 301 ],
    [ 0, 'from the future', now => 1614265330 - 301 ],
    [ 0, 'another time', timestamp => '1614265331' ],
    [ 0, 'no time', timestamp => 'now' ],
);


sub verified {
    my ($command, $names) = @_;

    for my $case (@forgeries) {
        my ($expected, $name, %changed) = @$case;
        my %v = (now => $vector{timestamp}, %vector, %changed);
        my %headers;

        for my $header (qw(id timestamp signature)) {
            $headers{$names->{$header}} = $v{$header} if defined $v{$header};
        }

        my $input = { headers => \%headers, now => $v{now} + 0,
                      map { $_ => $v{$_} } qw(secret body) };

        my $r = SIO::Proc->run($command,
                               stdin => JSON::PP->new->ascii->encode($input));

        is($r->{out}, $expected, $name) or diag($r->{err});
    }
}


my ($python) = map { $_->{text} } blocks('python', 'Signatures');
my ($php) = map { $_->{text} } blocks('php', 'Signatures');

my $dir = temp_dir();


subtest 'verify() in Python' => sub {
    write_file("$dir/verify.py", $python);
    write_file("$dir/main.py", <<'EOS');
import json
import sys
from verify import verify

v = json.load(sys.stdin)
print(int(verify(v["secret"], v["headers"], v["body"].encode(), v["now"])),
      end="")
EOS

    verified([ 'python3', '-B', "$dir/main.py" ],
             { map { $_ => "webhook-$_" } qw(id timestamp signature) });
};


subtest 'verify() in PHP' => sub {
    write_file("$dir/verify.php", "<?php\n$php" . <<'EOS');
$v = json_decode(file_get_contents('php://stdin'), true);
echo (int) verify($v['secret'], $v['headers'], $v['body'], $v['now']);
EOS

    verified([ 'php', "$dir/verify.php" ],
             { map { $_ => 'HTTP_WEBHOOK_' . uc } qw(id timestamp signature) });
};


subtest 'verify() in JavaScript' => sub {
    my ($js) = map { $_->{text} } blocks('js', 'Signatures');

    write_file("$dir/verify.js", $js . <<'EOS');
const v = JSON.parse(require("node:fs").readFileSync(0));
process.stdout.write(
  String(+verify(v.secret, v.headers, Buffer.from(v.body), v.now)));
EOS

    verified([ 'node', "$dir/verify.js" ],
             { map { $_ => "webhook-$_" } qw(id timestamp signature) });
};


# The location of the documentation that clients use, with a backend of ours.

sub served {
    my ($backend, %option) = @_;

    return SIO::Nginx->new(
        workers => 2,
        http    => "upstream app { server @{[ $backend->address ]};"
                   . ' keepalive 4; }',
        server  => <<'EOS',
        location /socket.io/ {
            socketio;
            socketio_webhook    /_socketio;
            socketio_namespaces / /chat;
        }

        location = /_socketio {
            internal;
            proxy_pass          http://app/socketio;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /_api/ {
            socketio_api;
            allow  127.0.0.1;
            deny   all;
        }

        location /push/ {
            socketio_api;
            socketio_api_key topsecret;
        }
EOS
        %option,
    )->start;
}


# The order of an object's own members in its text.

sub order {
    my ($text, $object) = @_;

    my %at = map { $_ => index $text, qq("$_":) } keys %$object;
    my @order = sort { $at{$a} <=> $at{$b} } keys %at;

    return "@order";
}


sub same_shape {
    my ($block, $body) = @_;

    my ($documented, $real) = map { $json->decode($_) } $block->{text}, $body;
    my $type = $documented->{type};

    is(order($body, $real), order($block->{text}, $documented),
       "line $block->{line}, $type: the same members");

    # what is never the same twice, as long as both look alike
    for my $name (qw(id sid ack)) {
        next if !defined $real->{$name};

        my ($is, $was) = map { $_->{$name} =~ s/[\w-]{20,}/~/gr }
                         $real, $documented;

        is($is, $was, "$type: the form of $name");
        $real->{$name} = $documented->{$name};
    }

    $real->{request}{ip} = '203.0.113.9' if $real->{request};

    is_deeply($real, $documented, "$type: the same values");
}


subtest 'webhooks' => sub {
    my @documented = grep { $_->{text} =~ /"type":/ }
                     blocks('json', 'Webhooks');

    my $backend = SIO::Backend->new->start;
    my $nginx = served($backend);

    $backend->on({ type => 'connect' },
                 { json => { user => 'u-17', state => { lang => 'fr' } } });
    $backend->on({ event => 'upload' },
                 { json => { emit => [{ event => 'ask', args => [],
                                        ack => 'my-token' }] } });

    # as written: the text of state is kept
    $backend->on({ type => 'connect' },
                 { body => '{"user":"u-17","state":{"lang": "fr"}}' });

    my $client = SIO::Client->connect(
        port    => $nginx->port,
        nsp     => '/chat',
        auth    => { token => 't' },
        headers => [ 'Cookie' => 'session=abc',
                     'User-Agent' => 'Mozilla/5.0' ],
    );

    $client->emit_to('/chat', 0, 'say', 'hello', { n => 1 });
    $client->emit_to('/chat', undef, 'upload', 'a.png',
                     \"\x89PNG\r\n\x1a\n");

    my $ask = $client->wait_for(sub { ($_[0]{text} // '') =~ /"ask"/ });

    $client->ack($ask, 'pong');

    $backend->wait(1, 5, type => 'ack');
    $client->eio->{ws}->drop;

    my @real = $backend->wait(5, 5);

    is(@real, 5, 'five webhooks');

    for my $block (@documented) {
        my $type = $json->decode($block->{text})->{type};
        my ($seq) = $block->{text} =~ /"seq": (\d+)/;
        my ($found) = grep { $_->{json}{seq} == $seq } @real;

        $found ? same_shape($block, $found->{body})
               : fail("line $block->{line}, $type: is sent");
    }

    is(@documented, 5, 'all of them are documented');
    ok(!grep({ !$_->{headers}{'webhook-id'}
               || !$_->{headers}{'webhook-timestamp'} } @real), 'headers');

    $nginx->stop;
};


subtest 'replies' => sub {
    my ($block) = grep { $_->{text} =~ /"join":/ } blocks('json', 'Replies');

    my $backend = SIO::Backend->new->start;
    my $nginx = served($backend);

    my $client = SIO::Client->connect(port => $nginx->port);
    my $other = SIO::Client->connect(port => $nginx->port);

    $backend->on({ event => 'go' }, { body => $block->{text} });

    is_deeply($client->call('go'), [{ ok => JSON::PP::true }], 'ack');
    is_deeply($client->event('welcome'), [ 'welcome', 'hi' ], 'emit');
    is_deeply($other->event('stats'), [ 'stats', 12 ], 'broadcast');

    my $ask = $client->wait_for(sub { ($_[0]{text} // '') =~ /"ask"/ });

    $client->ack($ask);
    ok(scalar $backend->wait(1, 5, token => 'my-token', user => 'u-17'),
       'ack of an emit, with user');

    my ($ack) = $backend->requests(type => 'ack');

    is_deeply($ack->{json}{state}, { lang => 'fr' }, 'state');

    my $thumb = $client->wait_for(sub { ($_[0]{text} // '') =~ /"thumb"/ });

    ok($thumb && @{ $thumb->{attachments} } == 1, 'attachments, and join');
    unlike($nginx->log, qr/of a reply/, 'nothing was left out');

    # every member is explained, and nothing else
    my ($members) = source('ngx_http_socketio_backend_reply.c')
                    =~ /reply_names\[\] = \{(.*?)\};/s;
    my ($emit) = source('ngx_http_socketio_parse.c')
                 =~ /emit_names\[\w+\] = \{(.*?)\};/s;
    my %explained;

    for my $row (rows('Replies', 2)) {
        $explained{$_} = 1 for $row->[0] =~ /`(\w+)`/g;
    }

    for my $name ($members =~ /ngx_string\("(\w+)"\)/g) {
        # parts of an error
        next if $name eq 'message' || $name eq 'data';

        ok($explained{$name}, $name);
    }

    ok($explained{$_}, "$_ of an event")
        for $emit =~ /ngx_string\("(\w+)"\)/g;

    $nginx->stop;
};


# Two clients of the documentation.

my @documented_sid = qw(755BYtaW2eJn_1xs0yWe Lb4x9RkRyVO1YHDGzX2o);


# Three clients, two of them in room 42.

sub scene {
    my ($nginx, $old) = @_;

    my $http = SIO::HTTP->new(port => $nginx->port);

    my $matched = sub {
        my ($call, $body) = @_;
        return $http->post("/_api/$call", $json->encode($body))
               ->json->{matched};
    };

    $_->eio->{ws}->drop for @$old;

    wait_until(5, sub { $matched->('emit', { event => 'x' }) == 0 })
        or die 'clients do not leave';

    my @new = map { SIO::Client->connect(port => $nginx->port) } 1 .. 3;

    $matched->('join', { in => [ map { $_->sid } @new[0, 1] ],
                         rooms => '42' }) == 2
        or die 'cannot join';

    return \@new;
}


# The command with a client's sid for the one that it shows; what it says, with
# as much in common with what is documented as there can be.  Clients answer
# what they are asked.

sub played {
    my ($command, $clients) = @_;

    my ($ann, $bob) = map { $_->sid } @$clients;

    $command =~ s/$documented_sid[0]/$ann/g;

    my $p = SIO::Proc->spawn([ 'sh', '-c', $command ]);

    wait_until(30, sub {
        my $running = $p->running;

        for my $c (@$clients) {
            while (my $packet = eval { $c->packet(0) }) {
                $c->ack($packet, 'pong') if defined $packet->{id};
            }
        }

        return !$running;
    });

    return (shown($p->read_all(5) // '(nothing)', $ann, $bob), $p->stderr);
}


sub shown {
    my ($out, @sids) = @_;

    $out =~ s/$_/~/g for @sids;
    $out =~ s/"connected_at":\d{10}\b/"connected_at":0/g;

    return $out;
}


subtest 'the API' => sub {
    my $backend = SIO::Backend->new->start;
    my $nginx = served($backend);
    my $clients = [];
    my $calls = 0;

    $backend->on({ type => 'connect' }, { json => { user => 'u-17' } });

    for my $block (blocks('sh', 'HTTP API')) {
        my $before = $calls;

        while ($block->{text} =~ /^(curl .*?)\n# ([^\n]*)$/msg) {
            my ($command, $expected) = ($1, $2);

            $calls++;
            $clients = scene($nginx, $clients);
            $command =~ s/localhost:8080/"127.0.0.1:" . $nginx->port/e;
            $command =~ s/^curl/curl -s -m 20/;

            # its acknowledgement is that of the documented token
            $backend->clear;
            $clients->[0]->emit_to('/', 0, 'do it');
            $backend->wait(1, 5, event => 'do it');

            my ($out, $err) = played($command, $clients);

            is($out, shown($expected, @documented_sid),
               "line $block->{line}: $expected") or diag("$command\n$err");
        }

        is($calls - $before, scalar(() = $block->{text} =~ /^curl /mg),
           "line $block->{line}: every call has its answer");
    }

    cmp_ok($calls, '>', 20, 'there are some');
    $nginx->stop;
};


# An official client, driven by t/client/client.js.

sub browser {
    my ($nginx, $auth) = @_;

    my $p = SIO::Proc->node('client.js', 4, 'http://127.0.0.1:' . $nginx->port,
                            $json->encode({ auth => $auth // {} }));

    return $p;
}


sub connected {
    my ($nginx, $auth) = @_;

    my $p = browser($nginx, $auth);

    $p->json_with('connect', 20);

    return $p;
}


# Whether a server has begun to, whatever it answers.

sub answers {
    my ($p, $port) = @_;

    wait_until(20, sub {
        return !$p->running
               || eval { SIO::HTTP->new(port => $port)->get('/') };
    });

    return $p->running;
}


sub gunicorn {
    my ($dir, %env) = @_;

    my ($command) = $section{Synopsis} =~ /`(gunicorn [^`]*)`/;
    my $port = free_port();

    $command =~ s/127\.0\.0\.1:5000/127.0.0.1:$port/;

    my $p = SIO::Proc->spawn([ split / /, $command ], cwd => $dir,
                             name => 'gunicorn',
                             env => { PYTHONDONTWRITEBYTECODE => 1, %env });

    ok(answers($p, $port), 'gunicorn runs') or diag($p->stderr);

    return ($p, $port);
}


subtest 'the synopsis' => sub {
    my $dir = temp_dir();
    my ($config) = map { $_->{text} } blocks('nginx', 'Synopsis');
    my ($app) = map { $_->{text} } blocks('python', 'Synopsis');

    write_file("$dir/app.py", $app);

    my ($gunicorn, $port) = gunicorn($dir);

    $config =~ s/127\.0\.0\.1:5000/127.0.0.1:$port/;

    my $nginx = SIO::Nginx->new(workers => 2, config => adapt($config))->start;
    my $page = connected($nginx);

    my ($js) = map { $_->{text} } blocks('js', 'Synopsis');

    $js =~ s/localhost:8080/"127.0.0.1:" . $nginx->port/e;
    write_file("$dir/client.js",
               "const { io } = require('socket.io-client');\n$js");

    my $client = SIO::Proc->spawn(
        [ 'node', "$dir/client.js" ],
        env => { NODE_PATH => build_dir() . '/node/node_modules' });

    is_deeply([ sort map { $client->line(20) // '' } 1, 2 ],
              [ 'hello', 'ok' ], 'the client says something');
    is_deeply($page->json_with('event')->{event}, [ 'said', 'hello' ],
              'another one hears it');
    $client->kill;

    ok(wait_until(5, sub {
        SIO::HTTP->new(port => $nginx->port)
            ->post('/_api/join', '{"in":[],"rooms":["x"]}')
            ->json->{matched} == 1;
    }), 'it has left');

    my ($sh) = map { $_->{text} } blocks('sh', 'Synopsis');

    $sh =~ s/localhost:8080/"127.0.0.1:" . $nginx->port/e;
    $sh =~ s/^curl/curl -s -m 20/;

    is(SIO::Proc->run([ 'sh', '-c', $sh ])->{out}, '{"matched":1}', 'curl');
    is_deeply($page->json_with('event')->{event}, [ 'said', 'from a shell' ],
              'is heard');

    $page->send({ quit => 1 });
    $nginx->stop;
};


sub behind {
    my ($port, $secret) = @_;

    return SIO::Nginx->new(workers => 2, server => <<"EOS")->start;
        location /socket.io/ {
            socketio;
            socketio_namespaces / /bare;
            socketio_webhook /_socketio;
            @{[ $secret ? "socketio_webhook_secret $secret;" : '' ]}
        }

        location = /_socketio {
            internal;
            proxy_pass http://127.0.0.1:$port/socketio;
        }

        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location /push/ { socketio_api; socketio_api_key k; }
EOS
}


# The rest of what examples/nginx_socketio.py has the names of.

my $names = <<'EOS';


@socketio.on("connect", namespace="/bare")
def bare():
    return request.headers.get("authorization") == "yes"


@socketio.event
def ask(token):
    emit("answer me", b"\0\xff", [token], callback=answered)


@socketio.callback
def answered(*args):
    emit("answered", *args)


@socketio.on("bytes")
def octets(value):
    return {"type": type(value["in"][0]).__name__, "back": value["in"][0]}, 7


@socketio.on("message")
def message(data):
    emit("where", request.namespace, broadcast=True, skip_sid=request.sid)
    disconnect()
EOS


subtest 'coming from Flask-SocketIO' => sub {
    my $dir = temp_dir();
    my ($app) = map { $_->{text} }
                blocks('python', 'Coming from Flask-SocketIO');

    $app =~ s/^from nginx_socketio import \K/disconnect, /m;
    write_file("$dir/app.py", $app . $names);
    write_file("$dir/nginx_socketio.py",
               read_file(root() . '/examples/nginx_socketio.py'));

    my ($gunicorn, $port) = gunicorn($dir, SOCKETIO_SECRET => $vector{secret});

    my $nginx = behind($port, $vector{secret});

    is(browser($nginx)->json_with('connect_error', 20)->{connect_error},
       'who are you?', 'refused');

    my $ann = connected($nginx, { token => '42' });
    my $bob = connected($nginx, { token => '42' });

    my $hello = $ann->json_with('event')->{event};

    is($hello->[0], 'hello', 'emit to the caller');
    is(length $hello->[1], 20, 'request.sid');
    $bob->json_with('event');

    for my $n (1, 2) {
        $ann->send({ call => [ 'say', "hi $n" ] });
        is_deeply($ann->json_with('answer')->{answer}, ['ok'],
                  'a return value');
        is_deeply($bob->json_with('event')->{event}, [ 'said', "hi $n", $n ],
                  'a room, without the caller; state');
    }

    $bob->send({ call => [ 'move', 'garden' ] });
    is_deeply($bob->json_with('answer')->{answer}, [], 'nothing returned');

    my ($api, $push) = map { 'http://127.0.0.1:' . $nginx->port . "/$_/" }
                       qw(_api push);

    is(SIO::Proc->run([ 'python3', '-c', <<"EOS" ], cwd => $dir)->{out},
from nginx_socketio import socketio
socketio.api = "$api"
print(socketio.emit("tick", 1, to="garden"),
      socketio.emit("tick", 1, to=["garden", "lobby"]), socketio.emit("tick"))
socketio.api, socketio.key = "$push", "k"
print(socketio.emit("tick", to="nobody"))
EOS
       "1 2 2\n0\n", 'join_room, leave_room; outside of handlers');

    $bob->json_with('event') for 1 .. 3;
    $ann->json_with('event') for 1 .. 2;

    my $carl = connected($nginx, { token => '42' });

    $ann->send({ disconnect => 1 });
    is_deeply($carl->json_with('event')->{event}[0], 'hello', 'Carl');
    is_deeply($carl->json_with('event')->{event}, [ 'left', $hello->[1] ],
              'disconnect');

    my $r = SIO::HTTP->new(port => $port)->post('/socketio',
        '{"type":"connect","sid":"x","namespace":"/","auth":{"token":"42"}}',
        'Content-Type' => 'application/json');

    is($r->{status}, 401, 'a forgery');

    names($nginx, $bob);

    $_->send({ quit => 1 }) for $ann, $bob, $carl;
    $nginx->stop;
};


sub names {
    my ($nginx, $other) = @_;

    my %headers = (yes => [ Authorization => 'yes' ], no => []);

    for my $case ([ yes => 0 ], [ no => 4 ]) {
        my ($answer, $type) = @$case;

        my $c = SIO::Client->new(port => $nginx->port,
                                 headers => $headers{$answer});

        is($c->join('/bare')->{type}, $type,
           "a handler without arguments says $answer");
        $c->disconnect;
    }

    my $c = SIO::Client->connect(port => $nginx->port,
                                 auth => { token => '42' });

    $c->emit_to('/', 0, 'ask', 'me');

    my $packet = $c->wait_for(sub { defined $_[0]{id} && $_[0]{type} == 5 });

    is_deeply([ $packet->{data}[2], @{ $packet->{attachments} } ],
              [ ['me'], "\0\xff" ], 'octets to a client, a decorated event');
    $c->ack($packet, 'pong', 1);
    is_deeply($c->event('answered'), [ 'answered', 'pong', 1 ], 'callback');

    $c->emit_to('/', 1, 'bytes', { in => [ \"\x01\xfe" ] });
    $packet = $c->wait_for(sub { $_[0]{type} == 6 });
    is_deeply([ $packet->{data}[0]{type}, $packet->{data}[1],
                @{ $packet->{attachments} } ],
              [ 'bytes', 7, "\x01\xfe" ], 'octets from a client, and back');

    $c->emit_to('/', undef, 'message', 'bye');
    is_deeply($other->json_with('event')->{event}, [ 'where', '/' ],
              'broadcast, skip_sid, request.namespace');
    ok($c->wait_for(sub { $_[0]{type} == 1 }), 'disconnect()');
}


subtest 'coming from Node' => sub {
    my ($app) = map { $_->{text} } blocks('js', 'Coming from Node');
    my $port = free_port();
    my $dir = temp_dir();

    $app =~ s/listen\(5000/listen($port/ or fail('port 5000');
    write_file("$dir/app.js", $app);

    my $node = SIO::Proc->spawn([ 'node', "$dir/app.js" ]);

    wait_until(20, sub {
        return !$node->running
               || eval { SIO::HTTP->new(port => $port)->post('/', '{}') };
    });

    my $nginx = behind($port);
    my $ann = connected($nginx);
    my $bob = connected($nginx);
    my $hello = $ann->json_with('event')->{event};

    is($hello->[0], 'hello', 'connect');
    $bob->json_with('event');

    $ann->send({ call => [ 'say', 'hi' ] });
    is_deeply($ann->json_with('answer')->{answer}, ['ok'], 'callback');
    is_deeply($bob->json_with('event')->{event}, [ 'said', 'hi' ], 'room');

    # an event that is no handler, although every object has it
    $ann->send({ emit => [ 'toString', 1 ] });
    $ann->send({ disconnect => 1 });
    is_deeply($bob->json_with('event')->{event},
              [ 'left', $hello->[1], 'client namespace disconnect' ], 'left');

    ok($node->running, 'still there') or diag($node->stderr);

    $_->send({ quit => 1 }) for $ann, $bob;
    $nginx->stop;
};


subtest 'the size of a zone' => sub {
    my @rows = grep { $_->[0] =~ /^\d+[km]$/ }
               rows('Memory and the size of a zone', 3);

    cmp_ok(scalar @rows, '>', 3, 'a table');

    for my $row (@rows) {
        my ($zone, $payload) = @$row;

        my ($ok, $said) = map { $nginx->check(config => wrap('http', <<"EOS")) }
            socketio_zone z $zone;
            server {
                listen 127.0.0.1:%%PORT%%;
                client_max_body_size 0;
                location / {
                    socketio zone=z;
                    socketio_max_payload 1000m;
                }
            }
EOS
            1;

        like($said, qr/which carries $payload,/, "$zone carries $payload");
    }
};


# A zone's journal, filled by clients.

subtest 'how many clients a zone remembers' => sub {
    my ($row) = grep { $_->[0] eq '512k' }
                rows('Memory and the size of a zone', 3);

    my $blocks = $row->[2];

    my @browser = (
        'User-Agent' => 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)'
                        . ' AppleWebKit/537.36 (KHTML, like Gecko)'
                        . ' Chrome/131.0.0.0 Safari/537.36',
        'Accept-Language' => 'en-US,en;q=0.9,de;q=0.8',
        'Origin' => 'http://127.0.0.1',
    );

    my $cookie = 'session=' . 'x' x 192;

    for my $case (
        [ 2, 'without cookies' ],
        [ 3, 'with one', Cookie => $cookie ],
    ) {
        my ($each, $name, @cookie) = @$case;

        my $backend = SIO::Backend->new->start;
        my $nginx = SIO::Nginx->new(http => <<"EOS", server => <<'EOS')->start;
        upstream app { server @{[ $backend->address ]}; keepalive 4; }
        socketio_zone small 512k;
EOS
        location /socket.io/ {
            socketio zone=small;
            socketio_max_payload 16k;
            socketio_webhook /_socketio;
            socketio_cors_allowed_origins *;
        }

        location = /_socketio {
            internal;
            proxy_pass          http://app/socketio;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }
EOS
        my @clients;

        while (@clients < $blocks) {
            push @clients, eval {
                SIO::Client->connect(port => $nginx->port,
                                     headers => [ @browser, @cookie ]);
            } // last;
        }

        is(@clients, int $blocks / $each, "$name: $each blocks each");
        like($nginx->log, qr/is too small to remember one more client/,
             'and the log says so');

        $nginx->stop;
    }
};


subtest 'nginx.conf.example' => sub {
    my $text = read_file(root() . '/nginx.conf.example');
    my $prefix = $nginx->prefix;
    my $log = "$prefix/error.log";

    # as written, where the module is after examples/build
    mkdir "$prefix/.build";
    symlink SIO::Nginx->module_path,
            "$prefix/.build/ngx_http_socketio_module.so" or die $!;

    my $switched_on = $text =~ s/^( *)#(?=[a-z}])/$1/gmr;

    for my $case ([ 'as written', $text ], [ 'all of it', $switched_on ]) {
        my ($name, $config) = @$case;

        # the rest of the machine is not ours
        $config =~ s{/var/log/nginx/}{$prefix/}g;
        write_file("$prefix/example.conf", $config);

        my $r = SIO::Proc->run(
            [ $nginx->command->[0], '-p', $prefix, '-c', 'example.conf', '-t',
              '-e', $log, '-g', "pid $prefix/nginx.pid;" ],
            env => $nginx->environment);

        is($r->{status}, 0, "nginx takes it, $name") or diag($r->{err});
        unlike($r->{err}, qr/\[warn\]/, 'without a warning');
    }

    isnt($switched_on, $text, 'some lines are switched off');

    for my $name (sort keys %$directives) {
        like($switched_on, qr/^ +$name\b/m, "$name is there");
    }

    # what is said to be a default is one
    while ($text =~ /^ +(socketio\w+) +([^;]+);\s*# default$/mg) {
        my ($name, $value) = ($1, $2);

        $value =~ s/\s+/ /g;

        like($section{$name}, qr/^- Default: `$name \Q$value\E;`$/m,
             "$name $value");
    }
};


# The same, made to run beside others.

subtest 'nginx.conf.example serves' => sub {
    my $backend = SIO::Backend->new->start;
    my $text = adapt(read_file(root() . '/nginx.conf.example'));

    $text =~ s/^worker_(?:processes|rlimit_nofile) .*\n//mg;
    $text =~ s/127\.0\.0\.1:5000/127.0.0.1:@{[ $backend->port ]}/;

    my $nginx = SIO::Nginx->new(workers => 2, config => $text)->start;

    $backend->on({ type => 'event' }, { json => { ack => '%args%' } });

    for my $transport (qw(websocket polling)) {
        my $client = SIO::Client->connect(
            port => $nginx->port, nsp => '/room-7', transport => $transport);

        $client->emit_to('/room-7', 0, 'say', 'hello');

        my $ack = $client->wait_for(sub { $_[0]{type} == 3 });

        is_deeply($ack->{data}, ['hello'], $transport);

        is_deeply(SIO::HTTP->new(port => $nginx->port)->post('/_api/emit',
                      '{"event":"news","namespace":"/room-7"}')->json,
                  { matched => 1 }, 'the API');
        is_deeply($client->event('news'), ['news'], 'reaches it');

        $client->disconnect;
        $backend->wait(1, 5, type => 'disconnect');
        $backend->clear;
    }

    my $r = SIO::HTTP->new(port => $nginx->port)->get(
        '/socket.io/?EIO=4&transport=polling', 'User-Agent' => 'A Scanner');

    is($r->{status} . $r->{body}, '403{"code":4,"message":"not for you"}',
       'refused');

    $nginx->stop;
};


is_deeply([glob $nginx->prefix . '/asan/log*'], [],
          'no report of a sanitizer');

done_testing;
