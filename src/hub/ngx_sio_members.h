
/*
 * Members come and go: slot and log together, so that everybody hears of an
 * end exactly behind the last entry of the one who ended.
 *
 * Layer:      hub; no events, testable with plain processes.
 * Ownership:  borrows the views of mem, slots and ring.
 * Trust:      processes may die between any two lines of it.
 * Reference:  ngx_sio_slots.h has the drawing of the states.
 *
 * An end is two steps, the state and the DOWN entry, in this order and under
 * one lock.  If there is no room for the entry, or if the process doing it
 * dies in between, the state remembers the debt and settle() pays it; in the
 * worst case an entry comes twice, and readers ignore the second one.
 */


#ifndef _NGX_SIO_MEMBERS_H_INCLUDED_
#define _NGX_SIO_MEMBERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"
#include "ngx_sio_ring.h"
#include "ngx_sio_slots.h"


/* kinds of entries; from: the new worker; the one who wrote it */
#define NGX_SIO_MEMBERS_UP     0xff00
#define NGX_SIO_MEMBERS_DOWN   0xff01       /* body: the address, packed */


typedef struct {
    ngx_sio_mem_t     *mem;
    ngx_sio_slots_t    slots;
    ngx_sio_ring_t     ring;
} ngx_sio_members_t;


/* once in each process that takes part */
void ngx_sio_members_init(ngx_sio_members_t *m, ngx_sio_mem_t *mem);

/*
 * Becomes a member, with the cursor at the present end of the log, followed
 * by an UP entry if there is room; without one others find out later.
 *
 *   NGX_OK      *addr is filled
 *   NGX_BUSY    no slot is free
 *   NGX_ERROR   the lock is broken
 */
ngx_int_t ngx_sio_members_join(ngx_sio_members_t *m, ngx_str_t *wake,
    ngx_sio_hub_addr_t *addr);

/*
 * A worker that was declared lost becomes a member anew.  It keeps its old
 * slot, too, whose gauges move to the new one, until it buries it.  Codes as
 * above.
 */
ngx_int_t ngx_sio_members_return(ngx_sio_members_t *m, ngx_str_t *wake,
    ngx_sio_hub_addr_t old, ngx_sio_hub_addr_t *addr);

/*
 * Ends the membership of a dead worker, or of the caller itself.  The DOWN
 * entry is from "by".
 *
 *   NGX_OK        done here
 *   NGX_DECLINED  somebody else did it before
 *   NGX_ERROR     the lock is broken
 */
ngx_int_t ngx_sio_members_bury(ngx_sio_members_t *m, ngx_sio_hub_addr_t dead,
    ngx_sio_hub_addr_t by);

/*
 * Declares a worker lost whose cursor is still where the caller saw it.
 * Codes as above.
 */
ngx_int_t ngx_sio_members_lose(ngx_sio_members_t *m,
    ngx_sio_hub_addr_t slow, uint64_t cursor, ngx_sio_hub_addr_t by);

/*
 * Under the lock: pays the DOWN entries that are owed; cheap if none is.
 *
 *   NGX_OK     none is owed any more
 *   NGX_BUSY   no room
 */
ngx_int_t ngx_sio_members_settle(ngx_sio_members_t *m,
    ngx_sio_hub_addr_t by);


#endif /* _NGX_SIO_MEMBERS_H_INCLUDED_ */
