
#include "ngx_sio_queue_url.h"


#define NGX_SIO_QUEUE_URL_PORT   6379
#define NGX_SIO_QUEUE_URL_DBS    65536


static ngx_int_t ngx_sio_queue_url_scheme(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url, ngx_uint_t *tls);
static ngx_int_t ngx_sio_queue_url_login(ngx_conf_t *cf, ngx_str_t *login,
    ngx_sio_queue_url_t *url);
static ngx_int_t ngx_sio_queue_url_host(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url);
static ngx_int_t ngx_sio_queue_url_path(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url);
static ngx_int_t ngx_sio_queue_url_db(ngx_conf_t *cf, ngx_str_t *text,
    ngx_sio_queue_url_t *url);
static ngx_int_t ngx_sio_queue_url_options(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url, ngx_str_t *files);
static ngx_int_t ngx_sio_queue_url_tls(ngx_conf_t *cf,
    ngx_sio_queue_url_t *url, ngx_str_t *files);
static ngx_int_t ngx_sio_queue_url_decode(ngx_conf_t *cf, ngx_str_t *text,
    ngx_str_t *decoded);
static ngx_int_t ngx_sio_queue_url_show(ngx_conf_t *cf, ngx_str_t *text,
    ngx_sio_queue_url_t *url);
static void ngx_sio_queue_url_split(ngx_str_t *text, u_char ch,
    ngx_str_t *rest);


/* files of TLS */

enum {
    NGX_SIO_QUEUE_URL_CA = 0,
    NGX_SIO_QUEUE_URL_CERT,
    NGX_SIO_QUEUE_URL_KEY,
    NGX_SIO_QUEUE_URL_FILES
};


/* scheme://login@host/db?options, taken apart from its ends */

