
#include "ngx_sio_queue.h"
#include "ngx_sio_redis.h"


#define NGX_SIO_QUEUE_BACKOFF_MIN   100       /* msec */
#define NGX_SIO_QUEUE_BACKOFF_MAX   10000

/* seconds between two lines in the log about the same trouble */
#define NGX_SIO_QUEUE_LOG           60


/* what the next reply of the publisher belongs to */

typedef enum {
    NGX_SIO_QUEUE_LOGIN = 0,        /* must not be an error */
    NGX_SIO_QUEUE_WISH,             /* may be one */
    NGX_SIO_QUEUE_PING,
    NGX_SIO_QUEUE_PUBLISH,
    NGX_SIO_QUEUE_COUNT
} ngx_sio_queue_due_e;


typedef struct {
    uint64_t                    tag;
    ngx_msec_t                  since;
    uint32_t                    size;
    uint32_t                    kind;     /* ngx_sio_queue_due_e */
} ngx_sio_queue_due_t;


/* a channel or pattern; the name follows */

typedef struct {
    ngx_queue_t                 queue;
    ngx_str_t                   name;
    unsigned                    pattern:1;
} ngx_sio_queue_channel_t;


typedef enum {
    NGX_SIO_QUEUE_IDLE = 0,
    NGX_SIO_QUEUE_RESOLVING,
    NGX_SIO_QUEUE_CONNECTING,
    NGX_SIO_QUEUE_UP,
    NGX_SIO_QUEUE_WAITING           /* to try again */
} ngx_sio_queue_state_e;


struct ngx_sio_queue_s {
    ngx_sio_queue_conf_t       *conf;
    const ngx_sio_queue_ops_t  *ops;
    void                       *data;
    ngx_log_t                  *log;
    ngx_log_t                   quiet;    /* for what was told just now */

    ngx_uint_t                  state;    /* ngx_sio_queue_state_e */
    ngx_sio_redis_t             publisher;
    ngx_sio_redis_t             subscriber;

    ngx_queue_t                 channels; /* of ngx_sio_queue_channel_t */
    ngx_uint_t                  logins;   /* replies the subscriber owes
                                             before its first channel */
    ngx_uint_t                  unconfirmed;    /* channels */

    ngx_sio_queue_due_t        *due;      /* a ring, in order */
    ngx_uint_t                  due_size;
    ngx_uint_t                  due_first;
    ngx_uint_t                  ndue;
    size_t                      due_bytes;

    ngx_resolver_ctx_t         *resolve;
    ngx_addr_t                 *resolved; /* one block; NULL: conf's */
    ngx_uint_t                  nresolved;
    ngx_uint_t                  next;     /* address to be tried */
    ngx_uint_t                  tried;    /* in this round */

    ngx_connection_t            dummy;    /* for the event below */
    ngx_event_t                 retry;
    ngx_msec_t                  backoff;
    time_t                      logged;   /* trouble; 0: none since UP */

    ngx_sio_queue_stat_t        stat;
    unsigned                    publishing:1;   /* ready to */
    unsigned                    proven:1;       /* took a message since UP */
};


static void ngx_sio_queue_round(ngx_sio_queue_t *q);
static ngx_int_t ngx_sio_queue_resolve(ngx_sio_queue_t *q);
static void ngx_sio_queue_resolved(ngx_resolver_ctx_t *ctx);
static ngx_int_t ngx_sio_queue_keep(ngx_sio_queue_t *q,
    ngx_resolver_ctx_t *ctx);
static void ngx_sio_queue_connect(ngx_sio_queue_t *q);
static ngx_int_t ngx_sio_queue_greet(ngx_sio_queue_t *q, ngx_sio_redis_t *r,
    const char *role);
static ngx_int_t ngx_sio_queue_greet_command(ngx_sio_queue_t *q,
    ngx_sio_redis_t *r, ngx_str_t *args, ngx_uint_t nargs, ngx_uint_t kind);
static void ngx_sio_queue_ready(ngx_sio_queue_t *q);
static void ngx_sio_queue_proven(ngx_sio_queue_t *q);
static void ngx_sio_queue_broken(ngx_sio_redis_t *r, const char *why,
    ngx_err_t err);
