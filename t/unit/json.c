
/* link: src/codec/ngx_sio_json.c src/codec/ngx_sio_utf8.c */

#include "ngx_sio_test.h"
#include "ngx_sio_json.h"


#define DEPTH  4


static ngx_sio_test_case_t  values[] = {
    { "null",                     ngx_string("null"),          "(null)"      },
    { "true and false",           ngx_string("true false"),
                                                        "(true)(false)"      },
    { "zero",                     ngx_string("0"),             "(0)"         },
    { "negative zero",            ngx_string("-0"),            "(-0)"        },
    { "integer",                  ngx_string("1234567890"), "(1234567890)"   },
    { "fraction and exponent",    ngx_string("-12.50e+10"),
                                                        "(-12.50e+10)"       },
    { "exponent without sign",    ngx_string("1e5"),           "(1e5)"       },
    { "zeros and nines",          ngx_string("90.09e90"),      "(90.09e90)"  },
    { "large exponent stays",     ngx_string("1E400"),         "(1E400)"     },
    { "no digits stay behind",    ngx_string("01"),            "(0)(1)"      },
    { "empty string",             ngx_string("\"\""),          "(\"\")"      },
    { "string",                   ngx_string("\"a b\""),       "(\"a b\")"   },
    { "long string",
      ngx_string("\"0123456789abcdef0123456789abcdef\""),
      "(\"0123456789abcdef0123456789abcdef\")" },
    { "quote behind a long string, escaped",
      ngx_string("\"0123456789abcdef0123456789\\\"bcdef\""),
      "(\"0123456789abcdef0123456789\\\"bcdef\")" },
    { "escapes",
      ngx_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\""),
      "(\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\")" },
    { "DEL and UTF-8 in a string",
      ngx_string("\"\x7f\xc3\xa9\""),     "(\"\\x7f\xc3\xa9\")" },
    { "empty array",              ngx_string("[]"),            "([])"        },
    { "empty object",             ngx_string("{}"),            "({})"        },
    { "blanks inside stay",
      ngx_string("[ 1 ,\t2\r\n]"),        "([ 1 ,\\x092\\x0d\\x0a])" },
    { "blanks around go",
      ngx_string(" \t\r\n{} "),           "({})" },
    { "object",
      ngx_string("{\"a\":1,\"b\":[true,null]}"),
      "({\"a\":1,\"b\":[true,null]})" },
    { "duplicate names stay",
      ngx_string("{\"a\":1,\"a\":2}"),    "({\"a\":1,\"a\":2})" },
    { "arrays and objects in each other",
      ngx_string("[{\"a\":[{}]},[[[]]]]"),
      "([{\"a\":[{}]},[[[]]]])" },
    { "as deep as allowed",       ngx_string("[[[[]]]]"),      "([[[[]]]])"  },
    { "deeper",                   ngx_string("[[[[[]]]]]"),    "!"           },
    { "deeper in objects",
      ngx_string("{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}"),   "!" },
    { "what follows is left",     ngx_string("[1]garbage"),    "([1])!"      },

    { "C97 nothing",              ngx_string(""),              ""            },
    { "C97 one apostrophe",       ngx_string("'a'"),           "!"           },
    { "C97 word",                 ngx_string("nul"),           "!"           },
    { "C97 capital word",         ngx_string("True"),          "!"           },
    { "C97 NaN",                  ngx_string("NaN"),           "!"           },
    { "C97 plus",                 ngx_string("+1"),            "!"           },
    { "C97 minus only",           ngx_string("-"),             "!"           },
    { "C97 fraction only",        ngx_string(".5"),            "!"           },
    { "C97 point without digits", ngx_string("1."),            "!"           },
    { "C97 point and exponent",   ngx_string("1.e5"),          "!"           },
    { "C97 exponent only",        ngx_string("1e"),            "!"           },
    { "C97 sign of exponent only", ngx_string("1e+"),          "!"           },
    { "C97 leading zero in array", ngx_string("[01]"),         "!"           },
    { "C97 hexadecimal",          ngx_string("[0x10]"),        "!"           },
    { "C97 string not closed",    ngx_string("\"a"),           "!"           },
    { "C97 backslash at the end", ngx_string("\"a\\"),         "!"           },
    { "C97 unknown escape",       ngx_string("\"\\x41\""),     "!"           },
    { "C97 short \\u",            ngx_string("\"\\u00e\""),    "!"           },
    { "C97 \\u at the end",       ngx_string("\"\\u00e"),      "!"           },
    { "C97 \\u without digits",   ngx_string("\"\\u00eg\""),   "!"           },
    { "C97 control character",    ngx_string("\"a\nb\""),      "!"           },
    { "C97 zero octet in string", ngx_string("\"a\0b\""),      "!"           },
    { "C97 control character in a word",
      ngx_string("\"0123\x1f" "456789abcdef\""),              "!" },
    { "C97 array not closed",     ngx_string("[1"),            "!"           },
    { "C97 array closed as object", ngx_string("[1}"),         "!"           },
    { "C97 object closed as array", ngx_string("{\"a\":1]"),   "!"           },
    { "C97 closed only",          ngx_string("]"),             "!"           },
    { "C97 trailing comma in array", ngx_string("[1,]"),       "!"           },
    { "C97 leading comma",        ngx_string("[,1]"),          "!"           },
    { "C97 two commas",           ngx_string("[1,,2]"),        "!"           },
    { "C97 no comma",             ngx_string("[1 2]"),         "!"           },
    { "C97 colon in array",       ngx_string("[1:2]"),         "!"           },
    { "C97 trailing comma in object", ngx_string("{\"a\":1,}"), "!"          },
    { "C97 leading comma in object", ngx_string("{,}"),        "!"           },
    { "C97 name without value",   ngx_string("{\"a\"}"),       "!"           },
    { "C97 name and colon only",  ngx_string("{\"a\":}"),      "!"           },
    { "C97 two colons",           ngx_string("{\"a\"::1}"),    "!"           },
    { "C97 name is no string",    ngx_string("{1:2}"),         "!"           },
    { "C97 name is not quoted",   ngx_string("{a:2}"),         "!"           },
    { "C97 name is an array",     ngx_string("{[]:2}"),        "!"           },
    { "C97 comment",              ngx_string("[/**/]"),        "!"           },
    { "C97 form feed is no blank", ngx_string("\f1"),          "!"           },
    { "C97 byte order mark",      ngx_string("\xef\xbb\xbf" "1"), "!"        },
    { "C97 malformed UTF-8 outside of strings", ngx_string("[\xff]"), "!"    },
};


