/*
 * Counts curve operations: the tests that include this are linked with --wrap for the three functions that do one
 * (cmake/microlink.cmake). Exactly one source of a program includes it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_CURVE_COUNT_H
#define ML_TEST_CURVE_COUNT_H

#include "crypto/crypto_backend.h"

void __real_ml_x25519_base(uint8_t pub[32], const ml_private_key *priv);
bool __real_ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32]);
bool __real_ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv);
void __wrap_ml_x25519_base(uint8_t pub[32], const ml_private_key *priv);
bool __wrap_ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32]);
bool __wrap_ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv);

static unsigned curve_in_call; /* since the test set it to 0 */
static unsigned curve_most;    /* the highest value it had at the end of a call */
static unsigned curve_total;

void __wrap_ml_x25519_base(uint8_t pub[32], const ml_private_key *priv)
{
    curve_in_call++;
    __real_ml_x25519_base(pub, priv);
}

bool __wrap_ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32])
{
    curve_in_call++;
    return __real_ml_x25519(out, priv, pub);
}

bool __wrap_ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv)
{
    curve_in_call++;
    return __real_ml_box_beforenm(shared, pub, priv);
}

static inline void curve_call_ends(void)
{
    curve_most = curve_in_call > curve_most ? curve_in_call : curve_most;
    curve_total += curve_in_call;
}

#endif
