/*
 * Stored state in NVS (see storage.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "storage.h"

#include "nvs.h"
#include "sdkconfig.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA     1
#define SCHEMA_KEY "schema"

static const char *const key_of[ML_STORE_COUNT] = {"identity", "clock", "cache"};
static const char *const bad_key_of[ML_STORE_COUNT] = {"bad_identity", "bad_clock", "bad_cache"};

static const char *explain(esp_err_t err)
{
    switch (err) {
    case ESP_ERR_NVS_NOT_INITIALIZED:
        return "NVS is not initialised: call nvs_flash_init() first";
    case ESP_ERR_NVS_PART_NOT_FOUND:
        return "the partition table has no NVS partition";
    case ESP_ERR_NVS_NOT_ENOUGH_SPACE:
    case ESP_ERR_NVS_NO_FREE_PAGES:
        return "NVS is full: enlarge the partition or erase what is not needed";
    case ESP_ERR_NVS_INVALID_NAME:
    case ESP_ERR_NVS_KEY_TOO_LONG:
        return "the NVS namespace is longer than 15 characters or empty";
    default:
        return "NVS failed; if that stays, erase its partition, and the identity in it";
    }
}

static ml_err fail(esp_err_t err, char *why, size_t why_cap)
{
    snprintf(why, why_cap, "%s (0x%x)", explain(err), (unsigned)err);
    return ML_ERR_STATE;
}

ml_err ml_storage_open(struct ml_storage *s, const char *name, char *why, size_t why_cap)
{
    *s = (struct ml_storage){0};
    if (name != NULL && strcmp(name, "mem:") == 0) {
        s->is_memory = true;
        return ML_OK;
    }
    nvs_handle_t h;
    esp_err_t err = nvs_open(name != NULL ? name : CONFIG_MICROLINK_NVS_NAMESPACE, NVS_READWRITE, &h);
    if (err != ESP_OK) {
        return fail(err, why, why_cap);
    }
    uint8_t schema = 0;
    err = nvs_get_u8(h, SCHEMA_KEY, &schema);
    if (err == ESP_ERR_NVS_NOT_FOUND) {
        err = nvs_set_u8(h, SCHEMA_KEY, SCHEMA);
        err = err == ESP_OK ? nvs_commit(h) : err;
        schema = SCHEMA;
    }
    if (err == ESP_OK && schema == SCHEMA) {
        s->handle = h;
        s->is_open = true;
        return ML_OK;
    }
    nvs_close(h);
    if (err != ESP_OK) {
        return fail(err, why, why_cap);
    }
    snprintf(why, why_cap, "the state in NVS has schema %u, this version knows %u: update, or erase the namespace", schema,
             SCHEMA);
    return ML_ERR_STATE;
}

void ml_storage_close(struct ml_storage *s)
{
    if (s->is_open) {
        nvs_close(s->handle);
        s->is_open = false;
    }
}

ml_err ml_storage_load(void *ctx, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len)
{
    const struct ml_storage *s = ctx;
    *len = cap;
    esp_err_t err = s->is_open ? nvs_get_blob(s->handle, key_of[kind], buf, len) : ESP_ERR_NVS_NOT_FOUND;
    if (err == ESP_ERR_NVS_NOT_FOUND) {
        *len = 0;
        return ML_ERR_NOT_FOUND;
    }
    if (err == ESP_ERR_NVS_INVALID_LENGTH) {
        return ML_ERR_CORRUPT; /* Longer than any record. */
    }
    /* Not known what is there: whoever took this for "nothing" would overwrite an identity. */
    return err == ESP_OK ? ML_OK : err == ESP_ERR_NO_MEM ? ML_ERR_NO_MEM : ML_ERR_STATE;
}

ml_err ml_storage_save(void *ctx, ml_store_kind kind, const uint8_t *buf, size_t len, char *why, size_t why_cap)
{
    const struct ml_storage *s = ctx;
    if (!s->is_open) {
        return ML_OK;
    }
    esp_err_t err = nvs_set_blob(s->handle, key_of[kind], buf, len);
    err = err == ESP_OK ? nvs_commit(s->handle) : err;
    return err == ESP_OK ? ML_OK : fail(err, why, why_cap);
}

void ml_storage_set_aside(struct ml_storage *s, ml_store_kind kind, const uint8_t *buf, size_t len)
{
    if (s->is_open && nvs_set_blob(s->handle, bad_key_of[kind], buf, len) == ESP_OK) {
        (void)nvs_commit(s->handle);
    }
}

ml_err ml_storage_erase(struct ml_storage *s)
{
    if (!s->is_open) {
        return ML_OK;
    }
    esp_err_t err = nvs_erase_all(s->handle);
    err = err == ESP_OK ? nvs_set_u8(s->handle, SCHEMA_KEY, SCHEMA) : err;
    err = err == ESP_OK ? nvs_commit(s->handle) : err;
    return err == ESP_OK ? ML_OK : ML_ERR_STATE;
}
