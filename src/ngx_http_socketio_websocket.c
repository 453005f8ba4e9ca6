
#include "ngx_http_socketio_websocket_private.h"
#include "ngx_http_socketio_note.h"
#include "ngx_http_socketio_request.h"


/* reads of one connection before others get their turn */
#define NGX_HTTP_SOCKETIO_WEBSOCKET_READS  16


static void ngx_http_socketio_websocket_read_handler(ngx_event_t *rev);
static void ngx_http_socketio_websocket_write_handler(ngx_event_t *wev);
static void ngx_http_socketio_websocket_receive(
    ngx_http_socketio_websocket_t *ws);
static ngx_int_t ngx_http_socketio_websocket_frames(
    ngx_http_socketio_websocket_t *ws);
static u_char *ngx_http_socketio_websocket_begin(
    ngx_http_socketio_websocket_t *ws, size_t *len);
static void ngx_http_socketio_websocket_parse(
    ngx_http_socketio_websocket_t *ws, u_char **pos, u_char *end);
static void ngx_http_socketio_websocket_data(ngx_http_socketio_websocket_t *ws,
    ngx_sio_ws_part_t *part);
static ngx_int_t ngx_http_socketio_websocket_append(
    ngx_http_socketio_websocket_t *ws, ngx_str_t *data);
static void ngx_http_socketio_websocket_ping(ngx_http_socketio_websocket_t *ws,
    ngx_str_t *data);
static void ngx_http_socketio_websocket_left(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t code);
static void ngx_http_socketio_websocket_error(
    ngx_http_socketio_websocket_t *ws, ngx_uint_t code);

static void ngx_http_socketio_websocket_gone(
    ngx_http_socketio_websocket_t *ws, ngx_uint_t reason);
static void ngx_http_socketio_websocket_forget(
    ngx_http_socketio_websocket_t *ws, ngx_sio_session_t *s,
    ngx_uint_t reason);
static void ngx_http_socketio_websocket_end(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t code);
static void ngx_http_socketio_websocket_reset(
    ngx_http_socketio_websocket_t *ws);
static void ngx_http_socketio_websocket_show(ngx_http_socketio_websocket_t *ws,
    ngx_http_socketio_ctx_t *ctx);
static void ngx_http_socketio_websocket_log(ngx_http_socketio_websocket_t *ws);


/* this process's */

static u_char      *ngx_http_socketio_websocket_buffer;
static ngx_uint_t   ngx_http_socketio_websocket_reading;


ngx_http_socketio_websocket_t *
ngx_http_socketio_websocket_create(ngx_connection_t *c,
    ngx_http_socketio_worker_t *w, ngx_http_socketio_origin_t *origin)
{
    ngx_http_socketio_websocket_t  *ws;

    ws = ngx_calloc(sizeof(ngx_http_socketio_websocket_t), c->log);
    if (ws == NULL) {
        return NULL;
    }

    ws->connection = c;
    ws->worker = w;
    ws->origin = ngx_http_socketio_origin_ref(origin);
    ws->refs = 1;
    ws->reason = NGX_SIO_REASONS;

    ngx_sio_out_init(&ws->out, NGX_SIO_FORM_WS);

    return ws;
}


ngx_int_t
ngx_http_socketio_websocket_attach(ngx_http_socketio_websocket_t *ws,
    ngx_sio_session_t *s)
{
    ws->session = s;

    if (ngx_sio_session_attach(s, ws, &ws->out) == NGX_OK) {
        return NGX_OK;
    }

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
    ngx_http_socketio_websocket_release(ws);

    return NGX_ERROR;
}


void
ngx_http_socketio_websocket_probe(ngx_http_socketio_websocket_t *ws,
    ngx_sio_session_t *s, ngx_uint_t b64)
{
    if (ngx_sio_session_probe(s, ws, &ws->out, b64) == NGX_OK) {
        ws->session = s;
    }
}


void
ngx_http_socketio_websocket_abandon(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t reason, ngx_http_socketio_ctx_t *ctx)
{
    ws->state = NGX_HTTP_SOCKETIO_WEBSOCKET_GONE;
    ws->opening = NULL;

    if (ws->session != NULL) {
        ngx_http_socketio_websocket_gone(ws, reason);
    }

    ngx_http_socketio_websocket_show(ws, ctx);

    ngx_http_socketio_websocket_release(ws);
}


void
ngx_http_socketio_websocket_opening(ngx_http_socketio_websocket_t *ws,
    ngx_event_t *ev)
{
    ws->opening = ev;
}


