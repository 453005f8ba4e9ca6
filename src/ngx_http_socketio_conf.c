#include "ngx_http_socketio_conf.h"
#include "ngx_sio_base64.h"


#define NGX_HTTP_SOCKETIO_CONF_MAX_FILE    65536
#define NGX_HTTP_SOCKETIO_CONF_MIN_SECRET  24


/* Puts one written secret or key into keys.  NULL, or what is wrong with it. */

typedef const char *(*ngx_http_socketio_conf_key_pt)(ngx_conf_t *cf,
    ngx_str_t *text, ngx_array_t *keys);


static char *ngx_http_socketio_conf_post_time(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_socketio_conf_post_size(ngx_conf_t *cf, void *post,
    void *data);

static ngx_int_t ngx_http_socketio_conf_namespace(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_socketio_namespace_t *ns);
static ngx_int_t ngx_http_socketio_conf_regex(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_socketio_namespace_t *ns);
static const char *ngx_http_socketio_conf_origin(ngx_str_t *origin);
static const char *ngx_http_socketio_conf_authority(u_char *p, u_char *last);
static ngx_int_t ngx_http_socketio_conf_proxy(ngx_conf_t *cf,
    ngx_str_t *value, ngx_array_t *proxies);
static ngx_uint_t ngx_http_socketio_conf_reserved_header(ngx_str_t *name);

static char *ngx_http_socketio_conf_keys(ngx_conf_t *cf, ngx_array_t **keys,
    ngx_http_socketio_conf_key_pt parse);
static ngx_int_t ngx_http_socketio_conf_key_file(ngx_conf_t *cf,
    ngx_str_t *name, ngx_array_t *keys, ngx_http_socketio_conf_key_pt parse);
static ngx_int_t ngx_http_socketio_conf_key_lines(ngx_conf_t *cf,
    ngx_str_t *name, ngx_str_t *text, ngx_array_t *keys,
    ngx_http_socketio_conf_key_pt parse);
static ngx_int_t ngx_http_socketio_conf_read(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);
static ngx_int_t ngx_http_socketio_conf_read_fd(ngx_conf_t *cf, ngx_fd_t fd,
    ngx_str_t *name, ngx_str_t *text);
static const char *ngx_http_socketio_conf_secret(ngx_conf_t *cf,
    ngx_str_t *text, ngx_array_t *keys);
static const char *ngx_http_socketio_conf_api_key(ngx_conf_t *cf,
    ngx_str_t *text, ngx_array_t *keys);
static const char *ngx_http_socketio_conf_push(ngx_array_t *keys,
    ngx_str_t *key);

static char *ngx_http_socketio_conf_complex(ngx_conf_t *cf,
    ngx_http_complex_value_t **cv);
static ngx_int_t ngx_http_socketio_conf_alone(ngx_conf_t *cf,
    const char *word);
static ngx_int_t ngx_http_socketio_conf_repeated(ngx_conf_t *cf,
    ngx_uint_t i);
static ngx_uint_t ngx_http_socketio_conf_token(ngx_str_t *value);


ngx_conf_post_t  ngx_http_socketio_conf_time = {
    ngx_http_socketio_conf_post_time
};

ngx_conf_post_t  ngx_http_socketio_conf_size = {
    ngx_http_socketio_conf_post_size
};


static ngx_http_socketio_namespace_t  ngx_http_socketio_conf_root = {
    .name = ngx_string("/")
};

ngx_array_t  ngx_http_socketio_conf_default_namespaces = {
    &ngx_http_socketio_conf_root, 1,
    sizeof(ngx_http_socketio_namespace_t), 1, NULL
};


static ngx_str_t  ngx_http_socketio_conf_headers[] = {
    ngx_string("cookie"),
    ngx_string("authorization"),
    ngx_string("origin"),
    ngx_string("user-agent"),
    ngx_string("accept-language")
};

ngx_array_t  ngx_http_socketio_conf_default_headers = {
    ngx_http_socketio_conf_headers,
    sizeof(ngx_http_socketio_conf_headers) / sizeof(ngx_str_t),
    sizeof(ngx_str_t),
    sizeof(ngx_http_socketio_conf_headers) / sizeof(ngx_str_t), NULL
};


char *
ngx_http_socketio_conf_namespaces(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_socketio_namespace_t  *ns;

    if (lcf->namespaces != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    if (ngx_http_socketio_conf_alone(cf, "*") == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    lcf->namespaces = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                       sizeof(ngx_http_socketio_namespace_t));
    if (lcf->namespaces == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_socketio_conf_repeated(cf, i) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        ns = ngx_array_push(lcf->namespaces);
        if (ns == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(ns, sizeof(ngx_http_socketio_namespace_t));

        if (ngx_http_socketio_conf_namespace(cf, &value[i], ns) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_socketio_conf_namespace(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_socketio_namespace_t *ns)
{
    u_char  *p, *last;

    if (value->len == 1 && value->data[0] == '*') {
        ns->any = 1;
        return NGX_OK;
    }

    if (value->len && value->data[0] == '~') {
        return ngx_http_socketio_conf_regex(cf, value, ns);
    }

    if (value->len == 0 || value->data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "namespace \"%V\" must begin with \"/\"", value);
        return NGX_ERROR;
    }

    last = value->data + value->len;

    for (p = value->data; p < last; p++) {

        if (*p == ',') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "namespace \"%V\" has a comma, which ends "
                               "a namespace in the protocol; separate "
                               "namespaces by spaces", value);
            return NGX_ERROR;
        }

        if (*p == '?') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "namespace \"%V\" has a question mark, which "
                               "older clients take for the begin of a query",
                               value);
            return NGX_ERROR;
        }

        if (ngx_http_socketio_control(*p)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "namespace \"%V\" has a control character",
                               value);
            return NGX_ERROR;
        }
    }

    ns->name = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_conf_regex(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_socketio_namespace_t *ns)
{
#if (NGX_PCRE)

    u_char               errstr[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t  rc;

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.len = value->len - 1;
    rc.pattern.data = value->data + 1;

    /* "~*" disregards case, as in a location */

    if (rc.pattern.len && rc.pattern.data[0] == '*') {
        rc.pattern.len--;
        rc.pattern.data++;
        rc.options = NGX_REGEX_CASELESS;
    }

    if (rc.pattern.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "empty regex in namespace \"%V\"", value);
        return NGX_ERROR;
    }

    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rc.err);
        return NGX_ERROR;
    }

    ns->name = *value;
    ns->regex = rc.regex;

    return NGX_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "using regex \"%V\" requires PCRE library", value);
    return NGX_ERROR;

