/*
 * The peer table: memory, records, and what each delta does to them. See netmap.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "map/netmap.h"

#include "map/map_private.h"

enum { NAME_BYTES_PER_PEER = 18, NAME_BYTES_SHARED = 256, MAX_EXTRAS = 16384, PEERS_PER_EXTRA = 16, HINT_BYTES_PER_PEER = 2 };

static const char os_names[][8] = {"",        "linux",   "windows", "macOS",   "iOS", "android",
                                   "freebsd", "openbsd", "tvOS",    "illumos", "js",  "esp32"};

_Static_assert(sizeof(struct ml_peer) <= 160, "with names and indexes a peer at rest takes 200 bytes");
_Static_assert(sizeof os_names / sizeof os_names[0] <= 16, "ml_peer.os");

/* ---- Memory ---- */

struct layout {
    uint32_t cells, ip_cells, name_bytes;
    uint16_t extras;
    uint32_t hint_bytes;
    size_t extras_at, by_id_at, key_at, disco_at, ip_at, hints_at, names_at, total;
};

static uint32_t power_of_two_above(uint32_t n)
{
    uint32_t p = 4;
    while (p < n) {
        p <<= 1;
    }
    return p;
}

static bool get_layout(const struct ml_map_cfg *cfg, struct layout *l)
{
    uint32_t n = cfg->max_peers;

    if (n == 0 || n > ML_MAP_MAX_PEERS || cfg->max_extras > MAX_EXTRAS || cfg->name_bytes > UINT32_C(1) << 28 ||
        cfg->hint_bytes > UINT32_C(1) << 24 || (cfg->hint_bytes & (cfg->hint_bytes - 1))) {
        return false;
    }
    l->extras = cfg->max_extras ? cfg->max_extras : (uint16_t)(n / PEERS_PER_EXTRA);
    l->extras = !cfg->max_extras && l->extras < ML_MAP_DEFAULT_EXTRA ? ML_MAP_DEFAULT_EXTRA : l->extras;
    l->name_bytes = cfg->name_bytes ? cfg->name_bytes : n * NAME_BYTES_PER_PEER + NAME_BYTES_SHARED;
    l->cells = power_of_two_above(n + n / 2 + 1);
    l->ip_cells = power_of_two_above(2 * n + n + 1);
    l->extras_at = n * sizeof(struct ml_peer);
    l->by_id_at = l->extras_at + l->extras * sizeof(struct ml_peer_extra);
    l->key_at = l->by_id_at + n * sizeof(uint16_t);
    l->disco_at = l->key_at + l->cells * sizeof(uint16_t);
    l->ip_at = l->disco_at + l->cells * sizeof(uint16_t);
    l->hints_at = l->ip_at + l->ip_cells * sizeof(uint16_t);
    l->hint_bytes = cfg->hint_bytes ? cfg->hint_bytes : power_of_two_above(HINT_BYTES_PER_PEER * (n < 64 ? 64 : n));
    l->names_at = l->hints_at + l->hint_bytes;
    l->total = l->names_at + l->name_bytes;
    return true;
}

size_t ml_map_mem(const struct ml_map_cfg *cfg)
{
    struct layout l;
    return get_layout(cfg, &l) ? l.total : 0;
}

void ml_map_init(struct ml_map *m, const struct ml_map_cfg *cfg, void *mem)
{
    struct layout l;
    uint8_t *base = mem;

    ml_zero(m);
    if (!get_layout(cfg, &l)) {
        return;
    }
    m->t.peers = mem;
    m->t.slot_count = cfg->max_peers;
    m->t.extras = (void *)(base + l.extras_at);
    m->max_extras = l.extras;
    m->by_id = (void *)(base + l.by_id_at);
    m->key_index = (struct ml_map_index){.cell = (void *)(base + l.key_at), .mask = l.cells - 1};
    m->disco_index = (struct ml_map_index){.cell = (void *)(base + l.disco_at), .mask = l.cells - 1};
    m->ip_index = (struct ml_map_index){.cell = (void *)(base + l.ip_at), .mask = l.ip_cells - 1};
    m->t.ip_index = m->ip_index.cell;
    m->t.ip_mask = m->ip_index.mask;
    m->hints = base + l.hints_at;
    m->hint_mask = l.hint_bytes * 8 - 1;
    m->names = base + l.names_at;
    m->name_cap = l.name_bytes;
    ml_map_clear(m);
}

static void clear_index(struct ml_map_index *x)
{
    memset(x->cell, 0xff, (x->mask + 1) * sizeof x->cell[0]); /* all ML_PEER_NONE */
}

