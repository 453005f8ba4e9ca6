
#include "ngx_sio_ring.h"


#define NGX_SIO_RING_HEADER  sizeof(ngx_sio_ring_entry_t)

#define ngx_sio_ring_align(n)  (((n) + 7) & ~(size_t) 7)

/* less than what stands in the way of the largest entry */
#define ngx_sio_ring_limit(ring)  ((ring)->size / 8 * 3)


static void ngx_sio_ring_forget(ngx_sio_ring_t *ring, uint64_t end);
static ngx_uint_t ngx_sio_ring_intact(ngx_sio_ring_t *ring,
    uint64_t position);
static uint64_t ngx_sio_ring_begin(ngx_sio_ring_t *ring, uint64_t position,
    size_t size);


void
ngx_sio_ring_init(ngx_sio_ring_t *ring, ngx_sio_mem_t *mem,
    ngx_sio_slots_t *slots)
{
    size_t  size;

    ring->head = ngx_sio_mem_region(mem, NGX_SIO_MEM_RING, &size);
    ring->data = (u_char *) (ring->head + 1);
    ring->size = size - sizeof(ngx_sio_ring_head_t);
    ring->slots = slots;
}


/*
 * An entry of up to half the ring always finds a place when everything has
 * been read, with its filler and wherever the head is.  A quarter leaves room
 * for another one on its way.
 */

size_t
ngx_sio_ring_max_body(size_t region)
{
    if (region < sizeof(ngx_sio_ring_head_t)) {
        return 0;
    }

    region -= sizeof(ngx_sio_ring_head_t);

    return ngx_min(region / 4, NGX_MAX_INT32_VALUE) & ~(size_t) 7;
}


uint64_t
ngx_sio_ring_head(ngx_sio_ring_t *ring)
{
    return __atomic_load_n(&ring->head->head, __ATOMIC_ACQUIRE);
}


uint64_t
ngx_sio_ring_oldest(ngx_sio_ring_t *ring)
{
    return __atomic_load_n(&ring->head->oldest, __ATOMIC_ACQUIRE);
}


ngx_int_t
ngx_sio_ring_append(ngx_sio_ring_t *ring, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts)
{
    u_char                *p;
    uint64_t               head, begin, end;
    ngx_uint_t             i;
    ngx_sio_ring_head_t   *h;
    ngx_sio_ring_entry_t  *filler;

    h = ring->head;
    head = h->head;

    e->size = NGX_SIO_RING_HEADER + ngx_sio_ring_align(e->length);

    begin = ngx_sio_ring_begin(ring, head, e->size);
    end = begin + e->size;

    if (end - h->tail > ring->size) {
        h->tail = ngx_sio_slots_slowest(ring->slots, head);

        if (end - h->tail > ring->size) {
            return NGX_BUSY;
        }
    }

    /*
     * Never back: a writer that died uncommitted may have spoiled more than
     * this one is going to touch.
     */

    if (end > h->reserved) {
        ngx_sio_ring_forget(ring, end);
        __atomic_store_n(&h->reserved, end, __ATOMIC_RELAXED);
    }

    __atomic_thread_fence(__ATOMIC_RELEASE);

    if (begin - head >= NGX_SIO_RING_HEADER) {
        filler = (ngx_sio_ring_entry_t *) (ring->data + head % ring->size);

        ngx_memzero(filler, NGX_SIO_RING_HEADER);
        filler->position = head;
        filler->size = begin - head;
        filler->kind = NGX_SIO_RING_FILLER;
    }

    e->position = begin;

    p = ngx_cpymem(ring->data + begin % ring->size, e, NGX_SIO_RING_HEADER);

    for (i = 0; i < nparts; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }

    ngx_sio_mem_commit(&h->head, end);

    return NGX_OK;
}


