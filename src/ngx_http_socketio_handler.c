#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_answer.h"
#include "ngx_http_socketio_args.h"
#include "ngx_http_socketio_body.h"
#include "ngx_http_socketio_count.h"
#include "ngx_http_socketio_handshake.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_park.h"
#include "ngx_http_socketio_script.h"
#include "ngx_http_socketio_worker.h"


/* msec; an owner that is alive answers at once, or with the next ping */
#define NGX_HTTP_SOCKETIO_HANDLER_UPGRADE  10000
#define NGX_HTTP_SOCKETIO_HANDLER_SLACK    10000


/* One request, in its pool. */

typedef struct {
    ngx_http_socketio_ctx_t        ctx;        /* first: nginx's context of
                                                  the request is this */
    ngx_http_request_t            *request;
    ngx_http_socketio_loc_conf_t  *lcf;
    ngx_http_socketio_worker_t    *worker;

    ngx_http_socketio_args_t       args;

    ngx_http_socketio_parked_t    *parked;     /* while it waits, or NULL */
    ngx_event_t                    timer;      /* how long it may */

    ngx_http_socketio_body_t       body;       /* of a POST */

    unsigned                       upgrade:1;  /* a WebSocket's handshake */
    unsigned                       octets:1;   /* application/octet-stream */
    unsigned                       abort:1;    /* the session ends with it */
    unsigned                       refused:1;  /* its body is too large */
} ngx_http_socketio_exchange_t;


static ngx_http_socketio_exchange_t *ngx_http_socketio_handler_exchange(
    ngx_http_request_t *r, ngx_http_socketio_loc_conf_t *lcf);
static ngx_int_t ngx_http_socketio_handler_dispatch(
    ngx_http_socketio_exchange_t *x);
static ngx_uint_t ngx_http_socketio_handler_transport(
    ngx_http_socketio_exchange_t *x);
static ngx_uint_t ngx_http_socketio_handler_origin(ngx_http_request_t *r);

static ngx_int_t ngx_http_socketio_handler_handshake(
    ngx_http_socketio_exchange_t *x, ngx_uint_t transport, ngx_int_t check,
    ngx_str_t *err);
static ngx_int_t ngx_http_socketio_handler_refused(
    ngx_http_socketio_exchange_t *x, ngx_str_t *message);
static ngx_sio_session_t *ngx_http_socketio_handler_session(
    ngx_http_socketio_exchange_t *x);
static ngx_int_t ngx_http_socketio_handler_open(
    ngx_http_socketio_exchange_t *x, ngx_sio_session_t *s);
static ngx_int_t ngx_http_socketio_handler_cookie(
    ngx_http_socketio_exchange_t *x, ngx_sio_session_t *s);

static ngx_int_t ngx_http_socketio_handler_upgrade(
    ngx_http_socketio_exchange_t *x);
static ngx_int_t ngx_http_socketio_handler_accepted(
    ngx_http_socketio_exchange_t *x, ngx_int_t rc);
static ngx_int_t ngx_http_socketio_handler_poll(
    ngx_http_socketio_exchange_t *x);
static ngx_int_t ngx_http_socketio_handler_post(
    ngx_http_socketio_exchange_t *x);
static void ngx_http_socketio_handler_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_handler_begin(
    ngx_http_socketio_exchange_t *x);
static ngx_int_t ngx_http_socketio_handler_complete(
    ngx_http_socketio_exchange_t *x);
static void ngx_http_socketio_handler_await(ngx_http_socketio_exchange_t *x);
static void ngx_http_socketio_handler_test_reading(ngx_http_request_t *r);
static void ngx_http_socketio_handler_test_writing(ngx_http_request_t *r);
static ngx_int_t ngx_http_socketio_handler_refuse(
    ngx_http_socketio_exchange_t *x);
static ngx_int_t ngx_http_socketio_handler_too_large(
    ngx_http_socketio_exchange_t *x);

static ngx_int_t ngx_http_socketio_handler_wait(
    ngx_http_socketio_exchange_t *x);
static void ngx_http_socketio_handler_unwait(ngx_http_socketio_exchange_t *x);
static void ngx_http_socketio_handler_route(ngx_http_socketio_exchange_t *x,
    ngx_uint_t kind, ngx_str_t *body);