void ml_map_clear(struct ml_map *m)
{
    for (uint16_t i = 0; i < m->peer_count; i++) {
        ml_zero(&m->t.peers[m->by_id[i]]);
    }
    clear_index(&m->key_index);
    clear_index(&m->disco_index);
    clear_index(&m->ip_index);
    memset(m->suffixes, 0, sizeof m->suffixes);
    m->t.extra_count = 0;
    m->name_len = 0;
    m->name_free = 0;
    m->peer_count = 0;
    m->unsigned_count = 0;
    ml_map_hint_clear(m);
    m->omitted = 0;
    m->next_need = ML_NEED_NONE;
    m->free_slot = 0;
    m->is_full_list = false;
    m->is_sweeping = false;
    m->is_first = false;
    m->is_replaced = false;
}

/* ---- Order of ids ---- */

/* Position of an id in by_id, or where it would go. */
static uint16_t id_position(const struct ml_map *m, uint64_t id)
{
    uint16_t low = 0;
    uint16_t high = m->peer_count;

    while (low < high) {
        uint16_t mid = (uint16_t)((low + high) / 2);
        if (m->t.peers[m->by_id[mid]].id < id) {
            low = (uint16_t)(mid + 1);
        } else {
            high = mid;
        }
    }
    return low;
}

uint16_t ml_map_find_id(const struct ml_map *m, uint64_t id)
{
    uint16_t at = id_position(m, id);
    return id && at < m->peer_count && m->t.peers[m->by_id[at]].id == id ? m->by_id[at] : ML_PEER_NONE;
}

uint16_t ml_map_at(const struct ml_map *m, uint16_t position)
{
    return position < m->peer_count ? m->by_id[position] : ML_PEER_NONE;
}

/* ---- Records ---- */

ml_ip ml_map_peer_ip4(const struct ml_peer *p)
{
    static const uint8_t none[4];
    return memcmp(p->ip4, none, 4) == 0 ? (ml_ip){{0}} : ml_ip_from4(p->ip4);
}

ml_ip ml_map_peer_ip6(const struct ml_peer *p)
{
    return ml_ip_from16(p->ip6);
}

const char *ml_map_peer_os(const struct ml_peer *p)
{
    return p->os < sizeof os_names / sizeof os_names[0] ? os_names[p->os] : "";
}

static uint8_t os_code(const char *os)
{
    for (size_t i = 1; i < sizeof os_names / sizeof os_names[0]; i++) {
        if (strcmp(os_names[i], os) == 0) {
            return (uint8_t)i;
        }
    }
    return 0;
}

uint8_t ml_map_peer_endpoints(const struct ml_peer *p, ml_addr out[ML_PEER_EP_MAX])
{
    const uint8_t *b = p->ep;

    if (p->flags & ML_PEER_IS_EXPIRED) {
        return 0;
    }
    for (uint8_t i = 0; i < p->ep_count; i++) {
        bool is6 = (p->ep_is6 >> i) & 1;
        out[i].ip = is6 ? ml_ip_from16(b) : ml_ip_from4(b);
        b += is6 ? 16 : 4;
        out[i].port = ml_get_be16(b);
        b += 2;
    }
    return p->ep_count;
}

/* Which of a list of endpoints are kept: the first IPv6, then what fits of IPv4, then of the other IPv6. */
static unsigned choose_endpoints(const ml_addr *list, uint8_t count)
{
    unsigned chosen = 0;
    unsigned n = 0;
    size_t room = ML_PEER_EP_BYTES;

    for (int pass = 0; pass < 3; pass++) {
        for (uint8_t i = 0; i < count && n < ML_PEER_EP_MAX; i++) {
            bool is6 = !ml_ip_is4(&list[i].ip);
            size_t len = is6 ? 18 : 6;
            if (is6 == (pass == 1) || (chosen & 1U << i) || room < len) {
                continue;
            }
            chosen |= 1U << i;
            room -= len;
            n++;
            if (pass == 0) {
                break;
            }
        }
    }
    return chosen;
}

/* Packs what is chosen, in its order. */
static void pack_endpoints(struct ml_map *m, struct ml_peer *p, const ml_addr *list, uint8_t count, uint8_t dropped)
{
    struct ml_writer w = ml_writer_of(p->ep, sizeof p->ep);
    uint8_t n_list = count < ML_NODE_ENDPOINTS ? count : ML_NODE_ENDPOINTS;
    unsigned chosen = choose_endpoints(list, n_list);
    unsigned is6_bits = 0;
    unsigned kept = 0;

    memset(p->ep, 0, sizeof p->ep);
    for (uint8_t i = 0; i < n_list; i++) {
        bool is6 = !ml_ip_is4(&list[i].ip);
        if (!(chosen & 1U << i)) {
            dropped++;
            continue;
        }
        ml_write_bytes(&w, list[i].ip.b + (is6 ? 0 : 12), is6 ? 16 : 4);
        ml_write_be16(&w, list[i].port);
        is6_bits |= (unsigned)is6 << kept++;
    }
    p->ep_count = kept & 15U;
    p->ep_is6 = is6_bits & 255U;
    m->counts.endpoint_over_limit += dropped;
}

