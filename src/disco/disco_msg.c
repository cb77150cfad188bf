/*
 * DISCO messages, plaintext side. The layouts are those of dataplane.md 3.2. SPDX-License-Identifier: MIT
 */
#include "disco/disco_msg.h"

#include "base/addr.h"
#include "base/key.h"

enum { ADDR_LEN = 18, ENDPOINT_LEN = 124, PING_KEY_LEN = 32 };

static ml_addr read_addr(struct ml_reader *r)
{
    uint8_t ip[16];
    ml_read_copy(r, ip, sizeof ip);
    ml_addr a = {.ip = ml_ip_from16(ip)};
    a.port = ml_read_be16(r);
    return a;
}

static void read_addrs(struct ml_reader *r, struct ml_disco_msg *m)
{
    while (ml_reader_left(r) >= ADDR_LEN) {
        ml_addr a = read_addr(r);
        if (m->addr_count < ML_DISCO_ADDRS) {
            m->addrs[m->addr_count++] = a;
        } else {
            m->addr_dropped++;
        }
    }
}

static enum ml_disco_parse parse_ping(struct ml_reader *r, struct ml_disco_msg *m)
{
    ml_read_copy(r, m->tx, sizeof m->tx);
    if (r->bad) {
        return ML_DISCO_PARSE_SHORT;
    }
    /* A padded ping without a key cannot be told from one with a key; the official parser takes it for one as well. */
    if (ml_reader_left(r) >= PING_KEY_LEN) {
        ml_read_copy(r, m->node_key.b, sizeof m->node_key.b);
    }
    m->padding = (uint32_t)ml_reader_left(r);
    return ML_DISCO_PARSE_OK;
}

static enum ml_disco_parse parse_pong(struct ml_reader *r, struct ml_disco_msg *m)
{
    ml_read_copy(r, m->tx, sizeof m->tx);
    m->src = read_addr(r);
    return r->bad ? ML_DISCO_PARSE_SHORT : ML_DISCO_PARSE_OK;
}

static enum ml_disco_parse parse_bind(struct ml_reader *r, struct ml_disco_msg *m)
{
    struct ml_disco_bind *b = &m->u.bind;
    b->vni = ml_read_be32(r);
    b->generation = ml_read_be32(r);
    ml_read_copy(r, b->remote.b, sizeof b->remote.b);
    ml_read_copy(r, b->challenge, sizeof b->challenge);
    return r->bad ? ML_DISCO_PARSE_SHORT : ML_DISCO_PARSE_OK;
}

static enum ml_disco_parse parse_relay_endpoint(struct ml_reader *r, struct ml_disco_msg *m)
{
    size_t left = ml_reader_left(r);
    if (left < ENDPOINT_LEN + ADDR_LEN || (left - ENDPOINT_LEN) % ADDR_LEN != 0) {
        return ML_DISCO_PARSE_SHORT;
    }
    struct ml_disco_relay_endpoint *e = &m->u.relay.endpoint;
    ml_read_copy(r, e->server.b, sizeof e->server.b);
    ml_read_copy(r, e->client[0].b, sizeof e->client[0].b);
    ml_read_copy(r, e->client[1].b, sizeof e->client[1].b);
    e->lamport_id = ml_read_be64(r);
    e->vni = ml_read_be32(r);
    e->bind_lifetime_ns = ml_read_be64(r);
    e->steady_lifetime_ns = ml_read_be64(r);
    read_addrs(r, m);
    return ML_DISCO_PARSE_OK;
}

static enum ml_disco_parse parse_allocate_request(struct ml_reader *r, struct ml_disco_msg *m)
{
    ml_read_copy(r, m->u.relay.client[0].b, sizeof m->u.relay.client[0].b);
    ml_read_copy(r, m->u.relay.client[1].b, sizeof m->u.relay.client[1].b);
    m->u.relay.generation = ml_read_be32(r);
    return r->bad ? ML_DISCO_PARSE_SHORT : ML_DISCO_PARSE_OK;
}

static enum ml_disco_parse parse_allocate_response(struct ml_reader *r, struct ml_disco_msg *m)
{
    m->u.relay.generation = ml_read_be32(r);
    return r->bad ? ML_DISCO_PARSE_SHORT : parse_relay_endpoint(r, m);
}

