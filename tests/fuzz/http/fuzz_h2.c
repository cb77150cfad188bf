/*
 * The HTTP/2 connection fed with anything: windows stay in range, output stays whole, no event for an unknown stream.
 * The input is what the server sends, in pieces whose sizes come from it; requests are started and cancelled on the way.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/h2_conn.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t body[3000];
    struct ml_h2 c;
    uint8_t tx[ML_H2_TX_MIN];
    const struct ml_h2_request req = {.method = "POST", .authority = "a", .path = "/p", .body = body, .body_len = sizeof body};
    ml_h2_init(&c, len > 0 ? data[0] * 64u : 0);
    ml_h2_request(&c, &req);
    for (size_t at = 1; at < len;) {
        size_t n = 1 + data[at] % 64u, used;
        n = n < len - at ? n : len - at;
        struct ml_h2_event ev;
        ml_h2_feed(&c, data + at, n, &used, &ev);
        if (used > n || (ev.type == ML_H2_EV_NONE && used != n)) {
            abort();
        }
        if (ev.type == ML_H2_EV_DATA && (ev.data < data + at || ev.data + ev.data_len > data + at + used)) {
            abort();
        }
        if (ev.type == ML_H2_EV_DATA && ev.data_len % 2 == 0) {
            ml_h2_consumed(&c, ev.stream, ev.data_len);
        } else if (ev.type == ML_H2_EV_HEADERS && ev.status % 4 == 0) {
            ml_h2_cancel(&c, ev.stream);
        } else if (ev.type == ML_H2_EV_FATAL) {
            break;
        } else if (ev.type == ML_H2_EV_END || ev.type == ML_H2_EV_RESET) {
            ml_h2_request(&c, &req);
        }
        at += used;
        if (ev.type == ML_H2_EV_BLOCKED || n % 3 == 0) {
            if (ml_h2_poll_tx(&c, tx, sizeof tx) > sizeof tx) {
                abort();
            }
        }
        if (c.recv_window < 0 || c.recv_window > ML_H2_DEFAULT_WINDOW) {
            abort();
        }
    }
    return 0;
}
