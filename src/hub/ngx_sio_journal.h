
/*
 * The journal: one record for each accepted connect, kept until its
 * disconnect has been delivered, so that a sibling can deliver it when the
 * worker is killed.
 *
 * Layer:      hub; nginx core types.
 * Ownership:  records are in the zone and belong to a worker's address; bytes
 *             are copied in and out.  ngx_sio_journal_t is a view.
 * Trust:      an id may be stale, never forged; the check counter in it tells.
 * Reference:  architecture, "every accepted connect has one disconnect".
 *
 *   records  | owner check body |  0  free  | owner check body | ...
 *                          |                          |
 *   blocks   [256]--->[256]'      [256] free list     [256]
 *
 * Writer dies: "owner" (insert, remove, chown) and "body" (update) are the
 * commits, one word each; the repair collects blocks and records that nobody
 * refers to.  Owner dies: its records stay until a sibling takes them.
 * Reload: they stay.  Full: NGX_BUSY, nothing changed.
 *
 * All functions but poke() take the lock of the zone themselves.
 */


#ifndef _NGX_SIO_JOURNAL_H_INCLUDED_
#define _NGX_SIO_JOURNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"


/* the longest record */
#define NGX_SIO_JOURNAL_MAX   16384


typedef struct ngx_sio_journal_head_s    ngx_sio_journal_head_t;
typedef struct ngx_sio_journal_record_s  ngx_sio_journal_record_t;
typedef struct ngx_sio_journal_block_s   ngx_sio_journal_block_t;

typedef struct {
    ngx_sio_mem_t             *mem;
    ngx_sio_journal_head_t    *head;            /* these three in the zone */
    ngx_sio_journal_record_t  *records;
    ngx_sio_journal_block_t   *blocks;
    uint32_t                   nblocks;         /* and as many records */
} ngx_sio_journal_t;

/* whether records of this owner are wanted; called under the lock */
typedef ngx_uint_t (*ngx_sio_journal_match_pt)(void *data,
    ngx_sio_hub_addr_t owner);


void ngx_sio_journal_init(ngx_sio_journal_t *j, ngx_sio_mem_t *mem);

/*
 * The parts are stored one behind the other.
 *
 *   NGX_OK        *id is filled; an id is never 0
 *   NGX_BUSY      the journal is full; nothing was taken
 *   NGX_DECLINED  longer than NGX_SIO_JOURNAL_MAX
 *   NGX_ERROR     the lock is broken
 */
ngx_int_t ngx_sio_journal_insert(ngx_sio_journal_t *j,
    ngx_sio_hub_addr_t owner, ngx_str_t *parts, ngx_uint_t nparts,
    uint64_t *id);

/*
 * Replaces the bytes; needs room for old and new at once.
 *
 *   NGX_OK, NGX_BUSY, NGX_ERROR as above; with NGX_BUSY the old bytes stay
 *   NGX_DECLINED  too long, or no such record
 */
ngx_int_t ngx_sio_journal_update(ngx_sio_journal_t *j, uint64_t id,
    ngx_str_t *parts, ngx_uint_t nparts);

/*
 * Stores a number over four octets of the caller's own record, without the
 * lock: one store, which is there or is not.
 *
 *   NGX_OK
 *   NGX_DECLINED  no such record, or not a multiple of four in its first block
 */
ngx_int_t ngx_sio_journal_poke(ngx_sio_journal_t *j, uint64_t id,
    size_t offset, uint32_t n);

/*
 * NGX_OK; NGX_DECLINED: no such record, or not one of "from"; NGX_ERROR: the
 * lock is broken
 */
ngx_int_t ngx_sio_journal_chown(ngx_sio_journal_t *j, uint64_t id,
    ngx_sio_hub_addr_t from, ngx_sio_hub_addr_t to);

/*
 * The same, and *id is a new one: whoever knows the old one, and was about to
 * use it, finds no such record.
 */
ngx_int_t ngx_sio_journal_recall(ngx_sio_journal_t *j, uint64_t *id,
    ngx_sio_hub_addr_t from, ngx_sio_hub_addr_t to);

/* NGX_OK; NGX_DECLINED: no such record; NGX_ERROR: the lock is broken */
ngx_int_t ngx_sio_journal_remove(ngx_sio_journal_t *j, uint64_t id);

/*
 * Walks over all records, a chunk for each call, and gives the next one whose
 * owner matches to taker.  *cursor starts at 0.  A taker equal to the matched
 * owner only reads.  buf has NGX_SIO_JOURNAL_MAX bytes, or is NULL when the
 * bytes do not matter.
 *
 *   NGX_OK        taken; *id and *length are filled; call again
 *   NGX_AGAIN     none in this chunk; call again
 *   NGX_DONE      the end
 *   NGX_ERROR     the lock is broken
 */
ngx_int_t ngx_sio_journal_take(ngx_sio_journal_t *j, uint32_t *cursor,
    ngx_sio_journal_match_pt match, void *data, ngx_sio_hub_addr_t taker,
    u_char *buf, uint64_t *id, size_t *length);

/* bytes, in whole blocks; read without the lock */
uint64_t ngx_sio_journal_size(ngx_sio_journal_t *j);
uint64_t ngx_sio_journal_used(ngx_sio_journal_t *j);

/* after the holder of the lock died; under the lock, see ngx_sio_mem.h */
void ngx_sio_journal_repair(ngx_sio_journal_t *j);


#endif /* _NGX_SIO_JOURNAL_H_INCLUDED_ */
