/*
 * What lwIP asks of the compiler and the system (its cc.h). SPDX-License-Identifier: MIT
 */
#ifndef ML_LWIP_ARCH_CC_H
#define ML_LWIP_ARCH_CC_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

/** Unpredictable initial sequence numbers and ports; from the port's entropy. */
uint32_t ml_netif_random(void);
#define LWIP_RAND() ml_netif_random()

#define LWIP_PLATFORM_DIAG(x)   ((void)0)
#define LWIP_PLATFORM_ASSERT(x) abort()
#define LWIP_TIMEVAL_PRIVATE    0

#endif
