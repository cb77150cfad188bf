/*
 * The declarations of ../idf given bodies over POSIX threads and sockets, so that the port's task, lock, loop, wake-up, sockets
 * and storage can be run on the host. It is not FreeRTOS, lwIP or NVS: scheduling, memory and timing are Linux's. TLS is left
 * out (a stream that asks for it is refused), and the interface of the tunnel takes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "shim.h"

#include "esp_crt_bundle.h"
#include "esp_event.h"
#include "esp_heap_caps.h"
#include "esp_log.h"
#include "esp_netif.h"
#include "esp_random.h"
#include "freertos/queue.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "freertos/timers.h"
#include "lwip/dns.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"
#include "lwip/udp.h"
#include "nvs.h"
#include "tls_mbedtls.h"
#include "tunnel.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

atomic_int shim_allocs_left = -1, shim_fail_in, shim_blocks, shim_no_thread_sem, shim_not_random, shim_lose_datagrams;

/* ---- The heap: malloc() and the like of everything linked into the test, by the linker's --wrap. ---- */

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);

static bool may_allocate(void)
{
    if (atomic_load(&shim_allocs_left) >= 0 && atomic_fetch_sub(&shim_allocs_left, 1) <= 0) {
        atomic_store(&shim_allocs_left, 0);
        return false;
    }
    return atomic_load(&shim_fail_in) <= 0 || atomic_fetch_sub(&shim_fail_in, 1) != 1;
}

void *__wrap_malloc(size_t len)
{
    void *p = may_allocate() ? __real_malloc(len) : NULL;
    atomic_fetch_add(&shim_blocks, p != NULL);
    return p;
}

void *__wrap_calloc(size_t n, size_t len)
{
    void *p = may_allocate() ? __real_calloc(n, len) : NULL;
    atomic_fetch_add(&shim_blocks, p != NULL);
    return p;
}

char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy != NULL ? strcpy(copy, text) : NULL;
}

/** The one block of heap_caps_calloc() there is at a time, and what lies before it. */
#define CAPS_OFFSET 4
static uint8_t *_Atomic caps_block;

void __wrap_free(void *p)
{
    atomic_fetch_sub(&shim_blocks, p != NULL);
    if (p != NULL && p == atomic_load(&caps_block)) {
        atomic_store(&caps_block, NULL);
        p = (uint8_t *)p - CAPS_OFFSET;
    }
    __real_free(p);
}

/* ---- FreeRTOS ---- */

struct QueueDefinition {
    pthread_mutex_t m;
    pthread_cond_t c;
    bool recursive, given;
};

static SemaphoreHandle_t make(bool recursive)
{
    SemaphoreHandle_t s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    pthread_mutex_init(&s->m, &a);
    pthread_cond_init(&s->c, NULL);
    s->recursive = recursive;
    return s;
}

SemaphoreHandle_t xSemaphoreCreateBinary(void)
{
    return make(false);
}

SemaphoreHandle_t xSemaphoreCreateRecursiveMutex(void)
{
    return make(true);
}

BaseType_t xSemaphoreGive(SemaphoreHandle_t s)
{
    pthread_mutex_lock(&s->m);
    s->given = true;
    pthread_cond_signal(&s->c);
    pthread_mutex_unlock(&s->m);
    return pdPASS;
}

BaseType_t xSemaphoreTake(SemaphoreHandle_t s, TickType_t wait)
{
    (void)wait;
    pthread_mutex_lock(&s->m);
    while (!s->given) {
        pthread_cond_wait(&s->c, &s->m);
    }
    s->given = false;
    pthread_mutex_unlock(&s->m);
    return pdPASS;
}

BaseType_t xSemaphoreGiveRecursive(SemaphoreHandle_t s)
{
    return pthread_mutex_unlock(&s->m) == 0;
}

BaseType_t xSemaphoreTakeRecursive(SemaphoreHandle_t s, TickType_t wait)
{
    (void)wait;
    return pthread_mutex_lock(&s->m) == 0;
}

