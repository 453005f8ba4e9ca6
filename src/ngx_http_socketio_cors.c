#include "ngx_http_socketio_module.h"


typedef struct {
    ngx_http_request_t            *r;
    ngx_http_socketio_loc_conf_t  *lcf;
    ngx_str_t                      origin;     /* as sent; empty: absent */
} ngx_http_socketio_cors_t;


static ngx_uint_t ngx_http_socketio_cors_allowed(ngx_http_socketio_cors_t *co);
static ngx_uint_t ngx_http_socketio_cors_same(ngx_http_socketio_cors_t *co);
static ngx_uint_t ngx_http_socketio_cors_equal(ngx_str_t *origin,
    ngx_str_t *scheme, ngx_str_t *host);
static void ngx_http_socketio_cors_host(ngx_http_request_t *r,
    ngx_str_t *host);
static ngx_uint_t ngx_http_socketio_cors_trusted(ngx_http_request_t *r,
    ngx_array_t *proxies);
static ngx_uint_t ngx_http_socketio_cors_first(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);
static ngx_int_t ngx_http_socketio_cors_headers(ngx_http_socketio_cors_t *co);
static ngx_int_t ngx_http_socketio_cors_add(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);
static ngx_uint_t ngx_http_socketio_cors_find(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);
static ngx_uint_t ngx_http_socketio_cors_printable(ngx_str_t *value);


ngx_int_t
ngx_http_socketio_cors(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_http_socketio_cors_t  co;

    if (lcf->cors == NGX_HTTP_SOCKETIO_CORS_OFF) {
        return NGX_OK;
    }

    co.r = r;
    co.lcf = lcf;

    switch (ngx_http_socketio_cors_find(r, "origin", &co.origin)) {

    case 0:
        ngx_str_null(&co.origin);
        break;

    case 1:
        break;

    default:

        /* RFC 6454, 7.3: one at most; which of them to judge is not ours */

        return NGX_DECLINED;
    }

    if (co.origin.len && !ngx_http_socketio_cors_allowed(&co)) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "client sent origin \"%V\", which is not accepted",
                      &co.origin);
        return NGX_DECLINED;
    }

    return ngx_http_socketio_cors_headers(&co);
}


ngx_uint_t
ngx_http_socketio_cors_foreign(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_uint_t                n;
    ngx_http_socketio_cors_t  co;

    co.r = r;
    co.lcf = lcf;

    n = ngx_http_socketio_cors_find(r, "origin", &co.origin);

    return n > 1 || (n == 1 && co.origin.len
                     && !ngx_http_socketio_cors_same(&co));
}


static ngx_uint_t
ngx_http_socketio_cors_allowed(ngx_http_socketio_cors_t *co)
{
    ngx_str_t   *origin;
    ngx_uint_t   i;

    if (!ngx_http_socketio_cors_printable(&co->origin)) {
        return 0;
    }

    switch (co->lcf->cors) {

    case NGX_HTTP_SOCKETIO_CORS_ANY:
        return 1;

    case NGX_HTTP_SOCKETIO_CORS_LIST:

        origin = co->lcf->cors_origins->elts;

        for (i = 0; i < co->lcf->cors_origins->nelts; i++) {
            if (origin[i].len == co->origin.len
                && ngx_memcmp(origin[i].data, co->origin.data, co->origin.len)
                   == 0)
            {
                return 1;
            }
        }

        return 0;

    default: /* NGX_HTTP_SOCKETIO_CORS_SAME */
        return ngx_http_socketio_cors_same(co);
    }
}


/*
 * The origin is ours if it is where the client says it talks to, or where a
 * proxy that we trust says so; one is as good as the other.
 */

static ngx_uint_t
ngx_http_socketio_cors_same(ngx_http_socketio_cors_t *co)
{
    ngx_str_t            scheme, host;
    ngx_uint_t           forwarded;
    ngx_http_request_t  *r;

    r = co->r;

    ngx_http_socketio_cors_host(r, &host);

    ngx_str_set(&scheme, "http");

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        ngx_str_set(&scheme, "https");
    }

#endif

    if (ngx_http_socketio_cors_equal(&co->origin, &scheme, &host)) {
        return 1;
    }

    forwarded = ngx_http_socketio_cors_first(r, "x-forwarded-proto", &scheme);
    forwarded += ngx_http_socketio_cors_first(r, "x-forwarded-host", &host);

    return forwarded
           && ngx_http_socketio_cors_trusted(r, co->lcf->trusted_proxies)
           && ngx_http_socketio_cors_equal(&co->origin, &scheme, &host);
}


/* origin == scheme "://" host, in every letter */

