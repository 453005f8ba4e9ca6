
#include "ngx_sio_python.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_pickle.h"
#include "ngx_sio_utf8.h"


/* a counter of a server's; JavaScript would not count on either */
#define NGX_SIO_PYTHON_MAX_ID      0x1fffffffffffffULL


/* the fields of a message, in the order of this list */

enum {
    NGX_SIO_PYTHON_METHOD = 0,
    NGX_SIO_PYTHON_EVENT,
    NGX_SIO_PYTHON_DATA,
    NGX_SIO_PYTHON_BINARY,
    NGX_SIO_PYTHON_NAMESPACE,
    NGX_SIO_PYTHON_ROOM,
    NGX_SIO_PYTHON_SKIP,
    NGX_SIO_PYTHON_CALLBACK,
    NGX_SIO_PYTHON_HOST,
    NGX_SIO_PYTHON_SID,
    NGX_SIO_PYTHON_ID,
    NGX_SIO_PYTHON_ARGS,
    NGX_SIO_PYTHON_FIELDS
};


/* how "data" becomes arguments */

typedef enum {
    NGX_SIO_PYTHON_ONE = 0,         /* it is the argument; null is none */
    NGX_SIO_PYTHON_LIST,            /* its elements are */
    NGX_SIO_PYTHON_TUPLE            /* its elements are, also one null */
} ngx_sio_python_shape_e;


typedef struct {
    ngx_str_t                      fields[NGX_SIO_PYTHON_FIELDS];  /* JSON;
                                                     empty: absent */
    ngx_uint_t                     shape;
    ngx_str_t                     *attachments;
    ngx_uint_t                     nattachments;
    ngx_sio_qmsg_reader_t          in;
    ngx_sio_qmsg_t                *m;
} ngx_sio_python_t;


static ngx_int_t ngx_sio_python_json(ngx_sio_python_t *c, ngx_str_t *payload,
    ngx_uint_t dialect);
static ngx_int_t ngx_sio_python_plain(ngx_sio_python_t *c, ngx_str_t *payload,
    ngx_str_t *plain);
static ngx_int_t ngx_sio_python_pickle(ngx_sio_python_t *c,
    ngx_str_t *payload);
static ngx_int_t ngx_sio_python_pickle_field(ngx_sio_python_t *c,
    ngx_sio_pickle_value_t *value, ngx_str_t *field, ngx_uint_t binary);
static ngx_int_t ngx_sio_python_message(ngx_sio_python_t *c);
static ngx_int_t ngx_sio_python_emit(ngx_sio_python_t *c);
static ngx_int_t ngx_sio_python_callback(ngx_sio_python_t *c);
static ngx_int_t ngx_sio_python_args(ngx_sio_python_t *c);
static ngx_int_t ngx_sio_python_answer(ngx_sio_python_t *c);
static ngx_int_t ngx_sio_python_one(ngx_sio_python_t *c, ngx_str_t *method);
static ngx_int_t ngx_sio_python_unpack(ngx_sio_python_t *c);
static ngx_int_t ngx_sio_python_placeholders(ngx_sio_python_t *c,
    ngx_str_t *tree);
static ngx_int_t ngx_sio_python_refuse(ngx_sio_python_t *c,
    const char *reason);
static ngx_uint_t ngx_sio_python_none(ngx_str_t *value);


static const char *ngx_sio_python_names[NGX_SIO_PYTHON_FIELDS] = {
    "method", "event", "data", "binary", "namespace", "room", "skip_sid",
    "callback", "host_id", "sid", "id", "args"
};


