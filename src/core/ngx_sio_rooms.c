
#include "ngx_sio_compat.h"
#include "ngx_sio_rooms.h"


/* sockets visited while memory answers, with something to spare */
#define NGX_SIO_ROOMS_AHEAD  8


typedef struct {
    ngx_sio_socket_t  **sockets;
    ngx_uint_t          n;
    ngx_uint_t          size;
    ngx_uint_t          failed;
} ngx_sio_rooms_picked_t;


typedef struct {
    uint64_t            mark;      /* of those who have been visited, */
    uint64_t            since;     /* this one, and all since this one */
    ngx_uint_t          n;
    ngx_sio_select_pt   handler;
    void               *data;
} ngx_sio_rooms_walk_t;


static void ngx_sio_rooms_refuse(ngx_sio_socket_t *so, ngx_str_t *name);
static ngx_sio_room_t *ngx_sio_room_find(ngx_sio_nsp_t *nsp, ngx_str_t *name);
static ngx_sio_room_t *ngx_sio_room_create(ngx_sio_nsp_t *nsp,
    ngx_str_t *name);
static void ngx_sio_room_vacate(ngx_sio_nsp_t *nsp, ngx_sio_room_t *room);
static ngx_sio_membership_t *ngx_sio_membership_find(ngx_sio_socket_t *so,
    ngx_sio_room_t *room);
static void ngx_sio_membership_remove(ngx_sio_socket_t *so,
    ngx_sio_membership_t *m);
static ngx_sio_socket_t *ngx_sio_rooms_own(ngx_sio_nsp_t *nsp,
    ngx_str_t *name);
static ngx_uint_t ngx_sio_rooms_is_own(ngx_sio_socket_t *so, ngx_str_t *name);
static void ngx_sio_rooms_walk(ngx_sio_rooms_walk_t *walk,
    ngx_sio_roster_t *roster);
static ngx_inline void ngx_sio_rooms_visit(ngx_sio_rooms_walk_t *walk,
    ngx_sio_socket_t *so);
static ngx_inline void ngx_sio_rooms_prefetch(ngx_sio_roster_t *roster,
    ngx_uint_t i);
static void ngx_sio_rooms_exclude(ngx_sio_nsp_t *nsp, ngx_str_t *name,
    uint64_t mark);
static ngx_uint_t ngx_sio_rooms_visit_all(ngx_sio_engine_t *e,
    ngx_sio_target_t *t, ngx_sio_rooms_walk_t *walk);
static void ngx_sio_rooms_some_handler(ngx_sio_socket_t *so, void *data);
static void ngx_sio_rooms_pick_handler(ngx_sio_socket_t *so, void *data);


ngx_sio_nsp_t *
ngx_sio_nsp_find(ngx_sio_engine_t *e, ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_crc32_short(name->data, name->len);

    return (ngx_sio_nsp_t *) ngx_str_rbtree_lookup(&e->nsps, name, hash);
}


ngx_sio_nsp_t *
ngx_sio_nsp_get(ngx_sio_engine_t *e, ngx_str_t *name)
{
    ngx_sio_nsp_t  *nsp;

    nsp = ngx_sio_nsp_find(e, name);

    if (nsp != NULL) {

        if (ngx_sio_roster_reserve(&nsp->sockets, nsp->refs + 1) != NGX_OK) {
            return NULL;
        }

        nsp->refs++;
        return nsp;
    }

    nsp = ngx_alloc(sizeof(ngx_sio_nsp_t) + name->len, ngx_cycle->log);
    if (nsp == NULL) {
        return NULL;
    }

    nsp->node.str.len = name->len;
    nsp->node.str.data = (u_char *) (nsp + 1);
    ngx_memcpy(nsp->node.str.data, name->data, name->len);
    nsp->node.node.key = ngx_crc32_short(name->data, name->len);

    nsp->engine = e;
    nsp->refs = 1;

    ngx_sio_roster_init(&nsp->sockets);

    if (ngx_sio_roster_reserve(&nsp->sockets, 1) != NGX_OK) {
        ngx_free(nsp);
        return NULL;
    }

    nsp->index = e->ops->nsp_open(e, name);

    ngx_rbtree_init(&nsp->rooms, &nsp->sentinel, ngx_str_rbtree_insert_value);

    ngx_rbtree_insert(&e->nsps, &nsp->node.node);

    return nsp;
}


