#include "ngx_http_socketio_bridge_private.h"
#include "ngx_http_socketio_cluster.h"
#include "ngx_http_socketio_foreign.h"
#include "ngx_http_socketio_remote.h"


#define NGX_HTTP_SOCKETIO_BRIDGE_TICK     500        /* msec */
#define NGX_HTTP_SOCKETIO_BRIDGE_SOON     20         /* ... in a handover */

/* what waits for the lease, octets of a line */
#define NGX_HTTP_SOCKETIO_BRIDGE_HELD     (16 * 1024 * 1024)

/* how long the dead one's follower, whom the others wait for, may take, msec */
#define NGX_HTTP_SOCKETIO_BRIDGE_GRACE    3000

/* how long a hand-over may wait for confirmations, msec */
#define NGX_HTTP_SOCKETIO_BRIDGE_PATIENCE 3000

/* how long somebody may take to follow, msec */
#define NGX_HTTP_SOCKETIO_BRIDGE_SEARCH   2000

/* times 5 msec that a worker which is terminated may wait for the others */
#define NGX_HTTP_SOCKETIO_BRIDGE_LAST     80

/* how long a delay is told, msec; so often somebody asks for it */
#define NGX_HTTP_SOCKETIO_BRIDGE_SLOW     15000


static void ngx_http_socketio_bridge_init_event(ngx_http_socketio_bridge_t *b,
    ngx_event_t *ev, ngx_event_handler_pt handler);
