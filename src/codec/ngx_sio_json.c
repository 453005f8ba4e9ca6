
#include "ngx_sio_json.h"
#include "ngx_sio_utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>


#define NGX_SIO_JSON_ONES   0x0101010101010101ULL
#define NGX_SIO_JSON_HIGHS  0x8080808080808080ULL

/* non-zero if one of the eight octets is below n, or equal to c */
#define ngx_sio_json_has_below(w, n)                                          \
    (((w) - NGX_SIO_JSON_ONES * (n)) & ~(w) & NGX_SIO_JSON_HIGHS)
#define ngx_sio_json_has(w, c)                                                \
    ngx_sio_json_has_below((w) ^ NGX_SIO_JSON_ONES * (c), 1)


/* what may stand next in a value */

typedef enum {
    ngx_sio_json_want_value = 0,
    ngx_sio_json_want_element,      /* behind "[": or the end of the array */
    ngx_sio_json_want_member,       /* behind "{": or the end of the object */
    ngx_sio_json_want_key,          /* behind "," in an object */
    ngx_sio_json_want_colon,
    ngx_sio_json_want_comma         /* behind a value: or the end */
} ngx_sio_json_want_e;


/* the open brackets, one bit each: 1 for an object */

typedef struct {
    ngx_uint_t  level;
    ngx_uint_t  depth;
    u_char      bits[NGX_SIO_JSON_MAX_DEPTH / 8];
} ngx_sio_json_stack_t;


static ngx_int_t ngx_sio_json_step(ngx_sio_json_want_e *want,
    ngx_sio_json_stack_t *stack, u_char c);
static ngx_int_t ngx_sio_json_start(ngx_sio_json_want_e *want,
    ngx_sio_json_stack_t *stack, u_char c);
static ngx_int_t ngx_sio_json_stop(ngx_sio_json_want_e *want,
    ngx_sio_json_stack_t *stack);
static ngx_uint_t ngx_sio_json_in_object(ngx_sio_json_stack_t *stack);
static u_char *ngx_sio_json_space(u_char *p, u_char *end);
static u_char *ngx_sio_json_string(u_char *p, u_char *end);
static u_char *ngx_sio_json_plain(u_char *p, u_char *end);
static u_char *ngx_sio_json_number(u_char *p, u_char *end);
static u_char *ngx_sio_json_literal(u_char *p, u_char *end, const char *word,
    size_t len);
static void ngx_sio_json_comma(ngx_sio_json_iter_t *it);
static void ngx_sio_json_assign(ngx_str_t *key, ngx_str_t *value,
    const ngx_str_t *names, ngx_uint_t n, ngx_str_t *values);
static size_t ngx_sio_json_decode(u_char *dst, ngx_str_t *string);
static u_char *ngx_sio_json_char(u_char *p, u_char *end, uint32_t *code);
static u_char *ngx_sio_json_unicode(u_char *p, u_char *end, uint32_t *code);
static ngx_int_t ngx_sio_json_hex(u_char *p, u_char *end, uint32_t *code);
static size_t ngx_sio_json_escape_char(u_char *dst, u_char c);


