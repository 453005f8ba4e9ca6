
/*
 * What a backend answers to a webhook, and how it is carried out.
 */

#include "ngx_http_socketio_peer.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"


#define NGX_HTTP_SOCKETIO_BACKEND_REPLY_POOL  1024

/* as many as a socket counts */


typedef struct {
    ngx_uint_t   status;
    ngx_str_t    phrase;
} ngx_http_socketio_backend_phrase_t;


static ngx_uint_t ngx_http_socketio_backend_reply_message(
    ngx_http_socketio_reply_t *reply, ngx_str_t *raw, ngx_str_t *message);
static void ngx_http_socketio_backend_reply_state(
    ngx_http_socketio_reply_t *reply, ngx_uint_t *changed);
static void ngx_http_socketio_backend_reply_user(
    ngx_http_socketio_reply_t *reply, ngx_uint_t *changed);
static ngx_uint_t ngx_http_socketio_backend_reply_keep(
    ngx_http_socketio_reply_t *reply, ngx_str_t *kept, ngx_str_t *value);
static void ngx_http_socketio_backend_reply_rooms(
    ngx_http_socketio_reply_t *reply, const char *name, ngx_str_t *value,
    ngx_uint_t type);
static void ngx_http_socketio_backend_reply_join(
    ngx_http_socketio_reply_t *reply, ngx_str_t *rooms, ngx_uint_t n);
static void ngx_http_socketio_backend_reply_emits(
    ngx_http_socketio_reply_t *reply, ngx_str_t *value);
static void ngx_http_socketio_backend_reply_emit(
    ngx_http_socketio_reply_t *reply, ngx_str_t *object, ngx_uint_t i);
static void ngx_http_socketio_backend_reply_caller(
    ngx_http_socketio_reply_t *reply, ngx_http_socketio_command_t *cmd);
static ngx_sio_socket_t *ngx_http_socketio_backend_reply_socket(
    ngx_http_socketio_peer_t *peer, ngx_str_t *nsp);
static void ngx_http_socketio_backend_reply_ack(
    ngx_http_socketio_reply_t *reply, ngx_str_t *value,
    ngx_str_t *attachments);
static void ngx_http_socketio_backend_reply_disconnect(
    ngx_http_socketio_reply_t *reply, ngx_str_t *value);
static void ngx_http_socketio_backend_reply_direct(
    ngx_http_socketio_reply_t *reply, ngx_sio_socket_t *so,
    ngx_http_socketio_command_t *cmd, const char *what);
static void ngx_http_socketio_backend_reply_sent(
    ngx_http_socketio_reply_t *reply, ngx_int_t rc, const char *what);
static void ngx_http_socketio_backend_reply_fail(
    ngx_http_socketio_reply_t *reply, ngx_int_t rc, const char *name,
    ngx_uint_t i);
static void ngx_http_socketio_backend_reply_lost(
    ngx_http_socketio_reply_t *reply);


static const ngx_str_t  ngx_http_socketio_backend_reply_names[] = {
    ngx_string("error"),
    ngx_string("message"),
    ngx_string("data"),
    ngx_string("state"),
    ngx_string("user"),
    ngx_string("leave"),
    ngx_string("join"),
    ngx_string("emit"),
    ngx_string("ack"),
    ngx_string("attachments"),
    ngx_string("disconnect")
};


/* "Unauthorized" and "Forbidden" are promised, others are courtesy */

static ngx_http_socketio_backend_phrase_t
    ngx_http_socketio_backend_phrases[] = {
    { 400, ngx_string("Bad Request") },
    { 401, ngx_string("Unauthorized") },
    { 402, ngx_string("Payment Required") },
    { 403, ngx_string("Forbidden") },
    { 404, ngx_string("Not Found") },
    { 405, ngx_string("Not Allowed") },
    { 406, ngx_string("Not Acceptable") },
    { 408, ngx_string("Request Time-out") },
    { 409, ngx_string("Conflict") },
    { 410, ngx_string("Gone") },
    { 413, ngx_string("Request Entity Too Large") },
    { 415, ngx_string("Unsupported Media Type") },
    { 422, ngx_string("Unprocessable Entity") },
    { 429, ngx_string("Too Many Requests") },
    { 451, ngx_string("Unavailable For Legal Reasons") },
    { 0, ngx_string("Refused") }
};


