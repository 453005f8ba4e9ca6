#include "ngx_http_socketio_remote_private.h"
#include "ngx_http_socketio_cluster.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_pack.h"


/* how long other hosts' requests may wait here, msec */
#define NGX_HTTP_SOCKETIO_REMOTE_POLL      120000
#define NGX_HTTP_SOCKETIO_REMOTE_COMMAND   10000

/* how long they may wait for acknowledgements at most, msec */
#define NGX_HTTP_SOCKETIO_REMOTE_EXPIRES   600000

/* other hosts' commands, and their requests, that may wait at once */
#define NGX_HTTP_SOCKETIO_REMOTE_COMMANDS  16384
#define NGX_HTTP_SOCKETIO_REMOTE_REQUESTS  131072

/* what is kept to be said again: msec while the queues are up, octets */
#define NGX_HTTP_SOCKETIO_REMOTE_KEEP      15000
#define NGX_HTTP_SOCKETIO_REMOTE_KEPT      (16 * 1024 * 1024)


/*
 * Waits in place of a request of another host.  When it is answered the answer
 * stays for a while: it may be lost with a connection, and asked for again.
 */

typedef struct {
    ngx_queue_t                   queue;       /* of its bucket */
    ngx_queue_t                   done;        /* in the order of answers */
    u_char                       *answer;      /* NULL: not answered */
    size_t                        len;
    ngx_msec_t                    at;          /* by remote->clock */
    ngx_http_socketio_parked_t   *parked;      /* NULL: answered */
    ngx_http_socketio_remote_t   *remote;
    u_char                        host[NGX_SIO_BRIDGE_ID];
    ngx_sio_waiter_t              waiter;      /* its name there */
    ngx_uint_t                    kind;        /* POLL, POST, COMMAND ... */
    uint32_t                      revision;
    u_char                        sid[NGX_SIO_SID_LEN];
    ngx_msec_t                    until;
} ngx_http_socketio_proxy_t;


/* what ANSWER begins with */

typedef struct {
    uint32_t                      kind;        /* ngx_http_socketio_entry_e */
    uint32_t                      unused;
    ngx_sio_waiter_t              waiter;
} ngx_http_socketio_remote_answer_t;


static ngx_http_socketio_proxy_t *ngx_http_socketio_remote_new(
    ngx_http_socketio_remote_t *remote, u_char *host,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_msec_t time);
static ngx_http_socketio_proxy_t *ngx_http_socketio_remote_find(
    ngx_http_socketio_remote_t *remote, u_char *host,
    ngx_sio_waiter_t *waiter);
static void ngx_http_socketio_remote_keep(ngx_http_socketio_proxy_t *proxy,
    ngx_str_t *body);
static void ngx_http_socketio_remote_expire(
    ngx_http_socketio_remote_t *remote);
static void ngx_http_socketio_remote_free(ngx_http_socketio_proxy_t *proxy);
static void ngx_http_socketio_remote_leave(ngx_http_socketio_proxy_t *proxy);
static void ngx_http_socketio_remote_abort(ngx_http_socketio_proxy_t *proxy);
static void ngx_http_socketio_remote_release(ngx_http_socketio_proxy_t *proxy);
static void ngx_http_socketio_remote_tell(ngx_http_socketio_proxy_t *proxy,
    ngx_uint_t kind);
