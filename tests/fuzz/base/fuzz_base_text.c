/*
 * Fuzz target: the text parsers of src/base. What is taken must print and parse to the same value again.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "base/addr.h"
#include "base/key.h"

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    uint8_t buf[256];
    ml_ip ip, ip2;
    ml_addr addr, addr2;
    ml_prefix prefix, prefix2;
    if (ml_ip_parse(text, len, &ip) && ml_ip_is_set(&ip)) {
        struct ml_writer w = ml_writer_of(buf, sizeof buf);
        ml_write_ip(&w, &ip);
        require(!w.bad && w.len < ML_ADDR_TEXT_CAP && ml_ip_parse((char *)buf, w.len, &ip2) && ml_ip_equal(&ip, &ip2));
    }
    if (ml_addr_parse(text, len, &addr) && ml_ip_is_set(&addr.ip)) {
        struct ml_writer w = ml_writer_of(buf, ML_ADDR_TEXT_CAP);
        ml_write_addr(&w, &addr);
        if (!ml_ip_is4(&addr.ip) || text[0] != '[') { /* "[::ffff:1.2.3.4]:80" prints as IPv4 */
            require(ml_addr_parse((char *)buf, w.len, &addr2) && ml_addr_equal(&addr, &addr2));
        }
    }
    if (ml_prefix_parse(text, len, &prefix)) {
        struct ml_writer w = ml_writer_of(buf, sizeof buf);
        ml_write_prefix(&w, &prefix);
        require(ml_prefix_parse((char *)buf, w.len, &prefix2) && ml_prefix_equal(&prefix, &prefix2));
        require(!ml_ip_is_set(&prefix.ip) || ml_prefix_contains(&prefix, &prefix.ip));
        (void)ml_prefix_has_host_bits(&prefix);
    }
    size_t n = ml_base64_parse(text, len, buf, 96);
    if (n != SIZE_MAX) {
        uint8_t again[256];
        struct ml_writer w = ml_writer_of(again, sizeof again);
        ml_write_base64(&w, buf, n);
        require(w.len == len && memcmp(again, data, len) == 0);
    }
    uint8_t key[32];
    (void)ml_key_parse(ML_KEY_PREFIX_NODE, text, len, key);
    uint64_t v;
    if (ml_dec_parse(text, len, &v)) {
        struct ml_writer w = ml_writer_of(buf, sizeof buf);
        ml_write_dec(&w, v);
        require(w.len <= len);
    }
    char cut[8];
    require(ml_str_copy(cut, sizeof cut, text, len) == (len < sizeof cut));
    return 0;
}
