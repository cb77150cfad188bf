/*
 * The three stored records: their bytes, sealed against tearing and foreign data.
 *
 * A record is: "MLR1", kind u8, version u8, payload length u16, payload, 16 bytes BLAKE2s over all before. Integers are
 * big-endian. The records hold private keys: buffers that held one are wiped by whoever owns them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CORE_STORE_H
#define ML_CORE_STORE_H

#include "base/bytes.h"
#include "microlink/engine.h"

#define ML_STORE_TRAILER 16 /* the checksum */

/** Who this device is. Lost identity means a new node in the tailnet. */
struct ml_identity {
    ml_private_key machine; /* per device, permanent */
    ml_private_key node;    /* per login; all zero: not logged in */
    ml_private_key disco;   /* kept over restarts, so that peers' pings go on working (dataplane.md 3.4) */
    bool has_node;
    /* Of a login that waits for a person; all zero: none. Stored in the node key's place, or after all when there is a node key. */
    ml_private_key candidate;
    char login[96]; /* login name of the owner, for display before the first netmap */
};

/** What saves time at the next start. */
struct ml_cache {
    ml_machine_key control_key; /* of `control_host`; all zero: none */
    char control_host[96];      /* the key belongs to this server only */
    uint16_t home_region;
    uint16_t udp_port; /* of the underlay's socket; not among the fields of version 1 */
    ml_ip ip4, ip6;
};

/** Texts of up to 255 bytes. */
void ml_store_write_text(struct ml_writer *w, const char *s);
void ml_store_read_text(struct ml_reader *r, char *dst, size_t cap);
/** Begins a cache record with these fields; more may be written before ml_store_end(), which returns its length, 0 = no room. */
void ml_store_begin_cache(struct ml_writer *w, uint8_t *buf, size_t cap, const struct ml_cache *cache);
size_t ml_store_end(struct ml_writer *w);
/** Opens one: @p r then yields what was written more, nothing in a record of version 1. */
bool ml_store_open_cache(struct ml_reader *r, const uint8_t *buf, size_t len, struct ml_cache *out);

/** @return length written, at most ML_STORE_MAX; 0 when @p cap is too small. */
size_t ml_store_write_identity(uint8_t *buf, size_t cap, const struct ml_identity *id);
size_t ml_store_write_clock(uint8_t *buf, size_t cap, const uint8_t mark[12]);
size_t ml_store_write_cache(uint8_t *buf, size_t cap, const struct ml_cache *cache);

/** False, and @p out untouched, when the record is torn, foreign, of another kind or from a later version. */
bool ml_store_read_identity(const uint8_t *buf, size_t len, struct ml_identity *out);
bool ml_store_read_clock(const uint8_t *buf, size_t len, uint8_t mark[12]);
bool ml_store_read_cache(const uint8_t *buf, size_t len, struct ml_cache *out);

#endif
