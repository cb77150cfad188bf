/*
 * The HTTP server of the control socket and the PeerAPI (see http_server.h).
 *
 * A connection is in one of four phases: reading a request, waiting for its answer, sending, raw. Input is read in the
 * first and the last only, except that a hang-up while waiting is noticed. Pipelined requests are answered in order.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_MAX (ML_HTTP_HEAD_MAX + ML_HTTP_BODY_MAX)
/** Bytes around a chunk: its length in hex, CRLF before and behind. */
#define CHUNK_ROOM 16

enum phase { READING, WAITING, SENDING, RAW };

struct ml_http_conn {
    struct ml_http_server *server;
    size_t index;
    int fd, slot;
    ml_time expires_at;
    enum phase phase;
    bool keep_alive, may_write, close_when_sent, client_finished, finish_told, in_handler;
    bool starved; /**< ml_http_raw_write() took less than there was: `writable` is owed. */
    struct ml_http_request req;
    uint8_t in[IN_MAX];
    size_t in_len;
    uint8_t *out; /**< ML_HTTP_PIECE + head, while needed. */
    size_t out_cap, out_pos, out_len;
    ml_http_body_fn body;
    void *body_ctx;
    uint64_t cursor;
    const struct ml_http_raw *raw;
    void *raw_ctx;
};

static void on_conn(void *ctx, short revents);
static void go_on(struct ml_http_conn *c);

static void accept_more(struct ml_http_server *s, bool on)
{
    ml_loop_set(s->loop, s->slot, on ? POLLIN : 0);
}

static void drop(struct ml_http_conn *c)
{
    struct ml_http_server *s = c->server;
    ml_loop_remove(s->loop, c->slot);
    close(c->fd);
    s->conn[c->index] = NULL;
    accept_more(s, true);
    free(c->out);
    free(c);
}

/** The client is gone, or the protocol broken: tell whoever waits for it. */
static void lose(struct ml_http_conn *c)
{
    if (c->phase == WAITING && c->server->abandoned != NULL) {
        c->server->abandoned(c->server->ctx, c);
    }
    if (c->phase == RAW && c->raw != NULL) {
        c->raw->gone(c->raw_ctx);
    }
    drop(c);
}

static const char *reason(int status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 431:
        return "Request Header Fields Too Large";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static bool make_room(struct ml_http_conn *c, size_t n)
{
    if (c->out_cap - c->out_len < n) {
        uint8_t *p = realloc(c->out, c->out_len + n);
        if (p == NULL) {
            return false;
        }
        c->out = p;
        c->out_cap = c->out_len + n;
    }
    return true;
}

static void append(struct ml_http_conn *c, const void *data, size_t len)
{
    if (make_room(c, len) && len > 0) {
        memcpy(c->out + c->out_len, data, len);
        c->out_len += len;
    }
}

static void put_head(struct ml_http_conn *c, int status, const char *type, const char *headers, long length)
{
    char head[1024], len_line[48] = "";
    if (length >= 0 && status != 204 && status != 101) {
        snprintf(len_line, sizeof len_line, "Content-Length: %ld\r\n", length);
    } else if (length < 0) {
        snprintf(len_line, sizeof len_line, "Transfer-Encoding: chunked\r\n");
    }
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d %s\r\n%s%s%s%s%s%s\r\n", status, reason(status),
                     type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "", len_line, headers ? headers : "",
                     c->keep_alive || status == 101 ? "" : "Connection: close\r\n");
    append(c, head, n > 0 && (size_t)n < sizeof head ? (size_t)n : sizeof head - 1);
}

/** Goes on outside of a request handler; the loop that called the handler goes on by itself. */
static void kick(struct ml_http_conn *c)
{
    if (!c->in_handler) {
        go_on(c);
    }
}

static void prepare(struct ml_http_conn *c, int status, const char *type, const char *headers, const void *body, size_t len)
{
    put_head(c, status, type, headers, (long)len);
    if (strcmp(c->req.method, "HEAD") != 0) {
        append(c, body, len);
    }
    c->body = NULL;
    c->phase = SENDING;
}

