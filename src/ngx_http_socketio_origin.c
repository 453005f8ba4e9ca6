#include "ngx_http_socketio_origin_private.h"
#include "ngx_http_socketio_kept.h"
#include "ngx_http_socketio_request.h"


#define NGX_HTTP_SOCKETIO_ORIGIN_VERSION  2

/*
 * In front of each packed header: flags, length of name, length of value.
 * Behind its name and behind its value a zero, as nginx's parser leaves one,
 * since ngx_http_process_user_agent() and others rely on it.  Variables that
 * are kept follow the headers in the same form.
 */

#define NGX_HTTP_SOCKETIO_ORIGIN_PREFIX   (1 + 1 + sizeof(uint32_t))

#define ngx_http_socketio_origin_packed(name_len, value_len)                  \
    (NGX_HTTP_SOCKETIO_ORIGIN_PREFIX + (size_t) (name_len) + 1                \
     + (size_t) (value_len) + 1)


static ngx_int_t ngx_http_socketio_origin_host(ngx_http_request_t *r);
static ngx_http_socketio_origin_t *ngx_http_socketio_origin_save(
    ngx_http_request_t *r, ngx_http_socketio_origin_vars_t *vars);
static size_t ngx_http_socketio_origin_fields(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars, ngx_str_t *fields);
static u_char *ngx_http_socketio_origin_args(u_char *p, ngx_str_t *args);
static size_t ngx_http_socketio_origin_headers_length(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars);
static u_char *ngx_http_socketio_origin_headers(u_char *p,
    ngx_http_request_t *r, ngx_http_socketio_origin_vars_t *vars);
static void ngx_http_socketio_origin_prefix(u_char *p, ngx_uint_t flags,
    size_t name, uint32_t value);
static size_t ngx_http_socketio_origin_kept_length(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars);
static u_char *ngx_http_socketio_origin_kept(u_char *p, ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars);
static u_char *ngx_http_socketio_origin_join(u_char *p, ngx_table_elt_t *h,
    ngx_list_part_t *part, ngx_uint_t i);
static ngx_uint_t ngx_http_socketio_origin_repeated(ngx_http_request_t *r,
    ngx_table_elt_t *h);
static ngx_table_elt_t *ngx_http_socketio_origin_next(ngx_list_part_t **part,
    ngx_uint_t *i);
static ngx_uint_t ngx_http_socketio_origin_wanted(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars, ngx_table_elt_t *h);
static ngx_uint_t ngx_http_socketio_origin_valid(
    ngx_http_socketio_origin_head_t *head, ngx_str_t *saved);
static ngx_uint_t ngx_http_socketio_origin_valid_addr(u_char *data,
    size_t len);


#define ngx_http_socketio_origin_data(o)                                      \
    ((u_char *) (o) + sizeof(ngx_http_socketio_origin_t))

#define ngx_http_socketio_origin_named(h, text)                               \
    ((h)->key.len == sizeof(text) - 1                                         \
     && ngx_memcmp((h)->lowcase_key, text, sizeof(text) - 1) == 0)


ngx_http_socketio_origin_t *
ngx_http_socketio_origin_create(ngx_http_request_t *r)
{
    ngx_http_socketio_origin_t       *o;
    ngx_http_socketio_request_t      *rq;
    ngx_http_socketio_origin_vars_t  *vars;

    vars = ngx_http_socketio_origin_vars(
                      ngx_http_get_module_main_conf(r, ngx_http_core_module));
    if (vars == NULL) {
        return NULL;
    }

    if (ngx_http_socketio_origin_host(r) != NGX_OK) {
        return NULL;
    }

    /* a listening wildcard address is nobody's: $server_addr of a fake
     * connection could not ask the socket any more */

    if (ngx_connection_local_sockaddr(r->connection, NULL, 0) != NGX_OK) {
        return NULL;
    }

    o = ngx_http_socketio_origin_save(r, vars);

    if (o == NULL || vars->kept != NULL) {
        return o;
    }

    /* the first of this configuration: see what a request of ours knows */

    rq = ngx_http_socketio_request_create(o, NULL);

    ngx_http_socketio_origin_unref(o);

    if (rq == NULL) {
        return NULL;
    }

    ngx_http_socketio_request_destroy(rq);

    return ngx_http_socketio_origin_save(r, vars);
}


