/*
 * The timer rules of one peer (dataplane.md 1.3; device/timers.go and device/send.go of the official module).
 *
 *   retry         5 s + 0..333 ms after an initiation was sent: send another. Once 19 retries have gone
 *                 unanswered: give up and free the waiting packets. A completed handshake stops it.
 *   spacing       no initiation within 5 s of the last initiation or response sent to that peer. Unlike official nodes, a
 *                 wish refused by this rule while packets wait arms the retry timer, so that a packet staged behind a
 *                 lost response does not wait for the next one to come along.
 *   keepalive     10 s after data was received, unless anything authenticated was sent meanwhile. One keepalive answers
 *                 all data received until then (the official "need another" mark would only cover its loss).
 *   new handshake 15 s + 0..333 ms after data was sent, unless anything authenticated was received meanwhile: the peer may
 *                 have forgotten us.
 *   rekey         after sending on a session that we started 120 s ago or earlier (asked by wg.c at each send).
 *   refresh       on receiving on a session that we started over 165 s ago, once per session (asked by wg.c).
 *   forget        540 s after a session was derived, or after giving up: wipe all keys of the peer.
 *
 * A handshake is complete when its response is consumed, or for its responder when the first packet on it has come.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg_timers.h"

void ml_wg_timers_init(struct ml_wg_timers *t)
{
    *t = (struct ml_wg_timers){
        .retransmit_at = ML_TICK_NEVER,
        .keepalive_at = ML_TICK_NEVER,
        .new_handshake_at = ML_TICK_NEVER,
        .forget_at = ML_TICK_NEVER,
        .handshake_sent_at = ML_TICK_NEVER,
    };
}

static ml_time jitter(const ml_random *rng)
{
    return ML_MSEC(ml_random_below(rng, ML_WG_JITTER_MS));
}

void ml_wg_timers_data_sent(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now, const ml_random *rng)
{
    if (t->new_handshake_at == ML_TICK_NEVER) {
        t->new_handshake_at = ml_tick_of(e, now + ML_WG_KEEPALIVE_TIMEOUT + ML_WG_REKEY_TIMEOUT + jitter(rng));
    }
}

void ml_wg_timers_data_received(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now)
{
    if (t->keepalive_at == ML_TICK_NEVER) {
        t->keepalive_at = ml_tick_of(e, now + ML_WG_KEEPALIVE_TIMEOUT);
    }
}

void ml_wg_timers_any_sent(struct ml_wg_timers *t)
{
    t->keepalive_at = ML_TICK_NEVER;
}

void ml_wg_timers_any_received(struct ml_wg_timers *t)
{
    t->new_handshake_at = ML_TICK_NEVER;
}

void ml_wg_timers_initiation_sent(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now, const ml_random *rng)
{
    t->handshake_sent_at = ml_tick_of(e, now);
    t->retransmit_at = ml_tick_of(e, now + ML_WG_REKEY_TIMEOUT + jitter(rng));
    ml_wg_timers_any_sent(t);
}

void ml_wg_timers_response_sent(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now)
{
    t->handshake_sent_at = ml_tick_of(e, now);
    ml_wg_timers_any_sent(t);
}

void ml_wg_timers_session_derived(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now)
{
    t->forget_at = ml_tick_of(e, now + ML_WG_FORGET_AFTER);
}

void ml_wg_timers_handshake_complete(struct ml_wg_timers *t)
{
    t->retransmit_at = ML_TICK_NEVER;
    t->attempts = 0;
    t->has_refreshed = false;
}

bool ml_wg_timers_want_handshake(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now, const ml_random *rng,
                                 bool is_retry, bool has_waiting)
{
    if (!is_retry) {
        t->attempts = 0;
    }
    if (t->handshake_sent_at == ML_TICK_NEVER || now - ml_tick_time(e, t->handshake_sent_at) >= ML_WG_REKEY_TIMEOUT) {
        return true;
    }
    if (has_waiting && t->retransmit_at == ML_TICK_NEVER) {
        t->retransmit_at = ml_tick_of(e, ml_tick_time(e, t->handshake_sent_at) + ML_WG_REKEY_TIMEOUT + jitter(rng));
    }
    return false;
}

unsigned ml_wg_timers_expire(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now)
{
    unsigned due = 0;

    if (now >= ml_tick_time(e, t->retransmit_at)) {
        t->retransmit_at = ML_TICK_NEVER;
        if (t->attempts > ML_WG_MAX_ATTEMPTS) {
            t->keepalive_at = ML_TICK_NEVER;
            if (t->forget_at == ML_TICK_NEVER) {
                t->forget_at = ml_tick_of(e, now + ML_WG_FORGET_AFTER);
            }
            due |= ML_WG_DUE_GIVE_UP;
        } else {
            t->attempts++;
            due |= ML_WG_DUE_RETRY;
        }
    }
    if (now >= ml_tick_time(e, t->keepalive_at)) {
        t->keepalive_at = ML_TICK_NEVER;
        due |= ML_WG_DUE_KEEPALIVE;
    }
    if (now >= ml_tick_time(e, t->new_handshake_at)) {
        t->new_handshake_at = ML_TICK_NEVER;
        due |= ML_WG_DUE_INITIATION;
    }
    if (now >= ml_tick_time(e, t->forget_at)) {
        ml_wg_timers_init(t);
        due = ML_WG_DUE_FORGET;
    }
    return due;
}

ml_time ml_wg_timers_deadline(const struct ml_wg_timers *t, const struct ml_epoch *e)
{
    ml_tick at = t->retransmit_at;

    at = t->keepalive_at < at ? t->keepalive_at : at;
    at = t->new_handshake_at < at ? t->new_handshake_at : at;
    return ml_tick_time(e, t->forget_at < at ? t->forget_at : at);
}

void ml_wg_timers_moved(struct ml_wg_timers *t, ml_time by)
{
    ml_tick *const all[] = {&t->retransmit_at, &t->keepalive_at, &t->new_handshake_at, &t->forget_at, &t->handshake_sent_at};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i] = ml_tick_moved(*all[i], by);
    }
}
