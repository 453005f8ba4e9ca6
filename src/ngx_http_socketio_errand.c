
#include "ngx_http_socketio_errand.h"


/* octets of all of them */
#define NGX_HTTP_SOCKETIO_ERRAND_SIZE  (16 * 1024 * 1024)


static void ngx_http_socketio_errand_free(ngx_http_socketio_errands_t *errands,
    ngx_http_socketio_errand_t *errand);


void
ngx_http_socketio_errand_init(ngx_http_socketio_errands_t *errands)
{
    ngx_uint_t  i;

    errands->size = 0;
    ngx_queue_init(&errands->all);

    for (i = 0; i < NGX_HTTP_SOCKETIO_ERRAND_BUCKETS; i++) {
        ngx_queue_init(&errands->buckets[i]);
    }
}


void
ngx_http_socketio_errand_clear(ngx_http_socketio_errands_t *errands)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&errands->all)) {
        q = ngx_queue_head(&errands->all);
        ngx_http_socketio_errand_free(errands,
                            ngx_queue_data(q, ngx_http_socketio_errand_t, all));
    }
}


void
ngx_http_socketio_errand_insert(ngx_http_socketio_errands_t *errands,
    u_char *host, ngx_sio_waiter_t *waiter, ngx_str_t *body, ngx_msec_t time)
{
    ngx_uint_t                   n;
    ngx_http_socketio_errand_t  *errand;

    errand = ngx_alloc(sizeof(ngx_http_socketio_errand_t) + body->len,
                       ngx_cycle->log);
    if (errand == NULL) {
        return;
    }

    ngx_memcpy(errand->host, host, NGX_SIO_BRIDGE_ID);
    errand->waiter = *waiter;
    errand->until = ngx_current_msec + time;
    errand->body.data = (u_char *) (errand + 1);
    errand->body.len = body->len;
    ngx_memcpy(errand->body.data, body->data, body->len);

    n = ngx_http_socketio_errand_hash(host, waiter);

    ngx_queue_insert_tail(&errands->buckets[n], &errand->bucket);
    ngx_queue_insert_tail(&errands->all, &errand->all);
    errands->size += sizeof(ngx_http_socketio_errand_t) + body->len;

    ngx_http_socketio_errand_expire(errands);
}


void
ngx_http_socketio_errand_done(ngx_http_socketio_errands_t *errands,
    u_char *host, ngx_sio_waiter_t *waiter)
{
    ngx_queue_t                 *q, *bucket;
    ngx_http_socketio_errand_t  *errand;

    bucket = &errands->buckets[ngx_http_socketio_errand_hash(host, waiter)];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        errand = ngx_queue_data(q, ngx_http_socketio_errand_t, bucket);

        if (ngx_sio_waiter_equal(&errand->waiter, waiter)
            && ngx_memcmp(errand->host, host, NGX_SIO_BRIDGE_ID) == 0)
        {
            ngx_http_socketio_errand_free(errands, errand);
            return;
        }
    }
}


/* All of them have the same time, so the oldest are the first to go. */

void
ngx_http_socketio_errand_expire(ngx_http_socketio_errands_t *errands)
{
    ngx_queue_t                 *q;
    ngx_http_socketio_errand_t  *errand;

    while (!ngx_queue_empty(&errands->all)) {
        q = ngx_queue_head(&errands->all);
        errand = ngx_queue_data(q, ngx_http_socketio_errand_t, all);

        if ((ngx_msec_int_t) (errand->until - ngx_current_msec) > 0
            && errands->size <= NGX_HTTP_SOCKETIO_ERRAND_SIZE)
        {
            return;
        }

        ngx_http_socketio_errand_free(errands, errand);
    }
}


ngx_http_socketio_errand_t *
ngx_http_socketio_errand_next(ngx_http_socketio_errands_t *errands,
    u_char *host, ngx_http_socketio_errand_t *last)
{
    ngx_queue_t                 *q;
    ngx_http_socketio_errand_t  *errand;

    for (q = ngx_queue_next(last ? &last->all : &errands->all);
         q != ngx_queue_sentinel(&errands->all);
         q = ngx_queue_next(q))
    {
        errand = ngx_queue_data(q, ngx_http_socketio_errand_t, all);

        if (ngx_memcmp(errand->host, host, NGX_SIO_BRIDGE_ID) == 0) {
            return errand;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_socketio_errand_hash(u_char *host, ngx_sio_waiter_t *waiter)
{
    uint32_t  hash;

    ngx_crc32_init(hash);
    ngx_crc32_update(&hash, host, NGX_SIO_BRIDGE_ID);
    ngx_crc32_update(&hash, (u_char *) waiter, sizeof(ngx_sio_waiter_t));
    ngx_crc32_final(hash);

    return hash % NGX_HTTP_SOCKETIO_ERRAND_BUCKETS;
}


static void
ngx_http_socketio_errand_free(ngx_http_socketio_errands_t *errands,
    ngx_http_socketio_errand_t *errand)
{
    errands->size -= sizeof(ngx_http_socketio_errand_t) + errand->body.len;

    ngx_queue_remove(&errand->bucket);
    ngx_queue_remove(&errand->all);
    ngx_free(errand);
}
