/*
 * HTTP/1.1 upgrade of a DERP connection. See derp_upgrade.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "derp/derp_upgrade.h"

void ml_derp_write_request(struct ml_writer *w, const char *host, const char *ideal_node, bool fast_start)
{
    ml_write_str(w, "GET /derp HTTP/1.1\r\nHost: ");
    ml_write_str(w, host);
    ml_write_str(w, "\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n");
    if (ideal_node && ideal_node[0]) {
        ml_write_str(w, "Ideal-Node: ");
        ml_write_str(w, ideal_node);
        ml_write_str(w, "\r\n");
    }
    ml_write_str(w, fast_start ? "Derp-Fast-Start: 1\r\n\r\n" : "\r\n");
}

/* One byte of "HTTP/1.x NNN"; false when it cannot be that. */
static bool status_byte(struct ml_derp_upgrade *u, uint8_t b)
{
    static const char pattern[] = "HTTP/1.? ###";
    char want = pattern[u->col++];
    bool is_digit = b >= '0' && b <= '9';
    if (want == '#') {
        u->status = (uint16_t)(u->status * 10 + (b - '0'));
    }
    return want == '#' || want == '?' ? is_digit : b == (uint8_t)want;
}

enum ml_derp_upgrade_result ml_derp_upgrade_feed(struct ml_derp_upgrade *u, const uint8_t *buf, size_t len, size_t *used)
{
    size_t pos = 0;
    enum ml_derp_upgrade_result result = ML_DERP_UPGRADE_MORE;
    while (pos < len && result == ML_DERP_UPGRADE_MORE) {
        uint8_t b = buf[pos++];
        if (++u->total > ML_DERP_RESPONSE_MAX) {
            result = ML_DERP_UPGRADE_BAD;
        } else if (!u->is_status_done) {
            if (u->col < 12) {
                result = status_byte(u, b) ? ML_DERP_UPGRADE_MORE : ML_DERP_UPGRADE_BAD;
            } else if (b == '\n') {
                u->is_status_done = true;
                u->newlines = 1;
            } else if (u->col == 12 && b != ' ' && b != '\r') {
                result = ML_DERP_UPGRADE_BAD; /* a fourth digit */
            } else {
                u->col = 13;
            }
        } else if (b == '\n') {
            if (++u->newlines == 2) {
                result = u->status == 101 ? ML_DERP_UPGRADE_DONE : ML_DERP_UPGRADE_REFUSED;
            }
        } else if (b != '\r') {
            u->newlines = 0;
        }
    }
    *used = pos;
    return result;
}
