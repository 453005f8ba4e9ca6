/*
 * Answers to clients, and what Engine.IO says in them.
 *
 * Layer:      top.
 * Ownership:  answers and header values must live as long as the request,
 *             messages and payloads are copied.
 * Reference:  protocol.md 1.4 and 2.
 */


#ifndef _NGX_HTTP_SOCKETIO_ANSWER_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_ANSWER_H_INCLUDED_


#include "ngx_http_socketio_module.h"


/* Engine.IO's codes, as clients see them */

typedef enum {
    NGX_HTTP_SOCKETIO_ERROR_TRANSPORT = 0,
    NGX_HTTP_SOCKETIO_ERROR_SID,
    NGX_HTTP_SOCKETIO_ERROR_METHOD,
    NGX_HTTP_SOCKETIO_ERROR_BAD,
    NGX_HTTP_SOCKETIO_ERROR_FORBIDDEN,
    NGX_HTTP_SOCKETIO_ERROR_VERSION
} ngx_http_socketio_error_e;


/* by code: what is said unless there is something better */
extern ngx_str_t  ngx_http_socketio_answer_messages[];


/* content types */

extern ngx_str_t  ngx_http_socketio_answer_text;
extern ngx_str_t  ngx_http_socketio_answer_plain;
extern ngx_str_t  ngx_http_socketio_answer_html;
extern ngx_str_t  ngx_http_socketio_answer_json;
extern ngx_str_t  ngx_http_socketio_answer_binary;


/*
 * All of these return what the request is to be finalized with, or what its
 * content handler returns.
 */

/* A 200 of the polling transport; index is that of JSONP, or NULL. */
ngx_int_t ngx_http_socketio_answer_payload(ngx_http_request_t *r,
    ngx_str_t *type, ngx_str_t *payload, ngx_str_t *index);

/* Code and message as JSON. */
ngx_int_t ngx_http_socketio_answer_error(ngx_http_request_t *r,
    ngx_uint_t code, ngx_str_t *message);

/*
 * What a WebSocket's handshake gets instead of a 101, whatever the reason; the
 * message is not copied.
 */
ngx_int_t ngx_http_socketio_answer_upgrade(ngx_http_request_t *r,
    ngx_str_t *message);

/* Anything; body and type may be NULL. */
ngx_int_t ngx_http_socketio_answer_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *type, ngx_str_t *body);

/* Adds a header.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_socketio_answer_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);


#endif /* _NGX_HTTP_SOCKETIO_ANSWER_H_INCLUDED_ */
