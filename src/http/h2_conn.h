/*
 * An HTTP/2 client connection (RFC 9113), the small subset that control needs: prior knowledge, requests with a known body,
 * answers streamed to the caller. control.md 4, C17-C21.
 *
 * Sans-I/O: received bytes go in by ml_h2_feed(), bytes to send are pulled by ml_h2_poll_tx(). It buffers no frame and no
 * header block: DATA is handed out inside the fed buffer, header fields are decoded as they arrive. Receive windows grow only
 * by what the caller reports as consumed, so a caller that is slow slows the server down. It sends no PRIORITY, takes no
 * push, knows no time-outs: the caller watches liveness (ml_h2_ping() asks for a sign of it).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_HTTP_H2_CONN_H
#define ML_HTTP_H2_CONN_H

#include "http/h2_frame.h"
#include "http/hpack_decode.h"

#define ML_H2_STREAMS 4 /**< Requests in progress: a map poll and three short ones. 64 B each on a 32-bit machine. */
/** A poll_tx() buffer of this size always makes progress: it holds the largest HEADERS frame. */
#define ML_H2_TX_MIN 512

/** One request. The struct is copied, what it points at is not: keep it until ml_h2_is_sent() or the end of the stream. */
struct ml_h2_request {
    const char *method;       /**< "GET", "POST", "HEAD", ... */
    const char *authority;    /**< Host, with port when there is one. */
    const char *path;         /**< Beginning with '/', query included. */
    const char *content_type; /**< NULL: none. */
    const char *ts_lb;        /**< Ts-Lb value ("nodekey:..."); NULL: none. */
    const char *ts_lb2;       /**< A second Ts-Lb field (rotation: the old key); NULL: none. */
    const uint8_t *body;      /**< May go with any method, GET included (C21). */
    size_t body_len;          /**< 0: no body, no content-length. */
};

enum ml_h2_event_type {
    ML_H2_EV_NONE,    /**< All input is used. */
    ML_H2_EV_HEADERS, /**< stream, status, retry_after, date: the final answer's head. */
    ML_H2_EV_DATA,    /**< stream, data, data_len: a piece of its body. Report it with ml_h2_consumed() once dealt with. */
    ML_H2_EV_END,     /**< stream: answer complete; the stream is gone. */
    ML_H2_EV_RESET,   /**< stream, code: the answer will not (fully) come; the stream is gone. may_retry: never processed. */
    ML_H2_EV_GOAWAY,  /**< code: no new requests on this connection; streams in progress may still finish. */
    ML_H2_EV_BLOCKED, /**< Input left: pull poll_tx() first (answers to pings wait), then feed the rest. */
    ML_H2_EV_FATAL    /**< code: the connection broke the rules. Send what poll_tx() yields, then close it. Final. */
};

struct ml_h2_event {
    enum ml_h2_event_type type;
    uint32_t stream;
    uint32_t code;           /**< enum ml_h2_code, or what the server sent. */
    bool may_retry;          /**< With RESET: the server has not acted on the request. */
    uint16_t status;         /**< 200..599 (any 3 digits from 200 on). */
    const char *retry_after; /**< Text, "" when absent: seconds or an HTTP date. Until the next call on the connection. */
    const char *date;        /**< Likewise. */
    const uint8_t *data;     /**< Inside the fed buffer. */
    size_t data_len;
};

/* Private to h2_conn.c. */
struct ml_h2_stream {
    uint32_t id; /* 0: free */
    struct ml_h2_request req;
    size_t body_sent;
    int32_t send_window;  /* may go below zero by SETTINGS */
    int32_t recv_window;  /* what the server may still send */
    uint32_t recv_credit; /* consumed, not yet announced */
    uint32_t code;        /* of the RST_STREAM to send or of the RESET event */
    bool headers_sent, all_sent, got_head, end_due, reset_due, retry_due, rst_due, is_closed;
};

/** The whole connection; its fields are private to h2_conn.c. */
struct ml_h2 {
    struct ml_h2_stream streams[ML_H2_STREAMS];
    struct ml_hpack hpack;
    uint32_t next_id;
    uint32_t stream_window; /* SETTINGS_INITIAL_WINDOW_SIZE we announced */
    int32_t send_window, recv_window;
    uint32_t recv_credit;
    uint32_t peer_initial_window, peer_max_frame, peer_max_streams;
    uint32_t goaway_code, fatal_code;
    struct ml_h2_frame frame; /* being read */
    uint32_t frame_left;      /* of its payload, padding included */
    uint32_t block_len;       /* of the header block being read */
    uint32_t block_stream;    /* CONTINUATION must follow on it; 0: none */
    uint8_t pad_left;         /* padding at its end */
    uint8_t state, pos;
    uint8_t small[9]; /* frame header, or an item of a payload */
    uint8_t block_flags;
    uint8_t ctl_len;
    uint8_t ctl[64];     /* SETTINGS and PING acknowledgements to send */
    uint32_t ping_count; /* of our own pings */
    bool ping_due, is_ping_open;
    bool preface_sent, table_update_sent, got_settings, is_going_away, goaway_due, goaway_event_due, is_fatal;
};

/**
 * @param stream_window  Bytes the server may send per stream before we report them consumed: 1..65535; 0 = 16384.
 */
void ml_h2_init(struct ml_h2 *c, uint32_t stream_window);

/** A request can be started now: a slot is free, the server's limit allows it, and no GOAWAY came. */
bool ml_h2_can_request(const struct ml_h2 *c);
/**
 * @brief Start a request. It goes out by ml_h2_poll_tx().
 * @return Its stream id (odd), or 0 when ml_h2_can_request() says no or its header fields exceed ML_H2_TX_MIN.
 */
uint32_t ml_h2_request(struct ml_h2 *c, const struct ml_h2_request *req);
/** The memory of the request is not needed any more: all of it was pulled, or the stream is gone. */
bool ml_h2_is_sent(const struct ml_h2 *c, uint32_t stream);
/** The stream is known: no END or RESET event was given for it yet and it was not cancelled. */
bool ml_h2_is_open(const struct ml_h2 *c, uint32_t stream);
/** Ask the server for a sign of life. A ping still unanswered is replaced: only the answer to the last one counts. */
void ml_h2_ping(struct ml_h2 *c);
/** The last ping is not answered yet. */
bool ml_h2_is_ping_open(const struct ml_h2 *c);
/** Give up a stream (RST_STREAM CANCEL when the server has heard of it). No event follows for it. Unknown ids: nothing. */
void ml_h2_cancel(struct ml_h2 *c, uint32_t stream);

/**
 * @brief Take received bytes until the next event. Call again with the rest, and until NONE even when nothing is left.
 */
void ml_h2_feed(struct ml_h2 *c, const uint8_t *buf, size_t len, size_t *used, struct ml_h2_event *ev);
/**
 * @brief Every byte given out by a DATA event is reported here once, also when its stream has ended or was cancelled since.
 */
void ml_h2_consumed(struct ml_h2 *c, uint32_t stream, size_t n);

/**
 * @brief Pull bytes to send: whole frames in order of urgency, as many as fit (DATA is cut to fit).
 * @param cap  At least ML_H2_TX_MIN, else a HEADERS frame may never fit.
 * @return Bytes written to @p dst; 0 when there is nothing to send (or windows are closed).
 */
size_t ml_h2_poll_tx(struct ml_h2 *c, uint8_t *dst, size_t cap);

#endif