static ngx_uint_t ngx_http_socketio_bridge_last(ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_ticks(ngx_event_t *ev);
static ngx_uint_t ngx_http_socketio_bridge_others(
    ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_forgo(ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_serve(ngx_http_socketio_bridge_t *b,
    ngx_uint_t handed);
static void ngx_http_socketio_bridge_serve_line(ngx_http_socketio_line_t *line,
    ngx_uint_t handed);
static void ngx_http_socketio_bridge_tell(ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_leave(ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_hold(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload);
static ngx_int_t ngx_http_socketio_bridge_open(ngx_http_socketio_bridge_t *b);
static ngx_uint_t ngx_http_socketio_bridge_forwards(
    ngx_http_socketio_bridge_t *b, ngx_http_socketio_queue_t *conf);
static ngx_int_t ngx_http_socketio_bridge_open_line(
    ngx_http_socketio_bridge_t *b, ngx_http_socketio_line_t *line,
    ngx_http_socketio_queue_t *conf);
static void ngx_http_socketio_bridge_close(ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_pause(ngx_http_socketio_bridge_t *b);
static void ngx_http_socketio_bridge_live(ngx_http_socketio_line_t *line);
static void ngx_http_socketio_bridge_up(ngx_sio_queue_t *q);
static void ngx_http_socketio_bridge_lost(ngx_sio_queue_t *q);
static void ngx_http_socketio_bridge_received(ngx_sio_queue_t *q,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload);
static void ngx_http_socketio_bridge_dispatch(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload);
static void ngx_http_socketio_bridge_confirmed(ngx_sio_queue_t *q,
    uint64_t tag);
static void ngx_http_socketio_bridge_counted(ngx_sio_queue_t *q, uint64_t tag,
    ngx_uint_t n);


const ngx_str_t  ngx_http_socketio_bridge_reasons[NGX_SIO_BRIDGE_REASONS] = {
    ngx_string("malformed"),
    ngx_string("code"),
    ngx_string("too large"),
    ngx_string("no room"),
    ngx_string("host")
};


static const ngx_sio_queue_ops_t  ngx_http_socketio_bridge_ops = {
    ngx_http_socketio_bridge_up,
    ngx_http_socketio_bridge_lost,
    ngx_http_socketio_bridge_received,
    ngx_http_socketio_bridge_confirmed,
    ngx_http_socketio_bridge_counted
};


ngx_http_socketio_bridge_t *
ngx_http_socketio_bridge_create(ngx_http_socketio_worker_t *w)
{
    ngx_http_socketio_bridge_t  *b;

    b = ngx_calloc(sizeof(ngx_http_socketio_bridge_t), ngx_cycle->log);
    if (b == NULL) {
        return NULL;
    }

    b->worker = w;
    b->kept = ngx_sio_hub_bridge(w->hub);
    b->queues = &w->zone->queues;

    b->lines = ngx_calloc(b->queues->nelts * sizeof(ngx_http_socketio_line_t),
                          ngx_cycle->log);
    if (b->lines == NULL) {
        ngx_free(b);
        return NULL;
    }

    b->remote = ngx_http_socketio_remote_create(b);
    if (b->remote == NULL) {
        ngx_free(b->lines);
        ngx_free(b);
        return NULL;
    }

    ngx_http_socketio_bridge_init_event(b, &b->pump,
                                        ngx_http_socketio_bridge_pumps);
    ngx_http_socketio_bridge_init_event(b, &b->tick,
                                        ngx_http_socketio_bridge_ticks);

    /* the first one is soon, when all workers are members */

    ngx_add_timer(&b->tick, 10);

    return b;
}


/* nginx logs the descriptor of an event's connection, so it has to have one */

static void
ngx_http_socketio_bridge_init_event(ngx_http_socketio_bridge_t *b,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    b->dummy.fd = (ngx_socket_t) -1;
    b->dummy.data = b;

    ev->data = &b->dummy;
    ev->log = ngx_cycle->log;
    ev->handler = handler;
    ev->cancelable = 1;
}


void
ngx_http_socketio_bridge_destroy(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t  i;

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {

        if (ngx_http_socketio_bridge_last(b)) {
            for (i = 0; i < b->nlines; i++) {
                ngx_http_socketio_cluster_bye(&b->lines[i]);
            }
        }

        ngx_http_socketio_bridge_leave(b);

    } else if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING) {
        ngx_http_socketio_bridge_forgo(b);
    }

    ngx_http_socketio_bridge_close(b);
    ngx_http_socketio_remote_destroy(b->remote);

    if (b->pump.posted) {
        ngx_delete_posted_event(&b->pump);
    }

    if (b->tick.timer_set) {
        ngx_del_timer(&b->tick);
    }

    ngx_free(b->lines);
    ngx_free(b);
}


/*
 * When all of nginx is told to end now, workers do so at the same time: the one
 * that can say goodbye looks after the others for a moment, for which nobody
 * waits any more.
 */

static ngx_uint_t
ngx_http_socketio_bridge_last(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t  n;

    for (n = 0; ngx_sio_hub_count(b->worker->hub) > 1; n++) {

        if (!ngx_terminate || n == NGX_HTTP_SOCKETIO_BRIDGE_LAST) {
            return 0;
        }

        ngx_msleep(5);
    }

    return 1;
}


void
ngx_http_socketio_bridge_wake(ngx_http_socketio_bridge_t *b)
{
    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING && !b->pump.posted) {
        ngx_post_event(&b->pump, &ngx_posted_events);
    }
}


void
ngx_http_socketio_bridge_down(ngx_http_socketio_bridge_t *b,
    ngx_sio_hub_addr_t dead)
{
    if (ngx_sio_hub_addr_equal(ngx_sio_bridge_holder(b->kept), dead)) {
        ngx_http_socketio_bridge_elect(b);
    }
}


void
ngx_http_socketio_bridge_drain(ngx_http_socketio_bridge_t *b)
{
    b->leaving = 1;
    b->since = ngx_current_msec;

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {
        ngx_sio_bridge_leaving(b->kept, ngx_sio_hub_self(b->worker->hub));
        ngx_http_socketio_bridge_tell(b);
    }
}


/* So that the others need not wait for their next tick. */

static void
ngx_http_socketio_bridge_tell(ngx_http_socketio_bridge_t *b)
{
    ngx_str_t  none;

    ngx_str_null(&none);

    (void) ngx_sio_hub_append(b->worker->hub, NGX_HTTP_SOCKETIO_LEAVING, 0,
                              ngx_sio_hub_addr_all(), &none, 1, NULL);
}


/*
 * When all of nginx ends the others are gone soon.  A follower may be the only
 * one who has what came since its mark.
 */

ngx_uint_t
ngx_http_socketio_bridge_busy(ngx_http_socketio_bridge_t *b)
{
    ngx_msec_t          limit;
    ngx_sio_hub_addr_t  successor;

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_IDLE
        || ngx_sio_hub_count(b->worker->hub) == 1)
    {
        return 0;
    }

    successor = ngx_sio_bridge_successor(b->kept);

    limit = (successor.generation == 0
             || !ngx_sio_hub_alive(b->worker->hub, successor))
            ? NGX_HTTP_SOCKETIO_BRIDGE_SEARCH
            : NGX_HTTP_SOCKETIO_BRIDGE_SEARCH
              + 2 * NGX_HTTP_SOCKETIO_BRIDGE_PATIENCE;

    return ngx_current_msec - b->since < limit;
}


/* Who serves. */

static void
ngx_http_socketio_bridge_ticks(ngx_event_t *ev)
{
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    ngx_http_socketio_bridge_t  *b;

    c = ev->data;
    b = c->data;

    ngx_http_socketio_bridge_elect(b);

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {

        for (i = 0; i < b->nlines; i++) {
            ngx_http_socketio_bridge_live(&b->lines[i]);
        }

        ngx_http_socketio_bridge_pause(b);
        ngx_http_socketio_remote_tick(b->remote);
        ngx_http_socketio_bridge_wake(b);

        if (b->leaving) {
            ngx_http_socketio_bridge_keep(b);
        }
    }

    ngx_http_socketio_remote_gone(b->remote);

    ngx_add_timer(ev, b->stopped ? NGX_HTTP_SOCKETIO_BRIDGE_SOON
                                 : NGX_HTTP_SOCKETIO_BRIDGE_TICK);
}


/*
 * Not at once: after a reload those who are told to end hear of it one after
 * the other, and it is better not to follow just before.
 */

void
ngx_http_socketio_bridge_look(ngx_http_socketio_bridge_t *b)
{
    if (b->tick.timer_set) {
        ngx_del_timer(&b->tick);
    }

    ngx_add_timer(&b->tick, NGX_HTTP_SOCKETIO_BRIDGE_SOON);
}


void
ngx_http_socketio_bridge_elect(ngx_http_socketio_bridge_t *b)
{
    ngx_sio_hub_t       *hub;
    ngx_sio_hub_addr_t   self, holder, successor;

    hub = b->worker->hub;
    self = ngx_sio_hub_self(hub);
    holder = ngx_sio_bridge_holder(b->kept);

    if (ngx_sio_hub_addr_equal(holder, self)) {

        if (b->state != NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {
            ngx_http_socketio_bridge_serve(b, 1);
        }

        return;
    }

    /* a worker that was declared lost has another address now */

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {
        ngx_http_socketio_bridge_close(b);
        b->state = NGX_HTTP_SOCKETIO_BRIDGE_IDLE;
    }

    /* what came since its mark has been dealt with by another one */

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING && holder.generation
        && !ngx_sio_hub_addr_equal(holder, b->followed))
    {
        ngx_http_socketio_bridge_forgo(b);
    }

    /* better one that leaves than none */

    if (holder.generation == 0 || !ngx_sio_hub_alive(hub, holder)) {

        if (!ngx_http_socketio_bridge_others(b)
            && ngx_sio_bridge_take(b->kept, holder, self) == NGX_OK)
        {
            ngx_http_socketio_bridge_serve(b, 0);
        }

        return;
    }

    b->orphaned = 0;

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING || b->leaving
        || !ngx_sio_bridge_leaves(b->kept, holder))
    {
        return;
    }

    successor = ngx_sio_bridge_successor(b->kept);

    if ((successor.generation == 0 || !ngx_sio_hub_alive(hub, successor))
        && ngx_sio_bridge_follow(b->kept, successor, self) == NGX_OK)
    {
        if (ngx_http_socketio_bridge_open(b) != NGX_OK) {
            ngx_http_socketio_bridge_forgo(b);
            return;
        }

        b->followed = holder;
        b->state = NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING;

        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "this worker will serve the message queues of zone "
                      "\"%V\" next", &b->worker->zone->name);
    }
}


/*
 * Nobody serves: whether somebody else has followed, and so has what came since
 * its mark.  It may be one that hangs.
 */

static ngx_uint_t
ngx_http_socketio_bridge_others(ngx_http_socketio_bridge_t *b)
{
    ngx_sio_hub_addr_t  successor;

    successor = ngx_sio_bridge_successor(b->kept);

    if (successor.generation == 0
        || ngx_sio_hub_addr_equal(successor, ngx_sio_hub_self(b->worker->hub))
        || !ngx_sio_hub_alive(b->worker->hub, successor))
    {
        return 0;
    }

    if (b->orphaned == 0) {
        b->orphaned = ngx_current_msec ? ngx_current_msec : 1;
    }

    return ngx_current_msec - b->orphaned < NGX_HTTP_SOCKETIO_BRIDGE_GRACE;
}


static void
ngx_http_socketio_bridge_forgo(ngx_http_socketio_bridge_t *b)
{
    (void) ngx_sio_bridge_follow(b->kept, ngx_sio_hub_self(b->worker->hub),
                                 ngx_sio_hub_addr(0, 0));

    ngx_http_socketio_bridge_close(b);

    b->state = NGX_HTTP_SOCKETIO_BRIDGE_IDLE;
}


/* handed: the one before goes on up to our mark, wherever it could be told */

static void
ngx_http_socketio_bridge_serve(ngx_http_socketio_bridge_t *b,
    ngx_uint_t handed)
{
    ngx_uint_t          i;
    ngx_sio_hub_addr_t  self;

    self = ngx_sio_hub_self(b->worker->hub);

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_IDLE) {

        if (ngx_http_socketio_bridge_open(b) != NGX_OK) {
            /* the next tick tries again, here or elsewhere */
            (void) ngx_sio_bridge_hand(b->kept, self);
            return;
        }

        handed = 0;
    }

    b->state = NGX_HTTP_SOCKETIO_BRIDGE_SERVING;
    b->stopped = 0;
    b->orphaned = 0;
    b->since = ngx_current_msec;
    b->ticked = ngx_time();

    /* it followed somebody who died, and is no successor any more */

    (void) ngx_sio_bridge_follow(b->kept, self, ngx_sio_hub_addr(0, 0));

    for (i = 0; i < b->nlines; i++) {
        ngx_http_socketio_bridge_serve_line(&b->lines[i], handed);
    }

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "this worker serves the message queues of zone \"%V\"",
                  &b->worker->zone->name);

    if (b->leaving) {
        ngx_sio_bridge_leaving(b->kept, self);
    }

    if (b->leaving || !handed) {
        ngx_http_socketio_bridge_tell(b);
    }

    ngx_http_socketio_bridge_wake(b);
}


