/*
 * Scenarios of change: what goes away comes back, and how long the overlay is silent meanwhile.
 *
 * Two nodes exchange 10 datagrams a second each way; something happens; the longest silence in either direction is printed and
 * held against a bound. The bounds are what follows from the timers of path.h when everything goes as it should: a path that
 * falls silent is left within 2 s, any other is believed 6.5 s after its last pong, a relay is given up 3 s after a change of
 * network.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include "base/addr.h"

#include <stdio.h>
#include <string.h>

#define PERIOD  ML_MSEC(100)
#define SETTLE  ML_SEC(30)
#define TRUST   (ML_PATH_TRUST + ML_MSEC(500))
#define CHECKED ML_SEC(2)    /* a path that is silent for 1 s is checked for 0.5 s and two round trips */
#define AT_ONCE ML_MSEC(300) /* no silence but the period and the latency */

/* Two nodes that have been talking for a while. */
struct talk {
    struct sim *w;
    unsigned t[2];
    bool was_direct;
};

static bool is_both_direct(struct sim *w, void *arg)
{
    (void)arg;
    return sim_is_direct(w, 0, 1, NULL) && sim_is_direct(w, 1, 0, NULL);
}

static void talk_start(struct talk *k, const char *name, const struct sim_opts *o, uint64_t seed, enum sim_kind a,
                       enum sim_kind b)
{
    k->w = sim_new(name, o, seed);
    sim_add_node(k->w, a);
    sim_add_node(k->w, b);
    sim_start(k->w, NULL);
    sim_run(k->w, ML_SEC(8));
    k->t[0] = sim_traffic_start(k->w, 0, 1, PERIOD);
    k->t[1] = sim_traffic_start(k->w, 1, 0, PERIOD);
    /* At any point between two heartbeats. */
    sim_run(k->w, SETTLE + sim_below(k->w, 3000000));
    k->was_direct = is_both_direct(k->w, NULL);
    SIM_CHECK(k->w, k->was_direct == sim_can_be_direct(k->w, 0, 1), "direct: %d", k->was_direct);
    sim_traffic_mark(k->w, k->t[0]);
    sim_traffic_mark(k->w, k->t[1]);
}

static ml_time talk_gap(const struct talk *k)
{
    ml_time a = sim_traffic_gap(k->w, k->t[0]), b = sim_traffic_gap(k->w, k->t[1]);
    return a > b ? a : b;
}

/* What came of it: silence since the last mark, and whether the path is as theory has it. */
static void talk_check(struct talk *k, const char *what, ml_time bound)
{
    ml_time gap = talk_gap(k);
    bool is_direct = is_both_direct(k->w, NULL);
    printf("%-58s %6.2f s of silence, %s\n", what, (double)gap / 1e6, is_direct ? "direct" : "relay");
    SIM_CHECK(k->w, gap <= bound, "%s: %.2f s of silence, at most %.2f", what, (double)gap / 1e6, (double)bound / 1e6);
    SIM_CHECK(k->w, is_direct == sim_can_be_direct(k->w, 0, 1), "%s: direct: %d", what, is_direct);
    sim_traffic_mark(k->w, k->t[0]);
    sim_traffic_mark(k->w, k->t[1]);
}

/* ---- Relays ---- */

unsigned sim_run_relay_restart(const struct sim_opts *o)
{
    unsigned failures = 0;
    struct talk k;
    talk_start(&k, "relay-restart", o, o->seed, SIM_HARD, SIM_HARD);
    for (unsigned round = 0; round < 3; round++) {
        sim_derp_restart(k.w, 1, ML_SEC(1));
        sim_run(k.w, SETTLE);
        talk_check(&k, "relayed pair, home relay restarts, 1 s down", ML_SEC(4));
    }
    sim_derp_restart(k.w, 1, ML_SEC(120));
    sim_run(k.w, ML_SEC(240));
    /* Nobody may wait for longer than the back-off between two attempts once the relay is back. */
    talk_check(&k, "relayed pair, home relay away for 2 minutes", ML_SEC(130));
    failures += sim_free(k.w);

    talk_start(&k, "relay-restart", o, o->seed, SIM_EASY, SIM_CGNAT);
    sim_derp_restart(k.w, 1, ML_SEC(1));
    sim_derp_restart(k.w, 2, ML_SEC(1));
    sim_run(k.w, SETTLE);
    talk_check(&k, "direct pair, both relays restart", AT_ONCE);
    return failures + sim_free(k.w);
}

