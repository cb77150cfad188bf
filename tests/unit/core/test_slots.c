/*
 * Floods: what one peer, or anybody, can make an engine do by sending it packets. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "core/core_net.h"

/* Both sides direct, packets flowing. */
static struct net *start_direct(void)
{
    struct net *n = net_start(NET_OPEN, NET_OPEN, 1);
    net_join(n);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(net_send(n, 0, 1, "a"), ML_OK);
        assert_int_equal(net_send(n, 1, 0, "b"), ML_OK);
        net_run(n, ML_MSEC(250));
    }
    assert_true(net_is_direct(n, 0, 1) && net_is_direct(n, 1, 0));
    n->w.n[0].inbox_count = n->w.n[1].inbox_count = 0;
    return n;
}

/* A ping, boxed by `priv` for node 1, naming `node`. */
static size_t make_ping(struct net *n, const ml_private_key *priv, const ml_node_key *node, uint32_t mark, uint8_t *buf,
                        size_t cap)
{
    struct ml_disco_msg m = {.type = ML_DISCO_PING, .node_key = *node};
    struct ml_disco_shared shared;
    ml_disco_key own;
    uint8_t plain[128];
    struct ml_writer w = ml_writer_of(plain, sizeof plain);
    const ml_random rng = {.fill = world_random, .ctx = &n->relay_seed};
    ml_put_be32(m.tx, mark);
    ml_disco_write(&w, &m);
    ml_x25519_base(own.b, priv);
    assert_true(ml_disco_shared(&shared, ml_path_disco_key(&n->w.n[1].ml->path), priv));
    return ml_disco_seal(buf, cap, &shared, &own, &rng, plain, w.len);
}

static void expect_all_well(struct net *n, const ml_addr *best_before)
{
    ml_addr best = net_direct(n, 1, 0);
    assert_true(ml_addr_equal(&best, best_before));
    assert_int_equal(net_send(n, 0, 1, "still here"), ML_OK);
    net_run(n, ML_MSEC(30));
    assert_true(world_got(&n->w, 1, "still here"));
    assert_int_equal(net_send(n, 1, 0, "and back"), ML_OK);
    net_run(n, ML_MSEC(30));
    assert_true(world_got(&n->w, 0, "and back"));
}

static void D37_a_flood_of_pings_of_a_peer_from_many_ports_keeps_its_best_path(void **state)
{
    (void)state;
    struct net *n = start_direct();
    uint8_t buf[256];
    ml_addr best = net_direct(n, 1, 0);
    unsigned sent = n->w.n[1].datagrams;
    for (uint32_t i = 0; i < 20000; i++) { /* two seconds */
        size_t len = make_ping(n, &n->w.n[0].ml->identity.disco, &n->w.n[0].ml->node_pub, i, buf, sizeof buf);
        ml_addr from = {.ip = ml_ip4(203, 0, 113, (uint8_t)(100 + i % 50)), .port = (uint16_t)(1024 + i % 60000)};
        assert_int_equal(ml_handle_datagram(n->w.n[1].ml, n->w.now, &from, buf, len), ML_OK);
        net_run(n, 100);
        if (i % 2000 == 0) {
            assert_int_equal(net_send(n, 1, 0, "x"), ML_OK);
        }
    }
    /* One pong for each, and hardly anything besides: no ping back while the path is trusted. */
    assert_in_range(n->w.n[1].datagrams - sent, 20000, 20000 + 100);
    expect_all_well(n, &best);
    net_end(n);
}

static void D18_spoofed_sources_and_keys_cost_no_curve_operation_and_no_answer(void **state)
{
    (void)state;
    struct net *n = start_direct();
    uint8_t buf[256];
    ml_stats st;
    ml_private_key stranger;
    ml_addr best = net_direct(n, 1, 0);
    const ml_random rng = {.fill = world_random, .ctx = &n->relay_seed};
    unsigned sent = n->w.n[1].datagrams;
    for (uint32_t i = 0; i < 500; i++) {
        ml_x25519_keygen(&stranger, &rng);
        size_t len = make_ping(n, &stranger, &n->w.n[0].ml->node_pub, i, buf, sizeof buf);
        ml_addr from = n->w.n[0].addr; /* in the peer's name */
        assert_int_equal(ml_handle_datagram(n->w.n[1].ml, n->w.now, &from, buf, len), ML_OK);
        net_settle(n);
    }
    ml_get_stats(n->w.n[1].ml, &st);
    assert_int_equal(st.drop[ML_DROP_DISCO_UNKNOWN_KEY], 500);
    assert_int_equal(n->w.n[1].datagrams, sent);
    assert_int_equal(n->w.n[1].ml->path.derive_count, 0);
    /* Forged in a known key's name: opened, not believed. Replayed: answered once. */
    const ml_disco_key *known = ml_path_disco_key(&n->w.n[0].ml->path);
    for (uint32_t i = 0; i < 500; i++) {
        size_t len = make_ping(n, &stranger, &n->w.n[0].ml->node_pub, i, buf, sizeof buf);
        memcpy(buf + 6, known->b, 32);
        ml_addr from = {.ip = ml_ip4(198, 51, 100, (uint8_t)i), .port = 9};
        assert_int_equal(ml_handle_datagram(n->w.n[1].ml, n->w.now, &from, buf, len), ML_OK);
        net_settle(n);
    }
    ml_get_stats(n->w.n[1].ml, &st);
    assert_int_equal(st.drop[ML_DROP_DISCO_BAD_BOX], 500);
    assert_int_equal(n->w.n[1].datagrams, sent);
    uint8_t copy[256];
    size_t len = make_ping(n, &n->w.n[0].ml->identity.disco, &n->w.n[0].ml->node_pub, 7, buf, sizeof buf);
    for (int i = 0; i < 50; i++) {
        ml_addr from = {.ip = ml_ip4(198, 51, 100, 9), .port = 9};
        memcpy(copy, buf, len);
        assert_int_equal(ml_handle_datagram(n->w.n[1].ml, n->w.now, &from, copy, len), ML_OK);
        net_settle(n);
    }
    assert_int_equal(n->w.n[1].datagrams, sent + 1);
    expect_all_well(n, &best);
    net_end(n);
}

