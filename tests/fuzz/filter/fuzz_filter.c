/*
 * Any order of rule deltas and packets: the filter stays consistent, and fails closed.
 *
 * Each step is one byte and what it needs. SPDX-License-Identifier: MIT
 */
#include "filter/filter.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static ml_prefix read_net(struct ml_reader *r)
{
    uint8_t k = ml_read_u8(r);
    ml_prefix net = {.ip = ml_ip4(100, 64, 0, k & 7), .bits = (uint8_t)(k & 8 ? 32 : k >> 4)};
    if (k & 0x80) {
        net.ip = (ml_ip){{0xfd, k & 7}};
        net.bits = (uint8_t)(k & 8 ? 128 : ml_read_u8(r));
    }
    return net;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_filter_cfg cfg = {.max_entries = 24, .max_flows = 5, .max_jailed_flows = 2};
    static const char *const names[] = {"base", "a", "b", "c", "d", "", NULL, "a name of more than thirty-one characters"};
    struct ml_filter f;
    struct ml_reader r = ml_reader_of(data, len);
    void *mem = malloc(ml_filter_mem(&cfg));
    if (!mem) {
        return 0;
    }
    ml_filter_init(&f, &cfg, mem);
    while (ml_reader_left(&r) && !r.bad) {
        uint8_t op = ml_read_u8(&r);
        struct ml_delta d = {.type = (enum ml_delta_type)(ML_DELTA_RULES_BEGIN + op % 6), .text = names[op >> 3 & 7]};
        struct ml_rule rule = {0};
        struct ml_ip_view v;
        if (d.type == ML_DELTA_RULE) {
            uint8_t n = ml_read_u8(&r);
            rule.src_count = n & 3;
            rule.dst_count = n >> 2 & 3;
            rule.has_protos = n & 16;
            rule.proto_count = n >> 5;
            rule.is_lossy = op & 0x80;
            d.rule = &rule;
            for (uint8_t i = 0; i < rule.src_count; i++) {
                rule.srcs[i] = read_net(&r);
            }
            for (uint8_t i = 0; i < rule.dst_count; i++) {
                rule.dsts[i] = (struct ml_rule_dst){.net = read_net(&r), .port_last = UINT16_MAX};
            }
            ml_read_copy(&r, rule.protos, rule.proto_count);
        }
        if (op % 7 == 6) {
            size_t n = ml_read_u8(&r);
            const uint8_t *packet = ml_read_bytes(&r, n);
            uint8_t reason = 0;
            if (!packet) {
                break;
            }
            ml_ip_view_parse(&v, packet, n);
            bool was_syn = ml_ip_view_is_tcp_syn(&v);
            ml_drop verdict = op & 8 ? ml_filter_out(&f, &v, op & 16) : ml_filter_in(&f, &v, op & 16);
            if (!(op & 8) && f.pool_used == 0 && was_syn && verdict == ML_DROP_NONE) {
                abort(); /* nothing may open a connection without rules */
            }
            ml_filter_reject(&f, n, &v, verdict, &reason);
        } else if (op == 0xff) {
            ml_prefix net = read_net(&r);
            ml_filter_set_locals(&f, &net, 1);
        } else if (op == 0xfe) {
            ml_prefix net = read_net(&r);
            ml_filter_unsigned_begin(&f);
            ml_filter_unsigned_prefix(&f, &net);
        } else {
            if (op == 0x80) {
                d.type = ML_DELTA_ABORT;
            }
            ml_filter_apply(&f, &d);
        }
        if (!ml_filter_check(&f)) {
            abort();
        }
    }
    free(mem);
    return 0;
}