static ngx_uint_t
ngx_http_socketio_cors_equal(ngx_str_t *origin, ngx_str_t *scheme,
    ngx_str_t *host)
{
    u_char  *p;

    if (host->len == 0
        || origin->len != scheme->len + sizeof("://") - 1 + host->len)
    {
        return 0;
    }

    p = origin->data;

    if (ngx_memcmp(p, scheme->data, scheme->len) != 0) {
        return 0;
    }

    p += scheme->len;

    if (ngx_memcmp(p, "://", sizeof("://") - 1) != 0) {
        return 0;
    }

    p += sizeof("://") - 1;

    return ngx_memcmp(p, host->data, host->len) == 0;
}


/* The host with its port, as sent; empty if there is none. */

static void
ngx_http_socketio_cors_host(ngx_http_request_t *r, ngx_str_t *host)
{
    if (r->headers_in.host) {
        *host = r->headers_in.host->value;
        return;
    }

    ngx_str_null(host);

    /* nginx keeps the authority of HTTP/3 out of the list of headers */

    if (r->http_version > NGX_HTTP_VERSION_20 && r->host_start) {
        host->len = r->host_end - r->host_start;
        host->data = r->host_start;
    }
}


/*
 * Whether the machine at the other end of the connection is a proxy of ours.
 * After the realip module the connection's address is that of the client,
 * who must not be believed; the module's variable keeps the real peer.
 */

static ngx_uint_t
ngx_http_socketio_cors_trusted(ngx_http_request_t *r, ngx_array_t *proxies)
{
    ngx_addr_t                  addr;
    ngx_uint_t                  key;
    struct sockaddr             local;
    ngx_http_variable_value_t  *vv;

    static ngx_str_t  name = ngx_string("realip_remote_addr");

    if (proxies == NULL) {
        return 0;
    }

    key = ngx_hash_key(name.data, name.len);

    vv = ngx_http_get_variable(r, &name, key);

    if (vv == NULL || vv->not_found || vv->len == 0) {
        return ngx_cidr_match(r->connection->sockaddr, proxies) == NGX_OK;
    }

    if (vv->len >= 5 && ngx_strncmp(vv->data, "unix:", 5) == 0) {
        ngx_memzero(&local, sizeof(struct sockaddr));
        local.sa_family = AF_UNIX;

        return ngx_cidr_match(&local, proxies) == NGX_OK;
    }

    if (ngx_parse_addr(r->pool, &addr, vv->data, vv->len) != NGX_OK) {
        return 0;
    }

    return ngx_cidr_match(addr.sockaddr, proxies) == NGX_OK;
}


/*
 * The first element of a list that grows from proxy to proxy: what the one
 * nearest to the client saw.  Leaves the value alone when there is no header.
 */

static ngx_uint_t
ngx_http_socketio_cors_first(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_str_t   list;

    if (ngx_http_socketio_cors_find(r, name, &list) == 0) {
        return 0;
    }

    p = list.data;
    last = ngx_strlchr(p, p + list.len, ',');

    if (last == NULL) {
        last = p + list.len;
    }

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (last > p && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    value->len = last - p;
    value->data = p;

    return 1;
}


static ngx_int_t
ngx_http_socketio_cors_headers(ngx_http_socketio_cors_t *co)
{
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = co->r;

    /* a request without Origin is answered otherwise than one with it */

    ngx_str_set(&value, "Origin");

    if (ngx_http_socketio_cors_add(r, "Vary", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    /* also for "*": browsers do not take an asterisk with credentials */

    if (co->origin.len
        && ngx_http_socketio_cors_add(r, "Access-Control-Allow-Origin",
                                      &co->origin)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (co->lcf->cors_credentials) {
        ngx_str_set(&value, "true");

        if (ngx_http_socketio_cors_add(r, "Access-Control-Allow-Credentials",
                                       &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        ngx_str_set(&value, "OPTIONS, GET, POST");

        if (ngx_http_socketio_cors_add(r, "Access-Control-Allow-Methods",
                                       &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_socketio_cors_find(r, "access-control-request-headers",
                                    &value)
        && value.len && ngx_http_socketio_cors_printable(&value))
    {
        return ngx_http_socketio_cors_add(r, "Access-Control-Allow-Headers",
                                          &value);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_cors_add(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value = *value;

    return NGX_OK;
}


/*
 * How many headers of that name (in lower case) the client sent; *value is
 * the first of them, or untouched.
 */

static ngx_uint_t
ngx_http_socketio_cors_find(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    size_t            len;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;
    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len != len
                || ngx_strncasecmp(h[i].key.data, (u_char *) name, len) != 0)
            {
                continue;
            }

            if (n++ == 0) {
                *value = h[i].value;
            }
        }
    }

    return n;
}


/*
 * What is echoed in a header must not hold what ends one.  nginx keeps line
 * feeds out of values, other control characters it lets pass.
 */

static ngx_uint_t
ngx_http_socketio_cors_printable(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (ngx_http_socketio_control(value->data[i])) {
            return 0;
        }
    }

    return 1;
}
