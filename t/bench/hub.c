/*
 * What the log between workers carries: two processes with a hub each and a
 * small event loop, one of which appends an entry for everybody in each turn.
 *
 * usage: hub seconds
 *
 * Prints entries per second of CPU time of the busier one of the two, so that
 * others on the same machine do not count.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include "ngx_sio_hub.h"


#define ZONE_SIZE   (16 * 1024 * 1024)
#define BODY        64
#define EVENTS      8

#define KIND_ENTRY  1
#define KIND_END    2


/* shared by the processes */

typedef struct {
    uint64_t          entries;
    double            seconds[2];    /* of CPU */
} board_t;


static void nothing(ngx_sio_hub_t *hub);
static ngx_int_t entry(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e);
static void down(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t dead);
static void orphan(ngx_sio_hub_t *hub, uint64_t id, ngx_str_t *record);
static void appended(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e,
    ngx_sio_hub_members_t *members);


static const ngx_sio_hub_ops_t  ops = {
    entry,
    down,
    orphan,
    nothing,
    nothing,
    nothing,
    appended,
    nothing
};


static board_t           *board;
static ngx_log_t          log;
static ngx_cycle_t        own_cycle;
static uint64_t           seen;
static ngx_uint_t         ended;
static int                loop;
static ngx_time_t         now;


/* what the hub takes of nginx */

ngx_queue_t               ngx_posted_events;
ngx_queue_t               ngx_posted_next_events;
ngx_rbtree_t              ngx_event_timer_rbtree;
volatile ngx_msec_t       ngx_current_msec;
volatile ngx_time_t      *ngx_cached_time = &now;
ngx_event_actions_t       ngx_event_actions;
volatile ngx_cycle_t     *ngx_cycle = &own_cycle;
ngx_pid_t                 ngx_pid;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) log;
    (void) err;

    if (level <= NGX_LOG_WARN) {
        fprintf(stderr, "%s\n", fmt);
    }
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return malloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return calloc(1, size);
}


/* no timer is due within a run */

void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    (void) tree;
    (void) node;
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    (void) tree;
    (void) node;
}


ngx_connection_t *
ngx_get_connection(ngx_socket_t s, ngx_log_t *log)
{
    ngx_connection_t  *c;

    (void) log;

    c = calloc(1, sizeof(ngx_connection_t) + 2 * sizeof(ngx_event_t));

    if (c != NULL) {
        c->fd = s;
        c->read = (ngx_event_t *) (c + 1);
        c->write = c->read + 1;
        c->read->data = c;
        c->write->data = c;
        c->write->write = 1;
    }

    return c;
}


void
ngx_close_connection(ngx_connection_t *c)
{
    close(c->fd);
    free(c);
}


static ngx_int_t
add_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    ngx_connection_t    *c = ev->data;
    struct epoll_event   ee;

    (void) event;
    (void) flags;

    ee.events = EPOLLIN;
    ee.data.ptr = ev;

    return epoll_ctl(loop, EPOLL_CTL_ADD, c->fd, &ee) ? NGX_ERROR : NGX_OK;
}


/* a turn as nginx takes it */

static void
turn(int timeout)
{
    int                  i, n;
    ngx_event_t         *ev;
    ngx_queue_t         *q;
    struct epoll_event   events[EVENTS];

    if (!ngx_queue_empty(&ngx_posted_next_events)) {
        timeout = 0;

        ngx_queue_add(&ngx_posted_events, &ngx_posted_next_events);
        ngx_queue_init(&ngx_posted_next_events);
    }

    n = epoll_wait(loop, events, EVENTS, timeout);

    for (i = 0; i < n; i++) {
        ev = events[i].data.ptr;
        ev->handler(ev);
    }

    while (!ngx_queue_empty(&ngx_posted_events)) {
        q = ngx_queue_head(&ngx_posted_events);
        ev = ngx_queue_data(q, ngx_event_t, queue);

        ngx_delete_posted_event(ev);

        ev->handler(ev);
    }
}


