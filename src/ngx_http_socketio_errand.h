
/*
 * Errands: what another host was asked and has yet to answer, kept to be said
 * again should a connection have lost it.
 *
 * Layer:      top.
 * Ownership:  a box is embedded; errands are its own, and copies.
 * Hostile:    octets and time are bounded; beyond, the oldest are forgotten.
 * Reference:  architecture.md 3, "Other host".
 */


#ifndef _NGX_HTTP_SOCKETIO_ERRAND_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_ERRAND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_bridge.h"
#include "ngx_sio_session.h"


#define NGX_HTTP_SOCKETIO_ERRAND_BUCKETS  1024


typedef struct {
    ngx_queue_t        all;          /* oldest first */
    size_t             size;         /* octets, with their own memory */
    ngx_queue_t        buckets[NGX_HTTP_SOCKETIO_ERRAND_BUCKETS];
} ngx_http_socketio_errands_t;


/* the body follows it */

typedef struct {
    ngx_queue_t        all;
    ngx_queue_t        bucket;
    u_char             host[NGX_SIO_BRIDGE_ID];
    ngx_sio_waiter_t   waiter;       /* who is to be answered */
    ngx_msec_t         until;
    ngx_str_t          body;
} ngx_http_socketio_errand_t;


void ngx_http_socketio_errand_init(ngx_http_socketio_errands_t *errands);

/* Forgets all of them. */
void ngx_http_socketio_errand_clear(ngx_http_socketio_errands_t *errands);

/* For so many msec.  Without memory it will not be said again. */
void ngx_http_socketio_errand_insert(ngx_http_socketio_errands_t *errands,
    u_char *host, ngx_sio_waiter_t *waiter, ngx_str_t *body, ngx_msec_t time);

/* That host has answered, or nobody waits for it any more. */
void ngx_http_socketio_errand_done(ngx_http_socketio_errands_t *errands,
    u_char *host, ngx_sio_waiter_t *waiter);

/* Forgets those whose time is over, and the oldest of too many. */
void ngx_http_socketio_errand_expire(ngx_http_socketio_errands_t *errands);

/* The next one for that host behind "last", or the first; NULL: none. */
ngx_http_socketio_errand_t *ngx_http_socketio_errand_next(
    ngx_http_socketio_errands_t *errands, u_char *host,
    ngx_http_socketio_errand_t *last);

/* Where the requests of a host, or to one, are found by their waiter. */
ngx_uint_t ngx_http_socketio_errand_hash(u_char *host,
    ngx_sio_waiter_t *waiter);


#endif /* _NGX_HTTP_SOCKETIO_ERRAND_H_INCLUDED_ */
