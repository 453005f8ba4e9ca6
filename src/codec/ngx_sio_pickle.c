
#include "ngx_sio_pickle.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"


static u_char *ngx_sio_pickle_number_write(u_char *dst, ngx_str_t *json);
static u_char *ngx_sio_pickle_bytes_write(u_char *dst, ngx_str_t *bytes);


ngx_sio_pickle_value_t *
ngx_sio_pickle_find(ngx_sio_pickle_value_t *dict, const char *key)
{
    size_t                   len;
    ngx_sio_pickle_item_t   *item;
    ngx_sio_pickle_value_t  *found;

    found = NULL;

    if (dict->type != NGX_SIO_PICKLE_DICT) {
        return NULL;
    }

    len = ngx_strlen(key);

    for (item = dict->items; item != NULL; item = item->next->next) {
        if (item->value->type == NGX_SIO_PICKLE_TEXT
            && item->value->text.len == len
            && ngx_strncmp(item->value->text.data, key, len) == 0)
        {
            found = item->next->value;
        }
    }

    return found;
}


/* JSON. */

ngx_uint_t
ngx_sio_pickle_bytes(ngx_sio_pickle_value_t *value)
{
    ngx_uint_t              n;
    ngx_sio_pickle_item_t  *item;

    n = (value->type == NGX_SIO_PICKLE_BYTES) ? 1 : 0;

    for (item = value->items; item != NULL; item = item->next) {
        n += ngx_sio_pickle_bytes(item->value);
    }

    return n;
}


size_t
ngx_sio_pickle_json_length(ngx_sio_pickle_value_t *value)
{
    size_t                  len;
    ngx_sio_pickle_item_t  *item;

    switch (value->type) {

    case NGX_SIO_PICKLE_NONE:
    case NGX_SIO_PICKLE_TRUE:
    case NGX_SIO_PICKLE_FALSE:
        return sizeof("false") - 1;

    case NGX_SIO_PICKLE_INT:
        return value->text.len;

    case NGX_SIO_PICKLE_FLOAT:
        return NGX_SIO_JSON_DOUBLE_LEN;

    case NGX_SIO_PICKLE_TEXT:
        return 2 + ngx_sio_json_escape_length(value->text.data,
                                              value->text.len);

    case NGX_SIO_PICKLE_BYTES:
        return sizeof("{\"_placeholder\":true,\"num\":}") - 1
               + NGX_INT_T_LEN;

    default:
        break;
    }

    len = 2;

    for (item = value->items; item != NULL; item = item->next) {

        /* a comma or a colon, and quotes around a key */

        len += 3 + ngx_sio_pickle_json_length(item->value);
    }

    return len;
}


u_char *
ngx_sio_pickle_json_write(u_char *dst, ngx_sio_pickle_value_t *value,
    ngx_str_t *attachments, ngx_uint_t *n)
{
    ngx_uint_t              i, quoted;
    ngx_sio_pickle_item_t  *item;

    switch (value->type) {

    case NGX_SIO_PICKLE_NONE:
        return ngx_cpymem(dst, "null", 4);

    case NGX_SIO_PICKLE_TRUE:
        return ngx_cpymem(dst, "true", 4);

    case NGX_SIO_PICKLE_FALSE:
        return ngx_cpymem(dst, "false", 5);

    case NGX_SIO_PICKLE_INT:
        return ngx_cpymem(dst, value->text.data, value->text.len);

    case NGX_SIO_PICKLE_FLOAT:
        return ngx_sio_json_double_write(dst, value->number);

    case NGX_SIO_PICKLE_TEXT:
        *dst++ = '"';
        dst = ngx_sio_json_escape(dst, value->text.data, value->text.len);
        *dst++ = '"';
        return dst;

    case NGX_SIO_PICKLE_BYTES:
        attachments[*n] = value->text;
        return ngx_sprintf(dst, "{\"_placeholder\":true,\"num\":%ui}",
                           (*n)++);
    default:
        break;
    }

    *dst++ = (value->type == NGX_SIO_PICKLE_DICT) ? '{' : '[';

    for (item = value->items, i = 0; item != NULL; item = item->next, i++) {

        quoted = 0;

        if (i) {
            *dst++ = (value->type == NGX_SIO_PICKLE_DICT && i % 2) ? ':' : ',';
        }

        if (value->type == NGX_SIO_PICKLE_DICT && i % 2 == 0) {
            quoted = item->value->type != NGX_SIO_PICKLE_TEXT;
        }

        if (quoted) {
            *dst++ = '"';
        }

        dst = ngx_sio_pickle_json_write(dst, item->value, attachments, n);

        if (quoted) {
            *dst++ = '"';
        }
    }

    *dst++ = (value->type == NGX_SIO_PICKLE_DICT) ? '}' : ']';

    return dst;
}


/* Writing pickles. */

size_t
ngx_sio_pickle_text_length(size_t len)
{
    return 1 + sizeof(uint32_t) + len;
}


