/*
 * Two devices with fixed keys and an established session; the input is a list of events: time, sends, losses, duplicates,
 * truncations, bit flips, foreign packets and owner's calls. What one device opens, the other must have sealed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SLOT 0
#define KEEP 4

struct side {
    struct ml_wg wg;
    struct ml_wg_peer peers[2];
    struct ml_wg_stage stage[2];
    struct ml_wg_flight flights[2];
    struct ml_wg_spare spares[1];
    uint32_t seed;
    ml_random rng;
    ml_private_key priv;
    ml_node_key pub;
    struct ml_wg_source addr;
    uint8_t box[KEEP][2048]; /* the last packets that it sent */
    size_t box_len[KEEP];
    unsigned sent;
};

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    uint32_t *seed = ctx;
    for (size_t i = 0; i < len; i++) {
        *seed = *seed * 1664525 + 1013904223;
        buf[i] = (uint8_t)(*seed >> 24);
    }
}

static void side_init(struct side *s, ml_time now, uint32_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->rng = (ml_random){.fill = fill, .ctx = &s->seed};
    struct ml_wg_cfg cfg = {.random = &s->rng,
                            .peers = s->peers,
                            .peer_count = 2,
                            .stage = s->stage,
                            .stage_count = 2,
                            .flights = s->flights,
                            .flight_count = 2,
                            .spares = s->spares,
                            .spare_count = 1};
    uint8_t mark[12];
    if (ml_wg_init(&s->wg, now, &cfg) != ML_OK) {
        abort();
    }
    ml_x25519_keygen(&s->priv, &s->rng);
    ml_x25519_base(s->pub.b, &s->priv);
    ml_wg_set_key(&s->wg, &s->priv);
    if (ml_wg_poll_clock(&s->wg, now, mark)) {
        ml_wg_clock_stored(&s->wg, true);
    }
    s->addr.addr.port = (uint16_t)seed;
}

static void keep(struct side *s, const uint8_t *p, size_t n)
{
    memcpy(s->box[s->sent % KEEP], p, n);
    s->box_len[s->sent % KEEP] = n;
    s->sent++;
}

static void drain(struct side *s, ml_time now)
{
    uint8_t buf[2048];
    uint16_t slot;
    size_t n;

    if (ml_wg_poll_clock(&s->wg, now, buf)) {
        ml_wg_clock_stored(&s->wg, true);
    }
    while (ml_wg_poll_event(&s->wg, &slot) != ML_WG_EV_NONE) {
    }
    for (int i = 0; ml_wg_poll_send(&s->wg, now, buf, sizeof buf, &slot, &n); i++) {
        if (i > 8) {
            abort(); /* it must run dry */
        }
        keep(s, buf, n);
    }
}

static void deliver(struct side *to, ml_time now, const struct side *from, const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n + 1); /* exact bounds for the sanitizer */
    struct ml_wg_in in;

    if (!copy) {
        return;
    }
    memcpy(copy, p, n);
    ml_wg_on_packet(&to->wg, now, &from->addr, copy, n, &in);
    if (in.type == ML_WG_IN_DATA) {
        /* All plaintexts are IPv4 with one byte repeated: anything else was never sealed. */
        for (size_t i = 4; i < in.len; i++) {
            if (in.data[i] != in.data[4]) {
                abort();
            }
        }
    } else if (in.type == ML_WG_IN_INITIATION) {
        if (ml_wg_peer_is_open(&to->wg, SLOT) && ml_wg_accept(&to->wg, now, SLOT, &in) == ML_DROP_NONE) {
            keep(to, in.data, in.len);
        }
    } else if (in.type == ML_WG_IN_REPLY) {
        keep(to, in.data, in.len);
    }
    free(copy);
}

