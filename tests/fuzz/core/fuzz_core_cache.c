/*
 * The cache record of an earlier run: any bytes behind a right seal. What was read must leave the tables consistent, and what
 * is written again must be read again. SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"
#include "crypto/blake2s.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Behind the header, key, empty host name, region and two addresses. */
#define OWNER_AT (8 + 32 + 1 + 2 + 32)

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    memset(buf, 7, len);
}

static ml_engine *start(void **mem)
{
    const ml_config cfg = {
        .random = {.fill = fill}, .control_url = "http://127.0.0.1:1", .no_stun = true, .max_peers = 8, .max_regions = 4};
    ml_engine *ml = NULL;
    size_t need = ml_mem_needed(&cfg);
    *mem = malloc(need);
    if (!*mem || ml_init(&ml, *mem, need, &cfg) != ML_OK) {
        abort();
    }
    ml_x25519_keygen(&ml->identity.machine, &ml->random);
    ml->identity.node = ml->identity.disco = ml->identity.machine;
    ml->has_machine = ml->identity.has_node = true;
    ml_x25519_base(ml->node_pub.b, &ml->identity.node);
    return ml;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t buf[ML_STORE_MAX] = {'M', 'L', 'R', '1', ML_STORE_CACHE, 2};
    void *mem = NULL;
    if (len > sizeof buf - 8 - ML_STORE_TRAILER) {
        return 0;
    }
    ml_put_be16(buf + 6, (uint16_t)len);
    if (len) {
        memcpy(buf + 8, data, len);
    }
    struct ml_blake2s s;
    ml_blake2s_init(&s, ML_STORE_TRAILER, (const uint8_t *)"microlink record", 16);
    ml_blake2s_update(&s, buf, 8 + len);
    ml_blake2s_final(&s, buf + 8 + len);

    ml_engine *ml = start(&mem);
    uint8_t own[ML_STORE_MAX], owner[8];
    ml->self.is_known = true;
    if (core_cache_write(ml, own, sizeof own) < OWNER_AT + sizeof owner) {
        abort();
    }
    ml->self.is_known = false;
    memcpy(owner, own + OWNER_AT, sizeof owner);
    if (ml_load(ml, ML_STORE_CACHE, buf, 8 + len + ML_STORE_TRAILER) == ML_OK) {
        memcpy(ml->cache_out.owner, owner, sizeof owner); /* a hash that no input can guess: believed here */
        if (ml_start(ml, ML_SEC(1)) != ML_OK || !ml_map_check(&ml->map) || !ml_filter_check(&ml->filter)) {
            abort();
        }
        size_t n = core_cache_write(ml, buf, sizeof buf);
        ml_time now = ML_SEC(1);
        ml_output out;
        for (int i = 0; i < 50 && ml_poll_output(ml, now, &out); i++) {
        }
        ml->is_started = false;
        if (n && ml_load(ml, ML_STORE_CACHE, buf, n) != ML_OK) {
            abort();
        }
    }
    ml_clear(ml);
    free(mem);
    return 0;
}