static double
seconds(clockid_t clock)
{
    struct timespec  ts;

    (void) clock_gettime(clock, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static ngx_sio_hub_t *
start(ngx_sio_mem_t *mem)
{
    ngx_sio_hub_t  *hub;

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);

    ngx_event_actions.add = add_event;
    ngx_pid = getpid();
    loop = epoll_create1(0);

    hub = ngx_sio_hub_open(mem, &ops, NULL, &own_cycle);

    if (hub == NULL) {
        exit(1);
    }

    return hub;
}


static int
reader(ngx_sio_mem_t *mem)
{
    double          began;
    ngx_sio_hub_t  *hub;

    hub = start(mem);

    while (seen == 0 && !ended) {
        turn(100);
    }

    began = seconds(CLOCK_PROCESS_CPUTIME_ID);

    while (!ended) {
        turn(100);
    }

    board->seconds[1] = seconds(CLOCK_PROCESS_CPUTIME_ID) - began;

    ngx_sio_hub_close(hub);

    return seen == board->entries ? 0 : 1;
}


static int
writer(ngx_sio_mem_t *mem, double duration)
{
    double          began, end;
    u_char          body[BODY];
    ngx_int_t       rc;
    ngx_str_t       part;
    ngx_sio_hub_t  *hub;

    hub = start(mem);

    while (ngx_sio_hub_count(hub) < 2) {
        turn(1);
    }

    memset(body, 'x', sizeof(body));

    part.len = sizeof(body);
    part.data = body;

    began = seconds(CLOCK_PROCESS_CPUTIME_ID);
    end = seconds(CLOCK_MONOTONIC) + duration;

    while (seconds(CLOCK_MONOTONIC) < end) {

        rc = ngx_sio_hub_append(hub, KIND_ENTRY, 0, ngx_sio_hub_addr_all(),
                                &part, 1, NULL);

        if (rc == NGX_OK) {
            board->entries++;
            turn(0);

        } else if (rc == NGX_BUSY) {
            /* the reader is behind, and will wake us */
            turn(10);

        } else {
            return 1;
        }
    }

    while (seen < board->entries) {
        turn(10);
    }

    board->seconds[0] = seconds(CLOCK_PROCESS_CPUTIME_ID) - began;

    do {
        rc = ngx_sio_hub_append(hub, KIND_END, 0, ngx_sio_hub_addr_all(),
                                NULL, 0, NULL);
        turn(10);
    } while (rc == NGX_BUSY);

    ngx_sio_hub_close(hub);

    return rc == NGX_OK ? 0 : 1;
}


static ngx_int_t
entry(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e)
{
    (void) hub;

    if (e->kind == KIND_END) {
        ended = 1;

    } else {
        seen++;
    }

    return NGX_OK;
}


static void
nothing(ngx_sio_hub_t *hub)
{
    (void) hub;
}


static void
down(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t dead)
{
    (void) hub;
    (void) dead;
}


static void
orphan(ngx_sio_hub_t *hub, uint64_t id, ngx_str_t *record)
{
    (void) hub;
    (void) id;
    (void) record;
}


static void
appended(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e,
    ngx_sio_hub_members_t *members)
{
    (void) hub;
    (void) e;
    (void) members;
}


int
main(int argc, char **argv)
{
    int             i, status, failed;
    pid_t           pid;
    ngx_str_t       name;
    ngx_sio_mem_t  *mem;

    if (argc != 2) {
        return 2;
    }

    log.log_level = NGX_LOG_WARN;
    own_cycle.log = &log;
    ngx_str_set(&name, "bench");

    mem = ngx_sio_mem_attach(&name, ZONE_SIZE, &log);

    board = mmap(NULL, sizeof(board_t), PROT_READ|PROT_WRITE,
                 MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (mem == NULL || board == MAP_FAILED) {
        return 1;
    }

    for (i = 0; i < 2; i++) {
        pid = fork();

        if (pid == 0) {
            alarm(atoi(argv[1]) + 60);
            _exit(i ? reader(mem) : writer(mem, atof(argv[1])));
        }
    }

    failed = 0;

    for (i = 0; i < 2; i++) {
        if (wait(&status) == -1 || status != 0) {
            failed = 1;
        }
    }

    if (failed) {
        return 1;
    }

    printf("%.0f\n", board->entries / ngx_max(board->seconds[0],
                                              board->seconds[1]));

    return 0;
}