void vSemaphoreDelete(SemaphoreHandle_t s)
{
    /* Whoever gave it may still be inside the unlock. */
    pthread_mutex_lock(&s->m);
    pthread_mutex_unlock(&s->m);
    pthread_mutex_destroy(&s->m);
    pthread_cond_destroy(&s->c);
    free(s);
}

struct start {
    void (*fn)(void *arg);
    void *arg;
};

static void *run(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    s.fn(s.arg);
    return NULL;
}

BaseType_t xTaskCreate(void (*fn)(void *arg), const char *name, uint32_t stack, void *arg, UBaseType_t priority,
                       TaskHandle_t *out)
{
    (void)name, (void)stack, (void)priority;
    pthread_t t;
    struct start *s = malloc(sizeof *s);
    if (s == NULL) {
        return 0;
    }
    *s = (struct start){fn, arg};
    pthread_create(&t, NULL, run, s);
    pthread_detach(t);
    if (out != NULL) {
        *out = (TaskHandle_t)t;
    }
    return pdPASS;
}

void vTaskDelete(TaskHandle_t t)
{
    (void)t; /* The thread returns right after. */
}

void vTaskDelay(TickType_t ticks)
{
    usleep(ticks * 10000);
}

TaskHandle_t xTaskGetCurrentTaskHandle(void)
{
    return (TaskHandle_t)pthread_self();
}

QueueHandle_t xQueueCreate(UBaseType_t length, UBaseType_t item)
{
    (void)length, (void)item;
    return NULL; /* The interface of the tunnel is not made. */
}

BaseType_t xQueueSend(QueueHandle_t q, const void *item, TickType_t wait)
{
    (void)q, (void)item, (void)wait;
    return 0;
}

BaseType_t xQueueReceive(QueueHandle_t q, void *item, TickType_t wait)
{
    (void)q, (void)item, (void)wait;
    return 0;
}

UBaseType_t uxQueueSpacesAvailable(QueueHandle_t q)
{
    (void)q;
    return 0;
}

void vQueueDelete(QueueHandle_t q)
{
    (void)q;
}

/* The one timer there is. Its thread looks every tick. */
static void (*timer_fn)(TimerHandle_t timer);
static TickType_t timer_period;
static atomic_bool timer_on;

static void *timer_thread(void *arg)
{
    (void)arg;
    for (TickType_t ticks = 0;; ticks = atomic_load(&timer_on) ? ticks + 1 : 0) {
        if (ticks >= timer_period) {
            ticks = 0;
            timer_fn((TimerHandle_t)&timer_on);
        }
        vTaskDelay(1);
    }
    return NULL;
}

TimerHandle_t xTimerCreateStatic(const char *name, TickType_t period, BaseType_t reload, void *id,
                                 void (*fn)(TimerHandle_t timer), StaticTimer_t *memory)
{
    (void)name, (void)reload, (void)id, (void)memory;
    pthread_t t;
    timer_fn = fn;
    timer_period = period;
    pthread_create(&t, NULL, timer_thread, NULL);
    pthread_detach(t);
    return (TimerHandle_t)&timer_on;
}

BaseType_t xTimerStart(TimerHandle_t timer, TickType_t wait)
{
    (void)timer, (void)wait;
    atomic_store(&timer_on, true);
    return pdPASS;
}

BaseType_t xTimerStop(TimerHandle_t timer, TickType_t wait)
{
    (void)timer, (void)wait;
    atomic_store(&timer_on, false);
    return pdPASS;
}

/* ---- lwIP: its thread, one call after the other ---- */

struct work {
    void (*fn)(void *ctx);
    void *ctx;
    struct work *next;
};

static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_cond = PTHREAD_COND_INITIALIZER;
static struct work *work_head, **work_tail = &work_head;
struct netif *netif_list;

