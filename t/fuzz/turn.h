
/*
 * What targets with sessions in them have of nginx and of chance: a turn of the
 * event loop, and octets that are the same for the same input.
 */


#ifndef _NGX_SIO_FUZZ_TURN_H_INCLUDED_
#define _NGX_SIO_FUZZ_TURN_H_INCLUDED_


#include <ngx_event.h>
#include "fuzz.h"
#include "ngx_sio_random.h"


/* to be set for each input */
static uint32_t  fuzz_chance;


ngx_int_t
ngx_sio_random(void *buf, size_t n)
{
    u_char  *p;

    for (p = buf; n--; p++) {
        fuzz_chance = fuzz_chance * 1103515245 + 12345;
        *p = (u_char) (fuzz_chance >> 16);
    }

    return NGX_OK;
}


/* What was posted, and what that posts. */

static void
fuzz_turn(ngx_queue_t *events)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;
    ngx_event_t  *ev;

    for (n = 0; !ngx_queue_empty(events); n++) {
        ngx_sio_fuzz_check(n < 1000);

        q = ngx_queue_head(events);
        ev = ngx_queue_data(q, ngx_event_t, queue);

        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }
}


#endif /* _NGX_SIO_FUZZ_TURN_H_INCLUDED_ */
