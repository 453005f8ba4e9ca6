
#include "ngx_http_socketio_body.h"


/* the first room for a body that grows */
#define NGX_HTTP_SOCKETIO_BODY_SIZE  4096


static ngx_int_t ngx_http_socketio_body_borrow(ngx_http_request_t *r,
    size_t max, ngx_http_socketio_body_t *body);
static ngx_int_t ngx_http_socketio_body_append(ngx_http_request_t *r,
    size_t max, ngx_http_socketio_body_t *body, ngx_buf_t *b);
static ngx_int_t ngx_http_socketio_body_copy(ngx_buf_t *b, u_char *p);


ngx_int_t
ngx_http_socketio_body_read(ngx_http_request_t *r, size_t max, ngx_str_t *str)
{
    off_t         size;
    u_char       *p;
    ngx_chain_t  *cl, *bufs;

    ngx_str_null(str);

    bufs = r->request_body ? r->request_body->bufs : NULL;
    size = 0;

    for (cl = bufs; cl != NULL; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size == 0) {
        return NGX_OK;
    }

    if (size > (off_t) max) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    str->len = size;

    if (bufs->next == NULL && ngx_buf_in_memory(bufs->buf)) {
        str->data = bufs->buf->pos;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, str->len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    str->data = p;

    for (cl = bufs; cl != NULL; cl = cl->next) {

        if (ngx_http_socketio_body_copy(cl->buf, p) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        p += ngx_buf_size(cl->buf);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_body_collect(ngx_http_request_t *r, size_t max,
    ngx_http_socketio_body_t *body)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    if (!r->request_body_no_buffering) {
        return ngx_http_socketio_body_borrow(r, max, body);
    }

    for ( ;; ) {

        if (r->request_body == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        while (r->request_body->bufs != NULL) {
            cl = r->request_body->bufs;

            rc = ngx_http_socketio_body_append(r, max, body, cl->buf);
            if (rc != NGX_OK) {
                return rc;
            }

            /* nginx reads into the buffer again */
            cl->buf->pos = cl->buf->last;

            r->request_body->bufs = cl->next;
            ngx_free_chain(r->pool, cl);
        }

        if (!r->reading_body) {
            return NGX_OK;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (r->reading_body && r->request_body->bufs == NULL) {
            return NGX_AGAIN;
        }
    }
}


/* Another module, as "mirror", has read it all, and may not be done with it. */

static ngx_int_t
ngx_http_socketio_body_borrow(ngx_http_request_t *r, size_t max,
    ngx_http_socketio_body_t *body)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    cl = r->request_body ? r->request_body->bufs : NULL;

    for ( /* void */ ; cl != NULL; cl = cl->next) {

        rc = ngx_http_socketio_body_append(r, max, body, cl->buf);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_body_append(ngx_http_request_t *r, size_t max,
    ngx_http_socketio_body_t *body, ngx_buf_t *b)
{
    off_t    len;
    size_t   size;
    u_char  *p;

    len = ngx_buf_size(b);

    if (len > (off_t) (max - body->str.len)) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    if ((size_t) len > body->size - body->str.len) {

        size = ngx_max(2 * body->size, body->str.len + (size_t) len);
        size = ngx_max(size, NGX_HTTP_SOCKETIO_BODY_SIZE);
        size = ngx_min(size, max);

        p = ngx_pnalloc(r->pool, size);
        if (p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (body->str.len) {
            ngx_memcpy(p, body->str.data, body->str.len);
            ngx_pfree(r->pool, body->str.data);
        }

        body->str.data = p;
        body->size = size;
    }

    if (ngx_http_socketio_body_copy(b, body->str.data + body->str.len)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->str.len += (size_t) len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_body_copy(ngx_buf_t *b, u_char *p)
{
    off_t    offset;
    ssize_t  n;

    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(p, b->pos, b->last - b->pos);
        return NGX_OK;
    }

    for (offset = b->file_pos; offset < b->file_last; offset += n) {

        n = ngx_read_file(b->file, p, b->file_last - offset, offset);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == 0) {
            ngx_log_error(NGX_LOG_ALERT, b->file->log, 0,
                          "\"%V\" was truncated", &b->file->name);
            return NGX_ERROR;
        }

        p += n;
    }

    return NGX_OK;
}
