/*
 * Engine.IO sessions: states, heartbeat, the outgoing queue, and the table
 * that finds them by their id.  The Socket.IO sockets on top of a session
 * are in ngx_sio_socket.h.
 *
 * Layer:      core.  Knows the protocol and time; HTTP, WebSocket I/O, the
 *             hub and the webhooks are reached through ngx_sio_ops_t.
 * Ownership:  a session belongs to one engine (one zone in one worker) and
 *             is freed with its last reference; the table holds one while
 *             the session is open.
 * Hostile:    everything that clients send arrives here after framing.
 * Reference:  protocol.md 1.4 to 1.9 and 2.2.
 *
 *        GET, no sid                       Upgrade, no sid
 *             |                                   |
 *             v       Upgrade with sid            |
 *          POLLING -----------------> PROBING     |
 *           | ^ |                      |    |     |
 *           | | +-----+                |    |     |
 *           | +-------|- gone, timeout-+    | "5" |
 *           |         |                     v     v
 *           |   server ends,                WEBSOCKET
 *           |   no poll waits                  |
 *           |         v                        |
 *           |       LINGER                     |
 *           |         |                        |
 *           +---------+------> CLOSED <--------+
 *
 * While PROBING polling stays in charge; a waiting poll, and each one that
 * comes, is answered at once.  A client that has had its "3probe" polls no
 * longer, so if the server ends the session then, the upgrade comes first.  In
 * LINGER the sockets are gone and the next poll fetches the rest and the close
 * packet.
 */


#ifndef _NGX_SIO_SESSION_H_INCLUDED_
#define _NGX_SIO_SESSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_sio_out.h"
#include "ngx_sio_sid.h"


typedef struct ngx_sio_engine_s   ngx_sio_engine_t;
typedef struct ngx_sio_session_s  ngx_sio_session_t;
typedef struct ngx_sio_socket_s   ngx_sio_socket_t;
typedef struct ngx_sio_ack_s      ngx_sio_ack_t;
typedef struct ngx_sio_asked_s    ngx_sio_asked_t;
typedef struct ngx_sio_nsp_s      ngx_sio_nsp_t;


typedef enum {
    NGX_SIO_REASON_CLIENT_DISCONNECT = 0,  /* client namespace disconnect */
    NGX_SIO_REASON_SERVER_DISCONNECT,      /* server namespace disconnect */
    NGX_SIO_REASON_TRANSPORT_CLOSE,
    NGX_SIO_REASON_TRANSPORT_ERROR,
    NGX_SIO_REASON_PING_TIMEOUT,
    NGX_SIO_REASON_PARSE_ERROR,
    NGX_SIO_REASON_FORCED_CLOSE,
    NGX_SIO_REASON_FORCED_SERVER_CLOSE,
    NGX_SIO_REASON_SHUTTING_DOWN,
    NGX_SIO_REASON_SLOW_CONSUMER,
    NGX_SIO_REASON_WORKER_LOST,
    NGX_SIO_REASONS
} ngx_sio_reason_e;

/* Node's words, and ours. */
extern ngx_str_t  ngx_sio_reasons[NGX_SIO_REASONS];


/*
 * A polling request that waits for its answer, wherever it is: opaque to
 * the core, all zero means nobody.
 */
typedef struct {
    uint32_t        slot:8;       /* the worker that has the HTTP request, */
    uint32_t        index:24;     /* the request in that worker's table, */
    uint32_t        generation;   /* see ngx_sio_hub_addr_t */
    uint32_t        serial;       /* never 0, never the same twice */
    uint32_t        host;         /* whose worker that is, as its tag; 0: of
                                     this one */
} ngx_sio_waiter_t;

#define NGX_SIO_WAITER_INDEXES      0x1000000

#define ngx_sio_waiter_set(w)       ((w)->serial != 0)
#define ngx_sio_waiter_equal(a, b)                                            \
    (ngx_memcmp(a, b, sizeof(ngx_sio_waiter_t)) == 0)


