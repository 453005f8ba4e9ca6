
/*
 * What is around the session of the target "session": the requests that wait,
 * the wire of its WebSocket, and the layer above the core, all of which look
 * whether what they are told can be.
 */


#ifndef _NGX_SIO_FUZZ_SESSION_H_INCLUDED_
#define _NGX_SIO_FUZZ_SESSION_H_INCLUDED_


#include "fuzz.h"
#include "turn.h"
#include "ngx_sio_eio.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_rooms.h"
#include "ngx_sio_ws.h"


#define FUZZ_WORKERS   2
#define FUZZ_WAITERS   64
#define FUZZ_PAYLOAD   2000


/* The wire of a WebSocket, both ways. */

typedef struct {
    ngx_sio_session_t   *session;   /* NULL: it has let go, this may go */
    ngx_sio_out_t        out;
    ngx_sio_ws_t         parser;
    ngx_str_t            unread;    /* has arrived */
    ngx_str_t            message;   /* the parts of one */
    ngx_str_t            sent;
    unsigned             paused:1;
    unsigned             reading:1;
} fuzz_ws_t;


static const u_char            *fuzz_pos;
static const u_char            *fuzz_end;

static ngx_sio_engine_t         fuzz_engines[FUZZ_WORKERS];
static uint64_t                 fuzz_gauges[FUZZ_WORKERS][64];
static uint64_t                 fuzz_counters[FUZZ_WORKERS][256];
static uint32_t                 fuzz_named[FUZZ_WORKERS][4];
static ngx_sio_session_conf_t   fuzz_conf;

static u_char                   fuzz_sid[NGX_SIO_SID_LEN];
static fuzz_ws_t               *fuzz_ws;
static ngx_uint_t               fuzz_waiting[FUZZ_WAITERS];
static uint32_t                 fuzz_serial;
static ngx_uint_t               fuzz_posting;   /* has begun; 0: none */
static ngx_uint_t               fuzz_eager;     /* the backend accepts and
                                                   answers at once */
static ngx_int_t                fuzz_came;      /* sockets, and namespaces, */
static ngx_int_t                fuzz_opened;    /* that have not ended */
static uint64_t                 fuzz_asked;     /* what was asked last */


/* What the input says next. */

static ngx_uint_t
fuzz_octet(void)
{
    return fuzz_pos < fuzz_end ? *fuzz_pos++ : 0;
}


/* to be freed */

static void
fuzz_chunk(ngx_str_t *chunk)
{
    size_t  n;

    n = fuzz_octet();
    n = ngx_min(n, (size_t) (fuzz_end - fuzz_pos));

    ngx_sio_fuzz_copy(chunk, fuzz_pos, n);
    fuzz_pos += n;
}


static void
fuzz_append(ngx_str_t *to, const void *data, size_t len)
{
    to->data = realloc(to->data, to->len + len + 1);
    ngx_sio_fuzz_check(to->data != NULL);

    if (len) {
        memcpy(to->data + to->len, data, len);
        to->len += len;
    }
}


static ngx_sio_session_t *
fuzz_session(void)
{
    ngx_uint_t          i;
    ngx_sio_session_t  *s, *found;

    found = NULL;

    for (i = 0; i < FUZZ_WORKERS; i++) {
        s = ngx_sio_session_find(&fuzz_engines[i], fuzz_sid);

        /* never in two of them */
        ngx_sio_fuzz_check(s == NULL || found == NULL);

        found = s ? s : found;
    }

    return found;
}


/* One of its sockets; NULL: it has none. */

static ngx_sio_socket_t *
fuzz_socket(ngx_uint_t connected)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_sio_socket_t   *so, *found;
    ngx_sio_session_t  *s;

    s = fuzz_session();
    n = fuzz_octet();
    found = NULL;

    if (s == NULL || s->closing) {
        return NULL;
    }

    for (q = ngx_queue_head(&s->sockets);
         q != ngx_queue_sentinel(&s->sockets);
         q = ngx_queue_next(q))
    {
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        if (so->connected == connected && (found == NULL || n-- % 2)) {
            found = so;
        }
    }

    return found;
}


/* Octets as a client of the revision reads them. */

