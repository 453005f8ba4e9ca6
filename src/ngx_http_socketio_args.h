/*
 * The arguments of a client's request: Engine.IO's query.
 *
 * Layer:      top.
 * Ownership:  values are of the request's pool.
 * Hostile:    all of it; unknown arguments are ignored.
 * Reference:  protocol.md 1.1.
 */


#ifndef _NGX_HTTP_SOCKETIO_ARGS_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_ARGS_H_INCLUDED_


#include "ngx_http_socketio_module.h"


typedef struct {
    ngx_str_t    transport;     /* decoded, as the others; empty: absent */
    ngx_str_t    sid;

    unsigned     revision:3;    /* of the protocol: 4, and 3 for all else */
    unsigned     b64:1;         /* no binary, please */
    unsigned     script:1;      /* "j": answers are to be JSONP */
} ngx_http_socketio_args_t;


/*
 * Decodes the query as a form is; of equal names the last one counts.
 * NGX_OK, NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_socketio_args_parse(ngx_http_request_t *r,
    ngx_http_socketio_args_t *a);

/*
 * One argument of any request, decoded in the same way; empty: absent.
 * NGX_OK, NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_socketio_args_find(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);

/*
 * JSONP's index: the digits of the last "j" in the query of a handshake, at
 * most NGX_HTTP_SOCKETIO_INDEX of them, written to digits.
 * NGX_OK; NGX_DECLINED: there is none.
 */
#define NGX_HTTP_SOCKETIO_INDEX  32

ngx_int_t ngx_http_socketio_args_index(ngx_str_t *query, u_char *digits,
    ngx_str_t *index);


#endif /* _NGX_HTTP_SOCKETIO_ARGS_H_INCLUDED_ */
