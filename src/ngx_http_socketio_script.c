
#include "ngx_http_socketio_script.h"
#include "ngx_http_socketio_origin.h"
#include "ngx_sio_jsonp.h"


ngx_int_t
ngx_http_socketio_script_index(ngx_sio_session_t *s, u_char *digits,
    ngx_str_t *index)
{
    ngx_str_t  query;

    /* most are not, which is seen at once: a script has no octets */

    if (!s->b64) {
        return NGX_DECLINED;
    }

    ngx_http_socketio_origin_query(s->data, &query);

    return ngx_http_socketio_args_index(&query, digits, index);
}


ngx_int_t
ngx_http_socketio_script_join(ngx_str_t *index, ngx_str_t *payload,
    ngx_str_t *answer)
{
    u_char  *p;

    answer->len = index->len + 1 + payload->len;
    answer->data = ngx_alloc(answer->len, ngx_cycle->log);

    if (answer->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(answer->data, index->data, index->len);
    *p++ = ',';
    ngx_memcpy(p, payload->data, payload->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_script_split(ngx_str_t *answer, ngx_str_t *index,
    ngx_str_t *payload)
{
    u_char  *p, *last;

    last = answer->data + answer->len;
    p = ngx_strlchr(answer->data, last, ',');

    if (p == NULL) {
        return NGX_ERROR;
    }

    index->data = answer->data;
    index->len = p - answer->data;

    payload->data = p + 1;
    payload->len = last - payload->data;

    return NGX_OK;
}


void
ngx_http_socketio_script_post(ngx_sio_session_t *s, ngx_sio_waiter_t *waiter,
    ngx_uint_t revision, ngx_uint_t octets, ngx_str_t *body)
{
    u_char     *p, digits[NGX_HTTP_SOCKETIO_INDEX];
    ngx_str_t   index, payload;

    if (ngx_http_socketio_script_index(s, digits, &index) != NGX_OK) {
        ngx_sio_session_post(s, waiter, revision, octets, body);
        return;
    }

    /* the log is not ours to write to, and malloc(0) may be NULL */

    p = ngx_alloc(body->len + 1, ngx_cycle->log);

    if (p == NULL) {
        ngx_sio_session_fail(s);
        ngx_sio_session_post(s, waiter, revision, octets, NULL);
        return;
    }

    if (ngx_sio_jsonp_decode(p, body, &payload) == NGX_OK) {
        ngx_sio_session_post(s, waiter, revision, octets, &payload);

    } else {
        ngx_sio_session_post(s, waiter, revision, octets, NULL);
    }

    ngx_free(p);
}
