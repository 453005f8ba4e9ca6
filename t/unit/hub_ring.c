
/* link: src/hub/ngx_sio_mem.c src/hub/ngx_sio_slots.c */
/* link: src/hub/ngx_sio_ring.c */
/* libs: -lpthread */

#include "hub_test.h"
#include "ngx_sio_ring.h"


#define ENTRIES   20000
#define KILLS     150


typedef struct {
    uint32_t         writer;
    uint32_t         number;
} stamp_t;


typedef struct {
    ngx_uint_t       number;
    ngx_uint_t       entries;      /* to be written by each writer */
    ngx_uint_t       slot;
    uint64_t         from;
    uint64_t         to;
} job_t;


/* shared with the children */

typedef struct {
    ngx_uint_t       stop;
    ngx_uint_t       repairs;
    uint64_t         hashes[HUB_TEST_WORKERS];
    uint64_t         written[HUB_TEST_WORKERS];
} board_t;


static ngx_sio_mem_t    *mem;
static ngx_sio_slots_t   slots;
static ngx_sio_ring_t    ring;
static board_t          *board;
static u_char            bytes[NGX_SIO_MEM_MIN_SIZE];


static void
open_ring(const char *name)
{
    mem = hub_test_attach(name, HUB_TEST_SIZE);

    ngx_sio_slots_init(&slots, mem);
    ngx_sio_ring_init(&ring, mem, &slots);
}


static void
repair(void *data)
{
    (void) data;

    board->repairs++;
}


static ngx_uint_t
add_reader(void)
{
    ngx_str_t           wake;
    ngx_sio_hub_addr_t  addr;

    wake = hub_test_str("name");

    if (ngx_sio_slots_claim(&slots, ngx_sio_ring_head(&ring), &wake, &addr)
        != NGX_OK)
    {
        exit(2);
    }

    return addr.slot;
}


static ngx_int_t
append(ngx_uint_t kind, size_t length)
{
    ngx_str_t             parts[2];
    ngx_sio_ring_entry_t  e;

    memset(&e, 0, sizeof(e));
    e.kind = kind;
    e.length = length;

    parts[0].data = bytes;
    parts[0].len = length / 3;
    parts[1].data = bytes + length / 3;
    parts[1].len = length - length / 3;

    return ngx_sio_ring_append(&ring, &e, parts, 2);
}


static void
move(ngx_uint_t slot, uint64_t position)
{
    __atomic_store_n(&slots.slots[slot].cursor, position, __ATOMIC_RELEASE);
}


/* every length in turn, so that the wrap is met in every way */

static void
wraps(void)
{
    size_t                length, max;
    u_char               *copy;
    uint64_t              position, head, kept;
    ngx_uint_t            i, slot, wrong, lost, fillers;
    ngx_sio_ring_entry_t  e;

    open_ring("wraps");

    max = ngx_sio_ring_max_body(ngx_sio_mem_region_size(HUB_TEST_SIZE,
                                                        NGX_SIO_MEM_RING));
    copy = malloc(max);

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = i * 31 + i / 256;
    }

    slot = add_reader();
    position = 0;
    wrong = 0;
    lost = 0;
    fillers = 0;

    for (i = 0; i < 20000; i++) {
        length = i % 997 == 0 ? max : (i * 7) % 1500;
        head = ngx_sio_ring_head(&ring);

        if (append(1 + i % 1000, length) != NGX_OK
            || ngx_sio_ring_read(&ring, &position, &e) != NGX_OK
            || e.kind != 1 + i % 1000
            || e.length != length
            || e.position % 8 != 0
            || ngx_sio_ring_copy(&ring, &e, copy) != NGX_OK
            || memcmp(copy, bytes, length) != 0)
        {
            wrong++;
            break;
        }

        if (position != head) {
            fillers++;
        }

        position = e.position + e.size;
        move(slot, position);

        if (ngx_sio_ring_read(&ring, &position, &e) != NGX_DONE) {
            wrong++;
        }

        /* the oldest is whole, and followed by all that came after it */

        kept = ngx_sio_ring_oldest(&ring);

        if (ngx_sio_ring_read(&ring, &kept, &e) != NGX_OK
            || (kept > 0 && position - kept + e.size + 2 * max < ring.size))
        {
            lost++;
        }
    }

    hub_test_ok(wrong == 0 && i == 20000,
                "what is appended is read, wherever the ring ends");
    hub_test_ok(lost == 0, "what was not overwritten can be read again");
    hub_test_ok(fillers > 10, "the end was met %d times", (int) fillers);

    free(copy);
}


