
#include "ngx_sio_compat.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_eio.h"
#include "ngx_sio_pack.h"
#include "ngx_sio_rooms.h"
#include "ngx_sio_utf8.h"


/* sessions flushed in one turn before others get theirs */
#define NGX_SIO_FLUSH_BATCH     2048

/* packets in one answer: clients in Python end themselves when there are more */
#define NGX_SIO_ANSWER_PACKETS  16

/* how long the rest of a session that we ended waits to be polled */
#define NGX_SIO_LINGER_TIME     30000

/* how long a close packet waits for the poll that was sent beside it */
#define NGX_SIO_LEAVE_TIME      50


struct ngx_sio_session_state_s {
    const char     *name;

    /* a GET; a WebSocket message; new output */
    void          (*poll)(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
    void          (*receive)(ngx_sio_session_t *s, ngx_uint_t binary,
                       ngx_str_t *data);
    void          (*flush)(ngx_sio_session_t *s);

    /* what a POST is answered without being looked at */
    ngx_int_t       post;
};

#define NGX_SIO_POST_ACCEPTED  -1


static void ngx_sio_polling_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
static void ngx_sio_polling_flush(ngx_sio_session_t *s);
static void ngx_sio_probing_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
static void ngx_sio_probing_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data);
static void ngx_sio_websocket_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
static void ngx_sio_websocket_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data);
static void ngx_sio_websocket_flush(ngx_sio_session_t *s);
static void ngx_sio_linger_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
static void ngx_sio_closed_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
static void ngx_sio_ignore_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data);
static void ngx_sio_ignore_flush(ngx_sio_session_t *s);

static void ngx_sio_session_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_rbtree_key_t ngx_sio_session_key(u_char *sid);
static u_char *ngx_sio_engine_log(ngx_log_t *log, u_char *buf, size_t len);
static void ngx_sio_engine_flush(ngx_event_t *ev);
static void ngx_sio_session_set_state(ngx_sio_session_t *s,
    const ngx_sio_session_state_t *state);
static void ngx_sio_session_set_dirty(ngx_sio_session_t *s);
static void ngx_sio_session_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_answer_e kind);
static void ngx_sio_session_release(ngx_sio_session_t *s,
    ngx_sio_msg_t *last);
static void ngx_sio_session_release_to(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w, ngx_sio_msg_t *last);
static ngx_uint_t ngx_sio_session_poll_form(ngx_sio_session_t *s);
static ngx_uint_t ngx_sio_session_ws_form(ngx_sio_session_t *s,
    ngx_uint_t b64);
static ngx_int_t ngx_sio_session_write_answer(ngx_sio_session_t *s,
    ngx_str_t *body, ngx_uint_t form, ngx_sio_msg_t *last);
static void ngx_sio_session_overlap(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w, ngx_sio_waiter_t *other);
static void ngx_sio_session_read_probe(ngx_sio_session_t *s);
static void ngx_sio_session_body(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t octets);
static ngx_int_t ngx_sio_session_payload(ngx_sio_session_t *s,
    ngx_str_t *body, ngx_uint_t form);
static void ngx_sio_session_continue(ngx_sio_session_t *s);
static void ngx_sio_session_malformed(ngx_sio_session_t *s);
static void ngx_sio_session_post_finished(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w);
static void ngx_sio_session_upgrade(ngx_sio_session_t *s);
static void ngx_sio_session_upgraded_closing(ngx_sio_session_t *s);
static void ngx_sio_session_probe_failed(ngx_sio_session_t *s);
static void ngx_sio_session_packet(ngx_sio_session_t *s,
    ngx_sio_eio_packet_t *pkt);
static void ngx_sio_session_message(ngx_sio_session_t *s,
    ngx_sio_eio_packet_t *pkt);
static void ngx_sio_session_leave(ngx_sio_session_t *s);
static void ngx_sio_session_alive(ngx_sio_session_t *s);
static void ngx_sio_session_depart(ngx_sio_session_t *s, ngx_uint_t reason,
    ngx_uint_t ours);
static void ngx_sio_session_end(ngx_sio_session_t *s, ngx_uint_t reason);
static void ngx_sio_session_unlink(ngx_sio_session_t *s);
static void ngx_sio_session_arm(ngx_sio_session_t *s);
static void ngx_sio_session_timeout(ngx_event_t *ev);
static void ngx_sio_session_heartbeat(ngx_sio_session_t *s);
static ngx_msec_t ngx_sio_session_due(ngx_msec_t timeout);
static void ngx_sio_pending_free(ngx_sio_session_t *s);


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


static const ngx_sio_session_state_t  ngx_sio_session_polling = {
    "polling",
    ngx_sio_polling_poll,
    ngx_sio_ignore_receive,
    ngx_sio_polling_flush,
    NGX_SIO_POST_ACCEPTED
};


static const ngx_sio_session_state_t  ngx_sio_session_probing = {
    "probing",
    ngx_sio_probing_poll,
    ngx_sio_probing_receive,
    ngx_sio_polling_flush,      /* in charge until "5" arrives */
    NGX_SIO_POST_ACCEPTED
};


