
#include "ngx_sio_ws.h"
#include "ngx_sio_base64.h"

#include <openssl/sha.h>


#define NGX_SIO_WS_FIN      0x80
#define NGX_SIO_WS_RSV      0x30    /* RSV2 and RSV3, nobody's so far */
#define NGX_SIO_WS_OPCODE   0x0f
#define NGX_SIO_WS_CONTROL  0x08
#define NGX_SIO_WS_MASK     0x80

#define NGX_SIO_WS_GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


typedef struct {
    u_char      flags;          /* the first octet */
    u_char      opcode;
    size_t      header;         /* with the mask */
    uint64_t    length;
} ngx_sio_ws_frame_t;


static ngx_int_t ngx_sio_ws_frame(ngx_sio_ws_t *ws, u_char *p, u_char *end,
    size_t max_message, ngx_sio_ws_frame_t *frame, ngx_sio_ws_part_t *part);
static ngx_int_t ngx_sio_ws_check(ngx_sio_ws_t *ws, u_char *p,
    ngx_sio_ws_frame_t *frame);
static void ngx_sio_ws_open(ngx_sio_ws_t *ws, ngx_sio_ws_frame_t *frame,
    u_char *mask);
static ngx_int_t ngx_sio_ws_data(ngx_sio_ws_t *ws, u_char **pos, u_char *end,
    ngx_sio_ws_part_t *part);
static ngx_int_t ngx_sio_ws_control(u_char **pos, u_char *end,
    ngx_sio_ws_frame_t *frame, ngx_sio_ws_part_t *part);
static ngx_int_t ngx_sio_ws_close(ngx_sio_ws_part_t *part);
static ngx_uint_t ngx_sio_ws_close_code(ngx_uint_t code);
static void ngx_sio_ws_unmask(u_char *mask, u_char *p, size_t len);
static ngx_int_t ngx_sio_ws_decline(ngx_sio_ws_part_t *part, ngx_uint_t code);


ngx_int_t
ngx_sio_ws_next(ngx_sio_ws_t *ws, u_char **pos, u_char *end,
    size_t max_message, ngx_sio_ws_part_t *part)
{
    ngx_int_t           rc;
    ngx_sio_ws_frame_t  frame;

    ngx_memzero(part, sizeof(ngx_sio_ws_part_t));

    if (!ws->frame) {
        rc = ngx_sio_ws_frame(ws, *pos, end, max_message, &frame, part);

        if (rc != NGX_OK) {
            return rc;
        }

        if (frame.opcode & NGX_SIO_WS_CONTROL) {
            return ngx_sio_ws_control(pos, end, &frame, part);
        }

        *pos += frame.header;
        ngx_sio_ws_open(ws, &frame, *pos - 4);
    }

    return ngx_sio_ws_data(ws, pos, end, part);
}


size_t
ngx_sio_ws_header(u_char *dst, ngx_uint_t opcode, uint64_t len)
{
    ngx_uint_t  shift;

    *dst++ = (u_char) (NGX_SIO_WS_FIN | opcode);

    if (len < 126) {
        *dst = (u_char) len;
        return 2;
    }

    if (len < 65536) {
        *dst++ = 126;
        *dst++ = (u_char) (len >> 8);
        *dst = (u_char) len;
        return 4;
    }

    *dst++ = 127;

    for (shift = 64; shift; /* void */ ) {
        shift -= 8;
        *dst++ = (u_char) (len >> shift);
    }

    return 10;
}


ngx_uint_t
ngx_sio_ws_key_valid(ngx_str_t *key)
{
    u_char       octets[NGX_SIO_WS_KEY_LENGTH];
    u_char      *p, *last;

    /*
     * Bits that do not make an octet may be set: browsers never do that,
     * but Node accepts it.
     */

    if (key->len != NGX_SIO_WS_KEY_LENGTH
        || key->data[22] != '=' || key->data[23] != '=')
    {
        return 0;
    }

    for (p = key->data; p < key->data + 22; p++) {
        if (*p == '-' || *p == '_') {
            return 0;
        }
    }

    /* a foreign character would be skipped, and an octet be missing */

    last = ngx_sio_base64_decode(octets, key->data, 22);

    return last - octets == 16;
}


