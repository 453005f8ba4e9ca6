
/* link: src/hub/ngx_sio_mem.c src/hub/ngx_sio_bridge.c */
/* link: src/base/ngx_sio_random.c */
/* libs: -lpthread */

#include "hub_test.h"
#include "ngx_sio_bridge.h"


#define ROUNDS   2000


static ngx_cycle_t  cycle;
volatile ngx_cycle_t  *ngx_cycle = &cycle;
ngx_pid_t              ngx_pid;


static ngx_sio_mem_t     *mem;
static ngx_sio_bridge_t   bridge;


static void
open_bridge(const char *name)
{
    mem = hub_test_attach(name, HUB_TEST_SIZE);

    if (ngx_sio_bridge_init(&bridge, mem) != NGX_OK) {
        printf("Bail out! no bridge\n");
        exit(2);
    }
}


static void
has_a_name(void)
{
    size_t            size;
    u_char            zeros[NGX_SIO_BRIDGE_ID];
    ngx_sio_bridge_t  again;

    open_bridge("name");

    memset(zeros, 0, sizeof(zeros));

    hub_test_ok(memcmp(ngx_sio_bridge_id(&bridge), zeros, sizeof(zeros)) != 0,
                "a host has an id");

    hub_test_ok(ngx_sio_bridge_init(&again, mem) == NGX_OK
                && ngx_sio_bridge_id(&again) == ngx_sio_bridge_id(&bridge),
                "which stays");

    (void) ngx_sio_mem_region(mem, NGX_SIO_MEM_BRIDGE, &size);

    hub_test_ok(sizeof(ngx_sio_bridge_head_t) <= size,
                "the tables fit into their region");
}


static void
is_lent(void)
{
    ngx_sio_hub_addr_t  nobody, a, b, c;

    open_bridge("lease");

    nobody = ngx_sio_hub_addr(0, 0);
    a = ngx_sio_hub_addr(0, 7);
    b = ngx_sio_hub_addr(1, 8);
    c = ngx_sio_hub_addr(2, 9);

    hub_test_ok(ngx_sio_bridge_holder(&bridge).generation == 0,
                "at first nobody is the bridge");

    hub_test_ok(ngx_sio_bridge_take(&bridge, nobody, a) == NGX_OK
                && ngx_sio_bridge_take(&bridge, nobody, b) == NGX_DECLINED
                && ngx_sio_hub_addr_equal(ngx_sio_bridge_holder(&bridge), a),
                "one takes the lease");

    hub_test_ok(ngx_sio_bridge_take(&bridge, a, b) == NGX_OK
                && ngx_sio_bridge_take(&bridge, a, c) == NGX_DECLINED,
                "one takes it from the dead");

    hub_test_ok(!ngx_sio_bridge_leaves(&bridge, b), "and keeps it");

    ngx_sio_bridge_leaving(&bridge, b);

    hub_test_ok(ngx_sio_bridge_leaves(&bridge, b)
                && !ngx_sio_bridge_leaves(&bridge, c),
                "it wants to give it away, which says nothing of the next one");

    hub_test_ok(ngx_sio_bridge_follow(&bridge, nobody, c) == NGX_OK
                && ngx_sio_bridge_hand(&bridge, a) == NGX_DECLINED
                && ngx_sio_hub_addr_equal(ngx_sio_bridge_holder(&bridge), b)
                && ngx_sio_hub_addr_equal(ngx_sio_bridge_successor(&bridge),
                                          c),
                "the dead hand nothing over");

    hub_test_ok(ngx_sio_bridge_follow(&bridge, c, nobody) == NGX_OK
                && ngx_sio_bridge_follow(&bridge, nobody, c) == NGX_OK
                && ngx_sio_bridge_follow(&bridge, nobody, a) == NGX_DECLINED
                && ngx_sio_bridge_hand(&bridge, b) == NGX_OK
                && ngx_sio_hub_addr_equal(ngx_sio_bridge_holder(&bridge), c)
                && ngx_sio_bridge_successor(&bridge).generation == 0,
                "the successor is handed it");

    hub_test_ok(ngx_sio_bridge_hand(&bridge, c) == NGX_OK
                && ngx_sio_bridge_holder(&bridge).generation == 0,
                "without a successor nobody is");
}


