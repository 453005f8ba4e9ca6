/*
 * Differences between nginx releases, 1.22 and later, in one place.
 *
 * Layer:      base.  Macros only; whoever uses one that names ngx_http_...
 *             types includes ngx_http.h itself.
 * Reference:  CHANGES of nginx.
 */


#ifndef _NGX_SIO_COMPAT_H_INCLUDED_
#define _NGX_SIO_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#if (nginx_version < 1022000)
#error nginx 1.22.0 or later is required
#endif


/*
 * A module that was configured without TLS would send plain text into the
 * TLS connections of a server that has it, since it loads without a word.
 */

#if !(NGX_HTTP_SSL)
#error TLS is missing: configure with the options that nginx -V prints
#endif


/*
 * Repeated headers are linked since 1.23.0: an element that was pushed to a
 * list holds garbage in "next" until it is cleared, as all of its fields do.
 */

#define ngx_sio_table_elt_init(h)  ngx_memzero(h, sizeof(ngx_table_elt_t))


/* A hint; the address may be anything. */

#if (__GNUC__ || __clang__)
#define ngx_sio_prefetch(p)  __builtin_prefetch(p)
#else
#define ngx_sio_prefetch(p)
#endif


#endif /* _NGX_SIO_COMPAT_H_INCLUDED_ */
