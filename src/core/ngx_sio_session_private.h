
/*
 * The inside of a session, for its own files.
 *
 * Layer:      core.
 * Ownership:  as ngx_sio_session.h.  Each function that may close the session
 *             is called with a reference held.
 * Hostile:    as ngx_sio_session.h.
 * Reference:  ngx_sio_engine.c            opening, closing, the end of a turn
 *             ngx_sio_session.c           states, packets, the end, time
 *             ngx_sio_session_polling.c   GET and POST
 *             ngx_sio_session_upgrade.c   its WebSocket
 *             ngx_sio_socket.c            its namespaces
 *             ngx_sio_move.c              to another worker
 */


#ifndef _NGX_SIO_SESSION_PRIVATE_H_INCLUDED_
#define _NGX_SIO_SESSION_PRIVATE_H_INCLUDED_


#include "ngx_sio_eio.h"
#include "ngx_sio_session.h"


struct ngx_sio_session_state_s {
    const char     *name;

    /* a GET; a WebSocket message; new output */
    void          (*poll)(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
    void          (*receive)(ngx_sio_session_t *s, ngx_uint_t binary,
                       ngx_str_t *data);
    void          (*flush)(ngx_sio_session_t *s);

    /* what a POST is answered without being looked at */
    ngx_int_t       post;

    /* where sessions in it are counted unless they are closing */
    ngx_int_t       gauge;
};

#define NGX_SIO_POST_ACCEPTED  -1
#define NGX_SIO_GAUGE_NONE     -1


/* ngx_sio_session.h has their drawing */
extern const ngx_sio_session_state_t  ngx_sio_session_polling;
extern const ngx_sio_session_state_t  ngx_sio_session_probing;
extern const ngx_sio_session_state_t  ngx_sio_session_websocket;
extern const ngx_sio_session_state_t  ngx_sio_session_linger;
extern const ngx_sio_session_state_t  ngx_sio_session_closed;

/* nobody else assigns s->state */
void ngx_sio_session_set_state(ngx_sio_session_t *s,
    const ngx_sio_session_state_t *state);

/* As ngx_sio_session_create(), and not counted as open. */
ngx_sio_session_t *ngx_sio_session_new(ngx_sio_engine_t *e,
    const ngx_sio_session_conf_t *conf, u_char *sid, ngx_uint_t revision,
    ngx_uint_t b64, void *data);

/* once in its life; another worker's sessions close in the counts there */
void ngx_sio_session_set_closing(ngx_sio_session_t *s);


/* A packet, whichever way it came; it may close the session. */
void ngx_sio_session_packet(ngx_sio_session_t *s, ngx_sio_eio_packet_t *pkt);

/* A packet and its attachments go to the client. */
#define ngx_sio_session_count_out(s, msg)                                     \
    do {                                                                      \
        (s)->packets_out += 1 + (msg)->nattachments;                          \
        (s)->engine->counters[NGX_SIO_COUNT_PACKETS_OUT]                      \
            += 1 + (msg)->nattachments;                                       \
    } while (0)

/* ... one has come from it */
#define ngx_sio_session_count_in(s)                                           \
    do {                                                                      \
        (s)->packets_in++;                                                    \
        (s)->engine->counters[NGX_SIO_COUNT_PACKETS_IN]++;                    \
    } while (0)

/* It is looked at when the turn ends. */
void ngx_sio_session_set_dirty(ngx_sio_session_t *s);

/*
 * The sockets are gone.  depart: a session that polls ends now, or with the
 * next poll; ours: the server's side wants it.  end: now.  unlink: it leaves
 * all tables and queues without anybody being told.
 */
void ngx_sio_session_depart(ngx_sio_session_t *s, ngx_uint_t reason,
    ngx_uint_t ours);
void ngx_sio_session_end(ngx_sio_session_t *s, ngx_uint_t reason);
void ngx_sio_session_unlink(ngx_sio_session_t *s);

/* Stops reading a client that was too fast, until the timer lets it go on. */
void ngx_sio_session_hold(ngx_sio_session_t *s);

/* A deadline from now, never 0; and the timer after one has changed. */
ngx_msec_t ngx_sio_session_due(ngx_msec_t timeout);
void ngx_sio_session_arm(ngx_sio_session_t *s);


/* Answers a request without a payload; w may be the session's own. */
void ngx_sio_session_answer(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_sio_answer_e kind);

/* Answers the poll that waits with what is queued, then last if not NULL. */
void ngx_sio_session_release(ngx_sio_session_t *s, ngx_sio_msg_t *last);

/* Goes on with s->rest. */
void ngx_sio_session_continue(ngx_sio_session_t *s);

/* of the states */
void ngx_sio_polling_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
void ngx_sio_polling_flush(ngx_sio_session_t *s);
void ngx_sio_probing_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
void ngx_sio_websocket_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
void ngx_sio_linger_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);
void ngx_sio_closed_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w);


/* PROBING ends: with "5", or without, when the WebSocket is gone. */
void ngx_sio_session_upgrade(ngx_sio_session_t *s);
void ngx_sio_session_probe_failed(ngx_sio_session_t *s);

/* of the states */
void ngx_sio_probing_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data);
void ngx_sio_websocket_receive(ngx_sio_session_t *s, ngx_uint_t binary,
    ngx_str_t *data);
void ngx_sio_websocket_flush(ngx_sio_session_t *s);


/*
 * A socket of the session, in its tables but not connected; NULL: no memory.
 * free takes it out of them, and tells nobody.
 */
ngx_sio_socket_t *ngx_sio_socket_create(ngx_sio_session_t *s, ngx_str_t *nsp,
    u_char *sid);
void ngx_sio_socket_free(ngx_sio_socket_t *so);

/*
 * A packet to which n attachments belong, and one of these, are kept.
 * NGX_OK, NGX_ERROR: no memory.
 */
ngx_int_t ngx_sio_socket_pend(ngx_sio_session_t *s, ngx_str_t *text,
    ngx_uint_t n);
ngx_int_t ngx_sio_socket_attach(ngx_sio_session_t *s, ngx_str_t *data);

/* Gives s->pending, which must be there; and what becomes of it. */
ngx_sio_pending_t *ngx_sio_pending_take(ngx_sio_session_t *s);
void ngx_sio_pending_free(ngx_sio_pending_t *pending);


#endif /* _NGX_SIO_SESSION_PRIVATE_H_INCLUDED_ */
