/*
 * Node's servers and emitters on a message queue: their broadcasts and
 * requests become commands, and commands their broadcasts and requests.
 */

#include "ngx_http_socketio_node.h"
#include "ngx_http_socketio_queue.h"
#include "ngx_sio_node.h"


/* msec that clients have to acknowledge, unless the request says */
#define NGX_HTTP_SOCKETIO_NODE_PATIENCE  60000


static ngx_int_t ngx_http_socketio_node_open(ngx_http_socketio_line_t *line);
static ngx_int_t ngx_http_socketio_node_names(ngx_http_socketio_line_t *line,
    ngx_uint_t *others);
static ngx_int_t ngx_http_socketio_node_name(ngx_http_socketio_node_t *node,
    ngx_str_t *name);
static ngx_int_t ngx_http_socketio_node_subscribe(
    ngx_http_socketio_line_t *line, ngx_uint_t what, ngx_str_t *nsp,
    ngx_str_t *uid, ngx_uint_t pattern);
static ngx_int_t ngx_http_socketio_node_requests(
    ngx_http_socketio_line_t *line);
static ngx_int_t ngx_http_socketio_node_request_pattern(
    ngx_http_socketio_line_t *line, ngx_str_t *nsp, ngx_str_t *pattern);
static void ngx_http_socketio_node_close(ngx_http_socketio_line_t *line);
static void ngx_http_socketio_node_tick(ngx_http_socketio_line_t *line);

static ngx_int_t ngx_http_socketio_node_publish(
    ngx_http_socketio_line_t *line, ngx_http_socketio_command_t *cmd,
    ngx_uint_t n);
static ngx_int_t ngx_http_socketio_node_translate(
    ngx_http_socketio_line_t *line, ngx_http_socketio_command_t *cmd,
    ngx_sio_qmsg_t *m);

static void ngx_http_socketio_node_message(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload);
static ngx_uint_t ngx_http_socketio_node_known(ngx_str_t *payload);
static ngx_uint_t ngx_http_socketio_node_ours(ngx_str_t *uid);
static void ngx_http_socketio_node_take(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m, ngx_uint_t counted);
static void ngx_http_socketio_node_matched(ngx_http_socketio_waiting_t *wait,
    ngx_uint_t n);
static void ngx_http_socketio_node_acked(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);


const ngx_http_socketio_format_t  ngx_http_socketio_node = {
    ngx_string("node"),
    ngx_string("socket.io"),
    ngx_http_socketio_node_open,
    ngx_http_socketio_node_close,
    ngx_http_socketio_node_publish,
    ngx_http_socketio_node_message,
    ngx_http_socketio_node_counted,
    ngx_http_socketio_node_tick,
    ngx_http_socketio_node_asks
};


/*
 * A namespace with a name has channels of its own; the others, which are made
 * when they are asked for, come by patterns.  By a pattern nobody is counted,
 * so that requests that come so have no answer.
 */

