
/*
 * A session as octets: how it moves to another worker.
 */

#include "ngx_sio_pack.h"
#include "ngx_sio_rooms.h"
#include "ngx_sio_session_private.h"


/* what has a fixed size; times are comparable between the workers of a host */

typedef struct {
    u_char             sid[NGX_SIO_SID_LEN];
    ngx_sio_waiter_t   poll;
    ngx_sio_waiter_t   post;
    uint64_t           ping_due;
    uint64_t           pong_due;
    uint64_t           connect_due;
    uint64_t           event_time;
    uint64_t           packets_in;
    uint64_t           packets_out;
    uint32_t           revision;
    uint32_t           b64;
    uint32_t           extended;
    uint32_t           post_done;
} ngx_sio_saved_t;


static size_t ngx_sio_out_save_length(ngx_sio_out_t *out);
static u_char *ngx_sio_out_save(ngx_sio_out_t *out, u_char *p);
static ngx_int_t ngx_sio_out_restore(ngx_sio_session_t *s, u_char **pos,
    u_char *end);
static size_t ngx_sio_pending_save_length(ngx_sio_pending_t *pending);
static u_char *ngx_sio_pending_save(ngx_sio_pending_t *pending, u_char *p);
static ngx_int_t ngx_sio_pending_restore(ngx_sio_session_t *s, u_char **pos,
    u_char *end);
static ngx_int_t ngx_sio_rest_restore(ngx_sio_session_t *s, u_char **pos,
    u_char *end);
static size_t ngx_sio_sockets_save_length(ngx_sio_session_t *s);
static size_t ngx_sio_socket_save_length(ngx_sio_socket_t *so);
static u_char *ngx_sio_sockets_save(ngx_sio_session_t *s, u_char *p);
static u_char *ngx_sio_socket_save(ngx_sio_socket_t *so, u_char *p);
static void ngx_sio_sockets_moved(ngx_sio_session_t *s);
static ngx_int_t ngx_sio_sockets_restore(ngx_sio_session_t *s, u_char **pos,
    u_char *end);
static ngx_int_t ngx_sio_socket_restore(ngx_sio_session_t *s, u_char **pos,
    u_char *end);


ngx_uint_t
ngx_sio_session_movable(ngx_sio_session_t *s)
{
    return s->state == &ngx_sio_session_polling && !s->slow && !s->failed;
}


size_t
ngx_sio_session_save_length(ngx_sio_session_t *s)
{
    return sizeof(ngx_sio_saved_t)
           + ngx_sio_out_save_length(&s->own)
           + ngx_sio_pending_save_length(s->pending)
           + 2 * sizeof(uint32_t) + (s->rest ? s->rest->body.len : 0)
           + ngx_sio_sockets_save_length(s);
}


u_char *
ngx_sio_session_save(ngx_sio_session_t *s, u_char *p)
{
    ngx_sio_saved_t  saved;

    ngx_memzero(&saved, sizeof(ngx_sio_saved_t));

    ngx_memcpy(saved.sid, s->sid, NGX_SIO_SID_LEN);
    saved.poll = s->poll;
    saved.post = s->post;
    saved.ping_due = s->ping_due;
    saved.pong_due = s->pong_due;
    saved.connect_due = s->connect_due;
    saved.event_time = s->event_time;
    saved.packets_in = s->packets_in;
    saved.packets_out = s->packets_out;
    saved.revision = s->revision;
    saved.b64 = s->b64;
    saved.extended = s->extended;
    saved.post_done = s->post_done;

    p = ngx_sio_pack(p, &saved, sizeof(ngx_sio_saved_t));
    p = ngx_sio_out_save(&s->own, p);
    p = ngx_sio_pending_save(s->pending, p);

    p = ngx_sio_pack_u32(p, s->rest ? s->rest->form + 1 : 0);

    if (s->rest != NULL) {
        p = ngx_sio_pack_str(p, &s->rest->body);
    }

    return ngx_sio_sockets_save(s, p);
}


/* Leaves this worker without anybody being told. */

