
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "standin.h"


static void          **ngx_sio_standin_blocks;
static size_t          ngx_sio_standin_nblocks;
static size_t          ngx_sio_standin_size;
static ngx_uint_t      ngx_sio_standin_nth;
static ngx_uint_t      ngx_sio_standin_has_failed;

static ngx_pool_t      ngx_sio_standin_pool;
static ngx_log_t       ngx_sio_standin_log = { .log_level = NGX_LOG_INFO };
static ngx_cycle_t     ngx_sio_standin_cycle = { .log = &ngx_sio_standin_log };
static ngx_time_t      ngx_sio_standin_time = { .sec = 1700000000 };
static uint32_t        ngx_sio_standin_crc[256];

volatile ngx_cycle_t  *ngx_cycle = &ngx_sio_standin_cycle;
volatile ngx_time_t   *ngx_cached_time = &ngx_sio_standin_time;
volatile ngx_msec_t    ngx_current_msec = 1000000;
ngx_queue_t            ngx_posted_events;
ngx_queue_t            ngx_posted_next_events;
ngx_rbtree_t           ngx_event_timer_rbtree;
uint32_t              *ngx_crc32_table_short;
uint32_t               ngx_crc32_table256[256];


void
ngx_sio_standin_release(void)
{
    while (ngx_sio_standin_nblocks) {
        free(ngx_sio_standin_blocks[--ngx_sio_standin_nblocks]);
    }
}


void
ngx_sio_standin_nomem(ngx_uint_t nth)
{
    ngx_sio_standin_nth = nth;
    ngx_sio_standin_has_failed = 0;
}


ngx_uint_t
ngx_sio_standin_failed(void)
{
    return ngx_sio_standin_has_failed;
}


/* Memory. */

static void *
ngx_sio_standin_malloc(size_t size)
{
    void  *p;

    if (ngx_sio_standin_nth && --ngx_sio_standin_nth == 0) {
        ngx_sio_standin_has_failed = 1;
        return NULL;
    }

    p = malloc(size ? size : 1);

    if (p == NULL) {
        abort();
    }

    return p;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return ngx_sio_standin_malloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = ngx_alloc(size, log);

    if (p) {
        memset(p, 0, size);
    }

    return p;
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    (void) pool;

    p = ngx_sio_standin_malloc(size);

    if (p == NULL) {
        return NULL;
    }

    if (ngx_sio_standin_nblocks == ngx_sio_standin_size) {
        ngx_sio_standin_size = ngx_sio_standin_size ? 2 * ngx_sio_standin_size
                                                : 1024;
        ngx_sio_standin_blocks = realloc(ngx_sio_standin_blocks,
                                       ngx_sio_standin_size * sizeof(void *));
        if (ngx_sio_standin_blocks == NULL) {
            abort();
        }
    }

    ngx_sio_standin_blocks[ngx_sio_standin_nblocks++] = p;

    return p;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_palloc(pool, size);

    if (p) {
        memset(p, 0, size);
    }

    return p;
}


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    (void) size;
    (void) log;

    return &ngx_sio_standin_pool;
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    (void) pool;
}


void
ngx_reset_pool(ngx_pool_t *pool)
{
    (void) pool;
}


void *
ngx_array_push(ngx_array_t *a)
{
    void  *elts;

    if (a->nelts == a->nalloc) {
        elts = ngx_palloc(a->pool, 2 * a->nalloc * a->size);

        if (elts == NULL) {
            return NULL;
        }

        memcpy(elts, a->elts, a->nelts * a->size);
        a->elts = elts;
        a->nalloc *= 2;
    }

    return (u_char *) a->elts + a->size * a->nelts++;
}


ngx_chain_t *
ngx_alloc_chain_link(ngx_pool_t *pool)
{
    return ngx_palloc(pool, sizeof(ngx_chain_t));
}


ngx_buf_t *
ngx_create_temp_buf(ngx_pool_t *pool, size_t size)
{
    ngx_buf_t  *b;

    b = ngx_pcalloc(pool, sizeof(ngx_buf_t));

    if (b == NULL) {
        return NULL;
    }

    b->start = ngx_palloc(pool, size);

    if (b->start == NULL) {
        return NULL;
    }

    b->pos = b->start;
    b->last = b->start;
    b->end = b->start + size;
    b->temporary = 1;

    return b;
}


/* Texts. */

static u_char *
ngx_sio_standin_put(u_char *p, u_char *last, const void *data, size_t len)
{
    len = ngx_min(len, (size_t) (last - p));

    return ngx_cpymem(p, data, len);
}


/* What the code under test asks for: no widths but "*", no floats. */

u_char *
ngx_vslprintf(u_char *p, u_char *last, const char *fmt, va_list args)
{
    char         number[32];
    size_t       len;
    int64_t      i;
    uint64_t     u;
    ngx_str_t   *str;
    ngx_uint_t   sign, hex, given;
    const char  *s;

    for ( /* void */ ; *fmt && p < last; fmt++) {

        if (*fmt != '%') {
            *p++ = *fmt;
            continue;
        }

        sign = 1;
        hex = 0;
        given = 0;
        len = 0;

        for ( ;; ) {
            switch (*++fmt) {

            case '0':
                continue;

            case 'u':
                sign = 0;
                continue;

            case 'x':
                sign = 0;
                hex = 1;
                continue;

            case '*':
                len = va_arg(args, size_t);
                given = 1;
                continue;
            }

            break;
        }

        switch (*fmt) {

        case 'V':
            str = va_arg(args, ngx_str_t *);
            p = ngx_sio_standin_put(p, last, str->data, str->len);
            continue;

        case 's':
            s = va_arg(args, const char *);
            p = ngx_sio_standin_put(p, last, s, given ? len : strlen(s));
            continue;

        case 'c':
            *p++ = (u_char) va_arg(args, int);
            continue;

        case '%':
            *p++ = '%';
            continue;

        case 'd':
        case 'D':
            i = va_arg(args, int);
            u = (uint32_t) i;
            break;

        case 'M':
            sign = 0;
            /* fall through */

        case 'i':
        case 'z':
        case 'T':
        case 'O':
        case 'L':
            i = va_arg(args, int64_t);
            u = (uint64_t) i;
            break;

        default:
            fprintf(stderr, "no such format: %s\n", fmt);
            abort();
        }

        len = snprintf(number, sizeof(number),
                       hex ? "%lx" : sign ? "%ld" : "%lu",
                       sign ? (unsigned long) i : (unsigned long) u);
        p = ngx_sio_standin_put(p, last, number, len);
    }

    return p;
}


