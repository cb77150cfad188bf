/*
 * Fuzz target: what a hostile network or server can send a ts2021 client. The first byte chooses: the answer to the handshake
 * as raw bytes, raw records, or records that authenticate, so that the early payload is reached. The second byte is the size
 * of the parts in which the stream arrives.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "noise/noise_frame.h"
#include "noise/noise_ik.h"

static const uint8_t key_a[32] = {1};
static const uint8_t key_b[32] = {2};

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    memset(buf, 0x42, len);
}

static void handshake(const uint8_t *data, size_t len, size_t step)
{
    static const ml_random rng = {fill, NULL};
    ml_private_key priv = {{9}};
    ml_machine_key server;
    struct ml_noise_ik ik;
    uint8_t out[ML_NOISE_INITIATION_LEN];
    size_t used;
    ml_x25519_base(server.b, &priv);
    ml_noise_ik_begin(&ik, 130, &priv, &server);
    if (ml_noise_ik_initiate(&ik, &rng, out, NULL) != ML_CURVE_DONE) {
        abort();
    }
    for (size_t pos = 0; pos < len; pos += used) {
        size_t n = len - pos < step ? len - pos : step;
        if (ml_noise_ik_feed(&ik, data + pos, n, &used, NULL) != ML_NOISE_IK_MORE) {
            break;
        }
    }
    if (ik.result == ML_NOISE_IK_DONE ||
        (ik.result == ML_NOISE_IK_REFUSED && strlen(ik.u.error_text) >= sizeof ik.u.error_text)) {
        abort();
    }
    ml_noise_ik_clear(&ik);
}

static void feed(struct ml_noise_conn *c, const uint8_t *data, size_t len, size_t step)
{
    size_t used;
    for (size_t pos = 0; pos < len; pos += used) {
        size_t n = len - pos < step ? len - pos : step;
        const uint8_t *p;
        if (ml_noise_conn_feed(c, data + pos, n, &used) != ML_NOISE_OK) {
            return;
        }
        bool had_plain = false;
        for (size_t m; (m = ml_noise_conn_peek(c, &p)) > 0; had_plain = true) {
            volatile uint8_t sum = 0;
            for (size_t i = 0; i < m; i++) {
                sum = (uint8_t)(sum + p[i]);
            }
            ml_noise_conn_consume(c, m > 3 ? m - 2 : 1);
        }
        if (used == 0 && !had_plain) {
            abort(); /* stuck */
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct ml_noise_conn c, peer;
    static uint8_t record[ML_NOISE_FRAME_MAX];
    if (len < 2 || !ml_crypto_init()) {
        return 0;
    }
    size_t step = data[1] ? data[1] : SIZE_MAX;
    if (data[0] % 3 == 0) {
        handshake(data + 2, len - 2, step);
        return 0;
    }
    ml_noise_conn_init(&c, key_a, key_b);
    if (data[0] % 3 == 1) {
        feed(&c, data + 2, len - 2, step);
        return 0;
    }
    /* Plaintext as "length, bytes" items, each sealed into a record. */
    ml_noise_conn_init(&peer, key_b, key_a);
    for (size_t pos = 2; pos < len;) {
        size_t n = data[pos++];
        n = n < len - pos ? n : len - pos;
        feed(&c, record, ml_noise_conn_seal(&peer, record, sizeof record, data + pos, n), step);
        pos += n;
    }
    return 0;
}
