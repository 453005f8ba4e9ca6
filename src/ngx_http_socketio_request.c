#include "ngx_http_socketio_request_private.h"


static void ngx_http_socketio_request_log_phase(ngx_http_request_t *r,
    ngx_http_socketio_origin_t *o, off_t sent);
static ngx_http_socketio_request_t *ngx_http_socketio_request_take(void);
static ngx_pool_t *ngx_http_socketio_request_pool(size_t size,
    ngx_log_t *log);
static void ngx_http_socketio_request_pool_free(ngx_pool_t *pool);
static void ngx_http_socketio_request_connect(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_origin_t *o);
static ngx_uint_t ngx_http_socketio_request_leaves(ngx_str_t *path);
static ngx_int_t ngx_http_socketio_request_post(
    ngx_http_socketio_request_t *rq, ngx_str_t *uri, ngx_str_t *args,
    ngx_str_t *body);
static void ngx_http_socketio_request_start(ngx_http_request_t *sr);
static ngx_int_t ngx_http_socketio_request_result(ngx_http_request_t *sr,
    void *data, ngx_int_t rc);
static ngx_uint_t ngx_http_socketio_request_error_page(
    ngx_http_request_t *sr, ngx_int_t rc);
static void ngx_http_socketio_request_done(ngx_http_request_t *r);
static void ngx_http_socketio_request_reap(ngx_http_request_t *r);
static void ngx_http_socketio_request_free(ngx_http_socketio_request_t *rq);
static void ngx_http_socketio_request_event(ngx_event_t *ev);
static u_char *ngx_http_socketio_request_log_error(ngx_log_t *log, u_char *buf,
    size_t len);
static u_char *ngx_http_socketio_request_log_uri(u_char *p, u_char *last,
    ngx_str_t *uri);


/* pools that are kept for the next requests */
#define NGX_HTTP_SOCKETIO_REQUEST_POOLS   32

/* one of more blocks was of a request that was larger than most */
#define NGX_HTTP_SOCKETIO_REQUEST_BLOCKS  4


static ngx_http_socketio_request_t  *ngx_http_socketio_request_unused;


/* Pools of requests that are over; the one that is in the caches comes last. */

static ngx_pool_t  *ngx_http_socketio_request_pools[
                                           NGX_HTTP_SOCKETIO_REQUEST_POOLS];
static ngx_uint_t   ngx_http_socketio_request_npools;


static ngx_str_t  ngx_http_socketio_request_post_method = ngx_string("POST");


ngx_http_socketio_request_t *
ngx_http_socketio_request_create(ngx_http_socketio_origin_t *o, void *ctx)
{
    ngx_pool_t                   *pool;
    ngx_http_request_t           *r;
    ngx_http_core_srv_conf_t     *cscf;
    ngx_http_socketio_request_t  *rq;

    static ngx_str_t  value = ngx_string("application/json");
    static ngx_http_socketio_request_name_t  name = {
        ngx_string("content-type"), 0
    };

    rq = ngx_http_socketio_request_take();
    if (rq == NULL) {
        return NULL;
    }

    ngx_http_socketio_request_connect(rq, o);

    cscf = o->srv_conf[ngx_http_core_module.ctx_index];

    pool = ngx_http_socketio_request_pool(cscf->request_pool_size, &rq->log);
    if (pool == NULL) {
        ngx_http_socketio_request_free(rq);
        return NULL;
    }

    /* realip allocates from the connection's */

    rq->connection.pool = pool;

    rq->http.conf_ctx = cscf->ctx;

    r = ngx_http_socketio_request_build(o, &rq->connection, &rq->http, pool,
                                        ctx);
    if (r == NULL) {
        ngx_http_socketio_request_free(rq);
        return NULL;
    }

    rq->main = r;
    rq->log_ctx.request = r;
    rq->log_ctx.current_request = r;
    rq->connection.data = r;

    r->method = NGX_HTTP_POST;
    r->method_name = ngx_http_socketio_request_post_method;
    r->write_event_handler = ngx_http_socketio_request_done;

    r->headers_in.content_type = ngx_http_socketio_request_named(r, &name,
                                                                 &value);
    if (r->headers_in.content_type == NULL) {
        ngx_http_socketio_request_free(rq);
        return NULL;
    }

    return rq;
}


ngx_int_t
ngx_http_socketio_request_header(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_request_name_t *name, ngx_str_t *value)
{
    return ngx_http_socketio_request_named(rq->main, name, value) ? NGX_OK
                                                                  : NGX_ERROR;
}


