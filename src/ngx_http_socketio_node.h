
/*
 * Node's servers with the Redis adapter on a message queue, and this host as
 * one of them.
 *
 * Layer:      top; what the files ngx_http_socketio_node*.c share.
 * Ownership:  everything belongs to its line, and ends with it.
 * Hostile:    messages were validated by their codec; how much may wait is
 *             bounded here.
 * Reference:  queues.md 3 and 5; ngx_sio_node.h.
 *
 *     ngx_http_socketio_node.c       channels; commands and broadcasts
 *     ngx_http_socketio_node_ask.c   what this host asks the others
 *     ngx_http_socketio_node_tell.c  lists that the others ask for
 *
 * Whoever subscribes to the channel of requests is counted as a server, by
 * all others, and has to answer, or they wait for it.  So hosts of this module
 * answer each other's requests with nothing: their sockets are known by another
 * way.
 */


#ifndef _NGX_HTTP_SOCKETIO_NODE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_NODE_H_INCLUDED_


#include "ngx_http_socketio_foreign.h"


/*
 * What a uid of ours begins with.  One of Node's has six characters, so that
 * chance does not make it look like this.
 */
#define NGX_HTTP_SOCKETIO_NODE_PREFIX  "nginx-"
#define NGX_HTTP_SOCKETIO_NODE_UID     (sizeof("nginx-") - 1 + 16)


typedef struct {
    ngx_str_t               uid;
    ngx_sio_qmsg_limits_t   limits;

    ngx_array_t             namespaces;  /* ngx_str_t: those with a name */
    ngx_pool_t             *pool;        /* of these */
    ngx_str_t               every;       /* pattern of all requests, if there
                                            are others; or empty */

    ngx_queue_t             asked;       /* ngx_http_socketio_asked_t */
    ngx_uint_t              nasked;
    uint64_t                serial;      /* of them */

    ngx_queue_t             told;        /* ngx_http_socketio_told_t */
    ngx_uint_t              ntold;

    unsigned                counted:1;   /* subscribed to requests by name */

    u_char                  text[NGX_HTTP_SOCKETIO_NODE_UID];
} ngx_http_socketio_node_t;


/* Whether the namespace has channels of its own here. */
ngx_uint_t ngx_http_socketio_node_named(ngx_http_socketio_node_t *node,
    ngx_str_t *nsp);

/* Encodes and publishes in our name, outside of the order of entries. */
void ngx_http_socketio_node_send(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m);


/* ngx_http_socketio_node_ask.c */

/* Whether a command is to be asked; see ngx_http_socketio_format_t. */
ngx_uint_t ngx_http_socketio_node_asks(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd);

/* Publishes it as a request.  NGX_OK, NGX_AGAIN. */
ngx_int_t ngx_http_socketio_node_ask(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd);

/* So many are there, us included; and what one of them says. */
void ngx_http_socketio_node_counted(ngx_http_socketio_line_t *line,
    uint64_t tag, ngx_uint_t n);
void ngx_http_socketio_node_answered(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m);

/* Ends what has waited for too long; ends everything. */
void ngx_http_socketio_node_ask_tick(ngx_http_socketio_node_t *node);
void ngx_http_socketio_node_ask_clear(ngx_http_socketio_node_t *node);


/* ngx_http_socketio_node_tell.c */

/* A FETCH or ROOMS: gathers the list, and answers. */
void ngx_http_socketio_node_tell(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m);

/* An empty one. */
void ngx_http_socketio_node_tell_nothing(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m);

/* What has waited for too long is answered as it is; ends everything. */
void ngx_http_socketio_node_tell_tick(ngx_http_socketio_node_t *node);
void ngx_http_socketio_node_tell_clear(ngx_http_socketio_node_t *node);


#endif /* _NGX_HTTP_SOCKETIO_NODE_H_INCLUDED_ */
