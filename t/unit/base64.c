
/* link: src/codec/ngx_sio_base64.c */

#include "ngx_sio_test.h"
#include "ngx_sio_base64.h"


#define ALPHABET                                                              \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* what the alphabet with 62 and 63 decodes to: the numbers from 0 to 63 */

#define NUMBERS                                                               \
    "00108310518720928b30d38f41149351559761969b71d79f8218a39259a7a29a"        \
    "abb2dbafc31cb3d35db7e39ebbf3dfbf"


static ngx_sio_test_case_t  encode[] = {
    { "nothing",             ngx_string(""),             " ()"               },
    { "one octet",           ngx_string("f"),            "Zg== (Zg)"         },
    { "two octets",          ngx_string("fo"),           "Zm8= (Zm8)"        },
    { "three octets",        ngx_string("foo"),          "Zm9v (Zm9v)"       },
    { "four octets",         ngx_string("foob"),         "Zm9vYg== (Zm9vYg)" },
    { "five octets",         ngx_string("fooba"),       "Zm9vYmE= (Zm9vYmE)" },
    { "six octets",          ngx_string("foobar"),      "Zm9vYmFy (Zm9vYmFy)" },
    { "62 and 63",           ngx_string("\xfb\xff"),     "+/8= (-_8)"        },
    { "all digits",
      ngx_string("\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93"
                 "\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f\x82\x18\xa3\x92\x59\xa7"
                 "\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb"
                 "\xf3\xdf\xbf"),
      ALPHABET "+/ (" ALPHABET "-_)" },
    { "zeros",               ngx_string("\0\0\0\0"),     "AAAAAA== (AAAAAA)" },
    { "C23 attachment",      ngx_string("\1\2\3"),       "AQID (AQID)"       },
};


static ngx_sio_test_case_t  lenient[] = {
    { "nothing",                      ngx_string(""),           ""           },
    { "three octets",                 ngx_string("AQID"),       "010203"     },
    { "padded once",                  ngx_string("AQI="),       "0102"       },
    { "padded twice",                 ngx_string("AQ=="),       "01"         },
    { "all digits",
      ngx_string(ALPHABET "+/"),      NUMBERS },
    { "C46 all digits, URL-safe",
      ngx_string(ALPHABET "-_"),      NUMBERS },
    { "C46 neighbours of digits",
      ngx_string("A@Q[I`D{,.:"),      "010203" },
    { "C46 unpadded, two left",       ngx_string("AQIDBA"),     "01020304"   },
    { "C46 unpadded, three left",     ngx_string("AQI"),        "0102"       },
    { "C46 one left is dropped",      ngx_string("AQIDB"),      "010203"     },
    { "C46 URL-safe",                 ngx_string("-_8"),        "fbff"       },
    { "C46 standard",                 ngx_string("+/8="),       "fbff"       },
    { "C46 blank is skipped",         ngx_string("AQ ID"),      "010203"     },
    { "C46 line break is skipped",    ngx_string("AQ\r\nID"),   "010203"     },
    { "C46 zero octet is skipped",    ngx_string("AQ\0ID"),     "010203"     },
    { "C46 high octets are skipped",  ngx_string("\xc3\xa9" "AQID"),
                                                                "010203"     },
    { "C46 stops at the padding",     ngx_string("AQ==AQID"),   "01"         },
    { "C46 padding only",             ngx_string("="),          ""           },
    { "C46 one character",            ngx_string("A"),          ""           },
    { "C46 nothing of base64",        ngx_string("!?*"),        ""           },
};


static ngx_sio_test_case_t  strict[] = {
    { "nothing",                      ngx_string(""),           ""           },
    { "three octets",                 ngx_string("AQID"),       "010203"     },
    { "padded once",                  ngx_string("AQI="),       "0102"       },
    { "padded twice",                 ngx_string("AQ=="),       "01"         },
    { "both of 62 and 63",            ngx_string("+/8="),       "fbff"       },
    { "all digits",
      ngx_string(ALPHABET "+/"),      NUMBERS },
    { "foreign in front",             ngx_string("!QID"),       "!"          },
    { "unpadded",                     ngx_string("AQI"),        "!"          },
    { "URL-safe",                     ngx_string("-_8="),       "!"          },
    { "blank",                        ngx_string("AQ ID   "),   "!"          },
    { "trailing line break",          ngx_string("AQID\n"),     "!"          },
    { "padding inside",               ngx_string("AQ==AQID"),   "!"          },
    { "three of padding",             ngx_string("A==="),       "!"          },
    { "four of padding",              ngx_string("===="),       "!"          },
    { "padding before the end",       ngx_string("AQ=A"),       "!"          },
    { "unused bits set, one octet",   ngx_string("AR=="),       "!"          },
    { "unused bits set, two octets",  ngx_string("AQJ="),       "!"          },
};


static void
test_encode(ngx_str_t *in)
{
    size_t   len;
    u_char  *p, *last;

    len = ngx_sio_base64_length(in->len);
    p = malloc(len);
    last = ngx_sio_base64_write(p, in->data, in->len);

    ngx_sio_test_octets(p, len);
    ngx_sio_test_out(last == p + len ? "" : "length is wrong");

    free(p);

    len = ngx_sio_base64_url_length(in->len);
    p = malloc(len);
    last = ngx_sio_base64_url_write(p, in->data, in->len);

    ngx_sio_test_out(" (");
    ngx_sio_test_octets(p, len);
    ngx_sio_test_out(last == p + len ? ")" : "length is wrong");

    free(p);
}


static void
test_lenient(ngx_str_t *in)
{
    size_t   len;
    u_char  *p, *last;

    p = malloc(ngx_sio_base64_decoded_length(in->len));
    last = ngx_sio_base64_decode(p, in->data, in->len);

    len = last - p;
    ngx_sio_test_hex(p, len);

    /* in place */

    last = ngx_sio_base64_decode(in->data, in->data, in->len);

    if ((size_t) (last - in->data) != len
        || (len && memcmp(p, in->data, len) != 0))
    {
        ngx_sio_test_out(" but in place it differs");
    }

    free(p);
}


static void
test_strict(ngx_str_t *in)
{
    u_char  *p, *last;

    p = malloc(ngx_sio_base64_decoded_length(in->len));

    if (ngx_sio_base64_decode_strict(p, in->data, in->len, &last) == NGX_OK) {
        ngx_sio_test_hex(p, last - p);

    } else {
        ngx_sio_test_out("!");
    }

    free(p);
}


int
main(void)
{
    ngx_sio_test_table(inputs, "encode", encode, test_encode);
    ngx_sio_test_table(inputs, "decode as Node", lenient, test_lenient);
    ngx_sio_test_table(inputs, "decode strictly", strict, test_strict);

    return ngx_sio_test_done();
}
