
#include "ngx_sio_bridge.h"
#include "ngx_sio_random.h"


static ngx_int_t ngx_sio_bridge_swap(uint64_t *word, ngx_sio_hub_addr_t from,
    ngx_sio_hub_addr_t to);
static void ngx_sio_bridge_name(ngx_sio_bridge_t *b, u_char *id);
static ngx_uint_t ngx_sio_bridge_wanted(uint64_t key, uint64_t *keys,
    ngx_uint_t nkeys);


ngx_int_t
ngx_sio_bridge_init(ngx_sio_bridge_t *b, ngx_sio_mem_t *mem)
{
    size_t  size;
    u_char  id[NGX_SIO_BRIDGE_ID];

    b->mem = mem;
    b->head = ngx_sio_mem_region(mem, NGX_SIO_MEM_BRIDGE, &size);

    if (__atomic_load_n(&b->head->named, __ATOMIC_ACQUIRE)) {
        return NGX_OK;
    }

    if (ngx_sio_random(id, NGX_SIO_BRIDGE_ID) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "no random octets for the id of a host");
        return NGX_ERROR;
    }

    id[0] |= 1;     /* its first octets, the tag, shall not be 0, see waiters */

    if (ngx_sio_mem_lock(mem) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sio_bridge_name(b, id);

    ngx_sio_mem_unlock(mem);

    return NGX_OK;
}


static void
ngx_sio_bridge_name(ngx_sio_bridge_t *b, u_char *id)
{
    if (b->head->named) {
        return;
    }

    ngx_memcpy(b->head->id, id, NGX_SIO_BRIDGE_ID);
    ngx_sio_mem_commit(&b->head->named, 1);
}


u_char *
ngx_sio_bridge_id(ngx_sio_bridge_t *b)
{
    return b->head->id;
}


ngx_sio_hub_addr_t
ngx_sio_bridge_holder(ngx_sio_bridge_t *b)
{
    return ngx_sio_hub_addr_unpack(__atomic_load_n(&b->head->holder,
                                                   __ATOMIC_ACQUIRE));
}


ngx_sio_hub_addr_t
ngx_sio_bridge_successor(ngx_sio_bridge_t *b)
{
    return ngx_sio_hub_addr_unpack(__atomic_load_n(&b->head->successor,
                                                   __ATOMIC_ACQUIRE));
}


ngx_int_t
ngx_sio_bridge_take(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t from,
    ngx_sio_hub_addr_t self)
{
    return ngx_sio_bridge_swap(&b->head->holder, from, self);
}


ngx_int_t
ngx_sio_bridge_follow(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t from,
    ngx_sio_hub_addr_t self)
{
    return ngx_sio_bridge_swap(&b->head->successor, from, self);
}


void
ngx_sio_bridge_leaving(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t self)
{
    ngx_sio_mem_commit(&b->head->leaving, ngx_sio_hub_addr_pack(self));
}


ngx_uint_t
ngx_sio_bridge_leaves(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t holder)
{
    return __atomic_load_n(&b->head->leaving, __ATOMIC_ACQUIRE)
           == ngx_sio_hub_addr_pack(holder);
}


ngx_int_t
ngx_sio_bridge_hand(ngx_sio_bridge_t *b, ngx_sio_hub_addr_t self)
{
    ngx_sio_hub_addr_t  successor;

    successor = ngx_sio_bridge_successor(b);

    if (ngx_sio_bridge_swap(&b->head->holder, self, successor) != NGX_OK) {
        return NGX_DECLINED;
    }

    (void) ngx_sio_bridge_follow(b, successor, ngx_sio_hub_addr(0, 0));

    return NGX_OK;
}


/* nobody is 0, whatever the slot says */

static ngx_int_t
ngx_sio_bridge_swap(uint64_t *word, ngx_sio_hub_addr_t from,
    ngx_sio_hub_addr_t to)
{
    uint64_t  old, new;

    old = from.generation ? ngx_sio_hub_addr_pack(from) : 0;
    new = to.generation ? ngx_sio_hub_addr_pack(to) : 0;

    return __atomic_compare_exchange_n(word, &old, new, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE)
           ? NGX_OK : NGX_DECLINED;
}


