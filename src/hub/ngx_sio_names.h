
/*
 * The names: of which things one by one the slots keep a gauge.  The hub's
 * user says what they are; here they are the namespaces whose sockets are
 * counted.
 *
 * Layer:      hub; nginx core types.
 * Ownership:  names and gauges are in the zone, in the region of the slots; a
 *             name is there as long as somebody holds it.
 * Trust:      names may come from clients: their number and their length are
 *             bounded, and what does not fit is counted together.
 * Reference:  ngx_sio_slots.h.
 *
 *             names      slot 0      slot 1       slot 2, of a dead process
 *     held               ...101      ...001       ...111
 *      0      "/"        12          3            (40)
 *      1      free       0           0            (1)
 *      2      "/chat"    5           0            (2)
 *      ...
 *     64      others     1           0            (0)
 *
 * Each process writes its own column.  A name is free when no bit of a process
 * that still runs is set for it, so the dead need not be cleaned up after.
 *
 * Writer dies: the bit that makes a name valid is set when it is written.
 * Full: a new name is counted under others until its last user has left it.
 */


#ifndef _NGX_SIO_NAMES_H_INCLUDED_
#define _NGX_SIO_NAMES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_mem.h"
#include "ngx_sio_slots.h"


#define NGX_SIO_NAMES_OTHERS   NGX_SIO_SLOTS_NAMES


/*
 * Takes the lock: the index of the name in the gauges of this slot, held until
 * it is let go; NGX_SIO_NAMES_OTHERS if there is no room, it is too long, or
 * the lock is broken.  Must not be held already by this slot.
 */
ngx_uint_t ngx_sio_names_hold(ngx_sio_mem_t *mem, ngx_sio_slots_t *s,
    ngx_uint_t slot, ngx_str_t *name);

/* the gauge is 0 again; without the lock */
void ngx_sio_names_release(ngx_sio_slots_t *s, ngx_uint_t slot,
    ngx_uint_t index);

/*
 * Under the lock: sums over all processes that still run, of
 * NGX_SIO_SLOTS_NAMES + 1 gauges, and bits: the names in use.
 */
uint64_t ngx_sio_names_sum(ngx_sio_slots_t *s, uint64_t *named);


#endif /* _NGX_SIO_NAMES_H_INCLUDED_ */
