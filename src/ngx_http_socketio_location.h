/*
 * The locations where "socketio" or "socketio_api" is, and their names, by
 * which sessions find their configuration again after a reload.
 *
 * Layer:      top, while the configuration is read; find() at any time.
 * Ownership:  everything is made in the configuration's pool.
 * Reference:  README.md, "Troubleshooting", how a location is called.
 */


#ifndef _NGX_HTTP_SOCKETIO_LOCATION_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_LOCATION_H_INCLUDED_


#include "ngx_http_socketio_module.h"


/*
 * A location of ours while the configuration is put together.  Its name is
 * "server path", with the address where two would be the same.
 */

typedef struct {
    ngx_http_socketio_loc_conf_t *lcf;
    ngx_str_t                     server;      /* may be empty */
    ngx_str_t                     address;     /* one it listens on */
    ngx_str_t                     path;
    void                        **srv_conf;
    void                        **loc_conf;
} ngx_http_socketio_location_t;


/*
 * Enters the location that is being merged.  NGX_OK, NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_socketio_location_add(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *conf);

/*
 * A postconfiguration: names all that were entered.  NGX_OK, NGX_ERROR.
 */
ngx_int_t ngx_http_socketio_location_names(ngx_conf_t *cf);

/*
 * The location of that name (lcf->name) in the configuration of this process;
 * NULL: there is none any more.
 */
ngx_http_socketio_location_t *ngx_http_socketio_location_find(
    ngx_str_t *name);


#endif /* _NGX_HTTP_SOCKETIO_LOCATION_H_INCLUDED_ */
