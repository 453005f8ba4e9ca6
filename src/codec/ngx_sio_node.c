
#include "ngx_sio_node_private.h"
#include "ngx_sio_json.h"
#include "ngx_sio_msgpack.h"


/* a message being written, or measured while start is NULL */

typedef struct {
    u_char       *start;
    size_t        len;
} ngx_sio_node_out_t;


static ngx_int_t ngx_sio_node_sound(ngx_sio_qmsg_t *m);
static void ngx_sio_node_write(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m);
static void ngx_sio_node_pack_emit(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m);
static void ngx_sio_node_pack_back(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m);
static void ngx_sio_node_pack_packet(ngx_sio_node_out_t *out,
    ngx_sio_qmsg_t *m);
static void ngx_sio_node_pack_opts(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m);
static void ngx_sio_node_pack_rooms(ngx_sio_node_out_t *out,
    ngx_sio_qmsg_room_t *rooms, ngx_uint_t n);
static void ngx_sio_node_pack_key(ngx_sio_node_out_t *out, const char *key);
static void ngx_sio_node_pack_text(ngx_sio_node_out_t *out, ngx_str_t *text);
static void ngx_sio_node_pack_uint(ngx_sio_node_out_t *out, uint64_t n);
static void ngx_sio_node_write_request(ngx_sio_node_out_t *out,
    ngx_sio_qmsg_t *m);
static void ngx_sio_node_write_response(ngx_sio_node_out_t *out,
    ngx_sio_qmsg_t *m);
static void ngx_sio_node_write_rooms(ngx_sio_node_out_t *out,
    ngx_sio_qmsg_room_t *rooms, ngx_uint_t n);
static void ngx_sio_node_put_key(ngx_sio_node_out_t *out, const char *key);
static void ngx_sio_node_put_text(ngx_sio_node_out_t *out, ngx_str_t *text);
static void ngx_sio_node_put_uint(ngx_sio_node_out_t *out, uint64_t n);
static void ngx_sio_node_put(ngx_sio_node_out_t *out, const void *p,
    size_t len);
static u_char *ngx_sio_node_at(ngx_sio_node_out_t *out);


/* Channels. */

ngx_int_t
ngx_sio_node_subscription(ngx_str_t *prefix, ngx_uint_t what, ngx_str_t *nsp,
    ngx_str_t *uid, ngx_str_t *name, ngx_pool_t *pool)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i, n, pattern;
    ngx_str_t   *parts[2];

    static const char  *infix[] = { "#", "-request#", "-response#" };

    pattern = (what == NGX_SIO_NODE_BROADCASTS || nsp->len == 0);
    len = sizeof("-response#") + sizeof("/*") + sizeof("#*") + prefix->len * 2
          + nsp->len * 2 + (uid ? uid->len + 1 : 0);

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->data = p;

    parts[0] = prefix;
    parts[1] = nsp;

    for (i = 0; i < 2; i++) {

        for (n = 0; n < parts[i]->len; n++) {

            if (pattern && parts[i]->data[n]
                && strchr("*?[]\\", parts[i]->data[n]) != NULL)
            {
                *p++ = '\\';
            }

            *p++ = parts[i]->data[n];
        }

        if (i == 0) {
            p = ngx_cpymem(p, infix[what], ngx_strlen(infix[what]));
        }
    }

    if (nsp->len == 0) {
        p = ngx_cpymem(p, "/*", 2);

    } else {
        *p++ = '#';

        if (what == NGX_SIO_NODE_BROADCASTS) {
            *p++ = '*';

        } else if (uid != NULL) {
            p = ngx_cpymem(p, uid->data, uid->len);
            *p++ = '#';
        }
    }

    name->len = p - name->data;

    return NGX_OK;
}


