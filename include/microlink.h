/*
 * The application API of microlink: join a tailnet, exchange datagrams with its nodes, ask about peers and traffic.
 *
 * Written once, above the engine (microlink/engine.h) and a port (microlink/port.h). Every function is non-blocking and,
 * unless the port says otherwise, to be called from one thread; the program's loop calls microlink_update() whenever a
 * descriptor of microlink_get_fds() is ready or microlink_get_timeout() has passed. Programs that want ordinary sockets over
 * the tailnet use the port's interface (a TUN device, an lwIP netif) instead of microlink_send() and microlink_receive().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_H
#define MICROLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "microlink/version.h"

#ifdef ESP_PLATFORM
#include "esp_err.h"
#else
/** ESP-IDF's error type and values, so that an application compiles unchanged on both. */
typedef int esp_err_t;
#define ESP_OK                0
#define ESP_FAIL              (-1)
#define ESP_ERR_NO_MEM        0x101
#define ESP_ERR_INVALID_ARG   0x102
#define ESP_ERR_INVALID_STATE 0x103
#define ESP_ERR_INVALID_SIZE  0x104
#define ESP_ERR_NOT_FOUND     0x105
#define ESP_ERR_NOT_SUPPORTED 0x106
#define ESP_ERR_TIMEOUT       0x107
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Endpoints told of one peer; more are cut. */
#define MICROLINK_MAX_ENDPOINTS 8
/** Largest payload of microlink_send(): the overlay MTU of 1280 less IPv4 and UDP headers, rounded down. */
#define MICROLINK_MAX_PAYLOAD 1232
/** UDP port of microlink_send() and microlink_receive() unless configured. */
#define MICROLINK_DATA_PORT 5055
/** microlink_get_peer_latency() of a peer that was not measured yet, or does not exist. */
#define MICROLINK_LATENCY_UNKNOWN UINT32_MAX

/** A node on a tailnet. Opaque; one per identity, any number in a process. */
typedef struct microlink microlink_t;

typedef enum {
    MICROLINK_STATE_IDLE = 0,       /**< Made, or disconnected. */
    MICROLINK_STATE_REGISTERING,    /**< Reaching the control server and logging in; also while a user must visit the URL. */
    MICROLINK_STATE_FETCHING_PEERS, /**< Logged in, waiting for the first network map (or an admin's approval). */
    MICROLINK_STATE_CONFIGURING_WG, /**< The map came; own address not known yet. */
    MICROLINK_STATE_CONNECTED,      /**< On the tailnet. */
    MICROLINK_STATE_MONITORING,     /**< On the tailnet, with at least one peer reached. */
    MICROLINK_STATE_ERROR           /**< Cannot go on without help: see microlink_get_problem(). */
} microlink_state_t;

/** Where a peer was seen on the underlay. Unused bytes are zero. */
typedef struct {
    union {
        uint32_t ip4; /**< IPv4 address in network byte order. */
        uint8_t ip6[16];
    } addr;
    uint16_t port; /**< Host byte order. */
    uint8_t is_ipv6 : 1;
    uint8_t is_derp : 1; /**< The "address" is a relay region; its number is in @p port. */
} microlink_endpoint_t;

typedef struct {
    uint32_t node_id;       /**< The low 32 bits of the control server's node number. */
    char hostname[64];      /**< First label of the peer's MagicDNS name. */
    uint32_t vpn_ip;        /**< Tailnet IPv4 address, host byte order; 0 if it has none. */
    uint8_t public_key[32]; /**< WireGuard public key. */
    uint8_t disco_key[32];  /**< Zero when not announced. */
    microlink_endpoint_t endpoints[MICROLINK_MAX_ENDPOINTS];
    uint8_t endpoint_count;
    uint32_t latency_ms;       /**< Of the last pong; MICROLINK_LATENCY_UNKNOWN before it. */
    uint8_t best_endpoint_idx; /**< Index of the endpoint in use; 0xff when none of the listed ones is. */
    uint32_t last_seen_ms;     /**< Milliseconds since the last packet from it; UINT32_MAX if none came yet. */
    bool using_derp;           /**< Reached through a relay, or not reached yet. */
} microlink_peer_t;

typedef struct {
    uint64_t bytes_sent, bytes_received; /**< Of IP packets inside the tunnel. */
    uint32_t packets_sent, packets_received;
    uint32_t packets_dropped; /**< For any reason, datagrams that found the receive queue full included. */
    uint32_t handshakes_completed;
    uint32_t derp_packets_relayed; /**< Through relays, both directions. */
    uint32_t direct_packets_sent;
} microlink_stats_t;

