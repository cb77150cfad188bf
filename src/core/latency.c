/*
 * How far a relay is over HTTPS, for a node whose UDP is blocked: one exchange at a time, which path/netcheck asks for.
 *
 * Counted from the request to the head of the answer, on a connection that is up, so that neither DNS nor the TLS handshake is
 * in it (dataplane.md 6.3). Owns one connection, its request and its answer's reader; which region when is netcheck's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <string.h>

static uint32_t stream_id(const struct core_latency *l)
{
    return CORE_STREAM_ID(CORE_STREAM_LATENCY, l->generation);
}

/* The region wanted now, 0 = none. */
static uint16_t wanted(const struct ml_engine *ml)
{
    return ml->is_started && !ml->is_derp_map_open ? ml_netcheck_http_region(&ml->netcheck) : 0;
}

static const struct ml_derp_node *relay_of(const struct ml_engine *ml, uint16_t region)
{
    const struct ml_derp_region *r = ml_derp_table_find(&ml->regions, region);
    for (uint8_t i = 0; r && i < r->node_count; i++) {
        if (!r->nodes[i].is_stun_only) {
            return &r->nodes[i];
        }
    }
    return NULL;
}

bool core_latency_poll(struct ml_engine *ml, ml_time now, ml_output *out)
{
    struct core_latency *l = &ml->latency;
    uint16_t region = wanted(ml);
    if (l->is_asked && (l->is_done || l->region != region)) {
        l->is_asked = l->is_open = false;
        *out = (ml_output){.type = ML_OUT_STREAM_CLOSE, .stream = {.id = stream_id(l)}};
        return true;
    }
    while (!l->is_asked && region) {
        const struct ml_derp_node *node = relay_of(ml, region);
        if (node) {
            uint16_t generation = (uint16_t)(l->generation + 1);
            *l = (struct core_latency){.is_asked = true, .region = region, .generation = generation};
            core_relay_dial(ml, node, l->pin, &out->stream);
            out->stream.id = stream_id(l);
            out->type = ML_OUT_STREAM_OPEN;
            struct ml_writer w = ml_writer_of((uint8_t *)l->host, sizeof l->host);
            core_write_relay_host(&w, node);
            ml_write_end_str(&w);
            return true;
        }
        ml_netcheck_on_http(&ml->netcheck, now, region, 0);
        region = wanted(ml);
    }
    return false;
}

static struct core_latency *stream_of(struct ml_engine *ml, uint32_t local)
{
    struct core_latency *l = &ml->latency;
    if (l->is_asked && !l->is_done && local == l->generation) {
        return l;
    }
    core_count(ml, ML_DROP_STREAM_STALE);
    return NULL;
}

/* The connection has served: it is closed with the next poll. */
static void done(struct ml_engine *ml, ml_time now, struct core_latency *l, ml_time took)
{
    l->is_done = true;
    ml_netcheck_on_http(&ml->netcheck, now, l->region, took);
}

void core_latency_opened(struct ml_engine *ml, ml_time now, uint32_t local)
{
    struct core_latency *l = stream_of(ml, local);
    if (!l || l->is_open) {
        return;
    }
    struct ml_writer w = ml_writer_of(l->tx, sizeof l->tx);
    ml_http1_write_request(&w, "GET", l->host, "/derp/latency-check");
    ml_http1_init(&l->http, false);
    l->tx_len = (uint16_t)w.len;
    l->is_open = true;
    l->asked_at = now;
}

void core_latency_data(struct ml_engine *ml, ml_time now, uint32_t local, const uint8_t *buf, size_t len)
{
    struct core_latency *l = stream_of(ml, local);
    size_t off = 0;
    while (l && l->is_open && !l->is_done && off < len) {
        size_t used = 0, piece_len = 0;
        const uint8_t *piece = NULL;
        switch (ml_http1_next(&l->http, buf + off, len - off, &used, &piece, &piece_len)) {
        case ML_HTTP1_HEAD: {
            bool is_good = l->http.status >= 200 && l->http.status <= 299;
            ml_time took = now > l->asked_at ? now - l->asked_at : 1;
            done(ml, now, l, is_good ? took : 0);
            break;
        }
        case ML_HTTP1_NEED_MORE:
            return;
        case ML_HTTP1_DATA:
            break;
        case ML_HTTP1_END:
        case ML_HTTP1_ERROR:
            done(ml, now, l, 0);
            break;
        }
        off += used;
    }
}

void core_latency_closed(struct ml_engine *ml, ml_time now, uint32_t local)
{
    struct core_latency *l = &ml->latency;
    if (!l->is_asked || local != l->generation) {
        core_count(ml, ML_DROP_STREAM_STALE);
        return;
    }
    l->is_asked = l->is_open = false;
    if (!l->is_done) {
        done(ml, now, l, 0);
    }
}

size_t core_latency_tx_peek(const struct ml_engine *ml, uint32_t local, const uint8_t **buf)
{
    const struct core_latency *l = &ml->latency;
    if (!l->is_open || local != l->generation) {
        return 0;
    }
    *buf = l->tx + l->tx_at;
    return (size_t)(l->tx_len - l->tx_at);
}

void core_latency_tx_done(struct ml_engine *ml, uint32_t local, size_t n)
{
    struct core_latency *l = &ml->latency;
    if (l->is_open && local == l->generation) {
        size_t left = (size_t)(l->tx_len - l->tx_at);
        l->tx_at = (uint16_t)(l->tx_at + (n < left ? n : left));
    }
}