void
ngx_sio_nsp_unref(ngx_sio_nsp_t *nsp)
{
    if (--nsp->refs > 0) {
        ngx_sio_roster_shrink(&nsp->sockets, nsp->refs);
        return;
    }

    nsp->engine->ops->nsp_close(nsp->engine, nsp->index);

    ngx_rbtree_delete(&nsp->engine->nsps, &nsp->node.node);
    ngx_sio_roster_done(&nsp->sockets);
    ngx_free(nsp);
}


void
ngx_sio_rooms_enter(ngx_sio_socket_t *so)
{
    /* its place was reserved by ngx_sio_nsp_get() */

    (void) ngx_sio_roster_insert(&so->nsp->sockets, so, &so->place);

    so->nsp->engine->named[so->nsp->index]++;
}


void
ngx_sio_rooms_exit(ngx_sio_socket_t *so)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&so->rooms)) {
        q = ngx_queue_head(&so->rooms);
        ngx_sio_membership_remove(so,
            ngx_queue_data(q, ngx_sio_membership_t, of_socket));
    }

    ngx_sio_roster_remove(&so->nsp->sockets, so->place);

    so->nsp->engine->named[so->nsp->index]--;
}


ngx_int_t
ngx_sio_rooms_join(ngx_sio_socket_t *so, ngx_str_t *name)
{
    ngx_sio_room_t                *room;
    const ngx_sio_session_conf_t  *conf;

    if (ngx_sio_rooms_is_own(so, name)) {
        if (!so->left_own) {
            return NGX_DECLINED;
        }

        so->left_own = 0;
        return NGX_OK;
    }

    conf = so->session->conf;

    if (so->nrooms < conf->max_rooms && name->len <= conf->max_name) {
        return ngx_sio_rooms_insert(so, name);
    }

    room = ngx_sio_room_find(so->nsp, name);

    if (room != NULL && ngx_sio_membership_find(so, room) != NULL) {
        return NGX_DECLINED;
    }

    ngx_sio_rooms_refuse(so, name);

    return NGX_BUSY;
}


static void
ngx_sio_rooms_refuse(ngx_sio_socket_t *so, ngx_str_t *name)
{
    ngx_uint_t                     limit;
    ngx_sio_engine_t              *e;
    ngx_sio_session_t             *s, *current;
    const ngx_sio_session_conf_t  *conf;

    s = so->session;
    e = s->engine;
    conf = s->conf;

    /* who is to be named may not be the one that is served */

    current = e->current;
    e->current = s;

    if (name->len > conf->max_name) {
        limit = NGX_SIO_LIMIT_NAME;

        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client may not join a room whose name has %uz octets, "
                      "limit is %uz", name->len, conf->max_name);

    } else {
        limit = NGX_SIO_LIMIT_ROOMS;

        ngx_log_error(NGX_LOG_INFO, ngx_sio_session_log(s), 0,
                      "client may not join more rooms, limit is %ui",
                      conf->max_rooms);
    }

    e->current = current;
    e->counters[NGX_SIO_COUNT_LIMITS + limit]++;
}


ngx_int_t
ngx_sio_rooms_insert(ngx_sio_socket_t *so, ngx_str_t *name)
{
    ngx_sio_room_t        *room;
    ngx_sio_membership_t  *m;

    room = ngx_sio_room_find(so->nsp, name);

    if (room == NULL) {
        room = ngx_sio_room_create(so->nsp, name);
        if (room == NULL) {
            return NGX_ERROR;
        }

    } else if (ngx_sio_membership_find(so, room) != NULL) {
        return NGX_DECLINED;
    }

    m = ngx_alloc(sizeof(ngx_sio_membership_t), ngx_cycle->log);

    if (m == NULL
        || ngx_sio_roster_insert(&room->members, so, &m->place) != NGX_OK)
    {
        if (m != NULL) {
            ngx_free(m);
        }

        ngx_sio_room_vacate(so->nsp, room);

        return NGX_ERROR;
    }

    m->room = room;

    ngx_queue_insert_tail(&so->rooms, &m->of_socket);
    so->nrooms++;

    return NGX_OK;
}


