
/* link: src/hub/ngx_sio_mem.c src/hub/ngx_sio_slots.c */
/* link: src/hub/ngx_sio_names.c */
/* libs: -lpthread */

#include "hub_test.h"
#include "ngx_sio_names.h"


#define KILLS    100
#define OTHERS   NGX_SIO_NAMES_OTHERS


static ngx_sio_mem_t    *mem;
static ngx_sio_slots_t   slots;


static void
open_names(const char *name)
{
    mem = hub_test_attach(name, HUB_TEST_SIZE);

    ngx_sio_slots_init(&slots, mem);
    ngx_sio_mem_set_repair(mem, NULL, NULL, &hub_test_log);
}


static ngx_uint_t
worker(void)
{
    ngx_str_t           wake;
    ngx_sio_hub_addr_t  addr;

    wake = hub_test_str("wake");

    (void) ngx_sio_mem_lock(mem);
    (void) ngx_sio_slots_claim(&slots, 0, &wake, &addr);
    ngx_sio_mem_unlock(mem);

    return addr.slot;
}


static void
set_state(ngx_uint_t slot, ngx_sio_slots_state_e state)
{
    (void) ngx_sio_mem_lock(mem);
    ngx_sio_slots_set_state(&slots, slot, state);
    ngx_sio_mem_unlock(mem);
}


static ngx_uint_t
hold(ngx_uint_t slot, const char *name)
{
    ngx_str_t  str;

    str = hub_test_str(name);

    return ngx_sio_names_hold(mem, &slots, slot, &str);
}


static char *
number(ngx_uint_t n)
{
    static char  buf[32];

    snprintf(buf, sizeof(buf), "/room-%lu", (unsigned long) n);

    return buf;
}


/* "/a=3 /b=1 others=0" */

static const char *
sums(void)
{
    char        *p;
    uint64_t     held, named[OTHERS + 1];
    ngx_uint_t   i;
    static char  buf[8192];

    (void) ngx_sio_mem_lock(mem);
    held = ngx_sio_names_sum(&slots, named);
    ngx_sio_mem_unlock(mem);

    p = buf;

    for (i = 0; i < OTHERS; i++) {
        if (held >> i & 1) {
            p += sprintf(p, "%.*s=%lu ", slots.head->names[i].len,
                         (char *) slots.head->names[i].data,
                         (unsigned long) named[i]);
        }
    }

    sprintf(p, "others=%lu", (unsigned long) named[OTHERS]);

    return buf;
}


static void
counts(void)
{
    ngx_uint_t   a, b, index, other;
    const char  *s;

    open_names("counts");

    a = worker();
    b = worker();

    s = sums();
    hub_test_ok(strcmp(s, "others=0") == 0, "nothing is counted: %s", s);

    index = hold(a, "/");
    slots.slots[a].named[index] = 3;

    hub_test_ok(hold(b, "/") == index, "a name has one place");
    slots.slots[b].named[index] = 2;

    other = hold(b, "/chat");
    hub_test_ok(other != index && other != OTHERS, "another one has another");
    slots.slots[b].named[other] = 1;

    s = sums();
    hub_test_ok(strcmp(s, "/=5 /chat=1 others=0") == 0, "sums: %s", s);

    slots.slots[a].named[index] = 0;
    ngx_sio_names_release(&slots, a, index);

    s = sums();
    hub_test_ok(strcmp(s, "/=2 /chat=1 others=0") == 0,
                "a name stays for those who hold it: %s", s);

    set_state(b, NGX_SIO_SLOTS_GONE);

    s = sums();
    hub_test_ok(strcmp(s, "others=0") == 0, "the dead hold nothing: %s", s);

    hub_test_ok(hold(a, "/new") == 0, "their places are free");

    set_state(a, NGX_SIO_SLOTS_LOST);

    s = sums();
    hub_test_ok(strcmp(s, "/new=0 others=0") == 0,
                "who is lost still has its sockets: %s", s);
}


static void
bounds(void)
{
    char        name[NGX_SIO_SLOTS_NAME_LEN + 2];
    ngx_uint_t  a, i, n;

    open_names("bounds");

    a = worker();
    n = 0;

    for (i = 0; i < OTHERS; i++) {
        n += (hold(a, number(i)) == i);
    }

    hub_test_ok(n == OTHERS, "%d names have a place", (int) n);
    hub_test_ok(hold(a, number(OTHERS)) == OTHERS,
                "one more is counted with others");

    ngx_sio_names_release(&slots, a, OTHERS);
    ngx_sio_names_release(&slots, a, 17);

    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';

    hub_test_ok(hold(a, name) == OTHERS, "so is a name that is too long");

    name[sizeof(name) - 2] = '\0';

    hub_test_ok(hold(a, name) == 17
                && slots.head->names[17].len == NGX_SIO_SLOTS_NAME_LEN,
                "the longest one gets a place that is free again");
}


/* holds and lets go, to be killed anywhere in it */

static int
holds_often(void *data)
{
    ngx_uint_t  *slot = data;
    ngx_uint_t   i, index;

    ngx_sio_slots_init(&slots, mem);
    *slot = worker() + 1;

    for (i = 0; /* void */ ; i++) {
        index = hold(*slot - 1, number(i));

        slots.slots[*slot - 1].named[index]++;
        slots.slots[*slot - 1].named[index]--;

        ngx_sio_names_release(&slots, *slot - 1, index);
    }

    return 0;
}


static void
killed(void)
{
    pid_t        pid;
    ngx_uint_t   a, n, index, wrong, *slot;
    const char  *s;

    open_names("killed");

    a = worker();
    index = hold(a, "/");
    slots.slots[a].named[index] = 1;

    slot = hub_test_share(sizeof(ngx_uint_t));
    wrong = 0;

    for (n = 0; n < KILLS; n++) {
        *slot = 0;
        pid = hub_test_child(holds_often, slot);
        hub_test_kill(pid, 1000);

        if (*slot == 0) {
            continue;
        }

        set_state(*slot - 1, NGX_SIO_SLOTS_GONE);
        set_state(*slot - 1, NGX_SIO_SLOTS_FREE);

        wrong += (strcmp(sums(), "/=1 others=0") != 0);
    }

    s = sums();
    hub_test_ok(wrong == 0, "after %d deaths: %s", (int) n, s);

    for (n = 0; hold(a, number(n)) != OTHERS && n < 1000; n++) { /* void */ }

    hub_test_ok(n == OTHERS - 1, "no place is lost");
}


/* the table of slots is as large as it may become */

static void
fits(void)
{
    size_t  size;

    (void) ngx_sio_mem_region(mem, NGX_SIO_MEM_SLOTS, &size);

    hub_test_ok(sizeof(ngx_sio_slots_head_t)
                + NGX_SIO_HUB_SLOTS * sizeof(ngx_sio_slot_t) <= size,
                "all slots fit into %d bytes", (int) size);
    hub_test_ok(sizeof(ngx_sio_slot_t) % 64 == 0
                && sizeof(ngx_sio_slots_head_t) % 64 == 0
                && offsetof(ngx_sio_slot_t, gauges) % 64 == 0
                && offsetof(ngx_sio_slot_t, counters) % 64 == 0,
                "no two of them share a cache line");
}


int
main(void)
{
    srandom(getpid());

    counts();
    bounds();
    killed();
    fits();

    return hub_test_done();
}
