
#include "ngx_sio_compat.h"
#include "ngx_sio_session_private.h"
#include "ngx_sio_socket.h"


/* sessions flushed in one turn before others get theirs */
#define NGX_SIO_FLUSH_BATCH     2048


static u_char *ngx_sio_engine_log(ngx_log_t *log, u_char *buf, size_t len);
static void ngx_sio_engine_flush(ngx_event_t *ev);
static void ngx_sio_engine_relief(ngx_event_t *ev);


ngx_int_t
ngx_sio_engine_init(ngx_sio_engine_t *e, const ngx_sio_ops_t *ops, void *data,
    ngx_log_t *log)
{
    ngx_memzero(e, sizeof(ngx_sio_engine_t));

    e->ops = ops;
    e->data = data;
    e->max_answer = NGX_MAX_SIZE_T_VALUE;
    e->max_pending = NGX_MAX_SIZE_T_VALUE;

    e->log = *log;
    e->log.handler = ngx_sio_engine_log;
    e->log.data = e;

    ngx_sio_sid_init(&e->sessions, &e->sessions_sentinel);
    ngx_sio_sid_init(&e->sockets, &e->sockets_sentinel);
    ngx_rbtree_init(&e->nsps, &e->nsps_sentinel, ngx_str_rbtree_insert_value);

    ngx_queue_init(&e->all);
    ngx_queue_init(&e->dirty);
    ngx_queue_init(&e->pending);

    e->flush.handler = ngx_sio_engine_flush;
    e->flush.data = e;
    e->flush.log = log;

    e->relief.handler = ngx_sio_engine_relief;
    e->relief.data = e;
    e->relief.log = log;

    /* every message to come can be told from those before by it */
    if (ngx_sio_msg_packet('1') == NULL || ngx_sio_msg_packet('2') == NULL
        || ngx_sio_msg_packet('3') == NULL || ngx_sio_msg_packet('6') == NULL
        || ngx_sio_msg_packet('p') == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_sio_engine_close(ngx_sio_engine_t *e, ngx_uint_t reason)
{
    ngx_queue_t        *q;
    ngx_sio_session_t  *s;

    while (!ngx_queue_empty(&e->all)) {
        q = ngx_queue_head(&e->all);
        s = ngx_queue_data(q, ngx_sio_session_t, all);

        ngx_sio_session_ref(s);

        ngx_sio_session_close(s, reason);

        if (s->state != &ngx_sio_session_closed) {
            /* it lingers for a poll that nobody will answer any more */
            ngx_sio_session_end(s, reason);
        }

        ngx_sio_session_unref(s);
    }

    if (e->flush.posted) {
        ngx_delete_posted_event(&e->flush);
    }

    if (e->relief.posted) {
        ngx_delete_posted_event(&e->relief);
    }
}


ngx_uint_t
ngx_sio_engine_open(ngx_sio_engine_t *e)
{
    return e->nopen;
}


/*
 * The end of one may be the end of others, so none is remembered as the next;
 * whoever was looked at goes to the end of the queue.
 */

void
ngx_sio_engine_part(ngx_sio_engine_t *e, ngx_uint_t n, ngx_uint_t reason)
{
    ngx_queue_t        *q, *first;
    ngx_sio_session_t  *s;

    first = NULL;

    while (n > 0 && !ngx_queue_empty(&e->all)) {
        q = ngx_queue_head(&e->all);

        if (q == first) {
            /* all that are left are ending already */
            return;
        }

        s = ngx_queue_data(q, ngx_sio_session_t, all);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&e->all, q);

        if (!s->closing) {
            ngx_sio_session_close(s, reason);
            n--;

            /* which may be gone by that */
            first = NULL;

        } else if (first == NULL) {
            first = q;
        }
    }
}


static u_char *
ngx_sio_engine_log(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_sio_engine_t  *e = log->data;

    if (e->current == NULL) {
        return buf;
    }

    return e->ops->log(e->current, buf, len);
}


/*
 * What the sessions to come write from is fetched, one step after the other,
 * while the kernel is at work for this one: of thousands, none is in the
 * cache.
 */

static ngx_inline void
ngx_sio_engine_prefetch(ngx_sio_engine_t *e, ngx_queue_t *q)
{
    ngx_uint_t          away;
    ngx_sio_session_t  *s;

    for (away = 1; away <= 4; away++) {

        if (q == ngx_queue_sentinel(&e->dirty)) {
            return;
        }

        s = ngx_queue_data(q, ngx_sio_session_t, dirty);

        if (away == 4) {
            ngx_sio_prefetch(s);
            ngx_sio_prefetch((u_char *) s + 64);

        } else if (s->ws != NULL) {
            e->ops->ws_prefetch(s->ws, away);
        }

        q = ngx_queue_next(q);
    }
}


static void
ngx_sio_engine_flush(ngx_event_t *ev)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_sio_engine_t   *e;
    ngx_sio_session_t  *s;

    e = ev->data;

    for (n = 0; !ngx_queue_empty(&e->dirty); n++) {

        if (n == NGX_SIO_FLUSH_BATCH) {
            ngx_post_event(&e->flush, &ngx_posted_next_events);
            return;
        }

        q = ngx_queue_head(&e->dirty);
        s = ngx_queue_data(q, ngx_sio_session_t, dirty);

        ngx_sio_engine_prefetch(e, ngx_queue_next(q));

        ngx_queue_remove(&s->dirty);
        s->is_dirty = 0;

        ngx_sio_session_ref(s);
        e->current = s;

        if (s->slow) {
            ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                          "client does not read: %uz octets are queued, "
                          "limit is %uz",
                          s->out->bytes, s->conf->send_buffer);

            ngx_sio_session_close(s, NGX_SIO_REASON_SLOW_CONSUMER);

        } else if (s->failed) {
            ngx_sio_session_close(s, NGX_SIO_REASON_TRANSPORT_ERROR);

        } else {

            if (s->greet && !s->closing) {
                s->greet = 0;
                (void) ngx_sio_socket_implicit(s);
            }

            if (s->rest != NULL && !s->paused && !s->closing) {
                ngx_sio_session_continue(s);
            }

            s->state->flush(s);
        }

        e->current = NULL;
        ngx_sio_session_unref(s);
    }
}


/*
 * Whoever sends a large packet goes on with it, so the one who did so the
 * longest time ago is the first to be given up; the last one may be as large as
 * the limits of its client allow.
 */

static void
ngx_sio_engine_relief(ngx_event_t *ev)
{
    ngx_queue_t        *q;
    ngx_sio_engine_t   *e;
    ngx_sio_pending_t  *pending;
    ngx_sio_session_t  *s;

    e = ev->data;

    while (e->pending_size > e->max_pending) {
        q = ngx_queue_head(&e->pending);

        if (q == ngx_queue_last(&e->pending)) {
            return;
        }

        pending = ngx_queue_data(q, ngx_sio_pending_t, queue);
        s = pending->session;

        e->counters[NGX_SIO_COUNT_LIMITS + NGX_SIO_LIMIT_UNFINISHED]++;

        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client has not finished a packet, of which %ui "
                      "attachments are missing, while unfinished ones have "
                      "%uz octets, limit is %uz", pending->n - pending->got,
                      e->pending_size, e->max_pending);

        ngx_sio_pending_free(ngx_sio_pending_take(s));
        ngx_sio_session_close(s, NGX_SIO_REASON_FORCED_CLOSE);
    }
}
