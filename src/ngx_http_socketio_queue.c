#include "ngx_http_socketio_queue.h"
#include "ngx_http_socketio_zone.h"


/* published and not confirmed, of each queue */
#define NGX_HTTP_SOCKETIO_QUEUE_PENDING   1024
#define NGX_HTTP_SOCKETIO_QUEUE_BUFFER    (16 * 1024 * 1024)

#define NGX_HTTP_SOCKETIO_QUEUE_CHANNEL   200

/* a list of all sockets; Redis drops who is 32m behind */
#define NGX_HTTP_SOCKETIO_QUEUE_PUBLISH   (24 * 1024 * 1024)

/* what a message has beside what an entry of the log can carry */
#define NGX_HTTP_SOCKETIO_QUEUE_ROOM      4096


static ngx_int_t ngx_http_socketio_queue_parameter(ngx_conf_t *cf,
    ngx_http_socketio_queue_t *q, ngx_str_t *value, ngx_str_t **zone);
static const char *ngx_http_socketio_queue_expected(ngx_str_t *value);
static ngx_int_t ngx_http_socketio_queue_format(
    ngx_http_socketio_queue_t *q, ngx_str_t *name);
static ngx_int_t ngx_http_socketio_queue_dialect(
    ngx_http_socketio_queue_t *q, ngx_str_t *name);
static ngx_int_t ngx_http_socketio_queue_add(ngx_conf_t *cf,
    ngx_http_socketio_zone_t *zone, ngx_http_socketio_queue_t *q,
    ngx_str_t *url);
static uint64_t ngx_http_socketio_queue_key(ngx_http_socketio_queue_t *q,
    ngx_str_t *url);


static const ngx_http_socketio_format_t  *ngx_http_socketio_queue_formats[] = {
    &ngx_http_socketio_python,
    &ngx_http_socketio_node,
    NULL
};


static ngx_str_t  ngx_http_socketio_queue_dialects[] = {
    ngx_string("5.16"),
    ngx_string("5.14"),
    ngx_string("pickle"),
    ngx_null_string
};


char *
ngx_http_socketio_queue(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                  *value, *zone_name;
    ngx_uint_t                  i;
    ngx_http_socketio_zone_t   *zone;
    ngx_http_socketio_queue_t  *q;

    value = cf->args->elts;
    zone_name = NULL;

    q = ngx_pcalloc(cf->pool, sizeof(ngx_http_socketio_queue_t));
    if (q == NULL) {
        return NGX_CONF_ERROR;
    }

    q->format = &ngx_http_socketio_python;
    q->dialect = NGX_CONF_UNSET_UINT;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_socketio_queue_parameter(cf, q, &value[i], &zone_name)
            != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"%s", &value[i],
                               ngx_http_socketio_queue_expected(&value[i]));
            return NGX_CONF_ERROR;
        }
    }

    if (q->dialect == NGX_CONF_UNSET_UINT) {
        q->dialect = 0;

    } else if (q->format != &ngx_http_socketio_python) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"dialect\" is of \"format=python\" only");
        return NGX_CONF_ERROR;
    }

    if (q->channel.len == 0) {
        q->channel = q->format->channel;
    }

    if (ngx_sio_queue_url_parse(cf, &value[1], &q->url) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_socketio_zone_parameter(cf, zone_name);

    if (zone == NULL
        || ngx_http_socketio_queue_add(cf, zone, q, &value[1]) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_socketio_queue_parameter(ngx_conf_t *cf, ngx_http_socketio_queue_t *q,
    ngx_str_t *value, ngx_str_t **zone)
{
    ngx_str_t  text;

    if (ngx_strncmp(value->data, "zone=", 5) == 0) {
        *zone = value;
        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "format=", 7) == 0) {
        text.data = value->data + 7;
        text.len = value->len - 7;

        return ngx_http_socketio_queue_format(q, &text);
    }

    if (ngx_strncmp(value->data, "channel=", 8) == 0) {
        q->channel.data = value->data + 8;
        q->channel.len = value->len - 8;

        return q->channel.len && q->channel.len
                                 <= NGX_HTTP_SOCKETIO_QUEUE_CHANNEL
               ? NGX_OK : NGX_ERROR;
    }

    if (ngx_strcmp(value->data, "forward=on") == 0) {
        q->forward = 1;
        return NGX_OK;
    }

    if (ngx_strcmp(value->data, "forward=off") == 0) {
        q->forward = 0;
        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "dialect=", 8) == 0) {
        text.data = value->data + 8;
        text.len = value->len - 8;

        return ngx_http_socketio_queue_dialect(q, &text);
    }

    return NGX_ERROR;
}


/* What is said behind a parameter that is wrong. */

static const char *
ngx_http_socketio_queue_expected(ngx_str_t *value)
{
    if (ngx_strncmp(value->data, "format=", 7) == 0) {
        return ", expected \"python\" or \"node\"";
    }

    if (ngx_strncmp(value->data, "dialect=", 8) == 0) {
        return ", expected \"5.16\", \"5.14\" or \"pickle\"";
    }

    if (ngx_strncmp(value->data, "forward=", 8) == 0) {
        return ", expected \"on\" or \"off\"";
    }

    return "";
}


