/*
 * The WireGuard device; see wg.h.
 *
 * A receiver index is random bits above and the slot below, so that finding a peer needs no table; the full 32 bits are
 * then compared with what the slot has. Slots that may have something to send are linked in a work list; ml_wg_poll_send()
 * takes what it finds there. `next_at` is a lower bound of all timers: timers that are put off leave it early, and the
 * next ml_wg_on_time() finds nothing due and corrects it. So the cost of a packet does not depend on the number of peers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wg/wg.h"
#include "base/key.h"

#define NONE UINT16_MAX /* end of a list */

enum {
    FLAG_OPEN = 1 << 0,
    FLAG_INITIATION = 1 << 1, /* an initiation is to be sent */
    FLAG_KEEPALIVE = 1 << 2,  /* a keepalive is to be sent, unless something else goes first */
    FLAG_IN_WORK = 1 << 3,    /* linked in the work list */
    FLAG_HAS_SECRET = 1 << 4  /* static_secret is valid */
};

enum { EVENT_ESTABLISHED = 1 << 0, EVENT_GAVE_UP = 1 << 1, EVENT_DEAD = 1 << 2 };

static struct ml_wg_peer *open_peer(const struct ml_wg *wg, uint16_t slot)
{
    return slot < wg->peer_count && (wg->peers[slot].flags & FLAG_OPEN) ? &wg->peers[slot] : NULL;
}

/* Never inlined: a call is shorter than this division. */
__attribute__((noinline)) static uint16_t slot_of(const struct ml_wg *wg, const struct ml_wg_peer *p)
{
    return (uint16_t)(p - wg->peers);
}

static bool is_flight_of(const struct ml_wg *wg, const struct ml_wg_flight *f, const struct ml_wg_peer *p)
{
    return f->hs.local_index != 0 && f->slot == slot_of(wg, p);
}

/* Forgets our initiations to this peer that were sent at @p until or earlier: what may still answer them is out of date. */
static void end_flights(struct ml_wg *wg, const struct ml_wg_peer *p, ml_time until)
{
    for (uint16_t i = 0; i < wg->flight_count; i++) {
        struct ml_wg_flight *f = &wg->flights[i];
        if (is_flight_of(wg, f, p) && f->sent_at <= until) {
            ml_wipe(f, sizeof *f);
        }
    }
}

/*
 * Where this peer's next initiation is to wait for its answer. NULL: its turn has not come, `next_at` says when.
 *
 * The initiation before it is kept while there is room, so that a repetition does not make the answer to it worthless: that
 * may be the only one, since a responder ignores what comes within 20 ms of what it has answered, and where an answer takes
 * longer than the time between two initiations, no answer would ever count.
 */
static struct ml_wg_flight *find_flight(struct ml_wg *wg, ml_time now, const struct ml_wg_peer *p)
{
    struct ml_wg_flight *own = NULL, *older = NULL, *spare = NULL, *unused = NULL;
    struct ml_wg_flight *oldest = &wg->flights[0];

    for (uint16_t i = 0; i < wg->flight_count; i++) {
        struct ml_wg_flight *f = &wg->flights[i];
        if (f->hs.local_index == 0) {
            unused = f;
        } else if (is_flight_of(wg, f, p)) {
            own = f;
            older = f->is_repeated ? f : older;
        } else if (f->is_repeated) {
            spare = f;
        }
        oldest = f->sent_at < oldest->sent_at ? f : oldest;
    }
    if (older || unused || spare || own) {
        return older ? older : unused ? unused : spare ? spare : own;
    }
    ml_time at = oldest->sent_at + ML_WG_FLIGHT_MIN;
    if (now >= at) {
        return oldest;
    }
    wg->next_at = at < wg->next_at ? at : wg->next_at;
    return NULL;
}

static void note_deadline(struct ml_wg *wg, const struct ml_wg_peer *p)
{
    ml_time at = ml_wg_timers_deadline(&p->timers, &wg->common.epoch);

    wg->next_at = at < wg->next_at ? at : wg->next_at;
}

/* To be asked before anything is stored that has to do with time: see base/tick.h. */
static void keep_time(struct ml_wg *wg, ml_time now)
{
    if (!ml_epoch_is_due(&wg->common.epoch, now)) {
        return;
    }
    ml_time by = ml_epoch_move(&wg->common.epoch, now);
    for (uint16_t i = 0; i < wg->peer_count; i++) {
        struct ml_wg_peer *p = &wg->peers[i];
        ml_wg_timers_moved(&p->timers, by);
        p->initiation_at = ml_tick_moved(p->initiation_at, by);
        p->session.current.created_at = ml_tick_moved(p->session.current.created_at, by);
    }
    for (uint16_t i = 0; i < wg->common.spare_count; i++) {
        wg->common.spares[i].created_at = ml_tick_moved(wg->common.spares[i].created_at, by);
    }
}

static void add_work(struct ml_wg *wg, struct ml_wg_peer *p)
{
    if (p->flags & FLAG_IN_WORK) {
        return;
    }
    uint16_t slot = slot_of(wg, p);
    p->flags |= FLAG_IN_WORK;
    p->work_next = NONE;
    if (wg->work_head == NONE) {
        wg->work_head = slot;
    } else {
        wg->peers[wg->work_tail].work_next = slot;
    }
    wg->work_tail = slot;
}

static void remove_work(struct ml_wg *wg, struct ml_wg_peer *p, uint16_t before)
{
    if (before == NONE) {
        wg->work_head = p->work_next;
    } else {
        wg->peers[before].work_next = p->work_next;
    }
    if (p->work_next == NONE) {
        wg->work_tail = before;
    }
    p->flags &= (uint8_t)~FLAG_IN_WORK;
}

