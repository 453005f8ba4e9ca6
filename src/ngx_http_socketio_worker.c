
#include "ngx_http_socketio_worker_private.h"
#include "ngx_http_socketio_backend.h"
#include "ngx_http_socketio_hook.h"
#include "ngx_http_socketio_note.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_request.h"
#include "ngx_http_socketio_result.h"
#include "ngx_http_socketio_websocket.h"
#include "ngx_http_socketio_remote.h"
#include "ngx_http_socketio_script.h"
#include "ngx_http_socketio_wire.h"
#include "ngx_sio_pack.h"
#include "ngx_sio_packet.h"


/* how often a draining worker looks whether it may go, msec */
#define NGX_HTTP_SOCKETIO_LINGER_INTERVAL  100

/* how long webhooks may take after worker_shutdown_timeout, msec */
#define NGX_HTTP_SOCKETIO_LINGER_WEBHOOKS  5000

/* how often a draining worker closes sessions at most, msec */
#define NGX_HTTP_SOCKETIO_PARTING_INTERVAL 50

/* what an entry has beside a payload */
#define NGX_HTTP_SOCKETIO_ENTRY_ROOM       256


static void ngx_http_socketio_dismiss(ngx_http_socketio_worker_t *w);
static ngx_int_t ngx_http_socketio_entry(ngx_sio_hub_t *hub,
    ngx_sio_hub_entry_t *e);
static ngx_int_t ngx_http_socketio_command(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e);
static void ngx_http_socketio_down(ngx_sio_hub_t *hub,
    ngx_sio_hub_addr_t dead);
static void ngx_http_socketio_forget(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t dead);
static ngx_uint_t ngx_http_socketio_waits_in(ngx_sio_waiter_t *waiter,
    ngx_sio_hub_addr_t addr);
static void ngx_http_socketio_orphan(ngx_sio_hub_t *hub, uint64_t id,
    ngx_str_t *record);
static void ngx_http_socketio_drain(ngx_sio_hub_t *hub);
static void ngx_http_socketio_parting(ngx_event_t *ev);
static void ngx_http_socketio_linger(ngx_event_t *ev);
static void ngx_http_socketio_left(ngx_http_socketio_worker_t *w);
static void ngx_http_socketio_shutdown(ngx_sio_hub_t *hub);
static void ngx_http_socketio_lost(ngx_sio_hub_t *hub);
static void ngx_http_socketio_appended(ngx_sio_hub_t *hub,
    ngx_sio_hub_entry_t *e, ngx_sio_hub_members_t *members);
static void ngx_http_socketio_room(ngx_sio_hub_t *hub);
static void ngx_http_socketio_count_here(ngx_http_socketio_worker_t *w);

static void ngx_http_socketio_op_answer(ngx_sio_session_t *s,
    ngx_sio_waiter_t *waiter, ngx_sio_answer_e kind, ngx_str_t *body);
static void ngx_http_socketio_op_closed(ngx_sio_session_t *s,
    ngx_uint_t reason);
static ngx_uint_t ngx_http_socketio_op_nsp_open(ngx_sio_engine_t *e,
    ngx_str_t *nsp);
static void ngx_http_socketio_op_nsp_close(ngx_sio_engine_t *e,
    ngx_uint_t index);
static void ngx_http_socketio_op_log_polling(ngx_sio_session_t *s,
    ngx_uint_t reason);
static ngx_uint_t ngx_http_socketio_op_allowed(ngx_sio_session_t *s,
    ngx_str_t *nsp);
static void ngx_http_socketio_op_event(ngx_sio_socket_t *so, ngx_str_t *event,
    ngx_str_t *args, uint64_t id, ngx_str_t *attachments, ngx_uint_t n);
static void ngx_http_socketio_op_ack(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);
static void ngx_http_socketio_op_disconnect(ngx_sio_socket_t *so,
    ngx_uint_t reason);
static void ngx_http_socketio_op_moved(ngx_sio_session_t *s,
    ngx_sio_socket_t *so);
