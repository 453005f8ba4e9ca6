#include "ngx_http_socketio_request_private.h"


static ngx_int_t ngx_http_socketio_request_alloc(ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_request_client(
    ngx_http_socketio_origin_t *o, ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_request_headers(
    ngx_http_socketio_origin_t *o, ngx_http_request_t *r);
static ngx_uint_t ngx_http_socketio_request_listed(ngx_str_t *names,
    ngx_str_t *name);
static ngx_table_elt_t *ngx_http_socketio_request_set(ngx_table_elt_t *h,
    ngx_str_t *name, ngx_uint_t hash, ngx_str_t *value);
static u_char *ngx_http_socketio_request_log_nothing(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);


/*
 * Headers of the handshake that speak of its own connection and body, or that
 * would make the backend compress its reply: never sent along, whatever
 * socketio_webhook_pass_header says.  "Host" is not copied here either.
 */

static ngx_str_t  ngx_http_socketio_request_unfit[] = {
    ngx_string("host"),
    ngx_string("connection"),
    ngx_string("keep-alive"),
    ngx_string("te"),
    ngx_string("trailer"),
    ngx_string("upgrade"),
    ngx_string("expect"),
    ngx_string("transfer-encoding"),
    ngx_string("content-length"),
    ngx_string("content-type"),
    ngx_string("content-encoding"),
    ngx_string("accept-encoding"),
    ngx_string("webhook-id"),
    ngx_string("webhook-timestamp"),
    ngx_string("webhook-signature"),
    ngx_null_string
};


/* Those that variables read from fields of their own in headers_in. */

static ngx_str_t  ngx_http_socketio_request_typed[] = {
    ngx_string("user-agent"),
    ngx_string("referer"),
    ngx_string("authorization"),
    ngx_string("cookie"),
    ngx_string("x-forwarded-for"),
    ngx_string("x-real-ip"),
    ngx_null_string
};


ngx_http_request_t *
ngx_http_socketio_request_build(ngx_http_socketio_origin_t *o,
    ngx_connection_t *c, ngx_http_connection_t *hc, ngx_pool_t *pool,
    void *ctx)
{
    ngx_time_t          *tp;
    ngx_http_request_t  *r;

    r = ngx_pcalloc(pool, sizeof(ngx_http_request_t));
    if (r == NULL) {
        return NULL;
    }

    r->signature = NGX_HTTP_MODULE;
    r->connection = c;
    r->http_connection = hc;
    r->pool = pool;
    r->main = r;
    r->count = 1;

    r->main_conf = hc->conf_ctx->main_conf;
    r->srv_conf = o->srv_conf;
    r->loc_conf = o->loc_conf;

    /*
     * Blocked, the request is nginx's to close in no case, also not where it
     * terminates a request for lack of memory: the connection is not one that
     * ngx_http_close_connection() could close.
     */

    r->blocked = 1;

    r->internal = 1;
    r->uri_changes = NGX_HTTP_MAX_URI_CHANGES + 1;
    r->subrequests = NGX_HTTP_MAX_SUBREQUESTS + 1;
    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;

    r->read_event_handler = ngx_http_request_empty_handler;
    r->write_event_handler = ngx_http_request_empty_handler;
    r->log_handler = ngx_http_socketio_request_log_nothing;

    tp = ngx_timeofday();
    r->start_sec = tp->sec;
    r->start_msec = tp->msec;

    r->headers_in.content_length_n = -1;
    r->headers_in.keep_alive_n = -1;
    r->headers_out.content_length_n = -1;
    r->headers_out.last_modified_time = -1;

    if (ngx_http_socketio_request_alloc(r) != NGX_OK
        || ngx_http_socketio_request_client(o, r) != NGX_OK
        || ngx_http_socketio_request_headers(o, r) != NGX_OK)
    {
        return NULL;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_socketio_module);

    ngx_http_socketio_origin_variables(o, r);

    return r;
}


static ngx_int_t
ngx_http_socketio_request_alloc(ngx_http_request_t *r)
{
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    r->ctx = ngx_pcalloc(r->pool, sizeof(void *) * ngx_http_max_module);
    if (r->ctx == NULL) {
        return NGX_ERROR;
    }

    r->variables = ngx_pcalloc(r->pool, cmcf->variables.nelts
                                        * sizeof(ngx_http_variable_value_t));
    if (r->variables == NULL) {
        return NGX_ERROR;
    }

    /* nothing of a client is left to be read */

    r->header_in = ngx_calloc_buf(r->pool);
    if (r->header_in == NULL) {
        return NGX_ERROR;
    }

    if (ngx_list_init(&r->headers_in.headers, r->pool, 12,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_list_init(&r->headers_out.headers, r->pool, 4,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_list_init(&r->headers_out.trailers, r->pool, 1,
                         sizeof(ngx_table_elt_t));
}


/* What the handshake asked for, for $request, $uri, $args and the like. */

static ngx_int_t
ngx_http_socketio_request_client(ngx_http_socketio_origin_t *o,
    ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t   path;

    r->method = o->head.method;
    r->http_version = o->head.http_version;

    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_METHOD,
                                   &r->method_name);
    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_SERVER,
                                   &r->headers_in.server);
    ngx_http_socketio_origin_path(o, &r->uri);
    ngx_http_socketio_origin_query(o, &r->args);

    switch (r->http_version) {

    case NGX_HTTP_VERSION_10:
        ngx_str_set(&r->http_protocol, "HTTP/1.0");
        break;

    case NGX_HTTP_VERSION_11:
        ngx_str_set(&r->http_protocol, "HTTP/1.1");
        break;

    case NGX_HTTP_VERSION_20:
        ngx_str_set(&r->http_protocol, "HTTP/2.0");
        break;

    default:
        ngx_str_set(&r->http_protocol, "HTTP/3.0");
    }

    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_RAW_PATH,
                                   &path);
    if (path.len == 0) {
        path = r->uri;
    }

    p = ngx_pnalloc(r->pool, path.len + 1 + r->args.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->unparsed_uri.data = p;

    p = ngx_cpymem(p, path.data, path.len);

    if (r->args.len) {
        *p++ = '?';
        p = ngx_cpymem(p, r->args.data, r->args.len);
    }

    r->unparsed_uri.len = p - r->unparsed_uri.data;

    return ngx_http_socketio_request_line(r);
}


static ngx_int_t
ngx_http_socketio_request_headers(ngx_http_socketio_origin_t *o,
    ngx_http_request_t *r)
{
    ngx_uint_t                          pos;
    ngx_table_elt_t                    *h;
    ngx_http_header_t                  *hh;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_socketio_origin_header_t   saved;

    static ngx_http_socketio_request_name_t  host = {
        ngx_string("host"), 0
    };

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    pos = 0;

    while (ngx_http_socketio_origin_saved(o, &pos, &saved) == NGX_OK) {

        if (saved.flags & NGX_HTTP_SOCKETIO_ORIGIN_KEPT) {
            continue;
        }

        if (saved.name.len == host.name.len
            && ngx_memcmp(saved.name.data, host.name.data, host.name.len) == 0)
        {
            h = ngx_http_socketio_request_named(r, &host, &saved.value);
            if (h == NULL) {
                return NGX_ERROR;
            }

            r->headers_in.host = h;
            continue;
        }

        /* what is not passed on must not be in the list */

        if ((saved.flags & NGX_HTTP_SOCKETIO_ORIGIN_PASS)
            && !ngx_http_socketio_request_listed(
                              ngx_http_socketio_request_unfit, &saved.name))
        {
            h = ngx_list_push(&r->headers_in.headers);

        } else {
            h = ngx_palloc(r->pool, sizeof(ngx_table_elt_t));
        }

        h = ngx_http_socketio_request_set(h, &saved.name,
                                          ngx_hash_key(saved.name.data,
                                                       saved.name.len),
                                          &saved.value);
        if (h == NULL) {
            return NGX_ERROR;
        }

        if (!ngx_http_socketio_request_listed(ngx_http_socketio_request_typed,
                                              &saved.name))
        {
            continue;
        }

        hh = ngx_hash_find(&cmcf->headers_in_hash, h->hash, h->lowcase_key,
                           h->key.len);
        if (hh == NULL) {
            continue;
        }

        if (hh->offset == offsetof(ngx_http_headers_in_t, user_agent)) {

            /* what its handler looks for are browsers that want a workaround */

            r->headers_in.user_agent = h;
            continue;
        }

        if (hh->handler(r, h, hh->offset) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_socketio_request_listed(ngx_str_t *names, ngx_str_t *name)
{
    for ( /* void */ ; names->len; names++) {
        if (names->len == name->len
            && ngx_memcmp(names->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_table_elt_t *
ngx_http_socketio_request_named(ngx_http_request_t *r,
    ngx_http_socketio_request_name_t *name, ngx_str_t *value)
{
    if (name->hash == 0) {
        name->hash = ngx_hash_key(name->name.data, name->name.len);
    }

    return ngx_http_socketio_request_set(ngx_list_push(&r->headers_in.headers),
                                         &name->name, name->hash, value);
}


/* Fills an element just allocated; or not: NULL is let through. */

static ngx_table_elt_t *
ngx_http_socketio_request_set(ngx_table_elt_t *h, ngx_str_t *name,
    ngx_uint_t hash, ngx_str_t *value)
{
    if (h == NULL) {
        return NULL;
    }

    ngx_sio_table_elt_init(h);

    h->hash = hash;
    h->key = *name;
    h->value = *value;
    h->lowcase_key = name->data;

    return h;
}


ngx_int_t
ngx_http_socketio_request_line(ngx_http_request_t *r)
{
    u_char  *p;

    r->request_line.len = r->method_name.len + 1 + r->unparsed_uri.len + 1
                          + r->http_protocol.len;

    p = ngx_pnalloc(r->pool, r->request_line.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->request_line.data = p;

    p = ngx_cpymem(p, r->method_name.data, r->method_name.len);
    *p++ = ' ';
    p = ngx_cpymem(p, r->unparsed_uri.data, r->unparsed_uri.len);
    *p++ = ' ';
    ngx_memcpy(p, r->http_protocol.data, r->http_protocol.len);

    return NGX_OK;
}


static u_char *
ngx_http_socketio_request_log_nothing(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len)
{
    return buf;
}
