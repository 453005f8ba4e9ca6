
#include "ngx_http_socketio_bridge_private.h"
#include "ngx_http_socketio_cluster.h"
#include "ngx_http_socketio_remote.h"


/* what waits for room in a queue, octets */
#define NGX_HTTP_SOCKETIO_BRIDGE_OUTBOX  (4 * 1024 * 1024)

/* entries that are shipped in one turn */
#define NGX_HTTP_SOCKETIO_BRIDGE_BATCH   256


static ngx_int_t ngx_http_socketio_bridge_post(ngx_http_socketio_line_t *line);
static ngx_int_t ngx_http_socketio_bridge_ship(ngx_http_socketio_line_t *line);
static ngx_int_t ngx_http_socketio_bridge_entry(ngx_http_socketio_line_t *line,
    ngx_sio_hub_entry_t *e);


ngx_int_t
ngx_http_socketio_bridge_send(ngx_http_socketio_line_t *line,
    ngx_str_t *channel, ngx_str_t *parts, ngx_uint_t nparts)
{
    ngx_int_t  rc;
    ngx_str_t  none;

    if (line->up && ngx_http_socketio_letter_first(&line->outbox) == NULL) {

        rc = ngx_sio_queue_publish(line->queue, channel, parts, nparts, 0);

        if (rc != NGX_AGAIN) {
            return rc == NGX_OK ? NGX_OK : NGX_DECLINED;
        }
    }

    ngx_str_null(&none);

    return ngx_http_socketio_letter_insert(&line->outbox,
                                           NGX_HTTP_SOCKETIO_BRIDGE_OUTBOX,
                                           &none, channel, parts, nparts);
}


ngx_int_t
ngx_http_socketio_bridge_send_to(ngx_http_socketio_line_t *line, u_char *host,
    ngx_str_t *channel, ngx_str_t *parts, ngx_uint_t nparts)
{
    ngx_str_t               id;
    ngx_sio_bridge_t       *kept;
    ngx_sio_bridge_peer_t  *peer;

    kept = line->bridge->kept;
    peer = ngx_sio_bridge_find(kept, host);

    if (peer == NULL) {
        return NGX_DECLINED;
    }

    if (line->up && line->heard[peer - kept->head->peers]) {
        return ngx_http_socketio_bridge_send(line, channel, parts, nparts);
    }

    id.data = host;
    id.len = NGX_SIO_BRIDGE_ID;

    return ngx_http_socketio_letter_insert(&line->delayed,
                                           NGX_HTTP_SOCKETIO_BRIDGE_OUTBOX,
                                           &id, channel, parts, nparts);
}


void
ngx_http_socketio_bridge_heard(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer)
{
    ngx_uint_t  i;

    i = peer - line->bridge->kept->head->peers;

    if (line->up && !line->heard[i]) {
        line->heard[i] = 1;
        ngx_http_socketio_bridge_delayed(line, peer);
        ngx_http_socketio_remote_repeat(line, peer->id);
    }
}


/* others may have had this place before */

void
ngx_http_socketio_bridge_met(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer)
{
    ngx_uint_t                   i;
    ngx_http_socketio_bridge_t  *b;

    b = line->bridge;

    for (i = 0; i < b->nlines; i++) {
        b->lines[i].heard[peer - b->kept->head->peers] = 0;
    }

    ngx_http_socketio_bridge_heard(line, peer);
}


void
ngx_http_socketio_bridge_delayed(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *heard)
{
    ngx_sio_bridge_peer_t       *peer;
    ngx_http_socketio_letter_t  *letter, *next;

    for (letter = ngx_http_socketio_letter_first(&line->delayed);
         letter != NULL;
         letter = next)
    {
        next = ngx_http_socketio_letter_next(&line->delayed, letter);

        peer = ngx_sio_bridge_find(line->bridge->kept, letter->pattern.data);

        if (peer != NULL && peer == heard) {
            (void) ngx_http_socketio_bridge_send(line, &letter->channel,
                                                 &letter->payload, 1);

        } else if (peer != NULL
                   && (time_t) peer->heard + NGX_HTTP_SOCKETIO_SILENT
                      >= ngx_time())
        {
            continue;
        }

        ngx_http_socketio_letter_drop(&line->delayed, letter);
    }
}


