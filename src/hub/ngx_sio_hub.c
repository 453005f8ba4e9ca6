
#include "ngx_sio_hub.h"
#include "ngx_sio_members.h"
#include "ngx_sio_wake.h"
#include "ngx_sio_watch.h"


/* what the reader takes in one turn before it lets others have theirs */
#define NGX_SIO_HUB_BATCH        512
#define NGX_SIO_HUB_BATCH_SKIP   8192
#define NGX_SIO_HUB_BATCH_BYTES  (1024 * 1024)

/* bodies up to this size are copied to memory that is kept */
#define NGX_SIO_HUB_BUFFER       (16 * 1024)

#define NGX_SIO_HUB_ORPHANS      16

#define NGX_SIO_HUB_TICK         1000         /* msec */

/* ticks in which somebody waited for a reader that did not move */
#define NGX_SIO_HUB_PATIENCE     10

/* seconds between two lines in the log about a full ring */
#define NGX_SIO_HUB_LOG_PERIOD   60


typedef struct {
    u_char                   *data;
    size_t                    size;
} ngx_sio_hub_buf_t;


/* an entry for which there was no room; the bytes follow */

typedef struct {
    ngx_queue_t               queue;
    ngx_sio_ring_entry_t      entry;
} ngx_sio_hub_waiting_t;


typedef struct {
    uint64_t                  cursor;
    uint32_t                  generation;
    uint32_t                  ticks;
} ngx_sio_hub_stuck_t;


struct ngx_sio_hub_s {
    ngx_sio_mem_t            *mem;
    ngx_sio_members_t         members;
    ngx_sio_directory_t       directory;
    ngx_sio_journal_t         journal;

    const ngx_sio_hub_ops_t  *ops;
    void                     *data;
    ngx_log_t                *log;

    ngx_sio_hub_addr_t        self;
    ngx_sio_slot_t           *slot;       /* of self */

    uint64_t                  position;   /* see ngx_sio_hub_position() */
    uint64_t                  own;        /* end of our last entry for us */
    ngx_sio_hub_buf_t         body;       /* of the entry being handled */
    size_t                    max_body;

    ngx_sio_wake_t            wake;
    ngx_sio_watch_t           watch;

    ngx_event_t               reader;     /* posted when there is to read */
    ngx_event_t               waker;      /* posted when others are to wake */
    ngx_event_t               adopter;    /* posted while a walk goes on */
    ngx_event_t               timer;

    ngx_sio_hub_members_t     wakeups;    /* besides all of them: */
    ngx_queue_t               backlog;    /* of ngx_sio_hub_waiting_t */
    size_t                    backlog_size;

    uint32_t                  walk;       /* journal cursor of the adopter */
    uint32_t                  changes;    /* of slots, as last looked at */
    time_t                    logged;     /* when the ring was full */

    /* by slot: whose end was told last; who stands in the way */
    uint32_t                  told[NGX_SIO_HUB_SLOTS];
    ngx_sio_hub_stuck_t       stuck[NGX_SIO_HUB_SLOTS];

    unsigned                  wake_all:1;
    unsigned                  reading:1;
    unsigned                  unwatched:1;/* some sibling */
    unsigned                  refused:1;  /* an append, since the last tick */
    unsigned                  draining:1; /* was told */
    unsigned                  shutdown:1; /* was told */
};


static ngx_int_t ngx_sio_hub_init(ngx_sio_hub_t *hub);
static void ngx_sio_hub_init_event(ngx_sio_hub_t *hub, ngx_event_t *ev,
    ngx_event_handler_pt handler);
static void ngx_sio_hub_done(ngx_sio_hub_t *hub);
static void ngx_sio_hub_repair(void *data);

static ngx_int_t ngx_sio_hub_commit(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts,
    ngx_sio_hub_members_t *members);
static ngx_uint_t ngx_sio_hub_concerned(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e);
static ngx_uint_t ngx_sio_hub_lost(ngx_sio_hub_t *hub);