static u_char *ngx_http_socketio_op_log(ngx_sio_session_t *s, u_char *buf,
    size_t len);


static const ngx_sio_hub_ops_t  ngx_http_socketio_hub_ops = {
    ngx_http_socketio_entry,
    ngx_http_socketio_down,
    ngx_http_socketio_orphan,
    ngx_http_socketio_drain,
    ngx_http_socketio_shutdown,
    ngx_http_socketio_lost,
    ngx_http_socketio_appended,
    ngx_http_socketio_room
};


static const ngx_sio_ops_t  ngx_http_socketio_ops = {
    ngx_http_socketio_op_answer,
    ngx_http_socketio_websocket_flush,
    ngx_http_socketio_websocket_prefetch,
    ngx_http_socketio_websocket_close,
    ngx_http_socketio_websocket_read,
    ngx_http_socketio_websocket_resume,
    ngx_http_socketio_op_closed,
    ngx_http_socketio_op_nsp_open,
    ngx_http_socketio_op_nsp_close,
    ngx_http_socketio_op_allowed,
    ngx_http_socketio_backend_connect,
    ngx_http_socketio_op_event,
    ngx_http_socketio_op_ack,
    ngx_http_socketio_op_disconnect,
    ngx_http_socketio_backend_save_length,
    ngx_http_socketio_backend_save,
    ngx_http_socketio_backend_restore,
    ngx_http_socketio_op_moved,
    ngx_http_socketio_op_log
};


ngx_int_t
ngx_http_socketio_worker_init(ngx_http_socketio_zone_t *zone,
    ngx_cycle_t *cycle)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_calloc(sizeof(ngx_http_socketio_worker_t), cycle->log);
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->zone = zone;

    ngx_queue_init(&w->answers);
    ngx_queue_init(&w->departures);

    w->answer.handler = ngx_http_socketio_answers;
    w->answer.data = w;
    w->answer.log = cycle->log;

    w->linger.handler = ngx_http_socketio_linger;
    w->linger.data = w;
    w->linger.log = cycle->log;

    w->parting.handler = ngx_http_socketio_parting;
    w->parting.data = w;
    w->parting.log = cycle->log;
    w->parting.cancelable = 1;

    w->review.handler = ngx_http_socketio_backend_review_handler;
    w->review.data = w;
    w->review.log = cycle->log;
    w->review.cancelable = 1;

    w->pool = ngx_create_pool(4096, cycle->log);

    if (w->pool == NULL || ngx_http_socketio_park_init(w) != NGX_OK) {
        goto failed;
    }

    w->hub = ngx_sio_hub_open(zone->mem, &ngx_http_socketio_hub_ops, w, cycle);

    if (w->hub == NULL) {
        ngx_http_socketio_park_done(w);
        goto failed;
    }

    if (ngx_sio_engine_init(&w->engine, &ngx_http_socketio_ops, w, cycle->log)
        != NGX_OK)
    {
        ngx_sio_hub_close(w->hub);
        ngx_http_socketio_park_done(w);
        goto failed;
    }

    ngx_http_socketio_count_here(w);

    w->engine.max_answer = ngx_sio_hub_max_entry(zone->size)
                           - NGX_HTTP_SOCKETIO_ENTRY_ROOM;
    w->engine.max_pending = zone->size;
    zone->worker = w;

    if (zone->queues.nelts) {
        w->bridge = ngx_http_socketio_bridge_create(w);

        if (w->bridge == NULL) {
            ngx_http_socketio_worker_done(zone);
            return NGX_ERROR;
        }
    }

    return NGX_OK;

failed:

    if (w->pool != NULL) {
        ngx_destroy_pool(w->pool);
    }

    ngx_free(w);

    return NGX_ERROR;
}


/*
 * The process ends.  Whatever sockets are left keep their journal records, and
 * a sibling tells their backends, also what webhooks under way would have said.
 *
 * Nobody ends requests and webhooks after this, and about connections that are
 * open still nginx would complain if it was draining.
 */

