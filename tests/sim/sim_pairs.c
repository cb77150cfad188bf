/*
 * Scenarios of two nodes: every pair of NAT kinds at three rates of loss, and the places where both share a NAT.
 *
 * What must hold: from 3 s after the first packet on everything arrives, by relay at least; a direct path comes up within the
 * bound where theory allows one, and never where it does not; nothing is delivered twice.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

#define WARM_UP ML_SEC(8)  /* measurement, home, endpoints at the other side */
#define GRACE   ML_SEC(3)  /* from when on delivery is complete */
#define SPAN    ML_SEC(45) /* of traffic */
#define TRIES   10         /* for each pair, when not --quick */

enum { LOSSES = 3 };
static const unsigned losses[LOSSES] = {0, 50, 300}; /* per mille */
/* Of silence. A relayed packet that is lost comes when TCP repeats it, and holds up those behind it. */
static const ml_time gap_max[LOSSES] = {ML_MSEC(500), ML_SEC(2), ML_SEC(6)};
static const ml_time bounds[LOSSES] = {ML_SEC(6), ML_SEC(15), ML_SEC(40)}; /* to a direct path */

struct pair_result {
    bool can_be_direct;
    ml_time direct_after; /* ML_NEVER: none came */
    ml_time gap;
};

/* Traffic between nodes 0 and 1 of a world that is ready, and all checks on it. */
static void run_two(struct sim *w, unsigned loss_index, struct pair_result *r)
{
    unsigned loss = losses[loss_index];
    r->can_be_direct = sim_can_be_direct(w, 0, 1);
    r->direct_after = ML_NEVER;
    sim_start(w, NULL);
    sim_run(w, WARM_UP);
    ml_time t0 = w->now;
    unsigned t[2];
    bool is_direct[2] = {false, false}, is_marked = false;
    t[0] = sim_traffic_start(w, 0, 1, ML_MSEC(100));
    sim_run(w, ML_MSEC(100));
    t[1] = sim_traffic_start(w, 1, 0, ML_MSEC(100));
    while (w->now - t0 < SPAN && !w->failures) {
        sim_run(w, ML_MSEC(10));
        for (unsigned i = 0; i < 2; i++) {
            is_direct[i] = is_direct[i] || sim_is_direct(w, i, 1 - i, NULL);
        }
        if (is_direct[0] && is_direct[1] && r->direct_after == ML_NEVER) {
            r->direct_after = w->now - t0;
        }
        if (!is_marked && w->now - t0 >= GRACE) {
            is_marked = true;
            sim_traffic_mark(w, t[0]);
            sim_traffic_mark(w, t[1]);
        }
    }
    r->gap = 0;
    for (unsigned i = 0; i < 2; i++) {
        ml_time gap = sim_traffic_gap(w, t[i]);
        r->gap = gap > r->gap ? gap : r->gap;
        sim_traffic_stop(w, t[i]);
    }
    sim_run(w, ML_SEC(3)); /* what is in flight */
    for (unsigned i = 0; i < 2; i++) {
        uint32_t sent = sim_traffic_sent(w, t[i]), got = w->traffic[t[i]].got;
        /* Without a relay's help a direct path loses what the link loses; 420 packets at 30 % stay within 60 of the mean. */
        uint32_t must = loss == 0 ? sent : sent - sent * loss / 1000;
        must = loss == 0 ? must : (must > 60 ? must - 60 : 0);
        SIM_CHECK(w, got >= must, "of %u packets from node %u only %u arrived", sent, i, got);
    }
    SIM_CHECK(w, r->gap <= gap_max[loss_index], "%.1f s of silence", (double)r->gap / 1e6);
    if (r->can_be_direct) {
        SIM_CHECK(w, r->direct_after <= bounds[loss_index], "no direct path within %.0f s (%.1f)",
                  (double)bounds[loss_index] / 1e6, r->direct_after == ML_NEVER ? -1.0 : (double)r->direct_after / 1e6);
    } else {
        SIM_CHECK(w, !is_direct[0] && !is_direct[1], "a direct path where there can be none");
    }
}

