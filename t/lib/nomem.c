
/*
 * Preloaded into nginx: while the file that SIO_NOMEM named at the start is
 * there, one allocation in about a hundred fails.  Which ones is different in
 * every process.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


static char       nomem_file[4096];
static unsigned   nomem_calls;
static unsigned   nomem_random;
static int        nomem_on;


__attribute__((constructor))
static void
nomem_init(void)
{
    const char  *name;

    name = getenv("SIO_NOMEM");

    if (name != NULL && strlen(name) < sizeof(nomem_file)) {
        strcpy(nomem_file, name);
    }
}


static int
nomem_fails(void)
{
    if (++nomem_calls % 64 == 0) {
        nomem_on = nomem_file[0] && access(nomem_file, F_OK) == 0;
    }

    if (!nomem_on) {
        return 0;
    }

    if (nomem_random == 0) {
        nomem_random = getpid() * 2654435761u | 1;
    }

    nomem_random = nomem_random * 1103515245 + 12345;

    return (nomem_random >> 16) % 1024 < 10;
}


void *
malloc(size_t size)
{
    static void  *(*real)(size_t);

    if (real == NULL) {
        real = (void *(*)(size_t)) dlsym(RTLD_NEXT, "malloc");
    }

    if (nomem_fails()) {
        errno = ENOMEM;
        return NULL;
    }

    return real(size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    static int  (*real)(void **, size_t, size_t);

    if (real == NULL) {
        real = (int (*)(void **, size_t, size_t))
                   dlsym(RTLD_NEXT, "posix_memalign");
    }

    return nomem_fails() ? ENOMEM : real(p, alignment, size);
}
