#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_count.h"
#include "ngx_http_socketio_hook.h"
#include "ngx_http_socketio_location.h"
#include "ngx_http_socketio_worker.h"


/* msec; the first back-off and the longest */

#define NGX_HTTP_SOCKETIO_HOOK_BACKOFF      1000
#define NGX_HTTP_SOCKETIO_HOOK_BACKOFF_MAX  30000

/* msec; hooks that wait are looked through at most once in this time */

#define NGX_HTTP_SOCKETIO_HOOK_TICK         256

/* nginx's NGX_HTTP_LIMIT_REQ_PASSED, which is in no header */

#define NGX_HTTP_SOCKETIO_HOOK_PASSED       1

/* of one posted event: then it is other people's turn */

#define NGX_HTTP_SOCKETIO_HOOK_BATCH        64

/* the part of the limit that is set aside for shares */

#define NGX_HTTP_SOCKETIO_HOOK_ASIDE        8


typedef enum {
    NGX_HTTP_SOCKETIO_HOOK_IDLE = 0,
    NGX_HTTP_SOCKETIO_HOOK_QUEUED,     /* in lane->queued */
    NGX_HTTP_SOCKETIO_HOOK_FLIGHT,     /* in worker.flight */
    NGX_HTTP_SOCKETIO_HOOK_WAITING,    /* in worker.waiting */
    NGX_HTTP_SOCKETIO_HOOK_STOPPED     /* in worker.stopped: to be reported */
} ngx_http_socketio_hook_state_e;


/* What one location has under way; made when first used, never freed. */

struct ngx_http_socketio_hook_lane_s {
    ngx_queue_t                        link;      /* in worker.lanes */
    ngx_queue_t                        busy;      /* in worker.busy, while
                                                     something is queued */
    ngx_http_socketio_loc_conf_t      *lcf;
    ngx_queue_t                        queued;    /* hooks */
    ngx_uint_t                         flight;
};


typedef struct {
    ngx_queue_t                        lanes;
    ngx_queue_t                        busy;      /* lanes; the one that was
                                                     served last is the last */
    ngx_uint_t                         limit;     /* of total */
    ngx_uint_t                         total;     /* hooks in flight */
    ngx_uint_t                         share;     /* of it, of each lane */
    ngx_uint_t                         reserved;  /* of all shares, what is not
                                                     in flight */
    ngx_queue_t                        flight;    /* hooks */
    ngx_queue_t                        waiting;   /* hooks, in no order */
    ngx_queue_t                        stopped;   /* hooks */
    ngx_event_t                        turn;      /* posted: starts hooks */
    ngx_event_t                        tick;      /* timer of waiting */
    ngx_connection_t                   dummy;     /* their data: debug builds
                                                     of nginx log its fd */
    unsigned                           ready:1;
    unsigned                           stop:1;    /* by abort_all() */
} ngx_http_socketio_hook_worker_t;


static void ngx_http_socketio_hook_setup(void);
static ngx_int_t ngx_http_socketio_hook_lanes(
    ngx_http_socketio_loc_conf_t *lcf);
static ngx_int_t ngx_http_socketio_hook_lane(
    ngx_http_socketio_loc_conf_t *lcf);
static void ngx_http_socketio_hook_divide(void);
static ngx_uint_t ngx_http_socketio_hook_unused(
    ngx_http_socketio_hook_lane_t *lane);
static void ngx_http_socketio_hook_enter(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_state_e state);
static uint64_t *ngx_http_socketio_hook_gauge(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_state_e state);
static void ngx_http_socketio_hook_repeated(ngx_http_socketio_hook_t *hook);
static ngx_http_socketio_worker_t *ngx_http_socketio_hook_zone(
    ngx_http_socketio_hook_t *hook);
static void ngx_http_socketio_hook_flight(ngx_http_socketio_hook_lane_t *lane,
    ngx_int_t n);
static void ngx_http_socketio_hook_turn(ngx_event_t *ev);
static ngx_http_socketio_hook_lane_t *ngx_http_socketio_hook_pick(void);
static ngx_uint_t ngx_http_socketio_hook_startable(
    ngx_http_socketio_hook_lane_t *lane);
static ngx_uint_t ngx_http_socketio_hook_held(
    ngx_http_socketio_hook_lane_t *lane);
static void ngx_http_socketio_hook_start(ngx_http_socketio_hook_t *hook);
static ngx_int_t ngx_http_socketio_hook_post(ngx_http_socketio_hook_t *hook);
static ngx_int_t ngx_http_socketio_hook_headers(
    ngx_http_socketio_hook_t *hook, ngx_array_t *secrets);
