/*
 * What the sources of path.h share among themselves: candidates, outstanding pings, shared keys. For src/path only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_PATH_INTERNAL_H
#define ML_PATH_INTERNAL_H

#include "base/addr.h"
#include "path/path.h"

/* ml_path_candidate.from: where an address is known from. It lives while one of them holds it. */
enum {
    ML_CAND_NETMAP = 1 << 0,
    ML_CAND_CMM = 1 << 1,  /* the peer's last call-me-maybe */
    ML_CAND_PING = 1 << 2, /* a ping came from it within 45 s */
    ML_CAND_GIVEN = ML_CAND_NETMAP | ML_CAND_CMM,
    ML_CAND_MARK = 1 << 7 /* scratch while a list is merged */
};

enum ml_path_ping_state { ML_PING_FREE, ML_PING_QUEUED, ML_PING_SENT };
/* ml_path_peer.check */
enum ml_path_check {
    ML_CHECK_NONE,
    ML_CHECK_ASKED,       /* a ping to the best path is on its way */
    ML_CHECK_ASKED_AGAIN, /* and a second one */
    ML_CHECK_CALLED,      /* no path, and our call-me-maybe went out: it is repeated unless there is one soon */
    ML_CHECK_LEAVING      /* the peer sends to an address that is dead or no longer ours: it was named, and will be left out */
};
/* ml_path_peer.notice: a call-me-maybe that goes out at once, whatever is fresh */
enum ml_path_notice {
    ML_NOTICE_NONE,
    ML_NOTICE_NAME, /* names the address at which the peer sees us */
    ML_NOTICE_LEAVE /* leaves it out, and all that is in doubt */
};
enum ml_path_purpose { ML_PURPOSE_DISCOVERY, ML_PURPOSE_HEARTBEAT, ML_PURPOSE_CLI };

/* path_candidate.c */

/*
 * Candidates keep times as 16-bit ticks of 16.4 ms. This is the tick of `now`, never 0, to be asked before any stamp of the peer
 * is read or written: stamps older than a minute are forgotten here, long before they could be mistaken for later ones. (When
 * nobody asked for two years, a wrong guess costs one ping too few or too many.)
 */
uint16_t ml_path_cand_tick(struct ml_path_peer *peer, ml_time now);
/* At least `d`, up to a minute, has passed between the two ticks, surely. Always true when `then` is 0. */
bool ml_path_tick_passed(uint16_t then, uint16_t now, ml_time d);
ml_addr ml_path_cand_addr(const struct ml_path_peer *peer, const struct ml_path_candidate *c);
struct ml_path_candidate *ml_path_cand_find(struct ml_path_peer *peer, const ml_addr *addr);
/* Note a ping from `addr`. The candidate, or NULL when none could be made for it. */
struct ml_path_candidate *ml_path_cand_heard(struct ml_path_peer *peer, ml_time now, const ml_addr *addr);
/* Replace the set that `from` (NETMAP or CMM) holds by this list. */
void ml_path_cand_merge(struct ml_path_peer *peer, uint8_t from, const ml_addr *addrs, size_t count);
/* Drop what nobody holds any more; the best path falls with its candidate. */
void ml_path_cand_prune(struct ml_path_peer *peer, ml_time now);
/* The best path's address; unset when there is none. */
ml_addr ml_path_best_addr(const struct ml_path_peer *peer);
bool ml_path_is_best(const struct ml_path_peer *peer, const ml_addr *addr);
void ml_path_best_set(struct ml_path_peer *peer, const struct ml_path_candidate *c);
void ml_path_best_clear(struct ml_path_peer *peer);

/* path_ping.c */
bool ml_path_ping_queue(struct ml_path *p, ml_time now, uint16_t slot, const ml_addr *to, uint16_t derp_region,
                        enum ml_path_purpose purpose, uint8_t cli);
