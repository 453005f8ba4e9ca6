
#include "ngx_http_socketio_websocket_private.h"
#include "ngx_sio_compat.h"


/* frames written at once */
#define NGX_HTTP_SOCKETIO_WEBSOCKET_IOVS     64

/* a TLS record, and how many are kept for re-use */
#define NGX_HTTP_SOCKETIO_WEBSOCKET_RECORD   16384
#define NGX_HTTP_SOCKETIO_WEBSOCKET_SPARE    16

/* pongs for a client that does not read them */
#define NGX_HTTP_SOCKETIO_WEBSOCKET_CONTROL  1024


static ngx_int_t ngx_http_socketio_websocket_write_plain(
    ngx_http_socketio_websocket_t *ws);
static ngx_int_t ngx_http_socketio_websocket_write_tls(
    ngx_http_socketio_websocket_t *ws);
static ngx_int_t ngx_http_socketio_websocket_fill(
    ngx_http_socketio_websocket_t *ws);
static ngx_int_t ngx_http_socketio_websocket_gather(
    ngx_http_socketio_websocket_t *ws, struct iovec *iovs, size_t *size);
static void ngx_http_socketio_websocket_sent(ngx_http_socketio_websocket_t *ws,
    size_t sent);
static ngx_int_t ngx_http_socketio_websocket_goodbye(
    ngx_http_socketio_websocket_t *ws);
static ngx_http_socketio_octets_t *ngx_http_socketio_websocket_record(
    ngx_log_t *log);


/* this process's */

static ngx_http_socketio_octets_t  *ngx_http_socketio_websocket_records;
static ngx_uint_t                   ngx_http_socketio_websocket_nrecords;


void
ngx_http_socketio_websocket_flush(void *data)
{
    ngx_http_socketio_websocket_t *ws = data;

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_OPENING) {
        return;
    }

    ws->refs++;

    ngx_http_socketio_websocket_output(ws);

    ngx_http_socketio_websocket_release(ws);
}


/* Itself; its connection; what that points to. */

void
ngx_http_socketio_websocket_prefetch(void *data, ngx_uint_t away)
{
    ngx_http_socketio_websocket_t *ws = data;

    ngx_connection_t  *c;

    if (away == 3) {
        ngx_sio_prefetch(ws);
        ngx_sio_prefetch((u_char *) ws + 64);
        return;
    }

    c = ws->connection;

    if (away == 2) {
        ngx_sio_prefetch(c);
        ngx_sio_prefetch((u_char *) c + 64);
        ngx_sio_prefetch((u_char *) c + 128);
        return;
    }

    ngx_sio_prefetch(c->write);
    ngx_sio_prefetch(c->log);
}


void
ngx_http_socketio_websocket_output(ngx_http_socketio_websocket_t *ws)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->failed) {
        return;
    }

    rc = c->ssl ? ngx_http_socketio_websocket_write_tls(ws)
                : ngx_http_socketio_websocket_write_plain(ws);

    if (rc == NGX_ERROR || ngx_handle_write_event(c->write, 0) != NGX_OK) {

        if (ws->session == NULL) {
            ngx_http_socketio_websocket_finish(ws, ws->reason);
            return;
        }

        /* its session may be what called us, and must not end below itself */

        ws->failed = 1;
        ngx_post_event(c->read, &ngx_posted_events);
        return;
    }

    if (ws->state != NGX_HTTP_SOCKETIO_WEBSOCKET_CLOSING) {
        return;
    }

    if (rc == NGX_OK) {
        ws->state = NGX_HTTP_SOCKETIO_WEBSOCKET_WAITING;
        ngx_add_timer(c->read, NGX_HTTP_SOCKETIO_WEBSOCKET_WAIT);
    }

    if ((rc == NGX_OK && ws->left)
        || ngx_terminate
        || (ngx_quit && ngx_process == NGX_PROCESS_SINGLE))
    {
        ngx_http_socketio_websocket_finish(ws, ws->reason);
        return;
    }

    if (rc == NGX_OK && ws->deaf) {

        /*
         * Its close frame will not be recognized.  It sees the end of our
         * side and closes; what it sends until then is read, since a reset
         * could take our close frame away from it.
         */

        (void) ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN);
    }
}


