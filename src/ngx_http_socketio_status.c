
#include "ngx_http_socketio_status.h"
#include "ngx_http_socketio_answer.h"
#include "ngx_http_socketio_backend.h"
#include "ngx_http_socketio_count.h"
#include "ngx_http_socketio_worker.h"


#define NGX_HTTP_SOCKETIO_STATUS_PRINT  128    /* octets of one print() */


static void ngx_http_socketio_status_write(
    ngx_http_socketio_status_page_t *page);

static void ngx_http_socketio_status_gauges(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_counters(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_numbers(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const uint64_t *numbers);
static void ngx_http_socketio_status_times(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_since(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_namespaces(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_states(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_workers(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_tables(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);


/* What "first" means to ..._workers() and ..._tables(). */

enum {
    NGX_HTTP_SOCKETIO_STATUS_LAG = 0,
    NGX_HTTP_SOCKETIO_STATUS_BACKLOG
};

enum {
    NGX_HTTP_SOCKETIO_STATUS_SIZE = 0,
    NGX_HTTP_SOCKETIO_STATUS_USED,
    NGX_HTTP_SOCKETIO_STATUS_FREE
};


static const ngx_str_t  ngx_http_socketio_status_transports[] = {
    ngx_string("polling"),
    ngx_string("websocket")
};


/* in the order of their enumerations */

static const ngx_str_t
    ngx_http_socketio_status_refusals[NGX_HTTP_SOCKETIO_REFUSALS] = {
    ngx_string("transport_unknown"),
    ngx_string("unknown_sid"),
    ngx_string("bad_handshake_method"),
    ngx_string("bad_request"),
    ngx_string("forbidden"),
    ngx_string("unsupported_version"),
    ngx_string("mismatch"),
    ngx_string("bad_websocket"),
    ngx_string("origin"),
    ngx_string("method"),
    ngx_string("too_large"),
    ngx_string("access"),
    ngx_string("connections"),
    ngx_string("rate")
};


/*
 * Their directives, without "socketio_"; and what unfinished packets may have
 * together.
 */

static const ngx_str_t  ngx_http_socketio_status_limits[NGX_SIO_LIMITS] = {
    ngx_string("event_rate"),
    ngx_string("max_namespaces"),
    ngx_string("max_rooms"),
    ngx_string("max_name"),
    ngx_string("unfinished")
};


static const ngx_str_t
    ngx_http_socketio_status_outcomes[NGX_HTTP_SOCKETIO_BACKEND_OUTCOMES] = {
    ngx_string("ok"),
    ngx_string("refused"),
    ngx_string("failed")
};


static const ngx_str_t  ngx_http_socketio_status_pending[] = {
    ngx_string("queued"),
    ngx_string("in_flight"),
    ngx_string("waiting")
};


static const ngx_str_t  ngx_http_socketio_status_worker_states[] = {
    ngx_string("live"),
    ngx_string("lost")
};


static const ngx_str_t
    ngx_http_socketio_status_table_names[NGX_SIO_HUB_TABLES] = {
    ngx_string("log"),
    ngx_string("directory"),
    ngx_string("journal"),
    ngx_string("workers")
};


static const ngx_str_t
    ngx_http_socketio_status_buckets[NGX_HTTP_SOCKETIO_BUCKETS] = {
    ngx_string("0.005"),
    ngx_string("0.01"),
    ngx_string("0.025"),
    ngx_string("0.05"),
    ngx_string("0.1"),
    ngx_string("0.25"),
    ngx_string("0.5"),
    ngx_string("1"),
    ngx_string("2.5"),
    ngx_string("5"),
    ngx_string("10"),
    ngx_string("+Inf")
};


#define ngx_http_socketio_status_no_label                                     \
    { ngx_null_string, ngx_null_string }, { NULL, NULL }, { 0, 0 }

#define ngx_http_socketio_status_label(name, values, n)                       \
    { ngx_string(name), ngx_null_string }, { values, NULL }, { n, 0 }


/* Metrics of one group stand together. */

static const ngx_http_socketio_status_metric_t
    ngx_http_socketio_status_metrics[] = {

    { ngx_string("start_time_seconds"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_null_string, ngx_string("since"),
      ngx_http_socketio_status_since, 0,
      ngx_http_socketio_status_no_label,
      ngx_string("When the zone was made, in seconds since 1970."), 0 },

    { ngx_string("connections"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("connections"), ngx_string("open"),
      ngx_http_socketio_status_gauges, NGX_SIO_GAUGE_POLLING,
      ngx_http_socketio_status_label("transport",
          ngx_http_socketio_status_transports, 2),
      ngx_string("Open Engine.IO sessions."), 0 },

    { ngx_string("connections_opened_total"),
      NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("connections"), ngx_string("opened"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_OPENED,
      ngx_http_socketio_status_label("transport",
          ngx_http_socketio_status_transports, 2),
      ngx_string("Sessions that were opened, by their first transport."), 0 },

    { ngx_string("connections_upgraded_total"),
      NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("connections"), ngx_string("upgraded"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_UPGRADED,
      ngx_http_socketio_status_no_label,
      ngx_string("Sessions that went from polling to a WebSocket."), 0 },

    { ngx_string("connections_closed_total"),
      NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("connections"), ngx_string("closed"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_CLOSED,
      ngx_http_socketio_status_label("reason", ngx_sio_reasons,
          NGX_SIO_REASONS),
      ngx_string("Sessions that were closed."), 0 },

    { ngx_string("sockets"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("sockets"), ngx_string("open"),
      ngx_http_socketio_status_namespaces, 0,
      ngx_http_socketio_status_label("namespace", NULL, 0),
      ngx_string("Clients in a namespace."), 0 },

    { ngx_string("sockets_accepted_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("sockets"), ngx_string("accepted"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_ACCEPTED,
      ngx_http_socketio_status_no_label,
      ngx_string("Clients that were let into a namespace."), 0 },

    { ngx_string("received_packets_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("received"), ngx_string("packets"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_PACKETS_IN,
      ngx_http_socketio_status_no_label,
      ngx_string("Engine.IO packets from clients."), 0 },

    { ngx_string("received_bytes_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("received"), ngx_string("bytes"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_BYTES_IN,
      ngx_http_socketio_status_label("transport",
          ngx_http_socketio_status_transports, 2),
      ngx_string("WebSocket frames and payloads of POST requests."), 0 },

    { ngx_string("sent_packets_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("sent"), ngx_string("packets"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_PACKETS_OUT,
      ngx_http_socketio_status_no_label,
      ngx_string("Engine.IO packets to clients, those that wait included."),
      0 },

    { ngx_string("sent_bytes_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("sent"), ngx_string("bytes"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_BYTES_OUT,
      ngx_http_socketio_status_label("transport",
          ngx_http_socketio_status_transports, 2),
      ngx_string("WebSocket frames and payloads of polling answers."), 0 },

    { ngx_string("requests_refused_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("requests"), ngx_string("refused"),
      ngx_http_socketio_status_counters, NGX_HTTP_SOCKETIO_COUNT_REFUSED,
      ngx_http_socketio_status_label("reason",
          ngx_http_socketio_status_refusals, NGX_HTTP_SOCKETIO_REFUSALS),
      ngx_string("Requests of clients that were refused."), 0 },

    { ngx_string("limits_met_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("limits"), ngx_string("met"),
      ngx_http_socketio_status_counters, NGX_SIO_COUNT_LIMITS,
      ngx_http_socketio_status_label("limit",
          ngx_http_socketio_status_limits, NGX_SIO_LIMITS),
      ngx_string("How often a client met one of its limits."), 0 },

    { ngx_string("webhooks_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("webhooks"), ngx_string("finished"),
      ngx_http_socketio_status_counters, NGX_HTTP_SOCKETIO_COUNT_WEBHOOKS,
      { ngx_string("type"), ngx_string("outcome") },
      { ngx_http_socketio_backend_types, ngx_http_socketio_status_outcomes },
      { NGX_HTTP_SOCKETIO_WEBHOOKS, NGX_HTTP_SOCKETIO_BACKEND_OUTCOMES },
      ngx_string("Webhooks by what became of them."), 0 },

    { ngx_string("webhook_duration_seconds"),
      NGX_HTTP_SOCKETIO_STATUS_HISTOGRAM,
      ngx_string("webhooks"), ngx_string("duration"),
      ngx_http_socketio_status_times, NGX_HTTP_SOCKETIO_COUNT_TIME,
      ngx_http_socketio_status_label("type",
          ngx_http_socketio_backend_types, NGX_HTTP_SOCKETIO_WEBHOOKS),
      ngx_string("How long webhooks took, of each its last attempt."), 0 },

    { ngx_string("webhooks_pending"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("webhooks"), ngx_string("pending"),
      ngx_http_socketio_status_gauges, NGX_HTTP_SOCKETIO_GAUGE_QUEUED,
      ngx_http_socketio_status_label("state",
          ngx_http_socketio_status_pending, 3),
      ngx_string("Webhooks that wait for their turn, for an answer, or to be "
                 "sent again."), 0 },

    { ngx_string("webhooks_repeated_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("webhooks"), ngx_string("repeated"),
      ngx_http_socketio_status_counters, NGX_HTTP_SOCKETIO_COUNT_REPEATED,
      ngx_http_socketio_status_no_label,
      ngx_string("Webhooks that were sent once more."), 0 },

    { ngx_string("replies_malformed_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("replies"), ngx_string("malformed"),
      ngx_http_socketio_status_counters, NGX_HTTP_SOCKETIO_COUNT_MALFORMED,
      ngx_http_socketio_status_no_label,
      ngx_string("Parts of replies that were malformed and left out."), 0 },

    { ngx_string("replies_dropped_total"), NGX_HTTP_SOCKETIO_STATUS_COUNTER,
      ngx_string("replies"), ngx_string("dropped"),
      ngx_http_socketio_status_counters, NGX_HTTP_SOCKETIO_COUNT_DROPPED,
      ngx_http_socketio_status_no_label,
      ngx_string("Parts of replies for which the zone had no room."), 0 },

    { ngx_string("workers"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("workers"), ngx_string("count"),
      ngx_http_socketio_status_states, 0,
      ngx_http_socketio_status_label("state",
          ngx_http_socketio_status_worker_states, 2),
      ngx_string("Worker processes that share the zone."), 0 },

    { ngx_string("worker_lag_bytes"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("workers"), ngx_string("lag"),
      ngx_http_socketio_status_workers, NGX_HTTP_SOCKETIO_STATUS_LAG,
      ngx_http_socketio_status_label("slot", NULL, 0),
      ngx_string("What a worker has not yet read of the log."), 0 },

    { ngx_string("worker_backlog_bytes"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("workers"), ngx_string("backlog"),
      ngx_http_socketio_status_workers, NGX_HTTP_SOCKETIO_STATUS_BACKLOG,
      ngx_http_socketio_status_label("slot", NULL, 0),
      ngx_string("What a worker could not yet write to the log."), 0 },

    { ngx_string("zone_size_bytes"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("memory"), ngx_string("size"),
      ngx_http_socketio_status_tables, NGX_HTTP_SOCKETIO_STATUS_SIZE,
      ngx_http_socketio_status_label("table",
          ngx_http_socketio_status_table_names, NGX_SIO_HUB_TABLES),
      ngx_string("Memory of the zone."), 0 },

    { ngx_string("zone_used_bytes"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("memory"), ngx_string("used"),
      ngx_http_socketio_status_tables, NGX_HTTP_SOCKETIO_STATUS_USED,
      ngx_http_socketio_status_label("table",
          ngx_http_socketio_status_table_names, NGX_SIO_HUB_TABLES),
      ngx_string("Memory of the zone that is in use."), 0 },

    { ngx_string("zone_free_bytes"), NGX_HTTP_SOCKETIO_STATUS_GAUGE,
      ngx_string("memory"), ngx_string("free"),
      ngx_http_socketio_status_tables, NGX_HTTP_SOCKETIO_STATUS_FREE,
      ngx_http_socketio_status_label("table",
          ngx_http_socketio_status_table_names, NGX_SIO_HUB_TABLES),
      ngx_string("Memory of the zone that is free."), 0 }
};

#define NGX_HTTP_SOCKETIO_STATUS_METRICS                                      \
    (sizeof(ngx_http_socketio_status_metrics)                                 \
     / sizeof(ngx_http_socketio_status_metrics[0]))


ngx_int_t
ngx_http_socketio_status_handler(ngx_http_request_t *r)
{
    ngx_str_t                         body, type;
    ngx_http_socketio_loc_conf_t     *lcf;
    ngx_http_socketio_status_page_t   page;

    static ngx_str_t  allow = ngx_string("GET, HEAD");
    static ngx_str_t  no_store = ngx_string("no-store");

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_socketio_module);

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_socketio_answer_header(r, "Allow", &allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    if (lcf->status_zone->worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_memzero(&page, sizeof(ngx_http_socketio_status_page_t));

    page.format = lcf->status_format == NGX_HTTP_SOCKETIO_STATUS_JSON
                  ? &ngx_http_socketio_status_json
                  : &ngx_http_socketio_status_prometheus;
    page.conf = lcf->status_zone;
    page.zone = &lcf->status_zone->name;
    page.stat = ngx_palloc(r->pool, sizeof(ngx_sio_hub_stat_t));

    if (page.stat == NULL
        || ngx_sio_hub_stat(lcf->status_zone->worker->hub, page.stat)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /*
     * Sessions that were open in workers that died.  One that was on its way
     * is counted with the worker for which it is in the log, read or not; so
     * opened is what is open and closed together.  A worker counts its own
     * without the lock, in two additions for each opening and each end: only
     * who is killed between two such instructions is one off.
     */

    page.stat->counters[NGX_SIO_COUNT_CLOSED + NGX_SIO_REASON_WORKER_LOST] +=
                              page.stat->dropped[NGX_SIO_GAUGE_POLLING]
                              + page.stat->dropped[NGX_SIO_GAUGE_WEBSOCKET];

    ngx_http_socketio_status_write(&page);

    body.data = ngx_pnalloc(r->pool, page.len);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page.last = body.data;

    ngx_http_socketio_status_write(&page);

    body.len = page.last - body.data;
    type = page.format->type;

    if (ngx_http_socketio_answer_header(r, "Cache-Control", &no_store)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_socketio_answer_send(r, NGX_HTTP_OK, &type, &body);
}


static void
ngx_http_socketio_status_write(ngx_http_socketio_status_page_t *page)
{
    ngx_uint_t                                i;
    const ngx_http_socketio_status_metric_t  *m;

    page->format->begin(page);

    for (i = 0; i < NGX_HTTP_SOCKETIO_STATUS_METRICS; i++) {
        m = &ngx_http_socketio_status_metrics[i];

        page->format->metric(page, m);
        m->series(page, m);
        page->format->metric_end(page, m);
    }

    if (page->conf->queues.nelts) {

        for (m = ngx_http_socketio_status_queues; m->name.len; m++) {
            page->format->metric(page, m);
            m->series(page, m);
            page->format->metric_end(page, m);
        }
    }

    page->format->end(page);
}


void
ngx_http_socketio_status_text(ngx_http_socketio_status_page_t *page,
    const ngx_str_t *text)
{
    page->len += text->len;

    if (page->last) {
        page->last = ngx_cpymem(page->last, text->data, text->len);
    }
}


void
ngx_http_socketio_status_print(ngx_http_socketio_status_page_t *page,
    const char *fmt, ...)
{
    u_char     buf[NGX_HTTP_SOCKETIO_STATUS_PRINT];
    va_list    args;
    ngx_str_t  text;

    va_start(args, fmt);
    text.len = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args) - buf;
    va_end(args);

    text.data = buf;

    ngx_http_socketio_status_text(page, &text);
}


const ngx_str_t *
ngx_http_socketio_status_bucket(ngx_uint_t i)
{
    return &ngx_http_socketio_status_buckets[i];
}


/* Where numbers come from. */

static void
ngx_http_socketio_status_gauges(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    ngx_http_socketio_status_numbers(page, m, &page->stat->gauges[m->first]);
}


static void
ngx_http_socketio_status_counters(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    ngx_http_socketio_status_numbers(page, m, &page->stat->counters[m->first]);
}


static void
ngx_http_socketio_status_numbers(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const uint64_t *numbers)
{
    ngx_str_t   values[2];
    ngx_uint_t  i, k;

    for (i = 0; i < ngx_max(m->nvalues[0], 1); i++) {

        if (m->nvalues[0]) {
            values[0] = m->values[0][i];
        }

        for (k = 0; k < ngx_max(m->nvalues[1], 1); k++) {

            if (m->nvalues[1]) {
                values[1] = m->values[1][k];
            }

            page->format->number(page, m, values, *numbers++);
        }
    }
}


static void
ngx_http_socketio_status_times(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    uint64_t    *counts;
    ngx_uint_t   i;

    counts = &page->stat->counters[m->first];

    for (i = 0; i < m->nvalues[0]; i++) {
        page->format->histogram(page, m, &m->values[0][i], counts);
        counts += NGX_HTTP_SOCKETIO_BUCKETS + 1;
    }
}


static void
ngx_http_socketio_status_since(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    page->format->number(page, m, NULL, page->stat->since);
}


static void
ngx_http_socketio_status_namespaces(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    ngx_str_t            name;
    ngx_uint_t           i;
    ngx_sio_hub_stat_t  *stat;

    /* names of namespaces begin with a slash */
    static const ngx_str_t  others = ngx_string("others");

    stat = page->stat;

    for (i = 0; i < NGX_SIO_SLOTS_NAMES; i++) {

        if (stat->held >> i & 1) {
            name.len = stat->names[i].len;
            name.data = stat->names[i].data;

            page->format->number(page, m, &name, stat->named[i]);
        }
    }

    page->format->number(page, m, &others, stat->named[NGX_SIO_NAMES_OTHERS]);
}


static void
ngx_http_socketio_status_states(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    uint64_t    numbers[2];
    ngx_uint_t  i;

    numbers[0] = 0;
    numbers[1] = 0;

    for (i = 0; i < page->stat->nworkers; i++) {
        numbers[page->stat->workers[i].lost]++;
    }

    ngx_http_socketio_status_numbers(page, m, numbers);
}


static void
ngx_http_socketio_status_workers(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    u_char                 buf[NGX_INT_T_LEN];
    ngx_str_t              slot;
    ngx_uint_t             i;
    ngx_sio_hub_worker_t  *worker;

    slot.data = buf;

    for (i = 0; i < page->stat->nworkers; i++) {
        worker = &page->stat->workers[i];

        slot.len = ngx_sprintf(buf, "%ui", worker->slot) - buf;

        page->format->number(page, m, &slot,
                             m->first == NGX_HTTP_SOCKETIO_STATUS_LAG
                             ? worker->lag : worker->backlog);
    }
}


static void
ngx_http_socketio_status_tables(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    uint64_t              numbers[NGX_SIO_HUB_TABLES];
    ngx_uint_t            i;
    ngx_sio_hub_table_t  *table;

    for (i = 0; i < NGX_SIO_HUB_TABLES; i++) {
        table = &page->stat->tables[i];

        switch (m->first) {

        case NGX_HTTP_SOCKETIO_STATUS_SIZE:
            numbers[i] = table->size;
            break;

        case NGX_HTTP_SOCKETIO_STATUS_USED:
            numbers[i] = table->used;
            break;

        default: /* NGX_HTTP_SOCKETIO_STATUS_FREE */
            numbers[i] = table->size - ngx_min(table->used, table->size);
            break;
        }
    }

    ngx_http_socketio_status_numbers(page, m, numbers);
}
