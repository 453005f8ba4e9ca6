
/*
 * A session's GETs and POSTs: who waits, what is answered, what a body holds.
 */

#include "ngx_sio_eio.h"
#include "ngx_sio_session_private.h"
#include "ngx_sio_utf8.h"


/* packets in one answer: clients in Python end themselves with more */
#define NGX_SIO_ANSWER_PACKETS  16


static ngx_int_t ngx_sio_session_enter(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w, ngx_uint_t revision);
static void ngx_sio_session_overlap(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w, ngx_sio_waiter_t *other);
static void ngx_sio_session_post_finished(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w);
static void ngx_sio_session_body(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t octets);
static ngx_int_t ngx_sio_session_payload(ngx_sio_session_t *s,
    ngx_str_t *body, ngx_uint_t form);
static void ngx_sio_session_malformed(ngx_sio_session_t *s);
static void ngx_sio_session_release_to(ngx_sio_session_t *s,
    ngx_sio_waiter_t *w, ngx_sio_msg_t *last);
static ngx_uint_t ngx_sio_session_poll_form(ngx_sio_session_t *s);
static ngx_int_t ngx_sio_session_write_answer(ngx_sio_session_t *s,
    ngx_str_t *body, ngx_uint_t form, ngx_sio_msg_t *last);


void
ngx_sio_session_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision)
{
    if (ngx_sio_waiter_equal(w, &s->poll)
        || ngx_sio_session_enter(s, w, revision) != NGX_OK)
    {
        return;
    }

    s->state->poll(s, w);

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


/*
 * What a request begins with; NGX_DECLINED: it has been answered.
 *
 * A client sends "5" and knows that polling is over, so what it sends by
 * HTTP after it must not be served before it, whichever connection is read
 * first.  A POST that was begun before has its place already.
 */

static ngx_int_t
ngx_sio_session_enter(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision)
{
    if (revision != s->revision) {
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_MISMATCH);
        return NGX_DECLINED;
    }

    ngx_sio_session_ref(s);
    s->engine->current = s;

    if (s->state == &ngx_sio_session_probing && !s->upgrading
        && !ngx_sio_waiter_equal(w, &s->post))
    {
        s->engine->ops->ws_read(s->ws);
        s->engine->current = s;
    }

    return NGX_OK;
}


void
ngx_sio_polling_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (ngx_sio_waiter_set(&s->poll)) {
        ngx_sio_session_overlap(s, w, &s->poll);
        return;
    }

    if (ngx_sio_out_empty(&s->own)) {
        s->poll = *w;
        return;
    }

    ngx_sio_session_release_to(s, w, NULL);
}


void
ngx_sio_probing_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (s->closing) {
        /* it has chosen to hear of it by polling */
        ngx_sio_linger_poll(s, w);
        return;
    }

    if (ngx_sio_waiter_set(&s->poll)) {
        ngx_sio_session_overlap(s, w, &s->poll);
        return;
    }

    if (!s->probed && ngx_sio_out_empty(&s->own)) {
        s->poll = *w;
        return;
    }

    ngx_sio_session_release_to(s, w,
        ngx_sio_out_empty(&s->own) ? ngx_sio_msg_packet('6') : NULL);
}


void
ngx_sio_websocket_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_MISMATCH);
}


/*
 * The close packet comes alone: socket.io-client 4 looks at events only when
 * it has been through with the payload, and forgets them when it was closed.
 */

void
ngx_sio_linger_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (s->left) {
        ngx_sio_session_release_to(s, w, ngx_sio_msg_packet('6'));
        ngx_sio_session_end(s, s->reason);
        return;
    }

    if (!ngx_sio_out_empty(&s->own)) {
        ngx_sio_session_release_to(s, w, NULL);
        return;
    }

    ngx_sio_session_release_to(s, w, ngx_sio_msg_packet('1'));
    ngx_sio_session_end(s, s->reason);
}


void
ngx_sio_closed_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_UNKNOWN);
}


