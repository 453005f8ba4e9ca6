
/*
 * What Node's adapter and emitters say on a queue: refused with a reason, or
 * within all limits; and what is written of it is read again as the same.
 *
 * The channel stands in front of the payload, up to a line feed.
 *
 * link: src/codec/ngx_sio_node.c src/codec/ngx_sio_node_decode.c
 * link: src/codec/ngx_sio_msgpack.c src/codec/ngx_sio_msgpack_decode.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_packet.c
 * link: src/codec/ngx_sio_utf8.c src/codec/ngx_sio_base64.c
 * link: src/codec/ngx_sio_qmsg.c
 * libs: -lm
 */

#include "qmsg.h"
#include "ngx_sio_node.h"


static ngx_str_t  fuzz_prefix = ngx_string("socket.io");


static ngx_int_t
fuzz_decode(ngx_str_t *channel, ngx_str_t *payload, ngx_sio_qmsg_t *m)
{
    ngx_int_t    rc;
    const char  *reason;

    reason = NULL;

    rc = ngx_sio_node_decode(&fuzz_prefix, channel, payload,
                             &ngx_sio_fuzz_limits, m, NULL, &reason);

    if (rc == NGX_DECLINED) {
        ngx_sio_fuzz_check(reason != NULL && *reason);
    }

    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc == NGX_OK) {
        ngx_sio_fuzz_qmsg(m);
    }

    return rc;
}


static void
fuzz_again(ngx_str_t *channel, ngx_sio_qmsg_t *m)
{
    ngx_int_t       rc;
    ngx_str_t       payload, name;
    ngx_sio_qmsg_t  again, last;

    (void) ngx_sio_node_channel(&fuzz_prefix, m, &name, NULL);

    rc = ngx_sio_node_encode(m, NGX_SIO_FUZZ_PAYLOAD, &payload, NULL);
    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc != NGX_OK || ngx_sio_standin_failed()) {
        return;
    }

    if (fuzz_decode(channel, &payload, &again) != NGX_OK) {
        ngx_sio_fuzz_check(ngx_sio_standin_failed()
                           || m->json.len > ngx_sio_fuzz_limits.json / 8
                           || !"what was written is read");
        return;
    }

    ngx_sio_fuzz_same(m, &again);

    if (ngx_sio_node_encode(&again, NGX_SIO_FUZZ_PAYLOAD, &payload, NULL) != NGX_OK
        || fuzz_decode(channel, &payload, &last) != NGX_OK)
    {
        ngx_sio_fuzz_check(ngx_sio_standin_failed());
        return;
    }

    ngx_sio_fuzz_same(&again, &last);
    ngx_sio_fuzz_same_json(&again, &last);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    const u_char    *lf;
    ngx_str_t        channel, payload;
    ngx_uint_t       nomem;
    ngx_sio_qmsg_t   m;

    nomem = ngx_sio_fuzz_option(data, &size);

    lf = size ? memchr(data, '\n', size) : NULL;

    if (lf == NULL) {
        return 0;
    }

    ngx_sio_standin_nomem(nomem < 64 ? nomem : 0);

    ngx_sio_fuzz_copy(&channel, data, lf - data);
    ngx_sio_fuzz_copy(&payload, lf + 1, data + size - (lf + 1));

    if (fuzz_decode(&channel, &payload, &m) == NGX_OK) {
        fuzz_again(&channel, &m);
    }

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(channel.data);
    free(payload.data);

    return 0;
}
