
#include "ngx_sio_wake.h"


/* more than that in one turn were sent by a stranger; the rest can wait */
#define NGX_SIO_WAKE_DATAGRAMS  32


static int ngx_sio_wake_socket(ngx_sio_wake_t *wake, ngx_log_t *log);


ngx_int_t
ngx_sio_wake_init(ngx_sio_wake_t *wake, ngx_event_handler_pt handler,
    void *data, ngx_log_t *log)
{
    int                fd;
    ngx_connection_t  *c;

    fd = ngx_sio_wake_socket(wake, log);
    if (fd == -1) {
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, log);

    if (c == NULL) {
        (void) close(fd);
        return NGX_ERROR;
    }

    c->data = data;
    c->log = log;
    c->idle = 1;
    c->read->log = log;
    c->write->log = log;
    c->read->handler = handler;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_close_connection(c);
        return NGX_ERROR;
    }

    wake->c = c;

    return NGX_OK;
}


void
ngx_sio_wake_done(ngx_sio_wake_t *wake)
{
    if (wake->c) {
        ngx_close_connection(wake->c);
        wake->c = NULL;
    }
}


void
ngx_sio_wake_drain(ngx_sio_wake_t *wake)
{
    char        buf[1];
    ngx_uint_t  n;

    for (n = 0; n < NGX_SIO_WAKE_DATAGRAMS; n++) {
        if (recv(wake->c->fd, buf, sizeof(buf), MSG_DONTWAIT) == -1) {
            break;
        }
    }
}


ngx_int_t
ngx_sio_wake_send(ngx_sio_wake_t *wake, u_char *name, size_t len)
{
    struct sockaddr_un  sun;

    if (len > sizeof(sun.sun_path)) {
        return NGX_DECLINED;
    }

    sun.sun_family = AF_UNIX;
    ngx_memcpy(sun.sun_path, name, len);

    if (sendto(wake->c->fd, "", 1, MSG_DONTWAIT|MSG_NOSIGNAL,
               (struct sockaddr *) &sun,
               offsetof(struct sockaddr_un, sun_path) + len)
        != -1)
    {
        return NGX_OK;
    }

    switch (ngx_errno) {

    case NGX_EAGAIN:
        /* its queue is full, so it is going to wake up anyway */
        return NGX_OK;

    case ENOMEM:
    case ENOBUFS:
        return NGX_AGAIN;

    default:
        return NGX_DECLINED;
    }
}


/*
 * Bound to an abstract name chosen by the kernel: unlike any name of ours
 * nobody can have taken it before.
 */

static int
ngx_sio_wake_socket(ngx_sio_wake_t *wake, ngx_log_t *log)
{
    int        fd;
    socklen_t  len;

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_socket_errno,
                      "socket() of socketio hub failed");
        return -1;
    }

    ngx_memzero(&wake->address, sizeof(struct sockaddr_un));
    wake->address.sun_family = AF_UNIX;

    if (bind(fd, (struct sockaddr *) &wake->address, sizeof(sa_family_t))
        == -1)
    {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_socket_errno,
                      "bind() of socketio hub failed");
        goto failed;
    }

    len = sizeof(struct sockaddr_un);

    if (getsockname(fd, (struct sockaddr *) &wake->address, &len) == -1) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_socket_errno,
                      "getsockname() of socketio hub failed");
        goto failed;
    }

    wake->name.data = (u_char *) wake->address.sun_path;
    wake->name.len = len - offsetof(struct sockaddr_un, sun_path);

    return fd;

failed:

    (void) close(fd);

    return -1;
}