ngx_int_t
ngx_http_socketio_request_run(ngx_http_socketio_request_t *rq, ngx_str_t *uri,
    ngx_str_t *body)
{
    ngx_int_t            rc;
    ngx_str_t            path, args;
    ngx_uint_t           flags, level;
    ngx_http_request_t  *r;

    r = rq->main;

    if (uri->len == 0 || uri->data[0] != '/') {
        ngx_log_error(NGX_LOG_ERR, &rq->log, 0,
                      "socketio_webhook \"%V\" is not a URI of this server, "
                      "it must begin with \"/\"", uri);
        return NGX_DECLINED;
    }

    path = *uri;
    ngx_str_null(&args);
    flags = 0;

    if (ngx_http_parse_unsafe_uri(r, &path, &args, &flags) != NGX_OK
        || ngx_http_socketio_request_leaves(&path))
    {
        /* nginx's own line would show it decoded, with line feeds and all */

        level = rq->chosen ? NGX_LOG_INFO : NGX_LOG_ERR;

        ngx_log_error(level, &rq->log, 0,
                      "socketio_webhook \"%V\" is an unsafe URI", uri);
        return NGX_DECLINED;
    }

    /*
     * The client's request was there to evaluate variables; from here on
     * $request_uri and the like are the webhook's, or the front controller of
     * a FastCGI application would be led to the client's page.
     */

    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");
    r->unparsed_uri = *uri;

    if (ngx_http_socketio_request_line(r) != NGX_OK) {
        return NGX_ERROR;
    }

    r->headers_in.content_length_n = body->len;

    rc = ngx_http_socketio_request_post(rq, &path, &args, body);

    if (rc == NGX_OK) {
        ngx_http_run_posted_requests(&rq->connection);
    }

    return rc;
}


ngx_uint_t
ngx_http_socketio_request_stale(ngx_http_socketio_request_t *rq)
{
    ngx_http_upstream_t  *u;

    u = rq->sub->upstream;

    return rq->rc == NGX_HTTP_BAD_GATEWAY
           && u
           && u->peer.cached
           && u->state
           && u->state->bytes_received == 0;
}


void
ngx_http_socketio_request_destroy(ngx_http_socketio_request_t *rq)
{
    ngx_http_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = rq->main;

    if (rq->timer.timer_set) {
        ngx_del_timer(&rq->timer);
    }

    /* an upstream that is cut off drops the reference of its request */

    r->count += 2;

    cln = r->cleanup;
    r->cleanup = NULL;

    for ( /* void */ ; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    if (r->blocked > 1) {

        /*
         * A thread or aio has pointers to the request, and calls back; what
         * was borrowed from the owner may be gone by then.
         */

        rq->log_handler = NULL;
        ngx_str_null(&rq->connection.addr_text);

        rq->connection.data = r;
        r->posted_requests = NULL;
        r->write_event_handler = ngx_http_socketio_request_reap;

        if (rq->sub) {
            rq->sub->write_event_handler = ngx_http_socketio_request_reap;
        }

        return;
    }

    ngx_http_socketio_request_free(rq);
}


void
ngx_http_socketio_request_log(ngx_http_socketio_origin_t *o,
    ngx_connection_t *c, ngx_uint_t status, off_t sent, void *ctx)
{
    ngx_pool_t                   *pool;
    ngx_http_request_t           *r;
    ngx_http_connection_t         hc;
    ngx_http_core_srv_conf_t     *cscf;
    ngx_http_socketio_request_t  *rq;

    rq = NULL;

    if (c == NULL) {
        rq = ngx_http_socketio_request_take();
        if (rq == NULL) {
            return;
        }

        ngx_http_socketio_request_connect(rq, o);

        c = &rq->connection;
    }

    cscf = o->srv_conf[ngx_http_core_module.ctx_index];

    ngx_memzero(&hc, sizeof(ngx_http_connection_t));
    hc.conf_ctx = cscf->ctx;
    hc.ssl = o->head.ssl;

    pool = ngx_create_pool(cscf->request_pool_size, c->log);

    if (pool != NULL) {
        r = ngx_http_socketio_request_build(o, c, &hc, pool, ctx);

        if (r != NULL) {
            r->start_sec = (time_t) o->head.start_sec;
            r->start_msec = o->head.start_msec;
            r->headers_out.status = status;
            r->limit_conn_status = o->head.limit_conn;
            r->limit_req_status = o->head.limit_req;

            ngx_http_socketio_request_log_phase(r, o, sent);
        }

        ngx_destroy_pool(pool);
    }

    if (rq != NULL) {
        ngx_http_socketio_request_free(rq);
    }
}


static void
ngx_http_socketio_request_log_phase(ngx_http_request_t *r,
    ngx_http_socketio_origin_t *o, off_t sent)
{
    char                       *action;
    ngx_str_t                   addr;
    ngx_uint_t                  i, n;
    ngx_connection_t           *c, saved;
    ngx_http_handler_pt        *handler;
    ngx_http_core_main_conf_t  *cmcf;

    c = r->connection;
    saved = *c;
    action = c->log->action;

    r->request_complete = 1;
    r->logged = 1;

    /* the address of realip went with the client's request */

    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_ADDR, &addr);

    c->sockaddr = (struct sockaddr *) addr.data;
    c->socklen = addr.len;
    ngx_http_socketio_origin_ip(o, &c->addr_text);
    c->sent = sent;
    c->data = r;
    c->log->action = "logging request";

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    handler = cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.elts;
    n = cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.nelts;

    for (i = 0; i < n; i++) {
        handler[i](r);
    }

    c->sockaddr = saved.sockaddr;
    c->socklen = saved.socklen;
    c->addr_text = saved.addr_text;
    c->sent = saved.sent;
    c->data = saved.data;
    c->log->action = action;
}