static void ngx_http_socketio_handler_left(void *data);
static void ngx_http_socketio_handler_abort(ngx_http_socketio_exchange_t *x);
static ngx_uint_t ngx_http_socketio_handler_kept(
    ngx_http_socketio_exchange_t *x);
static void ngx_http_socketio_handler_timeout(ngx_event_t *ev);
static void ngx_http_socketio_handler_answer(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static ngx_int_t ngx_http_socketio_handler_upgraded(
    ngx_http_socketio_exchange_t *x, ngx_uint_t kind, ngx_str_t *body);
static ngx_int_t ngx_http_socketio_handler_respond(
    ngx_http_socketio_exchange_t *x, ngx_uint_t kind, ngx_str_t *body);

static ngx_int_t ngx_http_socketio_handler_payload(
    ngx_http_socketio_exchange_t *x, ngx_str_t *type, ngx_str_t *payload,
    ngx_str_t *index);
static ngx_int_t ngx_http_socketio_handler_error(
    ngx_http_socketio_exchange_t *x, ngx_uint_t reason, ngx_str_t *message);
static ngx_int_t ngx_http_socketio_handler_refuse_upgrade(
    ngx_http_socketio_exchange_t *x, ngx_str_t *message);


ngx_int_t
ngx_http_socketio_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_socketio_exchange_t  *x;
    ngx_http_socketio_loc_conf_t  *lcf;

    static ngx_str_t  ok = ngx_string("OK");
    static ngx_str_t  foreign = ngx_string("\"Not an accepted origin.\"");

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_socketio_module);

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (lcf->zone->worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    x = ngx_http_socketio_handler_exchange(r, lcf);
    if (x == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_socketio_cors(r, lcf);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_socketio_refused(x->worker, NGX_HTTP_SOCKETIO_REFUSED_ORIGIN);

        return ngx_http_socketio_answer_send(r, NGX_HTTP_BAD_REQUEST,
                                             &ngx_http_socketio_answer_plain,
                                             &foreign);
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        return ngx_http_socketio_answer_send(r, NGX_HTTP_OK,
                                             &ngx_http_socketio_answer_plain,
                                             &ok);
    }

    if (ngx_http_socketio_args_parse(r, &x->args) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_socketio_handler_dispatch(x);
}


static ngx_http_socketio_exchange_t *
ngx_http_socketio_handler_exchange(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_http_socketio_exchange_t  *x;

    x = ngx_pcalloc(r->pool, sizeof(ngx_http_socketio_exchange_t));
    if (x == NULL) {
        return NULL;
    }

    x->request = r;
    x->lcf = lcf;
    x->worker = lcf->zone->worker;

    ngx_http_set_ctx(r, &x->ctx, ngx_http_socketio_module);

    return x;
}


/* The checks come in the order of Engine.IO's server, which clients know. */

static ngx_int_t
ngx_http_socketio_handler_dispatch(ngx_http_socketio_exchange_t *x)
{
    ngx_int_t            check;
    ngx_str_t            err;
    ngx_uint_t           transport;
    ngx_http_request_t  *r;

    static ngx_str_t  allow = ngx_string("GET, POST, OPTIONS");

    r = x->request;

    check = ngx_http_socketio_handshake_check(r, &err);

    if (check == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    x->upgrade = (check != NGX_ABORT);

    transport = ngx_http_socketio_handler_transport(x);

    if (transport == 0) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_TRANSPORT, NULL);
    }

    if (!ngx_http_socketio_handler_origin(r)
        || (x->upgrade && transport == NGX_HTTP_SOCKETIO_POLLING))
    {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_BAD, NULL);
    }

    if (x->args.sid.len == 0) {
        return ngx_http_socketio_handler_handshake(x, transport, check, &err);
    }

    if (x->args.sid.len != NGX_SIO_SID_LEN) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_SID, NULL);
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_POST))) {
        ngx_http_socketio_refused(x->worker, NGX_HTTP_SOCKETIO_REFUSED_METHOD);

        if (ngx_http_socketio_answer_header(r, "Allow", &allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_socketio_answer_send(r, NGX_HTTP_NOT_ALLOWED, NULL,
                                             NULL);
    }

    if (transport == NGX_HTTP_SOCKETIO_POLLING) {
        return (r->method == NGX_HTTP_GET)
               ? ngx_http_socketio_handler_poll(x)
               : ngx_http_socketio_handler_post(x);
    }

    if (!x->upgrade) {

        /* a poll that no session takes, which tells whether there is one */

        x->args.revision = 0;

        return ngx_http_socketio_handler_poll(x);
    }

    if (r->method != NGX_HTTP_GET) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_BAD, NULL);
    }

    if (check == NGX_DECLINED) {
        return ngx_http_socketio_handler_refuse_upgrade(x, &err);
    }

    return ngx_http_socketio_handler_upgrade(x);
}


