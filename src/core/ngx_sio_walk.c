
#include "ngx_sio_walk.h"


/*
 * So many sockets are picked and sorted; among more it is quicker to look at
 * every socket in the order of the tree until the page is full.
 */
#define NGX_SIO_WALK_SORT  1024


static ngx_uint_t ngx_sio_walk_count(ngx_sio_nsp_t *nsp, ngx_sio_target_t *t);
static ngx_int_t ngx_sio_walk_picked(ngx_sio_engine_t *e,
    ngx_sio_target_t *t, ngx_str_t *behind, ngx_sio_walk_socket_pt handler,
    void *data);
static int ngx_libc_cdecl ngx_sio_walk_sort(const void *a, const void *b);
static ngx_int_t ngx_sio_walk_tree(ngx_sio_nsp_t *nsp, ngx_sio_target_t *t,
    ngx_str_t *behind, ngx_sio_walk_socket_pt handler, void *data);
static ngx_uint_t ngx_sio_walk_meant(ngx_sio_socket_t *so,
    ngx_sio_target_t *t);
static ngx_rbtree_node_t *ngx_sio_walk_behind(ngx_rbtree_t *tree,
    ngx_str_t *name);


#define ngx_sio_walk_first(tree)                                              \
    (((tree)->root == (tree)->sentinel)                                       \
     ? NULL : ngx_rbtree_min((tree)->root, (tree)->sentinel))


ngx_int_t
ngx_sio_walk_sockets(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_str_t *behind, ngx_sio_walk_socket_pt handler, void *data)
{
    ngx_sio_nsp_t  *nsp;

    nsp = ngx_sio_nsp_find(e, &t->nsp);

    if (nsp == NULL
        || (behind->len != 0 && behind->len != NGX_SIO_SOCKET_SID_LEN))
    {
        return NGX_OK;
    }

    if (ngx_sio_walk_count(nsp, t) <= NGX_SIO_WALK_SORT) {
        return ngx_sio_walk_picked(e, t, behind, handler, data);
    }

    return ngx_sio_walk_tree(nsp, t, behind, handler, data);
}


static ngx_uint_t
ngx_sio_walk_count(ngx_sio_nsp_t *nsp, ngx_sio_target_t *t)
{
    uint32_t         hash;
    ngx_sio_room_t  *room;

    if (t->nto == 0) {
        return nsp->sockets.n;
    }

    hash = ngx_crc32_short(t->to[0].data, t->to[0].len);
    room = (ngx_sio_room_t *) ngx_str_rbtree_lookup(&nsp->rooms, &t->to[0],
                                                    hash);

    return room ? room->members.n : 0;
}


static ngx_int_t
ngx_sio_walk_picked(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_str_t *behind, ngx_sio_walk_socket_pt handler, void *data)
{
    ngx_int_t           rc;
    ngx_uint_t          i, n;
    ngx_sio_socket_t  **sockets;

    sockets = ngx_sio_rooms_pick(e, t, &n);

    if (sockets == NULL) {
        return n ? NGX_ERROR : NGX_OK;
    }

    ngx_qsort(sockets, n, sizeof(ngx_sio_socket_t *), ngx_sio_walk_sort);

    rc = NGX_OK;

    for (i = 0; i < n && rc == NGX_OK; i++) {
        if (behind->len == 0
            || ngx_sio_sid_compare(behind->data, sockets[i]->sid,
                                   NGX_SIO_SOCKET_SID_LEN)
               < 0)
        {
            rc = handler(sockets[i], data);
        }
    }

    ngx_free(sockets);

    return rc;
}


static int ngx_libc_cdecl
ngx_sio_walk_sort(const void *a, const void *b)
{
    ngx_sio_socket_t *const *x = a, *const *y = b;

    return (int) ngx_sio_sid_compare((*x)->sid, (*y)->sid,
                                     NGX_SIO_SOCKET_SID_LEN);
}


static ngx_int_t
ngx_sio_walk_tree(ngx_sio_nsp_t *nsp, ngx_sio_target_t *t, ngx_str_t *behind,
    ngx_sio_walk_socket_pt handler, void *data)
{
    ngx_int_t           rc;
    ngx_rbtree_t       *tree;
    ngx_sio_socket_t   *so;
    ngx_rbtree_node_t  *node;

    tree = &nsp->engine->sockets;

    node = behind->len ? ngx_sio_sid_behind(tree, behind->data, behind->len)
                       : ngx_sio_walk_first(tree);

    while (node != NULL) {
        so = ngx_rbtree_data(node, ngx_sio_socket_t, node);

        if (so->nsp == nsp && so->connected && ngx_sio_walk_meant(so, t)) {

            rc = handler(so, data);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        node = ngx_rbtree_next(tree, node);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_sio_walk_meant(ngx_sio_socket_t *so, ngx_sio_target_t *t)
{
    ngx_str_t             *name, *room;
    ngx_queue_t           *q;
    ngx_sio_membership_t  *m;

    if (t->nto == 0) {
        return 1;
    }

    name = &t->to[0];

    if (name->len == NGX_SIO_SOCKET_SID_LEN
        && ngx_memcmp(name->data, so->sid, NGX_SIO_SOCKET_SID_LEN) == 0)
    {
        return !so->left_own;
    }

    for (q = ngx_queue_head(&so->rooms);
         q != ngx_queue_sentinel(&so->rooms);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);
        room = &m->room->node.str;

        if (room->len == name->len
            && ngx_memcmp(room->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_sio_walk_rooms(ngx_sio_engine_t *e, ngx_str_t *name, ngx_str_t *behind,
    ngx_sio_walk_room_pt handler, void *data)
{
    ngx_int_t           rc;
    ngx_sio_nsp_t      *nsp;
    ngx_rbtree_node_t  *node;

    nsp = ngx_sio_nsp_find(e, name);
    if (nsp == NULL) {
        return NGX_OK;
    }

    node = behind->len ? ngx_sio_walk_behind(&nsp->rooms, behind)
                       : ngx_sio_walk_first(&nsp->rooms);

    while (node != NULL) {

        rc = handler((ngx_sio_room_t *) node, data);

        if (rc != NGX_OK) {
            return rc;
        }

        node = ngx_rbtree_next(&nsp->rooms, node);
    }

    return NGX_OK;
}


static ngx_rbtree_node_t *
ngx_sio_walk_behind(ngx_rbtree_t *tree, ngx_str_t *name)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = tree->root;

    while (node != tree->sentinel) {

        if (ngx_sio_walk_compare(name, &((ngx_str_node_t *) node)->str) < 0) {
            found = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    return found;
}


/* As ngx_str_rbtree_insert_value() does. */

ngx_int_t
ngx_sio_walk_compare(ngx_str_t *a, ngx_str_t *b)
{
    uint32_t  x, y;

    x = ngx_crc32_short(a->data, a->len);
    y = ngx_crc32_short(b->data, b->len);

    if (x != y) {
        return (x < y) ? -1 : 1;
    }

    if (a->len != b->len) {
        return (a->len < b->len) ? -1 : 1;
    }

    return ngx_memcmp(a->data, b->data, a->len);
}
