/*
 * What a relay's certificate has to show (see derpmap.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "model/derpmap.h"

#define PIN_LEN 32

bool ml_derp_set_cert(struct ml_derp_node *n, const char *text)
{
    const size_t at = strlen(n->host) + 1, head = sizeof ML_DERP_PIN - 1, len = strlen(text);
    bool has_pin = strncmp(text, ML_DERP_PIN, head) == 0;
    if (at + (has_pin ? PIN_LEN : len + 1) > sizeof n->host) {
        return false;
    }
    memset(n->host + at, 0, sizeof n->host - at);
    n->has_pin = has_pin;
    if (!has_pin) {
        memcpy(n->host + at, text, len);
    } else if (!ml_hex_parse(text + head, len - head, (uint8_t *)n->host + at, PIN_LEN)) {
        /* A pin that cannot be read must not turn into "no pin": no certificate has this hash. */
        memset(n->host + at, 0, PIN_LEN);
    }
    return true;
}

void ml_derp_write_cert(struct ml_writer *w, const struct ml_derp_node *n)
{
    if (n->has_pin) {
        ml_write_str(w, ML_DERP_PIN);
        ml_write_hex(w, (const uint8_t *)ml_derp_cert(n), PIN_LEN);
    } else {
        ml_write_str(w, ml_derp_cert(n));
    }
}