static void add_event(struct ml_wg *wg, struct ml_wg_peer *p, uint8_t event)
{
    if (p->events == 0) {
        wg->event_count++;
    }
    p->events |= event;
}

/* ---- Staged packets ---- */

static void stage_free(struct ml_wg *wg, uint16_t at)
{
    ml_wipe(wg->stage[at].data, wg->stage[at].len);
    wg->stage[at].next = wg->stage_free;
    wg->stage_free = at;
}

static void stage_drop_first(struct ml_wg *wg, struct ml_wg_peer *p)
{
    uint16_t at = p->stage_head;

    p->stage_head = wg->stage[at].next;
    p->stage_count--;
    stage_free(wg, at);
}

static void stage_flush(struct ml_wg *wg, struct ml_wg_peer *p)
{
    while (p->stage_count > 0) {
        stage_drop_first(wg, p);
    }
}

/* Makes room by dropping the oldest packet that waits for anybody. */
static void stage_drop_oldest(struct ml_wg *wg)
{
    struct ml_wg_peer *oldest = NULL;
    uint32_t age = 0;

    for (uint16_t i = 0; i < wg->peer_count; i++) {
        struct ml_wg_peer *p = &wg->peers[i];
        if ((p->flags & FLAG_OPEN) && p->stage_count > 0 && wg->stage_seq - wg->stage[p->stage_head].seq >= age) {
            age = wg->stage_seq - wg->stage[p->stage_head].seq;
            oldest = p;
        }
    }
    if (oldest) {
        stage_drop_first(wg, oldest);
        wg->counters.staged_dropped++;
    }
}

static bool stage_add(struct ml_wg *wg, struct ml_wg_peer *p, const uint8_t *pkt, size_t len)
{
    if (wg->stage_count == 0) {
        wg->counters.staged_dropped++;
        return false;
    }
    if (p->stage_count >= wg->stage_per_peer) {
        stage_drop_first(wg, p);
        wg->counters.staged_dropped++;
    } else if (wg->stage_free == NONE) {
        stage_drop_oldest(wg);
    }
    uint16_t at = wg->stage_free;
    struct ml_wg_stage *st = &wg->stage[at];
    wg->stage_free = st->next;
    memcpy(st->data, pkt, len);
    st->len = (uint16_t)len;
    st->seq = wg->stage_seq++;
    st->next = NONE;
    if (p->stage_count++ == 0) {
        p->stage_head = at;
    } else {
        wg->stage[p->stage_tail].next = at;
    }
    p->stage_tail = at;
    return true;
}

/* ---- Device and slots ---- */

ml_err ml_wg_init(struct ml_wg *wg, ml_time now, const struct ml_wg_cfg *cfg)
{
    if (!cfg->random || !cfg->random->fill || !cfg->peers || cfg->peer_count == 0 || cfg->peer_count > ML_WG_MAX_SLOTS ||
        cfg->stage_count == NONE || (cfg->stage_count > 0 && !cfg->stage) || !cfg->flights || cfg->flight_count == 0 ||
        !cfg->spares || cfg->spare_count == 0) {
        return ML_ERR_ARG;
    }
    ml_zero(wg);
    wg->rng = *cfg->random;
    wg->budget = cfg->budget;
    wg->peers = cfg->peers;
    wg->peer_count = cfg->peer_count;
    wg->stage = cfg->stage;
    wg->flights = cfg->flights;
    wg->flight_count = cfg->flight_count;
    wg->common = (struct ml_wg_common){.spares = cfg->spares, .spare_count = cfg->spare_count};
    wg->stage_count = cfg->stage_count;
    wg->stage_per_peer = cfg->stage_per_peer ? cfg->stage_per_peer : 4;
    wg->next_at = ML_NEVER;
    wg->work_head = wg->work_tail = NONE;
    wg->stage_free = NONE;
    while ((1u << wg->slot_bits) < wg->peer_count) {
        wg->slot_bits++;
    }
    memset(cfg->peers, 0, cfg->peer_count * sizeof *cfg->peers);
    memset(cfg->flights, 0, cfg->flight_count * sizeof *cfg->flights);
    memset(cfg->spares, 0, cfg->spare_count * sizeof *cfg->spares);
    for (uint16_t i = cfg->stage_count; i > 0; i--) {
        wg->stage[i - 1].len = 0;
        stage_free(wg, (uint16_t)(i - 1));
    }
    wg->checker.load_per_sec = cfg->load_per_sec ? cfg->load_per_sec : 20;
    ml_wg_tai_init(&wg->tai, now, cfg->tai_mark, cfg->unix_sec);
    return ML_OK;
}

void ml_wg_clear(struct ml_wg *wg)
{
    ml_wipe(wg->peers, wg->peer_count * sizeof *wg->peers);
    ml_wipe(wg->flights, wg->flight_count * sizeof *wg->flights);
    ml_wipe(wg->common.spares, wg->common.spare_count * sizeof *wg->common.spares);
    if (wg->stage_count > 0) {
        ml_wipe(wg->stage, wg->stage_count * sizeof *wg->stage);
    }
    ml_wipe(wg, sizeof *wg);
}

/* The initiation that was begun for this peer is not wanted any more. */
static void drop_draft(struct ml_wg *wg, const struct ml_wg_peer *p)
{
    if (wg->draft.step != 0 && wg->draft_slot == slot_of(wg, p)) {
        ml_wipe(&wg->draft, sizeof wg->draft);
    }
}

/* ---- Cookies ---- */

