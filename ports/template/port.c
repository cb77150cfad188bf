/*
 * A port to start from: every function of microlink/port.h, with what has to go where. It compiles, and does nothing.
 *
 * Copy this folder, fill in from top to bottom, and compare with ports/posix/port.c, which has the same order. The contract
 * (what is owed per output, what must never block) is in microlink/port.h; docs there win over this file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "microlink/port.h"

#include <stdlib.h>
#include <string.h>

struct ml_port {
    ml_engine *engine;
    void *arena; /* On a chip rather a static array: ml_mem_needed() is known once the configuration is. */
    ml_port_sink sink;
    ml_port_storage storage;
    /* Yours: two UDP sockets, a table of streams, the resolver's requests, a timer. */
};

/* ---- What the system gives ---- */

ml_time ml_port_now(const ml_port *port)
{
    (void)port;
    /* Monotonic microseconds, 64 bits, not reset by sleep if that can be had: esp_timer_get_time(), a 64-bit tick count. */
    return 0;
}

static void fill_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    /* True entropy. A chip whose generator needs the radio on waits here; predictable keys are worse than a late start. */
    memset(buf, 0, len);
}

static void log_line(void *ctx, ml_log_level level, const char *line)
{
    (void)ctx, (void)level, (void)line;
    /* One finished line, no secret in it. */
}

/* ---- Outputs, one function each ---- */

static void send_datagram(ml_port *port, const ml_addr *to, const uint8_t *data, size_t len)
{
    (void)port, (void)to, (void)data, (void)len;
    /* sendto() on the socket of to's family, never blocking; a full buffer is loss. When the system says that there is no
     * route: ml_handle_send_failed(), after this function returned (data belongs to the engine until then). */
}

static void open_stream(ml_port *port, ml_time now, const ml_stream_open *o)
{
    /* Copy what o points to; it dies with the next call on the engine. Resolve o->host unless o->ip4 or o->ip6 is set, connect
     * within o->timeout_ms, do TLS if o->tls. Then ml_handle_stream_opened(). Until that is written: */
    ml_handle_stream_closed(port->engine, now, o->id, ML_CLOSE_REFUSED, "streams are not ported");
}

static void close_stream(ml_port *port, ml_stream_id id)
{
    (void)port, (void)id;
    /* Close and forget; no event for this id any more. */
}

static void resolve(ml_port *port, ml_time now, uint32_t token, const char *name)
{
    (void)name;
    /* Ask the system without blocking and answer later; count 0 says that the name does not resolve. */
    ml_handle_resolved(port->engine, now, token, NULL, 0);
}

static void store(ml_port *port, ml_time now, const ml_output *out)
{
    char why[64] = "";
    /* True only when the record is durable: keys are rotated on the strength of it. */
    bool ok = port->storage.save != NULL &&
              port->storage.save(port->storage.ctx, out->store, out->data, out->len, why, sizeof why) == ML_OK;
    if (!ok && port->sink.store_failed != NULL) {
        port->sink.store_failed(port->sink.ctx, out->store, why);
    }
    ml_handle_stored(port->engine, now, out->store, ok);
}

static void carry_out(ml_port *port, ml_time now, const ml_output *out)
{
    switch (out->type) {
    case ML_OUT_DATAGRAM:
        send_datagram(port, &out->addr, out->data, out->len);
        break;
    case ML_OUT_OVERLAY:
        if (port->sink.overlay != NULL) {
            port->sink.overlay(port->sink.ctx, out->data, out->len);
        }
        break;
    case ML_OUT_STREAM_OPEN:
        open_stream(port, now, &out->stream);
        break;
    case ML_OUT_STREAM_CLOSE:
        close_stream(port, out->stream.id);
        break;
    case ML_OUT_RESOLVE:
        resolve(port, now, out->token, out->text);
        break;
    case ML_OUT_STORE:
        store(port, now, out);
        break;
    case ML_OUT_EVENT:
        if (port->sink.event != NULL) {
            port->sink.event(port->sink.ctx, &out->event);
        }
        break;
    case ML_OUT_NONE:
        break;
    }
}

