
/*
 * The JSON of a webhook.  Its length is guessed, nearly always well enough, and
 * grows where many characters have to be escaped.
 */

#include "ngx_http_socketio_peer.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_utf8.h"


/* octets of what stands in each webhook, ids and punctuation */
#define NGX_HTTP_SOCKETIO_BACKEND_BODY  256


typedef struct {
    u_char                      *start;     /* allocated */
    u_char                      *pos;
    u_char                      *end;
    ngx_log_t                   *log;
    unsigned                     failed:1;  /* too long, or no memory */
} ngx_http_socketio_backend_body_t;


static void ngx_http_socketio_backend_body_write(
    ngx_http_socketio_backend_body_t *b, ngx_http_socketio_flight_t *flight,
    ngx_http_socketio_item_t *item);
static void ngx_http_socketio_backend_body_connect(
    ngx_http_socketio_backend_body_t *b, ngx_http_socketio_peer_t *peer,
    ngx_str_t *auth);
static void ngx_http_socketio_backend_body_event(
    ngx_http_socketio_backend_body_t *b, ngx_http_socketio_peer_t *peer,
    ngx_http_socketio_item_t *item);
static void ngx_http_socketio_backend_body_attachments(
    ngx_http_socketio_backend_body_t *b, ngx_http_socketio_item_t *item);
static void ngx_http_socketio_backend_body_raw(
    ngx_http_socketio_backend_body_t *b, const u_char *p, size_t len);
static void ngx_http_socketio_backend_body_text(
    ngx_http_socketio_backend_body_t *b, const u_char *p, size_t len);
static void ngx_http_socketio_backend_body_octets(
    ngx_http_socketio_backend_body_t *b, const u_char *p, size_t len);
static void ngx_http_socketio_backend_body_number(
    ngx_http_socketio_backend_body_t *b, uint64_t n);
static ngx_uint_t ngx_http_socketio_backend_body_grow(
    ngx_http_socketio_backend_body_t *b, size_t len);


/* whether there is room for so much; makes it if it can */
#define ngx_http_socketio_backend_body_room(b, len)                           \
    ((size_t) ((b)->end - (b)->pos) >= (len)                                  \
     || ngx_http_socketio_backend_body_grow(b, len))

#define ngx_http_socketio_backend_body_literal(b, text)                       \
    ngx_http_socketio_backend_body_raw(b, (u_char *) text, sizeof(text) - 1)


ngx_int_t
ngx_http_socketio_backend_body(ngx_http_socketio_flight_t *flight,
    ngx_http_socketio_item_t *item, ngx_str_t *body)
{
    size_t                             size;
    ngx_uint_t                         i;
    ngx_http_socketio_peer_t          *peer;
    ngx_http_socketio_backend_body_t   b;

    peer = flight->peer;

    size = NGX_HTTP_SOCKETIO_BACKEND_BODY + peer->nsp_len + peer->user.len
           + peer->memo.len + item->event.len + item->args.len
           + item->token.len;

    for (i = 0; i < item->nattachments; i++) {
        size += ngx_sio_base64_length(item->attachments[i].len) + 3;
    }

    b.log = ngx_http_socketio_backend_log(peer);
    b.failed = 0;

    b.start = ngx_alloc(size, b.log);
    if (b.start == NULL) {
        return NGX_ERROR;
    }

    b.pos = b.start;
    b.end = b.start + size;

    ngx_http_socketio_backend_body_write(&b, flight, item);

    if (b.failed) {
        ngx_free(b.start);
        return NGX_ERROR;
    }

    body->data = b.start;
    body->len = b.pos - b.start;

    return NGX_OK;
}