/* The cookie of this peer, or NULL. */
static struct ml_wg_cookie *cookie_of(struct ml_wg *wg, const struct ml_wg_peer *p)
{
    for (size_t i = 0; i < ML_CFG_WG_COOKIES; i++) {
        if (wg->cookies[i].is_held && wg->cookies[i].slot == slot_of(wg, p)) {
            return &wg->cookies[i];
        }
    }
    return NULL;
}

static void drop_cookie(struct ml_wg *wg, const struct ml_wg_peer *p)
{
    struct ml_wg_cookie *k = cookie_of(wg, p);

    if (k) {
        ml_wipe(k, sizeof *k);
    }
}

/* Where the cookie of this peer goes: its own place, a free one, or that of the oldest. */
static struct ml_wg_cookie *cookie_room(struct ml_wg *wg, const struct ml_wg_peer *p)
{
    struct ml_wg_cookie *room = cookie_of(wg, p);

    for (size_t i = 0; i < ML_CFG_WG_COOKIES && !room; i++) {
        room = wg->cookies[i].is_held ? NULL : &wg->cookies[i];
    }
    if (!room) {
        room = &wg->cookies[0];
        for (size_t i = 1; i < ML_CFG_WG_COOKIES; i++) {
            room = wg->cookies[i].at < room->at ? &wg->cookies[i] : room;
        }
    }
    return room;
}

/* ---- Sessions ---- */

/* Ends all sessions and handshakes of a peer and forgets what waits for them. */
static void reset_peer(struct ml_wg *wg, struct ml_wg_peer *p)
{
    stage_flush(wg, p);
    drop_draft(wg, p);
    ml_wg_session_clear(&p->session);
    end_flights(wg, p, ML_NEVER);
    drop_cookie(wg, p);
    ml_wg_timers_init(&p->timers);
    p->flags &= (uint8_t) ~(FLAG_INITIATION | FLAG_KEEPALIVE);
}

void ml_wg_set_keys(struct ml_wg *wg, const ml_private_key *priv, const ml_node_key *pub)
{
    if (priv ? wg->has_key && ml_ct_equal(&wg->id.priv, priv, sizeof *priv) : !wg->has_key) {
        return;
    }
    for (uint16_t i = 0; i < wg->peer_count; i++) {
        struct ml_wg_peer *p = open_peer(wg, i);
        if (p) {
            reset_peer(wg, p);
            p->flags &= (uint8_t)~FLAG_HAS_SECRET;
#if ML_CFG_WG_KEEP_STATIC_SECRET
            ml_wipe(p->static_secret, sizeof p->static_secret);
#endif
        }
    }
    ml_wg_refuse(wg);
    ml_wipe(&wg->id, sizeof wg->id);
    wg->has_key = priv != NULL;
    if (priv) {
        wg->id.priv = *priv;
        memcpy(wg->id.pub, pub->b, sizeof wg->id.pub);
        ml_wg_checker_init(&wg->checker, wg->id.pub, wg->checker.load_per_sec);
    }
}

void ml_wg_set_key(struct ml_wg *wg, const ml_private_key *priv)
{
    ml_node_key pub = {{0}};

    if (priv) {
        ml_x25519_base(pub.b, priv);
    }
    ml_wg_set_keys(wg, priv, &pub);
}

void ml_wg_set_wall(struct ml_wg *wg, ml_time now, uint64_t unix_ms)
{
    ml_wg_tai_set_wall(&wg->tai, now, unix_ms);
}

bool ml_wg_poll_clock(struct ml_wg *wg, ml_time now, uint8_t mark[ML_WG_STAMP_LEN])
{
    return ml_wg_tai_poll_mark(&wg->tai, now, mark);
}

void ml_wg_clock_stored(struct ml_wg *wg, bool ok)
{
    ml_wg_tai_stored(&wg->tai, ok);
}

bool ml_wg_peer_open(struct ml_wg *wg, uint16_t slot, const ml_node_key *key)
{
    if (slot >= wg->peer_count) {
        return false;
    }
    struct ml_wg_peer *p = &wg->peers[slot];
    ml_wg_peer_close(wg, slot);
    p->flags |= FLAG_OPEN;
    p->key = key;
    p->initiation_at = ML_TICK_NEVER;
    reset_peer(wg, p);
    return true;
}

void ml_wg_peer_close(struct ml_wg *wg, uint16_t slot)
{
    struct ml_wg_peer *p = open_peer(wg, slot);

    if (!p) {
        return;
    }
    stage_flush(wg, p);
    if (p->events != 0) {
        wg->event_count--;
    }
    if (p->flags & FLAG_IN_WORK) {
        uint16_t before = NONE;
        for (uint16_t at = wg->work_head; at != slot; at = wg->peers[at].work_next) {
            before = at;
        }
        remove_work(wg, p, before);
    }
    drop_draft(wg, p);
    end_flights(wg, p, ML_NEVER);
    drop_cookie(wg, p);
    ml_wg_session_clear(&p->session); /* gives back what others may use */
    ml_wipe(p, sizeof *p);
}

bool ml_wg_peer_is_open(const struct ml_wg *wg, uint16_t slot)
{
    return open_peer(wg, slot) != NULL;
}

const ml_node_key *ml_wg_peer_key(const struct ml_wg *wg, uint16_t slot)
{
    const struct ml_wg_peer *p = open_peer(wg, slot);

    return p ? p->key : NULL;
}

bool ml_wg_peer_has_session(const struct ml_wg *wg, ml_time now, uint16_t slot)
{
    const struct ml_wg_peer *p = open_peer(wg, slot);

    return p && ml_wg_session_can_send(&p->session, &wg->common, now);
}