/* Its bit, or 0 for one that is unknown or not enabled. */

static ngx_uint_t
ngx_http_socketio_handler_transport(ngx_http_socketio_exchange_t *x)
{
    if (ngx_http_socketio_is(&x->args.transport, "polling")) {
        ngx_str_set(&x->ctx.transport, "polling");
        return x->lcf->transports & NGX_HTTP_SOCKETIO_POLLING;
    }

    if (ngx_http_socketio_is(&x->args.transport, "websocket")) {
        ngx_str_set(&x->ctx.transport, "websocket");
        return x->lcf->transports & NGX_HTTP_SOCKETIO_WEBSOCKET;
    }

    return 0;
}


/* 1 unless the client sent an Origin that no browser would. */

static ngx_uint_t
ngx_http_socketio_handler_origin(ngx_http_request_t *r)
{
    u_char            ch;
    size_t            n;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len != 6
                || ngx_strncmp(h[i].lowcase_key, "origin", 6) != 0)
            {
                continue;
            }

            for (n = 0; n < h[i].value.len; n++) {
                ch = h[i].value.data[n];

                if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
                    return 0;
                }
            }
        }
    }

    return 1;
}


/* New sessions. */

static ngx_int_t
ngx_http_socketio_handler_handshake(ngx_http_socketio_exchange_t *x,
    ngx_uint_t transport, ngx_int_t check, ngx_str_t *err)
{
    ngx_int_t           rc;
    ngx_str_t           message;
    ngx_sio_session_t  *s;

    if (x->request->method != NGX_HTTP_GET) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_METHOD, NULL);
    }

    if (transport == NGX_HTTP_SOCKETIO_WEBSOCKET && !x->upgrade) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_BAD, NULL);
    }

    rc = ngx_http_socketio_handler_refused(x, &message);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_FORBIDDEN, &message);
    }

    if (x->args.revision != 4 && !x->lcf->allow_eio3) {
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_VERSION, NULL);
    }

    if (check == NGX_DECLINED) {
        return ngx_http_socketio_handler_refuse_upgrade(x, err);
    }

    s = ngx_http_socketio_handler_session(x);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (transport == NGX_HTTP_SOCKETIO_POLLING) {
        return ngx_http_socketio_handler_open(x, s);
    }

    rc = ngx_http_socketio_handshake_open(x->request, x->worker, s);

    return ngx_http_socketio_handler_accepted(x, rc);
}


/* NGX_OK: come in; NGX_DECLINED: stay out, *message says why; NGX_ERROR. */

