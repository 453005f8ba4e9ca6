
/*
 * The inside of requests that belong to another host, for its own files.
 *
 * Layer:      top.
 * Ownership:  as ngx_http_socketio_remote.h.
 * Reference:  ngx_http_socketio_remote.c      in the bridge: requests of others,
 *                                             and answers
 *             ngx_http_socketio_guest.c       in any worker: requests of others
 *                                             that sessions have
 *             ngx_http_socketio_remote_ask.c  in any worker: what is asked, and
 *                                             asked again
 */


#ifndef _NGX_HTTP_SOCKETIO_REMOTE_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_REMOTE_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_remote.h"
#include "ngx_http_socketio_errand.h"
#include "ngx_http_socketio_guest.h"


struct ngx_http_socketio_remote_s {
    ngx_http_socketio_bridge_t   *bridge;
    ngx_queue_t                   proxies;     /* of commands */
    ngx_uint_t                    commands;    /* so many */
    ngx_http_socketio_errands_t   errands;
    ngx_http_socketio_guests_t    guests;
    ngx_uint_t                    seen;        /* the parked request */
    ngx_sio_hub_addr_t            holder;      /* all who wait have asked */
    ngx_uint_t                    asks;        /* flag: some have not yet */
};


/* what REQUEST, and the entry REMOTE behind the host's id, begin with */

typedef struct {
    uint32_t                      kind;
    uint32_t                      unused;
    ngx_http_socketio_routed_t    routed;
} ngx_http_socketio_remote_head_t;


#endif /* _NGX_HTTP_SOCKETIO_REMOTE_PRIVATE_H_INCLUDED_ */
