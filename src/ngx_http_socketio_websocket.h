/*
 * WebSocket connections: frames in, queued messages out, the closing
 * handshake, and the access log line at the end.
 *
 * Layer:      top.
 * Ownership:  a WebSocket owns its connection from start() on; it and its
 *             session know each other until one of them ends.
 * Hostile:    every octet from the connection.
 * Reference:  RFC 6455, 5 to 7; protocol.md 1.6.
 *
 *      created
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
 * While OPENING the connection still belongs to its request.  In CLOSING and
 * WAITING there is no session any more.
 */


#ifndef _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_


#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_worker.h"


/* octets read at once, and the most that keep() can be given */
#define NGX_HTTP_SOCKETIO_WEBSOCKET_BUFFER  65536


typedef struct ngx_http_socketio_websocket_s  ngx_http_socketio_websocket_t;


/* The origin, shared, is this handshake's.  NULL: no memory. */
ngx_http_socketio_websocket_t *ngx_http_socketio_websocket_create(
    ngx_connection_t *c, ngx_http_socketio_worker_t *w,
    ngx_http_socketio_origin_t *origin);

/* For a session that begins.  NGX_ERROR: no memory, both are gone. */
ngx_int_t ngx_http_socketio_websocket_attach(
    ngx_http_socketio_websocket_t *ws, ngx_sio_session_t *s);

/*
 * For a session that polls; b64 as in the WebSocket's own URL.  One that
 * upgrades already, or has, is left alone.  A WebSocket without a session is
 * closed as soon as it has started.
 */
void ngx_http_socketio_websocket_probe(ngx_http_socketio_websocket_t *ws,
    ngx_sio_session_t *s, ngx_uint_t b64);

/*
 * Puts octets aside that have been read already, or for the next time.
 * NGX_OK, NGX_ERROR.
 */
ngx_int_t ngx_http_socketio_websocket_keep(ngx_http_socketio_websocket_t *ws,
    u_char *buf, size_t len);

/*
 * What will call start(), once it is posted; it may be called before its turn,
 * outside of the request's own handlers.
 */
void ngx_http_socketio_websocket_opening(ngx_http_socketio_websocket_t *ws,
    ngx_event_t *ev);

/*
 * Instead of start(): the connection stays the request's, and so does the
 * line of the access log: ctx, the request's, gets what is to be said there.
 */
void ngx_http_socketio_websocket_abandon(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t reason, ngx_http_socketio_ctx_t *ctx);

/*
 * Takes the connection, which may be closed on return.  r is NULL, or a
 * request that is to be freed with it.
 */
void ngx_http_socketio_websocket_start(ngx_http_socketio_websocket_t *ws,
    ngx_http_request_t *r);


/* for ngx_sio_ops_t */

void ngx_http_socketio_websocket_flush(void *ws);
void ngx_http_socketio_websocket_prefetch(void *ws, ngx_uint_t away);
void ngx_http_socketio_websocket_close(ngx_sio_session_t *s, void *ws,
    ngx_uint_t reason, ngx_uint_t discard);
void ngx_http_socketio_websocket_read(void *ws);
void ngx_http_socketio_websocket_resume(void *ws);


#endif /* _NGX_HTTP_SOCKETIO_WEBSOCKET_H_INCLUDED_ */
