/*
 * HTTP requests that wait for an answer from the log: polls, posts, upgrades
 * and API calls, named across workers by index and serial, never by pointer.
 *
 * Layer:      top.
 * Ownership:  the table belongs to its worker; an entry holds one count of
 *             its request and is forgotten when the request is freed.
 * Reference:  nginx-notes: "A request at the wrong worker".
 */


#ifndef _NGX_HTTP_SOCKETIO_PARK_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_PARK_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_sio_hub.h"
#include "ngx_sio_session.h"


typedef struct ngx_http_socketio_parked_s  ngx_http_socketio_parked_t;


/*
 * An answer has come: kind is an entry kind (ANSWER, SESSION, RESULT, ACKED),
 * from the worker that sent it, body its octets behind the waiter's name
 * (borrowed; of an ANSWER the first octet is ngx_sio_answer_e); or it is
 * MEMBERS, from this worker, and body an ngx_http_socketio_members_t.  Called
 * outside of any request's handler.  The entry stays until
 * ngx_http_socketio_unpark().
 */
typedef void (*ngx_http_socketio_parked_pt)(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);


struct ngx_http_socketio_parked_s {
    ngx_http_request_t           *request;     /* NULL: of another host */
    ngx_http_socketio_worker_t   *worker;
    ngx_http_socketio_parked_pt   answer;      /* NULL: free */
    void                         *data;        /* the caller's */
    ngx_sio_waiter_t              waiter;      /* its name */
    ngx_sio_hub_addr_t            owner;       /* who is to answer, set when
                                                  it is asked; slot
                                                  NGX_SIO_HUB_ALL: several */
    uint32_t                      host;        /* ... through the owner: the tag
                                                  of another one; 0: none */
    ngx_str_t                     asked;       /* ... this, allocated, to be
                                                  said to the next one who serves
                                                  the queues; or empty */
    ngx_http_cleanup_t           *cleanup;     /* of the request */
    ngx_uint_t                    next_free;

    ngx_queue_t                   said;        /* in worker->answers; next
                                                  NULL: no answer of this worker
                                                  is on its way */
    u_char                       *text;        /* of it, allocated: the kind and
                                                  the payload; NULL: only */
    size_t                        len;
    u_char                        kind;        /* this */
};


typedef struct {
    ngx_http_socketio_parked_t  **entries;
    ngx_uint_t                    size;        /* of the array */
    ngx_uint_t                    nentries;    /* made; they are recycled */
    ngx_uint_t                    free;        /* first free, or -1 */
    size_t                        asked;       /* octets that are kept */
    uint32_t                      serial;
} ngx_http_socketio_park_t;


/*
 * Enters r into the table and registers a cleanup that forgets it; the
 * caller takes care of r->main->count.  Without r it waits until the caller
 * takes it out.  NULL: no memory.
 */
ngx_http_socketio_parked_t *ngx_http_socketio_park(
    ngx_http_socketio_worker_t *w, ngx_http_request_t *r,
    ngx_http_socketio_parked_pt answer, void *data);

/*
 * Takes it out; the waiter's name is void from now on.  The entry may serve
 * another request next, so forget it.
 */
void ngx_http_socketio_unpark(ngx_http_socketio_parked_t *p);

/*
 * Takes what it would ask again, in place of what it had; and forgets that.
 *
 *   NGX_OK
 *   NGX_DECLINED  all who wait have too much already; it was not taken
 */
ngx_int_t ngx_http_socketio_park_ask(ngx_http_socketio_parked_t *p,
    ngx_str_t *text);
void ngx_http_socketio_park_forget(ngx_http_socketio_parked_t *p);

/* NULL: has been answered, or its client has left. */
ngx_http_socketio_parked_t *ngx_http_socketio_parked(
    ngx_http_socketio_worker_t *w, ngx_sio_waiter_t *waiter);

/*
 * A worker died: whoever waits for it alone gets an ANSWER with
 * NGX_SIO_ANSWER_UNKNOWN, unless it can ask again, by another one; who waits
 * for several gets kind 0 from it.
 */
void ngx_http_socketio_park_down(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t dead);

/*
 * Who serves the queue has changed: requests that ask another host, and cannot
 * ask again, will be answered by the next one.
 */
void ngx_http_socketio_park_pass(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t from, ngx_sio_hub_addr_t to);

ngx_int_t ngx_http_socketio_park_init(ngx_http_socketio_worker_t *w);
void ngx_http_socketio_park_done(ngx_http_socketio_worker_t *w);


#endif /* _NGX_HTTP_SOCKETIO_PARK_H_INCLUDED_ */
