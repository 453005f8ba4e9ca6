
#include "ngx_http_socketio_park.h"
#include "ngx_http_socketio_worker.h"


#define NGX_HTTP_SOCKETIO_PARK_MIN   64
#define NGX_HTTP_SOCKETIO_PARK_NONE  ((ngx_uint_t) -1)

/* octets that all of them keep to ask again */
#define NGX_HTTP_SOCKETIO_PARK_ASKED (16 * 1024 * 1024)


static ngx_http_socketio_parked_t *ngx_http_socketio_park_take(
    ngx_http_socketio_park_t *park);
static ngx_int_t ngx_http_socketio_park_grow(ngx_http_socketio_park_t *park);
static void ngx_http_socketio_park_cleanup(void *data);


/* what the waiting request of a dead worker's session is answered with */
static u_char  ngx_http_socketio_park_unknown[] = { NGX_SIO_ANSWER_UNKNOWN };


ngx_int_t
ngx_http_socketio_park_init(ngx_http_socketio_worker_t *w)
{
    ngx_memzero(&w->park, sizeof(ngx_http_socketio_park_t));

    w->park.free = NGX_HTTP_SOCKETIO_PARK_NONE;

    return NGX_OK;
}


/*
 * Requests that still wait are about to be freed by nginx, which must not find
 * its way back here.
 */

void
ngx_http_socketio_park_done(ngx_http_socketio_worker_t *w)
{
    ngx_uint_t                 i;
    ngx_http_socketio_park_t  *park;

    park = &w->park;

    for (i = 0; i < park->nentries; i++) {
        ngx_http_socketio_unpark(park->entries[i]);
        ngx_free(park->entries[i]);
    }

    if (park->entries != NULL) {
        ngx_free(park->entries);
    }

    ngx_http_socketio_park_init(w);
}


ngx_http_socketio_parked_t *
ngx_http_socketio_park(ngx_http_socketio_worker_t *w, ngx_http_request_t *r,
    ngx_http_socketio_parked_pt answer, void *data)
{
    ngx_http_cleanup_t          *cln;
    ngx_sio_hub_addr_t           self;
    ngx_http_socketio_park_t    *park;
    ngx_http_socketio_parked_t  *p;

    park = &w->park;

    cln = NULL;

    if (r != NULL) {
        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NULL;
        }
    }

    p = ngx_http_socketio_park_take(park);
    if (p == NULL) {
        return NULL;
    }

    if (cln != NULL) {
        cln->handler = ngx_http_socketio_park_cleanup;
        cln->data = p;
    }

    p->request = r;
    p->worker = w;
    p->answer = answer;
    p->data = data;
    p->cleanup = cln;

    if (++park->serial == 0) {
        park->serial = 1;
    }

    self = ngx_sio_hub_self(w->hub);

    p->waiter.slot = self.slot;
    p->waiter.generation = self.generation;
    p->waiter.serial = park->serial;

    /* nobody is asked yet, and we are told when this worker is lost */
    p->owner = self;
    p->host = 0;

    return p;
}


static ngx_http_socketio_parked_t *
ngx_http_socketio_park_take(ngx_http_socketio_park_t *park)
{
    ngx_http_socketio_parked_t  *p;

    if (park->free == NGX_HTTP_SOCKETIO_PARK_NONE
        && ngx_http_socketio_park_grow(park) != NGX_OK)
    {
        return NULL;
    }

    p = park->entries[park->free];

    park->free = p->next_free;

    return p;
}


/* Entries do not move: requests know them by address. */

