#include "ngx_http_socketio_worker.h"
#include "ngx_http_socketio_backend.h"
#include "ngx_http_socketio_hook.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_websocket.h"
#include "ngx_http_socketio_wire.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_pack.h"


/* how often a draining worker looks whether it may go, msec */
#define NGX_HTTP_SOCKETIO_LINGER_INTERVAL  100

/* how long webhooks may take after worker_shutdown_timeout, msec */
#define NGX_HTTP_SOCKETIO_LINGER_WEBHOOKS  5000

/* what an entry has beside a payload */
#define NGX_HTTP_SOCKETIO_ENTRY_ROOM       256


/* An Engine.IO id before it becomes base64: where to look, then a secret. */

typedef struct {
    uint16_t           slot;
    uint32_t           generation;
    u_char             random[18];
} ngx_http_socketio_sid_t;

#define NGX_HTTP_SOCKETIO_SID_OCTETS  24


/* The head of entries about a polling request. */

typedef struct {
    ngx_sio_waiter_t   waiter;
    uint16_t           revision;
    uint16_t           octets;
    uint32_t           hops;
    u_char             sid[NGX_SIO_SID_LEN];
} ngx_http_socketio_routed_t;


typedef struct {
    ngx_queue_t        queue;
    ngx_sio_waiter_t   waiter;
    ngx_str_t          body;          /* kind of answer, payload */
} ngx_http_socketio_answer_t;


static void ngx_http_socketio_entry(ngx_sio_hub_t *hub,
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
static void ngx_http_socketio_shutdown(ngx_sio_hub_t *hub);
static void ngx_http_socketio_lost(ngx_sio_hub_t *hub);
static void ngx_http_socketio_linger(ngx_event_t *ev);

static void ngx_http_socketio_dismiss(ngx_http_socketio_worker_t *w);
static void ngx_http_socketio_key(ngx_str_t *sid,
    ngx_http_socketio_sid_t *parts, u_char *key);
static ngx_int_t ngx_http_socketio_owner(ngx_http_socketio_worker_t *w,
    ngx_str_t *sid, ngx_sio_hub_addr_t *owner);
static void ngx_http_socketio_serve(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_uint_t kind, ngx_http_socketio_routed_t *routed,
    ngx_str_t *body);
static ngx_int_t ngx_http_socketio_forward(ngx_http_socketio_worker_t *w,
    ngx_uint_t kind, ngx_sio_hub_addr_t to,
    ngx_http_socketio_routed_t *routed, ngx_str_t *body);
static void ngx_http_socketio_routed(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e);
static void ngx_http_socketio_follow(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e, ngx_http_socketio_routed_t *routed,
    ngx_str_t *body);
static void ngx_http_socketio_move(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_http_socketio_routed_t *routed,
    ngx_sio_hub_addr_t to);
static ngx_int_t ngx_http_socketio_move_send(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_sio_waiter_t *waiter, ngx_sio_hub_addr_t to);
static void ngx_http_socketio_arrived(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e);
static void ngx_http_socketio_replay(void *data, ngx_sio_hub_entry_t *e);
static void ngx_http_socketio_own(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_sio_hub_addr_t owner);
static void ngx_http_socketio_owned(ngx_http_socketio_worker_t *w,
    ngx_str_t *body);
static void ngx_http_socketio_command(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e);
static void ngx_http_socketio_deliver(ngx_http_socketio_worker_t *w,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_answer_to(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body);
static void ngx_http_socketio_answer_local(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, u_char kind, ngx_str_t *body);
static void ngx_http_socketio_answers(ngx_event_t *ev);
static void ngx_http_socketio_full(ngx_http_socketio_worker_t *w,
    const char *what);

static void ngx_http_socketio_op_answer(ngx_sio_session_t *s,
    ngx_sio_waiter_t *waiter, ngx_sio_answer_e kind, ngx_str_t *body);
static void ngx_http_socketio_op_closed(ngx_sio_session_t *s,
    ngx_uint_t reason);
static ngx_uint_t ngx_http_socketio_op_allowed(ngx_sio_session_t *s,
    ngx_str_t *nsp);
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
    ngx_http_socketio_lost
};


static const ngx_sio_ops_t  ngx_http_socketio_ops = {
    ngx_http_socketio_op_answer,
    ngx_http_socketio_websocket_flush,
    ngx_http_socketio_websocket_close,
    ngx_http_socketio_websocket_read,
    ngx_http_socketio_websocket_resume,
    ngx_http_socketio_op_closed,
    ngx_http_socketio_op_allowed,
    ngx_http_socketio_backend_connect,
    ngx_http_socketio_backend_event,
    ngx_http_socketio_backend_ack,
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

    w->answer.handler = ngx_http_socketio_answers;
    w->answer.data = w;
    w->answer.log = cycle->log;

    w->linger.handler = ngx_http_socketio_linger;
    w->linger.data = w;
    w->linger.log = cycle->log;

    w->pool = ngx_create_pool(4096, cycle->log);

    if (w->pool == NULL || ngx_http_socketio_park_init(w) != NGX_OK) {
        goto failed;
    }

    w->hub = ngx_sio_hub_open(zone->mem, &ngx_http_socketio_hub_ops, w, cycle);

    if (w->hub == NULL) {
        ngx_http_socketio_park_done(w);
        goto failed;
    }

    if (ngx_sio_engine_init(&w->engine, &ngx_http_socketio_ops, w,
                            ngx_sio_hub_counters(w->hub), cycle->log)
        != NGX_OK)
    {
        ngx_sio_hub_close(w->hub);
        ngx_http_socketio_park_done(w);
        goto failed;
    }

    w->engine.max_answer = ngx_sio_hub_max_entry(zone->size)
                           - NGX_HTTP_SOCKETIO_ENTRY_ROOM;
    zone->worker = w;

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

    if (w->answer.posted) {
        ngx_delete_posted_event(&w->answer);
    }

    ngx_http_socketio_answers(&w->answer);
    ngx_http_socketio_dismiss(w);

    if (w->linger.timer_set) {
        ngx_del_timer(&w->linger);
    }

    ngx_sio_hub_close(w->hub);
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

        if (r == NULL) {
            continue;
        }

        c = r->connection;

        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
        ngx_http_run_posted_requests(c);
    }
}


