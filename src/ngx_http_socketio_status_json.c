
/*
 * The status page in JSON: one object, in it an object for each group of
 * metrics.
 */

#include "ngx_http_socketio_status.h"
#include "ngx_http_socketio_count.h"
#include "ngx_sio_json.h"


static void ngx_http_socketio_status_json_begin(
    ngx_http_socketio_status_page_t *page);
static void ngx_http_socketio_status_json_end(
    ngx_http_socketio_status_page_t *page);
static void ngx_http_socketio_status_json_metric(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_json_metric_end(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m);
static void ngx_http_socketio_status_json_number(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    uint64_t n);
static void ngx_http_socketio_status_json_histogram(
    ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    const uint64_t *counts);

static void ngx_http_socketio_status_json_open(
    ngx_http_socketio_status_page_t *page, const ngx_str_t *name);
static void ngx_http_socketio_status_json_close(
    ngx_http_socketio_status_page_t *page);
static void ngx_http_socketio_status_json_name(
    ngx_http_socketio_status_page_t *page, const ngx_str_t *name);
static void ngx_http_socketio_status_json_string(
    ngx_http_socketio_status_page_t *page, const ngx_str_t *text);


const ngx_http_socketio_status_format_t  ngx_http_socketio_status_json = {
    ngx_string("application/json"),
    ngx_http_socketio_status_json_begin,
    ngx_http_socketio_status_json_end,
    ngx_http_socketio_status_json_metric,
    ngx_http_socketio_status_json_metric_end,
    ngx_http_socketio_status_json_number,
    ngx_http_socketio_status_json_histogram
};


static void
ngx_http_socketio_status_json_begin(ngx_http_socketio_status_page_t *page)
{
    static const ngx_str_t  zone = ngx_string("zone");

    page->comma = 0;

    ngx_http_socketio_status_print(page, "{");
    ngx_http_socketio_status_json_name(page, &zone);
    ngx_http_socketio_status_json_string(page, page->zone);
}


static void
ngx_http_socketio_status_json_end(ngx_http_socketio_status_page_t *page)
{
    if (page->group.len) {
        ngx_http_socketio_status_json_close(page);
        ngx_str_null(&page->group);
    }

    ngx_http_socketio_status_print(page, "}\n");
}


static void
ngx_http_socketio_status_json_metric(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    if (page->group.len != m->group.len
        || (m->group.len
            && ngx_memcmp(page->group.data, m->group.data, m->group.len) != 0))
    {
        if (page->group.len) {
            ngx_http_socketio_status_json_close(page);
        }

        if (m->group.len) {
            ngx_http_socketio_status_json_open(page, &m->group);
        }

        page->group = m->group;
    }

    if (m->labels[0].len) {
        ngx_http_socketio_status_json_open(page, &m->member);
    }
}


static void
ngx_http_socketio_status_json_metric_end(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m)
{
    if (page->outer.len) {
        ngx_http_socketio_status_json_close(page);
        ngx_str_null(&page->outer);
    }

    if (m->labels[0].len) {
        ngx_http_socketio_status_json_close(page);
    }
}


static void
ngx_http_socketio_status_json_number(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    uint64_t n)
{
    const ngx_str_t  *name;

    name = m->labels[0].len ? &values[0] : &m->member;

    if (m->labels[1].len) {

        if (page->outer.data != values[0].data) {

            if (page->outer.len) {
                ngx_http_socketio_status_json_close(page);
            }

            ngx_http_socketio_status_json_open(page, &values[0]);
            page->outer = values[0];
        }

        name = &values[1];
    }

    ngx_http_socketio_status_json_name(page, name);

    if (m->msec) {
        ngx_http_socketio_status_print(page, "%uL.%03uL", n / 1000, n % 1000);

    } else {
        ngx_http_socketio_status_print(page, "%uL", n);
    }
}


static void
ngx_http_socketio_status_json_histogram(ngx_http_socketio_status_page_t *page,
    const ngx_http_socketio_status_metric_t *m, const ngx_str_t *values,
    const uint64_t *counts)
{
    uint64_t    n, msec;
    ngx_uint_t  i;

    static const ngx_str_t  buckets = ngx_string("buckets");

    n = 0;

    ngx_http_socketio_status_json_open(page, &values[0]);
    ngx_http_socketio_status_json_open(page, &buckets);

    for (i = 0; i < NGX_HTTP_SOCKETIO_BUCKETS; i++) {
        n += counts[i];

        ngx_http_socketio_status_json_name(page,
                                           ngx_http_socketio_status_bucket(i));
        ngx_http_socketio_status_print(page, "%uL", n);
    }

    msec = counts[NGX_HTTP_SOCKETIO_BUCKETS];

    ngx_http_socketio_status_json_close(page);
    ngx_http_socketio_status_print(page, ",\"sum\":%uL.%03uL,\"count\":%uL",
                                   msec / 1000, msec % 1000, n);
    ngx_http_socketio_status_json_close(page);
}


static void
ngx_http_socketio_status_json_open(ngx_http_socketio_status_page_t *page,
    const ngx_str_t *name)
{
    ngx_http_socketio_status_json_name(page, name);
    ngx_http_socketio_status_print(page, "{");

    page->comma = 0;
}


static void
ngx_http_socketio_status_json_close(ngx_http_socketio_status_page_t *page)
{
    ngx_http_socketio_status_print(page, "}");

    page->comma = 1;
}


static void
ngx_http_socketio_status_json_name(ngx_http_socketio_status_page_t *page,
    const ngx_str_t *name)
{
    if (page->comma) {
        ngx_http_socketio_status_print(page, ",");
    }

    page->comma = 1;

    ngx_http_socketio_status_json_string(page, name);
    ngx_http_socketio_status_print(page, ":");
}


static void
ngx_http_socketio_status_json_string(ngx_http_socketio_status_page_t *page,
    const ngx_str_t *text)
{
    ngx_http_socketio_status_print(page, "\"");

    page->len += ngx_sio_json_escape_length(text->data, text->len);

    if (page->last) {
        page->last = ngx_sio_json_escape(page->last, text->data, text->len);
    }

    ngx_http_socketio_status_print(page, "\"");
}
