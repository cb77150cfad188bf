/*
 * The control client on plain sockets, for the Go tests: joins a control server over http, prints events and deltas, takes
 * commands on standard input. No TLS: an attempt that wants it is answered "refused".
 *
 * Usage: control_client URL CAPVER HOSTNAME MACHINE_HEX NODE_HEX|- AUTHKEY|- SERVER_KEY_HEX|-
 * Commands: home N | disco HEX | endpoint A:P | auth KEY | logout | rebind | stop | quit
 *
 * SPDX-License-Identifier: MIT
 */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../unit/control/delta_text.h"
#include "control/control.h"

#define SOCKETS 4

struct conn {
    uint32_t id;
    int fd;
    int is_open;
};

static struct ml_control control;
static struct ml_control_published published;
static struct conn conns[SOCKETS];
static uint8_t tx[4096];

static ml_time now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (ml_time)ts.tv_sec * 1000000 + (ml_time)ts.tv_nsec / 1000;
}

static void fill(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    while (len > 0) {
        ssize_t n = getrandom(buf, len, 0);
        if (n > 0) {
            buf += n;
            len -= (size_t)n;
        }
    }
}

static void print_delta(void *ctx, const struct ml_delta *d)
{
    (void)ctx;
    char line[8192];
    printf("delta %s\n", delta_text(d, line, sizeof line));
}

static const struct ml_delta_sink sink = {.fn = print_delta};

static void print_log(void *ctx, ml_log_level level, const char *line)
{
    (void)ctx;
    printf("log %d %s\n", level, line);
}

static void drop(struct conn *c)
{
    close(c->fd);
    c->id = 0;
}

static void open_stream(const ml_stream_open *o)
{
    printf("open id=%u %s:%u tls=%d verify=%s advisory=%d\n", o->id, o->host, o->port, o->tls,
           o->verify_name ? o->verify_name : "", o->verify_advisory);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o->port)};
    struct conn *c = conns;
    while (c < conns + SOCKETS && c->id) {
        c++;
    }
    if (o->tls || c == conns + SOCKETS || inet_pton(AF_INET, o->host, &to.sin_addr) != 1) {
        ml_control_on_closed(&control, now_us(), o->id, ML_CLOSE_REFUSED, NULL, &sink);
        return;
    }
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->id = o->id;
    c->is_open = 0;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        drop(c);
        ml_control_on_closed(&control, now_us(), o->id, ML_CLOSE_REFUSED, NULL, &sink);
    }
}

static void print_key(const char *what, const uint8_t b[32])
{
    printf("%s ", what);
    for (int i = 0; i < 32; i++) {
        printf("%02x", b[i]);
    }
}

static void drain(void)
{
    ml_stream_open open;
    bool has_open = false;
    uint32_t close_id = 0;
    while (ml_control_poll_stream(&control, now_us(), &open, &has_open, &close_id)) {
        for (int i = 0; close_id && i < SOCKETS; i++) {
            if (conns[i].id == close_id) {
                drop(&conns[i]);
            }
        }
        if (has_open) {
            open_stream(&open);
        }
    }
    struct ml_control_event ev;
    while (ml_control_poll_event(&control, &ev)) {
        uint8_t pub[32] = {0};
        switch (ev.type) {
        case ML_CONTROL_EV_STATE:
            printf("event state %d\n", ev.state);
            break;
        case ML_CONTROL_EV_IDENTITY:
            if (ev.node_key) {
                ml_x25519_base(pub, ev.node_key);
                print_key("event identity", pub);
                print_key("", ev.node_key->b);
                printf("\n");
            } else {
                printf("event identity none\n");
            }
            break;
        case ML_CONTROL_EV_SERVER_KEY:
            print_key("event serverkey", ev.server_key->b);
            printf("\n");
            break;
        case ML_CONTROL_EV_REGISTERED:
            printf("event registered %llu %s\n", (unsigned long long)ev.user_id, ev.user_login);
            break;
        case ML_CONTROL_EV_LOGIN_URL:
            printf("event login %s\n", ev.text);
            break;
        case ML_CONTROL_EV_PROBLEM:
            printf("event problem %d %s\n", ev.problem, ev.text);
            break;
        case ML_CONTROL_EV_RUNNING:
            printf("event running\n");
            break;
        case ML_CONTROL_EV_STREAM_ENDED:
            printf("event ended\n");
            break;
        case ML_CONTROL_EV_REREGISTER:
            printf("event reregister\n");
            break;
        default:
            break;
        }
    }
    fflush(stdout);
}

static void pump_socket(struct conn *c, short revents)
{
    const uint8_t *p = NULL;
    uint32_t id = c->id;
    if (!c->is_open && (revents & (POLLOUT | POLLERR | POLLHUP))) {
        int err = 0;
        socklen_t n = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n);
        if (err) {
            drop(c);
            ml_control_on_closed(&control, now_us(), id, ML_CLOSE_REFUSED, strerror(err), &sink);
            return;
        }
        c->is_open = 1;
        ml_control_on_opened(&control, now_us(), id);
    }
    size_t len = 0;
    while (c->id == id && (len = ml_control_tx_peek(&control, id, &p)) > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        ml_control_tx_done(&control, now_us(), id, (size_t)n);
    }
    if (c->is_open && (revents & (POLLIN | POLLHUP | POLLERR))) {
        uint8_t buf[1500];
        ssize_t n = recv(c->fd, buf, sizeof buf, MSG_PEEK); /* peek first: what is not taken stays in the socket */
        if (n > 0) {
            size_t used = 0;
            ml_control_on_data(&control, now_us(), id, buf, (size_t)n, &used, &sink);
            if (used && c->id == id) {
                (void)!recv(c->fd, buf, used, 0);
            }
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            drop(c);
            ml_control_on_closed(&control, now_us(), id, n == 0 ? ML_CLOSE_EOF : ML_CLOSE_RESET, NULL, &sink);
        }
    }
}

