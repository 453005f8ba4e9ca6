/*
 * Guests: requests of other hosts for sessions of this worker.  A session
 * knows them by their names there, so that it is no matter which worker serves
 * the queues, nor how many of these have died meanwhile.
 *
 * Layer:      top.
 * Ownership:  the book is embedded; guests, and copies of what they were
 *             answered, are its own.
 * Hostile:    each guest has been with a session, which has one poll and one
 *             POST at a time; what is kept of answers is bounded in octets and
 *             time, beyond which the oldest are forgotten.
 * Reference:  architecture.md 3, "Other host".
 *
 *     bridge --POLL--> owner     a guest waits
 *     bridge <-ANSWER- owner     it has been answered, which is kept
 *     bridge --POLL--> owner     the same again: the answer was lost on its
 *     bridge <-ANSWER- owner     way, and is said again, and nothing done
 */


#ifndef _NGX_HTTP_SOCKETIO_GUEST_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_GUEST_H_INCLUDED_


#include "ngx_http_socketio_worker_private.h"


#define NGX_HTTP_SOCKETIO_GUEST_BUCKETS  1024


typedef struct {
    ngx_http_socketio_worker_t   *worker;
    ngx_msec_t                    clock;       /* while the queues are up */
    ngx_msec_t                    ticked;
    ngx_uint_t                    swept;       /* the bucket to be looked at */
    size_t                        size;        /* octets, of those answered */
    ngx_queue_t                   answered;    /* oldest answer first */
    ngx_queue_t                   buckets[NGX_HTTP_SOCKETIO_GUEST_BUCKETS];
} ngx_http_socketio_guests_t;


void ngx_http_socketio_guest_init(ngx_http_socketio_guests_t *guests,
    ngx_http_socketio_worker_t *w);

/* Forgets all of them. */
void ngx_http_socketio_guest_clear(ngx_http_socketio_guests_t *guests);

/*
 * A request of another host is about to be served.
 *
 *   NGX_OK    the session has to see it
 *   NGX_DONE  it was answered before, which has been said again
 */
ngx_int_t ngx_http_socketio_guest_enter(ngx_http_socketio_guests_t *guests,
    ngx_uint_t kind, ngx_http_socketio_routed_t *routed);

/*
 * It is being answered; body may be NULL.  Without memory the answer is not
 * there to be said again.
 */
void ngx_http_socketio_guest_answered(ngx_http_socketio_guests_t *guests,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body);

/*
 * Twice a second: ends the sessions whose guests are of hosts that are away,
 * as if those had left, and forgets old answers.
 */
void ngx_http_socketio_guest_tick(ngx_http_socketio_guests_t *guests);


#endif /* _NGX_HTTP_SOCKETIO_GUEST_H_INCLUDED_ */
