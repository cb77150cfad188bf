/*
 * The ESP-IDF port's task, lock, wake-up, sockets and storage on the host (shim.c says what stands in for what).
 *
 * SPDX-License-Identifier: MIT
 */
#include "microlink.h"
#include "microlink_esp.h"
#include "nvs.h"
#include "shim.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/** Nobody listens there. */
#define NO_SERVER "http://127.0.0.1:9"

static microlink_config_t config(void)
{
    microlink_config_t c;
    microlink_get_default_config(&c);
    c.control_url = NO_SERVER;
    c.log_level = 0;
    return c;
}

static void wait_for(atomic_int *flag)
{
    for (int i = 0; i < 500 && !atomic_load(flag); i++) {
        usleep(10000);
    }
    assert_true(atomic_load(flag));
}

/* How often the task has woken, once it has slept for half a second; a busy host gives it its time late. */
static uint32_t wakes_when_asleep(void)
{
    for (int i = 0; i < 40; i++) {
        uint32_t before = microlink_esp_get_wake_count();
        usleep(500000);
        if (microlink_esp_get_wake_count() == before) {
            return before;
        }
    }
    fail_msg("the task does not sleep");
    return 0;
}

/* At least two wake-ups: for the event, and when it has settled. */
static void wait_for_two_wakes(uint32_t since)
{
    for (int i = 0; i < 1000 && microlink_esp_get_wake_count() - since < 2; i++) {
        usleep(10000);
    }
}

static atomic_int problems;

static void count_problem(void *ctx, const microlink_event_t *ev)
{
    (void)ctx;
    if (ev->type == MICROLINK_EVENT_PROBLEM && ev->text[0]) {
        /* A callback may call the API. */
        assert_int_equal(microlink_get_vpn_ip(ctx ? *(microlink_t **)ctx : NULL), 0);
        atomic_store(&problems, 1);
    }
}

static void the_task_drives_and_a_server_that_is_not_there_becomes_a_problem_event(void **state)
{
    (void)state;
    microlink_config_t c = config();
    c.on_event = count_problem;
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    assert_int_equal(microlink_get_state(ml), MICROLINK_STATE_IDLE);
    assert_int_equal(microlink_connect(ml), ESP_OK);
    wait_for(&problems);
    assert_int_equal(microlink_get_state(ml), MICROLINK_STATE_REGISTERING);
    assert_int_not_equal(microlink_get_problem(ml)[0], 0);
    assert_int_equal(microlink_disconnect(ml), ESP_OK);
    assert_int_equal(microlink_get_state(ml), MICROLINK_STATE_IDLE);
    microlink_deinit(ml);
    assert_int_equal(shim_nvs.open_count, 0);
}

static void an_idle_node_does_not_wake_up(void **state)
{
    (void)state;
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    uint32_t before = wakes_when_asleep();
    usleep(500000);
    assert_int_equal(microlink_esp_get_wake_count(), before);
    microlink_deinit(ml);
}

/** app_main() has 3.5 KB of stack: less than reading what is stored takes, or a handshake when all is put away. */
static void the_beginning_and_the_end_do_not_use_the_callers_stack(void **state)
{
    (void)state;
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    microlink_connect(ml);
    microlink_deinit(ml);
    assert_false(pthread_equal(shim_nvs.opened_by, pthread_self()));
    assert_false(pthread_equal(shim_nvs.closed_by, pthread_self()));
}

static void an_ip_event_wakes_the_task(void **state)
{
    (void)state;
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    uint32_t before = wakes_when_asleep();
    shim_ip_event(); /* It settles for 300 ms, then the sockets are bound anew. */
    wait_for_two_wakes(before);
    assert_in_range(wakes_when_asleep() - before, 2, 6);
    microlink_deinit(ml);
}

static void the_tunnels_own_address_is_no_change_of_the_network(void **state)
{
    (void)state;
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    uint32_t before = wakes_when_asleep();
    shim_tunnel_ip6_event();
    usleep(500000);
    assert_int_equal(microlink_esp_get_wake_count(), before);
    microlink_deinit(ml);
}

