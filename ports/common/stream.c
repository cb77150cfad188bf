/*
 * Streams over non-blocking sockets (see stream.h).
 *
 * Rules, in prose. One deadline covers look-up, connect and TLS. Addresses of both families are interleaved, IPv6 first;
 * each attempt gets a head start of 250 ms before the next begins beside it (RFC 8305 in small), at most two at a time, and
 * a refusal starts the next at once. The first that connects wins. While the engine has not taken everything that was read,
 * the socket is not read. The end of a stream is told after the last byte was taken. No callback of the loop calls the
 * engine with data directly: it only fills the buffer, ml_streams_pump() moves it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stream.h"

#include "base/addr.h"
#include "udp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_START ML_MSEC(250)

static void on_socket(void *ctx, short revents);

/* ---- Ends ---- */

static void drop_dial(struct ml_stream *st, int i)
{
    ml_loop_remove(st->owner->loop, st->dial[i].slot);
    if (st->dial[i].fd >= 0) {
        close(st->dial[i].fd);
    }
    st->dial[i].fd = st->dial[i].slot = -1;
}

/** Frees it; the engine has been told, or knows. */
static void release(struct ml_streams *s, size_t i)
{
    struct ml_stream *st = s->slot[i];
    if (st->state == ML_STREAM_RESOLVING) {
        ml_resolver_cancel(s->resolver, st, st->id);
    }
    ml_tls_conn_free(st->tls);
    drop_dial(st, 0);
    drop_dial(st, 1);
    free(st->host);
    free(st->sni);
    free(st->verify_name);
    free(st->rx);
    free(st);
    s->slot[i] = NULL;
}

/** Remembers the end; told by the pump when everything read has been taken. */
static void end(struct ml_stream *st, ml_close_reason why, const char *detail)
{
    if (!st->read_ended) {
        st->read_ended = true;
        st->end_reason = why;
        snprintf(st->end_detail, sizeof st->end_detail, "%s", detail ? detail : "");
    }
    st->deadline = ML_NEVER;
    st->next_attempt_at = ML_NEVER;
    for (int i = 0; i < 2; i++) {
        ml_loop_remove(st->owner->loop, st->dial[i].slot);
        st->dial[i].slot = -1;
    }
}

static ml_close_reason reason_of(int e)
{
    switch (e) {
    case ECONNREFUSED:
    case EACCES:
    case EPERM:
        return ML_CLOSE_REFUSED;
    case ENETUNREACH: /* Nobody refuses: before DHCP has given an address, for instance. */
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case ETIMEDOUT:
        return ML_CLOSE_TIMEOUT;
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
        return ML_CLOSE_NO_MEMORY;
    default:
        return ML_CLOSE_RESET;
    }
}

/* ---- Open ---- */

static void opened(struct ml_stream *st)
{
    ml_stream_info info = {0};
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (getsockname(st->dial[0].fd, (struct sockaddr *)&ss, &len) == 0) {
        info.local = ml_sys_addr((struct sockaddr *)&ss);
    }
    len = sizeof ss;
    if (getpeername(st->dial[0].fd, (struct sockaddr *)&ss, &len) == 0) {
        info.remote = ml_sys_addr((struct sockaddr *)&ss);
    }
    char line[320] = "";
    if (st->tls != NULL) {
        ml_tls_derp_meta_key(st->tls, &info.derp_meta_key);
        const char *detail = ml_tls_detail(st->tls);
        if (detail[0]) {
            snprintf(line, sizeof line, "tls: %s: %s; going on, since Noise authenticates this server", st->host, detail);
        }
    }
    st->state = ML_STREAM_OPEN;
    st->deadline = ML_NEVER;
    ml_loop_set(st->owner->loop, st->dial[0].slot, POLLIN);
    ml_handle_stream_opened(st->owner->engine, ml_sys_now(), st->id, &info);
    /* Last: who reads the line may close the stream. */
    if (line[0] && st->owner->log != NULL) {
        st->owner->log(st->owner->log_ctx, ML_LOG_WARN, line);
    }
}

static void go_on_with_tls(struct ml_stream *st)
{
    switch (ml_tls_handshake(st->tls)) {
    case ML_TLS_OK:
        opened(st);
        break;
    case ML_TLS_WANT_READ:
        ml_loop_set(st->owner->loop, st->dial[0].slot, POLLIN);
        break;
    case ML_TLS_WANT_WRITE:
        ml_loop_set(st->owner->loop, st->dial[0].slot, POLLOUT);
        break;
    default:
        end(st, ml_tls_reason(st->tls), ml_tls_detail(st->tls));
        break;
    }
}