static ngx_int_t ngx_sio_hub_wait(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e, ngx_str_t *parts, ngx_uint_t nparts);
static void ngx_sio_hub_retry(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_retry_first(ngx_sio_hub_t *hub);
static void ngx_sio_hub_drop_backlog(ngx_sio_hub_t *hub);
static void ngx_sio_hub_log_full(ngx_sio_hub_t *hub);

static void ngx_sio_hub_read(ngx_sio_hub_t *hub);
static void ngx_sio_hub_read_handler(ngx_event_t *ev);
static ngx_int_t ngx_sio_hub_read_batch(ngx_sio_hub_t *hub);
static void ngx_sio_hub_give_up(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_dispatch(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e);
static void ngx_sio_hub_dispatch_down(ngx_sio_hub_t *hub,
    ngx_sio_hub_entry_t *e);
static ngx_int_t ngx_sio_hub_fetch(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *re, ngx_sio_hub_buf_t *buf, ngx_sio_hub_entry_t *e);
static ngx_uint_t ngx_sio_hub_sleep(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_return(ngx_sio_hub_t *hub);

static void ngx_sio_hub_wake_handler(ngx_event_t *ev);
static void ngx_sio_hub_wake_later(ngx_sio_hub_t *hub);
static void ngx_sio_hub_waker_handler(ngx_event_t *ev);
static void ngx_sio_hub_wake_sleeping(ngx_sio_hub_t *hub);
static void ngx_sio_hub_wake_waiting(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_wake_slot(ngx_sio_hub_t *hub, ngx_uint_t i);

static void ngx_sio_hub_timer_handler(ngx_event_t *ev);
static void ngx_sio_hub_look_for_stuck(ngx_sio_hub_t *hub);
static void ngx_sio_hub_lose(ngx_sio_hub_t *hub, ngx_uint_t i,
    ngx_sio_hub_stuck_t *stuck);

static void ngx_sio_hub_look_at_siblings(ngx_sio_hub_t *hub);
static void ngx_sio_hub_reap(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t by);
static void ngx_sio_hub_ended(void *data, ngx_sio_hub_addr_t ended);

static void ngx_sio_hub_adopt(ngx_sio_hub_t *hub);
static void ngx_sio_hub_adopter_handler(ngx_event_t *ev);
static ngx_uint_t ngx_sio_hub_is_orphan(void *data, ngx_sio_hub_addr_t owner);
static ngx_uint_t ngx_sio_hub_is_old_self(void *data,
    ngx_sio_hub_addr_t owner);


size_t
ngx_sio_hub_max_entry(size_t zone_size)
{
    return ngx_sio_ring_max_body(
               ngx_sio_mem_region_size(zone_size, NGX_SIO_MEM_RING));
}


ngx_sio_hub_t *
ngx_sio_hub_open(ngx_sio_mem_t *mem, const ngx_sio_hub_ops_t *ops,
    void *data, ngx_cycle_t *cycle)
{
    ngx_sio_hub_t  *hub;

    hub = ngx_calloc(sizeof(ngx_sio_hub_t), cycle->log);
    if (hub == NULL) {
        return NULL;
    }

    hub->mem = mem;
    hub->ops = ops;
    hub->data = data;
    hub->log = cycle->log;

    ngx_queue_init(&hub->backlog);

    ngx_sio_members_init(&hub->members, mem);
    ngx_sio_directory_init(&hub->directory, mem, &hub->members.slots);
    ngx_sio_journal_init(&hub->journal, mem);
    ngx_sio_mem_set_repair(mem, ngx_sio_hub_repair, hub, hub->log);

    if (ngx_sio_hub_init(hub) != NGX_OK) {
        ngx_sio_hub_done(hub);
        return NULL;
    }

    return hub;
}


void
ngx_sio_hub_close(ngx_sio_hub_t *hub)
{
    ngx_sio_hub_retry(hub);

    if (hub->backlog_size) {
        ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                      "socketio zone \"%V\" is full, %uz bytes of an ending "
                      "worker were dropped",
                      ngx_sio_mem_name(hub->mem), hub->backlog_size);
    }

    (void) ngx_sio_members_bury(&hub->members, hub->self, hub->self);

    /* the slot may have a new owner already */

    hub->self = ngx_sio_hub_addr_all();

    hub->wake_all = 1;
    ngx_sio_hub_wake_sleeping(hub);
    ngx_sio_hub_wake_waiting(hub);

    ngx_sio_hub_done(hub);
}


void *
ngx_sio_hub_data(ngx_sio_hub_t *hub)
{
    return hub->data;
}


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

    ngx_sio_hub_retry(hub);

    if (ngx_queue_empty(&hub->backlog)) {
        rc = ngx_sio_hub_commit(hub, &e, parts, nparts, members);

    } else {
        rc = NGX_BUSY;
    }

    if (rc != NGX_BUSY || ngx_sio_hub_lost(hub)) {
        return rc;
    }

    if (members == NULL) {
        rc = ngx_sio_hub_wait(hub, &e, parts, nparts);
    }

    hub->refused = 1;
    ngx_sio_hub_log_full(hub);

    return rc;
}


ngx_uint_t
ngx_sio_hub_unread(ngx_sio_hub_t *hub)
{
    return hub->own > hub->position || !ngx_queue_empty(&hub->backlog);
}


uint64_t
ngx_sio_hub_position(ngx_sio_hub_t *hub)
{
    return hub->position;
}


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

            if (ngx_sio_hub_fetch(hub, &re, &buf, &e) != NGX_OK) {
                rc = NGX_DECLINED;
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


ngx_sio_hub_addr_t
ngx_sio_hub_self(ngx_sio_hub_t *hub)
{
    return hub->self;
}


ngx_uint_t
ngx_sio_hub_alive(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t addr)
{
    return ngx_sio_slots_alive(&hub->members.slots, addr);
}


ngx_uint_t
ngx_sio_hub_count(ngx_sio_hub_t *hub)
{
    ngx_sio_hub_members_t  members;

    ngx_sio_slots_members(&hub->members.slots, &members);

    return ngx_sio_hub_members_count(&members);
}


ngx_sio_directory_t *
ngx_sio_hub_directory(ngx_sio_hub_t *hub)
{
    return &hub->directory;
}


ngx_sio_journal_t *
ngx_sio_hub_journal(ngx_sio_hub_t *hub)
{
    return &hub->journal;
}


uint64_t *
ngx_sio_hub_counters(ngx_sio_hub_t *hub)
{
    return hub->slot->counters;
}


void
ngx_sio_hub_sum(ngx_sio_hub_t *hub, uint64_t *living, uint64_t *total)
{
    ngx_sio_slots_sum(&hub->members.slots, living, total);
}


void
ngx_sio_hub_usage(ngx_sio_hub_t *hub, ngx_sio_hub_usage_t *usage)
{
    uint64_t         head;
    ngx_sio_ring_t  *ring;

    ring = &hub->members.ring;
    head = ngx_sio_ring_head(ring);

    usage->ring_size = ring->size;
    usage->ring_used = head - ngx_sio_slots_slowest(ring->slots, head);

    usage->directory_size = hub->directory.nentries;
    usage->directory_used = ngx_sio_directory_used(&hub->directory);

    usage->journal_size = ngx_sio_journal_size(&hub->journal);
    usage->journal_used = ngx_sio_journal_used(&hub->journal);

    usage->backlog = hub->backlog_size;
}


static ngx_int_t
ngx_sio_hub_init(ngx_sio_hub_t *hub)
{
    ngx_int_t  rc;

    hub->max_body = ngx_sio_hub_max_entry(ngx_sio_mem_size(hub->mem));

    if (ngx_sio_wake_init(&hub->wake, ngx_sio_hub_wake_handler, hub, hub->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_sio_watch_init(&hub->watch, ngx_sio_hub_ended, hub, hub->log);

    ngx_sio_hub_init_event(hub, &hub->reader, ngx_sio_hub_read_handler);
    ngx_sio_hub_init_event(hub, &hub->waker, ngx_sio_hub_waker_handler);
    ngx_sio_hub_init_event(hub, &hub->adopter, ngx_sio_hub_adopter_handler);
    ngx_sio_hub_init_event(hub, &hub->timer, ngx_sio_hub_timer_handler);

    /* the dead may hold the last free slot */

    ngx_sio_hub_reap(hub, ngx_sio_hub_addr_all());

    rc = ngx_sio_members_join(&hub->members, &hub->wake.name, &hub->self);

    if (rc != NGX_OK) {
        if (rc == NGX_BUSY) {
            ngx_log_error(NGX_LOG_EMERG, hub->log, 0,
                          "socketio zone \"%V\" has %d workers already",
                          ngx_sio_mem_name(hub->mem), NGX_SIO_HUB_SLOTS);
        }

        return NGX_ERROR;
    }

    hub->slot = &hub->members.slots.slots[hub->self.slot];
    hub->position = hub->slot->cursor;

    hub->wake_all = 1;
    ngx_sio_hub_wake_later(hub);

    ngx_sio_hub_look_at_siblings(hub);
    ngx_sio_hub_adopt(hub);
    ngx_sio_hub_read(hub);

    /* it must not keep an exiting worker */

    hub->timer.cancelable = 1;
    ngx_add_timer(&hub->timer, NGX_SIO_HUB_TICK);

    return NGX_OK;
}


/* nginx logs the descriptor of an event's connection, so it has to have one */

static void
ngx_sio_hub_init_event(ngx_sio_hub_t *hub, ngx_event_t *ev,
    ngx_event_handler_pt handler)
{
    ev->data = hub->wake.c;
    ev->log = hub->log;
    ev->handler = handler;
}


static void
ngx_sio_hub_done(ngx_sio_hub_t *hub)
{
    if (hub->timer.timer_set) {
        ngx_del_timer(&hub->timer);
    }

    if (hub->adopter.posted) {
        ngx_delete_posted_event(&hub->adopter);
    }

    if (hub->waker.posted) {
        ngx_delete_posted_event(&hub->waker);
    }

    if (hub->reader.posted) {
        ngx_delete_posted_event(&hub->reader);
    }

    ngx_sio_watch_done(&hub->watch);
    ngx_sio_wake_done(&hub->wake);

    ngx_sio_hub_drop_backlog(hub);

    if (hub->body.data) {
        ngx_free(hub->body.data);
    }

    ngx_sio_mem_set_repair(hub->mem, NULL, NULL, hub->log);

    ngx_free(hub);
}


/* slots and ring need none: one store makes each change of theirs */

static void
ngx_sio_hub_repair(void *data)
{
    ngx_sio_hub_t *hub = data;

    ngx_sio_directory_repair(&hub->directory);
    ngx_sio_journal_repair(&hub->journal);
}


static ngx_int_t
ngx_sio_hub_commit(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
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

    if (slots->head->owed) {
        (void) ngx_sio_members_settle(&hub->members, hub->self);
        hub->wake_all = 1;
    }

    e->from_slot = hub->self.slot;
    e->from_generation = hub->self.generation;

    rc = ngx_sio_ring_append(&hub->members.ring, e, parts, nparts);

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

    if (rc == NGX_OK && ngx_sio_hub_concerned(hub, e)) {
        hub->own = e->position + e->size;
        ngx_sio_hub_read(hub);
    }

    if (rc == NGX_OK || laggards) {
        ngx_sio_hub_wake_later(hub);
    }

    return rc;
}


static ngx_uint_t
ngx_sio_hub_concerned(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e)
{
    return e->to_slot == NGX_SIO_HUB_ALL
           || (e->to_slot == hub->self.slot
               && e->to_generation == hub->self.generation);
}


static ngx_uint_t
ngx_sio_hub_lost(ngx_sio_hub_t *hub)
{
    return !ngx_sio_slots_alive(&hub->members.slots, hub->self);
}


/* takes an entry into the backlog; the first one always fits */

static ngx_int_t
ngx_sio_hub_wait(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *e,
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
    hub->backlog_size += size;

    /* room that came since the last attempt would be announced to nobody */

    ngx_sio_hub_retry(hub);

    return NGX_OK;
}


/*
 * Appends what waits, as far as there is room.  The wish to be woken is
 * written before the last attempt: a reader that moves after the attempt
 * sees it.
 */

static void
ngx_sio_hub_retry(ngx_sio_hub_t *hub)
{
    while (!ngx_queue_empty(&hub->backlog)) {

        if (ngx_sio_hub_retry_first(hub) == NGX_OK) {
            continue;
        }

        __atomic_store_n(&hub->slot->waiting, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&hub->members.slots.head->waiting, 1,
                         __ATOMIC_SEQ_CST);

        if (ngx_sio_hub_retry_first(hub) != NGX_OK) {
            return;
        }
    }
}


static ngx_int_t
ngx_sio_hub_retry_first(ngx_sio_hub_t *hub)
{
    ngx_int_t               rc;
    ngx_str_t               part;
    ngx_queue_t            *q;
    ngx_sio_hub_waiting_t  *w;

    q = ngx_queue_head(&hub->backlog);
    w = ngx_queue_data(q, ngx_sio_hub_waiting_t, queue);

    part.len = w->entry.length;
    part.data = (u_char *) (w + 1);

    rc = ngx_sio_hub_commit(hub, &w->entry, &part, 1, NULL);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_queue_remove(q);
    hub->backlog_size -= sizeof(ngx_sio_hub_waiting_t) + part.len;
    ngx_free(w);

    return NGX_OK;
}


static void
ngx_sio_hub_drop_backlog(ngx_sio_hub_t *hub)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&hub->backlog)) {
        q = ngx_queue_head(&hub->backlog);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_sio_hub_waiting_t, queue));
    }

    hub->backlog_size = 0;
}


