/*
 * Wi-Fi or Ethernet for the example, as menuconfig says; a TAP device on the host. SPDX-License-Identifier: MIT
 */
#ifndef NETWORK_H
#define NETWORK_H

#include "sdkconfig.h"

/** @brief Start NVS, the event loop, lwIP and the interface, and keep it connected. Does not wait: microlink does. */
void network_start(void);

#if CONFIG_IDF_TARGET_LINUX
/** @brief The interface of ESP-IDF's target "linux" (network_linux.c); called by network_start(). */
void network_linux_start(void);
/** @brief Use the file that the environment names as flash; called by network_start() before and after it is first read. */
void network_linux_flash(void);
void network_linux_flash_made(void);
/** @brief Plug the cable in with another address ("10.0.0.2/24"), or pull it (NULL). */
void network_linux_set(const char *cidr, const char *gateway, const char *dns);
#endif

#endif
