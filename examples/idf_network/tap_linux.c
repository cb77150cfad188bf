/*
 * Opening a TAP device of the host. A file of its own, since lwIP's headers stand in front of the host's elsewhere.
 *
 * SPDX-License-Identifier: MIT
 */
/* Of ESP-IDF: the host's own sockets and descriptors, please. */
#define LWIP_HDR_LINUX_SYS_SOCKETS_H
#include "tap_linux.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int tap_linux_open(const char *name)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    strncpy(ifr.ifr_name, name, sizeof ifr.ifr_name - 1);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}
