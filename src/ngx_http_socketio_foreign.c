#include "ngx_http_socketio_foreign.h"
#include "ngx_http_socketio_parse.h"
#include "ngx_http_socketio_result.h"
#include "ngx_http_socketio_worker_private.h"
#include "ngx_sio_hub.h"


/* of each line */
#define NGX_HTTP_SOCKETIO_FOREIGN_WAITING      4096

#define NGX_HTTP_SOCKETIO_FOREIGN_NODES        100000
#define NGX_HTTP_SOCKETIO_FOREIGN_ROOMS        1024
#define NGX_HTTP_SOCKETIO_FOREIGN_ATTACHMENTS  1024


static ngx_int_t ngx_http_socketio_foreign_command(
    ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m,
    ngx_http_socketio_command_t *cmd);
static ngx_int_t ngx_http_socketio_foreign_names(ngx_sio_qmsg_room_t *rooms,
    ngx_uint_t n, ngx_str_t **names, ngx_pool_t *pool);
static ngx_http_socketio_waiting_t *ngx_http_socketio_foreign_new(
    ngx_http_socketio_line_t *line, ngx_sio_qmsg_t *m);
static void ngx_http_socketio_foreign_answered(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body);
static void ngx_http_socketio_foreign_result(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *body);
static void ngx_http_socketio_foreign_acked(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *body);
static void ngx_http_socketio_foreign_over(ngx_http_socketio_waiting_t *wait);
static void ngx_http_socketio_foreign_free(ngx_http_socketio_waiting_t *wait);


void
ngx_http_socketio_foreign_limits(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_limits_t *limits)
{
    limits->depth = NGX_HTTP_SOCKETIO_MAX_DEPTH;
    limits->nodes = NGX_HTTP_SOCKETIO_FOREIGN_NODES;
    limits->rooms = NGX_HTTP_SOCKETIO_FOREIGN_ROOMS;
    limits->attachments = NGX_HTTP_SOCKETIO_FOREIGN_ATTACHMENTS;
    limits->name = NGX_HTTP_SOCKETIO_MAX_NAME;
    limits->json = ngx_sio_hub_max_entry(line->bridge->worker->zone->size);
}


ngx_int_t
ngx_http_socketio_foreign_target(ngx_sio_target_t *target, ngx_sio_qmsg_t *m,
    ngx_pool_t *pool)
{
    ngx_uint_t            i;
    ngx_sio_qmsg_room_t  *rooms;

    m->nsp = target->nsp;
    m->all = (target->nto == 0);

    if (target->nto + target->nexcept == 0) {
        return NGX_OK;
    }

    rooms = ngx_pcalloc(pool, (target->nto + target->nexcept)
                              * sizeof(ngx_sio_qmsg_room_t));
    if (rooms == NULL) {
        return NGX_ERROR;
    }

    m->rooms = rooms;
    m->nrooms = target->nto;

    for (i = 0; i < target->nto; i++) {
        rooms[i].name = target->to[i];
    }

    m->except = rooms + target->nto;
    m->nexcept = target->nexcept;

    for (i = 0; i < target->nexcept; i++) {
        m->except[i].name = target->except[i];
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_foreign_told(ngx_http_socketio_line_t *line, ngx_int_t rc)
{
    if (rc == NGX_DECLINED && line->up) {

        /* there are no words for it; the hosts of this module have got it */

        line->kept->untold++;
        return NGX_OK;
    }

    return rc == NGX_OK ? NGX_OK : NGX_AGAIN;
}


void
ngx_http_socketio_foreign_apply(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m)
{
    ngx_int_t                    rc;
    ngx_http_socketio_command_t  cmd;

    rc = ngx_http_socketio_foreign_command(line, m, &cmd);

    if (rc == NGX_OK) {
        cmd.local = !line->kept->speaks;

        rc = ngx_http_socketio_command_send(line->bridge->worker, &cmd, NULL);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_LARGE,
                                         "too large for the zone");

    } else if (rc != NGX_OK) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                         "the zone is full");
    }
}


/* Codecs say in words what they refuse; these are the ones that matter. */

void
ngx_http_socketio_foreign_refused(ngx_http_socketio_line_t *line,
    ngx_int_t rc, const char *words)
{
    ngx_http_socketio_bridge_reason_e  reason;

    reason = NGX_HTTP_SOCKETIO_BRIDGE_MALFORMED;

    if (rc != NGX_DECLINED) {
        reason = NGX_HTTP_SOCKETIO_BRIDGE_ROOM;
        words = "no memory";

    } else if (ngx_strstr(words, "more than data") != NULL) {
        reason = NGX_HTTP_SOCKETIO_BRIDGE_CODE;

    } else if (ngx_strstr(words, "too ") != NULL
               || ngx_strstr(words, "huge") != NULL)
    {
        reason = NGX_HTTP_SOCKETIO_BRIDGE_LARGE;
    }

    ngx_http_socketio_bridge_refused(line, reason, words);
}


