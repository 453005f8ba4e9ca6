/*
 * Variables that only the client's handshake can tell: those that were set or
 * captured there, what auth_request said, and what nginx knows of its
 * connection.  Their values are kept for webhooks and the access log.
 *
 * Layer:      top.
 * Ownership:  the list is of a configuration; values are of the request.
 * Hostile:    values may come from the client.
 * Reference:  README.md, "Variables".
 */


#ifndef _NGX_HTTP_SOCKETIO_KEPT_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_KEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_str_t    name;          /* without "$", in lower case */
    ngx_uint_t   index;
    unsigned     assigned:1;    /* by "set": there is nothing to ask */
} ngx_http_socketio_kept_t;


/*
 * Finds them among the variables of a configuration, those that r does not
 * know: r is a request of our own, as a webhook's, with nothing done to it.
 * The array is made in the pool.  NULL: no memory.
 */
ngx_array_t *ngx_http_socketio_kept_find(ngx_http_request_t *r,
    ngx_pool_t *pool);

/*
 * The value that a client's request has.
 *
 *   NGX_OK        *value is set, and not empty
 *   NGX_DECLINED  it has none
 */
ngx_int_t ngx_http_socketio_kept_get(ngx_http_request_t *r,
    ngx_http_socketio_kept_t *kept, ngx_str_t *value);


#endif /* _NGX_HTTP_SOCKETIO_KEPT_H_INCLUDED_ */
