
#include "ngx_sio_hub_private.h"


/* seconds between two lines in the log about a full ring */
#define NGX_SIO_HUB_APPEND_LOG   60


static ngx_int_t ngx_sio_hub_append_commit(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts,
    ngx_sio_hub_members_t *members);
static ngx_int_t ngx_sio_hub_append_ring(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts);
static ngx_int_t ngx_sio_hub_append_wait(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts);
static ngx_int_t ngx_sio_hub_append_first(ngx_sio_hub_t *hub);
static void ngx_sio_hub_append_set_size(ngx_sio_hub_t *hub, size_t size);
static void ngx_sio_hub_append_log(ngx_sio_hub_t *hub);


ngx_int_t
ngx_sio_hub_append(ngx_sio_hub_t *hub, ngx_uint_t kind, ngx_uint_t flags,
    ngx_sio_hub_addr_t to, ngx_str_t *parts, ngx_uint_t nparts,
    ngx_sio_hub_members_t *members)
{
    size_t                length;
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_sio_ring_entry_t  e;

    length = 0;

    for (i = 0; i < nparts; i++) {

        if (parts[i].len > hub->max_body - length) {
            return NGX_DECLINED;
        }

        length += parts[i].len;
    }

    ngx_memzero(&e, sizeof(ngx_sio_ring_entry_t));

    e.length = length;
    e.kind = kind;
    e.flags = flags;
    e.to_slot = to.slot;
    e.to_generation = to.generation;

    ngx_sio_hub_append_retry(hub);

    if (ngx_queue_empty(&hub->backlog)) {
        rc = ngx_sio_hub_append_commit(hub, &e, parts, nparts, members);

    } else {
        rc = NGX_BUSY;
    }

    if (rc != NGX_BUSY || ngx_sio_hub_lost(hub)) {
        return rc;
    }

    if (members == NULL) {
        rc = ngx_sio_hub_append_wait(hub, &e, parts, nparts);
    }

    hub->refused = 1;
    ngx_sio_hub_append_log(hub);

    return rc;
}


/*
 * Appends what waits, as far as there is room.  The wish to be woken is
 * written before the last attempt: a reader that moves after the attempt
 * sees it.
 */

void
ngx_sio_hub_append_retry(ngx_sio_hub_t *hub)
{
    while (!ngx_queue_empty(&hub->backlog)) {

        if (ngx_sio_hub_append_first(hub) == NGX_OK) {
            continue;
        }

        __atomic_store_n(&hub->slot->waiting, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&hub->members.slots.head->waiting, 1,
                         __ATOMIC_SEQ_CST);

        if (ngx_sio_hub_append_first(hub) != NGX_OK) {
            return;
        }
    }
}


void
ngx_sio_hub_append_drop(ngx_sio_hub_t *hub)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&hub->backlog)) {
        q = ngx_queue_head(&hub->backlog);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_sio_hub_waiting_t, queue));
    }

    ngx_sio_hub_append_set_size(hub, 0);
}