/* Who owns a session. */

ngx_int_t
ngx_http_socketio_sid(ngx_http_socketio_worker_t *w, u_char *sid)
{
    u_char              head[sizeof(uint16_t) + sizeof(uint32_t)], *p;
    ngx_sio_hub_addr_t  self;

    self = ngx_sio_hub_self(w->hub);

    p = ngx_cpymem(head, &self.slot, sizeof(uint16_t));
    ngx_memcpy(p, &self.generation, sizeof(uint32_t));

    return ngx_sio_sid_write(sid, NGX_SIO_SID_LEN, head, sizeof(head));
}


static void
ngx_http_socketio_key(ngx_str_t *sid, ngx_http_socketio_sid_t *parts,
    u_char *key)
{
    u_char  octets[NGX_SIO_SID_LEN];

    ngx_memzero(octets, sizeof(octets));

    ngx_sio_base64_decode(octets, sid->data, NGX_SIO_SID_LEN);

    ngx_memcpy(&parts->slot, octets, sizeof(uint16_t));
    ngx_memcpy(&parts->generation, octets + sizeof(uint16_t),
               sizeof(uint32_t));

    ngx_memcpy(key, octets + NGX_HTTP_SOCKETIO_SID_OCTETS
                    - NGX_SIO_DIRECTORY_KEY, NGX_SIO_DIRECTORY_KEY);
}


/*
 * Asked about a session that is not here.
 *
 * NGX_OK        *owner has it, if it exists at all; it was alive just now.
 *               If that is this worker, then the session is on its way here,
 *               and what is sent through the log will arrive behind it.
 * NGX_DECLINED  nobody has it
 */

