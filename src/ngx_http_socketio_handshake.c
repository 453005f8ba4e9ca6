#include "ngx_http_socketio_handshake.h"
#include "ngx_http_socketio_answer.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_websocket.h"
#include "ngx_sio_ws.h"


/*
 * msec; how often a request is asked whether it is through with its
 * subrequests, as those of "mirror", and for how long
 */
#define NGX_HTTP_SOCKETIO_HANDSHAKE_TICK  10
#define NGX_HTTP_SOCKETIO_HANDSHAKE_WAIT  1000


/* A handshake that was accepted, in its request's pool. */

typedef struct {
    ngx_http_request_t             *request;
    ngx_http_cleanup_t             *cleanup;
    ngx_http_socketio_websocket_t  *ws;
    ngx_event_t                     detach;
    ngx_msec_t                      waited;     /* for subrequests */
} ngx_http_socketio_handshake_t;


static ngx_table_elt_t *ngx_http_socketio_handshake_find(ngx_http_request_t *r,
    const char *name, size_t len);
static ngx_uint_t ngx_http_socketio_handshake_upgrade(ngx_http_request_t *r);
static ngx_uint_t ngx_http_socketio_handshake_listed(ngx_str_t *value);
static ngx_int_t ngx_http_socketio_handshake_protocol(ngx_http_request_t *r,
    ngx_str_t *protocol);

static ngx_int_t ngx_http_socketio_handshake_accept(ngx_http_request_t *r,
    ngx_http_socketio_websocket_t *ws);
static ngx_int_t ngx_http_socketio_handshake_answer(ngx_http_request_t *r);
static void ngx_http_socketio_handshake_opening(ngx_http_request_t *r);
static void ngx_http_socketio_handshake_abandoned(void *data);
static void ngx_http_socketio_handshake_detach(ngx_event_t *ev);
static void ngx_http_socketio_handshake_cancel(ngx_event_t *ev);
static ngx_int_t ngx_http_socketio_handshake_wait(
    ngx_http_socketio_handshake_t *hs);
