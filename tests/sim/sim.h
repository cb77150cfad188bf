/*
 * The simulator: N engines in one process, one virtual clock, and the Internet between them.
 *
 *   sim_world.c    clock and event queue, engines, netmap deltas in place of control, overlay traffic and its bookkeeping
 *   sim_net.c      links with latency, jitter, loss and reordering; NATs; STUN servers; who owns an address
 *   sim_derp.c     relays that speak the real DERP protocol on streams without TLS
 *   sim_pairs.c, sim_roam.c, sim_load.c   scenarios;  sim_main.c   the program
 *
 * Everything random comes from one seed, so `sim --seed N --scenario X` repeats a run to the last packet. Nothing here sleeps
 * or reads a clock. The engines are used by their public functions; core/engine_priv.h only to give them keys and netmaps and
 * to read what they would publish.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_SIM_H
#define ML_SIM_H

#include "core/engine_priv.h"

#define SIM_NODES    24
#define SIM_NATS     32
#define SIM_FLOWS    512 /* of one NAT; the oldest gives way */
#define SIM_REGIONS  2
#define SIM_STREAMS  128
#define SIM_TRAFFICS 256
#define SIM_SEQ_STEP (1U << 19) /* the memory of delivered packets grows by so many */
#define SIM_CAPTURES 16
#define SIM_PORT     41641

/* ---- Underlay ---- */

struct sim_link {
    ml_time latency, jitter; /* one way; jitter is uniform and so reorders what is sent closely */
    unsigned loss;           /* per mille */
    unsigned reorder;        /* per mille of packets held back for 30 ms */
};

enum sim_nat_type {
    SIM_NAT_EASY,    /* endpoint-independent mapping, address-and-port-dependent filtering */
    SIM_NAT_HARD,    /* a random port for each destination */
    SIM_NAT_FIREWALL /* no translation, filtering only: what stands before IPv6 hosts */
};

struct sim_flow {
    ml_addr inside, remote;
    uint16_t port;
    ml_time at; /* last use; 0 = free */
};

struct sim_nat {
    enum sim_nat_type type;
    ml_ip wan;
    int up; /* the NAT outside this one, -1 = Internet */
    bool is_used, does_hairpin, keeps_port, refreshes_inbound;
    ml_time timeout;
    struct sim_flow flows[SIM_FLOWS];
};

/* What stands between a node and the Internet. */
enum sim_kind {
    SIM_NONE,    /* a public address */
    SIM_EASY,    /* home router */
    SIM_HARD,    /* per-destination random port */
    SIM_CGNAT,   /* an easy home router behind a carrier's easy NAT that picks ports of its own */
    SIM_BLOCKED, /* UDP goes nowhere; TCP does */
    SIM_V6,      /* IPv6 behind a stateful firewall, IPv4 behind a hard NAT; relays have no IPv6 */
    SIM_KIND_COUNT
};
extern const char *const sim_kind_names[SIM_KIND_COUNT];

/* ---- Nodes ---- */

struct sim_node {
    struct sim *w;
    ml_engine *ml;
    void *mem;
    size_t mem_len;
    uint64_t rng;
    enum sim_kind kind;
    struct sim_link link;
    ml_addr local4, local6; /* local6 unset: no IPv6 */
    int nat, nat6;          /* -1 = none */
    unsigned lan;           /* hosts of one NAT reach each other locally when this is equal too */
    bool is_udp_blocked, is_suspended, is_hidden /* from the others' netmaps */;
    ml_ip overlay;
    ml_private_key node_key, disco_key;
    struct ml_control_published told;
    bool is_told_late;                            /* control was down when this changed */
    uint64_t datagrams, disco, initiations, stun; /* sent */
    uint64_t bytes;                               /* sent, and over streams received, with headers */
    uint64_t to_phantoms;
    unsigned pongs; /* ML_EV_PONG seen */
};

/* ---- Streams: TCP connections to relays ---- */

struct sim_stream {
    ml_stream_id id;
    uint32_t serial; /* of this entry's life; 0 = free */
    unsigned node, region;
    bool is_open, is_dead; /* dead: the path under it is gone and nobody knows */
    bool is_unknown;       /* to the relay, which was restarted */
    bool has_request, is_logged_in;
    ml_time up_at, down_at; /* arrival of the newest bytes: TCP keeps order */
    ml_node_key key;
    uint8_t shared[32];
    uint8_t rx[8192];
    size_t rx_len;
    uint8_t *held; /* bytes the engine had no room for */
    size_t held_len;
    uint64_t talked[SIM_STREAMS / 64]; /* streams whose node has sent to this one */
};

