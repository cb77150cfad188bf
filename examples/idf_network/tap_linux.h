/* Opening a TAP device of the host (tap_linux.c). SPDX-License-Identifier: MIT */
#ifndef TAP_LINUX_H
#define TAP_LINUX_H

/** @return a descriptor that does not block, or -1 with errno. */
int tap_linux_open(const char *name);

#endif
