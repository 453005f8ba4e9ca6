
#include "ngx_http_socketio_worker_private.h"
#include "ngx_http_socketio_remote_private.h"
#include "ngx_http_socketio_script.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_pack.h"


/* whether somebody waits for what becomes of it */
#define ngx_http_socketio_awaited(kind)  ((kind) != NGX_HTTP_SOCKETIO_ABORT)


static void ngx_http_socketio_serve(ngx_http_socketio_worker_t *w,
    ngx_sio_session_t *s, ngx_uint_t kind, ngx_http_socketio_routed_t *routed,
    ngx_str_t *body);
static void ngx_http_socketio_follow(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_entry_t *e, ngx_http_socketio_routed_t *routed,
    ngx_str_t *body);


ngx_int_t
ngx_http_socketio_sid(ngx_http_socketio_worker_t *w, u_char *sid)
{
    u_char              head[sizeof(uint16_t) + 2 * sizeof(uint32_t)], *p;
    uint32_t            host;
    ngx_sio_hub_addr_t  self;

    self = ngx_sio_hub_self(w->hub);
    host = ngx_http_socketio_remote_tag(w);

    p = ngx_cpymem(head, &self.slot, sizeof(uint16_t));
    p = ngx_cpymem(p, &self.generation, sizeof(uint32_t));
    ngx_memcpy(p, &host, sizeof(uint32_t));

    return ngx_sio_sid_write(sid, NGX_SIO_SID_LEN, head, sizeof(head));
}


void
ngx_http_socketio_key(ngx_str_t *sid, ngx_http_socketio_sid_t *parts,
    u_char *key)
{
    u_char  octets[NGX_SIO_SID_LEN];

    ngx_memzero(octets, sizeof(octets));

    ngx_sio_base64_decode(octets, sid->data, NGX_SIO_SID_LEN);

    ngx_memcpy(&parts->slot, octets, sizeof(uint16_t));
    ngx_memcpy(&parts->generation, octets + sizeof(uint16_t),
               sizeof(uint32_t));
    ngx_memcpy(&parts->host, octets + sizeof(uint16_t) + sizeof(uint32_t),
               sizeof(uint32_t));

    ngx_memcpy(key, octets + NGX_HTTP_SOCKETIO_SID_OCTETS
                    - NGX_SIO_DIRECTORY_KEY, NGX_SIO_DIRECTORY_KEY);
}


ngx_int_t
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

    if (parts.host != ngx_http_socketio_remote_tag(w)) {
        return NGX_DECLINED;
    }

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
    ngx_uint_t                    flags;
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
            parked->host = 0;
            ngx_http_socketio_park_forget(parked);
        }

        ngx_http_socketio_serve(w, s, kind, &routed, body);
        return;
    }

    if (ngx_http_socketio_owner(w, sid, &owner) != NGX_OK) {

        if (waiter->host) {
            goto unknown;
        }

        rc = ngx_http_socketio_remote_forward(w, sid, kind, &routed, body,
                                              parked);

        if (rc == NGX_DECLINED) {
            goto unknown;
        }

        if (rc != NGX_OK && ngx_http_socketio_awaited(kind)) {
            (void) ngx_http_socketio_answer_to(w, waiter,
                                               rc == NGX_BUSY
                                               ? NGX_SIO_ANSWER_BUSY
                                               : NGX_SIO_ANSWER_BAD,
                                               NULL);
        }

        return;
    }

    if (parked != NULL) {
        parked->owner = owner;
        parked->host = 0;
        ngx_http_socketio_park_forget(parked);
    }

    /* what ends a request is said in any case */

    flags = (kind == NGX_HTTP_SOCKETIO_ABORT
             || kind == NGX_HTTP_SOCKETIO_REFUSED)
            ? NGX_SIO_HUB_OWED : 0;

    rc = ngx_http_socketio_forward(w, kind, flags, owner, &routed, body);

    if (rc == NGX_OK || !ngx_http_socketio_awaited(kind)) {
        return;
    }

    if (kind == NGX_HTTP_SOCKETIO_POST) {

        /* the owner has heard of its beginning */

        (void) ngx_http_socketio_forward(w, NGX_HTTP_SOCKETIO_ABORT,
                                         NGX_SIO_HUB_OWED, owner, &routed,
                                         NULL);
    }

    (void) ngx_http_socketio_answer_to(w, waiter,
                                       rc == NGX_BUSY ? NGX_SIO_ANSWER_BUSY
                                                      : NGX_SIO_ANSWER_BAD,
                                       NULL);
    return;

unknown:

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "socketio: nobody has the session of entry %ui", kind);

    if (ngx_http_socketio_awaited(kind)) {
        (void) ngx_http_socketio_answer_to(w, waiter, NGX_SIO_ANSWER_UNKNOWN,
                                           NULL);
    }
}


