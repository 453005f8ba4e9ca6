#include "ngx_http_socketio_origin_private.h"
#include "ngx_http_socketio_kept.h"


static void ngx_http_socketio_origin_preset_header(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars,
    ngx_http_socketio_origin_header_t *h);
static void ngx_http_socketio_origin_preset_kept(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars,
    ngx_http_socketio_origin_header_t *h);
static void ngx_http_socketio_origin_preset(ngx_http_request_t *r,
    ngx_int_t index, ngx_str_t *value);
static ngx_uint_t ngx_http_socketio_origin_match(ngx_str_t *var,
    ngx_str_t *name);
static void ngx_http_socketio_origin_reads(ngx_str_t *variable,
    ngx_str_t *header);
static void ngx_http_socketio_origin_forget(void *data);


static ngx_http_socketio_origin_vars_t  *ngx_http_socketio_origin_all_vars;


/* besides $http_... and $cookie_... */

static const struct {
    char                                   *variable;
    ngx_str_t                               header;
} ngx_http_socketio_origin_readers[] = {
    { "proxy_add_x_forwarded_for", ngx_string("x_forwarded_for") },
    { "remote_user", ngx_string("authorization") },
    { "invalid_referer", ngx_string("referer") },
    { "ancient_browser", ngx_string("user_agent") },
    { "modern_browser", ngx_string("user_agent") },
    { "msie", ngx_string("user_agent") },
    { "uid_got", ngx_string("cookie") },
    { NULL, ngx_null_string }
};


#define ngx_http_socketio_origin_is(str, text)                                \
    ((str)->len == ngx_strlen(text)                                           \
     && ngx_strncmp((str)->data, text, (str)->len) == 0)


/* A process has one configuration, unless it is the only one and reloaded. */

ngx_http_socketio_origin_vars_t *
ngx_http_socketio_origin_vars(ngx_http_core_main_conf_t *cmcf)
{
    ngx_int_t                         index;
    ngx_str_t                         header;
    ngx_uint_t                        i;
    ngx_pool_t                       *pool;
    ngx_http_variable_t              *v;
    ngx_pool_cleanup_t               *cln;
    ngx_http_socketio_origin_vars_t  *vars;

    for (vars = ngx_http_socketio_origin_all_vars; vars; vars = vars->next) {
        if (vars->cmcf == cmcf) {
            return vars;
        }
    }

    pool = ngx_cycle->pool;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    vars = ngx_palloc(pool, sizeof(ngx_http_socketio_origin_vars_t)
                            + cmcf->variables.nelts
                              * sizeof(ngx_http_socketio_origin_var_t));
    if (vars == NULL) {
        return NULL;
    }

    vars->cmcf = cmcf;
    vars->scheme = NGX_ERROR;
    vars->https = NGX_ERROR;
    vars->kept = NULL;
    vars->n = 0;

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        index = i;

        if (ngx_http_socketio_origin_is(&v[i].name, "scheme")) {
            vars->scheme = index;
            continue;
        }

        if (ngx_http_socketio_origin_is(&v[i].name, "https")) {
            vars->https = index;
            continue;
        }

        ngx_http_socketio_origin_reads(&v[i].name, &header);

        if (header.len == 0) {
            continue;
        }

        if (header.data != v[i].name.data + sizeof("http_") - 1) {
            index = NGX_ERROR;
        }

        vars->var[vars->n].name = header;
        vars->var[vars->n].index = index;
        vars->n++;
    }

    cln->handler = ngx_http_socketio_origin_forget;
    cln->data = vars;

    vars->next = ngx_http_socketio_origin_all_vars;
    ngx_http_socketio_origin_all_vars = vars;

    return vars;
}


/* Which header a variable reads; a name with "_" for "-", or empty. */

static void
ngx_http_socketio_origin_reads(ngx_str_t *variable, ngx_str_t *header)
{
    ngx_uint_t  i;

    if (variable->len > sizeof("http_") - 1
        && ngx_strncmp(variable->data, "http_", sizeof("http_") - 1) == 0)
    {
        header->len = variable->len - (sizeof("http_") - 1);
        header->data = variable->data + sizeof("http_") - 1;
        return;
    }

    if (variable->len > sizeof("cookie_") - 1
        && ngx_strncmp(variable->data, "cookie_", sizeof("cookie_") - 1) == 0)
    {
        ngx_str_set(header, "cookie");
        return;
    }

    for (i = 0; ngx_http_socketio_origin_readers[i].variable; i++) {
        if (ngx_http_socketio_origin_is(variable,
                               ngx_http_socketio_origin_readers[i].variable))
        {
            break;
        }
    }

    *header = ngx_http_socketio_origin_readers[i].header;
}


