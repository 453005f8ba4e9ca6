/*
 * What this host asks Node's servers: the API's lists, and emits that want
 * acknowledgements.
 *
 *     the bridge:     "one further result from me"
 *     NUMSUB:         "... and so many more", one from each server
 *     each response:   one of them
 *
 * A server that does not answer is missed by whoever waits, when its time is
 * over.
 */

#include "ngx_http_socketio_node.h"
#include "ngx_http_socketio_list.h"
#include "ngx_http_socketio_remote.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_json.h"
#include "ngx_sio_node.h"
#include "ngx_sio_pack.h"
#include "ngx_sio_random.h"
#include "ngx_sio_sid.h"
#include "ngx_sio_walk.h"


/* of each line */
#define NGX_HTTP_SOCKETIO_NODE_ASKED     1024

/* msec that a list is waited for */
#define NGX_HTTP_SOCKETIO_NODE_LIST      10000

/* responses that may come before it is known how many there will be */
#define NGX_HTTP_SOCKETIO_NODE_EARLY     256

/* characters of a request's id */
#define NGX_HTTP_SOCKETIO_NODE_ID        16

/* octets of a row beside its texts and what they hold, doubly escaped */
#define NGX_HTTP_SOCKETIO_NODE_ROW       256


typedef struct {
    ngx_queue_t                queue;
    ngx_uint_t                 type;      /* of the command */
    ngx_sio_waiter_t           waiter;
    uint32_t                   tag;
    uint64_t                   serial;
    ngx_msec_t                 until;
    ngx_int_t                  servers;   /* that are yet to answer */
    ngx_int_t                  owed;      /* acknowledgements */
    ngx_uint_t                 limit;     /* rows */
    ngx_str_t                  behind;    /* where they begin; follows */
    ngx_queue_t                early;     /* ngx_http_socketio_early_t */
    ngx_uint_t                 held;      /* of these */
    unsigned                   counted:1;
    u_char                     id[NGX_HTTP_SOCKETIO_NODE_ID];
} ngx_http_socketio_asked_t;


/*
 * A result that came before the count: if it were passed on at once, those that
 * are due could seem to be none.
 */

typedef struct {
    ngx_queue_t                queue;
    ngx_str_t                  body;      /* follows */
} ngx_http_socketio_early_t;


static ngx_http_socketio_asked_t *ngx_http_socketio_node_asked(
    ngx_http_socketio_node_t *node, ngx_http_socketio_command_t *cmd);
static ngx_int_t ngx_http_socketio_node_request(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_http_socketio_command_t *cmd);
static void ngx_http_socketio_node_result(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_http_socketio_effect_t *effect,
    ngx_uint_t due);
static void ngx_http_socketio_node_early(ngx_http_socketio_asked_t *asked,
    ngx_str_t *body);
static void ngx_http_socketio_node_late(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked);
static void ngx_http_socketio_node_back(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_sio_qmsg_t *m);
static void ngx_http_socketio_node_rows(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_sio_qmsg_t *m,
    ngx_http_socketio_effect_t *effect);
static ngx_int_t ngx_http_socketio_node_sockets(
    ngx_http_socketio_asked_t *asked, ngx_sio_qmsg_t *m, ngx_array_t *rows);
static ngx_int_t ngx_http_socketio_node_socket(ngx_str_t *nsp, ngx_str_t *sid,
    ngx_str_t *socket, ngx_http_socketio_row_t *row, ngx_pool_t *pool);
static ngx_int_t ngx_http_socketio_node_rooms(ngx_http_socketio_asked_t *asked,
    ngx_sio_qmsg_t *m, ngx_array_t *rows);
static ngx_uint_t ngx_http_socketio_node_merge(ngx_http_socketio_row_t *row,
    ngx_uint_t n);
static ngx_int_t ngx_http_socketio_node_text(ngx_str_t *json, ngx_str_t *text,
    ngx_pool_t *pool);
static int ngx_libc_cdecl ngx_http_socketio_node_sort_sockets(const void *a,
    const void *b);