void
ngx_http_socketio_worker_done(ngx_http_socketio_zone_t *zone)
{
    ngx_http_socketio_worker_t  *w;

    w = zone->worker;
    zone->worker = NULL;

    ngx_sio_engine_close(&w->engine, NGX_SIO_REASON_SHUTTING_DOWN);
    ngx_http_socketio_hook_abort_all();

    /* the application has said it, so the others shall hear it if they can */

    ngx_http_socketio_backend_flush(w);

    if (w->answer.posted) {
        ngx_delete_posted_event(&w->answer);
    }

    ngx_http_socketio_answers(&w->answer);
    ngx_http_socketio_dismiss(w);

    if (w->bridge != NULL) {
        ngx_http_socketio_bridge_destroy(w->bridge);
        w->bridge = NULL;
    }

    if (w->linger.timer_set) {
        ngx_del_timer(&w->linger);
    }

    if (w->parting.timer_set) {
        ngx_del_timer(&w->parting);
    }

    if (w->review.timer_set) {
        ngx_del_timer(&w->review);
    }

    ngx_sio_hub_close(w->hub);
    ngx_http_socketio_result_reset(w);
    ngx_http_socketio_park_done(w);
    ngx_destroy_pool(w->pool);
    ngx_free(w);
}


/* Those who wait for other workers are not answered any more. */

static void
ngx_http_socketio_dismiss(ngx_http_socketio_worker_t *w)
{
    ngx_uint_t           i;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    for (i = 0; i < w->park.nentries; i++) {
        r = w->park.entries[i]->request;

        if (r == NULL || r->post_action) {
            continue;
        }

        c = r->connection;

        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
        ngx_http_run_posted_requests(c);
    }
}


/* The log. */

static ngx_int_t
ngx_http_socketio_entry(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);

    switch (e->kind) {

    case NGX_HTTP_SOCKETIO_POLL:
    case NGX_HTTP_SOCKETIO_POST_BEGIN:
    case NGX_HTTP_SOCKETIO_POST:
    case NGX_HTTP_SOCKETIO_REFUSED:
    case NGX_HTTP_SOCKETIO_ABORT:
    case NGX_HTTP_SOCKETIO_UPGRADE:
        ngx_http_socketio_routed(w, e);
        break;

    case NGX_HTTP_SOCKETIO_ANSWER:
    case NGX_HTTP_SOCKETIO_RESULT:
    case NGX_HTTP_SOCKETIO_ACKED:
        ngx_reset_pool(w->pool);
        ngx_http_socketio_deliver(w, e->kind, e->from, &e->body);
        break;

    case NGX_HTTP_SOCKETIO_OWNER:
        ngx_http_socketio_owned(w, &e->body);
        break;

    case NGX_HTTP_SOCKETIO_SESSION:
        ngx_http_socketio_arrived(w, e);
        break;

    case NGX_HTTP_SOCKETIO_REPLY:
        ngx_http_socketio_backend_reply(w, &e->body);
        break;

    case NGX_HTTP_SOCKETIO_COMMAND:
        return ngx_http_socketio_command(w, e);

    case NGX_HTTP_SOCKETIO_REMOTE:

        if (w->bridge != NULL) {
            ngx_http_socketio_remote_entry(w->bridge, &e->body);
        }

        break;

    case NGX_HTTP_SOCKETIO_HANDED:
        ngx_http_socketio_park_pass(w, e->from,
                            ngx_sio_bridge_holder(ngx_sio_hub_bridge(w->hub)));

        if (w->bridge != NULL) {
            ngx_http_socketio_bridge_elect(w->bridge);
        }

        break;

    case NGX_HTTP_SOCKETIO_LEAVING:

        if (w->bridge != NULL) {
            ngx_http_socketio_bridge_look(w->bridge);
        }

        break;

    default:
        /* a newer version of this module writes what we do not know */
        break;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_command(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e)
{
    ngx_int_t                    rc;
    ngx_http_socketio_effect_t   effect;
    ngx_http_socketio_command_t  cmd;

    ngx_reset_pool(w->pool);

    rc = ngx_http_socketio_command_decode(&e->body, &cmd, w->pool);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "an entry of the log is not a command");
        return NGX_OK;
    }

    cmd.local = !(e->flags & NGX_SIO_HUB_SHIP);

    if (!cmd.elsewhere) {
        ngx_http_socketio_command_apply(w, &cmd, e->position, &effect);

        if (ngx_sio_waiter_set(&cmd.count)) {
            ngx_http_socketio_result_send(w, &cmd, &effect);
        }
    }

    if (!cmd.local && w->bridge != NULL) {
        ngx_http_socketio_bridge_wake(w->bridge);
    }

    return NGX_OK;
}


