
#include "ngx_sio_base64.h"


#define NGX_SIO_BASE64_NONE  0xff


static u_char *ngx_sio_base64_encode(u_char *dst, const u_char *p, size_t len,
    const u_char *alphabet);
static ngx_uint_t ngx_sio_base64_digit(u_char c);


static const u_char  ngx_sio_base64_standard[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static const u_char  ngx_sio_base64_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


size_t
ngx_sio_base64_length(size_t len)
{
    return (len / 3 + (len % 3 != 0)) * 4;
}


u_char *
ngx_sio_base64_write(u_char *dst, const u_char *p, size_t len)
{
    dst = ngx_sio_base64_encode(dst, p, len, ngx_sio_base64_standard);

    for (len %= 3; len == 1 || len == 2; len++) {
        *dst++ = '=';
    }

    return dst;
}


size_t
ngx_sio_base64_url_length(size_t len)
{
    return len / 3 * 4 + (len % 3 ? len % 3 + 1 : 0);
}


u_char *
ngx_sio_base64_url_write(u_char *dst, const u_char *p, size_t len)
{
    return ngx_sio_base64_encode(dst, p, len, ngx_sio_base64_url);
}


size_t
ngx_sio_base64_decoded_length(size_t len)
{
    /* two characters left over give one octet, three give two */

    return len / 4 * 3 + (len % 4) * 3 / 4;
}


u_char *
ngx_sio_base64_decode(u_char *dst, const u_char *p, size_t len)
{
    uint32_t       bits;
    ngx_uint_t     n, digit;
    const u_char  *last;

    n = 0;
    bits = 0;

    for (last = p + len; p < last && *p != '='; p++) {
        digit = ngx_sio_base64_digit(*p);

        if (digit == NGX_SIO_BASE64_NONE) {
            continue;
        }

        bits = bits << 6 | digit;

        if (++n == 4) {
            *dst++ = (u_char) (bits >> 16);
            *dst++ = (u_char) (bits >> 8);
            *dst++ = (u_char) bits;
            n = 0;
        }
    }

    if (n == 2) {
        *dst++ = (u_char) (bits >> 4);

    } else if (n == 3) {
        *dst++ = (u_char) (bits >> 10);
        *dst++ = (u_char) (bits >> 2);
    }

    return dst;
}


ngx_int_t
ngx_sio_base64_decode_strict(u_char *dst, const u_char *p, size_t len,
    u_char **last)
{
    size_t      i, n, unused;
    ngx_uint_t  digit;

    if (len % 4) {
        return NGX_DECLINED;
    }

    n = len;

    if (n && p[n - 1] == '=') {
        n--;

        if (p[n - 1] == '=') {
            n--;
        }
    }

    digit = 0;

    for (i = 0; i < n; i++) {
        digit = ngx_sio_base64_digit(p[i]);

        if (digit == NGX_SIO_BASE64_NONE || p[i] == '-' || p[i] == '_') {
            return NGX_DECLINED;
        }
    }

    /* RFC 4648, 3.5: decoders MAY reject if the pad bits are not zero */

    unused = (len - n) * 2;

    if (digit & ((1 << unused) - 1)) {
        return NGX_DECLINED;
    }

    *last = ngx_sio_base64_decode(dst, p, n);

    return NGX_OK;
}


static u_char *
ngx_sio_base64_encode(u_char *dst, const u_char *p, size_t len,
    const u_char *alphabet)
{
    for ( /* void */ ; len > 2; p += 3, len -= 3) {
        *dst++ = alphabet[p[0] >> 2];
        *dst++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *dst++ = alphabet[(p[1] & 0x0f) << 2 | p[2] >> 6];
        *dst++ = alphabet[p[2] & 0x3f];
    }

    if (len == 0) {
        return dst;
    }

    *dst++ = alphabet[p[0] >> 2];

    if (len == 1) {
        *dst++ = alphabet[(p[0] & 3) << 4];
        return dst;
    }

    *dst++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
    *dst++ = alphabet[(p[1] & 0x0f) << 2];

    return dst;
}


/* both alphabets */

static ngx_uint_t
ngx_sio_base64_digit(u_char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    switch (c) {

    case '+':
    case '-':
        return 62;

    case '/':
    case '_':
        return 63;

    default:
        return NGX_SIO_BASE64_NONE;
    }
}