static void
ngx_sio_hub_log_full(ngx_sio_hub_t *hub)
{
    if (hub->logged && ngx_time() - hub->logged < NGX_SIO_HUB_LOG_PERIOD) {
        return;
    }

    hub->logged = ngx_time();

    ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                  "socketio zone \"%V\" is full: ring of %uz bytes, "
                  "%uz bytes are waiting",
                  ngx_sio_mem_name(hub->mem), hub->members.ring.size,
                  hub->backlog_size);
}


/* in this turn; the flag saves the others a datagram */

static void
ngx_sio_hub_read(ngx_sio_hub_t *hub)
{
    if (hub->reading || hub->reader.posted) {
        return;
    }

    __atomic_store_n(&hub->slot->sleeping, 0, __ATOMIC_RELAXED);

    ngx_post_event(&hub->reader, &ngx_posted_events);
}


static void
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

    ngx_sio_hub_retry(hub);

    if (rc == NGX_DECLINED) {
        rc = ngx_sio_hub_return(hub);
    }

    hub->reading = 0;

    if (rc == NGX_BUSY) {
        /* the timer tries again */
        return;
    }

    if (rc != NGX_DONE || !ngx_sio_hub_sleep(hub)) {
        ngx_post_event(&hub->reader, &ngx_posted_next_events);
    }
}