ngx_int_t
ngx_sio_rooms_leave(ngx_sio_socket_t *so, ngx_str_t *name)
{
    ngx_sio_room_t        *room;
    ngx_sio_membership_t  *m;

    if (ngx_sio_rooms_is_own(so, name)) {
        if (so->left_own) {
            return NGX_DECLINED;
        }

        so->left_own = 1;
        return NGX_OK;
    }

    room = ngx_sio_room_find(so->nsp, name);
    if (room == NULL) {
        return NGX_DECLINED;
    }

    m = ngx_sio_membership_find(so, room);
    if (m == NULL) {
        return NGX_DECLINED;
    }

    ngx_sio_membership_remove(so, m);

    return NGX_OK;
}


ngx_uint_t
ngx_sio_rooms_exist(ngx_sio_engine_t *e, ngx_str_t *nsp, ngx_str_t *name)
{
    ngx_sio_nsp_t  *n;

    n = ngx_sio_nsp_find(e, nsp);

    return n != NULL
           && (ngx_sio_room_find(n, name) != NULL
               || ngx_sio_rooms_own(n, name) != NULL);
}


static ngx_sio_room_t *
ngx_sio_room_find(ngx_sio_nsp_t *nsp, ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_crc32_short(name->data, name->len);

    return (ngx_sio_room_t *) ngx_str_rbtree_lookup(&nsp->rooms, name, hash);
}


static ngx_sio_room_t *
ngx_sio_room_create(ngx_sio_nsp_t *nsp, ngx_str_t *name)
{
    ngx_sio_room_t  *room;

    room = ngx_alloc(sizeof(ngx_sio_room_t) + name->len, ngx_cycle->log);
    if (room == NULL) {
        return NULL;
    }

    room->node.str.len = name->len;
    room->node.str.data = (u_char *) (room + 1);
    ngx_memcpy(room->node.str.data, name->data, name->len);
    room->node.node.key = ngx_crc32_short(name->data, name->len);
    room->mark = 0;

    ngx_sio_roster_init(&room->members);

    ngx_rbtree_insert(&nsp->rooms, &room->node.node);

    return room;
}


/* The room ends with its last member. */

static void
ngx_sio_room_vacate(ngx_sio_nsp_t *nsp, ngx_sio_room_t *room)
{
    if (room->members.n > 0) {
        ngx_sio_roster_shrink(&room->members, room->members.n);
        return;
    }

    ngx_rbtree_delete(&nsp->rooms, &room->node.node);
    ngx_sio_roster_done(&room->members);
    ngx_free(room);
}


/* Walks the shorter of the two: its rooms, or the members. */

static ngx_sio_membership_t *
ngx_sio_membership_find(ngx_sio_socket_t *so, ngx_sio_room_t *room)
{
    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_sio_membership_t    *m;
    ngx_sio_roster_entry_t  *entry;

    if (room->members.n < so->nrooms) {

        for (i = 0; i < room->members.n; i++) {
            entry = &room->members.entries[i];

            if (entry->socket == so) {
                return (ngx_sio_membership_t *)
                       ((u_char *) entry->place
                        - offsetof(ngx_sio_membership_t, place));
            }
        }

        return NULL;
    }

    for (q = ngx_queue_head(&so->rooms);
         q != ngx_queue_sentinel(&so->rooms);
         q = ngx_queue_next(q))
    {
        m = ngx_queue_data(q, ngx_sio_membership_t, of_socket);

        if (m->room == room) {
            return m;
        }
    }

    return NULL;
}


