
#include "ngx_sio_packet.h"
#include "ngx_sio_json.h"


/* what is known about an open array or object of a payload */

#define NGX_SIO_PACKET_OBJECT       0x01
#define NGX_SIO_PACKET_PLACEHOLDER  0x02    /* "_placeholder" is true */
#define NGX_SIO_PACKET_NUM          0x04    /* "num" is in range */
#define NGX_SIO_PACKET_BAD          0x08    /* a bad placeholder inside */


static ngx_int_t ngx_sio_packet_type(u_char **pos, u_char *end,
    ngx_uint_t max_attachments, ngx_sio_packet_t *p, const char **err);
static void ngx_sio_packet_nsp(u_char **pos, u_char *end, ngx_uint_t revision,
    ngx_sio_packet_t *p);
static ngx_int_t ngx_sio_packet_id(u_char **pos, u_char *end,
    ngx_sio_packet_t *p, const char **err);
static ngx_int_t ngx_sio_packet_payload(u_char *pos, u_char *end,
    ngx_sio_packet_t *p, const char **err);
static ngx_int_t ngx_sio_packet_absent(ngx_sio_packet_t *p, const char **err);
static ngx_int_t ngx_sio_packet_event(ngx_sio_packet_t *p, const char **err);
static ngx_int_t ngx_sio_packet_number(u_char **pos, u_char *end,
    uint64_t *n);
static ngx_uint_t ngx_sio_packet_reserved(ngx_str_t *event);
static void ngx_sio_packet_args(ngx_str_t *args, u_char *pos, u_char *end);
static void ngx_sio_packet_member(u_char *state, ngx_str_t *key,
    ngx_str_t *value, ngx_uint_t n);
static void ngx_sio_packet_reply(ngx_sio_packet_t *p,
    ngx_sio_packet_type_e type, ngx_str_t *nsp);
static ngx_uint_t ngx_sio_packet_root(ngx_str_t *nsp);


static ngx_str_t  ngx_sio_packet_reserved_names[] = {
    ngx_string("connect"),
    ngx_string("connect_error"),
    ngx_string("disconnect"),
    ngx_string("disconnecting"),
    ngx_string("newListener"),
    ngx_string("removeListener")
};


