
/*
 * Base64, written strictly and read in two ways: as leniently as Node does,
 * for what clients send, and exactly, for what the API is given.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  everything is borrowed during the call.
 * Hostile:    every input byte comes from the network.
 * Reference:  RFC 4648, sections 4 and 5; Node's Buffer.from(s, 'base64').
 */


#ifndef _NGX_SIO_BASE64_H_INCLUDED_
#define _NGX_SIO_BASE64_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* standard alphabet, padded; the writer returns the end of what it wrote */
size_t ngx_sio_base64_length(size_t len);
u_char *ngx_sio_base64_write(u_char *dst, const u_char *p, size_t len);

/* URL-safe alphabet, not padded */
size_t ngx_sio_base64_url_length(size_t len);
u_char *ngx_sio_base64_url_write(u_char *dst, const u_char *p, size_t len);


/* room that is enough for what any len characters decode to */
size_t ngx_sio_base64_decoded_length(size_t len);

/*
 * Decodes both alphabets, skips foreign characters, stops at the padding,
 * and drops bits that do not make an octet; it cannot fail.  Returns the end
 * of what was written.  dst may be the source itself.
 */
u_char *ngx_sio_base64_decode(u_char *dst, const u_char *p, size_t len);

/*
 * Decodes standard, padded, canonical base64 and nothing else.  dst may be
 * the source itself.
 *
 *   NGX_OK        *last is the end of what was written
 *   NGX_DECLINED  not what an encoder writes; dst may have been written to
 */
ngx_int_t ngx_sio_base64_decode_strict(u_char *dst, const u_char *p,
    size_t len, u_char **last);


#endif /* _NGX_SIO_BASE64_H_INCLUDED_ */