enum ml_disco_parse ml_disco_parse(struct ml_disco_msg *out, const uint8_t *buf, size_t len)
{
    ml_zero(out);
    struct ml_reader r = ml_reader_of(buf, len);
    uint8_t type = ml_read_u8(&r);
    uint8_t version = ml_read_u8(&r);
    if (r.bad) {
        return ML_DISCO_PARSE_SHORT;
    }
    if (type < ML_DISCO_PING || type > ML_DISCO_ALLOCATE_RESPONSE) {
        return ML_DISCO_PARSE_UNKNOWN;
    }
    out->type = (enum ml_disco_type)type;
    switch (out->type) {
    case ML_DISCO_PING:
        return parse_ping(&r, out);
    case ML_DISCO_PONG:
        return parse_pong(&r, out);
    case ML_DISCO_CALL_ME_MAYBE:
        if (version == 0 && ml_reader_left(&r) % ADDR_LEN == 0) {
            read_addrs(&r, out);
        }
        return ML_DISCO_PARSE_OK;
    case ML_DISCO_BIND:
    case ML_DISCO_BIND_CHALLENGE:
    case ML_DISCO_BIND_ANSWER:
        return parse_bind(&r, out);
    case ML_DISCO_CALL_ME_MAYBE_VIA:
        return version == 0 ? parse_relay_endpoint(&r, out) : ML_DISCO_PARSE_EMPTY;
    case ML_DISCO_ALLOCATE_REQUEST:
        return version == 0 ? parse_allocate_request(&r, out) : ML_DISCO_PARSE_EMPTY;
    case ML_DISCO_ALLOCATE_RESPONSE:
        return version == 0 ? parse_allocate_response(&r, out) : ML_DISCO_PARSE_EMPTY;
    }
    return ML_DISCO_PARSE_UNKNOWN;
}

static void write_addr(struct ml_writer *w, const ml_addr *a)
{
    ml_write_bytes(w, a->ip.b, sizeof a->ip.b);
    ml_write_be16(w, a->port);
}

static void write_addrs(struct ml_writer *w, const struct ml_disco_msg *m)
{
    for (size_t i = 0; i < m->addr_count; i++) {
        write_addr(w, &m->addrs[i]);
    }
}

static void write_relay_endpoint(struct ml_writer *w, const struct ml_disco_msg *m)
{
    const struct ml_disco_relay_endpoint *e = &m->u.relay.endpoint;
    ml_write_bytes(w, e->server.b, sizeof e->server.b);
    ml_write_bytes(w, e->client[0].b, sizeof e->client[0].b);
    ml_write_bytes(w, e->client[1].b, sizeof e->client[1].b);
    ml_write_be64(w, e->lamport_id);
    ml_write_be32(w, e->vni);
    ml_write_be64(w, e->bind_lifetime_ns);
    ml_write_be64(w, e->steady_lifetime_ns);
    write_addrs(w, m);
}

void ml_disco_write(struct ml_writer *w, const struct ml_disco_msg *m)
{
    ml_write_u8(w, (uint8_t)m->type);
    ml_write_u8(w, 0); /* version */
    switch (m->type) {
    case ML_DISCO_PING:
        ml_write_bytes(w, m->tx, sizeof m->tx);
        if (ml_key_is_set(&m->node_key)) {
            ml_write_bytes(w, m->node_key.b, sizeof m->node_key.b);
        }
        ml_write_zeros(w, m->padding);
        return;
    case ML_DISCO_PONG:
        ml_write_bytes(w, m->tx, sizeof m->tx);
        write_addr(w, &m->src);
        return;
    case ML_DISCO_CALL_ME_MAYBE:
        write_addrs(w, m);
        return;
    case ML_DISCO_BIND:
    case ML_DISCO_BIND_CHALLENGE:
    case ML_DISCO_BIND_ANSWER:
        ml_write_be32(w, m->u.bind.vni);
        ml_write_be32(w, m->u.bind.generation);
        ml_write_bytes(w, m->u.bind.remote.b, sizeof m->u.bind.remote.b);
        ml_write_bytes(w, m->u.bind.challenge, sizeof m->u.bind.challenge);
        return;
    case ML_DISCO_CALL_ME_MAYBE_VIA:
        write_relay_endpoint(w, m);
        return;
    case ML_DISCO_ALLOCATE_REQUEST:
        ml_write_bytes(w, m->u.relay.client[0].b, sizeof m->u.relay.client[0].b);
        ml_write_bytes(w, m->u.relay.client[1].b, sizeof m->u.relay.client[1].b);
        ml_write_be32(w, m->u.relay.generation);
        return;
    case ML_DISCO_ALLOCATE_RESPONSE:
        ml_write_be32(w, m->u.relay.generation);
        write_relay_endpoint(w, m);
        return;
    }
    w->bad = true;
}