static void
ngx_http_socketio_bridge_serve_line(ngx_http_socketio_line_t *line,
    ngx_uint_t handed)
{
    uint64_t                     ordinal;
    ngx_http_socketio_letter_t  *letter;

    ordinal = line->kept->shipped;
    line->next = ordinal + 1;
    line->position = 0;
    line->stage = 0;
    line->stopped = 0;
    line->behind = handed && line->up && !line->marked;
    line->kept->up = line->up;

    if (!line->forwards) {
        line->kept->speaks = 0;
    }

    while ((letter = ngx_http_socketio_letter_first(&line->held)) != NULL) {
        ngx_http_socketio_bridge_dispatch(line, &letter->pattern,
                                          &letter->channel, &letter->payload);
        ngx_http_socketio_letter_drop(&line->held, letter);
    }

    if (line->spilled) {
        line->kept->refused[NGX_HTTP_SOCKETIO_BRIDGE_ROOM] += line->spilled;
        line->spilled = 0;
    }

    if (line->up) {
        ngx_http_socketio_cluster_alive(line, 1);
    }
}


static void
ngx_http_socketio_bridge_leave(ngx_http_socketio_bridge_t *b)
{
    ngx_str_t  none;

    if (ngx_sio_bridge_hand(b->kept, ngx_sio_hub_self(b->worker->hub))
        == NGX_OK)
    {
        ngx_str_null(&none);

        (void) ngx_sio_hub_append(b->worker->hub, NGX_HTTP_SOCKETIO_HANDED,
                                  NGX_SIO_HUB_OWED, ngx_sio_hub_addr_all(),
                                  &none, 1, NULL);
    }

    ngx_http_socketio_bridge_close(b);

    b->state = NGX_HTTP_SOCKETIO_BRIDGE_IDLE;
}


