/*
 * Preloaded into nginx: workers that die at a certain moment.  All processes
 * share the page of the file that SIO_MORTAL names:
 *
 *     nth     counts down whenever a worker has taken the lock of a zone, is
 *             about to release it, or has done so; who comes to 0 is killed
 *     victim  by whom alone, or 0
 *     dead    who it was
 *     held    1: and had the lock
 *     steps   0; or only those moments count at which the lock was taken, and
 *             the death comes so many instructions later, should the lock be
 *             held for that long
 *     passed  how many there were if it was not
 *
 * These are the moments at which something becomes visible to others, and all of
 * those at which it is half done.  The master, which nobody has forked, is
 * immortal.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>


/* of the flags: a trap behind each instruction */
#define MORTAL_TF  0x100


typedef struct {
    int   nth;
    int   victim;
    int   dead;
    int   held;
    int   steps;
    int   passed;
} mortal_t;


static mortal_t   mortal_none;
static mortal_t  *mortal = &mortal_none;
static int        mortal_forked;
static int        mortal_holds;
static int        mortal_steps;


static void
mortal_fork(void)
{
    mortal_forked = 1;
}


__attribute__((constructor))
static void
mortal_init(void)
{
    int          fd;
    void        *p;
    const char  *name;

    name = getenv("SIO_MORTAL");

    if (name == NULL) {
        return;
    }

    fd = open(name, O_RDWR|O_CLOEXEC);

    p = mmap(NULL, sizeof(mortal_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED || pthread_atfork(NULL, NULL, mortal_fork) != 0) {
        abort();
    }

    close(fd);

    mortal = p;
}


static void
mortal_die(int holds)
{
    mortal->held = holds;
    mortal->dead = getpid();
    kill(getpid(), SIGKILL);
}


/* after each instruction while the lock is held */

static void
mortal_trap(int signo, siginfo_t *info, void *data)
{
#if defined(__x86_64__)
    ucontext_t *uc = data;

    if (!mortal_holds) {
        mortal->passed = mortal_steps;
        uc->uc_mcontext.gregs[REG_EFL] &= ~MORTAL_TF;
        return;
    }
#endif

    (void) signo;
    (void) info;
    (void) data;

    if (++mortal_steps == mortal->steps) {
        mortal_die(1);
    }
}


/* The flag stays when this returns. */

static void
mortal_step(void)
{
    struct sigaction  sa;

    sa.sa_sigaction = mortal_trap;
    sa.sa_flags = SA_SIGINFO;
    sigfillset(&sa.sa_mask);

    if (sigaction(SIGTRAP, &sa, NULL) != 0) {
        abort();
    }

    mortal_steps = 0;

#if defined(__x86_64__)
    __asm__ volatile ("subq $128, %%rsp\n\t"
                      "pushfq\n\t"
                      "orq %0, (%%rsp)\n\t"
                      "popfq\n\t"
                      "leaq 128(%%rsp), %%rsp"
                      : : "i" (MORTAL_TF) : "memory", "cc");
#endif
}


static void
mortal_moment(int holds, int taken)
{
    if (!mortal_forked
        || __atomic_load_n(&mortal->nth, __ATOMIC_RELAXED) <= 0
        || (mortal->victim && mortal->victim != getpid())
        || (mortal->steps && !taken))
    {
        return;
    }

    if (__atomic_sub_fetch(&mortal->nth, 1, __ATOMIC_RELAXED) != 0) {
        return;
    }

    if (mortal->steps == 0) {
        mortal_die(holds);
    }

    mortal_step();
}


/* Only what was tried is a zone's: nobody else tries. */

int
pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    static int  (*real)(pthread_mutex_t *);

    int  rc;

    if (real == NULL) {
        real = (int (*)(pthread_mutex_t *)) dlsym(RTLD_NEXT,
                                                  "pthread_mutex_trylock");
    }

    rc = real(mutex);

    if (rc == 0) {
        mortal_holds = 1;
        mortal_moment(1, 1);
    }

    return rc;
}


int
pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static int  (*real)(pthread_mutex_t *);

    int  rc, holds;

    if (real == NULL) {
        real = (int (*)(pthread_mutex_t *)) dlsym(RTLD_NEXT,
                                                  "pthread_mutex_unlock");
    }

    holds = mortal_holds;
    mortal_holds = 0;

    if (holds) {
        mortal_moment(1, 0);
    }

    rc = real(mutex);

    if (holds) {
        mortal_moment(0, 0);
    }

    return rc;
}