ml_time ml_wg_peer_session_at(const struct ml_wg *wg, uint16_t slot)
{
    const struct ml_wg_peer *p = open_peer(wg, slot);

    return p ? ml_wg_session_created_at(&p->session, &wg->common) : 0;
}

/* Asks for an initiation, within the rules of the timers. */
static void want_handshake(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p, bool is_retry)
{
    if (ml_wg_timers_want_handshake(&p->timers, &wg->common.epoch, now, &wg->rng, is_retry, p->stage_count > 0)) {
        p->flags |= FLAG_INITIATION;
        add_work(wg, p);
    } else {
        note_deadline(wg, p);
    }
}

void ml_wg_peer_connect(struct ml_wg *wg, ml_time now, uint16_t slot)
{
    struct ml_wg_peer *p = open_peer(wg, slot);

    keep_time(wg, now);
    if (p && wg->has_key) {
        want_handshake(wg, now, p, false);
    }
}

void ml_wg_peer_send_again(struct ml_wg *wg, ml_time now, uint16_t slot)
{
    struct ml_wg_peer *p = open_peer(wg, slot);

    keep_time(wg, now);
    if (p && wg->has_key) {
        p->timers.handshake_sent_at = ML_TICK_NEVER;
        want_handshake(wg, now, p, true);
    }
}

void ml_wg_peer_expire(struct ml_wg *wg, uint16_t slot)
{
    struct ml_wg_peer *p = open_peer(wg, slot);

    if (p) {
        p->session.current.counter = ML_WG_REJECT_AFTER_COUNT;
    }
}

/* X25519(our static, the peer's static), kept in the slot when there is room for it. */
static enum ml_curve_step static_secret(const struct ml_wg *wg, struct ml_wg_peer *p, uint8_t out[32])
{
#if ML_CFG_WG_KEEP_STATIC_SECRET
    if (!(p->flags & FLAG_HAS_SECRET)) {
        if (!ml_curve_take(wg->budget)) {
            return ML_CURVE_LATER;
        }
        if (!ml_x25519(p->static_secret, &wg->id.priv, p->key->b)) {
            return ML_CURVE_BAD;
        }
        p->flags |= FLAG_HAS_SECRET;
    }
    memcpy(out, p->static_secret, 32);
    return ML_CURVE_DONE;
#else
    if (!ml_curve_take(wg->budget)) {
        return ML_CURVE_LATER;
    }
    return ml_x25519(out, &wg->id.priv, p->key->b) ? ML_CURVE_DONE : ML_CURVE_BAD;
#endif
}

static struct ml_wg_peer *peer_of_index(const struct ml_wg *wg, uint32_t index)
{
    return open_peer(wg, (uint16_t)(index & ((1u << wg->slot_bits) - 1)));
}

/* The initiation in flight that has this index, or NULL. */
static struct ml_wg_flight *flight_of_index(const struct ml_wg *wg, uint32_t index)
{
    const struct ml_wg_peer *p = peer_of_index(wg, index);

    for (uint16_t i = 0; p && index != 0 && i < wg->flight_count; i++) {
        struct ml_wg_flight *f = &wg->flights[i];
        if (is_flight_of(wg, f, p) && f->hs.local_index == index) {
            return f;
        }
    }
    return NULL;
}

/* A receiver index that the peer does not use yet. Five are live at most, so six tries always do. */
static uint32_t new_index(struct ml_wg *wg, const struct ml_wg_peer *p)
{
    uint32_t high = ml_random_u32(&wg->rng);
    uint32_t index;

    do {
        index = (high++ << wg->slot_bits) | slot_of(wg, p);
    } while (index == 0 || flight_of_index(wg, index) || ml_wg_session_find(&p->session, index) != ML_WG_KEYPAIR_NONE);
    return index;
}

/* ---- Receiving ---- */

/* mac1 was good; true when the message may go on, otherwise `res` says what becomes of it. */
static bool pass_load_check(struct ml_wg *wg, ml_time now, const struct ml_wg_source *from, const uint8_t *msg, size_t len,
                            struct ml_wg_in *res)
{
    if (!ml_wg_checker_note(&wg->checker, now)) {
        return true;
    }
    if (!ml_wg_checker_mac2(&wg->checker, now, msg, len, from)) {
        ml_wg_checker_reply(&wg->checker, now, &wg->rng, msg, len, from, wg->reply);
        wg->counters.cookies_sent++;
        res->type = ML_WG_IN_REPLY;
        res->drop = ML_DROP_WG_BAD_MAC2;
        res->data = wg->reply;
        res->len = ML_WG_COOKIE_LEN;
        return false;
    }
    if (!ml_wg_checker_allow(&wg->checker, now, from)) {
        res->drop = ML_DROP_WG_RATE_LIMITED;
        return false;
    }
    return true;
}

static void on_initiation(struct ml_wg *wg, const uint8_t *msg, struct ml_wg_in *res)
{
    if (!wg->pending.is_open) {
        if (!ml_curve_take(wg->budget)) {
            res->type = ML_WG_IN_LATER;
            return;
        }
        if (!ml_wg_initiation_open(&wg->pending, &wg->id, msg)) {
            res->drop = ML_DROP_WG_BAD_AUTH;
            return;
        }
    }
    memcpy(res->key.b, wg->pending.remote_static, 32);
    res->type = ML_WG_IN_INITIATION;
}

/* A session came up for sending: the owner is told, then waiting packets go. */
static void established(struct ml_wg *wg, struct ml_wg_peer *p)
{
    ml_wg_timers_handshake_complete(&p->timers);
    p->flags &= (uint8_t)~FLAG_INITIATION;
    drop_draft(wg, p);
    wg->counters.handshakes++;
    add_event(wg, p, EVENT_ESTABLISHED);
    add_work(wg, p);
}

