
/*
 * What the targets of t/fuzz share.
 *
 * The last octets of an input say how it is to be taken, what stands before
 * them is what the codec gets, in memory of exactly its size.  A broken
 * promise is a crash.
 *
 * In a target's comments t/fuzz/run finds what it is linked with:
 *
 *     link: src/codec/ngx_sio_json.c
 *     libs: -lcrypto
 */


#ifndef _NGX_SIO_FUZZ_H_INCLUDED_
#define _NGX_SIO_FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "standin.h"


#define ngx_sio_fuzz_check(condition)                                         \
    if (!(condition)) {                                                       \
        fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,            \
                #condition);                                                  \
        abort();                                                              \
    }

/* whether a slice lies within another */
#define ngx_sio_fuzz_within(slice, whole)                                     \
    ((slice)->len == 0                                                        \
     || ((slice)->data >= (whole)->data                                       \
         && (slice)->data + (slice)->len <= (whole)->data + (whole)->len))

#define ngx_sio_fuzz_equal(a, b)                                              \
    ((a)->len == (b)->len                                                     \
     && ((a)->len == 0 || memcmp((a)->data, (b)->data, (a)->len) == 0))


int LLVMFuzzerTestOneInput(const u_char *data, size_t size);


/* takes the last octet, 0 when there is none */

static ngx_inline ngx_uint_t
ngx_sio_fuzz_option(const u_char *data, size_t *size)
{
    return *size ? data[--*size] : 0;
}


/* to be freed by the caller */

static ngx_inline void
ngx_sio_fuzz_copy(ngx_str_t *copy, const void *data, size_t size)
{
    copy->len = size;
    copy->data = malloc(size ? size : 1);

    ngx_sio_fuzz_check(copy->data != NULL);

    if (size) {
        memcpy(copy->data, data, size);
    }
}


/* room for what a writer has measured; "done" looks whether it is full */

static ngx_inline u_char *
ngx_sio_fuzz_room(ngx_str_t *room, size_t len)
{
    room->len = len;
    room->data = malloc(len ? len : 1);

    ngx_sio_fuzz_check(room->data != NULL);

    return room->data;
}


#define ngx_sio_fuzz_full(room, last)                                         \
    ngx_sio_fuzz_check((size_t) ((last) - (room)->data) == (room)->len)


#endif /* _NGX_SIO_FUZZ_H_INCLUDED_ */
