
/*
 * The journal record of a peer: what a stranger needs to send its disconnect
 * webhook.  It is made before the connect webhook leaves, and removed when
 * the disconnect webhook was answered or given up.
 *
 * Written when the application changes user or state, or the reason of the end
 * becomes known; its number alone before every webhook, which takes it.
 */

#include "ngx_http_socketio_peer.h"
#include "ngx_http_socketio_location.h"


/* changes with the meaning of anything below */
#define NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_VERSION  1

/* seconds between complaints about a zone that is too small */
#define NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PERIOD   60

/* msec from a failure to the review that follows it */
#define NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_REVIEW   1000


typedef struct {
    uint32_t    version;
    uint32_t    seq;                   /* of the next webhook */
    uint32_t    origin_len;            /* what is stored behind this, in this */
    uint16_t    name_len;              /* order except for the origin, which */
    uint16_t    user_len;              /* is the last */
    uint16_t    memo_len;
    uint8_t     nsp_len;
    uint8_t     reason;
    uint8_t     websocket;
    uint8_t     unused[3];
    u_char      sid[NGX_SIO_SOCKET_SID_LEN];
} ngx_http_socketio_backend_record_t;


enum {
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_HEAD = 0,
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NAME,
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_USER,
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_MEMO,
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NSP,
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_ORIGIN,
    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS
};


static ngx_uint_t ngx_http_socketio_backend_journal_told(
    ngx_http_socketio_peer_t *peer, ngx_queue_t *queue);
static ngx_int_t ngx_http_socketio_backend_journal_parts(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_backend_record_t *head,
    ngx_str_t *parts);
static size_t ngx_http_socketio_backend_journal_length(ngx_str_t *parts);
static void ngx_http_socketio_backend_journal_warn(
    ngx_http_socketio_peer_t *peer, const char *what);
static ngx_uint_t ngx_http_socketio_backend_journal_ours(void *data,
    ngx_sio_hub_addr_t owner);
static ngx_uint_t ngx_http_socketio_backend_journal_here(
    ngx_http_socketio_worker_t *w, uint64_t id, ngx_str_t *record);
static ngx_uint_t ngx_http_socketio_backend_journal_used(ngx_queue_t *queue,
    ngx_http_socketio_worker_t *w, uint64_t id);
static ngx_int_t ngx_http_socketio_backend_journal_read(ngx_str_t *record,
    ngx_http_socketio_backend_record_t *head, ngx_str_t *parts);
static ngx_http_socketio_peer_t *ngx_http_socketio_backend_journal_peer(
    ngx_http_socketio_worker_t *w, ngx_http_socketio_location_t *location,
    ngx_http_socketio_backend_record_t *head, ngx_str_t *parts);
static ngx_int_t ngx_http_socketio_backend_journal_copy(ngx_str_t *dst,
    ngx_str_t *src);


/* for the origin of the record that is being written */
static u_char  ngx_http_socketio_backend_journal_buf[NGX_SIO_JOURNAL_MAX];


ngx_int_t
ngx_http_socketio_backend_journal_write(ngx_http_socketio_peer_t *peer)
{
    ngx_int_t                            rc;
    ngx_str_t        parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS];
    ngx_sio_hub_t                       *hub;
    ngx_sio_journal_t                   *journal;
    ngx_http_socketio_backend_record_t   head;

    hub = peer->worker->hub;
    journal = ngx_sio_hub_journal(hub);

    if (ngx_http_socketio_backend_journal_parts(peer, &head, parts)
        != NGX_OK)
    {
        /* a client with very long headers is served all the same */

        ngx_http_socketio_backend_journal_warn(peer, "cannot remember a "
                                               "client with so long headers");
        return NGX_OK;
    }

    if (peer->journal) {
        rc = ngx_sio_journal_update(journal, peer->journal, parts,
                                    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS);
    } else {
        rc = ngx_sio_journal_insert(journal, ngx_sio_hub_self(hub), parts,
                                    NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS,
                                    &peer->journal);
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    if (rc == NGX_BUSY) {
        ngx_http_socketio_backend_journal_warn(peer, "is too small to "
                                               "remember one more client");
    }

    return NGX_ERROR;
}


void
ngx_http_socketio_backend_journal_count(ngx_http_socketio_peer_t *peer)
{
    ngx_sio_journal_t  *journal;

    journal = ngx_sio_hub_journal(peer->worker->hub);

    (void) ngx_sio_journal_poke(journal, peer->journal,
                                offsetof(ngx_http_socketio_backend_record_t,
                                         seq),
                                peer->seq);
}