typedef enum {
    NGX_SIO_ANSWER_TEXT = 0,      /* 200, text/plain, a payload */
    NGX_SIO_ANSWER_BINARY,        /* 200, application/octet-stream (EIO 3) */
    NGX_SIO_ANSWER_OK,            /* 200, text/html, "ok" */
    NGX_SIO_ANSWER_BAD,           /* 400, empty */
    NGX_SIO_ANSWER_UNKNOWN,       /* 400, code 1, Session ID unknown */
    NGX_SIO_ANSWER_MISMATCH,      /* 400, code 3, Bad request */
    NGX_SIO_ANSWER_BUSY,          /* 503, empty */

    /* the layer above's */
    NGX_SIO_ANSWER_SCRIPT,        /* 200, text/plain, a payload as JSONP */
    NGX_SIO_ANSWERS
} ngx_sio_answer_e;


typedef struct {
    ngx_msec_t      ping_interval;
    ngx_msec_t      ping_timeout;
    ngx_msec_t      upgrade_timeout;
    ngx_msec_t      connect_timeout;
    size_t          max_payload;        /* octets of one body or message */
    size_t          send_buffer;        /* octets queued for one client */
    ngx_uint_t      max_attachments;
    ngx_uint_t      max_namespaces;     /* sockets of one session */
    ngx_uint_t      max_rooms;          /* of one socket; up to 65535 */
    size_t          max_name;           /* octets: namespace, event, room */
    uint64_t        event_period;       /* usec for one packet; 0: no limit */
    uint64_t        event_burst;        /* usec for those that may come at
                                           once */
    unsigned        websocket:1;        /* upgrades are offered */
    ngx_log_t      *log;                /* where, and how much, is logged */
} ngx_sio_session_conf_t;


/*
 * What the core asks of the layer above.  None of these may destroy the
 * session they are called for, except through ngx_sio_session_close().
 */
typedef struct {
    /* Answers a waiting request; body is borrowed, may be empty. */
    void        (*answer)(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
                    ngx_sio_answer_e kind, ngx_str_t *body);

    /* There is something in the WebSocket's queue. */
    void        (*ws_flush)(void *ws);

    /*
     * It is flushed soon, as the so many next, 3 to 1; called for each in
     * turn, so that what this needs from memory can be fetched in three steps.
     */
    void        (*ws_prefetch)(void *ws, ngx_uint_t away);

    /*
     * Write what is queued, then close with an empty close frame; with
     * discard the queue is dropped.  The session forgets ws after the call.
     * reason NGX_SIO_REASONS: only the probe ended, the session goes on.
     */
    void        (*ws_close)(ngx_sio_session_t *s, void *ws,
                    ngx_uint_t reason, ngx_uint_t discard);

    /* Hand over at once what has arrived on this WebSocket. */
    void        (*ws_read)(void *ws);

    /* Reading may go on after NGX_AGAIN from ngx_sio_session_receive(). */
    void        (*ws_resume)(void *ws);

    /* The session has closed; last call for it.  Frees s->data. */
    void        (*closed)(ngx_sio_session_t *s, ngx_uint_t reason);

    /*
     * A namespace has its first socket in this worker, or its last has left:
     * under which index of engine->named its sockets are counted.
     */
    ngx_uint_t  (*nsp_open)(ngx_sio_engine_t *e, ngx_str_t *nsp);
    void        (*nsp_close)(ngx_sio_engine_t *e, ngx_uint_t index);

    /* Is this namespace declared for the session? */
    ngx_uint_t  (*allowed)(ngx_sio_session_t *s, ngx_str_t *nsp);

    /*
     * A client wants to enter a namespace.  Answered, at once or later, by
     * ngx_sio_socket_accept() or ngx_sio_socket_refuse().  auth is raw JSON
     * or empty.
     */
    void        (*connect)(ngx_sio_socket_t *so, ngx_str_t *auth);

    /*
     * An event or the answer to one of ours; all borrowed.  id is the
     * client's acknowledgement id or NGX_SIO_PACKET_NO_ID.
     */
    void        (*event)(ngx_sio_socket_t *so, ngx_str_t *event,
                    ngx_str_t *args, uint64_t id, ngx_str_t *attachments,
                    ngx_uint_t n);
    void        (*ack)(ngx_sio_socket_t *so, ngx_sio_ack_t *ack,
                    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);

    /*
     * The socket ends; it is freed when this returns.  Called for every
     * socket for which connect was, accepted or not, except after refuse.
     * A socket whose restore failed may have no so->data.
     */
    void        (*disconnect)(ngx_sio_socket_t *so, ngx_uint_t reason);

    /*
     * A session moves to another worker: what the layer above keeps for each
     * socket, as octets.  restore: NGX_OK, NGX_DECLINED (they make no sense),
     * NGX_ERROR (no memory).
     */
    size_t      (*save_length)(ngx_sio_socket_t *so);
    u_char     *(*save)(ngx_sio_socket_t *so, u_char *p);
    ngx_int_t   (*restore)(ngx_sio_socket_t *so, ngx_str_t *saved);

    /*
     * A socket, or with so == NULL the session, has been saved and is freed
     * without a word.
     */
    void        (*moved)(ngx_sio_session_t *s, ngx_sio_socket_t *so);

    /* Adds ", client: ..." to a log line about s. */
    u_char     *(*log)(ngx_sio_session_t *s, u_char *buf, size_t len);
} ngx_sio_ops_t;