ngx_int_t
ngx_sio_python_decode(ngx_str_t *payload, ngx_uint_t dialect,
    const ngx_sio_qmsg_limits_t *limits, ngx_sio_qmsg_t *m, ngx_pool_t *pool,
    const char **reason)
{
    ngx_int_t          rc;
    ngx_sio_python_t   c;

    ngx_memzero(&c, sizeof(ngx_sio_python_t));
    ngx_memzero(m, sizeof(ngx_sio_qmsg_t));

    c.in.limits = limits;
    c.in.pool = pool;
    c.in.digits = NGX_INT64_LEN;
    c.m = m;

    rc = ngx_sio_pickle_is(payload) ? ngx_sio_python_pickle(&c, payload)
                                    : ngx_sio_python_json(&c, payload,
                                                          dialect);
    if (rc == NGX_OK) {
        rc = ngx_sio_python_message(&c);
    }

    if (rc == NGX_DECLINED) {
        *reason = c.in.reason;
    }

    return rc;
}


/* From either form to fields that are JSON. */

static ngx_int_t
ngx_sio_python_json(ngx_sio_python_t *c, ngx_str_t *payload,
    ngx_uint_t dialect)
{
    ngx_int_t    rc;
    ngx_str_t    plain, object;
    ngx_uint_t   i;

    rc = ngx_sio_python_plain(c, payload, &plain);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_json_text(&plain, c->in.limits->depth, &object) != NGX_OK) {
        return ngx_sio_python_refuse(c, "malformed JSON");
    }

    if (ngx_sio_json_type(&object) != NGX_SIO_JSON_OBJECT) {
        return ngx_sio_python_refuse(c, "not an object");
    }

    for (i = 0; i < NGX_SIO_PYTHON_FIELDS; i++) {
        (void) ngx_sio_json_find(&object, ngx_sio_python_names[i],
                                 &c->fields[i]);
    }

    c->shape = (dialect == NGX_SIO_PYTHON_5_14
                || ngx_sio_json_type(&c->fields[NGX_SIO_PYTHON_DATA])
                   != NGX_SIO_JSON_ARRAY)
               ? NGX_SIO_PYTHON_ONE : NGX_SIO_PYTHON_LIST;

    return NGX_OK;
}


/*
 * UTF-8 without a mark in front, and null for what Python's json writes though
 * it is no JSON: NaN, Infinity, -Infinity.
 */

