
#include "ngx_sio_hub_private.h"


/* what the reader takes in one turn before it lets others have theirs */
#define NGX_SIO_HUB_READ_BATCH   512
#define NGX_SIO_HUB_READ_SKIP    8192
#define NGX_SIO_HUB_READ_BYTES   (1024 * 1024)

/* bodies up to this size are copied to memory that is kept */
#define NGX_SIO_HUB_READ_BUFFER  (16 * 1024)


static ngx_int_t ngx_sio_hub_read_batch(ngx_sio_hub_t *hub);
static void ngx_sio_hub_read_give_up(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_read_dispatch(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e);
static void ngx_sio_hub_read_down(ngx_sio_hub_t *hub,
    ngx_sio_hub_entry_t *e);
static ngx_int_t ngx_sio_hub_read_body(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *re, ngx_sio_hub_buf_t *buf, ngx_sio_hub_entry_t *e);
static ngx_uint_t ngx_sio_hub_read_sleep(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_read_return(ngx_sio_hub_t *hub);
static ngx_uint_t ngx_sio_hub_read_is_old(void *data,
    ngx_sio_hub_addr_t owner);


ngx_int_t
ngx_sio_hub_replay(ngx_sio_hub_t *hub, uint64_t from, uint64_t to,
    void (*handler)(void *data, ngx_sio_hub_entry_t *e), void *data)
{
    ngx_int_t             rc;
    ngx_sio_hub_buf_t     buf;
    ngx_sio_hub_entry_t   e;
    ngx_sio_ring_entry_t  re;

    ngx_memzero(&buf, sizeof(ngx_sio_hub_buf_t));

    rc = NGX_OK;

    while (from < to) {

        if (ngx_sio_ring_read(&hub->members.ring, &from, &re) != NGX_OK) {
            rc = NGX_DECLINED;
            break;
        }

        if (from >= to) {
            break;
        }

        if (re.kind <= NGX_SIO_HUB_MAX_KIND) {

            rc = ngx_sio_hub_read_body(hub, &re, &buf, &e);

            if (rc != NGX_OK) {
                break;
            }

            handler(data, &e);
        }

        from = re.position + re.size;
    }

    if (buf.data) {
        ngx_free(buf.data);
    }

    return rc;
}


ngx_int_t
ngx_sio_hub_shipped(ngx_sio_hub_t *hub, uint64_t *position, uint64_t ordinal,
    ngx_sio_hub_entry_t *e)
{
    uint64_t              oldest;
    ngx_int_t             rc;
    ngx_sio_ring_entry_t  re;

    for ( ;; ) {
        oldest = ngx_sio_ring_oldest(&hub->members.ring);

        if (*position < oldest) {
            *position = oldest;
        }

        rc = ngx_sio_ring_read(&hub->members.ring, position, &re);

        if (rc == NGX_DONE) {
            return NGX_DONE;
        }

        if (rc == NGX_OK && re.ordinal && re.ordinal >= ordinal) {
            rc = ngx_sio_hub_read_body(hub, &re, &hub->shipped, e);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {

            /* overwritten meanwhile; the oldest one is elsewhere now */

            if (ngx_sio_ring_oldest(&hub->members.ring) <= *position) {
                *position = ngx_sio_ring_head(&hub->members.ring);
            }

            continue;
        }

        *position = re.position + re.size;

        if (re.ordinal && re.ordinal >= ordinal) {
            return NGX_OK;
        }
    }
}


uint64_t
ngx_sio_hub_ordinal(ngx_sio_hub_t *hub)
{
    return __atomic_load_n(&hub->bridge.head->ordinal, __ATOMIC_ACQUIRE);
}


void
ngx_sio_hub_read_recount(ngx_sio_hub_t *hub)
{
    uint64_t              position, last;
    ngx_sio_ring_entry_t  e;

    last = 0;
    position = ngx_sio_ring_oldest(&hub->members.ring);

    while (ngx_sio_ring_read(&hub->members.ring, &position, &e) == NGX_OK) {

        if (e.ordinal) {
            last = e.ordinal;
        }

        position = e.position + e.size;
    }

    /* without any it may be one too many, which is a gap and no harm */

    if (last) {
        ngx_sio_mem_commit(&hub->bridge.head->ordinal, last);
    }
}


/* in this turn; the flag saves the others a datagram */

void
ngx_sio_hub_read(ngx_sio_hub_t *hub)
{
    if (hub->reading || hub->reader.posted) {
        return;
    }

    __atomic_store_n(&hub->slot->sleeping, 0, __ATOMIC_RELAXED);

    ngx_post_event(&hub->reader, &ngx_posted_events);
}


ngx_uint_t
ngx_sio_hub_read_concerned(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e)
{
    if (e->to_slot == NGX_SIO_HUB_ALL
        || (e->to_slot == hub->self.slot
            && e->to_generation == hub->self.generation))
    {
        return 1;
    }

    return (e->flags & NGX_SIO_HUB_ECHO)
           && e->from_slot == hub->self.slot
           && e->from_generation == hub->self.generation;
}


void
ngx_sio_hub_read_handler(ngx_event_t *ev)
{
    uint64_t           before;
    ngx_int_t          rc;
    ngx_sio_hub_t     *hub;
    ngx_connection_t  *c;

    c = ev->data;
    hub = c->data;

    hub->reading = 1;
    before = hub->position;

    rc = ngx_sio_hub_read_batch(hub);

    if (hub->position != before) {
        ngx_sio_hub_wake_waiting(hub);
    }

    ngx_sio_hub_append_retry(hub);
    ngx_sio_hub_append_report(hub);

    if (rc == NGX_DECLINED) {
        rc = ngx_sio_hub_read_return(hub);
    }

    hub->reading = 0;

    if (rc == NGX_BUSY) {
        /* the timer tries again */
        return;
    }

    if (rc != NGX_DONE || !ngx_sio_hub_read_sleep(hub)) {
        ngx_post_event(&hub->reader, &ngx_posted_next_events);
    }
}


/*
 *   NGX_OK        there may be more
 *   NGX_DONE      everything was read
 *   NGX_BUSY      there was no memory for the next one
 *   NGX_DECLINED  this worker was declared lost
 */

static ngx_int_t
ngx_sio_hub_read_batch(ngx_sio_hub_t *hub)
{
    size_t                bytes;
    ngx_int_t             rc;
    ngx_uint_t            handled, skipped;
    ngx_sio_ring_entry_t  e;

    bytes = 0;
    handled = 0;
    skipped = 0;

    while (handled < NGX_SIO_HUB_READ_BATCH
           && skipped < NGX_SIO_HUB_READ_SKIP
           && bytes < NGX_SIO_HUB_READ_BYTES)
    {
        if (ngx_sio_hub_lost(hub)) {
            return NGX_DECLINED;
        }

        rc = ngx_sio_ring_read(&hub->members.ring, &hub->position, &e);

        if (rc == NGX_OK && ngx_sio_hub_read_concerned(hub, &e)) {
            rc = ngx_sio_hub_read_dispatch(hub, &e);
            handled++;
            bytes += e.size;

        } else if (rc == NGX_OK) {
            hub->position = e.position + e.size;
            skipped++;
        }

        if (rc == NGX_DECLINED) {
            ngx_sio_hub_read_give_up(hub);
            return NGX_DECLINED;
        }

        if (rc == NGX_ERROR) {
            return NGX_BUSY;
        }

        __atomic_store_n(&hub->slot->cursor, hub->position, __ATOMIC_RELEASE);

        if (rc == NGX_DONE) {
            return NGX_DONE;
        }
    }

    return NGX_OK;
}


/* what cannot be read must not be passed over silently */

static void
ngx_sio_hub_read_give_up(ngx_sio_hub_t *hub)
{
    if (ngx_sio_members_lose(&hub->members, hub->self, hub->slot->cursor,
                             hub->self)
        == NGX_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, hub->log, 0,
                      "entry at %uL of socketio zone \"%V\" is not readable",
                      hub->position, ngx_sio_mem_name(hub->mem));
    }
}


static ngx_int_t
ngx_sio_hub_read_dispatch(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *re)
{
    ngx_int_t            rc;
    ngx_sio_hub_entry_t  e;

    rc = ngx_sio_hub_read_body(hub, re, &hub->body, &e);

    if (rc != NGX_OK) {
        return rc;
    }

    hub->position = re->position + re->size;

    /* room may have come in this very turn, and answers behind it */

    ngx_sio_hub_append_report(hub);

    switch (e.kind) {

    case NGX_SIO_MEMBERS_UP:
        ngx_sio_hub_siblings_look(hub);
        break;

    case NGX_SIO_MEMBERS_DOWN:
        ngx_sio_hub_read_down(hub, &e);
        break;

    default:
        rc = hub->ops->entry(hub, &e);

        if (rc != NGX_OK) {
            hub->position = re->position;
        }
    }

    return rc;
}


/*
 * Who wrote the entry also adopts; after an orderly end, which the worker
 * wrote itself, the lowest slot does.  Should the adopter die before, its own
 * burial makes up for it, since any orphan is adopted then.
 */

static void
ngx_sio_hub_read_down(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e)
{
    uint64_t               word;
    ngx_uint_t             i;
    ngx_sio_hub_addr_t     dead;
    ngx_sio_hub_members_t  members;

    if (e->body.len != sizeof(uint64_t)) {
        return;
    }

    ngx_memcpy(&word, e->body.data, sizeof(uint64_t));
    dead = ngx_sio_hub_addr_unpack(word);

    if (dead.slot >= NGX_SIO_HUB_SLOTS) {
        return;
    }

    ngx_sio_hub_siblings_look(hub);

    if (ngx_sio_hub_addr_equal(e->from, dead)) {
        ngx_sio_slots_members(&hub->members.slots, &members);

        for (i = 0; i < hub->self.slot; i++) {
            if (ngx_sio_hub_members_has(&members, i)) {
                break;
            }
        }

        if (i == hub->self.slot) {
            ngx_sio_hub_siblings_adopt(hub);
        }

    } else if (ngx_sio_hub_addr_equal(e->from, hub->self)) {
        ngx_sio_hub_siblings_adopt(hub);
    }

    if (hub->told[dead.slot] != dead.generation) {
        hub->told[dead.slot] = dead.generation;
        hub->ops->down(hub, dead);
    }
}


/*
 * The body is copied before it is used: a worker that was stopped in the
 * middle of an entry, and declared lost, must not wake up in a changed one.
 */

static ngx_int_t
ngx_sio_hub_read_body(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *re,
    ngx_sio_hub_buf_t *buf, ngx_sio_hub_entry_t *e)
{
    if (buf->data == NULL
        || buf->size < re->length || buf->size > NGX_SIO_HUB_READ_BUFFER)
    {
        if (buf->data) {
            ngx_free(buf->data);
        }

        buf->size = ngx_max(re->length, NGX_SIO_HUB_READ_BUFFER);
        buf->data = ngx_alloc(buf->size, hub->log);

        if (buf->data == NULL) {
            buf->size = 0;
            return NGX_ERROR;
        }
    }

    if (ngx_sio_ring_copy(&hub->members.ring, re, buf->data) != NGX_OK) {
        return NGX_DECLINED;
    }

    e->position = re->position;
    e->ordinal = re->ordinal;
    e->kind = re->kind;
    e->flags = re->flags;
    e->from = ngx_sio_hub_addr(re->from_slot, re->from_generation);
    e->to = ngx_sio_hub_addr(re->to_slot, re->to_generation);
    e->body.len = re->length;
    e->body.data = buf->data;

    return NGX_OK;
}


/*
 * The reading half of the wake-up: a writer commits and looks at the flag,
 * the reader sets the flag and looks at the log, so one of them sees.
 */

static ngx_uint_t
ngx_sio_hub_read_sleep(ngx_sio_hub_t *hub)
{
    __atomic_store_n(&hub->slot->sleeping, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    if (ngx_sio_ring_head(&hub->members.ring) == hub->position
        && !ngx_sio_hub_lost(hub))
    {
        return 1;
    }

    __atomic_store_n(&hub->slot->sleeping, 0, __ATOMIC_RELAXED);

    return 0;
}


/*
 * Begins again after having been lost.  Until the journal records are moved
 * the old slot stays, so that nobody takes them for orphans, and if this
 * worker dies meanwhile, both slots are buried.
 *
 *   NGX_OK     a member again
 *   NGX_BUSY   not yet, all slots are taken
 */

static ngx_int_t
ngx_sio_hub_read_return(ngx_sio_hub_t *hub)
{
    size_t              length, dropped;
    uint32_t            cursor;
    uint64_t            id, missed;
    ngx_int_t           rc;
    ngx_sio_hub_addr_t  old, self;

    old = hub->self;

    if (ngx_sio_members_return(&hub->members, &hub->wake.name, old, &self)
        != NGX_OK)
    {
        return NGX_BUSY;
    }

    hub->self = self;
    hub->slot = &hub->members.slots.slots[self.slot];
    missed = hub->slot->cursor - hub->position;
    hub->position = hub->slot->cursor;
    hub->owed = hub->position;

    dropped = ngx_sio_hub_append_begin_anew(hub);

    ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                  "worker was too slow for socketio zone \"%V\" and missed "
                  "%uL bytes, %uz waiting bytes were dropped",
                  ngx_sio_mem_name(hub->mem), missed, dropped);

    cursor = 0;

    do {
        rc = ngx_sio_journal_take(&hub->journal, &cursor,
                                  ngx_sio_hub_read_is_old, &old, hub->self,
                                  NULL, &id, &length);
    } while (rc == NGX_OK || rc == NGX_AGAIN);

    hub->told[old.slot] = old.generation;
    (void) ngx_sio_members_bury(&hub->members, old, hub->self);

    hub->wake_all = 1;
    ngx_sio_hub_wake_later(hub);

    hub->ops->lost(hub);

    return NGX_OK;
}


static ngx_uint_t
ngx_sio_hub_read_is_old(void *data, ngx_sio_hub_addr_t owner)
{
    return ngx_sio_hub_addr_equal(owner, *(ngx_sio_hub_addr_t *) data);
}
