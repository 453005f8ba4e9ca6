/*
 * WebSocket connections: the handshake's 101, the connection detached from
 * its request, frames in, queued messages out, the closing handshake, and the
 * access-log line at the end.
 *
 * Layer:      top.
 * Ownership:  a WebSocket owns its connection; it and its session know each
 *             other until one of them ends.
 * Hostile:    every octet from the connection.
 * Reference:  RFC 6455; protocol.md 1.6; nginx-notes: "Taking over a
 *             connection for WebSocket".
 */


#ifndef _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_


#include "ngx_http_socketio_worker.h"


/*
 * Whether r is a WebSocket handshake that can be served: NGX_OK, or
 * NGX_DECLINED with *err the body of the 400 (protocol.md 1.6, 2.1), or
 * NGX_ABORT when it has no "Upgrade: websocket" at all.
 */
ngx_int_t ngx_http_socketio_websocket_check(ngx_http_request_t *r,
    ngx_str_t *err);

/*
 * Accepts the handshake for session s and detaches the connection.  A new
 * session is attached, one that polls is probed; s NULL: accept and close at
 * once (88 00).  Called from a content handler or from a parked answer; the
 * caller returns NGX_DONE after NGX_OK and does not touch r again.
 * NGX_ERROR: r is still the caller's to finalize with 500; s is closed or, if
 * it polls, goes on.
 */
ngx_int_t ngx_http_socketio_websocket_accept(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s, ngx_uint_t b64);


/* for ngx_sio_ops_t */

void ngx_http_socketio_websocket_flush(void *ws);
void ngx_http_socketio_websocket_close(ngx_sio_session_t *s, void *ws,
    ngx_uint_t reason, ngx_uint_t discard);
void ngx_http_socketio_websocket_read(void *ws);
void ngx_http_socketio_websocket_resume(void *ws);

/* The access log will name this socket: its id, namespace and user. */
void ngx_http_socketio_websocket_note(void *ws, ngx_sio_socket_t *so,
    ngx_str_t *user);


#endif /* _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_ */
