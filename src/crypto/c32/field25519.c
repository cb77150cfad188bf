/*
 * Arithmetic modulo 2^255 - 19 on ten limbs. See field25519.h.
 *
 * A column of a product is the sum of ten products of limbs, up to 2^59, and RISC-V has no carry flag: adding to a 64-bit sum
 * costs four instructions besides the two that multiply. Here a column is kept in two words that never carry into each other:
 *
 *   lo = sum of a b  modulo 2^32              mul, add
 *   hi = sum of floor(a b / 2^28)             mulh of (a 2^4) and b, add
 *
 * Rounding down ten times, and once for what the column before hands on, loses less than 11 * 2^28 + 2^7. So the column is
 * exactly 2^28 hi + e, where e = lo - 2^28 hi modulo 2^32 lies between 0 and 2^32: four instructions a product. hi stays below
 * 2^31, since for wide limbs the largest column, the lowest, is at most 2^52 (1 + 19 * 6.5) < 2^58.97.
 *
 * The words of all ten columns do not fit into the registers together with a factor, so the lo words are made first, then the
 * hi words, each row by row. Left alone, compilers undo that order and then load one operand of almost every product again;
 * HOLD stops them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/c32/field25519.h"

#include "base/bytes.h"
#include "crypto/crypto_backend.h"

/* Bits of a limb. */
#define BITS(i) (26 - (int)((i)&1))
/* 1 where a product of two limbs weighs twice what its column does: both odd. */
#define TWICE(i, j) ((i) & (j)&1)

/* Makes the compiler have all ten values at this point, each in a place of its own. Emits nothing. */
#define HOLD(x)                                                                                                                \
    __asm__(""                                                                                                                 \
            : "+r"((x)[0]), "+r"((x)[1]), "+r"((x)[2]), "+r"((x)[3]), "+r"((x)[4]), "+r"((x)[5]), "+r"((x)[6]), "+r"((x)[7]),  \
              "+r"((x)[8]), "+r"((x)[9]))

/* Ten words; by name so that no compiler makes a call of it. */
#define COPY(to, from)                                                                                                         \
    do {                                                                                                                       \
        (to)[0] = (from)[0];                                                                                                   \
        (to)[1] = (from)[1];                                                                                                   \
        (to)[2] = (from)[2];                                                                                                   \
        (to)[3] = (from)[3];                                                                                                   \
        (to)[4] = (from)[4];                                                                                                   \
        (to)[5] = (from)[5];                                                                                                   \
        (to)[6] = (from)[6];                                                                                                   \
        (to)[7] = (from)[7];                                                                                                   \
        (to)[8] = (from)[8];                                                                                                   \
        (to)[9] = (from)[9];                                                                                                   \
    } while (0)

static inline uint32_t mul_low(int32_t a, int32_t b)
{
    return (uint32_t)a * (uint32_t)b;
}

static inline int32_t mul_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

static inline int32_t shift_left(int32_t a, int n)
{
    return (int32_t)((uint32_t)a << n);
}

/* The low bits of v, taken as a signed number. */
static inline int32_t low_signed(uint32_t v, int bits)
{
    return (int32_t)(v << (32 - bits)) >> (32 - bits);
}

/* 19, but unknown to the compiler, which would make shifts and additions of the multiplication. */
static inline int32_t nineteen(void)
{
    int32_t n = 19;
    __asm__("" : "+r"(n));
    return n;
}

/* From columns to limbs: each gives its low bits, centered, and hands the rest on, again as two words. */
static inline __attribute__((always_inline)) void carry(ml_fe *out, const uint32_t *lo_of, const int32_t *hi_of)
{
    int32_t r[10];
    uint32_t lo = 0;
    int32_t hi = 0;
    int32_t top = 0;
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) {
        lo += lo_of[k];
        hi += hi_of[k];
        uint32_t e = lo - ((uint32_t)hi << 28);
        r[k] = low_signed(e, BITS(k));
        lo = ((uint32_t)hi << (28 - BITS(k))) + ((e - (uint32_t)r[k]) >> BITS(k));
        top = hi;
        hi >>= BITS(k);
    }
    /* What is left weighs 2^255, which is 19: it is 8 top + a few bits, and goes to limb 0, and from there to limb 1. */
    uint32_t low = (uint32_t)r[0] + 19 * lo;
    int32_t q = mul_high(top, 19 * 8 << 6); /* rounded down, so low - 2^26 q is small and positive */
    int32_t e = (int32_t)(low - ((uint32_t)q << 26));
    r[0] = low_signed((uint32_t)e, 26);
    r[1] += q + ((e - r[0]) >> 26);
    COPY(out->v, r);
}