static void ngx_http_socketio_remote_answered(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static ngx_int_t ngx_http_socketio_remote_reply(
    ngx_http_socketio_bridge_t *b, u_char *host, ngx_sio_waiter_t *waiter,
    ngx_uint_t kind, ngx_str_t *body);
static ngx_uint_t ngx_http_socketio_remote_heard(
    ngx_http_socketio_bridge_t *b, u_char *host, ngx_uint_t number);
static void ngx_http_socketio_remote_announce(ngx_http_socketio_bridge_t *b,
    u_char *host, ngx_sio_waiter_t *waiter, uint32_t tag, ngx_uint_t n);


ngx_http_socketio_remote_t *
ngx_http_socketio_remote_create(ngx_http_socketio_bridge_t *b)
{
    ngx_uint_t                   i;
    ngx_http_socketio_remote_t  *remote;

    remote = ngx_calloc(sizeof(ngx_http_socketio_remote_t), ngx_cycle->log);
    if (remote == NULL) {
        return NULL;
    }

    remote->bridge = b;
    remote->ticked = ngx_current_msec;

    ngx_queue_init(&remote->done);
    ngx_http_socketio_errand_init(&remote->errands);

    for (i = 0; i < NGX_HTTP_SOCKETIO_ERRAND_BUCKETS; i++) {
        ngx_queue_init(&remote->buckets[i]);
    }

    return remote;
}


void
ngx_http_socketio_remote_destroy(ngx_http_socketio_remote_t *remote)
{
    ngx_http_socketio_remote_clear(remote);
    ngx_free(remote);
}


/*
 * Polls are answered with nothing, so that their clients come again, and find
 * the next bridge.
 */

void
ngx_http_socketio_remote_clear(ngx_http_socketio_remote_t *remote)
{
    ngx_uint_t                  i;
    ngx_queue_t                *bucket;
    ngx_http_socketio_proxy_t  *proxy;

    for (i = 0; i < NGX_HTTP_SOCKETIO_ERRAND_BUCKETS; i++) {
        bucket = &remote->buckets[i];

        while (!ngx_queue_empty(bucket)) {
            proxy = ngx_queue_data(ngx_queue_head(bucket),
                                   ngx_http_socketio_proxy_t, queue);

            if (proxy->parked == NULL) {
                ngx_http_socketio_remote_free(proxy);

            } else if (proxy->kind == NGX_HTTP_SOCKETIO_POLL) {
                ngx_http_socketio_remote_release(proxy);

            } else {
                ngx_http_socketio_remote_abort(proxy);
            }
        }
    }

    ngx_http_socketio_errand_clear(&remote->errands);
}


ngx_uint_t
ngx_http_socketio_remote_busy(ngx_http_socketio_remote_t *remote)
{
    return remote->posts + remote->polls;
}


/*
 * By who is about to leave: the owners answer, so that none of their answers
 * comes when nobody is here for it.
 */

void
ngx_http_socketio_remote_recall(ngx_http_socketio_remote_t *remote)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q, *bucket;
    ngx_http_socketio_proxy_t  *proxy;

    for (i = 0; i < NGX_HTTP_SOCKETIO_ERRAND_BUCKETS; i++) {
        bucket = &remote->buckets[i];

        for (q = ngx_queue_head(bucket);
             q != ngx_queue_sentinel(bucket);
             q = ngx_queue_next(q))
        {
            proxy = ngx_queue_data(q, ngx_http_socketio_proxy_t, queue);

            if (proxy->parked && proxy->kind == NGX_HTTP_SOCKETIO_POLL) {
                ngx_http_socketio_remote_tell(proxy, NGX_HTTP_SOCKETIO_RECALL);
            }
        }
    }
}


/* A part of the table at a time. */

void
ngx_http_socketio_remote_tick(ngx_http_socketio_remote_t *remote)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q, *next, *bucket;
    ngx_sio_bridge_peer_t      *peer;
    ngx_http_socketio_proxy_t  *proxy;

    ngx_http_socketio_remote_expire(remote);

    for (i = 0; i < NGX_HTTP_SOCKETIO_ERRAND_BUCKETS / 4; i++) {

        bucket = &remote->buckets[remote->swept];
        remote->swept = (remote->swept + 1) % NGX_HTTP_SOCKETIO_ERRAND_BUCKETS;

        for (q = ngx_queue_head(bucket);
             q != ngx_queue_sentinel(bucket);
             q = next)
        {
            next = ngx_queue_next(q);
            proxy = ngx_queue_data(q, ngx_http_socketio_proxy_t, queue);

            if (proxy->parked == NULL) {
                continue;
            }

            peer = ngx_sio_bridge_find(remote->bridge->kept, proxy->host);

            if (peer == NULL
                || (time_t) peer->heard + NGX_HTTP_SOCKETIO_SILENT < ngx_time()
                || (ngx_msec_int_t) (proxy->until - ngx_current_msec) <= 0)
            {
                ngx_http_socketio_remote_abort(proxy);
            }
        }
    }
}


