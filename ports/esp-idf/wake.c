/*
 * Wake-ups (see wake.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "wake.h"

#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "freertos/timers.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"
#include "lwip/udp.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    int fd, slot;
    uint16_t port;
    struct udp_pcb *pcb; /**< Of lwIP's thread. */
    atomic_bool open;
    atomic_bool asked;   /**< The task has not looked since somebody asked. */
    atomic_bool pending; /**< A byte was sent, or is about to be. */
    atomic_bool watched; /**< The timer runs. */
    atomic_uint looks;   /**< How often the task has looked. */
} w = {.fd = -1, .slot = -1};

/**
 * Runs while a wake-up is not noticed, and sends again what got lost: each byte needs memory of lwIP's in several places, not all
 * of which tell, and nothing that needs none gets a task out of select(). Made once and kept, since taking it apart would need
 * room in the queue of the timers.
 */
static StaticTimer_t watch_memory;
static TimerHandle_t watch;
static unsigned looks_before;
#define WATCH_MS 100

/** Made once per port, so that closing needs no memory; one call at a time, since the host's lock is held. */
static SemaphoreHandle_t done;

struct call {
    void (*fn)(void *arg);
    void *arg;
};

static void run_call(void *ctx)
{
    struct call *c = ctx;
    c->fn(c->arg);
    xSemaphoreGive(done);
}

bool ml_tcpip_run(void (*fn)(void *arg), void *arg)
{
    struct call c = {fn, arg};
    if (done == NULL || tcpip_callback(run_call, &c) != ERR_OK) {
        return false;
    }
    xSemaphoreTake(done, portMAX_DELAY);
    return true;
}

/** In lwIP's thread. */
static void send_byte(void *arg)
{
    (void)arg;
    ip_addr_t to = IPADDR4_INIT_BYTES(127, 0, 0, 1);
    struct pbuf *p = w.pcb != NULL ? pbuf_alloc(PBUF_TRANSPORT, 1, PBUF_RAM) : NULL;
    bool sent = false;
    if (p != NULL) {
        memset(p->payload, 0, 1);
        sent = udp_sendto(w.pcb, p, &to, w.port) == ERR_OK;
        pbuf_free(p);
    }
    if (!sent) {
        atomic_store(&w.pending, false);
    }
}

static void ask(void)
{
    atomic_store(&w.asked, true);
    if (!atomic_exchange(&w.watched, true) && xTimerStart(watch, 0) != pdPASS) {
        atomic_store(&w.watched, false);
    }
}

/** In the task of FreeRTOS's timers, which must not wait. */
static void look_after(TimerHandle_t timer)
{
    unsigned looks = atomic_load(&w.looks);
    bool has_looked = looks != looks_before;
    looks_before = looks;
    if (!atomic_load(&w.open) || !atomic_load(&w.asked)) {
        atomic_store(&w.pending, false); /* if something else woke the task, and the byte did not come */
        (void)xTimerStop(timer, 0);
        atomic_store(&w.watched, false);
        if (atomic_load(&w.asked)) {
            ask();
        }
    } else if (!has_looked) {
        atomic_store(&w.pending, tcpip_try_callback(send_byte, NULL) == ERR_OK);
    }
}

void ml_wake(void)
{
    if (!atomic_load(&w.open)) {
        return;
    }
    ask();
    if (!atomic_exchange(&w.pending, true) && tcpip_callback(send_byte, NULL) != ERR_OK) {
        atomic_store(&w.pending, false);
    }
}

bool ml_wake_is_asked(void)
{
    return atomic_load(&w.asked);
}

void ml_wake_noticed(void)
{
    atomic_store(&w.asked, false);
    atomic_fetch_add(&w.looks, 1);
}

void ml_wake_from_tcpip(void)
{
    if (!atomic_load(&w.open)) {
        return;
    }
    ask();
    if (!atomic_exchange(&w.pending, true)) {
        send_byte(NULL);
    }
}

static void on_byte(void *ctx, short revents)
{
    uint8_t byte[4];
    (void)ctx, (void)revents;
    while (recv(w.fd, byte, sizeof byte, 0) > 0) {
    }
    /* Before the queues are drained: what is queued from here on wakes again. */
    atomic_store(&w.pending, false);
}

static void make_pcb(void *arg)
{
    (void)arg;
    /* One may be left from a close that lwIP had no memory to carry out. */
    w.pcb = w.pcb != NULL ? w.pcb : udp_new();
}

static void remove_pcb(void *arg)
{
    (void)arg;
    if (w.pcb != NULL) {
        udp_remove(w.pcb);
        w.pcb = NULL;
    }
}

bool ml_wake_open(struct ml_loop *loop)
{
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof s;
    w.fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    w.slot = -1;
    done = xSemaphoreCreateBinary();
    if (watch == NULL) {
        watch = xTimerCreateStatic("microlink", pdMS_TO_TICKS(WATCH_MS), pdTRUE, NULL, look_after, &watch_memory);
    }
    if (w.fd >= 0 && ml_sys_prepare_fd(w.fd) == 0 && bind(w.fd, (struct sockaddr *)&s, sizeof s) == 0 &&
        getsockname(w.fd, (struct sockaddr *)&s, &len) == 0) {
        w.port = ntohs(s.sin_port);
        w.slot = ml_loop_add(loop, w.fd, POLLIN, on_byte, NULL);
    }
    if (w.slot < 0 || !ml_tcpip_run(make_pcb, NULL) || w.pcb == NULL) {
        ml_wake_close(loop);
        return false;
    }
    atomic_store(&w.pending, false);
    atomic_store(&w.asked, false);
    atomic_store(&w.open, true);
    return true;
}

void ml_wake_close(struct ml_loop *loop)
{
    atomic_store(&w.open, false);
    (void)ml_tcpip_run(remove_pcb, NULL);
    ml_loop_remove(loop, w.slot);
    if (w.fd >= 0) {
        close(w.fd);
    }
    w.fd = w.slot = -1;
    if (done != NULL) {
        vSemaphoreDelete(done);
        done = NULL;
    }
}

bool ml_sys_may_call_lwip(void)
{
#if LWIP_NETCONN_SEM_PER_THREAD
    return LWIP_NETCONN_THREAD_SEM_GET() != NULL;
#else
    return true;
#endif
}

void ml_sys_wait_for_lwip(void)
{
    while (!ml_sys_may_call_lwip()) {
        vTaskDelay(pdMS_TO_TICKS(100));
    }
}