/* Kept from one reply to the next; NULL: there is none, or it is in use. */

static ngx_pool_t  *ngx_http_socketio_backend_reply_pool;


ngx_int_t
ngx_http_socketio_backend_reply_init(ngx_http_socketio_reply_t *reply,
    ngx_http_socketio_peer_t *peer, ngx_str_t *body)
{
    u_char     *p, *last;
    ngx_int_t   rc;

    ngx_memzero(reply, sizeof(ngx_http_socketio_reply_t));

    reply->peer = peer;
    reply->parse.max_attachments =
                           ngx_http_socketio_peer_lcf(peer)->max_attachments;

    last = body->data + body->len;

    for (p = body->data; p < last; p++) {
        if (*p != ' ' && *p != '\t' && *p != LF && *p != CR) {
            break;
        }
    }

    if (p == last) {
        return NGX_OK;
    }

    rc = ngx_http_socketio_parse_object(&reply->parse, body,
                                        ngx_http_socketio_backend_reply_names,
                                        NGX_HTTP_SOCKETIO_REPLY_MEMBERS,
                                        reply->members);
    if (rc != NGX_OK) {
        ngx_memzero(reply->members, sizeof(reply->members));
        return rc;
    }

    reply->parse.pool = ngx_http_socketio_backend_reply_pool;
    ngx_http_socketio_backend_reply_pool = NULL;

    if (reply->parse.pool == NULL) {
        reply->parse.pool = ngx_create_pool(
                                          NGX_HTTP_SOCKETIO_BACKEND_REPLY_POOL,
                                          ngx_cycle->log);
        if (reply->parse.pool == NULL) {
            ngx_memzero(reply->members, sizeof(reply->members));
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* The pool serves the next reply, unless this one was large. */

void
ngx_http_socketio_backend_reply_done(ngx_http_socketio_reply_t *reply)
{
    ngx_pool_t  *pool;

    pool = reply->parse.pool;

    if (pool == NULL) {
        return;
    }

    if (ngx_http_socketio_backend_reply_pool || pool->d.next) {
        ngx_destroy_pool(pool);
        return;
    }

    ngx_reset_pool(pool);
    ngx_http_socketio_backend_reply_pool = pool;
}


ngx_uint_t
ngx_http_socketio_backend_reply_error(ngx_http_socketio_reply_t *reply)
{
    ngx_str_t  *error;

    error = &reply->members[NGX_HTTP_SOCKETIO_REPLY_ERROR];

    return !ngx_http_socketio_parse_absent(error)
           && ngx_sio_json_type(error) != NGX_SIO_JSON_FALSE;
}


/*
 * {"error":{"message":...,"data":...}}, {"error":"..."}, or, where the status
 * has said that it is an error, {"message":...,"data":...}
 */

void
ngx_http_socketio_backend_reply_refusal(ngx_http_socketio_reply_t *reply,
    ngx_uint_t status, ngx_str_t *message, ngx_str_t *data)
{
    ngx_str_t                           *error, values[3], *raw;
    ngx_http_socketio_backend_phrase_t  *phrase;

    error = &reply->members[NGX_HTTP_SOCKETIO_REPLY_ERROR];
    raw = reply->members;

    if (ngx_sio_json_type(error) == NGX_SIO_JSON_OBJECT) {
        raw = values;

        ngx_http_socketio_parse_members(error,
                                        ngx_http_socketio_backend_reply_names,
                                        3, values);

    } else if (ngx_sio_json_type(error) == NGX_SIO_JSON_STRING
               && ngx_http_socketio_parse_absent(
                              &raw[NGX_HTTP_SOCKETIO_REPLY_MESSAGE]))
    {
        raw[NGX_HTTP_SOCKETIO_REPLY_MESSAGE] = *error;
    }

    *data = raw[NGX_HTTP_SOCKETIO_REPLY_DATA];

    if (ngx_http_socketio_backend_reply_message(reply,
                            &raw[NGX_HTTP_SOCKETIO_REPLY_MESSAGE], message))
    {
        return;
    }

    phrase = ngx_http_socketio_backend_phrases;

    while (phrase->status != status && phrase->status != 0) {
        phrase++;
    }

    *message = phrase->phrase;
}


static ngx_uint_t
ngx_http_socketio_backend_reply_message(ngx_http_socketio_reply_t *reply,
    ngx_str_t *raw, ngx_str_t *message)
{
    if (raw->len == 0 || ngx_sio_json_type(raw) != NGX_SIO_JSON_STRING) {
        return 0;
    }

    message->data = ngx_pnalloc(reply->parse.pool, raw->len);
    if (message->data == NULL) {
        return 0;
    }

    message->len = ngx_sio_json_string_write(message->data, raw)
                   - message->data;
    return 1;
}


void
ngx_http_socketio_backend_reply_memo(ngx_http_socketio_reply_t *reply)
{
    ngx_uint_t  changed;

    changed = 0;

    ngx_http_socketio_backend_reply_state(reply, &changed);
    ngx_http_socketio_backend_reply_user(reply, &changed);

    if (changed && reply->peer->journal) {
        (void) ngx_http_socketio_backend_journal_write(reply->peer);
    }
}


static void
ngx_http_socketio_backend_reply_state(ngx_http_socketio_reply_t *reply,
    ngx_uint_t *changed)
{
    ngx_str_t  *value, none;

    value = &reply->members[NGX_HTTP_SOCKETIO_REPLY_STATE];

    if (value->len == 0) {
        return;
    }

    switch (ngx_sio_json_type(value)) {

    case NGX_SIO_JSON_OBJECT:
        break;

    case NGX_SIO_JSON_NULL:
        ngx_str_null(&none);
        value = &none;
        break;

    default:
        ngx_str_set(&reply->parse.error, "\"state\" must be an object");
        ngx_http_socketio_backend_reply_fail(reply, NGX_DECLINED, NULL, 0);
        return;
    }

    if (value->len > NGX_HTTP_SOCKETIO_MAX_STATE) {
        ngx_str_set(&reply->parse.error,
                    "\"state\" is longer than 4096 octets");
        ngx_http_socketio_backend_reply_fail(reply, NGX_DECLINED, NULL, 0);
        return;
    }

    *changed |= ngx_http_socketio_backend_reply_keep(reply,
                                                     &reply->peer->memo,
                                                     value);
}


static void
ngx_http_socketio_backend_reply_user(ngx_http_socketio_reply_t *reply,
    ngx_uint_t *changed)
{
    ngx_int_t   rc;
    ngx_str_t  *value, user;

    value = &reply->members[NGX_HTTP_SOCKETIO_REPLY_USER];

    if (value->len == 0) {
        return;
    }

    ngx_str_null(&user);

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_NULL) {

        rc = ngx_http_socketio_parse_name(&reply->parse, "user", value, &user);

        if (rc != NGX_OK) {
            ngx_http_socketio_backend_reply_fail(reply, rc, NULL, 0);
            return;
        }
    }

    *changed |= ngx_http_socketio_backend_reply_keep(reply,
                                                     &reply->peer->user,
                                                     &user);
}


/* Replaces what is kept by a copy; without memory the old one stays. */

static ngx_uint_t
ngx_http_socketio_backend_reply_keep(ngx_http_socketio_reply_t *reply,
    ngx_str_t *kept, ngx_str_t *value)
{
    u_char  *copy;

    if (kept->len == value->len
        && (value->len == 0
            || ngx_memcmp(kept->data, value->data, value->len) == 0))
    {
        return 0;
    }

    copy = NULL;

    if (value->len) {
        copy = ngx_alloc(value->len,
                         ngx_http_socketio_backend_log(reply->peer));
        if (copy == NULL) {
            ngx_http_socketio_backend_reply_lost(reply);
            return 0;
        }

        ngx_memcpy(copy, value->data, value->len);
    }

    if (kept->data) {
        ngx_free(kept->data);
    }

    kept->data = copy;
    kept->len = value->len;

    return 1;
}


void
ngx_http_socketio_backend_reply_apply(ngx_http_socketio_reply_t *reply)
{
    ngx_str_t  *members;

    members = reply->members;

    ngx_http_socketio_backend_reply_rooms(reply, "leave",
                              &members[NGX_HTTP_SOCKETIO_REPLY_LEAVE],
                              NGX_HTTP_SOCKETIO_LEAVE);

    ngx_http_socketio_backend_reply_rooms(reply, "join",
                              &members[NGX_HTTP_SOCKETIO_REPLY_JOIN],
                              NGX_HTTP_SOCKETIO_JOIN);

    ngx_http_socketio_backend_reply_emits(reply,
                              &members[NGX_HTTP_SOCKETIO_REPLY_EMIT]);

    ngx_http_socketio_backend_reply_ack(reply,
                              &members[NGX_HTTP_SOCKETIO_REPLY_ACK],
                              &members[NGX_HTTP_SOCKETIO_REPLY_ATTACHMENTS]);

    ngx_http_socketio_backend_reply_disconnect(reply,
                              &members[NGX_HTTP_SOCKETIO_REPLY_DISCONNECT]);
}


/*
 * At once, unless something that we said earlier still waits to be read from
 * the log: whoever leaves a room in one reply shall have got what the reply
 * before it said there.
 */

static void
ngx_http_socketio_backend_reply_rooms(ngx_http_socketio_reply_t *reply,
    const char *name, ngx_str_t *value, ngx_uint_t type)
{
    ngx_int_t                     rc;
    ngx_str_t                    *rooms, sid;
    ngx_uint_t                    i, n;
    ngx_sio_socket_t             *so;
    ngx_http_socketio_command_t   cmd;

    if (ngx_http_socketio_parse_absent(value)) {
        return;
    }

    rc = ngx_http_socketio_parse_names(&reply->parse, name, value, &rooms, &n);

    if (rc != NGX_OK) {
        ngx_http_socketio_backend_reply_fail(reply, rc, NULL, 0);
        return;
    }

    so = reply->peer->socket;

    if (so == NULL || n == 0) {
        return;
    }

    if (ngx_sio_hub_owed_unread(reply->peer->worker->hub) && !so->left_own) {

        ngx_memzero(&cmd, sizeof(ngx_http_socketio_command_t));

        sid.data = so->sid;
        sid.len = NGX_SIO_SOCKET_SID_LEN;

        cmd.type = type;
        cmd.target.nsp = so->nsp->node.str;
        cmd.target.to = &sid;
        cmd.target.nto = 1;
        cmd.rooms = rooms;
        cmd.nrooms = n;
        cmd.owed = 1;

        rc = ngx_http_socketio_command_send(reply->peer->worker, &cmd, NULL);

        ngx_http_socketio_backend_reply_sent(reply, rc, name);
        return;
    }

    if (type == NGX_HTTP_SOCKETIO_JOIN) {
        ngx_http_socketio_backend_reply_join(reply, rooms, n);
        return;
    }

    for (i = 0; i < n; i++) {
        (void) ngx_sio_rooms_leave(so, &rooms[i]);
    }
}


static void
ngx_http_socketio_backend_reply_join(ngx_http_socketio_reply_t *reply,
    ngx_str_t *rooms, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        switch (ngx_sio_rooms_join(reply->peer->socket, &rooms[i])) {

        case NGX_ERROR:
            ngx_http_socketio_backend_reply_fail(reply, NGX_ERROR, "join", 0);
            return;

        case NGX_BUSY:
            return;     /* one line of the log says it for all */

        default: /* NGX_OK, NGX_DECLINED */
            break;
        }
    }
}


static void
ngx_http_socketio_backend_reply_emits(ngx_http_socketio_reply_t *reply,
    ngx_str_t *value)
{
    ngx_str_t            object;
    ngx_uint_t           i;
    ngx_sio_json_iter_t  it;

    if (ngx_http_socketio_parse_absent(value)) {
        return;
    }

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_ARRAY) {
        ngx_str_set(&reply->parse.error, "\"emit\" must be a list of objects");
        ngx_http_socketio_backend_reply_fail(reply, NGX_DECLINED, NULL, 0);
        return;
    }

    ngx_sio_json_iter(&it, value);

    for (i = 1; ngx_sio_json_element(&it, &object) == NGX_OK; i++) {
        ngx_http_socketio_backend_reply_emit(reply, &object, i);
    }
}


