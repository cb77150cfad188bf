/*
 * Registration: make this node's key known, interactively or by auth key; rotate it; log out.
 *
 * Rules (control.md 5.3 to 5.5; C22 to C29), in the order in which an answer is judged:
 *   429               wait Retry-After (1 s..1 h, seconds or a date), otherwise 5 to 10 s; try again
 *   other than 200    failure: quote the first 200 bytes, back off
 *   not JSON          failure
 *   Error             failure; if it is about the auth key, at most one attempt a minute from now on, for ever
 *   NodeKeyExpired    a new candidate key with OldNodeKey, once per attempt; when it happens again: failure
 *   AuthURL           with an unused auth key: once more with it. Otherwise a person must visit the URL; the candidate stays
 *                     uncommitted and the same request is sent with Followup, which the server holds. The same URL again:
 *                     back off and follow again; another one: show that. A candidate of an earlier run is tried before
 *                     anything is shown: the person may have come meanwhile.
 *   otherwise         success: the candidate becomes the node key. MachineAuthorized false is success too (C25).
 *
 * Every start registers anew without Auth when a key is stored (C29). Keys signed under Tailnet Lock are not re-signed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/key.h"
#include "base/rng.h"
#include "control/control_internal.h"
#include "control/http_date.h"

enum where { AT_TOP, IN_USER, IN_LOGIN };
enum field { NOTHING, USER, LOGIN, ID, LOGIN_NAME, EXPIRED, AUTHORIZED, AUTH_URL, SIGNATURE, ERROR_TEXT };

#define FIELD_SHIFT 4 /* reg.where holds where | field << 4 */

bool ml_control_register_due(const struct ml_control *c, ml_time now)
{
    return c->reg.is_needed && c->req[REQ_REGISTER].stream == 0 && now >= c->reg.retry_at;
}

void ml_control_register_need(struct ml_control *c, ml_time at, bool is_rotating, bool use_auth)
{
    c->reg.is_needed = true;
    c->reg.is_rotating |= is_rotating;
    c->reg.use_auth |= use_auth;
    c->reg.has_rotated = false;
    c->reg.retry_at = at;
}

static void drop_candidate(struct ml_control *c)
{
    ml_wipe(&c->candidate_key, sizeof c->candidate_key);
    c->has_candidate = false;
}

static void set_login_url(struct ml_control *c, const char *url)
{
    if (strcmp(c->reg.followup, url) != 0) {
        (void)ml_str_set(c->reg.followup, sizeof c->reg.followup, url);
        ml_control_mark(c, ML_CONTROL_EV_LOGIN_URL);
    }
}

/* Back to "not registering": a login that is not needed any more, or the end. */
void ml_control_register_forget(struct ml_control *c)
{
    ml_control_request_cancel(c, REQ_REGISTER);
    c->reg.is_needed = c->reg.is_rotating = c->reg.has_rotated = c->reg.use_auth = false;
    set_login_url(c, "");
    drop_candidate(c);
}