/* NGX_OK: all is written; NGX_AGAIN: not all; NGX_ERROR. */

static ngx_int_t
ngx_http_socketio_websocket_write_plain(ngx_http_socketio_websocket_t *ws)
{
    ssize_t            sent;
    ngx_int_t          n;
    ngx_iovec_t        vec;
    struct iovec       iovs[NGX_HTTP_SOCKETIO_WEBSOCKET_IOVS];
    ngx_connection_t  *c;

    c = ws->connection;

    for ( ;; ) {
        n = ngx_http_socketio_websocket_gather(ws, iovs, &vec.size);

        if (n == 0 || n == NGX_ERROR) {
            return n ? NGX_ERROR : NGX_OK;
        }

        if (!c->write->ready) {
            return NGX_AGAIN;
        }

        if (n == 1) {

            /* the common case, and a cheaper system call */

            sent = ngx_unix_send(c, iovs[0].iov_base, iovs[0].iov_len);

        } else {
            vec.iovs = iovs;
            vec.count = n;
            vec.nalloc = NGX_HTTP_SOCKETIO_WEBSOCKET_IOVS;

            sent = ngx_writev(c, &vec);

            if (sent > 0) {
                c->sent += sent;
            }

            if (sent == NGX_AGAIN || (sent > 0 && (size_t) sent < vec.size)) {
                c->write->ready = 0;
            }
        }

        if (sent == NGX_ERROR || sent == NGX_AGAIN) {
            return sent;
        }

        ws->worker->engine.counters[NGX_SIO_COUNT_BYTES_OUT
                                     + NGX_SIO_GAUGE_WEBSOCKET] += sent;

        ngx_http_socketio_websocket_sent(ws, sent);
    }
}


/*
 * OpenSSL wants to be called again with what it did not take, at the same
 * place, so frames are copied into a record that stays until it was taken.
 */

