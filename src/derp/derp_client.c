/*
 * One DERP connection. See derp_client.h.
 *
 * Transmit memory has two uses. Until the login is sent only its first ML_DERP_TX_HEAD bytes are the ring, and whole
 * SendPacket frames given early lie staged behind them. When the login is queued the staged bytes move up behind it and all
 * of the memory is one ring.
 *
 * Timers:
 * - login_by: open() + 10 s; ServerInfo must have come.
 * - last_frame_at + 120 s: a frame of any kind must have come.
 * - check_by: the pong to a ping of ours must have come, 3 s after it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "derp/derp_client.h"

#include "base/rng.h"

_Static_assert(ML_DERP_TX_MIN >= ML_DERP_TX_HEAD + ML_DERP_HEADER_LEN + ML_DERP_RX_CAP, "room to stage one packet");

enum {
    STATE_IDLE,     /* no stream */
    STATE_UPGRADE,  /* request sent, reading the HTTP response */
    STATE_GREETING, /* the next frame must be ServerKey */
    STATE_READY,    /* login sent */
    STATE_FAILED    /* wants to be closed */
};

/* The one event that may be waiting. */
enum { EVENT_NONE, EVENT_FRAME, EVENT_SKIPPED, EVENT_FAILED };

/* Tokens are counted in millionths of a byte, so that a rate in bytes per second fills them per microsecond exactly. */
#define TOKEN 1000000U

const char *ml_derp_fail_text(enum ml_derp_fail why)
{
    switch (why) {
    case ML_DERP_FAIL_NONE:
        return "no failure";
    case ML_DERP_FAIL_NOT_HTTP:
        return "no HTTP answer from the relay";
    case ML_DERP_FAIL_STATUS:
        return "the relay refused the upgrade";
    case ML_DERP_FAIL_GREETING:
        return "not a DERP server";
    case ML_DERP_FAIL_SERVER_KEY:
        return "the relay's key is unusable";
    case ML_DERP_FAIL_SERVER_INFO:
        return "the relay does not hold the key it announced";
    case ML_DERP_FAIL_FRAME_SIZE:
        return "frame too long";
    case ML_DERP_FAIL_LOGIN_TIMEOUT:
        return "the relay did not accept our login in time";
    case ML_DERP_FAIL_READ_TIMEOUT:
        return "nothing heard from the relay for two minutes";
    case ML_DERP_FAIL_CHECK_TIMEOUT:
        return "no pong after a network change";
    }
    return "unknown failure";
}

void ml_derp_client_init(struct ml_derp_client *c, const struct ml_derp_self *self, uint8_t *tx, size_t tx_cap)
{
    ml_zero(c);
    c->self = self;
    c->tx = tx;
    c->tx_cap = (uint32_t)tx_cap;
}

unsigned ml_derp_client_close(struct ml_derp_client *c)
{
    const struct ml_derp_self *self = c->self;
    uint8_t *tx = c->tx;
    uint32_t tx_cap = c->tx_cap;
    unsigned lost = c->staged_count;
    ml_wipe(c, sizeof *c);
    ml_derp_client_init(c, self, tx, tx_cap);
    return lost;
}

bool ml_derp_client_is_ready(const struct ml_derp_client *c)
{
    return c->state == STATE_READY;
}

static void fail(struct ml_derp_client *c, enum ml_derp_fail why)
{
    ml_wipe(c->shared, sizeof c->shared);
    c->state = STATE_FAILED;
    c->fail = (uint8_t)why;
    c->event = EVENT_FAILED;
    c->tx_len = 0;
}

/* ---- Transmit ring ---- */

static size_t ring_free(const struct ml_derp_client *c)
{
    return c->tx_cap - c->tx_len;
}

static void ring_put(struct ml_derp_client *c, const uint8_t *src, size_t n)
{
    uint32_t tail = (c->tx_head + c->tx_len) % c->tx_cap;
    size_t first = c->tx_cap - tail;
    first = first < n ? first : n;
    memcpy(c->tx + tail, src, first);
    memcpy(c->tx, src + first, n - first);
    c->tx_len += (uint32_t)n;
}

