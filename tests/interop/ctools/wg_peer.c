/*
 * One WireGuard device with one peer over a loopback UDP socket, driven by lines on stdin; for tests/interop/wg_test.go.
 *
 *   wg_peer PRIVATE-HEX PEER-PUBLIC-HEX PEER-PORT
 *
 *   send HEX   seal or stage an IP packet          again   send the last sealed packet once more
 *   connect    ask for a session                   echo    give the last received packet to the device once more
 *   skip MS    let virtual time pass at once       load N  handshake messages a second that count as load
 *   stranger   close the slot: no key is known     sync    answered with "synced"
 *
 * It prints "port N" first; then "tx TYPE LEN MAC2" and "rx TYPE LEN" for each datagram, "ip HEX" for each packet out of
 * the tunnel, "up", "gaveup", "dead", "cookie" and "drop TEXT".
 *
 * SPDX-License-Identifier: MIT
 */
#define _POSIX_C_SOURCE 200809L
#include "wg/wg.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOT 0

static struct ml_wg wg;
static struct ml_wg_peer peers[1];
static struct ml_wg_stage stage[4];
static struct ml_wg_flight flights[1];
static struct ml_wg_spare spares[1];
static ml_node_key peer_key;
static int fd;
static struct sockaddr_in peer_addr;
static ml_time skipped;
static uint8_t last_tx[2048], last_rx[2048];
static size_t last_tx_len, last_rx_len;

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    if (getrandom(buf, len, 0) != (ssize_t)len) {
        abort();
    }
}

static ml_time now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ML_SEC((ml_time)ts.tv_sec) + (ml_time)ts.tv_nsec / 1000 + skipped;
}

static void transmit(const uint8_t *buf, size_t len)
{
    int has_mac2 = 0;
    if (buf[0] == ML_WG_MSG_INITIATION || buf[0] == ML_WG_MSG_RESPONSE) {
        for (size_t i = len - 16; i < len; i++) {
            has_mac2 |= buf[i] != 0;
        }
    }
    printf("tx %d %zu %d\n", buf[0], len, has_mac2);
    if (sendto(fd, buf, len, 0, (struct sockaddr *)&peer_addr, sizeof peer_addr) < 0) {
        perror("sendto");
    }
}

static void print_hex(const char *word, const uint8_t *p, size_t len)
{
    printf("%s ", word);
    for (size_t i = 0; i < len; i++) {
        printf("%02x", p[i]);
    }
    putchar('\n');
}

static void pump(void)
{
    ml_time now = now_us();
    uint8_t buf[2048], mark[ML_WG_STAMP_LEN];
    size_t len;
    uint16_t slot;

    ml_wg_on_time(&wg, now);
    if (ml_wg_poll_clock(&wg, now, mark)) {
        ml_wg_clock_stored(&wg, true);
    }
    for (enum ml_wg_event e; (e = ml_wg_poll_event(&wg, &slot)) != ML_WG_EV_NONE;) {
        puts(e == ML_WG_EV_ESTABLISHED ? "up" : e == ML_WG_EV_GAVE_UP ? "gaveup" : "dead");
    }
    while (ml_wg_poll_send(&wg, now, buf, sizeof buf, &slot, &len)) {
        transmit(buf, len);
    }
    fflush(stdout);
}

static void receive(uint8_t *buf, size_t len, const struct sockaddr_in *from)
{
    struct ml_wg_source src = {.addr.port = ntohs(from->sin_port)};
    struct ml_wg_in in;

    src.addr.ip.b[10] = src.addr.ip.b[11] = 0xff;
    memcpy(src.addr.ip.b + 12, &from->sin_addr, 4);
    ml_wg_on_packet(&wg, now_us(), &src, buf, len, &in);
    switch (in.type) {
    case ML_WG_IN_DATA:
        print_hex("ip", in.data, in.len);
        break;
    case ML_WG_IN_INITIATION: {
        const ml_node_key *known = ml_wg_peer_key(&wg, SLOT);
        if (known && memcmp(known, &in.key, sizeof in.key) == 0 && ml_wg_accept(&wg, now_us(), SLOT, &in) == ML_DROP_NONE) {
            transmit(in.data, in.len);
        } else {
            ml_wg_refuse(&wg);
            printf("drop %d\n", in.drop);
        }
        break;
    }
    case ML_WG_IN_REPLY:
        transmit(in.data, in.len);
        break;
    case ML_WG_IN_COOKIE:
        puts("cookie");
        break;
    case ML_WG_IN_DROP:
        printf("drop %s\n", in.drop == ML_DROP_WG_REPLAY ? "replay" : in.drop == ML_DROP_WG_UNKNOWN_INDEX ? "index" : "other");
        break;
    case ML_WG_IN_KEEPALIVE:
    case ML_WG_IN_HANDSHAKE:
    case ML_WG_IN_LATER: /* not without a budget */
        break;
    }
}

