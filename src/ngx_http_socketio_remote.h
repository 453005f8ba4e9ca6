/*
 * Requests that belong to another host: polling whose session is there, and
 * commands that everybody has to answer.
 *
 * Layer:      top.
 * Ownership:  a proxy waits in the bridge in place of a command elsewhere; it
 *             ends with its time, or its host.  What polling requests wait for
 *             is not the bridge's: ngx_http_socketio_guest.h.
 * Hostile:    whoever can write to the queue.
 * Reference:  architecture.md 3, "Other host".
 *
 *     worker --REMOTE--> bridge ==REQUEST==> bridge --POLL ...--> owner
 *        ^                  |                  |                    |
 *        +-----ANSWER-------+ <=====ANSWER=====+ <------ANSWER------+
 */


#ifndef _NGX_HTTP_SOCKETIO_REMOTE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_REMOTE_H_INCLUDED_


#include "ngx_http_socketio_bridge.h"
#include "ngx_http_socketio_worker_private.h"


ngx_http_socketio_remote_t *ngx_http_socketio_remote_create(
    ngx_http_socketio_bridge_t *b);

/* This worker serves no more: who waits here for commands is forgotten. */
void ngx_http_socketio_remote_clear(ngx_http_socketio_remote_t *remote);
void ngx_http_socketio_remote_destroy(ngx_http_socketio_remote_t *remote);

/*
 * In the bridge: ends what has waited for too long, and what is for hosts that
 * are away.
 */
void ngx_http_socketio_remote_tick(ngx_http_socketio_remote_t *remote);

/*
 * In any worker, twice a second and when there is somebody else who serves:
 * asks again what was lost with the one before, and ends what waits for hosts
 * that are away.
 */
void ngx_http_socketio_remote_gone(ngx_http_socketio_remote_t *remote);

/*
 * A request for a session of another host, as its id says; in any worker.
 * parked may be NULL.
 *
 *   NGX_OK        it will be answered
 *   NGX_DECLINED  there is no such host
 *   NGX_BUSY      not now
 *   NGX_ERROR     it is too large for the log
 */
ngx_int_t ngx_http_socketio_remote_forward(ngx_http_socketio_worker_t *w,
    ngx_str_t *sid, ngx_uint_t kind, ngx_http_socketio_routed_t *routed,
    ngx_str_t *body, ngx_http_socketio_parked_t *parked);

/* Whether the id is one of a host that is there. */
ngx_uint_t ngx_http_socketio_remote_known(ngx_http_socketio_worker_t *w,
    ngx_str_t *sid);

/* This host's tag, as it stands in ids; and whether the one of that is there. */
uint32_t ngx_http_socketio_remote_tag(ngx_http_socketio_worker_t *w);
ngx_uint_t ngx_http_socketio_remote_there(ngx_http_socketio_worker_t *w,
    uint32_t tag);

/* Whether all queues are up, as far as a worker can know. */
ngx_uint_t ngx_http_socketio_remote_whole(ngx_http_socketio_worker_t *w);

/*
 * In any worker: an answer to a request of another host is on its way; body may
 * be NULL.  It may be lost there, and be asked for again.  Codes as
 * ngx_sio_hub_append().
 */
ngx_int_t ngx_http_socketio_remote_say(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body);

/* In the bridge: an entry REMOTE, from a worker. */
void ngx_http_socketio_remote_entry(ngx_http_socketio_bridge_t *b,
    ngx_str_t *body);

/*
 * In the bridge: says again what a host has not answered, since it, or this
 * one, did not hear everything for a while.  It knows what it has done.
 */
void ngx_http_socketio_remote_repeat(ngx_http_socketio_line_t *line,
    u_char *host);

/* In the bridge: REQUEST and ANSWER, from a host. */
void ngx_http_socketio_remote_request(ngx_http_socketio_line_t *line,
    u_char *from, ngx_str_t *body);
void ngx_http_socketio_remote_answer(ngx_http_socketio_line_t *line,
    u_char *from, ngx_str_t *body);

/*
 * In the bridge: a RESULT or ACKED, which begins with its tag, for a waiter of
 * any worker; what it says is due becomes due from this one.  The body may be in
 * worker->pool, and is read there.
 */
void ngx_http_socketio_remote_result(ngx_http_socketio_bridge_t *b,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body);

/* In the bridge: a command from a host, to be answered if it has a waiter. */
ngx_int_t ngx_http_socketio_remote_command(ngx_http_socketio_line_t *line,
    u_char *from, ngx_str_t *body);


#endif /* _NGX_HTTP_SOCKETIO_REMOTE_H_INCLUDED_ */
