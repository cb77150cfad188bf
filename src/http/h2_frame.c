/*
 * HTTP/2 frame headers. See h2_frame.h. SPDX-License-Identifier: MIT
 */
#include "http/h2_frame.h"

void ml_h2_frame_parse(struct ml_h2_frame *f, const uint8_t raw[ML_H2_FRAME_HEADER])
{
    f->len = (uint32_t)raw[0] << 16 | ml_get_be16(raw + 1);
    f->type = raw[3];
    f->flags = raw[4];
    f->stream = ml_get_be32(raw + 5) & 0x7fffffff;
}

void ml_h2_frame_write(struct ml_writer *w, const struct ml_h2_frame *f)
{
    ml_write_u8(w, (uint8_t)(f->len >> 16));
    ml_write_be16(w, (uint16_t)f->len);
    ml_write_u8(w, f->type);
    ml_write_u8(w, f->flags);
    ml_write_be32(w, f->stream);
}

enum ml_h2_code ml_h2_frame_check(const struct ml_h2_frame *f)
{
    if (f->len > ML_H2_FRAME_MAX) {
        return ML_H2_FRAME_SIZE_ERROR;
    }
    switch (f->type) {
    case ML_H2_DATA:
    case ML_H2_HEADERS:
    case ML_H2_PUSH_PROMISE:
    case ML_H2_CONTINUATION:
        return f->stream == 0 ? ML_H2_PROTOCOL_ERROR : ML_H2_NO_ERROR;
    case ML_H2_PRIORITY:
        return f->stream == 0 ? ML_H2_PROTOCOL_ERROR : f->len != 5 ? ML_H2_FRAME_SIZE_ERROR : ML_H2_NO_ERROR;
    case ML_H2_RST_STREAM:
        return f->stream == 0 ? ML_H2_PROTOCOL_ERROR : f->len != 4 ? ML_H2_FRAME_SIZE_ERROR : ML_H2_NO_ERROR;
    case ML_H2_SETTINGS:
        if (f->stream != 0) {
            return ML_H2_PROTOCOL_ERROR;
        }
        return f->len % 6 != 0 || ((f->flags & ML_H2_FLAG_ACK) && f->len != 0) ? ML_H2_FRAME_SIZE_ERROR : ML_H2_NO_ERROR;
    case ML_H2_PING:
        return f->stream != 0 ? ML_H2_PROTOCOL_ERROR : f->len != 8 ? ML_H2_FRAME_SIZE_ERROR : ML_H2_NO_ERROR;
    case ML_H2_GOAWAY:
        return f->stream != 0 ? ML_H2_PROTOCOL_ERROR : f->len < 8 ? ML_H2_FRAME_SIZE_ERROR : ML_H2_NO_ERROR;
    case ML_H2_WINDOW_UPDATE:
        return f->len != 4 ? ML_H2_FRAME_SIZE_ERROR : ML_H2_NO_ERROR;
    default:
        return ML_H2_NO_ERROR;
    }
}
