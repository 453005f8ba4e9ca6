/*
 * The inside of origins, for their own files.
 *
 * Layer:      top.
 * Ownership:  variables live as long as their configuration.
 * Hostile:    as ngx_http_socketio_origin.h.
 * Reference:  ngx_http_socketio_origin.c       what is saved, and how
 *             ngx_http_socketio_origin_vars.c  variables that need it
 */


#ifndef _NGX_HTTP_SOCKETIO_ORIGIN_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_ORIGIN_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_origin.h"


/* A variable of the configuration that reads a header of the client. */

typedef struct {
    ngx_str_t                               name;   /* of the header, with
                                                       "_" for "-" */
    ngx_int_t                               index;  /* of $http_...;
                                                       NGX_ERROR: another
                                                       variable reads it */
} ngx_http_socketio_origin_var_t;


/* All of them, found once for each configuration of this process. */

typedef struct ngx_http_socketio_origin_vars_s
    ngx_http_socketio_origin_vars_t;

struct ngx_http_socketio_origin_vars_s {
    ngx_http_core_main_conf_t              *cmcf;
    ngx_http_socketio_origin_vars_t        *next;
    ngx_int_t                               scheme;  /* index or NGX_ERROR */
    ngx_int_t                               https;
    ngx_array_t                            *kept;    /* ..._kept_t; NULL: not
                                                        known yet */
    ngx_uint_t                              n;
    ngx_http_socketio_origin_var_t          var[1];
};


/* Those of a configuration.  NULL: no memory. */
ngx_http_socketio_origin_vars_t *ngx_http_socketio_origin_vars(
    ngx_http_core_main_conf_t *cmcf);

/* Whether some variable reads the header, whose name is in lower case. */
ngx_uint_t ngx_http_socketio_origin_vars_read(
    ngx_http_socketio_origin_vars_t *vars, ngx_str_t *header);


#endif /* _NGX_HTTP_SOCKETIO_ORIGIN_PRIVATE_H_INCLUDED_ */