/*
 *   NGX_OK        there may be more
 *   NGX_DONE      everything was read
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

    while (handled < NGX_SIO_HUB_BATCH
           && skipped < NGX_SIO_HUB_BATCH_SKIP
           && bytes < NGX_SIO_HUB_BATCH_BYTES)
    {
        if (ngx_sio_hub_lost(hub)) {
            return NGX_DECLINED;
        }

        rc = ngx_sio_ring_read(&hub->members.ring, &hub->position, &e);

        if (rc == NGX_OK && ngx_sio_hub_concerned(hub, &e)) {
            rc = ngx_sio_hub_dispatch(hub, &e);
            handled++;
            bytes += e.size;

        } else if (rc == NGX_OK) {
            hub->position = e.position + e.size;
            skipped++;
        }

        if (rc == NGX_DECLINED) {
            ngx_sio_hub_give_up(hub);
            return NGX_DECLINED;
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
ngx_sio_hub_give_up(ngx_sio_hub_t *hub)
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
ngx_sio_hub_dispatch(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *re)
{
    ngx_sio_hub_entry_t  e;

    if (ngx_sio_hub_fetch(hub, re, &hub->body, &e) != NGX_OK) {
        return NGX_DECLINED;
    }

    hub->position = re->position + re->size;

    switch (e.kind) {

    case NGX_SIO_MEMBERS_UP:
        ngx_sio_hub_look_at_siblings(hub);
        break;

    case NGX_SIO_MEMBERS_DOWN:
        ngx_sio_hub_dispatch_down(hub, &e);
        break;

    default:
        hub->ops->entry(hub, &e);
    }

    return NGX_OK;
}


/*
 * Who wrote the entry also adopts; after an orderly end, which the worker
 * wrote itself, the lowest slot does.  Should the adopter die before, its own
 * burial makes up for it, since any orphan is adopted then.
 */