/* i counts from 1, for people */

static void
ngx_http_socketio_backend_reply_emit(ngx_http_socketio_reply_t *reply,
    ngx_str_t *object, ngx_uint_t i)
{
    ngx_int_t                     rc;
    ngx_http_socketio_emit_t      emit;
    ngx_http_socketio_peer_t     *peer;
    ngx_http_socketio_command_t   cmd;

    peer = reply->peer;

    ngx_memzero(&cmd, sizeof(ngx_http_socketio_command_t));

    rc = ngx_http_socketio_parse_emit(&reply->parse, object, &emit);

    if (rc == NGX_OK && emit.ack.len) {
        rc = ngx_http_socketio_parse_name(&reply->parse, "ack", &emit.ack,
                                          &cmd.token);
    }

    if (rc != NGX_OK) {
        ngx_http_socketio_backend_reply_fail(reply, rc, "emit", i);
        return;
    }

    cmd.type = NGX_HTTP_SOCKETIO_EMIT;
    cmd.target = emit.target;
    cmd.json = emit.json;
    cmd.attachments = emit.attachments;
    cmd.nattachments = emit.nattachments;
    cmd.is_volatile = emit.is_volatile;
    cmd.owed = 1;

    if (cmd.target.nsp.len == 0) {
        cmd.target.nsp.data = peer->nsp;
        cmd.target.nsp.len = peer->nsp_len;
    }

    if (cmd.target.nto == 0 && !emit.broadcast) {
        ngx_http_socketio_backend_reply_caller(reply, &cmd);
        return;
    }

    rc = ngx_http_socketio_command_send(peer->worker, &cmd, NULL);

    ngx_http_socketio_backend_reply_sent(reply, rc, "emit");
}


