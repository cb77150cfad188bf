/*
 * Any bytes into the DISCO parser; what it accepts is written and parsed again and must be the same message.
 *
 * The classifier of datagrams gets the same bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "disco/disco_demux.h"
#include "disco/disco_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    (void)ml_datagram_classify(data, len);
    (void)ml_derp_packet_classify(data, len);
    struct ml_disco_msg m, again;
    if (len > 1500 || ml_disco_parse(&m, data, len) != ML_DISCO_PARSE_OK) {
        return 0;
    }
    if (m.type == ML_DISCO_PING && m.padding >= 32 && len < 2 + ML_DISCO_TX_LEN + 32) {
        abort(); /* padding without a key would be read as one */
    }
    uint8_t out[2048];
    struct ml_writer w = ml_writer_of(out, sizeof out);
    ml_disco_write(&w, &m);
    m.addr_dropped = 0;
    if (w.bad || ml_disco_parse(&again, out, w.len) != ML_DISCO_PARSE_OK) {
        abort();
    }
    /* A ping whose key is all zero is written without one; its padding then takes the key's place. */
    if (m.type != ML_DISCO_PING && memcmp(&m, &again, sizeof m) != 0) {
        abort();
    }
    return 0;
}
