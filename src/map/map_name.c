/*
 * Names of peers in a byte heap: most nodes of a tailnet share one suffix, so what is kept per peer is the first label.
 *
 * A record is: owner (2 bytes), suffix (1), length (1), bytes. Owner is a slot, or a suffix, or nobody. A removed record
 * stays as a hole until the heap is full, then all holes are closed at once. Positions are offset + 1, so that 0 is "none".
 *
 * SPDX-License-Identifier: MIT
 */
#include "map/map_private.h"

enum { RECORD_HEAD = 4, LABEL_MAX = 63, NO_SUFFIX = 0xff, OWNER_NONE = 0xffff, OWNER_SUFFIX = 0x8000 };

static uint16_t owner_at(const uint8_t *rec)
{
    return ml_get_be16(rec);
}

static uint32_t record_len(const uint8_t *rec)
{
    return RECORD_HEAD + (uint32_t)rec[3];
}

static void close_holes(struct ml_map *m)
{
    uint32_t to = 0;

    for (uint32_t from = 0; from < m->name_len;) {
        uint8_t *rec = m->names + from;
        uint32_t len = record_len(rec);
        uint16_t owner = owner_at(rec);
        if (owner != OWNER_NONE) {
            memmove(m->names + to, rec, len);
            if (owner & OWNER_SUFFIX) {
                m->suffixes[owner & ~OWNER_SUFFIX].at = to + 1;
            } else {
                m->t.peers[owner].name_at = to + 1;
            }
            to += len;
        }
        from += len;
    }
    m->name_len = to;
    m->name_free = 0;
}

/* A new record; 0 when there is no room even without holes. */
static uint32_t add_record(struct ml_map *m, uint16_t owner, uint8_t suffix, const char *text, size_t len)
{
    if (m->name_len + RECORD_HEAD + len > m->name_cap) {
        close_holes(m);
    }
    if (m->name_len + RECORD_HEAD + len > m->name_cap) {
        return 0;
    }
    uint32_t at = m->name_len;
    uint8_t *rec = m->names + at;
    ml_put_be16(rec, owner);
    rec[2] = suffix;
    rec[3] = (uint8_t)len;
    memcpy(rec + RECORD_HEAD, text, len);
    m->name_len += RECORD_HEAD + (uint32_t)len;
    return at + 1;
}

static void drop_record(struct ml_map *m, uint32_t at)
{
    uint8_t *rec = m->names + at - 1;
    ml_put_be16(rec, OWNER_NONE);
    m->name_free += record_len(rec);
}

/* The shared suffix with this text, made if there is room for one more; NO_SUFFIX otherwise. */
static uint8_t find_suffix(struct ml_map *m, const char *text, size_t len)
{
    uint8_t unused = NO_SUFFIX;

    for (uint8_t i = 0; i < ML_MAP_SUFFIXES; i++) {
        if (m->suffixes[i].at == 0) {
            unused = unused == NO_SUFFIX ? i : unused;
            continue;
        }
        const uint8_t *rec = m->names + m->suffixes[i].at - 1;
        if (rec[3] == len && memcmp(rec + RECORD_HEAD, text, len) == 0) {
            return i;
        }
    }
    if (unused != NO_SUFFIX) {
        m->suffixes[unused].refs = 0;
        m->suffixes[unused].at = add_record(m, (uint16_t)(OWNER_SUFFIX | unused), NO_SUFFIX, text, len);
        if (m->suffixes[unused].at == 0) {
            return NO_SUFFIX;
        }
    }
    return unused;
}

static void release_suffix(struct ml_map *m, uint8_t suffix)
{
    if (suffix != NO_SUFFIX && m->suffixes[suffix].refs == 0) {
        drop_record(m, m->suffixes[suffix].at);
        m->suffixes[suffix].at = 0;
    }
}

void ml_map_name_remove(struct ml_map *m, uint16_t slot)
{
    struct ml_peer *p = &m->t.peers[slot];

    if (p->name_at == 0) {
        return;
    }
    uint8_t suffix = m->names[p->name_at - 1 + 2];
    drop_record(m, p->name_at);
    p->name_at = 0;
    if (suffix != NO_SUFFIX) {
        m->suffixes[suffix].refs--;
        release_suffix(m, suffix);
    }
}

