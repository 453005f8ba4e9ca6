
#include "ngx_http_socketio_api.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"


/* octets of the first buffer, and of the largest unless a piece has more */
#define NGX_HTTP_SOCKETIO_API_TEXT_MIN  256
#define NGX_HTTP_SOCKETIO_API_TEXT_MAX  (64 * 1024)


static u_char *ngx_http_socketio_api_text_room(
    ngx_http_socketio_api_text_t *text, size_t len);


void
ngx_http_socketio_api_text_init(ngx_http_socketio_api_text_t *text,
    ngx_pool_t *pool)
{
    ngx_memzero(text, sizeof(ngx_http_socketio_api_text_t));

    text->pool = pool;
    text->last = &text->first;
}


void
ngx_http_socketio_api_text_put(ngx_http_socketio_api_text_t *text,
    const void *data, size_t len)
{
    u_char  *p;

    /* nginx does not like to send empty buffers */

    if (len == 0) {
        return;
    }

    p = ngx_http_socketio_api_text_room(text, len);

    if (p != NULL) {
        ngx_memcpy(p, data, len);
    }
}


void
ngx_http_socketio_api_text_string(ngx_http_socketio_api_text_t *text,
    ngx_str_t *str)
{
    u_char  *p;

    p = ngx_http_socketio_api_text_room(text, 2
                         + ngx_sio_json_escape_length(str->data, str->len));

    if (p != NULL) {
        *p++ = '"';
        p = ngx_sio_json_escape(p, str->data, str->len);
        *p = '"';
    }
}


void
ngx_http_socketio_api_text_octets(ngx_http_socketio_api_text_t *text,
    ngx_str_t *octets)
{
    u_char  *p;

    p = ngx_http_socketio_api_text_room(text,
                                   2 + ngx_sio_base64_length(octets->len));

    if (p != NULL) {
        *p++ = '"';
        p = ngx_sio_base64_write(p, octets->data, octets->len);
        *p = '"';
    }
}


void
ngx_http_socketio_api_text_uint(ngx_http_socketio_api_text_t *text, uint64_t n)
{
    u_char  *p;

    p = ngx_http_socketio_api_text_room(text, ngx_sio_json_uint_length(n));

    if (p != NULL) {
        ngx_sio_json_uint_write(p, n);
    }
}


/* Takes room for so many octets; NULL: no memory, now or before. */

static u_char *
ngx_http_socketio_api_text_room(ngx_http_socketio_api_text_t *text, size_t len)
{
    size_t        size;
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (text->failed) {
        return NULL;
    }

    b = text->b;

    if (b == NULL || (size_t) (b->end - b->last) < len) {

        size = b ? 2 * (size_t) (b->end - b->start)
                 : NGX_HTTP_SOCKETIO_API_TEXT_MIN;
        size = ngx_min(size, NGX_HTTP_SOCKETIO_API_TEXT_MAX);
        size = ngx_max(size, len);

        b = ngx_create_temp_buf(text->pool, size);
        cl = ngx_alloc_chain_link(text->pool);

        if (b == NULL || cl == NULL) {
            text->failed = 1;
            return NULL;
        }

        cl->buf = b;
        cl->next = NULL;

        *text->last = cl;
        text->last = &cl->next;
        text->b = b;
    }

    p = b->last;

    b->last += len;
    text->len += len;

    return p;
}


void
ngx_http_socketio_api_text_splice(ngx_http_socketio_api_text_t *text,
    ngx_http_socketio_api_text_t *from)
{
    if (from->failed) {
        text->failed = 1;
    }

    if (from->first == NULL) {
        return;
    }

    *text->last = from->first;
    text->last = from->last;
    text->b = from->b;
    text->len += from->len;

    ngx_http_socketio_api_text_init(from, from->pool);
}