static void
ngx_http_socketio_backend_body_write(ngx_http_socketio_backend_body_t *b,
    ngx_http_socketio_flight_t *flight, ngx_http_socketio_item_t *item)
{
    ngx_str_t                 *type;
    ngx_http_socketio_peer_t  *peer;

    peer = flight->peer;
    type = &ngx_http_socketio_backend_types[flight->type];

    ngx_http_socketio_backend_body_literal(b, "{\"type\":\"");
    ngx_http_socketio_backend_body_raw(b, type->data, type->len);

    ngx_http_socketio_backend_body_literal(b, "\",\"id\":\"");
    ngx_http_socketio_backend_body_raw(b, flight->hook.id.data,
                                       flight->hook.id.len);

    ngx_http_socketio_backend_body_literal(b, "\",\"sid\":\"");
    ngx_http_socketio_backend_body_raw(b, peer->sid, NGX_SIO_SOCKET_SID_LEN);

    ngx_http_socketio_backend_body_literal(b, "\",\"namespace\":");
    ngx_http_socketio_backend_body_text(b, peer->nsp, peer->nsp_len);

    ngx_http_socketio_backend_body_literal(b, ",\"seq\":");
    ngx_http_socketio_backend_body_number(b, flight->seq);

    switch (flight->type) {

    case NGX_HTTP_SOCKETIO_WEBHOOK_CONNECT:
        ngx_http_socketio_backend_body_connect(b, peer, &item->args);
        break;

    case NGX_HTTP_SOCKETIO_WEBHOOK_DISCONNECT:
        ngx_http_socketio_backend_body_literal(b, ",\"reason\":\"");
        ngx_http_socketio_backend_body_raw(b,
                                        ngx_sio_reasons[peer->reason].data,
                                        ngx_sio_reasons[peer->reason].len);
        ngx_http_socketio_backend_body_literal(b, "\"");
        break;

    default: /* event, ack */
        ngx_http_socketio_backend_body_event(b, peer, item);
        break;
    }

    if (peer->user.len) {
        ngx_http_socketio_backend_body_literal(b, ",\"user\":");
        ngx_http_socketio_backend_body_text(b, peer->user.data,
                                            peer->user.len);
    }

    if (peer->memo.len) {
        ngx_http_socketio_backend_body_literal(b, ",\"state\":");
        ngx_http_socketio_backend_body_raw(b, peer->memo.data, peer->memo.len);
    }

    ngx_http_socketio_backend_body_literal(b, "}");
}


static void
ngx_http_socketio_backend_body_connect(ngx_http_socketio_backend_body_t *b,
    ngx_http_socketio_peer_t *peer, ngx_str_t *auth)
{
    ngx_str_t                    path, query, ip, name, value, *transport;
    ngx_uint_t                   pos, first;
    ngx_http_socketio_origin_t  *origin;

    origin = peer->origin;

    ngx_http_socketio_backend_body_literal(b, ",\"auth\":");

    if (auth->len) {
        ngx_http_socketio_backend_body_raw(b, auth->data, auth->len);

    } else {
        ngx_http_socketio_backend_body_literal(b, "{}");
    }

    ngx_http_socketio_origin_path(origin, &path);
    ngx_http_socketio_origin_query(origin, &query);
    ngx_http_socketio_origin_ip(origin, &ip);

    ngx_http_socketio_backend_body_literal(b, ",\"request\":{\"path\":");
    ngx_http_socketio_backend_body_octets(b, path.data, path.len);

    ngx_http_socketio_backend_body_literal(b, ",\"query\":");
    ngx_http_socketio_backend_body_octets(b, query.data, query.len);

    ngx_http_socketio_backend_body_literal(b, ",\"ip\":");
    ngx_http_socketio_backend_body_octets(b, ip.data, ip.len);

    transport = ngx_sio_session_transport(peer->socket->session);

    ngx_http_socketio_backend_body_literal(b, ",\"transport\":\"");
    ngx_http_socketio_backend_body_raw(b, transport->data, transport->len);

    ngx_http_socketio_backend_body_literal(b, "\",\"headers\":{");

    pos = 0;
    first = 1;

    while (ngx_http_socketio_origin_header(origin, &pos, &name, &value)
           == NGX_OK)
    {
        if (!first) {
            ngx_http_socketio_backend_body_literal(b, ",");
        }

        first = 0;

        ngx_http_socketio_backend_body_octets(b, name.data, name.len);
        ngx_http_socketio_backend_body_literal(b, ":");
        ngx_http_socketio_backend_body_octets(b, value.data, value.len);
    }

    ngx_http_socketio_backend_body_literal(b, "}}");
}


