/*
 * What can go wrong between this node and its control server, and the one sentence a person gets for it.
 *
 * Every sentence says what happened and what to do. The texts of the server are quoted word for word, bounded, with
 * everything unprintable replaced.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_PROBLEM_H
#define ML_CONTROL_PROBLEM_H

#include "base/bytes.h"

enum ml_control_problem {
    ML_CONTROL_PROBLEM_NONE,
    ML_CONTROL_PROBLEM_DNS,
    ML_CONTROL_PROBLEM_REFUSED,
    ML_CONTROL_PROBLEM_TIMEOUT,
    ML_CONTROL_PROBLEM_LOST,
    ML_CONTROL_PROBLEM_NO_MEMORY,
    ML_CONTROL_PROBLEM_TLS_UNTRUSTED,
    ML_CONTROL_PROBLEM_TLS_NAME,
    ML_CONTROL_PROBLEM_TLS_TIME,
    ML_CONTROL_PROBLEM_TLS_OTHER,
    ML_CONTROL_PROBLEM_NOT_CONTROL, /* /key or the upgrade was answered by something else */
    ML_CONTROL_PROBLEM_UPGRADE,     /* the upgrade was refused: quoted; a proxy that strips the header, usually */
    ML_CONTROL_PROBLEM_SERVER_KEY,  /* handshake tag failed, or EOF right after 101, with a key just fetched or pinned */
    ML_CONTROL_PROBLEM_GARBAGE,     /* bytes that are not Noise or HTTP/2 after the upgrade */
    ML_CONTROL_PROBLEM_TOO_OLD,     /* the server refuses our capability version */
    ML_CONTROL_PROBLEM_KEY_INVALID, /* auth key unknown */
    ML_CONTROL_PROBLEM_KEY_USED,
    ML_CONTROL_PROBLEM_KEY_EXPIRED,
    ML_CONTROL_PROBLEM_KEY_REVOKED,
    ML_CONTROL_PROBLEM_NODE_EXPIRED, /* the node key expired and a person must log in */
    ML_CONTROL_PROBLEM_NODE_UNKNOWN, /* the server forgot this node */
    ML_CONTROL_PROBLEM_RATE_LIMITED,
    ML_CONTROL_PROBLEM_SERVER_SAYS, /* any other refusal: quoted */
    ML_CONTROL_PROBLEM_MAP,         /* a netmap message that cannot be read */
    ML_CONTROL_PROBLEM_SILENT,      /* the watchdog: nothing for two minutes */
    ML_CONTROL_PROBLEM_STOPPED,     /* Debug.Exit */
    ML_CONTROL_PROBLEM_COUNT
};

/**
 * @brief Write the sentence for @p what.
 * @param host    Of the control server.
 * @param port    Of the connection concerned; 0 leaves it out.
 * @param quote   Words of the server or of a library, any bytes; NULL or "" if none.
 */
void ml_control_problem_write(struct ml_writer *w, enum ml_control_problem what, const char *host, uint16_t port,
                              const char *quote, size_t quote_len);

/** @brief Tell a refused auth key from other refusals by the words the known servers use (control.md 5.5). */
enum ml_control_problem ml_control_problem_of_error(const char *text, size_t len);

#endif
