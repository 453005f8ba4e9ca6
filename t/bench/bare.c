
/*
 * The limit that a broadcast is compared with: a process that does nothing
 * but send the same octets to n connections, m times.
 *
 * usage: bare port n m octets batch
 *
 * Waits for n connections, then for a line on standard input for each round.
 * A round sends batch messages to everybody, each on its own (batch 1), or
 * joined in one writev.  Prints the CPU time of all rounds in nanoseconds.
 */

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>


static long long
cpu(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}


int
main(int argc, char **argv)
{
    int                  l, on, *s, n, m, i, j, k, octets, batch;
    char                *buf, line[16];
    long long            spent, start;
    struct iovec         vec[64];
    struct sockaddr_in   addr;

    if (argc != 6) {
        return 2;
    }

    n = atoi(argv[2]);
    m = atoi(argv[3]);
    octets = atoi(argv[4]);
    batch = atoi(argv[5]);

    if (batch < 1 || batch > 64) {
        return 2;
    }

    on = 1;
    l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons(atoi(argv[1]));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (bind(l, (struct sockaddr *) &addr, sizeof(addr)) == -1
        || listen(l, 4096) == -1)
    {
        perror("listen");
        return 1;
    }

    s = calloc(n, sizeof(int));
    buf = malloc(octets);

    if (s == NULL || buf == NULL) {
        return 1;
    }

    memset(buf, 'x', octets);

    for (i = 0; i < batch; i++) {
        vec[i].iov_base = buf;
        vec[i].iov_len = octets;
    }

    puts("listening");
    fflush(stdout);

    for (i = 0; i < n; i++) {
        s[i] = accept(l, NULL, NULL);
        setsockopt(s[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }

    puts("connected");
    fflush(stdout);

    spent = 0;

    for (j = 0; j < m; j++) {

        if (fgets(line, sizeof(line), stdin) == NULL) {
            return 1;
        }

        start = cpu();

        for (i = 0; i < n; i++) {
            if (batch == 1) {
                k = (int) send(s[i], buf, octets, 0);

            } else {
                k = (int) writev(s[i], vec, batch);
            }

            if (k != octets * batch) {
                perror("send");
                return 1;
            }
        }

        spent += cpu() - start;
    }

    printf("%lld\n", spent);

    return 0;
}
