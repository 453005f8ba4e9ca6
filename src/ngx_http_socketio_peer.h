/*
 * What the files ngx_http_socketio_backend*.c share: the peer of a socket.
 *
 *       no connect webhook               client leaves
 *      ------------------> OPEN -----------------------+
 *                           ^                          |
 *              accepted     |                          v     answered
 *      --> CONNECTING ------+      ABANDONED ------> ENDING ---------> freed
 *             |   |  client leaves   ^   |   accepted
 *             |   +------------------+   |
 *             |     refused, failed      |
 *             +--------------------------+---------------------------> freed
 *
 *      MOVED: the socket is another worker's now, from OPEN or CONNECTING;
 *      the peer stays for the outcome that it has promised to pass on, and
 *      is ENDING or ABANDONED again if that worker dies before.
 *
 * Layer:      top.
 * Ownership:  a peer belongs to its socket, and after that to its flight;
 *             flights and items belong to their peer.
 * Hostile:    see ngx_http_socketio_backend.h.
 */


#ifndef _NGX_HTTP_SOCKETIO_PEER_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_PEER_H_INCLUDED_


#include "ngx_http_socketio_backend.h"
#include "ngx_http_socketio_hook.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_http_socketio_parse.h"


#define NGX_HTTP_SOCKETIO_MAX_STATE  4096    /* octets of JSON */


typedef struct ngx_http_socketio_peer_s  ngx_http_socketio_peer_t;
typedef struct ngx_http_socketio_item_s  ngx_http_socketio_item_t;


typedef enum {
    NGX_HTTP_SOCKETIO_PEER_CONNECTING = 0,
    NGX_HTTP_SOCKETIO_PEER_OPEN,
    NGX_HTTP_SOCKETIO_PEER_ABANDONED,
    NGX_HTTP_SOCKETIO_PEER_ENDING,
    NGX_HTTP_SOCKETIO_PEER_MOVED,
    NGX_HTTP_SOCKETIO_PEER_STATES
} ngx_http_socketio_peer_state_e;


/* What is to become a webhook: borrowed strings, or one allocation. */

struct ngx_http_socketio_item_s {
    ngx_http_socketio_item_t     *next;
    ngx_uint_t                    type;        /* ..._webhook_e */
    uint64_t                      id;          /* EVENT: the client waits for
                                                  an answer of this id, or
                                                  NGX_SIO_PACKET_NO_ID */
    ngx_str_t                     event;       /* EVENT: raw string or number */
    ngx_str_t                     args;        /* EVENT, ACK: what is inside the
                                                  brackets; CONNECT: the auth
                                                  object, or empty */
    ngx_str_t                     token;       /* ACK */
    ngx_str_t                    *attachments; /* octets */
    ngx_uint_t                    nattachments;
    size_t                        size;        /* of the allocation */
};


/* A webhook under way, here or in the worker that the socket came from. */

typedef struct {
    ngx_http_socketio_hook_t      hook;        /* unless remote */
    ngx_http_socketio_ctx_t       ctx;
    ngx_http_socketio_peer_t     *peer;
    ngx_uint_t                    type;
    uint64_t                      id;          /* as in the item */
    uint32_t                      seq;
    unsigned                      remote:1;
    unsigned                      lost:1;      /* MOVED: the outcome will never
                                                  be known */
    ngx_sio_hub_addr_t            from;        /* remote: who passes the outcome
                                                  on to us */
    ngx_sio_hub_addr_t            to;          /* MOVED: whom to pass it to */
    ngx_str_t                     event;       /* the name, allocated with
                                                  this, or if remote alone */
    ngx_str_t                     reply;       /* the outcome, while it waits
                                                  for room in the log */
} ngx_http_socketio_flight_t;


/* There is one for every idle client: its size matters. */

struct ngx_http_socketio_peer_s {
    ngx_queue_t                   queue;       /* of flights, remotes, holds
                                                  or stalls; next NULL: none */
    ngx_http_socketio_worker_t   *worker;
    ngx_sio_socket_t             *socket;      /* NULL: has ended or moved */
    ngx_http_socketio_origin_t   *origin;      /* shared */
    ngx_sio_session_t            *session;     /* shared: that has left the
                                                  socket and goes on, or NULL */
    ngx_http_socketio_flight_t   *flight;      /* NULL: nothing is under way */

    ngx_http_socketio_item_t     *inbox;       /* what waits, oldest first */
    ngx_http_socketio_item_t    **inbox_last;
    size_t                        inbox_size;  /* octets */
    uint32_t                      inbox_n;

    uint32_t                      seq;         /* of the next webhook */
    uint64_t                      journal;     /* record; 0: none */
    ngx_str_t                     user;        /* allocated, may be empty */
    ngx_str_t                     memo;        /* the application's "state": raw
                                                  object, allocated, or empty */
    unsigned                      state:3;     /* ..._peer_state_e */
    unsigned                      websocket:1; /* transport at the end */
    unsigned                      reason:8;    /* ABANDONED, ENDING */

