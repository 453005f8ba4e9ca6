
#include "ngx_sio_packet.h"
#include "ngx_sio_rooms.h"
#include "ngx_sio_json.h"
#include "ngx_sio_session_private.h"
#include "ngx_sio_utf8.h"


/* room for the first ids that a client asks about */
#define NGX_SIO_SOCKET_ASKED  4

/* octets of a namespace that the log shows */
#define NGX_SIO_SOCKET_SHOWN  64


static void ngx_sio_pending_grow(ngx_sio_pending_t *pending, size_t size);
static ngx_int_t ngx_sio_socket_dispatch(ngx_sio_session_t *s,
    ngx_sio_packet_t *p, ngx_str_t *attachments, ngx_uint_t n,
    ngx_uint_t *reason);
static ngx_str_t *ngx_sio_socket_shown(ngx_str_t *name);
static ngx_int_t ngx_sio_socket_check_event(ngx_sio_session_t *s,
    ngx_str_t *event);
static ngx_int_t ngx_sio_socket_connect(ngx_sio_session_t *s,
    ngx_sio_packet_t *p);
static ngx_int_t ngx_sio_socket_query(ngx_str_t *query, ngx_str_t *auth);
static u_char *ngx_sio_socket_query_string(u_char *dst, u_char *p,
    u_char *end, u_char *scratch);
static void ngx_sio_socket_answer(ngx_sio_socket_t *so, ngx_sio_packet_t *p,
    ngx_str_t *attachments, ngx_uint_t n);
static ngx_sio_socket_t *ngx_sio_socket_of(ngx_sio_session_t *s,
    ngx_str_t *nsp);
static void ngx_sio_socket_answered(ngx_sio_socket_t *so, ngx_uint_t i);
static void ngx_sio_socket_forget(ngx_sio_socket_t *so, ngx_sio_ack_t *ack);
static void ngx_sio_socket_send_error(ngx_sio_session_t *s, ngx_str_t *nsp,
    ngx_str_t *message, ngx_str_t *data);
static void ngx_sio_socket_send(ngx_sio_session_t *s, ngx_sio_msg_t *msg);


ngx_int_t
ngx_sio_socket_text(ngx_sio_session_t *s, ngx_str_t *text, ngx_uint_t *reason)
{
    ngx_int_t          rc;
    const char        *err;
    ngx_sio_packet_t   p;

    if (s->pending != NULL) {
        err = "text instead of an attachment";
        goto declined;
    }

    rc = ngx_sio_packet_decode(text, s->conf->max_attachments,
                               s->revision == 3 ? 4 : 5, &p, &err);

    if (rc == NGX_DECLINED) {
        goto declined;
    }

    if (p.attachments == 0) {
        return ngx_sio_socket_dispatch(s, &p, NULL, 0, reason);
    }

    if (ngx_sio_packet_placeholders(&p.payload, p.attachments) != NGX_OK) {
        err = "illegal attachments";
        goto declined;
    }

    if (ngx_sio_socket_pend(s, text, p.attachments) != NGX_OK) {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
    }

    return NGX_OK;

declined:

    ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                  "client sent a malformed packet: %s", err);

    *reason = NGX_SIO_REASON_FORCED_CLOSE;

    return NGX_DECLINED;
}


ngx_int_t
ngx_sio_socket_pend(ngx_sio_session_t *s, ngx_str_t *text, ngx_uint_t n)
{
    size_t              size;
    ngx_sio_pending_t  *pending;

    size = sizeof(ngx_sio_pending_t) + n * sizeof(ngx_str_t) + text->len;

    pending = ngx_alloc(size, &s->engine->log);
    if (pending == NULL) {
        return NGX_ERROR;
    }

    pending->session = s;
    pending->size = 0;
    pending->n = n;
    pending->got = 0;
    pending->attachments = (ngx_str_t *) (pending + 1);
    pending->text.len = text->len;
    pending->text.data = (u_char *) (pending->attachments + n);
    ngx_memcpy(pending->text.data, text->data, text->len);

    s->pending = pending;

    ngx_queue_insert_tail(&s->engine->pending, &pending->queue);
    ngx_sio_pending_grow(pending, size);

    return NGX_OK;
}


