/*
 * The queue of messages in front of a client: references, first in, first
 * out, and how much of the first one has been sent.
 *
 * Layer:      core.  No sockets, no HTTP, no shared memory.
 * Ownership:  embedded in what it belongs to; shares each message until it
 *             is shifted.
 * Reference:  architecture.md 4.
 *
 * Mostly one message waits, and is kept in the queue itself.  More are kept
 * in a ring that is given back as soon as the queue is empty:
 *
 *     at.ring --> | m2 | m3 |    |    | m0 | m1 |     size 2^k, n = 4
 *                                     ^ first
 */


#ifndef _NGX_SIO_OUT_H_INCLUDED_
#define _NGX_SIO_OUT_H_INCLUDED_


#include "ngx_sio_msg.h"


typedef struct {
    union {
        ngx_sio_msg_t   *one;          /* size 0: the only message */
        ngx_sio_msg_t  **ring;
    } at;

    size_t               bytes;        /* sum of the sizes */
    uint32_t             first;        /* in the ring */
    uint32_t             n;            /* messages */
    uint32_t             size;         /* of the ring, in messages; 0 when n
                                          is 0 */
    uint32_t             offset;       /* sent of the first, in its form */
    uint32_t             form;         /* ngx_sio_form_e */
} ngx_sio_out_t;


void ngx_sio_out_init(ngx_sio_out_t *out, ngx_uint_t form);

/* Shares msg.  NGX_OK, or NGX_ERROR: no memory, nothing was taken. */
ngx_int_t ngx_sio_out_push(ngx_sio_out_t *out, ngx_sio_msg_t *msg);

/* Takes the first message off and drops its reference. */
void ngx_sio_out_shift(ngx_sio_out_t *out);

/* Drops everything that waits. */
void ngx_sio_out_clear(ngx_sio_out_t *out);

/* The same, but a message that has been sent in part stays. */
void ngx_sio_out_truncate(ngx_sio_out_t *out);

/*
 * Fills at most n vectors with what is to be written next, the first one
 * without the part that has been sent.  Returns how many; 0: empty;
 * NGX_ERROR: no memory for a form.
 */
ngx_int_t ngx_sio_out_gather(ngx_sio_out_t *out, struct iovec *vec,
    ngx_uint_t n);

/*
 * Takes sent octets off, of what was gathered.  Returns how many messages that
 * finished.
 */
ngx_uint_t ngx_sio_out_sent(ngx_sio_out_t *out, size_t sent);

/*
 * Moves all of from, of which nothing has been sent, behind what waits in to,
 * which keeps its form.  NGX_OK, or NGX_ERROR: no memory, nothing was moved.
 */
ngx_int_t ngx_sio_out_splice(ngx_sio_out_t *to, ngx_sio_out_t *from);

#define ngx_sio_out_empty(out)  ((out)->n == 0)

/* The message number i, from 0; i < out->n. */
#define ngx_sio_out_at(out, i)                                                \
    ((out)->size ? (out)->at.ring[((out)->first + (i)) & ((out)->size - 1)]   \
                 : (out)->at.one)

/* Where the next one will be written; only an address to prefetch. */
#define ngx_sio_out_next(out)                                                 \
    ((out)->size ? (void *) &(out)->at.ring[((out)->first + (out)->n)         \
                                            & ((out)->size - 1)]              \
                 : (void *) (out))


#endif /* _NGX_SIO_OUT_H_INCLUDED_ */
