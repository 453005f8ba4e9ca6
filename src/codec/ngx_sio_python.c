
#include "ngx_sio_python.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"
#include "ngx_sio_pickle.h"
#include <math.h>
#include <stdlib.h>


/* what Python's json takes; digits of an integer */
#define NGX_SIO_PYTHON_MAX_DEPTH   200
#define NGX_SIO_PYTHON_MAX_DIGITS  4000


/* a message being written, or measured while p is NULL */

typedef struct {
    u_char       *p;
    size_t        len;
    ngx_uint_t    pickle;
    ngx_uint_t    n;                /* fields so far */
} ngx_sio_python_out_t;


/* an EMIT taken apart */

typedef struct {
    ngx_str_t     event;            /* JSON */
    ngx_str_t     args;             /* array of the rest */
    ngx_str_t     first;            /* the only one, if there is one */
    ngx_uint_t    nargs;
} ngx_sio_python_args_t;


static ngx_int_t ngx_sio_python_split(ngx_sio_qmsg_t *m,
    ngx_sio_python_args_t *args, ngx_pool_t *pool);
static ngx_uint_t ngx_sio_python_harmless(ngx_str_t *json);
static ngx_uint_t ngx_sio_python_finite(ngx_str_t *number);
static void ngx_sio_python_write(ngx_sio_python_out_t *out, ngx_sio_qmsg_t *m,
    ngx_sio_python_args_t *args, ngx_uint_t dialect);
static void ngx_sio_python_write_emit(ngx_sio_python_out_t *out,
    ngx_sio_qmsg_t *m, ngx_sio_python_args_t *args, ngx_uint_t dialect);
static void ngx_sio_python_write_data(ngx_sio_python_out_t *out,
    ngx_sio_qmsg_t *m, ngx_sio_python_args_t *args, ngx_uint_t dialect);
static void ngx_sio_python_key(ngx_sio_python_out_t *out, const char *key);
static void ngx_sio_python_put(ngx_sio_python_out_t *out, const void *p,
    size_t len);
static void ngx_sio_python_put_text(ngx_sio_python_out_t *out,
    ngx_str_t *text);
static void ngx_sio_python_put_room(ngx_sio_python_out_t *out,
    ngx_sio_qmsg_room_t *room);
static void ngx_sio_python_put_rooms(ngx_sio_python_out_t *out,
    ngx_sio_qmsg_room_t *rooms, ngx_uint_t n);
static void ngx_sio_python_put_uint(ngx_sio_python_out_t *out, uint64_t n);
static void ngx_sio_python_put_json(ngx_sio_python_out_t *out,
    ngx_str_t *json, ngx_sio_qmsg_t *m);
static void ngx_sio_python_put_none(ngx_sio_python_out_t *out);
static void ngx_sio_python_put_base64(ngx_sio_python_out_t *out,
    ngx_sio_qmsg_t *m);


/* Encoding: measured first, then written, by the same functions. */