void ml_control_register_start(struct ml_control *c, ml_time now)
{
    struct ml_control_register *r = &c->reg;
    bool needs_candidate = !r->is_logout && (!c->has_node_key || r->is_rotating);
    if (needs_candidate && !c->has_candidate) {
        if (!ml_curve_take(c->budget)) {
            return; /* still due */
        }
        ml_x25519_keygen(&c->candidate_key, c->random);
        ml_x25519_base(c->candidate_pub.b, &c->candidate_key);
        c->has_candidate = true;
    }
    /* With a stored key the first try goes without Auth; a key that serves a login must not be spent for nothing (C29). */
    bool with_auth = c->auth_key[0] != '\0' && !r->is_logout && (needs_candidate || r->use_auth);
    r->sent_candidate = needs_candidate;
    c->body_len = ml_control_body_register(c, c->body, sizeof c->body, with_auth);
    ml_control_key_text(c->ts_lb[0], sizeof c->ts_lb[0], needs_candidate ? &c->candidate_pub : &c->node_pub);
    c->ts_lb[1][0] = '\0';
    if (needs_candidate && c->has_node_key) {
        ml_control_key_text(c->ts_lb[1], sizeof c->ts_lb[1], &c->node_pub);
    }
    if (!ml_control_request(c, now, REQ_REGISTER, "POST", "/machine/register")) {
        ml_wipe(c->body, sizeof c->body);
        return;
    }
    c->stats.registers++;
    if (r->followup[0]) {
        c->req[REQ_REGISTER].expires_at = ML_NEVER; /* the server holds it until a person acts */
    }
    ml_json_init(&r->json, r->token, sizeof r->token);
    r->where = AT_TOP;
    r->wait = 0;
    r->is_bad = r->is_expired = r->is_authorized = r->has_signature = r->is_url_cut = false;
    r->auth_url[0] = r->error[0] = r->login[0] = '\0';
    r->user_id = 0;
    r->sent_auth = with_auth;
}

/* ---- The answer ---- */

static ml_time retry_after(const struct ml_control *c, ml_time now, const struct ml_h2_event *ev)
{
    const ml_time most = ML_SEC(3600);
    uint64_t seconds = 0;
    int64_t until = 0;
    int64_t date = 0;
    size_t len = strlen(ev->retry_after);
    if (ml_dec_parse(ev->retry_after, len, &seconds)) {
        if (seconds > 0 && seconds <= 3600) {
            return ML_SEC(seconds);
        }
    } else if (ml_http_date_parse(ev->retry_after, len, &until)) {
        /* The answer's own Date tells the server's clock; ours serves when there is none. */
        if (!ml_http_date_parse(ev->date, strlen(ev->date), &date) && c->wall_ms) {
            date = (int64_t)(c->wall_ms + (now - c->wall_at) / 1000);
        }
        if (date != 0 && until > date && (ml_time)(until - date) <= most / 1000) {
            return ML_MSEC((ml_time)(until - date));
        }
    }
    return ML_SEC(5) + ml_random_below(c->random, 5000) * UINT64_C(1000);
}

void ml_control_register_head(struct ml_control *c, ml_time now, const struct ml_h2_event *ev)
{
    c->reg.wait = ev->status == 429 ? retry_after(c, now, ev) : 0;
}

static enum field field_of(const struct ml_json *j, enum where where)
{
    if (where == IN_USER) {
        return ml_json_tok_is(j, "ID") ? ID : NOTHING;
    }
    if (where == IN_LOGIN) {
        return ml_json_tok_is(j, "LoginName") ? LOGIN_NAME : NOTHING;
    }
    static const struct {
        const char *name;
        enum field field;
    } fields[] = {
        {"User", USER},        {"Login", LOGIN},      {"NodeKeyExpired", EXPIRED},     {"MachineAuthorized", AUTHORIZED},
        {"AuthURL", AUTH_URL}, {"Error", ERROR_TEXT}, {"NodeKeySignature", SIGNATURE},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (ml_json_tok_is(j, fields[i].name)) {
            return fields[i].field;
        }
    }
    return NOTHING;
}

static void take_value(struct ml_control_register *r, enum field field, enum ml_json_event ev)
{
    const struct ml_json *j = &r->json;
    bool is_text = ev == ML_JSON_STRING;
    switch (field) {
    case ID:
        if (ev == ML_JSON_NUMBER) {
            (void)ml_json_get_u64(j, &r->user_id);
        }
        break;
    case LOGIN_NAME:
        if (is_text) {
            (void)ml_str_copy(r->login, sizeof r->login, j->tok, j->tok_len);
        }
        break;
    case EXPIRED:
        r->is_expired = ev == ML_JSON_TRUE;
        break;
    case AUTHORIZED:
        r->is_authorized = ev == ML_JSON_TRUE;
        break;
    case AUTH_URL:
        if (is_text) {
            r->is_url_cut = ml_json_is_cut(j) || !ml_str_copy(r->auth_url, sizeof r->auth_url, j->tok, j->tok_len);
        }
        break;
    case SIGNATURE:
        r->has_signature = is_text && j->tok_len > 0;
        break;
    case ERROR_TEXT:
        if (is_text) {
            (void)ml_str_copy(r->error, sizeof r->error, j->tok, j->tok_len);
        }
        break;
    default:
        break;
    }
}

