/*
 * Namespaces and rooms of this worker: who is to get an emit.
 *
 * Layer:      core.
 * Ownership:  a namespace lives while it has sockets, a room while it has
 *             members; a membership belongs to its socket.
 * Reference:  protocol.md 5, "Identity" and "Target set".
 *
 *     nsp "/chat" --+-- sockets | so1 | so2 | so3 |
 *                   |              |     |
 *                   +-- room "a"   m     m        so1 and so2; in each
 *                   +-- room "b"   m              membership, the place there
 */


#ifndef _NGX_SIO_ROOMS_H_INCLUDED_
#define _NGX_SIO_ROOMS_H_INCLUDED_


#include "ngx_sio_roster.h"
#include "ngx_sio_socket.h"


struct ngx_sio_nsp_s {
    ngx_str_node_t          node;          /* engine->nsps; str is the name */
    ngx_sio_engine_t       *engine;
    ngx_sio_roster_t        sockets;       /* connected ones */
    ngx_uint_t              index;         /* of engine->named */
    ngx_uint_t              refs;          /* sockets, pending ones too: there
                                              is a place for each */
    ngx_rbtree_t            rooms;
    ngx_rbtree_node_t       sentinel;
};


typedef struct {
    ngx_str_node_t          node;          /* nsp->rooms; str is the name */
    ngx_sio_roster_t        members;       /* never empty */
    uint64_t                mark;          /* as that of its members */
} ngx_sio_room_t;


typedef struct {
    ngx_queue_t             of_socket;
    ngx_sio_room_t         *room;
    uint32_t                place;         /* in room->members */
} ngx_sio_membership_t;


/* Whom an emit, join, leave or disconnect is for. */

typedef struct {
    ngx_str_t               nsp;
    ngx_str_t              *to;            /* rooms or sids; none: everyone */
    ngx_uint_t              nto;
    ngx_str_t              *except;        /* rooms or sids */
    ngx_uint_t              nexcept;
} ngx_sio_target_t;


/* called for each socket that is meant, once */
typedef void (*ngx_sio_select_pt)(ngx_sio_socket_t *so, void *data);


/* Finds or makes; counts one reference for the socket to come. */
ngx_sio_nsp_t *ngx_sio_nsp_get(ngx_sio_engine_t *e, ngx_str_t *name);
void ngx_sio_nsp_unref(ngx_sio_nsp_t *nsp);
ngx_sio_nsp_t *ngx_sio_nsp_find(ngx_sio_engine_t *e, ngx_str_t *name);

/* A socket was accepted, or ends: it is seen by emits or no longer. */
void ngx_sio_rooms_enter(ngx_sio_socket_t *so);
void ngx_sio_rooms_exit(ngx_sio_socket_t *so);

/*
 * NGX_OK        is in the room now
 * NGX_DECLINED  was already
 * NGX_BUSY      it is in as many as it may be, or the name is too long; logged
 *               and counted
 * NGX_ERROR     no memory
 */
ngx_int_t ngx_sio_rooms_join(ngx_sio_socket_t *so, ngx_str_t *name);

/*
 * The same for a socket that was in the room before it moved: no limit, never
 * NGX_BUSY.  Not for the room of its sid.
 */
ngx_int_t ngx_sio_rooms_insert(ngx_sio_socket_t *so, ngx_str_t *name);

/* NGX_OK, or NGX_DECLINED: was not in it. */
ngx_int_t ngx_sio_rooms_leave(ngx_sio_socket_t *so, ngx_str_t *name);

/* Whether anybody is in it; a socket in the room of its own sid, too. */
ngx_uint_t ngx_sio_rooms_exist(ngx_sio_engine_t *e, ngx_str_t *nsp,
    ngx_str_t *name);

/*
 * Calls handler for every connected socket that is meant and returns how
 * many.  The handler may queue messages, join and leave rooms other than those
 * selected by, and must not end sockets; use ngx_sio_rooms_some() for that.
 */
ngx_uint_t ngx_sio_rooms_select(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_sio_select_pt handler, void *data);

/*
 * Up to max of them, to do anything with.  *mark is 0 for the first call;
 * called again, it goes on, until it returns 0.  Needs no memory; nothing else
 * may be selected meanwhile.
 */
ngx_uint_t ngx_sio_rooms_some(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_sio_socket_t **sockets, ngx_uint_t max, uint64_t *mark);

/*
 * The same as an allocated array of *n sockets that the caller frees with
 * ngx_free(); NULL with *n == 0: nobody; NULL with *n > 0: no memory.
 */
ngx_sio_socket_t **ngx_sio_rooms_pick(ngx_sio_engine_t *e,
    ngx_sio_target_t *t, ngx_uint_t *n);


#endif /* _NGX_SIO_ROOMS_H_INCLUDED_ */
