
/*
 * The HTTP API: a request is one call, or a batch of them.
 *
 * The location's name is a prefix and what follows is the name of the call:
 * "location /_api/ { socketio_api; }" serves /_api/emit.  In a location that is
 * no prefix the call is what follows the last slash, or the last but one if
 * that is a call which has an argument.
 *
 * All calls of a request are understood before the first one is sent, so a
 * mistake in one of them changes nothing.  Each becomes an entry of the log,
 * and the request waits until the workers have answered all of them.  Who dies
 * or does not answer in time makes the answer incomplete, and it says so.
 */

#include "ngx_http_socketio_api.h"
#include "ngx_http_socketio_body.h"
#include "ngx_http_socketio_location.h"
#include "ngx_sio_json.h"


/* calls of a request */
#define NGX_HTTP_SOCKETIO_API_MAX_BATCH  1000


static const ngx_http_socketio_api_op_t *ngx_http_socketio_api_find(
    ngx_http_socketio_api_t *api);
static const ngx_http_socketio_api_op_t *ngx_http_socketio_api_named(
    u_char *p, u_char *last, ngx_str_t *argument);
static size_t ngx_http_socketio_api_limit(ngx_http_socketio_loc_conf_t *lcf);
static ngx_int_t ngx_http_socketio_api_begin(ngx_http_socketio_api_t *api);
static void ngx_http_socketio_api_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_api_read(ngx_http_socketio_api_t *api);
static ngx_int_t ngx_http_socketio_api_parse(ngx_http_socketio_api_t *api,
    ngx_str_t *value);
static ngx_int_t ngx_http_socketio_api_batch(ngx_http_socketio_api_t *api,
    ngx_str_t *array);
static ngx_int_t ngx_http_socketio_api_member(
    ngx_http_socketio_api_call_t *call, ngx_str_t *value);


ngx_int_t
ngx_http_socketio_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_socketio_api_t  *api;

    api = ngx_pcalloc(r->pool, sizeof(ngx_http_socketio_api_t));
    if (api == NULL) {
        return NGX_ERROR;
    }

    api->request = r;
    api->lcf = ngx_http_get_module_loc_conf(r, ngx_http_socketio_module);
    api->worker = api->lcf->api_zone->worker;
    api->parse.pool = r->pool;
    api->parse.max_attachments = api->lcf->max_attachments;
    api->call.api = api;

    ngx_http_set_ctx(r, api, ngx_http_socketio_module);

    rc = ngx_http_socketio_api_begin(api);

    if (rc == NGX_DECLINED) {
        return ngx_http_socketio_api_refuse(&api->call);
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (api->call.op->methods & NGX_HTTP_GET) {
        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }

        rc = ngx_http_socketio_api_parse(api, NULL);

        if (rc == NGX_DONE) {
            r->main->count++;
        }

        return rc;
    }

    rc = ngx_http_read_client_request_body(r, ngx_http_socketio_api_body);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


/*
 * What can be said without the body: NGX_OK, NGX_ERROR; NGX_DECLINED: it is
 * refused, and api->call says why.
 */

