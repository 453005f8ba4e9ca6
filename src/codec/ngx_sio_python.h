
/*
 * What python-socketio's servers and emitters say to each other on a message
 * queue: JSON since 5.14, pickle before.
 *
 * Layer:      codec; memory comes from a pool.
 * Ownership:  see ngx_sio_qmsg.h.
 * Hostile:    whoever can write to the queue.
 * Reference:  queues.md 1 and 2.
 *
 *     {"method": "emit", "event", "data", "binary", "namespace", "room",
 *      "skip_sid", "callback": [room, namespace, id], "host_id"}
 *     {"method": "callback", "host_id", "sid", "namespace", "id", "args"}
 *     {"method": "disconnect" | "enter_room" | "leave_room" | "close_room",
 *      "sid", "room", "namespace", "host_id"}
 */


#ifndef _NGX_SIO_PYTHON_H_INCLUDED_
#define _NGX_SIO_PYTHON_H_INCLUDED_


#include "ngx_sio_qmsg.h"


/* What "data" is; it cannot be seen in JSON. */

typedef enum {
    NGX_SIO_PYTHON_5_16 = 0,    /* since 5.15.1: the list of arguments */
    NGX_SIO_PYTHON_5_14,        /* 5.14.0 to 5.15.0: the one argument */
    NGX_SIO_PYTHON_PICKLE       /* before: written as a pickle */
} ngx_sio_python_dialect_e;


/*
 * Decodes a message of either kind.
 *
 *   NGX_OK
 *   NGX_DECLINED  refused; *reason says why in a few words
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_python_decode(ngx_str_t *payload, ngx_uint_t dialect,
    const ngx_sio_qmsg_limits_t *limits, ngx_sio_qmsg_t *m, ngx_pool_t *pool,
    const char **reason);

/*
 * Encodes EMIT, JOIN, LEAVE, DISCONNECT and ACK with m->origin (of an ACK
 * m->to_origin) as the host's id.  JOIN, LEAVE and DISCONNECT are of one
 * socket, rooms[0]; LEAVE with rooms[0] the same as op_rooms[0] closes the
 * room.  An EMIT that every version understands alike is written so.
 *
 *   max   octets of a payload; a pickle has an attachment once for each
 *         placeholder that names it
 *
 *   NGX_OK        *payload is from the pool
 *   NGX_DECLINED  these servers have no words for it, or it is too large
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_python_encode(ngx_sio_qmsg_t *m, ngx_uint_t dialect,
    size_t max, ngx_str_t *payload, ngx_pool_t *pool);


#endif /* _NGX_SIO_PYTHON_H_INCLUDED_ */
