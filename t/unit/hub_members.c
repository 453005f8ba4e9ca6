
/* link: src/hub/ngx_sio_mem.c src/hub/ngx_sio_slots.c */
/* link: src/hub/ngx_sio_ring.c src/hub/ngx_sio_members.c */
/* libs: -lpthread */

#include "hub_test.h"
#include "ngx_sio_members.h"


#define KILLS   300
#define STEP    1000      /* what a short life counts: no accident */


/* what those who are killed have done before, as far as they can tell */

typedef struct {
    uint64_t   begun;
    uint64_t   done;
} account_t;


static ngx_sio_mem_t      *mem;
static ngx_sio_members_t   members;
static ngx_str_t           wake = ngx_string("wake");
static u_char              bytes[4096];
static uint64_t            gauges[NGX_SIO_SLOTS_GAUGES];
static uint64_t            counters[NGX_SIO_SLOTS_COUNTERS];
static uint64_t            dropped[NGX_SIO_SLOTS_GAUGES];


static void
open_members(const char *name)
{
    mem = hub_test_attach(name, HUB_TEST_SIZE);
    ngx_sio_members_init(&members, mem);
}


static ngx_sio_hub_addr_t
join(void)
{
    ngx_sio_hub_addr_t  addr;

    if (ngx_sio_members_join(&members, &wake, &addr) != NGX_OK) {
        return ngx_sio_hub_addr_all();
    }

    return addr;
}


static ngx_int_t
append(size_t length)
{
    ngx_int_t             rc;
    ngx_str_t             part;
    ngx_sio_ring_entry_t  e;

    memset(&e, 0, sizeof(e));
    e.kind = 1;
    e.length = length;

    part.data = bytes;
    part.len = length;

    (void) ngx_sio_mem_lock(mem);

    rc = ngx_sio_members_settle(&members, ngx_sio_hub_addr_all());

    if (rc == NGX_OK) {
        rc = ngx_sio_ring_append(&members.ring, &e, &part, 1);
    }

    ngx_sio_mem_unlock(mem);

    return rc;
}


static void
move(ngx_sio_hub_addr_t addr, uint64_t position)
{
    __atomic_store_n(&members.slots.slots[addr.slot].cursor, position,
                     __ATOMIC_RELEASE);
}


/* what the log holds from here on: u(p), d(own), entry */

static const char *
story(uint64_t *position)
{
    uint64_t              word;
    static char           buf[256];
    ngx_sio_hub_addr_t    dead;
    ngx_sio_ring_entry_t  e;

    buf[0] = '\0';

    while (ngx_sio_ring_read(&members.ring, position, &e) == NGX_OK
           && strlen(buf) < sizeof(buf) - 20)
    {
        if (e.kind == NGX_SIO_MEMBERS_UP) {
            sprintf(buf + strlen(buf), "u%d/%d ", e.from_slot,
                    (int) e.from_generation);

        } else if (e.kind == NGX_SIO_MEMBERS_DOWN) {
            (void) ngx_sio_ring_copy(&members.ring, &e, (u_char *) &word);
            dead = ngx_sio_hub_addr_unpack(word);
            sprintf(buf + strlen(buf), "d%d/%d ", dead.slot,
                    (int) dead.generation);

        } else {
            strcat(buf, "e ");
        }

        *position = e.position + e.size;
    }

    return buf;
}


static void
comes_and_goes(void)
{
    uint64_t                position;
    const char             *s;
    ngx_uint_t              i;
    ngx_sio_hub_addr_t      a, b, c;
    ngx_sio_hub_members_t   set;

    open_members("comes and goes");

    position = 0;

    a = join();
    b = join();

    ngx_sio_slots_members(&members.slots, &set);

    hub_test_ok(ngx_sio_hub_members_count(&set) == 2
                && ngx_sio_slots_alive(&members.slots, a)
                && ngx_sio_slots_alive(&members.slots, b), "two members");

    (void) append(100);

    hub_test_ok(ngx_sio_members_bury(&members, b, a) == NGX_OK,
                "the first one buries");
    hub_test_ok(ngx_sio_members_bury(&members, b, a) == NGX_DECLINED,
                "the second one finds it done");

    (void) append(100);
    c = join();

    s = story(&position);
    hub_test_ok(strcmp(s, "u0/1 u1/2 e d1/2 e u1/3 ") == 0,
                "an end stands behind what came before it: %s", s);
    hub_test_ok(!ngx_sio_slots_alive(&members.slots, b)
                && !ngx_sio_slots_exists(&members.slots, b)
                && ngx_sio_slots_alive(&members.slots, c) && b.slot == c.slot,
                "a slot is used again, a generation is not");
    hub_test_ok(!ngx_sio_slots_alive(&members.slots, ngx_sio_hub_addr_all())
                && !ngx_sio_slots_exists(&members.slots,
                                      ngx_sio_hub_addr(NGX_SIO_HUB_SLOTS, 1)),
                "an address from outside is safe");

    for (i = 0; join().slot != NGX_SIO_HUB_ALL && i < 1000; i++) { }

    hub_test_ok(i == NGX_SIO_HUB_SLOTS - 2, "then all slots are taken");
}