static ngx_int_t
ngx_sio_hub_append_commit(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts, ngx_sio_hub_members_t *members)
{
    ngx_int_t         rc;
    ngx_uint_t        laggards;
    ngx_sio_slots_t  *slots;

    slots = &hub->members.slots;

    if (ngx_sio_mem_lock(hub->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_sio_hub_lost(hub)) {
        ngx_sio_mem_unlock(hub->mem);
        ngx_sio_hub_read(hub);
        return NGX_BUSY;
    }

    rc = NGX_OK;

    if (slots->head->owed) {
        rc = ngx_sio_members_settle(&hub->members, hub->self);
        hub->wake_all = 1;
    }

    if (rc == NGX_OK) {
        e->from_slot = hub->self.slot;
        e->from_generation = hub->self.generation;

        rc = ngx_sio_hub_append_ring(hub, e, parts, nparts);
    }

    if (rc == NGX_OK && members) {
        ngx_sio_slots_members(slots, members);
    }

    laggards = ngx_sio_ring_laggards(&hub->members.ring, &hub->wakeups);

    ngx_sio_mem_unlock(hub->mem);

    if (rc == NGX_OK && e->to_slot == NGX_SIO_HUB_ALL) {
        hub->wake_all = 1;

    } else if (rc == NGX_OK && e->to_slot < NGX_SIO_HUB_SLOTS) {
        ngx_sio_hub_members_add(&hub->wakeups, e->to_slot);
    }

    if (rc == NGX_OK && ngx_sio_hub_read_concerned(hub, e)) {
        hub->own = e->position + e->size;
        ngx_sio_hub_read(hub);
    }

    if (rc == NGX_OK || laggards) {
        ngx_sio_hub_wake_later(hub);
    }

    return rc;
}


/*
 * The ordinal is stored before the entry: if this process dies in between,
 * the next one counts again.
 */

static ngx_int_t
ngx_sio_hub_append_ring(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts)
{
    uint64_t   *ordinal;
    ngx_int_t   rc;

    if (!(e->flags & NGX_SIO_HUB_SHIP)) {
        return ngx_sio_ring_append(&hub->members.ring, e, parts, nparts);
    }

    ordinal = &hub->bridge.head->ordinal;

    e->ordinal = *ordinal + 1;
    ngx_sio_mem_commit(ordinal, e->ordinal);

    rc = ngx_sio_ring_append(&hub->members.ring, e, parts, nparts);

    if (rc != NGX_OK) {
        ngx_sio_mem_commit(ordinal, e->ordinal - 1);
    }

    return rc;
}


/* takes an entry into the backlog; the first one always fits */

static ngx_int_t
ngx_sio_hub_append_wait(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts)
{
    u_char                 *p;
    size_t                  size;
    ngx_uint_t              i;
    ngx_sio_hub_waiting_t  *w;

    size = sizeof(ngx_sio_hub_waiting_t) + e->length;

    if (hub->backlog_size && hub->backlog_size + size > hub->max_body) {
        return NGX_BUSY;
    }

    w = ngx_alloc(size, hub->log);
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->entry = *e;

    p = (u_char *) (w + 1);

    for (i = 0; i < nparts; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }

    ngx_queue_insert_tail(&hub->backlog, &w->queue);
    ngx_sio_hub_append_set_size(hub, hub->backlog_size + size);

    /* room that came since the last attempt would be announced to nobody */

    ngx_sio_hub_append_retry(hub);

    return NGX_OK;
}


static ngx_int_t
ngx_sio_hub_append_first(ngx_sio_hub_t *hub)
{
    ngx_int_t               rc;
    ngx_str_t               part;
    ngx_queue_t            *q;
    ngx_sio_hub_waiting_t  *w;

    q = ngx_queue_head(&hub->backlog);
    w = ngx_queue_data(q, ngx_sio_hub_waiting_t, queue);

    part.len = w->entry.length;
    part.data = (u_char *) (w + 1);

    rc = ngx_sio_hub_append_commit(hub, &w->entry, &part, 1, NULL);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_queue_remove(q);
    ngx_sio_hub_append_set_size(hub, hub->backlog_size
                                     - sizeof(ngx_sio_hub_waiting_t)
                                     - part.len);
    ngx_free(w);

    return NGX_OK;
}


/* the others can see it, for the status page */

static void
ngx_sio_hub_append_set_size(ngx_sio_hub_t *hub, size_t size)
{
    hub->backlog_size = size;

    if (hub->slot) {
        hub->slot->backlog = size;
    }
}


static void
ngx_sio_hub_append_log(ngx_sio_hub_t *hub)
{
    if (hub->logged && ngx_time() - hub->logged < NGX_SIO_HUB_APPEND_LOG) {
        return;
    }

    hub->logged = ngx_time();

    ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                  "socketio zone \"%V\" is full: ring of %uz bytes, "
                  "%uz bytes are waiting",
                  ngx_sio_mem_name(hub->mem), hub->members.ring.size,
                  hub->backlog_size);
}
