#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_conf.h"
#include "ngx_http_socketio_count.h"
#include "ngx_http_socketio_keys.h"
#include "ngx_http_socketio_location.h"
#include "ngx_http_socketio_parse.h"
#include "ngx_http_socketio_variables.h"
#include "ngx_http_socketio_queue.h"
#include "ngx_http_socketio_zone.h"
#include "ngx_sio_hub.h"


/*
 * What an entry of the log has beside a payload: the names of its namespace
 * and rooms, up to 4 kB, and the headers of its parts.
 */
#define NGX_HTTP_SOCKETIO_RESERVE       (4096 + 512)

#define NGX_HTTP_SOCKETIO_SETTING                                             \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF)


static ngx_int_t ngx_http_socketio_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_socketio_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_socketio_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_socketio_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_socketio_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

static char *ngx_http_socketio(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_socketio_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_socketio_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_socketio_location(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *lcf, ngx_http_socketio_zone_t **zone,
    ngx_str_t *value, ngx_http_handler_pt handler);

static char *ngx_http_socketio_merge_handler(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *prev, ngx_http_socketio_loc_conf_t *conf);
static char *ngx_http_socketio_check(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *conf);
static char *ngx_http_socketio_check_limits(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *conf);


static ngx_conf_bitmask_t  ngx_http_socketio_transports[] = {
    { ngx_string("polling"), NGX_HTTP_SOCKETIO_POLLING },
    { ngx_string("websocket"), NGX_HTTP_SOCKETIO_WEBSOCKET },
    { ngx_null_string, 0 }
};


static ngx_conf_bitmask_t  ngx_http_socketio_events[] = {
    { ngx_string("connect"), NGX_HTTP_SOCKETIO_CONNECT },
    { ngx_string("event"), NGX_HTTP_SOCKETIO_EVENT },
    { ngx_string("ack"), NGX_HTTP_SOCKETIO_ACK },
    { ngx_string("disconnect"), NGX_HTTP_SOCKETIO_DISCONNECT },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_http_socketio_count = {
    ngx_conf_check_num_bounds, 0, 65535
};


/* A connection's namespaces are searched one after the other. */

static ngx_conf_num_bounds_t  ngx_http_socketio_few = {
    ngx_conf_check_num_bounds, 1, 1024
};


static ngx_conf_num_bounds_t  ngx_http_socketio_many = {
    ngx_conf_check_num_bounds, 1, 65535
};


/* what messages between workers and hosts have room for */

static ngx_conf_num_bounds_t  ngx_http_socketio_name = {
    ngx_conf_check_num_bounds, 1, NGX_HTTP_SOCKETIO_MAX_NAME
};


static ngx_command_t  ngx_http_socketio_commands[] = {

    { ngx_string("socketio"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_socketio,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_socketio_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE12,
      ngx_http_socketio_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_message_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1234|NGX_CONF_TAKE5|NGX_CONF_TAKE6,
      ngx_http_socketio_queue,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_socketio_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_webhook"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_http_socketio_conf_webhook,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_webhook_secret"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_keys_secrets,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_webhook_timeout"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, webhook_timeout),
      &ngx_http_socketio_conf_time },

    { ngx_string("socketio_webhook_pass_header"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_conf_pass_header,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_webhook_queue"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, webhook_queue),
      &ngx_http_socketio_count },

    { ngx_string("socketio_webhook_concurrency"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, webhook_concurrency),
      &ngx_http_socketio_count },

    { ngx_string("socketio_webhook_events"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_conf_bits,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, webhook_events),
      &ngx_http_socketio_events },

    { ngx_string("socketio_namespaces"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_conf_namespaces,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_transports"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_conf_bits,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, transports),
      &ngx_http_socketio_transports },

    { ngx_string("socketio_ping_interval"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, ping_interval),
      &ngx_http_socketio_conf_time },

    { ngx_string("socketio_ping_timeout"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, ping_timeout),
      &ngx_http_socketio_conf_time },

    { ngx_string("socketio_upgrade_timeout"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, upgrade_timeout),
      &ngx_http_socketio_conf_time },

    { ngx_string("socketio_connect_timeout"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, connect_timeout),
      &ngx_http_socketio_conf_time },

    { ngx_string("socketio_max_payload"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, max_payload),
      &ngx_http_socketio_conf_size },

    { ngx_string("socketio_max_attachments"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, max_attachments),
      &ngx_http_socketio_count },

    { ngx_string("socketio_max_namespaces"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, max_namespaces),
      &ngx_http_socketio_few },

    { ngx_string("socketio_max_rooms"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, max_rooms),
      &ngx_http_socketio_many },

    { ngx_string("socketio_max_name"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, max_name),
      &ngx_http_socketio_name },

    { ngx_string("socketio_event_rate"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE12,
      ngx_http_socketio_conf_event_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_send_buffer"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, send_buffer),
      &ngx_http_socketio_conf_size },

    { ngx_string("socketio_allow_eio3"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, allow_eio3),
      NULL },

    { ngx_string("socketio_refuse"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_http_socketio_conf_refuse,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_cookie"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_TAKE1,
      ngx_http_socketio_conf_cookie,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_cors_allowed_origins"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_conf_origins,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_cors_credentials"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_socketio_loc_conf_t, cors_credentials),
      NULL },

    { ngx_string("socketio_trusted_proxies"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_conf_proxies,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("socketio_api_key"),
      NGX_HTTP_SOCKETIO_SETTING|NGX_CONF_1MORE,
      ngx_http_socketio_keys_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_socketio_module_ctx = {
    ngx_http_socketio_preconfiguration,    /* preconfiguration */
    ngx_http_socketio_postconfiguration,   /* postconfiguration */

    ngx_http_socketio_create_main_conf,    /* create main configuration */
    ngx_http_socketio_zone_sizes,          /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_socketio_create_loc_conf,     /* create location configuration */
    ngx_http_socketio_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_socketio_module = {
    NGX_MODULE_V1,
    &ngx_http_socketio_module_ctx,         /* module context */
    ngx_http_socketio_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_socketio_zone_init_module,         /* init module */
    ngx_http_socketio_zone_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_socketio_zone_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_uint_t
ngx_http_socketio_namespace_allowed(ngx_array_t *namespaces, ngx_str_t *name)
{
    ngx_uint_t                      i;
    ngx_http_socketio_namespace_t  *ns;

#if (NGX_PCRE)
    ngx_int_t                       n;
#endif

    ns = namespaces->elts;

    for (i = 0; i < namespaces->nelts; i++) {

        if (ns[i].any) {
            return 1;
        }

#if (NGX_PCRE)

        if (ns[i].regex) {
            n = ngx_regex_exec(ns[i].regex, name, NULL, 0);

            if (n >= 0) {
                return 1;
            }

            if (n != NGX_REGEX_NO_MATCHED) {
                ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                              ngx_regex_exec_n " failed: %i on a namespace "
                              "of %uz bytes using \"%V\"",
                              n, name->len, &ns[i].name);
            }

            continue;
        }

#endif

        if (ns[i].name.len == name->len
            && ngx_memcmp(ns[i].name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_socketio_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_socketio_variables_add(cf);
}


static ngx_int_t
ngx_http_socketio_postconfiguration(ngx_conf_t *cf)
{
    if (ngx_http_socketio_location_names(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_socketio_count_others(cf);
}


static void *
ngx_http_socketio_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_socketio_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_socketio_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->zones, cf->pool, 2,
                       sizeof(ngx_http_socketio_zone_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&mcf->locations, cf->pool, 4,
                       sizeof(ngx_http_socketio_location_t))
        != NGX_OK)
    {
        return NULL;
    }

    mcf->proxies = ngx_http_socketio_conf_default_proxies(cf);
    if (mcf->proxies == NULL) {
        return NULL;
    }

    return mcf;
}


static void *
ngx_http_socketio_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_socketio_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_socketio_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->zone = NULL;
     *     conf->api_zone = NULL;
     *     conf->status_zone = NULL;
     *     conf->status_format = NGX_HTTP_SOCKETIO_STATUS_JSON;
     *     conf->name = { 0, NULL };
     *     conf->webhook_events = 0;
     *     conf->event_burst = 0;
     *     conf->transports = 0;
     *     conf->cookie = { 0, NULL };
     *     conf->cors_origins = NULL;
     */

    conf->webhook = NGX_CONF_UNSET_PTR;
    conf->webhook_secrets = NGX_CONF_UNSET_PTR;
    conf->webhook_timeout = NGX_CONF_UNSET_MSEC;
    conf->webhook_pass_headers = NGX_CONF_UNSET_PTR;
    conf->webhook_queue = NGX_CONF_UNSET_UINT;
    conf->webhook_concurrency = NGX_CONF_UNSET_UINT;

    conf->namespaces = NGX_CONF_UNSET_PTR;
    conf->ping_interval = NGX_CONF_UNSET_MSEC;
    conf->ping_timeout = NGX_CONF_UNSET_MSEC;
    conf->upgrade_timeout = NGX_CONF_UNSET_MSEC;
    conf->connect_timeout = NGX_CONF_UNSET_MSEC;
    conf->max_payload = NGX_CONF_UNSET_SIZE;
    conf->max_attachments = NGX_CONF_UNSET_UINT;
    conf->max_namespaces = NGX_CONF_UNSET_UINT;
    conf->max_rooms = NGX_CONF_UNSET_UINT;
    conf->max_name = NGX_CONF_UNSET_UINT;
    conf->event_period = NGX_CONF_UNSET_UINT;
    conf->send_buffer = NGX_CONF_UNSET_SIZE;
    conf->allow_eio3 = NGX_CONF_UNSET;
    conf->refuse = NGX_CONF_UNSET_PTR;

    conf->cors = NGX_CONF_UNSET_UINT;
    conf->cors_credentials = NGX_CONF_UNSET;
    conf->trusted_proxies = NGX_CONF_UNSET_PTR;

    conf->api_keys = NGX_CONF_UNSET_PTR;

    return conf;
}


/* All defaults are here. */

static char *
ngx_http_socketio_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_socketio_loc_conf_t *prev = parent;
    ngx_http_socketio_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_socketio_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_socketio_module);

    ngx_conf_merge_ptr_value(conf->webhook, prev->webhook, NULL);
    ngx_conf_merge_ptr_value(conf->webhook_secrets, prev->webhook_secrets,
                             NULL);
    ngx_conf_merge_msec_value(conf->webhook_timeout, prev->webhook_timeout,
                              10000);
    ngx_conf_merge_ptr_value(conf->webhook_pass_headers,
                             prev->webhook_pass_headers,
                             &ngx_http_socketio_conf_default_headers);
    ngx_conf_merge_uint_value(conf->webhook_queue, prev->webhook_queue, 64);
    ngx_conf_merge_uint_value(conf->webhook_concurrency,
                              prev->webhook_concurrency, 256);
    ngx_conf_merge_bitmask_value(conf->webhook_events, prev->webhook_events,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_HTTP_SOCKETIO_CONNECT
                                  |NGX_HTTP_SOCKETIO_EVENT
                                  |NGX_HTTP_SOCKETIO_ACK
                                  |NGX_HTTP_SOCKETIO_DISCONNECT));

    ngx_conf_merge_ptr_value(conf->namespaces, prev->namespaces,
                             &ngx_http_socketio_conf_default_namespaces);
    ngx_conf_merge_bitmask_value(conf->transports, prev->transports,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_HTTP_SOCKETIO_POLLING
                                  |NGX_HTTP_SOCKETIO_WEBSOCKET));
    ngx_conf_merge_msec_value(conf->ping_interval, prev->ping_interval, 25000);
    ngx_conf_merge_msec_value(conf->ping_timeout, prev->ping_timeout, 20000);
    ngx_conf_merge_msec_value(conf->upgrade_timeout, prev->upgrade_timeout,
                              10000);
    ngx_conf_merge_msec_value(conf->connect_timeout, prev->connect_timeout,
                              45000);
    ngx_conf_merge_size_value(conf->max_payload, prev->max_payload, 1000000);
    ngx_conf_merge_uint_value(conf->max_attachments, prev->max_attachments,
                              10);
    ngx_conf_merge_uint_value(conf->max_namespaces, prev->max_namespaces,
                              256);
    ngx_conf_merge_uint_value(conf->max_rooms, prev->max_rooms, 65535);
    ngx_conf_merge_uint_value(conf->max_name, prev->max_name, 255);

    /* the rate and its burst belong together */

    if (conf->event_period == NGX_CONF_UNSET_UINT) {
        conf->event_burst = prev->event_burst;
    }

    ngx_conf_merge_uint_value(conf->event_period, prev->event_period, 0);
    ngx_conf_merge_size_value(conf->send_buffer, prev->send_buffer,
                              1024 * 1024);
    ngx_conf_merge_value(conf->allow_eio3, prev->allow_eio3, 0);
    ngx_conf_merge_ptr_value(conf->refuse, prev->refuse, NULL);
    ngx_conf_merge_str_value(conf->cookie, prev->cookie, "");

    /* the kind and the list belong together */

    if (conf->cors == NGX_CONF_UNSET_UINT) {
        conf->cors_origins = prev->cors_origins;
    }

    ngx_conf_merge_uint_value(conf->cors, prev->cors,
                              NGX_HTTP_SOCKETIO_CORS_SAME);
    ngx_conf_merge_value(conf->cors_credentials, prev->cors_credentials, 1);
    ngx_conf_merge_ptr_value(conf->trusted_proxies, prev->trusted_proxies,
                             mcf->proxies);

    ngx_conf_merge_ptr_value(conf->api_keys, prev->api_keys, NULL);

    conf->session.ping_interval = conf->ping_interval;
    conf->session.ping_timeout = conf->ping_timeout;
    conf->session.upgrade_timeout = conf->upgrade_timeout;
    conf->session.connect_timeout = conf->connect_timeout;
    conf->session.max_payload = conf->max_payload;
    conf->session.send_buffer = conf->send_buffer;
    conf->session.max_attachments = conf->max_attachments;
    conf->session.max_namespaces = conf->max_namespaces;
    conf->session.max_rooms = conf->max_rooms;
    conf->session.max_name = conf->max_name;
    conf->session.event_period = conf->event_period;
    conf->session.event_burst = (uint64_t) conf->event_period
                                * conf->event_burst;
    conf->session.websocket = (conf->transports & NGX_HTTP_SOCKETIO_WEBSOCKET)
                              ? 1 : 0;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    conf->session.log = clcf->error_log;

    return ngx_http_socketio_merge_handler(cf, prev, conf);
}


/*
 * A nested location has a handler of its own, but an "if" or "limit_except"
 * block is the same location with other settings.
 */

static char *
ngx_http_socketio_merge_handler(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *prev, ngx_http_socketio_loc_conf_t *conf)
{
    const char                *name;
    ngx_http_handler_pt        handler;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && clcf->handler == NULL) {
        conf->zone = prev->zone;
        conf->api_zone = prev->api_zone;
        conf->status_zone = prev->status_zone;
        conf->status_format = prev->status_format;
        conf->file = prev->file;
        conf->line = prev->line;
    }

    if (conf->zone) {
        name = "socketio";
        handler = ngx_http_socketio_handler;

    } else if (conf->api_zone) {
        name = "socketio_api";
        handler = ngx_http_socketio_api_handler;

    } else if (conf->status_zone) {
        name = "socketio_status";
        handler = ngx_http_socketio_status_handler;

    } else {
        return NGX_CONF_OK;
    }

    if (clcf->lmt_excpt) {
        clcf->handler = handler;
    }

    if (!clcf->noname && clcf->handler != handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "another directive takes over the location of "
                      "\"%s\" in %s:%ui", name, conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    if (conf->status_zone) {
        return NGX_CONF_OK;
    }

    if (ngx_http_socketio_location_add(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return conf->zone ? ngx_http_socketio_check(cf, conf) : NGX_CONF_OK;
}


/* Values that are right by themselves and wrong together. */

static char *
ngx_http_socketio_check(ngx_conf_t *cf, ngx_http_socketio_loc_conf_t *conf)
{
    if (conf->ping_interval + conf->ping_timeout
        > NGX_HTTP_SOCKETIO_CONF_MAX_MSEC)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"socketio_ping_interval\" and "
                      "\"socketio_ping_timeout\" together are longer than "
                      "browsers can count for \"socketio\" in %s:%ui",
                      conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    /* none would mean that events wait for ever */

    if (conf->webhook && conf->webhook_concurrency == 0) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"socketio_webhook_concurrency\" is 0, 1 is used "
                      "for \"socketio\" in %s:%ui",
                      conf->file, conf->line);
        conf->webhook_concurrency = 1;
    }

    if (conf->webhook && conf->webhook_queue == 0) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"socketio_webhook_queue\" is 0, 1 is used "
                      "for \"socketio\" in %s:%ui",
                      conf->file, conf->line);
        conf->webhook_queue = 1;
    }

    return ngx_http_socketio_check_limits(cf, conf);
}


static char *
ngx_http_socketio_check_limits(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *conf)
{
    size_t                     limit;
    ngx_http_core_loc_conf_t  *clcf;

    limit = ngx_sio_hub_max_entry(conf->zone->size);
    limit = (limit > NGX_HTTP_SOCKETIO_RESERVE)
            ? limit - NGX_HTTP_SOCKETIO_RESERVE : 0;

    if (conf->max_payload > limit) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"socketio_max_payload\" of %uz is too large for zone "
                      "\"%V\" of %uz bytes, which carries %uz, "
                      "for \"socketio\" in %s:%ui",
                      conf->max_payload, &conf->zone->name, conf->zone->size,
                      limit, conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->client_max_body_size
        && clcf->client_max_body_size < (off_t) conf->max_payload)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"client_max_body_size\" of %O is smaller than "
                      "\"socketio_max_payload\" of %uz and refuses what "
                      "polling clients may send to \"socketio\" in %s:%ui",
                      clcf->client_max_body_size, conf->max_payload,
                      conf->file, conf->line);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_socketio(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_socketio_location(cf, lcf, &lcf->zone,
                                      cf->args->nelts == 2 ? &value[1] : NULL,
                                      ngx_http_socketio_handler);
}


static char *
ngx_http_socketio_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_http_socketio_location(cf, lcf, &lcf->api_zone,
                                      cf->args->nelts == 2 ? &value[1] : NULL,
                                      ngx_http_socketio_api_handler);
}


/* [json | prometheus] [zone=name] */

static char *
ngx_http_socketio_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   n;

    value = cf->args->elts;
    n = 1;

    if (cf->args->nelts > 1) {

        if (ngx_strcmp(value[1].data, "json") == 0) {
            n = 2;

        } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
            lcf->status_format = NGX_HTTP_SOCKETIO_STATUS_PROMETHEUS;
            n = 2;
        }
    }

    if (cf->args->nelts > n + 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[n]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_socketio_location(cf, lcf, &lcf->status_zone,
                                      cf->args->nelts > n ? &value[n] : NULL,
                                      ngx_http_socketio_status_handler);
}


static char *
ngx_http_socketio_location(ngx_conf_t *cf, ngx_http_socketio_loc_conf_t *lcf,
    ngx_http_socketio_zone_t **zone, ngx_str_t *value,
    ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (*zone) {
        return "is duplicate";
    }

    if (lcf->zone) {
        return "conflicts with \"socketio\" in the same location";
    }

    if (lcf->api_zone) {
        return "conflicts with \"socketio_api\" in the same location";
    }

    if (lcf->status_zone) {
        return "conflicts with \"socketio_status\" in the same location";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "conflicts with another one that serves this location";
    }

    *zone = ngx_http_socketio_zone_parameter(cf, value);
    if (*zone == NULL) {
        return NGX_CONF_ERROR;
    }

    lcf->file = cf->conf_file->file.name.data;
    lcf->line = cf->conf_file->line;

    clcf->handler = handler;

    return NGX_CONF_OK;
}