static void ngx_http_socketio_hook_answered(ngx_http_socketio_request_t *rq);
static void ngx_http_socketio_hook_timeout(ngx_event_t *ev);
static void ngx_http_socketio_hook_fail(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_outcome_e outcome, char *reason);
static void ngx_http_socketio_hook_finish(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_hook_report(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_hook_judge(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_hook_result_t *result);
static ngx_uint_t ngx_http_socketio_hook_status(ngx_http_request_t *sr,
    ngx_int_t rc);
static char *ngx_http_socketio_hook_defect(ngx_http_request_t *sr,
    ngx_int_t rc, size_t len);
static ngx_uint_t ngx_http_socketio_hook_whole(ngx_http_upstream_t *u);
static ngx_uint_t ngx_http_socketio_hook_broken(
    ngx_http_socketio_request_t *rq);
static ngx_int_t ngx_http_socketio_hook_wait(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_hook_tick(ngx_event_t *ev);
static void ngx_http_socketio_hook_abort(ngx_http_socketio_hook_t *hook);
static u_char *ngx_http_socketio_hook_log(void *data, u_char *buf, size_t len);


static ngx_http_socketio_hook_worker_t  ngx_http_socketio_hook_worker;


#define ngx_http_socketio_hook_lcf(hook)                                      \
    ((ngx_http_socketio_loc_conf_t *)                                         \
     (hook)->origin->loc_conf[ngx_http_socketio_module.ctx_index])


ngx_int_t
ngx_http_socketio_hook_init(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_origin_t *origin)
{
    ngx_memzero(hook, sizeof(ngx_http_socketio_hook_t));

    if (ngx_http_socketio_sign_id(hook->text) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "socketio: no random octets for a webhook's id");
        return NGX_ERROR;
    }

    hook->id.data = hook->text;
    hook->id.len = NGX_HTTP_SOCKETIO_SIGN_ID_LEN;

    hook->origin = ngx_http_socketio_origin_ref(origin);

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_hook_set_id(ngx_http_socketio_hook_t *hook, ngx_str_t *id)
{
    u_char      ch;
    ngx_uint_t  i;

    if (id->len == 0 || id->len > NGX_HTTP_SOCKETIO_HOOK_ID_MAX) {
        return NGX_DECLINED;
    }

    for (i = 0; i < id->len; i++) {
        ch = id->data[i];

        /* it becomes part of a header, and dots divide what is signed */

        if ((ch < '0' || ch > '9') && (ch < 'A' || ch > 'Z')
            && (ch < 'a' || ch > 'z') && ch != '_' && ch != '-')
        {
            return NGX_DECLINED;
        }
    }

    ngx_memcpy(hook->text, id->data, id->len);
    hook->id.len = id->len;

    return NGX_OK;
}


void
ngx_http_socketio_hook_done(ngx_http_socketio_hook_t *hook)
{
    ngx_http_socketio_hook_cancel(hook);

    ngx_http_socketio_origin_unref(hook->origin);
    hook->origin = NULL;
}


ngx_int_t
ngx_http_socketio_hook_send(ngx_http_socketio_hook_t *hook)
{
    ngx_http_socketio_loc_conf_t  *lcf;

    if (hook->state != NGX_HTTP_SOCKETIO_HOOK_IDLE) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "socketio: webhook %V was sent while under way",
                      &hook->id);
        return NGX_ERROR;
    }

    lcf = ngx_http_socketio_hook_lcf(hook);

    if (lcf->webhook == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_socketio_hook_setup();

    if (lcf->webhook_lane == NULL
        && ngx_http_socketio_hook_lanes(lcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    hook->lane = lcf->webhook_lane;
    hook->attempts = 0;
    hook->stale = 0;

    if (ngx_http_socketio_hook_worker.stop) {
        ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_STOPPED);

    } else {
        ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_QUEUED);
    }

    return NGX_OK;
}


void
ngx_http_socketio_hook_cancel(ngx_http_socketio_hook_t *hook)
{
    if (hook->state == NGX_HTTP_SOCKETIO_HOOK_IDLE) {
        return;
    }

    ngx_http_socketio_hook_abort(hook);
    ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_IDLE);
}


void
ngx_http_socketio_hook_resume(void)
{
    ngx_http_socketio_hook_setup();

    if (ngx_http_socketio_hook_pick()) {
        ngx_post_event(&ngx_http_socketio_hook_worker.turn,
                       &ngx_posted_events);
    }
}


void
ngx_http_socketio_hook_abort_all(void)
{
    ngx_queue_t                      *q, *l;
    ngx_http_socketio_hook_lane_t    *lane;
    ngx_http_socketio_hook_worker_t  *w;

    ngx_http_socketio_hook_setup();

    w = &ngx_http_socketio_hook_worker;
    w->stop = 1;

    for (l = ngx_queue_head(&w->lanes);
         l != ngx_queue_sentinel(&w->lanes);
         l = ngx_queue_next(l))
    {
        lane = ngx_queue_data(l, ngx_http_socketio_hook_lane_t, link);

        while (!ngx_queue_empty(&lane->queued)) {
            q = ngx_queue_head(&lane->queued);
            ngx_http_socketio_hook_enter(
                        ngx_queue_data(q, ngx_http_socketio_hook_t, queue),
                        NGX_HTTP_SOCKETIO_HOOK_STOPPED);
        }
    }

    while (!ngx_queue_empty(&w->waiting)) {
        q = ngx_queue_head(&w->waiting);
        ngx_http_socketio_hook_enter(
                        ngx_queue_data(q, ngx_http_socketio_hook_t, queue),
                        NGX_HTTP_SOCKETIO_HOOK_STOPPED);
    }

    while (!ngx_queue_empty(&w->flight)) {
        q = ngx_queue_head(&w->flight);
        ngx_http_socketio_hook_abort(
                        ngx_queue_data(q, ngx_http_socketio_hook_t, queue));
        ngx_http_socketio_hook_enter(
                        ngx_queue_data(q, ngx_http_socketio_hook_t, queue),
                        NGX_HTTP_SOCKETIO_HOOK_STOPPED);
    }

    if (w->tick.timer_set) {
        ngx_del_timer(&w->tick);
    }
}


/* Queues of static zeroes are not empty ones. */

static void
ngx_http_socketio_hook_setup(void)
{
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    if (w->ready) {
        return;
    }

    ngx_queue_init(&w->lanes);
    ngx_queue_init(&w->busy);
    ngx_queue_init(&w->flight);
    ngx_queue_init(&w->waiting);
    ngx_queue_init(&w->stopped);

    w->dummy.fd = (ngx_socket_t) -1;

    w->turn.handler = ngx_http_socketio_hook_turn;
    w->turn.data = &w->dummy;
    w->turn.log = ngx_cycle->log;

    w->tick.handler = ngx_http_socketio_hook_tick;
    w->tick.data = &w->dummy;
    w->tick.log = ngx_cycle->log;

    w->ready = 1;
}


/*
 * Those of the configuration are made together, since a share is for those,
 * too, that have not had a webhook yet; others, like that of an "if", come
 * with their first one.
 */

static ngx_int_t
ngx_http_socketio_hook_lanes(ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_uint_t                      i;
    ngx_http_socketio_location_t   *location;
    ngx_http_socketio_loc_conf_t   *conf;
    ngx_http_socketio_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_socketio_module);
    location = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {
        conf = location[i].lcf;

        if (conf->zone && conf->webhook
            && ngx_http_socketio_hook_lane(conf) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_socketio_hook_lane(lcf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_socketio_hook_divide();

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_hook_lane(ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_http_socketio_hook_lane_t  *lane;

    if (lcf->webhook_lane) {
        return NGX_OK;
    }

    lane = ngx_alloc(sizeof(ngx_http_socketio_hook_lane_t), ngx_cycle->log);
    if (lane == NULL) {
        return NGX_ERROR;
    }

    lane->lcf = lcf;
    lane->flight = 0;
    ngx_queue_init(&lane->queued);
    ngx_queue_insert_tail(&ngx_http_socketio_hook_worker.lanes, &lane->link);

    lcf->webhook_lane = lane;

    return NGX_OK;
}


/* Each lane has at least one, unless that were more than half of all. */

static void
ngx_http_socketio_hook_divide(void)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q;
    ngx_http_socketio_hook_lane_t    *lane;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    n = 0;
    w->limit = 0;

    for (q = ngx_queue_head(&w->lanes);
         q != ngx_queue_sentinel(&w->lanes);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_http_socketio_hook_lane_t, link);

        n++;
        w->limit = ngx_max(w->limit, lane->lcf->webhook_concurrency);
    }

    w->share = ngx_max(w->limit / NGX_HTTP_SOCKETIO_HOOK_ASIDE / n, 1);

    if (n > w->limit / 2) {
        w->share = 0;
    }

    w->reserved = 0;

    for (q = ngx_queue_head(&w->lanes);
         q != ngx_queue_sentinel(&w->lanes);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_http_socketio_hook_lane_t, link);

        w->reserved += ngx_http_socketio_hook_unused(lane);
    }
}


/* Of its share. */

static ngx_uint_t
ngx_http_socketio_hook_unused(ngx_http_socketio_hook_lane_t *lane)
{
    ngx_uint_t  share;

    share = ngx_min(ngx_http_socketio_hook_worker.share,
                    lane->lcf->webhook_concurrency);

    return (lane->flight < share) ? share - lane->flight : 0;
}


/*
 * The one place where a hook changes its state: it stands in the queue of its
 * state, is counted there, and whatever may be started then is started soon.
 */

static void
ngx_http_socketio_hook_enter(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_state_e state)
{
    uint64_t                         *gauge;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "socketio webhook %V: state %ui -> %ui",
                   &hook->id, (ngx_uint_t) hook->state, (ngx_uint_t) state);

    if (hook->state != NGX_HTTP_SOCKETIO_HOOK_IDLE) {
        ngx_queue_remove(&hook->queue);
    }

    gauge = ngx_http_socketio_hook_gauge(hook, hook->state);
    if (gauge) {
        (*gauge)--;
    }

    gauge = ngx_http_socketio_hook_gauge(hook, state);
    if (gauge) {
        (*gauge)++;
    }

    if (hook->state == NGX_HTTP_SOCKETIO_HOOK_FLIGHT) {
        ngx_http_socketio_hook_flight(hook->lane, -1);

    } else if (hook->state == NGX_HTTP_SOCKETIO_HOOK_QUEUED
               && ngx_queue_empty(&hook->lane->queued))
    {
        ngx_queue_remove(&hook->lane->busy);
    }

    switch (state) {

    case NGX_HTTP_SOCKETIO_HOOK_QUEUED:

        if (ngx_queue_empty(&hook->lane->queued)) {
            ngx_queue_insert_tail(&w->busy, &hook->lane->busy);
        }

        /* what is repeated at once keeps its turn */

        if (hook->stale) {
            ngx_queue_insert_head(&hook->lane->queued, &hook->queue);

        } else {
            ngx_queue_insert_tail(&hook->lane->queued, &hook->queue);
        }

        break;

    case NGX_HTTP_SOCKETIO_HOOK_FLIGHT:
        ngx_queue_insert_tail(&w->flight, &hook->queue);
        ngx_http_socketio_hook_flight(hook->lane, 1);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_WAITING:
        ngx_queue_insert_tail(&w->waiting, &hook->queue);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_STOPPED:
        ngx_queue_insert_tail(&w->stopped, &hook->queue);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_IDLE:
        break;
    }

    hook->state = state;

    if (!w->turn.posted
        && (ngx_http_socketio_hook_pick() || !ngx_queue_empty(&w->stopped)))
    {
        ngx_post_event(&w->turn, &ngx_posted_events);
    }
}


