#!/usr/bin/perl

# The Debian package: built, installed into a small copy of this system, where
# nginx runs already, used, removed and purged.  Of the copy's own are the
# files, the database of packages and what is not to be touched here, such as
# /etc/nginx; its scripts see nothing else, since dpkg runs them there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Basename qw(basename);
use File::Path qw(make_path);
use SIO::Client;
use SIO::HTTP;
use SIO::Proc;
use SIO::Util qw(root asan free_port program read_file tail temp_dir wait_until
                 write_file);
use Test::More;

plan skip_all => 'the package is built without sanitizers' if asan();

# compiling, on a machine that has other things to do
use constant BUILD => 600;

my $name = 'libnginx-mod-http-socketio';
my $so = '/usr/lib/nginx/modules/ngx_http_socketio_module.so';
my $available = '/usr/share/nginx/modules-available/mod-http-socketio.conf';
my $enabled = '/etc/nginx/modules-enabled/50-mod-http-socketio.conf';

# who is not root is it in a namespace of his own
my @as_root = $> == 0 ? () : qw(unshare --user --map-root-user);

$ENV{PATH} .= ':/usr/sbin:/sbin';

my $port = free_port();
my $dir = temp_dir();
my $nginx;


sub run {
    my (@command) = @_;

    my $r = SIO::Proc->run([ @as_root, @command ], timeout => 60);

    return wantarray ? ($r->{status}, $r->{out} . $r->{err}) : $r->{out};
}


sub run_ok {
    my ($title, @command) = @_;

    my ($status, $said) = run(@command);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is($status, 0, $title) or diag($said);

    return $said;
}


sub dpkg_ok {
    my ($title, @arguments) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return run_ok($title, 'dpkg', "--root=$dir", @arguments);
}


# nginx and what its package and ours ask for, as it is installed here, with
# their entries in the database; and who belongs to it by scripts elsewhere.

sub copy_system {
    my %seen;
    my @packages = grep { /^\w/ && !$seen{$_}++ } split /\n/, run(
        qw(apt-cache --installed --recurse --no-recommends --no-suggests
           --no-conflicts --no-breaks --no-replaces --no-enhances depends
           nginx dash coreutils debianutils dpkg libcjson1 libssl3 zlib1g));

    my @files = grep { m{^/[^.]} && !m{^/usr/share/(?:doc|man|locale)/} }
                grep { !$seen{$_}++ } split /\n/,
                run('dpkg-query', '-L', @packages);

    make_path(map { "$dir/$_" } qw(
        dev tmp run usr/bin usr/sbin usr/lib usr/lib64 etc/nginx/modules-enabled
        var/lib/dpkg/info var/lib/dpkg/updates var/lib/dpkg/triggers));

    write_file("$dir/files", join '', map { s{^/}{}r . "\n" } sort @files);

    system("tar -C / -c --no-recursion --ignore-failed-read -T '$dir/files'"
           . " 2>'$dir/tar.log' | tar -C '$dir' -x") == 0
        or BAIL_OUT('no copy of the system: ' . read_file("$dir/tar.log"));

    my $admin = '/var/lib/dpkg';

    write_file("$dir$admin/status", scalar run('dpkg-query', '-s', @packages));
    write_file("$dir$admin/triggers/$_",
               read_file("$admin/triggers/$_") // '')
        for qw(File nginx-reload);

    for my $file (glob "$admin/info/*") {
        my ($package) = basename($file) =~ /^([^:]+?)(?::\w+)?\.\w+$/ or next;

        next if !$seen{"/usr/share/doc/$package"};

        write_file("$dir$admin/info/" . basename($file), read_file($file));
        chmod 0755, "$dir$admin/info/" . basename($file) if -x $file;
    }

    write_file("$dir$admin/info/format", "1\n");

    write_file("$dir/etc/passwd",
               "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n");
    write_file("$dir/etc/group", "root:x:0:\nadm:x:4:\nwww-data:x:33:\n");
    # one of the alternatives, which scripts made, too
    symlink 'which.debianutils', "$dir/usr/bin/which";

    write_file("$dir/dev/null", '');
    chmod 0666, "$dir/dev/null";

    # In a namespace of one user there is no other one to change to.
    if (@as_root) {
        my $conf = read_file("$dir/etc/nginx/nginx.conf");

        write_file("$dir/etc/nginx/nginx.conf", $conf =~ s/^user .*$/user root;/mr);
    }
}


# What the scripts of nginx ask for; in its place one for this nginx alone.

sub copy_services {
    write_file("$dir/usr/sbin/invoke-rc.d", <<'EOF');
#!/bin/sh
[ "$1" = --quiet ] && shift
echo "$*" >> /services

case $2 in
    status)  kill -0 "$(cat /run/nginx.pid)" ;;
    reload)  kill -HUP "$(cat /run/nginx.pid)" ;;
    *)       exit 1 ;;
esac
EOF
    chmod 0755, "$dir/usr/sbin/invoke-rc.d";
}


sub services {
    my $lines = read_file("$dir/services") // '';

    unlink "$dir/services";

    return $lines;
}


