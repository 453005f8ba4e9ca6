
/*
 * Socket.IO packets, revisions 5 and 4: the data of an Engine.IO message in,
 * a packet of slices out, and back.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  a decoded packet borrows the caller's buffer.
 * Hostile:    every input byte comes from the network.  The text has been
 *             checked to be UTF-8.
 * Reference:  Socket.IO protocol v5 and v4, "Packet encoding".
 */


#ifndef _NGX_SIO_PACKET_H_INCLUDED_
#define _NGX_SIO_PACKET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* arrays and objects within each other, the event's own array included */
#define NGX_SIO_PACKET_DEPTH   512

/* 2^53 - 1, the largest integer that every client can count to */
#define NGX_SIO_PACKET_MAX_ID  9007199254740991ULL

#define NGX_SIO_PACKET_NO_ID   ((uint64_t) -1)


/* the digit on the wire */

typedef enum {
    NGX_SIO_PACKET_CONNECT = 0,
    NGX_SIO_PACKET_DISCONNECT,
    NGX_SIO_PACKET_EVENT,
    NGX_SIO_PACKET_ACK,
    NGX_SIO_PACKET_CONNECT_ERROR,
    NGX_SIO_PACKET_BINARY_EVENT,
    NGX_SIO_PACKET_BINARY_ACK
} ngx_sio_packet_type_e;


typedef struct {
    ngx_sio_packet_type_e   type;
    ngx_uint_t              attachments;    /* binary messages that follow */
    uint64_t                id;     /* of EVENT and ACK, or ..._NO_ID */
    ngx_str_t               nsp;    /* "/" when absent, not percent-decoded */
    ngx_str_t               query;  /* revision 4, CONNECT: behind the "?" */
    ngx_str_t               payload;    /* the raw value, or empty */
    ngx_str_t               event;  /* the raw name: a string or a number */
    ngx_str_t               args;   /* the raw values behind the name, or
                                       all values of an ACK, with the commas
                                       between them; empty if none */
} ngx_sio_packet_t;


/*
 * Takes a packet apart.
 *
 *   max_attachments  more of them are refused
 *   revision      5 or 4
 *
 *   NGX_OK        *p is filled
 *   NGX_DONE      an ACK without arguments array, to be ignored; *p is
 *                 filled, and its namespace may still matter
 *   NGX_DECLINED  malformed, *err says what; the session is to be closed.
 *                 Reserved event names are malformed.
 *
 * CONNECT_ERROR, which only servers send, is not refused here.
 */
ngx_int_t ngx_sio_packet_decode(ngx_str_t *text, ngx_uint_t max_attachments,
    ngx_uint_t revision, ngx_sio_packet_t *p, const char **err);

/*
 * Checks that each placeholder in the payload of a BINARY_EVENT or
 * BINARY_ACK names one of its n attachments.  What stands inside of a
 * placeholder does not count, as in Node.
 *
 *   NGX_OK        so it is
 *   NGX_DECLINED  a number is missing, no integer, or out of range
 */
ngx_int_t ngx_sio_packet_placeholders(ngx_str_t *payload, ngx_uint_t n);

/* 1 if the object is a placeholder for one of n attachments, n > 0: for *num */
ngx_uint_t ngx_sio_packet_placeholder(ngx_str_t *object, ngx_uint_t n,
    uint64_t *num);


/*
 * The part of a packet before the JSON, with the Engine.IO type in front:
 * 4<type>[<attachments>-][<namespace>,][<id>], from the fields of these
 * names; attachments are written for binary types only.  For a DISCONNECT it
 * is all.  The writers return the end of what they wrote.
 */
size_t ngx_sio_packet_header_length(ngx_sio_packet_t *p);
u_char *ngx_sio_packet_header_write(u_char *dst, ngx_sio_packet_t *p);

/*
 * The reply to an accepted CONNECT.
 *
 *   sid           NULL in revision 4: no payload.  Nothing in it needs
 *                 escaping.
 *   pid           of connection state recovery, or NULL
 */
size_t ngx_sio_packet_connect_length(ngx_str_t *nsp, ngx_str_t *sid,
    ngx_str_t *pid);
u_char *ngx_sio_packet_connect_write(u_char *dst, ngx_str_t *nsp,
    ngx_str_t *sid, ngx_str_t *pid);

/*
 * The reply to a refused CONNECT.
 *
 *   revision      4: the data, or the message as a string, is the payload
 *   message       plain UTF-8
 *   data          raw JSON, or NULL
 */
typedef struct {
    ngx_uint_t              revision;
    ngx_str_t               nsp;
    ngx_str_t               message;
    ngx_str_t              *data;
} ngx_sio_packet_error_t;

size_t ngx_sio_packet_error_length(ngx_sio_packet_error_t *e);
u_char *ngx_sio_packet_error_write(u_char *dst, ngx_sio_packet_error_t *e);


#endif /* _NGX_SIO_PACKET_H_INCLUDED_ */
