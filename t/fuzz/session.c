
/*
 * The life of a session, as the octets tell it: clients that poll, post, probe,
 * upgrade and send frames cut anywhere; a backend that accepts, refuses, emits,
 * answers, is slow and leaves; time that passes, memory that ends, and workers
 * between which the session moves.
 *
 * Each request is answered once, what a client is sent is what the protocol
 * says, each socket that came ends, and nothing is left at the end.
 *
 * An input is a line of orders: an octet that says what, and what it needs.
 *
 * link: src/core/ngx_sio_engine.c src/core/ngx_sio_move.c
 * link: src/core/ngx_sio_msg.c src/core/ngx_sio_out.c
 * link: src/core/ngx_sio_rooms.c src/core/ngx_sio_roster.c
 * link: src/core/ngx_sio_session.c src/core/ngx_sio_session_polling.c
 * link: src/core/ngx_sio_session_upgrade.c src/core/ngx_sio_sid.c
 * link: src/core/ngx_sio_socket.c src/core/ngx_sio_walk.c
 * link: src/codec/ngx_sio_eio.c src/codec/ngx_sio_packet.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_base64.c
 * link: src/codec/ngx_sio_utf8.c src/codec/ngx_sio_ws.c
 * libs: -lcrypto
 */

#include "fuzz.h"
#include "session.h"


#define FUZZ_ORDERS  400


typedef void (*fuzz_order_pt)(void);


/* Orders: the client. */