static void
ngx_sio_hub_dispatch_down(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e)
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

    ngx_sio_hub_look_at_siblings(hub);

    if (ngx_sio_hub_addr_equal(e->from, dead)) {
        ngx_sio_slots_members(&hub->members.slots, &members);

        for (i = 0; i < hub->self.slot; i++) {
            if (ngx_sio_hub_members_has(&members, i)) {
                break;
            }
        }

        if (i == hub->self.slot) {
            ngx_sio_hub_adopt(hub);
        }

    } else if (ngx_sio_hub_addr_equal(e->from, hub->self)) {
        ngx_sio_hub_adopt(hub);
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
ngx_sio_hub_fetch(ngx_sio_hub_t *hub, ngx_sio_ring_entry_t *re,
    ngx_sio_hub_buf_t *buf, ngx_sio_hub_entry_t *e)
{
    if (buf->data == NULL
        || buf->size < re->length || buf->size > NGX_SIO_HUB_BUFFER)
    {
        if (buf->data) {
            ngx_free(buf->data);
        }

        buf->size = ngx_max(re->length, NGX_SIO_HUB_BUFFER);
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
ngx_sio_hub_sleep(ngx_sio_hub_t *hub)
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
ngx_sio_hub_return(ngx_sio_hub_t *hub)
{
    size_t              length;
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
    hub->own = hub->position;

    ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                  "worker was too slow for socketio zone \"%V\" and missed "
                  "%uL bytes, %uz waiting bytes were dropped",
                  ngx_sio_mem_name(hub->mem), missed, hub->backlog_size);

    ngx_sio_hub_drop_backlog(hub);

    cursor = 0;

    do {
        rc = ngx_sio_journal_take(&hub->journal, &cursor,
                                  ngx_sio_hub_is_old_self, &old, hub->self,
                                  NULL, &id, &length);
    } while (rc == NGX_OK || rc == NGX_AGAIN);

    hub->told[old.slot] = old.generation;
    (void) ngx_sio_members_bury(&hub->members, old, hub->self);

    hub->wake_all = 1;
    ngx_sio_hub_wake_later(hub);

    hub->ops->lost(hub);

    return NGX_OK;
}


static void
ngx_sio_hub_wake_handler(ngx_event_t *ev)
{
    ngx_sio_hub_t     *hub;
    ngx_connection_t  *c;

    c = ev->data;
    hub = c->data;

    ngx_sio_wake_drain(&hub->wake);

    if (c->close && !hub->draining) {
        hub->draining = 1;
        hub->ops->drain(hub);
    }

    if (c->error && !hub->shutdown) {
        hub->shutdown = 1;
        hub->ops->shutdown(hub);
    }

    ngx_sio_hub_read(hub);
}


static void
ngx_sio_hub_wake_later(ngx_sio_hub_t *hub)
{
    if (!hub->waker.posted) {
        ngx_post_event(&hub->waker, &ngx_posted_events);
    }
}


static void
ngx_sio_hub_waker_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_sio_hub_wake_sleeping(c->data);
}


/* the writing half, see ngx_sio_hub_sleep() */

static void
ngx_sio_hub_wake_sleeping(ngx_sio_hub_t *hub)
{
    ngx_uint_t              i;
    ngx_sio_slot_t         *slot;
    ngx_sio_slots_t        *slots;
    ngx_sio_hub_members_t   wakeups;

    slots = &hub->members.slots;
    wakeups = hub->wakeups;

    if (hub->wake_all) {
        ngx_sio_slots_members(slots, &wakeups);
    }

    hub->wake_all = 0;
    ngx_memzero(&hub->wakeups, sizeof(ngx_sio_hub_members_t));

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    for (i = 0; i < slots->head->high; i++) {

        if (!ngx_sio_hub_members_has(&wakeups, i)) {
            continue;
        }

        if (i == hub->self.slot) {
            if (ngx_sio_ring_head(&hub->members.ring) != hub->position) {
                ngx_sio_hub_read(hub);
            }

            continue;
        }

        slot = &slots->slots[i];

        if (__atomic_load_n(&slot->sleeping, __ATOMIC_RELAXED)
            && __atomic_exchange_n(&slot->sleeping, 0, __ATOMIC_SEQ_CST)
            && ngx_sio_hub_wake_slot(hub, i) == NGX_AGAIN)
        {
            /* the timer tries again */
            __atomic_store_n(&slot->sleeping, 1, __ATOMIC_SEQ_CST);
            ngx_sio_hub_members_add(&hub->wakeups, i);
        }
    }
}


/* after there may be more room: for those whose append did not find room */

static void
ngx_sio_hub_wake_waiting(ngx_sio_hub_t *hub)
{
    ngx_uint_t        i;
    ngx_sio_slot_t   *slot;
    ngx_sio_slots_t  *slots;

    slots = &hub->members.slots;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    if (__atomic_load_n(&slots->head->waiting, __ATOMIC_RELAXED) == 0) {
        return;
    }

    __atomic_store_n(&slots->head->waiting, 0, __ATOMIC_SEQ_CST);

    for (i = 0; i < slots->head->high; i++) {
        slot = &slots->slots[i];

        if (i != hub->self.slot
            && __atomic_load_n(&slot->waiting, __ATOMIC_SEQ_CST)
            && __atomic_exchange_n(&slot->waiting, 0, __ATOMIC_SEQ_CST))
        {
            (void) ngx_sio_hub_wake_slot(hub, i);
        }
    }
}


static ngx_int_t
ngx_sio_hub_wake_slot(ngx_sio_hub_t *hub, ngx_uint_t i)
{
    ngx_sio_slot_t  *slot;

    slot = &hub->members.slots.slots[i];

    if (slot->wake_len > NGX_SIO_SLOTS_WAKE) {
        return NGX_DECLINED;
    }

    return ngx_sio_wake_send(&hub->wake, slot->wake, slot->wake_len);
}


/*
 * Everything here is a net below something quicker: wake-ups that got lost,
 * room that nobody announced, siblings that cannot be watched.
 */

static void
ngx_sio_hub_timer_handler(ngx_event_t *ev)
{
    ngx_sio_hub_t     *hub;
    ngx_connection_t  *c;

    c = ev->data;
    hub = c->data;

    ngx_sio_hub_look_at_siblings(hub);

    if (!ngx_queue_empty(&hub->backlog) || hub->refused) {
        ngx_sio_hub_retry(hub);
        ngx_sio_hub_look_for_stuck(hub);
        hub->refused = 0;
    }

    if (hub->members.slots.head->owed
        && ngx_sio_mem_lock(hub->mem) == NGX_OK)
    {
        (void) ngx_sio_members_settle(&hub->members, hub->self);
        ngx_sio_mem_unlock(hub->mem);
        hub->wake_all = 1;
    }

    if (hub->wake_all || ngx_sio_hub_members_count(&hub->wakeups)) {
        ngx_sio_hub_wake_later(hub);
    }

    if (ngx_sio_ring_head(&hub->members.ring) != hub->position
        || ngx_sio_hub_lost(hub))
    {
        ngx_sio_hub_read(hub);
    }

    ngx_add_timer(ev, NGX_SIO_HUB_TICK);
}


/*
 * Counts ticks of this timer, not time: after the whole machine was stopped
 * everybody gets the same chance to go on.
 */

static void
ngx_sio_hub_look_for_stuck(ngx_sio_hub_t *hub)
{
    uint64_t                cursor;
    ngx_uint_t              i;
    ngx_sio_slot_t         *slot;
    ngx_sio_hub_stuck_t    *stuck;
    ngx_sio_hub_members_t   laggards;

    ngx_memzero(&laggards, sizeof(ngx_sio_hub_members_t));

    if (ngx_sio_mem_lock(hub->mem) != NGX_OK) {
        return;
    }

    (void) ngx_sio_ring_laggards(&hub->members.ring, &laggards);

    ngx_sio_mem_unlock(hub->mem);

    ngx_sio_hub_members_remove(&laggards, hub->self.slot);

    for (i = 0; i < hub->members.slots.head->high; i++) {
        slot = &hub->members.slots.slots[i];
        stuck = &hub->stuck[i];
        cursor = __atomic_load_n(&slot->cursor, __ATOMIC_RELAXED);

        if (!ngx_sio_hub_members_has(&laggards, i)
            || stuck->generation != slot->generation
            || stuck->cursor != cursor)
        {
            stuck->generation = slot->generation;
            stuck->cursor = cursor;
            stuck->ticks = 0;
            continue;
        }

        if (++stuck->ticks >= NGX_SIO_HUB_PATIENCE) {
            ngx_sio_hub_lose(hub, i, stuck);
        }
    }
}


static void
ngx_sio_hub_lose(ngx_sio_hub_t *hub, ngx_uint_t i,
    ngx_sio_hub_stuck_t *stuck)
{
    uint64_t         behind;
    ngx_sio_slot_t  *slot;

    slot = &hub->members.slots.slots[i];
    behind = ngx_sio_ring_head(&hub->members.ring) - stuck->cursor;

    if (ngx_sio_members_lose(&hub->members,
                             ngx_sio_hub_addr(i, stuck->generation),
                             stuck->cursor, hub->self)
        == NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                      "worker process %P did not read socketio zone \"%V\" "
                      "for %d seconds, is %uL bytes behind and declared lost",
                      (ngx_pid_t) slot->pid, ngx_sio_mem_name(hub->mem),
                      NGX_SIO_HUB_PATIENCE * NGX_SIO_HUB_TICK / 1000, behind);

        hub->wake_all = 1;
        ngx_sio_hub_wake_later(hub);
        ngx_sio_hub_wake_waiting(hub);
        ngx_sio_hub_retry(hub);
    }
}


