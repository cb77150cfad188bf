/*
 * Blocking HTTP client over a Unix socket (see http_client.h); each request has a connection of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_client.h"

#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/** Largest answer taken: the status of far more peers than a node keeps. */
#define ANSWER_MAX (64u << 20)

static int dial(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static bool send_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

struct in {
    int fd;
    uint8_t *buf;
    size_t len, cap;
    ml_time until;
    bool ended;
};

/** Reads some more. False at the end, on an error, or when the time is over (errno ETIMEDOUT). */
static bool more(struct in *in)
{
    if (in->len == in->cap) {
        size_t cap = in->cap ? in->cap * 2 : 8192;
        uint8_t *p = cap <= ANSWER_MAX ? realloc(in->buf, cap) : NULL;
        if (p == NULL) {
            errno = ENOMEM;
            return false;
        }
        in->buf = p;
        in->cap = cap;
    }
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    ml_time now = ml_sys_now();
    int wait = in->until == ML_NEVER ? -1 : in->until > now ? (int)((in->until - now + 999) / 1000) : 0;
    if (poll(&p, 1, wait) <= 0) {
        errno = ETIMEDOUT;
        return false;
    }
    ssize_t n = recv(in->fd, in->buf + in->len, in->cap - in->len, 0);
    if (n <= 0) {
        in->ended = n == 0;
        return false;
    }
    in->len += (size_t)n;
    return true;
}

static bool take_head(struct in *in, struct ml_http_answer *a, size_t *head_len)
{
    for (;;) {
        uint8_t *end = in->len >= 4 ? memmem(in->buf, in->len, "\r\n\r\n", 4) : NULL;
        if (end != NULL) {
            size_t n = (size_t)(end - in->buf) + 4;
            if (n >= sizeof a->headers || n < 12) {
                errno = EPROTO;
                return false;
            }
            memcpy(a->headers, in->buf, n);
            a->headers[n] = 0;
            a->status = atoi(a->headers + 9);
            if (a->status == 100) {
                memmove(in->buf, in->buf + n, in->len - n);
                in->len -= n;
                continue;
            }
            *head_len = n;
            return true;
        }
        if (!more(in)) {
            return false;
        }
    }
}

/** Joins chunks in place: from @p at on, to the front. */
static bool take_chunks(struct in *in, size_t at, size_t *body_len)
{
    size_t out = 0;
    for (;;) {
        uint8_t *nl;
        while ((nl = memchr(in->buf + at, '\n', in->len - at)) == NULL) {
            if (!more(in)) {
                return false;
            }
        }
        size_t size = strtoul((char *)in->buf + at, NULL, 16);
        at = (size_t)(nl - in->buf) + 1;
        if (size == 0) {
            *body_len = out;
            return true;
        }
        if (size > ANSWER_MAX) {
            errno = EPROTO;
            return false;
        }
        while (in->len < at + size + 2) {
            if (!more(in)) {
                return false;
            }
        }
        memmove(in->buf + out, in->buf + at, size);
        out += size;
        at += size + 2;
    }
}

static bool take_body(struct in *in, const struct ml_http_answer *a, size_t head_len, size_t *body_len)
{
    char value[32];
    if (ml_http_answer_header(a, "Transfer-Encoding", value, sizeof value)) {
        return take_chunks(in, head_len, body_len);
    }
    size_t want = ml_http_answer_header(a, "Content-Length", value, sizeof value) ? strtoul(value, NULL, 10) : 0;
    while (in->len < head_len + want) {
        if (!more(in)) {
            return false;
        }
    }
    memmove(in->buf, in->buf + head_len, want);
    *body_len = want;
    return true;
}

bool ml_http_call(struct ml_http_answer *a, const char *socket_path, const char *method, const char *path, const char *headers,
                  const void *body, size_t body_len, uint64_t timeout_us)
{
    memset(a, 0, sizeof *a);
    a->fd = -1;
    struct in in = {.fd = dial(socket_path), .until = timeout_us ? ml_sys_now() + timeout_us : ML_NEVER};
    if (in.fd < 0) {
        return false;
    }
    char head[2048];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: local-tailscaled.sock\r\n%sContent-Length: %zu\r\n\r\n",
                     method, path, headers ? headers : "", body_len);
    size_t head_len = 0;
    bool ok = n > 0 && (size_t)n < sizeof head && send_all(in.fd, head, (size_t)n) && send_all(in.fd, body, body_len) &&
              take_head(&in, a, &head_len);
    if (ok && a->status == 101) {
        a->fd = in.fd;
        a->body_len = in.len - head_len;
        memmove(in.buf, in.buf + head_len, a->body_len);
        a->body = in.buf;
        return true;
    }
    ok = ok && take_body(&in, a, head_len, &a->body_len);
    int e = in.ended ? ECONNRESET : errno;
    close(in.fd);
    if (!ok) {
        free(in.buf);
        a->timed_out = e == ETIMEDOUT;
        errno = e;
        return false;
    }
    a->body = in.buf;
    return true;
}

void ml_http_answer_free(struct ml_http_answer *a)
{
    if (a->fd >= 0) {
        close(a->fd);
    }
    free(a->body);
    a->body = NULL;
}

bool ml_http_answer_header(const struct ml_http_answer *a, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    for (const char *p = strchr(a->headers, '\n'); p != NULL; p = strchr(p, '\n')) {
        p++;
        if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
            p += n + 1;
            p += strspn(p, " \t");
            size_t len = strcspn(p, "\r\n");
            if (len >= cap) {
                return false;
            }
            memcpy(out, p, len);
            out[len] = 0;
            return true;
        }
    }
    return false;
}
