
#include "ngx_sio_eio.h"
#include "ngx_sio_json.h"


static ngx_int_t ngx_sio_eio_next_v4(ngx_sio_eio_payload_t *payload,
    ngx_sio_eio_packet_t *pkt);
static ngx_int_t ngx_sio_eio_next_text(ngx_sio_eio_payload_t *payload,
    ngx_sio_eio_packet_t *pkt);
static ngx_int_t ngx_sio_eio_next_binary(ngx_sio_eio_payload_t *payload,
    ngx_sio_eio_packet_t *pkt);
static ngx_int_t ngx_sio_eio_text(u_char *p, u_char *end, ngx_uint_t revision,
    ngx_sio_eio_packet_t *pkt);
static ngx_int_t ngx_sio_eio_binary(u_char *p, u_char *end,
    ngx_uint_t revision, ngx_sio_eio_packet_t *pkt);
static ngx_int_t ngx_sio_eio_digit(size_t *n, ngx_uint_t digit);
static u_char *ngx_sio_eio_skip_units(u_char *p, u_char *end, size_t units);


static ngx_str_t  ngx_sio_eio_open_parts[] = {
    ngx_string("0{\"sid\":\""),
    ngx_string("\",\"upgrades\":["),
    ngx_string("\"websocket\""),
    ngx_string("],\"pingInterval\":"),
    ngx_string(",\"pingTimeout\":"),
    ngx_string(",\"maxPayload\":"),
    ngx_string("}")
};


void
ngx_sio_eio_payload(ngx_sio_eio_payload_t *payload, ngx_str_t *body,
    ngx_sio_eio_form_e form)
{
    payload->pos = body->data;
    payload->end = body->data + body->len;
    payload->form = form;
    payload->done = 0;
}


ngx_int_t
ngx_sio_eio_next(ngx_sio_eio_payload_t *payload, ngx_sio_eio_packet_t *pkt)
{
    if (payload->done) {
        return NGX_DONE;
    }

    switch (payload->form) {

    case NGX_SIO_EIO_V3_TEXT:
        return ngx_sio_eio_next_text(payload, pkt);

    case NGX_SIO_EIO_V3_BINARY:
        return ngx_sio_eio_next_binary(payload, pkt);

    default: /* NGX_SIO_EIO_V4 */
        return ngx_sio_eio_next_v4(payload, pkt);
    }
}


ngx_int_t
ngx_sio_eio_frame(ngx_str_t *message, ngx_uint_t binary, ngx_uint_t revision,
    ngx_sio_eio_packet_t *pkt)
{
    u_char  *end;

    end = message->data + message->len;

    if (binary) {
        return ngx_sio_eio_binary(message->data, end, revision, pkt);
    }

    return ngx_sio_eio_text(message->data, end, revision, pkt);
}


size_t
ngx_sio_eio_open_length(ngx_sio_eio_open_t *open)
{
    size_t      len;
    ngx_uint_t  i;

    len = open->sid.len
          + ngx_sio_json_uint_length(open->ping_interval)
          + ngx_sio_json_uint_length(open->ping_timeout)
          + ngx_sio_json_uint_length(open->max_payload);

    for (i = 0; i < sizeof(ngx_sio_eio_open_parts) / sizeof(ngx_str_t); i++) {
        len += ngx_sio_eio_open_parts[i].len;
    }

    if (!open->upgrade) {
        len -= ngx_sio_eio_open_parts[2].len;
    }

    return len;
}


u_char *
ngx_sio_eio_open_write(u_char *dst, ngx_sio_eio_open_t *open)
{
    ngx_str_t  *part;

    part = ngx_sio_eio_open_parts;

    dst = ngx_cpymem(dst, part[0].data, part[0].len);
    dst = ngx_cpymem(dst, open->sid.data, open->sid.len);
    dst = ngx_cpymem(dst, part[1].data, part[1].len);

    if (open->upgrade) {
        dst = ngx_cpymem(dst, part[2].data, part[2].len);
    }

    dst = ngx_cpymem(dst, part[3].data, part[3].len);
    dst = ngx_sio_json_uint_write(dst, open->ping_interval);
    dst = ngx_cpymem(dst, part[4].data, part[4].len);
    dst = ngx_sio_json_uint_write(dst, open->ping_timeout);
    dst = ngx_cpymem(dst, part[5].data, part[5].len);
    dst = ngx_sio_json_uint_write(dst, open->max_payload);

    return ngx_cpymem(dst, part[6].data, part[6].len);
}


size_t
ngx_sio_eio_text_prefix_length(size_t len)
{
    return ngx_sio_json_uint_length(len) + 1;
}


u_char *
ngx_sio_eio_text_prefix_write(u_char *dst, size_t len)
{
    dst = ngx_sio_json_uint_write(dst, len);
    *dst++ = ':';

    return dst;
}


size_t
ngx_sio_eio_binary_prefix_length(size_t len)
{
    return 1 + ngx_sio_json_uint_length(len) + 1;
}


u_char *
ngx_sio_eio_binary_prefix_write(u_char *dst, size_t len, ngx_uint_t binary)
{
    u_char  *last;

    *dst++ = binary ? 0x01 : 0x00;

    /* digits are octets of their value here */

    for (last = ngx_sio_json_uint_write(dst, len); dst < last; dst++) {
        *dst -= '0';
    }

    *dst++ = 0xff;

    return dst;
}


/* each piece between separators is a packet, also the empty one */

