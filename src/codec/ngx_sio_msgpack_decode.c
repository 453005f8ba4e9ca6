
#include "ngx_sio_msgpack.h"
#include "ngx_sio_json.h"
#include "ngx_sio_utf8.h"
#include <stdio.h>


/* ECMA-262, "Time Values and Time Range" */
#define NGX_SIO_MSGPACK_MAX_DATE   8640000000000000LL

#define NGX_SIO_MSGPACK_DAY        86400000

/* "+012345-01-02T03:04:05.678Z" */
#define NGX_SIO_MSGPACK_TEXT_LEN   64

/* extensions: of the specification, and of notepack.io 2 */
#define NGX_SIO_MSGPACK_TIMESTAMP  0xff
#define NGX_SIO_MSGPACK_NOTEPACK   0x00


/* A value without what is inside of it. */

typedef struct {
    ngx_uint_t    type;             /* ngx_sio_msgpack_e */
    uint64_t      n;                /* number, length, elements, pairs */
    int64_t       date;             /* msec */
    double        number;
    u_char       *data;             /* TEXT, BYTES */
} ngx_sio_msgpack_token_t;


typedef struct {
    ngx_uint_t    depth;
    ngx_uint_t    nodes;            /* left */
    const char   *reason;
} ngx_sio_msgpack_check_t;


typedef struct {
    u_char       *p;                /* NULL: measured */
    size_t        len;
    ngx_str_t    *attachments;
    ngx_uint_t    n;
} ngx_sio_msgpack_out_t;


static ngx_int_t ngx_sio_msgpack_value(ngx_sio_msgpack_check_t *c,
    u_char **pos, u_char *end, ngx_uint_t depth, ngx_uint_t key);
static const char *ngx_sio_msgpack_token(u_char **pos, u_char *end,
    ngx_sio_msgpack_token_t *t);
static const char *ngx_sio_msgpack_scalar(u_char op, u_char **pos, u_char *end,
    ngx_sio_msgpack_token_t *t);
static const char *ngx_sio_msgpack_sized(u_char op, u_char **pos, u_char *end,
    ngx_sio_msgpack_token_t *t);
static const char *ngx_sio_msgpack_take(u_char **pos, u_char *end,
    ngx_sio_msgpack_token_t *t);
static const char *ngx_sio_msgpack_extension(u_char **pos, u_char *end,
    size_t len, ngx_uint_t fixed, ngx_sio_msgpack_token_t *t);
static const char *ngx_sio_msgpack_date(u_char *p, size_t len,
    ngx_sio_msgpack_token_t *t);
static uint64_t ngx_sio_msgpack_number(const u_char *p, size_t len);
static void ngx_sio_msgpack_signed(ngx_sio_msgpack_token_t *t, int64_t n);
static void ngx_sio_msgpack_skip(u_char **pos, u_char *end);

static void ngx_sio_msgpack_write(ngx_sio_msgpack_out_t *out, u_char **pos,
    u_char *end);
static void ngx_sio_msgpack_write_array(ngx_sio_msgpack_out_t *out,
    u_char **pos, u_char *end, uint64_t n);
static void ngx_sio_msgpack_write_map(ngx_sio_msgpack_out_t *out,
    u_char **pos, u_char *end, uint64_t n);
static void ngx_sio_msgpack_write_text(ngx_sio_msgpack_out_t *out,
    ngx_sio_msgpack_token_t *t);
static void ngx_sio_msgpack_write_uint(ngx_sio_msgpack_out_t *out, uint64_t n);
static void ngx_sio_msgpack_write_float(ngx_sio_msgpack_out_t *out,
    double number);
static void ngx_sio_msgpack_write_date(ngx_sio_msgpack_out_t *out,
    int64_t msec);
static void ngx_sio_msgpack_write_bytes(ngx_sio_msgpack_out_t *out,
    ngx_sio_msgpack_token_t *t);
static void ngx_sio_msgpack_out(ngx_sio_msgpack_out_t *out, const void *p,
    size_t len);


