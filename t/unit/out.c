/* link: src/core/ngx_sio_out.c src/core/ngx_sio_msg.c */
/* link: src/codec/ngx_sio_base64.c src/codec/ngx_sio_eio.c */
/* link: src/codec/ngx_sio_json.c src/codec/ngx_sio_utf8.c */
/* link: src/codec/ngx_sio_ws.c */
/* libs: -lcrypto */

/*
 * The queue in front of a client, beside a plain array that is told the same;
 * memory runs out now and then.
 */

#include <stdio.h>
#include "ngx_sio_out.h"
#include "ngx_sio_test.h"


#define STEPS   20000
#define MOST    200           /* waiting in the array */
#define VECS    64


typedef struct {
    ngx_sio_msg_t  *msgs[2 * MOST];
    ngx_uint_t      n;
    size_t          offset;
} model_t;


static ngx_cycle_t        cycle;
static ngx_uint_t         scarce;       /* one allocation in so many fails */
static const char        *wrong;

volatile ngx_cycle_t     *ngx_cycle = &cycle;


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

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


static ngx_sio_msg_t *
message(void)
{
    size_t          len;
    ngx_uint_t      rest;
    ngx_sio_msg_t  *msg;

    rest = scarce;
    scarce = 0;

    len = 1 + random() % 200;
    msg = ngx_sio_msg_create(len, NULL, 0);

    scarce = rest;

    if (msg == NULL) {
        exit(2);
    }

    memset(msg->text.data, 'a' + random() % 26, len);

    return msg;
}


static void
model_shift(model_t *m)
{
    memmove(m->msgs, m->msgs + 1, --m->n * sizeof(ngx_sio_msg_t *));
    m->offset = 0;
}


static void
push(ngx_sio_out_t *out, model_t *m)
{
    ngx_int_t       rc;
    ngx_sio_msg_t  *msg;

    if (m->n == MOST) {
        return;
    }

    msg = message();
    rc = ngx_sio_out_push(out, msg);

    if (rc == NGX_OK) {
        m->msgs[m->n++] = msg;

    } else {
        check(scarce != 0, "a push fails without need");
    }

    check(msg->refs == (rc == NGX_OK ? 2 : 1), "references of a message");
    ngx_sio_msg_unref(msg);
}


/* as a connection does: gathers, and some of it is sent */

static void
send_some(ngx_sio_out_t *out, model_t *m)
{
    size_t         size, sent, left;
    ngx_int_t      i, n;
    ngx_str_t     *form;
    ngx_uint_t     finished;
    struct iovec   vec[VECS];

    n = ngx_sio_out_gather(out, vec, 1 + random() % VECS);

    check(n >= (m->n > 0) && n <= (ngx_int_t) m->n, "number of vectors");

    size = 0;

    for (i = 0; i < n; i++) {
        form = ngx_sio_msg_form(m->msgs[i], out->form);
        left = form->len - (i ? 0 : m->offset);

        check(vec[i].iov_len == left
              && (u_char *) vec[i].iov_base == form->data + form->len - left,
              "a vector");

        size += left;
    }

    sent = size ? random() % (size + 1) : 0;
    finished = ngx_sio_out_sent(out, sent);

    /* what has been finished may be gone */

    for (i = 0; sent > 0; i++) {

        if (sent < vec[i].iov_len) {
            m->offset += sent;
            break;
        }

        sent -= vec[i].iov_len;
        finished--;
        model_shift(m);
    }

    check(finished == 0, "messages that were finished");
}


static void
splice(ngx_sio_out_t *out, model_t *m)
{
    size_t         bytes;
    model_t        more;
    ngx_int_t      rc;
    ngx_uint_t     i, n;
    ngx_sio_out_t  from;

    ngx_sio_out_init(&from, NGX_SIO_FORM_POLL);
    more.n = 0;

    for (n = random() % 40; n > 0; n--) {
        push(&from, &more);
    }

    bytes = out->bytes + from.bytes;
    rc = ngx_sio_out_splice(out, &from);

    if (rc == NGX_OK) {
        for (i = 0; i < more.n; i++) {
            m->msgs[m->n++] = more.msgs[i];
        }

        check(ngx_sio_out_empty(&from) && from.bytes == 0, "what was moved");
        check(out->bytes == bytes, "bytes after a splice");

    } else {
        check(scarce != 0, "a splice fails without need");
        check(from.n == more.n && out->bytes + from.bytes == bytes,
              "a splice that fails moves nothing");
    }

    check(from.form == NGX_SIO_FORM_POLL && out->form == NGX_SIO_FORM_WS,
          "forms after a splice");

    ngx_sio_out_clear(&from);
}


static void
compare(ngx_sio_out_t *out, model_t *m)
{
    size_t      bytes;
    ngx_uint_t  i;

    check(out->n == m->n && ngx_sio_out_empty(out) == (m->n == 0),
          "number of messages");
    check(out->offset == m->offset, "offset");

    if (wrong) {
        return;
    }

    bytes = 0;

    for (i = 0; i < m->n; i++) {
        check(ngx_sio_out_at(out, i) == m->msgs[i], "order of messages");
        bytes += m->msgs[i]->size;
    }

    check(out->bytes == bytes, "bytes");
    check(m->n > 0 || out->size == 0, "an empty queue has no ring");
}


static void
walk(ngx_uint_t one_in, const char *name)
{
    model_t        m;
    ngx_uint_t     i, n;
    ngx_sio_out_t  out;

    scarce = one_in;
    wrong = NULL;

    memset(&m, 0, sizeof(m));
    ngx_sio_out_init(&out, NGX_SIO_FORM_WS);

    for (i = 0; i < STEPS && wrong == NULL; i++) {

        switch (random() % 32) {

        case 0:
            ngx_sio_out_clear(&out);
            m.n = 0;
            m.offset = 0;
            break;

        case 1:
            ngx_sio_out_truncate(&out);
            m.n = m.offset ? 1 : 0;
            break;

        case 2:
            if (m.n > 0) {
                ngx_sio_out_shift(&out);
                model_shift(&m);
            }
            break;

        case 3:
        case 4:
            splice(&out, &m);
            break;

        case 5: case 6: case 7: case 8: case 9: case 10:
            send_some(&out, &m);
            break;

        default:
            for (n = 1 + random() % 3; n > 0; n--) {
                push(&out, &m);
            }
        }

        compare(&out, &m);
    }

    ngx_sio_out_clear(&out);

    ngx_sio_test_ok(wrong == NULL, name, wrong ? wrong : "like an array");
}


static void
shared(void)
{
    ngx_uint_t      i;
    ngx_sio_msg_t  *msg;
    ngx_sio_out_t   outs[5];

    scarce = 0;
    msg = message();

    for (i = 0; i < 5; i++) {
        ngx_sio_out_init(&outs[i], NGX_SIO_FORM_WS);
        (void) ngx_sio_out_push(&outs[i], msg);
        (void) ngx_sio_out_push(&outs[i], msg);
    }

    ngx_sio_test_ok(msg->refs == 11, "a message", "shared by queues");

    for (i = 0; i < 5; i++) {
        ngx_sio_out_clear(&outs[i]);
    }

    ngx_sio_test_ok(msg->refs == 1, "a message", "let go by queues");

    ngx_sio_msg_unref(msg);
}


int
main(void)
{
    shared();

    walk(0, "a queue");
    walk(3, "a queue that is short of memory");

    return ngx_sio_test_done();
}
