/*
 * What the port asks of the board (virt.c, virtio.c and flash.c have it for qemu-system-riscv32 -M virt). A port to another
 * chip writes these functions anew; the rest of ports/baremetal stays.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BOARD_H
#define ML_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Chip: called by start.S ---- */
void board_init(void);
/** @brief What main() is given; none, unless the image brings its own (posix/posix.c). */
int board_args(char ***argv);
void board_exit(int status) __attribute__((noreturn));
void board_trap(uint32_t cause, uint32_t pc, uint32_t addr) __attribute__((noreturn));
/** @brief Start anew, as the reset button does. */
void board_reset(void) __attribute__((noreturn));
/** @brief Say why on the console, then end. */
void ml_board_panic(const char *why) __attribute__((noreturn));

/* ---- Time ---- */
/** @brief Microseconds since power-on; does not stop in sleep. */
uint64_t board_time_us(void);
/** @brief The battery-backed clock: milliseconds since the Unix epoch, 0 when not known. */
uint64_t board_wall_ms(void);
/** @brief Sleep until @p at_us, or until the console or Ethernet have something. May return early. */
void board_wait(uint64_t at_us);
/** @brief As board_wait(), in the middle of something: what wakes it is still there for the next board_wait(). */
void board_pause(uint64_t at_us);

/** @brief Microseconds spent waiting for Ethernet to take a frame and for entropy: not time of the loop's own. */
uint64_t board_waited_us(void);

/* ---- Console ---- */
/** @return -1 when nothing was typed. */
int board_getchar(void);
/** @brief Bytes of stack that were ever used. */
size_t board_stack_used(void);

/* ---- Entropy ---- */
/** @brief True randomness. False: there is none yet, @p buf is not to be used; to be asked again (the port waits and says so). */
bool board_random(uint8_t *buf, size_t len);
/** @brief False: there is no source of entropy; nothing must be started. */
bool board_random_init(void);

/* ---- Ethernet ---- */
#define BOARD_ETH_MAX 1514
bool board_eth_init(uint8_t mac[6]);
/**
 * @brief Room for the next frame, BOARD_ETH_MAX bytes. Waits for a frame before it that is still on its way: a frame that is
 *        not sent is one that the peer's TCP must miss before it is repeated, a second or more.
 * @return NULL when the device does not send.
 */
uint8_t *board_eth_tx_buffer(void);
void board_eth_tx(size_t len);
/** @brief A received frame, or NULL. It stays until board_eth_rx_done(). */
const uint8_t *board_eth_rx(size_t *len);
void board_eth_rx_done(void);

/* ---- Flash for the state: two sectors, erased to ones, programmed word by word. ---- */
#define BOARD_FLASH_SECTORS 2
size_t board_flash_sector_len(void);
const uint8_t *board_flash_read(unsigned sector);
bool board_flash_erase(unsigned sector);
/** @param at  Offset in the sector and @p len are multiples of 4. */
bool board_flash_program(unsigned sector, size_t at, const uint8_t *data, size_t len);

/* ---- Flash that was written with the image: boot configuration and trusted roots (mkflash.py) ---- */
const char *board_config_text(void);
const uint8_t *board_config_roots(void);

#endif
