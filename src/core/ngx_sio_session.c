
#include "ngx_sio_base64.h"
#include "ngx_sio_session_private.h"
#include "ngx_sio_socket.h"


/* how long the rest of a session that we ended waits to be polled */
#define NGX_SIO_LINGER_TIME     30000

/* how long a close packet waits for the poll that was sent beside it */
#define NGX_SIO_LEAVE_TIME      50


static void ngx_sio_ignore_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data);
static void ngx_sio_ignore_flush(ngx_sio_session_t *s);
static void ngx_sio_session_pace(ngx_sio_session_t *s,
    ngx_sio_eio_packet_t *pkt);
static uint64_t ngx_sio_session_now(ngx_sio_session_t *s);
static ngx_msec_t ngx_sio_session_held_due(ngx_sio_session_t *s);
static void ngx_sio_session_message(ngx_sio_session_t *s,
    ngx_sio_eio_packet_t *pkt);
static void ngx_sio_session_leave(ngx_sio_session_t *s);
static void ngx_sio_session_alive(ngx_sio_session_t *s);
static void ngx_sio_session_timeout(ngx_event_t *ev);
static void ngx_sio_session_heartbeat(ngx_sio_session_t *s);


ngx_str_t  ngx_sio_reasons[NGX_SIO_REASONS] = {
    ngx_string("client namespace disconnect"),
    ngx_string("server namespace disconnect"),
    ngx_string("transport close"),
    ngx_string("transport error"),
    ngx_string("ping timeout"),
    ngx_string("parse error"),
    ngx_string("forced close"),
    ngx_string("forced server close"),
    ngx_string("server shutting down"),
    ngx_string("slow consumer"),
    ngx_string("worker lost")
};


const ngx_sio_session_state_t  ngx_sio_session_polling = {
    "polling",
    ngx_sio_polling_poll,
    ngx_sio_ignore_receive,
    ngx_sio_polling_flush,
    NGX_SIO_POST_ACCEPTED,
    NGX_SIO_GAUGE_POLLING
};


const ngx_sio_session_state_t  ngx_sio_session_probing = {
    "probing",
    ngx_sio_probing_poll,
    ngx_sio_probing_receive,
    ngx_sio_polling_flush,      /* in charge until "5" arrives */
    NGX_SIO_POST_ACCEPTED,
    NGX_SIO_GAUGE_POLLING
};


const ngx_sio_session_state_t  ngx_sio_session_websocket = {
    "websocket",
    ngx_sio_websocket_poll,
    ngx_sio_websocket_receive,
    ngx_sio_websocket_flush,
    NGX_SIO_ANSWER_MISMATCH,
    NGX_SIO_GAUGE_WEBSOCKET
};


const ngx_sio_session_state_t  ngx_sio_session_linger = {
    "linger",
    ngx_sio_linger_poll,
    ngx_sio_ignore_receive,
    ngx_sio_ignore_flush,
    NGX_SIO_ANSWER_OK,
    NGX_SIO_GAUGE_NONE
};


const ngx_sio_session_state_t  ngx_sio_session_closed = {
    "closed",
    ngx_sio_closed_poll,
    ngx_sio_ignore_receive,
    ngx_sio_ignore_flush,
    NGX_SIO_ANSWER_UNKNOWN,
    NGX_SIO_GAUGE_NONE
};


static void
ngx_sio_ignore_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data)
{
    /* the WebSocket is being closed */
}


static void
ngx_sio_ignore_flush(ngx_sio_session_t *s)
{
    /* what is queued waits for the last poll */
}


ngx_sio_session_t *
ngx_sio_session_find(ngx_sio_engine_t *e, u_char *sid)
{
    ngx_rbtree_node_t  *node;

    node = ngx_sio_sid_find(&e->sessions, sid, NGX_SIO_SID_LEN);

    return node ? ngx_rbtree_data(node, ngx_sio_session_t, node) : NULL;
}


