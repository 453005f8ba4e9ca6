
/*
 * What Node's @socket.io/redis-adapter and @socket.io/redis-emitter say to
 * each other: broadcasts in MessagePack, requests and responses in that or in
 * JSON.
 *
 * Layer:      codec; memory comes from a pool.
 * Ownership:  see ngx_sio_qmsg.h.
 * Hostile:    whoever can write to the queue.  What is written here is whole:
 *             a Node process may end over a broadcast that is not.
 * Reference:  queues.md 3.1 to 3.4, 5; redis-adapter 8.
 *
 *     P#NSP#          [uid, {type: 2, data, nsp}, {rooms, except, flags}]
 *     P#NSP#ROOM#     the same, if there is just one room
 *     P-request#NSP#  {uid, requestId, type, opts, rooms, packet, data, close}
 *     P-response#NSP#, P-response#NSP#UID#
 *                     {requestId, type, sockets, rooms, data, clientCount,
 *                      packet}
 */


#ifndef _NGX_SIO_NODE_H_INCLUDED_
#define _NGX_SIO_NODE_H_INCLUDED_


#include "ngx_sio_qmsg.h"


typedef enum {
    NGX_SIO_NODE_BROADCASTS = 0,    /* a pattern, escaped for Redis */
    NGX_SIO_NODE_REQUESTS,
    NGX_SIO_NODE_RESPONSES
} ngx_sio_node_channel_e;


/*
 * What to subscribe to for a namespace; without one, patterns for all, of
 * which there are none of responses.
 *
 *   uid           of RESPONSES: the channel for one server; NULL: for all
 *
 *   NGX_OK        *name is from the pool
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_node_subscription(ngx_str_t *prefix, ngx_uint_t what,
    ngx_str_t *nsp, ngx_str_t *uid, ngx_str_t *name, ngx_pool_t *pool);

/* Where a message is to be published; codes as above. */
ngx_int_t ngx_sio_node_channel(ngx_str_t *prefix, ngx_sio_qmsg_t *m,
    ngx_str_t *channel, ngx_pool_t *pool);

/*
 * Decodes a message from one of these channels.
 *
 *   NGX_OK
 *   NGX_DECLINED  refused; *reason says why in a few words
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_node_decode(ngx_str_t *prefix, ngx_str_t *channel,
    ngx_str_t *payload, const ngx_sio_qmsg_limits_t *limits,
    ngx_sio_qmsg_t *m, ngx_pool_t *pool, const char **reason);

/*
 * Encodes all kinds but ACK; m->origin is our uid there.  An EMIT with a
 * request id wants acknowledgements.
 *
 *   max   octets of a payload; an attachment is there once for each
 *         placeholder that names it
 *
 *   NGX_OK        *payload is from the pool
 *   NGX_DECLINED  these servers have no words for it, or it is too large
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_node_encode(ngx_sio_qmsg_t *m, size_t max,
    ngx_str_t *payload, ngx_pool_t *pool);


#endif /* _NGX_SIO_NODE_H_INCLUDED_ */
