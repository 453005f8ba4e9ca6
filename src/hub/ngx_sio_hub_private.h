
/*
 * The inside of the hub, for its own files.
 *
 * Layer:      hub; nginx core and events.
 * Ownership:  see ngx_sio_hub.h; all of it belongs to the worker's hub.
 * Trust:      as ngx_sio_hub.h.
 * Reference:  ngx_sio_hub.c           opening, closing, waking others, timer
 *             ngx_sio_hub_append.c    into the log, or into the backlog
 *             ngx_sio_hub_read.c      out of the log; being lost; replay
 *             ngx_sio_hub_siblings.c  the end of others and what it leaves
 */


#ifndef _NGX_SIO_HUB_PRIVATE_H_INCLUDED_
#define _NGX_SIO_HUB_PRIVATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_sio_hub.h"
#include "ngx_sio_members.h"
#include "ngx_sio_wake.h"
#include "ngx_sio_watch.h"


#define NGX_SIO_HUB_TICK         1000         /* msec */


typedef struct {
    u_char                   *data;
    size_t                    size;
} ngx_sio_hub_buf_t;


/* an entry for which there was no room; the bytes follow */

typedef struct {
    ngx_queue_t               queue;      /* of backlog, then of appended */
    ngx_sio_ring_entry_t      entry;
    ngx_sio_hub_members_t     members;    /* once it is in the log */
    unsigned                  late:1;     /* somebody wants to know them */
    unsigned                  owed:1;     /* to everybody */
} ngx_sio_hub_waiting_t;


typedef struct {
    uint64_t                  cursor;
    uint32_t                  generation;
    uint32_t                  ticks;
} ngx_sio_hub_stuck_t;


struct ngx_sio_hub_s {
    ngx_sio_mem_t            *mem;
    ngx_sio_members_t         members;
    ngx_sio_directory_t       directory;
    ngx_sio_journal_t         journal;
    ngx_sio_bridge_t          bridge;

    const ngx_sio_hub_ops_t  *ops;
    void                     *data;
    ngx_log_t                *log;

    ngx_sio_hub_addr_t        self;
    ngx_sio_slot_t           *slot;       /* of self */

    uint64_t                  position;   /* see ngx_sio_hub_position() */
    uint64_t                  owed;       /* of the last one owed to all */
    ngx_sio_hub_buf_t         body;       /* of the entry being handled */
    ngx_sio_hub_buf_t         shipped;    /* of the one given out last */
    size_t                    max_body;

    ngx_sio_wake_t            wake;
    ngx_sio_watch_t           watch;

    ngx_event_t               reader;     /* posted when there is to read */
    ngx_event_t               waker;      /* posted when others are to wake */
    ngx_event_t               adopter;    /* posted while a walk goes on */
    ngx_event_t               room;       /* posted when owing is 0 again */
    ngx_event_t               timer;

    ngx_sio_hub_members_t     wakeups;    /* besides all of them: */
    ngx_queue_t               backlog;    /* of ngx_sio_hub_waiting_t */
    size_t                    backlog_size;
    ngx_uint_t                owing;      /* entries of it owed to all */
    ngx_queue_t               appended;   /* late ones, to be reported */

    uint32_t                  walk;       /* journal cursor of the adopter */
    size_t                    sweep;      /* and then of the directory */
    uint32_t                  changes;    /* of slots, as last looked at */
    time_t                    logged;     /* when the ring was full */

    /* by slot: whose end was told last; who stands in the way */
    uint32_t                  told[NGX_SIO_HUB_SLOTS];
    ngx_sio_hub_stuck_t       stuck[NGX_SIO_HUB_SLOTS];

    unsigned                  wake_all:1;
    unsigned                  reading:1;
    unsigned                  unwatched:1;/* some sibling */
    unsigned                  refused:1;  /* an append, since the last tick */
    unsigned                  draining:1; /* was told */
    unsigned                  shutdown:1; /* was told */
};


/* whether this worker was declared lost */
ngx_uint_t ngx_sio_hub_lost(ngx_sio_hub_t *hub);

/* wakes hub->wakeups, or everybody with hub->wake_all, later in this turn */
void ngx_sio_hub_wake_later(ngx_sio_hub_t *hub);

/* wakes those whose append did not find room, after there may be more */
void ngx_sio_hub_wake_waiting(ngx_sio_hub_t *hub);


/*
 * Under the lock, after its holder has died: the last ordinal is that of the
 * last entry in the log that has one.
 */
void ngx_sio_hub_read_recount(ngx_sio_hub_t *hub);


/* appends what waits in the backlog, as far as there is room */
void ngx_sio_hub_append_retry(ngx_sio_hub_t *hub);

/* tells of late entries that are in the log now */
void ngx_sio_hub_append_report(ngx_sio_hub_t *hub);

/* drops what waits for one worker; returns its bytes */
size_t ngx_sio_hub_append_begin_anew(ngx_sio_hub_t *hub);

/* frees the backlog */
void ngx_sio_hub_append_drop(ngx_sio_hub_t *hub);

/* the handler of hub->room */
void ngx_sio_hub_append_room(ngx_event_t *ev);


/* posts the reader, in this turn; may be called any time */
void ngx_sio_hub_read(ngx_sio_hub_t *hub);
void ngx_sio_hub_read_handler(ngx_event_t *ev);

/* whether an entry is for this worker */
ngx_uint_t ngx_sio_hub_read_concerned(ngx_sio_hub_t *hub,
    ngx_sio_ring_entry_t *e);


/* keeps the watches up to date, buries whoever does not run */
void ngx_sio_hub_siblings_look(ngx_sio_hub_t *hub);

/* buries all who do not run; works without being a member */
void ngx_sio_hub_siblings_reap(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t by);

/* one more tick for readers who stand in the way; declares them lost */
void ngx_sio_hub_siblings_stuck(ngx_sio_hub_t *hub);

/* ngx_sio_watch_pt */
void ngx_sio_hub_siblings_ended(void *data, ngx_sio_hub_addr_t ended);

/* posts a walk over what the dead have left, from its beginning */
void ngx_sio_hub_siblings_adopt(ngx_sio_hub_t *hub);
void ngx_sio_hub_siblings_adopter(ngx_event_t *ev);


#endif /* _NGX_SIO_HUB_PRIVATE_H_INCLUDED_ */
