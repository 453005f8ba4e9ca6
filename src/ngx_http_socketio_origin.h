/*
 * Where a client came from: what survives of its handshake request, for
 * webhooks, variables and the access log.
 *
 * Layer:      top.
 * Ownership:  one allocation, counted, immutable; may be written to bytes and
 *             restored in another worker.  All strings given out are borrowed
 *             and live as long as the origin.
 * Hostile:    the request; and saved bytes, whose every length is checked.
 * Reference:  product.md 3, "request".
 */


#ifndef _NGX_HTTP_SOCKETIO_ORIGIN_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_ORIGIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what a saved header is for */

#define NGX_HTTP_SOCKETIO_ORIGIN_PASS  0x01  /* socketio_webhook_pass_header */
#define NGX_HTTP_SOCKETIO_ORIGIN_VAR   0x02  /* some variable reads it */
#define NGX_HTTP_SOCKETIO_ORIGIN_KEPT  0x04  /* it is no header: the value that
                                                a variable had */


typedef struct ngx_http_socketio_origin_s  ngx_http_socketio_origin_t;


typedef struct {
    ngx_str_t                    name;     /* lower case, zero-terminated */
    ngx_str_t                    value;    /* repeated ones joined, likewise */
    ngx_uint_t                   flags;    /* NGX_HTTP_SOCKETIO_ORIGIN_... */
} ngx_http_socketio_origin_header_t;


/*
 * Saves a request.  Its address is what realip made of it by now.  Headers
 * are kept when socketio_webhook_pass_header names them or when a variable of
 * the configuration reads them, "Host" always; and variables that cannot be
 * found out later.  The Engine.IO id is a
 * credential: every "sid" argument is left out.  NULL: no memory (logged).
 */
ngx_http_socketio_origin_t *ngx_http_socketio_origin_create(
    ngx_http_request_t *r);

ngx_http_socketio_origin_t *ngx_http_socketio_origin_ref(
    ngx_http_socketio_origin_t *o);

/* The last one frees; NULL is allowed. */
void ngx_http_socketio_origin_unref(ngx_http_socketio_origin_t *o);


/* To bytes and back, within one host; write() returns the end. */

size_t ngx_http_socketio_origin_length(ngx_http_socketio_origin_t *o);
u_char *ngx_http_socketio_origin_write(ngx_http_socketio_origin_t *o,
    u_char *p);

/*
 * The configuration does not travel: srv_conf and loc_conf are this process's,
 * of the server and the location that the session belongs to.  NULL: no
 * memory, or bytes that no origin of this version writes (logged).
 */
ngx_http_socketio_origin_t *ngx_http_socketio_origin_restore(ngx_str_t *saved,
    void **srv_conf, void **loc_conf, ngx_log_t *log);


/* For the webhook's "request" object.  The query is without the question
 * mark. */

void ngx_http_socketio_origin_path(ngx_http_socketio_origin_t *o,
    ngx_str_t *path);
void ngx_http_socketio_origin_query(ngx_http_socketio_origin_t *o,
    ngx_str_t *query);
void ngx_http_socketio_origin_ip(ngx_http_socketio_origin_t *o,
    ngx_str_t *ip);

/*
 * The next header to be passed; *pos starts at 0.  Each name comes once.
 *
 *   NGX_OK    *name (lower case) and *value are set
 *   NGX_DONE  there are no more
 */
ngx_int_t ngx_http_socketio_origin_header(ngx_http_socketio_origin_t *o,
    ngx_uint_t *pos, ngx_str_t *name, ngx_str_t *value);


/*
 * The rest is for ngx_http_socketio_request.h, which makes a request of it.
 */

typedef enum {
    NGX_HTTP_SOCKETIO_ORIGIN_ADDR = 0,  /* struct sockaddr of the client */
    NGX_HTTP_SOCKETIO_ORIGIN_LOCAL,     /* struct sockaddr of the server */
    NGX_HTTP_SOCKETIO_ORIGIN_IP,        /* the client's, as text */
    NGX_HTTP_SOCKETIO_ORIGIN_METHOD,    /* "GET" */
    NGX_HTTP_SOCKETIO_ORIGIN_PATH,      /* normalized, as locations match it */
    NGX_HTTP_SOCKETIO_ORIGIN_RAW_PATH,  /* as sent; empty: the same */
    NGX_HTTP_SOCKETIO_ORIGIN_QUERY,
    NGX_HTTP_SOCKETIO_ORIGIN_SERVER,    /* host name, lower case, no port */
    NGX_HTTP_SOCKETIO_ORIGIN_HEADERS,   /* packed, see above */
    NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS
} ngx_http_socketio_origin_field_e;


/* what is the same in every worker, and travels as it is */

typedef struct {
    uint32_t                     version;  /* of this layout */
    uint32_t                     size;     /* bytes of all fields together */
    uint32_t                     ends[NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS];
                                           /* where each field ends in data */
    uint32_t                     method;   /* NGX_HTTP_GET, ... */
    uint64_t                     number;   /* of the client's connection */
    int64_t                      start_sec;
    uint16_t                     start_msec;
    uint16_t                     http_version;
    uint8_t                      ssl;      /* came over TLS */
    uint8_t                      limit_conn;  /* nginx's r->..._status */
    uint8_t                      limit_req;
    uint8_t                      unused;
} ngx_http_socketio_origin_head_t;


struct ngx_http_socketio_origin_s {
    void                           **srv_conf;
    void                           **loc_conf;
    uint32_t                         refs;
    unsigned                         left:31;  /* sockets that its session has
                                                  left, and of which the
                                                  backend has not heard all */
    unsigned                         crowded:1;  /* too many: not read */
    ngx_http_socketio_origin_head_t  head;
    /* u_char data[head.size], from an aligned address */
};


void ngx_http_socketio_origin_field(ngx_http_socketio_origin_t *o,
    ngx_http_socketio_origin_field_e field, ngx_str_t *value);

/* Like ngx_http_socketio_origin_header(), but all that is saved. */
ngx_int_t ngx_http_socketio_origin_saved(ngx_http_socketio_origin_t *o,
    ngx_uint_t *pos, ngx_http_socketio_origin_header_t *h);

/*
 * Sets variables of a request that cannot be read from it: $http_... of
 * headers that are saved but not passed on, $scheme, $https, and those that
 * ngx_http_socketio_kept.h is about.
 */
void ngx_http_socketio_origin_variables(ngx_http_socketio_origin_t *o,
    ngx_http_request_t *r);


#endif /* _NGX_HTTP_SOCKETIO_ORIGIN_H_INCLUDED_ */
