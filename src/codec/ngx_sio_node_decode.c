
#include "ngx_sio_node_private.h"
#include "ngx_sio_json.h"
#include "ngx_sio_msgpack.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_utf8.h"


/* Number.MAX_SAFE_INTEGER */
#define NGX_SIO_NODE_MAX_COUNT   0x1fffffffffffffULL

/* a day, msec */
#define NGX_SIO_NODE_MAX_TIME    86400000


typedef struct {
    ngx_sio_qmsg_reader_t         in;
    ngx_sio_qmsg_t               *m;
    ngx_uint_t                    noctets;       /* octets in the last field */
    unsigned                      packed:1;      /* MessagePack, not JSON */
} ngx_sio_node_t;


static ngx_int_t ngx_sio_node_where(ngx_str_t *prefix, ngx_str_t *channel,
    ngx_str_t *rest);
static ngx_int_t ngx_sio_node_broadcast(ngx_sio_node_t *c, ngx_str_t *payload,
    ngx_str_t *rest);
static ngx_int_t ngx_sio_node_object(ngx_sio_node_t *c, ngx_str_t *payload,
    ngx_str_t *object);
static ngx_int_t ngx_sio_node_request(ngx_sio_node_t *c, ngx_str_t *object,
    ngx_str_t *nsp);
static ngx_int_t ngx_sio_node_ask(ngx_sio_node_t *c, ngx_str_t *object,
    uint64_t type);
static ngx_int_t ngx_sio_node_sockets(ngx_sio_node_t *c, ngx_str_t *object);
static ngx_int_t ngx_sio_node_move(ngx_sio_node_t *c, ngx_str_t *object,
    uint64_t type);
static ngx_int_t ngx_sio_node_move_one(ngx_sio_node_t *c, ngx_str_t *object);
static ngx_int_t ngx_sio_node_emit(ngx_sio_node_t *c, ngx_str_t *object);
static ngx_int_t ngx_sio_node_response(ngx_sio_node_t *c, ngx_str_t *object,
    ngx_str_t *rest);
static ngx_int_t ngx_sio_node_answer(ngx_sio_node_t *c, ngx_str_t *object,
    uint64_t type);
static ngx_int_t ngx_sio_node_back(ngx_sio_node_t *c, ngx_str_t *object);
static ngx_int_t ngx_sio_node_list(ngx_sio_node_t *c, ngx_str_t *object);

static ngx_int_t ngx_sio_node_packet(ngx_sio_node_t *c, ngx_str_t *packet);
static ngx_int_t ngx_sio_node_data(ngx_sio_node_t *c, ngx_str_t *object);
static ngx_int_t ngx_sio_node_opts(ngx_sio_node_t *c, ngx_str_t *object);
static ngx_int_t ngx_sio_node_flags(ngx_sio_node_t *c, ngx_str_t *opts);
static ngx_int_t ngx_sio_node_rooms(ngx_sio_node_t *c, ngx_str_t *object,
    const char *name, ngx_sio_qmsg_room_t **rooms, ngx_uint_t *n);
static ngx_int_t ngx_sio_node_name(ngx_sio_node_t *c, ngx_str_t *object,
    const char *name, ngx_str_t *text);
static ngx_int_t ngx_sio_node_nsp(ngx_sio_node_t *c, ngx_str_t *nsp);
static ngx_int_t ngx_sio_node_find(ngx_sio_node_t *c, ngx_str_t *object,
    const char *name, ngx_str_t *value);
static ngx_int_t ngx_sio_node_field(ngx_sio_node_t *c, ngx_str_t *object,
    const char *name, ngx_str_t *json);
static ngx_int_t ngx_sio_node_content(ngx_sio_node_t *c, ngx_str_t *object,
    const char *name, ngx_str_t *json);
static ngx_int_t ngx_sio_node_json(ngx_sio_node_t *c, ngx_str_t *value,
    ngx_str_t *json);
static ngx_int_t ngx_sio_node_refuse(ngx_sio_node_t *c, const char *reason);
static ngx_uint_t ngx_sio_node_none(ngx_str_t *json);