static ngx_int_t
ngx_sio_python_plain(ngx_sio_python_t *c, ngx_str_t *payload,
    ngx_str_t *plain)
{
    u_char      *p, *last, *d;
    size_t       extra;
    ngx_uint_t   quoted;

    *plain = *payload;

    if (plain->len >= 3 && ngx_memcmp(plain->data, "\xef\xbb\xbf", 3) == 0) {
        plain->data += 3;
        plain->len -= 3;
    }

    if (!ngx_sio_utf8_valid(plain->data, plain->len)) {
        return ngx_sio_python_refuse(c, "text is not UTF-8");
    }

    last = plain->data + plain->len;
    quoted = 0;
    extra = 0;

    for (p = plain->data; p < last; p++) {

        if (*p == '"') {
            quoted = !quoted;

        } else if (*p == '\\' && quoted) {
            p++;

        } else if (!quoted && (*p == 'N' || *p == 'I')) {
            extra++;
        }
    }

    if (extra == 0) {
        return NGX_OK;
    }

    d = ngx_pnalloc(c->in.pool, plain->len + extra);
    if (d == NULL) {
        return NGX_ERROR;
    }

    p = plain->data;
    plain->data = d;
    quoted = 0;

    while (p < last) {

        if (!quoted && last - p >= 3 && ngx_strncmp(p, "NaN", 3) == 0) {
            d = ngx_cpymem(d, "null", 4);
            p += 3;
            continue;
        }

        if (!quoted && last - p >= 8 && ngx_strncmp(p, "Infinity", 8) == 0) {

            if (d > plain->data && d[-1] == '-') {
                d--;
            }

            d = ngx_cpymem(d, "null", 4);
            p += 8;
            continue;
        }

        if (*p == '"') {
            quoted = !quoted;

        } else if (*p == '\\' && quoted && last - p > 1) {
            *d++ = *p++;
        }

        *d++ = *p++;
    }

    plain->len = d - plain->data;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_python_pickle(ngx_sio_python_t *c, ngx_str_t *payload)
{
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    ngx_sio_pickle_value_t   *dict, *value;

    rc = ngx_sio_pickle_decode(payload, c->in.limits->depth,
                               c->in.limits->nodes, &dict, c->in.pool,
                               &c->in.reason);
    if (rc != NGX_OK) {
        return rc;
    }

    if (dict->type != NGX_SIO_PICKLE_DICT) {
        return ngx_sio_python_refuse(c, "not an object");
    }

    for (i = 0; i < NGX_SIO_PYTHON_FIELDS; i++) {

        /* pickles have octets themselves, and no flag for them */

        if (i == NGX_SIO_PYTHON_BINARY) {
            continue;
        }

        value = ngx_sio_pickle_find(dict, ngx_sio_python_names[i]);

        if (value == NULL) {
            continue;
        }

        n = (i == NGX_SIO_PYTHON_DATA || i == NGX_SIO_PYTHON_ARGS);

        if (i == NGX_SIO_PYTHON_DATA) {
            c->shape = value->type == NGX_SIO_PICKLE_TUPLE
                       ? NGX_SIO_PYTHON_TUPLE : NGX_SIO_PYTHON_ONE;
        }

        rc = ngx_sio_python_pickle_field(c, value, &c->fields[i], n);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_python_pickle_field(ngx_sio_python_t *c, ngx_sio_pickle_value_t *value,
    ngx_str_t *field, ngx_uint_t binary)
{
    size_t      len;
    ngx_uint_t  n;

    n = ngx_sio_pickle_bytes(value);

    if (n && (!binary || n > c->in.limits->attachments)) {
        return ngx_sio_python_refuse(c, binary ? "too many attachments"
                                               : "octets where there are none");
    }

    len = ngx_sio_pickle_json_length(value);

    if (len > c->in.limits->json) {
        return ngx_sio_python_refuse(c, "too large");
    }

    field->data = ngx_pnalloc(c->in.pool, len);
    if (field->data == NULL) {
        return NGX_ERROR;
    }

    if (n) {
        c->attachments = ngx_palloc(c->in.pool, n * sizeof(ngx_str_t));
        if (c->attachments == NULL) {
            return NGX_ERROR;
        }
    }

    c->nattachments = n ? 0 : c->nattachments;

    field->len = ngx_sio_pickle_json_write(field->data, value, c->attachments,
                                           &c->nattachments)
                 - field->data;

    return NGX_OK;
}


/* From fields to the message. */

static ngx_int_t
ngx_sio_python_message(ngx_sio_python_t *c)
{
    ngx_int_t        rc;
    ngx_str_t        method;
    ngx_sio_qmsg_t  *m;

    m = c->m;

    if (ngx_sio_qmsg_text(&c->in, &c->fields[NGX_SIO_PYTHON_METHOD], &method)
        != NGX_OK)
    {
        return ngx_sio_python_refuse(c, "no method");
    }

    rc = ngx_sio_qmsg_text(&c->in, &c->fields[NGX_SIO_PYTHON_NAMESPACE],
                           &m->nsp);

    if (rc == NGX_ERROR) {
        return rc;
    }

    if (rc != NGX_OK || m->nsp.len == 0 || m->nsp.data[0] != '/'
        || ngx_strlchr(m->nsp.data, m->nsp.data + m->nsp.len, '\0') != NULL
        || ngx_strlchr(m->nsp.data, m->nsp.data + m->nsp.len, ',') != NULL)
    {
        return ngx_sio_python_refuse(c, "no namespace");
    }

    if (!ngx_sio_python_none(&c->fields[NGX_SIO_PYTHON_HOST])) {
        rc = ngx_sio_qmsg_text(&c->in, &c->fields[NGX_SIO_PYTHON_HOST],
                                 &m->origin);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (method.len == 4 && ngx_strncmp(method.data, "emit", 4) == 0) {
        return ngx_sio_python_emit(c);
    }

    if (method.len == 8 && ngx_strncmp(method.data, "callback", 8) == 0) {
        return ngx_sio_python_answer(c);
    }

    return ngx_sio_python_one(c, &method);
}


static ngx_int_t
ngx_sio_python_emit(ngx_sio_python_t *c)
{
    ngx_int_t        rc;
    ngx_str_t       *room, *skip;
    ngx_sio_qmsg_t  *m;

    m = c->m;
    m->kind = NGX_SIO_QMSG_EMIT;

    if (ngx_sio_json_type(&c->fields[NGX_SIO_PYTHON_EVENT])
        != NGX_SIO_JSON_STRING)
    {
        return ngx_sio_python_refuse(c, "no event");
    }

    if (c->fields[NGX_SIO_PYTHON_DATA].len == 0) {
        return ngx_sio_python_refuse(c, "no data");
    }

    room = &c->fields[NGX_SIO_PYTHON_ROOM];

    if (ngx_sio_python_none(room)) {
        m->all = 1;

    } else {
        rc = ngx_sio_qmsg_rooms(&c->in, room, &m->rooms, &m->nrooms);

        if (rc != NGX_OK) {
            return rc;
        }

        if (m->nrooms == 0) {
            return ngx_sio_python_refuse(c, "empty list of rooms");
        }
    }

    skip = &c->fields[NGX_SIO_PYTHON_SKIP];

    if (!ngx_sio_python_none(skip)) {
        rc = ngx_sio_qmsg_rooms(&c->in, skip, &m->except, &m->nexcept);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_sio_python_callback(c);

    return rc == NGX_OK ? ngx_sio_python_args(c) : rc;
}


/* [room, namespace, id]; what is no triple is none */

static ngx_int_t
ngx_sio_python_callback(ngx_sio_python_t *c)
{
    ngx_int_t             rc;
    ngx_str_t             value[4], *callback;
    ngx_uint_t            n;
    ngx_sio_json_iter_t   it;

    callback = &c->fields[NGX_SIO_PYTHON_CALLBACK];

    if (ngx_sio_python_none(callback)) {
        return NGX_OK;
    }

    if (ngx_sio_json_type(callback) != NGX_SIO_JSON_ARRAY) {
        return ngx_sio_python_refuse(c, "malformed callback");
    }

    n = 0;
    ngx_sio_json_iter(&it, callback);

    while (n < 4 && ngx_sio_json_element(&it, &value[n]) == NGX_OK) {
        n++;
    }

    if (n != 3) {
        return ngx_sio_python_refuse(c, "malformed callback");
    }

    rc = ngx_sio_qmsg_room(&c->in, &value[0], &c->m->room);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_sio_json_uint(&value[2], NGX_SIO_PYTHON_MAX_ID, &c->m->id)
        != NGX_OK || c->m->id == 0)
    {
        return ngx_sio_python_refuse(c, "malformed callback");
    }

    return NGX_OK;
}


/* the event's name and its arguments, as one array */

static ngx_int_t
ngx_sio_python_args(ngx_sio_python_t *c)
{
    u_char               *p;
    ngx_int_t             rc;
    ngx_str_t            *event, *data, inside, element;
    ngx_uint_t            n;
    ngx_sio_json_iter_t   it;

    event = &c->fields[NGX_SIO_PYTHON_EVENT];
    data = &c->fields[NGX_SIO_PYTHON_DATA];

    if (ngx_sio_json_string_length(event) > c->in.limits->name) {
        return ngx_sio_python_refuse(c, "too long a name");
    }

    if (ngx_sio_json_type(&c->fields[NGX_SIO_PYTHON_BINARY])
        == NGX_SIO_JSON_TRUE)
    {
        rc = ngx_sio_python_unpack(c);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    inside = *data;

    if (c->shape != NGX_SIO_PYTHON_ONE) {
        inside.data++;
        inside.len -= 2;

        n = 0;
        ngx_sio_json_iter(&it, data);

        while (n < 2 && ngx_sio_json_element(&it, &element) == NGX_OK) {
            n++;
        }

        if (n == 0 || (n == 1 && c->shape == NGX_SIO_PYTHON_LIST
                       && ngx_sio_python_none(&element)))
        {
            inside.len = 0;
        }

    } else if (ngx_sio_python_none(data)) {
        inside.len = 0;
    }

    p = ngx_pnalloc(c->in.pool, sizeof("[,]") - 1 + event->len + inside.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    c->m->json.data = p;

    *p++ = '[';
    p = ngx_cpymem(p, event->data, event->len);

    if (inside.len) {
        *p++ = ',';
        p = ngx_cpymem(p, inside.data, inside.len);
    }

    *p++ = ']';

    c->m->json.len = p - c->m->json.data;
    c->m->attachments = c->attachments;
    c->m->nattachments = c->nattachments;

    if (c->m->json.len > c->in.limits->json) {
        return ngx_sio_python_refuse(c, "too large");
    }

    /* to Python one without a number is data, a browser hangs up over it */

    if (c->nattachments
        && ngx_sio_packet_placeholders(&c->m->json, c->nattachments) != NGX_OK)
    {
        return ngx_sio_python_refuse(c, "malformed placeholder");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_python_answer(ngx_sio_python_t *c)
{
    ngx_int_t        rc;
    ngx_str_t       *args;
    ngx_sio_qmsg_t  *m;

    m = c->m;
    m->kind = NGX_SIO_QMSG_ACK;

    /* here the host's id is the addressee's */

    m->to_origin = m->origin;
    ngx_str_null(&m->origin);

    args = &c->fields[NGX_SIO_PYTHON_ARGS];

    if (m->to_origin.len == 0
        || ngx_sio_json_type(args) != NGX_SIO_JSON_ARRAY
        || ngx_sio_json_uint(&c->fields[NGX_SIO_PYTHON_ID],
                             NGX_SIO_PYTHON_MAX_ID, &m->id)
           != NGX_OK)
    {
        return ngx_sio_python_refuse(c, "malformed callback");
    }

    rc = ngx_sio_qmsg_room(&c->in, &c->fields[NGX_SIO_PYTHON_SID], &m->room);

    if (rc != NGX_OK) {
        return rc;
    }

    if (c->nattachments
        && ngx_sio_packet_placeholders(args, c->nattachments) != NGX_OK)
    {
        return ngx_sio_python_refuse(c, "malformed placeholder");
    }

    m->json = *args;
    m->attachments = c->attachments;
    m->nattachments = c->nattachments;

    return NGX_OK;
}


/* disconnect, enter_room, leave_room: one socket; close_room: one room */

static ngx_int_t
ngx_sio_python_one(ngx_sio_python_t *c, ngx_str_t *method)
{
    ngx_int_t              rc;
    ngx_uint_t             target, room;
    ngx_sio_qmsg_t        *m;
    ngx_sio_qmsg_room_t   *rooms;

    m = c->m;
    target = NGX_SIO_PYTHON_SID;
    room = 1;

    if (method->len == 10
        && ngx_strncmp(method->data, "disconnect", 10) == 0)
    {
        m->kind = NGX_SIO_QMSG_DISCONNECT;
        room = 0;

    } else if (method->len == 10
               && ngx_strncmp(method->data, "enter_room", 10) == 0)
    {
        m->kind = NGX_SIO_QMSG_JOIN;

    } else if (method->len == 10
               && ngx_strncmp(method->data, "leave_room", 10) == 0)
    {
        m->kind = NGX_SIO_QMSG_LEAVE;

    } else if (method->len == 10
               && ngx_strncmp(method->data, "close_room", 10) == 0)
    {
        m->kind = NGX_SIO_QMSG_LEAVE;
        target = NGX_SIO_PYTHON_ROOM;

    } else {
        return ngx_sio_python_refuse(c, "unknown method");
    }

    rooms = ngx_pcalloc(c->in.pool, 2 * sizeof(ngx_sio_qmsg_room_t));
    if (rooms == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_sio_qmsg_room(&c->in, &c->fields[target], &rooms[0]);

    if (rc == NGX_OK && room) {
        rc = ngx_sio_qmsg_room(&c->in, &c->fields[NGX_SIO_PYTHON_ROOM],
                                 &rooms[1]);
        m->op_rooms = &rooms[1];
        m->nop_rooms = 1;
    }

    m->rooms = rooms;
    m->nrooms = 1;

    return rc;
}


/* [tree, "base64", ...]: what is inside the tree, and what it refers to */

static ngx_int_t
ngx_sio_python_unpack(ngx_sio_python_t *c)
{
    u_char               *last;
    ngx_str_t            *data, tree, element, *attachment;
    ngx_uint_t            n;
    ngx_array_t           list;
    ngx_sio_json_iter_t   it;

    data = &c->fields[NGX_SIO_PYTHON_DATA];
    ngx_sio_json_iter(&it, data);

    if (ngx_sio_json_type(data) != NGX_SIO_JSON_ARRAY
        || ngx_sio_json_element(&it, &tree) != NGX_OK)
    {
        return ngx_sio_python_refuse(c, "malformed binary data");
    }

    if (ngx_array_init(&list, c->in.pool, 4, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    for (n = 0; ngx_sio_json_element(&it, &element) == NGX_OK; n++) {

        if (n == c->in.limits->attachments) {
            return ngx_sio_python_refuse(c, "too many attachments");
        }

        if (ngx_sio_json_type(&element) != NGX_SIO_JSON_STRING) {
            return ngx_sio_python_refuse(c, "malformed binary data");
        }

        attachment = ngx_array_push(&list);
        if (attachment == NULL) {
            return NGX_ERROR;
        }

        attachment->data = ngx_pnalloc(c->in.pool, element.len);
        if (attachment->data == NULL) {
            return NGX_ERROR;
        }

        last = ngx_sio_json_string_write(attachment->data, &element);

        if (ngx_sio_base64_decode_strict(attachment->data, attachment->data,
                                         last - attachment->data, &last)
            != NGX_OK)
        {
            return ngx_sio_python_refuse(c, "malformed base64");
        }

        attachment->len = last - attachment->data;
    }

    c->attachments = list.elts;
    c->nattachments = n;

    /* one argument that is no list was not wrapped before 5.15.1 */

    if (c->shape == NGX_SIO_PYTHON_LIST
        && ngx_sio_json_type(&tree) != NGX_SIO_JSON_ARRAY)
    {
        c->shape = NGX_SIO_PYTHON_ONE;
    }

    *data = tree;

    return ngx_sio_python_placeholders(c, &tree);
}


/*
 * Looks at all tokens: whoever finds "_placeholder" as a name has to find a
 * number in range beside it.
 */

static ngx_int_t
ngx_sio_python_placeholders(ngx_sio_python_t *c, ngx_str_t *tree)
{
    uint64_t              num;
    ngx_int_t             rc;
    ngx_str_t             key, value;
    ngx_sio_json_iter_t   it;

    switch (ngx_sio_json_type(tree)) {

    case NGX_SIO_JSON_ARRAY:
        ngx_sio_json_iter(&it, tree);

        while (ngx_sio_json_element(&it, &value) == NGX_OK) {
            rc = ngx_sio_python_placeholders(c, &value);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        return NGX_OK;

    case NGX_SIO_JSON_OBJECT:

        if (ngx_sio_json_find(tree, "_placeholder", &value) == NGX_OK
            && ngx_sio_json_type(&value) == NGX_SIO_JSON_TRUE
            && ngx_sio_json_find(tree, "num", &value) == NGX_OK)
        {
            return c->nattachments
                   && ngx_sio_json_uint(&value, c->nattachments - 1, &num)
                      == NGX_OK
                   ? NGX_OK : ngx_sio_python_refuse(c, "no such attachment");
        }

        ngx_sio_json_iter(&it, tree);

        while (ngx_sio_json_member(&it, &key, &value) == NGX_OK) {
            rc = ngx_sio_python_placeholders(c, &value);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        return NGX_OK;

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_sio_python_refuse(ngx_sio_python_t *c, const char *reason)
{
    c->in.reason = reason;

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_sio_python_none(ngx_str_t *value)
{
    return value->len == 0 || value->data[0] == 'n';
}
