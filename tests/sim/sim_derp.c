/*
 * Relays: the server's side of the DERP protocol, on streams of the simulator instead of TLS. dataplane.md 7.1 to 7.3.
 *
 * Real bytes both ways: the HTTP upgrade (or fast start), ServerKey, the login box, ServerInfo, SendPacket and RecvPacket,
 * NotePreferred, pings, keepalives every 60 to 65 s, PeerGone for nodes that are not here and to everybody a node has sent
 * to when it leaves. A newer connection of the same key replaces the older one. Streams behave as TCP: order is kept, loss is
 * delay, and when the path under one is cut neither end is told.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include "base/addr.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* TCP repeats after 200 ms and then more slowly, but segments that arrive behind a hole report it. */
#define RETRANSMIT     ML_MSEC(200)
#define RETRANSMIT_MAX ML_MSEC(400)
#define DIAL_TIMEOUT   ML_SEC(10)
#define CHUNK          1400

static const char upgrade[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\nDerp-Version: 2\r\n\r\n";
static const char server_info[] = "{\"version\":2}";

static void world_random(void *ctx, uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)sim_rand(ctx);
    }
}

void sim_derp_init(struct sim *w)
{
    const ml_random rng = {.fill = world_random, .ctx = w};
    for (unsigned r = 1; r <= SIM_REGIONS; r++) {
        w->relays[r].ip = ml_ip4(198, 51, 100, (uint8_t)r);
        w->relays[r].link = (struct sim_link){.latency = ML_MSEC(5 + 10 * (r - 1) + sim_below(w, 10)), .jitter = ML_MSEC(1)};
        ml_x25519_keygen(&w->relays[r].priv, &rng);
        ml_x25519_base(w->relays[r].pub.b, &w->relays[r].priv);
    }
}

static struct sim_stream *find(struct sim *w, uint32_t at, uint32_t serial)
{
    struct sim_stream *s = &w->streams[at];
    return s->serial == serial && serial ? s : NULL;
}

static uint32_t index_of(const struct sim *w, const struct sim_stream *s)
{
    return (uint32_t)(s - w->streams);
}

static struct sim_event *event_for(struct sim *w, const struct sim_stream *s, ml_time at, enum sim_event_type type)
{
    struct sim_event *ev = sim_push(w, at, type);
    ev->node = s->node;
    ev->stream = index_of(w, s);
    ev->serial = s->serial;
    ev->id = s->id;
    return ev;
}

/* One way over both links. A lost segment comes later, and later each time. */
static ml_time tcp_delay(struct sim *w, const struct sim_stream *s)
{
    ml_time delay = 0, wait = RETRANSMIT;
    for (;;) {
        ml_time d = 0;
        bool ok = sim_link_cross(w, &w->n[s->node].link, &d);
        ok = sim_link_cross(w, &w->relays[s->region].link, &d) && ok;
        if (ok) {
            return delay + d;
        }
        delay += wait;
        wait = 2 * wait < RETRANSMIT_MAX ? 2 * wait : RETRANSMIT_MAX;
    }
}

static void send_bytes(struct sim *w, struct sim_stream *s, enum sim_event_type way, const uint8_t *data, size_t len)
{
    ml_time *last = way == SIM_EV_UP ? &s->up_at : &s->down_at;
    w->n[s->node].bytes += len + 40;
    for (size_t off = 0; off < len;) {
        size_t n = len - off < CHUNK ? len - off : CHUNK;
        ml_time at = w->now + tcp_delay(w, s);
        *last = at > *last ? at : *last;
        struct sim_event *ev = event_for(w, s, *last, way);
        ev->data = malloc(n);
        if (!ev->data) {
            abort();
        }
        memcpy(ev->data, data + off, n);
        ev->len = n;
        off += n;
    }
}

static void release(struct sim_stream *s)
{
    free(s->held);
    memset(s, 0, sizeof *s);
}

/* ---- The node's side ---- */

void sim_derp_open(struct sim *w, unsigned node, const ml_stream_open *o)
{
    unsigned region = 0, at = 0;
    for (unsigned r = 1; r <= SIM_REGIONS; r++) {
        region = ml_ip_equal(&o->ip4, &w->relays[r].ip) ? r : region;
    }
    while (at < SIM_STREAMS && w->streams[at].serial) {
        at++;
    }
    if (region == 0 || at == SIM_STREAMS) {
        sim_fail(w, "node %u opens a stream to nowhere", node);
        return;
    }
    struct sim_stream *s = &w->streams[at];
    *s = (struct sim_stream){.id = o->id, .serial = ++w->next_serial, .node = node, .region = region};
    /* TCP and TLS handshakes: three round trips. */
    ml_time delay = 0;
    for (int k = 0; k < 6; k++) {
        delay += tcp_delay(w, s);
    }
    if (w->now < w->relays[region].down_until) {
        event_for(w, s, w->now + delay / 3, SIM_EV_CLOSED)->why = ML_CLOSE_REFUSED;
    } else {
        event_for(w, s, w->now + delay, SIM_EV_OPENED);
    }
}

