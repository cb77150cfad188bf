/*
 * What the files of src/control call of each other. Not for other folders.
 *
 * control.c drives; control_link.c holds the connection; control_register.c, control_map.c and control_c2n.c each own the
 * requests of their name and get their answers through the three req_* functions; control_body.c writes the JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_CONTROL_CONTROL_INTERNAL_H
#define ML_CONTROL_CONTROL_INTERNAL_H

#include "control/control.h"

/* ---- control.c ---- */
void ml_control_mark(struct ml_control *c, enum ml_control_event_type ev);
/** Sets the sentence for the application; marks the event when it changed. @p quote may be NULL. */
void ml_control_problem_set(struct ml_control *c, enum ml_control_problem what, uint16_t port, const char *quote, size_t len);
/** Works out the state from what is known; marks the event when it changed. */
void ml_control_update_state(struct ml_control *c);
/** Back-off after @p failures in a row, as an instant. */
ml_time ml_control_backoff(const struct ml_control *c, ml_time now, uint32_t failures);

/* ---- control_url.c ---- */
/** Ports to try for the Noise upgrade; 0 = none of that kind. */
void ml_control_dial_ports(const struct ml_control_url *url, uint16_t *plain, uint16_t *tls);
/** The port of @p url itself. */
uint16_t ml_control_url_port(const struct ml_control_url *url);
/** "host" or "host:port", with brackets around an IPv6 literal; no port when it is the default of the scheme. */
void ml_control_write_host(struct ml_writer *w, const char *host, uint16_t port, bool is_tls);

/* ---- control_link.c ---- */
/** Begin connecting (key fetch or dial). Only when the link is down. */
void ml_control_link_start(struct ml_control *c, ml_time now);
/** Drop the connection and everything on it; the owners of open requests hear of it. @p delay false: dial again at once. */
void ml_control_link_drop(struct ml_control *c, ml_time now, bool is_failure);
void ml_control_link_on_time(struct ml_control *c, ml_time now);
ml_time ml_control_link_deadline(const struct ml_control *c);
void ml_control_link_opened(struct ml_control *c, ml_time now, uint8_t slot);
void ml_control_link_data(struct ml_control *c, ml_time now, uint8_t slot, const uint8_t *buf, size_t len, size_t *used);
void ml_control_link_closed(struct ml_control *c, ml_time now, uint8_t slot, enum ml_close_reason why, const char *detail);
/** Feed plaintext that waits in the record layer. */
void ml_control_link_resume(struct ml_control *c, ml_time now);
/** Plaintext waits and could be taken now. */
bool ml_control_link_has_backlog(const struct ml_control *c, ml_time now);
/** Move what HTTP/2 has to say into sealed records. */
void ml_control_link_flush(struct ml_control *c);
void ml_control_stream_open(struct ml_control *c, uint8_t slot);
void ml_control_stream_close(struct ml_control *c, uint8_t slot);

/* ---- Requests ---- */
/** A new request can be started: the link is up, and the body of the last one is sent. */
bool ml_control_can_request(const struct ml_control *c);
/** Start one with the body in c->body (c->body_len bytes). False: no stream free; try again later. */
bool ml_control_request(struct ml_control *c, ml_time now, enum ml_control_req which, const char *method, const char *path);
void ml_control_request_cancel(struct ml_control *c, enum ml_control_req which);

/* ---- control_register.c ---- */
bool ml_control_register_due(const struct ml_control *c, ml_time now);
void ml_control_register_start(struct ml_control *c, ml_time now);
void ml_control_register_head(struct ml_control *c, ml_time now, const struct ml_h2_event *ev);
void ml_control_register_data(struct ml_control *c, const uint8_t *buf, size_t len);
/** The answer is complete (@p is_whole) or will not come. */
void ml_control_register_end(struct ml_control *c, ml_time now, bool is_whole);
/** Ask for another registration: @p is_rotating with a new node key, @p use_auth with the auth key if there is one. */
void ml_control_register_need(struct ml_control *c, ml_time at, bool is_rotating, bool use_auth);
void ml_control_register_forget(struct ml_control *c);

/* ---- control_map.c ---- */
bool ml_control_poll_due(const struct ml_control *c, ml_time now);
void ml_control_poll_start(struct ml_control *c, ml_time now);
void ml_control_poll_data(struct ml_control *c, ml_time now, const uint8_t *buf, size_t len);
void ml_control_poll_end(struct ml_control *c, ml_time now, bool is_whole);
ml_time ml_control_lite_at(const struct ml_control *c);
void ml_control_lite_start(struct ml_control *c, ml_time now);
void ml_control_lite_end(struct ml_control *c, ml_time now, bool is_whole);

/* ---- control_c2n.c ---- */
/** Takes a PingRequest. False: not one that is answered here (c2n, bare HEAD). */
bool ml_control_ping_take(struct ml_control *c, ml_time now, const struct ml_ping_request *ping);
void ml_control_reply_start(struct ml_control *c, ml_time now);

/* ---- control_body.c ---- */
size_t ml_control_body_register(const struct ml_control *c, uint8_t *dst, size_t cap, bool with_auth);
size_t ml_control_body_map(const struct ml_control *c, uint8_t *dst, size_t cap, bool is_poll);
/** Public half of @p priv as text with its prefix; zero-terminated. */
void ml_control_key_text(char *dst, size_t cap, const ml_node_key *pub);

#endif