static void on_datagram(void)
{
    uint8_t buf[2048];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &from_len);

    if (n <= 0) {
        return;
    }
    memcpy(last_rx, buf, (size_t)n);
    last_rx_len = (size_t)n;
    printf("rx %d %zd\n", buf[0], n);
    receive(buf, (size_t)n, &from);
}

static void on_line(char *line)
{
    static uint8_t pkt[2048], out[2048];
    size_t len = strcspn(line, "\n");

    line[len] = 0;
    if (strncmp(line, "send ", 5) == 0 && (len - 5) / 2 <= sizeof pkt && ml_hex_parse(line + 5, len - 5, pkt, (len - 5) / 2)) {
        size_t out_len;
        if (ml_wg_seal(&wg, now_us(), SLOT, pkt, (len - 5) / 2, out, sizeof out, &out_len) == ML_WG_SEALED) {
            memcpy(last_tx, out, out_len);
            last_tx_len = out_len;
            transmit(out, out_len);
        }
    } else if (strcmp(line, "connect") == 0) {
        ml_wg_peer_connect(&wg, now_us(), SLOT);
    } else if (strcmp(line, "again") == 0) {
        transmit(last_tx, last_tx_len);
    } else if (strcmp(line, "echo") == 0) {
        uint8_t copy[2048];
        memcpy(copy, last_rx, last_rx_len);
        receive(copy, last_rx_len, &peer_addr);
    } else if (strncmp(line, "skip ", 5) == 0) {
        skipped += ML_MSEC(strtoull(line + 5, NULL, 10));
    } else if (strncmp(line, "load ", 5) == 0) {
        wg.checker.load_per_sec = (uint32_t)strtoul(line + 5, NULL, 10);
    } else if (strcmp(line, "stranger") == 0) {
        ml_wg_peer_close(&wg, SLOT);
    } else if (strcmp(line, "sync") == 0) {
        puts("synced");
    } else {
        printf("what? %s\n", line);
    }
}

int main(int argc, char **argv)
{
    static ml_random rng = {.fill = fill};
    static char line[8192];
    struct ml_wg_cfg cfg = {.random = &rng,
                            .peers = peers,
                            .peer_count = 1,
                            .stage = stage,
                            .stage_count = 4,
                            .flights = flights,
                            .flight_count = 1,
                            .spares = spares,
                            .spare_count = 1};
    ml_private_key priv;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t local_len = sizeof local;
    size_t line_len = 0;

    if (argc != 4 || !ml_hex_parse(argv[1], strlen(argv[1]), priv.b, 32) ||
        !ml_hex_parse(argv[2], strlen(argv[2]), peer_key.b, 32)) {
        fprintf(stderr, "usage: wg_peer PRIVATE-HEX PEER-PUBLIC-HEX PEER-PORT\n");
        return 2;
    }
    peer_addr = local;
    peer_addr.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (!ml_crypto_init() || fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local) != 0 ||
        getsockname(fd, (struct sockaddr *)&local, &local_len) != 0) {
        perror("wg_peer");
        return 1;
    }
    cfg.unix_sec = (uint64_t)time(NULL);
    (void)ml_wg_init(&wg, now_us(), &cfg);
    ml_wg_set_key(&wg, &priv);
    (void)ml_wg_peer_open(&wg, SLOT, &peer_key);
    printf("port %d\n", ntohs(local.sin_port));
    pump();
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        ml_time at = ml_wg_deadline(&wg), now = now_us();
        int wait = at == ML_NEVER ? -1 : at <= now ? 0 : (int)((at - now) / 1000 + 1);
        if (poll(fds, 2, wait) < 0) {
            return 1;
        }
        if (fds[0].revents) {
            on_datagram();
        }
        if (fds[1].revents) {
            ssize_t n = read(0, line + line_len, sizeof line - 1 - line_len);
            if (n <= 0) {
                return 0;
            }
            line_len += (size_t)n;
            for (char *end; (end = memchr(line, '\n', line_len)) != NULL;) {
                size_t used = (size_t)(end - line) + 1;
                static char one[8192];
                memcpy(one, line, used);
                one[used] = 0;
                on_line(one);
                pump();
                memmove(line, line + used, line_len - used);
                line_len -= used;
            }
        }
        pump();
    }
}
