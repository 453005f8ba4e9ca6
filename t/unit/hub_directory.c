
/* link: src/hub/ngx_sio_mem.c src/hub/ngx_sio_slots.c */
/* link: src/hub/ngx_sio_directory.c */
/* libs: -lpthread */

#include "hub_test.h"
#include "ngx_sio_directory.h"


#define KILLS   150


static ngx_sio_mem_t        *mem;
static ngx_sio_slots_t       slots;
static ngx_sio_directory_t   d;
static ngx_uint_t            repairs;


static void
repair(void *data)
{
    (void) data;

    ngx_sio_directory_repair(&d);
    repairs++;
}


static void
open_directory(const char *name)
{
    mem = hub_test_attach(name, HUB_TEST_SIZE);

    ngx_sio_slots_init(&slots, mem);
    ngx_sio_directory_init(&d, mem, &slots);
    ngx_sio_mem_set_repair(mem, repair, NULL, &hub_test_log);
}


static ngx_sio_hub_addr_t
worker(void)
{
    ngx_str_t           wake;
    ngx_sio_hub_addr_t  addr;

    wake = hub_test_str("wake");
    (void) ngx_sio_slots_claim(&slots, 0, &wake, &addr);

    return addr;
}


/* as random as a session id */

static u_char *
key(uint64_t n)
{
    uint64_t       hash;
    static u_char  buf[NGX_SIO_DIRECTORY_KEY];

    hash = (n + 1) * 0xbf58476d1ce4e5b9ULL;
    hash ^= hash >> 29;
    hash *= 0x94d049bb133111ebULL;
    hash ^= hash >> 32;

    memcpy(buf, &hash, sizeof(hash));
    memcpy(buf + sizeof(hash), &n, sizeof(n));

    return buf;
}


static ngx_uint_t
owned(uint64_t n, ngx_sio_hub_addr_t addr)
{
    ngx_sio_hub_addr_t  found;

    return ngx_sio_directory_find(&d, key(n), &found) == NGX_OK
           && ngx_sio_hub_addr_equal(found, addr);
}


static ngx_uint_t
absent(uint64_t n)
{
    ngx_sio_hub_addr_t  found;

    return ngx_sio_directory_find(&d, key(n), &found) == NGX_DECLINED;
}


/* in how many steps */

static ngx_uint_t
sweep(void)
{
    size_t      cursor;
    ngx_uint_t  n;

    cursor = 0;
    n = 1;

    while (ngx_sio_directory_sweep(&d, &cursor) == NGX_AGAIN) {
        n++;
    }

    return n;
}


static void
entries(void)
{
    ngx_sio_hub_addr_t  a, b;

    open_directory("entries");

    a = worker();
    b = worker();

    hub_test_ok(absent(1), "an empty directory has nobody");

    (void) ngx_sio_directory_insert(&d, key(1), a);
    (void) ngx_sio_directory_insert(&d, key(2), b);

    hub_test_ok(owned(1, a) && owned(2, b) && absent(3),
                "what was entered is found");

    (void) ngx_sio_directory_insert(&d, key(1), b);

    hub_test_ok(owned(1, b) && ngx_sio_directory_used(&d) == 2,
                "the owner changes in place");

    ngx_sio_directory_remove(&d, key(1), a);
    hub_test_ok(owned(1, b), "the old owner cannot remove it");

    ngx_sio_directory_remove(&d, key(1), b);
    hub_test_ok(absent(1) && ngx_sio_directory_used(&d) == 1,
                "the owner can");

    ngx_sio_slots_set_state(&slots, b.slot, NGX_SIO_SLOTS_FREE);
    hub_test_ok(absent(2), "what belonged to the dead is not found");

    b = worker();
    hub_test_ok(absent(2), "nor when its slot has a new owner");

    (void) ngx_sio_directory_insert(&d, key(3), a);

    hub_test_ok(sweep() > 1 && ngx_sio_directory_used(&d) == 1 && owned(3, a),
                "a sweep removes it, and leaves what the living have");
}


static void
fills(void)
{
    size_t              n, i, wrong, again;
    ngx_sio_hub_addr_t  a, b;

    open_directory("fills");

    a = worker();
    b = worker();

    for (n = 0; n < d.nentries; n++) {
        if (ngx_sio_directory_insert(&d, key(n), a) != NGX_OK) {
            break;
        }
    }

    hub_test_ok(n < d.nentries && n > d.nentries * 6 / 10,
                "it takes %d of %d entries, then it is busy",
                (int) n, (int) d.nentries);

    wrong = 0;

    for (i = 0; i < n; i++) {
        wrong += !owned(i, a);
    }

    hub_test_ok(wrong == 0 && absent(n), "all that were taken are found");

    hub_test_ok(ngx_sio_directory_insert(&d, key(0), b) == NGX_OK,
                "an owner can change when it is full");

    ngx_sio_slots_set_state(&slots, a.slot, NGX_SIO_SLOTS_GONE);

    again = 0;

    for (i = 0; i < n; i++) {
        again += (ngx_sio_directory_insert(&d, key(i + 1000000), b) == NGX_OK);
    }

    hub_test_ok(again > n * 9 / 10,
                "places of the dead are used again, %d times", (int) again);

    hub_test_ok(ngx_sio_directory_used(&d) <= d.nentries, "%d are in use",
                (int) ngx_sio_directory_used(&d));
}


static int
works(void *data)
{
    uint64_t             n;
    ngx_sio_hub_addr_t  *addr = data;

    srandom(getpid());

    for ( ;; ) {
        n = random() % 2000;

        if (random() % 2) {
            (void) ngx_sio_directory_insert(&d, key(n), *addr);

        } else {
            ngx_sio_directory_remove(&d, key(n), *addr);
        }
    }

    return 0;
}


static void
killed(void)
{
    uint64_t            i;
    ngx_uint_t          n, found, strange;
    ngx_sio_hub_addr_t  a, addr;

    open_directory("killed");

    a = worker();
    strange = 0;
    found = 0;

    for (n = 0; n < KILLS; n++) {
        hub_test_kill(hub_test_child(works, &a), 1500);

        found = 0;

        for (i = 0; i < 2000; i++) {
            if (ngx_sio_directory_find(&d, key(i), &addr) == NGX_OK) {
                found++;
                strange += !ngx_sio_hub_addr_equal(addr, a);
            }
        }

        strange += (found != ngx_sio_directory_used(&d));
    }

    hub_test_ok(strange == 0 && found > 100,
                "killed %d times, %d of them inside the lock: "
                "%d entries and the count are right",
                (int) n, (int) repairs, (int) found);
}


int
main(void)
{
    srandom(getpid());

    entries();
    fills();
    killed();

    return hub_test_done();
}
