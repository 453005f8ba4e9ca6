/*
 * Servers and emitters of python-socketio, Flask-SocketIO among them, on a
 * message queue: their messages become commands, and commands their messages.
 */

#include "ngx_http_socketio_queue.h"
#include "ngx_http_socketio_foreign.h"
#include "ngx_sio_python.h"


/*
 * What an id of our own begins with: "nginx" in hexadecimal.  Other hosts of
 * this module have heard it as an entry already.
 */
#define NGX_HTTP_SOCKETIO_PYTHON_PREFIX  "6e67696e78"

/* how long a client may take to answer, msec; servers wait for ever */
#define NGX_HTTP_SOCKETIO_PYTHON_PATIENCE  60000

/* of one command; those behind it wait */
#define NGX_HTTP_SOCKETIO_PYTHON_MESSAGES  10000

/* hexadecimal digits, as of a UUID */
#define NGX_HTTP_SOCKETIO_PYTHON_HOST    32


typedef struct {
    ngx_str_t               host;      /* what we call ourselves there */
    ngx_sio_qmsg_limits_t   limits;
    u_char                  text[NGX_HTTP_SOCKETIO_PYTHON_HOST];
} ngx_http_socketio_python_t;


static ngx_int_t ngx_http_socketio_python_open(ngx_http_socketio_line_t *line);
static void ngx_http_socketio_python_close(ngx_http_socketio_line_t *line);
static ngx_int_t ngx_http_socketio_python_publish(
    ngx_http_socketio_line_t *line, ngx_http_socketio_command_t *cmd,
    ngx_uint_t n);
static ngx_int_t ngx_http_socketio_python_translate(
    ngx_http_socketio_line_t *line, ngx_http_socketio_command_t *cmd,
    ngx_uint_t n, ngx_sio_qmsg_t *m);
static void ngx_http_socketio_python_message(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload);
static void ngx_http_socketio_python_acked(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n);


const ngx_http_socketio_format_t  ngx_http_socketio_python = {
    ngx_string("python"),
    ngx_string("flask-socketio"),
    ngx_http_socketio_python_open,
    ngx_http_socketio_python_close,
    ngx_http_socketio_python_publish,
    ngx_http_socketio_python_message,
    NULL,
    NULL,
    NULL
};


static ngx_int_t
ngx_http_socketio_python_open(ngx_http_socketio_line_t *line)
{
    u_char                      *p;
    ngx_http_socketio_python_t  *py;

    py = ngx_calloc(sizeof(ngx_http_socketio_python_t), ngx_cycle->log);
    if (py == NULL) {
        return NGX_ERROR;
    }

    line->foreign = py;

    p = ngx_cpymem(py->text, NGX_HTTP_SOCKETIO_PYTHON_PREFIX,
                   sizeof(NGX_HTTP_SOCKETIO_PYTHON_PREFIX) - 1);

    (void) ngx_hex_dump(p, ngx_sio_bridge_id(line->bridge->kept),
                        (NGX_HTTP_SOCKETIO_PYTHON_HOST
                         - sizeof(NGX_HTTP_SOCKETIO_PYTHON_PREFIX) + 1) / 2);

    py->host.data = py->text;
    py->host.len = NGX_HTTP_SOCKETIO_PYTHON_HOST;

    ngx_http_socketio_foreign_limits(line, &py->limits);

    return ngx_sio_queue_subscribe(line->queue, &line->conf->channel, 0);
}


static void
ngx_http_socketio_python_close(ngx_http_socketio_line_t *line)
{
    if (line->foreign != NULL) {
        ngx_free(line->foreign);
        line->foreign = NULL;
    }
}


/* Commands to servers. */

static ngx_int_t
ngx_http_socketio_python_publish(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd, ngx_uint_t n)
{
    ngx_int_t                    rc;
    ngx_str_t                    payload;
    ngx_sio_qmsg_t               m;
    ngx_http_socketio_python_t  *py;

    py = line->foreign;

    rc = ngx_http_socketio_python_translate(line, cmd, n, &m);

    if (rc != NGX_OK) {
        return rc;
    }

    m.origin = py->host;

    rc = ngx_sio_python_encode(&m, line->conf->dialect,
                               line->conf->conf.max_message, &payload,
                               line->bridge->worker->pool);

    if (rc == NGX_OK) {
        rc = ngx_sio_queue_publish(line->queue, &line->conf->channel, &payload,
                                   1, 0);
    }

    return ngx_http_socketio_foreign_told(line, rc);
}


/*
 * An emit is one message.  The others are of one socket and one room there, so
 * that a command is as many as its targets and rooms together.
 */

