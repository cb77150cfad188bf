/*
 * A DERP client: the stream to the relay on stdin and stdout, commands on descriptor 3, events as lines on stderr.
 *
 * Usage: derp_client NODE_PRIVATE_HEX HOST SERVER_KEY_HEX|- READ_SIZE
 * A server key makes it a fast start. Commands, one a line: "send KEYHEX LENGTH" (that many bytes 0x5a), "home 0|1", "check".
 * Every received packet is told and sent back. Runs the real code of src/derp; the I/O and the clock are here.
 *
 * SPDX-License-Identifier: MIT
 */
#define _DEFAULT_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/key.h"
#include "derp/derp_client.h"

static struct ml_derp_client client;
static uint8_t tx[16384];

static void fill_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    if (getrandom(buf, len, 0) != (ssize_t)len) {
        abort();
    }
}

static ml_time now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return ML_SEC(t.tv_sec) + (ml_time)t.tv_nsec / 1000;
}

static void flush_tx(void)
{
    const uint8_t *p;
    size_t n;
    while ((n = ml_derp_client_tx_peek(&client, &p)) > 0) {
        ssize_t done = write(1, p, n);
        if (done <= 0) {
            exit(3);
        }
        ml_derp_client_tx_done(&client, (size_t)done);
    }
}

static const char *hex_of(const ml_node_key *k)
{
    static uint8_t text[65];
    struct ml_writer w = ml_writer_of(text, sizeof text);
    ml_write_hex(&w, k->b, 32);
    return ml_write_end_str(&w);
}

static void send_packet(const ml_node_key *dst, const uint8_t *p, size_t n)
{
    ml_drop drop = ml_derp_client_send(&client, now_us(), dst, p, n);
    if (drop != ML_DROP_NONE) {
        fprintf(stderr, "not sent %d\n", (int)drop);
    }
}

static void tell_events(void)
{
    struct ml_derp_event ev;
    while (ml_derp_client_poll_event(&client, &ev)) {
        switch (ev.type) {
        case ML_DERP_EV_LOGIN:
            fprintf(stderr, "login rate %u burst %u\n", client.rate, client.burst);
            break;
        case ML_DERP_EV_PACKET:
            fprintf(stderr, "packet %s %zu\n", hex_of(&ev.key), ev.len);
            send_packet(&ev.key, ev.data, ev.len);
            break;
        case ML_DERP_EV_PEER_GONE:
            fprintf(stderr, "gone %s %u\n", hex_of(&ev.key), ev.reason);
            break;
        case ML_DERP_EV_DROP:
            fprintf(stderr, "drop %s\n", ml_drop_text(ev.drop));
            break;
        case ML_DERP_EV_FAILED:
            fprintf(stderr, "failed: %s %u\n", ml_derp_fail_text(ev.fail), ev.http_status);
            exit(1);
        default:
            fprintf(stderr, "event %d\n", (int)ev.type);
            break;
        }
        flush_tx();
    }
}

static void command(const char *line)
{
    static uint8_t payload[ML_DERP_PACKET_MAX + 1];
    char hex[80];
    unsigned n;
    ml_node_key dst;
    memset(payload, 0x5a, sizeof payload);
    if (sscanf(line, "send %79s %u", hex, &n) == 2 && n <= sizeof payload && ml_hex_parse(hex, strlen(hex), dst.b, 32)) {
        send_packet(&dst, payload, n);
    } else if (sscanf(line, "home %u", &n) == 1) {
        ml_derp_client_note_preferred(&client, n != 0);
    } else if (strncmp(line, "check", 5) == 0) {
        ml_derp_client_check(&client, now_us());
    }
    flush_tx();
}

int main(int argc, char **argv)
{
    static const ml_random rng = {fill_random, NULL};
    static ml_private_key priv;
    static ml_node_key pub;
    static const struct ml_derp_self self = {&priv, &pub, &rng, NULL};
    if (argc != 5 || !ml_crypto_init() || !ml_hex_parse(argv[1], strlen(argv[1]), priv.b, 32)) {
        return 2;
    }
    struct ml_derp_server server = {.host = argv[2], .is_home = true};
    if (argv[3][0] != '-' && !ml_hex_parse(argv[3], strlen(argv[3]), server.meta_key.b, 32)) {
        return 2;
    }
    size_t read_size = strtoul(argv[4], NULL, 10);
    ml_x25519_base(pub.b, &priv);
    ml_derp_client_init(&client, &self, tx, sizeof tx);
    ml_derp_client_open(&client, now_us(), &server);
    flush_tx();
    FILE *commands = fdopen(3, "r");
    if (!commands) {
        return 2;
    }
    setvbuf(commands, NULL, _IONBF, 0);
    for (;;) {
        struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = 3, .events = POLLIN}};
        poll(fds, 2, 100);
        ml_derp_client_time(&client, now_us());
        tell_events();
        if (fds[1].revents & POLLIN) {
            char line[256];
            if (fgets(line, sizeof line, commands)) {
                command(line);
            }
        } else if (fds[1].revents & POLLHUP) {
            return 0;
        }
        if (fds[0].revents & (POLLIN | POLLHUP)) {
            uint8_t buf[8192];
            ssize_t got = read(0, buf, read_size < sizeof buf ? read_size : sizeof buf);
            if (got <= 0) {
                fprintf(stderr, "closed\n");
                return 0;
            }
            size_t used;
            for (size_t pos = 0; pos < (size_t)got; pos += used) {
                ml_derp_client_data(&client, now_us(), buf + pos, (size_t)got - pos, &used);
                flush_tx();
                tell_events();
            }
        }
    }
}
