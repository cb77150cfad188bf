/*
 * Log hook: the engine formats a line into a small stack buffer and gives it to the port. Never a secret in it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BASE_LOG_H
#define ML_BASE_LOG_H

#include "base/bytes.h"
#include "microlink/engine.h"

struct ml_log {
    ml_log_fn fn; /**< NULL: no logging. */
    void *ctx;
    ml_log_level level; /**< Lines above this level are not formatted. */
};

static inline bool ml_log_on(const struct ml_log *l, ml_log_level level)
{
    return l && l->fn && level <= l->level;
}
/** Emits one finished line (no newline at its end). */
void ml_log_text(const struct ml_log *l, ml_log_level level, const char *text);

#endif