/* Here: requests for sessions of others. */

void
ngx_http_socketio_remote_entry(ngx_http_socketio_bridge_t *b, ngx_str_t *body)
{
    ngx_str_t                         part;
    ngx_sio_hub_addr_t                holder;
    ngx_http_socketio_line_t         *line;
    ngx_http_socketio_remote_head_t   head;

    if (body->len < NGX_SIO_BRIDGE_ID + sizeof(head)) {
        return;
    }

    holder = ngx_sio_bridge_holder(b->kept);

    if (!ngx_sio_hub_addr_equal(holder, ngx_sio_hub_self(b->worker->hub))
        && holder.generation && ngx_sio_hub_alive(b->worker->hub, holder)
        && ngx_sio_hub_append(b->worker->hub, NGX_HTTP_SOCKETIO_REMOTE,
                              NGX_SIO_HUB_OWED, holder, body, 1, NULL)
           == NGX_OK)
    {
        /* it was asked for while it was handed over */
        return;
    }

    part.data = body->data + NGX_SIO_BRIDGE_ID;
    part.len = body->len - NGX_SIO_BRIDGE_ID;

    ngx_memcpy(&head, part.data, sizeof(head));

    /* a POST makes up for its beginning, and the end of a request for both */

    ngx_http_socketio_errand_done(&b->remote->errands, body->data,
                                  &head.routed.waiter);

    line = ngx_http_socketio_bridge_line(b, body->data);

    if (line != NULL
        && ngx_http_socketio_cluster_send(line, body->data,
                                          NGX_HTTP_SOCKETIO_CLUSTER_REQUEST,
                                          &part, 1)
           == NGX_OK)
    {
        if (head.kind != NGX_HTTP_SOCKETIO_ABORT) {
            ngx_http_socketio_errand_insert(&b->remote->errands, body->data,
                                            &head.routed.waiter, &part,
                                            NGX_HTTP_SOCKETIO_REMOTE_POLL);
        }

        return;
    }

    if (head.kind == NGX_HTTP_SOCKETIO_ABORT) {
        return;
    }

    if (line != NULL && head.kind == NGX_HTTP_SOCKETIO_POST) {

        /* the owner may have heard of its beginning */

        head.kind = NGX_HTTP_SOCKETIO_ABORT;
        part.data = (u_char *) &head;
        part.len = sizeof(head);

        (void) ngx_http_socketio_cluster_send(line, body->data,
                                             NGX_HTTP_SOCKETIO_CLUSTER_REQUEST,
                                             &part, 1);
    }

    ngx_http_socketio_answer_to(b->worker, &head.routed.waiter,
                                NGX_SIO_ANSWER_BUSY, NULL);
}


void
ngx_http_socketio_remote_answer(ngx_http_socketio_line_t *line, u_char *from,
    ngx_str_t *body)
{
    u_char                              *pos, *end;
    ngx_str_t                            rest;
    ngx_http_socketio_bridge_t          *b;
    ngx_http_socketio_remote_answer_t    head;

    b = line->bridge;
    pos = body->data;
    end = pos + body->len;

    if (ngx_sio_unpack(&pos, end, &head, sizeof(head)) != NGX_OK) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "short answer of a host");
        return;
    }

    rest.data = pos;
    rest.len = end - pos;

    if (head.kind != NGX_HTTP_SOCKETIO_ANSWER) {
        ngx_http_socketio_remote_result(b, &head.waiter, head.kind, &rest);
        return;
    }

    if (rest.len == 0 || rest.data[0] >= NGX_SIO_ANSWERS) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "unknown answer of a host");
        return;
    }

    ngx_http_socketio_errand_done(&b->remote->errands, from, &head.waiter);

    rest.data++;
    rest.len--;

    ngx_http_socketio_answer_to(b->worker, &head.waiter, rest.data[-1],
                                rest.len ? &rest : NULL);
}


