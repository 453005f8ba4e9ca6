
/*
 * Payloads of polling and messages of a WebSocket, revisions 4 and 3: packets
 * lie within the input and end, and what is written of them is read again.
 *
 * link: src/codec/ngx_sio_eio.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "fuzz.h"
#include "ngx_sio_eio.h"
#include "ngx_sio_utf8.h"


#define FUZZ_PACKETS  4096


typedef struct {
    ngx_int_t              rc;
    ngx_uint_t             n;
    ngx_sio_eio_packet_t   packets[FUZZ_PACKETS];
} fuzz_payload_t;


static fuzz_payload_t  fuzz_first, fuzz_again;


static void
fuzz_decode(ngx_str_t *body, ngx_uint_t form, fuzz_payload_t *said)
{
    ngx_uint_t              n;
    ngx_sio_eio_packet_t   *pkt;
    ngx_sio_eio_payload_t   payload;

    ngx_sio_eio_payload(&payload, body, form);

    said->n = 0;

    for (n = 0; n <= body->len + 1; n++) {
        pkt = &said->packets[said->n];
        said->rc = ngx_sio_eio_next(&payload, pkt);

        if (said->rc != NGX_OK) {
            ngx_sio_fuzz_check(payload.pos >= body->data
                               && payload.pos <= body->data + body->len);
            return;
        }

        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&pkt->data, body));
        ngx_sio_fuzz_check(pkt->type <= NGX_SIO_EIO_NOOP);

        said->n += (said->n < FUZZ_PACKETS - 1);
    }

    ngx_sio_fuzz_check(!"it comes to an end");
}


/* With type and prefix; measured when dst is NULL. */

static size_t
fuzz_packet(u_char *dst, ngx_uint_t form, ngx_sio_eio_packet_t *pkt)
{
    size_t      head, units;
    u_char     *p, text[2];
    ngx_uint_t  n, binary;

    binary = 0;
    n = 0;

    switch (form) {

    case NGX_SIO_EIO_V4:
        text[n++] = pkt->base64 ? 'b' : '0' + pkt->type;
        head = 0;
        break;

    case NGX_SIO_EIO_V3_TEXT:
        if (pkt->base64) {
            text[n++] = 'b';
        }

        text[n++] = '0' + pkt->type;
        units = n + ngx_sio_utf8_utf16_length(pkt->data.data, pkt->data.len);
        head = ngx_sio_eio_text_prefix_length(units);

        if (dst) {
            p = ngx_sio_eio_text_prefix_write(dst, units);
            ngx_sio_fuzz_check(p == dst + head);
        }

        break;

    default:
        if (pkt->base64) {
            text[n++] = 'b';
        }

        binary = pkt->binary && !pkt->base64;
        text[n++] = binary ? pkt->type : '0' + pkt->type;
        head = ngx_sio_eio_binary_prefix_length(n + pkt->data.len);

        if (dst) {
            p = ngx_sio_eio_binary_prefix_write(dst, n + pkt->data.len,
                                                binary);
            ngx_sio_fuzz_check(p == dst + head);
        }
    }

    if (dst) {
        dst = ngx_cpymem(dst + head, text, n);

        if (pkt->data.len) {
            memcpy(dst, pkt->data.data, pkt->data.len);
        }
    }

    return head + n + pkt->data.len;
}


static void
fuzz_encode(fuzz_payload_t *said, ngx_uint_t form, ngx_str_t *body)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    for (len = 0, i = 0; i < said->n; i++) {
        len += (i && form == NGX_SIO_EIO_V4)
               + fuzz_packet(NULL, form, &said->packets[i]);
    }

    p = ngx_sio_fuzz_room(body, len);

    for (i = 0; i < said->n; i++) {

        if (i && form == NGX_SIO_EIO_V4) {
            *p++ = NGX_SIO_EIO_SEPARATOR;
        }

        p += fuzz_packet(p, form, &said->packets[i]);
    }

    ngx_sio_fuzz_full(body, p);
}


static void
fuzz_payload(ngx_str_t *in, ngx_uint_t form)
{
    ngx_str_t              body, *a, *b;
    ngx_uint_t             i;
    ngx_sio_eio_packet_t  *p, *q;

    fuzz_decode(in, form, &fuzz_first);

    if (fuzz_first.n == 0 || fuzz_first.n == FUZZ_PACKETS - 1) {
        return;
    }

    fuzz_encode(&fuzz_first, form, &body);

    /* in revision 4 there is one way to write it */

    if (form == NGX_SIO_EIO_V4 && fuzz_first.rc == NGX_DONE) {
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&body, in));
    }

    fuzz_decode(&body, form, &fuzz_again);

    ngx_sio_fuzz_check(fuzz_again.rc == NGX_DONE);
    ngx_sio_fuzz_check(fuzz_again.n == fuzz_first.n);

    for (i = 0; i < fuzz_first.n; i++) {
        p = &fuzz_first.packets[i];
        q = &fuzz_again.packets[i];
        a = &p->data;
        b = &q->data;

        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(a, b));
        ngx_sio_fuzz_check(p->type == q->type && p->binary == q->binary
                           && p->base64 == q->base64);
    }

    free(body.data);
}


static void
fuzz_frame(ngx_str_t *in, ngx_uint_t revision, ngx_uint_t binary)
{
    ngx_sio_eio_packet_t  pkt;

    if (ngx_sio_eio_frame(in, binary, revision, &pkt) != NGX_OK) {
        return;
    }

    ngx_sio_fuzz_check(ngx_sio_fuzz_within(&pkt.data, in));
    ngx_sio_fuzz_check(pkt.type <= NGX_SIO_EIO_NOOP);
    ngx_sio_fuzz_check(in->len - pkt.data.len <= 2
                       || pkt.type == NGX_SIO_EIO_NOOP);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    u_char      *last;
    ngx_str_t    in, text;
    ngx_uint_t   option;

    option = ngx_sio_fuzz_option(data, &size) % 5;

    ngx_sio_fuzz_copy(&in, data, size);

    last = ngx_sio_fuzz_room(&text, ngx_sio_utf8_repair_length(in.data,
                                                               in.len));
    last = ngx_sio_utf8_repair(text.data, in.data, in.len);
    ngx_sio_fuzz_full(&text, last);
    ngx_sio_fuzz_check(ngx_sio_utf8_valid(text.data, text.len));

    switch (option) {

    case NGX_SIO_EIO_V4:
    case NGX_SIO_EIO_V3_TEXT:
        fuzz_payload(&text, option);
        break;

    case NGX_SIO_EIO_V3_BINARY:
        fuzz_payload(&in, option);
        break;

    default:
        fuzz_frame(&text, option, 0);
        fuzz_frame(&in, option, 1);
    }

    free(in.data);
    free(text.data);

    return 0;
}
