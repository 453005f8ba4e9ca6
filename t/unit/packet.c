
/*
 * link: src/codec/ngx_sio_packet.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "ngx_sio_test.h"
#include "ngx_sio_packet.h"


#define MAX_ATTACHMENTS  10

#define P(n)  "{\"_placeholder\":true,\"num\":" #n "}"


/*
 * type[*attachments] namespace [?(query)] [#id] [payload] [event(args)], with
 * "ignore" in front if the packet is to be ignored
 */

static ngx_sio_test_case_t  packets[] = {
    { "C88 connect",              ngx_string("0"),             "0 /"         },
    { "C89 connect with auth",
      ngx_string("0{\"token\":\"123\"}"),
      "0 / {\"token\":\"123\"}" },
    { "C89 namespace",            ngx_string("0/custom,"),     "0 /custom"   },
    { "C89 namespace, no comma",  ngx_string("0/custom"),      "0 /custom"   },
    { "C89 namespace with auth",
      ngx_string("0/custom,{\"a\":1}"),          "0 /custom {\"a\":1}" },
    { "C89 explicit root",        ngx_string("0/,{\"a\":1}"),
                                                 "0 / {\"a\":1}" },
    { "C89 explicit root alone",  ngx_string("0/,"),           "0 /"         },
    { "query is part of the namespace",
      ngx_string("0/custom?x=1,"),               "0 /custom?x=1" },
    { "nothing is percent-decoded",
      ngx_string("0/a%2Cb,"),                    "0 /a%2Cb" },
    { "id of a connect is ignored", ngx_string("00"),          "0 /"         },
    { "id of a connect with auth is ignored",
      ngx_string("05{\"a\":1}"),                 "0 / {\"a\":1}" },
    { "empty auth",               ngx_string("0{}"),           "0 / {}"      },

    { "C94 disconnect",           ngx_string("1"),             "1 /"         },
    { "C94 disconnect of a namespace",
      ngx_string("1/admin,"),                    "1 /admin" },
    { "C94 disconnect, no comma", ngx_string("1/admin"),       "1 /admin"    },
    { "C94 disconnect of the explicit root",
      ngx_string("1/,"),                         "1 /" },

    { "event",
      ngx_string("2[\"foo\"]"),                  "2 / [\"foo\"] \"foo\"()" },
    { "event with arguments",
      ngx_string("2[\"message\",\"hi\",1,{\"a\":[1]}]"),
      "2 / [\"message\",\"hi\",1,{\"a\":[1]}]"
      " \"message\"(\"hi\",1,{\"a\":[1]})" },
    { "event with id",
      ngx_string("212[\"foo\"]"),             "2 / #12 [\"foo\"] \"foo\"()" },
    { "C99 id 0",
      ngx_string("20[\"foo\"]"),              "2 / #0 [\"foo\"] \"foo\"()" },
    { "id with leading zeros",
      ngx_string("200123[\"a\"]"),            "2 / #123 [\"a\"] \"a\"()" },
    { "largest id",
      ngx_string("29007199254740991[\"a\"]"),
      "2 / #9007199254740991 [\"a\"] \"a\"()" },
    { "event in a namespace",
      ngx_string("2/admin,[\"bar\"]"),
      "2 /admin [\"bar\"] \"bar\"()" },
    { "event in a namespace with id",
      ngx_string("2/admin,13[\"bar\"]"),
      "2 /admin #13 [\"bar\"] \"bar\"()" },
    { "blanks stay out of the arguments",
      ngx_string("2[ \"a\" , 1 , 2 ] \n"),
      "2 / [ \"a\" , 1 , 2 ] \"a\"(1 , 2)" },
    { "blanks are no argument",
      ngx_string("2[ \"a\" ]"),                  "2 / [ \"a\" ] \"a\"()" },
    { "C98 number as name",
      ngx_string("2[1,2]"),                      "2 / [1,2] 1(2)" },
    { "C98 empty name",
      ngx_string("2[\"\"]"),                     "2 / [\"\"] \"\"()" },
    { "C98 escaped name",
      ngx_string("2[\"\\u0061\",1]"),
      "2 / [\"\\u0061\",1] \"\\u0061\"(1)" },
    { "C98 nearly reserved names",
      ngx_string("2[\"Connect\"]"),       "2 / [\"Connect\"] \"Connect\"()" },
    { "C98 error is not reserved",
      ngx_string("2[\"error\"]"),         "2 / [\"error\"] \"error\"()" },
    { "placeholder in a plain event is data",
      ngx_string("2[\"a\"," P(7) "]"),
      "2 / [\"a\"," P(7) "] \"a\"(" P(7) ")" },

    { "ack",                      ngx_string("30[]"),          "3 / #0 [] ()" },
    { "ack in a namespace",
      ngx_string("3/admin,13[\"ok\",1]"),
      "3 /admin #13 [\"ok\",1] (\"ok\",1)" },
    { "ack with blanks",          ngx_string("31[ ]"),      "3 / #1 [ ] ()"  },
    { "ack without id",
      ngx_string("3[\"a\"]"),                    "3 / [\"a\"] (\"a\")" },
    { "C100 ack without array is ignored",
      ngx_string("3"),                           "ignore 3 /" },
    { "C100 ack with id, without array is ignored",
      ngx_string("31"),                          "ignore 3 / #1" },
    { "C100 ignored ack keeps its namespace",
      ngx_string("3/admin,"),                    "ignore 3 /admin" },

    { "connect error is left to the caller",
      ngx_string("4{\"message\":\"x\"}"),        "4 / {\"message\":\"x\"}" },
    { "connect error, string",    ngx_string("4/a,\"x\""),     "4 /a \"x\""  },

    { "C101 binary event",
      ngx_string("51-[\"baz\"," P(0) "]"),
      "5*1 / [\"baz\"," P(0) "] \"baz\"(" P(0) ")" },
    { "C101 binary event with everything",
      ngx_string("52-/admin,7[\"baz\"," P(0) "," P(1) "]"),
      "5*2 /admin #7 [\"baz\"," P(0) "," P(1) "] \"baz\"("
      P(0) "," P(1) ")" },
    { "C101 binary ack",
      ngx_string("61-/admin,15[" P(0) "]"),
      "6*1 /admin #15 [" P(0) "] (" P(0) ")" },
    { "C102 ten attachments",
      ngx_string("510-[\"a\"]"),                 "5*10 / [\"a\"] \"a\"()" },

    { "C97 nothing",              ngx_string(""),              "!"           },
    { "C97 unknown type",         ngx_string("8"),             "!"           },
    { "C97 type 7",               ngx_string("7"),             "!"           },
    { "C97 letters",              ngx_string("abc"),           "!"           },
    { "C97 bad JSON",             ngx_string("2[\"a\""),       "!"           },
    { "C97 bad JSON in auth",     ngx_string("0{bad"),         "!"           },
    { "C97 event without payload", ngx_string("2"),            "!"           },
    { "C97 event with id, without payload", ngx_string("21"),  "!"           },
    { "C97 event with a namespace only", ngx_string("2/a,"),   "!"           },
    { "C97 namespace swallows the array without comma",
      ngx_string("2/a[\"b\"]"),                  "!" },
    { "C97 object as event",      ngx_string("2{\"a\":1}"),    "!"           },
    { "C97 string as event",      ngx_string("2\"a\""),        "!"           },
    { "C97 empty array",          ngx_string("2[]"),           "!"           },
    { "C97 empty array with a blank", ngx_string("2[ ]"),      "!"           },
    { "C97 trailing garbage",
      ngx_string("2[\"message\",1]garbage"),     "!" },
    { "C97 separator in a text message, C44",
      ngx_string("2[\"a\"]\x1e" "42[\"b\"]"),    "!" },
    { "C97 payload of a disconnect", ngx_string("1{\"a\":1}"), "!"           },
    { "C97 array as auth",        ngx_string("0[1]"),          "!"           },
    { "C97 string as auth",       ngx_string("0\"x\""),        "!"           },
    { "C97 null as auth",         ngx_string("0null"),         "!"           },
    { "C97 object as ack",        ngx_string("3{\"a\":1}"),    "!"           },
    { "C97 null as ack",          ngx_string("31null"),        "!"           },
    { "blank instead of an id",   ngx_string("2 [\"a\"]"),     "!"           },
    { "blank behind an id",       ngx_string("21 [\"a\"]"),    "!"           },
    { "tab before auth",          ngx_string("0\t{}"),         "!"           },
    { "minus before an id",       ngx_string("2-1[\"a\"]"),    "!"           },
    { "id of 2^53",
      ngx_string("29007199254740992[\"a\"]"),    "!" },
    { "id of 21 digits",
      ngx_string("2100000000000000000000[\"a\"]"), "!" },
    { "id of 2^64",
      ngx_string("218446744073709551616[\"a\"]"), "!" },

    { "C98 connect",              ngx_string("2[\"connect\"]"),         "!"  },
    { "C98 connect_error",        ngx_string("2[\"connect_error\",1]"), "!"  },
    { "C98 disconnect",           ngx_string("2[\"disconnect\"]"),      "!"  },
    { "C98 disconnecting",        ngx_string("2[\"disconnecting\"]"),   "!"  },
    { "C98 newListener",          ngx_string("2[\"newListener\"]"),     "!"  },
    { "C98 removeListener",       ngx_string("2[\"removeListener\"]"),  "!"  },
    { "C98 reserved, escaped",
      ngx_string("2[\"\\u0063onnect\"]"),        "!" },
    { "C98 reserved, in a binary event",
      ngx_string("51-[\"disconnect\"]"),         "!" },
    { "C97 null as name",         ngx_string("2[null]"),       "!"           },
    { "C97 true as name",         ngx_string("2[true]"),       "!"           },
    { "C97 false as name",        ngx_string("2[false,1]"),    "!"           },
    { "C97 array as name",        ngx_string("2[[\"a\"]]"),    "!"           },
    { "C97 object as name",       ngx_string("2[{}]"),         "!"           },

    { "C102 no number of attachments",
      ngx_string("5[\"a\"]"),                    "!" },
    { "C102 minus only",          ngx_string("5-[\"a\"]"),     "!"           },
    { "C102 no minus",            ngx_string("51[\"a\"]"),     "!"           },
    { "C102 number only",         ngx_string("51"),            "!"           },
    { "C102 no attachments",      ngx_string("50-[\"a\"]"),    "!"           },
    { "C102 eleven attachments",  ngx_string("511-[\"a\"]"),   "!"           },
    { "C102 2^64 + 1 attachments",
      ngx_string("518446744073709551617-[\"a\"]"), "!" },
    { "C102 blank before",        ngx_string("5 1-[\"a\"]"),   "!"           },
    { "C102 exponent",            ngx_string("51e0-[\"a\"]"),  "!"           },
    { "C102 plus",                ngx_string("5+1-[\"a\"]"),   "!"           },
    { "C102 negative",            ngx_string("5-1-[\"a\"]"),   "!"           },
    { "C102 attachments without payload", ngx_string("51-"),   "!"           },
    { "C102 binary ack without payload", ngx_string("61-1"),   "!"           },
};


