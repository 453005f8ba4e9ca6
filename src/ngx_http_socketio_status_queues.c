
/*
 * The status page, for message queues: what the bridge keeps in the zone.
 */

#include "ngx_http_socketio_status.h"
#include "ngx_http_socketio_bridge.h"
#include "ngx_http_socketio_worker.h"


typedef enum {
    NGX_HTTP_SOCKETIO_STATUS_UP = 0,
    NGX_HTTP_SOCKETIO_STATUS_DELAY,
    NGX_HTTP_SOCKETIO_STATUS_WAITING,
    NGX_HTTP_SOCKETIO_STATUS_SHIPPED,
    NGX_HTTP_SOCKETIO_STATUS_LOST,
    NGX_HTTP_SOCKETIO_STATUS_UNTOLD,
    NGX_HTTP_SOCKETIO_STATUS_RECEIVED
} ngx_http_socketio_status_queue_e;


static void ngx_http_socketio_status_queue(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_queue_refused(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_hosts(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_missed(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);


#define ngx_http_socketio_status_by_queue                                     \
    { ngx_string("queue"), ngx_null_string }, { NULL, NULL }, { 0, 0 }


const ngx_http_socketio_status_metric_t
    ngx_http_socketio_status_queues[] = {

    { ngx_string("queue_up"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("queues"), ngx_string("up"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_UP,
      ngx_http_socketio_status_by_queue,
      ngx_string("Whether a message queue is connected."), 0 },

    { ngx_string("queue_delay_seconds"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("queues"), ngx_string("delay"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_DELAY,
      ngx_http_socketio_status_by_queue,
      ngx_string("From publishing a message to its confirmation, the longest of "
                 "15 seconds."),
      1 },

    { ngx_string("queue_waiting"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("queues"), ngx_string("waiting"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_WAITING,
      ngx_http_socketio_status_by_queue,
      ngx_string("Entries of the log that the queue has not confirmed."), 0 },

    { ngx_string("queue_shipped_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("queues"), ngx_string("shipped"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_SHIPPED,
      ngx_http_socketio_status_by_queue,
      ngx_string("Entries of the log that the queue has confirmed."), 0 },

    { ngx_string("queue_lost_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("queues"), ngx_string("lost"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_LOST,
      ngx_http_socketio_status_by_queue,
      ngx_string("Entries that were overwritten while the queue was away."),
      0 },

    { ngx_string("queue_untold_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("queues"), ngx_string("untold"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_UNTOLD,
      ngx_http_socketio_status_by_queue,
      ngx_string("Messages that servers of the queue's format have no words "
                 "for."), 0 },

    { ngx_string("queue_received_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("queues"), ngx_string("received"),
      ngx_http_socketio_status_queue, NGX_HTTP_SOCKETIO_STATUS_RECEIVED,
      ngx_http_socketio_status_by_queue,
      ngx_string("Messages of others that were taken."), 0 },

    { ngx_string("queue_refused_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("queues"), ngx_string("refused"),
      ngx_http_socketio_status_queue_refused, 0,
      { ngx_string("queue"), ngx_string("reason") },
      { NULL, ngx_http_socketio_bridge_reasons },
      { 0, NGX_SIO_BRIDGE_REASONS },
      ngx_string("Messages of others that were refused."), 0 },

    { ngx_string("hosts"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("hosts"), ngx_string("known"),
      ngx_http_socketio_status_hosts, 0,
      { ngx_null_string, ngx_null_string }, { NULL, NULL }, { 0, 0 },
      ngx_string("Other hosts that are there."), 0 },

    { ngx_string("hosts_missed_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("hosts"), ngx_string("missed"),
      ngx_http_socketio_status_missed, 0,
      { ngx_null_string, ngx_null_string }, { NULL, NULL }, { 0, 0 },
      ngx_string("Entries of other hosts that could not be repeated."), 0 },

    { ngx_null_string, 0, ngx_null_string, ngx_null_string, NULL, 0,
      { ngx_null_string, ngx_null_string }, { NULL, NULL }, { 0, 0 },
      ngx_null_string, 0 }
};


static void
ngx_http_socketio_status_queue(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    uint64_t                      n;
    ngx_uint_t                    i;
    ngx_sio_hub_t                *hub;
    ngx_sio_bridge_line_t        *line;
    ngx_http_socketio_queue_t   **q;

    hub = page->conf->worker->hub;
    q = page->conf->queues.elts;

    for (i = 0; i < page->conf->queues.nelts; i++) {

        line = ngx_sio_bridge_find_line(ngx_sio_hub_bridge(hub), q[i]->key);
        n = 0;

        if (line == NULL) {
            /* not served yet */
            page->format->number(page, m, &q[i]->label, n);
            continue;
        }

        switch (m->first) {

        case NGX_HTTP_SOCKETIO_STATUS_UP:
            n = line->up;
            break;

        case NGX_HTTP_SOCKETIO_STATUS_DELAY:
            n = line->delay;
            break;

        case NGX_HTTP_SOCKETIO_STATUS_WAITING:
            n = ngx_sio_hub_ordinal(hub);
            n -= ngx_min(n, line->shipped);
            break;

        case NGX_HTTP_SOCKETIO_STATUS_SHIPPED:
            n = line->told;
            break;

        case NGX_HTTP_SOCKETIO_STATUS_LOST:
            n = line->lost;
            break;

        case NGX_HTTP_SOCKETIO_STATUS_UNTOLD:
            n = line->untold;
            break;

        default: /* NGX_HTTP_SOCKETIO_STATUS_RECEIVED */
            n = line->taken;
            break;
        }

        page->format->number(page, m, &q[i]->label, n);
    }
}


static void
ngx_http_socketio_status_queue_refused(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    ngx_str_t                     values[2];
    ngx_uint_t                    i, k;
    ngx_sio_bridge_line_t        *line;
    ngx_http_socketio_queue_t   **q;

    q = page->conf->queues.elts;

    for (i = 0; i < page->conf->queues.nelts; i++) {

        line = ngx_sio_bridge_find_line(
                   ngx_sio_hub_bridge(page->conf->worker->hub), q[i]->key);

        values[0] = q[i]->label;

        for (k = 0; k < NGX_SIO_BRIDGE_REASONS; k++) {
            values[1] = ngx_http_socketio_bridge_reasons[k];

            page->format->number(page, m, values,
                                 line != NULL ? line->refused[k] : 0);
        }
    }
}


static void
ngx_http_socketio_status_hosts(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    page->format->number(page, m, NULL,
                         ngx_http_socketio_bridge_hosts(page->conf->worker));
}


static void
ngx_http_socketio_status_missed(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    page->format->number(page, m, NULL,
                     ngx_sio_hub_bridge(page->conf->worker->hub)->head->missed);
}