static void
remembers_lines(void)
{
    uint64_t                keys[NGX_SIO_BRIDGE_LINES + 1];
    ngx_uint_t              i;
    ngx_sio_bridge_line_t  *line, *other;

    open_bridge("lines");

    bridge.head->ordinal = 41;

    for (i = 0; i <= NGX_SIO_BRIDGE_LINES; i++) {
        keys[i] = i + 1;
    }

    line = ngx_sio_bridge_line(&bridge, 1, keys, 1);

    hub_test_ok(line != NULL && line->shipped == 41,
                "a new line begins at the present");

    line->shipped = 45;
    bridge.head->ordinal = 50;

    other = ngx_sio_bridge_line(&bridge, 9, &keys[8], 1);

    hub_test_ok(other != line && line->key == 1 && line->shipped == 45,
                "one that is configured no more may be served still");

    other->key = 0;

    hub_test_ok(ngx_sio_bridge_line(&bridge, 1, keys, 2) == line
                && line->shipped == 45,
                "a known one where it was");

    for (i = 1; i < NGX_SIO_BRIDGE_LINES; i++) {
        other = ngx_sio_bridge_line(&bridge, keys[i], keys,
                                    NGX_SIO_BRIDGE_LINES);
        if (other == NULL || other == line) {
            break;
        }
    }

    hub_test_ok(i == NGX_SIO_BRIDGE_LINES, "there is room for all of them");

    hub_test_ok(ngx_sio_bridge_line(&bridge, keys[i], keys, i + 1) == NULL,
                "and for no more");

    other = ngx_sio_bridge_line(&bridge, keys[i], keys + 1,
                                NGX_SIO_BRIDGE_LINES);

    hub_test_ok(other == line && line->shipped == 50,
                "one that is configured no more gives way");
}


static void
knows_peers(void)
{
    u_char                  id[NGX_SIO_BRIDGE_ID];
    ngx_uint_t              i;
    ngx_sio_bridge_peer_t  *first, *peer;

    open_bridge("peers");

    memset(id, 1, sizeof(id));

    hub_test_ok(ngx_sio_bridge_find(&bridge, id) == NULL,
                "at first there is no other host");

    memset(id, 0, sizeof(id));

    hub_test_ok(ngx_sio_bridge_find(&bridge, id) == NULL,
                "nor one that is all zeros");

    for (i = 0; i < NGX_SIO_BRIDGE_PEERS; i++) {
        id[0] = i + 1;
        id[5] = i + 100;

        peer = ngx_sio_bridge_insert(&bridge, id, i, 1000 + i, 60);

        if (peer == NULL || ngx_sio_bridge_find(&bridge, id) != peer
            || ngx_sio_bridge_find_tag(&bridge, id, 4) != peer
            || peer->applied != i)
        {
            break;
        }
    }

    hub_test_ok(i == NGX_SIO_BRIDGE_PEERS, "hosts are found by id and tag");

    hub_test_ok(ngx_sio_bridge_count(&bridge, 0) == NGX_SIO_BRIDGE_PEERS
                && ngx_sio_bridge_count(&bridge, 1010)
                   == NGX_SIO_BRIDGE_PEERS - 10,
                "and counted by when they were heard");

    memset(id, 0xee, sizeof(id));

    hub_test_ok(ngx_sio_bridge_insert(&bridge, id, 5, 1030, 60) == NULL,
                "none of those heard lately is forgotten");

    first = &bridge.head->peers[0];
    peer = ngx_sio_bridge_insert(&bridge, id, 5, 2000, 60);

    hub_test_ok(peer == first && peer->applied == 5
                && ngx_sio_bridge_find(&bridge, id) == peer,
                "but the one that is silent for longest");

    ngx_sio_bridge_remove(peer);

    hub_test_ok(ngx_sio_bridge_find(&bridge, id) == NULL
                && ngx_sio_bridge_count(&bridge, 0)
                   == NGX_SIO_BRIDGE_PEERS - 1,
                "who says goodbye is gone");
}