static struct sim_stream *find_id(struct sim *w, unsigned node, ml_stream_id id)
{
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        struct sim_stream *s = &w->streams[k];
        if (s->serial && s->node == node && s->id == id) {
            return s;
        }
    }
    return NULL;
}

static void send_frame(struct sim *w, struct sim_stream *s, enum ml_derp_frame_type type, const void *a, size_t a_len,
                       const void *b, size_t b_len)
{
    uint8_t buf[4096];
    struct ml_writer wr = ml_writer_of(buf, sizeof buf);
    ml_derp_write_header(&wr, type, (uint32_t)(a_len + b_len));
    ml_write_bytes(&wr, a, a_len);
    ml_write_bytes(&wr, b, b_len);
    if (wr.bad) {
        abort();
    }
    send_bytes(w, s, SIM_EV_DOWN, buf, wr.len);
}

static struct sim_stream *find_key(struct sim *w, unsigned region, const uint8_t key[32])
{
    struct sim_stream *best = NULL;
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        struct sim_stream *s = &w->streams[k];
        if (s->serial && s->is_logged_in && s->region == region && memcmp(s->key.b, key, 32) == 0 &&
            (!best || s->serial > best->serial)) {
            best = s;
        }
    }
    return best;
}

/* The relay learns that a connection is over. */
static void server_closed(struct sim *w, struct sim_stream *s)
{
    static const uint8_t disconnected = ML_DERP_GONE_DISCONNECTED;
    bool was_known = s->is_logged_in;
    ml_node_key key = s->key;
    unsigned region = s->region;
    uint64_t talked[SIM_STREAMS / 64];
    memcpy(talked, s->talked, sizeof talked);
    uint32_t own = index_of(w, s);
    release(s);
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        struct sim_stream *o = &w->streams[k];
        o->talked[own / 64] &= ~(UINT64_C(1) << own % 64);
        if (was_known && o->serial && o->is_logged_in && o->region == region && (talked[k / 64] >> k % 64 & 1) &&
            !find_key(w, region, key.b)) {
            send_frame(w, o, ML_DERP_PEER_GONE, key.b, 32, &disconnected, 1);
        }
    }
}

void sim_derp_close(struct sim *w, unsigned node, ml_stream_id id)
{
    struct sim_stream *s = find_id(w, node, id);
    if (s && s->is_dead && s->is_logged_in) {
        s->id = 0; /* the relay goes on believing in it for a while */
    } else if (s) {
        server_closed(w, s);
    }
}

void sim_derp_tx(struct sim *w, unsigned node)
{
    struct sim_node *n = &w->n[node];
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        struct sim_stream *s = &w->streams[k];
        const uint8_t *buf = NULL;
        size_t len = 0;
        while (s->serial && s->node == node && s->is_open && s->id && (len = ml_stream_tx_peek(n->ml, s->id, &buf)) > 0) {
            if (!s->is_dead) {
                send_bytes(w, s, SIM_EV_UP, buf, len);
            }
            ml_stream_tx_done(n->ml, w->now, s->id, len);
        }
    }
}

/* Gives the engine what it had no room for. True when it took something: then it has to be drained again. */
bool sim_derp_offer_held(struct sim *w, unsigned node)
{
    bool any = false;
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        struct sim_stream *s = &w->streams[k];
        if (!s->serial || s->node != node || !s->held_len || !s->is_open) {
            continue;
        }
        size_t used = 0;
        ml_handle_stream_data(w->n[node].ml, w->now, s->id, s->held, s->held_len, &used);
        memmove(s->held, s->held + used, s->held_len - used);
        s->held_len -= used;
        any |= used > 0;
    }
    return any;
}

static void down(struct sim *w, struct sim_stream *s, const struct sim_event *ev)
{
    if (!s->is_open || !s->id || s->is_dead || w->n[s->node].is_suspended) {
        return;
    }
    uint8_t *grown = realloc(s->held, s->held_len + ev->len);
    if (!grown) {
        abort();
    }
    s->held = grown;
    memcpy(s->held + s->held_len, ev->data, ev->len);
    s->held_len += ev->len;
    (void)sim_derp_offer_held(w, s->node);
    sim_drain(w, ev->node);
}

