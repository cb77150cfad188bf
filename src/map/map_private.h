/*
 * What the files of map/ share and nobody else uses: hash indexes, the name heap, the route pool.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MAP_PRIVATE_H
#define ML_MAP_PRIVATE_H

#include "base/addr.h"
#include "base/key.h"
#include "map/netmap.h"

/* Which field of a peer an index is over. */
enum ml_map_field { ML_FIELD_KEY, ML_FIELD_DISCO, ML_FIELD_IP4, ML_FIELD_IP6 };

/* Adds a peer to, or takes it out of, the index over a field; an unset field is not indexed. */
void ml_map_index_add(struct ml_map *m, enum ml_map_field field, uint16_t slot);
void ml_map_index_remove(struct ml_map *m, enum ml_map_field field, uint16_t slot);
bool ml_map_index_check(const struct ml_map *m);

/* Notes a key or address of a peer that is left out; false when it was noted before (or looks so). */
bool ml_map_hint_add(struct ml_map *m, const uint8_t *bytes, unsigned len);
void ml_map_hint_clear(struct ml_map *m);

/* Gives a peer this name, or none when there is no room (counted). */
void ml_map_name_set(struct ml_map *m, uint16_t slot, const char *name);
void ml_map_name_remove(struct ml_map *m, uint16_t slot);
bool ml_map_name_check(const struct ml_map *m);

/* Compares or replaces the extra records of a peer. */
bool ml_map_extras_equal(const struct ml_map *m, uint16_t slot, const struct ml_peer_extra *list, size_t count);
void ml_map_extras_set(struct ml_map *m, uint16_t slot, const struct ml_peer_extra *list, size_t count);

#endif