static void
owes(void)
{
    uint64_t            position;
    const char         *s;
    ngx_sio_hub_addr_t  a, b, c;

    open_members("owes");

    a = join();
    b = join();
    c = join();

    while (append(3000) == NGX_OK) {
        move(b, ngx_sio_ring_head(&members.ring));
        move(c, ngx_sio_ring_head(&members.ring));
    }

    while (append(0) == NGX_OK) { /* void */ }

    position = ngx_sio_ring_head(&members.ring);

    hub_test_ok(ngx_sio_members_bury(&members, b, c) == NGX_OK
                && ngx_sio_slots_exists(&members.slots, b)
                && !ngx_sio_slots_alive(&members.slots, b),
                "without room the end of a worker is owed");
    hub_test_ok(append(8) == NGX_BUSY, "nobody gets in before that");
    hub_test_ok(ngx_sio_members_lose(&members, a, 1, c) == NGX_DECLINED,
                "a worker that moves is not lost");
    hub_test_ok(ngx_sio_members_lose(&members, a,
                                     members.slots.slots[a.slot].cursor, c)
                == NGX_OK, "one that does not move is");

    (void) append(8);

    s = story(&position);
    hub_test_ok(strcmp(s, "d0/1 d1/2 e ") == 0,
                "what was owed comes first: %s", s);

    hub_test_ok(!ngx_sio_slots_exists(&members.slots, b)
                && ngx_sio_slots_exists(&members.slots, a)
                && !ngx_sio_slots_alive(&members.slots, a),
                "the lost one keeps its slot");
}


static void
sum(void)
{
    (void) ngx_sio_mem_lock(mem);
    ngx_sio_slots_sum(&members.slots, gauges, counters, dropped);
    ngx_sio_mem_unlock(mem);
}


static void
returns(void)
{
    uint64_t            position;
    const char         *s;
    ngx_sio_slot_t     *slots;
    ngx_sio_hub_addr_t  a, b, c;

    open_members("returns");

    slots = members.slots.slots;

    a = join();
    b = join();

    slots[a.slot].counters[3] = 10;
    slots[b.slot].counters[3] = 5;
    slots[a.slot].gauges[3] = 7;
    slots[b.slot].gauges[3] = 1;
    slots[a.slot].named[2] = 4;
    slots[a.slot].held = 4;

    position = ngx_sio_ring_head(&members.ring);

    (void) ngx_sio_members_lose(&members, a,
                                members.slots.slots[a.slot].cursor, b);

    hub_test_ok(ngx_sio_members_return(&members, &wake, a, &c) == NGX_OK
                && ngx_sio_slots_alive(&members.slots, c)
                && c.generation > b.generation, "a lost worker comes back");
    hub_test_ok(ngx_sio_slots_exists(&members.slots, a),
                "until it has moved its things it has two slots");
    hub_test_ok(ngx_sio_members_bury(&members, a, c) == NGX_OK
                && !ngx_sio_slots_exists(&members.slots, a),
                "then it gives the old one back");

    s = story(&position);
    hub_test_ok(strcmp(s, "d0/1 u2/3 d0/1 ") == 0,
                "its second end does no harm: %s", s);

    sum();
    hub_test_ok(gauges[3] == 8 && counters[3] == 15 && dropped[3] == 0,
                "its gauges came along, its counters are remembered");
    hub_test_ok(slots[c.slot].named[2] == 4 && slots[c.slot].held == 4,
                "and so are its names");

    (void) ngx_sio_members_bury(&members, b, c);

    sum();
    hub_test_ok(gauges[3] == 7 && counters[3] == 15 && dropped[3] == 1,
                "of the dead the counters count, and not the gauges");

    a = join();
    hub_test_ok(slots[a.slot].counters[3] == 0 && slots[a.slot].gauges[3] == 0
                && slots[a.slot].named[2] == 0 && slots[a.slot].held == 0,
                "a new owner begins at zero");
}


/* a process died when the counters were in the totals, the slot still taken */