/*
 * Keeps the watches up to date.  Whoever cannot be watched is looked at; that
 * also finds a worker that ended before it could be watched.
 */

static void
ngx_sio_hub_look_at_siblings(ngx_sio_hub_t *hub)
{
    uint32_t             changes, state;
    ngx_uint_t           i;
    ngx_sio_slot_t      *slot;
    ngx_sio_slots_t     *slots;
    ngx_sio_hub_addr_t   addr;

    slots = &hub->members.slots;
    changes = __atomic_load_n(&slots->head->changes, __ATOMIC_SEQ_CST);

    if (changes == hub->changes && !hub->unwatched) {
        return;
    }

    hub->changes = changes;
    hub->unwatched = 0;

    for (i = 0; i < slots->head->high; i++) {
        slot = &slots->slots[i];
        state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
        addr = ngx_sio_hub_addr(i, slot->generation);

        if (state == NGX_SIO_SLOTS_FREE || state == NGX_SIO_SLOTS_GONE) {
            ngx_sio_watch_remove(&hub->watch, i);
            continue;
        }

        if (slot->pid == hub->members.slots.pid
            || ngx_sio_watch_has(&hub->watch, addr))
        {
            continue;
        }

        if (ngx_sio_watch_add(&hub->watch, addr, slot->pid) != NGX_OK) {
            hub->unwatched = 1;
        }

        if (!ngx_sio_slots_running(slots, i)) {
            ngx_sio_watch_remove(&hub->watch, i);
            ngx_sio_hub_ended(hub, addr);
        }
    }
}