ngx_int_t
ngx_sio_node_decode(ngx_str_t *prefix, ngx_str_t *channel, ngx_str_t *payload,
    const ngx_sio_qmsg_limits_t *limits, ngx_sio_qmsg_t *m, ngx_pool_t *pool,
    const char **reason)
{
    ngx_int_t        rc, where;
    ngx_str_t        object, rest;
    ngx_sio_node_t   c;

    ngx_memzero(&c, sizeof(ngx_sio_node_t));
    ngx_memzero(m, sizeof(ngx_sio_qmsg_t));

    c.in.limits = limits;
    c.in.pool = pool;
    c.in.digits = NGX_SIO_NODE_MAX_DIGITS;
    c.m = m;

    where = ngx_sio_node_where(prefix, channel, &rest);

    if (where == NGX_DECLINED) {
        *reason = "foreign channel";
        return NGX_DECLINED;
    }

    if (where == NGX_SIO_NODE_BROADCASTS) {
        rc = ngx_sio_node_broadcast(&c, payload, &rest);

    } else {
        rc = ngx_sio_node_object(&c, payload, &object);

        if (rc == NGX_OK) {
            rc = where == NGX_SIO_NODE_REQUESTS
                 ? ngx_sio_node_request(&c, &object, &rest)
                 : ngx_sio_node_response(&c, &object, &rest);
        }
    }

    if (rc == NGX_DECLINED) {
        *reason = c.in.reason;
    }

    return rc;
}


/* Which kind of channel, and what stands behind its first "#". */