static ngx_int_t
ngx_http_socketio_owner(ngx_http_socketio_worker_t *w, ngx_str_t *sid,
    ngx_sio_hub_addr_t *owner)
{
    u_char                   key[NGX_SIO_DIRECTORY_KEY];
    ngx_http_socketio_sid_t  parts;

    ngx_http_socketio_key(sid, &parts, key);

    if (ngx_sio_directory_find(ngx_sio_hub_directory(w->hub), key, owner)
        == NGX_OK)
    {
        return NGX_OK;
    }

    *owner = ngx_sio_hub_addr(parts.slot, parts.generation);

    if (ngx_sio_hub_addr_equal(*owner, ngx_sio_hub_self(w->hub))
        || !ngx_sio_hub_alive(w->hub, *owner))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Requests to sessions. */

void
ngx_http_socketio_route(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_str_t *sid, ngx_sio_waiter_t *waiter, ngx_uint_t revision,
    ngx_uint_t octets, ngx_str_t *body)
{
    ngx_int_t                     rc;
    ngx_sio_session_t            *s;
    ngx_sio_hub_addr_t            owner;
    ngx_http_socketio_parked_t   *parked;
    ngx_http_socketio_routed_t    routed;

    if (sid->len != NGX_SIO_SID_LEN) {
        goto unknown;
    }

    ngx_memzero(&routed, sizeof(ngx_http_socketio_routed_t));

    routed.waiter = *waiter;
    routed.revision = revision;
    routed.octets = octets;
    ngx_memcpy(routed.sid, sid->data, NGX_SIO_SID_LEN);

    parked = ngx_http_socketio_parked(w, waiter);

    s = ngx_sio_session_find(&w->engine, sid->data);

    if (s != NULL) {
        if (parked != NULL) {
            parked->owner = ngx_sio_hub_self(w->hub);
        }

        ngx_http_socketio_serve(w, s, kind, &routed, body);
        return;
    }

    if (ngx_http_socketio_owner(w, sid, &owner) != NGX_OK) {
        goto unknown;
    }

    if (parked != NULL) {
        parked->owner = owner;
    }

    rc = ngx_http_socketio_forward(w, kind, owner, &routed, body);

    if (rc == NGX_OK || kind == NGX_HTTP_SOCKETIO_ABORT) {
        return;
    }

    ngx_http_socketio_answer_local(w, waiter, NGX_SIO_ANSWER_BAD, NULL);
    return;

unknown:

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "socketio: nobody has the session of entry %ui", kind);

    if (kind != NGX_HTTP_SOCKETIO_ABORT) {
        ngx_http_socketio_answer_local(w, waiter, NGX_SIO_ANSWER_UNKNOWN,
                                       NULL);
    }
}


static void
ngx_http_socketio_serve(ngx_http_socketio_worker_t *w, ngx_sio_session_t *s,
    ngx_uint_t kind, ngx_http_socketio_routed_t *routed, ngx_str_t *body)
{
    switch (kind) {

    case NGX_HTTP_SOCKETIO_POLL:
        ngx_sio_session_poll(s, &routed->waiter, routed->revision);
        return;

    case NGX_HTTP_SOCKETIO_POST_BEGIN:
        ngx_sio_session_post_begin(s, &routed->waiter, routed->revision);
        return;

    case NGX_HTTP_SOCKETIO_POST:
        ngx_sio_session_post(s, &routed->waiter, routed->revision,
                             routed->octets, body);
        return;

    case NGX_HTTP_SOCKETIO_REFUSED:
        ngx_sio_session_post_refused(s, &routed->waiter);
        return;

    default: /* NGX_HTTP_SOCKETIO_ABORT */
        ngx_sio_session_abort(s, &routed->waiter);
        return;
    }
}


static ngx_int_t
ngx_http_socketio_forward(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_sio_hub_addr_t to, ngx_http_socketio_routed_t *routed, ngx_str_t *body)
{
    ngx_int_t  rc;
    ngx_str_t  parts[2];

    parts[0].len = sizeof(ngx_http_socketio_routed_t);
    parts[0].data = (u_char *) routed;
    parts[1].len = 0;

    if (body != NULL) {
        parts[1] = *body;
    }

    rc = ngx_sio_hub_append(w->hub, kind, 0, to, parts, 2, NULL);

    if (rc == NGX_BUSY) {
        ngx_http_socketio_full(w, "a polling request");
    }

    return rc;
}


/* A request that another worker has, for a session that should be here. */

