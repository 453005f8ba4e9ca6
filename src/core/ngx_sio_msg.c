
#include "ngx_sio_msg.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_eio.h"
#include "ngx_sio_utf8.h"
#include "ngx_sio_ws.h"


/* what a place in a queue counts for: a ring may be half empty */
#define NGX_SIO_MSG_PLACE  (2 * sizeof(ngx_sio_msg_t *))


static size_t ngx_sio_msg_form_length(ngx_sio_msg_t *msg, ngx_uint_t form);
static u_char *ngx_sio_msg_form_write(u_char *p, ngx_sio_msg_t *msg,
    ngx_uint_t form);
static size_t ngx_sio_msg_attachment_length(ngx_str_t *data, ngx_uint_t form);
static u_char *ngx_sio_msg_attachment_write(u_char *p, ngx_str_t *data,
    ngx_uint_t form);
static u_char *ngx_sio_msg_frame(u_char *p, ngx_uint_t opcode, size_t len);


ngx_sio_msg_t *
ngx_sio_msg_create(size_t text_len, ngx_str_t *attachments, ngx_uint_t n)
{
    size_t          octets;
    u_char         *p;
    ngx_uint_t      i;
    ngx_sio_msg_t  *msg;

    octets = 0;

    for (i = 0; i < n; i++) {
        octets += attachments[i].len;
    }

    /*
     * The text comes last, with room for a frame header in front of it: a
     * message without attachments then is its own WebSocket form.
     */

    msg = ngx_alloc(sizeof(ngx_sio_msg_t) + n * sizeof(ngx_str_t) + octets
                    + NGX_SIO_WS_MAX_HEADER + text_len, ngx_cycle->log);
    if (msg == NULL) {
        return NULL;
    }

    ngx_memzero(msg, sizeof(ngx_sio_msg_t));

    msg->refs = 1;
    msg->nattachments = n;
    msg->size = NGX_SIO_MSG_PLACE + octets + text_len;
    msg->attachments = (ngx_str_t *) (msg + 1);

    p = (u_char *) (msg->attachments + n);

    for (i = 0; i < n; i++) {
        msg->attachments[i].len = attachments[i].len;
        msg->attachments[i].data = p;
        p = ngx_cpymem(p, attachments[i].data, attachments[i].len);
    }

    msg->text.len = text_len;
    msg->text.data = p + NGX_SIO_WS_MAX_HEADER;

    return msg;
}


ngx_sio_msg_t *
ngx_sio_msg_text(const void *text, size_t len)
{
    ngx_sio_msg_t  *msg;

    msg = ngx_sio_msg_create(len, NULL, 0);

    if (msg != NULL) {
        ngx_memcpy(msg->text.data, text, len);
    }

    return msg;
}


void
ngx_sio_msg_alone(ngx_sio_msg_t *msg)
{
    msg->size += sizeof(ngx_sio_msg_t) + NGX_SIO_WS_MAX_HEADER;
}


ngx_sio_msg_t *
ngx_sio_msg_ref(ngx_sio_msg_t *msg)
{
    msg->refs++;

    return msg;
}


void
ngx_sio_msg_unref(ngx_sio_msg_t *msg)
{
    ngx_uint_t  i;

    if (--msg->refs > 0 || msg->is_static) {
        return;
    }

    for (i = 0; i < NGX_SIO_FORMS; i++) {
        if (msg->owned & (1 << i)) {
            ngx_free(msg->forms[i].data);
        }
    }

    ngx_free(msg);
}


ngx_str_t *
ngx_sio_msg_form(ngx_sio_msg_t *msg, ngx_uint_t form)
{
    u_char     *p, header[NGX_SIO_WS_MAX_HEADER];
    size_t      len;
    ngx_str_t  *f;

    f = &msg->forms[form];

    if (f->data != NULL) {
        return f;
    }

    if (msg->nattachments == 0) {

        switch (form) {

        case NGX_SIO_FORM_POLL:
            *f = msg->text;
            return f;

        case NGX_SIO_FORM_WS:
        case NGX_SIO_FORM_WS_B64:
        case NGX_SIO_FORM_WS3:
        case NGX_SIO_FORM_WS3_B64:
            len = ngx_sio_ws_header(header, NGX_SIO_WS_TEXT, msg->text.len);

            f->len = len + msg->text.len;
            f->data = msg->text.data - len;
            ngx_memcpy(f->data, header, len);

            return f;

        default:
            break;
        }
    }

    len = ngx_sio_msg_form_length(msg, form);

    p = ngx_alloc(len, ngx_cycle->log);
    if (p == NULL) {
        return NULL;
    }

    f->data = p;
    f->len = ngx_sio_msg_form_write(p, msg, form) - p;

    msg->owned |= 1 << form;

    return f;
}