void
ngx_sio_session_moved(ngx_sio_session_t *s)
{
    s->closing = 1;
    s->engine->nopen--;

    ngx_sio_sockets_moved(s);
    s->engine->ops->moved(s, NULL);

    ngx_sio_session_set_state(s, &ngx_sio_session_closed);
    ngx_sio_session_unlink(s);
    ngx_sio_session_unref(s);
}


ngx_int_t
ngx_sio_session_restore(ngx_sio_engine_t *e,
    const ngx_sio_session_conf_t *conf, void *data, ngx_str_t *saved,
    ngx_sio_session_t **sp)
{
    u_char             *pos, *end;
    ngx_int_t           rc;
    ngx_sio_saved_t     state;
    ngx_sio_session_t  *s;

    pos = saved->data;
    end = saved->data + saved->len;

    if (ngx_sio_unpack(&pos, end, &state, sizeof(ngx_sio_saved_t)) != NGX_OK
        || ngx_sio_session_find(e, state.sid) != NULL)
    {
        ngx_sio_session_missed(e);
        return NGX_DECLINED;
    }

    s = ngx_sio_session_new(e, conf, state.sid, state.revision, state.b64,
                            data);
    if (s == NULL) {
        ngx_sio_session_missed(e);
        return NGX_ERROR;
    }

    s->greet = 0;                           /* it was, there */
    s->ping_due = state.ping_due;
    s->pong_due = state.pong_due;
    s->connect_due = state.connect_due;
    s->event_time = state.event_time;
    s->packets_in = state.packets_in;
    s->packets_out = state.packets_out;
    s->extended = state.extended;

    rc = ngx_sio_out_restore(s, &pos, end);

    if (rc == NGX_OK) {
        rc = ngx_sio_pending_restore(s, &pos, end);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_rest_restore(s, &pos, end);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_sockets_restore(s, &pos, end);
    }

    if (rc != NGX_OK) {
        ngx_sio_session_drop(s);
        return rc;
    }

    /* from here on its requests are ours to answer */

    s->poll = state.poll;
    s->post = state.post;
    s->post_done = state.post_done;

    ngx_sio_session_hold(s);
    ngx_sio_session_restored(s);

    *sp = s;

    return NGX_OK;
}


void
ngx_sio_session_missed(ngx_sio_engine_t *e)
{
    e->gauges[NGX_SIO_GAUGE_POLLING]--;
    e->counters[NGX_SIO_COUNT_CLOSED + NGX_SIO_REASON_TRANSPORT_ERROR]++;
}


