
#include "ngx_sio_hub_private.h"


/* seconds between two lines in the log about a full ring */
#define NGX_SIO_HUB_APPEND_LOG   60

/* what is for the append alone */
#define NGX_SIO_HUB_APPEND_FLAGS                                              \
    (NGX_SIO_HUB_NOW|NGX_SIO_HUB_OWED|NGX_SIO_HUB_LATE)


static ngx_int_t ngx_sio_hub_append_commit(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts,
    ngx_sio_hub_members_t *members);
static ngx_int_t ngx_sio_hub_append_give(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts);
static ngx_int_t ngx_sio_hub_append_ring(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts);
static ngx_int_t ngx_sio_hub_append_wait(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts,
    ngx_uint_t flags);
static ngx_int_t ngx_sio_hub_append_first(ngx_sio_hub_t *hub);
static size_t ngx_sio_hub_append_take(ngx_sio_hub_t *hub, ngx_queue_t *q);
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
    e.flags = flags & ~NGX_SIO_HUB_APPEND_FLAGS;
    e.to_slot = to.slot;
    e.to_generation = to.generation;

    ngx_sio_hub_append_retry(hub);

    if (ngx_queue_empty(&hub->backlog)) {
        rc = ngx_sio_hub_append_commit(hub, &e, parts, nparts, members);

    } else {
        rc = NGX_BUSY;
    }

    if (rc == NGX_OK && (flags & NGX_SIO_HUB_OWED)
        && to.slot == NGX_SIO_HUB_ALL)
    {
        hub->owed = e.position + e.size;
    }

    if (rc != NGX_BUSY) {
        return rc;
    }

    /* who begins anew drops what was for one worker */

    if (ngx_sio_hub_lost(hub)
        && (to.slot != NGX_SIO_HUB_ALL || !(flags & NGX_SIO_HUB_OWED)))
    {
        return NGX_BUSY;
    }

    if (flags & NGX_SIO_HUB_LATE) {
        ngx_memzero(members, sizeof(ngx_sio_hub_members_t));
    }

    if (!(flags & NGX_SIO_HUB_NOW)
        && (members == NULL || (flags & NGX_SIO_HUB_LATE)))
    {
        rc = ngx_sio_hub_append_wait(hub, &e, parts, nparts, flags);
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
        __atomic_thread_fence(__ATOMIC_SEQ_CST);

        if (ngx_sio_hub_append_first(hub) != NGX_OK) {
            return;
        }
    }
}


void
ngx_sio_hub_append_report(ngx_sio_hub_t *hub)
{
    ngx_queue_t            *q;
    ngx_sio_hub_entry_t     e;
    ngx_sio_hub_waiting_t  *w;

    while (!ngx_queue_empty(&hub->appended)) {
        q = ngx_queue_head(&hub->appended);
        w = ngx_queue_data(q, ngx_sio_hub_waiting_t, queue);

        ngx_queue_remove(q);

        e.position = w->entry.position;
        e.ordinal = w->entry.ordinal;
        e.kind = w->entry.kind;
        e.flags = w->entry.flags;
        e.from = hub->self;
        e.to = ngx_sio_hub_addr(w->entry.to_slot, w->entry.to_generation);
        e.body.len = w->entry.length;
        e.body.data = (u_char *) (w + 1);

        hub->ops->appended(hub, &e, &w->members);

        ngx_free(w);
    }
}


/*
 * The others have done with the worker that this one was: what they had asked
 * it is answered, and what it had asked them is forgotten.  What it has to say
 * to everybody is as true as before.
 */

size_t
ngx_sio_hub_append_begin_anew(ngx_sio_hub_t *hub)
{
    size_t                  dropped;
    ngx_queue_t            *q, *next;
    ngx_sio_hub_waiting_t  *w;

    dropped = 0;

    for (q = ngx_queue_head(&hub->backlog);
         q != ngx_queue_sentinel(&hub->backlog);
         q = next)
    {
        next = ngx_queue_next(q);
        w = ngx_queue_data(q, ngx_sio_hub_waiting_t, queue);

        if (w->entry.to_slot != NGX_SIO_HUB_ALL) {
            dropped += ngx_sio_hub_append_take(hub, q);
            ngx_free(w);
        }
    }

    ngx_sio_hub_append_set_size(hub, hub->backlog_size);

    return dropped;
}


