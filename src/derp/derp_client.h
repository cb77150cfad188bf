/*
 * One connection to one DERP server: upgrade, login, packets both ways, liveness. Sans-I/O.
 *
 * Source: dataplane.md 7.1 to 7.5. Owns the frame being received and a bounded transmit ring in memory of the caller. Does
 * not know regions, routes or when to reconnect: derp_pool.h does.
 *
 * Call order: init once; open() when the TCP or TLS stream is up; then data(), time(), send() in any order, and after each
 * poll_event() until it says false, and tx_peek()/tx_done(); close() when the stream is gone or the event FAILED came.
 * Packets may be given to send() before open(): up to ML_DERP_STAGED of them wait for the login.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_DERP_DERP_CLIENT_H
#define ML_DERP_DERP_CLIENT_H

#include "crypto/curve_budget.h"
#include "derp/derp_frame.h"
#include "derp/derp_upgrade.h"
#include "microlink/engine.h"
#include "microlink/stats.h"

#define ML_DERP_STAGED        3    /**< Packets that wait for a login; the newest is dropped beyond. */
#define ML_DERP_TX_HEAD       512  /**< Part of the ring kept for request and login while packets are staged behind it. */
#define ML_DERP_TX_MIN        2048 /**< Smallest transmit ring. */
#define ML_DERP_RX_CAP        (32 + ML_UNDERLAY_MAX)
#define ML_DERP_LOGIN_TIMEOUT ML_SEC(10)  /**< open() to ServerInfo. */
#define ML_DERP_READ_TIMEOUT  ML_SEC(120) /**< Without a frame; servers send one every 60..65 s. */
#define ML_DERP_CHECK_TIMEOUT ML_SEC(3)   /**< Pong after ml_derp_client_check(). */

/** Who we are; shared by all connections, must outlive them. */
struct ml_derp_self {
    const ml_private_key *priv; /**< Node private key. */
    const ml_node_key *pub;
    const ml_random *rng;
    struct ml_curve_budget *budget; /**< A login takes a curve operation of it, whatever is left; NULL: nobody counts. */
};

enum ml_derp_fail {
    ML_DERP_FAIL_NONE,
    ML_DERP_FAIL_NOT_HTTP,      /**< No HTTP answer to the upgrade. */
    ML_DERP_FAIL_STATUS,        /**< Upgrade refused: `http_status`. */
    ML_DERP_FAIL_GREETING,      /**< First frame is not a ServerKey with the DERP magic. */
    ML_DERP_FAIL_SERVER_KEY,    /**< The server's key is unusable. */
    ML_DERP_FAIL_SERVER_INFO,   /**< ServerInfo does not open with the server's key. */
    ML_DERP_FAIL_FRAME_SIZE,    /**< A frame over 1 MiB announced. */
    ML_DERP_FAIL_LOGIN_TIMEOUT, /**< No ServerInfo within ML_DERP_LOGIN_TIMEOUT. */
    ML_DERP_FAIL_READ_TIMEOUT,  /**< No frame within ML_DERP_READ_TIMEOUT. */
    ML_DERP_FAIL_CHECK_TIMEOUT  /**< No pong after a network change. */
};
/** A short sentence for the log. */
const char *ml_derp_fail_text(enum ml_derp_fail why);

enum ml_derp_event_type {
    ML_DERP_EV_LOGIN,      /**< ServerInfo came: the server accepted us. */
    ML_DERP_EV_PACKET,     /**< `key` = source, `data`, `len`. */
    ML_DERP_EV_PEER_GONE,  /**< `key`, `reason` (ML_DERP_GONE_...): it is not (or no longer) reachable on this connection. */
    ML_DERP_EV_HEALTH,     /**< `data`, `len`: the server's problem in words, not terminated, untrusted; empty = healthy. */
    ML_DERP_EV_RESTARTING, /**< `reconnect_in`, `try_for`. */
    ML_DERP_EV_DROP,       /**< Something received was dropped: `drop`. For the counter. */
    ML_DERP_EV_FAILED      /**< `fail`, `http_status`: close the stream, then ml_derp_client_close(). Nothing follows. */
};

struct ml_derp_event {
    enum ml_derp_event_type type;
    ml_node_key key;
    uint8_t *data; /**< In the receive buffer; may be changed (decrypted in place). Lives until the next call. */
    size_t len;
    uint8_t reason;
    ml_drop drop;
    enum ml_derp_fail fail;
    uint16_t http_status;
    ml_time reconnect_in, try_for;
};