static ngx_http_socketio_origin_t *
ngx_http_socketio_origin_save(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars)
{
    u_char                      *p, *data;
    size_t                       size;
    ngx_str_t                    fields[NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS];
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    ngx_http_socketio_origin_t  *o;

    c = r->connection;

    size = ngx_http_socketio_origin_fields(r, vars, fields);

    /* zeroed: the padding may be sent to other workers */

    o = ngx_calloc(sizeof(ngx_http_socketio_origin_t) + size, c->log);
    if (o == NULL) {
        return NULL;
    }

    o->srv_conf = r->srv_conf;
    o->loc_conf = r->loc_conf;
    o->refs = 1;

    o->head.version = NGX_HTTP_SOCKETIO_ORIGIN_VERSION;
    o->head.method = (uint32_t) r->method;
    o->head.number = c->number;
    o->head.start_sec = r->start_sec;
    o->head.start_msec = (uint16_t) r->start_msec;
    o->head.http_version = (uint16_t) r->http_version;
    o->head.ssl = (c->ssl != NULL);
    o->head.limit_conn = r->limit_conn_status;
    o->head.limit_req = r->limit_req_status;

    data = ngx_http_socketio_origin_data(o);
    p = data;

    for (i = 0; i < NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS; i++) {

        switch (i) {

        case NGX_HTTP_SOCKETIO_ORIGIN_LOCAL:
            p = ngx_align_ptr(p, sizeof(uint64_t));
            p = ngx_cpymem(p, fields[i].data, fields[i].len);
            break;

        case NGX_HTTP_SOCKETIO_ORIGIN_QUERY:
            p = ngx_http_socketio_origin_args(p, &r->args);
            break;

        case NGX_HTTP_SOCKETIO_ORIGIN_HEADERS:
            p = ngx_http_socketio_origin_headers(p, r, vars);
            p = ngx_http_socketio_origin_kept(p, r, vars);
            break;

        default:
            if (fields[i].len) {
                p = ngx_cpymem(p, fields[i].data, fields[i].len);
            }
        }

        o->head.ends[i] = (uint32_t) (p - data);
    }

    o->head.size = (uint32_t) (p - data);

    return o;
}


/*
 * RFC 9114, 4.3.1: ":authority" replaces "Host", which nginx leaves out of the
 * headers of HTTP/3, unlike those of HTTP/2.
 */

static ngx_int_t
ngx_http_socketio_origin_host(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    if (r->headers_in.host != NULL || r->host_start == NULL
        || r->http_version <= NGX_HTTP_VERSION_20)
    {
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_sio_table_elt_init(h);

    h->hash = 1;
    h->value.len = r->host_end - r->host_start;
    h->value.data = r->host_start;
    ngx_str_set(&h->key, "Host");
    h->lowcase_key = (u_char *) "host";

    r->headers_in.host = h;

    return NGX_OK;
}


ngx_http_socketio_origin_t *
ngx_http_socketio_origin_ref(ngx_http_socketio_origin_t *o)
{
    o->refs++;

    return o;
}


void
ngx_http_socketio_origin_unref(ngx_http_socketio_origin_t *o)
{
    if (o && --o->refs == 0) {
        ngx_free(o);
    }
}


size_t
ngx_http_socketio_origin_length(ngx_http_socketio_origin_t *o)
{
    return sizeof(ngx_http_socketio_origin_head_t) + o->head.size;
}


u_char *
ngx_http_socketio_origin_write(ngx_http_socketio_origin_t *o, u_char *p)
{
    p = ngx_cpymem(p, &o->head, sizeof(ngx_http_socketio_origin_head_t));

    return ngx_cpymem(p, ngx_http_socketio_origin_data(o), o->head.size);
}


ngx_http_socketio_origin_t *
ngx_http_socketio_origin_restore(ngx_str_t *saved, void **srv_conf,
    void **loc_conf, ngx_log_t *log)
{
    ngx_http_socketio_origin_t       *o;
    ngx_http_socketio_origin_head_t   head;

    if (saved->len < sizeof(ngx_http_socketio_origin_head_t)) {
        goto invalid;
    }

    ngx_memcpy(&head, saved->data, sizeof(ngx_http_socketio_origin_head_t));

    if (!ngx_http_socketio_origin_valid(&head, saved)) {
        goto invalid;
    }

    o = ngx_alloc(sizeof(ngx_http_socketio_origin_t) + head.size, log);
    if (o == NULL) {
        return NULL;
    }

    o->srv_conf = srv_conf;
    o->loc_conf = loc_conf;
    o->refs = 1;
    o->left = 0;        /* those stay where they are told of */
    o->crowded = 0;
    o->head = head;

    ngx_memcpy(ngx_http_socketio_origin_data(o),
               saved->data + sizeof(ngx_http_socketio_origin_head_t),
               head.size);

    return o;

invalid:

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "socketio: %uz bytes are no saved request of version %d",
                  saved->len, NGX_HTTP_SOCKETIO_ORIGIN_VERSION);

    return NULL;
}


