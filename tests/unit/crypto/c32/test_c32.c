/*
 * The primitives of src/crypto/c32 against libsodium's on random and extreme inputs, field arithmetic against a plain one, the
 * iterated vectors of RFC 7748, and secrets: under valgrind's memcheck a branch or an address that depends on an undefined byte
 * is an error, so secrets are marked undefined. (The vectors of test_crypto.c run over this backend as test_crypto_c32.)
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/bytes.h"
#include "crypto/blake2s.h"
#include "crypto/c32/chacha20.h"
#include "crypto/c32/field25519.h"
#include "crypto/c32/poly1305.h"
#include "crypto/c32/x25519.h"
#include "crypto/crypto_backend.h"

#if defined __has_include
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define HAVE_MEMCHECK 1
#endif
#endif

/* Repeatable: the n-th draw is the same in every run. */
static void draw(void *buf, size_t len)
{
    static uint32_t n;
    uint8_t seed[randombytes_SEEDBYTES] = {0};
    ml_put_le32(seed, ++n);
    randombytes_buf_deterministic(buf, len, seed);
}

static uint32_t draw_below(uint32_t limit)
{
    uint32_t v;
    draw(&v, sizeof v);
    return v % limit;
}

/* Random bytes in which runs of 0x00 and 0xff are frequent: carries and limbs at their ends. */
static void draw_extreme(uint8_t *buf, size_t len)
{
    draw(buf, len);
    for (size_t at = 0; at < len; at += 1 + draw_below(12)) {
        size_t n = draw_below(16);
        n = n < len - at ? n : len - at;
        switch (draw_below(4)) {
        case 0:
            memset(buf + at, 0, n);
            break;
        case 1:
            memset(buf + at, 0xff, n);
            break;
        default:
            break;
        }
    }
}

/* ---- The field ---- */

static uint8_t bits(unsigned i)
{
    return i % 2 == 0 ? 26 : 25;
}

/* The product the plain way: columns of 64 bits, carried twice around. */
static void plain_mul(uint8_t out[32], const ml_fe *a, const ml_fe *b)
{
    int64_t c[10] = {0};
    ml_fe r;
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned j = 0; j < 10; j++) {
            c[(i + j) % 10] += (int64_t)a->v[i] * b->v[j] * (i & j & 1 ? 2 : 1) * (i + j >= 10 ? 19 : 1);
        }
    }
    for (unsigned i = 0; i < 21; i++) {
        unsigned k = i % 10;
        int64_t up = (c[k] + ((int64_t)1 << (bits(k) - 1))) >> bits(k);
        c[k] -= up * ((int64_t)1 << bits(k));
        c[(k + 1) % 10] += k == 9 ? 19 * up : up;
    }
    for (unsigned i = 0; i < 10; i++) {
        r.v[i] = (int32_t)c[i];
    }
    ml_fe_to_bytes(out, &r);
}

/* A limb of any size up to what the header allows for wide ones, often exactly that. */
static void draw_wide(ml_fe *f)
{
    for (unsigned i = 0; i < 10; i++) {
        int32_t most = (1 << bits(i)) + (i == 0 ? 1 << 23 : 1 << 14);
        uint32_t v = draw_below(2 * (uint32_t)most + 1);
        switch (draw_below(4)) {
        case 0:
            f->v[i] = most;
            break;
        case 1:
            f->v[i] = -most;
            break;
        default:
            f->v[i] = (int32_t)v - most;
            break;
        }
    }
}

static void assert_small(const ml_fe *f)
{
    for (unsigned i = 0; i < 10; i++) {
        int32_t most = (1 << (bits(i) - 1)) + (1 << 13);
        assert_true(f->v[i] >= -most && f->v[i] <= most);
    }
}

static void products_equal_the_plain_ones_at_the_limits_of_limbs(void **state)
{
    (void)state;
    static const int32_t signs[4][2] = {{1, 1}, {1, -1}, {-1, -1}, {-1, 1}};
    for (unsigned n = 0; n < 2000; n++) {
        ml_fe a;
        ml_fe b;
        ml_fe r;
        uint8_t want[32];
        uint8_t got[32];
        draw_wide(&a);
        draw_wide(&b);
        for (unsigned i = 0; n < 4 && i < 10; i++) { /* the largest sums there are */
            a.v[i] = signs[n][0] * (1 << bits(i));
            b.v[i] = signs[n][1] * (1 << bits(i));
        }
        plain_mul(want, &a, &b);
        ml_fe_mul(&r, &a, &b);
        assert_small(&r);
        ml_fe_to_bytes(got, &r);
        assert_memory_equal(got, want, 32);
        plain_mul(want, &a, &a);
        ml_fe_sq(&r, &a, 1);
        assert_small(&r);
        ml_fe_to_bytes(got, &r);
        assert_memory_equal(got, want, 32);
    }
}

