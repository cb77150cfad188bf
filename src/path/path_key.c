/*
 * DISCO shared keys: one in each slot, and a few for peers that only ping us. dataplane.md 3.3, 17.
 *
 * A shared key costs one curve operation. Senders are in the netmap when they get here, but anybody can write such a sender's
 * key on a datagram, so the operations for peers without a slot are limited to DERIVE_MAX a second.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"
#include "path/path_internal.h"

enum { DERIVE_MAX = 20 };

static bool may_derive(struct ml_path *p, ml_time now)
{
    if (now - p->derive_at >= ML_SEC(1)) {
        p->derive_at = now;
        p->derive_count = 0;
    }
    if (p->derive_count >= DERIVE_MAX) {
        return false;
    }
    p->derive_count++;
    return true;
}

static struct ml_path_key *least_used(struct ml_path *p)
{
    struct ml_path_key *victim = &p->keys[0];
    for (size_t i = 0; i < ML_PATH_KEYS; i++) {
        if (!ml_key_is_set(&p->keys[i].disco)) {
            return &p->keys[i];
        }
        if (p->keys[i].used_at < victim->used_at) {
            victim = &p->keys[i];
        }
    }
    return victim;
}

static struct ml_path_key *find_cached(struct ml_path *p, const ml_disco_key *disco)
{
    for (size_t i = 0; i < ML_PATH_KEYS; i++) {
        if (ml_key_equal(&p->keys[i].disco, disco)) {
            return &p->keys[i];
        }
    }
    return NULL;
}

void ml_path_shared_check(struct ml_path_peer *peer)
{
    if (peer->has_shared && memcmp(peer->shared_of, peer->disco->b, sizeof peer->shared_of) != 0) {
        ml_wipe(&peer->shared, sizeof peer->shared);
        peer->has_shared = false;
    }
}

/* The key of a slot that has none yet: a slot is often opened for a peer whose ping was just answered without one. */
static bool fill_slot(struct ml_path *p, struct ml_path_peer *peer)
{
    const struct ml_path_key *k = find_cached(p, peer->disco);
    memcpy(peer->shared_of, peer->disco->b, sizeof peer->shared_of);
    if (k) {
        peer->shared = k->shared;
        return true;
    }
    return ml_curve_take(p->cfg.budget) && ml_disco_shared(&peer->shared, peer->disco, &p->disco_priv);
}

const struct ml_disco_shared *ml_path_shared(struct ml_path *p, ml_time now, const ml_disco_key *disco)
{
    if (!p->has_keys || !ml_key_is_set(disco)) {
        return NULL;
    }
    for (size_t i = 0; i < p->peer_count; i++) {
        struct ml_path_peer *peer = &p->peers[i];
        if (ml_path_is_open(peer) && ml_key_equal(peer->disco, disco)) {
            ml_path_shared_check(peer);
            if (!peer->has_shared) {
                peer->has_shared = fill_slot(p, peer);
            }
            return peer->has_shared ? &peer->shared : NULL;
        }
    }
    struct ml_path_key *k = find_cached(p, disco);
    if (!k) {
        if (!ml_curve_take(p->cfg.budget) || !may_derive(p, now)) {
            return NULL;
        }
        k = least_used(p);
        ml_wipe(k, sizeof *k);
        if (!ml_disco_shared(&k->shared, disco, &p->disco_priv)) {
            return NULL;
        }
        k->disco = *disco;
    }
    k->used_at = now;
    return &k->shared;
}

void ml_path_keys_clear(struct ml_path *p)
{
    ml_wipe(p->keys, sizeof p->keys);
    for (size_t i = 0; i < p->peer_count; i++) {
        ml_wipe(&p->peers[i].shared, sizeof p->peers[i].shared);
        p->peers[i].has_shared = false;
    }
}
