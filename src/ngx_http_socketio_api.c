
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


#define NGX_HTTP_SOCKETIO_API_MESSAGE    1024      /* octets of an error's
                                                      text */
#define NGX_HTTP_SOCKETIO_API_MAX_BATCH  1000      /* calls of a request, */
#define NGX_HTTP_SOCKETIO_API_MAX_CALLS  4096      /* and that wait in one
                                                      worker */

/* octets of clients' answers, of one request and in one worker */
#define NGX_HTTP_SOCKETIO_API_MAX_HELD   (16 * 1024 * 1024)
#define NGX_HTTP_SOCKETIO_API_ALL_HELD   (64 * 1024 * 1024)


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

static ngx_int_t ngx_http_socketio_api_start(ngx_http_socketio_api_t *api);
static ngx_int_t ngx_http_socketio_api_park(ngx_http_socketio_api_t *api);
static ngx_int_t ngx_http_socketio_api_send(
    ngx_http_socketio_api_call_t *call, ngx_uint_t tag);
static void ngx_http_socketio_api_busy(ngx_http_socketio_api_t *api,
    ngx_uint_t from, const char *what);

static void ngx_http_socketio_api_heard(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_api_members(ngx_http_socketio_api_t *api,
    ngx_str_t *body);
static void ngx_http_socketio_api_result(ngx_http_socketio_api_t *api,
    ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_api_ack(ngx_http_socketio_api_t *api,
    ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_api_look(ngx_http_socketio_api_call_t *call);
static void ngx_http_socketio_api_timer(ngx_http_socketio_api_t *api);
static void ngx_http_socketio_api_timeout(ngx_event_t *ev);
static void ngx_http_socketio_api_finish(ngx_http_socketio_api_t *api);
static void ngx_http_socketio_api_cleanup(void *data);

static ngx_int_t ngx_http_socketio_api_answer(ngx_http_socketio_api_t *api);
static ngx_int_t ngx_http_socketio_api_refuse(
    ngx_http_socketio_api_call_t *call);
static void ngx_http_socketio_api_error(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text);
static ngx_int_t ngx_http_socketio_api_reply(ngx_http_request_t *r,
    ngx_uint_t status, ngx_http_socketio_api_text_t *text);


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


void
ngx_http_socketio_api_incomplete(ngx_http_socketio_api_call_t *call)
{
    ngx_http_socketio_api_fail(call, NGX_HTTP_GATEWAY_TIME_OUT, "incomplete",
                               "not all workers have answered");
}


/* Waiting. */

static ngx_int_t
ngx_http_socketio_api_start(ngx_http_socketio_api_t *api)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    r = api->request;

    if (api->ncalls == 0) {
        return ngx_http_socketio_api_answer(api);
    }

    api->ctx.nsp = api->calls[0].command.target.nsp;

    if (api->worker->calls + api->ncalls > NGX_HTTP_SOCKETIO_API_MAX_CALLS) {
        ngx_http_socketio_api_busy(api, 0, "too many calls wait for answers");

        return ngx_http_socketio_api_answer(api);
    }

    if (ngx_http_socketio_api_park(api) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < api->ncalls; i++) {
        rc = ngx_http_socketio_api_send(&api->calls[i], i);

        if (rc == NGX_BUSY) {
            /* those behind it count on it */
            ngx_http_socketio_api_busy(api, i, "the log is full, and so is "
                                       "what may wait for it");
            break;
        }

        if (rc != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (api->waiting == 0) {
        return ngx_http_socketio_api_answer(api);
    }

    ngx_http_socketio_api_timer(api);

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_DONE;
}


static ngx_int_t
ngx_http_socketio_api_park(ngx_http_socketio_api_t *api)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(api->request, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    api->parked = ngx_http_socketio_park(api->worker, api->request,
                                         ngx_http_socketio_api_heard, api);
    if (api->parked == NULL) {
        return NGX_ERROR;
    }

    api->parked->owner = ngx_sio_hub_addr_all();

    cln->handler = ngx_http_socketio_api_cleanup;
    cln->data = api;

    api->worker->calls += api->ncalls;

    api->timer.handler = ngx_http_socketio_api_timeout;
    api->timer.data = api;
    api->timer.log = api->request->connection->log;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_api_send(ngx_http_socketio_api_call_t *call, ngx_uint_t tag)
{
    u_char                         token[NGX_HTTP_SOCKETIO_RESULT_TOKEN];
    ngx_int_t                      rc;
    ngx_http_socketio_api_t       *api;
    ngx_http_socketio_command_t   *cmd;
    ngx_http_socketio_api_wait_t  *wait;

    api = call->api;
    cmd = &call->command;
    wait = &call->wait;

    cmd->count = api->parked->waiter;
    cmd->tag = tag;

    wait->deadline += ngx_current_msec;

    if (wait->acks) {
        ngx_http_socketio_result_token(token, cmd);

        cmd->token.len = sizeof(token);
        cmd->token.data = token;
        cmd->expires = wait->deadline;
    }

    rc = ngx_http_socketio_command_send(api->worker, cmd, &wait->missing);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        return rc;
    }

    wait->queued = (rc == NGX_AGAIN);
    wait->active = 1;
    api->waiting++;

    return NGX_OK;
}


/* From this call on they were not carried out, for want of room. */

static void
ngx_http_socketio_api_busy(ngx_http_socketio_api_t *api, ngx_uint_t from,
    const char *what)
{
    ngx_uint_t  i;

    for (i = from; i < api->ncalls; i++) {
        ngx_http_socketio_api_fail(&api->calls[i],
                                   NGX_HTTP_SERVICE_UNAVAILABLE, "busy",
                                   "%s", what);
    }
}


ngx_uint_t
ngx_http_socketio_api_hold(ngx_http_socketio_api_call_t *call, size_t len)
{
    ngx_http_socketio_api_t     *api;
    ngx_http_socketio_worker_t  *w;

    api = call->api;
    w = api->worker;

    if (len > NGX_HTTP_SOCKETIO_API_MAX_HELD - api->held
        || w->held + len > NGX_HTTP_SOCKETIO_API_ALL_HELD)
    {
        call->wait.incomplete = 1;

        if (!api->full) {
            api->full = 1;

            ngx_log_error(NGX_LOG_WARN, api->request->connection->log, 0,
                          "socketio api: answers are left out, %uz octets of "
                          "this call and %uz of all are kept already",
                          api->held, w->held);
        }

        return 0;
    }

    api->held += len;
    w->held += len;

    return 1;
}


static void
ngx_http_socketio_api_heard(ngx_http_socketio_parked_t *p, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    ngx_uint_t                i;
    ngx_http_socketio_api_t  *api;

    api = p->data;

    switch (kind) {

    case NGX_HTTP_SOCKETIO_RESULT:
        ngx_http_socketio_api_result(api, from, body);
        break;

    case NGX_HTTP_SOCKETIO_ACKED:
        ngx_http_socketio_api_ack(api, from, body);
        break;

    case NGX_HTTP_SOCKETIO_MEMBERS:
        ngx_http_socketio_api_members(api, body);
        return;

    case 0: /* a worker has ended */

        for (i = 0; i < api->ncalls; i++) {
            if (api->calls[i].wait.active) {
                ngx_http_socketio_api_wait_down(&api->calls[i], from);
                ngx_http_socketio_api_look(&api->calls[i]);
            }
        }

        break;

    default:
        return;
    }

    if (api->waiting == 0) {
        ngx_http_socketio_api_finish(api);
    }
}


static void
ngx_http_socketio_api_members(ngx_http_socketio_api_t *api, ngx_str_t *body)
{
    ngx_http_socketio_api_wait_t  *wait;
    ngx_http_socketio_members_t   *members;

    members = (ngx_http_socketio_members_t *) body->data;

    if (members->tag < api->ncalls) {
        wait = &api->calls[members->tag].wait;

        wait->missing = members->members;
        wait->queued = 0;
    }
}


static void
ngx_http_socketio_api_result(ngx_http_socketio_api_t *api,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    u_char                        *due;
    ngx_str_t                      rows;
    ngx_http_socketio_result_t     result;
    ngx_http_socketio_api_call_t  *call;

    if (ngx_http_socketio_result_decode(body, &result, &due, &rows) != NGX_OK
        || result.tag >= api->ncalls)
    {
        return;
    }

    call = &api->calls[result.tag];

    if (!call->wait.active
        || ngx_http_socketio_api_wait_result(call, from, &result, due)
           != NGX_OK)
    {
        return;
    }

    if (call->op->rows != NULL) {
        call->op->rows(call, &result, &rows);
    }

    ngx_http_socketio_api_look(call);
}


static void
ngx_http_socketio_api_ack(ngx_http_socketio_api_t *api,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    ngx_int_t                      rc;
    ngx_http_socketio_acked_t      acked;
    ngx_http_socketio_api_call_t  *call;

    rc = ngx_http_socketio_result_acked_decode(body, &acked,
                                               api->request->pool);
    if (rc == NGX_DECLINED || acked.tag >= api->ncalls) {
        return;
    }

    call = &api->calls[acked.tag];

    if (rc == NGX_ERROR) {
        acked.what = NGX_HTTP_SOCKETIO_ACK_LOST;
    }

    if (!call->wait.active
        || ngx_http_socketio_api_wait_acked(call, from, &acked) != NGX_OK)
    {
        return;
    }

    if (acked.what == NGX_HTTP_SOCKETIO_ACK_ANSWERED) {
        ngx_http_socketio_api_acked(call, &acked);
    }

    ngx_http_socketio_api_look(call);
}


/* Whether that was all. */

static void
ngx_http_socketio_api_look(ngx_http_socketio_api_call_t *call)
{
    if (ngx_http_socketio_api_wait_over(&call->wait)) {
        call->wait.active = 0;
        call->api->waiting--;
    }
}


/* For the call whose time is over first. */

static void
ngx_http_socketio_api_timer(ngx_http_socketio_api_t *api)
{
    ngx_uint_t      i;
    ngx_msec_int_t  left, first;

    first = -1;

    for (i = 0; i < api->ncalls; i++) {

        if (!api->calls[i].wait.active) {
            continue;
        }

        left = (ngx_msec_int_t) (api->calls[i].wait.deadline
                                 - ngx_current_msec);
        left = ngx_max(left, 0);

        if (first == -1 || left < first) {
            first = left;
        }
    }

    ngx_add_timer(&api->timer, (ngx_msec_t) first);
}


static void
ngx_http_socketio_api_timeout(ngx_event_t *ev)
{
    ngx_uint_t                     i, n, missing, queued;
    ngx_http_socketio_api_t       *api;
    ngx_http_socketio_api_wait_t  *wait;

    api = ev->data;
    missing = 0;
    queued = 0;

    for (i = 0; i < api->ncalls; i++) {
        wait = &api->calls[i].wait;

        if (wait->active
            && (ngx_msec_int_t) (wait->deadline - ngx_current_msec) <= 0)
        {
            n = ngx_sio_hub_members_count(&wait->missing);
            missing = ngx_max(missing, n);
            queued |= wait->queued;

            wait->incomplete = 1;
            wait->active = 0;
            api->waiting--;
        }
    }

    if (queued) {
        ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                      "socketio api: the log has had no room in time");
    }

    if (missing) {
        ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                      "socketio api: %ui workers have not answered in time",
                      missing);
    }

    if (api->waiting) {
        ngx_http_socketio_api_timer(api);
        return;
    }

    ngx_http_socketio_api_finish(api);
}


static void
ngx_http_socketio_api_finish(ngx_http_socketio_api_t *api)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = api->request;
    c = r->connection;

    ngx_http_socketio_unpark(api->parked);
    api->parked = NULL;

    if (api->timer.timer_set) {
        ngx_del_timer(&api->timer);
    }

    rc = ngx_http_socketio_api_answer(api);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_socketio_api_cleanup(void *data)
{
    ngx_http_socketio_api_t *api = data;

    if (api->timer.timer_set) {
        ngx_del_timer(&api->timer);
    }

    api->worker->calls -= api->ncalls;
    api->worker->held -= api->held;
}


/* Answers. */

void
ngx_http_socketio_api_fail(ngx_http_socketio_api_call_t *call,
    ngx_uint_t status, const char *code, const char *fmt, ...)
{
    u_char   *p, message[NGX_HTTP_SOCKETIO_API_MESSAGE];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(message, message + sizeof(message), fmt, args);
    va_end(args);

    call->status = status;
    call->code = code;
    call->message.len = p - message;
    call->message.data = ngx_pnalloc(call->api->request->pool,
                                     call->message.len);

    if (call->message.data == NULL) {
        /* the code says enough */
        call->message.len = 0;
        return;
    }

    ngx_memcpy(call->message.data, message, call->message.len);
}


/* Of a batch that was not carried out at all the first call says why. */

static ngx_int_t
ngx_http_socketio_api_answer(ngx_http_socketio_api_t *api)
{
    ngx_uint_t                     i;
    ngx_http_socketio_api_call_t  *call;
    ngx_http_socketio_api_text_t   text, part;

    if (api->ncalls && api->calls[0].status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return ngx_http_socketio_api_refuse(&api->calls[0]);
    }

    ngx_http_socketio_api_text_init(&text, api->request->pool);

    if (api->batch) {
        ngx_http_socketio_api_text_literal(&text, "[");
    }

    for (i = 0; i < api->ncalls; i++) {
        call = &api->calls[i];

        if (i > 0) {
            ngx_http_socketio_api_text_literal(&text, ",");
        }

        ngx_http_socketio_api_text_init(&part, api->request->pool);

        if (call->status == 0) {
            call->op->answer(call, &part);
        }

        if (!api->batch) {

            if (call->status) {
                return ngx_http_socketio_api_refuse(call);
            }

        } else if (call->status) {
            ngx_http_socketio_api_error(call, &part);

        } else if (part.len == 0) {
            ngx_http_socketio_api_text_literal(&part, "{}");
        }

        ngx_http_socketio_api_text_splice(&text, &part);
    }

    if (api->batch) {
        ngx_http_socketio_api_text_literal(&text, "]");
    }

    return ngx_http_socketio_api_reply(api->request,
                                       text.len || text.failed
                                       ? NGX_HTTP_OK : NGX_HTTP_NO_CONTENT,
                                       &text);
}


static ngx_int_t
ngx_http_socketio_api_refuse(ngx_http_socketio_api_call_t *call)
{
    ngx_http_request_t            *r;
    ngx_http_socketio_api_text_t   text;

    r = call->api->request;

    if (call->status == 0) {
        /* there was no memory to say why */
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (call->status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_socketio_api_header(r, "Retry-After", "1") == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "socketio api: %ui %s, %V", call->status, call->code,
                  &call->message);

    ngx_http_socketio_api_text_init(&text, r->pool);
    ngx_http_socketio_api_error(call, &text);

    return ngx_http_socketio_api_reply(r, call->status, &text);
}


static void
ngx_http_socketio_api_error(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_http_socketio_api_text_literal(text, "{\"error\":{\"code\":\"");
    ngx_http_socketio_api_text_put(text, call->code, ngx_strlen(call->code));
    ngx_http_socketio_api_text_literal(text, "\",\"message\":");
    ngx_http_socketio_api_text_string(text, &call->message);

    /* a call of a batch that could not be understood */

    if (call->indexed) {
        ngx_http_socketio_api_text_literal(text, ",\"index\":");
        ngx_http_socketio_api_text_uint(text, call->api->ncalls);
    }

    ngx_http_socketio_api_text_literal(text, "}}");
}


/* Takes the text; returns what the request is finalized with. */

static ngx_int_t
ngx_http_socketio_api_reply(ngx_http_request_t *r, ngx_uint_t status,
    ngx_http_socketio_api_text_t *text)
{
    ngx_int_t  rc;

    /* what nobody reads would be taken for the next request */

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (text->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = text->len;

    /* what was done is done, whatever If-Match and the like say */
    r->disable_not_modified = 1;

    if (text->len == 0) {
        r->header_only = 1;

    } else {
        text->b->last_buf = (r == r->main) ? 1 : 0;
        text->b->last_in_chain = 1;

        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, text->first);
}