void ml_fe_mul(ml_fe *out, const ml_fe *a, const ml_fe *b)
{
    uint32_t low[10];
    uint32_t lo[10] = {0};
    int32_t hi[10] = {0};
    int32_t y[10];
    int32_t n = nineteen();
    COPY(y, b->v);
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        int32_t x = a->v[i];
        if (i > 0) {
            y[10 - i] *= n; /* from this row on its products weigh 2^255 and more */
        }
#pragma GCC unroll 10
        for (int j = 0; j < 10; j++) {
            lo[(i + j) % 10] += mul_low(shift_left(x, TWICE(i, j)), y[j]);
        }
        HOLD(lo);
    }
    COPY(low, lo);
    __asm__ volatile("" ::: "memory");
    COPY(y, b->v);
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        int32_t x = shift_left(a->v[i], 4);
        if (i > 0) {
            y[10 - i] *= n;
        }
#pragma GCC unroll 10
        for (int j = 0; j < 10; j++) {
            hi[(i + j) % 10] += mul_high(shift_left(x, TWICE(i, j)), y[j]);
        }
        HOLD(hi);
    }
    carry(out, low, hi);
}

void ml_fe_sq(ml_fe *out, const ml_fe *a, unsigned times)
{
    int32_t n = nineteen();
    do {
        uint32_t lo[10] = {0};
        int32_t hi[10] = {0};
        int32_t x[10];
        int32_t y[10];
        COPY(x, a->v);
#pragma GCC unroll 10
        for (int i = 5; i < 10; i++) {
            y[i] = n * x[i];
        }
        /* Five and a half products a column: few enough that going by column is best. */
#pragma GCC unroll 10
        for (int k = 0; k < 10; k++) {
#pragma GCC unroll 10
            for (int i = 0; i < 10; i++) {
                int j = (k + 10 - i) % 10;
                if (i < j) {
                    lo[k] += mul_low(shift_left(x[i], TWICE(i, j)), i + j >= 10 ? y[j] : x[j]);
                    hi[k] += mul_high(shift_left(x[i], 4 + TWICE(i, j)), i + j >= 10 ? y[j] : x[j]);
                }
            }
            /* Doubling doubles the error of rounding as well, so the sum of ten errors is what it is in a multiplication. */
            lo[k] *= 2;
            hi[k] *= 2;
#pragma GCC unroll 10
            for (int i = 0; i < 10; i++) {
                if (2 * i % 10 == k) {
                    lo[k] += mul_low(shift_left(x[i], TWICE(i, i)), i >= 5 ? y[i] : x[i]);
                    hi[k] += mul_high(shift_left(x[i], 4 + TWICE(i, i)), i >= 5 ? y[i] : x[i]);
                }
            }
        }
        carry(out, lo, hi);
        a = out;
    } while (--times > 0);
}

void ml_fe_add_scaled(ml_fe *out, const ml_fe *a, const ml_fe *b, int32_t factor)
{
    int32_t from_below = 0;
    int32_t r0 = 0;
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        uint32_t lo = mul_low(b->v[i], factor);
        int32_t limb = low_signed(lo, BITS(i));
        int32_t r = a->v[i] + limb + from_below;
        /* what is above the limb, rounded to nearest as the limb is */
        from_below = mul_high(b->v[i], shift_left(factor, 32 - BITS(i))) + (limb < 0);
        if (i == 0) {
            r0 = r;
        } else {
            out->v[i] = r;
        }
    }
    out->v[0] = r0 + 19 * from_below;
}

