/*
 * A server made of bytes, for the tests of the HTTP/2 connection: what it sends is written in hex by hand from RFC 9113 and
 * fed in pieces; the events and the frames that come out are told as one line of text each, decoded here independently of
 * src/http.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_H2_SCRIPT_H
#define ML_TEST_H2_SCRIPT_H

#include "http/h2_conn.h"

#include <stdio.h>
#include <stdlib.h>

/* RFC 9113, 4.1: length, type, flags, stream. */
#define FRAME(len, type, flags, stream) len type flags stream
/* 6.5: the server's first frame, here without a setting. */
#define SERVER_PREFACE FRAME("000000", "04", "00", "00000000")
/* 6.2 and RFC 7541, 6.1: END_HEADERS, block 88 = ":status: 200". */
#define HEAD_200(stream)     FRAME("000001", "01", "04", stream) "88"
#define HEAD_200_END(stream) FRAME("000001", "01", "05", stream) "88"

static size_t script_piece = 4096; /* bytes given at a time; main() runs every test with several */

struct script {
    struct ml_h2 c;
    bool no_consume; /* the caller is slow: DATA is not reported */
    char events[4096];
    char tx[8192];
    size_t data_len; /* of the stream in data_stream, not told yet */
    uint32_t data_stream;
    uint8_t body[65536]; /* bytes of DATA events, all streams */
    size_t body_len;
};

__attribute__((format(printf, 3, 4))) static inline void script_tell(char *log, size_t cap, const char *format, ...)
{
    size_t at = strlen(log);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(log + at, cap - at, format, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < cap - at);
}
#define TELL(log, ...) script_tell(log, sizeof(log), __VA_ARGS__)

static inline size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = strlen(hex) / 2;
    assert_true(n <= cap && strlen(hex) % 2 == 0);
    assert_true(ml_hex_parse(hex, 2 * n, out, n));
    return n;
}

static inline void script_flush_data(struct script *s)
{
    if (s->data_len > 0) {
        TELL(s->events, "data %u %zu, ", s->data_stream, s->data_len);
        s->data_len = 0;
    }
}

/* What came out, frame by frame. */
static inline void script_tell_frames(struct script *s, const uint8_t *p, size_t len)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113, 3.4 */
    if (len >= 24 && memcmp(p, preface, 24) == 0) {
        TELL(s->tx, "preface, ");
        p += 24;
        len -= 24;
    }
    while (len > 0) {
        assert_true(len >= 9);
        size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        unsigned type = p[3], flags = p[4];
        unsigned stream = (unsigned)p[5] << 24 | (unsigned)p[6] << 16 | (unsigned)p[7] << 8 | p[8];
        const uint8_t *b = p + 9;
        unsigned first = n >= 4 ? (unsigned)b[0] << 24 | (unsigned)b[1] << 16 | (unsigned)b[2] << 8 | b[3] : 0;
        assert_true(9 + n <= len);
        switch (type) {
        case 0:
            TELL(s->tx, "data %u %zu%s, ", stream, n, flags & 1 ? " end" : "");
            break;
        case 1:
            assert_true(flags & 4);
            TELL(s->tx, "headers %u%s, ", stream, flags & 1 ? " end" : "");
            break;
        case 3:
            assert_int_equal(n, 4);
            TELL(s->tx, "rst %u %u, ", stream, first);
            break;
        case 4:
            assert_int_equal(stream, 0);
            TELL(s->tx, flags & 1 ? "settings ack, " : "settings %zu, ", n);
            break;
        case 6:
            assert_true(n == 8 && flags == 1 && stream == 0);
            TELL(s->tx, "pong %02x..%02x, ", b[0], b[7]);
            break;
        case 7:
            assert_true(n == 8 && stream == 0);
            TELL(s->tx, "goaway %u %u, ", first, (unsigned)b[7]);
            break;
        case 8:
            assert_int_equal(n, 4);
            TELL(s->tx, "window %u %u, ", stream, first);
            break;
        default:
            fail_msg("frame type %u was sent", type);
        }
        p += 9 + n;
        len -= 9 + n;
    }
}

/* Pulls with this much room until nothing comes. */
static inline void script_pull(struct script *s, size_t cap)
{
    uint8_t *buf = malloc(cap);
    size_t n;
    assert_non_null(buf);
    while ((n = ml_h2_poll_tx(&s->c, buf, cap)) > 0) {
        assert_true(n <= cap);
        script_tell_frames(s, buf, n);
    }
    free(buf);
}

