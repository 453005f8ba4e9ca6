/*
 * Requests of our own: a fake connection with a main request on it, made from
 * an origin, to evaluate variables and to run one in-memory subrequest; and a
 * request rebuilt on a real connection for the access log.
 *
 * Layer:      top.
 * Ownership:  a fake connection is taken from and given back to a free list
 *             of this process, and never freed: nginx looks at it after our
 *             last callback.  The request has a pool of its own.
 * Hostile:    the origin's strings; the subrequest's answer.
 * Reference:  nginx, src/http/ngx_http_request.c, ngx_http_upstream.c.
 */


#ifndef _NGX_HTTP_SOCKETIO_REQUEST_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_REQUEST_H_INCLUDED_


#include "ngx_http_socketio_origin.h"


typedef struct ngx_http_socketio_request_s  ngx_http_socketio_request_t;


/* The subrequest is over; rq is still whole, and is to be destroyed. */
typedef void (*ngx_http_socketio_request_pt)(ngx_http_socketio_request_t *rq);

/* Appends to a line of the error log; returns the end. */
typedef u_char *(*ngx_http_socketio_request_log_pt)(void *data, u_char *buf,
    size_t len);


struct ngx_http_socketio_request_s {
    ngx_connection_t                   connection;
    ngx_event_t                        read;
    ngx_event_t                        write;
    ngx_log_t                          log;
    ngx_http_log_ctx_t                 log_ctx;
    ngx_http_connection_t              http;

    ngx_http_request_t                *main;   /* NULL: in the free list */
    ngx_http_request_t                *sub;    /* NULL until run() */
    ngx_int_t                          rc;     /* sub's result, once done */
    ngx_uint_t                         lines;  /* of the error log about it */

    /* the owner's */
    ngx_event_t                        timer;  /* its handler is to be set, its
                                                  data is this structure;
                                                  destroy() deletes it */
    ngx_http_socketio_request_pt       handler;
    ngx_http_socketio_request_log_pt   log_handler;   /* or NULL */
    void                              *data;

    ngx_http_socketio_request_t       *next;   /* in the free list */
    unsigned                           done:1; /* sub is over, rc is set */
    unsigned                           again:1;  /* by the owner: what is stale
                                                    will be repeated, which is
                                                    better than an error_page */
    unsigned                           chosen:1;  /* by the owner: a client may
                                                     have a part in the URI */
};


/* The name of a header of ours; its hash is made once, in place. */

typedef struct {
    ngx_str_t                          name;   /* lower case */
    ngx_uint_t                         hash;   /* 0: not yet */
} ngx_http_socketio_request_name_t;


/*
 * Makes a main request, POST, that shows the origin's variables; ctx becomes
 * the module's context of it (not of its subrequest, which a redirect would
 * strip of it: look at r->main).  The origin and ctx are borrowed until
 * destroy().  NULL: no memory (logged).
 */
ngx_http_socketio_request_t *ngx_http_socketio_request_create(
    ngx_http_socketio_origin_t *o, void *ctx);

/*
 * Adds a header that the subrequest's content handler sends along.  The
 * strings are borrowed until destroy().  NGX_OK, NGX_ERROR.
 */
ngx_int_t ngx_http_socketio_request_header(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_request_name_t *name, ngx_str_t *value);

/*
 * POSTs body, JSON, to an internal location; uri begins with a slash and may
 * have arguments.  Strings and body are borrowed until destroy().
 *
 * The subrequest starts where its location is looked up: server-level
 * rewrites, which are meant for clients, do not see it.
 *
 *   NGX_OK        rq->handler is called exactly once, perhaps before this
 *                 call returns, unless rq is destroyed first; without memory
 *                 it may not be called, so set a timer
 *   NGX_DECLINED  not a URI for this (logged)
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_socketio_request_run(ngx_http_socketio_request_t *rq,
    ngx_str_t *uri, ngx_str_t *body);

/*
 * Whether it met a kept-alive connection on which not one byte came back: the
 * backend had closed it when we wrote.  nginx does not repeat a POST by itself.
 */
ngx_uint_t ngx_http_socketio_request_stale(ngx_http_socketio_request_t *rq);

/*
 * Aborts what runs, frees the request with all that its pool holds, and gives
 * the connection back.  Allowed in rq->handler, not elsewhere below run().
 */
void ngx_http_socketio_request_destroy(ngx_http_socketio_request_t *rq);


/*
 * Writes the access log line of a session that nginx has no request for any
 * more: builds one from the origin, with the given status, bytes sent and
 * context, runs the handlers of the log phase, and removes it.  c is the
 * session's connection, which on return is as it was, or NULL.
 */
void ngx_http_socketio_request_log(ngx_http_socketio_origin_t *o,
    ngx_connection_t *c, ngx_uint_t status, off_t sent, void *ctx);


#endif /* _NGX_HTTP_SOCKETIO_REQUEST_H_INCLUDED_ */
