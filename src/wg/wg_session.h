/*
 * The keypairs of one peer: install, rotate, seal and open data messages (dataplane.md 1.3).
 *
 * Three keypairs: `next` (we answered a handshake, the peer has not used it yet), `current` (we send on it) and `previous`
 * (stragglers still arrive on it; its sending key is already gone). The window of received counters is that of `current`;
 * `previous` keeps the newest part of it, `next` has none until its first packet makes it current. No timers, no I/O.
 *
 * `next` and `previous` matter for a moment only, so sessions share the room for them. When there is none left, a new one takes
 * the place of the oldest `previous` of any session, whose stragglers are then dropped; a new `next` also that of the oldest
 * `next` that its peer did not use for REKEY_TIMEOUT. Otherwise a handshake is not answered now; who owns this waits a moment.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_WG_SESSION_H
#define ML_WG_SESSION_H

#include "base/tick.h"
#include "microlink/stats.h"
#include "wg/wg_handshake.h"
#include "wg/wg_replay.h"

/**
 * Counters behind the highest that are told apart on the current keypair, a multiple of 32; +1 byte per 8 per session. A fast
 * host needs many, as packets of one flow overtake each other in its queues; ports for small chips set 256. At least 128.
 */
#ifndef ML_CFG_WG_WINDOW
#define ML_CFG_WG_WINDOW 2048
#endif
/** The same for the previous keypair, on which only packets in flight at the moment of a rekey arrive. */
#ifndef ML_CFG_WG_WINDOW_PREVIOUS
#define ML_CFG_WG_WINDOW_PREVIOUS 256
#endif
_Static_assert(ML_CFG_WG_WINDOW % 32 == 0 && ML_CFG_WG_WINDOW >= 128 && ML_CFG_WG_WINDOW <= 65536, "window");
_Static_assert(ML_CFG_WG_WINDOW_PREVIOUS % 32 == 0 && ML_CFG_WG_WINDOW_PREVIOUS <= ML_CFG_WG_WINDOW, "previous window");

#define ML_WG_REJECT_AFTER_TIME  ML_SEC(180)
#define ML_WG_REJECT_AFTER_COUNT (UINT64_MAX - (UINT64_C(1) << 13)) /* 2^64 - 2^13 - 1 */
#define ML_WG_REKEY_AFTER_COUNT  (UINT64_C(1) << 60)

struct ml_wg_keypair {
    uint8_t send[32];
    uint8_t receive[32];
    uint64_t counter; /* next to send */
    ml_tick created_at;
    uint32_t local_index; /* 0: this keypair is empty */
    uint32_t remote_index;
    bool is_initiator; /* of the handshake */
};

/** Room for a keypair that is not current. Private to wg_session.c, but for `next` and its `mac1`. */
struct ml_wg_spare {
    struct ml_wg_session *owner; /* whose `next` or `previous` it is; NULL: free */
    ml_tick created_at;
    uint32_t local_index;
    uint8_t receive[32];
    union {
        struct {
            uint32_t remote_index;
            uint8_t send[32];
            uint8_t mac1[ML_WG_MAC_LEN]; /* of our response, for a cookie that answers it */
        } next;
        struct {
            struct ml_wg_replay seen;
            uint32_t ring[ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW_PREVIOUS)];
        } previous;
    } as;
};

/** What the sessions of a device have in common. */
struct ml_wg_common {
    struct ml_epoch epoch;      /* of every `created_at`; never due when something is stored */
    struct ml_wg_spare *spares; /* zero at first */
    uint16_t spare_count;
};

enum ml_wg_which { ML_WG_KEYPAIR_NONE, ML_WG_KEYPAIR_CURRENT, ML_WG_KEYPAIR_NEXT, ML_WG_KEYPAIR_PREVIOUS };

struct ml_wg_session {
    struct ml_wg_keypair current;
    struct ml_wg_spare *next, *previous; /* NULL: none */
    struct ml_wg_replay seen;
    uint32_t ring[ML_WG_REPLAY_BLOCKS(ML_CFG_WG_WINDOW)];
};

/** Wipes all keypairs and gives back what @p s has of the spares. Also the first call on a session, which is then all zero. */
void ml_wg_session_clear(struct ml_wg_session *s);
/** Keys of a handshake that we started: they become current at once. Handshakes that crossed: see wg_session.c. */
void ml_wg_session_install_current(struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now,
                                   const struct ml_wg_keys *keys);
/** May a handshake be answered, that is, would ml_wg_session_install_next() find room? */
bool ml_wg_session_has_room(const struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now);
/** Keys of a handshake that we answered: they become next, and whatever was previous is dropped. False: no room. */
bool ml_wg_session_install_next(struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now,
                                const struct ml_wg_keys *keys);
/** True when data may be sent: a current keypair younger than 180 s with counters left. */
bool ml_wg_session_can_send(const struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now);
/** The instant at which the current keypair was derived; 0: there is none. */
ml_time ml_wg_session_created_at(const struct ml_wg_session *s, const struct ml_wg_common *common);
/** Which keypair has this receiver index of ours. */
enum ml_wg_which ml_wg_session_find(const struct ml_wg_session *s, uint32_t local_index);

/**
 * @brief Seal in place on the current keypair; only while ml_wg_session_can_send().
 * @param msg  Plaintext at msg + 16; the whole message of plain_len + 32 bytes is written.
 */
void ml_wg_session_seal(struct ml_wg_session *s, uint8_t *msg, size_t plain_len);
/**
 * @brief Open a data message in place: age, authenticity, replay, and promotion of `next`.
 * @param msg    Of @p len bytes, at least 32; plaintext of len - 32 bytes at msg + 16 on success, scrambled otherwise.
 * @param wins_crossing  When our handshake and the peer's crossed, ours is the one to stay: our public key is the larger.
 * @param first  Set when this packet made `next` current.
 */
ml_drop ml_wg_session_open(struct ml_wg_session *s, const struct ml_wg_common *common, ml_time now, enum ml_wg_which which,
                           uint8_t *msg, size_t len, bool wins_crossing, bool *first);

#endif
