/*
 * Commands: what the API, a webhook's reply, or the message queue asks of all
 * workers, as one entry of the log.
 *
 * Layer:      top.
 * Ownership:  a decoded command borrows the entry; its arrays are allocated
 *             from the pool that is given.
 * Reference:  product.md 3 and 4; protocol.md 5.
 */


#ifndef _NGX_HTTP_SOCKETIO_WIRE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WIRE_H_INCLUDED_


#include "ngx_http_socketio_worker.h"


typedef enum {
    NGX_HTTP_SOCKETIO_EMIT = 1,
    NGX_HTTP_SOCKETIO_JOIN,
    NGX_HTTP_SOCKETIO_LEAVE,
    NGX_HTTP_SOCKETIO_KICK,        /* disconnect the sockets */
    NGX_HTTP_SOCKETIO_RESPOND,     /* answer the event id of target.to[0] */
    NGX_HTTP_SOCKETIO_SOCKETS,     /* a page of the sockets, */
    NGX_HTTP_SOCKETIO_SOCKET,      /* the one with the sid target.to[0], */
    NGX_HTTP_SOCKETIO_ROOMS        /* or a page of rooms, to cmd->count */
} ngx_http_socketio_command_e;


typedef struct {
    ngx_uint_t          type;          /* ngx_http_socketio_command_e */
    ngx_sio_target_t    target;
    ngx_str_t           json;          /* EMIT: the whole array, name included,
                                          valid JSON; RESPOND: what is inside
                                          the brackets */
    ngx_str_t          *attachments;   /* raw octets */
    ngx_uint_t          nattachments;
    ngx_str_t           token;         /* EMIT: wants acks, as this token;
                                          SOCKETS, ROOMS: the page begins
                                          behind this name, or empty */
    ngx_str_t          *rooms;         /* JOIN, LEAVE */
    ngx_uint_t          nrooms;
    uint64_t            id;            /* RESPOND; SOCKETS, ROOMS: how many
                                          at most */
    ngx_msec_t          expires;       /* EMIT with token: nobody waits for
                                          acks then; 0: never */
    unsigned            is_volatile:1;
    unsigned            close:1;       /* KICK: the transport too */
    unsigned            owed:1;        /* not sent: is not NGX_BUSY, since its
                                          sender has begun when there was room
                                          and cannot go back */
    unsigned            local:1;       /* is for this host alone; else the
                                          message queues get it, too */
    unsigned            elsewhere:1;   /* is for them alone */
    ngx_uint_t          from;          /* the queue whose servers said it, its
                                          number; 0: this host does */

    ngx_sio_waiter_t    count;         /* whoever wants to know what it did;
                                          unset: nobody */
    uint32_t            tag;           /* which of the waiter's commands */

    ngx_sio_session_t  *only;          /* applied to this session alone; not
                                          sent; NULL: to all */
} ngx_http_socketio_command_t;


/* What a command did in one worker. */

typedef struct {
    ngx_uint_t          matched;       /* sockets that it was for */
    ngx_uint_t          done;          /* RESPOND: ... that awaited it */
    ngx_uint_t          flags;         /* NGX_HTTP_SOCKETIO_RESULT_... */
    ngx_str_t           rows;          /* of lists: ngx_http_socketio_list.h;
                                          allocated from worker->pool */
} ngx_http_socketio_effect_t;


/*
 * Appends the command to the log; every worker of the host applies it when it
 * reads it there, this one included.  With cmd->count set each live worker
 * answers the waiter, see ngx_http_socketio_result.h; *members says which.
 *
 *   NGX_OK
 *   NGX_AGAIN     with members: it waits for room in the log; *members is
 *                 empty, and the waiter will be told by kind MEMBERS, before
 *                 anybody answers it, with a body that has them
 *   NGX_BUSY      too much waits for room already: try later
 *   NGX_DECLINED  larger than an entry can be
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_socketio_command_send(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_sio_hub_members_t *members);

/*
 * What one socket is sent or told outside of the log, unless what was owed is
 * still unread there: then it takes the same way behind that, so that a
 * reply's order holds.  The target is so; types EMIT, KICK, RESPOND.
 * An EMIT with a token always goes through the log.  Codes as above.
 */
ngx_int_t ngx_http_socketio_command_direct(ngx_http_socketio_worker_t *w,
    ngx_sio_socket_t *so, ngx_http_socketio_command_t *cmd);

/*
 * Whether workers of other hosts have to answer it, too: matched sockets are
 * those of one host, lists and acknowledgements are not.
 */
ngx_uint_t ngx_http_socketio_command_asks(ngx_http_socketio_command_t *cmd);

/*
 * Makes the time of an encoded command one from now, which another host can
 * understand.
 */
void ngx_http_socketio_command_relative(ngx_str_t *body);

/* Octets that it takes in the log. */
size_t ngx_http_socketio_command_size(ngx_http_socketio_command_t *cmd);

/* Applies a command to the sockets of this worker. */
void ngx_http_socketio_command_apply(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, uint64_t position,
    ngx_http_socketio_effect_t *effect);

/* Who waits for an encoded command.  NGX_OK, NGX_DECLINED. */
ngx_int_t ngx_http_socketio_command_waiter(ngx_str_t *body,
    ngx_sio_waiter_t *waiter, uint32_t *tag);

/* NGX_OK; NGX_DECLINED: not a command; NGX_ERROR: no memory. */
ngx_int_t ngx_http_socketio_command_decode(ngx_str_t *body,
    ngx_http_socketio_command_t *cmd, ngx_pool_t *pool);

/*
 * Whether a command that another host has sent says nothing that clients, and
 * those who read lists and webhooks, could not read: JSON that is none, or text
 * that is no UTF-8.
 */
ngx_uint_t ngx_http_socketio_command_readable(
    ngx_http_socketio_command_t *cmd);

/* Whether the JSON is a list of values, what is inside of brackets. */
ngx_uint_t ngx_http_socketio_command_values(ngx_str_t *json);


#endif /* _NGX_HTTP_SOCKETIO_WIRE_H_INCLUDED_ */
