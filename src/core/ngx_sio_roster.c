
#include "ngx_sio_roster.h"


/* entries; most rooms are small */
#define NGX_SIO_ROSTER_MIN  4


static ngx_int_t ngx_sio_roster_resize(ngx_sio_roster_t *roster,
    ngx_uint_t size);


void
ngx_sio_roster_init(ngx_sio_roster_t *roster)
{
    ngx_memzero(roster, sizeof(ngx_sio_roster_t));
}


void
ngx_sio_roster_done(ngx_sio_roster_t *roster)
{
    if (roster->entries != NULL) {
        ngx_free(roster->entries);
    }
}


ngx_int_t
ngx_sio_roster_reserve(ngx_sio_roster_t *roster, ngx_uint_t n)
{
    ngx_uint_t  size;

    if (n <= roster->size) {
        return NGX_OK;
    }

    size = ngx_max(NGX_SIO_ROSTER_MIN, roster->size);

    while (size < n) {
        size *= 2;
    }

    return ngx_sio_roster_resize(roster, size);
}


void
ngx_sio_roster_shrink(ngx_sio_roster_t *roster, ngx_uint_t n)
{
    if (n < roster->size / 4 && roster->size > NGX_SIO_ROSTER_MIN) {

        /* without memory for less it stays as it is */

        (void) ngx_sio_roster_resize(roster, roster->size / 2);
    }
}


ngx_int_t
ngx_sio_roster_insert(ngx_sio_roster_t *roster, ngx_sio_socket_t *so,
    uint32_t *place)
{
    if (ngx_sio_roster_reserve(roster, roster->n + 1) != NGX_OK) {
        return NGX_ERROR;
    }

    *place = roster->n;

    roster->entries[roster->n].socket = so;
    roster->entries[roster->n].place = place;
    roster->n++;

    return NGX_OK;
}


void
ngx_sio_roster_remove(ngx_sio_roster_t *roster, uint32_t place)
{
    ngx_sio_roster_entry_t  *last;

    last = &roster->entries[--roster->n];

    roster->entries[place] = *last;
    *last->place = place;
}


static ngx_int_t
ngx_sio_roster_resize(ngx_sio_roster_t *roster, ngx_uint_t size)
{
    ngx_sio_roster_entry_t  *entries;

    entries = ngx_alloc(size * sizeof(ngx_sio_roster_entry_t), ngx_cycle->log);
    if (entries == NULL) {
        return NGX_ERROR;
    }

    if (roster->n > 0) {
        ngx_memcpy(entries, roster->entries,
                   roster->n * sizeof(ngx_sio_roster_entry_t));
    }

    ngx_sio_roster_done(roster);

    roster->entries = entries;
    roster->size = size;

    return NGX_OK;
}
