
#include "ngx_sio_directory.h"


#define NGX_SIO_DIRECTORY_WINDOW   64

/* entries that are swept under one lock */
#define NGX_SIO_DIRECTORY_CHUNK    1024


struct ngx_sio_directory_head_s {
    uint64_t    used;
    uint64_t    reserved[7];
};


struct ngx_sio_directory_entry_s {
    u_char      key[NGX_SIO_DIRECTORY_KEY];
    uint64_t    owner;                    /* packed; 0: free */
};


static ngx_sio_directory_entry_t *ngx_sio_directory_search(
    ngx_sio_directory_t *d, u_char *key, ngx_sio_directory_entry_t **room);
static ngx_uint_t ngx_sio_directory_alive(ngx_sio_directory_t *d,
    ngx_sio_directory_entry_t *entry);


void
ngx_sio_directory_init(ngx_sio_directory_t *d, ngx_sio_mem_t *mem,
    ngx_sio_slots_t *slots)
{
    size_t  size;

    d->mem = mem;
    d->slots = slots;
    d->head = ngx_sio_mem_region(mem, NGX_SIO_MEM_DIRECTORY, &size);
    d->entries = (ngx_sio_directory_entry_t *) (d->head + 1);
    d->nentries = (size - sizeof(ngx_sio_directory_head_t))
                  / sizeof(ngx_sio_directory_entry_t);
}


ngx_int_t
ngx_sio_directory_find(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_hub_addr_t *addr)
{
    ngx_int_t                   rc;
    ngx_sio_directory_entry_t  *entry, *room;

    if (ngx_sio_mem_lock(d->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;
    entry = ngx_sio_directory_search(d, key, &room);

    if (entry) {
        *addr = ngx_sio_hub_addr_unpack(entry->owner);
        rc = NGX_OK;
    }

    ngx_sio_mem_unlock(d->mem);

    return rc;
}


ngx_int_t
ngx_sio_directory_insert(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_hub_addr_t addr)
{
    ngx_int_t                   rc;
    ngx_sio_directory_entry_t  *entry, *room;

    if (ngx_sio_mem_lock(d->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_OK;
    entry = ngx_sio_directory_search(d, key, &room);

    if (entry == NULL && room) {
        d->head->used += (room->owner == 0);
        ngx_memcpy(room->key, key, NGX_SIO_DIRECTORY_KEY);
        entry = room;
    }

    if (entry) {
        ngx_sio_mem_commit(&entry->owner, ngx_sio_hub_addr_pack(addr));

    } else {
        rc = NGX_BUSY;
    }

    ngx_sio_mem_unlock(d->mem);

    return rc;
}


void
ngx_sio_directory_remove(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_hub_addr_t addr)
{
    ngx_sio_directory_entry_t  *entry, *room;

    if (ngx_sio_mem_lock(d->mem) != NGX_OK) {
        return;
    }

    entry = ngx_sio_directory_search(d, key, &room);

    if (entry && entry->owner == ngx_sio_hub_addr_pack(addr)) {
        ngx_sio_mem_commit(&entry->owner, 0);
        d->head->used--;
    }

    ngx_sio_mem_unlock(d->mem);
}


ngx_int_t
ngx_sio_directory_sweep(ngx_sio_directory_t *d, size_t *cursor)
{
    size_t                      last;
    ngx_sio_directory_entry_t  *entry;

    if (ngx_sio_mem_lock(d->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    last = ngx_min(*cursor + NGX_SIO_DIRECTORY_CHUNK, d->nentries);

    while (*cursor < last) {
        entry = &d->entries[(*cursor)++];

        if (entry->owner != 0 && !ngx_sio_directory_alive(d, entry)) {
            ngx_sio_mem_commit(&entry->owner, 0);
            d->head->used--;
        }
    }

    ngx_sio_mem_unlock(d->mem);

    return last < d->nentries ? NGX_AGAIN : NGX_DONE;
}


size_t
ngx_sio_directory_used(ngx_sio_directory_t *d)
{
    return __atomic_load_n(&d->head->used, __ATOMIC_RELAXED);
}


void
ngx_sio_directory_repair(ngx_sio_directory_t *d)
{
    size_t  i, used;

    used = 0;

    for (i = 0; i < d->nentries; i++) {
        used += (d->entries[i].owner != 0);
    }

    d->head->used = used;
}


/*
 * The living entry of a key, and the first place where one could be put.
 * Since an entry is removed without a tombstone, a free place does not end
 * the search; since keys are random, a window is seldom full before two thirds
 * of the table are.
 */

static ngx_sio_directory_entry_t *
ngx_sio_directory_search(ngx_sio_directory_t *d, u_char *key,
    ngx_sio_directory_entry_t **room)
{
    size_t                      i;
    uint64_t                    hash;
    ngx_uint_t                  n;
    ngx_sio_directory_entry_t  *entry;

    *room = NULL;

    ngx_memcpy(&hash, key, sizeof(uint64_t));
    hash *= 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;

    i = hash % d->nentries;

    for (n = 0; n < NGX_SIO_DIRECTORY_WINDOW; n++) {
        entry = &d->entries[i];

        if (!ngx_sio_directory_alive(d, entry)) {
            if (*room == NULL) {
                *room = entry;
            }

        } else if (ngx_memcmp(entry->key, key, NGX_SIO_DIRECTORY_KEY) == 0) {
            return entry;
        }

        if (++i == d->nentries) {
            i = 0;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_sio_directory_alive(ngx_sio_directory_t *d,
    ngx_sio_directory_entry_t *entry)
{
    uint64_t  owner;

    owner = __atomic_load_n(&entry->owner, __ATOMIC_RELAXED);

    return owner != 0
           && ngx_sio_slots_alive(d->slots, ngx_sio_hub_addr_unpack(owner));
}
