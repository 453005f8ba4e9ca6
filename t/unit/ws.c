
/*
 * link: src/codec/ngx_sio_ws.c src/codec/ngx_sio_base64.c
 * link: src/codec/ngx_sio_utf8.c
 * libs: -lcrypto
 */

#include "ngx_sio_test.h"
#include "ngx_sio_ws.h"


#define MAX_MESSAGE  16

/* a mask of zeros leaves the octets readable */

#define FRAME(flags, len)  flags len "\0\0\0\0"

#define A10   "aaaaaaaaaa"
#define A50   A10 A10 A10 A10 A10
#define A125  A50 A50 A10 A10 "aaaaa"


/*
 * text(...), binary(...), ping(...), pong(...), close(code,reason), "!" and
 * the code to close with; "..." if octets are missing at the end
 */

static ngx_sio_test_case_t  messages[] = {
    { "nothing",                  ngx_string(""),              ""            },
    { "text",
      ngx_string(FRAME("\x81", "\x85") "hello"),     "text(hello)" },
    { "empty text",
      ngx_string(FRAME("\x81", "\x80")),             "text()" },
    { "binary",
      ngx_string(FRAME("\x82", "\x83") "\0\xff\1"),
      "binary(\\x00\xff\\x01)" },
    { "masked, the example of RFC 6455",
      ngx_string("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
      "text(Hello)" },
    { "masked, longer than a word",
      ngx_string("\x82\x8d\1\2\4\x08" "``gi``gi``gi`"),
      "binary(abcaabcaabcaa)" },
    { "two messages",
      ngx_string(FRAME("\x81", "\x81") "a" FRAME("\x82", "\x81") "b"),
      "text(a)binary(b)" },
    { "message not complete",
      ngx_string(FRAME("\x81", "\x85") "hell"),      "text(hell..." },
    { "header not complete",      ngx_string("\x81\x85\0\0"),  "..."         },
    { "length longer than it must be",
      ngx_string("\x81\xfe\0\5\0\0\0\0" "hello"
                 "\x81\xff\0\0\0\0\0\0\0\1\0\0\0\0" "a"),
      "text(hello)text(a)" },

    { "C49 fragments",
      ngx_string(FRAME("\x01", "\x82") "he" FRAME("\x80", "\x83") "llo"),
      "text(hello)" },
    { "C49 fragments of binary",
      ngx_string(FRAME("\x02", "\x82") "he" FRAME("\x00", "\x81") "l"
                 FRAME("\x80", "\x82") "lo"),
      "binary(hello)" },
    { "C49 empty fragments",
      ngx_string(FRAME("\x01", "\x80") FRAME("\x00", "\x80")
                 FRAME("\x00", "\x81") "a" FRAME("\x80", "\x80")),
      "text(a)" },
    { "C49 ping between fragments",
      ngx_string(FRAME("\x01", "\x82") "he" FRAME("\x89", "\x81") "x"
                 FRAME("\x80", "\x83") "llo"),
      "ping(x)text(hello)" },
    { "C49 pong between fragments",
      ngx_string(FRAME("\x01", "\x82") "he" FRAME("\x8a", "\x80")
                 FRAME("\x80", "\x83") "llo"),
      "pong()text(hello)" },
    { "C49 ping, masked",
      ngx_string("\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
      "ping(Hello)" },
    { "C49 largest ping",
      ngx_string(FRAME("\x89", "\xfd") A125),        "ping(" A125 ")" },
    { "C49 ping is not counted as message",
      ngx_string(FRAME("\x01", "\x88") "12345678"
                 FRAME("\x89", "\x91") "12345678901234567"
                 FRAME("\x80", "\x88") "12345678"),
      "ping(12345678901234567)text(1234567812345678)" },
    { "C49 ping not complete",
      ngx_string(FRAME("\x89", "\x85") "hell"),      "..." },

    { "C48 largest message",
      ngx_string(FRAME("\x81", "\x90") "1234567890123456"),
      "text(1234567890123456)" },
    { "C48 one more, from the header alone",
      ngx_string("\x81\x91"),                        "!1009" },
    { "C48 large, from the header without the mask",
      ngx_string("\x82\xfe\x40\0"),                  "!1009" },
    { "C48 larger, from the header without the mask",
      ngx_string("\x82\xff\0\0\0\0\0\x10\0\0"),      "!1009" },
    { "C48 length of 2^63",
      ngx_string("\x82\xff\x80\0\0\0\0\0\0\0"),      "!1009" },
    { "C48 length of 2^64 - 1",
      ngx_string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "!1009" },
    { "C48 largest message in fragments",
      ngx_string(FRAME("\x02", "\x88") "12345678"
                 FRAME("\x80", "\x88") "12345678"),
      "binary(1234567812345678)" },
    { "C48 one more in fragments",
      ngx_string(FRAME("\x02", "\x88") "12345678" "\x80\x89"),
      "!1009" },
    { "C48 overflow of the sum in fragments",
      ngx_string(FRAME("\x02", "\x88") "12345678"
                 "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xf8"),
      "!1009" },
    { "C48 limit starts again",
      ngx_string(FRAME("\x81", "\x90") "1234567890123456"
                 FRAME("\x81", "\x90") "1234567890123456"),
      "text(1234567890123456)text(1234567890123456)" },

    { "C50 not masked",           ngx_string("\x81\x05hello"), "!1002"       },
    { "C50 ping not masked",      ngx_string("\x89\0"),        "!1002"       },
    { "C50 RSV1 without extension",
      ngx_string(FRAME("\xc1", "\x81") "a"),         "!1002" },
    { "C50 RSV2",                 ngx_string("\xa1\x80"),      "!1002"       },
    { "C50 RSV3",                 ngx_string("\x91\x80"),      "!1002"       },
    { "C50 RSV1 of a ping",       ngx_string("\xc9\x80"),      "!1002"       },
    { "C50 reserved opcode 3",    ngx_string("\x83\x80"),      "!1002"       },
    { "C50 reserved opcode 7",    ngx_string("\x87\x80"),      "!1002"       },
    { "C50 reserved opcode 11",   ngx_string("\x8b\x80"),      "!1002"       },
    { "C50 reserved opcode 15",   ngx_string("\x8f\x80"),      "!1002"       },
    { "C50 fragmented ping",      ngx_string("\x09\x80"),      "!1002"       },
    { "C50 fragmented close",     ngx_string("\x08\x80"),      "!1002"       },
    { "C50 ping of 126 octets",   ngx_string("\x89\xfe"),      "!1002"       },
    { "C50 ping of a 64-bit length", ngx_string("\x89\xff"),   "!1002"       },
    { "C50 stray continuation",   ngx_string("\x80\x80"),      "!1002"       },
    { "C50 continuation behind a message",
      ngx_string(FRAME("\x81", "\x81") "a" "\x80\x80"),
      "text(a)!1002" },
    { "C50 text between fragments",
      ngx_string(FRAME("\x01", "\x81") "a" "\x81\x80"), "!1002" },
    { "C50 binary between fragments",
      ngx_string(FRAME("\x01", "\x81") "a" "\x02\x80"), "!1002" },

    { "C51 UTF-8 cut by fragments",
      ngx_string(FRAME("\x01", "\x82") "\xf0\x9f" FRAME("\x00", "\x81")
                 "\x98" FRAME("\x80", "\x81") "\x80"),
      "text(\xf0\x9f\x98\x80)" },
    { "C51 UTF-8 and a ping within",
      ngx_string(FRAME("\x01", "\x81") "\xc3" FRAME("\x89", "\x81") "\xff"
                 FRAME("\x80", "\x81") "\xa9"),
      "ping(\xff)text(\xc3\xa9)" },
    { "C51 malformed UTF-8",
      ngx_string(FRAME("\x81", "\x81") "\xff"),      "!1007" },
    { "C51 surrogate",
      ngx_string(FRAME("\x81", "\x83") "\xed\xa0\x80"), "!1007" },
    { "C51 cut off at the end",
      ngx_string(FRAME("\x81", "\x82") "\xe2\x82"),  "!1007" },
    { "C51 cut off by an empty final frame",
      ngx_string(FRAME("\x01", "\x82") "\xe2\x82" FRAME("\x80", "\x80")),
      "!1007" },
    { "C51 malformed in a second frame",
      ngx_string(FRAME("\x01", "\x81") "\xe2" FRAME("\x80", "\x81") "a"),
      "!1007" },
    { "C51 does not wait for the end",
      ngx_string(FRAME("\x01", "\x82") "\xff"),      "!1007" },
    { "C51 each message is new",
      ngx_string(FRAME("\x82", "\x81") "\xff" FRAME("\x81", "\x81") "a"),
      "binary(\xff)text(a)" },

    { "close, empty",
      ngx_string(FRAME("\x88", "\x80")),             "close(1005,)" },
    { "close with a code",
      ngx_string(FRAME("\x88", "\x82") "\x03\xe8"),  "close(1000,)" },
    { "close with a reason",
      ngx_string(FRAME("\x88", "\x85") "\x03\xe9" "bye"),
      "close(1001,bye)" },
    { "close, masked",
      ngx_string("\x88\x82\xff\xff\xff\xff\xfc\x17"), "close(1000,)" },
    { "close between fragments",
      ngx_string(FRAME("\x01", "\x81") "a" FRAME("\x88", "\x80")),
      "close(1005,)text(a..." },
    { "close with each allowed bound",
      ngx_string(FRAME("\x88", "\x82") "\x03\xeb"
                 FRAME("\x88", "\x82") "\x03\xef"
                 FRAME("\x88", "\x82") "\x03\xf6"
                 FRAME("\x88", "\x82") "\x0b\xb8"
                 FRAME("\x88", "\x82") "\x13\x87"),
      "close(1003,)close(1007,)close(1014,)close(3000,)close(4999,)" },
    { "C50 close with one octet", ngx_string("\x88\x81"),      "!1002"       },
    { "C50 close with 0",
      ngx_string(FRAME("\x88", "\x82") "\0\0"),      "!1002" },
    { "C50 close with 999",
      ngx_string(FRAME("\x88", "\x82") "\x03\xe7"),  "!1002" },
    { "C50 close with 1004",
      ngx_string(FRAME("\x88", "\x82") "\x03\xec"),  "!1002" },
    { "C50 close with 1005",
      ngx_string(FRAME("\x88", "\x82") "\x03\xed"),  "!1002" },
    { "C50 close with 1006",
      ngx_string(FRAME("\x88", "\x82") "\x03\xee"),  "!1002" },
    { "C50 close with 1015",
      ngx_string(FRAME("\x88", "\x82") "\x03\xf7"),  "!1002" },
    { "C50 close with 2999",
      ngx_string(FRAME("\x88", "\x82") "\x0b\xb7"),  "!1002" },
    { "C50 close with 5000",
      ngx_string(FRAME("\x88", "\x82") "\x13\x88"),  "!1002" },
    { "C51 close with malformed UTF-8",
      ngx_string(FRAME("\x88", "\x83") "\x03\xe8\xff"), "!1007" },
    { "C51 close with UTF-8 cut off",
      ngx_string(FRAME("\x88", "\x84") "\x03\xe8\xe2\x82"), "!1007" },
};


/* with permessage-deflate agreed on; compressed messages have a "z" */

static ngx_sio_test_case_t  deflate[] = {
    { "compressed",
      ngx_string(FRAME("\xc1", "\x82") "\xff\0"),    "ztext(\xff\\x00)" },
    { "not compressed",
      ngx_string(FRAME("\x81", "\x81") "a"),         "text(a)" },
    { "one after the other",
      ngx_string(FRAME("\xc2", "\x81") "\xff" FRAME("\x81", "\x81") "a"),
      "zbinary(\xff)text(a)" },
    { "compressed in fragments",
      ngx_string(FRAME("\x41", "\x81") "\xff" FRAME("\x80", "\x81") "\xfe"),
      "ztext(\xff\xfe)" },
    { "UTF-8 is still checked when not compressed",
      ngx_string(FRAME("\x81", "\x81") "\xff"),      "!1007" },
    { "limit counts compressed octets",
      ngx_string("\xc1\x91"),                        "!1009" },
    { "C50 RSV1 of a continuation",
      ngx_string(FRAME("\x41", "\x81") "a" "\xc0\x81"), "!1002" },
    { "C50 RSV1 of a ping",       ngx_string("\xc9\x80"),      "!1002"       },
    { "C50 RSV2",                 ngx_string("\xa1\x80"),      "!1002"       },
};


static void
test_part(ngx_sio_ws_part_t *part, u_char *message, size_t *len)
{
    switch (part->kind) {

    case NGX_SIO_WS_PART_DATA:

        if (part->first != (*len == 0)) {
            ngx_sio_test_out("first is wrong");
        }

        /* one octet in front marks that a message is open */

        if (part->first) {
            *len = 1;
        }

        ngx_memcpy(message + *len, part->data.data, part->data.len);
        *len += part->data.len;

        if (!part->last) {
            return;
        }

        ngx_sio_test_out("%s%s(", part->compressed ? "z" : "",
                         part->text ? "text" : "binary");
        ngx_sio_test_octets(message + 1, *len - 1);
        ngx_sio_test_out(")");

        *len = 0;
        return;

    case NGX_SIO_WS_PART_CLOSE:
        ngx_sio_test_out("close(%d,", (int) part->code);
        break;

    default:
        ngx_sio_test_out(part->kind == NGX_SIO_WS_PART_PING ? "ping("
                                                            : "pong(");
    }

    ngx_sio_test_str(&part->data);
    ngx_sio_test_out(")");
}


static void
test_parse(ngx_str_t *in, size_t cut, ngx_uint_t extension)
{
    size_t               offset, n, kept, len;
    u_char              *p, *pos, message[1024], rest[1024];
    ngx_int_t            rc;
    ngx_uint_t           text;
    ngx_sio_ws_t         ws;
    ngx_sio_ws_part_t    part;

    ngx_memzero(&ws, sizeof(ngx_sio_ws_t));
    ws.deflate = extension;

    rc = NGX_AGAIN;
    len = 0;
    kept = 0;
    text = 0;

    for (offset = 0; offset < in->len; offset += n) {
        n = ngx_sio_test_chunk(in, offset, cut);

        p = malloc(kept + n);
        ngx_memcpy(p, rest, kept);
        ngx_memcpy(p + kept, in->data + offset, n);
        pos = p;

        while ((rc = ngx_sio_ws_next(&ws, &pos, p + kept + n, MAX_MESSAGE,
                                     &part))
               == NGX_OK)
        {
            text = part.kind == NGX_SIO_WS_PART_DATA ? part.text : text;
            test_part(&part, message, &len);
        }

        kept = p + kept + n - pos;
        ngx_memcpy(rest, pos, kept);
        free(p);

        if (rc == NGX_DECLINED) {
            ngx_sio_test_out("!%d", (int) part.code);
            return;
        }

        if (kept >= NGX_SIO_WS_MIN_BUFFER) {
            ngx_sio_test_out(" but keeps more than the header says");
        }
    }

    if (len) {
        ngx_sio_test_out(text ? "text(" : "binary(");
        ngx_sio_test_octets(message + 1, len - 1);
    }

    if (len || kept) {
        ngx_sio_test_out("...");
    }
}


static void
test_messages(ngx_str_t *in, size_t cut)
{
    test_parse(in, cut, 0);
}


static void
test_deflate(ngx_str_t *in, size_t cut)
{
    test_parse(in, cut, 1);
}


/* a long masked message at every alignment, in pieces of every length */

static void
test_mask(void)
{
    size_t              i, n, align, piece;
    u_char             *buf, *p, *pos, *end;
    ngx_uint_t          ok;
    ngx_sio_ws_t        ws;
    ngx_sio_ws_part_t   part;

    static const u_char  mask[] = { 0x12, 0x34, 0x56, 0x78 };

    ok = 1;

    for (align = 0; align < 8; align++) {

        for (piece = 1; piece < 40; piece++) {
            buf = malloc(align + 6 + 100);

            p = buf + align;
            *p++ = 0x82;
            *p++ = 0x80 | 100;
            p = ngx_cpymem(p, mask, 4);

            for (i = 0; i < 100; i++) {
                *p++ = (u_char) (i ^ mask[i & 3]);
            }

            ngx_memzero(&ws, sizeof(ngx_sio_ws_t));

            n = 0;
            pos = buf + align;
            end = pos + 6;

            while (ok && end < p) {
                end += ngx_min(piece, (size_t) (p - end));

                ok = ngx_sio_ws_next(&ws, &pos, end, 100, &part) == NGX_OK
                     && pos == end;

                for (i = 0; ok && i < part.data.len; i++) {
                    ok = part.data.data[i] == n++;
                }

                ok = ok && part.last == (n == 100);
            }

            ok = ok && n == 100;

            free(buf);
        }
    }

    ngx_sio_test_ok(ok, "", "masks turn in pieces of every length");
}


static void
test_header(const char *name, ngx_uint_t opcode, uint64_t len,
    const char *expected)
{
    size_t   n;
    u_char  *p;

    n = strlen(expected) / 2;
    p = malloc(n);

    ngx_sio_test_reset();

    if (ngx_sio_ws_header(p, opcode, len) == n) {
        ngx_sio_test_hex(p, n);
    }

    free(p);

    ngx_sio_test_ok(ngx_sio_test_compare(expected, "header",
                                         NGX_SIO_TEST_OCTETS),
                    "header", name);
}


static void
test_headers(void)
{
    test_header("C52 empty close frame", NGX_SIO_WS_CLOSE, 0, "8800");
    test_header("pong", NGX_SIO_WS_PONG, 1, "8a01");
    test_header("short text", NGX_SIO_WS_TEXT, 125, "817d");
    test_header("shortest of 16 bits", NGX_SIO_WS_TEXT, 126, "817e007e");
    test_header("longest of 16 bits", NGX_SIO_WS_BINARY, 65535, "827effff");
    test_header("shortest of 64 bits", NGX_SIO_WS_BINARY, 65536,
                "827f0000000000010000");
    test_header("large", NGX_SIO_WS_BINARY, 0x0123456789abcdefULL,
                "827f0123456789abcdef");
    test_header("compressed", NGX_SIO_WS_TEXT | NGX_SIO_WS_RSV1, 3, "c103");
}


static void
test_key(ngx_str_t *in)
{
    u_char  *out;

    if (!ngx_sio_ws_key_valid(in)) {
        ngx_sio_test_out("!");
        return;
    }

    out = malloc(NGX_SIO_WS_ACCEPT_LENGTH);

    if (ngx_sio_ws_accept(in, out) == NGX_OK) {
        ngx_sio_test_octets(out, NGX_SIO_WS_ACCEPT_LENGTH);
    }

    free(out);
}


int
main(void)
{
    static ngx_sio_test_case_t  keys[] = {
        { "the example of RFC 6455",
          ngx_string("dGhlIHNhbXBsZSBub25jZQ=="),
          "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" },
        { "both of 62 and 63",
          ngx_string("+/+/+/+/+/+/+/+/+/+/+w=="),
          "M0DUs3om0SqzerhOhYSMM7WQuBQ=" },
        { "empty",           ngx_string(""),                            "!" },
        { "one short",       ngx_string("dGhlIHNhbXBsZSBub25jZQ="),     "!" },
        { "one long",        ngx_string("dGhlIHNhbXBsZSBub25jZQ==="),   "!" },
        { "17 octets",       ngx_string("dGhlIHNhbXBsZSBub25jZWE="),    "!" },
        { "foreign",         ngx_string("dGhlIHNhbXBsZSBub25j!Q=="),    "!" },
        { "URL-safe",        ngx_string("dGhlIHNhbXBsZSBub25j-_=="),    "!" },
        { "padding inside",  ngx_string("dGhlIHNh=XBsZSBub25jZQ=="),    "!" },
        { "not padded",      ngx_string("dGhlIHNhbXBsZSBub25jZWFi"),    "!" },
    };

    ngx_sio_test_table(streams, "frames", messages, test_messages);
    ngx_sio_test_table(streams, "deflate", deflate, test_deflate);
    ngx_sio_test_table(inputs, "key", keys, test_key);

    test_mask();
    test_headers();

    ngx_sio_test_ok(sizeof(ngx_sio_ws_t) <= 48, "",
                    "an idle parser is no more than 48 octets");

    return ngx_sio_test_done();
}
