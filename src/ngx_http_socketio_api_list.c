
/*
 * Lists of sockets and rooms: the workers' rows are put together to a page.
 *
 * All workers give their rows in the same order.  One that has more than it
 * gave ends what can be said: behind its last row there may be some of its own.
 * So the page ends at the first of these last rows, or when it is full, and
 * the next one begins behind it.
 */

#include "ngx_http_socketio_api.h"
#include "ngx_http_socketio_args.h"
#include "ngx_http_socketio_list.h"
#include "ngx_sio_base64.h"
#include "ngx_sio_utf8.h"
#include "ngx_sio_walk.h"


#define NGX_HTTP_SOCKETIO_API_LIST_SOCKETS  100    /* rows unless told */


typedef struct {
    ngx_array_t   rows;        /* ngx_http_socketio_row_t */
    ngx_str_t     end;         /* the last name that may be on the page, */
    ngx_uint_t    ends;        /* if some worker has more */
} ngx_http_socketio_api_list_t;


static ngx_int_t ngx_http_socketio_api_list_init(
    ngx_http_socketio_api_call_t *call, ngx_uint_t type);
static ngx_int_t ngx_http_socketio_api_list_namespace(
    ngx_http_socketio_api_call_t *call);
static ngx_int_t ngx_http_socketio_api_list_room(
    ngx_http_socketio_api_call_t *call);
static ngx_int_t ngx_http_socketio_api_list_limit(
    ngx_http_socketio_api_call_t *call, ngx_uint_t limit);
static ngx_int_t ngx_http_socketio_api_list_cursor(
    ngx_http_socketio_api_call_t *call);
static ngx_int_t ngx_http_socketio_api_list_arg(
    ngx_http_socketio_api_call_t *call, const char *name, ngx_str_t *value);
static ngx_int_t ngx_http_socketio_api_list_bad(
    ngx_http_socketio_api_call_t *call, const char *name, const char *what);
static ngx_int_t ngx_http_socketio_api_list_compare(ngx_uint_t type,
    ngx_str_t *a, ngx_str_t *b);
static int ngx_libc_cdecl ngx_http_socketio_api_list_sort_sockets(
    const void *a, const void *b);
static int ngx_libc_cdecl ngx_http_socketio_api_list_sort_rooms(
    const void *a, const void *b);
static int ngx_libc_cdecl ngx_http_socketio_api_list_sort_names(
    const void *a, const void *b);
static ngx_uint_t ngx_http_socketio_api_list_page(
    ngx_http_socketio_api_call_t *call, ngx_str_t *next);
static void ngx_http_socketio_api_list_complete(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);


ngx_int_t
ngx_http_socketio_api_list_parse_sockets(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t  rc;

    rc = ngx_http_socketio_api_list_init(call, NGX_HTTP_SOCKETIO_SOCKETS);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_api_list_room(call);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_api_list_limit(call,
                                        NGX_HTTP_SOCKETIO_API_LIST_SOCKETS);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_api_list_cursor(call);
    }

    return (rc == NGX_OK) ? ngx_http_socketio_api_list_namespace(call) : rc;
}


ngx_int_t
ngx_http_socketio_api_list_parse_rooms(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t  rc;

    rc = ngx_http_socketio_api_list_init(call, NGX_HTTP_SOCKETIO_ROOMS);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_api_list_limit(call,
                                              NGX_HTTP_SOCKETIO_LIST_ROWS);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_api_list_cursor(call);
    }

    return (rc == NGX_OK) ? ngx_http_socketio_api_list_namespace(call) : rc;
}