void ml_control_register_data(struct ml_control *c, const uint8_t *buf, size_t len)
{
    struct ml_control_register *r = &c->reg;
    enum ml_json_event ev = ML_JSON_NEED_MORE;
    do {
        size_t used = 0;
        ev = ml_json_next(&r->json, buf, len, &used);
        buf += used;
        len -= used;
        enum where where = (enum where)(r->where & ((1 << FIELD_SHIFT) - 1));
        enum field field = (enum field)(r->where >> FIELD_SHIFT);
        switch (ev) {
        case ML_JSON_KEY:
            field = field_of(&r->json, where);
            if (field == NOTHING) {
                ml_json_skip(&r->json);
            }
            break;
        case ML_JSON_OBJECT_BEGIN:
            if (where == AT_TOP && (field == USER || field == LOGIN)) {
                where = field == USER ? IN_USER : IN_LOGIN;
            } else if (r->json.depth > 1) {
                ml_json_skip(&r->json);
            }
            field = NOTHING;
            break;
        case ML_JSON_ARRAY_BEGIN:
            r->is_bad |= r->json.depth == 1;
            ml_json_skip(&r->json);
            field = NOTHING;
            break;
        case ML_JSON_OBJECT_END:
            where = AT_TOP;
            field = NOTHING;
            break;
        case ML_JSON_ERROR:
            r->is_bad = true;
            break;
        case ML_JSON_NEED_MORE:
        case ML_JSON_END:
        case ML_JSON_ARRAY_END:
            break;
        default:
            r->is_bad |= r->json.depth == 0;
            take_value(r, field, ev);
            field = NOTHING;
            break;
        }
        r->where = (uint8_t)(where | field << FIELD_SHIFT);
    } while (ev != ML_JSON_NEED_MORE && ev != ML_JSON_ERROR && !(ev == ML_JSON_END && len == 0));
}

static void fail(struct ml_control *c, ml_time now, enum ml_control_problem what, const char *quote, size_t len)
{
    struct ml_control_register *r = &c->reg;
    ml_control_problem_set(c, what, 0, quote, len);
    r->failures++;
    r->has_rotated = false;
    r->retry_at = ml_control_backoff(c, now, r->failures);
    bool is_auth = what >= ML_CONTROL_PROBLEM_TOO_OLD && what <= ML_CONTROL_PROBLEM_KEY_REVOKED;
    if (is_auth) {
        r->retry_at = now + ML_CONTROL_AUTH_PAUSE + ml_random_below(c->random, 15000) * UINT64_C(1000);
    }
    set_login_url(c, ""); /* a refused login starts over */
}

static void logged_out(struct ml_control *c, ml_time now)
{
    ml_wipe(&c->node_key, sizeof c->node_key);
    c->has_node_key = false;
    c->reg.is_logout = false;
    ml_control_register_forget(c);
    ml_control_mark(c, ML_CONTROL_EV_IDENTITY);
    c->is_stop_due = true;
    (void)now;
}

