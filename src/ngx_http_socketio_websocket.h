/*
 * WebSocket connections: the handshake's 101, the connection detached from
 * its request, frames in, queued messages out, the closing handshake, and the
 * access log line at the end.
 *
 * Layer:      top.
 * Ownership:  a WebSocket owns its connection; it and its session know each
 *             other until one of them ends.
 * Hostile:    every octet from the connection.
 * Reference:  RFC 6455; protocol.md 1.6; nginx-notes: "Taking over a
 *             connection for WebSocket".
 *
 *     accepted
 *        |
 *        v    101 is out                session ends,
 *     OPENING -----------> OPEN --------------------------> CLOSING
 *        |                  |   error or close frame           |
 *        |                  |   of the client                  | our close
 *        | request          | end of connection                | frame is out
 *        | ends             v                   its answer,    v
 *        +--------------> GONE <--------------------------- WAITING
 *                               end of connection, 10 s
 *
 * While OPENING the connection still belongs to its request.  The session is
 * gone, or never was, in all states right of and below OPEN.
 */


#ifndef _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_


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
ngx_int_t ngx_http_socketio_websocket_check(ngx_http_request_t *r,
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
ngx_int_t ngx_http_socketio_websocket_open(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s);
ngx_int_t ngx_http_socketio_websocket_probe(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s, ngx_uint_t b64);


/* for ngx_sio_ops_t */

void ngx_http_socketio_websocket_flush(void *ws);
void ngx_http_socketio_websocket_close(ngx_sio_session_t *s, void *ws,
    ngx_uint_t reason, ngx_uint_t discard);
void ngx_http_socketio_websocket_read(void *ws);
void ngx_http_socketio_websocket_resume(void *ws);

/*
 * The access log will name this socket: its id, namespace and user; the last
 * one wins.  ws NULL: the session is polling.
 */
void ngx_http_socketio_websocket_note(void *ws, ngx_sio_socket_t *so,
    ngx_str_t *user);


#endif /* _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_ */
