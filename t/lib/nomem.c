/*
 * Preloaded into nginx: allocations that fail when the test wants it.  Master
 * and workers share the file that SIO_NOMEM names, see nomem_t:
 *
 *     mode 1, 2   of all that malloc() and its like are asked for, by whomever,
 *                 the nth from now, or about one in a hundred
 *     mode 3      none, but the module's own calls are counted, by path
 *     mode 4      the nth of the module's own calls by this path
 *
 * The module's own calls are those of functions of nginx and libraries that
 * need memory, or give what can be used up.  A path is the place of the call
 * and those in the module that led to it.  Such a call fails whether there is
 * still room in a pool or not.
 *
 * The calls that led to what has failed are added to a file of the same name
 * with ".trace".
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define NOMEM_DEPTH    16
#define NOMEM_CALLS    5                       /* of a path, in the module */
#define NOMEM_PATHS    8192
#define NOMEM_BLOCKS   (1 << 18)
#define NOMEM_NEVER    ((size_t) 1 << 60)
#define NOMEM_MODULE   "ngx_http_socketio_module"


typedef struct {
    uint64_t   key;                            /* 0: nobody's yet */
    uint32_t   turn;                           /* that seen belongs to */
    uint32_t   seen;
    uint32_t   failed;                         /* in all turns */
    int32_t    live;                           /* blocks that are not freed */
    uint32_t   calls[NOMEM_CALLS + 1];         /* offsets in the module */
} nomem_path_t;


typedef struct {
    uint32_t      mode;
    int32_t       nth;
    uint32_t      failed;
    uint32_t      turn;
    uint64_t      key;
    nomem_path_t  paths[NOMEM_PATHS];
} nomem_t;


/* Blocks of this process that the module has asked for. */

typedef struct {
    void          *block;
    nomem_path_t  *path;
} nomem_block_t;


static nomem_t         nomem_none;
static nomem_t        *nomem = &nomem_none;
static int             nomem_trace = -1;
static char           *nomem_low, *nomem_high;  /* the module */
static nomem_block_t   nomem_blocks[NOMEM_BLOCKS];
static unsigned        nomem_used;
static char            nomem_room[4096] __attribute__((aligned(16)));


static void nomem_gone(void *block);


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

    case 1:
        if (__atomic_sub_fetch(&nomem->nth, 1, __ATOMIC_RELAXED) != 0) {
            return 0;
        }

        n = backtrace(calls, NOMEM_DEPTH);
        backtrace_symbols_fd(calls, n, nomem_trace);
        break;

    case 2:
        if (!nomem_hundredth()) {
            return 0;
        }

        break;

    default:
        return 0;
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

    if (nomem_fails() || size >= NOMEM_NEVER) {
        errno = ENOMEM;
        return NULL;
    }

    return ((void *(*)(size_t)) real)(size);
}


/* What the dynamic linker needs before there is another one. */

static void *
nomem_early(size_t size)
{
    void  *p;

    static size_t  used;

    if (used + size > sizeof(nomem_room)) {
        return NULL;
    }

    p = nomem_room + used;
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

    if (nomem_fails() || size >= NOMEM_NEVER) {
        errno = ENOMEM;
        return NULL;
    }

    nomem_gone(p);

    return ((void *(*)(void *, size_t)) real)(p, size);
}


static nomem_block_t *
nomem_block(void *block)
{
    size_t  i;

    i = ((uintptr_t) block >> 4) * 2654435761u % NOMEM_BLOCKS;

    while (nomem_blocks[i].block && nomem_blocks[i].block != block) {
        i = (i + 1) % NOMEM_BLOCKS;
    }

    return &nomem_blocks[i];
}


static void
nomem_gone(void *block)
{
    nomem_block_t  *b;

    b = nomem_block(block);

    /* its place is kept: others may stand behind it */
    if (block && b->block && b->path) {
        __atomic_sub_fetch(&b->path->live, 1, __ATOMIC_RELAXED);
        b->path = NULL;
    }
}


static void
nomem_here(void *block, nomem_path_t *path)
{
    size_t          i;
    nomem_block_t  *b;

    if (block == NULL || path == NULL) {
        return;
    }

    i = ((uintptr_t) block >> 4) * 2654435761u % NOMEM_BLOCKS;

    /* the first that is free, or was */
    while (nomem_blocks[i].block && nomem_blocks[i].path) {
        i = (i + 1) % NOMEM_BLOCKS;
    }

    b = &nomem_blocks[i];

    if (b->block == NULL && ++nomem_used > NOMEM_BLOCKS / 2) {
        abort();
    }

    b->block = block;
    b->path = path;

    __atomic_add_fetch(&path->live, 1, __ATOMIC_RELAXED);
}


void
free(void *p)
{
    static void          *real;
    static volatile int   looking;    /* dlsym() calls this, too */

    if (p == NULL || looking
        || ((char *) p >= nomem_room
            && (char *) p < nomem_room + sizeof(nomem_room)))
    {
        return;
    }

    looking = (real == NULL);
    nomem_next(&real, "free");
    looking = 0;

    nomem_gone(p);

    ((void (*)(void *)) real)(p);
}