/* Two requests of a kind at once: both are refused and the session ends. */

static void
ngx_sio_session_overlap(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_waiter_t *other)
{
    ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                  "client sent a second %s while one was served",
                  other == &s->poll ? "GET" : "POST");

    ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_BAD);

    if (other == &s->post) {
        ngx_sio_session_answer(s, other, NGX_SIO_ANSWER_BAD);
    }

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
}


void
ngx_sio_session_post_begin(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision)
{
    if (ngx_sio_waiter_equal(w, &s->post)
        || ngx_sio_session_enter(s, w, revision) != NGX_OK)
    {
        return;
    }

    if (s->state->post != NGX_SIO_POST_ACCEPTED) {
        ngx_sio_session_answer(s, w, s->state->post);

    } else if (ngx_sio_waiter_set(&s->post)) {
        ngx_sio_session_overlap(s, w, &s->post);

    } else {
        s->post = *w;
        s->post_done = 0;
    }

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_post(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision, ngx_uint_t octets, ngx_str_t *body)
{
    if ((ngx_sio_waiter_equal(w, &s->post) && s->post_done)
        || ngx_sio_session_enter(s, w, revision) != NGX_OK)
    {
        return;
    }

    if (s->state->post != NGX_SIO_POST_ACCEPTED) {
        ngx_sio_session_answer(s, w, s->state->post);

    } else if (ngx_sio_waiter_set(&s->post)
               && !ngx_sio_waiter_equal(w, &s->post))
    {
        ngx_sio_session_overlap(s, w, &s->post);

    } else if (octets && s->revision == 4) {
        ngx_memzero(&s->post, sizeof(ngx_sio_waiter_t));
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_BAD);
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);

    } else {
        s->post = *w;
        s->post_done = 1;

        if (!s->closing && body != NULL) {
            ngx_sio_session_body(s, body, octets);
        }

        ngx_sio_session_post_finished(s, w);
    }

    s->engine->current = NULL;
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_post_refused(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (!ngx_sio_waiter_equal(w, &s->post)) {
        return;
    }

    ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);

    if (s->upgrading) {
        ngx_sio_session_upgrade(s);
    }
}


/*
 * The answer to a POST is kept back while the backend cannot keep up, which
 * holds the client's next POST; and, for a moment, when the client leaves
 * without a poll that could be told so.
 */

static void
ngx_sio_session_post_finished(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (!ngx_sio_waiter_equal(w, &s->post)) {
        return;     /* answered when the session closed */
    }

    if (s->state == &ngx_sio_session_linger && s->left) {
        return;
    }

    if (s->state->post == NGX_SIO_POST_ACCEPTED
        && (s->rest != NULL || (s->paused && !s->upgrading)))
    {
        return;
    }

    ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);

    if (s->upgrading && s->state == &ngx_sio_session_probing) {
        ngx_sio_session_upgrade(s);
    }
}


void
ngx_sio_session_abort(ngx_sio_session_t *s, ngx_sio_waiter_t *w)
{
    if (s->state == &ngx_sio_session_websocket) {
        return;
    }

    if (ngx_sio_waiter_equal(w, &s->poll)) {
        ngx_memzero(&s->poll, sizeof(ngx_sio_waiter_t));

    } else if (ngx_sio_waiter_equal(w, &s->post)) {
        ngx_memzero(&s->post, sizeof(ngx_sio_waiter_t));
    }

    if (s->closing) {
        ngx_sio_session_end(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return;
    }

    ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
}


/* Bodies. */

/* Text that is no UTF-8 is repaired, never forwarded as it is. */

static void
ngx_sio_session_body(ngx_sio_session_t *s, ngx_str_t *body, ngx_uint_t octets)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    if (octets) {
        rc = ngx_sio_session_payload(s, body, NGX_SIO_EIO_V3_BINARY);

    } else if (ngx_sio_utf8_valid(body->data, body->len)) {
        rc = ngx_sio_session_payload(s, body, s->revision == 3
                                              ? NGX_SIO_EIO_V3_TEXT
                                              : NGX_SIO_EIO_V4);

    } else {
        text.len = ngx_sio_utf8_repair_length(body->data, body->len);

        text.data = ngx_alloc(text.len, &s->engine->log);

        if (text.data == NULL) {
            ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
            return;
        }

        ngx_sio_utf8_repair(text.data, body->data, body->len);

        rc = ngx_sio_session_payload(s, &text, s->revision == 3
                                               ? NGX_SIO_EIO_V3_TEXT
                                               : NGX_SIO_EIO_V4);
        ngx_free(text.data);
    }

    if (rc == NGX_DECLINED) {
        ngx_sio_session_malformed(s);
    }
}