ngx_int_t
ngx_sio_queue_url_parse(ngx_conf_t *cf, ngx_str_t *text,
    ngx_sio_queue_url_t *url)
{
    u_char      *p, *at;
    ngx_int_t    rc;
    ngx_str_t    rest, options, login;
    ngx_uint_t   tls;
    ngx_str_t    files[NGX_SIO_QUEUE_URL_FILES];

    ngx_memzero(url, sizeof(ngx_sio_queue_url_t));
    ngx_memzero(files, sizeof(files));

    url->verify = 1;
    rest = *text;

    if (ngx_sio_queue_url_show(cf, text, url) != NGX_OK
        || ngx_sio_queue_url_scheme(cf, &rest, url, &tls) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_sio_queue_url_split(&rest, '?', &options);

    /* the login ends at the last "@" before the path */

    at = NULL;

    for (p = rest.data; p < rest.data + rest.len; p++) {

        if (*p == '/') {
            break;
        }

        if (*p == '@') {
            at = p;
        }
    }

    if (at != NULL) {
        login.data = rest.data;
        login.len = at - rest.data;

        rest.len -= login.len + 1;
        rest.data = at + 1;

        if (ngx_sio_queue_url_login(cf, &login, url) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    rc = url->unix_socket ? ngx_sio_queue_url_path(cf, &rest, url)
                          : ngx_sio_queue_url_host(cf, &rest, url);

    if (rc != NGX_OK
        || ngx_sio_queue_url_options(cf, &options, url, files) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (tls) {
        return ngx_sio_queue_url_tls(cf, url, files);
    }

    if (files[NGX_SIO_QUEUE_URL_CA].len || files[NGX_SIO_QUEUE_URL_CERT].len
        || files[NGX_SIO_QUEUE_URL_KEY].len || !url->verify)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "options of TLS in \"%V\", which is without: "
                           "use \"rediss://\"", &url->shown);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_sio_queue_url_resolve(ngx_conf_t *cf, ngx_sio_queue_url_t *url)
{
    ngx_url_t  u;

    if (url->naddrs) {
        return NGX_OK;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = url->host;
    u.default_port = url->port;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in \"%V\"",
                      u.err ? u.err : "no memory", &url->shown);
        return NGX_ERROR;
    }

    url->addrs = u.addrs;
    url->naddrs = u.naddrs;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_queue_url_scheme(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url, ngx_uint_t *tls)
{
    size_t  len;

    static const struct {
        ngx_str_t    scheme;
        unsigned     tls:1;
        unsigned     unix_socket:1;
    } *known, schemes[] = {
        { ngx_string("redis://"), 0, 0 },
        { ngx_string("rediss://"), 1, 0 },
        { ngx_string("valkey://"), 0, 0 },
        { ngx_string("valkeys://"), 1, 0 },
        { ngx_string("unix://"), 0, 1 },
        { ngx_null_string, 0, 0 }
    };

    for (known = schemes; known->scheme.len; known++) {
        len = known->scheme.len;

        if (rest->len >= len
            && ngx_strncasecmp(rest->data, known->scheme.data, len) == 0)
        {
            rest->data += len;
            rest->len -= len;

            url->broker = NGX_SIO_QUEUE_REDIS;
            url->unix_socket = known->unix_socket;
            *tls = known->tls;

            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown message queue \"%V\": it has to begin with "
                       "\"redis://\", \"rediss://\" or \"unix://\"",
                       &url->shown);
    return NGX_ERROR;
}


/* "user:password", ":password", or "user" */

static ngx_int_t
ngx_sio_queue_url_login(ngx_conf_t *cf, ngx_str_t *login,
    ngx_sio_queue_url_t *url)
{
    ngx_str_t  password;

    ngx_sio_queue_url_split(login, ':', &password);

    if (ngx_sio_queue_url_decode(cf, login, &url->user) != NGX_OK
        || ngx_sio_queue_url_decode(cf, &password, &url->password) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid escape in the login of \"%V\"",
                           &url->shown);
        return NGX_ERROR;
    }

    if (url->user.len && url->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user without a password in \"%V\"", &url->shown);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* "host", "host:port", "[::1]:port", nothing; then "/db" */

static ngx_int_t
ngx_sio_queue_url_host(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url)
{
    ngx_url_t  u;
    ngx_str_t  db;

    ngx_sio_queue_url_split(rest, '/', &db);

    if (db.len && ngx_sio_queue_url_db(cf, &db, url) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rest->len == 0) {
        ngx_str_set(rest, "localhost");
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *rest;
    u.default_port = NGX_SIO_QUEUE_URL_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "no memory", &url->shown);
        return NGX_ERROR;
    }

    url->host = u.host;
    url->port = u.port;
    url->addrs = u.addrs;
    url->naddrs = u.naddrs;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_queue_url_path(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url)
{
    ngx_url_t  u;
    ngx_str_t  path;

    if (rest->len == 0 || rest->data[0] != '/'
        || ngx_sio_queue_url_decode(cf, rest, &path) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid path in \"%V\"",
                           &url->shown);
        return NGX_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.len = sizeof("unix:") - 1 + path.len;
    u.url.data = ngx_pnalloc(cf->pool, u.url.len + 1);
    if (u.url.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(u.url.data, "unix:%V%Z", &path);

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\"",
                           u.err ? u.err : "no memory", &url->shown);
        return NGX_ERROR;
    }

    url->addrs = u.addrs;
    url->naddrs = u.naddrs;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_queue_url_db(ngx_conf_t *cf, ngx_str_t *text, ngx_sio_queue_url_t *url)
{
    ngx_int_t  n;

    n = ngx_atoi(text->data, text->len);

    if (n == NGX_ERROR || n >= NGX_SIO_QUEUE_URL_DBS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid database \"%V\" in \"%V\"", text,
                           &url->shown);
        return NGX_ERROR;
    }

    url->db = n;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_queue_url_options(ngx_conf_t *cf, ngx_str_t *rest,
    ngx_sio_queue_url_t *url, ngx_str_t *files)
{
    ngx_uint_t  i;
    ngx_str_t   option, value, next, raw;

    static ngx_str_t  names[] = {
        ngx_string("ssl_ca_certs"),
        ngx_string("ssl_certfile"),
        ngx_string("ssl_keyfile")
    };

    for (option = *rest; option.len; option = next) {

        ngx_sio_queue_url_split(&option, '&', &next);
        ngx_sio_queue_url_split(&option, '=', &raw);

        if (ngx_sio_queue_url_decode(cf, &raw, &value) != NGX_OK) {
            goto invalid;
        }

        if (option.len == 2 && ngx_strncmp(option.data, "db", 2) == 0) {

            if (ngx_sio_queue_url_db(cf, &value, url) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (option.len == sizeof("ssl_cert_reqs") - 1
            && ngx_strncmp(option.data, "ssl_cert_reqs", option.len) == 0)
        {
            if (value.len == 4 && ngx_strncmp(value.data, "none", 4) == 0) {
                url->verify = 0;
                continue;
            }

            if (value.len == 8 && ngx_strncmp(value.data, "required", 8) == 0)
            {
                continue;
            }

            goto invalid;
        }

        for (i = 0; i < NGX_SIO_QUEUE_URL_FILES; i++) {

            if (option.len == names[i].len
                && ngx_strncmp(option.data, names[i].data, option.len) == 0)
            {
                files[i] = value;
                break;
            }
        }

        if (i == NGX_SIO_QUEUE_URL_FILES || value.len == 0) {
            goto invalid;
        }
    }

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid option \"%V\" in \"%V\"",
                       &option, &url->shown);
    return NGX_ERROR;
}


static ngx_int_t
ngx_sio_queue_url_tls(ngx_conf_t *cf, ngx_sio_queue_url_t *url,
    ngx_str_t *files)
{
    u_char              *name;
    ngx_ssl_t           *ssl;
    ngx_pool_cleanup_t  *cln;

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NGX_ERROR;
    }

    ssl->log = cf->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    /* what waits to be written is moved when more comes behind it */
    SSL_CTX_set_mode(ssl->ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    if (files[NGX_SIO_QUEUE_URL_CA].len) {

        if (ngx_ssl_trusted_certificate(cf, ssl, &files[NGX_SIO_QUEUE_URL_CA],
                                        9)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (SSL_CTX_set_default_verify_paths(ssl->ctx) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_ERROR;
    }

    if (files[NGX_SIO_QUEUE_URL_CERT].len) {

        if (files[NGX_SIO_QUEUE_URL_KEY].len == 0) {
            files[NGX_SIO_QUEUE_URL_KEY] = files[NGX_SIO_QUEUE_URL_CERT];
        }

        if (ngx_ssl_certificate(cf, ssl, &files[NGX_SIO_QUEUE_URL_CERT],
                                &files[NGX_SIO_QUEUE_URL_KEY], NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* an address is no name for SNI */

    if (ngx_inet_addr(url->host.data, url->host.len) == INADDR_NONE
        && url->host.data[0] != '[')
    {
        name = ngx_pnalloc(cf->pool, url->host.len + 1);
        if (name == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(name, url->host.data, url->host.len + 1);
        url->server_name = (char *) name;
    }

    url->ssl = ssl;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_queue_url_decode(ngx_conf_t *cf, ngx_str_t *text, ngx_str_t *decoded)
{
    u_char     *src, *last, *dst;
    ngx_int_t   n;

    decoded->len = 0;
    decoded->data = ngx_pnalloc(cf->pool, text->len + 1);
    if (decoded->data == NULL) {
        return NGX_ERROR;
    }

    dst = decoded->data;
    last = text->data + text->len;

    for (src = text->data; src < last; src++) {

        if (*src != '%') {
            *dst++ = *src;
            continue;
        }

        if (last - src < 3) {
            return NGX_ERROR;
        }

        n = ngx_hextoi(src + 1, 2);

        if (n == NGX_ERROR || n == 0) {
            return NGX_ERROR;
        }

        *dst++ = (u_char) n;
        src += 2;
    }

    *dst = '\0';
    decoded->len = dst - decoded->data;

    return NGX_OK;
}


/* for logs: "redis://user:***@host" */

static ngx_int_t
ngx_sio_queue_url_show(ngx_conf_t *cf, ngx_str_t *text,
    ngx_sio_queue_url_t *url)
{
    u_char  *p, *begin, *at, *last;

    url->shown.data = ngx_pnalloc(cf->pool, text->len + sizeof(":***"));
    if (url->shown.data == NULL) {
        return NGX_ERROR;
    }

    last = text->data + text->len;
    begin = ngx_strlchr(text->data, last, '/');
    begin = (begin != NULL && last - begin > 1 && begin[1] == '/')
            ? begin + 2 : text->data;
    at = NULL;

    for (p = begin; p < last && *p != '?' && (*p != '/' || p == begin); p++) {
        if (*p == '@') {
            at = p;
        }
    }

    p = ngx_cpymem(url->shown.data, text->data, begin - text->data);

    if (at != NULL) {
        while (begin < at && *begin != ':') {
            *p++ = *begin++;
        }

        if (begin < at) {
            p = ngx_cpymem(p, ":***", 4);
        }

        begin = at;
    }

    p = ngx_cpymem(p, begin, last - begin);

    url->shown.len = p - url->shown.data;

    return NGX_OK;
}


/* cuts text at the first ch; what comes behind it is the rest, or empty */

static void
ngx_sio_queue_url_split(ngx_str_t *text, u_char ch, ngx_str_t *rest)
{
    u_char  *p, *last;

    last = text->data + text->len;
    p = text->len ? ngx_strlchr(text->data, last, ch) : NULL;

    if (p == NULL) {
        ngx_str_null(rest);
        return;
    }

    rest->data = p + 1;
    rest->len = last - p - 1;
    text->len = p - text->data;
}