void
ngx_sio_hub_append_drop(ngx_sio_hub_t *hub)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&hub->backlog)) {
        q = ngx_queue_head(&hub->backlog);
        (void) ngx_sio_hub_append_take(hub, q);
        ngx_free(ngx_queue_data(q, ngx_sio_hub_waiting_t, queue));
    }

    while (!ngx_queue_empty(&hub->appended)) {
        q = ngx_queue_head(&hub->appended);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_sio_hub_waiting_t, queue));
    }
}


void
ngx_sio_hub_append_room(ngx_event_t *ev)
{
    ngx_sio_hub_t     *hub;
    ngx_connection_t  *c;

    c = ev->data;
    hub = c->data;

    if (hub->owing == 0) {
        hub->ops->room(hub);
    }
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

        rc = (e->flags & NGX_SIO_HUB_GIVE)
             ? ngx_sio_hub_append_give(hub, e, parts, nparts)
             : ngx_sio_hub_append_ring(hub, e, parts, nparts);
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
        ngx_sio_hub_read(hub);
    }

    if (rc == NGX_OK || laggards) {
        ngx_sio_hub_wake_later(hub);
    }

    return rc;
}


/* Who was alive without the lock may have been buried since. */

static ngx_int_t
ngx_sio_hub_append_give(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts)
{
    ngx_int_t         rc;
    ngx_sio_ring_t   *ring;
    ngx_sio_slots_t  *slots;

    ring = &hub->members.ring;
    slots = &hub->members.slots;

    if (!ngx_sio_slots_alive(slots, ngx_sio_hub_addr(e->to_slot,
                                                     e->to_generation)))
    {
        return NGX_DECLINED;
    }

    ngx_sio_slots_give(slots, e->from_slot, e->to_slot,
                       ngx_sio_ring_head(ring));

    rc = ngx_sio_hub_append_ring(hub, e, parts, nparts);

    ngx_sio_slots_given(slots, ngx_sio_ring_head(ring));

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


/* takes an entry into the backlog; codes of ngx_sio_hub_append() */

static ngx_int_t
ngx_sio_hub_append_wait(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts, ngx_uint_t flags)
{
    u_char                 *p;
    size_t                  size;
    ngx_uint_t              i;
    ngx_sio_hub_waiting_t  *w;

    size = sizeof(ngx_sio_hub_waiting_t) + e->length;

    if (!(flags & NGX_SIO_HUB_OWED)
        && hub->backlog_size + size > hub->members.ring.size)
    {
        return NGX_BUSY;
    }

    w = ngx_alloc(size, hub->log);
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->entry = *e;
    w->late = (flags & NGX_SIO_HUB_LATE) ? 1 : 0;
    w->owed = ((flags & NGX_SIO_HUB_OWED) && e->to_slot == NGX_SIO_HUB_ALL);

    hub->owing += w->owed;

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

    return (flags & NGX_SIO_HUB_LATE) ? NGX_AGAIN : NGX_OK;
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

    rc = ngx_sio_hub_append_commit(hub, &w->entry, &part, 1,
                                   w->late ? &w->members : NULL);

    if (rc != NGX_OK) {
        return rc;
    }

    (void) ngx_sio_hub_append_take(hub, q);

    if (w->owed) {
        hub->owed = w->entry.position + w->entry.size;
    }

    if (w->late) {
        ngx_queue_insert_tail(&hub->appended, q);
        ngx_sio_hub_read(hub);

    } else {
        ngx_free(w);
    }

    return NGX_OK;
}


/* takes an entry out of the backlog; returns its size */

static size_t
ngx_sio_hub_append_take(ngx_sio_hub_t *hub, ngx_queue_t *q)
{
    size_t                  size;
    ngx_sio_hub_waiting_t  *w;

    w = ngx_queue_data(q, ngx_sio_hub_waiting_t, queue);
    size = sizeof(ngx_sio_hub_waiting_t) + w->entry.length;

    ngx_queue_remove(q);
    ngx_sio_hub_append_set_size(hub, hub->backlog_size - size);
    hub->owing -= w->owed;

    if (w->owed && hub->owing == 0 && !hub->room.posted) {
        ngx_post_event(&hub->room, &ngx_posted_events);
    }

    return size;
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
