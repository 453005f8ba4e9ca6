
#include "ngx_sio_qmsg.h"
#include "ngx_sio_json.h"


static ngx_int_t ngx_sio_qmsg_refuse(ngx_sio_qmsg_reader_t *reader,
    const char *reason);


ngx_int_t
ngx_sio_qmsg_text(ngx_sio_qmsg_reader_t *reader, ngx_str_t *value,
    ngx_str_t *text)
{
    if (ngx_sio_json_type(value) != NGX_SIO_JSON_STRING) {
        return ngx_sio_qmsg_refuse(reader, "malformed field");
    }

    if (ngx_sio_json_string_length(value) > reader->limits->name) {
        return ngx_sio_qmsg_refuse(reader, "too long a name");
    }

    text->data = ngx_pnalloc(reader->pool, value->len);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_sio_json_string_write(text->data, value) - text->data;

    return NGX_OK;
}


ngx_int_t
ngx_sio_qmsg_room(ngx_sio_qmsg_reader_t *reader, ngx_str_t *value,
    ngx_sio_qmsg_room_t *room)
{
    size_t  i;

    ngx_memzero(room, sizeof(ngx_sio_qmsg_room_t));

    if (ngx_sio_json_type(value) == NGX_SIO_JSON_STRING) {
        return ngx_sio_qmsg_text(reader, value, &room->name);
    }

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_NUMBER
        || value->len > reader->digits)
    {
        return ngx_sio_qmsg_refuse(reader, "malformed room");
    }

    /* the first may be a sign */

    for (i = 1; i < value->len; i++) {
        if (value->data[i] < '0' || value->data[i] > '9') {
            return ngx_sio_qmsg_refuse(reader, "malformed room");
        }
    }

    room->name = *value;
    room->number = 1;

    return NGX_OK;
}


ngx_int_t
ngx_sio_qmsg_rooms(ngx_sio_qmsg_reader_t *reader, ngx_str_t *value,
    ngx_sio_qmsg_room_t **rooms, ngx_uint_t *n)
{
    ngx_int_t             rc;
    ngx_str_t             element;
    ngx_array_t           list;
    ngx_sio_qmsg_room_t  *room;
    ngx_sio_json_iter_t   it;

    if (ngx_array_init(&list, reader->pool, 2, sizeof(ngx_sio_qmsg_room_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_ARRAY) {
        room = ngx_array_push(&list);
        rc = room != NULL ? ngx_sio_qmsg_room(reader, value, room) : NGX_ERROR;

        *rooms = list.elts;
        *n = 1;

        return rc;
    }

    ngx_sio_json_iter(&it, value);

    while (ngx_sio_json_element(&it, &element) == NGX_OK) {

        if (list.nelts == reader->limits->rooms) {
            return ngx_sio_qmsg_refuse(reader, "too many rooms");
        }

        room = ngx_array_push(&list);
        rc = room != NULL ? ngx_sio_qmsg_room(reader, &element, room)
                          : NGX_ERROR;
        if (rc != NGX_OK) {
            return rc;
        }
    }

    *rooms = list.elts;
    *n = list.nelts;

    return NGX_OK;
}


static ngx_int_t
ngx_sio_qmsg_refuse(ngx_sio_qmsg_reader_t *reader, const char *reason)
{
    reader->reason = reason;

    return NGX_DECLINED;
}
