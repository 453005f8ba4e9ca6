
/*
 * What every message has to be that a decoder lets in from a queue: the
 * targets "python" and "node".
 */


#ifndef _NGX_SIO_FUZZ_QMSG_H_INCLUDED_
#define _NGX_SIO_FUZZ_QMSG_H_INCLUDED_


#include "fuzz.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_qmsg.h"
#include "ngx_sio_utf8.h"


/* octets of what is encoded */
#define NGX_SIO_FUZZ_PAYLOAD  65536

static const ngx_sio_qmsg_limits_t  ngx_sio_fuzz_limits = {
    16, 1000, 4, 4, 64, 65536
};


static ngx_inline void
ngx_sio_fuzz_name(ngx_str_t *name)
{
    ngx_sio_fuzz_check(name->len <= ngx_sio_fuzz_limits.name);
    ngx_sio_fuzz_check(name->len == 0
                       || ngx_sio_utf8_valid(name->data, name->len));
}


static ngx_inline void
ngx_sio_fuzz_rooms(ngx_sio_qmsg_room_t *rooms, ngx_uint_t n)
{
    ngx_sio_fuzz_check(n <= ngx_sio_fuzz_limits.rooms);

    while (n--) {
        ngx_sio_fuzz_name(&rooms[n].name);
    }
}


static ngx_inline void
ngx_sio_fuzz_qmsg(ngx_sio_qmsg_t *m)
{
    ngx_str_t  value;

    ngx_sio_fuzz_check(m->kind >= NGX_SIO_QMSG_EMIT
                       && m->kind <= NGX_SIO_QMSG_BACK);
    ngx_sio_fuzz_check(m->nsp.len && m->nsp.data[0] == '/');

    ngx_sio_fuzz_name(&m->nsp);
    ngx_sio_fuzz_name(&m->room.name);
    ngx_sio_fuzz_rooms(m->rooms, m->nrooms);
    ngx_sio_fuzz_rooms(m->except, m->nexcept);
    ngx_sio_fuzz_rooms(m->op_rooms, m->nop_rooms);

    ngx_sio_fuzz_check(m->nattachments <= ngx_sio_fuzz_limits.attachments);

    if (m->json.len == 0) {
        ngx_sio_fuzz_check(m->kind != NGX_SIO_QMSG_EMIT);
        return;
    }

    ngx_sio_fuzz_check(m->json.len <= ngx_sio_fuzz_limits.json);
    ngx_sio_fuzz_check(ngx_sio_utf8_valid(m->json.data, m->json.len));
    ngx_sio_fuzz_check(ngx_sio_json_text(&m->json,
                                         ngx_sio_fuzz_limits.depth + 2, &value)
                       == NGX_OK);

    if (m->kind == NGX_SIO_QMSG_EMIT) {
        ngx_sio_fuzz_check(value.data[0] == '[');
        ngx_sio_fuzz_check(m->nattachments == 0
                           || ngx_sio_packet_placeholders(&value,
                                                          m->nattachments)
                              == NGX_OK);
    }
}


static ngx_inline void
ngx_sio_fuzz_same_rooms(ngx_sio_qmsg_room_t *a, ngx_sio_qmsg_room_t *b,
    ngx_uint_t n)
{
    ngx_str_t  *x, *y;

    for ( /* void */ ; n--; a++, b++) {
        x = &a->name;
        y = &b->name;
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(x, y));
        ngx_sio_fuzz_check(a->number == b->number);
    }
}


static ngx_inline void
ngx_sio_fuzz_same_json(ngx_sio_qmsg_t *a, ngx_sio_qmsg_t *b)
{
    ngx_str_t   *x, *y;
    ngx_uint_t   i;

    x = &a->json;
    y = &b->json;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(x, y));
    ngx_sio_fuzz_check(a->nattachments == b->nattachments);

    for (i = 0; i < a->nattachments; i++) {
        x = &a->attachments[i];
        y = &b->attachments[i];
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(x, y));
    }
}


/* How many objects of a JSON text may be placeholders. */

static ngx_inline ngx_uint_t
ngx_sio_fuzz_placeholders(ngx_str_t *tree)
{
    ngx_str_t            key, value;
    ngx_uint_t           n;
    ngx_sio_json_iter_t  it;

    n = 0;
    ngx_sio_json_iter(&it, tree);

    switch (ngx_sio_json_type(tree)) {

    case NGX_SIO_JSON_ARRAY:

        while (ngx_sio_json_element(&it, &value) == NGX_OK) {
            n += ngx_sio_fuzz_placeholders(&value);
        }

        break;

    case NGX_SIO_JSON_OBJECT:
        n = ngx_sio_json_find(tree, "_placeholder", &value) == NGX_OK;

        while (ngx_sio_json_member(&it, &key, &value) == NGX_OK) {
            n += ngx_sio_fuzz_placeholders(&value);
        }

        break;

    default:
        break;
    }

    return n;
}


/*
 * But for the JSON, in which a number may be written in several ways, and for
 * attachments that no placeholder names, which need not be written, or that
 * several name, which may be written several times.
 */

static ngx_inline void
ngx_sio_fuzz_same(ngx_sio_qmsg_t *a, ngx_sio_qmsg_t *b)
{
    ngx_str_t  *x, *y;

    ngx_sio_fuzz_check(a->kind == b->kind && a->all == b->all);
    ngx_sio_fuzz_check(a->nrooms == b->nrooms && a->nexcept == b->nexcept
                       && a->nop_rooms == b->nop_rooms);
    ngx_sio_fuzz_check(a->nattachments >= b->nattachments
                       || ngx_sio_fuzz_placeholders(&a->json)
                          > a->nattachments);
    ngx_sio_fuzz_check(a->id == b->id && a->count == b->count);
    ngx_sio_fuzz_check(a->close == b->close
                       && a->is_volatile == b->is_volatile);

    x = &a->nsp;
    y = &b->nsp;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(x, y));

    x = &a->request_id;
    y = &b->request_id;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(x, y));

    ngx_sio_fuzz_same_rooms(a->rooms, b->rooms, a->nrooms);
    ngx_sio_fuzz_same_rooms(a->except, b->except, a->nexcept);
    ngx_sio_fuzz_same_rooms(a->op_rooms, b->op_rooms, a->nop_rooms);
}


#endif /* _NGX_SIO_FUZZ_QMSG_H_INCLUDED_ */
