
/*
 * A session's WebSocket: it begins with one, upgrades to one, or, the probe
 * having failed, goes on without.
 */

#include "ngx_sio_eio.h"
#include "ngx_sio_session_private.h"


static ngx_uint_t ngx_sio_session_ws_form(ngx_sio_session_t *s,
    ngx_uint_t b64);
static void ngx_sio_session_upgraded_closing(ngx_sio_session_t *s);


ngx_int_t
ngx_sio_session_attach(ngx_sio_session_t *s, void *ws, ngx_sio_out_t *out)
{
    ngx_int_t       rc;
    ngx_sio_msg_t  *msg;

    s->ws = ws;
    s->ws_out = out;
    s->out = out;
    out->form = ngx_sio_session_ws_form(s, s->b64);

    ngx_sio_session_set_state(s, &ngx_sio_session_websocket);

    msg = ngx_sio_session_open(s);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_sio_out_push(out, msg);
    ngx_sio_msg_unref(msg);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sio_session_set_dirty(s);

    return NGX_OK;
}


ngx_int_t
ngx_sio_session_probe(ngx_sio_session_t *s, void *ws, ngx_sio_out_t *out,
    ngx_uint_t b64)
{
    if (s->state != &ngx_sio_session_polling) {
        return NGX_DECLINED;
    }

    s->ws = ws;
    s->ws_out = out;
    s->probed = 0;
    s->upgrading = 0;
    out->form = ngx_sio_session_ws_form(s, b64);

    s->state_due = ngx_sio_session_due(s->conf->upgrade_timeout);

    ngx_sio_session_set_state(s, &ngx_sio_session_probing);
    ngx_sio_session_arm(s);

    return NGX_OK;
}


static ngx_uint_t
ngx_sio_session_ws_form(ngx_sio_session_t *s, ngx_uint_t b64)
{
    if (s->revision == 3) {
        return b64 ? NGX_SIO_FORM_WS3_B64 : NGX_SIO_FORM_WS3;
    }

    return b64 ? NGX_SIO_FORM_WS_B64 : NGX_SIO_FORM_WS;
}


ngx_int_t
ngx_sio_session_receive(ngx_sio_session_t *s, void *ws, ngx_uint_t binary,
    ngx_str_t *data)
{
    ngx_int_t          rc;
    ngx_sio_engine_t  *e;

    e = s->engine;

    ngx_sio_session_ref(s);     /* a packet may close its own session */
    e->current = s;

    s->state->receive(s, binary, data);

    if (s->ws != ws) {
        rc = NGX_DONE;

    } else if (s->upgrading
               || (s->paused && s->state == &ngx_sio_session_websocket))
    {
        rc = NGX_AGAIN;

    } else {
        rc = NGX_OK;
    }

    e->current = NULL;
    ngx_sio_session_unref(s);

    return rc;
}


void
ngx_sio_session_ws_gone(ngx_sio_session_t *s, void *ws, ngx_uint_t reason)
{
    if (s->ws != ws) {
        return;
    }

    s->ws = NULL;
    s->ws_out = NULL;

    if (s->state == &ngx_sio_session_probing) {
        ngx_sio_session_probe_failed(s);
        return;
    }

    s->out = &s->own;

    ngx_sio_session_close(s, reason);
}


void
ngx_sio_websocket_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data)
{
    ngx_sio_eio_packet_t  pkt;

    if (ngx_sio_eio_frame(data, binary, s->revision, &pkt) != NGX_OK) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client sent a malformed packet");

        ngx_sio_session_close(s, NGX_SIO_REASON_PARSE_ERROR);
        return;
    }

    ngx_sio_session_packet(s, &pkt);
}


void
ngx_sio_websocket_flush(ngx_sio_session_t *s)
{
    s->engine->ops->ws_flush(s->ws);
}


void
ngx_sio_probing_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data)
{
    ngx_sio_msg_t  *msg;

    ngx_sio_session_count_in(s);

    if (!binary && data->len == 1 && data->data[0] == '5') {

        if ((ngx_sio_waiter_set(&s->post) && !s->post_done)
            || s->rest != NULL)
        {
            s->upgrading = 1;
            s->state_due = 0;       /* the client has done its part */
            return;
        }

        ngx_sio_session_upgrade(s);
        return;
    }

    if (!binary && !s->probed && data->len == 6
        && ngx_memcmp(data->data, "2probe", 6) == 0)
    {
        msg = ngx_sio_msg_packet('p');

        if (ngx_sio_out_push(s->ws_out, msg) == NGX_OK) {
            s->probed = 1;
            ngx_sio_session_count_out(s, msg);

            if (ngx_sio_waiter_set(&s->poll)) {
                ngx_sio_session_release(s, ngx_sio_msg_packet('6'));
            }

            s->engine->ops->ws_flush(s->ws);
            return;
        }
    }

    ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                  "client sent an unexpected packet while upgrading");

    s->engine->ops->ws_close(s, s->ws, NGX_SIO_REASONS, 1);

    ngx_sio_session_probe_failed(s);
}


void
ngx_sio_session_probe_failed(ngx_sio_session_t *s)
{
    s->ws = NULL;
    s->ws_out = NULL;
    s->probed = 0;
    s->upgrading = 0;
    s->state_due = 0;

    ngx_sio_session_set_state(s, &ngx_sio_session_polling);

    if (s->closing) {
        ngx_sio_session_depart(s, s->reason, 1);
        return;
    }

    if (!ngx_sio_out_empty(&s->own)) {
        ngx_sio_session_set_dirty(s);
    }
}


/*
 * The timers go on over the switch: a client that falls silent during it is
 * found out like any other.
 */

void
ngx_sio_session_upgrade(ngx_sio_session_t *s)
{
    ngx_uint_t  resume;

    resume = s->upgrading;

    s->upgrading = 0;
    s->state_due = 0;

    ngx_sio_session_set_state(s, &ngx_sio_session_websocket);

    s->engine->counters[NGX_SIO_COUNT_UPGRADED]++;

    if (ngx_sio_waiter_set(&s->post)) {
        ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);
    }

    if (ngx_sio_waiter_set(&s->poll)) {
        /* it was waiting, so there is nothing else for it */
        ngx_sio_session_release(s, ngx_sio_msg_packet('6'));
    }

    s->failed |= (ngx_sio_out_splice(s->ws_out, &s->own) != NGX_OK);
    s->out = s->ws_out;

    if (s->closing) {
        ngx_sio_session_upgraded_closing(s);
        return;
    }

    ngx_sio_session_set_dirty(s);

    if (resume && !s->paused) {
        s->engine->ops->ws_resume(s->ws);
    }
}


/* The server ended it while it upgraded: what is queued still goes out. */

static void
ngx_sio_session_upgraded_closing(ngx_sio_session_t *s)
{
    void  *ws;

    ws = s->ws;

    s->engine->ops->ws_close(s, ws, s->reason, 0);

    s->ws = NULL;
    s->ws_out = NULL;
    s->out = &s->own;

    ngx_sio_session_end(s, s->reason);
}
