
#include "ngx_sio_redis.h"


#define NGX_SIO_REDIS_CONNECT    5000       /* msec, TLS included */
#define NGX_SIO_REDIS_SILENCE    10000      /* ... while a reply is due */
#define NGX_SIO_REDIS_IDLE       15000      /* ... before a PING */

#define NGX_SIO_REDIS_BUFFER     (64 * 1024)
#define NGX_SIO_REDIS_TURN       (1024 * 1024)
#define NGX_SIO_REDIS_LINE       (64 * 1024)
#define NGX_SIO_REDIS_ELEMENTS   8          /* each may be a long string */
#define NGX_SIO_REDIS_KEEP       (256 * 1024)


typedef enum {
    NGX_SIO_REDIS_START = 0,     /* of a value */
    NGX_SIO_REDIS_LENGTH,        /* the line of a string or an array */
    NGX_SIO_REDIS_TEXT,          /* a line that is passed on */
    NGX_SIO_REDIS_STRING,        /* octets that are passed on */
    NGX_SIO_REDIS_SKIP           /* octets that are not */
} ngx_sio_redis_state_e;


static void ngx_sio_redis_connected(ngx_event_t *ev);
static void ngx_sio_redis_established(ngx_sio_redis_t *r);
static ngx_err_t ngx_sio_redis_test(ngx_connection_t *c);
static void ngx_sio_redis_handshake(ngx_sio_redis_t *r);
static void ngx_sio_redis_handshaked(ngx_connection_t *c);
static void ngx_sio_redis_read(ngx_event_t *ev);
static ngx_int_t ngx_sio_redis_replies(ngx_sio_redis_t *r,
    ngx_connection_t *c);
static void ngx_sio_redis_timeout(ngx_sio_redis_t *r);
static void ngx_sio_redis_write(ngx_event_t *ev);
static void ngx_sio_redis_flushes(ngx_event_t *ev);
static void ngx_sio_redis_send(ngx_sio_redis_t *r);
static u_char *ngx_sio_redis_reserve(ngx_sio_redis_t *r, size_t size);
static ngx_int_t ngx_sio_redis_filter(ngx_sio_redis_t *r, u_char *p,
    u_char *last);
static ngx_int_t ngx_sio_redis_length(ngx_sio_redis_t *r);
static ngx_int_t ngx_sio_redis_feed(ngx_sio_redis_t *r, void *p, size_t len);
static void ngx_sio_redis_fail(ngx_sio_redis_t *r, const char *why,
    ngx_err_t err);


ngx_int_t
ngx_sio_redis_open(ngx_sio_redis_t *r, ngx_addr_t *addr)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t   peer;

    r->reader = redisReaderCreate();
    if (r->reader == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&peer, sizeof(ngx_peer_connection_t));

    peer.sockaddr = addr->sockaddr;
    peer.socklen = addr->socklen;
    peer.name = &addr->name;
    peer.get = ngx_event_get_peer;
    peer.log = r->log;
    peer.log_error = NGX_ERROR_ERR;
    peer.so_keepalive = 1;

    rc = ngx_event_connect_peer(&peer);

    c = peer.connection;
    r->connection = c;

    if (rc == NGX_ERROR || rc == NGX_BUSY || rc == NGX_DECLINED) {
        ngx_sio_redis_close(r);
        return NGX_ERROR;
    }

    c->data = r;
    c->log = r->log;
    c->read->log = r->log;
    c->write->log = r->log;

    /* for TLS, which takes its memory from there */

    c->pool = ngx_create_pool(512, r->log);
    if (c->pool == NULL) {
        ngx_sio_redis_close(r);
        return NGX_ERROR;
    }

    r->flush.data = c;
    r->flush.log = r->log;
    r->flush.handler = ngx_sio_redis_flushes;

    r->state = NGX_SIO_REDIS_START;
    r->elements = 0;
    r->connected = 0;
    r->pinged = 0;
    r->waiting = 0;

    c->read->handler = ngx_sio_redis_connected;
    c->write->handler = ngx_sio_redis_connected;

    /* an exiting worker does not wait for it */

    c->read->cancelable = 1;
    c->write->cancelable = 1;

    ngx_add_timer(c->read, NGX_SIO_REDIS_CONNECT);

    if (rc == NGX_OK) {
        ngx_post_event(c->write, &ngx_posted_events);
    }

    return NGX_OK;
}


