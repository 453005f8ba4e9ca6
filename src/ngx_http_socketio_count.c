
#include "ngx_http_socketio_count.h"
#include "ngx_http_socketio_worker.h"


static ngx_int_t ngx_http_socketio_count_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_socketio_count_rejected(ngx_http_request_t *r,
    ngx_str_t *name);


ngx_int_t
ngx_http_socketio_count_others(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_socketio_count_handler;

    return NGX_OK;
}


/*
 * In the log phase.  A request of ours without a context did not come to our
 * handler; one that an error_page has sent elsewhere is ours no longer.
 */

static ngx_int_t
ngx_http_socketio_count_handler(ngx_http_request_t *r)
{
    ngx_uint_t                     status;
    ngx_http_socketio_loc_conf_t  *lcf;

    static ngx_str_t  rate = ngx_string("limit_req_status");
    static ngx_str_t  connections = ngx_string("limit_conn_status");

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_socketio_module);

    if (lcf->zone == NULL || lcf->zone->worker == NULL
        || ngx_http_get_module_ctx(r, ngx_http_socketio_module) != NULL)
    {
        return NGX_OK;
    }

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status < NGX_HTTP_BAD_REQUEST) {
        return NGX_OK;
    }

    if (ngx_http_socketio_count_rejected(r, &rate)) {
        ngx_http_socketio_refused(lcf->zone->worker,
                                  NGX_HTTP_SOCKETIO_REFUSED_RATE);

    } else if (ngx_http_socketio_count_rejected(r, &connections)) {
        ngx_http_socketio_refused(lcf->zone->worker,
                                  NGX_HTTP_SOCKETIO_REFUSED_CONNECTIONS);

    } else if (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN)
    {
        ngx_http_socketio_refused(lcf->zone->worker,
                                  NGX_HTTP_SOCKETIO_REFUSED_ACCESS);
    }

    return NGX_OK;
}


/* Asked by variable: what the modules keep of a request is their own. */

static ngx_uint_t
ngx_http_socketio_count_rejected(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_variable(r, name,
                               ngx_hash_key(name->data, name->len));

    return vv != NULL && !vv->not_found
           && vv->len == sizeof("REJECTED") - 1
           && ngx_strncmp(vv->data, "REJECTED", sizeof("REJECTED") - 1) == 0;
}