static void *tcpip_thread(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&work_lock);
        while (work_head == NULL) {
            pthread_cond_wait(&work_cond, &work_lock);
        }
        struct work *w = work_head;
        work_head = w->next;
        work_tail = work_head != NULL ? work_tail : &work_head;
        pthread_mutex_unlock(&work_lock);
        w->fn(w->ctx);
        free(w);
    }
    return NULL;
}

void shim_start(void)
{
    pthread_t t;
    pthread_create(&t, NULL, tcpip_thread, NULL);
    pthread_detach(t);
}

err_t tcpip_callback(void (*fn)(void *ctx), void *ctx)
{
    struct work *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_MEM;
    }
    *w = (struct work){fn, ctx, NULL};
    pthread_mutex_lock(&work_lock);
    *work_tail = w;
    work_tail = &w->next;
    pthread_cond_signal(&work_cond);
    pthread_mutex_unlock(&work_lock);
    return ERR_OK;
}

err_t tcpip_try_callback(void (*fn)(void *ctx), void *ctx)
{
    return tcpip_callback(fn, ctx);
}

err_t tcpip_input(struct pbuf *p, struct netif *n)
{
    (void)p, (void)n;
    return ERR_MEM;
}

struct pbuf *pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type)
{
    (void)layer, (void)type;
    struct pbuf *p = calloc(1, sizeof *p + len);
    if (p == NULL) {
        return NULL;
    }
    *p = (struct pbuf){.payload = p + 1, .len = len, .tot_len = len};
    return p;
}

u16_t pbuf_copy_partial(const struct pbuf *p, void *data, u16_t len, u16_t offset)
{
    (void)p, (void)data, (void)len, (void)offset;
    return 0;
}

err_t pbuf_take(struct pbuf *p, const void *data, u16_t len)
{
    memcpy(p->payload, data, len);
    return ERR_OK;
}

u8_t pbuf_free(struct pbuf *p)
{
    free(p);
    return 1;
}

struct udp_pcb {
    int fd;
};

struct udp_pcb *udp_new(void)
{
    struct udp_pcb *u = malloc(sizeof *u);
    if (u == NULL) {
        return NULL;
    }
    u->fd = socket(AF_INET, SOCK_DGRAM, 0);
    return u;
}

void udp_remove(struct udp_pcb *u)
{
    close(u->fd);
    free(u);
}

err_t udp_sendto(struct udp_pcb *u, struct pbuf *p, const ip_addr_t *to, u16_t port)
{
    (void)to;
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (atomic_load(&shim_lose_datagrams)) {
        return ERR_OK;
    }
    return sendto(u->fd, p->payload, p->len, 0, (struct sockaddr *)&s, sizeof s) < 0 ? ERR_MEM : ERR_OK;
}

static char dns_name[64];
static void (*dns_found)(const char *name, const ip_addr_t *ip, void *arg);

static void answer(void *arg)
{
    dns_found(dns_name, NULL, arg); /* Nothing resolves here. */
}

err_t dns_gethostbyname_addrtype(const char *name, ip_addr_t *out,
                                 void (*found)(const char *name, const ip_addr_t *ip, void *arg), void *arg, u8_t type)
{
    (void)name, (void)out, (void)type;
    dns_found = found;
    return tcpip_callback(answer, arg) == ERR_OK ? ERR_INPROGRESS : ERR_MEM;
}

void netif_ip6_addr_set(struct netif *n, int8_t i, const ip6_addr_t *a)
{
    (void)n, (void)i, (void)a;
}

void netif_ip6_addr_set_state(struct netif *n, int8_t i, u8_t state)
{
    (void)n, (void)i, (void)state;
}

/* ---- ESP-IDF ---- */

esp_event_base_t const IP_EVENT = "IP_EVENT";
static esp_event_handler_t ip_handler;

