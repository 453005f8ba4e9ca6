#include "ngx_http_socketio_cluster.h"
#include "ngx_http_socketio_remote.h"
#include "ngx_sio_pack.h"


#define NGX_HTTP_SOCKETIO_CLUSTER_MAGIC    0x584f4953     /* "SIOX" */
#define NGX_HTTP_SOCKETIO_CLUSTER_VERSION  3

/* msec between two requests to the same host to repeat something */
#define NGX_HTTP_SOCKETIO_CLUSTER_ASK      200

/* seconds after which the place of a silent host may be given away */
#define NGX_HTTP_SOCKETIO_CLUSTER_IDLE     60

/* msec after which one that speaks for a line is replaced */
#define NGX_HTTP_SOCKETIO_CLUSTER_MUTE     (3 * NGX_HTTP_SOCKETIO_ALIVE)

/* entries that are repeated at once */
#define NGX_HTTP_SOCKETIO_CLUSTER_REPEAT   1000


typedef struct {
    uint64_t   holder;               /* which worker serves the queues */
    uint64_t   number;               /* what it calls the line */
    uint32_t   workers;
    uint32_t   sockets;
} ngx_http_socketio_cluster_alive_t;


static void ngx_http_socketio_cluster_own(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *body);
static void ngx_http_socketio_cluster_heard(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *body);
static void ngx_http_socketio_cluster_take(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *body);
static void ngx_http_socketio_cluster_ask(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer);
static void ngx_http_socketio_cluster_repeat(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head);
static void ngx_http_socketio_cluster_missed(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head);
static void ngx_http_socketio_cluster_head(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_uint_t kind, u_char *to);
static u_char *ngx_http_socketio_cluster_channel(
    ngx_http_socketio_line_t *line, u_char *p, u_char *id);
static size_t ngx_http_socketio_cluster_channel_length(
    ngx_http_socketio_line_t *line);
static ngx_int_t ngx_http_socketio_cluster_say(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *parts,
    ngx_uint_t nparts);


static ngx_str_t  ngx_http_socketio_cluster_suffix = ngx_string(".nginx");


