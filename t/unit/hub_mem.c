
/* link: src/hub/ngx_sio_mem.c */
/* libs: -lpthread */

#include "hub_test.h"
#include <sys/resource.h>


static ngx_uint_t  repairs;
static ngx_uint_t  dies_in_repair;


static void
repair(void *data)
{
    if (dies_in_repair) {
        (void) kill(getpid(), SIGKILL);
    }

    repairs++;
    *(int *) data = 1;
}


static int
dies_locked(void *data)
{
    ngx_sio_mem_t  *mem = data;

    if (ngx_sio_mem_lock(mem) == NGX_OK) {
        (void) kill(getpid(), SIGKILL);
    }

    return 1;
}


static int
counts(void *data)
{
    int             i;
    size_t          size;
    ngx_sio_mem_t  *mem = data;
    volatile int   *n;

    n = ngx_sio_mem_region(mem, NGX_SIO_MEM_RING, &size);

    for (i = 0; i < 20000; i++) {
        if (ngx_sio_mem_lock(mem) != NGX_OK) {
            return 1;
        }

        (*n)++;
        ngx_sio_mem_unlock(mem);
    }

    return 0;
}


static void
regions(void)
{
    size_t          zone, size, total;
    u_char         *p, *end;
    ngx_uint_t      i;
    ngx_sio_mem_t  *mem;

    hub_test_ok(ngx_sio_mem_region_size(NGX_SIO_MEM_MIN_SIZE - 1,
                                        NGX_SIO_MEM_RING) == 0,
                "a zone too small has no ring");

    zone = 16 * 1024 * 1024;

    hub_test_ok(ngx_sio_mem_region_size(zone, NGX_SIO_MEM_RING)
                > zone * 49 / 100, "about half of a zone is the ring");
    hub_test_ok(ngx_sio_mem_region_size(zone, NGX_SIO_MEM_JOURNAL)
                > zone * 36 / 100, "three eighths are the journal");

    mem = hub_test_attach("regions", HUB_TEST_SIZE + 1234);
    end = NULL;
    total = 0;

    for (i = 0; i < NGX_SIO_MEM_REGIONS; i++) {
        p = ngx_sio_mem_region(mem, i, &size);

        hub_test_ok(p >= end && (uintptr_t) p % 64 == 0,
                    "region %d overlaps none and is aligned", (int) i);

        ngx_memset(p, i, size);
        end = p + size;
        total += size;
    }

    hub_test_ok(total <= HUB_TEST_SIZE, "the regions fit into the zone");
}


