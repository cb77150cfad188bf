/*
 * Counts the engine's X25519 operations, so that the longest step of the loop can be told with and without them: the linker
 * leads the three functions that do one here (--wrap in CMakeLists.txt).
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare_port.h"
#include "crypto/crypto_backend.h"

/* Names that the linker gives. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void __real_ml_x25519_base(uint8_t pub[32], const ml_private_key *priv);
bool __real_ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32]);
bool __real_ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv);
void __wrap_ml_x25519_base(uint8_t pub[32], const ml_private_key *priv);
bool __wrap_ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32]);
bool __wrap_ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv);

static uint32_t count;

void __wrap_ml_x25519_base(uint8_t pub[32], const ml_private_key *priv)
{
    count++;
    __real_ml_x25519_base(pub, priv);
}

bool __wrap_ml_x25519(uint8_t out[32], const ml_private_key *priv, const uint8_t pub[32])
{
    count++;
    return __real_ml_x25519(out, priv, pub);
}

bool __wrap_ml_box_beforenm(uint8_t shared[32], const uint8_t pub[32], const ml_private_key *priv)
{
    count++;
    return __real_ml_box_beforenm(shared, pub, priv);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

uint32_t ml_bare_x25519_count(void)
{
    return count;
}
