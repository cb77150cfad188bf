/*
 * sensor_node: wake, join as the same node as last time, publish one reading, sleep. State is kept between the runs, so the
 * auth key is used once only and peers recognise the node at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "microlink.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PUBLISH_WITHIN_MS 15000 /* Join, send, wait for the acknowledgement. */

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static esp_err_t wait_and_update(microlink_t *ml, uint64_t until_ms)
{
    microlink_fd_t want[64];
    struct pollfd fds[64];
    size_t n = microlink_get_fds(ml, want, 64);
    for (size_t i = 0; i < n && i < 64; i++) {
        fds[i] = (struct pollfd){.fd = want[i].fd, .events = want[i].events};
    }
    uint64_t now = now_ms(), left = until_ms > now ? until_ms - now : 0;
    uint32_t ms = microlink_get_timeout(ml);
    poll(fds, n < 64 ? n : 64, (int)(ms < left ? ms : left));
    return microlink_update(ml);
}

/** A stand-in for the sensor: a sawtooth, up for a minute in tenths of a second. */
static int read_sensor(void)
{
    return (int)(now_ms() % 60000 / 100);
}

/** Sends the reading once a second until the collector answers anything. */
static bool publish(microlink_t *ml, const char *collector)
{
    uint64_t until = now_ms() + PUBLISH_WITHIN_MS, next = 0;
    char text[32];
    int n = snprintf(text, sizeof text, "reading %d", read_sensor());
    while (now_ms() < until) {
        uint32_t peer;
        uint8_t answer[64];
        size_t len = sizeof answer;
        if (microlink_is_connected(ml) && now_ms() >= next && microlink_resolve(ml, collector, &peer) == ESP_OK) {
            microlink_send(ml, peer, (const uint8_t *)text, (size_t)n);
            next = now_ms() + 1000;
        }
        if (wait_and_update(ml, next > now_ms() && next < until ? next : until) != ESP_OK) {
            return false;
        }
        if (microlink_receive(ml, NULL, answer, &len) == ESP_OK) {
            printf("published: %s\n", text);
            return true;
        }
    }
    fprintf(stderr, "not published: %s\n", microlink_get_problem(ml)[0] ? microlink_get_problem(ml) : "no answer");
    return false;
}

int main(int argc, char **argv)
{
    const char *collector = argc > 1 ? argv[1] : "pong";
    unsigned sleep_s = argc > 2 ? (unsigned)atoi(argv[2]) : 60;
    unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 0; /* 0 = for ever */
    microlink_config_t config;
    microlink_get_default_config(&config);
    config.auth_key = getenv("TS_AUTHKEY");
    config.control_url = getenv("ML_LOGIN_SERVER");
    config.device_name = "sensor";
    config.state_path = getenv("ML_STATE") ? getenv("ML_STATE") : "sensor.state";
    bool ok = true;
    for (unsigned i = 0; rounds == 0 || i < rounds; i++) {
        if (i > 0) {
            sleep(sleep_s);
        }
        microlink_t *ml = microlink_init(&config);
        if (ml == NULL) {
            fprintf(stderr, "%s\n", microlink_get_init_error());
            return 1;
        }
        ok = microlink_connect(ml) == ESP_OK && publish(ml, collector);
        microlink_deinit(ml); /* Sockets, memory, radio: nothing is held while asleep. */
        fflush(stdout);
    }
    return ok ? 0 : 1;
}
