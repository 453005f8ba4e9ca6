
/*
 * What hosts of this module say to each other: two of them, between which the
 * queue drops, doubles and swaps messages, and somebody else who writes to it
 * whatever he likes.
 *
 * As long as only hosts speak, each entry of one is taken by the other once and
 * in order, or counted as missed, and nothing is refused.  Who waits can be
 * answered, and nothing is left at the end.
 *
 * An input is a line of orders: an octet that says what and in which host, and
 * what it needs.
 *
 * link: src/ngx_http_socketio_cluster.c src/ngx_http_socketio_remote.c
 * link: src/ngx_http_socketio_wire.c src/ngx_http_socketio_result.c
 * link: src/ngx_http_socketio_list.c src/ngx_http_socketio_park.c
 * link: src/hub/ngx_sio_bridge.c src/ngx_http_socketio_errand.c
 * link: src/ngx_http_socketio_remote_ask.c src/ngx_http_socketio_guest.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_utf8.c
 * link: src/codec/ngx_sio_packet.c
 *
 * What these files need to carry a command out is not called here, and not
 * there.
 *
 * libs: -Wl,--unresolved-symbols=ignore-in-object-files -no-pie
 */

#include "fuzz.h"
#include "cluster.h"


#define FUZZ_ORDERS  400


typedef void (*fuzz_order_pt)(fuzz_host_t *h);


/* Orders: a host. */

static void
fuzz_park(fuzz_host_t *h, ngx_sio_waiter_t *waiter)
{
    ngx_sio_waiter_t            *place;
    ngx_http_socketio_parked_t  *p;

    memset(waiter, 0, sizeof(ngx_sio_waiter_t));

    place = &h->waiting[h->next++ % FUZZ_ASKED];
    p = ngx_http_socketio_parked(&h->worker, place);

    if (p != NULL) {
        ngx_http_socketio_unpark(p);
    }

    p = ngx_http_socketio_park(&h->worker, NULL, fuzz_answered, NULL);

    if (p != NULL) {
        *place = p->waiter;
        *waiter = p->waiter;
    }
}


/* Something is said to all, and maybe asked. */

static void
fuzz_order_command(fuzz_host_t *h)
{
    u_char                        token[NGX_HTTP_SOCKETIO_RESULT_TOKEN];
    ngx_str_t                     names, *slot;
    ngx_uint_t                    option;
    ngx_http_socketio_command_t   cmd;

    option = fuzz_octet();
    fuzz_chunk(&names);

    memset(&cmd, 0, sizeof(cmd));

    cmd.type = 1 + option % NGX_HTTP_SOCKETIO_ROOMS;
    cmd.id = h->head.ordinal + 1;
    ngx_str_set(&cmd.target.nsp, "/");
    cmd.target.to = &names;
    cmd.target.nto = 1;
    ngx_str_set(&cmd.json, "[\"e\"]");

    if (option & 8) {
        fuzz_park(h, &cmd.count);
        cmd.tag = option;
    }

    if ((option & 16) && cmd.type == NGX_HTTP_SOCKETIO_EMIT
        && ngx_sio_waiter_set(&cmd.count))
    {
        ngx_http_socketio_result_token(token, &cmd);
        cmd.token.data = token;
        cmd.token.len = sizeof(token);
        cmd.expires = ngx_current_msec + 5000;
    }

    if (option & 32) {
        cmd.attachments = &names;
        cmd.nattachments = 1;
    }

    if (ngx_http_socketio_command_send(&h->worker, &cmd, NULL) != NGX_OK) {
        ngx_sio_fuzz_check(ngx_sio_standin_failed());
        return;
    }

    slot = &h->log[++h->head.ordinal % FUZZ_LOG];
    free(slot->data);
    *slot = fuzz_written;
}


static void
fuzz_order_ship(fuzz_host_t *h)
{
    ngx_sio_hub_entry_t        e;
    ngx_http_socketio_line_t  *line;

    line = &h->line;

    if (!line->up
        || ngx_sio_hub_shipped(h->worker.hub, &line->position, line->next, &e)
           != NGX_OK)
    {
        return;
    }

    line->next = e.ordinal;

    if (ngx_http_socketio_cluster_entry(line, &e, NULL, e.ordinal) == NGX_OK) {
        line->next++;
    }

    line->position = 0;
}


static void
fuzz_order_alive(fuzz_host_t *h)
{
    ngx_http_socketio_cluster_alive(&h->line, fuzz_octet() & 1);
}