static ngx_int_t
ngx_http_socketio_park_grow(ngx_http_socketio_park_t *park)
{
    ngx_uint_t                    size;
    ngx_http_socketio_parked_t   *p, **entries;

    if (park->nentries == NGX_SIO_WAITER_INDEXES) {
        return NGX_ERROR;
    }

    if (park->nentries == park->size) {

        size = park->size ? 2 * park->size : NGX_HTTP_SOCKETIO_PARK_MIN;

        entries = ngx_alloc(size * sizeof(ngx_http_socketio_parked_t *),
                            ngx_cycle->log);
        if (entries == NULL) {
            return NGX_ERROR;
        }

        if (park->entries != NULL) {
            ngx_memcpy(entries, park->entries,
                       park->size * sizeof(ngx_http_socketio_parked_t *));
            ngx_free(park->entries);
        }

        park->entries = entries;
        park->size = size;
    }

    p = ngx_calloc(sizeof(ngx_http_socketio_parked_t), ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p->waiter.index = park->nentries;
    p->next_free = park->free;

    park->entries[park->nentries] = p;
    park->free = park->nentries++;

    return NGX_OK;
}


void
ngx_http_socketio_unpark(ngx_http_socketio_parked_t *p)
{
    ngx_http_socketio_park_t  *park;

    if (p->answer == NULL) {
        return;
    }

    if (p->cleanup != NULL) {
        p->cleanup->handler = NULL;
    }

    p->request = NULL;
    p->answer = NULL;

    if (p->said.next) {
        ngx_queue_remove(&p->said);
        p->said.next = NULL;
    }

    if (p->text) {
        ngx_free(p->text);
        p->text = NULL;
    }

    ngx_http_socketio_park_forget(p);

    park = &p->worker->park;

    p->next_free = park->free;
    park->free = p->waiter.index;
}


ngx_int_t
ngx_http_socketio_park_ask(ngx_http_socketio_parked_t *p, ngx_str_t *text)
{
    ngx_http_socketio_park_t  *park;

    park = &p->worker->park;

    ngx_http_socketio_park_forget(p);

    if (park->asked + text->len > NGX_HTTP_SOCKETIO_PARK_ASKED) {
        return NGX_DECLINED;
    }

    p->asked = *text;
    park->asked += text->len;

    return NGX_OK;
}


void
ngx_http_socketio_park_forget(ngx_http_socketio_parked_t *p)
{
    if (p->asked.data) {
        p->worker->park.asked -= p->asked.len;
        ngx_free(p->asked.data);
        ngx_str_null(&p->asked);
    }
}


static void
ngx_http_socketio_park_cleanup(void *data)
{
    ngx_http_socketio_unpark(data);
}


ngx_http_socketio_parked_t *
ngx_http_socketio_parked(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter)
{
    ngx_http_socketio_parked_t  *p;

    if (waiter->index >= w->park.nentries) {
        return NULL;
    }

    p = w->park.entries[waiter->index];

    if (p->answer == NULL || !ngx_sio_waiter_equal(waiter, &p->waiter)) {
        return NULL;
    }

    return p;
}


void
ngx_http_socketio_park_pass(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t from, ngx_sio_hub_addr_t to)
{
    ngx_uint_t                   i;
    ngx_http_socketio_parked_t  *p;

    for (i = 0; i < w->park.nentries; i++) {

        p = w->park.entries[i];

        if (p->answer && p->host && p->asked.len == 0
            && ngx_sio_hub_addr_equal(p->owner, from))
        {
            p->owner = to;
        }
    }
}


void
ngx_http_socketio_park_down(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t dead)
{
    ngx_str_t                    body;
    ngx_uint_t                   i;
    ngx_http_socketio_parked_t  *p;

    /*
     * An answer may free requests, and start new ones: entries come and go
     * under this loop, but none is added that waits for the dead worker.
     */

    for (i = 0; i < w->park.nentries; i++) {

        p = w->park.entries[i];

        if (p->answer == NULL) {
            continue;
        }

        if (p->host && p->asked.len) {
            continue;
        }

        if (ngx_sio_hub_addr_equal(p->owner, dead)) {
            body.len = sizeof(ngx_http_socketio_park_unknown);
            body.data = ngx_http_socketio_park_unknown;

            p->answer(p, NGX_HTTP_SOCKETIO_ANSWER, dead, &body);

        } else if (p->owner.slot == NGX_SIO_HUB_ALL) {
            ngx_str_null(&body);

            p->answer(p, 0, dead, &body);
        }
    }
}