void
ngx_http_socketio_backend_journal_remove(ngx_http_socketio_peer_t *peer)
{
    if (peer->journal) {
        (void) ngx_sio_journal_remove(ngx_sio_hub_journal(peer->worker->hub),
                                      peer->journal);
        peer->journal = 0;
    }
}


ngx_int_t
ngx_http_socketio_backend_journal_give(ngx_http_socketio_peer_t *peer,
    ngx_sio_hub_addr_t to)
{
    ngx_sio_hub_t       *hub;
    ngx_sio_hub_addr_t   self;
    ngx_sio_journal_t   *journal;

    if (peer->journal == 0) {
        return NGX_OK;
    }

    hub = peer->worker->hub;
    journal = ngx_sio_hub_journal(hub);
    self = ngx_sio_hub_self(hub);

    if (ngx_sio_journal_chown(journal, peer->journal, self, to) != NGX_OK
        || ngx_sio_hub_alive(hub, to))
    {
        return NGX_OK;
    }

    /* who looks for what the dead had may have done so already */

    return ngx_http_socketio_backend_journal_recall(peer, to) == NGX_OK
           ? NGX_DECLINED : NGX_OK;
}


/*
 * A worker that is lost is not dead, and may stand before its claim: from now
 * on it claims what is not there, instead of telling the end a second time.
 */

ngx_int_t
ngx_http_socketio_backend_journal_recall(ngx_http_socketio_peer_t *peer,
    ngx_sio_hub_addr_t from)
{
    ngx_int_t       rc;
    ngx_sio_hub_t  *hub;

    if (peer->journal == 0) {
        return NGX_OK;
    }

    hub = peer->worker->hub;

    rc = ngx_sio_journal_recall(ngx_sio_hub_journal(hub), &peer->journal, from,
                                ngx_sio_hub_self(hub));

    return rc == NGX_OK ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_socketio_backend_journal_claim(ngx_http_socketio_peer_t *peer,
    ngx_sio_hub_addr_t from)
{
    ngx_int_t            rc;
    ngx_sio_hub_t       *hub;
    ngx_sio_hub_addr_t   self;
    ngx_sio_journal_t   *journal;

    if (peer->journal == 0) {
        return NGX_OK;
    }

    hub = peer->worker->hub;
    journal = ngx_sio_hub_journal(hub);
    self = ngx_sio_hub_self(hub);

    if (!ngx_sio_hub_alive(hub, self)) {
        return NGX_DECLINED;
    }

    rc = ngx_sio_journal_chown(journal, peer->journal, from, self);

    if (rc != NGX_DECLINED) {
        return NGX_OK;
    }

    /* given to us, or found by us among what the sender has left? */

    if (ngx_sio_journal_chown(journal, peer->journal, self, self) != NGX_OK
        || ngx_http_socketio_backend_journal_told(peer,
               &ngx_http_socketio_backend_flights)
        || ngx_http_socketio_backend_journal_told(peer,
               &ngx_http_socketio_backend_stalls))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Whether the end that this record is for is being told from here. */

static ngx_uint_t
ngx_http_socketio_backend_journal_told(ngx_http_socketio_peer_t *peer,
    ngx_queue_t *queue)
{
    ngx_http_socketio_peer_t  *other;

    other = NULL;

    while ((other = ngx_http_socketio_backend_each(queue, peer->worker, other))
           != NULL)
    {
        if (other->state == NGX_HTTP_SOCKETIO_PEER_ENDING
            && other->journal == peer->journal
            && other != peer)
        {
            return 1;
        }
    }

    return 0;
}


/* NGX_DECLINED: too long even without the state. */

static ngx_int_t
ngx_http_socketio_backend_journal_parts(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_backend_record_t *head, ngx_str_t *parts)
{
    u_char     *buf;
    ngx_str_t  *origin;

    buf = ngx_http_socketio_backend_journal_buf;

    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_HEAD].data = (u_char *) head;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_HEAD].len =
                                   sizeof(ngx_http_socketio_backend_record_t);
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NAME] =
                                     ngx_http_socketio_peer_lcf(peer)->name;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_USER] = peer->user;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_MEMO] = peer->memo;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NSP].data = peer->nsp;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NSP].len = peer->nsp_len;

    origin = &parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_ORIGIN];

    origin->data = buf;
    origin->len = ngx_http_socketio_origin_length(peer->origin);

    if (ngx_http_socketio_backend_journal_length(parts)
        > NGX_SIO_JOURNAL_MAX)
    {
        ngx_str_null(&parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_MEMO]);

        if (ngx_http_socketio_backend_journal_length(parts)
            > NGX_SIO_JOURNAL_MAX)
        {
            return NGX_DECLINED;
        }
    }

    (void) ngx_http_socketio_origin_write(peer->origin, buf);

    ngx_memzero(head, sizeof(ngx_http_socketio_backend_record_t));

    head->version = NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_VERSION;
    head->seq = peer->seq;
    head->name_len = parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NAME].len;
    head->user_len = parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_USER].len;
    head->memo_len = parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_MEMO].len;
    head->nsp_len = peer->nsp_len;
    head->origin_len = origin->len;
    head->reason = peer->socket ? NGX_SIO_REASON_WORKER_LOST : peer->reason;
    head->websocket = peer->websocket;

    ngx_memcpy(head->sid, peer->sid, NGX_SIO_SOCKET_SID_LEN);

    return NGX_OK;
}