void
ngx_http_socketio_origin_path(ngx_http_socketio_origin_t *o, ngx_str_t *path)
{
    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_PATH, path);
}


void
ngx_http_socketio_origin_query(ngx_http_socketio_origin_t *o, ngx_str_t *query)
{
    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_QUERY, query);
}


void
ngx_http_socketio_origin_ip(ngx_http_socketio_origin_t *o, ngx_str_t *ip)
{
    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_IP, ip);
}


ngx_int_t
ngx_http_socketio_origin_header(ngx_http_socketio_origin_t *o, ngx_uint_t *pos,
    ngx_str_t *name, ngx_str_t *value)
{
    ngx_http_socketio_origin_header_t  h;

    while (ngx_http_socketio_origin_saved(o, pos, &h) == NGX_OK) {
        if (h.flags & NGX_HTTP_SOCKETIO_ORIGIN_PASS) {
            *name = h.name;
            *value = h.value;
            return NGX_OK;
        }
    }

    return NGX_DONE;
}


void
ngx_http_socketio_origin_field(ngx_http_socketio_origin_t *o,
    ngx_http_socketio_origin_field_e field, ngx_str_t *value)
{
    uint32_t  start;

    start = field ? o->head.ends[field - 1] : 0;

    if (field == NGX_HTTP_SOCKETIO_ORIGIN_LOCAL) {
        start = ngx_align(start, sizeof(uint64_t));
    }

    value->data = ngx_http_socketio_origin_data(o) + start;
    value->len = o->head.ends[field] - start;
}


ngx_int_t
ngx_http_socketio_origin_saved(ngx_http_socketio_origin_t *o, ngx_uint_t *pos,
    ngx_http_socketio_origin_header_t *h)
{
    u_char     *p;
    uint32_t    len;
    ngx_str_t   packed;

    ngx_http_socketio_origin_field(o, NGX_HTTP_SOCKETIO_ORIGIN_HEADERS,
                                   &packed);

    /* what create() writes and restore() lets pass is whole */

    if (*pos >= packed.len) {
        return NGX_DONE;
    }

    p = packed.data + *pos;

    h->flags = p[0];
    h->name.len = p[1];
    ngx_memcpy(&len, &p[2], sizeof(uint32_t));

    h->name.data = p + NGX_HTTP_SOCKETIO_ORIGIN_PREFIX;
    h->value.data = h->name.data + h->name.len + 1;
    h->value.len = len;

    *pos += ngx_http_socketio_origin_packed(h->name.len, len);

    return NGX_OK;
}


/* Borrows what can be copied as it is; returns room enough for all. */

