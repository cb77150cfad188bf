/*
 * Frames of the official derp package for the tests of src/derp (tests/vectors/derp_frames.txt), and a client to feed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_DERP_VECTORS_H
#define ML_TEST_DERP_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "derp/derp_client.h"

static const char derp_response[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\nDerp-Version: 2\r\n\r\n";

/* Appends the bytes called "KIND NAME" to dst; returns how many. */
static inline size_t derp_vector(const char *kind_and_name, uint8_t *dst)
{
    static char line[4096];
    size_t n = 0;
    size_t prefix = strlen(kind_and_name);
    FILE *f = fopen(ML_VECTORS_DIR "/derp_frames.txt", "r");
    assert_non_null(f);
    while (n == 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, kind_and_name, prefix) == 0 && line[prefix] == ' ') {
            n = (strlen(line) - prefix - 2) / 2;
            assert_true(ml_hex_parse(line + prefix + 1, 2 * n, dst, n));
        }
    }
    fclose(f);
    assert_true(n > 0);
    return n;
}

static inline void derp_fill(void *ctx, uint8_t *buf, size_t len)
{
    uint8_t *n = ctx;
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)(*n += 37);
    }
}

static uint8_t derp_rng_state;
static const ml_random derp_rng = {derp_fill, &derp_rng_state};
static ml_private_key derp_priv;
static ml_node_key derp_pub;
static const struct ml_derp_self derp_self = {&derp_priv, &derp_pub, &derp_rng, NULL};

static inline int derp_start(void **state)
{
    (void)state;
    memset(derp_priv.b, 0x11, 32);
    derp_priv.b[0] &= 248;
    derp_priv.b[31] = (uint8_t)((derp_priv.b[31] & 127) | 64);
    if (!ml_crypto_init()) {
        return -1;
    }
    ml_x25519_base(derp_pub.b, &derp_priv);
    return 0;
}

#endif
