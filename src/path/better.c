/*
 * Comparison of two working paths. dataplane.md 4.5. SPDX-License-Identifier: MIT
 */
#include "path/better.h"

#include "base/addr.h"

static bool same_place(const struct ml_path_quality *a, const struct ml_path_quality *b)
{
    return ml_addr_equal(&a->addr, &b->addr) && a->is_relay == b->is_relay && (!a->is_relay || a->vni == b->vni);
}

/* How much nearer an address is than the internet, before any measurement. */
static unsigned kind_points(const ml_ip *ip)
{
    unsigned points = ml_ip_is6(ip) ? 10 : 0;
    if (ml_ip_is_loopback(ip)) {
        return points + 50;
    }
    if (ml_ip_is_link_local(ip)) {
        return points + 30;
    }
    return ml_ip_is_private(ip) ? points + 20 : points;
}

/* Percent by which `fast` is below `slow`, in whole points as integer division leaves them. */
static unsigned latency_points(ml_time fast, ml_time slow)
{
    return (unsigned)(100 - fast * 100 / slow);
}

bool ml_path_better(const struct ml_path_quality *a, const struct ml_path_quality *b)
{
    if (same_place(a, b)) {
        return a->wire_mtu > b->wire_mtu;
    }
    if (!ml_ip_is_set(&b->addr.ip)) {
        return true;
    }
    if (!ml_ip_is_set(&a->addr.ip)) {
        return false;
    }
    if (a->is_relay != b->is_relay) {
        return b->is_relay;
    }
    unsigned a_points = kind_points(&a->addr.ip), b_points = kind_points(&b->addr.ip);
    if (a->latency > b->latency) {
        b_points += latency_points(b->latency, a->latency);
    } else if (b->latency > 0) {
        a_points += latency_points(a->latency, b->latency);
    }
    /* A one-percent gain is noise: without the rule two equal paths would take turns. */
    if (a_points <= 1 && b_points == 0) {
        return false;
    }
    return a_points > b_points;
}
