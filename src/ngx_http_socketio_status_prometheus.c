
/*
 * The status page as Prometheus reads it: a line for each number.
 */

#include "ngx_http_socketio_status.h"
#include "ngx_http_socketio_count.h"


static void ngx_http_socketio_status_prometheus_nothing(
    ngx_http_socketio_status_page_t *page);
static void ngx_http_socketio_status_prometheus_metric(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_prometheus_metric_end(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_prometheus_number(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    uint64_t n);
static void ngx_http_socketio_status_prometheus_histogram(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    const uint64_t *counts);

static void ngx_http_socketio_status_prometheus_series(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const char *suffix,
    const ngx_str_t *values, const ngx_str_t *le);
static void ngx_http_socketio_status_prometheus_label(
    ngx_http_socketio_status_page_t *page, const ngx_str_t *name,
    const ngx_str_t *value);


/* by ngx_http_socketio_status_type_e */

static const ngx_str_t  ngx_http_socketio_status_prometheus_types[] = {
    ngx_string("gauge"),
    ngx_string("counter"),
    ngx_string("histogram")
};


const ngx_http_socketio_status_format_t  ngx_http_socketio_status_prometheus = {
    ngx_string("text/plain; version=0.0.4; charset=utf-8"),
    ngx_http_socketio_status_prometheus_nothing,
    ngx_http_socketio_status_prometheus_nothing,
    ngx_http_socketio_status_prometheus_metric,
    ngx_http_socketio_status_prometheus_metric_end,
    ngx_http_socketio_status_prometheus_number,
    ngx_http_socketio_status_prometheus_histogram
};


static void
ngx_http_socketio_status_prometheus_nothing(
    ngx_http_socketio_status_page_t *page)
{
    /* lines have nothing around them */
}


static void
ngx_http_socketio_status_prometheus_metric(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    ngx_http_socketio_status_print(page, "# HELP socketio_%V ", &m->name);
    ngx_http_socketio_status_text(page, &m->help);
    ngx_http_socketio_status_print(page, "\n# TYPE socketio_%V %V\n", &m->name,
                                   &ngx_http_socketio_status_prometheus_types
                                        [m->type]);
}


static void
ngx_http_socketio_status_prometheus_metric_end(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    /* the next one tells */
}


static void
ngx_http_socketio_status_prometheus_number(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    uint64_t n)
{
    ngx_http_socketio_status_prometheus_series(page, m, "", values, NULL);

    if (m->msec) {
        ngx_http_socketio_status_print(page, "%uL.%03uL\n", n / 1000,
                                       n % 1000);

    } else {
        ngx_http_socketio_status_print(page, "%uL\n", n);
    }
}


static void
ngx_http_socketio_status_prometheus_histogram(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    const uint64_t *counts)
{
    uint64_t    n, msec;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_HTTP_SOCKETIO_BUCKETS; i++) {
        n += counts[i];

        ngx_http_socketio_status_prometheus_series(page, m, "_bucket", values,
                                       ngx_http_socketio_status_bucket(i));
        ngx_http_socketio_status_print(page, "%uL\n", n);
    }

    msec = counts[NGX_HTTP_SOCKETIO_BUCKETS];

    ngx_http_socketio_status_prometheus_series(page, m, "_sum", values, NULL);
    ngx_http_socketio_status_print(page, "%uL.%03uL\n", msec / 1000,
                                   msec % 1000);

    ngx_http_socketio_status_prometheus_series(page, m, "_count", values, NULL);
    ngx_http_socketio_status_print(page, "%uL\n", n);
}


/* All of a line but its number; le is the label of a bucket, or NULL. */

static void
ngx_http_socketio_status_prometheus_series(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const char *suffix,
    const ngx_str_t *values, const ngx_str_t *le)
{
    ngx_uint_t  i;

    static const ngx_str_t  zone = ngx_string("zone");
    static const ngx_str_t  bucket = ngx_string("le");

    ngx_http_socketio_status_print(page, "socketio_%V%s{", &m->name, suffix);
    ngx_http_socketio_status_prometheus_label(page, &zone, page->zone);

    for (i = 0; i < 2 && m->labels[i].len; i++) {
        ngx_http_socketio_status_print(page, ",");
        ngx_http_socketio_status_prometheus_label(page, &m->labels[i],
                                                  &values[i]);
    }

    if (le) {
        ngx_http_socketio_status_print(page, ",");
        ngx_http_socketio_status_prometheus_label(page, &bucket, le);
    }

    ngx_http_socketio_status_print(page, "} ");
}


/*
 * "label_value can be any sequence of UTF-8 characters, but the backslash (\),
 * double-quote ("), and line feed (\n) characters have to be escaped".
 */

static void
ngx_http_socketio_status_prometheus_label(
    ngx_http_socketio_status_page_t *page, const ngx_str_t *name,
    const ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_str_t   piece;

    ngx_http_socketio_status_print(page, "%V=\"", name);

    p = value->data;
    last = p + value->len;

    while (p < last) {
        piece.data = p;

        while (p < last && *p != '\\' && *p != '"' && *p != LF) {
            p++;
        }

        piece.len = p - piece.data;
        ngx_http_socketio_status_text(page, &piece);

        if (p < last) {
            ngx_http_socketio_status_print(page, "\\%c", *p == LF ? 'n' : *p);
            p++;
        }
    }

    ngx_http_socketio_status_print(page, "\"");
}
