#!/usr/bin/perl

# Builds each program in t/unit with the sanitizers, runs it, and passes its
# TAP on, one test for each case.
#
#   NGX_SRC     the nginx source tree, default: Debian's nginx-dev
#   SIO_BUILD   where things are built, default: .build
#   CC          the compiler, default: cc

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Basename qw(basename dirname);
use File::Find ();
use File::Path qw(make_path);
use File::Spec;
use Test::More;

use constant TIMEOUT => 180;    # seconds for one program

my $root = File::Spec->rel2abs(dirname(__FILE__) . '/..');
my $ngx = $ENV{NGX_SRC} || '/usr/share/nginx/src';
my $build = ($ENV{SIO_BUILD} || "$root/.build") . '/unit';
my $cc = $ENV{CC} || 'cc';

my @flags = ('-g', '-O1', '-fno-omit-frame-pointer',
             '-fsanitize=address,undefined',
             '-fno-sanitize-recover=undefined',
             '-Wall', '-Wextra', '-Werror');

my @folders = qw(t/unit src src/base src/codec src/core src/hub src/queue);

make_path($build);
$build = File::Spec->rel2abs($build);

# Two runs of this test in one checkout must not write the same files.

open my $lock, '>', "$build/lock" or die "$build/lock: $!";
flock $lock, LOCK_EX or die "flock: $!";

my @includes = ((map { "-I$root/$_" } @folders), headers());
my $newest = newest();

for my $source (sort glob "$root/t/unit/*.c") {
    my $name = basename($source, '.c');

    run($name, $_) for program($name, $source);
}

done_testing;


# nginx's configure makes the header that all others depend on.  Of upstream's
# tree only the core is configured, which needs no libraries.

sub headers {
    my $objs = "$build/objs";
    my $log = "$build/configure.log";
    my $mark = "$build/configured";
    my $configure = -x "$ngx/configure" ? './configure' : './auto/configure';

    my $script = 'cd "$1" && flags=(--with-compat --with-threads'
                 . ' --without-http); if [ -f conf_flags ]; then'
                 . ' . ./conf_flags; flags=("${NGX_CONF_FLAGS[@]}"); fi;'
                 . ' "$2" "${flags[@]}" --builddir="$3" > "$4" 2>&1';

    if (read_file($mark) ne $ngx) {
        system('bash', '-c', $script, 'configure', $ngx, $configure, $objs,
               $log);

        if ($? || !-f "$objs/ngx_auto_config.h") {
            diag(read_file($log));
            BAIL_OUT("cannot configure $ngx");
        }

        write_file($mark, $ngx);
    }

    return map { ('-isystem', $_) } $objs,
               map { "$ngx/src/$_" } qw(core event event/modules event/quic
                                        os/unix);
}


# Compiles a program unless it is up to date; returns its path, or nothing.

sub program {
    my ($name, $source) = @_;

    my $text = read_file($source);
    my @link = map { "$root/$_" } map { split } $text =~ /\blink:([^*\n]*)/g;
    my @libs = map { split } $text =~ /\blibs:([^*\n]*)/g;
    my $out = "$build/$name";

    my @command = ($cc, @flags, @includes, $source, @link, @libs);

    if (-x $out && -M $out < $newest
        && read_file("$out.command") eq "@command")
    {
        return $out;
    }

    my ($status, $log) = capture(TIMEOUT, @command, '-o', "$out.new");

    if ($status) {
        fail("$name: compiles");
        diag($log);
        return;
    }

    rename "$out.new", $out or die "$out: $!";
    write_file("$out.command", "@command");

    return $out;
}


sub run {
    my ($name, $program) = @_;

    my ($status, $output) = capture(TIMEOUT, $program);
    my ($plan, $count, @notes) = (-1, 0);

    for my $line (split /\n/, $output) {

        if ($line =~ /^(not )?ok\b\s*\d*\s*-?\s*(.*)/) {
            my ($failed, $title) = ($1, $2);

            $count++;

            if ($title =~ s/\s*#\s*SKIP\b\s*(.*)//i) {
                SKIP: { skip("$name: $title: $1", 1) }

            } else {
                ok(!$failed, "$name: $title") or diag(join "\n", @notes);
            }

            @notes = ();

        } elsif ($line =~ /^1\.\.(\d+)/) {
            $plan = $1;

        } else {
            push @notes, $line;
        }
    }

    # 1 is a failed case, which has been counted already

    ok($status == 0 || ($status == 1 << 8 && $plan == $count),
       "$name: ends well")
        or diag("wait status $status\n", join "\n", @notes);

    is($count, $plan, "$name: runs as many tests as it planned");
}


# Runs a command in its own process group: (wait status, all of its output).

sub capture {
    my ($timeout, @command) = @_;

    my $pid = open my $pipe, '-|';
    die "fork: $!" unless defined $pid;

    if ($pid == 0) {
        setpgrp(0, 0);
        open STDERR, '>&', \*STDOUT;
        exec { $command[0] } @command or print "$command[0]: $!\n";
        exit 127;
    }

    my $output = '';

    eval {
        local $SIG{ALRM} = sub { die "timeout\n" };

        alarm $timeout;
        local $/;
        $output = <$pipe>;
        alarm 0;
    };

    if ($@) {
        kill 'KILL', -$pid;
        $output .= "no end after $timeout seconds\n";
    }

    close $pipe;

    return ($?, $output);
}


# Age in days, as -M has it, of the file that was changed last.

sub newest {
    my $age = -M __FILE__;

    File::Find::find(sub {
        if (/\.[ch]$/ && -M $_ < $age) {
            $age = -M _;
        }
    }, "$root/src", "$root/t/unit");

    return $age;
}


sub read_file {
    my ($path) = @_;

    open my $file, '<:raw', $path or return '';
    local $/;
    my $text = <$file>;

    return defined $text ? $text : '';
}


sub write_file {
    my ($path, $text) = @_;

    open my $file, '>:raw', $path or die "$path: $!";
    print $file $text;
    close $file or die "$path: $!";
}