static void ngx_sio_queue_trouble(ngx_sio_queue_t *q, const char *why,
    size_t len, ngx_err_t err);
static void ngx_sio_queue_close(ngx_sio_queue_t *q);
static void ngx_sio_queue_wait(ngx_sio_queue_t *q);
static void ngx_sio_queue_retry(ngx_event_t *ev);
static void ngx_sio_queue_published(ngx_sio_redis_t *r, redisReply *reply);
static void ngx_sio_queue_received(ngx_sio_redis_t *r, redisReply *reply);
static void ngx_sio_queue_subscribed(ngx_sio_queue_t *q);
static ngx_uint_t ngx_sio_queue_is(redisReply *reply, const char *word);
static ngx_int_t ngx_sio_queue_push(ngx_sio_queue_t *q, ngx_uint_t kind,
    uint64_t tag, size_t size);
static ngx_sio_queue_channel_t *ngx_sio_queue_channel(ngx_sio_queue_t *q,
    ngx_str_t *name, ngx_uint_t pattern);
static ngx_int_t ngx_sio_queue_tell(ngx_sio_queue_t *q, const char *command,
    ngx_str_t *channel);


ngx_sio_queue_t *
ngx_sio_queue_create(ngx_sio_queue_conf_t *conf,
    const ngx_sio_queue_ops_t *ops, void *data, ngx_log_t *log)
{
    ngx_sio_queue_t  *q;

    q = ngx_calloc(sizeof(ngx_sio_queue_t), log);
    if (q == NULL) {
        return NULL;
    }

    /* besides publishes there are a few commands of the beginning */

    q->due_size = conf->max_pending + 16;

    q->due = ngx_alloc(q->due_size * sizeof(ngx_sio_queue_due_t), log);
    if (q->due == NULL) {
        ngx_free(q);
        return NULL;
    }

    q->conf = conf;
    q->ops = ops;
    q->data = data;
    q->log = log;
    q->quiet = *log;
    q->quiet.log_level = NGX_LOG_ALERT;

    ngx_queue_init(&q->channels);

    q->publisher.url = conf->url;
    q->publisher.max_reply = conf->max_message;
    q->publisher.data = q;
    q->publisher.reply = ngx_sio_queue_published;
    q->publisher.broken = ngx_sio_queue_broken;

    q->subscriber = q->publisher;
    q->subscriber.reply = ngx_sio_queue_received;

    q->dummy.fd = (ngx_socket_t) -1;
    q->dummy.data = q;

    q->retry.data = &q->dummy;
    q->retry.log = log;
    q->retry.handler = ngx_sio_queue_retry;
    q->retry.cancelable = 1;

    return q;
}


void
ngx_sio_queue_destroy(ngx_sio_queue_t *q)
{
    ngx_queue_t  *channel;

    ngx_sio_queue_close(q);

    if (q->resolve != NULL) {
        ngx_resolve_name_done(q->resolve);
    }

    if (q->retry.timer_set) {
        ngx_del_timer(&q->retry);
    }

    while (!ngx_queue_empty(&q->channels)) {
        channel = ngx_queue_head(&q->channels);
        ngx_queue_remove(channel);
        ngx_free(ngx_queue_data(channel, ngx_sio_queue_channel_t, queue));
    }

    if (q->resolved != NULL) {
        ngx_free(q->resolved);
    }

    ngx_free(q->due);
    ngx_free(q);
}


void *
ngx_sio_queue_data(ngx_sio_queue_t *q)
{
    return q->data;
}


void
ngx_sio_queue_start(ngx_sio_queue_t *q)
{
    if (q->state == NGX_SIO_QUEUE_IDLE) {
        q->state = NGX_SIO_QUEUE_WAITING;
        ngx_add_timer(&q->retry, 1);
    }
}


void
ngx_sio_queue_stat(ngx_sio_queue_t *q, ngx_sio_queue_stat_t *stat)
{
    ngx_msec_t            waits;
    ngx_sio_queue_due_t  *due;

    *stat = q->stat;
    q->stat.delay = 0;

    due = &q->due[q->due_first];

    if (q->ndue && due->kind == NGX_SIO_QUEUE_PUBLISH) {
        waits = ngx_current_msec - due->since;
        stat->delay = ngx_max(stat->delay, waits);
    }

    stat->oversized = q->subscriber.oversized;
    stat->pending = q->ndue;
    stat->up = (q->state == NGX_SIO_QUEUE_UP);
}


