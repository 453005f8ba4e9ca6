/*
 * Lists that Node's servers ask for: the workers are asked page by page, and
 * what they say becomes one response.
 *
 *     fetchSockets()    SOCKETS
 *     allRooms()        ROOMS, then SOCKETS, whose ids are rooms there
 */

#include "ngx_http_socketio_node.h"
#include "ngx_http_socketio_list.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_json.h"
#include "ngx_sio_sid.h"
#include "ngx_sio_walk.h"


/* of each line */
#define NGX_HTTP_SOCKETIO_NODE_TOLD  64

/* msec; whoever asks waits for five seconds */
#define NGX_HTTP_SOCKETIO_NODE_TIME  4000

/* octets of the rows of one response */
#define NGX_HTTP_SOCKETIO_NODE_SIZE  (8 * 1024 * 1024)


typedef struct {
    ngx_queue_t                  queue;
    ngx_http_socketio_line_t    *line;
    ngx_http_socketio_parked_t  *parked;
    ngx_pool_t                  *pool;
    ngx_sio_qmsg_t               m;          /* who, from where, for whom */
    ngx_msec_t                   until;

    ngx_uint_t                   type;       /* of the command */
    uint32_t                     page;
    ngx_sio_hub_members_t        missing;    /* of the page */
    ngx_int_t                    due;
    ngx_array_t                  rows;       /* ngx_http_socketio_row_t */
    ngx_uint_t                   first;      /* of the page */
    ngx_str_t                    end;        /* of what is known of it, */
    unsigned                     ends:1;     /* if there is more */
    unsigned                     cut:1;      /* the rest is too large */

    size_t                       size;       /* of all rows */
    ngx_array_t                  names;      /* rows of ROOMS, when all are
                                                there */
} ngx_http_socketio_told_t;


static ngx_http_socketio_told_t *ngx_http_socketio_node_told(
    ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m);
static ngx_int_t ngx_http_socketio_node_copy(ngx_http_socketio_told_t *told,
    ngx_sio_qmsg_t *m);
static ngx_int_t ngx_http_socketio_node_copy_rooms(ngx_pool_t *pool,
    ngx_sio_qmsg_room_t **rooms, ngx_uint_t n);
static ngx_int_t ngx_http_socketio_node_copy_text(ngx_pool_t *pool,
    ngx_str_t *text);
static ngx_int_t ngx_http_socketio_node_page(ngx_http_socketio_told_t *told);
static void ngx_http_socketio_node_said(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_node_part(ngx_http_socketio_told_t *told,
    ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_node_keep(ngx_http_socketio_told_t *told,
    ngx_uint_t flags, ngx_str_t *rows);
static void ngx_http_socketio_node_next(ngx_http_socketio_told_t *told);
static ngx_int_t ngx_http_socketio_node_compare(ngx_uint_t type, ngx_str_t *a,
    ngx_str_t *b);
static void ngx_http_socketio_node_finish(ngx_http_socketio_told_t *told);
static size_t ngx_http_socketio_node_write(ngx_http_socketio_told_t *told,
    ngx_http_socketio_row_t *row, u_char *p);
static ngx_uint_t ngx_http_socketio_node_meant(ngx_sio_qmsg_t *m,
    ngx_str_t *rooms);
static ngx_uint_t ngx_http_socketio_node_in(ngx_str_t *rooms,
    ngx_sio_qmsg_room_t *names, ngx_uint_t n);
static void ngx_http_socketio_node_end(ngx_http_socketio_told_t *told);


void
ngx_http_socketio_node_tell(ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m)
{
    ngx_http_socketio_told_t  *told;

    told = ngx_http_socketio_node_told(line, m);

    if (told == NULL) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                         "too many lists");
        ngx_http_socketio_node_tell_nothing(line, m);
        return;
    }

    if (ngx_http_socketio_node_page(told) != NGX_OK) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                         "the zone is full");
        ngx_http_socketio_node_finish(told);
    }
}