/* The sent ping with this ID to a peer with that disco key, or NULL. */
struct ml_path_ping *ml_path_ping_find(struct ml_path *p, ml_time now, const uint8_t tx[ML_DISCO_TX_LEN],
                                       const ml_disco_key *disco);
void ml_path_ping_forget_slot(struct ml_path *p, uint16_t slot);
void ml_path_ping_on_time(struct ml_path *p, ml_time now);
ml_time ml_path_ping_deadline(const struct ml_path *p);
bool ml_path_pong_queue(struct ml_path *p, const struct ml_path_in *in, const ml_addr *src);
void ml_path_cli_finish(struct ml_path *p, uint8_t cli, const struct ml_path_pong *result);

/* path_key.c */

/* The shared key with `disco`: from a slot, from the cache, or computed now. NULL: no keys, limited, or a bad point. */
const struct ml_disco_shared *ml_path_shared(struct ml_path *p, ml_time now, const ml_disco_key *disco);
/* Drops the shared key of a slot whose peer has another disco key by now. */
void ml_path_shared_check(struct ml_path_peer *peer);
void ml_path_keys_clear(struct ml_path *p);

/* path_check.c */

/* A ping to the best path is on its way: it has to be answered in time. Nothing if a check is under way already. */
void ml_path_check_begin(struct ml_path *p, struct ml_path_peer *peer, ml_time now);
void ml_path_check_end(struct ml_path_peer *peer);
void ml_path_check_on_time(struct ml_path *p, ml_time now, uint16_t slot);
/* Something authentic came from the best path. */
void ml_path_note_heard(struct ml_path *p, struct ml_path_peer *peer, ml_time now);
/* A pong of the best path says that the peer sees us at `seen`. `is_old_path`: that path was best, and trusted, before it. */
void ml_path_note_seen(struct ml_path *p, ml_time now, struct ml_path_peer *peer, const ml_addr *seen, bool is_old_path);
/* Write the call-me-maybe that the peer's notice asks for; without one, that of discovery. */
void ml_path_cmm_write(const struct ml_path *p, ml_time now, const struct ml_path_peer *peer, struct ml_disco_msg *m);
/* It was sent, or cannot be: not wanted any more. */
void ml_path_cmm_done(struct ml_path_peer *peer);
/* The call-me-maybe of discovery was sent: repeat it if no path comes of it and there are repeats left. */
void ml_path_cmm_await(struct ml_path *p, struct ml_path_peer *peer, ml_time now);

/* path.c */
/* How long ago that was. */
ml_time ml_path_since(const struct ml_path *p, ml_time now, ml_tick t);
bool ml_path_is_trusted(const struct ml_path *p, const struct ml_path_peer *peer, ml_time now);
/* The tick of an instant, which is 0, ML_NEVER, or not far from now, to be stored in a peer. */
ml_tick ml_path_tick(struct ml_path *p, ml_time at);
/* Ping the best path. False: there is none, or no room. */
bool ml_path_ping_best(struct ml_path *p, ml_time now, uint16_t slot);
void ml_path_discover(struct ml_path *p, ml_time now, uint16_t slot, bool with_cmm);
/* Ping this candidate for discovery. False: no room. */
bool ml_path_ping_candidate(struct ml_path *p, ml_time now, uint16_t slot, struct ml_path_candidate *c);
bool ml_path_family_usable(const struct ml_path *p, bool is4);

static inline bool ml_path_is_open(const struct ml_path_peer *peer)
{
    return peer->node != NULL;
}
static inline bool ml_path_has_best(const struct ml_path_peer *peer)
{
    return peer->best != 0;
}
static inline ml_time ml_path_time(const struct ml_path *p, ml_tick t)
{
    return ml_tick_time(&p->epoch, t);
}
/* `since` of a time field where 0 means never; an instant 0 counts as 1 microsecond later. */
static inline ml_time ml_path_stamp(ml_time now)
{
    return now ? now : 1;
}

#endif
