
/*
 * JSONP polling: payloads in a script for clients that may only load
 * scripts, and payloads from the forms that these clients submit.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  everything is borrowed during the call.
 * Hostile:    every input byte comes from the network.
 * Reference:  engine.io, transports/polling-jsonp.
 */


#ifndef _NGX_SIO_JSONP_H_INCLUDED_
#define _NGX_SIO_JSONP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The script that hands a payload to callback number "index", of which only
 * the digits are written: ___eio[0]("...");  The payload is a text form of
 * either revision, well-formed UTF-8; it grows to six times its length at
 * most.  The writer returns the end of what it wrote.
 */
size_t ngx_sio_jsonp_length(ngx_str_t *index, ngx_str_t *payload);
u_char *ngx_sio_jsonp_write(u_char *dst, ngx_str_t *index,
    ngx_str_t *payload);

/*
 * Takes the payload from a submitted form, d=<payload>.  The result is never
 * longer than the form, dst may be the form itself, and nobody has checked
 * that it is UTF-8.  Of several the last counts.
 *
 *   NGX_OK        *payload is at dst, and may be empty
 *   NGX_DECLINED  there is no "d" in the form, which is to be ignored
 */
ngx_int_t ngx_sio_jsonp_decode(u_char *dst, ngx_str_t *form,
    ngx_str_t *payload);


#endif /* _NGX_SIO_JSONP_H_INCLUDED_ */