void
ngx_http_socketio_deliver(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    u_char                      *pos;
    ngx_str_t                    rest;
    ngx_uint_t                   answer;
    ngx_sio_waiter_t             waiter;
    ngx_http_socketio_parked_t  *parked;

    pos = body->data;

    if (ngx_sio_unpack(&pos, body->data + body->len, &waiter, sizeof(waiter))
        != NGX_OK)
    {
        return;
    }

    rest.data = pos;
    rest.len = body->len - sizeof(waiter);

    if (waiter.host) {

        if (kind == NGX_HTTP_SOCKETIO_ANSWER && rest.len) {
            answer = *rest.data++;
            rest.len--;

            (void) ngx_http_socketio_remote_say(w, &waiter, answer, &rest);
        }

        return;
    }

    parked = ngx_http_socketio_parked(w, &waiter);

    if (parked != NULL) {
        parked->answer(parked, kind, from, &rest);
    }
}


static void
ngx_http_socketio_down(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t dead)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);

    ngx_http_socketio_park_down(w, dead);
    ngx_http_socketio_forget(w, dead);
    ngx_http_socketio_backend_down(w, dead);

    if (w->bridge != NULL) {
        ngx_http_socketio_bridge_down(w->bridge, dead);
    }
}


/* Requests that waited there for sessions of this worker have been cut off. */

static void
ngx_http_socketio_forget(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t dead)
{
    ngx_queue_t        *q, *next;
    ngx_sio_waiter_t    waiter;
    ngx_sio_session_t  *s;

    for (q = ngx_queue_head(&w->engine.all);
         q != ngx_queue_sentinel(&w->engine.all);
         q = next)
    {
        next = ngx_queue_next(q);
        s = ngx_queue_data(q, ngx_sio_session_t, all);

        waiter = ngx_http_socketio_waits_in(&s->poll, dead) ? s->poll
                                                            : s->post;

        if (ngx_http_socketio_waits_in(&waiter, dead)) {
            ngx_sio_session_abort(s, &waiter);
        }
    }
}


static ngx_uint_t
ngx_http_socketio_waits_in(ngx_sio_waiter_t *waiter, ngx_sio_hub_addr_t addr)
{
    return ngx_sio_waiter_set(waiter)
           && waiter->host == 0
           && waiter->slot == addr.slot
           && waiter->generation == addr.generation;
}


static void
ngx_http_socketio_orphan(ngx_sio_hub_t *hub, uint64_t id, ngx_str_t *record)
{
    ngx_http_socketio_backend_orphan(ngx_sio_hub_data(hub), id, record);
}


/*
 * Sessions, requests that wait, and webhooks have timers of their own that keep
 * the worker.  This one is for webhooks of which another worker has the answer,
 * for what the log had no room for, for message queues, and for webhooks that
 * are to be given up at last.
 */

static void
ngx_http_socketio_drain(ngx_sio_hub_t *hub)
{
    ngx_core_conf_t             *ccf;
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);
    w->draining = 1;

    if (w->bridge != NULL) {
        ngx_http_socketio_bridge_drain(w->bridge);
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->shutdown_timeout) {
        w->shutdown = ngx_current_msec + ccf->shutdown_timeout;
        ngx_add_timer(&w->parting, ccf->shutdown_timeout / 2);
    }

    ngx_http_socketio_linger(&w->linger);
}