ngx_int_t
ngx_sio_python_encode(ngx_sio_qmsg_t *m, ngx_uint_t dialect, size_t max,
    ngx_str_t *payload, ngx_pool_t *pool)
{
    ngx_int_t               rc;
    ngx_sio_python_out_t    out;
    ngx_sio_python_args_t   args;

    ngx_memzero(&args, sizeof(ngx_sio_python_args_t));

    switch (m->kind) {

    case NGX_SIO_QMSG_EMIT:
        rc = ngx_sio_python_split(m, &args, pool);

        if (rc != NGX_OK) {
            return rc;
        }

        if (dialect == NGX_SIO_PYTHON_5_14 && args.nargs > 1) {
            return NGX_DECLINED;
        }

        break;

    case NGX_SIO_QMSG_ACK:

        if (!ngx_sio_python_harmless(&m->json)
            || (m->nattachments && dialect != NGX_SIO_PYTHON_PICKLE))
        {
            return NGX_DECLINED;
        }

        break;

    case NGX_SIO_QMSG_JOIN:
    case NGX_SIO_QMSG_LEAVE:

        if (m->nrooms != 1 || m->nop_rooms != 1) {
            return NGX_DECLINED;
        }

        break;

    case NGX_SIO_QMSG_DISCONNECT:

        if (m->nrooms != 1) {
            return NGX_DECLINED;
        }

        break;

    default:
        return NGX_DECLINED;
    }

    ngx_memzero(&out, sizeof(ngx_sio_python_out_t));
    out.pickle = (dialect == NGX_SIO_PYTHON_PICKLE);

    ngx_sio_python_write(&out, m, &args, dialect);

    if (out.len > max) {
        return NGX_DECLINED;
    }

    payload->data = ngx_pnalloc(pool, out.len);
    if (payload->data == NULL) {
        return NGX_ERROR;
    }

    out.p = payload->data;
    out.len = 0;
    out.n = 0;

    ngx_sio_python_write(&out, m, &args, dialect);

    payload->len = out.p - payload->data;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_python_split(ngx_sio_qmsg_t *m, ngx_sio_python_args_t *args,
    ngx_pool_t *pool)
{
    u_char               *p;
    ngx_str_t             element;
    ngx_sio_json_iter_t   it;

    ngx_sio_json_iter(&it, &m->json);

    if (ngx_sio_json_element(&it, &args->event) != NGX_OK
        || ngx_sio_json_type(&args->event) != NGX_SIO_JSON_STRING
        || !ngx_sio_python_harmless(&m->json))
    {
        return NGX_DECLINED;
    }

    args->args.len = 2 + (it.end - it.pos);
    args->args.data = ngx_pnalloc(pool, args->args.len);
    if (args->args.data == NULL) {
        return NGX_ERROR;
    }

    p = args->args.data;
    *p++ = '[';
    p = ngx_cpymem(p, it.pos, it.end - it.pos);
    *p++ = ']';

    ngx_sio_json_iter(&it, &args->args);

    while (ngx_sio_json_element(&it, &element) == NGX_OK) {
        if (args->nargs++ == 0) {
            args->first = element;
        }
    }

    return NGX_OK;
}


/*
 * What would make a listener's json fail, or its answer no JSON for its
 * browsers: deep nesting, endless integers, numbers that are infinite there.
 */

static ngx_uint_t
ngx_sio_python_harmless(ngx_str_t *json)
{
    u_char      *pos, *end;
    ngx_str_t    token;
    ngx_uint_t   depth;

    pos = json->data;
    end = pos + json->len;
    depth = 0;

    while (ngx_sio_json_token(&pos, end, &token) == NGX_OK) {

        switch (token.data[0]) {

        case '[':
        case '{':

            if (++depth > NGX_SIO_PYTHON_MAX_DEPTH) {
                return 0;
            }

            break;

        case ']':
        case '}':
            depth--;
            break;

        default:

            if (ngx_sio_json_type(&token) == NGX_SIO_JSON_NUMBER
                && !ngx_sio_python_finite(&token))
            {
                return 0;
            }
        }
    }

    return 1;
}


static ngx_uint_t
ngx_sio_python_finite(ngx_str_t *number)
{
    u_char  *p, *last;
    char     buf[64];
    size_t   len;

    if (number->len > NGX_SIO_PYTHON_MAX_DIGITS) {
        return 0;
    }

    last = number->data + number->len;

    for (p = number->data; p < last; p++) {

        if ((*p | 0x20) != 'e') {
            continue;
        }

        /* long mantissas are no business of anybody's */

        len = number->len;

        if (len >= sizeof(buf)) {
            return 0;
        }

        ngx_memcpy(buf, number->data, len);
        buf[len] = '\0';

        return isfinite(strtod(buf, NULL));
    }

    return 1;
}


static void
ngx_sio_python_write(ngx_sio_python_out_t *out, ngx_sio_qmsg_t *m,
    ngx_sio_python_args_t *args, ngx_uint_t dialect)
{
    ngx_str_t    method, host;
    ngx_uint_t   closes;

    host = m->origin;
    closes = 0;

    switch (m->kind) {

    case NGX_SIO_QMSG_EMIT:
        ngx_str_set(&method, "emit");
        break;

    case NGX_SIO_QMSG_ACK:
        ngx_str_set(&method, "callback");
        host = m->to_origin;
        break;

    case NGX_SIO_QMSG_JOIN:
        ngx_str_set(&method, "enter_room");
        break;

    case NGX_SIO_QMSG_LEAVE:
        closes = (m->rooms[0].name.len == m->op_rooms[0].name.len
                  && ngx_memcmp(m->rooms[0].name.data,
                                m->op_rooms[0].name.data,
                                m->rooms[0].name.len) == 0);

        if (closes) {
            ngx_str_set(&method, "close_room");

        } else {
            ngx_str_set(&method, "leave_room");
        }

        break;

    default: /* NGX_SIO_QMSG_DISCONNECT */
        ngx_str_set(&method, "disconnect");
    }

    if (out->pickle) {
        ngx_sio_python_put(out, "\x80\x03}(", 4);

    } else {
        ngx_sio_python_put(out, "{", 1);
    }

    ngx_sio_python_key(out, "method");
    ngx_sio_python_put_text(out, &method);

    if (m->kind == NGX_SIO_QMSG_EMIT) {
        ngx_sio_python_write_emit(out, m, args, dialect);

    } else if (m->kind == NGX_SIO_QMSG_ACK) {
        ngx_sio_python_key(out, "sid");
        ngx_sio_python_put_room(out, &m->room);
        ngx_sio_python_key(out, "id");
        ngx_sio_python_put_uint(out, m->id);
        ngx_sio_python_key(out, "args");
        ngx_sio_python_put_json(out, &m->json, m);

    } else {

        if (!closes) {
            ngx_sio_python_key(out, "sid");
            ngx_sio_python_put_room(out, &m->rooms[0]);
        }

        if (m->nop_rooms) {
            ngx_sio_python_key(out, "room");
            ngx_sio_python_put_room(out, &m->op_rooms[0]);
        }
    }

    ngx_sio_python_key(out, "namespace");
    ngx_sio_python_put_text(out, &m->nsp);

    ngx_sio_python_key(out, "host_id");
    ngx_sio_python_put_text(out, &host);

    ngx_sio_python_put(out, out->pickle ? "u." : "}", out->pickle ? 2 : 1);
}


static void
ngx_sio_python_write_emit(ngx_sio_python_out_t *out, ngx_sio_qmsg_t *m,
    ngx_sio_python_args_t *args, ngx_uint_t dialect)
{
    ngx_sio_python_key(out, "event");
    ngx_sio_python_put_json(out, &args->event, NULL);

    ngx_sio_python_key(out, "data");
    ngx_sio_python_write_data(out, m, args, dialect);

    if (!out->pickle) {
        ngx_sio_python_key(out, "binary");

        /* without arguments there are no placeholders for octets */

        if (m->nattachments && args->nargs) {
            ngx_sio_python_put(out, "true", 4);

        } else {
            ngx_sio_python_put(out, "false", 5);
        }
    }

    ngx_sio_python_key(out, "room");

    if (m->all) {
        ngx_sio_python_put_none(out);

    } else {
        ngx_sio_python_put_rooms(out, m->rooms, m->nrooms);
    }

    ngx_sio_python_key(out, "skip_sid");

    if (m->nexcept) {
        ngx_sio_python_put_rooms(out, m->except, m->nexcept);

    } else {
        ngx_sio_python_put_none(out);
    }

    ngx_sio_python_key(out, "callback");

    if (m->id == 0) {
        ngx_sio_python_put_none(out);
        return;
    }

    ngx_sio_python_put(out, out->pickle ? "(" : "[", 1);
    ngx_sio_python_put_room(out, &m->room);
    ngx_sio_python_put(out, ",", out->pickle ? 0 : 1);
    ngx_sio_python_put_text(out, &m->nsp);
    ngx_sio_python_put(out, ",", out->pickle ? 0 : 1);
    ngx_sio_python_put_uint(out, m->id);
    ngx_sio_python_put(out, out->pickle ? "t" : "]", 1);
}


/*
 * Nothing, and one argument that is no list, look the same to all versions.
 */

static void
ngx_sio_python_write_data(ngx_sio_python_out_t *out, ngx_sio_qmsg_t *m,
    ngx_sio_python_args_t *args, ngx_uint_t dialect)
{
    ngx_str_t            element;
    ngx_uint_t           bare;
    ngx_sio_json_iter_t  it;

    if (args->nargs == 0) {
        ngx_sio_python_put_none(out);
        return;
    }

    bare = args->nargs == 1
           && (dialect != NGX_SIO_PYTHON_5_16
               || ngx_sio_json_type(&args->first) != NGX_SIO_JSON_ARRAY);

    if (out->pickle) {

        if (bare) {
            ngx_sio_python_put_json(out, &args->first, m);
            return;
        }

        ngx_sio_python_put(out, "(", 1);
        ngx_sio_json_iter(&it, &args->args);

        while (ngx_sio_json_element(&it, &element) == NGX_OK) {
            ngx_sio_python_put_json(out, &element, m);
        }

        ngx_sio_python_put(out, "t", 1);
        return;
    }

    if (m->nattachments) {
        ngx_sio_python_put(out, "[", 1);
    }

    ngx_sio_python_put_json(out, bare ? &args->first : &args->args, NULL);

    if (m->nattachments) {
        ngx_sio_python_put_base64(out, m);
        ngx_sio_python_put(out, "]", 1);
    }
}


static void
ngx_sio_python_key(ngx_sio_python_out_t *out, const char *key)
{
    ngx_str_t  text;

    if (!out->pickle && out->n++) {
        ngx_sio_python_put(out, ", ", 2);
    }

    text.data = (u_char *) key;
    text.len = ngx_strlen(key);

    ngx_sio_python_put_text(out, &text);

    if (!out->pickle) {
        ngx_sio_python_put(out, ": ", 2);
    }
}


static void
ngx_sio_python_put(ngx_sio_python_out_t *out, const void *p, size_t len)
{
    out->len += len;

    if (out->p != NULL) {
        out->p = ngx_cpymem(out->p, p, len);
    }
}


static void
ngx_sio_python_put_text(ngx_sio_python_out_t *out, ngx_str_t *text)
{
    if (out->pickle) {
        out->len += ngx_sio_pickle_text_length(text->len);

        if (out->p != NULL) {
            out->p = ngx_sio_pickle_text_write(out->p, text->data, text->len);
        }

        return;
    }

    ngx_sio_python_put(out, "\"", 1);
    out->len += ngx_sio_json_escape_length(text->data, text->len);

    if (out->p != NULL) {
        out->p = ngx_sio_json_escape(out->p, text->data, text->len);
    }

    ngx_sio_python_put(out, "\"", 1);
}


static void
ngx_sio_python_put_room(ngx_sio_python_out_t *out, ngx_sio_qmsg_room_t *room)
{
    if (room->number) {
        ngx_sio_python_put_json(out, &room->name, NULL);

    } else {
        ngx_sio_python_put_text(out, &room->name);
    }
}


static void
ngx_sio_python_put_rooms(ngx_sio_python_out_t *out, ngx_sio_qmsg_room_t *rooms,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    if (n == 1) {
        ngx_sio_python_put_room(out, rooms);
        return;
    }

    ngx_sio_python_put(out, out->pickle ? "](" : "[", out->pickle ? 2 : 1);

    for (i = 0; i < n; i++) {

        if (i && !out->pickle) {
            ngx_sio_python_put(out, ",", 1);
        }

        ngx_sio_python_put_room(out, &rooms[i]);
    }

    ngx_sio_python_put(out, out->pickle ? "e" : "]", 1);
}


static void
ngx_sio_python_put_uint(ngx_sio_python_out_t *out, uint64_t n)
{
    if (out->pickle) {
        out->len += ngx_sio_pickle_uint_length(n);

        if (out->p != NULL) {
            out->p = ngx_sio_pickle_uint_write(out->p, n);
        }

        return;
    }

    out->len += ngx_sio_json_uint_length(n);

    if (out->p != NULL) {
        out->p = ngx_sio_json_uint_write(out->p, n);
    }
}


/* m: whose placeholders become octets in a pickle; NULL: none */

static void
ngx_sio_python_put_json(ngx_sio_python_out_t *out, ngx_str_t *json,
    ngx_sio_qmsg_t *m)
{
    ngx_str_t   *attachments;
    ngx_uint_t   n;

    if (!out->pickle) {
        ngx_sio_python_put(out, json->data, json->len);
        return;
    }

    attachments = m ? m->attachments : NULL;
    n = m ? m->nattachments : 0;

    out->len += ngx_sio_pickle_value_length(json, attachments, n);

    if (out->p != NULL) {
        out->p = ngx_sio_pickle_value_write(out->p, json, attachments, n);
    }
}


static void
ngx_sio_python_put_none(ngx_sio_python_out_t *out)
{
    ngx_sio_python_put(out, out->pickle ? "N" : "null", out->pickle ? 1 : 4);
}


static void
ngx_sio_python_put_base64(ngx_sio_python_out_t *out, ngx_sio_qmsg_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < m->nattachments; i++) {
        ngx_sio_python_put(out, ", \"", 3);
        out->len += ngx_sio_base64_length(m->attachments[i].len);

        if (out->p != NULL) {
            out->p = ngx_sio_base64_write(out->p, m->attachments[i].data,
                                          m->attachments[i].len);
        }

        ngx_sio_python_put(out, "\"", 1);
    }
}
