/*
 * Preloaded into nginx: allocations that fail when the test wants it.  Master
 * and workers share the page of the file that SIO_NOMEM names:
 *
 *     mode    0: none, 1: the nth from now, 2: about one in a hundred
 *     nth     counts down
 *     failed  so many have
 *
 * The calls that led to the nth are added to a file of the same name with
 * ".trace".
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>


#define NOMEM_DEPTH  16


typedef struct {
    unsigned   mode;
    int        nth;
    unsigned   failed;
} nomem_t;


static nomem_t   nomem_none;
static nomem_t  *nomem = &nomem_none;
static int       nomem_trace = -1;


__attribute__((constructor))
static void
nomem_init(void)
{
    int          fd;
    char         trace[4096];
    void        *calls[1], *p;
    const char  *name;

    name = getenv("SIO_NOMEM");

    if (name == NULL) {
        return;
    }

    /* loads what it needs, and allocates for it */
    (void) backtrace(calls, 1);

    snprintf(trace, sizeof(trace), "%s.trace", name);

    nomem_trace = open(trace, O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0644);
    fd = open(name, O_RDWR|O_CLOEXEC);

    p = mmap(NULL, sizeof(nomem_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        abort();
    }

    close(fd);

    nomem = p;
}


/* Which ones of a hundred is different in every process. */

static int
nomem_hundredth(void)
{
    static unsigned  random;

    if (random == 0) {
        random = getpid() * 2654435761u | 1;
    }

    random = random * 1103515245 + 12345;

    return (random >> 16) % 1024 < 10;
}


static int
nomem_fails(void)
{
    int    n;
    void  *calls[NOMEM_DEPTH];

    switch (nomem->mode) {

    case 0:
        return 0;

    case 1:
        if (__atomic_sub_fetch(&nomem->nth, 1, __ATOMIC_RELAXED) != 0) {
            return 0;
        }

        n = backtrace(calls, NOMEM_DEPTH);
        backtrace_symbols_fd(calls, n, nomem_trace);
        break;

    default:
        if (!nomem_hundredth()) {
            return 0;
        }
    }

    __atomic_add_fetch(&nomem->failed, 1, __ATOMIC_RELAXED);

    errno = ENOMEM;

    return 1;
}


static void
nomem_next(void **real, const char *name)
{
    if (*real == NULL) {
        *real = dlsym(RTLD_NEXT, name);
    }
}


void *
malloc(size_t size)
{
    static void  *real;

    nomem_next(&real, "malloc");

    return nomem_fails() ? NULL : ((void *(*)(size_t)) real)(size);
}


/* What the dynamic linker needs before there is another one. */

static void *
nomem_early(size_t size)
{
    void  *p;

    static size_t  used;
    static char    room[4096] __attribute__((aligned(16)));

    if (used + size > sizeof(room)) {
        return NULL;
    }

    p = room + used;
    used += (size + 15) & ~(size_t) 15;

    return p;
}


void *
calloc(size_t n, size_t size)
{
    static int    looking;
    static void  *real;

    if (looking) {
        return nomem_early(n * size);
    }

    looking = (real == NULL);
    nomem_next(&real, "calloc");
    looking = 0;

    return nomem_fails() ? NULL
                         : ((void *(*)(size_t, size_t)) real)(n, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    static void  *real;

    nomem_next(&real, "posix_memalign");

    return nomem_fails() ? ENOMEM
                         : ((int (*)(void **, size_t, size_t)) real)
                               (p, alignment, size);
}


void *
realloc(void *p, size_t size)
{
    static void  *real;

    nomem_next(&real, "realloc");

    return nomem_fails() ? NULL : ((void *(*)(void *, size_t)) real)(p, size);
}
