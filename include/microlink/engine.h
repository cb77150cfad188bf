/*
 * The sans-I/O engine: everything that is protocol, and nothing that touches the world.
 *
 * Bytes and time come in by function call (ml_handle_*), packets and actions come out by polling (ml_poll_*). Nothing in
 * between touches a socket, a clock, a heap or a global. One thread at a time per engine; two engines in one process just
 * work. What a port owes the engine, action by action, is in port.h.
 *
 * The loop of every port:
 *
 *     for (;;) {
 *         wait until a socket is readable or writable, or ml_poll_deadline(ml) has come;
 *         hand in what arrived (ml_handle_datagram, ml_handle_stream_data, ml_handle_overlay, ...);
 *         ml_handle_time(ml, now);
 *         while (ml_poll_output(ml, now, &out) && out.type != ML_OUT_NONE) carry out;
 *         for each open stream: write ml_stream_tx_peek() to its socket, then ml_stream_tx_done();
 *     }
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_ENGINE_H
#define MICROLINK_ENGINE_H

#include "microlink/error.h"
#include "microlink/stats.h"
#include "microlink/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ml_engine ml_engine;

/** Largest datagram or DERP payload of one WireGuard packet: 1280 inner + 32, plus 8 for a peer relay's header. */
#define ML_UNDERLAY_MAX 1320
/** Largest inner IP packet, the MTU of the overlay interface. */
#define ML_OVERLAY_MTU 1280
/** Longest DNS name with trailing dot and zero. Node names are at most 255 octets; longer ones are cut and marked. */
#define ML_NAME_CAP 256
#define ML_TEXT_CAP 256 /**< Sentences the engine hands out. */

typedef enum ml_log_level { ML_LOG_ERROR, ML_LOG_WARN, ML_LOG_INFO, ML_LOG_DEBUG, ML_LOG_TRACE } ml_log_level;
/** Takes one finished line without newline. Must not call back into the engine. */
typedef void (*ml_log_fn)(void *ctx, ml_log_level level, const char *line);

/**
 * @brief Configuration. All zero means the documented defaults, so `ml_config cfg = {0};` plus a random source works.
 * Strings are copied by ml_init(); NULL means the default or "none".
 */
typedef struct ml_config {
    ml_random random;            /**< Required. */
    const char *control_url;     /**< Default "https://controlplane.tailscale.com". http:// only for test or private hosts. */
    const char *auth_key;        /**< Pre-auth key for the first login; NULL: interactive login by URL. Wiped when used up. */
    const char *hostname;        /**< Up to 63 bytes; default "microlink". */
    const char *os;              /**< Hostinfo.OS, default "linux". */
    const char *control_key;     /**< Pinned server key "mkey:..."; NULL: fetched over verified TLS and remembered. */
    uint16_t capability_version; /**< Announced everywhere; 0 = ML_CAPVER_DEFAULT. */
    uint16_t max_peers;          /**< Peers kept from the netmap; 0 = 16. */
    uint16_t max_sessions;       /**< Peers with a live WireGuard session or path state; 0 = min(max_peers, 16). */
    uint16_t max_regions;        /**< Relay regions kept from the DERP map; 0 = 32. */
    uint16_t max_rules;          /**< Packet filter entries (sources + destinations); 0 = 64. Over it: fail closed. */
    uint16_t udp_port; /**< The underlay's UDP port if the user fixed it, else 0: peers behind hard NATs then guess it. */
    uint8_t max_derp;  /**< Simultaneous relay connections, home included; 0 = 2, at most 8. */
    uint32_t out_queue_bytes;    /**< Room for packets waiting to be polled; 0 = 8192. */
    uint32_t stream_tx_bytes;    /**< Room per stream for bytes waiting to be written; 0 = 4096. */
    bool no_derp;                /**< Never connect to a relay. */
    bool no_disco;               /**< Send no DISCO pings and publish no endpoints: relayed paths only. */
    bool no_stun;                /**< Send no STUN: only local addresses are published. */
    bool ephemeral;              /**< Ask control to forget this node when it is gone. */
    bool shields_up;             /**< Refuse every connection from peers, whatever the rules say. */
    bool insecure_tls_for_tests; /**< Honour DERPNode.InsecureForTests. Compiled in with ML_TEST_HOOKS only. */
    /** The port's heap is small: control sends at most 2 KB ahead of what was read, and a relay is dialled when the netmap that
     * is coming in was read, or two seconds later. */
    bool is_heap_small;
    bool memory_is_zero;      /**< The memory given to ml_init() is all zero: what is never used of it is never touched. */
    uint64_t build_unix_time; /**< Seconds; lower bound of the clock when nothing better is known. 0 = none. */
    ml_log_fn log;
    void *log_ctx;
    ml_log_level log_level;
} ml_config;

