
/*
 * The hub: one log for all workers of a host, read by each at its own pace.
 *
 * Layer:      hub; nginx core and events, no HTTP.
 * Ownership:  open gives, close destroys; one ngx_sio_hub_t per zone and
 *             worker, in the heap of that worker.  Callbacks borrow their
 *             arguments until they return.
 * Trust:      entries were written by workers like this one; what clients
 *             sent inside the bodies is as hostile as before.
 * Reference:  architecture, "The hub"; ngx_sio_ring.h, ngx_sio_slots.h.
 *
 *   append ---> lock, copy, commit, unlock ---> wake sleeping readers, once
 *      |                                        at the end of the turn
 *      | no room
 *      v
 *   backlog (this worker, in order) ---> retried when cursors move
 *
 * The backlog is as large as the log.  Past that an append is refused, unless
 * its flags say that it is owed: then it is the caller who asks
 * ngx_sio_hub_owing() before it begins something that ends in one.
 *
 * Every worker, the writer included, is handed all entries that concern it by
 * its reader, in the same total order, never from inside an append.
 *
 * Writer dies: what it had not committed never existed.  Reader dies: a
 * sibling takes it off the list and appends a DOWN entry behind everything
 * the dead worker wrote.  Reader never comes: 10 seconds after a writer
 * began to wait for it, it is declared lost, and hears so when it returns.
 * Reload, binary upgrade: old and new workers share the log.
 *
 * What other hosts have to know, too, is appended with NGX_SIO_HUB_SHIP and
 * numbered without gaps.  The bridge (ngx_sio_bridge.h) reads these entries
 * again at its own pace, for as long as they are not overwritten.
 *
 * Locks: only the one of ngx_sio_mem.h, never held during a callback.
 */


#ifndef _NGX_SIO_HUB_H_INCLUDED_
#define _NGX_SIO_HUB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_bridge.h"
#include "ngx_sio_directory.h"
#include "ngx_sio_journal.h"
#include "ngx_sio_mem.h"
#include "ngx_sio_names.h"
#include "ngx_sio_slots.h"


/* kinds from 1 up to here belong to the user of the hub */
#define NGX_SIO_HUB_MAX_KIND   0xfeff

/*
 * Flags of entries; those of the user of the hub stand below.  With ECHO an
 * entry for one worker is read by the one who wrote it, too; with GIVE, beside
 * NOW, one of the gauge NGX_SIO_SLOTS_GIVEN is that worker's from then on.
 */
#define NGX_SIO_HUB_SHIP       0x8000
#define NGX_SIO_HUB_ECHO       0x4000
#define NGX_SIO_HUB_GIVE       0x0400

/* what an append does when the log is full; these do not travel along */
#define NGX_SIO_HUB_NOW        0x0800   /* does not wait in the backlog */
#define NGX_SIO_HUB_OWED       0x1000   /* waits there whatever its size is */
#define NGX_SIO_HUB_LATE       0x2000   /* waits there, and its members are
                                           told by ops->appended */


typedef struct ngx_sio_hub_s  ngx_sio_hub_t;


typedef struct {
    uint64_t              position;
    uint16_t              kind;
    uint16_t              flags;
    ngx_sio_hub_addr_t    from;
    ngx_sio_hub_addr_t    to;
    uint64_t              ordinal;    /* of those with SHIP, from 1 */
    ngx_str_t             body;       /* aligned to 8; valid in the call */
} ngx_sio_hub_entry_t;


/* all of them must be set */

typedef struct {
    /*
     * An entry for everybody or for this worker, also one of its own; with
     * NGX_SIO_HUB_ECHO also one that it has sent to another.
     *
     *   NGX_OK
     *   NGX_ERROR  no memory, nothing was done; it is given again later, and
     *              nothing behind it before
     */
    ngx_int_t  (*entry)(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e);

    /*
     * A worker closed, died or was declared lost.  Comes once for each worker
     * that was ever alive here, after the last entry that it wrote.
     */
    void  (*down)(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t dead);

    /*
     * A journal record of a worker that is gone; it belongs to this worker
     * now, which removes it when its work is done.
     */
    void  (*orphan)(ngx_sio_hub_t *hub, uint64_t journal_id,
        ngx_str_t *record);

    /* nginx wants this worker to finish (reload, quit); comes once */
    void  (*drain)(ngx_sio_hub_t *hub);

    /* worker_shutdown_timeout: finish now; comes once */
    void  (*shutdown)(ngx_sio_hub_t *hub);

    /*
     * This worker had been declared lost: it missed entries, the others have
     * been told that it is down.  Of its backlog it keeps what is for all.
     * Its journal records were kept, ngx_sio_hub_self() and the functions for
     * counting answer anew.
     */
    void  (*lost)(ngx_sio_hub_t *hub);

    /*
     * An entry that was appended with NGX_SIO_HUB_LATE and had to wait is in
     * the log now; comes before anything that others wrote behind it.
     */
    void  (*appended)(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e,
        ngx_sio_hub_members_t *members);

    /* the log was full, and what was owed to all is in it now */
    void  (*room)(ngx_sio_hub_t *hub);
} ngx_sio_hub_ops_t;