static void on_response(struct ml_wg *wg, ml_time now, const uint8_t *msg, struct ml_wg_in *res)
{
    struct ml_wg_keys keys;
    struct ml_wg_flight *f = flight_of_index(wg, ml_get_le32(msg + ML_WG_RESP_OFF_RECEIVER));

    if (!f) {
        res->drop = ML_DROP_WG_UNEXPECTED;
        return;
    }
    struct ml_wg_peer *p = &wg->peers[f->slot];
    switch (ml_wg_response_open(&f->hs, &wg->answer, &wg->id, msg, &keys, wg->budget)) {
    case ML_CURVE_LATER:
        res->type = ML_WG_IN_LATER;
        return;
    case ML_CURVE_BAD:
        res->drop = ML_DROP_WG_BAD_AUTH;
        return;
    case ML_CURVE_DONE:
        break;
    }
    /* One sent later stays: the peer may have answered it too, and then has given up the session of this one for that. */
    end_flights(wg, p, f->sent_at);
    ml_wg_session_install_current(&p->session, &wg->common, now, &keys);
    ml_wipe(&keys, sizeof keys);
    ml_wg_timers_any_received(&p->timers);
    ml_wg_timers_session_derived(&p->timers, &wg->common.epoch, now);
    established(wg, p);
    /* The responder may not send before it has heard us on the new session. */
    p->flags |= FLAG_KEEPALIVE;
    note_deadline(wg, p);
    res->type = ML_WG_IN_HANDSHAKE;
    res->slot = slot_of(wg, p);
}

static void on_cookie(struct ml_wg *wg, ml_time now, const uint8_t *msg, struct ml_wg_in *res)
{
    uint32_t index = ml_get_le32(msg + ML_WG_COOKIE_OFF_RECEIVER);
    struct ml_wg_peer *p = peer_of_index(wg, index);
    const struct ml_wg_flight *f = flight_of_index(wg, index);
    const uint8_t *mac1 = f ? f->mac1 : NULL; /* of the message that it answers, an initiation or a response */

    if (p && !f && ml_wg_session_find(&p->session, index) == ML_WG_KEYPAIR_NEXT) {
        mac1 = p->session.next->as.next.mac1;
    }
    if (!mac1) {
        res->drop = ML_DROP_WG_UNKNOWN_INDEX;
        return;
    }
    struct ml_wg_cookie *k = cookie_room(wg, p);
    if (!ml_wg_cookie_open(k, now, p->key->b, mac1, msg)) {
        res->drop = ML_DROP_WG_BAD_AUTH;
        return;
    }
    k->slot = slot_of(wg, p);
    k->is_held = true;
    res->type = ML_WG_IN_COOKIE;
    res->slot = slot_of(wg, p);
}

static void on_data(struct ml_wg *wg, ml_time now, uint8_t *msg, size_t len, struct ml_wg_in *res)
{
    uint32_t index = ml_get_le32(msg + ML_WG_DATA_OFF_RECEIVER);
    struct ml_wg_peer *p = peer_of_index(wg, index);
    enum ml_wg_which which = p ? ml_wg_session_find(&p->session, index) : ML_WG_KEYPAIR_NONE;

    if (which == ML_WG_KEYPAIR_NONE) {
        res->drop = ML_DROP_WG_UNKNOWN_INDEX;
        return;
    }
    bool wins_crossing = memcmp(wg->id.pub, p->key->b, sizeof wg->id.pub) > 0;
    res->drop = ml_wg_session_open(&p->session, &wg->common, now, which, msg, len, wins_crossing, &res->first_on_session);
    if (res->drop != ML_DROP_NONE) {
        return;
    }
    res->slot = slot_of(wg, p);
    if (res->first_on_session) {
        established(wg, p);
    }
    if (p->session.current.is_initiator && !p->timers.has_refreshed && p->session.current.local_index != 0 &&
        now - ml_wg_session_created_at(&p->session, &wg->common) > ML_WG_REFRESH_AFTER) {
        p->timers.has_refreshed = true;
        want_handshake(wg, now, p, false);
    }
    ml_wg_timers_any_received(&p->timers);
    if (len == ML_WG_KEEPALIVE_LEN) {
        res->type = ML_WG_IN_KEEPALIVE;
        return;
    }
    ml_wg_timers_data_received(&p->timers, &wg->common.epoch, now);
    note_deadline(wg, p);
    res->data = msg + ML_WG_DATA_HEADER;
    res->len = ml_wg_inner_len(res->data, len - ML_WG_DATA_OVERHEAD);
    if (res->len == 0) {
        res->drop = ML_DROP_MALFORMED;
        return;
    }
    res->type = ML_WG_IN_DATA;
}

static void clear_result(struct ml_wg_in *res)
{
    ml_zero(res);
    res->slot = ML_WG_NO_SLOT;
}

bool ml_wg_check(struct ml_wg *wg, ml_time now, const struct ml_wg_source *from, const uint8_t *msg, size_t len,
                 struct ml_wg_in *res)
{
    enum ml_wg_msg_type type = ml_wg_msg_classify(msg, len);

    clear_result(res);
    if (!wg->has_key) {
        res->drop = ML_DROP_NOT_READY;
        return false;
    }
    if (type != ML_WG_MSG_INITIATION && type != ML_WG_MSG_RESPONSE) {
        res->drop = ML_DROP_UNKNOWN_TYPE;
        return false;
    }
    if (!ml_wg_checker_mac1(&wg->checker, msg, len)) {
        res->drop = ML_DROP_WG_BAD_MAC1;
        return false;
    }
    if (type == ML_WG_MSG_RESPONSE && !flight_of_index(wg, ml_get_le32(msg + ML_WG_RESP_OFF_RECEIVER))) {
        res->drop = ML_DROP_WG_UNEXPECTED;
        return false;
    }
    return pass_load_check(wg, now, from, msg, len, res);
}

