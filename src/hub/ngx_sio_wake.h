
/*
 * The socket on which a worker is woken by others.
 *
 * Layer:      hub; nginx events.
 * Ownership:  embedded; init/done manage the socket and its connection.
 * Hostile:    anybody on the machine may send to it and cause a useless
 *             wake-up; a datagram carries nothing that is looked at.
 * Reference:  unix(7), "autobind"; nginx notes on idle connections.
 *
 * The connection is marked idle and is no channel, so nginx also calls its
 * handler with c->close when the worker is to drain, and with c->error when
 * worker_shutdown_timeout has passed.
 */


#ifndef _NGX_SIO_WAKE_H_INCLUDED_
#define _NGX_SIO_WAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <sys/un.h>


typedef struct {
    ngx_connection_t   *c;                    /* NULL before init */
    ngx_str_t           name;                 /* what others send to */
    struct sockaddr_un  address;
} ngx_sio_wake_t;


/* NGX_OK or NGX_ERROR (logged); c->data becomes data */
ngx_int_t ngx_sio_wake_init(ngx_sio_wake_t *wake,
    ngx_event_handler_pt handler, void *data, ngx_log_t *log);
void ngx_sio_wake_done(ngx_sio_wake_t *wake);

/* takes the datagrams that have come */
void ngx_sio_wake_drain(ngx_sio_wake_t *wake);

/*
 * Wakes the owner of the name.
 *
 *   NGX_OK        a datagram is waiting there
 *   NGX_DECLINED  nobody is there
 *   NGX_AGAIN     the system is short of memory; try later
 */
ngx_int_t ngx_sio_wake_send(ngx_sio_wake_t *wake, u_char *name, size_t len);


#endif /* _NGX_SIO_WAKE_H_INCLUDED_ */