ngx_int_t
ngx_sio_node_channel(ngx_str_t *prefix, ngx_sio_qmsg_t *m, ngx_str_t *channel,
    ngx_pool_t *pool)
{
    u_char      *p;
    ngx_str_t    infix, room;

    ngx_str_set(&infix, "-request#");
    ngx_str_null(&room);

    switch (m->kind) {

    case NGX_SIO_QMSG_EMIT:

        if (m->request_id.len) {
            break;
        }

        ngx_str_set(&infix, "#");

        if (!m->all && m->nrooms == 1) {
            room = m->rooms[0].name;
        }

        break;

    case NGX_SIO_QMSG_FETCH_ANSWER:
    case NGX_SIO_QMSG_ROOMS_ANSWER:
    case NGX_SIO_QMSG_SERVER_ANSWER:
    case NGX_SIO_QMSG_COUNT:
    case NGX_SIO_QMSG_BACK:
        ngx_str_set(&infix, "-response#");
        break;

    default:
        break;
    }

    p = ngx_pnalloc(pool, prefix->len + infix.len + m->nsp.len + room.len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    channel->data = p;

    p = ngx_cpymem(p, prefix->data, prefix->len);
    p = ngx_cpymem(p, infix.data, infix.len);
    p = ngx_cpymem(p, m->nsp.data, m->nsp.len);
    *p++ = '#';

    if (!m->all && m->nrooms == 1 && infix.len == 1) {
        p = ngx_cpymem(p, room.data, room.len);
        *p++ = '#';
    }

    channel->len = p - channel->data;

    return NGX_OK;
}


/* Encoding: measured first, then written, by the same functions. */

ngx_int_t
ngx_sio_node_encode(ngx_sio_qmsg_t *m, size_t max, ngx_str_t *payload,
    ngx_pool_t *pool)
{
    ngx_sio_node_out_t  out;

    if (ngx_sio_node_sound(m) != NGX_OK) {
        return NGX_DECLINED;
    }

    out.start = NULL;
    out.len = 0;

    ngx_sio_node_write(&out, m);

    if (out.len > max) {
        return NGX_DECLINED;
    }

    out.start = ngx_pnalloc(pool, out.len);
    if (out.start == NULL) {
        return NGX_ERROR;
    }

    out.len = 0;

    ngx_sio_node_write(&out, m);

    payload->data = out.start;
    payload->len = out.len;

    return NGX_OK;
}


/* What a Node process could not stand is not written. */

static ngx_int_t
ngx_sio_node_sound(ngx_sio_qmsg_t *m)
{
    ngx_str_t             event;
    ngx_uint_t            answer;
    ngx_sio_json_iter_t   it;

    answer = 0;

    switch (m->kind) {

    case NGX_SIO_QMSG_EMIT:
    case NGX_SIO_QMSG_SERVER_EMIT:

        if (m->kind == NGX_SIO_QMSG_SERVER_EMIT && m->nattachments) {
            return NGX_DECLINED;
        }

        ngx_sio_json_iter(&it, &m->json);

        if (ngx_sio_json_type(&m->json) != NGX_SIO_JSON_ARRAY
            || ngx_sio_json_element(&it, &event) != NGX_OK
            || ngx_sio_json_type(&event) != NGX_SIO_JSON_STRING)
        {
            return NGX_DECLINED;
        }

        break;

    case NGX_SIO_QMSG_JOIN:
    case NGX_SIO_QMSG_LEAVE:
    case NGX_SIO_QMSG_DISCONNECT:
        break;

    case NGX_SIO_QMSG_FETCH:
    case NGX_SIO_QMSG_ROOMS:
    case NGX_SIO_QMSG_SERVER_ANSWER:
    case NGX_SIO_QMSG_COUNT:
        answer = 1;
        break;

    case NGX_SIO_QMSG_FETCH_ANSWER:
    case NGX_SIO_QMSG_ROOMS_ANSWER:
    case NGX_SIO_QMSG_BACK:

        if (ngx_sio_json_type(&m->json) != NGX_SIO_JSON_ARRAY) {
            return NGX_DECLINED;
        }

        answer = 1;
        break;

    default:
        return NGX_DECLINED;
    }

    if (m->nsp.len == 0 || m->nsp.data[0] != '/'
        || (answer && m->request_id.len == 0))
    {
        return NGX_DECLINED;
    }

    /* nobody: no rooms would mean everybody there */

    if (!m->all && m->nrooms == 0
        && (m->kind <= NGX_SIO_QMSG_DISCONNECT
            || m->kind == NGX_SIO_QMSG_FETCH))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_sio_node_write(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    switch (m->kind) {

    case NGX_SIO_QMSG_EMIT:
        ngx_sio_node_pack_emit(out, m);
        break;

    case NGX_SIO_QMSG_BACK:
        ngx_sio_node_pack_back(out, m);
        break;

    case NGX_SIO_QMSG_FETCH_ANSWER:
    case NGX_SIO_QMSG_ROOMS_ANSWER:
    case NGX_SIO_QMSG_SERVER_ANSWER:
    case NGX_SIO_QMSG_COUNT:
        ngx_sio_node_write_response(out, m);
        break;

    default:
        ngx_sio_node_write_request(out, m);
    }
}


static void
ngx_sio_node_pack_emit(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    if (m->request_id.len == 0) {
        out->len += ngx_sio_msgpack_put_array(ngx_sio_node_at(out), 3);
        ngx_sio_node_pack_text(out, &m->origin);
        ngx_sio_node_pack_packet(out, m);
        ngx_sio_node_pack_opts(out, m);
        return;
    }

    out->len += ngx_sio_msgpack_put_map(ngx_sio_node_at(out), 5);
    ngx_sio_node_pack_key(out, "uid");
    ngx_sio_node_pack_text(out, &m->origin);
    ngx_sio_node_pack_key(out, "requestId");
    ngx_sio_node_pack_text(out, &m->request_id);
    ngx_sio_node_pack_key(out, "type");
    ngx_sio_node_pack_uint(out, NGX_SIO_NODE_EMIT);
    ngx_sio_node_pack_key(out, "packet");
    ngx_sio_node_pack_packet(out, m);
    ngx_sio_node_pack_key(out, "opts");
    ngx_sio_node_pack_opts(out, m);
}


static void
ngx_sio_node_pack_back(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    ngx_str_t            first;
    ngx_sio_json_iter_t  it;

    ngx_str_set(&first, "null");

    ngx_sio_json_iter(&it, &m->json);
    (void) ngx_sio_json_element(&it, &first);

    out->len += ngx_sio_msgpack_put_map(ngx_sio_node_at(out), 3);
    ngx_sio_node_pack_key(out, "type");
    ngx_sio_node_pack_uint(out, NGX_SIO_NODE_ACK);
    ngx_sio_node_pack_key(out, "requestId");
    ngx_sio_node_pack_text(out, &m->request_id);
    ngx_sio_node_pack_key(out, "packet");
    out->len += ngx_sio_msgpack_put_json(ngx_sio_node_at(out), &first,
                                         m->attachments, m->nattachments);
}


static void
ngx_sio_node_pack_packet(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    out->len += ngx_sio_msgpack_put_map(ngx_sio_node_at(out), 3);
    ngx_sio_node_pack_key(out, "type");
    ngx_sio_node_pack_uint(out, NGX_SIO_NODE_EVENT);
    ngx_sio_node_pack_key(out, "data");
    out->len += ngx_sio_msgpack_put_json(ngx_sio_node_at(out), &m->json,
                                         m->attachments, m->nattachments);
    ngx_sio_node_pack_key(out, "nsp");
    ngx_sio_node_pack_text(out, &m->nsp);
}


static void
ngx_sio_node_pack_opts(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    out->len += ngx_sio_msgpack_put_map(ngx_sio_node_at(out), 3);
    ngx_sio_node_pack_key(out, "rooms");
    ngx_sio_node_pack_rooms(out, m->rooms, m->nrooms);
    ngx_sio_node_pack_key(out, "except");
    ngx_sio_node_pack_rooms(out, m->except, m->nexcept);
    ngx_sio_node_pack_key(out, "flags");

    out->len += ngx_sio_msgpack_put_map(ngx_sio_node_at(out),
                                        m->is_volatile + (m->timeout != 0));
    if (m->is_volatile) {
        ngx_sio_node_pack_key(out, "volatile");
        out->len += ngx_sio_msgpack_put_true(ngx_sio_node_at(out));
    }

    if (m->timeout) {
        ngx_sio_node_pack_key(out, "timeout");
        ngx_sio_node_pack_uint(out, m->timeout);
    }
}


static void
ngx_sio_node_pack_rooms(ngx_sio_node_out_t *out, ngx_sio_qmsg_room_t *rooms,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    out->len += ngx_sio_msgpack_put_array(ngx_sio_node_at(out), n);

    for (i = 0; i < n; i++) {

        if (rooms[i].number
            && rooms[i].name.len <= NGX_SIO_NODE_MAX_DIGITS)
        {
            out->len += ngx_sio_msgpack_put_json(ngx_sio_node_at(out),
                                                 &rooms[i].name, NULL, 0);

        } else {
            ngx_sio_node_pack_text(out, &rooms[i].name);
        }
    }
}


static void
ngx_sio_node_pack_key(ngx_sio_node_out_t *out, const char *key)
{
    out->len += ngx_sio_msgpack_put_text(ngx_sio_node_at(out), (u_char *) key,
                                         ngx_strlen(key));
}


static void
ngx_sio_node_pack_text(ngx_sio_node_out_t *out, ngx_str_t *text)
{
    out->len += ngx_sio_msgpack_put_text(ngx_sio_node_at(out), text->data,
                                         text->len);
}


static void
ngx_sio_node_pack_uint(ngx_sio_node_out_t *out, uint64_t n)
{
    out->len += ngx_sio_msgpack_put_uint(ngx_sio_node_at(out), n);
}


static void
ngx_sio_node_write_request(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    ngx_uint_t  type;

    type = m->kind == NGX_SIO_QMSG_JOIN ? NGX_SIO_NODE_JOIN
           : m->kind == NGX_SIO_QMSG_LEAVE ? NGX_SIO_NODE_LEAVE
           : m->kind == NGX_SIO_QMSG_DISCONNECT ? NGX_SIO_NODE_DISCONNECT
           : m->kind == NGX_SIO_QMSG_ROOMS ? NGX_SIO_NODE_ALL_ROOMS
           : m->kind == NGX_SIO_QMSG_SERVER_EMIT ? NGX_SIO_NODE_SERVER_EMIT
           : m->bare ? NGX_SIO_NODE_SOCKETS : NGX_SIO_NODE_FETCH;

    ngx_sio_node_put(out, "{\"type\":", sizeof("{\"type\":") - 1);
    ngx_sio_node_put_uint(out, type);

    if (m->origin.len) {
        ngx_sio_node_put_key(out, "uid");
        ngx_sio_node_put_text(out, &m->origin);
    }

    if (m->request_id.len) {
        ngx_sio_node_put_key(out, "requestId");
        ngx_sio_node_put_text(out, &m->request_id);
    }

    if (type == NGX_SIO_NODE_SERVER_EMIT) {
        ngx_sio_node_put_key(out, "data");
        ngx_sio_node_put(out, m->json.data, m->json.len);

    } else if (type == NGX_SIO_NODE_SOCKETS) {
        ngx_sio_node_put_key(out, "rooms");
        ngx_sio_node_write_rooms(out, m->rooms, m->nrooms);

    } else if (type != NGX_SIO_NODE_ALL_ROOMS) {
        ngx_sio_node_put_key(out, "opts");
        ngx_sio_node_put(out, "{\"rooms\":", sizeof("{\"rooms\":") - 1);
        ngx_sio_node_write_rooms(out, m->rooms, m->nrooms);
        ngx_sio_node_put_key(out, "except");
        ngx_sio_node_write_rooms(out, m->except, m->nexcept);
        ngx_sio_node_put(out, "}", 1);
    }

    if (type == NGX_SIO_NODE_JOIN || type == NGX_SIO_NODE_LEAVE) {
        ngx_sio_node_put_key(out, "rooms");
        ngx_sio_node_write_rooms(out, m->op_rooms, m->nop_rooms);
    }

    if (type == NGX_SIO_NODE_DISCONNECT) {
        ngx_sio_node_put_key(out, "close");
        ngx_sio_node_put(out, m->close ? "true" : "false", m->close ? 4 : 5);
    }

    ngx_sio_node_put(out, "}", 1);
}


static void
ngx_sio_node_write_response(ngx_sio_node_out_t *out, ngx_sio_qmsg_t *m)
{
    ngx_sio_node_put(out, "{\"requestId\":", sizeof("{\"requestId\":") - 1);
    ngx_sio_node_put_text(out, &m->request_id);

    switch (m->kind) {

    case NGX_SIO_QMSG_FETCH_ANSWER:
        ngx_sio_node_put_key(out, "sockets");
        ngx_sio_node_put(out, m->json.data, m->json.len);
        break;

    case NGX_SIO_QMSG_ROOMS_ANSWER:
        ngx_sio_node_put_key(out, "rooms");
        ngx_sio_node_put(out, m->json.data, m->json.len);
        break;

    case NGX_SIO_QMSG_COUNT:
        ngx_sio_node_put_key(out, "type");
        ngx_sio_node_put_uint(out, NGX_SIO_NODE_COUNT);
        ngx_sio_node_put_key(out, "clientCount");
        ngx_sio_node_put_uint(out, m->count);
        break;

    default: /* NGX_SIO_QMSG_SERVER_ANSWER */
        ngx_sio_node_put_key(out, "type");
        ngx_sio_node_put_uint(out, NGX_SIO_NODE_SERVER_EMIT);

        if (m->json.len) {
            ngx_sio_node_put_key(out, "data");
            ngx_sio_node_put(out, m->json.data, m->json.len);
        }
    }

    ngx_sio_node_put(out, "}", 1);
}


static void
ngx_sio_node_write_rooms(ngx_sio_node_out_t *out, ngx_sio_qmsg_room_t *rooms,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_sio_node_put(out, "[", 1);

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_sio_node_put(out, ",", 1);
        }

        if (rooms[i].number) {
            ngx_sio_node_put(out, rooms[i].name.data, rooms[i].name.len);

        } else {
            ngx_sio_node_put_text(out, &rooms[i].name);
        }
    }

    ngx_sio_node_put(out, "]", 1);
}


