
#include "ngx_sio_hub_private.h"


static void ngx_sio_hub_stat_workers(ngx_sio_hub_t *hub,
    ngx_sio_hub_stat_t *stat);
static void ngx_sio_hub_stat_tables(ngx_sio_hub_t *hub,
    ngx_sio_hub_stat_t *stat);
static ngx_int_t ngx_sio_hub_init(ngx_sio_hub_t *hub);
static void ngx_sio_hub_init_event(ngx_sio_hub_t *hub, ngx_event_t *ev,
    ngx_event_handler_pt handler);
static void ngx_sio_hub_done(ngx_sio_hub_t *hub);
static void ngx_sio_hub_repair(void *data);
static void ngx_sio_hub_wake_handler(ngx_event_t *ev);
static void ngx_sio_hub_waker_handler(ngx_event_t *ev);
static void ngx_sio_hub_wake_sleeping(ngx_sio_hub_t *hub);
static ngx_int_t ngx_sio_hub_wake_slot(ngx_sio_hub_t *hub, ngx_uint_t i);
static void ngx_sio_hub_timer_handler(ngx_event_t *ev);


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
    ngx_queue_init(&hub->appended);

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
    ngx_sio_hub_append_retry(hub);

    if (hub->backlog_size) {
        ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                      "socketio zone \"%V\" is full, %uz bytes of an ending "
                      "worker were dropped",
                      ngx_sio_mem_name(hub->mem), hub->backlog_size);
    }

    (void) ngx_sio_members_bury(&hub->members, hub->self, hub->self);

    /* the slot may have a new owner already */

    hub->self = ngx_sio_hub_addr_all();
    hub->slot = NULL;

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


ngx_uint_t
ngx_sio_hub_waiting(ngx_sio_hub_t *hub)
{
    return !ngx_queue_empty(&hub->backlog);
}


ngx_uint_t
ngx_sio_hub_owing(ngx_sio_hub_t *hub)
{
    return hub->owing > 0;
}


ngx_uint_t
ngx_sio_hub_owed_unread(ngx_sio_hub_t *hub)
{
    return hub->owed > hub->position || hub->owing > 0;
}


uint64_t
ngx_sio_hub_position(ngx_sio_hub_t *hub)
{
    return hub->position;
}