/*
 * Stops when the backend has enough to do, and keeps the rest as it came: as
 * events it would take many times the room.
 *
 *   NGX_DONE      all was taken, or kept, or the session has closed
 *   NGX_DECLINED  malformed
 */

static ngx_int_t
ngx_sio_session_payload(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t form)
{
    ngx_int_t              rc;
    ngx_str_t              rest;
    ngx_sio_eio_packet_t   pkt;
    ngx_sio_eio_payload_t  payload;

    ngx_sio_eio_payload(&payload, body, form);

    for ( ;; ) {
        rc = ngx_sio_eio_next(&payload, &pkt);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_sio_session_packet(s, &pkt);

        if (s->state->post != NGX_SIO_POST_ACCEPTED) {
            return NGX_DONE;    /* what follows a close is dropped */
        }

        if (s->paused && !payload.done) {
            rest.data = payload.pos;
            rest.len = payload.end - payload.pos;

            if (ngx_sio_session_keep(s, &rest, form) != NGX_OK) {
                ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
            }

            return NGX_DONE;
        }
    }
}


/* NGX_OK, NGX_ERROR: no memory.  What is kept already is only shortened. */

ngx_int_t
ngx_sio_session_keep(ngx_sio_session_t *s, ngx_str_t *body, ngx_uint_t form)
{
    ngx_sio_rest_t  *rest;

    if (s->rest != NULL) {
        s->rest->body = *body;
        return NGX_OK;
    }

    rest = ngx_alloc(sizeof(ngx_sio_rest_t) + body->len, &s->engine->log);
    if (rest == NULL) {
        return NGX_ERROR;
    }

    rest->form = form;
    rest->body.len = body->len;
    rest->body.data = (u_char *) (rest + 1);
    ngx_memcpy(rest->body.data, body->data, body->len);

    s->rest = rest;

    return NGX_OK;
}


void
ngx_sio_session_continue(ngx_sio_session_t *s)
{
    u_char            *left;
    ngx_int_t          rc;
    ngx_sio_rest_t    *rest;
    ngx_sio_waiter_t   waiter;

    rest = s->rest;
    left = rest->body.data;

    rc = ngx_sio_session_payload(s, &rest->body, rest->form);

    if (rc == NGX_DECLINED) {
        ngx_sio_session_malformed(s);
    }

    if (s->rest == NULL || (s->paused && s->rest->body.data != left)) {
        return;     /* closed meanwhile, or there is more */
    }

    ngx_free(rest);
    s->rest = NULL;

    if (ngx_sio_waiter_set(&s->post)) {
        waiter = s->post;
        ngx_sio_session_post_finished(s, &waiter);
    }
}


static void
ngx_sio_session_malformed(ngx_sio_session_t *s)
{
    ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                  "client sent a malformed payload");

    ngx_sio_session_close(s, NGX_SIO_REASON_PARSE_ERROR);
}


/* Answers. */

void
ngx_sio_polling_flush(ngx_sio_session_t *s)
{
    if (ngx_sio_waiter_set(&s->poll) && !ngx_sio_out_empty(&s->own)) {
        ngx_sio_session_release(s, NULL);
    }
}


/* Answers a request without a payload; w may be the session's own. */

