/*
 * Command line (see options.h). Flags before the word apply to all words (--socket), those behind it to that word; unknown
 * words and flags are usage errors (2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_PEERS_LIMIT 32000 /* of the engine */

static const char usage[] = "usage: microlink run [--login-server URL] [--auth-key KEY|file:PATH] [--hostname NAME]\n"
                            "                     [--state FILE|mem:] [--socket PATH] [--tun NAME|userspace-networking]\n"
                            "                     [--port N] [--ca-file PEM] [--max-peers N] [--no-derp] [--no-disco]\n"
                            "                     [--no-stun] [--ephemeral] [--shields-up] [--verbose N]\n"
                            "       microlink [--socket PATH] WORD ...\n"
                            "  status [--json]           this node and its peers\n"
                            "  ip [-1] [-4] [-6] [PEER]  tailnet addresses of this node or a peer\n"
                            "  ping [-c N] [--timeout D] [--until-direct=false] [--tsmp|--icmp] PEER\n"
                            "  netcheck                  what the network lets through, and the relays\n"
                            "  peers                     one line per peer: address, name, path, latency\n"
                            "  whois IP                  machine and user behind a tailnet address\n"
                            "  nc HOST PORT              standard input and output over TCP\n"
                            "  send PEER TEXT            one datagram to the peer's data port\n"
                            "  recv [--timeout D]        wait for one datagram and print it\n"
                            "  down | up                 leave the tailnet, come back\n"
                            "  logout                    forget this node's login\n"
                            "  version\n";

void ml_options_usage(bool to_stderr)
{
    fputs(usage, to_stderr ? stderr : stdout);
}

enum {
    OPT_LOGIN_SERVER = 256,
    OPT_AUTH_KEY,
    OPT_HOSTNAME,
    OPT_STATE,
    OPT_SOCKET,
    OPT_TUN,
    OPT_PORT,
    OPT_CA_FILE,
    OPT_MAX_PEERS,
    OPT_NO_DERP,
    OPT_NO_DISCO,
    OPT_NO_STUN,
    OPT_EPHEMERAL,
    OPT_SHIELDS_UP,
    OPT_VERBOSE,
    OPT_JSON,
    OPT_TIMEOUT,
    OPT_UNTIL_DIRECT,
    OPT_TSMP,
    OPT_ICMP,
    OPT_HELP
};

static const struct option flags_common[] = {{"socket", required_argument, NULL, OPT_SOCKET},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {"version", no_argument, NULL, 'V'},
                                             {NULL, 0, NULL, 0}};
static const struct option flags_run[] = {{"socket", required_argument, NULL, OPT_SOCKET},
                                          {"login-server", required_argument, NULL, OPT_LOGIN_SERVER},
                                          {"auth-key", required_argument, NULL, OPT_AUTH_KEY},
                                          {"authkey", required_argument, NULL, OPT_AUTH_KEY},
                                          {"hostname", required_argument, NULL, OPT_HOSTNAME},
                                          {"state", required_argument, NULL, OPT_STATE},
                                          {"tun", required_argument, NULL, OPT_TUN},
                                          {"port", required_argument, NULL, OPT_PORT},
                                          {"ca-file", required_argument, NULL, OPT_CA_FILE},
                                          {"max-peers", required_argument, NULL, OPT_MAX_PEERS},
                                          {"no-derp", no_argument, NULL, OPT_NO_DERP},
                                          {"no-disco", no_argument, NULL, OPT_NO_DISCO},
                                          {"no-stun", no_argument, NULL, OPT_NO_STUN},
                                          {"ephemeral", no_argument, NULL, OPT_EPHEMERAL},
                                          {"shields-up", no_argument, NULL, OPT_SHIELDS_UP},
                                          {"verbose", required_argument, NULL, OPT_VERBOSE},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {NULL, 0, NULL, 0}};
static const struct option flags_status[] = {{"socket", required_argument, NULL, OPT_SOCKET},
                                             {"json", no_argument, NULL, OPT_JSON},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {NULL, 0, NULL, 0}};
