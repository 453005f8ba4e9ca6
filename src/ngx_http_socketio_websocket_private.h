/*
 * The inside of a WebSocket, for its own files.
 *
 * Layer:      top.
 * Ownership:  as ngx_http_socketio_websocket.h.
 * Hostile:    as ngx_http_socketio_websocket.h.
 * Reference:  ngx_http_socketio_websocket.c         start, input, the end
 *             ngx_http_socketio_websocket_output.c  output
 */


#ifndef _NGX_HTTP_SOCKETIO_WEBSOCKET_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WEBSOCKET_PRIVATE_H_INCLUDED_


#include "ngx_http_socketio_websocket.h"
#include "ngx_sio_ws.h"


/* for what is left to be written, and then for the client's close frame */
#define NGX_HTTP_SOCKETIO_WEBSOCKET_WAIT  10000


typedef enum {
    NGX_HTTP_SOCKETIO_WEBSOCKET_OPENING = 0,
    NGX_HTTP_SOCKETIO_WEBSOCKET_OPEN,
    NGX_HTTP_SOCKETIO_WEBSOCKET_CLOSING,
    NGX_HTTP_SOCKETIO_WEBSOCKET_WAITING,
    NGX_HTTP_SOCKETIO_WEBSOCKET_GONE
} ngx_http_socketio_websocket_state_e;


typedef struct ngx_http_socketio_octets_s  ngx_http_socketio_octets_t;

struct ngx_http_socketio_octets_s {
    ngx_http_socketio_octets_t   *next;        /* in the list of records */
    size_t                        pos;         /* done with these */
    size_t                        len;         /* filled */
    size_t                        size;
    u_char                        data[1];
};


/* There is one for every client, most of them idle: it is kept small. */

struct ngx_http_socketio_websocket_s {

    /* what every message to it touches comes first, and together */

    ngx_connection_t             *connection;  /* NULL when it is GONE */
    ngx_sio_out_t                 out;
    ngx_http_socketio_octets_t   *control;     /* frames of our own, or NULL */
    ngx_http_socketio_worker_t   *worker;

    uint32_t                      refs;
    uint16_t                      code;        /* to close with; 0: none */
    uint8_t                       state;
    uint8_t                       reason;      /* NGX_SIO_REASONS: none */

    unsigned                      paused:1;    /* the backend has enough */
    unsigned                      failed:1;    /* could not be written to */
    unsigned                      deaf:1;      /* no more frames to parse */
    unsigned                      left:1;      /* the client closed */
    unsigned                      goodbye:1;   /* our close frame is queued */

    ngx_sio_session_t            *session;     /* NULL: it has ended */
    ngx_http_socketio_origin_t   *origin;      /* of this handshake */
    ngx_http_request_t           *request;     /* see start(), mostly NULL */
    ngx_event_t                  *opening;     /* OPENING: what will start it */

    ngx_sio_ws_t                  parser;

    /* NULL while there is nothing in them */

    ngx_http_socketio_octets_t   *rest;        /* read, but not parsed yet */
    ngx_http_socketio_octets_t   *message;     /* of which more is to come */
    ngx_http_socketio_octets_t   *record;      /* TLS: must be written again
                                                  as it is */
    void                         *note;        /* the session's, from its end
                                                  on, see forget() */
    uint64_t                      packets_in;
    uint64_t                      packets_out;
};


/* ws->refs is held while anything is called that may end it. */
void ngx_http_socketio_websocket_release(ngx_http_socketio_websocket_t *ws);

/*
 * Writes what can be written.  The caller holds ws, whose connection may be
 * closed on return.
 */
void ngx_http_socketio_websocket_output(ngx_http_socketio_websocket_t *ws);

/*
 * A control frame.  NGX_OK; NGX_BUSY: so many wait that this one was not
 * taken; NGX_ERROR.
 */
ngx_int_t ngx_http_socketio_websocket_control(
    ngx_http_socketio_websocket_t *ws, ngx_uint_t opcode, ngx_str_t *data);

/* The connection is closed, now.  The caller holds ws. */
void ngx_http_socketio_websocket_finish(ngx_http_socketio_websocket_t *ws,
    ngx_uint_t reason);

/* Room for octets; NULL: no memory.  Dropping makes it NULL. */
ngx_http_socketio_octets_t *ngx_http_socketio_websocket_octets(size_t size,
    ngx_log_t *log);
void ngx_http_socketio_websocket_drop(ngx_http_socketio_octets_t **octets);
void ngx_http_socketio_websocket_drop_record(
    ngx_http_socketio_websocket_t *ws);


#endif /* _NGX_HTTP_SOCKETIO_WEBSOCKET_PRIVATE_H_INCLUDED_ */
