/*
 * The engine's three records on NOR flash, safe against a power cut at any word.
 *
 * Two sectors, one of them in use. Records are appended to it: header with kind, length and checksum, the record, then one
 * word that makes it valid. When the sector is full the newest record of each kind is copied to the other sector, whose own
 * head, with a higher sequence number, is written last. Reading takes the valid sector with the highest number and the last
 * valid record of each kind, so a cut leaves either the old or the new record, never half of one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_FLASH_STORE_H
#define ML_BAREMETAL_FLASH_STORE_H

#include "microlink/port.h"

/** The flash below: two sectors that erase to ones; programming takes whole words, each once between erasures. */
struct ml_flash {
    const uint8_t *(*read)(unsigned sector);
    bool (*erase)(unsigned sector);
    bool (*program)(unsigned sector, size_t at, const uint8_t *data, size_t len);
    size_t sector_len; /**< At least 8 KB, so that three records fit with room to append. */
};

struct ml_flash_store {
    const struct ml_flash *flash;
    unsigned sector;                /**< In use; */
    uint32_t seq;                   /**< its number; 0 = neither sector is, */
    size_t end;                     /**< and where the next record goes. */
    uint32_t found[ML_STORE_COUNT]; /**< Offset of the newest record; 0 = none. */
    bool is_torn;                   /**< Something half-written follows `end`: the next save moves to the other sector. */
};

void ml_flash_store_open(struct ml_flash_store *s, const struct ml_flash *flash);
/** @retval ML_ERR_NOT_FOUND  never saved */
ml_err ml_flash_store_load(const struct ml_flash_store *s, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len);
/** @retval ML_ERR_STATE  the flash failed, in both sectors; the old record is still there */
ml_err ml_flash_store_save(struct ml_flash_store *s, ml_store_kind kind, const uint8_t *buf, size_t len);
/** @brief Forget everything. */
ml_err ml_flash_store_erase(struct ml_flash_store *s);

#endif