static ngx_sio_test_case_t  revision4[] = {
    { "C84 query is split off",
      ngx_string("0/custom?token=abc&x=1,"),
      "0 /custom ?(token=abc&x=1)" },
    { "C84 query without comma",
      ngx_string("0/custom?token=abc"),          "0 /custom ?(token=abc)" },
    { "C84 percent stays",
      ngx_string("0/custom?a=%2C%20b,"),         "0 /custom ?(a=%2C%20b)" },
    { "C84 second question mark",
      ngx_string("0/custom?a=?,"),               "0 /custom ?(a=?)" },
    { "C84 empty query",
      ngx_string("0/custom?,"),                  "0 /custom ?()" },
    { "C84 root with a query",
      ngx_string("0/?a=1,"),                     "0 / ?(a=1)" },
    { "C84 comma in the query is malformed",
      ngx_string("0/custom?a=1,2,x"),            "!" },
    { "no query",                 ngx_string("0/custom,"),     "0 /custom"   },
    { "query elsewhere is a namespace",
      ngx_string("2/custom?a=1,[\"a\"]"),
      "2 /custom?a=1 [\"a\"] \"a\"()" },
    { "error with a string",      ngx_string("4\"x\""),        "4 / \"x\""   },
    { "C98 reserved names",       ngx_string("2[\"connect\"]"), "!"          },
};