static const ngx_sio_session_state_t  ngx_sio_session_websocket = {
    "websocket",
    ngx_sio_websocket_poll,
    ngx_sio_websocket_receive,
    ngx_sio_websocket_flush,
    NGX_SIO_ANSWER_MISMATCH
};


static const ngx_sio_session_state_t  ngx_sio_session_linger = {
    "linger",
    ngx_sio_linger_poll,
    ngx_sio_ignore_receive,
    ngx_sio_ignore_flush,
    NGX_SIO_ANSWER_OK
};


static const ngx_sio_session_state_t  ngx_sio_session_closed = {
    "closed",
    ngx_sio_closed_poll,
    ngx_sio_ignore_receive,
    ngx_sio_ignore_flush,
    NGX_SIO_ANSWER_UNKNOWN
};


ngx_int_t
ngx_sio_engine_init(ngx_sio_engine_t *e, const ngx_sio_ops_t *ops, void *data,
    uint64_t *counters, ngx_log_t *log)
{
    ngx_memzero(e, sizeof(ngx_sio_engine_t));

    e->ops = ops;
    e->data = data;
    e->counters = counters;
    e->max_answer = NGX_MAX_SIZE_T_VALUE;

    e->log = *log;
    e->log.handler = ngx_sio_engine_log;
    e->log.data = e;

    ngx_rbtree_init(&e->sessions, &e->sessions_sentinel,
                    ngx_sio_session_insert);
    ngx_rbtree_init(&e->sockets, &e->sockets_sentinel, ngx_sio_socket_insert);
    ngx_rbtree_init(&e->nsps, &e->nsps_sentinel, ngx_str_rbtree_insert_value);

    ngx_queue_init(&e->all);
    ngx_queue_init(&e->dirty);

    e->flush.handler = ngx_sio_engine_flush;
    e->flush.data = e;
    e->flush.log = log;

    /* every message to come can be told from those before by it */
    if (ngx_sio_msg_packet('1') == NULL || ngx_sio_msg_packet('2') == NULL
        || ngx_sio_msg_packet('3') == NULL || ngx_sio_msg_packet('6') == NULL
        || ngx_sio_msg_packet('p') == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_sio_engine_close(ngx_sio_engine_t *e, ngx_uint_t reason)
{
    ngx_queue_t        *q;
    ngx_sio_session_t  *s;

    while (!ngx_queue_empty(&e->all)) {
        q = ngx_queue_head(&e->all);
        s = ngx_queue_data(q, ngx_sio_session_t, all);

        ngx_sio_session_ref(s);

        ngx_sio_session_close(s, reason);

        if (s->state != &ngx_sio_session_closed) {
            /* it lingers for a poll that nobody will answer any more */
            ngx_sio_session_end(s, reason);
        }

        ngx_sio_session_unref(s);
    }

    if (e->flush.posted) {
        ngx_delete_posted_event(&e->flush);
    }
}


static u_char *
ngx_sio_engine_log(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_sio_engine_t  *e = log->data;

    if (e->current == NULL) {
        return buf;
    }

    return e->ops->log(e->current, buf, len);
}


static ngx_rbtree_key_t
ngx_sio_session_key(u_char *sid)
{
    ngx_rbtree_key_t  key;

    /* the end of an id is random */

    ngx_memcpy(&key, sid + NGX_SIO_SID_LEN - sizeof(ngx_rbtree_key_t),
               sizeof(ngx_rbtree_key_t));

    return key;
}


static void
ngx_sio_session_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;
    ngx_sio_session_t   *s, *t;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            s = ngx_rbtree_data(node, ngx_sio_session_t, node);
            t = ngx_rbtree_data(temp, ngx_sio_session_t, node);

            p = (ngx_memcmp(s->sid, t->sid, NGX_SIO_SID_LEN) < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


ngx_sio_session_t *
ngx_sio_session_find(ngx_sio_engine_t *e, u_char *sid)
{
    ngx_int_t           rc;
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;
    ngx_sio_session_t  *s;

    key = ngx_sio_session_key(sid);
    node = e->sessions.root;

    while (node != &e->sessions_sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        s = ngx_rbtree_data(node, ngx_sio_session_t, node);

        rc = ngx_memcmp(sid, s->sid, NGX_SIO_SID_LEN);

        if (rc == 0) {
            return s;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


ngx_sio_session_t *
ngx_sio_session_create(ngx_sio_engine_t *e, const ngx_sio_session_conf_t *conf,
    u_char *sid, ngx_uint_t revision, ngx_uint_t b64, void *data)
{
    ngx_sio_session_t  *s;

    s = ngx_calloc(sizeof(ngx_sio_session_t), &e->log);
    if (s == NULL) {
        return NULL;
    }

    ngx_memcpy(s->sid, sid, NGX_SIO_SID_LEN);
    s->node.key = ngx_sio_session_key(sid);

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
    ngx_rbtree_insert(&e->sessions, &s->node);

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

    e->counters[NGX_SIO_COUNT_SESSIONS]++;
    e->counters[NGX_SIO_COUNT_OPENED]++;

    return s;
}


ngx_sio_msg_t *
ngx_sio_session_open(ngx_sio_session_t *s)
{
    ngx_sio_msg_t       *msg;
    ngx_sio_eio_open_t   open;

    open.sid.len = NGX_SIO_SID_LEN;
    open.sid.data = s->sid;
    open.ping_interval = s->conf->ping_interval;
    open.ping_timeout = s->conf->ping_timeout;
    open.max_payload = s->conf->max_payload;
    open.upgrade = (s->conf->websocket && s->ws == NULL);

    msg = ngx_sio_msg_create(ngx_sio_eio_open_length(&open), NULL, 0);

    if (msg != NULL) {
        ngx_sio_eio_open_write(msg->text.data, &open);
    }

    return msg;
}


ngx_int_t
ngx_sio_session_attach(ngx_sio_session_t *s, void *ws, ngx_sio_out_t *out)
{
    ngx_int_t       rc;
    ngx_sio_msg_t  *msg;

    s->ws = ws;
    s->ws_out = out;
    s->out = out;
    out->form = ngx_sio_session_ws_form(s, s->b64);

    s->engine->counters[NGX_SIO_COUNT_WEBSOCKETS]++;

    ngx_sio_session_set_state(s, &ngx_sio_session_websocket);

    msg = ngx_sio_session_open(s);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_sio_out_push(out, msg);
    ngx_sio_msg_unref(msg);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sio_session_set_dirty(s);

    return NGX_OK;
}


static ngx_uint_t
ngx_sio_session_ws_form(ngx_sio_session_t *s, ngx_uint_t b64)
{
    if (s->revision == 3) {
        return b64 ? NGX_SIO_FORM_WS3_B64 : NGX_SIO_FORM_WS3;
    }

    return b64 ? NGX_SIO_FORM_WS_B64 : NGX_SIO_FORM_WS;
}


ngx_int_t
ngx_sio_session_probe(ngx_sio_session_t *s, void *ws, ngx_sio_out_t *out,
    ngx_uint_t b64)
{
    if (s->state != &ngx_sio_session_polling) {
        return NGX_DECLINED;
    }

    s->ws = ws;
    s->ws_out = out;
    s->probed = 0;
    s->upgrading = 0;
    out->form = ngx_sio_session_ws_form(s, b64);

    s->state_due = ngx_sio_session_due(s->conf->upgrade_timeout);

    ngx_sio_session_set_state(s, &ngx_sio_session_probing);
    ngx_sio_session_arm(s);

    return NGX_OK;
}


static void
ngx_sio_session_set_state(ngx_sio_session_t *s,
    const ngx_sio_session_state_t *state)
{
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &s->engine->log, 0,
                   "socketio session: %s -> %s", s->state->name, state->name);

    s->state = state;
}


ngx_int_t
ngx_sio_session_receive(ngx_sio_session_t *s, void *ws, ngx_uint_t binary,
    ngx_str_t *data)
{
    ngx_int_t          rc;
    ngx_sio_engine_t  *e;

    e = s->engine;

    ngx_sio_session_ref(s);     /* a packet may close its own session */
    e->current = s;

    s->state->receive(s, binary, data);

    if (s->ws != ws) {
        rc = NGX_DONE;

    } else if (s->upgrading
               || (s->paused && s->state == &ngx_sio_session_websocket))
    {
        rc = NGX_AGAIN;

    } else {
        rc = NGX_OK;
    }

    e->current = NULL;
    ngx_sio_session_unref(s);

    return rc;
}


void
ngx_sio_session_ws_gone(ngx_sio_session_t *s, void *ws, ngx_uint_t reason)
{
    if (s->ws != ws) {
        return;
    }

    s->ws = NULL;
    s->ws_out = NULL;

    if (s->state == &ngx_sio_session_probing) {
        ngx_sio_session_probe_failed(s);
        return;
    }

    s->out = &s->own;
    s->engine->counters[NGX_SIO_COUNT_WEBSOCKETS]--;

    ngx_sio_session_close(s, reason);
}


/* Polling. */

void
ngx_sio_session_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision)
{
    if (revision != s->revision) {
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_MISMATCH);
        return;
    }

    ngx_sio_session_ref(s);
    s->engine->current = s;

    ngx_sio_session_read_probe(s);

    s->state->poll(s, w);

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


/*
 * A client sends "5" and knows that polling is over, so what it sends by
 * HTTP after it must not be served before it, whichever connection is read
 * first.
 */

static void
ngx_sio_session_read_probe(ngx_sio_session_t *s)
{
    if (s->state == &ngx_sio_session_probing && !s->upgrading) {
        s->engine->ops->ws_read(s->ws);
        s->engine->current = s;
    }
}


static void
ngx_sio_polling_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (ngx_sio_waiter_set(&s->poll)) {
        ngx_sio_session_overlap(s, w, &s->poll);
        return;
    }

    if (ngx_sio_out_empty(&s->own)) {
        s->poll = *w;
        return;
    }

    ngx_sio_session_release_to(s, w, NULL);
}


static void
ngx_sio_probing_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (s->closing) {
        /* it has chosen to hear of it by polling */
        ngx_sio_linger_poll(s, w);
        return;
    }

    if (ngx_sio_waiter_set(&s->poll)) {
        ngx_sio_session_overlap(s, w, &s->poll);
        return;
    }

    if (!s->probed && ngx_sio_out_empty(&s->own)) {
        s->poll = *w;
        return;
    }

    ngx_sio_session_release_to(s, w,
        ngx_sio_out_empty(&s->own) ? ngx_sio_msg_packet('6') : NULL);
}


static void
ngx_sio_websocket_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_MISMATCH);
}


