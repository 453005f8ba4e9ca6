
#include "ngx_sio_base64.h"
#include "ngx_sio_random.h"
#include "ngx_sio_sid.h"


/* octets in the longest id */
#define NGX_SIO_SID_OCTETS  (NGX_SIO_SID_LEN / 4 * 3)


#define ngx_sio_sid_of(node)                                                  \
    ((u_char *) (node) + sizeof(ngx_rbtree_node_t))


static ngx_rbtree_key_t ngx_sio_sid_key(u_char *sid, size_t len);
static void ngx_sio_sid_insert_value(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);


ngx_int_t
ngx_sio_sid_write(u_char *sid, size_t len, const void *head, size_t n)
{
    size_t  size;
    u_char  octets[NGX_SIO_SID_OCTETS];

    size = len / 4 * 3;

    if (n) {
        ngx_memcpy(octets, head, n);
    }

    if (ngx_sio_random(octets + n, size - n) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "no random octets for an id");
        return NGX_ERROR;
    }

    ngx_sio_base64_url_write(sid, octets, size);

    return NGX_OK;
}


void
ngx_sio_sid_init(ngx_rbtree_t *tree, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_init(tree, sentinel, ngx_sio_sid_insert_value);
}


void
ngx_sio_sid_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node, u_char *sid,
    size_t len)
{
    ngx_memcpy(ngx_sio_sid_of(node), sid, len);

    node->key = ngx_sio_sid_key(sid, len);
    node->data = (u_char) len;

    ngx_rbtree_insert(tree, node);
}


static ngx_rbtree_key_t
ngx_sio_sid_key(u_char *sid, size_t len)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, sid + len - sizeof(ngx_rbtree_key_t),
               sizeof(ngx_rbtree_key_t));

    return key;
}


static void
ngx_sio_sid_insert_value(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            p = (ngx_memcmp(ngx_sio_sid_of(node), ngx_sio_sid_of(temp),
                            node->data)
                 < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


ngx_rbtree_node_t *
ngx_sio_sid_find(ngx_rbtree_t *tree, u_char *sid, size_t len)
{
    ngx_int_t           rc;
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = ngx_sio_sid_key(sid, len);
    node = tree->root;

    while (node != tree->sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        rc = ngx_memcmp(sid, ngx_sio_sid_of(node), len);

        if (rc == 0) {
            return node;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


ngx_rbtree_node_t *
ngx_sio_sid_behind(ngx_rbtree_t *tree, u_char *sid, size_t len)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = tree->root;

    while (node != tree->sentinel) {

        if (ngx_sio_sid_compare(sid, ngx_sio_sid_of(node), len) < 0) {
            found = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    return found;
}


ngx_int_t
ngx_sio_sid_compare(u_char *a, u_char *b, size_t len)
{
    ngx_rbtree_key_t  x, y;

    x = ngx_sio_sid_key(a, len);
    y = ngx_sio_sid_key(b, len);

    if (x != y) {
        return (x < y) ? -1 : 1;
    }

    return ngx_memcmp(a, b, len);
}
