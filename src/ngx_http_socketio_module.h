/*
 * The module as nginx sees it: configuration, zones, variables.
 *
 * Layer:      top.  Everything that knows ngx_http.h includes this.
 * Ownership:  configuration structures live in the cycle's pool; a zone's
 *             worker is made in init_process and lives as long as it.
 * Reference:  README.md, "Directives" and "Variables".
 */


#ifndef _NGX_HTTP_SOCKETIO_MODULE_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_sio_compat.h"
#include "ngx_sio_mem.h"
#include "ngx_sio_session.h"


typedef struct ngx_http_socketio_worker_s     ngx_http_socketio_worker_t;
typedef struct ngx_http_socketio_hook_lane_s  ngx_http_socketio_hook_lane_t;


/* bits of socketio_transports */

#define NGX_HTTP_SOCKETIO_POLLING     0x0002
#define NGX_HTTP_SOCKETIO_WEBSOCKET   0x0004

/* bits of socketio_webhook_events */

#define NGX_HTTP_SOCKETIO_CONNECT     0x0002
#define NGX_HTTP_SOCKETIO_EVENT       0x0004
#define NGX_HTTP_SOCKETIO_ACK         0x0008
#define NGX_HTTP_SOCKETIO_DISCONNECT  0x0010

/* kinds of socketio_cors_allowed_origins */

#define NGX_HTTP_SOCKETIO_CORS_SAME   0    /* the server's own origin */
#define NGX_HTTP_SOCKETIO_CORS_ANY    1    /* "*": everyone, echoed */
#define NGX_HTTP_SOCKETIO_CORS_LIST   2    /* members of cors_origins */
#define NGX_HTTP_SOCKETIO_CORS_OFF    3    /* no check, no headers */


/* formats of socketio_status */

#define NGX_HTTP_SOCKETIO_STATUS_JSON        0
#define NGX_HTTP_SOCKETIO_STATUS_PROMETHEUS  1


/*
 * A zone: one hub, shared by all locations that name it.  Made when first
 * named; socketio_zone gives it another size than the default.
 */

typedef struct {
    ngx_str_t                     name;
    size_t                        size;        /* bytes; 0: not given yet */
    ngx_array_t                   namespaces;  /* of array pointers: what
                                                  each location declares */
    ngx_sio_mem_t                *mem;         /* shared; NULL: not to be had,
                                                  already logged */
    ngx_http_socketio_worker_t   *worker;      /* this process's part, NULL
                                                  outside of workers and when
                                                  it could not be made */
    ngx_array_t                   queues;      /* ngx_http_socketio_queue_t * */
    ngx_queue_t                   queue;       /* of zones with a worker */
    u_char                       *file;        /* where it was first named, */
    ngx_uint_t                    line;        /* for messages */
} ngx_http_socketio_zone_t;


typedef struct {
    ngx_array_t                   zones;       /* ngx_http_socketio_zone_t * */
    ngx_array_t                   locations;   /* ngx_http_socketio_location_t:
                                                  where "socketio" or
                                                  "socketio_api" is */
    ngx_array_t                  *proxies;     /* default trusted_proxies */
} ngx_http_socketio_main_conf_t;


/* One parameter of socketio_namespaces. */

typedef struct {
    ngx_str_t                     name;        /* "/chat", or the pattern */
#if (NGX_PCRE)
    ngx_regex_t                  *regex;       /* "~pattern", or NULL */
#endif
    unsigned                      any:1;       /* "*" */
} ngx_http_socketio_namespace_t;