static void
ngx_sio_hub_reap(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t by)
{
    ngx_uint_t        i;
    ngx_sio_slots_t  *slots;

    slots = &hub->members.slots;

    for (i = 0; i < slots->head->high; i++) {

        if (slots->slots[i].state != NGX_SIO_SLOTS_FREE
            && !ngx_sio_slots_running(slots, i))
        {
            (void) ngx_sio_members_bury(&hub->members,
                          ngx_sio_hub_addr(i, slots->slots[i].generation), by);
        }
    }
}


static void
ngx_sio_hub_ended(void *data, ngx_sio_hub_addr_t ended)
{
    ngx_sio_hub_t *hub = data;

    if (ngx_sio_members_bury(&hub->members, ended, hub->self) != NGX_OK) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, hub->log, 0,
                  "worker process %P in slot %ui of socketio zone \"%V\" "
                  "has ended without notice",
                  (ngx_pid_t) hub->members.slots.slots[ended.slot].pid,
                  (ngx_uint_t) ended.slot, ngx_sio_mem_name(hub->mem));

    hub->wake_all = 1;
    ngx_sio_hub_wake_later(hub);
    ngx_sio_hub_wake_waiting(hub);
}


/* a walk begins anew: records before its place may be orphans now */

static void
ngx_sio_hub_adopt(ngx_sio_hub_t *hub)
{
    hub->walk = 0;

    if (!hub->adopter.posted) {
        ngx_post_event(&hub->adopter, &ngx_posted_next_events);
    }
}