void sim_derp_cut(struct sim *w, unsigned node)
{
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        if (w->streams[k].serial && w->streams[k].node == node) {
            w->streams[k].is_dead = true;
        }
    }
}

void sim_derp_forget_node(struct sim *w, unsigned node)
{
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        if (w->streams[k].serial && w->streams[k].node == node) {
            server_closed(w, &w->streams[k]);
        }
    }
}

void sim_derp_restart(struct sim *w, unsigned region, ml_time down_for)
{
    w->relays[region].down_until = w->now + down_for;
    for (unsigned k = 0; k < SIM_STREAMS; k++) {
        struct sim_stream *s = &w->streams[k];
        if (!s->serial || s->region != region) {
            continue;
        }
        s->is_logged_in = false;
        s->is_unknown = true;
        if (!s->id) {
            release(s);
        } else if (!s->is_dead) {
            event_for(w, s, w->now + tcp_delay(w, s), SIM_EV_CLOSED)->why = ML_CLOSE_RESET;
        }
    }
}

/* ---- The relay's side ---- */

static void login(struct sim *w, struct sim_stream *s, uint8_t *p, size_t len)
{
    struct sim_relay *r = &w->relays[s->region];
    const ml_random rng = {.fill = world_random, .ctx = w};
    uint8_t boxed[ML_BOX_NONCE + ML_BOX_TAG + sizeof server_info - 1];
    if (len < 32 + ML_BOX_NONCE + ML_BOX_TAG || !ml_box_beforenm(s->shared, p, &r->priv)) {
        sim_fail(w, "node %u sends a login that is none", s->node);
        return;
    }
    uint8_t *box = p + 32 + ML_BOX_NONCE;
    if (!ml_box_open(box, s->shared, p + 32, box, len - 32 - ML_BOX_NONCE)) {
        sim_fail(w, "node %u sends a login that does not open", s->node);
        return;
    }
    static const char wanted[] = "{\"version\":2";
    SIM_CHECK(w, memcmp(box, wanted, sizeof wanted - 1) == 0, "node %u logs in with another version", s->node);
    memcpy(s->key.b, p, 32);
    s->is_logged_in = true;
    r->logins++;
    rng.fill(rng.ctx, boxed, ML_BOX_NONCE);
    ml_box_seal(boxed + ML_BOX_NONCE, s->shared, boxed, (const uint8_t *)server_info, sizeof server_info - 1);
    send_frame(w, s, ML_DERP_SERVER_INFO, boxed, sizeof boxed, NULL, 0);
    event_for(w, s, w->now + ML_SEC(60) + sim_below(w, 5000000), SIM_EV_KEEPALIVE);
}

static void forward(struct sim *w, struct sim_stream *s, const uint8_t *p, size_t len)
{
    static const uint8_t not_here = ML_DERP_GONE_NOT_HERE;
    if (len < 32) {
        sim_fail(w, "node %u sends a packet without a destination", s->node);
        return;
    }
    w->relays[s->region].packets++;
    struct sim_stream *to = find_key(w, s->region, p);
    if (!to) {
        send_frame(w, s, ML_DERP_PEER_GONE, p, 32, &not_here, 1);
        return;
    }
    uint32_t at = index_of(w, to);
    s->talked[at / 64] |= UINT64_C(1) << at % 64;
    if (!to->is_dead) {
        send_frame(w, to, ML_DERP_RECV_PACKET, s->key.b, 32, p + 32, len - 32);
    }
}

static void frame(struct sim *w, struct sim_stream *s, unsigned type, uint8_t *p, size_t len)
{
    if (!s->is_logged_in) {
        if (type == ML_DERP_CLIENT_INFO) {
            login(w, s, p, len);
        } else {
            sim_fail(w, "node %u sends frame 0x%02x before its login", s->node, type);
        }
        return;
    }
    switch (type) {
    case ML_DERP_SEND_PACKET:
        forward(w, s, p, len);
        break;
    case ML_DERP_PING:
        send_frame(w, s, ML_DERP_PONG, p, len < 8 ? len : 8, NULL, 0);
        break;
    case ML_DERP_NOTE_PREFERRED:
    case ML_DERP_PONG:
        break;
    default:
        sim_fail(w, "node %u sends frame 0x%02x", s->node, type);
        break;
    }
}