ngx_int_t
ngx_sio_packet_decode(ngx_str_t *text, ngx_uint_t max_attachments,
    ngx_uint_t revision, ngx_sio_packet_t *p, const char **err)
{
    u_char  *pos, *end;

    ngx_memzero(p, sizeof(ngx_sio_packet_t));

    pos = text->data;
    end = text->data + text->len;

    if (ngx_sio_packet_type(&pos, end, max_attachments, p, err) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_sio_packet_nsp(&pos, end, revision, p);

    if (ngx_sio_packet_id(&pos, end, p, err) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (pos == end) {
        return ngx_sio_packet_absent(p, err);
    }

    return ngx_sio_packet_payload(pos, end, p, err);
}


ngx_int_t
ngx_sio_packet_placeholders(ngx_str_t *payload, ngx_uint_t n)
{
    u_char      *pos, *end, *state, stack[NGX_SIO_PACKET_DEPTH + 1];
    ngx_int_t    rc;
    ngx_str_t    key, token;
    ngx_uint_t   bad;

    pos = payload->data;
    end = payload->data + payload->len;

    /* the bottom stands for the world around the payload */

    state = stack;
    *state = 0;

    ngx_str_null(&key);

    while ((rc = ngx_sio_json_token(&pos, end, &token)) == NGX_OK) {

        switch (token.data[0]) {

        case '{':
        case '[':

            if (state == &stack[NGX_SIO_PACKET_DEPTH]) {
                return NGX_DECLINED;
            }

            ngx_sio_packet_member(state, &key, &token, n);
            ngx_str_null(&key);

            *++state = (token.data[0] == '{') ? NGX_SIO_PACKET_OBJECT : 0;
            break;

        case '}':
        case ']':

            if (state == stack) {
                return NGX_DECLINED;
            }

            /* what stands inside of a placeholder never becomes data */

            bad = (*state & NGX_SIO_PACKET_PLACEHOLDER)
                  ? !(*state & NGX_SIO_PACKET_NUM)
                  : *state & NGX_SIO_PACKET_BAD;

            *--state |= bad ? NGX_SIO_PACKET_BAD : 0;
            break;

        case ',':
        case ':':
            break;

        default:

            if ((*state & NGX_SIO_PACKET_OBJECT) && key.len == 0) {
                key = token;
                break;
            }

            ngx_sio_packet_member(state, &key, &token, n);
            ngx_str_null(&key);
        }
    }

    if (rc != NGX_DONE || state != stack || (*state & NGX_SIO_PACKET_BAD)) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_sio_packet_placeholder(ngx_str_t *object, ngx_uint_t n, uint64_t *num)
{
    ngx_str_t  value;

    return ngx_sio_json_find(object, "_placeholder", &value) == NGX_OK
           && ngx_sio_json_type(&value) == NGX_SIO_JSON_TRUE
           && ngx_sio_json_find(object, "num", &value) == NGX_OK
           && ngx_sio_json_uint(&value, n - 1, num) == NGX_OK;
}


size_t
ngx_sio_packet_header_length(ngx_sio_packet_t *p)
{
    size_t  len;

    len = 2;

    if (p->type >= NGX_SIO_PACKET_BINARY_EVENT) {
        len += ngx_sio_json_uint_length(p->attachments) + 1;
    }

    if (!ngx_sio_packet_root(&p->nsp)) {
        len += p->nsp.len + 1;
    }

    if (p->id != NGX_SIO_PACKET_NO_ID) {
        len += ngx_sio_json_uint_length(p->id);
    }

    return len;
}


u_char *
ngx_sio_packet_header_write(u_char *dst, ngx_sio_packet_t *p)
{
    *dst++ = '4';
    *dst++ = (u_char) ('0' + p->type);

    if (p->type >= NGX_SIO_PACKET_BINARY_EVENT) {
        dst = ngx_sio_json_uint_write(dst, p->attachments);
        *dst++ = '-';
    }

    if (!ngx_sio_packet_root(&p->nsp)) {
        dst = ngx_cpymem(dst, p->nsp.data, p->nsp.len);
        *dst++ = ',';
    }

    if (p->id != NGX_SIO_PACKET_NO_ID) {
        dst = ngx_sio_json_uint_write(dst, p->id);
    }

    return dst;
}


size_t
ngx_sio_packet_connect_length(ngx_str_t *nsp, ngx_str_t *sid, ngx_str_t *pid)
{
    size_t            len;
    ngx_sio_packet_t  p;

    ngx_sio_packet_reply(&p, NGX_SIO_PACKET_CONNECT, nsp);

    len = ngx_sio_packet_header_length(&p);

    if (sid) {
        len += sizeof("{\"sid\":\"\"}") - 1 + sid->len;

        if (pid) {
            len += sizeof(",\"pid\":\"\"") - 1 + pid->len;
        }
    }

    return len;
}


u_char *
ngx_sio_packet_connect_write(u_char *dst, ngx_str_t *nsp, ngx_str_t *sid,
    ngx_str_t *pid)
{
    ngx_sio_packet_t  p;

    ngx_sio_packet_reply(&p, NGX_SIO_PACKET_CONNECT, nsp);

    dst = ngx_sio_packet_header_write(dst, &p);

    if (sid == NULL) {
        return dst;
    }

    dst = ngx_cpymem(dst, "{\"sid\":\"", sizeof("{\"sid\":\"") - 1);
    dst = ngx_cpymem(dst, sid->data, sid->len);

    if (pid) {
        dst = ngx_cpymem(dst, "\",\"pid\":\"", sizeof("\",\"pid\":\"") - 1);
        dst = ngx_cpymem(dst, pid->data, pid->len);
    }

    *dst++ = '"';
    *dst++ = '}';

    return dst;
}


size_t
ngx_sio_packet_error_length(ngx_sio_packet_error_t *e)
{
    size_t            len, message;
    ngx_sio_packet_t  p;

    ngx_sio_packet_reply(&p, NGX_SIO_PACKET_CONNECT_ERROR, &e->nsp);

    len = ngx_sio_packet_header_length(&p);
    message = ngx_sio_json_escape_length(e->message.data, e->message.len) + 2;

    if (e->revision == 4) {
        return len + (e->data ? e->data->len : message);
    }

    len += sizeof("{\"message\":}") - 1 + message;

    if (e->data) {
        len += sizeof(",\"data\":") - 1 + e->data->len;
    }

    return len;
}


u_char *
ngx_sio_packet_error_write(u_char *dst, ngx_sio_packet_error_t *e)
{
    ngx_sio_packet_t  p;

    ngx_sio_packet_reply(&p, NGX_SIO_PACKET_CONNECT_ERROR, &e->nsp);

    dst = ngx_sio_packet_header_write(dst, &p);

    if (e->revision == 4 && e->data) {
        return ngx_cpymem(dst, e->data->data, e->data->len);
    }

    if (e->revision != 4) {
        dst = ngx_cpymem(dst, "{\"message\":", sizeof("{\"message\":") - 1);
    }

    *dst++ = '"';
    dst = ngx_sio_json_escape(dst, e->message.data, e->message.len);
    *dst++ = '"';

    if (e->revision == 4) {
        return dst;
    }

    if (e->data) {
        dst = ngx_cpymem(dst, ",\"data\":", sizeof(",\"data\":") - 1);
        dst = ngx_cpymem(dst, e->data->data, e->data->len);
    }

    *dst++ = '}';

    return dst;
}


/* <type>[<attachments>-] */

static ngx_int_t
ngx_sio_packet_type(u_char **pos, u_char *end, ngx_uint_t max_attachments,
    ngx_sio_packet_t *p, const char **err)
{
    u_char    *s;
    uint64_t   n;

    s = *pos;

    if (s == end || *s < '0' || *s > '0' + NGX_SIO_PACKET_BINARY_ACK) {
        *err = "unknown packet type";
        return NGX_DECLINED;
    }

    p->type = *s++ - '0';

    if (p->type < NGX_SIO_PACKET_BINARY_EVENT) {
        *pos = s;
        return NGX_OK;
    }

    if (ngx_sio_packet_number(&s, end, &n) != NGX_OK
        || n == 0 || s == end || *s != '-')
    {
        *err = "illegal number of attachments";
        return NGX_DECLINED;
    }

    if (n > max_attachments) {
        *err = "too many attachments";
        return NGX_DECLINED;
    }

    p->attachments = (ngx_uint_t) n;
    *pos = s + 1;

    return NGX_OK;
}


/* [<namespace>,], where the end of the packet may stand for the comma */

static void
ngx_sio_packet_nsp(u_char **pos, u_char *end, ngx_uint_t revision,
    ngx_sio_packet_t *p)
{
    u_char  *s, *last, *query;

    s = *pos;

    if (s == end || *s != '/') {
        ngx_str_set(&p->nsp, "/");
        return;
    }

    last = memchr(s, ',', end - s);

    if (last == NULL) {
        last = end;
        *pos = end;

    } else {
        *pos = last + 1;
    }

    if (revision == 4 && p->type == NGX_SIO_PACKET_CONNECT) {
        query = memchr(s, '?', last - s);

        if (query) {
            p->query.data = query + 1;
            p->query.len = last - p->query.data;
            last = query;
        }
    }

    p->nsp.data = s;
    p->nsp.len = last - s;
}


static ngx_int_t
ngx_sio_packet_id(u_char **pos, u_char *end, ngx_sio_packet_t *p,
    const char **err)
{
    uint64_t  n;

    p->id = NGX_SIO_PACKET_NO_ID;

    switch (ngx_sio_packet_number(pos, end, &n)) {

    case NGX_OK:
        break;

    case NGX_DONE:
        return NGX_OK;

    default: /* NGX_DECLINED */
        *err = "too large acknowledgement id";
        return NGX_DECLINED;
    }

    /* others may carry an id, but it has no meaning */

    switch (p->type) {

    case NGX_SIO_PACKET_EVENT:
    case NGX_SIO_PACKET_ACK:
    case NGX_SIO_PACKET_BINARY_EVENT:
    case NGX_SIO_PACKET_BINARY_ACK:
        p->id = n;
        break;

    default:
        break;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_packet_payload(u_char *pos, u_char *end, ngx_sio_packet_t *p,
    const char **err)
{
    ngx_str_t       text;
    ngx_sio_json_e  type;

    text.data = pos;
    text.len = end - pos;

    /* Node reads a blank here as an id of 0; it only can be a mistake */

    if (*pos <= ' '
        || ngx_sio_json_text(&text, NGX_SIO_PACKET_DEPTH, &p->payload)
           != NGX_OK)
    {
        *err = "malformed payload";
        return NGX_DECLINED;
    }

    type = ngx_sio_json_type(&p->payload);

    switch (p->type) {

    case NGX_SIO_PACKET_CONNECT:

        if (type == NGX_SIO_JSON_OBJECT) {
            return NGX_OK;
        }

        break;

    case NGX_SIO_PACKET_EVENT:
    case NGX_SIO_PACKET_BINARY_EVENT:

        if (type == NGX_SIO_JSON_ARRAY) {
            return ngx_sio_packet_event(p, err);
        }

        break;

    case NGX_SIO_PACKET_ACK:
    case NGX_SIO_PACKET_BINARY_ACK:

        if (type == NGX_SIO_JSON_ARRAY) {
            ngx_sio_packet_args(&p->args, p->payload.data + 1,
                                p->payload.data + p->payload.len - 1);
            return NGX_OK;
        }

        break;

    case NGX_SIO_PACKET_CONNECT_ERROR:
        return NGX_OK;

    default: /* NGX_SIO_PACKET_DISCONNECT */
        break;
    }

    *err = "payload of a wrong type";

    return NGX_DECLINED;
}


static ngx_int_t
ngx_sio_packet_absent(ngx_sio_packet_t *p, const char **err)
{
    switch (p->type) {

    case NGX_SIO_PACKET_ACK:
        return NGX_DONE;

    case NGX_SIO_PACKET_EVENT:
    case NGX_SIO_PACKET_BINARY_EVENT:
    case NGX_SIO_PACKET_BINARY_ACK:
        *err = "no payload";
        return NGX_DECLINED;

    default:
        return NGX_OK;
    }
}


/* the payload is a well-formed array */

static ngx_int_t
ngx_sio_packet_event(ngx_sio_packet_t *p, const char **err)
{
    u_char               *end;
    ngx_sio_json_e        type;
    ngx_sio_json_iter_t   it;

    ngx_sio_json_iter(&it, &p->payload);

    end = it.end;

    if (ngx_sio_json_element(&it, &p->event) != NGX_OK) {
        *err = "no event name";
        return NGX_DECLINED;
    }

    type = ngx_sio_json_type(&p->event);

    if (type != NGX_SIO_JSON_STRING && type != NGX_SIO_JSON_NUMBER) {
        *err = "event name of a wrong type";
        return NGX_DECLINED;
    }

    if (ngx_sio_packet_reserved(&p->event)) {
        *err = "reserved event name";
        return NGX_DECLINED;
    }

    ngx_sio_packet_args(&p->args, it.pos, end);

    return NGX_OK;
}


/*
 * Reads digits as far as they go.
 *
 *   NGX_OK        *n is at most 2^53 - 1
 *   NGX_DONE      there are none
 *   NGX_DECLINED  too large
 */

static ngx_int_t
ngx_sio_packet_number(u_char **pos, u_char *end, uint64_t *n)
{
    u_char     *p;
    ngx_str_t   digits;

    p = *pos;

    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }

    digits.data = *pos;
    digits.len = p - *pos;

    if (digits.len == 0) {
        return NGX_DONE;
    }

    *pos = p;

    return ngx_sio_json_uint(&digits, NGX_SIO_PACKET_MAX_ID, n);
}


static ngx_uint_t
ngx_sio_packet_reserved(ngx_str_t *event)
{
    ngx_str_t   *name;
    ngx_uint_t   i, n;

    name = ngx_sio_packet_reserved_names;
    n = sizeof(ngx_sio_packet_reserved_names) / sizeof(ngx_str_t);

    for (i = 0; i < n; i++) {
        if (ngx_sio_json_string_equal(event, &name[i])) {
            return 1;
        }
    }

    return 0;
}


/* without white space around, so that no arguments are no octets */

static void
ngx_sio_packet_args(ngx_str_t *args, u_char *pos, u_char *end)
{
    while (pos < end && *pos <= ' ') {
        pos++;
    }

    while (pos < end && end[-1] <= ' ') {
        end--;
    }

    args->data = pos;
    args->len = end - pos;
}


/* a member of an object, or an element of an array, for which key is empty */

static void
ngx_sio_packet_member(u_char *state, ngx_str_t *key, ngx_str_t *value,
    ngx_uint_t n)
{
    u_char             bit;
    uint64_t           num;
    ngx_uint_t         set;
    static ngx_str_t   placeholder = ngx_string("_placeholder");
    static ngx_str_t   number = ngx_string("num");

    if (key->len == 0) {
        return;
    }

    if (ngx_sio_json_string_equal(key, &placeholder)) {
        bit = NGX_SIO_PACKET_PLACEHOLDER;
        set = (ngx_sio_json_type(value) == NGX_SIO_JSON_TRUE);

    } else if (ngx_sio_json_string_equal(key, &number)) {
        bit = NGX_SIO_PACKET_NUM;
        set = (n && ngx_sio_json_uint(value, n - 1, &num) == NGX_OK);

    } else {
        return;
    }

    /* of duplicates the last one counts */

    *state = (u_char) (set ? *state | bit : *state & ~bit);
}


static void
ngx_sio_packet_reply(ngx_sio_packet_t *p, ngx_sio_packet_type_e type,
    ngx_str_t *nsp)
{
    ngx_memzero(p, sizeof(ngx_sio_packet_t));

    p->type = type;
    p->nsp = *nsp;
    p->id = NGX_SIO_PACKET_NO_ID;
}


/* the root namespace is not written */

static ngx_uint_t
ngx_sio_packet_root(ngx_str_t *nsp)
{
    return nsp->len == 0 || (nsp->len == 1 && nsp->data[0] == '/');
}