static ngx_http_socketio_request_t *
ngx_http_socketio_request_take(void)
{
    ngx_http_socketio_request_t  *rq;

    rq = ngx_http_socketio_request_unused;

    if (rq) {
        ngx_http_socketio_request_unused = rq->next;

    } else {
        rq = ngx_alloc(sizeof(ngx_http_socketio_request_t), ngx_cycle->log);
        if (rq == NULL) {
            return NULL;
        }
    }

    ngx_memzero(rq, sizeof(ngx_http_socketio_request_t));

    return rq;
}


/* Which of several sizes it has, should locations differ, is no matter. */

static ngx_pool_t *
ngx_http_socketio_request_pool(size_t size, ngx_log_t *log)
{
    ngx_pool_t  *pool;

    if (ngx_http_socketio_request_npools == 0) {
        return ngx_create_pool(size, log);
    }

    pool = ngx_http_socketio_request_pools[--ngx_http_socketio_request_npools];
    pool->log = log;

    return pool;
}


/* As ngx_destroy_pool(), but that it keeps the blocks of a few. */

static void
ngx_http_socketio_request_pool_free(ngx_pool_t *pool)
{
    ngx_uint_t           n;
    ngx_pool_t          *p;
    ngx_pool_cleanup_t  *cln;

    n = 0;

    for (p = pool; p; p = p->d.next) {
        n++;
    }

    if (n > NGX_HTTP_SOCKETIO_REQUEST_BLOCKS
        || ngx_http_socketio_request_npools == NGX_HTTP_SOCKETIO_REQUEST_POOLS)
    {
        ngx_destroy_pool(pool);
        return;
    }

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    pool->cleanup = NULL;
    pool->log = ngx_cycle->log;

    ngx_reset_pool(pool);

    ngx_http_socketio_request_pools[ngx_http_socketio_request_npools++] = pool;
}


/* Everything about the connection that nginx or a variable looks at. */

static void
ngx_http_socketio_request_connect(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_origin_t *o)
{
    ngx_str_t                  addr;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = &rq->connection;

    c->fd = (ngx_socket_t) -1;
    c->read = &rq->read;
    c->write = &rq->write;
    c->log = &rq->log;
    c->number = o->head.number;
    c->requests = 1;
    c->type = SOCK_STREAM;
    c->start_time = ngx_current_msec;

    /* or ngx_http_upstream_init() would want to watch descriptor -1 */

    rq->read.active = 1;
    rq->write.active = 1;

    /* or an event pipe would keep the answer back in its buffers */

    rq->write.ready = 1;
    rq->write.write = 1;

    rq->read.data = c;
    rq->read.index = NGX_INVALID_INDEX;
    rq->read.handler = ngx_http_socketio_request_event;
    rq->read.log = &rq->log;

    rq->write.data = c;
    rq->write.index = NGX_INVALID_INDEX;
    rq->write.handler = ngx_http_socketio_request_event;
    rq->write.log = &rq->log;

    rq->timer.data = rq;
    rq->timer.log = &rq->log;

    /* or setsockopt() would be called, and its failure fail the request */

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_ADDR, &addr);
    c->sockaddr = (struct sockaddr *) addr.data;
    c->socklen = addr.len;

    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_LOCAL, &addr);
    c->local_sockaddr = (struct sockaddr *) addr.data;
    c->local_socklen = addr.len;

    ngx_http_socketio_origin_ip(o, &c->addr_text);

    clcf = o->loc_conf[ngx_http_core_module.ctx_index];

    rq->log = *clcf->error_log;
    rq->log.connection = c->number;
    rq->log.handler = ngx_http_socketio_request_log_error;
    rq->log.data = &rq->log_ctx;
    rq->log.action = "sending webhook";

    rq->log_ctx.connection = c;
}


