
/*
 * MessagePack, as Node's adapters write it: slices of a checked input, as
 * JSON text and attachments, and back.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  a slice borrows the input, and so do attachments.
 * Hostile:    whoever can write to a message queue.  Only
 *             ngx_sio_msgpack_check() reads what was not checked.
 * Reference:  the MessagePack specification; queues.md 3.2 for what
 *             notepack.io 2 and 3 make of undefined, Date and ArrayBuffer.
 */


#ifndef _NGX_SIO_MSGPACK_H_INCLUDED_
#define _NGX_SIO_MSGPACK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_SIO_MSGPACK_NIL = 0,
    NGX_SIO_MSGPACK_UNDEFINED,
    NGX_SIO_MSGPACK_TRUE,
    NGX_SIO_MSGPACK_FALSE,
    NGX_SIO_MSGPACK_UINT,
    NGX_SIO_MSGPACK_INT,            /* below zero */
    NGX_SIO_MSGPACK_FLOAT,
    NGX_SIO_MSGPACK_DATE,
    NGX_SIO_MSGPACK_TEXT,
    NGX_SIO_MSGPACK_BYTES,
    NGX_SIO_MSGPACK_ARRAY,
    NGX_SIO_MSGPACK_MAP
} ngx_sio_msgpack_e;


/*
 * Checks a whole input: one value of at most so many values within each other
 * and altogether, texts in UTF-8, texts as keys, known extensions, and nothing
 * behind it.
 *
 *   NGX_OK
 *   NGX_DECLINED  *reason says why in a few words
 */
ngx_int_t ngx_sio_msgpack_check(ngx_str_t *in, ngx_uint_t depth,
    ngx_uint_t nodes, const char **reason);


/* All that follows is for a checked input and the slices of it. */

ngx_sio_msgpack_e ngx_sio_msgpack_type(ngx_str_t *value);

/*
 * Finds the member of a map, the last of several, or the n-th element of an
 * array.
 *
 *   NGX_OK        *found is its slice
 *   NGX_DECLINED  there is none; *found is untouched
 */
ngx_int_t ngx_sio_msgpack_find(ngx_str_t *map, const char *name,
    ngx_str_t *found);
ngx_int_t ngx_sio_msgpack_element(ngx_str_t *array, ngx_uint_t n,
    ngx_str_t *found);

/*
 * Writes a slice as JSON.stringify() would: NaN, infinities and undefined
 * elements are null, undefined members left out, a Date is its ISO 8601
 * text; 64-bit integers keep their digits.  Octets become placeholders,
 * numbered from *n on, which is counted up; while dst is NULL they are only
 * measured, else listed in attachments too.  Returns the length.
 */
size_t ngx_sio_msgpack_json(u_char *dst, ngx_str_t *value,
    ngx_str_t *attachments, ngx_uint_t *n);


/*
 * Writing, in the shortest form and without extensions.  While dst is NULL a
 * value is only measured.  Each returns the length.
 */

size_t ngx_sio_msgpack_put_array(u_char *dst, ngx_uint_t n);
size_t ngx_sio_msgpack_put_map(u_char *dst, ngx_uint_t n);
size_t ngx_sio_msgpack_put_uint(u_char *dst, uint64_t n);
size_t ngx_sio_msgpack_put_true(u_char *dst);
size_t ngx_sio_msgpack_put_text(u_char *dst, const u_char *p, size_t len);

/*
 * Writes JSON, a valid array or object, with its n placeholders, if there are
 * attachments, as octets.  Integers of 64 bits are exact, others floats;
 * what is infinite as such is nil.  A member "__proto__" is false: Node's
 * decoder would make its value the object's prototype, and with octets in that
 * place the server ends, while nothing comes of a boolean.
 */
size_t ngx_sio_msgpack_put_json(u_char *dst, ngx_str_t *json,
    ngx_str_t *attachments, ngx_uint_t n);


#endif /* _NGX_SIO_MSGPACK_H_INCLUDED_ */
