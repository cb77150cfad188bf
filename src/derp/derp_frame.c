/*
 * DERP frame payloads. See derp_frame.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "derp/derp_frame.h"

static const uint8_t magic[8] = {0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};
static const char client_info[] = "{\"version\":2,\"CanAckPings\":true}";

_Static_assert(ML_DERP_CLIENT_INFO_LEN == ML_DERP_HEADER_LEN + 32 + ML_BOX_NONCE + ML_BOX_TAG + sizeof client_info - 1,
               "length of the ClientInfo frame");

void ml_derp_write_header(struct ml_writer *w, enum ml_derp_frame_type type, uint32_t payload_len)
{
    uint8_t *p = ml_write_room(w, ML_DERP_HEADER_LEN);
    if (p) {
        p[0] = (uint8_t)type;
        ml_put_be32(p + 1, payload_len);
    }
}

void ml_derp_write_send_packet(struct ml_writer *w, const ml_node_key *dst, const uint8_t *packet, size_t len)
{
    if (len > ML_DERP_PACKET_MAX || ML_DERP_HEADER_LEN + 32 + len > w->cap - w->len) {
        w->bad = true;
    }
    ml_derp_write_header(w, ML_DERP_SEND_PACKET, (uint32_t)(32 + len));
    ml_write_bytes(w, dst->b, 32);
    ml_write_bytes(w, packet, len);
}

void ml_derp_write_client_info(struct ml_writer *w, const ml_node_key *self, const uint8_t shared[32], const ml_random *rng)
{
    uint8_t *p = ml_write_room(w, ML_DERP_CLIENT_INFO_LEN);
    if (!p) {
        return;
    }
    p[0] = ML_DERP_CLIENT_INFO;
    ml_put_be32(p + 1, ML_DERP_CLIENT_INFO_LEN - ML_DERP_HEADER_LEN);
    p += ML_DERP_HEADER_LEN;
    memcpy(p, self->b, 32);
    uint8_t *nonce = p + 32;
    rng->fill(rng->ctx, nonce, ML_BOX_NONCE);
    ml_box_seal(nonce + ML_BOX_NONCE, shared, nonce, (const uint8_t *)client_info, sizeof client_info - 1);
}

bool ml_derp_parse_server_key(const uint8_t *payload, size_t len, ml_derp_key *out)
{
    if (len < sizeof magic + 32 || memcmp(payload, magic, sizeof magic) != 0) {
        return false;
    }
    memcpy(out->b, payload + sizeof magic, 32);
    return true;
}

bool ml_derp_open_server_info(uint8_t *payload, size_t len, const uint8_t shared[32], struct ml_derp_server_info *out)
{
    if (len < ML_BOX_NONCE + ML_BOX_TAG) {
        return false;
    }
    uint8_t *boxed = payload + ML_BOX_NONCE;
    size_t text_len = len - ML_BOX_NONCE - ML_BOX_TAG;
    if (!ml_box_open(boxed, shared, payload, boxed, len - ML_BOX_NONCE)) {
        return false;
    }
    return ml_derp_parse_server_info((const char *)boxed, text_len, out);
}

static size_t skip_space(const char *s, size_t len, size_t pos)
{
    while (pos < len && (s[pos] == ' ' || s[pos] == '\t' || s[pos] == '\r' || s[pos] == '\n')) {
        pos++;
    }
    return pos;
}

/* Position behind the closing quote of the string whose opening quote is at `pos`; SIZE_MAX when it does not end. */
static size_t skip_string(const char *s, size_t len, size_t pos)
{
    for (pos++; pos < len && s[pos] != '"'; pos++) {
        pos += s[pos] == '\\';
    }
    return pos < len ? pos + 1 : SIZE_MAX;
}

static bool name_is(const char *s, size_t start, size_t end, const char *name)
{
    size_t n = strlen(name);
    return end - start == n + 2 && memcmp(s + start + 1, name, n) == 0;
}

static uint32_t number_at(const char *s, size_t len, size_t pos)
{
    uint64_t v = 0;
    while (pos < len && s[pos] >= '0' && s[pos] <= '9') {
        v = v * 10 + (uint64_t)(s[pos++] - '0');
        v = v < UINT32_MAX ? v : UINT32_MAX;
    }
    return (uint32_t)v;
}

bool ml_derp_parse_server_info(const char *json, size_t len, struct ml_derp_server_info *out)
{
    /* Not a JSON parser: it walks strings and brackets, and looks at the numbers of the outermost object. The text is
     * authenticated, so a malformed one is the server's mistake, not an attack. */
    ml_zero(out);
    size_t pos = skip_space(json, len, 0);
    unsigned depth = 0;
    if (pos >= len || json[pos] != '{') {
        return false;
    }
    while (pos < len) {
        char ch = json[pos];
        if (ch == '{' || ch == '[') {
            depth++;
        } else if (ch == '}' || ch == ']') {
            if (--depth == 0) {
                return true;
            }
        } else if (ch == '"') {
            size_t end = skip_string(json, len, pos);
            if (end == SIZE_MAX) {
                return false;
            }
            size_t value = skip_space(json, len, end);
            if (depth == 1 && value < len && json[value] == ':') {
                value = skip_space(json, len, value + 1);
                if (name_is(json, pos, end, "version")) {
                    out->version = number_at(json, len, value);
                } else if (name_is(json, pos, end, "TokenBucketBytesPerSecond")) {
                    out->bytes_per_sec = number_at(json, len, value);
                } else if (name_is(json, pos, end, "TokenBucketBytesBurst")) {
                    out->bytes_burst = number_at(json, len, value);
                }
            }
            pos = end;
            continue;
        }
        pos++;
    }
    return false;
}