ngx_int_t
ngx_sio_json_value(u_char **pos, u_char *end, ngx_uint_t depth,
    ngx_str_t *value)
{
    u_char                *start;
    ngx_int_t              rc;
    ngx_str_t              token;
    ngx_sio_json_want_e    want;
    ngx_sio_json_stack_t   stack;

    stack.level = 0;
    stack.depth = ngx_min(depth, NGX_SIO_JSON_MAX_DEPTH);

    want = ngx_sio_json_want_value;
    start = NULL;

    do {
        if (ngx_sio_json_token(pos, end, &token) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (start == NULL) {
            start = token.data;
        }

        rc = ngx_sio_json_step(&want, &stack, token.data[0]);

        if (rc == NGX_DECLINED) {
            *pos = token.data;
            return NGX_DECLINED;
        }

    } while (rc == NGX_AGAIN);

    value->data = start;
    value->len = *pos - start;

    return NGX_OK;
}


ngx_int_t
ngx_sio_json_text(ngx_str_t *text, ngx_uint_t depth, ngx_str_t *value)
{
    u_char  *p, *end;

    p = text->data;
    end = text->data + text->len;

    if (ngx_sio_json_value(&p, end, depth, value) != NGX_OK) {
        return NGX_DECLINED;
    }

    return ngx_sio_json_space(p, end) == end ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_sio_json_token(u_char **pos, u_char *end, ngx_str_t *token)
{
    u_char  *p, *last;

    p = ngx_sio_json_space(*pos, end);
    *pos = p;

    if (p == end) {
        return NGX_DONE;
    }

    switch (*p) {

    case '{':
    case '}':
    case '[':
    case ']':
    case ',':
    case ':':
        last = p + 1;
        break;

    case '"':
        last = ngx_sio_json_string(p, end);
        break;

    case 't':
        last = ngx_sio_json_literal(p, end, "true", 4);
        break;

    case 'f':
        last = ngx_sio_json_literal(p, end, "false", 5);
        break;

    case 'n':
        last = ngx_sio_json_literal(p, end, "null", 4);
        break;

    default:
        last = ngx_sio_json_number(p, end);
        break;
    }

    if (last == NULL) {
        return NGX_DECLINED;
    }

    token->data = p;
    token->len = last - p;

    *pos = last;

    return NGX_OK;
}


ngx_sio_json_e
ngx_sio_json_type(ngx_str_t *value)
{
    if (value->len == 0) {
        return NGX_SIO_JSON_INVALID;
    }

    switch (value->data[0]) {

    case '{':
        return NGX_SIO_JSON_OBJECT;

    case '[':
        return NGX_SIO_JSON_ARRAY;

    case '"':
        return NGX_SIO_JSON_STRING;

    case 't':
        return NGX_SIO_JSON_TRUE;

    case 'f':
        return NGX_SIO_JSON_FALSE;

    case 'n':
        return NGX_SIO_JSON_NULL;

    case '-':
        return NGX_SIO_JSON_NUMBER;

    default:
        return value->data[0] >= '0' && value->data[0] <= '9'
               ? NGX_SIO_JSON_NUMBER : NGX_SIO_JSON_INVALID;
    }
}


void
ngx_sio_json_iter(ngx_sio_json_iter_t *it, ngx_str_t *value)
{
    ngx_sio_json_e  type;

    type = ngx_sio_json_type(value);

    if (value->len < 2
        || (type != NGX_SIO_JSON_ARRAY && type != NGX_SIO_JSON_OBJECT))
    {
        it->pos = NULL;
        it->end = NULL;
        return;
    }

    it->end = value->data + value->len - 1;
    it->pos = ngx_sio_json_space(value->data + 1, it->end);
}


ngx_int_t
ngx_sio_json_element(ngx_sio_json_iter_t *it, ngx_str_t *value)
{
    if (it->pos == it->end) {
        return NGX_DONE;
    }

    if (ngx_sio_json_value(&it->pos, it->end, NGX_SIO_JSON_MAX_DEPTH, value)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_sio_json_comma(it);

    return NGX_OK;
}


ngx_int_t
ngx_sio_json_member(ngx_sio_json_iter_t *it, ngx_str_t *key, ngx_str_t *value)
{
    ngx_str_t  colon;

    if (it->pos == it->end) {
        return NGX_DONE;
    }

    if (ngx_sio_json_token(&it->pos, it->end, key) != NGX_OK
        || key->data[0] != '"'
        || ngx_sio_json_token(&it->pos, it->end, &colon) != NGX_OK
        || colon.data[0] != ':')
    {
        return NGX_DECLINED;
    }

    if (ngx_sio_json_value(&it->pos, it->end, NGX_SIO_JSON_MAX_DEPTH, value)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_sio_json_comma(it);

    return NGX_OK;
}


ngx_int_t
ngx_sio_json_find(ngx_str_t *object, const char *name, ngx_str_t *value)
{
    ngx_int_t            rc;
    ngx_str_t            key, member, plain;
    ngx_sio_json_iter_t  it;

    if (ngx_sio_json_type(object) != NGX_SIO_JSON_OBJECT) {
        return NGX_DECLINED;
    }

    plain.data = (u_char *) name;
    plain.len = ngx_strlen(name);

    rc = NGX_DECLINED;

    ngx_sio_json_iter(&it, object);

    while (ngx_sio_json_member(&it, &key, &member) == NGX_OK) {

        if (ngx_sio_json_string_equal(&key, &plain)) {
            *value = member;
            rc = NGX_OK;
        }
    }

    return rc;
}


ngx_int_t
ngx_sio_json_members(ngx_str_t *text, ngx_uint_t depth, const ngx_str_t *names,
    ngx_uint_t n, ngx_str_t *values)
{
    u_char     *p, *end;
    ngx_str_t   token, key, value;

    p = text->data;
    end = text->data + text->len;

    ngx_memzero(values, n * sizeof(ngx_str_t));

    if (depth == 0
        || ngx_sio_json_token(&p, end, &token) != NGX_OK
        || token.data[0] != '{'
        || ngx_sio_json_token(&p, end, &key) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    while (key.data[0] != '}') {

        if (key.data[0] != '"'
            || ngx_sio_json_token(&p, end, &token) != NGX_OK
            || token.data[0] != ':'
            || ngx_sio_json_value(&p, end, depth - 1, &value) != NGX_OK
            || ngx_sio_json_token(&p, end, &token) != NGX_OK)
        {
            return NGX_DECLINED;
        }

        ngx_sio_json_assign(&key, &value, names, n, values);

        if (token.data[0] == '}') {
            break;
        }

        /* a comma is not the last one */

        if (token.data[0] != ','
            || ngx_sio_json_token(&p, end, &key) != NGX_OK
            || key.data[0] == '}')
        {
            return NGX_DECLINED;
        }
    }

    return ngx_sio_json_space(p, end) == end ? NGX_OK : NGX_DECLINED;
}


size_t
ngx_sio_json_string_length(ngx_str_t *string)
{
    return ngx_sio_json_decode(NULL, string);
}


u_char *
ngx_sio_json_string_write(u_char *dst, ngx_str_t *string)
{
    return dst + ngx_sio_json_decode(dst, string);
}


ngx_uint_t
ngx_sio_json_string_equal(ngx_str_t *string, ngx_str_t *plain)
{
    u_char    *p, *end, *q, *last, utf8[4];
    size_t     n;
    uint32_t   code;

    if (string->len < 2 || string->data[0] != '"') {
        return 0;
    }

    p = string->data + 1;
    end = string->data + string->len - 1;

    /* escapes make it longer, so as long as the other it has none */

    if ((size_t) (end - p) <= plain->len) {
        return (size_t) (end - p) == plain->len
               && ngx_memcmp(p, plain->data, plain->len) == 0;
    }

    q = plain->data;
    last = plain->data + plain->len;

    while (p < end) {

        if (*p != '\\') {
            if (q == last || *p++ != *q++) {
                return 0;
            }

            continue;
        }

        p = ngx_sio_json_char(p, end, &code);
        n = ngx_sio_utf8_write(utf8, code);

        if (n > (size_t) (last - q) || ngx_memcmp(q, utf8, n) != 0) {
            return 0;
        }

        q += n;
    }

    return q == last;
}


ngx_int_t
ngx_sio_json_uint(ngx_str_t *value, uint64_t max, uint64_t *n)
{
    size_t      i;
    uint64_t    v;
    ngx_uint_t  digit;

    if (value->len == 0) {
        return NGX_DECLINED;
    }

    v = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            return NGX_DECLINED;
        }

        digit = value->data[i] - '0';

        if (digit > max || v > (max - digit) / 10) {
            return NGX_DECLINED;
        }

        v = v * 10 + digit;
    }

    *n = v;

    return NGX_OK;
}


size_t
ngx_sio_json_escape_length(const u_char *p, size_t len)
{
    size_t         size;
    const u_char  *last;

    size = 0;

    for (last = p + len; p < last; p++) {
        size += ngx_sio_json_escape_char(NULL, *p);
    }

    return size;
}


u_char *
ngx_sio_json_escape(u_char *dst, const u_char *p, size_t len)
{
    const u_char  *last;

    for (last = p + len; p < last; p++) {
        dst += ngx_sio_json_escape_char(dst, *p);
    }

    return dst;
}


size_t
ngx_sio_json_uint_length(uint64_t n)
{
    size_t  len;

    len = 1;

    while (n > 9) {
        n /= 10;
        len++;
    }

    return len;
}


u_char *
ngx_sio_json_uint_write(u_char *dst, uint64_t n)
{
    u_char  *p, *last;

    last = dst + ngx_sio_json_uint_length(n);
    p = last;

    do {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    } while (p > dst);

    return last;
}


u_char *
ngx_sio_json_double_write(u_char *dst, double number)
{
    int   len, digits;
    char  buf[NGX_SIO_JSON_DOUBLE_LEN];

    if (!isfinite(number)) {
        return ngx_cpymem(dst, "null", 4);
    }

    for (digits = 15; ; digits++) {
        len = snprintf(buf, sizeof(buf), "%.*g", digits, number);

        if (digits == 17 || strtod(buf, NULL) == number) {
            return ngx_cpymem(dst, buf, len);
        }
    }
}


/* NGX_OK: the value is complete; NGX_AGAIN: it goes on; NGX_DECLINED */

static ngx_int_t
ngx_sio_json_step(ngx_sio_json_want_e *want, ngx_sio_json_stack_t *stack,
    u_char c)
{
    switch (*want) {

    case ngx_sio_json_want_value:
        return ngx_sio_json_start(want, stack, c);

    case ngx_sio_json_want_element:

        if (c == ']') {
            return ngx_sio_json_stop(want, stack);
        }

        return ngx_sio_json_start(want, stack, c);

    case ngx_sio_json_want_member:

        if (c == '}') {
            return ngx_sio_json_stop(want, stack);
        }

        /* fall through */

    case ngx_sio_json_want_key:

        if (c != '"') {
            return NGX_DECLINED;
        }

        *want = ngx_sio_json_want_colon;
        return NGX_AGAIN;

    case ngx_sio_json_want_colon:

        if (c != ':') {
            return NGX_DECLINED;
        }

        *want = ngx_sio_json_want_value;
        return NGX_AGAIN;

    case ngx_sio_json_want_comma:

        if (c == ',') {
            *want = ngx_sio_json_in_object(stack) ? ngx_sio_json_want_key
                                                  : ngx_sio_json_want_value;
            return NGX_AGAIN;
        }

        if (c == (ngx_sio_json_in_object(stack) ? '}' : ']')) {
            return ngx_sio_json_stop(want, stack);
        }

        break;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_sio_json_start(ngx_sio_json_want_e *want, ngx_sio_json_stack_t *stack,
    u_char c)
{
    u_char  *bits, bit;

    switch (c) {

    case '}':
    case ']':
    case ',':
    case ':':
        return NGX_DECLINED;

    case '{':
    case '[':
        break;

    default:
        *want = ngx_sio_json_want_comma;
        return stack->level ? NGX_AGAIN : NGX_OK;
    }

    if (stack->level == stack->depth) {
        return NGX_DECLINED;
    }

    bits = &stack->bits[stack->level / 8];
    bit = (u_char) (1 << stack->level % 8);

    stack->level++;

    if (c == '{') {
        *bits |= bit;
        *want = ngx_sio_json_want_member;

    } else {
        *bits &= (u_char) ~bit;
        *want = ngx_sio_json_want_element;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_sio_json_stop(ngx_sio_json_want_e *want, ngx_sio_json_stack_t *stack)
{
    stack->level--;

    *want = ngx_sio_json_want_comma;

    return stack->level ? NGX_AGAIN : NGX_OK;
}


static ngx_uint_t
ngx_sio_json_in_object(ngx_sio_json_stack_t *stack)
{
    ngx_uint_t  n;

    n = stack->level - 1;

    return stack->bits[n / 8] >> n % 8 & 1;
}


static u_char *
ngx_sio_json_space(u_char *p, u_char *end)
{
    while (p < end
           && (*p == ' ' || *p == '\t' || *p == CR || *p == LF))
    {
        p++;
    }

    return p;
}


/* returns the end of the string at p, or NULL */

static u_char *
ngx_sio_json_string(u_char *p, u_char *end)
{
    uint32_t  code;

    for (p++; /* void */ ; p++) {
        p = ngx_sio_json_plain(p, end);

        if (p == end || *p < 0x20) {
            return NULL;
        }

        if (*p == '"') {
            return p + 1;
        }

        /* a backslash */

        if (++p == end) {
            return NULL;
        }

        switch (*p) {

        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            break;

        case 'u':

            if (ngx_sio_json_hex(p + 1, end, &code) != NGX_OK) {
                return NULL;
            }

            p += 4;
            break;

        default:
            return NULL;
        }
    }
}


/* skips what needs no look inside of a string, most of the time by words */

static u_char *
ngx_sio_json_plain(u_char *p, u_char *end)
{
    uint64_t  word, found;

    while (end - p >= (ptrdiff_t) sizeof(uint64_t)) {
        ngx_memcpy(&word, p, sizeof(uint64_t));

        found = ngx_sio_json_has_below(word, 0x20)
                | ngx_sio_json_has(word, '"')
                | ngx_sio_json_has(word, '\\');

        if (found) {
#if (NGX_HAVE_LITTLE_ENDIAN)
            /* the lowest bit is true, above it some may not be */
            return p + __builtin_ctzll(found) / 8;
#else
            break;
#endif
        }

        p += sizeof(uint64_t);
    }

    while (p < end && *p >= 0x20 && *p != '"' && *p != '\\') {
        p++;
    }

    return p;
}


/* RFC 8259, 6: number = [ minus ] int [ frac ] [ exp ] */

static u_char *
ngx_sio_json_number(u_char *p, u_char *end)
{
    u_char  *start;

    if (p < end && *p == '-') {
        p++;
    }

    if (p < end && *p == '0') {
        p++;

    } else {
        start = p;

        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }

        if (p == start) {
            return NULL;
        }
    }

    if (p < end && *p == '.') {
        start = ++p;

        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }

        if (p == start) {
            return NULL;
        }
    }

    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;

        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }

        start = p;

        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }

        if (p == start) {
            return NULL;
        }
    }

    return p;
}


static u_char *
ngx_sio_json_literal(u_char *p, u_char *end, const char *word, size_t len)
{
    if ((size_t) (end - p) < len || ngx_memcmp(p, word, len) != 0) {
        return NULL;
    }

    return p + len;
}


static void
ngx_sio_json_comma(ngx_sio_json_iter_t *it)
{
    it->pos = ngx_sio_json_space(it->pos, it->end);

    if (it->pos < it->end && *it->pos == ',') {
        it->pos++;
    }
}


/* To the name that it has, if that is one of n. */

static void
ngx_sio_json_assign(ngx_str_t *key, ngx_str_t *value, const ngx_str_t *names,
    ngx_uint_t n, ngx_str_t *values)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        name = names[i];

        /* escapes only make it longer */

        if (key->len >= name.len + 2 && ngx_sio_json_string_equal(key, &name)) {
            values[i] = *value;
            return;
        }
    }
}


