/*
 * Reading HTTP/1.1 requests of the control socket and the PeerAPI: request line, the few headers that matter, query
 * parameters. Pure functions over a buffer; RFC 9112 as far as those clients need it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ML_POSIX_HTTP_REQUEST_H
#define ML_POSIX_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

/** Longest head (request line and headers); more is answered 431. */
#define ML_HTTP_HEAD_MAX 8192
/** Longest body; more is answered 413. */
#define ML_HTTP_BODY_MAX 4096

enum ml_http_parse {
    ML_HTTP_OK,
    ML_HTTP_INCOMPLETE, /**< More bytes are needed. */
    ML_HTTP_BAD,        /**< 400 */
    ML_HTTP_TOO_LARGE   /**< 431 or 413 */
};

struct ml_http_request {
    char method[8];
    char path[96];    /**< Without the query. */
    char query[768];  /**< Behind '?', undecoded; "" if none. */
    bool keep_alive;  /**< HTTP/1.1 without "Connection: close". */
    bool expects_100; /**< "Expect: 100-continue" */
    char upgrade[16]; /**< Upgrade header. */
    char host[64];    /**< Host header; "" when absent, or longer than any name or address of this node. */
    bool has_host;
    bool is_from_page;    /**< Has an Origin or a Referer: a web page made the browser send it. */
    char dial_host[256];  /**< Dial-Host of a ts-dial request. */
    char dial_port[8];    /**< Dial-Port. */
    char dial_network[8]; /**< Dial-Network; "" means tcp. */
    size_t head_len;      /**< Bytes up to and with the empty line. */
    size_t body_len;
};

/**
 * @brief Parse the head at the start of @p buf.
 * @return ML_HTTP_OK when the head is whole and acceptable (the body may still be on its way). A transfer coding is
 * refused: no client of this socket streams a body.
 */
enum ml_http_parse ml_http_parse_head(const char *buf, size_t len, struct ml_http_request *out);
/** @brief Value of a query parameter, percent-decoded. False when absent, malformed, or longer than @p cap - 1. */
bool ml_http_query(const struct ml_http_request *r, const char *name, char *out, size_t cap);
/** @brief Percent-encode @p text for a query into @p out (always terminated). False when it does not fit. */
bool ml_http_encode(const char *text, char *out, size_t cap);

#endif
