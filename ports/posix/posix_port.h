/*
 * What the POSIX port offers beyond microlink/port.h, to the program that is built on it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_PORT_H
#define ML_POSIX_PORT_H

#include "loop.h"
#include "microlink/port.h"

/** @brief The port's loop, for further descriptors (control socket, TUN device). They are served by ml_port_step(). */
struct ml_loop *ml_port_loop(ml_port *port);
/** @brief Leave this interface out of the underlay's addresses; NULL: none. */
void ml_port_set_tunnel_ifname(ml_port *port, const char *ifname);
/** @brief UDP port of the underlay as bound (IPv4, or IPv6 when there is no IPv4). */
uint16_t ml_port_udp_port(const ml_port *port);
/**
 * @brief Offer an IP packet of the host to the engine, draining it once when it is full.
 * @param now  ml_sys_now(), which several packets that were read at once may share.
 * @return as ml_handle_overlay()
 */
ml_err ml_port_overlay(ml_port *port, ml_time now, const uint8_t *packet, size_t len);
/** @brief The default log of the port: "level line" to stderr. @p ctx unused. */
void ml_port_log_stderr(void *ctx, ml_log_level level, const char *line);

#endif