/*
 * The holder goes on until its follower's mark has come on every line, and the
 * broker has confirmed everything.  What comes behind the mark is held in both:
 * a follower that dies is waited for no more, and nothing is missing.
 */

void
ngx_http_socketio_bridge_keep(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t             i, pending;
    ngx_sio_hub_addr_t     successor;
    ngx_sio_queue_stat_t   stat;

    successor = ngx_sio_bridge_successor(b->kept);

    if (successor.generation == 0
        || !ngx_sio_hub_alive(b->worker->hub, successor))
    {
        ngx_http_socketio_bridge_followed(b, ngx_sio_hub_addr(0, 0));
        return;
    }

    ngx_http_socketio_bridge_followed(b, successor);

    pending = 0;

    for (i = 0; i < b->nlines; i++) {

        if (!b->lines[i].up) {
            continue;
        }

        if (!b->lines[i].stopped) {
            return;
        }

        ngx_sio_queue_stat(b->lines[i].queue, &stat);
        pending += stat.pending + b->lines[i].stage;
    }

    if (b->stopped == 0) {
        b->stopped = ngx_current_msec ? ngx_current_msec : 1;

        ngx_http_socketio_bridge_look(b);
        return;
    }

    if (pending == 0
        || ngx_current_msec - b->stopped > NGX_HTTP_SOCKETIO_BRIDGE_PATIENCE)
    {
        ngx_http_socketio_bridge_leave(b);
    }
}