static void
ngx_http_socketio_routed(ngx_http_socketio_worker_t *w, ngx_sio_hub_entry_t *e)
{
    u_char                      *pos, *end;
    ngx_str_t                    body;
    ngx_sio_session_t           *s;
    ngx_http_socketio_routed_t   routed;

    pos = e->body.data;
    end = pos + e->body.len;

    if (ngx_sio_unpack(&pos, end, &routed, sizeof(routed)) != NGX_OK) {
        return;
    }

    body.data = pos;
    body.len = end - pos;

    s = ngx_sio_session_find(&w->engine, routed.sid);

    if (s == NULL) {
        ngx_http_socketio_follow(w, e, &routed, &body);

    } else if (e->kind == NGX_HTTP_SOCKETIO_UPGRADE) {
        ngx_http_socketio_move(w, s, &routed, e->from);

    } else {
        ngx_http_socketio_serve(w, s, e->kind, &routed, &body);
    }
}


/*
 * The session has closed, or it moved on while this entry was on its way: then
 * the entry goes after it, and whoever waits learns whom it waits for.
 */

static void
ngx_http_socketio_follow(ngx_http_socketio_worker_t *w, ngx_sio_hub_entry_t *e,
    ngx_http_socketio_routed_t *routed, ngx_str_t *body)
{
    ngx_str_t           sid;
    ngx_sio_hub_addr_t  owner;

    sid.len = NGX_SIO_SID_LEN;
    sid.data = routed->sid;

    if (e->kind != NGX_HTTP_SOCKETIO_UPGRADE
        && routed->hops < NGX_HTTP_SOCKETIO_MAX_HOPS
        && ngx_http_socketio_owner(w, &sid, &owner) == NGX_OK
        && !ngx_sio_hub_addr_equal(owner, ngx_sio_hub_self(w->hub)))
    {
        routed->hops++;

        if (ngx_http_socketio_forward(w, e->kind, owner, routed, body)
            == NGX_OK)
        {
            ngx_http_socketio_own(w, &routed->waiter, owner);
            return;
        }
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "socketio: no session for entry %ui, hops %uD",
                   (ngx_uint_t) e->kind, routed->hops);

    if (e->kind == NGX_HTTP_SOCKETIO_ABORT
        || e->kind == NGX_HTTP_SOCKETIO_REFUSED)
    {
        return;
    }

    ngx_http_socketio_answer_to(w, &routed->waiter, NGX_SIO_ANSWER_UNKNOWN,
                                NULL);
}


/* Moving. */

ngx_int_t
ngx_http_socketio_route_upgrade(ngx_http_socketio_worker_t *w, ngx_str_t *sid,
    ngx_sio_waiter_t *waiter, ngx_uint_t revision, ngx_sio_session_t **s)
{
    ngx_sio_hub_addr_t           owner;
    ngx_http_socketio_parked_t  *parked;
    ngx_http_socketio_routed_t   routed;

    if (sid->len != NGX_SIO_SID_LEN) {
        return NGX_DECLINED;
    }

    *s = ngx_sio_session_find(&w->engine, sid->data);

    if (*s != NULL) {
        return (*s)->revision == revision ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_socketio_owner(w, sid, &owner) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_memzero(&routed, sizeof(ngx_http_socketio_routed_t));

    routed.waiter = *waiter;
    routed.revision = revision;
    ngx_memcpy(routed.sid, sid->data, NGX_SIO_SID_LEN);

    parked = ngx_http_socketio_parked(w, waiter);

    if (parked != NULL) {
        parked->owner = owner;
    }

    if (ngx_http_socketio_forward(w, NGX_HTTP_SOCKETIO_UPGRADE, owner,
                                  &routed, NULL)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    return NGX_AGAIN;
}


/*
 * Whatever speaks against moving leaves the client on polling: its WebSocket
 * is accepted and closed at once, as if another upgrade was under way.
 */

static void
ngx_http_socketio_move(ngx_http_socketio_worker_t *w, ngx_sio_session_t *s,
    ngx_http_socketio_routed_t *routed, ngx_sio_hub_addr_t to)
{
    u_char                    key[NGX_SIO_DIRECTORY_KEY];
    ngx_int_t                 rc;
    ngx_str_t                 sid;
    ngx_sio_hub_addr_t        self;
    ngx_http_socketio_sid_t   parts;

    if (s->revision != routed->revision) {
        ngx_http_socketio_answer_to(w, &routed->waiter,
                                    NGX_SIO_ANSWER_MISMATCH, NULL);
        return;
    }

    if (!ngx_sio_session_movable(s) || !ngx_sio_hub_alive(w->hub, to)
        || ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub)))
    {
        ngx_http_socketio_answer_to(w, &routed->waiter, NGX_SIO_ANSWER_OK,
                                    NULL);
        return;
    }

    sid.len = NGX_SIO_SID_LEN;
    sid.data = s->sid;

    self = ngx_sio_hub_self(w->hub);
    ngx_http_socketio_key(&sid, &parts, key);

    /*
     * Until the session is in the log, requests for it must come here: the new
     * owner would not know it yet.  So its place in the directory is taken
     * first, and given to the new owner last.
     */

    rc = ngx_sio_directory_insert(ngx_sio_hub_directory(w->hub), key, self);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_move_send(w, s, &routed->waiter, to);

        if (rc == NGX_OK) {
            (void) ngx_sio_directory_insert(ngx_sio_hub_directory(w->hub),
                                            key, to);
            w->moving_to = to;
            ngx_sio_session_moved(s);
            return;
        }

        if (parts.slot == self.slot && parts.generation == self.generation) {
            ngx_sio_directory_remove(ngx_sio_hub_directory(w->hub), key, self);
        }
    }

    if (rc == NGX_BUSY) {
        ngx_http_socketio_full(w, "an upgrade");
    }

    ngx_http_socketio_answer_to(w, &routed->waiter, NGX_SIO_ANSWER_OK, NULL);
}


