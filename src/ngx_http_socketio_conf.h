/*
 * Values of directives: read, checked, and refused with a reason.
 *
 * Layer:      top, while the configuration is read.
 * Ownership:  everything is made in the configuration's pool.
 * Trust:      the administrator; a mistake is explained, a secret never shown.
 * Reference:  README.md, "Directives".
 */


#ifndef _NGX_HTTP_SOCKETIO_CONF_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_CONF_H_INCLUDED_


#include "ngx_http_socketio_module.h"


/*
 * What browsers count time-outs with; a longer one would fire at once there.
 */
#define NGX_HTTP_SOCKETIO_CONF_MAX_MSEC  2147483647

/* of socketio_event_rate, by second or minute, and of its burst */
#define NGX_HTTP_SOCKETIO_CONF_MAX_RATE  100000


/* Handlers of directives, for the command table; all take a loc_conf. */

char *ngx_http_socketio_conf_namespaces(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_origins(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_proxies(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_pass_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_webhook(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_refuse(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_cookie(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_socketio_conf_event_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* nginx's bitmask slot, which by itself lets a second line add to the first */
char *ngx_http_socketio_conf_bits(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/*
 * Looks for a word that excludes other parameters, such as "off".
 *
 *   NGX_OK        it is the only one
 *   NGX_DECLINED  it is not there
 *   NGX_ERROR     it stands among others; logged
 */
ngx_int_t ngx_http_socketio_conf_alone(ngx_conf_t *cf, const char *word);


/* Ranges, for the last column of the command table. */

extern ngx_conf_post_t  ngx_http_socketio_conf_time;   /* 1ms to the above */
extern ngx_conf_post_t  ngx_http_socketio_conf_size;   /* 1 byte or more */


/* What holds where a directive is absent. */

extern ngx_array_t  ngx_http_socketio_conf_default_namespaces;
extern ngx_array_t  ngx_http_socketio_conf_default_headers;

/* ngx_cidr_t: loopback and unix sockets; NULL when memory is gone */
ngx_array_t *ngx_http_socketio_conf_default_proxies(ngx_conf_t *cf);


#endif /* _NGX_HTTP_SOCKETIO_CONF_H_INCLUDED_ */