static ngx_sio_test_case_t  texts[] = {
    { "one value",                ngx_string("[1]"),           "(array)"     },
    { "blanks around",            ngx_string(" \"a\" \r\n"),   "(string)"    },
    { "number",                   ngx_string("-1"),            "(number)"    },
    { "smallest digit",           ngx_string("0"),             "(number)"    },
    { "largest digit",            ngx_string("9"),             "(number)"    },
    { "object",                   ngx_string("{\"a\":1}"),     "(object)"    },
    { "null",                     ngx_string("null"),          "(null)"      },
    { "true",                     ngx_string("true"),          "(true)"      },
    { "false",                    ngx_string("false"),         "(false)"     },
    { "empty",                    ngx_string(""),              "!"           },
    { "blanks",                   ngx_string("  "),            "!"           },
    { "two values",               ngx_string("1 2"),           "!"           },
    { "C97 garbage behind",       ngx_string("[\"message\",1]garbage"), "!"  },
    { "C97 zero octet behind",    ngx_string("[1]\0"),         "!"           },
};


static ngx_sio_test_case_t  walks[] = {
    { "empty array",              ngx_string("[ ]"),           "."           },
    { "elements",
      ngx_string("[ 1 , \"a\" ,[2,3],{\"b\":4}\n]"),
      "(1)(\"a\")([2,3])({\"b\":4})." },
    { "empty object",             ngx_string("{ }"),           "."           },
    { "members",
      ngx_string("{ \"a\" : 1 , \"b\":[ {} ],\"\":null }"),
      "\"a\"(1)\"b\"([ {} ])\"\"(null)." },
    { "comma and brackets in strings",
      ngx_string("[\"a,b\",\"]\",\"\\\",\"]"),
      "(\"a,b\")(\"]\")(\"\\\",\")." },
    { "string has no elements",   ngx_string("\"abc\""),       "."           },
    { "number has no elements",   ngx_string("12"),            "."           },
    { "malformed, only opened",   ngx_string("["),             "."           },
    { "malformed, name is no string", ngx_string("{1:2}"),     "!"           },
    { "malformed, no colon",      ngx_string("{\"a\" 1}"),     "!"           },
    { "malformed, no value",      ngx_string("{\"a\":}"),      "!"           },
};


