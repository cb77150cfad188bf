/*
 * Seal and open of WireGuard-sized packets: libsodium against libcrypto's EVP interface, for docs/decisions/0002-packet-aead.md.
 *
 * Stands alone: cc -O2 tests/bench/bench_aead.c -lsodium -lcrypto. Prints nanoseconds of CPU time per seal and open, the best
 * of five runs. Not part of the build.
 *
 * SPDX-License-Identifier: MIT
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 100000
#define RUNS   5

static unsigned char buf[1400], key[32], nonce[12];
static const EVP_CIPHER *cipher;
static EVP_CIPHER_CTX *ctxs[2];

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void evp(EVP_CIPHER_CTX *ctx, int seal, const EVP_CIPHER *c, const unsigned char *k, int len)
{
    int n;
    int ok = EVP_CipherInit_ex(ctx, c, NULL, k, nonce, seal);
    if (!seal) {
        ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, buf + len);
    }
    ok &= EVP_CipherUpdate(ctx, buf, &n, buf, len) && EVP_CipherFinal_ex(ctx, buf + len, &n);
    if (seal) {
        ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, buf + len);
    }
    if (!ok) {
        abort();
    }
}

static void by_sodium(int len)
{
    crypto_aead_chacha20poly1305_ietf_encrypt(buf, NULL, buf, (unsigned long long)len, NULL, 0, NULL, nonce, key);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(buf, NULL, NULL, buf, (unsigned long long)len + 16, NULL, 0, nonce, key)) {
        abort();
    }
}

static void by_evp_context_per_call(int len)
{
    for (int seal = 1; seal >= 0; seal--) {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        evp(ctx, seal, cipher, key, len);
        EVP_CIPHER_CTX_free(ctx);
    }
}

static void by_evp_one_context(int len)
{
    evp(ctxs[0], 1, cipher, key, len);
    evp(ctxs[0], 0, cipher, key, len);
}

static void by_evp_context_per_key(int len)
{
    evp(ctxs[1], 1, NULL, NULL, len);
    evp(ctxs[0], 0, NULL, NULL, len);
}

static void measure(const char *name, void (*fn)(int), int len)
{
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        double t = cpu_seconds();
        for (int i = 0; i < ROUNDS; i++) {
            fn(len);
        }
        t = cpu_seconds() - t;
        best = t < best ? t : best;
    }
    printf("%5d bytes  %-36s %6.0f ns\n", len, name, best / ROUNDS * 1e9);
}

int main(void)
{
    static const int sizes[] = {64, 256, 1280};
    if (sodium_init() < 0) {
        return 1;
    }
    cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    printf("libsodium %s, %s\n", sodium_version_string(), OpenSSL_version(OPENSSL_VERSION));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ctxs[0] = EVP_CIPHER_CTX_new();
        ctxs[1] = EVP_CIPHER_CTX_new();
        measure("libsodium", by_sodium, sizes[i]);
        measure("EVP, context made per call", by_evp_context_per_call, sizes[i]);
        measure("EVP, one context, key set per call", by_evp_one_context, sizes[i]);
        EVP_CipherInit_ex(ctxs[0], cipher, NULL, key, nonce, 0);
        EVP_CipherInit_ex(ctxs[1], cipher, NULL, key, nonce, 1);
        measure("EVP, context per key and direction", by_evp_context_per_key, sizes[i]);
        EVP_CIPHER_CTX_free(ctxs[0]);
        EVP_CIPHER_CTX_free(ctxs[1]);
    }
    return 0;
}
