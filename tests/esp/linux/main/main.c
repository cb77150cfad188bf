/*
 * A node in ESP-IDF's target "linux", driven by lines on its standard input; what it prints is read by tests/interop.
 *
 *   init | connect | disconnect | deinit     the API, one call each
 *   cycle N     N times connect, wait for the tailnet, disconnect
 *   life N      N times init, connect, wait a while that grows from nothing, deinit
 *   down | up ADDRESS/BITS [GATEWAY]         the cable of the interface
 *   tcp ADDRESS PORT BYTES                   connect by lwIP's sockets, send, compare the echo
 *   status      one line of figures (surplus: what the stack of the task is larger than on a chip); "mark" begins its peak anew
 *   peers       how many there are
 *   blocks N    the blocks of the heap of at least N bytes, oldest first
 *   fail N [all]    the N-th allocation of the node from now fails, or from it on all; 0: none
 *   left        how many are still to come before it
 *   short N S   N times init, connect, S ms, deinit, the allocation that fails being the first, the second, and so on
 *   random 0|1  a generator that repeats itself, or the host's
 *   clock S     what time it is, in seconds since 1970
 *   nvs fill | nvs free     somebody else fills NVS, or frees what he took
 *
 * Settings come from the environment: CONTROL_URL, AUTH_KEY, NAME, CA_FILE, BUNDLE_FILE (a certificate bundle in place of the
 * one that was built in; from ESP-IDF 5.4 on BUNDLE_FILE_54, in its format), CLOCK (as the command, from the start), STATE ("mem:"
 * keeps nothing) and those of examples/idf_network/network_linux.c.
 * TCP and UDP port 7 are echo servers of lwIP's sockets, on every address.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdbool.h> /* For the next one, before ESP-IDF 6. */

#include "esp_crt_bundle.h"
#include "esp_heap_caps.h"
#include "esp_idf_version.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "heap.h"
#include "lwip/sockets.h"
#include "microlink.h"
#include "microlink_esp.h"
#include "network.h"
#include "nvs.h"

#include <errno.h>
#include <poll.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ECHO_PORT 7

static microlink_t *ml;
static microlink_config_t config;

/* ---- What the host has, and a device may not (the linker's --wrap) ---- */

static bool is_random = true;
static int64_t clock_offset_s;

void __real_esp_fill_random(void *buf, size_t len);
void __wrap_esp_fill_random(void *buf, size_t len);
int __real_gettimeofday(struct timeval *tv, void *zone);
int __wrap_gettimeofday(struct timeval *tv, void *zone);
time_t __real_time(time_t *out);
time_t __wrap_time(time_t *out);

void __wrap_esp_fill_random(void *buf, size_t len)
{
    if (is_random) {
        __real_esp_fill_random(buf, len);
    } else {
        memset(buf, 0x55, len);
    }
}

int __wrap_gettimeofday(struct timeval *tv, void *zone)
{
    int r = __real_gettimeofday(tv, zone);
    tv->tv_sec += (time_t)clock_offset_s;
    return r;
}

time_t __wrap_time(time_t *out)
{
    time_t t = __real_time(NULL) + (time_t)clock_offset_s;
    if (out != NULL) {
        *out = t;
    }
    return t;
}

static void set_clock(const char *seconds)
{
    clock_offset_s = strtoll(seconds, NULL, 10) - (int64_t)__real_time(NULL);
}

/** Takes all of NVS but what is there, in pieces that get smaller; or gives it back. */
static void other_storage(bool fill)
{
    static uint8_t junk[1024];
    nvs_handle_t h;
    int taken = 0;
    esp_err_t err = nvs_open("other", NVS_READWRITE, &h);
    if (err == ESP_OK && !fill) {
        err = nvs_erase_all(h);
    }
    for (size_t len = sizeof junk; err == ESP_OK && fill && len >= 1; len /= 2) {
        for (esp_err_t more = ESP_OK; more == ESP_OK; taken += more == ESP_OK) {
            char key[16];
            snprintf(key, sizeof key, "k%d", taken);
            more = nvs_set_blob(h, key, junk, len);
        }
    }
    if (err == ESP_OK) {
        err = nvs_commit(h);
        nvs_close(h);
    }
    printf("nvs: %d taken (0x%x)\n", taken, (unsigned)err);
}