typedef enum {
    NGX_SIO_HUB_LOG = 0,              /* used: behind the slowest reader */
    NGX_SIO_HUB_DIRECTORY,
    NGX_SIO_HUB_JOURNAL,
    NGX_SIO_HUB_MEMBERS,
    NGX_SIO_HUB_TABLES
} ngx_sio_hub_table_e;


typedef struct {
    uint64_t                  size;           /* bytes */
    uint64_t                  used;
} ngx_sio_hub_table_t;


typedef struct {
    ngx_uint_t                slot;
    uint64_t                  lag;            /* bytes of the log that it has
                                                 not read */
    uint64_t                  backlog;        /* bytes that it has no room for
                                                 in the log */
    unsigned                  lost:1;
} ngx_sio_hub_worker_t;


/* All that the zone knows, for the status page: large. */

typedef struct {
    uint64_t                  since;          /* seconds since 1970 */
    uint64_t                  gauges[NGX_SIO_SLOTS_GAUGES];
    uint64_t                  counters[NGX_SIO_SLOTS_COUNTERS];
    uint64_t                  dropped[NGX_SIO_SLOTS_GAUGES];
                                              /* sums of the gauges of workers
                                                 that died, when they did */

    uint64_t                  held;           /* bits: names in use */
    ngx_sio_slots_name_t      names[NGX_SIO_SLOTS_NAMES];
    uint64_t                  named[NGX_SIO_SLOTS_NAMES + 1];

    ngx_uint_t                nworkers;
    ngx_sio_hub_worker_t      workers[NGX_SIO_HUB_SLOTS];

    ngx_sio_hub_table_t       tables[NGX_SIO_HUB_TABLES];
} ngx_sio_hub_stat_t;


/*
 * The largest body that a zone of this size carries; 0 if the zone is smaller
 * than NGX_SIO_MEM_MIN_SIZE.  For "nginx -t".
 */
size_t ngx_sio_hub_max_entry(size_t zone_size);

/*
 * In init_process, of workers and the single process only.  Takes the dead
 * off the list, joins at the present end of the log, announces itself.
 * NULL if there is no slot, memory or connection left (logged).
 */
ngx_sio_hub_t *ngx_sio_hub_open(ngx_sio_mem_t *mem,
    const ngx_sio_hub_ops_t *ops, void *data, ngx_cycle_t *cycle);

/* in exit_process; writes what the backlog holds if there is room */
void ngx_sio_hub_close(ngx_sio_hub_t *hub);

/* what was passed to open */
void *ngx_sio_hub_data(ngx_sio_hub_t *hub);

/*
 * Appends an entry of the parts one behind the other.  "to" is a worker or
 * ngx_sio_hub_addr_all(); what is sent to a worker that is gone reaches
 * nobody.  Never calls back: own entries, too, come through ops->entry later.
 *
 *   NGX_OK        in the log, or in the backlog of this worker in order;
 *                 with members != NULL always in the log, and *members are
 *                 the workers alive at its place in the log
 *   NGX_AGAIN     with NGX_SIO_HUB_LATE: in the backlog, *members is empty
 *   NGX_BUSY      the log and the backlog are full, or this worker was just
 *                 found lost; nothing was taken
 *   NGX_DECLINED  larger than ngx_sio_hub_max_entry(); with NGX_SIO_HUB_GIVE
 *                 also: that worker is gone
 *   NGX_ERROR     no memory, or the lock is broken (logged); nothing taken
 */
