
/*
 * What a Redis server sends: replies do not depend on where it is cut, none
 * is above the limits, and what is no reply ends the connection, once.
 *
 * The events and connections that the file needs besides are not called here.
 *
 * libs: -l:libhiredis.a -lssl -lcrypto
 * libs: -Wl,--unresolved-symbols=ignore-in-object-files -no-pie
 */

#include "fuzz.h"
#include "../../src/queue/ngx_sio_redis.c"


#define FUZZ_MAX_REPLY  1000


typedef struct {
    ngx_sio_redis_t     redis;         /* first: the callbacks get it */
    ngx_connection_t    connection;
    ngx_event_t         read;
    ngx_event_t         write;
    const u_char       *pos;
    const u_char       *end;
    size_t              seed;          /* of the pieces; 0: one */
    ngx_uint_t          broken;

    u_char             *said;
    size_t              len;
    size_t              size;
} fuzz_server_t;


ngx_int_t
ngx_handle_read_event(ngx_event_t *rev, ngx_uint_t flags)
{
    (void) rev;
    (void) flags;

    return NGX_OK;
}


void
ngx_close_connection(ngx_connection_t *c)
{
    (void) c;
}


static ssize_t
fuzz_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t          n;
    fuzz_server_t  *server;

    server = c->data;
    n = ngx_min(size, (size_t) (server->end - server->pos));

    if (n == 0) {
        return NGX_AGAIN;
    }

    if (server->seed) {
        server->seed = server->seed * 1103515245 + 12345;
        n = ngx_min(n, 1 + ((server->seed >> 16) & 31));
    }

    memcpy(buf, server->pos, n);
    server->pos += n;

    return n;
}


static void
fuzz_put(fuzz_server_t *server, const void *data, size_t len)
{
    if (server->len + len > server->size) {
        server->size = 2 * (server->len + len) + 256;
        server->said = realloc(server->said, server->size);
        ngx_sio_fuzz_check(server->said != NULL);
    }

    if (len) {
        memcpy(server->said + server->len, data, len);
        server->len += len;
    }
}


static void
fuzz_value(fuzz_server_t *server, redisReply *reply)
{
    size_t  i;

    fuzz_put(server, &reply->type, sizeof(reply->type));

    switch (reply->type) {

    case REDIS_REPLY_STRING:
        ngx_sio_fuzz_check(reply->len <= FUZZ_MAX_REPLY);
        /* fall through */

    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        ngx_sio_fuzz_check(reply->len <= NGX_SIO_REDIS_LINE);
        fuzz_put(server, reply->str, reply->len);
        break;

    case REDIS_REPLY_INTEGER:
        fuzz_put(server, &reply->integer, sizeof(reply->integer));
        break;

    case REDIS_REPLY_ARRAY:
        ngx_sio_fuzz_check(reply->elements <= NGX_SIO_REDIS_ELEMENTS);

        for (i = 0; i < reply->elements; i++) {
            fuzz_value(server, reply->element[i]);
        }

        break;

    default:
        ngx_sio_fuzz_check(reply->type == REDIS_REPLY_NIL);
    }
}


static void
fuzz_reply(ngx_sio_redis_t *r, redisReply *reply)
{
    ngx_sio_fuzz_check(!((fuzz_server_t *) r)->broken);

    fuzz_value((fuzz_server_t *) r, reply);
}


static void
fuzz_broken(ngx_sio_redis_t *r, const char *why, ngx_err_t err)
{
    (void) err;

    ngx_sio_fuzz_check(*why && r->connection == NULL);

    ((fuzz_server_t *) r)->broken++;
}


static void
fuzz_server(fuzz_server_t *server, ngx_str_t *in, size_t seed)
{
    ngx_sio_redis_t   *r;
    ngx_connection_t  *c;

    memset(server, 0, sizeof(fuzz_server_t));

    server->pos = in->data;
    server->end = in->data + in->len;
    server->seed = seed;

    c = &server->connection;
    c->data = server;
    c->read = &server->read;
    c->write = &server->write;
    c->recv = fuzz_recv;
    server->read.data = c;

    r = &server->redis;
    r->connection = c;
    r->reader = redisReaderCreate();
    r->max_reply = FUZZ_MAX_REPLY;
    r->log = ngx_cycle->log;
    r->reply = fuzz_reply;
    r->broken = fuzz_broken;
    r->connected = 1;

    ngx_sio_fuzz_check(r->reader != NULL);

    ngx_sio_redis_read(&server->read);

    ngx_sio_fuzz_check(server->broken <= 1);
    ngx_sio_fuzz_check(server->broken || server->pos == server->end);
    ngx_sio_fuzz_check((r->connection == NULL) == server->broken);

    ngx_sio_redis_close(r);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t      in;
    ngx_uint_t     cut;
    fuzz_server_t  whole, pieces;

    cut = ngx_sio_fuzz_option(data, &size);

    ngx_sio_fuzz_copy(&in, data, size);

    fuzz_server(&whole, &in, 0);
    fuzz_server(&pieces, &in, 1 + cut);

    /* what comes before an error is handed over as far as it goes */

    ngx_sio_fuzz_check(whole.broken == pieces.broken);
    ngx_sio_fuzz_check(whole.broken || whole.len == pieces.len);
    ngx_sio_fuzz_check(whole.broken || whole.len == 0
                       || memcmp(whole.said, pieces.said, whole.len) == 0);

    free(whole.said);
    free(pieces.said);
    free(in.data);

    return 0;
}