static void
fuzz_order_bye(fuzz_host_t *h)
{
    ngx_http_socketio_cluster_bye(&h->line);
}


static void
fuzz_order_mark(fuzz_host_t *h)
{
    ngx_http_socketio_cluster_mark(&h->line);
}


/* A request whose session is elsewhere. */

static void
fuzz_routed(fuzz_host_t *h, ngx_sio_waiter_t *waiter, ngx_uint_t kind,
    ngx_str_t *body)
{
    ngx_str_t                    sid;
    ngx_http_socketio_parked_t  *p;
    ngx_http_socketio_routed_t   routed;

    memset(&routed, 0, sizeof(routed));
    memset(routed.sid, 's', NGX_SIO_SID_LEN);
    memcpy(routed.sid, fuzz_other(h)->head.id, sizeof(uint32_t));

    routed.waiter = *waiter;
    routed.revision = 4;

    sid.data = routed.sid;
    sid.len = NGX_SIO_SID_LEN;

    p = ngx_http_socketio_parked(&h->worker, waiter);

    if ((ngx_http_socketio_remote_forward(&h->worker, &sid, kind, &routed, body,
                                          p)
         != NGX_OK
         || kind == NGX_HTTP_SOCKETIO_ABORT)
        && p != NULL)
    {
        ngx_http_socketio_unpark(p);
    }
}


static void
fuzz_order_request(fuzz_host_t *h)
{
    ngx_str_t         body;
    ngx_uint_t        option;
    ngx_sio_waiter_t  waiter;

    option = fuzz_octet();
    fuzz_chunk(&body);

    fuzz_park(h, &waiter);

    if (!ngx_sio_waiter_set(&waiter)) {
        return;
    }

    if (!(option & 1)) {
        fuzz_routed(h, &waiter, NGX_HTTP_SOCKETIO_POLL, NULL);
        return;
    }

    fuzz_routed(h, &waiter, NGX_HTTP_SOCKETIO_POST_BEGIN, NULL);

    if (option & 2) {
        fuzz_routed(h, &waiter, (option & 4) ? NGX_HTTP_SOCKETIO_POST
                                             : NGX_HTTP_SOCKETIO_REFUSED,
                    &body);
    }
}


static void
fuzz_order_abort(fuzz_host_t *h)
{
    ngx_sio_waiter_t  waiter;

    waiter = h->waiting[fuzz_octet() % FUZZ_ASKED];

    if (ngx_http_socketio_parked(&h->worker, &waiter) != NULL) {
        fuzz_routed(h, &waiter, NGX_HTTP_SOCKETIO_ABORT, NULL);
    }
}


/* Its bridge reads what its workers have for others. */

static void
fuzz_order_read(fuzz_host_t *h)
{
    ngx_uint_t  i;

    for (i = 0; i < h->nremote; i++) {
        ngx_http_socketio_remote_entry(&h->bridge, &h->remote[i].payload);
        fuzz_letter_free(&h->remote[i]);
    }

    h->nremote = 0;
}


/* A worker answers what came from the other host. */

static void
fuzz_order_answer(fuzz_host_t *h)
{
    u_char                       buf[512];
    ngx_str_t                    body, said;
    ngx_uint_t                   option, kind;
    fuzz_asked_t                *asked;
    ngx_http_socketio_parked_t  *p;
    ngx_http_socketio_result_t   result;
    ngx_http_socketio_members_t  members;

    option = fuzz_octet();
    asked = &h->asked[fuzz_octet() % FUZZ_ASKED];
    fuzz_chunk(&said);

    if (asked->used && asked->kind != NGX_HTTP_SOCKETIO_COMMAND) {
        asked->used = 0;
        ngx_sio_fuzz_check(ngx_http_socketio_remote_say(&h->worker,
                                                        &asked->waiter,
                                                        option
                                                        % NGX_SIO_ANSWERS,
                                                        &said)
                           == NGX_OK);
        return;
    }

    p = ngx_http_socketio_parked(&h->worker, &asked->waiter);

    if (!asked->used || p == NULL) {
        asked->used = 0;
        return;
    }

    body.data = buf;

    if (option & 1) {
        kind = NGX_HTTP_SOCKETIO_MEMBERS;
        memset(&members, 0, sizeof(members));
        members.members.bits[0] = 3;
        memcpy(buf, &members, sizeof(members));
        body.len = sizeof(members);
        said.len = 0;

    } else if (option & 2) {
        kind = NGX_HTTP_SOCKETIO_ACKED;
        body.len = 0;

    } else {
        kind = NGX_HTTP_SOCKETIO_RESULT;
        memset(&result, 0, sizeof(result));
        memcpy(buf, &result, sizeof(result));
        body.len = sizeof(result);
    }

    if (said.len) {
        memcpy(buf + body.len, said.data, said.len);
        body.len += said.len;
    }

    p->answer(p, kind, ngx_sio_hub_addr(option % FUZZ_WORKERS, 1), &body);
}


