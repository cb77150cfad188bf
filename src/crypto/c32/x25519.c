/*
 * The Montgomery ladder on curve25519. See x25519.h.
 *
 * Before each step (x2 : z2) is the multiple of the point by the bits so far, (x3 : z3) the next one. A step adds the two and
 * doubles one of them. The sum is the same whichever is doubled (its z changes sign and is squared), so the bit only selects
 * what is doubled, which is cheaper than exchanging the points. Clamping makes the last three bits zero: only doublings.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/c32/x25519.h"

#include "crypto/c32/field25519.h"
#include "crypto/crypto_backend.h"

#include <string.h>

/* x and z in; their sum and difference out. Small in, wide out. */
static void sum_and_difference(ml_fe *x, ml_fe *z)
{
    for (int i = 0; i < 10; i++) {
        int32_t a = x->v[i];
        int32_t b = z->v[i];
        x->v[i] = a + b;
        z->v[i] = a - b;
    }
}

/* Of a point whose sum x + z and difference x - z are given, the double. */
static void twice(ml_fe *x, ml_fe *z)
{
    ml_fe e;
    ml_fe_sq(x, x, 1);
    ml_fe_sq(z, z, 1);
    for (int i = 0; i < 10; i++) {
        e.v[i] = x->v[i] - z->v[i];
    }
    ml_fe s;
    ml_fe_add_scaled(&s, x, &e, 121665);
    ml_fe_mul(x, x, z);
    ml_fe_mul(z, &e, &s);
}

static const ml_fe nothing;

void ml_x25519_ladder(uint8_t out[32], const uint8_t scalar[32], const uint8_t u[32])
{
    struct {
        ml_fe x1, x2, z2, x3, z3, a, b;
        uint8_t k[32];
    } s;
    memset(&s, 0, sizeof s);
    memcpy(s.k, scalar, sizeof s.k);
    s.k[0] &= 248;
    s.k[31] = (uint8_t)((s.k[31] & 127) | 64);
    if (u != NULL) {
        ml_fe_from_bytes(&s.x1, u);
    } else {
        s.x1.v[0] = 9;
    }
    s.x2.v[0] = 1;
    s.x3 = s.x1;
    s.z3.v[0] = 1;
    /* A step leaves the doubled point in 2 and the sum in 3. If the bit before and this one differ, the point to be doubled
     * is 3, else 2: after a bit of 1 the roles of the two are exchanged. */
    uint32_t before = 0;
    for (int t = 254; t >= 3; t--) {
        uint32_t bit = s.k[t / 8] >> (t % 8) & 1;
        uint32_t take3 = 0 - (bit ^ before);
        before = bit;
        __asm__("" : "+r"(take3)); /* or a compiler might branch on it */
        for (int i = 0; i < 10; i++) {
            int32_t x2 = s.x2.v[i];
            int32_t z2 = s.z2.v[i];
            int32_t x3 = s.x3.v[i];
            int32_t z3 = s.z3.v[i];
            int32_t a = x2 + z2;
            int32_t b = x2 - z2;
            int32_t c = x3 + z3;
            int32_t d = x3 - z3;
            s.a.v[i] = a;
            s.b.v[i] = b;
            s.x3.v[i] = c;
            s.z3.v[i] = d;
            s.x2.v[i] = a ^ ((a ^ c) & (int32_t)take3);
            s.z2.v[i] = b ^ ((b ^ d) & (int32_t)take3);
        }
        ml_fe_mul(&s.x3, &s.x3, &s.b);
        ml_fe_mul(&s.z3, &s.z3, &s.a);
        sum_and_difference(&s.x3, &s.z3);
        ml_fe_sq(&s.x3, &s.x3, 1);
        ml_fe_sq(&s.z3, &s.z3, 1);
        if (u != NULL) {
            ml_fe_mul(&s.z3, &s.z3, &s.x1);
        } else {
            ml_fe_add_scaled(&s.z3, &nothing, &s.z3, 9);
        }
        twice(&s.x2, &s.z2);
    }
    /* Bit 3 decides once more which of the two is the multiple. */
    uint32_t take3 = 0 - before;
    __asm__("" : "+r"(take3));
    for (int i = 0; i < 10; i++) {
        s.x2.v[i] ^= (s.x2.v[i] ^ s.x3.v[i]) & (int32_t)take3;
        s.z2.v[i] ^= (s.z2.v[i] ^ s.z3.v[i]) & (int32_t)take3;
    }
    for (int t = 0; t < 3; t++) {
        sum_and_difference(&s.x2, &s.z2);
        twice(&s.x2, &s.z2);
    }
    ml_fe_invert(&s.a, &s.z2);
    ml_fe_mul(&s.x2, &s.x2, &s.a);
    ml_fe_to_bytes(out, &s.x2);
    ml_wipe(&s, sizeof s);
}
