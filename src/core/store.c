/*
 * See store.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/store.h"

#include "base/bytes.h"
#include "base/key.h"
#include "crypto/blake2s.h"
#include "crypto/crypto_backend.h"

/* Version 2: a cache record may go on behind its fields. Others are as they were. */
#define RECORD_VERSION 1
#define CACHE_VERSION  2
#define HEADER_LEN     8
#define SUM_LEN        ML_STORE_TRAILER

static const uint8_t MAGIC[4] = {'M', 'L', 'R', '1'};
/* Keeps a record of ours from being taken for another program's that hashes the same way. */
static const uint8_t SUM_KEY[] = "microlink record";

static void checksum(uint8_t out[SUM_LEN], const uint8_t *p, size_t len)
{
    struct ml_blake2s s;
    ml_blake2s_init(&s, SUM_LEN, SUM_KEY, sizeof SUM_KEY - 1);
    ml_blake2s_update(&s, p, len);
    ml_blake2s_final(&s, out);
}

static void write_header(struct ml_writer *w, ml_store_kind kind)
{
    ml_write_bytes(w, MAGIC, sizeof MAGIC);
    ml_write_u8(w, (uint8_t)kind);
    ml_write_u8(w, kind == ML_STORE_CACHE ? CACHE_VERSION : RECORD_VERSION);
    ml_write_be16(w, 0); /* length, known at the end */
}

size_t ml_store_end(struct ml_writer *w)
{
    uint8_t sum[SUM_LEN];
    if (w->bad) {
        return 0;
    }
    ml_put_be16(w->p + 6, (uint16_t)(w->len - HEADER_LEN));
    checksum(sum, w->p, w->len);
    ml_write_bytes(w, sum, sizeof sum);
    return w->bad ? 0 : w->len;
}

void ml_store_write_text(struct ml_writer *w, const char *s)
{
    size_t n = strlen(s);
    ml_write_u8(w, (uint8_t)n);
    ml_write_bytes(w, s, n);
}

void ml_store_read_text(struct ml_reader *r, char *dst, size_t cap)
{
    size_t n = ml_read_u8(r);
    const uint8_t *p = ml_read_bytes(r, n);
    if (p) {
        ml_str_copy(dst, cap, (const char *)p, n);
    }
}

static bool is_known_version(ml_store_kind kind, uint8_t version)
{
    return version == RECORD_VERSION || (kind == ML_STORE_CACHE && version == CACHE_VERSION);
}

static bool open_record(struct ml_reader *r, const uint8_t *buf, size_t len, ml_store_kind kind)
{
    uint8_t sum[SUM_LEN];
    if (!buf || len < HEADER_LEN + SUM_LEN || memcmp(buf, MAGIC, sizeof MAGIC) != 0 || buf[4] != (uint8_t)kind ||
        !is_known_version(kind, buf[5]) || (size_t)ml_get_be16(buf + 6) != len - HEADER_LEN - SUM_LEN) {
        return false;
    }
    checksum(sum, buf, len - SUM_LEN);
    if (!ml_ct_equal(sum, buf + len - SUM_LEN, SUM_LEN)) {
        return false;
    }
    *r = ml_reader_of(buf + HEADER_LEN, len - HEADER_LEN - SUM_LEN);
    return true;
}

size_t ml_store_write_identity(uint8_t *buf, size_t cap, const struct ml_identity *id)
{
    struct ml_writer w = ml_writer_of(buf, cap);
    write_header(&w, ML_STORE_IDENTITY);
    ml_write_bytes(&w, id->machine.b, 32);
    ml_write_u8(&w, id->has_node ? 1 : 0);
    ml_write_bytes(&w, id->has_node ? id->node.b : id->candidate.b, 32);
    ml_write_bytes(&w, id->disco.b, 32);
    ml_store_write_text(&w, id->login);
    if (id->has_node && ml_key_is_set(&id->candidate)) {
        ml_write_bytes(&w, id->candidate.b, 32);
    }
    return ml_store_end(&w);
}

bool ml_store_read_identity(const uint8_t *buf, size_t len, struct ml_identity *out)
{
    struct ml_reader r;
    struct ml_identity id = {0};
    if (!open_record(&r, buf, len, ML_STORE_IDENTITY)) {
        return false;
    }
    ml_read_copy(&r, id.machine.b, 32);
    id.has_node = ml_read_u8(&r) != 0;
    ml_read_copy(&r, id.has_node ? id.node.b : id.candidate.b, 32);
    ml_read_copy(&r, id.disco.b, 32);
    ml_store_read_text(&r, id.login, sizeof id.login);
    if (id.has_node && ml_reader_left(&r) > 0) {
        ml_read_copy(&r, id.candidate.b, 32);
    }
    bool ok = !r.bad;
    if (ok) {
        *out = id;
    }
    ml_wipe(&id, sizeof id);
    return ok;
}

size_t ml_store_write_clock(uint8_t *buf, size_t cap, const uint8_t mark[12])
{
    struct ml_writer w = ml_writer_of(buf, cap);
    write_header(&w, ML_STORE_CLOCK);
    ml_write_bytes(&w, mark, 12);
    return ml_store_end(&w);
}

bool ml_store_read_clock(const uint8_t *buf, size_t len, uint8_t mark[12])
{
    struct ml_reader r;
    if (!open_record(&r, buf, len, ML_STORE_CLOCK) || ml_reader_left(&r) < 12) {
        return false;
    }
    ml_read_copy(&r, mark, 12);
    return true;
}

void ml_store_begin_cache(struct ml_writer *w, uint8_t *buf, size_t cap, const struct ml_cache *cache)
{
    *w = ml_writer_of(buf, cap);
    write_header(w, ML_STORE_CACHE);
    ml_write_bytes(w, cache->control_key.b, 32);
    ml_store_write_text(w, cache->control_host);
    ml_write_be16(w, cache->home_region);
    ml_write_bytes(w, cache->ip4.b, 16);
    ml_write_bytes(w, cache->ip6.b, 16);
}

size_t ml_store_write_cache(uint8_t *buf, size_t cap, const struct ml_cache *cache)
{
    struct ml_writer w;
    ml_store_begin_cache(&w, buf, cap, cache);
    return ml_store_end(&w);
}

bool ml_store_open_cache(struct ml_reader *r, const uint8_t *buf, size_t len, struct ml_cache *out)
{
    struct ml_cache c = {0};
    if (!open_record(r, buf, len, ML_STORE_CACHE)) {
        return false;
    }
    ml_read_copy(r, c.control_key.b, 32);
    ml_store_read_text(r, c.control_host, sizeof c.control_host);
    c.home_region = ml_read_be16(r);
    ml_read_copy(r, c.ip4.b, 16);
    ml_read_copy(r, c.ip6.b, 16);
    if (r->bad) {
        return false;
    }
    *out = c;
    return true;
}

bool ml_store_read_cache(const uint8_t *buf, size_t len, struct ml_cache *out)
{
    struct ml_reader r;
    return ml_store_open_cache(&r, buf, len, out);
}
