#include "ngx_http_socketio_note.h"


/* nsp and user follow one another in data */

typedef struct {
    size_t    nsp;         /* lengths */
    size_t    user;
    u_char    sid[NGX_SIO_SOCKET_SID_LEN];
    u_char    data[1];
} ngx_http_socketio_note_t;


void
ngx_http_socketio_note_take(ngx_sio_socket_t *so, ngx_str_t *user)
{
    u_char                    *p;
    ngx_str_t                 *nsp;
    ngx_sio_session_t         *s;
    ngx_http_socketio_note_t  *note;

    s = so->session;
    nsp = &so->nsp->node.str;

    note = ngx_alloc(offsetof(ngx_http_socketio_note_t, data) + nsp->len
                     + user->len, ngx_cycle->log);
    if (note == NULL) {
        return;
    }

    note->nsp = nsp->len;
    note->user = user->len;
    ngx_memcpy(note->sid, so->sid, NGX_SIO_SOCKET_SID_LEN);

    p = ngx_cpymem(note->data, nsp->data, nsp->len);

    if (user->len) {
        ngx_memcpy(p, user->data, user->len);
    }

    ngx_http_socketio_note_free(s->note);
    s->note = note;
}


void
ngx_http_socketio_note_show(void *data, ngx_http_socketio_ctx_t *ctx)
{
    ngx_http_socketio_note_t *note = data;

    if (note == NULL) {
        return;
    }

    ctx->sid.len = NGX_SIO_SOCKET_SID_LEN;
    ctx->sid.data = note->sid;

    ctx->nsp.len = note->nsp;
    ctx->nsp.data = note->data;

    ctx->user.len = note->user;
    ctx->user.data = note->data + note->nsp;
}


void
ngx_http_socketio_note_free(void *note)
{
    if (note != NULL) {
        ngx_free(note);
    }
}