static void
ngx_sio_linger_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (s->left) {
        ngx_sio_session_release_to(s, w, ngx_sio_msg_packet('6'));
        ngx_sio_session_end(s, NGX_SIO_REASON_TRANSPORT_CLOSE);
        return;
    }

    ngx_sio_session_release_to(s, w, ngx_sio_msg_packet('1'));

    if (ngx_sio_out_empty(&s->own)) {
        ngx_sio_session_end(s, NGX_SIO_REASON_FORCED_CLOSE);
    }
}


static void
ngx_sio_closed_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_UNKNOWN);
}


/* Two requests of a kind at once: both are refused and the session ends. */

static void
ngx_sio_session_overlap(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_waiter_t *other)
{
    ngx_log_error(NGX_LOG_INFO, &s->engine->log, 0,
                  "client sent a second %s while one was served",
                  other == &s->poll ? "GET" : "POST");

    ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_BAD);

    if (other == &s->post) {
        ngx_sio_session_answer(s, other, NGX_SIO_ANSWER_BAD);
    }

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
}


void
ngx_sio_session_post_begin(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision)
{
    if (revision != s->revision) {
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_MISMATCH);
        return;
    }

    ngx_sio_session_ref(s);
    s->engine->current = s;

    ngx_sio_session_read_probe(s);

    if (s->state->post != NGX_SIO_POST_ACCEPTED) {
        ngx_sio_session_answer(s, w, s->state->post);

    } else if (ngx_sio_waiter_set(&s->post)) {
        ngx_sio_session_overlap(s, w, &s->post);

    } else {
        s->post = *w;
        s->post_done = 0;
    }

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_post(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision, ngx_uint_t octets, ngx_str_t *body)
{
    if (revision != s->revision) {
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_MISMATCH);
        return;
    }

    ngx_sio_session_ref(s);
    s->engine->current = s;

    if (!ngx_sio_waiter_equal(w, &s->post)) {
        ngx_sio_session_read_probe(s);
    }

    if (s->state->post != NGX_SIO_POST_ACCEPTED) {
        ngx_sio_session_answer(s, w, s->state->post);

    } else if (ngx_sio_waiter_set(&s->post)
               && !ngx_sio_waiter_equal(w, &s->post))
    {
        ngx_sio_session_overlap(s, w, &s->post);

    } else if (octets && s->revision == 4) {
        ngx_memzero(&s->post, sizeof(ngx_sio_waiter_t));
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_BAD);
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);

    } else {
        s->post = *w;
        s->post_done = 1;

        if (!s->closing) {
            ngx_sio_session_body(s, body, octets);
        }

        ngx_sio_session_post_finished(s, w);
    }

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_post_refused(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (!ngx_sio_waiter_equal(w, &s->post)) {
        return;
    }

    ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);

    if (s->upgrading) {
        ngx_sio_session_upgrade(s);
    }
}


