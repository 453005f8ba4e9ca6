#include "ngx_http_socketio_parse.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"
#include "ngx_sio_packet.h"
#include "ngx_sio_utf8.h"


static ngx_int_t ngx_http_socketio_parse_emit_event(
    ngx_http_socketio_parse_t *p, ngx_str_t *event);
static ngx_int_t ngx_http_socketio_parse_emit_target(
    ngx_http_socketio_parse_t *p, ngx_str_t *values, ngx_sio_target_t *t);
static ngx_int_t ngx_http_socketio_parse_emit_flags(
    ngx_http_socketio_parse_t *p, ngx_str_t *values,
    ngx_http_socketio_emit_t *emit);
static ngx_int_t ngx_http_socketio_parse_emit_json(
    ngx_http_socketio_parse_t *p, ngx_str_t *event, ngx_str_t *args,
    ngx_str_t *json);
static ngx_int_t ngx_http_socketio_parse_list(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t **list, ngx_uint_t *n);
static ngx_int_t ngx_http_socketio_parse_octets(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *octets);
static ngx_int_t ngx_http_socketio_parse_fail(ngx_http_socketio_parse_t *p,
    const char *name, const char *what);


/* indexes of the members of an emit */

enum {
    NGX_HTTP_SOCKETIO_PARSE_EVENT = 0,
    NGX_HTTP_SOCKETIO_PARSE_ARGS,
    NGX_HTTP_SOCKETIO_PARSE_TO,
    NGX_HTTP_SOCKETIO_PARSE_EXCEPT,
    NGX_HTTP_SOCKETIO_PARSE_NAMESPACE,
    NGX_HTTP_SOCKETIO_PARSE_BROADCAST,
    NGX_HTTP_SOCKETIO_PARSE_VOLATILE,
    NGX_HTTP_SOCKETIO_PARSE_ATTACHMENTS,
    NGX_HTTP_SOCKETIO_PARSE_ACK,
    NGX_HTTP_SOCKETIO_PARSE_MEMBERS
};


static const ngx_str_t
    ngx_http_socketio_parse_emit_names[NGX_HTTP_SOCKETIO_PARSE_MEMBERS] = {
    ngx_string("event"),
    ngx_string("args"),
    ngx_string("to"),
    ngx_string("except"),
    ngx_string("namespace"),
    ngx_string("broadcast"),
    ngx_string("volatile"),
    ngx_string("attachments"),
    ngx_string("ack")
};


/* protocol.md 5: what a client would take for an event of its own library */

static const char  *ngx_http_socketio_parse_reserved[] = {
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
    NULL
};