void
ngx_sio_redis_close(ngx_sio_redis_t *r)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = r->connection;
    r->connection = NULL;

    if (c != NULL) {

        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
            c->ssl->no_send_shutdown = 1;
            (void) ngx_ssl_shutdown(c);
        }

        pool = c->pool;

        ngx_close_connection(c);

        if (pool != NULL) {
            ngx_destroy_pool(pool);
        }
    }

    if (r->flush.posted) {
        ngx_delete_posted_event(&r->flush);
    }

    if (r->reader != NULL) {
        redisReaderFree(r->reader);
        r->reader = NULL;
    }

    if (r->out != NULL) {
        ngx_free(r->out);
        r->out = NULL;
    }

    r->out_size = 0;
    r->out_pos = 0;
    r->out_last = 0;
    r->nhead = 0;
    r->connected = 0;
}


void
ngx_sio_redis_expect(ngx_sio_redis_t *r, ngx_uint_t due)
{
    if (r->waiting == due || !r->connected) {
        return;
    }

    r->waiting = due;
    r->pinged = 0;

    ngx_add_timer(r->connection->read, due ? NGX_SIO_REDIS_SILENCE
                                           : NGX_SIO_REDIS_IDLE);
}


/* Connecting. */

static void
ngx_sio_redis_connected(ngx_event_t *ev)
{
    ngx_err_t          err;
    ngx_sio_redis_t   *r;
    ngx_connection_t  *c;

    c = ev->data;
    r = c->data;

    if (ev->timedout) {
        ngx_sio_redis_fail(r, "timed out while connecting", 0);
        return;
    }

    err = ngx_sio_redis_test(c);

    if (err) {
        ngx_sio_redis_fail(r, "connect() failed", err);
        return;
    }

    if (!ev->write) {
        /* it will be writable, too */
        return;
    }

    if (r->url->ssl != NULL) {
        ngx_sio_redis_handshake(r);
        return;
    }

    ngx_sio_redis_established(r);
}


static ngx_err_t
ngx_sio_redis_test(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        return ngx_socket_errno;
    }

    return err;
}


static void
ngx_sio_redis_established(ngx_sio_redis_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    (void) ngx_tcp_nodelay(c);

    r->connected = 1;
    r->heard = ngx_current_msec;

    c->read->handler = ngx_sio_redis_read;
    c->write->handler = ngx_sio_redis_write;

    /* whoever opened it expects something */

    r->waiting = 1;
    ngx_add_timer(c->read, NGX_SIO_REDIS_SILENCE);

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_sio_redis_fail(r, "no event", 0);
        return;
    }

    ngx_sio_redis_send(r);

    if (r->connection == c && c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


static void
ngx_sio_redis_handshake(ngx_sio_redis_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (ngx_ssl_create_connection(r->url->ssl, c,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_sio_redis_fail(r, "no TLS", 0);
        return;
    }

    if (r->url->server_name != NULL
        && SSL_set_tlsext_host_name(c->ssl->connection, r->url->server_name)
           == 0)
    {
        ngx_sio_redis_fail(r, "SSL_set_tlsext_host_name() failed", 0);
        return;
    }

    c->ssl->handler = ngx_sio_redis_handshaked;

    if (ngx_ssl_handshake(c) != NGX_AGAIN) {
        ngx_sio_redis_handshaked(c);
    }
}


static void
ngx_sio_redis_handshaked(ngx_connection_t *c)
{
    long              rc;
    ngx_sio_redis_t  *r;

    r = c->data;

    if (!c->ssl->handshaked) {
        ngx_sio_redis_fail(r, c->read->timedout
                              ? "timed out in the TLS handshake"
                              : "TLS handshake failed", 0);
        return;
    }

    if (r->url->verify) {
        rc = SSL_get_verify_result(c->ssl->connection);

        if (rc != X509_V_OK) {
            ngx_sio_redis_fail(r, X509_verify_cert_error_string(rc), 0);
            return;
        }

        if (ngx_ssl_check_host(c, &r->url->host) != NGX_OK) {
            ngx_sio_redis_fail(r, "the certificate is for another host", 0);
            return;
        }
    }

    ngx_sio_redis_established(r);
}


/* Reading. */

static void
ngx_sio_redis_read(ngx_event_t *ev)
{
    size_t             turn;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_sio_redis_t   *r;
    ngx_connection_t  *c;

    static u_char      buf[NGX_SIO_REDIS_BUFFER];

    c = ev->data;
    r = c->data;

    if (ev->timedout) {
        ev->timedout = 0;
        ngx_sio_redis_timeout(r);
        return;
    }

    for (turn = 0; turn < NGX_SIO_REDIS_TURN; turn += n) {

        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(ev, 0) != NGX_OK) {
                ngx_sio_redis_fail(r, "no event", 0);
            }

            return;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_sio_redis_fail(r, n ? "connection is broken"
                                    : "connection was closed", 0);
            return;
        }

        r->heard = ngx_current_msec;
        r->pinged = 0;

        rc = ngx_sio_redis_filter(r, buf, buf + n);

        if (rc != NGX_OK) {
            ngx_sio_redis_fail(r, rc == NGX_DECLINED ? "invalid reply"
                                                     : "no memory", 0);
            return;
        }

        if (ngx_sio_redis_replies(r, c) != NGX_OK) {
            return;
        }
    }

    /* others have their turn */

    ngx_post_event(ev, &ngx_posted_next_events);
}


