
#include "ngx_sio_msgpack.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include <math.h>
#include <stdlib.h>


static size_t ngx_sio_msgpack_head(u_char *dst, u_char op, uint64_t n,
    size_t len);
static size_t ngx_sio_msgpack_put_string(u_char *dst, ngx_str_t *json);
static size_t ngx_sio_msgpack_put_number(u_char *dst, ngx_str_t *json);
static ngx_int_t ngx_sio_msgpack_integer(ngx_str_t *json, uint64_t *n);
static size_t ngx_sio_msgpack_put_negative(u_char *dst, uint64_t n);
static size_t ngx_sio_msgpack_put_float(u_char *dst, double number);
static size_t ngx_sio_msgpack_put_bytes(u_char *dst, ngx_str_t *bytes);
static size_t ngx_sio_msgpack_put_text_head(u_char *dst, size_t len);


size_t
ngx_sio_msgpack_put_array(u_char *dst, ngx_uint_t n)
{
    if (n < 16) {
        return ngx_sio_msgpack_head(dst, (u_char) (0x90 + n), 0, 0);
    }

    return n < 0x10000 ? ngx_sio_msgpack_head(dst, 0xdc, n, 2)
                       : ngx_sio_msgpack_head(dst, 0xdd, n, 4);
}


size_t
ngx_sio_msgpack_put_map(u_char *dst, ngx_uint_t n)
{
    if (n < 16) {
        return ngx_sio_msgpack_head(dst, (u_char) (0x80 + n), 0, 0);
    }

    return n < 0x10000 ? ngx_sio_msgpack_head(dst, 0xde, n, 2)
                       : ngx_sio_msgpack_head(dst, 0xdf, n, 4);
}


size_t
ngx_sio_msgpack_put_uint(u_char *dst, uint64_t n)
{
    if (n < 0x80) {
        return ngx_sio_msgpack_head(dst, (u_char) n, 0, 0);
    }

    if (n < 0x100) {
        return ngx_sio_msgpack_head(dst, 0xcc, n, 1);
    }

    if (n < 0x10000) {
        return ngx_sio_msgpack_head(dst, 0xcd, n, 2);
    }

    return n < 0x100000000ULL ? ngx_sio_msgpack_head(dst, 0xce, n, 4)
                              : ngx_sio_msgpack_head(dst, 0xcf, n, 8);
}


size_t
ngx_sio_msgpack_put_true(u_char *dst)
{
    return ngx_sio_msgpack_head(dst, 0xc3, 0, 0);
}


size_t
ngx_sio_msgpack_put_text(u_char *dst, const u_char *p, size_t len)
{
    size_t  head;

    head = ngx_sio_msgpack_put_text_head(dst, len);

    if (dst != NULL && len) {
        ngx_memcpy(dst + head, p, len);
    }

    return head + len;
}


size_t
ngx_sio_msgpack_put_json(u_char *dst, ngx_str_t *json, ngx_str_t *attachments,
    ngx_uint_t n)
{
    size_t                len;
    uint64_t              num;
    ngx_str_t             key, value;
    ngx_uint_t            count;
    ngx_sio_json_iter_t   it;

    static ngx_str_t  proto = ngx_string("__proto__");

    count = 0;
    ngx_sio_json_iter(&it, json);

    switch (ngx_sio_json_type(json)) {

    case NGX_SIO_JSON_STRING:
        return ngx_sio_msgpack_put_string(dst, json);

    case NGX_SIO_JSON_NUMBER:
        return ngx_sio_msgpack_put_number(dst, json);

    case NGX_SIO_JSON_ARRAY:

        while (ngx_sio_json_element(&it, &value) == NGX_OK) {
            count++;
        }

        len = ngx_sio_msgpack_put_array(dst, count);
        ngx_sio_json_iter(&it, json);

        while (ngx_sio_json_element(&it, &value) == NGX_OK) {
            len += ngx_sio_msgpack_put_json(dst ? dst + len : NULL, &value,
                                            attachments, n);
        }

        return len;

    case NGX_SIO_JSON_OBJECT:

        if (n && ngx_sio_packet_placeholder(json, n, &num)) {
            return ngx_sio_msgpack_put_bytes(dst, &attachments[num]);
        }

        while (ngx_sio_json_member(&it, &key, &value) == NGX_OK) {
            count++;
        }

        len = ngx_sio_msgpack_put_map(dst, count);
        ngx_sio_json_iter(&it, json);

        while (ngx_sio_json_member(&it, &key, &value) == NGX_OK) {
            len += ngx_sio_msgpack_put_string(dst ? dst + len : NULL, &key);

            if (ngx_sio_json_string_equal(&key, &proto)) {
                len += ngx_sio_msgpack_head(dst ? dst + len : NULL, 0xc2, 0,
                                            0);
                continue;
            }

            len += ngx_sio_msgpack_put_json(dst ? dst + len : NULL, &value,
                                            attachments, n);
        }

        return len;

    case NGX_SIO_JSON_TRUE:
        return ngx_sio_msgpack_put_true(dst);

    case NGX_SIO_JSON_FALSE:
        return ngx_sio_msgpack_head(dst, 0xc2, 0, 0);

    default: /* NGX_SIO_JSON_NULL */
        return ngx_sio_msgpack_head(dst, 0xc0, 0, 0);
    }
}