/*
 * Clients that are closed at once come back at once, each with a handshake and
 * a webhook.  So whoever is still there in the second half of
 * worker_shutdown_timeout is closed in turn, evenly until its end, when nginx
 * itself closes the last.
 */

static void
ngx_http_socketio_parting(ngx_event_t *ev)
{
    ngx_msec_t                   wait;
    ngx_uint_t                   open;
    ngx_msec_int_t               left;
    ngx_http_socketio_worker_t  *w;

    w = ev->data;

    ngx_sio_engine_part(&w->engine, w->leavers, NGX_SIO_REASON_SHUTTING_DOWN);

    left = (ngx_msec_int_t) (w->shutdown - ngx_current_msec);

    if (left <= 0) {
        return;
    }

    open = ngx_sio_engine_open(&w->engine);

    wait = left / ngx_max(open, 1);
    wait = ngx_max(wait, NGX_HTTP_SOCKETIO_PARTING_INTERVAL);

    w->leavers = ((uint64_t) open * wait + left - 1) / left;

    ngx_add_timer(ev, wait);
}


static void
ngx_http_socketio_linger(ngx_event_t *ev)
{
    ngx_http_socketio_worker_t  *w;

    w = ev->data;

    if (w->deadline && (ngx_msec_int_t) (w->deadline - ngx_current_msec) <= 0)
    {
        ngx_http_socketio_hook_abort_all();
        return;
    }

    if (ngx_http_socketio_backend_busy(w) || ngx_sio_hub_waiting(w->hub)
        || (w->bridge != NULL && ngx_http_socketio_bridge_busy(w->bridge)))
    {
        ngx_add_timer(ev, NGX_HTTP_SOCKETIO_LINGER_INTERVAL);
    }
}


/* A session is no longer here, whose last words may wait for something. */

static void
ngx_http_socketio_left(ngx_http_socketio_worker_t *w)
{
    if (w->draining && !w->linger.timer_set) {
        ngx_add_timer(&w->linger, NGX_HTTP_SOCKETIO_LINGER_INTERVAL);
    }
}


/*
 * The clients are closed now.  Their backends hear of it from this worker, if
 * they answer soon: when all of nginx ends there is nobody else to tell them.
 */

static void
ngx_http_socketio_shutdown(ngx_sio_hub_t *hub)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);

    ngx_sio_engine_close(&w->engine, NGX_SIO_REASON_SHUTTING_DOWN);

    w->deadline = ngx_current_msec + NGX_HTTP_SOCKETIO_LINGER_WEBHOOKS;

    ngx_http_socketio_left(w);
}


/*
 * The others took this worker for dead.  What it has missed in the log cannot
 * be made good, so its clients begin anew; their ends are its own to tell.
 */

static void
ngx_http_socketio_lost(ngx_sio_hub_t *hub)
{
    uint64_t                     open;
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);

    ngx_http_socketio_count_here(w);

    ngx_http_socketio_result_reset(w);
    ngx_http_socketio_backend_lost(w);

    ngx_sio_engine_close(&w->engine, NGX_SIO_REASON_TRANSPORT_ERROR);

    /* what is left of those that are counted here was on its way to it */

    open = w->engine.gauges[NGX_SIO_GAUGE_POLLING]
           + w->engine.gauges[NGX_SIO_GAUGE_WEBSOCKET]
           + ngx_sio_hub_balance(hub);

    while (open-- > 0) {
        ngx_sio_session_missed(&w->engine);
    }
}


/* Where in the zone this worker counts. */

static void
ngx_http_socketio_count_here(ngx_http_socketio_worker_t *w)
{
    w->engine.gauges = ngx_sio_hub_gauges(w->hub);
    w->engine.counters = ngx_sio_hub_counters(w->hub);
    w->engine.named = ngx_sio_hub_named(w->hub);
}