/* what the log will say */

static ngx_sio_test_case_t  reasons[] = {
    { "nothing",                  ngx_string(""),   "unknown packet type"    },
    { "below the types",          ngx_string("/"),  "unknown packet type"    },
    { "above the types",          ngx_string("7"),  "unknown packet type"    },
    { "no number of attachments",
      ngx_string("5["),                "illegal number of attachments" },
    { "no attachments",
      ngx_string("50-[\"a\"]"),        "illegal number of attachments" },
    { "eleven attachments",
      ngx_string("511-[\"a\"]"),       "too many attachments" },
    { "large id",
      ngx_string("29007199254740992[\"a\"]"), "too large acknowledgement id" },
    { "blank",                    ngx_string("2 "), "malformed payload"      },
    { "bad JSON",                 ngx_string("2["), "malformed payload"      },
    { "object as event",
      ngx_string("2{}"),               "payload of a wrong type" },
    { "no payload",               ngx_string("2"),  "no payload"             },
    { "empty array",              ngx_string("2[]"), "no event name"         },
    { "null as name",
      ngx_string("2[null]"),           "event name of a wrong type" },
    { "reserved name",
      ngx_string("2[\"connect\"]"),    "reserved event name" },
};


/* the first octet is the number of attachments */

static ngx_sio_test_case_t  placeholders[] = {
    { "none used",                ngx_string("1[\"a\",1]"),             "+"  },
    { "one",                      ngx_string("1[\"a\"," P(0) "]"),      "+"  },
    { "any order",
      ngx_string("3[" P(2) "," P(0) "," P(1) "]"),                      "+"  },
    { "one repeated, one unused",
      ngx_string("2[" P(0) "," P(0) "]"),                               "+"  },
    { "deep",
      ngx_string("2[{\"a\":[{\"b\":" P(1) "}]}]"),                      "+"  },
    { "extra keys",
      ngx_string("1[{\"x\":[],\"num\":0,\"y\":{},\"_placeholder\":true}]"),
                                                                        "+"  },
    { "escaped keys",
      ngx_string("1[{\"\\u005fplaceholder\":true,\"n\\u0075m\":0}]"),   "+"  },
    { "last duplicate counts",
      ngx_string("1[{\"_placeholder\":true,\"num\":9,\"num\":0}]"),     "+"  },
    { "taken back by a duplicate",
      ngx_string("1[{\"_placeholder\":true,\"_placeholder\":false}]"),  "+"  },
    { "num without _placeholder", ngx_string("1[{\"num\":9}]"),         "+"  },
    { "_placeholder is not true",
      ngx_string("1[{\"_placeholder\":1,\"num\":9},"
                 "{\"_placeholder\":\"true\",\"num\":9},"
                 "{\"_placeholder\":null,\"num\":9},"
                 "{\"_placeholder\":[true],\"num\":9}]"),               "+"  },
    { "strings that look like it",
      ngx_string("1[\"_placeholder\",true,\"{\\\"_placeholder\\\":true}\","
                 "{\"a\":\"_placeholder\",\"b\":true}]"),               "+"  },
    { "inside of a placeholder nothing counts",
      ngx_string("1[{\"x\":[" P(9) "],\"_placeholder\":true,\"num\":0}]"),
                                                                        "+"  },
    { "name of an event in the way",
      ngx_string("1[\"num\"," P(0) "]"),                                "+"  },
    { "C104 num out of range",    ngx_string("1[\"a\"," P(1) "]"),      "!"  },
    { "C104 second is out of range",
      ngx_string("2[" P(0) "," P(2) "]"),                               "!"  },
    { "C104 deep",
      ngx_string("1[{\"a\":[{\"b\":" P(1) "}]},1]"),                    "!"  },
    { "C104 good one behind",
      ngx_string("1[" P(1) "," P(0) "]"),                               "!"  },
    { "C104 negative",            ngx_string("1[" P(-1) "]"),           "!"  },
    { "C104 fraction",            ngx_string("1[" P(0.5) "]"),          "!"  },
    { "C104 string",              ngx_string("1[" P("0") "]"),          "!"  },
    { "C104 null",                ngx_string("1[" P(null) "]"),         "!"  },
    { "C104 array",               ngx_string("1[" P([0]) "]"),          "!"  },
    { "C104 object",              ngx_string("1[" P({"num":0}) "]"),    "!"  },
    { "C104 2^64",
      ngx_string("1[" P(18446744073709551616) "]"),                     "!"  },
    { "C104 num missing",
      ngx_string("1[{\"_placeholder\":true}]"),                         "!"  },
    { "C104 num in an inner object only",
      ngx_string("1[{\"_placeholder\":true,\"x\":{\"num\":0}}]"),       "!"  },
    { "C104 last duplicate counts",
      ngx_string("1[{\"_placeholder\":true,\"num\":0,\"num\":1}]"),     "!"  },
    { "C104 no attachments at all", ngx_string("0[" P(0) "]"),          "!"  },
    { "malformed, closed too often", ngx_string("1]"),                  "!"  },
    { "malformed, not closed",    ngx_string("1[["),                    "!"  },
    { "malformed token",          ngx_string("1[x]"),                   "!"  },
};


