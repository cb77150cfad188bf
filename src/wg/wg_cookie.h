/*
 * The MACs of handshake messages and what protects a responder from floods of them (dataplane.md 1.2, 1.3).
 *
 * mac1 proves that the sender knows our public key, and is checked before any costly work. Under load a message must also
 * carry mac2, made with a cookie that we sent to its source address; and then each address gets 20 handshakes a second
 * with bursts of 5. A cookie reply is smaller than what it answers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_COOKIE_H
#define ML_WG_COOKIE_H

#include "crypto/crypto_backend.h"
#include "wg/wg_msg.h"

#define ML_WG_COOKIE_LIFE  ML_SEC(120) /* of a cookie held, and of the secret that cookies are made from */
#define ML_WG_LOAD_HOLD    ML_SEC(1)   /* how long a device stays under load */
#define ML_WG_RATE_PER_SEC 20
#define ML_WG_RATE_BURST   5

/** Addresses whose handshake rate is remembered while under load; +32 bytes each. */
#ifndef ML_CFG_WG_RATE_SLOTS
#define ML_CFG_WG_RATE_SLOTS 16
#endif

/** Where a handshake message came from. Exactly one is set. */
struct ml_wg_source {
    ml_addr addr;      /* UDP; unset when relayed */
    ml_node_key relay; /* DERP source node key; unset when not */
};

struct ml_wg_rate_entry {
    uint8_t source[16]; /* address; IPv6 by /64; for a relayed source the start of its node key */
    ml_time at;         /* last refill */
    uint32_t credit;    /* microseconds, up to 5 * 50 ms */
    bool is_used;
};

/** The checking side, one per device. */
struct ml_wg_cookie_checker {
    uint8_t mac1_key[32];
    uint8_t cookie_key[32];
    uint8_t secret[32];
    ml_time secret_at; /* ML_NEVER: none made yet */
    ml_time window_at; /* start of the second in which `window_count` messages came */
    ml_time load_until;
    uint32_t window_count;
    uint32_t load_per_sec; /* handshake messages a second beyond which the device is under load */
    struct ml_wg_rate_entry rate[ML_CFG_WG_RATE_SLOTS];
};

/** A cookie that a peer under load gave us. */
struct ml_wg_cookie {
    uint8_t b[ML_WG_MAC_LEN];
    ml_time at; /* when it came */
    uint16_t slot;
    bool is_held;
};

/** Peers whose cookies are kept at a time; the oldest gives way, and the next message to its peer costs another round trip. */
#ifndef ML_CFG_WG_COOKIES
#define ML_CFG_WG_COOKIES 8
#endif

/** The two keys that belong to a static public key. */
void ml_wg_mac1_key(uint8_t key[32], const uint8_t pub[32]);
void ml_wg_cookie_key(uint8_t key[32], const uint8_t pub[32]);

void ml_wg_checker_init(struct ml_wg_cookie_checker *c, const uint8_t our_pub[32], uint32_t load_per_sec);
/** @p msg is an initiation or a response of @p len bytes. */
bool ml_wg_checker_mac1(const struct ml_wg_cookie_checker *c, const uint8_t *msg, size_t len);
bool ml_wg_checker_mac2(const struct ml_wg_cookie_checker *c, ml_time now, const uint8_t *msg, size_t len,
                        const struct ml_wg_source *from);
/** Counts a message with a good mac1. True when the device is under load: from now on for a second. */
bool ml_wg_checker_note(struct ml_wg_cookie_checker *c, ml_time now);
/**
 * @brief May this source have another handshake now?
 *
 * When the table is full of sources seen within the last second a new source is refused: total work stays bounded.
 */
bool ml_wg_checker_allow(struct ml_wg_cookie_checker *c, ml_time now, const struct ml_wg_source *from);
/** Writes the cookie reply to @p msg; makes a new secret when the old one is older than its life. */
void ml_wg_checker_reply(struct ml_wg_cookie_checker *c, ml_time now, const ml_random *rng, const uint8_t *msg, size_t len,
                         const struct ml_wg_source *from, uint8_t reply[ML_WG_COOKIE_LEN]);

/**
 * @brief Fills mac1 of a message to @p peer_pub, and mac2 if there is a cookie not older than 120 s.
 * @param k     NULL: there is none.
 * @param mac1  NULL, or gets a copy, without which a reply cannot be opened.
 */
void ml_wg_cookie_add_macs(const struct ml_wg_cookie *k, ml_time now, const uint8_t peer_pub[32], uint8_t *msg, size_t len,
                           uint8_t mac1[ML_WG_MAC_LEN]);
/** Opens the cookie in a reply to the message with this @p mac1. False: forged or stale, @p k is unchanged. */
bool ml_wg_cookie_open(struct ml_wg_cookie *k, ml_time now, const uint8_t peer_pub[32], const uint8_t mac1[ML_WG_MAC_LEN],
                       const uint8_t reply[ML_WG_COOKIE_LEN]);

#endif
