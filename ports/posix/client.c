/*
 * Words that talk to the daemon (see client.h). The daemon writes the lines; here they are fetched, printed, and turned into
 * an exit status.
 *
 * SPDX-License-Identifier: MIT
 */
#include "client.h"

#include "base/addr.h"
#include "http_client.h"
#include "http_request.h"
#include "loop.h"
#include "microlink/version.h"
#include "udp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define API "/localapi/v0/"

static int complain(const char *what)
{
    fprintf(stderr, "microlink: %s\n", what);
    return 1;
}

/** One line on stderr for a call that got no answer, or a refusal. */
static int failed(const struct ml_options *o, const struct ml_http_answer *a, bool answered)
{
    if (!answered) {
        int e = errno;
        if (a->timed_out) {
            return complain("no answer in time");
        }
        fprintf(stderr, "microlink: no daemon at %s: %s (is `microlink run` running?)\n", o->socket, strerror(e));
        return 1;
    }
    size_t n = a->body_len;
    while (n > 0 && a->body[n - 1] == '\n') {
        n--;
    }
    fprintf(stderr, "microlink: %.*s\n", (int)n, n ? (const char *)a->body : "");
    return 1;
}

/** Fetches and prints. */
static int print_call(const struct ml_options *o, const char *method, const char *path)
{
    struct ml_http_answer a;
    bool ok = ml_http_call(&a, o->socket, method, path, NULL, NULL, 0, 0);
    int status = 0;
    if (!ok || a.status >= 300) {
        status = failed(o, &a, ok);
    } else {
        fwrite(a.body, 1, a.body_len, stdout);
    }
    ml_http_answer_free(&a);
    return status;
}

/** API path with one encoded parameter. False when it is too long. */
static bool path_with(char *out, size_t cap, const char *word, const char *param, const char *value)
{
    char encoded[3 * 256 + 1];
    if (!ml_http_encode(value, encoded, sizeof encoded)) {
        return false;
    }
    int n = snprintf(out, cap, API "microlink/%s?%s=%s", word, param, encoded);
    return n > 0 && (size_t)n < cap;
}

static int word_ip(const struct ml_options *o)
{
    char path[1024] = API "microlink/ip";
    struct ml_http_answer a;
    if (o->arg[0] != NULL && !path_with(path, sizeof path, "ip", "peer", o->arg[0])) {
        return complain("the name is too long");
    }
    bool ok = ml_http_call(&a, o->socket, "GET", path, NULL, NULL, 0, 0);
    if (!ok || a.status != 200) {
        int status = failed(o, &a, ok);
        ml_http_answer_free(&a);
        return status;
    }
    bool printed = false;
    const char *p = (const char *)a.body, *end = p + a.body_len;
    while (p < end && !(o->want1 && printed)) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);
        bool v6 = memchr(p, ':', n) != NULL;
        if ((v6 && !o->want4) || (!v6 && !o->want6)) {
            printf("%.*s\n", (int)n, p);
            printed = true;
        }
        p += n + 1;
    }
    ml_http_answer_free(&a);
    return printed ? 0 : complain(o->want4 ? "no Tailscale IPv4 address" : "no Tailscale IPv6 address");
}

static void pause_us(uint64_t us)
{
    struct timespec ts = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&ts, NULL);
}

/** Results and pauses as `tailscale ping`: one a second (but none after the last), the end at the first direct pong, TSMP and ICMP
 * once. */
static int word_ping(const struct ml_options *o)
{
    char path[1024], full[1100], direct[8];
    bool any = false;
    if (!path_with(path, sizeof path, "ping", "ip", o->arg[0])) {
        return complain("the name is too long");
    }
    snprintf(full, sizeof full, "%s&type=%s", path, o->tsmp ? "TSMP" : o->icmp ? "ICMP" : "disco");
    for (unsigned n = 1;; n++) {
        struct ml_http_answer a;
        bool ok = ml_http_call(&a, o->socket, "POST", full, NULL, NULL, 0, o->timeout_us);
        if (!ok && a.timed_out) {
            printf("ping \"%s\" timed out\n", o->arg[0]);
            fflush(stdout);
        } else if (!ok || a.status != 200) {
            int status = failed(o, &a, ok);
            ml_http_answer_free(&a);
            return status;
        } else {
            fwrite(a.body, 1, a.body_len, stdout);
            fflush(stdout);
            bool is_pong = a.body_len >= 4 && memcmp(a.body, "pong", 4) == 0;
            bool is_direct = ml_http_answer_header(&a, "Microlink-Direct", direct, sizeof direct);
            any = true;
            ml_http_answer_free(&a);
            if (!is_pong || o->tsmp || o->icmp || (is_direct && o->until_direct)) {
                return 0;
            }
            if (n != o->count) {
                pause_us(1000000);
            }
        }
        if (n == o->count) {
            break;
        }
    }
    if (!any) {
        return complain("no reply");
    }
    return o->until_direct ? complain("direct connection not established") : 0;
}

