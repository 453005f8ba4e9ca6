
#include "ngx_http_socketio_remote_private.h"
#include "ngx_http_socketio_cluster.h"


static ngx_int_t ngx_http_socketio_remote_ask(ngx_http_socketio_worker_t *w,
    ngx_str_t *text, ngx_sio_hub_addr_t *owner);
static void ngx_http_socketio_remote_again(
    ngx_http_socketio_remote_t *remote);
static ngx_sio_bridge_peer_t *ngx_http_socketio_remote_peer(
    ngx_http_socketio_worker_t *w, ngx_str_t *sid);
static ngx_sio_bridge_peer_t *ngx_http_socketio_remote_host(
    ngx_http_socketio_worker_t *w, uint32_t tag);


uint32_t
ngx_http_socketio_remote_tag(ngx_http_socketio_worker_t *w)
{
    uint32_t  tag;

    ngx_memcpy(&tag, ngx_sio_bridge_id(ngx_sio_hub_bridge(w->hub)),
               sizeof(uint32_t));

    return tag;
}


ngx_uint_t
ngx_http_socketio_remote_known(ngx_http_socketio_worker_t *w, ngx_str_t *sid)
{
    return ngx_http_socketio_remote_peer(w, sid) != NULL;
}


static ngx_sio_bridge_peer_t *
ngx_http_socketio_remote_peer(ngx_http_socketio_worker_t *w, ngx_str_t *sid)
{
    u_char                    key[NGX_SIO_DIRECTORY_KEY];
    ngx_http_socketio_sid_t   parts;

    if (w->bridge == NULL) {
        return NULL;
    }

    ngx_http_socketio_key(sid, &parts, key);

    if (parts.host == ngx_http_socketio_remote_tag(w)) {
        return NULL;
    }

    return ngx_http_socketio_remote_host(w, parts.host);
}


static ngx_sio_bridge_peer_t *
ngx_http_socketio_remote_host(ngx_http_socketio_worker_t *w, uint32_t tag)
{
    ngx_sio_bridge_peer_t  *peer;

    peer = ngx_sio_bridge_find_tag(ngx_sio_hub_bridge(w->hub),
                                   (u_char *) &tag, sizeof(uint32_t));

    if (peer == NULL
        || (time_t) peer->heard + NGX_HTTP_SOCKETIO_SILENT < ngx_time())
    {
        return NULL;
    }

    return peer;
}


ngx_uint_t
ngx_http_socketio_remote_there(ngx_http_socketio_worker_t *w, uint32_t tag)
{
    return ngx_http_socketio_remote_host(w, tag) != NULL;
}


ngx_uint_t
ngx_http_socketio_remote_whole(ngx_http_socketio_worker_t *w)
{
    ngx_uint_t                    i;
    ngx_sio_bridge_t             *kept;
    ngx_sio_hub_addr_t            holder;
    ngx_sio_bridge_line_t        *line;
    ngx_http_socketio_queue_t   **conf;

    kept = ngx_sio_hub_bridge(w->hub);
    holder = ngx_sio_bridge_holder(kept);

    if (holder.generation == 0 || !ngx_sio_hub_alive(w->hub, holder)) {
        return 0;
    }

    conf = w->zone->queues.elts;

    for (i = 0; i < w->zone->queues.nelts; i++) {
        line = ngx_sio_bridge_find_line(kept, conf[i]->key);

        if (line == NULL || !line->up) {
            return 0;
        }
    }

    return 1;
}


/*
 * What is waited for may be said again, so it is kept with who waits, as long as
 * that is not too much.  While nobody serves the queues, or the log is full, it
 * is not said yet.
 */