static void succeed(struct ml_control *c, ml_time now)
{
    struct ml_control_register *r = &c->reg;
    if (r->sent_candidate) {
        c->node_key = c->candidate_key;
        c->node_pub = c->candidate_pub;
        c->has_node_key = true;
        drop_candidate(c);
        ml_control_mark(c, ML_CONTROL_EV_IDENTITY);
        /* A poll that runs under the old key ends only now. */
        if (c->req[REQ_POLL].stream) {
            ml_control_request_cancel(c, REQ_POLL);
            ml_control_poll_end(c, now, true);
        }
        ml_control_request_cancel(c, REQ_LITE);
        c->poll.retry_at = now;
    }
    r->is_needed = r->is_rotating = r->has_rotated = r->use_auth = false;
    r->is_done = true;
    r->failures = 0;
    set_login_url(c, "");
    c->is_self_expired = false;
    c->is_self_authorized = r->is_authorized;
    c->lite.is_dirty = true; /* once after login (C31); Headscale tells peers of us by this one half a second before the poll */
    if (c->poll.failures == 0) {
        c->poll.retry_at = now;
    }
    ml_control_problem_set(c, ML_CONTROL_PROBLEM_NONE, 0, NULL, 0);
    ml_control_mark(c, ML_CONTROL_EV_REGISTERED);
}

static void follow_url(struct ml_control *c, ml_time now)
{
    struct ml_control_register *r = &c->reg;
    if (r->is_url_cut) {
        fail(c, now, ML_CONTROL_PROBLEM_SERVER_SAYS, r->auth_url, strlen(r->auth_url));
        return;
    }
    if (c->has_candidate && !r->sent_candidate) {
        r->is_rotating = true; /* the server does not want the old key any more; it may have accepted the new one meanwhile */
        r->retry_at = now;
        return;
    }
    if (c->auth_key[0] != '\0' && !r->sent_auth) {
        r->use_auth = true; /* the server forgot us, and we have the means to come back */
        r->retry_at = now;
        return;
    }
    bool is_same = strcmp(r->followup, r->auth_url) == 0;
    set_login_url(c, r->auth_url);
    ml_control_mark(c, ML_CONTROL_EV_CANDIDATE);
    ml_control_problem_set(c, c->is_self_expired ? ML_CONTROL_PROBLEM_NODE_EXPIRED : ML_CONTROL_PROBLEM_NONE, 0, NULL, 0);
    r->failures = is_same ? r->failures + 1 : 0;
    r->retry_at = is_same ? ml_control_backoff(c, now, r->failures) : now;
}

void ml_control_register_end(struct ml_control *c, ml_time now, bool is_whole)
{
    struct ml_control_register *r = &c->reg;
    uint16_t status = c->req[REQ_REGISTER].status;
    if (r->is_logout) {
        if (is_whole) {
            logged_out(c, now); /* whatever it said: the key is not used again */
        }
        return; /* lost: tried again until the deadline of the logout */
    }
    if (!is_whole) {
        /* Lost with the connection. A login that waits for a person goes on with the same URL. */
        r->failures++;
        r->retry_at = ml_control_backoff(c, now, r->failures);
    } else if (status == 429) {
        ml_control_problem_set(c, ML_CONTROL_PROBLEM_RATE_LIMITED, 0, NULL, 0);
        r->retry_at = now + r->wait;
    } else if (status != 200) {
        enum ml_control_problem what = ml_control_problem_of_error(c->quote, c->quote_len);
        fail(c, now, what, c->quote, c->quote_len);
    } else if (r->is_bad || ml_json_finish(&r->json) != ML_JSON_END) {
        fail(c, now, ML_CONTROL_PROBLEM_NOT_CONTROL, NULL, 0);
    } else if (r->error[0]) {
        fail(c, now, ml_control_problem_of_error(r->error, strlen(r->error)), r->error, strlen(r->error));
    } else if (r->is_expired) {
        if (r->sent_candidate) { /* another one */
            drop_candidate(c);
            ml_control_mark(c, ML_CONTROL_EV_CANDIDATE);
        }
        if (r->has_rotated) {
            fail(c, now, ML_CONTROL_PROBLEM_NODE_EXPIRED, NULL, 0);
            return;
        }
        r->is_rotating = true;
        r->has_rotated = true;
        r->retry_at = now;
    } else if (r->auth_url[0]) {
        follow_url(c, now);
    } else {
        succeed(c, now);
    }
}