/*
 * All that is due from workers of other hosts is due from this one, which
 * passes it on.
 */

void
ngx_http_socketio_remote_result(ngx_http_socketio_bridge_t *b,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    u_char                      *due;
    ngx_str_t                    rows, parts[2];
    ngx_uint_t                   i;
    ngx_sio_hub_addr_t           self, to;
    ngx_http_socketio_due_t      d;
    ngx_http_socketio_result_t   result;

    self = ngx_sio_hub_self(b->worker->hub);
    to = ngx_sio_hub_addr(waiter->slot, waiter->generation);

    if (kind == NGX_HTTP_SOCKETIO_RESULT) {

        if (ngx_http_socketio_result_decode(body, &result, &due, &rows)
            != NGX_OK)
        {
            return;
        }

        for (i = 0; i < result.ndue; i++) {
            ngx_memcpy(&d, due, sizeof(d));
            d.slot = self.slot;
            d.generation = self.generation;
            due = ngx_cpymem(due, &d, sizeof(d));
        }

    } else if (kind != NGX_HTTP_SOCKETIO_ACKED) {
        return;
    }

    if (to.slot >= NGX_SIO_HUB_SLOTS) {
        return;
    }

    parts[0].data = (u_char *) waiter;
    parts[0].len = sizeof(ngx_sio_waiter_t);
    parts[1] = *body;

    if (ngx_sio_hub_append(b->worker->hub, kind, 0, to, parts, 2, NULL)
        == NGX_BUSY)
    {
        ngx_http_socketio_full(b->worker, "an answer of another host");
    }
}


void
ngx_http_socketio_remote_repeat(ngx_http_socketio_line_t *line, u_char *host)
{
    ngx_http_socketio_errand_t   *errand;
    ngx_http_socketio_errands_t  *errands;

    errands = &line->bridge->remote->errands;
    errand = NULL;

    while ((errand = ngx_http_socketio_errand_next(errands, host, errand))
           != NULL)
    {
        (void) ngx_http_socketio_cluster_send(line, host,
                                             NGX_HTTP_SOCKETIO_CLUSTER_REQUEST,
                                             &errand->body, 1);
    }
}


/* Here: requests of others. */

