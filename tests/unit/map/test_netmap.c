/*
 * Peer table: deltas, limits, names, expiry. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/key.h"
#include "map/netmap.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1800000000)

static struct ml_map m;
static void *mem;
static struct ml_map_change c;

static void make(uint16_t peers, uint16_t extras, uint32_t names)
{
    struct ml_map_cfg cfg = {.max_peers = peers, .max_extras = extras, .name_bytes = names};
    mem = calloc(1, ml_map_mem(&cfg));
    assert_non_null(mem);
    ml_map_init(&m, &cfg, mem);
}

static int setup(void **state)
{
    (void)state;
    make(4, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(ml_map_check(&m));
    free(mem);
    return 0;
}

static struct ml_node node(uint64_t id)
{
    struct ml_node n = {.id = id, .home_region = 1, .is_machine_authorized = true};
    snprintf(n.name, sizeof n.name, "node%u.example.ts.net.", (unsigned)id);
    ml_put_be64(n.key.b, id);
    n.key.b[31] = 1;
    ml_put_be64(n.disco.b, id);
    n.disco.b[31] = 2;
    n.addresses[0] = (ml_prefix){.ip = ml_ip4_u32(0x64400000u + (uint32_t)id), .bits = 32};
    n.addresses[1] = (ml_prefix){.ip = {{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}}, .bits = 128};
    ml_put_be64(n.addresses[1].ip.b + 8, id);
    n.address_count = 2;
    memcpy(n.allowed, n.addresses, sizeof n.addresses);
    n.allowed_count = 2;
    n.endpoints[0] = (ml_addr){.ip = ml_ip4(192, 0, 2, (uint8_t)id), .port = 41641};
    n.endpoint_count = 1;
    return n;
}

static uint32_t apply(struct ml_delta d)
{
    ml_map_apply(&m, &d, NOW, &c);
    assert_true(ml_map_check(&m));
    return c.what;
}

static uint32_t put(const struct ml_node *n)
{
    return apply((struct ml_delta){.type = ML_DELTA_PEER, .node = n});
}

static uint32_t put_id(uint64_t id)
{
    struct ml_node n = node(id);
    return put(&n);
}

static uint32_t patch(const struct ml_node_patch *p)
{
    return apply((struct ml_delta){.type = ML_DELTA_PEER_PATCH, .patch = p});
}

static void event(enum ml_delta_type type)
{
    apply((struct ml_delta){.type = type});
}

static unsigned sweep(void)
{
    unsigned n = 0;
    while (ml_map_sweep(&m, &c)) {
        assert_int_equal(c.what, ML_MAP_REMOVED);
        assert_true(ml_map_check(&m));
        n++;
    }
    return n;
}

static void full_list(const uint64_t *ids, size_t count)
{
    event(ML_DELTA_BEGIN);
    event(ML_DELTA_PEERS_BEGIN);
    for (size_t i = 0; i < count; i++) {
        put_id(ids[i]);
    }
    event(ML_DELTA_PEERS_END);
    sweep();
    event(ML_DELTA_END);
}

static void expect_ids(const uint64_t *ids, size_t count)
{
    assert_int_equal(m.peer_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(m.t.peers[ml_map_at(&m, (uint16_t)i)].id, ids[i]);
    }
}
#define EXPECT_IDS(...) expect_ids((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))
#define FULL_LIST(...)  full_list((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void a_peer_is_found_by_every_name_it_has(void **state)
{
    (void)state;
    ml_addr eps[ML_PEER_EP_MAX];
    char name[ML_NAME_CAP];
    put_id(7);
    put_id(3);
    struct ml_node n = node(7);
    uint16_t slot = ml_map_find_id(&m, 7);

    assert_int_not_equal(slot, ML_PEER_NONE);
    assert_int_equal(ml_map_find_key(&m, &n.key), slot);
    assert_int_equal(ml_map_find_disco(&m, &n.disco, ML_PEER_NONE), slot);
    assert_int_equal(ml_map_find_ip(&m, &n.addresses[0].ip), slot);
    assert_int_equal(ml_map_find_ip(&m, &n.addresses[1].ip), slot);
    assert_int_equal(ml_map_find_name(&m, "node7", 5), slot);
    assert_int_equal(ml_map_find_name(&m, "NODE7.Example.ts.net", 20), slot);
    assert_int_equal(ml_map_find_name(&m, "node7.example.ts.net.", 21), slot);
    assert_int_equal(ml_map_find_name(&m, "node7.example", 13), ML_PEER_NONE);
    assert_int_equal(ml_map_find_name(&m, "node", 4), ML_PEER_NONE);
    assert_int_equal(ml_map_peer_endpoints(ml_map_peer(&m, slot), eps), 1);
    assert_true(ml_addr_equal(&eps[0], &n.endpoints[0]));
    assert_int_equal(ml_map_peer_name(&m, slot, name, sizeof name), strlen(n.name));
    assert_string_equal(name, n.name);
    EXPECT_IDS(3, 7);
}

static void C39_a_message_applies_removals_before_changes_whatever_the_order(void **state)
{
    (void)state;
    put_id(1);
    put_id(2);
    event(ML_DELTA_BEGIN);
    put_id(1);
    put_id(3);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 1}), 0);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 2}), ML_MAP_REMOVED);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 99}), 0);
    event(ML_DELTA_END);
    EXPECT_IDS(1, 3);
    assert_false(ml_map_sweep(&m, &c));
}

static void C39_a_patch_outranks_the_online_list_of_its_message(void **state)
{
    (void)state;
    struct ml_node_patch p = {.id = 1, .fields = ML_PATCH_ONLINE, .is_online = true};
    put_id(1);
    event(ML_DELTA_BEGIN);
    patch(&p);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_ONLINE, .id = 1, .flag = false}), 0);
    event(ML_DELTA_END);
    assert_true(m.t.peers[ml_map_find_id(&m, 1)].flags & ML_PEER_IS_ONLINE);
    event(ML_DELTA_BEGIN);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_ONLINE, .id = 1, .flag = false}), ML_MAP_ONLINE);
}

static void C39_a_full_list_replaces_the_peers_and_hides_other_peer_fields(void **state)
{
    (void)state;
    FULL_LIST(1, 2, 3);
    uint16_t slot = ml_map_find_id(&m, 2);
    event(ML_DELTA_BEGIN);
    event(ML_DELTA_PEERS_BEGIN);
    put_id(2);
    put_id(4);
    event(ML_DELTA_PEERS_END);
    assert_int_equal(sweep(), 2);
    assert_int_equal(put_id(5), 0);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 4}), 0);
    event(ML_DELTA_END);
    EXPECT_IDS(2, 4);
    assert_int_equal(ml_map_find_id(&m, 2), slot); /* who stays keeps the slot */
    event(ML_DELTA_BEGIN);                         /* no Peers: unchanged */
    event(ML_DELTA_END);
    assert_false(ml_map_sweep(&m, &c));
    EXPECT_IDS(2, 4);
}

