
/*
 * Commands and results as other workers and hosts send them: whatever the
 * octets are, slices lie within them, and a command that is sent again is the
 * same.
 *
 * link: src/ngx_http_socketio_wire.c src/ngx_http_socketio_result.c
 *
 * What these files need to carry a command out is not called here, and not
 * there.
 *
 * libs: -Wl,--unresolved-symbols=ignore-in-object-files -no-pie
 */

#include "fuzz.h"
#include "ngx_http_socketio_bridge.h"
#include "ngx_http_socketio_list.h"
#include "ngx_http_socketio_result.h"
#include "ngx_http_socketio_wire.h"


static ngx_str_t  fuzz_sent;


/* The log: what was appended is kept. */

ngx_int_t
ngx_sio_hub_append(ngx_sio_hub_t *hub, ngx_uint_t kind, ngx_uint_t flags,
    ngx_sio_hub_addr_t to, ngx_str_t *parts, ngx_uint_t n,
    ngx_sio_hub_members_t *members)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    (void) hub;
    (void) kind;
    (void) flags;
    (void) to;
    (void) members;

    for (len = 0, i = 0; i < n; i++) {
        len += parts[i].len;
    }

    p = ngx_sio_fuzz_room(&fuzz_sent, len);

    for (i = 0; i < n; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
    }

    return NGX_OK;
}


static void
fuzz_strings(ngx_str_t *strings, ngx_uint_t n, ngx_str_t *body)
{
    while (n--) {
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&strings[n], body));
    }
}


static void
fuzz_same(ngx_str_t *a, ngx_str_t *b, ngx_uint_t n)
{
    for ( /* void */ ; n--; a++, b++) {
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(a, b));
    }
}


static void
fuzz_command(ngx_str_t *body)
{
    uint32_t                      tag;
    ngx_int_t                     rc;
    ngx_sio_waiter_t              waiter;
    ngx_http_socketio_worker_t    worker;
    ngx_http_socketio_command_t   cmd, again;

    rc = ngx_http_socketio_command_decode(body, &cmd, NULL);
    ngx_sio_fuzz_check(rc != NGX_ERROR || ngx_sio_standin_failed());

    if (rc != NGX_OK) {
        return;
    }

    ngx_sio_fuzz_check(ngx_sio_fuzz_within(&cmd.target.nsp, body));
    ngx_sio_fuzz_check(ngx_sio_fuzz_within(&cmd.token, body));
    ngx_sio_fuzz_check(ngx_sio_fuzz_within(&cmd.json, body));

    fuzz_strings(cmd.target.to, cmd.target.nto, body);
    fuzz_strings(cmd.target.except, cmd.target.nexcept, body);
    fuzz_strings(cmd.rooms, cmd.nrooms, body);
    fuzz_strings(cmd.attachments, cmd.nattachments, body);

    ngx_sio_fuzz_check(ngx_http_socketio_command_waiter(body, &waiter, &tag)
                       == NGX_OK);
    ngx_sio_fuzz_check(tag == cmd.tag
                       && ngx_sio_waiter_equal(&waiter, &cmd.count));
    (void) ngx_http_socketio_command_asks(&cmd);

    memset(&worker, 0, sizeof(worker));

    if (ngx_http_socketio_command_send(&worker, &cmd, NULL) != NGX_OK) {
        ngx_sio_fuzz_check(ngx_sio_standin_failed());
        return;
    }

    ngx_sio_fuzz_check(fuzz_sent.len
                       == ngx_http_socketio_command_size(&cmd));

    rc = ngx_http_socketio_command_decode(&fuzz_sent, &again, NULL);

    if (rc == NGX_OK) {
        ngx_sio_fuzz_check(again.type == cmd.type && again.id == cmd.id);
        ngx_sio_fuzz_check(again.target.nto == cmd.target.nto
                           && again.target.nexcept == cmd.target.nexcept
                           && again.nrooms == cmd.nrooms
                           && again.nattachments == cmd.nattachments);
        fuzz_same(&again.json, &cmd.json, 1);
        fuzz_same(&again.token, &cmd.token, 1);
        fuzz_same(&again.target.nsp, &cmd.target.nsp, 1);
        fuzz_same(again.target.to, cmd.target.to, cmd.target.nto);
        fuzz_same(again.target.except, cmd.target.except, cmd.target.nexcept);
        fuzz_same(again.rooms, cmd.rooms, cmd.nrooms);
        fuzz_same(again.attachments, cmd.attachments, cmd.nattachments);

    } else {
        ngx_sio_fuzz_check(rc == NGX_ERROR && ngx_sio_standin_failed());
    }

    ngx_http_socketio_command_relative(&fuzz_sent);

    free(fuzz_sent.data);
}


static void
fuzz_result(ngx_str_t *body)
{
    u_char                      *due;
    ngx_str_t                    rows;
    ngx_http_socketio_acked_t    acked;
    ngx_http_socketio_result_t   result;

    if (ngx_http_socketio_result_decode(body, &result, &due, &rows)
        == NGX_OK)
    {
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&rows, body));
        ngx_sio_fuzz_check(result.ndue <= body->len
                                          / sizeof(ngx_http_socketio_due_t));
        ngx_sio_fuzz_check(result.ndue == 0
                           || (due >= body->data
                               && due + result.ndue
                                        * sizeof(ngx_http_socketio_due_t)
                                  <= body->data + body->len));
    }

    if (ngx_http_socketio_result_acked_decode(body, &acked, NULL) == NGX_OK) {
        ngx_sio_fuzz_check(acked.sid >= body->data
                           && acked.sid + NGX_SIO_SOCKET_SID_LEN
                              <= body->data + body->len);
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&acked.args, body));
        fuzz_strings(acked.attachments, acked.nattachments, body);
    }
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t   body;
    ngx_uint_t  nomem;

    nomem = ngx_sio_fuzz_option(data, &size);

    ngx_sio_standin_nomem(nomem < 16 ? nomem : 0);

    ngx_sio_fuzz_copy(&body, data, size);

    fuzz_command(&body);
    fuzz_result(&body);

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(body.data);

    return 0;
}
