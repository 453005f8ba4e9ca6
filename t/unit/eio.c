
/*
 * link: src/codec/ngx_sio_eio.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "ngx_sio_test.h"
#include "ngx_sio_eio.h"
#include "ngx_sio_utf8.h"


#define E_ACUTE  "\xc3\xa9"
#define EURO     "\xe2\x82\xac"
#define GRIN     "\xf0\x9f\x98\x80"


/* type(text), 4b(base64), 4B(binary) */

static ngx_sio_test_case_t  v4[] = {
    { "one packet",               ngx_string("4a"),            "4(a)."       },
    { "C21 three packets",
      ngx_string("4a\x1e" "2\x1e" "4b"),         "4(a)2()4(b)." },
    { "each type",
      ngx_string("0\x1e" "1\x1e" "2probe\x1e" "3\x1e" "4\x1e" "5\x1e" "6"),
      "0()1()2(probe)3()4()5()6()." },
    { "C23 binary has no type digit",
      ngx_string("451-[0]\x1e" "bAQID"),         "4(51-[0])4b(AQID)." },
    { "digit behind b is base64",
      ngx_string("b4AQI"),                       "4b(4AQI)." },
    { "zero-length binary",       ngx_string("b"),             "4b()."       },
    { "UTF-8",                    ngx_string("4" EURO),     "4(" EURO ")."   },

    { "C24 empty body",           ngx_string(""),              "!"           },
    { "C24 leading separator",    ngx_string("\x1e" "4a"),     "!"           },
    { "C24 trailing separator",   ngx_string("4a\x1e"),        "4(a)!"       },
    { "C24 x",                    ngx_string("x"),             "!"           },
    { "C24 7",                    ngx_string("7"),             "!"           },
    { "C24 slash, before 0",      ngx_string("/"),             "!"           },
    { "C24 capital B",            ngx_string("BAQID"),         "!"           },
    { "C24 zero octet",           ngx_string("\0"),            "!"           },
    { "C24 type as an octet",     ngx_string("\4a"),           "!"           },
    { "C25 packets before a bad one count",
      ngx_string("4a\x1e" "4b\x1e" "x\x1e" "4c"),   "4(a)4(b)!" },
    { "C25 two separators",
      ngx_string("4a\x1e\x1e" "4b"),             "4(a)!" },
};


static ngx_sio_test_case_t  v3_text[] = {
    { "C74 connect",              ngx_string("2:40"),          "4(0)."       },
    { "C75 two packets",
      ngx_string("20:42[\"message-back\",1]6:431[3]"),
      "4(2[\"message-back\",1])4(31[3])." },
    { "C75 one unit of three octets",
      ngx_string("2:4" EURO),                    "4(" EURO ")." },
    { "C75 two units of four octets",
      ngx_string("3:4" GRIN),                    "4(" GRIN ")." },
    { "C75 the example",
      ngx_string("25:42[\"message-back\",\"" E_ACUTE EURO GRIN "\"]"),
      "4(2[\"message-back\",\"" E_ACUTE EURO GRIN "\"])." },
    { "C75 packet behind two units",
      ngx_string("3:4" GRIN "1:2"),              "4(" GRIN ")2()." },
    { "C77 binary in text form",
      ngx_string("8:451-[0]x10:b4AQIDBA=="),
      "4(51-[0]x)4b(AQIDBA==)." },
    { "b with another type is no binary",
      ngx_string("4:b2AA"),                      "2?(AA)." },
    { "C80 empty packets are skipped",
      ngx_string("0:2:400:0:1:2"),               "4(0)2()." },
    { "C80 only an empty packet", ngx_string("0:"),            "."           },
    { "empty packet at the end",  ngx_string("2:400:"),        "4(0)."       },

    { "C80 empty body",           ngx_string(""),              "!"           },
    { "C80 x",                    ngx_string("x"),             "!"           },
    { "C80 colon only",           ngx_string(":"),             "!"           },
    { "C80 too short",            ngx_string("3:42"),          "!"           },
    { "C80 negative",             ngx_string("-1:x"),          "!"           },
    { "C80 no colon",             ngx_string("2"),             "!"           },
    { "C80 leftover behind a good packet",
      ngx_string("2:40extra"),                   "4(0)!" },
    { "C80 unknown type",         ngx_string("1:7"),           "!"           },
    { "b without a type",         ngx_string("1:b"),           "!"           },
    { "b with an unknown type",   ngx_string("2:bx"),          "!"           },
    { "length cuts a pair",       ngx_string("2:4" GRIN),      "!"           },
    { "octets are no units",      ngx_string("4:4" EURO),      "!"           },
    { "blank before the length",  ngx_string(" 1:2"),          "!"           },
    { "exponent in the length",   ngx_string("1e0:2"),         "!"           },
    { "plus before the length",   ngx_string("+1:2"),          "!"           },
    { "hexadecimal length",       ngx_string("0x1:2"),         "!"           },
    { "length of 2^64",
      ngx_string("18446744073709551616:2"),      "!" },
    { "length of 2^64 - 1",
      ngx_string("18446744073709551615:2"),      "!" },
    { "length of 2^64 + 1",
      ngx_string("18446744073709551617:2"),      "!" },
    { "length of a hundred digits",
      ngx_string("1111111111111111111111111111111111111111111111111"
                 "111111111111111111111111111111111111111111111111111:2"),
      "!" },
};