static void
fuzz_order_full(fuzz_host_t *h)
{
    h->full = fuzz_octet() % 3;
}


static void
fuzz_order_link(fuzz_host_t *h)
{
    h->line.up = !h->line.up;

    if (h->line.up) {
        h->line.next = h->line.kept->shipped + 1;
        h->line.position = 0;
        ngx_http_socketio_cluster_alive(&h->line, 1);
    }
}


static void
fuzz_order_clear(fuzz_host_t *h)
{
    ngx_http_socketio_remote_clear(h->bridge.remote);
}


/* Orders: the queue. */

static void
fuzz_hear(fuzz_host_t *h, ngx_str_t *payload)
{
    ngx_str_t               copy;
    ngx_sio_bridge_peer_t  *peer;

    ngx_sio_fuzz_copy(&copy, payload->data, payload->len);
    ngx_http_socketio_cluster_message(&h->line, &copy);
    free(copy.data);

    peer = ngx_sio_bridge_find(&h->kept, fuzz_other(h)->head.id);

    if (peer != NULL && !h->known) {
        h->last = peer->applied;
        h->missed = peer->missed;
    }

    h->known = (peer != NULL);
}


static void
fuzz_order_deliver(fuzz_host_t *h)
{
    ngx_uint_t     option, i;
    fuzz_letter_t  letter;

    option = fuzz_octet();

    if (h->ninbox == 0) {
        return;
    }

    i = (option >> 4) % h->ninbox;
    letter = h->inbox[i];

    memmove(&h->inbox[i], &h->inbox[i + 1],
            (h->ninbox - i - 1) * sizeof(fuzz_letter_t));
    h->ninbox--;

    if (option & 1) {
        fuzz_hear(h, &letter.payload);
    }

    if (option & 2) {
        fuzz_hear(h, &letter.payload);
    }

    fuzz_letter_free(&letter);
}


static void
fuzz_order_octets(fuzz_host_t *h)
{
    ngx_str_t  payload;

    fuzz_chunk(&payload);

    if (!fuzz_honest) {
        fuzz_hear(h, &payload);
    }
}


/* A head that is one, by whoever it pretends to be, and what there is to it. */

static void
fuzz_order_forge(fuzz_host_t *h)
{
    u_char                             buf[sizeof(ngx_http_socketio_cluster_head_t)
                                           + 256];
    ngx_str_t                          payload, said;
    ngx_uint_t                         option, i;
    ngx_http_socketio_cluster_head_t   head;

    option = fuzz_octet();

    memset(&head, 0, sizeof(head));
    head.magic = 0x584f4953;
    head.version = 3;
    head.kind = fuzz_octet();
    head.flags = option >> 6;
    memset(head.from, option, NGX_SIO_BRIDGE_ID);

    if (option & 1) {
        memcpy(head.from, fuzz_hosts[option >> 1 & 1].head.id,
               NGX_SIO_BRIDGE_ID);
    }

    if (option & 4) {
        memcpy(head.to, h->head.id, NGX_SIO_BRIDGE_ID);
    }

    for (i = (option & 8) ? 8 : 1; i; i--) {
        head.ordinal = head.ordinal << 8 | fuzz_octet();
    }

    fuzz_chunk(&said);

    if (fuzz_honest) {
        return;
    }

    payload.data = buf;
    payload.len = sizeof(head) + said.len;
    memcpy(buf, &head, sizeof(head));

    if (said.len) {
        memcpy(buf + sizeof(head), said.data, said.len);
    }

    fuzz_hear(h, &payload);
}


/* Orders: the world. */

static void
fuzz_order_time(fuzz_host_t *h)
{
    ngx_uint_t  n;

    n = fuzz_octet();
    ngx_current_msec += n * n;
    ((ngx_time_t *) ngx_cached_time)->sec = 1700000000
                                            + ngx_current_msec / 1000;

    /* all of the table */

    for (n = 0; n < 4; n++) {
        ngx_http_socketio_remote_tick(h->bridge.remote);
    }
}


