/*
 * The records on flash, with the power cut at every word that is programmed and at every erasure: afterwards each record is
 * either the old or the new one, whole, and saving goes on. Also flash that refuses, and flash that tears what it erases.
 *
 * SPDX-License-Identifier: MIT
 */
#include "flash_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 8192u

static uint8_t cells[2][SECTOR];
static long budget; /* operations until the power goes; negative: for ever */
static bool is_cut, is_refusing;
static unsigned erasures;

static const uint8_t *rd(unsigned sector)
{
    return cells[sector];
}

static bool spend(void)
{
    if (is_cut || is_refusing) {
        return false;
    }
    if (budget == 0) {
        is_cut = true;
        return false;
    }
    budget -= budget > 0;
    return true;
}

static bool erase(unsigned sector)
{
    if (!spend()) {
        if (is_cut) {
            memset(cells[sector] + SECTOR / 3, 0xff, SECTOR / 3); /* torn: a part is blank, the rest as it was */
        }
        return false;
    }
    erasures++;
    memset(cells[sector], 0xff, SECTOR);
    return true;
}

static bool program(unsigned sector, size_t at, const uint8_t *data, size_t len)
{
    assert(at % 4 == 0 && len % 4 == 0 && at + len <= SECTOR);
    for (size_t i = 0; i < len; i += 4) {
        if (!spend()) {
            if (is_cut && len > 0) {
                cells[sector][at + i] &= data[i]; /* torn: one byte of the word made it */
            }
            return false;
        }
        for (size_t k = 0; k < 4; k++) {
            assert(cells[sector][at + i + k] == 0xff); /* NOR flash: once between erasures */
            cells[sector][at + i + k] = data[i + k];
        }
    }
    return true;
}

static const struct ml_flash flash = {rd, erase, program, SECTOR};

static size_t make(uint8_t *buf, unsigned generation, unsigned kind)
{
    size_t len = 1 + (generation * 37 + kind * 101) % 700;
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)(generation * 7 + kind * 3 + i);
    }
    return len;
}

static bool is_generation(const struct ml_flash_store *s, unsigned kind, unsigned generation)
{
    uint8_t want[ML_STORE_MAX], got[ML_STORE_MAX];
    size_t want_len = make(want, generation, kind), len = 0;
    return ml_flash_store_load(s, (ml_store_kind)kind, got, sizeof got, &len) == ML_OK && len == want_len &&
           memcmp(got, want, len) == 0;
}

static ml_err save(struct ml_flash_store *s, unsigned kind, unsigned generation)
{
    uint8_t buf[ML_STORE_MAX];
    size_t len = make(buf, generation, kind);
    return ml_flash_store_save(s, (ml_store_kind)kind, buf, len);
}

/** Saves three records in turn, @p n times, until the power is cut. Returns how many saves were answered with success. */
static unsigned run(unsigned n)
{
    struct ml_flash_store s;
    ml_flash_store_open(&s, &flash);
    unsigned done = 0;
    while (done < n && save(&s, done % 3, done / 3) == ML_OK) {
        done++;
    }
    return done;
}

static void blank(void)
{
    memset(cells, 0xff, sizeof cells);
    budget = -1;
    is_cut = is_refusing = false;
}

static void a_cut_leaves_the_old_or_the_new_record(void)
{
    const unsigned saves = 40;
    unsigned cuts = 0;
    for (long at = 0;; at++) {
        struct ml_flash_store s;
        blank();
        budget = at;
        unsigned done = run(saves);
        if (!is_cut) {
            break;
        }
        cuts++;
        is_cut = false;
        budget = -1;
        ml_flash_store_open(&s, &flash);
        for (unsigned kind = 0; kind < 3; kind++) {
            unsigned saved = done / 3 + (done % 3 > kind); /* answered saves of this kind */
            bool was_under_way = done % 3 == kind;
            bool is_old = saved == 0 ? !is_generation(&s, kind, 0) : is_generation(&s, kind, saved - 1);
            assert(is_old || (was_under_way && is_generation(&s, kind, saved)));
        }
        /* And it goes on from there. */
        for (unsigned kind = 0; kind < 3; kind++) {
            assert(save(&s, kind, 1000) == ML_OK);
        }
        ml_flash_store_open(&s, &flash);
        for (unsigned kind = 0; kind < 3; kind++) {
            assert(is_generation(&s, kind, 1000));
        }
    }
    assert(cuts > 1000);
    printf("power cut at each of %u operations: ok\n", cuts);
}

static void flash_that_refuses_keeps_what_it_has(void)
{
    struct ml_flash_store s;
    blank();
    assert(run(6) == 6);
    ml_flash_store_open(&s, &flash);
    is_refusing = true;
    assert(save(&s, 0, 2) == ML_ERR_STATE);
    assert(is_generation(&s, 0, 1));
    is_refusing = false;
    assert(save(&s, 0, 2) == ML_OK);
    ml_flash_store_open(&s, &flash);
    assert(is_generation(&s, 0, 2) && is_generation(&s, 1, 1) && is_generation(&s, 2, 1));
    printf("refusing flash: ok\n");
}

static void bits_that_flip_lose_one_record_not_all(void)
{
    struct ml_flash_store s;
    uint8_t buf[ML_STORE_MAX];
    size_t len;
    blank();
    assert(run(6) == 6);
    ml_flash_store_open(&s, &flash);
    cells[s.sector][s.found[1] + 14] ^= 1;
    ml_flash_store_open(&s, &flash);
    assert(is_generation(&s, 0, 1) && is_generation(&s, 2, 1));
    assert(is_generation(&s, 1, 0)); /* the one before */
    assert(ml_flash_store_erase(&s) == ML_OK);
    assert(ml_flash_store_load(&s, ML_STORE_IDENTITY, buf, sizeof buf, &len) == ML_ERR_NOT_FOUND);
    printf("flipped bit, and forgetting: ok\n");
}

static void wear_is_spread(void)
{
    blank();
    erasures = 0;
    assert(run(900) == 900);
    assert(erasures < 900 / 10);
    printf("900 saves: %u erasures\n", erasures);
}

int main(void)
{
    a_cut_leaves_the_old_or_the_new_record();
    flash_that_refuses_keeps_what_it_has();
    bits_that_flip_lose_one_record_not_all();
    wear_is_spread();
    return 0;
}
