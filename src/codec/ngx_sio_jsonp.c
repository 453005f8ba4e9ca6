
#include "ngx_sio_jsonp.h"
#include "ngx_sio_json.h"


#define NGX_SIO_JSONP_HEAD   "___eio["
#define NGX_SIO_JSONP_OPEN   "](\""
#define NGX_SIO_JSONP_CLOSE  "\");"


static size_t ngx_sio_jsonp_index(u_char *dst, ngx_str_t *index);
static u_char *ngx_sio_jsonp_separator(u_char *p, u_char *end);
static u_char *ngx_sio_jsonp_unform(u_char *dst, u_char *p, u_char *end);
static ngx_int_t ngx_sio_jsonp_hex(u_char c);
static u_char *ngx_sio_jsonp_unescape(u_char *p, u_char *end);


size_t
ngx_sio_jsonp_length(ngx_str_t *index, ngx_str_t *payload)
{
    size_t   len;
    u_char  *p, *end;

    len = sizeof(NGX_SIO_JSONP_HEAD) - 1
          + ngx_sio_jsonp_index(NULL, index)
          + sizeof(NGX_SIO_JSONP_OPEN) - 1
          + ngx_sio_json_escape_length(payload->data, payload->len)
          + sizeof(NGX_SIO_JSONP_CLOSE) - 1;

    end = payload->data + payload->len;

    for (p = payload->data;
         (p = ngx_sio_jsonp_separator(p, end)) < end;
         p += 3)
    {
        len += sizeof("\\u2028") - 1 - 3;
    }

    return len;
}


u_char *
ngx_sio_jsonp_write(u_char *dst, ngx_str_t *index, ngx_str_t *payload)
{
    u_char  *p, *end, *last;

    dst = ngx_cpymem(dst, NGX_SIO_JSONP_HEAD, sizeof(NGX_SIO_JSONP_HEAD) - 1);
    dst += ngx_sio_jsonp_index(dst, index);
    dst = ngx_cpymem(dst, NGX_SIO_JSONP_OPEN, sizeof(NGX_SIO_JSONP_OPEN) - 1);

    p = payload->data;
    end = payload->data + payload->len;

    for ( ;; ) {
        last = ngx_sio_jsonp_separator(p, end);
        dst = ngx_sio_json_escape(dst, p, last - p);

        if (last == end) {
            break;
        }

        dst = ngx_cpymem(dst, "\\u2028", sizeof("\\u2028") - 1);
        dst[-1] += last[2] - 0xa8;

        p = last + 3;
    }

    return ngx_cpymem(dst, NGX_SIO_JSONP_CLOSE,
                      sizeof(NGX_SIO_JSONP_CLOSE) - 1);
}


ngx_int_t
ngx_sio_jsonp_decode(u_char *dst, ngx_str_t *form, ngx_str_t *payload)
{
    u_char  *p, *end, *last, *value, *value_end;

    p = form->data;
    end = form->data + form->len;

    value = NULL;
    value_end = NULL;

    for ( /* void */ ; p < end; p = last + 1) {
        last = memchr(p, '&', end - p);

        if (last == NULL) {
            last = end;
        }

        if (last - p >= 2 && p[0] == 'd' && p[1] == '=') {
            value = p + 2;
            value_end = last;
        }

        if (last == end) {
            break;
        }
    }

    if (value == NULL) {
        return NGX_DECLINED;
    }

    last = ngx_sio_jsonp_unform(dst, value, value_end);

    payload->data = dst;
    payload->len = ngx_sio_jsonp_unescape(dst, last) - dst;

    return NGX_OK;
}


/* the digits of what may be anything; measures only, if dst is NULL */

static size_t
ngx_sio_jsonp_index(u_char *dst, ngx_str_t *index)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < index->len; i++) {

        if (index->data[i] < '0' || index->data[i] > '9') {
            continue;
        }

        if (dst) {
            dst[n] = index->data[i];
        }

        n++;
    }

    return n;
}


/*
 * Finds U+2028 or U+2029, which JSON allows in strings and scripts do not
 * always; returns end if there is none.
 */

static u_char *
ngx_sio_jsonp_separator(u_char *p, u_char *end)
{
    while (p < end) {
        p = memchr(p, 0xe2, end - p);

        if (p == NULL) {
            return end;
        }

        if (end - p >= 3 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
            return p;
        }

        p++;
    }

    return end;
}


/* undoes the encoding of forms, also in place; returns the end */

static u_char *
ngx_sio_jsonp_unform(u_char *dst, u_char *p, u_char *end)
{
    ngx_int_t  high, low;

    for ( /* void */ ; p < end; p++) {

        if (*p == '%' && end - p > 2) {
            high = ngx_sio_jsonp_hex(p[1]);
            low = ngx_sio_jsonp_hex(p[2]);

            if (high >= 0 && low >= 0) {
                *dst++ = (u_char) (high << 4 | low);
                p += 2;
                continue;
            }
        }

        *dst++ = (*p == '+') ? ' ' : *p;
    }

    return dst;
}


static ngx_int_t
ngx_sio_jsonp_hex(u_char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


/*
 * Clients write a line feed as \n and what was \n before as \\n, since forms
 * turn bare line feeds into pairs.  Works in place; returns the end.
 */

static u_char *
ngx_sio_jsonp_unescape(u_char *p, u_char *end)
{
    u_char  *dst;

    for (dst = p; p < end; p++) {

        if (*p != '\\' || end - p < 2) {
            *dst++ = *p;
            continue;
        }

        if (p[1] == 'n') {
            *dst++ = LF;
            p++;
            continue;
        }

        *dst++ = '\\';

        if (p[1] == '\\' && end - p > 2 && p[2] == 'n') {
            *dst++ = 'n';
            p += 2;
        }
    }

    return dst;
}