static void
fills(void)
{
    ngx_uint_t              n, slow, quick;
    uint64_t                position, head;
    ngx_sio_ring_entry_t    e;
    ngx_sio_hub_members_t   laggards;

    open_ring("fills");

    slow = add_reader();
    quick = add_reader();

    for (n = 0; append(1, 1000) == NGX_OK; n++) {
        move(quick, ngx_sio_ring_head(&ring));

        if (n > ring.size / 1000) {
            break;
        }
    }

    hub_test_ok(n > 0 && n <= ring.size / 1000,
                "the slowest reader holds the ring after %d entries", (int) n);

    memset(&laggards, 0, sizeof(laggards));

    hub_test_ok(ngx_sio_ring_laggards(&ring, &laggards)
                && ngx_sio_hub_members_has(&laggards, slow)
                && !ngx_sio_hub_members_has(&laggards, quick),
                "it is known who is late");

    head = ngx_sio_ring_head(&ring);
    position = 0;

    for (n = 0; ngx_sio_ring_read(&ring, &position, &e) == NGX_OK; n++) {
        position = e.position + e.size;
    }

    hub_test_ok(position == head, "what it has not read is still there");

    move(slow, head / 2);
    hub_test_ok(append(1, 1000) == NGX_OK, "there is room when it moves");

    while (append(1, 1000) == NGX_OK) {
        move(quick, ngx_sio_ring_head(&ring));
    }

    ngx_sio_slots_set_state(&slots, slow, NGX_SIO_SLOTS_LOSING);
    move(quick, ngx_sio_ring_head(&ring));

    hub_test_ok(append(1, 1000) == NGX_OK, "a lost reader holds nothing");

    for (n = 0; n < 1000; n++) {
        (void) append(1, 1000);
        move(quick, ngx_sio_ring_head(&ring));
    }

    position = head / 2;
    hub_test_ok(ngx_sio_ring_read(&ring, &position, &e) == NGX_DECLINED,
                "a lost reader sees that it was overtaken");

    position = ngx_sio_ring_head(&ring) + 8;
    hub_test_ok(ngx_sio_ring_read(&ring, &position, &e) == NGX_DECLINED,
                "a position of the future is refused");

    position = ngx_sio_ring_head(&ring) - 504;
    hub_test_ok(ngx_sio_ring_read(&ring, &position, &e) == NGX_DECLINED,
                "a position inside an entry is refused");
}


static int
writes(void *data)
{
    job_t                 *job = data;
    stamp_t                stamp;
    ngx_int_t              rc;
    ngx_str_t              parts[2];
    ngx_sio_ring_entry_t   e;

    stamp.writer = job->number;
    stamp.number = board->written[job->number];

    while (stamp.number < job->entries) {
        memset(&e, 0, sizeof(e));

        parts[0].data = (u_char *) &stamp;
        parts[0].len = sizeof(stamp);
        parts[1].data = bytes;
        parts[1].len = (stamp.number * 13) % 600;

        e.kind = 1;
        e.length = parts[0].len + parts[1].len;
        e.from_slot = job->number;

        if (ngx_sio_mem_lock(mem) != NGX_OK) {
            return 1;
        }

        rc = ngx_sio_ring_append(&ring, &e, parts, 2);

        if (rc == NGX_OK) {
            stamp.number++;
            __atomic_store_n(&board->written[job->number], stamp.number,
                             __ATOMIC_RELEASE);
        }

        ngx_sio_mem_unlock(mem);

        if (rc == NGX_BUSY) {
            (void) sched_yield();
        }
    }

    return 0;
}


/*
 * Reads until told to stop and everything is read.  Numbers of a writer that
 * was killed between its commit and its note come twice, never less than once.
 */

