/*
 * The bridge: the one worker of a host that serves its message queues.
 *
 * Layer:      top; introduces queue, hub and formats to each other.
 * Ownership:  each worker of a zone with queues has one, idle in all but one;
 *             lines belong to it.  Messages are borrowed in the call.
 * Hostile:    whoever can write to a queue.
 * Reference:  architecture.md 2; ngx_sio_bridge.h for what outlives it.
 *
 *               took the lease
 *     IDLE ------------------------------> SERVING ---+
 *      |                                      ^       | another one follows,
 *      | the holder wants to leave            |       | all is confirmed
 *      +-------> FOLLOWING -------------------+       v
 *                  handed the lease                  IDLE
 *
 * A follower subscribes first and publishes a mark, which both read in the
 * same order as everything else: the old one goes on up to it, the new one
 * begins behind it.  So a message is neither lost nor taken twice.  Both hold
 * what is behind the mark until the lease is handed, or one of them has died.
 */


#ifndef _NGX_HTTP_SOCKETIO_BRIDGE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_BRIDGE_H_INCLUDED_


#include "ngx_http_socketio_letter.h"
#include "ngx_http_socketio_worker.h"
#include "ngx_http_socketio_wire.h"
#include "ngx_sio_queue.h"


typedef struct ngx_http_socketio_bridge_s  ngx_http_socketio_bridge_t;
typedef struct ngx_http_socketio_line_s    ngx_http_socketio_line_t;
typedef struct ngx_http_socketio_format_s  ngx_http_socketio_format_t;
typedef struct ngx_http_socketio_remote_s  ngx_http_socketio_remote_t;


typedef enum {
    NGX_HTTP_SOCKETIO_BRIDGE_IDLE = 0,
    NGX_HTTP_SOCKETIO_BRIDGE_FOLLOWING,
    NGX_HTTP_SOCKETIO_BRIDGE_SERVING
} ngx_http_socketio_bridge_state_e;


/* why a message is refused, for statistics; in the order of their names */

typedef enum {
    NGX_HTTP_SOCKETIO_BRIDGE_MALFORMED = 0,
    NGX_HTTP_SOCKETIO_BRIDGE_CODE,
    NGX_HTTP_SOCKETIO_BRIDGE_LARGE,
    NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
    NGX_HTTP_SOCKETIO_BRIDGE_HOST
} ngx_http_socketio_bridge_reason_e;


/* "socketio_message_queue" */

typedef struct ngx_http_socketio_queue_s {
    ngx_sio_queue_url_t                 url;
    ngx_str_t                           channel;
    const ngx_http_socketio_format_t   *format;
    ngx_uint_t                          dialect;   /* of python */
    ngx_uint_t                          forward;   /* between its servers and
                                                      those of other queues */
    ngx_sio_queue_conf_t                conf;
    uint64_t                            key;       /* what it is known by, */
    ngx_str_t                           label;     /* ... and shown as */
} ngx_http_socketio_queue_t;


/* What servers of another kind say and understand. */

struct ngx_http_socketio_format_s {
    ngx_str_t    name;
    ngx_str_t    channel;                          /* default */

    /* Makes line->foreign, and subscribes.  NGX_OK, NGX_ERROR. */
    ngx_int_t  (*open)(ngx_http_socketio_line_t *line);
    void       (*close)(ngx_http_socketio_line_t *line);

    /*
     * Publishes the n-th message that this command is in this format, from 0.
     *
     *   NGX_OK        there may be another
     *   NGX_DONE      there is none with this number
     *   NGX_AGAIN     not now; nothing was published
     */
    ngx_int_t  (*publish)(ngx_http_socketio_line_t *line,
                   ngx_http_socketio_command_t *cmd, ngx_uint_t n);

    /* A message from a channel of its own has come. */
    void       (*message)(ngx_http_socketio_line_t *line, ngx_str_t *pattern,
                   ngx_str_t *channel, ngx_str_t *payload);

