
#include "ngx_sio_watch.h"
#include <sys/epoll.h>
#include <sys/syscall.h>


#ifndef SYS_pidfd_open
#define SYS_pidfd_open         434
#endif

#define NGX_SIO_WATCH_EVENTS   16


static int ngx_sio_watch_open(ngx_pid_t pid);
static void ngx_sio_watch_handler(ngx_event_t *ev);


void
ngx_sio_watch_init(ngx_sio_watch_t *watch, ngx_sio_watch_pt ended, void *data,
    ngx_log_t *log)
{
    int                fd;
    ngx_connection_t  *c;

    ngx_memzero(watch, sizeof(ngx_sio_watch_t));

    watch->ended = ended;
    watch->data = data;

    fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                      "epoll_create1() of socketio hub failed");
        return;
    }

    c = ngx_get_connection(fd, log);

    if (c == NULL) {
        (void) close(fd);
        return;
    }

    c->data = watch;
    c->log = log;
    c->read->log = log;
    c->write->log = log;
    c->read->handler = ngx_sio_watch_handler;

    /* nothing to be told at worker_shutdown_timeout */
    c->read->channel = 1;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_close_connection(c);
        return;
    }

    watch->c = c;
}


void
ngx_sio_watch_done(ngx_sio_watch_t *watch)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_SIO_HUB_SLOTS; i++) {
        ngx_sio_watch_remove(watch, i);
    }

    if (watch->c) {
        ngx_close_connection(watch->c);
        watch->c = NULL;
    }
}


ngx_int_t
ngx_sio_watch_add(ngx_sio_watch_t *watch, ngx_sio_hub_addr_t addr,
    ngx_pid_t pid)
{
    int                 fd;
    struct epoll_event  ee;

    if (watch->generations[addr.slot] == addr.generation) {
        return NGX_DONE;
    }

    ngx_sio_watch_remove(watch, addr.slot);

    if (watch->c == NULL) {
        return NGX_DECLINED;
    }

    fd = ngx_sio_watch_open(pid);

    if (fd == -1) {
        return NGX_DECLINED;
    }

    ee.events = EPOLLIN;
    ee.data.u64 = ngx_sio_hub_addr_pack(addr);

    if (epoll_ctl(watch->c->fd, EPOLL_CTL_ADD, fd, &ee) == -1) {
        (void) close(fd);
        return NGX_DECLINED;
    }

    watch->generations[addr.slot] = addr.generation;
    watch->fds[addr.slot] = fd;

    return NGX_OK;
}


void
ngx_sio_watch_remove(ngx_sio_watch_t *watch, ngx_uint_t slot)
{
    if (watch->generations[slot]) {
        (void) close(watch->fds[slot]);
        watch->generations[slot] = 0;
    }
}


ngx_uint_t
ngx_sio_watch_has(ngx_sio_watch_t *watch, ngx_sio_hub_addr_t addr)
{
    return watch->generations[addr.slot] == addr.generation;
}


static int
ngx_sio_watch_open(ngx_pid_t pid)
{
    /* always close-on-exec */

    return syscall(SYS_pidfd_open, pid, 0);
}


static void
ngx_sio_watch_handler(ngx_event_t *ev)
{
    int                  i, n;
    ngx_sio_watch_t     *watch;
    ngx_connection_t    *c;
    ngx_sio_hub_addr_t   ended;
    struct epoll_event   events[NGX_SIO_WATCH_EVENTS];

    c = ev->data;
    watch = c->data;

    n = epoll_wait(c->fd, events, NGX_SIO_WATCH_EVENTS, 0);

    for (i = 0; i < n; i++) {
        ended = ngx_sio_hub_addr_unpack(events[i].data.u64);

        /* a call before may have changed what is watched */

        if (ngx_sio_watch_has(watch, ended)) {
            ngx_sio_watch_remove(watch, ended.slot);
            watch->ended(watch->data, ended);
        }
    }
}