u_char *
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, (u_char *) -1, fmt, args);
    va_end(args);

    return p;
}


u_char *
ngx_snprintf(u_char *buf, size_t max, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + max, fmt, args);
    va_end(args);

    return p;
}


u_char *
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, last, fmt, args);
    va_end(args);

    return p;
}


/* Formatted, and forgotten: its arguments are read. */

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    u_char   text[NGX_MAX_ERROR_STR];
    va_list  args;

    (void) level;
    (void) log;
    (void) err;

    va_start(args, fmt);
    (void) ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0 || n > 18) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        if (*line < '0' || *line > '9') {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    u_char     c, ch;
    ngx_int_t  value;

    if (n == 0 || n > 15) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        ch = *line;
        c = (u_char) (ch | 0x20);

        if (ch >= '0' && ch <= '9') {
            value = value * 16 + (ch - '0');

        } else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (c - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    return value;
}


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    static const char  hex[] = "0123456789abcdef";

    while (len--) {
        *dst++ = hex[*src >> 4];
        *dst++ = hex[*src++ & 0xf];
    }

    return dst;
}


/* Trees, which need no balance here. */

void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    if (tree->root == tree->sentinel) {
        node->parent = NULL;
        node->left = tree->sentinel;
        node->right = tree->sentinel;
        tree->root = node;
        return;
    }

    tree->insert(tree->root, node, tree->sentinel);
}


static void
ngx_sio_standin_replace(ngx_rbtree_t *tree, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *by)
{
    if (node->parent == NULL) {
        tree->root = by;

    } else if (node->parent->left == node) {
        node->parent->left = by;

    } else {
        node->parent->right = by;
    }

    if (by != tree->sentinel) {
        by->parent = node->parent;
    }
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_rbtree_node_t  *next;

    if (node->left == tree->sentinel) {
        ngx_sio_standin_replace(tree, node, node->right);

    } else if (node->right == tree->sentinel) {
        ngx_sio_standin_replace(tree, node, node->left);

    } else {
        next = ngx_rbtree_min(node->right, tree->sentinel);

        if (next->parent != node) {
            ngx_sio_standin_replace(tree, next, next->right);
            next->right = node->right;
            next->right->parent = next;
        }

        ngx_sio_standin_replace(tree, node, next);
        next->left = node->left;
        next->left->parent = next;
    }

    node->left = NULL;
    node->right = NULL;
    node->parent = NULL;
}


ngx_rbtree_node_t *
ngx_rbtree_next(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_rbtree_node_t  *parent;

    if (node->right != tree->sentinel) {
        return ngx_rbtree_min(node->right, tree->sentinel);
    }

    for (parent = node->parent; parent; parent = parent->parent) {

        if (parent->left == node) {
            return parent;
        }

        node = parent;
    }

    return NULL;
}


void
ngx_rbtree_insert_timer_value(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {
        p = ((ngx_rbtree_key_int_t) (node->key - temp->key) < 0)
            ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
}


static ngx_int_t
ngx_sio_standin_compare(uint32_t hash, ngx_str_t *name, ngx_rbtree_node_t *node)
{
    ngx_str_t  *str;

    str = &((ngx_str_node_t *) node)->str;

    if (hash != node->key) {
        return hash < node->key ? -1 : 1;
    }

    if (name->len != str->len) {
        return name->len < str->len ? -1 : 1;
    }

    return name->len ? memcmp(name->data, str->data, name->len) : 0;
}


void
ngx_str_rbtree_insert_value(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {
        p = (ngx_sio_standin_compare(node->key, &((ngx_str_node_t *) node)->str,
                                   temp) < 0)
            ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
}


ngx_str_node_t *
ngx_str_rbtree_lookup(ngx_rbtree_t *tree, ngx_str_t *name, uint32_t hash)
{
    ngx_int_t           rc;
    ngx_rbtree_node_t  *node;

    node = tree->root;

    while (node != tree->sentinel) {
        rc = ngx_sio_standin_compare(hash, name, node);

        if (rc == 0) {
            return (ngx_str_node_t *) node;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


__attribute__((constructor))
static void
ngx_sio_standin_init(void)
{
    uint32_t    crc;
    ngx_uint_t  i, k;

    static ngx_rbtree_node_t  sentinel;

    for (i = 0; i < 16; i++) {
        for (crc = i, k = 0; k < 4; k++) {
            crc = (crc & 1) ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
        }

        ngx_sio_standin_crc[i] = crc;
    }

    for (i = 0; i < 256; i++) {
        crc = ngx_sio_standin_crc[i & 0xf] ^ i >> 4;
        ngx_crc32_table256[i] = ngx_sio_standin_crc[crc & 0xf] ^ crc >> 4;
    }

    ngx_crc32_table_short = ngx_sio_standin_crc;

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);

    ngx_rbtree_init(&ngx_event_timer_rbtree, &sentinel,
                    ngx_rbtree_insert_timer_value);
}
