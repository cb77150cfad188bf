/*
 * The command line of `microlink`: words, flags, defaults, environment.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_OPTIONS_H
#define ML_POSIX_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum ml_word {
    ML_WORD_NONE,
    ML_WORD_RUN,
    ML_WORD_STATUS,
    ML_WORD_IP,
    ML_WORD_PING,
    ML_WORD_NETCHECK,
    ML_WORD_PEERS,
    ML_WORD_WHOIS,
    ML_WORD_NC,
    ML_WORD_SEND,
    ML_WORD_RECV,
    ML_WORD_DOWN,
    ML_WORD_UP,
    ML_WORD_LOGOUT,
    ML_WORD_VERSION,
    ML_WORD_HELP
};

#define ML_OPTION_ARGS 2

struct ml_options {
    enum ml_word word;
    /* everywhere */
    char socket[108];
    bool json;
    const char *arg[ML_OPTION_ARGS]; /**< PEER, HOST PORT, PEER TEXT, IP; NULL when absent. */
    /* run */
    const char *login_server;
    char auth_key[256]; /**< Wiped by the daemon once handed over. */
    const char *hostname;
    char state[1024];
    const char *tun; /**< Interface name or ML_TUN_USERSPACE. */
    const char *ca_file;
    uint16_t port;
    uint16_t max_peers;
    bool no_derp, no_disco, no_stun, ephemeral, shields_up;
    int verbose; /**< 0 quiet: warnings and errors; 1 info, 2 debug, 3 trace. */
    /* ip */
    bool want4, want6, want1;
    /* ping */
    unsigned count;      /**< 0 = for ever. */
    uint64_t timeout_us; /**< Per ping (ping), in all (recv; 0 = for ever). */
    bool until_direct, tsmp, icmp;
};

#define ML_TUN_USERSPACE "userspace-networking"

/**
 * @brief Read the command line and the environment (TS_AUTHKEY, XDG_*).
 * @return -1 to go on; else the exit status (0 after --help, 1 when a file given cannot be read, 2 for usage). What there is
 * to say was printed.
 */
int ml_options_parse(struct ml_options *o, int argc, char **argv);
/** @brief "5s", "300ms", "1m30s" as Go's time.ParseDuration takes them; also a bare number of seconds. */
bool ml_duration_parse(const char *text, uint64_t *usec);
void ml_options_usage(bool to_stderr);

#endif
