
#include "ngx_http_socketio_worker_private.h"
#include "ngx_http_socketio_bridge.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_pack.h"


/* beside the waiter: tag, what, address, the three lengths */
#define NGX_HTTP_SOCKETIO_RESULT_ACKED                                        \
    (4 * sizeof(uint32_t) + NGX_SIO_SOCKET_SID_LEN + 2 * sizeof(uint32_t))


typedef struct {
    ngx_queue_t                  queue;
    ngx_sio_hub_addr_t           to;
} ngx_http_socketio_departure_t;


typedef struct {
    ngx_queue_t                  queue;
    ngx_sio_hub_addr_t           to;
    ngx_uint_t                   flags;    /* of the append */
    ngx_str_t                    body;     /* allocated with this */
} ngx_http_socketio_further_t;


/* a number is said in any case; lists are missed by whoever waits for them */
#define ngx_http_socketio_result_owed(len)  ((len) ? 0 : NGX_SIO_HUB_OWED)


static void ngx_http_socketio_result_local(ngx_http_socketio_worker_t *w,
    ngx_str_t *parts, ngx_uint_t n);
static void ngx_http_socketio_result_append(ngx_http_socketio_worker_t *w,
    ngx_uint_t flags, ngx_sio_hub_addr_t to, ngx_str_t *parts, ngx_uint_t n);
static ngx_uint_t ngx_http_socketio_result_hosts(
    ngx_http_socketio_worker_t *w, ngx_http_socketio_command_t *cmd,
    ngx_http_socketio_due_t *due);
static ngx_uint_t ngx_http_socketio_result_due(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_due_t *due);
static void ngx_http_socketio_result_tell_all(ngx_sio_socket_t *so,
    ngx_http_socketio_acked_t *acked);
static ngx_int_t ngx_http_socketio_result_tell(ngx_sio_socket_t *so,
    ngx_sio_ack_t *ack, ngx_http_socketio_acked_t *acked);


void
ngx_http_socketio_result_send(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect)
{
    ngx_str_t                   parts[4];
    ngx_uint_t                  n;
    ngx_sio_hub_addr_t          to;
    ngx_http_socketio_due_t     due[NGX_SIO_HUB_SLOTS + 2];
    ngx_http_socketio_result_t  result;

    n = ngx_queue_empty(&w->departures)
        ? 0 : ngx_http_socketio_result_due(w, due);

    n += ngx_http_socketio_result_hosts(w, cmd, &due[n]);

    ngx_memzero(&result, sizeof(ngx_http_socketio_result_t));

    result.tag = cmd->tag;
    result.flags = effect->flags;
    result.matched = effect->matched;
    result.done = effect->done;
    result.ndue = n;

    parts[0].len = sizeof(ngx_sio_waiter_t);
    parts[0].data = (u_char *) &cmd->count;
    parts[1].len = sizeof(ngx_http_socketio_result_t);
    parts[1].data = (u_char *) &result;
    parts[2].len = n * sizeof(ngx_http_socketio_due_t);
    parts[2].data = (u_char *) due;
    parts[3] = effect->rows;

    to = ngx_sio_hub_addr(cmd->count.slot, cmd->count.generation);

    if (ngx_sio_hub_addr_equal(to, ngx_sio_hub_self(w->hub))) {
        ngx_http_socketio_result_local(w, parts, 4);

    } else {
        ngx_http_socketio_result_append(w, ngx_http_socketio_result_owed(
                                               effect->rows.len),
                                        to, parts, 4);
    }
}


/*
 * Other hosts answer through the bridge, which says how many they are, and so
 * do servers of another kind.  While a queue is away it does not know, which is
 * as if a worker that has ended would have to answer; lists do not wait for the
 * queue, and answers to an emit have the time that they have.  While no worker
 * serves the queues, as for a moment after the start, nobody knows.
 */

static ngx_uint_t
ngx_http_socketio_result_hosts(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_due_t *due)
{
    ngx_uint_t          n, whole;
    ngx_sio_hub_addr_t  self, holder;

    if (cmd->local || w->bridge == NULL
        || !ngx_http_socketio_command_asks(cmd))
    {
        return 0;
    }

    self = ngx_sio_hub_self(w->hub);

    if (!ngx_http_socketio_bridge_serves(w)) {
        holder = ngx_sio_bridge_holder(ngx_sio_hub_bridge(w->hub));

        if (holder.generation && ngx_sio_hub_alive(w->hub, holder)) {
            return 0;
        }

        ngx_memzero(due, sizeof(ngx_http_socketio_due_t));
        due->slot = self.slot;
        due->n = 1;

        return 1;
    }

    n = ngx_http_socketio_bridge_hosts(w)
        + ngx_http_socketio_bridge_asks(w->bridge, cmd);

    whole = ngx_http_socketio_bridge_whole(w->bridge);

    ngx_memzero(due, 2 * sizeof(ngx_http_socketio_due_t));

    if (!whole) {
        due->slot = self.slot;
        due->n = 1;
        due++;
    }

    if (n == 0 || (!whole && cmd->token.len == 0)) {
        return !whole;
    }

    due->slot = self.slot;
    due->generation = self.generation;
    due->n = n;

    return !whole + 1;
}


