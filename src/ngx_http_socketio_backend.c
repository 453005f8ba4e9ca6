#include "ngx_http_socketio_peer.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"


/* msec until what lacked memory, or room in the log, is tried again */
#define NGX_HTTP_SOCKETIO_BACKEND_STALL      500

/* msec for which a disconnect webhook is repeated */
#define NGX_HTTP_SOCKETIO_BACKEND_RETRY_FOR  (5 * 60 * 1000)

/* octets of an event's name in a line of the error log */
#define NGX_HTTP_SOCKETIO_BACKEND_LOG_NAME   64


static char *ngx_http_socketio_backend_ask(ngx_http_socketio_peer_t *peer,
    ngx_str_t *auth);
static void ngx_http_socketio_backend_take(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item);
static ngx_int_t ngx_http_socketio_backend_start(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_item_t *item);
static void ngx_http_socketio_backend_id(ngx_http_socketio_flight_t *flight);
static void ngx_http_socketio_backend_ctx(ngx_http_socketio_flight_t *flight);
static void ngx_http_socketio_backend_flight_free(
    ngx_http_socketio_flight_t *flight);
static void ngx_http_socketio_backend_leave(ngx_http_socketio_peer_t *peer,
    ngx_sio_session_t *s);
static void ngx_http_socketio_backend_left(ngx_http_socketio_peer_t *peer);
static u_char *ngx_http_socketio_backend_copy_str(u_char *p, ngx_str_t *dst,
    ngx_str_t *src);
static void ngx_http_socketio_backend_shift(ngx_http_socketio_peer_t *peer);
static void ngx_http_socketio_backend_stalled(ngx_event_t *ev);
static u_char *ngx_http_socketio_backend_log_client(ngx_log_t *log,
    u_char *buf, size_t len);
static u_char *ngx_http_socketio_backend_log_flight(void *data, u_char *buf,
    size_t len);
static u_char *ngx_http_socketio_backend_log_peer(
    ngx_http_socketio_peer_t *peer, u_char *buf, size_t len);
static u_char *ngx_http_socketio_backend_log_name(u_char *p, u_char *last,
    u_char *name, size_t len);


ngx_str_t
    ngx_http_socketio_backend_types[NGX_HTTP_SOCKETIO_WEBHOOKS] = {
    ngx_string("connect"),
    ngx_string("event"),
    ngx_string("ack"),
    ngx_string("disconnect")
};


/*
 * Peers with something under way, of all zones of this process: each is in at
 * most one of these.
 */

ngx_queue_t  ngx_http_socketio_backend_flights = {
    &ngx_http_socketio_backend_flights, &ngx_http_socketio_backend_flights
};

ngx_queue_t  ngx_http_socketio_backend_remotes = {
    &ngx_http_socketio_backend_remotes, &ngx_http_socketio_backend_remotes
};

ngx_queue_t  ngx_http_socketio_backend_holds = {
    &ngx_http_socketio_backend_holds, &ngx_http_socketio_backend_holds
};

ngx_queue_t  ngx_http_socketio_backend_stalls = {
    &ngx_http_socketio_backend_stalls, &ngx_http_socketio_backend_stalls
};

static ngx_event_t  ngx_http_socketio_backend_timer;


void
ngx_http_socketio_backend_connect(ngx_sio_socket_t *so, ngx_str_t *auth)
{
    ngx_str_t                        *nsp;
    ngx_http_socketio_peer_t         *peer;
    ngx_http_socketio_origin_t       *origin;
    ngx_http_socketio_loc_conf_t     *lcf;
    ngx_http_socketio_hook_result_t   broken;

    static ngx_str_t  invalid = ngx_string("Invalid namespace");

    origin = so->session->data;
    lcf = origin->loc_conf[ngx_http_socketio_module.ctx_index];
    nsp = &so->nsp->node.str;

    if (lcf->webhook == NULL) {
        ngx_sio_socket_accept(so);
        return;
    }

    /* a pattern may admit any, but a name has to fit wherever it is kept */

    if (nsp->len > NGX_HTTP_SOCKETIO_MAX_NAME) {
        ngx_sio_socket_refuse(so, &invalid, NULL);
        return;
    }

    peer = ngx_http_socketio_backend_create(
               ngx_http_socketio_session_worker(so->session), origin, so->sid,
               nsp);

    if (peer == NULL) {
        ngx_sio_session_close(so->session, NGX_SIO_REASON_FORCED_SERVER_CLOSE);
        return;
    }

    peer->socket = so;
    so->data = peer;

    ngx_memzero(&broken, sizeof(ngx_http_socketio_hook_result_t));

    broken.outcome = NGX_HTTP_SOCKETIO_HOOK_BROKEN;
    broken.reason = ngx_http_socketio_backend_ask(peer, auth);

    if (broken.reason) {
        ngx_http_socketio_backend_failed(peer, &broken);
        return;
    }

    if (peer->flight == NULL) {
        peer->state = NGX_HTTP_SOCKETIO_PEER_OPEN;
        ngx_sio_socket_accept(so);
    }
}