static void
shares_lines(void)
{
    u_char                  id[NGX_SIO_BRIDGE_ID];
    uint64_t                keys[NGX_SIO_BRIDGE_LINES + 1];
    ngx_uint_t              i;
    ngx_sio_bridge_line_t  *line, *other;
    ngx_sio_bridge_peer_t  *peer;

    open_bridge("shared");

    for (i = 0; i <= NGX_SIO_BRIDGE_LINES; i++) {
        keys[i] = i + 1;
    }

    memset(id, 7, sizeof(id));

    line = ngx_sio_bridge_line(&bridge, 1, keys, 2);
    other = ngx_sio_bridge_line(&bridge, 2, keys, 2);
    peer = ngx_sio_bridge_insert(&bridge, id, 0, 1000, 60);

    hub_test_ok(ngx_sio_bridge_number(&bridge, line) != 0
                && ngx_sio_bridge_number(&bridge, other) != 0
                && ngx_sio_bridge_number(&bridge, line)
                   != ngx_sio_bridge_number(&bridge, other),
                "each line has a number");

    hub_test_ok(*ngx_sio_bridge_shared(&bridge, peer, line) == 0
                && *ngx_sio_bridge_shared(&bridge, peer, other) == 0,
                "a host was not heard by any of them at first");

    *ngx_sio_bridge_shared(&bridge, peer, line) = 5;

    hub_test_ok(*ngx_sio_bridge_shared(&bridge, peer, line) == 5
                && *ngx_sio_bridge_shared(&bridge, peer, other) == 0,
                "what it calls one is not what it calls another");

    *ngx_sio_bridge_shared(&bridge, peer, other) = 6;

    /* those with the keys 3 and on take all the room, the first one's, too */

    for (i = 2; i <= NGX_SIO_BRIDGE_LINES; i++) {
        (void) ngx_sio_bridge_line(&bridge, keys[i], keys + 1,
                                   NGX_SIO_BRIDGE_LINES);
    }

    hub_test_ok(line->key > 2 && other->key == 2
                && *ngx_sio_bridge_shared(&bridge, peer, line) == 0
                && *ngx_sio_bridge_shared(&bridge, peer, other) == 6,
                "by one that takes another's place it was not heard");

    ngx_sio_bridge_remove(peer);
    memset(id, 8, sizeof(id));

    peer = ngx_sio_bridge_insert(&bridge, id, 0, 1000, 60);

    hub_test_ok(*ngx_sio_bridge_shared(&bridge, peer, other) == 0,
                "nor was another host");
}


static int
grabs(void *data)
{
    ngx_uint_t          i, *taken = data;
    ngx_sio_hub_addr_t  self;

    self = ngx_sio_hub_addr(1, (uint32_t) getpid());

    for (i = 0; i < ROUNDS; i++) {

        if (ngx_sio_bridge_take(&bridge, ngx_sio_hub_addr(0, 0), self)
            != NGX_OK)
        {
            continue;
        }

        if (__atomic_fetch_add(&taken[0], 1, __ATOMIC_SEQ_CST) != 0) {
            taken[1]++;
        }

        __atomic_fetch_sub(&taken[0], 1, __ATOMIC_SEQ_CST);

        if (ngx_sio_bridge_hand(&bridge, self) != NGX_OK) {
            return 1;
        }

        __atomic_fetch_add(&taken[2], 1, __ATOMIC_SEQ_CST);
    }

    return 0;
}


static void
is_one(void)
{
    int          status;
    pid_t        pids[HUB_TEST_WORKERS];
    ngx_uint_t   i, failed, *taken;

    open_bridge("race");

    taken = hub_test_share(4096);
    failed = 0;

    for (i = 0; i < HUB_TEST_WORKERS; i++) {
        pids[i] = hub_test_child(grabs, taken);
    }

    for (i = 0; i < HUB_TEST_WORKERS; i++) {
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) {
            failed++;
        }
    }

    hub_test_ok(failed == 0 && taken[1] == 0 && taken[2] > 0,
                "there is never more than one, taken %d times",
                (int) taken[2]);
}


int
main(void)
{
    has_a_name();
    is_lent();
    remembers_lines();
    knows_peers();
    shares_lines();
    is_one();

    return hub_test_done();
}
