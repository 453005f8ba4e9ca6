
/*
 * Tables of inputs and expected results for unit tests, which print TAP.
 *
 * A test program is one file.  t/00-unit.t finds in comments of the file
 * which of our sources and which libraries it is linked with:
 *
 *     link: src/codec/ngx_sio_json.c
 *     libs: -lcrypto
 *
 * Each input is copied to memory of exactly its size, so that the sanitizer
 * sees an access of one octet too many.  What a test prints with
 * ngx_sio_test_out() and ngx_sio_test_str() is compared with the case.
 */


#ifndef _NGX_SIO_TEST_H_INCLUDED_
#define _NGX_SIO_TEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_SIO_TEST_OUT     65536
#define NGX_SIO_TEST_OCTETS  ((size_t) -1)      /* "cut" between all octets */


/* "!" in the expected result is NGX_DECLINED */

typedef struct {
    const char  *name;
    ngx_str_t    in;
    const char  *out;
} ngx_sio_test_case_t;


typedef void (*ngx_sio_test_input_pt)(ngx_str_t *in);
typedef void (*ngx_sio_test_stream_pt)(ngx_str_t *in, size_t cut);


static ngx_uint_t  ngx_sio_test_count;
static ngx_uint_t  ngx_sio_test_failed;
static size_t      ngx_sio_test_len;
static char        ngx_sio_test_buf[NGX_SIO_TEST_OUT];


/* one TAP line */

static ngx_inline void
ngx_sio_test_ok(ngx_uint_t ok, const char *area, const char *name)
{
    if (!ok) {
        ngx_sio_test_failed++;
    }

    printf("%sok %u - %s%s%s\n", ok ? "" : "not ",
           (unsigned) ++ngx_sio_test_count, area, *area ? ", " : "", name);
}


/* the plan; returned from main() */

static ngx_inline int
ngx_sio_test_done(void)
{
    printf("1..%u\n", (unsigned) ngx_sio_test_count);

    return ngx_sio_test_failed ? 1 : 0;
}


static ngx_inline void
ngx_sio_test_out(const char *fmt, ...)
{
    int      n;
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(ngx_sio_test_buf + ngx_sio_test_len,
                  NGX_SIO_TEST_OUT - ngx_sio_test_len, fmt, args);
    va_end(args);

    ngx_sio_test_len = ngx_min(ngx_sio_test_len + n, NGX_SIO_TEST_OUT - 1);
}


/* control characters are shown as \xNN */

static ngx_inline void
ngx_sio_test_octets(const u_char *p, size_t len)
{
    const u_char  *last;

    for (last = p + len; p < last; p++) {

        if (*p < 0x20 || *p == 0x7f) {
            ngx_sio_test_out("\\x%02x", *p);

        } else {
            ngx_sio_test_out("%c", *p);
        }
    }
}


static ngx_inline void
ngx_sio_test_str(ngx_str_t *s)
{
    ngx_sio_test_octets(s->data, s->len);
}


static ngx_inline void
ngx_sio_test_hex(const u_char *p, size_t len)
{
    const u_char  *last;

    for (last = p + len; p < last; p++) {
        ngx_sio_test_out("%02x", *p);
    }
}


static ngx_inline void
ngx_sio_test_reset(void)
{
    ngx_sio_test_len = 0;
    ngx_sio_test_buf[0] = '\0';
}


/* memory of exactly this size; the caller frees it */

static ngx_inline u_char *
ngx_sio_test_copy(const u_char *p, size_t len)
{
    u_char  *copy;

    copy = malloc(len);

    if (copy == NULL && len) {
        printf("Bail out! no memory\n");
        exit(1);
    }

    if (len) {
        memcpy(copy, p, len);
    }

    return copy;
}


/* what fuzzers begin with, see t/fuzz/seeds */

static ngx_inline void
ngx_sio_test_seed(ngx_str_t *in)
{
    FILE                *file;
    char                 path[1024];
    const char          *folder;

    static ngx_uint_t    n;

    folder = getenv("SIO_TEST_SEEDS");

    if (folder == NULL) {
        return;
    }

    snprintf(path, sizeof(path), "%s/%u", folder, (unsigned) n++);
    file = fopen(path, "w");

    if (file == NULL || fwrite(in->data, 1, in->len, file) != in->len) {
        printf("Bail out! %s\n", path);
        exit(1);
    }

    fclose(file);
}


static ngx_inline ngx_uint_t
ngx_sio_test_compare(const char *expected, const char *how, size_t cut)
{
    if (strcmp(ngx_sio_test_buf, expected) == 0) {
        return 1;
    }

    printf("# %s", how);

    if (cut != NGX_SIO_TEST_OCTETS) {
        printf(" %lu", (unsigned long) cut);
    }

    printf("\n#      got: %s\n# expected: %s\n", ngx_sio_test_buf, expected);

    return 0;
}


/*
 * For whole inputs.  Every beginning of an input is tried as well; it must
 * not break anything, whatever comes out.
 */

static ngx_inline void
ngx_sio_test_inputs(const char *area, ngx_sio_test_case_t *cases,
    ngx_uint_t n, ngx_sio_test_input_pt run)
{
    size_t      len;
    ngx_str_t   in;
    ngx_uint_t  i, ok;

    for (i = 0; i < n; i++) {
        ngx_sio_test_seed(&cases[i].in);
        ok = 1;

        for (len = 0; len <= cases[i].in.len; len++) {
            in.len = len;
            in.data = ngx_sio_test_copy(cases[i].in.data, len);

            ngx_sio_test_reset();
            run(&in);

            free(in.data);
        }

        ok = ngx_sio_test_compare(cases[i].out, "whole", NGX_SIO_TEST_OCTETS);

        ngx_sio_test_ok(ok, area, cases[i].name);
    }
}


/*
 * For resumable parsers.  Every input is tried whole, cut in two at every
 * octet, and octet by octet; the result must always be the same.
 */

static ngx_inline void
ngx_sio_test_streams(const char *area, ngx_sio_test_case_t *cases,
    ngx_uint_t n, ngx_sio_test_stream_pt run)
{
    size_t      cut;
    ngx_uint_t  i, ok;

    for (i = 0; i < n; i++) {
        ngx_sio_test_seed(&cases[i].in);
        ok = 1;

        for (cut = 0; ok && cut <= cases[i].in.len; cut++) {
            ngx_sio_test_reset();
            run(&cases[i].in, cut);
            ok = ngx_sio_test_compare(cases[i].out, "cut at", cut);
        }

        if (ok) {
            ngx_sio_test_reset();
            run(&cases[i].in, NGX_SIO_TEST_OCTETS);
            ok = ngx_sio_test_compare(cases[i].out, "octet by octet",
                                      NGX_SIO_TEST_OCTETS);
        }

        ngx_sio_test_ok(ok, area, cases[i].name);
    }
}


/* how much of a stream comes next, behind the first offset octets */

static ngx_inline size_t
ngx_sio_test_chunk(ngx_str_t *in, size_t offset, size_t cut)
{
    if (cut == NGX_SIO_TEST_OCTETS) {
        return offset < in->len;
    }

    return (offset < cut) ? cut - offset : in->len - offset;
}


#define ngx_sio_test_table(kind, area, cases, run)                            \
    ngx_sio_test_##kind(area, cases,                                          \
                        sizeof(cases) / sizeof(ngx_sio_test_case_t), run)


#endif /* _NGX_SIO_TEST_H_INCLUDED_ */