static ngx_sio_test_case_t  finds[] = {
    { "plain name",               ngx_string("{\"a\":0,\"key\":1}"),   "(1)" },
    { "escaped name",             ngx_string("{\"\\u006Bey\":1}"),     "(1)" },
    { "last of several counts",
      ngx_string("{\"key\":1,\"k\\u0065y\":2,\"x\":3}"),               "(2)" },
    { "not in an inner object",   ngx_string("{\"a\":{\"key\":1}}"),   "!"   },
    { "not a value",              ngx_string("{\"a\":\"key\"}"),       "!"   },
    { "not a beginning",          ngx_string("{\"key2\":1,\"ke\":2}"), "!"   },
    { "not in an array",          ngx_string("[\"key\",1]"),           "!"   },
    { "not in a string",          ngx_string("\"key\""),               "!"   },
};


static ngx_sio_test_case_t  members[] = {
    { "both",        ngx_string("{\"a\":0,\"key\":1,\"k\":[]}"),
      "(1)([])" },
    { "blanks",      ngx_string(" {\t\"k\" : 2\n, \"b\":3 } "),    "()(2)"   },
    { "one only",    ngx_string("{\"key\":{\"k\":1}}"),
      "({\"k\":1})()" },
    { "none",        ngx_string("{}"),                             "()()"    },
    { "none, with a blank", ngx_string("{ }"),                     "()()"    },
    { "others",      ngx_string("{\"keys\":1,\"ke\":2,\"\":3}"),   "()()"    },
    { "escaped",     ngx_string("{\"\\u006b\":1,\"k\\u0065y\":2}"),
      "(2)(1)" },
    { "the last counts", ngx_string("{\"k\":1,\"\\u006b\":2}"),    "()(2)"   },
    { "as deep as allowed",
      ngx_string("{\"k\":[[[]]]}"),                              "()([[[]]])" },
    { "too deep",    ngx_string("{\"k\":[[[[]]]]}"),               "!" },
    { "an array",    ngx_string("[\"k\",1]"),                      "!" },
    { "a string",    ngx_string("\"k\""),                          "!" },
    { "empty",       ngx_string(""),                               "!" },
    { "only a bracket", ngx_string("{"),                           "!" },
    { "no end",      ngx_string("{\"k\":1"),                       "!" },
    { "no value",    ngx_string("{\"k\":}"),                       "!" },
    { "no colon",    ngx_string("{\"k\" 1}"),                      "!" },
    { "no name",     ngx_string("{1:1}"),                          "!" },
    { "no comma",    ngx_string("{\"k\":1 \"key\":2}"),            "!" },
    { "a comma at the end",   ngx_string("{\"k\":1,}"),            "!" },
    { "a comma at the start", ngx_string("{,\"k\":1}"),            "!" },
    { "only a comma",         ngx_string("{,}"),                   "!" },
    { "closed as an array",   ngx_string("{\"k\":1]"),             "!" },
    { "an object in the way", ngx_string("{\"k\":1{\"k\":2}"),     "!" },
    { "a value that is none", ngx_string("{\"a\":[1,]}"),          "!" },
    { "something behind it",  ngx_string("{\"k\":1}{}"),           "!" },
    { "a NUL behind it",      ngx_string("{\"k\":1}\0"),           "!" },
};