u_char *
ngx_sio_pickle_text_write(u_char *dst, const u_char *p, size_t len)
{
    *dst++ = 'X';
    *dst++ = (u_char) len;
    *dst++ = (u_char) (len >> 8);
    *dst++ = (u_char) (len >> 16);
    *dst++ = (u_char) (len >> 24);

    return p != NULL ? ngx_cpymem(dst, p, len) : dst;
}


size_t
ngx_sio_pickle_uint_length(uint64_t n)
{
    return sizeof("I\n") - 1 + ngx_sio_json_uint_length(n);
}


u_char *
ngx_sio_pickle_uint_write(u_char *dst, uint64_t n)
{
    *dst++ = 'I';
    dst = ngx_sio_json_uint_write(dst, n);
    *dst++ = LF;

    return dst;
}


/*
 * Arrays are "](...e", objects "}(...u"; numbers keep their digits, on lines
 * of protocol 0, which later ones read as well.
 */

size_t
ngx_sio_pickle_value_length(ngx_str_t *json, ngx_str_t *attachments,
    ngx_uint_t n)
{
    size_t               len;
    uint64_t             num;
    ngx_str_t            key, value;
    ngx_sio_json_iter_t  it;

    switch (ngx_sio_json_type(json)) {

    case NGX_SIO_JSON_STRING:
        return ngx_sio_pickle_text_length(ngx_sio_json_string_length(json));

    case NGX_SIO_JSON_NUMBER:
        return sizeof("LL\n") - 1 + json->len;

    case NGX_SIO_JSON_ARRAY:
        len = sizeof("](e") - 1;
        ngx_sio_json_iter(&it, json);

        while (ngx_sio_json_element(&it, &value) == NGX_OK) {
            len += ngx_sio_pickle_value_length(&value, attachments, n);
        }

        return len;

    case NGX_SIO_JSON_OBJECT:

        if (n && ngx_sio_packet_placeholder(json, n, &num)) {
            return 1 + sizeof(uint32_t) + attachments[num].len;
        }

        len = sizeof("}(u") - 1;
        ngx_sio_json_iter(&it, json);

        while (ngx_sio_json_member(&it, &key, &value) == NGX_OK) {
            len += ngx_sio_pickle_value_length(&key, NULL, 0)
                   + ngx_sio_pickle_value_length(&value, attachments, n);
        }

        return len;

    default: /* true, false, null */
        return 1;
    }
}


u_char *
ngx_sio_pickle_value_write(u_char *dst, ngx_str_t *json,
    ngx_str_t *attachments, ngx_uint_t n)
{
    uint64_t             num;
    ngx_str_t            key, value;
    ngx_sio_json_iter_t  it;

    switch (ngx_sio_json_type(json)) {

    case NGX_SIO_JSON_STRING:
        dst = ngx_sio_pickle_text_write(dst, NULL,
                                        ngx_sio_json_string_length(json));
        return ngx_sio_json_string_write(dst, json);

    case NGX_SIO_JSON_NUMBER:
        return ngx_sio_pickle_number_write(dst, json);

    case NGX_SIO_JSON_ARRAY:
        dst = ngx_cpymem(dst, "](", 2);
        ngx_sio_json_iter(&it, json);

        while (ngx_sio_json_element(&it, &value) == NGX_OK) {
            dst = ngx_sio_pickle_value_write(dst, &value, attachments, n);
        }

        *dst++ = 'e';
        return dst;

    case NGX_SIO_JSON_OBJECT:

        if (n && ngx_sio_packet_placeholder(json, n, &num)) {
            return ngx_sio_pickle_bytes_write(dst, &attachments[num]);
        }

        dst = ngx_cpymem(dst, "}(", 2);
        ngx_sio_json_iter(&it, json);

        while (ngx_sio_json_member(&it, &key, &value) == NGX_OK) {
            dst = ngx_sio_pickle_value_write(dst, &key, NULL, 0);
            dst = ngx_sio_pickle_value_write(dst, &value, attachments, n);
        }

        *dst++ = 'u';
        return dst;

    case NGX_SIO_JSON_TRUE:
        *dst++ = 0x88;
        return dst;

    case NGX_SIO_JSON_FALSE:
        *dst++ = 0x89;
        return dst;

    default: /* NGX_SIO_JSON_NULL */
        *dst++ = 'N';
        return dst;
    }
}


static u_char *
ngx_sio_pickle_number_write(u_char *dst, ngx_str_t *json)
{
    size_t      i;
    ngx_uint_t  integer;

    integer = 1;

    for (i = 0; i < json->len; i++) {
        if (json->data[i] == '.' || json->data[i] == 'e'
            || json->data[i] == 'E')
        {
            integer = 0;
            break;
        }
    }

    *dst++ = integer ? 'L' : 'F';
    dst = ngx_cpymem(dst, json->data, json->len);

    if (integer) {
        *dst++ = 'L';
    }

    *dst++ = LF;

    return dst;
}


static u_char *
ngx_sio_pickle_bytes_write(u_char *dst, ngx_str_t *bytes)
{
    u_char  *op;

    op = dst;
    dst = ngx_sio_pickle_text_write(dst, bytes->data, bytes->len);
    *op = 'B';

    return dst;
}
