
/*
 * The inside of a worker, for its own files.
 *
 * Layer:      top.
 * Ownership:  as ngx_http_socketio_worker.h.
 * Hostile:    ids come from the network; entries come from other workers.
 * Reference:  ngx_http_socketio_worker.c   what the hub and the core ask for
 *             ngx_http_socketio_route.c    who owns a session; requests that
 *                                          go there, and answers that come back
 *             ngx_http_socketio_move.c     sessions that change their worker
 */


#ifndef _NGX_HTTP_SOCKETIO_WORKER_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WORKER_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_worker.h"


/* An Engine.IO id before it becomes base64: where to look, then a secret. */

typedef struct {
    uint16_t           slot;
    uint32_t           generation;
    uint32_t           host;          /* ngx_http_socketio_remote_tag() */
    u_char             random[14];
} ngx_http_socketio_sid_t;

#define NGX_HTTP_SOCKETIO_SID_OCTETS  24


/* The head of entries about a polling request. */

typedef struct {
    ngx_sio_waiter_t   waiter;
    uint16_t           revision;
    uint16_t           octets;
    uint32_t           hops;
    u_char             sid[NGX_SIO_SID_LEN];
} ngx_http_socketio_routed_t;


/* What an id says: who made it, and its key in the directory. */
void ngx_http_socketio_key(ngx_str_t *sid, ngx_http_socketio_sid_t *parts,
    u_char *key);

/*
 * Asked about a session that is not here.
 *
 *   NGX_OK        *owner has it, if it exists at all; it was alive just now.
 *                 If that is this worker, then the session is on its way here,
 *                 and what is sent through the log will arrive behind it.
 *   NGX_DECLINED  nobody has it
 */
ngx_int_t ngx_http_socketio_owner(ngx_http_socketio_worker_t *w,
    ngx_str_t *sid, ngx_sio_hub_addr_t *owner);

/*
 * Appends an entry for the owner; body may be NULL.  Flags and codes are those
 * of ngx_sio_hub_append().
 */
ngx_int_t ngx_http_socketio_forward(ngx_http_socketio_worker_t *w,
    ngx_uint_t kind, ngx_uint_t flags, ngx_sio_hub_addr_t to,
    ngx_http_socketio_routed_t *routed, ngx_str_t *body);

/* An entry about a request that another worker has: POLL to UPGRADE. */
void ngx_http_socketio_routed(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e);


/*
 * Answers a waiter, wherever it is, or in this worker; kind is an
 * ngx_sio_answer_e, body may be NULL.  Never from inside the call.
 *
 *   NGX_OK     it is on its way, however full the log is: there is at most
 *              one answer for each request that waits
 *   NGX_ERROR  its body is lost, for lack of memory, or since it is too large
 *              (logged), of which the waiter hears; in this worker an answer
 *              without a body needs no memory
 */
ngx_int_t ngx_http_socketio_answer_to(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body);
ngx_int_t ngx_http_socketio_answer_local(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, u_char kind, ngx_str_t *body);

/* w->answer: delivers what answer_local has queued */
void ngx_http_socketio_answers(ngx_event_t *ev);

/* An entry for a waiter of this worker; its body begins with the name. */
void ngx_http_socketio_deliver(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body);

/* The hub was full and could not carry this; logged once a minute. */
void ngx_http_socketio_full(ngx_http_socketio_worker_t *w, const char *what);


/* A WebSocket for a session of this worker arrived at another: UPGRADE. */
void ngx_http_socketio_move(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_http_socketio_routed_t *routed);

/*
 * A session that was asked for is here, or one that we have sent is on its way:
 * SESSION.
 */
void ngx_http_socketio_arrived(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e);

/* Tells a waiter who will answer it; and what it does when told: OWNER. */
void ngx_http_socketio_own(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_sio_hub_addr_t owner);
void ngx_http_socketio_owned(ngx_http_socketio_worker_t *w, ngx_str_t *body);


#endif /* _NGX_HTTP_SOCKETIO_WORKER_PRIVATE_H_INCLUDED_ */
