/*
 * Ids and signatures of webhooks, as Standard Webhooks 1.0 has them.
 *
 * Layer:      top, but without nginx's HTTP, pools or logging.
 * Ownership:  nothing is kept.
 * Hostile:    nothing; secrets are the operator's.
 * Reference:  Standard Webhooks 1.0, "Signature scheme".
 */


#ifndef _NGX_HTTP_SOCKETIO_SIGN_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_SIGN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* "msg_" and 128 random bits in base64url */

#define NGX_HTTP_SOCKETIO_SIGN_ID_LEN  (sizeof("msg_") - 1 + 22)


/* Writes an id.  NGX_OK; NGX_ERROR: as ngx_sio_random() has it. */
ngx_int_t ngx_http_socketio_sign_id(u_char *id);

/*
 * The value of webhook-signature: "v1," and base64 of the HMAC-SHA256 over
 * id.timestamp.body, one for each of n secrets (decoded), blanks between them.
 * write() returns the end; NULL: OpenSSL failed.
 */
size_t ngx_http_socketio_sign_length(ngx_uint_t n);
u_char *ngx_http_socketio_sign_write(u_char *p, ngx_str_t *secrets,
    ngx_uint_t n, ngx_str_t *id, ngx_str_t *timestamp, ngx_str_t *body);


#endif /* _NGX_HTTP_SOCKETIO_SIGN_H_INCLUDED_ */
