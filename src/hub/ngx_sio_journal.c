
#include "ngx_sio_journal.h"


#define NGX_SIO_JOURNAL_BLOCK      256
#define NGX_SIO_JOURNAL_DATA       (NGX_SIO_JOURNAL_BLOCK                     \
                                    - 2 * sizeof(uint32_t))

/* records looked at under one lock */
#define NGX_SIO_JOURNAL_CHUNK      256


/* records and blocks are named by their index plus 1; 0 is none */

struct ngx_sio_journal_head_s {
    uint32_t    free_block;
    uint32_t    free_record;
    uint32_t    fresh_block;              /* from here on never used */
    uint32_t    fresh_record;
    uint32_t    used;                     /* blocks */
    uint32_t    reserved[11];
};


struct ngx_sio_journal_record_s {
    uint64_t    owner;                    /* packed; 0: free */
    uint64_t    body;                     /* first block << 32 | length */
    uint32_t    check;                    /* counts the uses of the record */
    uint32_t    next;                     /* free one */
};


struct ngx_sio_journal_block_s {
    uint32_t    next;                     /* of the record, or free one */
    uint32_t    marked;                   /* in a repair: referred to */
    u_char      data[NGX_SIO_JOURNAL_DATA];
};


static ngx_int_t ngx_sio_journal_length(ngx_str_t *parts, ngx_uint_t nparts,
    size_t *length);
static uint32_t ngx_sio_journal_blocks(size_t length);
static ngx_uint_t ngx_sio_journal_room(ngx_sio_journal_t *j, size_t length);
static uint64_t ngx_sio_journal_write(ngx_sio_journal_t *j, ngx_str_t *parts,
    ngx_uint_t nparts, size_t length);
static void ngx_sio_journal_read(ngx_sio_journal_t *j, uint64_t body,
    u_char *dst);
static void ngx_sio_journal_free_body(ngx_sio_journal_t *j, uint64_t body);
static uint32_t ngx_sio_journal_take_block(ngx_sio_journal_t *j);
static uint32_t ngx_sio_journal_take_record(ngx_sio_journal_t *j);
static ngx_sio_journal_record_t *ngx_sio_journal_find(ngx_sio_journal_t *j,
    uint64_t id);
static uint64_t ngx_sio_journal_id(ngx_sio_journal_t *j,
    ngx_sio_journal_record_t *r);
static uint32_t ngx_sio_journal_mark(ngx_sio_journal_t *j, uint64_t body);


void
ngx_sio_journal_init(ngx_sio_journal_t *j, ngx_sio_mem_t *mem)
{
    size_t  size;

    j->mem = mem;
    j->head = ngx_sio_mem_region(mem, NGX_SIO_MEM_JOURNAL, &size);

    size -= sizeof(ngx_sio_journal_head_t);

    j->nblocks = size / (sizeof(ngx_sio_journal_record_t)
                         + sizeof(ngx_sio_journal_block_t));

    j->records = (ngx_sio_journal_record_t *) (j->head + 1);
    j->blocks = (ngx_sio_journal_block_t *) (j->records + j->nblocks);
}