/*
 * The answer to a POST is kept back while the backend cannot keep up, which
 * holds the client's next POST; and, for a moment, when the client leaves
 * without a poll that could be told so.
 */

static void
ngx_sio_session_post_finished(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (!ngx_sio_waiter_equal(w, &s->post)) {
        return;     /* answered when the session closed */
    }

    if (s->state == &ngx_sio_session_linger && s->left) {
        return;
    }

    if (s->state->post == NGX_SIO_POST_ACCEPTED
        && (s->rest != NULL || (s->paused && !s->upgrading)))
    {
        return;
    }

    ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);

    if (s->upgrading && s->state == &ngx_sio_session_probing) {
        ngx_sio_session_upgrade(s);
    }
}


void
ngx_sio_session_abort(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (s->state == &ngx_sio_session_websocket) {
        return;
    }

    if (ngx_sio_waiter_equal(w, &s->poll)) {
        ngx_memzero(&s->poll, sizeof(ngx_sio_waiter_t));

    } else if (ngx_sio_waiter_equal(w, &s->post)) {
        ngx_memzero(&s->post, sizeof(ngx_sio_waiter_t));
    }

    if (s->closing) {
        ngx_sio_session_end(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return;
    }

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
}


/* Text that is no UTF-8 is repaired, never forwarded as it is. */

static void
ngx_sio_session_body(ngx_sio_session_t *s, ngx_str_t *body, ngx_uint_t octets)
{
    ngx_int_t          rc;
    ngx_str_t          text;
    ngx_sio_engine_t  *e;

    e = s->engine;

    e->counters[NGX_SIO_COUNT_BYTES_IN] += body->len;

    if (octets) {
        rc = ngx_sio_session_payload(s, body, NGX_SIO_EIO_V3_BINARY);

    } else if (ngx_sio_utf8_valid(body->data, body->len)) {
        rc = ngx_sio_session_payload(s, body, s->revision == 3
                                              ? NGX_SIO_EIO_V3_TEXT
                                              : NGX_SIO_EIO_V4);

    } else {
        text.len = ngx_sio_utf8_repair_length(body->data, body->len);

        text.data = ngx_alloc(text.len, &e->log);

        if (text.data == NULL) {
            ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
            return;
        }

        ngx_sio_utf8_repair(text.data, body->data, body->len);

        rc = ngx_sio_session_payload(s, &text, s->revision == 3
                                               ? NGX_SIO_EIO_V3_TEXT
                                               : NGX_SIO_EIO_V4);
        ngx_free(text.data);
    }

    if (rc == NGX_DECLINED) {
        ngx_sio_session_malformed(s);
    }
}


static void
ngx_sio_session_malformed(ngx_sio_session_t *s)
{
    ngx_log_error(NGX_LOG_INFO, &s->engine->log, 0,
                  "client sent a malformed payload");

    s->engine->counters[NGX_SIO_COUNT_PARSE_ERRORS]++;

    ngx_sio_session_close(s, NGX_SIO_REASON_PARSE_ERROR);
}


/*
 * Stops when the backend has enough to do, and keeps the rest as it came: as
 * events it would take many times the room.
 *
 *   NGX_DONE      all was taken, or kept, or the session has closed
 *   NGX_DECLINED  malformed
 */

static ngx_int_t
ngx_sio_session_payload(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t form)
{
    ngx_int_t              rc;
    ngx_str_t              rest;
    ngx_sio_eio_packet_t   pkt;
    ngx_sio_eio_payload_t  payload;

    ngx_sio_eio_payload(&payload, body, form);

    for ( ;; ) {
        rc = ngx_sio_eio_next(&payload, &pkt);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_sio_session_packet(s, &pkt);

        if (s->state->post != NGX_SIO_POST_ACCEPTED) {
            return NGX_DONE;    /* what follows a close is dropped */
        }

        if (s->paused && !payload.done) {
            rest.data = payload.pos;
            rest.len = payload.end - payload.pos;

            if (ngx_sio_session_keep(s, &rest, form) != NGX_OK) {
                ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
            }

            return NGX_DONE;
        }
    }
}


/* NGX_OK, NGX_ERROR: no memory.  What is kept already is only shortened. */

ngx_int_t
ngx_sio_session_keep(ngx_sio_session_t *s, ngx_str_t *body, ngx_uint_t form)
{
    ngx_sio_rest_t  *rest;

    if (s->rest != NULL) {
        s->rest->body = *body;
        return NGX_OK;
    }

    rest = ngx_alloc(sizeof(ngx_sio_rest_t) + body->len, &s->engine->log);
    if (rest == NULL) {
        return NGX_ERROR;
    }

    rest->form = form;
    rest->body.len = body->len;
    rest->body.data = (u_char *) (rest + 1);
    ngx_memcpy(rest->body.data, body->data, body->len);

    s->rest = rest;

    return NGX_OK;
}


static void
ngx_sio_session_continue(ngx_sio_session_t *s)
{
    u_char            *left;
    ngx_int_t          rc;
    ngx_sio_rest_t    *rest;
    ngx_sio_waiter_t   waiter;

    rest = s->rest;
    left = rest->body.data;

    rc = ngx_sio_session_payload(s, &rest->body, rest->form);

    if (rc == NGX_DECLINED) {
        ngx_sio_session_malformed(s);
    }

    if (s->rest == NULL || (s->paused && s->rest->body.data != left)) {
        return;     /* closed meanwhile, or there is more */
    }

    ngx_free(rest);
    s->rest = NULL;

    if (ngx_sio_waiter_set(&s->post)) {
        waiter = s->post;
        ngx_sio_session_post_finished(s, &waiter);
    }
}


/* WebSocket messages. */

static void
ngx_sio_websocket_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data)
{
    ngx_sio_eio_packet_t  pkt;

    if (ngx_sio_eio_frame(data, binary, s->revision, &pkt) != NGX_OK) {
        ngx_log_error(NGX_LOG_INFO, &s->engine->log, 0,
                      "client sent a malformed packet");

        s->engine->counters[NGX_SIO_COUNT_PARSE_ERRORS]++;

        ngx_sio_session_close(s, NGX_SIO_REASON_PARSE_ERROR);
        return;
    }

    ngx_sio_session_packet(s, &pkt);
}