static const struct option flags_ping[] = {{"socket", required_argument, NULL, OPT_SOCKET},
                                           {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                           {"until-direct", optional_argument, NULL, OPT_UNTIL_DIRECT},
                                           {"tsmp", no_argument, NULL, OPT_TSMP},
                                           {"icmp", no_argument, NULL, OPT_ICMP},
                                           {"c", required_argument, NULL, 'c'},
                                           {"help", no_argument, NULL, OPT_HELP},
                                           {NULL, 0, NULL, 0}};
static const struct option flags_recv[] = {{"socket", required_argument, NULL, OPT_SOCKET},
                                           {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                           {"help", no_argument, NULL, OPT_HELP},
                                           {NULL, 0, NULL, 0}};

static const struct {
    const char *name;
    enum ml_word word;
    const char *shorts;
    const struct option *longs;
    int min_args, max_args;
} words[] = {
    {"run", ML_WORD_RUN, "+", flags_run, 0, 0},
    {"status", ML_WORD_STATUS, "+", flags_status, 0, 0},
    {"ip", ML_WORD_IP, "+146", flags_common, 0, 1},
    {"ping", ML_WORD_PING, "+c:", flags_ping, 1, 1},
    {"netcheck", ML_WORD_NETCHECK, "+", flags_common, 0, 0},
    {"peers", ML_WORD_PEERS, "+", flags_common, 0, 0},
    {"whois", ML_WORD_WHOIS, "+", flags_status, 1, 1},
    {"nc", ML_WORD_NC, "+", flags_common, 2, 2},
    {"send", ML_WORD_SEND, "+", flags_common, 2, 2},
    {"recv", ML_WORD_RECV, "+", flags_recv, 0, 0},
    {"down", ML_WORD_DOWN, "+", flags_common, 0, 0},
    {"up", ML_WORD_UP, "+", flags_common, 0, 0},
    {"logout", ML_WORD_LOGOUT, "+", flags_common, 0, 0},
    {"version", ML_WORD_VERSION, "+", flags_common, 0, 0},
    {"help", ML_WORD_HELP, "+", flags_common, 0, 0},
};

static int usage_error(const char *what, const char *detail)
{
    fprintf(stderr, "microlink: %s%s%s (try: microlink help)\n", what, detail ? " " : "", detail ? detail : "");
    return 2;
}

static bool number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && text[0] != '-' && *out <= max;
}

bool ml_duration_parse(const char *text, uint64_t *usec)
{
    static const struct {
        const char *unit;
        uint64_t usec;
    } units[] = {{"ms", 1000}, {"us", 1}, {"h", UINT64_C(3600000000)}, {"m", 60000000}, {"s", 1000000}};
    uint64_t total = 0;
    if (*text == 0) {
        return false;
    }
    while (*text) {
        uint64_t whole = 0, part = 0, scale = 1;
        size_t digits = 0;
        for (; *text >= '0' && *text <= '9'; text++, digits++) {
            whole = whole * 10 + (uint64_t)(*text - '0');
        }
        if (*text == '.') {
            for (text++; *text >= '0' && *text <= '9'; text++, digits++) {
                if (scale < 1000000) {
                    part = part * 10 + (uint64_t)(*text - '0');
                    scale *= 10;
                }
            }
        }
        if (digits == 0 || digits > 12) {
            return false;
        }
        uint64_t unit = 0;
        if (*text == 0 && total == 0) {
            unit = 1000000; /* A bare number means seconds. */
        }
        for (size_t i = 0; i < sizeof units / sizeof *units && unit == 0; i++) {
            size_t n = strlen(units[i].unit);
            if (strncmp(text, units[i].unit, n) == 0) {
                unit = units[i].usec;
                text += n;
            }
        }
        if (unit == 0 || whole > UINT64_C(1000000000)) {
            return false;
        }
        total += whole * unit + part * unit / scale;
    }
    *usec = total;
    return true;
}

/** "file:PATH" stands for the first line of that file. */
static int take_auth_key(struct ml_options *o, const char *text)
{
    if (strncmp(text, "file:", 5) != 0) {
        if (strlen(text) >= sizeof o->auth_key) {
            return usage_error("the auth key is too long", NULL);
        }
        memcpy(o->auth_key, text, strlen(text) + 1);
        return -1;
    }
    FILE *f = fopen(text + 5, "re");
    if (f == NULL || fgets(o->auth_key, sizeof o->auth_key, f) == NULL) {
        fprintf(stderr, "microlink: auth key file %s: %s\n", text + 5, f ? "empty" : strerror(errno));
        if (f != NULL) {
            fclose(f);
        }
        return 1;
    }
    fclose(f);
    o->auth_key[strcspn(o->auth_key, " \t\r\n")] = 0;
    return -1;
}

static int take_socket(struct ml_options *o, const char *path)
{
    if (strlen(path) >= sizeof o->socket) {
        return usage_error("the socket path is too long:", path);
    }
    memcpy(o->socket, path, strlen(path) + 1);
    return -1;
}

static int take_flag(struct ml_options *o, int flag, const char *arg)
{
    unsigned long n;
    switch (flag) {
    case OPT_SOCKET:
        return take_socket(o, arg);
    case OPT_LOGIN_SERVER:
        o->login_server = arg;
        return -1;
    case OPT_AUTH_KEY:
        return take_auth_key(o, arg);
    case OPT_HOSTNAME:
        o->hostname = arg;
        return strlen(arg) <= 63 ? -1 : usage_error("--hostname is longer than 63 characters:", arg);
    case OPT_STATE:
        if (strlen(arg) >= sizeof o->state) {
            return usage_error("--state is too long", NULL);
        }
        memcpy(o->state, arg, strlen(arg) + 1);
        return -1;
    case OPT_TUN:
        o->tun = arg;
        return -1;
    case OPT_CA_FILE:
        o->ca_file = arg;
        return -1;
    case OPT_PORT:
        if (!number(arg, 65535, &n)) {
            return usage_error("--port is no port number:", arg);
        }
        o->port = (uint16_t)n;
        return -1;
    case OPT_MAX_PEERS:
        if (!number(arg, MAX_PEERS_LIMIT, &n) || n == 0) {
            return usage_error("--max-peers is not within 1..32000:", arg);
        }
        o->max_peers = (uint16_t)n;
        return -1;
    case OPT_VERBOSE:
        if (!number(arg, 3, &n)) {
            return usage_error("--verbose is not within 0..3:", arg);
        }
        o->verbose = (int)n;
        return -1;
    case OPT_NO_DERP:
        o->no_derp = true;
        return -1;
    case OPT_NO_DISCO:
        o->no_disco = true;
        return -1;
    case OPT_NO_STUN:
        o->no_stun = true;
        return -1;
    case OPT_EPHEMERAL:
        o->ephemeral = true;
        return -1;
    case OPT_SHIELDS_UP:
        o->shields_up = true;
        return -1;
    case OPT_JSON:
        o->json = true;
        return -1;
    case OPT_TIMEOUT:
        return ml_duration_parse(arg, &o->timeout_us) ? -1 : usage_error("--timeout is no duration like 5s:", arg);
    case OPT_UNTIL_DIRECT:
        o->until_direct = arg == NULL || strcmp(arg, "true") == 0;
        return arg == NULL || o->until_direct || strcmp(arg, "false") == 0
                   ? -1
                   : usage_error("--until-direct is true or false:", arg);
    case OPT_TSMP:
        o->tsmp = true;
        return -1;
    case OPT_ICMP:
        o->icmp = true;
        return -1;
    case 'c':
        if (!number(arg, 1000000000, &n)) {
            return usage_error("-c is no count:", arg);
        }
        o->count = (unsigned)n;
        return -1;
    case '1':
        o->want1 = true;
        return -1;
    case '4':
        o->want4 = true;
        return -1;
    case '6':
        o->want6 = true;
        return -1;
    case 'V':
        o->word = ML_WORD_VERSION;
        return -1;
    case OPT_HELP:
        ml_options_usage(false);
        return 0;
    default: /* '?': getopt has said what. */
        return 2;
    }
}

static void join(char *out, size_t cap, const char *dir, const char *rest)
{
    if ((size_t)snprintf(out, cap, "%s%s", dir, rest) >= cap) {
        out[0] = 0;
    }
}

static void set_defaults(struct ml_options *o)
{
    const char *run = getenv("XDG_RUNTIME_DIR"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool root = geteuid() == 0;
    *o = (struct ml_options){.tun = "microlink0", .until_direct = true, .count = 10, .timeout_us = 0};
    if (root || run == NULL) {
        join(o->socket, sizeof o->socket, "/var/run/microlink", "/microlink.sock");
    } else {
        join(o->socket, sizeof o->socket, run, "/microlink/microlink.sock");
    }
    if (root || (state == NULL && home == NULL)) {
        join(o->state, sizeof o->state, "/var/lib/microlink", "/state");
    } else if (state != NULL) {
        join(o->state, sizeof o->state, state, "/microlink/state");
    } else {
        join(o->state, sizeof o->state, home, "/.local/state/microlink/state");
    }
    if (!root) {
        o->tun = ML_TUN_USERSPACE; /* Without CAP_NET_ADMIN there is no TUN device to be had. */
    }
}

static int parse_flags(struct ml_options *o, int argc, char **argv, const char *shorts, const struct option *longs)
{
    optind = 0; /* Start anew, GNU and BSD alike. */
    int flag;
    while ((flag = getopt_long_only(argc, argv, shorts, longs, NULL)) != -1) {
        int status = take_flag(o, flag, optarg);
        if (status >= 0) {
            return status;
        }
    }
    return -1;
}

static int check(struct ml_options *o)
{
    if (o->word == ML_WORD_IP && o->want1 + o->want4 + o->want6 > 1) {
        return usage_error("ip: -1, -4 and -6 exclude each other", NULL);
    }
    if (o->word == ML_WORD_PING && o->tsmp && o->icmp) {
        return usage_error("ping: --tsmp and --icmp exclude each other", NULL);
    }
    if (o->word == ML_WORD_PING && o->timeout_us == 0) {
        o->timeout_us = 5000000;
    }
    if (o->word == ML_WORD_NC) {
        unsigned long n;
        if (!number(o->arg[1], 65535, &n) || n == 0) {
            return usage_error("nc: no port number:", o->arg[1]);
        }
    }
    const char *key = getenv("TS_AUTHKEY");
    if (o->word == ML_WORD_RUN && o->auth_key[0] == 0 && key != NULL) {
        return take_auth_key(o, key);
    }
    return -1;
}

int ml_options_parse(struct ml_options *o, int argc, char **argv)
{
    set_defaults(o);
    int status = parse_flags(o, argc, argv, "+", flags_common);
    if (status >= 0) {
        return status;
    }
    if (o->word == ML_WORD_VERSION) {
        return -1;
    }
    if (optind >= argc) {
        ml_options_usage(true);
        return 2;
    }
    int at = optind;
    size_t w = 0;
    while (w < sizeof words / sizeof *words && strcmp(argv[at], words[w].name) != 0) {
        w++;
    }
    if (w == sizeof words / sizeof *words) {
        return usage_error("unknown word:", argv[at]);
    }
    o->word = words[w].word;
    status = parse_flags(o, argc - at, argv + at, words[w].shorts, words[w].longs);
    if (status >= 0) {
        return status;
    }
    int args = argc - at - optind;
    if (args < words[w].min_args || args > words[w].max_args) {
        return usage_error(args < words[w].min_args ? "missing argument of" : "too many arguments of", words[w].name);
    }
    for (int i = 0; i < args && i < ML_OPTION_ARGS; i++) {
        o->arg[i] = argv[at + optind + i];
    }
    return check(o);
}