/* Small frames that must not be lost wait as flags until there is room. */
static void flush_flags(struct ml_derp_client *c)
{
    uint8_t frame[ML_DERP_HEADER_LEN + 8];
    struct ml_writer w = ml_writer_of(frame, sizeof frame);
    if (c->state != STATE_READY) {
        return;
    }
    if (c->has_preferred && ring_free(c) >= ML_DERP_HEADER_LEN + 1) {
        ml_derp_write_header(&w, ML_DERP_NOTE_PREFERRED, 1);
        ml_write_u8(&w, c->is_home);
        ring_put(c, frame, w.len);
        c->has_preferred = false;
    }
    if (c->has_pong && ring_free(c) >= sizeof frame) {
        w = ml_writer_of(frame, sizeof frame);
        ml_derp_write_header(&w, ML_DERP_PONG, 8);
        ml_write_bytes(&w, c->pong, 8);
        ring_put(c, frame, w.len);
        c->has_pong = false;
    }
    if (c->has_check && ring_free(c) >= sizeof frame) {
        w = ml_writer_of(frame, sizeof frame);
        ml_derp_write_header(&w, ML_DERP_PING, 8);
        ml_write_bytes(&w, c->check, 8);
        ring_put(c, frame, w.len);
        c->has_check = false;
    }
}

size_t ml_derp_client_tx_peek(const struct ml_derp_client *c, const uint8_t **buf)
{
    size_t first = c->tx_cap - c->tx_head;
    *buf = c->tx + c->tx_head;
    return c->tx_len < first ? c->tx_len : first;
}

void ml_derp_client_tx_done(struct ml_derp_client *c, size_t n)
{
    n = n < c->tx_len ? n : c->tx_len;
    c->tx_len -= (uint32_t)n;
    /* Before the login is sent the unsent bytes stay where they are: the ring does not wrap yet. */
    c->tx_head = (uint32_t)((c->tx_head + n) % c->tx_cap);
    flush_flags(c);
}

/* Queues the login behind what is still unsent, then what was staged. */
static void send_login(struct ml_derp_client *c)
{
    memmove(c->tx, c->tx + c->tx_head, c->tx_len);
    c->tx_head = 0;
    struct ml_writer w = ml_writer_of(c->tx, ML_DERP_TX_HEAD);
    w.len = c->tx_len;
    ml_derp_write_client_info(&w, c->self->pub, c->shared, c->self->rng);
    memmove(c->tx + w.len, c->tx + ML_DERP_TX_HEAD, c->staged_len);
    c->tx_len = (uint32_t)w.len + c->staged_len;
    c->staged_len = 0;
    c->staged_count = 0;
    c->state = STATE_READY;
    c->has_preferred = c->is_home;
    flush_flags(c);
}

/* The key shared with the server. A login is the first thing of its call to need a curve operation. */
static bool derive(struct ml_derp_client *c, const ml_derp_key *server)
{
    (void)ml_curve_take(c->self->budget);
    return ml_box_beforenm(c->shared, server->b, c->self->priv);
}

void ml_derp_client_open(struct ml_derp_client *c, ml_time now, const struct ml_derp_server *server)
{
    static const ml_derp_key no_key = {{0}};
    bool is_fast = memcmp(&server->meta_key, &no_key, sizeof no_key) != 0 && derive(c, &server->meta_key);
    /* The login of a fast start must fit into the head as well; host names that long do not exist. */
    struct ml_writer w = ml_writer_of(c->tx, ML_DERP_TX_HEAD - ML_DERP_CLIENT_INFO_LEN);
    ml_derp_write_request(&w, server->host, server->ideal_node, is_fast);
    if (w.bad) {
        w = ml_writer_of(c->tx, ML_DERP_TX_HEAD - ML_DERP_CLIENT_INFO_LEN);
        ml_derp_write_request(&w, server->host, NULL, is_fast);
    }
    c->tx_head = 0;
    c->tx_len = (uint32_t)w.len;
    c->is_home = server->is_home;
    c->login_by = now + ML_DERP_LOGIN_TIMEOUT;
    c->last_frame_at = now;
    c->state = STATE_UPGRADE;
    if (w.bad) {
        fail(c, ML_DERP_FAIL_NOT_HTTP);
    } else if (is_fast) {
        send_login(c);
    }
}