/** What changed; delivered from inside microlink_update() and never from another thread. */
typedef enum {
    MICROLINK_EVENT_STATE = 1,    /**< `state`. */
    MICROLINK_EVENT_LOGIN_URL,    /**< A user must visit `text` to admit this node. */
    MICROLINK_EVENT_PROBLEM,      /**< `text` says what is wrong and what to do; "" when it is over. */
    MICROLINK_EVENT_PEER_ADDED,   /**< `peer_ip`, `node_id`. */
    MICROLINK_EVENT_PEER_CHANGED, /**< `peer_ip`, `node_id`. */
    MICROLINK_EVENT_PEER_REMOVED, /**< `node_id`. */
    MICROLINK_EVENT_PONG,         /**< Answer to microlink_ping(): `peer_ip`, `latency_ms`, `relayed`. */
    MICROLINK_EVENT_PING_FAILED,  /**< `peer_ip`; `error` ESP_ERR_TIMEOUT or ESP_ERR_NOT_FOUND. */
    MICROLINK_EVENT_DATA,         /**< microlink_receive() has something. */
    MICROLINK_EVENT_REJECTED,     /**< A peer's access rules refused our packet: `peer_ip`, `text`. */
    MICROLINK_EVENT_STORE_FAILED  /**< State could not be saved: `text`. The node runs on, but forgets at the next start. */
} microlink_event_type_t;

typedef struct {
    microlink_event_type_t type;
    esp_err_t error;
    microlink_state_t state;
    uint32_t node_id;
    uint32_t peer_ip; /**< Host byte order. */
    uint32_t latency_ms;
    bool relayed;
    const char *text; /**< Never NULL; lives during the call. */
} microlink_event_t;

/** One of the stored records; which one changes how often matters to flash (microlink/engine.h, ml_store_kind). */
typedef enum { MICROLINK_RECORD_IDENTITY, MICROLINK_RECORD_CLOCK, MICROLINK_RECORD_CACHE } microlink_record_t;

/** Where state is kept, when not in the port's own place (a file, NVS). Both functions or none. */
typedef struct {
    void *ctx;
    /** Read a record. @p len: room in, length out. ESP_ERR_NOT_FOUND when it was never saved. */
    esp_err_t (*load)(void *ctx, microlink_record_t record, uint8_t *buf, size_t *len);
    /** Replace a record atomically: after a power cut either the old or the new one is there. */
    esp_err_t (*save)(void *ctx, microlink_record_t record, const uint8_t *buf, size_t len);
} microlink_storage_t;

/** Fill with microlink_get_default_config(), then change what you need. Strings are copied by microlink_init(). */
typedef struct {
    const char *auth_key;    /**< Pre-auth key for the first login. NULL: a user visits microlink_get_login_url(). */
    const char *device_name; /**< Name on the tailnet, at most 63 bytes; NULL: "microlink". */
    bool enable_derp;        /**< Use relays. Default true; without them only peers with a direct path are reached. */
    bool enable_disco;       /**< Look for direct paths. Default true; without it everything is relayed. */
    bool enable_stun;        /**< Learn the address seen from outside. Default true. */
    uint8_t max_peers;       /**< Peers kept; default 16. Any tailnet works, the rest is not reachable. */
    /**
     * Longest time, in milliseconds, that microlink_get_timeout() ever asks to wait; default 25000, 0 = no bound. The
     * protocol's own keepalives do not depend on it.
     */
    uint32_t heartbeat_interval_ms;
    void (*on_connected)(void);
    void (*on_disconnected)(void);
    void (*on_peer_added)(const microlink_peer_t *peer);
    void (*on_peer_removed)(uint32_t node_id);
    void (*on_state_change)(microlink_state_t old_state, microlink_state_t new_state);

    /* Beyond the common part; all zero is the default. */
    void (*on_event)(void *ctx, const microlink_event_t *event); /**< Every event, with the context that others lack. */
    void *event_ctx;
    const char *control_url;     /**< NULL: https://controlplane.tailscale.com. */
    const char *control_key;     /**< Pinned server key "mkey:..."; NULL: learned over TLS and remembered. */
    const char *ca_file;         /**< PEM file with the trusted roots; NULL: the system's. */
    const char *ca_pem;          /**< The same as text; wins over ca_file. Must outlive the node (not copied). */
    const char *state_path;      /**< State file; "mem:" or NULL: nothing is kept (a new node every time). */
    microlink_storage_t storage; /**< Wins over state_path. */
    uint16_t data_port;          /**< UDP port inside the tunnel; 0 = MICROLINK_DATA_PORT. */
    uint16_t udp_port;           /**< UDP port on the underlay; 0 = any. */
    uint16_t rx_queue_len;       /**< Datagrams kept for microlink_receive(); 0 = 8. The newest is dropped when full. */
    bool ephemeral;              /**< Ask control to forget this node when it is gone. */
    bool shields_up;             /**< Refuse what peers initiate, whatever the rules say. */
    uint8_t log_level;           /**< 0 errors, 1 warnings, 2 info, 3 debug, 4 trace. */
    void (*on_log)(void *ctx, int level, const char *line); /**< NULL: the port's log (stderr). */
    void *log_ctx;
} microlink_config_t;

/** @brief Fill in the defaults. */
void microlink_get_default_config(microlink_config_t *config);
/**
 * @brief Make a node: takes memory and sockets, loads state; talks to nobody yet.
 * @return NULL on failure; microlink_get_init_error() has the sentence.
 */