static void C39_the_first_message_of_a_stream_without_peers_empties_the_table(void **state)
{
    (void)state;
    FULL_LIST(1, 2);
    apply((struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    event(ML_DELTA_END);
    assert_int_equal(sweep(), 2);
    assert_int_equal(m.peer_count, 0);
}

static void a_full_list_that_breaks_off_removes_nobody(void **state)
{
    (void)state;
    FULL_LIST(1, 2);
    apply((struct ml_delta){.type = ML_DELTA_BEGIN, .first = true});
    event(ML_DELTA_PEERS_BEGIN);
    put_id(3);
    event(ML_DELTA_ABORT);
    assert_false(ml_map_sweep(&m, &c));
    EXPECT_IDS(1, 2, 3);
}

static void C40_each_field_of_a_patch_does_its_own(void **state)
{
    (void)state;
    struct ml_node n = node(5);
    struct ml_node_patch p = {.id = 5};
    ml_addr eps[ML_PEER_EP_MAX];
    put(&n);
    uint16_t slot = ml_map_find_id(&m, 5);
    const struct ml_peer *peer = &m.t.peers[slot];

    p.fields = ML_PATCH_REGION | ML_PATCH_CAP; /* zero: unchanged */
    assert_int_equal(patch(&p), 0);
    p.region = 9;
    p.cap = 130;
    assert_int_equal(patch(&p), ML_MAP_REGION | ML_MAP_OTHER);
    assert_true(peer->home_region == 9 && peer->cap == 130);

    p = (struct ml_node_patch){.id = 5, .fields = ML_PATCH_ENDPOINTS};
    assert_int_equal(patch(&p), ML_MAP_ENDPOINTS); /* [] clears */
    assert_int_equal(ml_map_peer_endpoints(peer, eps), 0);

    p = (struct ml_node_patch){.id = 5, .fields = ML_PATCH_KEY};
    p.key.b[3] = 0x55;
    assert_int_equal(patch(&p), ML_MAP_KEY);
    assert_true(ml_key_equal(&c.old_key, &n.key));
    assert_int_equal(ml_map_find_key(&m, &n.key), ML_PEER_NONE);
    assert_int_equal(ml_map_find_key(&m, &p.key), slot);

    p = (struct ml_node_patch){.id = 5, .fields = ML_PATCH_DISCO}; /* all zero: no disco */
    assert_int_equal(patch(&p), ML_MAP_DISCO);
    assert_int_equal(ml_map_find_disco(&m, &n.disco, ML_PEER_NONE), ML_PEER_NONE);

    p = (struct ml_node_patch){.id = 5, .fields = ML_PATCH_ONLINE | ML_PATCH_LAST_SEEN, .last_seen = 77};
    assert_int_equal(patch(&p), ML_MAP_ONLINE | ML_MAP_OTHER);
    assert_true((peer->flags & ML_PEER_IS_ONLINE_KNOWN) && !(peer->flags & ML_PEER_IS_ONLINE) && peer->last_seen == 77);

    p = (struct ml_node_patch){.id = 5, .fields = ML_PATCH_KEY_EXPIRY | ML_PATCH_KEY_SIGNATURE, .key_expiry = 88};
    assert_int_equal(patch(&p), ML_MAP_OTHER);
    assert_int_equal(peer->key_expiry, 88);
    p.key_expiry = 0;
    patch(&p);
    assert_int_equal(peer->key_expiry, 0);

    p = (struct ml_node_patch){.id = 6, .fields = ML_PATCH_KEY};
    assert_int_equal(patch(&p), 0); /* unknown node */
    assert_int_equal(m.peer_count, 1);
}

static void C40_an_older_disco_key_of_an_offline_peer_is_refused(void **state)
{
    (void)state;
    struct ml_node_patch p = {.id = 1, .fields = ML_PATCH_DISCO | ML_PATCH_ONLINE | ML_PATCH_LAST_SEEN, .last_seen = 100};
    p.disco.b[0] = 9;
    put_id(1);
    assert_true(patch(&p) & ML_MAP_DISCO); /* nothing known to compare with */
    p.disco.b[0] = 8;
    assert_int_equal(patch(&p), 0);
    p.last_seen = 101;
    assert_true(patch(&p) & ML_MAP_DISCO);
    p.disco.b[0] = 7;
    p.is_online = true;
    p.last_seen = 50;
    assert_true(patch(&p) & ML_MAP_DISCO);
}

static void seen_and_online_changes_are_kept(void **state)
{
    (void)state;
    put_id(1);
    const struct ml_peer *p = &m.t.peers[ml_map_find_id(&m, 1)];
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_SEEN, .id = 1, .flag = true}), ML_MAP_OTHER);
    assert_int_equal(p->last_seen, NOW);
    apply((struct ml_delta){.type = ML_DELTA_PEER_SEEN, .id = 1, .flag = false});
    assert_int_equal(p->last_seen, 0);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_ONLINE, .id = 1, .flag = true}), ML_MAP_ONLINE);
    assert_true(p->flags & ML_PEER_IS_ONLINE);
    assert_int_equal(apply((struct ml_delta){.type = ML_DELTA_PEER_ONLINE, .id = 2, .flag = true}), 0);
}

