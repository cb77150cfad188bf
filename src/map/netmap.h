/*
 * The peer table: bounded, in caller's memory, changed only by applying the deltas of the map stream (control.md 8.2, 13).
 *
 * A tailnet of any size works with any table size: when there are more peers than slots, those that are needed most are kept
 * (enum ml_map_need), among equals those with the lowest ids. The others are counted in `omitted`, and a Bloom filter of
 * their keys and addresses tells whether a stranger may be one of them; a peer left out comes back when control names it
 * again, as in the full list that every new stream begins with, and somebody needs it more then. docs/netmap.md. Names live in a byte heap of their own: the first label of each, and up to ML_MAP_SUFFIXES shared
 * suffixes; a name with another suffix is kept whole. When the heap is full a peer has no name. Routes beyond a peer's own
 * addresses live in a shared pool; those that do not fit are not used until control names their peer again. All of it is
 * counted.
 *
 * Cost per slot: 160 B record, 18 B of names by default (a label of 14), 13..23 B of indexes, 2 B of Bloom filter. Does not
 * know sessions: every apply says what changed, and core/ acts on it at once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MAP_NETMAP_H
#define ML_MAP_NETMAP_H

#include "model/delta.h"
#include "model/peer.h"

#define ML_MAP_SUFFIXES      8
#define ML_MAP_MAX_PEERS     32000
#define ML_MAP_DEFAULT_EXTRA 16

struct ml_map_cfg {
    uint16_t max_peers;  /**< 1..ML_MAP_MAX_PEERS. */
    uint16_t max_extras; /**< Shared routes beyond own addresses; 0 = one for 16 peers, at least ML_MAP_DEFAULT_EXTRA. */
    uint32_t hint_bytes; /**< Bloom filter of peers left out, a power of two; 0 = 2 per peer, at least 128. */
    uint32_t name_bytes; /**< Name heap; 0 = 18 per peer and 256. */
};

/** Why a peer is kept. Given by core/, which knows sessions and rules. */
enum ml_map_need {
    ML_NEED_NONE,
    ML_NEED_ALLOWED, /**< The rules let it speak to us. */
    ML_NEED_RECENT,  /**< Spoke with us lately, or is waited for. */
    ML_NEED_LIVE     /**< Has a session: never makes room for another. */
};

/* What an apply did (struct ml_map_change.what). */
enum {
    ML_MAP_REMOVED = 1 << 0, /**< The peer that was in `slot` is gone: end its session at once. Comes before ADDED. */
    ML_MAP_ADDED = 1 << 1,   /**< A new peer is in `slot`. */
    ML_MAP_KEY = 1 << 2,     /**< New node key: end the session, the old key must not be used again. */
    ML_MAP_DISCO = 1 << 3,   /**< New disco key. */
    ML_MAP_ENDPOINTS = 1 << 4,
    ML_MAP_REGION = 1 << 5,
    ML_MAP_ADDRESS = 1 << 6, /**< Addresses, routes or masquerade changed: sources that were right may be wrong now. */
    ML_MAP_EXPIRED = 1 << 7, /**< Became expired: end the session. */
    ML_MAP_RENEWED = 1 << 8, /**< No longer expired. */
    ML_MAP_JAILED = 1 << 9,  /**< Jailed or unsigned state changed. */
    ML_MAP_NAME = 1 << 10,
    ML_MAP_ONLINE = 1 << 11,
    ML_MAP_OTHER = 1 << 12 /**< Shown in status only. */
};

struct ml_map_change {
    uint32_t what;          /**< 0: nothing changed. */
    uint16_t slot;          /**< ML_PEER_NONE when `what` is 0. */
    uint64_t old_id;        /**< REMOVED: who it was. */
    ml_node_key old_key;    /**< REMOVED, KEY: the key that is no longer valid. */
    ml_disco_key old_disco; /**< REMOVED, DISCO. */
};

/* Drops since init, by reason; the integrator adds them to its own. */
struct ml_map_counts {
    uint32_t peer_over_limit, endpoint_over_limit, route_over_limit, name_over_limit;
};

/* An open-addressing hash of slots. Private. */
struct ml_map_index {
    uint16_t *cell;
    uint32_t mask;
};
struct ml_map_suffix {
    uint32_t at; /* record in the name heap; 0 = unused */
    uint32_t refs;
};

struct ml_map {
    struct ml_peer_table t; /**< For route/, and for reading. */
    struct ml_map_counts counts;
    uint32_t omitted; /**< Peers of the last full list, and since, that had no slot; those removed since still count. */
    enum ml_map_need next_need; /**< Of the node in the next PEER delta: set before ml_map_apply(), which resets it. */
    uint32_t unsigned_count;    /**< Peers with ML_PEER_IS_UNSIGNED. */
    uint16_t peer_count;
    /* Private. */
    uint16_t max_extras;
    uint16_t *by_id; /* slots in order of id, peer_count of them */
    struct ml_map_index key_index, disco_index, ip_index;
    uint16_t free_slot; /* no free slot below this one */
    uint16_t sweep_at;  /* position in by_id */
    bool is_full_list, is_sweeping, is_first, is_replaced;
    struct ml_map_suffix suffixes[ML_MAP_SUFFIXES];
    uint8_t *hints;
    uint32_t hint_mask; /* in bits */
    uint8_t *names;
    uint32_t name_cap, name_len, name_free;
};

