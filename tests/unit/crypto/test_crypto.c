/*
 * Unit tests of src/crypto: vectors of the RFCs, of the NaCl paper, and those printed by golang.org/x/crypto
 * (tests/vectors/crypto_primitives.txt).
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "crypto/blake2s.h"
#include "crypto/crypto_backend.h"
#include "crypto/noise_sym.h"

/* Decodes hex of any length; "-" is empty. */
static size_t unhex(const char *text, uint8_t *dst)
{
    size_t n = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    assert_true(n == 0 || ml_hex_parse(text, strlen(text), dst, n));
    return n;
}

static void assert_hex(const uint8_t *got, const char *want)
{
    uint8_t b[2048];
    size_t n = unhex(want, b);
    assert_memory_equal(got, b, n);
}

/* RFC 7693 appendix B. */
static void blake2s_of_abc(void **state)
{
    (void)state;
    uint8_t out[32];
    ml_blake2s_2(out, "a", 1, "bc", 2);
    assert_hex(out, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

static void selftest_seq(uint8_t *out, size_t len, uint32_t seed)
{
    uint32_t a = 0xDEAD4BAD * seed;
    uint32_t b = 1;
    for (size_t i = 0; i < len; i++) {
        uint32_t t = a + b;
        a = b;
        b = t;
        out[i] = (uint8_t)(t >> 24);
    }
}

/* RFC 7693 appendix E: a hash of hashes over output, key and message lengths. */
static void blake2s_grand_hash(void **state)
{
    (void)state;
    static const size_t out_lens[] = {16, 20, 28, 32};
    static const size_t in_lens[] = {0, 3, 64, 65, 255, 1024};
    struct ml_blake2s all;
    struct ml_blake2s s;
    uint8_t in[1024];
    uint8_t md[32];
    uint8_t key[32];
    ml_blake2s_init(&all, 32, NULL, 0);
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 6; j++) {
            selftest_seq(in, in_lens[j], (uint32_t)in_lens[j]);
            ml_blake2s_init(&s, out_lens[i], NULL, 0);
            ml_blake2s_update(&s, in, in_lens[j]);
            ml_blake2s_final(&s, md);
            ml_blake2s_update(&all, md, out_lens[i]);

            selftest_seq(key, out_lens[i], (uint32_t)out_lens[i]);
            ml_blake2s_init(&s, out_lens[i], key, out_lens[i]);
            ml_blake2s_update(&s, in, in_lens[j]);
            ml_blake2s_final(&s, md);
            ml_blake2s_update(&all, md, out_lens[i]);
        }
    }
    ml_blake2s_final(&all, md);
    assert_hex(md, "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe");
}

static void blake2s_does_not_depend_on_how_the_message_is_cut(void **state)
{
    (void)state;
    uint8_t m[200];
    uint8_t whole[32];
    uint8_t cut[32];
    selftest_seq(m, sizeof m, 7);
    ml_blake2s_2(whole, m, sizeof m, NULL, 0);
    for (size_t step = 1; step < sizeof m; step++) {
        struct ml_blake2s s;
        ml_blake2s_init(&s, 32, NULL, 0);
        for (size_t i = 0; i < sizeof m; i += step) {
            ml_blake2s_update(&s, m + i, sizeof m - i < step ? sizeof m - i : step);
        }
        ml_blake2s_final(&s, cut);
        assert_memory_equal(cut, whole, 32);
    }
}

