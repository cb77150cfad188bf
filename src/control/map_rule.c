/*
 * Packet filter rules: address forms, range expansion, chunking. Source: control.md 10.2.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/map_rule.h"

#include "base/addr.h"
#include "control/map_parse.h"

void ml_map_rule_begin(struct ml_map_rule *r)
{
    memset(r, 0, sizeof *r);
}

static bool add_src(struct ml_map_rule *r, const ml_prefix *net)
{
    if (r->src_count == ML_CFG_RULE_SRCS) {
        return false;
    }
    r->srcs[r->src_count++] = *net;
    return true;
}

static bool add_dst(struct ml_map_rule *r, const ml_prefix *net)
{
    if (r->dst_count == ML_CFG_RULE_DSTS) {
        return false;
    }
    r->dsts[r->dst_count++] = (struct ml_rule_dst){.net = *net};
    return true;
}

typedef bool (*add_fn)(struct ml_map_rule *r, const ml_prefix *net);

/* Adds @p n to the 128-bit number at @p b, in place: 2^bit. Returns false on overflow. */
static bool add_power(uint8_t b[16], unsigned bit)
{
    unsigned i = 15 - bit / 8;
    unsigned sum = b[i] + (1U << (bit % 8));
    b[i] = (uint8_t)sum;
    while (sum > 0xff) {
        if (i == 0) {
            return false;
        }
        i--;
        sum = b[i] + 1U;
        b[i] = (uint8_t)sum;
    }
    return true;
}

/* Does the block of 2^bit addresses that starts at @p from (aligned) end at or before @p to? */
static bool block_fits(const uint8_t from[16], const uint8_t to[16], unsigned bit)
{
    uint8_t last[16];
    memcpy(last, from, 16);
    for (unsigned i = 0; i < bit; i++) {
        last[15 - i / 8] |= (uint8_t)(1U << (i % 8));
    }
    return memcmp(last, to, 16) <= 0;
}

/* The fewest prefixes that make up from..to (inclusive), in ascending order. */
static bool add_range(struct ml_map_rule *r, const ml_ip *from, const ml_ip *to, add_fn add)
{
    unsigned width = ml_ip_is4(from) ? 32 : 128;
    uint8_t at[16];
    memcpy(at, from->b, 16);
    for (;;) {
        unsigned bit = 0;
        while (bit < width && (at[15 - bit / 8] >> (bit % 8) & 1) == 0 && block_fits(at, to->b, bit + 1)) {
            bit++;
        }
        ml_prefix net = {.bits = (uint8_t)(width - bit)};
        memcpy(net.ip.b, at, 16);
        if (!add(r, &net)) {
            return false;
        }
        /* At the end of the range, or of the address space. */
        if (bit == width || !add_power(at, bit) || memcmp(at, to->b, 16) > 0) {
            return true;
        }
    }
}

enum form { FORM_BAD, FORM_ADDED, FORM_FULL };

static enum form add_addresses(struct ml_map_rule *r, const char *text, size_t len, add_fn add)
{
    if (len == 1 && text[0] == '*') {
        ml_prefix all4 = {.ip = ml_ip4(0, 0, 0, 0), .bits = 0};
        ml_prefix all6 = {0};
        return add(r, &all4) && add(r, &all6) ? FORM_ADDED : FORM_FULL;
    }
    const char *dash = len ? memchr(text, '-', len) : NULL;
    if (dash) {
        ml_ip from;
        ml_ip to;
        size_t n = (size_t)(dash - text);
        if (!ml_ip_parse(text, n, &from) || !ml_ip_parse(dash + 1, len - n - 1, &to) || ml_ip_is4(&from) != ml_ip_is4(&to) ||
            memcmp(from.b, to.b, 16) > 0) {
            return FORM_BAD;
        }
        return add_range(r, &from, &to, add) ? FORM_ADDED : FORM_FULL;
    }
    ml_prefix net;
    if (!ml_prefix_parse(text, len, &net) || ml_prefix_has_host_bits(&net)) {
        return FORM_BAD;
    }
    return add(r, &net) ? FORM_ADDED : FORM_FULL;
}

static void lose(struct ml_map_rule *r)
{
    r->is_lossy = true;
    r->cut_count++;
}

void ml_map_rule_src(struct ml_map_rule *r, const char *text, size_t len)
{
    if (add_addresses(r, text, len, add_src) != FORM_ADDED) {
        lose(r); /* "cap:..." too: who has a capability is not kept */
    }
}

void ml_map_rule_proto(struct ml_map_rule *r, int64_t n)
{
    r->has_protos = true;
    if (n < 0 || n > UINT8_MAX) {
        return;
    }
    if (r->proto_count == ML_RULE_PROTOS) {
        lose(r);
        return;
    }
    r->protos[r->proto_count++] = (uint8_t)n;
}

void ml_map_dst_begin(struct ml_map_rule *r)
{
    r->dst_first = r->dst_count;
    r->is_dst_bad = false;
    memset(&r->dst, 0, sizeof r->dst);
}

void ml_map_dst_ip(struct ml_map_rule *r, const char *text, size_t len)
{
    r->dst_count = r->dst_first; /* a repeated field replaces the earlier one */
    enum form form = add_addresses(r, text, len, add_dst);
    if (form != FORM_ADDED) {
        lose(r);
        r->is_dst_bad |= form == FORM_BAD;
    }
}

void ml_map_dst_end(struct ml_map_rule *r)
{
    if (r->is_dst_bad) {
        r->dst_count = r->dst_first;
    }
    for (uint16_t i = r->dst_first; i < r->dst_count; i++) {
        r->dsts[i].port_first = r->dst.port_first;
        r->dsts[i].port_last = r->dst.port_last;
    }
}

/* Never inlined: its caller also hands out peers, which takes the deepest stack there is, without half a kilobyte of rule. */
__attribute__((noinline)) void ml_map_rule_emit(struct ml_map_parse *p,
                                                void (*emit)(struct ml_map_parse *p, const struct ml_delta *d))
{
    const struct ml_map_rule *r = &p->u.rule;
    if (r->is_spoilt) {
        return;
    }
    struct ml_rule out;
    memset(&out, 0, sizeof out);
    memcpy(out.protos, r->protos, sizeof out.protos);
    out.proto_count = r->proto_count;
    out.has_protos = r->has_protos;
    out.is_lossy = r->is_lossy;
    for (uint16_t d = 0; d < r->dst_count; d = (uint16_t)(d + out.dst_count)) {
        out.dst_count = (uint8_t)(r->dst_count - d < ML_RULE_DSTS ? r->dst_count - d : ML_RULE_DSTS);
        memcpy(out.dsts, r->dsts + d, out.dst_count * sizeof out.dsts[0]);
        for (uint16_t s = 0; s < r->src_count; s = (uint16_t)(s + out.src_count)) {
            out.src_count = (uint8_t)(r->src_count - s < ML_RULE_SRCS ? r->src_count - s : ML_RULE_SRCS);
            memcpy(out.srcs, r->srcs + s, out.src_count * sizeof out.srcs[0]);
            emit(p, &(struct ml_delta){.type = ML_DELTA_RULE, .rule = &out, .text = p->set_name});
        }
    }
}