static void
test_decode(ngx_str_t *in, ngx_uint_t revision)
{
    ngx_int_t          rc;
    const char        *err;
    ngx_sio_packet_t   p;

    err = NULL;

    rc = ngx_sio_packet_decode(in, MAX_ATTACHMENTS, revision, &p, &err);

    if (rc == NGX_DECLINED) {
        ngx_sio_test_out(err ? "!" : "! without a reason");
        return;
    }

    ngx_sio_test_out("%s%d", rc == NGX_DONE ? "ignore " : "", p.type);

    if (p.attachments) {
        ngx_sio_test_out("*%d", (int) p.attachments);
    }

    ngx_sio_test_out(" ");
    ngx_sio_test_str(&p.nsp);

    if (p.query.data) {
        ngx_sio_test_out(" ?(");
        ngx_sio_test_str(&p.query);
        ngx_sio_test_out(")");
    }

    if (p.id != NGX_SIO_PACKET_NO_ID) {
        ngx_sio_test_out(" #%llu", (unsigned long long) p.id);
    }

    if (p.payload.len) {
        ngx_sio_test_out(" ");
        ngx_sio_test_str(&p.payload);
    }

    if (p.args.data) {
        ngx_sio_test_out(" ");
        ngx_sio_test_str(&p.event);
        ngx_sio_test_out("(");
        ngx_sio_test_str(&p.args);
        ngx_sio_test_out(")");
    }
}


