/*
 * The HTTP/2 client connection: receiving side here, sending side in h2_send.c. See h2_conn.h.
 *
 * Received bytes run through four states: the frame header, the payload in small items (settings, ping, ...), DATA and header
 * blocks that are passed through as they come, and payloads to discard. Windows (RFC 9113, 5.2): a frame's whole length is
 * taken off both receive windows when its header is read; padding and data nobody waits for are given back at once, the rest
 * when the caller reports it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/h2_conn.h"

enum state { S_HEADER, S_ITEM, S_PAD_LEN, S_PRIORITY, S_DATA, S_BLOCK, S_DISCARD };

/* A header block beyond this is an attack or a mistake; nothing is buffered, so the bound only limits work. */
#define BLOCK_MAX 65536u
/* Room that must be left in ctl before a frame is read: its answer is at most a PING acknowledgement. */
#define CTL_ANSWER 17

void ml_h2_init(struct ml_h2 *c, uint32_t stream_window)
{
    ml_zero(c);
    c->next_id = 1;
    c->stream_window = stream_window == 0                     ? ML_H2_FRAME_MAX
                       : stream_window > ML_H2_DEFAULT_WINDOW ? ML_H2_DEFAULT_WINDOW
                                                              : stream_window;
    c->send_window = c->recv_window = ML_H2_DEFAULT_WINDOW;
    c->peer_initial_window = ML_H2_DEFAULT_WINDOW;
    c->peer_max_frame = ML_H2_FRAME_MAX;
    c->peer_max_streams = UINT32_MAX;
}

static struct ml_h2_stream *find(struct ml_h2 *c, uint32_t id)
{
    for (size_t i = 0; id != 0 && i < ML_H2_STREAMS; i++) {
        if (c->streams[i].id == id) {
            return &c->streams[i];
        }
    }
    return NULL;
}

/* A stream that still expects something from the server. */
static struct ml_h2_stream *find_live(struct ml_h2 *c, uint32_t id)
{
    struct ml_h2_stream *s = find(c, id);
    return s && !s->is_closed ? s : NULL;
}

static void fatal(struct ml_h2 *c, enum ml_h2_code code)
{
    if (!c->is_fatal) {
        c->is_fatal = true;
        c->fatal_code = code;
        c->goaway_due = true;
    }
}

/* The stream ends by our doing or the server's; the RESET event is given out by due_event(). */
static void close_reset(struct ml_h2_stream *s, uint32_t code, bool send_rst, bool may_retry)
{
    s->is_closed = true;
    s->reset_due = true;
    s->retry_due = may_retry;
    s->code = code;
    s->rst_due = send_rst && s->headers_sent;
}

/* The server has ended its side. What we have not sent of the request is of no use any more (RFC 9113, 8.1). */
static void close_end(struct ml_h2_stream *s)
{
    s->is_closed = true;
    s->end_due = true;
    s->code = ML_H2_NO_ERROR;
    s->rst_due = !s->all_sent;
}

/* A slot is free again when its event was given out and its RST_STREAM, if any, is on the way. */
static void release(struct ml_h2_stream *s)
{
    if (s->is_closed && !s->end_due && !s->reset_due && !s->rst_due) {
        ml_zero(s);
    }
}

/* Events that need no input: ends of streams, GOAWAY, failure of the connection. */
static bool due_event(struct ml_h2 *c, struct ml_h2_event *ev)
{
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        struct ml_h2_stream *s = &c->streams[i];
        if (s->end_due || s->reset_due) {
            ev->type = s->end_due ? ML_H2_EV_END : ML_H2_EV_RESET;
            ev->stream = s->id;
            ev->code = s->code;
            ev->may_retry = s->retry_due;
            s->end_due = s->reset_due = false;
            release(s);
            return true;
        }
    }
    if (c->goaway_event_due) {
        c->goaway_event_due = false;
        ev->type = ML_H2_EV_GOAWAY;
        ev->code = c->goaway_code;
        return true;
    }
    if (c->is_fatal) {
        ev->type = ML_H2_EV_FATAL;
        ev->code = c->fatal_code;
        return true;
    }
    return false;
}