/* [who asked, up to where the log has been applied, location, origin, session] */

static ngx_int_t
ngx_http_socketio_move_send(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_sio_waiter_t *waiter, ngx_sio_hub_addr_t to)
{
    u_char                        *p;
    size_t                         origin;
    ngx_int_t                      rc;
    ngx_str_t                      saved;
    ngx_http_socketio_origin_t    *o;
    ngx_http_socketio_loc_conf_t  *lcf;

    o = s->data;
    lcf = o->loc_conf[ngx_http_socketio_module.ctx_index];

    origin = ngx_http_socketio_origin_length(o);

    saved.len = sizeof(ngx_sio_waiter_t) + sizeof(uint64_t)
                + ngx_sio_pack_str_length(&lcf->name)
                + sizeof(uint32_t) + origin
                + ngx_sio_session_save_length(s);

    if (saved.len > ngx_sio_hub_max_entry(w->zone->size)) {
        return NGX_DECLINED;
    }

    saved.data = ngx_alloc(saved.len, ngx_cycle->log);
    if (saved.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sio_pack(saved.data, waiter, sizeof(ngx_sio_waiter_t));
    p = ngx_sio_pack_u64(p, ngx_sio_hub_position(w->hub));
    p = ngx_sio_pack_str(p, &lcf->name);
    p = ngx_sio_pack_u32(p, origin);
    p = ngx_http_socketio_origin_write(o, p);
    p = ngx_sio_session_save(s, p);

    saved.len = p - saved.data;

    rc = ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_SESSION, 0, to, &saved,
                            1, NULL);
    ngx_free(saved.data);

    return rc;
}


/*
 * The session that was asked for is here.  If the client that asked has left
 * meanwhile it is taken up all the same: its polls go on.
 */

static void
ngx_http_socketio_arrived(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e)
{
    ngx_str_t                    body;
    ngx_sio_waiter_t             waiter;
    ngx_http_socketio_parked_t  *parked;

    if (e->body.len < sizeof(ngx_sio_waiter_t)) {
        return;
    }

    ngx_memcpy(&waiter, e->body.data, sizeof(ngx_sio_waiter_t));

    body.data = e->body.data + sizeof(ngx_sio_waiter_t);
    body.len = e->body.len - sizeof(ngx_sio_waiter_t);

    parked = ngx_http_socketio_parked(w, &waiter);

    if (parked != NULL) {
        parked->answer(parked, NGX_HTTP_SOCKETIO_SESSION, e->from, &body);
        return;
    }

    (void) ngx_http_socketio_take(w, NULL, &body);
}


