#include "ngx_http_socketio_hook_private.h"
#include "ngx_http_socketio_count.h"
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


typedef enum {
    NGX_HTTP_SOCKETIO_HOOK_IDLE = 0,
    NGX_HTTP_SOCKETIO_HOOK_QUEUED,     /* in its lane */
    NGX_HTTP_SOCKETIO_HOOK_FLIGHT,     /* in worker.flight */
    NGX_HTTP_SOCKETIO_HOOK_WAITING,    /* in worker.waiting */
    NGX_HTTP_SOCKETIO_HOOK_STOPPED     /* in worker.stopped: to be reported */
} ngx_http_socketio_hook_state_e;


typedef struct {
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
static void ngx_http_socketio_hook_enter(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_state_e state);
static uint64_t *ngx_http_socketio_hook_gauge(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_state_e state);
static void ngx_http_socketio_hook_repeated(ngx_http_socketio_hook_t *hook);
static ngx_http_socketio_worker_t *ngx_http_socketio_hook_zone(
    ngx_http_socketio_hook_t *hook);
static void ngx_http_socketio_hook_turn(ngx_event_t *ev);
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

    if (ngx_http_socketio_hook_lane_create(lcf) != NGX_OK) {
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

    if (ngx_http_socketio_hook_lane_ready()) {
        ngx_post_event(&ngx_http_socketio_hook_worker.turn,
                       &ngx_posted_events);
    }
}


void
ngx_http_socketio_hook_abort_all(void)
{
    ngx_queue_t                      *q;
    ngx_http_socketio_hook_t         *hook;
    ngx_http_socketio_hook_worker_t  *w;

    ngx_http_socketio_hook_setup();

    w = &ngx_http_socketio_hook_worker;
    w->stop = 1;

    while ((hook = ngx_http_socketio_hook_lane_any()) != NULL) {
        ngx_http_socketio_hook_enter(hook, NGX_HTTP_SOCKETIO_HOOK_STOPPED);
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

    ngx_http_socketio_hook_lane_init();

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

    gauge = ngx_http_socketio_hook_gauge(hook, hook->state);
    if (gauge) {
        (*gauge)--;
    }

    gauge = ngx_http_socketio_hook_gauge(hook, state);
    if (gauge) {
        (*gauge)++;
    }

    switch (hook->state) {

    case NGX_HTTP_SOCKETIO_HOOK_IDLE:
        break;

    case NGX_HTTP_SOCKETIO_HOOK_QUEUED:
        ngx_http_socketio_hook_lane_remove(hook);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_FLIGHT:
        ngx_queue_remove(&hook->queue);
        ngx_http_socketio_hook_lane_flight(hook->lane, -1);
        break;

    default: /* WAITING, STOPPED */
        ngx_queue_remove(&hook->queue);
    }

    switch (state) {

    case NGX_HTTP_SOCKETIO_HOOK_QUEUED:

        /* what is repeated at once keeps its turn */

        ngx_http_socketio_hook_lane_insert(hook, hook->stale);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_FLIGHT:
        ngx_queue_insert_tail(&w->flight, &hook->queue);
        ngx_http_socketio_hook_lane_flight(hook->lane, 1);
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
        && (ngx_http_socketio_hook_lane_ready()
            || !ngx_queue_empty(&w->stopped)))
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


/* The only place from which hooks are started and aborted ones reported. */

static void
ngx_http_socketio_hook_turn(ngx_event_t *ev)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q;
    ngx_http_socketio_hook_t         *hook;
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

        hook = ngx_http_socketio_hook_lane_next();
        if (hook == NULL) {
            break;
        }

        ngx_http_socketio_hook_start(hook);
    }

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    if (ngx_http_socketio_hook_lane_ready() || !ngx_queue_empty(&w->stopped)) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
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
    ngx_int_t                      rc;
    ngx_str_t                      uri;
    ngx_http_socketio_ctx_t       *ctx;
    ngx_http_socketio_loc_conf_t  *lcf;

    lcf = ngx_http_socketio_hook_lcf(hook);
    ctx = hook->ctx;

    ctx->in_uri = 1;
    rc = ngx_http_complex_value(hook->request->main, lcf->webhook, &uri);
    ctx->in_uri = 0;

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    hook->request->chosen = (lcf->webhook->lengths != NULL);

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
