/*
 * Sockets in an array: those of a namespace, or of a room.
 *
 * Layer:      core.
 * Ownership:  embedded; the array belongs to the roster, the sockets and the
 *             places do not.
 * Reference:  architecture.md 4.
 *
 * An emit walks over all of them, and of thousands none is in the cache.  In
 * an array the addresses of those to come are known long before their turn,
 * in a list only when the one before has arrived.
 *
 *     entries --> | so0 | so1 | so2 | so3 |      each with the address of
 *                    ^                           where its number is kept
 *                    0 in so0's membership
 *
 * The last one takes the place of one that leaves: the order means nothing.
 */


#ifndef _NGX_SIO_ROSTER_H_INCLUDED_
#define _NGX_SIO_ROSTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_sio_socket_s  ngx_sio_socket_t;


typedef struct {
    ngx_sio_socket_t         *socket;
    uint32_t                 *place;       /* its number, kept by whoever
                                              inserted it */
} ngx_sio_roster_entry_t;


typedef struct {
    ngx_sio_roster_entry_t   *entries;     /* NULL: size is 0 */
    uint32_t                  n;
    uint32_t                  size;
} ngx_sio_roster_t;


void ngx_sio_roster_init(ngx_sio_roster_t *roster);
void ngx_sio_roster_done(ngx_sio_roster_t *roster);

/* Room for n entries in all: inserting up to so many will not fail. */
ngx_int_t ngx_sio_roster_reserve(ngx_sio_roster_t *roster, ngx_uint_t n);

/* Gives back, if there is much of it, what more than n entries would need. */
void ngx_sio_roster_shrink(ngx_sio_roster_t *roster, ngx_uint_t n);

/* NGX_OK: *place is its number from now on, until it is removed; NGX_ERROR. */
ngx_int_t ngx_sio_roster_insert(ngx_sio_roster_t *roster,
    ngx_sio_socket_t *so, uint32_t *place);

/* Never fails; the number of another one may change. */
void ngx_sio_roster_remove(ngx_sio_roster_t *roster, uint32_t place);


#endif /* _NGX_SIO_ROSTER_H_INCLUDED_ */