ngx_int_t
ngx_http_socketio_cluster_open(ngx_http_socketio_line_t *line)
{
    u_char  *p;
    size_t   len;

    len = line->conf->channel.len + ngx_http_socketio_cluster_suffix.len;

    p = ngx_alloc(len + ngx_http_socketio_cluster_channel_length(line),
                  ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    line->all.data = p;
    p = ngx_cpymem(p, line->conf->channel.data, line->conf->channel.len);
    p = ngx_cpymem(p, ngx_http_socketio_cluster_suffix.data,
                   ngx_http_socketio_cluster_suffix.len);
    line->all.len = len;

    line->own.data = p;
    line->own.len = ngx_http_socketio_cluster_channel(line, p,
                                     ngx_sio_bridge_id(line->bridge->kept))
                    - p;

    if (ngx_sio_queue_subscribe(line->queue, &line->all, 0) != NGX_OK
        || ngx_sio_queue_subscribe(line->queue, &line->own, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_socketio_cluster_message(ngx_http_socketio_line_t *line,
    ngx_str_t *payload)
{
    u_char                            *pos, *end, *self;
    ngx_str_t                          body;
    ngx_sio_bridge_peer_t             *peer;
    ngx_http_socketio_cluster_head_t   head;

    static u_char  all[NGX_SIO_BRIDGE_ID];

    pos = payload->data;
    end = pos + payload->len;

    if (ngx_sio_unpack(&pos, end, &head, sizeof(head)) != NGX_OK
        || head.magic != NGX_HTTP_SOCKETIO_CLUSTER_MAGIC)
    {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "not from a host");
        return;
    }

    if (head.version != NGX_HTTP_SOCKETIO_CLUSTER_VERSION) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "another version of a host");
        return;
    }

    body.data = pos;
    body.len = end - pos;

    self = ngx_sio_bridge_id(line->bridge->kept);

    if (ngx_memcmp(head.from, self, NGX_SIO_BRIDGE_ID) == 0) {
        ngx_http_socketio_cluster_own(line, &head, &body);
        return;
    }

    if (!ngx_http_socketio_bridge_takes(line)
        || (ngx_memcmp(head.to, self, NGX_SIO_BRIDGE_ID) != 0
            && ngx_memcmp(head.to, all, NGX_SIO_BRIDGE_ID) != 0))
    {
        return;
    }

    peer = ngx_sio_bridge_find(line->bridge->kept, head.from);

    if (peer != NULL) {
        ngx_http_socketio_bridge_heard(line, peer);
    }

    switch (head.kind) {

    case NGX_HTTP_SOCKETIO_CLUSTER_ALIVE:
    case NGX_HTTP_SOCKETIO_CLUSTER_BYE:
        ngx_http_socketio_cluster_heard(line, &head, &body);
        break;

    case NGX_HTTP_SOCKETIO_CLUSTER_ENTRY:
        ngx_http_socketio_cluster_take(line, &head, &body);
        break;

    case NGX_HTTP_SOCKETIO_CLUSTER_RESEND:
        ngx_http_socketio_cluster_repeat(line, &head);
        break;

    case NGX_HTTP_SOCKETIO_CLUSTER_LOST:
        ngx_http_socketio_cluster_missed(line, &head);
        break;

    case NGX_HTTP_SOCKETIO_CLUSTER_REQUEST:
        ngx_http_socketio_remote_request(line, head.from, &body);
        break;

    case NGX_HTTP_SOCKETIO_CLUSTER_ANSWER:
        ngx_http_socketio_remote_answer(line, head.from, &body);
        break;

    case NGX_HTTP_SOCKETIO_CLUSTER_MARK:
        /* of interest to nobody else */
        break;

    default:
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "unknown kind of a host");
    }
}


/* What this host has said itself, maybe by another worker. */

static void
ngx_http_socketio_cluster_own(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *body)
{
    uint64_t                     word;
    ngx_sio_hub_addr_t           follower;
    ngx_http_socketio_bridge_t  *b;

    b = line->bridge;

    if (head->kind == NGX_HTTP_SOCKETIO_CLUSTER_ALIVE) {
        line->echoed = ngx_current_msec;

        if ((head->flags & NGX_HTTP_SOCKETIO_CLUSTER_SPEAKS)
            && b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING)
        {
            line->kept->speaks = 1;
            line->spoken = ngx_current_msec;
        }

        return;
    }

    if (head->kind != NGX_HTTP_SOCKETIO_CLUSTER_MARK
        || body->len != sizeof(uint64_t))
    {
        return;
    }

    ngx_memcpy(&word, body->data, sizeof(uint64_t));
    follower = ngx_sio_hub_addr_unpack(word);

    if (ngx_sio_hub_addr_equal(follower,
                               ngx_sio_hub_self(b->worker->hub)))
    {
        line->marked = 1;
        line->behind = 0;

    } else if (b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING && b->leaving
               && ngx_sio_hub_addr_equal(follower,
                                         ngx_sio_bridge_successor(b->kept)))
    {
        ngx_http_socketio_bridge_followed(b, follower);
        line->stopped = 1;
        ngx_http_socketio_bridge_wake(b);
    }
}


/* Other hosts. */

