/*
 * Speed of src/wg alone: two devices in one process, one thread, no sockets. Printed as "name value unit" lines.
 *
 * handshake  initiation and response written and read, both keypairs installed, all MACs, timers and the index look-up
 * data N     an IP packet of N bytes sealed by one device and opened by the other, replay window included
 *
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L
#include "wg/wg.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define SECONDS 2.0

struct side {
    struct ml_wg wg;
    struct ml_wg_peer peer;
    struct ml_wg_flight flight;
    struct ml_wg_spare spare;
    ml_private_key priv;
    ml_node_key pub;
};

static struct side a, b;
static ml_time now;
static const struct ml_wg_source from = {.addr = {.port = 1}};

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    if (getrandom(buf, len, 0) != (ssize_t)len) {
        abort();
    }
}

static void side_init(struct side *s)
{
    static const ml_random rng = {.fill = fill};
    struct ml_wg_cfg cfg = {.random = &rng,
                            .peers = &s->peer,
                            .peer_count = 1,
                            .flights = &s->flight,
                            .flight_count = 1,
                            .spares = &s->spare,
                            .spare_count = 1,
                            .load_per_sec = UINT32_MAX};
    ml_x25519_keygen(&s->priv, &rng);
    ml_x25519_base(s->pub.b, &s->priv);
    if (ml_wg_init(&s->wg, now, &cfg) != ML_OK) {
        abort();
    }
    ml_wg_set_key(&s->wg, &s->priv);
}

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void handshake(void)
{
    uint8_t buf[2048], mark[ML_WG_STAMP_LEN];
    struct ml_wg_in in;
    uint16_t slot;
    size_t len;

    now += ML_SEC(6); /* past the spacing of initiations */
    if (ml_wg_poll_clock(&a.wg, now, mark)) {
        ml_wg_clock_stored(&a.wg, true);
    }
    ml_wg_peer_connect(&a.wg, now, 0);
    if (!ml_wg_poll_send(&a.wg, now, buf, sizeof buf, &slot, &len)) {
        abort();
    }
    ml_wg_on_packet(&b.wg, now, &from, buf, len, &in);
    if (in.type != ML_WG_IN_INITIATION || ml_wg_accept(&b.wg, now, 0, &in) != ML_DROP_NONE) {
        abort();
    }
    ml_wg_on_packet(&a.wg, now, &from, in.data, in.len, &in);
    if (in.type != ML_WG_IN_HANDSHAKE || !ml_wg_poll_send(&a.wg, now, buf, sizeof buf, &slot, &len)) {
        abort();
    }
    ml_wg_on_packet(&b.wg, now, &from, buf, len, &in);
    if (!in.first_on_session) {
        abort();
    }
}

static void data(size_t n)
{
    static uint8_t buf[2048];
    uint8_t *pkt = buf + ML_WG_DATA_HEADER;
    struct ml_wg_in in;
    double start = seconds(), end;
    unsigned long count = 0;
    size_t len;

    memset(pkt, 7, n);
    do {
        for (int i = 0; i < 1000; i++) {
            pkt[0] = 0x45;
            ml_put_be16(pkt + 2, (uint16_t)n);
            if (ml_wg_seal(&a.wg, now, 0, pkt, n, buf, sizeof buf, &len) != ML_WG_SEALED) {
                abort();
            }
            ml_wg_on_packet(&b.wg, now, &from, buf, len, &in);
            if (in.type != ML_WG_IN_DATA || in.len != n) {
                abort();
            }
        }
        count += 1000;
        end = seconds();
    } while (end - start < SECONDS);
    printf("data%zu %.0f packets/s\n", n, (double)count / (end - start));
}

int main(void)
{
    now = ML_SEC(1000);
    if (!ml_crypto_init()) {
        return 1;
    }
    side_init(&a);
    side_init(&b);
    (void)ml_wg_peer_open(&a.wg, 0, &b.pub);
    (void)ml_wg_peer_open(&b.wg, 0, &a.pub);
    double start = seconds(), end;
    unsigned long count = 0;
    do {
        handshake();
        count++;
        end = seconds();
    } while (end - start < SECONDS);
    printf("handshake %.0f handshakes/s\n", (double)count / (end - start));
    data(64);
    data(1280);
    return 0;
}