static void
ngx_sio_probing_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data)
{
    ngx_sio_msg_t  *msg;

    if (!binary && data->len == 1 && data->data[0] == '5') {

        if ((ngx_sio_waiter_set(&s->post) && !s->post_done)
            || s->rest != NULL)
        {
            s->upgrading = 1;
            s->state_due = 0;       /* the client has done its part */
            return;
        }

        ngx_sio_session_upgrade(s);
        return;
    }

    if (!binary && !s->probed && data->len == 6
        && ngx_memcmp(data->data, "2probe", 6) == 0)
    {
        msg = ngx_sio_msg_packet('p');

        if (ngx_sio_out_push(s->ws_out, msg) == NGX_OK) {
            s->probed = 1;

            if (ngx_sio_waiter_set(&s->poll)) {
                ngx_sio_session_release(s, ngx_sio_msg_packet('6'));
            }

            s->engine->ops->ws_flush(s->ws);
            return;
        }
    }

    ngx_log_error(NGX_LOG_INFO, &s->engine->log, 0,
                  "client sent an unexpected packet while upgrading");

    s->engine->ops->ws_close(s, s->ws, NGX_SIO_REASONS, 1);

    ngx_sio_session_probe_failed(s);
}


static void
ngx_sio_ignore_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data)
{
    /* the WebSocket is being closed */
}