static size_t
ngx_http_socketio_origin_fields(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars, ngx_str_t *fields)
{
    u_char            *p;
    size_t             size;
    ngx_str_t         *f, raw;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = r->connection;

    f = &fields[NGX_HTTP_SOCKETIO_ORIGIN_ADDR];
    f->data = (u_char *) c->sockaddr;
    f->len = c->socklen;

    f = &fields[NGX_HTTP_SOCKETIO_ORIGIN_LOCAL];
    f->data = (u_char *) c->local_sockaddr;
    f->len = c->local_socklen;

    fields[NGX_HTTP_SOCKETIO_ORIGIN_IP] = c->addr_text;
    fields[NGX_HTTP_SOCKETIO_ORIGIN_METHOD] = r->method_name;
    fields[NGX_HTTP_SOCKETIO_ORIGIN_PATH] = r->uri;
    fields[NGX_HTTP_SOCKETIO_ORIGIN_QUERY] = r->args;
    fields[NGX_HTTP_SOCKETIO_ORIGIN_SERVER] = r->headers_in.server;

    raw = r->unparsed_uri;

    p = ngx_strlchr(raw.data, raw.data + raw.len, '?');
    if (p) {
        raw.len = p - raw.data;
    }

    if (raw.len == r->uri.len
        && ngx_memcmp(raw.data, r->uri.data, raw.len) == 0)
    {
        raw.len = 0;
    }

    fields[NGX_HTTP_SOCKETIO_ORIGIN_RAW_PATH] = raw;

    f = &fields[NGX_HTTP_SOCKETIO_ORIGIN_HEADERS];
    f->data = NULL;
    f->len = ngx_http_socketio_origin_headers_length(r, vars)
             + ngx_http_socketio_origin_kept_length(r, vars);

    /* the padding in front of the server's address */

    size = sizeof(uint64_t);

    /* no overflow: all of it stands in the buffers of one request */

    for (i = 0; i < NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS; i++) {
        size += fields[i].len;
    }

    return size;
}


/* Copies the arguments without any "sid", in any case as ngx_http_arg(). */

static u_char *
ngx_http_socketio_origin_args(u_char *p, ngx_str_t *args)
{
    u_char  *arg, *end, *last, *start;

    start = p;
    last = args->data + args->len;

    for (arg = args->data; arg < last; arg = end + 1) {

        end = ngx_strlchr(arg, last, '&');

        if (end == NULL) {
            end = last;
        }

        if (end - arg >= (ssize_t) sizeof("sid") - 1
            && ngx_strncasecmp(arg, (u_char *) "sid", sizeof("sid") - 1) == 0
            && (arg + sizeof("sid") - 1 == end
                || arg[sizeof("sid") - 1] == '='))
        {
            continue;
        }

        if (p != start) {
            *p++ = '&';
        }

        p = ngx_cpymem(p, arg, end - arg);
    }

    return p;
}


/* Room for the packed headers; repeated ones are counted as if not joined. */

static size_t
ngx_http_socketio_origin_headers_length(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = 0;
    i = 0;
    part = &r->headers_in.headers.part;

    while ((h = ngx_http_socketio_origin_next(&part, &i)) != NULL) {
        if (ngx_http_socketio_origin_wanted(r, vars, h)) {
            len += ngx_http_socketio_origin_packed(h->key.len, h->value.len)
                   + sizeof("; ") - 1;
        }
    }

    return len;
}


static u_char *
ngx_http_socketio_origin_headers(u_char *p, ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars)
{
    u_char           *start, *value;
    uint32_t          len;
    ngx_uint_t        i, flags;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    i = 0;
    part = &r->headers_in.headers.part;

    while ((h = ngx_http_socketio_origin_next(&part, &i)) != NULL) {

        flags = ngx_http_socketio_origin_wanted(r, vars, h);

        if (flags == 0 || ngx_http_socketio_origin_repeated(r, h)) {
            continue;
        }

        start = p;
        p += NGX_HTTP_SOCKETIO_ORIGIN_PREFIX;

        p = ngx_cpymem(p, h->lowcase_key, h->key.len);
        *p++ = '\0';

        value = p;
        p = ngx_http_socketio_origin_join(p, h, part, i);
        len = (uint32_t) (p - value);
        *p++ = '\0';

        ngx_http_socketio_origin_prefix(start, flags, h->key.len, len);
    }

    return p;
}


