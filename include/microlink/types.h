/*
 * Plain values that cross the engine's boundary: time, addresses, keys.
 *
 * Nothing here has behaviour beyond construction; the helpers that compare, parse and print live in src/base. No operating
 * system or IP stack type appears in this file: ports translate at their edge.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MICROLINK_TYPES_H
#define MICROLINK_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @brief A monotonic instant in microseconds since an origin the port chooses (boot, usually).
 *
 * Microseconds, because path selection compares latencies well below a millisecond; 64 bits, because it must not wrap.
 * An instant is called `..._at`, a length of time carries its unit in its name or is built with ML_MSEC()/ML_SEC().
 */
typedef uint64_t ml_time;

/** The deadline of something that is not waiting for time to pass. */
#define ML_NEVER        UINT64_MAX
#define ML_USEC_PER_SEC UINT64_C(1000000)
#define ML_MSEC(n)      ((ml_time)(n)*UINT64_C(1000))
#define ML_SEC(n)       ((ml_time)(n)*ML_USEC_PER_SEC)

/**
 * @brief An IP address of either family: 16 bytes in network order, IPv4 in its mapped form (::ffff:a.b.c.d).
 *
 * All zero means "no address". Every address the engine hands out or stores is in this form, so two addresses are equal
 * exactly when their bytes are.
 */
typedef struct ml_ip {
    uint8_t b[16];
} ml_ip;

/** @brief An address and a port (host order). An all-zero `ip` means "no address". */
typedef struct ml_addr {
    ml_ip ip;
    uint16_t port;
} ml_addr;

/** @brief A prefix. `bits` counts within the family: 0..32 for IPv4, 0..128 for IPv6; the family is that of `ip`. */
typedef struct ml_prefix {
    ml_ip ip;
    uint8_t bits;
} ml_prefix;

/*
 * Keys have distinct types so that a node key cannot be passed where a disco key belongs. An all-zero public key means
 * "unset" everywhere in the protocol. Private keys are X25519 scalars, clamped when they are made.
 */
typedef struct ml_node_key {
    uint8_t b[32];
} ml_node_key; /**< WireGuard static public key; also the address of a node on a DERP relay. */
typedef struct ml_disco_key {
    uint8_t b[32];
} ml_disco_key; /**< Public key of the NaCl boxes that DISCO messages travel in. */
typedef struct ml_machine_key {
    uint8_t b[32];
} ml_machine_key; /**< Public key of a machine or of a control server in the ts2021 Noise handshake. */
typedef struct ml_derp_key {
    uint8_t b[32];
} ml_derp_key; /**< Public key of a DERP server. */
typedef struct ml_private_key {
    uint8_t b[32];
} ml_private_key; /**< An X25519 private key of any of the above. Wiped after use, never logged. */

/** @brief Fills @p len bytes with cryptographically strong randomness. Must not fail; a port without entropy waits first. */
typedef void (*ml_random_fn)(void *ctx, uint8_t *buf, size_t len);

/** @brief The one source of randomness of an engine. Tests give a deterministic one and get the same packets every run. */
typedef struct ml_random {
    ml_random_fn fill;
    void *ctx;
} ml_random;

#ifdef __cplusplus
}
#endif

#endif
