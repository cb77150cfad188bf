/*
 * SPDX-License-Identifier: MIT
 */
#include "host_board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING 64

struct host_flash *host_flash;
uint64_t host_now, host_unix_ms, host_entropy_at, host_slept_to;
unsigned host_entropy_asked;
char host_config[1024];
const uint8_t *host_roots;
void (*host_frame_out)(const uint8_t *frame, size_t len);

static uint8_t ring[RING][BOARD_ETH_MAX], tx[BOARD_ETH_MAX];
static size_t ring_len[RING];
static unsigned ring_first, ring_count;
uint64_t host_random_state = 42;

void ml_board_panic(const char *why)
{
    printf("panic: %s\n", why);
    fflush(stdout);
    abort();
}

uint64_t board_time_us(void)
{
    return host_now;
}

uint64_t board_wall_ms(void)
{
    return host_unix_ms + host_now / 1000;
}

/* Time is the test's: waiting for something that only time brings moves it. */
void board_wait(uint64_t at_us)
{
    if (at_us > host_now && host_now < host_entropy_at) {
        host_now = at_us;
        host_slept_to = at_us;
    }
}

void board_pause(uint64_t at_us)
{
    board_wait(at_us);
}

bool board_random_init(void)
{
    return true;
}

bool board_random(uint8_t *buf, size_t len)
{
    if (host_now < host_entropy_at) {
        host_entropy_asked++;
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        host_random_state = host_random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        buf[i] = (uint8_t)(host_random_state >> 56);
    }
    return true;
}

bool board_eth_init(uint8_t mac[6])
{
    memcpy(mac, "\x02\0\0\0\0\x02", 6);
    return true;
}

uint8_t *board_eth_tx_buffer(void)
{
    return tx;
}

void board_eth_tx(size_t len)
{
    host_frame_out(tx, len);
}

bool host_frame_in(const uint8_t *frame, size_t len)
{
    if (ring_count == RING || len > BOARD_ETH_MAX) {
        return false;
    }
    unsigned i = (ring_first + ring_count++) % RING;
    memcpy(ring[i], frame, len);
    ring_len[i] = len;
    return true;
}

bool host_has_frames(void)
{
    return ring_count > 0;
}

const uint8_t *board_eth_rx(size_t *len)
{
    *len = ring_len[ring_first];
    return ring_count > 0 ? ring[ring_first] : NULL;
}

void board_eth_rx_done(void)
{
    ring_first = (ring_first + 1) % RING;
    ring_count--;
}

/* ---- Flash ---- */

size_t board_flash_sector_len(void)
{
    return HOST_SECTOR;
}

const uint8_t *board_flash_read(unsigned sector)
{
    return host_flash->cells[sector];
}

static bool operate(void)
{
    host_flash->done++;
    if (host_flash->cut_after == 0) {
        host_flash->is_refusing = true;
    }
    host_flash->cut_after -= host_flash->cut_after > 0;
    return !host_flash->is_refusing;
}

bool board_flash_erase(unsigned sector)
{
    if (!operate()) {
        return false;
    }
    memset(host_flash->cells[sector], 0xff, HOST_SECTOR);
    return true;
}

bool board_flash_program(unsigned sector, size_t at, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 4) {
        bool ok = operate();
        for (size_t k = 0; k < (ok ? 4u : host_flash->cut_after == 0 ? 1u : 0u); k++) {
            host_flash->cells[sector][at + i + k] &= data[i + k]; /* a cut tears the word */
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

const char *board_config_text(void)
{
    return host_config;
}

const uint8_t *board_config_roots(void)
{
    return host_roots;
}

uint64_t board_waited_us(void)
{
    return 0;
}
