/*
 * How many curve operations the present call may still do. One X25519 is what may block a small chip for longest, so whoever
 * needs one asks first, keeps what it has when refused, and goes on in a later call.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CRYPTO_CURVE_BUDGET_H
#define ML_CRYPTO_CURVE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct ml_curve_budget {
    uint8_t left;
    bool is_short; /**< Somebody was refused: there is work to go on with. */
};

/** What a function that works step by step says. */
enum ml_curve_step {
    ML_CURVE_DONE,
    ML_CURVE_LATER, /**< No operation left: call again. */
    ML_CURVE_BAD    /**< A low-order point, or a message that does not authenticate. */
};

/** May one operation be done now? @p b NULL: always. */
static inline bool ml_curve_take(struct ml_curve_budget *b)
{
    if (!b) {
        return true;
    }
    if (b->left == 0) {
        b->is_short = true;
        return false;
    }
    b->left--;
    return true;
}

#endif