static void ngx_http_socketio_handshake_cut(ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_handshake_pipelined(
    ngx_http_socketio_handshake_t *hs);
static void ngx_http_socketio_handshake_free_request(ngx_http_request_t *r);
static void ngx_http_socketio_handshake_free_chain(ngx_connection_t *c,
    ngx_chain_t **chain);


ngx_int_t
ngx_http_socketio_handshake_check(ngx_http_request_t *r, ngx_str_t *err)
{
    ngx_str_t         protocol;
    ngx_table_elt_t  *key, *version;

    static ngx_str_t  versions = ngx_string("13, 8");

    /* neither HTTP/2 nor HTTP/3 of nginx can carry a WebSocket */

    if (r->http_version != NGX_HTTP_VERSION_11
        || !ngx_http_socketio_handshake_upgrade(r))
    {
        return NGX_ABORT;
    }

    key = ngx_http_socketio_handshake_find(r, "sec-websocket-key", 17);

    if (key == NULL || !ngx_sio_ws_key_valid(&key->value)) {
        ngx_str_set(err, "Missing or invalid Sec-WebSocket-Key header");
        return NGX_DECLINED;
    }

    version = ngx_http_socketio_handshake_find(r, "sec-websocket-version", 21);

    if (version == NULL
        || !((version->value.len == 2
              && ngx_strncmp(version->value.data, "13", 2) == 0)
             || (version->value.len == 1 && version->value.data[0] == '8')))
    {
        ngx_str_set(err, "Missing or invalid Sec-WebSocket-Version header");

        return (ngx_http_socketio_answer_header(r, "Sec-WebSocket-Version",
                                                   &versions)
                == NGX_OK) ? NGX_DECLINED : NGX_ERROR;
    }

    if (ngx_http_socketio_handshake_protocol(r, &protocol) == NGX_DECLINED) {
        ngx_str_set(err, "Invalid Sec-WebSocket-Protocol header");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_socketio_handshake_find(ngx_http_request_t *r, const char *name,
    size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len
                && ngx_strncmp(h[i].lowcase_key, name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_socketio_handshake_upgrade(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    h = r->headers_in.upgrade;

    if (h == NULL || h->value.len != sizeof("websocket") - 1
        || ngx_strncasecmp(h->value.data, (u_char *) "websocket",
                           sizeof("websocket") - 1)
           != 0)
    {
        return 0;
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == 10
                && ngx_strncmp(h[i].lowcase_key, "connection", 10) == 0
                && ngx_http_socketio_handshake_listed(&h[i].value))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* RFC 6455, 4.2.1: a Connection header has the token "Upgrade", any case. */

static ngx_uint_t
ngx_http_socketio_handshake_listed(ngx_str_t *value)
{
    u_char  *p, *end, *last;

    last = value->data + value->len;

    for (p = value->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if ((size_t) (end - p) < sizeof("upgrade") - 1
            || ngx_strncasecmp(p, (u_char *) "upgrade", sizeof("upgrade") - 1)
               != 0)
        {
            continue;
        }

        p += sizeof("upgrade") - 1;

        if (p == end || *p == ' ' || *p == '\t') {
            return 1;
        }
    }

    return 0;
}


/*
 * The first subprotocol that the client offers.
 *
 *   NGX_OK        *protocol is set
 *   NGX_DONE      it offers none
 *   NGX_DECLINED  that is no token
 */

static ngx_int_t
ngx_http_socketio_handshake_protocol(ngx_http_request_t *r,
    ngx_str_t *protocol)
{
    u_char           *p, *last;
    ngx_table_elt_t  *h;

    h = ngx_http_socketio_handshake_find(r, "sec-websocket-protocol", 22);

    if (h == NULL) {
        return NGX_DONE;
    }

    last = h->value.data + h->value.len;

    for (p = h->value.data; p < last && *p != ',' && *p != ' '; p++) {

        /* RFC 7230, 3.2.6 */

        if (*p <= 0x20 || *p >= 0x7f
            || ngx_strchr("\"(),/:;<=>?@[\\]{}", *p) != NULL)
        {
            return NGX_DECLINED;
        }
    }

    protocol->len = p - h->value.data;
    protocol->data = h->value.data;

    return protocol->len ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_socketio_handshake_open(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s)
{
    ngx_http_socketio_websocket_t  *ws;

    ws = ngx_http_socketio_websocket_create(r->connection, w, s->data);

    if (ws == NULL) {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return NGX_ERROR;
    }

    if (ngx_http_socketio_websocket_attach(ws, s) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_socketio_handshake_accept(r, ws);
}


ngx_int_t
ngx_http_socketio_handshake_probe(ngx_http_request_t *r,
    ngx_http_socketio_worker_t *w, ngx_sio_session_t *s, ngx_uint_t b64)
{
    ngx_http_socketio_origin_t     *origin;
    ngx_http_socketio_websocket_t  *ws;

    origin = ngx_http_socketio_origin_create(r);
    if (origin == NULL) {
        return NGX_ERROR;
    }

    ws = ngx_http_socketio_websocket_create(r->connection, w, origin);

    ngx_http_socketio_origin_unref(origin);

    if (ws == NULL) {
        return NGX_ERROR;
    }

    if (s != NULL) {
        ngx_http_socketio_websocket_probe(ws, s, b64);
    }

    return ngx_http_socketio_handshake_accept(r, ws);
}


/*
 * Sends the 101.  The request is let go in an event of its own, since it
 * cannot be freed below its content handler.
 */

static ngx_int_t
ngx_http_socketio_handshake_accept(ngx_http_request_t *r,
    ngx_http_socketio_websocket_t *ws)
{
    ngx_connection_t               *c;
    ngx_http_cleanup_t             *cln;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_socketio_handshake_t  *hs;

    c = r->connection;

    hs = ngx_pcalloc(r->pool, sizeof(ngx_http_socketio_handshake_t));
    if (hs == NULL) {
        goto failed;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        goto failed;
    }

    hs->request = r;
    hs->cleanup = cln;
    hs->ws = ws;
    hs->detach.handler = ngx_http_socketio_handshake_detach;
    hs->detach.data = hs;
    hs->detach.log = c->log;

    ngx_http_socketio_websocket_opening(ws, &hs->detach);

    if (ngx_http_socketio_handshake_answer(r) != NGX_OK) {
        goto failed;
    }

    if (c->buffered) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        ngx_add_timer(c->write, clcf->send_timeout);

        if (ngx_handle_write_event(c->write, clcf->send_lowat) != NGX_OK) {
            goto failed;
        }

    } else {
        ngx_post_event(&hs->detach, &ngx_posted_events);
    }

    cln->handler = ngx_http_socketio_handshake_abandoned;
    cln->data = hs;

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_socketio_handshake_opening;

    return NGX_OK;

failed:

    ngx_http_socketio_websocket_abandon(ws, NGX_SIO_REASON_TRANSPORT_ERROR,
                          ngx_http_get_module_ctx(r, ngx_http_socketio_module));

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_socketio_handshake_answer(ngx_http_request_t *r)
{
    ngx_int_t         rc;
    ngx_str_t         accept, upgrade, protocol;
    ngx_table_elt_t  *key;

    key = ngx_http_socketio_handshake_find(r, "sec-websocket-key", 17);

    accept.len = NGX_SIO_WS_ACCEPT_LENGTH;
    accept.data = ngx_pnalloc(r->pool, NGX_SIO_WS_ACCEPT_LENGTH);

    if (accept.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_sio_ws_accept(&key->value, accept.data) != NGX_OK) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "Sec-WebSocket-Accept could not be computed");
        return NGX_ERROR;
    }

    ngx_str_set(&upgrade, "websocket");

    if (ngx_http_socketio_answer_header(r, "Upgrade", &upgrade) != NGX_OK
        || ngx_http_socketio_answer_header(r, "Sec-WebSocket-Accept",
                                              &accept)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_socketio_handshake_protocol(r, &protocol) == NGX_OK
        && ngx_http_socketio_answer_header(r, "Sec-WebSocket-Protocol",
                                              &protocol)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    r->keepalive = 0;

    /* a limit_rate is meant for responses, and would delay this one */
    r->limit_rate = 0;
    r->limit_rate_set = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK
        || ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (r->out == NULL || r->connection->buffered) {
        return NGX_OK;
    }

    /* a filter, as that of "ssi_types *", has kept the wish to flush */

    r->out->buf->flush = 1;
    r->connection->buffered |= NGX_HTTP_WRITE_BUFFERED;

    return ngx_http_output_filter(r, NULL) == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/* The 101 did not fit into the socket, and can go on now. */

static void
ngx_http_socketio_handshake_opening(ngx_http_request_t *r)
{
    ngx_event_t                    *wev;
    ngx_connection_t               *c;
    ngx_http_cleanup_t             *cln;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_socketio_handshake_t  *hs;

    c = r->connection;
    wev = c->write;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "socketio websocket: 101 was blocked");

    if (wev->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (c->buffered) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        ngx_add_timer(wev, clcf->send_timeout);

        if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    for (cln = r->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_socketio_handshake_abandoned) {
            hs = cln->data;
            ngx_post_event(&hs->detach, &ngx_posted_events);
            return;
        }
    }
}


/* nginx ends the request before the connection could be taken over. */

static void
ngx_http_socketio_handshake_abandoned(void *data)
{
    ngx_http_socketio_handshake_t *hs = data;

    ngx_http_socketio_handshake_cancel(&hs->detach);

    ngx_http_socketio_websocket_abandon(hs->ws,
                     NGX_SIO_REASON_TRANSPORT_CLOSE,
                     ngx_http_get_module_ctx(hs->request,
                                             ngx_http_socketio_module));
}


static void
ngx_http_socketio_handshake_detach(ngx_event_t *ev)
{
    ngx_connection_t               *c;
    ngx_http_request_t             *r;
    ngx_http_socketio_handshake_t  *hs;
    ngx_http_socketio_websocket_t  *ws;

    /* while it waits for subrequests it may be both posted and timed */
    ngx_http_socketio_handshake_cancel(ev);

    hs = ev->data;
    ws = hs->ws;
    r = hs->request;
    c = r->connection;

    if (r->post_action) {

        /* its client has left, and nginx has something else to do with it */

        hs->cleanup->handler = NULL;
        ngx_http_socketio_handshake_abandoned(hs);
        return;
    }

    if (ngx_http_socketio_handshake_wait(hs) == NGX_AGAIN) {
        return;
    }

    if (ngx_http_socketio_handshake_pipelined(hs) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    hs->cleanup->handler = NULL;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    /* by a limit_req of a subrequest */
    c->write->delayed = 0;

    r->logged = 1;      /* it will be, with all that happens from here on */

    /*
     * limit_conn counts until the request's pool goes, so then the request
     * stays, though nginx does not see it any more.
     */

    if (r->limit_conn_status == 0) {
        ngx_http_socketio_handshake_free_request(r);
        r = NULL;

    } else {

        if (r->count > 1) {
            ngx_http_socketio_handshake_cut(r);
        }

        /* it may show the last subrequest */
        ngx_http_set_log_request(c->log, r);
    }

    (void) ngx_tcp_nodelay(c);

    ngx_http_socketio_websocket_start(ws, r);
}


static void
ngx_http_socketio_handshake_cancel(ngx_event_t *ev)
{
    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }
}


/*
 * Subrequests run on the client's connection, which is about to be none of
 * HTTP.  They have some time to end; NGX_AGAIN: now they have.
 */

static ngx_int_t
ngx_http_socketio_handshake_wait(ngx_http_socketio_handshake_t *hs)
{
    ngx_http_request_t  *r;

    r = hs->request;

    /* who is blocked has a thread that will come back to the request */

    if (r->blocked == 0
        && (r->count == 1 || hs->waited >= NGX_HTTP_SOCKETIO_HANDSHAKE_WAIT))
    {
        return NGX_OK;
    }

    hs->waited += NGX_HTTP_SOCKETIO_HANDSHAKE_TICK;

    ngx_add_timer(&hs->detach, NGX_HTTP_SOCKETIO_HANDSHAKE_TICK);

    return NGX_AGAIN;
}


/* Ends the subrequests of a request that stays. */

static void
ngx_http_socketio_handshake_cut(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    cln = r->cleanup;
    r->cleanup = NULL;

    for ( /* void */ ; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    r->posted_requests = NULL;
}


/* Frames that a client sent right behind its handshake. */

static ngx_int_t
ngx_http_socketio_handshake_pipelined(ngx_http_socketio_handshake_t *hs)
{
    ngx_buf_t  *b;

    b = hs->request->header_in;

    if (b->last - b->pos > NGX_HTTP_SOCKETIO_WEBSOCKET_BUFFER) {

        /* with huge large_client_header_buffers only */

        ngx_log_error(NGX_LOG_INFO, hs->request->connection->log, 0,
                      "client sent too many octets behind its handshake");
        return NGX_ERROR;
    }

    return ngx_http_socketio_websocket_keep(hs->ws, b->pos, b->last - b->pos);
}


/*
 * Frees the request and the buffers that it was read into.  The realip module
 * gives the connection its proxy's address back then; we stay with the
 * client's.
 */

static void
ngx_http_socketio_handshake_free_request(ngx_http_request_t *r)
{
    u_char                 *p, text[NGX_SOCKADDR_STRLEN];
    socklen_t               socklen;
    ngx_str_t               addr_text;
    ngx_sockaddr_t          sockaddr;
    struct sockaddr        *sa;
    ngx_connection_t       *c;
    ngx_http_connection_t  *hc;

    c = r->connection;
    hc = r->http_connection;

    sa = c->sockaddr;
    socklen = ngx_min(c->socklen, (socklen_t) sizeof(ngx_sockaddr_t));
    ngx_memcpy(&sockaddr, sa, socklen);

    addr_text.len = ngx_min(c->addr_text.len, sizeof(text));
    ngx_memcpy(text, c->addr_text.data, addr_text.len);

    ngx_http_free_request(r, 0);

    c->destroyed = 0;

    if (c->sockaddr != sa) {

        p = ngx_palloc(c->pool, socklen + addr_text.len);

        if (p != NULL) {
            c->socklen = socklen;
            c->sockaddr = (struct sockaddr *) p;
            c->addr_text.len = addr_text.len;
            c->addr_text.data = ngx_cpymem(p, &sockaddr, socklen);
            ngx_memcpy(c->addr_text.data, text, addr_text.len);
        }
    }

    if (c->buffer != NULL && ngx_pfree(c->pool, c->buffer->start) == NGX_OK) {
        c->buffer->start = NULL;
        c->buffer->pos = NULL;
    }

    ngx_http_socketio_handshake_free_chain(c, &hc->free);
    ngx_http_socketio_handshake_free_chain(c, &hc->busy);
    hc->nbusy = 0;

    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
}


static void
ngx_http_socketio_handshake_free_chain(ngx_connection_t *c,
    ngx_chain_t **chain)
{
    ngx_chain_t  *cl;

    while (*chain != NULL) {
        cl = *chain;
        *chain = cl->next;

        ngx_pfree(c->pool, cl->buf->start);
        ngx_free_chain(c->pool, cl);
    }
}
