/*
 * The sending side of the HTTP/2 client connection: what poll_tx() yields, most urgent first. See h2_conn.h.
 *
 * Order: preface and SETTINGS; GOAWAY after a fatal error (and then nothing); acknowledgements; RST_STREAM; WINDOW_UPDATE;
 * HEADERS in the order of stream ids; DATA, one frame of each stream as far as there is room. Header fields are written as
 * static indexes and literals without indexing, so the server keeps no state for us.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/h2_conn.h"

/* Static table (RFC 7541, Appendix A). */
enum { I_AUTHORITY = 1, I_GET = 2, I_POST = 3, I_PATH = 4, I_HTTPS = 7, I_CONTENT_LENGTH = 28, I_CONTENT_TYPE = 31 };

static void put_preface(struct ml_h2 *c, struct ml_writer *w)
{
    const uint32_t settings[][2] = {
        {ML_H2_SET_HEADER_TABLE_SIZE, 0}, {ML_H2_SET_ENABLE_PUSH, 0}, {ML_H2_SET_INITIAL_WINDOW_SIZE, c->stream_window}};
    struct ml_h2_frame f = {.len = 18, .type = ML_H2_SETTINGS};
    ml_write_str(w, ML_H2_PREFACE);
    ml_h2_frame_write(w, &f);
    for (size_t i = 0; i < 3; i++) {
        ml_write_be16(w, (uint16_t)settings[i][0]);
        ml_write_be32(w, settings[i][1]);
    }
}

/* RST_STREAM and WINDOW_UPDATE: a stream and one number. */
static void put_u32_frame(struct ml_writer *w, uint8_t type, uint32_t stream, uint32_t v)
{
    struct ml_h2_frame f = {.len = 4, .type = type, .stream = stream};
    ml_h2_frame_write(w, &f);
    ml_write_be32(w, v);
}

static bool room_for(const struct ml_writer *w, size_t n)
{
    return w->cap - w->len >= n;
}

static void put_string(struct ml_writer *w, const char *text)
{
    uint8_t len[6];
    size_t n = strlen(text);
    ml_write_bytes(w, len, ml_hpack_put_int(len, 0, 7, (uint32_t)n));
    ml_write_bytes(w, text, n);
}

/* A literal without indexing whose name is in the static table. */
static void put_indexed_name(struct ml_writer *w, uint32_t name, const char *value)
{
    uint8_t index[6];
    ml_write_bytes(w, index, ml_hpack_put_int(index, 0, 4, name));
    put_string(w, value);
}

static void put_literal(struct ml_writer *w, const char *name, const char *value)
{
    ml_write_u8(w, 0);
    put_string(w, name);
    put_string(w, value);
}

static void put_fields(struct ml_writer *w, const struct ml_h2_request *req)
{
    if (strcmp(req->method, "GET") == 0) {
        ml_write_u8(w, 0x80 | I_GET);
    } else if (strcmp(req->method, "POST") == 0) {
        ml_write_u8(w, 0x80 | I_POST);
    } else {
        put_indexed_name(w, I_GET, req->method);
    }
    ml_write_u8(w, 0x80 | I_HTTPS);
    put_indexed_name(w, I_AUTHORITY, req->authority);
    put_indexed_name(w, I_PATH, req->path);
    if (req->content_type) {
        put_indexed_name(w, I_CONTENT_TYPE, req->content_type);
    }
    if (req->ts_lb) {
        put_literal(w, "ts-lb", req->ts_lb);
    }
    if (req->ts_lb2) {
        put_literal(w, "ts-lb", req->ts_lb2);
    }
    if (req->body_len > 0) {
        uint8_t digits[21];
        struct ml_writer d = ml_writer_of(digits, sizeof digits);
        ml_write_dec(&d, req->body_len);
        put_indexed_name(w, I_CONTENT_LENGTH, ml_write_end_str(&d));
    }
}

/* Writes the frame, or nothing when it does not fit. */
static bool put_headers(struct ml_h2 *c, struct ml_h2_stream *s, struct ml_writer *w)
{
    size_t start = w->len;
    struct ml_h2_frame f = {.type = ML_H2_HEADERS, .flags = ML_H2_FLAG_END_HEADERS, .stream = s->id};
    f.flags |= s->req.body_len == 0 ? ML_H2_FLAG_END_STREAM : 0;
    uint8_t *head = ml_write_room(w, ML_H2_FRAME_HEADER);
    if (!c->table_update_sent) {
        ml_write_u8(w, 0x20); /* we use no dynamic table, whatever size the server allows */
    }
    put_fields(w, &s->req);
    if (w->bad || !head) {
        w->len = start;
        w->bad = false;
        return false;
    }
    f.len = (uint32_t)(w->len - start - ML_H2_FRAME_HEADER);
    struct ml_writer hw = ml_writer_of(head, ML_H2_FRAME_HEADER);
    ml_h2_frame_write(&hw, &f);
    c->table_update_sent = true;
    s->headers_sent = true;
    s->all_sent = s->req.body_len == 0;
    return true;
}