static void a_changed_node_says_what_changed(void **state)
{
    (void)state;
    struct ml_node n = node(1);
    assert_int_equal(put(&n), ML_MAP_ADDED);
    assert_int_equal(put(&n), 0);
    ml_node_key old = n.key;
    n.key.b[5] = 1;
    assert_int_equal(put(&n), ML_MAP_KEY);
    assert_true(ml_key_equal(&old, &c.old_key));
    n.is_jailed = true;
    assert_int_equal(put(&n), ML_MAP_JAILED);
    n.is_expired = true;
    assert_int_equal(put(&n), ML_MAP_EXPIRED);
    n.is_expired = false;
    assert_int_equal(put(&n), ML_MAP_RENEWED);
    n.addresses[0].ip = n.allowed[0].ip = ml_ip4(100, 64, 9, 9);
    assert_int_equal(put(&n), ML_MAP_ADDRESS);
    n.allowed[n.allowed_count++] = (ml_prefix){.ip = ml_ip4(10, 0, 0, 0), .bits = 8};
    assert_int_equal(put(&n), ML_MAP_ADDRESS);
    assert_int_equal(put(&n), 0);
    strcpy(n.name, "other.example.ts.net.");
    assert_int_equal(put(&n), ML_MAP_NAME);
}

static void C41_a_peer_without_allowed_ips_routes_nothing(void **state)
{
    (void)state;
    struct ml_node n = node(1);
    n.allowed_count = 0; /* [] on the wire; the parser copies the addresses when the field is absent */
    put(&n);
    assert_false(m.t.peers[0].flags & (ML_PEER_ROUTES_IP4 | ML_PEER_ROUTES_IP6));
    assert_int_equal(ml_map_find_ip(&m, &n.addresses[0].ip), 0); /* still the peer of that address */
}