void
ngx_http_socketio_bridge_pumps(ngx_event_t *ev)
{
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    ngx_http_socketio_line_t    *line;
    ngx_http_socketio_bridge_t  *b;

    c = ev->data;
    b = c->data;

    for (i = 0; i < b->nlines; i++) {
        line = &b->lines[i];

        if (line->up && ngx_http_socketio_bridge_post(line) == NGX_OK
            && (!line->stopped || line->stage)
            && ngx_http_socketio_bridge_ship(line) == NGX_OK
            && !ev->posted)
        {
            ngx_post_event(ev, &ngx_posted_next_events);
        }
    }

    if (b->leaving && b->state == NGX_HTTP_SOCKETIO_BRIDGE_SERVING) {
        ngx_http_socketio_bridge_keep(b);
    }
}


/* NGX_OK: the outbox is empty */

static ngx_int_t
ngx_http_socketio_bridge_post(ngx_http_socketio_line_t *line)
{
    ngx_int_t                    rc;
    ngx_http_socketio_letter_t  *letter;

    while ((letter = ngx_http_socketio_letter_first(&line->outbox)) != NULL) {

        rc = ngx_sio_queue_publish(line->queue, &letter->channel,
                                   &letter->payload, 1, 0);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        ngx_http_socketio_letter_drop(&line->outbox, letter);
    }

    return NGX_OK;
}


/*
 *   NGX_OK      there may be more, in the next turn
 *   NGX_AGAIN   when the broker has confirmed something
 *   NGX_DONE    nothing is left
 */

static ngx_int_t
ngx_http_socketio_bridge_ship(ngx_http_socketio_line_t *line)
{
    uint64_t              position;
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_sio_hub_entry_t   e;

    for (i = 0; i < NGX_HTTP_SOCKETIO_BRIDGE_BATCH; i++) {

        position = line->position;

        rc = ngx_sio_hub_shipped(line->bridge->worker->hub, &line->position,
                                 line->next, &e);

        if (rc != NGX_OK) {
            return rc == NGX_DONE ? NGX_DONE : NGX_AGAIN;
        }

        if (e.ordinal > line->next) {
            line->kept->lost += e.ordinal - line->next;
            line->next = e.ordinal;
            line->stage = 0;

            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "message queue %V was away for too long: %uL "
                          "messages were lost", &line->conf->url.shown,
                          line->kept->lost);
        }

        rc = ngx_http_socketio_bridge_entry(line, &e);

        if (rc == NGX_AGAIN) {
            line->position = position;
            return NGX_AGAIN;
        }

        line->next++;
        line->stage = 0;

        if (line->stopped) {
            /* the rest is the follower's */
            return NGX_DONE;
        }
    }

    return NGX_OK;
}


/*
 * The hosts of this module get an entry first; with the number that tells that
 * it was shipped goes the last of its messages.
 */

static ngx_int_t
ngx_http_socketio_bridge_entry(ngx_http_socketio_line_t *line,
    ngx_sio_hub_entry_t *e)
{
    ngx_int_t                     rc;
    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_command_t   cmd;

    w = line->bridge->worker;

    if (e->kind != NGX_HTTP_SOCKETIO_COMMAND) {
        return NGX_OK;
    }

    ngx_reset_pool(w->pool);

    rc = ngx_http_socketio_command_decode(&e->body, &cmd, w->pool);

    if (rc != NGX_OK) {
        /* those behind what nobody understands do not wait for it */
        return rc == NGX_DECLINED ? NGX_OK : NGX_AGAIN;
    }

    /* its servers have said it themselves, or want to hear their own only */

    rc = (cmd.from && (!line->conf->forward
                       || cmd.from == ngx_sio_bridge_number(line->bridge->kept,
                                                            line->kept)))
         ? NGX_DONE : NGX_OK;

    while (rc == NGX_OK) {
        rc = line->conf->format->publish(line, &cmd, line->stage);

        if (rc == NGX_OK) {
            line->stage++;
        }
    }

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    rc = ngx_http_socketio_cluster_entry(line, e, NULL, e->ordinal);

    return (rc == NGX_AGAIN || !line->up) ? NGX_AGAIN : NGX_OK;
}