/* ---- NATs ---- */

unsigned sim_run_nat_loss(const struct sim_opts *o)
{
    static const enum sim_kind pairs[][2] = {{SIM_EASY, SIM_NONE},  {SIM_NONE, SIM_EASY}, {SIM_EASY, SIM_EASY},
                                             {SIM_CGNAT, SIM_EASY}, {SIM_HARD, SIM_NONE}, {SIM_V6, SIM_V6}};
    unsigned failures = 0;
    for (unsigned p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
        struct talk k;
        char what[80];
        talk_start(&k, "nat-loss", o, o->seed, pairs[p][0], pairs[p][1]);
        for (unsigned n = 0; n < k.w->nat_count; n++) {
            sim_nat_forget(k.w, (int)n);
        }
        sim_run(k.w, SETTLE);
        snprintf(what, sizeof what, "%s to %s, all mappings lost", sim_kind_names[pairs[p][0]], sim_kind_names[pairs[p][1]]);
        talk_check(&k, what, CHECKED);
        failures += sim_free(k.w);
    }
    return failures;
}

/* ---- Addresses ---- */

unsigned sim_run_rebind(const struct sim_opts *o)
{
    static const enum sim_kind ways[][3] = {/* the mover from and to, the other */
                                            {SIM_NONE, SIM_NONE, SIM_NONE},  {SIM_NONE, SIM_EASY, SIM_NONE},
                                            {SIM_EASY, SIM_EASY, SIM_EASY},  {SIM_EASY, SIM_HARD, SIM_EASY},
                                            {SIM_HARD, SIM_EASY, SIM_EASY},  {SIM_EASY, SIM_HARD, SIM_NONE},
                                            {SIM_EASY, SIM_CGNAT, SIM_HARD}, {SIM_V6, SIM_NONE, SIM_V6}};
    unsigned failures = 0;
    for (unsigned p = 0; p < sizeof ways / sizeof ways[0]; p++) {
        struct talk k;
        char what[96];
        talk_start(&k, "rebind", o, o->seed, ways[p][0], ways[p][2]);
        sim_move(k.w, 0, ways[p][1]);
        sim_run(k.w, SETTLE);
        snprintf(what, sizeof what, "%s moves to %s, the other is %s", sim_kind_names[ways[p][0]], sim_kind_names[ways[p][1]],
                 sim_kind_names[ways[p][2]]);
        talk_check(&k, what, TRUST);
        failures += sim_free(k.w);
    }
    return failures;
}

unsigned sim_run_udp_blocked(const struct sim_opts *o)
{
    unsigned failures = 0;
    struct talk k;
    talk_start(&k, "udp-blocked", o, o->seed, SIM_EASY, SIM_NONE);
    for (unsigned round = 0; round < 3; round++) {
        k.w->n[0].is_udp_blocked = true;
        sim_run(k.w, ML_SEC(60));
        talk_check(&k, "UDP is blocked", CHECKED);
        k.w->n[0].is_udp_blocked = false;
        ml_time t0 = k.w->now;
        bool ok = sim_run_until(k.w, ML_SEC(30), is_both_direct, NULL);
        printf("%-58s %6.2f s to direct\n", "UDP is back", (double)(k.w->now - t0) / 1e6);
        SIM_CHECK(k.w, ok && k.w->now - t0 <= ML_SEC(10), "UDP is back, direct after %.1f s", (double)(k.w->now - t0) / 1e6);
        sim_run(k.w, ML_SEC(20));
        talk_check(&k, "UDP is back", AT_ONCE);
    }
    failures += sim_free(k.w);
    return failures;
}

/* ---- Control ---- */

unsigned sim_run_control_away(const struct sim_opts *o)
{
    unsigned failures = 0;
    struct talk k;
    talk_start(&k, "control-away", o, o->seed, SIM_EASY, SIM_EASY);
    sim_control_set_down(k.w, true);
    sim_run(k.w, ML_SEC(1800));
    talk_check(&k, "control away for half an hour", AT_ONCE);
    /* Nobody tells the other side: call-me-maybe has to. */
    sim_move(k.w, 0, SIM_CGNAT);
    sim_run(k.w, ML_SEC(1800));
    talk_check(&k, "control away, one side moves", TRUST);
    sim_control_set_down(k.w, false);
    sim_run(k.w, SETTLE);
    talk_check(&k, "control is back", AT_ONCE);
    failures += sim_free(k.w);
    return failures;
}