static void C43_the_lowest_ids_are_kept_when_there_are_more_peers_than_slots(void **state)
{
    (void)state;
    FULL_LIST(1, 2, 3, 4, 5, 6);
    EXPECT_IDS(1, 2, 3, 4);
    assert_int_equal(m.omitted, 2);
    assert_int_equal(m.counts.peer_over_limit, 2);
    FULL_LIST(9, 8, 7, 6, 5, 4, 3); /* whatever the order */
    EXPECT_IDS(3, 4, 5, 6);
    assert_int_equal(m.omitted, 3);
    FULL_LIST(7, 8);
    EXPECT_IDS(7, 8);
    assert_int_equal(m.omitted, 0);
    event(ML_DELTA_BEGIN);
    put_id(10);
    put_id(11);
    assert_int_equal(put_id(5), ML_MAP_REMOVED | ML_MAP_ADDED); /* in the place of the highest */
    assert_int_equal(c.old_id, 11);
    assert_int_equal(m.t.peers[c.slot].id, 5);
    assert_int_equal(put_id(12), 0);
    event(ML_DELTA_END);
    EXPECT_IDS(5, 7, 8, 10);
}

static void C43_who_is_needed_stays_whatever_its_id(void **state)
{
    (void)state;
    static const uint64_t all[] = {10, 20, 30, 40, 50, 60, 70};
    free(mem);
    make(3, 0, 0);
    event(ML_DELTA_BEGIN);
    event(ML_DELTA_PEERS_BEGIN);
    for (size_t i = 0; i < 7; i++) {
        static const enum ml_map_need needs[] = {ML_NEED_NONE,    ML_NEED_ALLOWED, ML_NEED_NONE,   ML_NEED_RECENT,
                                                 ML_NEED_ALLOWED, ML_NEED_NONE,    ML_NEED_ALLOWED};
        m.next_need = needs[i];
        put_id(all[i]);
    }
    event(ML_DELTA_PEERS_END);
    event(ML_DELTA_END);
    EXPECT_IDS(20, 40, 50);
    assert_int_equal(m.omitted, 4);
    assert_true(ml_map_check(&m));

    /* A session holds its place against everybody, and through a list that names all again. */
    ml_map_set_need(&m, ml_map_find_id(&m, 50), ML_NEED_LIVE);
    ml_map_set_need(&m, ml_map_find_id(&m, 20), ML_NEED_NONE);
    full_list(all, 7);
    EXPECT_IDS(10, 40, 50);
    assert_int_equal(m.omitted, 4);
    for (uint64_t id = 1; id <= 5; id++) {
        m.next_need = ML_NEED_RECENT;
        put_id(id);
    }
    EXPECT_IDS(1, 2, 50);
    /* But not against control: whom a list does not name goes at its end, and who found no room then finds it next time. */
    FULL_LIST(60, 70);
    assert_int_equal(m.peer_count, 0);
    assert_int_equal(m.omitted, 2);
    FULL_LIST(60, 70);
    EXPECT_IDS(60, 70);
    assert_int_equal(m.omitted, 0);
    assert_true(ml_map_check(&m));
}

