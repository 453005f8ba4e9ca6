
#include "ngx_sio_members.h"


static ngx_int_t ngx_sio_members_claim(ngx_sio_members_t *m,
    ngx_str_t *wake, ngx_sio_hub_addr_t *addr);
static ngx_int_t ngx_sio_members_append(ngx_sio_members_t *m,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static ngx_int_t ngx_sio_members_down(ngx_sio_members_t *m, ngx_uint_t i,
    ngx_sio_hub_addr_t by);


void
ngx_sio_members_init(ngx_sio_members_t *m, ngx_sio_mem_t *mem)
{
    m->mem = mem;

    ngx_sio_slots_init(&m->slots, mem);
    ngx_sio_ring_init(&m->ring, mem, &m->slots);
}


ngx_int_t
ngx_sio_members_join(ngx_sio_members_t *m, ngx_str_t *wake,
    ngx_sio_hub_addr_t *addr)
{
    ngx_int_t  rc;

    if (ngx_sio_mem_lock(m->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_sio_members_claim(m, wake, addr);

    ngx_sio_mem_unlock(m->mem);

    return rc;
}


ngx_int_t
ngx_sio_members_return(ngx_sio_members_t *m, ngx_str_t *wake,
    ngx_sio_hub_addr_t old, ngx_sio_hub_addr_t *addr)
{
    ngx_int_t  rc;

    if (ngx_sio_mem_lock(m->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_sio_members_claim(m, wake, addr);

    if (rc == NGX_OK && ngx_sio_slots_exists(&m->slots, old)) {
        ngx_sio_slots_inherit(&m->slots, old.slot, addr->slot);
    }

    ngx_sio_mem_unlock(m->mem);

    return rc;
}


ngx_int_t
ngx_sio_members_bury(ngx_sio_members_t *m, ngx_sio_hub_addr_t dead,
    ngx_sio_hub_addr_t by)
{
    ngx_int_t  rc;

    if (ngx_sio_mem_lock(m->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    if (ngx_sio_slots_exists(&m->slots, dead)
        && m->slots.slots[dead.slot].state != NGX_SIO_SLOTS_GONE)
    {
        ngx_sio_slots_set_state(&m->slots, dead.slot, NGX_SIO_SLOTS_GONE);
        (void) ngx_sio_members_settle(m, by);
        rc = NGX_OK;
    }

    ngx_sio_mem_unlock(m->mem);

    return rc;
}


ngx_int_t
ngx_sio_members_lose(ngx_sio_members_t *m, ngx_sio_hub_addr_t slow,
    uint64_t cursor, ngx_sio_hub_addr_t by)
{
    ngx_int_t  rc;

    if (ngx_sio_mem_lock(m->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    if (ngx_sio_slots_alive(&m->slots, slow)
        && __atomic_load_n(&m->slots.slots[slow.slot].cursor,
                           __ATOMIC_ACQUIRE) == cursor)
    {
        ngx_sio_slots_set_state(&m->slots, slow.slot, NGX_SIO_SLOTS_LOSING);
        (void) ngx_sio_members_settle(m, by);
        rc = NGX_OK;
    }

    ngx_sio_mem_unlock(m->mem);

    return rc;
}


ngx_int_t
ngx_sio_members_settle(ngx_sio_members_t *m, ngx_sio_hub_addr_t by)
{
    uint32_t    state;
    ngx_uint_t  i;

    if (m->slots.head->owed == 0) {
        return NGX_OK;
    }

    for (i = 0; i < m->slots.head->high; i++) {
        state = m->slots.slots[i].state;

        if (state != NGX_SIO_SLOTS_LOSING && state != NGX_SIO_SLOTS_GONE) {
            continue;
        }

        if (ngx_sio_members_down(m, i, by) != NGX_OK) {
            return NGX_BUSY;
        }

        ngx_sio_slots_set_state(&m->slots, i,
                                state == NGX_SIO_SLOTS_LOSING
                                ? NGX_SIO_SLOTS_LOST : NGX_SIO_SLOTS_FREE);
    }

    m->slots.head->owed = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_members_claim(ngx_sio_members_t *m, ngx_str_t *wake,
    ngx_sio_hub_addr_t *addr)
{
    ngx_str_t  body;

    if (ngx_sio_slots_claim(&m->slots, ngx_sio_ring_head(&m->ring), wake,
                            addr)
        != NGX_OK)
    {
        return NGX_BUSY;
    }

    ngx_str_null(&body);

    (void) ngx_sio_members_append(m, NGX_SIO_MEMBERS_UP, *addr, &body);

    return NGX_OK;
}


static ngx_int_t
ngx_sio_members_down(ngx_sio_members_t *m, ngx_uint_t i,
    ngx_sio_hub_addr_t by)
{
    uint64_t   word;
    ngx_str_t  body;

    word = ngx_sio_hub_addr_pack(
               ngx_sio_hub_addr(i, m->slots.slots[i].generation));

    body.len = sizeof(uint64_t);
    body.data = (u_char *) &word;

    return ngx_sio_members_append(m, NGX_SIO_MEMBERS_DOWN, by, &body);
}


static ngx_int_t
ngx_sio_members_append(ngx_sio_members_t *m, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    ngx_sio_ring_entry_t  e;

    ngx_memzero(&e, sizeof(ngx_sio_ring_entry_t));

    e.length = body->len;
    e.kind = kind;
    e.from_slot = from.slot;
    e.from_generation = from.generation;
    e.to_slot = NGX_SIO_HUB_ALL;

    return ngx_sio_ring_append(&m->ring, &e, body, 1);
}
