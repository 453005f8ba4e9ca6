
#include "ngx_http_socketio_list.h"
#include "ngx_http_socketio_backend.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_json.h"
#include "ngx_sio_pack.h"
#include "ngx_sio_utf8.h"
#include "ngx_sio_walk.h"


/* octets of an entry beside a single row: the result, the row's lengths */
#define NGX_HTTP_SOCKETIO_LIST_ROOM  512


typedef struct {
    ngx_http_socketio_worker_t   *worker;
    ngx_http_socketio_command_t  *cmd;
    ngx_http_socketio_effect_t   *effect;
    ngx_sio_socket_t             *only;     /* ROOMS: whose rooms; NULL: of
                                               everybody */
    void                        **found;    /* sockets or rooms */
    ngx_uint_t                    n;
    ngx_uint_t                    max;
    size_t                        size;     /* of their rows */
} ngx_http_socketio_page_t;


static void ngx_http_socketio_list_one(ngx_http_socketio_page_t *page);
static ngx_int_t ngx_http_socketio_list_socket(ngx_sio_socket_t *so,
    void *data);
static ngx_sio_socket_t *ngx_http_socketio_list_only(
    ngx_http_socketio_command_t *cmd);
static ngx_int_t ngx_http_socketio_list_room(ngx_sio_room_t *room,
    void *data);
static ngx_int_t ngx_http_socketio_list_add(ngx_http_socketio_page_t *page,
    void *found, size_t size);
static void ngx_http_socketio_list_write(ngx_http_socketio_page_t *page);
static u_char *ngx_http_socketio_list_write_socket(
    ngx_http_socketio_page_t *page, ngx_sio_socket_t *so, u_char *p);
static size_t ngx_http_socketio_list_json_length(ngx_sio_socket_t *so,
    size_t max, ngx_uint_t *nrooms);
static u_char *ngx_http_socketio_list_json(ngx_sio_socket_t *so,
    ngx_uint_t nrooms, u_char *p);
static u_char *ngx_http_socketio_list_string(u_char *p, ngx_str_t *str);


#define ngx_http_socketio_list_string_length(str)                             \
    (2 + ngx_sio_json_escape_length((str)->data, (str)->len))

/* the most octets that the row of a single socket may have */
#define ngx_http_socketio_list_max(w)                                         \
    ((w)->engine.max_answer - NGX_HTTP_SOCKETIO_LIST_ROOM)


void
ngx_http_socketio_list(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect)
{
    ngx_int_t                 rc;
    ngx_http_socketio_page_t  page;

    ngx_memzero(&page, sizeof(ngx_http_socketio_page_t));

    page.worker = w;
    page.cmd = cmd;
    page.effect = effect;
    page.max = (cmd->type == NGX_HTTP_SOCKETIO_SOCKET)
               ? 1 : ngx_min(cmd->id, NGX_HTTP_SOCKETIO_LIST_ROWS);

    page.found = ngx_palloc(w->pool, page.max * sizeof(void *));

    if (page.found == NULL) {
        effect->flags = NGX_HTTP_SOCKETIO_RESULT_CUT;
        return;
    }

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_SOCKET:
        ngx_http_socketio_list_one(&page);
        rc = NGX_OK;
        break;

    case NGX_HTTP_SOCKETIO_SOCKETS:
        rc = ngx_sio_walk_sockets(&w->engine, &cmd->target, &cmd->token,
                                  ngx_http_socketio_list_socket, &page);
        break;

    default: /* NGX_HTTP_SOCKETIO_ROOMS */

        if (cmd->only != NULL) {
            page.only = ngx_http_socketio_list_only(cmd);

            if (page.only == NULL) {
                return;
            }
        }

        rc = ngx_sio_walk_rooms(&w->engine, &cmd->target.nsp, &cmd->token,
                                ngx_http_socketio_list_room, &page);
        break;
    }

    if (rc == NGX_DONE) {
        effect->flags |= NGX_HTTP_SOCKETIO_RESULT_MORE;

    } else if (rc == NGX_ERROR) {
        effect->flags |= NGX_HTTP_SOCKETIO_RESULT_CUT;
    }

    ngx_http_socketio_list_write(&page);
}


static void
ngx_http_socketio_list_one(ngx_http_socketio_page_t *page)
{
    ngx_sio_socket_t  *so;
    ngx_sio_target_t  *t;

    t = &page->cmd->target;

    if (t->nto != 1) {
        return;
    }

    so = ngx_sio_socket_find(&page->worker->engine, t->to[0].data,
                             t->to[0].len);

    if (so != NULL && so->connected) {
        (void) ngx_http_socketio_list_socket(so, page);
    }
}