void
ngx_sio_queue_replace(ngx_sio_queue_t *q)
{
    if (q->state == NGX_SIO_QUEUE_UP) {
        ngx_sio_queue_trouble(q, "nothing comes back", 18, 0);
        ngx_sio_queue_wait(q);
    }
}


void
ngx_sio_queue_flush(ngx_sio_queue_t *q)
{
    if (q->state == NGX_SIO_QUEUE_UP) {
        ngx_sio_redis_flush(&q->publisher);
    }
}


/* Connecting: a round tries each address once. */

static void
ngx_sio_queue_round(ngx_sio_queue_t *q)
{
    q->tried = 0;

    if (q->conf->url->naddrs) {
        ngx_sio_queue_connect(q);
        return;
    }

    q->state = NGX_SIO_QUEUE_RESOLVING;

    if (q->conf->resolver == NULL || ngx_sio_queue_resolve(q) != NGX_OK) {
        ngx_sio_queue_trouble(q, "cannot be resolved", 18, 0);
        ngx_sio_queue_wait(q);
    }
}


static ngx_int_t
ngx_sio_queue_resolve(ngx_sio_queue_t *q)
{
    ngx_resolver_ctx_t  *ctx, temp;

    ngx_memzero(&temp, sizeof(ngx_resolver_ctx_t));
    temp.name = q->conf->url->host;

    ctx = ngx_resolve_start(q->conf->resolver, &temp);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        return NGX_ERROR;
    }

    ctx->name = q->conf->url->host;
    ctx->handler = ngx_sio_queue_resolved;
    ctx->data = q;
    ctx->timeout = q->conf->resolver_timeout;
    ctx->cancelable = 1;

    q->resolve = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        q->resolve = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_sio_queue_resolved(ngx_resolver_ctx_t *ctx)
{
    ngx_int_t         rc;
    const char       *why;
    ngx_sio_queue_t  *q;

    q = ctx->data;
    why = "no memory";

    if (ctx->state) {
        why = ngx_resolver_strerror(ctx->state);
        rc = NGX_ERROR;

    } else {
        rc = ngx_sio_queue_keep(q, ctx);
    }

    q->resolve = NULL;
    ngx_resolve_name_done(ctx);

    if (rc != NGX_OK) {
        ngx_sio_queue_trouble(q, why, ngx_strlen(why), 0);
        ngx_sio_queue_wait(q);
        return;
    }

    ngx_sio_queue_connect(q);
}


/* the addresses live on when the resolver's do not */

static ngx_int_t
ngx_sio_queue_keep(ngx_sio_queue_t *q, ngx_resolver_ctx_t *ctx)
{
    u_char              *p;
    ngx_uint_t           i;
    ngx_addr_t          *addrs;
    struct sockaddr     *sockaddr;

    addrs = ngx_calloc(ctx->naddrs * (sizeof(ngx_addr_t) + NGX_SOCKADDRLEN
                                      + NGX_SOCKADDR_STRLEN), q->log);
    if (addrs == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) (addrs + ctx->naddrs);

    for (i = 0; i < ctx->naddrs; i++) {
        sockaddr = (struct sockaddr *) p;
        p += NGX_SOCKADDRLEN;

        ngx_memcpy(sockaddr, ctx->addrs[i].sockaddr, ctx->addrs[i].socklen);
        ngx_inet_set_port(sockaddr, q->conf->url->port);

        addrs[i].sockaddr = sockaddr;
        addrs[i].socklen = ctx->addrs[i].socklen;
    }

    for (i = 0; i < ctx->naddrs; i++) {
        addrs[i].name.data = p;
        addrs[i].name.len = ngx_sock_ntop(addrs[i].sockaddr, addrs[i].socklen,
                                          p, NGX_SOCKADDR_STRLEN, 1);
        p += NGX_SOCKADDR_STRLEN;
    }

    if (q->resolved != NULL) {
        ngx_free(q->resolved);
    }

    q->resolved = addrs;
    q->nresolved = ctx->naddrs;

    return NGX_OK;
}