ngx_int_t
ngx_http_socketio_remote_forward(ngx_http_socketio_worker_t *w, ngx_str_t *sid,
    ngx_uint_t kind, ngx_http_socketio_routed_t *routed, ngx_str_t *body,
    ngx_http_socketio_parked_t *parked)
{
    u_char                           *p;
    ngx_int_t                         rc, kept;
    ngx_str_t                         text;
    ngx_sio_bridge_peer_t            *peer;
    ngx_http_socketio_remote_head_t   head;

    peer = ngx_http_socketio_remote_peer(w, sid);

    if (peer == NULL) {
        return NGX_DECLINED;
    }

    ngx_memzero(&head, sizeof(head));
    head.kind = kind;
    head.routed = *routed;

    text.len = NGX_SIO_BRIDGE_ID + sizeof(head) + (body ? body->len : 0);
    text.data = ngx_alloc(text.len, ngx_cycle->log);

    if (text.data == NULL) {
        return NGX_BUSY;
    }

    p = ngx_cpymem(text.data, peer->id, NGX_SIO_BRIDGE_ID);
    p = ngx_cpymem(p, &head, sizeof(head));

    if (body != NULL && body->len) {
        ngx_memcpy(p, body->data, body->len);
    }

    if (parked == NULL) {
        rc = ngx_http_socketio_remote_ask(w, &text, NULL);
        ngx_free(text.data);

        return rc;
    }

    kept = ngx_http_socketio_park_ask(parked, &text);

    ngx_memcpy(&parked->host, peer->id, sizeof(uint32_t));

    rc = ngx_http_socketio_remote_ask(w, &text, &parked->owner);

    if (kept != NGX_OK) {
        ngx_free(text.data);
    }

    return (rc == NGX_AGAIN) ? (kept == NGX_OK ? NGX_OK : NGX_BUSY) : rc;
}


/*
 * NGX_OK; NGX_AGAIN: not yet; NGX_BUSY: nor later, since nobody waits for it;
 * NGX_ERROR: it is too large.
 */

static ngx_int_t
ngx_http_socketio_remote_ask(ngx_http_socketio_worker_t *w, ngx_str_t *text,
    ngx_sio_hub_addr_t *owner)
{
    ngx_int_t           rc;
    ngx_sio_hub_addr_t  holder;

    holder = ngx_sio_bridge_holder(ngx_sio_hub_bridge(w->hub));

    rc = (holder.generation && ngx_sio_hub_alive(w->hub, holder))
         ? ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_REMOTE,
                              NGX_SIO_HUB_NOW, holder, text, 1, NULL)
         : NGX_BUSY;

    if (rc == NGX_DECLINED) {
        return NGX_ERROR;
    }

    if (owner == NULL || (rc != NGX_OK && rc != NGX_BUSY)) {
        return (rc == NGX_OK) ? NGX_OK : NGX_BUSY;
    }

    *owner = (rc == NGX_OK) ? holder : ngx_sio_hub_addr(0, 0);

    if (rc == NGX_BUSY) {
        w->bridge->remote->asks = 1;
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_AGAIN;
}


/*
 * As those of a worker that died.  A part of the table at a time; the answers
 * come later.
 */

void
ngx_http_socketio_remote_gone(ngx_http_socketio_remote_t *remote)
{
    ngx_uint_t                   n;
    ngx_http_socketio_park_t    *park;
    ngx_http_socketio_parked_t  *p;
    ngx_http_socketio_worker_t  *w;

    w = remote->bridge->worker;
    park = &w->park;

    ngx_http_socketio_remote_again(remote);
    ngx_http_socketio_guest_tick(&remote->guests);

    for (n = (park->nentries + 3) / 4; n; n--) {

        remote->seen = (remote->seen + 1) % park->nentries;
        p = park->entries[remote->seen];

        if (p->answer != NULL && p->host
            && ngx_http_socketio_remote_host(w, p->host) == NULL)
        {
            ngx_http_socketio_answer_local(w, &p->waiter,
                                           NGX_SIO_ANSWER_UNKNOWN, NULL);
        }
    }
}


/*
 * Somebody else serves the queues, and does not know what the one before was
 * asked.  The names are the same, so the other hosts know what they have done
 * or answered.
 */

static void
ngx_http_socketio_remote_again(ngx_http_socketio_remote_t *remote)
{
    ngx_uint_t                   i;
    ngx_sio_hub_addr_t           holder;
    ngx_http_socketio_parked_t  *p;
    ngx_http_socketio_worker_t  *w;

    w = remote->bridge->worker;
    holder = ngx_sio_bridge_holder(remote->bridge->kept);

    if (holder.generation == 0 || !ngx_sio_hub_alive(w->hub, holder)
        || (!remote->asks && ngx_sio_hub_addr_equal(holder, remote->holder)))
    {
        return;
    }

    remote->holder = holder;
    remote->asks = 0;

    for (i = 0; i < w->park.nentries; i++) {
        p = w->park.entries[i];

        if (p->answer == NULL || p->asked.len == 0
            || ngx_sio_hub_addr_equal(p->owner, holder))
        {
            continue;
        }

        if (ngx_http_socketio_remote_ask(w, &p->asked, &p->owner) != NGX_OK) {
            /* the log is full; the rest follows later */
            return;
        }
    }
}
