/*
 * Polls and time: drains the modules, hands their outputs to the port one at a time, and says when to come back.
 *
 * Order of outputs: packets first (they lose value fastest), then connections, names to resolve, records to store, events.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include <string.h>

/* ---- Events ---- */

void core_mark(struct ml_engine *ml, uint32_t mark)
{
    ml->marks |= mark;
}

void core_peer_event(struct ml_engine *ml, ml_event_type type, uint64_t node_id)
{
    if (ml->peer_event_count == CORE_PEER_EVENTS) {
        /* Too many to tell one by one: one event that says "read the table again". */
        ml->peer_event_head = 0;
        ml->peer_event_count = 1;
        ml->peer_events[0].type = ML_EV_PEER_CHANGED;
        ml->peer_events[0].node_id = 0;
        return;
    }
    if (ml->peer_event_count && ml->peer_events[ml->peer_event_head].node_id == 0) {
        return;
    }
    uint8_t at = (uint8_t)((ml->peer_event_head + ml->peer_event_count++) % CORE_PEER_EVENTS);
    ml->peer_events[at].type = (uint8_t)type;
    ml->peer_events[at].node_id = node_id;
}

void core_pong_event(struct ml_engine *ml, ml_event_type type, const ml_pong *pong)
{
    if (ml->pong_event_count == CORE_PONG_EVENTS) {
        ml->pong_event_head = (uint8_t)((ml->pong_event_head + 1) % CORE_PONG_EVENTS);
        ml->pong_event_count--;
    }
    uint8_t at = (uint8_t)((ml->pong_event_head + ml->pong_event_count++) % CORE_PONG_EVENTS);
    ml->pong_events[at].type = type;
    ml->pong_events[at].pong = *pong;
}

static bool take_mark(struct ml_engine *ml, uint32_t mark, ml_event_type type, ml_output *out)
{
    if (!(ml->marks & mark)) {
        return false;
    }
    ml->marks &= ~mark;
    out->event.type = type;
    if (mark == CORE_MARK_REJECTED) {
        out->event = ml->reject;
    }
    return true;
}

static bool poll_event(struct ml_engine *ml, ml_output *out)
{
    out->type = ML_OUT_EVENT;
    if (take_mark(ml, CORE_MARK_STATE, ML_EV_STATE, out) || take_mark(ml, CORE_MARK_PROBLEM, ML_EV_PROBLEM, out) ||
        take_mark(ml, CORE_MARK_LOGIN_URL, ML_EV_LOGIN_URL, out) || take_mark(ml, CORE_MARK_SELF, ML_EV_SELF, out) ||
        take_mark(ml, CORE_MARK_NETCHECK, ML_EV_NETCHECK, out) || take_mark(ml, CORE_MARK_REJECTED, ML_EV_REJECTED, out)) {
        return true;
    }
    if (ml->pong_event_count) {
        out->event.type = ml->pong_events[ml->pong_event_head].type;
        out->event.ping = ml->pong_events[ml->pong_event_head].pong;
        out->event.node_id = out->event.ping.node_id;
        ml->pong_event_head = (uint8_t)((ml->pong_event_head + 1) % CORE_PONG_EVENTS);
        ml->pong_event_count--;
        return true;
    }
    if (ml->peer_event_count) {
        out->event.type = (ml_event_type)ml->peer_events[ml->peer_event_head].type;
        out->event.node_id = ml->peer_events[ml->peer_event_head].node_id;
        ml->peer_event_head = (uint8_t)((ml->peer_event_head + 1) % CORE_PEER_EVENTS);
        ml->peer_event_count--;
        return true;
    }
    out->type = ML_OUT_NONE;
    return false;
}

/* ---- Records to store ---- */