/* NGX_DONE: the connection is closed */

static ngx_int_t
ngx_sio_redis_replies(ngx_sio_redis_t *r, ngx_connection_t *c)
{
    void  *reply;

    for ( ;; ) {

        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            ngx_sio_redis_fail(r, "invalid reply", 0);
            return NGX_DONE;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        r->reply(r, reply);

        freeReplyObject(reply);

        if (r->connection != c) {
            return NGX_DONE;
        }
    }
}


static void
ngx_sio_redis_timeout(ngx_sio_redis_t *r)
{
    ngx_msec_t  limit, silent;
    ngx_str_t   ping;

    silent = ngx_current_msec - r->heard;
    limit = (r->waiting || r->pinged) ? NGX_SIO_REDIS_SILENCE
                                      : NGX_SIO_REDIS_IDLE;

    if (r->pinged) {
        ngx_sio_redis_fail(r, "no answer to a PING", 0);
        return;
    }

    if (silent < limit) {
        ngx_add_timer(r->connection->read, limit - silent);
        return;
    }

    if (r->waiting) {
        ngx_sio_redis_fail(r, "no answer", 0);
        return;
    }

    ngx_str_set(&ping, "PING");

    if (ngx_sio_redis_command(r, &ping, 1, NULL, 0) != NGX_OK) {
        ngx_sio_redis_fail(r, "no memory", 0);
        return;
    }

    r->pinged = 1;
    ngx_add_timer(r->connection->read, NGX_SIO_REDIS_SILENCE);
}


/*
 * Stands before hiredis, which would keep whatever the server announces: long
 * strings become nil, long arrays and lines are errors, and so are arrays in
 * arrays, which are no reply to anything that is asked here.
 *
 *   NGX_OK
 *   NGX_DECLINED  not RESP2
 *   NGX_ERROR     no memory
 */

static ngx_int_t
ngx_sio_redis_filter(ngx_sio_redis_t *r, u_char *p, u_char *last)
{
    u_char     *lf;
    size_t      n;
    ngx_int_t   rc;

    while (p < last) {

        switch (r->state) {

        case NGX_SIO_REDIS_START:

            if (*p == '*' && r->elements) {
                return NGX_DECLINED;
            }

            r->elements -= (r->elements != 0);

            if (*p == '$' || *p == '*') {
                r->state = NGX_SIO_REDIS_LENGTH;
                r->nhead = 0;

            } else if (*p == '+' || *p == '-' || *p == ':') {
                r->state = NGX_SIO_REDIS_TEXT;
                r->rest = NGX_SIO_REDIS_LINE;

            } else {
                return NGX_DECLINED;
            }

            break;

        case NGX_SIO_REDIS_LENGTH:

            if (r->nhead == NGX_SIO_REDIS_HEAD) {
                return NGX_DECLINED;
            }

            r->head[r->nhead++] = *p;

            if (*p++ == LF) {
                rc = ngx_sio_redis_length(r);

                if (rc != NGX_OK) {
                    return rc;
                }
            }

            break;

        case NGX_SIO_REDIS_TEXT:
            lf = ngx_strlchr(p, last, LF);
            n = (lf != NULL) ? (size_t) (lf + 1 - p) : (size_t) (last - p);

            if (n > r->rest) {
                return NGX_DECLINED;
            }

            if (ngx_sio_redis_feed(r, p, n) != NGX_OK) {
                return NGX_ERROR;
            }

            r->rest -= n;
            p += n;

            if (lf != NULL) {
                r->state = NGX_SIO_REDIS_START;
            }

            break;

        default: /* NGX_SIO_REDIS_STRING, NGX_SIO_REDIS_SKIP */
            n = ngx_min(r->rest, (size_t) (last - p));

            if (r->state == NGX_SIO_REDIS_STRING
                && ngx_sio_redis_feed(r, p, n) != NGX_OK)
            {
                return NGX_ERROR;
            }

            r->rest -= n;
            p += n;

            if (r->rest == 0) {
                r->state = NGX_SIO_REDIS_START;
            }
        }
    }

    return NGX_OK;
}


/* "$12 CR LF" or "*3 CR LF" is complete */

