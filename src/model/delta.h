/*
 * What the map stream yields: one netmap message becomes a sequence of deltas between BEGIN and END.
 *
 * The consumer applies each as it comes. The stream parser hands them out in the order of control.md 8.2 as far as the
 * message's own field order allows, and says in BEGIN and END what kind of message it was, so that a full peer list can
 * replace the old one (peers not seen between BEGIN and END of a full list are gone). On a broken message ABORT comes
 * instead of END; what was applied up to there stays, a full list does not remove anybody.
 *
 * The first message of a stream describes everything: the parser brackets all its peers in PEERS_BEGIN..PEERS_END, clears
 * filter sets, problems and the lock it does not name, so that the consumer needs no case of its own (C38). TIME, PING,
 * POP_URL and DEBUG_EXIT also come from keepalives, outside BEGIN..END.
 *
 * Servers write PeersChanged before PeersRemoved and the patches before SeenChange and OnlineChange, while control.md 8.2
 * wants them applied the other way round. A consumer gets the same result by keeping, until END, a mark for each peer that
 * came as PEER (PEER_REMOVED does not remove it) and for a patched online or last-seen field (SEEN and ONLINE leave it).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_MODEL_DELTA_H
#define ML_MODEL_DELTA_H

#include "model/derpmap.h"
#include "model/node.h"
#include "model/rule.h"

enum ml_delta_type {
    ML_DELTA_BEGIN,            /* a message that is not a keepalive starts; `first` = first of its stream */
    ML_DELTA_SELF,             /* node */
    ML_DELTA_PEERS_BEGIN,      /* a non-empty full list starts: what it does not name is gone at PEERS_END */
    ML_DELTA_PEER,             /* node: upsert by id (of a full list, or PeersChanged) */
    ML_DELTA_PEERS_END,        /* the full list was complete */
    ML_DELTA_PEER_REMOVED,     /* id */
    ML_DELTA_PEER_SEEN,        /* id, flag: true = seen now, false = unknown */
    ML_DELTA_PEER_ONLINE,      /* id, flag */
    ML_DELTA_PEER_PATCH,       /* patch */
    ML_DELTA_DERP_BEGIN,       /* Regions present: complete replacement starts */
    ML_DELTA_DERP_REGION,      /* region */
    ML_DELTA_DERP_END,         /* Regions complete: what was not named is gone */
    ML_DELTA_DERP_SCORE_RESET, /* HomeParams.RegionScore present: all scores back to 1.0 when empty object */
    ML_DELTA_DERP_SCORE,       /* id = region, score_milli */
    ML_DELTA_RULES_BEGIN,      /* text = set name ("base"): the set is replaced, starting empty */
    ML_DELTA_RULES_CLEAR_ALL,  /* PacketFilters {"*": null} */
    ML_DELTA_RULES_DELETE,     /* text = set name, value null */
    ML_DELTA_RULE,             /* rule: one source-list x destination-list rule, or a chunk of one (rule.h) */
    ML_DELTA_RULES_INVALID,    /* the set as sent must not be used (SrcBits/Bits): nothing is allowed */
    ML_DELTA_RULES_END,
    ML_DELTA_USER,         /* id, text = login name */
    ML_DELTA_DOMAIN,       /* text */
    ML_DELTA_TIME,         /* unix_ms: ControlTime */
    ML_DELTA_TKA,          /* TKAInfo present; flag = lock enabled (Head set and not Disabled) */
    ML_DELTA_DNS_PROXIED,  /* DNSConfig present; flag = Proxied */
    ML_DELTA_HEALTH_BEGIN, /* Health present: list replaced */
    ML_DELTA_HEALTH,       /* text: one problem as the server words it */
    ML_DELTA_MESSAGE,      /* DisplayMessages: name = its id, text = "Title: Text"; replaces the one of that id */
    ML_DELTA_MESSAGE_GONE, /* name = id, or "*" for all */
    ML_DELTA_POP_URL,      /* text; a repeat of the last one is not handed out (C45) */
    ML_DELTA_PING,         /* ping: PingRequest that control does not answer itself (not c2n, not a bare HEAD) */
    ML_DELTA_DEBUG_EXIT,   /* Debug.Exit */
    ML_DELTA_END,          /* the message was complete */
    ML_DELTA_ABORT         /* the message broke off or was not valid */
};

#define ML_PING_URL_CAP     256
#define ML_PING_PAYLOAD_CAP 1024
struct ml_ping_request {
    char url[ML_PING_URL_CAP];
    char types[32];
    bool is_url_noise;
    bool is_cut; /* something did not fit: answer nothing */
    ml_ip ip;
    uint8_t payload[ML_PING_PAYLOAD_CAP]; /* decoded from base64 */
    size_t payload_len;
};

struct ml_delta {
    enum ml_delta_type type;
    bool first;
    bool flag;
    uint64_t id;
    int64_t unix_ms;
    uint32_t score_milli;
    const char *text;
    const char *name;
    const struct ml_node *node;
    const struct ml_node_patch *patch;
    const struct ml_derp_region *region;
    const struct ml_rule *rule;
    const struct ml_ping_request *ping;
};

/* Where deltas go. The pointers in a delta live for the call only. */
typedef void (*ml_delta_fn)(void *ctx, const struct ml_delta *d);
struct ml_delta_sink {
    ml_delta_fn fn;
    void *ctx;
};

#endif