static void take_window(struct ml_h2 *c, struct ml_h2_stream *s, uint32_t len)
{
    if ((int32_t)len > c->recv_window) {
        fatal(c, ML_H2_FLOW_CONTROL_ERROR);
        return;
    }
    c->recv_window -= (int32_t)len;
    if (!s) {
        return;
    }
    if ((int32_t)len > s->recv_window) {
        close_reset(s, ML_H2_FLOW_CONTROL_ERROR, true, false);
        return;
    }
    s->recv_window -= (int32_t)len;
}

static void give_credit(struct ml_h2 *c, uint32_t stream, size_t n)
{
    /* Never more than was taken, whatever the caller says. */
    uint32_t most = (uint32_t)(ML_H2_DEFAULT_WINDOW - c->recv_window) - c->recv_credit;
    c->recv_credit += n < most ? (uint32_t)n : most;
    struct ml_h2_stream *s = find_live(c, stream);
    if (s) {
        most = (uint32_t)((int32_t)c->stream_window - s->recv_window) - s->recv_credit;
        s->recv_credit += n < most ? (uint32_t)n : most;
    }
}

void ml_h2_consumed(struct ml_h2 *c, uint32_t stream, size_t n)
{
    give_credit(c, stream, n);
}

/* ---- Frames of one or more small items ---- */

static void add_window(struct ml_h2 *c, int32_t *window, int64_t delta, struct ml_h2_stream *s)
{
    if (*window + delta > ML_H2_WINDOW_MAX) {
        if (s) {
            close_reset(s, ML_H2_FLOW_CONTROL_ERROR, true, false);
        } else {
            fatal(c, ML_H2_FLOW_CONTROL_ERROR);
        }
        return;
    }
    *window = (int32_t)(*window + delta);
}

static void on_setting(struct ml_h2 *c, uint16_t id, uint32_t v)
{
    switch (id) {
    case ML_H2_SET_ENABLE_PUSH:
        if (v != 0) {
            fatal(c, ML_H2_PROTOCOL_ERROR); /* a server must not (RFC 9113, 6.5.2) */
        }
        break;
    case ML_H2_SET_MAX_CONCURRENT_STREAMS:
        c->peer_max_streams = v;
        break;
    case ML_H2_SET_INITIAL_WINDOW_SIZE:
        if (v > (uint32_t)ML_H2_WINDOW_MAX) {
            fatal(c, ML_H2_FLOW_CONTROL_ERROR);
            break;
        }
        for (size_t i = 0; i < ML_H2_STREAMS; i++) {
            struct ml_h2_stream *s = &c->streams[i];
            if (s->id != 0) {
                add_window(c, &s->send_window, (int64_t)v - c->peer_initial_window, NULL);
            }
        }
        c->peer_initial_window = v;
        break;
    case ML_H2_SET_MAX_FRAME_SIZE:
        if (v < ML_H2_FRAME_MAX || v > 0xffffff) {
            fatal(c, ML_H2_PROTOCOL_ERROR);
            break;
        }
        c->peer_max_frame = v;
        break;
    default:
        break; /* our encoder uses no table, so its size does not matter; unknown ones are ignored */
    }
}

static void queue_ack(struct ml_h2 *c, uint8_t type, const uint8_t *payload, uint32_t len)
{
    struct ml_writer w = ml_writer_of(c->ctl + c->ctl_len, sizeof c->ctl - c->ctl_len);
    struct ml_h2_frame f = {.len = len, .type = type, .flags = ML_H2_FLAG_ACK};
    ml_h2_frame_write(&w, &f);
    ml_write_bytes(&w, payload, len);
    c->ctl_len = (uint8_t)(c->ctl_len + (w.bad ? 0 : w.len));
}