/* an octet and a number of so many octets */

static size_t
ngx_sio_msgpack_head(u_char *dst, u_char op, uint64_t n, size_t len)
{
    size_t  i;

    if (dst != NULL) {
        *dst++ = op;

        for (i = len; i--; ) {
            *dst++ = (u_char) (n >> (8 * i));
        }
    }

    return 1 + len;
}


static size_t
ngx_sio_msgpack_put_string(u_char *dst, ngx_str_t *json)
{
    size_t  len, head;

    len = ngx_sio_json_string_length(json);
    head = ngx_sio_msgpack_put_text_head(dst, len);

    if (dst != NULL) {
        (void) ngx_sio_json_string_write(dst + head, json);
    }

    return head + len;
}


static size_t
ngx_sio_msgpack_put_number(u_char *dst, ngx_str_t *json)
{
    double    number;
    uint64_t  n;

    if (ngx_sio_msgpack_integer(json, &n) == NGX_OK) {
        return json->data[0] == '-' ? ngx_sio_msgpack_put_negative(dst, n)
                                    : ngx_sio_msgpack_put_uint(dst, n);
    }

    /* a comma or a bracket stands behind it */

    number = strtod((char *) json->data, NULL);

    return isfinite(number) ? ngx_sio_msgpack_put_float(dst, number)
                            : ngx_sio_msgpack_head(dst, 0xc0, 0, 0);
}


/* NGX_OK: a whole number of 64 bits; *n is its size */

static ngx_int_t
ngx_sio_msgpack_integer(ngx_str_t *json, uint64_t *n)
{
    u_char    *p, *last;
    uint64_t   digit;

    p = json->data;
    last = p + json->len;

    p += (*p == '-');

    for (*n = 0; p < last; p++) {

        if (*p < '0' || *p > '9') {
            return NGX_DECLINED;
        }

        digit = *p - '0';

        if (*n > (UINT64_MAX - digit) / 10) {
            return NGX_DECLINED;
        }

        *n = *n * 10 + digit;
    }

    if (json->data[0] == '-' && *n > (uint64_t) 1 << 63) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static size_t
ngx_sio_msgpack_put_negative(u_char *dst, uint64_t n)
{
    if (n == 0) {
        return ngx_sio_msgpack_head(dst, 0, 0, 0);
    }

    if (n <= 0x20) {
        return ngx_sio_msgpack_head(dst, (u_char) (0x100 - n), 0, 0);
    }

    if (n <= 0x80) {
        return ngx_sio_msgpack_head(dst, 0xd0, 0 - n, 1);
    }

    if (n <= 0x8000) {
        return ngx_sio_msgpack_head(dst, 0xd1, 0 - n, 2);
    }

    return n <= 0x80000000ULL ? ngx_sio_msgpack_head(dst, 0xd2, 0 - n, 4)
                              : ngx_sio_msgpack_head(dst, 0xd3, 0 - n, 8);
}


static size_t
ngx_sio_msgpack_put_float(u_char *dst, double number)
{
    uint64_t  bits;

    ngx_memcpy(&bits, &number, sizeof(double));

    return ngx_sio_msgpack_head(dst, 0xcb, bits, 8);
}


static size_t
ngx_sio_msgpack_put_bytes(u_char *dst, ngx_str_t *bytes)
{
    size_t  head;

    if (bytes->len < 0x100) {
        head = ngx_sio_msgpack_head(dst, 0xc4, bytes->len, 1);

    } else if (bytes->len < 0x10000) {
        head = ngx_sio_msgpack_head(dst, 0xc5, bytes->len, 2);

    } else {
        head = ngx_sio_msgpack_head(dst, 0xc6, bytes->len, 4);
    }

    if (dst != NULL && bytes->len) {
        ngx_memcpy(dst + head, bytes->data, bytes->len);
    }

    return head + bytes->len;
}


static size_t
ngx_sio_msgpack_put_text_head(u_char *dst, size_t len)
{
    if (len < 32) {
        return ngx_sio_msgpack_head(dst, (u_char) (0xa0 + len), 0, 0);
    }

    if (len < 0x100) {
        return ngx_sio_msgpack_head(dst, 0xd9, len, 1);
    }

    return len < 0x10000 ? ngx_sio_msgpack_head(dst, 0xda, len, 2)
                         : ngx_sio_msgpack_head(dst, 0xdb, len, 4);
}
