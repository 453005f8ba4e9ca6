
/*
 * UTF-8: validation that survives being cut anywhere, and repair.
 *
 * Layer:      codec.  No sockets, timers, pools, configuration or logging.
 * Ownership:  everything is borrowed during the call.
 * Hostile:    every input byte comes from the network.
 * Reference:  RFC 3629; WHATWG Encoding, "UTF-8 decoder".
 */


#ifndef _NGX_SIO_UTF8_H_INCLUDED_
#define _NGX_SIO_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* all zero stands between two characters: a fresh or a finished text */

typedef struct {
    u_char  need;           /* octets missing in the open character */
    u_char  lower;          /* bounds of the next octet while need != 0 */
    u_char  upper;
} ngx_sio_utf8_t;


/*
 * Continues a text with the next octets.
 *
 *   NGX_OK        well-formed so far; a character may be open
 *   NGX_DECLINED  no continuation can make this text well-formed
 */
ngx_int_t ngx_sio_utf8_feed(ngx_sio_utf8_t *u, const u_char *p, size_t len);

/*
 * Tells whether the text may end here.
 *
 *   NGX_OK        no character is open
 *   NGX_DECLINED  the last character is cut off
 */
ngx_int_t ngx_sio_utf8_done(ngx_sio_utf8_t *u);

/* 1 if the octets are a complete well-formed text, 0 otherwise */
ngx_uint_t ngx_sio_utf8_valid(const u_char *p, size_t len);

/*
 * Replaces each maximal ill-formed part by U+FFFD, as a browser or Node does.
 * The text may grow to three times its length at most.  The writer returns
 * the end of what it wrote; dst must not overlap the source.
 */
size_t ngx_sio_utf8_repair_length(const u_char *p, size_t len);
u_char *ngx_sio_utf8_repair(u_char *dst, const u_char *p, size_t len);

/* Writes a code point of Unicode; returns the number of octets, 4 at most. */
size_t ngx_sio_utf8_write(u_char *dst, uint32_t code);

/* UTF-16 code units of a well-formed text: what JavaScript calls its length */
size_t ngx_sio_utf8_utf16_length(const u_char *p, size_t len);


#endif /* _NGX_SIO_UTF8_H_INCLUDED_ */
