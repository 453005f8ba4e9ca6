/* link: src/core/ngx_sio_roster.c */

/*
 * The sockets of a room, beside a table that is told the same; memory runs out
 * now and then.
 */

#include <stdio.h>
#include "ngx_sio_roster.h"
#include "ngx_sio_test.h"


#define STEPS    50000
#define SOCKETS  1000


typedef struct {
    ngx_uint_t    in;
    uint32_t      place;
} model_t;


static ngx_cycle_t     cycle;
static ngx_uint_t      scarce;          /* one allocation in so many fails */
static ngx_uint_t      allocations;
static const char     *wrong;
static model_t         model[SOCKETS];

volatile ngx_cycle_t  *ngx_cycle = &cycle;


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

    allocations++;

    if (scarce && random() % scarce == 0) {
        return NULL;
    }

    return malloc(size);
}


static void
check(ngx_uint_t good, const char *what)
{
    if (!good && wrong == NULL) {
        wrong = what;
    }
}


static ngx_sio_socket_t *
socket_of(ngx_uint_t i)
{
    /* never looked into */

    return (ngx_sio_socket_t *) &model[i];
}


static void
compare(ngx_sio_roster_t *roster, ngx_uint_t n)
{
    ngx_uint_t               i;
    ngx_sio_roster_entry_t  *entry;

    check(roster->n == n, "number of entries");
    check(roster->n <= roster->size, "size");

    for (i = 0; i < SOCKETS && wrong == NULL; i++) {

        if (model[i].in) {
            check(model[i].place < roster->n, "a place");

            entry = &roster->entries[model[i].place];

            check(entry->socket == socket_of(i)
                  && entry->place == &model[i].place,
                  "an entry at its place");
        }
    }
}


static void
walk(ngx_uint_t one_in, const char *name)
{
    ngx_int_t         rc;
    ngx_uint_t        i, step, n, most;
    ngx_sio_roster_t  roster;

    scarce = one_in;
    wrong = NULL;
    n = 0;

    memset(model, 0, sizeof(model));
    ngx_sio_roster_init(&roster);

    for (step = 0; step < STEPS && wrong == NULL; step++) {

        /* it fills, and is emptied, again and again */

        most = (step / 5000) % 2 ? SOCKETS / 50 : SOCKETS;
        i = random() % most;

        if (most < SOCKETS && n > most) {
            i = random() % SOCKETS;
        }

        if (model[i].in) {
            ngx_sio_roster_remove(&roster, model[i].place);
            ngx_sio_roster_shrink(&roster, roster.n);
            model[i].in = 0;
            n--;

        } else if (most == SOCKETS || n <= most) {
            rc = ngx_sio_roster_insert(&roster, socket_of(i),
                                       &model[i].place);

            check(rc == NGX_OK || one_in, "an insertion");

            if (rc == NGX_OK) {
                model[i].in = 1;
                n++;
            }
        }

        if (step % 16 == 0) {
            compare(&roster, n);
        }

        if (one_in == 0) {
            check(roster.size <= 4 || roster.size <= 4 * n + 4,
                  "room that nobody needs");
        }
    }

    ngx_sio_roster_done(&roster);

    ngx_sio_test_ok(wrong == NULL, name, wrong ? wrong : "like a table");
}


static void
reserved(void)
{
    ngx_int_t         rc;
    ngx_uint_t        i;
    ngx_sio_roster_t  roster;

    scarce = 0;
    ngx_sio_roster_init(&roster);

    rc = ngx_sio_roster_reserve(&roster, 100);
    allocations = 0;

    for (i = 0; i < 100; i++) {
        rc |= ngx_sio_roster_insert(&roster, socket_of(i), &model[i].place);
    }

    ngx_sio_test_ok(rc == NGX_OK && allocations == 0, "what was reserved",
                    "needs no memory");

    ngx_sio_roster_done(&roster);
}


int
main(void)
{
    reserved();

    walk(0, "a roster");
    walk(3, "a roster that is short of memory");

    return ngx_sio_test_done();
}
