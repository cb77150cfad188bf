/*
 * Sentences for error codes and drop reasons (error.h, stats.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "microlink/error.h"
#include "microlink/stats.h"

const char *ml_strerror(ml_err err)
{
    switch (err) {
    case ML_OK:
        return "done";
    case ML_ERR_ARG:
        return "an argument is missing or out of range";
    case ML_ERR_FULL:
        return "no room now, drain the outputs and try again";
    case ML_ERR_NO_MEM:
        return "the memory given is too small for this configuration";
    case ML_ERR_STATE:
        return "not possible in the present state";
    case ML_ERR_NOT_FOUND:
        return "no such peer, stream, region or request";
    case ML_ERR_CORRUPT:
        return "the stored state is damaged or from another version";
    case ML_ERR_UNSUPPORTED:
        return "not built into this engine";
    case ML_ERR_NO_PATH:
        return "there is no way to this peer at present";
    }
    return "unknown error";
}

const char *ml_drop_text(ml_drop reason)
{
    switch (reason) {
#define ML_DROP_CASE(name, text)                                                                                               \
    case ML_DROP_##name:                                                                                                       \
        return text;
        ML_DROP_LIST(ML_DROP_CASE)
#undef ML_DROP_CASE
    case ML_DROP_COUNT:
        break;
    }
    return "unknown reason";
}