/* To the server a stream is idle until it has seen its HEADERS (RFC 9113, 5.1). */
static bool is_idle(struct ml_h2 *c, uint32_t id)
{
    const struct ml_h2_stream *s = find(c, id);
    return id >= c->next_id || (id & 1) == 0 || (s && !s->headers_sent);
}

static void on_rst(struct ml_h2 *c, uint32_t code)
{
    struct ml_h2_stream *s = find_live(c, c->frame.stream);
    if (is_idle(c, c->frame.stream)) {
        fatal(c, ML_H2_PROTOCOL_ERROR);
    } else if (s) {
        close_reset(s, code, false, code == ML_H2_REFUSED_STREAM);
    }
}

static void on_goaway(struct ml_h2 *c, const uint8_t *p)
{
    uint32_t last = ml_get_be32(p) & 0x7fffffff;
    c->is_going_away = true;
    c->goaway_event_due = true;
    c->goaway_code = ml_get_be32(p + 4);
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        struct ml_h2_stream *s = &c->streams[i];
        if (s->id != 0 && !s->is_closed && (s->id > last || !s->headers_sent)) {
            close_reset(s, ML_H2_REFUSED_STREAM, false, true);
        }
    }
    c->state = S_DISCARD; /* debug data */
}

static void on_window_update(struct ml_h2 *c, uint32_t delta)
{
    struct ml_h2_stream *s = find_live(c, c->frame.stream);
    delta &= 0x7fffffff;
    if (c->frame.stream == 0) {
        if (delta == 0) {
            fatal(c, ML_H2_PROTOCOL_ERROR);
        } else {
            add_window(c, &c->send_window, delta, NULL);
        }
    } else if (is_idle(c, c->frame.stream)) {
        fatal(c, ML_H2_PROTOCOL_ERROR);
    } else if (s && delta == 0) {
        close_reset(s, ML_H2_PROTOCOL_ERROR, true, false);
    } else if (s) {
        add_window(c, &s->send_window, delta, s);
    }
}

void ml_h2_ping(struct ml_h2 *c)
{
    c->ping_count++;
    c->ping_due = c->is_ping_open = true;
}

bool ml_h2_is_ping_open(const struct ml_h2 *c)
{
    return c->is_ping_open;
}

static uint8_t item_size(uint8_t type)
{
    return type == ML_H2_SETTINGS ? 6 : type == ML_H2_PING || type == ML_H2_GOAWAY ? 8 : 4;
}

static void on_item(struct ml_h2 *c)
{
    const uint8_t *p = c->small;
    switch (c->frame.type) {
    case ML_H2_SETTINGS:
        on_setting(c, ml_get_be16(p), ml_get_be32(p + 2));
        break;
    case ML_H2_PING:
        if (!(c->frame.flags & ML_H2_FLAG_ACK)) {
            queue_ack(c, ML_H2_PING, p, 8);
        } else if (ml_get_be32(p) == 0 && ml_get_be32(p + 4) == c->ping_count && !c->ping_due) {
            c->is_ping_open = false;
        }
        break;
    case ML_H2_GOAWAY:
        on_goaway(c, p);
        break;
    case ML_H2_RST_STREAM:
        on_rst(c, ml_get_be32(p));
        break;
    default:
        on_window_update(c, ml_get_be32(p));
        break;
    }
}

/* ---- Header blocks ---- */