/* Where hooks in this state are counted; NULL: nowhere. */

static uint64_t *
ngx_http_socketio_hook_gauge(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_state_e state)
{
    uint64_t                    *gauges;
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_hook_zone(hook);

    if (w == NULL) {
        return NULL;
    }

    gauges = w->engine.gauges;

    switch (state) {

    case NGX_HTTP_SOCKETIO_HOOK_QUEUED:
        return &gauges[NGX_HTTP_SOCKETIO_GAUGE_QUEUED];

    case NGX_HTTP_SOCKETIO_HOOK_FLIGHT:
        return &gauges[NGX_HTTP_SOCKETIO_GAUGE_FLIGHT];

    case NGX_HTTP_SOCKETIO_HOOK_WAITING:
        return &gauges[NGX_HTTP_SOCKETIO_GAUGE_WAITING];

    default:
        return NULL;
    }
}


static void
ngx_http_socketio_hook_repeated(ngx_http_socketio_hook_t *hook)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_hook_zone(hook);

    if (w) {
        w->engine.counters[NGX_HTTP_SOCKETIO_COUNT_REPEATED]++;
    }
}


/*
 * The part of its zone that is in this process; NULL at the end of that, and
 * where a reload has left nothing but a location's name.
 */

static ngx_http_socketio_worker_t *
ngx_http_socketio_hook_zone(ngx_http_socketio_hook_t *hook)
{
    ngx_http_socketio_loc_conf_t  *lcf;

    lcf = ngx_http_socketio_hook_lcf(hook);

    return lcf->zone ? lcf->zone->worker : NULL;
}


