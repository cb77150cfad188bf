/*
 * Session slots: which peers of the netmap have one. A slot is a WireGuard session and a path state with the same number.
 *
 * Slots are fewer than peers. When all are taken the one idle for longest goes, provided it carried nothing for a while;
 * otherwise the newcomer gets none (ML_DROP_NO_MEMORY): a flood of strangers cannot end live sessions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

/* A session that moved a packet this recently is not taken away. */
#define EVICT_IDLE ML_SEC(20)

uint16_t core_slot_of(const struct ml_engine *ml, uint16_t peer)
{
    return peer < ml->max_peers ? ml->slot_of_peer[peer] : ML_PATH_NO_SLOT;
}

const struct ml_peer *core_slot_peer(const struct ml_engine *ml, uint16_t slot)
{
    return slot < ml->max_slots && ml->slots[slot].peer != ML_PEER_NONE ? ml_map_peer(&ml->map, ml->slots[slot].peer) : NULL;
}

ml_tick core_tick(struct ml_engine *ml, ml_time at)
{
    if (ml_epoch_is_due(&ml->epoch, at)) {
        ml_time by = ml_epoch_move(&ml->epoch, at);
        for (uint16_t i = 0; i < ml->max_slots; i++) {
            struct core_slot *s = &ml->slots[i];
            s->initiated_at = ml_tick_moved(s->initiated_at, by);
            s->used_at = ml_tick_moved(s->used_at, by);
            s->handshake_at = ml_tick_moved(s->handshake_at, by);
        }
    }
    return ml_tick_of(&ml->epoch, at);
}

static void info_of(const struct ml_peer *p, ml_addr eps[ML_PEER_EP_MAX], struct ml_path_info *info)
{
    *info = (struct ml_path_info){.node = &p->key,
                                  .disco = &p->disco,
                                  .home_region = p->home_region,
                                  .endpoints = eps,
                                  .endpoint_count = ml_map_peer_endpoints(p, eps),
                                  .is_wireguard_only = (p->flags & ML_PEER_IS_WIREGUARD_ONLY) != 0};
}

void core_slot_close(struct ml_engine *ml, uint16_t slot)
{
    struct core_slot *s = slot < ml->max_slots ? &ml->slots[slot] : NULL;
    if (!s || s->peer == ML_PEER_NONE) {
        return;
    }
    core_handshake_forget(ml, slot);
    ml_wg_peer_close(&ml->wg, slot);
    ml_path_peer_close(&ml->path, slot);
    ml->slot_of_peer[s->peer] = ML_PATH_NO_SLOT;
    ml_map_set_need(&ml->map, s->peer, core_need_at_rest(ml, s->peer));
    *s = (struct core_slot){.peer = ML_PEER_NONE};
}

/* A free slot, or the one to be given up; ML_PATH_NO_SLOT when all are busy. */
static uint16_t find_slot(struct ml_engine *ml, ml_time now, bool may_evict)
{
    uint16_t best = ML_PATH_NO_SLOT;
    bool best_has_session = true;
    ml_tick best_used = ML_TICK_NEVER;
    for (uint16_t i = 0; i < ml->max_slots; i++) {
        const struct core_slot *s = &ml->slots[i];
        if (s->peer == ML_PEER_NONE) {
            return i;
        }
        bool has_session = ml_wg_peer_has_session(&ml->wg, now, i);
        bool is_idle = now - ml_tick_time(&ml->epoch, s->used_at) >= EVICT_IDLE;
        if (!may_evict || !is_idle) {
            continue;
        }
        if (has_session < best_has_session || (has_session == best_has_session && s->used_at < best_used)) {
            best = i;
            best_has_session = has_session;
            best_used = s->used_at;
        }
    }
    return best;
}

uint16_t core_slot_close_idle(struct ml_engine *ml, ml_time now)
{
    uint16_t slot = find_slot(ml, now, true);
    uint16_t peer = slot == ML_PATH_NO_SLOT ? ML_PEER_NONE : ml->slots[slot].peer;
    if (peer != ML_PEER_NONE) {
        core_slot_close(ml, slot);
    }
    return peer;
}

uint16_t core_slot_get(struct ml_engine *ml, ml_time now, uint16_t peer, bool may_evict)
{
    const struct ml_peer *p = ml_map_peer(&ml->map, peer);
    uint16_t slot = core_slot_of(ml, peer);
    if (!p || slot != ML_PATH_NO_SLOT) {
        return p ? slot : ML_PATH_NO_SLOT;
    }
    slot = find_slot(ml, now, may_evict);
    if (slot == ML_PATH_NO_SLOT) {
        core_count(ml, ML_DROP_NO_MEMORY);
        return slot;
    }
    core_slot_close(ml, slot);
    ml_addr eps[ML_PEER_EP_MAX];
    struct ml_path_info info;
    info_of(p, eps, &info);
    if (!ml_wg_peer_open(&ml->wg, slot, &p->key)) {
        return ML_PATH_NO_SLOT;
    }
    ml_path_peer_open(&ml->path, now, slot, &info);
    ml->slots[slot] = (struct core_slot){.peer = peer, .used_at = core_tick(ml, now)};
    ml->slot_of_peer[peer] = slot;
    ml_map_set_need(&ml->map, peer, ML_NEED_LIVE);
    core_note_recent(ml, now, p->id);
    return slot;
}

void core_slot_refresh(struct ml_engine *ml, ml_time now, uint16_t slot)
{
    const struct ml_peer *p = core_slot_peer(ml, slot);
    ml_addr eps[ML_PEER_EP_MAX];
    struct ml_path_info info;
    if (p) {
        info_of(p, eps, &info);
        ml_path_peer_update(&ml->path, now, slot, &info);
    }
}
