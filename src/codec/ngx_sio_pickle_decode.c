
#include "ngx_sio_pickle.h"
#include "ngx_sio_utf8.h"
#include <stdlib.h>


#define NGX_SIO_PICKLE_PROTOCOL   5
#define NGX_SIO_PICKLE_STACK      4096      /* values and marks */
#define NGX_SIO_PICKLE_MEMO       65536
#define NGX_SIO_PICKLE_LONG       64        /* octets of an integer */
#define NGX_SIO_PICKLE_DIGITS     160       /* ... and its decimal digits */

/* the longest text of a FLOAT: those that were JSON are not always short */
#define NGX_SIO_PICKLE_FLOAT_TEXT 4000


typedef struct {
    u_char                   *pos;
    u_char                   *end;
    ngx_pool_t               *pool;
    const char               *reason;

    ngx_sio_pickle_value_t  **stack;        /* NULL is a mark */
    ngx_uint_t                nstack;

    ngx_sio_pickle_value_t  **memo;
    ngx_uint_t                memo_size;
    ngx_uint_t                memo_next;    /* of MEMOIZE */
} ngx_sio_pickle_machine_t;


static ngx_int_t ngx_sio_pickle_run(ngx_sio_pickle_machine_t *m);
static ngx_int_t ngx_sio_pickle_scalar(ngx_sio_pickle_machine_t *m, u_char op);
static ngx_int_t ngx_sio_pickle_string(ngx_sio_pickle_machine_t *m, u_char op);
static ngx_int_t ngx_sio_pickle_line(ngx_sio_pickle_machine_t *m, u_char op);
static ngx_int_t ngx_sio_pickle_container(ngx_sio_pickle_machine_t *m,
    u_char op);
static ngx_int_t ngx_sio_pickle_memory(ngx_sio_pickle_machine_t *m, u_char op);
static ngx_int_t ngx_sio_pickle_refuse(ngx_sio_pickle_machine_t *m,
    const char *reason);
static ngx_int_t ngx_sio_pickle_take(ngx_sio_pickle_machine_t *m, size_t n,
    u_char **p);
static ngx_int_t ngx_sio_pickle_number(ngx_sio_pickle_machine_t *m, size_t n,
    uint64_t *number);
static ngx_int_t ngx_sio_pickle_push(ngx_sio_pickle_machine_t *m,
    ngx_sio_pickle_value_t *value);
static ngx_sio_pickle_value_t *ngx_sio_pickle_new(ngx_sio_pickle_machine_t *m,
    ngx_uint_t type);
static ngx_int_t ngx_sio_pickle_push_new(ngx_sio_pickle_machine_t *m,
    ngx_uint_t type);