static size_t
ngx_sio_msg_form_length(ngx_sio_msg_t *msg, ngx_uint_t form)
{
    size_t      len;
    ngx_uint_t  i;

    /* in front of the text: a frame header, or a length of up to 20 digits */

    len = msg->text.len + 22;

    for (i = 0; i < msg->nattachments; i++) {
        len += 1 + ngx_sio_msg_attachment_length(&msg->attachments[i], form);
    }

    return len;
}


static u_char *
ngx_sio_msg_form_write(u_char *p, ngx_sio_msg_t *msg, ngx_uint_t form)
{
    ngx_uint_t  i;

    switch (form) {

    case NGX_SIO_FORM_POLL:
        break;

    case NGX_SIO_FORM_POLL3:
        p = ngx_sio_eio_text_prefix_write(p,
                ngx_sio_utf8_utf16_length(msg->text.data, msg->text.len));
        break;

    case NGX_SIO_FORM_POLL3_BIN:
        p = ngx_sio_eio_binary_prefix_write(p, msg->text.len, 0);
        break;

    default: /* the WebSocket forms */
        p = ngx_sio_msg_frame(p, NGX_SIO_WS_TEXT, msg->text.len);
        break;
    }

    p = ngx_cpymem(p, msg->text.data, msg->text.len);

    for (i = 0; i < msg->nattachments; i++) {
        p = ngx_sio_msg_attachment_write(p, &msg->attachments[i], form);
    }

    return p;
}


static size_t
ngx_sio_msg_attachment_length(ngx_str_t *data, ngx_uint_t form)
{
    size_t  len;

    switch (form) {

    case NGX_SIO_FORM_WS:
    case NGX_SIO_FORM_WS3:
    case NGX_SIO_FORM_POLL3_BIN:
        len = 1 + data->len;
        break;

    default: /* "b" or "b4" in front */
        len = 2 + ngx_sio_base64_length(data->len);
        break;
    }

    return len + 22;
}


static u_char *
ngx_sio_msg_attachment_write(u_char *p, ngx_str_t *data, ngx_uint_t form)
{
    size_t  b64;

    b64 = ngx_sio_base64_length(data->len);

    switch (form) {

    case NGX_SIO_FORM_WS:
        p = ngx_sio_msg_frame(p, NGX_SIO_WS_BINARY, data->len);
        return ngx_cpymem(p, data->data, data->len);

    case NGX_SIO_FORM_WS3:
        p = ngx_sio_msg_frame(p, NGX_SIO_WS_BINARY, 1 + data->len);
        *p++ = NGX_SIO_EIO_MESSAGE;
        return ngx_cpymem(p, data->data, data->len);

    case NGX_SIO_FORM_POLL3_BIN:
        p = ngx_sio_eio_binary_prefix_write(p, 1 + data->len, 1);
        *p++ = NGX_SIO_EIO_MESSAGE;
        return ngx_cpymem(p, data->data, data->len);

    case NGX_SIO_FORM_WS_B64:
        p = ngx_sio_msg_frame(p, NGX_SIO_WS_TEXT, 1 + b64);
        *p++ = 'b';
        break;

    case NGX_SIO_FORM_WS3_B64:
        p = ngx_sio_msg_frame(p, NGX_SIO_WS_TEXT, 2 + b64);
        *p++ = 'b';
        *p++ = '4';
        break;

    case NGX_SIO_FORM_POLL3:
        p = ngx_sio_eio_text_prefix_write(p, 2 + b64);
        *p++ = 'b';
        *p++ = '4';
        break;

    default: /* NGX_SIO_FORM_POLL */
        *p++ = NGX_SIO_EIO_SEPARATOR;
        *p++ = 'b';
        break;
    }

    return ngx_sio_base64_write(p, data->data, data->len);
}


static u_char *
ngx_sio_msg_frame(u_char *p, ngx_uint_t opcode, size_t len)
{
    return p + ngx_sio_ws_header(p, opcode, len);
}


ngx_sio_msg_t *
ngx_sio_msg_packet(u_char type)
{
    ngx_uint_t             i;
    static ngx_sio_msg_t  *packets[5];
    static const u_char    types[] = "1236p";

    for (i = 0; types[i] != type; i++) { /* void */ }

    if (packets[i] == NULL) {
        packets[i] = (type == 'p') ? ngx_sio_msg_text("3probe", 6)
                                   : ngx_sio_msg_text(&type, 1);

        if (packets[i] != NULL) {
            packets[i]->is_static = 1;
        }
    }

    return packets[i];
}