static int ngx_libc_cdecl ngx_http_socketio_node_sort_rooms(const void *a,
    const void *b);
static void ngx_http_socketio_node_forget(ngx_http_socketio_node_t *node,
    ngx_http_socketio_asked_t *asked);


ngx_uint_t
ngx_http_socketio_node_asks(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd)
{
    ngx_http_socketio_node_t  *node;

    node = line->foreign;

    if (!line->up || !node->counted || !ngx_sio_waiter_set(&cmd->count)
        || !ngx_http_socketio_node_named(node, &cmd->target.nsp))
    {
        return 0;
    }

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:

        /* later than that it is a broadcast */

        return cmd->token.len
               && ngx_http_socketio_result_is_token(&cmd->token)
               && (ngx_msec_int_t) (cmd->expires - ngx_current_msec) > 0;

    case NGX_HTTP_SOCKETIO_SOCKETS:
    case NGX_HTTP_SOCKETIO_ROOMS:
        return 1;

    default:
        return 0;
    }
}


ngx_int_t
ngx_http_socketio_node_ask(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd)
{
    ngx_int_t                   rc;
    ngx_http_socketio_node_t   *node;
    ngx_http_socketio_asked_t  *asked;

    node = line->foreign;

    asked = ngx_http_socketio_node_asked(node, cmd);

    if (asked == NULL) {
        /* whoever waits will miss the answers */
        line->kept->untold++;
        return NGX_OK;
    }

    rc = ngx_http_socketio_node_request(line, asked, cmd);

    if (rc != NGX_OK) {
        ngx_http_socketio_node_forget(node, asked);
    }

    return ngx_http_socketio_foreign_told(line, rc);
}


static ngx_http_socketio_asked_t *
ngx_http_socketio_node_asked(ngx_http_socketio_node_t *node,
    ngx_http_socketio_command_t *cmd)
{
    u_char                      octets[NGX_HTTP_SOCKETIO_NODE_ID / 2];
    ngx_http_socketio_asked_t  *asked;

    if (node->nasked == NGX_HTTP_SOCKETIO_NODE_ASKED
        || ngx_sio_random(octets, sizeof(octets)) != NGX_OK)
    {
        return NULL;
    }

    asked = ngx_calloc(sizeof(ngx_http_socketio_asked_t) + cmd->token.len,
                       ngx_cycle->log);
    if (asked == NULL) {
        return NULL;
    }

    (void) ngx_hex_dump(asked->id, octets, sizeof(octets));

    asked->type = cmd->type;
    asked->waiter = cmd->count;
    asked->tag = cmd->tag;
    asked->serial = ++node->serial;
    ngx_queue_init(&asked->early);
    asked->limit = cmd->id;
    asked->until = cmd->type == NGX_HTTP_SOCKETIO_EMIT
                   ? cmd->expires
                   : ngx_current_msec + NGX_HTTP_SOCKETIO_NODE_LIST;

    asked->behind.data = (u_char *) (asked + 1);
    asked->behind.len = cmd->token.len;

    if (cmd->token.len) {
        ngx_memcpy(asked->behind.data, cmd->token.data, cmd->token.len);
    }

    ngx_queue_insert_tail(&node->asked, &asked->queue);
    node->nasked++;

    return asked;
}


/*
 * Both lists are made of sockets: what Node tells of rooms alone has their
 * names and nothing else.
 */

