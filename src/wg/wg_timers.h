/*
 * The timer state machine of one peer, free of packets: it is told what happened and says what is due (dataplane.md 1.3).
 *
 * The rules are listed in wg_timers.c. What "due" means (write an initiation, a keepalive) is wg.c's business.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_TIMERS_H
#define ML_WG_TIMERS_H

#include "base/rng.h"
#include "base/tick.h"

#define ML_WG_REKEY_AFTER_TIME  ML_SEC(120)
#define ML_WG_REFRESH_AFTER     ML_SEC(165) /* reject - keepalive - rekey timeout */
#define ML_WG_REKEY_TIMEOUT     ML_SEC(5)
#define ML_WG_KEEPALIVE_TIMEOUT ML_SEC(10)
#define ML_WG_FORGET_AFTER      ML_SEC(540)
#define ML_WG_FLOOD_INTERVAL    ML_MSEC(20)
#define ML_WG_FLIGHT_MIN        ML_SEC(1) /* what an initiation has to be answered before another peer's may take its place */
#define ML_WG_MAX_ATTEMPTS      18
#define ML_WG_JITTER_MS         334

struct ml_wg_timers {
    ml_tick retransmit_at; /* each ML_TICK_NEVER while not running */
    ml_tick keepalive_at;
    ml_tick new_handshake_at;
    ml_tick forget_at;
    ml_tick handshake_sent_at; /* last initiation or response sent; ML_TICK_NEVER: none */
    uint8_t attempts;
    bool has_refreshed; /* the one re-handshake on receipt per session was asked for */
};

/** What an expiry asks for; several at once are possible. */
enum {
    ML_WG_DUE_INITIATION = 1 << 0,
    ML_WG_DUE_KEEPALIVE = 1 << 1,
    ML_WG_DUE_RETRY = 1 << 2,   /* the same initiation's retry: does not reset the attempt count */
    ML_WG_DUE_GIVE_UP = 1 << 3, /* free the waiting packets */
    ML_WG_DUE_FORGET = 1 << 4   /* wipe everything of this peer */
};

/* @p e is always the same, and never due when something is stored. */
void ml_wg_timers_init(struct ml_wg_timers *t);
void ml_wg_timers_data_sent(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now, const ml_random *rng);
void ml_wg_timers_data_received(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now);
void ml_wg_timers_any_sent(struct ml_wg_timers *t);
void ml_wg_timers_any_received(struct ml_wg_timers *t);
void ml_wg_timers_initiation_sent(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now, const ml_random *rng);
void ml_wg_timers_response_sent(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now);
void ml_wg_timers_session_derived(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now);
void ml_wg_timers_handshake_complete(struct ml_wg_timers *t);
/**
 * @brief Somebody wants a new session. Resets the attempt count, unless it is a retry.
 * @param has_waiting  Packets wait for it: then a refusal arms the retry timer, so that they cannot wait for ever.
 * @return true when an initiation may be sent now: none and no response was sent within the last 5 s.
 */
bool ml_wg_timers_want_handshake(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now, const ml_random *rng,
                                 bool is_retry, bool has_waiting);
/** Runs what has expired; returns ML_WG_DUE_* bits. */
unsigned ml_wg_timers_expire(struct ml_wg_timers *t, const struct ml_epoch *e, ml_time now);
ml_time ml_wg_timers_deadline(const struct ml_wg_timers *t, const struct ml_epoch *e);
/** The owner moved the epoch: see base/tick.h. */
void ml_wg_timers_moved(struct ml_wg_timers *t, ml_time by);

#endif