static ngx_int_t
ngx_http_socketio_node_open(ngx_http_socketio_line_t *line)
{
    u_char                    *p;
    ngx_str_t                 *nsp, none;
    ngx_uint_t                 i, others;
    ngx_sio_hub_addr_t         self;
    ngx_http_socketio_node_t  *node;

    node = ngx_calloc(sizeof(ngx_http_socketio_node_t), ngx_cycle->log);
    if (node == NULL) {
        return NGX_ERROR;
    }

    line->foreign = node;

    ngx_queue_init(&node->asked);
    ngx_queue_init(&node->told);

    p = ngx_cpymem(node->text, NGX_HTTP_SOCKETIO_NODE_PREFIX,
                   sizeof(NGX_HTTP_SOCKETIO_NODE_PREFIX) - 1);

    (void) ngx_hex_dump(p, ngx_sio_bridge_id(line->bridge->kept), 8);

    node->uid.data = node->text;
    node->uid.len = NGX_HTTP_SOCKETIO_NODE_UID;

    ngx_http_socketio_foreign_limits(line, &node->limits);

    node->pool = ngx_create_pool(1024, ngx_cycle->log);

    if (node->pool == NULL
        || ngx_http_socketio_node_names(line, &others) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_null(&none);

    if (others
        && (ngx_http_socketio_node_subscribe(line, NGX_SIO_NODE_BROADCASTS,
                                             &none, NULL, 1) != NGX_OK
            || ngx_http_socketio_node_subscribe(line, NGX_SIO_NODE_REQUESTS,
                                                &none, NULL, 1) != NGX_OK
            || ngx_sio_node_subscription(&line->conf->channel,
                                         NGX_SIO_NODE_REQUESTS, &none, NULL,
                                         &node->every, node->pool) != NGX_OK))
    {
        return NGX_ERROR;
    }

    nsp = node->namespaces.elts;

    for (i = 0; i < node->namespaces.nelts; i++) {

        if ((!others
             && ngx_http_socketio_node_subscribe(line, NGX_SIO_NODE_BROADCASTS,
                                                 &nsp[i], NULL, 1) != NGX_OK)
            || ngx_http_socketio_node_subscribe(line, NGX_SIO_NODE_RESPONSES,
                                                &nsp[i], NULL, 0) != NGX_OK
            || ngx_http_socketio_node_subscribe(line, NGX_SIO_NODE_RESPONSES,
                                                &nsp[i], &node->uid, 0)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* a follower must not be counted besides the one it follows */

    self = ngx_sio_hub_self(line->bridge->worker->hub);

    node->counted = ngx_sio_hub_addr_equal(
                              ngx_sio_bridge_holder(line->bridge->kept), self);

    return ngx_http_socketio_node_requests(line);
}


/* What the locations of the zone declare, each name once. */

static ngx_int_t
ngx_http_socketio_node_names(ngx_http_socketio_line_t *line,
    ngx_uint_t *others)
{
    ngx_uint_t                        i, k;
    ngx_array_t                     **lists;
    ngx_http_socketio_node_t         *node;
    ngx_http_socketio_zone_t         *zone;
    ngx_http_socketio_namespace_t    *ns;

    node = line->foreign;
    zone = line->bridge->worker->zone;
    *others = 0;

    if (ngx_array_init(&node->namespaces, node->pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    lists = zone->namespaces.elts;

    for (i = 0; i < zone->namespaces.nelts; i++) {
        ns = lists[i]->elts;

        for (k = 0; k < lists[i]->nelts; k++) {

#if (NGX_PCRE)
            if (ns[k].regex != NULL) {
                *others = 1;
                continue;
            }
#endif

            if (ns[k].any) {
                *others = 1;

            } else if (ngx_http_socketio_node_name(node, &ns[k].name)
                       != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_node_name(ngx_http_socketio_node_t *node, ngx_str_t *name)
{
    ngx_str_t  *new;

    if (ngx_http_socketio_node_named(node, name)) {
        return NGX_OK;
    }

    new = ngx_array_push(&node->namespaces);
    if (new == NULL) {
        return NGX_ERROR;
    }

    *new = *name;

    return NGX_OK;
}


ngx_uint_t
ngx_http_socketio_node_named(ngx_http_socketio_node_t *node, ngx_str_t *nsp)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = node->namespaces.elts;

    for (i = 0; i < node->namespaces.nelts; i++) {
        if (name[i].len == nsp->len
            && ngx_memcmp(name[i].data, nsp->data, nsp->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_socketio_node_subscribe(ngx_http_socketio_line_t *line,
    ngx_uint_t what, ngx_str_t *nsp, ngx_str_t *uid, ngx_uint_t pattern)
{
    ngx_str_t                  name;
    ngx_http_socketio_node_t  *node;

    node = line->foreign;

    if (ngx_sio_node_subscription(&line->conf->channel, what, nsp, uid, &name,
                                  node->pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_sio_queue_subscribe(line->queue, &name, pattern);
}


static ngx_int_t
ngx_http_socketio_node_requests(ngx_http_socketio_line_t *line)
{
    ngx_str_t                 *nsp, pattern;
    ngx_uint_t                 i;
    ngx_http_socketio_node_t  *node;

    node = line->foreign;
    nsp = node->namespaces.elts;

    for (i = 0; i < node->namespaces.nelts; i++) {

        if (node->counted) {

            if (ngx_http_socketio_node_subscribe(line, NGX_SIO_NODE_REQUESTS,
                                                 &nsp[i], NULL, 0)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_http_socketio_node_request_pattern(line, &nsp[i], &pattern)
            != NGX_OK
            || ngx_sio_queue_subscribe(line->queue, &pattern, 1) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* The channel of requests as a pattern for itself. */

static ngx_int_t
ngx_http_socketio_node_request_pattern(ngx_http_socketio_line_t *line,
    ngx_str_t *nsp, ngx_str_t *pattern)
{
    u_char                    *p;
    size_t                     i;
    ngx_str_t                  name;
    ngx_http_socketio_node_t  *node;

    node = line->foreign;

    if (ngx_sio_node_subscription(&line->conf->channel, NGX_SIO_NODE_REQUESTS,
                                  nsp, NULL, &name, node->pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(node->pool, 2 * name.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    pattern->data = p;

    for (i = 0; i < name.len; i++) {

        if (ngx_strchr("*?[]\\", name.data[i]) != NULL) {
            *p++ = '\\';
        }

        *p++ = name.data[i];
    }

    pattern->len = p - pattern->data;

    return NGX_OK;
}


static void
ngx_http_socketio_node_close(ngx_http_socketio_line_t *line)
{
    ngx_http_socketio_node_t  *node;

    node = line->foreign;

    if (node == NULL) {
        return;
    }

    ngx_http_socketio_node_ask_clear(node);
    ngx_http_socketio_node_tell_clear(node);

    if (node->pool != NULL) {
        ngx_destroy_pool(node->pool);
    }

    ngx_free(node);
    line->foreign = NULL;
}


/* Whoever serves now has to be counted. */

static void
ngx_http_socketio_node_tick(ngx_http_socketio_line_t *line)
{
    ngx_str_t                 *nsp, pattern;
    ngx_uint_t                 i;
    ngx_http_socketio_node_t  *node;

    node = line->foreign;

    ngx_http_socketio_node_ask_tick(node);
    ngx_http_socketio_node_tell_tick(node);

    if (node->counted) {
        return;
    }

    nsp = node->namespaces.elts;

    for (i = 0; i < node->namespaces.nelts; i++) {

        /* forgotten and asked for in one write: nothing comes in between */

        if (ngx_http_socketio_node_request_pattern(line, &nsp[i], &pattern)
            != NGX_OK
            || ngx_sio_queue_unsubscribe(line->queue, &pattern, 1) != NGX_OK)
        {
            return;
        }
    }

    node->counted = 1;

    if (ngx_http_socketio_node_requests(line) != NGX_OK) {
        node->counted = 0;
    }
}


/* Commands to servers. */

static ngx_int_t
ngx_http_socketio_node_publish(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd, ngx_uint_t n)
{
    ngx_int_t                  rc;
    ngx_str_t                  channel, payload;
    ngx_pool_t                *pool;
    ngx_sio_qmsg_t             m;
    ngx_http_socketio_node_t  *node;

    if (n > 0) {
        return NGX_DONE;
    }

    if (ngx_http_socketio_node_asks(line, cmd)) {
        return ngx_http_socketio_node_ask(line, cmd);
    }

    node = line->foreign;
    pool = line->bridge->worker->pool;

    rc = ngx_http_socketio_node_translate(line, cmd, &m);

    if (rc != NGX_OK) {
        return rc;
    }

    m.origin = node->uid;

    rc = ngx_sio_node_encode(&m, line->conf->conf.max_message, &payload, pool);

    if (rc == NGX_OK) {
        rc = ngx_sio_node_channel(&line->conf->channel, &m, &channel, pool);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_queue_publish(line->queue, &channel, &payload, 1, 0);
    }

    return ngx_http_socketio_foreign_told(line, rc);
}


static ngx_int_t
ngx_http_socketio_node_translate(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd, ngx_sio_qmsg_t *m)
{
    ngx_uint_t   i;
    ngx_pool_t  *pool;

    pool = line->bridge->worker->pool;

    ngx_memzero(m, sizeof(ngx_sio_qmsg_t));

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:
        m->kind = NGX_SIO_QMSG_EMIT;
        m->json = cmd->json;
        m->attachments = cmd->attachments;
        m->nattachments = cmd->nattachments;
        m->is_volatile = cmd->is_volatile;
        break;

    case NGX_HTTP_SOCKETIO_JOIN:
        m->kind = NGX_SIO_QMSG_JOIN;
        break;

    case NGX_HTTP_SOCKETIO_LEAVE:
        m->kind = NGX_SIO_QMSG_LEAVE;
        break;

    case NGX_HTTP_SOCKETIO_KICK:
        m->kind = NGX_SIO_QMSG_DISCONNECT;
        m->close = cmd->close;
        break;

    default:
        return NGX_DONE;
    }

    if (ngx_http_socketio_foreign_target(&cmd->target, m, pool) != NGX_OK) {
        return NGX_AGAIN;
    }

    if (cmd->nrooms == 0) {
        return NGX_OK;
    }

    m->nop_rooms = cmd->nrooms;
    m->op_rooms = ngx_pcalloc(pool, cmd->nrooms * sizeof(ngx_sio_qmsg_room_t));

    if (m->op_rooms == NULL) {
        return NGX_AGAIN;
    }

    for (i = 0; i < cmd->nrooms; i++) {
        m->op_rooms[i].name = cmd->rooms[i];
    }

    return NGX_OK;
}


void
ngx_http_socketio_node_send(ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m)
{
    ngx_str_t    channel, payload;
    ngx_pool_t  *pool;

    pool = line->bridge->worker->pool;

    if (ngx_sio_node_encode(m, line->conf->conf.max_publish, &payload, pool)
           != NGX_OK
        || ngx_sio_node_channel(&line->conf->channel, m, &channel, pool)
           != NGX_OK
        || ngx_http_socketio_bridge_send(line, &channel, &payload, 1)
           != NGX_OK)
    {
        line->kept->untold++;
    }
}


/* Messages of servers. */

static void
ngx_http_socketio_node_message(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload)
{
    ngx_int_t                    rc;
    const char                  *reason;
    ngx_sio_qmsg_t               m;
    ngx_http_socketio_node_t    *node;
    ngx_http_socketio_worker_t  *w;

    node = line->foreign;
    w = line->bridge->worker;

    if (ngx_http_socketio_node_known(payload)) {
        return;
    }

    ngx_reset_pool(w->pool);

    rc = ngx_sio_node_decode(&line->conf->channel, channel, payload,
                             &node->limits, &m, w->pool, &reason);

    if (rc != NGX_OK) {
        ngx_http_socketio_foreign_refused(line, rc, reason);
        return;
    }

    switch (m.kind) {

    case NGX_SIO_QMSG_FETCH_ANSWER:
    case NGX_SIO_QMSG_ROOMS_ANSWER:
    case NGX_SIO_QMSG_SERVER_ANSWER:
    case NGX_SIO_QMSG_COUNT:
    case NGX_SIO_QMSG_BACK:
        ngx_http_socketio_node_answered(line, &m);
        return;

    default:
        break;
    }

    /* what has channels of its own comes on these as well */

    if (pattern->len && pattern->len == node->every.len
        && ngx_memcmp(pattern->data, node->every.data, pattern->len) == 0
        && ngx_http_socketio_node_named(node, &m.nsp))
    {
        return;
    }

    ngx_http_socketio_node_take(line, &m, pattern->len == 0);
}


/* A broadcast of this module, which has come as an entry: by far the most. */

static ngx_uint_t
ngx_http_socketio_node_known(ngx_str_t *payload)
{
    static const u_char  head[] = { 0x93, 0xa0 + NGX_HTTP_SOCKETIO_NODE_UID,
                                    'n', 'g', 'i', 'n', 'x', '-' };

    return payload->len > sizeof(head)
           && ngx_memcmp(payload->data, head, sizeof(head)) == 0;
}


static ngx_uint_t
ngx_http_socketio_node_ours(ngx_str_t *uid)
{
    return uid->len == NGX_HTTP_SOCKETIO_NODE_UID
           && ngx_memcmp(uid->data, NGX_HTTP_SOCKETIO_NODE_PREFIX,
                         sizeof(NGX_HTTP_SOCKETIO_NODE_PREFIX) - 1)
              == 0;
}


/* counted: its sender waits for what we say, else it must hear nothing */

static void
ngx_http_socketio_node_take(ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m,
    ngx_uint_t counted)
{
    ngx_uint_t                 ours;
    ngx_http_socketio_node_t  *node;

    node = line->foreign;
    ours = ngx_http_socketio_node_ours(&m->origin);

    if (ours && ngx_memcmp(m->origin.data, node->uid.data, node->uid.len) == 0)
    {
        return;
    }

    if (ours) {

        if (counted) {
            ngx_http_socketio_node_tell_nothing(line, m);
        }

        return;
    }

    line->kept->taken++;

    switch (m->kind) {

    case NGX_SIO_QMSG_FETCH:
    case NGX_SIO_QMSG_ROOMS:

        if (counted) {
            ngx_http_socketio_node_tell(line, m);
        }

        break;

    case NGX_SIO_QMSG_SERVER_EMIT:

        if (counted) {
            ngx_http_socketio_node_tell_nothing(line, m);
        }

        break;

    case NGX_SIO_QMSG_EMIT:

        if (counted && m->request_id.len) {
            ngx_http_socketio_foreign_ask(line, m, m->timeout ? m->timeout
                                           : NGX_HTTP_SOCKETIO_NODE_PATIENCE,
                                          0, ngx_http_socketio_node_matched,
                                          ngx_http_socketio_node_acked);
            break;
        }

        /* fall through */

    default: /* NGX_SIO_QMSG_JOIN, ..._LEAVE, ..._DISCONNECT */
        ngx_http_socketio_foreign_apply(line, m);
    }
}


static void
ngx_http_socketio_node_matched(ngx_http_socketio_waiting_t *wait, ngx_uint_t n)
{
    ngx_sio_qmsg_t  m;

    ngx_memzero(&m, sizeof(ngx_sio_qmsg_t));

    m.kind = NGX_SIO_QMSG_COUNT;
    m.nsp = wait->m.nsp;
    m.request_id = wait->m.request_id;
    m.count = n;

    ngx_http_socketio_node_send(wait->line, &m);
}


static void
ngx_http_socketio_node_acked(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_sio_qmsg_t  m;

    ngx_memzero(&m, sizeof(ngx_sio_qmsg_t));

    m.kind = NGX_SIO_QMSG_BACK;
    m.nsp = wait->m.nsp;
    m.request_id = wait->m.request_id;
    m.json = *args;
    m.attachments = attachments;
    m.nattachments = n;

    ngx_http_socketio_node_send(wait->line, &m);
}