ngx_uint_t
ngx_sio_hub_behind(ngx_sio_hub_t *hub)
{
    return ngx_sio_ring_head(&hub->members.ring) != hub->position;
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


ngx_sio_bridge_t *
ngx_sio_hub_bridge(ngx_sio_hub_t *hub)
{
    return &hub->bridge;
}


uint64_t *
ngx_sio_hub_gauges(ngx_sio_hub_t *hub)
{
    return hub->slot->gauges;
}


uint64_t
ngx_sio_hub_balance(ngx_sio_hub_t *hub)
{
    return hub->slot->taken - hub->slot->given;
}


uint64_t *
ngx_sio_hub_counters(ngx_sio_hub_t *hub)
{
    return hub->slot->counters;
}


uint32_t *
ngx_sio_hub_named(ngx_sio_hub_t *hub)
{
    return hub->slot->named;
}


ngx_uint_t
ngx_sio_hub_name_hold(ngx_sio_hub_t *hub, ngx_str_t *name)
{
    return ngx_sio_names_hold(hub->mem, &hub->members.slots, hub->self.slot,
                              name);
}


void
ngx_sio_hub_name_release(ngx_sio_hub_t *hub, ngx_uint_t index)
{
    ngx_sio_names_release(&hub->members.slots, hub->self.slot, index);
}


/* all of it under the lock, so that no number is seen to go back */

ngx_int_t
ngx_sio_hub_stat(ngx_sio_hub_t *hub, ngx_sio_hub_stat_t *stat)
{
    ngx_sio_slots_t  *slots;

    slots = &hub->members.slots;

    if (ngx_sio_mem_lock(hub->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    stat->since = slots->head->since;

    ngx_sio_slots_sum(slots, stat->gauges, stat->counters, stat->dropped);

    stat->held = ngx_sio_names_sum(slots, stat->named);
    ngx_memcpy(stat->names, slots->head->names, sizeof(stat->names));

    ngx_sio_hub_stat_workers(hub, stat);
    ngx_sio_hub_stat_tables(hub, stat);

    ngx_sio_mem_unlock(hub->mem);

    return NGX_OK;
}


static void
ngx_sio_hub_stat_workers(ngx_sio_hub_t *hub, ngx_sio_hub_stat_t *stat)
{
    uint64_t               head;
    ngx_uint_t             i;
    ngx_sio_slot_t        *slot;
    ngx_sio_slots_t       *slots;
    ngx_sio_hub_worker_t  *worker;

    slots = &hub->members.slots;
    head = ngx_sio_ring_head(&hub->members.ring);

    stat->nworkers = 0;

    for (i = 0; i < slots->head->high; i++) {

        if (!ngx_sio_slots_counts(slots, i)) {
            continue;
        }

        slot = &slots->slots[i];
        worker = &stat->workers[stat->nworkers++];

        worker->slot = i;
        worker->lag = head - __atomic_load_n(&slot->cursor, __ATOMIC_RELAXED);
        worker->backlog = __atomic_load_n(&slot->backlog, __ATOMIC_RELAXED);
        worker->lost = (slot->state != NGX_SIO_SLOTS_LIVE);
    }
}


static void
ngx_sio_hub_stat_tables(ngx_sio_hub_t *hub, ngx_sio_hub_stat_t *stat)
{
    uint64_t              head;
    ngx_sio_ring_t       *ring;
    ngx_sio_hub_table_t  *table;

    ring = &hub->members.ring;
    head = ngx_sio_ring_head(ring);

    table = &stat->tables[NGX_SIO_HUB_LOG];
    table->size = ring->size;
    table->used = head - ngx_sio_slots_slowest(ring->slots, head);

    table = &stat->tables[NGX_SIO_HUB_DIRECTORY];
    table->size = hub->directory.nentries * NGX_SIO_DIRECTORY_ENTRY;
    table->used = ngx_sio_directory_used(&hub->directory)
                  * NGX_SIO_DIRECTORY_ENTRY;

    table = &stat->tables[NGX_SIO_HUB_JOURNAL];
    table->size = ngx_sio_journal_size(&hub->journal);
    table->used = ngx_sio_journal_used(&hub->journal);

    table = &stat->tables[NGX_SIO_HUB_MEMBERS];
    table->size = NGX_SIO_HUB_SLOTS * sizeof(ngx_sio_slot_t);
    table->used = stat->nworkers * sizeof(ngx_sio_slot_t);
}


ngx_uint_t
ngx_sio_hub_lost(ngx_sio_hub_t *hub)
{
    return !ngx_sio_slots_alive(&hub->members.slots, hub->self);
}


void
ngx_sio_hub_wake_later(ngx_sio_hub_t *hub)
{
    if (!hub->waker.posted) {
        ngx_post_event(&hub->waker, &ngx_posted_events);
    }
}


/* after there may be more room: for those whose append did not find room */

void
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
ngx_sio_hub_init(ngx_sio_hub_t *hub)
{
    ngx_int_t  rc;

    hub->max_body = ngx_sio_hub_max_entry(ngx_sio_mem_size(hub->mem));

    if (ngx_sio_wake_init(&hub->wake, ngx_sio_hub_wake_handler, hub, hub->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_sio_watch_init(&hub->watch, ngx_sio_hub_siblings_ended, hub, hub->log);

    ngx_sio_hub_init_event(hub, &hub->reader, ngx_sio_hub_read_handler);
    ngx_sio_hub_init_event(hub, &hub->waker, ngx_sio_hub_waker_handler);
    ngx_sio_hub_init_event(hub, &hub->adopter, ngx_sio_hub_siblings_adopter);
    ngx_sio_hub_init_event(hub, &hub->room, ngx_sio_hub_append_room);
    ngx_sio_hub_init_event(hub, &hub->timer, ngx_sio_hub_timer_handler);

    if (ngx_sio_bridge_init(&hub->bridge, hub->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the dead may hold the last free slot */

    ngx_sio_hub_siblings_reap(hub, ngx_sio_hub_addr_all());

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

    ngx_sio_hub_siblings_look(hub);
    ngx_sio_hub_siblings_adopt(hub);
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
    ngx_sio_hub_append_drop(hub);

    if (hub->timer.timer_set) {
        ngx_del_timer(&hub->timer);
    }

    if (hub->adopter.posted) {
        ngx_delete_posted_event(&hub->adopter);
    }

    if (hub->room.posted) {
        ngx_delete_posted_event(&hub->room);
    }

    if (hub->waker.posted) {
        ngx_delete_posted_event(&hub->waker);
    }

    if (hub->reader.posted) {
        ngx_delete_posted_event(&hub->reader);
    }

    ngx_sio_watch_done(&hub->watch);
    ngx_sio_wake_done(&hub->wake);

    if (hub->body.data) {
        ngx_free(hub->body.data);
    }

    if (hub->shipped.data) {
        ngx_free(hub->shipped.data);
    }

    ngx_sio_mem_set_repair(hub->mem, NULL, NULL, hub->log);

    ngx_free(hub);
}


/* ring and peers need none: one store makes each change of theirs */

static void
ngx_sio_hub_repair(void *data)
{
    ngx_sio_hub_t *hub = data;

    ngx_sio_slots_repair(&hub->members.slots,
                         ngx_sio_ring_head(&hub->members.ring));
    ngx_sio_directory_repair(&hub->directory);
    ngx_sio_journal_repair(&hub->journal);
    ngx_sio_hub_read_recount(hub);
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
ngx_sio_hub_waker_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_sio_hub_wake_sleeping(c->data);
}


/* the writing half, see ngx_sio_hub_read_sleep() */

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

    ngx_sio_hub_siblings_look(hub);

    if (!ngx_queue_empty(&hub->backlog) || hub->refused) {
        ngx_sio_hub_append_retry(hub);
        ngx_sio_hub_siblings_stuck(hub);
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
