
/*
 * JSON: a strict scanner that hands out slices of the text, and an escaping
 * writer.  Nothing is ever built or copied: what a client sent is forwarded
 * with its own bytes.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  a slice borrows the caller's buffer.
 * Hostile:    every input byte comes from the network.  The text has been
 *             checked to be UTF-8 before; if it was not, then slices may
 *             hold malformed UTF-8, but nothing is read out of bounds.
 * Reference:  RFC 8259.
 */


#ifndef _NGX_SIO_JSON_H_INCLUDED_
#define _NGX_SIO_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* the deepest nesting that any caller may ask for */
#define NGX_SIO_JSON_MAX_DEPTH  1024


typedef enum {
    NGX_SIO_JSON_INVALID = 0,
    NGX_SIO_JSON_OBJECT,
    NGX_SIO_JSON_ARRAY,
    NGX_SIO_JSON_STRING,
    NGX_SIO_JSON_NUMBER,
    NGX_SIO_JSON_TRUE,
    NGX_SIO_JSON_FALSE,
    NGX_SIO_JSON_NULL
} ngx_sio_json_e;


typedef struct {
    u_char  *pos;           /* the next element or member */
    u_char  *end;           /* the closing bracket */
} ngx_sio_json_iter_t;


/*
 * Takes one whole value.  White space before it is skipped, white space
 * behind it is left.
 *
 *   depth         levels of arrays and objects allowed, 0 for scalars only
 *
 *   NGX_OK        *value is the exact slice and *pos stands behind it
 *   NGX_DECLINED  no value, or a malformed one, or one nested too deep;
 *                 *pos stands at the offending token
 */
ngx_int_t ngx_sio_json_value(u_char **pos, u_char *end, ngx_uint_t depth,
    ngx_str_t *value);

/*
 * Takes a text that is one value and white space.
 *
 *   NGX_OK        *value is the exact slice
 *   NGX_DECLINED  malformed, too deep, or followed by something else
 */
ngx_int_t ngx_sio_json_text(ngx_str_t *text, ngx_uint_t depth,
    ngx_str_t *value);

/*
 * Takes the next token: a bracket, a comma, a colon or a scalar.  Nothing is
 * known about the order of tokens.
 *
 *   NGX_OK        *token is the slice and *pos stands behind it
 *   NGX_DONE      only white space was left
 *   NGX_DECLINED  no token starts at *pos, or it is malformed
 */
ngx_int_t ngx_sio_json_token(u_char **pos, u_char *end, ngx_str_t *token);

/* the type of a slice, by its first character */
ngx_sio_json_e ngx_sio_json_type(ngx_str_t *value);


/*
 * Walks through an array or object slice:
 *
 *     ngx_sio_json_iter(&it, &value);
 *     while (ngx_sio_json_element(&it, &element) == NGX_OK) { ... }
 *
 * A slice of another type has no elements and no members.
 *
 *   NGX_OK        the next one
 *   NGX_DONE      there was none left
 *   NGX_DECLINED  the slice does not come from the scanner
 */
void ngx_sio_json_iter(ngx_sio_json_iter_t *it, ngx_str_t *value);
ngx_int_t ngx_sio_json_element(ngx_sio_json_iter_t *it, ngx_str_t *value);
ngx_int_t ngx_sio_json_member(ngx_sio_json_iter_t *it, ngx_str_t *key,
    ngx_str_t *value);

/*
 * Finds a member of an object slice.  Names are compared decoded, and the
 * last of several counts.
 *
 *   NGX_OK        *value is its slice
 *   NGX_DECLINED  no such member, or not an object; *value is untouched
 */
ngx_int_t ngx_sio_json_find(ngx_str_t *object, const char *name,
    ngx_str_t *value);

/*
 * Takes a text that is one object and white space, and finds the members of n
 * names in it, all in one pass.  As above otherwise; the value of a name that
 * is not there is empty.
 *
 *   NGX_OK
 *   NGX_DECLINED  another type, malformed, too deep, or followed by something
 *                 else; *values mean nothing
 */
ngx_int_t ngx_sio_json_members(ngx_str_t *text, ngx_uint_t depth,
    const ngx_str_t *names, ngx_uint_t n, ngx_str_t *values);


/*
 * Decodes a string slice to UTF-8, without its quotes.  A lone surrogate
 * becomes U+FFFD, and \u0000 a zero octet.  The result is never longer than
 * the slice, and dst may be the slice itself.  The writer returns the end of
 * what it wrote.  A slice that is no string decodes to nothing.
 */
size_t ngx_sio_json_string_length(ngx_str_t *string);
u_char *ngx_sio_json_string_write(u_char *dst, ngx_str_t *string);

/* 1 if a string slice, decoded, equals the plain octets, 0 otherwise */
ngx_uint_t ngx_sio_json_string_equal(ngx_str_t *string, ngx_str_t *plain);

/*
 * Reads a number slice as a non-negative integer, digits only.
 *
 *   NGX_OK        *n is at most max
 *   NGX_DECLINED  another type, a sign, a fraction, an exponent, or above max
 */
ngx_int_t ngx_sio_json_uint(ngx_str_t *value, uint64_t max, uint64_t *n);


/*
 * Escapes UTF-8 as JSON.stringify() does, without the quotes around it: the
 * quote, the backslash and control characters.  The result is at most six
 * times as long.  The writer returns the end of what it wrote.
 */
size_t ngx_sio_json_escape_length(const u_char *p, size_t len);
u_char *ngx_sio_json_escape(u_char *dst, const u_char *p, size_t len);

/* a decimal number */
size_t ngx_sio_json_uint_length(uint64_t n);
u_char *ngx_sio_json_uint_write(u_char *dst, uint64_t n);

/*
 * The shortest text that is this number again, of at most so many octets; NaN
 * and infinities are null.
 */
#define NGX_SIO_JSON_DOUBLE_LEN  32

u_char *ngx_sio_json_double_write(u_char *dst, double number);


#endif /* _NGX_SIO_JSON_H_INCLUDED_ */
