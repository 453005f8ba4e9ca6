/*
 * What applications send as JSON, understood or refused.
 *
 * link: src/ngx_http_socketio_parse.c src/codec/ngx_sio_json.c
 * link: src/codec/ngx_sio_base64.c src/codec/ngx_sio_packet.c
 * link: src/codec/ngx_sio_utf8.c
 */

#include "ngx_sio_test.h"
#include "ngx_http_socketio_parse.h"
#include "ngx_sio_json.h"


#define TEST_ALLOCATIONS  64

#define TEST_62    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["                          \
                   "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
#define TEST_62_   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"                          \
                   "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"

#define TEST_50    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TEST_255   TEST_50 TEST_50 TEST_50 TEST_50 TEST_50 "aaaaa"


static void       *test_allocated[TEST_ALLOCATIONS];
static ngx_uint_t  test_nallocated;
static ngx_uint_t  test_fail;        /* this allocation fails; 0: none does */


static ngx_sio_test_case_t  emits[] = {

    { "event alone",
      ngx_string("{\"event\":\"a\"}"),
      "[\"a\"] nsp() to() except()" },

    { "args keep their bytes",
      ngx_string("{\"event\":\"\\u0061\",\"args\":"
                 "[ 1.50, 12345678901234567890,\"\\/\" , {\"b\":1,\"a\":2} ]}"),
      "[\"\\u0061\",1.50, 12345678901234567890,\"\\/\" , {\"b\":1,\"a\":2} ]"
      " nsp() to() except()" },

    { "no args in a list",
      ngx_string("{\"event\":\"a\",\"args\":[ \t\r\n ]}"),
      "[\"a\"] nsp() to() except()" },

    { "everything",
      ngx_string("{\"event\":\"a\",\"args\":[1],\"to\":[\"r\",\"s\"],"
                 "\"except\":\"x\",\"namespace\":\"/n\",\"broadcast\":true,"
                 "\"volatile\":true,\"ack\":\"t\"}"),
      "[\"a\",1] nsp(/n) to(r)(s) except(x) broadcast volatile ack(\"t\")" },

    { "null is absent",
      ngx_string("{\"event\":\"a\",\"args\":null,\"to\":null,\"except\":null,"
                 "\"namespace\":null,\"broadcast\":null,\"volatile\":null,"
                 "\"attachments\":null,\"ack\":null}"),
      "[\"a\"] nsp() to() except()" },

    { "empty lists",
      ngx_string("{\"event\":\"a\",\"to\":[],\"except\":[],"
                 "\"attachments\":[]}"),
      "[\"a\"] nsp() to() except()" },

    { "false",
      ngx_string("{\"event\":\"a\",\"broadcast\":false,\"volatile\":false}"),
      "[\"a\"] nsp() to() except()" },

    { "names are decoded",
      ngx_string("{\"event\":\"a\",\"to\":\"\\u00e9\\/\",\"except\":"
                 "[\"\\n\"]}"),
      "[\"a\"] nsp() to(\xc3\xa9/) except(\\x0a)" },

    { "the last of several members counts",
      ngx_string("{\"event\":\"a\",\"to\":\"r\",\"event\":\"b\",\"to\":null}"),
      "[\"b\"] nsp() to() except()" },

    { "member names are decoded",
      ngx_string("{\"\\u0065vent\":\"a\"}"),
      "[\"a\"] nsp() to() except()" },

    { "other members are ignored",
      ngx_string("{\"event\":\"a\",\"timeout\":5,\"x\":{\"event\":1}}"),
      "[\"a\"] nsp() to() except()" },

    { "empty event name",
      ngx_string("{\"event\":\"\"}"),
      "[\"\"] nsp() to() except()" },

    { "attachments",
      ngx_string("{\"event\":\"a\",\"args\":[{\"_placeholder\":true,"
                 "\"num\":1},{\"_placeholder\":true,\"num\":0}],"
                 "\"attachments\":[\"AQID\",\"\"]}"),
      "[\"a\",{\"_placeholder\":true,\"num\":1},"
      "{\"_placeholder\":true,\"num\":0}] nsp() to() except() 010203, ," },

    { "attachment with escaped slashes",
      ngx_string("{\"event\":\"a\",\"attachments\":[\"+\\/8=\"]}"),
      "[\"a\"] nsp() to() except() fbff," },

    { "a placeholder without attachments is data",
      ngx_string("{\"event\":\"a\",\"args\":[{\"_placeholder\":true,"
                 "\"num\":7}]}"),
      "[\"a\",{\"_placeholder\":true,\"num\":7}] nsp() to() except()" },

    { "name of 255 octets",
      ngx_string("{\"event\":\"a\",\"to\":\"" TEST_255 "\"}"),
      "[\"a\"] nsp() to(" TEST_255 ") except()" },

    { "name of 256 octets",
      ngx_string("{\"event\":\"a\",\"to\":[\"b\",\"" TEST_255 "a\"]}"),
      "! \"to\" is longer than 255 octets" },

    { "namespace of 256 octets",
      ngx_string("{\"event\":\"a\",\"namespace\":\"/" TEST_255 "\"}"),
      "! \"namespace\" is longer than 255 octets" },

    { "depth of 64",
      ngx_string("{\"event\":\"a\",\"args\":[" TEST_62 TEST_62_ "]}"),
      "[\"a\"," TEST_62 TEST_62_ "] nsp() to() except()" },

    { "depth of 65",
      ngx_string("{\"event\":\"a\",\"args\":[[" TEST_62 TEST_62_ "]]}"),
      "! the text is not JSON, or nested too deeply" },

    { "no event",
      ngx_string("{\"args\":[]}"),
      "! \"event\" is missing" },

    { "event is null",
      ngx_string("{\"event\":null}"),
      "! \"event\" is missing" },

    { "event is a number",
      ngx_string("{\"event\":1}"),
      "! \"event\" must be a string" },

    { "reserved event",
      ngx_string("{\"event\":\"connect\"}"),
      "! \"connect\" is a reserved event name" },

    { "reserved event in disguise",
      ngx_string("{\"event\":\"remove\\u004cistener\"}"),
      "! \"removeListener\" is a reserved event name" },

    { "beginning with a reserved name",
      ngx_string("{\"event\":\"connection\"}"),
      "[\"connection\"] nsp() to() except()" },

    { "args are no list",
      ngx_string("{\"event\":\"a\",\"args\":{\"0\":1}}"),
      "! \"args\" must be a list" },

    { "to is a number",
      ngx_string("{\"event\":\"a\",\"to\":42}"),
      "! \"to\" must be a string or a list of strings" },

    { "to has a number",
      ngx_string("{\"event\":\"a\",\"to\":[\"r\",42]}"),
      "! \"to\" must be a string or a list of strings" },

    { "to has null",
      ngx_string("{\"event\":\"a\",\"to\":[null]}"),
      "! \"to\" must be a string or a list of strings" },

    { "to is empty",
      ngx_string("{\"event\":\"a\",\"to\":\"\"}"),
      "! \"to\" must not be an empty string" },

    { "except is an object",
      ngx_string("{\"event\":\"a\",\"except\":{}}"),
      "! \"except\" must be a string or a list of strings" },

    { "namespace is a list",
      ngx_string("{\"event\":\"a\",\"namespace\":[\"/\"]}"),
      "! \"namespace\" must be a string" },

    { "namespace without slash",
      ngx_string("{\"event\":\"a\",\"namespace\":\"n\"}"),
      "! \"namespace\" must begin with a slash" },

    { "volatile is a number",
      ngx_string("{\"event\":\"a\",\"volatile\":1}"),
      "! \"volatile\" must be true or false" },

    { "broadcast is a string",
      ngx_string("{\"event\":\"a\",\"broadcast\":\"true\"}"),
      "! \"broadcast\" must be true or false" },

    { "attachments are a string",
      ngx_string("{\"event\":\"a\",\"attachments\":\"AQID\"}"),
      "! \"attachments\" must be a list of base64 strings" },

    { "attachments have a number",
      ngx_string("{\"event\":\"a\",\"attachments\":[1]}"),
      "! \"attachments\" must be a list of base64 strings" },

    { "attachment without padding",
      ngx_string("{\"event\":\"a\",\"attachments\":[\"AQI\"]}"),
      "! \"attachments\" must be a list of base64 strings" },

    { "too many attachments",
      ngx_string("{\"event\":\"a\",\"attachments\":[\"\",\"\",\"\"]}"),
      "! \"attachments\" are more than socketio_max_attachments" },

    { "placeholder out of range",
      ngx_string("{\"event\":\"a\",\"args\":[[{\"_placeholder\":true,"
                 "\"num\":1}]],\"attachments\":[\"AQID\"]}"),
      "! \"attachments\" do not match the placeholders" },

    { "placeholder without number",
      ngx_string("{\"event\":\"a\",\"args\":[{\"_placeholder\":true}],"
                 "\"attachments\":[\"AQID\"]}"),
      "! \"attachments\" do not match the placeholders" },

    { "no object",
      ngx_string("[\"event\",\"a\"]"),
      "! an emit must be an object" },

    { "no JSON",
      ngx_string("{\"event\":\"a\",}"),
      "! the text is not JSON, or nested too deeply" },

    { "nothing",
      ngx_string(""),
      "! the text is not JSON, or nested too deeply" },

    { "two values",
      ngx_string("{\"event\":\"a\"} {}"),
      "! the text is not JSON, or nested too deeply" },

    { "no UTF-8",
      ngx_string("{\"event\":\"\xe9\"}"),
      "! the text is not UTF-8" },

    { "a surrogate in UTF-8",
      ngx_string("{\"event\":\"\xed\xa0\x80\"}"),
      "! the text is not UTF-8" }
};


