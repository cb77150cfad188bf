/*
 * Little-endian words at addresses that are known to be aligned to 4 bytes: one instruction each, where the functions of
 * base/bytes.h must take them byte by byte.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_WORDS_H
#define ML_CRYPTO_WORDS_H

#include "base/bytes.h"

static inline bool ml_words_aligned(const void *p)
{
    return ((uintptr_t)p & 3) == 0;
}

static inline uint32_t ml_word_swap(uint32_t w)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap32(w);
#else
    return w;
#endif
}

static inline uint32_t ml_word_get(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, __builtin_assume_aligned(p, 4), sizeof w);
    return ml_word_swap(w);
}

static inline void ml_word_put(uint8_t *p, uint32_t v)
{
    uint32_t w = ml_word_swap(v);
    memcpy(__builtin_assume_aligned(p, 4), &w, sizeof w);
}

#endif