/* All sessions of one zone in one worker. */

struct ngx_sio_engine_s {
    const ngx_sio_ops_t    *ops;
    void                   *data;          /* the layer above's */
    uint64_t               *gauges;        /* NGX_SIO_GAUGE_... */
    uint64_t               *counters;      /* NGX_SIO_COUNT_... */
    uint32_t               *named;         /* sockets by nsp->index; none of
                                              the three is ever NULL */

    ngx_log_t               log;           /* names engine->current */
    ngx_log_t               session_log;   /* see ngx_sio_session_log() */
    ngx_sio_session_t      *current;

    ngx_rbtree_t            sessions;      /* by id */
    ngx_rbtree_node_t       sessions_sentinel;
    ngx_rbtree_t            sockets;       /* by Socket.IO id */
    ngx_rbtree_node_t       sockets_sentinel;
    ngx_rbtree_t            nsps;          /* by name */
    ngx_rbtree_node_t       nsps_sentinel;
    ngx_queue_t             all;           /* sessions, for walks */
    ngx_uint_t              nopen;         /* those that are not closing */

    ngx_queue_t             dirty;         /* sessions with new output */
    ngx_event_t             flush;         /* one for each turn */

    ngx_queue_t             pending;       /* packets whose attachments are due,
                                              the one that got something last
                                              is the last */
    size_t                  pending_size;  /* octets of them, */
    size_t                  max_pending;   /* ... beyond which the first ones
                                              are given up */
    ngx_event_t             relief;        /* does it */

    uint64_t                mark;          /* see ngx_sio_rooms_select() */
    size_t                  max_answer;    /* octets that a poll that waits
                                              elsewhere can be answered with */
};


/* indexes of engine->gauges: what there is at this moment */

enum {
    NGX_SIO_GAUGE_POLLING = 0,             /* sessions, by transport: */
    NGX_SIO_GAUGE_WEBSOCKET,               /* the same order as in counters */
    NGX_SIO_GAUGE_CORE                     /* first index of the layer above */
};


/* What one client may have, do or say; see ngx_sio_session_conf_t. */

typedef enum {
    NGX_SIO_LIMIT_EVENT_RATE = 0,
    NGX_SIO_LIMIT_NAMESPACES,
    NGX_SIO_LIMIT_ROOMS,
    NGX_SIO_LIMIT_NAME,
    NGX_SIO_LIMIT_UNFINISHED,              /* of all clients together */
    NGX_SIO_LIMITS
} ngx_sio_limit_e;


/* indexes of engine->counters: what only grows */