static void
ngx_http_socketio_hook_flight(ngx_http_socketio_hook_lane_t *lane, ngx_int_t n)
{
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    w->reserved -= ngx_http_socketio_hook_unused(lane);
    lane->flight += n;
    w->total += n;
    w->reserved += ngx_http_socketio_hook_unused(lane);
}


/* The only place from which hooks are started and aborted ones reported. */

static void
ngx_http_socketio_hook_turn(ngx_event_t *ev)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q;
    ngx_http_socketio_hook_lane_t    *lane;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    for (n = NGX_HTTP_SOCKETIO_HOOK_BATCH;
         n && !ngx_queue_empty(&w->stopped);
         n--)
    {
        q = ngx_queue_head(&w->stopped);

        ngx_http_socketio_hook_fail(
                        ngx_queue_data(q, ngx_http_socketio_hook_t, queue),
                        NGX_HTTP_SOCKETIO_HOOK_ABORTED,
                        "worker is shutting down");
    }

    for (n = NGX_HTTP_SOCKETIO_HOOK_BATCH; n; n--) {

        lane = ngx_http_socketio_hook_pick();
        if (lane == NULL) {
            break;
        }

        ngx_queue_remove(&lane->busy);
        ngx_queue_insert_tail(&w->busy, &lane->busy);

        q = ngx_queue_head(&lane->queued);

        ngx_http_socketio_hook_start(
                        ngx_queue_data(q, ngx_http_socketio_hook_t, queue));
    }

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    if (ngx_http_socketio_hook_pick() || !ngx_queue_empty(&w->stopped)) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