static ngx_int_t ngx_sio_pickle_push_text(ngx_sio_pickle_machine_t *m,
    ngx_uint_t type, u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_push_int(ngx_sio_pickle_machine_t *m,
    int64_t n);
static ngx_int_t ngx_sio_pickle_push_long(ngx_sio_pickle_machine_t *m,
    u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_push_digits(ngx_sio_pickle_machine_t *m,
    u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_push_unicode(ngx_sio_pickle_machine_t *m,
    u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_push_raw(ngx_sio_pickle_machine_t *m,
    u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_push_quoted(ngx_sio_pickle_machine_t *m,
    u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_push_legacy(ngx_sio_pickle_machine_t *m,
    u_char *p, size_t len);
static ngx_int_t ngx_sio_pickle_add(ngx_sio_pickle_machine_t *m,
    ngx_sio_pickle_value_t *to, ngx_uint_t from);
static ngx_int_t ngx_sio_pickle_mark(ngx_sio_pickle_machine_t *m,
    ngx_uint_t *from);
static ngx_int_t ngx_sio_pickle_collect(ngx_sio_pickle_machine_t *m,
    ngx_uint_t type, ngx_uint_t from, ngx_uint_t marked);
static ngx_int_t ngx_sio_pickle_remember(ngx_sio_pickle_machine_t *m,
    uint64_t index);
static ngx_uint_t ngx_sio_pickle_bounded(ngx_sio_pickle_value_t *value,
    ngx_uint_t depth, ngx_uint_t *nodes);


ngx_uint_t
ngx_sio_pickle_is(ngx_str_t *in)
{
    if (in->len < 2) {
        return 0;
    }

    return in->data[0] == 0x80
           || (in->data[0] == '(' && in->data[1] == 'd')
           || in->data[0] == '}';
}


ngx_int_t
ngx_sio_pickle_decode(ngx_str_t *in, ngx_uint_t depth, ngx_uint_t nodes,
    ngx_sio_pickle_value_t **value, ngx_pool_t *pool, const char **reason)
{
    ngx_int_t                 rc;
    ngx_sio_pickle_machine_t  m;

    ngx_memzero(&m, sizeof(ngx_sio_pickle_machine_t));

    m.pos = in->data;
    m.end = in->data + in->len;
    m.pool = pool;

    m.stack = ngx_palloc(pool, NGX_SIO_PICKLE_STACK
                               * sizeof(ngx_sio_pickle_value_t *));
    if (m.stack == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_sio_pickle_run(&m);

    if (rc == NGX_OK && !ngx_sio_pickle_bounded(m.stack[0], depth, &nodes)) {
        rc = ngx_sio_pickle_refuse(&m, "pickle too deep or too large");
    }

    if (rc == NGX_DECLINED) {
        *reason = m.reason;
        return NGX_DECLINED;
    }

    *value = m.stack[0];

    return rc;
}


static ngx_int_t
ngx_sio_pickle_run(ngx_sio_pickle_machine_t *m)
{
    u_char      op;
    uint64_t    n;
    ngx_int_t   rc;

    if (m->end - m->pos >= 2 && m->pos[0] == 0x80) {

        if (m->pos[1] < 2 || m->pos[1] > NGX_SIO_PICKLE_PROTOCOL) {
            return ngx_sio_pickle_refuse(m, "unknown pickle protocol");
        }

        m->pos += 2;
    }

    while (m->pos < m->end) {

        op = *m->pos++;

        switch (op) {

        case '.':                                       /* STOP */

            if (m->nstack != 1 || m->stack[0] == NULL || m->pos != m->end) {
                return ngx_sio_pickle_refuse(m, "malformed pickle");
            }

            return NGX_OK;

        case 0x95:                                      /* FRAME */
            rc = ngx_sio_pickle_number(m, 8, &n);

            if (rc == NGX_OK && n > (uint64_t) (m->end - m->pos)) {
                return ngx_sio_pickle_refuse(m, "truncated pickle");
            }

            break;

        case 'N': case 0x88: case 0x89: case 'K': case 'M': case 'J':
        case 0x8a: case 0x8b: case 'G':
            rc = ngx_sio_pickle_scalar(m, op);
            break;

        case 0x8c: case 'X': case 0x8d: case 'C': case 'B': case 0x8e:
        case 0x96: case 'U': case 'T':
            rc = ngx_sio_pickle_string(m, op);
            break;

        case 'I': case 'L': case 'F': case 'V': case 'S': case 'p': case 'g':
            rc = ngx_sio_pickle_line(m, op);
            break;

        case '(': case '}': case ']': case ')': case 's': case 'u': case 'a':
        case 'e': case 0x85: case 0x86: case 0x87: case 't': case 'l':
        case 'd':
            rc = ngx_sio_pickle_container(m, op);
            break;

        case 0x94: case 'q': case 'r': case 'h': case 'j':
            rc = ngx_sio_pickle_memory(m, op);
            break;

        default:
            return ngx_sio_pickle_refuse(m, "pickle with more than data");
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_sio_pickle_refuse(m, "truncated pickle");
}


static ngx_int_t
ngx_sio_pickle_scalar(ngx_sio_pickle_machine_t *m, u_char op)
{
    u_char                  *p;
    double                   number;
    uint64_t                 n;
    ngx_uint_t               i;
    ngx_sio_pickle_value_t  *value;

    switch (op) {

    case 'N':                                           /* NONE */
        return ngx_sio_pickle_push_new(m, NGX_SIO_PICKLE_NONE);

    case 0x88:                                          /* NEWTRUE */
        return ngx_sio_pickle_push_new(m, NGX_SIO_PICKLE_TRUE);

    case 0x89:                                          /* NEWFALSE */
        return ngx_sio_pickle_push_new(m, NGX_SIO_PICKLE_FALSE);

    case 'K':                                           /* BININT1 */
    case 'M':                                           /* BININT2 */
    case 'J':                                           /* BININT */

        if (ngx_sio_pickle_number(m, op == 'K' ? 1 : op == 'M' ? 2 : 4, &n)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }

        return ngx_sio_pickle_push_int(m, op == 'J' ? (int32_t) (uint32_t) n
                                                    : (int64_t) n);

    case 0x8a:                                          /* LONG1 */
    case 0x8b:                                          /* LONG4 */

        if (ngx_sio_pickle_number(m, op == 0x8a ? 1 : 4, &n) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (n > NGX_SIO_PICKLE_LONG) {
            return ngx_sio_pickle_refuse(m, "huge integer in a pickle");
        }

        if (ngx_sio_pickle_take(m, n, &p) != NGX_OK) {
            return NGX_DECLINED;
        }

        return ngx_sio_pickle_push_long(m, p, n);

    default: /* 'G', BINFLOAT */

        if (ngx_sio_pickle_take(m, 8, &p) != NGX_OK) {
            return NGX_DECLINED;
        }

        for (n = 0, i = 0; i < 8; i++) {
            n = n << 8 | p[i];
        }

        ngx_memcpy(&number, &n, sizeof(double));

        value = ngx_sio_pickle_new(m, NGX_SIO_PICKLE_FLOAT);
        if (value == NULL) {
            return NGX_ERROR;
        }

        value->number = number;

        return ngx_sio_pickle_push(m, value);
    }
}


/* length and octets */

static ngx_int_t
ngx_sio_pickle_string(ngx_sio_pickle_machine_t *m, u_char op)
{
    u_char    *p;
    size_t     width;
    uint64_t   n;

    switch (op) {

    case 0x8c:                                          /* SHORT_BINUNICODE */
    case 'C':                                           /* SHORT_BINBYTES */
    case 'U':                                           /* SHORT_BINSTRING */
        width = 1;
        break;

    case 'X':                                           /* BINUNICODE */
    case 'B':                                           /* BINBYTES */
    case 'T':                                           /* BINSTRING */
        width = 4;
        break;

    default:                   /* BINUNICODE8, BINBYTES8, BYTEARRAY8 */
        width = 8;
    }

    if (ngx_sio_pickle_number(m, width, &n) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (n > (uint64_t) (m->end - m->pos)) {
        return ngx_sio_pickle_refuse(m, "truncated pickle");
    }

    p = m->pos;
    m->pos += n;

    switch (op) {

    case 0x8c:
    case 'X':
    case 0x8d:
        return ngx_sio_pickle_push_unicode(m, p, n);

    case 'U':
    case 'T':
        return ngx_sio_pickle_push_legacy(m, p, n);

    default:
        return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_BYTES, p, n);
    }
}


/* protocol 0: a line of text */

static ngx_int_t
ngx_sio_pickle_line(ngx_sio_pickle_machine_t *m, u_char op)
{
    u_char                  *p, *lf, *last;
    size_t                   len;
    double                   number;
    ngx_int_t                n;
    char                     buf[NGX_SIO_PICKLE_FLOAT_TEXT + 1], *stop;
    ngx_sio_pickle_value_t  *value;

    lf = ngx_strlchr(m->pos, m->end, LF);

    if (lf == NULL) {
        return ngx_sio_pickle_refuse(m, "truncated pickle");
    }

    p = m->pos;
    len = lf - p;
    m->pos = lf + 1;

    switch (op) {

    case 'I':                                           /* INT */

        if (len == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1')) {
            return ngx_sio_pickle_push_new(m, p[1] == '1'
                                              ? NGX_SIO_PICKLE_TRUE
                                              : NGX_SIO_PICKLE_FALSE);
        }

        return ngx_sio_pickle_push_digits(m, p, len);

    case 'L':                                           /* LONG */

        if (len == 0 || p[len - 1] != 'L') {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        return ngx_sio_pickle_push_digits(m, p, len - 1);

    case 'F':                                           /* FLOAT */

        if (len == 0 || len > NGX_SIO_PICKLE_FLOAT_TEXT) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        last = ngx_cpymem(buf, p, len);
        *last = '\0';

        number = strtod(buf, &stop);

        if (*stop != '\0') {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        value = ngx_sio_pickle_new(m, NGX_SIO_PICKLE_FLOAT);
        if (value == NULL) {
            return NGX_ERROR;
        }

        value->number = number;

        return ngx_sio_pickle_push(m, value);

    case 'V':                                           /* UNICODE */
        return ngx_sio_pickle_push_raw(m, p, len);

    case 'S':                                           /* STRING */
        return ngx_sio_pickle_push_quoted(m, p, len);

    default: /* 'p', PUT; 'g', GET */
        n = ngx_atoi(p, len);

        if (n == NGX_ERROR) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        if (op == 'p') {
            return ngx_sio_pickle_remember(m, n);
        }

        if ((ngx_uint_t) n >= m->memo_size || m->memo[n] == NULL) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        return ngx_sio_pickle_push(m, m->memo[n]);
    }
}


static ngx_int_t
ngx_sio_pickle_container(ngx_sio_pickle_machine_t *m, u_char op)
{
    ngx_int_t                rc;
    ngx_uint_t               from, marked;
    ngx_sio_pickle_value_t  *to;

    marked = 0;

    switch (op) {

    case '(':                                           /* MARK */
        return ngx_sio_pickle_push(m, NULL);

    case '}':                                           /* EMPTY_DICT */
        return ngx_sio_pickle_push_new(m, NGX_SIO_PICKLE_DICT);

    case ']':                                           /* EMPTY_LIST */
        return ngx_sio_pickle_push_new(m, NGX_SIO_PICKLE_LIST);

    case ')':                                           /* EMPTY_TUPLE */
        return ngx_sio_pickle_push_new(m, NGX_SIO_PICKLE_TUPLE);

    case 0x85:                                          /* TUPLE1 */
    case 0x86:                                          /* TUPLE2 */
    case 0x87:                                          /* TUPLE3 */

        if (m->nstack < (ngx_uint_t) op - 0x84) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        return ngx_sio_pickle_collect(m, NGX_SIO_PICKLE_TUPLE,
                                      m->nstack - (op - 0x84), 0);

    case 't':                                           /* TUPLE */
    case 'l':                                           /* LIST */
    case 'd':                                           /* DICT */

        if (ngx_sio_pickle_mark(m, &from) != NGX_OK) {
            return NGX_DECLINED;
        }

        return ngx_sio_pickle_collect(m, op == 't' ? NGX_SIO_PICKLE_TUPLE
                                         : op == 'l' ? NGX_SIO_PICKLE_LIST
                                                     : NGX_SIO_PICKLE_DICT,
                                      from, 1);

    case 's':                                           /* SETITEM */
    case 'a':                                           /* APPEND */

        if (m->nstack < (op == 's' ? 3u : 2u)) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        from = m->nstack - (op == 's' ? 2 : 1);
        break;

    default: /* 'u', SETITEMS; 'e', APPENDS */

        if (ngx_sio_pickle_mark(m, &from) != NGX_OK) {
            return NGX_DECLINED;
        }

        marked = 1;
    }

    /* a mark is between the container and the items */

    to = (from > marked) ? m->stack[from - marked - 1] : NULL;

    if (to == NULL
        || to->type != ((op == 's' || op == 'u') ? NGX_SIO_PICKLE_DICT
                                                 : NGX_SIO_PICKLE_LIST))
    {
        return ngx_sio_pickle_refuse(m, "malformed pickle");
    }

    rc = ngx_sio_pickle_add(m, to, from);

    if (rc == NGX_OK) {
        m->nstack = from - marked;
    }

    return rc;
}


static ngx_int_t
ngx_sio_pickle_memory(ngx_sio_pickle_machine_t *m, u_char op)
{
    uint64_t  n;

    if (op == 0x94) {                                   /* MEMOIZE */
        return ngx_sio_pickle_remember(m, m->memo_next);
    }

    /* BINPUT, BINGET; LONG_BINPUT, LONG_BINGET */

    if (ngx_sio_pickle_number(m, (op == 'q' || op == 'h') ? 1 : 4, &n)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (op == 'q' || op == 'r') {
        return ngx_sio_pickle_remember(m, n);
    }

    if (n >= m->memo_size || m->memo[n] == NULL) {
        return ngx_sio_pickle_refuse(m, "malformed pickle");
    }

    return ngx_sio_pickle_push(m, m->memo[n]);
}


static ngx_int_t
ngx_sio_pickle_refuse(ngx_sio_pickle_machine_t *m, const char *reason)
{
    m->reason = reason;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_sio_pickle_take(ngx_sio_pickle_machine_t *m, size_t n, u_char **p)
{
    if (n > (size_t) (m->end - m->pos)) {
        return ngx_sio_pickle_refuse(m, "truncated pickle");
    }

    *p = m->pos;
    m->pos += n;

    return NGX_OK;
}


/* n octets, the lowest first */

static ngx_int_t
ngx_sio_pickle_number(ngx_sio_pickle_machine_t *m, size_t n, uint64_t *number)
{
    u_char  *p;

    if (ngx_sio_pickle_take(m, n, &p) != NGX_OK) {
        return NGX_DECLINED;
    }

    *number = 0;

    while (n--) {
        *number = *number << 8 | p[n];
    }

    return NGX_OK;
}


/* Values. */

static ngx_int_t
ngx_sio_pickle_push(ngx_sio_pickle_machine_t *m, ngx_sio_pickle_value_t *value)
{
    if (m->nstack == NGX_SIO_PICKLE_STACK) {
        return ngx_sio_pickle_refuse(m, "pickle too deep or too large");
    }

    m->stack[m->nstack++] = value;

    return NGX_OK;
}


static ngx_sio_pickle_value_t *
ngx_sio_pickle_new(ngx_sio_pickle_machine_t *m, ngx_uint_t type)
{
    ngx_sio_pickle_value_t  *value;

    value = ngx_pcalloc(m->pool, sizeof(ngx_sio_pickle_value_t));

    if (value != NULL) {
        value->type = type;
    }

    return value;
}


static ngx_int_t
ngx_sio_pickle_push_new(ngx_sio_pickle_machine_t *m, ngx_uint_t type)
{
    ngx_sio_pickle_value_t  *value;

    value = ngx_sio_pickle_new(m, type);

    return value != NULL ? ngx_sio_pickle_push(m, value) : NGX_ERROR;
}


static ngx_int_t
ngx_sio_pickle_push_text(ngx_sio_pickle_machine_t *m, ngx_uint_t type,
    u_char *p, size_t len)
{
    ngx_sio_pickle_value_t  *value;

    value = ngx_sio_pickle_new(m, type);
    if (value == NULL) {
        return NGX_ERROR;
    }

    value->text.data = p;
    value->text.len = len;

    return ngx_sio_pickle_push(m, value);
}


static ngx_int_t
ngx_sio_pickle_push_int(ngx_sio_pickle_machine_t *m, int64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(m->pool, NGX_INT64_LEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_INT, p,
                                    ngx_sprintf(p, "%L", n) - p);
}


/* two's complement, the lowest octet first; divided by ten until it is gone */

static ngx_int_t
ngx_sio_pickle_push_long(ngx_sio_pickle_machine_t *m, u_char *p, size_t len)
{
    u_char      *digits, *d, rest[NGX_SIO_PICKLE_LONG];
    size_t       i;
    ngx_uint_t   negative, carry, any;

    digits = ngx_pnalloc(m->pool, NGX_SIO_PICKLE_DIGITS);
    if (digits == NULL) {
        return NGX_ERROR;
    }

    negative = len > 0 && (p[len - 1] & 0x80);
    carry = 1;

    for (i = 0; i < len; i++) {
        rest[i] = p[i];

        if (negative) {
            carry += (u_char) ~p[i];
            rest[i] = (u_char) carry;
            carry >>= 8;
        }
    }

    d = digits + NGX_SIO_PICKLE_DIGITS;

    do {
        carry = 0;
        any = 0;

        for (i = len; i > 0; i--) {
            carry = carry << 8 | rest[i - 1];
            rest[i - 1] = (u_char) (carry / 10);
            carry %= 10;
            any |= rest[i - 1];
        }

        *--d = (u_char) ('0' + carry);

    } while (any);

    if (negative) {
        *--d = '-';
    }

    return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_INT, d,
                                    digits + NGX_SIO_PICKLE_DIGITS - d);
}


static ngx_int_t
ngx_sio_pickle_push_digits(ngx_sio_pickle_machine_t *m, u_char *p, size_t len)
{
    size_t  i, sign;

    sign = (len > 0 && p[0] == '-') ? 1 : 0;

    if (len == sign || len > NGX_SIO_PICKLE_DIGITS) {
        return ngx_sio_pickle_refuse(m, "malformed pickle");
    }

    for (i = sign; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }
    }

    /* JSON knows no leading zeros */

    while (len > sign + 1 && p[sign] == '0') {

        if (sign) {
            p[1] = '-';
        }

        p++;
        len--;
    }

    return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_INT, p, len);
}


/* a lone surrogate, which Python may write, is the one thing that is mended */

static ngx_int_t
ngx_sio_pickle_push_unicode(ngx_sio_pickle_machine_t *m, u_char *p, size_t len)
{
    size_t   i;
    u_char  *copy;

    if (ngx_sio_utf8_valid(p, len)) {
        return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_TEXT, p, len);
    }

    copy = ngx_pnalloc(m->pool, len);
    if (copy == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy, p, len);

    for (i = 0; i + 2 < len; i++) {
        if (copy[i] == 0xed && copy[i + 1] >= 0xa0
            && (copy[i + 1] & 0xc0) == 0x80 && (copy[i + 2] & 0xc0) == 0x80)
        {
            ngx_memcpy(&copy[i], "\xef\xbf\xbd", 3);
            i += 2;
        }
    }

    if (!ngx_sio_utf8_valid(copy, len)) {
        return ngx_sio_pickle_refuse(m, "text is not UTF-8");
    }

    return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_TEXT, copy, len);
}


/* what Python 2 calls a string may be octets */

static ngx_int_t
ngx_sio_pickle_push_legacy(ngx_sio_pickle_machine_t *m, u_char *p, size_t len)
{
    return ngx_sio_pickle_push_text(m, ngx_sio_utf8_valid(p, len)
                                       ? NGX_SIO_PICKLE_TEXT
                                       : NGX_SIO_PICKLE_BYTES, p, len);
}


/* Latin-1 with \uXXXX and \UXXXXXXXX */

static ngx_int_t
ngx_sio_pickle_push_raw(ngx_sio_pickle_machine_t *m, u_char *p, size_t len)
{
    u_char     *dst, *d, *last, *escape;
    size_t      width;
    ngx_int_t   n;
    uint32_t    code, low;

    /* an octet becomes two at most, an escape gets shorter */

    dst = ngx_pnalloc(m->pool, 2 * len + 4);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    d = dst;
    last = p + len;

    while (p < last) {
        code = *p++;

        if (code == '\\' && p < last && (*p == 'u' || *p == 'U')) {
            width = (*p == 'u') ? 4 : 8;
            escape = p + 1;

            if ((size_t) (last - escape) < width
                || (n = ngx_hextoi(escape, width)) == NGX_ERROR
                || n > 0x10ffff)
            {
                return ngx_sio_pickle_refuse(m, "malformed pickle");
            }

            code = (uint32_t) n;
            p = escape + width;

            if (code >= 0xd800 && code < 0xdc00 && last - p >= 6
                && p[0] == '\\' && p[1] == 'u'
                && (n = ngx_hextoi(p + 2, 4)) != NGX_ERROR
                && n >= 0xdc00 && n < 0xe000)
            {
                low = (uint32_t) n;
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                p += 6;
            }

            if (code >= 0xd800 && code < 0xe000) {
                code = 0xfffd;
            }
        }

        d += ngx_sio_utf8_write(d, code);
    }

    return ngx_sio_pickle_push_text(m, NGX_SIO_PICKLE_TEXT, dst, d - dst);
}


/* repr() of Python 2's string: one literal, nothing before or behind it */

static ngx_int_t
ngx_sio_pickle_push_quoted(ngx_sio_pickle_machine_t *m, u_char *p, size_t len)
{
    u_char     *dst, *d, *last, quote;
    ngx_int_t   n;

    if (len < 2 || (p[0] != '\'' && p[0] != '"') || p[len - 1] != p[0]) {
        return ngx_sio_pickle_refuse(m, "malformed pickle");
    }

    dst = ngx_pnalloc(m->pool, len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    quote = p[0];
    last = p + len - 1;
    d = dst;

    for (p++; p < last; p++) {

        if (*p == quote) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        if (*p != '\\') {
            *d++ = *p;
            continue;
        }

        if (++p == last) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        switch (*p) {

        case 'n':
            *d++ = LF;
            break;

        case 'r':
            *d++ = CR;
            break;

        case 't':
            *d++ = '\t';
            break;

        case '\\':
        case '\'':
        case '"':
            *d++ = *p;
            break;

        case 'x':

            if (last - p < 3 || (n = ngx_hextoi(p + 1, 2)) == NGX_ERROR) {
                return ngx_sio_pickle_refuse(m, "malformed pickle");
            }

            *d++ = (u_char) n;
            p += 2;
            break;

        default:
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }
    }

    return ngx_sio_pickle_push_legacy(m, dst, d - dst);
}


/* Containers. */

static ngx_int_t
ngx_sio_pickle_mark(ngx_sio_pickle_machine_t *m, ngx_uint_t *from)
{
    ngx_uint_t  i;

    for (i = m->nstack; i > 0; i--) {
        if (m->stack[i - 1] == NULL) {
            *from = i;
            return NGX_OK;
        }
    }

    return ngx_sio_pickle_refuse(m, "malformed pickle");
}


/* the values from there on, in a container of their own */

static ngx_int_t
ngx_sio_pickle_collect(ngx_sio_pickle_machine_t *m, ngx_uint_t type,
    ngx_uint_t from, ngx_uint_t marked)
{
    ngx_int_t                rc;
    ngx_sio_pickle_value_t  *value;

    value = ngx_sio_pickle_new(m, type);
    if (value == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_sio_pickle_add(m, value, from);

    if (rc != NGX_OK) {
        return rc;
    }

    m->nstack = from - marked;

    return ngx_sio_pickle_push(m, value);
}


static ngx_int_t
ngx_sio_pickle_add(ngx_sio_pickle_machine_t *m, ngx_sio_pickle_value_t *to,
    ngx_uint_t from)
{
    ngx_uint_t               i;
    ngx_sio_pickle_item_t   *item;
    ngx_sio_pickle_value_t  *value;

    if (to->type == NGX_SIO_PICKLE_DICT && (m->nstack - from) % 2) {
        return ngx_sio_pickle_refuse(m, "malformed pickle");
    }

    for (i = from; i < m->nstack; i++) {
        value = m->stack[i];

        if (value == NULL) {
            return ngx_sio_pickle_refuse(m, "malformed pickle");
        }

        if (to->type == NGX_SIO_PICKLE_DICT && (i - from) % 2 == 0
            && value->type >= NGX_SIO_PICKLE_BYTES)
        {
            return ngx_sio_pickle_refuse(m, "pickle with an invalid key");
        }

        item = ngx_palloc(m->pool, sizeof(ngx_sio_pickle_item_t));
        if (item == NULL) {
            return NGX_ERROR;
        }

        item->value = value;
        item->next = NULL;

        if (to->last != NULL) {
            to->last->next = item;

        } else {
            to->items = item;
        }

        to->last = item;
        to->nitems++;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_pickle_remember(ngx_sio_pickle_machine_t *m, uint64_t index)
{
    ngx_uint_t                size;
    ngx_sio_pickle_value_t  **memo;

    if (index >= NGX_SIO_PICKLE_MEMO) {
        return ngx_sio_pickle_refuse(m, "pickle with too large a memo");
    }

    if (m->nstack == 0 || m->stack[m->nstack - 1] == NULL) {
        return ngx_sio_pickle_refuse(m, "malformed pickle");
    }

    if (index >= m->memo_size) {
        size = ngx_max(2 * (ngx_uint_t) index, 64);
        size = ngx_min(size, NGX_SIO_PICKLE_MEMO);

        memo = ngx_pcalloc(m->pool, size * sizeof(ngx_sio_pickle_value_t *));
        if (memo == NULL) {
            return NGX_ERROR;
        }

        if (m->memo_size) {
            ngx_memcpy(memo, m->memo,
                       m->memo_size * sizeof(ngx_sio_pickle_value_t *));
        }

        m->memo = memo;
        m->memo_size = size;
    }

    m->memo[index] = m->stack[m->nstack - 1];
    m->memo_next++;

    return NGX_OK;
}


/* a cycle is too deep */

static ngx_uint_t
ngx_sio_pickle_bounded(ngx_sio_pickle_value_t *value, ngx_uint_t depth,
    ngx_uint_t *nodes)
{
    ngx_sio_pickle_item_t  *item;

    if (*nodes == 0 || (depth == 0 && value->type >= NGX_SIO_PICKLE_LIST)) {
        return 0;
    }

    (*nodes)--;

    for (item = value->items; item != NULL; item = item->next) {
        if (!ngx_sio_pickle_bounded(item->value, depth - 1, nodes)) {
            return 0;
        }
    }

    return 1;
}
