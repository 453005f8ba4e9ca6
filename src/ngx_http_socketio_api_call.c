
/*
 * The calls of the API one by one: bodies become commands, results answers.
 *
 * A list of rooms and sids that is empty, or an emit without "to", means the
 * whole namespace.  "in" has to be there nevertheless: a key that was
 * forgotten must not disconnect everybody.
 */

#include "ngx_http_socketio_api.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"


#define NGX_HTTP_SOCKETIO_API_MAX_WAIT 600000   /* msec, for clients */
#define NGX_HTTP_SOCKETIO_API_PACKET   32       /* octets of a packet's head */


static ngx_int_t ngx_http_socketio_api_parse_emit(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_parse_wait(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object, ngx_str_t *ack);
static ngx_int_t ngx_http_socketio_api_parse_join(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_parse_leave(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_parse_rooms(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_parse_disconnect(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_parse_target(
    ngx_http_socketio_api_call_t *call, ngx_str_t *nsp, ngx_str_t *in);
static ngx_int_t ngx_http_socketio_api_parse_acks(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
static ngx_int_t ngx_http_socketio_api_parse_token(
    ngx_http_socketio_api_call_t *call, ngx_str_t *token);
static ngx_int_t ngx_http_socketio_api_fits(
    ngx_http_socketio_api_call_t *call);

static void ngx_http_socketio_api_answer_matched(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);
static void ngx_http_socketio_api_answer_emit(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);
static void ngx_http_socketio_api_answer_acks(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);


const ngx_http_socketio_api_op_t  ngx_http_socketio_api_ops[] = {

    { ngx_string("emit"), NGX_HTTP_POST, ngx_string("POST"),
      NGX_HTTP_SOCKETIO_API_ALONE, 1,
      ngx_http_socketio_api_parse_emit, NULL,
      ngx_http_socketio_api_answer_emit },

    { ngx_string("join"), NGX_HTTP_POST, ngx_string("POST"),
      NGX_HTTP_SOCKETIO_API_ALONE, 1,
      ngx_http_socketio_api_parse_join, NULL,
      ngx_http_socketio_api_answer_matched },

    { ngx_string("leave"), NGX_HTTP_POST, ngx_string("POST"),
      NGX_HTTP_SOCKETIO_API_ALONE, 1,
      ngx_http_socketio_api_parse_leave, NULL,
      ngx_http_socketio_api_answer_matched },

    { ngx_string("disconnect"), NGX_HTTP_POST, ngx_string("POST"),
      NGX_HTTP_SOCKETIO_API_ALONE, 1,
      ngx_http_socketio_api_parse_disconnect, NULL,
      ngx_http_socketio_api_answer_matched },

    { ngx_string("acks"), NGX_HTTP_POST, ngx_string("POST"),
      NGX_HTTP_SOCKETIO_API_NAMED, 1,
      ngx_http_socketio_api_parse_acks, NULL,
      ngx_http_socketio_api_answer_acks },

    /* its calls are parsed one by one */

    { ngx_string("batch"), NGX_HTTP_POST, ngx_string("POST"),
      NGX_HTTP_SOCKETIO_API_ALONE, 0, NULL, NULL, NULL },

    { ngx_string("sockets"), NGX_HTTP_GET|NGX_HTTP_HEAD,
      ngx_string("GET, HEAD"), NGX_HTTP_SOCKETIO_API_ALONE, 0,
      ngx_http_socketio_api_list_parse_sockets,
      ngx_http_socketio_api_list_rows,
      ngx_http_socketio_api_list_answer_sockets },

    { ngx_string("sockets"), NGX_HTTP_GET|NGX_HTTP_HEAD,
      ngx_string("GET, HEAD"), NGX_HTTP_SOCKETIO_API_NAMED, 0,
      ngx_http_socketio_api_list_parse_socket,
      ngx_http_socketio_api_list_rows,
      ngx_http_socketio_api_list_answer_socket },

    { ngx_string("rooms"), NGX_HTTP_GET|NGX_HTTP_HEAD,
      ngx_string("GET, HEAD"), NGX_HTTP_SOCKETIO_API_ALONE, 0,
      ngx_http_socketio_api_list_parse_rooms,
      ngx_http_socketio_api_list_rows,
      ngx_http_socketio_api_list_answer_rooms },

    { ngx_null_string, 0, ngx_null_string, 0, 0, NULL, NULL, NULL }
};


static ngx_int_t
ngx_http_socketio_api_parse_emit(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t                     rc;
    ngx_http_socketio_emit_t      emit;
    ngx_http_socketio_command_t  *cmd;

    rc = ngx_http_socketio_parse_emit(&call->api->parse, object, &emit);

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_malformed(call, rc);
    }

    cmd = &call->command;

    cmd->type = NGX_HTTP_SOCKETIO_EMIT;
    cmd->target = emit.target;
    cmd->json = emit.json;
    cmd->attachments = emit.attachments;
    cmd->nattachments = emit.nattachments;
    cmd->is_volatile = emit.is_volatile;

    if (cmd->target.nsp.len == 0) {
        ngx_str_set(&cmd->target.nsp, "/");
    }

    call->wait.deadline = NGX_HTTP_SOCKETIO_API_TIMEOUT;

    if (emit.ack.len != 0) {
        rc = ngx_http_socketio_api_parse_wait(call, object, &emit.ack);

        if (rc != NGX_OK) {
            return ngx_http_socketio_api_malformed(call, rc);
        }
    }

    return ngx_http_socketio_api_fits(call);
}


/*
 * Whether the clients' answers are waited for.  Then somebody has to say how
 * long: a client that never answers is not the exception.
 */

static ngx_int_t
ngx_http_socketio_api_parse_wait(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object, ngx_str_t *ack)
{
    uint64_t                       n;
    ngx_int_t                      rc;
    ngx_str_t                      timeout;
    ngx_uint_t                     wanted;
    ngx_http_socketio_parse_t     *parse;
    ngx_http_socketio_api_text_t  *acks;

    static const ngx_str_t  name = ngx_string("timeout");

    parse = &call->api->parse;

    rc = ngx_http_socketio_parse_flag(parse, "ack", ack, &wanted);

    if (rc != NGX_OK || !wanted) {
        return rc;
    }

    ngx_http_socketio_parse_members(object, &name, 1, &timeout);

    if (ngx_sio_json_uint(&timeout, NGX_HTTP_SOCKETIO_API_MAX_WAIT, &n)
        != NGX_OK
        || n == 0)
    {
        ngx_str_set(&parse->error, "\"timeout\" must be a number of "
                    "milliseconds from 1 to 600000");
        return NGX_DECLINED;
    }

    acks = ngx_palloc(parse->pool, sizeof(ngx_http_socketio_api_text_t));
    if (acks == NULL) {
        return NGX_ERROR;
    }

    ngx_http_socketio_api_text_init(acks, parse->pool);

    call->data = acks;
    call->wait.acks = 1;
    call->wait.deadline = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_api_parse_join(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    call->command.type = NGX_HTTP_SOCKETIO_JOIN;

    return ngx_http_socketio_api_parse_rooms(call, object);
}


static ngx_int_t
ngx_http_socketio_api_parse_leave(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    call->command.type = NGX_HTTP_SOCKETIO_LEAVE;

    return ngx_http_socketio_api_parse_rooms(call, object);
}


static ngx_int_t
ngx_http_socketio_api_parse_rooms(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t  rc;
    ngx_str_t  values[3];

    static const ngx_str_t  names[] = {
        ngx_string("namespace"),
        ngx_string("in"),
        ngx_string("rooms")
    };

    ngx_http_socketio_parse_members(object, names, 3, values);

    rc = ngx_http_socketio_api_parse_target(call, &values[0], &values[1]);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_parse_names(&call->api->parse, "rooms",
                                           &values[2], &call->command.rooms,
                                           &call->command.nrooms);
    }

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_malformed(call, rc);
    }

    return ngx_http_socketio_api_fits(call);
}


static ngx_int_t
ngx_http_socketio_api_parse_disconnect(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t   rc;
    ngx_str_t   values[3];
    ngx_uint_t  close;

    static const ngx_str_t  names[] = {
        ngx_string("namespace"),
        ngx_string("in"),
        ngx_string("close")
    };

    ngx_http_socketio_parse_members(object, names, 3, values);

    close = 0;
    rc = ngx_http_socketio_api_parse_target(call, &values[0], &values[1]);

    if (rc == NGX_OK && !ngx_http_socketio_parse_absent(&values[2])) {
        rc = ngx_http_socketio_parse_flag(&call->api->parse, "close",
                                          &values[2], &close);
    }

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_malformed(call, rc);
    }

    call->command.type = NGX_HTTP_SOCKETIO_KICK;
    call->command.close = close;

    return ngx_http_socketio_api_fits(call);
}


/* Whom everything but an emit is for.  Codes as those of the parser. */

static ngx_int_t
ngx_http_socketio_api_parse_target(ngx_http_socketio_api_call_t *call,
    ngx_str_t *nsp, ngx_str_t *in)
{
    ngx_int_t                   rc;
    ngx_sio_target_t           *target;
    ngx_http_socketio_parse_t  *parse;

    parse = &call->api->parse;
    target = &call->command.target;

    call->wait.deadline = NGX_HTTP_SOCKETIO_API_TIMEOUT;

    ngx_str_set(&target->nsp, "/");

    if (!ngx_http_socketio_parse_absent(nsp)) {
        rc = ngx_http_socketio_parse_namespace(parse, "namespace", nsp,
                                               &target->nsp);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_socketio_parse_names(parse, "in", in, &target->to,
                                         &target->nto);
}


/* In a batch the token is not in the path, but beside the arguments. */

static ngx_int_t
ngx_http_socketio_api_parse_acks(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t                     rc;
    ngx_str_t                     values[3], token;
    ngx_http_socketio_parse_t    *parse;
    ngx_http_socketio_command_t  *cmd;

    static const ngx_str_t  names[] = {
        ngx_string("args"),
        ngx_string("attachments"),
        ngx_string("token")
    };

    parse = &call->api->parse;
    cmd = &call->command;

    ngx_http_socketio_parse_members(object, names, 3, values);

    rc = NGX_OK;
    token = call->api->argument;

    if (call->api->batch) {
        rc = ngx_http_socketio_parse_name(parse, "token", &values[2], &token);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_api_parse_token(call, &token);
    }

    if (rc == NGX_OK && !ngx_http_socketio_parse_absent(&values[0])) {
        rc = ngx_http_socketio_parse_args(parse, "args", &values[0],
                                          &cmd->json);
    }

    if (rc == NGX_OK && !ngx_http_socketio_parse_absent(&values[1])) {
        rc = ngx_http_socketio_parse_attachments(parse, "attachments",
                                                 &values[1], &values[0],
                                                 &cmd->attachments,
                                                 &cmd->nattachments);
    }

    if (rc != NGX_OK) {
        return ngx_http_socketio_api_malformed(call, rc);
    }

    cmd->type = NGX_HTTP_SOCKETIO_RESPOND;

    call->wait.first = 1;
    call->wait.deadline = NGX_HTTP_SOCKETIO_API_TIMEOUT;

    return ngx_http_socketio_api_fits(call);
}


/* "<sid>.<id>", as in a webhook's "ack".  Codes as those of the parser. */

static ngx_int_t
ngx_http_socketio_api_parse_token(ngx_http_socketio_api_call_t *call,
    ngx_str_t *token)
{
    ngx_int_t                   n;
    ngx_str_t                  *sid;
    ngx_http_socketio_parse_t  *parse;

    parse = &call->api->parse;

    n = NGX_ERROR;

    if (token->len > NGX_SIO_SOCKET_SID_LEN + 1
        && token->data[NGX_SIO_SOCKET_SID_LEN] == '.')
    {
        n = ngx_atoi(token->data + NGX_SIO_SOCKET_SID_LEN + 1,
                     token->len - NGX_SIO_SOCKET_SID_LEN - 1);
    }

    if (n == NGX_ERROR || (uint64_t) n > NGX_SIO_PACKET_MAX_ID) {
        ngx_str_set(&parse->error, "the token is not one of a webhook");
        return NGX_DECLINED;
    }

    sid = ngx_palloc(parse->pool, sizeof(ngx_str_t));
    if (sid == NULL) {
        return NGX_ERROR;
    }

    sid->len = NGX_SIO_SOCKET_SID_LEN;
    sid->data = token->data;

    call->command.id = n;
    call->command.target.to = sid;
    call->command.target.nto = 1;

    return NGX_OK;
}


/*
 * Whether the log can carry it.  A client may poll at another worker than its
 * session's: then what it is answered goes through the log as well, and
 * attachments are base64 by then.
 */

static ngx_int_t
ngx_http_socketio_api_fits(ngx_http_socketio_api_call_t *call)
{
    size_t                        len;
    ngx_uint_t                    i;
    ngx_http_socketio_worker_t   *w;
    ngx_http_socketio_command_t  *cmd;

    w = call->api->worker;
    cmd = &call->command;

    len = cmd->target.nsp.len + cmd->json.len + NGX_HTTP_SOCKETIO_API_PACKET;

    for (i = 0; i < cmd->nattachments; i++) {
        len += ngx_sio_base64_length(cmd->attachments[i].len)
               + NGX_HTTP_SOCKETIO_API_PACKET;
    }

    if (len > w->engine.max_answer
        || ngx_http_socketio_command_size(cmd)
           > ngx_sio_hub_max_entry(w->zone->size))
    {
        ngx_http_socketio_api_fail(call, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                   "too_large",
                                   "the zone \"%V\" carries %uz bytes at "
                                   "once, attachments in base64",
                                   &w->zone->name, w->engine.max_answer);
        return NGX_DECLINED;
    }

    if (cmd->type == NGX_HTTP_SOCKETIO_RESPOND) {
        return NGX_OK;
    }

    return ngx_http_socketio_api_declared(call);
}


void
ngx_http_socketio_api_acked(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_acked_t *acked)
{
    size_t                         len;
    ngx_uint_t                     i;
    ngx_http_socketio_api_text_t  *acks;

    acks = call->data;

    len = NGX_SIO_SOCKET_SID_LEN + acked->args.len;

    for (i = 0; i < acked->nattachments; i++) {
        len += ngx_sio_base64_length(acked->attachments[i].len);
    }

    if (!ngx_http_socketio_api_hold(call, len)) {
        return;
    }

    if (acks->len) {
        ngx_http_socketio_api_text_literal(acks, ",");
    }

    /* a server of another kind does not tell whose it is */

    if (acked->sid[0] == '\0') {
        ngx_http_socketio_api_text_literal(acks, "{\"sid\":null");

    } else {
        ngx_http_socketio_api_text_literal(acks, "{\"sid\":\"");
        ngx_http_socketio_api_text_put(acks, acked->sid,
                                       NGX_SIO_SOCKET_SID_LEN);
        ngx_http_socketio_api_text_literal(acks, "\"");
    }

    ngx_http_socketio_api_text_literal(acks, ",\"args\":[");
    ngx_http_socketio_api_text_put(acks, acked->args.data, acked->args.len);
    ngx_http_socketio_api_text_literal(acks, "]");

    for (i = 0; i < acked->nattachments; i++) {

        if (i == 0) {
            ngx_http_socketio_api_text_literal(acks, ",\"attachments\":[");

        } else {
            ngx_http_socketio_api_text_literal(acks, ",");
        }

        ngx_http_socketio_api_text_octets(acks, &acked->attachments[i]);
    }

    if (acked->nattachments) {
        ngx_http_socketio_api_text_literal(acks, "]");
    }

    ngx_http_socketio_api_text_literal(acks, "}");
}


static void
ngx_http_socketio_api_answer_matched(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_http_socketio_api_text_literal(text, "{\"matched\":");
    ngx_http_socketio_api_text_uint(text, call->wait.matched);

    if (call->wait.incomplete) {
        ngx_http_socketio_api_text_literal(text, ",\"complete\":false");
    }

    ngx_http_socketio_api_text_literal(text, "}");
}


static void
ngx_http_socketio_api_answer_emit(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    if (!call->wait.acks) {
        ngx_http_socketio_api_answer_matched(call, text);
        return;
    }

    ngx_http_socketio_api_text_literal(text, "{\"acks\":[");
    ngx_http_socketio_api_text_splice(text, call->data);

    if (call->wait.incomplete) {
        ngx_http_socketio_api_text_literal(text, "],\"complete\":false}");

    } else {
        ngx_http_socketio_api_text_literal(text, "],\"complete\":true}");
    }
}


static void
ngx_http_socketio_api_answer_acks(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    if (call->wait.done) {
        return;
    }

    if (call->wait.matched) {
        ngx_http_socketio_api_fail(call, NGX_HTTP_NOT_FOUND, "unknown_ack",
                                   "the client does not wait for this answer: "
                                   "it was given, or never asked for");

    } else if (call->wait.incomplete) {
        ngx_http_socketio_api_incomplete(call);

    } else {
        ngx_http_socketio_api_fail(call, NGX_HTTP_SOCKETIO_GONE, "gone",
                                   "the socket is not connected any more");
    }
}
