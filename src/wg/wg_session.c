/*
 * The keypairs of one peer; see wg_session.h.
 *
 * Rotation:
 *   we started the handshake    previous = next if there is one, else current;  current = new;  next = none
 *   we answered it              previous = none;  next = new
 *   first packet on next        previous = current;  current = next;  next = none
 *
 * Two sides that start at once complete two handshakes, each the one it started, and if nothing were done about it each would
 * go on to send on its own and to renew it, so that they cross again at every rekey; and answering a rekey drops `previous`,
 * on which the other side still sends. So handshakes that crossed, which is to say less than REKEY_TIMEOUT apart:
 *   ours completed              previous = current;  current = new;  next stays
 *   first packet on next        the side with the smaller public key: as always;  the other: previous = next;  next = none
 * Both then send on the handshake of the larger key. Official nodes complete only one of the two.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_session.h"

#include "wg/wg_timers.h"

/* ---- Room for `next` and `previous` ---- */

static void release(struct ml_wg_spare *e)
{
    if (!e) {
        return;
    }
    if (e->owner && e->owner->next == e) {
        e->owner->next = NULL;
    } else if (e->owner && e->owner->previous == e) {
        e->owner->previous = NULL;
    }
    ml_wipe(e, sizeof *e);
}

/* Does `e` give way rather than `other`? A `previous` does before a `next`, then the older one. */
static bool is_less_needed(const struct ml_wg_spare *e, const struct ml_wg_spare *other)
{
    bool is_next = e->owner->next == e, is_other_next = other->owner->next == other;

    return is_next != is_other_next ? is_other_next : e->created_at < other->created_at;
}

/* A free place, or the one to be taken; NULL: none may be. */
static struct ml_wg_spare *find_room(const struct ml_wg_common *common, ml_time now, bool is_for_next)
{
    struct ml_wg_spare *victim = NULL;

    for (uint16_t i = 0; i < common->spare_count; i++) {
        struct ml_wg_spare *e = &common->spares[i];
        if (!e->owner) {
            return e;
        }
        bool is_next = e->owner->next == e;
        if (is_next && !(is_for_next && now - ml_tick_time(&common->epoch, e->created_at) >= ML_WG_REKEY_TIMEOUT)) {
            continue;
        }
        if (!victim || is_less_needed(e, victim)) {
            victim = e;
        }
    }
    return victim;
}

/* ---- Rotation ---- */

void ml_wg_session_clear(struct ml_wg_session *s)
{
    release(s->next);
    release(s->previous);
    ml_wipe(s, sizeof *s);
    ml_wg_replay_init(&s->seen, s->ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW));
}

static void take_keys(struct ml_wg_keypair *kp, ml_tick created_at, const struct ml_wg_keys *keys)
{
    memcpy(kp->send, keys->send, 32);
    memcpy(kp->receive, keys->receive, 32);
    kp->counter = 0;
    kp->created_at = created_at;
    kp->local_index = keys->local_index;
    kp->remote_index = keys->remote_index;
}

/* previous = current, with the newest part of its window, in a place that is free. */
static void retire_current(struct ml_wg_session *s, struct ml_wg_spare *e)
{
    e->owner = s;
    e->created_at = s->current.created_at;
    e->local_index = s->current.local_index;
    memcpy(e->receive, s->current.receive, 32);
    ml_wg_replay_shrink(&e->as.previous.seen, e->as.previous.ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW_PREVIOUS), &s->seen,
                        s->ring);
    s->previous = e;
}

/* previous = next, which was never received on: an empty window. */
static void retire_next(struct ml_wg_session *s)
{
    struct ml_wg_spare *e = s->next;

    release(s->previous);
    s->previous = e;
    s->next = NULL;
    ml_wipe(&e->as, sizeof e->as);
    ml_wg_replay_init(&e->as.previous.seen, e->as.previous.ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW_PREVIOUS));
}

/* previous = current;  current = next;  next = none. */
static void promote_next(struct ml_wg_session *s)
{
    struct ml_wg_spare *e = s->next;
    struct ml_wg_keypair kp = {
        .created_at = e->created_at, .local_index = e->local_index, .remote_index = e->as.next.remote_index};

    memcpy(kp.send, e->as.next.send, 32);
    memcpy(kp.receive, e->receive, 32);
    release(s->previous);
    release(e);
    if (s->current.local_index != 0) {
        retire_current(s, e);
    }
    s->current = kp;
    ml_wipe(&kp, sizeof kp);
    ml_wg_replay_init(&s->seen, s->ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW));
}

void ml_wg_session_install_current(struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now,
                                   const struct ml_wg_keys *keys)
{
    if (s->next && now - ml_tick_time(&common->epoch, s->next->created_at) >= ML_WG_REKEY_TIMEOUT) {
        retire_next(s);
    } else {
        release(s->previous);
        struct ml_wg_spare *e = s->current.local_index != 0 ? find_room(common, now, false) : NULL;
        if (e) {
            release(e);
            retire_current(s, e);
        }
    }
    take_keys(&s->current, ml_tick_of(&common->epoch, now), keys);
    ml_wg_replay_init(&s->seen, s->ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW));
    s->current.is_initiator = true;
}