ngx_sio_session_t *
ngx_sio_session_create(ngx_sio_engine_t *e, const ngx_sio_session_conf_t *conf,
    u_char *sid, ngx_uint_t revision, ngx_uint_t b64, void *data)
{
    ngx_sio_session_t  *s;

    s = ngx_sio_session_new(e, conf, sid, revision, b64, data);

    if (s != NULL) {
        e->gauges[s->state->gauge]++;
    }

    return s;
}


ngx_sio_session_t *
ngx_sio_session_new(ngx_sio_engine_t *e, const ngx_sio_session_conf_t *conf,
    u_char *sid, ngx_uint_t revision, ngx_uint_t b64, void *data)
{
    ngx_sio_session_t  *s;

    s = ngx_calloc(sizeof(ngx_sio_session_t), &e->log);
    if (s == NULL) {
        return NULL;
    }

    s->engine = e;
    s->state = &ngx_sio_session_polling;
    s->conf = conf;
    s->data = data;
    s->refs = 1;
    s->revision = revision;
    s->b64 = b64;

    ngx_sio_out_init(&s->own, NGX_SIO_FORM_POLL);
    s->out = &s->own;

    ngx_queue_init(&s->sockets);
    ngx_queue_insert_tail(&e->all, &s->all);
    ngx_sio_sid_insert(&e->sessions, &s->node, sid, NGX_SIO_SID_LEN);

    s->timer.handler = ngx_sio_session_timeout;
    s->timer.data = s;
    s->timer.log = &e->log;

    s->connect_due = ngx_sio_session_due(conf->connect_timeout);

    if (revision == 3) {
        s->pong_due = ngx_sio_session_due(conf->ping_interval
                                          + conf->ping_timeout);

        /* at the end of the turn, behind the open packet */

        s->greet = 1;
        ngx_sio_session_set_dirty(s);

    } else {
        s->ping_due = ngx_sio_session_due(conf->ping_interval);
    }

    ngx_sio_session_arm(s);

    e->nopen++;

    return s;
}


ngx_sio_msg_t *
ngx_sio_session_open(ngx_sio_session_t *s)
{
    ngx_sio_msg_t       *msg;
    ngx_sio_eio_open_t   open;

    s->engine->counters[NGX_SIO_COUNT_OPENED + s->state->gauge]++;

    open.sid.len = NGX_SIO_SID_LEN;
    open.sid.data = s->sid;
    open.ping_interval = s->conf->ping_interval;
    open.ping_timeout = s->conf->ping_timeout;
    open.max_payload = s->conf->max_payload;
    open.upgrade = (s->conf->websocket && s->ws == NULL);

    msg = ngx_sio_msg_create(ngx_sio_eio_open_length(&open), NULL, 0);

    if (msg != NULL) {
        ngx_sio_eio_open_write(msg->text.data, &open);
        ngx_sio_session_count_out(s, msg);
    }

    return msg;
}


ngx_str_t *
ngx_sio_session_transport(ngx_sio_session_t *s)
{
    static ngx_str_t  polling = ngx_string("polling");
    static ngx_str_t  websocket = ngx_string("websocket");

    return s->out == &s->own ? &polling : &websocket;
}


ngx_log_t *
ngx_sio_session_log(ngx_sio_session_t *s)
{
    ngx_log_t  *log;

    log = &s->engine->session_log;

    *log = *s->conf->log;

    log->connection = 0;
    log->handler = s->engine->log.handler;
    log->data = s->engine->log.data;
    log->action = NULL;

    return log;
}


void
ngx_sio_session_set_state(ngx_sio_session_t *s,
    const ngx_sio_session_state_t *state)
{
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &s->engine->log, 0,
                   "socketio session: %s -> %s", s->state->name, state->name);

    if (!s->closing) {
        s->engine->gauges[s->state->gauge]--;
        s->engine->gauges[state->gauge]++;
    }

    s->state = state;

    if (state == &ngx_sio_session_websocket) {
        s->carried = 1;
    }
}


/* Packets, whichever way they came. */