static void
test_revision5(ngx_str_t *in)
{
    test_decode(in, 5);
}


static void
test_revision4(ngx_str_t *in)
{
    test_decode(in, 4);
}


static void
test_reason(ngx_str_t *in)
{
    const char        *err;
    ngx_sio_packet_t   p;

    err = "none";

    (void) ngx_sio_packet_decode(in, MAX_ATTACHMENTS, 5, &p, &err);

    ngx_sio_test_out("%s", err);
}


static void
test_placeholders(ngx_str_t *in)
{
    ngx_str_t  payload;

    if (in->len == 0) {
        return;
    }

    payload.data = in->data + 1;
    payload.len = in->len - 1;

    ngx_sio_test_out(ngx_sio_packet_placeholders(&payload,
                                                 in->data[0] - '0')
                     == NGX_OK ? "+" : "!");
}


static void
test_depth(void)
{
    size_t              i, len;
    u_char             *p;
    ngx_str_t           text;
    const char         *err;
    ngx_sio_packet_t    packet;

    len = 2 * NGX_SIO_PACKET_DEPTH;

    text.len = len + 5;
    text.data = malloc(text.len);

    p = ngx_cpymem(text.data, "2[\"a\",", 6);

    for (i = 1; i < NGX_SIO_PACKET_DEPTH; i++) {
        *p++ = '[';
    }

    for (i = 0; i < NGX_SIO_PACKET_DEPTH; i++) {
        *p++ = ']';
    }

    text.len = p - text.data;

    ngx_sio_test_ok(ngx_sio_packet_decode(&text, 1, 5, &packet, &err)
                    == NGX_OK
                    && ngx_sio_packet_placeholders(&packet.payload, 1)
                       == NGX_OK,
                    "", "as deep as allowed");

    free(text.data);

    text.len = 1000001;
    text.data = malloc(text.len);
    memset(text.data, '[', text.len);
    text.data[0] = '2';

    ngx_sio_test_ok(ngx_sio_packet_decode(&text, 1, 5, &packet, &err)
                    == NGX_DECLINED
                    && ngx_sio_packet_placeholders(&text, 1) == NGX_DECLINED,
                    "", "a million brackets are too deep");

    free(text.data);
}