typedef struct {
    ngx_http_socketio_zone_t     *zone;        /* "socketio" is here, or NULL */
    ngx_http_socketio_zone_t     *api_zone;    /* "socketio_api" is here */
    ngx_http_socketio_zone_t     *status_zone; /* "socketio_status" is here */
    ngx_uint_t                    status_format;         /* see above */

    ngx_str_t                     name;        /* server and location name,
                                                  unique: finds the location
                                                  again after a reload */
    u_char                       *file;        /* where the directive is */
    ngx_uint_t                    line;

    ngx_http_complex_value_t     *webhook;     /* internal URI; NULL: off */
    ngx_array_t                  *webhook_secrets;       /* ngx_str_t: octets;
                                                            NULL: none */
    ngx_msec_t                    webhook_timeout;
    ngx_array_t                  *webhook_pass_headers;  /* ngx_str_t: names in
                                                            lower case */
    ngx_uint_t                    webhook_queue;         /* of one socket */
    ngx_uint_t                    webhook_concurrency;   /* one worker */
    ngx_http_socketio_hook_lane_t  *webhook_lane;  /* of this process */
    ngx_uint_t                    webhook_events;        /* bits, see above */

    ngx_array_t                  *namespaces;  /* ..._namespace_t */
    ngx_uint_t                    transports;  /* bits, see above */
    ngx_msec_t                    ping_interval;
    ngx_msec_t                    ping_timeout;
    ngx_msec_t                    upgrade_timeout;
    ngx_msec_t                    connect_timeout;
    size_t                        max_payload;           /* bytes */
    ngx_uint_t                    max_attachments;
    ngx_uint_t                    max_namespaces;        /* one connection */
    ngx_uint_t                    max_rooms;             /* one socket */
    ngx_uint_t                    max_name;              /* octets */
    ngx_uint_t                    event_period;          /* usec; 0: off */
    ngx_uint_t                    event_burst;           /* packets; belongs to
                                                            event_period */
    size_t                        send_buffer;           /* bytes, one client */
    ngx_flag_t                    allow_eio3;
    ngx_http_complex_value_t     *refuse;      /* neither empty nor "0":
                                                  handshakes get code 4 */
    ngx_str_t                     cookie;      /* name; empty: off */

    ngx_uint_t                    cors;        /* kind, see above */
    ngx_array_t                  *cors_origins;          /* ngx_str_t */
    ngx_flag_t                    cors_credentials;
    ngx_array_t                  *trusted_proxies;       /* ngx_cidr_t: whose
                                                            X-Forwarded-* we
                                                            believe */

    ngx_array_t                  *api_keys;    /* ngx_str_t; NULL: none */

    ngx_sio_session_conf_t        session;     /* of the above, what the core
                                                  reads */
} ngx_http_socketio_loc_conf_t;


/*
 * What the $socketio_... variables show; the module's context of a client's
 * request, of a webhook's fake request, and of the request rebuilt for the
 * access log.  The strings are borrowed; an empty one is "not found".
 */

typedef struct {
    ngx_str_t                     sid;
    ngx_str_t                     nsp;
    ngx_str_t                     event;
    ngx_str_t                     type;
    ngx_str_t                     transport;
    ngx_str_t                     user;
    ngx_str_t                     reason;
    uint64_t                      packets_in;
    uint64_t                      packets_out;
    unsigned                      counted:1;   /* packets_* are meant */
    unsigned                      in_uri:1;    /* they become parts of one */
} ngx_http_socketio_ctx_t;


/* Compares with a literal. */
#define ngx_http_socketio_is(str, text)                                       \
    ((str)->len == sizeof(text) - 1                                           \
     && ngx_strncmp((str)->data, text, sizeof(text) - 1) == 0)

/* What must not stand in a header line: C0 and DEL. */
#define ngx_http_socketio_control(ch)  ((ch) < 0x20 || (ch) == 0x7f)


/*
 * Whether a location's socketio_namespaces admits a name.
 */
ngx_uint_t ngx_http_socketio_namespace_allowed(ngx_array_t *namespaces,
    ngx_str_t *name);

/*
 * The same-origin and CORS rules of the deployment guide (protocol.md 7.1).
 * Adds the response headers the request is entitled to.
 *
 *   NGX_OK        go on
 *   NGX_DECLINED  a foreign Origin: answer 400, no headers were added
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_socketio_cors(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf);

/* Whether a page of another site has made its browser send this. */
ngx_uint_t ngx_http_socketio_cors_foreign(ngx_http_request_t *r,
    ngx_http_socketio_loc_conf_t *lcf);


/* content handlers, each in a file of its own */

ngx_int_t ngx_http_socketio_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_socketio_api_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_socketio_status_handler(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_socketio_module;


#endif /* _NGX_HTTP_SOCKETIO_MODULE_H_INCLUDED_ */