static void a_wake_up_without_memory_for_its_packet_is_not_lost(void **state)
{
    (void)state;
    for (int until = 0; until < 4; until++) { /* the call of lwIP's thread, the packet, none, what receives it */
        microlink_config_t c = config();
        microlink_t *ml = microlink_init(&c);
        assert_non_null(ml);
        uint32_t before = wakes_when_asleep();
        atomic_store(&shim_allocs_left, until < 3 ? until : -1);
        atomic_store(&shim_lose_datagrams, until == 3);
        shim_ip_event();
        usleep(250000);
        atomic_store(&shim_allocs_left, -1);
        atomic_store(&shim_lose_datagrams, 0);
        wait_for_two_wakes(before);
        assert_in_range(wakes_when_asleep() - before, 2, 8);
        microlink_deinit(ml);
    }
}

static void two_hundred_cycles_of_connect_disconnect_and_init_leave_nothing_behind(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        microlink_config_t c = config();
        c.control_url = i % 2 ? NO_SERVER : "http://nothing.example:80";
        microlink_t *ml = microlink_init(&c);
        assert_non_null(ml);
        assert_int_equal(microlink_connect(ml), ESP_OK);
        if (i % 3) {
            assert_int_equal(microlink_disconnect(ml), ESP_OK);
        }
        microlink_deinit(ml);
    }
    assert_int_equal(shim_nvs.open_count, 0);
}

static microlink_t *shared;
static atomic_int stop;

static void *hammer(void *arg)
{
    (void)arg;
    const uint8_t data[4] = {1, 2, 3, 4};
    while (!atomic_load(&stop)) {
        microlink_stats_t stats;
        const microlink_peer_t *peers;
        uint8_t count;
        (void)microlink_get_stats(shared, &stats);
        (void)microlink_get_peers(shared, &peers, &count);
        (void)microlink_get_problem(shared);
        assert_int_equal(microlink_send(shared, 0x64400001, data, sizeof data), ESP_ERR_INVALID_STATE);
        (void)microlink_rebind(shared);
    }
    return NULL;
}

static void the_api_may_be_called_from_several_threads_while_the_node_runs(void **state)
{
    (void)state;
    microlink_config_t c = config();
    pthread_t t[3];
    shared = microlink_init(&c);
    assert_non_null(shared);
    atomic_store(&stop, 0);
    for (int i = 0; i < 3; i++) {
        pthread_create(&t[i], NULL, hammer, NULL);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(microlink_connect(shared), ESP_OK);
        usleep(10000);
        assert_int_equal(microlink_disconnect(shared), ESP_OK);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
    }
    microlink_deinit(shared);
}

static void what_is_missing_is_said_in_a_sentence(void **state)
{
    (void)state;
    microlink_config_t c = config();
    shim_nvs.open_error = ESP_ERR_NVS_NOT_INITIALIZED;
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "nvs_flash_init"));
    shim_nvs.open_error = ESP_OK;

    shim_allocs_left = 0;
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "no memory"));
    shim_allocs_left = -1;

    c.ca_file = "/spiffs/ca.pem";
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "ca_pem"));

    c.ca_file = NULL;
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "one per device"));
    microlink_deinit(ml);
    assert_int_equal(shim_nvs.open_count, 0);
}

/** Threads that end free their last blocks a little later. */
static void wait_for_blocks(int count)
{
    for (int i = 0; i < 500 && atomic_load(&shim_blocks) > count; i++) {
        usleep(1000);
    }
    assert_in_range(atomic_load(&shim_blocks), 0, count);
}

static void no_memory_from_any_step_of_init_on_is_said_and_leaves_nothing_behind(void **state)
{
    (void)state;
    wait_for_blocks(1);
    int before = atomic_load(&shim_blocks);
    bool refused = true;
    for (int n = 0; refused; n++) {
        microlink_config_t c = config();
        assert_in_range(n, 0, 100);
        atomic_store(&shim_allocs_left, n);
        microlink_t *ml = microlink_init(&c);
        atomic_store(&shim_allocs_left, -1);
        refused = ml == NULL;
        assert_true(!refused || microlink_get_init_error()[0] != 0);
        microlink_deinit(ml);
        assert_int_equal(shim_nvs.open_count, 0);
        wait_for_blocks(before +
                        1); /* lwIP may have had no memory to give back its end of the wake-up: the next life takes it. */
    }
    wait_for_blocks(before);
}

