/*
 * Socket.IO sockets: one namespace of one session.
 *
 * Layer:      core.
 * Ownership:  a socket belongs to its session and ends with it.
 * Reference:  protocol.md 3.
 */


#ifndef _NGX_SIO_SOCKET_H_INCLUDED_
#define _NGX_SIO_SOCKET_H_INCLUDED_


#include "ngx_sio_session.h"


struct ngx_sio_socket_s {
    uint64_t                mark;          /* see ngx_sio_rooms_select() */
    ngx_sio_session_t      *session;
    ngx_sio_nsp_t          *nsp;
    void                   *data;          /* the layer above's */

    ngx_queue_t             link;          /* session->sockets */
    ngx_queue_t             rooms;         /* ngx_sio_membership_t.of_socket */
    ngx_queue_t             acks;          /* ngx_sio_ack_t that we await */
    ngx_sio_asked_t        *asked;         /* ids whose answers the client
                                              awaits; NULL: none */
    time_t                  connected_at;  /* seconds since 1970 */

    ngx_rbtree_node_t       node;          /* engine->sockets, by sid, */
    u_char                  sid[NGX_SIO_SOCKET_SID_LEN];   /* right behind */

    uint32_t                place;         /* in nsp->sockets, if connected */
    uint16_t                nacks;
    uint16_t                nrooms;
    unsigned                connected:1;   /* CONNECT was answered */
    unsigned                paused:1;      /* counted in session->paused */
    unsigned                left_own:1;    /* has left the room of its sid */
};


/* A client's answer that somebody waits for. */

struct ngx_sio_ack_s {
    ngx_queue_t             queue;         /* socket->acks, oldest first */
    uint64_t                id;            /* on the wire */
    ngx_msec_t              expires;       /* nobody waits any more; 0: never */
    ngx_str_t               token;         /* allocated with this; what the
                                              asker gave */
};


/* Events of a client that wait for our answer; in order of arrival. */

struct ngx_sio_asked_s {
    uint32_t                n;
    uint32_t                size;
    uint64_t                ids[1];        /* size of them */
};


#define NGX_SIO_MAX_ACKS     1024          /* awaited from one socket */
#define NGX_SIO_MAX_ASKED    1024          /* ... and by its client */

/*
 * A Socket.IO packet or an attachment of the session.
 *
 *   NGX_OK        taken
 *   NGX_DECLINED  the client broke the protocol; *reason says how the session
 *                 must end
 */
ngx_int_t ngx_sio_socket_text(ngx_sio_session_t *s, ngx_str_t *text,
    ngx_uint_t *reason);
ngx_int_t ngx_sio_socket_binary(ngx_sio_session_t *s, ngx_str_t *data,
    ngx_uint_t *reason);

/* Engine.IO 3: enters "/" without being asked. */
ngx_int_t ngx_sio_socket_implicit(ngx_sio_session_t *s);

/*
 * Answers to ops->connect.  message is plain UTF-8, data raw JSON or NULL.
 * After refuse the socket is gone.
 */
void ngx_sio_socket_accept(ngx_sio_socket_t *so);
void ngx_sio_socket_refuse(ngx_sio_socket_t *so, ngx_str_t *message,
    ngx_str_t *data);

/* Ends the namespace: a DISCONNECT packet, then ops->disconnect. */
void ngx_sio_socket_disconnect(ngx_sio_socket_t *so);

/* Ends it on all sides without a packet (the session goes). */
void ngx_sio_socket_close(ngx_sio_socket_t *so, ngx_uint_t reason);

/*
 * The client awaits an answer to its event id.  Beyond max ids the oldest is
 * forgotten and cannot be answered any more.  NGX_OK; NGX_ERROR: no memory.
 */
ngx_int_t ngx_sio_socket_ask(ngx_sio_socket_t *so, uint64_t id,
    ngx_uint_t max);

/*
 * Answers the client's event id; args is what stands inside the brackets.
 *
 *   NGX_OK
 *   NGX_DECLINED  the client does not await it, or not any more
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_socket_ack(ngx_sio_socket_t *so, uint64_t id,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);

/*
 * Makes the message of an EVENT (BINARY_EVENT with attachments): json is the
 * whole array, name included; id NGX_SIO_PACKET_NO_ID when no answer is
 * wanted.  NULL: no memory.
 */
ngx_sio_msg_t *ngx_sio_socket_event(ngx_str_t *nsp, uint64_t id,
    ngx_str_t *json, ngx_str_t *attachments, ngx_uint_t n);

/*
 * Remembers that this socket will answer id; what has expired is forgotten.
 * NGX_OK, NGX_BUSY (NGX_SIO_MAX_ACKS awaited: the oldest was forgotten),
 * NGX_ERROR.
 */
ngx_int_t ngx_sio_socket_expect(ngx_sio_socket_t *so, uint64_t id,
    ngx_str_t *token, ngx_msec_t expires);

/* The moment, in ngx_current_msec; 0 is never. */
#define ngx_sio_ack_expired(ack)                                              \
    ((ack)->expires != 0                                                      \
     && (ngx_msec_int_t) ((ack)->expires - ngx_current_msec) <= 0)

/* len may be any; NULL: not here. */
ngx_sio_socket_t *ngx_sio_socket_find(ngx_sio_engine_t *e, u_char *sid,
    size_t len);

/* Backend pressure: while paused its session is not read. */
void ngx_sio_socket_pause(ngx_sio_socket_t *so);
void ngx_sio_socket_resume(ngx_sio_socket_t *so);


#endif /* _NGX_SIO_SOCKET_H_INCLUDED_ */
