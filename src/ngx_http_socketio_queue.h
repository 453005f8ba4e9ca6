/*
 * The directive "socketio_message_queue".
 *
 * Layer:      top, while the configuration is read.
 * Ownership:  a queue's configuration is of the configuration's pool, listed
 *             by its zone.
 * Reference:  README.md, "socketio_message_queue"; product.md 2.
 */


#ifndef _NGX_HTTP_SOCKETIO_QUEUE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_QUEUE_H_INCLUDED_


#include "ngx_http_socketio_bridge.h"


/* The directive; takes the main conf. */
char *ngx_http_socketio_queue(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * When all directives have been read and the sizes of zones are known: names
 * are resolved unless there is a resolver for that.
 */
char *ngx_http_socketio_queue_init(ngx_conf_t *cf,
    ngx_http_socketio_main_conf_t *mcf);


extern const ngx_http_socketio_format_t  ngx_http_socketio_python;
extern const ngx_http_socketio_format_t  ngx_http_socketio_node;


#endif /* _NGX_HTTP_SOCKETIO_QUEUE_H_INCLUDED_ */