static void
fuzz_payload(ngx_str_t *body, ngx_uint_t form)
{
    ngx_int_t               rc;
    ngx_sio_eio_packet_t    pkt;
    ngx_sio_eio_payload_t   payload;

    ngx_sio_fuzz_check(body->len > 0);

    ngx_sio_eio_payload(&payload, body, form);

    do {
        rc = ngx_sio_eio_next(&payload, &pkt);
    } while (rc == NGX_OK);

    ngx_sio_fuzz_check(rc == NGX_DONE);
}


static void
fuzz_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *w, ngx_sio_answer_e kind,
    ngx_str_t *body)
{
    ngx_sio_fuzz_check(w->serial && w->index < FUZZ_WAITERS);
    ngx_sio_fuzz_check(fuzz_waiting[w->index] == w->serial);

    fuzz_waiting[w->index] = 0;

    if (fuzz_posting == w->serial) {
        fuzz_posting = 0;
    }

    if (kind == NGX_SIO_ANSWER_TEXT) {
        fuzz_payload(body, s->revision == 4 ? NGX_SIO_EIO_V4
                                            : NGX_SIO_EIO_V3_TEXT);

    } else if (kind == NGX_SIO_ANSWER_BINARY) {
        ngx_sio_fuzz_check(s->revision == 3 && !s->b64);
        fuzz_payload(body, NGX_SIO_EIO_V3_BINARY);
    }
}


/* All that was sent, frame by frame; only whole ones are looked at. */

static void
fuzz_sent(fuzz_ws_t *ws)
{
    u_char      *p, *last;
    uint64_t     len;
    ngx_uint_t   i, n;

    p = ws->sent.data;
    last = p + ws->sent.len;

    while (last - p >= 2) {
        ngx_sio_fuzz_check((p[0] & 0xf0) == 0x80 && (p[1] & 0x80) == 0);

        n = p[1] == 127 ? 8 : p[1] == 126 ? 2 : 0;

        if ((ngx_uint_t) (last - p) < 2 + n) {
            break;
        }

        len = n ? 0 : p[1];

        for (i = 0; i < n; i++) {
            len = len << 8 | p[2 + i];
        }

        ngx_sio_fuzz_check(len < 10 * FUZZ_PAYLOAD);

        if ((uint64_t) (last - p) < 2 + n + len) {
            break;
        }

        p += 2 + n;
        n = p[-2 - (ngx_int_t) n] & 0x0f;

        ngx_sio_fuzz_check(n == NGX_SIO_WS_BINARY || n == NGX_SIO_WS_TEXT);
        ngx_sio_fuzz_check(n == NGX_SIO_WS_BINARY
                           || ngx_sio_utf8_valid(p, len));
        p += len;
    }

    ws->sent.len = last - p;
    memmove(ws->sent.data, p, ws->sent.len);
}


static void
fuzz_write(fuzz_ws_t *ws, size_t max)
{
    size_t         n, len;
    ngx_int_t      i, count;
    struct iovec   vec[4];

    while (max > 0) {
        count = ngx_sio_out_gather(&ws->out, vec, 4);

        if (count <= 0) {
            break;
        }

        for (n = 0, i = 0; i < count && n < max; i++) {
            len = ngx_min(vec[i].iov_len, max - n);
            fuzz_append(&ws->sent, vec[i].iov_base, len);
            n += len;
        }

        ngx_sio_out_sent(&ws->out, n);
        max -= n;
    }

    if (ws->sent.len) {
        fuzz_sent(ws);
    }
}


static void
fuzz_ws_free(fuzz_ws_t *ws)
{
    ngx_sio_out_clear(&ws->out);

    free(ws->unread.data);
    free(ws->message.data);
    free(ws->sent.data);
    free(ws);
}


static void
fuzz_ws_gone(fuzz_ws_t *ws, ngx_uint_t reason)
{
    ngx_sio_session_t  *s;

    s = ws->session;
    ws->session = NULL;

    ngx_sio_session_ws_gone(s, ws, reason);
}


/* Takes the parts of a message together, and passes it on. */

