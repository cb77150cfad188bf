/*
 * The HTTP/2 connection fed with anything: windows stay in range, output is whole frames within the windows, every event is of
 * a stream that was requested and has not ended. The input is what the server sends, in pieces whose sizes come from it;
 * requests are started and cancelled on the way. First byte: the stream window, in units of 64.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/h2_conn.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* The streams that may still have events; there are never more than the connection has room for. */
struct known {
    uint32_t id[ML_H2_STREAMS];
};

static bool swap_id(struct known *k, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        if (k->id[i] == from) {
            k->id[i] = to;
            return true;
        }
    }
    return false;
}

static void start(struct ml_h2 *c, struct known *k, const struct ml_h2_request *req)
{
    bool can = ml_h2_can_request(c);
    uint32_t id = ml_h2_request(c, req);
    check((id != 0) == can);
    check(id == 0 || (id % 2 == 1 && ml_h2_is_open(c, id) && swap_id(k, 0, id)));
}

/* Pulls once: whole frames, of types a client sends, with no more DATA than the connection window allowed. */
static void pull(struct ml_h2 *c)
{
    uint8_t tx[ML_H2_TX_MIN];
    bool has_preface = !c->preface_sent;
    int64_t window = c->send_window;
    size_t n = ml_h2_poll_tx(c, tx, sizeof tx), at = has_preface ? ML_H2_PREFACE_LEN : 0;
    check(n <= sizeof tx && at <= n);
    while (at < n) {
        struct ml_h2_frame f;
        check(n - at >= ML_H2_FRAME_HEADER);
        ml_h2_frame_parse(&f, tx + at);
        check(f.len <= n - at - ML_H2_FRAME_HEADER);
        check(f.type <= ML_H2_WINDOW_UPDATE && f.type != ML_H2_PUSH_PROMISE && f.type != ML_H2_PRIORITY);
        check(ml_h2_frame_check(&f) == ML_H2_NO_ERROR);
        window -= f.type == ML_H2_DATA ? (int64_t)f.len : 0;
        at += ML_H2_FRAME_HEADER + f.len;
    }
    check(window >= 0 && window == c->send_window);
}

static void check_windows(const struct ml_h2 *c)
{
    check(c->recv_window >= 0 && (uint32_t)c->recv_window + c->recv_credit <= ML_H2_DEFAULT_WINDOW && c->send_window >= 0);
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        const struct ml_h2_stream *s = &c->streams[i];
        check(s->id == 0 || (s->recv_window >= 0 && (uint32_t)s->recv_window + s->recv_credit <= c->stream_window));
        check(s->body_sent <= s->req.body_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t body[3000];
    struct ml_h2 c;
    struct known k = {{0}};
    const struct ml_h2_request req = {.method = "POST", .authority = "a", .path = "/p", .body = body, .body_len = sizeof body};
    ml_h2_init(&c, len > 0 ? data[0] * 64u : 0);
    start(&c, &k, &req);
    start(&c, &k, &req);
    pull(&c);
    for (size_t at = 1; at < len;) {
        size_t n = 1 + data[at] % 64u, used;
        n = n < len - at ? n : len - at;
        struct ml_h2_event ev;
        ml_h2_feed(&c, data + at, n, &used, &ev);
        check(used <= n && (ev.type != ML_H2_EV_NONE || used == n));
        check_windows(&c);
        switch (ev.type) {
        case ML_H2_EV_DATA:
            check(ev.data >= data + at && ev.data + ev.data_len <= data + at + used && swap_id(&k, ev.stream, ev.stream));
            if (ev.data_len % 2 == 0) {
                ml_h2_consumed(&c, ev.stream, ev.data_len);
            }
            break;
        case ML_H2_EV_HEADERS:
            check(ev.status >= 200 && swap_id(&k, ev.stream, ev.stream));
            if (ev.status % 4 == 0) {
                ml_h2_cancel(&c, ev.stream);
                check(!ml_h2_is_open(&c, ev.stream) && swap_id(&k, ev.stream, 0));
            }
            break;
        case ML_H2_EV_END:
        case ML_H2_EV_RESET:
            check(!ml_h2_is_open(&c, ev.stream) && swap_id(&k, ev.stream, 0));
            start(&c, &k, &req);
            break;
        case ML_H2_EV_FATAL:
            pull(&c);
            pull(&c);
            return 0;
        default:
            break;
        }
        at += used;
        if (ev.type == ML_H2_EV_BLOCKED || n % 3 == 0) {
            pull(&c);
        }
    }
    return 0;
}