bool ml_wg_session_has_room(const struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now)
{
    return s->next || s->previous || find_room(common, now, true);
}

bool ml_wg_session_install_next(struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now,
                                const struct ml_wg_keys *keys)
{
    release(s->previous);
    release(s->next);
    struct ml_wg_spare *e = find_room(common, now, true);
    if (!e) {
        return false;
    }
    release(e);
    e->owner = s;
    e->created_at = ml_tick_of(&common->epoch, now);
    e->local_index = keys->local_index;
    e->as.next.remote_index = keys->remote_index;
    memcpy(e->receive, keys->receive, 32);
    memcpy(e->as.next.send, keys->send, 32);
    s->next = e;
    return true;
}

bool ml_wg_session_can_send(const struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now)
{
    const struct ml_wg_keypair *kp = &s->current;

    return kp->local_index != 0 && now - ml_tick_time(&common->epoch, kp->created_at) < ML_WG_REJECT_AFTER_TIME &&
           kp->counter < ML_WG_REJECT_AFTER_COUNT;
}

ml_time ml_wg_session_created_at(const struct ml_wg_session *s, const struct ml_wg_common *common)
{
    return s->current.local_index != 0 ? ml_tick_time(&common->epoch, s->current.created_at) : 0;
}

enum ml_wg_which ml_wg_session_find(const struct ml_wg_session *s, uint32_t local_index)
{
    if (local_index == 0) {
        return ML_WG_KEYPAIR_NONE;
    }
    if (s->current.local_index == local_index) {
        return ML_WG_KEYPAIR_CURRENT;
    }
    if (s->next && s->next->local_index == local_index) {
        return ML_WG_KEYPAIR_NEXT;
    }
    return s->previous && s->previous->local_index == local_index ? ML_WG_KEYPAIR_PREVIOUS : ML_WG_KEYPAIR_NONE;
}

void ml_wg_session_seal(struct ml_wg_session *s, uint8_t *msg, size_t plain_len)
{
    struct ml_wg_keypair *kp = &s->current;
    uint8_t nonce[12] = {0};

    ml_wg_msg_write_data_header(msg, kp->remote_index, kp->counter);
    ml_put_le64(nonce + 4, kp->counter);
    kp->counter++;
    ml_aead_seal(msg + ML_WG_DATA_HEADER, kp->send, nonce, NULL, 0, msg + ML_WG_DATA_HEADER, plain_len);
}

ml_drop ml_wg_session_open(struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now, enum ml_wg_which which,
                           uint8_t *msg, size_t len, bool wins_crossing, bool *first)
{
    uint64_t counter = ml_get_le64(msg + ML_WG_DATA_OFF_COUNTER);
    uint8_t nonce[12] = {0};
    struct ml_wg_spare *e = which == ML_WG_KEYPAIR_NEXT ? s->next : s->previous;
    bool is_current = which == ML_WG_KEYPAIR_CURRENT;
    const uint8_t *key = is_current ? s->current.receive : e->receive;
    ml_time created_at = ml_tick_time(&common->epoch, is_current ? s->current.created_at : e->created_at);

    *first = false;
    if (now - created_at > ML_WG_REJECT_AFTER_TIME) {
        return ML_DROP_WG_EXPIRED;
    }
    /* The window is asked first, because a duplicate is cheaper to refuse than to open; it is changed only afterwards. */
    if (counter >= ML_WG_REJECT_AFTER_COUNT || (is_current && !ml_wg_replay_is_new(&s->seen, s->ring, counter)) ||
        (which == ML_WG_KEYPAIR_PREVIOUS && !ml_wg_replay_is_new(&e->as.previous.seen, e->as.previous.ring, counter))) {
        return ML_DROP_WG_REPLAY;
    }
    ml_put_le64(nonce + 4, counter);
    if (!ml_aead_open(msg + ML_WG_DATA_HEADER, key, nonce, NULL, 0, msg + ML_WG_DATA_HEADER, len - ML_WG_DATA_HEADER)) {
        return ML_DROP_WG_BAD_AUTH;
    }
    if (which == ML_WG_KEYPAIR_NEXT && wins_crossing && s->current.is_initiator && s->current.local_index != 0 &&
        s->current.created_at >= e->created_at) {
        retire_next(s);
        which = ML_WG_KEYPAIR_PREVIOUS;
    }
    if (which == ML_WG_KEYPAIR_PREVIOUS) {
        (void)ml_wg_replay_accept(&e->as.previous.seen, e->as.previous.ring, counter);
        return ML_DROP_NONE;
    }
    if (which == ML_WG_KEYPAIR_NEXT) {
        promote_next(s);
        *first = true;
    }
    (void)ml_wg_replay_accept(&s->seen, s->ring, counter);
    return ML_DROP_NONE;
}