void ml_wg_on_handshake(struct ml_wg *wg, ml_time now, const uint8_t *msg, size_t len, struct ml_wg_in *res)
{
    enum ml_wg_msg_type type = ml_wg_msg_classify(msg, len);

    keep_time(wg, now);
    clear_result(res);
    if (!wg->has_key) {
        res->drop = ML_DROP_NOT_READY;
    } else if (type == ML_WG_MSG_INITIATION) {
        on_initiation(wg, msg, res);
    } else if (type == ML_WG_MSG_RESPONSE) {
        on_response(wg, now, msg, res);
    } else {
        res->drop = ML_DROP_UNKNOWN_TYPE;
    }
    if (res->type != ML_WG_IN_LATER && res->type != ML_WG_IN_INITIATION) {
        ml_wg_refuse(wg);
    }
}

void ml_wg_on_packet(struct ml_wg *wg, ml_time now, const struct ml_wg_source *from, uint8_t *buf, size_t len,
                     struct ml_wg_in *res)
{
    keep_time(wg, now);
    clear_result(res);
    if (!wg->has_key) {
        res->drop = ML_DROP_NOT_READY;
        return;
    }
    switch (ml_wg_msg_classify(buf, len)) {
    case ML_WG_MSG_DATA:
        on_data(wg, now, buf, len, res);
        break;
    case ML_WG_MSG_INITIATION:
    case ML_WG_MSG_RESPONSE:
        ml_wg_refuse(wg);
        if (ml_wg_check(wg, now, from, buf, len, res)) {
            ml_wg_on_handshake(wg, now, buf, len, res);
        }
        break;
    case ML_WG_MSG_COOKIE:
        on_cookie(wg, now, buf, res);
        break;
    case ML_WG_MSG_NONE:
    default:
        res->drop = ML_DROP_UNKNOWN_TYPE;
        break;
    }
}

ml_drop ml_wg_verify(struct ml_wg *wg)
{
    uint8_t ss[32];

    if (!wg->pending.is_open) {
        return ML_DROP_WG_UNEXPECTED;
    }
    if (wg->pending.is_authentic) {
        return ML_DROP_NONE;
    }
    if (!ml_curve_take(wg->budget)) {
        return ML_WG_LATER;
    }
    bool ok = ml_x25519(ss, &wg->id.priv, wg->pending.remote_static) && ml_wg_initiation_verify(&wg->pending, ss);
    ml_wipe(ss, sizeof ss);
    return ok ? ML_DROP_NONE : ML_DROP_WG_BAD_AUTH;
}

/* Proves that the sender is the slot's peer, and that its initiation is not a repetition. */
static ml_drop admit(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p)
{
    uint8_t ss[32];

    if (!wg->pending.is_authentic) {
        enum ml_curve_step step = static_secret(wg, p, ss);
        bool ok = step == ML_CURVE_DONE && ml_wg_initiation_verify(&wg->pending, ss);
        ml_wipe(ss, sizeof ss);
        if (!ok) {
            return step == ML_CURVE_LATER ? ML_WG_LATER : ML_DROP_WG_BAD_AUTH;
        }
    }
    if (memcmp(wg->pending.stamp, p->stamp, sizeof p->stamp) <= 0) {
        return ML_DROP_WG_OLD_TIMESTAMP;
    }
    if (p->initiation_at != ML_TICK_NEVER && now - ml_tick_time(&wg->common.epoch, p->initiation_at) <= ML_WG_FLOOD_INTERVAL) {
        return ML_DROP_WG_FLOOD;
    }
    return ML_DROP_NONE;
}

/* The checks and effects of ml_wg_accept() on a slot known to be the right one. */
static ml_drop answer(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p)
{
    struct ml_wg_keys keys;
    uint8_t stamp[ML_WG_STAMP_LEN];

    ml_drop drop = wg->pending.step == 0 ? admit(wg, now, p) : ML_DROP_NONE;
    if (drop == ML_DROP_NONE && !ml_wg_session_has_room(&p->session, &wg->common, now)) {
        drop = ML_DROP_NO_MEMORY;
    }
    if (drop != ML_DROP_NONE) {
        return drop;
    }
    memcpy(stamp, wg->pending.stamp, sizeof stamp);
    /*
     * An initiation of our own that is in flight stays valid: when both sides start at once, each answers the other, and
     * whichever session is used first wins. Official nodes drop theirs and wait for a retry.
     */
    switch (ml_wg_response_write(&wg->pending, &wg->rng, new_index(wg, p), wg->reply, &keys, wg->budget)) {
    case ML_CURVE_LATER:
        return ML_WG_LATER;
    case ML_CURVE_BAD:
        return ML_DROP_WG_BAD_AUTH;
    case ML_CURVE_DONE:
        break;
    }
    memcpy(p->stamp, stamp, sizeof p->stamp);
    p->initiation_at = ml_tick_of(&wg->common.epoch, now);
    bool is_kept = ml_wg_session_install_next(&p->session, &wg->common, now, &keys);
    ml_wipe(&keys, sizeof keys);
    if (!is_kept) {
        return ML_DROP_NO_MEMORY;
    }
    ml_wg_cookie_add_macs(cookie_of(wg, p), now, p->key->b, wg->reply, ML_WG_RESPONSE_LEN, p->session.next->as.next.mac1);
    ml_wg_timers_any_received(&p->timers);
    ml_wg_timers_session_derived(&p->timers, &wg->common.epoch, now);
    ml_wg_timers_response_sent(&p->timers, &wg->common.epoch, now);
    note_deadline(wg, p);
    wg->counters.responses_sent++;
    return ML_DROP_NONE;
}