static ngx_int_t
ngx_sio_eio_next_v4(ngx_sio_eio_payload_t *payload, ngx_sio_eio_packet_t *pkt)
{
    u_char  *p, *last;

    p = payload->pos;

    /* an empty body may have no data to point to */

    if (p == payload->end) {
        return NGX_DECLINED;
    }

    last = memchr(p, NGX_SIO_EIO_SEPARATOR, payload->end - p);

    if (last == NULL) {
        last = payload->end;
    }

    if (ngx_sio_eio_text(p, last, 4, pkt) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (last == payload->end) {
        payload->pos = last;
        payload->done = 1;

    } else {
        payload->pos = last + 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_eio_next_text(ngx_sio_eio_payload_t *payload,
    ngx_sio_eio_packet_t *pkt)
{
    size_t   units;
    u_char  *p, *last;

    p = payload->pos;

    do {
        units = 0;

        for (last = p; p < payload->end && *p != ':'; p++) {
            if (ngx_sio_eio_digit(&units, (ngx_uint_t) *p - '0') != NGX_OK) {
                return NGX_DECLINED;
            }
        }

        if (p == payload->end || p == last) {
            return NGX_DECLINED;
        }

        p++;

        /* "0:" is skipped, as Node does */

        if (units == 0 && p == payload->end) {
            payload->pos = p;
            payload->done = 1;
            return NGX_DONE;
        }

    } while (units == 0);

    last = ngx_sio_eio_skip_units(p, payload->end, units);

    if (last == NULL || ngx_sio_eio_text(p, last, 3, pkt) != NGX_OK) {
        return NGX_DECLINED;
    }

    payload->pos = last;
    payload->done = (last == payload->end);

    return NGX_OK;
}


static ngx_int_t
ngx_sio_eio_next_binary(ngx_sio_eio_payload_t *payload,
    ngx_sio_eio_packet_t *pkt)
{
    size_t      len;
    u_char     *p, *start;
    ngx_int_t   rc;
    ngx_uint_t  binary;

    p = payload->pos;

    if (p == payload->end || *p > 1) {
        return NGX_DECLINED;
    }

    binary = *p++;
    len = 0;

    for (start = p; p < payload->end && *p != 0xff; p++) {
        if (ngx_sio_eio_digit(&len, *p) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    if (p == payload->end || p == start) {
        return NGX_DECLINED;
    }

    p++;

    if (len > (size_t) (payload->end - p)) {
        return NGX_DECLINED;
    }

    rc = binary ? ngx_sio_eio_binary(p, p + len, 3, pkt)
                : ngx_sio_eio_text(p, p + len, 3, pkt);

    if (rc != NGX_OK) {
        return NGX_DECLINED;
    }

    payload->pos = p + len;
    payload->done = (payload->pos == payload->end);

    return NGX_OK;
}


static ngx_int_t
ngx_sio_eio_text(u_char *p, u_char *end, ngx_uint_t revision,
    ngx_sio_eio_packet_t *pkt)
{
    if (p == end) {
        return NGX_DECLINED;
    }

    pkt->binary = 0;
    pkt->base64 = 0;

    if (*p == 'b') {
        p++;
        pkt->base64 = 1;

        /* revision 4 has binary messages only, and writes no type */

        if (revision == 4) {
            pkt->type = NGX_SIO_EIO_MESSAGE;
            pkt->binary = 1;
            pkt->data.data = p;
            pkt->data.len = end - p;
            return NGX_OK;
        }

        if (p == end) {
            return NGX_DECLINED;
        }
    }

    if (*p < '0' + NGX_SIO_EIO_OPEN || *p > '0' + NGX_SIO_EIO_NOOP) {
        return NGX_DECLINED;
    }

    pkt->type = *p - '0';
    pkt->binary = (pkt->base64 && pkt->type == NGX_SIO_EIO_MESSAGE);

    pkt->data.data = p + 1;
    pkt->data.len = end - (p + 1);

    return NGX_OK;
}


static ngx_int_t
ngx_sio_eio_binary(u_char *p, u_char *end, ngx_uint_t revision,
    ngx_sio_eio_packet_t *pkt)
{
    pkt->type = NGX_SIO_EIO_MESSAGE;
    pkt->base64 = 0;

    if (revision == 3) {

        if (p == end) {
            return NGX_DECLINED;
        }

        pkt->type = (*p <= NGX_SIO_EIO_NOOP) ? *p : NGX_SIO_EIO_NOOP;
        p++;
    }

    pkt->binary = (pkt->type == NGX_SIO_EIO_MESSAGE);

    pkt->data.data = p;
    pkt->data.len = end - p;

    return NGX_OK;
}


/* appends a digit to a length that must not overflow */

static ngx_int_t
ngx_sio_eio_digit(size_t *n, ngx_uint_t digit)
{
    if (digit > 9 || *n > (NGX_MAX_SIZE_T_VALUE - digit) / 10) {
        return NGX_DECLINED;
    }

    *n = *n * 10 + digit;

    return NGX_OK;
}


/*
 * Returns the end of as many UTF-16 units, or NULL if there are not so many
 * or the last one is half a pair.
 */

static u_char *
ngx_sio_eio_skip_units(u_char *p, u_char *end, size_t units)
{
    size_t  n;

    while (units) {

        if (p == end) {
            return NULL;
        }

        n = (*p >= 0xf0) ? 2 : 1;

        if (n > units) {
            return NULL;
        }

        units -= n;

        do {
            p++;
        } while (p < end && (*p & 0xc0) == 0x80);
    }

    return p;
}
