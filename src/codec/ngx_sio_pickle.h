
/*
 * Python's pickle, as far as it is data: numbers, texts, octets, lists,
 * tuples, dicts.  Whatever would name a class or call something is refused, so
 * decoding has no effect but a tree of values.
 *
 * Layer:      codec; memory comes from a pool.
 * Ownership:  texts and octets borrow the input where they stand there as they
 *             are; everything lives as long as input and pool.
 * Hostile:    whoever can write to a message queue.  Values may be shared, but
 *             the tree that they span is bounded in depth and size.
 * Reference:  queues.md 1.7; pickletools.py, protocols 0 to 5.
 */


#ifndef _NGX_SIO_PICKLE_H_INCLUDED_
#define _NGX_SIO_PICKLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_SIO_PICKLE_NONE = 0,
    NGX_SIO_PICKLE_TRUE,
    NGX_SIO_PICKLE_FALSE,
    NGX_SIO_PICKLE_INT,             /* text: decimal digits, any number */
    NGX_SIO_PICKLE_FLOAT,
    NGX_SIO_PICKLE_TEXT,            /* text: UTF-8 */
    NGX_SIO_PICKLE_BYTES,           /* text: octets */
    NGX_SIO_PICKLE_LIST,
    NGX_SIO_PICKLE_TUPLE,
    NGX_SIO_PICKLE_DICT             /* items: key, value, key, ... */
} ngx_sio_pickle_e;


typedef struct ngx_sio_pickle_value_s  ngx_sio_pickle_value_t;
typedef struct ngx_sio_pickle_item_s   ngx_sio_pickle_item_t;


struct ngx_sio_pickle_item_s {
    ngx_sio_pickle_value_t   *value;
    ngx_sio_pickle_item_t    *next;
};


struct ngx_sio_pickle_value_s {
    ngx_uint_t                type;      /* ngx_sio_pickle_e */
    ngx_uint_t                nitems;
    ngx_sio_pickle_item_t    *items;
    ngx_sio_pickle_item_t    *last;
    ngx_str_t                 text;
    double                    number;    /* FLOAT */
};


/* 1 if the octets can only be a pickle; JSON begins otherwise */
ngx_uint_t ngx_sio_pickle_is(ngx_str_t *in);

/*
 * Decodes a whole input.
 *
 *   depth         values within each other
 *   nodes         values of the tree, shared ones counted each time
 *
 *   NGX_OK        *value is it
 *   NGX_DECLINED  *reason says why in a few words
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_pickle_decode(ngx_str_t *in, ngx_uint_t depth,
    ngx_uint_t nodes, ngx_sio_pickle_value_t **value, ngx_pool_t *pool,
    const char **reason);

/* the value of a dict with a text key; the last of several; NULL: none */
ngx_sio_pickle_value_t *ngx_sio_pickle_find(ngx_sio_pickle_value_t *dict,
    const char *key);


/*
 * Writes a value as JSON; octets become placeholders, numbered from *n on,
 * which is counted up, and are listed in attachments.  NaN and infinities
 * become null; a key that is no text is written as Python's json does.  The
 * length is an upper bound.
 */
size_t ngx_sio_pickle_json_length(ngx_sio_pickle_value_t *value);
u_char *ngx_sio_pickle_json_write(u_char *dst, ngx_sio_pickle_value_t *value,
    ngx_str_t *attachments, ngx_uint_t *n);

/* octets in a value, which the writer will number */
ngx_uint_t ngx_sio_pickle_bytes(ngx_sio_pickle_value_t *value);


/*
 * Writes protocol 3 without a memo, which every Python 3 reads, from its
 * parts: the head "80 03", values, containers by their marks, and ".".
 * JSON becomes what Python's json makes of it, its placeholders octets if
 * there are attachments.  With p NULL room is left for the text.
 */

size_t ngx_sio_pickle_text_length(size_t len);
u_char *ngx_sio_pickle_text_write(u_char *dst, const u_char *p, size_t len);
size_t ngx_sio_pickle_uint_length(uint64_t n);
u_char *ngx_sio_pickle_uint_write(u_char *dst, uint64_t n);

/*
 * json is a valid slice; placeholders have been checked.  The length is an
 * upper bound.
 */
size_t ngx_sio_pickle_value_length(ngx_str_t *json, ngx_str_t *attachments,
    ngx_uint_t n);
u_char *ngx_sio_pickle_value_write(u_char *dst, ngx_str_t *json,
    ngx_str_t *attachments, ngx_uint_t n);


#endif /* _NGX_SIO_PICKLE_H_INCLUDED_ */