static void
test_written(const char *name, u_char *p, u_char *last, size_t len,
    const char *expected)
{
    ngx_sio_test_reset();
    ngx_sio_test_octets(p, len);

    if (last != p + len) {
        ngx_sio_test_out(" but length is wrong");
    }

    free(p);

    ngx_sio_test_ok(ngx_sio_test_compare(expected, "written",
                                         NGX_SIO_TEST_OCTETS),
                    "write", name);
}


static void
test_header(const char *name, ngx_sio_packet_type_e type,
    ngx_uint_t attachments, const char *nsp, uint64_t id,
    const char *expected)
{
    size_t             len;
    u_char            *p;
    ngx_sio_packet_t   packet;

    ngx_memzero(&packet, sizeof(ngx_sio_packet_t));

    packet.type = type;
    packet.attachments = attachments;
    packet.nsp.data = (u_char *) nsp;
    packet.nsp.len = strlen(nsp);
    packet.id = id;

    len = ngx_sio_packet_header_length(&packet);
    p = malloc(len);

    test_written(name, p, ngx_sio_packet_header_write(p, &packet), len,
                 expected);
}


static void
test_connect(const char *name, const char *nsp, const char *sid,
    const char *pid, const char *expected)
{
    size_t      len;
    u_char     *p;
    ngx_str_t   n, s, i, *sp, *ip;

    n.data = (u_char *) nsp;
    n.len = strlen(nsp);

    s.data = (u_char *) sid;
    s.len = sid ? strlen(sid) : 0;
    sp = sid ? &s : NULL;

    i.data = (u_char *) pid;
    i.len = pid ? strlen(pid) : 0;
    ip = pid ? &i : NULL;

    len = ngx_sio_packet_connect_length(&n, sp, ip);
    p = malloc(len);

    test_written(name, p, ngx_sio_packet_connect_write(p, &n, sp, ip), len,
                 expected);
}