struct sim_relay {
    ml_ip ip;
    struct sim_link link;
    ml_private_key priv;
    ml_derp_key pub;
    ml_time down_until;
    uint64_t packets, logins;
};

/* ---- Events ---- */

enum sim_event_type {
    SIM_EV_PACKET,  /* a datagram arrives at `nat` (or on the Internet) for `dst` */
    SIM_EV_LAN,     /* a datagram arrives at node `node` */
    SIM_EV_UP,      /* stream bytes arrive at a relay */
    SIM_EV_DOWN,    /* stream bytes arrive at a node */
    SIM_EV_OPENED,  /* a stream is open */
    SIM_EV_CLOSED,  /* a stream ended, or could not be opened */
    SIM_EV_REFUSED, /* control's streams: nobody there */
    SIM_EV_KEEPALIVE,
    SIM_EV_PATCH, /* control tells node `node` of a peer's change */
    SIM_EV_CALL   /* a scenario's own */
};

struct sim;
typedef void (*sim_call)(struct sim *w, void *arg);

struct sim_event {
    ml_time at;
    uint64_t seq;
    enum sim_event_type type;
    int nat;
    unsigned node, subject;
    uint32_t stream, serial;
    ml_stream_id id;
    ml_close_reason why;
    ml_addr src, dst;
    sim_call call;
    void *arg;
    uint8_t *data; /* the event's own */
    size_t len;
};

/* ---- Overlay traffic: numbered UDP datagrams from one node to another ---- */

struct sim_traffic {
    bool is_used, is_on;
    unsigned from, to;
    ml_time period, next_at;
    uint32_t seq;      /* of the next */
    uint32_t seq_lo;   /* first since sim_traffic_mark() */
    uint32_t got;      /* of those */
    uint32_t dups;     /* ever */
    ml_time last_at;   /* newest delivery, or the mark */
    ml_time max_gap;   /* since the mark */
    ml_time first_at;  /* first delivery since the mark; 0 = none */
    uint8_t *seen;     /* bit per number */
    uint32_t seen_cap; /* packets it has room for */
};

struct sim {
    const char *name;
    uint64_t seed;
    uint64_t rng;
    ml_time now;
    ml_time wall0; /* Unix milliseconds at time 0 */
    uint64_t digest;
    struct sim_node n[SIM_NODES];
    unsigned count;
    struct sim_nat nats[SIM_NATS];
    unsigned nat_count, nats_made;
    struct sim_stream streams[SIM_STREAMS];
    uint32_t next_serial;
    struct sim_relay relays[SIM_REGIONS + 1]; /* by region number; 0 is not used */
    struct sim_traffic traffic[SIM_TRAFFICS];
    struct sim_event **heap;
    size_t heap_len, heap_cap;
    uint64_t next_seq;
    bool is_control_down;
    ml_time control_delay;
    unsigned phantoms; /* peers in every netmap that do not exist */
    unsigned failures;
    bool is_verbose;
    bool is_capturing; /* keep copies of what arrives at a node, for a flood to replay */
    unsigned capture_of;
    uint8_t captured[SIM_CAPTURES][1500];
    size_t captured_len[SIM_CAPTURES];
};

struct sim_opts {
    uint64_t seed;
    bool is_quick;   /* fewer tries, shorter long runs */
    bool is_verbose; /* what the engines log, and what they dropped */
};

