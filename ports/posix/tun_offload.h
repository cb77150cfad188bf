/*
 * TCP segments as one large packet between the host's kernel and the TUN device, as a network card with segmentation offload
 * has them: the kernel hands over up to 64 KB at a time, which is cut here, and takes runs of segments that were put together
 * here. Both cost it what one packet costs.
 *
 * The header in front of each packet is the virtio specification's (5.1.6, "Device Operation"); Linux' IFF_VNET_HDR. Nothing
 * is lost on the way: cutting what was put together gives the same packets, checksums included (but for IPv4's identification,
 * which says nothing beside "don't fragment", RFC 6864). No state but the caller's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_TUN_OFFLOAD_H
#define ML_POSIX_TUN_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What IPv4's length field can say. */
#define ML_TUN_PACKET_MAX 65535u

enum { ML_TUN_GSO_NONE = 0, ML_TUN_GSO_TCPV4 = 1, ML_TUN_GSO_TCPV6 = 4, ML_TUN_GSO_ECN = 0x80 };
enum { ML_TUN_NEEDS_CSUM = 1 };

/** In front of each packet, in the host's byte order. */
struct ml_tun_head {
    uint8_t flags;    /**< ML_TUN_NEEDS_CSUM: the checksum field holds the sum of the pseudo header only. */
    uint8_t gso_type; /**< ML_TUN_GSO_*; ML_TUN_GSO_ECN may be set beside a type. */
    uint16_t header_len;
    uint16_t gso_size; /**< Bytes of data in each segment but the last. */
    uint16_t csum_start;
    uint16_t csum_offset; /**< From `csum_start`. */
};

typedef void (*ml_tun_packet_fn)(void *ctx, const uint8_t *packet, size_t len);

/**
 * @brief Call @p fn for each packet that @p packet stands for, with finished checksums; in order.
 * @param packet  Is overwritten. What @p fn gets lies in it, until @p fn returns.
 * @return How many; 0 when header and packet do not agree, or no packet of at most @p mtu bytes comes of it.
 */
size_t ml_tun_split(const struct ml_tun_head *head, uint8_t *packet, size_t len, size_t mtu, ml_tun_packet_fn fn, void *ctx);

/** A run of segments of one TCP connection; zero is empty. */
struct ml_tun_run {
    struct ml_tun_head head;
    uint8_t packet[ML_TUN_PACKET_MAX];
    size_t len; /**< 0: empty. */
    size_t count;
    uint32_t next_seq;
    bool is_closed; /**< By a short segment or PSH: the next one begins another run. */
};

/**
 * @brief Append a segment, or begin a run with it.
 *
 * Only what a card may put together (Linux' own rules for GRO): whole unfragmented TCP with right checksums, data, no flags but
 * ACK and PSH, the same headers but for length and sequence, the sequence continued, no segment longer than the first.
 *
 * @return false: not taken. Take the run (if it is not empty) and offer the packet again; an empty run that does not take it
 *         never will.
 */
bool ml_tun_run_add(struct ml_tun_run *run, const uint8_t *packet, size_t len);

/** @brief Finish `head` and `packet`, so that they can be written. Set `len` to 0 afterwards. */
void ml_tun_run_finish(struct ml_tun_run *run);

#endif
