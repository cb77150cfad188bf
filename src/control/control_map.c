/*
 * The map poll and the lite updates. Source: control.md 6, 7, 9; C30 to C37, C46, C47, C49.
 *
 * Rules:
 *   - the poll is opened as soon as the node key is accepted, and again after its end, with back-off. Its counter resets only
 *     when a full map was read, so a server that accepts and drops is not hammered.
 *   - each complete message re-arms the watchdog; two minutes without one end the whole connection.
 *   - messages are a little-endian length and that many bytes, in any segmentation of DATA frames.
 *   - 404, or 400 with "node not found": register again, one step of back-off each time.
 *   - a lite update goes out after login, beside the poll, and after every published change, one at a time and at most one a second,
 *     with a back-off of its own. The first home region does not wait for that second: without it no peer can reach us by relay.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/rng.h"
#include "control/control_internal.h"

bool ml_control_poll_due(const struct ml_control *c, ml_time now)
{
    return c->reg.is_done && !c->reg.is_logout && c->req[REQ_POLL].stream == 0 && now >= c->poll.retry_at;
}

static void fill_request(struct ml_control *c, bool is_poll)
{
    c->body_len = ml_control_body_map(c, c->body, sizeof c->body, is_poll);
    ml_control_key_text(c->ts_lb[0], sizeof c->ts_lb[0], &c->node_pub);
    c->ts_lb[1][0] = '\0';
}

void ml_control_poll_start(struct ml_control *c, ml_time now)
{
    fill_request(c, true);
    if (!ml_control_request(c, now, REQ_POLL, "POST", "/machine/map")) {
        return;
    }
    c->stats.polls++;
    c->req[REQ_POLL].expires_at = ML_NEVER;
    c->poll.watchdog_at = now + ML_CONTROL_WATCHDOG;
    c->poll.head_len = 0;
    c->poll.in_message = false;
    ml_map_parse_stream(&c->map);
}

/* ---- Deltas on their way out ---- */

static void on_delta(void *ctx, const struct ml_delta *d)
{
    struct ml_control *c = ctx;
    switch (d->type) {
    case ML_DELTA_SELF:
        c->is_self_authorized = d->node->is_machine_authorized;
        if (d->node->is_expired) {
            c->is_expiry_due = true;
        } else if (c->is_self_expired && (c->is_expiry_flagged || d->node->key_expiry != c->self_key_expiry)) {
            c->is_extended = true; /* not by any update: a key that expired by the clock looks the same in each */
        }
        c->is_expiry_flagged = d->node->is_expired;
        c->self_key_expiry = d->node->key_expiry;
        break;
    case ML_DELTA_PING:
        if (ml_control_ping_take(c, c->call_now, d->ping)) {
            return;
        }
        break;
    case ML_DELTA_DEBUG_EXIT:
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_STOPPED, 0, NULL, 0);
        c->is_stop_due = true; /* not here: a parser is at work below us */
        break;
    default:
        break;
    }
    if (c->out && c->out->fn) {
        c->out->fn(c->out->ctx, d);
    }
}

static void broken(struct ml_control *c, ml_time now, const struct ml_delta_sink *sink)
{
    ml_map_parse_abort(&c->map, sink);
    c->poll.in_message = false;
    ml_control_problem_set(c, ML_CONTROL_PROBLEM_MAP, 0, NULL, 0);
    ml_control_request_cancel(c, REQ_POLL);
    ml_control_poll_end(c, now, false);
}

static void full_map(struct ml_control *c)
{
    c->poll.has_map = true;
    c->poll.failures = 0;
    bool is_waiting = c->is_self_expired || c->reg.followup[0] != '\0';
    if (!is_waiting) {
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_NONE, 0, NULL, 0);
    }
    ml_control_mark(c, ML_CONTROL_EV_RUNNING);
}

static bool message_end(struct ml_control *c, ml_time now, const struct ml_delta_sink *sink)
{
    bool was_first = c->map.is_first;
    c->poll.in_message = false;
    c->poll.head_len = 0;
    if (!ml_map_parse_end(&c->map, sink)) {
        broken(c, now, sink);
        return false;
    }
    c->stats.map_messages++;
    c->stats.map_cut = c->map.cut_count;
    c->poll.watchdog_at = now + ML_CONTROL_WATCHDOG;
    if (c->map.sleep_ms) {
        ml_time pause = ML_MSEC(c->map.sleep_ms);
        pause = pause < ML_CONTROL_SLEEP_MAX ? pause : ML_CONTROL_SLEEP_MAX;
        c->poll.sleep_until = now + pause;
        c->poll.watchdog_at += pause;
    }
    if (was_first && !c->map.is_first) {
        full_map(c);
    }
    return true;
}

