#include "ngx_http_socketio_remote_private.h"
#include "ngx_http_socketio_cluster.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_pack.h"


/* how long requests to other hosts are kept to be said again, msec */
#define NGX_HTTP_SOCKETIO_REMOTE_POLL      120000

/* how long other hosts' commands may wait here, msec */
#define NGX_HTTP_SOCKETIO_REMOTE_COMMAND   10000

/* ... and for acknowledgements at most */
#define NGX_HTTP_SOCKETIO_REMOTE_EXPIRES   600000

/* other hosts' commands that may wait at once */
#define NGX_HTTP_SOCKETIO_REMOTE_COMMANDS  16384


/* Waits in place of whoever asked something with a command, at another host. */

typedef struct {
    ngx_queue_t                   queue;       /* of the others */
    ngx_http_socketio_parked_t   *parked;
    ngx_http_socketio_remote_t   *remote;
    u_char                        host[NGX_SIO_BRIDGE_ID];
    ngx_sio_waiter_t              waiter;      /* its name there */
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
    ngx_sio_waiter_t *waiter, ngx_msec_t time);
static void ngx_http_socketio_remote_free(ngx_http_socketio_proxy_t *proxy);
static void ngx_http_socketio_remote_answered(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static ngx_int_t ngx_http_socketio_remote_reply(
    ngx_http_socketio_bridge_t *b, u_char *host, ngx_sio_waiter_t *waiter,
    ngx_uint_t kind, ngx_str_t *body, ngx_uint_t n);
static ngx_uint_t ngx_http_socketio_remote_heard(
    ngx_http_socketio_bridge_t *b, u_char *host, ngx_uint_t number);
static void ngx_http_socketio_remote_announce(ngx_http_socketio_bridge_t *b,
    u_char *host, ngx_sio_waiter_t *waiter, uint32_t tag, ngx_uint_t n);


ngx_http_socketio_remote_t *
ngx_http_socketio_remote_create(ngx_http_socketio_bridge_t *b)
{
    ngx_http_socketio_remote_t  *remote;

    remote = ngx_calloc(sizeof(ngx_http_socketio_remote_t), ngx_cycle->log);
    if (remote == NULL) {
        return NULL;
    }

    remote->bridge = b;

    ngx_queue_init(&remote->proxies);
    ngx_http_socketio_errand_init(&remote->errands);
    ngx_http_socketio_guest_init(&remote->guests, b->worker);

    return remote;
}


void
ngx_http_socketio_remote_destroy(ngx_http_socketio_remote_t *remote)
{
    ngx_http_socketio_remote_clear(remote);
    ngx_http_socketio_guest_clear(&remote->guests);
    ngx_free(remote);
}


void
ngx_http_socketio_remote_clear(ngx_http_socketio_remote_t *remote)
{
    while (!ngx_queue_empty(&remote->proxies)) {
        ngx_http_socketio_remote_free(
                             ngx_queue_data(ngx_queue_head(&remote->proxies),
                                            ngx_http_socketio_proxy_t, queue));
    }

    ngx_http_socketio_errand_clear(&remote->errands);
}


void
ngx_http_socketio_remote_tick(ngx_http_socketio_remote_t *remote)
{
    ngx_queue_t                *q, *next;
    ngx_sio_bridge_peer_t      *peer;
    ngx_http_socketio_proxy_t  *proxy;

    ngx_http_socketio_errand_expire(&remote->errands);

    for (q = ngx_queue_head(&remote->proxies);
         q != ngx_queue_sentinel(&remote->proxies);
         q = next)
    {
        next = ngx_queue_next(q);
        proxy = ngx_queue_data(q, ngx_http_socketio_proxy_t, queue);

        peer = ngx_sio_bridge_find(remote->bridge->kept, proxy->host);

        if (peer == NULL
            || (time_t) peer->heard + NGX_HTTP_SOCKETIO_SILENT < ngx_time()
            || (ngx_msec_int_t) (proxy->until - ngx_current_msec) <= 0)
        {
            ngx_http_socketio_remote_free(proxy);
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
        ngx_reset_pool(b->worker->pool);
        ngx_http_socketio_remote_result(b, &head.waiter, head.kind, &rest);
        return;
    }

    if (rest.len == 0 || rest.data[0] >= NGX_SIO_ANSWERS) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "unknown answer of a host");
        return;
    }

    /* whoever waits for another host is a worker's of this one */

    head.waiter.host = 0;

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
    ngx_http_socketio_acked_t    acked;
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

    } else if (kind != NGX_HTTP_SOCKETIO_ACKED
               || ngx_http_socketio_result_acked_decode(body, &acked,
                                                        b->worker->pool)
                  != NGX_OK
               || !ngx_http_socketio_command_values(&acked.args))
    {
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
    u_char                           *pos, *end;
    ngx_str_t                         rest, sid;
    ngx_sio_waiter_t                 *waiter;
    ngx_http_socketio_bridge_t       *b;
    ngx_http_socketio_remote_head_t   head;

    b = line->bridge;
    pos = body->data;
    end = pos + body->len;
    waiter = &head.routed.waiter;

    if (ngx_sio_unpack(&pos, end, &head, sizeof(head)) != NGX_OK
        || head.kind < NGX_HTTP_SOCKETIO_POLL
        || head.kind > NGX_HTTP_SOCKETIO_ABORT
        || (head.kind != NGX_HTTP_SOCKETIO_ABORT
            && !ngx_sio_waiter_set(waiter)))
    {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "unknown request of a host");
        return;
    }

    ngx_memcpy(&waiter->host, from, sizeof(uint32_t));

    if (waiter->host == 0 || ngx_sio_bridge_find(b->kept, from) == NULL) {
        /* nobody could answer it */
        return;
    }

    rest.data = pos;
    rest.len = end - pos;

    sid.data = head.routed.sid;
    sid.len = NGX_SIO_SID_LEN;

    ngx_http_socketio_route(b->worker, head.kind, &sid, waiter,
                            head.routed.revision, head.routed.octets,
                            head.kind == NGX_HTTP_SOCKETIO_POST ? &rest
                                                                : NULL);
}


