/*
 * The relay connections of a node: which regions to be connected to, over which of them to reach a peer, when to let go.
 *
 * Source: dataplane.md 7.5 and 7.7. Owns a bounded number of derp_client connections ("slots"), the learned routes and the
 * back-off per region. Knows regions by number only: who looks up hosts, opens streams and reads the DERP map is the caller.
 *
 * Rules, in prose:
 * - The home region is kept connected for ever; its slot is never given to another region.
 * - A packet goes over the peer's home region if that is connected, else over the connection the peer was last heard on (a
 *   learned route), else the peer's home region is connected; up to ML_DERP_STAGED packets wait for it.
 * - Other connections close 60 to 75 s after our last packet on them. When all slots are taken, the one without a packet of
 *   ours for longest goes, if that is at least ML_DERP_EVICT_IDLE; otherwise the packet is dropped (ML_DROP_NO_MEMORY).
 * - A region that failed n times in a row is left alone for ml_backoff(n, 5 s); a login resets it. A server that announced a
 *   restart is tried again when it said.
 * - A packet for a region that is left alone brings its next dial forward, and that of the home, over which answers come: to
 *   50 to 150 ms after the failure, for as long as no more than ML_DERP_EAGER_DIALS failed in a row (about 2 s). A relay that
 *   restarts is found soon by who needs it, and one that stays away sees no more of a fleet than the back-off allows. (The
 *   official client dials for every packet.)
 * - A learned route goes when the server says the peer is gone, when its connection ends, or when the table is full and it is
 *   the oldest.
 *
 * After each call drain, in this order: poll_event, poll_close, poll_open.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DERP_DERP_POOL_H
#define ML_DERP_DERP_POOL_H

#include "derp/derp_client.h"

#define ML_DERP_SLOTS_MAX   8
#define ML_DERP_BACKOFFS    8 /**< Regions whose failures are remembered; beyond, the one due first is forgotten. */
#define ML_DERP_BACKOFF_CAP ML_SEC(5)
#define ML_DERP_EAGER_DIALS 20 /**< Failures in a row up to which a packet brings the next dial forward. */
#define ML_DERP_EAGER_WAIT  ML_MSEC(100)
#define ML_DERP_IDLE_MIN    ML_SEC(60)
#define ML_DERP_IDLE_SPREAD ML_SEC(15)
#define ML_DERP_EVICT_IDLE  ML_SEC(5)

struct ml_derp_slot {
    struct ml_derp_client client;
    uint16_t region; /* 0 = free */
    uint8_t state;
    bool must_close; /* the stream of the slot's former life is still to be closed by the caller */
    bool was_login;
    ml_time open_at;    /* not before */
    ml_time write_at;   /* last packet of ours, or start of the slot's life */
    ml_time idle_for;   /* 60..75 s */
    ml_time restart_in; /* ML_NEVER: no restart announced */
};

struct ml_derp_route {
    uint8_t key[16]; /* the first half of the node key */
    uint8_t slot;    /* UINT8_MAX = free */
    uint32_t heard;  /* order in which they were heard, the larger the later; may wrap */
};

struct ml_derp_backoff {
    uint16_t region; /* 0 = free */
    uint16_t failures;
    ml_time until;
    ml_time until_sending; /* the same for a packet that waits; not later */
};

struct ml_derp_pool {
    struct ml_derp_self self;
    struct ml_derp_slot *slots;
    struct ml_derp_route *routes;
    uint8_t slot_count;
    uint16_t route_count;
    uint32_t heard; /* of the route heard last */
    uint16_t home;  /* 0 = none */
    struct ml_derp_backoff backoffs[ML_DERP_BACKOFFS];
};

/** All memory is the caller's and must outlive the pool; slots and routes need not be initialised. */
struct ml_derp_pool_cfg {
    struct ml_derp_self self;
    struct ml_derp_slot *slots;
    uint8_t slot_count; /**< 1..ML_DERP_SLOTS_MAX. With 1 and a home set, only the home is ever connected. */
    uint8_t *tx;        /**< slot_count * tx_cap_each bytes. */
    size_t tx_cap_each; /**< At least ML_DERP_TX_MIN. */
    struct ml_derp_route *routes;
    uint16_t route_count;
};
/** @brief Prepare. The pool must not be moved afterwards: its connections point to it. */
void ml_derp_pool_init(struct ml_derp_pool *p, const struct ml_derp_pool_cfg *cfg);