void
ngx_http_socketio_websocket_start(ngx_http_socketio_websocket_t *ws,
    ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = ws->connection;

    c->data = ws;
    c->read->handler = ngx_http_socketio_websocket_read_handler;
    c->write->handler = ngx_http_socketio_websocket_write_handler;
    c->log->action = "handling WebSocket";

    /* so nginx tells us when its worker drains; it does not close us then */
    c->idle = 1;

    ws->request = r;
    ws->opening = NULL;
    ws->state = NGX_HTTP_SOCKETIO_WEBSOCKET_OPEN;
    ws->refs++;

    if (ws->session == NULL) {
        ngx_http_socketio_websocket_end(ws, 0);

    } else {
        ngx_http_socketio_websocket_output(ws);
    }

    if (ws->state != NGX_HTTP_SOCKETIO_WEBSOCKET_GONE) {
        ngx_http_socketio_websocket_receive(ws);
    }

    ngx_http_socketio_websocket_release(ws);
}


void
ngx_http_socketio_websocket_release(ngx_http_socketio_websocket_t *ws)
{
    if (--ws->refs > 0) {
        return;
    }

    ngx_sio_out_clear(&ws->out);

    ngx_http_socketio_websocket_drop(&ws->rest);
    ngx_http_socketio_websocket_drop(&ws->message);
    ngx_http_socketio_websocket_drop(&ws->control);
    ngx_http_socketio_websocket_drop_record(ws);

    ngx_http_socketio_note_free(ws->note);

    ngx_http_socketio_origin_unref(ws->origin);

    ngx_free(ws);
}


/* Input. */

static void
ngx_http_socketio_websocket_read_handler(ngx_event_t *rev)
{
    ngx_connection_t               *c;
    ngx_http_socketio_websocket_t  *ws;

    c = rev->data;
    ws = c->data;

    ws->refs++;

    if (c->close && c->error) {

        /* worker_shutdown_timeout */

        if (ws->session != NULL) {
            ngx_sio_session_close(ws->session, NGX_SIO_REASON_SHUTTING_DOWN);
        }

        ngx_http_socketio_websocket_finish(ws, NGX_SIO_REASON_SHUTTING_DOWN);

    } else if (rev->timedout || ws->failed) {
        c->timedout = rev->timedout;
        ngx_http_socketio_websocket_finish(ws, NGX_SIO_REASON_TRANSPORT_CLOSE);

    } else {

        /* c->close alone says that the worker drains: its sessions live on */

        ngx_http_socketio_websocket_receive(ws);
    }

    ngx_http_socketio_websocket_release(ws);
}


static void
ngx_http_socketio_websocket_write_handler(ngx_event_t *wev)
{
    ngx_connection_t               *c;
    ngx_http_socketio_websocket_t  *ws;

    c = wev->data;
    ws = c->data;

    ws->refs++;

    ngx_http_socketio_websocket_output(ws);

    ngx_http_socketio_websocket_release(ws);
}


void
ngx_http_socketio_websocket_read(void *data)
{
    ngx_http_socketio_websocket_t *ws = data;

    ngx_event_t  *ev;

    ws->refs++;

    ev = ws->opening;

    if (ev != NULL && ev->posted) {

        /* the client has its 101, and may have sent all the rest since */

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_OPEN) {

        /* the event that will say so may be behind us in this turn */

        ev = ws->connection->read;
        ev->ready = 1;
        ev->available = -1;

        ngx_http_socketio_websocket_receive(ws);
    }

    ngx_http_socketio_websocket_release(ws);
}


void
ngx_http_socketio_websocket_resume(void *data)
{
    ngx_http_socketio_websocket_t *ws = data;

    ws->paused = 0;

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_OPEN) {
        ngx_post_event(ws->connection->read, &ngx_posted_events);
    }
}


/*
 * Reads into a buffer that all connections share; what makes no complete
 * frame is put aside.  The caller holds ws, which may be gone on return.
 */

static void
ngx_http_socketio_websocket_receive(ngx_http_socketio_websocket_t *ws)
{
    ngx_int_t     rc;
    ngx_event_t  *rev;

    rev = ws->connection->read;

    if (ngx_http_socketio_websocket_reading) {

        /* we are below the reading of another one, which has the buffer */

        ngx_post_event(rev, &ngx_posted_events);
        return;
    }

    rc = ws->paused ? NGX_OK : ngx_http_socketio_websocket_frames(ws);

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_GONE) {
        return;
    }

    if (rc != NGX_OK || ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_socketio_websocket_finish(ws, NGX_SIO_REASON_TRANSPORT_CLOSE);
        return;
    }

    if (ws->control != NULL) {
        ngx_http_socketio_websocket_output(ws);
    }
}


