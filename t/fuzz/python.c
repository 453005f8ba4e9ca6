
/*
 * What Python's servers and emitters say on a queue, JSON and pickle: refused
 * with a reason, or within all limits; and what is written of it is read
 * again as the same, in each dialect that has words for it.
 *
 * link: src/codec/ngx_sio_python.c src/codec/ngx_sio_python_decode.c
 * link: src/codec/ngx_sio_pickle.c src/codec/ngx_sio_pickle_decode.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_packet.c
 * link: src/codec/ngx_sio_base64.c src/codec/ngx_sio_utf8.c
 * link: src/codec/ngx_sio_qmsg.c
 * libs: -lm
 */

#include "qmsg.h"
#include "ngx_sio_python.h"


static ngx_int_t
fuzz_decode(ngx_str_t *payload, ngx_uint_t dialect, ngx_sio_qmsg_t *m)
{
    ngx_int_t    rc;
    const char  *reason;

    reason = NULL;

    rc = ngx_sio_python_decode(payload, dialect, &ngx_sio_fuzz_limits, m,
                               NULL, &reason);

    if (rc == NGX_DECLINED) {
        ngx_sio_fuzz_check(reason != NULL && *reason);
    }

    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc == NGX_OK) {
        ngx_sio_fuzz_qmsg(m);
    }

    return rc;
}


/* to: how it is written; from: how it is read */

static void
fuzz_again(ngx_sio_qmsg_t *m, ngx_uint_t to, ngx_uint_t from)
{
    ngx_int_t       rc;
    ngx_str_t       payload;
    ngx_sio_qmsg_t  again, last;

    rc = ngx_sio_python_encode(m, to, NGX_SIO_FUZZ_PAYLOAD, &payload, NULL);
    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc != NGX_OK || ngx_sio_standin_failed()) {
        return;
    }

    /* what was at a limit may be beyond it with other words */

    if (fuzz_decode(&payload, from, &again) != NGX_OK) {
        ngx_sio_fuzz_check(ngx_sio_standin_failed()
                           || m->json.len > ngx_sio_fuzz_limits.json / 8
                           || ngx_sio_fuzz_placeholders(&m->json)
                              > ngx_sio_fuzz_limits.attachments
                           || !"what was written is read");
        return;
    }

    ngx_sio_fuzz_same(m, &again);

    if (ngx_sio_python_encode(&again, to, NGX_SIO_FUZZ_PAYLOAD, &payload, NULL)
           != NGX_OK
        || fuzz_decode(&payload, from, &last) != NGX_OK)
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
    ngx_str_t       payload;
    ngx_uint_t      option, dialect, nomem;
    ngx_sio_qmsg_t  m;

    option = ngx_sio_fuzz_option(data, &size);
    nomem = ngx_sio_fuzz_option(data, &size);
    dialect = option & 1;

    ngx_sio_standin_nomem(nomem < 64 ? nomem : 0);

    ngx_sio_fuzz_copy(&payload, data, size);

    if (fuzz_decode(&payload, dialect, &m) == NGX_OK) {
        fuzz_again(&m, dialect, dialect);
        fuzz_again(&m, NGX_SIO_PYTHON_PICKLE, dialect);
    }

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(payload.data);

    return 0;
}
