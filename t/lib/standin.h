
/*
 * Stands in for nginx where its code is tested without it: every allocation
 * is one of malloc(), so that the sanitizers see each access behind it, and
 * any of them may fail.
 *
 * Pools are one: what was taken from any lives until release.
 */


#ifndef _NGX_SIO_STANDIN_H_INCLUDED_
#define _NGX_SIO_STANDIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* frees what was allocated from pools */
void ngx_sio_standin_release(void);

/* the nth allocation from now fails, and only that; 0: none */
void ngx_sio_standin_nomem(ngx_uint_t nth);

/* whether it has */
ngx_uint_t ngx_sio_standin_failed(void);


#endif /* _NGX_SIO_STANDIN_H_INCLUDED_ */
