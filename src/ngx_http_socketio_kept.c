#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_kept.h"


static ngx_uint_t ngx_http_socketio_kept_eligible(ngx_http_variable_t *v);
static ngx_uint_t ngx_http_socketio_kept_unknown(ngx_http_request_t *r,
    ngx_http_variable_t *v);
static ngx_uint_t ngx_http_socketio_kept_named(ngx_str_t *names,
    ngx_str_t *name, ngx_uint_t prefix);


/*
 * What a webhook's own request tells once it has a body or an upstream, and
 * what ngx_http_socketio_origin.c finds in the headers that it saves.
 */

static ngx_str_t  ngx_http_socketio_kept_never[] = {
    ngx_string("content_length"),
    ngx_string("content_type"),
    ngx_string("request_body"),
    ngx_string("request_body_file"),
    ngx_string("remote_user"),
    ngx_string("scheme"),
    ngx_string("https"),
    ngx_null_string
};

static ngx_str_t  ngx_http_socketio_kept_never_prefixes[] = {
    ngx_string("arg_"),
    ngx_string("cookie_"),
    ngx_string("http_"),
    ngx_string("sent_http_"),
    ngx_string("sent_trailer_"),
    ngx_string("upstream_"),
    ngx_null_string
};


/* A request of our own has an address, but not two of them. */

static ngx_str_t  ngx_http_socketio_kept_always[] = {
    ngx_string("realip_remote_addr"),
    ngx_string("realip_remote_port"),
    ngx_null_string
};


ngx_array_t *
ngx_http_socketio_kept_find(ngx_http_request_t *r, ngx_pool_t *pool)
{
    ngx_uint_t                  i;
    ngx_array_t                *list;
    ngx_http_variable_t        *v;
    ngx_http_socketio_kept_t   *kept;
    ngx_http_core_main_conf_t  *cmcf;

    list = ngx_array_create(pool, 4, sizeof(ngx_http_socketio_kept_t));
    if (list == NULL) {
        return NULL;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (!ngx_http_socketio_kept_eligible(&v[i])
            || !ngx_http_socketio_kept_unknown(r, &v[i]))
        {
            continue;
        }

        kept = ngx_array_push(list);
        if (kept == NULL) {
            return NULL;
        }

        kept->name = v[i].name;
        kept->index = i;
        kept->assigned = (v[i].flags & NGX_HTTP_VAR_WEAK) ? 1 : 0;
    }

    return list;
}


ngx_int_t
ngx_http_socketio_kept_get(ngx_http_request_t *r,
    ngx_http_socketio_kept_t *kept, ngx_str_t *value)
{
    ngx_http_variable_value_t  *v;

    /* to ask for one that is not set would be logged as a mistake */

    v = kept->assigned ? &r->variables[kept->index]
                       : ngx_http_get_indexed_variable(r, kept->index);

    if (v == NULL || !v->valid || v->not_found || v->len == 0) {
        return NGX_DECLINED;
    }

    value->len = v->len;
    value->data = v->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_socketio_kept_eligible(ngx_http_variable_t *v)
{
    if (v->get_handler == NULL || v->name.len > 255
        || (v->flags & NGX_HTTP_VAR_NOCACHEABLE))
    {
        return 0;
    }

    return !ngx_http_socketio_kept_named(ngx_http_socketio_kept_never,
                                         &v->name, 0)
           && !ngx_http_socketio_kept_named(
                                    ngx_http_socketio_kept_never_prefixes,
                                    &v->name, 1);
}


/* What has no value in a request that nothing was done to. */

static ngx_uint_t
ngx_http_socketio_kept_unknown(ngx_http_request_t *r, ngx_http_variable_t *v)
{
    ngx_http_variable_value_t  value;

    if ((v->flags & NGX_HTTP_VAR_WEAK)
        || ngx_http_socketio_kept_named(ngx_http_socketio_kept_always,
                                        &v->name, 0))
    {
        return 1;
    }

    ngx_memzero(&value, sizeof(ngx_http_variable_value_t));

    return v->get_handler(r, &value, v->data) == NGX_OK && value.not_found;
}


static ngx_uint_t
ngx_http_socketio_kept_named(ngx_str_t *names, ngx_str_t *name,
    ngx_uint_t prefix)
{
    for ( /* void */ ; names->len; names++) {
        if ((names->len == name->len || (prefix && names->len < name->len))
            && ngx_memcmp(names->data, name->data, names->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
