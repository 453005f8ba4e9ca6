
#include "ngx_http_socketio_api.h"


static ngx_http_socketio_api_side_t *ngx_http_socketio_api_wait_side(
    ngx_http_socketio_api_call_t *call, ngx_sio_hub_addr_t addr);
static void ngx_http_socketio_api_wait_due(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_due_t *due);


ngx_int_t
ngx_http_socketio_api_wait_result(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t from, ngx_http_socketio_result_t *result, u_char *due)
{
    ngx_uint_t                     i;
    ngx_http_socketio_due_t        d;
    ngx_http_socketio_api_side_t  *side;
    ngx_http_socketio_api_wait_t  *wait;

    wait = &call->wait;

    if (result->flags & NGX_HTTP_SOCKETIO_RESULT_FURTHER) {
        side = ngx_http_socketio_api_wait_side(call, from);

        if (side != NULL) {
            side->due--;
        }

    } else if (from.slot < NGX_SIO_HUB_SLOTS
               && ngx_sio_hub_members_has(&wait->missing, from.slot))
    {
        ngx_sio_hub_members_remove(&wait->missing, from.slot);

    } else {
        return NGX_DECLINED;
    }

    for (i = 0; i < result->ndue; i++) {
        ngx_memcpy(&d, due + i * sizeof(ngx_http_socketio_due_t),
                   sizeof(ngx_http_socketio_due_t));

        ngx_http_socketio_api_wait_due(call, &d);
    }

    if (wait->acks && result->matched) {
        side = ngx_http_socketio_api_wait_side(call, from);

        if (side != NULL) {
            side->owed += result->matched;
        }
    }

    wait->matched += result->matched;
    wait->done += result->done;

    return NGX_OK;
}


/* A worker that is gone by now has taken its sessions with it. */

static void
ngx_http_socketio_api_wait_due(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_due_t *due)
{
    ngx_sio_hub_addr_t             addr;
    ngx_http_socketio_api_side_t  *side;

    addr = ngx_sio_hub_addr(due->slot, due->generation);

    if (!ngx_sio_hub_alive(call->api->worker->hub, addr)) {
        call->wait.incomplete = 1;
        return;
    }

    side = ngx_http_socketio_api_wait_side(call, addr);

    if (side != NULL) {
        side->due += due->n;
    }
}


ngx_int_t
ngx_http_socketio_api_wait_acked(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t from, ngx_http_socketio_acked_t *acked)
{
    ngx_http_socketio_api_side_t  *side;
    ngx_http_socketio_api_wait_t  *wait;

    wait = &call->wait;

    if (!wait->acks) {
        return NGX_DECLINED;
    }

    side = ngx_http_socketio_api_wait_side(call, from);

    if (side != NULL) {
        side->owed--;
    }

    switch (acked->what) {

    case NGX_HTTP_SOCKETIO_ACK_MOVED:

        if (!ngx_sio_hub_alive(call->api->worker->hub, acked->to)) {
            wait->incomplete = 1;
            break;
        }

        side = ngx_http_socketio_api_wait_side(call, acked->to);

        if (side != NULL) {
            side->owed++;
        }

        break;

    case NGX_HTTP_SOCKETIO_ACK_LOST:
        wait->incomplete = 1;
        break;

    default: /* NGX_HTTP_SOCKETIO_ACK_ANSWERED, NGX_HTTP_SOCKETIO_ACK_GONE */
        break;
    }

    return NGX_OK;
}


void
ngx_http_socketio_api_wait_down(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t dead)
{
    ngx_uint_t                     i;
    ngx_http_socketio_api_side_t  *side;
    ngx_http_socketio_api_wait_t  *wait;

    wait = &call->wait;

    /*
     * As long as our own answer is missing we have not come to our entry in the
     * log, so the worker in this slot ended before, and who has the slot now is
     * yet to answer.
     */

    if (dead.slot < NGX_SIO_HUB_SLOTS
        && ngx_sio_hub_members_has(&wait->missing, dead.slot)
        && !ngx_sio_hub_members_has(&wait->missing,
                                    call->api->parked->waiter.slot))
    {
        ngx_sio_hub_members_remove(&wait->missing, dead.slot);
        wait->incomplete = 1;
    }

    if (wait->sides == NULL) {
        return;
    }

    side = wait->sides->elts;

    for (i = 0; i < wait->sides->nelts; i++) {

        if (!ngx_sio_hub_addr_equal(side[i].addr, dead)) {
            continue;
        }

        if (side[i].due > 0 || side[i].owed > 0) {
            wait->incomplete = 1;
        }

        side[i].due = 0;
        side[i].owed = 0;
        return;
    }
}


ngx_uint_t
ngx_http_socketio_api_wait_over(ngx_http_socketio_api_wait_t *wait)
{
    ngx_uint_t                     i;
    ngx_http_socketio_api_side_t  *side;

    if (wait->first && wait->matched) {
        return 1;
    }

    if (wait->queued || ngx_sio_hub_members_count(&wait->missing) != 0) {
        return 0;
    }

    if (wait->sides == NULL) {
        return 1;
    }

    side = wait->sides->elts;

    for (i = 0; i < wait->sides->nelts; i++) {
        if (side[i].due > 0 || side[i].owed > 0) {
            return 0;
        }
    }

    return 1;
}


/* Finds or makes; without memory the answer is not complete. */

static ngx_http_socketio_api_side_t *
ngx_http_socketio_api_wait_side(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t addr)
{
    ngx_uint_t                     i;
    ngx_http_socketio_api_side_t  *side;
    ngx_http_socketio_api_wait_t  *wait;

    wait = &call->wait;

    if (wait->sides == NULL) {
        wait->sides = ngx_array_create(call->api->request->pool, 4,
                                       sizeof(ngx_http_socketio_api_side_t));
        if (wait->sides == NULL) {
            wait->incomplete = 1;
            return NULL;
        }
    }

    side = wait->sides->elts;

    for (i = 0; i < wait->sides->nelts; i++) {
        if (ngx_sio_hub_addr_equal(side[i].addr, addr)) {
            return &side[i];
        }
    }

    side = ngx_array_push(wait->sides);

    if (side == NULL) {
        wait->incomplete = 1;
        return NULL;
    }

    side->addr = addr;
    side->due = 0;
    side->owed = 0;

    return side;
}
