
/*
 * What the files ngx_http_socketio_api*.c share: a request to the API, its
 * calls, and how each of them waits for the workers.
 *
 * Layer:      top.
 * Ownership:  everything is of the pool of the request; while it waits it is in
 *             the table of parked requests and has a timer.
 * Hostile:    the body and the query, also of a caller who has a key.
 * Reference:  README, "HTTP API".
 *
 *     ngx_http_socketio_api.c         a request: one call, or a batch of them
 *     ngx_http_socketio_api_access.c  who may call
 *     ngx_http_socketio_api_call.c    bodies become commands, results answers
 *     ngx_http_socketio_api_list.c    the same for lists, page by page
 *     ngx_http_socketio_api_run.c     commands are sent, workers are heard
 *     ngx_http_socketio_api_wait.c    who has answered and who is to
 *     ngx_http_socketio_api_answer.c  what the caller is told
 *     ngx_http_socketio_api_text.c    JSON, piece by piece
 */


#ifndef _NGX_HTTP_SOCKETIO_API_H_INCLUDED_
#define _NGX_HTTP_SOCKETIO_API_H_INCLUDED_


#include "ngx_http_socketio_module.h"
#include "ngx_http_socketio_parse.h"
#include "ngx_http_socketio_result.h"


typedef struct ngx_http_socketio_api_s       ngx_http_socketio_api_t;
typedef struct ngx_http_socketio_api_call_s  ngx_http_socketio_api_call_t;


/* A text that grows; what has no memory makes it failed. */

typedef struct {
    ngx_pool_t                    *pool;
    ngx_chain_t                   *first;
    ngx_chain_t                  **last;     /* &first when empty */
    ngx_buf_t                     *b;        /* that has room, or NULL */
    size_t                         len;
    unsigned                       failed:1;
} ngx_http_socketio_api_text_t;


/* What one worker, or another host through it, is yet to say. */

typedef struct {
    ngx_sio_hub_addr_t             addr;
    ngx_int_t                      due;      /* further results; below 0: they
                                                came before the announcement */
    ngx_int_t                      owed;     /* acknowledgements; likewise */
} ngx_http_socketio_api_side_t;


typedef struct {
    ngx_sio_hub_members_t          missing;  /* have not answered */
    ngx_array_t                   *sides;    /* ..._api_side_t; NULL: none */
    ngx_uint_t                     matched;  /* sockets, so far */
    ngx_uint_t                     done;
    ngx_msec_t                     deadline;
    unsigned                       acks:1;   /* each socket owes one */
    unsigned                       first:1;  /* at most one socket is meant:
                                                whoever has it says it all */
    unsigned                       incomplete:1;
    unsigned                       active:1; /* waits */
    unsigned                       queued:1; /* for room in the log: who is
                                                missing is not known yet */
} ngx_http_socketio_api_wait_t;


typedef struct {
    ngx_str_t                      name;
    ngx_uint_t                     methods;
    ngx_str_t                      allow;    /* their names */
    ngx_uint_t                     path;     /* of NGX_HTTP_SOCKETIO_API_... */
    ngx_uint_t                     batch;    /* may be in one */

    /*
     * Makes the command: of the body's object, or, when that is NULL, of the
     * request's path and query.
     *
     *   NGX_OK
     *   NGX_DECLINED  call->status and the others say why not
     *   NGX_ERROR     no memory
     */
    ngx_int_t  (*parse)(ngx_http_socketio_api_call_t *call, ngx_str_t *object);

    /*
     * A worker's part of a list.  Or NULL.
     */
    void       (*rows)(ngx_http_socketio_api_call_t *call,
                   ngx_http_socketio_result_t *result, ngx_str_t *rows);

    /*
     * Everybody has answered, or the time is over: writes the JSON, or refuses,
     * or does neither (204).
     */
    void       (*answer)(ngx_http_socketio_api_call_t *call,
                   ngx_http_socketio_api_text_t *text);
} ngx_http_socketio_api_op_t;

#define NGX_HTTP_SOCKETIO_GONE        410    /* nginx has no name for it */

/* msec that workers have to answer */
#define NGX_HTTP_SOCKETIO_API_TIMEOUT 5000

/* how the name of a call goes on in the path */

#define NGX_HTTP_SOCKETIO_API_ALONE   0
#define NGX_HTTP_SOCKETIO_API_NAMED   1      /* "name/argument" */


struct ngx_http_socketio_api_call_s {
    ngx_http_socketio_api_t           *api;
    const ngx_http_socketio_api_op_t  *op;
    ngx_http_socketio_command_t        command;
    ngx_http_socketio_api_wait_t       wait;
    void                              *data;     /* of its operation */

    ngx_uint_t                         status;   /* of an error; 0: none */
    const char                        *code;
    ngx_str_t                          message;
    unsigned                           indexed:1; /* it is about the call
                                                     calls[ncalls] of a batch */
};


struct ngx_http_socketio_api_s {
    ngx_http_socketio_ctx_t            ctx;      /* first: the module's context
                                                    of a request */
    ngx_http_request_t                *request;
    ngx_http_socketio_loc_conf_t      *lcf;
    ngx_http_socketio_worker_t        *worker;

    ngx_http_socketio_parse_t          parse;
    ngx_str_t                          argument; /* in the path */
    ngx_http_socketio_api_call_t      *calls;
    ngx_uint_t                         ncalls;
    ngx_uint_t                         waiting;  /* of them */
    ngx_http_socketio_api_call_t       call;     /* when there is one */

