#include "ngx_http_socketio_zone.h"
#include "ngx_http_socketio_queue.h"
#include "ngx_http_socketio_worker.h"


/* the zone that needs no declaration */
#define NGX_HTTP_SOCKETIO_ZONE_NAME  "socketio"
#define NGX_HTTP_SOCKETIO_ZONE_SIZE  (16 * 1024 * 1024)


static ngx_int_t ngx_http_socketio_zone_name(ngx_conf_t *cf, ngx_str_t *name);
static ngx_http_socketio_zone_t *ngx_http_socketio_zone_get(ngx_conf_t *cf,
    ngx_str_t *name);
static void ngx_http_socketio_zone_adopt(ngx_http_socketio_zone_t *zone);
static void ngx_http_socketio_zone_flush_logs(ngx_cycle_t *cycle);


/*
 * Zones of this process that have a worker.  Beside the configuration, since
 * with "master_process off" a reload replaces that without an init_process.
 */
static ngx_queue_t  ngx_http_socketio_zones = {
    &ngx_http_socketio_zones, &ngx_http_socketio_zones
};


char *
ngx_http_socketio_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ssize_t                    size;
    ngx_str_t                 *value;
    ngx_http_socketio_zone_t  *zone;

    value = cf->args->elts;

    if (ngx_http_socketio_zone_name(cf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_SIO_MEM_MIN_SIZE
        || (uint64_t) size > NGX_SIO_MEM_MAX_SIZE)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" of %z bytes is too %s, limit is %uz",
                           &value[1], size,
                           size < NGX_SIO_MEM_MIN_SIZE ? "small" : "large",
                           size < NGX_SIO_MEM_MIN_SIZE
                           ? (size_t) NGX_SIO_MEM_MIN_SIZE
                           : NGX_SIO_MEM_MAX_SIZE);
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_socketio_zone_get(cf, &value[1]);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (zone->size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is already declared in %s:%ui",
                           &value[1], zone->file, zone->line);
        return NGX_CONF_ERROR;
    }

    zone->size = size;
    zone->file = cf->conf_file->file.name.data;
    zone->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


ngx_http_socketio_zone_t *
ngx_http_socketio_zone_parameter(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_str_t  name;

    if (value == NULL) {
        ngx_str_set(&name, NGX_HTTP_SOCKETIO_ZONE_NAME);
        return ngx_http_socketio_zone_get(cf, &name);
    }

    if (ngx_strncmp(value->data, "zone=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
        return NULL;
    }

    name.len = value->len - 5;
    name.data = value->data + 5;

    if (ngx_http_socketio_zone_name(cf, &name) != NGX_OK) {
        return NULL;
    }

    return ngx_http_socketio_zone_get(cf, &name);
}


static ngx_http_socketio_zone_t *
ngx_http_socketio_zone_get(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                       i;
    ngx_http_socketio_zone_t        *zone, **zp;
    ngx_http_socketio_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_socketio_module);

    zp = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {
        if (zp[i]->name.len == name->len
            && ngx_memcmp(zp[i]->name.data, name->data, name->len) == 0)
        {
            return zp[i];
        }
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_socketio_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    if (ngx_array_init(&zone->namespaces, cf->pool, 4, sizeof(ngx_array_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&zone->queues, cf->pool, 2,
                       sizeof(struct ngx_http_socketio_queue_s *))
        != NGX_OK)
    {
        return NULL;
    }

    zone->name = *name;
    zone->file = cf->conf_file->file.name.data;
    zone->line = cf->conf_file->line;

    zp = ngx_array_push(&mcf->zones);
    if (zp == NULL) {
        return NULL;
    }

    *zp = zone;

    return zone;
}


static ngx_int_t
ngx_http_socketio_zone_name(ngx_conf_t *cf, ngx_str_t *name)
{
    size_t  i;

    if (name->len == 0 || name->len > NGX_SIO_MEM_MAX_NAME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone name \"%V\" must have 1 to %d characters",
                           name, NGX_SIO_MEM_MAX_NAME);
        return NGX_ERROR;
    }

    /* it shows in /proc and in log lines */

    for (i = 0; i < name->len; i++) {
        if (name->data[i] <= 0x20 || name->data[i] >= 0x7f
            || ngx_strchr("\"/=", name->data[i]))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "zone name \"%V\" has an invalid character",
                               name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


char *
ngx_http_socketio_zone_sizes(ngx_conf_t *cf, void *conf)
{
    ngx_http_socketio_main_conf_t *mcf = conf;

    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_http_socketio_zone_t  **zone;

    ngx_str_set(&name, NGX_HTTP_SOCKETIO_ZONE_NAME);

    zone = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {

        if (zone[i]->size) {
            continue;
        }

        if (zone[i]->name.len != name.len
            || ngx_memcmp(zone[i]->name.data, name.data, name.len) != 0)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "zone \"%V\" is not declared by \"socketio_zone\" "
                          "in %s:%ui",
                          &zone[i]->name, zone[i]->file, zone[i]->line);
            return NGX_CONF_ERROR;
        }

        zone[i]->size = NGX_HTTP_SOCKETIO_ZONE_SIZE;
    }

    return ngx_http_socketio_queue_init(cf, mcf);
}


/*
 * In the master, before it forks.  A failure here ends nginx, which at a
 * reload would end every connection: the zone is left without memory then,
 * and its locations without a worker until the next reload.
 */

ngx_int_t
ngx_http_socketio_zone_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i, start;
    ngx_http_socketio_zone_t       **zone;
    ngx_http_socketio_main_conf_t   *mcf;

    if (ngx_test_config) {
        return NGX_OK;
    }

    start = ngx_is_init_cycle(cycle->old_cycle);

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_socketio_module);

    if (mcf) {
        zone = mcf->zones.elts;

        for (i = 0; i < mcf->zones.nelts; i++) {
            zone[i]->mem = ngx_sio_mem_attach(&zone[i]->name, zone[i]->size,
                                              cycle->log);

            if (zone[i]->mem == NULL && start) {
                return NGX_ERROR;
            }

            ngx_http_socketio_zone_adopt(zone[i]);
        }
    }

    /* in a single process sessions of the old configuration go on */

    if (start || ngx_process == NGX_PROCESS_MASTER) {
        ngx_sio_mem_prune();
    }

    return NGX_OK;
}


