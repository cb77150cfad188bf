/*
 * What a port owes the engine, and the small interface by which the application layer drives a port.
 *
 * A port owns sockets, clocks, storage and entropy; it runs one engine. The application API (microlink.h) and the daemon
 * are written against this header, so a new platform implements these functions and gets both. ports/template has every
 * function as a documented stub to start from; ports/posix is the reference.
 *
 * What is owed, output by output (ml_output_type in engine.h):
 *
 * DATAGRAM      One UDP socket per address family, the same for everything (STUN, DISCO and WireGuard share their NAT
 *               mapping), bound to one port that survives rebinds. Send without blocking; a full socket buffer or an
 *               unreachable destination is loss, never an error; what the system calls unreachable may be told by
 *               ml_handle_send_failed(). Don't-fragment is not set.
 * OVERLAY       Hand the packet to ml_port_sink.overlay at once; the pointer dies with the next call on the engine.
 * STREAM_OPEN   Resolve, connect and, if asked, do TLS, all within `timeout_ms`; then ml_handle_stream_opened() or
 *               ml_handle_stream_closed() with the closest reason. Both address families are tried, the second within
 *               250 ms of the first. `ip4`/`ip6`, when set, replace the resolver. TLS: verify the chain and `verify_name`
 *               against the platform's roots; `pin_sha256` instead of the chain; `verify_advisory` reports but goes on.
 *               A certificate that is not part of the chain (CN "derpkey...") must not matter.
 * stream data   Offer what arrived with ml_handle_stream_data() and stop reading the socket until all of it was taken:
 *               that is the back-pressure. Write ml_stream_tx_peek() as far as the socket takes it, ml_stream_tx_done().
 * STREAM_CLOSE  Close without a further event for that id. Bytes peeked but unwritten may be lost.
 * RESOLVE       Answer within 10 s, also when the name does not resolve (count 0).
 * STORE         Replace the record atomically, then ml_handle_stored(). Never answer true before it is durable: rotation
 *               of keys waits for it. The three records may live in one file.
 * EVENT         Hand to ml_port_sink.event.
 *
 * Unasked: ml_set_local_addrs() at start and on every change of an interface, without the overlay's own address,
 * loopback or link-local ones; ml_rebind() when the default route or an address changed, or after sleep;
 * ml_set_wall_clock() once the clock is plausible (2025 or later) and again when it is set.
 *
 * Timing: between ml_handle_*() and the draining of outputs nothing may block. ml_poll_deadline() is asked after every
 * drain; being late is harmless, being early is too. Time is monotonic microseconds and does not stop in sleep if the
 * platform can help it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_PORT_H
#define MICROLINK_PORT_H

#include "microlink/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One engine and the world around it. Opaque; allocated by ml_port_open(). */
typedef struct ml_port ml_port;

/** Where a node's output for the host goes. Called from ml_port_step() and ml_port_flush(). */
typedef struct ml_port_sink {
    void *ctx;
    /** An IP packet for the host. May call ml_handle_overlay() (an echo reply, say), but then @p packet is gone. */
    void (*overlay)(void *ctx, const uint8_t *packet, size_t len);
    /** May ask the engine (ml_get_*) and command it; must not call ml_port_step(). */
    void (*event)(void *ctx, const ml_event *event);
    /** A record could not be saved; @p why is the platform's sentence. May be NULL. */
    void (*store_failed)(void *ctx, ml_store_kind kind, const char *why);
} ml_port_sink;

/** Storage in place of the port's own. Both functions or none. */
typedef struct ml_port_storage {
    void *ctx;
    /** @retval ML_ERR_NOT_FOUND  never saved. @retval ML_ERR_CORRUPT  there, but unusable; set aside by the callee. */
    ml_err (*load)(void *ctx, ml_store_kind kind, uint8_t *buf, size_t cap, size_t *len);
    /** Returns when the record is durable. @p why (of @p why_cap bytes) receives a sentence on failure. */
    ml_err (*save)(void *ctx, ml_store_kind kind, const uint8_t *buf, size_t len, char *why, size_t why_cap);
} ml_port_storage;

/** Copied by ml_port_open(), except what the pointers of `sink` and `storage` lead to, and `ca_pem`. */
typedef struct ml_port_config {
    ml_config engine;        /**< `random` and `log` may be left zero: the port puts in its own. */
    uint16_t udp_port;       /**< 0 = any, kept across rebinds. */
    const char *ca_file;     /**< PEM roots; NULL: the platform's. */
    const char *ca_pem;      /**< The same as text, wins over ca_file; must outlive the port. */
    const char *state_path;  /**< The port's own storage (a path, an NVS namespace); NULL or "mem:": none. */
    ml_port_storage storage; /**< Wins over state_path. */
    ml_port_sink sink;
} ml_port_config;

/**
 * @brief Take memory and sockets, load the stored records, ml_init(). The engine idles until ml_start().
 * @param why  Receives one sentence on failure (may be NULL with @p why_cap 0).
 */
ml_err ml_port_open(ml_port **out, const ml_port_config *cfg, char *why, size_t why_cap);
/** @brief Close all sockets, ml_clear() the engine, free. Stop the engine and ml_port_flush() first to leave in order. */
void ml_port_close(ml_port *port);

ml_engine *ml_port_engine(ml_port *port);
/** @brief The monotonic clock of this port. */
ml_time ml_port_now(const ml_port *port);

/**
 * @brief One round: wait until something happened, but not past @p until nor the engine's deadline; then hand everything in
 * and carry everything out.
 * @param until  Absolute; 0 does not wait at all.
 * @retval ML_ERR_STATE  the port cannot go on (a socket was lost and could not be made anew)
 */
ml_err ml_port_step(ml_port *port, ml_time until);
/** @brief Carry out what the engine has for the world now, e.g. after a command; reads nothing. */
void ml_port_flush(ml_port *port);
/** @brief When ml_port_step() is due at the latest; ML_NEVER if nothing waits. */
ml_time ml_port_deadline(const ml_port *port);
/** @brief Forget all three stored records (factory reset), after ml_logout(). */
ml_err ml_port_erase(ml_port *port);
/** @brief Bind anew, read interface addresses anew, ml_rebind(). */
void ml_port_rebind(ml_port *port);

/** Descriptor to wait on; `events` as in poll(): 1 = readable, 4 = writable. */
typedef struct ml_port_fd {
    int fd;
    short events;
} ml_port_fd;
/** @brief Descriptors for an outer event loop; returns the number, writes at most @p cap. 0 where there are none. */
size_t ml_port_get_fds(const ml_port *port, ml_port_fd *fds, size_t cap);

#ifdef __cplusplus
}
#endif

#endif
