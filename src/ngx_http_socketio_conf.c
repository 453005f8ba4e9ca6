#include "ngx_http_socketio_conf.h"


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
static ngx_uint_t ngx_http_socketio_conf_numbered(ngx_str_t *value);


static char *ngx_http_socketio_conf_complex(ngx_conf_t *cf,
    ngx_http_complex_value_t **cv);
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

    if (ngx_http_socketio_conf_numbered(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "webhook URI \"%V\" has a numbered capture, which "
                           "is forgotten by then; give it a name: "
                           "\"(?<name>...)\" and \"$name\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_socketio_conf_complex(cf, &lcf->webhook);
}


static ngx_uint_t
ngx_http_socketio_conf_numbered(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i + 1 < value->len; i++) {
        if (value->data[i] == '$'
            && value->data[i + 1] >= '1' && value->data[i + 1] <= '9')
        {
            return 1;
        }
    }

    return 0;
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
ngx_http_socketio_conf_event_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_int_t   n, unit;
    ngx_str_t  *value, rate, burst;

    if (lcf->event_period != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    switch (ngx_http_socketio_conf_alone(cf, "off")) {

    case NGX_OK:
        lcf->event_period = 0;
        return NGX_CONF_OK;

    case NGX_DECLINED:
        break;

    default: /* NGX_ERROR */
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    rate = value[1];
    unit = 0;

    if (rate.len > 3) {
        rate.len -= 3;

        if (ngx_strncmp(rate.data + rate.len, "r/s", 3) == 0) {
            unit = 1;

        } else if (ngx_strncmp(rate.data + rate.len, "r/m", 3) == 0) {
            unit = 60;
        }
    }

    n = ngx_atoi(rate.data, rate.len);

    if (unit == 0 || n < 1 || n > NGX_HTTP_SOCKETIO_CONF_MAX_RATE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\", it must be from \"1r/m\" to "
                           "\"%dr/s\"", &value[1],
                           NGX_HTTP_SOCKETIO_CONF_MAX_RATE);
        return NGX_CONF_ERROR;
    }

    lcf->event_period = unit * 1000000 / n;
    lcf->event_burst = n;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    burst = value[2];
    n = NGX_ERROR;

    if (burst.len > 6 && ngx_strncmp(burst.data, "burst=", 6) == 0) {
        n = ngx_atoi(burst.data + 6, burst.len - 6);
    }

    if (n < 1 || n > NGX_HTTP_SOCKETIO_CONF_MAX_RATE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", expected \"burst=\" and "
                           "a number from 1 to %d", &value[2],
                           NGX_HTTP_SOCKETIO_CONF_MAX_RATE);
        return NGX_CONF_ERROR;
    }

    lcf->event_burst = n;

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


ngx_int_t
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
