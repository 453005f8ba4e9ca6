
/*
 * What the top layer counts, behind what the core does: indexes of
 * engine->gauges and engine->counters.
 *
 * Layer:      top.
 * Ownership:  the numbers are in the zone; each worker writes its own, with
 *             plain additions.  Each is counted in one place.
 * Reference:  README.md, "Status page"; ngx_http_socketio_status.c shows them.
 */


#ifndef _NGX_HTTP_SOCKETIO_COUNT_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_COUNT_H_INCLUDED_


#include "ngx_http_socketio_answer.h"
#include "ngx_sio_session.h"


typedef enum {
    NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT = 0,
    NGX_HTTP_SOCKETIO_WEBHOOK_EVENT,
    NGX_HTTP_SOCKETIO_WEBHOOK_ACK,
    NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT,
    NGX_HTTP_SOCKETIO_WEBHOOKS
} ngx_http_socketio_webhook_e;


/* What became of a webhook. */

enum {
    NGX_HTTP_SOCKETIO_BACKEND_OK = 0,
    NGX_HTTP_SOCKETIO_BACKEND_REFUSED,     /* 4xx, or 2xx with an error */
    NGX_HTTP_SOCKETIO_BACKEND_FAILED,
    NGX_HTTP_SOCKETIO_BACKEND_OUTCOMES
};


/*
 * Why a request to a "socketio" location was refused: Engine.IO's codes,
 * NGX_HTTP_SOCKETIO_ERROR_..., and
 */

typedef enum {
    NGX_HTTP_SOCKETIO_REFUSED_MISMATCH = NGX_HTTP_SOCKETIO_ERROR_VERSION + 1,
                                           /* not the session's transport or
                                              version; clients see "bad" */
    NGX_HTTP_SOCKETIO_REFUSED_WEBSOCKET,   /* a malformed handshake */
    NGX_HTTP_SOCKETIO_REFUSED_ORIGIN,
    NGX_HTTP_SOCKETIO_REFUSED_METHOD,      /* 405 */
    NGX_HTTP_SOCKETIO_REFUSED_TOO_LARGE,   /* 413 */

    /* other modules of nginx, before us */

    NGX_HTTP_SOCKETIO_REFUSED_ACCESS,      /* 401, 403 */
    NGX_HTTP_SOCKETIO_REFUSED_CONNECTIONS, /* limit_conn */
    NGX_HTTP_SOCKETIO_REFUSED_RATE,        /* limit_req */

    NGX_HTTP_SOCKETIO_REFUSALS
} ngx_http_socketio_refused_e;


/*
 * How long webhooks take: attempts that took up to so many milliseconds, then
 * all longer ones.
 */

#define NGX_HTTP_SOCKETIO_BUCKETS      12
#define NGX_HTTP_SOCKETIO_BUCKET_ENDS                                         \
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000


/* indexes of engine->gauges */

enum {
    NGX_HTTP_SOCKETIO_GAUGE_QUEUED = NGX_SIO_GAUGE_CORE,
                                           /* webhooks: wait for their turn, */
    NGX_HTTP_SOCKETIO_GAUGE_FLIGHT,        /* for an answer, */
    NGX_HTTP_SOCKETIO_GAUGE_WAITING,       /* for their next attempt */
    NGX_HTTP_SOCKETIO_GAUGES
};


/* indexes of engine->counters */

enum {
    NGX_HTTP_SOCKETIO_COUNT_REFUSED = NGX_SIO_COUNT_CORE,   /* by reason */

    /* webhooks: type * OUTCOMES + outcome */
    NGX_HTTP_SOCKETIO_COUNT_WEBHOOKS = NGX_HTTP_SOCKETIO_COUNT_REFUSED
                                       + NGX_HTTP_SOCKETIO_REFUSALS,

    /* their time: type * (BUCKETS + 1) + bucket, at last the sum in msec */
    NGX_HTTP_SOCKETIO_COUNT_TIME = NGX_HTTP_SOCKETIO_COUNT_WEBHOOKS
        + NGX_HTTP_SOCKETIO_WEBHOOKS * NGX_HTTP_SOCKETIO_BACKEND_OUTCOMES,

    NGX_HTTP_SOCKETIO_COUNT_REPEATED = NGX_HTTP_SOCKETIO_COUNT_TIME
        + NGX_HTTP_SOCKETIO_WEBHOOKS * (NGX_HTTP_SOCKETIO_BUCKETS + 1),

    NGX_HTTP_SOCKETIO_COUNT_MALFORMED,     /* members of replies left out */
    NGX_HTTP_SOCKETIO_COUNT_DROPPED,       /* parts of replies for which the
                                              log had no room */
    NGX_HTTP_SOCKETIO_COUNTERS
};


/*
 * A postconfiguration: sees to it that requests are counted, too, that other
 * modules refuse before they come to "socketio".  NGX_OK, NGX_ERROR.
 */
ngx_int_t ngx_http_socketio_count_others(ngx_conf_t *cf);


#define ngx_http_socketio_refused(w, reason)                                  \
    ((w)->engine.counters[NGX_HTTP_SOCKETIO_COUNT_REFUSED + (reason)]++)


#endif /* _NGX_HTTP_SOCKETIO_COUNT_H_INCLUDED_ */
