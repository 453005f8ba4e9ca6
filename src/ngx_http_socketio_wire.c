#include "ngx_http_socketio_wire.h"
#include "ngx_http_socketio_list.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_json.h"
#include "ngx_sio_pack.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_utf8.h"


/* what has a fixed size; names, then json, then attachments follow */

typedef struct {
    uint64_t           id;
    uint64_t           expires;
    ngx_sio_waiter_t   count;
    uint32_t           tag;
    uint32_t           type;
    uint32_t           flags;
    uint32_t           nto;
    uint32_t           nexcept;
    uint32_t           nrooms;
    uint32_t           nattachments;
    uint32_t           from;
} ngx_http_socketio_command_head_t;

#define NGX_HTTP_SOCKETIO_COMMAND_VOLATILE  0x01
#define NGX_HTTP_SOCKETIO_COMMAND_CLOSE     0x02
#define NGX_HTTP_SOCKETIO_COMMAND_ELSEWHERE 0x04

/* sockets that are picked at a time */
#define NGX_HTTP_SOCKETIO_APPLY_BATCH       512

/* rooms that are gone through as they are named */
#define NGX_HTTP_SOCKETIO_APPLY_ROOMS       8


typedef struct {
    ngx_http_socketio_command_t  *cmd;
    ngx_sio_msg_t                *msg;
    uint64_t                      id;
    ngx_uint_t                    n;
} ngx_http_socketio_applied_t;


static size_t ngx_http_socketio_command_length(
    ngx_http_socketio_command_t *cmd);
static u_char *ngx_http_socketio_command_write(u_char *p,
    ngx_http_socketio_command_t *cmd);
static ngx_int_t ngx_http_socketio_command_append(
    ngx_http_socketio_worker_t *w, u_char *head, size_t len,
    ngx_http_socketio_command_t *cmd, ngx_sio_hub_members_t *members);
static ngx_int_t ngx_http_socketio_command_strings(u_char **pos, u_char *end,
    ngx_str_t **strings, ngx_uint_t n, ngx_pool_t *pool);
static ngx_uint_t ngx_http_socketio_command_event(ngx_str_t *json);
static void ngx_http_socketio_apply_emit(ngx_sio_socket_t *so, void *data);
static void ngx_http_socketio_apply_rooms(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd);
static void ngx_http_socketio_apply_join(ngx_sio_socket_t *so, void *data);
static ngx_uint_t ngx_http_socketio_apply_picked(
    ngx_http_socketio_worker_t *w, ngx_http_socketio_command_t *cmd);
static void ngx_http_socketio_apply_one(ngx_sio_socket_t *so,
    ngx_http_socketio_command_t *cmd);
static void ngx_http_socketio_apply_respond(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect);
static ngx_sio_msg_t *ngx_http_socketio_command_msg(
    ngx_http_socketio_command_t *cmd, uint64_t id);


