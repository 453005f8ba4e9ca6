
#include "ngx_sio_mem.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>


#define NGX_SIO_MEM_MAGIC        0x73696f2d68756221ULL

/* to be counted up with any change of a structure in the memory */
#define NGX_SIO_MEM_LAYOUT       7

#define NGX_SIO_MEM_PREFIX       "ngx_socketio:"
#define NGX_SIO_MEM_LINK         "/memfd:" NGX_SIO_MEM_PREFIX
#define NGX_SIO_MEM_FDS          "/proc/self/fd"

#define NGX_SIO_MEM_HEAD_SIZE    4096
#define NGX_SIO_MEM_SLOTS_SIZE   (208 * 1024)
#define NGX_SIO_MEM_BRIDGE_SIZE  (12 * 1024)
#define NGX_SIO_MEM_ALIGNMENT    64

/* a holder on another core is done within a few hundred nanoseconds */
#define NGX_SIO_MEM_SPINS        64

/* seconds */
#define NGX_SIO_MEM_PATIENCE     5


typedef struct {
    uint64_t                magic;        /* stored last */
    uint32_t                layout;
    uint32_t                lock_size;    /* that of another C library */
    uint64_t                size;
    int64_t                 holder;       /* pid, for the log */
    pthread_mutex_t         lock;
} ngx_sio_mem_head_t;


struct ngx_sio_mem_s {
    ngx_queue_t             queue;
    ngx_str_t               name;
    size_t                  size;
    int                     fd;           /* -1: anonymous */
    ngx_sio_mem_head_t     *head;
    ngx_sio_mem_repair_pt   repair;       /* set while somebody uses it */
    void                   *data;
    ngx_log_t              *log;
    ngx_pid_t               pid;
    ngx_pid_t               dead;         /* who held the lock; 0: nobody, or
                                             was logged */
    unsigned                attached:1;   /* since the last prune */
    unsigned                broken:1;     /* was logged */
    char                    link[sizeof(NGX_SIO_MEM_LINK)
                                 + NGX_SIO_MEM_MAX_NAME
                                 + NGX_SIZE_T_LEN + 1];
};


static ngx_sio_mem_t *ngx_sio_mem_find(ngx_str_t *name, size_t size);
static ngx_sio_mem_t *ngx_sio_mem_new(ngx_str_t *name, size_t size,
    ngx_log_t *log);
static ngx_int_t ngx_sio_mem_inherit(ngx_sio_mem_t *mem);
static ngx_int_t ngx_sio_mem_verify(ngx_sio_mem_t *mem, int fd);
static ngx_int_t ngx_sio_mem_create(ngx_sio_mem_t *mem);
static int ngx_sio_mem_create_fd(ngx_sio_mem_t *mem);
static ngx_int_t ngx_sio_mem_init_lock(ngx_sio_mem_t *mem);
static int ngx_sio_mem_next_fd(DIR *dir, char *link, size_t size);
static ngx_uint_t ngx_sio_mem_known_fd(int fd);
static int ngx_sio_mem_wait(ngx_sio_mem_t *mem);
static ngx_int_t ngx_sio_mem_recover(ngx_sio_mem_t *mem);


/* outlives the configurations of this process; workers inherit a copy */

static ngx_queue_t  ngx_sio_mem_list = {
    &ngx_sio_mem_list,
    &ngx_sio_mem_list
};


ngx_sio_mem_t *
ngx_sio_mem_attach(ngx_str_t *name, size_t size, ngx_log_t *log)
{
    ngx_sio_mem_t  *mem;

    size &= ~(size_t) (NGX_SIO_MEM_HEAD_SIZE - 1);

    if (size < NGX_SIO_MEM_MIN_SIZE || size > NGX_SIO_MEM_MAX_SIZE
        || name->len == 0 || name->len > NGX_SIO_MEM_MAX_NAME)
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "socketio zone \"%V\" of %uz bytes is out of bounds",
                      name, size);
        return NULL;
    }

    mem = ngx_sio_mem_find(name, size);

    if (mem == NULL) {
        mem = ngx_sio_mem_new(name, size, log);
    }

    if (mem == NULL) {
        return NULL;
    }

    mem->attached = 1;
    mem->log = log;

    return mem;
}