/* Sends the connect webhook if one is wanted; what went wrong, or NULL. */

static char *
ngx_http_socketio_backend_ask(ngx_http_socketio_peer_t *peer, ngx_str_t *auth)
{
    ngx_http_socketio_item_t       item;
    ngx_http_socketio_loc_conf_t  *lcf;

    lcf = ngx_http_socketio_peer_lcf(peer);

    if (ngx_http_socketio_peer_wants(lcf, NGX_HTTP_SOCKETIO_CONNECT)) {

        ngx_memzero(&item, sizeof(ngx_http_socketio_item_t));

        item.type = NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT;
        item.id = NGX_SIO_PACKET_NO_ID;
        item.args = *auth;

        if (ngx_http_socketio_backend_start(peer, &item) != NGX_OK) {
            return "no memory";
        }
    }

    /*
     * The record is made before the backend hears of the client: once it has
     * accepted, its disconnect is owed, even if this worker is killed before
     * it reads the answer.
     */

    if (ngx_http_socketio_peer_wants(lcf, NGX_HTTP_SOCKETIO_DISCONNECT)
        && ngx_http_socketio_backend_journal_write(peer) != NGX_OK)
    {
        return "its end could not be remembered";
    }

    return NULL;
}


void
ngx_http_socketio_backend_event(ngx_sio_socket_t *so, ngx_str_t *event,
    ngx_str_t *args, uint64_t id, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_http_socketio_item_t   item;
    ngx_http_socketio_peer_t  *peer;

    peer = so->data;

    if (peer == NULL
        || !ngx_http_socketio_peer_wants(ngx_http_socketio_peer_lcf(peer),
                                         NGX_HTTP_SOCKETIO_EVENT))
    {
        return;
    }

    ngx_memzero(&item, sizeof(ngx_http_socketio_item_t));

    item.type = NGX_HTTP_SOCKETIO_WEBHOOK_EVENT;
    item.id = id;
    item.event = *event;
    item.args = *args;
    item.attachments = attachments;
    item.nattachments = n;

    ngx_http_socketio_backend_take(peer, &item);
}


void
ngx_http_socketio_backend_ack(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_http_socketio_item_t   item;
    ngx_http_socketio_peer_t  *peer;

    peer = so->data;

    if (peer == NULL
        || !ngx_http_socketio_peer_wants(ngx_http_socketio_peer_lcf(peer),
                                         NGX_HTTP_SOCKETIO_ACK))
    {
        return;
    }

    ngx_memzero(&item, sizeof(ngx_http_socketio_item_t));

    item.type = NGX_HTTP_SOCKETIO_WEBHOOK_ACK;
    item.id = NGX_SIO_PACKET_NO_ID;
    item.token = ack->token;
    item.args = *args;
    item.attachments = attachments;
    item.nattachments = n;

    ngx_http_socketio_backend_take(peer, &item);
}


