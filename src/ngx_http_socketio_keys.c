#include "ngx_http_socketio_keys.h"
#include "ngx_http_socketio_conf.h"
#include "ngx_sio_base64.h"


#define NGX_HTTP_SOCKETIO_KEYS_MAX_FILE    65536
#define NGX_HTTP_SOCKETIO_KEYS_MIN_SECRET  24


/* Puts one written secret or key into keys.  NULL, or what is wrong with it. */

typedef const char *(*ngx_http_socketio_keys_pt)(ngx_conf_t *cf,
    ngx_str_t *text, ngx_array_t *keys);


static char *ngx_http_socketio_keys_set(ngx_conf_t *cf, ngx_array_t **keys,
    ngx_http_socketio_keys_pt parse);
static ngx_int_t ngx_http_socketio_keys_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_array_t *keys, ngx_http_socketio_keys_pt parse);
static ngx_int_t ngx_http_socketio_keys_lines(ngx_conf_t *cf,
    ngx_str_t *name, ngx_str_t *text, ngx_array_t *keys,
    ngx_http_socketio_keys_pt parse);
static ngx_int_t ngx_http_socketio_keys_read(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);
static ngx_int_t ngx_http_socketio_keys_read_fd(ngx_conf_t *cf, ngx_fd_t fd,
    ngx_str_t *name, ngx_str_t *text);
static const char *ngx_http_socketio_keys_secret(ngx_conf_t *cf,
    ngx_str_t *text, ngx_array_t *keys);
static const char *ngx_http_socketio_keys_api_key(ngx_conf_t *cf,
    ngx_str_t *text, ngx_array_t *keys);
static const char *ngx_http_socketio_keys_push(ngx_array_t *keys,
    ngx_str_t *key);


char *
ngx_http_socketio_keys_secrets(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    return ngx_http_socketio_keys_set(cf, &lcf->webhook_secrets,
                                      ngx_http_socketio_keys_secret);
}


char *
ngx_http_socketio_keys_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_socketio_loc_conf_t *lcf = conf;

    return ngx_http_socketio_keys_set(cf, &lcf->api_keys,
                                      ngx_http_socketio_keys_api_key);
}


/*
 * Messages number the parameter or the line, since the text must stay out of
 * the log.
 */

static char *
ngx_http_socketio_keys_set(ngx_conf_t *cf, ngx_array_t **keys,
    ngx_http_socketio_keys_pt parse)
{
    ngx_str_t   *value, name;
    ngx_uint_t   i;
    const char  *err;

    if (*keys != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    switch (ngx_http_socketio_conf_alone(cf, "off")) {

    case NGX_OK:
        *keys = NULL;
        return NGX_CONF_OK;

    case NGX_DECLINED:
        break;

    default: /* NGX_ERROR */
        return NGX_CONF_ERROR;
    }

    *keys = ngx_array_create(cf->pool, cf->args->nelts - 1,
                             sizeof(ngx_str_t));
    if (*keys == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "file=", 5) == 0) {
            name.len = value[i].len - 5;
            name.data = value[i].data + 5;

            if (ngx_http_socketio_keys_file(cf, &name, *keys, parse)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        err = parse(cf, &value[i], *keys);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "parameter %ui of \"%V\" %s",
                               i, &value[0], err);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_socketio_keys_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_array_t *keys, ngx_http_socketio_keys_pt parse)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  n;

    if (name->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"file=\" names no file");
        return NGX_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_socketio_keys_read(cf, name, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    n = keys->nelts;

    rc = ngx_http_socketio_keys_lines(cf, name, &text, keys, parse);

    ngx_explicit_memzero(text.data, text.len);

    if (rc == NGX_OK && keys->nelts == n) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no keys in file \"%V\"", name);
        return NGX_ERROR;
    }

    return rc;
}


/* One key a line, white space around it and lines with "#" do not count. */