#define ML_CAPVER_DEFAULT 130

/** @brief Bytes of memory an engine of this configuration needs; 0 when the configuration is impossible. */
size_t ml_mem_needed(const ml_config *cfg);

/**
 * @brief Make an engine inside caller's memory. It idles until ml_start().
 * @param mem  At least ml_mem_needed(cfg) bytes, aligned for max_align_t, the engine's until ml_clear().
 * @retval ML_ERR_ARG     no random source, bad URL, name too long
 * @retval ML_ERR_NO_MEM  @p len too small
 */
ml_err ml_init(ml_engine **out, void *mem, size_t len, const ml_config *cfg);
/** @brief Wipe everything. The memory is the caller's again. */
void ml_clear(ml_engine *ml);

/* ---- Stored state: three records, so that what changes often does not wear out what must never be lost. ---- */
typedef enum ml_store_kind {
    ML_STORE_IDENTITY, /**< Machine, node and disco keys, login name. Written on login, rotation and logout. */
    ML_STORE_CLOCK,    /**< TAI64N high-water mark. At most about one write an hour (dataplane.md 1.6). */
    ML_STORE_CACHE,    /**< Control key, own addresses, home region, last peers and rules: packets flow after a restart before
                            control has answered. Losing it costs time only. At most 28 writes a day. */
    ML_STORE_COUNT
} ml_store_kind;
#define ML_STORE_MAX 2048 /**< Largest record. */

/**
 * @brief Give back a record that an earlier run stored; before ml_start().
 * @retval ML_ERR_CORRUPT  torn, foreign, or from a later version: nothing was taken. The port keeps it aside and says so.
 */
ml_err ml_load(ml_engine *ml, ml_store_kind kind, const uint8_t *buf, size_t len);
/**
 * @brief After ml_load(): the UDP port of the run that stored the records, 0 = not known. Binding it again, unless the user
 * fixed another, keeps direct paths alive over a restart.
 */
uint16_t ml_get_last_udp_port(const ml_engine *ml);
/**
 * @brief Answer to ML_OUT_STORE: the record is safe on storage (@p ok), or could not be written. What could not is said
 * (ml_get_problem()) and offered again: after 15 s, then after twice as long each time, up to half an hour.
 */
void ml_handle_stored(ml_engine *ml, ml_time now, ml_store_kind kind, bool ok);

/* ---- Commands ---- */
/** @brief Connect, and stay connected through every failure until ml_stop(). */
ml_err ml_start(ml_engine *ml, ml_time now);
/** @brief Close all connections and sessions; keys and identity stay. Outputs (closes) are to be drained. */
ml_err ml_stop(ml_engine *ml, ml_time now);
/** @brief Tell control that this node is gone and forget the node key. Ends in ML_STATE_NEEDS_LOGIN or stopped. */
ml_err ml_logout(ml_engine *ml, ml_time now);
/** @brief Use this auth key for the next login (copied, wiped after use). */
ml_err ml_set_auth_key(ml_engine *ml, ml_time now, const char *auth_key);
/** @brief Trusted wall-clock time: milliseconds since the Unix epoch, as of @p now. */
void ml_set_wall_clock(ml_engine *ml, ml_time now, uint64_t unix_ms);
/** @brief Addresses of the underlay interfaces (with the UDP port each socket is bound to). Copied; at most 8 are kept. */
void ml_set_local_addrs(ml_engine *ml, ml_time now, const ml_addr *addrs, size_t count);
/**
 * @brief TCP ports of this host's PeerAPI on its own IPv4 and IPv6 tailnet address, 0 = none. Published to peers, told in TSMP
 * pongs, and let through the packet filter: the server there answers to every peer and decides itself. Kept until set anew.
 */