/* ---- Sending ---- */

/* Takes the tokens for `cost` bytes, unless there are too few. */
static bool take_tokens(struct ml_derp_client *c, ml_time now, size_t cost)
{
    if (c->rate == 0) {
        return true;
    }
    uint64_t full = (uint64_t)c->burst * TOKEN;
    ml_time elapsed = now > c->tokens_at ? now - c->tokens_at : 0;
    elapsed = elapsed < ML_SEC(3600) ? elapsed : ML_SEC(3600); /* times the largest rate this fits 64 bits */
    uint64_t gained = elapsed * c->rate;
    c->tokens = gained < full - c->tokens ? c->tokens + gained : full;
    c->tokens_at = now;
    if (c->tokens < (uint64_t)cost * TOKEN) {
        return false;
    }
    c->tokens -= (uint64_t)cost * TOKEN;
    return true;
}

static ml_drop stage(struct ml_derp_client *c, const ml_node_key *dst, const uint8_t *packet, size_t len)
{
    if (c->staged_count >= ML_DERP_STAGED) {
        return ML_DROP_DERP_QUEUE_FULL;
    }
    struct ml_writer w = ml_writer_of(c->tx + ML_DERP_TX_HEAD, c->tx_cap - ML_DERP_TX_HEAD);
    w.len = c->staged_len;
    ml_derp_write_send_packet(&w, dst, packet, len);
    if (w.bad) {
        return ML_DROP_DERP_QUEUE_FULL;
    }
    c->staged_len = (uint32_t)w.len;
    c->staged_count++;
    return ML_DROP_NONE;
}

ml_drop ml_derp_client_send(struct ml_derp_client *c, ml_time now, const ml_node_key *dst, const uint8_t *packet, size_t len)
{
    if (len > ML_DERP_PACKET_MAX) {
        return ML_DROP_TOO_LARGE;
    }
    if (c->state == STATE_FAILED) {
        return ML_DROP_NOT_READY;
    }
    if (c->state != STATE_READY) {
        return stage(c, dst, packet, len);
    }
    size_t cost = ML_DERP_HEADER_LEN + 32 + len;
    if (ring_free(c) < cost) {
        return ML_DROP_DERP_QUEUE_FULL;
    }
    if (!take_tokens(c, now, cost)) {
        return ML_DROP_DERP_RATE_LIMITED;
    }
    uint8_t head[ML_DERP_HEADER_LEN + 32];
    struct ml_writer w = ml_writer_of(head, sizeof head);
    ml_derp_write_header(&w, ML_DERP_SEND_PACKET, (uint32_t)(32 + len));
    ml_write_bytes(&w, dst->b, 32);
    ring_put(c, head, sizeof head);
    ring_put(c, packet, len);
    return ML_DROP_NONE;
}

void ml_derp_client_note_preferred(struct ml_derp_client *c, bool is_home)
{
    c->is_home = is_home;
    if (c->state == STATE_READY) {
        c->has_preferred = true; /* earlier than that, the login says it */
        flush_flags(c);
    }
}

void ml_derp_client_check(struct ml_derp_client *c, ml_time now)
{
    if (c->state != STATE_READY) {
        return;
    }
    ml_random_fill(c->self->rng, c->check, sizeof c->check);
    c->has_check = true;
    c->check_by = now + ML_DERP_CHECK_TIMEOUT;
    flush_flags(c);
}

/* ---- Receiving ---- */

static void greet(struct ml_derp_client *c, size_t kept)
{
    ml_derp_key key;
    if (c->frame_type != ML_DERP_SERVER_KEY || !ml_derp_parse_server_key(c->rx, kept, &key)) {
        fail(c, ML_DERP_FAIL_GREETING);
    } else if (!derive(c, &key)) {
        fail(c, ML_DERP_FAIL_SERVER_KEY);
    } else {
        send_login(c);
    }
}