void
ngx_http_socketio_node_tell_nothing(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m)
{
    ngx_sio_qmsg_t  answer;

    if (m->request_id.len == 0) {
        return;
    }

    ngx_memzero(&answer, sizeof(ngx_sio_qmsg_t));

    answer.nsp = m->nsp;
    answer.request_id = m->request_id;

    switch (m->kind) {

    case NGX_SIO_QMSG_FETCH:
        answer.kind = NGX_SIO_QMSG_FETCH_ANSWER;
        ngx_str_set(&answer.json, "[]");
        break;

    case NGX_SIO_QMSG_ROOMS:
        answer.kind = NGX_SIO_QMSG_ROOMS_ANSWER;
        ngx_str_set(&answer.json, "[]");
        break;

    case NGX_SIO_QMSG_EMIT:
        answer.kind = NGX_SIO_QMSG_COUNT;
        break;

    case NGX_SIO_QMSG_SERVER_EMIT:
        answer.kind = NGX_SIO_QMSG_SERVER_ANSWER;
        ngx_str_set(&answer.json, "null");
        break;

    default:
        return;
    }

    ngx_http_socketio_node_send(line, &answer);
}


static ngx_http_socketio_told_t *
ngx_http_socketio_node_told(ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m)
{
    ngx_pool_t                *pool;
    ngx_http_socketio_node_t  *node;
    ngx_http_socketio_told_t  *told;

    node = line->foreign;

    if (node->ntold == NGX_HTTP_SOCKETIO_NODE_TOLD) {
        return NULL;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    told = ngx_pcalloc(pool, sizeof(ngx_http_socketio_told_t));

    if (told == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    told->pool = pool;
    told->line = line;
    told->until = ngx_current_msec + NGX_HTTP_SOCKETIO_NODE_TIME;
    told->type = m->kind == NGX_SIO_QMSG_ROOMS ? NGX_HTTP_SOCKETIO_ROOMS
                                               : NGX_HTTP_SOCKETIO_SOCKETS;

    if (ngx_http_socketio_node_copy(told, m) == NGX_OK
        && ngx_array_init(&told->rows, pool, 64,
                          sizeof(ngx_http_socketio_row_t)) == NGX_OK
        && ngx_array_init(&told->names, pool, 8,
                          sizeof(ngx_http_socketio_row_t)) == NGX_OK)
    {
        told->parked = ngx_http_socketio_park(line->bridge->worker, NULL,
                                              ngx_http_socketio_node_said,
                                              told);
    }

    if (told->parked == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    told->parked->owner = ngx_sio_hub_addr_all();

    ngx_queue_insert_tail(&node->told, &told->queue);
    node->ntold++;

    return told;
}


static ngx_int_t
ngx_http_socketio_node_copy(ngx_http_socketio_told_t *told, ngx_sio_qmsg_t *m)
{
    told->m = *m;

    if (ngx_http_socketio_node_copy_text(told->pool, &told->m.nsp) != NGX_OK
        || ngx_http_socketio_node_copy_text(told->pool, &told->m.request_id)
           != NGX_OK
        || ngx_http_socketio_node_copy_rooms(told->pool, &told->m.rooms,
                                             m->nrooms) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_socketio_node_copy_rooms(told->pool, &told->m.except,
                                             m->nexcept);
}


static ngx_int_t
ngx_http_socketio_node_copy_rooms(ngx_pool_t *pool,
    ngx_sio_qmsg_room_t **rooms, ngx_uint_t n)
{
    ngx_uint_t            i;
    ngx_sio_qmsg_room_t  *copy;

    if (n == 0) {
        return NGX_OK;
    }

    copy = ngx_palloc(pool, n * sizeof(ngx_sio_qmsg_room_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        copy[i] = (*rooms)[i];

        if (ngx_http_socketio_node_copy_text(pool, &copy[i].name) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    *rooms = copy;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_node_copy_text(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char  *p;

    if (text->len == 0) {
        return NGX_OK;
    }

    p = ngx_pstrdup(pool, text);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    return NGX_OK;
}


/* Asks for what is behind told->end, or for the beginning. */

static ngx_int_t
ngx_http_socketio_node_page(ngx_http_socketio_told_t *told)
{
    ngx_int_t                     rc;
    ngx_str_t                     room;
    ngx_http_socketio_command_t   cmd;

    told->page++;
    told->first = told->rows.nelts;
    told->due = 0;
    ngx_memzero(&told->missing, sizeof(ngx_sio_hub_members_t));

    ngx_memzero(&cmd, sizeof(ngx_http_socketio_command_t));

    cmd.type = told->type;
    cmd.target.nsp = told->m.nsp;
    cmd.id = NGX_HTTP_SOCKETIO_LIST_ROWS;
    cmd.token = told->end;
    cmd.local = 1;
    cmd.count = told->parked->waiter;
    cmd.tag = told->page;

    if (told->m.kind == NGX_SIO_QMSG_FETCH && told->m.nrooms == 1) {
        room = told->m.rooms[0].name;
        cmd.target.to = &room;
        cmd.target.nto = 1;
    }

    rc = ngx_http_socketio_command_send(told->line->bridge->worker, &cmd,
                                        &told->missing);

    /* while it waits for room, the members come before all results */

    return rc == NGX_AGAIN ? NGX_OK : rc;
}


static void
ngx_http_socketio_node_said(ngx_http_socketio_parked_t *p, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    ngx_http_socketio_told_t     *told;
    ngx_http_socketio_members_t   members;

    told = p->data;

    switch (kind) {

    case NGX_HTTP_SOCKETIO_MEMBERS:
        ngx_memcpy(&members, body->data, sizeof(members));

        if (members.tag == told->page) {
            told->missing = members.members;
        }

        return;

    case NGX_HTTP_SOCKETIO_RESULT:
        ngx_http_socketio_node_part(told, from, body);
        return;

    case 0:

        /* a worker has died, and its sockets with it */

        if (from.slot < NGX_SIO_HUB_SLOTS
            && ngx_sio_hub_members_has(&told->missing, from.slot))
        {
            ngx_sio_hub_members_remove(&told->missing, from.slot);
            ngx_http_socketio_node_next(told);
        }

        return;

    default:
        return;
    }
}


static void
ngx_http_socketio_node_part(ngx_http_socketio_told_t *told,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    u_char                      *due;
    ngx_str_t                    rows;
    ngx_uint_t                   i;
    ngx_http_socketio_due_t      d;
    ngx_http_socketio_result_t   result;

    if (ngx_http_socketio_result_decode(body, &result, &due, &rows) != NGX_OK
        || result.tag != told->page || from.slot >= NGX_SIO_HUB_SLOTS)
    {
        return;
    }

    if (result.flags & NGX_HTTP_SOCKETIO_RESULT_FURTHER) {
        told->due--;

    } else {
        ngx_sio_hub_members_remove(&told->missing, from.slot);
    }

    for (i = 0; i < result.ndue; i++) {
        ngx_memcpy(&d, due, sizeof(d));
        due += sizeof(d);
        told->due += d.n;
    }

    ngx_http_socketio_node_keep(told, result.flags, &rows);
    ngx_http_socketio_node_next(told);
}


static void
ngx_http_socketio_node_keep(ngx_http_socketio_told_t *told, ngx_uint_t flags,
    ngx_str_t *rows)
{
    u_char                   *pos;
    ngx_str_t                 copy, last;
    ngx_http_socketio_row_t   row, *new;

    if (rows->len == 0) {
        return;
    }

    if (told->size + rows->len > NGX_HTTP_SOCKETIO_NODE_SIZE) {
        told->cut = 1;
        return;
    }

    copy.len = rows->len;
    copy.data = ngx_pstrdup(told->pool, rows);

    if (copy.data == NULL) {
        return;
    }

    told->size += copy.len;

    ngx_str_null(&last);
    pos = copy.data;

    while (ngx_http_socketio_list_row(&copy, told->type, &pos, &row) == NGX_OK)
    {
        new = ngx_array_push(&told->rows);
        if (new == NULL) {
            return;
        }

        *new = row;
        last = row.name;
    }

    if ((flags & NGX_HTTP_SOCKETIO_RESULT_MORE) && last.len
        && (!told->ends
            || ngx_http_socketio_node_compare(told->type, &last, &told->end)
               < 0))
    {
        told->end = last;
        told->ends = 1;
    }
}


/*
 * When everybody has answered, what is behind the first end of them is asked
 * for again.
 */

static void
ngx_http_socketio_node_next(ngx_http_socketio_told_t *told)
{
    ngx_uint_t                i, n;
    ngx_http_socketio_row_t  *row;

    if (told->due != 0 || ngx_sio_hub_members_count(&told->missing) != 0) {
        return;
    }

    row = told->rows.elts;
    n = told->first;

    for (i = told->first; i < told->rows.nelts; i++) {
        if (!told->ends
            || ngx_http_socketio_node_compare(told->type, &row[i].name,
                                              &told->end) <= 0)
        {
            row[n++] = row[i];
        }
    }

    told->rows.nelts = n;

    if (told->ends && !told->cut) {
        told->ends = 0;

        if (ngx_http_socketio_node_page(told) == NGX_OK) {
            return;
        }

    } else if (told->type == NGX_HTTP_SOCKETIO_ROOMS && !told->cut) {
        told->names = told->rows;
        told->type = NGX_HTTP_SOCKETIO_SOCKETS;
        told->ends = 0;
        ngx_str_null(&told->end);

        if (ngx_array_init(&told->rows, told->pool, 64,
                           sizeof(ngx_http_socketio_row_t)) == NGX_OK
            && ngx_http_socketio_node_page(told) == NGX_OK)
        {
            return;
        }

        told->rows.nelts = 0;
    }

    ngx_http_socketio_node_finish(told);
}


static ngx_int_t
ngx_http_socketio_node_compare(ngx_uint_t type, ngx_str_t *a, ngx_str_t *b)
{
    if (type == NGX_HTTP_SOCKETIO_ROOMS) {
        return ngx_sio_walk_compare(a, b);
    }

    return ngx_sio_sid_compare(a->data, b->data, NGX_SIO_SOCKET_SID_LEN);
}


/* Answers with what is known, and forgets the request. */

static void
ngx_http_socketio_node_finish(ngx_http_socketio_told_t *told)
{
    u_char                   *p;
    size_t                    size;
    ngx_uint_t                i, k;
    ngx_array_t              *lists[2];
    ngx_sio_qmsg_t            m;
    ngx_http_socketio_row_t  *row;

    if (told->cut) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "message queue %V: a list of %ui rows for another server "
                      "is cut, limit is %d octets",
                      &told->line->conf->url.shown,
                      told->names.nelts + told->rows.nelts,
                      NGX_HTTP_SOCKETIO_NODE_SIZE);
    }

    ngx_memzero(&m, sizeof(ngx_sio_qmsg_t));

    m.kind = told->m.kind == NGX_SIO_QMSG_ROOMS ? NGX_SIO_QMSG_ROOMS_ANSWER
                                                : NGX_SIO_QMSG_FETCH_ANSWER;
    m.nsp = told->m.nsp;
    m.request_id = told->m.request_id;

    lists[0] = &told->names;
    lists[1] = &told->rows;

    size = sizeof("[]");

    for (k = 0; k < 2; k++) {
        row = lists[k]->elts;

        for (i = 0; i < lists[k]->nelts; i++) {
            size += 1 + ngx_http_socketio_node_write(told, &row[i], NULL);
        }
    }

    p = ngx_pnalloc(told->pool, size);

    if (p == NULL) {
        ngx_http_socketio_node_tell_nothing(told->line, &told->m);
        ngx_http_socketio_node_end(told);
        return;
    }

    m.json.data = p;
    *p++ = '[';

    for (k = 0; k < 2; k++) {
        row = lists[k]->elts;

        for (i = 0; i < lists[k]->nelts; i++) {
            size = ngx_http_socketio_node_write(told, &row[i], p);
            p += size;

            if (size) {
                *p++ = ',';
            }
        }
    }

    p -= (p[-1] == ',');
    *p++ = ']';

    m.json.len = p - m.json.data;

    ngx_reset_pool(told->line->bridge->worker->pool);
    ngx_http_socketio_node_send(told->line, &m);

    ngx_http_socketio_node_end(told);
}


/*
 * An element, or its length.  Applications look into a handshake without
 * asking whether there is one; its time is in milliseconds.
 */

static size_t
ngx_http_socketio_node_write(ngx_http_socketio_told_t *told,
    ngx_http_socketio_row_t *row, u_char *p)
{
    u_char     *start;
    ngx_str_t   rooms, user, since;

    static ngx_str_t  head = ngx_string("{\"id\":\"");
    static ngx_str_t  handshake = ngx_string("\",\"handshake\":{"
        "\"headers\":{},\"time\":\"\",\"address\":\"\",\"xdomain\":false,"
        "\"secure\":false,\"url\":\"\",\"query\":{},\"auth\":{},\"issued\":");

    if (row->json.len == 0 || told->m.bare
        || told->m.kind == NGX_SIO_QMSG_ROOMS)
    {
        if (p == NULL) {
            return 2 + ngx_sio_json_escape_length(row->name.data,
                                                  row->name.len);
        }

        start = p;

        *p++ = '"';
        p = ngx_sio_json_escape(p, row->name.data, row->name.len);
        *p++ = '"';

        return p - start;
    }

    ngx_str_set(&rooms, "[]");
    ngx_str_set(&user, "null");
    ngx_str_set(&since, "1");

    (void) ngx_sio_json_find(&row->json, "rooms", &rooms);
    (void) ngx_sio_json_find(&row->json, "user", &user);
    (void) ngx_sio_json_find(&row->json, "connected_at", &since);

    if (!ngx_http_socketio_node_meant(&told->m, &rooms)) {
        return 0;
    }

    if (p == NULL) {
        return head.len + row->name.len + handshake.len + since.len
               + sizeof("000},\"rooms\":,\"data\":{\"user\":}}") - 1
               + rooms.len + user.len;
    }

    start = p;

    p = ngx_cpymem(p, head.data, head.len);
    p = ngx_cpymem(p, row->name.data, row->name.len);
    p = ngx_cpymem(p, handshake.data, handshake.len);
    p = ngx_cpymem(p, since.data, since.len);
    p = ngx_cpymem(p, "000},\"rooms\":", sizeof("000},\"rooms\":") - 1);
    p = ngx_cpymem(p, rooms.data, rooms.len);
    p = ngx_cpymem(p, ",\"data\":{", sizeof(",\"data\":{") - 1);

    if (ngx_sio_json_type(&user) == NGX_SIO_JSON_STRING) {
        p = ngx_cpymem(p, "\"user\":", sizeof("\"user\":") - 1);
        p = ngx_cpymem(p, user.data, user.len);
    }

    p = ngx_cpymem(p, "}}", 2);

    return p - start;
}


/* The workers know of one room at most, and of nobody excepted. */

static ngx_uint_t
ngx_http_socketio_node_meant(ngx_sio_qmsg_t *m, ngx_str_t *rooms)
{
    return (m->all || ngx_http_socketio_node_in(rooms, m->rooms, m->nrooms))
           && !ngx_http_socketio_node_in(rooms, m->except, m->nexcept);
}


static ngx_uint_t
ngx_http_socketio_node_in(ngx_str_t *rooms, ngx_sio_qmsg_room_t *names,
    ngx_uint_t n)
{
    ngx_str_t             room;
    ngx_uint_t            i;
    ngx_sio_json_iter_t   it;

    if (n == 0) {
        return 0;
    }

    ngx_sio_json_iter(&it, rooms);

    while (ngx_sio_json_element(&it, &room) == NGX_OK) {

        for (i = 0; i < n; i++) {
            if (ngx_sio_json_string_equal(&room, &names[i].name)) {
                return 1;
            }
        }
    }

    return 0;
}


void
ngx_http_socketio_node_tell_tick(ngx_http_socketio_node_t *node)
{
    ngx_queue_t               *q, *next;
    ngx_http_socketio_told_t  *told;

    for (q = ngx_queue_head(&node->told);
         q != ngx_queue_sentinel(&node->told);
         q = next)
    {
        next = ngx_queue_next(q);
        told = ngx_queue_data(q, ngx_http_socketio_told_t, queue);

        if ((ngx_msec_int_t) (told->until - ngx_current_msec) <= 0) {
            ngx_http_socketio_node_finish(told);
        }
    }
}


void
ngx_http_socketio_node_tell_clear(ngx_http_socketio_node_t *node)
{
    while (!ngx_queue_empty(&node->told)) {
        ngx_http_socketio_node_end(
            ngx_queue_data(ngx_queue_head(&node->told),
                           ngx_http_socketio_told_t, queue));
    }
}


static void
ngx_http_socketio_node_end(ngx_http_socketio_told_t *told)
{
    ngx_http_socketio_node_t  *node;

    node = told->line->foreign;

    ngx_queue_remove(&told->queue);
    node->ntold--;

    ngx_http_socketio_unpark(told->parked);
    ngx_destroy_pool(told->pool);
}
