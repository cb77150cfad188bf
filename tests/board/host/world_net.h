/*
 * The network around the board in the host tests, as far as it is TCP: a machine on the board's Ethernet that accepts TLS
 * connections, and an application on the tailnet that opens TCP connections to the board. lwIP and OpenSSL below; virtual time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_TEST_WORLD_NET_H
#define ML_TEST_WORLD_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_CONNS 16

struct world_net_events {
    void (*frame)(const uint8_t *frame, size_t len);             /* to the board's Ethernet */
    void (*tunnel)(const uint8_t *packet, size_t len);           /* into the tailnet */
    void (*opened)(unsigned conn);                               /* TLS is done */
    void (*data)(unsigned conn, const uint8_t *buf, size_t len); /* decrypted */
    void (*closed)(unsigned conn);
};

/** Listens on @p ip:443 with this chain and key (PEM); the application has the tailnet address @p overlay. */
void world_net_init(const struct world_net_events *ev, const uint8_t ip[4], const uint8_t overlay[4], const char *chain,
                    const char *key);
void world_net_frame(const uint8_t *frame, size_t len);
void world_net_packet(const uint8_t *packet, size_t len);
/** Sets the time, in milliseconds, and runs lwIP's timers. */
void world_net_time(uint32_t now_ms);
/** Milliseconds until they want to run again. */
uint32_t world_net_sleep(void);
void world_net_write(unsigned conn, const uint8_t *buf, size_t len);
/** Ends all connections with a reset, as a server that dies does. */
void world_net_reset_all(void);

/** Opens a connection to the board and sends @p len bytes that must come back. */
void world_echo_start(const uint8_t ip[4], uint16_t port, size_t len);
enum world_echo { WORLD_ECHO_RUNS, WORLD_ECHO_DONE, WORLD_ECHO_FAILED };
enum world_echo world_echo_state(void);
void world_echo_stop(void);

#endif