static ngx_int_t
ngx_sio_redis_length(ngx_sio_redis_t *r)
{
    ngx_int_t  n;

    r->state = NGX_SIO_REDIS_START;

    if (r->nhead == 5 && ngx_strncmp(r->head + 1, "-1" CRLF, 4) == 0) {
        return ngx_sio_redis_feed(r, r->head, r->nhead);
    }

    if (r->nhead < 4 || r->head[r->nhead - 2] != CR) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(r->head + 1, r->nhead - 3);

    if (n == NGX_ERROR || n > (ngx_int_t) NGX_MAX_INT32_VALUE) {
        return NGX_DECLINED;
    }

    if (r->head[0] == '*') {

        if (n > NGX_SIO_REDIS_ELEMENTS) {
            return NGX_DECLINED;
        }

        r->elements = n;

        return ngx_sio_redis_feed(r, r->head, r->nhead);
    }

    r->rest = n + sizeof(CRLF) - 1;

    if ((size_t) n > r->max_reply) {
        r->state = NGX_SIO_REDIS_SKIP;
        r->oversized++;

        return ngx_sio_redis_feed(r, "$-1" CRLF, sizeof("$-1" CRLF) - 1);
    }

    r->state = NGX_SIO_REDIS_STRING;

    return ngx_sio_redis_feed(r, r->head, r->nhead);
}


static ngx_int_t
ngx_sio_redis_feed(ngx_sio_redis_t *r, void *p, size_t len)
{
    return redisReaderFeed(r->reader, p, len) == REDIS_OK ? NGX_OK : NGX_ERROR;
}


/* Writing. */

ngx_int_t
ngx_sio_redis_command(ngx_sio_redis_t *r, ngx_str_t *args, ngx_uint_t nargs,
    ngx_str_t *parts, ngx_uint_t nparts)
{
    size_t       len, size;
    u_char      *p;
    ngx_uint_t   i;

    len = 0;

    for (i = 0; i < nparts; i++) {
        len += parts[i].len;
    }

    size = sizeof("*" CRLF "$" CRLF CRLF) - 1 + 2 * NGX_SIZE_T_LEN + len;

    for (i = 0; i < nargs; i++) {
        size += sizeof("$" CRLF CRLF) - 1 + NGX_SIZE_T_LEN + args[i].len;
    }

    p = ngx_sio_redis_reserve(r, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "*%ui" CRLF, nargs + (nparts ? 1 : 0));

    for (i = 0; i < nargs; i++) {
        p = ngx_sprintf(p, "$%uz" CRLF, args[i].len);
        p = ngx_cpymem(p, args[i].data, args[i].len);
        *p++ = CR;
        *p++ = LF;
    }

    if (nparts) {
        p = ngx_sprintf(p, "$%uz" CRLF, len);

        for (i = 0; i < nparts; i++) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }

        *p++ = CR;
        *p++ = LF;
    }

    r->out_last = p - r->out;

    if (r->connected && !r->flush.posted) {
        ngx_post_event(&r->flush, &ngx_posted_events);
    }

    return NGX_OK;
}


static u_char *
ngx_sio_redis_reserve(ngx_sio_redis_t *r, size_t size)
{
    u_char  *out;
    size_t   used;

    if (r->connection == NULL) {
        return NULL;
    }

    if (r->out_size - r->out_last >= size) {
        return r->out + r->out_last;
    }

    used = r->out_last - r->out_pos;

    if (r->out_size >= used + size && r->out_pos >= used) {
        ngx_memcpy(r->out, r->out + r->out_pos, used);

    } else {
        size = ngx_max(2 * (used + size), 4096);

        out = ngx_alloc(size, r->log);
        if (out == NULL) {
            return NULL;
        }

        if (r->out != NULL) {
            ngx_memcpy(out, r->out + r->out_pos, used);
            ngx_free(r->out);
        }

        r->out = out;
        r->out_size = size;
    }

    r->out_pos = 0;
    r->out_last = used;

    return r->out + used;
}


void
ngx_sio_redis_flush(ngx_sio_redis_t *r)
{
    if (r->connected) {
        ngx_sio_redis_send(r);
    }
}


static void
ngx_sio_redis_flushes(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_sio_redis_send(c->data);
}


static void
ngx_sio_redis_write(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_sio_redis_send(c->data);
}


static void
ngx_sio_redis_send(ngx_sio_redis_t *r)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = r->connection;

    while (c->write->ready && r->out_pos < r->out_last) {

        n = c->send(c, r->out + r->out_pos, r->out_last - r->out_pos);

        if (n == NGX_ERROR) {
            ngx_sio_redis_fail(r, "connection is broken", 0);
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        r->out_pos += n;
    }

    if (r->out_pos == r->out_last) {
        r->out_pos = 0;
        r->out_last = 0;

        if (r->out_size > NGX_SIO_REDIS_KEEP) {
            ngx_free(r->out);
            r->out = NULL;
            r->out_size = 0;
        }
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_sio_redis_fail(r, "no event", 0);
    }
}


static void
ngx_sio_redis_fail(ngx_sio_redis_t *r, const char *why, ngx_err_t err)
{
    ngx_sio_redis_close(r);

    r->broken(r, why, err);
}
