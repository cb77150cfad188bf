/*
 * The underlay: links, NATs, STUN servers, and the way of a datagram through them.
 *
 * A datagram climbs from its node through the NATs around it, each rewriting its source, until it is where its destination
 * can be found (same LAN, the NAT's own outside address, the Internet); there it is in flight for the latency of both links;
 * then it descends through the destination's NATs, each asking whether it sent anything to that source lately. NAT tables are
 * read at the instant a packet passes, so two packets that cross in flight behave as on a real network.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "stun/stun_msg.h"

#include <stdlib.h>
#include <string.h>

const char *const sim_kind_names[SIM_KIND_COUNT] = {"none", "easy", "hard", "cgnat", "blocked", "v6"};

#define HELD_BACK  ML_MSEC(30)
#define LAN_DELAY  300 /* microseconds */
#define PORT_FIRST 1024

bool sim_link_cross(struct sim *w, const struct sim_link *l, ml_time *delay)
{
    *delay += l->latency + sim_below(w, (unsigned)l->jitter + 1);
    if (sim_chance(w, l->reorder)) {
        *delay += HELD_BACK;
    }
    return !sim_chance(w, l->loss);
}

void sim_set_loss(struct sim *w, unsigned i, unsigned per_mille)
{
    /* Of a path that crosses two such links: half each, and a little more for what the first has already lost. */
    w->n[i].link.loss = per_mille / 2 + per_mille * per_mille / 8000;
}

/* ---- NATs ---- */

int sim_nat_add(struct sim *w, enum sim_nat_type type, int up)
{
    unsigned at = 0;
    while (at < SIM_NATS && w->nats[at].is_used) {
        at++;
    }
    if (at == SIM_NATS) {
        abort();
    }
    struct sim_nat *nat = &w->nats[at];
    uint8_t host = (uint8_t)(10 + w->nats_made++ % 240);
    memset(nat, 0, sizeof *nat);
    nat->is_used = true;
    nat->type = type;
    nat->up = up;
    nat->keeps_port = type == SIM_NAT_EASY;
    nat->refreshes_inbound = sim_chance(w, 500);
    nat->timeout = ML_SEC(30 + sim_below(w, 91));
    /* Outside addresses: of the carrier's own range inside a carrier NAT, else of the Internet. */
    nat->wan = up >= 0 ? ml_ip4(100, 64, (uint8_t)up, host) : ml_ip4(203, 0, 113, host);
    w->nat_count = at < w->nat_count ? w->nat_count : at + 1;
    return (int)at;
}

static bool is_live(const struct sim_nat *nat, const struct sim_flow *f, ml_time now)
{
    return f->at != 0 && now - f->at < nat->timeout;
}

void sim_nat_forget(struct sim *w, int nat)
{
    memset(w->nats[nat].flows, 0, sizeof w->nats[nat].flows);
}

static bool is_port_taken(const struct sim_nat *nat, ml_time now, uint16_t port)
{
    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        if (is_live(nat, &nat->flows[i], now) && nat->flows[i].port == port) {
            return true;
        }
    }
    return false;
}

/* Somebody behind another NAT has sent to this port of ours: drawing it would be a direct path by luck, where the check of a
 * run wants to know whether there is one by right. */
static bool is_port_awaited(const struct sim *w, const struct sim_nat *nat, uint16_t port)
{
    const ml_addr outside = {.ip = nat->wan, .port = port};
    for (unsigned i = 0; i < w->nat_count; i++) {
        for (unsigned k = 0; w->nats[i].is_used && k < SIM_FLOWS; k++) {
            const struct sim_flow *f = &w->nats[i].flows[k];
            if (is_live(&w->nats[i], f, w->now) && ml_addr_equal(&f->remote, &outside)) {
                return true;
            }
        }
    }
    return false;
}

/* The outside port of a packet from `inside` to `remote`. */
static uint16_t nat_out(struct sim *w, struct sim_nat *nat, const ml_addr *inside, const ml_addr *remote)
{
    struct sim_flow *room = &nat->flows[0];
    uint16_t port = 0;
    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        struct sim_flow *f = &nat->flows[i];
        if (is_live(nat, f, w->now) && ml_addr_equal(&f->inside, inside)) {
            if (ml_addr_equal(&f->remote, remote)) {
                f->at = w->now;
                return f->port;
            }
            if (nat->type != SIM_NAT_HARD) {
                port = f->port;
            }
        }
        if (f->at < room->at) {
            room = f;
        }
    }
    if (port == 0 && (nat->type == SIM_NAT_FIREWALL || (nat->keeps_port && !is_port_taken(nat, w->now, inside->port)))) {
        port = inside->port;
    }
    while (port == 0 || (nat->type == SIM_NAT_HARD && (is_port_taken(nat, w->now, port) || is_port_awaited(w, nat, port)))) {
        port = (uint16_t)(PORT_FIRST + sim_below(w, 65536 - PORT_FIRST));
    }
    *room = (struct sim_flow){.inside = *inside, .remote = *remote, .port = port, .at = w->now};
    return port;
}

