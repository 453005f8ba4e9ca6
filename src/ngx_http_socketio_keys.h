/*
 * Secrets of webhooks and keys of the API: from parameters or files.
 *
 * Layer:      top, while the configuration is read.
 * Ownership:  keys are made in the configuration's pool; what was read from a
 *             file is wiped.
 * Trust:      the administrator; a mistake is explained by the number of its
 *             parameter or line, a secret never shown.
 * Reference:  README.md, "socketio_webhook_secret", "socketio_api_key".
 */


#ifndef _NGX_HTTP_SOCKETIO_KEYS_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_KEYS_H_INCLUDED_


#include "ngx_http_socketio_module.h"


/* The directives; both take a loc_conf. */

char *ngx_http_socketio_keys_secrets(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_keys_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_SOCKETIO_KEYS_H_INCLUDED_ */