static void
attach(void)
{
    size_t          size;
    u_char         *p;
    ngx_str_t       name;
    ngx_sio_mem_t  *one, *two;

    one = hub_test_attach("one", HUB_TEST_SIZE);
    two = hub_test_attach("two", HUB_TEST_SIZE);

    hub_test_ok(one != two, "names make zones");
    hub_test_ok(one == hub_test_attach("one", HUB_TEST_SIZE),
                "a reload finds its zone again");
    hub_test_ok(one != hub_test_attach("one", 2 * HUB_TEST_SIZE),
                "another size is another zone");

    p = ngx_sio_mem_region(one, NGX_SIO_MEM_JOURNAL, &size);
    *p = 7;

    ngx_sio_mem_prune();
    (void) hub_test_attach("one", HUB_TEST_SIZE);
    ngx_sio_mem_prune();

    one = hub_test_attach("one", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(one, NGX_SIO_MEM_JOURNAL, &size);
    hub_test_ok(*p == 7, "what is attached again survives pruning");

    two = hub_test_attach("two", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(two, NGX_SIO_MEM_JOURNAL, &size);
    hub_test_ok(p[0] == 0 && p[size - 1] == 0, "a new zone is zeros");

    name = hub_test_str("small");
    hub_test_ok(ngx_sio_mem_attach(&name, 4096, &hub_test_log) == NULL,
                "a zone too small is refused");

    name.len = 0;
    hub_test_ok(ngx_sio_mem_attach(&name, HUB_TEST_SIZE, &hub_test_log)
                == NULL, "a zone without a name is refused");
}


static void
locks(void)
{
    int             done, i;
    size_t          size;
    pid_t           pids[HUB_TEST_WORKERS];
    volatile int   *n;
    ngx_sio_mem_t  *mem;

    mem = hub_test_attach("lock", HUB_TEST_SIZE);
    n = ngx_sio_mem_region(mem, NGX_SIO_MEM_RING, &size);

    for (i = 0; i < HUB_TEST_WORKERS; i++) {
        pids[i] = hub_test_child(counts, mem);
    }

    for (i = 0; i < HUB_TEST_WORKERS; i++) {
        (void) hub_test_wait(pids[i]);
    }

    hub_test_ok(*n == HUB_TEST_WORKERS * 20000, "one at a time is inside");

    done = 0;
    ngx_sio_mem_set_repair(mem, repair, &done, &hub_test_log);

    (void) hub_test_wait(hub_test_child(dies_locked, mem));

    hub_test_ok(ngx_sio_mem_lock(mem) == NGX_OK && repairs == 1 && done,
                "after the death of its holder the lock is repaired");
    ngx_sio_mem_unlock(mem);

    hub_test_ok(ngx_sio_mem_lock(mem) == NGX_OK && repairs == 1,
                "and then it is as before");
    ngx_sio_mem_unlock(mem);

    (void) hub_test_wait(hub_test_child(dies_locked, mem));

    dies_in_repair = 1;
    hub_test_ok(hub_test_wait(hub_test_child(dies_locked, mem))
                == 128 + SIGKILL, "a process dies while it repairs");
    dies_in_repair = 0;

    hub_test_ok(ngx_sio_mem_lock(mem) == NGX_OK && repairs == 2,
                "the next one repairs again");
    ngx_sio_mem_unlock(mem);
}


/* the program once more, as a new binary that inherits descriptors */

static void
upgrade(char *program)
{
    pid_t           pid;
    u_char         *p;
    size_t          size;
    ngx_sio_mem_t  *mem;

    mem = hub_test_attach("upgrade \"zone\"", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(mem, NGX_SIO_MEM_DIRECTORY, &size);
    p[0] = 42;

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        alarm(60);
        (void) execl(program, program, "new", NULL);
        _exit(100);
    }

    hub_test_ok(hub_test_wait(pid) == 0,
                "a new binary finds the zone, and only this one");
    hub_test_ok(p[0] == 43, "both binaries write to the same memory");
    hub_test_ok(ngx_sio_mem_lock(mem) == NGX_OK,
                "the lock works across binaries");
    ngx_sio_mem_unlock(mem);
}


static int
upgraded(void)
{
    u_char         *p;
    size_t          size;
    ngx_sio_mem_t  *mem;

    mem = hub_test_attach("upgrade \"zone\"", 2 * HUB_TEST_SIZE);
    p = ngx_sio_mem_region(mem, NGX_SIO_MEM_DIRECTORY, &size);

    if (p[0] != 0) {
        return 1;
    }

    mem = hub_test_attach("upgrade \"zone\"", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(mem, NGX_SIO_MEM_DIRECTORY, &size);

    if (p[0] != 42 || ngx_sio_mem_lock(mem) != NGX_OK) {
        return 2;
    }

    p[0] = 43;
    ngx_sio_mem_unlock(mem);

    ngx_sio_mem_prune();

    /* the descriptors of the other zones were closed, so this one is new */

    mem = hub_test_attach("one", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(mem, NGX_SIO_MEM_JOURNAL, &size);

    return p[0] == 0 ? 0 : 3;
}


/* a memfd of the right name and size with something else in it */

static void
strangers(void)
{
    int             fd;
    size_t          size;
    u_char         *p;
    ngx_sio_mem_t  *mem;

    fd = memfd_create("ngx_socketio:stranger:524288", 0);

    if (fd == -1 || ftruncate(fd, HUB_TEST_SIZE) == -1) {
        hub_test_ok(1, "no memfd here # SKIP");
        return;
    }

    hub_test_logged = 0;
    mem = hub_test_attach("stranger", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(mem, NGX_SIO_MEM_RING, &size);
    *p = 1;

    hub_test_ok(hub_test_logged == 1,
                "a zone of another layout is not believed, and said so");
}


/* no descriptor is left: neither /proc nor a memfd can be opened */

static int
attaches_without_descriptors(void *data)
{
    size_t          size;
    u_char         *p;
    struct rlimit   limit;
    ngx_sio_mem_t  *mem;

    (void) data;

    limit.rlim_cur = 3;
    limit.rlim_max = 3;

    if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return 1;
    }

    mem = hub_test_attach("anonymous", HUB_TEST_SIZE);
    p = ngx_sio_mem_region(mem, NGX_SIO_MEM_JOURNAL, &size);
    p[size - 1] = 1;

    if (mem != hub_test_attach("anonymous", HUB_TEST_SIZE)) {
        return 2;
    }

    (void) hub_test_wait(hub_test_child(dies_locked, mem));

    return ngx_sio_mem_lock(mem) == NGX_OK ? 0 : 3;
}


static void
fallback(void)
{
    hub_test_ok(hub_test_wait(hub_test_child(attaches_without_descriptors,
                                             NULL)) == 0,
                "without memfd a reload finds the zone, and the lock works");
}


int
main(int argc, char **argv)
{
    if (argc > 1) {
        return upgraded();
    }

    regions();
    attach();
    locks();
    upgrade(argv[0]);
    strangers();
    fallback();

    return hub_test_done();
}