microlink_t *microlink_init(const microlink_config_t *config);
/** @brief One sentence on why the last microlink_init() of this thread failed; "" after a success. */
const char *microlink_get_init_error(void);
/** @brief Close everything and wipe the keys from memory. State on storage stays. NULL is fine. */
void microlink_deinit(microlink_t *ml);

/** @brief Start joining, and stay joined through every failure until microlink_disconnect(). */
esp_err_t microlink_connect(microlink_t *ml);
/** @brief Leave. Identity stays: microlink_connect() comes back as the same node. */
esp_err_t microlink_disconnect(microlink_t *ml);
/**
 * @brief Do what is due: read sockets, run timers, send. Never blocks. Callbacks are called from here.
 * @retval ESP_FAIL  the port lost something it cannot work without; microlink_get_problem() says what
 */
esp_err_t microlink_update(microlink_t *ml);
bool microlink_is_connected(const microlink_t *ml);
microlink_state_t microlink_get_state(const microlink_t *ml);

/**
 * @brief Send one datagram: UDP inside the tunnel, from our data port to the same port of @p dest_vpn_ip.
 *
 * Without a session to the peer one is started, and the datagram waits for it within the engine's bound.
 *
 * @param dest_vpn_ip  Tailnet IPv4 address, host byte order.
 * @param len          0..MICROLINK_MAX_PAYLOAD.
 * @retval ESP_ERR_INVALID_SIZE   too long
 * @retval ESP_ERR_INVALID_STATE  not connected
 * @retval ESP_ERR_NOT_FOUND      no such peer
 * @retval ESP_ERR_NO_MEM         the queue is full: call microlink_update() and try again
 */
esp_err_t microlink_send(microlink_t *ml, uint32_t dest_vpn_ip, const uint8_t *data, size_t len);
/**
 * @brief Take the oldest datagram that came to our data port. Never blocks.
 * @param len  Room in, length out.
 * @retval ESP_ERR_NOT_FOUND     there is none
 * @retval ESP_ERR_INVALID_SIZE  @p buffer is short: @p len has the needed length, the datagram stays queued
 */
esp_err_t microlink_receive(microlink_t *ml, uint32_t *src_vpn_ip, uint8_t *buffer, size_t *len);

/** @brief Own tailnet IPv4 address in host byte order, 0 before the first map. */
uint32_t microlink_get_vpn_ip(const microlink_t *ml);
/**
 * @brief A snapshot of the peers.
 * @param peers  The node's own array; valid until the next call of this function or microlink_deinit(). Made by the first call.
 * @retval ESP_ERR_NO_MEM  no memory for it
 */
esp_err_t microlink_get_peers(const microlink_t *ml, const microlink_peer_t **peers, uint8_t *count);
esp_err_t microlink_get_stats(const microlink_t *ml, microlink_stats_t *stats);
/** @brief Milliseconds of the last pong, MICROLINK_LATENCY_UNKNOWN if there was none or no such peer. */
uint32_t microlink_get_peer_latency(const microlink_t *ml, uint32_t peer_vpn_ip);
/** @brief Writes "100.64.0.1". @param buf  At least 16 bytes; returned. */
char *microlink_vpn_ip_to_str(uint32_t vpn_ip, char *buf);

/** @brief Measure the way to a peer; ends in MICROLINK_EVENT_PONG or MICROLINK_EVENT_PING_FAILED. */
esp_err_t microlink_ping(microlink_t *ml, uint32_t peer_vpn_ip);
/** @brief Address of a peer by MagicDNS name, full or short, or by one of its addresses as text. @retval ESP_ERR_NOT_FOUND no such peer */
esp_err_t microlink_resolve(const microlink_t *ml, const char *name, uint32_t *vpn_ip);
/** @brief The underlay changed (new Wi-Fi, resumed from sleep): look for paths anew. */
esp_err_t microlink_rebind(microlink_t *ml);
/** @brief Log out of the tailnet and forget the identity on storage too. The node is idle afterwards. */
esp_err_t microlink_factory_reset(microlink_t *ml);
/** @brief The URL a user must visit, or "" when none is needed. Lives until the next microlink_update(). */
const char *microlink_get_login_url(const microlink_t *ml);
/** @brief When the node's key expires: seconds since 1970, 0 = never or unknown. */
uint64_t microlink_get_key_expiry(const microlink_t *ml);
/** @brief One sentence on what is wrong and what to do, or "". Lives until the next call on this node. */
const char *microlink_get_problem(const microlink_t *ml);
/** @brief One sentence for an error code; never NULL. */
const char *microlink_strerror(esp_err_t err);

/** A descriptor to wait for; `events` in poll() terms: 1 = readable, 4 = writable. */
typedef struct {
    int fd;
    short events;
} microlink_fd_t;
/**
 * @brief Descriptors to wait on before calling microlink_update(). Ask again after each update.
 * @return How many there are; at most @p cap are written. 0 on ports without descriptors.
 */
size_t microlink_get_fds(const microlink_t *ml, microlink_fd_t *fds, size_t cap);
/** @brief Milliseconds until microlink_update() is due without any input; 0 = now, UINT32_MAX = never. */
uint32_t microlink_get_timeout(const microlink_t *ml);

#ifdef __cplusplus
}
#endif

#endif