static ngx_int_t
ngx_http_socketio_python_translate(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd, ngx_uint_t n, ngx_sio_qmsg_t *m)
{
    ngx_uint_t   i, nrooms;
    ngx_pool_t  *pool;

    pool = line->bridge->worker->pool;

    ngx_memzero(m, sizeof(ngx_sio_qmsg_t));

    m->nsp = cmd->target.nsp;

    switch (cmd->type) {

    case NGX_HTTP_SOCKETIO_EMIT:

        if (n > 0) {
            return NGX_DONE;
        }

        m->kind = NGX_SIO_QMSG_EMIT;
        m->json = cmd->json;
        m->attachments = cmd->attachments;
        m->nattachments = cmd->nattachments;

        return ngx_http_socketio_foreign_target(&cmd->target, m, pool)
               == NGX_OK ? NGX_OK : NGX_AGAIN;

    case NGX_HTTP_SOCKETIO_JOIN:
        m->kind = NGX_SIO_QMSG_JOIN;
        break;

    case NGX_HTTP_SOCKETIO_LEAVE:
        m->kind = NGX_SIO_QMSG_LEAVE;
        break;

    case NGX_HTTP_SOCKETIO_KICK:
        m->kind = NGX_SIO_QMSG_DISCONNECT;
        break;

    default:
        return NGX_DONE;
    }

    nrooms = (cmd->type == NGX_HTTP_SOCKETIO_KICK) ? 1 : cmd->nrooms;

    if (n >= cmd->target.nto * nrooms) {
        return NGX_DONE;
    }

    if (cmd->target.nto * nrooms > NGX_HTTP_SOCKETIO_PYTHON_MESSAGES) {
        line->kept->untold++;
        return NGX_DONE;
    }

    m->rooms = ngx_pcalloc(pool, 2 * sizeof(ngx_sio_qmsg_room_t));
    if (m->rooms == NULL) {
        return NGX_AGAIN;
    }

    i = n / nrooms;
    m->rooms[0].name = cmd->target.to[i];
    m->nrooms = 1;

    if (cmd->type != NGX_HTTP_SOCKETIO_KICK) {
        m->op_rooms = &m->rooms[1];
        m->op_rooms[0].name = cmd->rooms[n % nrooms];
        m->nop_rooms = 1;
    }

    return NGX_OK;
}


/* Messages of servers. */

static void
ngx_http_socketio_python_message(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload)
{
    ngx_int_t                     rc;
    const char                   *reason;
    ngx_sio_qmsg_t                m;
    ngx_http_socketio_python_t   *py;
    ngx_http_socketio_worker_t   *w;

    py = line->foreign;
    w = line->bridge->worker;

    ngx_reset_pool(w->pool);

    rc = ngx_sio_python_decode(payload, line->conf->dialect, &py->limits, &m,
                               w->pool, &reason);

    if (rc != NGX_OK) {
        ngx_http_socketio_foreign_refused(line, rc, reason);
        return;
    }

    if (m.kind == NGX_SIO_QMSG_ACK) {
        /* we ask for none in these words */
        return;
    }

    if (m.origin.len == NGX_HTTP_SOCKETIO_PYTHON_HOST
        && ngx_strncmp(m.origin.data, NGX_HTTP_SOCKETIO_PYTHON_PREFIX,
                       sizeof(NGX_HTTP_SOCKETIO_PYTHON_PREFIX) - 1)
           == 0)
    {
        return;
    }

    line->kept->taken++;

    if (m.kind != NGX_SIO_QMSG_EMIT || m.id == 0 || m.origin.len == 0) {
        ngx_http_socketio_foreign_apply(line, &m);
        return;
    }

    ngx_http_socketio_foreign_ask(line, &m, NGX_HTTP_SOCKETIO_PYTHON_PATIENCE,
                                  1, NULL, ngx_http_socketio_python_acked);
}


/* The first answer of any client counts, and comes with the room's name. */

static void
ngx_http_socketio_python_acked(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *args, ngx_str_t *attachments, ngx_uint_t n)
{
    ngx_str_t                  payload;
    ngx_sio_qmsg_t             m;
    ngx_http_socketio_line_t  *line;

    line = wait->line;

    ngx_memzero(&m, sizeof(ngx_sio_qmsg_t));

    m.kind = NGX_SIO_QMSG_ACK;
    m.to_origin = wait->m.origin;
    m.nsp = wait->m.nsp;
    m.room = wait->m.room;
    m.id = wait->m.id;
    m.json = *args;
    m.attachments = attachments;
    m.nattachments = n;

    if (ngx_sio_python_encode(&m, line->conf->dialect,
                              line->conf->conf.max_message, &payload,
                              line->bridge->worker->pool)
           != NGX_OK
        || ngx_http_socketio_bridge_send(line, &line->conf->channel, &payload,
                                         1)
           != NGX_OK)
    {
        line->kept->untold++;
    }
}
