/*
 * The task that drives the node, the lock around it, defaults from Kconfig, events for esp_event (see esp_host.h).
 *
 * The lock is one recursive mutex: a callback, which runs with it held, may call the API again. The task holds it whenever it
 * is not waiting in select().
 *
 * SPDX-License-Identifier: MIT
 */
#include "esp_host.h"

#include "esp_event.h"
#include "esp_port.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "microlink_esp.h"
#include "node.h"
#include "sdkconfig.h"
#include "tunnel.h"
#include "wake.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

ESP_EVENT_DEFINE_BASE(MICROLINK_EVENT);

static SemaphoreHandle_t lock;

bool ml_host_init(void)
{
    if (lock == NULL) {
        lock = xSemaphoreCreateRecursiveMutex();
    }
    return lock != NULL;
}

void ml_host_lock(void)
{
    if (lock != NULL) {
        xSemaphoreTakeRecursive(lock, portMAX_DELAY);
    }
}

void ml_host_unlock(void)
{
    if (lock != NULL) {
        xSemaphoreGiveRecursive(lock);
    }
}

#if CONFIG_MICROLINK_TASK
/** After a failure that leaves the node without a port (factory reset out of memory) there is nothing to wait on. */
#define PAUSE pdMS_TO_TICKS(1000)

/** What a task of ours runs, and how the end of it is seen. */
struct job {
    void (*fn)(void *);
    void *arg;
    SemaphoreHandle_t ended;
};

static TaskHandle_t task;
static struct job driving;
static atomic_bool stopping;

static void run(void *arg)
{
    struct job *j = arg;
    j->fn(j->arg);
    xSemaphoreGive(j->ended);
    vTaskDelete(NULL);
}

static bool start(struct job *j, TaskHandle_t *out)
{
    j->ended = xSemaphoreCreateBinary();
    if (j->ended == NULL) {
        return false;
    }
    if (xTaskCreate(run, "microlink", CONFIG_MICROLINK_TASK_STACK, j, CONFIG_MICROLINK_TASK_PRIORITY, out) == pdPASS) {
        return true;
    }
    vSemaphoreDelete(j->ended);
    j->ended = NULL;
    return false;
}

static void wait_for(struct job *j)
{
    xSemaphoreTake(j->ended, portMAX_DELAY);
    vSemaphoreDelete(j->ended);
    j->ended = NULL;
}

static void drive(void *arg)
{
    microlink_t *ml = arg;
    ml_sys_wait_for_lwip();
    while (!atomic_load(&stopping)) {
        ml_host_lock();
        esp_err_t err = atomic_load(&stopping) ? ESP_OK : ml_node_step(ml, ML_NEVER);
        ml_host_unlock();
        if (err != ESP_OK) {
            vTaskDelay(PAUSE);
        }
    }
}

/** In a task of its own: that of the caller, app_main()'s above all, has less stack than reading a stored netmap takes. */
bool ml_host_call(void (*fn)(void *), void *arg)
{
    struct job j = {fn, arg, NULL};
    bool ok = start(&j, NULL);
    if (ok) {
        wait_for(&j);
    }
    return ok;
}

bool ml_host_works_here(void)
{
    return task == NULL || xTaskGetCurrentTaskHandle() == task;
}

bool ml_host_start(microlink_t *ml)
{
    atomic_store(&stopping, false);
    driving.fn = drive;
    driving.arg = ml;
    return start(&driving, &task);
}

void ml_host_stop(microlink_t *ml)
{
    (void)ml;
    if (driving.ended != NULL) {
        atomic_store(&stopping, true);
        ml_wake();
        wait_for(&driving);
        task = NULL;
    }
}

bool ml_host_drives(void)
{
    return true;
}

void ml_host_wake(void)
{
    if (xTaskGetCurrentTaskHandle() != task) {
        ml_wake();
    }
}
#else
bool ml_host_call(void (*fn)(void *), void *arg)
{
    fn(arg);
    return true;
}

bool ml_host_works_here(void)
{
    return true;
}

bool ml_host_start(microlink_t *ml)
{
    (void)ml;
    return true;
}

void ml_host_stop(microlink_t *ml)
{
    (void)ml;
}

bool ml_host_drives(void)
{
    return false;
}

void ml_host_wake(void)
{
    ml_wake();
}
#endif

/* ---- Defaults ---- */

static const char *text_or_null(const char *text)
{
    return text[0] ? text : NULL;
}

void ml_host_defaults(microlink_config_t *config)
{
    config->auth_key = text_or_null(CONFIG_MICROLINK_AUTH_KEY);
    config->device_name = text_or_null(CONFIG_MICROLINK_DEVICE_NAME);
    config->control_key = text_or_null(CONFIG_MICROLINK_CONTROL_KEY);
    config->state_path = CONFIG_MICROLINK_NVS_NAMESPACE;
    config->max_peers = CONFIG_MICROLINK_MAX_PEERS;
    config->heartbeat_interval_ms = CONFIG_MICROLINK_HEARTBEAT_INTERVAL_MS;
    config->data_port = CONFIG_MICROLINK_DATA_PORT;
    config->rx_queue_len = CONFIG_MICROLINK_RX_QUEUE;
    config->log_level = CONFIG_MICROLINK_LOG_LEVEL;
#if !CONFIG_MICROLINK_ENABLE_DERP
    config->enable_derp = false;
#endif
#if !CONFIG_MICROLINK_ENABLE_DISCO
    config->enable_disco = false;
#endif
#if !CONFIG_MICROLINK_ENABLE_STUN
    config->enable_stun = false;
#endif
    config->control_url = text_or_null(CONFIG_MICROLINK_CONTROL_URL);
#if CONFIG_MICROLINK_CUSTOM_COORD_SERVER
    /* The way the first versions of the earlier component named a server. */
    static char url[160];
    snprintf(url, sizeof url, "https://%s:%d", CONFIG_MICROLINK_COORD_HOST, CONFIG_MICROLINK_COORD_PORT);
    config->control_url = config->control_url != NULL ? config->control_url : url;
#endif
}

/* ---- Events and packets ---- */

void ml_host_event(const microlink_event_t *event)
{
    microlink_esp_event_t e = {.event = *event};
    snprintf(e.text, sizeof e.text, "%s", event->text);
    e.event.text = ""; /* The receiver uses the copy. */
    /* Not waiting: a full queue of the event loop must not stop the node. */
    (void)esp_event_post(MICROLINK_EVENT, (int32_t)event->type, &e, sizeof e, 0);
}

bool ml_host_input(const uint8_t *packet, size_t len)
{
#if CONFIG_MICROLINK_NETIF
    return ml_tunnel_input(packet, len);
#else
    (void)packet, (void)len;
    return false;
#endif
}

esp_netif_t *microlink_esp_get_netif(void)
{
#if CONFIG_MICROLINK_NETIF
    ml_host_lock();
    esp_netif_t *netif = ml_tunnel_netif();
    ml_host_unlock();
    return netif;
#else
    return NULL;
#endif
}

uint32_t microlink_esp_get_wake_count(void)
{
    return ml_port_wakes();
}