void
ngx_http_socketio_backend_disconnect(ngx_sio_socket_t *so, ngx_uint_t reason)
{
    ngx_http_socketio_peer_t  *peer;

    peer = so->data;

    if (peer == NULL) {
        return;
    }

    so->data = NULL;

    peer->socket = NULL;
    peer->reason = reason;
    peer->websocket =
              (ngx_sio_session_transport(so->session)->len
               == sizeof("websocket") - 1);

    peer->state = (peer->state == NGX_HTTP_SOCKETIO_PEER_CONNECTING)
                  ? NGX_HTTP_SOCKETIO_PEER_ABANDONED
                  : NGX_HTTP_SOCKETIO_PEER_ENDING;

    /* now its reason is known, should somebody else have to tell it */

    if (peer->journal) {
        (void) ngx_http_socketio_backend_journal_write(peer);
    }

    if (!so->session->closing) {
        ngx_http_socketio_backend_leave(peer, so->session);
    }

    ngx_http_socketio_backend_next(peer);
}


/*
 * A client may enter a namespace and leave it again as fast as it can write,
 * and each time there are webhooks, and a record of the journal: so many that
 * wait press like the events of one socket.
 */

static void
ngx_http_socketio_backend_leave(ngx_http_socketio_peer_t *peer,
    ngx_sio_session_t *s)
{
    ngx_http_socketio_origin_t  *origin;

    origin = peer->origin;

    ngx_sio_session_ref(s);

    peer->session = s;
    origin->left++;

    if (!origin->crowded
        && origin->left > ngx_http_socketio_peer_lcf(peer)->webhook_queue)
    {
        origin->crowded = 1;
        ngx_sio_session_pause(s);
    }
}


static void
ngx_http_socketio_backend_left(ngx_http_socketio_peer_t *peer)
{
    ngx_sio_session_t           *s;
    ngx_http_socketio_origin_t  *origin;

    s = peer->session;
    origin = peer->origin;

    peer->session = NULL;
    origin->left--;

    if (origin->crowded
        && origin->left <= ngx_http_socketio_peer_lcf(peer)->webhook_queue / 2)
    {
        origin->crowded = 0;
        ngx_sio_session_resume(s);
    }

    ngx_sio_session_unref(s);
}


ngx_str_t *
ngx_http_socketio_backend_user(ngx_sio_socket_t *so)
{
    ngx_http_socketio_peer_t  *peer;

    static ngx_str_t  nobody = ngx_null_string;

    peer = so->data;

    return peer ? &peer->user : &nobody;
}


ngx_uint_t
ngx_http_socketio_backend_busy(ngx_http_socketio_worker_t *w)
{
    return ngx_http_socketio_backend_each(&ngx_http_socketio_backend_flights,
                                          w, NULL)
               != NULL
           || ngx_http_socketio_backend_each(
                              &ngx_http_socketio_backend_remotes, w, NULL)
               != NULL;
}


ngx_http_socketio_peer_t *
ngx_http_socketio_backend_each(ngx_queue_t *queue,
    ngx_http_socketio_worker_t *w, ngx_http_socketio_peer_t *peer)
{
    ngx_queue_t  *q;

    q = peer ? &peer->queue : queue;

    while ((q = ngx_queue_next(q)) != ngx_queue_sentinel(queue)) {
        peer = ngx_queue_data(q, ngx_http_socketio_peer_t, queue);

        if (peer->worker == w) {
            return peer;
        }
    }

    return NULL;
}


ngx_http_socketio_peer_t *
ngx_http_socketio_backend_create(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_origin_t *origin, u_char *sid, ngx_str_t *nsp)
{
    ngx_http_socketio_peer_t  *peer;

    peer = ngx_calloc(offsetof(ngx_http_socketio_peer_t, nsp) + nsp->len + 1,
                      ngx_cycle->log);
    if (peer == NULL) {
        return NULL;
    }

    peer->worker = w;
    peer->origin = ngx_http_socketio_origin_ref(origin);
    peer->inbox_last = &peer->inbox;
    peer->nsp_len = nsp->len;

    ngx_memcpy(peer->sid, sid, NGX_SIO_SOCKET_SID_LEN);
    ngx_memcpy(peer->nsp, nsp->data, nsp->len);

    return peer;
}