/* NGX_OK, also when ws is gone; NGX_ERROR: it has to be finished. */

static ngx_int_t
ngx_http_socketio_websocket_frames(ngx_http_socketio_websocket_t *ws)
{
    size_t             len;
    u_char            *buf, *pos;
    ssize_t            n;
    ngx_uint_t         i;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ws->connection;
    rev = c->read;

    buf = ngx_http_socketio_websocket_begin(ws, &len);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; /* void */ ; i++) {

        if (len > 0) {
            pos = buf;

            ngx_http_socketio_websocket_reading = 1;
            ngx_http_socketio_websocket_parse(ws, &pos, buf + len);
            ngx_http_socketio_websocket_reading = 0;

            if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_GONE) {
                return NGX_OK;
            }

            len -= pos - buf;
            ngx_memmove(buf, pos, len);
        }

        if (ws->paused || !rev->ready) {
            break;
        }

        if (i == NGX_HTTP_SOCKETIO_WEBSOCKET_READS) {
            ngx_post_event(rev, &ngx_posted_next_events);
            break;
        }

        n = c->recv(c, buf + len, NGX_HTTP_SOCKETIO_WEBSOCKET_BUFFER - len);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            return NGX_ERROR;
        }

        ws->worker->engine.counters[NGX_SIO_COUNT_BYTES_IN
                                     + NGX_SIO_GAUGE_WEBSOCKET] += n;
        len += n;
    }

    return ngx_http_socketio_websocket_keep(ws, buf, len);
}


/* The buffer, beginning with what was put aside; NULL: no memory. */

static u_char *
ngx_http_socketio_websocket_begin(ngx_http_socketio_websocket_t *ws,
    size_t *len)
{
    u_char  *buf;

    buf = ngx_http_socketio_websocket_buffer;

    if (buf == NULL) {
        buf = ngx_alloc(NGX_HTTP_SOCKETIO_WEBSOCKET_BUFFER,
                        ws->connection->log);
        if (buf == NULL) {
            return NULL;
        }

        ngx_http_socketio_websocket_buffer = buf;
    }

    *len = 0;

    if (ws->rest != NULL) {
        *len = ws->rest->len;
        ngx_memcpy(buf, ws->rest->data, ws->rest->len);
        ngx_http_socketio_websocket_drop(&ws->rest);
    }

    return buf;
}


ngx_int_t
ngx_http_socketio_websocket_keep(ngx_http_socketio_websocket_t *ws,
    u_char *buf, size_t len)
{
    if (len == 0) {
        return NGX_OK;
    }

    ws->rest = ngx_http_socketio_websocket_octets(len, ws->connection->log);
    if (ws->rest == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ws->rest->data, buf, len);
    ws->rest->len = len;

    return NGX_OK;
}


static void
ngx_http_socketio_websocket_parse(ngx_http_socketio_websocket_t *ws,
    u_char **pos, u_char *end)
{
    size_t             max;
    ngx_int_t          rc;
    ngx_sio_ws_part_t  part;

    while (!ws->paused && ws->state != NGX_HTTP_SOCKETIO_WEBSOCKET_GONE) {

        if (ws->deaf) {
            *pos = end;
            return;
        }

        max = ws->session ? ws->session->conf->max_payload
                          : NGX_MAX_SIZE_T_VALUE;

        rc = ngx_sio_ws_next(&ws->parser, pos, end, max, &part);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_DECLINED) {
            ngx_http_socketio_websocket_error(ws, part.code);
            continue;
        }

        switch (part.kind) {

        case NGX_SIO_WS_PART_DATA:
            ngx_http_socketio_websocket_data(ws, &part);
            break;

        case NGX_SIO_WS_PART_PING:
            ngx_http_socketio_websocket_ping(ws, &part.data);
            break;

        case NGX_SIO_WS_PART_PONG:
            break;

        case NGX_SIO_WS_PART_CLOSE:
            ngx_http_socketio_websocket_left(ws, part.code);
            break;
        }
    }
}