/* It is the last one to be given up. */

static void
ngx_sio_pending_grow(ngx_sio_pending_t *pending, size_t size)
{
    ngx_sio_engine_t  *e;

    e = pending->session->engine;

    ngx_queue_remove(&pending->queue);
    ngx_queue_insert_tail(&e->pending, &pending->queue);

    pending->size += size;
    e->pending_size += size;

    if (e->pending_size > e->max_pending && !e->relief.posted) {
        ngx_post_event(&e->relief, &ngx_posted_events);
    }
}


ngx_sio_pending_t *
ngx_sio_pending_take(ngx_sio_session_t *s)
{
    ngx_sio_pending_t  *pending;

    pending = s->pending;
    s->pending = NULL;

    ngx_queue_remove(&pending->queue);
    s->engine->pending_size -= pending->size;

    return pending;
}


void
ngx_sio_pending_free(ngx_sio_pending_t *pending)
{
    ngx_uint_t  i;

    for (i = 0; i < pending->got; i++) {
        ngx_free(pending->attachments[i].data);
    }

    ngx_free(pending);
}


ngx_int_t
ngx_sio_socket_binary(ngx_sio_session_t *s, ngx_str_t *data,
    ngx_uint_t *reason)
{
    ngx_int_t           rc;
    const char         *err;
    ngx_sio_packet_t    p;
    ngx_sio_pending_t  *pending;

    pending = s->pending;

    if (pending == NULL) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client sent an attachment that belongs to no packet");

        *reason = NGX_SIO_REASON_FORCED_CLOSE;
        return NGX_DECLINED;
    }

    if (ngx_sio_socket_attach(s, data) != NGX_OK) {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return NGX_OK;
    }

    if (pending->got < pending->n) {
        return NGX_OK;
    }

    pending = ngx_sio_pending_take(s);

    rc = ngx_sio_packet_decode(&pending->text, pending->n,
                               s->revision == 3 ? 4 : 5, &p, &err);

    if (rc != NGX_DECLINED) {
        rc = ngx_sio_socket_dispatch(s, &p, pending->attachments, pending->n,
                                     reason);
    }

    ngx_sio_pending_free(pending);

    return rc;
}


ngx_int_t
ngx_sio_socket_attach(ngx_sio_session_t *s, ngx_str_t *data)
{
    ngx_str_t  *attachment;

    attachment = &s->pending->attachments[s->pending->got];

    attachment->data = ngx_alloc(data->len + 1, &s->engine->log);
    if (attachment->data == NULL) {
        return NGX_ERROR;
    }

    attachment->len = data->len;
    ngx_memcpy(attachment->data, data->data, data->len);

    s->pending->got++;

    ngx_sio_pending_grow(s->pending, data->len + 1);

    return NGX_OK;
}


ngx_int_t
ngx_sio_socket_implicit(ngx_sio_session_t *s)
{
    ngx_sio_packet_t  p;

    ngx_memzero(&p, sizeof(ngx_sio_packet_t));

    p.type = NGX_SIO_PACKET_CONNECT;
    ngx_str_set(&p.nsp, "/");

    return ngx_sio_socket_connect(s, &p);
}


/* The call may end the socket, or all of the session. */