static ngx_uint_t
fuzz_waiter(ngx_sio_waiter_t *w)
{
    ngx_uint_t  i;

    for (i = 0; i < FUZZ_WAITERS; i++) {

        if (fuzz_waiting[i] == 0) {
            memset(w, 0, sizeof(ngx_sio_waiter_t));
            w->index = i;
            w->serial = ++fuzz_serial;
            fuzz_waiting[i] = w->serial;
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
fuzz_waiter_of(ngx_uint_t serial, ngx_sio_waiter_t *w)
{
    ngx_uint_t  i;

    for (i = 0; serial && i < FUZZ_WAITERS; i++) {

        if (fuzz_waiting[i] == serial) {
            memset(w, 0, sizeof(ngx_sio_waiter_t));
            w->index = i;
            w->serial = serial;
            return 1;
        }
    }

    return 0;
}


static fuzz_ws_t *
fuzz_ws_create(void)
{
    fuzz_ws_t  *ws;

    ws = calloc(1, sizeof(fuzz_ws_t));
    ngx_sio_fuzz_check(ws != NULL);

    ngx_sio_out_init(&ws->out, NGX_SIO_FORM_WS);

    return ws;
}


static void
fuzz_order_open(void)
{
    ngx_uint_t          option;
    ngx_sio_msg_t      *msg;
    ngx_sio_session_t  *s;

    option = fuzz_octet();

    if (fuzz_session() || fuzz_ws) {
        return;
    }

    memset(fuzz_sid, 'a' + option % 16, NGX_SIO_SID_LEN);

    s = ngx_sio_session_create(&fuzz_engines[option & 1], &fuzz_conf, fuzz_sid,
                               (option & 2) ? 3 : 4, (option >> 2) & 1,
                               NULL);
    if (s == NULL) {
        return;
    }

    s->data = malloc(1);

    if (option & 8) {
        fuzz_ws = fuzz_ws_create();
        fuzz_ws->session = s;

        if (ngx_sio_session_attach(s, fuzz_ws, &fuzz_ws->out) != NGX_OK) {
            ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        }

        return;
    }

    msg = ngx_sio_session_open(s);

    if (msg == NULL) {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return;
    }

    ngx_sio_msg_unref(msg);
}


static void
fuzz_order_poll(void)
{
    ngx_uint_t          other;
    ngx_sio_waiter_t    w;
    ngx_sio_session_t  *s;

    other = fuzz_octet() == 255;
    s = fuzz_session();

    if (s && fuzz_waiter(&w)) {
        ngx_sio_session_poll(s, &w, other ? 7 - s->revision : s->revision);
    }
}


static void
fuzz_order_begin(void)
{
    ngx_sio_waiter_t    w;
    ngx_sio_session_t  *s;

    s = fuzz_session();

    if (s && fuzz_posting == 0 && fuzz_waiter(&w)) {
        fuzz_posting = w.serial;
        ngx_sio_session_post_begin(s, &w, s->revision);
    }
}


static void
fuzz_order_post(void)
{
    ngx_str_t           body;
    ngx_uint_t          octets;
    ngx_sio_waiter_t    w;
    ngx_sio_session_t  *s;

    octets = fuzz_octet() & 1;
    fuzz_chunk(&body);
    s = fuzz_session();

    if (s && (fuzz_waiter_of(fuzz_posting, &w) || fuzz_waiter(&w))) {
        fuzz_posting = 0;
        ngx_sio_session_post(s, &w, s->revision, octets, &body);
    }

    free(body.data);
}


static void
fuzz_order_refused(void)
{
    ngx_sio_waiter_t    w;
    ngx_sio_session_t  *s;

    s = fuzz_session();

    if (s && fuzz_waiter_of(fuzz_posting, &w)) {
        fuzz_posting = 0;
        ngx_sio_session_post_refused(s, &w);
    }
}


static void
fuzz_order_abort(void)
{
    ngx_uint_t          i;
    ngx_sio_waiter_t    w;
    ngx_sio_session_t  *s;

    i = fuzz_octet() % FUZZ_WAITERS;
    s = fuzz_session();

    if (s && fuzz_waiter_of(fuzz_waiting[i], &w)) {

        if (fuzz_posting == w.serial) {
            fuzz_posting = 0;
        }

        fuzz_waiting[i] = 0;
        ngx_sio_session_abort(s, &w);
    }
}


static void
fuzz_order_probe(void)
{
    ngx_uint_t          b64;
    fuzz_ws_t          *ws;
    ngx_sio_session_t  *s;

    b64 = fuzz_octet() & 1;
    s = fuzz_session();

    if (s == NULL || fuzz_ws) {
        return;
    }

    ws = fuzz_ws_create();

    if (ngx_sio_session_probe(s, ws, &ws->out, b64) == NGX_OK) {
        ws->session = s;
    }

    fuzz_ws = ws;
}


/* A frame, or a part of one, or octets that are none. */

static void
fuzz_order_send(void)
{
    size_t      n;
    u_char      head[NGX_SIO_WS_MAX_HEADER + 4];
    ngx_str_t   chunk;
    ngx_uint_t  option;

    option = fuzz_octet();
    fuzz_chunk(&chunk);

    if (fuzz_ws && fuzz_ws->session
        && fuzz_ws->unread.len < 4 * FUZZ_PAYLOAD)
    {
        if (!(option & 1)) {
            n = ngx_sio_ws_header(head, (option & 2) ? NGX_SIO_WS_BINARY
                                                     : NGX_SIO_WS_TEXT,
                                  chunk.len);
            head[1] |= 0x80;
            memset(head + n, 0, 4);

            fuzz_append(&fuzz_ws->unread, head, n + 4);

            /* cut within the header, or behind it */
            if (option & 8) {
                fuzz_ws->unread.len -= (option >> 4) % (n + 4);
                fuzz_ws_read(fuzz_ws);
                fuzz_append(&fuzz_ws->unread,
                            head + n + 4 - (option >> 4) % (n + 4),
                            (option >> 4) % (n + 4));
            }
        }

        fuzz_append(&fuzz_ws->unread, chunk.data, chunk.len);

        /* or it stays in the kernel for a while */
        if (!(option & 4)) {
            fuzz_ws_read(fuzz_ws);
        }
    }

    free(chunk.data);
}


static void
fuzz_order_gone(void)
{
    if (fuzz_ws && fuzz_ws->session) {
        fuzz_ws_gone(fuzz_ws, NGX_SIO_REASON_TRANSPORT_CLOSE);
    }
}


static void
fuzz_order_write(void)
{
    ngx_uint_t  n;

    n = fuzz_octet();

    if (fuzz_ws && fuzz_ws->session) {
        fuzz_write(fuzz_ws, n);
    }
}


/* Orders: the backend. */

static void
fuzz_order_accept(void)
{
    ngx_sio_socket_t  *so;

    so = fuzz_socket(0);

    if (so) {
        ngx_sio_socket_accept(so);
    }
}


static void
fuzz_order_refuse(void)
{
    ngx_str_t          message, data;
    ngx_sio_socket_t  *so;

    so = fuzz_socket(0);

    if (so) {
        fuzz_disconnect(so, 0);

        ngx_str_set(&message, "no \"way\"");
        ngx_str_set(&data, "{\"a\":1}");
        ngx_sio_socket_refuse(so, &message, &data);
    }
}


static void
fuzz_emit(ngx_sio_socket_t *so, void *data)
{
    ngx_sio_msg_t  *msg;

    msg = data;

    ngx_sio_session_send(so->session, msg);
}


static void
fuzz_order_emit(void)
{
    ngx_str_t          json, room, octets[2];
    ngx_uint_t         option, i;
    ngx_sio_msg_t     *msg;
    ngx_sio_target_t   target;

    option = fuzz_octet();

    memset(&target, 0, sizeof(target));

    ngx_str_set(&target.nsp, "/");
    ngx_str_set(&room, "r");
    ngx_str_set(&octets[0], "\0\1\xff");
    ngx_str_set(&octets[1], "");
    ngx_str_set(&json, "[\"e\",\"\xc3\xa4\xf0\x9f\x98\x80\"]");

    if (option & 2) {
        ngx_str_set(&json, "[\"e\",{\"_placeholder\":true,\"num\":0},"
                    "{\"_placeholder\":true,\"num\":1}]");
    }

    if (option & 4) {
        ngx_str_set(&target.nsp, "/n");
    }

    if (option & 8) {
        target.to = &room;
        target.nto = 1;
    }

    msg = ngx_sio_socket_event(&target.nsp, NGX_SIO_PACKET_NO_ID, &json,
                               octets, (option & 2) ? 2 : 0);
    if (msg == NULL) {
        return;
    }

    msg->is_volatile = (option >> 4) & 1;

    for (i = 0; i < FUZZ_WORKERS; i++) {
        (void) ngx_sio_rooms_select(&fuzz_engines[i], &target, fuzz_emit, msg);
    }

    ngx_sio_msg_unref(msg);
}


/* An emit that wants an answer, and an answer. */

static void
fuzz_order_ask(void)
{
    uint64_t           id;
    ngx_str_t          json, token;
    ngx_sio_msg_t     *msg;
    ngx_sio_socket_t  *so;

    id = fuzz_octet();
    so = fuzz_socket(1);

    if (so == NULL) {
        return;
    }

    ngx_str_set(&json, "[\"ask\"]");
    ngx_str_set(&token, "token");

    msg = ngx_sio_socket_event(&so->nsp->node.str, id, &json, NULL, 0);

    if (msg) {
        if (ngx_sio_socket_expect(so, id, &token, (id & 1)
                                                  ? ngx_current_msec + 5000
                                                  : 0)
            != NGX_ERROR)
        {
            ngx_sio_session_send(so->session, msg);
        }

        ngx_sio_msg_unref(msg);
    }
}


static void
fuzz_order_ack(void)
{
    ngx_str_t          args;
    ngx_sio_socket_t  *so;

    so = fuzz_socket(1);

    if (so) {
        ngx_str_set(&args, "1,\"two\"");
        (void) ngx_sio_socket_ack(so, fuzz_asked, &args, NULL, 0);
    }
}


static void
fuzz_order_room(void)
{
    ngx_str_t          room;
    ngx_uint_t         option;
    ngx_sio_socket_t  *so;

    option = fuzz_octet();
    so = fuzz_socket(1);

    if (so) {
        room.len = 1 + (option >> 1) % 2;
        room.data = (u_char *) "rr";

        (option & 1) ? ngx_sio_rooms_leave(so, &room)
                     : ngx_sio_rooms_join(so, &room);
    }
}


static void
fuzz_order_pause(void)
{
    ngx_uint_t         option;
    ngx_sio_socket_t  *so;

    option = fuzz_octet();
    so = fuzz_socket(1);

    if (so) {
        (option & 1) ? ngx_sio_socket_resume(so) : ngx_sio_socket_pause(so);
    }
}


static void
fuzz_order_end(void)
{
    ngx_uint_t          option;
    ngx_sio_socket_t   *so;
    ngx_sio_session_t  *s;

    option = fuzz_octet();
    so = fuzz_socket(1);
    s = fuzz_session();

    if (s == NULL) {
        return;
    }

    switch (option % 4) {

    case 0:
        if (so) {
            ngx_sio_socket_disconnect(so);
        }

        break;

    case 1:
        ngx_sio_session_kick(s);
        break;

    case 2:
        ngx_sio_session_close(s, (option >> 2) % NGX_SIO_REASONS);
        break;

    default:
        ngx_sio_session_fail(s);
    }
}


/* Orders: the world. */

static void
fuzz_order_turn(void)
{
    if (fuzz_ws) {
        fuzz_ws_read(fuzz_ws);
    }

    fuzz_turn(&ngx_posted_events);
    fuzz_turn(&ngx_posted_next_events);
}


static void
fuzz_order_time(void)
{
    ngx_uint_t          n;
    ngx_event_t        *ev;
    ngx_rbtree_node_t  *node;

    n = fuzz_octet();
    ngx_current_msec += n * n;

    for (n = 0; ngx_event_timer_rbtree.root
                != ngx_event_timer_rbtree.sentinel; n++)
    {
        ngx_sio_fuzz_check(n < 1000);

        node = ngx_rbtree_min(ngx_event_timer_rbtree.root,
                              ngx_event_timer_rbtree.sentinel);

        if ((ngx_msec_int_t) (node->key - ngx_current_msec) > 0) {
            break;
        }

        ev = ngx_rbtree_data(node, ngx_event_t, timer);

        ngx_rbtree_delete(&ngx_event_timer_rbtree, node);
        ev->timer_set = 0;
        ev->timedout = 1;
        ev->handler(ev);
    }
}


/* To the other worker. */

static void
fuzz_order_move(void)
{
    ngx_int_t           rc;
    ngx_str_t           saved;
    ngx_uint_t          place;
    ngx_sio_engine_t   *to;
    ngx_sio_waiter_t    waiters[2];
    ngx_sio_session_t  *s, *again;
    u_char             *last, sid[NGX_SIO_SID_LEN];

    s = fuzz_session();

    if (s == NULL || !ngx_sio_session_movable(s)) {
        return;
    }

    to = &fuzz_engines[s->engine == &fuzz_engines[0]];

    ngx_sio_fuzz_room(&saved, ngx_sio_session_save_length(s));
    last = ngx_sio_session_save(s, saved.data);

    /* its length is an upper bound */
    ngx_sio_fuzz_check((size_t) (last - saved.data) <= saved.len);
    saved.len = last - saved.data;

    /* the hub does, with what is in the log */
    s->engine->gauges[NGX_SIO_GAUGE_POLLING]--;
    to->gauges[NGX_SIO_GAUGE_POLLING]++;

    ngx_sio_session_moved(s);

    rc = ngx_sio_session_restore(to, &fuzz_conf, NULL, &saved, &again);

    if (rc == NGX_OK) {
        again->data = malloc(1);

    } else {
        ngx_sio_fuzz_check(rc == NGX_ERROR && ngx_sio_standin_failed());

        /* its requests are told by those who have them */

        ngx_sio_fuzz_check(ngx_sio_session_waiters(&saved, sid, waiters)
                           == NGX_OK);

        for (place = 0; place < 2; place++) {
            if (ngx_sio_waiter_set(&waiters[place])) {
                fuzz_waiting[waiters[place].index] = 0;
            }
        }
    }

    free(saved.data);
}


static void
fuzz_order_nomem(void)
{
    ngx_sio_standin_nomem(1 + fuzz_octet() % 8);
}


static const fuzz_order_pt  fuzz_orders[] = {
    fuzz_order_open,
    fuzz_order_poll,
    fuzz_order_begin,
    fuzz_order_post,
    fuzz_order_refused,
    fuzz_order_abort,
    fuzz_order_probe,
    fuzz_order_send,
    fuzz_order_gone,
    fuzz_order_write,
    fuzz_order_accept,
    fuzz_order_refuse,
    fuzz_order_emit,
    fuzz_order_ask,
    fuzz_order_ack,
    fuzz_order_room,
    fuzz_order_pause,
    fuzz_order_end,
    fuzz_order_turn,
    fuzz_order_time,
    fuzz_order_move,
    fuzz_order_nomem
};

#define FUZZ_NORDERS  (sizeof(fuzz_orders) / sizeof(fuzz_orders[0]))


static void
fuzz_init(ngx_uint_t option)
{
    ngx_uint_t         i;
    ngx_sio_engine_t  *e;

    memset(&fuzz_conf, 0, sizeof(fuzz_conf));
    memset(fuzz_gauges, 0, sizeof(fuzz_gauges));
    memset(fuzz_named, 0, sizeof(fuzz_named));
    memset(fuzz_waiting, 0, sizeof(fuzz_waiting));

    fuzz_conf.ping_interval = 25000;
    fuzz_conf.ping_timeout = 20000;
    fuzz_conf.upgrade_timeout = 10000;
    fuzz_conf.connect_timeout = 45000;
    fuzz_conf.max_payload = FUZZ_PAYLOAD;
    fuzz_conf.send_buffer = (option & 2) ? 200 : 100000;
    fuzz_conf.max_attachments = 3;
    fuzz_conf.max_namespaces = 3;
    fuzz_conf.max_rooms = 2;
    fuzz_conf.max_name = 16;
    fuzz_conf.event_period = (option & 4) ? 1000000 : 0;
    fuzz_conf.event_burst = 3000000;
    fuzz_conf.websocket = 1;
    fuzz_conf.log = ngx_cycle->log;

    fuzz_eager = option & 1;
    fuzz_chance = option;
    fuzz_serial = 0;
    fuzz_posting = 0;
    fuzz_came = 0;
    fuzz_opened = 0;
    fuzz_asked = 0;

    for (i = 0; i < FUZZ_WORKERS; i++) {
        e = &fuzz_engines[i];

        ngx_sio_fuzz_check(ngx_sio_engine_init(e, &fuzz_ops, NULL,
                                               ngx_cycle->log)
                           == NGX_OK);
        e->gauges = fuzz_gauges[i];
        e->counters = fuzz_counters[i];
        e->named = fuzz_named[i];
        e->max_pending = (option & 8) ? 100 : 100000;
    }
}


/* Everybody goes home. */

static void
fuzz_done(void)
{
    ngx_uint_t  i;

    ngx_sio_standin_nomem(0);

    for (i = 0; i < FUZZ_WORKERS; i++) {
        ngx_sio_engine_close(&fuzz_engines[i], NGX_SIO_REASON_SHUTTING_DOWN);
    }

    if (fuzz_ws) {
        ngx_sio_fuzz_check(fuzz_ws->session == NULL);
        fuzz_ws_free(fuzz_ws);
        fuzz_ws = NULL;
    }

    for (i = 0; i < FUZZ_WAITERS; i++) {
        ngx_sio_fuzz_check(fuzz_waiting[i] == 0);
    }

    for (i = 0; i < FUZZ_WORKERS; i++) {
        ngx_sio_fuzz_check(fuzz_gauges[i][NGX_SIO_GAUGE_POLLING] == 0);
        ngx_sio_fuzz_check(fuzz_gauges[i][NGX_SIO_GAUGE_WEBSOCKET] == 0);
        ngx_sio_fuzz_check(fuzz_named[i][1] == 0);
    }

    ngx_sio_fuzz_check(fuzz_came == 0);
    ngx_sio_fuzz_check(fuzz_opened == 0);
    ngx_sio_fuzz_check(ngx_event_timer_rbtree.root
                       == ngx_event_timer_rbtree.sentinel);
    ngx_sio_fuzz_check(ngx_queue_empty(&ngx_posted_events));
    ngx_sio_fuzz_check(ngx_queue_empty(&ngx_posted_next_events));

    ngx_sio_standin_release();
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_uint_t  n;

    fuzz_pos = data;
    fuzz_end = data + size;

    fuzz_init(fuzz_octet());

    for (n = 0; n < FUZZ_ORDERS && fuzz_pos < fuzz_end; n++) {
        fuzz_orders[fuzz_octet() % FUZZ_NORDERS]();

        if (fuzz_ws && fuzz_ws->session == NULL) {
            fuzz_ws_free(fuzz_ws);
            fuzz_ws = NULL;
        }
    }

    fuzz_done();

    return 0;
}