/*
 * The marks that lines have stopped at were those of one who has died.  The next
 * one's may be in what is held since.
 */

void
ngx_http_socketio_bridge_followed(ngx_http_socketio_bridge_t *b,
    ngx_sio_hub_addr_t follower)
{
    ngx_uint_t                   i;
    ngx_http_socketio_line_t    *line;
    ngx_http_socketio_letter_t  *letter;

    if (ngx_sio_hub_addr_equal(follower, b->follower)) {
        return;
    }

    b->follower = follower;
    b->stopped = 0;

    for (i = 0; i < b->nlines; i++) {
        line = &b->lines[i];

        for (line->stopped = 0; !line->stopped; /* void */ ) {

            letter = ngx_http_socketio_letter_first(&line->held);
            if (letter == NULL) {
                break;
            }

            ngx_http_socketio_bridge_dispatch(line, &letter->pattern,
                                              &letter->channel,
                                              &letter->payload);
            ngx_http_socketio_letter_drop(&line->held, letter);
        }
    }
}


/* Lines. */

static ngx_int_t
ngx_http_socketio_bridge_open(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t                   i;
    ngx_http_socketio_line_t    *line;
    ngx_http_socketio_queue_t  **conf;

    conf = b->queues->elts;

    for (i = 0; i < b->queues->nelts; i++) {
        line = &b->lines[i];

        ngx_memzero(line, sizeof(ngx_http_socketio_line_t));

        line->bridge = b;
        line->conf = conf[i];
        line->forwards = ngx_http_socketio_bridge_forwards(b, conf[i]);

        ngx_http_socketio_letter_init(&line->outbox);
        ngx_http_socketio_letter_init(&line->held);
        ngx_http_socketio_letter_init(&line->delayed);
        ngx_queue_init(&line->waiting);

        b->nlines = i + 1;

        if (ngx_http_socketio_bridge_open_line(b, line, conf[i]) != NGX_OK) {
            ngx_http_socketio_bridge_close(b);
            return NGX_ERROR;
        }
    }

    for (i = 0; i < b->nlines; i++) {
        ngx_sio_queue_start(b->lines[i].queue);
    }

    return NGX_OK;
}


