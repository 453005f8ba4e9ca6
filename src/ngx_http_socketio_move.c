
/*
 * A session moves to the worker at which its WebSocket has arrived.
 */

#include "ngx_http_socketio_worker_private.h"
#include "ngx_http_socketio_backend.h"
#include "ngx_http_socketio_remote.h"
#include "ngx_http_socketio_location.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_pack.h"


/* The log while a session was on its way. */

typedef struct {
    ngx_http_socketio_worker_t  *worker;
    ngx_sio_session_t           *session;
    ngx_queue_t                  results;
    ngx_uint_t                   failed;    /* something could not be read */
} ngx_http_socketio_missed_t;


static ngx_int_t ngx_http_socketio_move_send(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_sio_waiter_t *waiter, ngx_sio_hub_addr_t to);
static ngx_sio_session_t *ngx_http_socketio_take_session(
    ngx_http_socketio_worker_t *w, ngx_http_request_t *r, ngx_str_t *body);
static ngx_sio_session_t *ngx_http_socketio_take_saved(
    ngx_http_socketio_worker_t *w, ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *origin, ngx_str_t *saved);
static void ngx_http_socketio_take_nothing(ngx_http_socketio_worker_t *w,
    ngx_str_t *saved);
static void ngx_http_socketio_take_requests(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s);
static ngx_int_t ngx_http_socketio_take_missed(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, uint64_t position);
static void ngx_http_socketio_replay(void *data, ngx_sio_hub_entry_t *e);


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

        /* sessions of other hosts stay on polling */

        if (ngx_http_socketio_remote_known(w, sid)) {
            ngx_http_socketio_answer_local(w, waiter, NGX_SIO_ANSWER_OK, NULL);
            return NGX_AGAIN;
        }

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

    if (ngx_http_socketio_forward(w, NGX_HTTP_SOCKETIO_UPGRADE, 0, owner,
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

void
ngx_http_socketio_move(ngx_http_socketio_worker_t *w, ngx_sio_session_t *s,
    ngx_http_socketio_routed_t *routed)
{
    u_char                    key[NGX_SIO_DIRECTORY_KEY];
    ngx_int_t                 rc;
    ngx_str_t                 sid;
    ngx_sio_hub_addr_t        self, to;
    ngx_http_socketio_sid_t   parts;

    if (s->revision != routed->revision) {
        (void) ngx_http_socketio_answer_to(w, &routed->waiter,
                                           NGX_SIO_ANSWER_MISMATCH, NULL);
        return;
    }

    /* the entry itself may have been sent on by a former owner */

    to = ngx_sio_hub_addr(routed->waiter.slot, routed->waiter.generation);

    if (!ngx_sio_session_movable(s)
        || ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub)))
    {
        (void) ngx_http_socketio_answer_to(w, &routed->waiter,
                                           NGX_SIO_ANSWER_OK, NULL);
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

    (void) ngx_http_socketio_answer_to(w, &routed->waiter, NGX_SIO_ANSWER_OK,
                                       NULL);
}


/* [who asked, how far the log was applied, location, origin, session] */

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

    rc = ngx_http_socketio_result_depart(w, to);

    if (rc == NGX_OK) {
        rc = ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_SESSION,
                                NGX_SIO_HUB_NOW|NGX_SIO_HUB_ECHO
                                |NGX_SIO_HUB_GIVE,
                                to, &saved, 1, NULL);
        if (rc != NGX_OK) {
            ngx_http_socketio_result_stay(w);
        }
    }

    ngx_free(saved.data);

    return rc;
}


/*
 * The session that was asked for is here.  If the client that asked has left
 * meanwhile it is taken up all the same: its polls go on.
 */

