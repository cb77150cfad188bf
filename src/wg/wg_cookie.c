/*
 * mac1, mac2, cookies and the handshake rate limit; see wg_cookie.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_cookie.h"
#include "base/addr.h"
#include "base/key.h"
#include "base/rng.h"
#include "crypto/blake2s.h"

#define HANDSHAKE_COST (1000000u / ML_WG_RATE_PER_SEC) /* microseconds of credit */
#define MAX_CREDIT     (HANDSHAKE_COST * ML_WG_RATE_BURST)
#define RATE_FORGET    ML_SEC(1)

static void label_key(uint8_t key[32], const char label[8], const uint8_t pub[32])
{
    ml_blake2s_2(key, label, 8, pub, 32);
}

void ml_wg_mac1_key(uint8_t key[32], const uint8_t pub[32])
{
    label_key(key, "mac1----", pub);
}

void ml_wg_cookie_key(uint8_t key[32], const uint8_t pub[32])
{
    label_key(key, "cookie--", pub);
}

void ml_wg_checker_init(struct ml_wg_cookie_checker *c, const uint8_t our_pub[32], uint32_t load_per_sec)
{
    ml_wipe(c, sizeof *c);
    ml_wg_mac1_key(c->mac1_key, our_pub);
    ml_wg_cookie_key(c->cookie_key, our_pub);
    c->secret_at = ML_NEVER;
    c->load_per_sec = load_per_sec;
}

bool ml_wg_checker_mac1(const struct ml_wg_cookie_checker *c, const uint8_t *msg, size_t len)
{
    uint8_t mac[ML_WG_MAC_LEN];
    size_t covered = len - 2 * (size_t)ML_WG_MAC_LEN;

    ml_blake2s_mac16(mac, c->mac1_key, 32, msg, covered);
    return ml_ct_equal(mac, msg + covered, ML_WG_MAC_LEN);
}

/* The cookie of a source: a MAC of its address and port, or of its node key when it comes through a relay. */
static void make_cookie(const struct ml_wg_cookie_checker *c, const struct ml_wg_source *from, uint8_t cookie[ML_WG_MAC_LEN])
{
    uint8_t id[1 + 32] = {0};

    if (ml_key_is_set(&from->relay)) {
        id[0] = 1;
        memcpy(id + 1, from->relay.b, 32);
    } else {
        memcpy(id + 1, from->addr.ip.b, 16);
        ml_put_be16(id + 17, from->addr.port);
    }
    ml_blake2s_mac16(cookie, c->secret, 32, id, sizeof id);
}

bool ml_wg_checker_mac2(const struct ml_wg_cookie_checker *c, ml_time now, const uint8_t *msg, size_t len,
                        const struct ml_wg_source *from)
{
    uint8_t cookie[ML_WG_MAC_LEN];
    uint8_t mac[ML_WG_MAC_LEN];
    size_t covered = len - ML_WG_MAC_LEN;

    if (c->secret_at == ML_NEVER || now - c->secret_at > ML_WG_COOKIE_LIFE) {
        return false;
    }
    make_cookie(c, from, cookie);
    ml_blake2s_mac16(mac, cookie, ML_WG_MAC_LEN, msg, covered);
    ml_wipe(cookie, sizeof cookie);
    return ml_ct_equal(mac, msg + covered, ML_WG_MAC_LEN);
}

bool ml_wg_checker_note(struct ml_wg_cookie_checker *c, ml_time now)
{
    if (now - c->window_at >= ML_SEC(1)) {
        c->window_at = now;
        c->window_count = 0;
    }
    if (++c->window_count > c->load_per_sec) {
        c->load_until = now + ML_WG_LOAD_HOLD;
    }
    return now < c->load_until;
}

/* IPv6 by /64, because one host easily has all of it. */
static void rate_source(const struct ml_wg_source *from, uint8_t out[16])
{
    if (ml_key_is_set(&from->relay)) {
        memcpy(out, from->relay.b, 16);
        return;
    }
    memcpy(out, from->addr.ip.b, 16);
    if (!ml_ip_is4(&from->addr.ip)) {
        memset(out + 8, 0, 8);
    }
}

