/*
 * TSMP codec, and the answer to what is received. See tsmp.h; layouts in dataplane.md 8.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ip/tsmp.h"

#include "ip/ip_build.h"

enum { PING_LEN = 1 + ML_TSMP_DATA_LEN, PONG_LEN = PING_LEN + 2, REJECTED_LEN = 7, ADVERTISEMENT_LEN = 1 + 32 };
#define REJECTED_MAYBE_BROKEN 0x01

bool ml_tsmp_parse(const struct ml_ip_view *v, struct ml_tsmp *out)
{
    size_t len = 0;
    const uint8_t *p = v->proto == ML_IPPROTO_TSMP ? ml_ip_view_payload(v, &len) : NULL;

    ml_zero(out);
    if (!p) {
        return false;
    }
    switch (p[0]) {
    case ML_TSMP_PING:
    case ML_TSMP_PONG:
        if (len < PING_LEN) {
            return false;
        }
        out->type = p[0] == ML_TSMP_PING ? ML_TSMP_PING : ML_TSMP_PONG;
        memcpy(out->data, p + 1, ML_TSMP_DATA_LEN);
        if (p[0] == ML_TSMP_PONG && len >= PONG_LEN) {
            out->peerapi_port = ml_get_be16(p + PING_LEN);
        }
        return true;
    case ML_TSMP_REJECTED:
        if (len < REJECTED_LEN) {
            return false;
        }
        out->type = ML_TSMP_REJECTED;
        out->proto = p[1];
        out->reason = p[2];
        out->flow_src = (ml_addr){.ip = v->dst, .port = ml_get_be16(p + 3)};
        out->flow_dst = (ml_addr){.ip = v->src, .port = ml_get_be16(p + 5)};
        out->is_maybe_broken = len > REJECTED_LEN && (p[REJECTED_LEN] & REJECTED_MAYBE_BROKEN);
        return true;
    case ML_TSMP_ADVERTISEMENT:
        if (len < ADVERTISEMENT_LEN) {
            return false;
        }
        out->type = ML_TSMP_ADVERTISEMENT;
        memcpy(out->disco.b, p + 1, sizeof out->disco.b);
        return true;
    default:
        return false;
    }
}

/* Header for a body of `body_len` bytes; returns where the body goes, or NULL. */
static uint8_t *begin(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, size_t body_len, uint32_t id)
{
    size_t head = ml_ip_header_len(src);
    if (cap < head + body_len || !ml_ip_write_header(out, cap, src, dst, ML_IPPROTO_TSMP, body_len, id)) {
        return NULL;
    }
    return out + head;
}

size_t ml_tsmp_build_ping(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, const uint8_t data[ML_TSMP_DATA_LEN])
{
    uint8_t *body = begin(out, cap, src, dst, PING_LEN, 0);
    if (!body) {
        return 0;
    }
    body[0] = ML_TSMP_PING;
    memcpy(body + 1, data, ML_TSMP_DATA_LEN);
    return (size_t)(body - out) + PING_LEN;
}

size_t ml_tsmp_build_pong(uint8_t *out, size_t cap, const struct ml_ip_view *v, uint16_t peerapi_port)
{
    struct ml_tsmp ping;

    if (!ml_tsmp_parse(v, &ping) || ping.type != ML_TSMP_PING) {
        return 0;
    }
    /* If the identifications of the pings differ, so do those of the pongs. */
    uint32_t id = v->version == 4 ? (uint32_t)(uint16_t)~ml_get_be16(v->p + 4) : ~ml_get_be32(v->p) & 0xfffff;
    uint8_t *body = begin(out, cap, &v->dst, &v->src, PONG_LEN, id);
    if (!body) {
        return 0;
    }
    body[0] = ML_TSMP_PONG;
    memcpy(body + 1, ping.data, ML_TSMP_DATA_LEN);
    ml_put_be16(body + PING_LEN, peerapi_port);
    return (size_t)(body - out) + PONG_LEN;
}

size_t ml_tsmp_build_rejected(uint8_t *out, size_t cap, const struct ml_ip_view *v, uint8_t reason, bool is_maybe_broken)
{
    size_t len = REJECTED_LEN + (is_maybe_broken ? 1 : 0);
    uint8_t *body = ml_ip_is_set(&v->src) ? begin(out, cap, &v->dst, &v->src, len, 0) : NULL;

    if (!body) {
        return 0;
    }
    body[0] = ML_TSMP_REJECTED;
    body[1] = v->proto;
    body[2] = reason;
    ml_put_be16(body + 3, v->src_port);
    ml_put_be16(body + 5, v->dst_port);
    if (is_maybe_broken) {
        body[REJECTED_LEN] = REJECTED_MAYBE_BROKEN;
    }
    return (size_t)(body - out) + len;
}

size_t ml_tsmp_build_advertisement(uint8_t *out, size_t cap, const ml_ip *src, const ml_ip *dst, const ml_disco_key *key)
{
    uint8_t *body = begin(out, cap, src, dst, ADVERTISEMENT_LEN, 0);
    if (!body) {
        return 0;
    }
    body[0] = ML_TSMP_ADVERTISEMENT;
    memcpy(body + 1, key->b, sizeof key->b);
    return (size_t)(body - out) + ADVERTISEMENT_LEN;
}

enum ml_tsmp_action ml_tsmp_handle(const struct ml_ip_view *v, uint16_t peerapi_port, struct ml_tsmp *msg, uint8_t *out,
                                   size_t cap, size_t *out_len)
{
    static const ml_disco_key zero;

    *out_len = 0;
    if (v->proto != ML_IPPROTO_TSMP) {
        return ML_TSMP_NOT;
    }
    if (!ml_tsmp_parse(v, msg)) {
        return ML_TSMP_IGNORE;
    }
    switch (msg->type) {
    case ML_TSMP_PING:
        *out_len = ml_tsmp_build_pong(out, cap, v, peerapi_port);
        return *out_len ? ML_TSMP_ANSWER : ML_TSMP_IGNORE;
    case ML_TSMP_PONG:
        return ML_TSMP_GOT_PONG;
    case ML_TSMP_REJECTED:
        return ML_TSMP_GOT_REJECT;
    case ML_TSMP_ADVERTISEMENT:
        return memcmp(msg->disco.b, zero.b, sizeof zero.b) == 0 ? ML_TSMP_IGNORE : ML_TSMP_SET_DISCO;
    }
    return ML_TSMP_IGNORE;
}