static int
reads(void *data)
{
    job_t                 *job = data;
    u_char                *copy;
    stamp_t                stamp;
    uint64_t               position, hash;
    uint32_t               next[HUB_TEST_WORKERS];
    ngx_int_t              rc;
    ngx_uint_t             stop;
    ngx_sio_ring_entry_t   e;

    copy = malloc(ring.size);
    position = slots.slots[job->slot].cursor;
    hash = 1;

    memset(next, 0, sizeof(next));

    for ( ;; ) {
        stop = __atomic_load_n(&board->stop, __ATOMIC_ACQUIRE);
        rc = ngx_sio_ring_read(&ring, &position, &e);

        if (rc == NGX_DONE) {
            if (stop) {
                break;
            }

            (void) sched_yield();
            continue;
        }

        if (rc != NGX_OK || ngx_sio_ring_copy(&ring, &e, copy) != NGX_OK) {
            return 1;
        }

        memcpy(&stamp, copy, sizeof(stamp));

        if (stamp.writer != e.from_slot
            || stamp.writer >= HUB_TEST_WORKERS
            || e.length != sizeof(stamp) + (stamp.number * 13) % 600
            || memcmp(copy + sizeof(stamp), bytes, e.length - sizeof(stamp))
            || (stamp.number != next[stamp.writer]
                && stamp.number + 1 != next[stamp.writer]))
        {
            return 2;
        }

        next[stamp.writer] = stamp.number + 1;
        hash = (hash ^ e.position ^ (uint64_t) stamp.number << 32
                ^ stamp.writer)
               * 1099511628211ULL;

        position = e.position + e.size;
        move(job->slot, position);
    }

    board->hashes[job->number] = hash;

    return 0;
}


/* writers and readers at once; a chosen writer is killed again and again */

static void
crowd(const char *name, ngx_uint_t kills)
{
    int         failed;
    job_t       readers[2], writers[HUB_TEST_WORKERS];
    pid_t       rpids[2], wpids[HUB_TEST_WORKERS];
    ngx_uint_t  i, n, lost;

    open_ring(name);
    ngx_sio_mem_set_repair(mem, repair, NULL, &hub_test_log);

    board = hub_test_share(sizeof(board_t));
    failed = 0;

    for (i = 0; i < 2; i++) {
        readers[i].number = i;
        readers[i].slot = add_reader();
        rpids[i] = hub_test_child(reads, &readers[i]);
    }

    for (i = 0; i < HUB_TEST_WORKERS - 1; i++) {
        writers[i].number = i;
        writers[i].entries = ENTRIES;
        wpids[i] = hub_test_child(writes, &writers[i]);
    }

    writers[i].number = i;
    writers[i].entries = 1 << 30;

    for (n = 0; n < kills; n++) {
        hub_test_kill(hub_test_child(writes, &writers[i]), 3000);
    }

    for (i = 0; i < HUB_TEST_WORKERS - 1; i++) {
        failed |= hub_test_wait(wpids[i]);
    }

    __atomic_store_n(&board->stop, 1, __ATOMIC_RELEASE);

    for (i = 0; i < 2; i++) {
        failed |= hub_test_wait(rpids[i]);
    }

    lost = 0;

    for (i = 0; i < HUB_TEST_WORKERS - 1; i++) {
        lost += (board->written[i] != ENTRIES);
    }

    hub_test_ok(failed == 0 && lost == 0,
                "%s: whole entries, each writer's in order", name);
    hub_test_ok(board->hashes[0] == board->hashes[1],
                "%s: both readers saw the same order", name);

    if (kills) {
        hub_test_ok(board->written[HUB_TEST_WORKERS - 1] > 0
                    && board->repairs > 0,
                    "%s: they wrote %d entries, %d died inside the lock",
                    name, (int) board->written[HUB_TEST_WORKERS - 1],
                    (int) board->repairs);
    }
}


int
main(void)
{
    srandom(getpid());

    wraps();
    fills();
    crowd("three writers, two readers", 0);
    crowd("a writer killed at any instant", KILLS);

    return hub_test_done();
}