/* ---- Keys ---- */

unsigned sim_run_disco_key(const struct sim_opts *o)
{
    unsigned failures = 0;
    struct talk k;
    for (unsigned is_down = 0; is_down < 2; is_down++) {
        const char *tail = is_down ? ", control away" : "";
        char what[80];
        talk_start(&k, "disco-key", o, o->seed, SIM_EASY, SIM_EASY);
        uint64_t before = k.w->n[0].initiations + k.w->n[1].initiations;
        sim_control_set_down(k.w, is_down);
        sim_new_disco(k.w, 1);
        sim_run(k.w, SETTLE);
        snprintf(what, sizeof what, "new disco key, session stays%s", tail);
        talk_check(&k, what, TRUST);
        uint64_t after = k.w->n[0].initiations + k.w->n[1].initiations;
        SIM_CHECK(k.w, after == before, "%u handshakes for a new disco key", (unsigned)(after - before));
        /* A restarted official node: same node key, new disco key, no session. The other side holds a session that is gone. */
        sim_restart_node(k.w, 1, true);
        sim_run(k.w, ML_SEC(60));
        snprintf(what, sizeof what, "restart with a new disco key%s", tail);
        talk_check(&k, what, ML_SEC(20));
        sim_restart_node(k.w, 0, false);
        sim_run(k.w, ML_SEC(60));
        snprintf(what, sizeof what, "restart with the same disco key%s", tail);
        talk_check(&k, what, ML_SEC(20));
        failures += sim_free(k.w);
    }
    return failures;
}

/* ---- Clocks ---- */

unsigned sim_run_suspend(const struct sim_opts *o)
{
    unsigned failures = 0;
    struct talk k;
    static const enum sim_kind kinds[][2] = {{SIM_EASY, SIM_EASY}, {SIM_HARD, SIM_HARD}, {SIM_EASY, SIM_NONE}};
    for (unsigned p = 0; p < 2 * sizeof kinds / sizeof kinds[0]; p++) {
        bool is_told = p % 2;
        char what[80];
        talk_start(&k, "suspend", o, o->seed, kinds[p / 2][0], kinds[p / 2][1]);
        k.w->n[0].is_suspended = true;
        sim_derp_cut(k.w, 0);
        sim_run(k.w, ML_SEC(3600));
        k.w->n[0].is_suspended = false;
        sim_traffic_mark(k.w, k.t[0]);
        sim_traffic_mark(k.w, k.t[1]);
        if (is_told) {
            ml_rebind(k.w->n[0].ml, k.w->now);
            sim_drain(k.w, 0);
        }
        sim_run(k.w, SETTLE);
        snprintf(what, sizeof what, "%s to %s, one suspended for an hour%s", sim_kind_names[kinds[p / 2][0]],
                 sim_kind_names[kinds[p / 2][1]], is_told ? ", told so" : "");
        talk_check(&k, what, ML_SEC(8));
        failures += sim_free(k.w);
    }
    talk_start(&k, "suspend", o, o->seed, SIM_EASY, SIM_EASY);
    sim_jump(k.w, ML_SEC(3600));
    sim_traffic_mark(k.w, k.t[0]);
    sim_traffic_mark(k.w, k.t[1]);
    sim_run(k.w, SETTLE);
    talk_check(&k, "an hour passes in which nobody runs", ML_SEC(8));
    return failures + sim_free(k.w);
}

/* ---- Everything ---- */

enum { CHAOS_NODES = 4 };

