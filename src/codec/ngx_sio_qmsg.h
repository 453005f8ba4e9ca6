
/*
 * The neutral message: what any of the formats on a message queue says.
 *
 * Layer:      codec; nginx core types.
 * Ownership:  decoding borrows the payload and the pool that is given; a
 *             message lives as long as both.
 * Hostile:    whoever can write to the queue; decoders bound and validate
 *             everything, and what they give out may be sent on unseen.
 * Reference:  ngx_sio_python.h, ngx_sio_node.h for the formats.
 *
 * Of each kind only the fields that are named there are set; others are zero.
 */


#ifndef _NGX_SIO_QMSG_H_INCLUDED_
#define _NGX_SIO_QMSG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_SIO_QMSG_EMIT = 1,          /* json, attachments, target, ack */
    NGX_SIO_QMSG_JOIN,              /* target, op_rooms */
    NGX_SIO_QMSG_LEAVE,             /* target, op_rooms */
    NGX_SIO_QMSG_DISCONNECT,        /* target, close */
    NGX_SIO_QMSG_ACK,               /* python: to_origin, room, id, json */
    NGX_SIO_QMSG_FETCH,             /* target, request_id */
    NGX_SIO_QMSG_FETCH_ANSWER,      /* request_id, json: array of sockets */
    NGX_SIO_QMSG_ROOMS,             /* request_id */
    NGX_SIO_QMSG_ROOMS_ANSWER,      /* request_id, json: array of names */
    NGX_SIO_QMSG_SERVER_EMIT,       /* json, request_id or none */
    NGX_SIO_QMSG_SERVER_ANSWER,     /* request_id, json: value or empty */
    NGX_SIO_QMSG_COUNT,             /* request_id, count */
    NGX_SIO_QMSG_BACK               /* request_id, json: array of one, ... */
} ngx_sio_qmsg_kind_e;


typedef struct {
    ngx_str_t             name;          /* UTF-8; of a number its digits */
    unsigned              number:1;      /* was a number there */
} ngx_sio_qmsg_room_t;


typedef struct {
    ngx_uint_t            kind;          /* ngx_sio_qmsg_kind_e */

    ngx_str_t             origin;        /* host_id, uid; empty: none */
    ngx_str_t             to_origin;     /* ACK: whom it is for */
    ngx_str_t             nsp;           /* begins with "/" */

    /*
     * The target: everybody in the namespace with "all", else the union of
     * rooms, each socket once.  A room may be a sid.  Without both, nobody.
     */
    ngx_sio_qmsg_room_t  *rooms;
    ngx_uint_t            nrooms;
    ngx_sio_qmsg_room_t  *except;        /* rooms and sids */
    ngx_uint_t            nexcept;

    ngx_sio_qmsg_room_t  *op_rooms;      /* to be joined, left */
    ngx_uint_t            nop_rooms;

    /*
     * Valid UTF-8 JSON, binaries as placeholders numbered from 0 in order.
     * EMIT, SERVER_EMIT: the whole array, event name first; ACK, BACK: the
     * array of arguments.
     */
    ngx_str_t             json;
    ngx_str_t            *attachments;   /* raw octets */
    ngx_uint_t            nattachments;

    /* EMIT wants acknowledgements if request_id.len (node) or if id (python):
       then room is what the ACK has to name */
    ngx_str_t             request_id;
    ngx_sio_qmsg_room_t   room;
    uint64_t              id;

    ngx_msec_t            timeout;       /* of acknowledgements; 0: none */
    uint64_t              count;

    unsigned              all:1;
    unsigned              is_volatile:1;
    unsigned              close:1;
    unsigned              bare:1;        /* FETCH and its answer: ids alone, as
                                            in Node before 6.1 */
} ngx_sio_qmsg_t;


/* What a decoder refuses to go beyond. */

typedef struct {
    ngx_uint_t            depth;         /* nested arrays and objects */
    ngx_uint_t            nodes;         /* values, expanded */
    ngx_uint_t            rooms;         /* in each of the lists */
    ngx_uint_t            attachments;
    size_t                name;          /* octets of a room, event, nsp */
    size_t                json;          /* octets of the decoded text */
} ngx_sio_qmsg_limits_t;


/*
 * What decoders read in the same way, from slices of valid JSON.  All of these
 * give
 *
 *   NGX_OK
 *   NGX_DECLINED  refused; reader->reason says why in a few words
 *   NGX_ERROR     no memory
 */

typedef struct {
    const ngx_sio_qmsg_limits_t  *limits;
    size_t                        digits;   /* of a room that is a number */
    ngx_pool_t                   *pool;
    const char                   *reason;
} ngx_sio_qmsg_reader_t;

/* a string: a name of something */
ngx_int_t ngx_sio_qmsg_text(ngx_sio_qmsg_reader_t *reader, ngx_str_t *value,
    ngx_str_t *text);

/* a string or an integer; one of these, or an array of them */
ngx_int_t ngx_sio_qmsg_room(ngx_sio_qmsg_reader_t *reader, ngx_str_t *value,
    ngx_sio_qmsg_room_t *room);
ngx_int_t ngx_sio_qmsg_rooms(ngx_sio_qmsg_reader_t *reader, ngx_str_t *value,
    ngx_sio_qmsg_room_t **rooms, ngx_uint_t *n);


#endif /* _NGX_SIO_QMSG_H_INCLUDED_ */