static void
test_error(const char *name, ngx_uint_t revision, const char *nsp,
    const char *message, const char *data, const char *expected)
{
    size_t                    len;
    u_char                   *p;
    ngx_str_t                 d;
    ngx_sio_packet_error_t    e;

    e.revision = revision;
    e.nsp.data = (u_char *) nsp;
    e.nsp.len = strlen(nsp);
    e.message.data = (u_char *) message;
    e.message.len = strlen(message);

    d.data = (u_char *) data;
    d.len = data ? strlen(data) : 0;
    e.data = data ? &d : NULL;

    len = ngx_sio_packet_error_length(&e);
    p = malloc(len);

    test_written(name, p, ngx_sio_packet_error_write(p, &e), len, expected);
}


static void
test_writers(void)
{
    test_header("event", NGX_SIO_PACKET_EVENT, 0, "/",
                NGX_SIO_PACKET_NO_ID, "42");
    test_header("event with id in a namespace", NGX_SIO_PACKET_EVENT, 0,
                "/admin", 13, "42/admin,13");
    test_header("C99 ack of id 0", NGX_SIO_PACKET_ACK, 0, "/", 0, "430");
    test_header("C101 binary event", NGX_SIO_PACKET_BINARY_EVENT, 2,
                "/admin", 7, "452-/admin,7");
    test_header("C101 binary ack", NGX_SIO_PACKET_BINARY_ACK, 10, "",
                NGX_SIO_PACKET_MAX_ID, "4610-9007199254740991");
    test_header("attachments of a plain event are not written",
                NGX_SIO_PACKET_EVENT, 2, "/", NGX_SIO_PACKET_NO_ID, "42");
    test_header("C105 disconnect", NGX_SIO_PACKET_DISCONNECT, 0, "/",
                NGX_SIO_PACKET_NO_ID, "41");
    test_header("C105 disconnect of a namespace", NGX_SIO_PACKET_DISCONNECT,
                0, "/custom", NGX_SIO_PACKET_NO_ID, "41/custom,");

    test_connect("C88 connect", "/", "38JMI9Hyw9BNZjk-AABA", NULL,
                 "40{\"sid\":\"38JMI9Hyw9BNZjk-AABA\"}");
    test_connect("C89 connect to a namespace", "/custom", "s", NULL,
                 "40/custom,{\"sid\":\"s\"}");
    test_connect("C108 connect with pid", "/", "s", "p",
                 "40{\"sid\":\"s\",\"pid\":\"p\"}");
    test_connect("C74 connect of revision 4", "/", NULL, NULL, "40");
    test_connect("C84 connect to a namespace, revision 4", "/custom", NULL,
                 NULL, "40/custom,");

    test_error("C90 unknown namespace", 5, "/nope", "Invalid namespace",
               NULL, "44/nope,{\"message\":\"Invalid namespace\"}");
    test_error("C91 error with data", 5, "/mw", "E2", "{\"code\":\"X\"}",
               "44/mw,{\"message\":\"E2\",\"data\":{\"code\":\"X\"}}");
    test_error("C91 empty text", 5, "/", "", NULL, "44{\"message\":\"\"}");
    test_error("error is escaped", 5, "/", "a\"b\n", NULL,
               "44{\"message\":\"a\\\"b\\n\"}");
    test_error("C85 error of revision 4", 4, "/deny", "Not authorized", NULL,
               "44/deny,\"Not authorized\"");
    test_error("C85 data replaces the text in revision 4", 4, "/deny", "x",
               "{\"code\":42}", "44/deny,{\"code\":42}");
    test_error("C85 root refused in revision 4", 4, "/", "root no", NULL,
               "44\"root no\"");
}


int
main(void)
{
    ngx_sio_test_table(inputs, "decode", packets, test_revision5);
    ngx_sio_test_table(inputs, "decode revision 4", revision4,
                       test_revision4);
    ngx_sio_test_table(inputs, "reason", reasons, test_reason);
    ngx_sio_test_table(inputs, "placeholders", placeholders,
                       test_placeholders);

    test_depth();
    test_writers();

    return ngx_sio_test_done();
}
