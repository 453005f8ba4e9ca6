
/*
 * What one worker saves and another takes up, maybe of another version of this
 * module: a session, and where its client came from.  Whatever the octets are,
 * slices lie within them, what can be taken up can be saved again, and it ends
 * like any other.
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
 * link: src/ngx_http_socketio_origin.c
 *
 * What the last one needs to make an origin of a request is not called here,
 * and not there.
 *
 * libs: -lcrypto -Wl,--unresolved-symbols=ignore-in-object-files -no-pie
 */

#include "fuzz.h"
#include "turn.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_sio_rooms.h"


static uint64_t   fuzz_gauges[64];
static uint64_t   fuzz_counters[256];
static uint32_t   fuzz_named[4];
static ngx_int_t  fuzz_came;            /* sockets that have not ended */


/* The layer above. */

static void
fuzz_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *w, ngx_sio_answer_e kind,
    ngx_str_t *body)
{
    ngx_sio_fuzz_check(ngx_sio_waiter_set(w));
    ngx_sio_fuzz_check(kind <= NGX_SIO_ANSWER_BUSY);
}


static void
fuzz_closed(ngx_sio_session_t *s, ngx_uint_t reason)
{
    ngx_sio_fuzz_check(ngx_queue_empty(&s->sockets));
}


static ngx_uint_t
fuzz_nsp_open(ngx_sio_engine_t *e, ngx_str_t *nsp)
{
    return 1;
}


static void
fuzz_nsp_close(ngx_sio_engine_t *e, ngx_uint_t index)
{
}


static ngx_uint_t
fuzz_allowed(ngx_sio_session_t *s, ngx_str_t *nsp)
{
    return 1;
}


static void
fuzz_connect(ngx_sio_socket_t *so, ngx_str_t *auth)
{
    so->data = &fuzz_came;
    fuzz_came++;
    ngx_sio_socket_accept(so);
}


static void
fuzz_event(ngx_sio_socket_t *so, ngx_str_t *event, ngx_str_t *args,
    uint64_t id, ngx_str_t *attachments, ngx_uint_t n)
{
}


static void
fuzz_ack(ngx_sio_socket_t *so, ngx_sio_ack_t *ack, ngx_str_t *args,
    ngx_str_t *attachments, ngx_uint_t n)
{
}


static void
fuzz_disconnect(ngx_sio_socket_t *so, ngx_uint_t reason)
{
    if (so->data) {
        so->data = NULL;
        fuzz_came--;
    }
}


static size_t
fuzz_save_length(ngx_sio_socket_t *so)
{
    return 3;
}


static u_char *
fuzz_save(ngx_sio_socket_t *so, u_char *p)
{
    return ngx_cpymem(p, "abc", 3);
}


static ngx_int_t
fuzz_restore(ngx_sio_socket_t *so, ngx_str_t *saved)
{
    if (saved->len == 0) {
        return NGX_DECLINED;
    }

    so->data = &fuzz_came;
    fuzz_came++;

    return NGX_OK;
}


static void
fuzz_moved(ngx_sio_session_t *s, ngx_sio_socket_t *so)
{
    if (so) {
        fuzz_disconnect(so, 0);
    }
}


static u_char *
fuzz_log(ngx_sio_session_t *s, u_char *buf, size_t len)
{
    return buf;
}


static const ngx_sio_ops_t  fuzz_ops = {
    .answer = fuzz_answer,
    .closed = fuzz_closed,
    .nsp_open = fuzz_nsp_open,
    .nsp_close = fuzz_nsp_close,
    .allowed = fuzz_allowed,
    .connect = fuzz_connect,
    .event = fuzz_event,
    .ack = fuzz_ack,
    .disconnect = fuzz_disconnect,
    .save_length = fuzz_save_length,
    .save = fuzz_save,
    .restore = fuzz_restore,
    .moved = fuzz_moved,
    .log = fuzz_log
};


/* To the next worker, and what it saves is what the one after it takes. */

static ngx_sio_session_t *
fuzz_again(ngx_sio_engine_t *e, const ngx_sio_session_conf_t *conf,
    ngx_sio_session_t *s)
{
    u_char             *last;
    ngx_int_t           rc;
    ngx_str_t           saved;
    ngx_sio_session_t  *again;

    ngx_sio_fuzz_room(&saved, ngx_sio_session_save_length(s));
    last = ngx_sio_session_save(s, saved.data);

    ngx_sio_fuzz_check((size_t) (last - saved.data) <= saved.len);
    saved.len = last - saved.data;

    ngx_sio_session_moved(s);

    rc = ngx_sio_session_restore(e, conf, NULL, &saved, &again);
    ngx_sio_fuzz_check(rc == NGX_OK
                       || (rc == NGX_ERROR && ngx_sio_standin_failed()));

    free(saved.data);

    return rc == NGX_OK ? again : NULL;
}


