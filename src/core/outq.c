/*
 * See outq.h. Records are aligned to 8 bytes; a record never straddles the end of the ring.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/outq.h"
#include "crypto/crypto_backend.h"

#include <string.h>

#define HEADER ((uint32_t)sizeof(struct ml_outq_rec))

static uint32_t record_size(uint32_t len)
{
    return (HEADER + len + 7U) & ~7U;
}

void ml_outq_init(struct ml_outq *q, uint8_t *mem, uint32_t cap)
{
    memset(q, 0, sizeof *q);
    q->mem = mem;
    q->cap = cap & ~7U;
    q->wrap = q->cap;
}

/* Where a record of @p size would start; false when it fits nowhere. */
static bool place(const struct ml_outq *q, uint32_t size, uint32_t *at)
{
    if (q->count == 0) {
        *at = 0;
        return size <= q->cap;
    }
    if (q->tail > q->head) { /* used part in the middle: the end first, then the start */
        if (q->cap - q->tail >= size) {
            *at = q->tail;
            return true;
        }
        if (q->head >= size) {
            *at = 0;
            return true;
        }
        return false;
    }
    *at = q->tail;
    return q->head - q->tail >= size;
}

bool ml_outq_has_room(const struct ml_outq *q, uint32_t len)
{
    uint32_t at = 0;
    return place(q, record_size(len), &at);
}

void ml_outq_end_scratch(struct ml_outq *q)
{
    if (q->scratch_len) {
        ml_wipe(q->mem + q->reserved_at + HEADER, q->scratch_len);
        q->scratch_len = 0;
    }
}

uint8_t *ml_outq_scratch(struct ml_outq *q, uint32_t len)
{
    uint8_t *at = ml_outq_reserve(q, len);
    q->reserved_len = 0;
    q->scratch_len = at ? len : 0;
    return at;
}

uint8_t *ml_outq_reserve(struct ml_outq *q, uint32_t len)
{
    uint32_t at = 0;
    ml_outq_end_scratch(q);
    if (!place(q, record_size(len), &at)) {
        return NULL;
    }
    q->reserved_at = at;
    q->reserved_len = len;
    return q->mem + at + HEADER;
}

void ml_outq_commit(struct ml_outq *q, uint8_t kind, const ml_addr *addr, uint32_t len)
{
    struct ml_outq_rec rec = {.len = len, .size = record_size(len), .kind = kind};
    if (len > q->reserved_len) {
        return;
    }
    if (addr) {
        rec.addr = *addr;
    }
    memcpy(q->mem + q->reserved_at, &rec, sizeof rec);
    if (q->count == 0) {
        q->head = q->reserved_at;
        q->wrap = q->cap;
    } else if (q->reserved_at < q->tail && q->tail > q->head) {
        q->wrap = q->tail; /* jumped to the start: what is behind the old tail is unused */
    }
    q->tail = q->reserved_at + rec.size;
    q->count++;
    q->reserved_len = 0;
}

const struct ml_outq_rec *ml_outq_peek(const struct ml_outq *q, const uint8_t **packet)
{
    if (q->count == 0) {
        return NULL;
    }
    *packet = q->mem + q->head + HEADER;
    return (const struct ml_outq_rec *)(const void *)(q->mem + q->head);
}

void ml_outq_pop(struct ml_outq *q)
{
    const uint8_t *packet = NULL;
    const struct ml_outq_rec *rec = ml_outq_peek(q, &packet);
    if (!rec) {
        return;
    }
    q->head += rec->size;
    q->count--;
    if (q->count == 0) {
        q->head = q->tail = 0;
        q->wrap = q->cap;
    } else if (q->head >= q->wrap) {
        q->head = 0;
        q->wrap = q->cap;
    }
}