    u_char                        sid[NGX_SIO_SOCKET_SID_LEN];
    uint16_t                      nsp_len;
    u_char                        nsp[1];      /* nsp_len octets */
};


#define ngx_http_socketio_peer_lcf(peer)                                      \
    ((ngx_http_socketio_loc_conf_t *)                                         \
         (peer)->origin->loc_conf[ngx_http_socketio_module.ctx_index])

/* whether the location wants webhooks of a type: NGX_HTTP_SOCKETIO_EVENT ... */
#define ngx_http_socketio_peer_wants(lcf, bit)                                \
    ((lcf)->webhook != NULL && ((lcf)->webhook_events & (bit)))


/* ngx_http_socketio_backend.c */

/* Nothing is linked to it yet; state CONNECTING.  NULL: no memory. */
ngx_http_socketio_peer_t *ngx_http_socketio_backend_create(
    ngx_http_socketio_worker_t *w, ngx_http_socketio_origin_t *origin,
    u_char *sid, ngx_str_t *nsp);

/* Forgets the peer with all it has; a journal record stays. */
void ngx_http_socketio_backend_free(ngx_http_socketio_peer_t *peer);

/*
 * The same with its record: it was not, or is no longer, accepted, and nobody
 * hears of it again.
 */
void ngx_http_socketio_backend_discard(ngx_http_socketio_peer_t *peer);

/* NULL: no memory. */
ngx_http_socketio_flight_t *ngx_http_socketio_backend_flight(
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_item_t *item);

/* Enters a flight whose outcome another worker will send. */
void ngx_http_socketio_backend_remote(ngx_http_socketio_flight_t *flight);

/* What was under way is so no longer: frees the flight, if there is one. */
void ngx_http_socketio_backend_land(ngx_http_socketio_peer_t *peer);

/* Puts an item (takes it) behind those that wait. */
void ngx_http_socketio_backend_push(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item);

/* NULL: no memory. */
ngx_http_socketio_item_t *ngx_http_socketio_backend_copy(
    ngx_http_socketio_item_t *item, ngx_log_t *log);

void ngx_http_socketio_backend_drop_inbox(ngx_http_socketio_peer_t *peer);

/* The socket is not read while too much waits. */
void ngx_http_socketio_backend_pressure(ngx_http_socketio_peer_t *peer);

/* Sends what is next, if nothing is under way; may free the peer. */
void ngx_http_socketio_backend_next(ngx_http_socketio_peer_t *peer);

/* Puts it into one of the queues below, or into none. */
void ngx_http_socketio_backend_link(ngx_http_socketio_peer_t *peer,
    ngx_queue_t *queue);
void ngx_http_socketio_backend_unlink(ngx_http_socketio_peer_t *peer);

/* The worker's first peer in a queue, or the next behind peer; NULL: none. */
ngx_http_socketio_peer_t *ngx_http_socketio_backend_each(ngx_queue_t *queue,
    ngx_http_socketio_worker_t *w, ngx_http_socketio_peer_t *peer);

/* Tries again soon what memory, or room in the log, was missing for. */
void ngx_http_socketio_backend_stall(ngx_http_socketio_peer_t *peer);

/* A log, valid until the next call, that names the client. */
ngx_log_t *ngx_http_socketio_backend_log(ngx_http_socketio_peer_t *peer);

/* Peers whose webhook is in flight here, or in other workers. */
extern ngx_queue_t  ngx_http_socketio_backend_flights;
extern ngx_queue_t  ngx_http_socketio_backend_remotes;

/* Peers whose webhook was answered, but the log was full. */
extern ngx_queue_t  ngx_http_socketio_backend_holds;

/* Peers that are tried again. */
extern ngx_queue_t  ngx_http_socketio_backend_stalls;

/* ngx_http_socketio_backend_outcome.c */

/* For the hook of a flight, which is its data. */
void ngx_http_socketio_backend_outcome(ngx_http_socketio_hook_t *hook,
    ngx_http_socketio_hook_result_t *result);

/*
 * The same for what must have been understood.  What cannot be read may come
 * from somebody who stands in for the backend.
 */
ngx_uint_t ngx_http_socketio_backend_outcome_readable(void *data,
    ngx_str_t *body);

/*
 * The flight has come to its end; may free the peer.  A reply is not begun
 * while the log is full: it waits, with the flight, for backend_room().
 */
void ngx_http_socketio_backend_finish(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result);

/* Frees a peer whose end another worker tells; its client has to go. */
void ngx_http_socketio_backend_forget(ngx_http_socketio_peer_t *peer);

/*
 * A connect came to nothing: frees the peer and closes its session, since
 * clients try again after that, but not after CONNECT_ERROR.
 */
void ngx_http_socketio_backend_failed(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result);


/* ngx_http_socketio_backend_body.c */

/* The JSON of a webhook, allocated.  NGX_OK; NGX_ERROR: no memory. */
ngx_int_t ngx_http_socketio_backend_body(ngx_http_socketio_flight_t *flight,
    ngx_http_socketio_item_t *item, ngx_str_t *body);


