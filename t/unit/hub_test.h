
/*
 * What the hub's unit tests share: TAP, the few functions of nginx that the
 * hub needs, children, and a clock to bound every loop.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "ngx_sio_mem.h"


#define HUB_TEST_SIZE      NGX_SIO_MEM_MIN_SIZE
#define HUB_TEST_WORKERS   4


static ngx_log_t   hub_test_log;
static ngx_uint_t  hub_test_logged;
static ngx_uint_t  hub_test_number;
static ngx_uint_t  hub_test_failed;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    (void) fmt;

    hub_test_logged++;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return malloc(size);
}


static inline ngx_uint_t
hub_test_ok(ngx_uint_t good, const char *fmt, ...)
{
    va_list  args;

    hub_test_number++;

    if (!good) {
        hub_test_failed++;
    }

    printf("%sok %lu - ", good ? "" : "not ", (unsigned long) hub_test_number);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
    fflush(stdout);

    return good;
}


static inline int
hub_test_done(void)
{
    printf("1..%lu\n", (unsigned long) hub_test_number);

    return hub_test_failed ? 1 : 0;
}


static inline ngx_str_t
hub_test_str(const char *s)
{
    ngx_str_t  str;

    str.data = (u_char *) s;
    str.len = strlen(s);

    return str;
}


static inline ngx_sio_mem_t *
hub_test_attach(const char *name, size_t size)
{
    ngx_str_t       str;
    ngx_sio_mem_t  *mem;

    hub_test_log.log_level = NGX_LOG_WARN;

    str = hub_test_str(name);
    mem = ngx_sio_mem_attach(&str, size, &hub_test_log);

    if (mem == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    return mem;
}


static inline double
hub_test_time(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* a page that parent and children share, beside the zone under test */

static inline void *
hub_test_share(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);
    if (p == MAP_FAILED) {
        exit(2);
    }

    return p;
}


/* forks; the child calls work and exits with what it returns */

static inline pid_t
hub_test_child(int (*work)(void *data), void *data)
{
    pid_t  pid;

    fflush(stdout);

    pid = fork();

    if (pid == 0) {
        /* nothing may outlive a test that hangs or is killed */
        alarm(60);
        _exit(work(data));
    }

    return pid;
}


/* the exit code, or 128 plus the signal */

static inline int
hub_test_wait(pid_t pid)
{
    int  status;

    if (waitpid(pid, &status, 0) != pid) {
        return -1;
    }

    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}


/* kills a child after a random number of microseconds up to max */

static inline void
hub_test_kill(pid_t pid, unsigned max)
{
    struct timespec  ts;

    ts.tv_sec = 0;
    ts.tv_nsec = 1000L * (random() % max);

    (void) nanosleep(&ts, NULL);
    (void) kill(pid, SIGKILL);
    (void) hub_test_wait(pid);
}
