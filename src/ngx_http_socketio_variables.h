/*
 * The $socketio_... variables.
 *
 * Layer:      top.
 * Ownership:  values are borrowed from the context of the main request
 *             (ngx_http_socketio_ctx_t), numbers are made in its pool.
 * Reference:  README.md, "Variables".
 */


#ifndef _NGX_HTTP_SOCKETIO_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_VARIABLES_H_INCLUDED_


#include "ngx_http_socketio_module.h"


/* Announces them; before the configuration is read.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_socketio_variables_add(ngx_conf_t *cf);


#endif /* _NGX_HTTP_SOCKETIO_VARIABLES_H_INCLUDED_ */