esp_err_t esp_event_handler_instance_register(esp_event_base_t base, int32_t id, esp_event_handler_t fn, void *arg,
                                              esp_event_handler_instance_t *out)
{
    (void)base, (void)id, (void)arg, (void)out;
    ip_handler = fn;
    return ESP_OK;
}

esp_err_t esp_event_handler_instance_unregister(esp_event_base_t base, int32_t id, esp_event_handler_instance_t instance)
{
    (void)base, (void)id, (void)instance;
    ip_handler = NULL;
    return ESP_OK;
}

void shim_ip_event(void)
{
    if (ip_handler != NULL) {
        ip_handler(NULL, IP_EVENT, 0, NULL);
    }
}

void shim_tunnel_ip6_event(void)
{
    ip_event_got_ip6_t ev = {.esp_netif = ml_tunnel_netif()};
    ip_handler(NULL, IP_EVENT, IP_EVENT_GOT_IP6, &ev);
}

esp_err_t esp_event_post(esp_event_base_t base, int32_t id, const void *data, size_t len, TickType_t wait)
{
    (void)base, (void)id, (void)data, (void)len, (void)wait;
    return ESP_OK;
}

esp_err_t esp_netif_init(void)
{
    return ESP_OK;
}

esp_netif_t *esp_netif_new(const esp_netif_config_t *cfg)
{
    (void)cfg;
    return NULL;
}

void esp_netif_destroy(esp_netif_t *n)
{
    (void)n;
}

void esp_netif_action_start(void *n, esp_event_base_t base, int32_t id, void *data)
{
    (void)n, (void)base, (void)id, (void)data;
}

void esp_netif_action_stop(void *n, esp_event_base_t base, int32_t id, void *data)
{
    (void)n, (void)base, (void)id, (void)data;
}

esp_err_t esp_netif_set_ip_info(esp_netif_t *n, const esp_netif_ip_info_t *info)
{
    (void)n, (void)info;
    return ESP_OK;
}

sys_sem_t *sys_thread_sem_get(void)
{
    static _Thread_local bool made;
    static sys_sem_t sem;
    made = made || !atomic_load(&shim_no_thread_sem);
    return made ? &sem : NULL;
}

void esp_fill_random(void *buf, size_t len)
{
    if (atomic_load(&shim_not_random)) {
        memset(buf, 7, len);
    } else if (getrandom(buf, len, 0) != (ssize_t)len) {
        abort();
    }
}

/** A chip's heap aligns to four bytes, whatever max_align_t wants. */
void *heap_caps_calloc(size_t n, size_t size, uint32_t caps)
{
    (void)caps;
    uint8_t *p = calloc(1, n * size + CAPS_OFFSET);
    atomic_store(&caps_block, p != NULL ? p + CAPS_OFFSET : NULL);
    return atomic_load(&caps_block);
}

size_t heap_caps_get_largest_free_block(uint32_t caps)
{
    (void)caps;
    return 4711;
}

void ml_check_log(const char *tag, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    printf("%s: ", tag);
    vprintf(format, ap);
    printf("\n");
    va_end(ap);
}

/* ---- NVS: a few entries in memory ---- */

struct shim_nvs shim_nvs;

static struct shim_entry *entry(const char *key, bool add)
{
    for (size_t i = 0; i < SHIM_NVS_ENTRIES; i++) {
        struct shim_entry *e = &shim_nvs.entry[i];
        if (strcmp(e->key, key) == 0) {
            return e;
        }
        if (add && e->key[0] == 0) {
            snprintf(e->key, sizeof e->key, "%s", key);
            return e;
        }
    }
    return NULL;
}

esp_err_t nvs_open(const char *name, nvs_open_mode_t mode, nvs_handle_t *out)
{
    (void)name, (void)mode;
    *out = 1;
    shim_nvs.opened_by = pthread_self();
    shim_nvs.open_count += shim_nvs.open_error == ESP_OK;
    return shim_nvs.open_error;
}

