
/*
 * The HTTP API: emit, join, leave and disconnect for the application.
 *
 * Layer:      top.
 * Ownership:  a call lives in the pool of its request; while it waits for the
 *             workers it is in the table of parked requests.
 * Hostile:    the body, also that of a caller who has a key.
 * Reference:  README.md, "HTTP API".
 *
 * The location's name is a prefix and what follows is the name of the call:
 * "location /_api/ { socketio_api; }" serves /_api/emit.  In a location that is
 * no prefix the call is what follows the last slash.
 *
 * A list of rooms and sids that is empty, or an emit without "to", means the
 * whole namespace.  "in" has to be there nevertheless: a key that was
 * forgotten must not disconnect everybody.
 *
 * A call becomes one entry of the log, and each worker answers how many of
 * its sockets matched.  One that died has none; one that does not answer in
 * time makes the answer incomplete, and says so.
 */


#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_body.h"
#include "ngx_http_socketio_parse.h"
#include "ngx_http_socketio_wire.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"

#include <openssl/crypto.h>


#define NGX_HTTP_SOCKETIO_API_TIMEOUT  5000    /* msec */
#define NGX_HTTP_SOCKETIO_API_MESSAGE  1024    /* octets of an error's text */
#define NGX_HTTP_SOCKETIO_API_PACKET   32      /* ... and of a packet's head */


typedef struct ngx_http_socketio_api_s  ngx_http_socketio_api_t;


/*
 * Reads its part of the body and goes on.  Returns what the request is
 * finalized with, or NGX_DONE: it will be later.
 */
typedef ngx_int_t (*ngx_http_socketio_api_pt)(ngx_http_socketio_api_t *api,
    ngx_str_t *object);


typedef struct {
    ngx_str_t                      name;
    ngx_uint_t                     method;
    ngx_str_t                      allow;      /* the method's name */
    ngx_http_socketio_api_pt       handler;
} ngx_http_socketio_api_call_t;


struct ngx_http_socketio_api_s {
    ngx_http_socketio_ctx_t              ctx;        /* first: the module's
                                                        context of a request */
    ngx_http_request_t                  *request;
    ngx_http_socketio_loc_conf_t        *lcf;
    ngx_http_socketio_worker_t          *worker;
    const ngx_http_socketio_api_call_t  *call;

    ngx_http_socketio_parse_t            parse;
    ngx_http_socketio_command_t          command;
    ngx_http_socketio_parked_t          *parked;     /* while it waits */
    ngx_sio_hub_members_t                missing;    /* have not answered */
    ngx_uint_t                           matched;    /* sockets, so far */
    ngx_event_t                          timer;
};


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


static ngx_int_t ngx_http_socketio_api_admit(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf);
static ngx_uint_t ngx_http_socketio_api_key(ngx_http_request_t *r,
    ngx_array_t *keys);
static ngx_uint_t ngx_http_socketio_api_protected(ngx_http_request_t *r);
static const ngx_http_socketio_api_call_t *ngx_http_socketio_api_find(
    ngx_http_request_t *r);
static size_t ngx_http_socketio_api_limit(ngx_http_socketio_loc_conf_t *lcf);
static void ngx_http_socketio_api_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_api_run(ngx_http_socketio_api_t *api);