void
ngx_http_socketio_remote_request(ngx_http_socketio_line_t *line, u_char *from,
    ngx_str_t *body)
{
    u_char                           *pos, *end, answer;
    ngx_str_t                         rest, sid, text;
    ngx_http_socketio_bridge_t       *b;
    ngx_http_socketio_proxy_t        *proxy;
    ngx_http_socketio_remote_head_t   head;

    b = line->bridge;
    pos = body->data;
    end = pos + body->len;

    if (ngx_sio_unpack(&pos, end, &head, sizeof(head)) != NGX_OK
        || head.kind < NGX_HTTP_SOCKETIO_POLL
        || head.kind > NGX_HTTP_SOCKETIO_ABORT)
    {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "unknown request of a host");
        return;
    }

    rest.data = pos;
    rest.len = end - pos;

    proxy = ngx_http_socketio_remote_find(b->remote, from,
                                          &head.routed.waiter);

    if (head.kind == NGX_HTTP_SOCKETIO_ABORT) {

        if (proxy != NULL && proxy->parked != NULL) {
            ngx_http_socketio_remote_abort(proxy);
        }

        return;
    }

    if (proxy != NULL && proxy->parked != NULL
        && proxy->kind == NGX_HTTP_SOCKETIO_POST_BEGIN
        && head.kind != NGX_HTTP_SOCKETIO_POST_BEGIN)
    {
        /* the body has come since, or turned out to be too large */

        proxy->kind = head.kind;
        goto route;
    }

    if (proxy != NULL) {

        /* it is said again: something got lost, or might have */

        if (proxy->parked == NULL) {
            text.data = proxy->answer;
            text.len = proxy->len;

            (void) ngx_http_socketio_remote_reply(b, from, &proxy->waiter,
                                                  NGX_HTTP_SOCKETIO_ANSWER,
                                                  &text);
        }

        return;
    }

    if (b->remote->polls + b->remote->posts
        < NGX_HTTP_SOCKETIO_REMOTE_REQUESTS)
    {
        proxy = ngx_http_socketio_remote_new(b->remote, from,
                                             &head.routed.waiter, head.kind,
                                             NGX_HTTP_SOCKETIO_REMOTE_POLL);
    }

    if (proxy == NULL) {
        answer = NGX_SIO_ANSWER_BUSY;
        text.data = &answer;
        text.len = 1;

        (void) ngx_http_socketio_remote_reply(b, from, &head.routed.waiter,
                                              NGX_HTTP_SOCKETIO_ANSWER, &text);
        return;
    }

    ngx_memcpy(proxy->sid, head.routed.sid, NGX_SIO_SID_LEN);
    proxy->revision = head.routed.revision;

route:

    sid.data = proxy->sid;
    sid.len = NGX_SIO_SID_LEN;

    ngx_http_socketio_route(b->worker, head.kind, &sid,
                            &proxy->parked->waiter, head.routed.revision,
                            head.routed.octets,
                            head.kind == NGX_HTTP_SOCKETIO_POST ? &rest
                                                                : NULL);
}


/* What a proxy waited for has come. */

static void
ngx_http_socketio_remote_answered(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    u_char                      *due;
    ngx_str_t                    rows;
    ngx_http_socketio_proxy_t   *proxy;
    ngx_http_socketio_result_t   result;
    ngx_http_socketio_members_t  members;

    (void) from;

    proxy = p->data;

    if (kind == NGX_HTTP_SOCKETIO_MEMBERS) {
        ngx_memcpy(&members, body->data, sizeof(members));
        ngx_http_socketio_remote_announce(proxy->remote->bridge, proxy->host,
                                          &proxy->waiter, members.tag,
                                   ngx_sio_hub_members_count(&members.members));
        return;
    }

    if (kind == NGX_HTTP_SOCKETIO_RESULT) {

        if (ngx_http_socketio_result_decode(body, &result, &due, &rows)
            != NGX_OK)
        {
            return;
        }

        result.flags |= NGX_HTTP_SOCKETIO_RESULT_FURTHER;
        ngx_memcpy(body->data, &result, sizeof(result));

    } else if (kind != NGX_HTTP_SOCKETIO_ANSWER
               && kind != NGX_HTTP_SOCKETIO_ACKED)
    {
        /* a worker has died; whoever waits has a time limit */
        return;
    }

    (void) ngx_http_socketio_remote_reply(proxy->remote->bridge, proxy->host,
                                          &proxy->waiter, kind, body);

    if (kind == NGX_HTTP_SOCKETIO_ANSWER) {
        ngx_http_socketio_remote_keep(proxy, body);
    }
}


static ngx_int_t
ngx_http_socketio_remote_reply(ngx_http_socketio_bridge_t *b, u_char *host,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    ngx_str_t                           parts[2];
    ngx_http_socketio_line_t           *line;
    ngx_http_socketio_remote_answer_t   head;

    line = ngx_http_socketio_bridge_line(b, host);

    if (line == NULL) {
        return NGX_DECLINED;
    }

    ngx_memzero(&head, sizeof(head));
    head.kind = kind;
    head.waiter = *waiter;

    parts[0].data = (u_char *) &head;
    parts[0].len = sizeof(head);
    parts[1] = *body;

    return ngx_http_socketio_cluster_send(line, host,
                                          NGX_HTTP_SOCKETIO_CLUSTER_ANSWER,
                                          parts, 2);
}


