/*
 * State flash: the machine's second NOR flash, Intel command set, two 16-bit chips side by side, sectors of 256 KB. Code runs
 * from the first one, so that erasing and programming here stop nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "board.h"

#include <string.h>

#define BASE    0x22000000u
#define SECTOR  0x40000u
#define BOTH(c) ((uint32_t)(c) << 16 | (uint32_t)(c))

static volatile uint32_t *word(unsigned sector, size_t at)
{
    return (volatile uint32_t *)(uintptr_t)(BASE + sector * SECTOR + at);
}

static bool finish(unsigned sector, size_t at)
{
    uint32_t status;
    do {
        status = *word(sector, at);
    } while ((status & BOTH(0x80)) != BOTH(0x80));
    *word(sector, at) = BOTH(0x50); /* clear status */
    *word(sector, at) = BOTH(0xff); /* read again */
    return (status & BOTH(0x3a)) == 0;
}

size_t board_flash_sector_len(void)
{
    return SECTOR;
}

const uint8_t *board_flash_read(unsigned sector)
{
    return (const uint8_t *)(uintptr_t)(BASE + sector * SECTOR);
}

bool board_flash_erase(unsigned sector)
{
    *word(sector, 0) = BOTH(0x20);
    *word(sector, 0) = BOTH(0xd0);
    return finish(sector, 0);
}

bool board_flash_program(unsigned sector, size_t at, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i + 4 <= len; i += 4) {
        uint32_t w;
        memcpy(&w, data + i, 4);
        *word(sector, at + i) = BOTH(0x40);
        *word(sector, at + i) = w;
        if (!finish(sector, at + i)) {
            return false;
        }
    }
    return true;
}
