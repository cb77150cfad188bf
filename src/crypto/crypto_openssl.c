/*
 * The packet AEAD of crypto_backend.h by OpenSSL's libcrypto. Built when ML_AEAD_OPENSSL is defined, empty otherwise.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/crypto_backend.h"

#ifdef ML_AEAD_OPENSSL
#include <openssl/evp.h>
#include <stdlib.h>

void ml_aead_seal(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;
    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce) != 1 ||
        (ad_len > 0 && EVP_EncryptUpdate(ctx, NULL, &n, ad, (int)ad_len) != 1) ||
        (len > 0 && EVP_EncryptUpdate(ctx, dst, &n, src, (int)len) != 1) || EVP_EncryptFinal_ex(ctx, dst + len, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, ML_AEAD_TAG, dst + len) != 1) {
        abort();
    }
    EVP_CIPHER_CTX_free(ctx);
}

bool ml_aead_open(uint8_t *dst, const uint8_t key[32], const uint8_t nonce[12], const uint8_t *ad, size_t ad_len,
                  const uint8_t *src, size_t len)
{
    if (len < ML_AEAD_TAG) {
        return false;
    }
    len -= ML_AEAD_TAG;
    uint8_t tag[ML_AEAD_TAG];
    for (int i = 0; i < ML_AEAD_TAG; i++) {
        tag[i] = src[len + (size_t)i];
    }
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;
    bool ok = ctx && EVP_DecryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, ML_AEAD_TAG, tag) == 1 &&
              (ad_len == 0 || EVP_DecryptUpdate(ctx, NULL, &n, ad, (int)ad_len) == 1) &&
              (len == 0 || EVP_DecryptUpdate(ctx, dst, &n, src, (int)len) == 1) && EVP_DecryptFinal_ex(ctx, dst + len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}
#else
typedef int ml_crypto_openssl_is_not_used;
#endif
