/*
 * Look-ups by lwIP's resolver (resolver.h), without a thread: it calls back in its own.
 *
 * A look-up is owned by two sides, the node and lwIP's thread; the last to let go frees it. IPv4 is asked first, then IPv6
 * if the device has a global address of it. Answers are handed over by ml_resolver_poll() in the driving task.
 *
 * SPDX-License-Identifier: MIT
 */
#include "resolver.h"

#include "base/addr.h"
#include "esp_port.h"
#include "lwip/dns.h"
#include "lwip/netif.h"
#include "lwip/tcpip.h"
#include "sdkconfig.h"
#include "wake.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct ml_lookup {
    char host[256];
    uint32_t token;
    ml_resolved_fn fn;
    void *ctx;
    ml_ip ips[ML_RESOLVER_ADDRS];
    size_t count;
    bool asked6;
    atomic_bool done;
    atomic_int owners;
};

static void ask(struct ml_lookup *l);

static void release(struct ml_lookup *l)
{
    if (atomic_fetch_sub(&l->owners, 1) == 1) {
        free(l);
    }
}

/* ---- In lwIP's thread ---- */

static void take(struct ml_lookup *l, const ip_addr_t *ip)
{
    if (ip == NULL || l->count == ML_RESOLVER_ADDRS) {
        return;
    }
#if CONFIG_LWIP_IPV6
    if (IP_IS_V6(ip)) {
        uint8_t b[16];
        memcpy(b, &ip->u_addr, sizeof b);
        l->ips[l->count++] = ml_ip_from16(b);
        return;
    }
#endif
    l->ips[l->count++] = ml_ip_from4((const uint8_t *)&ip_2_ip4(ip)->addr);
}

#if CONFIG_LWIP_IPV6
static bool has_global6(void)
{
    for (struct netif *n = netif_list; n != NULL; n = n->next) {
        for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
            if (ip6_addr_isvalid(netif_ip6_addr_state(n, i)) && ip6_addr_isglobal(netif_ip6_addr(n, i))) {
                return true;
            }
        }
    }
    return false;
}
#endif

static void answered(struct ml_lookup *l, const ip_addr_t *ip)
{
    take(l, ip);
#if CONFIG_LWIP_IPV6
    if (!l->asked6 && has_global6()) {
        l->asked6 = true;
        ask(l);
        return;
    }
#endif
    atomic_store(&l->done, true);
    release(l);
    ml_wake_from_tcpip();
}

static void found(const char *name, const ip_addr_t *ip, void *arg)
{
    (void)name;
    answered(arg, ip);
}

static void ask(struct ml_lookup *l)
{
    ip_addr_t ip;
    u8_t type = LWIP_DNS_ADDRTYPE_IPV4;
#if CONFIG_LWIP_IPV6
    type = l->asked6 ? LWIP_DNS_ADDRTYPE_IPV6 : type;
#endif
    err_t err = dns_gethostbyname_addrtype(l->host, &ip, found, l, type);
    if (err != ERR_INPROGRESS) {
        answered(l, err == ERR_OK ? &ip : NULL);
    }
}

static void begin(void *arg)
{
    ask(arg);
}

/* ---- In the driving task ---- */

bool ml_resolver_open(struct ml_resolver *r, struct ml_loop *loop)
{
    *r = (struct ml_resolver){.loop = loop, .pipe = {-1, -1}, .slot = -1};
    return true;
}

void ml_resolver_close(struct ml_resolver *r)
{
    for (size_t i = 0; i < ML_RESOLVER_SLOTS; i++) {
        if (r->lookup[i] != NULL) {
            release(r->lookup[i]);
            r->lookup[i] = NULL;
        }
    }
}

bool ml_resolver_start(struct ml_resolver *r, const char *host, uint32_t token, ml_resolved_fn fn, void *ctx)
{
    size_t slot = 0;
    while (slot < ML_RESOLVER_SLOTS && r->lookup[slot] != NULL) {
        slot++;
    }
    if (slot == ML_RESOLVER_SLOTS || strlen(host) >= sizeof r->lookup[0]->host) {
        return false;
    }
    struct ml_lookup *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return false;
    }
    strcpy(l->host, host);
    l->token = token;
    l->fn = fn;
    l->ctx = ctx;
    atomic_init(&l->owners, 2);
    if (tcpip_callback(begin, l) != ERR_OK) {
        free(l);
        return false;
    }
    r->lookup[slot] = l;
    return true;
}

void ml_resolver_cancel(struct ml_resolver *r, const void *ctx, uint32_t token)
{
    for (size_t i = 0; i < ML_RESOLVER_SLOTS; i++) {
        struct ml_lookup *l = r->lookup[i];
        if (l != NULL && l->ctx == ctx && l->token == token) {
            r->lookup[i] = NULL;
            release(l);
        }
    }
}

void ml_resolver_poll(struct ml_resolver *r)
{
    for (size_t i = 0; i < ML_RESOLVER_SLOTS; i++) {
        struct ml_lookup *l = r->lookup[i];
        if (l != NULL && atomic_load(&l->done)) {
            r->lookup[i] = NULL;
            l->fn(l->ctx, l->token, l->ips, l->count);
            release(l);
        }
    }
}
