/*
 * The record layer of a ts2021 connection: ChaCha20-Poly1305 records of at most 4096 bytes, and the optional early payload
 * in front of HTTP/2.
 *
 * Source: control.md 3.3 to 3.5. Owns the two counters and the one receive buffer, in which records are decrypted in place.
 * Does not own a transmit buffer: a record is sealed into the caller's.
 *
 * Receiving is a loop, so that plaintext is handed out where it lies and nothing is copied twice:
 *
 *     while (len > 0 || there may be plaintext) {
 *         ml_noise_conn_feed(c, buf, len, &used);   buf += used; len -= used;
 *         while ((n = ml_noise_conn_peek(c, &p)) > 0) { take up to n; ml_noise_conn_consume(c, taken); }
 *         if (ml_noise_conn_error(c) != ML_NOISE_OK || nothing was taken) break;
 *     }
 *
 * feed() takes nothing while plaintext of the last record is waiting: that is the back-pressure.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_NOISE_NOISE_FRAME_H
#define ML_NOISE_NOISE_FRAME_H

#include "crypto/crypto_backend.h"

#define ML_NOISE_FRAME_MAX  4096 /**< A frame with its header; a longer one announced ends the connection. */
#define ML_NOISE_HEADER_LEN 3
#define ML_NOISE_OVERHEAD   (ML_NOISE_HEADER_LEN + ML_AEAD_TAG)
#define ML_NOISE_PLAIN_MAX  (ML_NOISE_FRAME_MAX - ML_NOISE_OVERHEAD) /**< 4077. */
#define ML_NOISE_EARLY_MAX  4096 /**< Longest early payload that is skipped; a longer one ends the connection. */

/** Why a connection is unusable. All but OK are final: drop the keys and reconnect. */
enum ml_noise_error {
    ML_NOISE_OK,
    ML_NOISE_ERR_FRAME_SIZE,   /**< Longer than ML_NOISE_FRAME_MAX, or too short for a tag. */
    ML_NOISE_ERR_FRAME_TYPE,   /**< Not a record. */
    ML_NOISE_ERR_AUTH,         /**< A record does not authenticate. */
    ML_NOISE_ERR_COUNTER,      /**< 2^64-1 records: never. */
    ML_NOISE_ERR_EARLY_PAYLOAD /**< Early payload longer than ML_NOISE_EARLY_MAX. */
};

/** About 4.2 KB, of which `buf` is the receive buffer. */
struct ml_noise_conn {
    uint8_t tx_key[32], rx_key[32];
    uint64_t tx_counter, rx_counter;
    enum ml_noise_error error;
    uint16_t got;       /* bytes of the frame in `buf` so far */
    uint16_t plain_pos; /* next unread plaintext byte in `buf` */
    uint16_t plain_end;
    uint8_t early_state;
    uint8_t early_got;   /* bytes of the early header seen */
    uint8_t early_given; /* of those, given back already because the magic did not match */
    uint8_t early[9];
    uint32_t early_left; /* payload bytes still to skip */
    uint8_t buf[ML_NOISE_FRAME_MAX];
};

/** @brief Start with the keys of a finished handshake (copied). Counters begin at 0. */
void ml_noise_conn_init(struct ml_noise_conn *c, const uint8_t tx_key[32], const uint8_t rx_key[32]);
/** @brief Wipe keys and buffer. */
void ml_noise_conn_clear(struct ml_noise_conn *c);

/**
 * @brief Take bytes from the stream, in any segmentation: up to the end of one record with plaintext.
 *
 * Empty records are skipped. The early payload, when the server sends one, is skipped; otherwise the nine bytes it would have
 * begun with come out as plaintext like all others.
 * @param used  How many were taken. 0 while plaintext is waiting, or after an error.
 */
enum ml_noise_error ml_noise_conn_feed(struct ml_noise_conn *c, const uint8_t *buf, size_t len, size_t *used);
/** @brief Plaintext waiting, in place; 0 if none. The pointer lives until the next consume, feed or clear. */
size_t ml_noise_conn_peek(const struct ml_noise_conn *c, const uint8_t **p);
/** @brief @p n of the peeked bytes are done with. */
void ml_noise_conn_consume(struct ml_noise_conn *c, size_t n);
static inline enum ml_noise_error ml_noise_conn_error(const struct ml_noise_conn *c)
{
    return c->error;
}

/**
 * @brief Seal one record of @p len plaintext bytes into @p dst, which must have room for len + ML_NOISE_OVERHEAD.
 * @param src  May be dst + ML_NOISE_HEADER_LEN (in place); otherwise must not overlap.
 * @return Bytes written, or 0: more than ML_NOISE_PLAIN_MAX, @p cap too small (nothing changed), or the counter is used up.
 * @note What is sealed must be sent whole and in order; the counters allow nothing else.
 */
size_t ml_noise_conn_seal(struct ml_noise_conn *c, uint8_t *dst, size_t cap, const uint8_t *src, size_t len);

#endif