void
ngx_sio_session_packet(ngx_sio_session_t *s, ngx_sio_eio_packet_t *pkt)
{
    ngx_sio_session_count_in(s);

    if (s->conf->event_period) {
        ngx_sio_session_pace(s, pkt);
    }

    switch (pkt->type) {

    case NGX_SIO_EIO_MESSAGE:
        ngx_sio_session_alive(s);
        ngx_sio_session_message(s, pkt);
        return;

    case NGX_SIO_EIO_PONG:

        if (s->revision == 4) {
            s->pong_due = 0;
            s->ping_due = ngx_sio_session_due(s->conf->ping_interval);
            ngx_sio_session_arm(s);
        }

        return;

    case NGX_SIO_EIO_PING:

        if (s->revision == 3) {
            ngx_sio_session_alive(s);
            ngx_sio_session_send(s, ngx_sio_msg_packet('3'));
            return;
        }

        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client sent a ping, which is the server's part");

        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return;

    case NGX_SIO_EIO_CLOSE:
        ngx_sio_session_leave(s);
        return;

    default: /* open, upgrade, noop: nothing to a session that is open */
        ngx_sio_session_alive(s);
        return;
    }
}


/*
 * Who sends faster than is allowed is read at that pace: nothing is lost, and
 * the client's own queue, in its memory, is what grows.  A heartbeat is not of
 * its choice, and an attachment belongs to a packet that was counted.
 */

static void
ngx_sio_session_pace(ngx_sio_session_t *s, ngx_sio_eio_packet_t *pkt)
{
    uint64_t  now;

    if (pkt->type == (s->revision == 3 ? NGX_SIO_EIO_PING : NGX_SIO_EIO_PONG)
        || pkt->binary)
    {
        return;
    }

    now = ngx_sio_session_now(s);

    s->event_time = ngx_max(s->event_time, now) + s->conf->event_period;

    ngx_sio_session_hold(s);
}


/*
 * In usec.  Where nginx's clock has 32 bits it begins anew every 49 days, and
 * leaves event_time farther ahead than packets can have brought it.
 */

static uint64_t
ngx_sio_session_now(ngx_sio_session_t *s)
{
    uint64_t  now;

    now = (uint64_t) ngx_current_msec * 1000;

    if (s->event_time
        > now + s->conf->event_burst + 2 * s->conf->event_period)
    {
        s->event_time = now;
    }

    return now;
}


/* The next packet is read when there is room for it. */

void
ngx_sio_session_hold(ngx_sio_session_t *s)
{
    const ngx_sio_session_conf_t  *conf;

    conf = s->conf;

    if (s->held || s->closing || conf->event_period == 0
        || s->event_time + conf->event_period
           <= ngx_sio_session_now(s) + conf->event_burst)
    {
        return;
    }

    s->held = 1;
    s->engine->counters[NGX_SIO_COUNT_LIMITS + NGX_SIO_LIMIT_EVENT_RATE]++;

    if (!s->hasty) {
        s->hasty = 1;

        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client sends faster than socketio_event_rate allows, "
                      "it is read more slowly");
    }

    ngx_sio_session_pause(s);
    ngx_sio_session_arm(s);
}


static ngx_msec_t
ngx_sio_session_held_due(ngx_sio_session_t *s)
{
    return (ngx_msec_t) ((s->event_time + s->conf->event_period
                          - s->conf->event_burst + 999)
                         / 1000);
}


static void
ngx_sio_session_message(ngx_sio_session_t *s, ngx_sio_eio_packet_t *pkt)
{
    ngx_int_t   rc;
    ngx_str_t   data;
    ngx_uint_t  reason;

    reason = NGX_SIO_REASON_FORCED_CLOSE;

    if (!pkt->binary) {
        rc = ngx_sio_socket_text(s, &pkt->data, &reason);

    } else if (!pkt->base64) {
        rc = ngx_sio_socket_binary(s, &pkt->data, &reason);

    } else {
        data.data = ngx_alloc(ngx_sio_base64_decoded_length(pkt->data.len) + 1,
                              &s->engine->log);

        if (data.data == NULL) {
            ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
            return;
        }

        data.len = ngx_sio_base64_decode(data.data, pkt->data.data,
                                         pkt->data.len)
                   - data.data;

        rc = ngx_sio_socket_binary(s, &data, &reason);

        ngx_free(data.data);
    }

    if (rc == NGX_DECLINED) {
        ngx_sio_session_close(s, reason);
    }
}


