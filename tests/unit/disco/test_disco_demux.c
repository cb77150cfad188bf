/*
 * Classification of datagrams. SPDX-License-Identifier: MIT
 */
#include "disco/disco_demux.h"
#include "disco/vectors.h"

/* A datagram of `len` bytes starting with `head` (hex), zeros after; on the heap in its exact size. */
static enum ml_datagram_class classify(const char *head, size_t len)
{
    uint8_t *b = calloc(1, len ? len : 1);
    size_t n;
    uint8_t *h = vec_hex(head, &n);
    memcpy(b, h, n < len ? n : len);
    enum ml_datagram_class c = ml_datagram_classify(b, len);
    free(b);
    free(h);
    return c;
}

#define STUN    "010100002112a442"
#define DISCO   "5453f09f92ac"
#define G_DISCO "00007a1100000100" DISCO
#define G_WG    "00007a1200000100"

static void D15_datagrams_are_told_apart_at_every_boundary(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        size_t len;
        enum ml_datagram_class want;
    } cases[] = {
        {"-", 0, ML_DATAGRAM_WIREGUARD},
        /* STUN: 20 bytes, two zero top bits, second byte 1 */
        {STUN, 20, ML_DATAGRAM_STUN},
        {STUN, 19, ML_DATAGRAM_WIREGUARD},
        {"000100002112a442", 20, ML_DATAGRAM_STUN},
        {"410100002112a442", 20, ML_DATAGRAM_WIREGUARD},
        {"810100002112a442", 20, ML_DATAGRAM_WIREGUARD},
        {"010200002112a442", 20, ML_DATAGRAM_WIREGUARD},
        {"010100002112a443", 20, ML_DATAGRAM_WIREGUARD},
        /* naked DISCO: 38 bytes and the magic */
        {DISCO, 38, ML_DATAGRAM_DISCO},
        {DISCO, 37, ML_DATAGRAM_WIREGUARD},
        {"5453f09f92ad", 38, ML_DATAGRAM_WIREGUARD},
        /* Geneve */
        {G_WG, 8, ML_DATAGRAM_GENEVE_WIREGUARD},
        {G_WG, 7, ML_DATAGRAM_WIREGUARD},
        {"80007a1200000100", 40, ML_DATAGRAM_WIREGUARD},        /* version bits */
        {"3f407a1200000100", 40, ML_DATAGRAM_GENEVE_WIREGUARD}, /* low bits of byte 0 and the control bit are free */
        {"00017a1200000100", 40, ML_DATAGRAM_WIREGUARD},        /* reserved bit */
        {"00007a1200000101", 40, ML_DATAGRAM_WIREGUARD},        /* reserved byte */
        {G_DISCO, 46, ML_DATAGRAM_GENEVE_DISCO},
        {G_DISCO, 45, ML_DATAGRAM_WIREGUARD},
        {"00007a1100000100", 46, ML_DATAGRAM_WIREGUARD}, /* says DISCO, has no magic */
        {"00007a1100000100", 8, ML_DATAGRAM_WIREGUARD},
        {"00007a1300000100" DISCO, 60, ML_DATAGRAM_WIREGUARD},
        /* WireGuard's four types */
        {"01000000", 148, ML_DATAGRAM_WIREGUARD},
        {"02000000", 92, ML_DATAGRAM_WIREGUARD},
        {"03000000", 64, ML_DATAGRAM_WIREGUARD},
        {"04000000", 32, ML_DATAGRAM_WIREGUARD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(classify(cases[i].head, cases[i].len), cases[i].want);
    }
}

static void D15_over_a_relay_there_is_only_disco_and_wireguard(void **state)
{
    (void)state;
    uint8_t b[64] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};
    assert_int_equal(ml_derp_packet_classify(b, 38), ML_DATAGRAM_DISCO);
    assert_int_equal(ml_derp_packet_classify(b, 37), ML_DATAGRAM_WIREGUARD);
    size_t n;
    uint8_t *geneve = vec_hex(G_DISCO, &n);
    memcpy(b, geneve, n);
    free(geneve);
    assert_int_equal(ml_derp_packet_classify(b, sizeof b), ML_DATAGRAM_WIREGUARD);
    assert_int_equal(ml_derp_packet_classify(b, 0), ML_DATAGRAM_WIREGUARD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(D15_datagrams_are_told_apart_at_every_boundary),
        cmocka_unit_test(D15_over_a_relay_there_is_only_disco_and_wireguard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
