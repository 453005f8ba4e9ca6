#include "ngx_http_socketio_hook_private.h"
#include "ngx_http_socketio_location.h"
#include "ngx_http_socketio_worker.h"


/* the part of the limit that is set aside for shares */

#define NGX_HTTP_SOCKETIO_HOOK_ASIDE        8


/* What one location has under way; made when first used, never freed. */

struct ngx_http_socketio_hook_lane_s {
    ngx_queue_t                        link;      /* in lanes.all */
    ngx_queue_t                        busy;      /* in lanes.busy, while
                                                     something is queued */
    ngx_http_socketio_loc_conf_t      *lcf;
    ngx_queue_t                        queued;    /* hooks */
    ngx_uint_t                         flight;
};


typedef struct {
    ngx_queue_t                        all;
    ngx_queue_t                        busy;      /* the one that was served
                                                     last is the last */
    ngx_uint_t                         limit;     /* of total */
    ngx_uint_t                         total;     /* hooks in flight */
    ngx_uint_t                         share;     /* of it, of each lane */
    ngx_uint_t                         reserved;  /* of all shares, what is not
                                                     in flight */
} ngx_http_socketio_hook_lanes_t;


static ngx_int_t ngx_http_socketio_hook_lane_add(
    ngx_http_socketio_loc_conf_t *lcf);
static void ngx_http_socketio_hook_lane_divide(void);
static ngx_uint_t ngx_http_socketio_hook_lane_unused(
    ngx_http_socketio_hook_lane_t *lane);
static ngx_http_socketio_hook_lane_t *ngx_http_socketio_hook_lane_pick(void);
static ngx_uint_t ngx_http_socketio_hook_lane_startable(
    ngx_http_socketio_hook_lane_t *lane);
static ngx_uint_t ngx_http_socketio_hook_lane_held(
    ngx_http_socketio_hook_lane_t *lane);


static ngx_http_socketio_hook_lanes_t  ngx_http_socketio_hook_lanes;


void
ngx_http_socketio_hook_lane_init(void)
{
    ngx_queue_init(&ngx_http_socketio_hook_lanes.all);
    ngx_queue_init(&ngx_http_socketio_hook_lanes.busy);
}


/*
 * Those of the configuration are made together, since a share is for those,
 * too, that have not had a webhook yet; others, like that of an "if", come
 * with their first one.
 */