static void C43_a_peer_that_was_left_out_is_told_from_a_stranger(void **state)
{
    (void)state;
    unsigned mistaken = 0;
    event(ML_DELTA_BEGIN);
    event(ML_DELTA_PEERS_BEGIN);
    for (uint64_t id = 1; id <= 40; id++) {
        put_id(id);
    }
    event(ML_DELTA_PEERS_END);
    event(ML_DELTA_END);
    assert_int_equal(m.omitted, 36);
    for (uint64_t id = 5; id <= 1000; id++) {
        struct ml_node n = node(id);
        if (id <= 40) {
            assert_true(ml_map_may_omit_key(&m, &n.key) && ml_map_may_omit_ip(&m, &n.addresses[0].ip));
        } else {
            mistaken += ml_map_may_omit_key(&m, &n.key);
        }
    }
    assert_true(mistaken < 100); /* of 960 strangers */
    /* Each is counted once, however often control speaks of it. */
    for (int i = 0; i < 5; i++) {
        put_id(30);
    }
    assert_int_equal(m.omitted, 36);
    FULL_LIST(1, 2);
    struct ml_node n = node(30);
    assert_false(ml_map_may_omit_key(&m, &n.key));
}

static void C43_a_table_of_one_slot_works(void **state)
{
    (void)state;
    teardown(state);
    make(1, 0, 0);
    FULL_LIST(5, 4, 6);
    EXPECT_IDS(4);
    apply((struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 4});
    event(ML_DELTA_BEGIN);
    apply((struct ml_delta){.type = ML_DELTA_PEER_REMOVED, .id = 4});
    assert_int_equal(m.peer_count, 0);
    put_id(8);
    EXPECT_IDS(8);
}

static void several_peers_may_share_a_disco_key(void **state)
{
    (void)state;
    struct ml_node a = node(1);
    struct ml_node b = node(2);
    b.disco = a.disco;
    put(&a);
    put(&b);
    uint16_t one = ml_map_find_disco(&m, &a.disco, ML_PEER_NONE);
    uint16_t two = ml_map_find_disco(&m, &a.disco, one);
    assert_true(one != ML_PEER_NONE && two != ML_PEER_NONE && one != two);
    assert_int_equal(ml_map_find_disco(&m, &a.disco, two), ML_PEER_NONE);
}

