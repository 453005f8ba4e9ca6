/*
 * JSON that applications send, in a webhook's reply or to the API: emits,
 * lists of rooms, namespaces, attachments.  What a client is to receive keeps
 * the bytes that it was written with.
 *
 * Layer:      top, but without HTTP and logging; pools are for memory only.
 * Ownership:  results borrow the text; lists, decoded names and attachments
 *             are allocated from the pool.
 * Hostile:    every byte, like a client's.
 * Reference:  product.md 3 and 4; protocol.md 5, "Target set", "Reserved".
 *
 * Everywhere: the last of several members with the same name counts, and
 * members that nobody asks for are ignored.
 */


#ifndef _NGX_HTTP_SOCKETIO_PARSE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_PARSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_sio_rooms.h"


/* octets of the name of a room or a namespace, of a sid, user or token */
#define NGX_HTTP_SOCKETIO_MAX_NAME   255

/* arrays and objects within each other */
#define NGX_HTTP_SOCKETIO_MAX_DEPTH  64

#define NGX_HTTP_SOCKETIO_PARSE_ERROR_LEN  128


typedef struct {
    ngx_pool_t         *pool;
    ngx_uint_t          max_attachments;

    /*
     * After NGX_DECLINED: what was wrong, one sentence without a full stop;
     * plain ASCII with quotes, to be escaped in JSON.
     */
    ngx_str_t           error;
    u_char              text[NGX_HTTP_SOCKETIO_PARSE_ERROR_LEN];  /* of it */
} ngx_http_socketio_parse_t;


typedef struct {
    ngx_sio_target_t    target;         /* nsp.len 0: none was given;
                                           nto 0: none, or an empty list */
    ngx_str_t           json;           /* the whole array, name included */
    ngx_str_t          *attachments;    /* raw octets */
    ngx_uint_t          nattachments;
    ngx_str_t           ack;            /* raw value; len 0: none, or null */
    unsigned            broadcast:1;
    unsigned            is_volatile:1;
} ngx_http_socketio_emit_t;


/*
 * All functions:
 *
 *   NGX_OK
 *   NGX_DECLINED  the text is wrong; p->error says how
 *   NGX_ERROR     no memory
 *
 * All but the first two take slices that came from them.
 */

/* A whole body: UTF-8, one value, bounded in depth. */
ngx_int_t ngx_http_socketio_parse_text(ngx_http_socketio_parse_t *p,
    ngx_str_t *text, ngx_str_t *value);

/*
 * The same where it has to be an object: values[i] becomes the raw value of
 * the member names[i], empty if there is none.
 */
ngx_int_t ngx_http_socketio_parse_object(ngx_http_socketio_parse_t *p,
    ngx_str_t *text, const ngx_str_t *names, ngx_uint_t n, ngx_str_t *values);

/*
 * {"event", "args", "to", "except", "namespace", "broadcast", "volatile",
 * "attachments", "ack"}; only "event" is required, null is as good as absent.
 * The ack is not looked at.  With attachments, placeholders must be in range;
 * without them a placeholder is ordinary data, as it is for Socket.IO.
 */
ngx_int_t ngx_http_socketio_parse_emit(ngx_http_socketio_parse_t *p,
    ngx_str_t *object, ngx_http_socketio_emit_t *emit);

/*
 * The rest take one member's value; name is the member, for the error.
 */

/* A string or a list of strings, none of them empty or too long. */
ngx_int_t ngx_http_socketio_parse_names(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t **names, ngx_uint_t *n);

/* A string that is not empty and not too long. */
ngx_int_t ngx_http_socketio_parse_name(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *result);

/* The same, beginning with a slash. */
ngx_int_t ngx_http_socketio_parse_namespace(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *nsp);

/* true or false */
ngx_int_t ngx_http_socketio_parse_flag(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_uint_t *flag);

/* An array; *inside is what stands between the brackets, empty if nothing. */
ngx_int_t ngx_http_socketio_parse_args(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *inside);

/*
 * A list of base64 strings, and the value (raw, or NULL) whose placeholders
 * must name them.
 */
ngx_int_t ngx_http_socketio_parse_attachments(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *args,
    ngx_str_t **attachments, ngx_uint_t *n);


/*
 * Takes an object apart in one pass: values[i] becomes the raw value of the
 * member names[i], empty if there is none.  A value that is no object has no
 * members.
 */
void ngx_http_socketio_parse_members(ngx_str_t *object,
    const ngx_str_t *names, ngx_uint_t n, ngx_str_t *values);

/* nothing else in JSON begins with an n */
#define ngx_http_socketio_parse_absent(value)                                 \
    ((value)->len == 0 || (value)->data[0] == 'n')


#endif /* _NGX_HTTP_SOCKETIO_PARSE_H_INCLUDED_ */