static void
ngx_sio_queue_connect(ngx_sio_queue_t *q)
{
    ngx_log_t   *log;
    ngx_addr_t  *addrs;
    ngx_uint_t   naddrs;

    addrs = q->resolved ? q->resolved : q->conf->url->addrs;
    naddrs = q->resolved ? q->nresolved : q->conf->url->naddrs;

    log = (q->logged && ngx_time() - q->logged < NGX_SIO_QUEUE_LOG)
          ? &q->quiet : q->log;

    q->publisher.log = log;
    q->subscriber.log = log;

    q->state = NGX_SIO_QUEUE_CONNECTING;
    q->publishing = 0;

    while (q->tried < naddrs) {

        q->tried++;
        q->next = (q->next + 1) % naddrs;

        if (ngx_sio_redis_open(&q->publisher, &addrs[q->next]) == NGX_OK
            && ngx_sio_redis_open(&q->subscriber, &addrs[q->next]) == NGX_OK
            && ngx_sio_queue_greet(q, &q->publisher, "publisher") == NGX_OK
            && ngx_sio_queue_greet(q, &q->subscriber, "subscriber") == NGX_OK)
        {
            return;
        }

        ngx_sio_queue_close(q);
    }

    ngx_sio_queue_trouble(q, "cannot be connected to", 22, 0);
    ngx_sio_queue_wait(q);
}


/* the first commands go out as soon as there is a connection */

