
/*
 * A message queue: one broker as one line of the configuration names it.
 *
 * Layer:      queue; nginx core and events, no HTTP, no hub.
 * Ownership:  create gives, destroy takes back, with all connections; calls
 *             back only from events, never from inside a call, and not after
 *             destroy.  Payloads are lent for the callback.
 * Hostile:    whoever can write to the broker, and the broker itself: sizes
 *             are bounded before anything is buffered.
 * Reference:  queues.md 6 and 7; ngx_sio_queue_url.h for addresses.
 *
 * A driver never blocks, resolves names without blocking, and reconnects by
 * itself for ever, waiting longer each time up to a limit, with jitter.
 *
 *              connected, subscribed
 *     DOWN ---------------------------> UP       up(), once
 *       ^                               |
 *       +-------------------------------+        down(), once; what was
 *         an error, silence, replaced            published and not confirmed
 *                                                may or may not have arrived
 */


#ifndef _NGX_SIO_QUEUE_H_INCLUDED_
#define _NGX_SIO_QUEUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_sio_queue_url.h"


typedef struct ngx_sio_queue_s  ngx_sio_queue_t;


/* all of them must be set */

typedef struct {
    /* subscribed to all that was asked for, and ready to publish */
    void  (*up)(ngx_sio_queue_t *q);

    void  (*down)(ngx_sio_queue_t *q);

    /* pattern: what it was received for, if that was a pattern, else empty */
    void  (*message)(ngx_sio_queue_t *q, ngx_str_t *pattern,
        ngx_str_t *channel, ngx_str_t *payload);

    /* the broker has taken what was published with this tag; in order */
    void  (*confirmed)(ngx_sio_queue_t *q, uint64_t tag);

    /* so many connections are subscribed to the channel asked for */
    void  (*counted)(ngx_sio_queue_t *q, uint64_t tag, ngx_uint_t n);
} ngx_sio_queue_ops_t;


typedef struct {
    ngx_sio_queue_url_t  *url;
    ngx_str_t             name;          /* of this process, for the broker */
    ngx_resolver_t       *resolver;      /* NULL: url->addrs as they are */
    ngx_msec_t            resolver_timeout;
    size_t                max_message;   /* larger ones are refused, */
    size_t                max_publish;   /* ... or not published */
    ngx_uint_t            max_pending;   /* published, not yet confirmed */
    size_t                max_buffer;    /* octets of these */
} ngx_sio_queue_conf_t;


typedef struct {
    uint64_t              received;      /* messages */
    uint64_t              received_bytes;
    uint64_t              published;
    uint64_t              published_bytes;
    uint64_t              confirmed;
    uint64_t              connects;      /* that came up */
    uint64_t              failures;      /* that did not, or broke */
    uint64_t              oversized;     /* messages refused by their size */
    ngx_msec_t            delay;         /* from a publish to its confirmation,
                                            or until now: the longest since this
                                            was asked for */
    ngx_uint_t            pending;       /* published, not confirmed */
    unsigned              up:1;
} ngx_sio_queue_stat_t;


/*
 * In a worker.  Does not connect yet.  conf is borrowed for the queue's life.
 * NULL: no memory.
 */
ngx_sio_queue_t *ngx_sio_queue_create(ngx_sio_queue_conf_t *conf,
    const ngx_sio_queue_ops_t *ops, void *data, ngx_log_t *log);
void ngx_sio_queue_destroy(ngx_sio_queue_t *q);

void *ngx_sio_queue_data(ngx_sio_queue_t *q);

/* begins to connect; errors are told by the log, and by down() never */
void ngx_sio_queue_start(ngx_sio_queue_t *q);

/*
 * What is subscribed to stays so over reconnects.  Before start, or while UP:
 * then up() is not repeated.  A pattern has the escapes of the broker.
 *
 *   NGX_OK, NGX_ERROR (no memory)
 */
ngx_int_t ngx_sio_queue_subscribe(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_uint_t pattern);
ngx_int_t ngx_sio_queue_unsubscribe(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_uint_t pattern);

/*
 * Publishes the parts one behind the other as one message; copied.  All of
 * one turn goes out together, in order.
 *
 *   NGX_OK        confirmed() or down() will follow
 *   NGX_AGAIN     as many are pending as may be; after confirmed() there is
 *                 room
 *   NGX_DECLINED  DOWN, or it is too large
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_queue_publish(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_str_t *parts, ngx_uint_t nparts, uint64_t tag);

/* asks for counted(); codes as publish */
ngx_int_t ngx_sio_queue_count(ngx_sio_queue_t *q, ngx_str_t *channel,
    uint64_t tag);

/* writes what waits, for a process that ends; what does not go is dropped */
void ngx_sio_queue_flush(ngx_sio_queue_t *q);

/*
 * Takes the link for deaf: closes and connects anew at once.
 */
void ngx_sio_queue_replace(ngx_sio_queue_t *q);

void ngx_sio_queue_stat(ngx_sio_queue_t *q, ngx_sio_queue_stat_t *stat);


#endif /* _NGX_SIO_QUEUE_H_INCLUDED_ */
