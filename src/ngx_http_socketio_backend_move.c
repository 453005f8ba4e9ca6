
/*
 * A peer moves to another worker with its socket; the outcome of a webhook
 * that is in flight follows it.
 *
 *     W1: flight ----answer---> pass ---REPLY---> W2: remote flight -> finish
 *
 * If the socket has moved on to W3 before, its peer in W2 is still there,
 * MOVED, and passes the outcome on.
 *
 * The journal record travels with the outcome, or with the socket if nothing
 * is in flight: whoever has it tells the end of the client, and nobody does
 * so while the backend is still at work on something older.  So if W2 dies, W1
 * waits for its answer and then tells the end.  If W1 dies, those who find its
 * record tell it at once, and W2 closes the connection without a word.
 *
 * What is in the log is read whether its sender lives or not, so the record is
 * given and taken: by W1 when it has sent, and by W2 when it reads, unless W1
 * has done so, or has died between the two and somebody has found the record.
 */

#include "ngx_http_socketio_peer.h"
#include "ngx_sio_pack.h"


#define NGX_HTTP_SOCKETIO_BACKEND_MOVE_VERSION  1

/* beside ngx_http_socketio_hook_outcome_e: nobody will ever know */
#define NGX_HTTP_SOCKETIO_BACKEND_MOVE_LOST     0xff


/* An entry REPLY, taken apart. */

typedef struct {
    u_char                           *sid;
    ngx_sio_hub_addr_t                from;
    uint32_t                          seq;
    ngx_uint_t                        lost;    /* result means nothing */
    ngx_http_socketio_hook_result_t   result;
} ngx_http_socketio_backend_outcome_t;


static size_t ngx_http_socketio_backend_move_item_length(
    ngx_http_socketio_item_t *item);
static u_char *ngx_http_socketio_backend_move_item(
    ngx_http_socketio_item_t *item, u_char *p);
static ngx_int_t ngx_http_socketio_backend_move_read(
    ngx_http_socketio_peer_t *peer, ngx_str_t *saved,
    ngx_sio_hub_addr_t *from);
static ngx_int_t ngx_http_socketio_backend_move_read_peer(
    ngx_http_socketio_peer_t *peer, u_char **pos, u_char *end,
    ngx_sio_hub_addr_t *from);
static ngx_int_t ngx_http_socketio_backend_move_read_str(ngx_str_t *dst,
    u_char **pos, u_char *end);
static ngx_int_t ngx_http_socketio_backend_move_read_flight(
    ngx_http_socketio_peer_t *peer, u_char **pos, u_char *end,
    ngx_sio_hub_addr_t from);
static ngx_int_t ngx_http_socketio_backend_move_read_item(
    ngx_http_socketio_peer_t *peer, u_char **pos, u_char *end);
static void ngx_http_socketio_backend_move_home(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);
static ngx_int_t ngx_http_socketio_backend_move_decode(ngx_str_t *body,
    ngx_http_socketio_backend_outcome_t *outcome);
static u_char *ngx_http_socketio_backend_move_str(u_char *p, ngx_str_t *str);
static u_char *ngx_http_socketio_backend_move_addr(u_char *p,
    ngx_sio_hub_addr_t addr);
static ngx_int_t ngx_http_socketio_backend_move_read_addr(u_char **pos,
    u_char *end, ngx_sio_hub_addr_t *addr);
static void ngx_http_socketio_backend_move_down(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t *dead);
static void ngx_http_socketio_backend_move_recall(
    ngx_http_socketio_worker_t *w, ngx_queue_t *queue);