void ml_http_respond(struct ml_http_conn *c, int status, const char *type, const char *headers, const void *body, size_t len)
{
    prepare(c, status, type, headers, body, len);
    kick(c);
}

void ml_http_respond_stream(struct ml_http_conn *c, const char *type, ml_http_body_fn fn, void *ctx)
{
    put_head(c, 200, type, NULL, -1);
    c->body = strcmp(c->req.method, "HEAD") != 0 ? fn : NULL;
    c->body_ctx = ctx;
    c->cursor = 0;
    c->phase = SENDING;
    kick(c);
}

void ml_http_switch(struct ml_http_conn *c, const char *headers, const struct ml_http_raw *raw, void *ctx)
{
    put_head(c, 101, NULL, headers, 0);
    c->raw = raw;
    c->raw_ctx = ctx;
    c->phase = RAW;
    kick(c);
}

size_t ml_http_raw_write(struct ml_http_conn *c, const uint8_t *buf, size_t len)
{
    size_t waiting = c->out_len - c->out_pos;
    size_t room = waiting < ML_HTTP_PIECE ? ML_HTTP_PIECE - waiting : 0;
    size_t n = len < room ? len : room;
    if (c->out_pos > 0) { /* Otherwise a stream that never pauses would grow the buffer for ever. */
        memmove(c->out, c->out + c->out_pos, waiting);
        c->out_pos = 0;
        c->out_len = waiting;
    }
    append(c, buf, n);
    c->starved = n < len;
    ml_loop_set(c->server->loop, c->slot, POLLIN | POLLOUT);
    return n;
}

void ml_http_raw_finish(struct ml_http_conn *c)
{
    c->raw = NULL;
    c->close_when_sent = true;
    ml_loop_set(c->server->loop, c->slot, POLLOUT);
}

/** Puts the next chunk of a streamed body behind what waits. */
static void produce(struct ml_http_conn *c)
{
    if (!make_room(c, ML_HTTP_PIECE + CHUNK_ROOM)) {
        c->body = NULL;
        c->keep_alive = false; /* The client sees a body without end: an error, not a short answer. */
        return;
    }
    uint8_t *at = c->out + c->out_len;
    struct ml_writer w = ml_writer_of(at + 8, ML_HTTP_PIECE);
    bool more = c->body(c->body_ctx, &c->cursor, &w);
    if (w.len > 0) {
        char size[24];
        (void)snprintf(size, sizeof size, "%06zx\r\n", w.len); /* Fixed width, so that it fits in front. */
        memcpy(at, size, 8);
        at[8 + w.len] = '\r';
        at[8 + w.len + 1] = '\n';
        c->out_len += 8 + w.len + 2;
    }
    if (!more) {
        append(c, "0\r\n\r\n", 5);
        c->body = NULL;
    }
}

/** @return false when the connection was lost. */
static bool send_out(struct ml_http_conn *c)
{
    while (c->out_pos < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_pos, c->out_len - c->out_pos, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return true;
            }
            lose(c);
            return false;
        }
        c->out_pos += (size_t)n;
    }
    c->out_pos = c->out_len = 0;
    return true;
}

static void refuse(struct ml_http_conn *c, int status)
{
    c->keep_alive = false;
    prepare(c, status, "text/plain", NULL, reason(status), strlen(reason(status)));
}

/** Takes a whole request out of the input. @return false when there is none yet. */
static bool take_request(struct ml_http_conn *c)
{
    if (c->in_len == 0) {
        return false;
    }
    switch (ml_http_parse_head((const char *)c->in, c->in_len, &c->req)) {
    case ML_HTTP_INCOMPLETE:
        return false;
    case ML_HTTP_BAD:
        refuse(c, 400);
        return true;
    case ML_HTTP_TOO_LARGE:
        if (c->server->is_one_shot && c->req.head_len) {
            break; /* Only the body is too long, and nobody reads it. */
        }
        refuse(c, c->req.head_len ? 413 : 431);
        return true;
    case ML_HTTP_OK:
        break;
    }
    if (c->server->is_one_shot) {
        c->keep_alive = false;
        c->phase = WAITING;
        c->server->request(c->server->ctx, c, &c->req, NULL);
        return true;
    }
    size_t whole = c->req.head_len + c->req.body_len;
    if (c->in_len < whole) {
        if (c->req.expects_100) {
            static const char cont[] = "HTTP/1.1 100 Continue\r\n\r\n";
            (void)send(c->fd, cont, sizeof cont - 1, MSG_NOSIGNAL);
        }
        return false;
    }
    uint8_t body[ML_HTTP_BODY_MAX + 1];
    memcpy(body, c->in + c->req.head_len, c->req.body_len);
    body[c->req.body_len] = 0; /* So that text bodies can be read as strings. */
    memmove(c->in, c->in + whole, c->in_len - whole);
    c->in_len -= whole;
    c->keep_alive = c->req.keep_alive;
    c->phase = WAITING;
    c->server->request(c->server->ctx, c, &c->req, body);
    return true;
}