/*
 * The one who serves the queues may be another one by the time that it reads
 * this; it is the next one's then.
 */

ngx_int_t
ngx_http_socketio_remote_say(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    u_char                  octet;
    ngx_str_t               parts[3];
    ngx_uint_t              n;
    ngx_sio_bridge_t       *kept;
    ngx_sio_waiter_t        name;
    ngx_sio_hub_addr_t      holder;
    ngx_sio_bridge_peer_t  *peer;

    kept = ngx_sio_hub_bridge(w->hub);
    holder = ngx_sio_bridge_holder(kept);

    octet = (u_char) kind;
    name = *waiter;

    parts[0].data = (u_char *) &name;
    parts[0].len = sizeof(ngx_sio_waiter_t);
    parts[1].data = &octet;
    parts[1].len = 1;
    n = 2;

    if (body != NULL && body->len) {
        parts[n++] = *body;
    }

    if (!ngx_sio_hub_addr_equal(holder, ngx_sio_hub_self(w->hub))) {

        if (holder.generation == 0 || !ngx_sio_hub_alive(w->hub, holder)) {
            /* it will be asked for when somebody serves */
            return NGX_OK;
        }

        return ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_ANSWER,
                                  NGX_SIO_HUB_OWED, holder, parts, n, NULL);
    }

    peer = ngx_sio_bridge_find_tag(kept, (u_char *) &waiter->host,
                                   sizeof(uint32_t));

    if (peer != NULL && w->bridge != NULL) {
        name.host = 0;

        (void) ngx_http_socketio_remote_reply(w->bridge, peer->id, &name,
                                              NGX_HTTP_SOCKETIO_ANSWER,
                                              &parts[1], n - 1);
    }

    return NGX_OK;
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

    } else if (kind != NGX_HTTP_SOCKETIO_ACKED) {
        /* a worker has died; whoever waits has a time limit */
        return;
    }

    (void) ngx_http_socketio_remote_reply(proxy->remote->bridge, proxy->host,
                                          &proxy->waiter, kind, body, 1);
}


static ngx_int_t
ngx_http_socketio_remote_reply(ngx_http_socketio_bridge_t *b, u_char *host,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body, ngx_uint_t n)
{
    ngx_str_t                           parts[3];
    ngx_uint_t                          i;
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

    for (i = 0; i < n; i++) {
        parts[i + 1] = body[i];
    }

    return ngx_http_socketio_cluster_send(line, host,
                                          NGX_HTTP_SOCKETIO_CLUSTER_ANSWER,
                                          parts, n + 1);
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

    if (!ngx_http_socketio_command_readable(&cmd)) {
        return NGX_DECLINED;
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
        proxy = ngx_http_socketio_remote_new(b->remote, from, &waiter, wait);
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
                                          NGX_HTTP_SOCKETIO_RESULT, &body, 1);
}


/* Proxies. */

static ngx_http_socketio_proxy_t *
ngx_http_socketio_remote_new(ngx_http_socketio_remote_t *remote, u_char *host,
    ngx_sio_waiter_t *waiter, ngx_msec_t time)
{
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
    proxy->until = ngx_current_msec + time;
    ngx_memcpy(proxy->host, host, NGX_SIO_BRIDGE_ID);

    ngx_queue_insert_tail(&remote->proxies, &proxy->queue);
    remote->commands++;

    return proxy;
}


static void
ngx_http_socketio_remote_free(ngx_http_socketio_proxy_t *proxy)
{
    ngx_http_socketio_unpark(proxy->parked);

    ngx_queue_remove(&proxy->queue);
    proxy->remote->commands--;

    ngx_free(proxy);
}