/* one loop measures and writes, so that the two cannot disagree */

static size_t
ngx_sio_json_decode(u_char *dst, ngx_str_t *string)
{
    u_char    *p, *end, *plain, utf8[4];
    size_t     n, size;
    uint32_t   code;

    if (string->len < 2 || string->data[0] != '"') {
        return 0;
    }

    p = string->data + 1;
    end = string->data + string->len - 1;

    size = 0;

    while (p < end) {

        if (*p == '\\') {
            p = ngx_sio_json_char(p, end, &code);
            n = ngx_sio_utf8_write(utf8, code);

            if (dst) {
                dst = ngx_cpymem(dst, utf8, n);
            }

            size += n;
            continue;
        }

        plain = p;
        p = ngx_sio_json_plain(p, end);

        /* malformed slices have octets that nobody can skip */

        if (p == plain) {
            p++;
        }

        n = p - plain;

        if (dst) {
            ngx_memmove(dst, plain, n);
            dst += n;
        }

        size += n;
    }

    return size;
}


/*
 * Decodes the escape at p, and returns its end.  A malformed one stands for
 * its last character, so that no result is longer than its source.
 */

static u_char *
ngx_sio_json_char(u_char *p, u_char *end, uint32_t *code)
{
    if (++p == end) {
        *code = '\\';
        return p;
    }

    switch (*p) {

    case 'b':
        *code = '\b';
        break;

    case 'f':
        *code = '\f';
        break;

    case 'n':
        *code = '\n';
        break;

    case 'r':
        *code = '\r';
        break;

    case 't':
        *code = '\t';
        break;

    case 'u':
        return ngx_sio_json_unicode(p + 1, end, code);

    default:
        *code = *p;
    }

    return p + 1;
}