void
ngx_http_socketio_backend_free(ngx_http_socketio_peer_t *peer)
{
    ngx_http_socketio_backend_land(peer);
    ngx_http_socketio_backend_drop_inbox(peer);

    if (peer->session) {
        ngx_http_socketio_backend_left(peer);
    }

    if (peer->user.data) {
        ngx_free(peer->user.data);
    }

    if (peer->memo.data) {
        ngx_free(peer->memo.data);
    }

    ngx_http_socketio_origin_unref(peer->origin);

    ngx_free(peer);
}


void
ngx_http_socketio_backend_discard(ngx_http_socketio_peer_t *peer)
{
    if (peer->socket) {
        peer->socket->data = NULL;
    }

    ngx_http_socketio_backend_journal_remove(peer);
    ngx_http_socketio_backend_free(peer);
}


/* What has come from a client, borrowed. */

static void
ngx_http_socketio_backend_take(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item)
{
    ngx_http_socketio_item_t  *copy;

    if (peer->flight == NULL && peer->inbox == NULL
        && ngx_http_socketio_backend_start(peer, item) == NGX_OK)
    {
        return;
    }

    copy = ngx_http_socketio_backend_copy(item,
                                          ngx_http_socketio_backend_log(peer));
    if (copy == NULL) {

        /* an event that is lost in silence is worse than a new connection */

        ngx_sio_session_close(peer->socket->session,
                              NGX_SIO_REASON_FORCED_SERVER_CLOSE);
        return;
    }

    ngx_http_socketio_backend_push(peer, copy);

    if (peer->flight == NULL) {
        ngx_http_socketio_backend_stall(peer);
    }

    ngx_http_socketio_backend_pressure(peer);
}


ngx_http_socketio_item_t *
ngx_http_socketio_backend_copy(ngx_http_socketio_item_t *item, ngx_log_t *log)
{
    u_char                    *p;
    size_t                     size;
    ngx_uint_t                 i;
    ngx_http_socketio_item_t  *copy;

    /* all parts are in memory now, so their sum cannot overflow */

    size = sizeof(ngx_http_socketio_item_t)
           + item->nattachments * sizeof(ngx_str_t)
           + item->event.len + item->args.len + item->token.len;

    for (i = 0; i < item->nattachments; i++) {
        size += item->attachments[i].len;
    }

    copy = ngx_alloc(size, log);
    if (copy == NULL) {
        return NULL;
    }

    *copy = *item;

    copy->next = NULL;
    copy->size = size;
    copy->attachments = (ngx_str_t *) (copy + 1);

    p = (u_char *) (copy->attachments + item->nattachments);

    p = ngx_http_socketio_backend_copy_str(p, &copy->event, &item->event);
    p = ngx_http_socketio_backend_copy_str(p, &copy->args, &item->args);
    p = ngx_http_socketio_backend_copy_str(p, &copy->token, &item->token);

    for (i = 0; i < item->nattachments; i++) {
        p = ngx_http_socketio_backend_copy_str(p, &copy->attachments[i],
                                               &item->attachments[i]);
    }

    return copy;
}


static u_char *
ngx_http_socketio_backend_copy_str(u_char *p, ngx_str_t *dst, ngx_str_t *src)
{
    dst->data = p;
    dst->len = src->len;

    return src->len ? ngx_cpymem(p, src->data, src->len) : p;
}


void
ngx_http_socketio_backend_push(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item)
{
    *peer->inbox_last = item;
    peer->inbox_last = &item->next;

    peer->inbox_n++;
    peer->inbox_size += item->size;
}


static void
ngx_http_socketio_backend_shift(ngx_http_socketio_peer_t *peer)
{
    ngx_http_socketio_item_t  *item;

    item = peer->inbox;
    peer->inbox = item->next;

    if (peer->inbox == NULL) {
        peer->inbox_last = &peer->inbox;
    }

    peer->inbox_n--;
    peer->inbox_size -= item->size;

    ngx_free(item);
}


void
ngx_http_socketio_backend_drop_inbox(ngx_http_socketio_peer_t *peer)
{
    while (peer->inbox) {
        ngx_http_socketio_backend_shift(peer);
    }
}


/*
 * Few large events press like many small ones.  Reading goes on at half of
 * the limit, so that a busy client does not flap; in it the socket may end,
 * and the peer with it.
 */