/* ---- The node ---- */

static void on_event(void *ctx, const microlink_event_t *ev)
{
    (void)ctx;
    if (ev->type == MICROLINK_EVENT_PROBLEM || ev->type == MICROLINK_EVENT_STORE_FAILED) {
        printf("problem: %s\n", ev->text);
    } else if (ev->type == MICROLINK_EVENT_STATE) {
        printf("state: %d\n", (int)ev->state);
    }
    fflush(stdout);
}

static void init(void)
{
    ml = microlink_init(&config);
    if (ml == NULL) {
        printf("init: %s\n", microlink_get_init_error());
    }
}

static bool wait_connected(int seconds)
{
    for (int i = 0; i < seconds * 100 && !microlink_is_connected(ml); i++) {
        vTaskDelay(pdMS_TO_TICKS(10));
    }
    return microlink_is_connected(ml);
}

static void status(void)
{
    char ip[16];
    microlink_stats_t stats = {0};
    (void)microlink_get_stats(ml, &stats);
    TaskHandle_t task = xTaskGetHandle("microlink");
    unsigned stack = task != NULL ? CONFIG_MICROLINK_TASK_STACK - (unsigned)uxTaskGetStackHighWaterMark(task) : 0;
    printf("status: state=%d ip=%s handshakes=%u relayed=%u direct=%u heap=%zu blocks=%zu peak=%zu wakes=%u "
           "stack=%u surplus=%zu "
           "problem=\"%s\"\n",
           (int)microlink_get_state(ml), microlink_vpn_ip_to_str(microlink_get_vpn_ip(ml), ip),
           (unsigned)stats.handshakes_completed, (unsigned)stats.derp_packets_relayed, (unsigned)stats.direct_packets_sent,
           heap_used(), heap_blocks(), heap_peak(), (unsigned)microlink_esp_get_wake_count(),
           (unsigned)(stack * sizeof(StackType_t)), (size_t)CONFIG_MICROLINK_TASK_STACK * (sizeof(StackType_t) - 1),
           ml != NULL ? microlink_get_problem(ml) : "");
}

struct rest {
    size_t heap, blocks;
};

/** What is left when nothing is going on: a packet of somebody else's may be on its way through lwIP at any time. */
static struct rest at_rest(void)
{
    struct rest least = {SIZE_MAX, SIZE_MAX};
    vTaskDelay(pdMS_TO_TICKS(4000)); /* The idle task frees stacks, lwIP what waited in TIME_WAIT (CONFIG_LWIP_TCP_MSL). */
    for (int i = 0; i < 20; i++) {
        size_t heap = heap_used(), blocks = heap_blocks();
        least.heap = heap < least.heap ? heap : least.heap;
        least.blocks = blocks < least.blocks ? blocks : least.blocks;
        vTaskDelay(pdMS_TO_TICKS(10));
    }
    return least;
}

static void cycle(int n)
{
    int missed = 0;
    for (int i = 1; i <= n; i++) {
        microlink_connect(ml);
        missed += !wait_connected(20);
        microlink_disconnect(ml);
        vTaskDelay(pdMS_TO_TICKS(20));
        if (i % 100 == 0) {
            struct rest r = at_rest();
            printf("cycle: %d heap=%zu blocks=%zu missed=%d\n", i, r.heap, r.blocks, missed);
            fflush(stdout);
        }
    }
    printf("cycled: %d missed=%d\n", n, missed);
}

static void life(int n)
{
    struct rest before = at_rest();
    int failed = 0, worst = 0;
    for (int i = 0; i < n; i++) {
        init();
        failed += ml == NULL;
        if (ml != NULL && i % 5 != 0) {
            microlink_connect(ml);
            vTaskDelay(pdMS_TO_TICKS((i % 50) * 20));
            if (i % 10 == 9) {
                (void)wait_connected(10);
            }
        }
        int state = (int)microlink_get_state(ml);
        worst = state > worst ? state : worst;
        microlink_deinit(ml);
        ml = NULL;
    }
    struct rest after = at_rest();
    printf("lived: %d failed=%d furthest=%d heap_before=%zu heap=%zu blocks_before=%zu blocks=%zu\n", n, failed, worst,
           before.heap, after.heap, before.blocks, after.blocks);
}

