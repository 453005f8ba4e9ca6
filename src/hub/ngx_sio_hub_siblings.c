
#include "ngx_sio_hub_private.h"


/* ticks in which somebody waited for a reader that did not move */
#define NGX_SIO_HUB_SIBLINGS_PATIENCE   10

/* steps of a walk over the journal, or the directory, in one turn */
#define NGX_SIO_HUB_SIBLINGS_STEPS      16


static void ngx_sio_hub_siblings_lose(ngx_sio_hub_t *hub, ngx_uint_t i,
    ngx_sio_hub_stuck_t *stuck);
static ngx_uint_t ngx_sio_hub_siblings_orphan(void *data,
    ngx_sio_hub_addr_t owner);


/*
 * Keeps the watches up to date.  Whoever cannot be watched is looked at; that
 * also finds a worker that ended before it could be watched.
 */

void
ngx_sio_hub_siblings_look(ngx_sio_hub_t *hub)
{
    uint32_t             changes, state;
    ngx_pid_t            pid;
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
        pid = slot->pid;

        __atomic_thread_fence(__ATOMIC_SEQ_CST);

        if (__atomic_load_n(&slots->head->changes, __ATOMIC_SEQ_CST)
            != changes)
        {
            /* the slot of a dead one may be half its next owner's */
            hub->unwatched = 1;
            return;
        }

        if (state == NGX_SIO_SLOTS_FREE || state == NGX_SIO_SLOTS_GONE) {
            ngx_sio_watch_remove(&hub->watch, i);
            continue;
        }

        if (pid == hub->members.slots.pid
            || ngx_sio_watch_has(&hub->watch, addr))
        {
            continue;
        }

        if (ngx_sio_watch_add(&hub->watch, addr, pid) != NGX_OK) {
            hub->unwatched = 1;
        }

        if (!ngx_sio_slots_running(slots, i)) {
            ngx_sio_watch_remove(&hub->watch, i);
            ngx_sio_hub_siblings_ended(hub, addr);

            changes = __atomic_load_n(&slots->head->changes, __ATOMIC_SEQ_CST);
        }
    }
}


void
ngx_sio_hub_siblings_reap(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t by)
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


void
ngx_sio_hub_siblings_ended(void *data, ngx_sio_hub_addr_t ended)
{
    ngx_sio_hub_t *hub = data;

    ngx_pid_t  pid;

    pid = hub->members.slots.slots[ended.slot].pid;

    if (ngx_sio_members_bury(&hub->members, ended, hub->self) != NGX_OK) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, hub->log, 0,
                  "worker process %P in slot %ui of socketio zone \"%V\" "
                  "has ended without notice",
                  pid, (ngx_uint_t) ended.slot, ngx_sio_mem_name(hub->mem));

    hub->wake_all = 1;
    ngx_sio_hub_wake_later(hub);
    ngx_sio_hub_wake_waiting(hub);
}


/*
 * Counts ticks of this timer, not time: after the whole machine was stopped
 * everybody gets the same chance to go on.
 */

void
ngx_sio_hub_siblings_stuck(ngx_sio_hub_t *hub)
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

        if (++stuck->ticks >= NGX_SIO_HUB_SIBLINGS_PATIENCE) {
            ngx_sio_hub_siblings_lose(hub, i, stuck);
        }
    }
}


/* a walk begins anew: records before its place may be orphans now */

void
ngx_sio_hub_siblings_adopt(ngx_sio_hub_t *hub)
{
    hub->walk = 0;
    hub->sweep = 0;

    if (!hub->adopter.posted) {
        ngx_post_event(&hub->adopter, &ngx_posted_next_events);
    }
}


void
ngx_sio_hub_siblings_adopter(ngx_event_t *ev)
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

    for (n = 0; n < NGX_SIO_HUB_SIBLINGS_STEPS; n++) {

        rc = ngx_sio_journal_take(&hub->journal, &hub->walk,
                                  ngx_sio_hub_siblings_orphan, hub, hub->self,
                                  buf, &id, &record.len);

        if (rc == NGX_OK) {
            hub->ops->orphan(hub, id, &record);

        } else if (rc != NGX_AGAIN
                   && ngx_sio_directory_sweep(&hub->directory, &hub->sweep)
                      != NGX_AGAIN)
        {
            return;
        }
    }

    if (!ev->posted) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


static void
ngx_sio_hub_siblings_lose(ngx_sio_hub_t *hub, ngx_uint_t i,
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
                      NGX_SIO_HUB_SIBLINGS_PATIENCE * NGX_SIO_HUB_TICK / 1000,
                      behind);

        hub->wake_all = 1;
        ngx_sio_hub_wake_later(hub);
        ngx_sio_hub_wake_waiting(hub);
        ngx_sio_hub_append_retry(hub);
    }
}


/* a lost worker keeps its records, a dead one until its end is in the log */

static ngx_uint_t
ngx_sio_hub_siblings_orphan(void *data, ngx_sio_hub_addr_t owner)
{
    ngx_sio_hub_t *hub = data;

    return !ngx_sio_slots_exists(&hub->members.slots, owner);
}