static void
fuzz_order_nomem(fuzz_host_t *h)
{
    ngx_sio_standin_nomem(1 + fuzz_octet() % 8);
}


static const fuzz_order_pt  fuzz_orders[] = {
    fuzz_order_command,
    fuzz_order_ship,
    fuzz_order_alive,
    fuzz_order_bye,
    fuzz_order_mark,
    fuzz_order_request,
    fuzz_order_abort,
    fuzz_order_read,
    fuzz_order_answer,
    fuzz_order_full,
    fuzz_order_link,
    fuzz_order_clear,
    fuzz_order_deliver,
    fuzz_order_octets,
    fuzz_order_forge,
    fuzz_order_time,
    fuzz_order_nomem
};

#define FUZZ_NORDERS  (sizeof(fuzz_orders) / sizeof(fuzz_orders[0]))


static void
fuzz_open(fuzz_host_t *h, ngx_uint_t i)
{
    memset(h, 0, sizeof(fuzz_host_t));

    h->worker.hub = (ngx_sio_hub_t *) h;
    h->worker.bridge = &h->bridge;
    h->worker.zone = &h->zone;
    ngx_http_socketio_park_init(&h->worker);

    h->kept.head = &h->head;
    memset(h->head.id, 'A' + i, NGX_SIO_BRIDGE_ID);
    h->head.named = 1;
    h->head.lines[i].key = 1;
    h->head.holder = ngx_sio_hub_addr_pack(ngx_sio_hub_self(h->worker.hub));

    ngx_str_set(&h->conf.channel, "c");
    ngx_str_set(&h->conf.url.shown, "redis:");

    h->line.bridge = &h->bridge;
    h->line.conf = &h->conf;
    h->line.queue = (ngx_sio_queue_t *) &h->line;
    h->line.kept = &h->head.lines[i];
    h->line.next = 1;
    h->line.forwards = i;
    h->line.up = 1;

    h->bridge.worker = &h->worker;
    h->bridge.kept = &h->kept;
    h->bridge.state = NGX_HTTP_SOCKETIO_BRIDGE_SERVING;
    h->bridge.lines = &h->line;
    h->bridge.nlines = 1;
    h->bridge.remote = ngx_http_socketio_remote_create(&h->bridge);

    ngx_sio_fuzz_check(h->bridge.remote != NULL);
    ngx_sio_fuzz_check(ngx_http_socketio_cluster_open(&h->line) == NGX_OK);
}


/* What other hosts have asked is gone, what its own clients have is not. */

static void
fuzz_close(fuzz_host_t *h)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    for (n = 0, i = 0; i < FUZZ_ASKED; i++) {
        n += ngx_http_socketio_parked(&h->worker, &h->waiting[i]) != NULL;
    }

    for (i = 0; i < h->worker.park.nentries; i++) {
        n -= h->worker.park.entries[i]->answer != NULL;
    }

    ngx_sio_fuzz_check(n == 0);

    ngx_http_socketio_remote_destroy(h->bridge.remote);
    ngx_http_socketio_park_done(&h->worker);

    for (i = 0; i < h->ninbox; i++) {
        fuzz_letter_free(&h->inbox[i]);
    }

    for (i = 0; i < h->nremote; i++) {
        fuzz_letter_free(&h->remote[i]);
    }

    for (i = 0; i < FUZZ_LOG; i++) {
        free(h->log[i].data);
    }

    free(h->shipped.data);
    ngx_free(h->line.all.data);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_uint_t  n, order;

    fuzz_pos = data;
    fuzz_end = data + size;

    ngx_current_msec = 1000000;
    ((ngx_time_t *) ngx_cached_time)->sec = 1700001000;

    fuzz_honest = fuzz_octet() & 1;

    for (n = 0; n < FUZZ_HOSTS; n++) {
        fuzz_open(&fuzz_hosts[n], n);
    }

    for (n = 0; n < FUZZ_ORDERS && fuzz_pos < fuzz_end; n++) {
        order = fuzz_octet();
        fuzz_orders[order / FUZZ_HOSTS % FUZZ_NORDERS]
            (&fuzz_hosts[order % FUZZ_HOSTS]);
    }

    ngx_sio_standin_nomem(0);

    for (n = 0; n < FUZZ_HOSTS; n++) {
        fuzz_order_clear(&fuzz_hosts[n]);
    }

    for (n = 0; n < FUZZ_HOSTS; n++) {
        fuzz_close(&fuzz_hosts[n]);
    }

    ngx_sio_standin_release();

    return 0;
}