static ngx_int_t
ngx_http_socketio_websocket_write_tls(ngx_http_socketio_websocket_t *ws)
{
    ssize_t                      sent;
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_socketio_octets_t  *record;

    c = ws->connection;

    for ( ;; ) {

        if (ws->record == NULL) {

            rc = ngx_http_socketio_websocket_fill(ws);

            if (rc != NGX_AGAIN) {
                return rc;
            }
        }

        if (!c->write->ready) {
            return NGX_AGAIN;
        }

        record = ws->record;

        sent = c->send(c, record->data + record->pos,
                       record->len - record->pos);

        if (sent == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (sent == NGX_AGAIN) {
            c->write->ready = 0;
            return NGX_AGAIN;
        }

        ws->worker->engine.counters[NGX_SIO_COUNT_BYTES_OUT
                                     + NGX_SIO_GAUGE_WEBSOCKET] += sent;

        record->pos += sent;

        if (record->pos == record->len) {
            ngx_http_socketio_websocket_drop_record(ws);
        }
    }
}


/* NGX_AGAIN: there is a record to be written; NGX_OK: nothing to write. */

static ngx_int_t
ngx_http_socketio_websocket_fill(ngx_http_socketio_websocket_t *ws)
{
    size_t                       size, copy;
    ngx_int_t                    i, n;
    struct iovec                 iovs[NGX_HTTP_SOCKETIO_WEBSOCKET_IOVS];
    ngx_http_socketio_octets_t  *record;

    record = NULL;

    do {
        n = ngx_http_socketio_websocket_gather(ws, iovs, &size);

        if (n == 0) {
            break;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (record == NULL) {
            record = ngx_http_socketio_websocket_record(ws->connection->log);
            if (record == NULL) {
                return NGX_ERROR;
            }

            ws->record = record;
        }

        size = 0;

        for (i = 0; i < n && record->len < record->size; i++) {
            copy = ngx_min(iovs[i].iov_len, record->size - record->len);

            ngx_memcpy(record->data + record->len, iovs[i].iov_base, copy);

            record->len += copy;
            size += copy;
        }

        ngx_http_socketio_websocket_sent(ws, size);

    } while (record->len < record->size);

    return record ? NGX_AGAIN : NGX_OK;
}


/*
 * Control frames go in front, but not into the middle of a message.  *size is
 * the sum of what was gathered.
 */

static ngx_int_t
ngx_http_socketio_websocket_gather(ngx_http_socketio_websocket_t *ws,
    struct iovec *iovs, size_t *size)
{
    ngx_int_t                    i, n, rc;
    ngx_uint_t                   room;
    ngx_http_socketio_octets_t  *control;

    if (ws->state == NGX_HTTP_SOCKETIO_WEBSOCKET_CLOSING
        && !ws->goodbye
        && ws->control == NULL
        && ngx_sio_out_empty(&ws->out)
        && ngx_http_socketio_websocket_goodbye(ws) != NGX_OK)
    {
        return NGX_ERROR;
    }

    control = ws->control;
    room = NGX_HTTP_SOCKETIO_WEBSOCKET_IOVS;
    n = 0;

    if (control != NULL) {

        if (ws->out.offset == 0) {
            iovs[n].iov_base = control->data + control->pos;
            iovs[n].iov_len = control->len - control->pos;
            n++;
            room--;

        } else {
            room = 1;
        }
    }

    rc = ngx_sio_out_gather(&ws->out, &iovs[n], room);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    n += rc;
    *size = 0;

    for (i = 0; i < n; i++) {
        *size += iovs[i].iov_len;
    }

    return n;
}


/* Takes off what was gathered before and has been written. */

static void
ngx_http_socketio_websocket_sent(ngx_http_socketio_websocket_t *ws,
    size_t sent)
{
    size_t                       n;
    ngx_http_socketio_octets_t  *control;

    control = ws->control;

    if (control != NULL && ws->out.offset == 0) {

        n = ngx_min(sent, control->len - control->pos);

        control->pos += n;
        sent -= n;

        if (control->pos == control->len) {
            ngx_http_socketio_websocket_drop(&ws->control);
        }
    }

    (void) ngx_sio_out_sent(&ws->out, sent);
}


ngx_int_t
ngx_http_socketio_websocket_control(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t opcode, ngx_str_t *data)
{
    u_char                      *p;
    ngx_http_socketio_octets_t  *control;

    control = ws->control;

    if (control == NULL) {
        control = ngx_http_socketio_websocket_octets(
                      NGX_HTTP_SOCKETIO_WEBSOCKET_CONTROL,
                      ws->connection->log);
        if (control == NULL) {
            return NGX_ERROR;
        }

        ws->control = control;
    }

    if (control->size - control->len < NGX_SIO_WS_MAX_HEADER + data->len) {
        return NGX_BUSY;
    }

    p = control->data + control->len;

    p += ngx_sio_ws_header(p, opcode, data->len);
    p = ngx_cpymem(p, data->data, data->len);

    control->len = p - control->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_websocket_goodbye(ngx_http_socketio_websocket_t *ws)
{
    u_char     code[2];
    ngx_str_t  data;

    ws->goodbye = 1;

    code[0] = (u_char) (ws->code >> 8);
    code[1] = (u_char) ws->code;

    data.len = ws->code ? 2 : 0;
    data.data = code;

    return ngx_http_socketio_websocket_control(ws, NGX_SIO_WS_CLOSE, &data);
}


static ngx_http_socketio_octets_t *
ngx_http_socketio_websocket_record(ngx_log_t *log)
{
    ngx_http_socketio_octets_t  *record;

    record = ngx_http_socketio_websocket_records;

    if (record == NULL) {
        return ngx_http_socketio_websocket_octets(
                   NGX_HTTP_SOCKETIO_WEBSOCKET_RECORD, log);
    }

    ngx_http_socketio_websocket_records = record->next;
    ngx_http_socketio_websocket_nrecords--;

    record->pos = 0;
    record->len = 0;

    return record;
}


void
ngx_http_socketio_websocket_drop_record(ngx_http_socketio_websocket_t *ws)
{
    ngx_http_socketio_octets_t  *record;

    record = ws->record;
    ws->record = NULL;

    if (record == NULL) {
        return;
    }

    if (ngx_http_socketio_websocket_nrecords
        == NGX_HTTP_SOCKETIO_WEBSOCKET_SPARE)
    {
        ngx_free(record);
        return;
    }

    record->next = ngx_http_socketio_websocket_records;
    ngx_http_socketio_websocket_records = record;
    ngx_http_socketio_websocket_nrecords++;
}