static void
ngx_http_socketio_zone_adopt(ngx_http_socketio_zone_t *zone)
{
    ngx_queue_t               *q;
    ngx_http_socketio_zone_t  *old;

    if (zone->mem == NULL) {
        return;
    }

    for (q = ngx_queue_head(&ngx_http_socketio_zones);
         q != ngx_queue_sentinel(&ngx_http_socketio_zones);
         q = ngx_queue_next(q))
    {
        old = ngx_queue_data(q, ngx_http_socketio_zone_t, queue);

        if (old->mem == zone->mem) {
            zone->worker = old->worker;
            return;
        }
    }
}


/* An error here would make the master give up on workers altogether. */

ngx_int_t
ngx_http_socketio_zone_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_socketio_zone_t       **zone;
    ngx_http_socketio_main_conf_t   *mcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_socketio_module);

    if (mcf == NULL) {
        return NGX_OK;
    }

    zone = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {

        if (zone[i]->mem == NULL
            || ngx_http_socketio_worker_init(zone[i], cycle) != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                          "zone \"%V\" does not work in this process",
                          &zone[i]->name);
            zone[i]->worker = NULL;
            continue;
        }

        ngx_queue_insert_tail(&ngx_http_socketio_zones, &zone[i]->queue);
    }

    return NGX_OK;
}


void
ngx_http_socketio_zone_exit_process(ngx_cycle_t *cycle)
{
    ngx_queue_t               *q;
    ngx_http_socketio_zone_t  *zone;

    while (!ngx_queue_empty(&ngx_http_socketio_zones)) {
        q = ngx_queue_last(&ngx_http_socketio_zones);
        zone = ngx_queue_data(q, ngx_http_socketio_zone_t, queue);

        ngx_queue_remove(q);

        ngx_http_socketio_worker_done(zone);
    }

    ngx_http_socketio_zone_flush_logs(cycle);
}


/*
 * Sessions that ended just now have written lines to the access log.  nginx
 * has flushed those that are buffered already, its turn comes before ours.
 */

static void
ngx_http_socketio_zone_flush_logs(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_open_file_t  *file;

    for (part = &cycle->open_files.part; part; part = part->next) {

        file = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (file[i].flush) {
                file[i].flush(&file[i], cycle->log);
            }
        }
    }
}
