/*
 * Flat octets for what travels between the workers of one host: integers in
 * host order, strings with their length in front.
 *
 * Layer:      base.
 * Ownership:  what is read borrows the buffer.
 * Trust:      written by ourselves, yet read with bounds: another version of
 *             this module may be the writer during a binary upgrade.
 */


#ifndef _NGX_SIO_PACK_H_INCLUDED_
#define _NGX_SIO_PACK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define ngx_sio_pack_str_length(str)  (sizeof(uint32_t) + (str)->len)


static ngx_inline u_char *
ngx_sio_pack(u_char *p, const void *data, size_t len)
{
    return ngx_cpymem(p, data, len);
}


static ngx_inline u_char *
ngx_sio_pack_u32(u_char *p, uint32_t n)
{
    return ngx_cpymem(p, &n, sizeof(uint32_t));
}


static ngx_inline u_char *
ngx_sio_pack_u64(u_char *p, uint64_t n)
{
    return ngx_cpymem(p, &n, sizeof(uint64_t));
}


static ngx_inline u_char *
ngx_sio_pack_str(u_char *p, ngx_str_t *str)
{
    p = ngx_sio_pack_u32(p, str->len);

    return str->len ? ngx_cpymem(p, str->data, str->len) : p;
}


/*
 * Readers: NGX_OK, or NGX_DECLINED when the buffer ends before; *pos stands
 * behind what was read.
 */

static ngx_inline ngx_int_t
ngx_sio_unpack(u_char **pos, u_char *end, void *data, size_t len)
{
    if ((size_t) (end - *pos) < len) {
        return NGX_DECLINED;
    }

    ngx_memcpy(data, *pos, len);
    *pos += len;

    return NGX_OK;
}


static ngx_inline ngx_int_t
ngx_sio_unpack_u32(u_char **pos, u_char *end, uint32_t *n)
{
    return ngx_sio_unpack(pos, end, n, sizeof(uint32_t));
}


static ngx_inline ngx_int_t
ngx_sio_unpack_u64(u_char **pos, u_char *end, uint64_t *n)
{
    return ngx_sio_unpack(pos, end, n, sizeof(uint64_t));
}


static ngx_inline ngx_int_t
ngx_sio_unpack_str(u_char **pos, u_char *end, ngx_str_t *str)
{
    uint32_t  len;

    if (ngx_sio_unpack_u32(pos, end, &len) != NGX_OK
        || (size_t) (end - *pos) < len)
    {
        return NGX_DECLINED;
    }

    str->len = len;
    str->data = *pos;
    *pos += len;

    return NGX_OK;
}


#endif /* _NGX_SIO_PACK_H_INCLUDED_ */
