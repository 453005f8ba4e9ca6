/*
 * The application behind a socket: connect, event, ack and disconnect become
 * webhooks, one at a time and in order; their replies are applied.
 *
 * Layer:      top.
 * Ownership:  so->data is a peer: user, state, sequence, waiting events, the
 *             webhook in flight; NULL where the location has no webhook.  It
 *             outlives its socket until the disconnect webhook was answered.
 * Hostile:    what clients send, and what backends reply.
 * Reference:  product.md 3.
 *
 * A member of a reply that is malformed is left out and logged, as is a
 * malformed emit of several; all others are applied.
 */


#ifndef _NGX_HTTP_SOCKETIO_BACKEND_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_BACKEND_H_INCLUDED_


#include "ngx_http_socketio_count.h"
#include "ngx_http_socketio_wire.h"


/* "connect", "event", "ack", "disconnect" */
extern ngx_str_t
    ngx_http_socketio_backend_types[NGX_HTTP_SOCKETIO_WEBHOOKS];


/* for ngx_sio_ops_t; s->data is the session's ngx_http_socketio_origin_t */

void ngx_http_socketio_backend_connect(ngx_sio_socket_t *so, ngx_str_t *auth);
void ngx_http_socketio_backend_event(ngx_sio_socket_t *so, ngx_str_t *event,
    ngx_str_t *args, uint64_t id, ngx_str_t *attachments, ngx_uint_t n);
void ngx_http_socketio_backend_ack(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);
void ngx_http_socketio_backend_disconnect(ngx_sio_socket_t *so,
    ngx_uint_t reason);

/*
 * A socket moves to another worker.  A webhook in flight is not repeated:
 * this worker finishes it and sends its outcome after the socket (entry
 * REPLY, addressed to the socket's new owner); events that wait move along.
 * So the entry with the saved session must be in the log before moved().
 *
 * restore: NGX_OK; NGX_DECLINED: no sense; NGX_ERROR: no memory.
 */
size_t ngx_http_socketio_backend_save_length(ngx_sio_socket_t *so);
u_char *ngx_http_socketio_backend_save(ngx_sio_socket_t *so, u_char *p);
ngx_int_t ngx_http_socketio_backend_restore(ngx_sio_socket_t *so,
    ngx_str_t *saved);
void ngx_http_socketio_backend_moved(ngx_sio_socket_t *so,
    ngx_sio_hub_addr_t to);

/* The outcome of a webhook that another worker had in flight. */
void ngx_http_socketio_backend_reply(ngx_http_socketio_worker_t *w,
    ngx_str_t *body);

/* A worker died: outcomes that we were waiting for count as failed. */
void ngx_http_socketio_backend_down(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t dead);

/*
 * This worker was declared lost: no outcome that it waits for will reach it
 * any more, nor a socket on its way here.  Closes the sessions.
 */
void ngx_http_socketio_backend_lost(ngx_http_socketio_worker_t *w);

/*
 * A session or an outcome has come here that cannot be taken up: soon, when
 * whoever sent it has passed the journal records on, the ends of clients
 * whose record is ours, but who are not here, are told.
 */
void ngx_http_socketio_backend_review(ngx_http_socketio_worker_t *w);
void ngx_http_socketio_backend_review_handler(ngx_event_t *ev);

/* A dead worker's journal record: its disconnect is ours to tell now. */
void ngx_http_socketio_backend_orphan(ngx_http_socketio_worker_t *w,
    uint64_t id, ngx_str_t *record);

/*
 * There is room in the log again, or never will be: applies the replies that
 * waited for it, in the order in which they came, as long as there is.
 */
void ngx_http_socketio_backend_room(ngx_http_socketio_worker_t *w);
void ngx_http_socketio_backend_flush(ngx_http_socketio_worker_t *w);

/* User of a socket, for variables; empty when there is none. */
ngx_str_t *ngx_http_socketio_backend_user(ngx_sio_socket_t *so);

/* Webhooks of this worker that are not answered yet: it must not exit. */
ngx_uint_t ngx_http_socketio_backend_busy(ngx_http_socketio_worker_t *w);


#endif /* _NGX_HTTP_SOCKETIO_BACKEND_H_INCLUDED_ */
