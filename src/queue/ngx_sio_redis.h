
/*
 * One connection to a Redis server: commands out, replies in.
 *
 * Layer:      queue; nginx core and events.
 * Ownership:  embedded by whoever uses it; open makes what close releases.
 *             The callbacks borrow replies until they return, and may close
 *             the connection, but not free the structure.
 * Hostile:    the server: what it sends is bounded before it is kept.  A
 *             string above max_reply is passed over and becomes a nil.
 * Reference:  queues.md 6; RESP2; hiredis read.h.
 *
 * hiredis reads the replies; connecting, TLS, time and writing are nginx's,
 * since its asynchronous interface resolves names blocking, reads one piece
 * per edge-triggered event, and knows no TLS in the releases that Debian has.
 */


#ifndef _NGX_SIO_REDIS_H_INCLUDED_
#define _NGX_SIO_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <hiredis/hiredis.h>
#include "ngx_sio_queue_url.h"


#define NGX_SIO_REDIS_HEAD   32


typedef struct ngx_sio_redis_s  ngx_sio_redis_t;


/* both are called from events, and never after close */

typedef void (*ngx_sio_redis_reply_pt)(ngx_sio_redis_t *r, redisReply *reply);

/* why is a few words; the connection is closed already */
typedef void (*ngx_sio_redis_broken_pt)(ngx_sio_redis_t *r, const char *why,
    ngx_err_t err);


struct ngx_sio_redis_s {
    ngx_connection_t         *connection; /* NULL: closed */
    ngx_sio_queue_url_t      *url;
    size_t                    max_reply;
    ngx_log_t                *log;
    void                     *data;

    ngx_sio_redis_reply_pt    reply;
    ngx_sio_redis_broken_pt   broken;

    ngx_uint_t                oversized;  /* strings passed over, ever */

    /* the rest is private */

    redisReader              *reader;
    ngx_event_t               flush;      /* posted while there is to write */

    u_char                   *out;
    size_t                    out_size;
    size_t                    out_pos;
    size_t                    out_last;

    u_char                    head[NGX_SIO_REDIS_HEAD];
    size_t                    nhead;
    size_t                    rest;       /* of a string, or of a line */
    ngx_uint_t                state;
    ngx_uint_t                elements;   /* of an array, still to come */

    ngx_msec_t                heard;      /* when octets came last */

    unsigned                  connected:1;
    unsigned                  pinged:1;   /* no octets since */
    unsigned                  waiting:1;  /* a reply is due */
};


/*
 * Begins to connect to addr; commands may be written at once.  Of r, url,
 * max_reply, log, data and the callbacks are set.  The name stays shared.
 *
 *   NGX_OK      reply() and broken() will come
 *   NGX_ERROR   it cannot be; broken() does not come (logged)
 */
ngx_int_t ngx_sio_redis_open(ngx_sio_redis_t *r, ngx_addr_t *addr);

/* at any time, also when it is closed */
void ngx_sio_redis_close(ngx_sio_redis_t *r);

/*
 * Queues a command, sent at the end of the turn with all others of it.  The
 * last argument consists of the parts one behind the other.
 *
 *   NGX_OK, NGX_ERROR  no memory; nothing was queued
 */
ngx_int_t ngx_sio_redis_command(ngx_sio_redis_t *r, ngx_str_t *args,
    ngx_uint_t nargs, ngx_str_t *parts, ngx_uint_t nparts);

/* writes what it can, before the end of the turn */
void ngx_sio_redis_flush(ngx_sio_redis_t *r);

/*
 * Whether replies are due: then the server's silence is counted from now on,
 * else it is only asked for a sign of life now and then.
 */
void ngx_sio_redis_expect(ngx_sio_redis_t *r, ngx_uint_t due);


#endif /* _NGX_SIO_REDIS_H_INCLUDED_ */
