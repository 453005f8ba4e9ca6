
/*
 * What is around the two hosts of the target "cluster": the log of each, the
 * queue between them, and the workers that answer.
 */


#ifndef _NGX_SIO_FUZZ_CLUSTER_H_INCLUDED_
#define _NGX_SIO_FUZZ_CLUSTER_H_INCLUDED_


#include "fuzz.h"
#include "ngx_http_socketio_cluster.h"
#include "ngx_http_socketio_list.h"
#include "ngx_http_socketio_remote.h"
#include "ngx_http_socketio_result.h"
#include "ngx_sio_pack.h"


#define FUZZ_HOSTS    2
#define FUZZ_LOG      16        /* entries before they are overwritten */
#define FUZZ_INBOX    64
#define FUZZ_ASKED    64
#define FUZZ_WORKERS  2         /* of each host that answer */


typedef struct {
    ngx_str_t   channel;        /* allocated with the payload */
    ngx_str_t   payload;
} fuzz_letter_t;


typedef struct {
    ngx_uint_t                   used;
    ngx_uint_t                   kind;
    ngx_sio_waiter_t             waiter;
} fuzz_asked_t;


/*
 * A host with one worker that serves the queue; a pointer to it stands for the
 * worker's hub.
 */

typedef struct {
    ngx_http_socketio_worker_t   worker;
    ngx_http_socketio_zone_t     zone;
    ngx_http_socketio_bridge_t   bridge;
    ngx_http_socketio_line_t     line;
    ngx_http_socketio_queue_t    conf;
    ngx_sio_bridge_t             kept;
    ngx_sio_bridge_head_t        head;

    ngx_str_t                    log[FUZZ_LOG];
    ngx_str_t                    shipped;             /* one of these, copied */
    ngx_sio_waiter_t             waiting[FUZZ_ASKED]; /* its own requests, */
    ngx_uint_t                   next;                /* ... and the next of
                                                         these */
    fuzz_letter_t                inbox[FUZZ_INBOX];
    ngx_uint_t                   ninbox;
    fuzz_letter_t                remote[FUZZ_INBOX];  /* entries REMOTE */
    ngx_uint_t                   nremote;
    fuzz_asked_t                 asked[FUZZ_ASKED];   /* of its workers */

    /* what it should know about the other one */
    ngx_uint_t                   known;
    uint64_t                     last;
    uint64_t                     missed;

    ngx_uint_t                   full;                /* the log is */
} fuzz_host_t;


static const u_char   *fuzz_pos;
static const u_char   *fuzz_end;
static fuzz_host_t     fuzz_hosts[FUZZ_HOSTS];
static ngx_uint_t      fuzz_honest;     /* all that is said is said by hosts */
static ngx_str_t       fuzz_written;    /* a command, when it is not NULL */


static ngx_uint_t
fuzz_octet(void)
{
    return fuzz_pos < fuzz_end ? *fuzz_pos++ : 0;
}


/* borrowed from the input */

static void
fuzz_chunk(ngx_str_t *chunk)
{
    chunk->len = fuzz_octet();
    chunk->len = ngx_min(chunk->len, (size_t) (fuzz_end - fuzz_pos));
    chunk->data = (u_char *) fuzz_pos;

    fuzz_pos += chunk->len;
}


static fuzz_host_t *
fuzz_other(fuzz_host_t *h)
{
    return &fuzz_hosts[h == &fuzz_hosts[0]];
}


static void
fuzz_letter(fuzz_letter_t *letter, ngx_str_t *channel, ngx_str_t *parts,
    ngx_uint_t n)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    for (len = 0, i = 0; i < n; i++) {
        len += parts[i].len;
    }

    ngx_sio_fuzz_copy(&letter->channel, channel->data, channel->len);
    p = ngx_sio_fuzz_room(&letter->payload, len);

    for (i = 0; i < n; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }
}


static void
fuzz_letter_free(fuzz_letter_t *letter)
{
    free(letter->channel.data);
    free(letter->payload.data);
}


