#include "ngx_http_socketio_location.h"


static ngx_int_t ngx_http_socketio_location_path(ngx_conf_t *cf,
    ngx_str_t *path);
static void ngx_http_socketio_location_address(ngx_conf_t *cf,
    ngx_str_t *address);
static ngx_int_t ngx_http_socketio_location_name(ngx_conf_t *cf,
    ngx_array_t *locations, ngx_uint_t i);
static ngx_uint_t ngx_http_socketio_location_alike(
    ngx_http_socketio_location_t *a, ngx_http_socketio_location_t *b);


ngx_int_t
ngx_http_socketio_location_add(ngx_conf_t *cf,
    ngx_http_socketio_loc_conf_t *conf)
{
    ngx_array_t                    **namespaces;
    ngx_http_conf_ctx_t             *ctx;
    ngx_http_core_srv_conf_t        *cscf;
    ngx_http_socketio_location_t    *location;
    ngx_http_socketio_main_conf_t   *mcf;

    if (conf->zone) {
        namespaces = ngx_array_push(&conf->zone->namespaces);
        if (namespaces == NULL) {
            return NGX_ERROR;
        }

        *namespaces = conf->namespaces;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_socketio_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    location = ngx_array_push(&mcf->locations);
    if (location == NULL) {
        return NGX_ERROR;
    }

    ctx = cf->ctx;

    location->lcf = conf;
    location->server = cscf->server_name;
    location->srv_conf = ctx->srv_conf;
    location->loc_conf = ctx->loc_conf;

    ngx_http_socketio_location_address(cf, &location->address);

    return ngx_http_socketio_location_path(cf, &location->path);
}


/* As the administrator wrote it, since "/" and "= /" may stand side by side. */

static ngx_int_t
ngx_http_socketio_location_path(ngx_conf_t *cf, ngx_str_t *path)
{
    u_char                    *p;
    const char                *before, *after;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    before = "";
    after = "";

    if (clcf->exact_match) {
        before = "= ";

    } else if (clcf->noregex) {
        before = "^~ ";
    }

#if (NGX_PCRE)

    if (clcf->regex) {
        before = "~ ";
    }

#endif

    if (clcf->lmt_excpt) {
        after = " limit_except";

    } else if (clcf->noname) {
        after = " if";
    }

    p = ngx_pnalloc(cf->pool, ngx_strlen(before) + clcf->name.len
                              + ngx_strlen(after));
    if (p == NULL) {
        return NGX_ERROR;
    }

    path->data = p;
    path->len = ngx_sprintf(p, "%s%V%s", before, &clcf->name, after) - p;

    return NGX_OK;
}


/*
 * The first of the server's addresses in the order of the alphabet, which
 * does not change when servers are moved in the file.
 */

static void
ngx_http_socketio_location_address(ngx_conf_t *cf, ngx_str_t *address)
{
    ngx_str_t                   *text;
    ngx_uint_t                   i, k, n;
    ngx_http_conf_port_t        *port;
    ngx_http_conf_addr_t        *addr;
    ngx_http_core_srv_conf_t    *cscf, **server;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    ngx_str_null(address);

    if (cmcf->ports == NULL) {
        return;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {
        addr = port[i].addrs.elts;

        for (k = 0; k < port[i].addrs.nelts; k++) {
            server = addr[k].servers.elts;
            text = &addr[k].opt.addr_text;

            for (n = 0; n < addr[k].servers.nelts; n++) {
                if (server[n] == cscf
                    && (address->len == 0
                        || ngx_memn2cmp(text->data, address->data, text->len,
                                        address->len)
                           < 0))
                {
                    *address = *text;
                }
            }
        }
    }
}


ngx_int_t
ngx_http_socketio_location_names(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_socketio_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_socketio_module);

    for (i = 0; i < mcf->locations.nelts; i++) {
        if (ngx_http_socketio_location_name(cf, &mcf->locations, i)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * "server path"; with the address where the server has no name or another
 * has the same; with a number where even the address is the same.
 */

static ngx_int_t
ngx_http_socketio_location_name(ngx_conf_t *cf, ngx_array_t *locations,
    ngx_uint_t i)
{
    u_char                        *p, *last;
    ngx_str_t                      address;
    ngx_uint_t                     k, n;
    ngx_http_socketio_location_t  *location, *self;

    location = locations->elts;
    self = &location[i];

    n = 1;
    ngx_str_null(&address);

    if (self->server.len == 0) {
        address = self->address;
    }

    for (k = 0; k < locations->nelts; k++) {

        if (k == i || !ngx_http_socketio_location_alike(self, &location[k])) {
            continue;
        }

        address = self->address;

        if (k < i
            && location[k].address.len == address.len
            && ngx_memcmp(location[k].address.data, address.data, address.len)
               == 0)
        {
            n++;
        }
    }

    p = ngx_pnalloc(cf->pool, self->server.len + sizeof("@ ") - 1
                              + address.len + self->path.len
                              + sizeof(" #") - 1 + NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_cpymem(p, self->server.data, self->server.len);

    if (address.len) {
        last = ngx_sprintf(last, "@%V", &address);
    }

    last = ngx_sprintf(last, " %V", &self->path);

    if (n > 1) {
        last = ngx_sprintf(last, " #%ui", n);
    }

    self->lcf->name.data = p;
    self->lcf->name.len = last - p;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_socketio_location_alike(ngx_http_socketio_location_t *a,
    ngx_http_socketio_location_t *b)
{
    return a->server.len == b->server.len
           && a->path.len == b->path.len
           && ngx_memcmp(a->server.data, b->server.data, a->server.len) == 0
           && ngx_memcmp(a->path.data, b->path.data, a->path.len) == 0;
}


ngx_http_socketio_location_t *
ngx_http_socketio_location_find(ngx_str_t *name)
{
    ngx_uint_t                      i;
    ngx_http_socketio_location_t   *location;
    ngx_http_socketio_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_socketio_module);
    if (mcf == NULL) {
        return NULL;
    }

    location = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {
        if (location[i].lcf->name.len == name->len
            && ngx_memcmp(location[i].lcf->name.data, name->data, name->len)
               == 0)
        {
            return &location[i];
        }
    }

    return NULL;
}
