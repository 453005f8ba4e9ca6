
#include "ngx_http_socketio_api.h"


/* calls that wait in one worker */
#define NGX_HTTP_SOCKETIO_API_MAX_CALLS  4096

/* octets of clients' answers, of one request and in one worker */
#define NGX_HTTP_SOCKETIO_API_MAX_HELD   (16 * 1024 * 1024)
#define NGX_HTTP_SOCKETIO_API_ALL_HELD   (64 * 1024 * 1024)


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


ngx_int_t
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

            /* calls before it are going to be answered */

            ngx_http_socketio_unpark(api->parked);
            api->parked = NULL;

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

    /* a request lives longer than its answers, of which there may be many */

    rc = ngx_http_socketio_result_acked_decode(body, &acked,
                                               api->worker->pool);
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

    if (r->post_action) {
        return;     /* its client has left */
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