static ngx_int_t
ngx_http_socketio_queue_format(ngx_http_socketio_queue_t *q, ngx_str_t *name)
{
    ngx_uint_t                         i;
    const ngx_http_socketio_format_t  *format;

    for (i = 0; ngx_http_socketio_queue_formats[i] != NULL; i++) {
        format = ngx_http_socketio_queue_formats[i];

        if (format->name.len == name->len
            && ngx_strncmp(format->name.data, name->data, name->len) == 0)
        {
            q->format = format;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_socketio_queue_dialect(ngx_http_socketio_queue_t *q, ngx_str_t *name)
{
    ngx_uint_t   i;
    ngx_str_t   *dialect;

    for (i = 0; ngx_http_socketio_queue_dialects[i].len; i++) {
        dialect = &ngx_http_socketio_queue_dialects[i];

        if (dialect->len == name->len
            && ngx_strncmp(dialect->data, name->data, name->len) == 0)
        {
            q->dialect = i;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_socketio_queue_add(ngx_conf_t *cf, ngx_http_socketio_zone_t *zone,
    ngx_http_socketio_queue_t *q, ngx_str_t *url)
{
    ngx_uint_t                   i;
    ngx_http_socketio_queue_t  **other;

    q->key = ngx_http_socketio_queue_key(q, url);

    q->label.data = ngx_pnalloc(cf->pool,
                                q->url.shown.len + q->channel.len
                                + q->format->name.len + 2);
    if (q->label.data == NULL) {
        return NGX_ERROR;
    }

    q->label.len = ngx_sprintf(q->label.data, "%V %V", &q->url.shown,
                               &q->channel)
                   - q->label.data;

    other = zone->queues.elts;

    for (i = 0; i < zone->queues.nelts; i++) {

        if (other[i]->label.len == q->label.len
            && ngx_strncmp(other[i]->label.data, q->label.data, q->label.len)
               == 0)
        {
            q->label.len = ngx_sprintf(q->label.data + q->label.len, " %V",
                                       &q->format->name)
                           - q->label.data;
            break;
        }
    }

    for (i = 0; i < zone->queues.nelts; i++) {

        if (other[i]->key == q->key) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "zone \"%V\" has the message queue \"%V\" "
                               "with channel \"%V\" already",
                               &zone->name, &q->url.shown, &q->channel);
            return NGX_ERROR;
        }
    }

    if (zone->queues.nelts == NGX_SIO_BRIDGE_LINES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" has more than %d message queues",
                           &zone->name, NGX_SIO_BRIDGE_LINES);
        return NGX_ERROR;
    }

    other = ngx_array_push(&zone->queues);
    if (other == NULL) {
        return NGX_ERROR;
    }

    *other = q;

    return NGX_OK;
}


/* FNV-1a, of what tells two queues apart; the memory remembers it */

static uint64_t
ngx_http_socketio_queue_key(ngx_http_socketio_queue_t *q, ngx_str_t *url)
{
    size_t       k;
    uint64_t     hash;
    ngx_uint_t   i;
    ngx_str_t    parts[3];

    parts[0] = *url;
    parts[1] = q->format->name;
    parts[2] = q->channel;

    hash = 0xcbf29ce484222325ULL;

    for (i = 0; i < 3; i++) {
        for (k = 0; k <= parts[i].len; k++) {
            hash ^= k < parts[i].len ? parts[i].data[k] : 0;
            hash *= 0x100000001b3ULL;
        }
    }

    return hash ? hash : 1;
}


char *
ngx_http_socketio_queue_init(ngx_conf_t *cf,
    ngx_http_socketio_main_conf_t *mcf)
{
    ngx_uint_t                   i, k;
    ngx_resolver_t              *resolver;
    ngx_http_socketio_zone_t   **zone;
    ngx_http_socketio_queue_t  **q;
    ngx_http_core_loc_conf_t    *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* without the directive nginx makes one that knows no servers */

    resolver = (clcf->resolver != NULL && clcf->resolver->connections.nelts)
               ? clcf->resolver : NULL;

    zone = mcf->zones.elts;

    for (i = 0; i < mcf->zones.nelts; i++) {
        q = zone[i]->queues.elts;

        for (k = 0; k < zone[i]->queues.nelts; k++) {

            if (resolver == NULL
                && ngx_sio_queue_url_resolve(cf, &q[k]->url) != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            q[k]->conf.url = &q[k]->url;
            ngx_str_set(&q[k]->conf.name, "nginx");
            q[k]->conf.resolver = resolver;
            q[k]->conf.resolver_timeout
                = clcf->resolver_timeout == NGX_CONF_UNSET_MSEC
                  ? 30000 : clcf->resolver_timeout;
            q[k]->conf.max_message = ngx_sio_hub_max_entry(zone[i]->size) * 2
                                     + NGX_HTTP_SOCKETIO_QUEUE_ROOM;
            q[k]->conf.max_publish = ngx_max(q[k]->conf.max_message,
                                             NGX_HTTP_SOCKETIO_QUEUE_PUBLISH);
            q[k]->conf.max_pending = NGX_HTTP_SOCKETIO_QUEUE_PENDING;
            q[k]->conf.max_buffer = NGX_HTTP_SOCKETIO_QUEUE_BUFFER;
        }
    }

    return NGX_CONF_OK;
}