    /* ngx_sio_queue_count() has an answer; NULL: never asks. */
    void       (*counted)(ngx_http_socketio_line_t *line, uint64_t tag,
                   ngx_uint_t n);

    /* Twice a second, while it is up; NULL: not needed. */
    void       (*tick)(ngx_http_socketio_line_t *line);

    /*
     * Whether publishing a command will have one further result, of servers
     * that are asked; NULL: never.
     */
    ngx_uint_t (*asks)(ngx_http_socketio_line_t *line,
                   ngx_http_socketio_command_t *cmd);
};


/* A queue at work. */

struct ngx_http_socketio_line_s {
    ngx_http_socketio_bridge_t         *bridge;
    ngx_http_socketio_queue_t          *conf;
    ngx_sio_queue_t                    *queue;
    ngx_sio_bridge_line_t              *kept;      /* in the zone */
    void                               *foreign;   /* of the format */

    ngx_str_t                           all;       /* channels of hosts */
    ngx_str_t                           own;

    uint64_t                            position;  /* in the log */
    uint64_t                            next;      /* ordinal to be shipped */
    ngx_uint_t                          stage;     /* messages of it that went
                                                      out */
    ngx_http_socketio_letter_box_t      outbox;    /* before all that */
    ngx_http_socketio_letter_box_t      held;      /* read behind a mark */
    ngx_http_socketio_letter_box_t      delayed;   /* for hosts that may not
                                                      listen yet; the pattern
                                                      is the host's id */
    u_char                              heard[NGX_SIO_BRIDGE_PEERS];
                                                   /* flags: since it is up */

    ngx_msec_t                          spoke;     /* when we said ALIVE, */
    ngx_msec_t                          echoed;    /* ... and heard it */
    ngx_msec_t                          slow;      /* when the delay was that
                                                      in kept */
    ngx_msec_t                          spoken;    /* when anybody said that
                                                      it speaks for the line */

    ngx_queue_t                         waiting;   /* emits of others, for */
    ngx_uint_t                          nwaiting;  /* acknowledgements */

    uint64_t                            oversized; /* refused by the queue */
    time_t                              warned;    /* of refused messages */
    uint64_t                            spilled;   /* that "held" had no room
                                                      for */

    unsigned                            forwards:1; /* can speak for others */
    unsigned                            up:1;
    unsigned                            marked:1;  /* our mark has come */
    unsigned                            behind:1;  /* we serve, and it has not:
                                                      what is before it was for
                                                      the one before us */
    unsigned                            stopped:1; /* the follower's has */
};


struct ngx_http_socketio_bridge_s {
    ngx_http_socketio_worker_t         *worker;
    ngx_sio_bridge_t                   *kept;      /* in the zone */
    ngx_uint_t                          state;
    ngx_sio_hub_addr_t                  followed;  /* the holder, while
                                                      following */
    ngx_http_socketio_line_t           *lines;
    ngx_uint_t                          nlines;    /* open ones */
    ngx_array_t                        *queues;    /* the zone's */
    ngx_http_socketio_remote_t         *remote;    /* other hosts' requests */

    ngx_connection_t                    dummy;     /* for the events below */
    ngx_event_t                         pump;      /* posted when there is to
                                                      be sent */
    ngx_event_t                         tick;
    ngx_sio_hub_addr_t                  follower;  /* whose marks stop lines,
                                                      while leaving */
    ngx_msec_t                          stopped;   /* since when all are; 0: not
                                                      all are */
    ngx_msec_t                          orphaned;  /* since when nobody serves,
                                                      as seen here; 0: someone
                                                      does */
    ngx_msec_t                          asked[NGX_SIO_BRIDGE_PEERS];
                                                   /* RESEND, when */
    ngx_msec_t                          since;     /* leaving */
    time_t                              ticked;    /* while serving */
    unsigned                            leaving:1;
};