/* Limb by limb it is within the limits of wide, and the value is that of two plain products. */
static void the_small_factor_equals_the_plain_product(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 500; n++) {
        ml_fe a;
        ml_fe one = {{1}};
        ml_fe small;
        ml_fe s;
        ml_fe factor = {{121665}};
        uint8_t want[32];
        uint8_t got[32];
        draw_wide(&a);
        ml_fe_mul(&small, &a, &a);
        ml_fe_add_scaled(&s, &small, &a, 121665);
        for (unsigned i = 0; i < 10; i++) {
            int32_t most = (1 << bits(i)) + (i == 0 ? 1 << 23 : 1 << 19);
            assert_true(s.v[i] <= most && s.v[i] >= -most);
        }
        plain_mul(got, &s, &one);
        ml_fe p;
        ml_fe_mul(&p, &a, &factor);
        for (unsigned i = 0; i < 10; i++) {
            p.v[i] += small.v[i];
        }
        plain_mul(want, &p, &one);
        assert_memory_equal(got, want, 32);
    }
}

static void bytes_are_reduced_and_come_back(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 600; n++) {
        uint8_t in[32];
        uint8_t want[32];
        uint8_t got[32];
        ml_fe f;
        draw_extreme(in, sizeof in);
        if (n < 256) { /* p - 237 to p + 18, where the one subtraction happens */
            memset(in, 0xff, sizeof in);
            in[0] = (uint8_t)n;
        }
        memcpy(want, in, sizeof in);
        want[31] &= 0x7f;
        bool is_p_or_more = want[31] == 0x7f && want[0] >= 0xed;
        for (unsigned i = 1; i < 31; i++) {
            is_p_or_more = is_p_or_more && want[i] == 0xff;
        }
        if (is_p_or_more) {
            uint8_t low = (uint8_t)(want[0] - 0xed);
            memset(want, 0, sizeof want);
            want[0] = low;
        }
        ml_fe_from_bytes(&f, in);
        assert_small(&f);
        ml_fe_to_bytes(got, &f);
        assert_memory_equal(got, want, 32);
    }
}

/* ---- X25519 ---- */

static void the_ladder_equals_libsodium(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 400; n++) {
        uint8_t k[32];
        uint8_t u[32];
        uint8_t want[32] = {0};
        uint8_t got[32];
        draw_extreme(k, sizeof k);
        draw_extreme(u, sizeof u);
        if (crypto_scalarmult(want, k, u) != 0) {
            memset(want, 0, sizeof want);
        }
        ml_x25519_ladder(got, k, u);
        assert_memory_equal(got, want, 32);
        ml_private_key priv;
        memcpy(priv.b, k, sizeof k);
        (void)crypto_scalarmult_base(want, k);
        ml_x25519_base(got, &priv);
        assert_memory_equal(got, want, 32);
    }
}

/* RFC 7748 section 5.2: k and u are 9, each result is the next k, and the k before it the next u. */
static void iterated_vectors_of_rfc_7748(void **state)
{
    (void)state;
    static const char *const want[2] = {"422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
                                        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"};
    uint8_t k[32] = {9};
    uint8_t u[32] = {9};
    for (unsigned n = 1; n <= 1000; n++) {
        uint8_t out[32];
        ml_x25519_ladder(out, k, u);
        memcpy(u, k, sizeof u);
        memcpy(k, out, sizeof k);
        if (n == 1 || n == 1000) {
            uint8_t b[32];
            assert_true(ml_hex_parse(want[n == 1000], 64, b, sizeof b));
            assert_memory_equal(k, b, 32);
        }
    }
}

/* ---- ChaCha20 and Poly1305 ---- */

static void key_streams_equal_libsodium_at_any_length_and_alignment(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 600; n++) {
        uint8_t key[32];
        uint8_t nonce[16];
        uint8_t in[340];
        uint8_t want[320];
        uint8_t got[340];
        struct ml_chacha20 c;
        size_t len = n < 260 ? n : draw_below(320);
        uint32_t counter = n % 7 == 0 ? 0xfffffff0U : n;
        size_t from = draw_below(4);
        size_t to = draw_below(4);
        draw(key, sizeof key);
        draw(nonce, sizeof nonce);
        draw(in, sizeof in);
        memset(got, 0x55, sizeof got);
        (void)crypto_stream_chacha20_ietf_xor_ic(want, in + from, len, nonce, counter, key);
        ml_chacha20_init(&c, key, nonce, counter);
        ml_chacha20_xor(&c, got + to, in + from, len);
        assert_memory_equal(got + to, want, len);
        assert_int_equal(got[to + len], 0x55);
        (void)crypto_core_hchacha20(want, nonce, key, NULL);
        ml_hchacha20(got, key, nonce);
        assert_memory_equal(got, want, 32);
    }
}

static void tags_equal_libsodium_for_extreme_keys_and_texts(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        uint8_t key[32];
        uint8_t m[200];
        uint8_t want[16];
        uint8_t got[16];
        struct ml_poly1305 p;
        size_t from = draw_below(4);
        size_t len = draw_below(190);
        size_t cut = draw_below(190) & ~15U;
        draw_extreme(key, sizeof key);
        draw_extreme(m, sizeof m);
        if (n % 3 == 0) {
            memset(m, 0xff, sizeof m);
        }
        if (n % 5 == 0) {
            memset(key, n % 2 ? 0xff : 0, 16);
            key[0] = (uint8_t)(n % 2 ? 0xff : n % 11);
        }
        (void)crypto_onetimeauth(want, m + from, len, key);
        ml_poly1305_init(&p, key);
        cut = cut < len ? cut : 0;
        ml_poly1305_update(&p, m + from, cut, true);
        ml_poly1305_update(&p, m + from + cut, len - cut, false);
        ml_poly1305_final(&p, got);
        assert_memory_equal(got, want, 16);
    }
}

