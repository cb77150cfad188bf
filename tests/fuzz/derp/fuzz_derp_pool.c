/*
 * Fuzz target: a pool of relay connections driven by a list of one-byte events, with hostile bytes on every stream. Checks
 * that a stream never gets stuck and that a slot never has two streams.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "derp/derp_pool.h"

#define SLOTS 3

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    uint8_t *n = ctx;
    for (size_t i = 0; i < len; i++) {
        buf[i] = (*n)++;
    }
}

struct world {
    struct ml_derp_pool p;
    struct ml_derp_slot slots[SLOTS];
    struct ml_derp_route routes[2];
    uint8_t tx[SLOTS][ML_DERP_TX_MIN];
    bool is_up[SLOTS], is_open[SLOTS];
};

static void drain(struct world *w, ml_time now)
{
    struct ml_derp_event ev;
    unsigned slot;
    uint16_t region;
    while (ml_derp_pool_poll_event(&w->p, now, &slot, &region, &ev)) {
        if (slot >= SLOTS || region == 0) {
            abort();
        }
        if (ev.type == ML_DERP_EV_PACKET) {
            ml_derp_pool_learn(&w->p, &ev.key, slot);
            memset(ev.data, 0, ev.len);
        }
    }
    while (ml_derp_pool_poll_close(&w->p, &slot)) {
        if (!w->is_open[slot]) {
            abort();
        }
        w->is_open[slot] = w->is_up[slot] = false;
    }
    while (ml_derp_pool_poll_open(&w->p, now, &slot, &region)) {
        if (w->is_open[slot]) {
            abort(); /* the former stream of the slot is still there */
        }
        w->is_open[slot] = true;
    }
}

static void data_in(struct world *w, ml_time now, unsigned slot, const uint8_t *p, size_t len)
{
    size_t used;
    for (size_t pos = 0; pos < len && w->is_up[slot]; pos += used) {
        ml_derp_pool_data(&w->p, now, slot, p + pos, len - pos, &used);
        drain(w, now);
        if (used == 0 && w->is_up[slot]) {
            abort();
        }
    }
}

static void login(struct world *w, ml_time now, unsigned slot, const ml_derp_key *server)
{
    static const char response[] = "HTTP/1.1 101 x\r\n\r\n";
    uint8_t frame[45] = {1, 0, 0, 0, 40, 0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};
    memcpy(frame + 13, server->b, 32);
    data_in(w, now, slot, (const uint8_t *)response, sizeof response - 1);
    data_in(w, now, slot, frame, sizeof frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world w;
    uint8_t rng_state = 1;
    ml_random rng = {fill, &rng_state};
    ml_private_key priv = {{8, [31] = 64}};
    ml_node_key pub = {{9}};
    ml_derp_key server;
    if (!ml_crypto_init()) {
        return 0;
    }
    memset(&w, 0, sizeof w);
    ml_x25519_base(server.b, &priv);
    struct ml_derp_pool_cfg cfg = {.self = {&priv, &pub, &rng, NULL},
                                   .slots = w.slots,
                                   .slot_count = SLOTS,
                                   .tx = w.tx[0],
                                   .tx_cap_each = ML_DERP_TX_MIN,
                                   .routes = w.routes,
                                   .route_count = 2};
    ml_derp_pool_init(&w.p, &cfg);
    ml_time now = 0;
    for (size_t pos = 0; pos + 2 <= len;) {
        uint8_t op = data[pos];
        uint8_t arg = data[pos + 1];
        unsigned slot = arg % SLOTS;
        uint16_t region = arg % 6;
        ml_node_key dst = {{(uint8_t)(arg >> 4)}};
        const uint8_t *buf;
        size_t n;
        pos += 2;
        switch (op % 10) {
        case 0:
            ml_derp_pool_set_home(&w.p, now, region);
            break;
        case 1:
            ml_derp_pool_send(&w.p, now, &dst, region, data, len < 1300 ? len : 1300);
            break;
        case 2:
            ml_derp_pool_send_on(&w.p, now, region, &dst, data, len < 20 ? len : 20);
            break;
        case 3:
            if (w.is_open[slot] && !w.is_up[slot]) {
                struct ml_derp_server s = {.host = "h", .meta_key = arg & 64 ? server : (ml_derp_key){{0}}};
                w.is_up[slot] = true;
                ml_derp_pool_opened(&w.p, now, slot, &s);
                if (arg & 128) {
                    login(&w, now, slot, &server);
                }
            }
            break;
        case 4:
            if (w.is_open[slot]) {
                w.is_open[slot] = w.is_up[slot] = false;
                ml_derp_pool_closed(&w.p, now, slot);
            }
            break;
        case 5:
            n = arg < len - pos ? arg : len - pos;
            data_in(&w, now, slot, data + pos, n);
            pos += n;
            break;
        case 6:
            n = ml_derp_pool_tx_peek(&w.p, slot, &buf);
            ml_derp_pool_tx_done(&w.p, slot, n < arg ? n : arg);
            break;
        case 7:
            now += (ml_time)arg * arg * ML_MSEC(5);
            ml_derp_pool_time(&w.p, now);
            break;
        case 8:
            ml_derp_pool_check(&w.p, now);
            break;
        default:
            if (arg & 1) {
                ml_derp_pool_close_region(&w.p, now, region);
            } else {
                ml_derp_pool_reset(&w.p, now);
            }
            break;
        }
        drain(&w, now);
    }
    return 0;
}