static void
fuzz_ws_part(fuzz_ws_t *ws, ngx_sio_ws_part_t *part)
{
    ngx_int_t   rc;
    ngx_str_t   message;

    if (part->kind == NGX_SIO_WS_PART_CLOSE) {
        fuzz_ws_gone(ws, NGX_SIO_REASON_TRANSPORT_CLOSE);
        return;
    }

    if (part->kind != NGX_SIO_WS_PART_DATA) {
        return;
    }

    fuzz_append(&ws->message, part->data.data, part->data.len);

    if (!part->last) {
        return;
    }

    /* in memory of its size */
    ngx_sio_fuzz_copy(&message, ws->message.data, ws->message.len);
    ws->message.len = 0;

    rc = ngx_sio_session_receive(ws->session, ws, !part->text, &message);

    free(message.data);

    ngx_sio_fuzz_check((rc == NGX_DONE) == (ws->session == NULL));

    if (rc == NGX_AGAIN) {
        ws->paused = 1;
    }
}


static void
fuzz_ws_read(void *data)
{
    u_char             *p;
    ngx_int_t           rc;
    fuzz_ws_t          *ws;
    ngx_str_t           in;
    ngx_sio_ws_part_t   part;

    ws = data;

    if (ws->reading) {
        return;
    }

    ws->reading = 1;

    while (ws->session && !ws->paused && ws->unread.len) {
        ngx_sio_fuzz_copy(&in, ws->unread.data, ws->unread.len);
        p = in.data;

        rc = ngx_sio_ws_next(&ws->parser, &p, in.data + in.len, FUZZ_PAYLOAD,
                             &part);

        ws->unread.len -= p - in.data;
        memmove(ws->unread.data, ws->unread.data + (p - in.data),
                ws->unread.len);

        /* it was unmasked there */
        if (rc == NGX_OK) {
            fuzz_ws_part(ws, &part);

        } else if (rc == NGX_DECLINED) {
            fuzz_ws_gone(ws, NGX_SIO_REASON_TRANSPORT_ERROR);
        }

        free(in.data);

        if (rc == NGX_AGAIN) {
            break;
        }
    }

    ws->reading = 0;
}


static void
fuzz_ws_flush(void *ws)
{
    /* as much as a socket takes at once */
    fuzz_write(ws, 3000);
}


static void
fuzz_ws_prefetch(void *ws, ngx_uint_t away)
{
    (void) ws;
    (void) away;
}


static void
fuzz_ws_close(ngx_sio_session_t *s, void *data, ngx_uint_t reason,
    ngx_uint_t discard)
{
    fuzz_ws_t  *ws;

    (void) reason;

    ws = data;

    ngx_sio_fuzz_check(ws->session == s);

    if (!discard) {
        fuzz_write(ws, 400 * FUZZ_PAYLOAD);
    }

    ws->session = NULL;
}


static void
fuzz_ws_resume(void *ws)
{
    ((fuzz_ws_t *) ws)->paused = 0;
}


static void
fuzz_closed(ngx_sio_session_t *s, ngx_uint_t reason)
{
    ngx_sio_fuzz_check(reason < NGX_SIO_REASONS);
    ngx_sio_fuzz_check(ngx_queue_empty(&s->sockets));

    free(s->data);
    s->data = NULL;
}


static ngx_uint_t
fuzz_nsp_open(ngx_sio_engine_t *e, ngx_str_t *nsp)
{
    (void) e;

    ngx_sio_fuzz_check(nsp->len > 0 && nsp->data[0] == '/');
    fuzz_opened++;

    return 1;
}


static void
fuzz_nsp_close(ngx_sio_engine_t *e, ngx_uint_t index)
{
    (void) e;

    ngx_sio_fuzz_check(index == 1);
    fuzz_opened--;
}


static ngx_uint_t
fuzz_allowed(ngx_sio_session_t *s, ngx_str_t *nsp)
{
    (void) s;

    return nsp->len < 2 || nsp->data[1] != 'x';
}