static void
ngx_sio_hub_adopter_handler(ngx_event_t *ev)
{
    u_char             buf[NGX_SIO_JOURNAL_MAX];
    uint64_t           id;
    ngx_int_t          rc;
    ngx_str_t          record;
    ngx_uint_t         n;
    ngx_sio_hub_t     *hub;
    ngx_connection_t  *c;

    c = ev->data;
    hub = c->data;

    record.data = buf;

    for (n = 0; n < NGX_SIO_HUB_ORPHANS; n++) {

        rc = ngx_sio_journal_take(&hub->journal, &hub->walk,
                                  ngx_sio_hub_is_orphan, hub, hub->self,
                                  buf, &id, &record.len);

        if (rc == NGX_OK) {
            hub->ops->orphan(hub, id, &record);

        } else if (rc != NGX_AGAIN) {
            return;
        }
    }

    if (!ev->posted) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


/* a lost worker keeps its records, a dead one until its end is in the log */

static ngx_uint_t
ngx_sio_hub_is_orphan(void *data, ngx_sio_hub_addr_t owner)
{
    ngx_sio_hub_t *hub = data;

    return !ngx_sio_slots_exists(&hub->members.slots, owner);
}


static ngx_uint_t
ngx_sio_hub_is_old_self(void *data, ngx_sio_hub_addr_t owner)
{
    return ngx_sio_hub_addr_equal(owner, *(ngx_sio_hub_addr_t *) data);
}