bool ml_wg_checker_allow(struct ml_wg_cookie_checker *c, ml_time now, const struct ml_wg_source *from)
{
    uint8_t source[16];
    struct ml_wg_rate_entry *unused = NULL;

    rate_source(from, source);
    for (size_t i = 0; i < ML_CFG_WG_RATE_SLOTS; i++) {
        struct ml_wg_rate_entry *e = &c->rate[i];
        if (e->is_used && memcmp(e->source, source, 16) == 0) {
            ml_time credit = e->credit + (now - e->at);
            e->at = now;
            e->credit = credit > MAX_CREDIT ? MAX_CREDIT : (uint32_t)credit;
            if (e->credit < HANDSHAKE_COST) {
                return false;
            }
            e->credit -= HANDSHAKE_COST;
            return true;
        }
        if (!e->is_used || now - e->at > RATE_FORGET) {
            unused = e;
        }
    }
    if (!unused) {
        return false;
    }
    memcpy(unused->source, source, 16);
    unused->at = now;
    unused->credit = MAX_CREDIT - HANDSHAKE_COST;
    unused->is_used = true;
    return true;
}

void ml_wg_checker_reply(struct ml_wg_cookie_checker *c, ml_time now, const ml_random *rng, const uint8_t *msg, size_t len,
                         const struct ml_wg_source *from, uint8_t reply[ML_WG_COOKIE_LEN])
{
    uint8_t cookie[ML_WG_MAC_LEN];

    if (c->secret_at == ML_NEVER || now - c->secret_at > ML_WG_COOKIE_LIFE) {
        ml_random_fill(rng, c->secret, sizeof c->secret);
        c->secret_at = now;
    }
    make_cookie(c, from, cookie);
    ml_put_le32(reply, ML_WG_MSG_COOKIE);
    ml_put_le32(reply + ML_WG_COOKIE_OFF_RECEIVER, ml_get_le32(msg + ML_WG_OFF_SENDER));
    ml_random_fill(rng, reply + ML_WG_COOKIE_OFF_NONCE, ML_BOX_NONCE);
    ml_xaead_seal(reply + ML_WG_COOKIE_OFF_COOKIE, c->cookie_key, reply + ML_WG_COOKIE_OFF_NONCE,
                  msg + len - 2 * (size_t)ML_WG_MAC_LEN, ML_WG_MAC_LEN, cookie, sizeof cookie);
    ml_wipe(cookie, sizeof cookie);
}

void ml_wg_cookie_add_macs(const struct ml_wg_cookie *k, ml_time now, const uint8_t peer_pub[32], uint8_t *msg, size_t len,
                           uint8_t mac1_copy[ML_WG_MAC_LEN])
{
    uint8_t key[32];
    uint8_t *mac2 = msg + len - ML_WG_MAC_LEN;
    uint8_t *mac1 = mac2 - ML_WG_MAC_LEN;

    ml_wg_mac1_key(key, peer_pub);
    ml_blake2s_mac16(mac1, key, sizeof key, msg, len - 2 * (size_t)ML_WG_MAC_LEN);
    if (mac1_copy) {
        memcpy(mac1_copy, mac1, ML_WG_MAC_LEN);
    }
    if (k && now - k->at <= ML_WG_COOKIE_LIFE) {
        ml_blake2s_mac16(mac2, k->b, ML_WG_MAC_LEN, msg, len - ML_WG_MAC_LEN);
    } else {
        memset(mac2, 0, ML_WG_MAC_LEN);
    }
}

bool ml_wg_cookie_open(struct ml_wg_cookie *k, ml_time now, const uint8_t peer_pub[32], const uint8_t mac1[ML_WG_MAC_LEN],
                       const uint8_t reply[ML_WG_COOKIE_LEN])
{
    uint8_t key[32];
    uint8_t cookie[ML_WG_MAC_LEN];

    ml_wg_cookie_key(key, peer_pub);
    bool ok = ml_xaead_open(cookie, key, reply + ML_WG_COOKIE_OFF_NONCE, mac1, ML_WG_MAC_LEN, reply + ML_WG_COOKIE_OFF_COOKIE,
                            ML_WG_MAC_LEN + ML_AEAD_TAG);
    if (ok) {
        memcpy(k->b, cookie, ML_WG_MAC_LEN);
        k->at = now;
    }
    ml_wipe(cookie, sizeof cookie);
    return ok;
}