static void
ngx_http_socketio_cluster_heard(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *body)
{
    ngx_sio_bridge_t                   *kept;
    ngx_sio_bridge_peer_t              *peer;
    ngx_http_socketio_cluster_alive_t   alive;

    kept = line->bridge->kept;
    peer = ngx_sio_bridge_find(kept, head->from);

    if (head->kind == NGX_HTTP_SOCKETIO_CLUSTER_BYE) {

        if (peer != NULL) {
            ngx_sio_bridge_remove(peer);
        }

        /* it may have been the one */
        line->spoken = ngx_current_msec - NGX_HTTP_SOCKETIO_CLUSTER_MUTE;

        return;
    }

    if (body->len < sizeof(alive)) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "short message of a host");
        return;
    }

    ngx_memcpy(&alive, body->data, sizeof(alive));

    if (peer == NULL) {
        peer = ngx_sio_bridge_insert(kept, head->from, head->ordinal,
                                     ngx_time(),
                                     NGX_HTTP_SOCKETIO_CLUSTER_IDLE);

        if (peer == NULL) {
            ngx_http_socketio_bridge_refused(line,
                                             NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                             "too many hosts");
            return;
        }

        ngx_http_socketio_bridge_met(line, peer);
    }

    peer->heard = ngx_time();
    peer->holder = alive.holder;
    peer->workers = alive.workers;
    peer->sockets = alive.sockets;

    *ngx_sio_bridge_shared(kept, peer, line->kept) = (uint8_t) alive.number;

    if (head->flags & NGX_HTTP_SOCKETIO_CLUSTER_SPEAKS) {
        line->kept->speaks = 0;
        line->spoken = ngx_current_msec;
    }

    if (head->ordinal > peer->applied) {
        ngx_http_socketio_cluster_ask(line, peer);
    }

    if (head->flags & NGX_HTTP_SOCKETIO_CLUSTER_HELLO) {
        ngx_http_socketio_cluster_alive(line, 0);
        ngx_http_socketio_remote_repeat(line, peer->id);
    }
}


static void
ngx_http_socketio_cluster_take(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *body)
{
    ngx_int_t               rc;
    ngx_sio_bridge_peer_t  *peer;

    peer = ngx_sio_bridge_find(line->bridge->kept, head->from);

    if (peer == NULL || head->ordinal <= peer->applied) {
        return;
    }

    if (head->ordinal != peer->applied + 1) {
        ngx_http_socketio_cluster_ask(line, peer);
        return;
    }

    rc = ngx_http_socketio_remote_command(line, head->from, body);

    if (rc == NGX_BUSY || rc == NGX_ERROR) {
        /* it is asked for again when there may be room */
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_HOST,
                                         "not a command");

    } else {
        line->kept->taken++;
    }

    ngx_sio_mem_commit(&peer->applied, head->ordinal);
}


static void
ngx_http_socketio_cluster_ask(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer)
{
    ngx_uint_t                         i;
    ngx_http_socketio_cluster_head_t   head;
    ngx_http_socketio_bridge_t        *b;

    b = line->bridge;
    i = peer - b->kept->head->peers;

    if (b->asked[i] && ngx_current_msec - b->asked[i]
                       < NGX_HTTP_SOCKETIO_CLUSTER_ASK)
    {
        return;
    }

    b->asked[i] = ngx_current_msec;

    ngx_http_socketio_cluster_head(line, &head,
                                   NGX_HTTP_SOCKETIO_CLUSTER_RESEND, peer->id);
    head.ordinal = peer->applied + 1;

    (void) ngx_http_socketio_cluster_say(line, &head, NULL, 0);
}


static void
ngx_http_socketio_cluster_repeat(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head)
{
    uint64_t                           position, next;
    ngx_int_t                          rc;
    ngx_uint_t                         n;
    ngx_sio_hub_entry_t                e;
    ngx_http_socketio_cluster_head_t   lost;

    position = 0;
    next = head->ordinal;

    for (n = 0; next < line->next && n < NGX_HTTP_SOCKETIO_CLUSTER_REPEAT; n++)
    {
        rc = ngx_sio_hub_shipped(line->bridge->worker->hub, &position, next,
                                 &e);
        if (rc == NGX_ERROR) {
            return;
        }

        if (rc == NGX_DONE || e.ordinal > next) {
            ngx_http_socketio_cluster_head(line, &lost,
                                           NGX_HTTP_SOCKETIO_CLUSTER_LOST,
                                           head->from);
            lost.ordinal = (rc == NGX_DONE) ? line->next : e.ordinal;

            if (ngx_http_socketio_cluster_say(line, &lost, NULL, 0) != NGX_OK
                || rc == NGX_DONE)
            {
                return;
            }
        }

        if (e.ordinal >= line->next
            || ngx_http_socketio_cluster_entry(line, &e, head->from, 0)
               != NGX_OK)
        {
            return;
        }

        next = e.ordinal + 1;
    }
}


