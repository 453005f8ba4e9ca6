/*
 * One webhook exchange: a POST through an internal location, its deadline,
 * its repetitions, and what became of it.
 *
 *              send                      posted event
 *     IDLE -----------> QUEUED ------------------------> FLIGHT
 *      ^                  ^                               |  |
 *      |                  | stale keepalive connection    |  |
 *      |                  +-------------------------------+  |
 *      |                  |                                  |
 *      |                  +---- back-off ---- WAITING <------+
 *      |                                         |  failed,  |
 *      +-----------------------------------------+  retry_for|
 *      |        cancel, or handler is called                 |
 *      +-----------------------------------------------------+
 *
 * Between attempts and while it is in flight a hook keeps a worker alive that
 * shuts down.
 *
 * Layer:      top.
 * Ownership:  embedded in its owner's structure, which must not move between
 *             init and done; the origin is shared; body, ctx and data are
 *             borrowed until the handler is called or cancel returns.
 * Hostile:    the backend: slow, cut off, oversized, garbage, gone.
 * Log:        repetitions only; what became of it is its owner's to say.
 * Reference:  product.md 3; Standard Webhooks 1.0.
 */


#ifndef _NGX_HTTP_SOCKETIO_HOOK_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_HOOK_H_INCLUDED_


#include "ngx_http_socketio_request.h"
#include "ngx_http_socketio_sign.h"


/* longest id of a hook: ours have 26 octets, restored ones may differ */

#define NGX_HTTP_SOCKETIO_HOOK_ID_MAX  36


typedef enum {
    NGX_HTTP_SOCKETIO_HOOK_OK = 0,     /* 2xx, and all of its body is here */
    NGX_HTTP_SOCKETIO_HOOK_CLIENT,     /* 4xx: the backend says no */
    NGX_HTTP_SOCKETIO_HOOK_FAILED,     /* 5xx, 3xx, time-out, refused,
                                          truncated, too large, garbage, not
                                          readable */
    NGX_HTTP_SOCKETIO_HOOK_BROKEN,     /* the same, by a failure on this side,
                                          which stands in the log already */
    NGX_HTTP_SOCKETIO_HOOK_ABORTED     /* this worker had to stop: to be taken
                                          for failed, unless someone else can
                                          send it */
} ngx_http_socketio_hook_outcome_e;


typedef struct {
    ngx_http_socketio_hook_outcome_e   outcome;
    ngx_uint_t                         status;    /* HTTP; 0: none came */
    ngx_str_t                          body;      /* of OK and CLIENT; valid
                                                     during the handler */
    char                              *reason;    /* of all that follow them,
                                                     for the log; never NULL */
    ngx_msec_t                         time;      /* msec, the last attempt */
    ngx_uint_t                         attempts;
} ngx_http_socketio_hook_result_t;


typedef struct ngx_http_socketio_hook_s  ngx_http_socketio_hook_t;

/* The hook is IDLE again: it may be sent again, changed, or freed. */
typedef void (*ngx_http_socketio_hook_pt)(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result);

/* Whether an answer makes sense; a 2xx that does not has FAILED like a 5xx. */
typedef ngx_uint_t (*ngx_http_socketio_hook_read_pt)(void *data,
    ngx_str_t *body);


struct ngx_http_socketio_hook_s {
    ngx_str_t                          id;        /* made by init; the same in
                                                     every attempt */
    ngx_str_t                          body;      /* JSON */
    void                              *ctx;       /* module's context: what
                                                     $socketio_... show */
    ngx_http_socketio_hook_pt          handler;
    void                              *data;
    ngx_http_socketio_request_log_pt   log;       /* or NULL; gets data: says
                                                     which sid and event */
    ngx_http_socketio_hook_read_pt     readable;  /* or NULL */
    ngx_msec_t                         retry_for; /* msec from the first
                                                     attempt; 0: one attempt */

    /* the rest is private */

    ngx_queue_t                        queue;     /* of lane or of waiting */
    ngx_http_socketio_origin_t        *origin;
    ngx_http_socketio_hook_lane_t     *lane;
    ngx_http_socketio_request_t       *request;   /* in FLIGHT */
    ngx_msec_t                         started;   /* the first attempt */
    ngx_msec_t                         attempt;   /* this attempt */
    ngx_msec_t                         due;       /* in WAITING */
    unsigned                           state:3;
    unsigned                           stale:1;   /* this attempt is repeated
                                                     for a stale connection */
    unsigned                           attempts:16;
    u_char                             text[NGX_HTTP_SOCKETIO_HOOK_ID_MAX];
                                                  /* of id */
};


/*
 * Clears the hook, shares the origin and makes an id.  Every init needs a
 * done.  NGX_OK; NGX_ERROR: no random octets (logged), nothing to undo.
 */
ngx_int_t ngx_http_socketio_hook_init(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_origin_t *origin);

/* Replaces the id by one that another worker made.  NGX_OK, NGX_DECLINED. */
ngx_int_t ngx_http_socketio_hook_set_id(ngx_http_socketio_hook_t *hook,
    ngx_str_t *id);

/* Cancels what is under way and lets the origin go. */
void ngx_http_socketio_hook_done(ngx_http_socketio_hook_t *hook);


/*
 * Queues the hook; it leaves in its turn, from a posted event.
 *
 *   NGX_OK        the handler is called exactly once, later, never from
 *                 inside this call, unless the hook is cancelled
 *   NGX_DECLINED  the location has no webhook
 *   NGX_ERROR     no memory, or the hook is under way already
 */
ngx_int_t ngx_http_socketio_hook_send(ngx_http_socketio_hook_t *hook);

/* The handler is not called; what the backend did meanwhile is unknown. */
void ngx_http_socketio_hook_cancel(ngx_http_socketio_hook_t *hook);

/* The log of some zone has room again. */
void ngx_http_socketio_hook_resume(void);

/*
 * For worker_shutdown_timeout: all hooks, and all that are sent from now on,
 * are ABORTED, reported from a posted event.
 */
void ngx_http_socketio_hook_abort_all(void);


#endif /* _NGX_HTTP_SOCKETIO_HOOK_H_INCLUDED_ */
