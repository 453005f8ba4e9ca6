/*
 * Counted messages: encoded once for each wire form, shared by every
 * receiver.
 *
 * Layer:      core.  No sockets, no HTTP, no shared memory.
 * Ownership:  a message is shared (counted) and immutable; the forms are
 *             made on first need and belong to the message.
 * Reference:  protocol.md 1.3 and 3.5; architecture.md 4.
 */


#ifndef _NGX_SIO_MSG_H_INCLUDED_
#define _NGX_SIO_MSG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_SIO_FORM_WS = 0,       /* WebSocket frames, binary raw */
    NGX_SIO_FORM_WS_B64,       /* ... binary as text "b" + base64 */
    NGX_SIO_FORM_POLL,         /* payload pieces joined by 0x1e */
    NGX_SIO_FORM_WS3,          /* Engine.IO 3: binary with a leading 04 */
    NGX_SIO_FORM_WS3_B64,      /* ... text "b4" + base64 */
    NGX_SIO_FORM_POLL3,        /* ... "length:packet" in UTF-16 units */
    NGX_SIO_FORM_POLL3_BIN,    /* ... 00/01 digits ff, lengths in bytes */
    NGX_SIO_FORMS
} ngx_sio_form_e;


typedef struct ngx_sio_msg_s  ngx_sio_msg_t;

struct ngx_sio_msg_s {
    ngx_uint_t       refs;
    ngx_uint_t       nattachments;
    size_t           size;             /* what it counts for in a queue */
    ngx_str_t        text;             /* an Engine.IO packet, "42[...]" */
    ngx_str_t       *attachments;      /* raw octets, in one allocation with
                                          the message */
    unsigned         is_volatile:1;    /* dropped when it cannot go out now */
    unsigned         is_static:1;      /* never freed: ping, noop, ... */
    unsigned         owned:NGX_SIO_FORMS;    /* bits: forms allocated apart
                                                from the message */

    ngx_str_t        forms[NGX_SIO_FORMS];   /* data NULL: not made yet */
};


/*
 * Makes a message with room for text_len octets of text (written by the
 * caller to msg->text.data, which has them all) and copies the attachments.
 * The caller has the first reference.  NULL: no memory.
 */
ngx_sio_msg_t *ngx_sio_msg_create(size_t text_len, ngx_str_t *attachments,
    ngx_uint_t n);

/* The same with the text copied. */
ngx_sio_msg_t *ngx_sio_msg_text(const void *text, size_t len);

/*
 * It goes into one queue alone, where all of its memory counts, not just its
 * octets: a client may provoke many that are short.  Before it is queued.
 */
void ngx_sio_msg_alone(ngx_sio_msg_t *msg);

ngx_sio_msg_t *ngx_sio_msg_ref(ngx_sio_msg_t *msg);
void ngx_sio_msg_unref(ngx_sio_msg_t *msg);

/*
 * The octets of the message in a wire form; they live as long as the
 * message.  NULL: no memory.
 */
ngx_str_t *ngx_sio_msg_form(ngx_sio_msg_t *msg, ngx_uint_t form);

/*
 * Engine.IO packets without contents; never freed, need no unref.  Valid
 * for '1' close, '2' ping, '3' pong, '6' noop and 'p' ("3probe").
 */
ngx_sio_msg_t *ngx_sio_msg_packet(u_char type);


#endif /* _NGX_SIO_MSG_H_INCLUDED_ */