/** One connection: about 1.6 KB, plus the transmit ring. All members private. */
struct ml_derp_client {
    const struct ml_derp_self *self;
    uint8_t *tx;
    uint32_t tx_cap, tx_head, tx_len; /* ring: first byte, bytes in it */
    uint32_t staged_len;              /* bytes of whole frames from tx + ML_DERP_TX_HEAD on, while not ready */
    uint8_t staged_count;
    uint8_t state;
    uint8_t fail;
    bool is_home, has_preferred, has_pong, has_check, has_login;
    struct ml_derp_upgrade upgrade;
    uint8_t shared[32]; /* crypto_box key with the server */
    uint8_t pong[8];    /* to be sent */
    uint8_t check[8];   /* ping of ours in flight */
    ml_time login_by, last_frame_at, check_by;
    uint32_t rate, burst; /* bytes; rate 0 = no limit */
    uint64_t tokens;      /* millionths of a byte */
    ml_time tokens_at;
    uint8_t header[ML_DERP_HEADER_LEN];
    uint8_t header_got;
    uint8_t event; /* kind of event waiting, see derp_client.c */
    uint8_t frame_type;
    uint32_t frame_len;
    uint32_t frame_got; /* payload bytes taken, kept or skipped */
    uint8_t rx[ML_DERP_RX_CAP];
};

/** @brief Prepare. @p tx: transmit ring of @p tx_cap >= ML_DERP_TX_MIN bytes, the client's until the end. */
void ml_derp_client_init(struct ml_derp_client *c, const struct ml_derp_self *self, uint8_t *tx, size_t tx_cap);
/** @brief Forget the connection and wipe its secrets; ready for another open(). Returns how many staged packets were lost. */
unsigned ml_derp_client_close(struct ml_derp_client *c);

/** What is known of the server when the stream is up. Copied as far as needed. */
struct ml_derp_server {
    const char *host;       /**< Host header: name, with ":port" when it is not the scheme's default. */
    const char *ideal_node; /**< Name of the region's first node if this is another one; else NULL. */
    ml_derp_key meta_key;   /**< From the DERP meta certificate of a verified TLS 1.3 handshake: enables fast start. Or zero. */
    bool is_home;           /**< Send NotePreferred at login. */
};
void ml_derp_client_open(struct ml_derp_client *c, ml_time now, const struct ml_derp_server *server);

/** @brief Bytes from the stream. @p used: how many were taken; stops behind a frame that yields an event. */
void ml_derp_client_data(struct ml_derp_client *c, ml_time now, const uint8_t *buf, size_t len, size_t *used);
/** @brief Take one event. An event blocks data() until it is taken. */
bool ml_derp_client_poll_event(struct ml_derp_client *c, struct ml_derp_event *ev);
void ml_derp_client_time(struct ml_derp_client *c, ml_time now);
ml_time ml_derp_client_deadline(const struct ml_derp_client *c);

/** @brief True from the moment the login was sent: what send() takes then goes out at once. */
bool ml_derp_client_is_ready(const struct ml_derp_client *c);

/**
 * @brief Send a packet to a node. Whole or not at all; copied.
 * @retval ML_DROP_NONE               queued (or staged until the login)
 * @retval ML_DROP_DERP_QUEUE_FULL    ring full: the server, or the way to it, is slower than we are
 * @retval ML_DROP_DERP_RATE_LIMITED  over the rate the server announced
 * @retval ML_DROP_TOO_LARGE          longer than ML_DERP_PACKET_MAX
 * @retval ML_DROP_NOT_READY          the connection failed
 */
ml_drop ml_derp_client_send(struct ml_derp_client *c, ml_time now, const ml_node_key *dst, const uint8_t *packet, size_t len);
/** @brief Tell the server whether this is our home region; never lost, sent as soon as there is room. */
void ml_derp_client_note_preferred(struct ml_derp_client *c, bool is_home);
/** @brief After a network change: send a ping; FAILED comes unless its pong does within ML_DERP_CHECK_TIMEOUT. */
void ml_derp_client_check(struct ml_derp_client *c, ml_time now);

/** @brief Bytes to write to the stream, 0 if none; the pointer lives until the next call. */
size_t ml_derp_client_tx_peek(const struct ml_derp_client *c, const uint8_t **buf);
void ml_derp_client_tx_done(struct ml_derp_client *c, size_t n);

#endif
