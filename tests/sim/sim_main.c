/*
 * sim [--quick] [--verbose] [--seed N] [--scenario NAME] [--list]
 *
 * Runs scenarios and says for each whether what must hold held; a failure names its seed, which repeats it exactly. Without
 * --quick pairs are tried ten times and long runs are as long as they say.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct sim_scenario sim_scenarios[] = {
    {"pairs", "every pair of NAT kinds at 0, 5 and 30 % loss, started from either side", sim_run_pairs},
    {"topologies", "both nodes behind one NAT: same LAN, hairpin or none, one carrier", sim_run_topologies},
    {"days", "two days with an hour of idling again and again; rekeys without a pause", sim_run_days},
    {"relay-restart", "relays go and come back", sim_run_relay_restart},
    {"nat-loss", "routers forget their mappings", sim_run_nat_loss},
    {"rebind", "a node changes its network", sim_run_rebind},
    {"udp-blocked", "UDP is cut and comes back", sim_run_udp_blocked},
    {"control-away", "no control for an hour, and a move meanwhile", sim_run_control_away},
    {"disco-key", "a peer's disco key changes", sim_run_disco_key},
    {"suspend", "an hour is missing", sim_run_suspend},
    {"chaos", "any changes in any order, after which it has to be as if nothing had happened", sim_run_chaos},
    {"mesh", "eight nodes of all kinds, everybody with everybody", sim_run_mesh},
    {"crowd", "16 peers call one small device at the same moment", sim_run_crowd},
    {"scale", "16 active peers with and without 984 idle ones in the netmap", sim_run_scale},
    {"flood", "forged, replayed and ill-meant packets by the thousand", sim_run_flood},
    {"idle", "what idle nodes send, and the first ping afterwards", sim_run_idle},
    {"repeat", "the same seed gives the same packets", sim_run_repeat},
    {NULL, NULL, NULL},
};

static int usage(void)
{
    fprintf(stderr, "usage: sim [--quick] [--verbose] [--seed N] [--scenario NAME] [--list]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct sim_opts o = {.seed = 1};
    const char *only = NULL;
    unsigned failures = 0, runs = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            o.is_quick = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            o.is_verbose = true;
        } else if (strcmp(argv[i], "--list") == 0) {
            for (const struct sim_scenario *s = sim_scenarios; s->name; s++) {
                printf("%-14s %s\n", s->name, s->what);
            }
            return 0;
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            o.seed = strtoull(argv[++i], NULL, 0);
        } else if (i + 1 < argc && strcmp(argv[i], "--scenario") == 0) {
            only = argv[++i];
        } else {
            return usage();
        }
    }
    for (const struct sim_scenario *s = sim_scenarios; s->name; s++) {
        if (only && strcmp(only, s->name) != 0) {
            continue;
        }
        printf("== %s, seed %llu: %s\n", s->name, (unsigned long long)o.seed, s->what);
        fflush(stdout);
        unsigned f = s->run(&o);
        printf("== %s: %s\n", s->name, f ? "FAILED" : "ok");
        failures += f;
        runs++;
    }
    return runs == 0 ? usage() : failures != 0;
}