static ngx_int_t
ngx_http_socketio_foreign_command(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m, ngx_http_socketio_command_t *cmd)
{
    ngx_pool_t  *pool;

    pool = line->bridge->worker->pool;

    ngx_memzero(cmd, sizeof(ngx_http_socketio_command_t));

    switch (m->kind) {

    case NGX_SIO_QMSG_EMIT:
        cmd->type = NGX_HTTP_SOCKETIO_EMIT;
        break;

    case NGX_SIO_QMSG_JOIN:
        cmd->type = NGX_HTTP_SOCKETIO_JOIN;
        break;

    case NGX_SIO_QMSG_LEAVE:
        cmd->type = NGX_HTTP_SOCKETIO_LEAVE;
        break;

    default: /* NGX_SIO_QMSG_DISCONNECT */
        cmd->type = NGX_HTTP_SOCKETIO_KICK;
    }

    cmd->local = 1;
    cmd->from = ngx_sio_bridge_number(line->bridge->kept, line->kept);
    cmd->is_volatile = m->is_volatile;
    cmd->close = m->close;
    cmd->json = m->json;
    cmd->attachments = m->attachments;
    cmd->nattachments = m->nattachments;

    cmd->target.nsp = m->nsp;
    cmd->target.nto = m->nrooms;
    cmd->target.nexcept = m->nexcept;
    cmd->nrooms = m->nop_rooms;

    if (ngx_http_socketio_foreign_names(m->rooms, m->nrooms, &cmd->target.to,
                                        pool) != NGX_OK
        || ngx_http_socketio_foreign_names(m->except, m->nexcept,
                                           &cmd->target.except, pool) != NGX_OK
        || ngx_http_socketio_foreign_names(m->op_rooms, m->nop_rooms,
                                           &cmd->rooms, pool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_foreign_names(ngx_sio_qmsg_room_t *rooms, ngx_uint_t n,
    ngx_str_t **names, ngx_pool_t *pool)
{
    ngx_uint_t  i;

    if (n == 0) {
        return NGX_OK;
    }

    *names = ngx_palloc(pool, n * sizeof(ngx_str_t));
    if (*names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        (*names)[i] = rooms[i].name;
    }

    return NGX_OK;
}


/* Acknowledgements. */

void
ngx_http_socketio_foreign_ask(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m, ngx_msec_t time, ngx_uint_t first,
    ngx_http_socketio_counted_pt counted, ngx_http_socketio_acked_pt acked)
{
    u_char                        token[NGX_HTTP_SOCKETIO_RESULT_TOKEN];
    ngx_int_t                     rc;
    ngx_sio_hub_members_t         members;
    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_command_t   cmd;
    ngx_http_socketio_waiting_t  *wait;

    w = line->bridge->worker;

    if (ngx_http_socketio_foreign_command(line, m, &cmd) != NGX_OK) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                         "no memory");
        return;
    }

    wait = ngx_http_socketio_foreign_new(line, m);

    if (wait == NULL) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                         "too many acknowledgements");
        return;
    }

    if (line->kept->speaks) {

        /* answers are given to servers of the own kind only */

        cmd.local = 0;
        cmd.elsewhere = 1;

        if (ngx_http_socketio_command_send(w, &cmd, NULL) != NGX_OK) {
            ngx_http_socketio_bridge_refused(line,
                                             NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                             "the zone is full");
        }

        cmd.local = 1;
        cmd.elsewhere = 0;
    }

    wait->counted = counted;
    wait->acked = acked;
    wait->first = first;
    wait->until = ngx_current_msec + time;

    cmd.count = wait->parked->waiter;
    cmd.expires = wait->until;

    ngx_http_socketio_result_token(token, &cmd);

    cmd.token.data = token;
    cmd.token.len = sizeof(token);

    rc = ngx_http_socketio_command_send(w, &cmd, &members);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_socketio_bridge_refused(line, NGX_HTTP_SOCKETIO_BRIDGE_ROOM,
                                         "the zone is full");
        ngx_http_socketio_foreign_free(wait);
        return;
    }

    /* no answer comes from inside the call; if it waits, members come first */

    if (rc == NGX_OK) {
        wait->results = ngx_sio_hub_members_count(&members);
    }
}


static ngx_http_socketio_waiting_t *
ngx_http_socketio_foreign_new(ngx_http_socketio_line_t *line,
    ngx_sio_qmsg_t *m)
{
    u_char                       *p;
    ngx_uint_t                    i;
    ngx_http_socketio_waiting_t  *wait;

    ngx_str_t  *texts[4];

    if (line->nwaiting == NGX_HTTP_SOCKETIO_FOREIGN_WAITING) {
        return NULL;
    }

    wait = ngx_calloc(sizeof(ngx_http_socketio_waiting_t) + m->origin.len
                      + m->nsp.len + m->request_id.len + m->room.name.len,
                      ngx_cycle->log);
    if (wait == NULL) {
        return NULL;
    }

    wait->parked = ngx_http_socketio_park(line->bridge->worker, NULL,
                                          ngx_http_socketio_foreign_answered,
                                          wait);
    if (wait->parked == NULL) {
        ngx_free(wait);
        return NULL;
    }

    wait->parked->owner = ngx_sio_hub_addr_all();

    wait->line = line;
    wait->m.origin = m->origin;
    wait->m.nsp = m->nsp;
    wait->m.request_id = m->request_id;
    wait->m.room = m->room;
    wait->m.id = m->id;

    texts[0] = &wait->m.origin;
    texts[1] = &wait->m.nsp;
    texts[2] = &wait->m.request_id;
    texts[3] = &wait->m.room.name;

    p = (u_char *) (wait + 1);

    for (i = 0; i < 4; i++) {
        if (texts[i]->len) {
            ngx_memcpy(p, texts[i]->data, texts[i]->len);
        }

        texts[i]->data = p;
        p += texts[i]->len;
    }

    ngx_queue_insert_tail(&line->waiting, &wait->queue);
    line->nwaiting++;

    return wait;
}