/** Attempt @p i is connected: it becomes the connection. */
static void connected(struct ml_stream *st, int i)
{
    drop_dial(st, 1 - i);
    if (i == 1) {
        st->dial[0] = st->dial[1];
        st->dial[1].fd = st->dial[1].slot = -1;
    }
    st->next_attempt_at = ML_NEVER;
    int one = 1;
    setsockopt(st->dial[0].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!st->tls_wanted) {
        opened(st);
        return;
    }
    struct ml_tls_want want = {.sni = st->sni, .verify_name = st->verify_name, .pin_sha256 = st->has_pin ? st->pin : NULL};
    want.verify_advisory = st->verify_advisory;
    want.no_verify = st->no_verify;
    st->tls = ml_tls_connect(st->owner->tls, st->dial[0].fd, &want);
    if (st->tls == NULL) {
        end(st, ML_CLOSE_NO_MEMORY, "no memory for TLS");
        return;
    }
    st->state = ML_STREAM_TLS;
    go_on_with_tls(st);
}

/** Starts connecting to the next candidate in slot @p i. 0, or the errno of the failure. */
static int dial_next(struct ml_stream *st, int i)
{
    ml_addr to = {.ip = st->candidate[st->candidate_next++], .port = st->port};
    struct sockaddr_storage ss;
    socklen_t len = ml_sys_sockaddr(&to, ml_ip_is6(&to.ip), &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM, 0);
    if (fd < 0) {
        return errno;
    }
    if (ml_sys_prepare_fd(fd) != 0 || (connect(fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS)) {
        int e = errno;
        close(fd);
        return e;
    }
    int slot = ml_loop_add(st->owner->loop, fd, POLLOUT, on_socket, st);
    if (slot < 0) {
        close(fd);
        return ENFILE;
    }
    st->dial[i].fd = fd;
    st->dial[i].slot = slot;
    return 0;
}

/** Starts attempts as far as there is a free slot and a candidate; ends the stream when nothing is left to hope for. */
static void dial_more(struct ml_stream *st, ml_time now, int last_error)
{
    for (int i = 0; i < 2; i++) {
        while (st->dial[i].fd < 0 && st->candidate_next < st->candidate_count) {
            last_error = dial_next(st, i);
            if (last_error == 0) {
                bool more = st->candidate_next < st->candidate_count;
                st->next_attempt_at = more && st->dial[1 - i].fd < 0 ? now + HEAD_START : ML_NEVER;
                return;
            }
        }
    }
    if (st->dial[0].fd < 0 && st->dial[1].fd < 0) {
        end(st, reason_of(last_error), strerror(last_error));
    } else {
        st->next_attempt_at = ML_NEVER;
    }
}

static void begin_dial(struct ml_stream *st)
{
    st->state = ML_STREAM_CONNECTING;
    if (st->candidate_count == 0) {
        end(st, ML_CLOSE_DNS, "no address of a family that may be used");
        return;
    }
    dial_more(st, ml_sys_now(), 0);
}

/** Adds the addresses alternating between the families, IPv6 first (RFC 8305 4). */
static void add_candidates(struct ml_stream *st, const ml_ip *ips, size_t count)
{
    size_t i6 = 0, i4 = 0;
    bool turn6 = true;
    while (st->candidate_count < ML_STREAM_CANDIDATES) {
        while (i6 < count && (!ml_ip_is6(&ips[i6]) || st->no_ip6)) {
            i6++;
        }
        while (i4 < count && (!ml_ip_is4(&ips[i4]) || st->no_ip4)) {
            i4++;
        }
        if (i6 >= count && i4 >= count) {
            return;
        }
        bool take6 = i4 >= count || (turn6 && i6 < count);
        st->candidate[st->candidate_count++] = take6 ? ips[i6++] : ips[i4++];
        turn6 = !take6;
    }
}

static void on_resolved(void *ctx, uint32_t token, const ml_ip *ips, size_t count)
{
    struct ml_stream *st = ctx;
    if (st->state != ML_STREAM_RESOLVING || st->id != token) {
        return;
    }
    if (count == 0) {
        st->state = ML_STREAM_CONNECTING;
        end(st, ML_CLOSE_DNS, "the name does not resolve");
        return;
    }
    add_candidates(st, ips, count);
    begin_dial(st);
}

static bool copy(char **dst, const char *src)
{
    *dst = src ? strdup(src) : NULL;
    return src == NULL || *dst != NULL;
}

void ml_streams_init(struct ml_streams *s, struct ml_loop *loop, struct ml_resolver *resolver, struct ml_tls *tls,
                     ml_engine *engine, ml_log_fn log, void *log_ctx)
{
    *s = (struct ml_streams){.loop = loop, .resolver = resolver, .tls = tls, .engine = engine, .log = log, .log_ctx = log_ctx};
}

void ml_streams_close_all(struct ml_streams *s)
{
    for (size_t i = 0; i < ML_STREAMS; i++) {
        if (s->slot[i] != NULL) {
            release(s, i);
        }
    }
}

/** ML_STREAMS if there is none. */
static size_t find(const struct ml_streams *s, ml_stream_id id)
{
    size_t i = 0;
    while (i < ML_STREAMS && (s->slot[i] == NULL || s->slot[i]->id != id)) {
        i++;
    }
    return i;
}

void ml_streams_open(struct ml_streams *s, ml_time now, const ml_stream_open *o)
{
    size_t i = 0;
    while (i < ML_STREAMS && s->slot[i] != NULL) {
        i++;
    }
    struct ml_stream *st = i < ML_STREAMS ? malloc(sizeof *st) : NULL;
    if (st == NULL) {
        ml_handle_stream_closed(s->engine, now, o->id, ML_CLOSE_NO_MEMORY,
                                i < ML_STREAMS ? "no memory for a stream" : "too many streams");
        return;
    }
    *st = (struct ml_stream){.owner = s, .dial = {{-1, -1}, {-1, -1}}};
    s->slot[i] = st;
    st->id = o->id;
    st->state = ML_STREAM_CONNECTING;
    st->deadline = now + ML_MSEC(o->timeout_ms ? o->timeout_ms : 10000);
    st->next_attempt_at = ML_NEVER;
    st->port = o->port;
    st->tls_wanted = o->tls;
    st->no_ip4 = o->no_ip4;
    st->no_ip6 = o->no_ip6;
    st->verify_advisory = o->verify_advisory;
    st->no_verify = o->no_verify;
    st->has_pin = o->pin_sha256 != NULL;
    if (st->has_pin) {
        memcpy(st->pin, o->pin_sha256, sizeof st->pin);
    }
    if (!copy(&st->host, o->host ? o->host : "") || !copy(&st->sni, o->sni) || !copy(&st->verify_name, o->verify_name)) {
        end(st, ML_CLOSE_NO_MEMORY, "no memory for a stream");
        return;
    }
    ml_ip literal[2];
    size_t n = 0;
    if (ml_ip_is_set(&o->ip6)) {
        literal[n++] = o->ip6;
    }
    if (ml_ip_is_set(&o->ip4)) {
        literal[n++] = o->ip4;
    }
    if (n == 0 && ml_ip_parse(st->host, strlen(st->host), &literal[0])) {
        n = 1;
    }
    if (n > 0) {
        add_candidates(st, literal, n);
        begin_dial(st);
        return;
    }
    st->state = ML_STREAM_RESOLVING;
    if (!ml_resolver_start(s->resolver, st->host, st->id, on_resolved, st)) {
        st->state = ML_STREAM_CONNECTING;
        end(st, ML_CLOSE_NO_MEMORY, "no resources for a name look-up");
    }
}

void ml_streams_close(struct ml_streams *s, ml_stream_id id)
{
    size_t i = find(s, id);
    if (i < ML_STREAMS) {
        struct ml_stream *st = s->slot[i];
        if (st->tls != NULL && st->state == ML_STREAM_OPEN) {
            ml_tls_shutdown(st->tls);
        }
        release(s, i);
    }
}

/* ---- Bytes ---- */

/** Reads once if the buffer is empty. */
static void read_some(struct ml_stream *st)
{
    if (st->rx_len > 0 || st->read_ended) {
        return;
    }
    st->rx_pos = 0;
    if (st->rx == NULL && (st->rx = malloc(ML_STREAM_RX)) == NULL) {
        end(st, ML_CLOSE_NO_MEMORY, "no memory to read into");
        return;
    }
    if (st->tls != NULL) {
        enum ml_tls_result r = ml_tls_read(st->tls, st->rx, ML_STREAM_RX, &st->rx_len);
        st->tls_wants_write = r == ML_TLS_WANT_WRITE;
        if (r == ML_TLS_EOF || r == ML_TLS_FAILED) {
            end(st, ml_tls_reason(st->tls), ml_tls_detail(st->tls));
        }
        return;
    }
    ssize_t n = recv(st->dial[0].fd, st->rx, ML_STREAM_RX, 0);
    if (n > 0) {
        st->rx_len = (size_t)n;
    } else if (n == 0) {
        end(st, ML_CLOSE_EOF, NULL);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        end(st, ML_CLOSE_RESET, strerror(errno));
    }
}

static void on_connecting(struct ml_stream *st, ml_time now)
{
    for (int i = 0; i < 2; i++) {
        int fd = st->dial[i].fd;
        if (fd < 0 || !ml_sys_is_writable(fd)) {
            continue;
        }
        int e = 0;
        socklen_t len = sizeof e;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0) {
            e = errno;
        }
        if (e == 0) {
            connected(st, i);
            return;
        }
        drop_dial(st, i);
        dial_more(st, now, e);
        if (st->read_ended) {
            return;
        }
    }
}