static void
ngx_http_socketio_cluster_missed(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head)
{
    uint64_t                n;
    ngx_sio_bridge_peer_t  *peer;

    peer = ngx_sio_bridge_find(line->bridge->kept, head->from);

    if (peer == NULL || head->ordinal <= peer->applied + 1) {
        return;
    }

    n = head->ordinal - 1 - peer->applied;

    peer->missed += n;
    line->bridge->kept->head->missed += n;
    ngx_sio_mem_commit(&peer->applied, head->ordinal - 1);

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "message queue %V: %uL messages of another host were lost",
                  &line->conf->url.shown, n);
}


/* Speaking. */

void
ngx_http_socketio_cluster_alive(ngx_http_socketio_line_t *line,
    ngx_uint_t hello)
{
    ngx_str_t                           part;
    ngx_http_socketio_worker_t         *w;
    ngx_http_socketio_cluster_head_t    head;
    ngx_http_socketio_cluster_alive_t   alive;

    w = line->bridge->worker;

    /* what waits to be repeated or asked comes first, in order */

    ngx_http_socketio_cluster_head(line, &head,
                                   NGX_HTTP_SOCKETIO_CLUSTER_ALIVE, NULL);

    head.ordinal = line->next - 1;
    head.flags = hello ? NGX_HTTP_SOCKETIO_CLUSTER_HELLO : 0;

    if (line->forwards
        && (hello || line->kept->speaks
            || ngx_current_msec - line->spoken
               >= NGX_HTTP_SOCKETIO_CLUSTER_MUTE))
    {
        head.flags |= NGX_HTTP_SOCKETIO_CLUSTER_SPEAKS;
    }

    alive.number = ngx_sio_bridge_number(line->bridge->kept, line->kept);
    alive.holder = ngx_sio_hub_addr_pack(ngx_sio_hub_self(w->hub));
    alive.workers = ngx_sio_hub_count(w->hub);
    alive.sockets = 0;

    part.data = (u_char *) &alive;
    part.len = sizeof(alive);

    line->spoke = ngx_current_msec;

    (void) ngx_http_socketio_cluster_say(line, &head, &part, 1);
}


void
ngx_http_socketio_cluster_bye(ngx_http_socketio_line_t *line)
{
    ngx_http_socketio_cluster_head_t  head;

    ngx_http_socketio_cluster_head(line, &head, NGX_HTTP_SOCKETIO_CLUSTER_BYE,
                                   NULL);

    if (ngx_http_socketio_cluster_say(line, &head, NULL, 0) == NGX_OK) {
        ngx_sio_queue_flush(line->queue);
    }
}


void
ngx_http_socketio_cluster_mark(ngx_http_socketio_line_t *line)
{
    uint64_t                           word;
    ngx_str_t                          part;
    ngx_http_socketio_cluster_head_t   head;

    ngx_http_socketio_cluster_head(line, &head, NGX_HTTP_SOCKETIO_CLUSTER_MARK,
                                   NULL);

    word = ngx_sio_hub_addr_pack(ngx_sio_hub_self(line->bridge->worker->hub));

    part.data = (u_char *) &word;
    part.len = sizeof(uint64_t);

    (void) ngx_http_socketio_cluster_say(line, &head, &part, 1);
}