static ngx_int_t
ngx_http_socketio_list_socket(ngx_sio_socket_t *so, void *data)
{
    ngx_http_socketio_page_t *page = data;

    size_t      size;
    ngx_uint_t  nrooms;

    if (page->cmd->only != NULL && page->cmd->only != so->session) {
        return NGX_OK;
    }

    size = 2 * sizeof(uint32_t) + NGX_SIO_SOCKET_SID_LEN
           + ngx_http_socketio_list_json_length(so,
                      ngx_http_socketio_list_max(page->worker), &nrooms);

    return ngx_http_socketio_list_add(page, so, size);
}


/* The socket that a session has in the namespace; a session has few. */

static ngx_sio_socket_t *
ngx_http_socketio_list_only(ngx_http_socketio_command_t *cmd)
{
    ngx_str_t         *nsp;
    ngx_queue_t       *q;
    ngx_sio_socket_t  *so;

    for (q = ngx_queue_head(&cmd->only->sockets);
         q != ngx_queue_sentinel(&cmd->only->sockets);
         q = ngx_queue_next(q))
    {
        so = ngx_queue_data(q, ngx_sio_socket_t, link);
        nsp = &so->nsp->node.str;

        if (nsp->len == cmd->target.nsp.len
            && ngx_memcmp(nsp->data, cmd->target.nsp.data, nsp->len) == 0)
        {
            return so;
        }
    }

    return NULL;
}


/* A session on its way counts one for each of its rooms. */

static ngx_int_t
ngx_http_socketio_list_room(ngx_sio_room_t *room, void *data)
{
    ngx_http_socketio_page_t *page = data;

    ngx_queue_t           *q, *rooms;
    ngx_sio_membership_t  *m;

    if (page->only != NULL) {
        rooms = &page->only->rooms;

        for (q = ngx_queue_head(rooms);
             q != ngx_queue_sentinel(rooms);
             q = ngx_queue_next(q))
        {
            m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);

            if (m->room == room) {
                break;
            }
        }

        if (q == ngx_queue_sentinel(rooms)) {
            return NGX_OK;
        }
    }

    return ngx_http_socketio_list_add(page, room,
                                      ngx_sio_pack_str_length(&room->node.str)
                                      + 2 * sizeof(uint32_t));
}


/* NGX_OK; NGX_DONE: the page is full. */

static ngx_int_t
ngx_http_socketio_list_add(ngx_http_socketio_page_t *page, void *found,
    size_t size)
{
    size_t  max;

    max = ngx_http_socketio_list_max(page->worker) / 4;
    max = ngx_min(max, NGX_HTTP_SOCKETIO_LIST_SIZE);

    if (page->n == page->max || (page->n && page->size + size > max)) {
        return NGX_DONE;
    }

    page->found[page->n++] = found;
    page->size += size;

    return NGX_OK;
}


static void
ngx_http_socketio_list_write(ngx_http_socketio_page_t *page)
{
    u_char                      *p;
    uint32_t                     members;
    ngx_uint_t                   i;
    ngx_sio_room_t              *room;
    ngx_http_socketio_effect_t  *effect;

    effect = page->effect;
    effect->matched = page->n;

    if (page->n == 0) {
        return;
    }

    p = ngx_pnalloc(page->worker->pool, page->size);

    if (p == NULL) {
        effect->matched = 0;
        effect->flags = NGX_HTTP_SOCKETIO_RESULT_CUT;
        return;
    }

    effect->rows.data = p;

    for (i = 0; i < page->n; i++) {

        if (page->cmd->type != NGX_HTTP_SOCKETIO_ROOMS) {
            p = ngx_http_socketio_list_write_socket(page, page->found[i], p);
            continue;
        }

        room = page->found[i];
        members = page->only ? 1 : room->members.n;

        p = ngx_sio_pack_str(p, &room->node.str);
        p = ngx_sio_pack_u32(p, sizeof(uint32_t));
        p = ngx_sio_pack_u32(p, members);
    }

    effect->rows.len = p - effect->rows.data;
}


static u_char *
ngx_http_socketio_list_write_socket(ngx_http_socketio_page_t *page,
    ngx_sio_socket_t *so, u_char *p)
{
    u_char      *length;
    ngx_str_t    sid;
    ngx_uint_t   nrooms;

    (void) ngx_http_socketio_list_json_length(so,
                      ngx_http_socketio_list_max(page->worker), &nrooms);

    if (nrooms < so->nrooms) {
        page->effect->flags |= NGX_HTTP_SOCKETIO_RESULT_CUT;
    }

    sid.len = NGX_SIO_SOCKET_SID_LEN;
    sid.data = so->sid;

    length = ngx_sio_pack_str(p, &sid);
    p = ngx_http_socketio_list_json(so, nrooms, length + sizeof(uint32_t));

    ngx_sio_pack_u32(length, p - length - sizeof(uint32_t));

    return p;
}


/* Of its rooms as many as max octets have place for. */