ngx_int_t
ngx_sio_ws_accept(ngx_str_t *key, u_char *out)
{
    u_char  *last;
    u_char   hash[SHA_DIGEST_LENGTH];
    u_char   text[NGX_SIO_WS_KEY_LENGTH + sizeof(NGX_SIO_WS_GUID) - 1];

    last = ngx_cpymem(text, key->data, NGX_SIO_WS_KEY_LENGTH);
    ngx_memcpy(last, NGX_SIO_WS_GUID, sizeof(NGX_SIO_WS_GUID) - 1);

    if (SHA1(text, sizeof(text), hash) == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sio_base64_write(out, hash, SHA_DIGEST_LENGTH);

    return NGX_OK;
}


/* reads a frame header without taking it */

static ngx_int_t
ngx_sio_ws_frame(ngx_sio_ws_t *ws, u_char *p, u_char *end,
    size_t max_message, ngx_sio_ws_frame_t *frame, ngx_sio_ws_part_t *part)
{
    size_t      n;
    uint64_t    left;
    ngx_uint_t  i;

    if (end - p < 2) {
        return NGX_AGAIN;
    }

    frame->flags = p[0];
    frame->opcode = p[0] & NGX_SIO_WS_OPCODE;
    frame->length = p[1] & ~NGX_SIO_WS_MASK;

    if (ngx_sio_ws_check(ws, p, frame) != NGX_OK) {
        return ngx_sio_ws_decline(part, NGX_SIO_WS_PROTOCOL_ERROR);
    }

    n = (frame->length == 126) ? 2 : (frame->length == 127) ? 8 : 0;

    if ((size_t) (end - p) < 2 + n) {
        return NGX_AGAIN;
    }

    if (n) {
        frame->length = 0;

        for (i = 0; i < n; i++) {
            frame->length = frame->length << 8 | p[2 + i];
        }
    }

    /* control frames count neither for nor against the message around them */

    if (!(frame->opcode & NGX_SIO_WS_CONTROL)) {
        left = max_message;

        if (ws->message) {
            left -= ngx_min(left, ws->size);
        }

        if (frame->length > left) {
            return ngx_sio_ws_decline(part, NGX_SIO_WS_TOO_BIG);
        }
    }

    frame->header = 2 + n + 4;

    if ((size_t) (end - p) < frame->header) {
        return NGX_AGAIN;
    }

    return NGX_OK;
}


/* everything that the first two octets decide */

static ngx_int_t
ngx_sio_ws_check(ngx_sio_ws_t *ws, u_char *p, ngx_sio_ws_frame_t *frame)
{
    /*
     * RFC 6455, 5.2: MUST be 0 unless an extension is negotiated that
     * defines meanings for non-zero values
     */

    if (p[0] & NGX_SIO_WS_RSV) {
        return NGX_DECLINED;
    }

    /* RFC 6455, 5.1: a client MUST mask all frames */

    if (!(p[1] & NGX_SIO_WS_MASK)) {
        return NGX_DECLINED;
    }

    switch (frame->opcode) {

    case NGX_SIO_WS_CONTINUATION:

        /* RFC 7692, 6.1: RSV1 is set on the first fragment only */

        return (ws->message && !(p[0] & NGX_SIO_WS_RSV1)) ? NGX_OK
                                                          : NGX_DECLINED;

    case NGX_SIO_WS_TEXT:
    case NGX_SIO_WS_BINARY:

        return (!ws->message && (ws->deflate || !(p[0] & NGX_SIO_WS_RSV1)))
               ? NGX_OK : NGX_DECLINED;

    case NGX_SIO_WS_CLOSE:

        /* RFC 6455, 5.5.1: the body MUST begin with a 2-byte status code */

        if (frame->length == 1) {
            return NGX_DECLINED;
        }

        /* fall through */

    case NGX_SIO_WS_PING:
    case NGX_SIO_WS_PONG:

        /*
         * RFC 6455, 5.5: All control frames MUST have a payload length of
         * 125 bytes or less and MUST NOT be fragmented.
         */

        return ((p[0] & NGX_SIO_WS_FIN) && !(p[0] & NGX_SIO_WS_RSV1)
                && frame->length <= NGX_SIO_WS_MAX_CONTROL)
               ? NGX_OK : NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }
}


static void
ngx_sio_ws_open(ngx_sio_ws_t *ws, ngx_sio_ws_frame_t *frame, u_char *mask)
{
    if (frame->opcode != NGX_SIO_WS_CONTINUATION) {
        ws->first = 1;
        ws->text = (frame->opcode == NGX_SIO_WS_TEXT);
        ws->compressed = (frame->flags & NGX_SIO_WS_RSV1) ? 1 : 0;
        ws->size = 0;

        ngx_memzero(&ws->utf8, sizeof(ngx_sio_utf8_t));
    }

    ws->frame = 1;
    ws->fin = (frame->flags & NGX_SIO_WS_FIN) ? 1 : 0;
    ws->left = frame->length;
    ws->size += frame->length;

    ngx_memcpy(ws->mask, mask, 4);
}


static ngx_int_t
ngx_sio_ws_data(ngx_sio_ws_t *ws, u_char **pos, u_char *end,
    ngx_sio_ws_part_t *part)
{
    size_t  len;

    len = (size_t) ngx_min(ws->left, (uint64_t) (end - *pos));

    if (len == 0 && ws->left) {
        return NGX_AGAIN;
    }

    ngx_sio_ws_unmask(ws->mask, *pos, len);

    part->kind = NGX_SIO_WS_PART_DATA;
    part->text = ws->text;
    part->compressed = ws->compressed;
    part->first = ws->first;
    part->data.data = *pos;
    part->data.len = len;

    ws->first = 0;
    ws->left -= len;

    if (ws->left == 0) {
        part->last = ws->fin;
        ws->frame = 0;
        ws->message = !ws->fin;
    }

    if (ws->text && !ws->compressed) {

        /* RFC 6455, 8.1: invalid UTF-8 MUST fail the connection */

        if (ngx_sio_utf8_feed(&ws->utf8, *pos, len) != NGX_OK
            || (part->last && ngx_sio_utf8_done(&ws->utf8) != NGX_OK))
        {
            return ngx_sio_ws_decline(part, NGX_SIO_WS_INVALID_DATA);
        }
    }

    *pos += len;

    return NGX_OK;
}


/* takes a control frame as a whole, or not at all */

static ngx_int_t
ngx_sio_ws_control(u_char **pos, u_char *end, ngx_sio_ws_frame_t *frame,
    ngx_sio_ws_part_t *part)
{
    u_char  *p, mask[4];

    p = *pos + frame->header;

    if ((uint64_t) (end - p) < frame->length) {
        return NGX_AGAIN;
    }

    part->data.data = p;
    part->data.len = (size_t) frame->length;

    ngx_memcpy(mask, p - 4, 4);
    ngx_sio_ws_unmask(mask, p, part->data.len);

    *pos = p + part->data.len;

    switch (frame->opcode) {

    case NGX_SIO_WS_PING:
        part->kind = NGX_SIO_WS_PART_PING;
        return NGX_OK;

    case NGX_SIO_WS_PONG:
        part->kind = NGX_SIO_WS_PART_PONG;
        return NGX_OK;

    default: /* NGX_SIO_WS_CLOSE */
        part->kind = NGX_SIO_WS_PART_CLOSE;
        return ngx_sio_ws_close(part);
    }
}


static ngx_int_t
ngx_sio_ws_close(ngx_sio_ws_part_t *part)
{
    if (part->data.len == 0) {
        part->code = NGX_SIO_WS_NO_STATUS;
        return NGX_OK;
    }

    part->code = part->data.data[0] << 8 | part->data.data[1];
    part->data.data += 2;
    part->data.len -= 2;

    if (!ngx_sio_ws_close_code(part->code)) {
        return ngx_sio_ws_decline(part, NGX_SIO_WS_PROTOCOL_ERROR);
    }

    if (!ngx_sio_utf8_valid(part->data.data, part->data.len)) {
        return ngx_sio_ws_decline(part, NGX_SIO_WS_INVALID_DATA);
    }

    return NGX_OK;
}


/* RFC 6455, 7.4, and the registry that it founded */

static ngx_uint_t
ngx_sio_ws_close_code(ngx_uint_t code)
{
    return (code >= 1000 && code <= 1003)
           || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}


/* leaves the mask turned, so that the next octet takes mask[0] */

static void
ngx_sio_ws_unmask(u_char *mask, u_char *p, size_t len)
{
    size_t     i;
    u_char     turned[4];
    uint32_t   key;
    uint64_t   word, wide;

    /* the same octets in either byte order */

    ngx_memcpy(&key, mask, 4);
    wide = (uint64_t) key << 32 | key;

    for ( /* void */ ; len >= 8; p += 8, len -= 8) {
        ngx_memcpy(&word, p, 8);
        word ^= wide;
        ngx_memcpy(p, &word, 8);
    }

    for (i = 0; i < len; i++) {
        p[i] ^= mask[i & 3];
    }

    for (i = 0; i < 4; i++) {
        turned[i] = mask[(len + i) & 3];
    }

    ngx_memcpy(mask, turned, 4);
}


static ngx_int_t
ngx_sio_ws_decline(ngx_sio_ws_part_t *part, ngx_uint_t code)
{
    part->code = code;

    return NGX_DECLINED;
}