void ml_set_peerapi_port(ml_engine *ml, ml_time now, uint16_t port4, uint16_t port6);
/**
 * @brief The underlay changed (address, route): forget paths, re-run STUN, check connections. Tell the addresses first. A clock
 * that jumps by more than a minute past the deadline asked for is taken for a resume from sleep, with the same effect.
 */
void ml_rebind(ml_engine *ml, ml_time now);

typedef enum ml_ping_kind { ML_PING_DISCO, ML_PING_TSMP, ML_PING_ICMP } ml_ping_kind;
/** @brief Ping a peer by one of its addresses. The answer is ML_EV_PONG with @p token, or ML_EV_PING_FAILED. */
ml_err ml_ping(ml_engine *ml, ml_time now, const ml_ip *peer_ip, ml_ping_kind kind, uint32_t token);
#define ML_PINS 8
/**
 * @brief Keep the peer that has this address in the table whatever the size of the tailnet, or (@p is_on false) no longer.
 * Not stored: to be given again after each start.
 * @retval ML_ERR_FULL  ML_PINS addresses are pinned, or as many as the table has places
 */
ml_err ml_pin_peer(ml_engine *ml, ml_time now, const ml_ip *peer_ip, bool is_on);
/** @brief Measure the relay regions now. ML_EV_NETCHECK when done. */
ml_err ml_netcheck(ml_engine *ml, ml_time now);

/* ---- The world coming in ---- */
/**
 * @brief One UDP datagram from the underlay. STUN, DISCO and WireGuard are told apart inside.
 * @param buf  @p len bytes, opened in place, so scrambled afterwards.
 * @return ML_OK even when the bytes made no sense: see ml_stats.drop[].
 * @retval ML_ERR_FULL  no room for what it would yield; drain and offer again, or drop it. @p buf untouched.
 */
ml_err ml_handle_datagram(ml_engine *ml, ml_time now, const ml_addr *from, uint8_t *buf, size_t len);
/**
 * @brief The system refused to send to @p addr: no route, host or network unreachable. Not for a full buffer. No direct path is
 * believed to go there until it answers again, so the next packets take another way at once.
 */
void ml_handle_send_failed(ml_engine *ml, ml_time now, const ml_addr *addr);
/**
 * @brief One IP packet from the host for the tunnel; copied. At most ML_OVERLAY_MTU bytes.
 * @retval ML_ERR_NO_PATH   no peer has that destination (counted; answer ICMP unreachable if you like)
 * @retval ML_ERR_FULL      drain and offer again, or drop it
 */
ml_err ml_handle_overlay(ml_engine *ml, ml_time now, const uint8_t *ip_packet, size_t len);
void ml_handle_time(ml_engine *ml, ml_time now);
/** @brief Answer to ML_OUT_RESOLVE; @p count 0 when the name does not resolve. */
void ml_handle_resolved(ml_engine *ml, ml_time now, uint32_t token, const ml_ip *ips, size_t count);

/* ---- Streams: TCP or TLS connections the engine asks for. ---- */
typedef uint32_t ml_stream_id; /**< Never reused within an engine's life (slot and generation). */