ngx_int_t
ngx_sio_msgpack_check(ngx_str_t *in, ngx_uint_t depth, ngx_uint_t nodes,
    const char **reason)
{
    u_char                   *pos, *end;
    ngx_sio_msgpack_check_t   c;

    c.depth = depth;
    c.nodes = nodes;
    c.reason = NULL;

    pos = in->data;
    end = pos + in->len;

    if (ngx_sio_msgpack_value(&c, &pos, end, 0, 0) != NGX_OK) {
        *reason = c.reason;
        return NGX_DECLINED;
    }

    if (pos != end) {
        *reason = "trailing octets";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_msgpack_value(ngx_sio_msgpack_check_t *c, u_char **pos, u_char *end,
    ngx_uint_t depth, ngx_uint_t key)
{
    uint64_t                  i;
    ngx_uint_t                pairs;
    ngx_sio_msgpack_token_t   t;

    c->reason = ngx_sio_msgpack_token(pos, end, &t);

    if (c->reason != NULL) {
        return NGX_DECLINED;
    }

    if (c->nodes-- == 0) {
        c->reason = "too many values";
        return NGX_DECLINED;
    }

    if (key && t.type != NGX_SIO_MSGPACK_TEXT) {
        c->reason = "a key that is no text";
        return NGX_DECLINED;
    }

    if (t.type == NGX_SIO_MSGPACK_TEXT
        && !ngx_sio_utf8_valid(t.data, (size_t) t.n))
    {
        c->reason = "text is not UTF-8";
        return NGX_DECLINED;
    }

    if (t.type != NGX_SIO_MSGPACK_ARRAY && t.type != NGX_SIO_MSGPACK_MAP) {
        return NGX_OK;
    }

    if (depth == c->depth) {
        c->reason = "too deep";
        return NGX_DECLINED;
    }

    pairs = (t.type == NGX_SIO_MSGPACK_MAP);

    /* each value is an octet at least */

    if (t.n > (uint64_t) (end - *pos) >> pairs) {
        c->reason = "truncated";
        return NGX_DECLINED;
    }

    for (i = 0; i < t.n; i++) {

        if (pairs
            && ngx_sio_msgpack_value(c, pos, end, depth + 1, 1) != NGX_OK)
        {
            return NGX_DECLINED;
        }

        if (ngx_sio_msgpack_value(c, pos, end, depth + 1, 0) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* Takes a token; returns what is wrong with it, or NULL. */

static const char *
ngx_sio_msgpack_token(u_char **pos, u_char *end, ngx_sio_msgpack_token_t *t)
{
    u_char  op;

    if (*pos == end) {
        return "truncated";
    }

    op = *(*pos)++;

    if (op < 0x80) {
        t->type = NGX_SIO_MSGPACK_UINT;
        t->n = op;
        return NULL;
    }

    if (op < 0xa0) {
        t->type = op < 0x90 ? NGX_SIO_MSGPACK_MAP : NGX_SIO_MSGPACK_ARRAY;
        t->n = op & 0x0f;
        return NULL;
    }

    if (op < 0xc0) {
        t->type = NGX_SIO_MSGPACK_TEXT;
        t->n = op & 0x1f;
        return ngx_sio_msgpack_take(pos, end, t);
    }

    if (op >= 0xe0) {
        ngx_sio_msgpack_signed(t, (int64_t) op - 0x100);
        return NULL;
    }

    if (op >= 0xd4 && op <= 0xd8) {
        return ngx_sio_msgpack_extension(pos, end, (size_t) 1 << (op - 0xd4),
                                         1, t);
    }

    if (op <= 0xc3 || (op >= 0xca && op <= 0xd3)) {
        return ngx_sio_msgpack_scalar(op, pos, end, t);
    }

    return ngx_sio_msgpack_sized(op, pos, end, t);
}


static const char *
ngx_sio_msgpack_scalar(u_char op, u_char **pos, u_char *end,
    ngx_sio_msgpack_token_t *t)
{
    float      f;
    size_t     len;
    uint32_t   bits;
    uint64_t   n;

    /* ca: float, double, four unsigned and four signed integers */

    static const u_char  lengths[] = { 4, 8, 1, 2, 4, 8, 1, 2, 4, 8 };

    switch (op) {

    case 0xc0:
        t->type = NGX_SIO_MSGPACK_NIL;
        return NULL;

    case 0xc1:
        return "reserved octet";

    case 0xc2:
        t->type = NGX_SIO_MSGPACK_FALSE;
        return NULL;

    case 0xc3:
        t->type = NGX_SIO_MSGPACK_TRUE;
        return NULL;
    }

    len = lengths[op - 0xca];

    if ((size_t) (end - *pos) < len) {
        return "truncated";
    }

    n = ngx_sio_msgpack_number(*pos, len);
    *pos += len;

    if (op == 0xca) {
        bits = (uint32_t) n;
        ngx_memcpy(&f, &bits, sizeof(float));
        t->type = NGX_SIO_MSGPACK_FLOAT;
        t->number = f;

    } else if (op == 0xcb) {
        t->type = NGX_SIO_MSGPACK_FLOAT;
        ngx_memcpy(&t->number, &n, sizeof(double));

    } else if (op < 0xd0) {
        t->type = NGX_SIO_MSGPACK_UINT;
        t->n = n;

    } else if (len == 8) {
        ngx_sio_msgpack_signed(t, (int64_t) n);

    } else {

        /* the sign moves up */

        n ^= (uint64_t) 1 << (8 * len - 1);
        ngx_sio_msgpack_signed(t, (int64_t) n
                                  - ((int64_t) 1 << (8 * len - 1)));
    }

    return NULL;
}


/* bin, ext, str, array, map with a length in front */

static const char *
ngx_sio_msgpack_sized(u_char op, u_char **pos, u_char *end,
    ngx_sio_msgpack_token_t *t)
{
    size_t  len;

    if (op <= 0xc9) {
        len = (size_t) 1 << ((op - 0xc4) % 3);

    } else if (op <= 0xdb) {
        len = (size_t) 1 << (op - 0xd9);

    } else {
        len = (op & 1) ? 4 : 2;
    }

    if ((size_t) (end - *pos) < len) {
        return "truncated";
    }

    t->n = ngx_sio_msgpack_number(*pos, len);
    *pos += len;

    if (op <= 0xc6) {
        t->type = NGX_SIO_MSGPACK_BYTES;
        return ngx_sio_msgpack_take(pos, end, t);
    }

    if (op <= 0xc9) {
        return ngx_sio_msgpack_extension(pos, end, (size_t) t->n, 0, t);
    }

    if (op <= 0xdb) {
        t->type = NGX_SIO_MSGPACK_TEXT;
        return ngx_sio_msgpack_take(pos, end, t);
    }

    t->type = op <= 0xdd ? NGX_SIO_MSGPACK_ARRAY : NGX_SIO_MSGPACK_MAP;

    return NULL;
}


static const char *
ngx_sio_msgpack_take(u_char **pos, u_char *end, ngx_sio_msgpack_token_t *t)
{
    if (t->n > (uint64_t) (end - *pos)) {
        return "truncated";
    }

    t->data = *pos;
    *pos += t->n;

    return NULL;
}


static const char *
ngx_sio_msgpack_extension(u_char **pos, u_char *end, size_t len,
    ngx_uint_t fixed, ngx_sio_msgpack_token_t *t)
{
    u_char       type;
    const char  *reason;

    if (*pos == end) {
        return "truncated";
    }

    type = *(*pos)++;
    t->n = len;

    reason = ngx_sio_msgpack_take(pos, end, t);

    if (reason != NULL) {
        return reason;
    }

    if (type == NGX_SIO_MSGPACK_TIMESTAMP) {
        return ngx_sio_msgpack_date(t->data, len, t);
    }

    if (type != NGX_SIO_MSGPACK_NOTEPACK) {
        return "unknown extension";
    }

    if (!fixed) {
        t->type = NGX_SIO_MSGPACK_BYTES;
        return NULL;
    }

    if (len == 1) {
        t->type = NGX_SIO_MSGPACK_UNDEFINED;
        return NULL;
    }

    if (len == 8) {
        t->type = NGX_SIO_MSGPACK_DATE;
        t->date = (int64_t) ngx_sio_msgpack_number(t->data, 8);
        return NULL;
    }

    return "unknown extension";
}


static const char *
ngx_sio_msgpack_date(u_char *p, size_t len, ngx_sio_msgpack_token_t *t)
{
    int64_t    sec;
    uint64_t   n, nsec;

    switch (len) {

    case 4:
        nsec = 0;
        sec = (int64_t) ngx_sio_msgpack_number(p, 4);
        break;

    case 8:
        n = ngx_sio_msgpack_number(p, 8);
        nsec = n >> 34;
        sec = (int64_t) (n & 0x3ffffffffULL);
        break;

    case 12:
        nsec = ngx_sio_msgpack_number(p, 4);
        sec = (int64_t) ngx_sio_msgpack_number(p + 4, 8);
        break;

    default:
        return "unknown extension";
    }

    t->type = NGX_SIO_MSGPACK_DATE;

    if (sec > NGX_SIO_MSGPACK_MAX_DATE / 1000
        || sec < -NGX_SIO_MSGPACK_MAX_DATE / 1000)
    {
        t->date = NGX_SIO_MSGPACK_MAX_DATE + 1;
        return NULL;
    }

    t->date = sec * 1000 + (int64_t) (nsec / 1000000);

    return NULL;
}


static uint64_t
ngx_sio_msgpack_number(const u_char *p, size_t len)
{
    uint64_t  n;

    for (n = 0; len--; p++) {
        n = n << 8 | *p;
    }

    return n;
}


static void
ngx_sio_msgpack_signed(ngx_sio_msgpack_token_t *t, int64_t n)
{
    t->type = n < 0 ? NGX_SIO_MSGPACK_INT : NGX_SIO_MSGPACK_UINT;
    t->n = n < 0 ? 0 - (uint64_t) n : (uint64_t) n;
}


/* What follows reads what was checked. */

ngx_sio_msgpack_e
ngx_sio_msgpack_type(ngx_str_t *value)
{
    u_char                   *pos;
    ngx_sio_msgpack_token_t   t;

    pos = value->data;

    if (ngx_sio_msgpack_token(&pos, pos + value->len, &t) != NULL) {
        return NGX_SIO_MSGPACK_NIL;
    }

    return t.type;
}


ngx_int_t
ngx_sio_msgpack_find(ngx_str_t *map, const char *name, ngx_str_t *found)
{
    u_char                   *pos, *end;
    size_t                    len;
    uint64_t                  n;
    ngx_int_t                 rc;
    ngx_uint_t                equal;
    ngx_sio_msgpack_token_t   t;

    pos = map->data;
    end = pos + map->len;

    if (ngx_sio_msgpack_token(&pos, end, &t) != NULL
        || t.type != NGX_SIO_MSGPACK_MAP)
    {
        return NGX_DECLINED;
    }

    len = ngx_strlen(name);
    rc = NGX_DECLINED;

    for (n = t.n; n; n--) {

        if (ngx_sio_msgpack_token(&pos, end, &t) != NULL) {
            break;
        }

        equal = (t.n == len && ngx_memcmp(t.data, name, len) == 0);

        t.data = pos;
        ngx_sio_msgpack_skip(&pos, end);

        if (equal) {
            found->data = t.data;
            found->len = pos - t.data;
            rc = NGX_OK;
        }
    }

    return rc;
}


ngx_int_t
ngx_sio_msgpack_element(ngx_str_t *array, ngx_uint_t n, ngx_str_t *found)
{
    u_char                   *pos, *end;
    ngx_sio_msgpack_token_t   t;

    pos = array->data;
    end = pos + array->len;

    if (ngx_sio_msgpack_token(&pos, end, &t) != NULL
        || t.type != NGX_SIO_MSGPACK_ARRAY || n >= t.n)
    {
        return NGX_DECLINED;
    }

    while (n--) {
        ngx_sio_msgpack_skip(&pos, end);
    }

    found->data = pos;
    ngx_sio_msgpack_skip(&pos, end);
    found->len = pos - found->data;

    return NGX_OK;
}


static void
ngx_sio_msgpack_skip(u_char **pos, u_char *end)
{
    uint64_t                  left;
    ngx_sio_msgpack_token_t   t;

    for (left = 1; left; left--) {

        if (ngx_sio_msgpack_token(pos, end, &t) != NULL) {
            return;
        }

        if (t.type == NGX_SIO_MSGPACK_ARRAY) {
            left += t.n;

        } else if (t.type == NGX_SIO_MSGPACK_MAP) {
            left += 2 * t.n;
        }
    }
}


size_t
ngx_sio_msgpack_json(u_char *dst, ngx_str_t *value, ngx_str_t *attachments,
    ngx_uint_t *n)
{
    u_char                 *pos;
    ngx_sio_msgpack_out_t   out;

    out.p = dst;
    out.len = 0;
    out.attachments = attachments;
    out.n = *n;

    pos = value->data;
    ngx_sio_msgpack_write(&out, &pos, pos + value->len);

    *n = out.n;

    return out.len;
}


static void
ngx_sio_msgpack_write(ngx_sio_msgpack_out_t *out, u_char **pos, u_char *end)
{
    ngx_sio_msgpack_token_t  t;

    if (ngx_sio_msgpack_token(pos, end, &t) != NULL) {
        t.type = NGX_SIO_MSGPACK_NIL;
    }

    switch (t.type) {

    case NGX_SIO_MSGPACK_TRUE:
        ngx_sio_msgpack_out(out, "true", 4);
        break;

    case NGX_SIO_MSGPACK_FALSE:
        ngx_sio_msgpack_out(out, "false", 5);
        break;

    case NGX_SIO_MSGPACK_INT:
        ngx_sio_msgpack_out(out, "-", 1);
        /* fall through */

    case NGX_SIO_MSGPACK_UINT:
        ngx_sio_msgpack_write_uint(out, t.n);
        break;

    case NGX_SIO_MSGPACK_FLOAT:
        ngx_sio_msgpack_write_float(out, t.number);
        break;

    case NGX_SIO_MSGPACK_DATE:
        ngx_sio_msgpack_write_date(out, t.date);
        break;

    case NGX_SIO_MSGPACK_TEXT:
        ngx_sio_msgpack_write_text(out, &t);
        break;

    case NGX_SIO_MSGPACK_BYTES:
        ngx_sio_msgpack_write_bytes(out, &t);
        break;

    case NGX_SIO_MSGPACK_ARRAY:
        ngx_sio_msgpack_write_array(out, pos, end, t.n);
        break;

    case NGX_SIO_MSGPACK_MAP:
        ngx_sio_msgpack_write_map(out, pos, end, t.n);
        break;

    default: /* NGX_SIO_MSGPACK_NIL, NGX_SIO_MSGPACK_UNDEFINED */
        ngx_sio_msgpack_out(out, "null", 4);
    }
}


static void
ngx_sio_msgpack_write_array(ngx_sio_msgpack_out_t *out, u_char **pos,
    u_char *end, uint64_t n)
{
    uint64_t  i;

    ngx_sio_msgpack_out(out, "[", 1);

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_sio_msgpack_out(out, ",", 1);
        }

        ngx_sio_msgpack_write(out, pos, end);
    }

    ngx_sio_msgpack_out(out, "]", 1);
}


static void
ngx_sio_msgpack_write_map(ngx_sio_msgpack_out_t *out, u_char **pos,
    u_char *end, uint64_t n)
{
    u_char                   *value;
    ngx_uint_t                any;
    ngx_sio_msgpack_token_t   key, t;

    ngx_sio_msgpack_out(out, "{", 1);

    for (any = 0; n; n--) {

        if (ngx_sio_msgpack_token(pos, end, &key) != NULL) {
            break;
        }

        value = *pos;

        if (ngx_sio_msgpack_token(&value, end, &t) == NULL
            && t.type == NGX_SIO_MSGPACK_UNDEFINED)
        {
            *pos = value;
            continue;
        }

        if (any) {
            ngx_sio_msgpack_out(out, ",", 1);
        }

        any = 1;

        ngx_sio_msgpack_write_text(out, &key);
        ngx_sio_msgpack_out(out, ":", 1);
        ngx_sio_msgpack_write(out, pos, end);
    }

    ngx_sio_msgpack_out(out, "}", 1);
}


static void
ngx_sio_msgpack_write_text(ngx_sio_msgpack_out_t *out,
    ngx_sio_msgpack_token_t *t)
{
    ngx_sio_msgpack_out(out, "\"", 1);

    out->len += ngx_sio_json_escape_length(t->data, (size_t) t->n);

    if (out->p != NULL) {
        out->p = ngx_sio_json_escape(out->p, t->data, (size_t) t->n);
    }

    ngx_sio_msgpack_out(out, "\"", 1);
}


static void
ngx_sio_msgpack_write_uint(ngx_sio_msgpack_out_t *out, uint64_t n)
{
    out->len += ngx_sio_json_uint_length(n);

    if (out->p != NULL) {
        out->p = ngx_sio_json_uint_write(out->p, n);
    }
}


static void
ngx_sio_msgpack_write_float(ngx_sio_msgpack_out_t *out, double number)
{
    u_char  *last, buf[NGX_SIO_JSON_DOUBLE_LEN];

    last = ngx_sio_json_double_write(buf, number);

    ngx_sio_msgpack_out(out, buf, last - buf);
}


/* ECMA-262, Date.prototype.toISOString(); what is no date is null */

static void
ngx_sio_msgpack_write_date(ngx_sio_msgpack_out_t *out, int64_t msec)
{
    int          len;
    char         buf[NGX_SIO_MSGPACK_TEXT_LEN];
    int64_t      days, era, year, day;
    const char  *sign;
    ngx_uint_t   month, time;

    if (msec > NGX_SIO_MSGPACK_MAX_DATE || msec < -NGX_SIO_MSGPACK_MAX_DATE) {
        ngx_sio_msgpack_out(out, "null", 4);
        return;
    }

    /* days since March 1 of the year 0, in eras of 400 years */

    days = msec / NGX_SIO_MSGPACK_DAY - (msec % NGX_SIO_MSGPACK_DAY < 0);
    time = (ngx_uint_t) (msec - days * NGX_SIO_MSGPACK_DAY);
    days += 719468;

    era = days / 146097 - (days % 146097 < 0);
    days -= era * 146097;

    year = (days - days / 1460 + days / 36524 - days / 146096) / 365;
    day = days - (365 * year + year / 4 - year / 100);
    month = (ngx_uint_t) (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;

    year += era * 400 + (month >= 10);
    month = (month + 2) % 12 + 1;

    sign = year < 0 ? "-" : year > 9999 ? "+" : "";

    len = snprintf(buf, sizeof(buf),
                   "\"%s%0*d-%02u-%02uT%02u:%02u:%02u.%03uZ\"",
                   sign, *sign ? 6 : 4, (int) (year < 0 ? -year : year),
                   (unsigned) month, (unsigned) day + 1,
                   (unsigned) (time / 3600000),
                   (unsigned) (time / 60000 % 60),
                   (unsigned) (time / 1000 % 60), (unsigned) (time % 1000));

    ngx_sio_msgpack_out(out, buf, len);
}


static void
ngx_sio_msgpack_write_bytes(ngx_sio_msgpack_out_t *out,
    ngx_sio_msgpack_token_t *t)
{
    static const char  head[] = "{\"_placeholder\":true,\"num\":";

    ngx_sio_msgpack_out(out, head, sizeof(head) - 1);
    ngx_sio_msgpack_write_uint(out, out->n);
    ngx_sio_msgpack_out(out, "}", 1);

    if (out->p != NULL) {
        out->attachments[out->n].data = t->data;
        out->attachments[out->n].len = (size_t) t->n;
    }

    out->n++;
}


static void
ngx_sio_msgpack_out(ngx_sio_msgpack_out_t *out, const void *p, size_t len)
{
    out->len += len;

    if (out->p != NULL) {
        out->p = ngx_cpymem(out->p, p, len);
    }
}
