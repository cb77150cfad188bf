/*
 * Queue of packets waiting to be polled: a byte ring of records, each whole and contiguous.
 *
 * Owns nothing but the memory it is given. When a record does not fit it is refused and the caller decides; nothing already
 * queued is ever dropped, so that a sealed packet whose counter is spent goes out in order.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CORE_OUTQ_H
#define ML_CORE_OUTQ_H

#include "microlink/types.h"

struct ml_outq {
    uint8_t *mem;
    uint32_t cap;
    uint32_t head;  /* offset of the oldest record */
    uint32_t tail;  /* offset behind the newest record */
    uint32_t wrap;  /* end of the used part when tail has wrapped below head, else cap */
    uint32_t count; /* records queued, the reserved one not included */
    uint32_t reserved_at;
    uint32_t reserved_len;
    uint32_t scratch_len; /* what lies at reserved_at is to be wiped before anything else happens there */
};

struct ml_outq_rec {
    uint32_t len;  /* of the packet */
    uint32_t size; /* of the whole record in the ring */
    uint8_t kind;
    uint8_t pad[7];
    ml_addr addr;
};

void ml_outq_init(struct ml_outq *q, uint8_t *mem, uint32_t cap);
/** Whether a packet of @p len bytes can be added now. */
bool ml_outq_has_room(const struct ml_outq *q, uint32_t len);
/** Room for a packet of up to @p len bytes to be written in place, or NULL. Followed by commit or by nothing. */
uint8_t *ml_outq_reserve(struct ml_outq *q, uint32_t len);
/** Room that is used for something else until the next call on this queue, which wipes it: it may hold a secret. Or NULL. */
uint8_t *ml_outq_scratch(struct ml_outq *q, uint32_t len);
void ml_outq_end_scratch(struct ml_outq *q);
/** Queues the first @p len bytes of the reserved room. */
void ml_outq_commit(struct ml_outq *q, uint8_t kind, const ml_addr *addr, uint32_t len);
/** The oldest record and its packet, or NULL. Stays until ml_outq_pop(). */
const struct ml_outq_rec *ml_outq_peek(const struct ml_outq *q, const uint8_t **packet);
void ml_outq_pop(struct ml_outq *q);

#endif