void
ngx_http_socketio_arrived(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e)
{
    ngx_str_t                    body;
    ngx_sio_waiter_t             waiter;
    ngx_http_socketio_parked_t  *parked;

    if (!ngx_sio_hub_addr_equal(e->to, ngx_sio_hub_self(w->hub))) {
        ngx_http_socketio_result_departed(w);
        return;
    }

    if (e->body.len < sizeof(ngx_sio_waiter_t)) {
        ngx_sio_session_missed(&w->engine);
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
    u_char             *pos;
    uint64_t            position;
    ngx_int_t           rc;
    ngx_str_t           rest;
    ngx_sio_session_t  *s, *open;

    pos = body->data;

    if (ngx_sio_unpack_u64(&pos, body->data + body->len, &position) != NGX_OK)
    {
        ngx_sio_session_missed(&w->engine);
        return NULL;
    }

    rest.data = pos;
    rest.len = body->data + body->len - pos;

    s = ngx_http_socketio_take_session(w, r, &rest);

    if (s == NULL) {
        (void) ngx_http_socketio_take_missed(w, NULL, position);
        return NULL;
    }

    ngx_http_socketio_take_requests(w, s);

    ngx_sio_session_ref(s);     /* what it has missed may end it */

    rc = ngx_http_socketio_take_missed(w, s, position);

    open = ngx_sio_session_find(&w->engine, s->sid);

    if (open != NULL && rc != NGX_OK) {

        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "a session is closed: the log went round while it "
                          "was on its way between two workers");
        }

        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        open = NULL;
    }

    ngx_sio_session_unref(s);

    return open;
}


static ngx_sio_session_t *
ngx_http_socketio_take_session(ngx_http_socketio_worker_t *w,
    ngx_http_request_t *r, ngx_str_t *body)
{
    u_char             *pos, *end;
    ngx_str_t           name, origin, saved;
    ngx_sio_session_t  *s;

    pos = body->data;
    end = pos + body->len;

    if (ngx_sio_unpack_str(&pos, end, &name) != NGX_OK
        || ngx_sio_unpack_str(&pos, end, &origin) != NGX_OK)
    {
        ngx_sio_session_missed(&w->engine);
        return NULL;
    }

    saved.data = pos;
    saved.len = end - pos;

    s = ngx_http_socketio_take_saved(w, r, &name, &origin, &saved);

    if (s == NULL) {
        ngx_http_socketio_take_nothing(w, &saved);
    }

    return s;
}


/* NULL: why has been logged. */

static ngx_sio_session_t *
ngx_http_socketio_take_saved(ngx_http_socketio_worker_t *w,
    ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *origin,
    ngx_str_t *saved)
{
    void                          **srv_conf, **loc_conf;
    ngx_int_t                       rc;
    ngx_sio_session_t              *s;
    ngx_http_socketio_origin_t     *o;
    ngx_http_socketio_location_t   *location;
    ngx_http_socketio_loc_conf_t   *lcf;

    location = ngx_http_socketio_location_find(name);

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
                      "such location any more", name);
        ngx_sio_session_missed(&w->engine);
        return NULL;
    }

    o = ngx_http_socketio_origin_restore(origin, srv_conf, loc_conf,
                                         ngx_cycle->log);
    if (o == NULL) {
        ngx_sio_session_missed(&w->engine);
        return NULL;
    }

    lcf = loc_conf[ngx_http_socketio_module.ctx_index];

    rc = ngx_sio_session_restore(&w->engine, &lcf->session, o, saved, &s);

    if (rc == NGX_OK) {
        return s;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "a session of \"%V\" is lost: it could not be taken "
                      "from another worker", name);
    }

    ngx_http_socketio_origin_unref(o);

    return NULL;
}


/*
 * A session is nowhere any more: whoever waits for it hears so, and the ends
 * of its sockets are told by their journal records.
 */

