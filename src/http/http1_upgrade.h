/*
 * Small HTTP/1.1 client exchanges: requests without a body, the ts2021 upgrade, and a resumable response reader.
 *
 * The reader takes bytes in pieces of any size and keeps only the few header fields named below; all others are passed over
 * in constant memory. Bytes that follow the head of a 101 answer are never touched: they belong to the protocol switched to.
 * RFC 9112; control.md 2, 3.2, C10. It follows no redirect and opens no connection.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_HTTP_HTTP1_UPGRADE_H
#define ML_HTTP_HTTP1_UPGRADE_H

#include "base/bytes.h"

#define ML_HTTP1_HEAD_MAX  65536 /**< Status line and header fields (interim answers and trailers too) together. */
#define ML_HTTP1_VALUE_CAP 33    /**< Longest field value kept, with its zero; longer ones count as absent. */

/** The Upgrade token of ts2021. */
#define ML_HTTP1_TS2021_TOKEN "tailscale-control-protocol"

/** `<method> <path> HTTP/1.1` with Host and Connection: close. @p host is host or host:port as it belongs into the URL. */
void ml_http1_write_request(struct ml_writer *w, const char *method, const char *host, const char *path);
/** The upgrade request of control.md 3.2. @p initiation goes in as base64 (101 bytes make 136 characters). */
void ml_http1_write_upgrade(struct ml_writer *w, const char *host, const uint8_t *initiation, size_t initiation_len);

enum ml_http1_event {
    ML_HTTP1_NEED_MORE, /**< All input is used. */
    ML_HTTP1_HEAD,      /**< Header fields are complete. */
    ML_HTTP1_DATA,      /**< A piece of the body. */
    ML_HTTP1_END,       /**< The answer is complete; what follows in the buffer is not part of it. Repeats. */
    ML_HTTP1_ERROR      /**< Not HTTP/1.1, or over a limit. Final. */
};

/** Read-only for callers up to the line; valid from HEAD on. */
struct ml_http1 {
    uint16_t status;
    bool has_length; /**< content_length was given and counts. */
    bool is_chunked; /**< Transfer-Encoding: chunked. */
    uint64_t content_length;
    char upgrade[ML_HTTP1_VALUE_CAP]; /**< Field values, zero-terminated; "" when absent or too long. */
    char retry_after[ML_HTTP1_VALUE_CAP];
    char date[ML_HTTP1_VALUE_CAP];
    /* ---- private to http1_upgrade.c ---- */
    bool no_body; /* answer to HEAD */
    bool over;    /* some value did not fit */
    uint8_t state, field, pos;
    uint32_t head_len;
    uint64_t left; /* of the body or chunk */
    char text[ML_HTTP1_VALUE_CAP];
};

/** @param is_head  The request was HEAD: the answer has no body whatever its fields say. */
void ml_http1_init(struct ml_http1 *h, bool is_head);
/**
 * @brief Read on until the next event or the end of @p buf.
 * @param used   How much of @p buf was read.
 * @param piece  With DATA: the bytes, inside @p buf, @p piece_len of them. Both are set in every case.
 */
enum ml_http1_event ml_http1_next(struct ml_http1 *h, const uint8_t *buf, size_t len, size_t *used, const uint8_t **piece,
                                  size_t *piece_len);
/** The connection ended: END when the answer is complete by that, else ERROR. */
enum ml_http1_event ml_http1_finish(struct ml_http1 *h);
/** After HEAD: status 101 and exactly this Upgrade value. */
bool ml_http1_is_upgraded(const struct ml_http1 *h, const char *token);

#endif
