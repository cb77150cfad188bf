/*
 * Error codes of the engine. They tell a caller's mistake or one of our limits; garbage from the network is never an
 * error, it is dropped and counted (stats.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_ERROR_H
#define MICROLINK_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ml_err {
    ML_OK = 0,
    ML_ERR_ARG = -1,         /**< NULL, out of range, or a length that cannot be: nothing was changed. */
    ML_ERR_FULL = -2,        /**< No room now: drain the outputs and offer it again, or drop it. */
    ML_ERR_NO_MEM = -3,      /**< The memory given is smaller than ml_mem_needed() says. */
    ML_ERR_STATE = -4,       /**< Not possible in the present state (not connected, already running, ...). */
    ML_ERR_NOT_FOUND = -5,   /**< No such peer, stream, region or request. */
    ML_ERR_CORRUPT = -6,     /**< Stored state that is torn, foreign or of a later version. */
    ML_ERR_UNSUPPORTED = -7, /**< Understood, but not built in. */
    ML_ERR_NO_PATH = -8,     /**< The peer is known but there is no way to it at present. */
} ml_err;

/** @brief One short sentence for an error code; never NULL. Static storage. */
const char *ml_strerror(ml_err err);

#ifdef __cplusplus
}
#endif

#endif