/* The client ends the session with a packet. */

static void
ngx_sio_session_leave(ngx_sio_session_t *s)
{
    if (s->state == &ngx_sio_session_websocket) {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_CLOSE);
        return;
    }

    s->left = 1;

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_CLOSE);
}


/*
 * Engine.IO 3: any packet shows that the client is there.  Engine.IO 4: one
 * packet extends the wait for a pong once, so that a client that is busy
 * sending is not lost.
 */

static void
ngx_sio_session_alive(ngx_sio_session_t *s)
{
    if (s->revision == 3) {
        s->pong_due = ngx_sio_session_due(s->conf->ping_interval
                                          + s->conf->ping_timeout);
        return;
    }

    if (s->pong_due && !s->extended) {
        s->extended = 1;
        s->pong_due = ngx_sio_session_due(s->conf->ping_timeout);
    }
}


/* Output. */

void
ngx_sio_session_send(ngx_sio_session_t *s, ngx_sio_msg_t *msg)
{
    if (s->closing || s->slow || s->failed) {
        return;
    }

    if (msg->is_volatile
        && (!ngx_sio_out_empty(s->out)
            || (s->out == &s->own && !ngx_sio_waiter_set(&s->poll))))
    {
        return;
    }

    if (s->out->bytes + msg->size > s->conf->send_buffer
        && !ngx_sio_out_empty(s->out))
    {
        /* closed by the flush, so that a room does not change under a walk */
        s->slow = 1;

    } else if (ngx_sio_out_push(s->out, msg) != NGX_OK) {
        s->failed = 1;

    } else {
        ngx_sio_session_count_out(s, msg);
    }

    ngx_sio_session_set_dirty(s);
}


void
ngx_sio_session_fail(ngx_sio_session_t *s)
{
    if (!s->closing) {
        s->failed = 1;
        ngx_sio_session_set_dirty(s);
    }
}


void
ngx_sio_session_set_dirty(ngx_sio_session_t *s)
{
    ngx_sio_engine_t  *e;

    if (s->is_dirty) {
        return;
    }

    e = s->engine;

    s->is_dirty = 1;
    ngx_queue_insert_tail(&e->dirty, &s->dirty);

    if (!e->flush.posted) {
        ngx_post_event(&e->flush, &ngx_posted_events);
    }
}


/* The end. */

void
ngx_sio_session_kick(ngx_sio_session_t *s)
{
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;

    if (s->closing) {
        return;
    }

    ngx_sio_session_ref(s);

    while (!ngx_queue_empty(&s->sockets)) {
        q = ngx_queue_head(&s->sockets);
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        ngx_sio_socket_disconnect(so);
    }

    ngx_sio_session_close(s, NGX_SIO_REASON_SERVER_DISCONNECT);

    ngx_sio_session_unref(s);
}


void
ngx_sio_session_close(ngx_sio_session_t *s, ngx_uint_t reason)
{
    void              *ws;
    ngx_uint_t         ours;
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;
    ngx_sio_engine_t  *e;

    if (s->closing) {
        return;
    }

    e = s->engine;

    ngx_sio_session_set_closing(s);
    ngx_sio_session_ref(s);

    e->counters[NGX_SIO_COUNT_CLOSED + reason]++;

    while (!ngx_queue_empty(&s->sockets)) {
        q = ngx_queue_head(&s->sockets);
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        ngx_sio_socket_close(so, reason);
    }

    ours = (reason == NGX_SIO_REASON_FORCED_CLOSE
            || reason == NGX_SIO_REASON_FORCED_SERVER_CLOSE
            || reason == NGX_SIO_REASON_SERVER_DISCONNECT);

    if (ours && s->state == &ngx_sio_session_probing && s->probed) {

        /* until "5" comes, the WebSocket ends, or the time is up */

        s->reason = reason;
        s->ping_due = 0;
        s->pong_due = 0;
        s->connect_due = 0;

        if (s->upgrading) {
            /* the POST it waits for does not matter any more */
            ngx_sio_session_upgrade(s);
        }

        goto done;
    }

    ws = s->ws;

    if (ws != NULL) {
        e->ops->ws_close(s, ws, reason,
                         reason == NGX_SIO_REASON_SLOW_CONSUMER
                         || s->state == &ngx_sio_session_probing);

        s->ws = NULL;
        s->ws_out = NULL;
        s->out = &s->own;
    }

    if (s->state == &ngx_sio_session_websocket) {
        ngx_sio_session_end(s, reason);

    } else {
        ngx_sio_session_depart(s, reason, ours);
    }

done:

    ngx_sio_session_unref(s);
}


