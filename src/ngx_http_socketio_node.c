#include "ngx_http_socketio_queue.h"


static ngx_int_t
ngx_http_socketio_node_open(ngx_http_socketio_line_t *line)
{
    return NGX_OK;
}


static void
ngx_http_socketio_node_close(ngx_http_socketio_line_t *line)
{
}


static ngx_int_t
ngx_http_socketio_node_publish(ngx_http_socketio_line_t *line,
    ngx_http_socketio_command_t *cmd, ngx_uint_t n)
{
    return NGX_DONE;
}


static void
ngx_http_socketio_node_message(ngx_http_socketio_line_t *line,
    ngx_str_t *pattern, ngx_str_t *channel, ngx_str_t *payload)
{
}


const ngx_http_socketio_format_t  ngx_http_socketio_node = {
    ngx_string("node"),
    ngx_string("socket.io"),
    ngx_http_socketio_node_open,
    ngx_http_socketio_node_close,
    ngx_http_socketio_node_publish,
    ngx_http_socketio_node_message,
    NULL,
    NULL
};