ml_drop ml_wg_accept(struct ml_wg *wg, ml_time now, uint16_t slot, struct ml_wg_in *res)
{
    struct ml_wg_peer *p = open_peer(wg, slot);
    ml_drop drop = ML_DROP_WG_UNEXPECTED;

    keep_time(wg, now);
    if (p && wg->pending.is_open && memcmp(p->key->b, wg->pending.remote_static, 32) == 0) {
        drop = answer(wg, now, p);
        if (drop == ML_WG_LATER || drop == ML_DROP_NO_MEMORY) {
            return drop; /* what is proved stays so, until ml_wg_refuse() */
        }
    }
    ml_wg_refuse(wg);
    res->drop = drop;
    res->slot = slot;
    res->data = drop == ML_DROP_NONE ? wg->reply : NULL;
    res->len = drop == ML_DROP_NONE ? ML_WG_RESPONSE_LEN : 0;
    return drop;
}

void ml_wg_refuse(struct ml_wg *wg)
{
    if (wg->pending.is_open) {
        ml_wipe(&wg->pending, sizeof wg->pending);
    }
    if (wg->answer.step != 0) {
        ml_wipe(&wg->answer, sizeof wg->answer);
    }
}

/* ---- Sending ---- */

/* Seals what lies at dst + 16 and tells the timers. */
static void seal_in_place(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p, uint8_t *dst, size_t len, size_t *out_len)
{
    size_t padded = ml_wg_padded_len(len, ML_OVERLAY_MTU);
    struct ml_wg_session *s = &p->session;

    memset(dst + ML_WG_DATA_HEADER + len, 0, padded - len);
    ml_wg_session_seal(s, dst, padded);
    *out_len = padded + ML_WG_DATA_OVERHEAD;

    p->flags &= (uint8_t)~FLAG_KEEPALIVE; /* any packet does what it was for */
    ml_wg_timers_any_sent(&p->timers);
    if (len > 0) {
        ml_wg_timers_data_sent(&p->timers, &wg->common.epoch, now, &wg->rng);
        note_deadline(wg, p);
    }
    if (s->current.counter > ML_WG_REKEY_AFTER_COUNT ||
        (s->current.is_initiator && now - ml_wg_session_created_at(s, &wg->common) > ML_WG_REKEY_AFTER_TIME)) {
        want_handshake(wg, now, p, false);
    }
}

enum ml_wg_seal_result ml_wg_seal(struct ml_wg *wg, ml_time now, uint16_t slot, const uint8_t *pkt, size_t len, uint8_t *dst,
                                  size_t cap, size_t *out_len)
{
    struct ml_wg_peer *p = open_peer(wg, slot);

    keep_time(wg, now);
    *out_len = 0;
    if (!p || !wg->has_key || len == 0 || len > ML_OVERLAY_MTU) {
        return ML_WG_REFUSED;
    }
    if (ml_wg_session_can_send(&p->session, &wg->common, now)) {
        if (cap < ml_wg_padded_len(len, ML_OVERLAY_MTU) + ML_WG_DATA_OVERHEAD) {
            return ML_WG_REFUSED;
        }
        if (pkt != dst + ML_WG_DATA_HEADER) {
            memmove(dst + ML_WG_DATA_HEADER, pkt, len);
        }
        seal_in_place(wg, now, p, dst, len, out_len);
        return ML_WG_SEALED;
    }
    bool is_staged = stage_add(wg, p, pkt, len);
    want_handshake(wg, now, p, false);
    return is_staged ? ML_WG_STAGED : ML_WG_DROPPED;
}

/* The curve operations of an initiation. There is one draft: while it is another's, this peer's turn has not come. */
static enum ml_curve_step prepare_initiation(struct ml_wg *wg, struct ml_wg_peer *p, uint8_t ss[32])
{
    if (wg->draft.step != 0 && wg->draft_slot != slot_of(wg, p)) {
        return ML_CURVE_LATER;
    }
    enum ml_curve_step step = static_secret(wg, p, ss);
    if (step == ML_CURVE_DONE) {
        wg->draft_slot = slot_of(wg, p);
        step = ml_wg_draft_run(&wg->draft, &wg->rng, p->key->b, wg->budget);
    }
    return step;
}

static bool write_initiation(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p, uint8_t *dst, size_t *out_len)
{
    uint8_t ss[32];
    uint8_t stamp[ML_WG_STAMP_LEN];

    /* Asked again, because a response may have been sent since. */
    if (!ml_wg_timers_want_handshake(&p->timers, &wg->common.epoch, now, &wg->rng, true, p->stage_count > 0)) {
        p->flags &= (uint8_t)~FLAG_INITIATION;
        drop_draft(wg, p);
        note_deadline(wg, p);
        return false;
    }
    struct ml_wg_flight *f = find_flight(wg, now, p);
    enum ml_curve_step step = f ? prepare_initiation(wg, p, ss) : ML_CURVE_LATER;
    if (step == ML_CURVE_LATER) {
        ml_wipe(ss, sizeof ss);
        return false;
    }
    p->flags &= (uint8_t)~FLAG_INITIATION;
    if (step == ML_CURVE_BAD) {
        /* The peer's key is no key: nothing will ever reach it. */
        wg->counters.gave_up_dropped += p->stage_count;
        stage_flush(wg, p);
        return false;
    }
    ml_wg_tai_stamp(&wg->tai, now, stamp);
    wg->counters.initiations_displaced += f->hs.local_index != 0 && f->slot != slot_of(wg, p);
    for (uint16_t i = 0; i < wg->flight_count; i++) {
        wg->flights[i].is_repeated = wg->flights[i].is_repeated || is_flight_of(wg, &wg->flights[i], p);
    }
    ml_wg_initiation_write(&f->hs, &wg->draft, &wg->id, p->key->b, ss, stamp, new_index(wg, p), dst);
    f->slot = slot_of(wg, p);
    f->sent_at = now;
    f->is_repeated = false;
    ml_wipe(ss, sizeof ss);
    ml_wg_cookie_add_macs(cookie_of(wg, p), now, p->key->b, dst, ML_WG_INITIATION_LEN, f->mac1);
    ml_wg_timers_initiation_sent(&p->timers, &wg->common.epoch, now, &wg->rng);
    note_deadline(wg, p);
    wg->counters.initiations_sent++;
    *out_len = ML_WG_INITIATION_LEN;
    return true;
}

