/*
 * Our handshake messages on their way to a peer: one way at a time.
 *
 * A data packet to a peer whose direct path is not trusted leaves twice, by UDP and by relay. A handshake message must not: an
 * official node works on both copies at the same moment, on different cores, and when both pass its test for repetitions (it
 * reads the last timestamp before it takes the lock to change it: wireguard-go, ConsumeMessageInitiation) it makes two sessions
 * of one initiation and keeps the second, while its answer for the first is what we take. Nothing of ours opens there for the
 * 15 s until somebody asks for a new session.
 *
 * So a message goes by the best way that there is. Nobody repeats a lost one for 5 s, therefore the same message goes the other
 * way too when it has stayed unanswered for SECOND_WAY_AFTER; what was received already is then told from it by its timestamp.
 * And one that found no way at all goes as soon as a path answers or a relay accepts our login.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine_priv.h"

#include "wg/wg_msg.h"

#include <string.h>

#define SECOND_WAY_AFTER ML_MSEC(250)
#define ANSWER_WAIT      ML_SEC(1)
#define FRESH_REPEAT     ML_SEC(1)

/* The peer's own record, or a free one, or the oldest. */
static struct core_handshake_out *find_record(struct ml_engine *ml, uint16_t slot)
{
    struct core_handshake_out *free_one = NULL;
    struct core_handshake_out *oldest = &ml->handshakes_out[0];
    for (uint8_t i = 0; i < ml->handshake_out_cap; i++) {
        struct core_handshake_out *h = &ml->handshakes_out[i];
        if (h->len && h->slot == slot) {
            return h;
        }
        if (!h->len) {
            free_one = h;
        } else if (h->made_at < oldest->made_at) {
            oldest = h;
        }
    }
    return free_one ? free_one : oldest;
}

static bool go_direct(struct ml_engine *ml, ml_time now, struct core_handshake_out *h, const ml_addr *to)
{
    uint8_t *room = ml_addr_is_set(to) ? ml_outq_reserve(&ml->outq, h->len) : NULL;
    if (!room) {
        return false; /* a full queue is drained, and then this is asked again */
    }
    memcpy(room, h->msg, h->len);
    ml_outq_commit(&ml->outq, ML_OUT_DATAGRAM, to, h->len);
    ml->stats.direct_tx_packets++;
    h->went_direct = true;
    h->sent_at = h->sent_at ? h->sent_at : now;
    return true;
}

/* Not before a relay has accepted our login: it may never do. */
static bool go_by_relay(struct ml_engine *ml, ml_time now, struct core_handshake_out *h, const struct ml_peer *p)
{
    if (ml->no_derp || (p->flags & ML_PEER_IS_WIREGUARD_ONLY)) {
        return false;
    }
    if (!ml_derp_pool_has_way(&ml->derp, &p->key, p->home_region)) {
        ml_derp_pool_dial(&ml->derp, now, p->home_region);
        return false;
    }
    ml_drop drop = ml_derp_pool_send(&ml->derp, now, &p->key, p->home_region, h->msg, h->len);
    h->went_by_relay = true; /* or never will: its queue is full */
    if (drop != ML_DROP_NONE) {
        core_count(ml, drop);
        return false;
    }
    ml->stats.derp_tx_packets++;
    h->sent_at = h->sent_at ? h->sent_at : now;
    return true;
}

void core_handshake_send(struct ml_engine *ml, ml_time now, uint16_t slot, const struct ml_peer *p, const uint8_t *msg,
                         size_t len)
{
    struct core_handshake_out *h = find_record(ml, slot);
    struct ml_path_route r = {0};
    *h = (struct core_handshake_out){.made_at = now, .slot = slot, .len = (uint8_t)len};
    memcpy(h->msg, msg, len);
    ml->slots[slot].used_at = core_tick(ml, now);
    ml->slots[slot].initiated_at = ml_wg_msg_classify(msg, len) == ML_WG_MSG_INITIATION ? core_tick(ml, now) : 0;
    (void)ml_path_route(&ml->path, now, slot, &r);
    ml_netcheck_note_activity(&ml->netcheck, now);
    bool is_trusted = ml_addr_is_set(&r.udp) && !r.derp_region;
    (void)((is_trusted && go_direct(ml, now, h, &r.udp)) || go_by_relay(ml, now, h, p) || go_direct(ml, now, h, &r.udp));
}