/* The queue. */

static ngx_int_t
fuzz_publish(ngx_http_socketio_line_t *line, ngx_str_t *channel,
    ngx_str_t *parts, ngx_uint_t n)
{
    ngx_uint_t                         i;
    fuzz_host_t                       *h;
    ngx_http_socketio_cluster_head_t   head;

    /* what is said is understood */

    ngx_sio_fuzz_check(n && parts[0].len == sizeof(head));
    memcpy(&head, parts[0].data, sizeof(head));

    ngx_sio_fuzz_check(head.kind >= NGX_HTTP_SOCKETIO_CLUSTER_ALIVE
                       && head.kind <= NGX_HTTP_SOCKETIO_CLUSTER_ANSWER);
    ngx_sio_fuzz_check(memcmp(head.from, line->bridge->kept->head->id,
                              NGX_SIO_BRIDGE_ID)
                       == 0);

    for (i = 0; i < FUZZ_HOSTS; i++) {
        if (fuzz_hosts[i].ninbox == FUZZ_INBOX) {
            return NGX_AGAIN;
        }
    }

    for (i = 0; i < FUZZ_HOSTS; i++) {
        h = &fuzz_hosts[i];

        if (ngx_sio_fuzz_equal(channel, &h->line.all)
            || ngx_sio_fuzz_equal(channel, &h->line.own))
        {
            fuzz_letter(&h->inbox[h->ninbox++], channel, parts, n);
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_sio_queue_subscribe(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_uint_t pattern)
{
    (void) q;

    ngx_sio_fuzz_check(channel->len && !pattern);

    return NGX_OK;
}


/* of entries, with a number that will be confirmed */

ngx_int_t
ngx_sio_queue_publish(ngx_sio_queue_t *q, ngx_str_t *channel,
    ngx_str_t *parts, ngx_uint_t n, uint64_t tag)
{
    ngx_sio_fuzz_check(tag);

    return fuzz_publish((ngx_http_socketio_line_t *) q, channel, parts, n);
}


void
ngx_sio_queue_flush(ngx_sio_queue_t *q)
{
    (void) q;
}


ngx_int_t
ngx_http_socketio_bridge_send(ngx_http_socketio_line_t *line,
    ngx_str_t *channel, ngx_str_t *parts, ngx_uint_t n)
{
    if (!line->up) {
        return NGX_DECLINED;
    }

    return fuzz_publish(line, channel, parts, n) == NGX_OK ? NGX_OK
                                                           : NGX_DECLINED;
}


/* whoever is known was heard */

ngx_int_t
ngx_http_socketio_bridge_send_to(ngx_http_socketio_line_t *line, u_char *host,
    ngx_str_t *channel, ngx_str_t *parts, ngx_uint_t n)
{
    return ngx_sio_bridge_find(line->bridge->kept, host) == NULL
           ? NGX_DECLINED
           : ngx_http_socketio_bridge_send(line, channel, parts, n);
}


void
ngx_http_socketio_bridge_heard(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer)
{
    ngx_sio_fuzz_check(peer >= line->bridge->kept->head->peers
                       && peer < line->bridge->kept->head->peers
                                 + NGX_SIO_BRIDGE_PEERS);
}


void
ngx_http_socketio_bridge_met(ngx_http_socketio_line_t *line,
    ngx_sio_bridge_peer_t *peer)
{
    ngx_http_socketio_bridge_heard(line, peer);
}


ngx_http_socketio_line_t *
ngx_http_socketio_bridge_line(ngx_http_socketio_bridge_t *b, u_char *host)
{
    return ngx_sio_bridge_find(b->kept, host) ? &b->lines[0] : NULL;
}


ngx_uint_t
ngx_http_socketio_bridge_whole(ngx_http_socketio_bridge_t *b)
{
    return b->lines[0].up;
}


void
ngx_http_socketio_bridge_refused(ngx_http_socketio_line_t *line,
    ngx_http_socketio_bridge_reason_e reason, const char *words)
{
    ngx_sio_fuzz_check(!fuzz_honest || ngx_sio_standin_failed());
    ngx_sio_fuzz_check(reason < NGX_SIO_BRIDGE_REASONS && words[0]);

    line->kept->refused[reason]++;
}


/* The log. */

/* Some worker of the host has to answer this. */

static void
fuzz_ask(fuzz_host_t *h, ngx_uint_t kind, ngx_sio_waiter_t *waiter)
{
    ngx_uint_t     i;
    fuzz_asked_t  *asked, *unused;

    /* whoever asks can be answered */

    if (kind == NGX_HTTP_SOCKETIO_COMMAND) {
        ngx_sio_fuzz_check(ngx_http_socketio_parked(&h->worker, waiter)
                           != NULL);

    } else {
        ngx_sio_fuzz_check(ngx_sio_waiter_set(waiter)
                           || kind == NGX_HTTP_SOCKETIO_ABORT);
        ngx_sio_fuzz_check(ngx_sio_bridge_find_tag(&h->kept,
                                                   (u_char *) &waiter->host,
                                                   sizeof(uint32_t))
                           != NULL);
    }

    unused = NULL;

    for (i = 0; i < FUZZ_ASKED; i++) {
        asked = &h->asked[i];

        if (!asked->used) {
            unused = asked;

        } else if (ngx_sio_waiter_equal(&asked->waiter, waiter)) {
            unused = asked;
            break;
        }
    }

    if (unused) {
        unused->used = (kind != NGX_HTTP_SOCKETIO_ABORT);
        unused->kind = kind;
        unused->waiter = *waiter;
    }
}


static void
fuzz_applied(fuzz_host_t *h, ngx_str_t *parts)
{
    u_char                 *p;
    uint64_t                ordinal;
    ngx_sio_bridge_peer_t  *peer;

    if (!fuzz_honest) {
        return;
    }

    /* what the other one has numbered: cmd.id, which is the first */

    p = parts[0].data;
    (void) ngx_sio_unpack_u64(&p, p + parts[0].len, &ordinal);

    peer = ngx_sio_bridge_find(&h->kept, fuzz_other(h)->head.id);

    ngx_sio_fuzz_check(peer != NULL && h->known);
    ngx_sio_fuzz_check(ordinal == peer->applied + 1);
    ngx_sio_fuzz_check(ordinal - h->last - 1 == peer->missed - h->missed);

    h->last = ordinal;
    h->missed = peer->missed;
}


static void
fuzz_deliver(fuzz_host_t *h, ngx_uint_t kind, ngx_str_t *body)
{
    u_char                      *pos;
    ngx_str_t                    rest;
    ngx_sio_waiter_t             waiter;
    ngx_http_socketio_parked_t  *parked;

    pos = body->data;

    ngx_sio_fuzz_check(ngx_sio_unpack(&pos, pos + body->len, &waiter,
                                      sizeof(waiter))
                       == NGX_OK);

    parked = ngx_http_socketio_parked(&h->worker, &waiter);

    if (parked != NULL) {
        ngx_sio_fuzz_copy(&rest, pos, body->len - sizeof(waiter));
        parked->answer(parked, kind, ngx_sio_hub_addr(1, 1), &rest);
        free(rest.data);
    }
}


ngx_int_t
ngx_sio_hub_append(ngx_sio_hub_t *hub, ngx_uint_t kind, ngx_uint_t flags,
    ngx_sio_hub_addr_t to, ngx_str_t *parts, ngx_uint_t n,
    ngx_sio_hub_members_t *members)
{
    uint32_t           tag;
    ngx_str_t          none;
    fuzz_host_t       *h;
    fuzz_letter_t      entry;
    ngx_sio_waiter_t   waiter;

    h = (fuzz_host_t *) hub;
    ngx_str_null(&none);

    switch (kind) {

    case NGX_HTTP_SOCKETIO_COMMAND:
        ngx_sio_fuzz_check(to.slot == NGX_SIO_HUB_ALL);

        if (flags & NGX_SIO_HUB_SHIP) {
            fuzz_letter(&entry, &none, parts, n);
            free(entry.channel.data);
            fuzz_written = entry.payload;
            return NGX_OK;
        }

        if (h->full == 1) {
            return NGX_BUSY;
        }

        fuzz_applied(h, parts);

        ngx_sio_fuzz_check(ngx_http_socketio_command_waiter(&parts[0], &waiter,
                                                            &tag)
                           == NGX_OK);

        if (ngx_sio_waiter_set(&waiter)) {
            fuzz_ask(h, NGX_HTTP_SOCKETIO_COMMAND, &waiter);
        }

        if (members != NULL) {
            memset(members, 0, sizeof(ngx_sio_hub_members_t));

            if (h->full == 2) {
                return NGX_AGAIN;
            }

            members->bits[0] = (1 << FUZZ_WORKERS) - 1;
        }

        return NGX_OK;

    case NGX_HTTP_SOCKETIO_RESULT:
    case NGX_HTTP_SOCKETIO_ACKED:
        ngx_sio_fuzz_check(to.slot < NGX_SIO_HUB_SLOTS);

        if (h->full) {
            return NGX_BUSY;
        }

        fuzz_letter(&entry, &none, parts, n);

        if (to.slot == 0) {
            fuzz_deliver(h, kind, &entry.payload);
        }

        fuzz_letter_free(&entry);
        return NGX_OK;

    default:
        ngx_sio_fuzz_check(kind == NGX_HTTP_SOCKETIO_REMOTE && to.slot == 0);

        if (h->full || h->nremote == FUZZ_INBOX) {
            return NGX_BUSY;
        }

        fuzz_letter(&h->remote[h->nremote++], &none, parts, n);
        return NGX_OK;
    }
}


ngx_int_t
ngx_sio_hub_shipped(ngx_sio_hub_t *hub, uint64_t *position, uint64_t ordinal,
    ngx_sio_hub_entry_t *e)
{
    uint64_t      first, last;
    fuzz_host_t  *h;

    h = (fuzz_host_t *) hub;
    last = h->head.ordinal;
    first = last > FUZZ_LOG ? last - FUZZ_LOG + 1 : 1;

    ordinal = ngx_max(ordinal, ngx_max(first, *position));

    if (ordinal > last) {
        *position = last + 1;
        return NGX_DONE;
    }

    *position = ordinal + 1;

    memset(e, 0, sizeof(ngx_sio_hub_entry_t));
    e->kind = NGX_HTTP_SOCKETIO_COMMAND;
    e->flags = NGX_SIO_HUB_SHIP;
    e->ordinal = ordinal;

    free(h->shipped.data);
    ngx_sio_fuzz_copy(&h->shipped, h->log[ordinal % FUZZ_LOG].data,
                      h->log[ordinal % FUZZ_LOG].len);
    e->body = h->shipped;

    return NGX_OK;
}


ngx_sio_hub_addr_t
ngx_sio_hub_self(ngx_sio_hub_t *hub)
{
    (void) hub;

    return ngx_sio_hub_addr(0, 1);
}


ngx_uint_t
ngx_sio_hub_alive(ngx_sio_hub_t *hub, ngx_sio_hub_addr_t addr)
{
    (void) hub;

    return addr.slot == 0 && addr.generation == 1;
}


ngx_uint_t
ngx_sio_hub_count(ngx_sio_hub_t *hub)
{
    (void) hub;

    return FUZZ_WORKERS;
}


ngx_sio_bridge_t *
ngx_sio_hub_bridge(ngx_sio_hub_t *hub)
{
    return &((fuzz_host_t *) hub)->kept;
}


/* The worker. */

void
ngx_http_socketio_full(ngx_http_socketio_worker_t *w, const char *what)
{
    ngx_sio_fuzz_check(((fuzz_host_t *) w->hub)->full && what[0]);
}


/* an id begins with the tag of its host */

void
ngx_http_socketio_key(ngx_str_t *sid, ngx_http_socketio_sid_t *parts,
    u_char *key)
{
    (void) key;

    ngx_sio_fuzz_check(sid->len == NGX_SIO_SID_LEN);
    memset(parts, 0, sizeof(ngx_http_socketio_sid_t));
    memcpy(&parts->host, sid->data, sizeof(uint32_t));
}


void
ngx_http_socketio_route(ngx_http_socketio_worker_t *w, ngx_uint_t kind,
    ngx_str_t *sid, ngx_sio_waiter_t *waiter, ngx_uint_t revision,
    ngx_uint_t octets, ngx_str_t *body)
{
    (void) revision;
    (void) octets;

    ngx_sio_fuzz_check(sid->len == NGX_SIO_SID_LEN);
    ngx_sio_fuzz_check(kind >= NGX_HTTP_SOCKETIO_POLL
                       && kind <= NGX_HTTP_SOCKETIO_ABORT);
    ngx_sio_fuzz_check((body != NULL) == (kind == NGX_HTTP_SOCKETIO_POST));

    fuzz_ask((fuzz_host_t *) w->hub, kind, waiter);
}


ngx_int_t
ngx_http_socketio_answer_to(ngx_http_socketio_worker_t *w,
    ngx_sio_waiter_t *waiter, ngx_uint_t kind, ngx_str_t *body)
{
    u_char         octet;
    ngx_str_t      parts[3], none;
    fuzz_letter_t  entry;

    ngx_sio_fuzz_check(kind < NGX_SIO_ANSWERS);

    octet = kind;

    ngx_str_null(&none);
    parts[0].data = (u_char *) waiter;
    parts[0].len = sizeof(ngx_sio_waiter_t);
    parts[1].data = &octet;
    parts[1].len = 1;
    parts[2] = body ? *body : none;

    fuzz_letter(&entry, &none, parts, 3);
    fuzz_deliver((fuzz_host_t *) w->hub, NGX_HTTP_SOCKETIO_ANSWER,
                 &entry.payload);
    fuzz_letter_free(&entry);

    return NGX_OK;
}


/* What waits in a host's own worker: a request, or a call of the API. */

static void
fuzz_answered(ngx_http_socketio_parked_t *p, ngx_uint_t kind,
    ngx_sio_hub_addr_t from, ngx_str_t *body)
{
    u_char                      *due, *pos;
    ngx_str_t                    rows;
    ngx_uint_t                   type;
    ngx_http_socketio_row_t      row;
    ngx_http_socketio_acked_t    acked;
    ngx_http_socketio_result_t   result;

    (void) from;

    switch (kind) {

    case NGX_HTTP_SOCKETIO_RESULT:

        if (ngx_http_socketio_result_decode(body, &result, &due, &rows)
            != NGX_OK)
        {
            ngx_sio_fuzz_check(!fuzz_honest);
            return;
        }

        for (type = NGX_HTTP_SOCKETIO_SOCKETS;
             type <= NGX_HTTP_SOCKETIO_ROOMS;
             type++)
        {
            pos = rows.data;

            while (ngx_http_socketio_list_row(&rows, type, &pos, &row)
                   == NGX_OK)
            {
                ngx_sio_fuzz_check(ngx_sio_fuzz_within(&row.name, &rows));
                ngx_sio_fuzz_check(ngx_sio_fuzz_within(&row.json, &rows));
            }
        }

        return;

    case NGX_HTTP_SOCKETIO_ACKED:

        if (ngx_http_socketio_result_acked_decode(body, &acked, NULL)
            == NGX_OK)
        {
            ngx_sio_fuzz_check(ngx_sio_fuzz_within(&acked.args, body));
        }

        return;

    default:
        ngx_sio_fuzz_check(kind == NGX_HTTP_SOCKETIO_ANSWER && body->len > 0);
        ngx_sio_fuzz_check(body->data[0] < NGX_SIO_ANSWERS);

        ngx_http_socketio_unpark(p);
    }
}


#endif /* _NGX_SIO_FUZZ_CLUSTER_H_INCLUDED_ */