static void login_done(struct ml_derp_client *c, ml_time now, size_t kept)
{
    struct ml_derp_server_info info;
    if (kept < c->frame_len || !ml_derp_open_server_info(c->rx, kept, c->shared, &info)) {
        fail(c, ML_DERP_FAIL_SERVER_INFO);
        return;
    }
    c->rate = info.bytes_per_sec;
    c->burst = info.bytes_burst;
    c->tokens = (uint64_t)c->burst * TOKEN;
    c->tokens_at = now;
    c->has_login = true;
    c->event = EVENT_FRAME;
}

/* A whole frame is there; the first `kept` bytes of its payload are in rx, the rest was skipped. */
static void take_frame(struct ml_derp_client *c, ml_time now)
{
    size_t kept = c->frame_len < sizeof c->rx ? c->frame_len : sizeof c->rx;
    c->header_got = 0;
    c->last_frame_at = now;
    if (c->state == STATE_GREETING) {
        greet(c, kept);
        return;
    }
    switch (c->frame_type) {
    case ML_DERP_SERVER_KEY: /* comes in a fast start too, where the certificate already told the key */
    case ML_DERP_KEEPALIVE:
        return;
    case ML_DERP_SERVER_INFO:
        login_done(c, now, kept);
        return;
    case ML_DERP_RECV_PACKET:
        c->event = kept < 32 || kept < c->frame_len ? EVENT_SKIPPED : EVENT_FRAME;
        return;
    case ML_DERP_PEER_GONE:
        c->event = kept < 32 ? EVENT_SKIPPED : EVENT_FRAME;
        return;
    case ML_DERP_HEALTH:
        c->event = EVENT_FRAME;
        return;
    case ML_DERP_RESTARTING:
        c->event = kept < 8 ? EVENT_SKIPPED : EVENT_FRAME;
        return;
    case ML_DERP_PING:
        if (kept >= 8) {
            memcpy(c->pong, c->rx, 8);
            c->has_pong = true; /* a second ping before there was room replaces the first: only the newest is waited for */
            flush_flags(c);
        }
        return;
    case ML_DERP_PONG:
        if (kept >= 8 && c->check_by != 0 && memcmp(c->check, c->rx, 8) == 0) {
            c->check_by = 0;
        }
        return;
    default:
        c->event = EVENT_SKIPPED;
        return;
    }
}

/* Takes bytes of the frame in progress; returns how many. */
static size_t take_frame_bytes(struct ml_derp_client *c, ml_time now, const uint8_t *buf, size_t len)
{
    size_t pos = 0;
    if (c->header_got < ML_DERP_HEADER_LEN) {
        size_t n = (size_t)(ML_DERP_HEADER_LEN - c->header_got);
        n = n < len ? n : len;
        memcpy(c->header + c->header_got, buf, n);
        c->header_got = (uint8_t)(c->header_got + n);
        pos = n;
        if (c->header_got < ML_DERP_HEADER_LEN) {
            return pos;
        }
        c->frame_type = c->header[0];
        c->frame_len = ml_get_be32(c->header + 1);
        c->frame_got = 0;
        if (c->frame_len > ML_DERP_FRAME_MAX) {
            fail(c, ML_DERP_FAIL_FRAME_SIZE);
            return pos;
        }
    }
    size_t n = c->frame_len - c->frame_got;
    n = n < len - pos ? n : len - pos;
    if (c->frame_got < sizeof c->rx) {
        size_t room = sizeof c->rx - c->frame_got;
        memcpy(c->rx + c->frame_got, buf + pos, n < room ? n : room);
    }
    c->frame_got += (uint32_t)n;
    if (c->frame_got == c->frame_len) {
        take_frame(c, now);
    }
    return pos + n;
}

void ml_derp_client_data(struct ml_derp_client *c, ml_time now, const uint8_t *buf, size_t len, size_t *used)
{
    size_t pos = 0;
    while (pos < len && c->event == EVENT_NONE && c->state != STATE_IDLE && c->state != STATE_FAILED) {
        if (c->state == STATE_UPGRADE) {
            size_t n;
            enum ml_derp_upgrade_result r = ml_derp_upgrade_feed(&c->upgrade, buf + pos, len - pos, &n);
            pos += n;
            if (r == ML_DERP_UPGRADE_DONE) {
                c->state = STATE_GREETING;
            } else if (r != ML_DERP_UPGRADE_MORE) {
                fail(c, r == ML_DERP_UPGRADE_REFUSED ? ML_DERP_FAIL_STATUS : ML_DERP_FAIL_NOT_HTTP);
            }
        } else {
            pos += take_frame_bytes(c, now, buf + pos, len - pos);
        }
    }
    *used = pos;
}

