/*
 * The table of sentences, and the recognition of refusals by their wording. Source: control.md 3.4, 5.5, 9.4.
 *
 * SPDX-License-Identifier: MIT
 */
#include "control/control_problem.h"

#define QUOTE_MAX 160

/* %h host, %p ":port" when known, %q " Server says: '...'", %d " (words of the TLS library)", each when there are any. */
static const char *const sentences[ML_CONTROL_PROBLEM_COUNT] = {
    [ML_CONTROL_PROBLEM_NONE] = "",
    [ML_CONTROL_PROBLEM_DNS] = "Control server name %h does not resolve: check the URL and the DNS settings.",
    [ML_CONTROL_PROBLEM_REFUSED] = "Control server %h%p refuses connections: check the URL, the port and any firewall.",
    [ML_CONTROL_PROBLEM_TIMEOUT] = "Control server %h%p does not answer: check the network and any firewall.",
    [ML_CONTROL_PROBLEM_LOST] = "The connection to control server %h was lost; reconnecting.",
    [ML_CONTROL_PROBLEM_NO_MEMORY] = "Not enough memory for a connection to %h: free some, or lower the limits.",
    [ML_CONTROL_PROBLEM_TLS_UNTRUSTED] =
        "The certificate of %h comes from an unknown authority: give its CA certificate if the server is your own.%d",
    [ML_CONTROL_PROBLEM_TLS_NAME] = "The certificate of %h is for another name: use the name it was made for in the URL.%d",
    [ML_CONTROL_PROBLEM_TLS_TIME] = "The certificate of %h is not valid at this device's time: set the clock.%d",
    [ML_CONTROL_PROBLEM_TLS_OTHER] = "%h%p does not speak TLS as expected: check the URL and the port.%d",
    [ML_CONTROL_PROBLEM_NOT_CONTROL] = "%h%p answers, but not as a control server: check the URL.%q",
    [ML_CONTROL_PROBLEM_UPGRADE] =
        "%h%p refuses the connection upgrade: a proxy in between must pass 'Upgrade' for POST requests.%q",
    [ML_CONTROL_PROBLEM_SERVER_KEY] =
        "%h closes the connection after the handshake: its key is not the pinned one, or it refuses this version.%q",
    [ML_CONTROL_PROBLEM_GARBAGE] = "%h sends what is not the control protocol after the upgrade: is a proxy in between?",
    [ML_CONTROL_PROBLEM_TOO_OLD] = "%h refuses this protocol version: update microlink.%q",
    [ML_CONTROL_PROBLEM_KEY_INVALID] = "The auth key is not known to %h: make a new one there and set it.%q",
    [ML_CONTROL_PROBLEM_KEY_USED] = "The auth key was already used: make a new or a reusable one on %h and set it.%q",
    [ML_CONTROL_PROBLEM_KEY_EXPIRED] = "The auth key has expired: make a new one on %h and set it.%q",
    [ML_CONTROL_PROBLEM_KEY_REVOKED] = "The auth key was revoked: make a new one on %h and set it.%q",
    [ML_CONTROL_PROBLEM_NODE_EXPIRED] = "The key of this node has expired: log in again, or set an auth key.",
    [ML_CONTROL_PROBLEM_NODE_UNKNOWN] = "%h does not know this node any more; registering again.%q",
    [ML_CONTROL_PROBLEM_RATE_LIMITED] = "%h asks to wait before registering again; it will be tried later.",
    [ML_CONTROL_PROBLEM_SERVER_SAYS] = "%h refuses; it will be tried again later.%q",
    [ML_CONTROL_PROBLEM_MAP] = "%h sent a netmap that cannot be read; asking again.",
    [ML_CONTROL_PROBLEM_SILENT] = "Nothing came from %h for two minutes; reconnecting.",
    [ML_CONTROL_PROBLEM_STOPPED] = "%h told this node to stop: start it again when that is wanted.",
};

static void write_quote(struct ml_writer *w, const char *before, const char *quote, size_t len, const char *after)
{
    while (len > 0 && (quote[len - 1] == '\n' || quote[len - 1] == '\r' || quote[len - 1] == ' ')) {
        len--;
    }
    if (len == 0) {
        return;
    }
    ml_write_str(w, before);
    for (size_t i = 0; i < len && i < QUOTE_MAX; i++) {
        uint8_t ch = (uint8_t)quote[i];
        ml_write_u8(w, ch < 0x20 || ch == 0x7f ? (uint8_t)'.' : ch);
    }
    ml_write_str(w, len > QUOTE_MAX ? "..." : "");
    ml_write_str(w, after);
}

void ml_control_problem_write(struct ml_writer *w, enum ml_control_problem what, const char *host, uint16_t port,
                              const char *quote, size_t quote_len)
{
    for (const char *s = sentences[what]; *s; s++) {
        if (*s != '%') {
            ml_write_u8(w, (uint8_t)*s);
            continue;
        }
        s++;
        if (*s == 'h') {
            ml_write_str(w, host);
        } else if (*s == 'p' && port != 0) {
            ml_write_str(w, ":");
            ml_write_dec(w, port);
        } else if (*s == 'q' && quote) {
            write_quote(w, " Server says: '", quote, quote_len, "'");
        } else if (*s == 'd' && quote) {
            write_quote(w, " (", quote, quote_len, ")");
        }
    }
}

static bool contains(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++) {
        size_t k = 0;
        while (k < n && (text[i + k] | 0x20) == (word[k] | 0x20)) {
            k++;
        }
        if (k == n) {
            return true;
        }
    }
    return false;
}

enum ml_control_problem ml_control_problem_of_error(const char *text, size_t len)
{
    bool is_key = contains(text, len, "authkey") || contains(text, len, "auth key") || contains(text, len, "pre auth key") ||
                  contains(text, len, "api key");
    if (is_key && contains(text, len, "expired")) {
        return ML_CONTROL_PROBLEM_KEY_EXPIRED;
    }
    if (is_key && contains(text, len, "used")) {
        return ML_CONTROL_PROBLEM_KEY_USED;
    }
    if (is_key && contains(text, len, "revoked")) {
        return ML_CONTROL_PROBLEM_KEY_REVOKED;
    }
    if (is_key) {
        return ML_CONTROL_PROBLEM_KEY_INVALID;
    }
    if (contains(text, len, "unsupported client version")) {
        return ML_CONTROL_PROBLEM_TOO_OLD;
    }
    return ML_CONTROL_PROBLEM_SERVER_SAYS;
}