ngx_sio_bridge_line_t *
ngx_sio_bridge_line(ngx_sio_bridge_t *b, uint64_t key, uint64_t *keys,
    ngx_uint_t nkeys)
{
    ngx_uint_t              i;
    ngx_sio_bridge_line_t  *line, *vacant, *unused;

    vacant = NULL;
    unused = NULL;

    for (i = 0; i < NGX_SIO_BRIDGE_LINES; i++) {
        line = &b->head->lines[i];

        if (line->key == key) {
            return line;
        }

        if (line->key == 0) {
            vacant = line;

        } else if (!ngx_sio_bridge_wanted(line->key, keys, nkeys)) {
            unused = line;
        }
    }

    /* after a reload a worker may still be at work with what is not wanted */

    if (vacant != NULL) {
        unused = vacant;
    }

    if (unused == NULL) {
        return NULL;
    }

    ngx_sio_mem_commit(&unused->key, 0);

    for (i = 0; i < NGX_SIO_BRIDGE_PEERS; i++) {
        b->head->peers[i].numbers[unused - b->head->lines] = 0;
    }

    ngx_memzero(unused, sizeof(ngx_sio_bridge_line_t));
    unused->shipped = __atomic_load_n(&b->head->ordinal, __ATOMIC_ACQUIRE);

    ngx_sio_mem_commit(&unused->key, key);

    return unused;
}


static ngx_uint_t
ngx_sio_bridge_wanted(uint64_t key, uint64_t *keys, ngx_uint_t nkeys)
{
    ngx_uint_t  i;

    for (i = 0; i < nkeys; i++) {
        if (keys[i] == key) {
            return 1;
        }
    }

    return 0;
}


ngx_sio_bridge_line_t *
ngx_sio_bridge_find_line(ngx_sio_bridge_t *b, uint64_t key)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_SIO_BRIDGE_LINES; i++) {
        if (b->head->lines[i].key == key) {
            return &b->head->lines[i];
        }
    }

    return NULL;
}


ngx_sio_bridge_peer_t *
ngx_sio_bridge_find(ngx_sio_bridge_t *b, u_char *id)
{
    return ngx_sio_bridge_find_tag(b, id, NGX_SIO_BRIDGE_ID);
}


ngx_sio_bridge_peer_t *
ngx_sio_bridge_find_tag(ngx_sio_bridge_t *b, u_char *tag, size_t len)
{
    ngx_uint_t              i;
    ngx_sio_bridge_peer_t  *peer;

    for (i = 0; i < NGX_SIO_BRIDGE_PEERS; i++) {
        peer = &b->head->peers[i];

        if (__atomic_load_n(&peer->heard, __ATOMIC_ACQUIRE)
            && ngx_memcmp(peer->id, tag, len) == 0)
        {
            return peer;
        }
    }

    return NULL;
}


ngx_sio_bridge_peer_t *
ngx_sio_bridge_insert(ngx_sio_bridge_t *b, u_char *id, uint64_t applied,
    time_t now, time_t idle)
{
    ngx_uint_t              i;
    ngx_sio_bridge_peer_t  *peer, *place;

    place = &b->head->peers[0];

    for (i = 1; i < NGX_SIO_BRIDGE_PEERS; i++) {
        peer = &b->head->peers[i];

        if (peer->heard < place->heard) {
            place = peer;
        }
    }

    if (place->heard && (time_t) place->heard + idle > now) {
        return NULL;
    }

    ngx_sio_bridge_remove(place);

    ngx_memcpy(place->id, id, NGX_SIO_BRIDGE_ID);
    place->applied = applied;
    place->missed = 0;
    place->holder = 0;
    place->workers = 0;
    place->sockets = 0;
    ngx_memzero(place->numbers, sizeof(place->numbers));

    ngx_sio_mem_commit(&place->heard, (uint64_t) now);

    return place;
}


ngx_uint_t
ngx_sio_bridge_number(ngx_sio_bridge_t *b, ngx_sio_bridge_line_t *line)
{
    return line - b->head->lines + 1;
}


uint8_t *
ngx_sio_bridge_shared(ngx_sio_bridge_t *b, ngx_sio_bridge_peer_t *peer,
    ngx_sio_bridge_line_t *line)
{
    return &peer->numbers[line - b->head->lines];
}


void
ngx_sio_bridge_remove(ngx_sio_bridge_peer_t *peer)
{
    ngx_sio_mem_commit(&peer->heard, 0);
}


ngx_uint_t
ngx_sio_bridge_count(ngx_sio_bridge_t *b, time_t since)
{
    time_t      heard;
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_SIO_BRIDGE_PEERS; i++) {
        heard = (time_t) __atomic_load_n(&b->head->peers[i].heard,
                                         __ATOMIC_RELAXED);

        if (heard && heard >= since) {
            n++;
        }
    }

    return n;
}