static int command(char *line)
{
    char *arg = strchr(line, ' ');
    if (arg) {
        *arg++ = 0;
    }
    if (!strcmp(line, "home")) {
        published.home_region = (uint16_t)atoi(arg ? arg : "0");
        ml_control_set_published(&control, now_us(), &published);
    } else if (!strcmp(line, "disco")) {
        ml_hex_parse(arg, strlen(arg), published.disco.b, 32);
        ml_control_set_published(&control, now_us(), &published);
    } else if (!strcmp(line, "endpoint")) {
        ml_addr_parse(arg, strlen(arg), &published.endpoints[published.endpoint_count]);
        published.endpoint_types[published.endpoint_count++] = 2;
        ml_control_set_published(&control, now_us(), &published);
    } else if (!strcmp(line, "auth")) {
        ml_control_set_auth_key(&control, now_us(), arg);
    } else if (!strcmp(line, "logout")) {
        ml_control_logout(&control, now_us());
    } else if (!strcmp(line, "rebind")) {
        ml_control_rebind(&control, now_us());
    } else if (!strcmp(line, "stop")) {
        ml_control_stop(&control, now_us());
    } else if (!strcmp(line, "quit")) {
        return 0;
    }
    return 1;
}

static char input[4096];
static size_t input_len;

static int read_commands(void)
{
    ssize_t n = read(0, input + input_len, sizeof input - input_len);
    if (n <= 0) {
        return 0;
    }
    input_len += (size_t)n;
    char *end = NULL;
    while ((end = memchr(input, '\n', input_len)) != NULL) {
        *end = 0;
        if (!command(input)) {
            return 0;
        }
        size_t used = (size_t)(end + 1 - input);
        memmove(input, input + used, input_len - used);
        input_len -= used;
    }
    return input_len < sizeof input;
}

int main(int argc, char **argv)
{
    if (argc != 8 || !ml_crypto_init()) {
        fprintf(stderr, "usage: control_client URL CAPVER HOSTNAME MACHINE_HEX NODE_HEX|- AUTHKEY|- SERVER_KEY_HEX|-\n");
        return 2;
    }
    static const ml_random rng = {.fill = fill};
    static const struct ml_log log = {.fn = print_log, .level = ML_LOG_DEBUG};
    struct ml_control_cfg cfg = {.capver = (uint16_t)atoi(argv[2]),
                                 .hostname = argv[3],
                                 .os = "linux",
                                 .random = &rng,
                                 .log = &log,
                                 .tx = tx,
                                 .tx_len = sizeof tx};
    struct ml_control_identity id = {0};
    if (!ml_control_parse_url(argv[1], &cfg.url) || !ml_hex_parse(argv[4], strlen(argv[4]), cfg.machine_key.b, 32) ||
        (argv[5][0] != '-' && !ml_hex_parse(argv[5], strlen(argv[5]), id.node_key.b, 32)) ||
        (argv[7][0] != '-' && !ml_hex_parse(argv[7], strlen(argv[7]), cfg.server_key.b, 32)) ||
        !ml_control_init(&control, &cfg)) {
        fprintf(stderr, "bad argument\n");
        return 2;
    }
    fill(NULL, published.disco.b, 32);
    published.working_udp = ML_CONTROL_TRUE;
    print_key("disco", published.disco.b);
    printf("\n");
    ml_control_set_published(&control, now_us(), &published);
    if (argv[6][0] != '-') {
        ml_control_set_auth_key(&control, now_us(), argv[6]);
    }
    ml_control_start(&control, now_us(), &id);
    for (;;) {
        drain();
        struct pollfd fds[SOCKETS + 1] = {{.fd = 0, .events = POLLIN}};
        for (int i = 0; i < SOCKETS; i++) {
            const uint8_t *p = NULL;
            bool has_tx = conns[i].id && (!conns[i].is_open || ml_control_tx_peek(&control, conns[i].id, &p) > 0);
            fds[i + 1].fd = conns[i].id ? conns[i].fd : -1;
            fds[i + 1].events = (short)(has_tx ? POLLIN | POLLOUT : POLLIN);
        }
        ml_time at = ml_control_deadline(&control);
        ml_time now = now_us();
        int wait = at == ML_NEVER ? 1000 : (at <= now ? 0 : (int)((at - now) / 1000 < 1000 ? (at - now) / 1000 + 1 : 1000));
        poll(fds, SOCKETS + 1, wait);
        if (fds[0].revents && !read_commands()) {
            break;
        }
        for (int i = 0; i < SOCKETS; i++) {
            if (conns[i].id && fds[i + 1].revents) {
                pump_socket(&conns[i], fds[i + 1].revents);
            }
        }
        ml_control_on_time(&control, now_us(), &sink);
    }
    ml_control_clear(&control);
    return 0;
}