static void block_ended(struct ml_h2 *c, struct ml_h2_event *ev)
{
    struct ml_h2_stream *s = find_live(c, c->block_stream);
    bool end_stream = (c->block_flags & ML_H2_FLAG_END_STREAM) != 0;
    c->block_stream = 0;
    if (!ml_hpack_finish(&c->hpack)) {
        fatal(c, ML_H2_COMPRESSION_ERROR);
        return;
    }
    if (!s) {
        return;
    }
    bool is_trailer = s->got_head;
    bool is_interim = c->hpack.status >= 100 && c->hpack.status < 200;
    bool bad = c->hpack.is_malformed || (is_trailer ? !end_stream || c->hpack.status != 0 : c->hpack.status == 0) ||
               (is_interim && (end_stream || c->hpack.status == 101));
    if (bad) {
        close_reset(s, ML_H2_PROTOCOL_ERROR, true, false);
        return;
    }
    if (!is_trailer && !is_interim) {
        s->got_head = true;
        ev->type = ML_H2_EV_HEADERS;
        ev->stream = s->id;
        ev->status = c->hpack.status;
        ev->retry_after = c->hpack.retry_after;
        ev->date = c->hpack.date;
    }
    if (end_stream) {
        close_end(s);
    }
}

/* ---- Frame by frame ---- */

/* A frame is over: what its flags mean now. */
static void frame_ended(struct ml_h2 *c, struct ml_h2_event *ev)
{
    struct ml_h2_stream *s;
    c->state = S_HEADER;
    c->pos = 0;
    switch (c->frame.type) {
    case ML_H2_DATA:
        s = find_live(c, c->frame.stream);
        if (s && (c->frame.flags & ML_H2_FLAG_END_STREAM)) {
            close_end(s);
        }
        break;
    case ML_H2_HEADERS:
    case ML_H2_CONTINUATION:
        if (c->frame.flags & ML_H2_FLAG_END_HEADERS) {
            block_ended(c, ev);
        }
        break;
    case ML_H2_SETTINGS:
        if (!(c->frame.flags & ML_H2_FLAG_ACK)) {
            queue_ack(c, ML_H2_SETTINGS, NULL, 0);
        }
        break;
    default:
        break;
    }
}

static void data_begin(struct ml_h2 *c)
{
    struct ml_h2_stream *s = find_live(c, c->frame.stream);
    if (is_idle(c, c->frame.stream)) {
        fatal(c, ML_H2_PROTOCOL_ERROR);
        return;
    }
    take_window(c, s, c->frame.len);
    if (s && !s->is_closed && !s->got_head) {
        close_reset(s, ML_H2_PROTOCOL_ERROR, true, false);
    }
    c->state = S_DATA;
}

static void block_begin(struct ml_h2 *c)
{
    if (c->frame.type == ML_H2_HEADERS) {
        if (is_idle(c, c->frame.stream)) {
            fatal(c, ML_H2_PROTOCOL_ERROR);
            return;
        }
        ml_hpack_begin(&c->hpack);
        c->block_stream = c->frame.stream;
        c->block_flags = c->frame.flags;
        c->block_len = 0;
    }
    c->state = S_BLOCK;
}

static void frame_begin(struct ml_h2 *c)
{
    ml_h2_frame_parse(&c->frame, c->small);
    struct ml_h2_frame *f = &c->frame;
    enum ml_h2_code code = ml_h2_frame_check(f);
    bool in_block = c->block_stream != 0;
    /* RFC 9113, 3.4: the server begins with SETTINGS. */
    bool bad_start = !c->got_settings && (f->type != ML_H2_SETTINGS || (f->flags & ML_H2_FLAG_ACK));
    /* Nothing may come between HEADERS and its CONTINUATION, which has no other place. */
    bool bad_block = in_block != (f->type == ML_H2_CONTINUATION) || (in_block && f->stream != c->block_stream);
    if (code != ML_H2_NO_ERROR) {
        fatal(c, code);
    } else if (bad_start || bad_block || f->type == ML_H2_PUSH_PROMISE) { /* we announced ENABLE_PUSH = 0 */
        fatal(c, ML_H2_PROTOCOL_ERROR);
    }
    if (c->is_fatal) {
        return;
    }
    c->got_settings = true;
    c->frame_left = f->len;
    c->pad_left = 0;
    c->pos = 0;
    switch (f->type) {
    case ML_H2_DATA:
        data_begin(c);
        break;
    case ML_H2_HEADERS:
    case ML_H2_CONTINUATION:
        block_begin(c);
        break;
    case ML_H2_SETTINGS:
    case ML_H2_PING:
    case ML_H2_RST_STREAM:
    case ML_H2_GOAWAY:
    case ML_H2_WINDOW_UPDATE:
        c->state = S_ITEM;
        return;
    default:
        c->state = S_DISCARD; /* PRIORITY and types we do not know */
        return;
    }
    if ((f->flags & ML_H2_FLAG_PADDED) && f->type != ML_H2_CONTINUATION) {
        c->state = S_PAD_LEN;
    } else if ((f->flags & ML_H2_FLAG_PRIORITY) && f->type == ML_H2_HEADERS) {
        c->state = S_PRIORITY;
    }
}