typedef enum ml_close_reason {
    ML_CLOSE_EOF,           /**< The peer closed in order. */
    ML_CLOSE_RESET,         /**< Connection reset or another socket error. */
    ML_CLOSE_DNS,           /**< The name did not resolve. */
    ML_CLOSE_REFUSED,       /**< Refused. */
    ML_CLOSE_TIMEOUT,       /**< Not open within `timeout_ms`, or network unreachable. */
    ML_CLOSE_TLS_UNTRUSTED, /**< Chain does not end in a trusted root. */
    ML_CLOSE_TLS_NAME,      /**< Certificate is for another host name. */
    ML_CLOSE_TLS_TIME,      /**< Certificate expired, or the device's clock is wrong. */
    ML_CLOSE_TLS_PIN,       /**< Certificate is not the pinned one. */
    ML_CLOSE_TLS_OTHER,     /**< Handshake failed otherwise: not a TLS server, no common cipher. */
    ML_CLOSE_NO_MEMORY      /**< The port could not afford the connection. */
} ml_close_reason;

typedef struct ml_stream_open {
    ml_stream_id id;
    const char *host;    /**< Name or address literal. */
    ml_ip ip4, ip6;      /**< If set, dial these instead of resolving `host`. */
    bool no_ip4, no_ip6; /**< Family switched off for this server. */
    uint16_t port;
    uint32_t timeout_ms;       /**< For DNS, TCP and TLS together. */
    bool tls;                  /**< No ALPN is offered, or only http/1.1. */
    const char *sni;           /**< Server name to send. */
    const char *verify_name;   /**< Name the certificate must be for; NULL with `pin` or `verify_advisory`. */
    const uint8_t *pin_sha256; /**< 32 bytes: the SHA-256 of the only acceptable leaf certificate's DER; else NULL. */
    bool verify_advisory;      /**< A failed check is logged, not fatal: Noise authenticates the server (control.md 3.1). */
    bool no_verify;            /**< Only with insecure_tls_for_tests. */
} ml_stream_open;

/** What the port saw while opening. All zero when nothing. */
typedef struct ml_stream_info {
    ml_derp_key derp_meta_key; /**< From a DERP meta certificate (CN "derpkey" + hex) in the TLS chain, else zero. */
    ml_addr local, remote;     /**< Of the TCP connection; zero when unknown. */
} ml_stream_info;

void ml_handle_stream_opened(ml_engine *ml, ml_time now, ml_stream_id id, const ml_stream_info *info);
/**
 * @brief Bytes that arrived on a stream. The engine takes what it has room for.
 * @param used  How many were taken; the port offers the rest again after draining the outputs (back-pressure).
 */
void ml_handle_stream_data(ml_engine *ml, ml_time now, ml_stream_id id, const uint8_t *buf, size_t len, size_t *used);
/** @brief The stream could not be opened, or ended. @p detail: the library's own words for the log, or NULL. */
void ml_handle_stream_closed(ml_engine *ml, ml_time now, ml_stream_id id, ml_close_reason why, const char *detail);
/** @brief Bytes waiting to be written on an open stream; 0 if none. The pointer lives until the next call on the engine. */
size_t ml_stream_tx_peek(const ml_engine *ml, ml_stream_id id, const uint8_t **buf);
/** @brief @p n of the peeked bytes were written. */
void ml_stream_tx_done(ml_engine *ml, ml_time now, ml_stream_id id, size_t n);

/* ---- What comes out ---- */
typedef enum ml_output_type {
    ML_OUT_NONE,
    ML_OUT_DATAGRAM,     /**< Send `data` to `addr` from the one UDP socket of that family. Best effort. */
    ML_OUT_OVERLAY,      /**< Give this IP packet to the host. */
    ML_OUT_STREAM_OPEN,  /**< Open a connection: `stream`. */
    ML_OUT_STREAM_CLOSE, /**< Close it (what is still unwritten may be lost); no more events for `stream.id`. */
    ML_OUT_RESOLVE,      /**< Resolve `text`, answer ml_handle_resolved(token). */
    ML_OUT_STORE,        /**< Store `data` as record `store` atomically, answer ml_handle_stored(). */
    ML_OUT_EVENT         /**< Tell the application: `event`. */
} ml_output_type;