/* A peer of the netmap without a slot: its disco key is known, so each of them could cost a curve operation. */
static void a_flood_in_the_names_of_many_known_peers_costs_twenty_curve_operations_a_second(void **state)
{
    (void)state;
    struct net *n = start_direct();
    enum { OTHERS = 14 };
    uint8_t buf[256] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};
    ml_stats st;
    ml_addr best = net_direct(n, 1, 0);
    struct ml_node node;
    const ml_random rng = {.fill = world_random, .ctx = &n->relay_seed};
    ml_private_key priv[OTHERS];
    for (unsigned i = 0; i < OTHERS; i++) {
        net_node_of(n, 0, &node);
        node.id = 500 + i;
        ml_x25519_keygen(&priv[i], &rng);
        ml_x25519_base(node.disco.b, &priv[i]);
        memset(node.key.b, (int)(0x40 + i), sizeof node.key.b);
        node.addresses[0].ip = node.allowed[0].ip = ml_ip4(100, 64, 9, (uint8_t)i);
        node.address_count = node.allowed_count = 1;
        world_delta(&n->w, 1, &(struct ml_delta){.type = ML_DELTA_PEER, .node = &node});
    }
    net_run(n, ML_SEC(2));
    for (unsigned i = 0; i < 2000; i++) { /* garbage in their names, within one second, four keys cached at a time */
        ml_disco_key key;
        ml_x25519_base(key.b, &priv[i % OTHERS]);
        memcpy(buf + 6, key.b, 32);
        ml_addr from = {.ip = ml_ip4(198, 51, 100, (uint8_t)i), .port = (uint16_t)(1 + i)};
        assert_int_equal(ml_handle_datagram(n->w.n[1].ml, n->w.now, &from, buf, 130), ML_OK);
        n->w.now += 400;
        net_settle(n);
    }
    ml_get_stats(n->w.n[1].ml, &st);
    /* Opened: those that a key was computed for, and those in the names of the four whose keys are at hand then. */
    assert_int_equal(st.drop[ML_DROP_DISCO_BAD_BOX] + st.drop[ML_DROP_DISCO_LIMITED], 2000);
    assert_in_range(st.drop[ML_DROP_DISCO_BAD_BOX], 20, 20 + 2000 * ML_PATH_KEYS / OTHERS);
    expect_all_well(n, &best);
    net_end(n);
}

static void floods_of_stun_answers_and_wireguard_nonsense_change_nothing(void **state)
{
    (void)state;
    struct net *n = start_direct();
    uint8_t buf[148];
    ml_addr best = net_direct(n, 1, 0);
    ml_self_info before, after;
    ml_get_self(n->w.n[1].ml, &before);
    unsigned sent = n->w.n[1].datagrams;
    for (unsigned i = 0; i < 5000; i++) {
        ml_addr from = {.ip = ml_ip4(198, 51, 100, (uint8_t)i), .port = (uint16_t)(1 + i)};
        world_random(&n->relay_seed, buf, sizeof buf);
        size_t len = 32 + i % 117;
        if (i % 2) { /* a STUN answer to a question nobody asked */
            memcpy(buf, "\x01\x01\x00\x0c\x21\x12\xa4\x42", 8);
            memcpy(buf + 20, "\0\x20\0\x08\0\x01", 6);
            len = 32;
        } else {
            memcpy(buf, "\x04\0\0\0", 4);
        }
        assert_int_equal(ml_handle_datagram(n->w.n[1].ml, n->w.now, &from, buf, len), ML_OK);
        net_settle(n);
    }
    assert_int_equal(n->w.n[1].datagrams, sent);
    ml_get_self(n->w.n[1].ml, &after);
    assert_memory_equal(before.endpoints, after.endpoints, sizeof before.endpoints);
    expect_all_well(n, &best);
    net_end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D37_a_flood_of_pings_of_a_peer_from_many_ports_keeps_its_best_path),
        cmocka_unit_test(D18_spoofed_sources_and_keys_cost_no_curve_operation_and_no_answer),
        cmocka_unit_test(a_flood_in_the_names_of_many_known_peers_costs_twenty_curve_operations_a_second),
        cmocka_unit_test(floods_of_stun_answers_and_wireguard_nonsense_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
