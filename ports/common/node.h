/*
 * A node as the application API sees it, without threads: the functions of microlink.h under names of their own, to be called
 * by one thread at a time. microlink_api.c puts the host's lock around them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_COMMON_NODE_H
#define ML_COMMON_NODE_H

#include "microlink.h"
#include "microlink/types.h"

const char *ml_node_strerror(esp_err_t err);
void ml_node_get_default_config(microlink_config_t *config);
microlink_t *ml_node_init(const microlink_config_t *config);
const char *ml_node_get_init_error(void);
/** @brief Say why there is no node, where that is not for ml_node_init() to know. */
void ml_node_set_init_error(const char *why);
void ml_node_deinit(microlink_t *ml);
esp_err_t ml_node_connect(microlink_t *ml);
esp_err_t ml_node_disconnect(microlink_t *ml);
/** @brief microlink_update(), but may wait until @p until or the next deadline; 0 does not wait (ml_port_step()). */
esp_err_t ml_node_step(microlink_t *ml, ml_time until);
bool ml_node_is_connected(const microlink_t *ml);
microlink_state_t ml_node_get_state(const microlink_t *ml);
esp_err_t ml_node_send(microlink_t *ml, uint32_t dest_vpn_ip, const uint8_t *data, size_t len);
esp_err_t ml_node_receive(microlink_t *ml, uint32_t *src_vpn_ip, uint8_t *buffer, size_t *len);
uint32_t ml_node_get_vpn_ip(const microlink_t *ml);
esp_err_t ml_node_get_peers(const microlink_t *ml, const microlink_peer_t **peers, uint8_t *count);
esp_err_t ml_node_get_stats(const microlink_t *ml, microlink_stats_t *stats);
uint32_t ml_node_get_peer_latency(const microlink_t *ml, uint32_t peer_vpn_ip);
char *ml_node_vpn_ip_to_str(uint32_t vpn_ip, char *buf);
esp_err_t ml_node_ping(microlink_t *ml, uint32_t peer_vpn_ip);
esp_err_t ml_node_resolve(const microlink_t *ml, const char *name, uint32_t *vpn_ip);
esp_err_t ml_node_rebind(microlink_t *ml);
esp_err_t ml_node_factory_reset(microlink_t *ml);
const char *ml_node_get_login_url(const microlink_t *ml);
uint64_t ml_node_get_key_expiry(const microlink_t *ml);
const char *ml_node_get_problem(const microlink_t *ml);
size_t ml_node_get_fds(const microlink_t *ml, microlink_fd_t *fds, size_t cap);
uint32_t ml_node_get_timeout(const microlink_t *ml);

#endif