enum {
    NGX_SIO_COUNT_OPENED = 0,              /* sessions, by transport */
    NGX_SIO_COUNT_UPGRADED = 2,
    NGX_SIO_COUNT_CLOSED,                  /* sessions, by reason */
    NGX_SIO_COUNT_ACCEPTED = NGX_SIO_COUNT_CLOSED + NGX_SIO_REASONS,
                                           /* sockets */
    NGX_SIO_COUNT_PACKETS_IN,              /* of Engine.IO */
    NGX_SIO_COUNT_PACKETS_OUT,             /* sent, or queued to be */
    NGX_SIO_COUNT_BYTES_IN,                /* by transport; the layer above */
    NGX_SIO_COUNT_BYTES_OUT = NGX_SIO_COUNT_BYTES_IN + 2,   /* counts them */
    NGX_SIO_COUNT_LIMITS = NGX_SIO_COUNT_BYTES_OUT + 2,     /* met, by limit */
    NGX_SIO_COUNT_CORE = NGX_SIO_COUNT_LIMITS + NGX_SIO_LIMITS
                                           /* first index of the layer above */
};


typedef struct ngx_sio_session_state_s  ngx_sio_session_state_t;


/* A packet whose attachments are still coming. */

typedef struct {
    ngx_queue_t             queue;         /* in engine->pending */
    ngx_sio_session_t      *session;
    size_t                  size;          /* octets, of all of it */
    ngx_str_t               text;          /* allocated with this */
    ngx_str_t              *attachments;   /* each allocated */
    ngx_uint_t              n;             /* due */
    ngx_uint_t              got;
} ngx_sio_pending_t;


/* Packets of a POST that came while the backend had enough to do. */

typedef struct {
    ngx_uint_t              form;          /* ngx_sio_eio_form_e */
    ngx_str_t               body;          /* what is left; data is within the
                                              allocation of this */
} ngx_sio_rest_t;


struct ngx_sio_session_s {

    /* what every message to it touches comes first, and together */

    ngx_sio_engine_t               *engine;
    const ngx_sio_session_conf_t   *conf;
    const ngx_sio_session_state_t  *state;
    ngx_sio_out_t                  *out;         /* the queue in charge */
    void                           *ws;          /* WebSocket, or NULL */
    ngx_queue_t                     dirty;       /* engine->dirty if is_dirty */

    uint32_t                        refs;
    uint16_t                        paused;      /* reasons not to read it */
    uint16_t                        nsockets;
    unsigned                        revision:3;  /* 3 or 4 */
    unsigned                        b64:1;       /* no binary on the wire */
    unsigned                        is_dirty:1;
    unsigned                        probed:1;    /* "2probe" was answered */
    unsigned                        extended:1;  /* pong_due was, once */
    unsigned                        post_done:1; /* post has been processed */
    unsigned                        upgrading:1; /* "5" came, a POST is to be
                                                    finished first */
    unsigned                        left:1;      /* LINGER: the client sent
                                                    the close packet */
    unsigned                        greet:1;     /* EIO 3: "/" is to be entered
                                                    without being asked */
    unsigned                        slow:1;      /* over its send buffer */
    unsigned                        failed:1;    /* no memory for its output */
    unsigned                        closing:1;   /* sockets are being ended */
    unsigned                        reason:5;    /* why; PROBING goes on, or
                                                    LINGER */
    unsigned                        carried:1;   /* by a WebSocket, at last */
    unsigned                        held:1;      /* too fast, and counted in
                                                    paused */
    unsigned                        hasty:1;     /* that was logged */

    uint64_t                        packets_out;
    uint64_t                        packets_in;
    ngx_sio_rest_t                 *rest;        /* of the POST that waits for
                                                    its answer, or NULL */

    ngx_rbtree_node_t               node;        /* engine->sessions, by sid, */
    u_char                          sid[NGX_SIO_SID_LEN];  /* right behind */
    ngx_queue_t                     all;         /* engine->all */
    ngx_queue_t                     sockets;     /* ngx_sio_socket_t.link */
    void                           *data;        /* the layer above's */
    void                           *note;        /* likewise: NULL, or allocated
                                                    and freed with this */

    ngx_sio_out_t                   own;         /* queue while polling */
    ngx_sio_out_t                  *ws_out;      /* queue of ws */
    ngx_sio_pending_t              *pending;     /* attachments due, or NULL */

    ngx_sio_waiter_t                poll;        /* a GET that waits */
    ngx_sio_waiter_t                post;        /* a POST in its body, or
                                                    whose answer we keep back */

