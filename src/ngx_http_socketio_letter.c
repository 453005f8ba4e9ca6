
#include "ngx_http_socketio_letter.h"


void
ngx_http_socketio_letter_init(ngx_http_socketio_letter_box_t *box)
{
    ngx_queue_init(&box->queue);
    box->size = 0;
}


void
ngx_http_socketio_letter_clear(ngx_http_socketio_letter_box_t *box)
{
    ngx_http_socketio_letter_t  *letter;

    while ((letter = ngx_http_socketio_letter_first(box)) != NULL) {
        ngx_http_socketio_letter_drop(box, letter);
    }
}


ngx_int_t
ngx_http_socketio_letter_insert(ngx_http_socketio_letter_box_t *box,
    size_t limit, ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *parts,
    ngx_uint_t nparts)
{
    u_char                      *p;
    size_t                       len;
    ngx_uint_t                   i;
    ngx_http_socketio_letter_t  *letter;

    len = sizeof(ngx_http_socketio_letter_t) + pattern->len + channel->len;

    for (i = 0; i < nparts; i++) {
        len += parts[i].len;
    }

    /* a large one finds room when nothing else waits */

    if (box->size != 0 && box->size + len > limit) {
        return NGX_DECLINED;
    }

    letter = ngx_alloc(len, ngx_cycle->log);
    if (letter == NULL) {
        return NGX_DECLINED;
    }

    p = (u_char *) (letter + 1);

    letter->pattern.len = pattern->len;
    letter->pattern.data = p;

    if (pattern->len) {
        p = ngx_cpymem(p, pattern->data, pattern->len);
    }

    letter->channel.len = channel->len;
    letter->channel.data = p;
    p = ngx_cpymem(p, channel->data, channel->len);

    letter->payload.data = p;

    for (i = 0; i < nparts; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }

    letter->payload.len = p - letter->payload.data;

    ngx_queue_insert_tail(&box->queue, &letter->queue);
    box->size += len;

    return NGX_OK;
}


ngx_http_socketio_letter_t *
ngx_http_socketio_letter_first(ngx_http_socketio_letter_box_t *box)
{
    if (ngx_queue_empty(&box->queue)) {
        return NULL;
    }

    return ngx_queue_data(ngx_queue_head(&box->queue),
                          ngx_http_socketio_letter_t, queue);
}


ngx_http_socketio_letter_t *
ngx_http_socketio_letter_next(ngx_http_socketio_letter_box_t *box,
    ngx_http_socketio_letter_t *letter)
{
    ngx_queue_t  *q;

    q = ngx_queue_next(&letter->queue);

    if (q == ngx_queue_sentinel(&box->queue)) {
        return NULL;
    }

    return ngx_queue_data(q, ngx_http_socketio_letter_t, queue);
}


void
ngx_http_socketio_letter_drop(ngx_http_socketio_letter_box_t *box,
    ngx_http_socketio_letter_t *letter)
{
    box->size -= sizeof(ngx_http_socketio_letter_t) + letter->pattern.len
                 + letter->channel.len + letter->payload.len;

    ngx_queue_remove(&letter->queue);
    ngx_free(letter);
}
