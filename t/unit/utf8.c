
/* link: src/codec/ngx_sio_utf8.c */

#include "ngx_sio_test.h"
#include "ngx_sio_utf8.h"


#define LONG_ASCII  "0123456789abcdef0123456789abcdef"


static ngx_sio_test_case_t  validation[] = {
    { "empty",                     ngx_string(""),                  "+"  },
    { "ASCII",                     ngx_string("hello"),             "+"  },
    { "zero octet",                ngx_string("a\0b"),              "+"  },
    { "long ASCII",                ngx_string(LONG_ASCII),          "+"  },
    { "error behind long ASCII",   ngx_string(LONG_ASCII "\xff"),   "!"  },
    { "error in a word of ASCII",  ngx_string("abc\x80" LONG_ASCII), "!" },
    { "two octets",                ngx_string("\xc3\xa9"),          "+"  },
    { "three octets",              ngx_string("\xe2\x82\xac"),      "+"  },
    { "four octets",               ngx_string("\xf0\x9f\x98\x80"),  "+"  },
    { "largest, U+10FFFF",         ngx_string("\xf4\x8f\xbf\xbf"),  "+"  },
    { "below surrogates, U+D7FF",  ngx_string("\xed\x9f\xbf"),      "+"  },
    { "above surrogates, U+E000",  ngx_string("\xee\x80\x80"),      "+"  },
    { "smallest of two octets",    ngx_string("\xc2\x80"),          "+"  },
    { "smallest of three octets",  ngx_string("\xe0\xa0\x80"),      "+"  },
    { "smallest of four octets",   ngx_string("\xf0\x90\x80\x80"),  "+"  },
    { "noncharacter U+FFFF",       ngx_string("\xef\xbf\xbf"),      "+"  },
    { "byte order mark",           ngx_string("\xef\xbb\xbf" "a"),  "+"  },

    { "C51 stray continuation",    ngx_string("a\x80"),             "!"  },
    { "C51 high surrogate",        ngx_string("\xed\xa0\x80"),      "!"  },
    { "C51 low surrogate",         ngx_string("\xed\xbf\xbf"),      "!"  },
    { "C51 beyond U+10FFFF",       ngx_string("\xf4\x90\x80\x80"),  "!"  },
    { "C51 F5",                    ngx_string("\xf5\x80\x80\x80"),  "!"  },
    { "C51 overlong in two",       ngx_string("\xc0\xaf"),          "!"  },
    { "C51 overlong in two, C1",   ngx_string("\xc1\xbf"),          "!"  },
    { "C51 overlong in three",     ngx_string("\xe0\x9f\xbf"),      "!"  },
    { "C51 overlong in four",      ngx_string("\xf0\x8f\xbf\xbf"),  "!"  },
    { "C51 FE and FF",             ngx_string("\xfe\xff"),          "!"  },
    { "C51 lead behind lead",      ngx_string("\xc3\xc3\xa9"),      "!"  },
    { "C51 C0 in two octets",      ngx_string("\xc3\xc0"),          "!"  },
    { "C51 C0 in three octets",    ngx_string("\xe2\x82\xc0"),      "!"  },
    { "C51 C0 in four octets",     ngx_string("\xf0\x9f\x98\xc0"),  "!"  },
    { "C51 ASCII in a character",  ngx_string("\xe2\x82" "a"),      "!"  },
    { "C51 cut off after one",     ngx_string("a\xe2"),             "?"  },
    { "C51 cut off after two",     ngx_string("\xe2\x82"),          "?"  },
    { "C51 cut off after three",   ngx_string("\xf0\x9f\x98"),      "?"  },
};


