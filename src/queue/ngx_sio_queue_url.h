
/*
 * The address of a message queue.
 *
 * Layer:      queue; nginx core types.
 * Ownership:  all of it is in the pool of the configuration.
 * Trust:      written by the administrator.
 * Reference:  queues.md 6.1.
 *
 *     redis://[[user][:password]@]host[:port][/db][?option=value&...]
 *     rediss://...
 *     unix://[[user][:password]@]/path[?option=value&...]
 *
 * Options: db=n; for TLS ssl_ca_certs=file, ssl_certfile=file,
 * ssl_keyfile=file, ssl_cert_reqs=required|none.
 */


#ifndef _NGX_SIO_QUEUE_URL_H_INCLUDED_
#define _NGX_SIO_QUEUE_URL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef enum {
    NGX_SIO_QUEUE_REDIS = 1
} ngx_sio_queue_broker_e;


typedef struct {
    ngx_uint_t           broker;         /* ngx_sio_queue_broker_e */
    ngx_str_t            shown;          /* without the password, for logs */
    ngx_str_t            user;
    ngx_str_t            password;       /* both percent-decoded */
    ngx_str_t            host;           /* a name or address; for TLS too */
    in_port_t            port;
    ngx_uint_t           db;
    ngx_addr_t          *addrs;          /* resolved; of a unix socket one */
    ngx_uint_t           naddrs;

    ngx_ssl_t           *ssl;            /* NULL: without TLS */
    char                *server_name;    /* for SNI; NULL: an address */

    unsigned             unix_socket:1;
    unsigned             verify:1;       /* the peer's certificate */
} ngx_sio_queue_url_t;


/*
 * Parses text while the configuration is read; a name is not resolved yet.
 *
 *   NGX_OK
 *   NGX_ERROR   logged, with what is wrong, file and line
 */
ngx_int_t ngx_sio_queue_url_parse(ngx_conf_t *cf, ngx_str_t *text,
    ngx_sio_queue_url_t *url);

/*
 * Resolves what is a name, blocking, as nginx does in its configuration; for
 * those who have no resolver.  Codes as above.
 */
ngx_int_t ngx_sio_queue_url_resolve(ngx_conf_t *cf, ngx_sio_queue_url_t *url);


#endif /* _NGX_SIO_QUEUE_URL_H_INCLUDED_ */
