#include "ngx_http_socketio_args.h"


static ngx_uint_t ngx_http_socketio_args_next(ngx_http_request_t *r,
    u_char **p, u_char **dst, ngx_str_t *name, ngx_str_t *value);
static u_char *ngx_http_socketio_args_decode(u_char *dst, u_char *src,
    u_char *last);
static u_char *ngx_http_socketio_args_octet(u_char *src, u_char *last,
    u_char *octet);
static void ngx_http_socketio_args_set(ngx_http_socketio_args_t *a,
    ngx_str_t *name, ngx_str_t *value);


ngx_int_t
ngx_http_socketio_args_parse(ngx_http_request_t *r,
    ngx_http_socketio_args_t *a)
{
    u_char     *dst, *p;
    ngx_str_t   name, value;

    ngx_memzero(a, sizeof(ngx_http_socketio_args_t));

    a->revision = 3;

    if (r->args.len == 0) {
        return NGX_OK;
    }

    dst = ngx_pnalloc(r->pool, r->args.len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    p = r->args.data;

    while (ngx_http_socketio_args_next(r, &p, &dst, &name, &value)) {
        ngx_http_socketio_args_set(a, &name, &value);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_args_find(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char     *dst, *p;
    ngx_str_t   key, decoded;

    ngx_str_null(value);

    if (r->args.len == 0) {
        return NGX_OK;
    }

    dst = ngx_pnalloc(r->pool, r->args.len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    p = r->args.data;

    while (ngx_http_socketio_args_next(r, &p, &dst, &key, &decoded)) {
        if (key.len == ngx_strlen(name)
            && ngx_strncmp(key.data, name, key.len) == 0)
        {
            *value = decoded;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_args_index(ngx_str_t *query, u_char *digits,
    ngx_str_t *index)
{
    u_char     *p, *last, *end, name, octet;
    ngx_int_t   rc;

    rc = NGX_DECLINED;
    last = query->data + query->len;

    index->len = 0;
    index->data = digits;

    for (p = query->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (p == end) {
            continue;
        }

        p = ngx_http_socketio_args_octet(p, end, &name);

        if (name != 'j' || (p < end && *p != '=')) {
            continue;
        }

        rc = NGX_OK;
        index->len = 0;

        while (p < end && index->len < NGX_HTTP_SOCKETIO_INDEX) {
            p = ngx_http_socketio_args_octet(p, end, &octet);

            if (octet >= '0' && octet <= '9') {
                digits[index->len++] = octet;
            }
        }
    }

    return rc;
}


/* Decodes the argument at *p to *dst and steps on; 0: there is none left. */

static ngx_uint_t
ngx_http_socketio_args_next(ngx_http_request_t *r, u_char **p, u_char **dst,
    ngx_str_t *name, ngx_str_t *value)
{
    u_char  *last, *end, *equal;

    last = r->args.data + r->args.len;

    if (*p >= last) {
        return 0;
    }

    end = ngx_strlchr(*p, last, '&');
    if (end == NULL) {
        end = last;
    }

    equal = ngx_strlchr(*p, end, '=');
    if (equal == NULL) {
        equal = end;
    }

    name->data = *dst;
    *dst = ngx_http_socketio_args_decode(*dst, *p, equal);
    name->len = *dst - name->data;

    value->data = *dst;

    if (equal < end) {
        *dst = ngx_http_socketio_args_decode(*dst, equal + 1, end);
    }

    value->len = *dst - value->data;

    *p = end + 1;

    return 1;
}


static u_char *
ngx_http_socketio_args_decode(u_char *dst, u_char *src, u_char *last)
{
    while (src < last) {
        src = ngx_http_socketio_args_octet(src, last, dst++);
    }

    return dst;
}


static u_char *
ngx_http_socketio_args_octet(u_char *src, u_char *last, u_char *octet)
{
    ngx_int_t  n;

    if (*src == '%' && last - src > 2) {
        n = ngx_hextoi(src + 1, 2);

        if (n != NGX_ERROR) {
            *octet = (u_char) n;
            return src + 3;
        }
    }

    *octet = (*src == '+') ? ' ' : *src;

    return src + 1;
}


static void
ngx_http_socketio_args_set(ngx_http_socketio_args_t *a,
    ngx_str_t *name, ngx_str_t *value)
{
    if (ngx_http_socketio_is(name, "EIO")) {
        a->revision = ngx_http_socketio_is(value, "4") ? 4 : 3;

    } else if (ngx_http_socketio_is(name, "transport")) {
        a->transport = *value;

    } else if (ngx_http_socketio_is(name, "sid")) {
        a->sid = *value;

    } else if (ngx_http_socketio_is(name, "b64")) {
        a->b64 = (value->len != 0);

    } else if (ngx_http_socketio_is(name, "j")) {
        a->script = 1;
    }
}