/* ngx_palloc.c is in the nginx binary, which is not linked here */

void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    (void) pool;

    if (test_fail && test_nallocated + 1 == test_fail) {
        return NULL;
    }

    if (test_nallocated == TEST_ALLOCATIONS) {
        return NULL;
    }

    p = malloc(size);
    test_allocated[test_nallocated++] = p;

    return p;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


static void
test_free(void)
{
    while (test_nallocated) {
        free(test_allocated[--test_nallocated]);
    }
}


static void
test_names(const char *title, ngx_str_t *names, ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_sio_test_out(" %s", title);

    if (n == 0) {
        ngx_sio_test_out("()");
    }

    for (i = 0; i < n; i++) {
        ngx_sio_test_out("(");
        ngx_sio_test_str(&names[i]);
        ngx_sio_test_out(")");
    }
}


static void
test_print(ngx_http_socketio_emit_t *emit)
{
    ngx_uint_t  i;

    ngx_sio_test_str(&emit->json);
    test_names("nsp", &emit->target.nsp, 1);
    test_names("to", emit->target.to, emit->target.nto);
    test_names("except", emit->target.except, emit->target.nexcept);

    ngx_sio_test_out(emit->broadcast ? " broadcast" : "");
    ngx_sio_test_out(emit->is_volatile ? " volatile" : "");

    if (emit->ack.len) {
        test_names("ack", &emit->ack, 1);
    }

    for (i = 0; i < emit->nattachments; i++) {
        ngx_sio_test_out(" ");
        ngx_sio_test_hex(emit->attachments[i].data, emit->attachments[i].len);
        ngx_sio_test_out(",");
    }
}


