/*
 * What hosts of this module say to each other, over any message queue.
 *
 * Layer:      top.
 * Ownership:  messages are borrowed in the call.
 * Hostile:    whoever can write to the queue: all lengths are checked.
 * Reference:  architecture.md 2 and 3; ngx_sio_bridge.h.
 *
 *     [magic, version, kind, flags][from][to][ordinal][body]
 *
 * Each host numbers its ENTRYs without gaps.  A receiver takes them in order:
 * it drops what it has, and asks with RESEND when one is missing; the sender
 * repeats from there on as far as its log reaches, and says LOST for what it
 * has not any more.  ALIVE tells the last number, so that nothing is missed at
 * the end of a stream either.  Messages that are addressed to one host are
 * not repeated: their requests have time limits.
 *
 * What servers of another kind say on a line is heard by all hosts there; one
 * of them tells it to the other lines: the one whose ALIVE has said so last.
 * All see these in the same order between the messages, so that for each of
 * these they agree on who it is.
 */


#ifndef _NGX_HTTP_SOCKETIO_CLUSTER_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_CLUSTER_H_INCLUDED_


#include "ngx_http_socketio_bridge.h"


#define NGX_HTTP_SOCKETIO_ALIVE     2000      /* msec between two ALIVEs */
#define NGX_HTTP_SOCKETIO_SILENT    10        /* seconds until a host is away */
#define NGX_HTTP_SOCKETIO_CLUSTER_PARTS  4


typedef enum {
    NGX_HTTP_SOCKETIO_CLUSTER_ALIVE = 1,
    NGX_HTTP_SOCKETIO_CLUSTER_BYE,
    NGX_HTTP_SOCKETIO_CLUSTER_ENTRY,
    NGX_HTTP_SOCKETIO_CLUSTER_RESEND,
    NGX_HTTP_SOCKETIO_CLUSTER_LOST,
    NGX_HTTP_SOCKETIO_CLUSTER_MARK,
    NGX_HTTP_SOCKETIO_CLUSTER_REQUEST,
    NGX_HTTP_SOCKETIO_CLUSTER_ANSWER
} ngx_http_socketio_cluster_e;


typedef struct {
    uint32_t             magic;
    uint8_t              version;
    uint8_t              kind;         /* ngx_http_socketio_cluster_e */
    uint16_t             flags;
    u_char               from[NGX_SIO_BRIDGE_ID];
    u_char               to[NGX_SIO_BRIDGE_ID];    /* zeros: all */
    uint64_t             ordinal;
} ngx_http_socketio_cluster_head_t;


#define NGX_HTTP_SOCKETIO_CLUSTER_HELLO  0x0001    /* ALIVE: answer it */
#define NGX_HTTP_SOCKETIO_CLUSTER_SPEAKS 0x0002    /* ALIVE: from here on it
                                                      speaks for the line */


/* Names the line's channels and subscribes to them. */
ngx_int_t ngx_http_socketio_cluster_open(ngx_http_socketio_line_t *line);

/* A message from one of them. */
void ngx_http_socketio_cluster_message(ngx_http_socketio_line_t *line,
    ngx_str_t *payload);

/*
 * Says that we are here; hello: and asks who else is, and speaks for the line.
 */
void ngx_http_socketio_cluster_alive(ngx_http_socketio_line_t *line,
    ngx_uint_t hello);
void ngx_http_socketio_cluster_bye(ngx_http_socketio_line_t *line);

/* Asks the old bridge to stop here. */
void ngx_http_socketio_cluster_mark(ngx_http_socketio_line_t *line);

/*
 * Ships an entry of the log, a command, to everybody, or with "to" once more to
 * one host.  Codes as ngx_sio_queue_publish().
 */
ngx_int_t ngx_http_socketio_cluster_entry(ngx_http_socketio_line_t *line,
    ngx_sio_hub_entry_t *e, u_char *to, uint64_t tag);

/* Sends something to one host; codes as ngx_http_socketio_bridge_send(). */
ngx_int_t ngx_http_socketio_cluster_send(ngx_http_socketio_line_t *line,
    u_char *to, ngx_uint_t kind, ngx_str_t *parts, ngx_uint_t nparts);


#endif /* _NGX_HTTP_SOCKETIO_CLUSTER_H_INCLUDED_ */
