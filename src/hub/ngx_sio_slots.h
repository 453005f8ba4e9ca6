
/*
 * The slots: which processes are members of the hub, how far each has read,
 * whether it sleeps, and its counters.
 *
 * Layer:      hub; nginx core types, /proc.
 * Ownership:  the table is in the zone.  A slot belongs to the process that
 *             claimed it until that process releases it or a sibling finds
 *             the process gone.  ngx_sio_slots_t is a view.
 * Trust:      slot numbers in addresses are compared with the table's size.
 * Reference:  proc_pid_stat(5); ngx_sio_members.h, which moves the states.
 *
 *              silent for 10 s            DOWN appended
 *      LIVE -------------------> LOSING ----------------> LOST
 *     ^    |                        |                      |
 *     |    | closed or died         | closed or died       | closed or died
 *     |    v                        |                      |
 *     |   GONE <--------------------+                      |
 *     |    |                                               |
 *     |    | DOWN appended                                 |
 *     |    v                                               |
 *      FREE <----------------------------------------------+
 *
 * LIVE alone is read from the log, written to, and holds the log back.
 * LOSING and GONE owe the log a DOWN entry for which there was no room yet.
 *
 * Writer dies: a state is one store, made last when a slot is claimed and
 * first when it is given up.
 */


#ifndef _NGX_SIO_SLOTS_H_INCLUDED_
#define _NGX_SIO_SLOTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"


#define NGX_SIO_SLOTS_COUNTERS   64
#define NGX_SIO_SLOTS_WAKE       56


typedef enum {
    NGX_SIO_SLOTS_FREE = 0,
    NGX_SIO_SLOTS_LIVE,
    NGX_SIO_SLOTS_LOSING,
    NGX_SIO_SLOTS_LOST,
    NGX_SIO_SLOTS_GONE
} ngx_sio_slots_state_e;


/*
 * The first cache line is what the others look at in every turn; "cursor" and
 * "sleeping" are written by the owner, "sleeping" and "waiting" are also taken
 * back by others, the rest changes under the lock.
 */

typedef struct {
    uint64_t               cursor;        /* the next position to be read */
    uint32_t               state;
    uint32_t               sleeping;      /* wants a datagram for entries */
    uint32_t               waiting;       /* wants a datagram for room */
    uint32_t               generation;
    uint64_t               started;       /* of pid, ticks; 0: unknown */
    int32_t                pid;
    uint32_t               reserved[7];

    uint64_t               wake_len;
    u_char                 wake[NGX_SIO_SLOTS_WAKE];

    uint64_t               counters[NGX_SIO_SLOTS_COUNTERS];
} ngx_sio_slot_t;


typedef struct {
    uint32_t               generation;    /* the last one given away */
    uint32_t               high;          /* slots ever used, from 0 */
    uint32_t               owed;          /* maybe: somebody LOSING or GONE */
    uint32_t               waiting;       /* maybe: somebody waits for room */
    uint32_t               changes;       /* of any state, wraps */
    uint32_t               reserved[11];

    uint64_t               retired[NGX_SIO_SLOTS_COUNTERS];
} ngx_sio_slots_head_t;


typedef struct {
    ngx_sio_slots_head_t  *head;          /* both in the zone */
    ngx_sio_slot_t        *slots;

    ngx_pid_t              pid;           /* of this process */
    uint64_t               started;
} ngx_sio_slots_t;


/* to be called in the process that is going to claim, not before the fork */
void ngx_sio_slots_init(ngx_sio_slots_t *s, ngx_sio_mem_t *mem);

/*
 * Under the lock: takes a free slot for this process and makes it LIVE.
 * "wake" is the name of its wake-up socket.
 *
 *   NGX_OK     *addr is filled
 *   NGX_BUSY   all slots are taken
 */
ngx_int_t ngx_sio_slots_claim(ngx_sio_slots_t *s, uint64_t cursor,
    ngx_str_t *wake, ngx_sio_hub_addr_t *addr);

/*
 * Under the lock: the only function that changes a state.  Adds the counters
 * to the retired ones when the slot becomes FREE.
 */
void ngx_sio_slots_set_state(ngx_sio_slots_t *s, ngx_uint_t slot,
    ngx_sio_slots_state_e state);

/* LIVE with this generation; without the lock it is true of a moment ago */
ngx_uint_t ngx_sio_slots_alive(ngx_sio_slots_t *s, ngx_sio_hub_addr_t addr);

/* this generation in any state but FREE */
ngx_uint_t ngx_sio_slots_exists(ngx_sio_slots_t *s, ngx_sio_hub_addr_t addr);

void ngx_sio_slots_members(ngx_sio_slots_t *s,
    ngx_sio_hub_members_t *members);

/* under the lock: the lowest cursor of those LIVE, or head */
uint64_t ngx_sio_slots_slowest(ngx_sio_slots_t *s, uint64_t head);

/*
 * Whether the process in the slot still runs.  A zombie does not; neither
 * does a later process with the same pid.
 */
ngx_uint_t ngx_sio_slots_running(ngx_sio_slots_t *s, ngx_uint_t slot);

/* see ngx_sio_hub_sum() */
void ngx_sio_slots_sum(ngx_sio_slots_t *s, uint64_t *living,
    uint64_t *total);


#endif /* _NGX_SIO_SLOTS_H_INCLUDED_ */