static void feed_raw(struct ml_http_conn *c)
{
    if (c->in_len > 0 && c->raw != NULL) {
        size_t n = c->raw->data(c->raw_ctx, c->in, c->in_len);
        memmove(c->in, c->in + n, c->in_len - n);
        c->in_len -= n;
    }
    if (c->in_len == 0 && c->client_finished && c->raw != NULL && !c->finish_told) {
        c->finish_told = true;
        c->raw->client_finished(c->raw_ctx);
    }
}

void ml_http_raw_more(struct ml_http_conn *c)
{
    feed_raw(c);
    kick(c);
}

/** Sends, produces, takes the next request: until something must be waited for. */
static void go_on(struct ml_http_conn *c)
{
    for (;;) {
        if (!send_out(c)) {
            return;
        }
        bool blocked = c->out_len > 0;
        if (c->phase == RAW) {
            if (!blocked && c->close_when_sent) {
                drop(c);
                return;
            }
            short events = (short)((c->in_len < sizeof c->in && !c->client_finished && !c->close_when_sent ? POLLIN : 0) |
                                   (blocked || c->starved ? POLLOUT : 0));
            ml_loop_set(c->server->loop, c->slot, events);
            return;
        }
        if (blocked || c->phase == WAITING) {
            ml_loop_set(c->server->loop, c->slot, blocked ? POLLOUT : POLLRDHUP);
            return;
        }
        if (c->phase == SENDING) {
            if (c->body != NULL) {
                produce(c);
                continue;
            }
            if (!c->keep_alive) {
                drop(c);
                return;
            }
            c->phase = READING;
        }
        c->in_handler = true;
        bool took = take_request(c);
        c->in_handler = false;
        if (!took) {
            if (c->client_finished) {
                drop(c);
                return;
            }
            /* An idle connection holds no buffer. */
            free(c->out);
            c->out = NULL;
            c->out_cap = 0;
            ml_loop_set(c->server->loop, c->slot, POLLIN);
            return;
        }
    }
}

static void on_conn(void *ctx, short revents)
{
    struct ml_http_conn *c = ctx;
    if (c->phase == WAITING && (revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        lose(c);
        return;
    }
    if (revents & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t n = c->in_len < sizeof c->in ? recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0) : 1;
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            lose(c);
            return;
        }
        if (n == 0) {
            c->client_finished = true;
        } else if (n > 0 && c->in_len < sizeof c->in) {
            c->in_len += (size_t)n;
        }
        if (c->phase == RAW) {
            feed_raw(c);
        }
    }
    if (c->phase == RAW && (revents & POLLOUT)) {
        if (!send_out(c)) {
            return;
        }
        if (c->raw != NULL && c->out_len == 0 && c->starved) {
            c->starved = false;
            c->raw->writable(c->raw_ctx);
        }
    }
    go_on(c);
}

static bool peer_is_privileged(int fd)
{
#ifdef SO_PEERCRED
    struct ucred cred;
    socklen_t len = sizeof cred;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && (cred.uid == 0 || cred.uid == geteuid());
#else
    uid_t uid;
    gid_t gid;
    return getpeereid(fd, &uid, &gid) == 0 && (uid == 0 || uid == geteuid());
#endif
}