/* It may linger, but counts as open no longer. */

void
ngx_sio_session_set_closing(ngx_sio_session_t *s)
{
    s->closing = 1;
    s->engine->nopen--;
    s->engine->gauges[s->state->gauge]--;
}


/* A session that polls ends at once, or with the next poll. */

void
ngx_sio_session_depart(ngx_sio_session_t *s, ngx_uint_t reason,
    ngx_uint_t ours)
{
    if (ngx_sio_waiter_set(&s->poll)) {

        if (!ours || ngx_sio_out_empty(&s->own)) {
            ngx_sio_session_release(s, ngx_sio_msg_packet(s->left ? '6' : '1'));
            ngx_sio_session_end(s, reason);
            return;
        }

        ngx_sio_session_release(s, NULL);

    } else if (!ours && !s->left) {
        ngx_sio_session_end(s, reason);
        return;
    }

    s->reason = reason;
    s->ping_due = 0;
    s->pong_due = 0;
    s->connect_due = 0;
    s->state_due = ngx_sio_session_due(s->left ? NGX_SIO_LEAVE_TIME
                                               : NGX_SIO_LINGER_TIME);

    ngx_sio_session_set_state(s, &ngx_sio_session_linger);
    ngx_sio_session_arm(s);

    if (ngx_sio_waiter_set(&s->post) && !s->left) {
        ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);
    }
}


/* Nobody finds it any more. */

void
ngx_sio_session_end(ngx_sio_session_t *s, ngx_uint_t reason)
{
    if (s->state == &ngx_sio_session_closed) {
        return;
    }

    ngx_sio_session_set_state(s, &ngx_sio_session_closed);

    if (s->ws != NULL) {
        s->engine->ops->ws_close(s, s->ws, reason, 1);
        s->ws = NULL;
        s->ws_out = NULL;
        s->out = &s->own;
    }

    if (ngx_sio_waiter_set(&s->post)) {
        ngx_sio_session_answer(s, &s->post, s->post_done
                                            ? NGX_SIO_ANSWER_OK
                                            : NGX_SIO_ANSWER_BAD);
    }

    s->engine->ops->closed(s, reason);

    ngx_sio_session_unlink(s);
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_unlink(ngx_sio_session_t *s)
{
    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    if (s->is_dirty) {
        s->is_dirty = 0;
        ngx_queue_remove(&s->dirty);
    }

    ngx_queue_remove(&s->all);
    ngx_rbtree_delete(&s->engine->sessions, &s->node);

    if (s->pending != NULL) {
        ngx_sio_pending_free(ngx_sio_pending_take(s));
    }

    ngx_sio_out_clear(&s->own);

    if (s->rest != NULL) {
        ngx_free(s->rest);
        s->rest = NULL;
    }
}


void
ngx_sio_session_unref(ngx_sio_session_t *s)
{
    if (--s->refs > 0) {
        return;
    }

    if (s->engine->current == s) {
        s->engine->current = NULL;
    }

    if (s->note != NULL) {
        ngx_free(s->note);
    }

    ngx_free(s);
}


/* Back pressure. */

void
ngx_sio_session_pause(ngx_sio_session_t *s)
{
    s->paused++;
}


void
ngx_sio_session_resume(ngx_sio_session_t *s)
{
    if (--s->paused > 0 || s->closing) {
        return;
    }

    /* what we did not read must not count against the client */

    if (s->pong_due) {
        s->pong_due = ngx_sio_session_due(s->revision == 3
                                          ? s->conf->ping_interval
                                            + s->conf->ping_timeout
                                          : s->conf->ping_timeout);
        ngx_sio_session_arm(s);
    }

    if (s->rest != NULL) {

        /* at the end of the turn: the caller may be within a reply */

        ngx_sio_session_set_dirty(s);
        return;
    }

    if (ngx_sio_waiter_set(&s->post) && s->post_done) {
        ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);
    }

    if (s->state == &ngx_sio_session_websocket) {
        s->engine->ops->ws_resume(s->ws);
    }
}