ngx_sio_session_t *
ngx_http_socketio_take(ngx_http_socketio_worker_t *w, ngx_http_request_t *r,
    ngx_str_t *body)
{
    void                          **srv_conf, **loc_conf;
    u_char                         *pos, *end, key[NGX_SIO_DIRECTORY_KEY];
    uint64_t                        position;
    ngx_str_t                       name, saved, sid;
    ngx_sio_session_t              *s;
    ngx_sio_hub_addr_t              self;
    ngx_http_socketio_sid_t         parts;
    ngx_http_socketio_origin_t     *o;
    ngx_http_socketio_location_t   *location;
    ngx_http_socketio_loc_conf_t   *lcf;

    pos = body->data;
    end = pos + body->len;

    if (ngx_sio_unpack_u64(&pos, end, &position) != NGX_OK
        || ngx_sio_unpack_str(&pos, end, &name) != NGX_OK
        || ngx_sio_unpack_str(&pos, end, &saved) != NGX_OK)
    {
        return NULL;
    }

    location = ngx_http_socketio_location_find(&name);

    if (location != NULL) {
        srv_conf = location->srv_conf;
        loc_conf = location->loc_conf;

    } else if (r != NULL) {
        /* a reload has renamed it */
        srv_conf = r->srv_conf;
        loc_conf = r->loc_conf;

    } else {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "a session of \"%V\" is lost: the configuration has no "
                      "such location any more", &name);
        return NULL;
    }

    o = ngx_http_socketio_origin_restore(&saved, srv_conf, loc_conf,
                                         ngx_cycle->log);
    if (o == NULL) {
        return NULL;
    }

    lcf = loc_conf[ngx_http_socketio_module.ctx_index];

    saved.data = pos;
    saved.len = end - pos;

    s = ngx_sio_session_restore(&w->engine, &lcf->session, o, &saved);

    if (s == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "a session of \"%V\" is lost: it could not be taken "
                      "from another worker", &name);
        ngx_http_socketio_origin_unref(o);
        return NULL;
    }

    /*
     * Its former owner did this too, unless it died between the two.
     */

    self = ngx_sio_hub_self(w->hub);

    sid.len = NGX_SIO_SID_LEN;
    sid.data = s->sid;

    ngx_http_socketio_key(&sid, &parts, key);

    if (parts.slot != self.slot || parts.generation != self.generation) {
        (void) ngx_sio_directory_insert(ngx_sio_hub_directory(w->hub), key,
                                        self);
    }

    ngx_http_socketio_own(w, &s->poll, self);
    ngx_http_socketio_own(w, &s->post, self);

    /* what was said to all while the session was between two workers */

    if (ngx_sio_hub_replay(w->hub, position, ngx_sio_hub_position(w->hub),
                           ngx_http_socketio_replay, s)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "a session is closed: the log went round while it was "
                      "on its way between two workers");

        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return NULL;
    }

    return s;
}


static void
ngx_http_socketio_replay(void *data, ngx_sio_hub_entry_t *e)
{
    ngx_sio_session_t *s = data;

    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_command_t   cmd;

    if (e->kind != NGX_HTTP_SOCKETIO_COMMAND) {
        return;
    }

    w = ngx_http_socketio_session_worker(s);

    ngx_reset_pool(w->pool);

    if (ngx_http_socketio_command_decode(&e->body, &cmd, w->pool) == NGX_OK) {
        cmd.only = s;
        (void) ngx_http_socketio_command_apply(w, &cmd, e->position);
    }
}


/* Tells a waiter who will answer it. */

static void
ngx_http_socketio_own(ngx_http_socketio_worker_t *w, ngx_sio_waiter_t *waiter,
    ngx_sio_hub_addr_t owner)
{
    u_char              body[sizeof(ngx_sio_waiter_t)
                             + sizeof(ngx_sio_hub_addr_t)];
    ngx_str_t           part;
    ngx_sio_hub_addr_t  to;

    if (!ngx_sio_waiter_set(waiter)) {
        return;
    }

    part.data = body;
    part.len = sizeof(body);

    ngx_sio_pack(ngx_sio_pack(body, waiter, sizeof(ngx_sio_waiter_t)),
                 &owner, sizeof(ngx_sio_hub_addr_t));

    to = ngx_sio_hub_addr(waiter->slot, waiter->generation);

    if (ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub))) {
        ngx_http_socketio_owned(w, &part);
        return;
    }

    (void) ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_OWNER, 0, to, &part,
                              1, NULL);
}


