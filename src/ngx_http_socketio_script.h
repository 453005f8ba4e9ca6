/*
 * JSONP: sessions of clients that may only load scripts and submit forms.  A
 * session is one when its handshake had a "j", whose digits name the callback
 * in all answers to its polls, whatever later requests say.
 *
 * Layer:      top.
 * Ownership:  nothing is kept: the origin of a session has the handshake's
 *             query.  An answer on its way to the worker that has the request
 *             is the index, a comma, and the payload.
 * Hostile:    queries and forms come from the network.
 * Reference:  protocol.md 1.5.
 */


#ifndef _NGX_HTTP_SOCKETIO_SCRIPT_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_SCRIPT_H_INCLUDED_


#include "ngx_http_socketio_args.h"
#include "ngx_http_socketio_worker.h"


/*
 * Whether a session is one: NGX_OK, and *index is the digits, written to
 * digits[NGX_HTTP_SOCKETIO_INDEX]; or NGX_DECLINED.
 */
ngx_int_t ngx_http_socketio_script_index(ngx_sio_session_t *s, u_char *digits,
    ngx_str_t *index);

/*
 * What such a session answers a poll with, allocated for ngx_free(); and what
 * the worker that has the request makes of it, which borrows.
 * NGX_OK; NGX_ERROR: no memory, or octets that make no sense.
 */
ngx_int_t ngx_http_socketio_script_join(ngx_str_t *index, ngx_str_t *payload,
    ngx_str_t *answer);
ngx_int_t ngx_http_socketio_script_split(ngx_str_t *answer, ngx_str_t *index,
    ngx_str_t *payload);

/*
 * A POST to any session, as ngx_sio_session_post(): of a JSONP session the
 * body is a form, and one without a payload is ignored.
 */
void ngx_http_socketio_script_post(ngx_sio_session_t *s,
    ngx_sio_waiter_t *waiter, ngx_uint_t revision, ngx_uint_t octets,
    ngx_str_t *body);


#endif /* _NGX_HTTP_SOCKETIO_SCRIPT_H_INCLUDED_ */