/* One random change. Says what, so that a failure can be read. */
static const char *disturb(struct sim *w, unsigned i, unsigned *region)
{
    switch (sim_below(w, 9)) {
    case 0:
        sim_move(w, i, (enum sim_kind)sim_below(w, SIM_KIND_COUNT));
        return "moves";
    case 1:
        w->n[i].is_udp_blocked = !w->n[i].is_udp_blocked;
        return w->n[i].is_udp_blocked ? "loses UDP" : "has UDP";
    case 2:
        *region = 1 + sim_below(w, SIM_REGIONS);
        sim_derp_restart(w, *region, sim_below(w, 15000000));
        return "sees a relay restart";
    case 3:
        for (unsigned n = 0; n < w->nat_count; n++) {
            sim_nat_forget(w, (int)n);
        }
        return "sees all mappings lost";
    case 4:
        sim_restart_node(w, i, sim_chance(w, 500));
        return "restarts";
    case 5:
        if (w->is_control_down && sim_chance(w, 500)) {
            sim_restart_node(w, i, true); /* as with every real change: a new session tells the others */
            return "restarts with a new disco key";
        }
        sim_new_disco(w, i);
        return "has a new disco key";
    case 6:
        sim_control_set_down(w, !w->is_control_down);
        return w->is_control_down ? "loses control" : "has control";
    case 7:
        w->n[i].is_suspended = true;
        sim_derp_cut(w, i);
        sim_run(w, ML_SEC(1 + sim_below(w, 1000)));
        w->n[i].is_suspended = false;
        ml_rebind(w->n[i].ml, w->now);
        sim_drain(w, i);
        return "sleeps";
    default:
        sim_run(w, ML_SEC(sim_below(w, 600)));
        return "waits";
    }
}

/* Any changes in any order, three at a time; then it has to be as if nothing had happened. */
unsigned sim_run_chaos(const struct sim_opts *o)
{
    struct sim *w = sim_new("chaos", o, o->seed);
    unsigned t[CHAOS_NODES][CHAOS_NODES] = {{0}}, rounds = o->is_quick ? 60 : 1000;
    for (unsigned i = 0; i < CHAOS_NODES; i++) {
        sim_add_node(w, (enum sim_kind)sim_below(w, SIM_KIND_COUNT));
    }
    sim_start(w, NULL);
    sim_run(w, ML_SEC(8));
    for (unsigned i = 0; i < CHAOS_NODES; i++) {
        for (unsigned k = 0; k < CHAOS_NODES; k++) {
            t[i][k] = i == k ? 0 : sim_traffic_start(w, i, k, ML_MSEC(500));
        }
    }
    for (unsigned r = 0; r < rounds && !w->failures; r++) {
        char story[256] = "";
        for (unsigned step = 0; step < 3; step++) {
            unsigned i = sim_below(w, CHAOS_NODES), region = 0;
            const char *what = disturb(w, i, &region);
            size_t at = strlen(story);
            snprintf(story + at, sizeof story - at, "%s%u %s", step ? ", " : "", i, what);
            sim_run(w, sim_below(w, 4000000));
        }
        if (w->is_verbose) {
            printf("%.3f s: round %u: %s\n", (double)w->now / 1e6, r, story);
        }
        sim_run(w, ML_SEC(50));
        for (unsigned i = 0; i < CHAOS_NODES; i++) {
            for (unsigned k = 0; k < CHAOS_NODES; k++) {
                if (i != k) {
                    sim_traffic_mark(w, t[i][k]);
                }
            }
        }
        sim_run(w, ML_SEC(10));
        for (unsigned i = 0; i < CHAOS_NODES; i++) {
            for (unsigned k = 0; k < CHAOS_NODES; k++) {
                if (i == k) {
                    continue;
                }
                ml_time gap = sim_traffic_gap(w, t[i][k]);
                bool is = sim_is_direct(w, i, k, NULL), can = sim_can_be_direct(w, i, k);
                SIM_CHECK(w, gap < ML_SEC(2), "round %u (%s): %u to %u silent for %.1f s", r, story, i, k, (double)gap / 1e6);
                SIM_CHECK(w, is == can, "round %u (%s): %u to %u (%s to %s): direct: %d, can be: %d", r, story, i, k,
                          sim_kind_names[w->n[i].kind], sim_kind_names[w->n[k].kind], is, can);
                if (is != can || gap >= ML_SEC(2)) {
                    sim_explain(w, i, k);
                }
            }
        }
    }
    printf("%u rounds of three changes among %u nodes\n", rounds, (unsigned)CHAOS_NODES);
    return sim_free(w);
}

/* ---- Days ---- */