/*
 * A command of another host: into the log, for all workers.  With a waiter it
 * is answered by each of them through a proxy, and before that by how many
 * they are.
 */

ngx_int_t
ngx_http_socketio_remote_command(ngx_http_socketio_line_t *line, u_char *from,
    ngx_str_t *body)
{
    ngx_int_t                     rc;
    ngx_msec_t                    wait;
    ngx_sio_waiter_t              waiter;
    ngx_sio_hub_members_t         members;
    ngx_http_socketio_proxy_t    *proxy;
    ngx_http_socketio_bridge_t   *b;
    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_command_t   cmd;
    u_char                        token[NGX_HTTP_SOCKETIO_RESULT_TOKEN];

    b = line->bridge;
    w = b->worker;

    ngx_reset_pool(w->pool);

    rc = ngx_http_socketio_command_decode(body, &cmd, w->pool);

    if (rc != NGX_OK) {
        return rc;
    }

    if (cmd.from && ngx_http_socketio_remote_heard(b, from, cmd.from)) {
        return NGX_OK;
    }

    cmd.local = 1;
    cmd.elsewhere = 0;

    if (!ngx_http_socketio_command_asks(&cmd)) {
        ngx_memzero(&cmd.count, sizeof(ngx_sio_waiter_t));

        return ngx_http_socketio_command_send(w, &cmd, NULL);
    }

    waiter = cmd.count;

    wait = NGX_HTTP_SOCKETIO_REMOTE_COMMAND;

    if (cmd.expires) {
        /* between hosts it is a time from now */
        wait = ngx_min(cmd.expires, NGX_HTTP_SOCKETIO_REMOTE_EXPIRES);
        cmd.expires = ngx_current_msec + wait;
    }

    proxy = NULL;

    if (b->remote->commands < NGX_HTTP_SOCKETIO_REMOTE_COMMANDS) {
        proxy = ngx_http_socketio_remote_new(b->remote, from, &waiter,
                                             NGX_HTTP_SOCKETIO_COMMAND, wait);
    }

    if (proxy == NULL) {

        /*
         * It is carried out, but not answered, so that whoever asked hears
         * that something is missing: all that this host says comes behind it.
         */

        ngx_memzero(&cmd.count, sizeof(ngx_sio_waiter_t));

        if (ngx_http_socketio_result_is_token(&cmd.token)) {
            ngx_str_null(&cmd.token);
            cmd.expires = 0;
        }

        return ngx_http_socketio_command_send(w, &cmd, NULL);
    }

    proxy->parked->owner = ngx_sio_hub_addr_all();
    cmd.count = proxy->parked->waiter;

    if (cmd.token.len && ngx_http_socketio_result_is_token(&cmd.token)) {
        ngx_http_socketio_result_token(token, &cmd);
        cmd.token.data = token;
    }

    rc = ngx_http_socketio_command_send(w, &cmd, &members);

    if (rc == NGX_AGAIN) {
        /* it waits for room, and the members will be told */
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        ngx_http_socketio_remote_free(proxy);
        return rc;
    }

    ngx_http_socketio_remote_announce(b, from, &waiter, cmd.tag,
                                      ngx_sio_hub_members_count(&members));
    return NGX_OK;
}


/*
 * Whether what came to another host by this line of its own has come here, too,
 * by the same one.
 */

