/*
 * The inside of webhooks, for their own files.
 *
 * Each location has a lane in each worker, first come, first served, which is
 * fair as long as a socket has one hook under way at a time.  Lanes share what
 * a worker may have in flight, the largest socketio_webhook_concurrency, and
 * none has more than its own:
 *
 *     |<-------------------------- limit -------------------------->|
 *     | share of A | share of B | share of C | whoever has the least |
 *     |            |            |            | in flight comes first |
 *
 * The shares are an eighth of the whole, so a backend that hangs can have
 * nearly everything, but never what others need to go on.
 *
 * While the log of a zone is full none of its hooks is started: what came back
 * could not be carried out.
 *
 * Layer:      top.
 * Ownership:  lanes are made when a webhook is first sent, and never freed;
 *             hooks are borrowed while they are in one.
 * Hostile:    as ngx_http_socketio_hook.h.
 * Reference:  ngx_http_socketio_hook.c        exchanges, their states
 *             ngx_http_socketio_hook_lane.c   whose turn it is
 *             ngx_http_socketio_hook_judge.c  what an answer is worth
 */


#ifndef _NGX_HTTP_SOCKETIO_HOOK_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_HOOK_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_hook.h"


/* Once in a process, before any of the others. */
void ngx_http_socketio_hook_lane_init(void);

/*
 * Sees to it that lcf->webhook_lane is there.  NGX_OK; NGX_ERROR: no memory
 * (logged).
 */
ngx_int_t ngx_http_socketio_hook_lane_create(
    ngx_http_socketio_loc_conf_t *lcf);

/* The hook waits for its turn; or has it next, for it had it already. */
void ngx_http_socketio_hook_lane_insert(ngx_http_socketio_hook_t *hook,
    ngx_uint_t next);

/* It does not wait any more. */
void ngx_http_socketio_hook_lane_remove(ngx_http_socketio_hook_t *hook);

/* n more are in flight, or fewer, by one. */
void ngx_http_socketio_hook_lane_flight(ngx_http_socketio_hook_lane_t *lane,
    ngx_int_t n);

/* Whether a hook may be started. */
ngx_uint_t ngx_http_socketio_hook_lane_ready(void);

/*
 * Whose turn it is; the hook is to be removed, and its lane is the last in its
 * turn from now on.  NULL: nobody may start one.
 */
ngx_http_socketio_hook_t *ngx_http_socketio_hook_lane_next(void);

/* One that waits, whether it may be started or not; NULL: there is none. */
ngx_http_socketio_hook_t *ngx_http_socketio_hook_lane_any(void);


/*
 * Looks at the answer of a subrequest that is over, all but the time and the
 * attempts of the result.  The body is in the request's memory.
 */
void ngx_http_socketio_hook_judge(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_hook_result_t *result);


#endif /* _NGX_HTTP_SOCKETIO_HOOK_PRIVATE_H_INCLUDED_ */
