/*
 * basic_connect: join a tailnet, print the address, list the peers, leave.
 *
 * SPDX-License-Identifier: MIT
 */
#include "microlink.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static void on_event(void *ctx, const microlink_event_t *ev)
{
    (void)ctx;
    if (ev->type == MICROLINK_EVENT_LOGIN_URL) {
        printf("To admit this node, visit: %s\n", ev->text);
    } else if (ev->type == MICROLINK_EVENT_PROBLEM && ev->text[0]) {
        fprintf(stderr, "problem: %s\n", ev->text);
    }
}

/** Sleeps until the node has something to do, then lets it. */
static esp_err_t wait_and_update(microlink_t *ml)
{
    microlink_fd_t want[64];
    struct pollfd fds[64];
    size_t n = microlink_get_fds(ml, want, 64);
    for (size_t i = 0; i < n && i < 64; i++) {
        fds[i] = (struct pollfd){.fd = want[i].fd, .events = want[i].events};
    }
    uint32_t ms = microlink_get_timeout(ml);
    poll(fds, n < 64 ? n : 64, ms == UINT32_MAX ? -1 : (int)ms);
    return microlink_update(ml);
}

int main(void)
{
    microlink_config_t config;
    microlink_get_default_config(&config);
    config.auth_key = getenv("TS_AUTHKEY");
    config.control_url = getenv("ML_LOGIN_SERVER"); /* NULL: the hosted service. */
    config.device_name = "basic-connect";
    config.on_event = on_event;

    microlink_t *ml = microlink_init(&config);
    if (ml == NULL) {
        fprintf(stderr, "%s\n", microlink_get_init_error());
        return 1;
    }
    esp_err_t err = microlink_connect(ml);
    while (err == ESP_OK && !microlink_is_connected(ml)) {
        err = wait_and_update(ml);
    }
    if (err == ESP_OK) {
        char text[16];
        const microlink_peer_t *peers;
        uint8_t count;
        printf("connected as %s\n", microlink_vpn_ip_to_str(microlink_get_vpn_ip(ml), text));
        microlink_get_peers(ml, &peers, &count);
        for (uint8_t i = 0; i < count; i++) {
            printf("  %-15s %s\n", microlink_vpn_ip_to_str(peers[i].vpn_ip, text), peers[i].hostname);
        }
    } else {
        fprintf(stderr, "%s: %s\n", microlink_strerror(err), microlink_get_problem(ml));
    }
    microlink_deinit(ml);
    return err == ESP_OK ? 0 : 1;
}
