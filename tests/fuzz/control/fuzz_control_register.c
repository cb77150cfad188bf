/*
 * Registration answered by anything: first byte chooses the status, second whether an auth key is set; the rest is the body,
 * given to every attempt of five minutes. The server must not be asked more than a few times a minute.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/control_world.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct world w;
    static const int statuses[] = {200, 200, 200, 200, 429, 400, 404, 500};
    if (len < 2 || len > 8000) {
        return 0;
    }
    world_init(&w, "http://127.0.0.1:8080", true);
    if (data[1] & 1) {
        ml_control_set_auth_key(&w.c, w.now, "k");
    }
    struct ml_control_identity id = {0};
    ml_x25519_keygen(data[1] & 4 ? &id.candidate : &id.node_key, &w.random);
    if (data[1] & 8) {
        ml_x25519_keygen(data[1] & 4 ? &id.node_key : &id.candidate, &w.random);
    }
    ml_control_start(&w.c, w.now, data[1] & 2 ? &id : NULL);
    for (int i = 0; i < 20 && w.request_count < WORLD_REQUESTS; i++) {
        world_run(&w);
        struct world_request *r = world_request(&w, "/machine/register");
        if (r && w.session && ml_control_state(&w.c) != ML_STATE_STARTING) {
            world_head(&w, r->stream, statuses[data[0] & 7], data[0] & 8 ? "1" : NULL, false);
            world_frame(&w, 0, 1, r->stream, data + 2, len - 2);
        }
        world_pass(&w, ML_SEC(15));
    }
    ml_control_clear(&w.c);
    return 0;
}
