
#include "ngx_sio_utf8.h"


#define NGX_SIO_UTF8_HIGH_BITS  0x8080808080808080ULL


static ngx_int_t ngx_sio_utf8_octet(ngx_sio_utf8_t *u, u_char c);
static ngx_int_t ngx_sio_utf8_lead(ngx_sio_utf8_t *u, u_char c);
static const u_char *ngx_sio_utf8_skip_ascii(const u_char *p,
    const u_char *last);
static size_t ngx_sio_utf8_transform(u_char *dst, const u_char *p, size_t len);


static const u_char  ngx_sio_utf8_replacement[] = { 0xef, 0xbf, 0xbd };


ngx_int_t
ngx_sio_utf8_feed(ngx_sio_utf8_t *u, const u_char *p, size_t len)
{
    const u_char  *last;

    last = p + len;

    while (p < last) {

        if (u->need == 0) {
            p = ngx_sio_utf8_skip_ascii(p, last);

            if (p == last) {
                break;
            }
        }

        if (ngx_sio_utf8_octet(u, *p) != NGX_OK) {
            return NGX_DECLINED;
        }

        p++;
    }

    return NGX_OK;
}


ngx_int_t
ngx_sio_utf8_done(ngx_sio_utf8_t *u)
{
    return u->need ? NGX_DECLINED : NGX_OK;
}


ngx_uint_t
ngx_sio_utf8_valid(const u_char *p, size_t len)
{
    ngx_sio_utf8_t  u;

    ngx_memzero(&u, sizeof(ngx_sio_utf8_t));

    return ngx_sio_utf8_feed(&u, p, len) == NGX_OK
           && ngx_sio_utf8_done(&u) == NGX_OK;
}


size_t
ngx_sio_utf8_repair_length(const u_char *p, size_t len)
{
    return ngx_sio_utf8_transform(NULL, p, len);
}


u_char *
ngx_sio_utf8_repair(u_char *dst, const u_char *p, size_t len)
{
    return dst + ngx_sio_utf8_transform(dst, p, len);
}


size_t
ngx_sio_utf8_write(u_char *dst, uint32_t code)
{
    if (code < 0x80) {
        dst[0] = (u_char) code;
        return 1;
    }

    if (code < 0x800) {
        dst[0] = (u_char) (0xc0 | code >> 6);
        dst[1] = (u_char) (0x80 | (code & 0x3f));
        return 2;
    }

    if (code < 0x10000) {
        dst[0] = (u_char) (0xe0 | code >> 12);
        dst[1] = (u_char) (0x80 | (code >> 6 & 0x3f));
        dst[2] = (u_char) (0x80 | (code & 0x3f));
        return 3;
    }

    dst[0] = (u_char) (0xf0 | code >> 18);
    dst[1] = (u_char) (0x80 | (code >> 12 & 0x3f));
    dst[2] = (u_char) (0x80 | (code >> 6 & 0x3f));
    dst[3] = (u_char) (0x80 | (code & 0x3f));

    return 4;
}


size_t
ngx_sio_utf8_utf16_length(const u_char *p, size_t len)
{
    size_t         n;
    const u_char  *last;

    n = 0;

    /* each character has one octet that continues none; four are a pair */

    for (last = p + len; p < last; p++) {
        n += ((*p & 0xc0) != 0x80) + (*p >= 0xf0);
    }

    return n;
}


/* one loop measures and writes, so that the two cannot disagree */

static size_t
ngx_sio_utf8_transform(u_char *dst, const u_char *p, size_t len)
{
    size_t           n, size;
    const u_char    *last, *start;
    ngx_sio_utf8_t   u;

    ngx_memzero(&u, sizeof(ngx_sio_utf8_t));

    size = 0;
    start = p;
    last = p + len;

    /* [start, p) is well-formed, but for an open character at its end */

    while (p < last) {

        if (ngx_sio_utf8_octet(&u, *p) == NGX_OK) {
            p++;

            if (u.need) {
                continue;
            }

            p = ngx_sio_utf8_skip_ascii(p, last);
            n = p - start;

            if (dst) {
                dst = ngx_cpymem(dst, start, n);
            }

            size += n;
            start = p;
            continue;
        }

        /*
         * WHATWG Encoding, "UTF-8 decoder": an octet that does not continue
         * a character ends it, and is then looked at again on its own.
         */

        if (u.need == 0) {
            p++;
        }

        if (dst) {
            dst = ngx_cpymem(dst, ngx_sio_utf8_replacement, 3);
        }

        size += 3;
        start = p;
        u.need = 0;
    }

    if (u.need) {

        if (dst) {
            ngx_memcpy(dst, ngx_sio_utf8_replacement, 3);
        }

        size += 3;
    }

    return size;
}


/* an octet that is refused leaves the state as it was */

static ngx_int_t
ngx_sio_utf8_octet(ngx_sio_utf8_t *u, u_char c)
{
    if (u->need == 0) {
        return ngx_sio_utf8_lead(u, c);
    }

    if (c < u->lower || c > u->upper) {
        return NGX_DECLINED;
    }

    u->need--;
    u->lower = 0x80;
    u->upper = 0xbf;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_utf8_lead(ngx_sio_utf8_t *u, u_char c)
{
    if (c < 0x80) {
        return NGX_OK;
    }

    /* C0 and C1 would be overlong, F5 and above beyond U+10FFFF */

    if (c < 0xc2 || c > 0xf4) {
        return NGX_DECLINED;
    }

    u->lower = 0x80;
    u->upper = 0xbf;

    if (c < 0xe0) {
        u->need = 1;
        return NGX_OK;
    }

    if (c < 0xf0) {
        u->need = 2;

        if (c == 0xe0) {
            u->lower = 0xa0;        /* overlong below U+0800 */

        } else if (c == 0xed) {
            u->upper = 0x9f;        /* surrogates */
        }

        return NGX_OK;
    }

    u->need = 3;

    if (c == 0xf0) {
        u->lower = 0x90;            /* overlong below U+10000 */

    } else if (c == 0xf4) {
        u->upper = 0x8f;            /* beyond U+10FFFF */
    }

    return NGX_OK;
}


static const u_char *
ngx_sio_utf8_skip_ascii(const u_char *p, const u_char *last)
{
    uint64_t  word;

    while (last - p >= (ptrdiff_t) sizeof(uint64_t)) {
        ngx_memcpy(&word, p, sizeof(uint64_t));

        if (word & NGX_SIO_UTF8_HIGH_BITS) {
            break;
        }

        p += sizeof(uint64_t);
    }

    while (p < last && *p < 0x80) {
        p++;
    }

    return p;
}
