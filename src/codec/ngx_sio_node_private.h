
/*
 * What the reading and the writing half of ngx_sio_node.h share.
 *
 * Layer:      codec.
 */


#ifndef _NGX_SIO_NODE_PRIVATE_H_INCLUDED_
#define _NGX_SIO_NODE_PRIVATE_H_INCLUDED_


#include "ngx_sio_node.h"


/* "type" of requests and responses */

enum {
    NGX_SIO_NODE_SOCKETS = 0,
    NGX_SIO_NODE_ALL_ROOMS,
    NGX_SIO_NODE_JOIN,
    NGX_SIO_NODE_LEAVE,
    NGX_SIO_NODE_DISCONNECT,
    NGX_SIO_NODE_FETCH,
    NGX_SIO_NODE_SERVER_EMIT,
    NGX_SIO_NODE_EMIT,
    NGX_SIO_NODE_COUNT,
    NGX_SIO_NODE_ACK
};


/* of a packet; there is no other on a queue, also with attachments */
#define NGX_SIO_NODE_EVENT       2

/* digits of a room that is a number there, exact in a double */
#define NGX_SIO_NODE_MAX_DIGITS  15


#endif /* _NGX_SIO_NODE_PRIVATE_H_INCLUDED_ */
