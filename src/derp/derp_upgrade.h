/*
 * The HTTP/1.1 exchange in front of DERP frames: the request text, and a scanner that finds the end of the response.
 *
 * Source: dataplane.md 7.1 (derp/derphttp). The scanner keeps no text: it reads the status, skips every header and stops
 * behind the blank line, so the frames that follow in the same segment are untouched.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DERP_DERP_UPGRADE_H
#define ML_DERP_DERP_UPGRADE_H

#include "base/bytes.h"

#define ML_DERP_RESPONSE_MAX 8192 /**< Longest response header; beyond it the connection fails. */

enum ml_derp_upgrade_result {
    ML_DERP_UPGRADE_MORE,
    ML_DERP_UPGRADE_DONE,    /**< 101. */
    ML_DERP_UPGRADE_REFUSED, /**< Another status, in `status`. */
    ML_DERP_UPGRADE_BAD      /**< Not HTTP, or too long. */
};

struct ml_derp_upgrade {
    uint16_t total;   /* bytes taken */
    uint16_t status;  /**< Valid from the end of the status line on. */
    uint8_t col;      /* column in the status line, up to its end */
    uint8_t newlines; /* line ends in a row */
    bool is_status_done;
};

/**
 * @brief Write the request.
 * @param host        Host header: name, with ":port" when not the default.
 * @param ideal_node  Name of the region's first node when we connect to another one; else NULL.
 * @param fast_start  Ask the server to omit its response.
 */
void ml_derp_write_request(struct ml_writer *w, const char *host, const char *ideal_node, bool fast_start);

/** @brief Take response bytes, none beyond the blank line. Start with an all-zero struct. */
enum ml_derp_upgrade_result ml_derp_upgrade_feed(struct ml_derp_upgrade *u, const uint8_t *buf, size_t len, size_t *used);

#endif
