/*
 * The control URL, and which ports to try for it. Source: control.md 3.1 (control/ts2021 of the official module).
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/addr.h"
#include "control/control_internal.h"

static bool has_prefix(const char **s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*s, prefix, n) != 0) {
        return false;
    }
    *s += n;
    return true;
}

bool ml_control_parse_url(const char *url, struct ml_control_url *out)
{
    ml_zero(out);
    const char *s = url;
    if (has_prefix(&s, "https://")) {
        out->is_tls = true;
    } else if (!has_prefix(&s, "http://")) {
        return false;
    }
    const char *host = s;
    size_t host_len = 0;
    if (*s == '[') { /* IPv6 literal: stored without the brackets */
        host = ++s;
        host_len = strcspn(s, "]");
        s += host_len;
        if (*s != ']') {
            return false;
        }
        s++;
    } else {
        host_len = strcspn(s, ":/?#@");
        s += host_len;
    }
    if (host_len == 0 || !ml_str_copy(out->host, sizeof out->host, host, host_len)) {
        return false;
    }
    for (size_t i = 0; i < host_len; i++) { /* it goes into a request header as it is */
        if ((uint8_t)host[i] <= 0x20 || (uint8_t)host[i] >= 0x7f) {
            return false;
        }
    }
    if (*s == ':') {
        s++;
        size_t n = strspn(s, "0123456789");
        uint64_t port = 0;
        if (!ml_dec_parse(s, n, &port) || port == 0 || port > 65535) {
            return false;
        }
        out->port = (uint16_t)port;
        s += n;
    }
    while (*s == '/') {
        s++;
    }
    return *s == '\0';
}

/* http with such a host never gets a TLS attempt: nothing could hold a certificate for it. */
static bool is_private_host(const char *host)
{
    ml_ip ip;
    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    return ml_ip_parse(host, strlen(host), &ip) && (ml_ip_is_private(&ip) || ml_ip_is_loopback(&ip));
}

void ml_control_dial_ports(const struct ml_control_url *url, uint16_t *plain, uint16_t *tls)
{
    if (url->is_tls) {
        *plain = 80;
        *tls = url->port ? url->port : 443;
    } else {
        *plain = url->port ? url->port : 80;
        *tls = is_private_host(url->host) ? 0 : 443;
    }
}

uint16_t ml_control_url_port(const struct ml_control_url *url)
{
    if (url->port) {
        return url->port;
    }
    return url->is_tls ? 443 : 80;
}

void ml_control_write_host(struct ml_writer *w, const char *host, uint16_t port, bool is_tls)
{
    bool is_ip6 = strchr(host, ':') != NULL;
    ml_write_str(w, is_ip6 ? "[" : "");
    ml_write_str(w, host);
    ml_write_str(w, is_ip6 ? "]" : "");
    if (port != (is_tls ? 443 : 80)) {
        ml_write_str(w, ":");
        ml_write_dec(w, port);
    }
}