sub nginx {
    return (@as_root, 'chroot', $dir, '/usr/sbin/nginx');
}


sub configure {
    my ($state, $directives) = @_;

    write_file("$dir/etc/nginx/conf.d/site.conf", <<"EOF");
server {
    listen 127.0.0.1:$port;

    location = /_state   { return 200 "$state"; }
    location /socket.io/ { $directives }
}
EOF
}


# Which of the configurations is in force.

sub state {
    my $r = eval { SIO::HTTP->new(port => $port)->get('/_state') };

    return $r ? $r->{body} : '';
}


sub accepts {
    my ($status, $said) = run('chroot', $dir, '/usr/sbin/nginx', '-t');

    return $status == 0 ? 'yes' : $said;
}


my $built = SIO::Proc->run([ root() . '/examples/package' ], timeout => BUILD);

is($built->{status}, 0, 'the package is built')
    or die tail($built->{err}, 60);

chomp(my $deb = $built->{out});

like($deb, qr{/\Q$name\E_[^/\n]+\.deb\z}, 'its path is all that is printed');


subtest 'what is in it' => sub {
    my $abi = run('dpkg-query', '-W', '-f=${Provides}', 'nginx');

    ($abi) = $abi =~ /(nginx-abi-[^\s,]+)/;

    is(run('dpkg-deb', '-f', $deb, 'Package'), "$name\n", 'its name');
    like(run('dpkg-deb', '-f', $deb, 'Depends'), qr/(?:^|, )\Q$abi\E(?:,|$)/m,
         "depends on $abi");

    my %files = map { s{ -> .*}{}r => 1 }
                map { (split ' ', $_, 6)[5] =~ s/^\.//r }
                split /\n/, run('dpkg-deb', '-c', $deb);

    delete @files{grep { m{/$} } keys %files};

    is_deeply([ sort grep { !m{^/usr/share/doc/$name/} } keys %files ],
              [ sort $so, $available ], 'the module and how to load it');

    ok($files{"/usr/share/doc/$name/$_"}, $_)
        for qw(copyright copyright.hiredis changelog.gz README.md.gz
               README.Debian examples/nginx.conf.example
               examples/nginx_socketio.py);
};


copy_system();
copy_services();


subtest 'before' => sub {
    configure('wrong', 'socketio;');
    like(accepts(), qr/unknown directive "socketio"/, 'nginx knows nothing');

    configure('before', 'return 404;');

    $nginx = SIO::Proc->spawn([ nginx(), '-g', 'daemon off;' ],
                              name => 'nginx');

    ok(wait_until(10, sub { state() eq 'before' }), 'it runs')
        or BAIL_OUT($nginx->stderr);

    configure('not read yet', 'return 404;');
};


sub log_of_nginx {
    return read_file("$dir/var/log/nginx/error.log") // '';
}


subtest 'installed' => sub {
    dpkg_ok('dpkg is content', '-i', $deb);

    is(readlink "$dir$enabled", $available, 'it is enabled');
    is(services(), "nginx status\nnginx reload\n", 'nginx is told');
    ok(wait_until(10, sub { state() eq 'not read yet' }), 'and hears it');

    configure('installed', 'socketio;');
    is(accepts(), 'yes', 'it knows what it is');

    $nginx->signal('HUP');

    # For a moment an old worker may accept connections, too.
    my $client;

    ok(wait_until(10, sub {
        return $client = eval { SIO::Client->connect(port => $port) };
    }), 'a client connects') or diag($@, log_of_nginx());

    $client->disconnect if $client;
};


subtest 'disabled by the administrator' => sub {
    unlink "$dir$enabled";

    dpkg_ok('a newer version', '-i', $deb);
    ok(!-l "$dir$enabled", 'leaves it disabled');

    symlink $available, "$dir$enabled";
    services();
};


subtest 'removed' => sub {
    dpkg_ok('dpkg is content', '-r', $name);

    ok(!-e "$dir$_" && !-l "$dir$_", "$_ is gone")
        for $enabled, $available, $so;

    is(services(), "nginx status\nnginx reload\n", 'nginx is told');
    like(accepts(), qr/unknown directive "socketio"/, 'nginx knows nothing');

    dpkg_ok('installed again', '-i', $deb);
    is(readlink "$dir$enabled", $available, 'it is enabled again');
    is(accepts(), 'yes', 'nginx knows what it is');
};


subtest 'purged' => sub {
    dpkg_ok('dpkg is content', '-P', $name);

    my @left = grep { /http-socketio|http_socketio/ } split /\n/,
               run('find', "$dir/etc", "$dir/usr", "$dir/var/lib/dpkg/info");

    is_deeply(\@left, [], 'nothing is left');
};


# Nothing ever went wrong between the scripts, nginx and the module.
unlike(log_of_nginx(), qr/\[alert\]|\[crit\]|exited on signal/,
       'the log is clean');

$nginx->signal('TERM');
is($nginx->wait(10), 0, 'nginx ends');

done_testing;
