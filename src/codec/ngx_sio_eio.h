
/*
 * Engine.IO packets, revisions 4 and 3: polling payloads and WebSocket
 * messages in, packets out, and back.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  a decoded packet borrows the caller's buffer.
 * Hostile:    every input byte comes from the network.  Text has been made
 *             well-formed UTF-8 by the caller, who also decodes base64.
 * Reference:  Engine.IO protocol v4 and v3, "Packet encoding", "Payload".
 */


#ifndef _NGX_SIO_EIO_H_INCLUDED_
#define _NGX_SIO_EIO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_SIO_EIO_SEPARATOR  0x1e


/* the digit on the wire */

typedef enum {
    NGX_SIO_EIO_OPEN = 0,
    NGX_SIO_EIO_CLOSE,
    NGX_SIO_EIO_PING,
    NGX_SIO_EIO_PONG,
    NGX_SIO_EIO_MESSAGE,
    NGX_SIO_EIO_UPGRADE,
    NGX_SIO_EIO_NOOP
} ngx_sio_eio_type_e;


typedef enum {
    NGX_SIO_EIO_V4 = 0,     /* packets between 0x1e */
    NGX_SIO_EIO_V3_TEXT,    /* length in UTF-16 units, colon, packet */
    NGX_SIO_EIO_V3_BINARY   /* 00 or 01, length in octets, ff, packet */
} ngx_sio_eio_form_e;


typedef struct {
    ngx_sio_eio_type_e   type;
    ngx_str_t            data;      /* without the type */
    unsigned             binary:1;  /* a binary message */
    unsigned             base64:1;  /* data is base64, not decoded yet */
} ngx_sio_eio_packet_t;


typedef struct {
    u_char              *pos;       /* where the next packet starts */
    u_char              *end;
    ngx_sio_eio_form_e   form;
    unsigned             done:1;    /* the last packet has been taken */
} ngx_sio_eio_payload_t;


typedef struct {
    ngx_str_t            sid;       /* ours, nothing in it needs escaping */
    ngx_msec_t           ping_interval;
    ngx_msec_t           ping_timeout;
    size_t               max_payload;
    ngx_uint_t           upgrade;   /* 1: "websocket" may be upgraded to */
} ngx_sio_eio_open_t;


/* starts to take a polling body apart; the body may be empty */
void ngx_sio_eio_payload(ngx_sio_eio_payload_t *payload, ngx_str_t *body,
    ngx_sio_eio_form_e form);

/*
 * Takes the next packet from a polling payload.  Packets that came before
 * an error count.
 *
 *   NGX_OK        *pkt is filled
 *   NGX_DONE      the payload is used up
 *   NGX_DECLINED  the client broke the protocol at payload->pos; an empty
 *                 body, an empty piece and a separator at the end are errors
 */
ngx_int_t ngx_sio_eio_next(ngx_sio_eio_payload_t *payload,
    ngx_sio_eio_packet_t *pkt);

/*
 * Takes the packet that a whole WebSocket message is.  An unknown type octet
 * in a binary message of revision 3 gives a noop, since it is to be ignored.
 *
 *   binary        1 if it came in binary frames, 0 for text
 *   revision      3 or 4
 *
 *   NGX_OK        *pkt is filled
 *   NGX_DECLINED  the client broke the protocol
 */
ngx_int_t ngx_sio_eio_frame(ngx_str_t *message, ngx_uint_t binary,
    ngx_uint_t revision, ngx_sio_eio_packet_t *pkt);


/*
 * The open packet, digit included, keys in Node's order.  The writers return
 * the end of what they wrote.
 */
size_t ngx_sio_eio_open_length(ngx_sio_eio_open_t *open);
u_char *ngx_sio_eio_open_write(u_char *dst, ngx_sio_eio_open_t *open);

/*
 * What stands before a packet in a payload of revision 3.
 *
 *   len           the packet with its type: UTF-16 units in the text form,
 *                 octets in the binary form
 *   binary        1 for a packet whose type is an octet instead of a digit
 */
size_t ngx_sio_eio_text_prefix_length(size_t len);
u_char *ngx_sio_eio_text_prefix_write(u_char *dst, size_t len);
size_t ngx_sio_eio_binary_prefix_length(size_t len);
u_char *ngx_sio_eio_binary_prefix_write(u_char *dst, size_t len,
    ngx_uint_t binary);


#endif /* _NGX_SIO_EIO_H_INCLUDED_ */
