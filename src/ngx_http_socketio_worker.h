/*
 * One zone in one worker: its hub, its sessions, and the requests that wait.
 * Routes polling requests and upgrades to the worker that owns the session,
 * moves sessions, and applies the entries of the log.
 *
 * Layer:      top; introduces core and hub to each other.
 * Ownership:  made by init_process, freed by exit_process.
 * Reference:  architecture.md 2 and 3.
 */


#ifndef _NGX_HTTP_SOCKETIO_WORKER_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_WORKER_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_park.h"
#include "ngx_sio_hub.h"
#include "ngx_sio_rooms.h"


/* kinds of entries in the log */

typedef enum {
    NGX_HTTP_SOCKETIO_POLL = 1,    /* to the owner: a GET waits */
    NGX_HTTP_SOCKETIO_POST_BEGIN,  /* ... a POST whose body is coming */
    NGX_HTTP_SOCKETIO_POST,        /* ... a POST, body */
    NGX_HTTP_SOCKETIO_REFUSED,     /* ... the body was too large */
    NGX_HTTP_SOCKETIO_ABORT,       /* ... its client has left */
    NGX_HTTP_SOCKETIO_UPGRADE,     /* ... a WebSocket arrived elsewhere */
    NGX_HTTP_SOCKETIO_ANSWER,      /* to the waiter, or the bridge if it is of
                                      another host: the answer */
    NGX_HTTP_SOCKETIO_OWNER,       /* to the waiter: the sender owns it now */
    NGX_HTTP_SOCKETIO_SESSION,     /* to the asker: a session, saved */
    NGX_HTTP_SOCKETIO_REPLY,       /* to the owner: a webhook's outcome */
    NGX_HTTP_SOCKETIO_COMMAND,     /* to all: ngx_http_socketio_wire.h */
    NGX_HTTP_SOCKETIO_RESULT,      /* to the waiter: what a command did */
    NGX_HTTP_SOCKETIO_ACKED,       /* to the waiter: of a client's answer */
    NGX_HTTP_SOCKETIO_REMOTE,      /* to the bridge: POLL ... ABORT, for
                                      another host */
    NGX_HTTP_SOCKETIO_MEMBERS,     /* no entry, but told to a waiter: whose
                                      RESULT it has to expect */
    NGX_HTTP_SOCKETIO_HANDED,      /* to all: the sender serves the queues no
                                      more, somebody else does */
    NGX_HTTP_SOCKETIO_LEAVING      /* to all: the sender serves the queues; it
                                      wants somebody to follow, or has taken
                                      over from somebody who died */
} ngx_http_socketio_entry_e;


/* The body of MEMBERS: of which command of the waiter, and who reads it. */

typedef struct {
    uint32_t                    tag;
    ngx_sio_hub_members_t       members;
} ngx_http_socketio_members_t;


/*
 * How often an entry may be sent after a session that moves: the one thing
 * that keeps workers from passing it round for ever.
 */
#define NGX_HTTP_SOCKETIO_MAX_HOPS  8


struct ngx_http_socketio_worker_s {
    ngx_http_socketio_zone_t   *zone;
    ngx_sio_hub_t              *hub;
    ngx_sio_engine_t            engine;
    ngx_http_socketio_park_t    park;
    struct ngx_http_socketio_bridge_s
                               *bridge;    /* NULL: no message queue */

    ngx_pool_t                 *pool;      /* of the entry being applied */

    ngx_queue_t                 answers;   /* to requests of this worker */
    ngx_event_t                 answer;    /* delivers them */

    ngx_sio_hub_addr_t          moving_to; /* while a session is moved away */
    ngx_queue_t                 departures;/* sessions on their way to others;
                                              ngx_http_socketio_result.c */
    ngx_uint_t                  calls;     /* of the API that wait here, */
    size_t                      held;      /* and octets of their answers */

    ngx_event_t                 linger;    /* keeps a draining worker for what
                                              has no timer of its own */
    ngx_event_t                 parting;   /* closes the sessions of a draining
                                              worker, a few at a time */
    ngx_uint_t                  leavers;   /* how many the next time */
    ngx_msec_t                  shutdown;  /* when nginx closes what is left */
    ngx_uint_t                  draining;
    ngx_event_t                 review;    /* looks for journal records whose
                                              sessions never came */
    time_t                      warned;    /* when the log was last told that
                                              the hub is full */
    ngx_msec_t                  deadline;  /* of that; 0: none yet */
};


ngx_int_t ngx_http_socketio_worker_init(ngx_http_socketio_zone_t *zone,
    ngx_cycle_t *cycle);
void ngx_http_socketio_worker_done(ngx_http_socketio_zone_t *zone);


/* Writes a fresh Engine.IO id that names this worker.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_socketio_sid(ngx_http_socketio_worker_t *w, u_char *sid);


/*
 * A polling request with a sid: hands it to its session, here or in another
 * worker.  kind is POLL ... ABORT; octets as in ngx_sio_session_post().  The
 * waiter is answered exactly once (ABORT: not at all), never from inside this
 * call, also when there is no such session.
 */
void ngx_http_socketio_route(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_str_t *sid, ngx_sio_waiter_t *waiter, ngx_uint_t revision,
    ngx_uint_t octets, ngx_str_t *body);

/*
 * An upgrade for sid that arrived here.
 *
 *   NGX_OK        *s is ours and POLLING (or refuses in
 *                 ngx_sio_session_probe())
 *   NGX_AGAIN     asked for it; the waiter is answered with
 *                 NGX_HTTP_SOCKETIO_SESSION once it is here, or with
 *                 ANSWER: OK (upgraded already: accept and close),
 *                 UNKNOWN, MISMATCH
 *   NGX_DECLINED  no such session
 *   NGX_ERROR     another EIO revision than the session's
 */
ngx_int_t ngx_http_socketio_route_upgrade(ngx_http_socketio_worker_t *w,
    ngx_str_t *sid, ngx_sio_waiter_t *waiter, ngx_uint_t revision,
    ngx_sio_session_t **s);

/*
 * Takes up the session that answers an upgrade: body of the
 * NGX_HTTP_SOCKETIO_SESSION answer, r the upgrade request.  NULL: it cannot be
 * (logged); its client is told by the closing of its requests.
 */
ngx_sio_session_t *ngx_http_socketio_take(ngx_http_socketio_worker_t *w,
    ngx_http_request_t *r, ngx_str_t *body);


#define ngx_http_socketio_session_worker(s)                                   \
    ((ngx_http_socketio_worker_t *) (s)->engine->data)


#endif /* _NGX_HTTP_SOCKETIO_WORKER_H_INCLUDED_ */