/** Index of a free place, or the number of places. */
static size_t free_place(const struct ml_http_server *s, size_t *places)
{
    size_t i = 0;
    *places = s->max_conns ? s->max_conns : ML_HTTP_CONNS;
    while (i < *places && s->conn[i] != NULL) {
        i++;
    }
    return i;
}

static struct ml_http_conn *adopt(struct ml_http_server *s, int fd)
{
    size_t places, i = free_place(s, &places);
    struct ml_http_conn *c = i < places ? calloc(1, sizeof *c) : NULL;
    if (c == NULL || ml_sys_prepare_fd(fd) != 0 || (c->slot = ml_loop_add(s->loop, fd, POLLIN, on_conn, c)) < 0) {
        free(c);
        close(fd);
        return NULL;
    }
    c->server = s;
    c->index = i;
    c->fd = fd;
    c->expires_at = s->conn_limit ? ml_sys_now() + s->conn_limit : ML_NEVER;
    s->conn[i] = c;
    return c;
}

bool ml_http_adopt(struct ml_http_server *s, int fd)
{
    return adopt(s, fd) != NULL;
}

static void on_listen(void *ctx, short revents)
{
    (void)revents;
    struct ml_http_server *s = ctx;
    size_t places;
    if (free_place(s, &places) == places) {
        accept_more(s, false);
        return;
    }
    int fd = accept(s->fd, NULL, NULL);
    struct ml_http_conn *c = fd < 0 ? NULL : adopt(s, fd);
    if (c != NULL) {
        c->may_write = peer_is_privileged(fd);
    }
}

ml_time ml_http_deadline(const struct ml_http_server *s)
{
    ml_time at = ML_NEVER;
    for (size_t i = 0; i < ML_HTTP_CONNS; i++) {
        if (s->conn[i] != NULL && s->conn[i]->expires_at < at) {
            at = s->conn[i]->expires_at;
        }
    }
    return at;
}

void ml_http_on_time(struct ml_http_server *s, ml_time now)
{
    for (size_t i = 0; i < ML_HTTP_CONNS; i++) {
        if (s->conn[i] != NULL && now >= s->conn[i]->expires_at) {
            lose(s->conn[i]);
        }
    }
}

bool ml_http_may_write(const struct ml_http_conn *c)
{
    return c->may_write;
}

static bool someone_listens(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return yes;
}

/** The directory of the socket, made if its parent exists. */
static void make_dir(const char *path)
{
    char dir[108];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash != NULL && slash != dir) {
        *slash = 0;
        (void)mkdir(dir, 0755);
    }
}

bool ml_http_listen(struct ml_http_server *s, struct ml_loop *loop, const char *path, char *why, size_t why_cap)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    s->loop = loop;
    s->fd = s->slot = -1;
    if (strlen(path) >= sizeof sa.sun_path) {
        snprintf(why, why_cap, "socket path %s is too long", path);
        return false;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    memcpy(s->path, path, strlen(path) + 1);
    make_dir(path);
    if (someone_listens(&sa)) {
        snprintf(why, why_cap, "another daemon already answers at %s", path);
        return false;
    }
    unlink(path);
    s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    /* Everyone may ask; who may change things is decided per connection. */
    if (s->fd < 0 || ml_sys_prepare_fd(s->fd) != 0 || bind(s->fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        chmod(path, 0666) != 0 || listen(s->fd, 16) != 0 || (s->slot = ml_loop_add(loop, s->fd, POLLIN, on_listen, s)) < 0) {
        snprintf(why, why_cap, "socket %s: %s", path, strerror(errno));
        if (s->fd >= 0) {
            close(s->fd);
        }
        s->fd = -1;
        return false;
    }
    return true;
}

void ml_http_open(struct ml_http_server *s, struct ml_loop *loop)
{
    s->loop = loop;
    s->fd = s->slot = -1;
}

void ml_http_close(struct ml_http_server *s)
{
    for (size_t i = 0; i < ML_HTTP_CONNS; i++) {
        if (s->conn[i] != NULL) {
            drop(s->conn[i]);
        }
    }
    if (s->fd >= 0) {
        ml_loop_remove(s->loop, s->slot);
        close(s->fd);
        unlink(s->path);
        s->fd = -1;
    }
}