    ngx_event_t                     timer;       /* not cancelable: the worker
                                                    lives for its sessions */
    ngx_msec_t                      ping_due;    /* send a ping; 0: no */
    ngx_msec_t                      pong_due;    /* give up;  0: no */
    ngx_msec_t                      state_due;   /* end of PROBING, LINGER */
    ngx_msec_t                      connect_due; /* 0: a namespace was joined */
    uint64_t                        event_time;  /* usec: when all that came
                                                    would have come at the
                                                    rate that is allowed */
};


/*
 * NGX_ERROR: no memory.  Where to count is the caller's to set, before the
 * first session, and to change at any time; the memory outlives the engine.
 */
ngx_int_t ngx_sio_engine_init(ngx_sio_engine_t *e, const ngx_sio_ops_t *ops,
    void *data, ngx_log_t *log);

/* Closes every session, with reason. */
void ngx_sio_engine_close(ngx_sio_engine_t *e, ngx_uint_t reason);

/* How many are open here. */
ngx_uint_t ngx_sio_engine_open(ngx_sio_engine_t *e);

/* Closes so many of those that are open, the oldest first. */
void ngx_sio_engine_part(ngx_sio_engine_t *e, ngx_uint_t n,
    ngx_uint_t reason);


/*
 * Opens a session.  sid is its id; revision 3 or 4; with b64 binary is never
 * sent raw.  Without a WebSocket the caller answers the handshake with
 * ngx_sio_session_open(); else it calls ngx_sio_session_attach() next.
 * NULL: no memory.
 */
ngx_sio_session_t *ngx_sio_session_create(ngx_sio_engine_t *e,
    const ngx_sio_session_conf_t *conf, u_char *sid, ngx_uint_t revision,
    ngx_uint_t b64, void *data);

ngx_sio_session_t *ngx_sio_session_find(ngx_sio_engine_t *e, u_char *sid);

/*
 * The open packet, "0{...}", as a message whose POLL, POLL3 and WS forms are
 * what a handshake is answered with.  The caller has the reference.
 */
ngx_sio_msg_t *ngx_sio_session_open(ngx_sio_session_t *s);

/*
 * A session that begins on a WebSocket: out is the queue of that WebSocket
 * (its form is set here) and the open packet is put into it.
 * NGX_ERROR: no memory; close the session.
 */
ngx_int_t ngx_sio_session_attach(ngx_sio_session_t *s, void *ws,
    ngx_sio_out_t *out);

/*
 * A WebSocket for a session that polls; b64 as in the WebSocket's own URL.
 *
 *   NGX_OK        PROBING; feed it with ngx_sio_session_receive()
 *   NGX_DECLINED  the session upgrades already or has: accept the WebSocket
 *                 and close it at once, the session is untouched
 */
ngx_int_t ngx_sio_session_probe(ngx_sio_session_t *s, void *ws,
    ngx_sio_out_t *out, ngx_uint_t b64);

/*
 * One WebSocket message, complete.
 *
 *   NGX_OK     go on
 *   NGX_AGAIN  taken; read no further until ops->ws_resume
 *   NGX_DONE   ws has been closed through ops->ws_close meanwhile
 */
ngx_int_t ngx_sio_session_receive(ngx_sio_session_t *s, void *ws,
    ngx_uint_t binary, ngx_str_t *data);

/*
 * The WebSocket ended by itself: reason TRANSPORT_CLOSE (peer closed) or
 * TRANSPORT_ERROR (protocol or I/O error).  The session closes, or returns
 * to polling when it was probing.
 */
void ngx_sio_session_ws_gone(ngx_sio_session_t *s, void *ws,
    ngx_uint_t reason);

/*
 * Polling requests that carry the session's id, from this worker or another.
 * revision is the request's EIO.  Each waiter is answered exactly once through
 * ops->answer, at once or later; post_begin announces a body that is not
 * complete yet, post follows, or abort.  octets: the content type was
 * exactly application/octet-stream.  body NULL: what came means nothing.
 * One that waits already is said again, and goes on to wait.
 */
