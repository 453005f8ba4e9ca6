/*
 * Random octets for ids and keys, from the kernel.
 *
 * Layer:      base.
 * Ownership:  nothing is kept but a small stock, per process.
 * Hostile:    what guesses: octets are given out once, and then forgotten.
 * Reference:  getrandom(2).
 */


#ifndef _NGX_SIO_RANDOM_H_INCLUDED_
#define _NGX_SIO_RANDOM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_SIO_RANDOM_MAX  256


/*
 * Fills n octets, NGX_SIO_RANDOM_MAX at most.  NGX_ERROR: the kernel refuses
 * (ngx_errno), which the caller logs.
 */
ngx_int_t ngx_sio_random(void *buf, size_t n);


#endif /* _NGX_SIO_RANDOM_H_INCLUDED_ */
