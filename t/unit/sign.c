/*
 * Ids and signatures of webhooks.  The first signature is the test vector of
 * Standard Webhooks, the others come from another implementation of HMAC.
 *
 * link: src/ngx_http_socketio_sign.c src/base/ngx_sio_random.c
 * libs: -lcrypto
 */

#include "ngx_sio_test.h"
#include "ngx_http_socketio_sign.h"

#include <sys/wait.h>


/* "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", decoded */

#define KEY                                                                   \
    "\x31\xf2\x90\xf6\xbf\x06\x29\x8a\xab\x4f\x08\xd4\x3c\x3f\x08\x2c"        \
    "\xf6\x48\xa3\x62\xda\x2d\xa4\xb0"

#define ZEROS  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

#define IDS    3000


ngx_pid_t  ngx_pid;     /* nginx sets it in every process it forks */


typedef struct {
    const char  *name;
    ngx_uint_t   n;
    ngx_str_t    secrets[2];
    ngx_str_t    id;
    ngx_str_t    timestamp;
    ngx_str_t    body;
    const char  *out;
} ngx_sio_test_sign_t;


static ngx_sio_test_sign_t  signatures[] = {

    { "the test vector", 1, { ngx_string(KEY), ngx_null_string },
      ngx_string("msg_p5jXN8AQM9LWM0D4loKWxJek"), ngx_string("1614265330"),
      ngx_string("{\"test\": 2432232314}"),
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" },

    { "no body", 1, { ngx_string(KEY), ngx_null_string },
      ngx_string("msg_p5jXN8AQM9LWM0D4loKWxJek"), ngx_string("1614265330"),
      ngx_string(""),
      "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A=" },

    { "a secret longer than a block", 1,
      { ngx_string(ZEROS ZEROS ZEROS ZEROS), ngx_null_string },
      ngx_string("msg_p5jXN8AQM9LWM0D4loKWxJek"), ngx_string("1614265330"),
      ngx_string("{\"test\": 2432232314}"),
      "v1,1OibZMJeLQc/NRuVvf4gnssEBLlM1N4up+ppu2Bzx7M=" },

    { "two secrets, octets that are no text", 2,
      { ngx_string(KEY), ngx_string("old") },
      ngx_string("msg_1"), ngx_string("1"), ngx_string("\0\xff"),
      "v1,llytHNrklKYIJj6HknVE7z5I1qEcGi4q6zZGc+AtF8E="
      " v1,FREO6tx6gH8/oA4xP9gOsO1f2L29yuWkLLdiYdQelFM=" },

    { "no secret", 0, { ngx_null_string, ngx_null_string },
      ngx_string("msg_1"), ngx_string("1"), ngx_string("{}"), "" },
};


static u_char  ids[IDS][NGX_HTTP_SOCKETIO_SIGN_ID_LEN];


static void
test_signatures(void)
{
    size_t                size;
    u_char               *p, *last;
    ngx_uint_t            i;
    ngx_sio_test_sign_t  *s;

    for (i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        s = &signatures[i];

        size = ngx_http_socketio_sign_length(s->n);

        p = malloc(size + 1);
        if (p == NULL) {
            abort();
        }

        last = ngx_http_socketio_sign_write(p, s->secrets, s->n, &s->id,
                                            &s->timestamp, &s->body);

        ngx_sio_test_ok(last != NULL && (size_t) (last - p) <= size
                        && (size_t) (last - p) == strlen(s->out)
                        && memcmp(p, s->out, last - p) == 0,
                        "signature", s->name);
        free(p);
    }
}


static int
compare_ids(const void *one, const void *two)
{
    return memcmp(one, two, NGX_HTTP_SOCKETIO_SIGN_ID_LEN);
}


static void
test_ids(void)
{
    u_char      *id;
    ngx_uint_t   i, j, failed, foreign, same;

    failed = 0;
    foreign = 0;
    same = 0;

    for (i = 0; i < IDS; i++) {
        id = ids[i];

        if (ngx_http_socketio_sign_id(id) != NGX_OK) {
            failed++;
        }

        if (memcmp(id, "msg_", 4) != 0) {
            foreign++;
        }

        for (j = 4; j < NGX_HTTP_SOCKETIO_SIGN_ID_LEN; j++) {
            if (!isalnum(id[j]) && id[j] != '-' && id[j] != '_') {
                foreign++;
            }
        }
    }

    qsort(ids, IDS, sizeof(ids[0]), compare_ids);

    for (i = 1; i < IDS; i++) {
        if (compare_ids(ids[i - 1], ids[i]) == 0) {
            same++;
        }
    }

    ngx_sio_test_ok(failed == 0, "id", "is always made");
    ngx_sio_test_ok(foreign == 0, "id", "is of letters, digits, - and _");
    ngx_sio_test_ok(same == 0, "id", "is never the same");
}


static void
test_fork(void)
{
    int     status, fds[2];
    pid_t   pid;
    u_char  mine[NGX_HTTP_SOCKETIO_SIGN_ID_LEN];
    u_char  other[NGX_HTTP_SOCKETIO_SIGN_ID_LEN];

    if (pipe(fds) != 0) {
        abort();
    }

    pid = fork();

    if (pid == 0) {
        ngx_pid = getpid();

        status = ngx_http_socketio_sign_id(mine) == NGX_OK
                 && write(fds[1], mine, sizeof(mine)) == sizeof(mine);
        _exit(status ? 0 : 1);
    }

    close(fds[1]);

    ngx_sio_test_ok(ngx_http_socketio_sign_id(mine) == NGX_OK
                    && read(fds[0], other, sizeof(other)) == sizeof(other)
                    && waitpid(pid, &status, 0) == pid && status == 0
                    && compare_ids(mine, other) != 0,
                    "id", "is another one in a process that was forked");

    close(fds[0]);
}


int
main(void)
{
    test_signatures();
    test_ids();
    test_fork();

    return ngx_sio_test_done();
}
