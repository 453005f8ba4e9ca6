#include "ngx_http_socketio_variables.h"


static ngx_int_t ngx_http_socketio_variables_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_socketio_variables_escape(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t in_uri);
static ngx_uint_t ngx_http_socketio_variables_unfit(u_char ch,
    ngx_uint_t in_uri);
static ngx_int_t ngx_http_socketio_variables_count(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/*
 * None may be cached: the sid comes up in the middle of a handshake, and a
 * connection goes on counting until its line is written.
 */

static ngx_http_variable_t  ngx_http_socketio_variables[] = {

    { ngx_string("socketio_sid"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, sid),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_namespace"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, nsp),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_event"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, event),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_type"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, type),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_transport"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, transport),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_user"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, user),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_reason"), NULL, ngx_http_socketio_variables_text,
      offsetof(ngx_http_socketio_ctx_t, reason),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_packets_in"), NULL,
      ngx_http_socketio_variables_count,
      offsetof(ngx_http_socketio_ctx_t, packets_in),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("socketio_packets_out"), NULL,
      ngx_http_socketio_variables_count,
      offsetof(ngx_http_socketio_ctx_t, packets_out),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_socketio_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_socketio_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_variables_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                *text;
    ngx_http_socketio_ctx_t  *ctx;

    /* a webhook's location sees a subrequest, its context is in the main one */

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_socketio_module);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    text = (ngx_str_t *) ((u_char *) ctx + data);

    if (text->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = text->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = text->data;

    return ngx_http_socketio_variables_escape(r, v, ctx->in_uri);
}


/*
 * An event is named by the client, who may put a line feed into the name: in
 * a proxy_set_header it would begin a header of the client's own choice, as a
 * question mark in a URI begins arguments.  These show as %XX, everything else
 * as it is.
 */

static ngx_int_t
ngx_http_socketio_variables_escape(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, ngx_uint_t in_uri)
{
    u_char      *p, *last, *dst;
    ngx_uint_t   n;

    n = 0;
    last = v->data + v->len;

    for (p = v->data; p < last; p++) {
        if (ngx_http_socketio_variables_unfit(*p, in_uri)) {
            n++;
        }
    }

    if (n == 0) {
        return NGX_OK;
    }

    dst = ngx_pnalloc(r->pool, v->len + n * 2);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    p = v->data;
    v->data = dst;

    while (p < last) {
        if (ngx_http_socketio_variables_unfit(*p, in_uri)) {
            dst = ngx_sprintf(dst, "%%%02Xi", (ngx_uint_t) *p++);

        } else {
            *dst++ = *p++;
        }
    }

    v->len = dst - v->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_socketio_variables_unfit(u_char ch, ngx_uint_t in_uri)
{
    return ngx_http_socketio_control(ch)
           || (in_uri && (ch == '?' || ch == '%'));
}


static ngx_int_t
ngx_http_socketio_variables_count(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                   *p;
    uint64_t                  count;
    ngx_http_socketio_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_socketio_module);

    if (ctx == NULL || !ctx->counted) {
        v->not_found = 1;
        return NGX_OK;
    }

    count = *(uint64_t *) ((u_char *) ctx + data);

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%uL", count) - p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = p;

    return NGX_OK;
}