static void messages_equal_libsodium_and_open(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 400; n++) {
        uint8_t key[32];
        uint8_t nonce[24];
        uint8_t ad[40];
        uint8_t m[400];
        uint8_t want[420];
        uint8_t got[420];
        size_t len = n < 140 ? n : draw_below(400);
        size_t ad_len = draw_below(sizeof ad);
        draw_extreme(key, sizeof key);
        draw(nonce, sizeof nonce);
        draw(ad, sizeof ad);
        draw_extreme(m, sizeof m);
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(want, NULL, m, len, ad, ad_len, NULL, nonce, key);
        ml_aead_seal(got, key, nonce, ad, ad_len, m, len);
        assert_memory_equal(got, want, len + 16);
        assert_true(ml_aead_open(got, key, nonce, ad, ad_len, got, len + 16));
        assert_memory_equal(got, m, len);
        (void)crypto_secretbox_easy(want, m, len, nonce, key);
        ml_box_seal(got, key, nonce, m, len);
        assert_memory_equal(got, want, len + 16);
        assert_true(ml_box_open(got, key, nonce, got, len + 16));
        assert_memory_equal(got, m, len);
        memcpy(got, m, len); /* in place, as disco_box does it */
        ml_box_seal(got, key, nonce, got, len);
        assert_memory_equal(got, want, len + 16);
    }
}

/* ---- Secrets ---- */

/* From here on a branch on these bytes, or an address made of them, is an error of memcheck. */
static void secret(void *p, size_t len)
{
#ifdef HAVE_MEMCHECK
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, len);
#else
    (void)p;
    (void)len;
#endif
}

/* What may be looked at. Before, all of it must depend on the secrets: else the marks did not get there. */
static void published(void *p, size_t len)
{
#ifdef HAVE_MEMCHECK
    uint8_t marks[64];
    assert_true(len <= sizeof marks);
    if (RUNNING_ON_VALGRIND && VALGRIND_GET_VBITS(p, marks, len) == 1) {
        for (size_t i = 0; i < len; i++) {
            assert_true(marks[i] != 0);
        }
    }
    (void)VALGRIND_MAKE_MEM_DEFINED(p, len);
#else
    (void)p;
    (void)len;
#endif
}

static void no_branch_and_no_address_depends_on_a_secret(void **state)
{
    (void)state;
    uint8_t k[32];
    uint8_t u[32] = {9};
    uint8_t m[300];
    uint8_t c[300];
    uint8_t out[64];
    uint8_t nonce[12] = {1};
    uint8_t want[32];
    draw(k, sizeof k);
    assert_int_equal(crypto_scalarmult(want, k, u), 0);
    secret(k, sizeof k);
    ml_x25519_ladder(out, k, u);
    published(out, 32);
    assert_memory_equal(out, want, 32);

    struct ml_chacha20 stream;
    draw(m, sizeof m);
    secret(m, sizeof m);
    for (size_t align = 0; align < 2; align++) {
        ml_chacha20_init(&stream, k, nonce, 0);
        ml_chacha20_xor(&stream, c, m + align, 200);
        published(c, 64);
        ml_hchacha20(out, k, u);
        published(out, 32);

        struct ml_poly1305 p;
        ml_poly1305_init(&p, k);
        ml_poly1305_update(&p, m + align, 205, true);
        ml_poly1305_update(&p, m + align, 77, false);
        ml_poly1305_final(&p, out);
        uint8_t tag[16] = {0};
        bool equal = ml_ct_equal(tag, out, sizeof tag);
        published(&equal, sizeof equal);
        published(out, 16);

        ml_aead_seal(c, k, nonce, m, 17, m + align, 200);
        published(c, 64);
        published(c + 200, 16);
        ml_blake2s_mac16(out, k, sizeof k, m + align, 201);
        published(out, 16);
        ml_hkdf_blake2s(out, out + 32, NULL, k, m + align, 32);
        published(out, 64);
    }
}

static int start(void **state)
{
    (void)state;
    return ml_crypto_init() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_the_plain_ones_at_the_limits_of_limbs),
        cmocka_unit_test(the_small_factor_equals_the_plain_product),
        cmocka_unit_test(bytes_are_reduced_and_come_back),
        cmocka_unit_test(the_ladder_equals_libsodium),
        cmocka_unit_test(iterated_vectors_of_rfc_7748),
        cmocka_unit_test(key_streams_equal_libsodium_at_any_length_and_alignment),
        cmocka_unit_test(tags_equal_libsodium_for_extreme_keys_and_texts),
        cmocka_unit_test(messages_equal_libsodium_and_open),
        cmocka_unit_test(no_branch_and_no_address_depends_on_a_secret),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