/* p stands behind \u */

static u_char *
ngx_sio_json_unicode(u_char *p, u_char *end, uint32_t *code)
{
    uint32_t  low;

    if (ngx_sio_json_hex(p, end, code) != NGX_OK) {
        *code = 'u';
        return p;
    }

    p += 4;

    if (*code < 0xd800 || *code > 0xdfff) {
        return p;
    }

    if (*code < 0xdc00
        && end - p >= 6
        && p[0] == '\\' && p[1] == 'u'
        && ngx_sio_json_hex(p + 2, end, &low) == NGX_OK
        && low >= 0xdc00 && low <= 0xdfff)
    {
        *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
        return p + 6;
    }

    *code = 0xfffd;

    return p;
}


static ngx_int_t
ngx_sio_json_hex(u_char *p, u_char *end, uint32_t *code)
{
    u_char      c;
    ngx_uint_t  i;

    if (end - p < 4) {
        return NGX_DECLINED;
    }

    *code = 0;

    for (i = 0; i < 4; i++) {
        c = (u_char) (p[i] | 0x20);

        if (p[i] >= '0' && p[i] <= '9') {
            *code = *code << 4 | (uint32_t) (p[i] - '0');

        } else if (c >= 'a' && c <= 'f') {
            *code = *code << 4 | (uint32_t) (c - 'a' + 10);

        } else {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* measures only, if dst is NULL */

static size_t
ngx_sio_json_escape_char(u_char *dst, u_char c)
{
    u_char               letter;
    static const u_char  hex[] = "0123456789abcdef";

    switch (c) {

    case '"':
    case '\\':
        letter = c;
        break;

    case '\b':
        letter = 'b';
        break;

    case '\f':
        letter = 'f';
        break;

    case '\n':
        letter = 'n';
        break;

    case '\r':
        letter = 'r';
        break;

    case '\t':
        letter = 't';
        break;

    default:

        if (c >= 0x20) {

            if (dst) {
                dst[0] = c;
            }

            return 1;
        }

        if (dst) {
            dst = ngx_cpymem(dst, "\\u00", 4);
            dst[0] = hex[c >> 4];
            dst[1] = hex[c & 0x0f];
        }

        return 6;
    }

    if (dst) {
        dst[0] = '\\';
        dst[1] = letter;
    }

    return 2;
}
