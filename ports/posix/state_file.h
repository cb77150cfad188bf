/*
 * Stored state in one file: the engine's three records, replaced as a whole and atomically.
 *
 * Format (all integers big-endian): "mlstate1", u32 version (1), three times u16 length and that many bytes in the order of
 * ml_store_kind, SHA-256 over everything before. The file is mode 0600. A lock file beside it ("FILE.lock") keeps a second
 * process out; a torn or foreign file is moved to "FILE.corrupt-<n>" and reported, never overwritten.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_STATE_FILE_H
#define ML_POSIX_STATE_FILE_H

#include "microlink/engine.h"

#include <sys/types.h>

/** The calls that decide whether a power cut is survived; replaced by tests that watch their order or make them fail. */
struct ml_state_file_ops {
    ssize_t (*write)(int fd, const void *buf, size_t len);
    int (*fsync)(int fd);
    int (*rename)(const char *from, const char *to);
};

/** What ml_state_file_open() found. */
enum ml_state_found {
    ML_STATE_FOUND_NONE,   /**< No file yet, or memory only. */
    ML_STATE_FOUND_OK,     /**< Three good records. */
    ML_STATE_FOUND_CORRUPT /**< Unusable; moved aside, `why` says where. */
};

struct ml_state_file {
    char *path; /**< NULL: memory only. */
    int lock_fd;
    enum ml_state_found found;
    struct {
        uint16_t len;
        uint8_t buf[ML_STORE_MAX];
    } record[ML_STORE_COUNT];
    const struct ml_state_file_ops *ops;
};

/**
 * @brief Lock and read; make missing parent directories (mode 0700).
 * @param path  NULL or "mem:" keeps the records in memory only.
 * @param ops   NULL: the system's.
 * @param why   One sentence: on failure, and also on success when a corrupt file was moved aside.
 * @retval ML_ERR_STATE      another process has it open
 * @retval ML_ERR_NOT_FOUND  a directory or file cannot be made or read
 */
ml_err ml_state_file_open(struct ml_state_file *s, const char *path, const struct ml_state_file_ops *ops, char *why,
                          size_t why_cap);
/** @brief Wipe the records from memory and unlock. Harmless on a zeroed or failed one. */
void ml_state_file_close(struct ml_state_file *s);
/** @retval ML_ERR_NOT_FOUND  never saved */
ml_err ml_state_file_load(const struct ml_state_file *s, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len);
/** @brief Durable when it returns ML_OK; otherwise the former content of the file is intact. */
ml_err ml_state_file_save(struct ml_state_file *s, ml_store_kind kind, const uint8_t *buf, size_t len, char *why,
                          size_t why_cap);
/** @brief Forget all records, also on disk. */
ml_err ml_state_file_erase(struct ml_state_file *s, char *why, size_t why_cap);

#define ML_STATE_FILE_MAX (8 + 4 + ML_STORE_COUNT * (2 + ML_STORE_MAX) + 32)
/** @brief Decode the bytes of a file into @p s->record. False, and no record set, when anything is wrong. */
bool ml_state_file_decode(struct ml_state_file *s, const uint8_t *buf, size_t len);
/** @brief Encode; @p buf has ML_STATE_FILE_MAX bytes. */
size_t ml_state_file_encode(const struct ml_state_file *s, uint8_t *buf);

#endif
