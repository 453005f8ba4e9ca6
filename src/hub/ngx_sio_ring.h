
/*
 * The ring: entries of bytes, appended under the lock, read without it.
 *
 * Layer:      hub; nginx core types.
 * Ownership:  the bytes are in the zone; ngx_sio_ring_t is a view.  A body
 *             that was read stays where it is; copy() takes it out.
 * Trust:      a reader that was overtaken sees garbage, so headers are
 *             compared with the bounds, and copies are believed only after
 *             the position was found intact.
 * Reference:  ngx_sio_slots.h for the cursors.
 *
 *       slowest cursor         other cursors    head        reserved
 *            |                    |     |         |             |
 *   ----+----v----+---------+-----v-----v----+----v-------------v--
 *   old | entry   | entry   | filler | entry | being written    | old
 *   ----+---------+---------+--------+-------+---------------------
 *
 * Positions count up for ever; the place is the position modulo the size.
 * Entries are contiguous and aligned to 8.  What does not fit before the end
 * is preceded by a filler, or by nothing if not even a header fits.
 *
 * Writer dies: only the store of "head" makes an entry visible; "reserved"
 * was stored first and tells which old bytes may be spoiled.  Reader never
 * comes: append says NGX_BUSY.  Reload: nothing happens.
 */


#ifndef _NGX_SIO_RING_H_INCLUDED_
#define _NGX_SIO_RING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"
#include "ngx_sio_slots.h"


#define NGX_SIO_RING_FILLER   0


typedef struct {
    uint64_t                position;
    uint64_t                ordinal;      /* of those to be shipped; else 0 */
    uint32_t                size;         /* with header and padding */
    uint32_t                length;       /* of the body */
    uint16_t                kind;
    uint16_t                flags;
    uint16_t                from_slot;
    uint16_t                to_slot;
    uint32_t                from_generation;
    uint32_t                to_generation;
} ngx_sio_ring_entry_t;


typedef struct {
    uint64_t                head;         /* behind the last entry */
    uint64_t                reserved;     /* behind the last byte touched */
    uint64_t                padding[6];
    uint64_t                tail;         /* under the lock: all cursors are
                                             here or above */
    uint64_t                oldest;       /* the first entry that is whole */
    uint64_t                unused[6];
} ngx_sio_ring_head_t;


typedef struct {
    ngx_sio_ring_head_t    *head;         /* both in the zone */
    u_char                 *data;
    size_t                  size;         /* of data */
    ngx_sio_slots_t        *slots;
} ngx_sio_ring_t;


void ngx_sio_ring_init(ngx_sio_ring_t *ring, ngx_sio_mem_t *mem,
    ngx_sio_slots_t *slots);

/* the largest body in a ring region of this size: a quarter of it */
size_t ngx_sio_ring_max_body(size_t region);

uint64_t ngx_sio_ring_head(ngx_sio_ring_t *ring);

/*
 * The first entry that has not been overwritten, or a little after it; by the
 * time it is read it may have been.
 */
uint64_t ngx_sio_ring_oldest(ngx_sio_ring_t *ring);

/*
 * Under the lock: appends an entry of the parts one behind the other.  Of *e
 * ordinal, kind, flags, from and to are the caller's; the rest is filled in.
 * The sum of the parts is e->length, at most ngx_sio_ring_max_body().
 *
 *   NGX_OK     visible to all readers
 *   NGX_BUSY   a live reader still needs the place; nothing was written
 */
ngx_int_t ngx_sio_ring_append(ngx_sio_ring_t *ring, ngx_sio_ring_entry_t *e,
    ngx_str_t *parts, ngx_uint_t nparts);

/*
 * Under the lock: whether some live readers are so far behind, three eighths
 * of the ring, that they hold it up or soon will; they are added to *laggards.
 */
ngx_uint_t ngx_sio_ring_laggards(ngx_sio_ring_t *ring,
    ngx_sio_hub_members_t *laggards);

/*
 * Reads the header of the entry at *position, passing fillers; the entry ends
 * at e->position + e->size.
 *
 *   NGX_OK        *e is filled, *position is e->position
 *   NGX_DONE      *position is the head
 *   NGX_DECLINED  overwritten, or not the position of an entry
 */
ngx_int_t ngx_sio_ring_read(ngx_sio_ring_t *ring, uint64_t *position,
    ngx_sio_ring_entry_t *e);

/*
 * Copies e->length bytes to dst.
 *
 *   NGX_OK        they are the entry's
 *   NGX_DECLINED  overwritten meanwhile
 */
ngx_int_t ngx_sio_ring_copy(ngx_sio_ring_t *ring, ngx_sio_ring_entry_t *e,
    u_char *dst);


#endif /* _NGX_SIO_RING_H_INCLUDED_ */
