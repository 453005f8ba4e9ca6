/*
 * The limit that a broadcast is compared with: an epoll loop that takes the
 * same clients as the module, answers them with the same octets, and does
 * nothing else but send.
 *
 * usage: bare port octets batch
 *
 * It does not understand what clients say: what ends with an empty line is
 * answered with a handshake, the next octets of the connection with the
 * acceptance of a namespace, and any later ones with the broadcast: batch
 * messages of so many octets of text to everybody, one send() for each (batch
 * 1), or all of them in one writev().
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>


#define CLIENTS  32768
#define BATCH    64


typedef struct {
    int     fd;
    int     asked;        /* answered so far: handshake, namespace */
} client_t;


static const char  handshake[] =
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Server: nginx/1.22.1\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Connection: upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    "\r\n"
    "\x81\x73"
    "0{\"sid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"upgrades\":[],"
    "\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";

static const char  accepted[] = "\x81\x20" "40{\"sid\":\"AAAAAAAAAAAAAAAAAAAA\"}";

static client_t      *clients[CLIENTS];
static int            nclients;
static struct iovec   vec[BATCH];
static size_t         octets;
static int            batch;


static void
die(const char *what)
{
    perror(what);
    exit(1);
}


static void
broadcast(void)
{
    int      i;
    ssize_t  n;

    for (i = 0; i < nclients; i++) {

        if (batch == 1) {
            n = send(clients[i]->fd, vec[0].iov_base, octets, 0);

        } else {
            n = writev(clients[i]->fd, vec, batch);
        }

        if (n != (ssize_t) octets * batch) {
            die("send");
        }
    }
}


static void
welcome(int epoll, int listener)
{
    int                 fd, on;
    client_t           *c;
    struct epoll_event  ev;

    on = 1;

    for ( ;; ) {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

        if (fd == -1) {
            return;
        }

        c = calloc(1, sizeof(client_t));

        if (c == NULL || nclients == CLIENTS) {
            die("client");
        }

        c->fd = fd;
        clients[nclients++] = c;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        ev.events = EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET;
        ev.data.ptr = c;

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == -1) {
            die("epoll_ctl");
        }
    }
}


static void
leave(client_t *c)
{
    int  i;

    for (i = 0; clients[i] != c; i++) { /* void */ }

    clients[i] = clients[--nclients];

    close(c->fd);
    free(c);
}


static void
serve(client_t *c)
{
    char     buf[4096];
    ssize_t  n;

    n = recv(c->fd, buf, sizeof(buf), 0);

    if (n == 0) {
        leave(c);
        return;
    }

    if (n < 0) {
        return;
    }

    switch (c->asked) {

    case 0:
        if (memmem(buf, n, "\r\n\r\n", 4) == NULL) {
            die("handshake");
        }

        c->asked++;
        n = send(c->fd, handshake, sizeof(handshake) - 1, 0);
        break;

    case 1:
        c->asked++;
        n = send(c->fd, accepted, sizeof(accepted) - 1, 0);
        break;

    default:
        broadcast();
        break;
    }
}


static int
listening(int port)
{
    int                 fd, on;
    struct sockaddr_in  addr;

    on = 1;
    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons(port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (bind(fd, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || listen(fd, 4096) == -1)
    {
        die("listen");
    }

    return fd;
}


/* a WebSocket text frame */

static void
prepare(size_t text)
{
    int    i;
    char  *buf;

    buf = malloc(text + 4);

    if (buf == NULL) {
        die("malloc");
    }

    buf[0] = (char) 0x81;

    if (text < 126) {
        buf[1] = text;
        octets = text + 2;

    } else {
        buf[1] = 126;
        buf[2] = text >> 8;
        buf[3] = text & 255;
        octets = text + 4;
    }

    memset(buf + octets - text, 'x', text);

    for (i = 0; i < batch; i++) {
        vec[i].iov_base = buf;
        vec[i].iov_len = octets;
    }
}


int
main(int argc, char **argv)
{
    int                 i, n, epoll, listener;
    struct epoll_event  ev, events[512];

    if (argc != 4) {
        return 2;
    }

    batch = atoi(argv[3]);

    if (batch < 1 || batch > BATCH) {
        return 2;
    }

    prepare(atoi(argv[2]));

    signal(SIGPIPE, SIG_IGN);

    epoll = epoll_create1(0);
    listener = listening(atoi(argv[1]));

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) == -1) {
        die("epoll_ctl");
    }

    for ( ;; ) {
        n = epoll_wait(epoll, events, 512, -1);

        for (i = 0; i < n; i++) {

            if (events[i].data.ptr == NULL) {
                welcome(epoll, listener);

            } else if (events[i].events & (EPOLLIN|EPOLLRDHUP)) {
                serve(events[i].data.ptr);
            }
        }
    }
}