ngx_int_t
ngx_http_socketio_parse_text(ngx_http_socketio_parse_t *p, ngx_str_t *text,
    ngx_str_t *value)
{
    if (!ngx_sio_utf8_valid(text->data, text->len)) {
        return ngx_http_socketio_parse_fail(p, NULL, "the text is not UTF-8");
    }

    if (ngx_sio_json_text(text, NGX_HTTP_SOCKETIO_MAX_DEPTH, value)
        != NGX_OK)
    {
        return ngx_http_socketio_parse_fail(p, NULL, "the text is not JSON, "
                                            "or nested too deeply");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_parse_object(ngx_http_socketio_parse_t *p, ngx_str_t *text,
    const ngx_str_t *names, ngx_uint_t n, ngx_str_t *values)
{
    if (!ngx_sio_utf8_valid(text->data, text->len)) {
        return ngx_http_socketio_parse_fail(p, NULL, "the text is not UTF-8");
    }

    if (ngx_sio_json_members(text, NGX_HTTP_SOCKETIO_MAX_DEPTH, names, n,
                             values)
        != NGX_OK)
    {
        return ngx_http_socketio_parse_fail(p, NULL, "the text is not an "
                                            "object in JSON, or nested too "
                                            "deeply");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_parse_emit(ngx_http_socketio_parse_t *p, ngx_str_t *object,
    ngx_http_socketio_emit_t *emit)
{
    ngx_int_t   rc;
    ngx_str_t   args, *raw, values[NGX_HTTP_SOCKETIO_PARSE_MEMBERS];
    ngx_uint_t  i;

    ngx_memzero(emit, sizeof(ngx_http_socketio_emit_t));

    if (ngx_sio_json_type(object) != NGX_SIO_JSON_OBJECT) {
        return ngx_http_socketio_parse_fail(p, NULL,
                                            "an emit must be an object");
    }

    ngx_http_socketio_parse_members(object, ngx_http_socketio_parse_emit_names,
                                    NGX_HTTP_SOCKETIO_PARSE_MEMBERS, values);

    for (i = 0; i < NGX_HTTP_SOCKETIO_PARSE_MEMBERS; i++) {
        if (ngx_http_socketio_parse_absent(&values[i])) {
            ngx_str_null(&values[i]);
        }
    }

    rc = ngx_http_socketio_parse_emit_event(p,
                                     &values[NGX_HTTP_SOCKETIO_PARSE_EVENT]);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_null(&args);

    raw = &values[NGX_HTTP_SOCKETIO_PARSE_ARGS];

    if (raw->len) {
        rc = ngx_http_socketio_parse_args(p, "args", raw, &args);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_socketio_parse_emit_target(p, values, &emit->target);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_socketio_parse_emit_flags(p, values, emit);
    if (rc != NGX_OK) {
        return rc;
    }

    if (values[NGX_HTTP_SOCKETIO_PARSE_ATTACHMENTS].len) {
        rc = ngx_http_socketio_parse_attachments(p, "attachments",
                          &values[NGX_HTTP_SOCKETIO_PARSE_ATTACHMENTS], raw,
                          &emit->attachments, &emit->nattachments);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    emit->ack = values[NGX_HTTP_SOCKETIO_PARSE_ACK];

    return ngx_http_socketio_parse_emit_json(p,
                                     &values[NGX_HTTP_SOCKETIO_PARSE_EVENT],
                                     &args, &emit->json);
}


ngx_int_t
ngx_http_socketio_parse_names(ngx_http_socketio_parse_t *p, const char *name,
    ngx_str_t *value, ngx_str_t **names, ngx_uint_t *n)
{
    ngx_int_t        rc;
    ngx_str_t       *list;
    ngx_uint_t       i, nlist;
    ngx_sio_json_e   type;

    type = ngx_sio_json_type(value);

    if (type == NGX_SIO_JSON_STRING) {
        list = value;
        nlist = 1;

    } else if (type == NGX_SIO_JSON_ARRAY) {
        rc = ngx_http_socketio_parse_list(p, name, value, &list, &nlist);
        if (rc != NGX_OK) {
            return rc;
        }

    } else {
        return ngx_http_socketio_parse_fail(p, name, "must be a string or a "
                                            "list of strings");
    }

    *n = nlist;
    *names = NULL;

    if (nlist == 0) {
        return NGX_OK;
    }

    *names = ngx_palloc(p->pool, nlist * sizeof(ngx_str_t));
    if (*names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < nlist; i++) {

        if (ngx_sio_json_type(&list[i]) != NGX_SIO_JSON_STRING) {
            return ngx_http_socketio_parse_fail(p, name, "must be a string or "
                                                "a list of strings");
        }

        rc = ngx_http_socketio_parse_name(p, name, &list[i], &(*names)[i]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_parse_name(ngx_http_socketio_parse_t *p, const char *name,
    ngx_str_t *value, ngx_str_t *result)
{
    size_t  len;

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_STRING) {
        return ngx_http_socketio_parse_fail(p, name, "must be a string");
    }

    len = ngx_sio_json_string_length(value);

    if (len == 0) {
        return ngx_http_socketio_parse_fail(p, name,
                                            "must not be an empty string");
    }

    if (len > NGX_HTTP_SOCKETIO_MAX_NAME) {
        return ngx_http_socketio_parse_fail(p, name,
                                            "is longer than 255 octets");
    }

    /* without escapes the text itself is the name */

    if (len == value->len - 2) {
        result->data = value->data + 1;
        result->len = len;
        return NGX_OK;
    }

    result->data = ngx_pnalloc(p->pool, len);
    if (result->data == NULL) {
        return NGX_ERROR;
    }

    result->len = ngx_sio_json_string_write(result->data, value)
                  - result->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_parse_namespace(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *nsp)
{
    ngx_int_t  rc;

    rc = ngx_http_socketio_parse_name(p, name, value, nsp);
    if (rc != NGX_OK) {
        return rc;
    }

    if (nsp->data[0] != '/') {
        return ngx_http_socketio_parse_fail(p, name,
                                            "must begin with a slash");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_parse_flag(ngx_http_socketio_parse_t *p, const char *name,
    ngx_str_t *value, ngx_uint_t *flag)
{
    switch (ngx_sio_json_type(value)) {

    case NGX_SIO_JSON_TRUE:
        *flag = 1;
        return NGX_OK;

    case NGX_SIO_JSON_FALSE:
        *flag = 0;
        return NGX_OK;

    default:
        return ngx_http_socketio_parse_fail(p, name,
                                            "must be true or false");
    }
}


ngx_int_t
ngx_http_socketio_parse_args(ngx_http_socketio_parse_t *p, const char *name,
    ngx_str_t *value, ngx_str_t *inside)
{
    u_char  *pos, *end;

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_ARRAY) {
        return ngx_http_socketio_parse_fail(p, name, "must be a list");
    }

    pos = value->data + 1;
    end = value->data + value->len - 1;

    while (pos < end
           && (*pos == ' ' || *pos == '\t' || *pos == LF || *pos == CR))
    {
        pos++;
    }

    inside->data = pos;
    inside->len = end - pos;

    return NGX_OK;
}


ngx_int_t
ngx_http_socketio_parse_attachments(ngx_http_socketio_parse_t *p,
    const char *name, ngx_str_t *value, ngx_str_t *args,
    ngx_str_t **attachments, ngx_uint_t *n)
{
    ngx_int_t    rc;
    ngx_str_t   *list, *octets;
    ngx_uint_t   i, nlist;

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_ARRAY) {
        return ngx_http_socketio_parse_fail(p, name, "must be a list of "
                                            "base64 strings");
    }

    rc = ngx_http_socketio_parse_list(p, name, value, &list, &nlist);
    if (rc != NGX_OK) {
        return rc;
    }

    *attachments = NULL;
    *n = 0;

    if (nlist == 0) {
        return NGX_OK;
    }

    if (nlist > p->max_attachments) {
        return ngx_http_socketio_parse_fail(p, name, "are more than "
                                            "socketio_max_attachments");
    }

    octets = ngx_palloc(p->pool, nlist * sizeof(ngx_str_t));
    if (octets == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < nlist; i++) {
        rc = ngx_http_socketio_parse_octets(p, name, &list[i], &octets[i]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (args->len && ngx_sio_packet_placeholders(args, nlist) != NGX_OK) {
        return ngx_http_socketio_parse_fail(p, name, "do not match the "
                                            "placeholders");
    }

    *attachments = octets;
    *n = nlist;

    return NGX_OK;
}


void
ngx_http_socketio_parse_members(ngx_str_t *object, const ngx_str_t *names,
    ngx_uint_t n, ngx_str_t *values)
{
    /* what the scanner has handed out is well-formed */

    if (ngx_sio_json_members(object, NGX_SIO_JSON_MAX_DEPTH, names, n, values)
        != NGX_OK)
    {
        ngx_memzero(values, n * sizeof(ngx_str_t));
    }
}


static ngx_int_t
ngx_http_socketio_parse_emit_event(ngx_http_socketio_parse_t *p,
    ngx_str_t *event)
{
    ngx_str_t    name;
    const char **reserved;

    if (event->len == 0) {
        return ngx_http_socketio_parse_fail(p, "event", "is missing");
    }

    if (ngx_sio_json_type(event) != NGX_SIO_JSON_STRING) {
        return ngx_http_socketio_parse_fail(p, "event", "must be a string");
    }

    for (reserved = ngx_http_socketio_parse_reserved; *reserved; reserved++) {
        name.data = (u_char *) *reserved;
        name.len = ngx_strlen(*reserved);

        if (ngx_sio_json_string_equal(event, &name)) {
            return ngx_http_socketio_parse_fail(p, *reserved,
                                                "is a reserved event name");
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_parse_emit_target(ngx_http_socketio_parse_t *p,
    ngx_str_t *values, ngx_sio_target_t *t)
{
    ngx_int_t   rc;
    ngx_str_t  *value;

    value = &values[NGX_HTTP_SOCKETIO_PARSE_TO];

    if (value->len) {
        rc = ngx_http_socketio_parse_names(p, "to", value, &t->to, &t->nto);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    value = &values[NGX_HTTP_SOCKETIO_PARSE_EXCEPT];

    if (value->len) {
        rc = ngx_http_socketio_parse_names(p, "except", value, &t->except,
                                           &t->nexcept);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    value = &values[NGX_HTTP_SOCKETIO_PARSE_NAMESPACE];

    if (value->len) {
        return ngx_http_socketio_parse_namespace(p, "namespace", value,
                                                 &t->nsp);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_parse_emit_flags(ngx_http_socketio_parse_t *p,
    ngx_str_t *values, ngx_http_socketio_emit_t *emit)
{
    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   flag;

    value = &values[NGX_HTTP_SOCKETIO_PARSE_BROADCAST];

    if (value->len) {
        rc = ngx_http_socketio_parse_flag(p, "broadcast", value, &flag);
        if (rc != NGX_OK) {
            return rc;
        }

        emit->broadcast = flag;
    }

    value = &values[NGX_HTTP_SOCKETIO_PARSE_VOLATILE];

    if (value->len) {
        rc = ngx_http_socketio_parse_flag(p, "volatile", value, &flag);
        if (rc != NGX_OK) {
            return rc;
        }

        emit->is_volatile = flag;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_parse_emit_json(ngx_http_socketio_parse_t *p,
    ngx_str_t *event, ngx_str_t *args, ngx_str_t *json)
{
    u_char  *last;

    /* both are parts of one text, so the sum cannot overflow */

    json->len = event->len + args->len + sizeof("[,]") - 1;

    json->data = ngx_pnalloc(p->pool, json->len);
    if (json->data == NULL) {
        return NGX_ERROR;
    }

    last = json->data;

    *last++ = '[';
    last = ngx_cpymem(last, event->data, event->len);

    if (args->len) {
        *last++ = ',';
        last = ngx_cpymem(last, args->data, args->len);
    }

    *last++ = ']';

    json->len = last - json->data;

    return NGX_OK;
}


/*
 * An array of the raw elements.  They are counted first, since a hostile list
 * should not cost more memory than it has elements.
 */

static ngx_int_t
ngx_http_socketio_parse_list(ngx_http_socketio_parse_t *p, const char *name,
    ngx_str_t *value, ngx_str_t **list, ngx_uint_t *n)
{
    ngx_str_t            element;
    ngx_uint_t           i, count;
    ngx_sio_json_iter_t  it;

    count = 0;

    ngx_sio_json_iter(&it, value);

    while (ngx_sio_json_element(&it, &element) == NGX_OK) {
        count++;
    }

    *list = NULL;
    *n = count;

    if (count == 0) {
        return NGX_OK;
    }

    if (count > NGX_MAX_SIZE_T_VALUE / sizeof(ngx_str_t)) {
        return ngx_http_socketio_parse_fail(p, name, "is too long");
    }

    *list = ngx_palloc(p->pool, count * sizeof(ngx_str_t));
    if (*list == NULL) {
        return NGX_ERROR;
    }

    ngx_sio_json_iter(&it, value);

    for (i = 0; i < count; i++) {
        (void) ngx_sio_json_element(&it, &(*list)[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_parse_octets(ngx_http_socketio_parse_t *p, const char *name,
    ngx_str_t *value, ngx_str_t *octets)
{
    u_char  *last;

    if (ngx_sio_json_type(value) != NGX_SIO_JSON_STRING) {
        return ngx_http_socketio_parse_fail(p, name, "must be a list of "
                                            "base64 strings");
    }

    octets->data = ngx_pnalloc(p->pool, value->len);
    if (octets->data == NULL) {
        return NGX_ERROR;
    }

    /* first as JSON: PHP, for one, escapes the slashes */

    last = ngx_sio_json_string_write(octets->data, value);

    if (ngx_sio_base64_decode_strict(octets->data, octets->data,
                                     last - octets->data, &last)
        != NGX_OK)
    {
        return ngx_http_socketio_parse_fail(p, name, "must be a list of "
                                            "base64 strings");
    }

    octets->len = last - octets->data;

    return NGX_OK;
}


/* '"<name>" <what>', or <what> alone */

static ngx_int_t
ngx_http_socketio_parse_fail(ngx_http_socketio_parse_t *p, const char *name,
    const char *what)
{
    u_char  *last;

    last = p->text;

    /* both are short and ours: names of members, literals from above */

    if (name) {
        *last++ = '"';
        last = ngx_cpymem(last, name, ngx_strlen(name));
        *last++ = '"';
        *last++ = ' ';
    }

    last = ngx_cpymem(last, what, ngx_strlen(what));

    p->error.data = p->text;
    p->error.len = last - p->text;

    return NGX_DECLINED;
}