static void
ngx_sio_session_probe_failed(ngx_sio_session_t *s)
{
    s->ws = NULL;
    s->ws_out = NULL;
    s->probed = 0;
    s->upgrading = 0;
    s->state_due = 0;

    ngx_sio_session_set_state(s, &ngx_sio_session_polling);

    if (s->closing) {
        ngx_sio_session_depart(s, s->reason, 1);
        return;
    }

    if (!ngx_sio_out_empty(&s->own)) {
        ngx_sio_session_set_dirty(s);
    }
}


/*
 * The timers go on over the switch: a client that falls silent during it is
 * found out like any other.
 */

static void
ngx_sio_session_upgrade(ngx_sio_session_t *s)
{
    ngx_uint_t  resume;

    resume = s->upgrading;

    s->upgrading = 0;
    s->state_due = 0;

    ngx_sio_session_set_state(s, &ngx_sio_session_websocket);

    s->engine->counters[NGX_SIO_COUNT_WEBSOCKETS]++;

    if (ngx_sio_waiter_set(&s->post)) {
        ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);
    }

    if (ngx_sio_waiter_set(&s->poll)) {
        /* it was waiting, so there is nothing else for it */
        ngx_sio_session_release(s, ngx_sio_msg_packet('6'));
    }

    ngx_sio_out_splice(s->ws_out, &s->own);
    s->out = s->ws_out;

    if (s->closing) {
        ngx_sio_session_upgraded_closing(s);
        return;
    }

    ngx_sio_session_set_dirty(s);

    if (resume && !s->paused) {
        s->engine->ops->ws_resume(s->ws);
    }
}


/* The server ended it while it upgraded: what is queued still goes out. */

static void
ngx_sio_session_upgraded_closing(ngx_sio_session_t *s)
{
    void  *ws;

    ws = s->ws;

    s->engine->ops->ws_close(s, ws, s->reason, 0);
    s->engine->counters[NGX_SIO_COUNT_WEBSOCKETS]--;

    s->ws = NULL;
    s->ws_out = NULL;
    s->out = &s->own;

    ngx_sio_session_end(s, s->reason);
}


/* Packets, whichever way they came. */

