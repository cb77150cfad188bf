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

void ml_wg_session_clear(struct ml_wg_session *s)
{
    ml_wipe(s, sizeof *s);
    ml_wg_replay_init(&s->seen, s->ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW));
    ml_wg_replay_init(&s->seen_previous, s->ring_previous, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW_PREVIOUS));
}

static void take_keys(struct ml_wg_keypair *kp, ml_time now, const struct ml_wg_keys *keys)
{
    memcpy(kp->send, keys->send, 32);
    memcpy(kp->receive, keys->receive, 32);
    kp->counter = 0;
    kp->created_at = now;
    kp->local_index = keys->local_index;
    kp->remote_index = keys->remote_index;
}

static void retire(struct ml_wg_session *s, const struct ml_wg_keypair *kp)
{
    memcpy(s->previous.receive, kp->receive, 32);
    s->previous.created_at = kp->created_at;
    s->previous.local_index = kp->local_index;
}

/* previous = current, with the newest part of its window. */
static void retire_current(struct ml_wg_session *s)
{
    retire(s, &s->current);
    ml_wg_replay_shrink(&s->seen_previous, s->ring_previous, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW_PREVIOUS), &s->seen, s->ring);
}

/* previous = next, which was never received on: an empty window. */
static void retire_next(struct ml_wg_session *s)
{
    retire(s, &s->next);
    ml_wg_replay_init(&s->seen_previous, s->ring_previous, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW_PREVIOUS));
    ml_wipe(&s->next, sizeof s->next);
}

void ml_wg_session_install_current(struct ml_wg_session *s, ml_time now, const struct ml_wg_keys *keys)
{
    if (s->next.local_index != 0 && now - s->next.created_at >= ML_WG_REKEY_TIMEOUT) {
        retire_next(s);
    } else {
        retire_current(s);
    }
    take_keys(&s->current, now, keys);
    ml_wg_replay_init(&s->seen, s->ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW));
    s->is_initiator = true;
}

void ml_wg_session_install_next(struct ml_wg_session *s, ml_time now, const struct ml_wg_keys *keys)
{
    ml_wipe(&s->previous, sizeof s->previous);
    take_keys(&s->next, now, keys);
}

bool ml_wg_session_can_send(const struct ml_wg_session *s, ml_time now)
{
    const struct ml_wg_keypair *kp = &s->current;

    return kp->local_index != 0 && now - kp->created_at < ML_WG_REJECT_AFTER_TIME && kp->counter < ML_WG_REJECT_AFTER_COUNT;
}

enum ml_wg_which ml_wg_session_find(const struct ml_wg_session *s, uint32_t local_index)
{
    if (local_index == 0) {
        return ML_WG_KEYPAIR_NONE;
    }
    if (s->current.local_index == local_index) {
        return ML_WG_KEYPAIR_CURRENT;
    }
    if (s->next.local_index == local_index) {
        return ML_WG_KEYPAIR_NEXT;
    }
    return s->previous.local_index == local_index ? ML_WG_KEYPAIR_PREVIOUS : ML_WG_KEYPAIR_NONE;
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

ml_drop ml_wg_session_open(struct ml_wg_session *s, ml_time now, enum ml_wg_which which, uint8_t *msg, size_t len,
                           bool wins_crossing, bool *first)
{
    uint64_t counter = ml_get_le64(msg + ML_WG_DATA_OFF_COUNTER);
    uint8_t nonce[12] = {0};
    const uint8_t *key = which == ML_WG_KEYPAIR_CURRENT ? s->current.receive
                         : which == ML_WG_KEYPAIR_NEXT  ? s->next.receive
                                                        : s->previous.receive;
    ml_time created_at = which == ML_WG_KEYPAIR_CURRENT ? s->current.created_at
                         : which == ML_WG_KEYPAIR_NEXT  ? s->next.created_at
                                                        : s->previous.created_at;

    *first = false;
    if (now - created_at > ML_WG_REJECT_AFTER_TIME) {
        return ML_DROP_WG_EXPIRED;
    }
    /* The window is asked first, because a duplicate is cheaper to refuse than to open; it is changed only afterwards. */
    if (counter >= ML_WG_REJECT_AFTER_COUNT ||
        (which == ML_WG_KEYPAIR_CURRENT && !ml_wg_replay_is_new(&s->seen, s->ring, counter)) ||
        (which == ML_WG_KEYPAIR_PREVIOUS && !ml_wg_replay_is_new(&s->seen_previous, s->ring_previous, counter))) {
        return ML_DROP_WG_REPLAY;
    }
    ml_put_le64(nonce + 4, counter);
    if (!ml_aead_open(msg + ML_WG_DATA_HEADER, key, nonce, NULL, 0, msg + ML_WG_DATA_HEADER, len - ML_WG_DATA_HEADER)) {
        return ML_DROP_WG_BAD_AUTH;
    }
    if (which == ML_WG_KEYPAIR_NEXT && wins_crossing && s->is_initiator && s->current.local_index != 0 &&
        s->current.created_at >= s->next.created_at) {
        retire_next(s);
        which = ML_WG_KEYPAIR_PREVIOUS;
    }
    if (which == ML_WG_KEYPAIR_PREVIOUS) {
        (void)ml_wg_replay_accept(&s->seen_previous, s->ring_previous, counter);
        return ML_DROP_NONE;
    }
    if (which == ML_WG_KEYPAIR_NEXT) {
        retire_current(s);
        s->current = s->next;
        ml_wipe(&s->next, sizeof s->next);
        ml_wg_replay_init(&s->seen, s->ring, ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW));
        s->is_initiator = false;
        *first = true;
    }
    (void)ml_wg_replay_accept(&s->seen, s->ring, counter);
    return ML_DROP_NONE;
}
