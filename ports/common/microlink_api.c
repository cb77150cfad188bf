/*
 * The application API (microlink.h): the node of node.c, made safe to call from any thread where the host has more than one.
 *
 * Every function takes the host's lock, asks the node, and, when it may have changed what is due, wakes the thread that
 * drives the node. Where the program itself drives (POSIX), lock and wake are nothing. Callbacks run with the lock held, by
 * whoever drives; they may call any of these functions but microlink_deinit().
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"
#include "microlink/engine.h"
#include "node.h"

#include <string.h>

void microlink_get_default_config(microlink_config_t *config)
{
    ml_node_get_default_config(config);
}

const char *microlink_strerror(esp_err_t err)
{
    return ml_node_strerror(err);
}

char *microlink_vpn_ip_to_str(uint32_t vpn_ip, char *buf)
{
    return ml_node_vpn_ip_to_str(vpn_ip, buf);
}

/* ---- Life ---- */

static const char no_task[] = "no memory for the node's task";

/** What takes much stack runs where there is enough of it (ml_host_call()). */
struct life {
    const microlink_config_t *config;
    microlink_t *ml;
};

static void begin(void *arg)
{
    struct life *l = arg;
    ml_host_lock();
    l->ml = ml_node_init(l->config);
    if (l->ml != NULL && !ml_host_start(l->ml)) {
        ml_node_deinit(l->ml);
        l->ml = NULL;
        ml_node_set_init_error(no_task);
    }
    ml_host_unlock();
}

static void end(void *arg)
{
    struct life *l = arg;
    ml_host_lock();
    ml_node_deinit(l->ml);
    ml_host_unlock();
}

microlink_t *microlink_init(const microlink_config_t *config)
{
    struct life l = {.config = config};
    if (!ml_host_init() || !ml_host_call(begin, &l)) {
        ml_node_set_init_error(no_task);
    }
    return l.ml;
}

const char *microlink_get_init_error(void)
{
    return ml_node_get_init_error();
}

void microlink_deinit(microlink_t *ml)
{
    if (ml == NULL) {
        return;
    }
    struct life l = {.ml = ml};
    ml_host_stop(ml);
    if (!ml_host_call(end, &l)) {
        end(&l);
    }
}

esp_err_t microlink_update(microlink_t *ml)
{
    if (ml_host_drives()) {
        return ml != NULL ? ESP_OK : ESP_ERR_INVALID_ARG;
    }
    ml_host_lock();
    esp_err_t err = ml_node_step(ml, 0);
    ml_host_unlock();
    return err;
}

/* ---- Commands and questions ---- */

esp_err_t microlink_connect(microlink_t *ml)
{
    ml_host_lock();
    esp_err_t result = ml_node_connect(ml);
    ml_host_wake();
    ml_host_unlock();
    return result;
}

esp_err_t microlink_disconnect(microlink_t *ml)
{
    ml_host_lock();
    esp_err_t result = ml_node_disconnect(ml);
    ml_host_wake();
    ml_host_unlock();
    return result;
}

esp_err_t microlink_send(microlink_t *ml, uint32_t dest_vpn_ip, const uint8_t *data, size_t len)
{
    ml_host_lock();
    esp_err_t result = ml_node_send(ml, dest_vpn_ip, data, len);
    ml_host_wake();
    ml_host_unlock();
    return result;
}

esp_err_t microlink_receive(microlink_t *ml, uint32_t *src_vpn_ip, uint8_t *buffer, size_t *len)
{
    ml_host_lock();
    esp_err_t result = ml_node_receive(ml, src_vpn_ip, buffer, len);
    ml_host_unlock();
    return result;
}

esp_err_t microlink_ping(microlink_t *ml, uint32_t peer_vpn_ip)
{
    ml_host_lock();
    esp_err_t result = ml_node_ping(ml, peer_vpn_ip);
    ml_host_wake();
    ml_host_unlock();
    return result;
}

esp_err_t microlink_rebind(microlink_t *ml)
{
    ml_host_lock();
    esp_err_t result = ml_node_rebind(ml);
    ml_host_wake();
    ml_host_unlock();
    return result;
}

esp_err_t microlink_factory_reset(microlink_t *ml)
{
    ml_host_lock();
    esp_err_t result = ml_node_factory_reset(ml);
    ml_host_wake();
    ml_host_unlock();
    return result;
}

bool microlink_is_connected(const microlink_t *ml)
{
    ml_host_lock();
    bool result = ml_node_is_connected(ml);
    ml_host_unlock();
    return result;
}

microlink_state_t microlink_get_state(const microlink_t *ml)
{
    ml_host_lock();
    microlink_state_t result = ml_node_get_state(ml);
    ml_host_unlock();
    return result;
}

uint32_t microlink_get_vpn_ip(const microlink_t *ml)
{
    ml_host_lock();
    uint32_t result = ml_node_get_vpn_ip(ml);
    ml_host_unlock();
    return result;
}

esp_err_t microlink_get_peers(const microlink_t *ml, const microlink_peer_t **peers, uint8_t *count)
{
    ml_host_lock();
    esp_err_t result = ml_node_get_peers(ml, peers, count);
    ml_host_unlock();
    return result;
}

esp_err_t microlink_get_stats(const microlink_t *ml, microlink_stats_t *stats)
{
    ml_host_lock();
    esp_err_t result = ml_node_get_stats(ml, stats);
    ml_host_unlock();
    return result;
}

uint32_t microlink_get_peer_latency(const microlink_t *ml, uint32_t peer_vpn_ip)
{
    ml_host_lock();
    uint32_t result = ml_node_get_peer_latency(ml, peer_vpn_ip);
    ml_host_unlock();
    return result;
}

esp_err_t microlink_resolve(const microlink_t *ml, const char *name, uint32_t *vpn_ip)
{
    ml_host_lock();
    esp_err_t result = ml_node_resolve(ml, name, vpn_ip);
    ml_host_unlock();
    return result;
}

uint64_t microlink_get_key_expiry(const microlink_t *ml)
{
    ml_host_lock();
    uint64_t result = ml_node_get_key_expiry(ml);
    ml_host_unlock();
    return result;
}

size_t microlink_get_fds(const microlink_t *ml, microlink_fd_t *fds, size_t cap)
{
    ml_host_lock();
    size_t result = ml_node_get_fds(ml, fds, cap);
    ml_host_unlock();
    return result;
}

uint32_t microlink_get_timeout(const microlink_t *ml)
{
    ml_host_lock();
    uint32_t result = ml_node_get_timeout(ml);
    ml_host_unlock();
    return result;
}

/* ---- Texts: copied, since another thread may change the node's own as soon as the lock is gone. ---- */

static const char *copy_text(char *to, size_t cap, const char *from)
{
    size_t n = strlen(from);
    n = n < cap ? n : cap - 1;
    memcpy(to, from, n);
    to[n] = 0;
    return to;
}

const char *microlink_get_login_url(const microlink_t *ml)
{
    static ML_HOST_THREAD_LOCAL char text[ML_TEXT_CAP];
    ml_host_lock();
    const char *result = copy_text(text, sizeof text, ml_node_get_login_url(ml));
    ml_host_unlock();
    return result;
}

const char *microlink_get_problem(const microlink_t *ml)
{
    static ML_HOST_THREAD_LOCAL char text[ML_TEXT_CAP];
    ml_host_lock();
    const char *result = copy_text(text, sizeof text, ml_node_get_problem(ml));
    ml_host_unlock();
    return result;
}