static void endpoints_that_do_not_fit_are_dropped_and_counted(void **state)
{
    (void)state;
    struct ml_node n = node(1);
    ml_addr eps[ML_PEER_EP_MAX];
    n.endpoint_count = ML_NODE_ENDPOINTS;
    for (uint8_t i = 0; i < ML_NODE_ENDPOINTS; i++) {
        n.endpoints[i] = (ml_addr){.ip = i % 2 ? ml_ip4(192, 0, 2, i) : n.addresses[1].ip, .port = (uint16_t)(1000 + i)};
    }
    put(&n);
    /* The first IPv6, and three IPv4 in the room that is left. */
    static const uint8_t kept[] = {0, 1, 3, 5};
    assert_int_equal(ml_map_peer_endpoints(&m.t.peers[0], eps), 4);
    for (uint8_t i = 0; i < 4; i++) {
        assert_true(ml_addr_equal(&eps[i], &n.endpoints[kept[i]]));
    }
    assert_int_equal(m.counts.endpoint_over_limit, 12);
    /* IPv4 alone: six. IPv6 alone: two. An IPv4 that comes last is kept before a second IPv6. */
    for (uint8_t i = 0; i < ML_NODE_ENDPOINTS; i++) {
        n.endpoints[i].ip = ml_ip4(192, 0, 2, i);
    }
    put(&n);
    assert_int_equal(ml_map_peer_endpoints(&m.t.peers[0], eps), 6);
    assert_true(ml_addr_equal(&eps[5], &n.endpoints[5]));
    for (uint8_t i = 0; i < ML_NODE_ENDPOINTS; i++) {
        n.endpoints[i].ip = n.addresses[1].ip;
    }
    put(&n);
    assert_int_equal(ml_map_peer_endpoints(&m.t.peers[0], eps), 2);
    n.endpoints[15].ip = ml_ip4(192, 0, 2, 15);
    put(&n);
    assert_int_equal(ml_map_peer_endpoints(&m.t.peers[0], eps), 2);
    assert_true(ml_addr_equal(&eps[0], &n.endpoints[0]) && ml_addr_equal(&eps[1], &n.endpoints[15]));
}

static void names_with_many_suffixes_are_kept_whole_and_a_full_heap_only_costs_names(void **state)
{
    (void)state;
    char name[ML_NAME_CAP];
    teardown(state);
    make(40, 0, 300);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t id = 1; id <= 40; id++) {
            struct ml_node n = node(id);
            snprintf(n.name, sizeof n.name, "n%u.suffix%u.net.", (unsigned)id, (unsigned)(id + round) % 11);
            put(&n);
            uint16_t slot = ml_map_find_id(&m, id);
            if (ml_map_peer_name(&m, slot, name, sizeof name)) {
                assert_string_equal(name, n.name);
            }
        }
    }
    assert_true(m.counts.name_over_limit > 0);
    assert_int_equal(m.peer_count, 40);
    FULL_LIST(2, 3);
    FULL_LIST(2, 3); /* named again, now that the others have left */
    assert_int_equal(ml_map_find_name(&m, "node3", 5), ml_map_find_id(&m, 3));
}

static void C67_a_peer_expires_by_local_time_and_comes_back_when_extended(void **state)
{
    (void)state;
    struct ml_node n = node(1);
    struct ml_node_patch p = {.id = 1, .fields = ML_PATCH_KEY_EXPIRY};
    ml_addr eps[ML_PEER_EP_MAX];
    n.key_expiry = NOW;
    put(&n);
    put_id(2);

    assert_int_equal(ml_map_next_expiry(&m), NOW);
    assert_false(ml_map_expire(&m, NOW - 1, &c));
    assert_true(ml_map_expire(&m, NOW, &c));
    assert_int_equal(c.what, ML_MAP_EXPIRED);
    assert_int_equal(m.t.peers[c.slot].id, 1);
    assert_int_equal(ml_map_peer_endpoints(&m.t.peers[c.slot], eps), 0);
    assert_false(ml_map_expire(&m, NOW, &c));
    assert_int_equal(ml_map_next_expiry(&m), 0);
    assert_int_equal(patch(&p), ML_MAP_RENEWED | ML_MAP_OTHER); /* the zero time clears the expiry */
    assert_int_equal(ml_map_peer_endpoints(&m.t.peers[c.slot], eps), 1);
    assert_false(ml_map_expire(&m, NOW + 100, &c));
}

