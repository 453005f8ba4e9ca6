
/* link: src/hub/ngx_sio_mem.c src/hub/ngx_sio_journal.c */
/* libs: -lpthread */

#include "hub_test.h"
#include "ngx_sio_journal.h"


#define KILLS   200


static ngx_sio_mem_t      *mem;
static ngx_sio_journal_t   j;
static ngx_uint_t          repairs;
static u_char              bytes[2 * NGX_SIO_JOURNAL_MAX];
static u_char              copy[NGX_SIO_JOURNAL_MAX];


static void
repair(void *data)
{
    (void) data;

    ngx_sio_journal_repair(&j);
    repairs++;
}


static void
open_journal(const char *name)
{
    mem = hub_test_attach(name, HUB_TEST_SIZE);

    ngx_sio_journal_init(&j, mem);
    ngx_sio_mem_set_repair(mem, repair, NULL, &hub_test_log);
}


static ngx_sio_hub_addr_t
worker(uint32_t generation)
{
    return ngx_sio_hub_addr(generation % NGX_SIO_HUB_SLOTS, generation);
}


/*
 * A record says its length and its seed first, and all other bytes follow
 * from the seed, so that any mixture of two records is found out.
 */

static void
parts_of(ngx_str_t *parts, u_char *buf, uint32_t length, uint32_t seed)
{
    uint32_t  i;

    memcpy(buf, &length, 4);
    memcpy(buf + 4, &seed, 4);

    for (i = 8; i < length; i++) {
        buf[i] = seed + i * 7;
    }

    parts[0].data = buf;
    parts[0].len = length / 2;
    parts[1].data = buf + length / 2;
    parts[1].len = length - length / 2;
}