/* Whose turn it is; NULL: nobody may start one. */

static ngx_http_socketio_hook_lane_t *
ngx_http_socketio_hook_pick(void)
{
    ngx_queue_t                      *q;
    ngx_http_socketio_hook_lane_t    *lane, *best;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;
    best = NULL;

    for (q = ngx_queue_head(&w->busy);
         q != ngx_queue_sentinel(&w->busy);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_http_socketio_hook_lane_t, busy);

        if ((best == NULL || lane->flight < best->flight)
            && ngx_http_socketio_hook_startable(lane))
        {
            best = lane;
        }
    }

    return best;
}


/* Whether the lane, which has something to start, may do so. */

static ngx_uint_t
ngx_http_socketio_hook_startable(ngx_http_socketio_hook_lane_t *lane)
{
    ngx_uint_t                        rest;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    if (w->total >= w->limit
        || lane->flight >= lane->lcf->webhook_concurrency
        || ngx_http_socketio_hook_held(lane))
    {
        return 0;
    }

    rest = w->limit - w->total;

    return rest > w->reserved || ngx_http_socketio_hook_unused(lane) > 0;
}


static ngx_uint_t
ngx_http_socketio_hook_held(ngx_http_socketio_hook_lane_t *lane)
{
    ngx_http_socketio_zone_t  *zone;

    zone = lane->lcf->zone;

    return zone && zone->worker && ngx_sio_hub_owing(zone->worker->hub);
}


static void
ngx_http_socketio_hook_start(ngx_http_socketio_hook_t *hook)
{
    ngx_msec_t                     timeout, passed;
    ngx_http_socketio_request_t   *rq;
    ngx_http_socketio_loc_conf_t  *lcf;

    ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_FLIGHT);

    lcf = ngx_http_socketio_hook_lcf(hook);
    timeout = lcf->webhook_timeout;

    if (hook->stale) {

        /* the same attempt goes on, and so does its deadline */

        passed = ngx_current_msec - hook->attempt;
        timeout = passed < timeout ? timeout - passed : 1;

        ngx_http_socketio_hook_repeated(hook);

    } else {
        hook->attempt = ngx_current_msec;

        if (hook->attempts++ == 0) {
            hook->started = ngx_current_msec;

        } else {
            ngx_http_socketio_hook_repeated(hook);
        }
    }

    rq = ngx_http_socketio_request_create(hook->origin, hook->ctx);
    if (rq == NULL) {
        ngx_http_socketio_hook_fail(hook, NGX_HTTP_SOCKETIO_HOOK_BROKEN,
                                    "no memory");
        return;
    }

    rq->handler = ngx_http_socketio_hook_answered;
    rq->log_handler = ngx_http_socketio_hook_log;
    rq->data = hook;

    rq->again = !hook->stale;

    if (hook->stale) {
        /* a limit_req has let it pass, and must not count it twice */
        rq->main->limit_req_status = NGX_HTTP_SOCKETIO_HOOK_PASSED;
    }

    rq->timer.handler = ngx_http_socketio_hook_timeout;
    ngx_add_timer(&rq->timer, timeout);

    hook->request = rq;

    if (ngx_http_socketio_hook_post(hook) != NGX_OK) {
        ngx_http_socketio_hook_abort(hook);
        ngx_http_socketio_hook_fail(hook, NGX_HTTP_SOCKETIO_HOOK_BROKEN,
                                    "could not be made");
    }
}


/* After NGX_OK the exchange may be over, and the hook gone. */