static ngx_int_t
ngx_http_socketio_node_request(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_http_socketio_command_t *cmd)
{
    ngx_int_t                  rc;
    ngx_str_t                  channel, payload;
    ngx_pool_t                *pool;
    ngx_sio_qmsg_t             m;
    ngx_http_socketio_node_t  *node;

    node = line->foreign;
    pool = line->bridge->worker->pool;

    ngx_memzero(&m, sizeof(ngx_sio_qmsg_t));

    m.kind = NGX_SIO_QMSG_FETCH;
    m.origin = node->uid;
    m.request_id.data = asked->id;
    m.request_id.len = NGX_HTTP_SOCKETIO_NODE_ID;

    if (cmd->type == NGX_HTTP_SOCKETIO_EMIT) {
        m.kind = NGX_SIO_QMSG_EMIT;
        m.json = cmd->json;
        m.attachments = cmd->attachments;
        m.nattachments = cmd->nattachments;
        m.is_volatile = cmd->is_volatile;
        m.timeout = cmd->expires - ngx_current_msec;
    }

    if (ngx_http_socketio_foreign_target(&cmd->target, &m, pool) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_sio_node_encode(&m, line->conf->conf.max_message, &payload, pool);

    if (rc == NGX_OK) {
        rc = ngx_sio_node_channel(&line->conf->channel, &m, &channel, pool);
    }

    /* the count goes first: without the request it does no harm */

    if (rc == NGX_OK) {
        rc = ngx_sio_queue_count(line->queue, &channel, asked->serial);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_queue_publish(line->queue, &channel, &payload, 1, 0);
    }

    return rc;
}


void
ngx_http_socketio_node_counted(ngx_http_socketio_line_t *line, uint64_t tag,
    ngx_uint_t n)
{
    ngx_queue_t                 *q;
    ngx_http_socketio_node_t    *node;
    ngx_http_socketio_asked_t   *asked;
    ngx_http_socketio_effect_t   effect;

    node = line->foreign;

    for (q = ngx_queue_head(&node->asked);
         q != ngx_queue_sentinel(&node->asked);
         q = ngx_queue_next(q))
    {
        asked = ngx_queue_data(q, ngx_http_socketio_asked_t, queue);

        if (asked->serial != tag) {
            continue;
        }

        /* without this host, which does not answer itself */

        n -= (n > 0);

        asked->counted = 1;
        asked->servers += n;

        ngx_reset_pool(line->bridge->worker->pool);
        ngx_memzero(&effect, sizeof(effect));

        ngx_http_socketio_node_result(line, asked, &effect, n);
        ngx_http_socketio_node_late(line, asked);

        if (asked->servers == 0 && asked->owed == 0) {
            ngx_http_socketio_node_forget(node, asked);
        }

        return;
    }
}


void
ngx_http_socketio_node_answered(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m)
{
    ngx_queue_t                 *q;
    ngx_http_socketio_node_t    *node;
    ngx_http_socketio_asked_t   *asked;
    ngx_http_socketio_effect_t   effect;

    node = line->foreign;

    for (q = ngx_queue_head(&node->asked);
         q != ngx_queue_sentinel(&node->asked);
         q = ngx_queue_next(q))
    {
        asked = ngx_queue_data(q, ngx_http_socketio_asked_t, queue);

        if (m->request_id.len == NGX_HTTP_SOCKETIO_NODE_ID
            && ngx_memcmp(m->request_id.data, asked->id,
                          NGX_HTTP_SOCKETIO_NODE_ID) == 0)
        {
            break;
        }
    }

    if (q == ngx_queue_sentinel(&node->asked)) {
        /* what other servers say to each other */
        return;
    }

    ngx_memzero(&effect, sizeof(effect));

    if (asked->type == NGX_HTTP_SOCKETIO_EMIT
        && m->kind == NGX_SIO_QMSG_BACK)
    {
        asked->owed--;
        ngx_http_socketio_node_back(line, asked, m);

    } else if (asked->type == NGX_HTTP_SOCKETIO_EMIT
               && m->kind == NGX_SIO_QMSG_COUNT
               && m->count <= NGX_MAX_INT32_VALUE)
    {
        asked->servers--;
        asked->owed += m->count;
        effect.matched = m->count;
        ngx_http_socketio_node_result(line, asked, &effect, 0);

    } else if (asked->type != NGX_HTTP_SOCKETIO_EMIT
               && m->kind == NGX_SIO_QMSG_FETCH_ANSWER && !m->bare)
    {
        asked->servers--;
        ngx_http_socketio_node_rows(line, asked, m, &effect);
        ngx_http_socketio_node_result(line, asked, &effect, 0);

    } else {
        ngx_http_socketio_bridge_refused(line,
                                         NGX_HTTP_SOCKETIO_BRIDGE_MALFORMED,
                                         "unexpected response");
        return;
    }

    if (asked->counted && asked->servers == 0 && asked->owed == 0) {
        ngx_http_socketio_node_forget(node, asked);
    }
}


/* The result of one server, or, with due, of so many that are to come. */

static void
ngx_http_socketio_node_result(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_http_socketio_effect_t *effect,
    ngx_uint_t due)
{
    u_char                      *p;
    ngx_str_t                    body;
    ngx_http_socketio_due_t      d;
    ngx_http_socketio_result_t   result;

    ngx_memzero(&result, sizeof(result));
    result.tag = asked->tag;
    result.flags = effect->flags | NGX_HTTP_SOCKETIO_RESULT_FURTHER;
    result.matched = effect->matched;
    result.ndue = (due != 0);

    ngx_memzero(&d, sizeof(d));
    d.n = due;

    p = ngx_pnalloc(line->bridge->worker->pool,
                    sizeof(result) + sizeof(d) + effect->rows.len);
    if (p == NULL) {
        return;
    }

    body.data = p;
    p = ngx_sio_pack(p, &result, sizeof(result));

    if (due) {
        p = ngx_sio_pack(p, &d, sizeof(d));
    }

    if (effect->rows.len) {
        p = ngx_sio_pack(p, effect->rows.data, effect->rows.len);
    }

    body.len = p - body.data;

    if (!asked->counted) {
        ngx_http_socketio_node_early(asked, &body);
        return;
    }

    ngx_http_socketio_remote_result(line->bridge, &asked->waiter,
                                    NGX_HTTP_SOCKETIO_RESULT, &body);
}


static void
ngx_http_socketio_node_early(ngx_http_socketio_asked_t *asked, ngx_str_t *body)
{
    ngx_http_socketio_early_t  *early;

    if (asked->held == NGX_HTTP_SOCKETIO_NODE_EARLY) {
        return;
    }

    early = ngx_alloc(sizeof(ngx_http_socketio_early_t) + body->len,
                      ngx_cycle->log);
    if (early == NULL) {
        return;
    }

    early->body.data = (u_char *) (early + 1);
    early->body.len = body->len;
    ngx_memcpy(early->body.data, body->data, body->len);

    ngx_queue_insert_tail(&asked->early, &early->queue);
    asked->held++;
}


static void
ngx_http_socketio_node_late(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked)
{
    ngx_queue_t                *q;
    ngx_http_socketio_early_t  *early;

    while (!ngx_queue_empty(&asked->early)) {
        q = ngx_queue_head(&asked->early);
        early = ngx_queue_data(q, ngx_http_socketio_early_t, queue);

        if (line != NULL) {
            ngx_http_socketio_remote_result(line->bridge, &asked->waiter,
                                            NGX_HTTP_SOCKETIO_RESULT,
                                            &early->body);
        }

        ngx_queue_remove(q);
        ngx_free(early);
    }
}


/* An acknowledgement; Node does not tell whose it is. */

static void
ngx_http_socketio_node_back(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_sio_qmsg_t *m)
{
    u_char     *p;
    size_t      len;
    ngx_str_t   body;
    ngx_uint_t  i;

    len = 6 * sizeof(uint32_t) + NGX_SIO_SOCKET_SID_LEN + m->json.len;

    for (i = 0; i < m->nattachments; i++) {
        len += ngx_sio_pack_str_length(&m->attachments[i]);
    }

    p = ngx_pnalloc(line->bridge->worker->pool, len);
    if (p == NULL) {
        return;
    }

    body.data = p;

    p = ngx_sio_pack_u32(p, asked->tag);
    p = ngx_sio_pack_u32(p, NGX_HTTP_SOCKETIO_ACK_ANSWERED);
    p = ngx_sio_pack_u32(p, 0);
    p = ngx_sio_pack_u32(p, 0);

    ngx_memzero(p, NGX_SIO_SOCKET_SID_LEN);
    p += NGX_SIO_SOCKET_SID_LEN;

    /* what is inside the brackets */

    p = ngx_sio_pack_u32(p, m->json.len - 2);
    p = ngx_cpymem(p, m->json.data + 1, m->json.len - 2);
    p = ngx_sio_pack_u32(p, m->nattachments);

    for (i = 0; i < m->nattachments; i++) {
        p = ngx_sio_pack_str(p, &m->attachments[i]);
    }

    body.len = p - body.data;

    ngx_http_socketio_remote_result(line->bridge, &asked->waiter,
                                    NGX_HTTP_SOCKETIO_ACKED, &body);
}


/* Lists: the part of a page that one server has, as a worker would give it. */

static void
ngx_http_socketio_node_rows(ngx_http_socketio_line_t *line,
    ngx_http_socketio_asked_t *asked, ngx_sio_qmsg_t *m,
    ngx_http_socketio_effect_t *effect)
{
    u_char                   *p;
    size_t                    size, max;
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    ngx_array_t               rows;
    ngx_pool_t               *pool;
    ngx_http_socketio_row_t  *row;

    pool = line->bridge->worker->pool;

    if (ngx_array_init(&rows, pool, 16, sizeof(ngx_http_socketio_row_t))
        != NGX_OK)
    {
        effect->flags = NGX_HTTP_SOCKETIO_RESULT_CUT;
        return;
    }

    rc = asked->type == NGX_HTTP_SOCKETIO_ROOMS
         ? ngx_http_socketio_node_rooms(asked, m, &rows)
         : ngx_http_socketio_node_sockets(asked, m, &rows);

    if (rc != NGX_OK) {
        effect->flags = NGX_HTTP_SOCKETIO_RESULT_CUT;
    }

    row = rows.elts;
    n = rows.nelts;

    ngx_qsort(row, n, sizeof(ngx_http_socketio_row_t),
              asked->type == NGX_HTTP_SOCKETIO_ROOMS
              ? ngx_http_socketio_node_sort_rooms
              : ngx_http_socketio_node_sort_sockets);

    if (asked->type == NGX_HTTP_SOCKETIO_ROOMS) {
        n = ngx_http_socketio_node_merge(row, n);
    }

    max = ngx_min(NGX_HTTP_SOCKETIO_LIST_SIZE,
                  ngx_sio_hub_max_entry(line->bridge->worker->zone->size)
                  - sizeof(ngx_http_socketio_result_t)
                  - NGX_HTTP_SOCKETIO_NODE_ROW);
    size = 0;

    for (i = 0; i < n && i < asked->limit; i++) {
        size += 2 * sizeof(uint32_t) + row[i].name.len
                + (row[i].json.len ? row[i].json.len : sizeof(uint32_t));

        if (size > max) {
            break;
        }
    }

    if (i < n) {
        effect->flags |= i ? NGX_HTTP_SOCKETIO_RESULT_MORE
                           : NGX_HTTP_SOCKETIO_RESULT_CUT;
    }

    n = i;
    p = ngx_pnalloc(pool, size);

    if (n == 0 || p == NULL) {
        return;
    }

    effect->matched = n;
    effect->rows.data = p;

    for (i = 0; i < n; i++) {
        p = ngx_sio_pack_str(p, &row[i].name);

        if (row[i].json.len) {
            p = ngx_sio_pack_str(p, &row[i].json);
            continue;
        }

        p = ngx_sio_pack_u32(p, sizeof(uint32_t));
        p = ngx_sio_pack_u32(p, (uint32_t) row[i].members);
    }

    effect->rows.len = p - effect->rows.data;
}


static ngx_int_t
ngx_http_socketio_node_sockets(ngx_http_socketio_asked_t *asked,
    ngx_sio_qmsg_t *m, ngx_array_t *rows)
{
    ngx_int_t                 rc;
    ngx_str_t                 socket, id, sid;
    ngx_sio_json_iter_t       it;
    ngx_http_socketio_row_t  *row;

    rc = NGX_OK;
    ngx_sio_json_iter(&it, &m->json);

    while (ngx_sio_json_element(&it, &socket) == NGX_OK) {

        ngx_str_null(&id);
        (void) ngx_sio_json_find(&socket, "id", &id);

        if (ngx_http_socketio_node_text(&id, &sid, rows->pool) != NGX_OK
            || sid.len != NGX_SIO_SOCKET_SID_LEN)
        {
            /* a page knows no other ids than those of usual length */
            rc = NGX_DECLINED;
            continue;
        }

        if (asked->behind.len == NGX_SIO_SOCKET_SID_LEN
            && ngx_sio_sid_compare(sid.data, asked->behind.data,
                                   NGX_SIO_SOCKET_SID_LEN) <= 0)
        {
            continue;
        }

        row = ngx_array_push(rows);

        if (row == NULL
            || ngx_http_socketio_node_socket(&m->nsp, &sid, &socket, row,
                                             rows->pool) != NGX_OK)
        {
            rows->nelts -= (row != NULL);
            return NGX_ERROR;
        }
    }

    return rc;
}


/*
 * {"id", "handshake": {"issued"}, "rooms", "data"} as the API has it, whose
 * times are in seconds.
 */

static ngx_int_t
ngx_http_socketio_node_socket(ngx_str_t *nsp, ngx_str_t *sid,
    ngx_str_t *socket, ngx_http_socketio_row_t *row, ngx_pool_t *pool)
{
    u_char     *p;
    uint64_t    issued;
    ngx_str_t   rooms, handshake, value;

    ngx_str_set(&rooms, "[]");
    ngx_str_set(&value, "0");

    if (ngx_sio_json_find(socket, "rooms", &rooms) == NGX_OK
        && ngx_sio_json_type(&rooms) != NGX_SIO_JSON_ARRAY)
    {
        ngx_str_set(&rooms, "[]");
    }

    if (ngx_sio_json_find(socket, "handshake", &handshake) == NGX_OK) {
        (void) ngx_sio_json_find(&handshake, "issued", &value);
    }

    if (ngx_sio_json_uint(&value, INT64_MAX, &issued) != NGX_OK) {
        issued = 0;
    }

    p = ngx_pnalloc(pool, NGX_HTTP_SOCKETIO_NODE_ROW
                          + ngx_sio_json_escape_length(sid->data, sid->len)
                          + ngx_sio_json_escape_length(nsp->data, nsp->len)
                          + rooms.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(row, sizeof(ngx_http_socketio_row_t));

    row->name = *sid;
    row->json.data = p;

    p = ngx_cpymem(p, "{\"sid\":\"", sizeof("{\"sid\":\"") - 1);
    p = ngx_sio_json_escape(p, sid->data, sid->len);
    p = ngx_cpymem(p, "\",\"namespace\":\"",
                   sizeof("\",\"namespace\":\"") - 1);
    p = ngx_sio_json_escape(p, nsp->data, nsp->len);
    p = ngx_cpymem(p, "\",\"rooms\":", sizeof("\",\"rooms\":") - 1);
    p = ngx_cpymem(p, rooms.data, rooms.len);
    p = ngx_cpymem(p, ",\"user\":null,\"transport\":null,\"connected_at\":",
               sizeof(",\"user\":null,\"transport\":null,\"connected_at\":")
               - 1);
    p = ngx_sio_json_uint_write(p, issued / 1000);
    *p++ = '}';

    row->json.len = p - row->json.data;

    return NGX_OK;
}


/* A room for each time that a socket is in it; its own does not count. */

static ngx_int_t
ngx_http_socketio_node_rooms(ngx_http_socketio_asked_t *asked,
    ngx_sio_qmsg_t *m, ngx_array_t *rows)
{
    ngx_str_t                 socket, id, sid, rooms, room, name;
    ngx_sio_json_iter_t       it, in;
    ngx_http_socketio_row_t  *row;

    ngx_sio_json_iter(&it, &m->json);

    while (ngx_sio_json_element(&it, &socket) == NGX_OK) {

        ngx_str_null(&id);
        ngx_str_set(&rooms, "[]");

        (void) ngx_sio_json_find(&socket, "id", &id);
        (void) ngx_sio_json_find(&socket, "rooms", &rooms);

        if (ngx_http_socketio_node_text(&id, &sid, rows->pool) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_sio_json_iter(&in, &rooms);

        while (ngx_sio_json_type(&rooms) == NGX_SIO_JSON_ARRAY
               && ngx_sio_json_element(&in, &room) == NGX_OK)
        {
            if (ngx_http_socketio_node_text(&room, &name, rows->pool)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            if (name.len == 0
                || (name.len == sid.len
                    && ngx_memcmp(name.data, sid.data, sid.len) == 0)
                || (asked->behind.len
                    && ngx_sio_walk_compare(&name, &asked->behind) <= 0))
            {
                continue;
            }

            row = ngx_array_push(rows);
            if (row == NULL) {
                return NGX_ERROR;
            }

            ngx_memzero(row, sizeof(ngx_http_socketio_row_t));
            row->name = name;
            row->members = 1;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_socketio_node_merge(ngx_http_socketio_row_t *row, ngx_uint_t n)
{
    ngx_uint_t  i, k;

    for (i = 0, k = 0; i < n; i++) {

        if (k && row[k - 1].name.len == row[i].name.len
            && ngx_memcmp(row[k - 1].name.data, row[i].name.data,
                          row[i].name.len) == 0)
        {
            row[k - 1].members += row[i].members;

        } else {
            row[k++] = row[i];
        }
    }

    return k;
}


/* Strings decoded, numbers as they are, nothing of others. */

static ngx_int_t
ngx_http_socketio_node_text(ngx_str_t *json, ngx_str_t *text, ngx_pool_t *pool)
{
    ngx_str_null(text);

    switch (json->len ? ngx_sio_json_type(json) : NGX_SIO_JSON_INVALID) {

    case NGX_SIO_JSON_NUMBER:
        *text = *json;
        return NGX_OK;

    case NGX_SIO_JSON_STRING:
        text->data = ngx_pnalloc(pool, json->len);
        if (text->data == NULL) {
            return NGX_ERROR;
        }

        text->len = ngx_sio_json_string_write(text->data, json) - text->data;

        return NGX_OK;

    default:
        return NGX_OK;
    }
}


static int ngx_libc_cdecl
ngx_http_socketio_node_sort_sockets(const void *a, const void *b)
{
    const ngx_http_socketio_row_t *x = a, *y = b;

    return (int) ngx_sio_sid_compare(x->name.data, y->name.data,
                                     NGX_SIO_SOCKET_SID_LEN);
}


static int ngx_libc_cdecl
ngx_http_socketio_node_sort_rooms(const void *a, const void *b)
{
    ngx_http_socketio_row_t  *x = (ngx_http_socketio_row_t *) a;
    ngx_http_socketio_row_t  *y = (ngx_http_socketio_row_t *) b;

    return (int) ngx_sio_walk_compare(&x->name, &y->name);
}


void
ngx_http_socketio_node_ask_tick(ngx_http_socketio_node_t *node)
{
    ngx_queue_t                *q, *next;
    ngx_http_socketio_asked_t  *asked;

    for (q = ngx_queue_head(&node->asked);
         q != ngx_queue_sentinel(&node->asked);
         q = next)
    {
        next = ngx_queue_next(q);
        asked = ngx_queue_data(q, ngx_http_socketio_asked_t, queue);

        if ((ngx_msec_int_t) (asked->until - ngx_current_msec) <= 0) {
            ngx_http_socketio_node_forget(node, asked);
        }
    }
}


void
ngx_http_socketio_node_ask_clear(ngx_http_socketio_node_t *node)
{
    while (!ngx_queue_empty(&node->asked)) {
        ngx_http_socketio_node_forget(node,
            ngx_queue_data(ngx_queue_head(&node->asked),
                           ngx_http_socketio_asked_t, queue));
    }
}


static void
ngx_http_socketio_node_forget(ngx_http_socketio_node_t *node,
    ngx_http_socketio_asked_t *asked)
{
    ngx_http_socketio_node_late(NULL, asked);

    ngx_queue_remove(&asked->queue);
    node->nasked--;

    ngx_free(asked);
}