static ngx_uint_t
ngx_http_socketio_remote_heard(ngx_http_socketio_bridge_t *b, u_char *host,
    ngx_uint_t number)
{
    ngx_uint_t              i;
    ngx_sio_bridge_peer_t  *peer;

    peer = ngx_sio_bridge_find(b->kept, host);

    if (peer == NULL) {
        return 0;
    }

    for (i = 0; i < b->nlines; i++) {

        if (b->lines[i].up
            && *ngx_sio_bridge_shared(b->kept, peer, b->lines[i].kept)
               == number)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_socketio_remote_announce(ngx_http_socketio_bridge_t *b, u_char *host,
    ngx_sio_waiter_t *waiter, uint32_t tag, ngx_uint_t n)
{
    u_char                       buf[sizeof(ngx_http_socketio_result_t)
                                     + sizeof(ngx_http_socketio_due_t)];
    ngx_str_t                    body;
    ngx_http_socketio_due_t      due;
    ngx_http_socketio_result_t   result;

    ngx_memzero(&result, sizeof(result));
    result.tag = tag;
    result.flags = NGX_HTTP_SOCKETIO_RESULT_FURTHER;
    result.ndue = 1;

    ngx_memzero(&due, sizeof(due));
    due.n = n;

    ngx_sio_pack(ngx_sio_pack(buf, &result, sizeof(result)), &due,
                 sizeof(due));

    body.data = buf;
    body.len = sizeof(buf);

    (void) ngx_http_socketio_remote_reply(b, host, waiter,
                                          NGX_HTTP_SOCKETIO_RESULT, &body);
}


/* Proxies. */

static ngx_http_socketio_proxy_t *
ngx_http_socketio_remote_new(ngx_http_socketio_remote_t *remote, u_char *host,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_msec_t time)
{
    ngx_uint_t                  n;
    ngx_http_socketio_proxy_t  *proxy;

    proxy = ngx_calloc(sizeof(ngx_http_socketio_proxy_t), ngx_cycle->log);
    if (proxy == NULL) {
        return NULL;
    }

    proxy->parked = ngx_http_socketio_park(remote->bridge->worker, NULL,
                                           ngx_http_socketio_remote_answered,
                                           proxy);
    if (proxy->parked == NULL) {
        ngx_free(proxy);
        return NULL;
    }

    proxy->remote = remote;
    proxy->waiter = *waiter;
    proxy->kind = kind;
    proxy->until = ngx_current_msec + time;
    ngx_memcpy(proxy->host, host, NGX_SIO_BRIDGE_ID);

    n = ngx_http_socketio_errand_hash(host, waiter);
    ngx_queue_insert_tail(&remote->buckets[n], &proxy->queue);

    if (kind == NGX_HTTP_SOCKETIO_COMMAND) {
        remote->commands++;

    } else if (kind == NGX_HTTP_SOCKETIO_POLL) {
        remote->polls++;

    } else {
        remote->posts++;
    }

    return proxy;
}


static ngx_http_socketio_proxy_t *
ngx_http_socketio_remote_find(ngx_http_socketio_remote_t *remote, u_char *host,
    ngx_sio_waiter_t *waiter)
{
    ngx_queue_t                *q, *bucket;
    ngx_http_socketio_proxy_t  *proxy;

    bucket = &remote->buckets[ngx_http_socketio_errand_hash(host, waiter)];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        proxy = ngx_queue_data(q, ngx_http_socketio_proxy_t, queue);

        if (ngx_sio_waiter_equal(&proxy->waiter, waiter)
            && ngx_memcmp(proxy->host, host, NGX_SIO_BRIDGE_ID) == 0)
        {
            return proxy;
        }
    }

    return NULL;
}


/* Without memory it is not there to be said again. */

static void
ngx_http_socketio_remote_keep(ngx_http_socketio_proxy_t *proxy,
    ngx_str_t *body)
{
    ngx_http_socketio_remote_t  *remote;

    remote = proxy->remote;

    proxy->answer = ngx_alloc(body->len, ngx_cycle->log);

    if (proxy->answer == NULL) {
        ngx_http_socketio_remote_free(proxy);
        return;
    }

    ngx_memcpy(proxy->answer, body->data, body->len);
    proxy->len = body->len;
    proxy->at = remote->clock;

    ngx_http_socketio_remote_leave(proxy);

    ngx_queue_insert_tail(&remote->done, &proxy->done);
    remote->done_size += sizeof(ngx_http_socketio_proxy_t) + proxy->len;

    ngx_http_socketio_remote_expire(remote);
}


/*
 * What was said before a connection broke, which takes up to a PING's time to
 * be seen, may have to be said again, so the time that counts is that in which
 * all queues are up.
 */

static void
ngx_http_socketio_remote_expire(ngx_http_socketio_remote_t *remote)
{
    ngx_http_socketio_proxy_t  *proxy;

    if (ngx_http_socketio_bridge_whole(remote->bridge)) {
        remote->clock += ngx_current_msec - remote->ticked;
    }

    remote->ticked = ngx_current_msec;

    while (!ngx_queue_empty(&remote->done)) {
        proxy = ngx_queue_data(ngx_queue_head(&remote->done),
                               ngx_http_socketio_proxy_t, done);

        if (remote->clock - proxy->at < NGX_HTTP_SOCKETIO_REMOTE_KEEP
            && remote->done_size <= NGX_HTTP_SOCKETIO_REMOTE_KEPT)
        {
            break;
        }

        ngx_http_socketio_remote_free(proxy);
    }

    ngx_http_socketio_errand_expire(&remote->errands);
}


static void
ngx_http_socketio_remote_free(ngx_http_socketio_proxy_t *proxy)
{
    if (proxy->parked == NULL) {
        ngx_queue_remove(&proxy->done);
        proxy->remote->done_size -= sizeof(ngx_http_socketio_proxy_t)
                                    + proxy->len;
        ngx_free(proxy->answer);

    } else {
        ngx_http_socketio_remote_leave(proxy);
    }

    ngx_queue_remove(&proxy->queue);
    ngx_free(proxy);
}


/* It does not wait any more. */

static void
ngx_http_socketio_remote_leave(ngx_http_socketio_proxy_t *proxy)
{
    if (proxy->kind == NGX_HTTP_SOCKETIO_COMMAND) {
        proxy->remote->commands--;

    } else if (proxy->kind == NGX_HTTP_SOCKETIO_POLL) {
        proxy->remote->polls--;

    } else {
        proxy->remote->posts--;
    }

    ngx_http_socketio_unpark(proxy->parked);
    proxy->parked = NULL;
}


/* as if the request's client had left */

static void
ngx_http_socketio_remote_abort(ngx_http_socketio_proxy_t *proxy)
{
    if (proxy->kind != NGX_HTTP_SOCKETIO_COMMAND) {
        ngx_http_socketio_remote_tell(proxy, NGX_HTTP_SOCKETIO_ABORT);
    }

    ngx_http_socketio_remote_free(proxy);
}


/* The session loses its poll before the client comes again: it is told now. */

static void
ngx_http_socketio_remote_release(ngx_http_socketio_proxy_t *proxy)
{
    u_char     noop;
    ngx_str_t  body;

    noop = NGX_SIO_ANSWER_NOOP;

    body.data = &noop;
    body.len = 1;

    ngx_http_socketio_remote_tell(proxy, NGX_HTTP_SOCKETIO_RELEASE);

    (void) ngx_http_socketio_remote_reply(proxy->remote->bridge, proxy->host,
                                          &proxy->waiter,
                                          NGX_HTTP_SOCKETIO_ANSWER, &body);

    ngx_http_socketio_remote_free(proxy);
}


static void
ngx_http_socketio_remote_tell(ngx_http_socketio_proxy_t *proxy,
    ngx_uint_t kind)
{
    ngx_str_t  sid;

    sid.data = proxy->sid;
    sid.len = NGX_SIO_SID_LEN;

    ngx_http_socketio_route(proxy->remote->bridge->worker, kind, &sid,
                            &proxy->parked->waiter, proxy->revision, 0, NULL);
}