static void ngx_http_socketio_backend_move_land(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_move_lost(
    ngx_http_socketio_peer_t *peer);


size_t
ngx_http_socketio_backend_save_length(ngx_sio_socket_t *so)
{
    size_t                     len;
    ngx_http_socketio_item_t  *item;
    ngx_http_socketio_peer_t  *peer;

    peer = so->data;

    if (peer == NULL) {
        return 0;
    }

    len = 7 * sizeof(uint32_t) + sizeof(uint64_t)
          + ngx_sio_pack_str_length(&peer->user)
          + ngx_sio_pack_str_length(&peer->memo);

    if (peer->flight) {
        len += 2 * sizeof(uint32_t) + sizeof(uint64_t)
               + ngx_sio_pack_str_length(&peer->flight->event);
    }

    for (item = peer->inbox; item; item = item->next) {
        len += ngx_http_socketio_backend_move_item_length(item);
    }

    return len;
}


u_char *
ngx_http_socketio_backend_save(ngx_sio_socket_t *so, u_char *p)
{
    ngx_http_socketio_item_t    *item;
    ngx_http_socketio_peer_t    *peer;
    ngx_http_socketio_flight_t  *flight;

    peer = so->data;

    if (peer == NULL) {
        return p;
    }

    p = ngx_sio_pack_u32(p, NGX_HTTP_SOCKETIO_BACKEND_MOVE_VERSION);
    p = ngx_http_socketio_backend_move_addr(p,
                                        ngx_sio_hub_self(peer->worker->hub));
    p = ngx_sio_pack_u32(p, peer->state);
    p = ngx_sio_pack_u32(p, peer->seq);
    p = ngx_sio_pack_u64(p, peer->journal);
    p = ngx_http_socketio_backend_move_str(p, &peer->user);
    p = ngx_http_socketio_backend_move_str(p, &peer->memo);

    flight = peer->flight;

    p = ngx_sio_pack_u32(p, flight != NULL);

    if (flight) {
        p = ngx_sio_pack_u32(p, flight->type);
        p = ngx_sio_pack_u32(p, flight->seq);
        p = ngx_sio_pack_u64(p, flight->id);
        p = ngx_http_socketio_backend_move_str(p, &flight->event);
    }

    p = ngx_sio_pack_u32(p, peer->inbox_n);

    for (item = peer->inbox; item; item = item->next) {
        p = ngx_http_socketio_backend_move_item(item, p);
    }

    return p;
}


static size_t
ngx_http_socketio_backend_move_item_length(ngx_http_socketio_item_t *item)
{
    size_t      len;
    ngx_uint_t  i;

    len = 2 * sizeof(uint32_t) + sizeof(uint64_t)
          + ngx_sio_pack_str_length(&item->event)
          + ngx_sio_pack_str_length(&item->args)
          + ngx_sio_pack_str_length(&item->token);

    for (i = 0; i < item->nattachments; i++) {
        len += ngx_sio_pack_str_length(&item->attachments[i]);
    }

    return len;
}


static u_char *
ngx_http_socketio_backend_move_item(ngx_http_socketio_item_t *item, u_char *p)
{
    ngx_uint_t  i;

    p = ngx_sio_pack_u32(p, item->type);
    p = ngx_sio_pack_u64(p, item->id);
    p = ngx_http_socketio_backend_move_str(p, &item->event);
    p = ngx_http_socketio_backend_move_str(p, &item->args);
    p = ngx_http_socketio_backend_move_str(p, &item->token);
    p = ngx_sio_pack_u32(p, item->nattachments);

    for (i = 0; i < item->nattachments; i++) {
        p = ngx_http_socketio_backend_move_str(p, &item->attachments[i]);
    }

    return p;
}


ngx_int_t
ngx_http_socketio_backend_restore(ngx_sio_socket_t *so, ngx_str_t *saved)
{
    ngx_int_t                  rc;
    ngx_str_t                 *nsp;
    ngx_sio_hub_addr_t         from;
    ngx_http_socketio_peer_t  *peer;

    if (saved->len == 0) {
        return NGX_OK;
    }

    nsp = &so->nsp->node.str;

    if (nsp->len > NGX_HTTP_SOCKETIO_MAX_NAME) {
        return NGX_DECLINED;
    }

    peer = ngx_http_socketio_backend_create(
               ngx_http_socketio_session_worker(so->session),
               so->session->data, so->sid, nsp);

    if (peer == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_socketio_backend_move_read(peer, saved, &from);

    if (rc != NGX_OK) {

        /* its record, if it is ours by now, is left to a sibling */

        ngx_http_socketio_backend_free(peer);
        return rc;
    }

    /* with a webhook under way the record follows behind its outcome */

    if (peer->flight == NULL
        && ngx_http_socketio_backend_journal_claim(peer, from) != NGX_OK)
    {
        ngx_http_socketio_backend_free(peer);
        ngx_sio_session_fail(so->session);
        return NGX_OK;
    }

    peer->socket = so;
    so->data = peer;

    if (ngx_http_socketio_peer_lcf(peer)->webhook == NULL) {

        /* the configuration that it came to wants to hear nothing */

        ngx_http_socketio_backend_drop_inbox(peer);
    }

    ngx_http_socketio_backend_next(peer);
    ngx_http_socketio_backend_pressure(peer);

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_backend_move_read(ngx_http_socketio_peer_t *peer,
    ngx_str_t *saved, ngx_sio_hub_addr_t *from)
{
    u_char     *pos, *end;
    uint32_t    n;
    ngx_int_t   rc;

    pos = saved->data;
    end = saved->data + saved->len;

    rc = ngx_http_socketio_backend_move_read_peer(peer, &pos, end, from);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_backend_move_read_flight(peer, &pos, end,
                                                        *from);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_unpack_u32(&pos, end, &n);
    }

    while (rc == NGX_OK && n-- > 0) {
        rc = ngx_http_socketio_backend_move_read_item(peer, &pos, end);
    }

    return rc;
}


static ngx_int_t
ngx_http_socketio_backend_move_read_peer(ngx_http_socketio_peer_t *peer,
    u_char **pos, u_char *end, ngx_sio_hub_addr_t *from)
{
    uint32_t   version, state;
    ngx_int_t  rc;

    if (ngx_sio_unpack_u32(pos, end, &version) != NGX_OK
        || version != NGX_HTTP_SOCKETIO_BACKEND_MOVE_VERSION
        || ngx_http_socketio_backend_move_read_addr(pos, end, from) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &state) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &peer->seq) != NGX_OK
        || ngx_sio_unpack_u64(pos, end, &peer->journal) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    /* others have no socket that could move */

    if (state != NGX_HTTP_SOCKETIO_PEER_CONNECTING
        && state != NGX_HTTP_SOCKETIO_PEER_OPEN)
    {
        return NGX_DECLINED;
    }

    peer->state = state;

    rc = ngx_http_socketio_backend_move_read_str(&peer->user, pos, end);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_socketio_backend_move_read_str(&peer->memo, pos, end);
}


static ngx_int_t
ngx_http_socketio_backend_move_read_str(ngx_str_t *dst, u_char **pos,
    u_char *end)
{
    ngx_str_t  str;

    if (ngx_sio_unpack_str(pos, end, &str) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (str.len == 0) {
        return NGX_OK;
    }

    dst->data = ngx_alloc(str.len, ngx_cycle->log);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, str.data, str.len);
    dst->len = str.len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_backend_move_read_flight(ngx_http_socketio_peer_t *peer,
    u_char **pos, u_char *end, ngx_sio_hub_addr_t from)
{
    uint32_t                     present, type, seq;
    uint64_t                     id;
    ngx_http_socketio_item_t     item;
    ngx_http_socketio_flight_t  *flight;

    if (ngx_sio_unpack_u32(pos, end, &present) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (!present) {
        return (peer->state == NGX_HTTP_SOCKETIO_PEER_OPEN) ? NGX_OK
                                                            : NGX_DECLINED;
    }

    if (ngx_sio_unpack_u32(pos, end, &type) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &seq) != NGX_OK
        || ngx_sio_unpack_u64(pos, end, &id) != NGX_OK
        || (type == NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT)
           != (peer->state == NGX_HTTP_SOCKETIO_PEER_CONNECTING)
        || type >= NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT)
    {
        return NGX_DECLINED;
    }

    ngx_memzero(&item, sizeof(ngx_http_socketio_item_t));

    item.type = type;
    item.id = id;

    flight = ngx_http_socketio_backend_flight(peer, &item);
    if (flight == NULL) {
        return NGX_ERROR;
    }

    flight->seq = seq;
    flight->from = from;

    ngx_http_socketio_backend_remote(flight);

    return ngx_http_socketio_backend_move_read_str(&flight->event, pos, end);
}


static ngx_int_t
ngx_http_socketio_backend_move_read_item(ngx_http_socketio_peer_t *peer,
    u_char **pos, u_char *end)
{
    uint32_t                   type, n, i;
    ngx_int_t                  rc;
    ngx_http_socketio_item_t   item, *copy;

    ngx_memzero(&item, sizeof(ngx_http_socketio_item_t));

    if (ngx_sio_unpack_u32(pos, end, &type) != NGX_OK
        || ngx_sio_unpack_u64(pos, end, &item.id) != NGX_OK
        || ngx_sio_unpack_str(pos, end, &item.event) != NGX_OK
        || ngx_sio_unpack_str(pos, end, &item.args) != NGX_OK
        || ngx_sio_unpack_str(pos, end, &item.token) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &n) != NGX_OK
        || n > (size_t) (end - *pos) / sizeof(uint32_t)
        || (type != NGX_HTTP_SOCKETIO_WEBHOOK_EVENT
            && type != NGX_HTTP_SOCKETIO_WEBHOOK_ACK))
    {
        return NGX_DECLINED;
    }

    item.type = type;

    if (n) {
        item.attachments = ngx_alloc(n * sizeof(ngx_str_t), ngx_cycle->log);
        if (item.attachments == NULL) {
            return NGX_ERROR;
        }
    }

    rc = NGX_OK;

    for (i = 0; i < n && rc == NGX_OK; i++) {
        rc = ngx_sio_unpack_str(pos, end, &item.attachments[i]);
    }

    item.nattachments = n;

    copy = (rc == NGX_OK) ? ngx_http_socketio_backend_copy(&item,
                                                           ngx_cycle->log)
                          : NULL;
    if (n) {
        ngx_free(item.attachments);
    }

    if (copy == NULL) {
        return (rc == NGX_OK) ? NGX_ERROR : rc;
    }

    ngx_http_socketio_backend_push(peer, copy);

    return NGX_OK;
}


void
ngx_http_socketio_backend_moved(ngx_sio_socket_t *so, ngx_sio_hub_addr_t to)
{
    ngx_sio_hub_t             *hub;
    ngx_http_socketio_peer_t  *peer;

    peer = so->data;

    if (peer == NULL) {
        return;
    }

    hub = peer->worker->hub;

    if (!ngx_sio_hub_alive(hub, to)
        && (peer->flight != NULL
            || ngx_http_socketio_backend_journal_recall(peer,
                                                        ngx_sio_hub_self(hub))
               == NGX_OK))
    {
        /* nobody is there to take it up, but its end can be told from here */

        ngx_http_socketio_backend_disconnect(so, NGX_SIO_REASON_WORKER_LOST);
        return;
    }

    if (peer->flight == NULL) {

        if (ngx_http_socketio_backend_journal_give(peer, to) != NGX_OK) {
            ngx_http_socketio_backend_disconnect(so,
                                                 NGX_SIO_REASON_WORKER_LOST);
            return;
        }

        so->data = NULL;
        ngx_http_socketio_backend_free(peer);
        return;
    }

    so->data = NULL;

    peer->state = NGX_HTTP_SOCKETIO_PEER_MOVED;
    peer->socket = NULL;
    peer->flight->to = to;

    ngx_http_socketio_backend_drop_inbox(peer);
}


void
ngx_http_socketio_backend_pass(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_http_socketio_flight_t  *flight;

    flight = peer->flight;

    if (!ngx_sio_hub_alive(peer->worker->hub, flight->to)) {
        ngx_http_socketio_backend_move_home(peer, result);
        return;
    }

    /* without memory pass_again() makes a failure of it, later */

    if (ngx_http_socketio_backend_keep(peer, result) != NGX_OK) {
        ngx_http_socketio_backend_stall(peer);
        return;
    }

    ngx_http_socketio_backend_pass_again(peer);
}


void
ngx_http_socketio_backend_pass_again(ngx_http_socketio_peer_t *peer)
{
    ngx_int_t                         rc;
    ngx_sio_hub_t                    *hub;
    ngx_http_socketio_flight_t       *flight;
    ngx_http_socketio_hook_result_t   failed, result;

    hub = peer->worker->hub;
    flight = peer->flight;

    ngx_memzero(&failed, sizeof(ngx_http_socketio_hook_result_t));
    failed.outcome = NGX_HTTP_SOCKETIO_HOOK_BROKEN;
    failed.reason = "no memory";

    if (!ngx_sio_hub_alive(hub, flight->to)) {

        if (!ngx_http_socketio_backend_kept(peer, &result)) {
            result = failed;
        }

        ngx_http_socketio_backend_move_home(peer, &result);
        return;
    }

    if (flight->reply.data == NULL
        && ngx_http_socketio_backend_keep(peer, &failed) != NGX_OK)
    {
        ngx_http_socketio_backend_stall(peer);
        return;
    }

    /* the journal record goes where the outcome is, so that must be there */

    rc = ngx_sio_hub_append(hub, NGX_HTTP_SOCKETIO_REPLY, NGX_SIO_HUB_NOW,
                            flight->to, &flight->reply, 1, NULL);

    if (rc == NGX_DECLINED) {
        failed.outcome = NGX_HTTP_SOCKETIO_HOOK_FAILED;
        failed.reason = "the answer is too large for the zone";

        if (ngx_http_socketio_backend_keep(peer, &failed) == NGX_OK) {
            rc = ngx_sio_hub_append(hub, NGX_HTTP_SOCKETIO_REPLY,
                                    NGX_SIO_HUB_NOW, flight->to,
                                    &flight->reply, 1, NULL);
        }
    }

    if (rc != NGX_OK) {
        ngx_http_socketio_backend_stall(peer);
        return;
    }

    if (!flight->lost
        && ngx_http_socketio_backend_journal_give(peer, flight->to) != NGX_OK)
    {
        if (!ngx_http_socketio_backend_kept(peer, &result)) {
            result = failed;
        }

        ngx_http_socketio_backend_move_home(peer, &result);
        return;
    }

    ngx_http_socketio_backend_free(peer);
}


/* The worker that the socket went to has died, so the end is ours to tell. */

static void
ngx_http_socketio_backend_move_home(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    if (peer->flight->lost) {
        ngx_http_socketio_backend_free(peer);
        return;
    }

    peer->reason = NGX_SIO_REASON_WORKER_LOST;

    peer->state =
                (peer->flight->type == NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT)
                ? NGX_HTTP_SOCKETIO_PEER_ABANDONED
                : NGX_HTTP_SOCKETIO_PEER_ENDING;

    ngx_http_socketio_backend_finish(peer, result);
}


/* In the form of an entry REPLY: the socket may move while it is kept. */

ngx_int_t
ngx_http_socketio_backend_keep(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    u_char                      *p;
    ngx_str_t                    reason, reply;
    ngx_http_socketio_flight_t  *flight;

    flight = peer->flight;

    reason.data = (u_char *) (result->reason ? result->reason : "");
    reason.len = ngx_strlen(reason.data) + 1;

    reply.len = NGX_SIO_SOCKET_SID_LEN + 6 * sizeof(uint32_t)
                + ngx_sio_pack_str_length(&reason)
                + ngx_sio_pack_str_length(&result->body);

    reply.data = ngx_alloc(reply.len, ngx_http_socketio_backend_log(peer));
    if (reply.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sio_pack(reply.data, peer->sid, NGX_SIO_SOCKET_SID_LEN);
    p = ngx_http_socketio_backend_move_addr(p,
                                        ngx_sio_hub_self(peer->worker->hub));
    p = ngx_sio_pack_u32(p, flight->seq);
    p = ngx_sio_pack_u32(p, flight->lost
                            ? NGX_HTTP_SOCKETIO_BACKEND_MOVE_LOST
                            : result->outcome);
    p = ngx_sio_pack_u32(p, result->status);
    p = ngx_sio_pack_u32(p, result->time);
    p = ngx_http_socketio_backend_move_str(p, &reason);
    (void) ngx_http_socketio_backend_move_str(p, &result->body);

    /* the result may have been a part of it */

    if (flight->reply.data) {
        ngx_free(flight->reply.data);
    }

    flight->reply = reply;

    return NGX_OK;
}


ngx_uint_t
ngx_http_socketio_backend_kept(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_http_socketio_backend_outcome_t  outcome;

    if (peer->flight->reply.data == NULL
        || ngx_http_socketio_backend_move_decode(&peer->flight->reply,
                                                 &outcome)
           != NGX_OK)
    {
        return 0;
    }

    *result = outcome.result;

    return 1;
}


void
ngx_http_socketio_backend_reply(ngx_http_socketio_worker_t *w, ngx_str_t *body)
{
    ngx_http_socketio_peer_t             *peer;
    ngx_http_socketio_backend_outcome_t   outcome;

    if (ngx_http_socketio_backend_move_decode(body, &outcome) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "socketio: malformed webhook outcome from a worker");
        return;
    }

    peer = NULL;

    while ((peer = ngx_http_socketio_backend_each(
                       &ngx_http_socketio_backend_remotes, w, peer))
           != NULL)
    {
        if (peer->flight->seq == outcome.seq
            && ngx_sio_hub_addr_equal(peer->flight->from, outcome.from)
            && ngx_memcmp(peer->sid, outcome.sid, NGX_SIO_SOCKET_SID_LEN) == 0)
        {
            if (outcome.lost
                || ngx_http_socketio_backend_journal_claim(peer, outcome.from)
                   != NGX_OK)
            {
                ngx_http_socketio_backend_move_lost(peer);

            } else {
                ngx_http_socketio_backend_move_land(peer, &outcome.result);
            }

            return;
        }
    }

    /* the session could not be restored here */

    ngx_http_socketio_backend_review(w);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "socketio webhook outcome for nobody, seq %uD",
                   outcome.seq);
}