/** Every allocation in turn fails once; what was said is counted, and what did not come back. */
static void run_short(int n, int ms)
{
    int refused = 0, unsaid = 0, connected = 0, reached = 0;
    for (int i = 1; i <= n; i++) {
        heap_fail(i, false);
        init();
        if (ml == NULL) {
            refused++;
            unsaid += microlink_get_init_error()[0] == 0;
        } else {
            microlink_connect(ml);
            for (int t = 0; t < ms && (heap_fail_left() > 0 || !microlink_is_connected(ml)); t += 10) {
                vTaskDelay(pdMS_TO_TICKS(10));
            }
            connected += microlink_is_connected(ml);
        }
        reached += heap_fail_left() == 0;
        heap_fail(0, false);
        microlink_deinit(ml);
        ml = NULL;
    }
    struct rest r = at_rest();
    printf("short: %d reached=%d refused=%d unsaid=%d connected=%d heap=%zu blocks=%zu\n", n, reached, refused, unsaid,
           connected, r.heap, r.blocks);
}

static void tcp(const char *address, int port, size_t len)
{
    static uint8_t buf[512], got[512];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = ipaddr_addr(address)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t done = 0;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        while (done < len) {
            for (size_t i = 0; i < sizeof buf; i++) {
                buf[i] = (uint8_t)(done + i * 7);
            }
            size_t at = 0;
            if (send(fd, buf, sizeof buf, 0) != (ssize_t)sizeof buf) {
                break;
            }
            while (at < sizeof got) {
                ssize_t n = recv(fd, got + at, sizeof got - at, 0);
                if (n <= 0) {
                    break;
                }
                at += (size_t)n;
            }
            if (at < sizeof got || memcmp(buf, got, sizeof buf) != 0) {
                break;
            }
            done += sizeof buf;
        }
    }
    printf("tcp: %zu of %zu bytes echoed (errno %d)\n", done, len, errno);
    if (fd >= 0) {
        close(fd);
    }
}

static void echo_tcp(void *arg)
{
    static uint8_t buf[1024];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    int at = socket(AF_INET, SOCK_STREAM, 0);
    (void)arg;
    if (bind(at, (struct sockaddr *)&any, sizeof any) != 0 || listen(at, 2) != 0) {
        printf("echo: no TCP (errno %d)\n", errno);
        vTaskDelete(NULL);
    }
    for (;;) {
        int fd = accept(at, NULL, NULL);
        ssize_t n;
        while (fd >= 0 && (n = recv(fd, buf, sizeof buf, 0)) > 0 && send(fd, buf, (size_t)n, 0) == n) {
        }
        if (fd >= 0) {
            close(fd);
        }
    }
}

static void echo_udp(void *arg)
{
    static uint8_t buf[1500];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    (void)arg;
    if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0) {
        printf("echo: no UDP (errno %d)\n", errno);
        vTaskDelete(NULL);
    }
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);
        if (n >= 0) {
            (void)sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
        }
    }
}

/** The data port, echoed: UDP 5055. */
static void echo_data(void)
{
    static uint8_t data[MICROLINK_MAX_PAYLOAD];
    uint32_t from;
    size_t len = sizeof data;
    while (ml != NULL && microlink_receive(ml, &from, data, &len) == ESP_OK) {
        (void)microlink_send(ml, from, data, len);
        len = sizeof data;
    }
}