/* not the first one */

static void
ngx_sio_node_put_key(ngx_sio_node_out_t *out, const char *key)
{
    ngx_sio_node_put(out, ",\"", 2);
    ngx_sio_node_put(out, key, ngx_strlen(key));
    ngx_sio_node_put(out, "\":", 2);
}


static void
ngx_sio_node_put_text(ngx_sio_node_out_t *out, ngx_str_t *text)
{
    ngx_sio_node_put(out, "\"", 1);

    if (out->start != NULL) {
        (void) ngx_sio_json_escape(ngx_sio_node_at(out), text->data,
                                   text->len);
    }

    out->len += ngx_sio_json_escape_length(text->data, text->len);

    ngx_sio_node_put(out, "\"", 1);
}


static void
ngx_sio_node_put_uint(ngx_sio_node_out_t *out, uint64_t n)
{
    if (out->start != NULL) {
        (void) ngx_sio_json_uint_write(ngx_sio_node_at(out), n);
    }

    out->len += ngx_sio_json_uint_length(n);
}


static void
ngx_sio_node_put(ngx_sio_node_out_t *out, const void *p, size_t len)
{
    if (out->start != NULL) {
        ngx_memcpy(ngx_sio_node_at(out), p, len);
    }

    out->len += len;
}


static u_char *
ngx_sio_node_at(ngx_sio_node_out_t *out)
{
    return out->start != NULL ? out->start + out->len : NULL;
}
