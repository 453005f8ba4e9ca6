package SIO::Formats;

use strict;
use warnings;

use Carp qw(croak);
use File::Path qw(make_path);
use IPC::Open2 qw(open2);
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use SIO::Util qw(asan build_dir read_file root temp_dir);

my $json = JSON::PP->new->utf8->allow_nonref->allow_bignum;


sub new {
    my ($class) = @_;

    my $program = compile();
    my $log = temp_dir() . '/sanitizers';

    local $ENV{ASAN_OPTIONS} = "log_path=$log:exitcode=99";
    local $ENV{UBSAN_OPTIONS} = "log_path=$log:print_stacktrace=1";

    my $pid = open2(my $out, my $in, $program);

    return bless { pid => $pid, in => $in, out => $out, log => $log }, $class;
}


# With the sanitizers, whatever else is built.

sub compile {
    my $root = root();
    my $ngx = $ENV{NGX_SRC} || '/usr/share/nginx/src';
    my $objs = build_dir() . (asan() ? '/objs-asan' : '/objs');
    my $out = build_dir() . '/formats';
    my @sources = ("$root/t/lib/formats.c", "$root/t/lib/standin.c",
                   map { "$root/src/codec/ngx_sio_$_.c" }
                       qw(base64 json msgpack msgpack_decode node node_decode
                          packet pickle pickle_decode python python_decode
                          qmsg utf8));

    make_path(build_dir());

    my @command = ($ENV{CC} || 'cc', qw(-g -O1 -Wall -Wextra -Werror),
                   '-fsanitize=address,undefined',
                   '-fno-sanitize-recover=undefined',
                   (map { ('-isystem', $_) } $objs,
                    map { "$ngx/src/$_" } qw(core event event/modules
                                             event/quic os/unix)),
                   (map { "-I$root/src/$_" } qw(base codec)),
                   @sources, '-lm', '-o', "$out.$$");

    system(@command) == 0 or croak 'formats.c does not compile';
    rename "$out.$$", $out or croak "$out: $!";

    return $out;
}


sub ask {
    my ($self, @words) = @_;

    print { $self->{in} } join(' ', @words), "\n";
    $self->{in}->flush;

    my $answer = readline($self->{out}) // croak 'the decoder has died: ',
                                                 $self->complaints;
    chomp $answer;

    return $answer;
}


sub decode {
    my ($self, $format, $dialect, $payload) = @_;

    return $json->decode(whole($self->ask('decode', $format, $dialect, 0,
                                          encode_base64($payload, ''))));
}


# JSON may have halves of characters, which Perl refuses.

sub whole {
    my ($text) = @_;

    $text =~ s{ (\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w)
                | (?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F]\w\w }
              { $1 // "$2\\ufffd" }gex;

    return $text;
}


# Read in one dialect, and written in another; undef: it has no words for it.

sub encode {
    my ($self, $format, $to, $from, $payload) = @_;

    my $answer = $self->ask('encode', $format, $from, $to,
                            encode_base64($payload, ''));

    return $answer =~ /^\{/ ? undef : decode_base64($answer);
}


sub stop {
    my ($self) = @_;

    close $self->{in};
    close $self->{out};
    waitpid $self->{pid}, 0;

    return $?;
}


sub complaints {
    my ($self) = @_;

    return join '', map { read_file($_) // '' } glob "$self->{log}.*";
}


1;

__END__

=head1 NAME

SIO::Formats - the codecs of message queues, in a process with sanitizers

=head1 SYNOPSIS

    my $formats = SIO::Formats->new;

    my $message = $formats->decode(python => 0, $payload);
    my $payload = $formats->encode(python => 2, 0, $payload);

    is($formats->stop, 0);

=head1 DESCRIPTION

C<decode()> gives what F<t/lib/formats.c> prints of a message, or
C<< { refused => why } >>.  C<encode()> reads a message in one dialect and writes
it in another.  C<whole()> mends JSON for Perl.
