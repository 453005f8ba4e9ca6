#include "ngx_sio_random.h"

#include <sys/random.h>


/*
 * A system call gives octets for many ids.  Up to 256 come whole: no signal
 * interrupts it.  There is no allocation in the way, which RAND_bytes() of
 * OpenSSL may have, and a process that was forked does not go on with the
 * stock of its parent.
 */

ngx_int_t
ngx_sio_random(void *buf, size_t n)
{
    static u_char     stock[NGX_SIO_RANDOM_MAX];
    static size_t     used = sizeof(stock);
    static ngx_pid_t  pid;

    if (n > sizeof(stock) - used || pid != ngx_pid) {

        if (getrandom(stock, sizeof(stock), 0) != (ssize_t) sizeof(stock)) {
            return NGX_ERROR;
        }

        used = 0;
        pid = ngx_pid;
    }

    ngx_memcpy(buf, stock + used, n);
    ngx_memzero(stock + used, n);

    used += n;

    return NGX_OK;
}