void
ngx_sio_mem_prune(void)
{
    int             fd;
    DIR            *dir;
    char            link[sizeof(NGX_SIO_MEM_LINK)];
    ngx_queue_t    *q, *next;
    ngx_sio_mem_t  *mem;

    for (q = ngx_queue_head(&ngx_sio_mem_list);
         q != ngx_queue_sentinel(&ngx_sio_mem_list);
         q = next)
    {
        next = ngx_queue_next(q);
        mem = ngx_queue_data(q, ngx_sio_mem_t, queue);

        if (mem->attached || mem->repair) {
            mem->attached = 0;
            continue;
        }

        ngx_queue_remove(q);

        (void) munmap(mem->head, mem->size);

        if (mem->fd != -1) {
            (void) close(mem->fd);
        }

        ngx_free(mem);
    }

    dir = opendir(NGX_SIO_MEM_FDS);
    if (dir == NULL) {
        return;
    }

    while ((fd = ngx_sio_mem_next_fd(dir, link, sizeof(link))) != -1) {

        /* link has room for the prefix only */

        if (ngx_strcmp(link, NGX_SIO_MEM_LINK) == 0
            && !ngx_sio_mem_known_fd(fd))
        {
            (void) close(fd);
        }
    }

    (void) closedir(dir);
}


void *
ngx_sio_mem_region(ngx_sio_mem_t *mem, ngx_sio_mem_region_e region,
    size_t *size)
{
    size_t      offset;
    ngx_uint_t  i;

    offset = NGX_SIO_MEM_HEAD_SIZE;

    for (i = 0; i < (ngx_uint_t) region; i++) {
        offset += ngx_sio_mem_region_size(mem->size, i);
    }

    *size = ngx_sio_mem_region_size(mem->size, region);

    return (u_char *) mem->head + offset;
}


size_t
ngx_sio_mem_region_size(size_t zone, ngx_sio_mem_region_e region)
{
    size_t  rest;

    if (zone < NGX_SIO_MEM_MIN_SIZE || zone > NGX_SIO_MEM_MAX_SIZE) {
        return 0;
    }

    zone &= ~(size_t) (NGX_SIO_MEM_HEAD_SIZE - 1);
    rest = zone - NGX_SIO_MEM_HEAD_SIZE - NGX_SIO_MEM_SLOTS_SIZE
           - NGX_SIO_MEM_BRIDGE_SIZE;

    switch (region) {

    case NGX_SIO_MEM_SLOTS:
        return NGX_SIO_MEM_SLOTS_SIZE;

    case NGX_SIO_MEM_BRIDGE:
        return NGX_SIO_MEM_BRIDGE_SIZE;

    case NGX_SIO_MEM_RING:
        rest = rest / 2;
        break;

    case NGX_SIO_MEM_DIRECTORY:
        rest = rest / 8;
        break;

    default: /* NGX_SIO_MEM_JOURNAL */
        rest = rest / 8 * 3;
        break;
    }

    return rest & ~(size_t) (NGX_SIO_MEM_ALIGNMENT - 1);
}


void
ngx_sio_mem_set_repair(ngx_sio_mem_t *mem, ngx_sio_mem_repair_pt repair,
    void *data, ngx_log_t *log)
{
    mem->repair = repair;
    mem->data = data;
    mem->log = log;
    mem->pid = ngx_getpid();
}


ngx_str_t *
ngx_sio_mem_name(ngx_sio_mem_t *mem)
{
    return &mem->name;
}


size_t
ngx_sio_mem_size(ngx_sio_mem_t *mem)
{
    return mem->size;
}


ngx_int_t
ngx_sio_mem_lock(ngx_sio_mem_t *mem)
{
    int         rc;
    ngx_uint_t  n;

    n = 0;

    while ((rc = pthread_mutex_trylock(&mem->head->lock)) == EBUSY
           && ++n < NGX_SIO_MEM_SPINS)
    {
        ngx_cpu_pause();
    }

    if (rc == EBUSY) {
        rc = ngx_sio_mem_wait(mem);
    }

    if (rc == EOWNERDEAD) {
        return ngx_sio_mem_recover(mem);
    }

    if (rc == 0) {
        mem->head->holder = mem->pid;
        return NGX_OK;
    }

    if (!mem->broken) {
        mem->broken = 1;
        ngx_log_error(NGX_LOG_ALERT, mem->log, rc,
                      "lock of socketio zone \"%V\" is broken", &mem->name);
    }

    return NGX_ERROR;
}


void
ngx_sio_mem_unlock(ngx_sio_mem_t *mem)
{
    (void) pthread_mutex_unlock(&mem->head->lock);

    if (mem->dead) {
        ngx_log_error(NGX_LOG_NOTICE, mem->log, 0,
                      "socketio zone \"%V\" was locked by process %P that "
                      "died", &mem->name, mem->dead);
        mem->dead = 0;
    }
}


