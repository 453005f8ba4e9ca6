
#include "ngx_sio_names.h"


static uint64_t ngx_sio_names_held(ngx_sio_slots_t *s);


ngx_uint_t
ngx_sio_names_hold(ngx_sio_mem_t *mem, ngx_sio_slots_t *s, ngx_uint_t slot,
    ngx_str_t *name)
{
    uint64_t               held;
    ngx_uint_t             i, found;
    ngx_sio_slots_name_t  *names;

    if (name->len > NGX_SIO_SLOTS_NAME_LEN
        || ngx_sio_mem_lock(mem) != NGX_OK)
    {
        return NGX_SIO_NAMES_OTHERS;
    }

    held = ngx_sio_names_held(s);
    names = s->head->names;
    found = NGX_SIO_NAMES_OTHERS;

    for (i = 0; i < NGX_SIO_SLOTS_NAMES; i++) {

        if (!(held >> i & 1)) {

            if (found == NGX_SIO_NAMES_OTHERS) {
                found = i;
            }

            continue;
        }

        if (names[i].len == name->len
            && ngx_memcmp(names[i].data, name->data, name->len) == 0)
        {
            found = i;
            break;
        }
    }

    if (found != NGX_SIO_NAMES_OTHERS) {

        if (!(held >> found & 1)) {
            names[found].len = (u_char) name->len;
            ngx_memcpy(names[found].data, name->data, name->len);
        }

        ngx_sio_mem_commit(&s->slots[slot].held,
                           s->slots[slot].held | (uint64_t) 1 << found);
    }

    ngx_sio_mem_unlock(mem);

    return found;
}


void
ngx_sio_names_release(ngx_sio_slots_t *s, ngx_uint_t slot, ngx_uint_t index)
{
    if (index != NGX_SIO_NAMES_OTHERS) {
        ngx_sio_mem_commit(&s->slots[slot].held,
                           s->slots[slot].held & ~((uint64_t) 1 << index));
    }
}


uint64_t
ngx_sio_names_sum(ngx_sio_slots_t *s, uint64_t *named)
{
    ngx_uint_t  i, n;

    ngx_memzero(named, (NGX_SIO_SLOTS_NAMES + 1) * sizeof(uint64_t));

    for (i = 0; i < s->head->high; i++) {

        if (!ngx_sio_slots_counts(s, i)) {
            continue;
        }

        for (n = 0; n <= NGX_SIO_SLOTS_NAMES; n++) {
            named[n] += __atomic_load_n(&s->slots[i].named[n],
                                        __ATOMIC_RELAXED);
        }
    }

    return ngx_sio_names_held(s);
}


static uint64_t
ngx_sio_names_held(ngx_sio_slots_t *s)
{
    uint64_t    held;
    ngx_uint_t  i;

    held = 0;

    for (i = 0; i < s->head->high; i++) {
        if (ngx_sio_slots_counts(s, i)) {
            held |= __atomic_load_n(&s->slots[i].held, __ATOMIC_ACQUIRE);
        }
    }

    return held;
}
