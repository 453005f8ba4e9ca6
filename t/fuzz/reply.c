
/*
 * Replies of a backend to a webhook: whatever they are, what comes of them is
 * well-formed and within all limits; and a client for whom something had no
 * memory has to connect again.
 *
 * link: src/ngx_http_socketio_backend_reply.c src/ngx_http_socketio_parse.c
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_base64.c
 * link: src/codec/ngx_sio_packet.c src/codec/ngx_sio_utf8.c
 */

#include "command.h"
#include "ngx_http_socketio_peer.h"


static ngx_uint_t                    fuzz_owed;
static ngx_uint_t                    fuzz_failed;
static ngx_uint_t                    fuzz_full;

static ngx_http_socketio_loc_conf_t  fuzz_lcf = {
    .max_attachments = FUZZ_ATTACHMENTS
};

static void                         *fuzz_loc_conf[] = { &fuzz_lcf };
static uint64_t                      fuzz_counters[256];

ngx_module_t  ngx_http_socketio_module;


/* What the top layer would do. */

ngx_log_t *
ngx_http_socketio_backend_log(ngx_http_socketio_peer_t *peer)
{
    (void) peer;

    return ngx_cycle->log;
}


ngx_int_t
ngx_http_socketio_backend_journal_write(ngx_http_socketio_peer_t *peer)
{
    (void) peer;

    return NGX_OK;
}


ngx_uint_t
ngx_sio_hub_owed_unread(ngx_sio_hub_t *hub)
{
    (void) hub;

    return fuzz_owed;
}


ngx_int_t
ngx_http_socketio_command_send(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_sio_hub_members_t *members)
{
    (void) w;
    (void) members;

    ngx_sio_fuzz_command(cmd);

    return fuzz_full ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_http_socketio_command_direct(ngx_http_socketio_worker_t *w,
    ngx_sio_socket_t *so, ngx_http_socketio_command_t *cmd)
{
    ngx_sio_fuzz_check(cmd->target.nto == 1
                       && cmd->target.to[0].data == so->sid);

    return ngx_http_socketio_command_send(w, cmd, NULL);
}


ngx_int_t
ngx_sio_rooms_join(ngx_sio_socket_t *so, ngx_str_t *name)
{
    (void) so;

    ngx_sio_fuzz_names(name, 1);

    return NGX_OK;
}


ngx_int_t
ngx_sio_rooms_leave(ngx_sio_socket_t *so, ngx_str_t *name)
{
    return ngx_sio_rooms_join(so, name);
}


void
ngx_sio_session_fail(ngx_sio_session_t *s)
{
    (void) s;

    fuzz_failed++;
}


static void
fuzz_reply(ngx_http_socketio_peer_t *peer, ngx_str_t *body, ngx_uint_t status)
{
    ngx_int_t                   rc;
    ngx_str_t                   message, data, value;
    ngx_uint_t                  before;
    ngx_http_socketio_reply_t   reply;

    rc = ngx_http_socketio_backend_reply_init(&reply, peer, body);

    if (rc == NGX_DECLINED) {
        ngx_sio_fuzz_check(reply.parse.error.len != 0);
    }

    if (rc == NGX_OK) {
        ngx_http_socketio_backend_reply_refusal(&reply, status, &message,
                                                &data);
        ngx_sio_fuzz_check(message.len == 0
                           || ngx_sio_utf8_valid(message.data, message.len));
        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&data, body));
        (void) ngx_http_socketio_backend_reply_error(&reply);

        before = ngx_sio_standin_failed();

        ngx_http_socketio_backend_reply_memo(&reply);
        ngx_http_socketio_backend_reply_apply(&reply);

        ngx_sio_fuzz_check(before || !ngx_sio_standin_failed() || fuzz_failed
                           || peer->socket == NULL);

        ngx_sio_fuzz_check(peer->user.len <= NGX_HTTP_SOCKETIO_MAX_NAME);
        ngx_sio_fuzz_check(peer->memo.len <= NGX_HTTP_SOCKETIO_MAX_STATE);
        ngx_sio_fuzz_check(peer->memo.len == 0
                           || (ngx_sio_json_text(&peer->memo,
                                   NGX_HTTP_SOCKETIO_MAX_DEPTH, &value)
                               == NGX_OK
                               && value.data[0] == '{'));
    }

    ngx_http_socketio_backend_reply_done(&reply);
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    ngx_str_t                    body;
    ngx_uint_t                   option, nomem;
    ngx_sio_nsp_t                nsp;
    ngx_sio_socket_t             so;
    ngx_sio_session_t            session;
    ngx_http_socketio_zone_t     zone;
    ngx_http_socketio_peer_t     peer;
    ngx_http_socketio_flight_t   flight;
    ngx_http_socketio_origin_t   origin;
    ngx_http_socketio_worker_t   worker;

    option = ngx_sio_fuzz_option(data, &size);
    nomem = ngx_sio_fuzz_option(data, &size);

    memset(&nsp, 0, sizeof(nsp));
    memset(&so, 0, sizeof(so));
    memset(&session, 0, sizeof(session));
    memset(&zone, 0, sizeof(zone));
    memset(&peer, 0, sizeof(peer));
    memset(&flight, 0, sizeof(flight));
    memset(&origin, 0, sizeof(origin));
    memset(&worker, 0, sizeof(worker));

    fuzz_owed = option & 1;
    fuzz_full = (option >> 1) & 1;
    fuzz_failed = 0;

    ngx_str_set(&nsp.node.str, "/");
    ngx_str_set(&zone.name, "zone");

    ngx_queue_init(&session.sockets);
    ngx_queue_insert_tail(&session.sockets, &so.link);

    so.session = &session;
    so.nsp = &nsp;
    so.connected = 1;
    memset(so.sid, 's', NGX_SIO_SOCKET_SID_LEN);

    worker.zone = &zone;
    worker.engine.counters = fuzz_counters;

    origin.loc_conf = fuzz_loc_conf;
    flight.id = (option & 4) ? 7 : NGX_SIO_PACKET_NO_ID;

    peer.worker = &worker;
    peer.socket = (option & 8) ? NULL : &so;
    peer.origin = &origin;
    peer.flight = &flight;
    peer.nsp_len = 1;
    peer.nsp[0] = '/';
    peer.journal = 1;

    /* the nth allocation fails; mostly none */
    ngx_sio_standin_nomem(nomem < 32 ? nomem : 0);

    ngx_sio_fuzz_copy(&body, data, size);

    /* replies of one socket, of which the second finds what the first left */
    fuzz_reply(&peer, &body, 400 + option);
    fuzz_reply(&peer, &body, 400 + option);

    ngx_sio_standin_nomem(0);
    ngx_sio_standin_release();

    free(body.data);
    free(peer.user.data);
    free(peer.memo.data);

    return 0;
}
