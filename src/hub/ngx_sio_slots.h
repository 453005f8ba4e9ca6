
/*
 * The slots: which processes are members of the hub, how far each has read,
 * whether it sleeps, and what it counts.
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
 * Each process counts in its own slot, with plain additions.  Gauges, what
 * goes up and down, end with it.  Counters only grow: when a slot becomes FREE
 * they are added to the totals, as is, apart from them, what its gauges were.
 * One gauge can go to another process with an entry of the log, at the instant
 * at which that is there: whoever of the two dies, it is counted once.
 * The totals are kept twice, so that one store makes the new ones true.
 *
 *      totals[0]   totals[1]          retired = generation << 1 | 1
 *      old         old + those of     -- and 1 are the true ones now, and the
 *                  the slot              slot of this generation is in them
 *
 * Writer dies: a state is one store, made last when a slot is claimed and
 * first when it is given up; what was retired by a process that died before
 * the slot was FREE is cleared by the repair; so is what was given before its
 * entry was in the log, and what was given with one is given again.
 */


#ifndef _NGX_SIO_SLOTS_H_INCLUDED_
#define _NGX_SIO_SLOTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"


#define NGX_SIO_SLOTS_GAUGES     16
#define NGX_SIO_SLOTS_COUNTERS   128
#define NGX_SIO_SLOTS_WAKE       56

/* the gauge that can be given: "taken" and "given" are a part of it */
#define NGX_SIO_SLOTS_GIVEN      0

/* names that gauges may be kept of, see ngx_sio_names.h; one bit for each */
#define NGX_SIO_SLOTS_NAMES      64
#define NGX_SIO_SLOTS_NAME_LEN   63


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
    uint64_t               backlog;       /* octets that wait for room */
    int32_t                pid;
    uint32_t               reserved[5];

    uint64_t               wake_len;
    u_char                 wake[NGX_SIO_SLOTS_WAKE];

    uint64_t               gauges[NGX_SIO_SLOTS_GAUGES];

    uint64_t               held;          /* bits: names in use here */
    uint32_t               named[NGX_SIO_SLOTS_NAMES + 1];  /* gauges by name;
                                             the last is of all others */
    uint32_t               reserved2;
    uint64_t               taken;         /* from others, and */
    uint64_t               given;         /* ... to others, so far */
    uint32_t               unused[8];

    uint64_t               counters[NGX_SIO_SLOTS_COUNTERS];
} ngx_sio_slot_t;


/* changed under the lock; not terminated */

typedef struct {
    u_char                 len;
    u_char                 data[NGX_SIO_SLOTS_NAME_LEN];
} ngx_sio_slots_name_t;


typedef struct {
    uint32_t               generation;    /* the last one given away */
    uint32_t               high;          /* slots ever used, from 0 */
    uint32_t               owed;          /* maybe: somebody LOSING or GONE */
    uint32_t               waiting;       /* maybe: somebody waits for room */
    uint32_t               changes;       /* of any state, wraps */
    uint16_t               giver;         /* slots, while something is given */
    uint16_t               taker;
    uint64_t               retired;       /* see above; 0: nobody yet */
    uint64_t               since;         /* of the first claim, seconds */
    uint64_t               giving;        /* 0: nothing; the head of the log
                                             without the entry, and 1 */
    uint64_t               given;         /* what the giver's is with it, */
    uint64_t               taken;         /* ... and the taker's */

    uint64_t               totals[2][NGX_SIO_SLOTS_COUNTERS];
    uint64_t               dropped[2][NGX_SIO_SLOTS_GAUGES];
    ngx_sio_slots_name_t   names[NGX_SIO_SLOTS_NAMES];
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
 * to the totals when the slot becomes FREE.
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

/*
 * Under the lock: what goes up and down moves to another slot of the same
 * process.
 */
void ngx_sio_slots_inherit(ngx_sio_slots_t *s, ngx_uint_t from, ngx_uint_t to);

/*
 * Under the lock, before an entry is appended: with it one of the gauge
 * NGX_SIO_SLOTS_GIVEN goes from one slot to another.  "head" is that of the
 * log.
 */
void ngx_sio_slots_give(ngx_sio_slots_t *s, ngx_uint_t from, ngx_uint_t to,
    uint64_t head);

/* under the lock: so it has, if the head is another one now */
void ngx_sio_slots_given(ngx_sio_slots_t *s, uint64_t head);

/*
 * Under the lock: gauges of all that still run, counters, those of the dead
 * included, and what the gauges of the dead were when they died.
 */
void ngx_sio_slots_sum(ngx_sio_slots_t *s, uint64_t *gauges,
    uint64_t *counters, uint64_t *dropped);

/* whether the process in the slot may still be there; GONE is not */
ngx_uint_t ngx_sio_slots_counts(ngx_sio_slots_t *s, ngx_uint_t slot);

/*
 * After the holder of the lock died; under the lock, see ngx_sio_mem.h.
 * "head" is that of the log.
 */
void ngx_sio_slots_repair(ngx_sio_slots_t *s, uint64_t head);


#endif /* _NGX_SIO_SLOTS_H_INCLUDED_ */
