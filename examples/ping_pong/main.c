/*
 * ping_pong: UDP both ways inside the tunnel, direct or relayed. One side waits and answers, the other asks five times.
 *
 * SPDX-License-Identifier: MIT
 */
#include "microlink.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/** Sleeps until the node has something to do, but not longer than @p max_ms, then lets it. */
static esp_err_t wait_and_update(microlink_t *ml, uint32_t max_ms)
{
    microlink_fd_t want[64];
    struct pollfd fds[64];
    size_t n = microlink_get_fds(ml, want, 64);
    for (size_t i = 0; i < n && i < 64; i++) {
        fds[i] = (struct pollfd){.fd = want[i].fd, .events = want[i].events};
    }
    uint32_t ms = microlink_get_timeout(ml);
    poll(fds, n < 64 ? n : 64, (int)(ms < max_ms ? ms : max_ms));
    return microlink_update(ml);
}

static int answer(microlink_t *ml)
{
    char text[16];
    for (;;) {
        uint8_t buf[MICROLINK_MAX_PAYLOAD];
        size_t len = sizeof buf;
        uint32_t from;
        if (wait_and_update(ml, 60000) != ESP_OK) {
            return 1;
        }
        while (microlink_receive(ml, &from, buf, &len) == ESP_OK) {
            printf("ping from %s: %.*s\n", microlink_vpn_ip_to_str(from, text), (int)len, (const char *)buf);
            microlink_send(ml, from, (const uint8_t *)"pong", 4);
            len = sizeof buf;
        }
    }
}

static int ask(microlink_t *ml, uint32_t peer)
{
    int answers = 0;
    for (int i = 1; i <= 5; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "ping %d", i);
        uint64_t sent = now_ms();
        esp_err_t err = microlink_send(ml, peer, (const uint8_t *)text, (size_t)n);
        if (err != ESP_OK) {
            fprintf(stderr, "send: %s\n", microlink_strerror(err));
        }
        bool got = false;
        /* One a second; an answer may take longer: a node that has just joined is made known to the others meanwhile. */
        for (uint64_t now = sent; now < sent + (got ? 1000 : 5000); now = now_ms()) {
            uint8_t buf[64];
            size_t len = sizeof buf;
            if (wait_and_update(ml, (uint32_t)(sent + (got ? 1000 : 5000) - now)) != ESP_OK) {
                return 1;
            }
            if (!got && microlink_receive(ml, NULL, buf, &len) == ESP_OK) {
                printf("%.*s %d in %u ms\n", (int)len, (const char *)buf, i, (unsigned)(now_ms() - sent));
                got = true;
                answers++;
            }
        }
        if (!got) {
            printf("no answer to ping %d\n", i);
        }
    }
    return answers > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    microlink_config_t config;
    microlink_get_default_config(&config);
    config.auth_key = getenv("TS_AUTHKEY");
    config.control_url = getenv("ML_LOGIN_SERVER");
    config.device_name = argc > 1 ? "ping" : "pong";
    microlink_t *ml = microlink_init(&config);
    if (ml == NULL) {
        fprintf(stderr, "%s\n", microlink_get_init_error());
        return 1;
    }
    int status = 1;
    uint32_t peer = 0;
    if (microlink_connect(ml) == ESP_OK) {
        while (!microlink_is_connected(ml) && microlink_get_state(ml) != MICROLINK_STATE_ERROR) {
            wait_and_update(ml, 60000);
        }
        if (!microlink_is_connected(ml)) {
            fprintf(stderr, "%s\n", microlink_get_problem(ml));
        } else if (argc <= 1) {
            char text[16];
            printf("waiting at %s\n", microlink_vpn_ip_to_str(microlink_get_vpn_ip(ml), text));
            fflush(stdout);
            status = answer(ml);
        } else if (microlink_resolve(ml, argv[1], &peer) != ESP_OK) {
            fprintf(stderr, "no peer named %s\n", argv[1]);
        } else {
            status = ask(ml, peer);
        }
    }
    microlink_deinit(ml);
    return status;
}
