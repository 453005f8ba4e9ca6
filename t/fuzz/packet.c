
/*
 * Socket.IO packets, revisions 5 and 4: slices of the text, within all
 * limits, of which the same packet can be written.
 *
 * link: src/codec/ngx_sio_packet.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "fuzz.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_utf8.h"


static void
fuzz_again(ngx_sio_packet_t *p, ngx_uint_t max, ngx_uint_t revision)
{
    u_char            *last;
    ngx_str_t          text, plain;
    const char        *err;
    ngx_sio_packet_t   again;

    last = ngx_sio_fuzz_room(&text, ngx_sio_packet_header_length(p)
                                    + p->payload.len);
    last = ngx_sio_packet_header_write(text.data, p);

    if (p->payload.len) {
        last = ngx_cpymem(last, p->payload.data, p->payload.len);
    }

    ngx_sio_fuzz_full(&text, last);

    /* behind the type of Engine.IO */
    ngx_sio_fuzz_check(text.data[0] == '4');
    plain.data = text.data + 1;
    plain.len = text.len - 1;

    ngx_sio_fuzz_check(ngx_sio_packet_decode(&plain, max, revision, &again,
                                             &err)
                       == NGX_OK);
    ngx_sio_fuzz_check(again.type == p->type && again.id == p->id);
    ngx_sio_fuzz_check(again.attachments == p->attachments);
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&again.nsp, &p->nsp));
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&again.payload, &p->payload));
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&again.event, &p->event));
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&again.args, &p->args));

    free(text.data);
}


/* What a server says, as its client would take it. */

static void
fuzz_reply(ngx_str_t *text, ngx_uint_t revision)
{
    u_char                  *last;
    ngx_str_t                room, nsp, sid, payload, value;
    ngx_sio_packet_error_t   e;

    ngx_str_set(&nsp, "/n");
    ngx_str_set(&sid, "abcdefghijklmnopqrst");

    ngx_sio_fuzz_room(&room, ngx_sio_packet_connect_length(&nsp,
                          revision == 5 ? &sid : NULL, NULL));
    last = ngx_sio_packet_connect_write(room.data, &nsp,
                                        revision == 5 ? &sid : NULL, NULL);
    ngx_sio_fuzz_full(&room, last);
    free(room.data);

    e.revision = revision;
    e.nsp = nsp;
    e.message = *text;
    e.data = NULL;

    ngx_sio_fuzz_room(&room, ngx_sio_packet_error_length(&e));
    last = ngx_sio_packet_error_write(room.data, &e);
    ngx_sio_fuzz_full(&room, last);

    /* "44/n," */
    payload.data = room.data + 5;
    payload.len = room.len - 5;
    ngx_sio_fuzz_check(ngx_sio_json_text(&payload, 4, &value) == NGX_OK);

    free(room.data);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    u_char            *last;
    ngx_int_t          rc;
    ngx_str_t          text, value;
    ngx_uint_t         option, max, revision;
    const char        *err;
    ngx_sio_packet_t   p;

    option = ngx_sio_fuzz_option(data, &size);
    max = (option >> 1) % 16;
    revision = 4 + (option & 1);

    ngx_sio_fuzz_room(&text, ngx_sio_utf8_repair_length(data, size));
    last = ngx_sio_utf8_repair(text.data, data, size);
    ngx_sio_fuzz_full(&text, last);

    err = NULL;
    rc = ngx_sio_packet_decode(&text, max, revision, &p, &err);

    if (rc == NGX_DECLINED) {
        ngx_sio_fuzz_check(err != NULL && *err);

    } else {
        ngx_sio_fuzz_check(p.nsp.len > 0 && p.nsp.data[0] == '/');
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&p.query, &text));
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&p.payload, &text));
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&p.event, &p.payload));
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&p.args, &p.payload));
        ngx_sio_fuzz_check(p.attachments <= max);
        ngx_sio_fuzz_check(p.id == NGX_SIO_PACKET_NO_ID
                           || p.id <= NGX_SIO_PACKET_MAX_ID);
    }

    if (rc == NGX_OK) {
        ngx_sio_fuzz_check(p.payload.len == 0
                           || ngx_sio_json_text(&p.payload,
                                                NGX_SIO_PACKET_DEPTH, &value)
                              == NGX_OK);

        if (p.payload.len) {
            (void) ngx_sio_packet_placeholders(&p.payload, p.attachments);
        }

        fuzz_again(&p, max, revision);
    }

    fuzz_reply(&text, revision);

    free(text.data);

    return 0;
}