/* Moves bytes of every open stream. True when something moved, so that the engine is drained again. */
static bool pump_streams(ml_port *port, ml_time now)
{
    (void)port, (void)now;
    /* Per stream: offer what was read (ml_handle_stream_data), and read no more before all of it was taken; write
     * ml_stream_tx_peek(), then ml_stream_tx_done(). Tell the end after the last byte (ml_handle_stream_closed). */
    return false;
}

/* ---- Driving ---- */

void ml_port_flush(ml_port *port)
{
    ml_time now = ml_port_now(port);
    do {
        ml_output out;
        while (ml_poll_output(port->engine, now, &out) && out.type != ML_OUT_NONE) {
            carry_out(port, now, &out);
        }
    } while (pump_streams(port, now));
}

ml_time ml_port_deadline(const ml_port *port)
{
    /* The earliest of the engine's deadline and your own (stream timeouts, look-ups). */
    return ml_poll_deadline(port->engine);
}

ml_err ml_port_step(ml_port *port, ml_time until)
{
    ml_time at = ml_port_deadline(port);
    at = until < at ? until : at;
    /* Sleep until a socket is ready or `at` has come. Then hand in what arrived: ml_handle_datagram() per datagram (on
     * ML_ERR_FULL flush and offer it once more), the host's packets by ml_handle_overlay(). */
    (void)at;
    ml_handle_time(port->engine, ml_port_now(port));
    ml_port_flush(port);
    return ML_OK;
}

void ml_port_rebind(ml_port *port)
{
    ml_time now = ml_port_now(port);
    /* Open the UDP sockets anew on the same port, read the interface addresses, tell both. */
    ml_set_local_addrs(port->engine, now, NULL, 0);
    ml_rebind(port->engine, now);
}

/* ---- Life ---- */

ml_err ml_port_open(ml_port **out, const ml_port_config *cfg, char *why, size_t why_cap)
{
    ml_config ec = cfg->engine;
    ml_port *port = calloc(1, sizeof *port);
    *out = NULL;
    if (why_cap > 0) {
        why[0] = 0; /* On failure: one sentence that tells a user what to do. */
    }
    if (port == NULL) {
        return ML_ERR_NO_MEM;
    }
    if (ec.random.fill == NULL) {
        ec.random.fill = fill_random;
    }
    if (ec.log == NULL) {
        ec.log = log_line;
    }
    port->sink = cfg->sink;
    port->storage = cfg->storage; /* Without one: your own, at cfg->state_path. */
    size_t len = ml_mem_needed(&ec);
    port->arena = len ? malloc(len) : NULL;
    ml_err err = port->arena ? ml_init(&port->engine, port->arena, len, &ec) : ML_ERR_NO_MEM;
    if (err != ML_OK) {
        port->engine = NULL;
        ml_port_close(port);
        return err;
    }
    /* Give back the stored records before ml_start(). One that is torn is set aside and reported, never overwritten. */
    for (int k = 0; k < ML_STORE_COUNT && port->storage.load != NULL; k++) {
        uint8_t buf[ML_STORE_MAX];
        size_t n = 0;
        if (port->storage.load(port->storage.ctx, (ml_store_kind)k, buf, sizeof buf, &n) == ML_OK) {
            (void)ml_load(port->engine, (ml_store_kind)k, buf, n);
        }
        memset(buf, 0, sizeof buf);
    }
    /* Then: open sockets, ml_set_local_addrs(), and ml_set_wall_clock() if the clock is plausible (2025 or later). */
    *out = port;
    return ML_OK;
}

void ml_port_close(ml_port *port)
{
    if (port == NULL) {
        return;
    }
    /* Close sockets and streams first: nothing may call into the engine any more. */
    if (port->engine != NULL) {
        ml_clear(port->engine);
    }
    free(port->arena);
    free(port);
}

ml_engine *ml_port_engine(ml_port *port)
{
    return port->engine;
}

ml_err ml_port_erase(ml_port *port)
{
    (void)port;
    /* Forget all three records, durably. */
    return ML_ERR_UNSUPPORTED;
}

size_t ml_port_get_fds(const ml_port *port, ml_port_fd *fds, size_t cap)
{
    (void)port, (void)fds, (void)cap;
    return 0; /* Only where an outer event loop can wait on descriptors. */
}