static void C67_nothing_expires_while_the_clock_is_not_set(void **state)
{
    (void)state;
    struct ml_node n = node(1);
    n.key_expiry = 1000;
    put(&n);
    assert_false(ml_map_expire(&m, ML_MAP_CLOCK_MIN - 1, &c));
    assert_true(ml_map_expire(&m, ML_MAP_CLOCK_MIN, &c));
}

static void a_disco_key_from_the_tunnel_replaces_the_known_one_unless_zero(void **state)
{
    (void)state;
    struct ml_node n = node(1);
    ml_disco_key other = {{1, 2, 3}};
    put(&n);
    ml_map_set_disco(&m, 0, &(ml_disco_key){{0}}, &c);
    assert_int_equal(c.what, 0);
    ml_map_set_disco(&m, 0, &n.disco, &c);
    assert_int_equal(c.what, 0);
    ml_map_set_disco(&m, 0, &other, &c);
    assert_int_equal(c.what, ML_MAP_DISCO);
    assert_true(ml_key_equal(&c.old_disco, &n.disco));
    assert_int_equal(ml_map_find_disco(&m, &other, ML_PEER_NONE), 0);
    assert_true(ml_map_check(&m));
}

static void ten_thousand_peers_come_and_go(void **state)
{
    (void)state;
    teardown(state);
    make(10000, 0, 0);
    struct ml_delta d = {.type = ML_DELTA_PEER};
    for (uint64_t id = 10000; id >= 1; id--) {
        struct ml_node n = node(id);
        d.node = &n;
        ml_map_apply(&m, &d, NOW, &c);
        assert_int_equal(c.what, ML_MAP_ADDED);
    }
    assert_true(ml_map_check(&m));
    for (uint64_t id = 1; id <= 10000; id++) {
        struct ml_node n = node(id);
        assert_int_equal(m.t.peers[ml_map_find_key(&m, &n.key)].id, id);
    }
    event(ML_DELTA_BEGIN);
    event(ML_DELTA_PEERS_BEGIN);
    put_id(5000);
    event(ML_DELTA_PEERS_END);
    unsigned gone = 0;
    while (ml_map_sweep(&m, &c)) {
        gone++;
    }
    assert_int_equal(gone, 9999);
    event(ML_DELTA_END);
    assert_true(sizeof(struct ml_peer) <= 176);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_peer_is_found_by_every_name_it_has),
        T(C39_a_message_applies_removals_before_changes_whatever_the_order),
        T(C39_a_patch_outranks_the_online_list_of_its_message),
        T(C39_a_full_list_replaces_the_peers_and_hides_other_peer_fields),
        T(C39_the_first_message_of_a_stream_without_peers_empties_the_table),
        T(a_full_list_that_breaks_off_removes_nobody),
        T(C40_each_field_of_a_patch_does_its_own),
        T(C40_an_older_disco_key_of_an_offline_peer_is_refused),
        T(seen_and_online_changes_are_kept),
        T(a_changed_node_says_what_changed),
        T(C41_a_peer_without_allowed_ips_routes_nothing),
        T(C43_the_lowest_ids_are_kept_when_there_are_more_peers_than_slots),
        T(C43_who_is_needed_stays_whatever_its_id),
        T(C43_a_peer_that_was_left_out_is_told_from_a_stranger),
        T(C43_a_table_of_one_slot_works),
        T(several_peers_may_share_a_disco_key),
        T(endpoints_that_do_not_fit_are_dropped_and_counted),
        T(names_with_many_suffixes_are_kept_whole_and_a_full_heap_only_costs_names),
        T(C67_a_peer_expires_by_local_time_and_comes_back_when_extended),
        T(C67_nothing_expires_while_the_clock_is_not_set),
        T(a_disco_key_from_the_tunnel_replaces_the_known_one_unless_zero),
        T(ten_thousand_peers_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
