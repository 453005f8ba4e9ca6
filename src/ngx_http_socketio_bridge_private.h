
/*
 * The inside of the bridge, for its own files.
 *
 * Layer:      top.
 * Ownership:  as ngx_http_socketio_bridge.h.
 * Reference:  ngx_http_socketio_bridge.c       who serves, and its lines
 *             ngx_http_socketio_bridge_send.c  what goes out
 */


#ifndef _NGX_HTTP_SOCKETIO_BRIDGE_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_BRIDGE_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_bridge.h"


/* Ships what lines have room for; posted by ngx_http_socketio_bridge_wake(). */
void ngx_http_socketio_bridge_pumps(ngx_event_t *ev);

/* While leaving: hands the lease over as soon as it can be. */
void ngx_http_socketio_bridge_keep(ngx_http_socketio_bridge_t *b);

/*
 * Sends what waits for a host that is heard now, and forgets who has gone;
 * heard may be NULL.
 */
void ngx_http_socketio_bridge_delayed(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *heard);


#endif /* _NGX_HTTP_SOCKETIO_BRIDGE_PRIVATE_H_INCLUDED_ */