static void
ngx_http_socketio_origin_prefix(u_char *p, ngx_uint_t flags, size_t name,
    uint32_t value)
{
    p[0] = (u_char) flags;
    p[1] = (u_char) name;
    ngx_memcpy(&p[2], &value, sizeof(uint32_t));
}


static size_t
ngx_http_socketio_origin_kept_length(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars)
{
    size_t                     len;
    ngx_str_t                  value;
    ngx_uint_t                 i;
    ngx_http_socketio_kept_t  *kept;

    if (vars->kept == NULL) {
        return 0;
    }

    len = 0;
    kept = vars->kept->elts;

    for (i = 0; i < vars->kept->nelts; i++) {
        if (ngx_http_socketio_kept_get(r, &kept[i], &value) == NGX_OK) {
            len += ngx_http_socketio_origin_packed(kept[i].name.len,
                                                   value.len);
        }
    }

    return len;
}


static u_char *
ngx_http_socketio_origin_kept(u_char *p, ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars)
{
    ngx_str_t                  value;
    ngx_uint_t                 i;
    ngx_http_socketio_kept_t  *kept;

    if (vars->kept == NULL) {
        return p;
    }

    kept = vars->kept->elts;

    for (i = 0; i < vars->kept->nelts; i++) {

        if (ngx_http_socketio_kept_get(r, &kept[i], &value) != NGX_OK) {
            continue;
        }

        ngx_http_socketio_origin_prefix(p, NGX_HTTP_SOCKETIO_ORIGIN_KEPT,
                                        kept[i].name.len, value.len);

        p = ngx_cpymem(p + NGX_HTTP_SOCKETIO_ORIGIN_PREFIX, kept[i].name.data,
                       kept[i].name.len);
        *p++ = '\0';

        p = ngx_cpymem(p, value.data, value.len);
        *p++ = '\0';
    }

    return p;
}


/* The value of h and those of its namesakes behind it: part and i. */

static u_char *
ngx_http_socketio_origin_join(u_char *p, ngx_table_elt_t *h,
    ngx_list_part_t *part, ngx_uint_t i)
{
    u_char            separator;
    ngx_table_elt_t  *other;

    /* RFC 6265, 5.4 and RFC 9110, 5.3 */

    separator = ngx_http_socketio_origin_named(h, "cookie") ? ';' : ',';

    p = ngx_cpymem(p, h->value.data, h->value.len);

    while ((other = ngx_http_socketio_origin_next(&part, &i)) != NULL) {

        if (other->key.len == h->key.len
            && ngx_memcmp(other->lowcase_key, h->lowcase_key, h->key.len) == 0)
        {
            *p++ = separator;
            *p++ = ' ';

            p = ngx_cpymem(p, other->value.data, other->value.len);
        }
    }

    return p;
}