static void
ngx_http_socketio_origin_forget(void *data)
{
    ngx_http_socketio_origin_vars_t  **vars;

    for (vars = &ngx_http_socketio_origin_all_vars;
         *vars;
         vars = &(*vars)->next)
    {
        if (*vars == data) {
            *vars = (*vars)->next;
            return;
        }
    }
}


ngx_uint_t
ngx_http_socketio_origin_vars_read(ngx_http_socketio_origin_vars_t *vars,
    ngx_str_t *header)
{
    ngx_uint_t  i;

    for (i = 0; i < vars->n; i++) {
        if (ngx_http_socketio_origin_match(&vars->var[i].name, header)) {
            return 1;
        }
    }

    return 0;
}


/* As nginx compares $http_... with a header: "-" is "_". */

static ngx_uint_t
ngx_http_socketio_origin_match(ngx_str_t *var, ngx_str_t *name)
{
    u_char      ch;
    ngx_uint_t  i;

    if (var->len != name->len) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (var->data[i] != (ch == '-' ? '_' : ch)) {
            return 0;
        }
    }

    return 1;
}


void
ngx_http_socketio_origin_variables(ngx_http_socketio_origin_t *o,
    ngx_http_request_t *r)
{
    ngx_str_t                           value;
    ngx_uint_t                          pos;
    ngx_http_socketio_origin_vars_t    *vars;
    ngx_http_socketio_origin_header_t   h;

    vars = ngx_http_socketio_origin_vars(
                      ngx_http_get_module_main_conf(r, ngx_http_core_module));
    if (vars == NULL) {
        return;
    }

    if (vars->kept == NULL) {
        vars->kept = ngx_http_socketio_kept_find(r, ngx_cycle->pool);
    }

    pos = 0;

    while (ngx_http_socketio_origin_saved(o, &pos, &h) == NGX_OK) {

        if (h.flags & NGX_HTTP_SOCKETIO_ORIGIN_VAR) {
            ngx_http_socketio_origin_preset_header(r, vars, &h);
        }

        if (h.flags & NGX_HTTP_SOCKETIO_ORIGIN_KEPT) {
            ngx_http_socketio_origin_preset_kept(r, vars, &h);
        }
    }

    if (o->head.ssl && r->connection->ssl == NULL) {
        ngx_str_set(&value, "https");
        ngx_http_socketio_origin_preset(r, vars->scheme, &value);

        ngx_str_set(&value, "on");
        ngx_http_socketio_origin_preset(r, vars->https, &value);
    }
}


static void
ngx_http_socketio_origin_preset_header(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars,
    ngx_http_socketio_origin_header_t *h)
{
    ngx_uint_t  i;

    for (i = 0; i < vars->n; i++) {
        if (ngx_http_socketio_origin_match(&vars->var[i].name, &h->name)) {
            ngx_http_socketio_origin_preset(r, vars->var[i].index, &h->value);
        }
    }
}


/* Names, not indexes, have come from a worker of another configuration. */

static void
ngx_http_socketio_origin_preset_kept(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars,
    ngx_http_socketio_origin_header_t *h)
{
    ngx_uint_t                 i;
    ngx_http_socketio_kept_t  *kept;

    if (vars->kept == NULL) {
        return;
    }

    kept = vars->kept->elts;

    for (i = 0; i < vars->kept->nelts; i++) {
        if (kept[i].name.len == h->name.len
            && ngx_memcmp(kept[i].name.data, h->name.data, h->name.len) == 0)
        {
            ngx_http_socketio_origin_preset(r, kept[i].index, &h->value);
            return;
        }
    }
}


static void
ngx_http_socketio_origin_preset(ngx_http_request_t *r, ngx_int_t index,
    ngx_str_t *value)
{
    ngx_http_variable_value_t  *v;

    if (index == NGX_ERROR) {
        return;
    }

    v = &r->variables[index];

    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}