/* False: it has no more to do here. */
static bool go_on(struct ml_engine *ml, ml_time now, struct core_handshake_out *h, const struct ml_peer *p)
{
    struct ml_path_status st;
    ml_path_get_status(&ml->path, now, h->slot, &st);
    if (!h->sent_at) {
        (void)(go_direct(ml, now, h, &st.direct) || go_by_relay(ml, now, h, p));
    } else if (now - h->sent_at >= SECOND_WAY_AFTER) {
        (void)((!h->went_direct && go_direct(ml, now, h, &st.direct)) || (!h->went_by_relay && go_by_relay(ml, now, h, p)));
    }
    return !h->went_direct || !h->went_by_relay;
}

void core_handshake_go_on(struct ml_engine *ml, ml_time now)
{
    for (uint8_t i = 0; i < ml->handshake_out_cap; i++) {
        struct core_handshake_out *h = &ml->handshakes_out[i];
        const struct ml_peer *p = h->len ? core_slot_peer(ml, h->slot) : NULL;
        if (!h->len) {
            continue;
        }
        bool is_old = now - h->made_at >= ML_WG_REKEY_TIMEOUT; /* its timer makes another */
        if (is_old && !h->sent_at) {
            core_count(ml, ML_DROP_ROUTE_NO_PATH);
        }
        bool is_answered = h->sent_at && ml_wg_peer_has_session(&ml->wg, now, h->slot); /* or there is no hurry */
        if (!p || is_old || is_answered || !go_on(ml, now, h, p)) {
            h->len = 0;
        }
    }
}

void core_handshake_forget(struct ml_engine *ml, uint16_t slot)
{
    for (uint8_t i = 0; i < ml->handshake_out_cap; i++) {
        struct core_handshake_out *h = &ml->handshakes_out[i];
        h->len = h->slot == slot ? 0 : h->len;
    }
}

ml_time core_handshake_deadline(const struct ml_engine *ml)
{
    ml_time at = ML_NEVER;
    for (uint8_t i = 0; i < ml->handshake_out_cap; i++) {
        const struct core_handshake_out *h = &ml->handshakes_out[i];
        if (h->len) {
            ml_time due = h->made_at + ML_WG_REKEY_TIMEOUT;
            if (h->sent_at && ml->time_at < h->sent_at + SECOND_WAY_AFTER) {
                due = h->sent_at + SECOND_WAY_AFTER;
            } /* later it waits for a way, not for a time */
            at = due < at ? due : at;
        }
    }
    return at;
}

/* ---- Repeating initiations ---- */

/* Not sooner: where the answer takes long, a new one is on its way before it comes. */
static bool is_initiation_unanswered(const struct ml_engine *ml, ml_time now, uint16_t slot)
{
    const struct core_slot *s = &ml->slots[slot];
    return s->initiated_at != 0 && now - ml_tick_time(&ml->epoch, s->initiated_at) >= ANSWER_WAIT &&
           !ml_wg_peer_has_session(&ml->wg, now, slot);
}

/* Others hear of a node that has just registered a moment after we hear of them; what it sends meanwhile is dropped as a
 * stranger's. So for the first seconds an unanswered initiation is repeated once a second instead of once in five. */
void core_fresh_time(struct ml_engine *ml, ml_time now)
{
    if (now < ml->fresh_at) {
        return;
    }
    if (now >= ml->fresh_until) {
        ml->fresh_at = ml->fresh_until = 0;
        return;
    }
    ml->fresh_at = now + FRESH_REPEAT;
    for (uint16_t i = 0; i < ml->max_slots; i++) {
        if (is_initiation_unanswered(ml, now, i)) {
            ml_wg_peer_send_again(&ml->wg, now, i);
        }
    }
}
