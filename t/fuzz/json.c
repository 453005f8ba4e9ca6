
/*
 * The scanner of JSON against a second opinion, which has nothing of it: the
 * same texts are taken.  What is taken is walked through, and strings come
 * back from being decoded and escaped.
 *
 * link: src/codec/ngx_sio_json.c src/codec/ngx_sio_utf8.c
 */

#include "fuzz.h"
#include "ngx_sio_json.h"
#include "ngx_sio_utf8.h"


#define FUZZ_DEPTH  64


/* RFC 8259, word by word: behind the value, or NULL. */

static const u_char *
fuzz_space(const u_char *p, const u_char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }

    return p;
}


static const u_char *
fuzz_word(const u_char *p, const u_char *end, const char *word)
{
    size_t  n;

    n = strlen(word);

    return ((size_t) (end - p) >= n && memcmp(p, word, n) == 0) ? p + n : NULL;
}


static const u_char *
fuzz_digits(const u_char *p, const u_char *end)
{
    const u_char  *first;

    for (first = p; p < end && *p >= '0' && *p <= '9'; p++) { /* void */ }

    return p > first ? p : NULL;
}


static const u_char *
fuzz_number(const u_char *p, const u_char *end)
{
    p += (*p == '-');

    if (p < end && *p == '0') {
        p++;

    } else {
        p = fuzz_digits(p, end);
    }

    if (p && p < end && *p == '.') {
        p = fuzz_digits(p + 1, end);
    }

    if (p && p < end && (*p | 0x20) == 'e') {
        p++;
        p += (p < end && (*p == '+' || *p == '-'));
        p = fuzz_digits(p, end);
    }

    return p;
}


static const u_char *
fuzz_string(const u_char *p, const u_char *end)
{
    ngx_uint_t  i;

    for (p++; p < end && *p != '"'; p++) {

        if (*p < 0x20) {
            return NULL;
        }

        if (*p != '\\') {
            continue;
        }

        if (++p == end || *p == '\0') {
            return NULL;
        }

        if (*p == 'u') {
            for (i = 0; i < 4; i++) {
                if (++p == end || *p == '\0'
                    || strchr("0123456789abcdefABCDEF", *p) == NULL)
                {
                    return NULL;
                }
            }

        } else if (strchr("\"\\/bfnrt", *p) == NULL) {
            return NULL;
        }
    }

    return p < end ? p + 1 : NULL;
}


static const u_char *
fuzz_value(const u_char *p, const u_char *end, ngx_uint_t depth)
{
    u_char  close;

    p = fuzz_space(p, end);

    if (p == end) {
        return NULL;
    }

    switch (*p) {

    case '"':
        return fuzz_string(p, end);

    case 't':
        return fuzz_word(p, end, "true");

    case 'f':
        return fuzz_word(p, end, "false");

    case 'n':
        return fuzz_word(p, end, "null");

    case '[':
    case '{':
        break;

    default:
        return (*p == '-' || (*p >= '0' && *p <= '9')) ? fuzz_number(p, end)
                                                       : NULL;
    }

    if (depth == 0) {
        return NULL;
    }

    close = *p == '[' ? ']' : '}';
    p = fuzz_space(p + 1, end);

    if (p < end && *p == close) {
        return p + 1;
    }

    for ( ;; ) {

        if (close == '}') {
            p = fuzz_space(p, end);

            if (p == end || *p != '"') {
                return NULL;
            }

            p = fuzz_string(p, end);

            if (p == NULL) {
                return NULL;
            }

            p = fuzz_space(p, end);

            if (p == end || *p++ != ':') {
                return NULL;
            }
        }

        p = fuzz_value(p, end, depth - 1);

        if (p == NULL) {
            return NULL;
        }

        p = fuzz_space(p, end);

        if (p == end) {
            return NULL;
        }

        if (*p == close) {
            return p + 1;
        }

        if (*p++ != ',') {
            return NULL;
        }
    }
}