/** Bytes of memory for a table, aligned for max_align_t; 0 when @p cfg is impossible. */
size_t ml_map_mem(const struct ml_map_cfg *cfg);
/** @param mem ml_map_mem(cfg) zero bytes aligned for max_align_t, the table's from now on. Only what is used is touched. */
void ml_map_init(struct ml_map *m, const struct ml_map_cfg *cfg, void *mem);
/** Forgets all peers (logout, another identity). */
void ml_map_clear(struct ml_map *m);

/**
 * Applies one delta; those that are not about peers are ignored, but BEGIN, END and ABORT must be given too.
 *
 * Within one message the order of control.md 8.2 holds whatever the order of the fields: a peer both changed and removed is
 * changed, a patch outranks the online list, and a full list outranks every other peer field. The first message of a stream
 * replaces the table even when it names no peer. After PEERS_END and END call ml_map_sweep() until it returns false, before
 * the next delta.
 * @param unix_now  Wall-clock seconds, 0 when not known; for PEER_SEEN only.
 */
void ml_map_apply(struct ml_map *m, const struct ml_delta *d, int64_t unix_now, struct ml_map_change *change);
/** Takes out the next peer that a finished full list did not name. False when there is none left. */
bool ml_map_sweep(struct ml_map *m, struct ml_map_change *change);
/**
 * Marks the next peer whose key has expired at @p unix_now, which is ControlTime-corrected (control.md 13.1); it has no
 * endpoints and contributes no routes until control gives it a later expiry (its home region must not be used either). Before 2023-01-10
 * (ML_MAP_CLOCK_MIN) the clock is taken as not set and nothing expires. Call until false.
 */
bool ml_map_expire(struct ml_map *m, int64_t unix_now, struct ml_map_change *change);
/** Unix time of the next expiry, 0 if none: call ml_map_expire() then (the reference waits 10 s more). */
int64_t ml_map_next_expiry(const struct ml_map *m);
#define ML_MAP_CLOCK_MIN INT64_C(1673373066)

/** Sets a peer's disco key learnt from a TSMP advertisement; a zero or equal key changes nothing (dataplane.md 8.4). */
void ml_map_set_disco(struct ml_map *m, uint16_t slot, const ml_disco_key *disco, struct ml_map_change *change);

/** How much the peer in @p slot is needed from now on. */
void ml_map_set_need(struct ml_map *m, uint16_t slot, enum ml_map_need need);
enum ml_map_need ml_map_need_of(const struct ml_map *m, uint16_t slot);
/** Whether a peer that was left out may have this key, or address. True by mistake at times, false never. */
bool ml_map_may_omit_key(const struct ml_map *m, const ml_node_key *key);
bool ml_map_may_omit_ip(const struct ml_map *m, const ml_ip *ip);

/* Lookups return a slot, or ML_PEER_NONE. */
uint16_t ml_map_find_id(const struct ml_map *m, uint64_t id);
uint16_t ml_map_find_key(const struct ml_map *m, const ml_node_key *key);
/** Several peers may share a disco key: begin with @p after ML_PEER_NONE, then pass the last result to get the next. */
uint16_t ml_map_find_disco(const struct ml_map *m, const ml_disco_key *disco, uint16_t after);
/** By one of the peer's own addresses (also those in extras), expired or not. */
uint16_t ml_map_find_ip(const struct ml_map *m, const ml_ip *ip);
/** By MagicDNS name: FQDN with or without its dot, or first label; case does not matter. Walks the table. */
uint16_t ml_map_find_name(const struct ml_map *m, const char *name, size_t len);
/** The peer at @p position 0..peer_count-1 in order of ids. */
uint16_t ml_map_at(const struct ml_map *m, uint16_t position);
static inline const struct ml_peer *ml_map_peer(const struct ml_map *m, uint16_t slot)
{
    return slot < m->t.slot_count && m->t.peers[slot].id ? &m->t.peers[slot] : NULL;
}

/* Unpacking a record. */
ml_ip ml_map_peer_ip4(const struct ml_peer *p); /**< Unset if none. */
ml_ip ml_map_peer_ip6(const struct ml_peer *p);
uint8_t ml_map_peer_endpoints(const struct ml_peer *p, ml_addr out[ML_PEER_EP_MAX]);
/** FQDN with trailing dot as control sent it, terminated; returns its length, 0 when there is no name. */
size_t ml_map_peer_name(const struct ml_map *m, uint16_t slot, char *out, size_t cap);
const char *ml_map_peer_os(const struct ml_peer *p); /**< "" if unknown. Static storage. */

/** Whether everything is consistent: indexes, order, name heap, counts. For tests and fuzzing; O(n^2). */
bool ml_map_check(const struct ml_map *m);

#endif