/* To the client that has called, in this or in another of its namespaces. */

static void
ngx_http_socketio_backend_reply_caller(ngx_http_socketio_reply_t *reply,
    ngx_http_socketio_command_t *cmd)
{
    ngx_int_t          rc;
    ngx_str_t          sid;
    ngx_sio_socket_t  *so;

    so = ngx_http_socketio_backend_reply_socket(reply->peer, &cmd->target.nsp);

    if (so == NULL) {
        return;
    }

    if (cmd->target.nexcept == 0) {
        ngx_http_socketio_backend_reply_direct(reply, so, cmd, "emit");
        return;
    }

    /* whether it is meant is for those to say who know the rooms */

    sid.data = so->sid;
    sid.len = NGX_SIO_SOCKET_SID_LEN;

    cmd->target.to = &sid;
    cmd->target.nto = 1;

    rc = ngx_http_socketio_command_send(reply->peer->worker, cmd, NULL);

    ngx_http_socketio_backend_reply_sent(reply, rc, "emit");
}


static ngx_sio_socket_t *
ngx_http_socketio_backend_reply_socket(ngx_http_socketio_peer_t *peer,
    ngx_str_t *nsp)
{
    ngx_queue_t       *q, *sockets;
    ngx_sio_socket_t  *so;

    if (peer->socket == NULL) {
        return NULL;
    }

    sockets = &peer->socket->session->sockets;

    for (q = ngx_queue_head(sockets);
         q != ngx_queue_sentinel(sockets);
         q = ngx_queue_next(q))
    {
        so = ngx_queue_data(q, ngx_sio_socket_t, link);

        if (so->connected
            && so->nsp->node.str.len == nsp->len
            && ngx_memcmp(so->nsp->node.str.data, nsp->data, nsp->len) == 0)
        {
            return so;
        }
    }

    return NULL;
}