/* The request is whole: answer it, unless the client asked to go on at once, and greet. */
static size_t take_request(struct sim *w, struct sim_stream *s)
{
    static const uint8_t magic[8] = {0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};
    for (size_t i = 0; i + 4 <= s->rx_len; i++) {
        if (memcmp(s->rx + i, "\r\n\r\n", 4) == 0) {
            char head[1024] = {0};
            memcpy(head, s->rx, i < sizeof head - 1 ? i : sizeof head - 1);
            SIM_CHECK(w, strncmp(head, "GET /derp HTTP/1.1\r\n", 20) == 0, "node %u asks a relay for something else", s->node);
            s->has_request = true;
            if (!strstr(head, "Derp-Fast-Start: 1")) {
                send_bytes(w, s, SIM_EV_DOWN, (const uint8_t *)upgrade, sizeof upgrade - 1);
            }
            send_frame(w, s, ML_DERP_SERVER_KEY, magic, sizeof magic, w->relays[s->region].pub.b, 32);
            return i + 4;
        }
    }
    return 0;
}

static size_t take(struct sim *w, struct sim_stream *s)
{
    if (!s->has_request) {
        return take_request(w, s);
    }
    if (s->rx_len < ML_DERP_HEADER_LEN) {
        return 0;
    }
    size_t len = ml_get_be32(s->rx + 1);
    if (len > sizeof s->rx - ML_DERP_HEADER_LEN) {
        sim_fail(w, "node %u sends a frame of %zu bytes", s->node, len);
        return s->rx_len;
    }
    if (s->rx_len < ML_DERP_HEADER_LEN + len) {
        return 0;
    }
    frame(w, s, s->rx[0], s->rx + ML_DERP_HEADER_LEN, len);
    return ML_DERP_HEADER_LEN + len;
}

static void up(struct sim *w, struct sim_stream *s, const struct sim_event *ev)
{
    size_t n = 0;
    if (s->is_dead || s->is_unknown || w->now < w->relays[s->region].down_until) {
        return;
    }
    if (ev->len > sizeof s->rx - s->rx_len) {
        sim_fail(w, "node %u overruns a relay's buffer", s->node);
        return;
    }
    memcpy(s->rx + s->rx_len, ev->data, ev->len);
    s->rx_len += ev->len;
    while (s->rx_len && (n = take(w, s)) > 0) {
        memmove(s->rx, s->rx + n, s->rx_len - n);
        s->rx_len -= n;
    }
}

/* A connection comes up or ends. A node that sleeps, or whose network is gone, learns by its own time-out. */
static void stream_event(struct sim *w, struct sim_stream *s, const struct sim_event *ev)
{
    struct sim_node *n = &w->n[s->node];
    ml_stream_id id = s->id;
    if (n->is_suspended || (s->is_dead && ev->type == SIM_EV_OPENED)) {
        event_for(w, s, w->now + DIAL_TIMEOUT, SIM_EV_CLOSED)->why = ML_CLOSE_TIMEOUT;
        return;
    }
    if (ev->type == SIM_EV_CLOSED) {
        server_closed(w, s);
        if (id) {
            ml_handle_stream_closed(n->ml, w->now, id, ev->why, NULL);
            sim_drain(w, ev->node);
        }
        return;
    }
    if (w->now < w->relays[s->region].down_until) {
        event_for(w, s, w->now, SIM_EV_CLOSED)->why = ML_CLOSE_RESET;
        return;
    }
    ml_stream_info info = {.local = n->local4, .remote = {.ip = w->relays[s->region].ip, .port = 443}};
    /* Half of the relays show their key in the certificate. */
    if (s->region % 2 == 1) {
        info.derp_meta_key = w->relays[s->region].pub;
    }
    s->is_open = true;
    ml_handle_stream_opened(n->ml, w->now, id, &info);
    sim_drain(w, ev->node);
}

void sim_derp_event(struct sim *w, const struct sim_event *ev)
{
    struct sim_stream *s = find(w, ev->stream, ev->serial);
    if (!s) {
        return;
    }
    switch (ev->type) {
    case SIM_EV_UP:
        up(w, s, ev);
        break;
    case SIM_EV_DOWN:
        down(w, s, ev);
        break;
    case SIM_EV_OPENED:
    case SIM_EV_CLOSED:
        stream_event(w, s, ev);
        break;
    case SIM_EV_KEEPALIVE:
        if (s->is_dead) { /* by now the relay knows, too */
            s->is_logged_in = false;
            if (!s->id) {
                server_closed(w, s);
            }
            break;
        }
        send_frame(w, s, ML_DERP_KEEPALIVE, NULL, 0, NULL, 0);
        event_for(w, s, w->now + ML_SEC(60) + sim_below(w, 5000000), SIM_EV_KEEPALIVE);
        break;
    default:
        break;
    }
}