static void
ngx_http_socketio_serve(ngx_http_socketio_worker_t *w, ngx_sio_session_t *s,
    ngx_uint_t kind, ngx_http_socketio_routed_t *routed, ngx_str_t *body)
{
    if (routed->waiter.host && w->bridge != NULL
        && ngx_http_socketio_guest_enter(&w->bridge->remote->guests, kind,
                                         routed)
           != NGX_OK)
    {
        return;
    }

    switch (kind) {

    case NGX_HTTP_SOCKETIO_POLL:
        ngx_sio_session_poll(s, &routed->waiter, routed->revision);
        return;

    case NGX_HTTP_SOCKETIO_POST_BEGIN:
        ngx_sio_session_post_begin(s, &routed->waiter, routed->revision);
        return;

    case NGX_HTTP_SOCKETIO_POST:
        ngx_http_socketio_script_post(s, &routed->waiter, routed->revision,
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


ngx_int_t
ngx_http_socketio_forward(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_uint_t flags, ngx_sio_hub_addr_t to,
    ngx_http_socketio_routed_t *routed, ngx_str_t *body)
{
    ngx_int_t  rc;
    ngx_str_t  parts[2];

    parts[0].len = sizeof(ngx_http_socketio_routed_t);
    parts[0].data = (u_char *) routed;
    parts[1].len = 0;

    if (body != NULL) {
        parts[1] = *body;
    }

    rc = ngx_sio_hub_append(w->hub, kind, flags, to, parts, 2, NULL);

    if (rc == NGX_BUSY) {
        ngx_http_socketio_full(w, "a polling request");
    }

    return rc;
}


/* A request that another worker has, for a session that should be here. */

void
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
        ngx_http_socketio_move(w, s, &routed);

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

    if (routed->hops < NGX_HTTP_SOCKETIO_MAX_HOPS
        && ngx_http_socketio_owner(w, &sid, &owner) == NGX_OK
        && !ngx_sio_hub_addr_equal(owner, ngx_sio_hub_self(w->hub)))
    {
        routed->hops++;

        if (ngx_http_socketio_forward(w, e->kind, NGX_SIO_HUB_OWED, owner,
                                      routed, body)
            == NGX_OK)
        {
            ngx_http_socketio_own(w, &routed->waiter, owner);
            return;
        }
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "socketio: no session for entry %ui, hops %uD",
                   (ngx_uint_t) e->kind, routed->hops);

    if (e->kind == NGX_HTTP_SOCKETIO_REFUSED
        || !ngx_http_socketio_awaited(e->kind))
    {
        return;
    }

    (void) ngx_http_socketio_answer_to(w, &routed->waiter,
                                       NGX_SIO_ANSWER_UNKNOWN, NULL);
}


/* Answers. */

ngx_int_t
ngx_http_socketio_answer_to(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    u_char              octet;
    ngx_int_t           rc;
    ngx_str_t           parts[3];
    ngx_sio_hub_addr_t  to;

    octet = (u_char) kind;
    to = ngx_sio_hub_addr(waiter->slot, waiter->generation);

    if (waiter->host) {

        if (w->bridge != NULL) {
            ngx_http_socketio_guest_answered(&w->bridge->remote->guests,
                                             waiter, kind, body);
        }

        rc = ngx_http_socketio_remote_say(w, waiter, kind, body);

    } else if (ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub))) {

        return ngx_http_socketio_answer_local(w, waiter, octet, body);

    } else {

        parts[0].len = sizeof(ngx_sio_waiter_t);
        parts[0].data = (u_char *) waiter;
        parts[1].len = 1;
        parts[1].data = &octet;
        parts[2].len = 0;

        if (body != NULL) {
            parts[2] = *body;
        }

        rc = ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_ANSWER,
                                NGX_SIO_HUB_OWED, to, parts, 3, NULL);
    }

    if (rc == NGX_DECLINED
        && (kind == NGX_SIO_ANSWER_TEXT || kind == NGX_SIO_ANSWER_SCRIPT))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "a message of %uz octets is too large for zone \"%V\"",
                      body->len, &w->zone->name);

        (void) ngx_http_socketio_answer_to(w, waiter, NGX_SIO_ANSWER_BAD,
                                           NULL);
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


/*
 * A request may be answered while its own handler is still at work, so the
 * answer comes with a posted event.  Until then its place is with the request
 * that waits, for which there is one, the first.
 */

ngx_int_t
ngx_http_socketio_answer_local(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, u_char kind, ngx_str_t *body)
{
    ngx_int_t                    rc;
    ngx_http_socketio_parked_t  *parked;

    parked = ngx_http_socketio_parked(w, waiter);

    if (parked == NULL || parked->said.next) {
        return NGX_OK;
    }

    rc = NGX_OK;
    parked->kind = kind;

    if (body != NULL && body->len) {
        parked->len = 1 + body->len;
        parked->text = ngx_alloc(parked->len, ngx_cycle->log);

        if (parked->text == NULL) {
            parked->kind = NGX_SIO_ANSWER_BAD;
            rc = NGX_ERROR;

        } else {
            parked->text[0] = kind;
            ngx_memcpy(parked->text + 1, body->data, body->len);
        }
    }

    ngx_queue_insert_tail(&w->answers, &parked->said);

    if (!w->answer.posted) {
        ngx_post_event(&w->answer, &ngx_posted_events);
    }

    return rc;
}


/* By the time that it is answered a place may serve another request. */

void
ngx_http_socketio_answers(ngx_event_t *ev)
{
    u_char                       kind, *text;
    ngx_str_t                    body;
    ngx_queue_t                 *q;
    ngx_http_socketio_worker_t  *w;
    ngx_http_socketio_parked_t  *parked;

    w = ev->data;

    while (!ngx_queue_empty(&w->answers)) {

        q = ngx_queue_head(&w->answers);
        ngx_queue_remove(q);

        parked = ngx_queue_data(q, ngx_http_socketio_parked_t, said);

        kind = parked->kind;
        text = parked->text;

        body.data = text ? text : &kind;
        body.len = text ? parked->len : 1;

        parked->said.next = NULL;
        parked->text = NULL;

        parked->answer(parked, NGX_HTTP_SOCKETIO_ANSWER,
                       ngx_sio_hub_self(w->hub), &body);

        if (text) {
            ngx_free(text);
        }
    }
}