static void
ngx_http_socketio_backend_reply_ack(ngx_http_socketio_reply_t *reply,
    ngx_str_t *value, ngx_str_t *attachments)
{
    ngx_int_t                     rc;
    ngx_http_socketio_peer_t     *peer;
    ngx_http_socketio_command_t   cmd;

    if (ngx_http_socketio_parse_absent(value)) {
        return;
    }

    peer = reply->peer;

    ngx_memzero(&cmd, sizeof(ngx_http_socketio_command_t));

    cmd.type = NGX_HTTP_SOCKETIO_RESPOND;
    cmd.id = peer->flight->id;
    cmd.owed = 1;

    rc = ngx_http_socketio_parse_args(&reply->parse, "ack", value, &cmd.json);

    if (rc == NGX_OK && !ngx_http_socketio_parse_absent(attachments)) {
        rc = ngx_http_socketio_parse_attachments(&reply->parse, "attachments",
                                                 attachments, value,
                                                 &cmd.attachments,
                                                 &cmd.nattachments);
    }

    if (rc != NGX_OK) {
        ngx_http_socketio_backend_reply_fail(reply, rc, NULL, 0);
        return;
    }

    /* of what a client does not wait for nothing is sent */

    if (peer->socket && cmd.id != NGX_SIO_PACKET_NO_ID) {
        ngx_http_socketio_backend_reply_direct(reply, peer->socket, &cmd,
                                               "ack");
    }
}


