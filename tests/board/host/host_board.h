/*
 * A board in a process of the host, in virtual time: board.h is implemented here, and these are its knobs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_HOST_BOARD_H
#define ML_TEST_HOST_BOARD_H

#include "board/board.h"

#define HOST_SECTOR 8192u

/** What survives a reset: mapped, so that a child process that plays one life leaves it to the next. */
struct host_flash {
    uint8_t cells[BOARD_FLASH_SECTORS][HOST_SECTOR];
    bool is_refusing;   /* neither erases nor programs */
    long cut_after;     /* operations until it refuses for ever, the last one torn; negative: never */
    unsigned long done; /* operations */
};

extern struct host_flash *host_flash;
extern uint64_t host_now;           /* microseconds */
extern uint64_t host_unix_ms;       /* the clock at host_now 0 */
extern uint64_t host_entropy_at;    /* there is none before this time; */
extern unsigned host_entropy_asked; /* requests that came before, */
extern uint64_t host_random_state;  /* another one for each life */
extern uint64_t host_slept_to;      /* and where the waiting led to */
extern char host_config[1024];
extern const uint8_t *host_roots;

/** A frame for the board; false: its ring is full, as on a busy device. */
bool host_frame_in(const uint8_t *frame, size_t len);
/** What the board sends goes here at once. */
extern void (*host_frame_out)(const uint8_t *frame, size_t len);
bool host_has_frames(void);

#endif