static ngx_int_t
ngx_http_socketio_keys_lines(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text, ngx_array_t *keys, ngx_http_socketio_keys_pt parse)
{
    u_char      *p, *last, *next;
    ngx_str_t    line;
    ngx_uint_t   n;
    const char  *err;

    p = text->data;
    last = text->data + text->len;

    for (n = 1; p < last; n++) {

        next = ngx_strlchr(p, last, LF);
        if (next == NULL) {
            next = last;
        }

        while (p < next && (*p == ' ' || *p == '\t')) {
            p++;
        }

        line.data = p;
        line.len = next - p;

        while (line.len && (line.data[line.len - 1] == ' '
                            || line.data[line.len - 1] == '\t'
                            || line.data[line.len - 1] == CR))
        {
            line.len--;
        }

        p = next + 1;

        if (line.len == 0 || line.data[0] == '#') {
            continue;
        }

        err = parse(cf, &line, keys);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "line %ui of file \"%V\" %s", n, name, err);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_keys_read(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    /* non-blocking: a pipe would make nginx wait for its writer */

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    rc = ngx_http_socketio_keys_read_fd(cf, fd, name, text);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    return rc;
}


static ngx_int_t
ngx_http_socketio_keys_read_fd(ngx_conf_t *cf, ngx_fd_t fd, ngx_str_t *name,
    ngx_str_t *text)
{
    off_t            size;
    ssize_t          n;
    ngx_file_info_t  fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a regular file", name);
        return NGX_ERROR;
    }

    size = ngx_file_size(&fi);

    if (size > NGX_HTTP_SOCKETIO_KEYS_MAX_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "file \"%V\" of %O bytes is too large for keys, "
                           "limit is %d",
                           name, size, NGX_HTTP_SOCKETIO_KEYS_MAX_FILE);
        return NGX_ERROR;
    }

    text->len = 0;
    text->data = ngx_pnalloc(cf->temp_pool, size + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, text->data, size);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", name);
        return NGX_ERROR;
    }

    text->len = n;

    return NGX_OK;
}


/* Standard Webhooks: "whsec_" and the key's octets in base64 */

static const char *
ngx_http_socketio_keys_secret(ngx_conf_t *cf, ngx_str_t *text,
    ngx_array_t *keys)
{
    size_t      len;
    u_char     *p, *last;
    ngx_str_t   key;

    len = sizeof("whsec_") - 1;

    if (text->len == 0) {
        return "is empty";
    }

    if (text->len < len || ngx_strncmp(text->data, "whsec_", len) != 0) {
        return "must begin with \"whsec_\"";
    }

    p = text->data + len;
    len = text->len - len;

    if (len == 0) {
        return "has nothing after \"whsec_\"";
    }

    key.data = ngx_pnalloc(cf->pool, ngx_sio_base64_decoded_length(len));
    if (key.data == NULL) {
        return "does not fit into memory";
    }

    if (ngx_sio_base64_decode_strict(key.data, p, len, &last) != NGX_OK) {
        return "is not base64 after \"whsec_\"";
    }

    key.len = last - key.data;

    if (key.len < NGX_HTTP_SOCKETIO_KEYS_MIN_SECRET) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "a webhook secret has only %uz octets, "
                           "Standard Webhooks asks for at least %d",
                           key.len, NGX_HTTP_SOCKETIO_KEYS_MIN_SECRET);
    }

    return ngx_http_socketio_keys_push(keys, &key);
}


static const char *
ngx_http_socketio_keys_api_key(ngx_conf_t *cf, ngx_str_t *text,
    ngx_array_t *keys)
{
    size_t     i;
    ngx_str_t  key;

    if (text->len == 0) {
        return "is empty";
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= 0x20 || text->data[i] >= 0x7f) {
            return "has a character that cannot be sent after \"Bearer\"";
        }
    }

    key.len = text->len;
    key.data = ngx_pstrdup(cf->pool, text);
    if (key.data == NULL) {
        return "does not fit into memory";
    }

    return ngx_http_socketio_keys_push(keys, &key);
}


static const char *
ngx_http_socketio_keys_push(ngx_array_t *keys, ngx_str_t *key)
{
    ngx_str_t   *k;
    ngx_uint_t   i;

    k = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (k[i].len == key->len
            && ngx_memcmp(k[i].data, key->data, key->len) == 0)
        {
            return "is given twice";
        }
    }

    k = ngx_array_push(keys);
    if (k == NULL) {
        return "does not fit into memory";
    }

    *k = *key;

    return NULL;
}