/* The next packet of one peer, if there is one. */
static bool write_next(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p, uint8_t *dst, size_t *len)
{
    if ((p->flags & FLAG_INITIATION) && ml_wg_tai_is_ready(&wg->tai, now) && write_initiation(wg, now, p, dst, len)) {
        return true;
    }
    if (!ml_wg_session_can_send(&p->session, &wg->common, now)) {
        p->flags &= (uint8_t)~FLAG_KEEPALIVE;
        return false;
    }
    if (p->stage_count > 0) {
        const struct ml_wg_stage *st = &wg->stage[p->stage_head];
        size_t plain_len = st->len;
        memcpy(dst + ML_WG_DATA_HEADER, st->data, plain_len);
        stage_drop_first(wg, p);
        seal_in_place(wg, now, p, dst, plain_len, len);
        return true;
    }
    if (p->flags & FLAG_KEEPALIVE) {
        wg->counters.keepalives_sent++;
        seal_in_place(wg, now, p, dst, 0, len);
        return true;
    }
    return false;
}

bool ml_wg_poll_send(struct ml_wg *wg, ml_time now, uint8_t *dst, size_t cap, uint16_t *slot, size_t *len)
{
    uint16_t before = NONE;
    uint16_t at = wg->work_head;

    keep_time(wg, now);
    if (cap < ML_OVERLAY_MTU + ML_WG_DATA_OVERHEAD) {
        return false;
    }
    while (at != NONE) {
        struct ml_wg_peer *p = &wg->peers[at];
        uint16_t next = p->work_next;
        if (write_next(wg, now, p, dst, len)) {
            *slot = at;
            return true;
        }
        /* Only an initiation that waits, for the clock's mark to be stored, for its curve operations or for room among those
         * in flight, keeps a slot in the list. */
        if (p->flags & FLAG_INITIATION) {
            before = at;
        } else {
            remove_work(wg, p, before);
        }
        at = next;
    }
    return false;
}

enum ml_wg_event ml_wg_poll_event(struct ml_wg *wg, uint16_t *slot)
{
    if (wg->event_count == 0) {
        return ML_WG_EV_NONE;
    }
    for (uint16_t i = 0; i < wg->peer_count; i++) {
        uint16_t at = wg->event_next;
        struct ml_wg_peer *p = &wg->peers[at];
        uint8_t event = p->events & (uint8_t)-p->events; /* lowest bit */
        if (event != 0) {
            *slot = at;
            p->events &= (uint8_t)~event;
            if (p->events == 0) {
                wg->event_count--;
            }
            return event == EVENT_ESTABLISHED ? ML_WG_EV_ESTABLISHED
                   : event == EVENT_GAVE_UP   ? ML_WG_EV_GAVE_UP
                                              : ML_WG_EV_DEAD;
        }
        wg->event_next = (uint16_t)(at + 1 < wg->peer_count ? at + 1 : 0);
    }
    return ML_WG_EV_NONE;
}

/* ---- Time ---- */

static void expire_peer(struct ml_wg *wg, ml_time now, struct ml_wg_peer *p)
{
    unsigned due = ml_wg_timers_expire(&p->timers, &wg->common.epoch, now);

    if (due & ML_WG_DUE_FORGET) {
        wg->counters.gave_up_dropped += p->stage_count;
        reset_peer(wg, p);
        add_event(wg, p, EVENT_DEAD);
        return;
    }
    if (due & ML_WG_DUE_GIVE_UP) {
        wg->counters.gave_up_dropped += p->stage_count;
        stage_flush(wg, p);
        end_flights(wg, p, ML_NEVER);
        add_event(wg, p, EVENT_GAVE_UP);
    }
    if (due & ML_WG_DUE_RETRY) {
        want_handshake(wg, now, p, true);
    }
    if (due & ML_WG_DUE_INITIATION) {
        want_handshake(wg, now, p, false);
    }
    if ((due & ML_WG_DUE_KEEPALIVE) && ml_wg_session_can_send(&p->session, &wg->common, now)) {
        p->flags |= FLAG_KEEPALIVE;
        add_work(wg, p);
    }
}

void ml_wg_on_time(struct ml_wg *wg, ml_time now)
{
    if (now < wg->next_at) {
        return;
    }
    keep_time(wg, now);
    wg->next_at = ML_NEVER;
    for (uint16_t i = 0; i < wg->peer_count; i++) {
        struct ml_wg_peer *p = open_peer(wg, i);
        if (p) {
            expire_peer(wg, now, p);
            note_deadline(wg, p);
        }
    }
}

ml_time ml_wg_deadline(const struct ml_wg *wg)
{
    return wg->next_at;
}