static void
retires_once(void)
{
    ngx_sio_slot_t      *slot;
    ngx_sio_hub_addr_t   a, b;

    open_members("retires once");

    a = join();
    b = join();

    slot = &members.slots.slots[a.slot];

    slot->counters[3] = 10;
    slot->gauges[0] = 2;
    members.slots.slots[b.slot].counters[3] = 5;

    (void) ngx_sio_members_bury(&members, a, b);

    (void) ngx_sio_mem_lock(mem);
    ngx_sio_slots_set_state(&members.slots, a.slot, NGX_SIO_SLOTS_GONE);
    ngx_sio_slots_repair(&members.slots, ngx_sio_ring_head(&members.ring));
    (void) ngx_sio_members_settle(&members, b);
    ngx_sio_mem_unlock(mem);

    sum();
    hub_test_ok(slot->state == NGX_SIO_SLOTS_FREE && counters[3] == 15
                && dropped[0] == 2, "counters retire once");
}


/*
 * One goes from slot to slot with an entry, by a process that dies after so many
 * of its steps; who is repaired, and how often, makes no difference.
 */

static void
gives(ngx_uint_t steps)
{
    uint64_t               head;
    ngx_uint_t             i, gone;
    ngx_str_t              part;
    ngx_sio_slots_t       *s;
    ngx_sio_hub_addr_t     a, b, c;
    ngx_sio_ring_entry_t   e;

    static const char  *names[] = { "gives", "gives 1", "gives 2", "gives 3" };

    open_members(names[steps]);

    s = &members.slots;

    a = join();
    b = join();
    c = join();

    s->slots[a.slot].gauges[NGX_SIO_SLOTS_GIVEN] = 3;

    memset(&e, 0, sizeof(e));
    ngx_str_null(&part);
    e.kind = 1;

    (void) ngx_sio_mem_lock(mem);

    head = ngx_sio_ring_head(&members.ring);
    ngx_sio_slots_give(s, a.slot, b.slot, head);

    if (steps > 0) {
        (void) ngx_sio_ring_append(&members.ring, &e, &part, 1);
    }

    if (steps > 1) {
        s->slots[a.slot].given++;
    }

    if (steps > 2) {
        s->slots[b.slot].taken++;
    }

    for (i = 0; i < 2; i++) {
        ngx_sio_slots_repair(s, ngx_sio_ring_head(&members.ring));
    }

    ngx_sio_mem_unlock(mem);

    gone = (steps > 0);

    sum();
    hub_test_ok(gauges[NGX_SIO_SLOTS_GIVEN] == 3
                && s->slots[a.slot].given == gone
                && s->slots[b.slot].taken == gone,
                "%d steps: what is given is somebody's", (int) steps);

    (void) ngx_sio_members_bury(&members, a, c);

    sum();
    hub_test_ok(gauges[NGX_SIO_SLOTS_GIVEN] == gone
                && dropped[NGX_SIO_SLOTS_GIVEN] == 3 - gone,
                "%d steps: the giver dies without it", (int) steps);

    (void) ngx_sio_members_bury(&members, b, c);

    sum();
    hub_test_ok(gauges[NGX_SIO_SLOTS_GIVEN] == 0
                && dropped[NGX_SIO_SLOTS_GIVEN] == 3,
                "%d steps: the taker with it", (int) steps);
}


static int
joins_and_waits(void *data)
{
    ngx_sio_hub_addr_t *addr = data;

    ngx_sio_members_init(&members, mem);
    *addr = join();

    (void) kill(getppid(), SIGCONT);
    (void) pause();

    return 0;
}


static void
runs(void)
{
    int                  n;
    pid_t                pid;
    struct timespec      ts = { 0, 5 * 1000 * 1000 };
    ngx_sio_hub_addr_t   own;
    ngx_sio_hub_addr_t  *addr;

    open_members("runs");

    addr = hub_test_share(sizeof(ngx_sio_hub_addr_t));
    pid = hub_test_child(joins_and_waits, addr);

    for (n = 0; n < 1000 && addr->generation == 0; n++) {
        (void) nanosleep(&ts, NULL);
    }

    own = join();

    hub_test_ok(ngx_sio_slots_running(&members.slots, own.slot)
                && ngx_sio_slots_running(&members.slots, addr->slot),
                "living processes run");

    members.slots.slots[own.slot].started++;
    hub_test_ok(!ngx_sio_slots_running(&members.slots, own.slot),
                "another process with the same pid is not it");

    (void) kill(pid, SIGKILL);

    for (n = 0; n < 1000; n++) {
        if (!ngx_sio_slots_running(&members.slots, addr->slot)) {
            break;
        }

        (void) nanosleep(&ts, NULL);
    }

    hub_test_ok(n < 1000, "a zombie does not run");

    (void) hub_test_wait(pid);

    hub_test_ok(!ngx_sio_slots_running(&members.slots, addr->slot),
                "what was reaped does not run");
}


/* joins, writes, buries itself and so on, to be killed anywhere in it */