static ml_drop skip_reason(const struct ml_derp_client *c)
{
    switch (c->frame_type) {
    case ML_DERP_RECV_PACKET:
        return c->frame_len < 32 ? ML_DROP_MALFORMED : ML_DROP_TOO_LARGE;
    case ML_DERP_PEER_GONE:
    case ML_DERP_RESTARTING:
        return ML_DROP_MALFORMED;
    default:
        return ML_DROP_DERP_UNKNOWN_FRAME;
    }
}

static void frame_event(struct ml_derp_client *c, struct ml_derp_event *ev)
{
    size_t kept = c->frame_len < sizeof c->rx ? c->frame_len : sizeof c->rx;
    switch (c->frame_type) {
    case ML_DERP_SERVER_INFO:
        ev->type = ML_DERP_EV_LOGIN;
        break;
    case ML_DERP_RECV_PACKET:
        ev->type = ML_DERP_EV_PACKET;
        memcpy(ev->key.b, c->rx, 32);
        ev->data = c->rx + 32;
        ev->len = kept - 32;
        break;
    case ML_DERP_PEER_GONE:
        ev->type = ML_DERP_EV_PEER_GONE;
        memcpy(ev->key.b, c->rx, 32);
        ev->reason = kept > 32 ? c->rx[32] : ML_DERP_GONE_DISCONNECTED;
        break;
    case ML_DERP_HEALTH:
        ev->type = ML_DERP_EV_HEALTH;
        ev->data = c->rx;
        ev->len = kept;
        break;
    default:
        ev->type = ML_DERP_EV_RESTARTING;
        ev->reconnect_in = ML_MSEC(ml_get_be32(c->rx));
        ev->try_for = ML_MSEC(ml_get_be32(c->rx + 4));
        break;
    }
}

bool ml_derp_client_poll_event(struct ml_derp_client *c, struct ml_derp_event *ev)
{
    uint8_t kind = c->event;
    ml_zero(ev);
    c->event = EVENT_NONE;
    if (kind == EVENT_FRAME) {
        frame_event(c, ev);
    } else if (kind == EVENT_SKIPPED) {
        ev->type = ML_DERP_EV_DROP;
        ev->drop = skip_reason(c);
    } else if (kind == EVENT_FAILED) {
        ev->type = ML_DERP_EV_FAILED;
        ev->fail = (enum ml_derp_fail)c->fail;
        ev->http_status = c->upgrade.status;
    }
    return kind != EVENT_NONE;
}

/* ---- Time ---- */

static bool is_live(const struct ml_derp_client *c)
{
    return c->state != STATE_IDLE && c->state != STATE_FAILED;
}

void ml_derp_client_time(struct ml_derp_client *c, ml_time now)
{
    if (!is_live(c)) {
        return;
    }
    if (!c->has_login && now >= c->login_by) {
        fail(c, ML_DERP_FAIL_LOGIN_TIMEOUT);
    } else if (now >= c->last_frame_at + ML_DERP_READ_TIMEOUT) {
        fail(c, ML_DERP_FAIL_READ_TIMEOUT);
    } else if (c->check_by != 0 && now >= c->check_by) {
        fail(c, ML_DERP_FAIL_CHECK_TIMEOUT);
    }
}

ml_time ml_derp_client_deadline(const struct ml_derp_client *c)
{
    if (!is_live(c)) {
        return ML_NEVER;
    }
    ml_time at = c->last_frame_at + ML_DERP_READ_TIMEOUT;
    if (!c->has_login && c->login_by < at) {
        at = c->login_by;
    }
    if (c->check_by != 0 && c->check_by < at) {
        at = c->check_by;
    }
    return at;
}