static void put_data(struct ml_h2 *c, struct ml_h2_stream *s, struct ml_writer *w)
{
    size_t n = s->req.body_len - s->body_sent;
    if (s->send_window <= 0 || c->send_window <= 0 || !room_for(w, ML_H2_FRAME_HEADER + 1)) {
        return;
    }
    size_t limits[] = {(size_t)s->send_window, (size_t)c->send_window, c->peer_max_frame, w->cap - w->len - ML_H2_FRAME_HEADER};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        n = limits[i] < n ? limits[i] : n;
    }
    s->all_sent = s->body_sent + n == s->req.body_len;
    struct ml_h2_frame f = {.len = (uint32_t)n, .type = ML_H2_DATA, .stream = s->id};
    f.flags = s->all_sent ? ML_H2_FLAG_END_STREAM : 0;
    ml_h2_frame_write(w, &f);
    ml_write_bytes(w, s->req.body + s->body_sent, n);
    s->body_sent += n;
    s->send_window -= (int32_t)n;
    c->send_window -= (int32_t)n;
}

/* RST_STREAM of streams that ended early; the slot is free again once nobody waits for an event of it. */
static void put_resets(struct ml_h2 *c, struct ml_writer *w)
{
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        struct ml_h2_stream *s = &c->streams[i];
        if (!s->rst_due || !room_for(w, 13)) {
            continue;
        }
        put_u32_frame(w, ML_H2_RST_STREAM, s->id, s->code);
        s->rst_due = false;
        if (!s->end_due && !s->reset_due) {
            ml_zero(s);
        }
    }
}

/* A window is announced again when half of it was used up and consumed: fewer frames, never a stall. */
static void put_window_updates(struct ml_h2 *c, struct ml_writer *w)
{
    if (c->recv_credit >= ML_H2_DEFAULT_WINDOW / 2 && room_for(w, 13)) {
        put_u32_frame(w, ML_H2_WINDOW_UPDATE, 0, c->recv_credit);
        c->recv_window += (int32_t)c->recv_credit;
        c->recv_credit = 0;
    }
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        struct ml_h2_stream *s = &c->streams[i];
        if (s->id != 0 && !s->is_closed && s->recv_credit > 0 && s->recv_credit >= c->stream_window / 2 && room_for(w, 13)) {
            put_u32_frame(w, ML_H2_WINDOW_UPDATE, s->id, s->recv_credit);
            s->recv_window += (int32_t)s->recv_credit;
            s->recv_credit = 0;
        }
    }
}

/* Stream ids must appear on the wire in order, and slots are reused in any. */
static bool put_all_headers(struct ml_h2 *c, struct ml_writer *w)
{
    for (;;) {
        struct ml_h2_stream *first = NULL;
        for (size_t i = 0; i < ML_H2_STREAMS; i++) {
            struct ml_h2_stream *s = &c->streams[i];
            if (s->id != 0 && !s->headers_sent && !s->is_closed && (!first || s->id < first->id)) {
                first = s;
            }
        }
        if (!first) {
            return true;
        }
        if (!put_headers(c, first, w)) {
            return false;
        }
    }
}

size_t ml_h2_poll_tx(struct ml_h2 *c, uint8_t *dst, size_t cap)
{
    struct ml_writer w = ml_writer_of(dst, cap);
    if (!c->preface_sent) {
        if (!room_for(&w, ML_H2_PREFACE_LEN + ML_H2_FRAME_HEADER + 18)) {
            return 0;
        }
        put_preface(c, &w);
        c->preface_sent = true;
    }
    if (c->is_fatal) {
        if (c->goaway_due && room_for(&w, ML_H2_FRAME_HEADER + 8)) {
            struct ml_h2_frame f = {.len = 8, .type = ML_H2_GOAWAY};
            ml_h2_frame_write(&w, &f);
            ml_write_be32(&w, 0); /* we processed no stream of the server's */
            ml_write_be32(&w, c->fatal_code);
            c->goaway_due = false;
        }
        return w.len;
    }
    if (c->ctl_len > 0 && room_for(&w, c->ctl_len)) {
        ml_write_bytes(&w, c->ctl, c->ctl_len);
        c->ctl_len = 0;
    }
    if (c->ping_due && room_for(&w, ML_H2_FRAME_HEADER + 8)) {
        struct ml_h2_frame f = {.len = 8, .type = ML_H2_PING};
        ml_h2_frame_write(&w, &f);
        ml_write_be32(&w, 0);
        ml_write_be32(&w, c->ping_count);
        c->ping_due = false;
    }
    put_resets(c, &w);
    put_window_updates(c, &w);
    if (put_all_headers(c, &w)) {
        for (size_t i = 0; i < ML_H2_STREAMS; i++) {
            struct ml_h2_stream *s = &c->streams[i];
            if (s->headers_sent && !s->all_sent && !s->is_closed) {
                put_data(c, s, &w);
            }
        }
    }
    return w.len;
}