static void
ngx_http_socketio_owned(ngx_http_socketio_worker_t *w, ngx_str_t *body)
{
    u_char                      *pos;
    ngx_sio_waiter_t             waiter;
    ngx_sio_hub_addr_t           owner;
    ngx_http_socketio_parked_t  *parked;

    pos = body->data;

    if (ngx_sio_unpack(&pos, body->data + body->len, &waiter, sizeof(waiter))
        != NGX_OK
        || ngx_sio_unpack(&pos, body->data + body->len, &owner, sizeof(owner))
           != NGX_OK)
    {
        return;
    }

    parked = ngx_http_socketio_parked(w, &waiter);

    if (parked == NULL) {
        return;
    }

    parked->owner = owner;

    if (!ngx_sio_hub_alive(w->hub, owner)) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "socketio: the new owner is gone");

        ngx_http_socketio_answer_local(w, &waiter, NGX_SIO_ANSWER_UNKNOWN,
                                       NULL);
    }
}


/* The log. */

static void
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
    case NGX_HTTP_SOCKETIO_COUNT:
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
        ngx_http_socketio_command(w, e);
        break;

    default:
        /* a newer version of this module writes what we do not know */
        break;
    }
}


static void
ngx_http_socketio_command(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e)
{
    uint32_t                      n;
    u_char                        body[sizeof(ngx_sio_waiter_t)
                                       + sizeof(uint32_t)];
    ngx_int_t                     rc;
    ngx_str_t                     part;
    ngx_sio_hub_addr_t            to;
    ngx_http_socketio_command_t   cmd;

    ngx_reset_pool(w->pool);

    rc = ngx_http_socketio_command_decode(&e->body, &cmd, w->pool);

    if (rc != NGX_OK) {

        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "an entry of the log is not a command");
        }

        return;
    }

    n = ngx_http_socketio_command_apply(w, &cmd, e->position);

    if (!ngx_sio_waiter_set(&cmd.count)) {
        return;
    }

    part.data = body;
    part.len = sizeof(body);

    ngx_sio_pack_u32(ngx_sio_pack(body, &cmd.count, sizeof(ngx_sio_waiter_t)),
                     n);

    to = ngx_sio_hub_addr(cmd.count.slot, cmd.count.generation);

    if (ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub))) {
        ngx_http_socketio_deliver(w, NGX_HTTP_SOCKETIO_COUNT, to, &part);
        return;
    }

    if (ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_COUNT, 0, to, &part, 1,
                           NULL)
        != NGX_OK)
    {
        ngx_http_socketio_full(w, "an answer");
    }
}


static void
ngx_http_socketio_deliver(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    u_char                      *pos;
    ngx_str_t                    rest;
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

    parked = ngx_http_socketio_parked(w, &waiter);

    if (parked != NULL) {
        parked->answer(parked, kind == NGX_HTTP_SOCKETIO_COUNT
                               ? NGX_HTTP_SOCKETIO_COMMAND : kind,
                       from, &rest);
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
           && waiter->slot == addr.slot
           && waiter->generation == addr.generation;
}


static void
ngx_http_socketio_orphan(ngx_sio_hub_t *hub, uint64_t id, ngx_str_t *record)
{
    ngx_http_socketio_backend_orphan(ngx_sio_hub_data(hub), id, record);
}


/*
 * Sessions have timers of their own that keep the worker; requests that wait
 * for other workers, and webhooks, are what this one is for.
 */

static void
ngx_http_socketio_drain(ngx_sio_hub_t *hub)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);

    ngx_http_socketio_linger(&w->linger);
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

    if (w->park.used || ngx_http_socketio_backend_busy(w)
        || !ngx_queue_empty(&w->answers) || ngx_sio_hub_unread(w->hub))
    {
        ngx_add_timer(ev, NGX_HTTP_SOCKETIO_LINGER_INTERVAL);
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

    if (!w->linger.timer_set) {
        ngx_add_timer(&w->linger, NGX_HTTP_SOCKETIO_LINGER_INTERVAL);
    }
}


/*
 * The others took this worker for dead.  What it has missed in the log cannot
 * be made good, so its clients begin anew; their ends are its own to tell.
 */