static bool poll_store(struct ml_engine *ml, ml_time now, ml_output *out)
{
    if (ml->has_wg && !ml->is_store_busy[ML_STORE_CLOCK] && ml_wg_poll_clock(&ml->wg, now, ml->clock_mark)) {
        ml->is_store_due[ML_STORE_CLOCK] = true;
    }
    if (core_cache_poll(ml, now)) {
        ml->is_store_due[ML_STORE_CACHE] = true;
    }
    for (unsigned k = 0; k < ML_STORE_COUNT; k++) {
        if (!ml->is_store_due[k] || ml->is_store_busy[k] || now < ml->store_again_at[k]) {
            continue;
        }
        size_t n = 0;
        uint8_t *buf = ml_outq_scratch(&ml->outq, ML_STORE_MAX);
        if (!buf) {
            return false; /* packets first */
        }
        switch ((ml_store_kind)k) {
        case ML_STORE_IDENTITY:
            n = ml_store_write_identity(buf, ML_STORE_MAX, &ml->identity);
            break;
        case ML_STORE_CLOCK:
            n = ml_store_write_clock(buf, ML_STORE_MAX, ml->clock_mark);
            break;
        case ML_STORE_CACHE:
            n = core_cache_write(ml, buf, ML_STORE_MAX);
            break;
        case ML_STORE_COUNT:
            break;
        }
        ml->is_store_due[k] = false;
        ml->is_store_busy[k] = true;
        ml->stats.stores++;
        out->type = ML_OUT_STORE;
        out->store = (ml_store_kind)k;
        out->data = buf;
        out->len = n;
        return true;
    }
    return false;
}

/* ---- What modules have found out ---- */

static void take_report(struct ml_engine *ml, ml_time now)
{
    struct ml_netcheck_report r;
    while (ml_netcheck_poll_report(&ml->netcheck, &r)) {
        ml_path_set_facts(&ml->path, now, &r.facts);
        if (!ml->no_derp && r.home_region != ml->derp.home) {
            ml_derp_pool_set_home(&ml->derp, now, r.home_region);
            core_set_problem(ml, CORE_PROBLEM_RELAY, "");
        }
        if (r.home_region && ml->cache.home_region != r.home_region) {
            ml->cache.home_region = r.home_region;
            core_cache_touch(ml, now, false);
        }
        core_publish(ml, now);
        core_mark(ml, CORE_MARK_NETCHECK);
    }
    if (ml_endpoints_take_changed(&ml->path.ep)) {
        core_publish(ml, now);
        core_mark(ml, CORE_MARK_SELF);
    }
}

static void drain(struct ml_engine *ml, ml_time now)
{
    if (!ml->has_wg) {
        return;
    }
    ml->curve.is_short = false;
    core_drain_control(ml, now);
    core_drain_derp(ml, now);
    if (!ml->is_derp_map_open) {
        take_report(ml, now);
    }
    core_handshakes(ml, now);
    core_drain_senders(ml, now);
    core_drain_pongs(ml, now);
}

static bool poll_packet(struct ml_engine *ml, ml_output *out)
{
    const struct ml_outq_rec *rec = ml_outq_peek(&ml->outq, &out->data);
    if (!rec) {
        return false;
    }
    out->type = (ml_output_type)rec->kind;
    out->len = rec->len;
    out->addr = rec->addr;
    ml->is_pop_due = true; /* the packet is read from the queue itself */
    return true;
}

bool ml_poll_output(ml_engine *ml, ml_time now, ml_output *out)
{
    if (!out) {
        return false;
    }
    memset(out, 0, sizeof *out);
    if (!ml) {
        return false;
    }
    core_begin(ml);
    if (ml->is_pop_due) {
        ml->stuck_since = 0;
        ml_outq_pop(&ml->outq);
        ml->is_pop_due = false;
    }
    ml_outq_end_scratch(&ml->outq);
    /* Packets on their way go before new ones are made. */
    if (poll_packet(ml, out)) {
        return true;
    }
    drain(ml, now);
    if (poll_packet(ml, out)) {
        return true;
    }
    if (ml->has_wg && core_poll_stream(ml, now, out)) {
        return true;
    }
    if (ml->has_wg && !ml->is_derp_map_open && ml_netcheck_poll_resolve(&ml->netcheck, now, &out->token, &out->text)) {
        out->type = ML_OUT_RESOLVE;
        return true;
    }
    return poll_store(ml, now, out) || poll_event(ml, out);
}