static void
ngx_sio_membership_remove(ngx_sio_socket_t *so, ngx_sio_membership_t *m)
{
    ngx_sio_roster_remove(&m->room->members, m->place);
    ngx_sio_room_vacate(so->nsp, m->room);

    ngx_queue_remove(&m->of_socket);
    so->nrooms--;

    ngx_free(m);
}


/*
 * A socket is in the room of its own id without a room being kept for it:
 * most sockets are addressed that way, and it would cost each of them a room
 * and a membership.
 */

static ngx_sio_socket_t *
ngx_sio_rooms_own(ngx_sio_nsp_t *nsp, ngx_str_t *name)
{
    ngx_sio_socket_t  *so;

    so = ngx_sio_socket_find(nsp->engine, name->data, name->len);

    if (so == NULL || so->nsp != nsp || !so->connected || so->left_own) {
        return NULL;
    }

    return so;
}


static ngx_uint_t
ngx_sio_rooms_is_own(ngx_sio_socket_t *so, ngx_str_t *name)
{
    return name->len == NGX_SIO_SOCKET_SID_LEN
           && ngx_memcmp(name->data, so->sid, NGX_SIO_SOCKET_SID_LEN) == 0;
}


ngx_uint_t
ngx_sio_rooms_select(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_sio_select_pt handler, void *data)
{
    ngx_sio_rooms_walk_t  walk;

    walk.handler = handler;
    walk.data = data;
    walk.since = e->mark + 1;

    return ngx_sio_rooms_visit_all(e, t, &walk);
}


/*
 * Each call has a mark of its own, greater than all before.  A socket that
 * bears it, or one since an earlier call of which this is a part, has been
 * excluded or has been visited already, so nobody is visited twice and no list
 * is made.  A room that bears it has been gone through, however often it is
 * named.
 */

static ngx_uint_t
ngx_sio_rooms_visit_all(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_sio_rooms_walk_t *walk)
{
    ngx_uint_t         i;
    ngx_sio_nsp_t     *nsp;
    ngx_sio_room_t    *room;
    ngx_sio_socket_t  *so;

    nsp = ngx_sio_nsp_find(e, &t->nsp);
    if (nsp == NULL) {
        return 0;
    }

    walk->mark = ++e->mark;
    walk->n = 0;

    for (i = 0; i < t->nexcept; i++) {
        ngx_sio_rooms_exclude(nsp, &t->except[i], walk->mark);
    }

    if (t->nto == 0) {
        ngx_sio_rooms_walk(walk, &nsp->sockets);
        return walk->n;
    }

    for (i = 0; i < t->nto; i++) {

        so = ngx_sio_rooms_own(nsp, &t->to[i]);

        if (so != NULL) {
            ngx_sio_rooms_visit(walk, so);
        }

        room = ngx_sio_room_find(nsp, &t->to[i]);

        if (room != NULL && room->mark != walk->mark) {
            room->mark = walk->mark;
            ngx_sio_rooms_walk(walk, &room->members);
        }
    }

    return walk->n;
}


static void
ngx_sio_rooms_walk(ngx_sio_rooms_walk_t *walk, ngx_sio_roster_t *roster)
{
    ngx_uint_t  i;

    for (i = 0; i < roster->n; i++) {
        ngx_sio_rooms_prefetch(roster, i);
        ngx_sio_rooms_visit(walk, roster->entries[i].socket);
    }
}


static ngx_inline void
ngx_sio_rooms_visit(ngx_sio_rooms_walk_t *walk, ngx_sio_socket_t *so)
{
    if (so->mark < walk->since) {
        so->mark = walk->mark;
        walk->n++;
        walk->handler(so, walk->data);
    }
}


/*
 * What the handler touches of those to come is fetched from memory, one step
 * after the other, while it is at work for those before them.
 */