static ngx_int_t
ngx_sio_queue_greet(ngx_sio_queue_t *q, ngx_sio_redis_t *r, const char *role)
{
    u_char       *p, db[NGX_INT_T_LEN], name[128];
    ngx_str_t     args[4];
    ngx_uint_t    n;
    ngx_queue_t  *item;

    ngx_sio_queue_url_t      *url;
    ngx_sio_queue_channel_t  *channel;

    url = q->conf->url;

    if (url->password.len) {
        n = 0;
        ngx_str_set(&args[n], "AUTH");
        n++;

        if (url->user.len) {
            args[n++] = url->user;
        }

        args[n++] = url->password;

        if (ngx_sio_queue_greet_command(q, r, args, n, NGX_SIO_QUEUE_LOGIN)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (url->db) {
        ngx_str_set(&args[0], "SELECT");
        args[1].data = db;
        args[1].len = ngx_sprintf(db, "%ui", url->db) - db;

        if (ngx_sio_queue_greet_command(q, r, args, 2, NGX_SIO_QUEUE_LOGIN)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&args[0], "CLIENT");
    ngx_str_set(&args[1], "SETNAME");

    p = ngx_snprintf(name, sizeof(name), "%V-%s", &q->conf->name, role);

    args[2].data = name;
    args[2].len = p - name;

    if (ngx_sio_queue_greet_command(q, r, args, 3, NGX_SIO_QUEUE_WISH)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (r == &q->publisher) {
        ngx_str_set(&args[0], "PING");
        return ngx_sio_queue_greet_command(q, r, args, 1, NGX_SIO_QUEUE_PING);
    }

    q->unconfirmed = 0;

    for (item = ngx_queue_head(&q->channels);
         item != ngx_queue_sentinel(&q->channels);
         item = ngx_queue_next(item))
    {
        channel = ngx_queue_data(item, ngx_sio_queue_channel_t, queue);

        if (ngx_sio_queue_tell(q, channel->pattern ? "PSUBSCRIBE"
                                                   : "SUBSCRIBE",
                               &channel->name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        q->unconfirmed++;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_sio_queue_greet_command(ngx_sio_queue_t *q, ngx_sio_redis_t *r,
    ngx_str_t *args, ngx_uint_t nargs, ngx_uint_t kind)
{
    if (ngx_sio_redis_command(r, args, nargs, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r == &q->publisher) {
        return ngx_sio_queue_push(q, kind, 0, 0);
    }

    q->logins++;

    return NGX_OK;
}


static void
ngx_sio_queue_ready(ngx_sio_queue_t *q)
{
    if (q->state != NGX_SIO_QUEUE_CONNECTING || !q->publishing || q->logins
        || q->unconfirmed)
    {
        return;
    }

    q->state = NGX_SIO_QUEUE_UP;
    q->proven = 0;

    ngx_sio_redis_expect(&q->subscriber, 0);

    q->ops->up(q);
}


/* A server that takes messages is well; one may let in and refuse them. */

static void
ngx_sio_queue_proven(ngx_sio_queue_t *q)
{
    if (q->proven) {
        return;
    }

    q->proven = 1;
    q->backoff = 0;
    q->stat.connects++;

    if (q->logged || q->stat.connects == 1) {
        ngx_log_error(NGX_LOG_NOTICE, q->log, 0,
                      "message queue %V is connected",
                      &q->conf->url->shown);
        q->logged = 0;
    }
}


/* Trouble. */

static void
ngx_sio_queue_broken(ngx_sio_redis_t *r, const char *why, ngx_err_t err)
{
    ngx_sio_queue_t  *q;

    q = r->data;

    ngx_sio_queue_trouble(q, why, ngx_strlen(why), err);

    if (q->state == NGX_SIO_QUEUE_CONNECTING
        && q->tried < (q->resolved ? q->nresolved : q->conf->url->naddrs))
    {
        ngx_sio_queue_close(q);
        ngx_sio_queue_connect(q);
        return;
    }

    ngx_sio_queue_wait(q);
}


static void
ngx_sio_queue_trouble(ngx_sio_queue_t *q, const char *why, size_t len,
    ngx_err_t err)
{
    ngx_str_t  text;

    q->stat.failures++;

    if (q->logged && ngx_time() - q->logged < NGX_SIO_QUEUE_LOG) {
        return;
    }

    q->logged = ngx_time();

    text.len = len;
    text.data = (u_char *) why;

    ngx_log_error(NGX_LOG_WARN, q->log, err, "message queue %V: %V",
                  &q->conf->url->shown, &text);
}


static void
ngx_sio_queue_close(ngx_sio_queue_t *q)
{
    ngx_sio_redis_close(&q->publisher);
    ngx_sio_redis_close(&q->subscriber);

    q->publishing = 0;
    q->logins = 0;
    q->unconfirmed = 0;
    q->ndue = 0;
    q->due_first = 0;
    q->due_bytes = 0;
}


/* closes everything and tries again after a while */

static void
ngx_sio_queue_wait(ngx_sio_queue_t *q)
{
    ngx_msec_t  delay;
    ngx_uint_t  was_up;

    was_up = (q->state == NGX_SIO_QUEUE_UP);

    ngx_sio_queue_close(q);

    q->state = NGX_SIO_QUEUE_WAITING;

    /* what was well until now is tried again at once */

    q->backoff = q->backoff ? ngx_min(2 * q->backoff,
                                      NGX_SIO_QUEUE_BACKOFF_MAX)
                            : NGX_SIO_QUEUE_BACKOFF_MIN;

    delay = q->backoff / 2 + (ngx_msec_t) ngx_random() % (q->backoff / 2 + 1);

    ngx_add_timer(&q->retry, delay);

    if (was_up) {
        q->ops->down(q);
    }
}


static void
ngx_sio_queue_retry(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_sio_queue_round(c->data);
}


/* Replies. */

static void
ngx_sio_queue_published(ngx_sio_redis_t *r, redisReply *reply)
{
    ngx_msec_t            delay;
    ngx_sio_queue_t      *q;
    ngx_sio_queue_due_t   due;

    q = r->data;

    if (q->ndue == 0) {

        /* the answer to a PING that kept the connection alive */

        if (reply->type == REDIS_REPLY_ERROR) {
            ngx_sio_queue_trouble(q, reply->str, reply->len, 0);
            ngx_sio_queue_wait(q);
        }

        return;
    }

    due = q->due[q->due_first];

    /* ... which may have been asked before something else was published */

    if (reply->type == REDIS_REPLY_STATUS
        && (due.kind == NGX_SIO_QUEUE_PUBLISH
            || due.kind == NGX_SIO_QUEUE_COUNT))
    {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR && due.kind != NGX_SIO_QUEUE_WISH) {
        ngx_sio_queue_trouble(q, reply->str, reply->len, 0);
        ngx_sio_queue_wait(q);
        return;
    }

    q->due_first = (q->due_first + 1) % q->due_size;
    q->ndue--;
    q->due_bytes -= due.size;

    ngx_sio_redis_expect(r, q->ndue != 0);

    switch (due.kind) {

    case NGX_SIO_QUEUE_PING:
        q->publishing = 1;
        ngx_sio_queue_ready(q);
        break;

    case NGX_SIO_QUEUE_PUBLISH:
        ngx_sio_queue_proven(q);
        q->stat.confirmed++;
        delay = ngx_current_msec - due.since;
        q->stat.delay = ngx_max(q->stat.delay, delay);
        q->ops->confirmed(q, due.tag);
        break;

    case NGX_SIO_QUEUE_COUNT:

        q->ops->counted(q, due.tag,
                        reply->type == REDIS_REPLY_ARRAY
                        && reply->elements == 2
                        && reply->element[1]->type == REDIS_REPLY_INTEGER
                        ? (ngx_uint_t) reply->element[1]->integer : 0);
        break;

    default:
        break;
    }
}


/* [message, channel, payload], [pmessage, pattern, channel, payload], ... */

static void
ngx_sio_queue_received(ngx_sio_redis_t *r, redisReply *reply)
{
    size_t             i;
    ngx_str_t          pattern, channel, payload;
    redisReply       **e;
    ngx_sio_queue_t   *q;

    q = r->data;

    /* the last of the logins is a wish */

    if (reply->type == REDIS_REPLY_ERROR && q->logins != 1) {
        ngx_sio_queue_trouble(q, reply->str, reply->len, 0);
        ngx_sio_queue_wait(q);
        return;
    }

    if (q->logins) {
        q->logins--;
        ngx_sio_queue_ready(q);
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2) {
        return;
    }

    e = reply->element;

    if (ngx_sio_queue_is(e[0], "subscribe")
        || ngx_sio_queue_is(e[0], "psubscribe"))
    {
        ngx_sio_queue_subscribed(q);
        return;
    }

    ngx_str_null(&pattern);

    if (ngx_sio_queue_is(e[0], "pmessage") && reply->elements == 4) {
        pattern.data = (u_char *) e[1]->str;
        pattern.len = e[1]->len;
        i = 2;

    } else if (ngx_sio_queue_is(e[0], "message") && reply->elements == 3) {
        i = 1;

    } else {
        return;
    }

    /* too large a payload has become a nil */

    if (e[i]->type != REDIS_REPLY_STRING || e[i + 1]->type
                                            != REDIS_REPLY_STRING)
    {
        return;
    }

    channel.data = (u_char *) e[i]->str;
    channel.len = e[i]->len;
    payload.data = (u_char *) e[i + 1]->str;
    payload.len = e[i + 1]->len;

    q->stat.received++;
    q->stat.received_bytes += payload.len;

    if (q->state == NGX_SIO_QUEUE_UP) {
        q->ops->message(q, &pattern, &channel, &payload);
    }
}


static void
ngx_sio_queue_subscribed(ngx_sio_queue_t *q)
{
    if (q->unconfirmed) {
        q->unconfirmed--;
        ngx_sio_queue_ready(q);
    }
}


static ngx_uint_t
ngx_sio_queue_is(redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING
           && reply->len == ngx_strlen(word)
           && ngx_strncmp(reply->str, word, reply->len) == 0;
}


/* Commands. */

ngx_int_t
ngx_sio_queue_publish(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_str_t *parts, ngx_uint_t nparts, uint64_t tag)
{
    size_t      size;
    ngx_str_t   args[2];
    ngx_uint_t  i;

    if (q->state != NGX_SIO_QUEUE_UP) {
        return NGX_DECLINED;
    }

    size = 0;

    for (i = 0; i < nparts; i++) {
        size += parts[i].len;
    }

    if (size > q->conf->max_publish) {
        return NGX_DECLINED;
    }

    /* one that is larger than all may be goes without another one */

    if (q->ndue >= q->conf->max_pending
        || (q->due_bytes
            && size > q->conf->max_buffer - ngx_min(q->due_bytes,
                                                    q->conf->max_buffer)))
    {
        return NGX_AGAIN;
    }

    ngx_str_set(&args[0], "PUBLISH");
    args[1] = *channel;

    if (ngx_sio_redis_command(&q->publisher, args, 2, parts, nparts)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    q->stat.published++;
    q->stat.published_bytes += size;

    return ngx_sio_queue_push(q, NGX_SIO_QUEUE_PUBLISH, tag, size);
}


ngx_int_t
ngx_sio_queue_count(ngx_sio_queue_t *q, ngx_str_t *channel, uint64_t tag)
{
    ngx_str_t  args[3];

    if (q->state != NGX_SIO_QUEUE_UP) {
        return NGX_DECLINED;
    }

    if (q->ndue >= q->conf->max_pending) {
        return NGX_AGAIN;
    }

    ngx_str_set(&args[0], "PUBSUB");
    ngx_str_set(&args[1], "NUMSUB");
    args[2] = *channel;

    if (ngx_sio_redis_command(&q->publisher, args, 3, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_sio_queue_push(q, NGX_SIO_QUEUE_COUNT, tag, 0);
}


/* a reply is due; there is always room for what may be */

static ngx_int_t
ngx_sio_queue_push(ngx_sio_queue_t *q, ngx_uint_t kind, uint64_t tag,
    size_t size)
{
    ngx_sio_queue_due_t  *due;

    if (q->ndue == q->due_size) {
        return NGX_ERROR;
    }

    due = &q->due[(q->due_first + q->ndue) % q->due_size];

    due->tag = tag;
    due->since = ngx_current_msec;
    due->size = size;
    due->kind = kind;

    q->ndue++;
    q->due_bytes += size;

    ngx_sio_redis_expect(&q->publisher, 1);

    return NGX_OK;
}


ngx_int_t
ngx_sio_queue_subscribe(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_uint_t pattern)
{
    ngx_sio_queue_channel_t  *ch;

    if (ngx_sio_queue_channel(q, channel, pattern) != NULL) {
        return NGX_OK;
    }

    ch = ngx_alloc(sizeof(ngx_sio_queue_channel_t) + channel->len, q->log);
    if (ch == NULL) {
        return NGX_ERROR;
    }

    if (q->subscriber.connection != NULL) {

        if (ngx_sio_queue_tell(q, pattern ? "PSUBSCRIBE" : "SUBSCRIBE",
                               channel)
            != NGX_OK)
        {
            ngx_free(ch);
            return NGX_ERROR;
        }

        q->unconfirmed++;
    }

    ch->name.len = channel->len;
    ch->name.data = (u_char *) (ch + 1);
    ngx_memcpy(ch->name.data, channel->data, channel->len);
    ch->pattern = pattern;

    ngx_queue_insert_tail(&q->channels, &ch->queue);

    return NGX_OK;
}


ngx_int_t
ngx_sio_queue_unsubscribe(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_uint_t pattern)
{
    ngx_sio_queue_channel_t  *ch;

    ch = ngx_sio_queue_channel(q, channel, pattern);

    if (ch == NULL) {
        return NGX_OK;
    }

    if (q->subscriber.connection != NULL
        && ngx_sio_queue_tell(q, pattern ? "PUNSUBSCRIBE" : "UNSUBSCRIBE",
                              channel)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_queue_remove(&ch->queue);
    ngx_free(ch);

    return NGX_OK;
}


static ngx_sio_queue_channel_t *
ngx_sio_queue_channel(ngx_sio_queue_t *q, ngx_str_t *name, ngx_uint_t pattern)
{
    ngx_queue_t              *item;
    ngx_sio_queue_channel_t  *ch;

    for (item = ngx_queue_head(&q->channels);
         item != ngx_queue_sentinel(&q->channels);
         item = ngx_queue_next(item))
    {
        ch = ngx_queue_data(item, ngx_sio_queue_channel_t, queue);

        if (ch->pattern == pattern && ch->name.len == name->len
            && ngx_memcmp(ch->name.data, name->data, name->len) == 0)
        {
            return ch;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_sio_queue_tell(ngx_sio_queue_t *q, const char *command,
    ngx_str_t *channel)
{
    ngx_str_t  args[2];

    args[0].len = ngx_strlen(command);
    args[0].data = (u_char *) command;
    args[1] = *channel;

    return ngx_sio_redis_command(&q->subscriber, args, 2, NULL, 0);
}