/* Whether there is another queue for what comes by this one. */

static ngx_uint_t
ngx_http_socketio_bridge_forwards(ngx_http_socketio_bridge_t *b,
    ngx_http_socketio_queue_t *conf)
{
    ngx_uint_t                   i;
    ngx_http_socketio_queue_t  **other;

    other = b->queues->elts;

    for (i = 0; i < b->queues->nelts; i++) {
        if (other[i] != conf && other[i]->forward && conf->forward) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_socketio_bridge_open_line(ngx_http_socketio_bridge_t *b,
    ngx_http_socketio_line_t *line, ngx_http_socketio_queue_t *conf)
{
    uint64_t                     keys[NGX_SIO_BRIDGE_LINES];
    ngx_uint_t                   i;
    ngx_http_socketio_queue_t  **other;

    other = b->queues->elts;

    for (i = 0; i < b->queues->nelts; i++) {
        keys[i] = other[i]->key;
    }

    line->kept = ngx_sio_bridge_line(b->kept, conf->key, keys,
                                     b->queues->nelts);
    if (line->kept == NULL) {
        return NGX_ERROR;
    }

    line->queue = ngx_sio_queue_create(&conf->conf,
                                       &ngx_http_socketio_bridge_ops, line,
                                       ngx_cycle->log);

    if (line->queue == NULL
        || ngx_http_socketio_cluster_open(line) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return conf->format->open(line);
}


static void
ngx_http_socketio_bridge_close(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t                 i;
    ngx_http_socketio_line_t  *line;

    b->stopped = 0;
    b->follower = ngx_sio_hub_addr(0, 0);

    ngx_http_socketio_remote_clear(b->remote);

    for (i = 0; i < b->nlines; i++) {
        line = &b->lines[i];

        ngx_http_socketio_foreign_clear(line);
        line->conf->format->close(line);

        if (line->queue != NULL) {
            ngx_sio_queue_flush(line->queue);
            ngx_sio_queue_destroy(line->queue);
            line->queue = NULL;
        }

        ngx_http_socketio_letter_clear(&line->outbox);
        ngx_http_socketio_letter_clear(&line->held);
        ngx_http_socketio_letter_clear(&line->delayed);

        if (line->all.data != NULL) {
            ngx_free(line->all.data);
            line->all.data = NULL;
        }
    }

    b->nlines = 0;
}


ngx_http_socketio_line_t *
ngx_http_socketio_bridge_line(ngx_http_socketio_bridge_t *b, u_char *host)
{
    ngx_uint_t                 i;
    ngx_sio_bridge_peer_t     *peer;
    ngx_http_socketio_line_t  *line;

    line = NULL;
    peer = ngx_sio_bridge_find(b->kept, host);

    for (i = 0; peer != NULL && i < b->nlines; i++) {

        if (*ngx_sio_bridge_shared(b->kept, peer, b->lines[i].kept) == 0) {
            continue;
        }

        if (b->lines[i].up) {
            return &b->lines[i];
        }

        line = &b->lines[i];
    }

    return line;
}


ngx_uint_t
ngx_http_socketio_bridge_whole(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t  i;

    for (i = 0; i < b->nlines; i++) {
        if (!b->lines[i].up) {
            return 0;
        }
    }

    return 1;
}


/*
 * The time in which nobody can hear a host is none in which it is silent: it is
 * there if it was when its last line went down, and will be expected for a
 * while when that is up again.
 */

static void
ngx_http_socketio_bridge_pause(ngx_http_socketio_bridge_t *b)
{
    time_t                     passed;
    ngx_uint_t                 i;
    ngx_sio_bridge_peer_t     *peer;
    ngx_http_socketio_line_t  *line;

    passed = ngx_time() - b->ticked;
    b->ticked = ngx_time();

    if (passed <= 0 || ngx_http_socketio_bridge_whole(b)) {
        return;
    }

    for (i = 0; i < NGX_SIO_BRIDGE_PEERS; i++) {
        peer = &b->kept->head->peers[i];

        if (peer->heard == 0
            || (time_t) peer->heard + NGX_HTTP_SOCKETIO_SILENT
               < ngx_time() - passed)
        {
            continue;
        }

        line = ngx_http_socketio_bridge_line(b, peer->id);

        if (line != NULL && !line->up) {
            peer->heard = ngx_time();
        }
    }
}


/* what we say has to come back, or the subscription is dead */

static void
ngx_http_socketio_bridge_live(ngx_http_socketio_line_t *line)
{
    ngx_sio_queue_stat_t  stat;

    ngx_http_socketio_foreign_tick(line);
    ngx_http_socketio_bridge_delayed(line, NULL);

    ngx_sio_queue_stat(line->queue, &stat);

    line->kept->up = line->up;

    if (stat.delay >= line->kept->delay
        || ngx_current_msec - line->slow >= NGX_HTTP_SOCKETIO_BRIDGE_SLOW)
    {
        line->kept->delay = stat.delay;
        line->slow = ngx_current_msec;
    }

    while (line->oversized < stat.oversized) {
        line->oversized++;
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_LARGE,
                                         "too large");
    }

    if (!line->up) {
        return;
    }

    if (line->conf->format->tick != NULL) {
        line->conf->format->tick(line);
    }

    if (ngx_current_msec - line->spoke < NGX_HTTP_SOCKETIO_ALIVE) {
        return;
    }

    if (ngx_current_msec - line->echoed > 3 * NGX_HTTP_SOCKETIO_ALIVE
                                          + NGX_HTTP_SOCKETIO_BRIDGE_TICK)
    {
        ngx_sio_queue_replace(line->queue);
        return;
    }

    ngx_http_socketio_cluster_alive(line, 0);
}


static void
ngx_http_socketio_bridge_up(ngx_sio_queue_t *q)
{
    ngx_http_socketio_line_t  *line;

    line = ngx_sio_queue_data(q);

    line->up = 1;
    line->echoed = ngx_current_msec;
    line->spoken = ngx_current_msec;

    if (line->bridge->state == NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING) {

        if (!line->marked) {
            ngx_http_socketio_cluster_mark(line);
        }

        return;
    }

    line->kept->up = 1;
    line->kept->speaks = 0;

    /* what was not confirmed goes out again */

    line->next = line->kept->shipped + 1;
    line->position = 0;
    line->stage = 0;

    ngx_http_socketio_cluster_alive(line, 1);
    ngx_http_socketio_bridge_wake(line->bridge);
}


/*
 * A mark that has come holds, whatever becomes of the connection then.  One that
 * has not may be missed now by the holder, but not by the follower: from here
 * on it is the only one who takes what comes, so that nothing is taken twice.
 */

static void
ngx_http_socketio_bridge_lost(ngx_sio_queue_t *q)
{
    ngx_http_socketio_line_t    *line;
    ngx_http_socketio_bridge_t  *b;

    line = ngx_sio_queue_data(q);
    b = line->bridge;

    line->up = 0;
    line->behind = 0;
    ngx_memzero(line->heard, sizeof(line->heard));

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {
        line->kept->up = 0;
        line->kept->speaks = 0;

        if (b->follower.generation) {
            line->stopped = 1;
        }
    }
}


static void
ngx_http_socketio_bridge_received(ngx_sio_queue_t *q, ngx_str_t *pattern,
    ngx_str_t *channel, ngx_str_t *payload)
{
    ngx_http_socketio_line_t    *line;
    ngx_http_socketio_bridge_t  *b;

    line = ngx_sio_queue_data(q);
    b = line->bridge;

    if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING) {

        if (line->marked) {
            ngx_http_socketio_bridge_hold(line, pattern, channel, payload);
            return;
        }

    } else if (!ngx_sio_hub_addr_equal(ngx_sio_bridge_holder(b->kept),
                                       ngx_sio_hub_self(b->worker->hub)))
    {
        /* it was declared lost, and another one takes this */
        return;

    } else if (line->stopped) {
        line->echoed = ngx_current_msec;
        ngx_http_socketio_bridge_hold(line, pattern, channel, payload);
        return;
    }

    ngx_http_socketio_bridge_dispatch(line, pattern, channel, payload);
}


static void
ngx_http_socketio_bridge_hold(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload)
{
    if (ngx_http_socketio_letter_insert(&line->held,
                                        NGX_HTTP_SOCKETIO_BRIDGE_HELD,
                                        pattern, channel, payload, 1)
        != NGX_OK
        && line->spilled++ == 0)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "message queue %V: messages that wait for another "
                      "worker to serve it take more than %d octets",
                      &line->conf->url.shown, NGX_HTTP_SOCKETIO_BRIDGE_HELD);
    }
}