static unsigned run_pair(const struct sim_opts *o, uint64_t seed, unsigned a, unsigned b, unsigned loss_index,
                         struct pair_result *r)
{
    char name[64];
    snprintf(name, sizeof name, "pairs (%s to %s, %u %% loss)", sim_kind_names[a], sim_kind_names[b], losses[loss_index] / 10);
    struct sim *w = sim_new(name, o, seed);
    sim_add_node(w, (enum sim_kind)a);
    sim_add_node(w, (enum sim_kind)b);
    sim_set_loss(w, 0, losses[loss_index]);
    sim_set_loss(w, 1, losses[loss_index]);
    run_two(w, loss_index, r);
    return sim_free(w);
}

static int by_time(const void *a, const void *b)
{
    ml_time x = *(const ml_time *)a, y = *(const ml_time *)b;
    return (x > y) - (x < y);
}

unsigned sim_run_pairs(const struct sim_opts *o)
{
    unsigned failures = 0, tries = o->is_quick ? 1 : TRIES;
    for (unsigned l = 0; l < LOSSES; l++) {
        printf("seconds from the first packet to a direct path, %u %% loss, median of %u (row starts)\n%10s", losses[l] / 10,
               tries, "");
        for (unsigned b = 0; b < SIM_KIND_COUNT; b++) {
            printf("%10s", sim_kind_names[b]);
        }
        printf("\n");
        for (unsigned a = 0; a < SIM_KIND_COUNT; a++) {
            printf("%10s", sim_kind_names[a]);
            for (unsigned b = 0; b < SIM_KIND_COUNT; b++) {
                struct pair_result r = {0};
                ml_time times[TRIES];
                for (unsigned k = 0; k < tries; k++) {
                    failures += run_pair(o, o->seed + 1000 * k, a, b, l, &r);
                    times[k] = r.direct_after;
                }
                qsort(times, tries, sizeof times[0], by_time);
                if (times[tries / 2] == ML_NEVER) {
                    printf("%10s", "relay");
                } else {
                    printf("%10.2f", (double)times[tries / 2] / 1e6);
                }
            }
            printf("\n");
        }
    }
    return failures;
}

unsigned sim_run_topologies(const struct sim_opts *o)
{
    static const struct {
        const char *name;
        bool is_carrier, does_hairpin;
        unsigned lan_of_second;
    } places[] = {
        {"same LAN", false, false, 0},
        {"one home router, two networks, hairpin", false, true, 1},
        {"one home router, two networks, no hairpin", false, false, 1},
        {"two homes of one carrier, hairpin", true, true, 0},
        {"two homes of one carrier, no hairpin", true, false, 0},
    };
    unsigned failures = 0;
    for (unsigned k = 0; k < sizeof places / sizeof places[0]; k++) {
        for (unsigned l = 0; l < LOSSES; l++) {
            struct pair_result r = {0};
            char name[96];
            snprintf(name, sizeof name, "topologies (%s, %u %% loss)", places[k].name, losses[l] / 10);
            struct sim *w = sim_new(name, o, o->seed);
            sim_add_node(w, SIM_NONE);
            sim_add_node(w, SIM_NONE);
            int outer = sim_nat_add(w, SIM_NAT_EASY, -1);
            w->nats[outer].does_hairpin = places[k].does_hairpin;
            if (places[k].is_carrier) {
                w->nats[outer].keeps_port = false;
                sim_place(w, 0, sim_nat_add(w, SIM_NAT_EASY, outer), 0);
                sim_place(w, 1, sim_nat_add(w, SIM_NAT_EASY, outer), 0);
            } else {
                sim_place(w, 0, outer, 0);
                sim_place(w, 1, outer, places[k].lan_of_second);
            }
            sim_set_loss(w, 0, losses[l]);
            sim_set_loss(w, 1, losses[l]);
            run_two(w, l, &r);
            failures += sim_free(w);
            printf("%-44s %3u %% loss: ", places[k].name, losses[l] / 10);
            if (r.direct_after == ML_NEVER) {
                printf("relay\n");
            } else {
                printf("direct after %.2f s\n", (double)r.direct_after / 1e6);
            }
        }
    }
    return failures;
}