/* Lets a packet in: `dst` becomes the inside address. */
static bool nat_in(struct sim *w, struct sim_nat *nat, const ml_addr *src, ml_addr *dst)
{
    for (unsigned i = 0; i < SIM_FLOWS; i++) {
        struct sim_flow *f = &nat->flows[i];
        if (is_live(nat, f, w->now) && f->port == dst->port && ml_addr_equal(&f->remote, src) &&
            (nat->type != SIM_NAT_FIREWALL || ml_ip_equal(&f->inside.ip, &dst->ip))) {
            if (nat->refreshes_inbound) {
                f->at = w->now;
            }
            *dst = f->inside;
            return true;
        }
    }
    return false;
}

/* ---- Places ---- */

void sim_place(struct sim *w, unsigned i, int nat, unsigned lan)
{
    struct sim_node *n = &w->n[i];
    n->nat = nat;
    n->lan = lan;
    /* Home networks all look alike, so a peer's local address often is somebody else's here, or our own. */
    uint8_t host = (uint8_t)(2 + sim_below(w, 3));
    for (unsigned k = 0; nat >= 0 && k < w->count; k++) {
        if (k != i && w->n[k].nat == nat && w->n[k].lan == lan) {
            host = (uint8_t)(100 + i);
        }
    }
    n->local4.port = SIM_PORT;
    n->local4.ip =
        nat >= 0 ? ml_ip4(192, 168, (uint8_t)(1 + lan), host) : ml_ip4(192, 0, 2, (uint8_t)(1 + i + 32 * sim_below(w, 7)));
}

static bool is_behind(const struct sim *w, const struct sim_node *n, int nat)
{
    bool is = n->nat6 == nat;
    for (int at = n->nat; at >= 0; at = w->nats[at].up) {
        is |= at == nat;
    }
    return is;
}

/* NATs that nobody else is behind go with the node. */
static void leave(struct sim *w, unsigned i)
{
    for (unsigned at = 0; at < w->nat_count; at++) {
        bool is_shared = !is_behind(w, &w->n[i], (int)at);
        for (unsigned k = 0; k < w->count; k++) {
            is_shared |= k != i && is_behind(w, &w->n[k], (int)at);
        }
        w->nats[at].is_used &= is_shared;
    }
}

void sim_place_kind(struct sim *w, unsigned i, enum sim_kind kind)
{
    struct sim_node *n = &w->n[i];
    int outer = -1;
    leave(w, i);
    n->nat = -1;
    n->kind = kind;
    n->is_udp_blocked = kind == SIM_BLOCKED;
    n->local6 = (ml_addr){0};
    n->nat6 = -1;
    switch (kind) {
    case SIM_NONE:
    case SIM_BLOCKED:
    case SIM_KIND_COUNT:
        sim_place(w, i, -1, 0);
        break;
    case SIM_EASY:
        sim_place(w, i, sim_nat_add(w, SIM_NAT_EASY, -1), 0);
        break;
    case SIM_HARD:
        sim_place(w, i, sim_nat_add(w, SIM_NAT_HARD, -1), 0);
        break;
    case SIM_CGNAT:
        outer = sim_nat_add(w, SIM_NAT_EASY, -1);
        w->nats[outer].keeps_port = false;
        sim_place(w, i, sim_nat_add(w, SIM_NAT_EASY, outer), 0);
        break;
    case SIM_V6:
        sim_place(w, i, sim_nat_add(w, SIM_NAT_HARD, -1), 0);
        n->nat6 = sim_nat_add(w, SIM_NAT_FIREWALL, -1);
        (void)ml_ip_parse("2001:db8::", 10, &n->local6.ip);
        n->local6.ip.b[5] = (uint8_t)(i + 1);
        n->local6.ip.b[15] = (uint8_t)(1 + sim_below(w, 200));
        n->local6.port = SIM_PORT;
        break;
    }
}

void sim_move(struct sim *w, unsigned i, enum sim_kind kind)
{
    struct sim_node *n = &w->n[i];
    sim_place_kind(w, i, kind);
    sim_derp_cut(w, i);
    ml_addr local[2] = {n->local4, n->local6};
    ml_set_local_addrs(n->ml, w->now, local, ml_addr_is_set(&n->local6) ? 2 : 1);
    ml_rebind(n->ml, w->now);
    sim_drain(w, i);
}

/* ---- The way up ---- */

