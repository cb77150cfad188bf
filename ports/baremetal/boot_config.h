/*
 * What the image is told at its start: lines "name=value" in flash beside the code (mkflash.py writes them). Values are used
 * where they lie; only what must end in a zero is copied.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_BAREMETAL_BOOT_CONFIG_H
#define ML_BAREMETAL_BOOT_CONFIG_H

#include "microlink/types.h"

/**
 * @brief The value of the @p nth line with this name (0 the first), copied and ended with a zero.
 * @return false when there is none, or it does not fit
 */
bool ml_boot_get(const char *name, unsigned nth, char *out, size_t cap);
/** @brief A value as an address; @p bits receives the prefix length of "a.b.c.d/n", if given. */
bool ml_boot_get_ip(const char *name, ml_ip *out, unsigned *bits);
/** @brief A number; 0 when there is none. */
uint32_t ml_boot_get_number(const char *name);
/** @brief Looks a host name up in lines "host=ADDRESS NAME". */
bool ml_boot_find_host(const char *host, ml_ip *out);

#endif