void ml_control_poll_data(struct ml_control *c, ml_time now, const uint8_t *buf, size_t len)
{
    const struct ml_delta_sink sink = {.fn = on_delta, .ctx = c};
    struct ml_control_poll *p = &c->poll;
    c->call_now = now;
    c->stats.map_bytes += len;
    while (len > 0) {
        if (!p->in_message) {
            p->head[p->head_len++] = *buf;
            buf++;
            len--;
            if (p->head_len < sizeof p->head) {
                continue;
            }
            p->left = ml_get_le32(p->head);
            if (p->left == 0 || p->left > c->map_message_max) {
                broken(c, now, &sink);
                return;
            }
            p->in_message = true;
            p->message_at = now;
            ml_map_parse_begin(&c->map);
            continue;
        }
        size_t n = len < p->left ? len : p->left;
        if (!ml_map_parse_feed(&c->map, buf, n, &sink)) {
            broken(c, now, &sink);
            return;
        }
        buf += n;
        len -= n;
        p->left -= (uint32_t)n;
        if (p->left == 0 && !message_end(c, now, &sink)) {
            return;
        }
    }
}

/* The answer says that the server does not know our key. */
static bool is_unknown_node(const struct ml_control *c, uint16_t status)
{
    static const char words[] = "node not found";
    if (status == 404) {
        return true;
    }
    for (size_t i = 0; status == 400 && i + sizeof words - 1 <= c->quote_len; i++) {
        if (memcmp(c->quote + i, words, sizeof words - 1) == 0) {
            return true;
        }
    }
    return false;
}

/* @p at: the next step of the back-off of whoever was refused. */
static void refused(struct ml_control *c, uint16_t status, ml_time at)
{
    if (is_unknown_node(c, status)) {
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_NODE_UNKNOWN, 0, c->quote, c->quote_len);
        ml_control_mark(c, ML_CONTROL_EV_REREGISTER);
        if (!c->reg.is_needed) {
            ml_control_register_need(c, at, false, true);
        }
        return;
    }
    ml_control_problem_set(c, ml_control_problem_of_error(c->quote, c->quote_len), 0, c->quote, c->quote_len);
}

void ml_control_poll_end(struct ml_control *c, ml_time now, bool is_whole)
{
    const struct ml_delta_sink sink = {.fn = on_delta, .ctx = c};
    struct ml_control_poll *p = &c->poll;
    uint16_t status = c->req[REQ_POLL].status;
    if (p->in_message) {
        ml_map_parse_abort(&c->map, &sink);
        p->in_message = false;
    }
    p->watchdog_at = ML_NEVER;
    p->sleep_until = 0;
    p->failures++;
    p->retry_at = ml_control_backoff(c, now, p->failures);
    if (is_whole && status != 200 && status != 0) {
        refused(c, status, p->retry_at);
    }
    ml_control_mark(c, ML_CONTROL_EV_STREAM_ENDED);
}

/* ---- Publishing ---- */

/* When the next lite update may go out; ML_NEVER when there is nothing to say. */
ml_time ml_control_lite_at(const struct ml_control *c)
{
    const struct ml_control_lite *l = &c->lite;
    if (!l->is_dirty || !c->reg.is_done || c->reg.is_logout || c->req[REQ_LITE].stream) {
        return ML_NEVER;
    }
    ml_time gap = c->pub.home_region && !l->has_said_home ? 0 : l->not_before;
    return gap > l->retry_at ? gap : l->retry_at;
}

void ml_control_lite_start(struct ml_control *c, ml_time now)
{
    fill_request(c, false);
    if (!ml_control_request(c, now, REQ_LITE, "POST", "/machine/map")) {
        return;
    }
    c->stats.lite_updates++;
    c->lite.is_dirty = false;
    c->lite.has_said_home = c->pub.home_region != 0;
    c->lite.not_before = now + ML_CONTROL_LITE_GAP;
}

void ml_control_lite_end(struct ml_control *c, ml_time now, bool is_whole)
{
    uint16_t status = c->req[REQ_LITE].status;
    if (is_whole && status == 200) {
        c->lite.failures = 0;
        return;
    }
    c->lite.is_dirty = true;
    c->lite.failures++;
    c->lite.retry_at = ml_control_backoff(c, now, c->lite.failures);
    if (is_whole && status != 0) {
        refused(c, status, c->lite.retry_at);
    }
}
