
/*
 * The directory: which worker owns a session that has left the worker named
 * in its sid.
 *
 * Layer:      hub; nginx core types.
 * Ownership:  the table is in the zone; ngx_sio_directory_t is a view of it.
 *             Entries of workers that are gone belong to nobody and are
 *             reclaimed by whoever meets them, or sweeps.
 * Hostile:    keys looked up come from clients; a search is bounded.
 * Reference:  open addressing with a bounded window and no tombstones.
 *
 *    home of a key                    window of 64 entries
 *        |                                    |
 *   +----v---+--------+--------+--------+-----v--+
 *   |  key   |  free  |  dead  |  key   | ...    |     owner 0: free
 *   | owner  |   0    | owner  | owner  |        |
 *   +--------+--------+--------+--------+--------+
 *
 * Writer dies: the owner is stored last and in one word, so an entry is there
 * or not; the repair counts them again.  Reload: they stay.  Full: see insert.
 *
 * All functions take the lock of the zone themselves.
 */


#ifndef _NGX_SIO_DIRECTORY_H_INCLUDED_
#define _NGX_SIO_DIRECTORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_hub_addr.h"
#include "ngx_sio_mem.h"
#include "ngx_sio_slots.h"


#define NGX_SIO_DIRECTORY_KEY    16
#define NGX_SIO_DIRECTORY_ENTRY  24       /* bytes */


typedef struct ngx_sio_directory_head_s   ngx_sio_directory_head_t;
typedef struct ngx_sio_directory_entry_s  ngx_sio_directory_entry_t;

typedef struct {
    ngx_sio_mem_t              *mem;
    ngx_sio_slots_t            *slots;
    ngx_sio_directory_head_t   *head;           /* both in the zone */
    ngx_sio_directory_entry_t  *entries;
    size_t                      nentries;
} ngx_sio_directory_t;


void ngx_sio_directory_init(ngx_sio_directory_t *d, ngx_sio_mem_t *mem,
    ngx_sio_slots_t *slots);

/*
 *   NGX_OK        *addr is filled; the worker was alive just now
 *   NGX_DECLINED  not here
 *   NGX_ERROR     the lock is broken
 */
ngx_int_t ngx_sio_directory_find(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_hub_addr_t *addr);

/*
 * Enters a session, or changes its owner.
 *
 *   NGX_OK        done
 *   NGX_BUSY      no room near this key; nothing was changed
 *   NGX_ERROR     the lock is broken
 */
ngx_int_t ngx_sio_directory_insert(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_hub_addr_t addr);

/* removes key if it belongs to addr; a newer owner's entry stays */
void ngx_sio_directory_remove(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_hub_addr_t addr);

/*
 * Removes what workers that are gone have left, a chunk for each call.
 * *cursor starts at 0.
 *
 *   NGX_AGAIN     call again
 *   NGX_DONE      the end
 *   NGX_ERROR     the lock is broken
 */
ngx_int_t ngx_sio_directory_sweep(ngx_sio_directory_t *d, size_t *cursor);

/*
 * Entries in use, those of workers that are gone included until somebody
 * meets or sweeps them.  Read without the lock.
 */
size_t ngx_sio_directory_used(ngx_sio_directory_t *d);

/* after the holder of the lock died; under the lock, see ngx_sio_mem.h */
void ngx_sio_directory_repair(ngx_sio_directory_t *d);


#endif /* _NGX_SIO_DIRECTORY_H_INCLUDED_ */