static void
ngx_http_socketio_foreign_answered(ngx_http_socketio_parked_t *p,
    ngx_uint_t kind, ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    ngx_http_socketio_members_t   members;
    ngx_http_socketio_waiting_t  *wait;

    (void) from;

    wait = p->data;

    switch (kind) {

    case NGX_HTTP_SOCKETIO_MEMBERS:
        ngx_memcpy(&members, body->data, sizeof(members));
        wait->results = ngx_sio_hub_members_count(&members.members);
        break;

    case NGX_HTTP_SOCKETIO_RESULT:
        ngx_http_socketio_foreign_result(wait, body);
        break;

    case NGX_HTTP_SOCKETIO_ACKED:
        ngx_http_socketio_foreign_acked(wait, body);
        break;

    default:
        /* a worker has died: its clients are missed when time is over */
        break;
    }
}


static void
ngx_http_socketio_foreign_result(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *body)
{
    u_char                      *due;
    ngx_str_t                    rows;
    ngx_uint_t                   i;
    ngx_http_socketio_due_t      d;
    ngx_http_socketio_result_t   result;

    if (ngx_http_socketio_result_decode(body, &result, &due, &rows) != NGX_OK)
    {
        return;
    }

    wait->results--;

    for (i = 0; i < result.ndue; i++) {
        ngx_memcpy(&d, due, sizeof(d));
        due += sizeof(d);
        wait->results += d.n;
    }

    wait->matched += result.matched;
    wait->owed += result.matched;

    if (wait->results > 0) {
        return;
    }

    if (wait->counted != NULL) {
        wait->counted(wait, wait->matched);
        wait->counted = NULL;
    }

    ngx_http_socketio_foreign_over(wait);
}


static void
ngx_http_socketio_foreign_acked(ngx_http_socketio_waiting_t *wait,
    ngx_str_t *body)
{
    u_char                      *p;
    ngx_str_t                    args;
    ngx_pool_t                  *pool;
    ngx_http_socketio_acked_t    acked;

    pool = wait->line->bridge->worker->pool;

    if (ngx_http_socketio_result_acked_decode(body, &acked, pool) != NGX_OK
        || acked.what == NGX_HTTP_SOCKETIO_ACK_MOVED)
    {
        return;
    }

    wait->owed--;

    if (acked.what == NGX_HTTP_SOCKETIO_ACK_ANSWERED) {

        args.len = acked.args.len + 2;
        args.data = ngx_pnalloc(pool, args.len);

        if (args.data != NULL) {
            p = args.data;
            *p++ = '[';

            if (acked.args.len) {
                p = ngx_cpymem(p, acked.args.data, acked.args.len);
            }

            *p = ']';

            wait->acked(wait, &args, acked.attachments, acked.nattachments);
        }

        if (wait->first) {
            ngx_http_socketio_foreign_free(wait);
            return;
        }
    }

    ngx_http_socketio_foreign_over(wait);
}


static void
ngx_http_socketio_foreign_over(ngx_http_socketio_waiting_t *wait)
{
    if (wait->results == 0 && wait->owed == 0) {
        ngx_http_socketio_foreign_free(wait);
    }
}


static void
ngx_http_socketio_foreign_free(ngx_http_socketio_waiting_t *wait)
{
    ngx_queue_remove(&wait->queue);
    wait->line->nwaiting--;

    ngx_http_socketio_unpark(wait->parked);
    ngx_free(wait);
}


/* Those that came first need not end first: their times differ. */

void
ngx_http_socketio_foreign_tick(ngx_http_socketio_line_t *line)
{
    ngx_queue_t                  *q, *next;
    ngx_http_socketio_waiting_t  *wait;

    for (q = ngx_queue_head(&line->waiting);
         q != ngx_queue_sentinel(&line->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        wait = ngx_queue_data(q, ngx_http_socketio_waiting_t, queue);

        if ((ngx_msec_int_t) (wait->until - ngx_current_msec) <= 0) {
            ngx_http_socketio_foreign_free(wait);
        }
    }
}


void
ngx_http_socketio_foreign_clear(ngx_http_socketio_line_t *line)
{
    while (!ngx_queue_empty(&line->waiting)) {
        ngx_http_socketio_foreign_free(
            ngx_queue_data(ngx_queue_head(&line->waiting),
                           ngx_http_socketio_waiting_t, queue));
    }
}
