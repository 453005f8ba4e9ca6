
/*
 * Who may call: whoever has a key, or, without keys, whoever nginx has let in
 * by a rule of its own.
 */

#include "ngx_http_socketio_api.h"

#include <openssl/crypto.h>


/*
 * The beginning of what other modules keep for a location.  nginx has no
 * headers for it, and weak names are NULL where a module was left out.
 */

typedef struct {
    ngx_array_t                   *rules;
#if (NGX_HAVE_INET6)
    ngx_array_t                   *rules6;
#endif
#if (NGX_HAVE_UNIX_DOMAIN)
    ngx_array_t                   *rules_un;
#endif
} ngx_http_socketio_api_access_t;

typedef struct {
    ngx_http_complex_value_t      *realm;
    void                          *user_file;
} ngx_http_socketio_api_auth_basic_t;

typedef struct {
    ngx_str_t                      uri;
} ngx_http_socketio_api_auth_request_t;

extern ngx_module_t  ngx_http_access_module __attribute__((weak));
extern ngx_module_t  ngx_http_auth_basic_module __attribute__((weak));
extern ngx_module_t  ngx_http_auth_request_module __attribute__((weak));


static ngx_uint_t ngx_http_socketio_api_key(ngx_http_request_t *r,
    ngx_array_t *keys);
static ngx_uint_t ngx_http_socketio_api_protected(ngx_http_request_t *r);


ngx_int_t
ngx_http_socketio_api_admit(ngx_http_socketio_api_call_t *call)
{
    ngx_http_request_t                   *r;
    ngx_http_socketio_loc_conf_t         *lcf;

    static ngx_http_socketio_loc_conf_t  *reported;

    r = call->api->request;
    lcf = call->api->lcf;

    if (lcf->api_keys != NULL) {

        if (ngx_http_socketio_api_key(r, lcf->api_keys)) {
            return NGX_OK;
        }

        r->headers_out.www_authenticate = ngx_http_socketio_api_header(r,
                                                "WWW-Authenticate", "Bearer");
        if (r->headers_out.www_authenticate == NULL) {
            return NGX_ERROR;
        }

        ngx_http_socketio_api_fail(call, NGX_HTTP_UNAUTHORIZED, "unauthorized",
                                   "\"Authorization: Bearer\" with a valid "
                                   "key is needed");
        return NGX_DECLINED;
    }

    if (ngx_http_socketio_api_protected(r)) {

        /*
         * An address, a password or a certificate is shown by the browser of
         * somebody who looks at a page of somebody else; a key is not.
         */

        if (!ngx_http_socketio_cors_foreign(r, lcf)) {
            return NGX_OK;
        }

        ngx_http_socketio_api_fail(call, NGX_HTTP_FORBIDDEN, "forbidden",
                                   "a page of another site may not call "
                                   "without a key");
        return NGX_DECLINED;
    }

    /* an open door is told about once, not to everybody who tries it */

    if (reported != lcf) {
        reported = lcf;

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "\"socketio_api\" in \"%V\" refuses all calls because "
                      "nothing protects it: add \"socketio_api_key\", "
                      "\"allow\" and \"deny\", \"auth_basic\", or "
                      "\"auth_request\" (\"allow all\" if that is meant)",
                      &lcf->name);
    }

    ngx_http_socketio_api_fail(call, NGX_HTTP_FORBIDDEN, "forbidden",
                               "neither keys nor access rules are configured, "
                               "see the error log");
    return NGX_DECLINED;
}


/*
 * Whether the request shows one of the keys.  All are compared, so that time
 * does not tell how near a guess came.
 */

static ngx_uint_t
ngx_http_socketio_api_key(ngx_http_request_t *r, ngx_array_t *keys)
{
    ngx_str_t         given, *key;
    ngx_uint_t        i, found;
    ngx_table_elt_t  *h;

    h = r->headers_in.authorization;

    if (h == NULL
        || h->value.len < sizeof("Bearer ") - 1
        || ngx_strncasecmp(h->value.data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return 0;
    }

    given.data = h->value.data + sizeof("Bearer ") - 1;
    given.len = h->value.len - (sizeof("Bearer ") - 1);

    while (given.len && given.data[0] == ' ') {
        given.data++;
        given.len--;
    }

    found = 0;
    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (key[i].len == given.len
            && CRYPTO_memcmp(key[i].data, given.data, given.len) == 0)
        {
            found = 1;
        }
    }

    return found;
}


/* Whether something in the access phase, or TLS, has looked at the caller. */

static ngx_uint_t
ngx_http_socketio_api_protected(ngx_http_request_t *r)
{
    ngx_str_t                              realm;
    ngx_http_ssl_srv_conf_t               *sscf;
    ngx_http_socketio_api_access_t        *access;
    ngx_http_socketio_api_auth_basic_t    *basic;
    ngx_http_socketio_api_auth_request_t  *request;

    if (&ngx_http_access_module != NULL) {
        access = ngx_http_get_module_loc_conf(r, ngx_http_access_module);

        if (access->rules != NULL
#if (NGX_HAVE_INET6)
            || access->rules6 != NULL
#endif
#if (NGX_HAVE_UNIX_DOMAIN)
            || access->rules_un != NULL
#endif
        ) {
            return 1;
        }
    }

    if (&ngx_http_auth_basic_module != NULL) {
        basic = ngx_http_get_module_loc_conf(r, ngx_http_auth_basic_module);

        if (basic->realm != NULL
            && basic->user_file != NULL
            && ngx_http_complex_value(r, basic->realm, &realm) == NGX_OK
            && !(realm.len == 3 && ngx_strncmp(realm.data, "off", 3) == 0))
        {
            return 1;
        }
    }

    if (&ngx_http_auth_request_module != NULL) {
        request = ngx_http_get_module_loc_conf(r, ngx_http_auth_request_module);

        if (request->uri.len != 0) {
            return 1;
        }
    }

    if (r->connection->ssl == NULL) {
        return 0;
    }

    /* "ssl_verify_client on": nginx has refused whoever has no certificate */

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_ssl_module);

    return sscf->verify == 1;
}


ngx_table_elt_t *
ngx_http_socketio_api_header(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_sio_table_elt_init(h);

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return h;
}