/* sim_world.c */
uint64_t sim_rand(struct sim *w);
unsigned sim_below(struct sim *w, unsigned bound); /* 0 for bound 0 */
bool sim_chance(struct sim *w, unsigned per_mille);
struct sim *sim_new(const char *name, const struct sim_opts *o, uint64_t seed);
/* Ends the run: checks what must hold in all of them, frees it, returns its failures. */
unsigned sim_free(struct sim *w);
struct sim_event *sim_push(struct sim *w, ml_time at, enum sim_event_type type); /* the queue owns it */
void sim_call_at(struct sim *w, ml_time at, sim_call call, void *arg);
/* A node of this kind; give it its place first with the sim_net functions when the default is not wanted. */
unsigned sim_add_node(struct sim *w, enum sim_kind kind);
/* Creates engines for all nodes that have none, and gives everybody their netmap. */
void sim_start(struct sim *w, const ml_config *base);
void sim_restart_node(struct sim *w, unsigned i, bool has_new_disco);
void sim_new_disco(struct sim *w, unsigned i);
void sim_control_set_down(struct sim *w, bool is_down);
void sim_netmap(struct sim *w, unsigned i);
void sim_drain(struct sim *w, unsigned i);
void sim_run(struct sim *w, ml_time span);
/* Runs until the condition holds, looked at every 10 ms; false if it did not within `span`. */
bool sim_run_until(struct sim *w, ml_time span, bool (*cond)(struct sim *w, void *arg), void *arg);
/* Time passes in which no engine is called at all. */
void sim_jump(struct sim *w, ml_time span);
unsigned sim_traffic_start(struct sim *w, unsigned from, unsigned to, ml_time period);
void sim_traffic_stop(struct sim *w, unsigned t);
/* Starts a new count of what is sent and delivered, and of gaps. */
void sim_traffic_mark(struct sim *w, unsigned t);
uint32_t sim_traffic_sent(const struct sim *w, unsigned t);
ml_time sim_traffic_gap(const struct sim *w, unsigned t); /* the one under way included */
void sim_fail(struct sim *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define SIM_CHECK(w, cond, ...)                                                                                                \
    do {                                                                                                                       \
        if (!(cond)) {                                                                                                         \
            sim_fail(w, __VA_ARGS__);                                                                                          \
        }                                                                                                                      \
    } while (0)
bool sim_is_direct(struct sim *w, unsigned from, unsigned to, ml_addr *via);
/* With --verbose: what one node knows of the way to another, and what there is to be known. */
void sim_explain(struct sim *w, unsigned from, unsigned to);
bool sim_has_session(struct sim *w, unsigned from, unsigned to);
uint64_t sim_drops(struct sim *w, unsigned i, ml_drop reason);

/* sim_net.c */
int sim_nat_add(struct sim *w, enum sim_nat_type type, int up);
/* Puts a node behind a NAT (or, with -1, on the Internet) with a new address there. Tells the engine nothing. */
void sim_place(struct sim *w, unsigned i, int nat, unsigned lan);
void sim_place_kind(struct sim *w, unsigned i, enum sim_kind kind);
/* A change of network as a device sees it: new place, dead connections, and the engine is told. */
void sim_move(struct sim *w, unsigned i, enum sim_kind kind);
void sim_set_loss(struct sim *w, unsigned i, unsigned per_mille);
void sim_nat_forget(struct sim *w, int nat);
void sim_net_send(struct sim *w, unsigned from, const ml_addr *dst, const uint8_t *data, size_t len);
/* A datagram from anywhere, with whatever source is written on it. */
void sim_net_inject(struct sim *w, const ml_addr *src, const ml_addr *dst, const uint8_t *data, size_t len);
void sim_net_arrive(struct sim *w, const struct sim_event *ev);
/* Delay over one or two links; false: lost. */
bool sim_link_cross(struct sim *w, const struct sim_link *l, ml_time *delay);
bool sim_can_be_direct(const struct sim *w, unsigned a, unsigned b);

/* sim_derp.c */
void sim_derp_init(struct sim *w);
void sim_derp_open(struct sim *w, unsigned node, const ml_stream_open *o);
void sim_derp_close(struct sim *w, unsigned node, ml_stream_id id);
void sim_derp_tx(struct sim *w, unsigned node);
bool sim_derp_offer_held(struct sim *w, unsigned node);
void sim_derp_event(struct sim *w, const struct sim_event *ev);
void sim_derp_restart(struct sim *w, unsigned region, ml_time down_for);
/* The paths under a node's connections are gone: nothing arrives any more, nobody is told. */
void sim_derp_cut(struct sim *w, unsigned node);
void sim_derp_forget_node(struct sim *w, unsigned node);

/* Scenarios: each returns its number of failures. */
struct sim_scenario {
    const char *name;
    const char *what;
    unsigned (*run)(const struct sim_opts *o);
};
extern const struct sim_scenario sim_scenarios[];
unsigned sim_run_pairs(const struct sim_opts *o);
unsigned sim_run_topologies(const struct sim_opts *o);
unsigned sim_run_days(const struct sim_opts *o);
unsigned sim_run_relay_restart(const struct sim_opts *o);
unsigned sim_run_nat_loss(const struct sim_opts *o);
unsigned sim_run_rebind(const struct sim_opts *o);
unsigned sim_run_udp_blocked(const struct sim_opts *o);
unsigned sim_run_control_away(const struct sim_opts *o);
unsigned sim_run_disco_key(const struct sim_opts *o);
unsigned sim_run_suspend(const struct sim_opts *o);
unsigned sim_run_chaos(const struct sim_opts *o);
unsigned sim_run_mesh(const struct sim_opts *o);
unsigned sim_run_crowd(const struct sim_opts *o);
unsigned sim_run_scale(const struct sim_opts *o);
unsigned sim_run_flood(const struct sim_opts *o);
unsigned sim_run_idle(const struct sim_opts *o);
unsigned sim_run_repeat(const struct sim_opts *o);

#endif