static inline void script_event(struct script *s, const struct ml_h2_event *ev)
{
    if (ev->type != ML_H2_EV_NONE && (ev->type != ML_H2_EV_DATA || ev->stream != s->data_stream)) {
        script_flush_data(s);
    }
    switch (ev->type) {
    case ML_H2_EV_HEADERS:
        TELL(s->events, "head %u %u, ", ev->stream, ev->status);
        break;
    case ML_H2_EV_DATA:
        assert_true(ev->data_len > 0 && s->body_len + ev->data_len <= sizeof s->body);
        memcpy(s->body + s->body_len, ev->data, ev->data_len);
        s->body_len += ev->data_len;
        s->data_stream = ev->stream;
        s->data_len += ev->data_len;
        if (!s->no_consume) {
            ml_h2_consumed(&s->c, ev->stream, ev->data_len);
        }
        break;
    case ML_H2_EV_END:
        TELL(s->events, "end %u, ", ev->stream);
        break;
    case ML_H2_EV_RESET:
        TELL(s->events, "reset %u %u%s, ", ev->stream, ev->code, ev->may_retry ? " retry" : "");
        break;
    case ML_H2_EV_GOAWAY:
        TELL(s->events, "goaway %u, ", ev->code);
        break;
    case ML_H2_EV_BLOCKED:
        TELL(s->events, "blocked, ");
        break;
    case ML_H2_EV_FATAL:
        TELL(s->events, "fatal %u, ", ev->code);
        break;
    case ML_H2_EV_NONE:
        break;
    }
}

/* Feeds bytes in pieces; all events until none is left. Stops at FATAL, and pulls when BLOCKED. */
static inline void script_feed(struct script *s, const uint8_t *p, size_t len)
{
    struct ml_h2_event ev = {.type = ML_H2_EV_NONE};
    size_t at = 0;
    do {
        size_t n = len - at < script_piece ? len - at : script_piece, used = 0;
        ml_h2_feed(&s->c, p + at, n, &used, &ev);
        assert_true(used <= n);
        at += used;
        script_event(s, &ev);
        if (ev.type == ML_H2_EV_BLOCKED) {
            script_pull(s, ML_H2_TX_MIN);
        }
    } while (ev.type != ML_H2_EV_FATAL && (ev.type != ML_H2_EV_NONE || at < len));
}

static inline void serve(struct script *s, const char *hex)
{
    uint8_t *buf = malloc(strlen(hex) / 2 + 1);
    assert_non_null(buf);
    script_feed(s, buf, unhex(hex, buf, strlen(hex) / 2));
    free(buf);
}

static inline void expect(char *log, const char *want)
{
    size_t n = strlen(log);
    if (n >= 2) {
        log[n - 2] = 0; /* the last comma */
    }
    assert_string_equal(log, want);
    log[0] = 0;
}
/* What happened, and what was sent, since it was asked last. */
#define EVENTS(s, want) (script_flush_data(s), expect((s)->events, want))
#define SENT(s, want)   (script_pull(s, 65536), expect((s)->tx, want))

static inline void script_begin(struct script *s, uint32_t window)
{
    memset(s, 0, sizeof *s);
    ml_h2_init(&s->c, window);
}

/* The opening exchange (RFC 9113, 3.4) behind us. */
static inline void script_open(struct script *s, uint32_t window)
{
    script_begin(s, window);
    SENT(s, "preface, settings 18");
    serve(s, SERVER_PREFACE);
    EVENTS(s, "");
    SENT(s, "settings ack");
}

static inline uint32_t get(struct script *s)
{
    static const struct ml_h2_request req = {.method = "GET", .authority = "a.example", .path = "/"};
    return ml_h2_request(&s->c, &req);
}

/* An open connection on which so many GETs, one or two, were sent. */
static inline void script_asked(struct script *s, uint32_t window, unsigned count)
{
    script_open(s, window);
    for (unsigned i = 0; i < count; i++) {
        get(s);
    }
    SENT(s, count == 1 ? "headers 1 end" : "headers 1 end, headers 3 end");
}

static inline uint32_t post(struct script *s, const uint8_t *body, size_t len)
{
    const struct ml_h2_request req = {.method = "POST", .authority = "a.example", .path = "/", .body = body, .body_len = len};
    return ml_h2_request(&s->c, &req);
}

/* DATA of `len` zero bytes (RFC 9113, 6.1). */
static inline void serve_data(struct script *s, uint32_t stream, size_t len, uint8_t flags)
{
    uint8_t *buf = calloc(1, 9 + len);
    assert_non_null(buf);
    buf[0] = (uint8_t)(len >> 16);
    buf[1] = (uint8_t)(len >> 8);
    buf[2] = (uint8_t)len;
    buf[4] = flags;
    buf[8] = (uint8_t)stream;
    script_feed(s, buf, 9 + len);
    free(buf);
}

/* Every test with the server's bytes in pieces of one, of seven, and whole. */
#define SCRIPT_MAIN(tests)                                                                                                     \
    int failed = 0;                                                                                                            \
    static const size_t pieces[] = {1, 7, 1u << 20};                                                                           \
    for (size_t i = 0; i < 3; i++) {                                                                                           \
        script_piece = pieces[i];                                                                                              \
        failed += cmocka_run_group_tests(tests, NULL, NULL);                                                                   \
    }                                                                                                                          \
    return failed

#endif
