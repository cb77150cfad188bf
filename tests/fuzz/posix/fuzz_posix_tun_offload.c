/*
 * Large packets of a TUN device: any header before any bytes is cut within them, and what was joined from a peer's packets is
 * cut into the same again. SPDX-License-Identifier: MIT
 */
#include "base/bytes.h"
#include "ip/ip_build.h"
#include "tun_offload.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint8_t packet[ML_TUN_PACKET_MAX];

struct bounds {
    size_t len, mtu;
};

static void within(void *ctx, const uint8_t *p, size_t len)
{
    const struct bounds *b = ctx;
    if (p < packet || len > b->mtu || p + len > packet + b->len) {
        abort();
    }
}

static uint8_t offered[64][256];
static size_t offered_len[64], offered_count, cut_count;

static void same_as_offered(void *ctx, const uint8_t *p, size_t len)
{
    const struct ml_tun_run *run = ctx;
    uint8_t again[256];
    size_t i = offered_count - run->count + cut_count++;
    if (len != offered_len[i] || len > sizeof again) {
        abort();
    }
    memcpy(again, p, len);
    if (again[0] >> 4 == 4) { /* The identification, and with it the header's sum, may be another. */
        memcpy(again + 4, offered[i] + 4, 2);
        memcpy(again + 10, offered[i] + 10, 2);
    }
    if (memcmp(again, offered[i], len) != 0) {
        abort();
    }
}

static void check_run(struct ml_tun_run *run)
{
    if (run->len > 0) {
        ml_tun_run_finish(run);
        cut_count = 0;
        if (ml_tun_split(&run->head, run->packet, run->len, sizeof offered[0], same_as_offered, run) != run->count) {
            abort();
        }
        run->len = 0;
    }
}

/** Both sums put right, so that the fuzzer gets behind them. */
static void finish(uint8_t *p, size_t len)
{
    struct ml_ip_view v;
    ml_ip_view_parse(&v, p, len);
    size_t at = v.version == 4 ? 20 : 40;
    if (v.version == 0 || len < at + 20) {
        return;
    }
    if (v.version == 4) {
        ml_put_be16(p + 10, 0);
        ml_put_be16(p + 10, ml_ip_sum_finish(ml_ip_sum(0, p, at)));
    }
    ml_put_be16(p + at + 16, 0);
    uint32_t sum = ml_ip_sum_pseudo(&v.src, &v.dst, 6, len - at);
    ml_put_be16(p + at + 16, ml_ip_sum_finish(ml_ip_sum(sum, p + at, len - at)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct ml_tun_run run;
    struct ml_tun_head head;
    if (len < 1 + sizeof head || len > sizeof packet) {
        return 0;
    }
    if (data[0] & 1) {
        memcpy(&head, data + 1, sizeof head);
        struct bounds b = {len - 1 - sizeof head, 1280};
        memcpy(packet, data + 1 + sizeof head, b.len);
        (void)ml_tun_split(&head, packet, b.len, b.mtu, within, &b);
        return 0;
    }
    /* Packets, each with its length in front of it. */
    offered_count = 0;
    for (size_t at = 1; at < len && offered_count < 64;) {
        size_t n = data[at++];
        n = n < len - at ? n : len - at;
        uint8_t *p = offered[offered_count];
        memcpy(p, data + at, n);
        at += n;
        finish(p, n);
        offered_len[offered_count] = n;
        if (!ml_tun_run_add(&run, p, n)) {
            check_run(&run);
            (void)ml_tun_run_add(&run, p, n);
        }
        offered_count++;
    }
    check_run(&run);
    return 0;
}