static ngx_int_t
ngx_http_socketio_hook_post(ngx_http_socketio_hook_t *hook)
{
    ngx_str_t                      uri;
    ngx_http_socketio_loc_conf_t  *lcf;

    lcf = ngx_http_socketio_hook_lcf(hook);

    if (ngx_http_complex_value(hook->request->main, lcf->webhook, &uri)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_socketio_hook_headers(hook, lcf->webhook_secrets) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_socketio_request_run(hook->request, &uri, &hook->body);
}


static ngx_int_t
ngx_http_socketio_hook_headers(ngx_http_socketio_hook_t *hook,
    ngx_array_t *secrets)
{
    u_char                       *p;
    size_t                        len;
    ngx_str_t                     timestamp, signature;
    ngx_http_socketio_request_t  *rq;

    static ngx_http_socketio_request_name_t  id_name = {
        ngx_string("webhook-id"), 0
    };
    static ngx_http_socketio_request_name_t  timestamp_name = {
        ngx_string("webhook-timestamp"), 0
    };
    static ngx_http_socketio_request_name_t  signature_name = {
        ngx_string("webhook-signature"), 0
    };

    rq = hook->request;

    timestamp.data = ngx_pnalloc(rq->main->pool, NGX_TIME_T_LEN);
    if (timestamp.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(timestamp.data, "%T", ngx_time());
    timestamp.len = p - timestamp.data;

    if (ngx_http_socketio_request_header(rq, &id_name, &hook->id) != NGX_OK
        || ngx_http_socketio_request_header(rq, &timestamp_name, &timestamp)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (secrets == NULL || secrets->nelts == 0) {
        return NGX_OK;
    }

    len = ngx_http_socketio_sign_length(secrets->nelts);

    signature.data = ngx_pnalloc(rq->main->pool, len);
    if (signature.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_socketio_sign_write(signature.data, secrets->elts,
                                     secrets->nelts, &hook->id, &timestamp,
                                     &hook->body);
    if (p == NULL) {
        ngx_log_error(NGX_LOG_ERR, &rq->log, 0,
                      "webhook could not be signed");
        return NGX_ERROR;
    }

    signature.len = p - signature.data;

    return ngx_http_socketio_request_header(rq, &signature_name, &signature);
}


static void
ngx_http_socketio_hook_answered(ngx_http_socketio_request_t *rq)
{
    ngx_http_socketio_hook_t         *hook;
    ngx_http_socketio_hook_result_t   result;

    hook = rq->data;

    ngx_http_socketio_hook_judge(rq, &result);

    if (result.outcome == NGX_HTTP_SOCKETIO_HOOK_OK
        && hook->readable
        && !hook->readable(hook->data, &result.body))
    {
        result.outcome = NGX_HTTP_SOCKETIO_HOOK_FAILED;
        result.reason = "unreadable body";
        ngx_str_null(&result.body);
    }

    if (result.outcome == NGX_HTTP_SOCKETIO_HOOK_FAILED
        && !hook->stale
        && ngx_http_socketio_request_stale(rq))
    {
        ngx_log_error(NGX_LOG_INFO, &rq->log, 0,
                      "webhook met a connection that its backend had closed, "
                      "it is sent again");

        ngx_http_socketio_hook_abort(hook);

        hook->stale = 1;
        ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_QUEUED);
        return;
    }

    ngx_http_socketio_hook_finish(hook, &result);
}


static void
ngx_http_socketio_hook_timeout(ngx_event_t *ev)
{
    ngx_http_socketio_hook_t     *hook;
    ngx_http_socketio_request_t  *rq;

    rq = ev->data;
    hook = rq->data;

    ngx_http_socketio_hook_abort(hook);
    ngx_http_socketio_hook_fail(hook, NGX_HTTP_SOCKETIO_HOOK_FAILED,
                                "timed out");
}


/* Ends an attempt that got no answer; its request is gone already. */

static void
ngx_http_socketio_hook_fail(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_outcome_e outcome, char *reason)
{
    ngx_http_socketio_hook_result_t  result;

    result.outcome = outcome;
    result.status = 0;
    result.reason = reason;
    ngx_str_null(&result.body);

    ngx_http_socketio_hook_finish(hook, &result);
}


static void
ngx_http_socketio_hook_finish(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result)
{
    if ((result->outcome == NGX_HTTP_SOCKETIO_HOOK_FAILED
         || result->outcome == NGX_HTTP_SOCKETIO_HOOK_BROKEN)
        && ngx_http_socketio_hook_wait(hook, result) == NGX_OK)
    {
        return;
    }

    result->attempts = hook->attempts;
    result->time = hook->attempts ? ngx_current_msec - hook->attempt : 0;

    ngx_http_socketio_hook_report(hook, result);
}


/* The handler may free the hook; the answer lives until it returns. */

static void
ngx_http_socketio_hook_report(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_http_socketio_origin_t   *origin;
    ngx_http_socketio_request_t  *rq;

    rq = hook->request;
    hook->request = NULL;

    origin = ngx_http_socketio_origin_ref(hook->origin);

    if (rq) {
        rq->log_handler = NULL;
        rq->data = NULL;

        if (rq->timer.timer_set) {
            ngx_del_timer(&rq->timer);
        }
    }

    ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_IDLE);

    hook->handler(hook, result);

    if (rq) {
        ngx_http_socketio_request_destroy(rq);
    }

    ngx_http_socketio_origin_unref(origin);
}


static void
ngx_http_socketio_hook_judge(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_buf_t           *b;
    ngx_http_request_t  *sr;

    sr = rq->sub;

    ngx_str_null(&result->body);

    if (sr->out && sr->out->buf) {
        b = sr->out->buf;

        result->body.data = b->pos;
        result->body.len = b->last - b->pos;
    }

    result->status = ngx_http_socketio_hook_status(sr, rq->rc);

    result->reason = ngx_http_socketio_hook_defect(sr, rq->rc,
                                                   result->body.len);
    if (result->reason == NULL) {

        if (result->status >= 200 && result->status < 300) {
            result->outcome = NGX_HTTP_SOCKETIO_HOOK_OK;
            result->reason = "";
            return;
        }

        if (result->status >= 400 && result->status < 500
            && result->status != NGX_HTTP_CLOSE
            && result->status != NGX_HTTP_CLIENT_CLOSED_REQUEST)
        {
            result->outcome = NGX_HTTP_SOCKETIO_HOOK_CLIENT;
            result->reason = "";
            return;
        }

        result->reason = result->status ? "unexpected status"
                                        : "unreadable answer";
    }

    result->outcome = ngx_http_socketio_hook_broken(rq)
                      ? NGX_HTTP_SOCKETIO_HOOK_BROKEN
                      : NGX_HTTP_SOCKETIO_HOOK_FAILED;
    ngx_str_null(&result->body);
}


/* It depends on the handler where the status is. */

static ngx_uint_t
ngx_http_socketio_hook_status(ngx_http_request_t *sr, ngx_int_t rc)
{
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    if (sr->headers_out.status >= NGX_HTTP_SPECIAL_RESPONSE) {
        return sr->headers_out.status;
    }

    /* 201 and 204 of handlers that leave the rest to nginx */

    return rc > NGX_OK ? (ngx_uint_t) rc : sr->headers_out.status;
}


/* Why an answer cannot be believed whatever its status; NULL: it can. */

static char *
ngx_http_socketio_hook_defect(ngx_http_request_t *sr, ngx_int_t rc, size_t len)
{
    ngx_http_upstream_t  *u;

    u = sr->upstream;

    if (u && u->headers_in.status_n == 0 && rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return "no answer from the backend";
    }

    /* without header_sent another handler answered, from a cache or a file */

    if (u && !u->header_sent) {
        u = NULL;
    }

    if (u && u->buffering && u->pipe->downstream_error) {
        return "answer larger than subrequest_output_buffer_size";
    }

    if (rc < NGX_OK) {
        return "no answer, or one larger than subrequest_output_buffer_size";
    }

    if (u && !ngx_http_socketio_hook_whole(u)) {
        return "answer cut off";
    }

    /* some backends announce a body that a 204 cannot have */

    if (sr->headers_out.content_length_n >= 0
        && sr->headers_out.content_length_n != (off_t) len
        && sr->headers_out.status != NGX_HTTP_NO_CONTENT)
    {
        return "answer cut off";
    }

    if (sr->headers_out.content_encoding
        && sr->headers_out.content_encoding->value.len)
    {
        return "answer compressed";
    }

    return NULL;
}


/*
 * nginx has told its client of a status by the time that a backend goes away
 * in the middle of a body, and ends the request as if all were well.  What
 * the upstream left behind tells the difference.
 */

static ngx_uint_t
ngx_http_socketio_hook_whole(ngx_http_upstream_t *u)
{
    ngx_uint_t         eof;
    ngx_event_pipe_t  *p;

    /* FastCGI always says where it ends, the others may just close */

    eof = u->conf->module.len != sizeof("fastcgi") - 1
          || ngx_strncmp(u->conf->module.data, "fastcgi",
                         sizeof("fastcgi") - 1)
             != 0;

    if (u->buffering) {
        p = u->pipe;

        return p->upstream_done
               || (eof && p->upstream_eof && p->length == -1);
    }

    return u->length == 0 || (eof && u->length == -1);
}


/* Whether nginx has failed inside, for want of memory, say, and said so. */

static ngx_uint_t
ngx_http_socketio_hook_broken(ngx_http_socketio_request_t *rq)
{
    ngx_http_upstream_t  *u;

    if (rq->lines == 0) {
        return 0;
    }

    u = rq->sub->upstream;

    return rq->rc < NGX_OK
           || (rq->rc == NGX_HTTP_INTERNAL_SERVER_ERROR
               && (u == NULL || u->headers_in.status_n == 0))
           || (u && u->header_sent && u->buffering
               && u->pipe->downstream_error);
}


/*
 * Sends a failed hook to WAITING, if it is to be repeated and there is time.
 * NGX_OK; NGX_DECLINED: there is not.
 */

static ngx_int_t
ngx_http_socketio_hook_wait(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_uint_t                        i, level;
    ngx_msec_t                        delay, now;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;

    if (hook->retry_for == 0 || w->stop) {
        return NGX_DECLINED;
    }

    delay = NGX_HTTP_SOCKETIO_HOOK_BACKOFF;

    for (i = 1;
         i < hook->attempts && delay < NGX_HTTP_SOCKETIO_HOOK_BACKOFF_MAX;
         i++)
    {
        delay *= 2;
    }

    delay = ngx_min(delay, NGX_HTTP_SOCKETIO_HOOK_BACKOFF_MAX);

    /* jitter: those who failed together do not come back together */

    delay = delay / 2 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);

    now = ngx_current_msec;

    if (now - hook->started + delay > hook->retry_for) {
        return NGX_DECLINED;
    }

    level = (result->outcome == NGX_HTTP_SOCKETIO_HOOK_BROKEN) ? NGX_LOG_INFO
                                                               : NGX_LOG_WARN;

    if (hook->request) {
        hook->request->log.action = NULL;

        ngx_log_error(level, &hook->request->log, 0,
                      "webhook failed: %s, is sent again in %M ms",
                      result->reason, delay);

        ngx_http_socketio_hook_abort(hook);

    } else {
        ngx_log_error(level, ngx_cycle->log, 0,
                      "socketio: webhook %V failed: %s, is sent again "
                      "in %M ms", &hook->id, result->reason, delay);
    }

    hook->due = ngx_align(now + delay, NGX_HTTP_SOCKETIO_HOOK_TICK);
    hook->stale = 0;

    ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_WAITING);

    if (!w->tick.timer_set
        || (ngx_msec_int_t) (hook->due - w->tick.timer.key) < 0)
    {
        ngx_add_timer(&w->tick, hook->due - now);
    }

    return NGX_OK;
}