static struct sim_event *in_flight(struct sim *w, ml_time delay, enum sim_event_type type, const ml_addr *src,
                                   const ml_addr *dst, const uint8_t *data, size_t len)
{
    struct sim_event *ev = sim_push(w, w->now + delay, type);
    ev->nat = -1;
    ev->src = *src;
    ev->dst = *dst;
    ev->data = malloc(len ? len : 1); /* exact size: a read past the end is seen */
    if (!ev->data) {
        abort();
    }
    memcpy(ev->data, data, len);
    ev->len = len;
    return ev;
}

static int find_node(const struct sim *w, const ml_addr *a, int nat)
{
    for (unsigned k = 0; k < w->count; k++) {
        const struct sim_node *n = &w->n[k];
        if (n->nat == nat && ml_addr_equal(&n->local4, a)) {
            return (int)k;
        }
    }
    return -1;
}

static void send6(struct sim *w, unsigned from, const ml_addr *dst, const uint8_t *data, size_t len)
{
    struct sim_node *n = &w->n[from];
    ml_time delay = 0;
    if (!ml_addr_is_set(&n->local6)) {
        return;
    }
    (void)nat_out(w, &w->nats[n->nat6], &n->local6, dst);
    if (sim_link_cross(w, &n->link, &delay)) {
        in_flight(w, delay, SIM_EV_PACKET, &n->local6, dst, data, len);
    }
}

void sim_net_send(struct sim *w, unsigned from, const ml_addr *dst, const uint8_t *data, size_t len)
{
    struct sim_node *n = &w->n[from];
    ml_addr src = n->local4;
    ml_time delay = 0;
    if (n->is_udp_blocked) {
        return;
    }
    if (ml_ip_is6(&dst->ip)) {
        send6(w, from, dst, data, len);
        return;
    }
    if (n->nat >= 0 && memcmp(dst->ip.b, src.ip.b, 15) == 0) { /* the local network, a /24 */
        for (unsigned k = 0; k < w->count; k++) {
            if (w->n[k].nat == n->nat && w->n[k].lan == n->lan && ml_addr_equal(&w->n[k].local4, dst)) {
                in_flight(w, LAN_DELAY, SIM_EV_LAN, &src, dst, data, len)->node = k;
                return;
            }
        }
        return;
    }
    bool is_lost = !sim_link_cross(w, &n->link, &delay);
    for (int at = n->nat; at >= 0; at = w->nats[at].up) {
        struct sim_nat *nat = &w->nats[at];
        src.port = nat_out(w, nat, &src, dst);
        src.ip = nat->wan;
        if (ml_ip_equal(&dst->ip, &nat->wan)) {
            if (nat->does_hairpin && !is_lost) {
                in_flight(w, delay, SIM_EV_PACKET, &src, dst, data, len)->nat = at;
            }
            return;
        }
    }
    if (!is_lost && !ml_ip_is_private(&dst->ip)) {
        in_flight(w, delay, SIM_EV_PACKET, &src, dst, data, len);
    }
}

void sim_net_inject(struct sim *w, const ml_addr *src, const ml_addr *dst, const uint8_t *data, size_t len)
{
    in_flight(w, ML_MSEC(5), SIM_EV_PACKET, src, dst, data, len);
}

/* ---- The way down ---- */

static void stun_answer(struct sim *w, const struct sim_relay *r, const struct sim_event *ev)
{
    uint8_t msg[32];
    ml_time delay = 0;
    if (ev->len != ML_STUN_REQUEST_LEN || !ml_stun_is_binding(ev->data, ev->len) || ev->data[0] != 0) {
        return;
    }
    memcpy(msg, ev->data, ML_STUN_HEADER_LEN);
    ml_put_be16(msg, 0x0101);
    ml_put_be16(msg + 2, 12);
    ml_put_be16(msg + 20, 0x0020); /* XOR-MAPPED-ADDRESS */
    ml_put_be16(msg + 22, 8);
    ml_put_be16(msg + 24, 0x0001);
    ml_put_be16(msg + 26, (uint16_t)(ev->src.port ^ 0x2112));
    ml_put_be32(msg + 28, ml_ip4_to_u32(&ev->src.ip) ^ UINT32_C(0x2112a442));
    if (sim_link_cross(w, &r->link, &delay)) {
        in_flight(w, delay, SIM_EV_PACKET, &ev->dst, &ev->src, msg, sizeof msg);
    }
}