typedef enum ml_state {
    ML_STATE_STOPPED,        /**< Before ml_start() or after ml_stop(). */
    ML_STATE_CONNECTING,     /**< Reaching control, registering. */
    ML_STATE_NEEDS_LOGIN,    /**< A user must visit the login URL, or the key expired and no auth key is at hand. */
    ML_STATE_NEEDS_APPROVAL, /**< Registered; an admin must approve the machine. */
    ML_STATE_STARTING,       /**< Registered, waiting for the first netmap. */
    ML_STATE_RUNNING         /**< Has a netmap; stays so while control is unreachable. */
} ml_state;

typedef enum ml_event_type {
    ML_EV_STATE,        /**< ml_get_state() changed. */
    ML_EV_SELF,         /**< Own addresses or name changed: see ml_get_self(). */
    ML_EV_PEER_ADDED,   /**< `node_id`. */
    ML_EV_PEER_CHANGED, /**< `node_id`; 0: more changed than the event queue holds, read the table again. */
    ML_EV_PEER_REMOVED, /**< `node_id`. */
    ML_EV_LOGIN_URL,    /**< See ml_get_login_url(). */
    ML_EV_PROBLEM,      /**< ml_get_problem() changed (also to none). */
    ML_EV_PONG,         /**< Answer to ml_ping(): `ping`. */
    ML_EV_PING_FAILED,  /**< No answer: `ping.token`, `ping.error`. */
    ML_EV_NETCHECK,     /**< A measurement of the regions ended. */
    ML_EV_REJECTED      /**< A peer's filter refused a connection of ours (TSMP): `reject`. */
} ml_event_type;

typedef struct ml_pong {
    uint32_t token;
    ml_ping_kind kind;
    uint64_t node_id;
    ml_time latency;       /**< Microseconds. */
    ml_addr via;           /**< Direct address, or unset. */
    uint16_t derp_region;  /**< Region the answer came through, or 0. */
    uint16_t peerapi_port; /**< From a TSMP pong, or 0. */
    ml_err error;          /**< ML_EV_PING_FAILED: ML_ERR_NO_PATH, ML_ERR_NOT_FOUND, or ML_OK for "no answer in time". */
} ml_pong;

typedef struct ml_event {
    ml_event_type type;
    uint64_t node_id;
    ml_pong ping;
    struct {
        ml_addr src, dst; /**< The refused flow: from us to them. */
        uint8_t proto;
        char reason; /**< 'A' rules, 'S' shields up, 'F' forwarding off, 'W' host firewall. */
    } reject;
} ml_event;

typedef struct ml_output {
    ml_output_type type;
    const uint8_t *data; /**< Lives until the next call on this engine. */
    size_t len;
    ml_addr addr;
    uint32_t token;
    const char *text;
    ml_store_kind store;
    ml_stream_open stream;
    ml_event event;
} ml_output;

/** @brief Take one output. False (and ML_OUT_NONE) when there is none. */
bool ml_poll_output(ml_engine *ml, ml_time now, ml_output *out);
/**
 * @brief When ml_handle_time() must be called at the latest; ML_NEVER if nothing waits.
 *
 * A time that has passed means at once. No call does more than one curve operation (X25519), which on a small chip takes for
 * longest: a handshake goes on from call to call, and between them the port serves what else there is.
 */
ml_time ml_poll_deadline(const ml_engine *ml);