static void
ngx_http_socketio_websocket_data(ngx_http_socketio_websocket_t *ws,
    ngx_sio_ws_part_t *part)
{
    ngx_int_t                    rc;
    ngx_str_t                    data;
    ngx_http_socketio_octets_t  *message;

    if (ws->session == NULL) {
        return;
    }

    data = part->data;
    message = NULL;

    if (!part->first || !part->last) {

        if (ngx_http_socketio_websocket_append(ws, &data) != NGX_OK) {
            ngx_http_socketio_websocket_finish(ws,
                                               NGX_SIO_REASON_TRANSPORT_ERROR);
            return;
        }

        if (!part->last) {
            return;
        }

        message = ws->message;
        ws->message = NULL;

        data.len = message->len;
        data.data = message->data;
    }

    rc = ngx_sio_session_receive(ws->session, ws, !part->text, &data);

    ngx_http_socketio_websocket_drop(&message);

    if (rc == NGX_AGAIN) {
        ws->paused = 1;
    }
}


/*
 * Room is made by doubling, as far as the message can still grow: a client
 * must neither reserve memory by announcing octets, nor make us copy a message
 * again for each of many small fragments.
 */

static ngx_int_t
ngx_http_socketio_websocket_append(ngx_http_socketio_websocket_t *ws,
    ngx_str_t *data)
{
    size_t                       len, size, max;
    ngx_http_socketio_octets_t  *message, *old;

    old = ws->message;
    len = old ? old->len : 0;

    if (old == NULL || old->size - len < data->len) {

        max = ws->parser.fin ? (size_t) ws->parser.size
                             : ws->session->conf->max_payload;

        size = ngx_max(2 * len, len + data->len);
        size = ngx_max(ngx_min(size, max), len + data->len);

        message = ngx_http_socketio_websocket_octets(size,
                                                     ws->connection->log);
        if (message == NULL) {
            return NGX_ERROR;
        }

        if (old != NULL) {
            ngx_memcpy(message->data, old->data, len);
            ngx_free(old);
        }

        ws->message = message;
    }

    ngx_memcpy(ws->message->data + len, data->data, data->len);
    ws->message->len = len + data->len;

    return NGX_OK;
}


/*
 * Pongs are collected and leave together; a client that sends pings and does
 * not read has only so many of them waiting.
 */

static void
ngx_http_socketio_websocket_ping(ngx_http_socketio_websocket_t *ws,
    ngx_str_t *data)
{
    if (ws->session == NULL) {
        return;
    }

    if (ngx_http_socketio_websocket_control(ws, NGX_SIO_WS_PONG, data)
        != NGX_BUSY)
    {
        return;
    }

    ngx_http_socketio_websocket_output(ws);

    (void) ngx_http_socketio_websocket_control(ws, NGX_SIO_WS_PONG, data);
}


/* RFC 6455, 5.5.1: the other side's close frame is answered with its code. */

static void
ngx_http_socketio_websocket_left(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t code)
{
    ws->deaf = 1;
    ws->left = 1;

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_WAITING) {
        ngx_http_socketio_websocket_finish(ws, ws->reason);
        return;
    }

    if (ws->session == NULL) {
        return;     /* ours is on its way, and will be the last */
    }

    ngx_http_socketio_websocket_gone(ws, NGX_SIO_REASON_TRANSPORT_CLOSE);

    ngx_http_socketio_websocket_end(ws,
                                    code == NGX_SIO_WS_NO_STATUS ? 0 : code);
}


static void
ngx_http_socketio_websocket_error(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t code)
{
    ws->deaf = 1;

    if (ws->session == NULL) {
        return;
    }

    ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                  code == NGX_SIO_WS_TOO_BIG
                  ? "client sent too large WebSocket message"
                  : "client sent invalid WebSocket frame, status %ui", code);

    ngx_http_socketio_websocket_gone(ws, NGX_SIO_REASON_TRANSPORT_ERROR);

    ngx_http_socketio_websocket_end(ws, code);
}


/* The end. */

void
ngx_http_socketio_websocket_close(ngx_sio_session_t *s, void *data,
    ngx_uint_t reason, ngx_uint_t discard)
{
    ngx_http_socketio_websocket_t *ws = data;

    if (ws->session == NULL) {
        return;
    }

    ws->refs++;

    ngx_http_socketio_websocket_forget(ws, s, reason);

    if (discard) {
        ngx_sio_out_truncate(&ws->out);
    }

    ngx_http_socketio_websocket_end(ws, 0);

    ngx_http_socketio_websocket_release(ws);
}


/* The WebSocket ends by itself, and with it the session if it carries that. */

static void
ngx_http_socketio_websocket_gone(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t reason)
{
    ngx_sio_session_t  *s;

    s = ws->session;

    ngx_sio_session_ref(s);

    ws->session = NULL;
    ngx_sio_session_ws_gone(s, ws, reason);

    ngx_http_socketio_websocket_forget(ws, s, reason);

    ngx_sio_session_unref(s);
}


/* Takes down what the access log is to say of a session that has ended. */

