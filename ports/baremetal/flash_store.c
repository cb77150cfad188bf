/*
 * Records on NOR flash (see flash_store.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "flash_store.h"

#include <string.h>

#define SECTOR_MAGIC 0x314c4d46u /* "FML1" */
#define RECORD_MAGIC 0x5245434fu
#define VALID        0x00600d00u

/* All in whole words; the word that makes a thing valid is programmed after everything else of it. */
struct sector_head {
    uint32_t magic, seq, check, valid;
};
struct record_head {
    uint32_t magic;
    uint16_t kind, len;
    uint32_t check;
};

static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t len)
{
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

static uint32_t record_check(const struct record_head *h, const uint8_t *data)
{
    uint32_t crc = crc32(0, (const uint8_t *)&h->kind, sizeof h->kind);
    crc = crc32(crc, (const uint8_t *)&h->len, sizeof h->len);
    return crc32(crc, data, h->len);
}

static size_t padded(size_t len)
{
    return (len + 3) / 4 * 4;
}

/** Header, record, and the word that makes it valid. */
static size_t total(size_t len)
{
    return sizeof(struct record_head) + padded(len) + 4;
}

static uint32_t sector_seq(const struct ml_flash *f, unsigned sector)
{
    struct sector_head h;
    memcpy(&h, f->read(sector), sizeof h);
    bool ok = h.magic == SECTOR_MAGIC && h.valid == VALID && h.check == crc32(0, (const uint8_t *)&h.seq, sizeof h.seq);
    return ok ? h.seq : 0;
}

static bool is_blank(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0xff) {
            return false;
        }
    }
    return true;
}

static void scan(struct ml_flash_store *s)
{
    const uint8_t *base = s->flash->read(s->sector);
    size_t at = sizeof(struct sector_head);
    while (at + total(0) <= s->flash->sector_len) {
        struct record_head h;
        uint32_t valid;
        memcpy(&h, base + at, sizeof h);
        if (h.magic != RECORD_MAGIC || h.len > ML_STORE_MAX || at + total(h.len) > s->flash->sector_len) {
            break;
        }
        const uint8_t *data = base + at + sizeof h;
        memcpy(&valid, data + padded(h.len), sizeof valid);
        if (valid == VALID && h.kind < ML_STORE_COUNT && h.check == record_check(&h, data)) {
            s->found[h.kind] = (uint32_t)at;
        }
        at += total(h.len);
    }
    s->end = at;
    s->is_torn = !is_blank(base + at, s->flash->sector_len - at);
}

void ml_flash_store_open(struct ml_flash_store *s, const struct ml_flash *flash)
{
    *s = (struct ml_flash_store){.flash = flash};
    uint32_t seq[2] = {sector_seq(flash, 0), sector_seq(flash, 1)};
    s->sector = seq[1] > seq[0] ? 1 : 0;
    s->seq = seq[s->sector];
    if (s->seq != 0) {
        scan(s);
    }
}

ml_err ml_flash_store_load(const struct ml_flash_store *s, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len)
{
    struct record_head h;
    if (s->seq == 0 || s->found[kind] == 0) {
        return ML_ERR_NOT_FOUND;
    }
    const uint8_t *at = s->flash->read(s->sector) + s->found[kind];
    memcpy(&h, at, sizeof h);
    if (h.len == 0) {
        return ML_ERR_NOT_FOUND; /* forgotten */
    }
    if (h.len > cap) {
        return ML_ERR_CORRUPT;
    }
    memcpy(buf, at + sizeof h, h.len);
    *len = h.len;
    return ML_OK;
}

/** Programs one record and checks that it reads back. */
static bool append(const struct ml_flash *f, unsigned sector, size_t at, ml_store_kind kind, const uint8_t *buf, size_t len)
{
    static const uint32_t valid = VALID;
    struct record_head h = {.magic = RECORD_MAGIC, .kind = (uint16_t)kind, .len = (uint16_t)len};
    uint8_t tail[4] = {0xff, 0xff, 0xff, 0xff};
    size_t whole = len / 4 * 4;
    h.check = record_check(&h, buf);
    if (len > whole) {
        memcpy(tail, buf + whole, len - whole);
    }
    const uint8_t *base = f->read(sector) + at;
    bool ok = f->program(sector, at, (const uint8_t *)&h, sizeof h) && f->program(sector, at + sizeof h, buf, whole) &&
              (len == whole || f->program(sector, at + sizeof h + whole, tail, sizeof tail)) &&
              memcmp(base, &h, sizeof h) == 0 && memcmp(base + sizeof h, buf, len) == 0 &&
              f->program(sector, at + sizeof h + padded(len), (const uint8_t *)&valid, sizeof valid);
    return ok && memcmp(base + sizeof h + padded(len), &valid, sizeof valid) == 0;
}

/** Starts the other sector with the newest of everything, @p kind replaced. The old sector stays as it is. */
static bool move(struct ml_flash_store *s, ml_store_kind kind, const uint8_t *buf, size_t len)
{
    struct ml_flash_store to = {.flash = s->flash, .sector = s->seq ? 1 - s->sector : 0, .seq = s->seq + 1};
    if (!s->flash->erase(to.sector)) {
        return false;
    }
    to.end = sizeof(struct sector_head);
    for (unsigned k = 0; k < ML_STORE_COUNT; k++) {
        struct record_head h;
        const uint8_t *data = buf;
        size_t n = len;
        if (k != (unsigned)kind) {
            if (s->seq == 0 || s->found[k] == 0) {
                continue;
            }
            const uint8_t *at = s->flash->read(s->sector) + s->found[k];
            memcpy(&h, at, sizeof h);
            data = at + sizeof h;
            n = h.len;
        }
        if (!append(s->flash, to.sector, to.end, (ml_store_kind)k, data, n)) {
            return false;
        }
        to.found[k] = (uint32_t)to.end;
        to.end += total(n);
    }
    struct sector_head head = {.magic = SECTOR_MAGIC, .seq = to.seq, .valid = VALID};
    head.check = crc32(0, (const uint8_t *)&head.seq, sizeof head.seq);
    if (!s->flash->program(to.sector, 0, (const uint8_t *)&head, sizeof head) || sector_seq(s->flash, to.sector) != to.seq) {
        return false;
    }
    *s = to;
    return true;
}

ml_err ml_flash_store_save(struct ml_flash_store *s, ml_store_kind kind, const uint8_t *buf, size_t len)
{
    if (len > ML_STORE_MAX) {
        return ML_ERR_ARG;
    }
    if (s->seq != 0 && !s->is_torn && s->end + total(len) <= s->flash->sector_len) {
        if (append(s->flash, s->sector, s->end, kind, buf, len)) {
            s->found[kind] = (uint32_t)s->end;
            s->end += total(len);
            return ML_OK;
        }
        s->is_torn = true;
    }
    return move(s, kind, buf, len) ? ML_OK : ML_ERR_STATE;
}

ml_err ml_flash_store_erase(struct ml_flash_store *s)
{
    bool ok = s->flash->erase(0);
    ok = s->flash->erase(1) && ok;
    ml_flash_store_open(s, s->flash);
    return ok ? ML_OK : ML_ERR_STATE;
}