/* A follower looks for its mark only, which is on the hosts' channel. */

static void
ngx_http_socketio_bridge_dispatch(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload)
{
    if ((channel->len == line->all.len
         && ngx_memcmp(channel->data, line->all.data, channel->len) == 0)
        || (channel->len == line->own.len
            && ngx_memcmp(channel->data, line->own.data, channel->len) == 0))
    {
        ngx_http_socketio_cluster_message(line, payload);
        return;
    }

    if (ngx_http_socketio_bridge_takes(line)) {
        line->conf->format->message(line, pattern, channel, payload);
    }
}


void
ngx_http_socketio_bridge_refused(ngx_http_socketio_line_t *line,
    ngx_http_socketio_bridge_reason_e reason, const char *words)
{
    line->kept->refused[reason]++;

    if (line->warned && ngx_time() - line->warned < 60) {
        return;
    }

    line->warned = ngx_time();

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "message queue %V: refused a message: %s",
                  &line->conf->url.shown, words);
}


static void
ngx_http_socketio_bridge_confirmed(ngx_sio_queue_t *q, uint64_t tag)
{
    ngx_http_socketio_line_t  *line;

    line = ngx_sio_queue_data(q);

    if (tag > line->kept->shipped) {
        line->kept->shipped = tag;
        line->kept->told++;
    }

    ngx_http_socketio_bridge_wake(line->bridge);
}


