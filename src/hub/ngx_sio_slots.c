
#include "ngx_sio_slots.h"


/* "12345 (any name) S 1 ...", of which the 22nd value is the start */
#define NGX_SIO_SLOTS_STAT       1024
#define NGX_SIO_SLOTS_STAT_PID   (sizeof("/proc//stat") + NGX_INT64_LEN)


static uint64_t ngx_sio_slots_gauge(ngx_sio_slot_t *slot, ngx_uint_t n);
static void ngx_sio_slots_retire(ngx_sio_slots_t *s, ngx_sio_slot_t *slot);
static ngx_int_t ngx_sio_slots_process(ngx_pid_t pid, uint64_t *started);


void
ngx_sio_slots_init(ngx_sio_slots_t *s, ngx_sio_mem_t *mem)
{
    size_t  size;

    s->head = ngx_sio_mem_region(mem, NGX_SIO_MEM_SLOTS, &size);
    s->slots = (ngx_sio_slot_t *) (s->head + 1);

    s->pid = ngx_getpid();

    if (ngx_sio_slots_process(s->pid, &s->started) != NGX_OK) {
        s->started = 0;
    }
}


ngx_int_t
ngx_sio_slots_claim(ngx_sio_slots_t *s, uint64_t cursor, ngx_str_t *wake,
    ngx_sio_hub_addr_t *addr)
{
    ngx_uint_t       i;
    ngx_sio_slot_t  *slot;

    for (i = 0; i < NGX_SIO_HUB_SLOTS; i++) {
        if (s->slots[i].state == NGX_SIO_SLOTS_FREE) {
            break;
        }
    }

    if (i == NGX_SIO_HUB_SLOTS) {
        return NGX_BUSY;
    }

    slot = &s->slots[i];

    s->head->generation++;

    if (s->head->generation == 0) {
        s->head->generation = 1;
    }

    slot->generation = s->head->generation;
    slot->pid = s->pid;
    slot->started = s->started;
    slot->cursor = cursor;
    slot->sleeping = 0;
    slot->waiting = 0;
    slot->backlog = 0;

    slot->wake_len = ngx_min(wake->len, NGX_SIO_SLOTS_WAKE);
    ngx_memcpy(slot->wake, wake->data, slot->wake_len);

    ngx_memzero(slot->gauges, sizeof(slot->gauges));
    slot->taken = 0;
    slot->given = 0;
    slot->held = 0;
    ngx_memzero(slot->named, sizeof(slot->named));
    ngx_memzero(slot->counters, sizeof(slot->counters));

    if (i >= s->head->high) {
        s->head->high = i + 1;
    }

    if (s->head->since == 0) {
        s->head->since = time(NULL);
    }

    *addr = ngx_sio_hub_addr(i, slot->generation);

    ngx_sio_slots_set_state(s, i, NGX_SIO_SLOTS_LIVE);

    return NGX_OK;
}


void
ngx_sio_slots_set_state(ngx_sio_slots_t *s, ngx_uint_t i,
    ngx_sio_slots_state_e state)
{
    ngx_sio_slot_t  *slot;

    slot = &s->slots[i];

    if (state == NGX_SIO_SLOTS_FREE) {
        ngx_sio_slots_retire(s, slot);
    }

    if (state == NGX_SIO_SLOTS_LOSING || state == NGX_SIO_SLOTS_GONE) {
        s->head->owed = 1;
    }

    ngx_sio_mem_commit(&slot->state, state);

    __atomic_fetch_add(&s->head->changes, 1, __ATOMIC_SEQ_CST);
}


ngx_uint_t
ngx_sio_slots_alive(ngx_sio_slots_t *s, ngx_sio_hub_addr_t addr)
{
    ngx_sio_slot_t  *slot;

    if (addr.slot >= NGX_SIO_HUB_SLOTS) {
        return 0;
    }

    slot = &s->slots[addr.slot];

    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)
                                                       == NGX_SIO_SLOTS_LIVE
           && __atomic_load_n(&slot->generation, __ATOMIC_RELAXED)
                                                          == addr.generation;
}


