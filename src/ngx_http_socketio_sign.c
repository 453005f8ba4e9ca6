#include "ngx_http_socketio_sign.h"
#include "ngx_sio_random.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>


#define NGX_HTTP_SOCKETIO_SIGN_MAC     32
#define NGX_HTTP_SOCKETIO_SIGN_BASE64  44

#define NGX_HTTP_SOCKETIO_SIGN_RANDOM  16


static ngx_int_t ngx_http_socketio_sign_mac(u_char *mac, ngx_str_t *secret,
    ngx_str_t *id, ngx_str_t *timestamp, ngx_str_t *body);


ngx_int_t
ngx_http_socketio_sign_id(u_char *id)
{
    u_char      *p;
    u_char       random[NGX_HTTP_SOCKETIO_SIGN_RANDOM];
    uint32_t     bits;
    ngx_uint_t   i;

    static u_char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    if (ngx_sio_random(random, sizeof(random)) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(id, "msg_", sizeof("msg_") - 1);

    for (i = 0; i < NGX_HTTP_SOCKETIO_SIGN_RANDOM - 1; i += 3) {
        bits = random[i] << 16 | random[i + 1] << 8 | random[i + 2];

        *p++ = alphabet[bits >> 18];
        *p++ = alphabet[bits >> 12 & 0x3f];
        *p++ = alphabet[bits >> 6 & 0x3f];
        *p++ = alphabet[bits & 0x3f];
    }

    *p++ = alphabet[random[i] >> 2];
    *p = alphabet[random[i] << 4 & 0x3f];

    return NGX_OK;
}


size_t
ngx_http_socketio_sign_length(ngx_uint_t n)
{
    return n * (sizeof("v1, ") - 1 + NGX_HTTP_SOCKETIO_SIGN_BASE64);
}


u_char *
ngx_http_socketio_sign_write(u_char *p, ngx_str_t *secrets, ngx_uint_t n,
    ngx_str_t *id, ngx_str_t *timestamp, ngx_str_t *body)
{
    u_char      mac[NGX_HTTP_SOCKETIO_SIGN_MAC];
    u_char      text[NGX_HTTP_SOCKETIO_SIGN_BASE64 + 1];
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        if (ngx_http_socketio_sign_mac(mac, &secrets[i], id, timestamp, body)
            != NGX_OK)
        {
            return NULL;
        }

        (void) EVP_EncodeBlock(text, mac, NGX_HTTP_SOCKETIO_SIGN_MAC);

        if (i) {
            *p++ = ' ';
        }

        p = ngx_cpymem(p, "v1,", sizeof("v1,") - 1);
        p = ngx_cpymem(p, text, NGX_HTTP_SOCKETIO_SIGN_BASE64);
    }

    return p;
}


static ngx_int_t
ngx_http_socketio_sign_mac(u_char *mac, ngx_str_t *secret, ngx_str_t *id,
    ngx_str_t *timestamp, ngx_str_t *body)
{
    unsigned int  len;

    static HMAC_CTX  *ctx;

    /* made once: nothing in it survives HMAC_Init_ex() with a key */

    if (ctx == NULL) {
        ctx = HMAC_CTX_new();

        if (ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (HMAC_Init_ex(ctx, secret->data, (int) secret->len, EVP_sha256(), NULL)
        != 1
        || HMAC_Update(ctx, id->data, id->len) != 1
        || HMAC_Update(ctx, (u_char *) ".", 1) != 1
        || HMAC_Update(ctx, timestamp->data, timestamp->len) != 1
        || HMAC_Update(ctx, (u_char *) ".", 1) != 1
        || HMAC_Update(ctx, body->data, body->len) != 1
        || HMAC_Final(ctx, mac, &len) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