void ml_fe_from_bytes(ml_fe *out, const uint8_t in[32])
{
    /* Bit at which each limb begins. */
    static const uint8_t at[10] = {0, 26, 51, 77, 102, 128, 153, 179, 204, 230};
    int32_t from_below = 0;
    for (int i = 0; i < 10; i++) {
        /* A limb and its shift need 33 bits at most, and limb 9 ends where the bytes do. */
        uint32_t v = ml_get_le32(in + at[i] / 8) >> at[i] % 8;
        if (at[i] % 8 + BITS(i) > 32) {
            v |= (uint32_t)in[at[i] / 8 + 4] << (32 - at[i] % 8);
        }
        int32_t limb = (int32_t)(v & ((1U << BITS(i)) - 1)) + from_below;
        out->v[i] = low_signed((uint32_t)limb, BITS(i));
        from_below = (limb - out->v[i]) >> BITS(i);
    }
    out->v[0] += 19 * from_below;
}

void ml_fe_to_bytes(uint8_t out[32], const ml_fe *in)
{
    int32_t r[10];
    COPY(r, in->v);
    /* in / 2^255 rounded down, and one more where in is p or above: then 19 more overflow. Twice the limbs' own carries and
     * adding 19 times that gives limbs within [0, 2^bits) and drops what weighs 2^255. */
    int32_t q = (19 * r[9] + (1 << 24)) >> 25;
    for (int i = 0; i < 10; i++) {
        q = (r[i] + q) >> BITS(i);
    }
    r[0] += 19 * q;
    for (int i = 0; i < 10; i++) {
        int32_t c = r[i] >> BITS(i);
        r[i] -= shift_left(c, BITS(i));
        if (i < 9) {
            r[i + 1] += c;
        }
    }
    uint32_t acc = 0;
    int have = 0;
    unsigned n = 0;
    for (int i = 0; i < 10; i++) {
        /* limbs are written byte by byte; what is left over has less than 8 bits, so it and a limb need 33 at most */
        uint32_t limb = (uint32_t)r[i];
        uint32_t above = have > 6 ? limb >> (32 - have) : 0;
        acc |= limb << have;
        have += BITS(i);
        while (have >= 8) {
            out[n++] = (uint8_t)acc;
            acc = acc >> 8 | above << 24;
            above >>= 8;
            have -= 8;
        }
    }
    out[n] = (uint8_t)acc;
    ml_wipe(r, sizeof r);
}

void ml_fe_invert(ml_fe *out, const ml_fe *a)
{
    /* a^(2^255 - 21). Of each step the exponent: 2^n - 1 is written 1n. */
    ml_fe t0;
    ml_fe t1;
    ml_fe t2;
    ml_fe_sq(&t0, a, 1);      /* 2 */
    ml_fe_sq(&t1, &t0, 2);    /* 8 */
    ml_fe_mul(&t1, &t1, a);   /* 9 */
    ml_fe_mul(&t0, &t0, &t1); /* 11 */
    ml_fe_sq(&t2, &t0, 1);    /* 22 */
    ml_fe_mul(&t1, &t1, &t2); /* 31 = 1:5 */
    ml_fe_sq(&t2, &t1, 5);
    ml_fe_mul(&t1, &t2, &t1); /* 1:10 */
    ml_fe_sq(&t2, &t1, 10);
    ml_fe_mul(&t2, &t2, &t1); /* 1:20 */
    ml_fe_sq(out, &t2, 20);
    ml_fe_mul(&t2, out, &t2); /* 1:40 */
    ml_fe_sq(&t2, &t2, 10);
    ml_fe_mul(&t1, &t2, &t1); /* 1:50 */
    ml_fe_sq(&t2, &t1, 50);
    ml_fe_mul(&t2, &t2, &t1); /* 1:100 */
    ml_fe_sq(out, &t2, 100);
    ml_fe_mul(&t2, out, &t2); /* 1:200 */
    ml_fe_sq(&t2, &t2, 50);
    ml_fe_mul(&t1, &t2, &t1); /* 1:250 */
    ml_fe_sq(&t1, &t1, 5);
    ml_fe_mul(out, &t1, &t0); /* 2^255 - 32 + 11 */
    ml_wipe(&t0, sizeof t0);
    ml_wipe(&t1, sizeof t1);
    ml_wipe(&t2, sizeof t2);
}