    ngx_http_socketio_parked_t        *parked;   /* while it waits */
    ngx_event_t                        timer;
    size_t                             held;     /* octets of answers, counted
                                                    in worker->held */
    unsigned                           batch:1;
    unsigned                           full:1;   /* was logged */
};


/* ngx_http_socketio_api.c */

/* Whether any location of the zone admits the namespace; if not it fails. */
ngx_int_t ngx_http_socketio_api_declared(ngx_http_socketio_api_call_t *call);

/* What the parser did not accept; returns rc. */
ngx_int_t ngx_http_socketio_api_malformed(ngx_http_socketio_api_call_t *call,
    ngx_int_t rc);


/* ngx_http_socketio_api_access.c */

/*
 *   NGX_OK        may pass
 *   NGX_DECLINED  call->status and the others say why not; a header was added
 *                 where one belongs to it
 *   NGX_ERROR     no memory
 */
ngx_int_t ngx_http_socketio_api_admit(ngx_http_socketio_api_call_t *call);

/* NULL: no memory. */
ngx_table_elt_t *ngx_http_socketio_api_header(ngx_http_request_t *r,
    const char *name, const char *value);


/* ngx_http_socketio_api_call.c */

extern const ngx_http_socketio_api_op_t  ngx_http_socketio_api_ops[];

/* An acknowledgement of a client. */
void ngx_http_socketio_api_acked(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_acked_t *acked);


/* ngx_http_socketio_api_list.c: see ngx_http_socketio_api_op_t */

ngx_int_t ngx_http_socketio_api_list_parse_sockets(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
ngx_int_t ngx_http_socketio_api_list_parse_socket(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
ngx_int_t ngx_http_socketio_api_list_parse_rooms(
    ngx_http_socketio_api_call_t *call, ngx_str_t *object);
void ngx_http_socketio_api_list_rows(ngx_http_socketio_api_call_t *call,
    ngx_http_socketio_result_t *result, ngx_str_t *rows);
void ngx_http_socketio_api_list_answer_sockets(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);
void ngx_http_socketio_api_list_answer_socket(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);
void ngx_http_socketio_api_list_answer_rooms(
    ngx_http_socketio_api_call_t *call, ngx_http_socketio_api_text_t *text);


/* ngx_http_socketio_api_run.c */

/*
 * Sends the calls, all of which have been understood.  Returns what the request
 * is finalized with, or NGX_DONE: it will be later.
 */
ngx_int_t ngx_http_socketio_api_start(ngx_http_socketio_api_t *api);

/*
 * Whether so many octets of answers may be kept; they are counted until the
 * request ends.  Otherwise the call becomes incomplete.
 */
ngx_uint_t ngx_http_socketio_api_hold(ngx_http_socketio_api_call_t *call,
    size_t len);


/* ngx_http_socketio_api_wait.c */

/*
 * A worker's result, and the news of an acknowledgement.  NGX_OK;
 * NGX_DECLINED: nobody was waiting for it.
 */
ngx_int_t ngx_http_socketio_api_wait_result(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t from, ngx_http_socketio_result_t *result,
    u_char *due);
ngx_int_t ngx_http_socketio_api_wait_acked(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t from, ngx_http_socketio_acked_t *acked);

/* A worker has ended; what it was to say will not be said. */
void ngx_http_socketio_api_wait_down(ngx_http_socketio_api_call_t *call,
    ngx_sio_hub_addr_t dead);

/* Whether there is nothing left to wait for. */
ngx_uint_t ngx_http_socketio_api_wait_over(
    ngx_http_socketio_api_wait_t *wait);


/* ngx_http_socketio_api_answer.c */

/* what a call that cannot be sent at all is told, and others of its batch */
void ngx_http_socketio_api_fail(ngx_http_socketio_api_call_t *call,
    ngx_uint_t status, const char *code, const char *fmt, ...);

/* for what cannot be answered without those who are silent */
void ngx_http_socketio_api_incomplete(ngx_http_socketio_api_call_t *call);

/*
 * For all calls, which are over, or for one that has failed.  Both return what
 * the request is finalized with.
 */
ngx_int_t ngx_http_socketio_api_answer(ngx_http_socketio_api_t *api);
ngx_int_t ngx_http_socketio_api_refuse(ngx_http_socketio_api_call_t *call);


/* ngx_http_socketio_api_text.c */

void ngx_http_socketio_api_text_init(ngx_http_socketio_api_text_t *text,
    ngx_pool_t *pool);
void ngx_http_socketio_api_text_put(ngx_http_socketio_api_text_t *text,
    const void *data, size_t len);

/* a string with quotes and escapes; octets in base64, with quotes; a number */
void ngx_http_socketio_api_text_string(ngx_http_socketio_api_text_t *text,
    ngx_str_t *str);
void ngx_http_socketio_api_text_octets(ngx_http_socketio_api_text_t *text,
    ngx_str_t *octets);
void ngx_http_socketio_api_text_uint(ngx_http_socketio_api_text_t *text,
    uint64_t n);

/* Moves all of from behind what is in text. */
void ngx_http_socketio_api_text_splice(ngx_http_socketio_api_text_t *text,
    ngx_http_socketio_api_text_t *from);

#define ngx_http_socketio_api_text_literal(text, literal)                     \
    ngx_http_socketio_api_text_put(text, literal, sizeof(literal) - 1)


#endif /* _NGX_HTTP_SOCKETIO_API_H_INCLUDED_ */
