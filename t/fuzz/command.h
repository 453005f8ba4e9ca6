
/*
 * What every command has to be that an application can ask for: the targets
 * "reply" and "api".
 */


#ifndef _NGX_SIO_FUZZ_COMMAND_H_INCLUDED_
#define _NGX_SIO_FUZZ_COMMAND_H_INCLUDED_


#include "fuzz.h"
#include "ngx_http_socketio_parse.h"
#include "ngx_http_socketio_wire.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_utf8.h"


#define FUZZ_ATTACHMENTS  3


static ngx_inline void
ngx_sio_fuzz_names(ngx_str_t *names, ngx_uint_t n)
{
    while (n--) {
        ngx_sio_fuzz_check(names[n].len > 0
                           && names[n].len <= NGX_HTTP_SOCKETIO_MAX_NAME
                           && ngx_sio_utf8_valid(names[n].data,
                                                 names[n].len));
    }
}


/* json: as a client would take it */

static ngx_inline void
ngx_sio_fuzz_json(ngx_http_socketio_command_t *cmd)
{
    u_char               *p;
    ngx_str_t             array, value, event;
    ngx_uint_t            emit;
    ngx_sio_json_iter_t   it;

    emit = cmd->type == NGX_HTTP_SOCKETIO_EMIT;

    p = ngx_sio_fuzz_room(&array, cmd->json.len + (emit ? 0 : 2));

    if (!emit) {
        *p++ = '[';
        array.data[array.len - 1] = ']';
    }

    if (cmd->json.len) {
        memcpy(p, cmd->json.data, cmd->json.len);
    }

    ngx_sio_fuzz_check(ngx_sio_utf8_valid(array.data, array.len));
    ngx_sio_fuzz_check(ngx_sio_json_text(&array,
                                         NGX_HTTP_SOCKETIO_MAX_DEPTH + 1,
                                         &value)
                       == NGX_OK);
    ngx_sio_fuzz_check(value.data[0] == '[');

    if (emit) {
        ngx_sio_json_iter(&it, &value);
        ngx_sio_fuzz_check(ngx_sio_json_element(&it, &event) == NGX_OK);
        ngx_sio_fuzz_check(event.data[0] == '"');
    }

    ngx_sio_fuzz_check(cmd->nattachments == 0
                       || ngx_sio_packet_placeholders(&value,
                                                      cmd->nattachments)
                          == NGX_OK);

    free(array.data);
}


static ngx_inline void
ngx_sio_fuzz_command(ngx_http_socketio_command_t *cmd)
{
    ngx_sio_fuzz_check(cmd->type >= NGX_HTTP_SOCKETIO_EMIT
                       && cmd->type <= NGX_HTTP_SOCKETIO_RESPOND);
    ngx_sio_fuzz_check(cmd->nattachments <= FUZZ_ATTACHMENTS);

    ngx_sio_fuzz_names(cmd->target.to, cmd->target.nto);
    ngx_sio_fuzz_names(cmd->target.except, cmd->target.nexcept);
    ngx_sio_fuzz_names(cmd->rooms, cmd->nrooms);

    if (cmd->token.len) {
        ngx_sio_fuzz_names(&cmd->token, 1);
    }

    if (cmd->type == NGX_HTTP_SOCKETIO_EMIT
        || cmd->type == NGX_HTTP_SOCKETIO_RESPOND)
    {
        ngx_sio_fuzz_json(cmd);
    }

    if (cmd->type != NGX_HTTP_SOCKETIO_RESPOND) {
        ngx_sio_fuzz_check(cmd->target.nsp.len > 0
                           && cmd->target.nsp.len
                              <= NGX_HTTP_SOCKETIO_MAX_NAME
                           && cmd->target.nsp.data[0] == '/');
    }
}


#endif /* _NGX_SIO_FUZZ_COMMAND_H_INCLUDED_ */
