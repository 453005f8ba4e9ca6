/*
 * Zones: declared and named by directives, given memory by the master, and a
 * worker of each in every worker process.
 *
 * Layer:      top.
 * Ownership:  a zone is of its configuration; its memory belongs to the
 *             process and outlives configurations.
 * Reference:  README.md, "socketio_zone"; architecture.md 2.
 */


#ifndef _NGX_HTTP_SOCKETIO_ZONE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_ZONE_H_INCLUDED_


#include "ngx_http_socketio_module.h"


/* The directive "socketio_zone"; takes the main conf. */
char *ngx_http_socketio_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * The zone that a parameter "zone=name" names, or with NULL the one that
 * needs no name; it may be declared later.  NULL: logged.
 */
ngx_http_socketio_zone_t *ngx_http_socketio_zone_parameter(ngx_conf_t *cf,
    ngx_str_t *value);

/*
 * An init_main_conf: all directives have been read, so that a zone may be
 * declared after its use; what is merged after this relies on the sizes.
 */
char *ngx_http_socketio_zone_sizes(ngx_conf_t *cf, void *conf);


/* An init_module, an init_process and an exit_process, for all zones. */

ngx_int_t ngx_http_socketio_zone_init_module(ngx_cycle_t *cycle);
ngx_int_t ngx_http_socketio_zone_init_process(ngx_cycle_t *cycle);
void ngx_http_socketio_zone_exit_process(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_SOCKETIO_ZONE_H_INCLUDED_ */
