/*
 * The WebSocket handshake: its headers, the 101, and the connection taken
 * from its request.
 *
 * Layer:      top.
 * Ownership:  an accepted handshake holds a count of its request until that is
 *             freed, after the 101; then the connection is the WebSocket's.
 * Hostile:    the headers.
 * Reference:  RFC 6455, 4.2; protocol.md 1.6; nginx-notes: "Taking over a
 *             connection for WebSocket".
 */


#ifndef _NGX_HTTP_SOCKETIO_HANDSHAKE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_HANDSHAKE_H_INCLUDED_


#include "ngx_http_socketio_worker.h"


/*
 * Looks at the headers of a handshake.
 *
 *   NGX_OK        it can be accepted
 *   NGX_DECLINED  *err is the body of the 400 it deserves; a header that goes
 *                 with it has been added
 *   NGX_ABORT     it is none: no "Upgrade: websocket", or HTTP/2 or later
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_socketio_handshake_check(ngx_http_request_t *r,
    ngx_str_t *err);

/*
 * Accept a handshake that was checked.  open() is for a session that begins
 * on it, whose data is its origin; probe() for one that polls, b64 as in the
 * WebSocket's own URL, or NULL: the WebSocket is closed at once.
 *
 *   NGX_OK     holds a count of r of its own: the caller drops his (from a
 *              content handler by returning NGX_DONE) and forgets r
 *   NGX_ERROR  r is the caller's to finalize, with NGX_ERROR if its header was
 *              sent; a session that was to begin is closed, one that polls
 *              goes on
 */
ngx_int_t ngx_http_socketio_handshake_open(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s);
ngx_int_t ngx_http_socketio_handshake_probe(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s, ngx_uint_t b64);


#endif /* _NGX_HTTP_SOCKETIO_HANDSHAKE_H_INCLUDED_ */
