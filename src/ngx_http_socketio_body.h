
/*
 * A request's body in one piece, from wherever nginx or another module has
 * put it: one that is buffered, or one that is taken as it comes.
 *
 * Layer:      top.
 * Ownership:  memory is of the request's pool, or, for a body that is in one
 *             buffer already, that buffer's.
 * Hostile:    all of it; it may be longer than its header said, or endless.
 * Reference:  ngx_http_read_client_request_body(), and its way without
 *             buffering, r->request_body_no_buffering.
 */


#ifndef _NGX_HTTP_SOCKETIO_BODY_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* All zero to begin with. */

typedef struct {
    ngx_str_t    str;           /* so far */
    size_t       size;          /* room for it */
} ngx_http_socketio_body_t;


/*
 * A body that nginx has buffered.
 *
 *   NGX_OK     *str is all of it, maybe empty
 *   otherwise  the status that r is to be finalized with; 413: longer than max
 */
ngx_int_t ngx_http_socketio_body_read(ngx_http_request_t *r, size_t max,
    ngx_str_t *str);

/*
 * A body that nginx does not buffer: takes what has arrived.
 *
 *   NGX_OK     body->str is complete
 *   NGX_AGAIN  more is to come
 *   otherwise  the status that r is to be finalized with; 413: longer than max
 */
ngx_int_t ngx_http_socketio_body_collect(ngx_http_request_t *r, size_t max,
    ngx_http_socketio_body_t *body);


#endif /* _NGX_HTTP_SOCKETIO_BODY_H_INCLUDED_ */