static void any_one_failed_allocation_is_said_or_got_over_and_leaves_nothing_behind(void **state)
{
    (void)state;
    wait_for_blocks(1);
    int before = atomic_load(&shim_blocks), left = 0, refused = 0;
    for (int n = 1; left == 0; n++) {
        microlink_config_t c = config();
        c.control_url = n % 2 ? NO_SERVER : "http://nothing.example:80";
        c.on_event = count_problem;
        atomic_store(&problems, 0);
        assert_in_range(n, 1, 200);
        atomic_store(&shim_fail_in, n);
        microlink_t *ml = microlink_init(&c);
        if (ml == NULL) {
            refused++;
            assert_int_not_equal(microlink_get_init_error()[0], 0);
        } else {
            assert_int_equal(microlink_connect(ml), ESP_OK);
            wait_for(&problems); /* It has come to what would be said in any case. */
        }
        left = atomic_exchange(&shim_fail_in, 0);
        microlink_deinit(ml);
        assert_int_equal(shim_nvs.open_count, 0);
        wait_for_blocks(before +
                        1); /* lwIP may have had no memory to give back its end of the wake-up: the next life takes it. */
    }
    wait_for_blocks(before);
    assert_in_range(refused, 10, 40);
}

static struct shim_entry *find(const char *key)
{
    for (size_t i = 0; i < SHIM_NVS_ENTRIES; i++) {
        if (strcmp(shim_nvs.entry[i].key, key) == 0) {
            return &shim_nvs.entry[i];
        }
    }
    return NULL;
}

static void a_corrupt_identity_is_set_aside_and_a_later_schema_is_refused(void **state)
{
    (void)state;
    memset(&shim_nvs, 0, sizeof shim_nvs);
    shim_nvs.entry[0] = (struct shim_entry){.key = "identity", .data = "garbage", .len = 7};
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    microlink_deinit(ml);
    assert_non_null(find("bad_identity"));
    assert_memory_equal(find("bad_identity")->data, "garbage", 7);
    assert_int_equal(find("schema")->data[0], 1);
    find("schema")->data[0] = 2;
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "schema 2"));
    find("schema")->data[0] = 1;
}

static void an_identity_that_cannot_be_read_now_is_not_replaced_by_another(void **state)
{
    (void)state;
    memset(&shim_nvs, 0, sizeof shim_nvs);
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    assert_int_equal(microlink_connect(ml), ESP_OK);
    for (int i = 0; i < 500 && find("identity") == NULL; i++) {
        usleep(10000);
    }
    microlink_deinit(ml);
    assert_non_null(find("identity"));
    struct shim_entry kept = *find("identity");
    shim_nvs.read_error = ESP_ERR_NO_MEM;
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "not starting as another node"));
    shim_nvs.read_error = ESP_OK;
    assert_memory_equal(find("identity")->data, kept.data, kept.len);
    ml = microlink_init(&c);
    assert_non_null(ml);
    microlink_deinit(ml);
    assert_memory_equal(find("identity")->data, kept.data, kept.len);
    assert_int_equal(shim_nvs.open_count, 0);
}

static void records_of_any_length_are_read_within_their_room(void **state)
{
    (void)state;
    for (size_t len = 1000; len <= sizeof shim_nvs.entry[0].data; len += 1000) {
        memset(&shim_nvs, 0, sizeof shim_nvs);
        shim_nvs.entry[0] = (struct shim_entry){.key = "cache", .len = len};
        memset(shim_nvs.entry[0].data, 0xa5, len);
        microlink_config_t c = config();
        microlink_t *ml = microlink_init(&c);
        assert_non_null(ml);
        microlink_deinit(ml);
        assert_int_equal(find("bad_cache") != NULL, len <= 2048);
    }
}

static void a_generator_that_repeats_itself_is_refused(void **state)
{
    (void)state;
    microlink_config_t c = config();
    atomic_store(&shim_not_random, 1);
    assert_null(microlink_init(&c));
    assert_non_null(strstr(microlink_get_init_error(), "no randomness"));
    atomic_store(&shim_not_random, 0);
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    microlink_deinit(ml);
    assert_int_equal(shim_nvs.open_count, 0);
}

