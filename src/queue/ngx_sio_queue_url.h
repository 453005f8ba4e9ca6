
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
 *     unix://[[user][:password]@]/path[?db=n]
 */


#ifndef _NGX_SIO_QUEUE_URL_H_INCLUDED_
#define _NGX_SIO_QUEUE_URL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


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

    ngx_str_t            ca_file;        /* TLS; empty: the system's */
    ngx_str_t            cert_file;
    ngx_str_t            key_file;

    unsigned             unix_socket:1;
    unsigned             tls:1;
    unsigned             verify:1;       /* the peer's certificate */
} ngx_sio_queue_url_t;


/*
 * Parses text.  Without "later" the host is resolved now, as nginx resolves
 * names in its configuration; with it only what is an address is.
 *
 *   NGX_OK
 *   NGX_DECLINED  *error says what is wrong with it, in a few words
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_queue_url_parse(ngx_pool_t *pool, ngx_str_t *text,
    ngx_uint_t later, ngx_sio_queue_url_t *url, const char **error);


#endif /* _NGX_SIO_QUEUE_URL_H_INCLUDED_ */