void ngx_sio_session_poll(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision);
void ngx_sio_session_post_begin(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision);
void ngx_sio_session_post(ngx_sio_session_t *s, ngx_sio_waiter_t *w,
    ngx_uint_t revision, ngx_uint_t octets, ngx_str_t *body);

/*
 * A request that was begun does without its body (413): the session stays as
 * it is, lets go of the request, and answers OK.
 */
void ngx_sio_session_post_refused(ngx_sio_session_t *s, ngx_sio_waiter_t *w);

/* The client left a request: the session closes, "transport error". */
void ngx_sio_session_abort(ngx_sio_session_t *s, ngx_sio_waiter_t *w);

/*
 * Queues a message (shared) for the client; it leaves at the end of the
 * turn.  A volatile one may be dropped, a client over its send buffer is
 * closed soon.
 */
void ngx_sio_session_send(ngx_sio_session_t *s, ngx_sio_msg_t *msg);

/* A message for the client could not be made: it is closed soon. */
void ngx_sio_session_fail(ngx_sio_session_t *s);

/*
 * Ends the session and all its sockets.  When the server's side wants it
 * (FORCED_CLOSE, FORCED_SERVER_CLOSE, SERVER_DISCONNECT) what is queued still
 * reaches the client, if need be with its next poll; failures of the
 * connection do not wait.
 */
void ngx_sio_session_close(ngx_sio_session_t *s, ngx_uint_t reason);

/* disconnect(true): a DISCONNECT packet to each namespace, then the end. */
void ngx_sio_session_kick(ngx_sio_session_t *s);

/* The backend has too much, or no longer too much, to do; calls are counted. */
void ngx_sio_session_pause(ngx_sio_session_t *s);
void ngx_sio_session_resume(ngx_sio_session_t *s);

/*
 * For a message about a session, which should be engine->current: the log of
 * its location.  It is one for all, so pass it on at once.
 */
ngx_log_t *ngx_sio_session_log(ngx_sio_session_t *s);

/* "polling" or "websocket". */
ngx_str_t *ngx_sio_session_transport(ngx_sio_session_t *s);

#define ngx_sio_session_ref(s)  ((s)->refs++)
void ngx_sio_session_unref(ngx_sio_session_t *s);


/*
 * Moving to another worker.  save writes all of the session, its sockets,
 * rooms, queue and waiters; then ngx_sio_session_moved() frees it silently.  A
 * session can be saved while POLLING only.
 * restore opens it again: NGX_OK; NGX_DECLINED when the octets make no sense,
 * NGX_ERROR without memory (then nothing is left behind).
 */
ngx_uint_t ngx_sio_session_movable(ngx_sio_session_t *s);
ngx_int_t ngx_sio_session_keep(ngx_sio_session_t *s, ngx_str_t *body,
    ngx_uint_t form);
size_t ngx_sio_session_save_length(ngx_sio_session_t *s);
u_char *ngx_sio_session_save(ngx_sio_session_t *s, u_char *p);
void ngx_sio_session_moved(ngx_sio_session_t *s);
ngx_int_t ngx_sio_session_restore(ngx_sio_engine_t *e,
    const ngx_sio_session_conf_t *conf, void *data, ngx_str_t *saved,
    ngx_sio_session_t **sp);

/*
 * With its octets a session goes from one worker's polling gauge to the other's,
 * for which neither of these has done anything.  restore() counts as closed
 * what it does not restore; here so does who cannot come to call it.
 */
void ngx_sio_session_missed(ngx_sio_engine_t *e);

/*
 * Of a session that cannot be restored: its id, NGX_SIO_SID_LEN octets, and
 * two requests that wait, or do not.  NGX_OK, NGX_DECLINED: no sense.
 */
ngx_int_t ngx_sio_session_waiters(ngx_str_t *saved, u_char *sid,
    ngx_sio_waiter_t *waiters);

/* its two ends: give up half-way, or begin to serve */
void ngx_sio_session_drop(ngx_sio_session_t *s);
void ngx_sio_session_restored(ngx_sio_session_t *s);


#endif /* _NGX_SIO_SESSION_H_INCLUDED_ */