/* The path that has led here; of the module, without what nginx has done. */

static nomem_path_t *
nomem_path(void **calls, int n)
{
    int            i, used;
    char          *at;
    size_t         place;
    uint32_t       path[NOMEM_CALLS + 1];
    uint64_t       key, none;
    nomem_path_t  *p;

    memset(path, 0, sizeof(path));
    used = 0;
    key = 14695981039346656037u;

    for (i = 0; i < n && used < NOMEM_CALLS; i++) {
        at = calls[i];

        if (at < nomem_low || at >= nomem_high) {
            if (used) {
                break;
            }

            continue;
        }

        path[used] = at - nomem_low;
        key = (key ^ path[used++]) * 1099511628211u;
    }

    if (used == 0) {
        return NULL;
    }

    for (place = key % NOMEM_PATHS; /* void */ ;
         place = (place + 1) % NOMEM_PATHS)
    {
        p = &nomem->paths[place];
        none = 0;

        if (__atomic_compare_exchange_n(&p->key, &none, key, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        {
            memcpy(p->calls, path, sizeof(path));
            return p;
        }

        if (none == key) {
            return p;
        }
    }
}


/* Whether a call of the module is the one that shall fail. */

static int
nomem_called(nomem_path_t **path)
{
    int            n;
    uint32_t       seen;
    void          *calls[NOMEM_DEPTH];
    nomem_path_t  *p;

    *path = NULL;

    if (nomem->mode < 3) {
        return 0;
    }

    n = backtrace(calls, NOMEM_DEPTH);
    p = nomem_path(calls, n);

    if (p == NULL) {
        return 0;
    }

    *path = p;

    if (p->turn != nomem->turn) {
        p->turn = nomem->turn;
        p->seen = 0;
    }

    seen = __atomic_add_fetch(&p->seen, 1, __ATOMIC_RELAXED);

    if (nomem->mode != 4 || p->key != nomem->key
        || seen != (uint32_t) nomem->nth)
    {
        return 0;
    }

    backtrace_symbols_fd(calls, n, nomem_trace);

    __atomic_add_fetch(&p->failed, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&nomem->failed, 1, __ATOMIC_RELAXED);

    return 1;
}


/* nginx's own functions have said so when they return. */

static void
nomem_say(const char *name)
{
    void  *(*alloc)(size_t, void *), ***cycle;

    if (strncmp(name, "ngx_", 4) == 0) {
        *(void **) &alloc = dlsym(RTLD_DEFAULT, "ngx_alloc");
        cycle = dlsym(RTLD_DEFAULT, "ngx_cycle");

        /* ngx_cycle->log */
        alloc(NOMEM_NEVER, (*cycle)[2]);
    }

    errno = ENOMEM;
}


/*
 * These all take up to six words.  What they say without memory; and whether
 * it is a block that somebody has to free.
 */

#define NOMEM_FUNCTIONS(f)                                                    \
    f(ngx_alloc, 0, 1)                                                        \
    f(ngx_calloc, 0, 1)                                                       \
    f(ngx_create_pool, 0, 1)                                                  \
    f(malloc, 0, 1)                                                           \
    f(calloc, 0, 1)                                                           \
    f(realloc, 0, 1)                                                          \
    f(strdup, 0, 1)                                                           \
    f(ngx_palloc, 0, 0)                                                       \
    f(ngx_pnalloc, 0, 0)                                                      \
    f(ngx_pcalloc, 0, 0)                                                      \
    f(ngx_pmemalign, 0, 0)                                                    \
    f(ngx_pstrdup, 0, 0)                                                      \
    f(ngx_array_create, 0, 0)                                                 \
    f(ngx_array_push, 0, 0)                                                   \
    f(ngx_array_push_n, 0, 0)                                                 \
    f(ngx_list_push, 0, 0)                                                    \
    f(ngx_alloc_chain_link, 0, 0)                                             \
    f(ngx_create_temp_buf, 0, 0)                                              \
    f(ngx_pool_cleanup_add, 0, 0)                                             \
    f(ngx_http_cleanup_add, 0, 0)                                             \
    f(ngx_http_subrequest, -1, 0)                                             \
    f(ngx_http_complex_value, -1, 0)                                          \
    f(ngx_http_compile_complex_value, -1, 0)                                  \
    f(ngx_http_add_variable, 0, 0)                                            \
    f(ngx_http_read_client_request_body, 500, 0)                              \
    f(ngx_http_send_header, -1, 0)                                            \
    f(ngx_http_output_filter, -1, 0)                                          \
    f(ngx_get_connection, 0, 0)                                               \
    f(ngx_event_connect_peer, -1, 0)                                          \
    f(ngx_resolve_start, 0, 0)                                                \
    f(ngx_resolve_name, -1, 0)                                                \
    f(ngx_conf_full_name, -1, 0)                                              \
    f(ngx_parse_url, -1, 0)                                                   \
    f(ngx_ssl_create, -1, 0)                                                  \
    f(ngx_ssl_create_connection, -1, 0)                                       \
    f(HMAC_CTX_new, 0, 0)                                                     \
    f(HMAC_Init_ex, 0, 0)                                                     \
    f(HMAC_Update, 0, 0)                                                      \
    f(HMAC_Final, 0, 0)                                                       \
    f(SHA1, 0, 0)                                                             \
    f(memfd_create, -1, 0)                                                    \
    f(mmap64, -1, 0)

#define NOMEM_ARGS   uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d,      \
                     uintptr_t e, uintptr_t f


typedef uintptr_t (*nomem_pt)(NOMEM_ARGS);


#define NOMEM_FUNCTION(name, nothing, block)                                  \
                                                                              \
static nomem_pt  nomem_real_##name;                                           \
                                                                              \
static uintptr_t                                                              \
nomem_##name(NOMEM_ARGS)                                                      \
{                                                                             \
    uintptr_t      result;                                                    \
    nomem_path_t  *path;                                                      \
                                                                              \
    if (nomem_called(&path)) {                                                \
        nomem_say(#name);                                                     \
        return nothing;                                                       \
    }                                                                         \
                                                                              \
    result = nomem_real_##name(a, b, c, d, e, f);                             \
                                                                              \
    if (block) {                                                              \
        nomem_here((void *) result, path);                                    \
    }                                                                         \
                                                                              \
    return result;                                                            \
}

NOMEM_FUNCTIONS(NOMEM_FUNCTION)


#define NOMEM_ENTRY(name, nothing, block)                                     \
    { #name, nomem_##name, &nomem_real_##name },

static const struct {
    const char  *name;
    nomem_pt     ours;
    nomem_pt    *real;
} nomem_functions[] = {
    NOMEM_FUNCTIONS(NOMEM_ENTRY)
    { NULL, NULL, NULL }
};


/* Has the module call ours.  Its table of functions is read-only by then. */

static void
nomem_take(const ElfW(Rela) *rela, size_t size, ElfW(Addr) base,
    const ElfW(Sym) *symbols, const char *names)
{
    int          i;
    char        *page;
    size_t       n, mask;
    nomem_pt    *slot;
    const char  *name;

    mask = sysconf(_SC_PAGESIZE) - 1;

    for (n = size / sizeof(ElfW(Rela)); n; n--, rela++) {
        name = names + symbols[ELF64_R_SYM(rela->r_info)].st_name;

        for (i = 0; nomem_functions[i].name; i++) {
            if (strcmp(name, nomem_functions[i].name) != 0) {
                continue;
            }

            slot = (nomem_pt *) (base + rela->r_offset);

            if (*slot == nomem_functions[i].ours) {
                break;
            }

            page = (char *) ((uintptr_t) slot & ~mask);

            if (mprotect(page, mask + 1, PROT_READ|PROT_WRITE) == -1) {
                abort();
            }

            *nomem_functions[i].real = *slot;
            *slot = nomem_functions[i].ours;
            break;
        }
    }
}


static int
nomem_module(struct dl_phdr_info *info, size_t size, void *data)
{
    size_t            i, plt, rest;
    const char        *names;
    const ElfW(Dyn)   *dyn;
    const ElfW(Sym)   *symbols;
    const ElfW(Rela)  *jump, *rela;

    (void) size;
    (void) data;

    if (strstr(info->dlpi_name, NOMEM_MODULE) == NULL) {
        return 0;
    }

    dyn = NULL;
    nomem_low = (char *) info->dlpi_addr;

    for (i = 0; i < info->dlpi_phnum; i++) {
        switch (info->dlpi_phdr[i].p_type) {

        case PT_DYNAMIC:
            dyn = (void *) (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
            break;

        case PT_LOAD:
            nomem_high = nomem_low + info->dlpi_phdr[i].p_vaddr
                         + info->dlpi_phdr[i].p_memsz;
            break;
        }
    }

    names = NULL;
    symbols = NULL;
    jump = rela = NULL;
    plt = rest = 0;

    for ( /* void */ ; dyn && dyn->d_tag != DT_NULL; dyn++) {
        switch (dyn->d_tag) {
        case DT_STRTAB:    names = (void *) dyn->d_un.d_ptr;    break;
        case DT_SYMTAB:    symbols = (void *) dyn->d_un.d_ptr;  break;
        case DT_JMPREL:    jump = (void *) dyn->d_un.d_ptr;     break;
        case DT_PLTRELSZ:  plt = dyn->d_un.d_val;               break;
        case DT_RELA:      rela = (void *) dyn->d_un.d_ptr;     break;
        case DT_RELASZ:    rest = dyn->d_un.d_val;              break;
        }
    }

    nomem_take(jump, plt, info->dlpi_addr, symbols, names);
    nomem_take(rela, rest, info->dlpi_addr, symbols, names);

    return 1;
}


void *
dlopen(const char *name, int flags)
{
    void         *handle;
    static void  *real;

    nomem_next(&real, "dlopen");

    handle = ((void *(*)(const char *, int)) real)(name, flags);

    if (handle && name && strstr(name, NOMEM_MODULE)) {
        (void) dl_iterate_phdr(nomem_module, NULL);
    }

    return handle;
}