void
ngx_http_socketio_backend_pressure(ngx_http_socketio_peer_t *peer)
{
    ngx_sio_socket_t              *so;
    ngx_http_socketio_loc_conf_t  *lcf;

    so = peer->socket;
    lcf = ngx_http_socketio_peer_lcf(peer);

    if (peer->inbox_n > lcf->webhook_queue
        || peer->inbox_size > lcf->max_payload)
    {
        ngx_sio_socket_pause(so);
        return;
    }

    if (so->paused
        && peer->inbox_n <= lcf->webhook_queue / 2
        && peer->inbox_size <= lcf->max_payload / 2)
    {
        ngx_sio_socket_resume(so);
    }
}


void
ngx_http_socketio_backend_next(ngx_http_socketio_peer_t *peer)
{
    ngx_http_socketio_item_t  end;

    if (peer->flight) {
        return;
    }

    if (peer->inbox) {

        if (ngx_http_socketio_backend_start(peer, peer->inbox) == NGX_OK) {
            ngx_http_socketio_backend_shift(peer);

        } else {
            ngx_http_socketio_backend_stall(peer);
        }

        return;
    }

    if (peer->state != NGX_HTTP_SOCKETIO_PEER_ENDING) {
        return;
    }

    if (!ngx_http_socketio_peer_wants(ngx_http_socketio_peer_lcf(peer),
                                      NGX_HTTP_SOCKETIO_DISCONNECT))
    {
        ngx_http_socketio_backend_discard(peer);
        return;
    }

    ngx_memzero(&end, sizeof(ngx_http_socketio_item_t));

    end.type = NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT;
    end.id = NGX_SIO_PACKET_NO_ID;

    if (ngx_http_socketio_backend_start(peer, &end) != NGX_OK) {
        ngx_http_socketio_backend_stall(peer);
    }
}


/* NGX_OK: under way; NGX_ERROR: nothing has changed. */

static ngx_int_t
ngx_http_socketio_backend_start(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item)
{
    ngx_http_socketio_hook_t    *hook;
    ngx_http_socketio_flight_t  *flight;

    flight = ngx_http_socketio_backend_flight(peer, item);
    if (flight == NULL) {
        return NGX_ERROR;
    }

    hook = &flight->hook;

    if (ngx_http_socketio_hook_init(hook, peer->origin) != NGX_OK) {
        goto failed;
    }

    hook->ctx = &flight->ctx;
    hook->handler = ngx_http_socketio_backend_outcome;
    hook->log = ngx_http_socketio_backend_log_flight;
    hook->data = flight;

    if (flight->type == NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT) {
        ngx_http_socketio_backend_id(flight);
        hook->retry_for = NGX_HTTP_SOCKETIO_BACKEND_RETRY_FOR;
        hook->readable = ngx_http_socketio_backend_outcome_readable;
    }

    ngx_http_socketio_backend_ctx(flight);

    if (ngx_http_socketio_backend_body(flight, item, &hook->body) != NGX_OK
        || ngx_http_socketio_hook_send(hook) != NGX_OK)
    {
        ngx_http_socketio_hook_done(hook);
        goto failed;
    }

    peer->flight = flight;
    ngx_http_socketio_backend_link(peer, &ngx_http_socketio_backend_flights);

    if (flight->type == NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT) {
        return NGX_OK;
    }

    peer->seq++;

    /* it leaves in the next turn, so a sibling cannot count less than we */

    if (peer->journal) {
        ngx_http_socketio_backend_journal_count(peer);
    }

    return NGX_OK;

failed:

    ngx_http_socketio_backend_flight_free(flight);

    return NGX_ERROR;
}


ngx_http_socketio_flight_t *
ngx_http_socketio_backend_flight(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item)
{
    u_char                      *last;
    ngx_str_t                   *event;
    ngx_http_socketio_flight_t  *flight;

    event = &item->event;

    /* the name is not longer than what it is decoded from */

    flight = ngx_alloc(sizeof(ngx_http_socketio_flight_t) + event->len,
                       ngx_http_socketio_backend_log(peer));
    if (flight == NULL) {
        return NULL;
    }

    ngx_memzero(flight, sizeof(ngx_http_socketio_flight_t));

    flight->peer = peer;
    flight->type = item->type;
    flight->id = item->id;
    flight->seq = peer->seq;

    if (event->len == 0) {
        return flight;
    }

    flight->event.data = (u_char *) (flight + 1);

    if (ngx_sio_json_type(event) == NGX_SIO_JSON_STRING) {
        last = ngx_sio_json_string_write(flight->event.data, event);

    } else {
        last = ngx_cpymem(flight->event.data, event->data, event->len);
    }

    flight->event.len = last - flight->event.data;

    return flight;
}


