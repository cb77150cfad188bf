/*
 * What lwIP asks of the compiler and the system (its cc.h). SPDX-License-Identifier: MIT
 */
#ifndef ML_BOARD_LWIP_ARCH_CC_H
#define ML_BOARD_LWIP_ARCH_CC_H

#include <stdint.h>
#include <stdlib.h>

/** Unpredictable initial sequence numbers and ports, from the board's entropy. */
uint32_t ml_board_random32(void);
#define LWIP_RAND() ml_board_random32()

void ml_board_panic(const char *why) __attribute__((noreturn));
#define LWIP_PLATFORM_DIAG(x)   ((void)0)
#define LWIP_PLATFORM_ASSERT(x) ml_board_panic(x)
#define LWIP_TIMEVAL_PRIVATE    0

#endif