static void
ngx_http_socketio_appended(ngx_sio_hub_t *hub, ngx_sio_hub_entry_t *e,
    ngx_sio_hub_members_t *members)
{
    ngx_str_t                     body;
    ngx_sio_waiter_t              waiter;
    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_parked_t   *parked;
    ngx_http_socketio_members_t   told;

    w = ngx_sio_hub_data(hub);

    if (ngx_http_socketio_command_waiter(&e->body, &waiter, &told.tag)
        != NGX_OK)
    {
        return;
    }

    told.members = *members;

    parked = ngx_http_socketio_parked(w, &waiter);

    if (parked != NULL) {
        body.data = (u_char *) &told;
        body.len = sizeof(ngx_http_socketio_members_t);

        parked->answer(parked, NGX_HTTP_SOCKETIO_MEMBERS,
                       ngx_sio_hub_self(hub), &body);
    }
}


static void
ngx_http_socketio_room(ngx_sio_hub_t *hub)
{
    ngx_http_socketio_backend_room(ngx_sio_hub_data(hub));
    ngx_http_socketio_hook_resume();
}


void
ngx_http_socketio_full(ngx_http_socketio_worker_t *w, const char *what)
{
    if (ngx_time() - w->warned < 60) {
        return;
    }

    w->warned = ngx_time();

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "zone \"%V\" of %uz bytes is full and could not carry %s",
                  &w->zone->name, w->zone->size, what);
}


/* What the core asks for. */

static void
ngx_http_socketio_op_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *waiter,
    ngx_sio_answer_e kind, ngx_str_t *body)
{
    u_char                       digits[NGX_HTTP_SOCKETIO_INDEX];
    ngx_int_t                    rc;
    ngx_str_t                    index, script;
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_session_worker(s);

    if (kind == NGX_SIO_ANSWER_TEXT
        && ngx_http_socketio_script_index(s, digits, &index) == NGX_OK)
    {
        rc = ngx_http_socketio_script_join(&index, body, &script);

        if (rc == NGX_OK) {
            rc = ngx_http_socketio_answer_to(w, waiter, NGX_SIO_ANSWER_SCRIPT,
                                             &script);
            ngx_free(script.data);

        } else {
            (void) ngx_http_socketio_answer_to(w, waiter, NGX_SIO_ANSWER_BAD,
                                               NULL);
        }

    } else {
        rc = ngx_http_socketio_answer_to(w, waiter, kind, body);
    }

    if (rc != NGX_OK) {
        /* what it was to be told is gone */
        ngx_sio_session_fail(s);
    }
}


static void
ngx_http_socketio_op_closed(ngx_sio_session_t *s, ngx_uint_t reason)
{
    u_char                       key[NGX_SIO_DIRECTORY_KEY];
    ngx_str_t                    sid;
    ngx_sio_hub_addr_t           self;
    ngx_http_socketio_sid_t      parts;
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_session_worker(s);

    sid.len = NGX_SIO_SID_LEN;
    sid.data = s->sid;

    ngx_http_socketio_key(&sid, &parts, key);
    self = ngx_sio_hub_self(w->hub);

    if (parts.slot != self.slot || parts.generation != self.generation) {
        ngx_sio_directory_remove(ngx_sio_hub_directory(w->hub), key, self);
    }

    if (!s->carried) {
        ngx_http_socketio_op_log_polling(s, reason);
    }

    ngx_http_socketio_origin_unref(s->data);
    s->data = NULL;

    ngx_http_socketio_left(w);
}


/*
 * A session that ends in polling has no connection of its own, so it gets a
 * line beside those of its requests; a WebSocket writes its own.
 */

static void
ngx_http_socketio_op_log_polling(ngx_sio_session_t *s, ngx_uint_t reason)
{
    ngx_http_socketio_ctx_t  ctx;

    ngx_memzero(&ctx, sizeof(ngx_http_socketio_ctx_t));

    ngx_str_set(&ctx.transport, "polling");
    ctx.reason = ngx_sio_reasons[reason];
    ctx.counted = 1;
    ctx.packets_in = s->packets_in;
    ctx.packets_out = s->packets_out;

    ngx_http_socketio_note_show(s->note, &ctx);

    ngx_http_socketio_request_log(s->data, NULL, NGX_HTTP_OK, 0, &ctx);
}