static void
fuzz_connect(ngx_sio_socket_t *so, ngx_str_t *auth)
{
    ngx_str_t  value;

    ngx_sio_fuzz_check(auth->len == 0
                       || ngx_sio_json_text(auth, NGX_SIO_PACKET_DEPTH,
                                            &value)
                          == NGX_OK);

    so->data = malloc(1);
    fuzz_came++;

    if (fuzz_eager) {
        ngx_sio_socket_accept(so);
    }
}


static void
fuzz_args(ngx_str_t *args)
{
    ngx_str_t  array, value;

    ngx_sio_fuzz_room(&array, args->len + 2);

    array.data[0] = '[';

    if (args->len) {
        memcpy(array.data + 1, args->data, args->len);
    }

    array.data[array.len - 1] = ']';

    ngx_sio_fuzz_check(ngx_sio_utf8_valid(array.data, array.len));
    ngx_sio_fuzz_check(ngx_sio_json_text(&array, NGX_SIO_PACKET_DEPTH + 1,
                                         &value)
                       == NGX_OK);
    free(array.data);
}


static void
fuzz_event(ngx_sio_socket_t *so, ngx_str_t *event, ngx_str_t *args,
    uint64_t id, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_uint_t  i;

    /* also before it was accepted: then it is for the layer above to wait */
    ngx_sio_fuzz_check(so->data != NULL);
    ngx_sio_fuzz_check(ngx_sio_json_type(event) == NGX_SIO_JSON_STRING
                       || ngx_sio_json_type(event) == NGX_SIO_JSON_NUMBER);
    ngx_sio_fuzz_check(n <= fuzz_conf.max_attachments);

    fuzz_args(args);

    for (i = 0; i < n; i++) {
        ngx_sio_fuzz_check(attachments[i].len <= FUZZ_PAYLOAD);
    }

    if (id == NGX_SIO_PACKET_NO_ID
        || ngx_sio_socket_ask(so, id, 4) != NGX_OK)
    {
        return;
    }

    fuzz_asked = id;

    if (fuzz_eager) {
        (void) ngx_sio_socket_ack(so, id, args, attachments, n);
    }
}


static void
fuzz_ack(ngx_sio_socket_t *so, ngx_sio_ack_t *ack, ngx_str_t *args,
    ngx_str_t *attachments, ngx_uint_t n)
{
    (void) attachments;

    ngx_sio_fuzz_check(so->data != NULL && ack->token.len == 5);
    ngx_sio_fuzz_check(memcmp(ack->token.data, "token", 5) == 0);
    ngx_sio_fuzz_check(n <= fuzz_conf.max_attachments);

    fuzz_args(args);
}


static void
fuzz_disconnect(ngx_sio_socket_t *so, ngx_uint_t reason)
{
    ngx_sio_fuzz_check(reason < NGX_SIO_REASONS);

    if (so->data) {
        free(so->data);
        so->data = NULL;
        fuzz_came--;
    }
}


static size_t
fuzz_save_length(ngx_sio_socket_t *so)
{
    (void) so;

    return 3;
}


static u_char *
fuzz_save(ngx_sio_socket_t *so, u_char *p)
{
    (void) so;

    return ngx_cpymem(p, "abc", 3);
}


static ngx_int_t
fuzz_restore(ngx_sio_socket_t *so, ngx_str_t *saved)
{
    ngx_sio_fuzz_check(saved->len == 3 && memcmp(saved->data, "abc", 3) == 0);

    so->data = malloc(1);
    fuzz_came++;

    return NGX_OK;
}


static void
fuzz_moved(ngx_sio_session_t *s, ngx_sio_socket_t *so)
{
    if (so) {
        fuzz_disconnect(so, 0);
        return;
    }

    free(s->data);
    s->data = NULL;
}


static u_char *
fuzz_log(ngx_sio_session_t *s, u_char *buf, size_t len)
{
    (void) s;
    (void) len;

    return buf;
}


static const ngx_sio_ops_t  fuzz_ops = {
    .answer = fuzz_answer,
    .ws_flush = fuzz_ws_flush,
    .ws_prefetch = fuzz_ws_prefetch,
    .ws_close = fuzz_ws_close,
    .ws_read = fuzz_ws_read,
    .ws_resume = fuzz_ws_resume,
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


#endif /* _NGX_SIO_FUZZ_SESSION_H_INCLUDED_ */