static void
ngx_http_socketio_websocket_forget(ngx_http_socketio_websocket_t *ws,
    ngx_sio_session_t *s, ngx_uint_t reason)
{
    ws->session = NULL;

    if (!s->carried) {
        return;     /* of a probe there is nothing to say */
    }

    ws->reason = reason;
    ws->packets_in = s->packets_in;
    ws->packets_out = s->packets_out;

    ws->note = s->note;
    s->note = NULL;
}


/* The session is gone: what is queued leaves, then we do. */

static void
ngx_http_socketio_websocket_end(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t code)
{
    ngx_connection_t  *c;

    ws->code = code;

    ngx_http_socketio_websocket_drop(&ws->message);

    if (ws->state != NGX_HTTP_SOCKETIO_WEBSOCKET_OPEN) {
        return;     /* comes back here when it has been detached */
    }

    c = ws->connection;

    ws->state = NGX_HTTP_SOCKETIO_WEBSOCKET_CLOSING;

    ngx_add_timer(c->read, NGX_HTTP_SOCKETIO_WEBSOCKET_WAIT);

    if (ws->paused) {
        ws->paused = 0;
        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_http_socketio_websocket_output(ws);
}


void
ngx_http_socketio_websocket_finish(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t reason)
{
    ngx_connection_t  *c;

    if (ws->session != NULL) {
        ngx_http_socketio_websocket_gone(ws, reason);
    }

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_GONE) {
        return;
    }

    ws->state = NGX_HTTP_SOCKETIO_WEBSOCKET_GONE;

    c = ws->connection;

    ngx_http_socketio_websocket_log(ws);

    if (ws->request != NULL) {
        c->data = ws->request;
        ngx_http_free_request(ws->request, 0);
        ws->request = NULL;
    }

    if (c->timedout) {
        ngx_http_socketio_websocket_reset(ws);
    }

    ws->connection = NULL;
    c->idle = 0;

    if (c->ssl && ws->failed) {
        c->ssl->no_send_shutdown = 1;
    }

    ngx_http_close_connection(c);

    ngx_http_socketio_websocket_release(ws);
}


/* reset_timedout_connection, as nginx does it for requests */

static void
ngx_http_socketio_websocket_reset(ngx_http_socketio_websocket_t *ws)
{
    struct linger              linger;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ws->origin->loc_conf[ngx_http_core_module.ctx_index];

    if (!clcf->reset_timedout_connection) {
        return;
    }

    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(ws->connection->fd, SOL_SOCKET, SO_LINGER,
                   (const void *) &linger, sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, ws->connection->log, ngx_socket_errno,
                      "setsockopt(SO_LINGER) failed");
    }
}


/* How the session ended, if it was the WebSocket's and has; ctx or NULL. */

static void
ngx_http_socketio_websocket_show(ngx_http_socketio_websocket_t *ws,
    ngx_http_socketio_ctx_t *ctx)
{
    if (ws->reason == NGX_SIO_REASONS || ctx == NULL) {
        return;
    }

    ctx->reason = ngx_sio_reasons[ws->reason];
    ctx->counted = 1;
    ctx->packets_in = ws->packets_in;
    ctx->packets_out = ws->packets_out;
}


static void
ngx_http_socketio_websocket_log(ngx_http_socketio_websocket_t *ws)
{
    ngx_connection_t         *c;
    ngx_http_socketio_ctx_t   ctx;

    c = ws->connection;

    ngx_memzero(&ctx, sizeof(ngx_http_socketio_ctx_t));

    ngx_str_set(&ctx.transport, "websocket");

    ngx_http_socketio_websocket_show(ws, &ctx);
    ngx_http_socketio_note_show(ws->note, &ctx);

    c->log->action = "logging WebSocket";

    ngx_http_socketio_request_log(ws->origin, c, NGX_HTTP_SWITCHING_PROTOCOLS,
                                  c->sent, &ctx);
}


/* Memory. */

ngx_http_socketio_octets_t *
ngx_http_socketio_websocket_octets(size_t size, ngx_log_t *log)
{
    ngx_http_socketio_octets_t  *octets;

    octets = ngx_alloc(offsetof(ngx_http_socketio_octets_t, data) + size, log);

    if (octets != NULL) {
        octets->next = NULL;
        octets->pos = 0;
        octets->len = 0;
        octets->size = size;
    }

    return octets;
}


void
ngx_http_socketio_websocket_drop(ngx_http_socketio_octets_t **octets)
{
    if (*octets != NULL) {
        ngx_free(*octets);
        *octets = NULL;
    }
}