/* ngx_http_socketio_backend_reply.c */

enum {
    NGX_HTTP_SOCKETIO_REPLY_ERROR = 0,
    NGX_HTTP_SOCKETIO_REPLY_MESSAGE,
    NGX_HTTP_SOCKETIO_REPLY_DATA,
    NGX_HTTP_SOCKETIO_REPLY_STATE,
    NGX_HTTP_SOCKETIO_REPLY_USER,
    NGX_HTTP_SOCKETIO_REPLY_LEAVE,
    NGX_HTTP_SOCKETIO_REPLY_JOIN,
    NGX_HTTP_SOCKETIO_REPLY_EMIT,
    NGX_HTTP_SOCKETIO_REPLY_ACK,
    NGX_HTTP_SOCKETIO_REPLY_ATTACHMENTS,
    NGX_HTTP_SOCKETIO_REPLY_DISCONNECT,
    NGX_HTTP_SOCKETIO_REPLY_MEMBERS
};

typedef struct {
    ngx_http_socketio_peer_t     *peer;
    ngx_http_socketio_parse_t     parse;
    ngx_str_t                     members[NGX_HTTP_SOCKETIO_REPLY_MEMBERS];
} ngx_http_socketio_reply_t;

/*
 * Takes a reply's body apart; it is borrowed until done().
 *
 *   NGX_OK        reply->members has what there is; an empty body has nothing
 *   NGX_DECLINED  not an object in JSON; reply->parse.error says more
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_socketio_backend_reply_init(
    ngx_http_socketio_reply_t *reply, ngx_http_socketio_peer_t *peer,
    ngx_str_t *body);
void ngx_http_socketio_backend_reply_done(ngx_http_socketio_reply_t *reply);

/* Whether it says that the application refuses. */
ngx_uint_t ngx_http_socketio_backend_reply_error(
    ngx_http_socketio_reply_t *reply);

/* Why: what CONNECT_ERROR is to say.  data is raw JSON, or empty. */
void ngx_http_socketio_backend_reply_refusal(
    ngx_http_socketio_reply_t *reply, ngx_uint_t status, ngx_str_t *message,
    ngx_str_t *data);

/* Takes "state" and "user" over, also into the journal. */
void ngx_http_socketio_backend_reply_memo(ngx_http_socketio_reply_t *reply);

/*
 * Does the rest, in the documented order.  The socket may end in it; what is
 * for others is done also for a socket that has ended.
 */
void ngx_http_socketio_backend_reply_apply(ngx_http_socketio_reply_t *reply);


/* ngx_http_socketio_backend_move.c */

/* Passes the outcome of a MOVED peer's flight on and frees it, or stalls it. */
void ngx_http_socketio_backend_pass(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result);
void ngx_http_socketio_backend_pass_again(ngx_http_socketio_peer_t *peer);

/* Copies an outcome to flight->reply.  NGX_OK; NGX_ERROR: no memory. */
ngx_int_t ngx_http_socketio_backend_keep(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result);

/* What was kept, borrowed; false: nothing was. */
ngx_uint_t ngx_http_socketio_backend_kept(ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_hook_result_t *result);


/* ngx_http_socketio_backend_journal.c */

/*
 * Makes the peer's record, or brings it up to date.
 *
 *   NGX_OK        done, or the peer is too long to have one (logged)
 *   NGX_ERROR     the zone is full (logged); a record that was there stays
 */
ngx_int_t ngx_http_socketio_backend_journal_write(
    ngx_http_socketio_peer_t *peer);

/* Brings the number of its next webhook up to date in its record. */
void ngx_http_socketio_backend_journal_count(ngx_http_socketio_peer_t *peer);
void ngx_http_socketio_backend_journal_remove(ngx_http_socketio_peer_t *peer);

/*
 * Gives the record to the worker that the socket, or the outcome of its
 * webhook, has been sent to.
 *
 *   NGX_OK        whoever has it now tells the end
 *   NGX_DECLINED  that worker has died before it could: the end is ours to tell
 */
ngx_int_t ngx_http_socketio_backend_journal_give(
    ngx_http_socketio_peer_t *peer, ngx_sio_hub_addr_t to);

/*
 * Takes the record from a worker that is no member any more, or from this one,
 * so that nobody else can have it.
 *
 *   NGX_OK        the end is ours to tell
 *   NGX_DECLINED  somebody else has it
 */
ngx_int_t ngx_http_socketio_backend_journal_recall(
    ngx_http_socketio_peer_t *peer, ngx_sio_hub_addr_t from);

/*
 * The other half, when what was sent is here; the sender may have died before
 * its own.
 *
 *   NGX_OK        the record is ours
 *   NGX_DECLINED  somebody who found it tells the end, or has done so
 */
ngx_int_t ngx_http_socketio_backend_journal_claim(
    ngx_http_socketio_peer_t *peer, ngx_sio_hub_addr_t from);


#endif /* _NGX_HTTP_SOCKETIO_PEER_H_INCLUDED_ */
