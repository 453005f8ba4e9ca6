
/*
 * What a host keeps about its message queues, for the one worker at a time
 * that serves them: the bridge.
 *
 * Layer:      hub; nginx core types.
 * Ownership:  the tables are in the zone.  Lines and peers are written by the
 *             holder of the lease alone, without the lock.
 * Trust:      ids of peers come from the queue.
 * Reference:  architecture, "The queue is one more reader and writer of the
 *             log"; ngx_sio_hub.h for the entries that are shipped.
 *
 *     nobody ---take---> holder ---hand---> successor ---take---> ...
 *                           | died
 *                           +-----take----> any other
 *
 * The next bridge goes on where the last one was: a line knows up to which
 * ordinal the broker has confirmed, a peer up to which its entries are here.
 *
 * Writer dies: each change of a line or a peer is one store.
 */


#ifndef _NGX_SIO_BRIDGE_H_INCLUDED_
#define _NGX_SIO_BRIDGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"


#define NGX_SIO_BRIDGE_ID      16
#define NGX_SIO_BRIDGE_LINES   8
#define NGX_SIO_BRIDGE_PEERS   128
#define NGX_SIO_BRIDGE_REASONS 5


/* one queue as the configuration names it */

typedef struct {
    uint64_t                key;         /* of its address and channel, not 0;
                                            0: free */
    uint64_t                shipped;     /* the last ordinal confirmed */
    uint64_t                lost;        /* overwritten before that */
    uint64_t                told;        /* that were confirmed */
    uint64_t                untold;      /* not expressible in its format */
    uint64_t                taken;       /* messages that came */
    uint64_t                refused[NGX_SIO_BRIDGE_REASONS];
    uint64_t                up;          /* connected, flag */
    uint64_t                speaks;      /* this host tells the other queues
                                            what comes by this one, flag */
    uint64_t                delay;       /* of messages lately, msec */
} ngx_sio_bridge_line_t;


/* another host */

typedef struct {
    u_char                  id[NGX_SIO_BRIDGE_ID];
    uint64_t                applied;     /* its last ordinal in our log */
    uint64_t                heard;       /* seconds since the epoch; 0: free */
    uint64_t                missed;      /* ordinals that never came */
    uint64_t                holder;      /* its bridge, as it says */
    uint32_t                workers;
    uint32_t                sockets;
    uint8_t                 numbers[NGX_SIO_BRIDGE_LINES];
                                         /* what it calls the lines by which it
                                            was heard, in our order; 0: not */
} ngx_sio_bridge_peer_t;


typedef struct {
    uint64_t                holder;      /* packed address; 0: nobody */
    uint64_t                successor;   /* wants to be next; 0: nobody */
    uint64_t                ordinal;     /* of the last entry to be shipped;
                                            under the lock */
    uint64_t                named;       /* id is there */
    u_char                  id[NGX_SIO_BRIDGE_ID];
    uint64_t                leaving;     /* a holder that wants to give it away,
                                            packed address */
    uint64_t                missed;      /* ordinals of any peer that never
                                            came */

    ngx_sio_bridge_line_t   lines[NGX_SIO_BRIDGE_LINES];
    ngx_sio_bridge_peer_t   peers[NGX_SIO_BRIDGE_PEERS];
} ngx_sio_bridge_head_t;


typedef struct {
    ngx_sio_bridge_head_t  *head;        /* in the zone */
    ngx_sio_mem_t          *mem;
} ngx_sio_bridge_t;


/*
 * Gives the host its id, if it has none yet: random, and the same for as long
 * as the memory lives.
 *
 *   NGX_OK
 *   NGX_ERROR   the lock is broken, or there are no random octets (logged)
 */
ngx_int_t ngx_sio_bridge_init(ngx_sio_bridge_t *b, ngx_sio_mem_t *mem);

/* NGX_SIO_BRIDGE_ID octets */
u_char *ngx_sio_bridge_id(ngx_sio_bridge_t *b);

/* whoever holds the lease; generation 0: nobody; may be dead */
ngx_sio_hub_addr_t ngx_sio_bridge_holder(ngx_sio_bridge_t *b);

/*
 * Takes the lease if it is still with "from": nobody (generation 0), or a
 * worker known to be dead.
 *
 *   NGX_OK, NGX_DECLINED  somebody else was quicker
 */
ngx_int_t ngx_sio_bridge_take(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t from,
    ngx_sio_hub_addr_t self);

/*
 * Asks to be the next holder in place of "from", who asked before and is dead
 * (generation 0: nobody did).  Codes as above.
 */
ngx_int_t ngx_sio_bridge_follow(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t from,
    ngx_sio_hub_addr_t self);
ngx_sio_hub_addr_t ngx_sio_bridge_successor(ngx_sio_bridge_t *b);

/*
 * By the holder: it wants a successor; and by the others, whether this holder
 * does: the one before may have.
 */
void ngx_sio_bridge_leaving(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t self);
ngx_uint_t ngx_sio_bridge_leaves(ngx_sio_bridge_t *b,
    ngx_sio_hub_addr_t holder);

/* Gives the lease to the successor, or to nobody.  NGX_DECLINED: not ours. */
ngx_int_t ngx_sio_bridge_hand(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t self);

/*
 * By the holder: the line with this key; a new one has shipped everything up
 * to the present.  NULL: there are too many; the ones that are not in keys[]
 * are given up first.
 */
ngx_sio_bridge_line_t *ngx_sio_bridge_line(ngx_sio_bridge_t *b, uint64_t key,
    uint64_t *keys, ngx_uint_t nkeys);

/* NULL: nobody has served it */
ngx_sio_bridge_line_t *ngx_sio_bridge_find_line(ngx_sio_bridge_t *b,
    uint64_t key);

/* NULL: not known */
ngx_sio_bridge_peer_t *ngx_sio_bridge_find(ngx_sio_bridge_t *b, u_char *id);

/* ... with these first octets */
ngx_sio_bridge_peer_t *ngx_sio_bridge_find_tag(ngx_sio_bridge_t *b,
    u_char *tag, size_t len);

/*
 * By the holder: makes a place for a host that was not known, which has been
 * followed up to this ordinal, in place of the one that has been silent for
 * longest if need be.  NULL: all of them were heard within "idle" seconds.
 */
ngx_sio_bridge_peer_t *ngx_sio_bridge_insert(ngx_sio_bridge_t *b, u_char *id,
    uint64_t applied, time_t now, time_t idle);

/* what this host calls a line, not 0 */
ngx_uint_t ngx_sio_bridge_number(ngx_sio_bridge_t *b,
    ngx_sio_bridge_line_t *line);

/*
 * By the holder: what a host calls a line that it was heard by; 0: it was not.
 */
uint8_t *ngx_sio_bridge_shared(ngx_sio_bridge_t *b,
    ngx_sio_bridge_peer_t *peer, ngx_sio_bridge_line_t *line);

/* By the holder: it said goodbye. */
void ngx_sio_bridge_remove(ngx_sio_bridge_peer_t *peer);

/* The hosts heard since then, without the lock; this one is none of them. */
ngx_uint_t ngx_sio_bridge_count(ngx_sio_bridge_t *b, time_t since);


#endif /* _NGX_SIO_BRIDGE_H_INCLUDED_ */