static void establish(struct side *a, struct side *b, ml_time now)
{
    ml_wg_peer_connect(&a->wg, now, SLOT);
    drain(a, now);
    deliver(b, now, a, a->box[0], a->box_len[0]);
    deliver(a, now, b, b->box[0], b->box_len[0]);
    drain(a, now);
    deliver(b, now, a, a->box[1], a->box_len[1]);
    if (!ml_wg_peer_has_session(&a->wg, now, SLOT) || !ml_wg_peer_has_session(&b->wg, now, SLOT)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct side sides[2], start[2]; /* the handshake is costly: done once, restored for each input */
    static bool has_start;
    ml_time now = ML_SEC(100);

    if (!ml_crypto_init() || len > 2000) {
        return 0;
    }
    if (!has_start) {
        side_init(&sides[0], now, 1);
        side_init(&sides[1], now, 2);
        (void)ml_wg_peer_open(&sides[0].wg, SLOT, &sides[1].pub);
        (void)ml_wg_peer_open(&sides[1].wg, SLOT, &sides[0].pub);
        establish(&sides[0], &sides[1], now);
        memcpy(start, sides, sizeof start);
        has_start = true;
    }
    memcpy(sides, start, sizeof sides);

    struct ml_reader r = ml_reader_of(data, len);
    for (int steps = 0; ml_reader_left(&r) > 0 && steps < 200; steps++) {
        uint8_t op = ml_read_u8(&r), arg = ml_read_u8(&r);
        struct side *s = &sides[op & 1], *o = &sides[(op & 1) ^ 1];
        const uint8_t *p = o->box[arg % KEEP];
        size_t n = o->box_len[arg % KEEP];
        uint8_t buf[2048];

        switch ((op >> 1) % 10) {
        case 0: /* a packet of the other side, perhaps again */
        case 1:
            deliver(s, now, o, p, n);
            break;
        case 2: { /* one of its packets, changed */
            uint16_t at = ml_read_be16(&r);
            memcpy(buf, p, n);
            if (n > 0) {
                buf[at % n] ^= (uint8_t)(1u << (at >> 13));
            }
            deliver(s, now, o, buf, n);
            break;
        }
        case 3:
            deliver(s, now, o, p, n < arg ? n : arg);
            break;
        case 4: { /* foreign bytes */
            size_t room = ml_reader_left(&r) < arg ? ml_reader_left(&r) : arg;
            const uint8_t *raw = ml_read_bytes(&r, room);
            if (raw) {
                deliver(s, now, o, raw, room);
            }
            break;
        }
        case 5:
        case 6: {
            size_t want = 20 + (size_t)arg * 5, out;
            uint8_t pkt[1300];
            memset(pkt, arg, sizeof pkt);
            pkt[0] = 0x45;
            ml_put_be16(pkt + 2, (uint16_t)want);
            if (ml_wg_seal(&s->wg, now, SLOT, pkt, want, buf, sizeof buf, &out) == ML_WG_SEALED) {
                keep(s, buf, out);
            }
            break;
        }
        case 7:
            now += ML_MSEC(10) << (arg % 16);
            break;
        case 8:
            if (arg % 8 == 0) {
                ml_wg_peer_close(&s->wg, SLOT);
            } else if (arg % 8 == 1) {
                (void)ml_wg_peer_open(&s->wg, SLOT, &o->pub);
            } else if (arg % 8 == 2) {
                ml_wg_peer_expire(&s->wg, SLOT);
            } else {
                ml_wg_peer_connect(&s->wg, now, SLOT);
            }
            break;
        default:
            s->wg.checker.load_per_sec = arg;
            break;
        }
        for (int i = 0; i < 2; i++) {
            ml_wg_on_time(&sides[i].wg, now);
            drain(&sides[i], now);
        }
        if (ml_wg_deadline(&s->wg) <= now) {
            abort(); /* a loop that waits for the deadline would spin */
        }
    }
    ml_wg_clear(&sides[0].wg);
    ml_wg_clear(&sides[1].wg);
    return 0;
}