static void give(struct sim *w, unsigned k, const struct sim_event *ev)
{
    struct sim_node *n = &w->n[k];
    if (n->is_suspended || n->is_udp_blocked || !n->ml) {
        return;
    }
    if (w->is_capturing && w->capture_of == k && ev->len <= sizeof w->captured[0] && sim_chance(w, 20)) {
        unsigned at = w->captured_len[0] ? sim_below(w, SIM_CAPTURES) : 0;
        memcpy(w->captured[at], ev->data, ev->len);
        w->captured_len[at] = ev->len;
    }
    ml_err err = ml_handle_datagram(n->ml, w->now, &ev->src, ev->data, ev->len);
    sim_drain(w, k);
    if (err == ML_ERR_FULL) {
        (void)ml_handle_datagram(n->ml, w->now, &ev->src, ev->data, ev->len);
        sim_drain(w, k);
    }
}

/* The last link is crossed after the way through the NATs is found, which is where it begins. */
static void deliver(struct sim *w, unsigned k, const struct sim_event *ev, const ml_addr *inside)
{
    ml_time delay = 0;
    if (sim_link_cross(w, &w->n[k].link, &delay)) {
        in_flight(w, delay, SIM_EV_LAN, &ev->src, inside, ev->data, ev->len)->node = k;
    }
}

static void arrive6(struct sim *w, const struct sim_event *ev)
{
    ml_addr dst = ev->dst;
    for (unsigned k = 0; k < w->count; k++) {
        if (ml_addr_equal(&w->n[k].local6, &dst) && nat_in(w, &w->nats[w->n[k].nat6], &ev->src, &dst)) {
            deliver(w, k, ev, &dst);
        }
    }
}

void sim_net_arrive(struct sim *w, const struct sim_event *ev)
{
    ml_addr dst = ev->dst;
    int at = ev->nat, node = -1;
    if (ev->type == SIM_EV_LAN) {
        /* It may have moved in the meantime. */
        if (ml_addr_equal(&w->n[ev->node].local4, &dst) || ml_addr_equal(&w->n[ev->node].local6, &dst)) {
            give(w, ev->node, ev);
        }
        return;
    }
    if (ml_ip_is6(&dst.ip)) {
        arrive6(w, ev);
        return;
    }
    for (unsigned r = 1; r <= SIM_REGIONS; r++) {
        if (ml_ip_equal(&w->relays[r].ip, &dst.ip)) {
            if (dst.port == ML_STUN_PORT && w->now >= w->relays[r].down_until) {
                stun_answer(w, &w->relays[r], ev);
            }
            return;
        }
    }
    for (unsigned k = 0; at < 0 && k < w->nat_count; k++) {
        at = w->nats[k].is_used && w->nats[k].up < 0 && w->nats[k].type != SIM_NAT_FIREWALL &&
                     ml_ip_equal(&w->nats[k].wan, &dst.ip)
                 ? (int)k
                 : -1;
    }
    if (at < 0) {
        node = find_node(w, &dst, -1);
    }
    while (at >= 0 && node < 0) {
        if (!nat_in(w, &w->nats[at], &ev->src, &dst)) {
            return;
        }
        node = find_node(w, &dst, at);
        int inner = -1;
        for (unsigned k = 0; node < 0 && k < w->nat_count; k++) {
            inner = w->nats[k].is_used && w->nats[k].up == at && ml_ip_equal(&w->nats[k].wan, &dst.ip) ? (int)k : inner;
        }
        at = inner;
    }
    if (node >= 0) {
        deliver(w, (unsigned)node, ev, &dst);
    }
}

/* ---- What theory says ---- */

static bool is_hard(const struct sim *w, const struct sim_node *n)
{
    for (int at = n->nat; at >= 0; at = w->nats[at].up) {
        if (w->nats[at].type == SIM_NAT_HARD) {
            return true;
        }
    }
    return false;
}

/* Do packets between the two, sent to what STUN sees of them, get to a NAT that has to send them back inside? */
static int shared_nat(const struct sim *w, const struct sim_node *a, const struct sim_node *b)
{
    for (int x = a->nat; x >= 0; x = w->nats[x].up) {
        for (int y = b->nat; y >= 0; y = w->nats[y].up) {
            if (x == y) {
                return x;
            }
        }
    }
    return -1;
}

bool sim_can_be_direct(const struct sim *w, unsigned a, unsigned b)
{
    const struct sim_node *x = &w->n[a], *y = &w->n[b];
    if (x->is_udp_blocked || y->is_udp_blocked) {
        return false;
    }
    if (ml_addr_is_set(&x->local6) && ml_addr_is_set(&y->local6)) {
        return true;
    }
    if (x->nat >= 0 && x->nat == y->nat && x->lan == y->lan) {
        return true;
    }
    if (x->nat < 0 || y->nat < 0) {
        return true; /* the other side answers where it was pinged from */
    }
    int shared = shared_nat(w, x, y);
    if (shared >= 0 && !w->nats[shared].does_hairpin) {
        return false;
    }
    return !is_hard(w, x) && !is_hard(w, y);
}