#endif
}


char *
ngx_http_socketio_conf_origins(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_int_t         rc;
    ngx_str_t        *value, *origin;
    ngx_uint_t        i;
    const char       *err;
    ngx_conf_enum_t  *e;

    static ngx_conf_enum_t  words[] = {
        { ngx_string("same"), NGX_HTTP_SOCKETIO_CORS_SAME },
        { ngx_string("*"), NGX_HTTP_SOCKETIO_CORS_ANY },
        { ngx_string("off"), NGX_HTTP_SOCKETIO_CORS_OFF },
        { ngx_null_string, 0 }
    };

    if (lcf->cors != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    for (e = words; e->name.len; e++) {

        rc = ngx_http_socketio_conf_alone(cf, (char *) e->name.data);

        if (rc == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_OK) {
            lcf->cors = e->value;
            return NGX_CONF_OK;
        }
    }

    lcf->cors = NGX_HTTP_SOCKETIO_CORS_LIST;

    lcf->cors_origins = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                         sizeof(ngx_str_t));
    if (lcf->cors_origins == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_socketio_conf_repeated(cf, i) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        err = ngx_http_socketio_conf_origin(&value[i]);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "origin \"%V\" %s", &value[i], err);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(lcf->cors_origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


/*
 * Origins are compared byte by byte with what browsers send, so anything that
 * no browser sends would silently never match.
 */

static const char *
ngx_http_socketio_conf_origin(ngx_str_t *origin)
{
    u_char  *p, *last, *host;

    /* what sandboxed frames send */

    if (origin->len == 4 && ngx_strncmp(origin->data, "null", 4) == 0) {
        return NULL;
    }

    host = ngx_strnstr(origin->data, "://", origin->len);

    if (host == NULL || host == origin->data) {
        return "has no scheme, write \"https://...\" or \"http://...\"";
    }

    last = origin->data + origin->len;

    for (p = origin->data; p < last; p++) {

        if (*p >= 'A' && *p <= 'Z') {
            return "is not in lower case, as browsers send it";
        }

        if (*p == '*') {
            return "has a wildcard, which is not supported; "
                   "only \"*\" by itself is";
        }

        if (*p <= 0x20 || *p >= 0x7f || ngx_strchr("\"$'(),;<>\\^`{|}", *p)) {
            return "has an invalid character";
        }
    }

    host += sizeof("://") - 1;

    if (last[-1] == '/' && host < last) {
        return "must not end with a slash";
    }

    if (ngx_strlchr(host, last, '/') || ngx_strlchr(host, last, '?')
        || ngx_strlchr(host, last, '#') || ngx_strlchr(host, last, '@'))
    {
        return "has more than a scheme, a host and a port";
    }

    if (host == last) {
        return ngx_strncmp(origin->data, "file://", 7) == 0
               ? NULL : "has no host";
    }

    if ((ngx_strncmp(origin->data, "http://", 7) == 0
         && last - host > 3 && ngx_strncmp(last - 3, ":80", 3) == 0)
        || (ngx_strncmp(origin->data, "https://", 8) == 0
            && last - host > 4 && ngx_strncmp(last - 4, ":443", 4) == 0))
    {
        return "has the default port, which browsers leave out";
    }

    return ngx_http_socketio_conf_authority(host, last);
}


static const char *
ngx_http_socketio_conf_authority(u_char *p, u_char *last)
{
    u_char     *port;
    ngx_int_t   n;

    port = ngx_strlchr(p, last, ':');

    if (*p == '[') {
        p = ngx_strlchr(p, last, ']');

        if (p == NULL || (p + 1 < last && p[1] != ':')) {
            return "has an invalid IPv6 address";
        }

        port = (p + 1 < last) ? p + 1 : NULL;
    }

    if (port == NULL) {
        return NULL;
    }

    if (port == p) {
        return "has no host";
    }

    n = ngx_atoi(port + 1, last - port - 1);

    if (n < 1 || n > 65535) {
        return "has an invalid port";
    }

    return NULL;
}


char *
ngx_http_socketio_conf_proxies(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (lcf->trusted_proxies != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    switch (ngx_http_socketio_conf_alone(cf, "off")) {

    case NGX_OK:
        lcf->trusted_proxies = NULL;
        return NGX_CONF_OK;

    case NGX_DECLINED:
        break;

    default: /* NGX_ERROR */
        return NGX_CONF_ERROR;
    }

    lcf->trusted_proxies = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                            sizeof(ngx_cidr_t));
    if (lcf->trusted_proxies == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_socketio_conf_repeated(cf, i) != NGX_OK
            || ngx_http_socketio_conf_proxy(cf, &value[i],
                                            lcf->trusted_proxies)
               != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_socketio_conf_proxy(ngx_conf_t *cf, ngx_str_t *value,
    ngx_array_t *proxies)
{
    ngx_int_t    rc;
    ngx_cidr_t  *cidr;

    cidr = ngx_array_push(proxies);
    if (cidr == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(cidr, sizeof(ngx_cidr_t));

    if (value->len == 5 && ngx_strncmp(value->data, "unix:", 5) == 0) {
        cidr->family = AF_UNIX;
        return NGX_OK;
    }

    rc = ngx_ptocidr(value, cidr);

    if (rc == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not an address, a network, "
                           "\"unix:\" or \"off\"", value);
        return NGX_ERROR;
    }

    if (rc == NGX_DONE) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "low address bits of %V are meaningless", value);
    }

    return NGX_OK;
}


ngx_array_t *
ngx_http_socketio_conf_default_proxies(ngx_conf_t *cf)
{
    ngx_str_t    *value;
    ngx_array_t  *proxies;

    static ngx_str_t  defaults[] = {
        ngx_string("127.0.0.0/8"),
#if (NGX_HAVE_INET6)
        ngx_string("::1"),
#endif
        ngx_string("unix:"),
        ngx_null_string
    };

    proxies = ngx_array_create(cf->pool, 3, sizeof(ngx_cidr_t));
    if (proxies == NULL) {
        return NULL;
    }

    for (value = defaults; value->len; value++) {
        if (ngx_http_socketio_conf_proxy(cf, value, proxies) != NGX_OK) {
            return NULL;
        }
    }

    return proxies;
}


char *
ngx_http_socketio_conf_pass_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t   *value, *name;
    ngx_uint_t   i;

    if (lcf->webhook_pass_headers != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    lcf->webhook_pass_headers = ngx_array_create(cf->pool,
                                                 cf->args->nelts - 1,
                                                 sizeof(ngx_str_t));
    if (lcf->webhook_pass_headers == NULL) {
        return NGX_CONF_ERROR;
    }

    switch (ngx_http_socketio_conf_alone(cf, "off")) {

    case NGX_OK:
        return NGX_CONF_OK;

    case NGX_DECLINED:
        break;

    default: /* NGX_ERROR */
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        ngx_strlow(value[i].data, value[i].data, value[i].len);

        if (ngx_http_socketio_conf_repeated(cf, i) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        if (!ngx_http_socketio_conf_token(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is not a header name", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_socketio_conf_reserved_header(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "header \"%V\" cannot be passed, "
                               "a webhook has its own", &value[i]);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(lcf->webhook_pass_headers);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
    }

    return NGX_CONF_OK;
}


/*
 * Headers that describe the connection or the body of the client's request,
 * or that vouch for a webhook: a client who could set them would forge it.
 */

static ngx_uint_t
ngx_http_socketio_conf_reserved_header(ngx_str_t *name)
{
    ngx_str_t  *reserved;

    static ngx_str_t  names[] = {
        ngx_string("connection"),
        ngx_string("content-encoding"),
        ngx_string("content-length"),
        ngx_string("content-type"),
        ngx_string("expect"),
        ngx_string("keep-alive"),
        ngx_string("te"),
        ngx_string("trailer"),
        ngx_string("transfer-encoding"),
        ngx_string("upgrade"),
        ngx_string("webhook-id"),
        ngx_string("webhook-signature"),
        ngx_string("webhook-timestamp"),
        ngx_null_string
    };

    for (reserved = names; reserved->len; reserved++) {
        if (reserved->len == name->len
            && ngx_memcmp(reserved->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


char *
ngx_http_socketio_conf_secrets(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    return ngx_http_socketio_conf_keys(cf, &lcf->webhook_secrets,
                                       ngx_http_socketio_conf_secret);
}


char *
ngx_http_socketio_conf_api_keys(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    return ngx_http_socketio_conf_keys(cf, &lcf->api_keys,
                                       ngx_http_socketio_conf_api_key);
}


/*
 * Messages number the parameter or the line, since the text must stay out of
 * the log.
 */

static char *
ngx_http_socketio_conf_keys(ngx_conf_t *cf, ngx_array_t **keys,
    ngx_http_socketio_conf_key_pt parse)
{
    ngx_str_t   *value, name;
    ngx_uint_t   i;
    const char  *err;

    if (*keys != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    switch (ngx_http_socketio_conf_alone(cf, "off")) {

    case NGX_OK:
        *keys = NULL;
        return NGX_CONF_OK;

    case NGX_DECLINED:
        break;

    default: /* NGX_ERROR */
        return NGX_CONF_ERROR;
    }

    *keys = ngx_array_create(cf->pool, cf->args->nelts - 1,
                             sizeof(ngx_str_t));
    if (*keys == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "file=", 5) == 0) {
            name.len = value[i].len - 5;
            name.data = value[i].data + 5;

            if (ngx_http_socketio_conf_key_file(cf, &name, *keys, parse)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        err = parse(cf, &value[i], *keys);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "parameter %ui of \"%V\" %s",
                               i, &value[0], err);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_socketio_conf_key_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_array_t *keys, ngx_http_socketio_conf_key_pt parse)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  n;

    if (name->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"file=\" names no file");
        return NGX_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_socketio_conf_read(cf, name, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    n = keys->nelts;

    rc = ngx_http_socketio_conf_key_lines(cf, name, &text, keys, parse);

    ngx_explicit_memzero(text.data, text.len);

    if (rc == NGX_OK && keys->nelts == n) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no keys in file \"%V\"", name);
        return NGX_ERROR;
    }

    return rc;
}


/* One key a line, white space around it and lines with "#" do not count. */

static ngx_int_t
ngx_http_socketio_conf_key_lines(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text, ngx_array_t *keys, ngx_http_socketio_conf_key_pt parse)
{
    u_char      *p, *last, *next;
    ngx_str_t    line;
    ngx_uint_t   n;
    const char  *err;

    p = text->data;
    last = text->data + text->len;

    for (n = 1; p < last; n++) {

        next = ngx_strlchr(p, last, LF);
        if (next == NULL) {
            next = last;
        }

        while (p < next && (*p == ' ' || *p == '\t')) {
            p++;
        }

        line.data = p;
        line.len = next - p;

        while (line.len && (line.data[line.len - 1] == ' '
                            || line.data[line.len - 1] == '\t'
                            || line.data[line.len - 1] == CR))
        {
            line.len--;
        }

        p = next + 1;

        if (line.len == 0 || line.data[0] == '#') {
            continue;
        }

        err = parse(cf, &line, keys);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "line %ui of file \"%V\" %s", n, name, err);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_conf_read(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    /* non-blocking: a pipe would make nginx wait for its writer */

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    rc = ngx_http_socketio_conf_read_fd(cf, fd, name, text);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    return rc;
}


static ngx_int_t
ngx_http_socketio_conf_read_fd(ngx_conf_t *cf, ngx_fd_t fd, ngx_str_t *name,
    ngx_str_t *text)
{
    off_t            size;
    ssize_t          n;
    ngx_file_info_t  fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a regular file", name);
        return NGX_ERROR;
    }

    size = ngx_file_size(&fi);

    if (size > NGX_HTTP_SOCKETIO_CONF_MAX_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "file \"%V\" of %O bytes is too large for keys, "
                           "limit is %d",
                           name, size, NGX_HTTP_SOCKETIO_CONF_MAX_FILE);
        return NGX_ERROR;
    }

    text->len = 0;
    text->data = ngx_pnalloc(cf->temp_pool, size + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, text->data, size);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    text->len = n;

    return NGX_OK;
}


/* Standard Webhooks: "whsec_" and the key's octets in base64 */

static const char *
ngx_http_socketio_conf_secret(ngx_conf_t *cf, ngx_str_t *text,
    ngx_array_t *keys)
{
    size_t      len;
    u_char     *p, *last;
    ngx_str_t   key;

    len = sizeof("whsec_") - 1;

    if (text->len == 0) {
        return "is empty";
    }

    if (text->len < len || ngx_strncmp(text->data, "whsec_", len) != 0) {
        return "must begin with \"whsec_\"";
    }

    p = text->data + len;
    len = text->len - len;

    if (len == 0) {
        return "has nothing after \"whsec_\"";
    }

    key.data = ngx_pnalloc(cf->pool, ngx_sio_base64_decoded_length(len));
    if (key.data == NULL) {
        return "does not fit into memory";
    }

    if (ngx_sio_base64_decode_strict(key.data, p, len, &last) != NGX_OK) {
        return "is not base64 after \"whsec_\"";
    }

    key.len = last - key.data;

    if (key.len < NGX_HTTP_SOCKETIO_CONF_MIN_SECRET) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "a webhook secret has only %uz octets, "
                           "Standard Webhooks asks for at least %d",
                           key.len, NGX_HTTP_SOCKETIO_CONF_MIN_SECRET);
    }

    return ngx_http_socketio_conf_push(keys, &key);
}


static const char *
ngx_http_socketio_conf_api_key(ngx_conf_t *cf, ngx_str_t *text,
    ngx_array_t *keys)
{
    size_t     i;
    ngx_str_t  key;

    if (text->len == 0) {
        return "is empty";
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= 0x20 || text->data[i] >= 0x7f) {
            return "has a character that cannot be sent after \"Bearer\"";
        }
    }

    key.len = text->len;
    key.data = ngx_pstrdup(cf->pool, text);
    if (key.data == NULL) {
        return "does not fit into memory";
    }

    return ngx_http_socketio_conf_push(keys, &key);
}


static const char *
ngx_http_socketio_conf_push(ngx_array_t *keys, ngx_str_t *key)
{
    ngx_str_t   *k;
    ngx_uint_t   i;

    k = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (k[i].len == key->len
            && ngx_memcmp(k[i].data, key->data, key->len) == 0)
        {
            return "is given twice";
        }
    }

    k = ngx_array_push(keys);
    if (k == NULL) {
        return "does not fit into memory";
    }

    *k = *key;

    return NULL;
}


char *
ngx_http_socketio_conf_webhook(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") != 0
        && (value[1].len == 0
            || (value[1].data[0] != '/' && value[1].data[0] != '$')))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "webhook URI \"%V\" must begin with \"/\": it is "
                           "a location of this server, which passes the "
                           "webhook on", &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_socketio_conf_complex(cf, &lcf->webhook);
}


char *
ngx_http_socketio_conf_refuse(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    return ngx_http_socketio_conf_complex(cf, &lcf->refuse);
}


/* "off" is NULL, which no outer level can change any more */

static char *
ngx_http_socketio_conf_complex(ngx_conf_t *cf, ngx_http_complex_value_t **cv)
{
    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    if (*cv != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        *cv = NULL;
        return NGX_CONF_OK;
    }

    *cv = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*cv == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = *cv;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_socketio_conf_cookie(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->cookie.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&lcf->cookie, "");
        return NGX_CONF_OK;
    }

    if (!ngx_http_socketio_conf_token(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a cookie name", &value[1]);
        return NGX_CONF_ERROR;
    }

    lcf->cookie = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_socketio_conf_bits(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    if (*(ngx_uint_t *) (p + cmd->offset) != 0) {
        return "is duplicate";
    }

    return ngx_conf_set_bitmask_slot(cf, cmd, conf);
}


static char *
ngx_http_socketio_conf_post_time(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t  *msec = data;

    if (*msec == 0) {
        return "must be greater than zero";
    }

    if (*msec > NGX_HTTP_SOCKETIO_CONF_MAX_MSEC) {
        return "is longer than browsers can count, limit is 24 days";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_socketio_conf_post_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t  *size = data;

    if (*size == 0) {
        return "must be greater than zero";
    }

    return NGX_CONF_OK;
}


/*
 * Looks for a word that excludes other parameters, such as "off".
 *
 *   NGX_OK        it is the only one
 *   NGX_DECLINED  it is not there
 *   NGX_ERROR     it stands among others; logged
 */

static ngx_int_t
ngx_http_socketio_conf_alone(ngx_conf_t *cf, const char *word)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, word) != 0) {
            continue;
        }

        if (cf->args->nelts == 2) {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" excludes other parameters of \"%V\"",
                           word, &value[0]);
        return NGX_ERROR;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_socketio_conf_repeated(ngx_conf_t *cf, ngx_uint_t i)
{
    ngx_str_t   *value;
    ngx_uint_t   n;

    value = cf->args->elts;

    for (n = 1; n < i; n++) {
        if (value[n].len == value[i].len
            && ngx_memcmp(value[n].data, value[i].data, value[i].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" of \"%V\"",
                               &value[i], &value[0]);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* RFC 9110, 5.6.2: what names of headers and cookies are made of */

static ngx_uint_t
ngx_http_socketio_conf_token(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= 0x20 || value->data[i] >= 0x7f
            || ngx_strchr("\"(),/:;<=>?@[\\]{}", value->data[i]))
        {
            return 0;
        }
    }

    return value->len != 0;
}