static ngx_sio_test_case_t  v3_binary[] = {
    { "C78 string and binary",
      ngx_string("\0\7\xff" "451-[0]" "\1\5\xff" "\4\1\2\3\4"),
      "4(51-[0])4B(\\x01\\x02\\x03\\x04)." },
    { "C76 strings count octets",
      ngx_string("\0\4\xff" "4" EURO "\0\1\xff" "2"),
      "4(" EURO ")2()." },
    { "C76 length of two digits",
      ngx_string("\0\1\0\xff" "42[\"a\",12]"),   "4(2[\"a\",12])." },
    { "base64 in a string",
      ngx_string("\0\6\xff" "b4AQID"),           "4b(AQID)." },
    { "zero-length attachment",
      ngx_string("\1\1\xff" "\4"),               "4B()." },
    { "binary ping",              ngx_string("\1\1\xff" "\2"), "2()."        },
    { "unknown type octet is ignored",
      ngx_string("\1\2\xff" "4a" "\1\1\xff" "\2"), "6(a)2()." },

    { "C80 empty body",           ngx_string(""),              "!"           },
    { "empty string",             ngx_string("\0\0\xff"),      "!"           },
    { "empty binary",             ngx_string("\1\0\xff"),      "!"           },
    { "neither string nor binary", ngx_string("\2\1\xff" "2"), "!"           },
    { "no length",                ngx_string("\0\xff" "2"),    "!"           },
    { "length without an end",    ngx_string("\0\1"),          "!"           },
    { "length in ASCII",          ngx_string("\0" "1\xff" "2"), "!"          },
    { "length digit of 10",
      ngx_string("\0\x0a\xff" "4123456789"),    "!" },
    { "too short",                ngx_string("\0\3\xff" "42"), "!"           },
    { "too short behind a good packet",
      ngx_string("\0\1\xff" "2" "\0\3\xff" "42"), "2()!" },
    { "unknown type",             ngx_string("\0\1\xff" "7"),  "!"           },
    { "length of 2^64 + 1",
      ngx_string("\0\1\x08\4\4\6\7\4\4\0\7\3\7\0\x09\5\5\1\6\1\7\xff" "2"),
      "!" },
};


static ngx_sio_test_case_t  frames[] = {
    { "message",                  ngx_string("t4:4hello"),     "4(hello)"    },
    { "empty message",            ngx_string("t4:4"),          "4()"         },
    { "ping with data",           ngx_string("t4:2probe"),     "2(probe)"    },
    { "C44 separator is data",
      ngx_string("t4:4a\x1e" "4b"),              "4(a\\x1e4b)" },
    { "C45 binary is raw",        ngx_string("b4:\4\0x"),   "4B(\\x04\\x00x)" },
    { "zero-length binary",       ngx_string("b4:"),           "4B()"        },
    { "C46 b is binary",          ngx_string("t4:bAQID"),      "4b(AQID)"    },
    { "C53 empty text",           ngx_string("t4:"),           "!"           },
    { "C53 x",                    ngx_string("t4:x"),          "!"           },
    { "C53 7",                    ngx_string("t4:7"),          "!"           },
    { "revision 3, message",      ngx_string("t3:40"),         "4(0)"        },
    { "C79 leading type octet",   ngx_string("b3:\4\1\2"), "4B(\\x01\\x02)"  },
    { "C79 zero-length",          ngx_string("b3:\4"),         "4B()"        },
    { "revision 3, binary ping",  ngx_string("b3:\2"),         "2()"         },
    { "revision 3, unknown type octet is a noop",
      ngx_string("b3:4abc"),                     "6(abc)" },
    { "revision 3, empty binary", ngx_string("b3:"),           "!"           },
    { "revision 3, base64",       ngx_string("t3:b4AQID"),     "4b(AQID)"    },
    { "revision 3, base64 without a type", ngx_string("t3:b"), "!"           },
};


static void
test_packet(ngx_sio_eio_packet_t *pkt)
{
    ngx_sio_test_out("%d%s(", pkt->type,
                     pkt->binary ? (pkt->base64 ? "b" : "B")
                                 : (pkt->base64 ? "?" : ""));
    ngx_sio_test_str(&pkt->data);
    ngx_sio_test_out(")");
}