static ngx_int_t
ngx_http_socketio_backend_move_decode(ngx_str_t *body,
    ngx_http_socketio_backend_outcome_t *outcome)
{
    u_char     *pos, *end;
    uint32_t    code, status, time;
    ngx_str_t   reason;

    ngx_memzero(outcome, sizeof(ngx_http_socketio_backend_outcome_t));

    if (body->len < NGX_SIO_SOCKET_SID_LEN) {
        return NGX_DECLINED;
    }

    outcome->sid = body->data;

    pos = body->data + NGX_SIO_SOCKET_SID_LEN;
    end = body->data + body->len;

    if (ngx_http_socketio_backend_move_read_addr(&pos, end, &outcome->from)
        != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &outcome->seq) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &code) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &status) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &time) != NGX_OK
        || ngx_sio_unpack_str(&pos, end, &reason) != NGX_OK
        || reason.len == 0 || reason.data[reason.len - 1] != '\0'
        || ngx_sio_unpack_str(&pos, end, &outcome->result.body) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    outcome->lost = (code == NGX_HTTP_SOCKETIO_BACKEND_MOVE_LOST);

    outcome->result.outcome = code;
    outcome->result.status = status;
    outcome->result.time = time;
    outcome->result.reason = (char *) reason.data;

    return NGX_OK;
}


