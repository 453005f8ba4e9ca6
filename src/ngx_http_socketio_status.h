
/*
 * The status page: what the workers of a zone have counted, as JSON or for
 * Prometheus.
 *
 * Layer:      top.
 * Ownership:  a page lives in the pool of its request.
 * Hostile:    names of namespaces come from clients, and are escaped.
 * Reference:  README.md, "Status page"; Prometheus, "Exposition formats",
 *             version 0.0.4.
 *
 * One table, ngx_http_socketio_status_metrics[], says what there is, and a
 * format how it is written:
 *
 *     zone --copied--> ngx_sio_hub_stat_t --metric by metric--> format --> page
 *
 * A page is made twice from the same numbers: measured, then written.
 */


#ifndef _NGX_HTTP_SOCKETIO_STATUS_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_STATUS_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_sio_hub.h"


typedef struct ngx_http_socketio_status_metric_s
    ngx_http_socketio_status_metric_t;
typedef struct ngx_http_socketio_status_format_s
    ngx_http_socketio_status_format_t;


typedef enum {
    NGX_HTTP_SOCKETIO_STATUS_GAUGE = 0,
    NGX_HTTP_SOCKETIO_STATUS_COUNTER,
    NGX_HTTP_SOCKETIO_STATUS_HISTOGRAM
} ngx_http_socketio_status_type_e;


typedef struct {
    const ngx_http_socketio_status_format_t  *format;
    ngx_sio_hub_stat_t                       *stat;
    ngx_http_socketio_zone_t                 *conf;
    ngx_str_t                                *zone;    /* its name */

    u_char                                   *last;    /* NULL: it is only
                                                          measured */
    size_t                                    len;

    /* of JSON */
    ngx_str_t                                 group;   /* the object that is
                                                          open, or empty */
    ngx_str_t                                 outer;   /* ... the one for a
                                                          first label in it */
    unsigned                                  comma:1; /* before a member */
} ngx_http_socketio_status_page_t;


/*
 * In Prometheus it is socketio_NAME, with labels.  In JSON it is a member of
 * the object "group", or of the page where that is empty; for each label it
 * is an object of what there would be without it.
 */

struct ngx_http_socketio_status_metric_s {
    ngx_str_t                         name;
    ngx_http_socketio_status_type_e   type;
    ngx_str_t                         group;
    ngx_str_t                         member;

    /* gives its numbers to the format, from index "first" of their source */
    void                            (*series)(
                                      ngx_http_socketio_status_page_t *page,
                                      const ngx_http_socketio_status_metric_t
                                                                        *m);
    ngx_uint_t                        first;

    ngx_str_t                         labels[2];   /* empty: none */
    const ngx_str_t                  *values[2];   /* all that they may be;
                                                      NULL: that depends */
    ngx_uint_t                        nvalues[2];

    ngx_str_t                         help;
    ngx_uint_t                        msec;        /* shown in seconds, flag */
};


/* "values" belong to the labels of the metric. */

struct ngx_http_socketio_status_format_s {
    ngx_str_t    type;                             /* Content-Type */

    void       (*begin)(ngx_http_socketio_status_page_t *page);
    void       (*end)(ngx_http_socketio_status_page_t *page);

    void       (*metric)(ngx_http_socketio_status_page_t *page,
                   const ngx_http_socketio_status_metric_t *m);
    void       (*metric_end)(ngx_http_socketio_status_page_t *page,
                   const ngx_http_socketio_status_metric_t *m);

    void       (*number)(ngx_http_socketio_status_page_t *page,
                   const ngx_http_socketio_status_metric_t *m,
                   const ngx_str_t *values, uint64_t n);

    /*
     * counts[] has how many there are in each of NGX_HTTP_SOCKETIO_BUCKETS,
     * and behind them the sum of all in msec.
     */
    void       (*histogram)(ngx_http_socketio_status_page_t *page,
                   const ngx_http_socketio_status_metric_t *m,
                   const ngx_str_t *values, const uint64_t *counts);
};


/* of zones with message queues; the last one has no name */
extern const ngx_http_socketio_status_metric_t
    ngx_http_socketio_status_queues[];

extern const ngx_http_socketio_status_format_t
    ngx_http_socketio_status_json;
extern const ngx_http_socketio_status_format_t
    ngx_http_socketio_status_prometheus;


/* For formats: what comes next on the page; a string, as printf() does. */
void ngx_http_socketio_status_text(ngx_http_socketio_status_page_t *page,
    const ngx_str_t *text);
void ngx_http_socketio_status_print(ngx_http_socketio_status_page_t *page,
    const char *fmt, ...);

/* Where a bucket ends, in seconds: "0.005" ... "+Inf". */
const ngx_str_t *ngx_http_socketio_status_bucket(ngx_uint_t i);


#endif /* _NGX_HTTP_SOCKETIO_STATUS_H_INCLUDED_ */