static void on_socket(void *ctx, short revents)
{
    struct ml_stream *st = ctx;
    switch (st->state) {
    case ML_STREAM_CONNECTING:
        on_connecting(st, ml_sys_now());
        break;
    case ML_STREAM_TLS:
        go_on_with_tls(st);
        break;
    case ML_STREAM_OPEN:
        if (revents & POLLOUT) {
            st->wait_writable = st->tls_wants_write = false;
        }
        read_some(st);
        break;
    default:
        break;
    }
}

static bool write_some(struct ml_stream *st, ml_time now)
{
    const uint8_t *buf;
    bool moved = false;
    size_t len;
    while (!st->wait_writable && !st->read_ended && (len = ml_stream_tx_peek(st->owner->engine, st->id, &buf)) > 0) {
        size_t n = 0;
        if (st->tls != NULL) {
            enum ml_tls_result r = ml_tls_write(st->tls, buf, len, &n);
            if (r == ML_TLS_WANT_WRITE || r == ML_TLS_WANT_READ) {
                st->wait_writable = true;
            } else if (r != ML_TLS_OK) {
                end(st, ml_tls_reason(st->tls), ml_tls_detail(st->tls));
            }
        } else {
            ssize_t sent = send(st->dial[0].fd, buf, len, MSG_NOSIGNAL);
            if (sent >= 0) {
                n = (size_t)sent;
            } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
                st->wait_writable = true;
            } else {
                end(st, ML_CLOSE_RESET, strerror(errno));
            }
        }
        if (n == 0) {
            break;
        }
        ml_stream_tx_done(st->owner->engine, now, st->id, n);
        moved = true;
    }
    return moved;
}