/*
 * The same id in whichever worker sends it: if one is killed with the answer
 * on its way, the backend can tell that it hears the same for a second time.
 */

static void
ngx_http_socketio_backend_id(ngx_http_socketio_flight_t *flight)
{
    u_char     text[NGX_HTTP_SOCKETIO_HOOK_ID_MAX];
    ngx_str_t  id;

    id.data = text;
    id.len = ngx_snprintf(text, sizeof(text), "msg_%*s_%uD",
                          (size_t) NGX_SIO_SOCKET_SID_LEN, flight->peer->sid,
                          flight->seq)
             - text;

    (void) ngx_http_socketio_hook_set_id(&flight->hook, &id);
}


static void
ngx_http_socketio_backend_ctx(ngx_http_socketio_flight_t *flight)
{
    ngx_http_socketio_ctx_t   *ctx;
    ngx_http_socketio_peer_t  *peer;

    ctx = &flight->ctx;
    peer = flight->peer;

    ctx->sid.data = peer->sid;
    ctx->sid.len = NGX_SIO_SOCKET_SID_LEN;
    ctx->nsp.data = peer->nsp;
    ctx->nsp.len = peer->nsp_len;
    ctx->event = flight->event;
    ctx->type = ngx_http_socketio_backend_types[flight->type];
    ctx->user = peer->user;

    if (peer->socket) {
        ctx->transport = *ngx_sio_session_transport(peer->socket->session);
        return;
    }

    if (peer->websocket) {
        ngx_str_set(&ctx->transport, "websocket");

    } else {
        ngx_str_set(&ctx->transport, "polling");
    }

    if (flight->type == NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT) {
        ctx->reason = ngx_sio_reasons[peer->reason];
    }
}


void
ngx_http_socketio_backend_remote(ngx_http_socketio_flight_t *flight)
{
    flight->remote = 1;
    flight->peer->flight = flight;

    ngx_http_socketio_backend_link(flight->peer,
                                   &ngx_http_socketio_backend_remotes);
}


void
ngx_http_socketio_backend_land(ngx_http_socketio_peer_t *peer)
{
    ngx_http_socketio_flight_t  *flight;

    ngx_http_socketio_backend_unlink(peer);

    flight = peer->flight;

    if (flight == NULL) {
        return;
    }

    peer->flight = NULL;

    if (!flight->remote) {
        ngx_http_socketio_hook_done(&flight->hook);
    }

    ngx_http_socketio_backend_flight_free(flight);
}


static void
ngx_http_socketio_backend_flight_free(ngx_http_socketio_flight_t *flight)
{
    if (flight->hook.body.data) {
        ngx_free(flight->hook.body.data);
    }

    if (flight->remote && flight->event.data) {
        ngx_free(flight->event.data);
    }

    if (flight->reply.data) {
        ngx_free(flight->reply.data);
    }

    ngx_free(flight);
}


void
ngx_http_socketio_backend_link(ngx_http_socketio_peer_t *peer,
    ngx_queue_t *queue)
{
    ngx_http_socketio_backend_unlink(peer);

    ngx_queue_insert_tail(queue, &peer->queue);
}


void
ngx_http_socketio_backend_unlink(ngx_http_socketio_peer_t *peer)
{
    if (peer->queue.next) {
        ngx_queue_remove(&peer->queue);
        peer->queue.next = NULL;
    }
}