/* ---- Data ---- */

/** Copies both ways between @p fd and standard input and output until the other side ends. */
static int shovel(int fd)
{
    char buf[16384];
    bool input = true;
    for (;;) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = input ? STDIN_FILENO : -1, .events = POLLIN}};
        if (poll(p, 2, -1) < 0) {
            return complain(strerror(errno));
        }
        if (p[1].revents != 0) {
            ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
            if (n <= 0) {
                input = false;
                shutdown(fd, SHUT_WR);
            }
            for (ssize_t at = 0; at < n;) {
                ssize_t sent = send(fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL);
                if (sent <= 0) {
                    return complain("the connection was closed");
                }
                at += sent;
            }
        }
        if (p[0].revents != 0) {
            ssize_t n = recv(fd, buf, sizeof buf, 0);
            if (n == 0) {
                return 0;
            }
            if (n < 0) {
                return complain(strerror(errno));
            }
            fwrite(buf, 1, (size_t)n, stdout);
            fflush(stdout);
        }
    }
}

static bool header_addr(const struct ml_http_answer *a, const char *name, ml_addr *out)
{
    char text[ML_ADDR_TEXT_CAP];
    return ml_http_answer_header(a, name, text, sizeof text) && ml_addr_parse(text, strlen(text), out);
}

static int kernel_socket(int type, const ml_addr *from, const ml_addr *to)
{
    struct sockaddr_storage ss;
    const ml_addr *any = to ? to : from;
    int fd = socket(ml_ip_is6(&any->ip) ? AF_INET6 : AF_INET, type, 0);
    if (fd < 0) {
        return -1;
    }
    socklen_t len;
    if (from != NULL) {
        int one = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        len = ml_sys_sockaddr(from, ml_ip_is6(&from->ip), &ss);
        if (bind(fd, (struct sockaddr *)&ss, len) != 0) {
            close(fd);
            return -1;
        }
    }
    if (to != NULL) {
        len = ml_sys_sockaddr(to, ml_ip_is6(&to->ip), &ss);
        if (connect(fd, (struct sockaddr *)&ss, len) != 0) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

static int word_nc(const struct ml_options *o)
{
    char headers[512];
    struct ml_http_answer a;
    ml_addr to;
    int n = snprintf(headers, sizeof headers, "Upgrade: ts-dial\r\nConnection: upgrade\r\nDial-Host: %s\r\nDial-Port: %s\r\n",
                     o->arg[0], o->arg[1]);
    if (n < 0 || (size_t)n >= sizeof headers || strpbrk(o->arg[0], "\r\n") != NULL) {
        return complain("the host name is too long");
    }
    bool ok = ml_http_call(&a, o->socket, "POST", API "dial", headers, NULL, 0, 0);
    int status;
    if (ok && a.status == 101) {
        fwrite(a.body, 1, a.body_len, stdout);
        status = shovel(a.fd);
    } else if (ok && a.status == 200 && header_addr(&a, "Dial-Addr", &to)) {
        /* TUN mode: the kernel knows the way, and the connection is this user's. */
        int fd = kernel_socket(SOCK_STREAM, NULL, &to);
        status = fd < 0 ? complain(strerror(errno)) : shovel(fd);
        if (fd >= 0) {
            close(fd);
        }
    } else {
        status = failed(o, &a, ok);
    }
    ml_http_answer_free(&a);
    return status;
}

static int word_send(const struct ml_options *o)
{
    char path[1024];
    struct ml_http_answer a;
    ml_addr from, to;
    size_t len = strlen(o->arg[1]);
    if (!path_with(path, sizeof path, "send", "peer", o->arg[0])) {
        return complain("the name is too long");
    }
    bool ok = ml_http_call(&a, o->socket, "POST", path, NULL, o->arg[1], len, 0);
    int status = 0;
    if (ok && a.status == 200 && header_addr(&a, "Dial-Addr", &to) && header_addr(&a, "Dial-From", &from)) {
        int fd = kernel_socket(SOCK_DGRAM, &from, &to);
        if (fd < 0 || send(fd, o->arg[1], len, 0) != (ssize_t)len) {
            status = complain(strerror(errno));
        }
        if (fd >= 0) {
            close(fd);
        }
    } else if (!ok || a.status != 204) {
        status = failed(o, &a, ok);
    }
    ml_http_answer_free(&a);
    return status;
}

/** TUN mode: wait on a socket of our own. */
static int receive_here(const struct ml_options *o, const ml_addr *at)
{
    char buf[2048];
    int fd = kernel_socket(SOCK_DGRAM, at, NULL);
    if (fd < 0) {
        return complain(strerror(errno));
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int status = 1;
    if (poll(&p, 1, o->timeout_us ? (int)(o->timeout_us / 1000) : -1) <= 0) {
        complain("no answer in time");
    } else {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        status = n < 0 ? complain(strerror(errno)) : 0;
        if (n >= 0) {
            printf("%.*s\n", (int)n, buf);
        }
    }
    close(fd);
    return status;
}

static int word_recv(const struct ml_options *o)
{
    struct ml_http_answer a;
    ml_addr at;
    bool ok = ml_http_call(&a, o->socket, "GET", API "microlink/recv", NULL, NULL, 0, o->timeout_us);
    int status = 0;
    if (ok && a.status == 200 && header_addr(&a, "Dial-From", &at)) {
        status = receive_here(o, &at);
    } else if (ok && a.status == 200) {
        printf("%.*s\n", (int)a.body_len, (const char *)a.body);
    } else {
        status = failed(o, &a, ok);
    }
    ml_http_answer_free(&a);
    return status;
}

/* ---- State ---- */

static int word_running(const struct ml_options *o, bool on)
{
    const char *body =
        on ? "{\"WantRunning\":true,\"WantRunningSet\":true}" : "{\"WantRunning\":false,\"WantRunningSet\":true}";
    struct ml_http_answer a;
    bool ok = ml_http_call(&a, o->socket, "PATCH", API "prefs", "Content-Type: application/json\r\n", body, strlen(body), 0);
    int status = ok && a.status == 200 ? 0 : failed(o, &a, ok);
    ml_http_answer_free(&a);
    return status;
}

/** Exit 1 when not on the tailnet, as `tailscale status`. */
static int word_status(const struct ml_options *o)
{
    if (o->json) {
        return print_call(o, "GET", API "status");
    }
    struct ml_http_answer a;
    bool ok = ml_http_call(&a, o->socket, "GET", API "microlink/status", NULL, NULL, 0, 0);
    int status = 0;
    if (!ok || a.status != 200) {
        status = failed(o, &a, ok);
    } else {
        static const char *const off[] = {"Logged out", "Machine is not", "microlink is stopped"};
        fwrite(a.body, 1, a.body_len, stdout);
        for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
            status |= a.body_len >= strlen(off[i]) && memcmp(a.body, off[i], strlen(off[i])) == 0;
        }
    }
    ml_http_answer_free(&a);
    return status;
}

int ml_client_run(const struct ml_options *o)
{
    char path[1024];
    switch (o->word) {
    case ML_WORD_STATUS:
        return word_status(o);
    case ML_WORD_PEERS:
        return print_call(o, "GET", API "microlink/peers");
    case ML_WORD_NETCHECK:
        return print_call(o, "POST", API "microlink/netcheck");
    case ML_WORD_WHOIS:
        if (!path_with(path, sizeof path, "whois", "addr", o->arg[0])) {
            return complain("the address is too long");
        }
        if (o->json) {
            memmove(path + sizeof API - 1, path + sizeof API - 1 + 10, strlen(path + sizeof API - 1 + 10) + 1);
        }
        return print_call(o, "GET", path);
    case ML_WORD_IP:
        return word_ip(o);
    case ML_WORD_PING:
        return word_ping(o);
    case ML_WORD_NC:
        return word_nc(o);
    case ML_WORD_SEND:
        return word_send(o);
    case ML_WORD_RECV:
        return word_recv(o);
    case ML_WORD_DOWN:
        return word_running(o, false);
    case ML_WORD_UP:
        return word_running(o, true);
    case ML_WORD_LOGOUT:
        return print_call(o, "POST", API "logout");
    default:
        return 2;
    }
}
