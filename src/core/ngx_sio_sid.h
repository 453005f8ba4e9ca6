
/*
 * Ids, of sessions and of sockets: random, in base64url, and the tree that
 * finds what carries one.
 *
 * Layer:      core.
 * Ownership:  what is in a tree embeds its node, and has room for the id right
 *             behind it; the tree never allocates.  ngx_rbtree_delete() takes
 *             a node out again.
 * Hostile:    the ids that are looked for come from the network.
 * Reference:  protocol.md 1.4.
 *
 *        ngx_rbtree_node_t    sid[]
 *       +-----+-----+------+-----------+
 *       | key | ... | data | id        |     key: the end of the id
 *       +-----+-----+------+-----------+     data: its length
 *
 * All ids of one tree have the same length.
 */


#ifndef _NGX_SIO_SID_H_INCLUDED_
#define _NGX_SIO_SID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_SIO_SID_LEN         32      /* of an Engine.IO id, characters */
#define NGX_SIO_SOCKET_SID_LEN  20      /* of a Socket.IO id, characters */


/*
 * Writes an id of len characters, a multiple of 4 and NGX_SIO_SID_LEN at most:
 * the n octets at head, if any, then random ones.  Its last 8 characters have
 * to be random.  NGX_ERROR: there are no random octets, which was logged.
 */
ngx_int_t ngx_sio_sid_write(u_char *sid, size_t len, const void *head,
    size_t n);


void ngx_sio_sid_init(ngx_rbtree_t *tree, ngx_rbtree_node_t *sentinel);

/* Copies the id behind the node; it must not be in the tree yet. */
void ngx_sio_sid_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node,
    u_char *sid, size_t len);

/* NULL: not there. */
ngx_rbtree_node_t *ngx_sio_sid_find(ngx_rbtree_t *tree, u_char *sid,
    size_t len);

/*
 * The order of the tree, which is the same in all workers: the first node
 * behind an id, whether that is there or not, or NULL; and how two ids of the
 * same length compare, as memcmp() would tell.
 */
ngx_rbtree_node_t *ngx_sio_sid_behind(ngx_rbtree_t *tree, u_char *sid,
    size_t len);
ngx_int_t ngx_sio_sid_compare(u_char *a, u_char *b, size_t len);


#endif /* _NGX_SIO_SID_H_INCLUDED_ */