static void
ngx_http_socketio_result_local(ngx_http_socketio_worker_t *w,
    ngx_str_t *parts, ngx_uint_t n)
{
    u_char      *p, buf[256];
    ngx_str_t    body;
    ngx_uint_t   i;

    body.len = 0;

    for (i = 0; i < n; i++) {
        body.len += parts[i].len;
    }

    body.data = buf;

    if (body.len > sizeof(buf)) {
        body.data = ngx_pnalloc(w->pool, body.len);

        if (body.data == NULL) {
            /* whoever waits has a time limit */
            return;
        }
    }

    p = body.data;

    for (i = 0; i < n; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }

    ngx_http_socketio_deliver(w, NGX_HTTP_SOCKETIO_RESULT,
                              ngx_sio_hub_self(w->hub), &body);
}


static void
ngx_http_socketio_result_append(ngx_http_socketio_worker_t *w,
    ngx_uint_t flags, ngx_sio_hub_addr_t to, ngx_str_t *parts, ngx_uint_t n)
{
    if (ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_RESULT, flags, to, parts,
                           n, NULL)
        == NGX_BUSY)
    {
        ngx_http_socketio_full(w, "an answer");
    }
}


/* Sessions that were saved before this place in the log, and come behind it. */

static ngx_uint_t
ngx_http_socketio_result_due(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_due_t *due)
{
    ngx_uint_t                      i, n;
    ngx_queue_t                    *q;
    ngx_http_socketio_departure_t  *d;

    n = 0;

    for (q = ngx_queue_head(&w->departures);
         q != ngx_queue_sentinel(&w->departures);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_http_socketio_departure_t, queue);

        for (i = 0; i < n; i++) {
            if (due[i].slot == d->to.slot
                && due[i].generation == d->to.generation)
            {
                break;
            }
        }

        if (i == NGX_SIO_HUB_SLOTS) {
            /* some of them are dead, and the same slots have new owners */
            break;
        }

        if (i == n) {
            ngx_memzero(&due[n], sizeof(ngx_http_socketio_due_t));
            due[n].slot = d->to.slot;
            due[n].generation = d->to.generation;
            n++;
        }

        due[i].n++;
    }

    return n;
}


/*
 * Without memory the result is missed by whoever waits, and makes the answer
 * incomplete.
 */

void
ngx_http_socketio_result_collect(ngx_queue_t *queue,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect)
{
    u_char                       *p;
    size_t                        len;
    ngx_http_socketio_result_t    result;
    ngx_http_socketio_further_t  *f;

    len = sizeof(ngx_sio_waiter_t) + sizeof(ngx_http_socketio_result_t)
          + effect->rows.len;

    f = ngx_alloc(sizeof(ngx_http_socketio_further_t) + len, ngx_cycle->log);
    if (f == NULL) {
        return;
    }

    ngx_memzero(&result, sizeof(ngx_http_socketio_result_t));

    result.tag = cmd->tag;
    result.flags = effect->flags | NGX_HTTP_SOCKETIO_RESULT_FURTHER;
    result.matched = effect->matched;
    result.done = effect->done;

    f->to = ngx_sio_hub_addr(cmd->count.slot, cmd->count.generation);
    f->flags = ngx_http_socketio_result_owed(effect->rows.len);
    f->body.len = len;
    f->body.data = (u_char *) (f + 1);

    p = ngx_sio_pack(f->body.data, &cmd->count, sizeof(ngx_sio_waiter_t));
    p = ngx_sio_pack(p, &result, sizeof(ngx_http_socketio_result_t));

    if (effect->rows.len) {
        ngx_memcpy(p, effect->rows.data, effect->rows.len);
    }

    ngx_queue_insert_tail(queue, &f->queue);
}


void
ngx_http_socketio_result_flush(ngx_http_socketio_worker_t *w,
    ngx_queue_t *queue)
{
    ngx_queue_t                  *q;
    ngx_http_socketio_further_t  *f;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        f = ngx_queue_data(q, ngx_http_socketio_further_t, queue);

        ngx_http_socketio_result_append(w, f->flags, f->to, &f->body, 1);

        ngx_free(f);
    }
}


