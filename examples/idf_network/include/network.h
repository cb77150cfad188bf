/*
 * Wi-Fi or Ethernet for the example, as menuconfig says. SPDX-License-Identifier: MIT
 */
#ifndef NETWORK_H
#define NETWORK_H

/** @brief Start NVS, the event loop, lwIP and the interface, and keep it connected. Does not wait: microlink does. */
void network_start(void);

#endif