static void
ngx_http_socketio_take_nothing(ngx_http_socketio_worker_t *w,
    ngx_str_t *saved)
{
    u_char                    id[NGX_SIO_SID_LEN];
    u_char                    key[NGX_SIO_DIRECTORY_KEY];
    ngx_str_t                 sid;
    ngx_uint_t                i;
    ngx_sio_waiter_t          waiters[2];
    ngx_http_socketio_sid_t   parts;

    ngx_http_socketio_backend_review(w);

    if (ngx_sio_session_waiters(saved, id, waiters) != NGX_OK) {
        return;
    }

    sid.len = NGX_SIO_SID_LEN;
    sid.data = id;

    ngx_http_socketio_key(&sid, &parts, key);

    ngx_sio_directory_remove(ngx_sio_hub_directory(w->hub), key,
                             ngx_sio_hub_self(w->hub));

    for (i = 0; i < 2; i++) {
        if (ngx_sio_waiter_set(&waiters[i])) {
            (void) ngx_http_socketio_answer_to(w, &waiters[i],
                                               NGX_SIO_ANSWER_UNKNOWN, NULL);
        }
    }
}


/* Its requests, new ones and those that wait, come here from now on. */

static void
ngx_http_socketio_take_requests(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s)
{
    u_char                   key[NGX_SIO_DIRECTORY_KEY];
    ngx_str_t                sid;
    ngx_sio_hub_addr_t       self;
    ngx_http_socketio_sid_t  parts;

    self = ngx_sio_hub_self(w->hub);

    sid.len = NGX_SIO_SID_LEN;
    sid.data = s->sid;

    ngx_http_socketio_key(&sid, &parts, key);

    /* its former owner did this too, unless it died between the two */

    if (parts.slot != self.slot || parts.generation != self.generation) {
        (void) ngx_sio_directory_insert(ngx_sio_hub_directory(w->hub), key,
                                        self);
    }

    ngx_http_socketio_own(w, &s->poll, self);
    ngx_http_socketio_own(w, &s->post, self);
}


/*
 * What was said to all while the session was between two workers.  Whoever
 * waits for the results was promised one more for each; that holds even if the
 * session could not be taken, s == NULL.
 */

static ngx_int_t
ngx_http_socketio_take_missed(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, uint64_t position)
{
    ngx_int_t                   rc;
    ngx_http_socketio_missed_t  missed;

    missed.worker = w;
    missed.session = s;
    missed.failed = 0;
    ngx_queue_init(&missed.results);

    rc = ngx_sio_hub_replay(w->hub, position, ngx_sio_hub_position(w->hub),
                            ngx_http_socketio_replay, &missed);

    ngx_http_socketio_result_flush(w, &missed.results);

    return missed.failed ? NGX_ERROR : rc;
}


static void
ngx_http_socketio_replay(void *data, ngx_sio_hub_entry_t *e)
{
    ngx_http_socketio_missed_t *missed = data;

    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_effect_t    effect;
    ngx_http_socketio_command_t   cmd;

    if (e->kind != NGX_HTTP_SOCKETIO_COMMAND) {
        return;
    }

    w = missed->worker;

    ngx_reset_pool(w->pool);

    if (ngx_http_socketio_command_decode(&e->body, &cmd, w->pool) != NGX_OK) {
        missed->failed = 1;
        return;
    }

    if (missed->session != NULL) {
        cmd.only = missed->session;
        ngx_http_socketio_command_apply(w, &cmd, e->position, &effect);

    } else {
        ngx_memzero(&effect, sizeof(ngx_http_socketio_effect_t));
    }

    if (ngx_sio_waiter_set(&cmd.count)) {
        ngx_http_socketio_result_collect(&missed->results, &cmd, &effect);
    }
}


void
ngx_http_socketio_own(ngx_http_socketio_worker_t *w, ngx_sio_waiter_t *waiter,
    ngx_sio_hub_addr_t owner)
{
    u_char              body[sizeof(ngx_sio_waiter_t)
                             + sizeof(ngx_sio_hub_addr_t)];
    ngx_str_t           part;
    ngx_sio_hub_addr_t  to;

    if (!ngx_sio_waiter_set(waiter) || waiter->host) {
        /* another host's ends with the host, not with a worker of this one */
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

    (void) ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_OWNER,
                              NGX_SIO_HUB_OWED, to, &part, 1, NULL);
}


void
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

        (void) ngx_http_socketio_answer_local(w, &waiter,
                                              NGX_SIO_ANSWER_UNKNOWN, NULL);
    }
}
