
#include "ngx_sio_out.h"


/* the smallest ring; rings of this size are kept for re-use */
#define NGX_SIO_OUT_RING   16

/* how many of them: a busy worker does not call malloc() */
#define NGX_SIO_OUT_SPARE  4096


typedef struct ngx_sio_out_spare_s  ngx_sio_out_spare_t;

struct ngx_sio_out_spare_s {
    ngx_sio_out_spare_t  *next;
};


static ngx_int_t ngx_sio_out_reserve(ngx_sio_out_t *out, ngx_uint_t n);
static ngx_sio_msg_t **ngx_sio_out_ring(ngx_uint_t size);
static void ngx_sio_out_release(ngx_sio_out_t *out);


/* this process's */

static ngx_sio_out_spare_t  *ngx_sio_out_spare;
static ngx_uint_t            ngx_sio_out_nspare;


void
ngx_sio_out_init(ngx_sio_out_t *out, ngx_uint_t form)
{
    ngx_memzero(out, sizeof(ngx_sio_out_t));

    out->form = form;
}


ngx_int_t
ngx_sio_out_push(ngx_sio_out_t *out, ngx_sio_msg_t *msg)
{
    if (out->n == 0) {
        out->at.one = msg;

    } else {

        if (out->n >= out->size
            && ngx_sio_out_reserve(out, out->n + 1) != NGX_OK)
        {
            return NGX_ERROR;
        }

        out->at.ring[(out->first + out->n) & (out->size - 1)] = msg;
    }

    ngx_sio_msg_ref(msg);

    out->n++;
    out->bytes += msg->size;

    return NGX_OK;
}


/* Makes room for n messages in all, more than there are. */

static ngx_int_t
ngx_sio_out_reserve(ngx_sio_out_t *out, ngx_uint_t n)
{
    ngx_uint_t       i, size;
    ngx_sio_msg_t  **ring;

    if (n <= out->size) {
        return NGX_OK;
    }

    size = NGX_SIO_OUT_RING;

    while (size < n) {
        size *= 2;
    }

    ring = ngx_sio_out_ring(size);
    if (ring == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < out->n; i++) {
        ring[i] = ngx_sio_out_at(out, i);
    }

    ngx_sio_out_release(out);

    out->at.ring = ring;
    out->size = size;

    return NGX_OK;
}


static ngx_sio_msg_t **
ngx_sio_out_ring(ngx_uint_t size)
{
    ngx_sio_out_spare_t  *spare;

    spare = ngx_sio_out_spare;

    if (size > NGX_SIO_OUT_RING || spare == NULL) {
        return ngx_alloc(size * sizeof(ngx_sio_msg_t *), ngx_cycle->log);
    }

    ngx_sio_out_spare = spare->next;
    ngx_sio_out_nspare--;

    return (ngx_sio_msg_t **) spare;
}


/* The ring goes, whatever is in it. */

static void
ngx_sio_out_release(ngx_sio_out_t *out)
{
    ngx_sio_out_spare_t  *spare;

    if (out->size == 0) {
        return;
    }

    if (out->size > NGX_SIO_OUT_RING
        || ngx_sio_out_nspare == NGX_SIO_OUT_SPARE)
    {
        ngx_free(out->at.ring);

    } else {
        spare = (ngx_sio_out_spare_t *) out->at.ring;

        spare->next = ngx_sio_out_spare;
        ngx_sio_out_spare = spare;
        ngx_sio_out_nspare++;
    }

    out->size = 0;
    out->first = 0;
}


void
ngx_sio_out_shift(ngx_sio_out_t *out)
{
    ngx_sio_msg_t  *msg;

    msg = ngx_sio_out_at(out, 0);

    out->offset = 0;
    out->bytes -= msg->size;
    out->first++;

    if (--out->n == 0) {
        out->first = 0;
        ngx_sio_out_release(out);
    }

    ngx_sio_msg_unref(msg);
}


void
ngx_sio_out_clear(ngx_sio_out_t *out)
{
    while (out->n > 0) {
        ngx_sio_out_shift(out);
    }
}


void
ngx_sio_out_truncate(ngx_sio_out_t *out)
{
    ngx_sio_msg_t  *msg;

    if (out->offset == 0) {
        ngx_sio_out_clear(out);
        return;
    }

    while (out->n > 1) {
        out->n--;

        /* n is the number of the last one now */

        msg = ngx_sio_out_at(out, out->n);

        out->bytes -= msg->size;
        ngx_sio_msg_unref(msg);
    }
}


ngx_int_t
ngx_sio_out_gather(ngx_sio_out_t *out, struct iovec *vec, ngx_uint_t n)
{
    ngx_str_t      *form;
    ngx_uint_t      i;
    ngx_sio_msg_t  *msg;

    n = ngx_min(n, out->n);

    for (i = 0; i < n; i++) {
        msg = ngx_sio_out_at(out, i);

        form = ngx_sio_msg_form(msg, out->form);
        if (form == NULL) {
            return NGX_ERROR;
        }

        vec[i].iov_base = form->data;
        vec[i].iov_len = form->len;
    }

    if (n > 0) {
        vec[0].iov_base = (u_char *) vec[0].iov_base + out->offset;
        vec[0].iov_len -= out->offset;
    }

    return n;
}


ngx_uint_t
ngx_sio_out_sent(ngx_sio_out_t *out, size_t sent)
{
    size_t      left;
    ngx_uint_t  n;

    n = 0;

    while (sent > 0) {
        left = ngx_sio_out_at(out, 0)->forms[out->form].len - out->offset;

        if (sent < left) {
            out->offset += sent;
            break;
        }

        sent -= left;
        n++;

        ngx_sio_out_shift(out);
    }

    return n;
}


ngx_int_t
ngx_sio_out_splice(ngx_sio_out_t *to, ngx_sio_out_t *from)
{
    uint32_t    form;
    ngx_uint_t  i, n;

    if (to->n == 0) {
        form = to->form;

        *to = *from;
        to->form = form;

        ngx_sio_out_init(from, from->form);

        return NGX_OK;
    }

    n = from->n;

    if (n > 0 && ngx_sio_out_reserve(to, to->n + n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        (void) ngx_sio_out_push(to, ngx_sio_out_at(from, 0));
        ngx_sio_out_shift(from);
    }

    return NGX_OK;
}
