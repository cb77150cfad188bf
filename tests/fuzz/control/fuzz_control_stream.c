/*
 * The whole client against a server that says anything after the handshake: the input is cut into pieces of HTTP/2 bytes
 * (length byte first), with time passing between them; a piece of length 0 lets the scripted server answer the last request
 * with the rest of the input as its body.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/control_world.h"

#define REGISTERED "{\"User\":{\"ID\":7},\"Login\":{\"LoginName\":\"a@b\"},\"MachineAuthorized\":true}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world w;
    world_init(&w, "http://127.0.0.1:8080", true);
    ml_control_start(&w.c, w.now, NULL);
    world_run(&w);
    if (w.request_count && len > 0 && (data[0] & 1)) {
        world_answer(&w, &w.requests[w.request_count - 1], 200, REGISTERED);
        world_run(&w);
    }
    for (size_t at = 1; at < len && w.session;) {
        size_t n = data[at++];
        n = n < len - at ? n : len - at;
        if (n == 0 && w.request_count) {
            uint32_t stream = w.requests[w.request_count - 1].stream;
            world_head(&w, stream, 200, NULL, false);
            for (size_t k = at; k < len; k += 8000) {
                world_frame(&w, 0, 0, stream, data + k, len - k < 8000 ? len - k : 8000);
            }
            at = len;
        }
        world_send(&w, data + at, n);
        at += n;
        world_pass(&w, ML_MSEC(700));
    }
    world_pass(&w, ML_SEC(130));
    ml_control_logout(&w.c, w.now);
    world_pass(&w, ML_SEC(11));
    ml_control_clear(&w.c);
    return 0;
}