static uint32_t clamp_time(int64_t t)
{
    if (t <= 0) {
        return t < 0 ? 1 : 0;
    }
    return t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

static void set_flag(struct ml_peer *p, uint16_t flag, bool is_on)
{
    p->flags = (uint16_t)(is_on ? p->flags | flag : p->flags & ~flag);
}

/* ---- Removing and making room ---- */

static void index_all(struct ml_map *m, uint16_t slot, void (*change)(struct ml_map *, enum ml_map_field, uint16_t))
{
    change(m, ML_FIELD_KEY, slot);
    change(m, ML_FIELD_DISCO, slot);
    change(m, ML_FIELD_IP4, slot);
    change(m, ML_FIELD_IP6, slot);
}

static void remove_peer(struct ml_map *m, uint16_t slot, struct ml_map_change *c)
{
    struct ml_peer *p = &m->t.peers[slot];
    uint16_t at = id_position(m, p->id);

    c->what |= ML_MAP_REMOVED;
    c->slot = slot;
    c->old_id = p->id;
    c->old_key = p->key;
    c->old_disco = p->disco;
    index_all(m, slot, ml_map_index_remove);
    ml_map_name_remove(m, slot);
    if (p->flags & ML_PEER_HAS_EXTRA) {
        ml_map_extras_set(m, slot, NULL, 0);
    }
    m->unsigned_count -= (p->flags & ML_PEER_IS_UNSIGNED) != 0;
    m->peer_count--;
    memmove(&m->by_id[at], &m->by_id[at + 1], (size_t)(m->peer_count - at) * sizeof m->by_id[0]);
    ml_zero(p);
    m->free_slot = slot < m->free_slot ? slot : m->free_slot;
}

enum { NEED_SHIFT = 11 };
_Static_assert(ML_NEED_LIVE << NEED_SHIFT == ML_PEER_NEED, "every need has a value in the flags");

static enum ml_map_need need_of(const struct ml_peer *p)
{
    return (enum ml_map_need)((p->flags & ML_PEER_NEED) >> NEED_SHIFT);
}

static void put_need(struct ml_peer *p, enum ml_map_need need)
{
    p->flags = (uint16_t)((p->flags & ~ML_PEER_NEED) | (unsigned)need << NEED_SHIFT);
}

void ml_map_set_need(struct ml_map *m, uint16_t slot, enum ml_map_need need)
{
    if (ml_map_peer(m, slot)) {
        put_need(&m->t.peers[slot], need);
    }
}

enum ml_map_need ml_map_need_of(const struct ml_map *m, uint16_t slot)
{
    const struct ml_peer *p = ml_map_peer(m, slot);
    return p ? need_of(p) : ML_NEED_NONE;
}

/* Whether @p a leaves before @p b: needed less, or as much but not named by the full list, or else the higher id. */
static bool leaves_before(const struct ml_map *m, const struct ml_peer *a, const struct ml_peer *b)
{
    if (need_of(a) != need_of(b)) {
        return need_of(a) < need_of(b);
    }
    bool is_a_named = !m->is_full_list || (a->flags & ML_PEER_MARK_NAMED);
    bool is_b_named = !m->is_full_list || (b->flags & ML_PEER_MARK_NAMED);
    return is_a_named != is_b_named ? is_b_named : a->id > b->id;
}

/* Who leaves a full table for a newcomer; ML_PEER_NONE when all that are there come before it. */
static uint16_t find_victim(const struct ml_map *m, uint64_t id)
{
    const struct ml_peer newcomer = {.id = id, .flags = (uint16_t)(m->next_need << NEED_SHIFT | ML_PEER_MARK_NAMED)};
    uint16_t worst = m->by_id[m->peer_count - 1];
    for (uint16_t i = m->peer_count; i-- > 0;) {
        if (leaves_before(m, &m->t.peers[m->by_id[i]], &m->t.peers[worst])) {
            worst = m->by_id[i];
        }
    }
    bool is_fixed = need_of(&m->t.peers[worst]) == ML_NEED_LIVE;
    return !is_fixed && leaves_before(m, &m->t.peers[worst], &newcomer) ? worst : ML_PEER_NONE;
}

/* Remembers a peer that has no slot (any more). */
static void leave_out(struct ml_map *m, const ml_node_key *key, const ml_ip *ip4, const ml_ip *ip6)
{
    bool is_new = ml_map_hint_add(m, key->b, sizeof key->b);
    if (ml_ip_is_set(ip4)) {
        ml_map_hint_add(m, ip4->b, sizeof ip4->b);
    }
    if (ml_ip_is_set(ip6)) {
        ml_map_hint_add(m, ip6->b, sizeof ip6->b);
    }
    if (m->is_full_list || is_new || m->omitted == 0) {
        m->omitted++; /* once for each peer, not once for each word about it */
    }
    m->counts.peer_over_limit++;
}

static void leave_out_node(struct ml_map *m, const struct ml_node *n)
{
    ml_ip ip4 = {{0}};
    ml_ip ip6 = {{0}};
    for (uint8_t i = n->address_count; i-- > 0;) {
        *(ml_ip_is4(&n->addresses[i].ip) ? &ip4 : &ip6) = n->addresses[i].ip;
    }
    leave_out(m, &n->key, &ip4, &ip6);
}

/* A slot for a new peer, entered in the order of ids; ML_PEER_NONE when it has to stay out. */
static uint16_t take_slot(struct ml_map *m, const struct ml_node *n, struct ml_map_change *c)
{
    if (m->peer_count == m->t.slot_count) {
        uint16_t victim = find_victim(m, n->id);
        if (victim == ML_PEER_NONE) {
            leave_out_node(m, n);
            return ML_PEER_NONE;
        }
        const struct ml_peer *p = &m->t.peers[victim];
        if (!m->is_full_list || (p->flags & ML_PEER_MARK_NAMED)) {
            ml_ip ip4 = ml_map_peer_ip4(p);
            ml_ip ip6 = ml_map_peer_ip6(p);
            leave_out(m, &p->key, &ip4, &ip6);
        }
        remove_peer(m, victim, c);
    }
    while (m->t.peers[m->free_slot].id) {
        m->free_slot++;
    }
    uint16_t slot = m->free_slot;
    uint16_t at = id_position(m, n->id);
    memmove(&m->by_id[at + 1], &m->by_id[at], (size_t)(m->peer_count - at) * sizeof m->by_id[0]);
    m->by_id[at] = slot;
    m->peer_count++;
    m->t.peers[slot].id = n->id;
    return slot;
}

/* ---- A whole node ---- */

#define NODE_EXTRAS (ML_NODE_ALLOWED + 2)

static void add_extra(struct ml_peer_extra *list, size_t *count, uint16_t slot, const ml_prefix *net,
                      enum ml_peer_extra_kind kind)
{
    struct ml_peer_extra e = {.ip = net->ip, .bits = net->bits, .kind = (uint8_t)kind, .slot = slot};

    for (size_t i = 0; i < *count; i++) {
        if (ml_ip_equal(&list[i].ip, &e.ip) && list[i].bits == e.bits && list[i].kind == e.kind) {
            return;
        }
    }
    if (*count < NODE_EXTRAS) {
        list[(*count)++] = e;
    }
}

static bool is_listed(const ml_prefix *list, uint8_t count, const ml_prefix *net)
{
    for (uint8_t i = 0; i < count; i++) {
        if (ml_prefix_equal(&list[i], net)) {
            return true;
        }
    }
    return false;
}

/* Sorts what the peer may use into own addresses (flags) and extras, as net/routemanager does. */
static size_t sort_routes(struct ml_peer *p, uint16_t slot, const struct ml_node *n, struct ml_peer_extra *list)
{
    const ml_prefix *allowed = n->is_unsigned_peerapi_only ? n->addresses : n->allowed;
    uint8_t allowed_count = n->is_unsigned_peerapi_only ? n->address_count : n->allowed_count;
    ml_ip ip4 = ml_map_peer_ip4(p);
    ml_ip ip6 = ml_map_peer_ip6(p);
    size_t count = 0;

    for (uint8_t i = 0; i < allowed_count; i++) {
        const ml_prefix *net = &allowed[i];
        if (ml_prefix_has_host_bits(net)) {
            continue;
        }
        if (net->bits == 0) {
            add_extra(list, &count, slot, net, ML_EXTRA_DEFAULT);
        } else if (ml_prefix_is_host(net) && ml_ip_equal(&net->ip, &ip4)) {
            p->flags |= ML_PEER_ROUTES_IP4;
        } else if (ml_prefix_is_host(net) && ml_ip_equal(&net->ip, &ip6)) {
            p->flags |= ML_PEER_ROUTES_IP6;
        } else if ((ml_prefix_is_host(net) && ml_ip_is_tailscale(&net->ip)) || is_listed(n->addresses, n->address_count, net)) {
            add_extra(list, &count, slot, net, ML_EXTRA_ADDRESS);
        } else {
            add_extra(list, &count, slot, net, ML_EXTRA_SUBNET);
        }
    }
    if (ml_ip_is_set(&n->masq4)) {
        add_extra(list, &count, slot, &(ml_prefix){.ip = n->masq4, .bits = 32}, ML_EXTRA_MASQ);
    }
    if (ml_ip_is_set(&n->masq6)) {
        add_extra(list, &count, slot, &(ml_prefix){.ip = n->masq6, .bits = 128}, ML_EXTRA_MASQ);
    }
    return count;
}

static void set_addresses(struct ml_peer *p, const struct ml_node *n)
{
    static const uint8_t none[16];

    memset(p->ip4, 0, sizeof p->ip4);
    memset(p->ip6, 0, sizeof p->ip6);
    for (uint8_t i = 0; i < n->address_count && i < ML_NODE_ADDRESSES; i++) {
        const ml_prefix *a = &n->addresses[i];
        if (!ml_prefix_is_host(a)) {
            continue;
        }
        if (ml_ip_is4(&a->ip) && memcmp(p->ip4, none, 4) == 0) {
            memcpy(p->ip4, a->ip.b + 12, 4);
        } else if (ml_ip_is6(&a->ip) && memcmp(p->ip6, none, 16) == 0) {
            memcpy(p->ip6, a->ip.b, 16);
        }
    }
}

static void fill_record(struct ml_map *m, struct ml_peer *p, const struct ml_node *n)
{
    p->user_id = n->user_id;
    p->key = n->key;
    p->disco = n->disco;
    p->key_expiry = clamp_time(n->key_expiry);
    p->home_region = n->home_region;
    p->cap = n->cap;
    p->peerapi4 = n->peerapi4;
    p->peerapi6 = n->peerapi6;
    p->os = os_code(n->os) & 15U;
    p->flags &= ML_PEER_HAS_EXTRA | ML_PEER_NEED;
    p->flags |= ML_PEER_MARK_NAMED;
    set_flag(p, ML_PEER_IS_ONLINE_KNOWN, n->is_online_known);
    set_flag(p, ML_PEER_IS_ONLINE, n->is_online_known && n->is_online);
    set_flag(p, ML_PEER_IS_EXPIRED, n->is_expired);
    set_flag(p, ML_PEER_IS_WIREGUARD_ONLY, n->is_wireguard_only);
    set_flag(p, ML_PEER_IS_JAILED, n->is_jailed);
    set_flag(p, ML_PEER_IS_UNSIGNED, n->is_unsigned_peerapi_only);
    set_flag(p, ML_PEER_HAS_SIGNATURE, n->has_key_signature);
    set_flag(p, ML_PEER_IS_AUTHORIZED, n->is_machine_authorized);
    set_addresses(p, n);
    pack_endpoints(m, p, n->endpoints, n->endpoint_count, n->endpoint_dropped);
}

static bool flags_differ(const struct ml_peer *a, const struct ml_peer *b, uint16_t flags)
{
    return ((a->flags ^ b->flags) & flags) != 0;
}

static uint32_t compare_records(const struct ml_peer *was, const struct ml_peer *is)
{
    uint32_t what = 0;

    what |= ml_key_equal(&was->key, &is->key) ? 0 : ML_MAP_KEY;
    what |= ml_key_equal(&was->disco, &is->disco) ? 0 : ML_MAP_DISCO;
    if (was->ep_count != is->ep_count || was->ep_is6 != is->ep_is6 || memcmp(was->ep, is->ep, sizeof is->ep) != 0) {
        what |= ML_MAP_ENDPOINTS;
    }
    what |= was->home_region == is->home_region ? 0 : ML_MAP_REGION;
    if (memcmp(was->ip4, is->ip4, 4) != 0 || memcmp(was->ip6, is->ip6, 16) != 0 ||
        flags_differ(was, is, ML_PEER_ROUTES_IP4 | ML_PEER_ROUTES_IP6 | ML_PEER_IS_WIREGUARD_ONLY)) {
        what |= ML_MAP_ADDRESS;
    }
    if (flags_differ(was, is, ML_PEER_IS_EXPIRED)) {
        what |= (is->flags & ML_PEER_IS_EXPIRED) ? ML_MAP_EXPIRED : ML_MAP_RENEWED;
    }
    what |= flags_differ(was, is, ML_PEER_IS_JAILED | ML_PEER_IS_UNSIGNED) ? ML_MAP_JAILED : 0;
    what |= flags_differ(was, is, ML_PEER_IS_ONLINE | ML_PEER_IS_ONLINE_KNOWN) ? ML_MAP_ONLINE : 0;
    if (was->user_id != is->user_id || was->cap != is->cap || was->peerapi4 != is->peerapi4 || was->peerapi6 != is->peerapi6 ||
        was->os != is->os || was->key_expiry != is->key_expiry || was->last_seen != is->last_seen ||
        flags_differ(was, is, ML_PEER_HAS_SIGNATURE | ML_PEER_IS_AUTHORIZED)) {
        what |= ML_MAP_OTHER;
    }
    return what;
}

static void report(struct ml_map_change *c, uint16_t slot, const struct ml_peer *was, uint32_t what)
{
    c->what |= what;
    if (c->what) {
        c->slot = slot;
    }
    if (what & ML_MAP_KEY) {
        c->old_key = was->key;
    }
    if (what & ML_MAP_DISCO) {
        c->old_disco = was->disco;
    }
}

/* Puts `now` in the place of the record in `slot`, keeping the indexes right. */
static void replace_record(struct ml_map *m, uint16_t slot, const struct ml_peer *now)
{
    struct ml_peer *p = &m->t.peers[slot];

    index_all(m, slot, ml_map_index_remove);
    m->unsigned_count -= (p->flags & ML_PEER_IS_UNSIGNED) != 0;
    *p = *now;
    m->unsigned_count += (p->flags & ML_PEER_IS_UNSIGNED) != 0;
    index_all(m, slot, ml_map_index_add);
}

static void apply_node(struct ml_map *m, const struct ml_node *n, struct ml_map_change *c)
{
    struct ml_peer_extra extras[NODE_EXTRAS];
    char old_name[ML_NAME_CAP + 1];

    if (!n || n->id == 0) {
        return;
    }
    uint16_t slot = ml_map_find_id(m, n->id);
    bool is_new = slot == ML_PEER_NONE;
    if (is_new) {
        slot = take_slot(m, n, c);
        if (slot == ML_PEER_NONE) {
            return;
        }
    }
    struct ml_peer was = m->t.peers[slot];
    struct ml_peer now = was;
    fill_record(m, &now, n);
    if (need_of(&now) <= ML_NEED_ALLOWED) {
        put_need(&now, m->next_need);
    }
    size_t extra_count = sort_routes(&now, slot, n, extras);
    replace_record(m, slot, &now);

    uint32_t what = is_new ? ML_MAP_ADDED : compare_records(&was, &now);
    m->counts.route_over_limit += n->allowed_dropped;
    if (!ml_map_extras_equal(m, slot, extras, extra_count)) {
        ml_map_extras_set(m, slot, extras, extra_count);
        what |= is_new ? 0 : ML_MAP_ADDRESS;
    }
    ml_map_peer_name(m, slot, old_name, sizeof old_name);
    if (strcmp(old_name, n->name) != 0) {
        ml_map_name_set(m, slot, n->name);
        what |= is_new ? 0 : ML_MAP_NAME;
    }
    report(c, slot, &was, what);
}

/* ---- Patches ---- */

/*
 * The reference refuses a patch that brings a disco key together with "offline" and a LastSeen not later than the known one:
 * it is older than what we have.
 */
static bool is_stale_patch(const struct ml_peer *p, const struct ml_node_patch *d)
{
    uint32_t needed = ML_PATCH_DISCO | ML_PATCH_ONLINE | ML_PATCH_LAST_SEEN;
    return (d->fields & needed) == needed && !d->is_online && p->last_seen && clamp_time(d->last_seen) <= p->last_seen;
}

static void apply_patch(struct ml_map *m, const struct ml_node_patch *d, struct ml_map_change *c)
{
    uint16_t slot = d ? ml_map_find_id(m, d->id) : ML_PEER_NONE;

    if (slot == ML_PEER_NONE && m->omitted && d && (d->fields & ML_PATCH_KEY)) {
        ml_map_hint_add(m, d->key.b, sizeof d->key.b); /* of a peer that was left out */
    }
    if (slot == ML_PEER_NONE || is_stale_patch(&m->t.peers[slot], d)) {
        return;
    }
    struct ml_peer was = m->t.peers[slot];
    struct ml_peer now = was;
    if ((d->fields & ML_PATCH_REGION) && d->region) {
        now.home_region = d->region;
    }
    if ((d->fields & ML_PATCH_CAP) && d->cap) {
        now.cap = d->cap;
    }
    if (d->fields & ML_PATCH_ENDPOINTS) {
        pack_endpoints(m, &now, d->endpoints, d->endpoint_count, d->endpoint_dropped);
    }
    if (d->fields & ML_PATCH_KEY) {
        now.key = d->key;
    }
    if (d->fields & ML_PATCH_DISCO) {
        now.disco = d->disco;
    }
    if (d->fields & ML_PATCH_ONLINE) {
        set_flag(&now, ML_PEER_IS_ONLINE, d->is_online);
        now.flags |= ML_PEER_IS_ONLINE_KNOWN | ML_PEER_MARK_PATCHED;
    }
    if (d->fields & ML_PATCH_LAST_SEEN) {
        now.last_seen = clamp_time(d->last_seen);
    }
    if (d->fields & ML_PATCH_KEY_EXPIRY) {
        now.key_expiry = clamp_time(d->key_expiry);
        if (now.flags & ML_PEER_MARK_LOCAL_EXPIRY) {
            now.flags &= (uint16_t) ~(ML_PEER_MARK_LOCAL_EXPIRY | ML_PEER_IS_EXPIRED);
        }
    }
    if (d->fields & ML_PATCH_KEY_SIGNATURE) {
        now.flags |= ML_PEER_HAS_SIGNATURE;
    }
    replace_record(m, slot, &now);
    report(c, slot, &was, compare_records(&was, &now));
}

static void apply_online(struct ml_map *m, uint64_t id, bool is_online, struct ml_map_change *c)
{
    uint16_t slot = ml_map_find_id(m, id);

    if (slot == ML_PEER_NONE || (m->t.peers[slot].flags & ML_PEER_MARK_PATCHED)) {
        return;
    }
    struct ml_peer was = m->t.peers[slot];
    set_flag(&m->t.peers[slot], ML_PEER_IS_ONLINE, is_online);
    m->t.peers[slot].flags |= ML_PEER_IS_ONLINE_KNOWN;
    report(c, slot, &was, compare_records(&was, &m->t.peers[slot]));
}

static void apply_seen(struct ml_map *m, uint64_t id, bool is_seen, int64_t unix_now, struct ml_map_change *c)
{
    uint16_t slot = ml_map_find_id(m, id);

    if (slot == ML_PEER_NONE) {
        return;
    }
    struct ml_peer was = m->t.peers[slot];
    m->t.peers[slot].last_seen = is_seen ? clamp_time(unix_now) : 0;
    report(c, slot, &was, compare_records(&was, &m->t.peers[slot]));
}

static void apply_removed(struct ml_map *m, uint64_t id, struct ml_map_change *c)
{
    uint16_t slot = ml_map_find_id(m, id);

    /* Changes come after removals, whatever the order of the fields: a peer named in this message stays. */
    if (slot != ML_PEER_NONE && !(m->t.peers[slot].flags & ML_PEER_MARK_NAMED)) {
        remove_peer(m, slot, c);
    }
}

/* ---- Messages ---- */

static void clear_marks(struct ml_map *m)
{
    for (uint16_t i = 0; i < m->peer_count; i++) {
        m->t.peers[m->by_id[i]].flags &= (uint16_t) ~(ML_PEER_MARK_NAMED | ML_PEER_MARK_PATCHED);
    }
}

static void end_message(struct ml_map *m)
{
    m->is_full_list = false;
    m->is_first = false;
    m->is_replaced = false;
}

static void start_sweep(struct ml_map *m)
{
    m->is_sweeping = true;
    m->sweep_at = 0;
}

static void apply_peer_delta(struct ml_map *m, const struct ml_delta *d, int64_t unix_now, struct ml_map_change *c)
{
    switch (d->type) {
    case ML_DELTA_PEER:
        apply_node(m, d->node, c);
        break;
    case ML_DELTA_PEER_REMOVED:
        apply_removed(m, d->id, c);
        break;
    case ML_DELTA_PEER_SEEN:
        apply_seen(m, d->id, d->flag, unix_now, c);
        break;
    case ML_DELTA_PEER_ONLINE:
        apply_online(m, d->id, d->flag, c);
        break;
    case ML_DELTA_PEER_PATCH:
        apply_patch(m, d->patch, c);
        break;
    default:
        break;
    }
}

void ml_map_apply(struct ml_map *m, const struct ml_delta *d, int64_t unix_now, struct ml_map_change *change)
{
    ml_zero(change);
    change->slot = ML_PEER_NONE;
    switch (d->type) {
    case ML_DELTA_BEGIN:
        end_message(m);
        clear_marks(m);
        m->is_sweeping = false;
        m->is_first = d->first;
        break;
    case ML_DELTA_PEERS_BEGIN:
        clear_marks(m);
        m->is_full_list = true;
        ml_map_hint_clear(m);
        m->omitted = 0;
        break;
    case ML_DELTA_PEERS_END:
        if (m->is_full_list) {
            m->is_full_list = false;
            m->is_replaced = true;
            start_sweep(m);
        }
        break;
    case ML_DELTA_END:
        if (m->is_first && !m->is_replaced) {
            ml_map_hint_clear(m);
            m->omitted = 0;
            start_sweep(m); /* a new stream knows of no peers but those it named */
        }
        end_message(m);
        break;
    case ML_DELTA_ABORT:
        end_message(m);
        break;
    default:
        if (!m->is_replaced) {
            apply_peer_delta(m, d, unix_now, change);
        }
        m->next_need = ML_NEED_NONE;
        break;
    }
}

bool ml_map_sweep(struct ml_map *m, struct ml_map_change *change)
{
    ml_zero(change);
    change->slot = ML_PEER_NONE;
    for (; m->is_sweeping && m->sweep_at < m->peer_count; m->sweep_at++) {
        uint16_t slot = m->by_id[m->sweep_at];
        if (!(m->t.peers[slot].flags & ML_PEER_MARK_NAMED)) {
            remove_peer(m, slot, change);
            return true;
        }
    }
    m->is_sweeping = false;
    return false;
}

/* ---- Expiry, disco keys from the tunnel ---- */

bool ml_map_expire(struct ml_map *m, int64_t unix_now, struct ml_map_change *change)
{
    ml_zero(change);
    change->slot = ML_PEER_NONE;
    for (uint16_t i = 0; unix_now >= ML_MAP_CLOCK_MIN && i < m->peer_count; i++) {
        struct ml_peer *p = &m->t.peers[m->by_id[i]];
        if (p->key_expiry && p->key_expiry <= unix_now && !(p->flags & ML_PEER_IS_EXPIRED)) {
            p->flags |= ML_PEER_IS_EXPIRED | ML_PEER_MARK_LOCAL_EXPIRY;
            change->what = ML_MAP_EXPIRED;
            change->slot = m->by_id[i];
            return true;
        }
    }
    return false;
}

int64_t ml_map_next_expiry(const struct ml_map *m)
{
    int64_t next = 0;

    for (uint16_t i = 0; i < m->peer_count; i++) {
        const struct ml_peer *p = &m->t.peers[m->by_id[i]];
        if (p->key_expiry && !(p->flags & ML_PEER_IS_EXPIRED) && (next == 0 || p->key_expiry < next)) {
            next = p->key_expiry;
        }
    }
    return next;
}

void ml_map_set_disco(struct ml_map *m, uint16_t slot, const ml_disco_key *disco, struct ml_map_change *change)
{
    ml_zero(change);
    change->slot = ML_PEER_NONE;
    if (!ml_map_peer(m, slot) || !ml_key_is_set(disco) || ml_key_equal(&m->t.peers[slot].disco, disco)) {
        return;
    }
    struct ml_peer was = m->t.peers[slot];
    struct ml_peer now = was;
    now.disco = *disco;
    replace_record(m, slot, &now);
    report(change, slot, &was, ML_MAP_DISCO);
}

/* ---- Check ---- */

bool ml_map_check(const struct ml_map *m)
{
    uint16_t used = 0;
    uint32_t unsigneds = 0;

    for (uint16_t slot = 0; slot < m->t.slot_count; slot++) {
        const struct ml_peer *p = &m->t.peers[slot];
        used += p->id != 0;
        unsigneds += p->id && (p->flags & ML_PEER_IS_UNSIGNED);
        if (p->id && (ml_map_find_id(m, p->id) != slot || p->ep_count > ML_PEER_EP_MAX)) {
            return false;
        }
        if (!p->id && slot < m->free_slot) {
            return false;
        }
    }
    for (uint16_t i = 1; i < m->peer_count; i++) {
        if (m->t.peers[m->by_id[i - 1]].id >= m->t.peers[m->by_id[i]].id) {
            return false;
        }
    }
    for (uint16_t i = 0; i < m->t.extra_count; i++) {
        const struct ml_peer_extra *e = &m->t.extras[i];
        if (!ml_map_peer(m, e->slot) || !(m->t.peers[e->slot].flags & ML_PEER_HAS_EXTRA) || (i && e->bits > e[-1].bits)) {
            return false;
        }
    }
    return used == m->peer_count && unsigneds == m->unsigned_count && m->t.extra_count <= m->max_extras &&
           ml_map_index_check(m) && ml_map_name_check(m);
}