static void
fuzz_session(ngx_str_t *saved, ngx_uint_t option)
{
    u_char                   sid[NGX_SIO_SID_LEN];
    ngx_int_t                rc;
    ngx_str_t                body;
    ngx_sio_waiter_t         waiters[2];
    ngx_sio_engine_t         e;
    ngx_sio_session_t       *s;
    ngx_sio_session_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.ping_interval = 25000;
    conf.ping_timeout = 20000;
    conf.upgrade_timeout = 10000;
    conf.connect_timeout = 45000;
    conf.max_payload = 2000;
    conf.send_buffer = 100000;
    conf.max_attachments = 3;
    conf.max_namespaces = 3;
    conf.max_rooms = 2;
    conf.max_name = 16;
    conf.websocket = 1;
    conf.log = ngx_cycle->log;

    fuzz_came = 0;

    ngx_sio_fuzz_check(ngx_sio_engine_init(&e, &fuzz_ops, NULL, ngx_cycle->log)
                       == NGX_OK);
    e.gauges = fuzz_gauges;
    e.counters = fuzz_counters;
    e.named = fuzz_named;

    rc = ngx_sio_session_restore(&e, &conf, NULL, saved, &s);
    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc == NGX_OK) {
        ngx_sio_fuzz_check(ngx_sio_session_waiters(saved, sid, waiters)
                           == NGX_OK);

        if ((option & 1) && ngx_sio_session_movable(s)) {
            s = fuzz_again(&e, &conf, s);
        }

        if (s && (option & 2)) {
            ngx_str_set(&body, "42[\"e\",1]\x1e" "430[1]");
            memset(&waiters[0], 1, sizeof(ngx_sio_waiter_t));
            ngx_sio_session_post(s, &waiters[0], s->revision, 0, &body);
        }
    }

    fuzz_turn(&ngx_posted_events);
    fuzz_turn(&ngx_posted_next_events);

    ngx_sio_engine_close(&e, NGX_SIO_REASON_SHUTTING_DOWN);

    ngx_sio_fuzz_check(fuzz_came == 0);
    ngx_sio_fuzz_check(ngx_event_timer_rbtree.root
                       == ngx_event_timer_rbtree.sentinel);
    ngx_sio_fuzz_check(ngx_queue_empty(&ngx_posted_events));
}


static void
fuzz_origin(ngx_str_t *saved)
{
    ngx_str_t                           whole, field, name, value, again;
    ngx_uint_t                          pos, i, n;
    ngx_http_socketio_origin_t         *o;
    ngx_http_socketio_origin_header_t   h;

    o = ngx_http_socketio_origin_restore(saved, NULL, NULL, ngx_cycle->log);

    if (o == NULL) {
        return;
    }

    whole.data = (u_char *) (o + 1);
    whole.len = o->head.size;

    for (i = 0; i < NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS; i++) {
        ngx_http_socketio_origin_field(o, i, &field);
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&field, &whole));
    }

    pos = 0;
    n = 0;

    while (ngx_http_socketio_origin_header(o, &pos, &name, &value) == NGX_OK) {
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&name, &whole));
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&value, &whole));
        ngx_sio_fuzz_check(name.data[name.len] == '\0');
        n++;
    }

    pos = 0;

    for (i = 0; ngx_http_socketio_origin_saved(o, &pos, &h) == NGX_OK; i++) {
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&h.value, &whole));
    }

    ngx_sio_fuzz_check(n <= i);

    ngx_sio_fuzz_room(&again, ngx_http_socketio_origin_length(o));
    ngx_sio_fuzz_full(&again, ngx_http_socketio_origin_write(o, again.data));
    ngx_sio_fuzz_check(again.len <= saved->len
                       && memcmp(again.data, saved->data, again.len) == 0);

    free(again.data);
    ngx_http_socketio_origin_unref(o);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t   saved;
    ngx_uint_t  option, nomem;

    option = ngx_sio_fuzz_option(data, &size);
    nomem = ngx_sio_fuzz_option(data, &size);

    ngx_current_msec = 1000000;
    fuzz_chance = 1;

    ngx_sio_standin_nomem(nomem < 16 ? nomem : 0);
    ngx_sio_fuzz_copy(&saved, data, size);

    if (option & 4) {
        fuzz_origin(&saved);

    } else {
        fuzz_session(&saved, option);
    }

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(saved.data);

    return 0;
}
