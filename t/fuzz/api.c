
/*
 * Bodies of API calls: refused with a reason, or a command that is well-formed
 * and within all limits, whose answer is JSON.
 *
 * link: src/ngx_http_socketio_api_call.c src/ngx_http_socketio_api_text.c
 * link: src/ngx_http_socketio_parse.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_base64.c src/codec/ngx_sio_packet.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "command.h"
#include "ngx_http_socketio_api.h"


/* as in the table: emit, join, leave, disconnect, acks */
#define FUZZ_CALLS  5


/* What the other files of the API do. */

void
ngx_http_socketio_api_fail(ngx_http_socketio_api_call_t *call,
    ngx_uint_t status, const char *code, const char *fmt, ...)
{
    u_char   text[1024], *last;
    va_list  args;

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    ngx_sio_fuzz_check(status >= 400 && *code && last > text);
    ngx_sio_fuzz_check(ngx_sio_utf8_valid(text, last - text));

    call->status = status;
}


void
ngx_http_socketio_api_incomplete(ngx_http_socketio_api_call_t *call)
{
    call->status = 504;
}


ngx_uint_t
ngx_http_socketio_api_hold(ngx_http_socketio_api_call_t *call, size_t len)
{
    (void) call;
    (void) len;

    return 1;
}


ngx_int_t
ngx_http_socketio_api_declared(ngx_http_socketio_api_call_t *call)
{
    (void) call;

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_api_malformed(ngx_http_socketio_api_call_t *call,
    ngx_int_t rc)
{
    if (rc == NGX_DECLINED) {
        ngx_http_socketio_api_fail(call, 400, "bad_request", "%V",
                                   &call->api->parse.error);
    }

    return rc;
}


size_t
ngx_http_socketio_command_size(ngx_http_socketio_command_t *cmd)
{
    return cmd->json.len;
}


size_t
ngx_sio_hub_max_entry(size_t zone_size)
{
    return zone_size;
}


/* Lists have no body. */

ngx_int_t
ngx_http_socketio_api_list_parse_sockets(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    (void) call;
    (void) object;

    return NGX_ERROR;
}


ngx_int_t
ngx_http_socketio_api_list_parse_socket(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    return ngx_http_socketio_api_list_parse_sockets(call, object);
}


ngx_int_t
ngx_http_socketio_api_list_parse_rooms(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    return ngx_http_socketio_api_list_parse_sockets(call, object);
}


void
ngx_http_socketio_api_list_rows(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_result_t *result, ngx_str_t *rows)
{
    (void) call;
    (void) result;
    (void) rows;
}


void
ngx_http_socketio_api_list_answer_sockets(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    (void) call;
    (void) text;
}


void
ngx_http_socketio_api_list_answer_socket(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_http_socketio_api_list_answer_sockets(call, text);
}


void
ngx_http_socketio_api_list_answer_rooms(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_http_socketio_api_list_answer_sockets(call, text);
}


/* A client gives back what it was sent. */

static void
fuzz_acked(ngx_http_socketio_api_call_t *call)
{
    ngx_http_socketio_acked_t  acked;

    memset(&acked, 0, sizeof(acked));

    acked.sid = (u_char *) "abcdefghijklmnopqrst";
    acked.attachments = call->command.attachments;
    acked.nattachments = call->command.nattachments;

    /* what is inside the brackets */
    acked.args.data = call->command.json.data + 1;
    acked.args.len = call->command.json.len - 2;

    ngx_http_socketio_api_acked(call, &acked);

    acked.sid = (u_char *) "\0";
    ngx_http_socketio_api_acked(call, &acked);
}


static void
fuzz_answer(ngx_http_socketio_api_call_t *call, ngx_uint_t option)
{
    u_char                        *p;
    ngx_str_t                      body, value;
    ngx_chain_t                   *cl;
    ngx_http_socketio_api_text_t   text;

    if (call->wait.acks) {
        fuzz_acked(call);
    }

    call->wait.incomplete = option & 1;
    call->wait.matched = option;

    ngx_http_socketio_api_text_init(&text, NULL);
    call->op->answer(call, &text);

    if (text.failed || ngx_sio_standin_failed() || call->status) {
        return;
    }

    p = ngx_sio_fuzz_room(&body, text.len);

    for (cl = text.first; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    ngx_sio_fuzz_full(&body, p);
    ngx_sio_fuzz_check(ngx_sio_utf8_valid(body.data, body.len));
    ngx_sio_fuzz_check(ngx_sio_json_text(&body,
                                         NGX_HTTP_SOCKETIO_MAX_DEPTH + 4,
                                         &value)
                       == NGX_OK);

    free(body.data);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_int_t                     rc;
    ngx_str_t                     body, value;
    ngx_uint_t                    option, nomem;
    ngx_http_socketio_api_t       api;
    ngx_http_socketio_zone_t      zone;
    ngx_http_socketio_worker_t    worker;
    ngx_http_socketio_api_call_t  call;

    option = ngx_sio_fuzz_option(data, &size);
    nomem = ngx_sio_fuzz_option(data, &size);

    memset(&api, 0, sizeof(api));
    memset(&zone, 0, sizeof(zone));
    memset(&worker, 0, sizeof(worker));
    memset(&call, 0, sizeof(call));

    ngx_str_set(&zone.name, "zone");
    zone.size = 1000000;
    worker.zone = &zone;
    worker.engine.max_answer = 1000000;

    api.worker = &worker;
    api.batch = (option >> 4) & 1;
    api.parse.max_attachments = FUZZ_ATTACHMENTS;
    ngx_str_set(&api.argument, "abcdefghijklmnopqrst.7");

    call.api = &api;
    call.op = &ngx_http_socketio_api_ops[(option & 15) % FUZZ_CALLS];

    ngx_sio_standin_nomem(nomem < 32 ? nomem : 0);

    ngx_sio_fuzz_copy(&body, data, size);

    rc = ngx_http_socketio_parse_text(&api.parse, &body, &value);

    if (rc == NGX_OK && value.data[0] == '{') {
        rc = call.op->parse(&call, &value);

        ngx_sio_fuzz_check((rc == NGX_DECLINED) == (call.status != 0));
        ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

        if (rc == NGX_OK) {
            ngx_sio_fuzz_command(&call.command);
            fuzz_answer(&call, option);
        }
    }

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(body.data);

    return 0;
}