void
ngx_sio_session_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_answer_e kind)
{
    ngx_sio_waiter_t  waiter;

    waiter = *w;

    if (w == &s->poll || w == &s->post) {
        ngx_memzero(w, sizeof(ngx_sio_waiter_t));
    }

    s->engine->ops->answer(s, &waiter, kind, NULL);
}


/* Answers the poll that waits with what is queued, then last if not NULL. */

void
ngx_sio_session_release(ngx_sio_session_t *s, ngx_sio_msg_t *last)
{
    ngx_sio_waiter_t  waiter;

    waiter = s->poll;
    ngx_memzero(&s->poll, sizeof(ngx_sio_waiter_t));

    ngx_sio_session_release_to(s, &waiter, last);
}


static void
ngx_sio_session_release_to(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_msg_t *last)
{
    ngx_str_t   body;
    ngx_uint_t  form;

    form = ngx_sio_session_poll_form(s);

    if (ngx_sio_session_write_answer(s, &body, form, last) != NGX_OK) {
        ngx_sio_session_answer(s, w, NGX_SIO_ANSWER_BAD);

        /* not at once: callers go on with the session, and its WebSocket */

        ngx_sio_session_fail(s);
        return;
    }

    s->engine->ops->answer(s, w, form == NGX_SIO_FORM_POLL3_BIN
                                 ? NGX_SIO_ANSWER_BINARY
                                 : NGX_SIO_ANSWER_TEXT, &body);
    ngx_free(body.data);
}


static ngx_uint_t
ngx_sio_session_poll_form(ngx_sio_session_t *s)
{
    ngx_uint_t  i;

    if (s->revision == 4) {
        return NGX_SIO_FORM_POLL;
    }

    if (!s->b64) {
        for (i = 0; i < s->own.n; i++) {
            if (ngx_sio_out_at(&s->own, i)->nattachments) {
                return NGX_SIO_FORM_POLL3_BIN;
            }
        }
    }

    return NGX_SIO_FORM_POLL3;
}


/*
 * Takes messages from the queue as long as they fit into one answer; last
 * is added when all did.
 */

static ngx_int_t
ngx_sio_session_write_answer(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t form, ngx_sio_msg_t *last)
{
    size_t          len;
    u_char         *p;
    ngx_str_t      *piece;
    ngx_uint_t      n, packets;
    ngx_sio_msg_t  *msg;

    len = 0;
    packets = (last != NULL);

    for (n = 0; n < s->own.n; n++) {

        msg = ngx_sio_out_at(&s->own, n);

        piece = ngx_sio_msg_form(msg, form);
        if (piece == NULL) {
            return NGX_ERROR;
        }

        packets += 1 + msg->nattachments;

        if (n > 0
            && (len + 1 + piece->len > s->engine->max_answer
                || packets > NGX_SIO_ANSWER_PACKETS))
        {
            last = NULL;
            break;
        }

        len += piece->len + 1;
    }

    if (last != NULL) {
        piece = ngx_sio_msg_form(last, form);
        if (piece == NULL) {
            return NGX_ERROR;
        }

        len += piece->len + 1;
    }

    p = ngx_alloc(len + 1, &s->engine->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    while (n-- > 0) {
        if (p != body->data && form == NGX_SIO_FORM_POLL) {
            *p++ = NGX_SIO_EIO_SEPARATOR;
        }

        piece = &ngx_sio_out_at(&s->own, 0)->forms[form];
        p = ngx_cpymem(p, piece->data, piece->len);

        ngx_sio_out_shift(&s->own);
    }

    if (last != NULL) {
        if (p != body->data && form == NGX_SIO_FORM_POLL) {
            *p++ = NGX_SIO_EIO_SEPARATOR;
        }

        piece = &last->forms[form];
        p = ngx_cpymem(p, piece->data, piece->len);

        ngx_sio_session_count_out(s, last);
    }

    body->len = p - body->data;

    return NGX_OK;
}