static ngx_int_t
ngx_sio_socket_dispatch(ngx_sio_session_t *s, ngx_sio_packet_t *p,
    ngx_str_t *attachments, ngx_uint_t n, ngx_uint_t *reason)
{
    ngx_sio_socket_t  *so;

    so = ngx_sio_socket_of(s, &p->nsp);

    if (p->type == NGX_SIO_PACKET_CONNECT) {

        if (so == NULL) {
            return ngx_sio_socket_connect(s, p);
        }

    } else if (so != NULL) {

        switch (p->type) {

        case NGX_SIO_PACKET_DISCONNECT:
            ngx_sio_socket_close(so, NGX_SIO_REASON_CLIENT_DISCONNECT);
            return NGX_OK;

        case NGX_SIO_PACKET_EVENT:
        case NGX_SIO_PACKET_BINARY_EVENT:

            if (ngx_sio_socket_check_event(s, &p->event) != NGX_OK) {
                *reason = NGX_SIO_REASON_FORCED_CLOSE;
                return NGX_DECLINED;
            }

            s->engine->ops->event(so, &p->event, &p->args, p->id,
                                  attachments, n);
            return NGX_OK;

        case NGX_SIO_PACKET_ACK:
        case NGX_SIO_PACKET_BINARY_ACK:
            ngx_sio_socket_answer(so, p, attachments, n);
            return NGX_OK;

        default: /* NGX_SIO_PACKET_CONNECT_ERROR is for servers to send */
            break;
        }
    }

    /* clients of Socket.IO 2 do all this in good faith */

    if (s->revision == 3) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                  "client sent packet type %ui for namespace \"%V\", "
                  "which it has %s",
                  (ngx_uint_t) p->type, ngx_sio_socket_shown(&p->nsp),
                  so ? "joined" : "not joined");

    *reason = NGX_SIO_REASON_FORCED_SERVER_CLOSE;

    return NGX_DECLINED;
}


/* Clients choose names, so they may hold line feeds, or be very long. */

static ngx_str_t *
ngx_sio_socket_shown(ngx_str_t *name)
{
    size_t             i;
    static u_char      text[NGX_SIO_SOCKET_SHOWN];
    static ngx_str_t   shown = { 0, text };

    shown.len = ngx_min(name->len, NGX_SIO_SOCKET_SHOWN);

    for (i = 0; i < shown.len; i++) {
        text[i] = (name->data[i] < 0x20 || name->data[i] == 0x7f)
                  ? '?' : name->data[i];
    }

    return &shown;
}


/* The name of an event is kept for variables and log lines. */

static ngx_int_t
ngx_sio_socket_check_event(ngx_sio_session_t *s, ngx_str_t *event)
{
    size_t  len;

    len = (ngx_sio_json_type(event) == NGX_SIO_JSON_STRING)
          ? ngx_sio_json_string_length(event) : event->len;

    if (len <= s->conf->max_name) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                  "client sent the name of an event with %uz octets, "
                  "limit is %uz", len, s->conf->max_name);

    s->engine->counters[NGX_SIO_COUNT_LIMITS + NGX_SIO_LIMIT_NAME]++;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_sio_socket_connect(ngx_sio_session_t *s, ngx_sio_packet_t *p)
{
    u_char             sid[NGX_SIO_SOCKET_SID_LEN];
    ngx_str_t          auth;
    ngx_sio_socket_t  *so;

    static ngx_str_t   invalid = ngx_string("Invalid namespace");
    static ngx_str_t   many = ngx_string("Too many namespaces");

    if (p->nsp.len > s->conf->max_name) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client sent the name of a namespace with %uz octets, "
                      "limit is %uz", p->nsp.len, s->conf->max_name);

        s->engine->counters[NGX_SIO_COUNT_LIMITS + NGX_SIO_LIMIT_NAME]++;

        ngx_sio_socket_send_error(s, &p->nsp, &invalid, NULL);
        return NGX_OK;
    }

    if (!s->engine->ops->allowed(s, &p->nsp)) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client wants to enter namespace \"%V\", which "
                      "\"socketio_namespaces\" does not declare",
                      ngx_sio_socket_shown(&p->nsp));

        ngx_sio_socket_send_error(s, &p->nsp, &invalid, NULL);
        return NGX_OK;
    }

    if (s->nsockets >= s->conf->max_namespaces) {
        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client wants to enter more namespaces, limit is %ui",
                      s->conf->max_namespaces);

        s->engine->counters[NGX_SIO_COUNT_LIMITS
                            + NGX_SIO_LIMIT_NAMESPACES]++;

        ngx_sio_socket_send_error(s, &p->nsp, &many, NULL);
        return NGX_OK;
    }

    auth = p->payload;

    if (ngx_sio_sid_write(sid, sizeof(sid), NULL, 0) != NGX_OK
        || (p->query.len
            && ngx_sio_socket_query(&p->query, &auth) != NGX_OK))
    {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);
        return NGX_OK;
    }

    so = ngx_sio_socket_create(s, &p->nsp, sid);

    if (so == NULL) {
        ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);

    } else {
        s->engine->ops->connect(so, &auth);
    }

    if (p->query.len) {
        ngx_free(auth.data);
    }

    return NGX_OK;
}


