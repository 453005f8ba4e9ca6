
/*
 * How workers name each other: slot and generation, and sets of slots.
 *
 * Layer:      hub; nginx core types only.
 * Ownership:  plain values, copied freely, also into entries and the zone.
 * Trust:      an address may come from a client (inside a sid); every user
 *             compares the slot with NGX_SIO_HUB_SLOTS before indexing.
 * Reference:  ngx_sio_slots.h, where slots are taken and given back.
 */


#ifndef _NGX_SIO_HUB_ADDR_H_INCLUDED_
#define _NGX_SIO_HUB_ADDR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_SIO_HUB_SLOTS   128

/* as the slot of a receiver: every worker, the sender included */
#define NGX_SIO_HUB_ALL     0xffff


typedef struct {
    uint16_t   slot;

    /* counted up for the whole hub; never repeated, never 0 for a worker */
    uint32_t   generation;
} ngx_sio_hub_addr_t;


typedef struct {
    uint64_t   bits[NGX_SIO_HUB_SLOTS / 64];
} ngx_sio_hub_members_t;


static ngx_inline ngx_sio_hub_addr_t
ngx_sio_hub_addr(ngx_uint_t slot, uint32_t generation)
{
    ngx_sio_hub_addr_t  addr;

    addr.slot = (uint16_t) slot;
    addr.generation = generation;

    return addr;
}


static ngx_inline ngx_sio_hub_addr_t
ngx_sio_hub_addr_all(void)
{
    return ngx_sio_hub_addr(NGX_SIO_HUB_ALL, 0);
}


static ngx_inline ngx_uint_t
ngx_sio_hub_addr_equal(ngx_sio_hub_addr_t a, ngx_sio_hub_addr_t b)
{
    return a.slot == b.slot && a.generation == b.generation;
}


/* one word: an owner in the zone changes with one store; 0 is nobody */

static ngx_inline uint64_t
ngx_sio_hub_addr_pack(ngx_sio_hub_addr_t addr)
{
    return (uint64_t) addr.generation << 16 | addr.slot;
}


static ngx_inline ngx_sio_hub_addr_t
ngx_sio_hub_addr_unpack(uint64_t word)
{
    return ngx_sio_hub_addr(word & 0xffff, (uint32_t) (word >> 16));
}


static ngx_inline void
ngx_sio_hub_members_add(ngx_sio_hub_members_t *members, ngx_uint_t slot)
{
    members->bits[slot / 64] |= (uint64_t) 1 << slot % 64;
}


static ngx_inline void
ngx_sio_hub_members_remove(ngx_sio_hub_members_t *members, ngx_uint_t slot)
{
    members->bits[slot / 64] &= ~((uint64_t) 1 << slot % 64);
}


static ngx_inline ngx_uint_t
ngx_sio_hub_members_has(ngx_sio_hub_members_t *members, ngx_uint_t slot)
{
    return members->bits[slot / 64] >> slot % 64 & 1;
}


static ngx_inline ngx_uint_t
ngx_sio_hub_members_count(ngx_sio_hub_members_t *members)
{
    return __builtin_popcountll(members->bits[0])
           + __builtin_popcountll(members->bits[1]);
}


#endif /* _NGX_SIO_HUB_ADDR_H_INCLUDED_ */