static ngx_int_t
ngx_http_socketio_handler_refused(ngx_http_socketio_exchange_t *x,
    ngx_str_t *message)
{
    if (x->lcf->refuse == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(x->request, x->lcf->refuse, message)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (message->len == 0 || ngx_http_socketio_is(message, "0")) {
        return NGX_OK;
    }

    if (ngx_http_socketio_is(message, "1")) {
        *message = ngx_http_socketio_answer_messages
                       [NGX_HTTP_SOCKETIO_ERROR_FORBIDDEN];
    }

    return NGX_DECLINED;
}


static ngx_sio_session_t *
ngx_http_socketio_handler_session(ngx_http_socketio_exchange_t *x)
{
    u_char                       sid[NGX_SIO_SID_LEN];
    ngx_sio_session_t           *s;
    ngx_http_socketio_origin_t  *origin;

    if (ngx_http_socketio_sid(x->worker, sid) != NGX_OK) {
        return NULL;
    }

    origin = ngx_http_socketio_origin_create(x->request);
    if (origin == NULL) {
        return NULL;
    }

    /* a script cannot carry binary, a WebSocket is none */

    s = ngx_sio_session_create(&x->worker->engine, &x->lcf->session, sid,
                               x->args.revision,
                               x->args.b64
                               || (x->args.script && !x->upgrade), origin);
    if (s == NULL) {
        ngx_http_socketio_origin_unref(origin);
    }

    return s;
}


static ngx_int_t
ngx_http_socketio_handler_open(ngx_http_socketio_exchange_t *x,
    ngx_sio_session_t *s)
{
    u_char          digits[NGX_HTTP_SOCKETIO_INDEX];
    ngx_int_t       rc;
    ngx_str_t      *open, index;
    ngx_uint_t      script;
    ngx_sio_msg_t  *msg;

    msg = ngx_sio_session_open(s);
    if (msg == NULL) {
        goto failed;
    }

    open = ngx_sio_msg_form(msg, x->args.revision == 3 ? NGX_SIO_FORM_POLL3
                                                       : NGX_SIO_FORM_POLL);

    if (open == NULL || ngx_http_socketio_handler_cookie(x, s) != NGX_OK) {
        ngx_sio_msg_unref(msg);
        goto failed;
    }

    script = (ngx_http_socketio_script_index(s, digits, &index) == NGX_OK);

    rc = ngx_http_socketio_handler_payload(x, &ngx_http_socketio_answer_text,
                                           open, script ? &index : NULL);
    ngx_sio_msg_unref(msg);

    return rc;

failed:

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_http_socketio_handler_cookie(ngx_http_socketio_exchange_t *x,
    ngx_sio_session_t *s)
{
    u_char      *p;
    ngx_str_t    value, *name;

    static ngx_str_t  attributes =
        ngx_string("; Path=/; HttpOnly; SameSite=Lax");

    name = &x->lcf->cookie;

    if (name->len == 0) {
        return NGX_OK;
    }

    value.len = name->len + 1 + NGX_SIO_SID_LEN + attributes.len;
    value.data = ngx_pnalloc(x->request->pool, value.len);

    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(value.data, name->data, name->len);
    *p++ = '=';
    p = ngx_cpymem(p, s->sid, NGX_SIO_SID_LEN);
    ngx_memcpy(p, attributes.data, attributes.len);

    return ngx_http_socketio_answer_header(x->request, "Set-Cookie", &value);
}


/* Requests to a session. */

static ngx_int_t
ngx_http_socketio_handler_upgrade(ngx_http_socketio_exchange_t *x)
{
    ngx_int_t            rc;
    ngx_sio_session_t   *s;
    ngx_http_request_t  *r;

    r = x->request;

    if (ngx_http_socketio_handler_wait(x) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_socketio_route_upgrade(x->worker, &x->args.sid,
                                         &x->parked->waiter,
                                         x->args.revision, &s);

    if (rc == NGX_AGAIN) {
        ngx_add_timer(&x->timer, NGX_HTTP_SOCKETIO_HANDLER_UPGRADE);

        r->main->count++;
        r->read_event_handler = ngx_http_socketio_handler_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        return NGX_DONE;
    }

    ngx_http_socketio_handler_unwait(x);

    if (rc != NGX_OK) {
        return ngx_http_socketio_handler_error(x,
                   rc == NGX_DECLINED
                   ? (ngx_uint_t) NGX_HTTP_SOCKETIO_ERROR_SID
                   : (ngx_uint_t) NGX_HTTP_SOCKETIO_REFUSED_MISMATCH, NULL);
    }

    rc = ngx_http_socketio_handshake_probe(r, x->worker, s, x->args.b64);

    return ngx_http_socketio_handler_accepted(x, rc);
}


static ngx_int_t
ngx_http_socketio_handler_accepted(ngx_http_socketio_exchange_t *x,
    ngx_int_t rc)
{
    if (rc == NGX_OK) {
        return NGX_DONE;
    }

    return x->request->header_sent ? NGX_ERROR
                                   : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_http_socketio_handler_poll(ngx_http_socketio_exchange_t *x)
{
    ngx_int_t                rc;
    ngx_http_request_t      *r;
    ngx_sio_session_conf_t  *conf;

    r = x->request;
    conf = &x->lcf->session;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_socketio_handler_wait(x) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    x->abort = (x->args.revision != 0);

    ngx_add_timer(&x->timer, conf->ping_interval + conf->ping_timeout
                             + NGX_HTTP_SOCKETIO_HANDLER_SLACK);

    r->main->count++;
    r->write_event_handler = ngx_http_socketio_handler_test_writing;

    if (!r->discard_body) {
        r->read_event_handler = ngx_http_socketio_handler_test_reading;
    }

    ngx_http_socketio_handler_route(x, NGX_HTTP_SOCKETIO_POLL, NULL);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_socketio_handler_post(ngx_http_socketio_exchange_t *x)
{
    ngx_int_t            rc;
    ngx_table_elt_t     *type;
    ngx_http_request_t  *r;

    r = x->request;

    if (r->headers_in.content_length_n > (off_t) x->lcf->max_payload) {
        return ngx_http_socketio_handler_too_large(x);
    }

    type = r->headers_in.content_type;

    x->octets = (type != NULL
                 && type->value.len == ngx_http_socketio_answer_binary.len
                 && ngx_strncasecmp(type->value.data,
                                    ngx_http_socketio_answer_binary.data,
                                    type->value.len)
                    == 0);

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_socketio_handler_body);

    if (rc == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return ngx_http_socketio_handler_too_large(x);
    }

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_socketio_handler_abort(x);
        return rc;
    }

    return NGX_DONE;
}


/* Called when there is something to be read, first by nginx, then as events */

static void
ngx_http_socketio_handler_body(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_socketio_exchange_t  *x;

    x = ngx_http_get_module_ctx(r, ngx_http_socketio_module);

    rc = ngx_http_socketio_body_collect(r, x->lcf->max_payload, &x->body);

    if (rc == NGX_AGAIN) {

        if (x->parked != NULL || ngx_http_socketio_handler_begin(x) == NGX_OK)
        {
            r->read_event_handler = ngx_http_socketio_handler_body;
            return;
        }

        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;

    } else if (rc == NGX_OK) {
        rc = ngx_http_socketio_handler_complete(x);

        if (rc == NGX_DONE) {
            return;
        }

    } else if (rc == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        rc = ngx_http_socketio_handler_too_large(x);

        if (rc == NGX_DONE) {
            return;
        }

    } else {
        ngx_http_socketio_handler_abort(x);

        if (x->parked != NULL) {
            ngx_http_socketio_handler_unwait(x);
        }
    }

    ngx_http_finalize_request(r, rc);
}


/* The session has to know of a body that takes time, lest there be two. */

static ngx_int_t
ngx_http_socketio_handler_begin(ngx_http_socketio_exchange_t *x)
{
    if (ngx_http_socketio_handler_wait(x) != NGX_OK) {
        ngx_http_socketio_handler_abort(x);
        return NGX_ERROR;
    }

    x->abort = 1;

    ngx_http_socketio_handler_route(x, NGX_HTTP_SOCKETIO_POST_BEGIN, NULL);

    return NGX_OK;
}


/* NGX_DONE: the session has it; otherwise r is to be finalized with it. */

static ngx_int_t
ngx_http_socketio_handler_complete(ngx_http_socketio_exchange_t *x)
{
    if (x->parked == NULL && ngx_http_socketio_handler_wait(x) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    x->worker->engine.counters[NGX_SIO_COUNT_BYTES_IN
                               + NGX_SIO_GAUGE_POLLING] += x->body.str.len;

    ngx_http_socketio_handler_await(x);

    ngx_http_socketio_handler_route(x, NGX_HTTP_SOCKETIO_POST, &x->body.str);

    return NGX_DONE;
}


/* Nothing is read any more, and a client that leaves now does no harm. */

static void
ngx_http_socketio_handler_await(ngx_http_socketio_exchange_t *x)
{
    ngx_event_t             *rev;
    ngx_http_request_t      *r;
    ngx_sio_session_conf_t  *conf;

    r = x->request;
    rev = r->connection->read;
    conf = &x->lcf->session;

    x->abort = 0;

    /* of the body */

    if (rev->timer_set) {
        ngx_del_timer(rev);
    }

    ngx_add_timer(&x->timer, conf->ping_interval + conf->ping_timeout
                             + NGX_HTTP_SOCKETIO_HANDLER_SLACK);

    r->read_event_handler = ngx_http_socketio_handler_test_reading;
    r->write_event_handler = ngx_http_socketio_handler_test_writing;
}


/* It may be gone then, or have its location's post_action to do. */

static void
ngx_http_socketio_handler_test_reading(ngx_http_request_t *r)
{
    ngx_sio_waiter_t               waiter;
    ngx_http_socketio_worker_t    *w;
    ngx_http_socketio_parked_t    *parked;
    ngx_http_socketio_exchange_t  *x;

    x = ngx_http_get_module_ctx(r, ngx_http_socketio_module);

    w = x->worker;
    waiter = x->parked->waiter;

    ngx_http_test_reading(r);

    parked = ngx_http_socketio_parked(w, &waiter);

    if (parked != NULL && parked->request->post_action) {
        ngx_http_socketio_handler_left(x);
    }
}


/*
 * A request of HTTP/3 that is given up after it was sent is told by its write
 * event alone; of any other, ngx_http_test_reading() learns.
 */

static void
ngx_http_socketio_handler_test_writing(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->write->error) {
        c->error = 1;
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    }
}


/*
 * The session was told of a body that it will not get.  The client hears of
 * it when the session has: its next POST may be quicker than the log, and
 * must not be taken for a second one.
 */

static ngx_int_t
ngx_http_socketio_handler_refuse(ngx_http_socketio_exchange_t *x)
{
    ngx_http_socketio_handler_await(x);

    ngx_http_socketio_handler_route(x, NGX_HTTP_SOCKETIO_REFUSED, NULL);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_socketio_handler_too_large(ngx_http_socketio_exchange_t *x)
{
    ngx_log_error(NGX_LOG_INFO, x->request->connection->log, 0,
                  "client sent too large payload, limit is %uz",
                  x->lcf->max_payload);

    ngx_http_socketio_refused(x->worker, NGX_HTTP_SOCKETIO_REFUSED_TOO_LARGE);

    if (x->parked != NULL) {
        x->refused = 1;

        return ngx_http_socketio_handler_refuse(x);
    }

    return ngx_http_socketio_answer_send(x->request,
                                         NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                         NULL, NULL);
}


/* Waiting. */

static ngx_int_t
ngx_http_socketio_handler_wait(ngx_http_socketio_exchange_t *x)
{
    ngx_http_cleanup_t  *cln;

    x->parked = ngx_http_socketio_park(x->worker, x->request,
                                       ngx_http_socketio_handler_answer, x);
    if (x->parked == NULL) {
        return NGX_ERROR;
    }

    /* added after the one of the park it runs before it */

    cln = ngx_http_cleanup_add(x->request, 0);

    if (cln == NULL) {
        ngx_http_socketio_unpark(x->parked);
        x->parked = NULL;
        return NGX_ERROR;
    }

    cln->handler = ngx_http_socketio_handler_left;
    cln->data = x;

    x->timer.handler = ngx_http_socketio_handler_timeout;
    x->timer.data = x;
    x->timer.log = x->request->connection->log;

    return NGX_OK;
}


/*
 * From here on the request is nginx's: it may wait in another location, of an
 * error_page, or for its client to close, and must not come back here.
 */

static void
ngx_http_socketio_handler_unwait(ngx_http_socketio_exchange_t *x)
{
    ngx_http_request_t  *r;

    r = x->request;

    if (x->timer.timer_set) {
        ngx_del_timer(&x->timer);
    }

    ngx_http_socketio_unpark(x->parked);
    x->parked = NULL;

    if (r->post_action) {
        return;     /* it is elsewhere already */
    }

    if (!r->discard_body) {
        r->read_event_handler = ngx_http_block_reading;
    }

    r->write_event_handler = ngx_http_request_empty_handler;
}


/* What waits is answered by ngx_http_socketio_handler_answer(). */

static void
ngx_http_socketio_handler_route(ngx_http_socketio_exchange_t *x,
    ngx_uint_t kind, ngx_str_t *body)
{
    ngx_http_socketio_route(x->worker, kind, &x->args.sid, &x->parked->waiter,
                            x->args.revision, x->octets, body);
}


/* The request ends.  If it still waits its client has left it. */

static void
ngx_http_socketio_handler_left(void *data)
{
    ngx_http_socketio_exchange_t *x = data;

    if (x->parked == NULL) {
        return;
    }

    if (x->abort) {
        ngx_http_socketio_handler_abort(x);
    }

    ngx_http_socketio_handler_unwait(x);
}


/* Also for a request of which the session has not heard. */

static void
ngx_http_socketio_handler_abort(ngx_http_socketio_exchange_t *x)
{
    ngx_sio_waiter_t  waiter;

    ngx_memzero(&waiter, sizeof(ngx_sio_waiter_t));

    if (x->parked != NULL) {
        waiter = x->parked->waiter;
    }

    x->abort = 0;

    ngx_http_socketio_route(x->worker, NGX_HTTP_SOCKETIO_ABORT, &x->args.sid,
                            &waiter, x->args.revision, 0, NULL);
}


/*
 * A POST is answered when all of it was read, which may take any time where
 * the client has to wait for its backend, or sends faster than it may.
 */

static ngx_uint_t
ngx_http_socketio_handler_kept(ngx_http_socketio_exchange_t *x)
{
    return x->request->method == NGX_HTTP_POST
           && !x->abort
           && x->parked->host == 0
           && ngx_sio_hub_alive(x->worker->hub, x->parked->owner);
}


/*
 * The owner is stopped, or its answer was lost.  A session that has a poll of
 * ours must not go on: what it will answer to it reaches nobody.
 */

static void
ngx_http_socketio_handler_timeout(ngx_event_t *ev)
{
    ngx_int_t                      rc;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_socketio_exchange_t  *x;

    x = ev->data;
    r = x->request;
    c = r->connection;

    if (r->post_action) {
        ngx_http_socketio_handler_left(x);
        return;
    }

    if (ngx_http_socketio_handler_kept(x)) {
        ngx_add_timer(ev, NGX_HTTP_SOCKETIO_HANDLER_SLACK);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, c->log, 0,
                  "socketio: the owner of the session does not answer");

    if (x->abort) {
        ngx_http_socketio_handler_abort(x);
    }

    ngx_http_socketio_handler_unwait(x);

    rc = ngx_http_socketio_handler_error(x, NGX_HTTP_SOCKETIO_ERROR_SID,
                                         NULL);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_socketio_handler_answer(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    ngx_int_t                      rc;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_socketio_exchange_t  *x;

    x = p->data;
    r = x->request;
    c = r->connection;

    if (r->post_action) {
        ngx_http_socketio_handler_left(x);
        return;
    }

    ngx_http_socketio_handler_unwait(x);

    rc = x->upgrade ? ngx_http_socketio_handler_upgraded(x, kind, body)
                    : ngx_http_socketio_handler_respond(x, kind, body);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_socketio_handler_upgraded(ngx_http_socketio_exchange_t *x,
    ngx_uint_t kind, ngx_str_t *body)
{
    ngx_int_t           rc;
    ngx_uint_t          reason;
    ngx_sio_session_t  *s;

    s = NULL;
    reason = NGX_HTTP_SOCKETIO_ERROR_SID;

    if (kind == NGX_HTTP_SOCKETIO_SESSION) {
        s = ngx_http_socketio_take(x->worker, x->request, body);

    } else if (body->len > 0 && body->data[0] == NGX_SIO_ANSWER_MISMATCH) {
        reason = NGX_HTTP_SOCKETIO_REFUSED_MISMATCH;
    }

    if (s == NULL
        && (kind == NGX_HTTP_SOCKETIO_SESSION
            || body->len == 0 || body->data[0] != NGX_SIO_ANSWER_OK))
    {
        return ngx_http_socketio_handler_error(x, reason, NULL);
    }

    rc = ngx_http_socketio_handshake_probe(x->request, x->worker, s,
                                           x->args.b64);

    return ngx_http_socketio_handler_accepted(x, rc);
}


static ngx_int_t
ngx_http_socketio_handler_respond(ngx_http_socketio_exchange_t *x,
    ngx_uint_t kind, ngx_str_t *body)
{
    ngx_str_t  payload, index;

    static ngx_str_t  ok = ngx_string("ok");

    if (kind != NGX_HTTP_SOCKETIO_ANSWER || body->len == 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    payload.len = body->len - 1;
    payload.data = body->data + 1;

    switch (body->data[0]) {

    case NGX_SIO_ANSWER_TEXT:
        return ngx_http_socketio_handler_payload(x,
                   &ngx_http_socketio_answer_text, &payload, NULL);

    case NGX_SIO_ANSWER_BINARY:
        return ngx_http_socketio_handler_payload(x,
                   &ngx_http_socketio_answer_binary, &payload, NULL);

    case NGX_SIO_ANSWER_SCRIPT:

        if (ngx_http_socketio_script_split(&payload, &index, &payload)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_socketio_handler_payload(x,
                   &ngx_http_socketio_answer_text, &payload, &index);

    case NGX_SIO_ANSWER_OK:

        if (x->refused) {
            return ngx_http_socketio_answer_send(x->request,
                                         NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                         NULL, NULL);
        }

        return ngx_http_socketio_handler_payload(x,
                   &ngx_http_socketio_answer_html, &ok, NULL);

    case NGX_SIO_ANSWER_UNKNOWN:
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_ERROR_SID, NULL);

    case NGX_SIO_ANSWER_MISMATCH:
        return ngx_http_socketio_handler_error(x,
                   NGX_HTTP_SOCKETIO_REFUSED_MISMATCH, NULL);

    case NGX_SIO_ANSWER_BUSY:
        return ngx_http_socketio_answer_send(x->request,
                                             NGX_HTTP_SERVICE_UNAVAILABLE,
                                             NULL, NULL);

    default: /* NGX_SIO_ANSWER_BAD */
        ngx_http_socketio_refused(x->worker, NGX_HTTP_SOCKETIO_ERROR_BAD);

        return ngx_http_socketio_answer_send(x->request,
                                             NGX_HTTP_BAD_REQUEST, NULL,
                                             NULL);
    }
}


/* A 200 of the polling transport; index is that of a script, or NULL. */

static ngx_int_t
ngx_http_socketio_handler_payload(ngx_http_socketio_exchange_t *x,
    ngx_str_t *type, ngx_str_t *payload, ngx_str_t *index)
{
    x->worker->engine.counters[NGX_SIO_COUNT_BYTES_OUT
                               + NGX_SIO_GAUGE_POLLING] += payload->len;

    return ngx_http_socketio_answer_payload(x->request, type, payload, index);
}


/* One of Engine.IO's codes or MISMATCH; message NULL: the usual one. */

static ngx_int_t
ngx_http_socketio_handler_error(ngx_http_socketio_exchange_t *x,
    ngx_uint_t reason, ngx_str_t *message)
{
    ngx_uint_t  code;

    ngx_http_socketio_refused(x->worker, reason);

    code = (reason == NGX_HTTP_SOCKETIO_REFUSED_MISMATCH)
           ? NGX_HTTP_SOCKETIO_ERROR_BAD : reason;

    if (message == NULL) {
        message = &ngx_http_socketio_answer_messages[code];
    }

    if (x->upgrade) {
        return ngx_http_socketio_answer_upgrade(x->request, message);
    }

    return ngx_http_socketio_answer_error(x->request, code, message);
}


static ngx_int_t
ngx_http_socketio_handler_refuse_upgrade(ngx_http_socketio_exchange_t *x,
    ngx_str_t *message)
{
    ngx_http_socketio_refused(x->worker, NGX_HTTP_SOCKETIO_REFUSED_WEBSOCKET);

    return ngx_http_socketio_answer_upgrade(x->request, message);
}