static ngx_uint_t
whole(u_char *buf, size_t n)
{
    uint32_t  i, length, seed;

    if (n < 8) {
        return 0;
    }

    memcpy(&length, buf, 4);
    memcpy(&seed, buf + 4, 4);

    if (length != n) {
        return 0;
    }

    for (i = 8; i < length; i++) {
        if (buf[i] != (u_char) (seed + i * 7)) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
insert(uint32_t owner, uint32_t length, uint32_t seed, uint64_t *id)
{
    ngx_str_t  parts[2];

    parts_of(parts, bytes, length, seed);

    return ngx_sio_journal_insert(&j, worker(owner), parts, 2, id);
}


static ngx_int_t
update(uint64_t id, uint32_t length, uint32_t seed)
{
    ngx_str_t  parts[2];

    parts_of(parts, bytes, length, seed);

    return ngx_sio_journal_update(&j, id, parts, 2);
}


static ngx_uint_t
matches(void *data, ngx_sio_hub_addr_t owner)
{
    ngx_sio_hub_addr_t *addr = data;

    return addr == NULL || ngx_sio_hub_addr_equal(owner, *addr);
}


/* counts the records of one owner, or of all (0); ~0 if one is broken */

static ngx_uint_t
count(uint32_t generation, uint32_t taker, ngx_uint_t *chunks)
{
    size_t              length;
    uint32_t            cursor;
    uint64_t            id;
    ngx_int_t           rc;
    ngx_uint_t          n;
    ngx_sio_hub_addr_t  owner;

    owner = worker(generation);
    cursor = 0;
    n = 0;
    *chunks = 0;

    for ( ;; ) {
        rc = ngx_sio_journal_take(&j, &cursor, matches,
                                  generation ? &owner : NULL, worker(taker),
                                  copy, &id, &length);

        if (rc == NGX_DONE) {
            return n;
        }

        if (rc == NGX_AGAIN) {
            (*chunks)++;
            continue;
        }

        if (rc != NGX_OK || id == 0 || !whole(copy, length)) {
            return ~0;
        }

        n++;
    }
}


static void
records(void)
{
    uint64_t    a, b, c;
    ngx_uint_t  chunks;

    open_journal("records");

    hub_test_ok(insert(1, 8, 5, &a) == NGX_OK && a != 0, "a short record");
    hub_test_ok(insert(1, NGX_SIO_JOURNAL_MAX, 6, &b) == NGX_OK && b != a,
                "the longest record");
    hub_test_ok(insert(1, NGX_SIO_JOURNAL_MAX + 1, 6, &c) == NGX_DECLINED,
                "a longer one is refused");
    hub_test_ok(ngx_sio_journal_insert(&j, worker(3), NULL, 0, &c) == NGX_OK
                && ngx_sio_journal_remove(&j, c) == NGX_OK,
                "an empty one has its place, too");

    hub_test_ok(count(1, 1, &chunks) == 2, "both are read back");
    hub_test_ok(update(a, 3000, 9) == NGX_OK && count(1, 1, &chunks) == 2,
                "a longer body, the same record");
    hub_test_ok(update(b, 10, 9) == NGX_OK && count(1, 1, &chunks) == 2,
                "a shorter body, the same record");
    hub_test_ok(update(a, NGX_SIO_JOURNAL_MAX + 1, 9) == NGX_DECLINED
                && count(1, 1, &chunks) == 2,
                "a body too long leaves the old one");

    hub_test_ok(ngx_sio_journal_chown(&j, a, worker(1), worker(2)) == NGX_OK
                && count(1, 1, &chunks) == 1 && count(2, 2, &chunks) == 1,
                "a record changes its owner");
    hub_test_ok(ngx_sio_journal_chown(&j, a, worker(1), worker(3))
                == NGX_DECLINED
                && count(3, 3, &chunks) == 0 && count(2, 2, &chunks) == 1,
                "but is not given by who does not have it");
    c = a;
    hub_test_ok(ngx_sio_journal_recall(&j, &c, worker(1), worker(2))
                == NGX_DECLINED && c == a,
                "nor called back from him");
    hub_test_ok(ngx_sio_journal_recall(&j, &c, worker(2), worker(2)) == NGX_OK
                && c != a && count(2, 2, &chunks) == 1
                && ngx_sio_journal_chown(&j, a, worker(2), worker(3))
                   == NGX_DECLINED
                && update(a, 10, 1) == NGX_DECLINED
                && update(c, 10, 1) == NGX_OK,
                "who is called back has another id");
    a = c;

    hub_test_ok(count(1, 7, &chunks) == 1 && count(1, 1, &chunks) == 0
                && count(7, 7, &chunks) == 1, "and is taken from it");

    hub_test_ok(ngx_sio_journal_remove(&j, a) == NGX_OK
                && ngx_sio_journal_remove(&j, a) == NGX_DECLINED
                && update(a, 10, 1) == NGX_DECLINED
                && ngx_sio_journal_chown(&j, a, worker(7), worker(2))
                   == NGX_DECLINED,
                "a removed record is gone");
    hub_test_ok(insert(1, 8, 5, &c) == NGX_OK && c != a
                && ngx_sio_journal_remove(&j, a) == NGX_DECLINED,
                "its id is not used again");
    hub_test_ok(ngx_sio_journal_remove(&j, 0) == NGX_DECLINED
                && ngx_sio_journal_remove(&j, ~(uint64_t) 0) == NGX_DECLINED,
                "ids that never were");

    (void) ngx_sio_journal_remove(&j, b);
    (void) ngx_sio_journal_remove(&j, c);

    hub_test_ok(ngx_sio_journal_used(&j) == 0, "nothing is left");
}


static uint32_t
word(uint64_t id, size_t offset)
{
    size_t    length;
    uint32_t  cursor, n;
    uint64_t  found;

    cursor = 0;

    while (ngx_sio_journal_take(&j, &cursor, matches, NULL, worker(1), copy,
                                &found, &length)
           == NGX_OK)
    {
        if (found == id && offset + 4 <= length) {
            memcpy(&n, copy + offset, 4);
            return n;
        }
    }

    return ~0;
}


static void
pokes(void)
{
    size_t      last;
    uint64_t    id, longer;
    ngx_uint_t  chunks;

    open_journal("pokes");

    (void) insert(1, 8, 5, &id);
    (void) insert(1, 3000, 5, &longer);

    hub_test_ok(ngx_sio_journal_poke(&j, id, 4, 77) == NGX_OK
                && word(id, 4) == 77 && word(id, 0) == 8
                && count(1, 1, &chunks) == 2,
                "a number is stored over one");
    hub_test_ok(ngx_sio_journal_poke(&j, id, 8, 1) == NGX_DECLINED
                && ngx_sio_journal_poke(&j, id, 2, 1) == NGX_DECLINED
                && ngx_sio_journal_poke(&j, id, ~(size_t) 3, 1) == NGX_DECLINED
                && word(id, 4) == 77, "not behind the end, not across others");

    last = 256 - 2 * sizeof(uint32_t) - 4;

    hub_test_ok(ngx_sio_journal_poke(&j, longer, last, 99) == NGX_OK
                && word(longer, last) == 99
                && ngx_sio_journal_poke(&j, longer, last + 4, 1)
                   == NGX_DECLINED, "in the first block");

    (void) update(id, 3000, 9);
    hub_test_ok(ngx_sio_journal_poke(&j, id, 4, 78) == NGX_OK
                && word(id, 4) == 78, "also of a body that is new");

    (void) ngx_sio_journal_remove(&j, id);
    hub_test_ok(ngx_sio_journal_poke(&j, id, 4, 1) == NGX_DECLINED
                && ngx_sio_journal_poke(&j, 0, 4, 1) == NGX_DECLINED,
                "not in a record that is gone");
}


static void
fills(void)
{
    uint64_t    id, last;
    uint64_t   *ids;
    ngx_uint_t  n, i, first, chunks;

    open_journal("fills");

    ids = malloc(sizeof(uint64_t) * (j.nblocks + 1));
    first = 0;

    for (i = 0; i < 5; i++) {

        for (n = 0; insert(1 + n % 2, 8 + (n * 31) % 2000, n, &id) == NGX_OK;
             n++)
        {
            ids[n] = id;
        }

        if (i == 0) {
            first = n;
            hub_test_ok(n > 0 && ngx_sio_journal_size(&j)
                                 - ngx_sio_journal_used(&j) < 2000,
                        "it takes %d records, then it is busy", (int) n);

            hub_test_ok(count(0, 1, &chunks) == n, "all are whole");
            hub_test_ok(count(1, 1, &chunks) == n, "now all are ours");
            hub_test_ok(update(ids[0], 2000, 1) == NGX_BUSY
                        && count(1, 1, &chunks) == n,
                        "without room the old body stays");
        }

        if (n != first) {
            break;
        }

        /* every other one first, so that chains get mixed up */

        while (n > 1) {
            last = ids[n - 1];
            ids[n - 1] = ids[n / 2];
            ids[n / 2] = last;
            (void) ngx_sio_journal_remove(&j, ids[--n]);
        }

        (void) ngx_sio_journal_remove(&j, ids[0]);
    }

    hub_test_ok(i == 5 && ngx_sio_journal_used(&j) == 0,
                "its blocks are used again, all of them");

    for (n = 0; insert(1, 8, n, &id) == NGX_OK; n++) { /* void */ }

    hub_test_ok(n == j.nblocks, "as many records as blocks");
    hub_test_ok(count(9, 9, &chunks) == 0 && chunks == (n - 1) / 256,
                "a look at %d records takes %d locks", (int) n,
                (int) chunks + 1);

    free(ids);
}


static int
works(void *data)
{
    uint64_t    id, ids[64];
    ngx_uint_t  n;

    (void) data;

    memset(ids, 0, sizeof(ids));
    srandom(getpid());

    for ( ;; ) {
        n = random() % 64;

        switch (random() % 4) {

        case 0:
        case 1:
            if (insert(1 + random() % 3, 8 + random() % 3000, random(), &id)
                == NGX_OK)
            {
                (void) ngx_sio_journal_remove(&j, ids[n]);
                ids[n] = id;
            }

            break;

        case 2:
            (void) update(ids[n], 8 + random() % 3000, random());
            break;

        default:
            (void) ngx_sio_journal_chown(&j, ids[n], worker(1 + random() % 3),
                                         worker(1 + random() % 3));
        }
    }

    return 0;
}


static void
killed(void)
{
    size_t      length;
    uint32_t    cursor;
    uint64_t    id, used;
    ngx_int_t   rc;
    ngx_uint_t  n, chunks, wrong, left;

    open_journal("killed");

    repairs = 0;
    wrong = 0;
    left = 0;

    for (n = 0; n < KILLS; n++) {
        hub_test_kill(hub_test_child(works, NULL), 3000);

        left = count(0, 1, &chunks);
        wrong += (left > j.nblocks);

        /* what two children left behind is removed again */

        cursor = 0;

        while (n % 2
               && (rc = ngx_sio_journal_take(&j, &cursor, matches, NULL,
                                             worker(1), copy, &id, &length))
                  != NGX_DONE)
        {
            if (rc == NGX_OK) {
                wrong += (ngx_sio_journal_remove(&j, id) != NGX_OK);
            }
        }

        if (n % 2) {
            wrong += (ngx_sio_journal_used(&j) != 0);
        }
    }

    /* nothing leaked: a repair finds what is known already */

    used = ngx_sio_journal_used(&j);
    (void) ngx_sio_mem_lock(mem);
    ngx_sio_journal_repair(&j);
    ngx_sio_mem_unlock(mem);

    wrong += (used != ngx_sio_journal_used(&j));

    hub_test_ok(wrong == 0, "killed %d times, %d of them inside the lock: "
                "records are whole and no block is missing",
                (int) n, (int) repairs);
}


int
main(void)
{
    srandom(getpid());

    records();
    pokes();
    fills();
    killed();

    return hub_test_done();
}