static ngx_int_t ngx_http_socketio_api_emit(ngx_http_socketio_api_t *api,
    ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_join(ngx_http_socketio_api_t *api,
    ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_leave(ngx_http_socketio_api_t *api,
    ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_rooms(ngx_http_socketio_api_t *api,
    ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_disconnect(ngx_http_socketio_api_t *api,
    ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_target(ngx_http_socketio_api_t *api,
    ngx_str_t *nsp, ngx_str_t *in);
static ngx_int_t ngx_http_socketio_api_refuse(ngx_http_socketio_api_t *api,
    ngx_int_t rc);

static ngx_int_t ngx_http_socketio_api_send(ngx_http_socketio_api_t *api);
static ngx_uint_t ngx_http_socketio_api_fits(ngx_http_socketio_api_t *api);
static ngx_uint_t ngx_http_socketio_api_declared(
    ngx_http_socketio_zone_t *zone, ngx_str_t *name);
static void ngx_http_socketio_api_answer(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_api_timeout(ngx_event_t *ev);
static void ngx_http_socketio_api_finish(ngx_http_socketio_api_t *api);
static void ngx_http_socketio_api_cleanup(void *data);

static ngx_int_t ngx_http_socketio_api_reply(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *json);
static ngx_int_t ngx_http_socketio_api_error(ngx_http_request_t *r,
    ngx_uint_t status, const char *code, const char *fmt, ...);
static ngx_table_elt_t *ngx_http_socketio_api_header(ngx_http_request_t *r,
    const char *name, const char *value);


static const ngx_http_socketio_api_call_t  ngx_http_socketio_api_calls[] = {

    { ngx_string("emit"), NGX_HTTP_POST, ngx_string("POST"),
      ngx_http_socketio_api_emit },

    { ngx_string("join"), NGX_HTTP_POST, ngx_string("POST"),
      ngx_http_socketio_api_join },

    { ngx_string("leave"), NGX_HTTP_POST, ngx_string("POST"),
      ngx_http_socketio_api_leave },

    { ngx_string("disconnect"), NGX_HTTP_POST, ngx_string("POST"),
      ngx_http_socketio_api_disconnect },

    { ngx_null_string, 0, ngx_null_string, NULL }
};


ngx_int_t
ngx_http_socketio_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_http_socketio_api_t             *api;
    ngx_http_socketio_loc_conf_t        *lcf;
    const ngx_http_socketio_api_call_t  *call;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_socketio_module);

    rc = ngx_http_socketio_api_admit(r, lcf);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    call = ngx_http_socketio_api_find(r);

    if (call == NULL) {
        return ngx_http_socketio_api_error(r, NGX_HTTP_NOT_FOUND, "not_found",
                                           "there is no such call");
    }

    if (!(r->method & call->method)) {
        if (ngx_http_socketio_api_header(r, "Allow", (char *) call->allow.data)
            == NULL)
        {
            return NGX_ERROR;
        }

        return ngx_http_socketio_api_error(r, NGX_HTTP_NOT_ALLOWED,
                                           "method_not_allowed",
                                           "\"%V\" needs %V", &call->name,
                                           &call->allow);
    }

    if (lcf->api_zone->worker == NULL) {
        return ngx_http_socketio_api_error(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                           "internal", "the zone is not there");
    }

    if (r->headers_in.content_length_n
        > (off_t) ngx_http_socketio_api_limit(lcf))
    {
        return ngx_http_socketio_api_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                           "too_large",
                                           "the body is larger than %uz bytes",
                                           ngx_http_socketio_api_limit(lcf));
    }

    api = ngx_pcalloc(r->pool, sizeof(ngx_http_socketio_api_t));
    if (api == NULL) {
        return NGX_ERROR;
    }

    api->request = r;
    api->lcf = lcf;
    api->worker = lcf->api_zone->worker;
    api->call = call;
    api->parse.pool = r->pool;
    api->parse.max_attachments = lcf->max_attachments;

    ngx_http_set_ctx(r, api, ngx_http_socketio_module);

    rc = ngx_http_read_client_request_body(r, ngx_http_socketio_api_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* NGX_DECLINED: may pass, else what the request is finalized with. */

static ngx_int_t
ngx_http_socketio_api_admit(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf)
{
    static ngx_http_socketio_loc_conf_t  *reported;

    if (lcf->api_keys != NULL) {

        if (ngx_http_socketio_api_key(r, lcf->api_keys)) {
            return NGX_DECLINED;
        }

        r->headers_out.www_authenticate = ngx_http_socketio_api_header(r,
                                                "WWW-Authenticate", "Bearer");
        if (r->headers_out.www_authenticate == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_socketio_api_error(r, NGX_HTTP_UNAUTHORIZED,
                                           "unauthorized",
                                           "\"Authorization: Bearer\" "
                                           "with a valid key is needed");
    }

    if (ngx_http_socketio_api_protected(r)) {
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

    return ngx_http_socketio_api_error(r, NGX_HTTP_FORBIDDEN, "forbidden",
                                       "neither keys nor access rules are "
                                       "configured, see the error log");
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


static const ngx_http_socketio_api_call_t *
ngx_http_socketio_api_find(ngx_http_request_t *r)
{
    u_char                              *p, *last;
    ngx_str_t                           *prefix;
    const ngx_http_socketio_api_call_t  *call;
    ngx_http_core_loc_conf_t            *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    prefix = &clcf->name;
    p = r->uri.data;
    last = p + r->uri.len;

    if (r->uri.len > prefix->len
        && prefix->len != 0
        && ngx_strncmp(p, prefix->data, prefix->len) == 0
        && (p[prefix->len] == '/' || p[prefix->len - 1] == '/'))
    {
        p += prefix->len;

        if (p[-1] != '/') {
            p++;
        }

    } else {
        for (p = last; p != r->uri.data && p[-1] != '/'; p--) { /* void */ }
    }

    for (call = ngx_http_socketio_api_calls; call->name.len; call++) {
        if (call->name.len == (size_t) (last - p)
            && ngx_strncmp(p, call->name.data, call->name.len) == 0)
        {
            return call;
        }
    }

    return NULL;
}


/*
 * What fits into an entry of the log, were all of it base64: a longer body
 * could not become one.
 */

static size_t
ngx_http_socketio_api_limit(ngx_http_socketio_loc_conf_t *lcf)
{
    return ngx_sio_hub_max_entry(lcf->api_zone->size) / 3 * 4;
}


static void
ngx_http_socketio_api_body(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_socketio_api_t  *api;

    api = ngx_http_get_module_ctx(r, ngx_http_socketio_module);

    rc = ngx_http_socketio_api_run(api);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_http_socketio_api_run(ngx_http_socketio_api_t *api)
{
    ngx_int_t            rc;
    ngx_str_t            body, object;
    ngx_http_request_t  *r;

    r = api->request;

    rc = ngx_http_socketio_body_read(r, ngx_http_socketio_api_limit(api->lcf),
                                     &body);

    if (rc == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return ngx_http_socketio_api_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                           "too_large",
                                           "the body is larger than %uz bytes",
                                           ngx_http_socketio_api_limit(
                                                                api->lcf));
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_socketio_parse_text(&api->parse, &body, &object);

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_refuse(api, rc);
    }

    if (ngx_sio_json_type(&object) != NGX_SIO_JSON_OBJECT) {
        return ngx_http_socketio_api_error(r, NGX_HTTP_BAD_REQUEST,
                                           "bad_request",
                                           "the body must be an object");
    }

    return api->call->handler(api, &object);
}


static ngx_int_t
ngx_http_socketio_api_emit(ngx_http_socketio_api_t *api, ngx_str_t *object)
{
    ngx_int_t                     rc;
    ngx_http_socketio_emit_t      emit;
    ngx_http_socketio_command_t  *cmd;

    rc = ngx_http_socketio_parse_emit(&api->parse, object, &emit);

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_refuse(api, rc);
    }

    if (emit.ack.len != 0
        && ngx_sio_json_type(&emit.ack) != NGX_SIO_JSON_FALSE)
    {
        return ngx_http_socketio_api_error(api->request,
                                           NGX_HTTP_NOT_IMPLEMENTED,
                                           "not_implemented",
                                           "\"ack\" is not supported");
    }

    cmd = &api->command;

    cmd->type = NGX_HTTP_SOCKETIO_EMIT;
    cmd->target = emit.target;
    cmd->json = emit.json;
    cmd->attachments = emit.attachments;
    cmd->nattachments = emit.nattachments;
    cmd->is_volatile = emit.is_volatile;

    if (cmd->target.nsp.len == 0) {
        ngx_str_set(&cmd->target.nsp, "/");
    }

    return ngx_http_socketio_api_send(api);
}


static ngx_int_t
ngx_http_socketio_api_join(ngx_http_socketio_api_t *api, ngx_str_t *object)
{
    api->command.type = NGX_HTTP_SOCKETIO_JOIN;

    return ngx_http_socketio_api_rooms(api, object);
}


static ngx_int_t
ngx_http_socketio_api_leave(ngx_http_socketio_api_t *api, ngx_str_t *object)
{
    api->command.type = NGX_HTTP_SOCKETIO_LEAVE;

    return ngx_http_socketio_api_rooms(api, object);
}


static ngx_int_t
ngx_http_socketio_api_rooms(ngx_http_socketio_api_t *api, ngx_str_t *object)
{
    ngx_int_t  rc;
    ngx_str_t  values[3];

    static const ngx_str_t  names[] = {
        ngx_string("namespace"),
        ngx_string("in"),
        ngx_string("rooms")
    };

    ngx_http_socketio_parse_members(object, names, 3, values);

    rc = ngx_http_socketio_api_target(api, &values[0], &values[1]);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_parse_names(&api->parse, "rooms", &values[2],
                                           &api->command.rooms,
                                           &api->command.nrooms);
    }

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_refuse(api, rc);
    }

    return ngx_http_socketio_api_send(api);
}


static ngx_int_t
ngx_http_socketio_api_disconnect(ngx_http_socketio_api_t *api,
    ngx_str_t *object)
{
    ngx_int_t   rc;
    ngx_str_t   values[3];
    ngx_uint_t  close;

    static const ngx_str_t  names[] = {
        ngx_string("namespace"),
        ngx_string("in"),
        ngx_string("close")
    };

    ngx_http_socketio_parse_members(object, names, 3, values);

    close = 0;
    rc = ngx_http_socketio_api_target(api, &values[0], &values[1]);

    if (rc == NGX_OK && !ngx_http_socketio_parse_absent(&values[2])) {
        rc = ngx_http_socketio_parse_flag(&api->parse, "close", &values[2],
                                          &close);
    }

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_refuse(api, rc);
    }

    api->command.type = NGX_HTTP_SOCKETIO_KICK;
    api->command.close = close;

    return ngx_http_socketio_api_send(api);
}


/* Whom everything but an emit is for.  Codes as those of the parser. */

static ngx_int_t
ngx_http_socketio_api_target(ngx_http_socketio_api_t *api, ngx_str_t *nsp,
    ngx_str_t *in)
{
    ngx_int_t          rc;
    ngx_sio_target_t  *target;

    target = &api->command.target;

    ngx_str_set(&target->nsp, "/");

    if (!ngx_http_socketio_parse_absent(nsp)) {
        rc = ngx_http_socketio_parse_namespace(&api->parse, "namespace", nsp,
                                               &target->nsp);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_socketio_parse_names(&api->parse, "in", in, &target->to,
                                         &target->nto);
}


/* What the parser did not accept. */

static ngx_int_t
ngx_http_socketio_api_refuse(ngx_http_socketio_api_t *api, ngx_int_t rc)
{
    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_socketio_api_error(api->request, NGX_HTTP_BAD_REQUEST,
                                       "bad_request", "%V",
                                       &api->parse.error);
}


/* The command goes into the log; the answer waits for those who read it. */

static ngx_int_t
ngx_http_socketio_api_send(ngx_http_socketio_api_t *api)
{
    ngx_int_t                     rc;
    ngx_http_request_t           *r;
    ngx_http_cleanup_t           *cln;
    ngx_http_socketio_command_t  *cmd;

    r = api->request;
    cmd = &api->command;

    api->ctx.nsp = cmd->target.nsp;

    if (!ngx_http_socketio_api_declared(api->lcf->api_zone, &cmd->target.nsp)) {
        return ngx_http_socketio_api_error(r, NGX_HTTP_BAD_REQUEST,
                                           "unknown_namespace",
                                           "no location declares the "
                                           "namespace \"%V\"",
                                           &cmd->target.nsp);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_socketio_api_cleanup;
    cln->data = api;

    api->parked = ngx_http_socketio_park(api->worker, r,
                                         ngx_http_socketio_api_answer, api);
    if (api->parked == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->parked->owner = ngx_sio_hub_addr_all();
    cmd->count = api->parked->waiter;

    rc = NGX_DECLINED;

    if (ngx_http_socketio_api_fits(api)) {
        rc = ngx_http_socketio_command_send(api->worker, cmd, &api->missing);
    }

    if (rc == NGX_OK) {
        api->timer.handler = ngx_http_socketio_api_timeout;
        api->timer.data = api;
        api->timer.log = r->connection->log;

        ngx_add_timer(&api->timer, NGX_HTTP_SOCKETIO_API_TIMEOUT);

        return NGX_DONE;
    }

    ngx_http_socketio_unpark(api->parked);
    api->parked = NULL;

    if (rc == NGX_BUSY) {
        if (ngx_http_socketio_api_header(r, "Retry-After", "1") == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_socketio_api_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                           "busy", "the log is full");
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_socketio_api_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                           "too_large",
                                           "the zone \"%V\" carries %uz "
                                           "bytes at once, attachments in "
                                           "base64",
                                           &api->lcf->api_zone->name,
                                           api->worker->engine.max_answer);
    }

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/*
 * A client may poll at another worker than its session's: then what it is
 * answered goes through the log as well, and attachments are base64 by then.
 */

static ngx_uint_t
ngx_http_socketio_api_fits(ngx_http_socketio_api_t *api)
{
    size_t                        len;
    ngx_uint_t                    i;
    ngx_http_socketio_command_t  *cmd;

    cmd = &api->command;

    len = cmd->target.nsp.len + cmd->json.len + NGX_HTTP_SOCKETIO_API_PACKET;

    for (i = 0; i < cmd->nattachments; i++) {
        len += ngx_sio_base64_length(cmd->attachments[i].len)
               + NGX_HTTP_SOCKETIO_API_PACKET;
    }

    return len <= api->worker->engine.max_answer;
}


/* Whether any location of the zone admits the namespace. */

static ngx_uint_t
ngx_http_socketio_api_declared(ngx_http_socketio_zone_t *zone, ngx_str_t *name)
{
    ngx_uint_t     i;
    ngx_array_t  **namespaces;

    namespaces = zone->namespaces.elts;

    for (i = 0; i < zone->namespaces.nelts; i++) {
        if (ngx_http_socketio_namespace_allowed(namespaces[i], name)) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_socketio_api_answer(ngx_http_socketio_parked_t *p, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    uint32_t                  n;
    ngx_http_socketio_api_t  *api;

    api = p->data;

    if (from.slot >= NGX_SIO_HUB_SLOTS
        || !ngx_sio_hub_members_has(&api->missing, from.slot))
    {
        return;
    }

    /*
     * Kind 0: a worker in this slot has ended, and its sockets with it.  As
     * long as our own answer is missing we have not come to our entry in the
     * log, so that was before, and who has the slot now is yet to answer.
     */

    if (kind == 0 && ngx_sio_hub_members_has(&api->missing, p->waiter.slot)) {
        return;
    }

    if (kind == NGX_HTTP_SOCKETIO_COMMAND && body->len == sizeof(uint32_t)) {
        ngx_memcpy(&n, body->data, sizeof(uint32_t));
        api->matched += n;
    }

    ngx_sio_hub_members_remove(&api->missing, from.slot);

    if (ngx_sio_hub_members_count(&api->missing) == 0) {
        ngx_http_socketio_api_finish(api);
    }
}


static void
ngx_http_socketio_api_timeout(ngx_event_t *ev)
{
    ngx_http_socketio_api_t  *api;

    api = ev->data;

    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "socketio api: %ui workers have not answered within %M ms",
                  ngx_sio_hub_members_count(&api->missing),
                  (ngx_msec_t) NGX_HTTP_SOCKETIO_API_TIMEOUT);

    ngx_http_socketio_api_finish(api);
}


static void
ngx_http_socketio_api_finish(ngx_http_socketio_api_t *api)
{
    u_char               buf[sizeof("{\"matched\":,\"complete\":false}")
                             + NGX_INT_T_LEN];
    ngx_int_t            rc;
    ngx_str_t            json;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = api->request;
    c = r->connection;

    ngx_http_socketio_unpark(api->parked);
    api->parked = NULL;

    if (api->timer.timer_set) {
        ngx_del_timer(&api->timer);
    }

    json.data = buf;
    json.len = ngx_sprintf(buf, "{\"matched\":%ui%s}", api->matched,
                           ngx_sio_hub_members_count(&api->missing) == 0
                           ? "" : ",\"complete\":false")
               - buf;

    rc = ngx_http_socketio_api_reply(r, NGX_HTTP_OK, &json);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_socketio_api_cleanup(void *data)
{
    ngx_http_socketio_api_t  *api = data;

    if (api->timer.timer_set) {
        ngx_del_timer(&api->timer);
    }
}


/* Sends a copy of json; returns what the request is finalized with. */

static ngx_int_t
ngx_http_socketio_api_reply(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *json)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    /* what nobody reads would be taken for the next request */

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, json->len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, json->data, json->len);
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    r->headers_out.status = status;
    r->headers_out.content_length_n = json->len;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


/* The format is nginx's; what it prints becomes a JSON string. */

static ngx_int_t
ngx_http_socketio_api_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *fmt, ...)
{
    size_t      len;
    u_char     *p, message[NGX_HTTP_SOCKETIO_API_MESSAGE];
    va_list     args;
    ngx_str_t   json;

    va_start(args, fmt);
    p = ngx_vslprintf(message, message + sizeof(message), fmt, args);
    va_end(args);

    len = p - message;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "socketio api: %ui %s, %*s", status, code, len, message);

    json.len = sizeof("{\"error\":{\"code\":\"\",\"message\":\"\"}}") - 1
               + ngx_strlen(code) + ngx_sio_json_escape_length(message, len);

    json.data = ngx_pnalloc(r->pool, json.len);
    if (json.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(json.data, "{\"error\":{\"code\":\"%s\",\"message\":\"",
                    code);
    p = ngx_sio_json_escape(p, message, len);
    ngx_memcpy(p, "\"}}", sizeof("\"}}") - 1);

    return ngx_http_socketio_api_reply(r, status, &json);
}


static ngx_table_elt_t *
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
