
/*
 * Watches sibling processes and tells when one has ended, also by kill -9.
 *
 * Layer:      hub; nginx events.
 * Ownership:  embedded; init/done manage the descriptors.
 * Trust:      a pid may have been used again before its descriptor was
 *             opened; the caller compares the start time afterwards.
 * Reference:  pidfd_open(2), Linux 5.3.
 *
 * All process descriptors sit in one epoll descriptor, which is one nginx
 * connection however many workers there are.
 */


#ifndef _NGX_SIO_WATCH_H_INCLUDED_
#define _NGX_SIO_WATCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_sio_hub_addr.h"


typedef void (*ngx_sio_watch_pt)(void *data, ngx_sio_hub_addr_t ended);

typedef struct {
    ngx_connection_t   *c;                /* NULL: watching is impossible */
    ngx_sio_watch_pt    ended;
    void               *data;

    /* by slot; a process is watched if its generation is not 0 */
    uint32_t            generations[NGX_SIO_HUB_SLOTS];
    int                 fds[NGX_SIO_HUB_SLOTS];
} ngx_sio_watch_t;


/* without epoll or a free connection add() will decline, which is no error */
void ngx_sio_watch_init(ngx_sio_watch_t *watch, ngx_sio_watch_pt ended,
    void *data, ngx_log_t *log);
void ngx_sio_watch_done(ngx_sio_watch_t *watch);

/*
 * Watches the process of a slot instead of the one before.
 *
 *   NGX_OK        watched now
 *   NGX_DONE      was watched already
 *   NGX_DECLINED  impossible; the caller has to look from time to time
 */
ngx_int_t ngx_sio_watch_add(ngx_sio_watch_t *watch, ngx_sio_hub_addr_t addr,
    ngx_pid_t pid);
void ngx_sio_watch_remove(ngx_sio_watch_t *watch, ngx_uint_t slot);

ngx_uint_t ngx_sio_watch_has(ngx_sio_watch_t *watch, ngx_sio_hub_addr_t addr);


#endif /* _NGX_SIO_WATCH_H_INCLUDED_ */
