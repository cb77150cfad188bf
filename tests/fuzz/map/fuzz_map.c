/*
 * Any order of deltas on a small peer table: it stays consistent, and who was removed is not found any more.
 *
 * Each step is one byte and what it needs. SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "map/derp_table.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_node(struct ml_reader *r, struct ml_node *n)
{
    uint8_t k = ml_read_u8(r);
    n->id = ml_read_u8(r) % 24;
    n->key.b[0] = k;
    n->key.b[1] = (uint8_t)n->id;
    n->disco.b[0] = k & 3;
    n->home_region = k & 7;
    n->is_unsigned_peerapi_only = k & 8;
    n->is_expired = k & 16;
    n->key_expiry = (int64_t)(k >> 5) * 1000000000;
    n->address_count = k % (ML_NODE_ADDRESSES + 1);
    for (uint8_t i = 0; i < n->address_count; i++) {
        uint8_t a = ml_read_u8(r);
        n->addresses[i] =
            a & 1 ? (ml_prefix){.ip = ml_ip4(100, 64, 0, a), .bits = 32} : (ml_prefix){.ip = {{0xfd, a}}, .bits = 128};
    }
    n->allowed_count = ml_read_u8(r) % 8;
    for (uint8_t i = 0; i < n->allowed_count; i++) {
        uint8_t a = ml_read_u8(r);
        n->allowed[i] = (a & 3) && n->address_count ? n->addresses[a % n->address_count]
                                                    : (ml_prefix){.ip = ml_ip4(a & 4 ? 10 : 0, 0, 0, 0), .bits = a & 4 ? 8 : 0};
    }
    n->endpoint_count = ml_read_u8(r) % (ML_NODE_ENDPOINTS + 1);
    for (uint8_t i = 0; i < n->endpoint_count; i++) {
        n->endpoints[i] = (ml_addr){.ip = i & 1 ? ml_ip4(1, 2, 3, i) : (ml_ip){{0x20, i}}, .port = i};
    }
    size_t name = ml_read_u8(r) % 40;
    ml_read_copy(r, (uint8_t *)n->name, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ml_map_cfg cfg = {.max_peers = 6, .max_extras = 5, .name_bytes = 100};
    struct ml_map m;
    struct ml_derp_table t;
    struct ml_map_change c;
    struct ml_derp_change dc;
    struct ml_reader r = ml_reader_of(data, len);
    void *mem = calloc(1, ml_map_mem(&cfg));
    void *derp_mem = malloc(ml_derp_table_mem(3));
    if (!mem || !derp_mem) {
        abort();
    }
    ml_map_init(&m, &cfg, mem);
    ml_derp_table_init(&t, 3, derp_mem);
    while (ml_reader_left(&r) && !r.bad) {
        static const enum ml_delta_type types[] = {
            ML_DELTA_BEGIN,        ML_DELTA_PEERS_BEGIN, ML_DELTA_PEER,        ML_DELTA_PEER,       ML_DELTA_PEERS_END,
            ML_DELTA_PEER_REMOVED, ML_DELTA_PEER_SEEN,   ML_DELTA_PEER_ONLINE, ML_DELTA_PEER_PATCH, ML_DELTA_END,
            ML_DELTA_ABORT,        ML_DELTA_DERP_BEGIN,  ML_DELTA_DERP_REGION, ML_DELTA_DERP_END,   ML_DELTA_DERP_SCORE};
        uint8_t op = ml_read_u8(&r);
        struct ml_node n = {0};
        struct ml_node_patch p = {0};
        struct ml_derp_region region = {0};
        struct ml_delta d = {
            .type = types[op % 15], .first = op & 0x80, .flag = op & 0x40, .node = &n, .patch = &p, .region = &region};
        if (d.type == ML_DELTA_PEER) {
            read_node(&r, &n);
        } else if (d.type == ML_DELTA_PEER_PATCH) {
            p.fields = ml_read_be16(&r);
            p.id = ml_read_u8(&r) % 24;
            p.key.b[0] = p.disco.b[1] = ml_read_u8(&r);
            p.key_expiry = p.last_seen = (int64_t)ml_read_be32(&r) - 5;
            p.endpoint_count = op >> 4;
        } else {
            d.id = region.id = ml_read_u8(&r) % 24;
            d.score_milli = (uint32_t)d.id * 100;
        }
        ml_map_apply(&m, &d, 1800000000, &c);
        ml_derp_table_apply(&t, &d, &m.t, op >> 5, &dc);
        if ((c.what & ML_MAP_REMOVED) && ml_map_find_id(&m, c.old_id) != ML_PEER_NONE) {
            abort();
        }
        while (ml_map_sweep(&m, &c) || ml_derp_table_sweep(&t, &dc) || (op == 0xff && ml_map_expire(&m, 1900000000, &c))) {
        }
        if (!ml_map_check(&m) || t.region_count > 3) {
            abort();
        }
    }
    free(mem);
    free(derp_mem);
    return 0;
}
