
/*
 * What became of a webhook, and what follows from it for its client.
 */

#include "ngx_http_socketio_peer.h"


static ngx_int_t ngx_http_socketio_backend_hold(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_release(ngx_http_socketio_peer_t *peer);
static void ngx_http_socketio_backend_apply(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_connected(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_accepted(
    ngx_http_socketio_reply_t *reply);
static void ngx_http_socketio_backend_unread(ngx_http_socketio_peer_t *peer);
static void ngx_http_socketio_backend_refused(
    ngx_http_socketio_reply_t *reply, ngx_uint_t status);
static void ngx_http_socketio_backend_answered(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_disconnected(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_landed(ngx_http_socketio_peer_t *peer);
static void ngx_http_socketio_backend_count(ngx_http_socketio_peer_t *peer,
    ngx_uint_t type, ngx_uint_t outcome);
static void ngx_http_socketio_backend_count_time(
    ngx_http_socketio_flight_t *flight,
    ngx_http_socketio_hook_result_t *result);
static void ngx_http_socketio_backend_log_failure(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_hook_result_t *result);


void
ngx_http_socketio_backend_outcome(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_http_socketio_peer_t    *peer;
    ngx_http_socketio_flight_t  *flight;

    flight = hook->data;
    peer = flight->peer;

    ngx_http_socketio_backend_count_time(flight, result);

    if (peer->state == NGX_HTTP_SOCKETIO_PEER_MOVED) {
        ngx_http_socketio_backend_pass(peer, result);
        return;
    }

    ngx_http_socketio_backend_finish(peer, result);
}


ngx_uint_t
ngx_http_socketio_backend_outcome_readable(void *data, ngx_str_t *body)
{
    ngx_http_socketio_flight_t *flight = data;

    ngx_int_t                  rc;
    ngx_http_socketio_reply_t  reply;

    rc = ngx_http_socketio_backend_reply_init(&reply, flight->peer, body);

    ngx_http_socketio_backend_reply_done(&reply);

    return rc != NGX_DECLINED;
}


void
ngx_http_socketio_backend_finish(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    if (ngx_http_socketio_backend_hold(peer, result) != NGX_OK) {
        ngx_http_socketio_backend_apply(peer, result);
    }
}


/*
 * What a reply says to others would wait in the backlog of the hub, and the
 * next reply behind it, without an end.  So one is begun only when nothing
 * waits; then all that it says is taken.
 *
 * NGX_OK; NGX_DECLINED: it may be applied, or there is no memory to keep it.
 */

static ngx_int_t
ngx_http_socketio_backend_hold(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    if ((result->outcome != NGX_HTTP_SOCKETIO_HOOK_OK
         && result->outcome != NGX_HTTP_SOCKETIO_HOOK_CLIENT)
        || !ngx_sio_hub_owing(peer->worker->hub)
        || ngx_http_socketio_backend_keep(peer, result) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_socketio_backend_link(peer, &ngx_http_socketio_backend_holds);

    return NGX_OK;
}


void
ngx_http_socketio_backend_room(ngx_http_socketio_worker_t *w)
{
    ngx_http_socketio_peer_t  *peer;

    while (!ngx_sio_hub_owing(w->hub)) {

        peer = ngx_http_socketio_backend_each(
                                    &ngx_http_socketio_backend_holds, w, NULL);
        if (peer == NULL) {
            return;
        }

        ngx_http_socketio_backend_release(peer);
    }
}


void
ngx_http_socketio_backend_flush(ngx_http_socketio_worker_t *w)
{
    ngx_http_socketio_peer_t  *peer;

    for ( ;; ) {

        peer = ngx_http_socketio_backend_each(
                                    &ngx_http_socketio_backend_holds, w, NULL);
        if (peer == NULL) {
            return;
        }

        ngx_http_socketio_backend_release(peer);
    }
}


static void
ngx_http_socketio_backend_release(ngx_http_socketio_peer_t *peer)
{
    ngx_str_t                        reply;
    ngx_http_socketio_hook_result_t  result;

    ngx_http_socketio_backend_unlink(peer);

    if (peer->state == NGX_HTTP_SOCKETIO_PEER_MOVED) {
        ngx_http_socketio_backend_pass_again(peer);
        return;
    }

    (void) ngx_http_socketio_backend_kept(peer, &result);

    /* the flight may be freed while its reply is being read */

    reply = peer->flight->reply;
    ngx_str_null(&peer->flight->reply);

    ngx_http_socketio_backend_apply(peer, &result);

    ngx_free(reply.data);
}


/*
 * While a reply is applied its flight stays where it is, so that an end of
 * the socket in the middle of it starts nothing and frees nothing.
 */

static void
ngx_http_socketio_backend_apply(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_sio_session_t  *s;

    s = peer->socket ? peer->socket->session : NULL;

    if (s) {
        ngx_sio_session_ref(s);
    }

    switch (peer->flight->type) {

    case NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT:
        ngx_http_socketio_backend_connected(peer, result);
        break;

    case NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT:
        ngx_http_socketio_backend_disconnected(peer, result);
        break;

    default: /* event, ack */
        ngx_http_socketio_backend_answered(peer, result);
        break;
    }

    if (s) {
        ngx_sio_session_unref(s);
    }
}


void
ngx_http_socketio_backend_forget(ngx_http_socketio_peer_t *peer)
{
    ngx_sio_session_t                *s;
    ngx_http_socketio_hook_result_t   result;

    s = NULL;

    ngx_http_socketio_backend_count(peer, peer->flight->type,
                                    NGX_HTTP_SOCKETIO_BACKEND_FAILED);

    ngx_memzero(&result, sizeof(ngx_http_socketio_hook_result_t));

    result.outcome = NGX_HTTP_SOCKETIO_HOOK_FAILED;
    result.reason = "its worker has died";

    ngx_http_socketio_backend_log_failure(peer, &result);

    if (peer->socket) {
        s = peer->socket->session;
        peer->socket->data = NULL;
    }

    ngx_http_socketio_backend_free(peer);

    if (s) {
        ngx_sio_session_close(s, NGX_SIO_REASON_FORCED_SERVER_CLOSE);
    }
}


static void
ngx_http_socketio_backend_connected(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_int_t                  rc;
    ngx_http_socketio_reply_t  reply;

    if (result->outcome != NGX_HTTP_SOCKETIO_HOOK_OK
        && result->outcome != NGX_HTTP_SOCKETIO_HOOK_CLIENT)
    {
        ngx_http_socketio_backend_failed(peer, result);
        return;
    }

    rc = ngx_http_socketio_backend_reply_init(&reply, peer, &result->body);

    if (rc == NGX_ERROR && result->outcome == NGX_HTTP_SOCKETIO_HOOK_OK) {
        ngx_http_socketio_backend_unread(peer);

    } else if (result->outcome == NGX_HTTP_SOCKETIO_HOOK_CLIENT
               || ngx_http_socketio_backend_reply_error(&reply))
    {
        ngx_http_socketio_backend_refused(&reply, result->status);

    } else if (rc == NGX_DECLINED) {
        result->outcome = NGX_HTTP_SOCKETIO_HOOK_FAILED;
        result->reason = "unreadable body";
        ngx_http_socketio_backend_failed(peer, result);

    } else {
        ngx_http_socketio_backend_accepted(&reply);
    }

    ngx_http_socketio_backend_reply_done(&reply);
}


static void
ngx_http_socketio_backend_accepted(ngx_http_socketio_reply_t *reply)
{
    ngx_http_socketio_peer_t  *peer;

    peer = reply->peer;

    ngx_http_socketio_backend_count(peer, NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT,
                                    NGX_HTTP_SOCKETIO_BACKEND_OK);

    /* a client that has left is owed its events, and then its end */

    peer->state = peer->socket ? NGX_HTTP_SOCKETIO_PEER_OPEN
                               : NGX_HTTP_SOCKETIO_PEER_ENDING;

    ngx_http_socketio_backend_reply_memo(reply);

    if (peer->socket) {
        ngx_sio_socket_accept(peer->socket);
    }

    ngx_http_socketio_backend_reply_apply(reply);

    ngx_http_socketio_backend_landed(peer);
}


/*
 * There was no memory to read what the backend has said.  It did accept, so
 * it hears of the end.
 */

static void
ngx_http_socketio_backend_unread(ngx_http_socketio_peer_t *peer)
{
    ngx_http_socketio_backend_count(peer, NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT,
                                    NGX_HTTP_SOCKETIO_BACKEND_FAILED);

    if (peer->socket) {
        peer->state = NGX_HTTP_SOCKETIO_PEER_OPEN;

        ngx_sio_session_close(peer->socket->session,
                              NGX_SIO_REASON_FORCED_SERVER_CLOSE);
    } else {
        peer->state = NGX_HTTP_SOCKETIO_PEER_ENDING;
    }

    ngx_http_socketio_backend_landed(peer);
}


static void
ngx_http_socketio_backend_refused(ngx_http_socketio_reply_t *reply,
    ngx_uint_t status)
{
    ngx_str_t                  message, data;
    ngx_uint_t                 early;
    ngx_sio_socket_t          *so;
    ngx_sio_session_t         *s;
    ngx_http_socketio_peer_t  *peer;

    peer = reply->peer;
    so = peer->socket;

    ngx_http_socketio_backend_count(peer, NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT,
                                    NGX_HTTP_SOCKETIO_BACKEND_REFUSED);

    ngx_http_socketio_backend_reply_refusal(reply, status, &message, &data);

    ngx_log_error(NGX_LOG_INFO, ngx_http_socketio_backend_log(peer), 0,
                  "socketio: connect was refused by the backend, status %ui",
                  status);

    early = (peer->inbox != NULL);

    ngx_http_socketio_backend_discard(peer);

    if (so == NULL) {
        return;
    }

    s = so->session;

    ngx_sio_socket_refuse(so, &message, data.len ? &data : NULL);

    /*
     * What it sent behind its CONNECT has turned out to be for a namespace
     * that it has not joined; clients of Socket.IO 2 may do that.
     */

    if (early && s->revision != 3) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client sent packets behind a connect that was refused");

        ngx_sio_session_close(s, NGX_SIO_REASON_FORCED_SERVER_CLOSE);
    }
}


void
ngx_http_socketio_backend_failed(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_sio_session_t  *s;

    s = peer->socket ? peer->socket->session : NULL;

    ngx_http_socketio_backend_count(peer, NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT,
                                    NGX_HTTP_SOCKETIO_BACKEND_FAILED);

    ngx_http_socketio_backend_log_failure(peer, result);

    ngx_http_socketio_backend_discard(peer);

    if (s) {
        ngx_sio_session_close(s, NGX_SIO_REASON_FORCED_SERVER_CLOSE);
    }
}


static void
ngx_http_socketio_backend_answered(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_int_t                  rc;
    ngx_uint_t                 type, refused;
    ngx_http_socketio_reply_t  reply;

    type = peer->flight->type;

    if (result->outcome != NGX_HTTP_SOCKETIO_HOOK_OK
        && result->outcome != NGX_HTTP_SOCKETIO_HOOK_CLIENT)
    {
        ngx_http_socketio_backend_count(peer, type,
                                        NGX_HTTP_SOCKETIO_BACKEND_FAILED);
        ngx_http_socketio_backend_log_failure(peer, result);
        ngx_http_socketio_backend_landed(peer);
        return;
    }

    rc = ngx_http_socketio_backend_reply_init(&reply, peer, &result->body);

    refused = (result->outcome == NGX_HTTP_SOCKETIO_HOOK_CLIENT
               || ngx_http_socketio_backend_reply_error(&reply));

    if (refused) {
        ngx_http_socketio_backend_count(peer, type,
                                        NGX_HTTP_SOCKETIO_BACKEND_REFUSED);

        ngx_log_error(NGX_LOG_WARN, ngx_http_socketio_backend_log(peer), 0,
                      "socketio: webhook was refused by the backend, "
                      "status %ui", result->status);

    } else if (rc != NGX_OK) {
        ngx_http_socketio_backend_count(peer, type,
                                        NGX_HTTP_SOCKETIO_BACKEND_FAILED);

        result->outcome = (rc == NGX_ERROR) ? NGX_HTTP_SOCKETIO_HOOK_BROKEN
                                            : NGX_HTTP_SOCKETIO_HOOK_FAILED;
        result->reason = (rc == NGX_ERROR) ? "no memory" : "unreadable body";

        ngx_http_socketio_backend_log_failure(peer, result);

    } else {
        ngx_http_socketio_backend_count(peer, type,
                                        NGX_HTTP_SOCKETIO_BACKEND_OK);
    }

    if (rc == NGX_OK) {
        ngx_http_socketio_backend_reply_memo(&reply);
        ngx_http_socketio_backend_reply_apply(&reply);
    }

    ngx_http_socketio_backend_reply_done(&reply);

    ngx_http_socketio_backend_landed(peer);
}


static void
ngx_http_socketio_backend_disconnected(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_uint_t                 outcome;
    ngx_http_socketio_reply_t  reply;

    switch (result->outcome) {

    case NGX_HTTP_SOCKETIO_HOOK_OK:
        outcome = NGX_HTTP_SOCKETIO_BACKEND_OK;

        if (ngx_http_socketio_backend_reply_init(&reply, peer, &result->body)
            == NGX_OK)
        {
            /* "has left", to those who stay */
            ngx_http_socketio_backend_reply_apply(&reply);
        }

        ngx_http_socketio_backend_reply_done(&reply);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_CLIENT:
        outcome = NGX_HTTP_SOCKETIO_BACKEND_REFUSED;

        ngx_log_error(NGX_LOG_WARN, ngx_http_socketio_backend_log(peer), 0,
                      "socketio: webhook was refused by the backend, "
                      "status %ui", result->status);
        break;

    case NGX_HTTP_SOCKETIO_HOOK_ABORTED:

        if (peer->journal) {

            /* a sibling finds the record when this worker has gone */

            ngx_http_socketio_backend_free(peer);
            return;
        }

        /* fall through */

    default: /* NGX_HTTP_SOCKETIO_HOOK_FAILED */
        outcome = NGX_HTTP_SOCKETIO_BACKEND_FAILED;

        ngx_http_socketio_backend_log_failure(peer, result);
        break;
    }

    ngx_http_socketio_backend_count(peer, NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT,
                                    outcome);
    ngx_http_socketio_backend_discard(peer);
}


/* The peer may be free when this returns. */

static void
ngx_http_socketio_backend_landed(ngx_http_socketio_peer_t *peer)
{
    ngx_uint_t  ended;

    ngx_http_socketio_backend_land(peer);

    ended = (peer->socket == NULL);

    ngx_http_socketio_backend_next(peer);

    if (!ended) {
        ngx_http_socketio_backend_pressure(peer);
    }
}


static void
ngx_http_socketio_backend_count(ngx_http_socketio_peer_t *peer,
    ngx_uint_t type, ngx_uint_t outcome)
{
    peer->worker->engine.counters[NGX_HTTP_SOCKETIO_COUNT_WEBHOOKS
                                  + type * NGX_HTTP_SOCKETIO_BACKEND_OUTCOMES
                                  + outcome]++;
}


/* Where it was sent from; what it has led to may be another worker's. */

static void
ngx_http_socketio_backend_count_time(ngx_http_socketio_flight_t *flight,
    ngx_http_socketio_hook_result_t *result)
{
    uint64_t    *counters;
    ngx_uint_t   i;

    static const ngx_msec_t  ends[] = { NGX_HTTP_SOCKETIO_BUCKET_ENDS };

    if (result->attempts == 0
        || result->outcome == NGX_HTTP_SOCKETIO_HOOK_ABORTED)
    {
        return;
    }

    counters = &flight->peer->worker->engine.counters
                   [NGX_HTTP_SOCKETIO_COUNT_TIME
                    + flight->type * (NGX_HTTP_SOCKETIO_BUCKETS + 1)];

    for (i = 0; i < NGX_HTTP_SOCKETIO_BUCKETS - 1; i++) {
        if (result->time <= ends[i]) {
            break;
        }
    }

    counters[i]++;
    counters[NGX_HTTP_SOCKETIO_BUCKETS] += result->time;
}


static void
ngx_http_socketio_backend_log_failure(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_log_t   *log;
    ngx_uint_t   level;

    log = ngx_http_socketio_backend_log(peer);

    /* why it is broken has been logged, and this only follows from it */

    level = (result->outcome == NGX_HTTP_SOCKETIO_HOOK_BROKEN) ? NGX_LOG_INFO
                                                               : NGX_LOG_ERR;

    if (result->status) {
        ngx_log_error(level, log, 0,
                      "socketio: webhook failed: %s, status %ui",
                      result->reason, result->status);
        return;
    }

    ngx_log_error(level, log, 0, "socketio: webhook failed: %s",
                  result->reason);
}
