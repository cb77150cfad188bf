/*
 * One STUN transaction: a request with a random ID, sent once, and its answer with the round-trip time. dataplane.md 5.
 *
 * Retries are new transactions: a late answer to the first try must not be credited to the second one's send time.
 * Knows no addresses: the answer's source is deliberately not checked, as in the official client, only its ID.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_STUN_QUERY_H
#define ML_STUN_QUERY_H

#include "stun/stun_msg.h"

struct ml_stun_query {
    uint8_t tx[ML_STUN_TX_LEN];
    bool is_open; /* sent, not answered, not given up */
    ml_time sent_at;
};

/** @brief Start: writes the request to @p out and counts from @p now. Whatever ran in @p q before is forgotten. */
void ml_stun_query_start(struct ml_stun_query *q, ml_time now, const ml_random *rng, uint8_t out[ML_STUN_REQUEST_LEN]);

/** @brief Is an answer with transaction ID @p tx the one we wait for? */
bool ml_stun_query_matches(const struct ml_stun_query *q, const uint8_t tx[ML_STUN_TX_LEN]);

/** @brief Take the answer of a matching query: closes it and returns the round-trip time, at least 1 microsecond. */
ml_time ml_stun_query_finish(struct ml_stun_query *q, ml_time now);

/** @brief Give up: answers from now on are foreign. */
void ml_stun_query_cancel(struct ml_stun_query *q);

#endif
