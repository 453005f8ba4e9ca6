
/*
 * Frames of a client: what they say does not depend on where they are cut,
 * no message is above the limit, text is UTF-8, and a message that is framed
 * again is read again.
 *
 * link: src/codec/ngx_sio_ws.c src/codec/ngx_sio_base64.c
 * link: src/codec/ngx_sio_utf8.c
 * libs: -lcrypto
 */

#include "fuzz.h"
#include "ngx_sio_ws.h"


#define FUZZ_WHOLE   ((size_t) -1)


typedef struct {
    u_char      *data;
    size_t       len;
    size_t       size;
} fuzz_text_t;


static const size_t  fuzz_limits[] = {
    0, 1, 16, 125, 126, 1000, 65536, 1048576
};


static void
fuzz_put(fuzz_text_t *t, const void *data, size_t len)
{
    if (t->len + len > t->size) {
        t->size = 2 * (t->len + len) + 64;
        t->data = realloc(t->data, t->size);
        ngx_sio_fuzz_check(t->data != NULL);
    }

    if (len) {
        memcpy(t->data + t->len, data, len);
        t->len += len;
    }
}


static void
fuzz_frame(fuzz_text_t *said, ngx_sio_ws_part_t *part, size_t limit)
{
    size_t      n;
    u_char     *p, head[NGX_SIO_WS_MAX_HEADER + 4];
    ngx_str_t   frame;

    ngx_sio_ws_t       ws;
    ngx_sio_ws_part_t  again;

    n = ngx_sio_ws_header(head, part->text ? NGX_SIO_WS_TEXT
                                           : NGX_SIO_WS_BINARY, said->len);
    ngx_sio_fuzz_check(n <= NGX_SIO_WS_MAX_HEADER);

    /* as if a client had sent it, with a mask of zeros */
    head[1] |= 0x80;
    memset(head + n, 0, 4);
    n += 4;

    p = ngx_sio_fuzz_room(&frame, n + said->len);
    p = ngx_cpymem(p, head, n);

    if (said->len) {
        memcpy(p, said->data, said->len);
    }

    memset(&ws, 0, sizeof(ngx_sio_ws_t));
    p = frame.data;

    ngx_sio_fuzz_check(ngx_sio_ws_next(&ws, &p, frame.data + frame.len, limit,
                                       &again)
                       == NGX_OK);
    ngx_sio_fuzz_check(p == frame.data + frame.len);
    ngx_sio_fuzz_check(again.first && again.last && again.text == part->text);
    ngx_sio_fuzz_check(again.data.len == said->len);
    ngx_sio_fuzz_check(said->len == 0
                       || memcmp(again.data.data, said->data, said->len) == 0);

    free(frame.data);
}


static void
fuzz_part(ngx_sio_ws_part_t *part, fuzz_text_t *message, fuzz_text_t *said,
    size_t limit)
{
    u_char  head[2];

    head[0] = '0' + part->kind;
    head[1] = part->kind == NGX_SIO_WS_PART_DATA
              ? '0' + part->text + 2 * part->compressed : part->code % 251;

    if (part->kind != NGX_SIO_WS_PART_DATA) {
        ngx_sio_fuzz_check(part->data.len <= NGX_SIO_WS_MAX_CONTROL);
        fuzz_put(said, head, 2);
        fuzz_put(said, part->data.data, part->data.len);
        return;
    }

    if (part->first) {
        message->len = 0;
    }

    fuzz_put(message, part->data.data, part->data.len);
    ngx_sio_fuzz_check(message->len <= limit);

    if (!part->last) {
        return;
    }

    fuzz_put(said, head, 2);
    fuzz_put(said, message->data, message->len);

    if (!part->compressed) {
        ngx_sio_fuzz_check(!part->text || message->len == 0
                           || ngx_sio_utf8_valid(message->data, message->len));
        fuzz_frame(message, part, limit);
    }

    message->len = 0;
}


/* Pieces as chance has it, by the seed, each with what was left before. */

static void
fuzz_read(const u_char *data, size_t size, size_t limit, ngx_uint_t deflate,
    size_t seed, fuzz_text_t *said)
{
    size_t              n, left;
    u_char             *p, code;
    ngx_int_t           rc;
    ngx_str_t           piece;
    fuzz_text_t         message;
    ngx_sio_ws_t        ws;
    ngx_sio_ws_part_t   part;

    memset(&ws, 0, sizeof(ngx_sio_ws_t));
    memset(&message, 0, sizeof(fuzz_text_t));
    ws.deflate = deflate;
    left = 0;
    rc = NGX_AGAIN;

    do {
        n = size;

        if (seed != FUZZ_WHOLE) {
            seed = seed * 1103515245 + 12345;
            n = (seed >> 20) & (((seed >> 16) & 7) ? 15 : 255);
            n = ngx_min(size, n);
        }

        ngx_sio_fuzz_copy(&piece, data - left, left + n);
        data += n;
        size -= n;
        p = piece.data;

        for ( ;; ) {
            rc = ngx_sio_ws_next(&ws, &p, piece.data + piece.len, limit,
                                 &part);

            if (rc != NGX_OK) {
                break;
            }

            ngx_sio_fuzz_check(ngx_sio_fuzz_within(&part.data, &piece));
            fuzz_part(&part, &message, said, limit);

            if (part.kind == NGX_SIO_WS_PART_CLOSE) {
                rc = NGX_DONE;
                break;
            }
        }

        left = piece.data + piece.len - p;
        free(piece.data);

        ngx_sio_fuzz_check(rc != NGX_AGAIN || left < NGX_SIO_WS_MIN_BUFFER);

    } while (rc == NGX_AGAIN && size);

    if (rc == NGX_DECLINED) {
        code = part.code % 251;
        fuzz_put(said, "!", 1);
        fuzz_put(said, &code, 1);

    } else if (rc == NGX_AGAIN) {
        fuzz_put(said, message.data, message.len);
    }

    free(message.data);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    u_char       accept[NGX_SIO_WS_ACCEPT_LENGTH];
    ngx_str_t    key;
    ngx_uint_t   option, cut;
    fuzz_text_t  whole, pieces;

    option = ngx_sio_fuzz_option(data, &size);
    cut = ngx_sio_fuzz_option(data, &size);

    memset(&whole, 0, sizeof(fuzz_text_t));
    memset(&pieces, 0, sizeof(fuzz_text_t));

    fuzz_read(data, size, fuzz_limits[option & 7], (option >> 3) & 1,
              FUZZ_WHOLE, &whole);
    fuzz_read(data, size, fuzz_limits[option & 7], (option >> 3) & 1, cut,
              &pieces);

    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&whole, &pieces));

    free(whole.data);
    free(pieces.data);

    ngx_sio_fuzz_copy(&key, data, size);

    if (ngx_sio_ws_key_valid(&key)) {
        ngx_sio_fuzz_check(key.len == NGX_SIO_WS_KEY_LENGTH);
        ngx_sio_fuzz_check(ngx_sio_ws_accept(&key, accept) == NGX_OK);
    }

    free(key.data);

    return 0;
}
