#include "ngx_http_socketio_guest.h"
#include "ngx_http_socketio_remote.h"


/* what is kept to be said again: msec while the queues are up, octets */
#define NGX_HTTP_SOCKETIO_GUEST_KEEP  15000
#define NGX_HTTP_SOCKETIO_GUEST_SIZE  (16 * 1024 * 1024)


typedef struct {
    ngx_queue_t         queue;       /* of its bucket */
    ngx_queue_t         answered;    /* next NULL: it waits */
    ngx_sio_waiter_t    waiter;
    u_char              sid[NGX_SIO_SID_LEN];
    ngx_msec_t          at;          /* of the answer, by guests->clock */
    u_char              kind;        /* of it */
    u_char             *text;        /* allocated, or NULL */
    size_t              len;
} ngx_http_socketio_guest_t;


static ngx_http_socketio_guest_t *ngx_http_socketio_guest_new(
    ngx_http_socketio_guests_t *guests, ngx_sio_waiter_t *waiter);
static ngx_http_socketio_guest_t *ngx_http_socketio_guest_find(
    ngx_http_socketio_guests_t *guests, ngx_sio_waiter_t *waiter);
static ngx_queue_t *ngx_http_socketio_guest_bucket(
    ngx_http_socketio_guests_t *guests, ngx_sio_waiter_t *waiter);
static void ngx_http_socketio_guest_unanswered(
    ngx_http_socketio_guests_t *guests, ngx_http_socketio_guest_t *g);
static ngx_int_t ngx_http_socketio_guest_sweep(
    ngx_http_socketio_guests_t *guests, ngx_http_socketio_guest_t *g);
static void ngx_http_socketio_guest_expire(
    ngx_http_socketio_guests_t *guests);
static void ngx_http_socketio_guest_free(ngx_http_socketio_guests_t *guests,
    ngx_http_socketio_guest_t *g);


void
ngx_http_socketio_guest_init(ngx_http_socketio_guests_t *guests,
    ngx_http_socketio_worker_t *w)
{
    ngx_uint_t  i;

    guests->worker = w;
    guests->clock = 0;
    guests->ticked = ngx_current_msec;
    guests->swept = 0;
    guests->size = 0;

    ngx_queue_init(&guests->answered);

    for (i = 0; i < NGX_HTTP_SOCKETIO_GUEST_BUCKETS; i++) {
        ngx_queue_init(&guests->buckets[i]);
    }
}


void
ngx_http_socketio_guest_clear(ngx_http_socketio_guests_t *guests)
{
    ngx_uint_t    i;
    ngx_queue_t  *bucket;

    for (i = 0; i < NGX_HTTP_SOCKETIO_GUEST_BUCKETS; i++) {
        bucket = &guests->buckets[i];

        while (!ngx_queue_empty(bucket)) {
            ngx_http_socketio_guest_free(guests,
                          ngx_queue_data(ngx_queue_head(bucket),
                                         ngx_http_socketio_guest_t, queue));
        }
    }
}


ngx_int_t
ngx_http_socketio_guest_enter(ngx_http_socketio_guests_t *guests,
    ngx_uint_t kind, ngx_http_socketio_routed_t *routed)
{
    ngx_str_t                   body;
    ngx_http_socketio_guest_t  *g;

    g = ngx_http_socketio_guest_find(guests, &routed->waiter);

    if (kind == NGX_HTTP_SOCKETIO_ABORT) {

        if (g != NULL) {
            ngx_http_socketio_guest_free(guests, g);
        }

        return NGX_OK;
    }

    if (g != NULL && g->answered.next) {
        body.data = g->text;
        body.len = g->len;

        ngx_http_socketio_remote_say(guests->worker, &g->waiter, g->kind,
                                     &body);
        return NGX_DONE;
    }

    if (g == NULL) {
        g = ngx_http_socketio_guest_new(guests, &routed->waiter);
    }

    if (g != NULL) {
        ngx_memcpy(g->sid, routed->sid, NGX_SIO_SID_LEN);
    }

    return NGX_OK;
}


void
ngx_http_socketio_guest_answered(ngx_http_socketio_guests_t *guests,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    ngx_http_socketio_guest_t  *g;

    g = ngx_http_socketio_guest_find(guests, waiter);

    if (kind == NGX_SIO_ANSWER_UNKNOWN) {

        /* it would be told the same again by anybody */

        if (g != NULL) {
            ngx_http_socketio_guest_free(guests, g);
        }

        return;
    }

    if (g == NULL) {

        /* its session has come from another worker */

        g = ngx_http_socketio_guest_new(guests, waiter);
        if (g == NULL) {
            return;
        }
    }

    ngx_http_socketio_guest_unanswered(guests, g);

    if (body != NULL && body->len) {
        g->text = ngx_alloc(body->len, ngx_cycle->log);

        if (g->text == NULL) {
            ngx_http_socketio_guest_free(guests, g);
            return;
        }

        ngx_memcpy(g->text, body->data, body->len);
        g->len = body->len;
    }

    g->kind = (u_char) kind;
    g->at = guests->clock;

    ngx_queue_insert_tail(&guests->answered, &g->answered);
    guests->size += sizeof(ngx_http_socketio_guest_t) + g->len;

    ngx_http_socketio_guest_expire(guests);
}