void ml_map_name_set(struct ml_map *m, uint16_t slot, const char *name)
{
    size_t len = strlen(name);
    const char *dot = memchr(name, '.', len);
    size_t label = dot ? (size_t)(dot - name) : len;
    uint8_t suffix = NO_SUFFIX;

    ml_map_name_remove(m, slot);
    if (len == 0 || len > 255) {
        return;
    }
    if (dot && label > 0 && label <= LABEL_MAX && label + 1 < len) {
        suffix = find_suffix(m, dot + 1, len - label - 1);
    }
    uint32_t at = add_record(m, slot, suffix, name, suffix == NO_SUFFIX ? len : label);
    m->t.peers[slot].name_at = at;
    if (at && suffix != NO_SUFFIX) {
        m->suffixes[suffix].refs++;
    } else if (!at) {
        release_suffix(m, suffix);
        m->counts.name_over_limit++;
    }
}

size_t ml_map_peer_name(const struct ml_map *m, uint16_t slot, char *out, size_t cap)
{
    const struct ml_peer *p = ml_map_peer(m, slot);
    struct ml_writer w = ml_writer_of((uint8_t *)out, cap);

    if (p && p->name_at) {
        const uint8_t *rec = m->names + p->name_at - 1;
        ml_write_bytes(&w, rec + RECORD_HEAD, rec[3]);
        if (rec[2] != NO_SUFFIX) {
            const uint8_t *suffix = m->names + m->suffixes[rec[2]].at - 1;
            ml_write_u8(&w, '.');
            ml_write_bytes(&w, suffix + RECORD_HEAD, suffix[3]);
        }
    }
    ml_write_end_str(&w);
    return cap ? strlen(out) : 0;
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* `wanted` without its last dot against a full name: all of it, or its first label. */
static bool name_matches(const char *full, const char *wanted, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (lower(full[i]) != lower(wanted[i])) {
            return false; /* also at the end of `full` */
        }
    }
    if (full[len] == 0) {
        return true;
    }
    return full[len] == '.' && (full[len + 1] == 0 || !memchr(wanted, '.', len));
}

uint16_t ml_map_find_name(const struct ml_map *m, const char *name, size_t len)
{
    char full[ML_NAME_CAP + 1];

    if (len && name[len - 1] == '.') {
        len--;
    }
    if (len == 0 || memchr(name, 0, len)) {
        return ML_PEER_NONE;
    }
    for (uint16_t i = 0; i < m->peer_count; i++) {
        if (ml_map_peer_name(m, m->by_id[i], full, sizeof full) >= len && name_matches(full, name, len)) {
            return m->by_id[i];
        }
    }
    return ML_PEER_NONE;
}

bool ml_map_name_check(const struct ml_map *m)
{
    uint32_t refs[ML_MAP_SUFFIXES] = {0};
    uint32_t holes = 0;
    uint32_t names = 0;
    uint32_t at = 0;

    while (at < m->name_len) {
        const uint8_t *rec = m->names + at;
        uint16_t owner = owner_at(rec);
        if (owner == OWNER_NONE) {
            holes += record_len(rec);
        } else if (owner & OWNER_SUFFIX) {
            if ((owner & ~OWNER_SUFFIX) >= ML_MAP_SUFFIXES || m->suffixes[owner & ~OWNER_SUFFIX].at != at + 1) {
                return false;
            }
        } else {
            if (owner >= m->t.slot_count || m->t.peers[owner].name_at != at + 1 || m->t.peers[owner].id == 0) {
                return false;
            }
            names++;
            if (rec[2] != NO_SUFFIX) {
                refs[rec[2]]++;
            }
        }
        at += record_len(rec);
    }
    for (uint16_t slot = 0; slot < m->t.slot_count; slot++) {
        names -= m->t.peers[slot].name_at != 0;
    }
    for (size_t i = 0; i < ML_MAP_SUFFIXES; i++) {
        if (m->suffixes[i].at ? m->suffixes[i].refs != refs[i] || refs[i] == 0 : refs[i] != 0) {
            return false;
        }
    }
    return at == m->name_len && at <= m->name_cap && holes == m->name_free && names == 0;
}
