#!/usr/bin/perl

# The layers of src/ are folders, and includes point down:
#
#     src/  ->  core/  hub/  queue/  ->  base/  codec/
#
# Also: what codecs may know of nginx, who asks for its version, what stands at
# the top level, and which symbols the module exports.
#
#   SIO_BUILD   where things are built, default: .build

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Spec;
use Test::More;

my $root = File::Spec->rel2abs(dirname(__FILE__) . '/..');
my $build = $ENV{SIO_BUILD} || "$root/.build";

# who may include whose headers

my %below = (
    codec => [qw(codec base)],
    base  => [qw(base codec)],
    core  => [qw(core base codec)],
    hub   => [qw(hub base codec)],
    queue => [qw(queue base codec)],
    top   => [qw(top core hub queue base codec)],
);

# headers of nginx with connections, events and requests in them

my %forbidden = (
    codec => qr/^ngx_(?!config\.h$|core\.h$)/,
    map { $_ => qr/^ngx_(http|mail|stream)(?!_socketio)/ }
        qw(base core hub queue),
);

my @top = qw(LICENSE README.md config examples nginx.conf.example src t);

my %files = sources();
my %layer_of = map { basename($_) => $files{$_} } grep { /\.h$/ } keys %files;

includes();
versions();
top_level();
symbols();

done_testing;


# path below the root => layer

sub sources {
    my %found = map { $_ => 'top' } glob "$root/src/*.[ch]";

    for my $folder (map { basename($_) } grep { -d } glob "$root/src/*") {
        ok($below{$folder}, "src/$folder is a layer") or next;

        $found{$_} = $folder for glob "$root/src/$folder/*.[ch]";
    }

    return map { File::Spec->abs2rel($_, $root) => $found{$_} } keys %found;
}


sub includes {
    my %own;

    push @{ $own{ basename($_) } }, $_ for keys %files;

    is_deeply([grep { @{ $own{$_} } > 1 } sort keys %own], [],
              'no two files have the same name');

    for my $file (sort keys %files) {
        my $layer = $files{$file};
        my @wrong;

        for my $line (include_lines($file)) {
            my ($number, $kind, $path) = @$line;
            my $name = basename($path);
            my $target = $layer_of{$name};

            if (defined $target) {
                push @wrong, "line $number: $path is of $target"
                    unless grep { $_ eq $target } @{ $below{$layer} };

            } elsif ($kind eq '"') {
                push @wrong, "line $number: $path is not in src/";

            } elsif ($forbidden{$layer} && $name =~ $forbidden{$layer}) {
                push @wrong, "line $number: $path is not for $layer";
            }
        }

        ok(!@wrong, "$file includes what $layer may") or diag(@wrong);
    }
}


sub include_lines {
    my ($file) = @_;

    open my $in, '<', "$root/$file" or die "$file: $!";

    my @lines;

    while (my $line = <$in>) {
        push @lines, [$., $1, $2]
            if $line =~ /^\s*#\s*include\s*([<"])([^>"]+)/;
    }

    return @lines;
}


# A difference between releases has a name, which tells what it is about.

sub versions {
    my @asking = grep {
        open my $in, '<', "$root/$_" or die "$_: $!";
        grep { /\bnginx_version\b|\bNGINX_VERSION\b/ } <$in>;
    } sort keys %files;

    is_deeply(\@asking, ['src/base/ngx_sio_compat.h'],
              'one header knows of releases of nginx');
}


sub top_level {
  SKIP: {
        my $list = qx(git -C '$root' ls-files 2>/dev/null);

        skip('not a git checkout', 1) if $? || $list eq '';

        my %seen = map { (split m{/})[0] => 1 } split /\n/, $list;

        is_deeply([sort grep { !/^\./ } keys %seen], [sort @top],
                  'the top level holds what it should');
    }
}


# nginx loads modules with RTLD_GLOBAL: a foreign name would be shared with
# other modules.

sub symbols {
    my $so = $ENV{SIO_MODULE} || "$build/ngx_http_socketio_module.so";
    my $list = qx(nm -D --defined-only '$so');

    is($?, 0, 'nm reads the module, which examples/build makes');

    my @foreign = grep {
        !/^(?:ngx_sio_|ngx_http_socketio_)\w+$/
            && !/^(?:ngx_modules|ngx_module_names|ngx_module_order)$/
    } map { (split)[-1] =~ s/^__odr_asan\.//r } split /\n/, $list;

    is_deeply(\@foreign, [], 'exported symbols have our prefixes');
}
