
/*
 * Pickles: refused with a reason, or data within all limits, whose JSON is
 * JSON, and of which a pickle can be written that says the same.
 *
 * link: src/codec/ngx_sio_pickle.c src/codec/ngx_sio_pickle_decode.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_utf8.c
 * link: src/codec/ngx_sio_packet.c src/codec/ngx_sio_base64.c
 * libs: -lm
 */

#include "fuzz.h"
#include "ngx_sio_json.h"
#include "ngx_sio_pickle.h"
#include "ngx_sio_utf8.h"


#define FUZZ_DEPTH  16
#define FUZZ_NODES  1000


/* gives: the JSON and its octets, from the pool */

typedef struct {
    ngx_str_t    json;
    ngx_str_t   *attachments;
    ngx_uint_t   n;
} fuzz_said_t;


static ngx_int_t
fuzz_decode(ngx_str_t *in, fuzz_said_t *said)
{
    size_t                    room;
    u_char                   *last;
    ngx_int_t                 rc;
    ngx_str_t                 value;
    ngx_uint_t                n, i;
    const char               *reason;
    ngx_sio_pickle_value_t   *v;

    reason = NULL;

    rc = ngx_sio_pickle_decode(in, FUZZ_DEPTH, FUZZ_NODES, &v, NULL, &reason);

    if (rc == NGX_DECLINED) {
        ngx_sio_fuzz_check(reason != NULL && *reason);
    }

    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc != NGX_OK) {
        return rc;
    }

    (void) ngx_sio_pickle_find(v, "method");

    n = ngx_sio_pickle_bytes(v);
    ngx_sio_fuzz_check(n <= FUZZ_NODES);

    /* an upper bound */
    room = ngx_sio_pickle_json_length(v);
    said->json.data = ngx_pnalloc(NULL, room);
    said->attachments = ngx_palloc(NULL, n * sizeof(ngx_str_t));

    if (said->json.data == NULL || said->attachments == NULL) {
        return NGX_ERROR;
    }

    said->n = 0;
    last = ngx_sio_pickle_json_write(said->json.data, v, said->attachments,
                                     &said->n);
    said->json.len = last - said->json.data;

    ngx_sio_fuzz_check(said->json.len <= room && said->n == n);
    ngx_sio_fuzz_check(ngx_sio_utf8_valid(said->json.data, said->json.len));
    ngx_sio_fuzz_check(ngx_sio_json_text(&said->json, FUZZ_DEPTH + 1, &value)
                       == NGX_OK);

    /* what an attachment borrows is there */

    for (i = 0, rc = 0; i < n; i++) {
        if (said->attachments[i].len) {
            rc += said->attachments[i].data[0]
                  + said->attachments[i].data[said->attachments[i].len - 1];
        }
    }

    return NGX_OK;
}


static ngx_int_t
fuzz_encode(fuzz_said_t *said, ngx_str_t *out)
{
    u_char  *p;

    out->len = 3 + ngx_sio_pickle_value_length(&said->json, said->attachments,
                                               said->n);
    out->data = ngx_pnalloc(NULL, out->len);

    if (out->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(out->data, "\x80\x03", 2);
    p = ngx_sio_pickle_value_write(p, &said->json, said->attachments, said->n);
    *p++ = '.';

    ngx_sio_fuzz_check((size_t) (p - out->data) <= out->len);
    out->len = p - out->data;

    return NGX_OK;
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t     in, again;
    ngx_uint_t    nomem;
    fuzz_said_t   first, second, third;

    nomem = ngx_sio_fuzz_option(data, &size);

    ngx_sio_standin_nomem(nomem < 64 ? nomem : 0);

    ngx_sio_fuzz_copy(&in, data, size);
    (void) ngx_sio_pickle_is(&in);

    /* a number may be written in several ways, but then only in one */

    if (fuzz_decode(&in, &first) == NGX_OK
        && fuzz_encode(&first, &again) == NGX_OK
        && fuzz_decode(&again, &second) == NGX_OK
        && fuzz_encode(&second, &again) == NGX_OK
        && fuzz_decode(&again, &third) == NGX_OK)
    {
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&second.json, &third.json));
    }

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(in.data);

    return 0;
}