void
ngx_http_socketio_backend_stall(ngx_http_socketio_peer_t *peer)
{
    ngx_event_t  *ev;

    static ngx_connection_t  dummy;    /* debug logs show its descriptor */

    ngx_http_socketio_backend_link(peer, &ngx_http_socketio_backend_stalls);

    ev = &ngx_http_socketio_backend_timer;

    if (!ev->timer_set) {
        dummy.fd = (ngx_socket_t) -1;

        ev->handler = ngx_http_socketio_backend_stalled;
        ev->data = &dummy;
        ev->log = ngx_cycle->log;

        ngx_add_timer(ev, NGX_HTTP_SOCKETIO_BACKEND_STALL);
    }
}


static void
ngx_http_socketio_backend_stalled(ngx_event_t *ev)
{
    ngx_queue_t                queue, *q;
    ngx_http_socketio_peer_t  *peer;

    if (ngx_queue_empty(&ngx_http_socketio_backend_stalls)) {
        return;
    }

    /* those that stall again wait for the next time */

    ngx_queue_init(&queue);
    ngx_queue_add(&queue, &ngx_http_socketio_backend_stalls);
    ngx_queue_init(&ngx_http_socketio_backend_stalls);

    while (!ngx_queue_empty(&queue)) {
        q = ngx_queue_head(&queue);
        peer = ngx_queue_data(q, ngx_http_socketio_peer_t, queue);

        ngx_http_socketio_backend_unlink(peer);

        if (peer->state == NGX_HTTP_SOCKETIO_PEER_MOVED) {
            ngx_http_socketio_backend_pass_again(peer);

        } else {
            ngx_http_socketio_backend_next(peer);
        }
    }
}


/*
 * A copy of the location's error log with a handler of our own: when a
 * disconnect is delivered there is no session that could be named.
 */

ngx_log_t *
ngx_http_socketio_backend_log(ngx_http_socketio_peer_t *peer)
{
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_log_t  log;

    clcf = peer->origin->loc_conf[ngx_http_core_module.ctx_index];

    log = *clcf->error_log;
    log.handler = ngx_http_socketio_backend_log_client;
    log.data = peer;
    log.action = NULL;

    return &log;
}


static u_char *
ngx_http_socketio_backend_log_client(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                    *p;
    ngx_str_t                  ip;
    ngx_http_socketio_peer_t  *peer = log->data;

    ngx_http_socketio_origin_ip(peer->origin, &ip);

    p = ngx_snprintf(buf, len, ", client: %V", &ip);

    return ngx_http_socketio_backend_log_peer(peer, p, buf + len - p);
}


static u_char *
ngx_http_socketio_backend_log_flight(void *data, u_char *buf, size_t len)
{
    ngx_http_socketio_flight_t  *flight = data;

    return ngx_http_socketio_backend_log_peer(flight->peer, buf, len);
}


static u_char *
ngx_http_socketio_backend_log_peer(ngx_http_socketio_peer_t *peer,
    u_char *buf, size_t len)
{
    u_char                      *p, *last;
    ngx_http_socketio_flight_t  *flight;

    last = buf + len;

    p = ngx_slprintf(buf, last, ", sid: %*s, namespace: ",
                     (size_t) NGX_SIO_SOCKET_SID_LEN, peer->sid);

    p = ngx_http_socketio_backend_log_name(p, last, peer->nsp, peer->nsp_len);

    flight = peer->flight;

    if (flight == NULL) {
        return p;
    }

    p = ngx_slprintf(p, last, ", socketio webhook: %V",
                     &ngx_http_socketio_backend_types[flight->type]);

    if (flight->event.len) {
        p = ngx_slprintf(p, last, " ");
        p = ngx_http_socketio_backend_log_name(p, last, flight->event.data,
                                               flight->event.len);
    }

    return p;
}


/* Clients choose names, so they may hold line feeds, or be very long. */

static u_char *
ngx_http_socketio_backend_log_name(u_char *p, u_char *last, u_char *name,
    size_t len)
{
    u_char  *end;

    end = name + ngx_min(len, NGX_HTTP_SOCKETIO_BACKEND_LOG_NAME);

    p = ngx_slprintf(p, last, "\"");

    while (name < end && p < last) {
        *p++ = (*name < 0x20 || *name == 0x7f) ? '?' : *name;
        name++;
    }

    return ngx_slprintf(p, last, "\"");
}
