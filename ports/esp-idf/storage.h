/*
 * Stored state in NVS: one blob per record in a namespace of its own, with a schema version.
 *
 * NVS replaces a blob so that after a power cut either the old or the new one is read, which is what port.h asks for. NVS
 * encryption, if the application has set it up, covers these records like all others. A record that cannot be read is copied
 * to "bad_<name>" before it is ever overwritten.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_ESP_STORAGE_H
#define ML_ESP_STORAGE_H

#include "microlink/port.h"

struct ml_storage {
    uint32_t handle;
    bool is_open, is_memory;
};

/**
 * @param name  NVS namespace, at most 15 characters; NULL: the configured one; "mem:": keep nothing.
 * @retval ML_ERR_STATE  NVS is not initialised, or holds a later schema; @p why says what to do
 */
ml_err ml_storage_open(struct ml_storage *s, const char *name, char *why, size_t why_cap);
void ml_storage_close(struct ml_storage *s);
/** @brief As ml_port_storage.load, with a struct ml_storage as @p ctx. */
ml_err ml_storage_load(void *ctx, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len);
ml_err ml_storage_save(void *ctx, ml_store_kind kind, const uint8_t *buf, size_t len, char *why, size_t why_cap);
/** @brief Copy the record to "bad_<name>": it was read, but the engine could not use it. */
void ml_storage_set_aside(struct ml_storage *s, ml_store_kind kind, const uint8_t *buf, size_t len);
/** @brief Erase the namespace. */
ml_err ml_storage_erase(struct ml_storage *s);

#endif