ngx_uint_t
ngx_sio_ring_laggards(ngx_sio_ring_t *ring, ngx_sio_hub_members_t *laggards)
{
    uint64_t              cursor, limit;
    ngx_uint_t            i, found;
    ngx_sio_slot_t       *slot;
    ngx_sio_ring_head_t  *h;

    h = ring->head;

    limit = ngx_sio_ring_limit(ring);

    if (h->head - h->tail <= limit) {
        return 0;
    }

    h->tail = ngx_sio_slots_slowest(ring->slots, h->head);

    if (h->head - h->tail <= limit) {
        return 0;
    }

    found = 0;

    for (i = 0; i < ring->slots->head->high; i++) {
        slot = &ring->slots->slots[i];

        if (slot->state != NGX_SIO_SLOTS_LIVE) {
            continue;
        }

        cursor = __atomic_load_n(&slot->cursor, __ATOMIC_RELAXED);

        if (h->head - cursor > limit) {
            ngx_sio_hub_members_add(laggards, i);
            found = 1;
        }
    }

    return found;
}


ngx_int_t
ngx_sio_ring_read(ngx_sio_ring_t *ring, uint64_t *position,
    ngx_sio_ring_entry_t *e)
{
    size_t    place, rest;
    uint64_t  head;

    head = ngx_sio_ring_head(ring);

    for ( ;; ) {

        if (*position >= head) {
            return *position == head ? NGX_DONE : NGX_DECLINED;
        }

        place = *position % ring->size;
        rest = ring->size - place;

        if (rest < NGX_SIO_RING_HEADER) {
            *position += rest;
            continue;
        }

        ngx_memcpy(e, ring->data + place, NGX_SIO_RING_HEADER);

        if (!ngx_sio_ring_intact(ring, *position)
            || e->position != *position
            || e->size < NGX_SIO_RING_HEADER
            || e->size > rest
            || e->size % 8 != 0
            || e->length > e->size - NGX_SIO_RING_HEADER
            || e->size > head - *position)
        {
            return NGX_DECLINED;
        }

        if (e->kind != NGX_SIO_RING_FILLER) {
            return NGX_OK;
        }

        *position += e->size;
    }
}


ngx_int_t
ngx_sio_ring_copy(ngx_sio_ring_t *ring, ngx_sio_ring_entry_t *e, u_char *dst)
{
    ngx_memcpy(dst, ring->data + e->position % ring->size
                    + NGX_SIO_RING_HEADER, e->length);

    return ngx_sio_ring_intact(ring, e->position) ? NGX_OK : NGX_DECLINED;
}


/*
 * Moves "oldest" past what is going to be overwritten up to end.  It always
 * stands at an entry that is whole, so its size can be believed.
 */

static void
ngx_sio_ring_forget(ngx_sio_ring_t *ring, uint64_t end)
{
    size_t                place, rest;
    uint64_t              oldest;
    ngx_sio_ring_entry_t  e;

    oldest = ring->head->oldest;

    while (end - oldest > ring->size && oldest < ring->head->head) {

        place = oldest % ring->size;
        rest = ring->size - place;

        if (rest < NGX_SIO_RING_HEADER) {
            oldest += rest;
            continue;
        }

        ngx_memcpy(&e, ring->data + place, NGX_SIO_RING_HEADER);
        oldest += e.size;
    }

    __atomic_store_n(&ring->head->oldest, oldest, __ATOMIC_RELEASE);
}


/*
 * The reading half of a sequence lock: what was read before is true if no
 * writer has reserved a place so far ahead that it covers this one.
 */

static ngx_uint_t
ngx_sio_ring_intact(ngx_sio_ring_t *ring, uint64_t position)
{
    uint64_t  reserved;

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    reserved = __atomic_load_n(&ring->head->reserved, __ATOMIC_RELAXED);

    return reserved <= position + ring->size;
}


/* where an entry of this size begins if it may not cross the end */

static uint64_t
ngx_sio_ring_begin(ngx_sio_ring_t *ring, uint64_t position, size_t size)
{
    size_t  rest;

    rest = ring->size - position % ring->size;

    return rest < size ? position + rest : position;
}