ngx_int_t
ngx_http_socketio_cluster_entry(ngx_http_socketio_line_t *line,
    ngx_sio_hub_entry_t *e, u_char *to, uint64_t tag)
{
    ngx_str_t                          parts[2];
    ngx_http_socketio_cluster_head_t   head;

    ngx_http_socketio_command_relative(&e->body);

    ngx_http_socketio_cluster_head(line, &head,
                                   NGX_HTTP_SOCKETIO_CLUSTER_ENTRY, to);
    head.ordinal = e->ordinal;

    if (to != NULL) {
        return ngx_http_socketio_cluster_say(line, &head, &e->body, 1);
    }

    parts[0].data = (u_char *) &head;
    parts[0].len = sizeof(head);
    parts[1] = e->body;

    return ngx_sio_queue_publish(line->queue, &line->all, parts, 2, tag);
}


ngx_int_t
ngx_http_socketio_cluster_send(ngx_http_socketio_line_t *line, u_char *to,
    ngx_uint_t kind, ngx_str_t *parts, ngx_uint_t nparts)
{
    ngx_http_socketio_cluster_head_t  head;

    ngx_http_socketio_cluster_head(line, &head, kind, to);

    return ngx_http_socketio_cluster_say(line, &head, parts, nparts);
}


static void
ngx_http_socketio_cluster_head(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_uint_t kind, u_char *to)
{
    ngx_memzero(head, sizeof(ngx_http_socketio_cluster_head_t));

    head->magic = NGX_HTTP_SOCKETIO_CLUSTER_MAGIC;
    head->version = NGX_HTTP_SOCKETIO_CLUSTER_VERSION;
    head->kind = kind;

    ngx_memcpy(head->from, ngx_sio_bridge_id(line->bridge->kept),
               NGX_SIO_BRIDGE_ID);

    if (to != NULL) {
        ngx_memcpy(head->to, to, NGX_SIO_BRIDGE_ID);
    }
}


static ngx_int_t
ngx_http_socketio_cluster_say(ngx_http_socketio_line_t *line,
    ngx_http_socketio_cluster_head_t *head, ngx_str_t *parts,
    ngx_uint_t nparts)
{
    u_char       name[512];
    ngx_str_t    channel, all[NGX_HTTP_SOCKETIO_CLUSTER_PARTS + 1];
    ngx_uint_t   i;

    static u_char  nobody[NGX_SIO_BRIDGE_ID];

    all[0].data = (u_char *) head;
    all[0].len = sizeof(ngx_http_socketio_cluster_head_t);

    for (i = 0; i < nparts; i++) {
        all[i + 1] = parts[i];
    }

    if (ngx_memcmp(head->to, nobody, NGX_SIO_BRIDGE_ID) == 0) {
        return ngx_http_socketio_bridge_send(line, &line->all, all,
                                             nparts + 1);
    }

    if (ngx_http_socketio_cluster_channel_length(line) > sizeof(name)) {
        return NGX_DECLINED;
    }

    channel.data = name;
    channel.len = ngx_http_socketio_cluster_channel(line, name, head->to)
                  - name;

    return ngx_http_socketio_bridge_send_to(line, head->to, &channel, all,
                                            nparts + 1);
}


static size_t
ngx_http_socketio_cluster_channel_length(ngx_http_socketio_line_t *line)
{
    return line->conf->channel.len + ngx_http_socketio_cluster_suffix.len + 1
           + 2 * NGX_SIO_BRIDGE_ID;
}


/* one host's */

static u_char *
ngx_http_socketio_cluster_channel(ngx_http_socketio_line_t *line, u_char *p,
    u_char *id)
{
    p = ngx_cpymem(p, line->conf->channel.data, line->conf->channel.len);
    p = ngx_cpymem(p, ngx_http_socketio_cluster_suffix.data,
                   ngx_http_socketio_cluster_suffix.len);
    *p++ = '.';

    return ngx_hex_dump(p, id, NGX_SIO_BRIDGE_ID);
}
