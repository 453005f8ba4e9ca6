
/*
 * Results: what the workers say to somebody who waits for a command.
 *
 * Layer:      top.
 * Ownership:  everything is copied into the log, or borrowed in the call.
 * Trust:      entries come from workers like this one, yet another version of
 *             the module may have written them: lengths are checked.
 * Reference:  ngx_http_socketio_wire.h for commands.
 *
 * Each worker that was alive at a command's place in the log answers it with
 * one RESULT.  A session that is between two workers then is in neither:
 *
 *     the log:    UPGRADE    command    command    SESSION
 *                    |          |          |          |
 *     had it:      saves      "and one further from the other" (due)
 *     gets it:        |         -          -       replays both, and sends a
 *                                                  FURTHER result for each
 *
 * So a waiter has heard of everybody when no result is missing and each one
 * announced has come, in whatever order, or its worker has died.
 *
 * Another host comes in the same way: whoever carries commands there announces
 * as many results as it asks hosts, due from itself, and passes each host's
 * answer on as a FURTHER one; its ACKED entries are those of that host's
 * clients.  The waiter need not know.
 *
 * An emit that wants acknowledgements leaves a token in each socket, which
 * names the waiter, and what becomes of it is told by ACKED: answered, or gone
 * with its socket, or moved with it.
 */


#ifndef _NGX_HTTP_SOCKETIO_RESULT_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_RESULT_H_INCLUDED_


#include "ngx_http_socketio_wire.h"


/* flags of a result */

#define NGX_HTTP_SOCKETIO_RESULT_FURTHER  0x01  /* settles one that was due */
#define NGX_HTTP_SOCKETIO_RESULT_MORE     0x02  /* the list goes on */
#define NGX_HTTP_SOCKETIO_RESULT_CUT      0x04  /* something is left out */


typedef struct {
    uint32_t             tag;         /* as in the command */
    uint32_t             flags;
    uint32_t             matched;     /* sockets */
    uint32_t             done;        /* of these; see effect_t */
    uint32_t             ndue;        /* how many follow, then the rows */
    uint32_t             unused;
} ngx_http_socketio_result_t;


/* Further results that will come from a worker. */

typedef struct {
    uint32_t             slot;
    uint32_t             generation;
    uint32_t             n;
    uint32_t             unused;
} ngx_http_socketio_due_t;


typedef enum {
    NGX_HTTP_SOCKETIO_ACK_ANSWERED = 0,
    NGX_HTTP_SOCKETIO_ACK_GONE,        /* the socket has ended */
    NGX_HTTP_SOCKETIO_ACK_MOVED,       /* is owed by another worker now */
    NGX_HTTP_SOCKETIO_ACK_LOST         /* came, but could not be passed on */
} ngx_http_socketio_ack_e;


/* An entry ACKED, taken apart; borrowed. */

typedef struct {
    uint32_t             tag;
    uint32_t             what;         /* ngx_http_socketio_ack_e */
    ngx_sio_hub_addr_t   to;           /* MOVED */
    u_char              *sid;          /* NGX_SIO_SOCKET_SID_LEN octets; zeros:
                                          of a server that does not tell */
    ngx_str_t            args;         /* what is inside the brackets */
    ngx_str_t           *attachments;
    ngx_uint_t           nattachments;
} ngx_http_socketio_acked_t;


/*
 * Answers cmd->count for this worker, through the log or, if it waits here,
 * at once.
 */
void ngx_http_socketio_result_send(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect);

/*
 * FURTHER results are collected while the log is replayed, and sent after it.
 * flush frees the queue's elements.
 */
void ngx_http_socketio_result_collect(ngx_queue_t *queue,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect);
void ngx_http_socketio_result_flush(ngx_http_socketio_worker_t *w,
    ngx_queue_t *queue);

/*
 * Takes the body of a RESULT apart, which parked->answer() gets.
 * NGX_OK, NGX_DECLINED: it is none; *due and *rows are borrowed, *due may be
 * misaligned.
 */
ngx_int_t ngx_http_socketio_result_decode(ngx_str_t *body,
    ngx_http_socketio_result_t *result, u_char **due, ngx_str_t *rows);


/*
 * A session leaves for another worker; called before it is appended.  In the
 * log when its entry comes back, or it did not leave after all.
 * NGX_OK, NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_socketio_result_depart(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t to);
void ngx_http_socketio_result_departed(ngx_http_socketio_worker_t *w);
void ngx_http_socketio_result_stay(ngx_http_socketio_worker_t *w);

/* Forgets who has left. */
void ngx_http_socketio_result_reset(ngx_http_socketio_worker_t *w);


/*
 * The token that makes a client's answer come back to a command's waiter.  No
 * token of an application looks like it: it is not UTF-8.
 */

#define NGX_HTTP_SOCKETIO_RESULT_TOKEN                                        \
    (1 + sizeof(ngx_sio_waiter_t) + sizeof(uint32_t))

void ngx_http_socketio_result_token(u_char *token,
    ngx_http_socketio_command_t *cmd);

#define ngx_http_socketio_result_is_token(str)                                \
    ((str)->len == NGX_HTTP_SOCKETIO_RESULT_TOKEN && (str)->data[0] == 0xff)

/* A client has answered. */
void ngx_http_socketio_result_acked(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);

/* The socket ends, or moves; those who wait for it are told. */
void ngx_http_socketio_result_gone(ngx_sio_socket_t *so);
void ngx_http_socketio_result_moved(ngx_sio_socket_t *so,
    ngx_sio_hub_addr_t to);

/*
 * Takes the body of an ACKED apart; attachments are of the pool.
 * NGX_OK, NGX_DECLINED: it is none, NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_socketio_result_acked_decode(ngx_str_t *body,
    ngx_http_socketio_acked_t *acked, ngx_pool_t *pool);


#endif /* _NGX_HTTP_SOCKETIO_RESULT_H_INCLUDED_ */
