
/*
 * WebSocket frames of a client in, parts of messages out; headers of our own
 * frames; the handshake's arithmetic.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  a part borrows the caller's buffer, in which it was unmasked.
 * Hostile:    every input byte comes from the network.
 * Reference:  RFC 6455, sections 4.2, 5 and 7.4; RFC 7692, section 6.
 *
 *                 octets                            parts
 *     [ text, not final | "he" ]         first, text,      "he"
 *     [ ping            | "x"  ]         ping,             "x"
 *     [ continuation    | "ll" ...       text,             "ll"
 *                   ... | "o"  ]         last, text,       "o"
 *
 * Data is handed out as it comes; the caller assembles a message.
 */


#ifndef _NGX_SIO_WS_H_INCLUDED_
#define _NGX_SIO_WS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_sio_utf8.h"


/*
 * The parser does not keep octets: a frame header, and a control frame as a
 * whole, are taken only when complete.  The caller keeps what is unread and
 * must have room for this many octets, or nothing will ever move.
 */
#define NGX_SIO_WS_MIN_BUFFER   131     /* header 2, mask 4, payload 125 */

#define NGX_SIO_WS_MAX_HEADER   10      /* of our own, unmasked frames */
#define NGX_SIO_WS_MAX_CONTROL  125     /* payload of a control frame */

#define NGX_SIO_WS_KEY_LENGTH     24
#define NGX_SIO_WS_ACCEPT_LENGTH  28


typedef enum {
    NGX_SIO_WS_CONTINUATION = 0x0,
    NGX_SIO_WS_TEXT = 0x1,
    NGX_SIO_WS_BINARY = 0x2,
    NGX_SIO_WS_CLOSE = 0x8,
    NGX_SIO_WS_PING = 0x9,
    NGX_SIO_WS_PONG = 0xa
} ngx_sio_ws_opcode_e;

/* goes with an opcode: the message is compressed */
#define NGX_SIO_WS_RSV1  0x40


#define NGX_SIO_WS_NORMAL          1000
#define NGX_SIO_WS_GOING_AWAY      1001
#define NGX_SIO_WS_PROTOCOL_ERROR  1002
#define NGX_SIO_WS_NO_STATUS       1005     /* never on the wire */
#define NGX_SIO_WS_INVALID_DATA    1007
#define NGX_SIO_WS_TOO_BIG         1009


/* all zero is a fresh parser; set deflate before the first octet */

typedef struct {
    uint64_t         left;          /* octets of the open frame to come */
    uint64_t         size;          /* octets of the message, the open frame
                                       counted as a whole */
    u_char           mask[4];       /* turned so that [0] is next */
    ngx_sio_utf8_t   utf8;          /* of a text that is not compressed */

    unsigned         deflate:1;     /* RSV1 is allowed: RFC 7692 agreed on */
    unsigned         frame:1;       /* between a data header and its end */
    unsigned         message:1;     /* a continuation must come next */
    unsigned         fin:1;         /* the open frame is the final one */
    unsigned         first:1;       /* no part has been handed out yet */
    unsigned         text:1;
    unsigned         compressed:1;
} ngx_sio_ws_t;


typedef enum {
    NGX_SIO_WS_PART_DATA = 0,
    NGX_SIO_WS_PART_PING,
    NGX_SIO_WS_PART_PONG,
    NGX_SIO_WS_PART_CLOSE
} ngx_sio_ws_part_e;


typedef struct {
    ngx_sio_ws_part_e   kind;
    ngx_uint_t          code;   /* of a close frame, ..._NO_STATUS if it has
                                   none; what to close with on DECLINED */
    ngx_str_t           data;   /* payload, or the reason of a close frame */

    /* of data only; a message in one part is first and last */

    unsigned            text:1;
    unsigned            first:1;
    unsigned            last:1;
    unsigned            compressed:1;
} ngx_sio_ws_part_t;


/*
 * Takes the next part, unmasking it in place.  Data of an empty frame is a
 * part without octets.  Uncompressed text has been checked to be UTF-8, with
 * characters possibly cut between parts.  After a close frame or an error
 * the parser must not be called again.
 *
 *   max_message   octets of a message in all its frames, as sent
 *
 *   NGX_OK        *part is filled and *pos stands behind it
 *   NGX_AGAIN     more octets are needed; those from *pos on must be kept
 *   NGX_DECLINED  the client broke the protocol; close with part->code:
 *                 1002, 1007, or 1009, which a frame's header decides alone
 */
ngx_int_t ngx_sio_ws_next(ngx_sio_ws_t *ws, u_char **pos, u_char *end,
    size_t max_message, ngx_sio_ws_part_t *part);

/*
 * Writes the header of an unmasked final frame, and returns its length: 2, 4
 * or 10.  NGX_SIO_WS_RSV1 may be added to the opcode.
 */
size_t ngx_sio_ws_header(u_char *dst, ngx_uint_t opcode, uint64_t len);

/* 1 if this is a Sec-WebSocket-Key: 16 octets in base64, 0 otherwise */
ngx_uint_t ngx_sio_ws_key_valid(ngx_str_t *key);

/*
 * Computes Sec-WebSocket-Accept from a valid key.
 *
 *   NGX_OK        out holds NGX_SIO_WS_ACCEPT_LENGTH characters, without a
 *                 final zero
 *   NGX_ERROR     the library has no SHA-1 for us
 */
ngx_int_t ngx_sio_ws_accept(ngx_str_t *key, u_char *out);


#endif /* _NGX_SIO_WS_H_INCLUDED_ */