static void obey(char *line)
{
    char *word = strtok(line, " "), *a = strtok(NULL, " "), *b = strtok(NULL, " "), *c = strtok(NULL, " ");
    int n = a != NULL ? atoi(a) : 0;
    if (word == NULL) {
        return;
    }
    if (strcmp(word, "init") == 0) {
        init();
    } else if (strcmp(word, "connect") == 0) {
        printf("connect: %s\n", microlink_strerror(microlink_connect(ml)));
    } else if (strcmp(word, "disconnect") == 0) {
        printf("disconnect: %s\n", microlink_strerror(microlink_disconnect(ml)));
    } else if (strcmp(word, "deinit") == 0) {
        microlink_deinit(ml);
        ml = NULL;
        vTaskDelay(pdMS_TO_TICKS(100));
        printf("deinit: heap=%zu blocks=%zu\n", heap_used(), heap_blocks());
    } else if (strcmp(word, "cycle") == 0) {
        cycle(n);
    } else if (strcmp(word, "life") == 0) {
        life(n);
    } else if (strcmp(word, "mark") == 0) {
        heap_mark();
    } else if (strcmp(word, "peers") == 0) {
        const microlink_peer_t *list;
        uint8_t count = 0;
        (void)microlink_get_peers(ml, &list, &count);
        printf("peers: count=%u\n", count);
    } else if (strcmp(word, "blocks") == 0) {
        heap_print((size_t)n);
        printf("blocks: end\n");
    } else if (strcmp(word, "fail") == 0) {
        heap_fail(n, b != NULL);
        printf("fail: %d\n", n);
    } else if (strcmp(word, "left") == 0) {
        printf("left=%d\n", heap_fail_left());
    } else if (strcmp(word, "short") == 0 && b != NULL) {
        run_short(n, atoi(b));
    } else if (strcmp(word, "random") == 0) {
        is_random = n != 0;
        printf("random: %d\n", n);
    } else if (strcmp(word, "clock") == 0 && a != NULL) {
        set_clock(a);
        printf("clock: %lld\n", (long long)time(NULL));
    } else if (strcmp(word, "nvs") == 0 && a != NULL) {
        other_storage(strcmp(a, "fill") == 0);
    } else if (strcmp(word, "down") == 0) {
        network_linux_set(NULL, NULL, NULL);
    } else if (strcmp(word, "up") == 0 && a != NULL) {
        network_linux_set(a, b, NULL);
    } else if (strcmp(word, "tcp") == 0 && c != NULL) {
        tcp(a, atoi(b), (size_t)atoi(c));
    } else if (strcmp(word, "status") == 0) {
        status();
    } else {
        printf("what is \"%s\"?\n", word);
    }
    fflush(stdout);
}

/** Lines of standard input, without ever blocking in the host. */
static void obey_input(void)
{
    static char line[256];
    static size_t len;
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char c;
    while (poll(&p, 1, 0) == 1 && read(STDIN_FILENO, &c, 1) == 1) {
        if (c != '\n') {
            line[len] = c;
            len += len < sizeof line - 1;
            continue;
        }
        line[len] = 0;
        len = 0;
        obey(line);
    }
}

/** With a zero behind it, which does not count. */
static size_t read_file(const char *path, char *text, size_t cap)
{
    FILE *f = path != NULL ? fopen(path, "r") : NULL;
    if (f == NULL) {
        return 0;
    }
    size_t n = fread(text, 1, cap - 1, f);
    fclose(f);
    text[n] = 0;
    return n;
}

void app_main(void)
{
    static char ca[8192];
    static alignas(uint32_t) char bundle[8192];
    if (getenv("CLOCK") != NULL) {
        set_clock(getenv("CLOCK"));
    }
    network_start();
    xTaskCreate(echo_tcp, "echo_tcp", 16384, NULL, 3, NULL);
    xTaskCreate(echo_udp, "echo_udp", 16384, NULL, 3, NULL);
    vTaskDelay(pdMS_TO_TICKS(100));
    microlink_get_default_config(&config);
    config.control_url = getenv("CONTROL_URL");
    config.auth_key = getenv("AUTH_KEY");
    config.device_name = getenv("NAME") != NULL ? getenv("NAME") : "esp";
    if (getenv("STATE") != NULL) {
        config.state_path = getenv("STATE");
    }
    config.ca_pem = read_file(getenv("CA_FILE"), ca, sizeof ca) > 0 ? ca : NULL;
    const char *bundle_file = getenv(ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 4, 0) ? "BUNDLE_FILE" : "BUNDLE_FILE_54");
    size_t bundle_len = read_file(bundle_file, bundle, sizeof bundle);
    if (bundle_len > 0 && esp_crt_bundle_set((const uint8_t *)bundle, bundle_len) != ESP_OK) {
        printf("no bundle in %s\n", bundle_file);
    }
    config.on_event = on_event;
    printf("ready: heap=%zu blocks=%zu idf=%d\n", heap_used(), heap_blocks(), ESP_IDF_VERSION_MAJOR);
    fflush(stdout);
    for (;;) {
        obey_input();
        echo_data();
        vTaskDelay(pdMS_TO_TICKS(5));
    }
}