static void
ngx_sio_session_packet(ngx_sio_session_t *s, ngx_sio_eio_packet_t *pkt)
{
    s->packets_in++;
    s->engine->counters[NGX_SIO_COUNT_PACKETS_IN]++;

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

        ngx_log_error(NGX_LOG_INFO, &s->engine->log, 0,
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
        s->engine->counters[NGX_SIO_COUNT_PARSE_ERRORS]++;
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
        s->packets_out++;
        s->engine->counters[NGX_SIO_COUNT_PACKETS_OUT]++;
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


static void
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


/*
 * What the next session writes from is fetched while the kernel is at work for
 * this one: of thousands, none is in the cache.
 */

static ngx_inline void
ngx_sio_session_prefetch(ngx_sio_engine_t *e, ngx_queue_t *q)
{
    ngx_sio_session_t  *s;

    if (q != ngx_queue_sentinel(&e->dirty)) {
        s = ngx_queue_data(q, ngx_sio_session_t, dirty);

        ngx_sio_prefetch(s->ws);
        ngx_sio_prefetch((u_char *) s->ws + 64);
        ngx_sio_prefetch(ngx_queue_next(q));
    }
}


static void
ngx_sio_engine_flush(ngx_event_t *ev)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_sio_engine_t   *e;
    ngx_sio_session_t  *s;

    e = ev->data;

    for (n = 0; !ngx_queue_empty(&e->dirty); n++) {

        if (n == NGX_SIO_FLUSH_BATCH) {
            ngx_post_event(&e->flush, &ngx_posted_next_events);
            return;
        }

        q = ngx_queue_head(&e->dirty);
        s = ngx_queue_data(q, ngx_sio_session_t, dirty);

        ngx_sio_session_prefetch(e, ngx_queue_next(q));

        ngx_queue_remove(&s->dirty);
        s->is_dirty = 0;

        ngx_sio_session_ref(s);
        e->current = s;

        if (s->slow) {
            ngx_log_error(NGX_LOG_INFO, &e->log, 0,
                          "client does not read: %uz octets are queued, "
                          "limit is %uz",
                          s->out->bytes, s->conf->send_buffer);

            e->counters[NGX_SIO_COUNT_SLOW]++;
            ngx_sio_session_close(s, NGX_SIO_REASON_SLOW_CONSUMER);

        } else if (s->failed) {
            ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);

        } else {

            if (s->greet) {
                s->greet = 0;
                (void) ngx_sio_socket_implicit(s);
            }

            if (s->rest != NULL && !s->paused) {
                ngx_sio_session_continue(s);
            }

            s->state->flush(s);
        }

        e->current = NULL;
        ngx_sio_session_unref(s);
    }
}


static void
ngx_sio_polling_flush(ngx_sio_session_t *s)
{
    if (ngx_sio_waiter_set(&s->poll) && !ngx_sio_out_empty(&s->own)) {
        ngx_sio_session_release(s, NULL);
    }
}


static void
ngx_sio_websocket_flush(ngx_sio_session_t *s)
{
    s->engine->ops->ws_flush(s->ws);
}


static void
ngx_sio_ignore_flush(ngx_sio_session_t *s)
{
    /* what is queued waits for the last poll */
}


/* Answers a request without a payload; w may be the session's own. */

static void
ngx_sio_session_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_answer_e kind)
{
    ngx_sio_waiter_t  waiter;

    waiter = *w;

    if (w == &s->poll || w == &s->post) {
        ngx_memzero(w, sizeof(ngx_sio_waiter_t));
    }

    s->engine->ops->answer(s, &waiter, kind, NULL);
}


/* Answers the poll that waits with what is queued, then last if not NULL. */

static void
ngx_sio_session_release(ngx_sio_session_t *s, ngx_sio_msg_t *last)
{
    ngx_sio_waiter_t  waiter;

    waiter = s->poll;
    ngx_memzero(&s->poll, sizeof(ngx_sio_waiter_t));

    ngx_sio_session_release_to(s, &waiter, last);
}


static void
ngx_sio_session_release_to(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_msg_t *last)
{
    ngx_str_t   body;
    ngx_uint_t  form;

    form = ngx_sio_session_poll_form(s);

    if (ngx_sio_session_write_answer(s, &body, form, last) != NGX_OK) {
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_BAD);
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return;
    }

    s->engine->counters[NGX_SIO_COUNT_BYTES_OUT] += body.len;

    s->engine->ops->answer(s, w, form == NGX_SIO_FORM_POLL3_BIN
                                 ? NGX_SIO_ANSWER_BINARY
                                 : NGX_SIO_ANSWER_TEXT, &body);
    ngx_free(body.data);
}


static ngx_uint_t
ngx_sio_session_poll_form(ngx_sio_session_t *s)
{
    ngx_sio_out_node_t  *node;

    if (s->revision == 4) {
        return NGX_SIO_FORM_POLL;
    }

    if (!s->b64) {
        for (node = s->own.head; node != NULL; node = node->next) {
            if (node->msg->nattachments) {
                return NGX_SIO_FORM_POLL3_BIN;
            }
        }
    }

    return NGX_SIO_FORM_POLL3;
}


/*
 * Takes messages from the queue as long as they fit into one answer; last
 * is added when all did.
 */