static void
ngx_http_socketio_lost(ngx_sio_hub_t *hub)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_sio_hub_data(hub);

    w->engine.counters = ngx_sio_hub_counters(hub);

    ngx_http_socketio_backend_lost(w);

    ngx_sio_engine_close(&w->engine, NGX_SIO_REASON_TRANSPORT_ERROR);

    ngx_memzero(w->engine.counters, NGX_SIO_COUNT_OPENED * sizeof(uint64_t));
}


/* Answers. */

static void
ngx_http_socketio_answer_to(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    u_char              octet;
    ngx_int_t           rc;
    ngx_str_t           parts[3];
    ngx_sio_hub_addr_t  to;

    octet = (u_char) kind;
    to = ngx_sio_hub_addr(waiter->slot, waiter->generation);

    if (ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub))) {
        ngx_http_socketio_answer_local(w, waiter, octet, body);
        return;
    }

    parts[0].len = sizeof(ngx_sio_waiter_t);
    parts[0].data = (u_char *) waiter;
    parts[1].len = 1;
    parts[1].data = &octet;
    parts[2].len = 0;

    if (body != NULL) {
        parts[2] = *body;
    }

    rc = ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_ANSWER, 0, to, parts, 3,
                            NULL);

    if (rc == NGX_DECLINED && kind == NGX_SIO_ANSWER_TEXT) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "a message of %uz octets is too large for zone \"%V\"",
                      body->len, &w->zone->name);

        ngx_http_socketio_answer_to(w, waiter, NGX_SIO_ANSWER_BAD, NULL);
        return;
    }

    if (rc == NGX_BUSY) {
        ngx_http_socketio_full(w, "an answer");
    }
}


/*
 * A request may be answered while its own handler is still at work, so the
 * answer comes with a posted event.
 */

static void
ngx_http_socketio_answer_local(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, u_char kind, ngx_str_t *body)
{
    size_t                       len;
    ngx_http_socketio_answer_t  *answer;

    len = (body != NULL) ? body->len : 0;

    answer = ngx_alloc(sizeof(ngx_http_socketio_answer_t) + 1 + len,
                       ngx_cycle->log);
    if (answer == NULL) {
        /* the request has a time limit of its own */
        return;
    }

    answer->waiter = *waiter;
    answer->body.len = 1 + len;
    answer->body.data = (u_char *) (answer + 1);
    answer->body.data[0] = kind;

    if (len) {
        ngx_memcpy(answer->body.data + 1, body->data, len);
    }

    ngx_queue_insert_tail(&w->answers, &answer->queue);

    if (!w->answer.posted) {
        ngx_post_event(&w->answer, &ngx_posted_events);
    }
}


static void
ngx_http_socketio_answers(ngx_event_t *ev)
{
    ngx_queue_t                 *q;
    ngx_http_socketio_worker_t  *w;
    ngx_http_socketio_answer_t  *answer;
    ngx_http_socketio_parked_t  *parked;

    w = ev->data;

    while (!ngx_queue_empty(&w->answers)) {

        q = ngx_queue_head(&w->answers);
        ngx_queue_remove(q);

        answer = ngx_queue_data(q, ngx_http_socketio_answer_t, queue);

        parked = ngx_http_socketio_parked(w, &answer->waiter);

        if (parked != NULL) {
            parked->answer(parked, NGX_HTTP_SOCKETIO_ANSWER,
                           ngx_sio_hub_self(w->hub), &answer->body);
        }

        ngx_free(answer);
    }
}


static void
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
    ngx_http_socketio_answer_to(ngx_http_socketio_session_worker(s), waiter,
                                kind, body);
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

    ngx_http_socketio_origin_unref(s->data);
    s->data = NULL;
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


/* The access log names the socket that ends last, or ends with its session. */

static void
ngx_http_socketio_op_disconnect(ngx_sio_socket_t *so, ngx_uint_t reason)
{
    if (so->connected && so->session->ws != NULL) {
        ngx_http_socketio_websocket_note(so->session->ws, so,
                                         ngx_http_socketio_backend_user(so));
    }

    ngx_http_socketio_backend_disconnect(so, reason);
}


static void
ngx_http_socketio_op_moved(ngx_sio_session_t *s, ngx_sio_socket_t *so)
{
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_session_worker(s);

    if (so != NULL) {
        ngx_http_socketio_backend_moved(so, w->moving_to);
        return;
    }

    ngx_http_socketio_origin_unref(s->data);
    s->data = NULL;
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