/** Offers what was read. @return true when the engine took some. */
static bool offer(struct ml_stream *st, ml_time now)
{
    bool moved = false;
    for (;;) {
        if (st->rx_len == 0 && !st->read_ended && st->tls != NULL && ml_tls_has_data(st->tls)) {
            read_some(st); /* The rest of a TLS record, which poll() does not see. */
        }
        if (st->rx_len == 0) {
            return moved;
        }
        size_t used = 0;
        ml_handle_stream_data(st->owner->engine, now, st->id, st->rx + st->rx_pos, st->rx_len, &used);
        if (used == 0) {
            return moved;
        }
        st->rx_pos += used;
        st->rx_len -= used;
        moved = true;
    }
}

static void set_events(struct ml_stream *st)
{
    short events = 0;
    if (st->rx_len == 0) {
        events |= POLLIN;
    }
    if (st->wait_writable || st->tls_wants_write) {
        events |= POLLOUT;
    }
    ml_loop_set(st->owner->loop, st->dial[0].slot, events);
}

bool ml_streams_pump(struct ml_streams *s, ml_time now)
{
    bool moved = false;
    for (size_t i = 0; i < ML_STREAMS; i++) {
        struct ml_stream *st = s->slot[i];
        if (st == NULL) {
            continue;
        }
        if (st->state == ML_STREAM_OPEN) {
            moved |= offer(st, now);
            moved |= write_some(st, now);
            set_events(st);
            if (st->rx_len == 0) {
                free(st->rx);
                st->rx = NULL;
            }
        }
        if (st->read_ended && st->rx_len == 0) {
            ml_stream_id id = st->id;
            ml_close_reason why = st->end_reason;
            char detail[sizeof st->end_detail];
            memcpy(detail, st->end_detail, sizeof detail);
            release(s, i);
            ml_handle_stream_closed(s->engine, now, id, why, detail[0] ? detail : NULL);
            moved = true;
        }
    }
    return moved;
}

void ml_streams_on_time(struct ml_streams *s, ml_time now)
{
    for (size_t i = 0; i < ML_STREAMS; i++) {
        struct ml_stream *st = s->slot[i];
        if (st == NULL || st->read_ended) {
            continue;
        }
        if (now >= st->deadline) {
            bool dns = st->state == ML_STREAM_RESOLVING;
            if (dns) {
                ml_resolver_cancel(s->resolver, st, st->id);
                st->state = ML_STREAM_CONNECTING;
            }
            end(st, dns ? ML_CLOSE_DNS : ML_CLOSE_TIMEOUT, dns ? "no answer from the resolver" : "no connection in time");
        } else if (now >= st->next_attempt_at) {
            dial_more(st, now, 0);
        }
    }
}

ml_time ml_streams_deadline(const struct ml_streams *s)
{
    ml_time at = ML_NEVER;
    for (size_t i = 0; i < ML_STREAMS; i++) {
        const struct ml_stream *st = s->slot[i];
        if (st != NULL && !st->read_ended) {
            at = st->deadline < at ? st->deadline : at;
            at = st->next_attempt_at < at ? st->next_attempt_at : at;
        }
    }
    return at;
}
