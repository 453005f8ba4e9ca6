
/*
 * Lists of sockets and rooms: one worker's part of a page, as rows that
 * whoever has asked puts together.
 *
 * Layer:      top.
 * Ownership:  rows are allocated from the worker's pool of the present entry.
 * Trust:      rows come from workers like this one; lengths are checked.
 * Reference:  README, "HTTP API"; ngx_sio_walk.h for the order.
 *
 *     row of a socket:   sid     length   JSON
 *     row of a room:     name    length   members (uint32_t)
 *
 * A worker gives the first rows behind the cursor, as many as were asked for
 * and as fit, and says MORE if there are others.  Behind the last row of such a
 * worker nothing can be said about the order.
 */


#ifndef _NGX_HTTP_SOCKETIO_LIST_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_LIST_H_INCLUDED_


#include "ngx_http_socketio_wire.h"


/* rows of a page */
#define NGX_HTTP_SOCKETIO_LIST_ROWS  1000

/*
 * Octets of rows in one result, unless a single row has more, and at most a
 * quarter of what the log carries at once: every worker sends so many.
 */
#define NGX_HTTP_SOCKETIO_LIST_SIZE  (256 * 1024)


typedef struct {
    ngx_str_t            name;        /* by which it has its place */
    ngx_str_t            json;        /* of a socket */
    ngx_uint_t           members;     /* of a room */
} ngx_http_socketio_row_t;


/*
 * Carries SOCKETS, SOCKET or ROOMS out: effect->rows, matched (how many), and
 * flags; CUT is set when rooms of a socket had to be left out.
 */
void ngx_http_socketio_list(ngx_http_socketio_worker_t *w,
    ngx_http_socketio_command_t *cmd, ngx_http_socketio_effect_t *effect);

/*
 * Takes the next row; *pos begins at rows->data.  type is that of the command.
 *
 *   NGX_OK
 *   NGX_DONE      there are no more
 *   NGX_DECLINED  not a row
 */
ngx_int_t ngx_http_socketio_list_row(ngx_str_t *rows, ngx_uint_t type,
    u_char **pos, ngx_http_socketio_row_t *row);

/* Whether a row that may be another host's can be read as JSON. */
ngx_uint_t ngx_http_socketio_list_readable(ngx_uint_t type,
    ngx_http_socketio_row_t *row);


#endif /* _NGX_HTTP_SOCKETIO_LIST_H_INCLUDED_ */