ngx_int_t
ngx_sio_session_waiters(ngx_str_t *saved, u_char *sid,
    ngx_sio_waiter_t *waiters)
{
    u_char           *pos;
    ngx_sio_saved_t   state;

    pos = saved->data;

    if (ngx_sio_unpack(&pos, saved->data + saved->len, &state,
                       sizeof(ngx_sio_saved_t))
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(sid, state.sid, NGX_SIO_SID_LEN);

    waiters[0] = state.poll;
    waiters[1] = state.post;

    return NGX_OK;
}


/* The caller keeps s->data; the sockets end as if their worker was lost. */

void
ngx_sio_session_drop(ngx_sio_session_t *s)
{
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;

    ngx_sio_session_set_closing(s);

    s->engine->counters[NGX_SIO_COUNT_CLOSED
                        + NGX_SIO_REASON_TRANSPORT_ERROR]++;

    while (!ngx_queue_empty(&s->sockets)) {
        q = ngx_queue_head(&s->sockets);
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        ngx_sio_socket_close(so, NGX_SIO_REASON_TRANSPORT_ERROR);
    }

    ngx_sio_session_set_state(s, &ngx_sio_session_closed);
    ngx_sio_session_unlink(s);
    ngx_sio_session_unref(s);
}


void
ngx_sio_session_restored(ngx_sio_session_t *s)
{
    ngx_sio_session_arm(s);

    if (!ngx_sio_out_empty(&s->own) || s->rest != NULL) {
        ngx_sio_session_set_dirty(s);
    }

    if (ngx_sio_waiter_set(&s->post) && s->post_done && !s->paused
        && s->rest == NULL)
    {
        ngx_sio_session_answer(s, &s->post, NGX_SIO_ANSWER_OK);
    }
}


static size_t
ngx_sio_out_save_length(ngx_sio_out_t *out)
{
    size_t          len;
    ngx_uint_t      i, k;
    ngx_sio_msg_t  *msg;

    len = sizeof(uint32_t);

    for (i = 0; i < out->n; i++) {
        msg = ngx_sio_out_at(out, i);

        len += 2 * sizeof(uint32_t) + ngx_sio_pack_str_length(&msg->text);

        for (k = 0; k < msg->nattachments; k++) {
            len += ngx_sio_pack_str_length(&msg->attachments[k]);
        }
    }

    return len;
}


static u_char *
ngx_sio_out_save(ngx_sio_out_t *out, u_char *p)
{
    ngx_uint_t      i, k;
    ngx_sio_msg_t  *msg;

    p = ngx_sio_pack_u32(p, out->n);

    for (i = 0; i < out->n; i++) {
        msg = ngx_sio_out_at(out, i);

        p = ngx_sio_pack_u32(p, msg->nattachments);
        p = ngx_sio_pack_str(p, &msg->text);

        for (k = 0; k < msg->nattachments; k++) {
            p = ngx_sio_pack_str(p, &msg->attachments[k]);
        }
    }

    return p;
}


static ngx_int_t
ngx_sio_out_restore(ngx_sio_session_t *s, u_char **pos, u_char *end)
{
    uint32_t        n, k, i;
    ngx_int_t       rc;
    ngx_str_t       text, *attachments;
    ngx_sio_msg_t  *msg;

    if (ngx_sio_unpack_u32(pos, end, &n) != NGX_OK) {
        return NGX_DECLINED;
    }

    while (n-- > 0) {

        if (ngx_sio_unpack_u32(pos, end, &k) != NGX_OK
            || ngx_sio_unpack_str(pos, end, &text) != NGX_OK
            || k > (size_t) (end - *pos) / sizeof(uint32_t))
        {
            return NGX_DECLINED;
        }

        attachments = ngx_alloc((k + 1) * sizeof(ngx_str_t), ngx_cycle->log);
        if (attachments == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; i < k; i++) {
            if (ngx_sio_unpack_str(pos, end, &attachments[i]) != NGX_OK) {
                ngx_free(attachments);
                return NGX_DECLINED;
            }
        }

        msg = ngx_sio_msg_create(text.len, attachments, k);
        ngx_free(attachments);

        if (msg == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(msg->text.data, text.data, text.len);

        rc = ngx_sio_out_push(&s->own, msg);
        ngx_sio_msg_unref(msg);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static size_t
ngx_sio_pending_save_length(ngx_sio_pending_t *pending)
{
    size_t      len;
    ngx_uint_t  i;

    len = sizeof(uint32_t);

    if (pending == NULL) {
        return len;
    }

    len += sizeof(uint32_t) + ngx_sio_pack_str_length(&pending->text);

    for (i = 0; i < pending->got; i++) {
        len += ngx_sio_pack_str_length(&pending->attachments[i]);
    }

    return len;
}


static u_char *
ngx_sio_pending_save(ngx_sio_pending_t *pending, u_char *p)
{
    ngx_uint_t  i;

    if (pending == NULL) {
        return ngx_sio_pack_u32(p, 0);
    }

    p = ngx_sio_pack_u32(p, pending->n);
    p = ngx_sio_pack_u32(p, pending->got);
    p = ngx_sio_pack_str(p, &pending->text);

    for (i = 0; i < pending->got; i++) {
        p = ngx_sio_pack_str(p, &pending->attachments[i]);
    }

    return p;
}


static ngx_int_t
ngx_sio_pending_restore(ngx_sio_session_t *s, u_char **pos, u_char *end)
{
    uint32_t   n, got;
    ngx_str_t  str;

    if (ngx_sio_unpack_u32(pos, end, &n) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (n == 0) {
        return NGX_OK;
    }

    if (ngx_sio_unpack_u32(pos, end, &got) != NGX_OK
        || ngx_sio_unpack_str(pos, end, &str) != NGX_OK
        || got >= n || n > s->conf->max_attachments)
    {
        return NGX_DECLINED;
    }

    if (ngx_sio_socket_pend(s, &str, n) != NGX_OK) {
        return NGX_ERROR;
    }

    while (got-- > 0) {

        if (ngx_sio_unpack_str(pos, end, &str) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (ngx_sio_socket_attach(s, &str) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_rest_restore(ngx_sio_session_t *s, u_char **pos, u_char *end)
{
    uint32_t   form;
    ngx_str_t  body;

    if (ngx_sio_unpack_u32(pos, end, &form) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (form == 0) {
        return NGX_OK;
    }

    if (ngx_sio_unpack_str(pos, end, &body) != NGX_OK) {
        return NGX_DECLINED;
    }

    return ngx_sio_session_keep(s, &body, form - 1);
}


/* [namespace, sid, ..., rooms, acks, asked, what the layer above has] */

static size_t
ngx_sio_sockets_save_length(ngx_sio_session_t *s)
{
    size_t        len;
    ngx_queue_t  *q;

    len = sizeof(uint32_t);

    for (q = ngx_queue_head(&s->sockets);
         q != ngx_queue_sentinel(&s->sockets);
         q = ngx_queue_next(q))
    {
        len += ngx_sio_socket_save_length(
                   ngx_queue_data(q, ngx_sio_socket_t, link));
    }

    return len;
}


static size_t
ngx_sio_socket_save_length(ngx_sio_socket_t *so)
{
    size_t                 len;
    ngx_queue_t           *q;
    ngx_sio_ack_t         *ack;
    ngx_sio_session_t     *s;
    ngx_sio_membership_t  *m;

    s = so->session;

    len = ngx_sio_pack_str_length(&so->nsp->node.str) + NGX_SIO_SOCKET_SID_LEN
          + sizeof(uint64_t) + 6 * sizeof(uint32_t)
          + (so->asked ? so->asked->n * sizeof(uint64_t) : 0)
          + s->engine->ops->save_length(so);

    for (q = ngx_queue_head(&so->rooms);
         q != ngx_queue_sentinel(&so->rooms);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);
        len += ngx_sio_pack_str_length(&m->room->node.str);
    }

    for (q = ngx_queue_head(&so->acks);
         q != ngx_queue_sentinel(&so->acks);
         q = ngx_queue_next(q))
    {
        ack = ngx_queue_data(q, ngx_sio_ack_t, queue);
        len += 2 * sizeof(uint64_t) + ngx_sio_pack_str_length(&ack->token);
    }

    return len;
}


static u_char *
ngx_sio_sockets_save(ngx_sio_session_t *s, u_char *p)
{
    u_char       *count;
    uint32_t      n;
    ngx_queue_t  *q;

    count = p;
    p += sizeof(uint32_t);
    n = 0;

    for (q = ngx_queue_head(&s->sockets);
         q != ngx_queue_sentinel(&s->sockets);
         q = ngx_queue_next(q))
    {
        p = ngx_sio_socket_save(ngx_queue_data(q, ngx_sio_socket_t, link), p);
        n++;
    }

    ngx_sio_pack_u32(count, n);

    return p;
}


static u_char *
ngx_sio_socket_save(ngx_sio_socket_t *so, u_char *p)
{
    u_char                *length;
    ngx_queue_t           *q;
    ngx_sio_ack_t         *ack;
    ngx_sio_session_t     *s;
    ngx_sio_membership_t  *m;

    s = so->session;

    p = ngx_sio_pack_str(p, &so->nsp->node.str);
    p = ngx_sio_pack(p, so->sid, NGX_SIO_SOCKET_SID_LEN);
    p = ngx_sio_pack_u64(p, so->connected_at);
    p = ngx_sio_pack_u32(p, so->connected);
    p = ngx_sio_pack_u32(p, so->left_own);

    p = ngx_sio_pack_u32(p, so->nrooms);

    for (q = ngx_queue_head(&so->rooms);
         q != ngx_queue_sentinel(&so->rooms);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);
        p = ngx_sio_pack_str(p, &m->room->node.str);
    }

    p = ngx_sio_pack_u32(p, so->nacks);

    for (q = ngx_queue_head(&so->acks);
         q != ngx_queue_sentinel(&so->acks);
         q = ngx_queue_next(q))
    {
        ack = ngx_queue_data(q, ngx_sio_ack_t, queue);
        p = ngx_sio_pack_u64(p, ack->id);
        p = ngx_sio_pack_u64(p, ack->expires);
        p = ngx_sio_pack_str(p, &ack->token);
    }

    p = ngx_sio_pack_u32(p, so->asked ? so->asked->n : 0);

    if (so->asked != NULL) {
        p = ngx_sio_pack(p, so->asked->ids, so->asked->n * sizeof(uint64_t));
    }

    length = p;
    p = s->engine->ops->save(so, p + sizeof(uint32_t));

    ngx_sio_pack_u32(length, p - length - sizeof(uint32_t));

    return p;
}


static void
ngx_sio_sockets_moved(ngx_sio_session_t *s)
{
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;

    while (!ngx_queue_empty(&s->sockets)) {
        q = ngx_queue_head(&s->sockets);
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        s->engine->ops->moved(s, so);

        ngx_sio_socket_free(so);
    }
}


static ngx_int_t
ngx_sio_sockets_restore(ngx_sio_session_t *s, u_char **pos, u_char *end)
{
    uint32_t   n;
    ngx_int_t  rc;

    rc = ngx_sio_unpack_u32(pos, end, &n);

    while (rc == NGX_OK && n-- > 0) {
        rc = ngx_sio_socket_restore(s, pos, end);
    }

    return rc;
}


static ngx_int_t
ngx_sio_socket_restore(ngx_sio_session_t *s, u_char **pos, u_char *end)
{
    u_char             sid[NGX_SIO_SOCKET_SID_LEN];
    uint32_t           connected, left_own, n;
    uint64_t           connected_at, id, expires;
    ngx_str_t          str;
    ngx_sio_socket_t  *so;

    if (ngx_sio_unpack_str(pos, end, &str) != NGX_OK
        || ngx_sio_unpack(pos, end, sid, sizeof(sid)) != NGX_OK
        || ngx_sio_unpack_u64(pos, end, &connected_at) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &connected) != NGX_OK
        || ngx_sio_unpack_u32(pos, end, &left_own) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    so = ngx_sio_socket_create(s, &str, sid);
    if (so == NULL) {
        return NGX_ERROR;
    }

    so->connected_at = connected_at;
    so->left_own = left_own;

    if (connected) {
        so->connected = 1;
        ngx_sio_rooms_enter(so);
    }

    /* who has not entered leaves no rooms, either */

    if (ngx_sio_unpack_u32(pos, end, &n) != NGX_OK || (n && !so->connected)) {
        return NGX_DECLINED;
    }

    while (n-- > 0) {

        if (ngx_sio_unpack_str(pos, end, &str) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (ngx_sio_rooms_insert(so, &str) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (ngx_sio_unpack_u32(pos, end, &n) != NGX_OK) {
        return NGX_DECLINED;
    }

    while (n-- > 0) {

        if (ngx_sio_unpack_u64(pos, end, &id) != NGX_OK
            || ngx_sio_unpack_u64(pos, end, &expires) != NGX_OK
            || ngx_sio_unpack_str(pos, end, &str) != NGX_OK)
        {
            return NGX_DECLINED;
        }

        if (ngx_sio_socket_expect(so, id, &str, expires) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (ngx_sio_unpack_u32(pos, end, &n) != NGX_OK) {
        return NGX_DECLINED;
    }

    while (n-- > 0) {

        if (ngx_sio_unpack_u64(pos, end, &id) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (ngx_sio_socket_ask(so, id, UINT32_MAX) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_sio_unpack_str(pos, end, &str) != NGX_OK) {
        return NGX_DECLINED;
    }

    return s->engine->ops->restore(so, &str);
}