static void
ngx_http_socketio_backend_reply_disconnect(ngx_http_socketio_reply_t *reply,
    ngx_str_t *value)
{
    ngx_uint_t                    leave;
    ngx_http_socketio_command_t   cmd;

    static ngx_str_t  transport = ngx_string("transport");

    if (ngx_http_socketio_parse_absent(value)) {
        return;
    }

    ngx_memzero(&cmd, sizeof(ngx_http_socketio_command_t));

    cmd.type = NGX_HTTP_SOCKETIO_KICK;
    cmd.owed = 1;

    if (ngx_sio_json_string_equal(value, &transport)) {
        cmd.close = 1;

    } else if (ngx_http_socketio_parse_flag(&reply->parse, "disconnect", value,
                                            &leave)
               != NGX_OK)
    {
        ngx_str_set(&reply->parse.error,
                    "\"disconnect\" must be true, false or \"transport\"");
        ngx_http_socketio_backend_reply_fail(reply, NGX_DECLINED, NULL, 0);
        return;

    } else if (!leave) {
        return;
    }

    if (reply->peer->socket) {
        ngx_http_socketio_backend_reply_direct(reply, reply->peer->socket,
                                               &cmd, "disconnect");
    }
}


static void
ngx_http_socketio_backend_reply_direct(ngx_http_socketio_reply_t *reply,
    ngx_sio_socket_t *so, ngx_http_socketio_command_t *cmd, const char *what)
{
    ngx_int_t  rc;
    ngx_str_t  sid;

    sid.data = so->sid;
    sid.len = NGX_SIO_SOCKET_SID_LEN;

    cmd->target.nsp = so->nsp->node.str;
    cmd->target.to = &sid;
    cmd->target.nto = 1;

    rc = ngx_http_socketio_command_direct(reply->peer->worker, so, cmd);

    ngx_http_socketio_backend_reply_sent(reply, rc, what);
}


static void
ngx_http_socketio_backend_reply_sent(ngx_http_socketio_reply_t *reply,
    ngx_int_t rc, const char *what)
{
    ngx_http_socketio_peer_t  *peer;

    if (rc == NGX_OK) {
        return;
    }

    peer = reply->peer;

    peer->worker->engine.counters[NGX_HTTP_SOCKETIO_COUNT_DROPPED]++;

    if (rc == NGX_ERROR) {
        ngx_http_socketio_backend_reply_lost(reply);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_http_socketio_backend_log(peer), 0,
                  "socketio: \"%s\" of a reply was dropped: %s, zone \"%V\"",
                  what,
                  rc == NGX_DECLINED ? "it is too large for the zone"
                                     : "the zone is full",
                  &peer->worker->zone->name);
}


/* name and i say which of several, or NULL and 0 */

static void
ngx_http_socketio_backend_reply_fail(ngx_http_socketio_reply_t *reply,
    ngx_int_t rc, const char *name, ngx_uint_t i)
{
    ngx_log_t                 *log;
    ngx_http_socketio_peer_t  *peer;

    peer = reply->peer;

    if (rc == NGX_ERROR) {
        ngx_http_socketio_backend_reply_lost(reply);
        return;
    }

    peer->worker->engine.counters[NGX_HTTP_SOCKETIO_COUNT_MALFORMED]++;

    log = ngx_http_socketio_backend_log(peer);

    if (i) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "socketio: \"%s\" number %ui of a reply was left out: "
                      "%V", name, i, &reply->parse.error);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "socketio: a member of a reply was left out: %V",
                  &reply->parse.error);
}


/*
 * There was no memory for a part of it, which has been logged.  A client that
 * is thought to have what it does not have, a room or a name, is worse off
 * than one that has to connect again.
 */

static void
ngx_http_socketio_backend_reply_lost(ngx_http_socketio_reply_t *reply)
{
    if (reply->peer->socket) {
        ngx_sio_session_fail(reply->peer->socket->session);
    }
}