static ngx_uint_t
ngx_http_socketio_origin_repeated(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *other;

    i = 0;
    part = &r->headers_in.headers.part;

    while ((other = ngx_http_socketio_origin_next(&part, &i)) != h) {

        if (other->key.len == h->key.len
            && ngx_memcmp(other->lowcase_key, h->lowcase_key, h->key.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* The header at *i of *part, and steps on; NULL: there are no more. */

static ngx_table_elt_t *
ngx_http_socketio_origin_next(ngx_list_part_t **part, ngx_uint_t *i)
{
    ngx_table_elt_t  *h;

    for ( ;; ) {

        if (*i >= (*part)->nelts) {

            if ((*part)->next == NULL) {
                return NULL;
            }

            *part = (*part)->next;
            *i = 0;
            continue;
        }

        h = (ngx_table_elt_t *) (*part)->elts + (*i)++;

        if (h->hash != 0) {
            return h;
        }
    }
}


static ngx_uint_t
ngx_http_socketio_origin_wanted(ngx_http_request_t *r,
    ngx_http_socketio_origin_vars_t *vars, ngx_table_elt_t *h)
{
    ngx_str_t                     *pass, name;
    ngx_uint_t                     i, flags;
    ngx_http_socketio_loc_conf_t  *lcf;

    if (h->key.len > 255) {
        return 0;
    }

    name.len = h->key.len;
    name.data = h->lowcase_key;

    flags = 0;

    /* a request of ours without its host would be served as another one's */

    if (ngx_http_socketio_origin_named(h, "host")) {
        flags |= NGX_HTTP_SOCKETIO_ORIGIN_VAR;
    }

    if (ngx_http_socketio_origin_vars_read(vars, &name)) {
        flags |= NGX_HTTP_SOCKETIO_ORIGIN_VAR;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_socketio_module);

    if (lcf->webhook == NULL || lcf->webhook_pass_headers == NULL) {
        return flags;
    }

    pass = lcf->webhook_pass_headers->elts;

    for (i = 0; i < lcf->webhook_pass_headers->nelts; i++) {
        if (pass[i].len == name.len
            && ngx_memcmp(pass[i].data, name.data, name.len) == 0)
        {
            flags |= NGX_HTTP_SOCKETIO_ORIGIN_PASS;
            break;
        }
    }

    return flags;
}


static ngx_uint_t
ngx_http_socketio_origin_valid(ngx_http_socketio_origin_head_t *head,
    ngx_str_t *saved)
{
    size_t       len;
    u_char      *p, *last, *data;
    uint32_t     start, value;
    ngx_uint_t   i;

    len = saved->len - sizeof(ngx_http_socketio_origin_head_t);

    if (head->version != NGX_HTTP_SOCKETIO_ORIGIN_VERSION
        || head->size != len
        || head->ends[NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS - 1] != len)
    {
        return 0;
    }

    for (i = 1; i < NGX_HTTP_SOCKETIO_ORIGIN_NFIELDS; i++) {

        start = head->ends[i - 1];

        if (start > len) {
            return 0;
        }

        if (i == NGX_HTTP_SOCKETIO_ORIGIN_LOCAL) {
            start = ngx_align(start, sizeof(uint64_t));
        }

        if (head->ends[i] < start) {
            return 0;
        }
    }

    data = saved->data + sizeof(ngx_http_socketio_origin_head_t);

    value = head->ends[NGX_HTTP_SOCKETIO_ORIGIN_ADDR];
    start = ngx_align(value, sizeof(uint64_t));

    if (!ngx_http_socketio_origin_valid_addr(data, value)
        || !ngx_http_socketio_origin_valid_addr(data + start,
                          head->ends[NGX_HTTP_SOCKETIO_ORIGIN_LOCAL] - start))
    {
        return 0;
    }

    p = data + head->ends[NGX_HTTP_SOCKETIO_ORIGIN_HEADERS - 1];
    last = data + len;

    while (p < last) {

        if ((size_t) (last - p) < NGX_HTTP_SOCKETIO_ORIGIN_PREFIX) {
            return 0;
        }

        ngx_memcpy(&value, &p[2], sizeof(uint32_t));

        len = ngx_http_socketio_origin_packed(p[1], value);

        if ((size_t) (last - p) < len
            || p[NGX_HTTP_SOCKETIO_ORIGIN_PREFIX + p[1]] != '\0'
            || p[len - 1] != '\0')
        {
            return 0;
        }

        p += len;
    }

    return 1;
}


static ngx_uint_t
ngx_http_socketio_origin_valid_addr(u_char *data, size_t len)
{
    struct sockaddr  sa;

    if (len < offsetof(struct sockaddr, sa_data)
        || len > sizeof(ngx_sockaddr_t))
    {
        return 0;
    }

    ngx_memcpy(&sa, data, offsetof(struct sockaddr, sa_data));

    switch (sa.sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        return len == sizeof(struct sockaddr_in6);
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:
        return 1;
#endif

    case AF_INET:
        return len == sizeof(struct sockaddr_in);

    default:
        return 0;
    }
}