static void
ngx_http_socketio_hook_tick(ngx_event_t *ev)
{
    ngx_msec_t                        now;
    ngx_queue_t                      *q, *next;
    ngx_msec_int_t                    left, soonest;
    ngx_http_socketio_hook_t         *hook;
    ngx_http_socketio_hook_worker_t  *w;

    w = &ngx_http_socketio_hook_worker;
    now = ngx_current_msec;
    soonest = NGX_HTTP_SOCKETIO_HOOK_BACKOFF_MAX;

    for (q = ngx_queue_head(&w->waiting);
         q != ngx_queue_sentinel(&w->waiting);
         q = next)
    {
        next = ngx_queue_next(q);

        hook = ngx_queue_data(q, ngx_http_socketio_hook_t, queue);
        left = (ngx_msec_int_t) (hook->due - now);

        if (left <= 0) {
            ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_QUEUED);

        } else if (left < soonest) {
            soonest = left;
        }
    }

    if (!ngx_queue_empty(&w->waiting)) {
        ngx_add_timer(ev, (ngx_msec_t) soonest);
    }
}


/* Takes a hook's request back, in whatever condition it is. */

static void
ngx_http_socketio_hook_abort(ngx_http_socketio_hook_t *hook)
{
    ngx_http_socketio_request_t  *rq;

    rq = hook->request;
    hook->request = NULL;

    if (rq) {
        ngx_http_socketio_request_destroy(rq);
    }
}


static u_char *
ngx_http_socketio_hook_log(void *data, u_char *buf, size_t len)
{
    u_char                    *p, *last;
    ngx_http_socketio_hook_t  *hook;

    hook = data;
    last = buf + len;

    p = ngx_slprintf(buf, last, ", id: %V", &hook->id);

    if (hook->log) {
        p = hook->log(hook->data, p, last - p);
    }

    return p;
}