static ngx_int_t
test_parse(ngx_str_t *in, ngx_http_socketio_parse_t *p,
    ngx_http_socketio_emit_t *emit)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    ngx_memzero(p, sizeof(ngx_http_socketio_parse_t));
    p->max_attachments = 2;

    rc = ngx_http_socketio_parse_text(p, in, &value);

    if (rc == NGX_OK) {
        rc = ngx_http_socketio_parse_emit(p, &value, emit);
    }

    return rc;
}


static void
test_emit(ngx_str_t *in)
{
    ngx_int_t                  rc;
    ngx_http_socketio_emit_t   emit;
    ngx_http_socketio_parse_t  p;

    rc = test_parse(in, &p, &emit);

    if (rc == NGX_OK) {
        test_print(&emit);

    } else {
        ngx_sio_test_out(rc == NGX_DECLINED ? "! " : "no memory");
        ngx_sio_test_str(&p.error);
    }

    test_free();
}


/* the n-th allocation fails: NGX_ERROR, or the case needs fewer than n */

static void
test_memory(void)
{
    ngx_int_t                  rc;
    ngx_str_t                  in;
    ngx_uint_t                 i, n, ok, errors;
    ngx_http_socketio_emit_t   emit;
    ngx_http_socketio_parse_t  p;

    ok = 1;
    errors = 0;

    for (i = 0; i < sizeof(emits) / sizeof(emits[0]); i++) {

        for (n = 1; n < TEST_ALLOCATIONS; n++) {
            in = emits[i].in;

            test_fail = n;
            rc = test_parse(&in, &p, &emit);

            if (rc != NGX_ERROR) {
                test_free();
                break;
            }

            errors++;
            ok = ok && test_nallocated == n - 1;
            test_free();
        }
    }

    test_fail = 0;

    ngx_sio_test_ok(ok && errors > 20, "emit", "no memory");
}


int
main(void)
{
    ngx_sio_test_inputs("emit", emits, sizeof(emits) / sizeof(emits[0]),
                        test_emit);
    test_memory();

    return ngx_sio_test_done();
}
