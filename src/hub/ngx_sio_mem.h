
/*
 * The memory that all workers share: where it comes from, its lock, and how
 * it is divided.
 *
 * Layer:      hub; nginx core types and logging.
 * Ownership:  mappings belong to a static list of this process; attach gives
 *             none away, prune unmaps what a new configuration dropped.
 * Trust:      only this program writes here; magic, layout and size are still
 *             compared before memory that survived an exec is believed.
 * Reference:  memfd_create(2), pthread_mutexattr_setrobust(3).
 *
 * The memory is a memfd without close-on-exec: fork and exec inherit it, so
 * it outlives reload and binary upgrade.  Without memfd or /proc it is an
 * anonymous mapping; then a binary upgrade separates old and new workers.
 *
 * It starts as zeros, and zeros are a valid empty state of every structure in
 * it, so there is no formatting that could be half done.  It has no pointers,
 * since each master maps it at an address of its own.
 */


#ifndef _NGX_SIO_MEM_H_INCLUDED_
#define _NGX_SIO_MEM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* the smallest zone; its largest entry is about 40 kB */
#define NGX_SIO_MEM_MIN_SIZE   (512 * 1024)
#define NGX_SIO_MEM_MAX_SIZE   ((size_t) 1 << (NGX_PTR_SIZE == 8 ? 36 : 30))
#define NGX_SIO_MEM_MAX_NAME   128


/*
 * The store that makes a change true.  For a process that dies, everything
 * written above it is done before, everything below it comes after; a plain
 * release store would let the compiler move later ones up.
 */

#define ngx_sio_mem_commit(p, value)                                          \
    do {                                                                      \
        __atomic_signal_fence(__ATOMIC_SEQ_CST);                              \
        __atomic_store_n(p, value, __ATOMIC_RELEASE);                         \
        __atomic_signal_fence(__ATOMIC_SEQ_CST);                              \
    } while (0)


typedef struct ngx_sio_mem_s  ngx_sio_mem_t;

typedef enum {
    NGX_SIO_MEM_SLOTS = 0,          /* fixed size */
    NGX_SIO_MEM_BRIDGE,             /* fixed size */
    NGX_SIO_MEM_RING,               /* 1/2 of the rest */
    NGX_SIO_MEM_DIRECTORY,          /* 1/8 of the rest */
    NGX_SIO_MEM_JOURNAL,            /* 3/8 of the rest */
    NGX_SIO_MEM_REGIONS
} ngx_sio_mem_region_e;

/*
 * Called under the lock after its holder died inside it.  It must be
 * repeatable: if this process dies in it, the next one calls it again.
 */
typedef void (*ngx_sio_mem_repair_pt)(void *data);


/*
 * For the master, in init_module, never for "nginx -t".  Returns the mapping
 * that this process already has for name and size, else one inherited over an
 * exec, else a new one; NULL if there is no memory or name or size are out of
 * bounds (logged).  The size is the zone's, a multiple of the page size or
 * rounded down to one.
 */
ngx_sio_mem_t *ngx_sio_mem_attach(ngx_str_t *name, size_t size,
    ngx_log_t *log);

/*
 * For the master, after the last attach of a configuration: unmaps what was
 * not attached since the last prune, and closes what an exec left behind.
 */
void ngx_sio_mem_prune(void);

/* where a region begins, and its size; aligned to a cache line */
void *ngx_sio_mem_region(ngx_sio_mem_t *mem, ngx_sio_mem_region_e region,
    size_t *size);

/* the size of a region in a zone of this size; 0 if the zone is too small */
size_t ngx_sio_mem_region_size(size_t zone, ngx_sio_mem_region_e region);

/* sets who repairs, and who logs, in this process */
void ngx_sio_mem_set_repair(ngx_sio_mem_t *mem, ngx_sio_mem_repair_pt repair,
    void *data, ngx_log_t *log);

ngx_str_t *ngx_sio_mem_name(ngx_sio_mem_t *mem);
size_t ngx_sio_mem_size(ngx_sio_mem_t *mem);

/*
 * The one lock of the hub; not recursive, held for microseconds.  A holder
 * that was killed is replaced at once, after the repair.  A holder that was
 * stopped inside (SIGSTOP, debugger) makes the others wait until it goes on
 * or is killed; every 5 seconds the log names it.
 *
 *   NGX_OK      locked
 *   NGX_ERROR   the lock is broken (logged once); nothing may be touched
 */
ngx_int_t ngx_sio_mem_lock(ngx_sio_mem_t *mem);
void ngx_sio_mem_unlock(ngx_sio_mem_t *mem);


#endif /* _NGX_SIO_MEM_H_INCLUDED_ */
