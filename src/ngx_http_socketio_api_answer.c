
#include "ngx_http_socketio_api.h"


/* octets of an error's text */
#define NGX_HTTP_SOCKETIO_API_MESSAGE  1024


static void ngx_http_socketio_api_error(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text);
static ngx_int_t ngx_http_socketio_api_reply(ngx_http_request_t *r,
    ngx_uint_t status, ngx_http_socketio_api_text_t *text);


void
ngx_http_socketio_api_fail(ngx_http_socketio_api_call_t *call,
    ngx_uint_t status, const char *code, const char *fmt, ...)
{
    u_char   *p, message[NGX_HTTP_SOCKETIO_API_MESSAGE];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(message, message + sizeof(message), fmt, args);
    va_end(args);

    call->status = status;
    call->code = code;
    call->message.len = p - message;
    call->message.data = ngx_pnalloc(call->api->request->pool,
                                     call->message.len);

    if (call->message.data == NULL) {
        /* the code says enough */
        call->message.len = 0;
        return;
    }

    ngx_memcpy(call->message.data, message, call->message.len);
}


void
ngx_http_socketio_api_incomplete(ngx_http_socketio_api_call_t *call)
{
    ngx_http_socketio_api_fail(call, NGX_HTTP_GATEWAY_TIME_OUT, "incomplete",
                               "not all workers have answered");
}


/* Of a batch that was not carried out at all the first call says why. */

ngx_int_t
ngx_http_socketio_api_answer(ngx_http_socketio_api_t *api)
{
    ngx_uint_t                     i;
    ngx_http_socketio_api_call_t  *call;
    ngx_http_socketio_api_text_t   text, part;

    if (api->ncalls && api->calls[0].status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return ngx_http_socketio_api_refuse(&api->calls[0]);
    }

    ngx_http_socketio_api_text_init(&text, api->request->pool);

    if (api->batch) {
        ngx_http_socketio_api_text_literal(&text, "[");
    }

    for (i = 0; i < api->ncalls; i++) {
        call = &api->calls[i];

        if (i > 0) {
            ngx_http_socketio_api_text_literal(&text, ",");
        }

        ngx_http_socketio_api_text_init(&part, api->request->pool);

        if (call->status == 0) {
            call->op->answer(call, &part);
        }

        if (!api->batch) {

            if (call->status) {
                return ngx_http_socketio_api_refuse(call);
            }

        } else if (call->status) {
            ngx_http_socketio_api_error(call, &part);

        } else if (part.len == 0) {
            ngx_http_socketio_api_text_literal(&part, "{}");
        }

        ngx_http_socketio_api_text_splice(&text, &part);
    }

    if (api->batch) {
        ngx_http_socketio_api_text_literal(&text, "]");
    }

    return ngx_http_socketio_api_reply(api->request,
                                       text.len || text.failed
                                       ? NGX_HTTP_OK : NGX_HTTP_NO_CONTENT,
                                       &text);
}


ngx_int_t
ngx_http_socketio_api_refuse(ngx_http_socketio_api_call_t *call)
{
    size_t                         i;
    ngx_http_request_t            *r;
    ngx_http_socketio_api_text_t   text;

    r = call->api->request;

    if (call->status == 0) {
        /* there was no memory to say why */
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (call->status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_socketio_api_header(r, "Retry-After", "1") == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_socketio_api_text_init(&text, r->pool);
    ngx_http_socketio_api_error(call, &text);

    /* it may tell a name, and names may hold line feeds */

    for (i = 0; i < call->message.len; i++) {
        if (call->message.data[i] < 0x20 || call->message.data[i] == 0x7f) {
            call->message.data[i] = '?';
        }
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "socketio api: %ui %s, %V", call->status, call->code,
                  &call->message);

    return ngx_http_socketio_api_reply(r, call->status, &text);
}


static void
ngx_http_socketio_api_error(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_http_socketio_api_text_literal(text, "{\"error\":{\"code\":\"");
    ngx_http_socketio_api_text_put(text, call->code, ngx_strlen(call->code));
    ngx_http_socketio_api_text_literal(text, "\",\"message\":");
    ngx_http_socketio_api_text_string(text, &call->message);

    /* a call of a batch that could not be understood */

    if (call->indexed) {
        ngx_http_socketio_api_text_literal(text, ",\"index\":");
        ngx_http_socketio_api_text_uint(text, call->api->ncalls);
    }

    ngx_http_socketio_api_text_literal(text, "}}");
}


/* Takes the text; returns what the request is finalized with. */

static ngx_int_t
ngx_http_socketio_api_reply(ngx_http_request_t *r, ngx_uint_t status,
    ngx_http_socketio_api_text_t *text)
{
    ngx_int_t  rc;

    /* what nobody reads would be taken for the next request */

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (text->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = text->len;

    /* what was done is done, whatever If-Match and the like say */
    r->disable_not_modified = 1;

    if (text->len == 0) {
        r->header_only = 1;

    } else {
        text->b->last_buf = (r == r->main) ? 1 : 0;
        text->b->last_in_chain = 1;

        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, text->first);
}