static ngx_sio_test_case_t  repair[] = {
    { "well-formed stays",
      ngx_string("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" LONG_ASCII),
      "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" LONG_ASCII },

    { "empty stays",               ngx_string(""),              "" },
    { "C31 FF",                    ngx_string("4\xff" "a"),     "4<?>a" },
    { "C31 one for each of C0 AF", ngx_string("\xc0\xaf"),      "<?><?>" },
    { "C31 one for E2 82",         ngx_string("a\xe2\x82" "b"), "a<?>b" },
    { "C31 one for F0 9F 98",      ngx_string("\xf0\x9f\x98" "b"), "<?>b" },
    { "C31 surrogate is three",    ngx_string("\xed\xa0\x80"),
                                                       "<?><?><?>" },
    { "C31 overlong of three",     ngx_string("\xe0\x80\x80"),
                                                       "<?><?><?>" },
    { "C31 cut off at the end",    ngx_string("a\xe2\x82"),     "a<?>" },
    { "C31 two cut off",           ngx_string("\xe2\x82\xf0\x9f"),
                                                       "<?><?>" },
    { "C31 good behind bad",       ngx_string("\xe2\xc3\xa9" LONG_ASCII),
                                                 "<?>\xc3\xa9" LONG_ASCII },
    { "C31 the Unicode example",
      ngx_string("a\xf1\x80\x80\xe1\x80\xc2" "b\x80" "c\x80\xbf" "d"),
      "a<?><?><?>b<?>c<?><?>d" },
};


static ngx_sio_test_case_t  utf16[] = {
    { "C75 empty",                 ngx_string(""),                  "0"  },
    { "C75 ASCII",                 ngx_string("40"),                "2"  },
    { "C75 one unit",              ngx_string("4\xe2\x82\xac"),     "2"  },
    { "C75 two units",             ngx_string("4\xf0\x9f\x98\x80"), "3"  },
    { "C75 the example",
      ngx_string("42[\"message-back\",\"\xc3\xa9\xe2\x82\xac"
                 "\xf0\x9f\x98\x80\"]"),
      "25" },
};


static void
test_validation(ngx_str_t *in, size_t cut)
{
    size_t           offset, n;
    u_char          *p;
    ngx_int_t        rc;
    ngx_sio_utf8_t   u;

    ngx_memzero(&u, sizeof(ngx_sio_utf8_t));

    for (offset = 0; offset < in->len; offset += n) {
        n = ngx_sio_test_chunk(in, offset, cut);
        p = ngx_sio_test_copy(in->data + offset, n);

        rc = ngx_sio_utf8_feed(&u, p, n);

        free(p);

        if (rc != NGX_OK) {
            ngx_sio_test_out("!");
            break;
        }
    }

    if (offset == in->len) {
        ngx_sio_test_out(ngx_sio_utf8_done(&u) == NGX_OK ? "+" : "?");
    }

    if (ngx_sio_utf8_valid(in->data, in->len)
        != (ngx_sio_test_buf[0] == '+'))
    {
        ngx_sio_test_out(" but valid() differs");
    }
}


static void
test_repair(ngx_str_t *in)
{
    size_t   i, len;
    u_char  *p, *last;

    len = ngx_sio_utf8_repair_length(in->data, in->len);
    p = malloc(len);
    last = ngx_sio_utf8_repair(p, in->data, in->len);

    for (i = 0; i < len; i++) {

        if (len - i >= 3 && memcmp(p + i, "\xef\xbf\xbd", 3) == 0) {
            ngx_sio_test_out("<?>");
            i += 2;
            continue;
        }

        ngx_sio_test_octets(p + i, 1);
    }

    if (last != p + len || !ngx_sio_utf8_valid(p, len)) {
        ngx_sio_test_out(" but length or result is wrong");
    }

    free(p);
}


static void
test_utf16(ngx_str_t *in)
{
    ngx_sio_test_out("%lu",
                (unsigned long) ngx_sio_utf8_utf16_length(in->data, in->len));
}


int
main(void)
{
    ngx_sio_test_table(streams, "validation", validation, test_validation);
    ngx_sio_test_table(inputs, "repair", repair, test_repair);
    ngx_sio_test_table(inputs, "UTF-16", utf16, test_utf16);

    return ngx_sio_test_done();
}