/* A minute of talk in every hour, for two days, and then hours without a pause. */
static unsigned days_of(const struct sim_opts *o, enum sim_kind a, enum sim_kind b)
{
    struct talk k;
    ml_time worst_start = 0, worst_gap = 0;
    unsigned hours = 48;
    talk_start(&k, "days", o, o->seed, a, b);
    for (unsigned h = 0; h < hours; h++) {
        sim_traffic_stop(k.w, k.t[0]);
        sim_traffic_stop(k.w, k.t[1]);
        sim_run(k.w, ML_SEC(3540) + sim_below(k.w, 1000000));
        ml_time t0 = k.w->now;
        k.t[h % 2] = sim_traffic_start(k.w, h % 2, 1 - h % 2, PERIOD);
        k.t[1 - h % 2] = sim_traffic_start(k.w, 1 - h % 2, h % 2, PERIOD);
        sim_run(k.w, ML_SEC(60));
        for (unsigned i = 0; i < 2; i++) {
            struct sim_traffic *f = &k.w->traffic[k.t[i]];
            ml_time start = f->first_at ? f->first_at - t0 : ML_NEVER;
            worst_start = start > worst_start ? start : worst_start;
            ml_time gap = sim_traffic_gap(k.w, k.t[i]);
            worst_gap = gap > worst_gap ? gap : worst_gap;
        }
        SIM_CHECK(k.w, worst_start <= ML_SEC(1), "after an hour of idling the first packet came after %.2f s",
                  (double)worst_start / 1e6);
        SIM_CHECK(k.w, worst_gap <= ML_SEC(2), "%.2f s of silence", (double)worst_gap / 1e6);
        SIM_CHECK(k.w, is_both_direct(k.w, NULL) == sim_can_be_direct(k.w, 0, 1), "direct: %d", is_both_direct(k.w, NULL));
        if (k.w->failures > 3) {
            break;
        }
    }
    printf("%s to %s, %u hours, a minute of traffic in each: first packet after %.3f s at most, silence at most %.2f s\n",
           sim_kind_names[a], sim_kind_names[b], hours, (double)worst_start / 1e6, (double)worst_gap / 1e6);
    /* Through many rekeys without a pause: nothing is lost at all. */
    ml_time span = o->is_quick ? ML_SEC(2 * 3600) : ML_SEC(24 * 3600);
    uint64_t before = k.w->n[0].initiations + k.w->n[1].initiations;
    sim_traffic_stop(k.w, k.t[0]);
    sim_traffic_stop(k.w, k.t[1]);
    sim_run(k.w, ML_SEC(2));
    k.t[0] = sim_traffic_start(k.w, 0, 1, ML_MSEC(500));
    k.t[1] = sim_traffic_start(k.w, 1, 0, ML_MSEC(500));
    sim_run(k.w, ML_SEC(3));
    sim_traffic_mark(k.w, k.t[0]);
    sim_traffic_mark(k.w, k.t[1]);
    sim_run(k.w, span);
    uint64_t rekeys = k.w->n[0].initiations + k.w->n[1].initiations - before;
    sim_traffic_stop(k.w, k.t[0]);
    sim_traffic_stop(k.w, k.t[1]);
    sim_run(k.w, ML_SEC(2));
    for (unsigned i = 0; i < 2; i++) {
        uint32_t sent = sim_traffic_sent(k.w, k.t[i]), got = k.w->traffic[k.t[i]].got;
        SIM_CHECK(k.w, got == sent, "of %u packets only %u came through the rekeys", sent, got);
    }
    /* One every two minutes; both sides may start one at once. Counted are those sent by UDP. */
    if (sim_can_be_direct(k.w, 0, 1)) {
        uint64_t most = 2 * (span / ML_SEC(120)) + 10, least = span / ML_SEC(180) / 2;
        SIM_CHECK(k.w, rekeys <= most && rekeys >= least, "%u initiations in %u s", (unsigned)rekeys,
                  (unsigned)(span / ML_USEC_PER_SEC));
    }
    printf("%s to %s, %u s without a pause: nothing lost, %u initiations by UDP\n", sim_kind_names[a], sim_kind_names[b],
           (unsigned)(span / ML_USEC_PER_SEC), (unsigned)rekeys);
    return sim_free(k.w);
}

unsigned sim_run_days(const struct sim_opts *o)
{
    return days_of(o, SIM_EASY, SIM_CGNAT) + days_of(o, SIM_HARD, SIM_EASY);
}