/** A web server that answers every request alike. */
static struct {
    int fd;
    atomic_int requests;
    const char *answer;
} portal;

static void *serve(void *arg)
{
    (void)arg;
    int fd;
    while ((fd = accept(portal.fd, NULL, NULL)) >= 0) {
        char request[2048];
        if (recv(fd, request, sizeof request, 0) > 0) {
            atomic_fetch_add(&portal.requests, 1);
            (void)send(fd, portal.answer, strlen(portal.answer), MSG_NOSIGNAL);
        }
        close(fd);
    }
    return NULL;
}

static atomic_int said_not_control;

static void on_portal_event(void *ctx, const microlink_event_t *ev)
{
    (void)ctx;
    if (ev->type == MICROLINK_EVENT_PROBLEM && strstr(ev->text, "not as a control server") != NULL) {
        assert_int_equal(ev->error, ESP_FAIL);
        atomic_store(&said_not_control, 1);
    }
}

static void a_captive_portal_in_place_of_control_is_said_and_asked_again_with_pauses(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 43\r\n\r\n<!DOCTYPE html><html>Please log "
        "in</html>\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Length: 0\r\n\r\n"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        char url[40];
        pthread_t t;
        memset(&shim_nvs, 0, sizeof shim_nvs);
        portal.fd = socket(AF_INET, SOCK_STREAM, 0);
        portal.answer = answers[i];
        atomic_store(&portal.requests, 0);
        atomic_store(&said_not_control, 0);
        assert_int_equal(bind(portal.fd, (struct sockaddr *)&a, len), 0);
        assert_int_equal(listen(portal.fd, 8), 0);
        assert_int_equal(getsockname(portal.fd, (struct sockaddr *)&a, &len), 0);
        snprintf(url, sizeof url, "http://127.0.0.1:%u", ntohs(a.sin_port));
        pthread_create(&t, NULL, serve, NULL);
        microlink_config_t c = config();
        c.control_url = url;
        c.on_event = on_portal_event;
        microlink_t *ml = microlink_init(&c);
        assert_non_null(ml);
        assert_int_equal(microlink_connect(ml), ESP_OK);
        wait_for(&said_not_control);
        usleep(3000000);
        for (int more = 0; more < 700 && atomic_load(&portal.requests) < 2; more++) {
            usleep(10000);
        }
        assert_in_range(atomic_load(&portal.requests), 2, 12); /* Again, and not without pause. */
        assert_false(microlink_is_connected(ml));
        microlink_deinit(ml);
        shutdown(portal.fd, SHUT_RDWR);
        pthread_join(t, NULL);
        close(portal.fd);
    }
}

static atomic_int store_failures;

static void on_store_event(void *ctx, const microlink_event_t *ev)
{
    (void)ctx;
    if (ev->type == MICROLINK_EVENT_STORE_FAILED) {
        assert_non_null(strstr(ev->text, "NVS is full"));
        atomic_fetch_add(&store_failures, 1);
    }
}

static void a_full_nvs_is_told_and_not_written_to_without_end(void **state)
{
    (void)state;
    memset(&shim_nvs, 0, sizeof shim_nvs);
    microlink_config_t c = config();
    c.on_event = on_store_event;
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    atomic_store(&store_failures, 0);
    shim_nvs.write_error = ESP_ERR_NVS_NOT_ENOUGH_SPACE;
    assert_int_equal(microlink_connect(ml), ESP_OK);
    wait_for(&store_failures);
    usleep(1000000);
    assert_in_range(atomic_load(&store_failures), 1, 3); /* One for each record. */
    microlink_deinit(ml);
    memset(shim_nvs.entry, 0, sizeof shim_nvs.entry);
    assert_null(microlink_init(&c)); /* Not even the schema's number can be written. */
    assert_non_null(strstr(microlink_get_init_error(), "NVS is full"));
    shim_nvs.write_error = ESP_OK;
    assert_int_equal(shim_nvs.open_count, 0);
}

static void *ask_without_a_semaphore(void *arg)
{
    microlink_t *ml = arg;
    assert_int_equal(microlink_rebind(ml), ESP_OK);
    assert_int_equal(microlink_connect(ml), ESP_OK);
    return NULL;
}

