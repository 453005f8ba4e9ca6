#include "ngx_http_socketio_answer.h"
#include "ngx_sio_jsonp.h"


static ngx_int_t ngx_http_socketio_answer_xss(ngx_http_request_t *r);


ngx_str_t  ngx_http_socketio_answer_text =
    ngx_string("text/plain; charset=UTF-8");
ngx_str_t  ngx_http_socketio_answer_plain = ngx_string("text/plain");
ngx_str_t  ngx_http_socketio_answer_html = ngx_string("text/html");
ngx_str_t  ngx_http_socketio_answer_json = ngx_string("application/json");
ngx_str_t  ngx_http_socketio_answer_binary =
    ngx_string("application/octet-stream");


/* by code */

ngx_str_t  ngx_http_socketio_answer_messages[] = {
    ngx_string("Transport unknown"),
    ngx_string("Session ID unknown"),
    ngx_string("Bad handshake method"),
    ngx_string("Bad request"),
    ngx_string("Forbidden"),
    ngx_string("Unsupported protocol version")
};


ngx_int_t
ngx_http_socketio_answer_payload(ngx_http_request_t *r, ngx_str_t *type,
    ngx_str_t *payload, ngx_str_t *index)
{
    u_char     *p;
    ngx_str_t   body;

    static ngx_str_t  no_store = ngx_string("no-store");

    if (index != NULL) {
        p = ngx_pnalloc(r->pool, ngx_sio_jsonp_length(index, payload));
        if (p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        body.data = p;
        body.len = ngx_sio_jsonp_write(p, index, payload) - p;

    } else {
        body.len = payload->len;
        body.data = ngx_pstrdup(r->pool, payload);

        if (body.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ngx_http_socketio_answer_header(r, "Cache-Control", &no_store)
        != NGX_OK
        || ngx_http_socketio_answer_xss(r) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_socketio_answer_send(r, NGX_HTTP_OK, type, &body);
}


/* Internet Explorer takes payloads for an attack of the page on itself. */

static ngx_int_t
ngx_http_socketio_answer_xss(ngx_http_request_t *r)
{
    ngx_str_t  *agent;

    static ngx_str_t  zero = ngx_string("0");

    if (r->headers_in.user_agent == NULL) {
        return NGX_OK;
    }

    agent = &r->headers_in.user_agent->value;

    if (ngx_strstrn(agent->data, ";MSIE", 5 - 1) == NULL
        && ngx_strstrn(agent->data, "Trident/", 8 - 1) == NULL)
    {
        return NGX_OK;
    }

    return ngx_http_socketio_answer_header(r, "X-XSS-Protection", &zero);
}


ngx_int_t
ngx_http_socketio_answer_error(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *message)
{
    u_char      *p;
    size_t       escape;
    ngx_str_t    body;
    ngx_uint_t   status;

    escape = ngx_escape_json(NULL, message->data, message->len);

    p = ngx_pnalloc(r->pool, sizeof("{\"code\":,\"message\":\"\"}")
                             + NGX_INT_T_LEN + message->len + escape);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.data = p;

    p = ngx_sprintf(p, "{\"code\":%ui,\"message\":\"", code);
    p = (u_char *) ngx_escape_json(p, message->data, message->len);
    p = ngx_cpymem(p, "\"}", 2);

    body.len = p - body.data;

    status = (code == NGX_HTTP_SOCKETIO_ERROR_FORBIDDEN)
             ? NGX_HTTP_FORBIDDEN : NGX_HTTP_BAD_REQUEST;

    return ngx_http_socketio_answer_send(r, status,
                                         &ngx_http_socketio_answer_json,
                                         &body);
}


ngx_int_t
ngx_http_socketio_answer_upgrade(ngx_http_request_t *r, ngx_str_t *message)
{
    r->keepalive = 0;

    return ngx_http_socketio_answer_send(r, NGX_HTTP_BAD_REQUEST,
                                         &ngx_http_socketio_answer_html,
                                         message);
}


ngx_int_t
ngx_http_socketio_answer_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_str_t *body)
{
    u_char       *p;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (r->reading_body) {
        r->keepalive = 0;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = body ? body->len : 0;

    /* packets are gone with their answer, whatever If-Match and the like say */
    r->disable_not_modified = 1;

    if (type != NULL) {
        p = ngx_strlchr(type->data, type->data + type->len, ';');

        r->headers_out.content_type = *type;
        r->headers_out.content_type_len = p ? (size_t) (p - type->data)
                                            : type->len;
    }

    if (body == NULL || body->len == 0) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_socketio_answer_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_sio_table_elt_init(h);

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value = *value;

    return NGX_OK;
}