static ngx_int_t
ngx_sio_session_write_answer(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t form, ngx_sio_msg_t *last)
{
    size_t               len;
    u_char              *p;
    ngx_str_t           *piece;
    ngx_uint_t           n, packets;
    ngx_sio_out_node_t  *node;

    len = 0;
    n = 0;
    packets = (last != NULL);

    for (node = s->own.head; node != NULL; node = node->next) {

        piece = ngx_sio_msg_form(node->msg, form);
        if (piece == NULL) {
            return NGX_ERROR;
        }

        packets += 1 + node->msg->nattachments;

        if (n > 0
            && (len + 1 + piece->len > s->engine->max_answer
                || packets > NGX_SIO_ANSWER_PACKETS))
        {
            last = NULL;
            break;
        }

        len += piece->len + 1;
        n++;
    }

    if (last != NULL) {
        piece = ngx_sio_msg_form(last, form);
        if (piece == NULL) {
            return NGX_ERROR;
        }

        len += piece->len + 1;
    }

    p = ngx_alloc(len + 1, &s->engine->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    while (n-- > 0) {
        if (p != body->data && form == NGX_SIO_FORM_POLL) {
            *p++ = NGX_SIO_EIO_SEPARATOR;
        }

        piece = &s->own.head->msg->forms[form];
        p = ngx_cpymem(p, piece->data, piece->len);

        ngx_sio_out_shift(&s->own);
    }

    if (last != NULL) {
        if (p != body->data && form == NGX_SIO_FORM_POLL) {
            *p++ = NGX_SIO_EIO_SEPARATOR;
        }

        piece = &last->forms[form];
        p = ngx_cpymem(p, piece->data, piece->len);
    }

    body->len = p - body->data;

    return NGX_OK;
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

    s->closing = 1;
    ngx_sio_session_ref(s);

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

        if (s->state == &ngx_sio_session_websocket) {
            e->counters[NGX_SIO_COUNT_WEBSOCKETS]--;
        }

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


/* A session that polls ends at once, or with the next poll. */

static void
ngx_sio_session_depart(ngx_sio_session_t *s, ngx_uint_t reason,
    ngx_uint_t ours)
{
    if (ngx_sio_waiter_set(&s->poll)) {
        ngx_sio_session_release(s, ngx_sio_msg_packet(s->left ? '6' : '1'));

        if (ngx_sio_out_empty(&s->own) || !ours) {
            ngx_sio_session_end(s, reason);
            return;
        }

    } else if (!ours && !s->left) {
        ngx_sio_session_end(s, reason);
        return;
    }

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

static void
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


static void
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

    s->engine->counters[NGX_SIO_COUNT_SESSIONS]--;

    ngx_sio_pending_free(s);
    ngx_sio_out_clear(&s->own);

    if (s->rest != NULL) {
        ngx_free(s->rest);
        s->rest = NULL;
    }
}


ngx_uint_t
ngx_sio_session_movable(ngx_sio_session_t *s)
{
    return s->state == &ngx_sio_session_polling && !s->slow && !s->failed;
}


/* Leaves this worker without anybody being told. */

void
ngx_sio_session_moved(ngx_sio_session_t *s)
{
    s->closing = 1;

    ngx_sio_sockets_moved(s);
    s->engine->ops->moved(s, NULL);

    ngx_sio_session_set_state(s, &ngx_sio_session_closed);
    ngx_sio_session_unlink(s);
    ngx_sio_session_unref(s);
}


/* The caller keeps s->data; the sockets end as if their worker was lost. */

void
ngx_sio_session_drop(ngx_sio_session_t *s)
{
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;

    s->closing = 1;

    while (!ngx_queue_empty(&s->sockets)) {
        q = ngx_queue_head(&s->sockets);
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        ngx_sio_socket_close(so, NGX_SIO_REASON_TRANSPORT_ERROR);
    }

    ngx_sio_session_set_state(s, &ngx_sio_session_closed);
    ngx_sio_session_unlink(s);
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_restored(ngx_sio_session_t *s)
{
    ngx_sio_session_arm(s);

    if (!ngx_sio_out_empty(&s->own) || s->rest != NULL) {
        ngx_sio_session_set_dirty(s);
    }

    if (ngx_sio_waiter_set(&s->post) && s->post_done && !s->paused
        && s->rest == NULL)
    {
        ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);
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

    ngx_free(s);
}


static void
ngx_sio_pending_free(ngx_sio_session_t *s)
{
    ngx_uint_t  i;

    if (s->pending == NULL) {
        return;
    }

    for (i = 0; i < s->pending->got; i++) {
        ngx_free(s->pending->attachments[i].data);
    }

    ngx_free(s->pending);
    s->pending = NULL;
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

static ngx_msec_t
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

static void
ngx_sio_session_arm(ngx_sio_session_t *s)
{
    ngx_uint_t      i;
    ngx_msec_t      due, dues[4];
    ngx_msec_int_t  left;

    dues[0] = s->ping_due;
    dues[1] = s->pong_due;
    dues[2] = s->state_due;
    dues[3] = s->connect_due;

    due = 0;

    for (i = 0; i < 4; i++) {
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
            ngx_sio_session_end(s, NGX_SIO_REASON_FORCED_CLOSE);
            goto done;
        }

        ngx_log_error(NGX_LOG_INFO, &s->engine->log, NGX_ETIMEDOUT,
                      "client did not finish its upgrade");

        s->engine->ops->ws_close(s, s->ws, NGX_SIO_REASONS, 1);
        ngx_sio_session_probe_failed(s);
    }

    if (ngx_sio_session_is_due(s->connect_due)) {
        ngx_log_error(NGX_LOG_INFO, &s->engine->log, NGX_ETIMEDOUT,
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


ngx_str_t *
ngx_sio_session_transport(ngx_sio_session_t *s)
{
    static ngx_str_t  polling = ngx_string("polling");
    static ngx_str_t  websocket = ngx_string("websocket");

    return s->out == &s->own ? &polling : &websocket;
}
