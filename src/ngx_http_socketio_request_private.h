/*
 * The inside of requests of our own, for their own files.
 *
 * Layer:      top.
 * Ownership:  as ngx_http_socketio_request.h.
 * Hostile:    as ngx_http_socketio_request.h.
 * Reference:  ngx_http_socketio_request.c        connections, what is run
 *             ngx_http_socketio_request_build.c  what variables read
 */


#ifndef _NGX_HTTP_SOCKETIO_REQUEST_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_REQUEST_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_request.h"


/*
 * A request with all that its variables need; not yet anybody's current.  It
 * borrows all but the pool's memory.  NULL: no memory.
 */
ngx_http_request_t *ngx_http_socketio_request_build(
    ngx_http_socketio_origin_t *o, ngx_connection_t *c,
    ngx_http_connection_t *hc, ngx_pool_t *pool, void *ctx);

/* Adds a header to those of the request.  NULL: no memory. */
ngx_table_elt_t *ngx_http_socketio_request_named(ngx_http_request_t *r,
    ngx_http_socketio_request_name_t *name, ngx_str_t *value);

/* Makes $request of its parts.  NGX_OK; NGX_ERROR: no memory. */
ngx_int_t ngx_http_socketio_request_line(ngx_http_request_t *r);


#endif /* _NGX_HTTP_SOCKETIO_REQUEST_PRIVATE_H_INCLUDED_ */
