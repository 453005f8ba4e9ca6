
/*
 * Letters: messages of a queue that wait, in order, up to so many octets.
 *
 * Layer:      top.
 * Ownership:  a box is embedded; letters are its own, and copies.
 * Hostile:    whoever can write to a queue; the limit comes in as an argument.
 */


#ifndef _NGX_HTTP_SOCKETIO_LETTER_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_LETTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_queue_t   queue;         /* of letters */
    size_t        size;          /* octets, with their own memory */
} ngx_http_socketio_letter_box_t;


/* its strings follow it */

typedef struct {
    ngx_queue_t   queue;
    ngx_str_t     pattern;       /* or what else tells where it is from, or
                                    whom it is for; may be empty */
    ngx_str_t     channel;
    ngx_str_t     payload;
} ngx_http_socketio_letter_t;


void ngx_http_socketio_letter_init(ngx_http_socketio_letter_box_t *box);

/* Drops all that is in it. */
void ngx_http_socketio_letter_clear(ngx_http_socketio_letter_box_t *box);

/*
 * The parts become one payload.
 *
 *   NGX_OK
 *   NGX_DECLINED  it would be more than "limit" then, or there is no memory
 */
ngx_int_t ngx_http_socketio_letter_insert(ngx_http_socketio_letter_box_t *box,
    size_t limit, ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *parts,
    ngx_uint_t nparts);

/* NULL: there is none */
ngx_http_socketio_letter_t *ngx_http_socketio_letter_first(
    ngx_http_socketio_letter_box_t *box);
ngx_http_socketio_letter_t *ngx_http_socketio_letter_next(
    ngx_http_socketio_letter_box_t *box, ngx_http_socketio_letter_t *letter);

/* Takes it out and frees it. */
void ngx_http_socketio_letter_drop(ngx_http_socketio_letter_box_t *box,
    ngx_http_socketio_letter_t *letter);


#endif /* _NGX_HTTP_SOCKETIO_LETTER_H_INCLUDED_ */
