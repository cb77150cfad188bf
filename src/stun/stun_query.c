/*
 * One STUN transaction. SPDX-License-Identifier: MIT
 */
#include "stun/stun_query.h"

#include "base/bytes.h"
#include "base/rng.h"

void ml_stun_query_start(struct ml_stun_query *q, ml_time now, const ml_random *rng, uint8_t out[ML_STUN_REQUEST_LEN])
{
    ml_random_fill(rng, q->tx, sizeof q->tx);
    q->is_open = true;
    q->sent_at = now;
    ml_stun_write_request(out, q->tx);
}

bool ml_stun_query_matches(const struct ml_stun_query *q, const uint8_t tx[ML_STUN_TX_LEN])
{
    return q->is_open && memcmp(q->tx, tx, ML_STUN_TX_LEN) == 0;
}

ml_time ml_stun_query_finish(struct ml_stun_query *q, ml_time now)
{
    q->is_open = false;
    return now > q->sent_at ? now - q->sent_at : 1;
}

void ml_stun_query_cancel(struct ml_stun_query *q)
{
    q->is_open = false;
}