/*
 * Clients of Socket.IO 2 send a query instead of an object: "a=1&b=2" becomes
 * {"a":"1","b":"2"}.  NGX_OK: auth is allocated; NGX_ERROR: no memory.
 */

static ngx_int_t
ngx_sio_socket_query(ngx_str_t *query, ngx_str_t *auth)
{
    u_char  *p, *pos, *end, *last, *eq, *scratch;

    /*
     * A control character becomes six octets, and "a" gains six more for its
     * quotes, colon, comma and empty value.  Behind that is room to decode a
     * parameter and to repair its UTF-8, which may triple it.
     */

    p = ngx_alloc(query->len * (12 + 4) + 16, ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    auth->data = p;
    scratch = p + query->len * 12 + 16;

    pos = query->data;
    last = pos + query->len;

    *p++ = '{';

    while (pos < last) {

        for (end = pos; end < last && *end != '&'; end++) { /* void */ }
        for (eq = pos; eq < end && *eq != '='; eq++) { /* void */ }

        if (end > pos) {
            if (p - auth->data > 1) {
                *p++ = ',';
            }

            p = ngx_sio_socket_query_string(p, pos, eq, scratch);
            *p++ = ':';
            p = ngx_sio_socket_query_string(p, eq < end ? eq + 1 : end, end,
                                            scratch);
        }

        pos = end + 1;
    }

    *p++ = '}';

    auth->len = p - auth->data;

    return NGX_OK;
}


static u_char *
ngx_sio_socket_query_string(u_char *dst, u_char *p, u_char *end,
    u_char *scratch)
{
    u_char     *decoded, *text;
    ngx_int_t   n;

    decoded = scratch;

    while (p < end) {

        if (*p == '%' && end - p > 2
            && (n = ngx_hextoi(p + 1, 2)) != NGX_ERROR)
        {
            *decoded++ = (u_char) n;
            p += 3;
            continue;
        }

        *decoded++ = (*p == '+') ? ' ' : *p;
        p++;
    }

    text = decoded;
    decoded = ngx_sio_utf8_repair(text, scratch, text - scratch);

    *dst++ = '"';
    dst = ngx_sio_json_escape(dst, text, decoded - text);
    *dst++ = '"';

    return dst;
}


static void
ngx_sio_socket_answer(ngx_sio_socket_t *so, ngx_sio_packet_t *p,
    ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_queue_t    *q;
    ngx_sio_ack_t  *ack;

    if (p->payload.len == 0) {
        /* not even "[]": ignored, the answer may still come */
        return;
    }

    for (q = ngx_queue_head(&so->acks);
         q != ngx_queue_sentinel(&so->acks);
         q = ngx_queue_next(q))
    {
        ack = ngx_queue_data(q, ngx_sio_ack_t, queue);

        if (ack->id != p->id) {
            continue;
        }

        ngx_queue_remove(q);
        so->nacks--;

        so->session->engine->ops->ack(so, ack, &p->args, attachments, n);

        ngx_free(ack);
        return;
    }

    /* never asked, answered already, or forgotten: ignored, as Node does */
}


/* A session has few namespaces. */

static ngx_sio_socket_t *
ngx_sio_socket_of(ngx_sio_session_t *s, ngx_str_t *nsp)
{
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;

    for (q = ngx_queue_head(&s->sockets);
         q != ngx_queue_sentinel(&s->sockets);
         q = ngx_queue_next(q))
    {
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        if (so->nsp->node.str.len == nsp->len
            && ngx_memcmp(so->nsp->node.str.data, nsp->data, nsp->len) == 0)
        {
            return so;
        }
    }

    return NULL;
}


ngx_sio_socket_t *
ngx_sio_socket_find(ngx_sio_engine_t *e, u_char *sid, size_t len)
{
    ngx_rbtree_node_t  *node;

    if (len != NGX_SIO_SOCKET_SID_LEN) {
        return NULL;
    }

    node = ngx_sio_sid_find(&e->sockets, sid, len);

    return node ? ngx_rbtree_data(node, ngx_sio_socket_t, node) : NULL;
}


ngx_sio_socket_t *
ngx_sio_socket_create(ngx_sio_session_t *s, ngx_str_t *nsp, u_char *sid)
{
    ngx_sio_socket_t  *so;

    so = ngx_calloc(sizeof(ngx_sio_socket_t), &s->engine->log);
    if (so == NULL) {
        return NULL;
    }

    so->nsp = ngx_sio_nsp_get(s->engine, nsp);

    if (so->nsp == NULL) {
        ngx_free(so);
        return NULL;
    }

    so->session = s;
    so->connected_at = ngx_time();

    ngx_queue_init(&so->rooms);
    ngx_queue_init(&so->acks);

    ngx_queue_insert_tail(&s->sockets, &so->link);
    ngx_sio_sid_insert(&s->engine->sockets, &so->node, sid,
                       NGX_SIO_SOCKET_SID_LEN);

    s->nsockets++;

    return so;
}


void
ngx_sio_socket_free(ngx_sio_socket_t *so)
{
    ngx_queue_t       *q;
    ngx_sio_engine_t  *e;

    e = so->session->engine;

    if (so->connected) {
        ngx_sio_rooms_exit(so);
    }

    while (!ngx_queue_empty(&so->acks)) {
        q = ngx_queue_head(&so->acks);
        ngx_sio_socket_forget(so, ngx_queue_data(q, ngx_sio_ack_t, queue));
    }

    if (so->asked != NULL) {
        ngx_free(so->asked);
    }

    ngx_queue_remove(&so->link);
    ngx_rbtree_delete(&e->sockets, &so->node);

    so->session->nsockets--;

    ngx_sio_nsp_unref(so->nsp);
    ngx_free(so);
}


void
ngx_sio_socket_accept(ngx_sio_socket_t *so)
{
    ngx_str_t           sid, *nsp;
    ngx_sio_msg_t      *msg;
    ngx_sio_session_t  *s;

    s = so->session;
    nsp = &so->nsp->node.str;

    sid.len = NGX_SIO_SOCKET_SID_LEN;
    sid.data = so->sid;

    so->connected = 1;
    ngx_sio_rooms_enter(so);

    s->connect_due = 0;
    s->engine->counters[NGX_SIO_COUNT_ACCEPTED]++;

    msg = ngx_sio_msg_create(ngx_sio_packet_connect_length(nsp,
                                 s->revision == 3 ? NULL : &sid, NULL),
                             NULL, 0);
    if (msg != NULL) {
        ngx_sio_packet_connect_write(msg->text.data, nsp,
                                     s->revision == 3 ? NULL : &sid, NULL);
    }

    ngx_sio_socket_send(s, msg);
}


void
ngx_sio_socket_refuse(ngx_sio_socket_t *so, ngx_str_t *message,
    ngx_str_t *data)
{
    ngx_sio_session_t  *s;

    s = so->session;

    ngx_sio_socket_send_error(s, &so->nsp->node.str, message, data);

    ngx_sio_socket_resume(so);
    ngx_sio_socket_free(so);
}


static void
ngx_sio_socket_send_error(ngx_sio_session_t *s, ngx_str_t *nsp,
    ngx_str_t *message, ngx_str_t *data)
{
    ngx_sio_msg_t           *msg;
    ngx_sio_packet_error_t   e;

    e.revision = (s->revision == 3) ? 4 : 5;
    e.nsp = *nsp;
    e.message = *message;
    e.data = data;

    msg = ngx_sio_msg_create(ngx_sio_packet_error_length(&e), NULL, 0);

    if (msg != NULL) {
        ngx_sio_packet_error_write(msg->text.data, &e);
    }

    ngx_sio_socket_send(s, msg);
}


/* Takes msg; NULL stands for the memory that was not there. */

static void
ngx_sio_socket_send(ngx_sio_session_t *s, ngx_sio_msg_t *msg)
{
    if (msg == NULL) {
        ngx_sio_session_fail(s);
        return;
    }

    ngx_sio_msg_alone(msg);
    ngx_sio_session_send(s, msg);
    ngx_sio_msg_unref(msg);
}


void
ngx_sio_socket_disconnect(ngx_sio_socket_t *so)
{
    ngx_sio_msg_t     *msg;
    ngx_sio_packet_t   p;

    ngx_memzero(&p, sizeof(ngx_sio_packet_t));

    p.type = NGX_SIO_PACKET_DISCONNECT;
    p.nsp = so->nsp->node.str;
    p.id = NGX_SIO_PACKET_NO_ID;

    msg = ngx_sio_msg_create(ngx_sio_packet_header_length(&p), NULL, 0);

    if (msg != NULL) {
        ngx_sio_packet_header_write(msg->text.data, &p);
    }

    ngx_sio_socket_send(so->session, msg);

    ngx_sio_socket_close(so, NGX_SIO_REASON_SERVER_DISCONNECT);
}


void
ngx_sio_socket_close(ngx_sio_socket_t *so, ngx_uint_t reason)
{
    ngx_sio_socket_resume(so);

    so->session->engine->ops->disconnect(so, reason);

    ngx_sio_socket_free(so);
}


ngx_int_t
ngx_sio_socket_ask(ngx_sio_socket_t *so, uint64_t id, ngx_uint_t max)
{
    size_t            size;
    ngx_sio_asked_t  *asked, *old;

    old = so->asked;

    if (old == NULL || (old->n == old->size && old->size < max)) {

        size = (old == NULL) ? NGX_SIO_SOCKET_ASKED : 2 * (size_t) old->size;
        size = ngx_min(size, max);

        asked = ngx_alloc(offsetof(ngx_sio_asked_t, ids)
                          + size * sizeof(uint64_t), &so->session->engine->log);
        if (asked == NULL) {
            return NGX_ERROR;
        }

        asked->n = 0;
        asked->size = size;

        if (old != NULL) {
            asked->n = old->n;
            ngx_memcpy(asked->ids, old->ids, old->n * sizeof(uint64_t));
            ngx_free(old);
        }

        so->asked = asked;
    }

    asked = so->asked;

    if (asked->n == asked->size) {
        asked->n--;
        ngx_memmove(asked->ids, asked->ids + 1, asked->n * sizeof(uint64_t));
    }

    asked->ids[asked->n++] = id;

    return NGX_OK;
}


/* No longer asked; most sockets wait for nothing and keep no memory for it. */

static void
ngx_sio_socket_answered(ngx_sio_socket_t *so, ngx_uint_t i)
{
    ngx_sio_asked_t  *asked;

    asked = so->asked;

    if (--asked->n == 0) {
        ngx_free(asked);
        so->asked = NULL;
        return;
    }

    ngx_memmove(asked->ids + i, asked->ids + i + 1,
                (asked->n - i) * sizeof(uint64_t));
}


ngx_int_t
ngx_sio_socket_ack(ngx_sio_socket_t *so, uint64_t id, ngx_str_t *args,
    ngx_str_t *attachments, ngx_uint_t n)
{
    u_char            *p;
    ngx_uint_t         i;
    ngx_sio_msg_t     *msg;
    ngx_sio_asked_t   *asked;
    ngx_sio_packet_t   pkt;

    asked = so->asked;

    for (i = 0; asked != NULL && i < asked->n; i++) {
        if (asked->ids[i] == id) {
            break;
        }
    }

    if (asked == NULL || i == asked->n) {
        return NGX_DECLINED;
    }

    ngx_memzero(&pkt, sizeof(ngx_sio_packet_t));

    pkt.type = n ? NGX_SIO_PACKET_BINARY_ACK : NGX_SIO_PACKET_ACK;
    pkt.attachments = n;
    pkt.nsp = so->nsp->node.str;
    pkt.id = id;

    msg = ngx_sio_msg_create(ngx_sio_packet_header_length(&pkt) + 2
                             + args->len, attachments, n);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sio_packet_header_write(msg->text.data, &pkt);
    *p++ = '[';
    p = ngx_cpymem(p, args->data, args->len);
    *p = ']';

    ngx_sio_socket_answered(so, i);
    ngx_sio_socket_send(so->session, msg);

    return NGX_OK;
}


ngx_sio_msg_t *
ngx_sio_socket_event(ngx_str_t *nsp, uint64_t id, ngx_str_t *json,
    ngx_str_t *attachments, ngx_uint_t n)
{
    u_char            *p;
    ngx_sio_msg_t     *msg;
    ngx_sio_packet_t   pkt;

    ngx_memzero(&pkt, sizeof(ngx_sio_packet_t));

    pkt.type = n ? NGX_SIO_PACKET_BINARY_EVENT : NGX_SIO_PACKET_EVENT;
    pkt.attachments = n;
    pkt.nsp = *nsp;
    pkt.id = id;

    msg = ngx_sio_msg_create(ngx_sio_packet_header_length(&pkt) + json->len,
                             attachments, n);

    if (msg != NULL) {
        p = ngx_sio_packet_header_write(msg->text.data, &pkt);
        ngx_memcpy(p, json->data, json->len);
    }

    return msg;
}


ngx_int_t
ngx_sio_socket_expect(ngx_sio_socket_t *so, uint64_t id, ngx_str_t *token,
    ngx_msec_t expires)
{
    ngx_int_t       rc;
    ngx_queue_t    *q, *next;
    ngx_sio_ack_t  *ack;

    rc = NGX_OK;

    for (q = ngx_queue_head(&so->acks);
         q != ngx_queue_sentinel(&so->acks);
         q = next)
    {
        next = ngx_queue_next(q);
        ack = ngx_queue_data(q, ngx_sio_ack_t, queue);

        if (ngx_sio_ack_expired(ack)) {
            ngx_sio_socket_forget(so, ack);
        }
    }

    ack = ngx_alloc(sizeof(ngx_sio_ack_t) + token->len,
                    &so->session->engine->log);
    if (ack == NULL) {
        return NGX_ERROR;
    }

    if (so->nacks == NGX_SIO_MAX_ACKS) {
        q = ngx_queue_head(&so->acks);
        ngx_sio_socket_forget(so, ngx_queue_data(q, ngx_sio_ack_t, queue));
        rc = NGX_BUSY;
    }

    ack->id = id;
    ack->expires = expires;
    ack->token.len = token->len;
    ack->token.data = (u_char *) (ack + 1);
    ngx_memcpy(ack->token.data, token->data, token->len);

    ngx_queue_insert_tail(&so->acks, &ack->queue);
    so->nacks++;

    return rc;
}


static void
ngx_sio_socket_forget(ngx_sio_socket_t *so, ngx_sio_ack_t *ack)
{
    ngx_queue_remove(&ack->queue);
    so->nacks--;

    ngx_free(ack);
}


void
ngx_sio_socket_pause(ngx_sio_socket_t *so)
{
    if (!so->paused) {
        so->paused = 1;
        ngx_sio_session_pause(so->session);
    }
}


void
ngx_sio_socket_resume(ngx_sio_socket_t *so)
{
    if (so->paused) {
        so->paused = 0;
        ngx_sio_session_resume(so->session);
    }
}
