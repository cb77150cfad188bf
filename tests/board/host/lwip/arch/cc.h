/*
 * What lwIP asks of the compiler and the system (its cc.h). SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_WORLD_ARCH_CC_H
#define ML_TEST_WORLD_ARCH_CC_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/types.h>

/** The same in every run. */
uint32_t world_random32(void);
#define LWIP_RAND() world_random32()

#define LWIP_PLATFORM_DIAG(x)   ((void)0)
#define LWIP_PLATFORM_ASSERT(x) abort()
#define SSIZE_MAX               0x7fffffffffffffffL /* lwIP asks whether ssize_t is known */
#define LWIP_TIMEVAL_PRIVATE    0

#endif