/*
 * What was said before a connection broke, which takes up to a PING's time to
 * be seen, may have to be said again, so the time that counts is that in which
 * all queues are up.
 */

void
ngx_http_socketio_guest_tick(ngx_http_socketio_guests_t *guests)
{
    ngx_uint_t    i;
    ngx_queue_t  *q, *next, *bucket;

    if (ngx_http_socketio_remote_whole(guests->worker)) {
        guests->clock += ngx_current_msec - guests->ticked;
    }

    guests->ticked = ngx_current_msec;

    ngx_http_socketio_guest_expire(guests);

    for (i = 0; i < NGX_HTTP_SOCKETIO_GUEST_BUCKETS / 4; i++) {

        bucket = &guests->buckets[guests->swept];
        guests->swept = (guests->swept + 1) % NGX_HTTP_SOCKETIO_GUEST_BUCKETS;

        for (q = ngx_queue_head(bucket);
             q != ngx_queue_sentinel(bucket);
             q = next)
        {
            next = ngx_queue_next(q);

            if (ngx_http_socketio_guest_sweep(guests,
                        ngx_queue_data(q, ngx_http_socketio_guest_t, queue))
                == NGX_DONE)
            {
                next = ngx_queue_head(bucket);
            }
        }
    }
}


/*
 * Nobody says here that a session has moved or was cut off.
 *
 *   NGX_OK
 *   NGX_DONE  a session was ended, and with it may be any guest
 */

static ngx_int_t
ngx_http_socketio_guest_sweep(ngx_http_socketio_guests_t *guests,
    ngx_http_socketio_guest_t *g)
{
    ngx_sio_waiter_t             waiter;
    ngx_sio_session_t           *s;
    ngx_http_socketio_worker_t  *w;

    if (g->answered.next) {
        return NGX_OK;
    }

    w = guests->worker;
    s = ngx_sio_session_find(&w->engine, g->sid);

    if (s == NULL || (!ngx_sio_waiter_equal(&s->poll, &g->waiter)
                      && !ngx_sio_waiter_equal(&s->post, &g->waiter)))
    {
        ngx_http_socketio_guest_free(guests, g);
        return NGX_OK;
    }

    if (ngx_http_socketio_remote_there(w, g->waiter.host)) {
        return NGX_OK;
    }

    waiter = g->waiter;
    ngx_http_socketio_guest_free(guests, g);

    ngx_sio_session_abort(s, &waiter);

    return NGX_DONE;
}


static void
ngx_http_socketio_guest_expire(ngx_http_socketio_guests_t *guests)
{
    ngx_http_socketio_guest_t  *g;

    while (!ngx_queue_empty(&guests->answered)) {
        g = ngx_queue_data(ngx_queue_head(&guests->answered),
                           ngx_http_socketio_guest_t, answered);

        if (guests->clock - g->at < NGX_HTTP_SOCKETIO_GUEST_KEEP
            && guests->size <= NGX_HTTP_SOCKETIO_GUEST_SIZE)
        {
            return;
        }

        ngx_http_socketio_guest_free(guests, g);
    }
}


static ngx_http_socketio_guest_t *
ngx_http_socketio_guest_new(ngx_http_socketio_guests_t *guests,
    ngx_sio_waiter_t *waiter)
{
    ngx_http_socketio_guest_t  *g;

    g = ngx_calloc(sizeof(ngx_http_socketio_guest_t), ngx_cycle->log);
    if (g == NULL) {
        return NULL;
    }

    g->waiter = *waiter;

    ngx_queue_insert_tail(ngx_http_socketio_guest_bucket(guests, waiter),
                          &g->queue);

    return g;
}


static ngx_http_socketio_guest_t *
ngx_http_socketio_guest_find(ngx_http_socketio_guests_t *guests,
    ngx_sio_waiter_t *waiter)
{
    ngx_queue_t                *q, *bucket;
    ngx_http_socketio_guest_t  *g;

    bucket = ngx_http_socketio_guest_bucket(guests, waiter);

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        g = ngx_queue_data(q, ngx_http_socketio_guest_t, queue);

        if (ngx_sio_waiter_equal(&g->waiter, waiter)) {
            return g;
        }
    }

    return NULL;
}


static ngx_queue_t *
ngx_http_socketio_guest_bucket(ngx_http_socketio_guests_t *guests,
    ngx_sio_waiter_t *waiter)
{
    uint32_t  hash;

    hash = ngx_crc32_short((u_char *) waiter, sizeof(ngx_sio_waiter_t));

    return &guests->buckets[hash % NGX_HTTP_SOCKETIO_GUEST_BUCKETS];
}


static void
ngx_http_socketio_guest_unanswered(ngx_http_socketio_guests_t *guests,
    ngx_http_socketio_guest_t *g)
{
    if (g->answered.next == NULL) {
        return;
    }

    ngx_queue_remove(&g->answered);
    g->answered.next = NULL;

    guests->size -= sizeof(ngx_http_socketio_guest_t) + g->len;

    if (g->text != NULL) {
        ngx_free(g->text);
        g->text = NULL;
        g->len = 0;
    }
}


static void
ngx_http_socketio_guest_free(ngx_http_socketio_guests_t *guests,
    ngx_http_socketio_guest_t *g)
{
    ngx_http_socketio_guest_unanswered(guests, g);

    ngx_queue_remove(&g->queue);
    ngx_free(g);
}