ngx_int_t
ngx_http_socketio_result_decode(ngx_str_t *body,
    ngx_http_socketio_result_t *result, u_char **due, ngx_str_t *rows)
{
    u_char  *pos, *end;

    pos = body->data;
    end = body->data + body->len;

    if (ngx_sio_unpack(&pos, end, result, sizeof(ngx_http_socketio_result_t))
        != NGX_OK
        || result->ndue
           > (size_t) (end - pos) / sizeof(ngx_http_socketio_due_t))
    {
        return NGX_DECLINED;
    }

    *due = pos;
    pos += result->ndue * sizeof(ngx_http_socketio_due_t);

    rows->data = pos;
    rows->len = end - pos;

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_result_depart(ngx_http_socketio_worker_t *w,
    ngx_sio_hub_addr_t to)
{
    ngx_http_socketio_departure_t  *d;

    d = ngx_alloc(sizeof(ngx_http_socketio_departure_t), ngx_cycle->log);
    if (d == NULL) {
        return NGX_ERROR;
    }

    d->to = to;

    ngx_queue_insert_tail(&w->departures, &d->queue);

    return NGX_OK;
}


/* Entries of one worker come back in the order in which it has sent them. */

void
ngx_http_socketio_result_departed(ngx_http_socketio_worker_t *w)
{
    ngx_queue_t  *q;

    if (ngx_queue_empty(&w->departures)) {
        return;
    }

    q = ngx_queue_head(&w->departures);
    ngx_queue_remove(q);
    ngx_free(ngx_queue_data(q, ngx_http_socketio_departure_t, queue));
}


void
ngx_http_socketio_result_stay(ngx_http_socketio_worker_t *w)
{
    ngx_queue_t  *q;

    q = ngx_queue_last(&w->departures);
    ngx_queue_remove(q);
    ngx_free(ngx_queue_data(q, ngx_http_socketio_departure_t, queue));
}


void
ngx_http_socketio_result_reset(ngx_http_socketio_worker_t *w)
{
    while (!ngx_queue_empty(&w->departures)) {
        ngx_http_socketio_result_departed(w);
    }
}


void
ngx_http_socketio_result_token(u_char *token, ngx_http_socketio_command_t *cmd)
{
    *token++ = 0xff;

    token = ngx_sio_pack(token, &cmd->count, sizeof(ngx_sio_waiter_t));
    ngx_sio_pack_u32(token, cmd->tag);
}


void
ngx_http_socketio_result_acked(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_http_socketio_acked_t  acked;

    if (ngx_sio_ack_expired(ack)) {
        return;
    }

    ngx_memzero(&acked, sizeof(ngx_http_socketio_acked_t));

    acked.what = NGX_HTTP_SOCKETIO_ACK_ANSWERED;
    acked.args = *args;
    acked.attachments = attachments;
    acked.nattachments = n;

    if (ngx_http_socketio_result_tell(so, ack, &acked) == NGX_OK) {
        return;
    }

    acked.what = NGX_HTTP_SOCKETIO_ACK_LOST;
    acked.args.len = 0;
    acked.nattachments = 0;

    (void) ngx_http_socketio_result_tell(so, ack, &acked);
}


void
ngx_http_socketio_result_gone(ngx_sio_socket_t *so)
{
    ngx_http_socketio_acked_t  acked;

    ngx_memzero(&acked, sizeof(ngx_http_socketio_acked_t));

    acked.what = NGX_HTTP_SOCKETIO_ACK_GONE;

    ngx_http_socketio_result_tell_all(so, &acked);
}


void
ngx_http_socketio_result_moved(ngx_sio_socket_t *so, ngx_sio_hub_addr_t to)
{
    ngx_http_socketio_acked_t  acked;

    ngx_memzero(&acked, sizeof(ngx_http_socketio_acked_t));

    acked.what = NGX_HTTP_SOCKETIO_ACK_MOVED;
    acked.to = to;

    ngx_http_socketio_result_tell_all(so, &acked);
}


/* Everybody who still waits for this socket. */

static void
ngx_http_socketio_result_tell_all(ngx_sio_socket_t *so,
    ngx_http_socketio_acked_t *acked)
{
    ngx_queue_t    *q;
    ngx_sio_ack_t  *ack;

    for (q = ngx_queue_head(&so->acks);
         q != ngx_queue_sentinel(&so->acks);
         q = ngx_queue_next(q))
    {
        ack = ngx_queue_data(q, ngx_sio_ack_t, queue);

        if (ngx_http_socketio_result_is_token(&ack->token)
            && !ngx_sio_ack_expired(ack))
        {
            (void) ngx_http_socketio_result_tell(so, ack, acked);
        }
    }
}


/*
 * Through the log in any case: a request must not be answered from inside the
 * packet of another client.  Returns what ngx_sio_hub_append() does.
 */

static ngx_int_t
ngx_http_socketio_result_tell(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
    ngx_http_socketio_acked_t *acked)
{
    u_char                      *p, *head;
    size_t                       len;
    uint32_t                     tag;
    ngx_int_t                    rc;
    ngx_str_t                    body;
    ngx_uint_t                   i, flags;
    ngx_sio_waiter_t             waiter;
    ngx_http_socketio_worker_t  *w;

    w = ngx_http_socketio_session_worker(so->session);

    p = ack->token.data + 1;
    (void) ngx_sio_unpack(&p, p + sizeof(ngx_sio_waiter_t), &waiter,
                          sizeof(ngx_sio_waiter_t));
    (void) ngx_sio_unpack_u32(&p, p + sizeof(uint32_t), &tag);

    len = sizeof(ngx_sio_waiter_t) + NGX_HTTP_SOCKETIO_RESULT_ACKED
          + acked->args.len;

    for (i = 0; i < acked->nattachments; i++) {
        len += ngx_sio_pack_str_length(&acked->attachments[i]);
    }

    if (len > ngx_sio_hub_max_entry(w->zone->size)) {
        ngx_log_error(NGX_LOG_INFO, &so->session->engine->log, 0,
                      "client sent an acknowledgement of %uz octets, too "
                      "large for zone \"%V\"", len, &w->zone->name);
        return NGX_DECLINED;
    }

    head = ngx_alloc(len, ngx_cycle->log);
    if (head == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sio_pack(head, &waiter, sizeof(ngx_sio_waiter_t));
    p = ngx_sio_pack_u32(p, tag);
    p = ngx_sio_pack_u32(p, acked->what);
    p = ngx_sio_pack_u32(p, acked->to.slot);
    p = ngx_sio_pack_u32(p, acked->to.generation);
    p = ngx_sio_pack(p, so->sid, NGX_SIO_SOCKET_SID_LEN);
    p = ngx_sio_pack_u32(p, acked->args.len);

    if (acked->args.len) {
        p = ngx_sio_pack(p, acked->args.data, acked->args.len);
    }

    p = ngx_sio_pack_u32(p, acked->nattachments);

    for (i = 0; i < acked->nattachments; i++) {
        p = ngx_sio_pack_str(p, &acked->attachments[i]);
    }

    body.data = head;
    body.len = p - head;

    flags = (acked->what == NGX_HTTP_SOCKETIO_ACK_ANSWERED)
            ? 0 : NGX_SIO_HUB_OWED;

    rc = ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_ACKED, flags,
                            ngx_sio_hub_addr(waiter.slot, waiter.generation),
                            &body, 1, NULL);
    ngx_free(head);

    if (rc == NGX_BUSY) {
        ngx_http_socketio_full(w, "an acknowledgement");
    }

    return rc;
}


ngx_int_t
ngx_http_socketio_result_acked_decode(ngx_str_t *body,
    ngx_http_socketio_acked_t *acked, ngx_pool_t *pool)
{
    u_char      *pos, *end;
    uint32_t     slot, generation, n;
    ngx_uint_t   i;

    ngx_memzero(acked, sizeof(ngx_http_socketio_acked_t));

    pos = body->data;
    end = body->data + body->len;

    if (ngx_sio_unpack_u32(&pos, end, &acked->tag) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &acked->what) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &slot) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &generation) != NGX_OK
        || end - pos < NGX_SIO_SOCKET_SID_LEN)
    {
        return NGX_DECLINED;
    }

    acked->to = ngx_sio_hub_addr(slot, generation);

    acked->sid = pos;
    pos += NGX_SIO_SOCKET_SID_LEN;

    if (ngx_sio_unpack_str(&pos, end, &acked->args) != NGX_OK
        || ngx_sio_unpack_u32(&pos, end, &n) != NGX_OK
        || n > (size_t) (end - pos) / sizeof(uint32_t))
    {
        return NGX_DECLINED;
    }

    if (n == 0) {
        return NGX_OK;
    }

    acked->nattachments = n;
    acked->attachments = ngx_palloc(pool, n * sizeof(ngx_str_t));

    if (acked->attachments == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_sio_unpack_str(&pos, end, &acked->attachments[i]) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}