static ngx_int_t
ngx_http_socketio_api_begin(ngx_http_socketio_api_t *api)
{
    ngx_int_t                          rc;
    ngx_http_request_t                *r;
    ngx_http_socketio_api_call_t      *call;
    const ngx_http_socketio_api_op_t  *op;

    r = api->request;
    call = &api->call;

    rc = ngx_http_socketio_api_admit(call);
    if (rc != NGX_OK) {
        return rc;
    }

    op = ngx_http_socketio_api_find(api);

    if (op == NULL) {
        ngx_http_socketio_api_fail(call, NGX_HTTP_NOT_FOUND, "not_found",
                                   "there is no such call");
        return NGX_DECLINED;
    }

    call->op = op;
    api->batch = (op->parse == NULL);

    if (!(r->method & op->methods)) {
        if (ngx_http_socketio_api_header(r, "Allow", (char *) op->allow.data)
            == NULL)
        {
            return NGX_ERROR;
        }

        ngx_http_socketio_api_fail(call, NGX_HTTP_NOT_ALLOWED,
                                   "method_not_allowed", "\"%V\" needs %V",
                                   &op->name, &op->allow);
        return NGX_DECLINED;
    }

    if (api->worker == NULL) {
        ngx_http_socketio_api_fail(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                   "internal", "the zone is not there");
        return NGX_DECLINED;
    }

    if (r->headers_in.content_length_n
        > (off_t) ngx_http_socketio_api_limit(api->lcf))
    {
        ngx_http_socketio_api_fail(call, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                   "too_large",
                                   "the body is larger than %uz bytes",
                                   ngx_http_socketio_api_limit(api->lcf));
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static const ngx_http_socketio_api_op_t *
ngx_http_socketio_api_find(ngx_http_socketio_api_t *api)
{
    u_char                            *p, *last, *slash;
    ngx_str_t                         *prefix;
    ngx_http_request_t                *r;
    ngx_http_core_loc_conf_t          *clcf;
    const ngx_http_socketio_api_op_t  *op;

    r = api->request;
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

        return ngx_http_socketio_api_named(p, last, &api->argument);
    }

    for (slash = last; slash != p && slash[-1] != '/'; slash--) { /* void */ }

    op = ngx_http_socketio_api_named(slash, last, &api->argument);

    if (op != NULL || slash == p) {
        return op;
    }

    for (slash--; slash != p && slash[-1] != '/'; slash--) { /* void */ }

    return ngx_http_socketio_api_named(slash, last, &api->argument);
}


static const ngx_http_socketio_api_op_t *
ngx_http_socketio_api_named(u_char *p, u_char *last, ngx_str_t *argument)
{
    size_t                             len;
    u_char                            *slash;
    ngx_uint_t                         path;
    const ngx_http_socketio_api_op_t  *op;

    slash = ngx_strlchr(p, last, '/');

    if (slash == NULL) {
        path = NGX_HTTP_SOCKETIO_API_ALONE;
        len = last - p;

    } else {
        path = NGX_HTTP_SOCKETIO_API_NAMED;
        len = slash - p;

        argument->data = slash + 1;
        argument->len = last - argument->data;

        if (argument->len == 0) {
            return NULL;
        }
    }

    for (op = ngx_http_socketio_api_ops; op->name.len; op++) {
        if (op->path == path
            && op->name.len == len
            && ngx_strncmp(p, op->name.data, len) == 0)
        {
            return op;
        }
    }

    return NULL;
}


/*
 * The log takes an entry of some size; attachments are a third longer in JSON
 * than there.
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

    rc = ngx_http_socketio_api_read(api);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* Returns what the request is finalized with, or NGX_DONE: it will be later. */

static ngx_int_t
ngx_http_socketio_api_read(ngx_http_socketio_api_t *api)
{
    size_t               max;
    ngx_int_t            rc;
    ngx_str_t            body, value;

    max = ngx_http_socketio_api_limit(api->lcf);

    rc = ngx_http_socketio_body_read(api->request, max, &body);

    if (rc == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        ngx_http_socketio_api_fail(&api->call,
                                   NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                   "too_large",
                                   "the body is larger than %uz bytes", max);

        return ngx_http_socketio_api_refuse(&api->call);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_socketio_parse_text(&api->parse, &body, &value);

    if (rc != NGX_OK) {
        (void) ngx_http_socketio_api_malformed(&api->call, rc);

        return ngx_http_socketio_api_refuse(&api->call);
    }

    return ngx_http_socketio_api_parse(api, &value);
}


/* value NULL: a call without a body.  Returns as above. */

static ngx_int_t
ngx_http_socketio_api_parse(ngx_http_socketio_api_t *api, ngx_str_t *value)
{
    ngx_int_t  rc;

    api->calls = &api->call;
    api->ncalls = 1;

    if (api->batch) {
        rc = ngx_http_socketio_api_batch(api, value);

    } else if (value != NULL
               && ngx_sio_json_type(value) != NGX_SIO_JSON_OBJECT)
    {
        ngx_http_socketio_api_fail(&api->call, NGX_HTTP_BAD_REQUEST,
                                   "bad_request", "the body must be an object");
        rc = NGX_DECLINED;

    } else {
        rc = api->call.op->parse(&api->call, value);
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_refuse(&api->call);
    }

    return ngx_http_socketio_api_start(api);
}


/* What is wrong with one call is told as what is wrong with the request. */

static ngx_int_t
ngx_http_socketio_api_batch(ngx_http_socketio_api_t *api, ngx_str_t *array)
{
    ngx_int_t                      rc;
    ngx_str_t                      value;
    ngx_uint_t                     n;
    ngx_sio_json_iter_t            it;
    ngx_http_socketio_api_call_t  *call;

    if (ngx_sio_json_type(array) != NGX_SIO_JSON_ARRAY) {
        ngx_http_socketio_api_fail(&api->call, NGX_HTTP_BAD_REQUEST,
                                   "bad_request", "the body must be a list");
        return NGX_DECLINED;
    }

    n = 0;
    ngx_sio_json_iter(&it, array);

    while (ngx_sio_json_element(&it, &value) == NGX_OK) {
        n++;
    }

    if (n > NGX_HTTP_SOCKETIO_API_MAX_BATCH) {
        ngx_http_socketio_api_fail(&api->call, NGX_HTTP_BAD_REQUEST,
                                   "bad_request", "a batch has %ui calls, "
                                   "%d are the most", n,
                                   NGX_HTTP_SOCKETIO_API_MAX_BATCH);
        return NGX_DECLINED;
    }

    call = ngx_pcalloc(api->request->pool,
                       (n + 1) * sizeof(ngx_http_socketio_api_call_t));
    if (call == NULL) {
        return NGX_ERROR;
    }

    api->calls = call;
    api->ncalls = 0;

    ngx_sio_json_iter(&it, array);

    while (ngx_sio_json_element(&it, &value) == NGX_OK) {
        call->api = api;

        rc = ngx_http_socketio_api_member(call, &value);

        if (rc == NGX_DECLINED) {
            api->call.status = call->status;
            api->call.code = call->code;
            api->call.message = call->message;
            api->call.indexed = 1;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        api->ncalls++;
        call++;
    }

    return NGX_OK;
}


/* {"name": {...}} */

static ngx_int_t
ngx_http_socketio_api_member(ngx_http_socketio_api_call_t *call,
    ngx_str_t *value)
{
    ngx_str_t                          key, object, name;
    ngx_sio_json_iter_t                it;
    const ngx_http_socketio_api_op_t  *op;

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_OBJECT) {
        goto bad;
    }

    ngx_sio_json_iter(&it, value);

    if (ngx_sio_json_member(&it, &key, &object) != NGX_OK
        || ngx_sio_json_type(&object) != NGX_SIO_JSON_OBJECT
        || ngx_sio_json_member(&it, &name, &name) == NGX_OK)
    {
        goto bad;
    }

    for (op = ngx_http_socketio_api_ops; op->name.len; op++) {
        name = op->name;

        if (op->batch && ngx_sio_json_string_equal(&key, &name)) {
            call->op = op;
            return op->parse(call, &object);
        }
    }

bad:

    ngx_http_socketio_api_fail(call, NGX_HTTP_BAD_REQUEST, "bad_request",
                               "a call of a batch must be an object with one "
                               "member, the name of the call, which is an "
                               "object");
    return NGX_DECLINED;
}


ngx_int_t
ngx_http_socketio_api_declared(ngx_http_socketio_api_call_t *call)
{
    ngx_str_t     *nsp;
    ngx_uint_t     i;
    ngx_array_t   *namespaces, **declared;

    nsp = &call->command.target.nsp;
    namespaces = &call->api->lcf->api_zone->namespaces;
    declared = namespaces->elts;

    for (i = 0; i < namespaces->nelts; i++) {
        if (ngx_http_socketio_namespace_allowed(declared[i], nsp)) {
            return NGX_OK;
        }
    }

    ngx_http_socketio_api_fail(call, NGX_HTTP_BAD_REQUEST, "unknown_namespace",
                               "no location declares the namespace \"%V\"",
                               nsp);
    return NGX_DECLINED;
}


ngx_int_t
ngx_http_socketio_api_malformed(ngx_http_socketio_api_call_t *call,
    ngx_int_t rc)
{
    if (rc == NGX_DECLINED) {
        ngx_http_socketio_api_fail(call, NGX_HTTP_BAD_REQUEST, "bad_request",
                                   "%V", &call->api->parse.error);
    }

    return rc;
}
