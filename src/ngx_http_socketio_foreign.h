/*
 * What formats of other servers have in common: their messages become
 * commands for this host, and acknowledgements find their way back.
 *
 * Layer:      top.
 * Ownership:  a waiting emit belongs to its line, and ends with its time, its
 *             last answer, or the line.
 * Hostile:    messages were validated by their codec; how many may wait is
 *             bounded here.
 * Reference:  queues.md 1.5, 5, 8.2.
 */


#ifndef _NGX_HTTP_SOCKETIO_FOREIGN_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_FOREIGN_H_INCLUDED_


#include "ngx_http_socketio_bridge.h"
#include "ngx_sio_qmsg.h"


typedef struct ngx_http_socketio_waiting_s  ngx_http_socketio_waiting_t;


/* All sockets of this host were asked: so many.  Comes once, or never. */
typedef void (*ngx_http_socketio_counted_pt)(ngx_http_socketio_waiting_t *wait,
    ngx_uint_t n);

/* A client has answered: an array of arguments, and its attachments. */
typedef void (*ngx_http_socketio_acked_pt)(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);


/* An emit of another server that wants acknowledgements. */

struct ngx_http_socketio_waiting_s {
    ngx_queue_t                       queue;       /* of the line */
    ngx_http_socketio_line_t         *line;
    ngx_http_socketio_parked_t       *parked;

    ngx_http_socketio_counted_pt      counted;     /* may be NULL */
    ngx_http_socketio_acked_pt        acked;

    ngx_sio_qmsg_t                    m;           /* what it was, without its
                                                      contents */
    ngx_msec_t                        until;
    ngx_int_t                         results;     /* that are due */
    ngx_uint_t                        matched;
    ngx_uint_t                        owed;        /* answers of clients */
    unsigned                          first:1;     /* one answer is enough */
};


/* What decoders refuse to go beyond on this line. */
void ngx_http_socketio_foreign_limits(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_limits_t *limits);

/* A codec has refused a message with this code and these words. */
void ngx_http_socketio_foreign_refused(ngx_http_socketio_line_t *line,
    ngx_int_t rc, const char *words);

/* The target of a command as that of a message.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_socketio_foreign_target(ngx_sio_target_t *target,
    ngx_sio_qmsg_t *m, ngx_pool_t *pool);

/*
 * What the bridge hears of a command after publishing it here ended so: what
 * was declined although the line is up is counted, and done with.
 */
ngx_int_t ngx_http_socketio_foreign_told(ngx_http_socketio_line_t *line,
    ngx_int_t rc);

/* An EMIT, JOIN, LEAVE or DISCONNECT takes effect on this host. */
void ngx_http_socketio_foreign_apply(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m);

/*
 * An EMIT that wants acknowledgements; for so many msec, or until the first
 * one.  counted and acked may be called until then.
 */
void ngx_http_socketio_foreign_ask(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m, ngx_msec_t time, ngx_uint_t first,
    ngx_http_socketio_counted_pt counted, ngx_http_socketio_acked_pt acked);

/* Ends what has waited for too long; ends everything. */
void ngx_http_socketio_foreign_tick(ngx_http_socketio_line_t *line);
void ngx_http_socketio_foreign_clear(ngx_http_socketio_line_t *line);


#endif /* _NGX_HTTP_SOCKETIO_FOREIGN_H_INCLUDED_ */