/** @brief Our home region, 0 for none. Opened at once; all connections are told (NotePreferred). */
void ml_derp_pool_set_home(struct ml_derp_pool *p, ml_time now, uint16_t region);
/** @brief The region was redefined or removed: its connection is closed. The home reconnects by itself while it is set. */
void ml_derp_pool_close_region(struct ml_derp_pool *p, ml_time now, uint16_t region);
/** @brief Close everything and forget routes and back-off: node key changed, or stopping. The home setting stays. */
void ml_derp_pool_reset(struct ml_derp_pool *p, ml_time now);
/** @brief The network changed: check every connection by a ping. What is being dialled, or waits for it, is dialled at once. */
void ml_derp_pool_check(struct ml_derp_pool *p, ml_time now);

/**
 * @brief Send a packet to a peer, over whatever connection the rules above name.
 * @param home_region  The peer's home, 0 if it has none.
 * @return ML_DROP_NONE, those of ml_derp_client_send(), ML_DROP_ROUTE_NO_PATH or ML_DROP_NO_MEMORY.
 */
ml_drop ml_derp_pool_send(struct ml_derp_pool *p, ml_time now, const ml_node_key *dst, uint16_t home_region,
                          const uint8_t *packet, size_t len);
/** @brief Would ml_derp_pool_send() send at once, instead of waiting for a connection? */
bool ml_derp_pool_has_way(const struct ml_derp_pool *p, const ml_node_key *dst, uint16_t home_region);
/** @brief Connect a region (0: none) as a packet for it would, which the caller still holds. */
void ml_derp_pool_dial(struct ml_derp_pool *p, ml_time now, uint16_t region);
/** @brief Send over one region and no other: the answer to what came over it. It is connected if it is not. */
ml_drop ml_derp_pool_send_on(struct ml_derp_pool *p, ml_time now, uint16_t region, const ml_node_key *dst,
                             const uint8_t *packet, size_t len);
/** @brief This node, known from the netmap, was heard on this slot. Call for known keys only: the table is small. */
void ml_derp_pool_learn(struct ml_derp_pool *p, const ml_node_key *key, unsigned slot);

/** @brief A stream to open: @p slot is its name from now on. Answer with opened() or closed(). */
bool ml_derp_pool_poll_open(struct ml_derp_pool *p, ml_time now, unsigned *slot, uint16_t *region);
/** @brief A stream to close; the caller forgets it and calls nothing for it any more. */
bool ml_derp_pool_poll_close(struct ml_derp_pool *p, unsigned *slot);
/** @brief The stream of @p slot is up. `server->is_home` is ignored: the pool knows. */
void ml_derp_pool_opened(struct ml_derp_pool *p, ml_time now, unsigned slot, const struct ml_derp_server *server);
/** @brief The stream of @p slot could not be opened (also: no such region) or ended. Returns how many waiting packets are lost. */
unsigned ml_derp_pool_closed(struct ml_derp_pool *p, ml_time now, unsigned slot);
/** @brief Bytes of the stream of @p slot; see ml_derp_client_data(). */
void ml_derp_pool_data(struct ml_derp_pool *p, ml_time now, unsigned slot, const uint8_t *buf, size_t len, size_t *used);
/** @brief Take one event. FAILED needs no answer: poll_close follows by itself. */
bool ml_derp_pool_poll_event(struct ml_derp_pool *p, ml_time now, unsigned *slot, uint16_t *region, struct ml_derp_event *ev);
size_t ml_derp_pool_tx_peek(const struct ml_derp_pool *p, unsigned slot, const uint8_t **buf);
void ml_derp_pool_tx_done(struct ml_derp_pool *p, unsigned slot, size_t n);

void ml_derp_pool_time(struct ml_derp_pool *p, ml_time now);
/** @brief When to call time(); not later than a poll_open() that waits for its back-off. */
ml_time ml_derp_pool_deadline(const struct ml_derp_pool *p);
/** @brief The region has a connection that accepted our login. */
bool ml_derp_pool_is_connected(const struct ml_derp_pool *p, uint16_t region);

#endif