static size_t
ngx_http_socketio_backend_journal_length(ngx_str_t *parts)
{
    size_t      len;
    ngx_uint_t  i;

    len = 0;

    for (i = 0; i < NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS; i++) {
        len += parts[i].len;
    }

    return len;
}


/* Once in a while: there would be one for each client otherwise. */

static void
ngx_http_socketio_backend_journal_warn(ngx_http_socketio_peer_t *peer,
    const char *what)
{
    static time_t  next;

    if (ngx_time() < next) {
        return;
    }

    next = ngx_time() + NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PERIOD;

    ngx_log_error(NGX_LOG_WARN, ngx_http_socketio_backend_log(peer), 0,
                  "socketio: zone \"%V\" %s", &peer->worker->zone->name, what);
}


void
ngx_http_socketio_backend_orphan(ngx_http_socketio_worker_t *w, uint64_t id,
    ngx_str_t *record)
{
    ngx_str_t        parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS], *name;
    ngx_http_socketio_peer_t            *peer;
    ngx_http_socketio_location_t        *location;
    ngx_http_socketio_backend_record_t   head;

    if (ngx_http_socketio_backend_journal_read(record, &head, parts)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "socketio: record %uL of zone \"%V\" is unreadable, a "
                      "disconnect is not told", id, &w->zone->name);
        goto remove;
    }

    name = &parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NAME];

    location = ngx_http_socketio_location_find(name);

    if (location == NULL) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "socketio: a disconnect is not told, since there is no "
                      "location \"%V\" any more, sid: %*s", name,
                      (size_t) NGX_SIO_SOCKET_SID_LEN, head.sid);
        goto remove;
    }

    peer = ngx_http_socketio_backend_journal_peer(w, location, &head, parts);

    if (peer == NULL) {

        /* there may be memory for it later, here or in a sibling */

        ngx_http_socketio_backend_review(w);
        return;
    }

    peer->journal = id;

    /*
     * The backend may still be at work on what the dead has asked last: if that
     * is soon done, the end comes behind it.
     */

    ngx_http_socketio_backend_stall(peer);

    return;

remove:

    (void) ngx_sio_journal_remove(ngx_sio_hub_journal(w->hub), id);
}


void
ngx_http_socketio_backend_review(ngx_http_socketio_worker_t *w)
{
    if (!w->review.timer_set) {
        ngx_add_timer(&w->review, NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_REVIEW);
    }
}


/*
 * Slow, but it is for a worker that was away for ten seconds, or is short of
 * memory.  A record that became ours with a session that moves was passed on
 * behind the entry with the session, so when all has been read it is known
 * whether that session is here.
 */

void
ngx_http_socketio_backend_review_handler(ngx_event_t *ev)
{
    u_char                       buf[NGX_SIO_JOURNAL_MAX];
    uint32_t                     cursor;
    uint64_t                     id;
    ngx_int_t                    rc;
    ngx_str_t                    record;
    ngx_sio_hub_addr_t           self;
    ngx_http_socketio_worker_t  *w;

    w = ev->data;

    cursor = 0;
    self = ngx_sio_hub_self(w->hub);

    record.data = buf;

    do {
        rc = ngx_sio_journal_take(ngx_sio_hub_journal(w->hub), &cursor,
                                  ngx_http_socketio_backend_journal_ours,
                                  &self, self, buf, &id, &record.len);

        if (rc != NGX_OK
            || ngx_http_socketio_backend_journal_here(w, id, &record))
        {
            continue;
        }

        if (ngx_sio_hub_behind(w->hub)) {
            ngx_http_socketio_backend_review(w);
            return;
        }

        ngx_http_socketio_backend_orphan(w, id, &record);

    } while (rc == NGX_OK || rc == NGX_AGAIN);
}