void ml_handle_resolved(ml_engine *ml, ml_time now, uint32_t token, const ml_ip *ips, size_t count)
{
    if (ml && (ips || count == 0) && !ml->is_derp_map_open) {
        ml_netcheck_on_resolved(&ml->netcheck, now, token, ips, count);
    }
}

/* ---- Time ---- */

/* Far later than asked for: the device slept meanwhile. What its connections and the routers on the way remember is older
 * than it looks. */
#define SLEPT_AFTER ML_SEC(60)

void ml_handle_time(ml_engine *ml, ml_time now)
{
    if (!ml || !ml->has_wg) {
        return;
    }
    core_begin(ml);
    ml_time due = ml_poll_deadline(ml);
    due = due < ml->time_at ? ml->time_at : due;
    ml->time_at = now;
    if (ml->is_started && due < now && now - due > SLEPT_AFTER) {
        ml_log_text(&ml->log, ML_LOG_INFO, "the clock jumped: resumed from sleep");
        ml_rebind(ml, now);
    }
    struct core_apply_ctx ctx = {.ml = ml, .now = now};
    const struct ml_delta_sink sink = {.fn = core_apply, .ctx = &ctx};
    ml_control_on_time(&ml->control, now, &sink);
    core_drain_control(ml, now);
    ml_derp_pool_time(&ml->derp, now);
    if (!ml->is_derp_map_open) {
        ml_netcheck_on_time(&ml->netcheck, now);
    }
    ml_wg_on_time(&ml->wg, now);
    ml_path_on_time(&ml->path, now);
    core_ping_time(ml, now);
    core_need_time(ml, now);
    core_fresh_time(ml, now);
    if (now >= ml->expiry_check_at) {
        core_check_expiry(ml, now);
    }
}

static ml_time earlier(ml_time a, ml_time b)
{
    return a < b ? a : b;
}

ml_time ml_poll_deadline(const ml_engine *ml)
{
    if (!ml || !ml->has_wg) {
        return ML_NEVER;
    }
    ml_time at = earlier(ml_control_deadline(&ml->control), core_ping_deadline(ml));
    if (!ml->is_started) {
        return at;
    }
    if (ml->curve.is_short || (ml->handshake_count > 0 && ml->room_until == 0)) {
        return ml->time_at; /* there is work for the next call */
    }
    if (ml->room_until != 0) {
        at = earlier(at, ml->room_until);
    }
    ml_time relay_at = ml_derp_pool_deadline(&ml->derp), hold = core_relay_hold(ml);
    at = earlier(at, relay_at < hold ? hold : relay_at);
    if (!ml->is_derp_map_open) {
        at = earlier(at, ml_netcheck_deadline(&ml->netcheck));
    }
    at = earlier(at, core_need_deadline(ml));
    for (unsigned k = 0; k < ML_STORE_COUNT; k++) {
        bool is_held = ml->is_store_due[k] && !ml->is_store_busy[k] && ml->store_fails[k] > 0 && ml->store_again_at[k] > 0;
        at = earlier(at, is_held ? ml->store_again_at[k] : ML_NEVER);
    }
    at = earlier(at, core_cache_deadline(ml));
    at = earlier(at, ml_wg_deadline(&ml->wg));
    at = earlier(at, ml_path_deadline(&ml->path));
    at = earlier(at, core_handshake_deadline(ml));
    if (ml->fresh_at < ml->fresh_until) {
        at = earlier(at, ml->fresh_at);
    }
    return earlier(at, ml->self.is_known ? ml->expiry_check_at : ML_NEVER);
}