/* RFC 7748 sections 5.2 and 6.1. */
static void x25519_of_rfc_7748(void **state)
{
    (void)state;
    ml_private_key k;
    uint8_t u[32];
    uint8_t out[32];
    unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", k.b);
    unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", u);
    assert_true(ml_x25519(out, &k, u));
    assert_hex(out, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", k.b);
    ml_x25519_base(out, &k);
    assert_hex(out, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", u);
    assert_true(ml_x25519(out, &k, u));
    assert_hex(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

static void low_order_points_are_refused(void **state)
{
    (void)state;
    static const char *const points[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                                         "0100000000000000000000000000000000000000000000000000000000000000",
                                         "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                                         "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
    ml_private_key k = {{1}};
    for (size_t i = 0; i < 4; i++) {
        uint8_t u[32];
        uint8_t out[32] = {0xff};
        struct ml_noise_sym s = {{1}, {2}};
        struct ml_noise_sym before = s;
        unhex(points[i], u);
        assert_false(ml_x25519(out, &k, u));
        assert_hex(out, points[0]);
        assert_false(ml_box_beforenm(out, u, &k));
        assert_hex(out, points[0]);
        assert_false(ml_noise_mix_dh(&s, out, &k, u));
        assert_memory_equal(&s, &before, sizeof s);
    }
}

static void fill_const(void *ctx, uint8_t *buf, size_t len)
{
    memset(buf, *(const int *)ctx, len);
}

static void private_keys_are_clamped(void **state)
{
    (void)state;
    ml_private_key k;
    for (int byte = 0; byte <= 0xff; byte += 0xff) {
        ml_random rng = {fill_const, &byte};
        ml_x25519_keygen(&k, &rng);
        assert_int_equal(k.b[0] & 7, 0);
        assert_int_equal(k.b[31] & 0xc0, 0x40);
    }
}

static const char sunscreen[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
                                "sunscreen would be it.";

/* RFC 8439 section 2.8.2. */
static void aead_of_rfc_8439(void **state)
{
    (void)state;
    uint8_t key[32];
    uint8_t nonce[12];
    uint8_t ad[12];
    uint8_t buf[sizeof sunscreen - 1 + ML_AEAD_TAG];
    size_t len = sizeof sunscreen - 1;
    unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", key);
    unhex("070000004041424344454647", nonce);
    unhex("50515253c0c1c2c3c4c5c6c7", ad);
    memcpy(buf, sunscreen, len);
    ml_aead_seal(buf, key, nonce, ad, sizeof ad, buf, len);
    assert_hex(
        buf,
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905"
        "d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"
        "1ae10b594f09e26a7e902ecbd0600691");
    assert_true(ml_aead_open(buf, key, nonce, ad, sizeof ad, buf, sizeof buf));
    assert_memory_equal(buf, sunscreen, len);
}

/* draft-irtf-cfrg-xchacha-03 appendix A.3.1. */
static void xaead_of_the_draft(void **state)
{
    (void)state;
    uint8_t key[32];
    uint8_t nonce[24];
    uint8_t ad[12];
    uint8_t buf[sizeof sunscreen - 1 + ML_AEAD_TAG];
    size_t len = sizeof sunscreen - 1;
    unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", key);
    unhex("404142434445464748494a4b4c4d4e4f5051525354555657", nonce);
    unhex("50515253c0c1c2c3c4c5c6c7", ad);
    ml_xaead_seal(buf, key, nonce, ad, sizeof ad, (const uint8_t *)sunscreen, len);
    assert_hex(
        buf,
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb"
        "96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49");
    assert_true(ml_xaead_open(buf, key, nonce, ad, sizeof ad, buf, sizeof buf));
    assert_memory_equal(buf, sunscreen, len);
}

/* Bernstein, "Cryptography in NaCl", section 10: the box from Alice to Bob. */
static void box_of_the_nacl_paper(void **state)
{
    (void)state;
    ml_private_key alice;
    uint8_t bob[32];
    uint8_t nonce[24];
    uint8_t shared[32];
    uint8_t m[131];
    uint8_t c[147];
    unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", alice.b);
    unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", bob);
    unhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37", nonce);
    assert_int_equal(
        unhex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561"
              "f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c6090"
              "2e52f0a089bc76897040e082f937763848645e0705",
              m),
        sizeof m);
    assert_true(ml_box_beforenm(shared, bob, &alice));
    assert_hex(shared, "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
    ml_box_seal(c, shared, nonce, m, sizeof m);
    assert_hex(
        c,
        "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f0"
        "11ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01"
        "b6"
        "de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5");
    assert_true(ml_box_open(m, shared, nonce, c, sizeof c));
}

static void one_changed_bit_anywhere_is_refused(void **state)
{
    (void)state;
    uint8_t key[32] = {1};
    uint8_t nonce[24] = {2};
    uint8_t ad[3] = {3, 4, 5};
    uint8_t m[20] = {6};
    uint8_t sealed[36];
    uint8_t out[36];
    for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
        ml_aead_seal(sealed, key, nonce, ad, sizeof ad, m, sizeof m);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(ml_aead_open(out, key, nonce, ad, sizeof ad, sealed, sizeof sealed));
        ml_xaead_seal(sealed, key, nonce, ad, sizeof ad, m, sizeof m);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(ml_xaead_open(out, key, nonce, ad, sizeof ad, sealed, sizeof sealed));
        ml_box_seal(sealed, key, nonce, m, sizeof m);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(ml_box_open(out, key, nonce, sealed, sizeof sealed));
    }
    for (size_t len = 0; len < ML_AEAD_TAG; len++) {
        assert_false(ml_aead_open(out, key, nonce, NULL, 0, sealed, len));
        assert_false(ml_xaead_open(out, key, nonce, NULL, 0, sealed, len));
        assert_false(ml_box_open(out, key, nonce, sealed, len));
    }
}

static void noise_state_round_trips_and_stays_on_failure(void **state)
{
    (void)state;
    struct ml_noise_sym a = {{1}, {2}};
    struct ml_noise_sym b = a;
    uint8_t key[32];
    uint8_t key_b[32];
    uint8_t sealed[40];
    uint8_t out[24];
    ml_noise_mix_key2(&a, key, "ikm", 3);
    ml_noise_mix_key2(&b, key_b, "ikm", 3);
    assert_memory_equal(key, key_b, 32);
    ml_noise_seal(&a, sealed, key, (const uint8_t *)"twenty-four bytes of it.", 24);
    sealed[0] ^= 1;
    struct ml_noise_sym before = b;
    assert_false(ml_noise_open(&b, out, key, sealed, sizeof sealed));
    assert_false(ml_noise_open(&b, out, key, sealed, 15));
    assert_memory_equal(&b, &before, sizeof b);
    sealed[0] ^= 1;
    assert_true(ml_noise_open(&b, out, key, sealed, sizeof sealed));
    assert_memory_equal(&a, &b, sizeof a);
    /* mix_key is mix_key2 without its key */
    ml_noise_mix_key(&a, "x", 1);
    ml_noise_mix_key2(&b, key, "x", 1);
    assert_memory_equal(&a, &b, sizeof a);
}

static void wiping_and_comparing(void **state)
{
    (void)state;
    uint8_t a[8] = {1, 2, 3};
    uint8_t b[8] = {1, 2, 3};
    assert_true(ml_ct_equal(a, b, sizeof a));
    b[7] = 1;
    assert_false(ml_ct_equal(a, b, sizeof a));
    ml_wipe(a, sizeof a);
    assert_int_equal(a[0] | a[1] | a[2], 0);
}

static uint8_t field[6][2048];

static void check_line(const char *kind, const size_t len[6])
{
    uint8_t out[2048];
    uint8_t out2[32];
    uint8_t out3[32];
    if (strcmp(kind, "blake2s") == 0) {
        ml_blake2s_2(out, field[0], len[0] / 2, field[0] + len[0] / 2, len[0] - len[0] / 2);
        assert_memory_equal(out, field[1], 32);
    } else if (strcmp(kind, "mac16") == 0) {
        ml_blake2s_mac16(out, field[0], len[0], field[1], len[1]);
        assert_memory_equal(out, field[2], 16);
    } else if (strcmp(kind, "hmac") == 0) {
        ml_hmac_blake2s(out, field[0], len[0], field[1], len[1] / 3, field[1] + len[1] / 3, len[1] - len[1] / 3);
        assert_memory_equal(out, field[2], 32);
    } else if (strcmp(kind, "hkdf") == 0) {
        ml_hkdf_blake2s(out, out2, out3, field[0], field[1], len[1]);
        assert_memory_equal(out, field[2], 32);
        assert_memory_equal(out2, field[3], 32);
        assert_memory_equal(out3, field[4], 32);
        ml_hkdf_blake2s(field[0], NULL, NULL, field[0], field[1], len[1]); /* in place */
        assert_memory_equal(field[0], field[2], 32);
    } else if (strcmp(kind, "aead") == 0) {
        ml_aead_seal(out, field[0], field[1], field[2], len[2], field[3], len[3]);
        assert_memory_equal(out, field[4], len[4]);
        assert_true(ml_aead_open(out, field[0], field[1], field[2], len[2], out, len[4]));
        assert_memory_equal(out, field[3], len[3]);
    } else if (strcmp(kind, "xaead") == 0) {
        ml_xaead_seal(out, field[0], field[1], field[2], len[2], field[3], len[3]);
        assert_memory_equal(out, field[4], len[4]);
        assert_true(ml_xaead_open(out, field[0], field[1], field[2], len[2], out, len[4]));
        assert_memory_equal(out, field[3], len[3]);
    } else if (strcmp(kind, "box") == 0) {
        ml_private_key priv;
        memcpy(priv.b, field[0], 32);
        assert_true(ml_box_beforenm(out2, field[1], &priv));
        ml_box_seal(out, out2, field[2], field[3], len[3]);
        assert_memory_equal(out, field[4], len[4]);
        assert_true(ml_box_open(out, out2, field[2], field[4], len[4]));
        assert_memory_equal(out, field[3], len[3]);
    } else {
        ml_private_key priv;
        assert_string_equal(kind, "x25519");
        memcpy(priv.b, field[0], 32);
        assert_true(ml_x25519(out, &priv, field[1]));
        assert_memory_equal(out, field[2], 32);
    }
}

static void vectors_printed_by_the_go_packages(void **state)
{
    (void)state;
    static char line[8192];
    unsigned count = 0;
    FILE *f = fopen(ML_VECTORS_DIR "/crypto_primitives.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        size_t len[6] = {0};
        if (line[0] == '#') {
            continue;
        }
        const char *kind = strtok(line, " \n");
        for (size_t i = 0; i < 6; i++) {
            const char *word = strtok(NULL, " \n");
            if (word) {
                len[i] = unhex(word, field[i]);
            }
        }
        check_line(kind, len);
        count++;
    }
    fclose(f);
    assert_true(count > 160);
}

static int start(void **state)
{
    (void)state;
    return ml_crypto_init() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blake2s_of_abc),
        cmocka_unit_test(blake2s_grand_hash),
        cmocka_unit_test(blake2s_does_not_depend_on_how_the_message_is_cut),
        cmocka_unit_test(x25519_of_rfc_7748),
        cmocka_unit_test(low_order_points_are_refused),
        cmocka_unit_test(private_keys_are_clamped),
        cmocka_unit_test(aead_of_rfc_8439),
        cmocka_unit_test(xaead_of_the_draft),
        cmocka_unit_test(box_of_the_nacl_paper),
        cmocka_unit_test(one_changed_bit_anywhere_is_refused),
        cmocka_unit_test(noise_state_round_trips_and_stays_on_failure),
        cmocka_unit_test(wiping_and_comparing),
        cmocka_unit_test(vectors_printed_by_the_go_packages),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