static ngx_uint_t
ngx_http_socketio_op_nsp_open(ngx_sio_engine_t *e, ngx_str_t *nsp)
{
    ngx_http_socketio_worker_t *w = e->data;

    return ngx_sio_hub_name_hold(w->hub, nsp);
}


static void
ngx_http_socketio_op_nsp_close(ngx_sio_engine_t *e, ngx_uint_t index)
{
    ngx_http_socketio_worker_t *w = e->data;

    ngx_sio_hub_name_release(w->hub, index);
}


static ngx_uint_t
ngx_http_socketio_op_allowed(ngx_sio_session_t *s, ngx_str_t *nsp)
{
    ngx_http_socketio_origin_t    *o;
    ngx_http_socketio_loc_conf_t  *lcf;

    o = s->data;
    lcf = o->loc_conf[ngx_http_socketio_module.ctx_index];

    return ngx_http_socketio_namespace_allowed(lcf->namespaces, nsp);
}


/*
 * What a backend hears of it may answer, in its reply or later; nobody else
 * could, so otherwise nothing is remembered.  Whatever waits for a webhook
 * comes on top of what was heard and not answered.
 */

static void
ngx_http_socketio_op_event(ngx_sio_socket_t *so, ngx_str_t *event,
    ngx_str_t *args, uint64_t id, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_http_socketio_origin_t    *o;
    ngx_http_socketio_loc_conf_t  *lcf;

    o = so->session->data;
    lcf = o->loc_conf[ngx_http_socketio_module.ctx_index];

    if (id != NGX_SIO_PACKET_NO_ID
        && lcf->webhook != NULL
        && (lcf->webhook_events & NGX_HTTP_SOCKETIO_EVENT)
        && ngx_sio_socket_ask(so, id, NGX_SIO_MAX_ASKED + lcf->webhook_queue)
           != NGX_OK)
    {
        /* as if the event itself had been lost */

        ngx_sio_session_close(so->session, NGX_SIO_REASON_FORCED_SERVER_CLOSE);
        return;
    }

    ngx_http_socketio_backend_event(so, event, args, id, attachments, n);
}


static void
ngx_http_socketio_op_ack(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n)
{
    if (ngx_http_socketio_result_is_token(&ack->token)) {
        ngx_http_socketio_result_acked(so, ack, args, attachments, n);

    } else {
        ngx_http_socketio_backend_ack(so, ack, args, attachments, n);
    }
}


/* The access log names the socket that ends last, or ends with its session. */

static void
ngx_http_socketio_op_disconnect(ngx_sio_socket_t *so, ngx_uint_t reason)
{
    if (so->connected) {
        ngx_http_socketio_note_take(so, ngx_http_socketio_backend_user(so));
    }

    ngx_http_socketio_result_gone(so);
    ngx_http_socketio_backend_disconnect(so, reason);
}


static void
ngx_http_socketio_op_moved(ngx_sio_session_t *s, ngx_sio_socket_t *so)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_session_worker(s);

    if (so != NULL) {
        ngx_http_socketio_result_moved(so, w->moving_to);
        ngx_http_socketio_backend_moved(so, w->moving_to);
        return;
    }

    ngx_http_socketio_origin_unref(s->data);
    s->data = NULL;

    ngx_http_socketio_left(w);
}


static u_char *
ngx_http_socketio_op_log(ngx_sio_session_t *s, u_char *buf, size_t len)
{
    ngx_str_t  ip;

    if (s->data == NULL) {
        return buf;
    }

    ngx_http_socketio_origin_ip(s->data, &ip);

    return ngx_snprintf(buf, len, ", socketio client: %V", &ip);
}
