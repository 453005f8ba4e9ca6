
/*
 * The small codecs of texts: base64 comes back, UTF-8 is the same however it
 * is cut and after it was repaired, JSONP says how long it is.
 *
 * link: src/codec/ngx_sio_base64.c src/codec/ngx_sio_utf8.c
 * link: src/codec/ngx_sio_jsonp.c src/codec/ngx_sio_json.c
 */

#include "fuzz.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_jsonp.h"
#include "ngx_sio_utf8.h"


static void
fuzz_base64(ngx_str_t *in)
{
    u_char     *last;
    ngx_str_t   coded, plain;

    ngx_sio_fuzz_room(&coded, ngx_sio_base64_length(in->len));
    last = ngx_sio_base64_write(coded.data, in->data, in->len);
    ngx_sio_fuzz_full(&coded, last);

    ngx_sio_fuzz_room(&plain, ngx_sio_base64_decoded_length(coded.len));
    ngx_sio_fuzz_check(ngx_sio_base64_decode_strict(plain.data, coded.data,
                                                    coded.len, &last)
                       == NGX_OK);
    plain.len = last - plain.data;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&plain, in));
    free(plain.data);
    free(coded.data);

    ngx_sio_fuzz_room(&coded, ngx_sio_base64_url_length(in->len));
    last = ngx_sio_base64_url_write(coded.data, in->data, in->len);
    ngx_sio_fuzz_full(&coded, last);

    /* in its own place */
    last = ngx_sio_base64_decode(coded.data, coded.data, coded.len);
    coded.len = last - coded.data;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&coded, in));
    free(coded.data);

    ngx_sio_fuzz_room(&plain, ngx_sio_base64_decoded_length(in->len));
    last = ngx_sio_base64_decode(plain.data, in->data, in->len);
    ngx_sio_fuzz_check((size_t) (last - plain.data) <= plain.len);

    if (ngx_sio_base64_decode_strict(plain.data, in->data, in->len, &last)
        == NGX_OK)
    {
        plain.len = last - plain.data;

        ngx_sio_fuzz_room(&coded, ngx_sio_base64_length(plain.len));
        last = ngx_sio_base64_write(coded.data, plain.data, plain.len);
        ngx_sio_fuzz_full(&coded, last);
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&coded, in));
        free(coded.data);
    }

    free(plain.data);
}


/* RFC 3629, by what a character may be. */

static ngx_uint_t
fuzz_valid(const u_char *p, size_t len)
{
    size_t    n, i;
    uint32_t  c;

    static const uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    for ( /* void */ ; len; p += n, len -= n) {
        n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3
            : *p < 0xf8 ? 4 : 0;

        if (n == 0 || n > len) {
            return 0;
        }

        c = n == 1 ? *p : *p & (0xff >> (n + 1));

        for (i = 1; i < n; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return 0;
            }

            c = c << 6 | (p[i] & 0x3f);
        }

        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


static void
fuzz_utf8(ngx_str_t *in, size_t cut)
{
    u_char          *last;
    ngx_int_t        rc;
    ngx_str_t        text;
    ngx_uint_t       valid;
    ngx_sio_utf8_t   u;

    valid = ngx_sio_utf8_valid(in->data, in->len);
    ngx_sio_fuzz_check(valid == fuzz_valid(in->data, in->len));

    cut = ngx_min(cut, in->len);
    memset(&u, 0, sizeof(ngx_sio_utf8_t));

    rc = ngx_sio_utf8_feed(&u, in->data, cut);

    if (rc == NGX_OK) {
        rc = ngx_sio_utf8_feed(&u, in->data + cut, in->len - cut);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_utf8_done(&u);
    }

    ngx_sio_fuzz_check(valid == (rc == NGX_OK));

    ngx_sio_fuzz_room(&text, ngx_sio_utf8_repair_length(in->data, in->len));
    ngx_sio_fuzz_check(text.len <= 3 * in->len);
    last = ngx_sio_utf8_repair(text.data, in->data, in->len);
    ngx_sio_fuzz_full(&text, last);
    ngx_sio_fuzz_check(fuzz_valid(text.data, text.len));
    ngx_sio_fuzz_check(!valid || ngx_sio_fuzz_equal(&text, in));
    ngx_sio_fuzz_check(ngx_sio_utf8_utf16_length(text.data, text.len)
                       <= text.len);

    free(text.data);
}


static void
fuzz_jsonp(ngx_str_t *in)
{
    u_char     *last;
    ngx_str_t   script, form, payload, index, text;

    ngx_str_set(&index, "a1-7");

    ngx_sio_fuzz_room(&text, ngx_sio_utf8_repair_length(in->data, in->len));
    ngx_sio_utf8_repair(text.data, in->data, in->len);

    ngx_sio_fuzz_room(&script, ngx_sio_jsonp_length(&index, &text));
    last = ngx_sio_jsonp_write(script.data, &index, &text);
    ngx_sio_fuzz_full(&script, last);

    free(script.data);
    free(text.data);

    ngx_sio_fuzz_copy(&form, in->data, in->len);
    ngx_sio_fuzz_copy(&script, in->data, in->len);

    if (ngx_sio_jsonp_decode(script.data, in, &payload) == NGX_OK) {
        ngx_sio_fuzz_check(payload.data == script.data
                           && payload.len <= in->len);

        /* in its own place */
        ngx_sio_fuzz_check(ngx_sio_jsonp_decode(form.data, &form, &text)
                           == NGX_OK);
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&text, &payload));
    }

    free(script.data);
    free(form.data);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t   in;
    ngx_uint_t  cut;

    cut = ngx_sio_fuzz_option(data, &size);

    ngx_sio_fuzz_copy(&in, data, size);

    fuzz_base64(&in);
    fuzz_utf8(&in, cut);
    fuzz_jsonp(&in);

    free(in.data);

    return 0;
}