static void
ngx_http_socketio_bridge_counted(ngx_sio_queue_t *q, uint64_t tag,
    ngx_uint_t n)
{
    ngx_http_socketio_line_t  *line;

    line = ngx_sio_queue_data(q);

    if (line->conf->format->counted != NULL) {
        line->conf->format->counted(line, tag, n);
    }
}


ngx_uint_t
ngx_http_socketio_bridge_serves(ngx_http_socketio_worker_t *w)
{
    return w->bridge != NULL
           && w->bridge->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING;
}


ngx_uint_t
ngx_http_socketio_bridge_asks(ngx_http_socketio_bridge_t *b,
    ngx_http_socketio_command_t *cmd)
{
    ngx_uint_t                 i, n;
    ngx_http_socketio_line_t  *line;

    n = 0;

    for (i = 0; i < b->nlines; i++) {
        line = &b->lines[i];

        if (line->conf->format->asks != NULL) {
            n += line->conf->format->asks(line, cmd);
        }
    }

    return n;
}


ngx_uint_t
ngx_http_socketio_bridge_hosts(ngx_http_socketio_worker_t *w)
{
    return ngx_sio_bridge_count(ngx_sio_hub_bridge(w->hub),
                                ngx_time() - NGX_HTTP_SOCKETIO_SILENT);
}
