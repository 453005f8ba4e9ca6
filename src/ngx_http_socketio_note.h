/*
 * What the access log will say of a session: the socket that ended last.
 *
 * Layer:      top.
 * Ownership:  a note is of its session, which frees it, until a WebSocket takes
 *             it over at the end.
 * Reference:  README.md, "Variables".
 */


#ifndef _NGX_HTTP_SOCKETIO_NOTE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_NOTE_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_sio_rooms.h"


/*
 * Takes down a socket that ends, in place of one that did before.  Without
 * memory nothing is taken down (logged by nginx).
 */
void ngx_http_socketio_note_take(ngx_sio_socket_t *so, ngx_str_t *user);

/* Sets sid, nsp and user, which borrow from the note; NULL: of nobody. */
void ngx_http_socketio_note_show(void *note, ngx_http_socketio_ctx_t *ctx);

/* NULL is allowed. */
void ngx_http_socketio_note_free(void *note);


#endif /* _NGX_HTTP_SOCKETIO_NOTE_H_INCLUDED_ */
