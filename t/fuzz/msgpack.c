
/*
 * MessagePack: refused with a reason, or values whose JSON is as long as it
 * was measured, and of which the same can be written.
 *
 * link: src/codec/ngx_sio_msgpack.c src/codec/ngx_sio_msgpack_decode.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_utf8.c
 * link: src/codec/ngx_sio_packet.c
 * libs: -lm
 */

#include "fuzz.h"
#include "ngx_sio_json.h"
#include "ngx_sio_msgpack.h"
#include "ngx_sio_utf8.h"


#define FUZZ_DEPTH  16
#define FUZZ_NODES  1000


typedef struct {
    ngx_str_t    json;
    ngx_str_t    attachments[FUZZ_NODES];
    ngx_uint_t   n;
} fuzz_said_t;


static fuzz_said_t  fuzz_first, fuzz_second, fuzz_third;


static ngx_uint_t
fuzz_decode(ngx_str_t *in, fuzz_said_t *said)
{
    size_t       len;
    ngx_str_t    value;
    ngx_uint_t   n, i;
    const char  *reason;

    reason = NULL;

    if (ngx_sio_msgpack_check(in, FUZZ_DEPTH, FUZZ_NODES, &reason) != NGX_OK) {
        ngx_sio_fuzz_check(reason != NULL && *reason);
        return 0;
    }

    (void) ngx_sio_msgpack_find(in, "data", &value);
    (void) ngx_sio_msgpack_element(in, 1, &value);

    n = 0;
    len = ngx_sio_msgpack_json(NULL, in, NULL, &n);
    ngx_sio_fuzz_check(n <= FUZZ_NODES);

    said->n = 0;
    said->json.len = len;
    said->json.data = ngx_pnalloc(NULL, len);

    ngx_sio_fuzz_check(ngx_sio_msgpack_json(said->json.data, in,
                                            said->attachments, &said->n)
                       == len);
    ngx_sio_fuzz_check(said->n == n);
    ngx_sio_fuzz_check(ngx_sio_utf8_valid(said->json.data, len));
    ngx_sio_fuzz_check(ngx_sio_json_text(&said->json, FUZZ_DEPTH + 1, &value)
                       == NGX_OK);

    for (i = 0; i < n; i++) {
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&said->attachments[i], in));
    }

    return 1;
}


/* It is for arrays and objects. */

static ngx_uint_t
fuzz_encode(fuzz_said_t *said, ngx_str_t *out)
{
    size_t  len;

    if (said->json.data[0] != '[' && said->json.data[0] != '{') {
        return 0;
    }

    len = ngx_sio_msgpack_put_json(NULL, &said->json, said->attachments,
                                   said->n);
    out->len = len;
    out->data = ngx_pnalloc(NULL, len);

    ngx_sio_fuzz_check(ngx_sio_msgpack_put_json(out->data, &said->json,
                                                said->attachments, said->n)
                       == len);

    return 1;
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t  in, again;

    ngx_sio_fuzz_copy(&in, data, size);

    if (fuzz_decode(&in, &fuzz_first) && fuzz_encode(&fuzz_first, &again)) {

        /* an unlucky map is a placeholder by now, with fewer nodes */

        ngx_sio_fuzz_check(fuzz_decode(&again, &fuzz_second));

        if (fuzz_encode(&fuzz_second, &again)) {
            ngx_sio_fuzz_check(fuzz_decode(&again, &fuzz_third));
            ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&fuzz_second.json,
                                                  &fuzz_third.json));
        }
    }

    ngx_sio_standin_release();

    free(in.data);

    return 0;
}