static ngx_int_t
ngx_sio_node_where(ngx_str_t *prefix, ngx_str_t *channel, ngx_str_t *rest)
{
    ngx_int_t  i;

    static const ngx_str_t  infix[] = {
        ngx_string("#"), ngx_string("-request#"), ngx_string("-response#")
    };

    if (channel->len <= prefix->len + 1
        || ngx_memcmp(channel->data, prefix->data, prefix->len) != 0
        || channel->data[channel->len - 1] != '#')
    {
        return NGX_DECLINED;
    }

    for (i = NGX_SIO_NODE_BROADCASTS; i <= NGX_SIO_NODE_RESPONSES; i++) {

        rest->data = channel->data + prefix->len;
        rest->len = channel->len - prefix->len;

        if (rest->len > infix[i].len
            && ngx_memcmp(rest->data, infix[i].data, infix[i].len) == 0)
        {
            rest->data += infix[i].len;
            rest->len -= infix[i].len;

            return i;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_sio_node_broadcast(ngx_sio_node_t *c, ngx_str_t *payload, ngx_str_t *rest)
{
    ngx_int_t        rc;
    ngx_str_t        uid, packet, opts, json;
    ngx_sio_qmsg_t  *m;

    m = c->m;
    m->kind = NGX_SIO_QMSG_EMIT;
    c->packed = 1;

    if (ngx_sio_msgpack_check(payload, c->in.limits->depth,
                              c->in.limits->nodes, &c->in.reason)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_sio_msgpack_element(payload, 0, &uid) != NGX_OK
        || ngx_sio_msgpack_element(payload, 1, &packet) != NGX_OK
        || ngx_sio_msgpack_element(payload, 2, &opts) != NGX_OK
        || ngx_sio_msgpack_type(&opts) != NGX_SIO_MSGPACK_MAP)
    {
        return ngx_sio_node_refuse(c, "no broadcast");
    }

    rc = ngx_sio_node_json(c, &uid, &json);

    if (rc == NGX_OK && !ngx_sio_node_none(&json)) {
        rc = ngx_sio_qmsg_text(&c->in, &json, &m->origin);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_node_packet(c, &packet);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    /* a namespace may hold a "#", and so may a room behind it */

    if (rest->len <= m->nsp.len || rest->data[m->nsp.len] != '#'
        || ngx_memcmp(rest->data, m->nsp.data, m->nsp.len) != 0)
    {
        return ngx_sio_node_refuse(c, "another namespace");
    }

    return ngx_sio_node_opts(c, &opts);
}


/* The first octet alone decides, as in Node. */

static ngx_int_t
ngx_sio_node_object(ngx_sio_node_t *c, ngx_str_t *payload, ngx_str_t *object)
{
    if (payload->len && payload->data[0] == '{') {

        if (!ngx_sio_utf8_valid(payload->data, payload->len)) {
            return ngx_sio_node_refuse(c, "text is not UTF-8");
        }

        if (ngx_sio_json_text(payload, c->in.limits->depth, object) != NGX_OK) {
            return ngx_sio_node_refuse(c, "malformed JSON");
        }

        return NGX_OK;
    }

    c->packed = 1;
    *object = *payload;

    if (ngx_sio_msgpack_check(payload, c->in.limits->depth,
                              c->in.limits->nodes, &c->in.reason)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_sio_msgpack_type(object) != NGX_SIO_MSGPACK_MAP) {
        return ngx_sio_node_refuse(c, "not an object");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_node_request(ngx_sio_node_t *c, ngx_str_t *object, ngx_str_t *nsp)
{
    uint64_t          type;
    ngx_int_t         rc;
    ngx_str_t         json;
    ngx_sio_qmsg_t   *m;

    m = c->m;
    m->nsp = *nsp;
    m->nsp.len--;

    rc = ngx_sio_node_nsp(c, &m->nsp);

    if (rc == NGX_OK) {
        rc = ngx_sio_node_name(c, object, "uid", &m->origin);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_node_name(c, object, "requestId", &m->request_id);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_node_field(c, object, "type", &json);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_json_uint(&json, NGX_SIO_NODE_EMIT, &type) != NGX_OK) {
        return ngx_sio_node_refuse(c, "unknown type");
    }

    return ngx_sio_node_ask(c, object, type);
}


static ngx_int_t
ngx_sio_node_ask(ngx_sio_node_t *c, ngx_str_t *object, uint64_t type)
{
    ngx_sio_qmsg_t  *m;

    m = c->m;

    switch (type) {

    case NGX_SIO_NODE_JOIN:
    case NGX_SIO_NODE_LEAVE:
    case NGX_SIO_NODE_DISCONNECT:
        return ngx_sio_node_move(c, object, type);

    case NGX_SIO_NODE_SERVER_EMIT:
        m->kind = NGX_SIO_QMSG_SERVER_EMIT;
        return ngx_sio_node_data(c, object);

    default:
        break;
    }

    if (m->request_id.len == 0) {
        return ngx_sio_node_refuse(c, "no request id");
    }

    switch (type) {

    case NGX_SIO_NODE_SOCKETS:
        return ngx_sio_node_sockets(c, object);

    case NGX_SIO_NODE_ALL_ROOMS:
        m->kind = NGX_SIO_QMSG_ROOMS;
        return NGX_OK;

    case NGX_SIO_NODE_FETCH:
        m->kind = NGX_SIO_QMSG_FETCH;
        return ngx_sio_node_opts(c, object);

    default: /* NGX_SIO_NODE_EMIT */
        return ngx_sio_node_emit(c, object);
    }
}


static ngx_int_t
ngx_sio_node_sockets(ngx_sio_node_t *c, ngx_str_t *object)
{
    ngx_int_t        rc;
    ngx_sio_qmsg_t  *m;

    m = c->m;
    m->kind = NGX_SIO_QMSG_FETCH;
    m->bare = 1;

    rc = ngx_sio_node_rooms(c, object, "rooms", &m->rooms, &m->nrooms);
    m->all = (m->nrooms == 0);

    return rc;
}


static ngx_int_t
ngx_sio_node_move(ngx_sio_node_t *c, ngx_str_t *object, uint64_t type)
{
    ngx_int_t        rc;
    ngx_str_t        json;
    ngx_sio_qmsg_t  *m;

    m = c->m;

    m->kind = type == NGX_SIO_NODE_JOIN ? NGX_SIO_QMSG_JOIN
              : type == NGX_SIO_NODE_LEAVE ? NGX_SIO_QMSG_LEAVE
              : NGX_SIO_QMSG_DISCONNECT;

    rc = ngx_sio_node_field(c, object, "close", &json);

    if (rc != NGX_OK) {
        return rc;
    }

    m->close = (type == NGX_SIO_NODE_DISCONNECT
                && ngx_sio_json_type(&json) == NGX_SIO_JSON_TRUE);

    if (ngx_sio_node_find(c, object, "opts", &json) != NGX_OK) {
        return ngx_sio_node_move_one(c, object);
    }

    rc = ngx_sio_node_opts(c, object);

    if (rc != NGX_OK || type == NGX_SIO_NODE_DISCONNECT) {
        return rc;
    }

    if (ngx_sio_node_find(c, object, "rooms", &json) != NGX_OK) {
        return ngx_sio_node_refuse(c, "no rooms");
    }

    return ngx_sio_node_rooms(c, object, "rooms", &m->op_rooms,
                              &m->nop_rooms);
}


/* of older servers: one socket, one room */

static ngx_int_t
ngx_sio_node_move_one(ngx_sio_node_t *c, ngx_str_t *object)
{
    ngx_int_t             rc;
    ngx_str_t             json;
    ngx_sio_qmsg_t       *m;
    ngx_sio_qmsg_room_t  *rooms;

    m = c->m;

    rooms = ngx_pcalloc(c->in.pool, 2 * sizeof(ngx_sio_qmsg_room_t));
    if (rooms == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_sio_node_name(c, object, "sid", &rooms[0].name);

    if (rc != NGX_OK) {
        return rc;
    }

    if (rooms[0].name.len == 0) {
        return ngx_sio_node_refuse(c, "no target");
    }

    m->rooms = rooms;
    m->nrooms = 1;

    if (m->kind == NGX_SIO_QMSG_DISCONNECT) {
        return NGX_OK;
    }

    m->op_rooms = rooms + 1;
    m->nop_rooms = 1;

    rc = ngx_sio_node_field(c, object, "room", &json);

    return rc == NGX_OK ? ngx_sio_qmsg_room(&c->in, &json, m->op_rooms) : rc;
}


static ngx_int_t
ngx_sio_node_emit(ngx_sio_node_t *c, ngx_str_t *object)
{
    ngx_int_t   rc;
    ngx_str_t   packet, nsp;

    nsp = c->m->nsp;
    c->m->kind = NGX_SIO_QMSG_EMIT;

    if (ngx_sio_node_find(c, object, "packet", &packet) != NGX_OK) {
        return ngx_sio_node_refuse(c, "no packet");
    }

    rc = ngx_sio_node_packet(c, &packet);

    if (rc != NGX_OK) {
        return rc;
    }

    if (nsp.len != c->m->nsp.len
        || ngx_memcmp(nsp.data, c->m->nsp.data, nsp.len) != 0)
    {
        return ngx_sio_node_refuse(c, "another namespace");
    }

    if (ngx_sio_node_find(c, object, "opts", &packet) != NGX_OK) {
        return ngx_sio_node_refuse(c, "no target");
    }

    return ngx_sio_node_opts(c, &packet);
}


static ngx_int_t
ngx_sio_node_response(ngx_sio_node_t *c, ngx_str_t *object, ngx_str_t *rest)
{
    u_char           *p;
    uint64_t          type;
    ngx_int_t         rc;
    ngx_str_t         json;
    ngx_sio_qmsg_t   *m;

    m = c->m;

    p = ngx_strlchr(rest->data, rest->data + rest->len, '#');

    m->nsp.data = rest->data;
    m->nsp.len = p - rest->data;

    rc = ngx_sio_node_nsp(c, &m->nsp);

    if (rc == NGX_OK) {
        rc = ngx_sio_node_name(c, object, "requestId", &m->request_id);
    }

    if (rc == NGX_OK) {
        rc = ngx_sio_node_field(c, object, "type", &json);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (m->request_id.len == 0) {
        return ngx_sio_node_refuse(c, "no request id");
    }

    if (ngx_sio_node_none(&json)) {
        return ngx_sio_node_list(c, object);
    }

    if (ngx_sio_json_uint(&json, NGX_SIO_NODE_ACK, &type) != NGX_OK) {
        return ngx_sio_node_refuse(c, "unknown type");
    }

    return ngx_sio_node_answer(c, object, type);
}


static ngx_int_t
ngx_sio_node_answer(ngx_sio_node_t *c, ngx_str_t *object, uint64_t type)
{
    ngx_int_t        rc;
    ngx_str_t        json;
    ngx_sio_qmsg_t  *m;

    m = c->m;

    switch (type) {

    case NGX_SIO_NODE_SERVER_EMIT:
        m->kind = NGX_SIO_QMSG_SERVER_ANSWER;
        return ngx_sio_node_content(c, object, "data", &m->json);

    case NGX_SIO_NODE_COUNT:
        m->kind = NGX_SIO_QMSG_COUNT;

        rc = ngx_sio_node_field(c, object, "clientCount", &json);

        if (rc == NGX_OK
            && ngx_sio_json_uint(&json, NGX_SIO_NODE_MAX_COUNT, &m->count)
               != NGX_OK)
        {
            return ngx_sio_node_refuse(c, "malformed count");
        }

        return rc;

    case NGX_SIO_NODE_ACK:
        m->kind = NGX_SIO_QMSG_BACK;
        return ngx_sio_node_back(c, object);

    default:
        return ngx_sio_node_list(c, object);
    }
}


/* the one argument, as the array of arguments */

static ngx_int_t
ngx_sio_node_back(ngx_sio_node_t *c, ngx_str_t *object)
{
    u_char           *p;
    ngx_int_t         rc;
    ngx_str_t         json;
    ngx_sio_qmsg_t   *m;

    m = c->m;

    rc = ngx_sio_node_content(c, object, "packet", &json);

    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_pnalloc(c->in.pool, json.len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    m->json.data = p;

    *p++ = '[';

    if (json.len) {
        p = ngx_cpymem(p, json.data, json.len);
    }

    *p++ = ']';

    m->json.len = p - m->json.data;

    if (m->nattachments
        && ngx_sio_packet_placeholders(&m->json, m->nattachments) != NGX_OK)
    {
        return ngx_sio_node_refuse(c, "malformed placeholder");
    }

    return NGX_OK;
}


/* sockets are objects with an id, or ids; rooms are names */

static ngx_int_t
ngx_sio_node_list(ngx_sio_node_t *c, ngx_str_t *object)
{
    ngx_int_t             rc;
    ngx_str_t             value, id;
    ngx_sio_qmsg_t       *m;
    ngx_sio_json_iter_t   it;

    m = c->m;
    m->kind = NGX_SIO_QMSG_FETCH_ANSWER;

    rc = ngx_sio_node_content(c, object, "sockets", &m->json);

    if (rc == NGX_OK && ngx_sio_node_none(&m->json)) {
        m->kind = NGX_SIO_QMSG_ROOMS_ANSWER;
        rc = ngx_sio_node_field(c, object, "rooms", &m->json);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_json_type(&m->json) != NGX_SIO_JSON_ARRAY) {
        return ngx_sio_node_refuse(c, "unknown response");
    }

    ngx_sio_json_iter(&it, &m->json);

    while (ngx_sio_json_element(&it, &value) == NGX_OK) {

        switch (ngx_sio_json_type(&value)) {

        case NGX_SIO_JSON_STRING:
            m->bare = (m->kind == NGX_SIO_QMSG_FETCH_ANSWER);
            break;

        case NGX_SIO_JSON_NUMBER:

            if (m->kind == NGX_SIO_QMSG_ROOMS_ANSWER) {
                break;
            }

            return ngx_sio_node_refuse(c, "malformed socket");

        default:

            if (m->kind == NGX_SIO_QMSG_ROOMS_ANSWER
                || ngx_sio_json_find(&value, "id", &id) != NGX_OK
                || ngx_sio_json_type(&id) != NGX_SIO_JSON_STRING)
            {
                return ngx_sio_node_refuse(c, "malformed socket");
            }
        }
    }

    return NGX_OK;
}


/* Parts of messages. */

static ngx_int_t
ngx_sio_node_packet(ngx_sio_node_t *c, ngx_str_t *packet)
{
    uint64_t    type;
    ngx_int_t   rc;
    ngx_str_t   json;

    rc = ngx_sio_node_field(c, packet, "type", &json);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_json_uint(&json, NGX_SIO_NODE_EVENT, &type) != NGX_OK
        || type != NGX_SIO_NODE_EVENT)
    {
        return ngx_sio_node_refuse(c, "no event packet");
    }

    if (ngx_sio_node_find(c, packet, "nsp", &json) != NGX_OK) {
        ngx_str_set(&c->m->nsp, "/");

    } else {
        rc = ngx_sio_node_name(c, packet, "nsp", &c->m->nsp);

        if (rc == NGX_OK) {
            rc = ngx_sio_node_nsp(c, &c->m->nsp);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_sio_node_data(c, packet);
}


static ngx_int_t
ngx_sio_node_data(ngx_sio_node_t *c, ngx_str_t *object)
{
    ngx_int_t             rc;
    ngx_str_t             event;
    ngx_sio_qmsg_t       *m;
    ngx_sio_json_iter_t   it;

    m = c->m;

    rc = ngx_sio_node_content(c, object, "data", &m->json);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_json_type(&m->json) != NGX_SIO_JSON_ARRAY) {
        return ngx_sio_node_refuse(c, "no data");
    }

    ngx_sio_json_iter(&it, &m->json);

    if (ngx_sio_json_element(&it, &event) != NGX_OK
        || ngx_sio_json_type(&event) != NGX_SIO_JSON_STRING)
    {
        return ngx_sio_node_refuse(c, "no event");
    }

    if (ngx_sio_json_string_length(&event) > c->in.limits->name) {
        return ngx_sio_node_refuse(c, "too long a name");
    }

    if (m->json.len > c->in.limits->json) {
        return ngx_sio_node_refuse(c, "too large");
    }

    if (m->nattachments
        && ngx_sio_packet_placeholders(&m->json, m->nattachments) != NGX_OK)
    {
        return ngx_sio_node_refuse(c, "malformed placeholder");
    }

    return NGX_OK;
}


/*
 * "opts" as a member of a request, or the options themselves.  No rooms is
 * everybody.
 */

static ngx_int_t
ngx_sio_node_opts(ngx_sio_node_t *c, ngx_str_t *object)
{
    ngx_int_t        rc;
    ngx_str_t        opts;
    ngx_sio_qmsg_t  *m;

    m = c->m;
    opts = *object;

    if (m->kind != NGX_SIO_QMSG_EMIT
        && ngx_sio_node_find(c, object, "opts", &opts) != NGX_OK)
    {
        return ngx_sio_node_refuse(c, "no target");
    }

    if (c->packed ? ngx_sio_msgpack_type(&opts) != NGX_SIO_MSGPACK_MAP
                  : ngx_sio_json_type(&opts) != NGX_SIO_JSON_OBJECT)
    {
        return ngx_sio_node_refuse(c, "no target");
    }

    rc = ngx_sio_node_rooms(c, &opts, "rooms", &m->rooms, &m->nrooms);

    if (rc == NGX_OK) {
        rc = ngx_sio_node_rooms(c, &opts, "except", &m->except, &m->nexcept);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    m->all = (m->nrooms == 0);

    return ngx_sio_node_flags(c, &opts);
}


static ngx_int_t
ngx_sio_node_flags(ngx_sio_node_t *c, ngx_str_t *opts)
{
    uint64_t    timeout;
    ngx_int_t   rc;
    ngx_str_t   flags, json;

    if (ngx_sio_node_find(c, opts, "flags", &flags) != NGX_OK) {
        return NGX_OK;
    }

    rc = ngx_sio_node_field(c, &flags, "volatile", &json);

    if (rc != NGX_OK) {
        return rc;
    }

    c->m->is_volatile = (ngx_sio_json_type(&json) == NGX_SIO_JSON_TRUE);

    rc = ngx_sio_node_field(c, &flags, "timeout", &json);

    if (rc == NGX_OK
        && ngx_sio_json_uint(&json, NGX_SIO_NODE_MAX_TIME, &timeout) == NGX_OK)
    {
        c->m->timeout = (ngx_msec_t) timeout;
    }

    return rc;
}


static ngx_int_t
ngx_sio_node_rooms(ngx_sio_node_t *c, ngx_str_t *object, const char *name,
    ngx_sio_qmsg_room_t **rooms, ngx_uint_t *n)
{
    ngx_int_t  rc;
    ngx_str_t  json;

    rc = ngx_sio_node_field(c, object, name, &json);

    if (rc != NGX_OK || ngx_sio_node_none(&json)) {
        return rc;
    }

    if (ngx_sio_json_type(&json) != NGX_SIO_JSON_ARRAY) {
        return ngx_sio_node_refuse(c, "malformed rooms");
    }

    return ngx_sio_qmsg_rooms(&c->in, &json, rooms, n);
}


/* a text, or none */

static ngx_int_t
ngx_sio_node_name(ngx_sio_node_t *c, ngx_str_t *object, const char *name,
    ngx_str_t *text)
{
    ngx_int_t  rc;
    ngx_str_t  json;

    rc = ngx_sio_node_field(c, object, name, &json);

    if (rc != NGX_OK || ngx_sio_node_none(&json)) {
        return rc;
    }

    return ngx_sio_qmsg_text(&c->in, &json, text);
}


static ngx_int_t
ngx_sio_node_nsp(ngx_sio_node_t *c, ngx_str_t *nsp)
{
    if (nsp->len == 0 || nsp->data[0] != '/' || nsp->len > c->in.limits->name
        || ngx_strlchr(nsp->data, nsp->data + nsp->len, '\0') != NULL
        || ngx_strlchr(nsp->data, nsp->data + nsp->len, ',') != NULL
        || !ngx_sio_utf8_valid(nsp->data, nsp->len))
    {
        return ngx_sio_node_refuse(c, "malformed namespace");
    }

    return NGX_OK;
}


/* NGX_OK, or NGX_DECLINED if there is none, or null */

static ngx_int_t
ngx_sio_node_find(ngx_sio_node_t *c, ngx_str_t *object, const char *name,
    ngx_str_t *value)
{
    ngx_sio_msgpack_e  type;

    if (!c->packed) {
        return ngx_sio_json_find(object, name, value) == NGX_OK
               && !ngx_sio_node_none(value) ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_sio_msgpack_find(object, name, value) != NGX_OK) {
        return NGX_DECLINED;
    }

    type = ngx_sio_msgpack_type(value);

    return type == NGX_SIO_MSGPACK_NIL || type == NGX_SIO_MSGPACK_UNDEFINED
           ? NGX_DECLINED : NGX_OK;
}


/* A member as JSON, empty if there is none. */

static ngx_int_t
ngx_sio_node_field(ngx_sio_node_t *c, ngx_str_t *object, const char *name,
    ngx_str_t *json)
{
    ngx_int_t  rc;

    rc = ngx_sio_node_content(c, object, name, json);

    if (rc == NGX_OK && c->noctets) {
        return ngx_sio_node_refuse(c, "octets where there are none");
    }

    return rc;
}


/* The same with its octets as the attachments. */

static ngx_int_t
ngx_sio_node_content(ngx_sio_node_t *c, ngx_str_t *object, const char *name,
    ngx_str_t *json)
{
    ngx_str_t  value;

    ngx_str_null(json);
    c->noctets = 0;

    if (!c->packed) {
        (void) ngx_sio_json_find(object, name, json);
        return NGX_OK;
    }

    if (ngx_sio_msgpack_find(object, name, &value) != NGX_OK) {
        return NGX_OK;
    }

    return ngx_sio_node_json(c, &value, json);
}


static ngx_int_t
ngx_sio_node_json(ngx_sio_node_t *c, ngx_str_t *value, ngx_str_t *json)
{
    size_t  len;

    c->noctets = 0;
    len = ngx_sio_msgpack_json(NULL, value, NULL, &c->noctets);

    if (c->noctets > c->in.limits->attachments) {
        return ngx_sio_node_refuse(c, "too many attachments");
    }

    if (len > c->in.limits->json) {
        return ngx_sio_node_refuse(c, "too large");
    }

    json->data = ngx_pnalloc(c->in.pool, len);
    if (json->data == NULL) {
        return NGX_ERROR;
    }

    if (c->noctets) {
        c->m->nattachments = c->noctets;
        c->m->attachments = ngx_palloc(c->in.pool,
                                       c->noctets * sizeof(ngx_str_t));
        if (c->m->attachments == NULL) {
            return NGX_ERROR;
        }
    }

    c->noctets = 0;
    json->len = ngx_sio_msgpack_json(json->data, value, c->m->attachments,
                                     &c->noctets);
    return NGX_OK;
}


static ngx_int_t
ngx_sio_node_refuse(ngx_sio_node_t *c, const char *reason)
{
    c->in.reason = reason;

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_sio_node_none(ngx_str_t *json)
{
    return json->len == 0 || json->data[0] == 'n';
}
