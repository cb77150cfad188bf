/*
 * WireGuard messages as bytes; see wg_msg.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_msg.h"

enum ml_wg_msg_type ml_wg_msg_classify(const uint8_t *buf, size_t len)
{
    if (len < ML_WG_KEEPALIVE_LEN) {
        return ML_WG_MSG_NONE;
    }
    /* The three reserved bytes are part of the type word: a set bit in them makes it an unknown type. */
    switch (ml_get_le32(buf)) {
    case ML_WG_MSG_INITIATION:
        return len == ML_WG_INITIATION_LEN ? ML_WG_MSG_INITIATION : ML_WG_MSG_NONE;
    case ML_WG_MSG_RESPONSE:
        return len == ML_WG_RESPONSE_LEN ? ML_WG_MSG_RESPONSE : ML_WG_MSG_NONE;
    case ML_WG_MSG_COOKIE:
        return len == ML_WG_COOKIE_LEN ? ML_WG_MSG_COOKIE : ML_WG_MSG_NONE;
    case ML_WG_MSG_DATA:
        return ML_WG_MSG_DATA;
    default:
        return ML_WG_MSG_NONE;
    }
}

void ml_wg_msg_write_data_header(uint8_t *dst, uint32_t receiver, uint64_t counter)
{
    ml_put_le32(dst, ML_WG_MSG_DATA);
    ml_put_le32(dst + ML_WG_DATA_OFF_RECEIVER, receiver);
    ml_put_le64(dst + ML_WG_DATA_OFF_COUNTER, counter);
}

size_t ml_wg_padded_len(size_t len, size_t mtu)
{
    size_t padded = (len + 15) & ~(size_t)15;

    return padded > mtu ? mtu : padded;
}

size_t ml_wg_inner_len(const uint8_t *plain, size_t len)
{
    size_t inner = 0;

    if (len >= 20 && plain[0] >> 4 == 4) {
        inner = ml_get_be16(plain + 2);
        if (inner < 20) {
            return 0;
        }
    } else if (len >= 40 && plain[0] >> 4 == 6) {
        inner = (size_t)ml_get_be16(plain + 4) + 40;
    }
    return inner <= len ? inner : 0;
}