/* Whether it ends with "/..", which nginx does not see before arguments. */

static ngx_uint_t
ngx_http_socketio_request_leaves(ngx_str_t *path)
{
    return path->len >= 3
           && ngx_memcmp(path->data + path->len - 3, "/..", 3) == 0;
}


static ngx_int_t
ngx_http_socketio_request_post(ngx_http_socketio_request_t *rq,
    ngx_str_t *uri, ngx_str_t *args, ngx_str_t *body)
{
    ngx_buf_t                   *b;
    ngx_http_request_t          *sr;
    ngx_http_request_body_t     *rb;
    ngx_http_post_subrequest_t  *ps;

    ps = ngx_palloc(rq->main->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_socketio_request_result;
    ps->data = rq;

    rb = ngx_pcalloc(rq->main->pool, sizeof(ngx_http_request_body_t));
    if (rb == NULL) {
        return NGX_ERROR;
    }

    /* that there is a body at all makes handlers not look for a client's */

    if (body->len) {
        rb->bufs = ngx_alloc_chain_link(rq->main->pool);
        b = ngx_calloc_buf(rq->main->pool);

        if (rb->bufs == NULL || b == NULL) {
            return NGX_ERROR;
        }

        b->start = body->data;
        b->pos = body->data;
        b->last = body->data + body->len;
        b->end = b->last;
        b->memory = 1;
        b->last_buf = 1;

        rb->bufs->buf = b;
        rb->bufs->next = NULL;
        rb->buf = b;
    }

    if (ngx_http_subrequest(rq->main, uri, args, &sr, ps,
                            NGX_HTTP_SUBREQUEST_IN_MEMORY)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sr->method = NGX_HTTP_POST;
    sr->method_name = ngx_http_socketio_request_post_method;
    sr->request_body = rb;
    sr->write_event_handler = ngx_http_socketio_request_start;

    rq->sub = sr;

    return NGX_OK;
}


/*
 * As ngx_http_handler() starts an internal request, but where its location is
 * looked up instead of at the server's rewrite phase: "return 301 https://..."
 * of a server is no answer to a webhook.
 */

static void
ngx_http_socketio_request_start(ngx_http_request_t *sr)
{
    off_t                       length;
    ngx_int_t                   i, rc;
    ngx_http_phase_handler_t   *ph;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(sr, ngx_http_core_module);
    ph = cmcf->phase_engine.handlers;

    for (i = 0; ph[i].checker != ngx_http_core_find_config_phase; i++) {
        /* void */
    }

    sr->phase_handler = i;
    sr->valid_location = 1;

    sr->write_event_handler = ngx_http_core_run_phases;

    /* client_max_body_size is for what clients send, in base64 that is more */

    length = sr->headers_in.content_length_n;
    sr->headers_in.content_length_n = -1;

    rc = ph[i].checker(sr, &ph[i]);

    sr->headers_in.content_length_n = length;

    if (rc == NGX_AGAIN) {
        ngx_http_core_run_phases(sr);
    }
}


/*
 * The first of two calls: the result is noted, and nginx is told that all is
 * well, whatever it is, since for anything else it would make an error page,
 * or terminate the main request.
 */

static ngx_int_t
ngx_http_socketio_request_result(ngx_http_request_t *sr, void *data,
    ngx_int_t rc)
{
    ngx_http_socketio_request_t  *rq = data;

    if (rc == NGX_AGAIN && sr->aio) {
        return rc;      /* a thread reads it from a file */
    }

    rq->rc = rc;

    if (!(rq->again && ngx_http_socketio_request_stale(rq))
        && ngx_http_socketio_request_error_page(sr, rc))
    {
        return rc;      /* and comes back with what that makes of it */
    }

    rq->done = 1;

    sr->buffered = 0;
    sr->postponed = NULL;

    rq->connection.buffered = 0;
    rq->connection.error = 0;

    return NGX_OK;
}


/*
 * Whether the location of the subrequest has an error_page for its result,
 * as ngx_http_special_response_handler() decides it.  Those of the server are
 * meant for people: a page that is not there would make 404 of a 502.
 */

static ngx_uint_t
ngx_http_socketio_request_error_page(ngx_http_request_t *sr, ngx_int_t rc)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_srv_conf_t  *cscf;
    ngx_http_core_loc_conf_t  *clcf, *server;

    if (rc < NGX_HTTP_SPECIAL_RESPONSE || sr->header_sent || sr->error_page
        || sr->uri_changes == 0)
    {
        return 0;
    }

    /* with these nginx terminates a request */

    if (rc == NGX_HTTP_REQUEST_TIME_OUT || rc == NGX_HTTP_CLOSE
        || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST)
    {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(sr, ngx_http_core_module);
    cscf = ngx_http_get_module_srv_conf(sr, ngx_http_core_module);
    server = cscf->ctx->loc_conf[ngx_http_core_module.ctx_index];

    if (clcf->error_pages == NULL
        || clcf->error_pages == server->error_pages)
    {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == rc) {
            return 1;
        }
    }

    return 0;
}


/* The second: the main request is run, since its subrequest is over. */

static void
ngx_http_socketio_request_done(ngx_http_request_t *r)
{
    ngx_http_socketio_request_t  *rq;

    rq = (ngx_http_socketio_request_t *) r->connection;

    if (rq->done) {
        rq->handler(rq);
    }
}


static void
ngx_http_socketio_request_reap(ngx_http_request_t *r)
{
    ngx_http_socketio_request_t  *rq;

    rq = (ngx_http_socketio_request_t *) r->connection;

    if (r->main->blocked == 1) {
        ngx_http_socketio_request_free(rq);
    }
}


static void
ngx_http_socketio_request_free(ngx_http_socketio_request_t *rq)
{
    if (rq->read.timer_set) {
        ngx_del_timer(&rq->read);
    }

    if (rq->write.timer_set) {
        ngx_del_timer(&rq->write);
    }

    if (rq->read.posted) {
        ngx_delete_posted_event(&rq->read);
    }

    if (rq->write.posted) {
        ngx_delete_posted_event(&rq->write);
    }

    rq->main = NULL;
    rq->sub = NULL;
    rq->log_handler = NULL;
    rq->log_ctx.request = NULL;
    rq->log_ctx.current_request = NULL;

    if (rq->connection.pool) {
        ngx_http_socketio_request_pool_free(rq->connection.pool);
    }

    rq->connection.pool = NULL;
    rq->connection.data = NULL;
    rq->connection.destroyed = 1;

    rq->next = ngx_http_socketio_request_unused;
    ngx_http_socketio_request_unused = rq;
}


/* For limit_req, which delays by the client's write event, and for threads. */

static void
ngx_http_socketio_request_event(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;

    if (c->destroyed) {
        return;
    }

    r = c->data;

    ngx_http_set_log_request(c->log, r);

    if (ev->delayed && ev->timedout) {
        ev->delayed = 0;
        ev->timedout = 0;
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


static u_char *
ngx_http_socketio_request_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                       *p, *last;
    ngx_http_upstream_t          *u;
    ngx_http_log_ctx_t           *ctx;
    ngx_http_core_srv_conf_t     *cscf;
    ngx_http_socketio_request_t  *rq;

    ctx = log->data;
    rq = (ngx_http_socketio_request_t *) ctx->connection;

    rq->lines++;

    p = buf;
    last = buf + len;

    if (log->action) {
        p = ngx_slprintf(p, last, " while %s", log->action);
    }

    p = ngx_slprintf(p, last, ", client: %V", &ctx->connection->addr_text);

    if (rq->main == NULL) {
        return p;
    }

    cscf = ngx_http_get_module_srv_conf(rq->main, ngx_http_core_module);

    p = ngx_slprintf(p, last, ", server: %V", &cscf->server_name);

    if (rq->sub) {
        p = ngx_slprintf(p, last, ", webhook: \"");
        p = ngx_http_socketio_request_log_uri(p, last, &rq->sub->uri);
        p = ngx_slprintf(p, last, "\"");

        u = rq->sub->upstream;

        if (u && u->peer.name) {
            p = ngx_slprintf(p, last, ", upstream: \"%V%V%s%V\"",
                             &u->schema, u->peer.name,
                             u->peer.sockaddr
                             && u->peer.sockaddr->sa_family == AF_UNIX
                             ? ":" : "",
                             &u->uri);
        }
    }

    if (rq->log_handler) {
        p = rq->log_handler(rq->data, p, last - p);
    }

    return p;
}


/* It is decoded, so it may hold line feeds, which a client has put there. */

static u_char *
ngx_http_socketio_request_log_uri(u_char *p, u_char *last, ngx_str_t *uri)
{
    size_t  i;
    u_char  ch;

    for (i = 0; i < uri->len && p < last; i++) {
        ch = uri->data[i];

        *p++ = ngx_http_socketio_control(ch) ? '?' : ch;
    }

    return p;
}