ngx_int_t
ngx_http_socketio_command_send(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_sio_hub_members_t *members)
{
    size_t     len;
    u_char    *head, buf[1024];
    ngx_int_t  rc;

    len = ngx_http_socketio_command_length(cmd);

    if (len <= sizeof(buf)) {
        return ngx_http_socketio_command_append(w, buf, len, cmd, members);
    }

    head = ngx_alloc(len, ngx_cycle->log);
    if (head == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_socketio_command_append(w, head, len, cmd, members);

    ngx_free(head);

    return rc;
}


/* The payload is copied once, into the log. */

static ngx_int_t
ngx_http_socketio_command_append(ngx_http_socketio_worker_t *w, u_char *head,
    size_t len, ngx_http_socketio_command_t *cmd,
    ngx_sio_hub_members_t *members)
{
    ngx_int_t    rc;
    ngx_str_t   *parts, few[8];
    ngx_uint_t   i, flags;

    ngx_http_socketio_command_write(head, cmd);

    parts = few;

    if (cmd->nattachments + 2 > sizeof(few) / sizeof(few[0])) {
        parts = ngx_alloc((cmd->nattachments + 2) * sizeof(ngx_str_t),
                          ngx_cycle->log);
        if (parts == NULL) {
            return NGX_ERROR;
        }
    }

    parts[0].len = len;
    parts[0].data = head;
    parts[1] = cmd->json;

    for (i = 0; i < cmd->nattachments; i++) {
        parts[i + 2] = cmd->attachments[i];
    }

    flags = (members ? NGX_SIO_HUB_LATE : 0)
            | (cmd->owed ? NGX_SIO_HUB_OWED : 0)
            | (cmd->local || w->bridge == NULL ? 0 : NGX_SIO_HUB_SHIP);

    rc = ngx_sio_hub_append(w->hub, NGX_HTTP_SOCKETIO_COMMAND, flags,
                            ngx_sio_hub_addr_all(), parts,
                            cmd->nattachments + 2, members);

    if (parts != few) {
        ngx_free(parts);
    }

    return rc;
}


size_t
ngx_http_socketio_command_size(ngx_http_socketio_command_t *cmd)
{
    size_t      size;
    ngx_uint_t  i;

    size = ngx_http_socketio_command_length(cmd) + cmd->json.len;

    for (i = 0; i < cmd->nattachments; i++) {
        size += cmd->attachments[i].len;
    }

    return size;
}


static size_t
ngx_http_socketio_command_length(ngx_http_socketio_command_t *cmd)
{
    size_t      len;
    ngx_uint_t  i;

    len = sizeof(ngx_http_socketio_command_head_t)
          + ngx_sio_pack_str_length(&cmd->target.nsp)
          + ngx_sio_pack_str_length(&cmd->token)
          + sizeof(uint32_t) * (1 + cmd->nattachments);

    for (i = 0; i < cmd->target.nto; i++) {
        len += ngx_sio_pack_str_length(&cmd->target.to[i]);
    }

    for (i = 0; i < cmd->target.nexcept; i++) {
        len += ngx_sio_pack_str_length(&cmd->target.except[i]);
    }

    for (i = 0; i < cmd->nrooms; i++) {
        len += ngx_sio_pack_str_length(&cmd->rooms[i]);
    }

    return len;
}


static u_char *
ngx_http_socketio_command_write(u_char *p, ngx_http_socketio_command_t *cmd)
{
    ngx_uint_t                         i;
    ngx_http_socketio_command_head_t   head;

    ngx_memzero(&head, sizeof(ngx_http_socketio_command_head_t));

    head.id = cmd->id;
    head.expires = cmd->expires;
    head.from = cmd->from;
    head.count = cmd->count;
    head.tag = cmd->tag;
    head.type = cmd->type;
    head.flags = (cmd->is_volatile ? NGX_HTTP_SOCKETIO_COMMAND_VOLATILE : 0)
                 | (cmd->close ? NGX_HTTP_SOCKETIO_COMMAND_CLOSE : 0)
                 | (cmd->elsewhere ? NGX_HTTP_SOCKETIO_COMMAND_ELSEWHERE : 0);
    head.nto = cmd->target.nto;
    head.nexcept = cmd->target.nexcept;
    head.nrooms = cmd->nrooms;
    head.nattachments = cmd->nattachments;

    p = ngx_sio_pack(p, &head, sizeof(ngx_http_socketio_command_head_t));
    p = ngx_sio_pack_str(p, &cmd->target.nsp);
    p = ngx_sio_pack_str(p, &cmd->token);

    for (i = 0; i < cmd->target.nto; i++) {
        p = ngx_sio_pack_str(p, &cmd->target.to[i]);
    }

    for (i = 0; i < cmd->target.nexcept; i++) {
        p = ngx_sio_pack_str(p, &cmd->target.except[i]);
    }

    for (i = 0; i < cmd->nrooms; i++) {
        p = ngx_sio_pack_str(p, &cmd->rooms[i]);
    }

    p = ngx_sio_pack_u32(p, cmd->json.len);

    for (i = 0; i < cmd->nattachments; i++) {
        p = ngx_sio_pack_u32(p, cmd->attachments[i].len);
    }

    return p;
}


ngx_int_t
ngx_http_socketio_command_waiter(ngx_str_t *body, ngx_sio_waiter_t *waiter,
    uint32_t *tag)
{
    u_char                            *pos;
    ngx_http_socketio_command_head_t   head;

    pos = body->data;

    if (ngx_sio_unpack(&pos, pos + body->len, &head, sizeof(head)) != NGX_OK) {
        return NGX_DECLINED;
    }

    *waiter = head.count;
    *tag = head.tag;

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_command_decode(ngx_str_t *body,
    ngx_http_socketio_command_t *cmd, ngx_pool_t *pool)
{
    u_char                            *pos, *end;
    uint32_t                           len;
    ngx_int_t                          rc;
    ngx_uint_t                         i;
    ngx_http_socketio_command_head_t   head;

    ngx_memzero(cmd, sizeof(ngx_http_socketio_command_t));

    pos = body->data;
    end = body->data + body->len;

    if (ngx_sio_unpack(&pos, end, &head, sizeof(head)) != NGX_OK
        || ngx_sio_unpack_str(&pos, end, &cmd->target.nsp) != NGX_OK
        || ngx_sio_unpack_str(&pos, end, &cmd->token) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    cmd->id = head.id;
    cmd->expires = head.expires;
    cmd->from = head.from;
    cmd->count = head.count;
    cmd->tag = head.tag;
    cmd->type = head.type;
    cmd->is_volatile = (head.flags & NGX_HTTP_SOCKETIO_COMMAND_VOLATILE)
                       ? 1 : 0;
    cmd->close = (head.flags & NGX_HTTP_SOCKETIO_COMMAND_CLOSE) ? 1 : 0;
    cmd->elsewhere = (head.flags & NGX_HTTP_SOCKETIO_COMMAND_ELSEWHERE)
                     ? 1 : 0;
    cmd->target.nto = head.nto;
    cmd->target.nexcept = head.nexcept;
    cmd->nrooms = head.nrooms;
    cmd->nattachments = head.nattachments;

    rc = ngx_http_socketio_command_strings(&pos, end, &cmd->target.to,
                                           head.nto, pool);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_socketio_command_strings(&pos, end, &cmd->target.except,
                                           head.nexcept, pool);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_socketio_command_strings(&pos, end, &cmd->rooms,
                                           head.nrooms, pool);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_unpack_u32(&pos, end, &len) != NGX_OK) {
        return NGX_DECLINED;
    }

    cmd->json.len = len;

    if (head.nattachments) {

        if (head.nattachments > (size_t) (end - pos) / sizeof(uint32_t)) {
            return NGX_DECLINED;
        }

        cmd->attachments = ngx_palloc(pool,
                                      head.nattachments * sizeof(ngx_str_t));
        if (cmd->attachments == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; i < head.nattachments; i++) {
            (void) ngx_sio_unpack_u32(&pos, end, &len);
            cmd->attachments[i].len = len;
        }
    }

    if ((size_t) (end - pos) < cmd->json.len) {
        return NGX_DECLINED;
    }

    cmd->json.data = pos;
    pos += cmd->json.len;

    for (i = 0; i < head.nattachments; i++) {

        if ((size_t) (end - pos) < cmd->attachments[i].len) {
            return NGX_DECLINED;
        }

        cmd->attachments[i].data = pos;
        pos += cmd->attachments[i].len;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_command_strings(u_char **pos, u_char *end,
    ngx_str_t **strings, ngx_uint_t n, ngx_pool_t *pool)
{
    ngx_str_t   *str;
    ngx_uint_t   i;

    if (n == 0) {
        return NGX_OK;
    }

    if (n > (size_t) (end - *pos) / sizeof(uint32_t)) {
        return NGX_DECLINED;
    }

    str = ngx_palloc(pool, n * sizeof(ngx_str_t));
    if (str == NULL) {
        return NGX_ERROR;
    }

    *strings = str;

    for (i = 0; i < n; i++) {
        if (ngx_sio_unpack_str(pos, end, &str[i]) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_socketio_command_readable(ngx_http_socketio_command_t *cmd)
{
    ngx_uint_t  i;

    if (!ngx_sio_utf8_valid(cmd->target.nsp.data, cmd->target.nsp.len)) {
        return 0;
    }

    if (cmd->token.len && !ngx_http_socketio_result_is_token(&cmd->token)
        && !ngx_sio_utf8_valid(cmd->token.data, cmd->token.len))
    {
        return 0;
    }

    for (i = 0; i < cmd->nrooms; i++) {
        if (!ngx_sio_utf8_valid(cmd->rooms[i].data, cmd->rooms[i].len)) {
            return 0;
        }
    }

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:

        if (!ngx_http_socketio_command_event(&cmd->json)) {
            return 0;
        }

        break;

    case NGX_HTTP_SOCKETIO_RESPOND:

        if (!ngx_http_socketio_command_values(&cmd->json)) {
            return 0;
        }

        break;

    default:
        /* JSON of others is not looked at */
        return 1;
    }

    return cmd->nattachments == 0
           || ngx_sio_packet_placeholders(&cmd->json, cmd->nattachments)
              == NGX_OK;
}


/* An array, in which a name is. */

static ngx_uint_t
ngx_http_socketio_command_event(ngx_str_t *json)
{
    ngx_str_t             value, name;
    ngx_sio_json_iter_t   it;

    if (!ngx_sio_utf8_valid(json->data, json->len)
        || ngx_sio_json_text(json, NGX_SIO_JSON_MAX_DEPTH, &value) != NGX_OK
        || value.len != json->len
        || ngx_sio_json_type(&value) != NGX_SIO_JSON_ARRAY)
    {
        return 0;
    }

    ngx_sio_json_iter(&it, &value);

    return ngx_sio_json_element(&it, &name) == NGX_OK;
}


ngx_uint_t
ngx_http_socketio_command_values(ngx_str_t *json)
{
    u_char     *pos, *end;
    ngx_int_t   rc;
    ngx_str_t   value;

    if (!ngx_sio_utf8_valid(json->data, json->len)) {
        return 0;
    }

    pos = json->data;
    end = json->data + json->len;

    if (ngx_sio_json_token(&pos, end, &value) == NGX_DONE) {
        return 1;
    }

    pos = json->data;

    while (ngx_sio_json_value(&pos, end, NGX_SIO_JSON_MAX_DEPTH, &value)
           == NGX_OK)
    {
        rc = ngx_sio_json_token(&pos, end, &value);

        if (rc != NGX_OK || value.data[0] != ',') {
            return rc == NGX_DONE;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_socketio_command_asks(ngx_http_socketio_command_t *cmd)
{
    if (!ngx_sio_waiter_set(&cmd->count)) {
        return 0;
    }

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:
        return cmd->token.len != 0;

    case NGX_HTTP_SOCKETIO_RESPOND:
    case NGX_HTTP_SOCKETIO_SOCKETS:
    case NGX_HTTP_SOCKETIO_SOCKET:
    case NGX_HTTP_SOCKETIO_ROOMS:
        return 1;

    default:
        return 0;
    }
}


void
ngx_http_socketio_command_relative(ngx_str_t *body)
{
    ngx_msec_int_t                     left;
    ngx_http_socketio_command_head_t   head;

    if (body->len < sizeof(head)) {
        return;
    }

    ngx_memcpy(&head, body->data, sizeof(head));

    if (head.expires) {
        left = (ngx_msec_int_t) (head.expires - ngx_current_msec);
        head.expires = left > 0 ? left : 1;
        ngx_memcpy(body->data, &head, sizeof(head));
    }
}


ngx_int_t
ngx_http_socketio_command_direct(ngx_http_socketio_worker_t *w,
    ngx_sio_socket_t *so, ngx_http_socketio_command_t *cmd)
{
    ngx_int_t       rc;
    ngx_str_t       sid;
    ngx_sio_msg_t  *msg;

    if (cmd->token.len || ngx_sio_hub_owed_unread(w->hub)) {
        sid.len = NGX_SIO_SOCKET_SID_LEN;
        sid.data = so->sid;

        cmd->target.nsp = so->nsp->node.str;
        cmd->target.to = &sid;
        cmd->target.nto = 1;
        cmd->target.nexcept = 0;
        cmd->local = 1;

        return ngx_http_socketio_command_send(w, cmd, NULL);
    }

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:
        cmd->target.nsp = so->nsp->node.str;

        msg = ngx_http_socketio_command_msg(cmd, NGX_SIO_PACKET_NO_ID);
        if (msg == NULL) {
            return NGX_ERROR;
        }

        ngx_sio_session_send(so->session, msg);
        ngx_sio_msg_unref(msg);

        return NGX_OK;

    case NGX_HTTP_SOCKETIO_RESPOND:
        rc = ngx_sio_socket_ack(so, cmd->id, &cmd->json, cmd->attachments,
                                cmd->nattachments);

        /* NGX_DECLINED: the API was quicker */
        return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;

    default: /* NGX_HTTP_SOCKETIO_KICK */

        if (cmd->close) {
            ngx_sio_session_kick(so->session);

        } else {
            ngx_sio_socket_disconnect(so);
        }

        return NGX_OK;
    }
}


void
ngx_http_socketio_command_apply(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, uint64_t position,
    ngx_http_socketio_effect_t *effect)
{
    ngx_http_socketio_applied_t  applied;

    ngx_memzero(effect, sizeof(ngx_http_socketio_effect_t));

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:

        ngx_memzero(&applied, sizeof(ngx_http_socketio_applied_t));

        /*
         * The place in the log, which is aligned to 8, is an id that no other
         * emit has had, in whichever worker a socket lives by then.
         */

        applied.cmd = cmd;
        applied.id = cmd->token.len ? position / 8 & NGX_SIO_PACKET_MAX_ID
                                    : NGX_SIO_PACKET_NO_ID;

        (void) ngx_sio_rooms_select(&w->engine, &cmd->target,
                                    ngx_http_socketio_apply_emit, &applied);

        if (applied.msg != NULL) {
            ngx_sio_msg_unref(applied.msg);
        }

        effect->matched = applied.n;
        return;

    case NGX_HTTP_SOCKETIO_JOIN:

        ngx_memzero(&applied, sizeof(ngx_http_socketio_applied_t));

        applied.cmd = cmd;

        ngx_http_socketio_apply_rooms(w, cmd);

        (void) ngx_sio_rooms_select(&w->engine, &cmd->target,
                                    ngx_http_socketio_apply_join, &applied);
        effect->matched = applied.n;
        return;

    case NGX_HTTP_SOCKETIO_LEAVE:
        ngx_http_socketio_apply_rooms(w, cmd);
        effect->matched = ngx_http_socketio_apply_picked(w, cmd);
        return;

    case NGX_HTTP_SOCKETIO_KICK:
        effect->matched = ngx_http_socketio_apply_picked(w, cmd);
        return;

    case NGX_HTTP_SOCKETIO_RESPOND:
        ngx_http_socketio_apply_respond(w, cmd, effect);
        return;

    case NGX_HTTP_SOCKETIO_SOCKETS:
    case NGX_HTTP_SOCKETIO_SOCKET:
    case NGX_HTTP_SOCKETIO_ROOMS:
        ngx_http_socketio_list(w, cmd, effect);
        return;

    default:
        /* a newer version of this module writes what we do not know */
        return;
    }
}


static ngx_sio_msg_t *
ngx_http_socketio_command_msg(ngx_http_socketio_command_t *cmd, uint64_t id)
{
    ngx_sio_msg_t  *msg;

    msg = ngx_sio_socket_event(&cmd->target.nsp, id, &cmd->json,
                               cmd->attachments, cmd->nattachments);

    if (msg != NULL) {
        msg->is_volatile = cmd->is_volatile;
    }

    return msg;
}


/* The message is made for the first receiver; most workers may have none. */

static void
ngx_http_socketio_apply_emit(ngx_sio_socket_t *so, void *data)
{
    ngx_http_socketio_applied_t *applied = data;

    ngx_http_socketio_command_t  *cmd;

    cmd = applied->cmd;

    if (cmd->only != NULL && cmd->only != so->session) {
        return;
    }

    /* without memory it fails this one, and the next one tries again */

    if (applied->msg == NULL) {
        applied->msg = ngx_http_socketio_command_msg(cmd, applied->id);
    }

    if (applied->msg == NULL
        || (cmd->token.len
            && ngx_sio_socket_expect(so, applied->id, &cmd->token,
                                     cmd->expires)
               == NGX_ERROR))
    {
        ngx_sio_session_fail(so->session);
        return;
    }

    ngx_sio_session_send(so->session, applied->msg);
    applied->n++;
}


/*
 * Of many rooms, each once, and to be left only those that there are: the
 * list is gone through for every socket.  Without memory it is so as it is.
 */

static void
ngx_http_socketio_apply_rooms(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd)
{
    uint32_t            hash;
    ngx_str_t          *room;
    ngx_uint_t          i, n;
    ngx_rbtree_t        tree;
    ngx_str_node_t     *node;
    ngx_rbtree_node_t   sentinel;

    if (cmd->nrooms <= NGX_HTTP_SOCKETIO_APPLY_ROOMS) {
        return;
    }

    ngx_rbtree_init(&tree, &sentinel, ngx_str_rbtree_insert_value);

    for (i = 0, n = 0; i < cmd->nrooms; i++) {

        room = &cmd->rooms[i];
        hash = ngx_crc32_short(room->data, room->len);

        if (ngx_str_rbtree_lookup(&tree, room, hash) != NULL
            || (cmd->type == NGX_HTTP_SOCKETIO_LEAVE
                && !ngx_sio_rooms_exist(&w->engine, &cmd->target.nsp, room)))
        {
            continue;
        }

        node = ngx_palloc(w->pool, sizeof(ngx_str_node_t));

        if (node != NULL) {
            node->node.key = hash;
            node->str = *room;
            ngx_rbtree_insert(&tree, &node->node);
        }

        cmd->rooms[n++] = *room;
    }

    cmd->nrooms = n;
}


static void
ngx_http_socketio_apply_join(ngx_sio_socket_t *so, void *data)
{
    ngx_http_socketio_applied_t *applied = data;

    ngx_uint_t                    i;
    ngx_http_socketio_command_t  *cmd;

    cmd = applied->cmd;

    if (cmd->only != NULL && cmd->only != so->session) {
        return;
    }

    for (i = 0; i < cmd->nrooms; i++) {

        switch (ngx_sio_rooms_join(so, &cmd->rooms[i])) {

        case NGX_ERROR:
            ngx_sio_session_fail(so->session);
            return;

        case NGX_BUSY:
            i = cmd->nrooms;    /* one line of the log says it for all */
            break;

        default: /* NGX_OK, NGX_DECLINED */
            break;
        }
    }

    applied->n++;
}


/*
 * These change the very lists that sockets are selected by, so some of them
 * are taken at a time.
 */

static ngx_uint_t
ngx_http_socketio_apply_picked(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd)
{
    uint64_t           mark;
    ngx_uint_t         i, n, matched;
    ngx_sio_socket_t  *sockets[NGX_HTTP_SOCKETIO_APPLY_BATCH];

    matched = 0;
    mark = 0;

    for ( ;; ) {
        n = ngx_sio_rooms_some(&w->engine, &cmd->target, sockets,
                               NGX_HTTP_SOCKETIO_APPLY_BATCH, &mark);
        if (n == 0) {
            return matched;
        }

        for (i = 0; i < n; i++) {

            if (cmd->only == NULL || cmd->only == sockets[i]->session) {
                ngx_http_socketio_apply_one(sockets[i], cmd);
                matched++;
            }
        }
    }
}


static void
ngx_http_socketio_apply_one(ngx_sio_socket_t *so,
    ngx_http_socketio_command_t *cmd)
{
    ngx_uint_t  i;

    if (cmd->type == NGX_HTTP_SOCKETIO_LEAVE) {

        for (i = 0; i < cmd->nrooms; i++) {
            (void) ngx_sio_rooms_leave(so, &cmd->rooms[i]);
        }

    } else if (cmd->close) {
        ngx_sio_session_kick(so->session);

    } else {
        ngx_sio_socket_disconnect(so);
    }
}


static void
ngx_http_socketio_apply_respond(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect)
{
    ngx_int_t          rc;
    ngx_sio_socket_t  *so;

    if (cmd->target.nto != 1) {
        return;
    }

    so = ngx_sio_socket_find(&w->engine, cmd->target.to[0].data,
                             cmd->target.to[0].len);

    if (so == NULL || !so->connected
        || (cmd->only != NULL && cmd->only != so->session))
    {
        return;
    }

    rc = ngx_sio_socket_ack(so, cmd->id, &cmd->json, cmd->attachments,
                            cmd->nattachments);

    if (rc == NGX_ERROR) {
        ngx_sio_session_fail(so->session);
        return;
    }

    effect->matched = 1;
    effect->done = (rc == NGX_OK);
}