ngx_int_t
ngx_http_socketio_hook_lane_create(ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_socketio_location_t   *location;
    ngx_http_socketio_loc_conf_t   *conf;
    ngx_http_socketio_main_conf_t  *mcf;

    if (lcf->webhook_lane) {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_socketio_module);
    location = mcf->locations.elts;
    rc = NGX_OK;

    for (i = 0; i < mcf->locations.nelts && rc == NGX_OK; i++) {
        conf = location[i].lcf;

        if (conf->zone && conf->webhook) {
            rc = ngx_http_socketio_hook_lane_add(conf);
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_hook_lane_add(lcf);
    }

    /* without memory for all of them those that are there have to work */

    if (!ngx_queue_empty(&ngx_http_socketio_hook_lanes.all)) {
        ngx_http_socketio_hook_lane_divide();
    }

    return rc;
}


void
ngx_http_socketio_hook_lane_insert(ngx_http_socketio_hook_t *hook,
    ngx_uint_t next)
{
    ngx_http_socketio_hook_lane_t  *lane;

    lane = hook->lane;

    if (ngx_queue_empty(&lane->queued)) {
        ngx_queue_insert_tail(&ngx_http_socketio_hook_lanes.busy, &lane->busy);
    }

    if (next) {
        ngx_queue_insert_head(&lane->queued, &hook->queue);

    } else {
        ngx_queue_insert_tail(&lane->queued, &hook->queue);
    }
}


void
ngx_http_socketio_hook_lane_remove(ngx_http_socketio_hook_t *hook)
{
    ngx_queue_remove(&hook->queue);

    if (ngx_queue_empty(&hook->lane->queued)) {
        ngx_queue_remove(&hook->lane->busy);
    }
}


void
ngx_http_socketio_hook_lane_flight(ngx_http_socketio_hook_lane_t *lane,
    ngx_int_t n)
{
    ngx_http_socketio_hook_lanes_t  *lanes;

    lanes = &ngx_http_socketio_hook_lanes;

    lanes->reserved -= ngx_http_socketio_hook_lane_unused(lane);
    lane->flight += n;
    lanes->total += n;
    lanes->reserved += ngx_http_socketio_hook_lane_unused(lane);
}


ngx_uint_t
ngx_http_socketio_hook_lane_ready(void)
{
    return ngx_http_socketio_hook_lane_pick() != NULL;
}


ngx_http_socketio_hook_t *
ngx_http_socketio_hook_lane_next(void)
{
    ngx_http_socketio_hook_lane_t  *lane;

    lane = ngx_http_socketio_hook_lane_pick();
    if (lane == NULL) {
        return NULL;
    }

    ngx_queue_remove(&lane->busy);
    ngx_queue_insert_tail(&ngx_http_socketio_hook_lanes.busy, &lane->busy);

    return ngx_queue_data(ngx_queue_head(&lane->queued),
                          ngx_http_socketio_hook_t, queue);
}


ngx_http_socketio_hook_t *
ngx_http_socketio_hook_lane_any(void)
{
    ngx_queue_t                    *busy;
    ngx_http_socketio_hook_lane_t  *lane;

    busy = &ngx_http_socketio_hook_lanes.busy;

    if (ngx_queue_empty(busy)) {
        return NULL;
    }

    lane = ngx_queue_data(ngx_queue_head(busy), ngx_http_socketio_hook_lane_t,
                          busy);

    return ngx_queue_data(ngx_queue_head(&lane->queued),
                          ngx_http_socketio_hook_t, queue);
}


static ngx_int_t
ngx_http_socketio_hook_lane_add(ngx_http_socketio_loc_conf_t *lcf)
{
    ngx_http_socketio_hook_lane_t  *lane;

    if (lcf->webhook_lane) {
        return NGX_OK;
    }

    lane = ngx_alloc(sizeof(ngx_http_socketio_hook_lane_t), ngx_cycle->log);
    if (lane == NULL) {
        return NGX_ERROR;
    }

    lane->lcf = lcf;
    lane->flight = 0;
    ngx_queue_init(&lane->queued);
    ngx_queue_insert_tail(&ngx_http_socketio_hook_lanes.all, &lane->link);

    lcf->webhook_lane = lane;

    return NGX_OK;
}


/* Each lane has at least one, unless that were more than half of all. */

static void
ngx_http_socketio_hook_lane_divide(void)
{
    ngx_uint_t                       n;
    ngx_queue_t                     *q;
    ngx_http_socketio_hook_lane_t   *lane;
    ngx_http_socketio_hook_lanes_t  *lanes;

    lanes = &ngx_http_socketio_hook_lanes;

    n = 0;
    lanes->limit = 0;

    for (q = ngx_queue_head(&lanes->all);
         q != ngx_queue_sentinel(&lanes->all);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_http_socketio_hook_lane_t, link);

        n++;
        lanes->limit = ngx_max(lanes->limit, lane->lcf->webhook_concurrency);
    }

    lanes->share = ngx_max(lanes->limit / NGX_HTTP_SOCKETIO_HOOK_ASIDE / n, 1);

    if (n > lanes->limit / 2) {
        lanes->share = 0;
    }

    lanes->reserved = 0;

    for (q = ngx_queue_head(&lanes->all);
         q != ngx_queue_sentinel(&lanes->all);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_http_socketio_hook_lane_t, link);

        lanes->reserved += ngx_http_socketio_hook_lane_unused(lane);
    }
}


/* Of its share. */

static ngx_uint_t
ngx_http_socketio_hook_lane_unused(ngx_http_socketio_hook_lane_t *lane)
{
    ngx_uint_t  share;

    share = ngx_min(ngx_http_socketio_hook_lanes.share,
                    lane->lcf->webhook_concurrency);

    return (lane->flight < share) ? share - lane->flight : 0;
}


static ngx_http_socketio_hook_lane_t *
ngx_http_socketio_hook_lane_pick(void)
{
    ngx_queue_t                    *q, *busy;
    ngx_http_socketio_hook_lane_t  *lane, *best;

    busy = &ngx_http_socketio_hook_lanes.busy;
    best = NULL;

    for (q = ngx_queue_head(busy);
         q != ngx_queue_sentinel(busy);
         q = ngx_queue_next(q))
    {
        lane = ngx_queue_data(q, ngx_http_socketio_hook_lane_t, busy);

        if ((best == NULL || lane->flight < best->flight)
            && ngx_http_socketio_hook_lane_startable(lane))
        {
            best = lane;
        }
    }

    return best;
}


/* Whether the lane, which has something to start, may do so. */

static ngx_uint_t
ngx_http_socketio_hook_lane_startable(ngx_http_socketio_hook_lane_t *lane)
{
    ngx_uint_t                       rest;
    ngx_http_socketio_hook_lanes_t  *lanes;

    lanes = &ngx_http_socketio_hook_lanes;

    if (lanes->total >= lanes->limit
        || lane->flight >= lane->lcf->webhook_concurrency
        || ngx_http_socketio_hook_lane_held(lane))
    {
        return 0;
    }

    rest = lanes->limit - lanes->total;

    return rest > lanes->reserved
           || ngx_http_socketio_hook_lane_unused(lane) > 0;
}


static ngx_uint_t
ngx_http_socketio_hook_lane_held(ngx_http_socketio_hook_lane_t *lane)
{
    ngx_http_socketio_zone_t  *zone;

    zone = lane->lcf->zone;

    return zone && zone->worker && ngx_sio_hub_owing(zone->worker->hub);
}
