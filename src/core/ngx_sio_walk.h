/*
 * Sockets and rooms of this worker in an order that all workers have in
 * common, so that lists of them can be handed out page by page.
 *
 * Layer:      core.
 * Ownership:  everything is borrowed until sockets come or go.
 * Hostile:    the name behind which a page begins may be any.
 * Reference:  README, "HTTP API".
 *
 * The order is that of the trees in which they are: a name that stays has its
 * place whatever comes and goes around it, and nobody is seen twice.
 */


#ifndef _NGX_SIO_WALK_H_INCLUDED_
#define _NGX_SIO_WALK_H_INCLUDED_


#include "ngx_sio_rooms.h"


/* called in order; anything but NGX_OK ends the walk and is what it returns */
typedef ngx_int_t (*ngx_sio_walk_socket_pt)(ngx_sio_socket_t *so, void *data);
typedef ngx_int_t (*ngx_sio_walk_room_pt)(ngx_sio_room_t *room, void *data);


/*
 * All connected sockets of the target behind a sid; an empty one is before all.
 * The target has one room or none, and nobody is excepted.
 *
 *   NGX_OK     that was all
 *   NGX_ERROR  no memory
 *   otherwise  what the handler has returned
 */
ngx_int_t ngx_sio_walk_sockets(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_str_t *behind, ngx_sio_walk_socket_pt handler, void *data);

/* All rooms of a namespace behind a name; codes as above. */
ngx_int_t ngx_sio_walk_rooms(ngx_sio_engine_t *e, ngx_str_t *nsp,
    ngx_str_t *behind, ngx_sio_walk_room_pt handler, void *data);

/* How two names of rooms compare in that order, as memcmp() would tell. */
ngx_int_t ngx_sio_walk_compare(ngx_str_t *a, ngx_str_t *b);


#endif /* _NGX_SIO_WALK_H_INCLUDED_ */