static void
fuzz_decoded(ngx_str_t *string, ngx_uint_t utf8)
{
    u_char     *last;
    ngx_str_t   plain, quoted, again, other;

    ngx_sio_fuzz_room(&plain, ngx_sio_json_string_length(string));
    ngx_sio_fuzz_check(plain.len <= string->len);
    last = ngx_sio_json_string_write(plain.data, string);
    ngx_sio_fuzz_full(&plain, last);
    ngx_sio_fuzz_check(!utf8 || ngx_sio_utf8_valid(plain.data, plain.len));
    ngx_sio_fuzz_check(ngx_sio_json_string_equal(string, &plain));

    ngx_sio_fuzz_room(&quoted, 2 + ngx_sio_json_escape_length(plain.data,
                                                              plain.len));
    quoted.data[0] = '"';
    last = ngx_sio_json_escape(quoted.data + 1, plain.data, plain.len);
    *last++ = '"';
    ngx_sio_fuzz_full(&quoted, last);
    ngx_sio_fuzz_check(ngx_sio_json_text(&quoted, 0, &again) == NGX_OK);

    /* in its own place, too */
    ngx_sio_fuzz_copy(&other, string->data, string->len);
    last = ngx_sio_json_string_write(other.data, &other);
    other.len = last - other.data;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&other, &plain));
    free(other.data);

    last = ngx_sio_json_string_write(quoted.data, &again);
    quoted.len = last - quoted.data;
    ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&quoted, &plain));

    free(quoted.data);
    free(plain.data);
}


static void
fuzz_walk(ngx_str_t *value, ngx_uint_t utf8, ngx_uint_t depth)
{
    uint64_t              n;
    ngx_int_t             rc;
    ngx_str_t             key, element, found;
    ngx_uint_t            object;
    ngx_sio_json_iter_t   it;

    switch (ngx_sio_json_type(value)) {

    case NGX_SIO_JSON_STRING:
        fuzz_decoded(value, utf8);
        return;

    case NGX_SIO_JSON_NUMBER:
        if (ngx_sio_json_uint(value, 9007199254740991ULL, &n) == NGX_OK) {
            ngx_sio_fuzz_check(n <= 9007199254740991ULL);
        }

        return;

    case NGX_SIO_JSON_ARRAY:
    case NGX_SIO_JSON_OBJECT:
        break;

    default:
        ngx_sio_fuzz_check(ngx_sio_json_type(value) != NGX_SIO_JSON_INVALID);
        return;
    }

    object = ngx_sio_json_type(value) == NGX_SIO_JSON_OBJECT;
    ngx_sio_json_iter(&it, value);

    for ( ;; ) {
        rc = object ? ngx_sio_json_member(&it, &key, &element)
                    : ngx_sio_json_element(&it, &element);

        if (rc != NGX_OK) {
            break;
        }

        ngx_sio_fuzz_check(ngx_sio_fuzz_within(&element, value));
        ngx_sio_fuzz_check(fuzz_value(element.data,
                                      element.data + element.len, depth)
                           == element.data + element.len);

        if (object) {
            fuzz_decoded(&key, utf8);
        }

        fuzz_walk(&element, utf8, depth - 1);
    }

    ngx_sio_fuzz_check(rc == NGX_DONE);

    if (object) {
        (void) ngx_sio_json_find(value, "a", &found);
    }
}


int
LLVMFuzzerTestOneInput(const u_char *data, size_t size)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_str_t                text, value, token, found, values[2];
    ngx_uint_t               depth, taken;
    const u_char            *end;

    static const ngx_str_t   names[] = { ngx_string("a"), ngx_string("type") };

    depth = ngx_sio_fuzz_option(data, &size) % FUZZ_DEPTH;

    ngx_sio_fuzz_copy(&text, data, size);

    end = fuzz_value(text.data, text.data + text.len, depth);
    taken = end && fuzz_space(end, text.data + text.len)
                   == text.data + text.len;

    rc = ngx_sio_json_text(&text, depth, &value);
    ngx_sio_fuzz_check((rc == NGX_OK) == taken);

    if (rc == NGX_OK) {
        ngx_sio_fuzz_check(value.data + value.len == end);
        fuzz_walk(&value, ngx_sio_utf8_valid(text.data, text.len), depth);
    }

    /* all at once is the same as one by one */

    rc = ngx_sio_json_members(&text, depth, names, 2, values);

    ngx_sio_fuzz_check((rc == NGX_OK) == (taken && value.data[0] == '{'));

    if (rc == NGX_OK) {
        ngx_str_null(&found);
        (void) ngx_sio_json_find(&value, "type", &found);
        ngx_sio_fuzz_check(ngx_sio_fuzz_equal(&found, &values[1]));
    }

    for (p = text.data;
         ngx_sio_json_token(&p, text.data + text.len, &token) == NGX_OK; )
    {
        ngx_sio_fuzz_check(token.len && ngx_sio_fuzz_within(&token, &text));
    }

    free(text.data);

    return 0;
}