/* The payload proper begins: after the padding length, and for HEADERS after the five bytes of priority. */
static void after_pad_len(struct ml_h2 *c, uint8_t pad)
{
    if (pad > c->frame_left) {
        fatal(c, ML_H2_PROTOCOL_ERROR);
        return;
    }
    c->pad_left = pad;
    if (c->frame.type == ML_H2_DATA) {
        c->state = S_DATA;
        give_credit(c, c->frame.stream, 1u + pad);
    } else {
        c->state = c->frame.flags & ML_H2_FLAG_PRIORITY ? S_PRIORITY : S_BLOCK;
    }
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* One step of a payload that has bytes left. Returns the bytes used. */
static size_t payload(struct ml_h2 *c, const uint8_t *buf, size_t len, struct ml_h2_event *ev)
{
    size_t body = c->frame_left - c->pad_left; /* without padding */
    size_t n = min_size(len, c->frame_left);
    switch (c->state) {
    case S_ITEM:
        n = min_size(n, (size_t)(item_size(c->frame.type) - c->pos));
        memcpy(c->small + c->pos, buf, n);
        c->pos = (uint8_t)(c->pos + n);
        if (c->pos == item_size(c->frame.type)) {
            c->pos = 0;
            on_item(c);
        }
        break;
    case S_PAD_LEN:
        n = 1;
        c->frame_left--;
        after_pad_len(c, buf[0]);
        return n;
    case S_PRIORITY:
        if (c->pos == 0 && body < 5) {
            fatal(c, ML_H2_FRAME_SIZE_ERROR);
            return 0;
        }
        n = min_size(n, (size_t)(5 - c->pos));
        c->pos = (uint8_t)(c->pos + n);
        if (c->pos == 5) {
            c->state = S_BLOCK;
        }
        break;
    case S_DATA:
        n = body > 0 ? min_size(n, body) : n;
        if (body > 0 && find_live(c, c->frame.stream)) {
            ev->type = ML_H2_EV_DATA;
            ev->stream = c->frame.stream;
            ev->data = buf;
            ev->data_len = n;
        } else if (body > 0) {
            give_credit(c, 0, n);
        }
        break;
    case S_BLOCK:
        n = body > 0 ? min_size(n, body) : n;
        c->block_len += (uint32_t)n;
        if (c->block_len > BLOCK_MAX) {
            fatal(c, ML_H2_ENHANCE_YOUR_CALM);
        } else if (body > 0 && !ml_hpack_feed(&c->hpack, buf, n)) {
            fatal(c, ML_H2_COMPRESSION_ERROR);
        }
        break;
    default:
        break;
    }
    c->frame_left -= (uint32_t)n;
    if (body == 0) {
        c->pad_left = (uint8_t)(c->pad_left - n);
    }
    return n;
}

/* HEADERS flags that promise more than the frame has. */
static bool is_short(const struct ml_h2 *c)
{
    return c->state == S_PAD_LEN || c->state == S_PRIORITY;
}

void ml_h2_feed(struct ml_h2 *c, const uint8_t *buf, size_t len, size_t *used, struct ml_h2_event *ev)
{
    size_t i = 0;
    *ev = (struct ml_h2_event){.type = ML_H2_EV_NONE, .retry_after = "", .date = ""};
    while (ev->type == ML_H2_EV_NONE && !due_event(c, ev)) {
        if (c->state == S_HEADER) {
            if (i == len) {
                break;
            }
            if (c->pos == 0 && sizeof c->ctl - c->ctl_len < CTL_ANSWER) {
                ev->type = ML_H2_EV_BLOCKED;
                break;
            }
            size_t n = min_size(len - i, (size_t)(ML_H2_FRAME_HEADER - c->pos));
            memcpy(c->small + c->pos, buf + i, n);
            c->pos = (uint8_t)(c->pos + n);
            i += n;
            if (c->pos < ML_H2_FRAME_HEADER) {
                break;
            }
            frame_begin(c);
        } else if (c->frame_left > 0) {
            if (i == len) {
                break;
            }
            i += payload(c, buf + i, len - i, ev);
        } else if (is_short(c)) {
            fatal(c, ML_H2_FRAME_SIZE_ERROR);
        } else {
            frame_ended(c, ev);
        }
    }
    *used = c->is_fatal ? len : i;
}

/* ---- Requests ---- */

static size_t text_len(const char *s)
{
    return s ? strlen(s) : 0;
}

bool ml_h2_can_request(const struct ml_h2 *c)
{
    uint32_t active = 0;
    for (size_t i = 0; i < ML_H2_STREAMS; i++) {
        active += c->streams[i].id != 0;
    }
    return !c->is_fatal && !c->is_going_away && active < ML_H2_STREAMS && active < c->peer_max_streams &&
           c->next_id < (uint32_t)ML_H2_WINDOW_MAX - 1;
}

uint32_t ml_h2_request(struct ml_h2 *c, const struct ml_h2_request *req)
{
    /* Per field at most an index, a name of 6 and two length prefixes of 3; content-length has 20 digits. */
    size_t size = strlen(req->method) + strlen(req->authority) + strlen(req->path) + text_len(req->content_type) +
                  text_len(req->ts_lb) + text_len(req->ts_lb2) + 96;
    if (!ml_h2_can_request(c) || size > ML_H2_TX_MIN - ML_H2_FRAME_HEADER) {
        return 0;
    }
    struct ml_h2_stream *s = c->streams;
    while (s->id != 0) {
        s++;
    }
    ml_zero(s);
    s->id = c->next_id;
    s->req = *req;
    s->send_window = (int32_t)c->peer_initial_window;
    s->recv_window = (int32_t)c->stream_window;
    c->next_id += 2;
    return s->id;
}

bool ml_h2_is_open(const struct ml_h2 *c, uint32_t stream)
{
    for (size_t i = 0; stream != 0 && i < ML_H2_STREAMS; i++) {
        const struct ml_h2_stream *s = &c->streams[i];
        if (s->id == stream) {
            return !s->is_closed || s->end_due || s->reset_due;
        }
    }
    return false;
}

bool ml_h2_is_sent(const struct ml_h2 *c, uint32_t stream)
{
    for (size_t i = 0; stream != 0 && i < ML_H2_STREAMS; i++) {
        const struct ml_h2_stream *s = &c->streams[i];
        if (s->id == stream) {
            return s->all_sent || s->is_closed;
        }
    }
    return true;
}

void ml_h2_cancel(struct ml_h2 *c, uint32_t stream)
{
    struct ml_h2_stream *s = find(c, stream);
    if (!s) {
        return;
    }
    if (!s->is_closed) {
        close_reset(s, ML_H2_CANCEL, true, false);
    }
    s->end_due = s->reset_due = false;
    release(s);
}
