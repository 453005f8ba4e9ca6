
/*
 * link: src/codec/ngx_sio_jsonp.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "ngx_sio_test.h"
#include "ngx_sio_jsonp.h"


/* the index, a line feed, and the payload */

static ngx_sio_test_case_t  scripts[] = {
    { "C81 payload",
      ngx_string("3\n" "20:42[\"message-back\",1]"),
      "___eio[3](\"20:42[\\\"message-back\\\",1]\");" },
    { "C81 empty payload",        ngx_string("0\n"), "___eio[0](\"\");"      },
    { "C81 digits of the index only",
      ngx_string("a5b6\n2:40"),                  "___eio[56](\"2:40\");" },
    { "C81 index without digits", ngx_string("\n2:40"),
                                                 "___eio[](\"2:40\");" },
    { "index cannot break out",
      ngx_string("0](alert(1));//\nx"),          "___eio[01](\"x\");" },
    { "C81 U+2028 and U+2029 are escaped",
      ngx_string("0\n" "a\xe2\x80\xa8" "b\xe2\x80\xa9"),
      "___eio[0](\"a\\u2028b\\u2029\");" },
    { "neighbours of U+2028 stay",
      ngx_string("0\n\xe2\x80\xa7\xe2\x80\xaa\xe2\x82\xa8\xe2"),
      "___eio[0](\"\xe2\x80\xa7\xe2\x80\xaa\xe2\x82\xa8\xe2\");" },
    { "C81 other characters stay",
      ngx_string("0\n</script>\xc3\xa9"),
      "___eio[0](\"</script>\xc3\xa9\");" },
    { "C81 quotes, backslashes, controls, separators",
      ngx_string("0\n\"\\\t\x1e"),
      "___eio[0](\"\\\"\\\\\\t\\u001e\");" },
};


static ngx_sio_test_case_t  forms[] = {
    { "C82 payload",
      ngx_string("d=15%3A42%5B%22message%22%2C1%5D"),
      "(15:42[\"message\",1])" },
    { "C82 plus is a blank",      ngx_string("d=a+b%2Bc"),     "(a b+c)"     },
    { "C82 doubled escape",       ngx_string("d=a%5C%5Cnb"),   "(a\\nb)"     },
    { "C82 line feed",            ngx_string("d=a%5Cnb"),      "(a\\x0ab)"   },
    { "C82 three backslashes",    ngx_string("d=%5C%5C%5Cn"),  "(\\\\n)"     },
    { "C82 other escapes stay",
      ngx_string("d=%5C%22%5Ct%5C%5C%5Cu00e9"),  "(\\\"\\t\\\\\\u00e9)" },
    { "C82 backslash at the end", ngx_string("d=a%5C"),        "(a\\)"       },
    { "C82 two backslashes at the end",
      ngx_string("d=a%5C%5C"),                   "(a\\\\)" },
    { "malformed percent stays",  ngx_string("d=%4%zz%"),      "(%4%zz%)"    },
    { "UTF-8",                    ngx_string("d=%c3%A9"),      "(\xc3\xa9)"  },
    { "not percent-encoded",      ngx_string("d=2:40"),        "(2:40)"      },
    { "empty",                    ngx_string("d="),            "()"          },
    { "other fields around",      ngx_string("a=1&d=2:40&b=2"), "(2:40)"     },
    { "last one counts",          ngx_string("d=1:2&d=2:40"),  "(2:40)"      },
    { "C82 no d",                 ngx_string("a=1&dd=2&d"),    "!"           },
    { "C82 empty body",           ngx_string(""),              "!"           },
    { "only separators",          ngx_string("&&"),            "!"           },
};


static void
test_script(ngx_str_t *in)
{
    size_t      len;
    u_char     *p, *last;
    ngx_str_t   index, payload;

    p = memchr(in->data, '\n', in->len);

    if (p == NULL) {
        return;
    }

    index.data = in->data;
    index.len = p - in->data;

    payload.data = p + 1;
    payload.len = in->len - index.len - 1;

    len = ngx_sio_jsonp_length(&index, &payload);
    p = malloc(len);
    last = ngx_sio_jsonp_write(p, &index, &payload);

    ngx_sio_test_octets(p, len);

    if (last != p + len) {
        ngx_sio_test_out(" but length is wrong");
    }

    free(p);
}


static void
test_form(ngx_str_t *in)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t   payload, again;

    p = malloc(in->len);

    rc = ngx_sio_jsonp_decode(p, in, &payload);

    if (rc == NGX_OK) {
        ngx_sio_test_out("(");
        ngx_sio_test_str(&payload);
        ngx_sio_test_out(")");

    } else {
        ngx_sio_test_out("!");
    }

    if (ngx_sio_jsonp_decode(in->data, in, &again) != rc
        || (rc == NGX_OK
            && (again.len != payload.len
                || memcmp(again.data, payload.data, payload.len) != 0)))
    {
        ngx_sio_test_out(" but in place it differs");
    }

    free(p);
}


int
main(void)
{
    ngx_sio_test_table(inputs, "script", scripts, test_script);
    ngx_sio_test_table(inputs, "form", forms, test_form);

    return ngx_sio_test_done();
}