/* Whether somebody here has this record. */

static ngx_uint_t
ngx_http_socketio_backend_journal_here(ngx_http_socketio_worker_t *w,
    uint64_t id, ngx_str_t *record)
{
    ngx_sio_socket_t                    *so;
    ngx_http_socketio_peer_t            *peer;
    ngx_http_socketio_backend_record_t   head;

    if (ngx_http_socketio_backend_journal_used(
            &ngx_http_socketio_backend_flights, w, id)
        || ngx_http_socketio_backend_journal_used(
               &ngx_http_socketio_backend_remotes, w, id)
        || ngx_http_socketio_backend_journal_used(
               &ngx_http_socketio_backend_holds, w, id)
        || ngx_http_socketio_backend_journal_used(
               &ngx_http_socketio_backend_stalls, w, id))
    {
        return 1;
    }

    if (record->len < sizeof(ngx_http_socketio_backend_record_t)) {
        return 0;
    }

    ngx_memcpy(&head, record->data,
               sizeof(ngx_http_socketio_backend_record_t));

    so = ngx_sio_socket_find(&w->engine, head.sid, NGX_SIO_SOCKET_SID_LEN);
    peer = so ? so->data : NULL;

    return peer && peer->journal == id;
}


static ngx_uint_t
ngx_http_socketio_backend_journal_ours(void *data, ngx_sio_hub_addr_t owner)
{
    return ngx_sio_hub_addr_equal(owner, *(ngx_sio_hub_addr_t *) data);
}


static ngx_uint_t
ngx_http_socketio_backend_journal_used(ngx_queue_t *queue,
    ngx_http_socketio_worker_t *w, uint64_t id)
{
    ngx_http_socketio_peer_t  *peer;

    peer = NULL;

    while ((peer = ngx_http_socketio_backend_each(queue, w, peer)) != NULL) {
        if (peer->journal == id) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_socketio_backend_journal_read(ngx_str_t *record,
    ngx_http_socketio_backend_record_t *head, ngx_str_t *parts)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    len = sizeof(ngx_http_socketio_backend_record_t);

    if (record->len < len) {
        return NGX_DECLINED;
    }

    ngx_memcpy(head, record->data, len);

    if (head->version != NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_VERSION
        || head->reason >= NGX_SIO_REASONS)
    {
        return NGX_DECLINED;
    }

    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_HEAD].len = len;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NAME].len = head->name_len;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_USER].len = head->user_len;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_MEMO].len = head->memo_len;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NSP].len = head->nsp_len;
    parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_ORIGIN].len = head->origin_len;

    if (ngx_http_socketio_backend_journal_length(parts) != record->len) {
        return NGX_DECLINED;
    }

    p = record->data;

    for (i = 0; i < NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_PARTS; i++) {
        parts[i].data = p;
        p += parts[i].len;
    }

    return NGX_OK;
}


static ngx_http_socketio_peer_t *
ngx_http_socketio_backend_journal_peer(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_location_t *location,
    ngx_http_socketio_backend_record_t *head, ngx_str_t *parts)
{
    ngx_http_socketio_peer_t    *peer;
    ngx_http_socketio_origin_t  *origin;

    origin = ngx_http_socketio_origin_restore(
                 &parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_ORIGIN],
                 location->srv_conf, location->loc_conf, ngx_cycle->log);

    if (origin == NULL) {
        return NULL;
    }

    peer = ngx_http_socketio_backend_create(w, origin, head->sid,
                                 &parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_NSP]);

    ngx_http_socketio_origin_unref(origin);

    if (peer == NULL) {
        return NULL;
    }

    peer->state = NGX_HTTP_SOCKETIO_PEER_ENDING;
    peer->reason = head->reason;
    peer->websocket = head->websocket;
    peer->seq = head->seq;

    if (ngx_http_socketio_backend_journal_copy(&peer->user,
                         &parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_USER])
        != NGX_OK
        || ngx_http_socketio_backend_journal_copy(&peer->memo,
                         &parts[NGX_HTTP_SOCKETIO_BACKEND_JOURNAL_MEMO])
        != NGX_OK)
    {
        ngx_http_socketio_backend_free(peer);
        return NULL;
    }

    return peer;
}


static ngx_int_t
ngx_http_socketio_backend_journal_copy(ngx_str_t *dst, ngx_str_t *src)
{
    if (src->len == 0) {
        return NGX_OK;
    }

    dst->data = ngx_alloc(src->len, ngx_cycle->log);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, src->data, src->len);
    dst->len = src->len;

    return NGX_OK;
}