static ngx_inline void
ngx_sio_rooms_prefetch(ngx_sio_roster_t *roster, ngx_uint_t i)
{
    ngx_sio_session_t  *s;

    if (i + 3 * NGX_SIO_ROOMS_AHEAD < roster->n) {
        ngx_sio_prefetch(roster->entries[i + 3 * NGX_SIO_ROOMS_AHEAD].socket);
    }

    if (i + 2 * NGX_SIO_ROOMS_AHEAD < roster->n) {
        s = roster->entries[i + 2 * NGX_SIO_ROOMS_AHEAD].socket->session;

        ngx_sio_prefetch(s);
        ngx_sio_prefetch((u_char *) s + 64);
    }

    if (i + NGX_SIO_ROOMS_AHEAD < roster->n) {
        s = roster->entries[i + NGX_SIO_ROOMS_AHEAD].socket->session;

        ngx_sio_prefetch(s->out);
        ngx_sio_prefetch((u_char *) s->out + sizeof(ngx_sio_out_t) - 1);
    }

    if (i + NGX_SIO_ROOMS_AHEAD / 2 < roster->n) {
        s = roster->entries[i + NGX_SIO_ROOMS_AHEAD / 2].socket->session;

        ngx_sio_prefetch(ngx_sio_out_next(s->out));
    }
}


static void
ngx_sio_rooms_exclude(ngx_sio_nsp_t *nsp, ngx_str_t *name, uint64_t mark)
{
    ngx_uint_t         i;
    ngx_sio_room_t    *room;
    ngx_sio_socket_t  *so;

    so = ngx_sio_rooms_own(nsp, name);

    if (so != NULL) {
        so->mark = mark;
    }

    room = ngx_sio_room_find(nsp, name);
    if (room == NULL || room->mark == mark) {
        return;
    }

    room->mark = mark;

    for (i = 0; i < room->members.n; i++) {
        room->members.entries[i].socket->mark = mark;
    }
}


ngx_uint_t
ngx_sio_rooms_some(ngx_sio_engine_t *e, ngx_sio_target_t *t,
    ngx_sio_socket_t **sockets, ngx_uint_t max, uint64_t *mark)
{
    ngx_sio_rooms_walk_t    walk;
    ngx_sio_rooms_picked_t  picked;

    if (*mark == 0) {
        *mark = e->mark + 1;
    }

    picked.sockets = sockets;
    picked.n = 0;
    picked.size = max;

    walk.handler = ngx_sio_rooms_some_handler;
    walk.data = &picked;
    walk.since = *mark;

    (void) ngx_sio_rooms_visit_all(e, t, &walk);

    return picked.n;
}


static void
ngx_sio_rooms_some_handler(ngx_sio_socket_t *so, void *data)
{
    ngx_sio_rooms_picked_t *picked = data;

    if (picked->n < picked->size) {
        picked->sockets[picked->n++] = so;

    } else {
        so->mark = 0;       /* for the next call */
    }
}


ngx_sio_socket_t **
ngx_sio_rooms_pick(ngx_sio_engine_t *e, ngx_sio_target_t *t, ngx_uint_t *n)
{
    ngx_sio_rooms_picked_t  picked;

    ngx_memzero(&picked, sizeof(ngx_sio_rooms_picked_t));

    *n = ngx_sio_rooms_select(e, t, ngx_sio_rooms_pick_handler, &picked);

    if (picked.failed) {
        ngx_free(picked.sockets);
        return NULL;
    }

    return picked.sockets;
}


static void
ngx_sio_rooms_pick_handler(ngx_sio_socket_t *so, void *data)
{
    ngx_sio_rooms_picked_t *picked = data;

    ngx_uint_t          size;
    ngx_sio_socket_t  **sockets;

    if (picked->failed) {
        return;
    }

    if (picked->n == picked->size) {
        size = picked->size ? picked->size * 2 : 16;

        sockets = ngx_alloc(size * sizeof(ngx_sio_socket_t *), ngx_cycle->log);
        if (sockets == NULL) {
            picked->failed = 1;
            return;
        }

        if (picked->n) {
            ngx_memcpy(sockets, picked->sockets,
                       picked->n * sizeof(ngx_sio_socket_t *));
            ngx_free(picked->sockets);
        }

        picked->sockets = sockets;
        picked->size = size;
    }

    picked->sockets[picked->n++] = so;
}