static void
test_payload(ngx_str_t *in, ngx_sio_eio_form_e form)
{
    ngx_int_t              rc;
    ngx_sio_eio_packet_t   pkt;
    ngx_sio_eio_payload_t  payload;

    ngx_sio_eio_payload(&payload, in, form);

    while ((rc = ngx_sio_eio_next(&payload, &pkt)) == NGX_OK) {
        test_packet(&pkt);
    }

    ngx_sio_test_out(rc == NGX_DONE ? "." : "!");

    if (payload.pos < in->data || payload.pos > in->data + in->len) {
        ngx_sio_test_out(" but out of bounds");
    }

    if (rc == NGX_DONE && ngx_sio_eio_next(&payload, &pkt) != NGX_DONE) {
        ngx_sio_test_out(" but it goes on");
    }
}


static void
test_v4(ngx_str_t *in)
{
    test_payload(in, NGX_SIO_EIO_V4);
}


static void
test_v3_text(ngx_str_t *in)
{
    test_payload(in, NGX_SIO_EIO_V3_TEXT);
}


static void
test_v3_binary(ngx_str_t *in)
{
    test_payload(in, NGX_SIO_EIO_V3_BINARY);
}


/* "t" or "b", the revision, a colon, and the message */

static void
test_frame(ngx_str_t *in)
{
    ngx_str_t             message;
    ngx_sio_eio_packet_t  pkt;

    if (in->len < 3) {
        return;
    }

    message.data = in->data + 3;
    message.len = in->len - 3;

    if (ngx_sio_eio_frame(&message, in->data[0] == 'b', in->data[1] - '0',
                          &pkt)
        == NGX_OK)
    {
        test_packet(&pkt);

    } else {
        ngx_sio_test_out("!");
    }
}


static void
test_open(const char *name, ngx_sio_eio_open_t *open, const char *expected)
{
    size_t   len;
    u_char  *p, *last;

    ngx_sio_test_reset();

    len = ngx_sio_eio_open_length(open);
    p = malloc(len);
    last = ngx_sio_eio_open_write(p, open);

    ngx_sio_test_octets(p, len);

    if (last != p + len) {
        ngx_sio_test_out(" but length is wrong");
    }

    free(p);

    ngx_sio_test_ok(ngx_sio_test_compare(expected, "open",
                                         NGX_SIO_TEST_OCTETS),
                    "open packet", name);
}


static void
test_opens(void)
{
    ngx_sio_eio_open_t  open;

    ngx_str_set(&open.sid, "u94W1EF2teRcoBMYAAAA");
    open.ping_interval = 25000;
    open.ping_timeout = 20000;
    open.max_payload = 1000000;
    open.upgrade = 1;

    test_open("C1 keys in Node's order", &open,
              "0{\"sid\":\"u94W1EF2teRcoBMYAAAA\",\"upgrades\":[\"websocket\"]"
              ",\"pingInterval\":25000,\"pingTimeout\":20000"
              ",\"maxPayload\":1000000}");

    ngx_sio_test_ok(ngx_sio_eio_open_length(&open) == 118, "open packet",
                    "C74 is as long as Node's");

    open.upgrade = 0;
    open.ping_interval = 300;
    open.ping_timeout = 0;

    test_open("C3 without upgrades", &open,
              "0{\"sid\":\"u94W1EF2teRcoBMYAAAA\",\"upgrades\":[]"
              ",\"pingInterval\":300,\"pingTimeout\":0"
              ",\"maxPayload\":1000000}");
}


static void
test_prefix(const char *name, size_t len, ngx_uint_t form,
    const char *expected)
{
    size_t   n;
    u_char  *p, *last;

    ngx_sio_test_reset();

    if (form == 't') {
        n = ngx_sio_eio_text_prefix_length(len);
        p = malloc(n);
        last = ngx_sio_eio_text_prefix_write(p, len);
        ngx_sio_test_octets(p, n);

    } else {
        n = ngx_sio_eio_binary_prefix_length(len);
        p = malloc(n);
        last = ngx_sio_eio_binary_prefix_write(p, len, form == 'b');
        ngx_sio_test_hex(p, n);
    }

    if (last != p + n) {
        ngx_sio_test_out(" but length is wrong");
    }

    free(p);

    ngx_sio_test_ok(ngx_sio_test_compare(expected, "prefix",
                                         NGX_SIO_TEST_OCTETS),
                    "prefix", name);
}


int
main(void)
{
    ngx_sio_test_table(inputs, "payload", v4, test_v4);
    ngx_sio_test_table(inputs, "v3 text payload", v3_text, test_v3_text);
    ngx_sio_test_table(inputs, "v3 binary payload", v3_binary,
                       test_v3_binary);
    ngx_sio_test_table(inputs, "frame", frames, test_frame);

    test_opens();

    test_prefix("C75 text", 25, 't', "25:");
    test_prefix("text of one digit", 2, 't', "2:");
    test_prefix("C76 string", 46, 's', "000406ff");
    test_prefix("C76 binary", 5, 'b', "0105ff");
    test_prefix("C76 string of three digits", 300, 's', "00030000ff");

    return ngx_sio_test_done();
}
