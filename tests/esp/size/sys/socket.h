/* Declarations for measuring code size without ESP-IDF, see ../../README.md. The sockets of lwIP. SPDX-License-Identifier: MIT */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint32_t socklen_t;
typedef uint8_t sa_family_t;
struct sockaddr {
    uint8_t sa_len;
    sa_family_t sa_family;
    char sa_data[14];
};
struct sockaddr_storage {
    uint8_t s2_len;
    sa_family_t ss_family;
    char s2_data1[2];
    uint32_t s2_data2[3];
    uint32_t s2_data3[3];
};

#define AF_UNSPEC    0
#define AF_INET      2
#define AF_INET6     10
#define SOCK_STREAM  1
#define SOCK_DGRAM   2
#define SOL_SOCKET   0xfff
#define SO_ERROR     0x1007
#define MSG_NOSIGNAL 0x20

int socket(int domain, int type, int protocol);
int bind(int s, const struct sockaddr *name, socklen_t len);
int connect(int s, const struct sockaddr *name, socklen_t len);
int getsockname(int s, struct sockaddr *name, socklen_t *len);
int getpeername(int s, struct sockaddr *name, socklen_t *len);
int getsockopt(int s, int level, int name, void *value, socklen_t *len);
int setsockopt(int s, int level, int name, const void *value, socklen_t len);
ssize_t recv(int s, void *mem, size_t len, int flags);
ssize_t recvfrom(int s, void *mem, size_t len, int flags, struct sockaddr *from, socklen_t *from_len);
ssize_t send(int s, const void *data, size_t len, int flags);
ssize_t sendto(int s, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t to_len);
