/*
 * Reads and writes messages of queues, for tests and fuzzers: each line of
 * the input is "decode FORMAT DIALECT TO BASE64" or "encode ...", where encode
 * encodes the message again in the dialect TO.  A dialect of python is a
 * number, one of node the channel.  The answer is a line of JSON, or of base64.
 *
 * What nginx itself would give comes from standin.c.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ngx_sio_base64.h"
#include "ngx_sio_json.h"
#include "ngx_sio_node.h"
#include "ngx_sio_python.h"
#include "standin.h"


#define LINE   (64 * 1024 * 1024)
#define LIMIT  (32 * 1024 * 1024)    /* of what is encoded */


static const ngx_sio_qmsg_limits_t  limits = {
    64, 100000, 1024, 1024, 255, 16 * 1024 * 1024
};

static const char  *kinds[] = {
    "", "emit", "join", "leave", "disconnect", "ack", "fetch", "fetched",
    "rooms", "roomed", "server", "served", "count", "back"
};


static void
put_text(const char *name, ngx_str_t *text)
{
    u_char  *p;
    size_t   len;

    len = ngx_sio_json_escape_length(text->data, text->len);
    p = malloc(len + 1);
    ngx_sio_json_escape(p, text->data, text->len);

    if (name) {
        printf(",\"%s\":", name);
    }

    printf("\"%.*s\"", (int) len, p);
    free(p);
}


static void
put_rooms(const char *name, ngx_sio_qmsg_room_t *rooms, ngx_uint_t n)
{
    ngx_uint_t  i;

    printf(",\"%s\":[", name);

    for (i = 0; i < n; i++) {
        if (i) {
            printf(",");
        }

        if (rooms[i].number) {
            printf("%.*s", (int) rooms[i].name.len, rooms[i].name.data);

        } else {
            put_text(NULL, &rooms[i].name);
        }
    }

    printf("]");
}


static void
put_base64(ngx_str_t *octets)
{
    size_t   len;
    u_char  *p;

    len = ngx_sio_base64_length(octets->len);
    p = malloc(len + 1);
    ngx_sio_base64_write(p, octets->data, octets->len);
    printf("%.*s", (int) len, p);
    free(p);
}


static void
show(ngx_sio_qmsg_t *m)
{
    ngx_uint_t  i;

    printf("{\"kind\":\"%s\",\"all\":%d,\"volatile\":%d,\"close\":%d,"
           "\"bare\":%d,\"id\":%lu,\"count\":%lu,\"timeout\":%lu",
           kinds[m->kind], m->all, m->is_volatile, m->close, m->bare,
           (unsigned long) m->id, (unsigned long) m->count,
           (unsigned long) m->timeout);

    put_text("origin", &m->origin);
    put_text("to_origin", &m->to_origin);
    put_text("nsp", &m->nsp);
    put_text("request_id", &m->request_id);
    put_rooms("rooms", m->rooms, m->nrooms);
    put_rooms("except", m->except, m->nexcept);
    put_rooms("op_rooms", m->op_rooms, m->nop_rooms);
    put_rooms("room", &m->room, m->room.name.len ? 1 : 0);

    /* on one line: a line feed can only be white space */

    for (i = 0; i < m->json.len; i++) {
        if (m->json.data[i] == '\n') {
            m->json.data[i] = ' ';
        }
    }

    printf(",\"json\":%.*s,\"attachments\":[",
           m->json.len ? (int) m->json.len : 4,
           m->json.len ? (char *) m->json.data : "null");

    for (i = 0; i < m->nattachments; i++) {
        printf("%s\"", i ? "," : "");
        put_base64(&m->attachments[i]);
        printf("\"");
    }

    printf("]}\n");
}


static ngx_int_t
decode(char *format, char *dialect, ngx_str_t *payload, ngx_sio_qmsg_t *m,
    const char **reason)
{
    ngx_str_t  prefix, channel;

    if (strcmp(format, "python") == 0) {
        return ngx_sio_python_decode(payload, atoi(dialect), &limits, m, NULL,
                                     reason);
    }

    if (strcmp(format, "node") == 0) {
        ngx_str_set(&prefix, "socket.io");
        channel.data = (u_char *) dialect;
        channel.len = strlen(dialect);

        return ngx_sio_node_decode(&prefix, &channel, payload, &limits, m,
                                   NULL, reason);
    }

    *reason = "no such format";

    return NGX_DECLINED;
}


static ngx_int_t
encode(char *format, char *dialect, ngx_sio_qmsg_t *m, ngx_str_t *payload)
{
    if (strcmp(format, "python") == 0) {
        return ngx_sio_python_encode(m, atoi(dialect), LIMIT, payload,
                                     NULL);
    }

    return ngx_sio_node_encode(m, LIMIT, payload, NULL);
}


static void
line(char *text)
{
    char            *command, *format, *dialect, *to, *base64, *copy;
    ngx_int_t        rc;
    ngx_str_t        payload, again;
    ngx_sio_qmsg_t   m;
    const char      *reason;

    command = strtok(text, " \n");
    format = strtok(NULL, " \n");
    dialect = strtok(NULL, " \n");
    to = strtok(NULL, " \n");
    base64 = strtok(NULL, " \n");

    if (format == NULL || dialect == NULL || to == NULL) {
        printf("{\"refused\":\"usage\"}\n");
        return;
    }

    if (base64 == NULL) {
        base64 = "";
    }

    copy = malloc(strlen(base64) + 4);
    payload.len = ngx_sio_base64_decode((u_char *) copy, (u_char *) base64,
                                        strlen(base64))
                  - (u_char *) copy;

    /* exactly as long as it is */

    payload.data = malloc(payload.len ? payload.len : 1);
    memcpy(payload.data, copy, payload.len);
    free(copy);

    reason = "";

    rc = decode(format, dialect, &payload, &m, &reason);

    if (rc == NGX_OK && strcmp(command, "encode") == 0) {
        rc = encode(format, to, &m, &again);
        reason = "not to be encoded";

        if (rc == NGX_OK) {
            put_base64(&again);
            printf("\n");
        }

    } else if (rc == NGX_OK) {
        show(&m);
    }

    if (rc != NGX_OK) {
        printf("{\"refused\":\"%s\"}\n", reason);
    }

    free(payload.data);

    ngx_sio_standin_release();
}


int
main(void)
{
    char  *text;

    text = malloc(LINE);

    while (fgets(text, LINE, stdin) != NULL) {
        line(text);
        fflush(stdout);
    }

    free(text);

    return 0;
}