static void
ngx_http_socketio_backend_body_event(ngx_http_socketio_backend_body_t *b,
    ngx_http_socketio_peer_t *peer, ngx_http_socketio_item_t *item)
{
    if (item->type == NGX_HTTP_SOCKETIO_WEBHOOK_ACK) {
        ngx_http_socketio_backend_body_literal(b, ",\"token\":");
        ngx_http_socketio_backend_body_text(b, item->token.data,
                                            item->token.len);

    } else if (ngx_sio_json_type(&item->event) == NGX_SIO_JSON_STRING) {
        ngx_http_socketio_backend_body_literal(b, ",\"event\":");
        ngx_http_socketio_backend_body_raw(b, item->event.data,
                                           item->event.len);

    } else {

        /* a number names the same handler as its digits do, in any language */

        ngx_http_socketio_backend_body_literal(b, ",\"event\":\"");
        ngx_http_socketio_backend_body_raw(b, item->event.data,
                                           item->event.len);
        ngx_http_socketio_backend_body_literal(b, "\"");
    }

    ngx_http_socketio_backend_body_literal(b, ",\"args\":[");
    ngx_http_socketio_backend_body_raw(b, item->args.data, item->args.len);
    ngx_http_socketio_backend_body_literal(b, "]");

    if (item->nattachments) {
        ngx_http_socketio_backend_body_attachments(b, item);
    }

    if (item->id != NGX_SIO_PACKET_NO_ID) {
        ngx_http_socketio_backend_body_literal(b, ",\"ack\":\"");
        ngx_http_socketio_backend_body_raw(b, peer->sid,
                                           NGX_SIO_SOCKET_SID_LEN);
        ngx_http_socketio_backend_body_literal(b, ".");
        ngx_http_socketio_backend_body_number(b, item->id);
        ngx_http_socketio_backend_body_literal(b, "\"");
    }
}


static void
ngx_http_socketio_backend_body_attachments(
    ngx_http_socketio_backend_body_t *b, ngx_http_socketio_item_t *item)
{
    size_t      len;
    ngx_str_t  *octets;
    ngx_uint_t  i;

    ngx_http_socketio_backend_body_literal(b, ",\"attachments\":[");

    for (i = 0; i < item->nattachments; i++) {
        octets = &item->attachments[i];

        if (i > 0) {
            ngx_http_socketio_backend_body_literal(b, ",");
        }

        ngx_http_socketio_backend_body_literal(b, "\"");

        len = ngx_sio_base64_length(octets->len);

        if (ngx_http_socketio_backend_body_room(b, len)) {
            b->pos = ngx_sio_base64_write(b->pos, octets->data, octets->len);
        }

        ngx_http_socketio_backend_body_literal(b, "\"");
    }

    ngx_http_socketio_backend_body_literal(b, "]");
}


/* JSON already, or a part of it */

static void
ngx_http_socketio_backend_body_raw(ngx_http_socketio_backend_body_t *b,
    const u_char *p, size_t len)
{
    if (len && ngx_http_socketio_backend_body_room(b, len)) {
        b->pos = ngx_cpymem(b->pos, p, len);
    }
}


/* a string of UTF-8 */

static void
ngx_http_socketio_backend_body_text(ngx_http_socketio_backend_body_t *b,
    const u_char *p, size_t len)
{
    size_t  n;

    ngx_http_socketio_backend_body_literal(b, "\"");

    n = ngx_sio_json_escape_length(p, len);

    if (ngx_http_socketio_backend_body_room(b, n)) {
        b->pos = ngx_sio_json_escape(b->pos, p, len);
    }

    ngx_http_socketio_backend_body_literal(b, "\"");
}


/* a string of whatever a client put into its request */

static void
ngx_http_socketio_backend_body_octets(ngx_http_socketio_backend_body_t *b,
    const u_char *p, size_t len)
{
    u_char  *text;
    size_t   n;

    if (ngx_sio_utf8_valid(p, len)) {
        ngx_http_socketio_backend_body_text(b, p, len);
        return;
    }

    n = ngx_sio_utf8_repair_length(p, len);

    text = ngx_alloc(n, b->log);

    if (text == NULL) {
        b->failed = 1;
        return;
    }

    (void) ngx_sio_utf8_repair(text, p, len);

    ngx_http_socketio_backend_body_text(b, text, n);

    ngx_free(text);
}


static void
ngx_http_socketio_backend_body_number(ngx_http_socketio_backend_body_t *b,
    uint64_t n)
{
    if (ngx_http_socketio_backend_body_room(b, NGX_INT64_LEN)) {
        b->pos = ngx_sio_json_uint_write(b->pos, n);
    }
}


static ngx_uint_t
ngx_http_socketio_backend_body_grow(ngx_http_socketio_backend_body_t *b,
    size_t len)
{
    u_char  *start;
    size_t   used, size;

    used = b->pos - b->start;

    if (b->failed || len > NGX_MAX_SIZE_T_VALUE / 2 - used) {
        b->failed = 1;
        return 0;
    }

    size = 2 * (used + len);

    start = ngx_alloc(size, b->log);
    if (start == NULL) {
        b->failed = 1;
        return 0;
    }

    ngx_memcpy(start, b->start, used);
    ngx_free(b->start);

    b->start = start;
    b->pos = start + used;
    b->end = start + size;

    return 1;
}
