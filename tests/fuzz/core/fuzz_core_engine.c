/*
 * Scenario fuzzing of the whole engine: the input is a list of things that happen to two engines and the network between
 * them. Whatever happened, tables stay consistent, and once the network is well again the two reach each other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/core_world.h"

struct input {
    const uint8_t *p;
    size_t len;
};

static uint8_t next(struct input *in)
{
    if (in->len == 0) {
        return 0;
    }
    in->len--;
    return *in->p++;
}

static size_t take_bytes(struct input *in, uint8_t *dst, size_t want)
{
    size_t n = want < in->len ? want : in->len;
    memcpy(dst, in->p, n);
    in->p += n;
    in->len -= n;
    return n;
}

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* A node record whose fields come from the input; its id and key may collide with real ones. */
static void random_node(struct input *in, const struct world *w, struct ml_node *n)
{
    world_node_of(w, next(in) & 1, n);
    uint8_t what = next(in);
    if (what & 1) {
        n->id = 200U + (next(in) & 7U);
    }
    if (what & 2) {
        memset(n->key.b, next(in), 32);
    }
    if (what & 4) {
        memset(n->disco.b, next(in), 32);
    }
    if (what & 8) {
        n->home_region = next(in);
    }
    if (what & 16) {
        n->addresses[0].ip = ml_ip4(100, 64, 0, next(in));
        n->allowed[0] = n->addresses[0];
    }
    n->is_expired = (what & 32) != 0;
    n->is_jailed = (what & 64) != 0;
    n->endpoints[0].port = (uint16_t)(what & 128 ? next(in) : n->endpoints[0].port);
}

static void random_delta(struct input *in, struct world *w, unsigned i)
{
    struct ml_node node;
    struct ml_derp_region region = {.id = (uint16_t)(1 + (next(in) & 3U)), .code = "r", .node_count = 1};
    memcpy(region.nodes[0].host, "relay.example", 14);
    region.nodes[0].ip4 = ml_ip4(192, 0, 2, 200);
    random_node(in, w, &node);
    switch (next(in) % 10U) {
    case 0:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
        break;
    case 1:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = node.id});
        break;
    case 2:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEERS_BEGIN});
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
        world_delta(w, i, &(struct ml_delta){.type = next(in) & 1 ? ML_DELTA_PEERS_END : ML_DELTA_ABORT});
        break;
    case 3: {
        struct ml_node_patch patch = {
            .id = node.id, .fields = next(in), .region = next(in), .key = node.key, .disco = node.disco};
        patch.endpoints[0] = node.endpoints[0];
        patch.endpoint_count = 1;
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER_PATCH, .patch = &patch});
        break;
    }
    case 4:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_DERP_BEGIN});
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_DERP_REGION, .region = &region});
        world_delta(w, i, &(struct ml_delta){.type = next(in) & 1 ? ML_DELTA_DERP_END : ML_DELTA_ABORT});
        break;
    case 5:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_PEER_ONLINE, .id = node.id, .flag = next(in) & 1});
        break;
    case 6:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_RULES_CLEAR_ALL});
        break;
    case 7:
        world_allow_all(w, i);
        break;
    case 8:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_TIME, .unix_ms = (int64_t)next(in) << 33});
        break;
    default:
        world_delta(w, i, &(struct ml_delta){.type = ML_DELTA_END});
        break;
    }
    require(ml_map_check(&w->n[i].ml->map));
    require(ml_filter_check(&w->n[i].ml->filter));
}

/* Something happens to a connection, asked for or not. */
static void random_stream(struct input *in, struct world *w, unsigned i)
{
    uint8_t buf[256];
    ml_stream_id id = CORE_STREAM_ID(1 + next(in) % 3U, ((uint32_t)next(in) << 8) | (next(in) & 3U));
    const ml_stream_info info = {0};
    size_t used = 0;
    switch (next(in) & 3U) {
    case 0:
        ml_handle_stream_opened(w->n[i].ml, w->now, id, &info);
        break;
    case 1: {
        size_t n = take_bytes(in, buf, next(in));
        ml_handle_stream_data(w->n[i].ml, w->now, id, buf, n, &used);
        require(used <= n);
        break;
    }
    case 2:
        ml_handle_stream_closed(w->n[i].ml, w->now, id, (ml_close_reason)(next(in) % 11U), NULL);
        break;
    default: {
        const uint8_t *p = NULL;
        size_t n = ml_stream_tx_peek(w->n[i].ml, id, &p);
        ml_stream_tx_done(w->n[i].ml, w->now, id, n / 2);
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const ml_time steps[] = {ML_MSEC(1), ML_MSEC(200), ML_SEC(3),   ML_SEC(7),
                                    ML_SEC(60), ML_SEC(200),  ML_SEC(700), ML_SEC(4000)};
    struct world *w = malloc(sizeof *w);
    struct input in = {.p = data, .len = len};
    uint8_t buf[600];
    if (!w) {
        abort();
    }
    world_start(w);
    for (int op = 0; op < 64 && in.len; op++) {
        uint8_t b = next(&in);
        unsigned i = b & 1U;
        switch ((b >> 1) % 8U) {
        case 0:
            (void)world_send(w, i, 1 - i, "fuzz");
            break;
        case 1: { /* a datagram, from the other node or from anybody */
            size_t n = take_bytes(&in, buf, (size_t)next(&in) * 2U);
            ml_addr from = next(&in) & 1 ? w->n[1 - i].addr : (ml_addr){.ip = ml_ip4(198, 51, 100, 7), .port = next(&in)};
            (void)ml_handle_datagram(w->n[i].ml, w->now, &from, buf, n);
            break;
        }
        case 2: {
            size_t n = take_bytes(&in, buf, next(&in));
            (void)ml_handle_overlay(w->n[i].ml, w->now, buf, n);
            break;
        }
        case 3:
            world_run(w, steps[next(&in) & 7U]);
            break;
        case 4:
            random_delta(&in, w, i);
            break;
        case 5:
            random_stream(&in, w, i);
            break;
        case 6:
            w->is_udp_cut = (next(&in) & 1U) != 0;
            break;
        default: {
            ml_ip ip = w->n[1 - i].ip4;
            (void)ml_ping(w->n[i].ml, w->now, &ip, (ml_ping_kind)(next(&in) % 3U), b);
            if (next(&in) & 1U) {
                ml_rebind(w->n[i].ml, w->now);
            }
            break;
        }
        }
        world_settle(w);
    }
    /* All is well again: full netmaps, a working network, time. */
    w->is_udp_cut = false;
    for (unsigned i = 0; i < WORLD_NODES; i++) {
        world_netmap(w, i);
        w->n[i].ml->self.is_expired = w->n[i].ml->is_expiry_told = false;
    }
    world_run(w, ML_SEC(30));
    for (int i = 0; i < 12; i++) {
        (void)world_send(w, 0, 1, "well");
        (void)world_send(w, 1, 0, "well");
        world_run(w, ML_SEC(6));
    }
    w->n[0].inbox_count = w->n[1].inbox_count = 0;
    (void)world_send(w, 0, 1, "reached");
    (void)world_send(w, 1, 0, "reached");
    world_run(w, ML_SEC(2));
    require(world_got(w, 1, "reached") && world_got(w, 0, "reached"));
    world_end(w);
    free(w);
    return 0;
}