static int
lives_often(void *data)
{
    account_t *account = data;

    ngx_sio_hub_addr_t  addr;

    ngx_sio_members_init(&members, mem);

    for ( ;; ) {
        addr = join();

        if (addr.slot == NGX_SIO_HUB_ALL) {
            /* the ring is full, and all slots owe their ends */
            (void) append(0);
            continue;
        }

        ngx_sio_mem_commit(&account->begun, account->begun + STEP);
        ngx_sio_mem_commit(&members.slots.slots[addr.slot].counters[0], STEP);
        ngx_sio_mem_commit(&account->done, account->done + STEP);

        (void) append(40);
        move(addr, ngx_sio_ring_head(&members.ring));
        (void) ngx_sio_members_bury(&members, addr, addr);
    }

    return 0;
}


static void
repair(void *data)
{
    ngx_sio_slots_repair(&members.slots, ngx_sio_ring_head(&members.ring));

    (*(ngx_uint_t *) data)++;
}


typedef struct {
    uint64_t              position;
    uint32_t              up[NGX_SIO_HUB_SLOTS];
    ngx_uint_t            ends;
    ngx_uint_t            unknown;    /* no room for UP, or told again */
    ngx_uint_t            wrong;
} watcher_t;


/* reads the log and keeps account of who is in which slot */

static void
follow(watcher_t *w, ngx_sio_hub_addr_t self)
{
    uint64_t              word;
    ngx_sio_hub_addr_t    dead;
    ngx_sio_ring_entry_t  e;

    while (ngx_sio_ring_read(&members.ring, &w->position, &e) == NGX_OK) {

        if (e.kind == NGX_SIO_MEMBERS_UP) {
            w->wrong += (w->up[e.from_slot] != 0);
            w->up[e.from_slot] = e.from_generation;
        }

        if (e.kind == NGX_SIO_MEMBERS_DOWN) {
            (void) ngx_sio_ring_copy(&members.ring, &e, (u_char *) &word);
            dead = ngx_sio_hub_addr_unpack(word);

            if (w->up[dead.slot] == 0) {
                w->unknown++;

            } else {
                w->wrong += (w->up[dead.slot] != dead.generation);
                w->up[dead.slot] = 0;
                w->ends++;
            }
        }

        w->position = e.position + e.size;
        move(self, w->position);
    }
}


/* nobody is twice in a slot, everybody ends, nothing is left */

static void
killed(void)
{
    pid_t               pid;
    double              end;
    watcher_t           w;
    account_t          *account;
    ngx_uint_t          i, n, repairs, miscounted;
    ngx_sio_slot_t     *slot;
    ngx_sio_hub_addr_t  self;

    open_members("killed");

    account = hub_test_share(sizeof(account_t));
    miscounted = 0;
    repairs = 0;
    ngx_sio_mem_set_repair(mem, repair, &repairs, &hub_test_log);

    self = join();

    memset(&w, 0, sizeof(w));
    w.position = members.slots.slots[self.slot].cursor;

    for (n = 0; n < KILLS && w.wrong == 0; n++) {

        pid = hub_test_child(lives_often, account);
        end = hub_test_time() + (random() % 1000) / 1e6;

        while (hub_test_time() < end) {
            follow(&w, self);
        }

        hub_test_kill(pid, 1);
        follow(&w, self);

        for (i = 0; i < members.slots.head->high; i++) {
            slot = &members.slots.slots[i];

            if (slot->state && !ngx_sio_slots_running(&members.slots, i)) {
                (void) ngx_sio_members_bury(&members,
                                ngx_sio_hub_addr(i, slot->generation), self);
            }
        }

        (void) append(0);
        follow(&w, self);

        for (i = 0; i < members.slots.head->high; i++) {
            w.wrong += (i != self.slot
                        && (w.up[i] || members.slots.slots[i].state));
        }

        /* the last one may have been counted by the time it was killed */

        sum();

        miscounted += (counters[0] != account->begun
                       && counters[0] != account->done);

        account->begun = counters[0];
        account->done = counters[0];
    }

    hub_test_ok(w.wrong == 0 && w.ends > KILLS / 10,
                "killed %d times, %d of them inside the lock: "
                "%d ends were told, and %d without a beginning",
                (int) n, (int) repairs, (int) w.ends, (int) w.unknown);
    hub_test_ok(miscounted == 0 && account->done > 0,
                "what they counted is counted once, in all %d",
                (int) account->done);
}


int
main(void)
{
    ngx_uint_t  i;

    srandom(getpid());
    (void) signal(SIGCONT, SIG_IGN);

    comes_and_goes();
    owes();
    returns();
    retires_once();

    for (i = 0; i < 4; i++) {
        gives(i);
    }

    runs();
    killed();

    return hub_test_done();
}