/* Time. */

ngx_msec_t
ngx_sio_session_due(ngx_msec_t timeout)
{
    ngx_msec_t  due;

    due = ngx_current_msec + timeout;

    return due ? due : 1;       /* 0 means never */
}


/*
 * One timer serves all deadlines.  It is moved when it has become too late;
 * when it is too early it finds nothing to do, which is cheaper than to move
 * it with every packet.
 */

void
ngx_sio_session_arm(ngx_sio_session_t *s)
{
    ngx_uint_t      i;
    ngx_msec_t      due, dues[5];
    ngx_msec_int_t  left;

    dues[0] = s->ping_due;
    dues[1] = s->pong_due;
    dues[2] = s->state_due;
    dues[3] = s->connect_due;
    dues[4] = s->held ? ngx_sio_session_held_due(s) : 0;

    due = 0;

    for (i = 0; i < 5; i++) {
        if (dues[i] && (due == 0 || (ngx_msec_int_t) (dues[i] - due) < 0)) {
            due = dues[i];
        }
    }

    if (due == 0) {
        return;
    }

    if (s->timer.timer_set) {

        if ((ngx_msec_int_t) (s->timer.timer.key - due) <= 0) {
            return;
        }

        ngx_del_timer(&s->timer);
    }

    left = (ngx_msec_int_t) (due - ngx_current_msec);

    ngx_add_timer(&s->timer, left > 0 ? (ngx_msec_t) left : 1);
}


#define ngx_sio_session_is_due(due)                                           \
    ((due) && (ngx_msec_int_t) ((due) - ngx_current_msec) <= 0)


static void
ngx_sio_session_timeout(ngx_event_t *ev)
{
    ngx_sio_session_t  *s;

    s = ev->data;

    ngx_sio_session_ref(s);
    s->engine->current = s;

    if (ngx_sio_session_is_due(s->state_due)) {

        if (s->state == &ngx_sio_session_linger) {
            ngx_sio_session_end(s, s->reason);
            goto done;
        }

        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), NGX_ETIMEDOUT,
                      "client did not finish its upgrade");

        s->engine->ops->ws_close(s, s->ws, NGX_SIO_REASONS, 1);
        ngx_sio_session_probe_failed(s);
    }

    if (s->held && ngx_sio_session_is_due(ngx_sio_session_held_due(s))) {
        s->held = 0;
        ngx_sio_session_resume(s);
    }

    if (ngx_sio_session_is_due(s->connect_due)) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), NGX_ETIMEDOUT,
                      "client joined no namespace");

        ngx_sio_session_close(s, NGX_SIO_REASON_FORCED_SERVER_CLOSE);

    } else {
        ngx_sio_session_heartbeat(s);
    }

    if (s->state != &ngx_sio_session_closed) {
        ngx_sio_session_arm(s);
    }

done:

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


static void
ngx_sio_session_heartbeat(ngx_sio_session_t *s)
{
    if (ngx_sio_session_is_due(s->pong_due)) {

        if (s->paused) {
            s->pong_due = ngx_sio_session_due(s->conf->ping_timeout);
            return;
        }

        ngx_sio_session_close(s, NGX_SIO_REASON_PING_TIMEOUT);
        return;
    }

    if (ngx_sio_session_is_due(s->ping_due)) {
        s->ping_due = 0;
        s->extended = 0;
        s->pong_due = ngx_sio_session_due(s->conf->ping_timeout);

        ngx_sio_session_send(s, ngx_sio_msg_packet('2'));
    }
}