ngx_int_t
ngx_sio_journal_insert(ngx_sio_journal_t *j, ngx_sio_hub_addr_t owner,
    ngx_str_t *parts, ngx_uint_t nparts, uint64_t *id)
{
    size_t                     length;
    ngx_sio_journal_record_t  *r;

    if (ngx_sio_journal_length(parts, nparts, &length) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_sio_mem_lock(j->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_sio_journal_room(j, length)) {
        ngx_sio_mem_unlock(j->mem);
        return NGX_BUSY;
    }

    /* a record has a block at least, so where a block is free a record is */

    r = &j->records[ngx_sio_journal_take_record(j) - 1];

    r->check++;
    r->body = ngx_sio_journal_write(j, parts, nparts, length);

    ngx_sio_mem_commit(&r->owner, ngx_sio_hub_addr_pack(owner));

    *id = ngx_sio_journal_id(j, r);

    ngx_sio_mem_unlock(j->mem);

    return NGX_OK;
}


ngx_int_t
ngx_sio_journal_update(ngx_sio_journal_t *j, uint64_t id, ngx_str_t *parts,
    ngx_uint_t nparts)
{
    size_t                     length;
    uint64_t                   old, body;
    ngx_int_t                  rc;
    ngx_sio_journal_record_t  *r;

    if (ngx_sio_journal_length(parts, nparts, &length) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_sio_mem_lock(j->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    r = ngx_sio_journal_find(j, id);

    if (r == NULL) {
        rc = NGX_DECLINED;

    } else if (!ngx_sio_journal_room(j, length)) {
        rc = NGX_BUSY;

    } else {
        old = r->body;
        body = ngx_sio_journal_write(j, parts, nparts, length);
        ngx_sio_mem_commit(&r->body, body);
        ngx_sio_journal_free_body(j, old);
        rc = NGX_OK;
    }

    ngx_sio_mem_unlock(j->mem);

    return rc;
}


ngx_int_t
ngx_sio_journal_poke(ngx_sio_journal_t *j, uint64_t id, size_t offset,
    uint32_t n)
{
    size_t                     length;
    ngx_sio_journal_block_t   *b;
    ngx_sio_journal_record_t  *r;

    r = ngx_sio_journal_find(j, id);
    if (r == NULL) {
        return NGX_DECLINED;
    }

    length = ngx_min((r->body & 0xffffffff), NGX_SIO_JOURNAL_DATA);

    if (offset % sizeof(uint32_t)
        || length < sizeof(uint32_t) || offset > length - sizeof(uint32_t))
    {
        return NGX_DECLINED;
    }

    b = &j->blocks[(r->body >> 32) - 1];

    __atomic_store_n((uint32_t *) (b->data + offset), n, __ATOMIC_RELEASE);

    return NGX_OK;
}


ngx_int_t
ngx_sio_journal_chown(ngx_sio_journal_t *j, uint64_t id,
    ngx_sio_hub_addr_t from, ngx_sio_hub_addr_t to)
{
    ngx_int_t                  rc;
    ngx_sio_journal_record_t  *r;

    if (ngx_sio_mem_lock(j->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;
    r = ngx_sio_journal_find(j, id);

    if (r && r->owner == ngx_sio_hub_addr_pack(from)) {
        ngx_sio_mem_commit(&r->owner, ngx_sio_hub_addr_pack(to));
        rc = NGX_OK;
    }

    ngx_sio_mem_unlock(j->mem);

    return rc;
}


ngx_int_t
ngx_sio_journal_recall(ngx_sio_journal_t *j, uint64_t *id,
    ngx_sio_hub_addr_t from, ngx_sio_hub_addr_t to)
{
    ngx_int_t                  rc;
    ngx_sio_journal_record_t  *r;

    if (ngx_sio_mem_lock(j->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;
    r = ngx_sio_journal_find(j, *id);

    if (r && r->owner == ngx_sio_hub_addr_pack(from)) {

        /* its owner, not its id, is how it is found if we die in between */

        r->check++;
        ngx_sio_mem_commit(&r->owner, ngx_sio_hub_addr_pack(to));

        *id = ngx_sio_journal_id(j, r);
        rc = NGX_OK;
    }

    ngx_sio_mem_unlock(j->mem);

    return rc;
}


ngx_int_t
ngx_sio_journal_remove(ngx_sio_journal_t *j, uint64_t id)
{
    ngx_sio_journal_record_t  *r;

    if (ngx_sio_mem_lock(j->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    r = ngx_sio_journal_find(j, id);

    if (r) {
        ngx_sio_mem_commit(&r->owner, 0);

        ngx_sio_journal_free_body(j, r->body);

        r->next = j->head->free_record;
        j->head->free_record = r - j->records + 1;
    }

    ngx_sio_mem_unlock(j->mem);

    return r ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_sio_journal_take(ngx_sio_journal_t *j, uint32_t *cursor,
    ngx_sio_journal_match_pt match, void *data, ngx_sio_hub_addr_t taker,
    u_char *buf, uint64_t *id, size_t *length)
{
    uint32_t                   last;
    ngx_int_t                  rc;
    ngx_sio_journal_record_t  *r;

    if (ngx_sio_mem_lock(j->mem) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_AGAIN;
    last = j->head->fresh_record;

    if (last > *cursor && last - *cursor > NGX_SIO_JOURNAL_CHUNK) {
        last = *cursor + NGX_SIO_JOURNAL_CHUNK;
    }

    while (*cursor < last) {
        r = &j->records[(*cursor)++];

        if (r->owner == 0
            || !match(data, ngx_sio_hub_addr_unpack(r->owner)))
        {
            continue;
        }

        ngx_sio_mem_commit(&r->owner, ngx_sio_hub_addr_pack(taker));

        if (buf) {
            ngx_sio_journal_read(j, r->body, buf);
        }

        *id = ngx_sio_journal_id(j, r);
        *length = r->body & 0xffffffff;

        rc = NGX_OK;
        break;
    }

    if (rc == NGX_AGAIN && *cursor >= j->head->fresh_record) {
        rc = NGX_DONE;
    }

    ngx_sio_mem_unlock(j->mem);

    return rc;
}


uint64_t
ngx_sio_journal_size(ngx_sio_journal_t *j)
{
    return (uint64_t) j->nblocks * NGX_SIO_JOURNAL_BLOCK;
}


uint64_t
ngx_sio_journal_used(ngx_sio_journal_t *j)
{
    return (uint64_t) __atomic_load_n(&j->head->used, __ATOMIC_RELAXED)
           * NGX_SIO_JOURNAL_BLOCK;
}


/*
 * Rebuilds both free lists from what the owned records refer to; everything
 * else may have been half changed.
 */

void
ngx_sio_journal_repair(ngx_sio_journal_t *j)
{
    uint32_t                  i, used;
    ngx_sio_journal_head_t   *head;

    head = j->head;
    used = 0;

    for (i = 0; i < head->fresh_block; i++) {
        j->blocks[i].marked = 0;
    }

    head->free_record = 0;

    for (i = head->fresh_record; i > 0; i--) {

        if (j->records[i - 1].owner) {
            used += ngx_sio_journal_mark(j, j->records[i - 1].body);

        } else {
            j->records[i - 1].next = head->free_record;
            head->free_record = i;
        }
    }

    head->free_block = 0;

    for (i = head->fresh_block; i > 0; i--) {

        if (!j->blocks[i - 1].marked) {
            j->blocks[i - 1].next = head->free_block;
            head->free_block = i;
        }
    }

    head->used = used;
}


static ngx_int_t
ngx_sio_journal_length(ngx_str_t *parts, ngx_uint_t nparts, size_t *length)
{
    ngx_uint_t  i;

    *length = 0;

    for (i = 0; i < nparts; i++) {

        if (parts[i].len > NGX_SIO_JOURNAL_MAX - *length) {
            return NGX_DECLINED;
        }

        *length += parts[i].len;
    }

    return NGX_OK;
}


static uint32_t
ngx_sio_journal_blocks(size_t length)
{
    return length ? (length + NGX_SIO_JOURNAL_DATA - 1) / NGX_SIO_JOURNAL_DATA
                  : 1;
}


static ngx_uint_t
ngx_sio_journal_room(ngx_sio_journal_t *j, size_t length)
{
    return j->nblocks - j->head->used >= ngx_sio_journal_blocks(length);
}


/* writes into blocks that nobody refers to yet; there is room */

static uint64_t
ngx_sio_journal_write(ngx_sio_journal_t *j, ngx_str_t *parts,
    ngx_uint_t nparts, size_t length)
{
    size_t                    n, done, place;
    uint32_t                  first, next;
    ngx_uint_t                i;
    ngx_sio_journal_block_t  *b;

    first = ngx_sio_journal_take_block(j);
    b = &j->blocks[first - 1];
    place = 0;

    for (i = 0; i < nparts; i++) {

        for (done = 0; done < parts[i].len; done += n) {

            if (place == NGX_SIO_JOURNAL_DATA) {
                next = ngx_sio_journal_take_block(j);
                b->next = next;
                b = &j->blocks[next - 1];
                place = 0;
            }

            n = ngx_min(parts[i].len - done, NGX_SIO_JOURNAL_DATA - place);
            ngx_memcpy(b->data + place, parts[i].data + done, n);
            place += n;
        }
    }

    return (uint64_t) first << 32 | length;
}


static void
ngx_sio_journal_read(ngx_sio_journal_t *j, uint64_t body, u_char *dst)
{
    size_t                    n, length;
    ngx_sio_journal_block_t  *b;

    length = body & 0xffffffff;
    b = &j->blocks[(body >> 32) - 1];

    while (length) {
        n = ngx_min(length, NGX_SIO_JOURNAL_DATA);
        dst = ngx_cpymem(dst, b->data, n);
        length -= n;

        if (length) {
            b = &j->blocks[b->next - 1];
        }
    }
}


static void
ngx_sio_journal_free_body(ngx_sio_journal_t *j, uint64_t body)
{
    uint32_t                  n, i, next;
    ngx_sio_journal_block_t  *b;

    i = body >> 32;

    for (n = ngx_sio_journal_blocks(body & 0xffffffff); n; n--) {
        b = &j->blocks[i - 1];
        next = b->next;

        b->next = j->head->free_block;
        j->head->free_block = i;
        j->head->used--;

        i = next;
    }
}


static uint32_t
ngx_sio_journal_take_block(ngx_sio_journal_t *j)
{
    uint32_t  i;

    i = j->head->free_block;

    if (i) {
        j->head->free_block = j->blocks[i - 1].next;

    } else {
        i = ++j->head->fresh_block;
    }

    j->blocks[i - 1].next = 0;
    j->head->used++;

    return i;
}


static uint32_t
ngx_sio_journal_take_record(ngx_sio_journal_t *j)
{
    uint32_t  i;

    i = j->head->free_record;

    if (i) {
        j->head->free_record = j->records[i - 1].next;

    } else {
        i = ++j->head->fresh_record;
    }

    return i;
}


static ngx_sio_journal_record_t *
ngx_sio_journal_find(ngx_sio_journal_t *j, uint64_t id)
{
    uint32_t                   i;
    ngx_sio_journal_record_t  *r;

    i = id & 0xffffffff;

    if (i == 0 || i > j->head->fresh_record) {
        return NULL;
    }

    r = &j->records[i - 1];

    if (r->owner == 0 || r->check != id >> 32) {
        return NULL;
    }

    return r;
}


static uint64_t
ngx_sio_journal_id(ngx_sio_journal_t *j, ngx_sio_journal_record_t *r)
{
    return (uint64_t) r->check << 32 | (uint64_t) (r - j->records + 1);
}


/* the number of blocks of a body that is in use */

static uint32_t
ngx_sio_journal_mark(ngx_sio_journal_t *j, uint64_t body)
{
    uint32_t  i, n, blocks;

    i = body >> 32;
    blocks = ngx_sio_journal_blocks(body & 0xffffffff);

    for (n = 0; n < blocks; n++) {
        j->blocks[i - 1].marked = 1;
        i = j->blocks[i - 1].next;
    }

    return blocks;
}