ngx_uint_t
ngx_sio_slots_exists(ngx_sio_slots_t *s, ngx_sio_hub_addr_t addr)
{
    ngx_sio_slot_t  *slot;

    if (addr.slot >= NGX_SIO_HUB_SLOTS) {
        return 0;
    }

    slot = &s->slots[addr.slot];

    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)
                                                       != NGX_SIO_SLOTS_FREE
           && __atomic_load_n(&slot->generation, __ATOMIC_RELAXED)
                                                          == addr.generation;
}


void
ngx_sio_slots_members(ngx_sio_slots_t *s, ngx_sio_hub_members_t *members)
{
    ngx_uint_t  i;

    ngx_memzero(members, sizeof(ngx_sio_hub_members_t));

    for (i = 0; i < s->head->high; i++) {
        if (__atomic_load_n(&s->slots[i].state, __ATOMIC_ACQUIRE)
            == NGX_SIO_SLOTS_LIVE)
        {
            ngx_sio_hub_members_add(members, i);
        }
    }
}


uint64_t
ngx_sio_slots_slowest(ngx_sio_slots_t *s, uint64_t head)
{
    uint64_t    cursor, slowest;
    ngx_uint_t  i;

    slowest = head;

    for (i = 0; i < s->head->high; i++) {

        if (s->slots[i].state != NGX_SIO_SLOTS_LIVE) {
            continue;
        }

        cursor = __atomic_load_n(&s->slots[i].cursor, __ATOMIC_ACQUIRE);

        if (cursor < slowest) {
            slowest = cursor;
        }
    }

    return slowest;
}


ngx_uint_t
ngx_sio_slots_running(ngx_sio_slots_t *s, ngx_uint_t i)
{
    uint64_t         started;
    ngx_int_t        rc;
    ngx_sio_slot_t  *slot;

    slot = &s->slots[i];

    rc = ngx_sio_slots_process(slot->pid, &started);

    if (rc == NGX_OK) {
        return slot->started == 0 || slot->started == started;
    }

    if (rc == NGX_DONE) {
        return 0;
    }

    /* no /proc, or one that hides other users' processes */

    return kill(slot->pid, 0) == 0 || ngx_errno == EPERM;
}


void
ngx_sio_slots_inherit(ngx_sio_slots_t *s, ngx_uint_t from, ngx_uint_t to)
{
    ngx_sio_slot_t  *old, *new;

    old = &s->slots[from];
    new = &s->slots[to];

    new->held = old->held;
    ngx_memcpy(new->named, old->named, sizeof(old->named));
    ngx_memcpy(new->gauges, old->gauges, sizeof(old->gauges));
    new->taken = old->taken;
    new->given = old->given;

    ngx_memzero(old->gauges, sizeof(old->gauges));
    old->taken = 0;
    old->given = 0;
    ngx_memzero(old->named, sizeof(old->named));
    old->held = 0;
}


/* What it comes to is written down first, so that it can be done twice. */

void
ngx_sio_slots_give(ngx_sio_slots_t *s, ngx_uint_t from, ngx_uint_t to,
    uint64_t head)
{
    s->head->giver = from;
    s->head->taker = to;
    s->head->given = s->slots[from].given + 1;
    s->head->taken = s->slots[to].taken + 1;

    ngx_sio_mem_commit(&s->head->giving, head + 1);
}


void
ngx_sio_slots_given(ngx_sio_slots_t *s, uint64_t head)
{
    if (s->head->giving == 0) {
        return;
    }

    if (s->head->giving != head + 1) {
        s->slots[s->head->giver].given = s->head->given;
        s->slots[s->head->taker].taken = s->head->taken;
    }

    ngx_sio_mem_commit(&s->head->giving, 0);
}