static u_char *
ngx_http_socketio_backend_move_str(u_char *p, ngx_str_t *str)
{
    /* an empty one may have no address at all */

    return str->len ? ngx_sio_pack_str(p, str) : ngx_sio_pack_u32(p, 0);
}


static u_char *
ngx_http_socketio_backend_move_addr(u_char *p, ngx_sio_hub_addr_t addr)
{
    p = ngx_sio_pack_u32(p, addr.slot);

    return ngx_sio_pack_u32(p, addr.generation);
}


static ngx_int_t
ngx_http_socketio_backend_move_read_addr(u_char **pos, u_char *end,
    ngx_sio_hub_addr_t *addr)
{
    uint32_t  slot, generation;

    if (ngx_sio_unpack_u32(pos, end, &slot) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &generation) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *addr = ngx_sio_hub_addr(slot, generation);

    return NGX_OK;
}


void
ngx_http_socketio_backend_down(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t dead)
{
    ngx_http_socketio_backend_move_down(w, &dead);
}


void
ngx_http_socketio_backend_lost(ngx_http_socketio_worker_t *w)
{
    ngx_sio_engine_close(&w->engine, NGX_SIO_REASON_TRANSPORT_ERROR);

    ngx_http_socketio_backend_move_down(w, NULL);

    /* those that were to hear from us have been told that we are no more */

    ngx_http_socketio_backend_move_recall(w,
                                          &ngx_http_socketio_backend_flights);
    ngx_http_socketio_backend_move_recall(w,
                                          &ngx_http_socketio_backend_holds);
    ngx_http_socketio_backend_move_recall(w,
                                          &ngx_http_socketio_backend_stalls);

    ngx_http_socketio_backend_review(w);
}


