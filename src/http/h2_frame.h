/*
 * HTTP/2 frame headers and constants (RFC 9113). Codec only: no state.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_HTTP_H2_FRAME_H
#define ML_HTTP_H2_FRAME_H

#include "base/bytes.h"

#define ML_H2_FRAME_HEADER   9
#define ML_H2_FRAME_MAX      16384 /**< SETTINGS_MAX_FRAME_SIZE we leave at its default, and the smallest a peer may have. */
#define ML_H2_DEFAULT_WINDOW 65535
#define ML_H2_WINDOW_MAX     INT32_C(0x7fffffff)
#define ML_H2_PREFACE        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define ML_H2_PREFACE_LEN    24

enum ml_h2_frame_type {
    ML_H2_DATA = 0,
    ML_H2_HEADERS = 1,
    ML_H2_PRIORITY = 2,
    ML_H2_RST_STREAM = 3,
    ML_H2_SETTINGS = 4,
    ML_H2_PUSH_PROMISE = 5,
    ML_H2_PING = 6,
    ML_H2_GOAWAY = 7,
    ML_H2_WINDOW_UPDATE = 8,
    ML_H2_CONTINUATION = 9
};

enum {
    ML_H2_FLAG_END_STREAM = 0x1,
    ML_H2_FLAG_ACK = 0x1,
    ML_H2_FLAG_END_HEADERS = 0x4,
    ML_H2_FLAG_PADDED = 0x8,
    ML_H2_FLAG_PRIORITY = 0x20
};

enum ml_h2_setting {
    ML_H2_SET_HEADER_TABLE_SIZE = 1,
    ML_H2_SET_ENABLE_PUSH = 2,
    ML_H2_SET_MAX_CONCURRENT_STREAMS = 3,
    ML_H2_SET_INITIAL_WINDOW_SIZE = 4,
    ML_H2_SET_MAX_FRAME_SIZE = 5
};

/** Error codes of RST_STREAM and GOAWAY (RFC 9113, 7). */
enum ml_h2_code {
    ML_H2_NO_ERROR = 0,
    ML_H2_PROTOCOL_ERROR = 1,
    ML_H2_INTERNAL_ERROR = 2,
    ML_H2_FLOW_CONTROL_ERROR = 3,
    ML_H2_STREAM_CLOSED = 5,
    ML_H2_FRAME_SIZE_ERROR = 6,
    ML_H2_REFUSED_STREAM = 7,
    ML_H2_CANCEL = 8,
    ML_H2_COMPRESSION_ERROR = 9,
    ML_H2_ENHANCE_YOUR_CALM = 11
};

struct ml_h2_frame {
    uint32_t len;    /**< Of the payload, 0..2^24-1. */
    uint32_t stream; /**< 31 bits; the reserved one is dropped. */
    uint8_t type;    /**< enum ml_h2_frame_type, or one we do not know. */
    uint8_t flags;
};

void ml_h2_frame_parse(struct ml_h2_frame *f, const uint8_t raw[ML_H2_FRAME_HEADER]);
void ml_h2_frame_write(struct ml_writer *w, const struct ml_h2_frame *f);
/** Is the length possible for this type, and does stream zero or non-zero fit it? NO_ERROR, or the connection error. */
enum ml_h2_code ml_h2_frame_check(const struct ml_h2_frame *f);

#endif
