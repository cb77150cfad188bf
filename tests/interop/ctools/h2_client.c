/*
 * The HTTP/2 client on a Unix socket: starts all requests at once and prints what comes, one line an event.
 *
 * Usage: h2_client SOCKET WINDOW METHOD:PATH:BODY_BYTES...   Bodies are that many 'x'. Ends when all answers are over.
 *
 * SPDX-License-Identifier: MIT
 */
#define _DEFAULT_SOURCE
#include "http/h2_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool flush(struct ml_h2 *c, int fd)
{
    uint8_t tx[1024];
    for (size_t n; (n = ml_h2_poll_tx(c, tx, sizeof tx)) > 0;) {
        for (size_t at = 0; at < n;) {
            ssize_t done = send(fd, tx + at, n - at, MSG_NOSIGNAL);
            if (done <= 0) {
                return false;
            }
            at += (size_t)done;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (argc < 4 || strlen(argv[1]) >= sizeof addr.sun_path) {
        return 2;
    }
    memcpy(addr.sun_path, argv[1], strlen(argv[1]) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        perror(argv[1]);
        return 1;
    }
    struct ml_h2 c;
    ml_h2_init(&c, (uint32_t)strtoul(argv[2], NULL, 10));
    int open = 0;
    size_t got[64] = {0};
    for (int i = 3; i < argc; i++) {
        char *path = strchr(argv[i], ':'), *size = path ? strchr(path + 1, ':') : NULL;
        if (!size) {
            return 2;
        }
        *path++ = 0;
        *size++ = 0;
        struct ml_h2_request req = {.method = argv[i], .authority = "unused", .path = path, .ts_lb = "nodekey:test"};
        req.body_len = strtoul(size, NULL, 10);
        uint8_t *body = malloc(req.body_len + 1);
        memset(body, 'x', req.body_len);
        req.body = body;
        if (ml_h2_request(&c, &req) == 0) {
            printf("refused\n");
        } else {
            open++;
        }
    }
    while (open > 0 && flush(&c, fd)) {
        uint8_t rx[700];
        ssize_t n = read(fd, rx, sizeof rx);
        if (n <= 0) {
            printf("eof\n");
            break;
        }
        struct ml_h2_event ev;
        size_t at = 0, used;
        do {
            ml_h2_feed(&c, rx + at, (size_t)n - at, &used, &ev);
            at += used;
            switch (ev.type) {
            case ML_H2_EV_HEADERS:
                printf("%u status %u %s\n", ev.stream, ev.status, ev.retry_after);
                break;
            case ML_H2_EV_DATA:
                got[ev.stream / 2 % 64] += ev.data_len;
                ml_h2_consumed(&c, ev.stream, ev.data_len);
                break;
            case ML_H2_EV_END:
                printf("%u end %zu\n", ev.stream, got[ev.stream / 2 % 64]);
                open--;
                break;
            case ML_H2_EV_RESET:
                printf("%u reset %u retry=%d\n", ev.stream, ev.code, ev.may_retry);
                open--;
                break;
            case ML_H2_EV_GOAWAY:
                printf("goaway %u\n", ev.code);
                break;
            case ML_H2_EV_FATAL:
                printf("fatal %u\n", ev.code);
                flush(&c, fd);
                return 0;
            case ML_H2_EV_BLOCKED:
                flush(&c, fd);
                break;
            default:
                break;
            }
            fflush(stdout);
        } while (ev.type != ML_H2_EV_NONE);
    }
    flush(&c, fd);
    close(fd);
    return 0;
}