void
ngx_sio_slots_sum(ngx_sio_slots_t *s, uint64_t *gauges, uint64_t *counters,
    uint64_t *dropped)
{
    ngx_uint_t       i, n, valid;
    ngx_sio_slot_t  *slot;

    valid = s->head->retired & 1;

    ngx_memcpy(counters, s->head->totals[valid], sizeof(slot->counters));
    ngx_memcpy(dropped, s->head->dropped[valid], sizeof(slot->gauges));
    ngx_memzero(gauges, sizeof(slot->gauges));

    for (i = 0; i < s->head->high; i++) {
        slot = &s->slots[i];

        if (slot->state == NGX_SIO_SLOTS_FREE) {
            continue;
        }

        for (n = 0; n < NGX_SIO_SLOTS_COUNTERS; n++) {
            counters[n] += __atomic_load_n(&slot->counters[n],
                                           __ATOMIC_RELAXED);
        }

        for (n = 0; n < NGX_SIO_SLOTS_GAUGES; n++) {
            if (ngx_sio_slots_counts(s, i)) {
                gauges[n] += ngx_sio_slots_gauge(slot, n);
            }
        }
    }
}


ngx_uint_t
ngx_sio_slots_counts(ngx_sio_slots_t *s, ngx_uint_t i)
{
    uint32_t  state;

    state = s->slots[i].state;

    return state != NGX_SIO_SLOTS_FREE && state != NGX_SIO_SLOTS_GONE;
}


void
ngx_sio_slots_repair(ngx_sio_slots_t *s, uint64_t head)
{
    ngx_uint_t       i;
    ngx_sio_slot_t  *slot;

    ngx_sio_slots_given(s, head);

    for (i = 0; i < s->head->high; i++) {
        slot = &s->slots[i];

        if (slot->state != NGX_SIO_SLOTS_FREE
            && slot->generation == s->head->retired >> 1)
        {
            ngx_memzero(slot->counters, sizeof(slot->counters));
            ngx_memzero(slot->gauges, sizeof(slot->gauges));
            slot->taken = 0;
            slot->given = 0;
        }
    }
}


/* the sum may be less than one of its parts, which wraps, and is right */

static uint64_t
ngx_sio_slots_gauge(ngx_sio_slot_t *slot, ngx_uint_t n)
{
    uint64_t  gauge;

    gauge = __atomic_load_n(&slot->gauges[n], __ATOMIC_RELAXED);

    if (n == NGX_SIO_SLOTS_GIVEN) {
        gauge += slot->taken - slot->given;
    }

    return gauge;
}


static void
ngx_sio_slots_retire(ngx_sio_slots_t *s, ngx_sio_slot_t *slot)
{
    uint64_t    next;
    ngx_uint_t  n;

    next = !(s->head->retired & 1);

    for (n = 0; n < NGX_SIO_SLOTS_COUNTERS; n++) {
        s->head->totals[next][n] = s->head->totals[!next][n]
                                   + slot->counters[n];
    }

    for (n = 0; n < NGX_SIO_SLOTS_GAUGES; n++) {
        s->head->dropped[next][n] = s->head->dropped[!next][n]
                                    + ngx_sio_slots_gauge(slot, n);
    }

    ngx_sio_mem_commit(&s->head->retired,
                       (uint64_t) slot->generation << 1 | next);
}


/*
 *   NGX_OK        running; *started is filled
 *   NGX_DONE      a zombie
 *   NGX_DECLINED  no answer
 */

static ngx_int_t
ngx_sio_slots_process(ngx_pid_t pid, uint64_t *started)
{
    int          fd, i;
    char         name[NGX_SIO_SLOTS_STAT_PID], buf[NGX_SIO_SLOTS_STAT], *p;
    ssize_t      n;

    (void) snprintf(name, sizeof(name), "/proc/%ld/stat", (long) pid);

    fd = open(name, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return NGX_DECLINED;
    }

    n = read(fd, buf, sizeof(buf) - 1);

    (void) close(fd);

    if (n <= 0) {
        return NGX_DECLINED;
    }

    buf[n] = '\0';

    /* the name may contain anything, so begin behind it */

    p = strrchr(buf, ')');
    if (p == NULL || p[1] != ' ') {
        return NGX_DECLINED;
    }

    p += 2;

    if (*p == 'Z' || *p == 'X') {
        return NGX_DONE;
    }

    for (i = 3; i < 22; i++) {
        p = strchr(p, ' ');
        if (p == NULL) {
            return NGX_DECLINED;
        }

        p++;
    }

    *started = strtoull(p, NULL, 10);

    return NGX_OK;
}