static size_t
ngx_http_socketio_list_json_length(ngx_sio_socket_t *so, size_t max,
    ngx_uint_t *nrooms)
{
    size_t                 len, room;
    ngx_str_t             *user;
    ngx_queue_t           *q;
    ngx_sio_membership_t  *m;

    user = ngx_http_socketio_backend_user(so);

    len = sizeof("{\"sid\":\"\",\"namespace\":,\"rooms\":[\"\",],\"user\":null,"
                 "\"transport\":\"websocket\",\"connected_at\":}") - 1
          + 2 * NGX_SIO_SOCKET_SID_LEN
          + ngx_http_socketio_list_string_length(&so->nsp->node.str)
          + (user->len ? ngx_http_socketio_list_string_length(user) : 0)
          + NGX_INT64_LEN;

    *nrooms = 0;

    for (q = ngx_queue_head(&so->rooms);
         q != ngx_queue_sentinel(&so->rooms);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);
        room = 1 + ngx_http_socketio_list_string_length(&m->room->node.str);

        if (len + room > max) {
            break;
        }

        len += room;
        (*nrooms)++;
    }

    return len;
}


/* At most as long as measured: what is absent was counted, too. */

static u_char *
ngx_http_socketio_list_json(ngx_sio_socket_t *so, ngx_uint_t nrooms, u_char *p)
{
    ngx_str_t             *user, *transport;
    ngx_uint_t             i;
    ngx_queue_t           *q;
    ngx_sio_membership_t  *m;

    user = ngx_http_socketio_backend_user(so);
    transport = ngx_sio_session_transport(so->session);

    p = ngx_cpymem(p, "{\"sid\":\"", sizeof("{\"sid\":\"") - 1);
    p = ngx_cpymem(p, so->sid, NGX_SIO_SOCKET_SID_LEN);

    p = ngx_cpymem(p, "\",\"namespace\":", sizeof("\",\"namespace\":") - 1);
    p = ngx_http_socketio_list_string(p, &so->nsp->node.str);

    p = ngx_cpymem(p, ",\"rooms\":[", sizeof(",\"rooms\":[") - 1);

    if (!so->left_own) {
        *p++ = '"';
        p = ngx_cpymem(p, so->sid, NGX_SIO_SOCKET_SID_LEN);
        *p++ = '"';
    }

    q = ngx_queue_head(&so->rooms);

    for (i = 0; i < nrooms; i++) {
        m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);

        if (p[-1] != '[') {
            *p++ = ',';
        }

        p = ngx_http_socketio_list_string(p, &m->room->node.str);
        q = ngx_queue_next(q);
    }

    p = ngx_cpymem(p, "],\"user\":", sizeof("],\"user\":") - 1);

    p = user->len ? ngx_http_socketio_list_string(p, user)
                  : ngx_cpymem(p, "null", 4);

    p = ngx_cpymem(p, ",\"transport\":\"", sizeof(",\"transport\":\"") - 1);
    p = ngx_cpymem(p, transport->data, transport->len);

    p = ngx_cpymem(p, "\",\"connected_at\":",
                   sizeof("\",\"connected_at\":") - 1);
    p = ngx_sio_json_uint_write(p, so->connected_at);

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_socketio_list_string(u_char *p, ngx_str_t *str)
{
    *p++ = '"';
    p = ngx_sio_json_escape(p, str->data, str->len);
    *p++ = '"';

    return p;
}


ngx_int_t
ngx_http_socketio_list_row(ngx_str_t *rows, ngx_uint_t type, u_char **pos,
    ngx_http_socketio_row_t *row)
{
    u_char    *end;
    uint32_t   members;

    end = rows->data + rows->len;

    if (*pos == end) {
        return NGX_DONE;
    }

    if (ngx_sio_unpack_str(pos, end, &row->name) != NGX_OK
        || ngx_sio_unpack_str(pos, end, &row->json) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    row->members = 0;

    if (type == NGX_HTTP_SOCKETIO_ROOMS) {

        if (row->json.len != sizeof(uint32_t)) {
            return NGX_DECLINED;
        }

        ngx_memcpy(&members, row->json.data, sizeof(uint32_t));
        row->members = members;

    } else if (row->name.len != NGX_SIO_SOCKET_SID_LEN) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_socketio_list_readable(ngx_uint_t type, ngx_http_socketio_row_t *row)
{
    ngx_str_t  value;

    if (type == NGX_HTTP_SOCKETIO_ROOMS) {
        return ngx_sio_utf8_valid(row->name.data, row->name.len);
    }

    return ngx_sio_utf8_valid(row->json.data, row->json.len)
           && ngx_sio_json_text(&row->json, NGX_SIO_JSON_MAX_DEPTH, &value)
              == NGX_OK
           && ngx_sio_json_type(&value) == NGX_SIO_JSON_OBJECT;
}
