/*
 * Record layer of a ts2021 connection. See noise_frame.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "noise/noise_frame.h"

#include "base/bytes.h"

#define TYPE_RECORD 4

/* What the first plaintext bytes may be (control.md 3.5). */
enum {
    EARLY_HEADER, /* not yet known: up to nine bytes are being collected */
    EARLY_SKIP,   /* inside the early payload */
    EARLY_NONE    /* over, or never was; collected bytes that were not an early header are given back */
};

static const uint8_t early_magic[5] = {0xff, 0xff, 0xff, 'T', 'S'};

void ml_noise_conn_init(struct ml_noise_conn *c, const uint8_t tx_key[32], const uint8_t rx_key[32])
{
    ml_zero(c);
    memcpy(c->tx_key, tx_key, 32);
    memcpy(c->rx_key, rx_key, 32);
}

void ml_noise_conn_clear(struct ml_noise_conn *c)
{
    ml_wipe(c, sizeof *c);
}

static void make_nonce(uint8_t nonce[12], uint64_t counter)
{
    memset(nonce, 0, 4);
    ml_put_be64(nonce + 4, counter); /* big-endian, unlike every other use of Noise */
}

static void fail(struct ml_noise_conn *c, enum ml_noise_error why)
{
    ml_noise_conn_clear(c);
    c->early_state = EARLY_NONE;
    c->error = why;
}

size_t ml_noise_conn_peek(const struct ml_noise_conn *c, const uint8_t **p)
{
    if (c->early_state == EARLY_NONE && c->early_given < c->early_got) {
        *p = c->early + c->early_given;
        return (size_t)(c->early_got - c->early_given);
    }
    *p = c->buf + c->plain_pos;
    return (size_t)(c->plain_end - c->plain_pos);
}

void ml_noise_conn_consume(struct ml_noise_conn *c, size_t n)
{
    if (c->early_state == EARLY_NONE && c->early_given < c->early_got) {
        c->early_given = (uint8_t)(c->early_given + n);
    } else {
        c->plain_pos = (uint16_t)(c->plain_pos + n);
    }
}

/* Moves past what belongs to an early payload in the plaintext of the record just opened. */
static void strip_early(struct ml_noise_conn *c)
{
    while (c->early_state != EARLY_NONE && c->plain_pos < c->plain_end) {
        if (c->early_state == EARLY_SKIP) {
            uint32_t have = (uint32_t)(c->plain_end - c->plain_pos);
            uint32_t n = have < c->early_left ? have : c->early_left;
            c->plain_pos = (uint16_t)(c->plain_pos + n);
            c->early_left -= n;
            c->early_state = c->early_left > 0 ? EARLY_SKIP : EARLY_NONE;
            continue;
        }
        uint8_t b = c->buf[c->plain_pos++];
        size_t i = c->early_got++;
        c->early[i] = b;
        if (i < sizeof early_magic && b != early_magic[i]) {
            c->early_state = EARLY_NONE; /* HTTP/2 it is: peek() hands out `early` first */
        } else if (c->early_got == sizeof c->early) {
            c->early_left = ml_get_be32(c->early + sizeof early_magic);
            c->early_got = 0;
            if (c->early_left > ML_NOISE_EARLY_MAX) {
                fail(c, ML_NOISE_ERR_EARLY_PAYLOAD);
                return;
            }
            c->early_state = c->early_left > 0 ? EARLY_SKIP : EARLY_NONE;
        }
    }
}

static void open_record(struct ml_noise_conn *c, size_t sealed_len)
{
    uint8_t nonce[12];
    uint8_t *p = c->buf + ML_NOISE_HEADER_LEN;
    if (c->rx_counter == UINT64_MAX) {
        fail(c, ML_NOISE_ERR_COUNTER);
        return;
    }
    make_nonce(nonce, c->rx_counter);
    if (!ml_aead_open(p, c->rx_key, nonce, NULL, 0, p, sealed_len)) {
        fail(c, ML_NOISE_ERR_AUTH);
        return;
    }
    c->rx_counter++;
    c->got = 0;
    c->plain_pos = ML_NOISE_HEADER_LEN;
    c->plain_end = (uint16_t)(ML_NOISE_HEADER_LEN + sealed_len - ML_AEAD_TAG);
    strip_early(c);
}

/* Bytes of the current frame as far as they are known: the header first. */
static size_t frame_need(const struct ml_noise_conn *c)
{
    return c->got < ML_NOISE_HEADER_LEN ? ML_NOISE_HEADER_LEN : ML_NOISE_HEADER_LEN + (size_t)ml_get_be16(c->buf + 1);
}

static void check_header(struct ml_noise_conn *c)
{
    size_t sealed_len = ml_get_be16(c->buf + 1);
    if (c->buf[0] != TYPE_RECORD) {
        fail(c, ML_NOISE_ERR_FRAME_TYPE);
    } else if (sealed_len < ML_AEAD_TAG || sealed_len > ML_NOISE_FRAME_MAX - ML_NOISE_HEADER_LEN) {
        fail(c, ML_NOISE_ERR_FRAME_SIZE);
    }
}

enum ml_noise_error ml_noise_conn_feed(struct ml_noise_conn *c, const uint8_t *buf, size_t len, size_t *used)
{
    const uint8_t *plain;
    size_t pos = 0;
    while (c->error == ML_NOISE_OK && pos < len && ml_noise_conn_peek(c, &plain) == 0) {
        size_t need = frame_need(c);
        size_t n = need - c->got;
        n = n < len - pos ? n : len - pos;
        memcpy(c->buf + c->got, buf + pos, n);
        c->got = (uint16_t)(c->got + n);
        pos += n;
        if (c->got < need) {
            break;
        }
        if (need == ML_NOISE_HEADER_LEN) {
            check_header(c);
        } else {
            open_record(c, need - ML_NOISE_HEADER_LEN);
        }
    }
    *used = pos;
    return c->error;
}

size_t ml_noise_conn_seal(struct ml_noise_conn *c, uint8_t *dst, size_t cap, const uint8_t *src, size_t len)
{
    uint8_t nonce[12];
    if (c->error != ML_NOISE_OK || len > ML_NOISE_PLAIN_MAX || cap < len + ML_NOISE_OVERHEAD) {
        return 0;
    }
    if (c->tx_counter == UINT64_MAX) {
        fail(c, ML_NOISE_ERR_COUNTER);
        return 0;
    }
    make_nonce(nonce, c->tx_counter++);
    ml_aead_seal(dst + ML_NOISE_HEADER_LEN, c->tx_key, nonce, NULL, 0, src, len);
    dst[0] = TYPE_RECORD;
    ml_put_be16(dst + 1, (uint16_t)(len + ML_AEAD_TAG));
    return len + ML_NOISE_OVERHEAD;
}