static ngx_sio_mem_t *
ngx_sio_mem_find(ngx_str_t *name, size_t size)
{
    ngx_queue_t    *q;
    ngx_sio_mem_t  *mem;

    for (q = ngx_queue_head(&ngx_sio_mem_list);
         q != ngx_queue_sentinel(&ngx_sio_mem_list);
         q = ngx_queue_next(q))
    {
        mem = ngx_queue_data(q, ngx_sio_mem_t, queue);

        if (mem->size == size
            && mem->name.len == name->len
            && ngx_memcmp(mem->name.data, name->data, name->len) == 0)
        {
            return mem;
        }
    }

    return NULL;
}


static ngx_sio_mem_t *
ngx_sio_mem_new(ngx_str_t *name, size_t size, ngx_log_t *log)
{
    ngx_sio_mem_t  *mem;

    mem = ngx_alloc(sizeof(ngx_sio_mem_t) + name->len, log);
    if (mem == NULL) {
        return NULL;
    }

    ngx_memzero(mem, sizeof(ngx_sio_mem_t));

    mem->name.len = name->len;
    mem->name.data = (u_char *) (mem + 1);
    ngx_memcpy(mem->name.data, name->data, name->len);

    mem->size = size;
    mem->log = log;
    mem->fd = -1;

    (void) snprintf(mem->link, sizeof(mem->link),
                    NGX_SIO_MEM_LINK "%.*s:%zu (deleted)",
                    (int) name->len, (char *) name->data, size);

    if (ngx_sio_mem_inherit(mem) != NGX_OK
        && ngx_sio_mem_create(mem) != NGX_OK)
    {
        ngx_free(mem);
        return NULL;
    }

    ngx_queue_insert_tail(&ngx_sio_mem_list, &mem->queue);

    return mem;
}


/* a new binary finds the descriptor of the old one by its name */

static ngx_int_t
ngx_sio_mem_inherit(ngx_sio_mem_t *mem)
{
    int        fd;
    DIR       *dir;
    char       link[sizeof(mem->link)];
    ngx_int_t  rc;

    dir = opendir(NGX_SIO_MEM_FDS);
    if (dir == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    while (rc == NGX_DECLINED
           && (fd = ngx_sio_mem_next_fd(dir, link, sizeof(link))) != -1)
    {
        if (ngx_strcmp(link, mem->link) == 0 && !ngx_sio_mem_known_fd(fd)) {
            rc = ngx_sio_mem_verify(mem, fd);
        }
    }

    (void) closedir(dir);

    return rc;
}


static ngx_int_t
ngx_sio_mem_verify(ngx_sio_mem_t *mem, int fd)
{
    struct stat          st;
    ngx_sio_mem_head_t  *head;

    if (fstat(fd, &st) == -1 || st.st_size != (off_t) mem->size) {
        return NGX_DECLINED;
    }

    head = mmap(NULL, mem->size, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED) {
        return NGX_DECLINED;
    }

    if (__atomic_load_n(&head->magic, __ATOMIC_ACQUIRE) != NGX_SIO_MEM_MAGIC
        || head->layout != NGX_SIO_MEM_LAYOUT
        || head->lock_size != sizeof(pthread_mutex_t)
        || head->size != mem->size)
    {
        ngx_log_error(NGX_LOG_WARN, mem->log, 0,
                      "inherited socketio zone \"%V\" has another layout, "
                      "clients of old workers will be on their own",
                      &mem->name);

        (void) munmap(head, mem->size);
        return NGX_DECLINED;
    }

    mem->head = head;
    mem->fd = fd;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_mem_create(ngx_sio_mem_t *mem)
{
    int  flags;

    mem->fd = ngx_sio_mem_create_fd(mem);
    flags = MAP_SHARED;

    if (mem->fd == -1) {
        flags |= MAP_ANONYMOUS;

        ngx_log_error(NGX_LOG_NOTICE, mem->log, 0,
                      "socketio zone \"%V\" will not survive a binary upgrade",
                      &mem->name);
    }

    mem->head = mmap(NULL, mem->size, PROT_READ|PROT_WRITE, flags, mem->fd, 0);

    if (mem->head == MAP_FAILED) {
        ngx_log_error(NGX_LOG_EMERG, mem->log, ngx_errno,
                      "mmap(%uz) of socketio zone \"%V\" failed",
                      mem->size, &mem->name);
        goto failed;
    }

    if (ngx_sio_mem_init_lock(mem) != NGX_OK) {
        (void) munmap(mem->head, mem->size);
        goto failed;
    }

    mem->head->layout = NGX_SIO_MEM_LAYOUT;
    mem->head->lock_size = sizeof(pthread_mutex_t);
    mem->head->size = mem->size;

    ngx_sio_mem_commit(&mem->head->magic, NGX_SIO_MEM_MAGIC);

    return NGX_OK;

failed:

    if (mem->fd != -1) {
        (void) close(mem->fd);
    }

    return NGX_ERROR;
}


static int
ngx_sio_mem_create_fd(ngx_sio_mem_t *mem)
{
#ifdef MFD_ALLOW_SEALING

    int     fd;
    char    name[sizeof(mem->link)];
    size_t  len;

    /* "/memfd:NAME (deleted)" */

    len = ngx_strlen(mem->link) - (sizeof("/memfd: (deleted)") - 1);
    ngx_memcpy(name, mem->link + sizeof("/memfd:") - 1, len);
    name[len] = '\0';

    fd = memfd_create(name, MFD_ALLOW_SEALING);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_WARN, mem->log, ngx_errno,
                      "memfd_create(\"%s\") failed", name);
        return -1;
    }

    if (ftruncate(fd, mem->size) == -1) {
        ngx_log_error(NGX_LOG_WARN, mem->log, ngx_errno,
                      "ftruncate(\"%s\", %uz) failed", name, mem->size);
        (void) close(fd);
        return -1;
    }

    /* whoever inherits it must not be able to cut it under our feet */

    (void) fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_SEAL);

    return fd;

