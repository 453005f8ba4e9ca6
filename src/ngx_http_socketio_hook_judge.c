#include "ngx_http_socketio_hook_private.h"


static ngx_uint_t ngx_http_socketio_hook_status(ngx_http_request_t *sr,
    ngx_int_t rc);
static char *ngx_http_socketio_hook_defect(ngx_http_request_t *sr,
    ngx_int_t rc, size_t len);
static ngx_uint_t ngx_http_socketio_hook_whole(ngx_http_upstream_t *u);
static ngx_uint_t ngx_http_socketio_hook_broken(
    ngx_http_socketio_request_t *rq);


void
ngx_http_socketio_hook_judge(ngx_http_socketio_request_t *rq,
    ngx_http_socketio_hook_result_t *result)
{
    ngx_buf_t           *b;
    ngx_http_request_t  *sr;

    sr = rq->sub;

    ngx_str_null(&result->body);

    if (sr->out && sr->out->buf) {
        b = sr->out->buf;

        result->body.data = b->pos;
        result->body.len = b->last - b->pos;
    }

    result->status = ngx_http_socketio_hook_status(sr, rq->rc);

    result->reason = ngx_http_socketio_hook_defect(sr, rq->rc,
                                                   result->body.len);
    if (result->reason == NULL) {

        if (result->status >= 200 && result->status < 300) {
            result->outcome = NGX_HTTP_SOCKETIO_HOOK_OK;
            result->reason = "";
            return;
        }

        if (result->status >= 400 && result->status < 500
            && result->status != NGX_HTTP_CLOSE
            && result->status != NGX_HTTP_CLIENT_CLOSED_REQUEST)
        {
            result->outcome = NGX_HTTP_SOCKETIO_HOOK_CLIENT;
            result->reason = "";
            return;
        }

        result->reason = result->status ? "unexpected status"
                                        : "unreadable answer";
    }

    result->outcome = ngx_http_socketio_hook_broken(rq)
                      ? NGX_HTTP_SOCKETIO_HOOK_BROKEN
                      : NGX_HTTP_SOCKETIO_HOOK_FAILED;
    ngx_str_null(&result->body);
}


/* It depends on the handler where the status is. */

static ngx_uint_t
ngx_http_socketio_hook_status(ngx_http_request_t *sr, ngx_int_t rc)
{
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    if (sr->headers_out.status >= NGX_HTTP_SPECIAL_RESPONSE) {
        return sr->headers_out.status;
    }

    /* 201 and 204 of handlers that leave the rest to nginx */

    return rc > NGX_OK ? (ngx_uint_t) rc : sr->headers_out.status;
}


/* Why an answer cannot be believed whatever its status; NULL: it can. */

static char *
ngx_http_socketio_hook_defect(ngx_http_request_t *sr, ngx_int_t rc, size_t len)
{
    ngx_http_upstream_t  *u;

    u = sr->upstream;

    if (u && u->headers_in.status_n == 0 && rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return "no answer from the backend";
    }

    /* without header_sent another handler answered, from a cache or a file */

    if (u && !u->header_sent) {
        u = NULL;
    }

    if (u && u->buffering && u->pipe->downstream_error) {
        return "answer larger than subrequest_output_buffer_size";
    }

    if (rc < NGX_OK) {
        return "no answer, or one larger than subrequest_output_buffer_size";
    }

    if (u && !ngx_http_socketio_hook_whole(u)) {
        return "answer cut off";
    }

    /* some backends announce a body that a 204 cannot have */

    if (sr->headers_out.content_length_n >= 0
        && sr->headers_out.content_length_n != (off_t) len
        && sr->headers_out.status != NGX_HTTP_NO_CONTENT)
    {
        return "answer cut off";
    }

    if (sr->headers_out.content_encoding
        && sr->headers_out.content_encoding->value.len)
    {
        return "answer compressed";
    }

    return NULL;
}


/*
 * nginx has told its client of a status by the time that a backend goes away
 * in the middle of a body, and ends the request as if all were well.  What
 * the upstream left behind tells the difference.
 */

static ngx_uint_t
ngx_http_socketio_hook_whole(ngx_http_upstream_t *u)
{
    ngx_uint_t         eof;
    ngx_event_pipe_t  *p;

    /* FastCGI always says where it ends, the others may just close */

    eof = u->conf->module.len != sizeof("fastcgi") - 1
          || ngx_strncmp(u->conf->module.data, "fastcgi",
                         sizeof("fastcgi") - 1)
             != 0;

    if (u->buffering) {
        p = u->pipe;

        return p->upstream_done
               || (eof && p->upstream_eof && p->length == -1);
    }

    return u->length == 0 || (eof && u->length == -1);
}


/* Whether nginx has failed inside, for want of memory, say, and said so. */

static ngx_uint_t
ngx_http_socketio_hook_broken(ngx_http_socketio_request_t *rq)
{
    ngx_http_upstream_t  *u;

    if (rq->lines == 0) {
        return 0;
    }

    u = rq->sub->upstream;

    return rq->rc < NGX_OK
           || (rq->rc == NGX_HTTP_INTERNAL_SERVER_ERROR
               && (u == NULL || u->headers_in.status_n == 0))
           || (u && u->header_sent && u->buffering
               && u->pipe->downstream_error);
}