void nvs_close(nvs_handle_t h)
{
    (void)h;
    shim_nvs.closed_by = pthread_self();
    shim_nvs.open_count--;
}

esp_err_t nvs_get_blob(nvs_handle_t h, const char *key, void *out, size_t *len)
{
    (void)h;
    const struct shim_entry *e = entry(key, false);
    if (e == NULL) {
        return ESP_ERR_NVS_NOT_FOUND;
    }
    if (shim_nvs.read_error != ESP_OK && key[0] != 's') {
        return shim_nvs.read_error; /* Of a record, not of the schema's number. */
    }
    if (*len < e->len) {
        return ESP_ERR_NVS_INVALID_LENGTH;
    }
    memcpy(out, e->data, e->len);
    *len = e->len;
    return ESP_OK;
}

esp_err_t nvs_set_blob(nvs_handle_t h, const char *key, const void *value, size_t len)
{
    (void)h;
    struct shim_entry *e = shim_nvs.write_error == ESP_OK ? entry(key, true) : NULL;
    if (e == NULL || len > sizeof e->data) {
        return shim_nvs.write_error != ESP_OK ? shim_nvs.write_error : ESP_ERR_NVS_NOT_ENOUGH_SPACE;
    }
    memcpy(e->data, value, len);
    e->len = len;
    return ESP_OK;
}

esp_err_t nvs_get_u8(nvs_handle_t h, const char *key, uint8_t *out)
{
    size_t len = 1;
    return nvs_get_blob(h, key, out, &len);
}

esp_err_t nvs_set_u8(nvs_handle_t h, const char *key, uint8_t value)
{
    return nvs_set_blob(h, key, &value, 1);
}

esp_err_t nvs_erase_all(nvs_handle_t h)
{
    (void)h;
    memset(shim_nvs.entry, 0, sizeof shim_nvs.entry);
    return ESP_OK;
}

esp_err_t nvs_commit(nvs_handle_t h)
{
    (void)h;
    return ESP_OK;
}

/* ---- TLS: refused ---- */

struct ml_tls {
    int unused;
};

struct ml_tls *ml_tls_new(const ml_random *random, const char *ca_file, const char *ca_pem)
{
    (void)random, (void)ca_file, (void)ca_pem;
    return calloc(1, sizeof(struct ml_tls));
}

void ml_tls_free(struct ml_tls *t)
{
    free(t);
}

struct ml_tls_conn *ml_tls_connect(struct ml_tls *t, int fd, const struct ml_tls_want *want)
{
    (void)t, (void)fd, (void)want;
    return NULL;
}

void ml_tls_conn_free(struct ml_tls_conn *c)
{
    (void)c;
}

enum ml_tls_result ml_tls_handshake(struct ml_tls_conn *c)
{
    (void)c;
    return ML_TLS_FAILED;
}

enum ml_tls_result ml_tls_read(struct ml_tls_conn *c, uint8_t *buf, size_t cap, size_t *len)
{
    (void)c, (void)buf, (void)cap;
    *len = 0;
    return ML_TLS_FAILED;
}

enum ml_tls_result ml_tls_write(struct ml_tls_conn *c, const uint8_t *buf, size_t len, size_t *written)
{
    (void)c, (void)buf, (void)len;
    *written = 0;
    return ML_TLS_FAILED;
}

bool ml_tls_has_data(const struct ml_tls_conn *c)
{
    (void)c;
    return false;
}

void ml_tls_shutdown(struct ml_tls_conn *c)
{
    (void)c;
}

ml_close_reason ml_tls_reason(const struct ml_tls_conn *c)
{
    (void)c;
    return ML_CLOSE_TLS_OTHER;
}

const char *ml_tls_detail(const struct ml_tls_conn *c)
{
    (void)c;
    return "";
}

bool ml_tls_derp_meta_key(const struct ml_tls_conn *c, ml_derp_key *out)
{
    (void)c, (void)out;
    return false;
}