/* dead NULL: whoever it is that they wait for */

static void
ngx_http_socketio_backend_move_down(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t *dead)
{
    ngx_queue_t                queue, *q, *next;
    ngx_http_socketio_peer_t  *peer;

    /* the end of one may be the end of others, so they are set aside first */

    ngx_queue_init(&queue);

    for (q = ngx_queue_head(&ngx_http_socketio_backend_remotes);
         q != ngx_queue_sentinel(&ngx_http_socketio_backend_remotes);
         q = next)
    {
        next = ngx_queue_next(q);
        peer = ngx_queue_data(q, ngx_http_socketio_peer_t, queue);

        if (peer->worker == w
            && (dead == NULL
                || ngx_sio_hub_addr_equal(peer->flight->from, *dead)))
        {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&queue, q);
        }
    }

    while (!ngx_queue_empty(&queue)) {
        q = ngx_queue_head(&queue);
        peer = ngx_queue_data(q, ngx_http_socketio_peer_t, queue);

        ngx_http_socketio_backend_move_lost(peer);
    }
}


static void
ngx_http_socketio_backend_move_recall(ngx_http_socketio_worker_t *w,
    ngx_queue_t *queue)
{
    ngx_http_socketio_peer_t  *peer;

    peer = NULL;

    while ((peer = ngx_http_socketio_backend_each(queue, w, peer)) != NULL) {
        if (peer->state == NGX_HTTP_SOCKETIO_PEER_MOVED) {
            /* an address that is nobody's */
            peer->flight->to = ngx_sio_hub_addr(NGX_SIO_HUB_ALL, 0);
        }
    }
}


/*
 * All of these take the peer out of its queue: it is freed, or what it was
 * waiting for has come, or it stalls.
 */

static void
ngx_http_socketio_backend_move_land(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    if (peer->state == NGX_HTTP_SOCKETIO_PEER_MOVED) {
        ngx_http_socketio_backend_pass(peer, result);
        return;
    }

    ngx_http_socketio_backend_finish(peer, result);
}


/* The outcome died with the worker that had the journal record, too. */

static void
ngx_http_socketio_backend_move_lost(ngx_http_socketio_peer_t *peer)
{
    ngx_http_socketio_hook_result_t  failed;

    if (peer->state != NGX_HTTP_SOCKETIO_PEER_MOVED) {
        ngx_http_socketio_backend_forget(peer);
        return;
    }

    ngx_memzero(&failed, sizeof(ngx_http_socketio_hook_result_t));
    failed.outcome = NGX_HTTP_SOCKETIO_HOOK_FAILED;
    failed.reason = "its worker has died";

    peer->flight->lost = 1;

    ngx_http_socketio_backend_pass(peer, &failed);
}