static void a_task_for_which_lwip_has_no_memory_leaves_the_work_to_the_nodes(void **state)
{
    (void)state;
    memset(&shim_nvs, 0, sizeof shim_nvs);
    microlink_config_t c = config();
    c.on_event = count_problem;
    atomic_store(&problems, 0);
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    (void)wakes_when_asleep(); /* The node's task has its own. */
    atomic_store(&shim_no_thread_sem, 1);
    pthread_t t;
    pthread_create(&t, NULL, ask_without_a_semaphore, ml);
    pthread_join(t, NULL);
    wait_for(&problems);
    atomic_store(&shim_no_thread_sem, 0);
    microlink_deinit(ml);
}

static void an_access_point_that_comes_and_goes_costs_a_look_each_time(void **state)
{
    (void)state;
    microlink_config_t c = config();
    c.on_event = count_problem;
    atomic_store(&problems, 0);
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    assert_int_equal(microlink_connect(ml), ESP_OK);
    uint32_t before = microlink_esp_get_wake_count();
    for (int i = 0; i < 200; i++) {
        shim_ip_event();
        usleep(5000);
    }
    wait_for(&problems);
    assert_in_range(microlink_esp_get_wake_count() - before, 1, 600);
    assert_int_equal(microlink_disconnect(ml), ESP_OK);
    microlink_deinit(ml);
    assert_int_equal(shim_nvs.open_count, 0);
}

static void a_factory_reset_of_an_idle_node_erases_the_namespace(void **state)
{
    (void)state;
    memset(&shim_nvs, 0, sizeof shim_nvs);
    shim_nvs.entry[0] = (struct shim_entry){.key = "cache", .data = "x", .len = 1};
    microlink_config_t c = config();
    microlink_t *ml = microlink_init(&c);
    assert_non_null(ml);
    assert_int_equal(microlink_factory_reset(ml), ESP_OK);
    (void)wakes_when_asleep();
    (void)microlink_get_vpn_ip(ml); /* Behind the lock: the task is done with it. */
    assert_null(find("bad_cache"));
    assert_int_equal(microlink_connect(ml), ESP_OK);
    microlink_deinit(ml);
    assert_int_equal(shim_nvs.open_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_task_drives_and_a_server_that_is_not_there_becomes_a_problem_event),
        cmocka_unit_test(an_idle_node_does_not_wake_up),
        cmocka_unit_test(the_beginning_and_the_end_do_not_use_the_callers_stack),
        cmocka_unit_test(an_ip_event_wakes_the_task),
        cmocka_unit_test(the_tunnels_own_address_is_no_change_of_the_network),
        cmocka_unit_test(a_wake_up_without_memory_for_its_packet_is_not_lost),
        cmocka_unit_test(two_hundred_cycles_of_connect_disconnect_and_init_leave_nothing_behind),
        cmocka_unit_test(the_api_may_be_called_from_several_threads_while_the_node_runs),
        cmocka_unit_test(what_is_missing_is_said_in_a_sentence),
        cmocka_unit_test(no_memory_from_any_step_of_init_on_is_said_and_leaves_nothing_behind),
        cmocka_unit_test(any_one_failed_allocation_is_said_or_got_over_and_leaves_nothing_behind),
        cmocka_unit_test(a_corrupt_identity_is_set_aside_and_a_later_schema_is_refused),
        cmocka_unit_test(an_identity_that_cannot_be_read_now_is_not_replaced_by_another),
        cmocka_unit_test(records_of_any_length_are_read_within_their_room),
        cmocka_unit_test(a_generator_that_repeats_itself_is_refused),
        cmocka_unit_test(a_captive_portal_in_place_of_control_is_said_and_asked_again_with_pauses),
        cmocka_unit_test(a_full_nvs_is_told_and_not_written_to_without_end),
        cmocka_unit_test(a_task_for_which_lwip_has_no_memory_leaves_the_work_to_the_nodes),
        cmocka_unit_test(an_access_point_that_comes_and_goes_costs_a_look_each_time),
        cmocka_unit_test(a_factory_reset_of_an_idle_node_erases_the_namespace),
    };
    shim_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