ngx_int_t ngx_sio_hub_append(ngx_sio_hub_t *hub, ngx_uint_t kind,
    ngx_uint_t flags, ngx_sio_hub_addr_t to, ngx_str_t *parts,
    ngx_uint_t nparts, ngx_sio_hub_members_t *members);

/* Whether entries of this worker wait for room. */
ngx_uint_t ngx_sio_hub_waiting(ngx_sio_hub_t *hub);

/*
 * Of the entries with NGX_SIO_HUB_OWED that this worker appended for everybody:
 * whether some wait for room, so that what ends in more of them had better not
 * begin until ops->room; and whether some have not come back through
 * ops->entry yet.
 */
ngx_uint_t ngx_sio_hub_owing(ngx_sio_hub_t *hub);
ngx_uint_t ngx_sio_hub_owed_unread(ngx_sio_hub_t *hub);

/* everything below it was handed to ops->entry, the present call included */
uint64_t ngx_sio_hub_position(ngx_sio_hub_t *hub);

/* Whether anybody has appended what this worker has not read yet. */
ngx_uint_t ngx_sio_hub_behind(ngx_sio_hub_t *hub);

/*
 * Reads a passed stretch of the log again, entries addressed to others
 * included, and hands it to handler, which must not append.
 *
 *   NGX_OK        from "from" up to "to", in order
 *   NGX_DECLINED  part of it has been overwritten or was never written; what
 *                 was handed out is true but has an end too early
 *   NGX_ERROR     no memory; the same
 */
ngx_int_t ngx_sio_hub_replay(ngx_sio_hub_t *hub, uint64_t from, uint64_t to,
    void (*handler)(void *data, ngx_sio_hub_entry_t *e), void *data);

/*
 * Looks from *position on, or from the oldest entry that is whole if that is
 * later, for the first entry to be shipped with at least this ordinal.
 *
 *   NGX_OK      *e is it, until the next call; *position stands behind it
 *   NGX_DONE    there is none yet; *position is the end of the log
 *   NGX_ERROR   no memory
 */
ngx_int_t ngx_sio_hub_shipped(ngx_sio_hub_t *hub, uint64_t *position,
    uint64_t ordinal, ngx_sio_hub_entry_t *e);

/* the ordinal of the last entry to be shipped */
uint64_t ngx_sio_hub_ordinal(ngx_sio_hub_t *hub);

ngx_sio_hub_addr_t ngx_sio_hub_self(ngx_sio_hub_t *hub);

/*
 * Whether that worker is a member.  If so, and if it ends later, ops->down
 * tells: a caller who waits for it cannot miss its end.  Any slot is safe.
 */
ngx_uint_t ngx_sio_hub_alive(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t addr);

/* living members, this worker included */
ngx_uint_t ngx_sio_hub_count(ngx_sio_hub_t *hub);

/* the tables beside the log, see their headers */
ngx_sio_directory_t *ngx_sio_hub_directory(ngx_sio_hub_t *hub);
ngx_sio_journal_t *ngx_sio_hub_journal(ngx_sio_hub_t *hub);
ngx_sio_bridge_t *ngx_sio_hub_bridge(ngx_sio_hub_t *hub);

/*
 * Numbers that only this worker writes, zero at the start: what goes up and
 * down, NGX_SIO_SLOTS_GAUGES of them, and what only grows,
 * NGX_SIO_SLOTS_COUNTERS; stat() adds up those of all workers.  The gauges of
 * named things are those of the names that are held, see ngx_sio_names.h.
 * What came with an entry, less what went with one, is balance() of the gauge
 * NGX_SIO_SLOTS_GIVEN, and comes on top.
 */
uint64_t *ngx_sio_hub_gauges(ngx_sio_hub_t *hub);
uint64_t ngx_sio_hub_balance(ngx_sio_hub_t *hub);
uint64_t *ngx_sio_hub_counters(ngx_sio_hub_t *hub);
uint32_t *ngx_sio_hub_named(ngx_sio_hub_t *hub);

ngx_uint_t ngx_sio_hub_name_hold(ngx_sio_hub_t *hub, ngx_str_t *name);
void ngx_sio_hub_name_release(ngx_sio_hub_t *hub, ngx_uint_t index);

/* NGX_OK; NGX_ERROR: the lock is broken */
ngx_int_t ngx_sio_hub_stat(ngx_sio_hub_t *hub, ngx_sio_hub_stat_t *stat);


#endif /* _NGX_SIO_HUB_H_INCLUDED_ */