/* ---- Questions ---- */
typedef struct ml_self_info {
    uint64_t node_id;
    char name[ML_NAME_CAP]; /**< FQDN with trailing dot, "" before the first netmap. */
    char hostname[64];      /**< As configured. */
    char domain[ML_NAME_CAP];
    char user_login[96]; /**< Login name of the owner. */
    uint64_t user_id;
    ml_ip ip4, ip6; /**< Tailnet addresses; unset if none. */
    ml_node_key node_key;
    ml_disco_key disco_key;
    ml_machine_key machine_key;
    uint16_t home_region;
    uint64_t key_expiry_unix; /**< Seconds; 0 = never. */
    bool is_expired;
    ml_addr endpoints[8]; /**< As published. */
    uint8_t endpoint_count;
} ml_self_info;

#define ML_PEER_ENDPOINTS 8
typedef struct ml_peer_info {
    uint64_t node_id;
    char name[ML_NAME_CAP]; /**< FQDN with trailing dot. */
    char hostname[64];      /**< First label of the name. */
    char os[16];
    uint64_t user_id;
    ml_ip ip4, ip6;
    ml_node_key node_key;
    ml_disco_key disco_key;
    ml_addr endpoints[ML_PEER_ENDPOINTS];
    uint8_t endpoint_count;
    uint16_t home_region;
    bool is_online_known, is_online; /**< As control says. */
    bool is_expired;
    bool has_session; /**< A WireGuard session can carry data now. */
    bool is_active;   /**< Traffic within the last two minutes. */
    ml_addr direct;   /**< Trusted direct address; unset while relayed. */
    ml_time latency;  /**< Of the last pong, microseconds; 0 = unknown. */
    uint64_t rx_bytes, tx_bytes;
    ml_time last_handshake_at; /**< 0 = none yet. */
    ml_time last_rx_at;        /**< 0 = none yet. */
} ml_peer_info;

typedef struct ml_region_info {
    uint16_t id;
    char code[16];
    char name[32];
    ml_time latency; /**< Best of the retained measurements, microseconds; 0 = none. */
    bool is_home, is_connected;
} ml_region_info;

typedef struct ml_netcheck_info {
    bool udp;                 /**< A STUN answer came. */
    ml_addr global4, global6; /**< As STUN sees us. */
    bool ip6;                 /**< An answer came over IPv6. */
    bool os_has_ip6;          /**< The underlay has IPv6 addresses. */
    bool mapping_varies_known, mapping_varies;
    uint16_t home_region;
} ml_netcheck_info;

ml_state ml_get_state(const ml_engine *ml);
void ml_get_self(const ml_engine *ml, ml_self_info *out);
/** @brief Whether some peer knows this node by @p ip instead of its own address (the server can order that). */
bool ml_is_masquerade(const ml_engine *ml, const ml_ip *ip);
size_t ml_get_peer_count(const ml_engine *ml);
ml_err ml_get_peer(const ml_engine *ml, ml_time now, size_t index, ml_peer_info *out); /**< 0..count-1, in table order. */
ml_err ml_get_peer_by_ip(const ml_engine *ml, ml_time now, const ml_ip *ip, ml_peer_info *out);
/** @brief By MagicDNS name: FQDN with or without dot, or the short name; case does not matter. */
ml_err ml_get_peer_by_name(const ml_engine *ml, ml_time now, const char *name, ml_peer_info *out);
size_t ml_get_region_count(const ml_engine *ml);
ml_err ml_get_region(const ml_engine *ml, size_t index, ml_region_info *out);
void ml_get_netcheck(const ml_engine *ml, ml_netcheck_info *out);
void ml_get_stats(const ml_engine *ml, ml_stats *out);
/**
 * @brief Seconds since 1970 as the engine knows them: the wall clock it was given, corrected by control's when they are over a
 * minute apart; 0 = not known, or before 2023 and so never set. For judging certificates on a device whose clock is not set or wrong.
 */
uint64_t ml_get_unix_time(const ml_engine *ml, ml_time now);
const char *ml_get_login_url(const ml_engine *ml);
/** @brief One sentence saying what is wrong and what to do, or "" when all is well. Lives until the next call. */
const char *ml_get_problem(const ml_engine *ml);

#ifdef __cplusplus
}
#endif

#endif