static ngx_sio_test_case_t  strings[] = {
    { "empty",                    ngx_string("\"\""),          ""            },
    { "plain",                    ngx_string("\"abc\""),       "abc"         },
    { "UTF-8",                    ngx_string("\"\xc3\xa9\""),  "\xc3\xa9"    },
    { "short escapes",
      ngx_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
      "\"\\/\\x08\\x0c\\x0a\\x0d\\x09" },
    { "escape behind and before text",
      ngx_string("\"0123456789\\n0123456789\""),
      "0123456789\\x0a0123456789" },
    { "\\u of one octet",         ngx_string("\"\\u0041\""),   "A"           },
    { "\\u0000",                  ngx_string("\"a\\u0000b\""), "a\\x00b"     },
    { "\\u of two octets",        ngx_string("\"\\u00E9\""),   "\xc3\xa9"    },
    { "\\u of three octets",      ngx_string("\"\\u20aC\""), "\xe2\x82\xac"  },
    { "pair",
      ngx_string("\"\\ud83d\\ude00\""),        "\xf0\x9f\x98\x80" },
    { "pair and text",
      ngx_string("\"a\\ud83d\\ude00bc\""),     "a\xf0\x9f\x98\x80" "bc" },
    { "smallest pair",
      ngx_string("\"\\ud800\\udc00\""),        "\xf0\x90\x80\x80" },
    { "largest pair",
      ngx_string("\"\\udbff\\udfff\""),        "\xf4\x8f\xbf\xbf" },
    { "around surrogates",
      ngx_string("\"\\ud7ff\\ue000\""),        "\xed\x9f\xbf\xee\x80\x80" },
    { "smallest and largest surrogate alone",
      ngx_string("\"\\udfff\\ud800\""),        "\xef\xbf\xbd\xef\xbf\xbd" },
    { "highest and lowest behind a high one",
      ngx_string("\"\\ud800\\udbff\\ud800\\ue000\""),
      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xee\x80\x80" },
    { "smallest low surrogate alone",
      ngx_string("\"\\udc00\\udc00\""),        "\xef\xbf\xbd\xef\xbf\xbd" },
    { "high surrogate alone",     ngx_string("\"\\ud83d\""), "\xef\xbf\xbd"  },
    { "low surrogate alone",      ngx_string("\"\\ude00\""), "\xef\xbf\xbd"  },
    { "high surrogate and text",
      ngx_string("\"\\ud83dab\""),             "\xef\xbf\xbd" "ab" },
    { "high surrogate and escape",
      ngx_string("\"\\ud83d\\n\""),            "\xef\xbf\xbd\\x0a" },
    { "high surrogate and \\u",
      ngx_string("\"\\ud83d\\u0041\""),        "\xef\xbf\xbd" "A" },
    { "high surrogate twice",
      ngx_string("\"\\ud83d\\ud83d\\ude00\""),
      "\xef\xbf\xbd\xf0\x9f\x98\x80" },
    { "pair the wrong way round",
      ngx_string("\"\\ude00\\ud83d\""),        "\xef\xbf\xbd\xef\xbf\xbd" },
    { "no string",                ngx_string("[1]"),           ""            },
    { "malformed, one quote",     ngx_string("\""),            ""            },
    { "malformed, control characters stay",
      ngx_string("\"a\n\"b\""),                "a\\x0a\"b" },
    { "malformed, not longer than its source",
      ngx_string("\"\\u\\u\\u12\\q\\\""),      "uuu12q\\" },
};


static ngx_sio_test_case_t  equals[] = {
    { "plain",                    ngx_string("\"caf\xc3\xa9\""),   "="       },
    { "escaped",                  ngx_string("\"c\\u0061f\\u00e9\""), "="    },
    { "shorter",                  ngx_string("\"caf\""),           "-"       },
    { "longer",                   ngx_string("\"caf\xc3\xa9s\""),  "-"       },
    { "longer by an escape",      ngx_string("\"caf\xc3\xa9\\n\""), "-"      },
    { "cut in a character",       ngx_string("\"caf\\u20ac\""),    "-"       },
    { "another case",             ngx_string("\"Caf\xc3\xa9\""),   "-"       },
    { "empty",                    ngx_string("\"\""),              "-"       },
    { "one quote",                ngx_string("\""),            "-"           },
    { "not quoted",               ngx_string("caf\xc3\xa9"),       "-"       },
};


static ngx_sio_test_case_t  uints[] = {
    { "zero",                     ngx_string("0"),             "0"           },
    { "number",                   ngx_string("42"),            "42"          },
    { "nines",                    ngx_string("999"),           "999"         },
    { "limit",                    ngx_string("1000"),          "1000"        },
    { "above the limit",          ngx_string("1001"),          "!"           },
    { "far above",                ngx_string("99999999999999999999999"), "!" },
    { "negative",                 ngx_string("-1"),            "!"           },
    { "negative zero",            ngx_string("-0"),            "!"           },
    { "fraction",                 ngx_string("1.0"),           "!"           },
    { "exponent",                 ngx_string("1e1"),           "!"           },
    { "string",                   ngx_string("\"1\""),         "!"           },
    { "nothing",                  ngx_string(""),              "!"           },
};


static ngx_sio_test_case_t  escapes[] = {
    { "empty",                    ngx_string(""),              ""            },
    { "plain",                    ngx_string("a/b"),           "a/b"         },
    { "quote and backslash",      ngx_string("a\"\\"),         "a\\\"\\\\"   },
    { "short escapes",            ngx_string("\b\f\n\r\t"),
                                                     "\\b\\f\\n\\r\\t"       },
    { "other control characters",
      ngx_string("\0\x01\x0b\x1f"),       "\\u0000\\u0001\\u000b\\u001f" },
    { "DEL and UTF-8 stay",
      ngx_string("\x7f\xe2\x80\xa8"),     "\\x7f\xe2\x80\xa8" },
};


static void
test_value(ngx_str_t *in)
{
    u_char     *p, *end;
    ngx_str_t   value;

    p = in->data;
    end = in->data + in->len;

    while (p < end) {

        if (ngx_sio_json_value(&p, end, DEPTH, &value) != NGX_OK) {
            ngx_sio_test_out("!");

            if (p < in->data || p > end) {
                ngx_sio_test_out(" but out of bounds");
            }

            break;
        }

        ngx_sio_test_out("(");
        ngx_sio_test_str(&value);
        ngx_sio_test_out(")");

        while (p < end && *p == ' ') {
            p++;
        }
    }
}


static void
test_value_blank(ngx_str_t *in)
{
    u_char     *p;
    ngx_str_t   value;

    p = in->data;

    if (ngx_sio_json_value(&p, in->data + in->len, DEPTH, &value) == NGX_OK) {
        ngx_sio_test_out("(");
        ngx_sio_test_str(&value);
        ngx_sio_test_out(") ");
        ngx_sio_test_octets(p, in->data + in->len - p);

    } else {
        ngx_sio_test_out("!");
    }
}


static void
test_text(ngx_str_t *in)
{
    ngx_str_t  value;

    static const char  *names[] = {
        "invalid", "object", "array", "string", "number", "true", "false",
        "null"
    };

    if (ngx_sio_json_text(in, DEPTH, &value) == NGX_OK) {
        ngx_sio_test_out("(%s)", names[ngx_sio_json_type(&value)]);

    } else {
        ngx_sio_test_out("!");
    }
}


static void
test_walk(ngx_str_t *in)
{
    ngx_int_t            rc;
    ngx_str_t            key, value;
    ngx_uint_t           object;
    ngx_sio_json_iter_t  it;

    object = (ngx_sio_json_type(in) == NGX_SIO_JSON_OBJECT);

    ngx_sio_json_iter(&it, in);

    for ( ;; ) {
        rc = object ? ngx_sio_json_member(&it, &key, &value)
                    : ngx_sio_json_element(&it, &value);

        if (rc != NGX_OK) {
            break;
        }

        if (object) {
            ngx_sio_test_str(&key);
        }

        ngx_sio_test_out("(");
        ngx_sio_test_str(&value);
        ngx_sio_test_out(")");
    }

    ngx_sio_test_out(rc == NGX_DONE ? "." : "!");
}


static void
test_members(ngx_str_t *in)
{
    ngx_str_t  values[2];

    static const ngx_str_t  names[] = { ngx_string("key"), ngx_string("k") };

    if (ngx_sio_json_members(in, 4, names, 2, values) != NGX_OK) {
        ngx_sio_test_out("!");
        return;
    }

    ngx_sio_test_out("(");
    ngx_sio_test_str(&values[0]);
    ngx_sio_test_out(")(");
    ngx_sio_test_str(&values[1]);
    ngx_sio_test_out(")");
}


static void
test_find(ngx_str_t *in)
{
    ngx_str_t  value;

    if (ngx_sio_json_find(in, "key", &value) == NGX_OK) {
        ngx_sio_test_out("(");
        ngx_sio_test_str(&value);
        ngx_sio_test_out(")");

    } else {
        ngx_sio_test_out("!");
    }
}


static void
test_string(ngx_str_t *in)
{
    size_t   len;
    u_char  *p, *last;

    len = ngx_sio_json_string_length(in);
    p = malloc(len);
    last = ngx_sio_json_string_write(p, in);

    ngx_sio_test_octets(p, len);

    if (last != p + len || len > in->len) {
        ngx_sio_test_out(" but length is wrong");
    }

    /* in place */

    last = ngx_sio_json_string_write(in->data, in);

    if ((size_t) (last - in->data) != len
        || (len && memcmp(p, in->data, len) != 0))
    {
        ngx_sio_test_out(" but in place it differs");
    }

    free(p);
}


static void
test_equal(ngx_str_t *in)
{
    ngx_str_t  plain;

    plain.len = 5;
    plain.data = ngx_sio_test_copy((u_char *) "caf\xc3\xa9", 5);

    ngx_sio_test_out(ngx_sio_json_string_equal(in, &plain) ? "=" : "-");

    free(plain.data);
}


static void
test_uint(ngx_str_t *in)
{
    uint64_t  n;

    if (ngx_sio_json_uint(in, 1000, &n) == NGX_OK) {
        ngx_sio_test_out("%lu", (unsigned long) n);

    } else {
        ngx_sio_test_out("!");
    }
}


static void
test_escape(ngx_str_t *in)
{
    size_t   len;
    u_char  *p, *last;

    len = ngx_sio_json_escape_length(in->data, in->len);
    p = malloc(len);
    last = ngx_sio_json_escape(p, in->data, in->len);

    ngx_sio_test_octets(p, len);

    if (last != p + len) {
        ngx_sio_test_out(" but length is wrong");
    }

    free(p);
}


static void
test_depth(void)
{
    u_char      *p;
    ngx_str_t    text, value;
    ngx_uint_t   n, ok;

    n = NGX_SIO_JSON_MAX_DEPTH;

    text.len = 1000000;
    text.data = malloc(text.len);
    memset(text.data, '[', text.len);

    p = text.data;

    ok = ngx_sio_json_value(&p, text.data + text.len, 1000000, &value)
         == NGX_DECLINED
         && p == text.data + n;

    ngx_sio_test_ok(ok, "value", "a million brackets stop at the limit");

    memset(text.data + n, ']', n);
    text.len = 2 * n;

    ngx_sio_test_ok(ngx_sio_json_text(&text, n, &value) == NGX_OK,
                    "value", "the deepest nesting");

    text.data[n - 1] = '{';
    text.data[n] = '}';

    ngx_sio_test_ok(ngx_sio_json_text(&text, n, &value) == NGX_OK,
                    "value", "the deepest nesting, of an object");

    text.data[n] = ']';

    ngx_sio_test_ok(ngx_sio_json_text(&text, n, &value) == NGX_DECLINED,
                    "value", "the deepest nesting, closed wrongly");

    free(text.data);
}


/* arrays and objects in an order that no octet of the stack repeats */

static void
test_brackets(void)
{
    u_char      *p, *last;
    ngx_str_t    text, value;
    ngx_uint_t   i, n, ok;

    n = NGX_SIO_JSON_MAX_DEPTH;

    text.data = malloc(n * sizeof("{\"\":}"));
    p = text.data;

    for (i = 0; i < n; i++) {

        if (i * i % 7 & 1) {
            p = ngx_cpymem(p, "{\"\":", 4);

        } else {
            *p++ = '[';
        }
    }

    *p++ = '0';
    last = p;

    while (i--) {
        *p++ = (i * i % 7 & 1) ? '}' : ']';
    }

    text.len = p - text.data;

    ngx_sio_test_ok(ngx_sio_json_text(&text, n, &value) == NGX_OK,
                    "value", "mixed brackets");

    ok = 1;

    for (p = last; p < text.data + text.len; p++) {
        *p ^= '}' ^ ']';
        ok = ok && ngx_sio_json_text(&text, n, &value) == NGX_DECLINED;
        *p ^= '}' ^ ']';
    }

    ngx_sio_test_ok(ok, "value", "mixed brackets, each closed wrongly");

    free(text.data);
}


static void
test_decimal(void)
{
    size_t      i;
    u_char     *p, *last;
    ngx_uint_t  ok;
    char        expected[32];

    static const uint64_t  n[] = {
        0, 9, 10, 99, 100, 1000000, 9007199254740991ULL,
        18446744073709551615ULL
    };

    ok = 1;

    for (i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
        snprintf(expected, sizeof(expected), "%llu",
                 (unsigned long long) n[i]);

        p = malloc(ngx_sio_json_uint_length(n[i]));
        last = ngx_sio_json_uint_write(p, n[i]);

        ok = ok && (size_t) (last - p) == strlen(expected)
             && memcmp(p, expected, last - p) == 0;

        free(p);
    }

    ngx_sio_test_ok(ok, "decimal", "from 0 to 2^64 - 1");
}


int
main(void)
{
    static ngx_sio_test_case_t  blank[] = {
        { "blanks before are skipped, those behind are left",
          ngx_string(" \t\r\n 1 "),     "(1) \x20" },
        { "only blanks",      ngx_string("  "),     "!" },
        { "empty",            ngx_string(""),       "!" },
    };

    ngx_sio_test_table(inputs, "value", values, test_value);
    ngx_sio_test_table(inputs, "value", blank, test_value_blank);
    ngx_sio_test_table(inputs, "text", texts, test_text);
    ngx_sio_test_table(inputs, "walk", walks, test_walk);
    ngx_sio_test_table(inputs, "find", finds, test_find);
    ngx_sio_test_table(inputs, "members", members, test_members);
    ngx_sio_test_table(inputs, "string", strings, test_string);
    ngx_sio_test_table(inputs, "equal", equals, test_equal);
    ngx_sio_test_table(inputs, "uint", uints, test_uint);
    ngx_sio_test_table(inputs, "escape", escapes, test_escape);

    test_depth();
    test_brackets();
    test_decimal();

    return ngx_sio_test_done();
}