#else

    return -1;

#endif
}


static ngx_int_t
ngx_sio_mem_init_lock(ngx_sio_mem_t *mem)
{
    int                  rc;
    pthread_mutexattr_t  attr;

    rc = pthread_mutexattr_init(&attr);

    if (rc == 0) {
        rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    }

    if (rc == 0) {
        rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    }

    if (rc == 0) {
        rc = pthread_mutex_init(&mem->head->lock, &attr);
    }

    if (rc != 0) {
        ngx_log_error(NGX_LOG_EMERG, mem->log, rc,
                      "lock of socketio zone \"%V\" could not be made",
                      &mem->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the next descriptor and the beginning of its name, -1 at the end */

static int
ngx_sio_mem_next_fd(DIR *dir, char *link, size_t size)
{
    ssize_t         n;
    struct dirent  *de;

    for ( ;; ) {

        de = readdir(dir);
        if (de == NULL) {
            return -1;
        }

        /* "." and ".." are no links */

        n = readlinkat(dirfd(dir), de->d_name, link, size - 1);
        if (n == -1) {
            continue;
        }

        link[n] = '\0';

        return atoi(de->d_name);
    }
}


static ngx_uint_t
ngx_sio_mem_known_fd(int fd)
{
    ngx_queue_t    *q;
    ngx_sio_mem_t  *mem;

    for (q = ngx_queue_head(&ngx_sio_mem_list);
         q != ngx_queue_sentinel(&ngx_sio_mem_list);
         q = ngx_queue_next(q))
    {
        mem = ngx_queue_data(q, ngx_sio_mem_t, queue);

        if (mem->fd == fd) {
            return 1;
        }
    }

    return 0;
}


static int
ngx_sio_mem_wait(ngx_sio_mem_t *mem)
{
    int              rc;
    struct timespec  ts;

    for ( ;; ) {
        (void) clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_sec += NGX_SIO_MEM_PATIENCE;

        rc = pthread_mutex_timedlock(&mem->head->lock, &ts);

        if (rc != ETIMEDOUT) {
            return rc;
        }

        ngx_log_error(NGX_LOG_ALERT, mem->log, 0,
                      "socketio zone \"%V\" has been locked by process %P "
                      "for %d seconds", &mem->name,
                      (ngx_pid_t) mem->head->holder, NGX_SIO_MEM_PATIENCE);
    }
}


/*
 * The lock is made consistent after the repair: a death in between leaves it
 * to the next process to repair again.
 */

static ngx_int_t
ngx_sio_mem_recover(ngx_sio_mem_t *mem)
{
    mem->dead = (ngx_pid_t) mem->head->holder;
    mem->head->holder = mem->pid;

    if (mem->repair) {
        mem->repair(mem->data);
    }

    (void) pthread_mutex_consistent(&mem->head->lock);

    return NGX_OK;
}