ngx_int_t
ngx_http_socketio_api_list_parse_socket(ngx_http_socketio_api_call_t *call,
    ngx_str_t *object)
{
    ngx_int_t  rc;

    rc = ngx_http_socketio_api_list_init(call, NGX_HTTP_SOCKETIO_SOCKET);

    if (rc != NGX_OK) {
        return rc;
    }

    call->wait.first = 1;
    call->command.target.to = &call->api->argument;
    call->command.target.nto = 1;

    if (call->api->argument.len > NGX_HTTP_SOCKETIO_MAX_NAME) {
        return ngx_http_socketio_api_list_bad(call, "sid",
                                              "is longer than 255 octets");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_api_list_init(ngx_http_socketio_api_call_t *call,
    ngx_uint_t type)
{
    ngx_http_socketio_api_list_t  *list;

    list = ngx_pcalloc(call->api->request->pool,
                       sizeof(ngx_http_socketio_api_list_t));

    if (list == NULL
        || ngx_array_init(&list->rows, call->api->request->pool, 16,
                          sizeof(ngx_http_socketio_row_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->data = list;
    call->command.type = type;
    call->wait.deadline = NGX_HTTP_SOCKETIO_API_TIMEOUT;

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_api_list_namespace(ngx_http_socketio_api_call_t *call)
{
    ngx_int_t   rc;
    ngx_str_t  *nsp;

    nsp = &call->command.target.nsp;

    rc = ngx_http_socketio_api_list_arg(call, "namespace", nsp);
    if (rc != NGX_OK) {
        return rc;
    }

    if (nsp->len == 0) {
        ngx_str_set(nsp, "/");
    }

    if (nsp->data[0] != '/') {
        return ngx_http_socketio_api_list_bad(call, "namespace",
                                              "must begin with a slash");
    }

    return ngx_http_socketio_api_declared(call);
}


static ngx_int_t
ngx_http_socketio_api_list_room(ngx_http_socketio_api_call_t *call)
{
    ngx_int_t   rc;
    ngx_str_t  *room;

    room = ngx_palloc(call->api->request->pool, sizeof(ngx_str_t));
    if (room == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_socketio_api_list_arg(call, "room", room);

    if (rc == NGX_OK && room->len) {
        call->command.target.to = room;
        call->command.target.nto = 1;
    }

    return rc;
}


static ngx_int_t
ngx_http_socketio_api_list_limit(ngx_http_socketio_api_call_t *call,
    ngx_uint_t limit)
{
    ngx_int_t  rc, n;
    ngx_str_t  value;

    rc = ngx_http_socketio_api_list_arg(call, "limit", &value);
    if (rc != NGX_OK) {
        return rc;
    }

    n = value.len ? ngx_atoi(value.data, value.len) : (ngx_int_t) limit;

    if (n < 1 || n > NGX_HTTP_SOCKETIO_LIST_ROWS) {
        return ngx_http_socketio_api_list_bad(call, "limit",
                                              "must be a number from 1 to "
                                              "1000");
    }

    call->command.id = n;

    return NGX_OK;
}


/* That of sockets is a sid, that of rooms a name in base64. */

static ngx_int_t
ngx_http_socketio_api_list_cursor(ngx_http_socketio_api_call_t *call)
{
    u_char     *p;
    size_t      len;
    ngx_int_t   rc;
    ngx_str_t   value, *token;

    rc = ngx_http_socketio_api_list_arg(call, "cursor", &value);

    if (rc != NGX_OK || value.len == 0) {
        return rc;
    }

    token = &call->command.token;

    if (call->command.type == NGX_HTTP_SOCKETIO_SOCKETS) {

        if (value.len != NGX_SIO_SOCKET_SID_LEN) {
            goto bad;
        }

        *token = value;
        return NGX_OK;
    }

    len = ngx_sio_base64_decoded_length(value.len);

    p = ngx_pnalloc(call->api->request->pool, len + value.len + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    token->data = p;
    token->len = ngx_sio_base64_decode(p, value.data, value.len) - p;

    /* what was not written by us is not what it looks like */

    if (token->len > NGX_HTTP_SOCKETIO_MAX_NAME
        || ngx_sio_base64_url_length(token->len) != value.len)
    {
        goto bad;
    }

    (void) ngx_sio_base64_url_write(p + len, token->data, token->len);

    if (ngx_memcmp(p + len, value.data, value.len) == 0) {
        return NGX_OK;
    }

bad:

    return ngx_http_socketio_api_list_bad(call, "cursor",
                                          "is not one of this list");
}


/* An argument of the query, or empty: names are bounded everywhere. */

static ngx_int_t
ngx_http_socketio_api_list_arg(ngx_http_socketio_api_call_t *call,
    const char *name, ngx_str_t *value)
{
    if (ngx_http_socketio_args_find(call->api->request, name, value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!ngx_sio_utf8_valid(value->data, value->len)) {
        return ngx_http_socketio_api_list_bad(call, name, "is not UTF-8");
    }

    /* the cursor of a room is its name in base64 */

    if (value->len > 2 * NGX_HTTP_SOCKETIO_MAX_NAME
        || (value->len > NGX_HTTP_SOCKETIO_MAX_NAME
            && ngx_strcmp(name, "cursor") != 0))
    {
        return ngx_http_socketio_api_list_bad(call, name,
                                              "is longer than 255 octets");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_socketio_api_list_bad(ngx_http_socketio_api_call_t *call,
    const char *name, const char *what)
{
    ngx_http_socketio_api_fail(call, NGX_HTTP_BAD_REQUEST, "bad_request",
                               "\"%s\" %s", name, what);

    return NGX_DECLINED;
}


void
ngx_http_socketio_api_list_rows(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_result_t *result, ngx_str_t *rows)
{
    u_char                        *pos;
    ngx_int_t                      rc;
    ngx_str_t                      copy, last;
    ngx_uint_t                     type;
    ngx_http_socketio_row_t        row, *new;
    ngx_http_socketio_api_list_t  *list;

    list = call->data;
    type = call->command.type;

    if (result->flags & NGX_HTTP_SOCKETIO_RESULT_CUT) {
        call->wait.incomplete = 1;
    }

    if (rows->len == 0 || !ngx_http_socketio_api_hold(call, rows->len)) {
        return;
    }

    copy.len = rows->len;
    copy.data = ngx_pstrdup(call->api->request->pool, rows);

    if (copy.data == NULL) {
        call->wait.incomplete = 1;
        return;
    }

    ngx_str_null(&last);
    pos = copy.data;

    for ( ;; ) {
        rc = ngx_http_socketio_list_row(&copy, type, &pos, &row);
        if (rc != NGX_OK) {
            break;
        }

        if (call->api->worker->bridge != NULL
            && !ngx_http_socketio_list_readable(type, &row))
        {
            rc = NGX_DECLINED;
            break;
        }

        new = ngx_array_push(&list->rows);

        if (new == NULL) {
            rc = NGX_ERROR;
            break;
        }

        *new = row;
        last = row.name;
    }

    if (rc != NGX_DONE) {
        call->wait.incomplete = 1;
    }

    if ((result->flags & NGX_HTTP_SOCKETIO_RESULT_MORE) && last.len
        && (!list->ends
            || ngx_http_socketio_api_list_compare(type, &last, &list->end)
               < 0))
    {
        list->end = last;
        list->ends = 1;
    }
}


static ngx_int_t
ngx_http_socketio_api_list_compare(ngx_uint_t type, ngx_str_t *a, ngx_str_t *b)
{
    if (type == NGX_HTTP_SOCKETIO_ROOMS) {
        return ngx_sio_walk_compare(a, b);
    }

    return ngx_sio_sid_compare(a->data, b->data, NGX_SIO_SOCKET_SID_LEN);
}


static int ngx_libc_cdecl
ngx_http_socketio_api_list_sort_sockets(const void *a, const void *b)
{
    const ngx_http_socketio_row_t *x = a, *y = b;

    return (int) ngx_sio_sid_compare(x->name.data, y->name.data,
                                     NGX_SIO_SOCKET_SID_LEN);
}


static int ngx_libc_cdecl
ngx_http_socketio_api_list_sort_rooms(const void *a, const void *b)
{
    ngx_http_socketio_row_t *x = (void *) a, *y = (void *) b;

    return (int) ngx_sio_walk_compare(&x->name, &y->name);
}


/* For people. */

static int ngx_libc_cdecl
ngx_http_socketio_api_list_sort_names(const void *a, const void *b)
{
    const ngx_http_socketio_row_t *x = a, *y = b;

    return (int) ngx_memn2cmp(x->name.data, y->name.data, x->name.len,
                              y->name.len);
}


/*
 * Brings the rows in order, those of one room together, and keeps the page: its
 * first rows.  Returns how many; *next is the cursor, empty if this was all.
 */

static ngx_uint_t
ngx_http_socketio_api_list_page(ngx_http_socketio_api_call_t *call,
    ngx_str_t *next)
{
    ngx_uint_t                     i, n, type, more;
    ngx_http_socketio_row_t       *row;
    ngx_http_socketio_api_list_t  *list;

    list = call->data;
    row = list->rows.elts;
    type = call->command.type;

    ngx_qsort(row, list->rows.nelts, sizeof(ngx_http_socketio_row_t),
              type == NGX_HTTP_SOCKETIO_ROOMS
              ? ngx_http_socketio_api_list_sort_rooms
              : ngx_http_socketio_api_list_sort_sockets);

    n = 0;
    more = list->ends;

    for (i = 0; i < list->rows.nelts; i++) {

        if (n && row[n - 1].name.len == row[i].name.len
            && ngx_memcmp(row[n - 1].name.data, row[i].name.data,
                          row[i].name.len)
               == 0)
        {
            row[n - 1].members += row[i].members;
            continue;
        }

        if (list->ends
            && ngx_http_socketio_api_list_compare(type, &row[i].name,
                                                  &list->end)
               > 0)
        {
            break;
        }

        if (n == call->command.id) {
            more = 1;
            break;
        }

        row[n++] = row[i];
    }

    ngx_str_null(next);

    if (more && n) {
        *next = row[n - 1].name;
    }

    return n;
}


void
ngx_http_socketio_api_list_answer_sockets(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_str_t                      next;
    ngx_uint_t                     i, n;
    ngx_http_socketio_row_t       *row;
    ngx_http_socketio_api_list_t  *list;

    list = call->data;
    row = list->rows.elts;

    n = ngx_http_socketio_api_list_page(call, &next);

    ngx_http_socketio_api_text_literal(text, "{\"sockets\":[");

    for (i = 0; i < n; i++) {

        if (i > 0) {
            ngx_http_socketio_api_text_literal(text, ",");
        }

        ngx_http_socketio_api_text_put(text, row[i].json.data,
                                       row[i].json.len);
    }

    ngx_http_socketio_api_list_complete(call, text);

    if (next.len) {
        ngx_http_socketio_api_text_literal(text, ",\"cursor\":");
        ngx_http_socketio_api_text_string(text, &next);
        ngx_http_socketio_api_text_literal(text, "}");

    } else {
        ngx_http_socketio_api_text_literal(text, ",\"cursor\":null}");
    }
}


void
ngx_http_socketio_api_list_answer_socket(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    ngx_http_socketio_row_t       *row;
    ngx_http_socketio_api_list_t  *list;

    list = call->data;
    row = list->rows.elts;

    if (list->rows.nelts == 0 && call->wait.incomplete) {
        ngx_http_socketio_api_incomplete(call);

    } else if (list->rows.nelts == 0) {
        ngx_http_socketio_api_fail(call, NGX_HTTP_NOT_FOUND, "unknown_socket",
                                   "no socket with this sid is connected");

    } else {
        ngx_http_socketio_api_text_put(text, row[0].json.data,
                                       row[0].json.len);
    }
}


void
ngx_http_socketio_api_list_answer_rooms(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    u_char                        *p;
    ngx_str_t                      next, cursor;
    ngx_uint_t                     i, n;
    ngx_http_socketio_row_t       *row;
    ngx_http_socketio_api_list_t  *list;

    list = call->data;
    row = list->rows.elts;

    n = ngx_http_socketio_api_list_page(call, &next);

    ngx_qsort(row, n, sizeof(ngx_http_socketio_row_t),
              ngx_http_socketio_api_list_sort_names);

    ngx_http_socketio_api_text_literal(text, "{\"rooms\":[");

    for (i = 0; i < n; i++) {

        if (i > 0) {
            ngx_http_socketio_api_text_literal(text, ",");
        }

        ngx_http_socketio_api_text_literal(text, "{\"name\":");
        ngx_http_socketio_api_text_string(text, &row[i].name);
        ngx_http_socketio_api_text_literal(text, ",\"sockets\":");
        ngx_http_socketio_api_text_uint(text, row[i].members);
        ngx_http_socketio_api_text_literal(text, "}");
    }

    ngx_http_socketio_api_list_complete(call, text);

    if (next.len) {
        cursor.len = ngx_sio_base64_url_length(next.len);
        cursor.data = ngx_pnalloc(text->pool, cursor.len);

        if (cursor.data == NULL) {
            text->failed = 1;
            return;
        }

        p = ngx_sio_base64_url_write(cursor.data, next.data, next.len);
        cursor.len = p - cursor.data;

        ngx_http_socketio_api_text_literal(text, ",\"cursor\":");
        ngx_http_socketio_api_text_string(text, &cursor);
    }

    ngx_http_socketio_api_text_literal(text, "}");
}


static void
ngx_http_socketio_api_list_complete(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_api_text_t *text)
{
    if (call->wait.incomplete) {
        ngx_http_socketio_api_text_literal(text, "],\"complete\":false");

    } else {
        ngx_http_socketio_api_text_literal(text, "],\"complete\":true");
    }
}