/*
 * For each worker of a zone with queues; NULL: no memory.  destroy gives the
 * lease away.
 */
ngx_http_socketio_bridge_t *ngx_http_socketio_bridge_create(
    ngx_http_socketio_worker_t *w);
void ngx_http_socketio_bridge_destroy(ngx_http_socketio_bridge_t *b);

/* Who serves has changed; it wants to leave, so it is worth a look soon. */
void ngx_http_socketio_bridge_elect(ngx_http_socketio_bridge_t *b);
void ngx_http_socketio_bridge_look(ngx_http_socketio_bridge_t *b);

/*
 * In a bridge that leaves: a mark of this follower has come, or none
 * (generation 0) follows any more.
 */
void ngx_http_socketio_bridge_followed(ngx_http_socketio_bridge_t *b,
    ngx_sio_hub_addr_t follower);

/* There is an entry to be shipped, or what is waited for may have come. */
void ngx_http_socketio_bridge_wake(ngx_http_socketio_bridge_t *b);

/* A worker has died; this one wants to finish. */
void ngx_http_socketio_bridge_down(ngx_http_socketio_bridge_t *b,
    ngx_sio_hub_addr_t dead);
void ngx_http_socketio_bridge_drain(ngx_http_socketio_bridge_t *b);

/*
 * Whether a worker that could end is still needed: what servers of another kind
 * say is heard by nobody until another one follows.
 */
ngx_uint_t ngx_http_socketio_bridge_busy(ngx_http_socketio_bridge_t *b);

/*
 * Publishes the parts as one message, now or as soon as the line is up and has
 * room, in order, before entries.  NGX_DECLINED: too much waits.
 */
ngx_int_t ngx_http_socketio_bridge_send(ngx_http_socketio_line_t *line,
    ngx_str_t *channel, ngx_str_t *parts, ngx_uint_t nparts);

/*
 * Publishes it for one host, not before that was heard since the line is up:
 * what is said to somebody who has yet to subscribe is lost.  NGX_DECLINED:
 * too much waits, or there is no such host.
 */
ngx_int_t ngx_http_socketio_bridge_send_to(ngx_http_socketio_line_t *line,
    u_char *host, ngx_str_t *channel, ngx_str_t *parts, ngx_uint_t nparts);

/* A message of that host has come; it is a new one. */
void ngx_http_socketio_bridge_heard(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer);
void ngx_http_socketio_bridge_met(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer);

/*
 * A line by which a host, as its id says, was heard, one that is up if
 * possible; or NULL.
 */
ngx_http_socketio_line_t *ngx_http_socketio_bridge_line(
    ngx_http_socketio_bridge_t *b, u_char *host);

/* Whether what comes by this line now is for this worker. */
#define ngx_http_socketio_bridge_takes(line)                                  \
    ((line)->bridge->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING                \
     && !(line)->behind)

/* Whether all lines are up; in the bridge. */
ngx_uint_t ngx_http_socketio_bridge_whole(ngx_http_socketio_bridge_t *b);

extern const ngx_str_t
    ngx_http_socketio_bridge_reasons[NGX_SIO_BRIDGE_REASONS];

/* A message was refused; logged once a minute, with the words. */
void ngx_http_socketio_bridge_refused(ngx_http_socketio_line_t *line,
    ngx_http_socketio_bridge_reason_e reason, const char *words);

/* Whether this worker is the bridge. */
ngx_uint_t ngx_http_socketio_bridge_serves(ngx_http_socketio_worker_t *w);

/* How many lines will have a further result of a command. */
ngx_uint_t ngx_http_socketio_bridge_asks(ngx_http_socketio_bridge_t *b,
    ngx_http_socketio_command_t *cmd);

/* Hosts that were heard lately, without this one. */
ngx_uint_t ngx_http_socketio_bridge_hosts(ngx_http_socketio_worker_t *w);


#endif /* _NGX_HTTP_SOCKETIO_BRIDGE_H_INCLUDED_ */
